# What a worker costs in the long run: 50,000 requests of every kind leave its memory and its
# descriptors as they were, and a small warm request needs few system calls.
# FPMPOOL_TEST_REQUESTS: another number of requests.
# alone: counts system calls, and 50,000 requests fill the machine

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $count = $ENV{FPMPOOL_TEST_REQUESTS} || 50_000;
$ENV{FPMPOOL_TEST_TIMEOUT} || alarm 1800;    # half a minute; on a machine that is busy with other things ten times that
my $root  = site('www',
    'hello.php'  => '<?php echo "hello\n";',
    'post.php'   => '<?php echo count($_POST), count($_FILES), strlen(file_get_contents("php://input"));',
    'large.php'  => '<?php for ($i = 0; $i < 40; $i++) echo str_repeat("x", 10000);',
    'flush.php'  => '<?php for ($i = 0; $i < 5; $i++) { echo "piece"; flush(); }',
    'exit.php'   => '<?php ob_start(); echo "x"; exit(1);',
    'fatal.php'  => '<?php nowhere();',
    'throw.php'  => '<?php function f($a) { throw new Exception(str_repeat("e", 500)); } f([1, 2]);',
    'hungry.php' => '<?php ini_set("memory_limit", "4M"); str_repeat("x", 1 << 26);',
    'finish.php' => '<?php ignore_user_abort(true); echo "x"; fastcgi_finish_request(); echo "later"; flush();',
    'ini.php'    => '<?php ini_set("precision", 3); ini_set("user_agent", str_repeat("u", 200)); set_time_limit(20); echo ini_get("precision");',
    'status.php' => '<?php echo count(fpm_get_status()["procs"]), count(getallheaders()), count($_SERVER);',
    'chdir.php'  => '<?php chdir("/"); echo getcwd(); include "/proc/self/cmdline";',
    'log.php'    => '<?php error_log(str_repeat("message ", 50)); echo $undefined;',
    'headers.php' => '<?php for ($i = 0; $i < 20; $i++) header("X-$i: " . str_repeat("v", 100)); setcookie("a", "b"); http_response_code(404); session_cache_limiter("");',
    'own/a.php'  => '<?php echo ini_get("user_agent");',
    'own/deep/a.php' => '<?php echo ini_get("user_agent");',
    'note.txt'   => 'no script',
);
write_file("$root/own/.user.ini", "user_agent = own\nprecision = 9\n");
my $daemon = start_daemon(conf => {
    www => {
        'pm.max_children' => 1, 'ping.path' => '/ping', 'pm.status_path' => '/status', 'access.log' => test_dir() . '/access.log',
        'access.format' => '"%R %u %m %r%Q%q %s %C %M %{Content-type}o %{HTTP_HOST}e"', 'php_admin_value[error_log]' => '/dev/null', 'php_value[display_errors]' => 0,
    },
});
my ($worker) = wait_for { my ($one) = $daemon->worker_pids; $one } 10, "a worker";

