# mod_fpmpool over the life of httpd's processes and of its servers: graceful restarts, recycled children,
# a daemon that reloads, recycles or loses workers; no request fails or runs twice, no descriptor is left.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $root = site('www',
    'hello.php' => '<?php echo "hello ", getmypid();',
    'slow.php'  => '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); while (!file_exists($_GET["go"])) { usleep(5000); clearstatcache(); } echo "done";',
    'die.php'   => '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); posix_kill(getmypid(), 9); sleep(5);',
    'body.php'  => '<?php echo strlen(file_get_contents("php://input"));',
);

sub conf {
    my ($daemon, $type, @more) = @_;
    return <<"EOF_CONF";
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]} type=$type
</FpmPoolDefine>
<FpmPoolDefine reused>
    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]} type=$type reuse=on
</FpmPoolDefine>
FpmPool www
<If "%{QUERY_STRING} =~ /reuse/">
    FpmPool reused
</If>
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
@more
EOF_CONF
}

# Requests from four clients while `work` runs; returns their failures.
sub under_load {
    my ($httpd, $work) = @_;
    my $stop = test_dir() . '/stop';
    unlink $stop;
    my @clients;
    for my $n (1 .. 4) {
        pipe my $read, my $write or die $!;
        my $pid = fork // die $!;
        if (!$pid) {
            my ($count, @failed) = (0);
            until (-e $stop) {
                my $answer = eval { $n % 2 ? http($httpd->url('/hello.php')) : http($httpd->url('/body.php'), method => 'POST', body => 'b' x 2000) };
                my $good = $answer && $answer->{status} == 200 && $answer->{body} =~ /\A(?:hello \d+|2000)\z/;
                push @failed, $answer ? "$answer->{status} $answer->{body}" : $@ unless $good;
                write_file("$marks/load-$$", '') if ++$count == 3;
            }
            print {$write} "$count\n", @failed;
            close $write;
            POSIX::_exit(0);
        }
        close $write;
        push @clients, [ $pid, $read ];
    }
    $work->();
    wait_for { !grep { !-e "$marks/load-$_->[0]" } @clients } 30, 'three requests of each client';
    write_file($stop, '');
    my ($total, @failed) = (0);
    for my $client (@clients) {
        my $pipe = $client->[1];
        my ($count, @lines) = <$pipe>;
        $total += $count;
        push @failed, @lines;
        waitpid $client->[0], 0;
    }
    return ($total, @failed);
}

sub survives {
    my ($name, $httpd, $work) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($total, @failed) = under_load($httpd, $work);
    cmp_ok($total, '>=', 8, "$name: there was load");
    return is(scalar @failed, 0, "... and none of the requests failed") || diag(@failed[ 0 .. ($#failed < 5 ? $#failed : 5) ]);
}

sub request_in_background {
    my ($httpd, $path) = @_;
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request(GET => $path);
    return $http;
}

my @allowed = (qr/AH03490: scoreboard is full/, qr/FPMP00(?:64|77): /, qr/exited on signal 9|terminat|retir/i);
allow_log(@allowed);
my %mpm_conf = (
    event   => "StartServers 2\nServerLimit 4\nThreadsPerChild 8\nMinSpareThreads 4\nMaxSpareThreads 32\nMaxRequestWorkers 32\nMaxConnectionsPerChild 100\n",
    prefork => "StartServers 3\nMinSpareServers 2\nMaxRequestWorkers 16\nMaxConnectionsPerChild 20\n",
);
$mpm_conf{worker} = $mpm_conf{event};

for my $mpm (qw(event worker prefork)) {
    subtest "$mpm: children come and go" => sub {
        my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 3, 'pm.max_requests' => 50 } });
        my $httpd  = start_httpd(mpm => $mpm, mpm_conf => $mpm_conf{$mpm}, docroot => $root, conf => conf($daemon, 'fpmpool'));
        my $go = "$marks/go-$mpm";
        my $waiting = request_in_background($httpd, "/slow.php?mark=$marks/slow-$mpm&go=$go");
        wait_for { -e "$marks/slow-$mpm" } 10, 'the slow request to run';
        my @before = children($httpd->pid);
        survives('MaxConnectionsPerChild and graceful restarts', $httpd, sub {
            for my $round (1 .. 2) {
                my $from = $httpd->log_length;
                $httpd->signal('USR1');
                $httpd->wait_log(qr/resuming normal operations/, 15, $from);
                wait_for { http($httpd->url('/hello.php'))->{status} == 200 } 10, 'an answer';
            }
        });
        write_file($go, '');
        is($waiting->read_answer->{body}, 'done', 'a request that ran meanwhile is answered');
        is(read_file("$marks/slow-$mpm"), 'x', '... and ran once');
        survives('a reload of the daemon', $httpd, sub {
            for (1 .. 2) {
                my $old = $daemon->pool_pid;
                $daemon->signal('USR2');
                wait_for { !alive($old) } 40, 'the old generation to end';
            }
        });
        $_->stop for $httpd, $daemon;
    };
}

