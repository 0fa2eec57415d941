# t/chaos/storm for some seconds: many clients that keep, close, pipeline, send slowly, rest, vanish and
# desert at random, on few workers; then the same while workers are killed, and while the daemon
# reloads. No request is answered twice, wrongly or not at all, and no kept connection ends. For hours
# of it run build/test/storm by hand (t/README.md).
# alone: many clients fill the machine

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $storm   = build_path('test/storm');
my $seconds = $ENV{FPMPOOL_STORM_SECONDS} || 5;
my $seed    = $ENV{FPMPOOL_TEST_SEED} || time % 100_000;
my $root    = site('www', 'echo.php' => '<?php if ($_GET["id"] % 13 == 0) { usleep(3000); } echo "id=", $_GET["id"], ".";');
my $script  = "$root/echo.php";
my $out     = test_dir() . '/storm.out';

sub start_storm {
    my ($daemon, @more) = @_;
    return spawn(argv => [ $storm, $daemon->listen_address, $script, 60, $seconds, $seed, @more ], stdout => $out, stderr => $out);
}

sub totals { return { read_file($out) =~ /(\w+)=(\d+)/g } }

for my $case ([ static => 1 ], [ static => 4 ], [ dynamic => 4 ]) {
    my ($pm, $workers) = @$case;
    subtest "$workers workers, $pm" => sub {
        allow_log(qr/reached pm.max_children|seems busy/);
        my %more = $pm eq 'dynamic' ? ('pm.start_servers' => 1, 'pm.min_spare_servers' => 1, 'pm.max_spare_servers' => 2) : ();
        my $daemon = start_daemon(conf => { www => { pm => $pm, 'pm.max_children' => $workers, 'listen.mode' => '0666', 'pm.max_requests' => 500, %more } });
        php_request($daemon, $script, query => 'id=1');
        unlink $out;
        my $pid    = start_storm($daemon);
        my $status = reap($pid, $seconds + 40);
        is($status, 0, "no defect (seed $seed)") or diag(read_file($out));
        my $got = totals();
        cmp_ok($got->{answers}, '>', 100, "$got->{answers} of $got->{requests} requests were answered");
        is(php_request($daemon, $script, query => 'id=7')->{body}, 'id=7.', 'and it serves on');
    };
}

subtest 'while workers are killed' => sub {
    allow_log(qr/exited on signal 9/, qr/did not begin a request/);
    my $daemon = start_daemon(conf => { www => { pm => 'static', 'pm.max_children' => 4 } });
    php_request($daemon, $script, query => 'id=1');
    unlink $out;
    my $pid   = start_storm($daemon, 'deaths');
    my $end   = time + $seconds;
    my $kills = 0;
    while (time < $end) {
        my @worker = $daemon->worker_pids;
        if (@worker) { $kills += kill 'KILL', $worker[ rand @worker ] }
        sleep 0.05;
    }
    my $status = reap($pid, 60);
    is($status, 0, "no wrong, second or missing answer (seed $seed)") or diag(read_file($out));
    my $got = totals();
    cmp_ok($kills, '>', 5, "$kills workers were killed");
    cmp_ok($got->{answers}, '>', 100, "$got->{answers} answered, $got->{refused} refused, $got->{lost} lost with their worker");
    wait_for { php_request($daemon, $script, query => 'id=7')->{body} eq 'id=7.' } 10, 'it serves on';
};

for my $listen (qw(unix tcp)) {
    subtest "while the daemon reloads ($listen)" => sub {
        my $daemon = start_daemon(conf => { www => { pm => 'static', 'pm.max_children' => 4, $listen eq 'tcp' ? (listen => 'tcp') : () } });
        php_request($daemon, $script, query => 'id=1');
        unlink $out;
        my $pid   = start_storm($daemon, 'reloads');
        my $end   = time + $seconds;
        my $count = 0;
        while (time < $end) {
            my $pool = $daemon->pool_pid;
            kill 'USR2', $daemon->pid;
            $count++;
            wait_for { my $now = eval { $daemon->pool_pid }; $now && $now != $pool } 20, "reload $count";
        }
        my $status = reap($pid, 60);
        is($status, 0, "every request is answered, no kept connection ends (seed $seed)") or diag(read_file($out));
        my $got = totals();
        cmp_ok($count, '>', 3, "$count reloads");
        cmp_ok($got->{answers}, '>', 100, "$got->{answers} of $got->{requests} answered, $got->{deserted} deserted, $got->{rests} rests");
    };
}

done_testing();