my @kind = (
    [ 'hello.php' ], [ 'hello.php', query => 'a=1&b[]=2', params => { HTTP_COOKIE => 'a=b; c=d', HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' } ], [ 'hello.php', method => 'HEAD' ],
    [ 'post.php', body => 'a=1&b=2' ], [ 'post.php', body => '{"a":1}', type => 'application/json' ], [ 'post.php', body => 'x' x 100_000, type => 'x/y' ],
    [ 'post.php', body => 'x' x 100_000, type => 'x/y', params => { CONTENT_LENGTH => undef, FPMPOOL_BODY => 'stream' } ], [ 'post.php', body => 'abc', type => 'x/y', params => { CONTENT_LENGTH => 100 } ],
    [ 'post.php', type => 'multipart/form-data; boundary=B', body => "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n" . 'c' x 5000 . "\r\n--B--\r\n" ],
    [ 'hello.php', body => 'x' x 50_000, type => 'x/y' ], [ 'large.php' ], [ 'flush.php' ], [ 'exit.php' ], [ 'fatal.php' ], [ 'throw.php' ], [ 'hungry.php' ], [ 'finish.php' ], [ 'ini.php' ], [ 'status.php' ], [ 'chdir.php' ], [ 'log.php' ], [ 'headers.php' ],
    [ 'own/a.php', docroot => $root ], [ 'own/deep/a.php', docroot => $root ], [ 'hello.php', params => { PHP_VALUE => "precision = 5\nuser_agent = x", PHP_ADMIN_VALUE => 'html_errors = 1' } ], [ 'hello.php', params => { PHP_VALUE => "[bad]\nno_such = 1" } ],
    [ 'missing.php' ], [ 'note.txt' ], [ 'hello.php/path/info', name => '/hello.php/path/info' ], [ 'hello.php', params => { REQUEST_METHOD => undef } ], [ 'ping', name => '/ping' ], [ 'status', name => '/status', query => 'full&json' ],
    [ 'hello.php', params => { map { ("HTTP_X_$_" => 'v' x 100) } 1 .. 100 } ], [ 'hello.php', params => { LONG => 'l' x 100_000 } ], [ 'post.php', method => 'POST', params => { REQUEST_BODY_FILE => "$root/note.txt", CONTENT_LENGTH => 9, CONTENT_TYPE => 'x/y' } ],
);

# Half of them on kept connections; now and then a client that goes away. Returns how many had an
# answer.
sub run_requests {
    my ($times) = @_;
    my ($kept, $answered) = (undef, 0);
    for my $n (1 .. $times) {
        my ($script, %option) = @{ $kind[ $n % @kind ] };
        my %request = (script => "$root/$script", %option);
        if ($n % 97 == 0) {
            my $client = php_connect($daemon);
            $client->send_bytes(substr FPMPool::Client::request_bytes(%request), 0, 300);
            $client->close;
        } elsif ($n % 89 == 0) {
            my $client = php_connect($daemon);
            $client->send_request(script => "$root/" . ($n % 2 ? 'large.php' : 'flush.php'));
            $client->read_record;
            $client->close;
        } elsif (int($n / @kind) % 2) {
            $kept = php_connect($daemon) if !$kept || !$kept->is_open;
            $answered++ if $kept->request(%request)->{ended};
        } else {
            $answered++ if php_request($daemon, '', %request)->{ended};
        }
    }
    return $answered;
}

sub memory_of {
    my ($pid) = @_;
    my ($kilobytes) = read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m;
    return $kilobytes;
}

subtest "$count requests of @{[ scalar @kind ]} kinds in one worker" => sub {
    run_requests(@kind * 12);
    my $pool = $daemon->pool_pid;
    my %before = map { $_ => [ memory_of($_), FPMPool::Process::descriptor_count($_) ] } $worker, $pool;
    is(run_requests($count), $count - (grep { $_ % 97 == 0 || $_ % 89 == 0 } 1 .. $count), 'every one is answered');
    php_request($daemon, "$root/hello.php");
    is(join(' ', $daemon->worker_pids), $worker, 'by the same worker');
    for my $case ([ $worker, 'worker' ], [ $pool, 'pool process' ]) {
        my ($pid, $name) = @$case;
        wait_for { FPMPool::Process::descriptor_count($pid) <= $before{$pid}[1] } 5, "the $name to close its descriptors";
        pass("$name: no descriptor more");
        my $more = memory_of($pid) - $before{$pid}[0];
        cmp_ok($more, '<', 1024, "$name: memory grew by less than 1 MB") or diag("$more kB more");
    }
};

# The calls of each warm request of a worker, and those of its other threads.
sub calls_of_requests {
    my ($name, $requests, %key) = @_;
    my %params = %{ delete $key{params} || {} };
    my $plain    = start_daemon(name => $name, conf => { www => { 'pm.max_children' => 1, %key } });
    my $pid      = wait_for { ($plain->worker_pids)[0] } 10, 'a worker';
    my $client   = php_connect($plain);
    $client->request(script => "$root/hello.php", params => {%params}) for 1 .. 50;
    my $trace = test_dir() . "/trace-$name";
    my $tracer = FPMPool::Process::spawn(argv => [ 'strace', '-f', '-o', $trace, '-p', $pid ], stderr => "$trace.err");
    my $is_attached = eval { wait_for { -s "$trace.err" && read_file("$trace.err") =~ /attached/ } 10, 'strace' };
    my $refusal = $is_attached ? '' : -s "$trace.err" ? read_file("$trace.err") : 'no word';
    for (1 .. $requests) {
        my $answer = $client->request(script => "$root/hello.php", params => {%params});
        is($answer->{body}, "hello\n", 'answer') if $answer->{body} ne "hello\n";
    }
    kill 'INT', $tracer;
    FPMPool::Process::reap($tracer, 10);
    plan(skip_all => "strace cannot attach: $refusal") unless $is_attached;
    my (@calls_of, @other);
    for my $line (split /\n/, read_file($trace)) {
        my ($thread, $call) = $line =~ /^(\d+)\s+(\w+)\(/ or next;
        if ($thread != $pid) {
            push @other, $line;
            next;
        }
        push @calls_of, [] if $call eq 'recvfrom';
        push @{ $calls_of[-1] }, $call if @calls_of;
    }
    pop @calls_of;
    return (\@calls_of, \@other);
}

# Once a second or two PHP looks whether files have changed, and we whether the folder has: those
# requests have more, so the typical one is taken.
sub typical { my ($calls_of) = @_; return (sort { @$a <=> @$b } @$calls_of)[ @$calls_of / 2 ] }

subtest 'system calls of a warm small request' => sub {
    plan(skip_all => 'needs strace (Debian package strace)') unless grep { -x "$_/strace" } split /:/, $ENV{PATH};
    my $requests = 100;
    my ($calls_of) = calls_of_requests('plain', $requests);
    cmp_ok(scalar @$calls_of, '>=', $requests - 2, 'every request was seen');
    my $typical = typical($calls_of);
    cmp_ok(scalar @$typical, '<=', 8, 'at most 8') or diag("@$typical");
    is(scalar(grep { @$_ > 8 + 8 } @$calls_of), 0, 'and never many more');
    my ($told) = calls_of_requests('told', $requests, params => { FPMPOOL_PEER => 1 });
    is(scalar @{ typical($told) }, scalar @$typical, 'what our module is told of memory and CPU costs none') or diag("@{ typical($told) }");
    my ($watched, $tracer) = calls_of_requests('slow', $requests, slowlog => test_dir() . '/slow.log', request_slowlog_timeout => '5s');
    is("@{ typical($watched) }", "@$typical", 'the same with a slow log');
    is(scalar(grep { !/^\d+\s+recvmsg\(\d+,\s+<(?:unfinished|detached)/ } @$tracer), 0, '... whose thread sleeps') or diag(join "\n", @$tracer);
};
done_testing();