my @peers = ([ fpmpool => \&start_daemon ]);
push @peers, [ fpm => \&start_php_fpm ] if -x '/usr/sbin/php-fpm8.2';
for my $peer (@peers) {
    my ($type, $start) = @$peer;
    subtest "$type: a worker that dies is one 502, and one execution" => sub {
        my $daemon = $start->(conf => { www => { 'pm.max_children' => 3 } });
        my $httpd  = start_httpd(mpm => 'event', docroot => $root, conf => conf($daemon, $type));
        for my $method (qw(GET POST)) {
            my @body = $method eq 'POST' ? (body => 'b' x 100) : ();
            for my $query ('', '&reuse') {
                my $mark = "$marks/die-$type-$method" . ($query ? 'r' : '');
                for (1 .. 3) {
                    is(http($httpd->url("/hello.php?$query"))->{status}, 200, "$method$query: the next request is served") for 1 .. 2;
                    is(http($httpd->url("/die.php?mark=$mark$query"), method => $method, @body)->{status}, 502, "$method$query: 502");
                }
                is(read_file($mark), 'xxx', '... three requests are three executions');
            }
        }
        $_->stop for $httpd, $daemon;
    };
}

subtest 'descriptors stay as many as they were' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 3 } });
    my $httpd  = start_httpd(mpm => 'event', docroot => $root, conf => conf($daemon, 'fpmpool', "<Location /gone>\nFpmPool gone\n</Location>\nAlias /gone $root\n"));
    allow_log(qr/FPMP0073: pool gone/);
    my $load = sub {
        my ($count) = @_;
        my $http = http_connect(port => $httpd->port);
        for my $n (1 .. $count) {
            $http = http_connect(port => $httpd->port) if $n % 50 == 0;
            $http->exchange(GET => '/hello.php');
            $http->exchange(POST => '/body.php', body => 'b' x 70_000) if $n % 5 == 0;
            $http->exchange(POST => '/body.php', body => [ 'c' x 70_000 ]) if $n % 7 == 0;
            http($httpd->url('/gone/hello.php')) if $n % 10 == 0;
            if ($n % 20 == 0) {    # clients that leave
                my $gone = http_connect(port => $httpd->port);
                $gone->send_request(POST => '/body.php', headers => [ 'Content-Length' => 500_000 ], no_body => 1);
                $gone->send_raw('x' x 100_000);
                $gone->close;
            }
        }
        $http->close;
    };
    $load->(60);
    check_descriptors((children($httpd->pid))[0], sub { $load->(1000) }, 'of httpd\'s child, over 1500 requests');
    $_->stop for $httpd, $daemon;
};
# Whoever waits for a name server cannot be waited for: it must do no harm when it comes back late.
my $library = preload('slow_end');
allow_log(qr/FPMP0003: .*host\.invalid/);
for my $case ([ event => '-X' ], [ prefork => '-X' ], ['event'], ['prefork']) {
    my ($mpm, @args) = @$case;
    subtest "$mpm @args: the end while a check waits for a name server" => sub {
        my $mark = "$marks/name-$mpm@args";
        my $httpd = start_httpd(mpm => $mpm, args => \@args, docroot => $root,
            env => { LD_PRELOAD => $library, SLOW_END => 'name', SLOW_END_MARK => $mark }, conf => <<'EOF_CONF');
<FpmPoolDefine www>
    FpmPoolServer tcp://host.invalid:9 type=fpm
    FpmPoolCheck connect interval=50ms timeout=50ms
</FpmPoolDefine>
EOF_CONF
        wait_for { -e $mark } 10, 'a check to wait for the name';
        my $from = $httpd->log_length;
        is($httpd->stop, 0, 'httpd ends, and well');
        unlike($httpd->log_text($from), qr/exit signal|FPMP/, '... and nothing is said of it');
        unlink "$httpd->{dir}/httpd.pid" if @args;    # which it leaves with -X
    };
}
done_testing();
