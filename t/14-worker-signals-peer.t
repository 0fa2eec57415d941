# Section 2.5 beside the living peer: every signal to a worker that is idle, has a request, or has an idle kept
# connection. The expectation is what php-fpm does in this run; %meant names what is meant to differ, and why.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Peer;
use FPMPool::Signals;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/child \d+ exited/);

# "SIGNAL STATE" => [reason, {field => [ours, php-fpm's]}]. A field that is not named here is the same.
my %meant;
my $is_answered = '7.7: a client whose worker dies is told so, php-fpm\'s gets a reset';
my $is_free     = '7.4: an idle kept connection belongs to the pool process and outlives the worker';
for my $signal (qw(TERM INT USR1 USR2 HUP KILL SEGV)) {
    $meant{"$signal request"} = [ $is_answered, { request => [ '502 whole', 'cut' ] } ];
    $meant{"$signal kept"}    = [ $is_free, { connection => [ 'open', 'closed' ] } ];
}
$meant{'QUIT kept'} = [ "$is_free, which does not wait for it", { end => [ 'at once', 'later' ] } ];

sub outcome_of_worker {
    my ($case, $signal) = @_;
    my ($server, $worker) = @$case{qw(server worker)};
    my %got;
    $got{request} = end_of_request($case) if $case->{state} eq 'request';
    my $is_end = $signal !~ /CHLD|PIPE/;
    $got{end} = eval { wait_for { !alive($worker) } $case->{state} eq 'kept' ? 2 : 20, 'its end' } ? 'at once' : 'later' if $is_end;
    $got{connection} = end_of_connection($case->{client}) if $case->{state} eq 'kept';
    $server->wait_log(qr/child \d+ started/, 20, $case->{began}) if $is_end;
    $got{next} = who_serves($case);
    $got{code} = $server->stop('TERM');
    $got{log}  = lines_of($server, $case->{began});
    return \%got;
}

for my $signal (qw(TERM INT QUIT USR1 USR2 HUP CHLD PIPE KILL SEGV)) {
    subtest "SIG$signal to a worker" => sub {
        my @run;
        for my $state ('request', 'idle', 'kept') { push @run, [ $state, map { launch($_, 5, $state) } \&start_daemon, \&start_php_fpm ] }
        for my $run (@run) { occupy($_) for @$run[ 1, 2 ] }
        for my $run (@run) { kill $signal, $_->{worker} for @$run[ 1, 2 ] }
        open_gates(map { @$_[ 1, 2 ] } @run);
        check_case('2.5', "$signal $_->[0]", $meant{"$signal $_->[0]"}, map { outcome_of_worker($_, $signal) } @$_[ 1, 2 ]) for @run;
    };
}

report_sections();
done_testing();
