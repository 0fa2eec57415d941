# Section 2.4 beside the living peer: every signal, with process_control_timeout 0 and 5, to a daemon whose
# worker is idle, has a request, or has an idle kept connection: what becomes of the request, the connection, the
# worker, the daemon and its process id, and which lines the log gets. The expectation is what php-fpm does in this
# run. Where fpmpoold is meant to do something else, %meant has the case, both outcomes and the reason.
# long: 30 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Signals;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/child \d+ exited/);

my @state = ('request', 'idle', 'kept');
my $at_once = 4;    # seconds; process_control_timeout is 0 or 5

# ---- what is meant to differ ------------------------------------------------------------------

# "SIGNAL TIMEOUT STATE" => [reason, {field => [ours, php-fpm's]}]. A field that is not named here is the same.
my %meant;
my $cut   = [ '502 whole', 'cut' ];
my $early = [ 'at once', 'at the timeout' ];
my $log   = [
    qr/\AReloading in progress \.\.\.(?:\|(?!WARNING|ERROR|ALERT)[^|]*)*\|Terminating \.\.\.\|exiting, bye-bye!\z/,
    'Reloading in progress ...|reloading: execvp(ARGUMENTS)|using inherited socket fd=N, "SOCKET"|fpm is running, pid N|ready to handle connections|Terminating ...|exiting, bye-bye!',
];
my $is_answered = '7.7: a client whose request is cut is told so, php-fpm resets the connection';
my $is_not_held = '7.4: an idle kept connection holds no worker, so nobody waits for it';
my $is_replaced = '7.1: a reload puts new pools beside the old ones, php-fpm stops and executes itself';
my $stays = [ 'open', 'closed' ];    # the connection is handed to the new pool
for my $timeout (0, 5) {
    $meant{"$_ $timeout request"} = [ $is_answered, { request => $cut } ] for qw(TERM INT);
    for my $signal (qw(USR2 HUP)) {
        $meant{"$signal $timeout $_"} = [ $is_replaced, { log => $log, $_ eq 'kept' ? (connection => $stays) : () } ] for @state;
    }
}
$meant{'QUIT 0 request'} = [ $is_answered, { request => $cut } ];
$meant{'QUIT 5 kept'}    = [ $is_not_held, { end => $early } ];
for my $signal (qw(USR2 HUP)) {
    $meant{"$signal 0 request"} = [ "$is_replaced; $is_answered", { log => $log, request => $cut } ];
    $meant{"$signal 5 kept"}    = [ "$is_replaced; $is_not_held", { log => $log, end => $early, connection => $stays } ];
}
my $is_spared = 'USR1 needs no new workers: the pool process hands them the new log';
$meant{"USR1 $_ log"} = [ $is_spared, { worker => [ 'the same', 'another' ], log => [
    'error log file re-opened|access log file re-opened|Terminating ...|exiting, bye-bye!',
    'error log file re-opened|access log file re-opened|child N exited with code 0 after S seconds from start|child N started|Terminating ...|exiting, bye-bye!' ] } ] for 0, 5;
my $is_untrue = 'a signal that is ignored is not announced: nothing of it is in progress';
$meant{'QUIT then QUIT 5 request'} = [ $is_untrue, { log => [ 'Finishing ...|exiting, bye-bye!', 'Finishing ...|Finishing ...|exiting, bye-bye!' ] } ];
$meant{'QUIT then USR2 5 request'} = [ $is_untrue, { log => [ 'Finishing ...|exiting, bye-bye!', 'Finishing ...|Reloading in progress ...|exiting, bye-bye!' ] } ];
$meant{'QUIT then TERM 5 request'} = [ $is_answered, { request => $cut } ];
# how far a reload has come when the next signal is there differs from run to run
my $reloads = qr/\AReloading in progress \.\.\.(?:\|(?!WARNING|ERROR|ALERT)[^|]*)*/;
$meant{'USR2 then TERM 5 request'} = [ "$is_replaced; $is_answered", { request => $cut, log => [ qr/$reloads\|Terminating \.\.\.\|exiting, bye-bye!\z/, 'Reloading in progress ...|Terminating ...|exiting, bye-bye!' ] } ];
$meant{'USR2 then QUIT 5 request'} = [ $is_replaced, { log => [ qr/$reloads\|Finishing \.\.\.\|exiting, bye-bye!\z/, 'Reloading in progress ...|Finishing ...|exiting, bye-bye!' ] } ];

