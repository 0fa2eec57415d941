# static, dynamic and ondemand beside php-fpm under the same load: forks, warnings and retirements with
# their levels and in their order, and the counters of the status page. Process ids and times are masked.
#
# Deliberate differences:
#   - requests that wait make fpmpoold fork at once, php-fpm at its next second (one per connection in
#     ondemand): the loads here leave no request waiting where that would show
#   - "server reached max_children" comes once for each time that all workers are busy; php-fpm says it again
#     only after it has forked (the last subtest)
#   - a pool process answers status when no worker is idle, and starts none for it
#   - workers that die at once are replaced with growing pauses (14-log-lines.t has the peer's lines)
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Select;
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/child \d+ exited on signal|server reached|seems busy/);

my $data = test_dir() . '/data';
mkdir $data;
chmod 0777, $data;
my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'hold.php' => '<?php touch($_GET["mark"]); $end = microtime(true) + 60; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(5000); clearstatcache(); } echo "held";',
);

my $serial = 0;

sub send_hold {
    my ($daemon) = @_;
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    my $client = php_connect($daemon, 'www', timeout => 40);
    $client->send_request(script => "$root/hold.php", query => "mark=$mark&go=$go");
    return { client => $client, mark => $mark, go => $go };
}

# Requests that hold a worker each, one after the other.
sub hold {
    my ($daemon, $count) = @_;
    my @held;
    for (1 .. $count) {
        push @held, send_hold($daemon);
        wait_for { -e $held[-1]{mark} } 20, 'a request to begin';
    }
    return @held;
}

# In the order in which they are answered: php-fpm's worker waits for its client to close.
sub let_go {
    my @held = @_;
    write_file($_->{go}, '') for @held;
    my %left = map { $_->{client}->socket => $_ } @held;
    my $end  = time() + 30;
    while (%left && time() < $end) {
        for my $socket (IO::Select->new(map { $_->{client}->socket } values %left)->can_read(0.5)) {
            my $one = delete $left{$socket};
            is($one->{client}->read_answer->{body}, 'held', 'a request is answered');
            $one->{client}->close;
        }
    }
    is(scalar keys %left, 0, 'all are') if %left;
    return;
}

sub wait_lines {
    my ($daemon, $pattern, $count) = @_;
    wait_for { my @found = $daemon->log_text =~ /$pattern/g; @found >= $count } 30, "$count lines like $pattern";
    return;
}

sub counters {
    my ($daemon) = @_;
    my $page = php_request($daemon, '/status', params => { SCRIPT_NAME => '/status', SCRIPT_FILENAME => '/status' })->{body};
    return { $page =~ /^(process manager|max active processes|max children reached|slow requests): +(.*)$/mg };
}

sub line_of {
    my ($line) = @_;
    $line =~ s/\A\[[^\]]+\] //;
    $line =~ s/\A(\w+): pid \d+, (?:\w+\(\), line \d+: )?/$1: /;
    $line =~ s/child \d+/child N/;
    $line =~ s/after \d+\.\d{6} seconds/after S seconds/;
    return $line;
}

# Lines of the process manager up to the stop; "currently" lines, which come every second, apart.
sub run_one {
    my ($start, $conf, $work) = @_;
    my $daemon = $start->(conf => { global => { log_level => 'debug' }, www => { 'pm.status_path' => '/status', %$conf } });
    $work->($daemon);
    my @line = map { line_of($_) } grep { /\[pool www\]/ && !/pool process \d+ started/ } split /\n/, $daemon->log_text;
    my $counters = counters($daemon);
    $daemon->stop('TERM');
    my %form = map { s/\d+/N/gr => 1 } grep { /currently/ } @line;
    return { lines => [ grep { !/currently/ } @line ], ticks => [ sort keys %form ], counters => $counters };
}

sub same_work {
    my ($name, $conf, $work) = @_;
    subtest $name => sub {
        my ($wanted, $got) = map { run_one($_, $conf, $work) } \&start_php_fpm, \&start_daemon;
        cmp_ok(scalar @{ $wanted->{lines} }, '>', 0, 'php-fpm has something to say');
        is_deeply($got->{$_}, $wanted->{$_}, "$_ are the same") for qw(lines ticks counters);
    };
    return;
}

my %dynamic = (pm => 'dynamic', 'pm.max_children' => 6, 'pm.start_servers' => 2, 'pm.min_spare_servers' => 1, 'pm.max_spare_servers' => 3);
my $started = qr/child \d+ started/;
my $retired = qr/killed by the process management/;

