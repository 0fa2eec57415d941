# httpd restarts, recycles and loses its children while requests run. The same clients ask for a file, for a script
# through mod_fpmpool and, as a handler that takes as long, for that script through mod_proxy_fcgi: no restart costs
# more requests with the module than without it. And nothing stays behind: no descriptor, no connection, no worker that
# works for a client that is gone.
# long: 40 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Test;

require_program('curl',    'curl');
require_program('openssl', 'openssl');
$ENV{FPMPOOL_TEST_TIMEOUT} || alarm 600;

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $root = site('www',
    'file.html' => 'a file',
    'page.php'  => '<?php echo "a page";',
    'body.php'  => '<?php echo strlen(file_get_contents("php://input"));',
    'slow.php'  => '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); while (!file_exists($_GET["go"])) { usleep(5000); clearstatcache(); } echo "done";',
    'talk.php'  => '<?php while (ob_get_level()) ob_end_flush();
        register_shutdown_function(function () { file_put_contents($_GET["mark"] . ".end", connection_aborted() ? "aborted" : "not aborted"); });
        for ($i = 0; $i < 6000; $i++) { echo "word\n"; flush(); if (!$i) touch($_GET["mark"]); usleep(10000); }',
);
my ($key, $certificate) = map { test_dir() . "/$_.pem" } qw(key certificate);
system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout $key -out $certificate >/dev/null 2>&1") == 0 or die 'openssl req';

my %mpm_conf = (
    event   => "StartServers 2\nServerLimit 8\nThreadsPerChild 8\nMinSpareThreads 8\nMaxSpareThreads 32\nMaxRequestWorkers 32\n",
    prefork => "StartServers 6\nMinSpareServers 4\nMaxSpareServers 12\nMaxRequestWorkers 24\n",
);
$mpm_conf{worker} = $mpm_conf{event};
my %env = (event => { LD_PRELOAD => preload('safe_close') });    # a child could die of httpd's own defect
my $secure;

