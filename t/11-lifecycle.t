# The daemon's life: starts and ends by every signal, failed pools, reloads, log reopening, crashes of
# the pool process, pools that sleep. Requests go on through all of it.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use IO::Socket::INET;
use FPMPool::Test;

my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'slow.php'  => slow_script(),
    'value.php' => '<?php echo ini_get("memory_limit");',
);
chmod 0777, test_dir();

for my $case ([ TERM => 'Terminating' ], [ INT => 'Terminating' ], [ QUIT => 'Finishing' ]) {
    my ($signal, $word) = @$case;
    subtest "SIG$signal ends everything" => sub {
        my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 }, other => {} }, stop_signal => $signal);
        is(php_request($daemon, "$root/pid.php")->{status}, 200, 'it serves');
        my @before = descendants($daemon->pid);
        cmp_ok(scalar @before, '>=', 6, 'two pool processes and their workers');
        is($daemon->stop($signal), 0, 'exit code 0');
        like($daemon->log_text, qr/NOTICE: $word \.\.\..*NOTICE: exiting, bye-bye!\n\z/s, 'the log says so, with php-fpm\'s words');
        is(scalar(grep { alive($_) } @before), 0, 'no process is left');
        ok(!-e $daemon->listen_address('www'), 'no socket is left');
    };
}

subtest 'QUIT lets a running request finish' => sub {
    my $daemon = start_daemon(conf => { www => {} });
    my $client = start_slow($root, $daemon, 'www');
    $daemon->signal('QUIT');
    $daemon->wait_log(qr/Finishing \.\.\./);
    open_gate();
    is($client->read_answer->{body}, 'done', 'its answer arrives whole');
    is($daemon->stop('QUIT'), 0, 'and the daemon ends well');
};

subtest 'QUIT ends a request that outlives process_control_timeout' => sub {
    allow_log(qr/exited on signal/, qr/child \d+/);
    my $daemon = start_daemon(conf => { global => { process_control_timeout => 1 }, www => {} });
    my $client = start_slow($root, $daemon, 'www');
    is($daemon->stop('QUIT'), 0, 'the daemon ends');
    isnt($client->read_answer->{body}, 'done', 'the request was cut');
};

subtest 'a pool that cannot serve answers, the others serve' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    allow_log(qr/cannot get uid for user 'nobody-of-this-name'/, qr/The application cannot/);
    my $daemon = start_daemon(conf => { www => {}, bad => { user => 'nobody-of-this-name', 'listen.mode' => '0666' } });
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'the good pool serves');
    my $answer = FPMPool::Client->connect($daemon->listen_address('bad'))->request(script => "$root/pid.php");
    is($answer->{status}, 503, 'the bad pool answers 503');
    ok($answer->{headers}{'retry-after'}, '... with Retry-After');
    like($answer->{stderr}, qr/nobody-of-this-name/, '... and the reason');
};

subtest 'a pool whose PHP cannot start is retried, the others serve' => sub {
    allow_log(qr/\[pool broken\]/);
    my $preload = write_file(test_dir() . '/preload.php', "<?php syntax error here\n");
    my $daemon  = start_daemon(conf => { www => {}, broken => { 'php_admin_value[opcache.preload]' => $preload } });
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'the good pool serves');
    $daemon->wait_log(qr/\[pool broken\] .*preload\.php/, 10);
    pass('the log names the pool and PHP\'s own reason');
    my $answer;
    wait_for {
        $answer = eval { FPMPool::Client->connect($daemon->listen_address('broken'))->request(script => "$root/pid.php") };
        $answer && ($answer->{status} || 0) == 503
    } 20, 'the broken pool answers 503';
    write_file($preload, "<?php\n");
    wait_for {
        my $got = eval { FPMPool::Client->connect($daemon->listen_address('broken'))->request(script => "$root/pid.php") };
        $got && ($got->{status} || 0) == 200
    } 40, 'the repaired pool serves without a restart';
    pass('a repaired pool comes back by itself');
};

subtest 'a socket path that is taken' => sub {
    allow_log(qr/Another FPM instance seems to already listen/, qr/exists and is not a socket/, qr/no pool can serve|initialization failed/);
    my $first = start_daemon(conf => { www => {} });
    my $path  = $first->listen_address('www');
    my $second = start_daemon(conf => { www => { listen => $path } }, wait => 0)->expect_end;
    $second->wait_log(qr/ERROR: Another FPM instance seems to already listen on \Q$path\E/, 15);
    wait_for { !$second->is_running } 10, 'the second daemon ended';
    is($second->stop >> 8, 78, '... with 78');
    is(php_request($first, "$root/pid.php")->{status}, 200, 'the first one serves on');
    my $file  = write_file(test_dir() . '/a-file', 'precious');
    my $third = start_daemon(conf => { www => { listen => $file } }, wait => 0)->expect_end;
    $third->wait_log(qr/ERROR: \[pool www\] '\Q$file\E' exists and is not a socket: move it away/);
    is(read_file($file), 'precious', 'a file in the way is not touched');
    wait_for { !$third->is_running } 10, 'the third daemon ended';
};

subtest 'a stale socket is replaced' => sub {
    my $daemon = start_daemon(conf => { www => {} });
    my $path   = $daemon->listen_address('www');
    my @old = descendants($daemon->pid);
    allow_log(qr/left over/);
    $daemon->crash;
    wait_for { !grep { alive($_) } @old } 10, 'pools end when their master is gone';
    ok(-S $path, 'a killed master leaves its socket');
    my $next = start_daemon(conf => { www => { listen => $path } });
    is(FPMPool::Client->connect($path)->request(script => "$root/pid.php")->{status}, 200, 'the next one takes it over');
};

