# FpmPoolLimit: how many requests of a pool are under way, wait, or are refused, over all children of httpd; the order of those
# that wait, and what becomes of places and turns when children die, restart, or clients leave.
# long: 20 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::HTTP2;
use FPMPool::Test;
use IO::Select;

my $count = <<'EOF_PHP';
<?php
function change($by)
{
    $file = fopen($_GET['d'] . '/inside', 'c+');
    flock($file, LOCK_EX);
    [$now, $most] = sscanf(stream_get_contents($file) . '0 0', '%d %d');
    $now += $by;
    rewind($file);
    fwrite($file, sprintf('%-8d %-8d ', $now, max($now, $most)));
    fclose($file);
}
EOF_PHP
my $root = site('www',
    'hold.php' => $count . <<'EOF_PHP',
change(1);
file_put_contents("$_GET[d]/started", "$_GET[n]\n", FILE_APPEND | LOCK_EX);
isset($_GET['ms']) && usleep(1000 * $_GET['ms']);
while (!isset($_GET['ms']) && !file_exists("$_GET[d]/go")) { usleep(5000); clearstatcache(); }
change(-1);
echo $_GET['n'], ' ', strlen(file_get_contents('php://input'));
EOF_PHP
    'hello.php' => '<?php echo "hello";',
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 12 } });
my $socket = $daemon->listen_address('www');
allow_log(qr/FPMP01(?:10|11|12|13): /, qr/FPMP0089: /, qr/FPMP0073: pool nobody/, qr/AH00052: child pid \d+ exit signal Killed/, qr/AH10392: children are killed/);

sub pool {
    my ($name, $server, @more) = @_;
    return "<FpmPoolDefine $name>\n    FpmPoolServer unix:$socket $server\n" . join('', map { "    $_\n" } @more)
        . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}

my $conf = join '', "FpmPool www\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n",
    pool('exact', '', 'FpmPoolLimit requests=3 queue=40 wait=20s'),
    pool('bare', '', 'FpmPoolLimit requests=2'),
    pool('short', '', 'FpmPoolLimit requests=1 queue=2 wait=20s'),
    pool('late', '', 'FpmPoolLimit requests=1 queue=5 wait=300ms retry-after=7'),
    pool('total', '', 'FpmPoolLimit requests=1 queue=5 wait=60s', 'FpmPoolTimeout total=300ms'),
    pool('share', '', 'FpmPoolLimit perip=2 status=429 retry-after=0'),
    pool('both', '', 'FpmPoolLimit requests=1 queue=9 wait=20s perip=2'),
    pool('servers', 'max=1', 'FpmPoolLimit queue=5 wait=20s'),
    pool('order', '', 'FpmPoolLimit requests=1 queue=9 wait=20s'),
    pool('full', '', 'FpmPoolLimit requests=1'),
    pool('waits', '', 'FpmPoolLimit requests=1 queue=1 wait=300ms'),
    pool('open', ''),
    (map { "Alias /over-$_ $root\n<Location /over-$_>\n    FpmPool $_ open\n</Location>\n" } qw(full waits share)),
    "Alias /never $root\n<Location /never>\n    FpmPool full open\n    FpmPoolFailover on=down\n</Location>\n",
    "<Location /open>\n    FpmPoolLimit requests=1\n    <If \"%{QUERY_STRING} =~ /free/\">\n        FpmPoolLimit requests=0\n    </If>\n</Location>\n",
    "<Location /total>\n    <If \"%{QUERY_STRING} =~ /forever/\">\n        FpmPoolTimeout total=0\n    </If>\n</Location>\n",
    'FpmPoolSocketDir ' . dirname($socket) . "\nAlias /named $root\n<Location /named>\n    FpmPool \"expr=www\"\n    FpmPoolLimit requests=1 queue=5 wait=20s\n</Location>\n",
    "<Location /server-status>\n    SetHandler server-status\n</Location>\nRemoteIPHeader X-Client\n";

my %mpm_conf = (
    event   => "StartServers 3\nServerLimit 4\nThreadsPerChild 16\nMinSpareThreads 4\nMaxSpareThreads 64\nMaxRequestWorkers 64\n",
    prefork => "StartServers 16\nMinSpareServers 4\nMaxSpareServers 64\nMaxRequestWorkers 64\n",
);
my ($httpd, $folder, @held, $notes);
my $round = 0;