# ---- daemons and what they do -------------------------------------------------------------------

# Sends the signals, each when the daemon has seen the one before it. A process of its own notes when
# the worker is gone.
sub send_signals {
    my ($case, @signal) = @_;
    my $server = $case->{server};
    my %word = (USR2 => 'Reloading', QUIT => 'Finishing', TERM => 'Terminating');
    $case->{sent} = time();
    for my $n (0 .. $#signal) {
        $server->signal($signal[$n]);
        $server->wait_log(qr/$word{ $signal[$n] }/, 20, $case->{began}) if $n < $#signal;
    }
    defined($case->{watcher} = fork) or die "fork: $!";
    return if $case->{watcher};
    POSIX::close($_) for 3 .. 1023;    # php-fpm waits until nobody holds the client's end
    my $end = time() + 20;
    sleep(0.02) while time() < $end && alive($case->{worker}) && getppid() != 1;
    write_file("$case->{gate}.gone", time());
    POSIX::_exit(0);
}

# When the worker was gone, in words.
sub moment_of_end {
    my ($case) = @_;
    reap($case->{watcher}, 25);
    return read_file("$case->{gate}.gone") - $case->{sent} < $at_once ? 'at once' : 'at the timeout';
}

# What came of the signals.
sub outcome {
    my ($case, $is_end, $is_reload) = @_;
    my $server = $case->{server};
    my %got;
    $got{request} = end_of_request($case) if $case->{state} eq 'request';
    $got{end} = moment_of_end($case) if $is_end || $is_reload;
    if ($is_end) {
        wait_for { !$server->is_running } 20, $server->name . ' to end';
        $got{connection} = end_of_connection($case->{client}) if $case->{state} eq 'kept';
        $got{code}  = $server->stop;
        $got{files} = -e $server->listen_address ? 'its socket is left' : 'none are left';
    } else {
        $server->wait_log(qr/access log file re-opened/, 10) if $case->{state} eq 'log';
        wait_for { $server->log_text =~ /child \d+ started/ } 10, 'the new worker' if $case->{state} eq 'log' && !$server->is_ours;
        $got{connection} = end_of_connection($case->{client}) if $case->{state} eq 'kept';    # frees php-fpm's worker
        $got{worker} = who_serves($case);
        $got{daemon} = $server->is_running ? 'the same process' : 'gone';
        reap($case->{watcher}, 5) if kill 'KILL', $case->{watcher};
        $got{code} = $server->stop('TERM');
    }
    $got{log} = lines_of($server, $case->{began});
    return \%got;
}

# [name, timeout, state, signals]: all of a subtest's daemons get them at once.
sub run_cases {
    my (@case) = @_;
    my @run;
    for my $case (@case) { push @run, [ $case, map { launch($_, @$case[ 1, 2 ]) } \&start_daemon, \&start_php_fpm ] }
    for my $run (@run) { occupy($_) for @$run[ 1, 2 ] }
    for my $run (@run) { send_signals($_, @{ $run->[0][3] }) for @$run[ 1, 2 ] }
    open_gates(map { @$_[ 1, 2 ] } @run);
    for my $run (sort { $b->[0][2] cmp $a->[0][2] } @run) {
        my ($name, undef, undef, $signals) = @{ $run->[0] };
        my ($is_end, $is_reload) = (scalar grep({ /TERM|INT|QUIT/ } @$signals), scalar grep { /USR2|HUP/ } @$signals);
        check_case('2.4', $name, $meant{$name}, map { outcome($_, $is_end, $is_reload) } @$run[ 1, 2 ]);
    }
    return;
}

for my $signal (qw(TERM INT QUIT USR1 USR2 HUP CHLD PIPE)) {
    subtest "SIG$signal" => sub {
        my @states = (@state, $signal eq 'USR1' ? 'log' : ());
        run_cases(map { my $timeout = $_; map { [ "$signal $timeout $_", $timeout, $_, [$signal] ] } @states } 0, 5);
    };
}

subtest 'one signal after another' => sub {
    run_cases(map { [ join(' then ', @$_) . ' 5 request', 5, 'request', $_ ] } [qw(QUIT TERM)], [qw(QUIT QUIT)], [qw(QUIT USR2)], [qw(QUIT USR1)], [qw(USR2 QUIT)], [qw(USR2 TERM)]);
};

report_sections();
done_testing();
