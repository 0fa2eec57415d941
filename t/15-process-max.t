# process.max: the workers of all pools together are never more; no pool is starved; what dies or is
# replaced gives its place back.
# long: 30 s

use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Select;
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;
my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'slow.php' => '<?php usleep(50000); echo getmypid();',
    'hold.php' => '<?php touch($_GET["mark"]); $end = microtime(true) + 60; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(5000); clearstatcache(); } echo "held";',
);
my $reached = qr/The maximum number of processes has been reached\. Please review your configuration and consider raising 'process\.max'$/m;
allow_log($reached);

my $serial = 0;
my ($daemon, @pool, $most);

sub start { my ($max, %conf) = @_; @pool = sort keys %conf; $most = 0; $daemon = start_daemon(conf => { global => { 'process.max' => $max }, %conf }); return }
sub workers { return map { $daemon->worker_pids($_) } @pool }

# How many there are now; the most that were ever seen are kept. Who is alive when all have been found was there at one
# moment with the others; one that died meanwhile has made room for one that was found later.
sub total {
    my @found = workers();
    my $now = grep { alive($_) } @found;
    $most = $now if $now > $most;
    return $now;
}
sub until_total { my ($number) = @_; return wait_for { total() == $number } 15, "$number workers" }
sub warnings_logged { return () = $daemon->log_text =~ /$reached/g }

# A request that holds a worker; returns its client and the file that ends it.
sub hold {
    my ($pool, $is_queued) = @_;
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    my $client = php_connect($daemon, $pool, timeout => 40);
    $client->send_request(script => "$root/hold.php", query => "mark=$mark&go=$go");
    wait_for { total(); -e $mark } 15, "a worker of $pool to be busy" unless $is_queued;
    return { client => $client, go => $go, mark => $mark };
}
sub let_go { my ($held) = @_; write_file($held->{go}, ''); return $held->{client}->read_answer->{body} }

subtest 'two static pools that want more than there may be' => sub {
    start(6, map { $_ => { 'pm.max_children' => 5 } } qw(one two));
    until_total(6);
    cmp_ok(scalar(my @one = $daemon->worker_pids($_)), '>=', 1, "$_ has some") for @pool;
    $daemon->wait_log($reached, 5);
    is(php_request($daemon, "$root/pid.php", pool => $_)->{status}, 200, "$_ serves") for @pool;
    sleep(2);
    is(warnings_logged(), 1, 'the warning came once');

    my ($worker) = $daemon->worker_pids('one');
    allow_log(qr/child \d+ exited on signal 9/);
    kill 'KILL', $worker;
    wait_for { !alive($worker) } 5, 'a worker to die';
    until_total(6);
    pass('a worker that dies is replaced');
    is($most, 6, 'there were never more than process.max');
    $daemon->stop;
};

subtest 'a pool without a worker gets one from who has more' => sub {
    start(3, rich => { 'pm.max_children' => 8 }, poor => { pm => 'ondemand', 'pm.max_children' => 4, 'pm.process_idle_timeout' => '60s' });
    until_total(3);
    is(scalar(my @rich = $daemon->worker_pids('rich')), 3, 'one pool has them all');
    is(php_request($daemon, "$root/pid.php", pool => 'poor', timeout => 20)->{status}, 200, 'the other one serves, too');
    is(scalar(my @poor = $daemon->worker_pids('poor')), 1, 'with one worker');
    is(php_request($daemon, "$root/pid.php", pool => 'rich')->{status}, 200, 'and the rich one still');
    is($most, 3, 'there were never more than process.max');
    $daemon->stop;
};

subtest 'the rich pool is busy' => sub {
    start(2, rich => { 'pm.max_children' => 8 }, poor => { pm => 'ondemand', 'pm.max_children' => 4, 'pm.process_idle_timeout' => '60s' });
    until_total(2);
    my @held = map { hold('rich') } 1, 2;
    my $waits = hold('rich', 1);
    my $client = php_connect($daemon, 'poor', timeout => 40);
    $client->send_request(script => "$root/pid.php");
    for (1 .. 10) { total(); sleep(0.05) }
    is($daemon->worker_pids('poor'), 0, 'the other pool waits');
    is(let_go($held[0]), 'held', 'a request ends');
    is($client->read_answer->{status}, 200, '... and the other pool serves');
    is(let_go($held[1]), 'held', 'the second request of the rich pool');
    write_file($waits->{go}, '');
    is($waits->{client}->read_answer->{body}, 'held', 'and the one that waited');
    total();
    is($most, 2, 'there were never more than process.max');
    $daemon->stop;
};

