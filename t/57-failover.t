# What happens to a request whose server fails: it goes on to another one, whole, when that is certain to be no second
# execution; servers that are down are left out and found again; checks; fallbacks of a pool.

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat qw(full_listener);
use FPMPool::Client;
use FPMPool::Test;
use IO::Socket::UNIX;
use Socket ();
use Time::HiRes ();

my $root = site('www', 'x.php' => '<?php', 'who.php' => '<?php echo "daemon";', 'wait.php' => '<?php while (!file_exists($_GET["go"])) { usleep(10000); clearstatcache(); } echo "waited";', 'body.php' => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b), " ", $_SERVER["CONTENT_LENGTH"] ?? "none";',
    'die.php' => '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); if (!file_exists($_GET["mark"] . ".well")) { touch($_GET["mark"] . ".well"); posix_kill(getmypid(), 9); sleep(9); } echo "done";');
my $run = test_dir() . '/run';
my $dead = free_port();
mkdir $run;
my $peers = 0;

sub start_peer {
    my ($name, @always) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name-" . ++$peers, argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock", @always ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

my %lines = (
    # the first server fails in its own way, `good` is well; FpmPoolBalance first makes each request begin at the failing one
    (map { ($_ => "FpmPoolServer unix:$run/$_.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolHealth fails=50") } qw(overloaded role lost garbage full gone)),
    pause     => "FpmPoolServer unix:$run/pause.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolRetry idempotent|FpmPoolTimeout idle=500ms",
    ack       => "FpmPoolServer unix:$run/ack.sock|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolHealth fails=50",
    keeps     => "FpmPoolServer unix:$run/lost.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolHealth fails=50|FpmPoolRetry idempotent",
    rubbish   => "FpmPoolServer unix:$run/garbage.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolHealth fails=50|FpmPoolRetry idempotent",
    half_bad  => "FpmPoolServer unix:$run/half_bad.sock type=generic|FpmPoolServer unix:$run/gone.sock|FpmPoolBalance first|FpmPoolHealth fails=50|FpmPoolRetry idempotent",
    never     => "FpmPoolServer unix:$run/overloaded.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolRetry off",
    patient   => "FpmPoolServer unix:$run/silence.sock type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolRetry idempotent|FpmPoolTimeout first=500ms",
    died      => "FpmPoolServer unix:$run/died.sock|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolRetry idempotent",
    tcp       => "FpmPoolServer tcp://127.0.0.1:$dead type=fpm|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first",
    three     => "FpmPoolServer unix:$run/gone-1.sock|FpmPoolServer unix:$run/gone-2.sock|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first",
    refusing  => "FpmPoolServer unix:$run/overloaded.sock type=generic name=a|FpmPoolServer unix:$run/full.sock name=b",
    health    => "FpmPoolServer unix:$run/one.sock type=generic|FpmPoolServer unix:$run/two.sock type=generic|FpmPoolBalance first",
    slow      => "FpmPoolServer tcp://127.0.0.1:$dead type=generic|FpmPoolServer unix:$run/good.sock|FpmPoolBalance first|FpmPoolHealth fails=2 retry=700ms..5s",
    only      => "FpmPoolServer unix:$run/lost.sock type=generic|FpmPoolRetry idempotent",
    crash     => "FpmPoolServer unix:$run/script.sock type=generic|FpmPoolServer unix:$run/good.sock backup",
    checked   => "FpmPoolServer unix:$run/mute.sock type=fpmpool|FpmPoolServer unix:$run/good.sock backup|FpmPoolCheck ping interval=200ms fast=100ms down=100ms timeout=400ms rise=2 fall=2",
    connected => "FpmPoolServer unix:$run/late.sock type=generic|FpmPoolServer unix:$run/good.sock backup|FpmPoolCheck connect interval=200ms fast=100ms down=100ms rise=1 fall=2",
);
my $conf = "FpmPoolSocketDir $run\nFpmPool good\nFpmPoolTimeout connect=500ms\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\nLogFormat \"%U%q %>s %{fpmpool-state}n %{fpmpool-attempts}n %{fpmpool-pool}n %{fpmpool-server}n\" notes\nCustomLog notes.log notes\n";
for my $name (sort keys %lines) {
    $conf .= "<FpmPoolDefine $name>\n" . join('', map { "    $_\n" } split /\|/, $lines{$name}) . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}
my $aliases = sub { join '', map { my ($name, $text) = @$_; "Alias /$name $root\n<Location /$name>\n$text</Location>\n" } @_ };
$conf .= $aliases->(
    [ 'fb'          => "    FpmPool nowhere good\n" ],
    [ 'fb-busy'     => "    FpmPool refusing good\n" ],
    [ 'fb-down'     => "    FpmPool refusing good\n    FpmPoolFailover on=down\n" ],
    [ 'fb-overload' => "    FpmPool nowhere good\n    FpmPoolFailover on=overload\n" ],
    [ 'fb-chain'    => "    FpmPool nowhere refusing gone good\n" ],
    [ 'none-left'   => "    FpmPool nowhere elsewhere\n" ],
    [ 'stream'      => "    FpmPool ack\n    FpmPoolBody stream\n" ],
);

for my $name (qw(overloaded role lost garbage half_bad silence pause)) { start_peer($name, $name) }
my $good   = start_peer('good');
my $ack    = start_peer('ack', 'lost');
my $died   = start_peer('died', 'died');
my $script = start_peer('script');
my @full   = full_listener("$run/full.sock");
allow_log(qr/FPMP00(?:60|63|64|69|72|73|77|85|88): /, qr/FPMP0040: .*worker 7 died/);

for my $mpm (qw(event prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf);
    my $get   = sub { my ($pool, %option) = @_; my $what = delete $option{what} // 'who'; return http($httpd->url("/$pool/x.php?do=$what"), %option) };
    my $shows = sub { my ($answer) = @_; return "$answer->{status} " . ($answer->{status} == 200 ? $answer->{body} : '') };
    my $notes = sub {
        my ($target) = @_;
        my $file = "$httpd->{dir}/notes.log";
        return wait_for { my @found = read_file($file) =~ m{^\Q$target\E (\d+ .*)$}mg; $found[-1] } 5, "the log line of $target";
    };

    subtest "$mpm: not taken: any method goes on, whole" => sub {
        for my $pool (qw(overloaded role full gone tcp)) {
            is($shows->($get->($pool)), '200 good', "$pool: GET");
            for my $body ('b' x 1000, 'm' x 100_000, [ ('c' x 9_000) x 5 ]) {
                my $text   = ref $body ? join '', @$body : $body;
                my $answer = $get->($pool, what => 'body', method => 'POST', body => $body);
                is($shows->($answer), '200 ' . length($text) . ' ' . md5_hex($text) . ' ' . length($text) . ' none', "... POST of " . length($text) . (ref $body ? ' in chunks' : ''));
            }
        }
        is($notes->('/overloaded/x.php?do=who'), "200 ok 2 overloaded unix:$run/good.sock", 'the notes name who answered, and how often it was sent');
        is($shows->($get->('three')), '200 good', 'two servers that are not there cost no attempt');
        is($shows->($get->('ack', method => 'POST', body => 'x' x 5000, what => 'body')), '200 5000 ' . md5_hex('x' x 5000) . ' 5000 none', 'fpmpoold that has not said that it starts: POST goes on');
        is($shows->($get->('ack')), '200 good', '... GET too');
        is($shows->($get->('stream', method => 'POST', body => 's' x 30_000, what => 'body')), '200 30000 ' . md5_hex('s' x 30_000) . ' 30000 none', 'a small body that is streamed is kept');
        my $large = http($httpd->url('/stream/x.php?do=body'), method => 'POST', body => 's' x 3_000_000);
        is($large->{status}, 502, 'a large one is gone: 502');
    };

    subtest "$mpm: unknown: not without permission" => sub {
        is($get->('lost')->{status}, 502, 'lost without an answer: GET is 502 by default');
        is($get->('garbage')->{status}, 502, 'garbage too');
        my $from = $good->log_length;
        is($shows->($get->('keeps')), '200 good', 'FpmPoolRetry idempotent: GET goes on');
        is($shows->($get->('keeps', method => 'PUT', body => 'p' x 2000, what => 'body')), '200 2000 ' . md5_hex('p' x 2000) . ' 2000 none', '... PUT, whole');
        is($shows->($get->('rubbish')), '200 good', '... also from garbage');
        my $posts = $good->log_length;
        is($get->('keeps', method => 'POST', body => 'x')->{status}, 502, '... POST does not');
        is($get->('rubbish', method => 'PATCH', body => 'x')->{status}, 502, '... nor does PATCH');
        unlike($good->log_text($posts), qr/POST|PATCH/, '... and was not executed elsewhere');
        is($get->('never')->{status}, 503, 'FpmPoolRetry off: nothing goes on');
        $posts = $good->log_length;
        is($get->('patient')->{status}, 504, 'a time limit is never a reason');
        is($get->('only')->{status}, 502, 'a single server that loses it again: 502');
        like($notes->('/only/x.php?do=who'), qr/^502 lost 2 /, '... it had it twice');
        is($get->('half_bad')->{status}, 503, 'a header, then garbage, and the next server is not there: 503');
        is($notes->('/half_bad/x.php?do=who'), "503 down 2 half_bad unix:$run/gone.sock", '... and the notes are those of the last attempt');
        my $begun = eval { $get->('pause') };
        ok(!$begun || !$begun->{complete}, 'an answer that has begun is cut') or diag explain $begun;
        is($shows->($get->('died')), '200 good', 'fpmpoold says that the worker died: GET goes on');
        my $answer = $get->('died', method => 'POST', body => 'x');
        is($answer->{status}, 502, '... POST is 502');
    };

    subtest "$mpm: fallbacks" => sub {
        is($shows->($get->('fb')), '200 good', 'a pool that is down: the fallback');
        like($notes->('/fb/x.php?do=who'), qr{^200 ok [12] good unix:$run/good.sock$}, '... the notes say so');
        is($shows->($get->('fb', method => 'POST', body => 'b' x 70_000, what => 'body')), '200 70000 ' . md5_hex('b' x 70_000) . ' 70000 none', '... a POST with its body');
        is($shows->($get->('fb-busy')), '200 good', 'a pool that refuses: the fallback');
        is($get->('fb-down')->{status}, 503, '... but not with on=down');
        is($get->('fb-overload')->{status}, 503, 'down, but on=overload: no fallback');
        is($shows->($get->('fb-chain')), '200 good', 'the third fallback');
        my $answer = $get->('none-left');
        is("$answer->{status} $answer->{headers}{'retry-after'}", '503 5', 'none left: 503 with Retry-After');
        my $http = http_connect(port => $httpd->port);
        $http->send_request(POST => '/fb/x.php?do=who', headers => [ 'Content-Length' => 10, Expect => '100-continue' ], no_body => 1);
        is($http->read_head->{status}, 100, 'who expects 100-continue is told to go on by the fallback');
        $http->close;
    };

    subtest "$mpm: down and up again" => sub {
        my $one  = start_peer('one');
        my $two  = start_peer('two');
        is($shows->($get->('health')), '200 one', 'the first server');
        my $from = $httpd->log_length;
        $one->stop;
        for (1 .. 12) { is($shows->($get->('health')), '200 two', "it is gone, request $_: the second") }
        my $downs = () = $httpd->log_text($from) =~ /FPMP0085: pool health: unix:\S+one\.sock counts as down: no connection to it; the others get its requests/g;
        is($downs, 1, 'one line says that it is down');
        my $errors = () = $httpd->log_text($from) =~ /fpmpool:error\].*FPMP0073: pool health/g;
        cmp_ok($errors, '<=', 2, 'one says why, for all children');
        $one = start_peer('one');
        ok((wait_for { $get->('health')->{body} eq 'one' } 5, 'the first server'), 'it is back: requests go to it');
        is(scalar(() = $httpd->log_text($from) =~ /FPMP0057: pool health .*one\.sock\) answers again/g), 1, '... and one line says so');
        # all are down: the request goes to one of them all the same
        $_->stop for $one, $two;
        is($get->('health')->{status}, 503, 'all are gone: 503') for 1 .. 8;
        $two = start_peer('two');
        ok((wait_for { $get->('health')->{status} == 200 } 5, 'an answer'), 'one is back: it answers');
        $two->stop;
        unlink glob "$run/{one,two}.sock";

        $from = $httpd->log_length;
        is($shows->($get->('slow')), '200 good', 'a TCP port that nobody listens on') for 1 .. 3;
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool slow: tcp:\S+ counts as down/, 5, $from) }, '... counts as down after fails=2');
        my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$dead", Listen => 5, ReuseAddr => 1) or die $!;
        my ($trials, $others) = (0, 0);
        my $end = Time::HiRes::time() + 10;
        while (!$trials && Time::HiRes::time() < $end) {
            my $http = http_connect(port => $httpd->port, timeout => 20);
            $http->send_request(GET => '/slow/x.php?do=who', headers => [ Connection => 'close' ]);
            if (IO::Select->new($listener)->can_read(0.05)) { # it is the trial
                my $server = $listener->accept;
                $trials++;
                for (1 .. 5) { is($shows->($get->('slow')), '200 good', 'while a trial is under way others do not go there') }
                sysread $server, my $head, 65536;
                syswrite $server, record('STDOUT', 1, "Content-Type: text/plain\r\n\r\nslow") . record('END', 1, pack 'NCx3', 0, 0);
                close $server;
                is($http->read_answer->{body}, 'slow', 'the trial is answered');
            } else {
                $http->read_answer;
                $others++;
            }
        }
        is($trials, 1, "after a pause one request is its trial ($others before)");
        ok(eval { $httpd->wait_log(qr/FPMP0057: pool slow .* answers again/, 5, $from) }, '... which brings it back');
        close $listener;
    };

    subtest "$mpm: a script that crashes condemns nobody" => sub {
        my $from = $httpd->log_length;
        for (1 .. 8) { is($get->('crash', what => 'lost')->{status}, 502, 'a crash') }
        is($shows->($get->('crash')), '200 script', 'its server is used all the same');
        unlike($httpd->log_text($from), qr/FPMP0085: pool crash/, '... and never counted as down');
        my ($full) = full_listener("$run/busy.sock");
        is($get->('full')->{status}, 200, 'a full listen queue') for 1 .. 4;
        unlike($httpd->log_text($from), qr/FPMP0085: pool full/, '... is busy, not dead');
    };

    subtest "$mpm: checks" => sub {
        my $mute = start_peer('mute');
        ok((wait_for { $get->('checked')->{body} eq 'mute' } 20, 'its checks'), 'a server that was not there, and is now');
        my $from = $httpd->log_length;
        ok(eval { $mute->wait_log(qr/ping/, 10) }, '... is asked');
        write_file("$run/mute.sock.mute", '');
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool checked: .*no answer to a check in time/, 20, $from) }, 'it falls silent: down, without any request');
        is($shows->($get->('checked')), '200 good', '... requests go to the backup');
        unlink "$run/mute.sock.mute";
        ok(eval { $httpd->wait_log(qr/\[fpmpool:notice\].*FPMP0086: pool checked: .* is up again: 2 checks/, 20, $from) }, 'it answers again: up');
        is($shows->($get->('checked')), '200 mute', '... requests go to it');
        is(scalar(() = $httpd->log_text($from) =~ /FPMP008[56]: pool checked/g), 2, 'one line for each change');

        ok(eval { $httpd->wait_log(qr/FPMP0085: pool connected: .*no connection for a check/, 20) }, 'connect: nobody listens');
        my $late = start_peer('late');
        ok((wait_for { $get->('connected')->{body} eq 'late' } 10, 'the late server'), '... until somebody does');
        $late->stop;
        unlink "$run/late.sock";

        # the child that checks dies: another one takes over
        my $pings = sub { scalar(() = $mute->log_text =~ /ping/g) };
        kill KILL => children($httpd->pid);
        allow_log(qr/AH00052: child pid \d+ exit signal Killed|AH10392|AH10159/);
        my $before = $pings->();
        ok((wait_for { $pings->() > $before + 2 } 20, 'checks'), 'all children are killed: checks go on');
        write_file("$run/mute.sock.mute", '');
        $from = $httpd->log_length;
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool checked:/, 20, $from) }, '... and find what is wrong');
        $httpd->signal('USR1');
        ok(eval { $httpd->wait_log(qr/resuming normal operations/, 20, $from) }, 'a graceful restart');
        is($shows->($get->('checked')), '200 good', '... remembers who is down');
        unlink "$run/mute.sock.mute";
        ok(eval { $httpd->wait_log(qr/FPMP0086: pool checked:/, 20, $from) }, '... and checks go on');
        $mute->stop;
        unlink "$run/mute.sock";
    };
    $httpd->stop;
}
close $_ for @full;
unlink "$run/full.sock", "$run/busy.sock";