same_work('dynamic: grows and shrinks', {%dynamic}, sub {
    my ($daemon) = @_;
    my @held = hold($daemon, 2);
    wait_lines($daemon, $started, 3);
    push @held, hold($daemon, 1);
    wait_lines($daemon, $started, 4);
    let_go(@held);
    wait_lines($daemon, $retired, 1);
});

same_work('dynamic: pm.max_children is reached', { %dynamic, 'pm.max_children' => 3 }, sub {
    my ($daemon) = @_;
    my @held = hold($daemon, 2);
    wait_lines($daemon, $started, 3);
    push @held, hold($daemon, 1);
    wait_lines($daemon, qr/server reached/, 1);
    wait_lines($daemon, qr/currently 3 active children, 0 spare children, 3 running children/, 3);
    let_go(@held);
});

same_work('dynamic: seems busy', { pm => 'dynamic', 'pm.max_children' => 40, 'pm.start_servers' => 18, 'pm.min_spare_servers' => 18, 'pm.max_spare_servers' => 40 }, sub {
    my ($daemon) = @_;
    my @held = hold($daemon, 18);
    wait_lines($daemon, $started, 36);
    wait_lines($daemon, qr/ child\(ren\) have been created dynamically/, 5);
    let_go(@held);
});

same_work('ondemand', { pm => 'ondemand', 'pm.max_children' => 2, 'pm.process_idle_timeout' => '1s' }, sub {
    my ($daemon) = @_;
    my @held = hold($daemon, 2);
    push @held, send_hold($daemon);
    wait_lines($daemon, qr/server reached/, 1);
    push @held, send_hold($daemon);
    wait_lines($daemon, qr/currently 2 active children, 0 spare children/, 2);
    let_go(@held);
    wait_lines($daemon, $retired, 2);
});

same_work('ondemand: a worker that dies is replaced', { pm => 'ondemand', 'pm.max_children' => 2, 'pm.process_idle_timeout' => '60s' }, sub {
    my ($daemon) = @_;
    my $pid = php_request($daemon, "$root/pid.php")->{body};
    kill 'KILL', $pid;
    wait_lines($daemon, $started, 2);
});

same_work('static: more requests than workers', { pm => 'static', 'pm.max_children' => 2 }, sub {
    my ($daemon) = @_;
    my @held = hold($daemon, 2);
    push @held, send_hold($daemon) for 1, 2;
    sleep(1.5);    # a second of php-fpm's, in which nothing comes
    let_go(@held);
});

same_work('pm.max_requests', { 'pm.max_children' => 1, 'pm.max_requests' => 2 }, sub {
    my ($daemon) = @_;
    for my $round (1 .. 3) {
        php_request($daemon, "$root/pid.php") for 1, 2;
        wait_lines($daemon, $started, 1 + $round);
    }
});

# in the script's folder, where a worker stays until its next request
same_work('a core is dumped', { 'pm.max_children' => 1, 'process.dumpable' => 'yes', rlimit_core => 'unlimited', chdir => $data }, sub {
    my ($daemon) = @_;
    write_file("$data/crash.php", '<?php echo getmypid();');
    kill 'SEGV', php_request($daemon, "$data/crash.php")->{body};
    wait_lines($daemon, $started, 2);
});

subtest 'all workers busy, idle, and busy again' => sub {
    my %count;
    for my $start (\&start_php_fpm, \&start_daemon) {
        my $daemon = $start->(conf => { global => { log_level => 'debug' }, www => { %dynamic, 'pm.max_children' => 2, 'pm.max_spare_servers' => 2, 'pm.status_path' => '/status' } });
        my $kind = $daemon->is_ours ? 'ours' : 'theirs';
        for my $round (1, 2) {
            my @held = hold($daemon, 2);
            wait_lines($daemon, qr/currently 2 active children, 0 spare children/, 2 * $round);
            let_go(@held);
            my $seen = () = $daemon->log_text =~ /currently 0 active children, 2 spare children/g;
            wait_lines($daemon, qr/currently 0 active children, 2 spare children/, $seen + 2);
        }
        $count{$kind} = () = $daemon->log_text =~ /WARNING: .*server reached pm\.max_children setting \(2\), consider raising it$/mg;
        is(counters($daemon)->{'max children reached'}, $count{$kind}, "$kind: the counter counts the warnings");
        $daemon->stop('TERM');
    }
    is_deeply(\%count, { ours => 2, theirs => 1 }, 'fpmpoold says it each time, php-fpm once until it forks');
};

done_testing();