# A folder for the marks of one subtest.
sub begin { $folder = test_dir() . '/marks-' . ++$round; mkdir $folder; chmod 0777, $folder; @held = (); return }
sub started { return -e "$folder/started" ? read_file("$folder/started") =~ s/\n/ /gr =~ s/ \z//r : '' }
sub most_inside { return (split ' ', read_file("$folder/inside"))[1] + 0 }
sub figure { my ($name) = @_; return http($httpd->url('/server-status?auto'))->{body} =~ /^FpmPool_\Q$name\E: (\d+)$/m ? $1 : 0 }
# -1: no answer, for instance of a child that was just killed
sub waiting { my ($pool) = @_; return eval { figure("${pool}_Waiting") } // -1 }
sub until_started { my ($count) = @_; wait_for { my @all = split / /, started(); @all >= $count } 20, "$count scripts to start"; return }
sub until_waiting { my ($pool, $count) = @_; wait_for { waiting($pool) == $count } 20, "$count to wait"; return }

sub target { my ($place, $n, $more) = @_; return "/$place/hold.php?n=$n&d=$folder" . ($more // '') }

# Sends a request and does not wait for its answer.
sub send_one {
    my ($place, $n, %option) = @_;
    my $http = http_connect(port => $httpd->port, timeout => 30);
    my $method = delete $option{method} || 'GET';
    $http->send_request($method => target($place, $n, delete $option{more}), %option);
    push @held, $http;
    return $http;
}

sub answers {
    my (@http) = @_;
    my %status;
    $status{ eval { $_->read_answer->{status} } // 'none' }++ for @http;
    return join ' ', map { "$_=$status{$_}" } sort keys %status;
}

# The child of httpd that has that client's connection.
sub child_of {
    my ($http) = @_;
    my ($here, $there) = map { sprintf '%04X', $_ } $http->{socket}->sockport, $httpd->port;
    my ($inode) = map { (split)[9] } grep { /^\s*\d+: [0-9A-F]{8}:$there [0-9A-F]{8}:$here / } split /\n/, read_file('/proc/net/tcp');
    for my $pid (children($httpd->pid)) {
        return $pid if grep { (readlink // '') eq "socket:[$inode]" } glob "/proc/$pid/fd/*";
    }
    die "no child has the connection\n";
}

sub let_go { write_file("$folder/go", ''); return answers(@held) }

sub refused {
    my ($place, $status, $retry, $id, $name, @more) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $from   = $httpd->log_length;
    my $answer = http($httpd->url(target($place, 'refused')), @more);
    is("$answer->{status} " . ($answer->{headers}{'retry-after'} // 'none'), "$status $retry", $name);
    ok(eval { $httpd->wait_log(qr/\[fpmpool:warn\].*$id: pool \S+: /, 5, $from) }, "... and $id says why") if $id;
    unlike(started(), qr/refused/, '... and it never ran');
    return $answer;
}

for my $mpm (qw(event prefork)) {
    $notes = test_dir() . "/notes-$mpm.log";
    $httpd = start_httpd(mpm => $mpm, mpm_conf => $mpm_conf{$mpm}, docroot => $root, modules => [qw(status remoteip)],
        conf => "${conf}CustomLog $notes \"%U %>s %{fpmpool-state}n %{fpmpool-pool}n %{fpmpool-wait-us}n\"\n");
    my $noted = sub {
        my ($line, $name) = @_;
        local $Test::Builder::Level = $Test::Builder::Level + 1;
        return ok(eval { wait_for { -e $notes && read_file($notes) =~ $line } 5, 'the note' }, $name) || diag(read_file($notes));
    };

    subtest "$mpm: never more at once than there are places" => sub {
        begin();
        send_one('exact', $_, more => '&ms=20') for 1 .. 40;
        is(answers(@held), '200=40', 'forty requests for three places: all are served');
        is(most_inside(), 3, '... three at a time, as PHP counts them');
        is(waiting('exact'), 0, '... and nobody waits any more');
        begin();
        send_one('bare', $_) for 1 .. 2;
        until_started(2);
        refused('bare', 503, 5, 'FPMP0110', 'without a queue: 503 with Retry-After at once');
        is(let_go(), '200=2', 'the others were not disturbed');
        is(most_inside(), 2, '... two at a time');
        $noted->(qr{^/bare/hold.php 503 limit bare 0$}m, 'the notes say so');
        is(figure('bare_Limit'), 1, '... and server-status');
    };

    subtest "$mpm: the queue" => sub {
        begin();
        send_one('short', 1);
        until_started(1);
        send_one('short', $_) for 2 .. 3;
        until_waiting('short', 2);
        refused('short', 503, 5, 'FPMP0111', 'a full queue: 503 at once');
        is(let_go(), '200=3', 'those that waited are served');
        is(most_inside(), 1, '... one at a time');
        $noted->(qr{^/short/hold.php 503 queue-full short 0$}m, 'the notes say so');
        $noted->(qr{^/short/hold.php 200 ok short [1-9]\d+$}m, '... and how long one waited');
        is(figure('short_QueueFull'), 1, '... and server-status');
        begin();
        send_one('late', 1);
        until_started(1);
        refused('late', 503, 7, 'FPMP0112', 'too long in the queue: 503, with the Retry-After of the limit');
        refused('late', 503, 7, undef, '... again, without a line of its own');
        is(let_go(), '200=1', 'the other was not disturbed');
        $noted->(qr{^/late/hold.php 503 queue-timeout late [3-9]\d{5}$}m, 'the notes say so, and how long it waited');
        is(figure('late_QueueTimeout'), 2, '... and server-status');
        begin();
        send_one('total', 1, more => '&forever');
        until_started(1);
        is(http($httpd->url(target('total', 2)))->{status}, 503, 'nobody waits longer than FpmPoolTimeout total=');
        is(let_go(), '200=1', 'the other was not disturbed');
    };

    subtest "$mpm: first come, first served" => sub {
        begin();
        send_one('order', 0);
        until_started(1);
        for my $n (1 .. 6) {
            send_one('order', $n);
            until_waiting('order', $n);
        }
        is(let_go(), '200=7', 'all are served');
        is(started(), '0 1 2 3 4 5 6', '... in the order in which they came');
    };

    subtest "$mpm: max= of servers" => sub {
        begin();
        send_one('servers', 1);
        until_started(1);
        send_one('servers', $_) for 2 .. 4;
        until_waiting('servers', 3);
        is(let_go(), '200=4', 'those that find all servers at their max= wait');
        is(most_inside(), 1, '... and no server gets more');
    };

    subtest "$mpm: a pool whose name comes with the request" => sub {
        begin();
        send_one('named', 0);
        until_started(1);
        send_one('named', $_), until_waiting('www', $_) for 1 .. 3;
        is(let_go(), '200=4', 'they wait and are served');
        is(started(), '0 1 2 3', '... in their order');
        is(most_inside(), 1, '... one at a time');
    };

    subtest "$mpm: a share for each client" => sub {
        begin();
        send_one('share', $_) for 1 .. 2;
        until_started(2);
        refused('share', 429, 'none', 'FPMP0113', 'one too many of an address: the status of the limit');
        $noted->(qr{^/share/hold.php 429 perip share 0$}m, 'the notes say so');
        is(http($httpd->url('/share/hello.php'), headers => [ 'X-Client' => '203.0.113.5' ])->{status}, 200, 'another address is served');
        is(http($httpd->url('/share/hello.php'), headers => [ 'X-Client' => '2001:db8::1' ])->{status}, 200, '... of IPv6 too');
        refused('over-share', 429, 'none', undef, 'a fallback does not get what is too much');
        is(let_go(), '200=2', 'the others were not disturbed');
        is(http($httpd->url('/share/hello.php'))->{status}, 200, 'then it is served again');
        begin();
        send_one('share', $_, headers => [ 'X-Client' => "2001:db8::$_" ]) for 1 .. 2;
        until_started(2);
        is(http($httpd->url('/share/hello.php'), headers => [ 'X-Client' => '2001:db8::9' ])->{status}, 429, 'a /64 network of IPv6 is one client');
        is(http($httpd->url('/share/hello.php'), headers => [ 'X-Client' => '2001:db8:0:1::9' ])->{status}, 200, '... and the next one another');
        is(let_go(), '200=2', 'all answered');
        begin();
        send_one('both', $_) for 1;
        until_started(1);
        send_one('both', 2);
        until_waiting('both', 1);
        refused('both', 503, 5, 'FPMP0113', 'who waits counts too');
        is(let_go(), '200=2', 'the others were not disturbed');
        is(figure('both_Perip'), 1, 'server-status counts it');
    };

    subtest "$mpm: fallbacks" => sub {
        begin();
        send_one('full', 1);
        send_one('waits', 2);
        until_started(2);
        is(http($httpd->url('/over-full/hello.php'))->{status}, 200, 'no place and no queue: the fallback gets it at once');
        $noted->(qr{^/over-full/hello.php 200 ok open 0$}m, '... as the notes say');
        is(http($httpd->url('/over-waits/hello.php'))->{status}, 200, 'it has waited as long as it may: then the fallback');
        $noted->(qr{^/over-waits/hello.php 200 ok open [3-9]\d{5}$}m, '... as the notes say');
        send_one('waits', 3);
        until_waiting('waits', 1);
        is(http($httpd->url('/over-waits/hello.php'))->{status}, 200, 'the queue is full: the fallback gets it at once');
        $noted->(qr{^/over-waits/hello.php 200 ok open 0$}m, '... as the notes say');
        is(http($httpd->url('/never/hello.php'))->{status}, 503, 'FpmPoolFailover on=down: no fallback');
        let_go();
    };

    subtest "$mpm: sections" => sub {
        begin();
        send_one('open', 1);
        until_started(1);
        is(http($httpd->url('/open/hello.php'))->{status}, 503, 'a limit of a section');
        is(http($httpd->url('/open/hello.php?free'))->{status}, 200, '... and an inner one that takes it away');
        is(let_go(), '200=1', 'all answered');
    };

    subtest "$mpm: bodies" => sub {
        begin();
        send_one('order', 0);
        until_started(1);
        my $expects = send_one('order', 1, method => 'POST', headers => [ 'Content-Length' => 2_000_000, Expect => '100-continue' ], no_body => 1);
        until_waiting('order', 1);
        my $chunked = send_one('order', 2, method => 'POST', body => [ 'c' x 70_000, 'd' x 5 ]);
        until_waiting('order', 2);
        my $small = send_one('order', 3, method => 'POST', body => 'b' x 100);
        until_waiting('order', 3);
        ok(!IO::Select->new($expects->{socket})->can_read(0), 'who waits for 100 Continue does not get it before his turn');
        write_file("$folder/go", '');
        is($expects->read_head->{status}, 100, '... but then');
        $expects->send_raw('e' x 2_000_000);
        is($expects->read_answer->{body}, '1 2000000', '... and his body arrives');
        is($chunked->read_answer->{body}, '2 70005', 'a body without a length');
        is($small->read_answer->{body}, '3 100', 'a small one');
        begin();
        my $slow = send_one('order', 'slow', method => 'POST', headers => [ 'Content-Length' => 1000 ], no_body => 1);
        $slow->send_raw('s' x 500);
        wait_for { http($httpd->url('/server-status'))->{body} =~ /n=slow/ } 10, 'its head to be read';
        is(http($httpd->url('/order/hello.php'), timeout => 10)->{status}, 200, 'a place is free while the one who has it waits for its body');
        $slow->send_raw('s' x 500);
        write_file("$folder/go", '');
        is($slow->read_answer->{body}, 'slow 1000', '... and who uploads slowly gets one when it is there');
        begin();
        send_one('full', 1);
        until_started(1);
        my $early = send_one('full', 2, method => 'POST', headers => [ 'Content-Length' => 2_000_000, Expect => '100-continue' ], no_body => 1);
        is($early->read_head->{status}, 503, 'no place: refused before the upload');
        write_file("$folder/go", '');
        is(answers($held[0]), '200=1', 'the other was not disturbed');
    };

    subtest "$mpm: a client that leaves" => sub {
        begin();
        send_one('order', 0);
        until_started(1);
        my $gone = send_one('order', 'gone');
        until_waiting('order', 1);
        my $post = send_one('order', 'post', method => 'POST', body => 'x' x 100);
        until_waiting('order', 2);
        send_one('order', 'last');
        until_waiting('order', 3);
        $_->close for $gone, $post;
        @held = grep { $_ != $gone && $_ != $post } @held;
        until_waiting('order', 1);
        is(let_go(), '200=2', 'the others are served');
        is(started(), '0 last', '... and what it wanted never ran');
        $noted->(qr{^/order/hold.php \d+ abort order \d+$}m, '... and the notes say so');
    };

    subtest "$mpm: a child that is killed gives back what it has" => sub {
        begin();
        send_one('exact', $_) for 1 .. 3;
        until_started(3);
        send_one('exact', $_) for 4 .. 9;
        until_waiting('exact', 6);
        kill 'KILL', children($httpd->pid);
        is(answers(@held), 'none=9', 'all children are dead');
        until_waiting('exact', 0);
        my @dead = @held;
        write_file("$folder/go", '');
        wait_for { read_file("$folder/inside") =~ /^0 / } 20, 'the scripts of the dead to end';
        begin();
        send_one('exact', $_) for 1 .. 3;
        until_started(3);
        send_one('exact', 4);
        until_waiting('exact', 1);
        is(let_go(), '200=4', 'the places are free again, and no more than there are');
        is(most_inside(), 3, '... as PHP counts them');
        begin();
        send_one('order', 0);
        until_started(1);
        send_one('order', $_) for 1 .. 5;
        until_waiting('order', 5);
        kill 'KILL', (children($httpd->pid))[0];
        my %status = map { /(\w+)=(\d+)/ } split / /, let_go();
        is(($status{200} // 0) + ($status{none} // 0), 6, 'one of several is killed: the requests of the others are served') or diag explain \%status;
        until_waiting('order', 0);
    };

    subtest "$mpm: a child that is stopped holds nobody up" => sub {
        begin();
        send_one('order', 0);
        until_started(1);
        my ($first, $second) = map { my $http = send_one('order', $_); until_waiting('order', $_); $http } 1 .. 2;
        my $stopped = child_of($first);
        my $is_alone = child_of($second) != $stopped && child_of($held[0]) != $stopped;
        kill 'STOP', $stopped if $is_alone;
        write_file("$folder/go", '');
        is(answers($held[0], $second), '200=2', 'the first one does not take his turn: the next one does');
        kill 'CONT', $stopped;
        is(answers($first), '200=1', '... and then he');
        is(started(), $is_alone ? '0 2 1' : '0 1 2', '... in this order');
        ok($is_alone, 'it was shown') if $mpm eq 'prefork';
    };

    subtest "$mpm: a graceful restart" => sub {
        begin();
        send_one('order', 0);
        until_started(1);
        send_one('order', $_), until_waiting('order', $_) for 1 .. 3;
        my $from = $httpd->log_length;
        $httpd->signal('USR1');
        $httpd->wait_log(qr/resuming normal operations/, 15, $from);
        wait_for { (eval { http($httpd->url('/open/hello.php?free'))->{status} } // 0) == 200 } 15, 'an answer';
        is(waiting('order'), 3, 'those that wait are still there');
        send_one('order', 4);
        until_waiting('order', 4);
        is(let_go(), '200=5', '... and are served');
        is(started(), '0 1 2 3 4', '... before one that came to a new child');
        is(most_inside(), 1, '... one at a time');
    };
    $httpd->stop;
}

SKIP: {
    skip 'curl has no HTTP/2', 1 unless FPMPool::HTTP2->is_available;
    subtest 'HTTP/2' => sub {
        $httpd = start_httpd(mpm => 'event', mpm_conf => $mpm_conf{event}, docroot => $root, modules => [qw(status remoteip http2)], conf => "${conf}Protocols h2c http/1.1\n");
        begin();
        my $curl = sub {
            my ($n) = @_;
            my $pid = fork // die $!;
            return $pid if $pid;
            exec 'curl', '-sS', '--http2-prior-knowledge', '--max-time', 30, '-o', "$folder/body-$n", $httpd->url(target('order', $n)) or POSIX::_exit(1);
        };
        my @pid = ($curl->(0));
        until_started(1);
        for my $n (1 .. 3) {
            push @pid, $curl->($n);
            until_waiting('order', $n);
        }
        kill 'TERM', $pid[2];
        waitpid $pid[2], 0;
        until_waiting('order', 2);
        write_file("$folder/go", '');
        waitpid $_, 0 for @pid[ 0, 1, 3 ];
        is(started(), '0 1 3', 'they wait, one that leaves never runs');
        is(read_file("$folder/body-3"), '3 0', '... and the last one is answered');
        is(most_inside(), 1, '... one at a time');
        is(waiting('order'), 0, 'nobody waits any more');
        $httpd->stop;
    };
}
done_testing();