# ---- with our daemon

subtest 'fpmpoold restarts: its socket is found again at once' => sub {
    my $daemon = start_daemon(name => 'restarting', conf => { www => {} });
    my $socket = $daemon->listen_address('www');
    my $httpd = start_httpd(name => 'httpd-local', mpm => 'event', docroot => $root, conf => "FpmPool local\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
        . "<FpmPoolDefine local>\n    FpmPoolServer unix:$socket\n    FpmPoolServer unix:$run/good.sock backup\n    FpmPoolCheck ping\n</FpmPoolDefine>\n");
    my $who = sub { http($httpd->url('/who.php?do=who'))->{body} };
    is($who->(), 'daemon', 'the local pool');
    $daemon->stop;
    is($who->(), 'good', "stopped, request $_: the backup") for 1 .. 10;
    my $again = start_daemon(name => 'restarted', conf => { www => { listen => $socket } }, listen => { www => $socket });
    my $begin = Time::HiRes::time();
    wait_for { $who->() eq 'daemon' } 10, 'the local pool';
    my $took = Time::HiRes::time() - $begin;
    cmp_ok($took, '<', 1, sprintf 'the next daemon gets requests %d ms after it was ready', $took * 1000);
};

subtest 'php-fpm: all workers busy is not dead' => sub {
    plan(skip_all => 'php-fpm is not installed') unless -x '/usr/sbin/php-fpm8.2';
    my $fpm = start_php_fpm(conf => { www => {} });
    my $httpd = start_httpd(name => 'httpd-fpm', mpm => 'event', docroot => $root, conf => "FpmPool local\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
        . "<FpmPoolDefine local>\n    FpmPoolServer unix:@{[ $fpm->listen_address('www') ]} type=fpm\n    FpmPoolCheck ping interval=100ms fast=100ms timeout=200ms fall=2\n</FpmPoolDefine>\n");
    is(http($httpd->url('/who.php'))->{body}, 'daemon', 'php-fpm with checks');
    my $go = test_dir() . '/go-fpm';
    my @busy = map { my $http = http_connect(port => $httpd->port, timeout => 20); $http->send_request(GET => "/wait.php?go=$go"); $http } 1 .. 4;
    my $pings = $fpm->log_length;
    my $until = Time::HiRes::time() + 1.2;    # six time limits of checks
    1 while select(undef, undef, undef, 0.1), Time::HiRes::time() < $until;
    write_file($go, '');
    is($_->read_answer->{body}, 'waited', 'requests that hold all workers are answered') for @busy;
    unlike($httpd->log_text, qr/FPMP0085/, 'it was never down');
    kill STOP => descendants($fpm->pid), $fpm->pid;
    ok(eval { $httpd->wait_log(qr/FPMP0085: pool local: .*no answer to a check in time/, 20) }, 'stopped, it is');
    kill CONT => descendants($fpm->pid), $fpm->pid;
    ok(eval { $httpd->wait_log(qr/FPMP0086: pool local:/, 20) }, '... and up again when it goes on');
};

subtest 'a worker of fpmpoold that is killed' => sub {
    my $daemon = start_daemon(name => 'killed', conf => { www => {} });
    my $httpd = start_httpd(name => 'httpd-killed', mpm => 'event', docroot => $root, conf => "FpmPool local\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
        . "<FpmPoolDefine local>\n    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]}\n    FpmPoolRetry idempotent\n</FpmPoolDefine>\n");
    allow_log(qr/exited on signal 9/, qr/FPMP0040: .*signal 9/, qr/FPMP0077: /);
    my $mark = test_dir() . '/mark';
    mkdir $mark;
    chmod 0777, $mark;
    is(http($httpd->url("/die.php?mark=$mark/get"))->{body}, 'done', 'GET: once more, on the only server');
    is(read_file("$mark/get"), 'xx', '... which executed it twice');
    is(http($httpd->url("/die.php?mark=$mark/post"), method => 'POST', body => 'a=b')->{status}, 502, 'POST: 502');
    is(read_file("$mark/post"), 'x', '... executed once');
};

done_testing();