sub start_pair {
    my ($mpm, %option) = @_;
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 6, FPMPool::Board::needed_keys(), %{ $option{keys} || {} } } });
    my $socket = $daemon->listen_address('www');
    $secure = free_port();
    my $httpd = start_httpd(mpm => $mpm, mpm_conf => $mpm_conf{$mpm} . ($option{mpm_conf} // ''), env => $env{$mpm}, docroot => $root, modules => [ qw(socache_shmcb ssl proxy proxy_fcgi), $mpm eq 'prefork' ? () : 'http2' ], conf => <<"EOF_CONF");
@{[ $mpm eq 'prefork' ? '' : "Protocols h2 h2c http/1.1\nLogLevel http2:error" ]}
LogLevel ssl:error
Listen 127.0.0.1:$secure https
<VirtualHost 127.0.0.1:$secure>
    SSLEngine on
    SSLCertificateFile $certificate
    SSLCertificateKeyFile $key
</VirtualHost>
<FpmPoolDefine www>
    FpmPoolServer unix:$socket
</FpmPoolDefine>
FpmPool www
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
Alias /proxy $root
<LocationMatch "^/proxy/.*\\.php\$">
    SetHandler "proxy:unix:$socket|fcgi://localhost/"
</LocationMatch>
EOF_CONF
    return ($daemon, $httpd);
}

# ---- clients ---------------------------------------------------------------------------------

# What is asked for: path, request's options, the body of the answer.
my %ask = (
    file   => [ '/file.html', [], 'a file' ],
    module => [ '/page.php', [], 'a page' ],
    upload => [ '/body.php', [ method => 'POST', body => 'b' x 3000 ], '3000' ],
    proxy  => [ '/proxy/page.php', [], 'a page' ],
);

# HTTP/1.1 on a kept connection. One that was closed between two requests is no loss: as browsers do, it asks once more.
sub ask_kept {
    my ($state, $port, $path, $option, $wanted) = @_;
    my %option = @$option;
    for (1 .. 2) {
        my $is_kept = $state->{http} ? 1 : 0;
        my $http    = $state->{http} //= eval { http_connect(port => $port, timeout => 20) } // return "no connection: $@";
        my $answer  = eval { $http->exchange($option{method} || 'GET', $path, %option) };
        my $error   = $@;
        delete $state->{http} unless $answer && $answer->{keep};
        return $answer->{status} == 200 && $answer->{complete} && $answer->{body} eq $wanted ? '' : "$answer->{status} $answer->{body}" if $answer;
        return $error || 'closed without a byte' unless $is_kept && $http->{buffer} eq '';
    }
    return 'two kept connections were closed';
}

# In TLS, by curl, several on one connection. An HTTP/2 connection that httpd ends before it takes the next stream (16, without
# a status: the file's too) is no loss; curl, unlike a browser, leaves it to us to ask once more.
sub ask_curl {
    my ($version, $path, $option, $wanted) = @_;
    my ($count, @failed) = run_curl(5, @_);
    my @again = grep { $version eq '--http2' && /^\|000\|16$/ } @failed;
    return ($count, @failed) unless @again;
    my (undef, @lost) = run_curl(scalar @again, @_);
    return ($count, (grep { !/^\|000\|16$/ } @failed), @lost);
}

sub run_curl {
    my ($count, $version, $path, $option, $wanted) = @_;
    my %option = @$option;
    open my $pipe, '-|', 'curl', '-sk', $version, '--max-time', 20, '-w', '|%{http_code}|%{exitcode}\n', $option{body} ? ('--data-binary', $option{body}) : (), map { "https://127.0.0.1:$secure$path" } 1 .. $count or die $!;
    my @failed = grep { $_ ne "$wanted|200|0\n" } my @line = <$pipe>;
    close $pipe;
    return ($count, @failed, ('no line') x ($count - @line));
}

sub client {
    my ($kind, $protocol, $port, $has_begun, $stop) = @_;
    my ($path, $option, $wanted) = @{ $ask{$kind} };
    my ($count, %state, @failed) = (0);
    until (-e $stop) {
        if ($protocol eq 'plain') {
            my $error = ask_kept(\%state, $port, $path, $option, $wanted);
            push @failed, "$kind: $error" if $error;
            $count++;
        } else {
            my ($asked, @lost) = ask_curl($protocol, $path, $option, $wanted);
            push @failed, map { s/\n//gr } map { "$kind $protocol: $_" } @lost;
            $count += $asked;
        }
        write_file($has_begun, '') if $count > 4;
    }
    return ($count, @failed);
}

# Clients of each kind ask while `work` runs. Returns {KIND => {asked =>, lost => [...]}}; `work` gets a function
# that waits until every client has had answers again.
sub under_load {
    my ($httpd, $kinds, $protocols, $work) = @_;
    my $stop = test_dir() . '/stop';
    unlink $stop, glob "$marks/begun-*";
    my (@clients, @begun);
    for my $kind (@$kinds) {
        for my $protocol (@$protocols) {
            my $begun = "$marks/begun-$kind$protocol";
            push @begun, $begun;
            pipe my $read, my $write or die $!;
            my $pid = fork // die $!;
            if (!$pid) {
                close $read;
                my ($count, @failed) = client($kind, $protocol, $httpd->port, $begun, $stop);
                print {$write} map { s/\n/ /gr . "\n" } $count, @failed;
                close $write;
                POSIX::_exit(0);
            }
            close $write;
            push @clients, [ $kind, $pid, $read ];
        }
    }
    my $all_answered = sub {
        unlink @begun;
        wait_for { !grep { !-e $_ } @begun } 60, 'answers for each client';
    };
    $all_answered->();
    $work->($all_answered);
    write_file($stop, '');
    my %result = map { $_ => { asked => 0, lost => [] } } @$kinds;
    for my $client (@clients) {
        my ($kind, $pid, $pipe) = @$client;
        my ($count, @lost) = <$pipe>;
        $result{$kind}{asked} += $count // die "the client for $kind has died";
        push @{ $result{$kind}{lost} }, @lost;
        waitpid $pid, 0;
    }
    note(join ', ', map { "$_: " . scalar(@{ $result{$_}{lost} }) . " of $result{$_}{asked} lost" } @$kinds);
    return \%result;
}

sub restart {
    my ($httpd, $signal) = @_;
    my $from = $httpd->log_length;
    $httpd->signal($signal);
    # httpd forgets a signal that comes while it restarts.
    return $httpd->wait_log(qr/resuming normal operations/, 30, $from);
}

sub in_background {
    my ($httpd, $path) = @_;
    my $http = http_connect(port => $httpd->port, timeout => 40);
    $http->send_request(GET => $path);
    return $http;
}

# ---- what must be as before ------------------------------------------------------------------

sub is_quiet {
    my ($daemon, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(eval { FPMPool::Board::wait_idle($daemon, 'www'); 1 }, "$what: every worker is idle") or diag($@);
    my $board = eval { wait_for { my $now = FPMPool::Board::look($daemon, 'www'); $now->{pool}{connections} == 0 && $now } 20, 'no connection' };
    ok($board, '... the pool process has no connection left') or diag(explain(FPMPool::Board::look($daemon, 'www')->{pool}));
    is($board->{pool}{queue_length} // 0, 0, '... and no request waits');
    return;
}

# Descriptors of the processes that live on: httpd's parent, the master, the pool process.
sub held { my ($daemon, $httpd) = @_; return map { descriptor_count($_) } $httpd->pid, $daemon->pid, $daemon->pool_pid }

# ---- restarts --------------------------------------------------------------------------------

allow_log(qr/AH03490: scoreboard is full/, qr/AH00045: |AH00046: /, qr/AH0106[78]: |AH01075: |AH01071: /);
for my $mpm (qw(event worker prefork)) {
    my @protocols = ('plain', '--http1.1', $mpm eq 'prefork' ? () : '--http2');
    subtest "$mpm: restarts under load" => sub {
        my ($daemon, $httpd) = start_pair($mpm);
        http($httpd->url($ask{module}[0]));
        restart($httpd, 'USR1');
        is_quiet($daemon, 'before');
        my @before = held($daemon, $httpd);
        my $go     = "$marks/go-$mpm";
        my $slow   = in_background($httpd, "/slow.php?mark=$marks/slow-$mpm&go=$go");
        wait_for { -e "$marks/slow-$mpm" } 10, 'the slow request to run';

        my $result = under_load($httpd, [qw(file module upload)], \@protocols, sub { my $go_on = shift; for (1 .. 2) { restart($httpd, 'USR1'); $go_on->() } });
        is(scalar @{ $result->{$_}{lost} }, 0, "graceful: none of $result->{$_}{asked} requests ($_) is lost") or diag(@{ $result->{$_}{lost} }) for qw(file module upload);
        write_file($go, '');
        is($slow->read_answer->{body}, 'done', '... one that ran before the first restart is answered');
        is(read_file("$marks/slow-$mpm"), 'x', '... and ran once');

        my $restarts = 3;
        $result = under_load($httpd, [qw(file module proxy)], \@protocols, sub { my $go_on = shift; for (1 .. $restarts) { restart($httpd, 'HUP'); $go_on->() } });
        # A restart that is not graceful ends what runs, and connections that a dying child has just accepted.
        my $most = 2 * $restarts * (1 + 5 * (@protocols - 1));
        cmp_ok(scalar @{ $result->{$_}{lost} }, '<=', $most, "hard: what is lost ($_) ran at one of the restarts") or diag(@{ $result->{$_}{lost} }) for qw(module proxy);
        restart($httpd, 'USR1');    # closes what its children keep
        is_quiet($daemon, 'afterwards');
        my @after;
        eval { wait_for { @after = held($daemon, $httpd); !grep { $after[$_] > $before[$_] } 0 .. $#after } 10, 'descriptors' };
        is("@after", "@before", 'httpd, the daemon and the pool process have as many descriptors as before');
        $_->stop for $httpd, $daemon;
    };

    subtest "$mpm: children and workers that are recycled under load" => sub {
        my ($daemon, $httpd) = start_pair($mpm, mpm_conf => "MaxConnectionsPerChild 15\n", keys => { 'pm.max_requests' => 40 });
        my %seen;
        my $watch  = sub { $seen{$_}++ for children($httpd->pid) };
        my $result = under_load($httpd, [qw(file module upload)], \@protocols, sub { wait_for { $watch->(); keys %seen >= 8 } 90, 'eight children of httpd' });
        is(scalar @{ $result->{$_}{lost} }, 0, "none of $result->{$_}{asked} requests ($_) is lost") or diag(@{ $result->{$_}{lost} }) for qw(file module upload);
        restart($httpd, 'USR1');
        is_quiet($daemon, 'afterwards');
        $_->stop for $httpd, $daemon;
    };

    subtest "$mpm: a client, a child or a whole generation vanishes: its scripts end" => sub {
        allow_log(qr/AH00051: |AH00052: /, qr/exit signal Segmentation fault|exit signal Killed/);
        my ($daemon, $httpd) = start_pair($mpm);
        my %end = (
            'a client that leaves'    => sub { $_[0]->close },
            'a child that crashes'    => sub { kill 'SEGV', children($httpd->pid) },
            'a child that is killed'  => sub { kill 'KILL', children($httpd->pid) },
            'a restart of httpd'      => sub { restart($httpd, 'HUP') },
        );
        for my $name (sort keys %end) {
            my $mark = "$marks/talk-$mpm-" . $name =~ s/ /-/gr;
            my @talk = map { in_background($httpd, "/talk.php?mark=$mark$_") } 1 .. 3;
            wait_for { !grep { !-e "$mark$_" } 1 .. 3 } 10, 'the scripts to talk';
            $_->read_some for grep { $_->read_head } @talk;
            my $from = $httpd->log_length;
            $end{$name}->($_) for $name =~ /client/ ? @talk : $talk[0];
            my $has_ended = eval { wait_for { !grep { !-s "$mark$_.end" } 1 .. 3 } 20, 'the end of the scripts' };
            ok($has_ended, "$name: the scripts end") or diag($httpd->log_text($from));
            is(join(' ', map { -e "$mark$_.end" ? read_file("$mark$_.end") : 'none' } 1 .. 3), 'aborted aborted aborted', '... and know why');
            ok(eval { FPMPool::Board::wait_idle($daemon, 'www'); 1 }, '... their workers are idle');
            is(eval { wait_for { (eval { http($httpd->url('/page.php'))->{body} } // '') eq 'a page' } 15, 'a page' }, 1, '... and httpd serves');
        }
        restart($httpd, 'USR1');
        is_quiet($daemon, 'afterwards');
        $_->stop for $httpd, $daemon;
    };
}

subtest 'children that crash under load' => sub {
    allow_log(qr/AH00051: |AH00052: /, qr/exit signal Segmentation fault/);
    my ($daemon, $httpd) = start_pair('event');
    http($httpd->url('/page.php'));
    restart($httpd, 'USR1');
    is_quiet($daemon, 'before');
    my @before = held($daemon, $httpd);
    my $deaths = 4;
    my $result = under_load($httpd, [qw(file module upload)], ['plain'], sub {
        my $go_on = shift;
        for (1 .. $deaths) {
            my @child = children($httpd->pid);
            kill 'SEGV', $child[ rand @child ];
            $go_on->();
        }
    });
    cmp_ok(scalar @{ $result->{$_}{lost} }, '<=', 2 * $deaths, "what is lost ($_) was in a child that crashed") or diag(@{ $result->{$_}{lost} }) for qw(module upload);
    restart($httpd, 'USR1');
    is_quiet($daemon, 'afterwards');
    my @after;
    eval { wait_for { @after = held($daemon, $httpd); !grep { $after[$_] > $before[$_] } 0 .. $#after } 10, 'descriptors' };
    is("@after", "@before", 'as many descriptors as before');
    $_->stop for $httpd, $daemon;
};
done_testing();
