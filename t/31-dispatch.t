# The dispatch protocol from outside: many kept connections and few workers, pipelining, heads that
# do not come, workers that die or stop in every state of their slot, lanes, queue order and limits.

use strict;
use warnings;
use File::Basename qw(dirname);
use List::Util qw(shuffle);
use POSIX ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;
srand($ENV{FPMPOOL_TEST_SEED} || 20261123);

# mark: a file that gets one line for each execution; go: the file that ends the wait.
my $wait = '$end = microtime(true) + 30; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(2000); clearstatcache(); }';
my $mark = 'file_put_contents($_GET["mark"], ($_GET["n"] ?? "") . " " . getmypid() . "\n", FILE_APPEND);';
my $root = site('www',
    'pid.php'    => '<?php echo ($_GET["n"] ?? ""), " ", getmypid();',
    'once.php'   => "<?php $mark echo 'done';",
    'hold.php'   => "<?php $mark $wait echo 'held ', \$_GET['n'] ?? '';",
    'part.php'   => "<?php while (ob_get_level()) ob_end_flush(); $mark echo 'part'; flush(); $wait echo 'rest';",
    'after.php'  => "<?php ignore_user_abort(true); register_shutdown_function(function () { $mark $wait }); echo 'answer'; fastcgi_finish_request();",
    'suicide.php' => "<?php $mark posix_kill(getmypid(), 9); sleep(5);",
    'body.php'   => '<?php echo strlen(file_get_contents("php://input"));',
);
my %one = (
    'pm.max_children' => 1, 'ping.path' => '/ping', 'pm.status_path' => '/status',
    FPMPool::Board::needed_keys(),
);
my $daemon = start_daemon(conf => {
    one   => {%one},
    two   => { %one, 'pm.max_children' => 2 },
    tcp   => { %one, listen => 'tcp' },
    short => { %one, 'queue.max' => 2 },
    quick => { %one, 'queue.timeout' => '1s' },
    turns => { %one, 'pm.max_requests' => 3 },
});
allow_log(qr/child \d+ exited on signal 9 \(SIGKILL\)/);