subtest 'more pools than process.max' => sub {
    start(3, map { ("p$_" => { pm => $_ % 2 ? 'ondemand' : 'static', 'pm.max_children' => 3 }) } 10 .. 25);
    my %client = map { $_ => php_connect($daemon, $_, timeout => 60) } @pool;
    $client{$_}->send_request(script => "$root/slow.php") for @pool;
    my @status;
    for my $name (@pool) {
        push @status, eval { $client{$name}->read_answer->{status} } // 'none';
        total();
    }
    is_deeply(\@status, [ (200) x @pool ], 'each of ' . @pool . ' pools answers');
    cmp_ok($most, '<=', 3, 'there were never more than process.max');
    $daemon->stop;
};

subtest 'two loaded pools and one process take turns' => sub {
    start(1, map { $_ => { 'pm.max_children' => 2 } } qw(one two));
    my %client = map { $_ => php_connect($daemon, $_, timeout => 60) } @pool;
    my %served;
    $client{$_}->send_request(script => "$root/slow.php", keep => 1) for @pool;
    my $end = time() + 40;
    while (time() < $end && grep { ($served{$_} || 0) < 5 } @pool) {
        total();
        for my $name (grep { IO::Select->new($client{$_}->socket)->can_read(0.01) } @pool) {
            $served{$name}++ if $client{$name}->read_answer->{status} == 200;
            $client{$name}->send_request(script => "$root/slow.php", keep => 1);
        }
    }
    cmp_ok($served{$_} || 0, '>=', 5, "$_ was served " . ($served{$_} || 0) . ' times') for @pool;
    is($most, 1, 'there was never more than one worker');
    $client{$_}->close for @pool;
    $daemon->stop;
};

subtest 'reload' => sub {
    start(4, map { $_ => { 'pm.max_children' => 4 } } qw(one two));
    until_total(4);
    my %old = map { $_ => 1 } workers();
    my ($held, %status) = (hold('one'));
    my $pid = $daemon->pool_pid('two');
    $daemon->signal('HUP');
    my $end = time() + 30;
    while (time() < $end && (alive($pid) || grep { $old{$_} } $daemon->worker_pids('two'))) {
        total();
        $status{ php_request($daemon, "$root/pid.php", pool => 'two', timeout => 30)->{status} }++;
    }
    is_deeply([ keys %status ], [200], 'requests during a reload are answered');
    is(php_request($daemon, "$root/pid.php", pool => 'one', timeout => 20)->{status}, 200, 'the new generation of a busy pool serves');
    is(let_go($held), 'held', 'what ran goes on');
    wait_for { total(); !grep { $old{$_} } workers() } 20, 'the old generations to end';
    until_total(4);
    cmp_ok($most, '<=', 4, 'old and new together were never more than process.max');

    rewrite($daemon, sub { s/process\.max = 4/process.max = 7/ });
    $daemon->signal('HUP');
    until_total(7);
    pass('a higher process.max counts at once');
    $daemon->stop;
};

subtest 'a pool process dies' => sub {
    allow_log(qr/pool process \d+ exited on signal 9/);
    start(3, one => { 'pm.max_children' => 3 }, two => { pm => 'ondemand', 'pm.max_children' => 3 });
    until_total(3);
    my @held = map { hold('one') } 1 .. 3;
    my %old  = map { $_ => 1 } workers();
    $most = 0;
    kill 'KILL', $daemon->pool_pid('one');
    wait_for { $daemon->log_text =~ /pool process \d+ exited on signal 9/ } 10, 'its end';
    my $client = php_connect($daemon, 'two', timeout => 40);
    $client->send_request(script => "$root/pid.php");
    for (1 .. 20) { total(); sleep(0.05) }
    is(scalar(grep { $old{$_} } workers()), 3, 'its workers run on');
    write_file($_->{go}, '') for @held;
    is($client->read_answer->{status}, 200, 'when they have ended, others begin');
    is(php_request($daemon, "$root/pid.php", pool => 'one', timeout => 20)->{status}, 200, 'the pool is there again');
    until_total(3);
    cmp_ok($most, '<=', 3, 'orphans were counted');
    $daemon->stop;
};

subtest 'nothing is left behind: ondemand workers give back what they had' => sub {
    start(2, map { $_ => { pm => 'ondemand', 'pm.max_children' => 2, 'pm.process_idle_timeout' => '1s' } } qw(one two));
    for my $round (1 .. 2) {
        my @held = map { hold('one') } 1, 2;
        is(let_go($_), 'held', 'one pool uses all') for @held;
        wait_for { total() == 0 } 20, 'its workers to leave';
        @held = map { hold('two') } 1, 2;
        is(let_go($_), 'held', 'the other pool uses all') for @held;
    }
    is($most, 2, 'there were never more than process.max');
    $daemon->stop;
};

done_testing();
