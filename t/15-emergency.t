# emergency_restart_threshold and emergency_restart_interval: many crashes of workers lead to a reload,
# for the pools that crash and not more often than once in an interval.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'crash.php' => '<?php posix_kill(getmypid(), (int) $_GET["signal"]); sleep(5);',
);
my $line = qr/WARNING: failed processes threshold \(3 in 60 sec\) is reached, initiating reload$/m;
allow_log($line, qr/child \d+ exited on signal (?:7|9|11)/);

my $daemon;
sub crash {
    my ($pool, $signal) = @_;
    my $answer = php_request($daemon, "$root/crash.php", pool => $pool, query => "signal=$signal");
    is($answer->{status}, 502, "a worker of $pool dies of signal $signal");
    return wait_for { php_request($daemon, "$root/pid.php", pool => $pool)->{status} == 200 } 15, "$pool to serve again";
}
sub logged { my ($pattern) = @_; return () = $daemon->log_text =~ /$pattern/g }

sub start {
    my %global = @_;
    $daemon = start_daemon(conf => { global => \%global, map { $_ => { 'pm.max_children' => 2 } } qw(bad good) });
    return;
}

subtest 'three crashes within the interval' => sub {
    start(emergency_restart_threshold => 3, emergency_restart_interval => '60s');
    my %pid = map { $_ => $daemon->pool_pid($_) } qw(bad good);
    crash('bad', 11);
    crash('bad', 9);
    crash('bad', 7);
    is(logged($line), 0, 'two crashes, and a signal that is none, are not enough');
    crash('bad', 11);
    $daemon->wait_log($line, 10);
    $daemon->wait_log(qr/NOTICE: Reloading in progress \.\.\./, 10);
    wait_for { !alive($pid{bad}) } 20, 'the pool process to be replaced';
    is(php_request($daemon, "$root/pid.php", pool => 'bad')->{status}, 200, 'the pool serves');
    ok(alive($pid{good}), 'the pool that did not crash is as it was');
    is($daemon->pool_pid('good'), $pid{good}, '... with the same process');

    my $new = $daemon->pool_pid('bad');
    crash('bad', 11) for 1 .. 5;
    is(logged($line), 1, 'more crashes within the interval: nothing');
    ok(alive($new), '... but new workers');
    is(logged(qr/Reloading in progress/), 1, 'there was one reload');
    $daemon->stop;
};

subtest 'crashes of several pools are counted together' => sub {
    start(emergency_restart_threshold => 3, emergency_restart_interval => '60s');
    my %pid = map { $_ => $daemon->pool_pid($_) } qw(bad good);
    crash($_, 11) for qw(bad good bad);
    $daemon->wait_log($line, 10);
    wait_for { !alive($pid{bad}) && !alive($pid{good}) } 20, 'both to be replaced';
    is(php_request($daemon, "$root/pid.php", pool => $_)->{status}, 200, "$_ serves") for qw(bad good);
    $daemon->stop;
};

for my $case ([ 'no interval' => { emergency_restart_threshold => 1 } ], [ 'no threshold' => { emergency_restart_interval => '60s' } ]) {
    subtest $case->[0] => sub {
        start(%{ $case->[1] });
        crash('bad', 11) for 1 .. 2;
        is(logged(qr/Reloading|failed processes/), 0, 'no reload');
        $daemon->stop;
    };
}

done_testing();