my $serial = 0;
sub file_name { return "$data/" . $_[0] . '-' . ++$serial }
sub lines_of { return -e $_[0] ? scalar(my @l = split /\n/, read_file($_[0])) : 0 }
sub board    { return FPMPool::Board::look($daemon, $_[0]) }
sub states   { return map { $_->{state} } @{ board($_[0])->{slots} } }
sub slot_of  { my ($pool, $pid) = @_; return (grep { $_->{pid} == $pid } @{ board($pool)->{slots} })[0] }
sub client   { return php_connect($daemon, @_) }
sub ask      { my ($client, $script, $query, %option) = @_; return $client->request(script => "$root/$script", query => $query // '', %option) }

# Holds $count workers of a pool in hold.php; returns a sub that lets them go and reads the answers.
sub occupy {
    my ($pool, $count, $script) = @_;
    my ($go, $file) = (file_name('go'), file_name('mark'));
    my @client = map { client($pool) } 1 .. $count;
    $_->send_request(script => "$root/" . ($script || 'hold.php'), query => "go=$go&mark=$file", keep => 1) for @client;
    wait_for { lines_of($file) == $count } 10, "$count workers of $pool to be busy";
    return sub { write_file($go, ''); return map { $_->read_answer } @client };
}

sub all_idle {
    my ($pool) = @_;
    return wait_for { !grep { $_ !~ /\A(?:IDLE|IDLE_NO_LANE)\z/ } states($pool) } 10, "all workers of $pool to be idle";
}

subtest 'one worker, 50 kept connections, 3 answers each in random order' => sub {
    my ($worker) = $daemon->worker_pids('one');
    my @client = map { client('one') } 1 .. 50;
    my @bad;
    for my $index (shuffle(map { ($_) x 3 } 0 .. 49)) {
        my $answer = ask($client[$index], 'pid.php', "n=$index");
        push @bad, "$index: " . ($answer->{body} // 'none') unless $answer->{ended} && ($answer->{body} // '') eq "$index $worker";
    }
    is_deeply(\@bad, [], '150 right answers from one process');
    is(scalar(grep { $_->is_open } @client), 50, 'no connection was closed');
    is(($daemon->worker_pids('one'))[0], $worker, 'the worker is the same');
    is(board('one')->{pool}{connections}, 50, 'the pool counts 50 connections');

    $_->send_request(script => "$root/pid.php", query => 'n=all', keep => 1) for @client;
    my @right = grep { $_->read_answer->{body} eq "all $worker" } @client;
    is(scalar @right, 50, 'and 50 at once');
    $_->close for @client;
    wait_for { board('one')->{pool}{connections} == 0 } 5, 'closed connections to be forgotten';
};

subtest 'pipelined requests' => sub {
    my $client = client('one');
    my @request = map { FPMPool::Client::request_bytes(script => "$root/pid.php", query => "n=$_", keep => 1, id => $_) } 1 .. 5;
    $client->send_bytes("$request[0]$request[1]");
    like($client->read_answer(id => 1)->{body}, qr/\A1 /, 'the first of a pair');
    like($client->read_answer(id => 2)->{body}, qr/\A2 /, 'the second');
    ok($client->is_open, 'still open');
    for my $cut (1, 15, 16, 40, length($request[3]) - 17) {
        $client->send_bytes($request[2] . substr $request[3], 0, $cut);
        like($client->read_answer(id => 3)->{body}, qr/\A3 /, "one and $cut bytes of another: the first");
        if ($cut < 16) {    # from 16 on BEGIN is whole, and the head has the worker
            like(ask(client('one'), 'pid.php', 'n=x')->{body}, qr/\Ax /, '... another client is served meanwhile');
        }
        $client->send_bytes(substr $request[3], $cut);
        like($client->read_answer(id => 4)->{body}, qr/\A4 /, '... the other when it is whole');
    }
    my $body = 'b' x 200_000;
    $client->send_bytes(join '', map { FPMPool::Client::request_bytes(script => "$root/body.php", body => $body, keep => 1, id => $_) } 1 .. 3);
    is($client->read_answer(id => $_)->{body}, 200_000, "with bodies, $_") for 1 .. 3;
};

subtest 'a head that does not come holds nothing and costs nothing' => sub {
    my $request = FPMPool::Client::request_bytes(script => "$root/pid.php", query => 'n=cut', keep => 1);
    my @cut = map { my $client = client('one'); $client->send_bytes(substr $request, 0, $_); [ $client, $_ ] } (1, 15) x 5;
    my $pool  = $daemon->pool_pid('one');
    my $other = client('one');
    ask($other, 'pid.php');
    all_idle('one');
    my ($start, $used, $served) = (time(), cpu_seconds($pool), 0);
    while (time() < $start + 2) {
        $served++ if ask($other, 'pid.php', 'n=o')->{body} =~ /\Ao /;
        sleep(0.05);
    }
    my $share = 100 * (cpu_seconds($pool) - $used) / (time() - $start);
    cmp_ok($share, '<', 1, sprintf 'pool process uses %.2f %% CPU', $share);
    cmp_ok($served, '>', 20, "another client is served meanwhile ($served requests)");
    is_deeply([ grep { $_ ne 'IDLE' && $_ ne 'IDLE_NO_LANE' } states('one') ], [], 'no worker is held');
    for (@cut) {
        my ($client, $length) = @$_;
        $client->send_bytes(substr $request, $length);
        like($client->read_answer->{body}, qr/\Acut /, "cut after byte $length: answered when it is whole");
    }
};

subtest 'a worker dies: IDLE' => sub {
    my ($worker) = $daemon->worker_pids('one');
    my $client = client('one');
    ask($client, 'pid.php');
    all_idle('one');
    kill 'KILL', $worker;
    my $answer = ask($client, 'pid.php', 'n=1');
    like($answer->{body} // 'nothing', qr/\A1 /, 'the next request on its lane is answered');
    isnt($answer->{body}, "1 $worker", 'by another worker');
    is(scalar(my @all = $daemon->worker_pids('one')), 1, 'there is one worker');
};

subtest 'a worker dies: CLAIMED' => sub {
    all_idle('one');
    my ($worker) = $daemon->worker_pids('one');
    my $file = file_name('mark');
    kill 'STOP', $worker;
    wait_for { process_state($worker) eq 'T' } 5, 'the worker to stop';
    my $client = client('one');
    $client->send_request(script => "$root/once.php", query => "mark=$file", keep => 1);
    wait_for { grep { $_ eq 'CLAIMED' } states('one') } 5, 'its slot to be CLAIMED';
    kill 'KILL', $worker;
    is($client->read_answer(timeout => 5)->{body}, 'done', 'the untouched request goes to another worker');
    is(lines_of($file), 1, 'and is executed once');
    is(ask($client, 'pid.php')->{status}, 200, 'the connection lives on');
};

for my $keep (1, 0) {
    subtest 'a worker dies: RUNNING, ' . ($keep ? 'kept connection' : 'single request') => sub {
        all_idle('one');
        my $file   = file_name('mark');
        my $client = client('one');
        ask($client, 'pid.php') if $keep;    # the next request is on its lane
        $client->send_request(script => "$root/hold.php", query => "go=$data/never&mark=$file", keep => $keep);
        wait_for { lines_of($file) } 5, 'the script to run';
        my ($worker) = $daemon->worker_pids('one');
        is(slot_of('one', $worker)->{state}, 'RUNNING', 'state');
        kill 'KILL', $worker;
        my $answer = $client->read_answer(timeout => 5);
        is($answer->{status}, 502, 'a clean 502');
        ok($answer->{ended}, '... with END_REQUEST');
        like("$answer->{stderr}$answer->{body}", qr/signal 9|SIGKILL|killed/i, '... that names the cause');
        is(lines_of($file), 1, 'executed once');
        like(ask(client('one'), 'pid.php', 'n=1')->{body}, qr/\A1 /, 'the next request is fine');
        is(lines_of($file), 1, 'and never again');
    };
}

subtest 'a worker dies: by its own script' => sub {
    my $file   = file_name('mark');
    my $answer = php_request($daemon, "$root/suicide.php", query => "mark=$file", pool => 'one', timeout => 10);
    is($answer->{status}, 502, 'a clean 502');
    is(lines_of($file), 1, 'executed once');
};

subtest 'a worker dies: SENDING' => sub {
    all_idle('one');
    my $file   = file_name('mark');
    my $client = client('one');
    $client->send_request(script => "$root/part.php", query => "go=$data/never&mark=$file", keep => 1);
    my $got = '';
    wait_for { my $record = $client->read_record(5); $got .= $record->{content}; $got =~ /part/ } 5, 'the first part';
    my ($worker) = $daemon->worker_pids('one');
    is(slot_of('one', $worker)->{state}, 'SENDING', 'state');
    kill 'KILL', $worker;
    ok($client->is_closed(5), 'the connection is closed, without an end that would make it look whole');
    like(ask(client('one'), 'pid.php', 'n=1')->{body}, qr/\A1 /, 'the next request is fine');
    is(lines_of($file), 1, 'executed once');
};

subtest 'a worker dies: DONE' => sub {
    all_idle('one');
    my $file   = file_name('mark');
    my $client = client('one');
    my $answer = ask($client, 'after.php', "go=$data/never&mark=$file");
    is($answer->{body}, 'answer', 'the answer is out');
    wait_for { lines_of($file) } 5, 'the shutdown function to run';
    my ($worker) = $daemon->worker_pids('one');
    is(slot_of('one', $worker)->{state}, 'DONE', 'state');
    kill 'KILL', $worker;
    wait_for { !alive($worker) } 5, 'its death';
    $client = client('one') unless $client->is_open;
    like(ask($client, 'pid.php', 'n=1')->{body}, qr/\A1 /, 'the next request is fine');
    is(lines_of($file), 1, 'executed once');
};

subtest 'a worker is stopped when CLAIMED' => sub {
    all_idle('two');
    my $release = occupy('two', 1);
    my $stopped = (grep { slot_of('two', $_)->{state} =~ /IDLE/ } $daemon->worker_pids('two'))[0];
    kill 'STOP', $stopped;
    wait_for { process_state($stopped) eq 'T' } 5, 'the worker to stop';
    my $file   = file_name('mark');
    my $client = client('two');
    $client->send_request(script => "$root/once.php", query => "mark=$file", keep => 1);
    wait_for { slot_of('two', $stopped)->{state} eq 'CLAIMED' } 5, 'its slot to be CLAIMED';
    my $start = time();
    $release->();
    my $answer = $client->read_answer(timeout => 10);
    my $took   = time() - $start;
    is($answer->{body}, 'done', 'another worker answers');
    cmp_ok($took, '<', 2.5, sprintf 'within about a second (%.2f s)', $took);
    kill 'CONT', $stopped;
    wait_for { process_state($stopped) ne 'T' } 5, 'the worker to go on';
    all_idle('two');
    is(lines_of($file), 1, 'executed once, also after the worker went on');
    my %seen;
    for (1 .. 10) {
        my $finish = occupy('two', 2);
        $finish->();
    }
    is_deeply([ sort { $a <=> $b } map { $_->{pid} } @{ board('two')->{slots} } ], [ $daemon->worker_pids('two') ], 'both workers work');
    is(ask($client, 'pid.php')->{status}, 200, 'the connection is in step');
};

subtest 'lanes' => sub {
    all_idle('two');
    my $client = client('two');
    ask($client, 'pid.php');
    my $before = board('two');
    my %pid;
    for (1 .. 200) { $pid{ ask($client, 'pid.php')->{body} }++ }
    my $after = board('two');
    is($after->{requests} - $before->{requests}, 200, '200 requests on one connection');
    cmp_ok($after->{lane_hits} - $before->{lane_hits}, '>=', 195, 'nearly all on the lane');
    is(scalar keys %pid, 1, 'in one worker');
    my $quiet = client('two');
    my $release = occupy('two', 1);
    like(ask($quiet, 'pid.php', 'n=q')->{body}, qr/\Aq /, 'with the other worker busy, the lane\'s worker takes other connections');
    like(ask($client, 'pid.php', 'n=l')->{body}, qr/\Al /, 'and the lane is still answered');
    $release->();
};

subtest 'a busy lane does not starve the queue' => sub {
    all_idle('one');
    my $stop = file_name('stop');
    defined(my $child = fork) or die "fork: $!";
    if (!$child) {
        my $client = client('one');
        my $end = time() + 30;
        while (!-e $stop && time() < $end) { ask($client, 'pid.php') }
        POSIX::_exit(0);
    }
    my $before = board('one')->{requests};
    wait_for { board('one')->{requests} > $before + 50 } 10, 'the lane to be hot';
    my @time;
    for (1 .. 20) {
        my $start = time();
        ask(client('one'), 'pid.php');
        push @time, time() - $start;
    }
    cmp_ok((sort { $a <=> $b } @time)[-1], '<', 1, sprintf 'a new connection waits at most %.3f s', (sort { $a <=> $b } @time)[-1]);
    write_file($stop, '');
    is(reap($child, 10), 0, 'the busy client ended well');
};

subtest 'ping and status while every worker is busy' => sub {
    all_idle('two');
    my $release = occupy('two', 2);
    my @waiting = map { my $client = client('two'); $client->send_request(script => "$root/pid.php", query => "n=$_", keep => 1); $client } 1 .. 3;
    my $start = time();
    my $ping  = php_request($daemon, "$root/ping", name => '/ping', pool => 'two', timeout => 5);
    is($ping->{body}, 'pong', 'ping');
    is($ping->{status}, 200, '... 200');
    my $kept = client('two');
    is($kept->request(script => "$root/ping", name => '/ping', timeout => 5)->{body}, 'pong', "ping on a kept connection, round $_") for 1 .. 3;
    my $status = wait_for {
        my $answer = php_request($daemon, "$root/status", name => '/status', query => 'json', pool => 'two', timeout => 5);
        $answer->{body} =~ /"listen queue":3,/ ? $answer->{body} : 0
    } 5, 'status to show a listen queue of 3';
    like($status, qr/"idle processes":0,"active processes":2,"total processes":2/, 'status shows two busy workers');
    cmp_ok(time() - $start, '<', 2, 'at once');
    is(scalar(grep { $_->{body} =~ /\Aheld/ } $release->()), 2, 'the busy ones end well');
    is(scalar(grep { $_->read_answer->{status} == 200 } @waiting), 3, 'those that waited are served');
};

subtest 'queue order' => sub {
    all_idle('one');
    my $release = occupy('one', 1);
    my $file = file_name('order');
    my @client;
    for my $n (1 .. 10) {
        push @client, client('one');
        $client[-1]->send_request(script => "$root/once.php", query => "mark=$file&n=$n", keep => 1);
        wait_for { board('one')->{pool}{queue_length} == $n } 5, "$n to wait";
    }
    $release->();
    is($_->read_answer->{body}, 'done', 'answered') for @client;
    is_deeply([ map { /\A(\d+) / } split /\n/, read_file($file) ], [ 1 .. 10 ], 'first come, first served');
};

subtest 'a client that is gone leaves the queue' => sub {
    all_idle('one');
    my $release = occupy('one', 1);
    my ($file, $client) = (file_name('gone'), client('one'));
    $client->send_request(script => "$root/once.php", query => "mark=$file", keep => 1);
    wait_for { board('one')->{pool}{queue_length} == 1 } 5, 'it to wait';
    my $half = client('one');
    $half->send_request(script => "$root/pid.php", query => 'n=half');
    $half->end_of_writing;
    wait_for { board('one')->{pool}{queue_length} == 2 } 5, 'a half-closed one to wait';
    $client->close;
    wait_for { board('one')->{pool}{queue_length} == 1 } 5, 'the one that is gone to leave';
    $release->();
    like($half->read_answer->{body}, qr/\Ahalf /, 'half-closed is not gone');
    all_idle('one');
    is(lines_of($file), 0, 'its request never ran');
};

subtest 'queue.max' => sub {
    my $release = occupy('short', 1);
    my @waiting = map { my $client = client('short'); $client->send_request(script => "$root/pid.php", query => "n=$_"); $client } 1 .. 2;
    wait_for { board('short')->{pool}{queue_length} == 2 } 5, 'two to wait';
    my $refused = php_request($daemon, "$root/pid.php", pool => 'short', timeout => 5);
    is($refused->{status}, 503, 'one more gets 503');
    ok($refused->{headers}{'retry-after'}, '... with Retry-After');
    is($refused->{protocol_status}, 2, '... and OVERLOADED');
    my $peer = php_request($daemon, "$root/pid.php", pool => 'short', timeout => 5, params => { FPMPOOL_PEER => 1 });
    is($peer->{stdout}, '', 'our module gets no page');
    is($peer->{protocol_status}, 2, '... but OVERLOADED');
    $release->();
    is(scalar(grep { $_->read_answer->{status} == 200 } @waiting), 2, 'those that waited are served');
    allow_log(qr/pool short\].*(?:queue|busy|overload)/i);
};

subtest 'queue.timeout' => sub {
    my $release = occupy('quick', 1);
    my $start  = time();
    my $answer = php_request($daemon, "$root/pid.php", pool => 'quick', timeout => 10);
    is($answer->{status}, 503, 'too late is an answer');
    cmp_ok(time() - $start, '>=', 0.9, 'after its time');
    cmp_ok(time() - $start, '<', 4, '... and not much later');
    is(($release->())[0]{body}, 'held ', 'the running one is not disturbed');
    allow_log(qr/pool quick\].*(?:queue|wait)/i);
};

subtest 'FPMPOOL_ACK' => sub {
    my $release = occupy('two', 1);
    my ($go, $file, $client) = (file_name('go'), file_name('mark'), client('two'));
    $client->send_request(script => "$root/hold.php", query => "go=$go&mark=$file", body => 'x', params => { FPMPOOL_ACK => 1 });
    my $record = $client->read_record(5);
    is("$record->{type} " . length $record->{content}, '7 0', 'an empty STDERR record comes before the script ends');
    write_file($go, '');
    is($client->read_answer->{body}, 'held ', 'then the answer');
    $release->();
};

subtest 'pm.max_requests ends a worker between requests' => sub {
    my $client = client('turns');
    my %pid;
    for my $n (1 .. 10) {
        my $answer = ask($client, 'pid.php', "n=$n");
        like($answer->{body} // 'nothing', qr/\A$n \d+\z/, "request $n") or last;
        $pid{ $answer->{body} =~ s/.* //r }++;
    }
    is_deeply([ sort values %pid ], [ 1, 3, 3, 3 ], 'three each, on one kept connection');
};

subtest 'TCP' => sub {
    my $client = client('tcp');
    like(ask($client, 'pid.php', "n=$_")->{body}, qr/\A$_ /, "request $_") for 1 .. 5;
    $client->send_bytes(join '', map { FPMPool::Client::request_bytes(script => "$root/pid.php", query => "n=$_", keep => 1) } 1 .. 2);
    like($client->read_answer->{body}, qr/\A$_ /, "pipelined $_") for 1 .. 2;
    my $single = php_request($daemon, "$root/pid.php", pool => 'tcp');
    ok($single->{ended}, 'a single request');
};

for my $pool (qw(one two tcp)) {
    my $pid = $daemon->pool_pid($pool);
    check_descriptors($pid, sub {
        for (1 .. 20) { my $client = client($pool); ask($client, 'pid.php') for 1 .. 2 }
    }, "pool process $pool leaks no descriptor");
}
done_testing();