for my $signal (qw(HUP USR2)) {
    subtest "SIG$signal takes the new configuration and loses no request" => sub {
        my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2, 'php_admin_value[memory_limit]' => '64M' }, gone => {} });
        my ($master, $old_pool) = ($daemon->pid, $daemon->pool_pid);
        is(php_request($daemon, "$root/value.php")->{body}, '64M', 'the old value');
        my $slow = start_slow($root, $daemon, 'www');
        my $gone = $daemon->listen_address('gone');
        rewrite($daemon, sub { s/memory_limit\] = 64M/memory_limit] = 96M/; s/^\[gone\]\n(?:(?!\[).*\n)*//m });
        $daemon->signal($signal);
        $daemon->wait_log(qr/NOTICE: Reloading in progress \.\.\./);
        wait_for { php_request($daemon, "$root/value.php")->{body} eq '96M' } 10, 'the new value serves';
        pass('new requests see the new configuration while an old one runs');
        ok(alive($old_pool), 'the old generation still runs it');
        open_gate();
        is($slow->read_answer->{body}, 'done', 'the old request ends whole');
        wait_for { !alive($old_pool) } 10, 'the old generation ended';
        is($daemon->pid, $master, 'the master is the same process');
        ok(alive($master), '... and lives');
        ok(!-e $gone, 'the socket of a removed pool is gone');
    };
}

subtest 'a bad configuration changes nothing' => sub {
    allow_log(qr/unknown entry 'nonsense'/, qr/failed to load configuration file/, qr/reload: the new configuration has errors/);
    my $daemon = start_daemon(conf => { www => {} });
    my $pool   = $daemon->pool_pid;
    my $before = descriptor_count($daemon->pid);
    rewrite($daemon, sub { $_ .= "nonsense = 1\n" });
    $daemon->signal('USR2');
    $daemon->wait_log(qr/ERROR: \[\S+:\d+\] unknown entry 'nonsense'.*the old one serves on/s);
    is($daemon->pool_pid, $pool, 'the pool process is the same');
    is(php_request($daemon, "$root/pid.php")->{status}, 200, '... and serves');
    rewrite($daemon, sub { s/nonsense = 1\n// });
    $daemon->signal('USR2');
    wait_for { my $now = $daemon->pool_pid; $now && $now != $pool && !alive($pool) } 10, 'a good one is taken again';
    # the master closes what it had of the old process when it has reaped it
    ok(eval { wait_for { descriptor_count($daemon->pid) == $before } 10, 'the descriptors' }, 'no descriptor is left behind')
        or diag(descriptor_count($daemon->pid) . " in place of $before");
};

subtest 'USR1 opens the logs anew without touching a worker' => sub {
    my $log    = test_dir() . '/access.log';
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1, 'access.log' => $log } });
    my @worker;
    wait_for { @worker = $daemon->worker_pids } 10, 'a worker';
    php_request($daemon, "$root/pid.php");
    wait_for { -s $log } 5, 'the access log has a line';
    rename $log, "$log.1";
    $daemon->signal('USR1');
    $daemon->wait_log(qr/NOTICE: error log file re-opened|NOTICE: access log file re-opened/);
    wait_for { -e $log } 5, 'the new file is there';
    php_request($daemon, "$root/pid.php");
    wait_for { -s $log } 5, 'the new file has a line';
    is((split /\n/, read_file("$log.1")) + 0, 1, 'the old one has one line');
    is_deeply([ $daemon->worker_pids ], \@worker, 'the worker is the same');
};

subtest 'a pool process that is killed comes back' => sub {
    allow_log(qr/pool process \d+ exited on signal 9/);
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 }, other => {} });
    my ($old, $other) = ($daemon->pool_pid, $daemon->pool_pid('other'));
    my $slow = start_slow($root, $daemon, 'www');
    kill 'KILL', $old;
    wait_for { my $now = $daemon->pool_pid; $now && $now != $old } 10, 'a new pool process is there';
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'it serves');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'a request of the old one ends whole');
    is($daemon->pool_pid('other'), $other, 'the other pool saw nothing of it');
    wait_for { 2 == grep { alive($_) } $daemon->worker_pids } 10, 'orphans are gone';
};

subtest 'an ondemand pool sleeps without a process and wakes' => sub {
    my $daemon = start_daemon(conf => { www => { pm => 'ondemand', 'pm.max_children' => 2, 'pm.process_idle_timeout' => 1, pool_idle_timeout => 1 } });
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'it serves');
    wait_for { !$daemon->pool_pid } 15, 'no process of it is left';
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'the next request wakes it');
    ok($daemon->pool_pid, '... with a new pool process');
};

subtest 'QUIT over TCP' => sub {
    my $site   = site('quit-tcp', 'slow.php' => slow_script(), 'a.php' => '<?php echo "a";');
    my $daemon = start_daemon(name => 'quit-tcp', conf => { www => { listen => 'tcp' } });
    my $slow   = start_slow($site, $daemon, 'www');
    my $pool   = $daemon->pool_pid;
    kill STOP => $pool;
    my @waiting = map { my $client = FPMPool::Client->connect($daemon->listen_address); $client->send_request(script => "$site/a.php"); $client } 1 .. 40;
    $daemon->signal('QUIT');
    $daemon->wait_log(qr/Finishing/);
    kill CONT => $pool;
    is((grep { ($_->read_answer->{body} // '') eq 'a' } @waiting), 40, 'who had connected, and was not accepted yet, is served');
    my $late = IO::Socket::INET->new(PeerAddr => $daemon->listen_address, Timeout => 5);
    ok(!$late, 'who comes while a request is finished is refused at once, and can go elsewhere');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'the running request is finished');
    is($daemon->stop, 0, 'it ends well');
};

done_testing();
