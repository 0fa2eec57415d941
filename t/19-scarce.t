# Too few processes, too few descriptors: in the master, in a pool process, in httpd. Each says what is short and what to
# raise, goes on with what there is, and needs no restart when there is more.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};
require_program('prlimit', 'util-linux');

my $root = site('www', 'hello.php' => '<?php echo "hello";', 'pid.php' => '<?php echo getpid();');

# Sets the soft limit of a process, as that process's user.
sub limit {
    my ($pid, $what, $soft) = @_;
    my ($gid) = read_file("/proc/$pid/status") =~ /^Gid:\s+(\d+)/m;
    my $uid = process_uid($pid);
    defined(my $child = fork) or die "fork: $!";
    if (!$child) {
        ($), $() = ("$gid $gid", $gid) if is_root();
        ($<, $>) = ($uid, $uid) if is_root();
        exec 'prlimit', '--pid', $pid, "--$what=$soft:" or POSIX::_exit(1);
    }
    my $status = FPMPool::Process::reap($child, 10);
    die "prlimit: $status" if $status;
    return;
}

sub serves {
    my ($daemon, $pool, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(eval { php_request($daemon, "$root/hello.php", pool => $pool, timeout => 15)->{body} } // $@, 'hello', $name);
}

subtest 'no more processes' => sub {
    plan(skip_all => 'needs root: a user of its own, whose processes are counted') unless is_root();
    my $uid = 40_000 + $$ % 20_000;    # nobody else's
    my %own = (user => $uid, group => $uid, 'pm.max_children' => 4, 'queue.timeout' => '2s');
    my $daemon = start_daemon(conf => { www => { %own, pm => 'ondemand', 'pm.process_idle_timeout' => '60s' } });
    my $pool = $daemon->pool_pid;
    limit($pool, 'nproc', 1);    # itself
    my $short = qr/ERROR: \[pool www\] cannot start a worker: Resource temporarily unavailable \(11\); raise the limit of processes of user $uid \(LimitNPROC, ulimit -u\), or TasksMax$/m;
    allow_log($short);
    my $client = php_connect($daemon, 'www', timeout => 15);
    $client->send_request(script => "$root/hello.php");
    ok(eval { $daemon->wait_log($short, 10) }, 'the log says what is short and what to raise') or diag $daemon->log_text;
    my $answer = eval { $client->read_answer } || {};
    is($answer->{status}, 503, 'a request waits for queue.timeout, and is answered 503');
    like($answer->{stderr} // '', qr/\S/, '... with a reason');
    cmp_ok(scalar(() = $daemon->log_text =~ /cannot start a worker/g), '<', 12, 'tries come later each time, and do not fill the log');
    $client = php_connect($daemon, 'www', timeout => 45);
    $client->send_request(script => "$root/hello.php");
    limit($pool, 'nproc', 10);
    $answer = eval { $client->read_answer } || {};
    # the back-off may be longer than that request's two seconds
    wait_for { eval { php_request($daemon, "$root/hello.php", timeout => 10)->{body} // '' } eq 'hello' } 60, 'service';
    pass('with more processes it serves again, by itself');
    is($daemon->pool_pid, $pool, '... the same pool process');
};

subtest 'the master cannot fork' => sub {
    plan(skip_all => 'needs root') unless is_root();
    my $uid  = 60_000 + $$ % 5_000;
    my $run  = test_dir() . '/nproc-run';
    mkdir $run;
    chown $uid, $uid, $run;
    my $real = build_path('bin/fpmpoold');
    my $file = write_file('limited/fpmpoold', "#!/usr/bin/perl\n\$) = '$uid $uid'; \$( = $uid; \$< = \$> = $uid;\nexec '$real', \@ARGV;\n", 0755);
    my $daemon = start_daemon(binary => $file, conf => { www => { user => undef, listen => "$run/www.sock", 'pm.max_children' => 1 } });
    limit($daemon->pid, 'nproc', 1);
    my $short = qr/ERROR: \[pool www\] cannot start the pool process: fork: Resource temporarily unavailable \(11\); raise the limit of processes of user $uid \(LimitNPROC, ulimit -u\), or TasksMax$/m;
    my $test  = qr/ERROR: reload: cannot test the configuration, the old one serves on: Resource temporarily unavailable \(11\)/;
    allow_log($short, $test, qr/pool process \d+ exited on signal 9/, qr/child \d+ exited/);
    $daemon->signal('HUP');
    ok(eval { $daemon->wait_log($test, 10) }, 'a reload that cannot fork says so') or diag $daemon->log_text;
    is(eval { php_request("$run/www.sock", "$root/hello.php", timeout => 15)->{body} } // $@, 'hello', '... and the pool serves on');
    kill 'KILL', $daemon->pool_pid;
    ok(eval { $daemon->wait_log($short, 10) }, 'a pool process that cannot be replaced: said') or diag $daemon->log_text;
    limit($daemon->pid, 'nproc', 20);
    is(eval { php_request("$run/www.sock", "$root/hello.php", timeout => 40)->{body} } // $@, 'hello', '... and it is, when there are processes again');
};

subtest 'the master has no descriptor left' => sub {
    my %pools  = map { ("p$_" => { 'pm.max_children' => 1 }) } 1 .. 4;
    my $daemon = start_daemon(conf => \%pools);
    my $used   = descriptor_count($daemon->pid);
    limit($daemon->pid, 'nofile', $used);
    my $pool = $daemon->pool_pid('p1');
    my $short = qr/ERROR: \[pool p1\] cannot start the pool process: [\w \/]+: Too many open files \(24\); raise the limit of open files \(LimitNOFILE, ulimit -n\)$/m;
    allow_log($short, qr/pool process \d+ exited on signal 9/, qr/child \d+ exited/, qr/reload: |failed to load configuration file/, qr/Too many open files/);
    kill 'STOP', $daemon->pid;    # so that one reload and the death come at once, with no descriptor of the pool free yet
    kill 'KILL', $pool;
    wait_for { !alive($pool) } 5, 'the end of the pool process';
    limit($daemon->pid, 'nofile', 8);
    kill 'CONT', $daemon->pid;
    ok(eval { $daemon->wait_log($short, 10) }, 'a pool process that cannot be replaced: said') or diag $daemon->log_text;
    serves($daemon, "p$_", "pool p$_ serves on") for 2 .. 4;
    $daemon->signal('HUP');
    ok(eval { $daemon->wait_log(qr/ERROR: (?:reload: cannot test the configuration, the old one serves on|failed to open configuration file '[^']+'): Too many open files \(24\)/, 10) }, 'a reload says so') or diag $daemon->log_text;
    serves($daemon, 'p2', '... and the pools serve on');
    limit($daemon->pid, 'nofile', 1024);
    serves($daemon, 'p1', 'with more descriptors the pool comes back by itself');
    my ($p2) = $daemon->pool_pid('p2');
    $daemon->signal('HUP');
    ok(eval { wait_for { my $now = $daemon->pool_pid('p2'); $now && $now != $p2 } 15, 'a new generation' }, 'reload works again');
};

subtest 'a pool process has no descriptor for a new worker' => sub {
    my $daemon = start_daemon(conf => { www => { pm => 'ondemand', 'pm.max_children' => 4, 'pm.process_idle_timeout' => '60s', 'queue.timeout' => '2s' } });
    my $pool   = $daemon->pool_pid;
    my $used   = FPMPool::Process::descriptors($pool);
    my ($free) = grep { !exists $used->{$_} } 0 .. 1000;
    limit($pool, 'nofile', $free + 1);    # one for the connection
    my $short = qr/ERROR: \[pool www\] cannot start a worker: Too many open files \(24\); raise the limit of open files \(LimitNOFILE, ulimit -n\)$/m;
    allow_log($short);
    my $client = php_connect($daemon, 'www', timeout => 15);
    $client->send_request(script => "$root/hello.php");
    ok(eval { $daemon->wait_log($short, 10) }, 'the log says what is short and what to raise') or diag $daemon->log_text;
    my $answer = eval { $client->read_answer } || {};
    is($answer->{status}, 503, 'a request waits for queue.timeout, and is answered 503');
    limit($pool, 'nofile', 1024);
    wait_for { eval { php_request($daemon, "$root/hello.php", timeout => 10)->{body} // '' } eq 'hello' } 60, 'service';
    pass('with more it serves again, by itself');
};

subtest 'httpd has no descriptor left' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
    my $httpd  = start_httpd(mpm => 'event', mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 4\nMinSpareThreads 1\nMaxSpareThreads 4\nMaxRequestWorkers 4\n",
        docroot => $root, override => 'None', conf => "FpmPoolTimeout keep=0\n" . php_routes('fpmpool', $daemon, 'www'));
    is(http($httpd->url('/hello.php'))->{body}, 'hello', 'a page');
    my ($child) = children($httpd->pid);
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request(GET => '/hello.php');
    $http->read_answer;
    my $used = FPMPool::Process::descriptors($child);
    my ($free) = grep { !exists $used->{$_} } 0 .. 1000;
    limit($child, 'nofile', $free);
    $http->send_request(GET => '/hello.php');
    is($http->read_answer->{status}, 503, 'a request without a descriptor for its pool: 503');
    my $short = qr/\[fpmpool:error\] .*\(24\)Too many open files: .*FPMP0073: pool www: cannot connect to \S+: httpd has no descriptor left: raise its limit of open files/;
    ok(eval { $httpd->wait_log($short, 5) }, '... the log says why and what to do') or diag $httpd->log_text;
    allow_log(qr/FPMP0073: pool www: .*no descriptor left/);
    limit($child, 'nofile', 1024);
    is(http($httpd->url('/hello.php'))->{status}, 200, 'with one the next is served');
};
done_testing();
