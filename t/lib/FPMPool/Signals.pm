package FPMPool::Signals;

# Daemons with one worker in a known state, and what signals make of them: 14-signals-peer.t and
# 14-worker-signals-peer.t. A case is {server, state, worker, client, gate, began}; states are idle,
# request (one runs until open_gates()), kept (an idle kept connection) and log (there is an access log).

use strict;
use warnings;
use Exporter 'import';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::Peer;
use FPMPool::Test;
use IO::Select;

our @EXPORT = qw(launch occupy open_gates end_of_request end_of_connection who_serves lines_of check_case);

my $root;

sub make_site {
    return if $root;
    $root = site('www',
        'pid.php'  => '<?php echo getmypid();',
        'slow.php' => slow_script(),
    );
    return;
}

# Starts a daemon for a case; $start: start_daemon or start_php_fpm. occupy() waits for it.
sub launch {
    my ($start, $timeout, $state) = @_;
    make_site();
    my $name   = new_gate();
    my %pool   = ('pm.max_children' => 1, $state eq 'log' ? ('access.log' => "$name.log") : ());
    my $server = $start->(conf => { global => { process_control_timeout => $timeout }, www => \%pool }, wait => 0);
    return { server => $server, state => $state, gate => $name };
}

# Brings it into its state.
sub occupy {
    my ($case) = @_;
    my $server = $case->{server};
    $server->wait_log(qr/ready to handle connections/, 30);
    ($case->{worker}) = wait_for { my ($pid) = $server->worker_pids; $pid } 30, 'a worker';
    $case->{began} = $server->log_length;
    if ($case->{state} eq 'request') {
        $case->{client} = start_slow($root, $server, undef, timeout => 30, gate => $case->{gate});
        return;
    }
    my $client = php_connect($server, undef, timeout => 30);
    my $body   = $client->request(script => "$root/pid.php", keep => $case->{state} eq 'kept' ? 1 : 0)->{body};
    problem($server->name . ": another worker serves: $body") if $body ne $case->{worker};
    if ($case->{state} eq 'kept') { $case->{client} = $client } else { $client->close }
    wait_for { process_state($case->{worker}) eq 'S' } 10, 'the worker to wait for the next request';
    return;
}

# Requests that are not cut may go on after a second.
sub open_gates {
    my (@case) = grep { $_->{state} eq 'request' } @_;
    eval { wait_for { @case == grep { IO::Select->new($_->{client}->socket)->can_read(0) } @case } 1, 'all to be cut' };
    open_gate($_->{gate}) for @case;
    return;
}

# "done", "cut" (no END_REQUEST), or "502 whole".
sub end_of_request {
    my ($case) = @_;
    my $client = $case->{client};
    my $answer = eval { $client->read_answer };
    my $text   = !$answer ? 'no end' : !$answer->{ended} ? 'cut' : $answer->{status} == 200 ? $answer->{body} : "$answer->{status} whole";
    $client->close;
    return $text;
}

# "open" or "closed"; it is closed behind that.
sub end_of_connection {
    my ($client) = @_;
    my $is_closed = eval { $client->is_closed(0.3) };
    $client->close;
    return $is_closed ? 'closed' : 'open';
}

# The worker that answers a new request: "the same" or "another".
sub who_serves {
    my ($case) = @_;
    my $body = eval { php_request($case->{server}, "$root/pid.php")->{body} } // $@;
    return $body eq $case->{worker} ? 'the same' : $body =~ /\A\d+\z/ ? 'another' : $body;
}

# Log lines behind byte $from, as one text, without times, process ids and descriptors.
sub lines_of {
    my ($server, $from) = @_;
    my @line = grep { !/systemd monitor/ } split /\n/, $server->log_text($from);
    for (@line) {
        s/\A\[[^\]]+\] (?:NOTICE: )?//;
        s/\bpid \d+/pid N/;
        s/\[pool www\] //;
        s/child \d+/child N/g;
        s/after \d+\.\d{6} seconds/after S seconds/;
        s/execvp\(.*\)/execvp(ARGUMENTS)/;
        s/fd=\d+, ".*"/fd=N, "SOCKET"/;
    }
    return join '|', @line;
}

sub is_as_meant { my ($value, $wanted) = @_; return ref $wanted ? $value =~ $wanted : $value eq $wanted }

# Outcomes of both are the same in every field, but for those that $meant names.
sub check_case {
    my ($section, $name, $meant, $mine, $his) = @_;
    my ($reason, $field) = @{ $meant || [ undef, {} ] };
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @wrong;
    for my $key (sort keys %{ { %$mine, %$his } }) {
        my ($m, $h) = ($mine->{$key} // '(none)', $his->{$key} // '(none)');
        my ($mine_meant, $his_meant) = @{ $field->{$key} || [ $h, $h ] };
        push @wrong, "$key: fpmpoold: $m; php-fpm: $h" unless is_as_meant($m, $mine_meant) && is_as_meant($h, $his_meant);
    }
    ok(!@wrong, $name . ($reason ? " ($reason)" : '')) or diag(join "\n", @wrong);
    compared($section);
    return;
}

1;
