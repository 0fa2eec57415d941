package FPMPool::Gate;

# Requests that run for as long as a test wants: their script waits at a gate, each at its own. The folder of the
# test is opened to all, because the script runs as the pool's user.
#
#   my $root   = site('www', 'slow.php' => slow_script());
#   my $client = start_slow($root, $daemon, 'www');    # it is running now
#   open_gate();                                       # all that run go on
#
# A request that the test sends itself: $gate = new_gate(), gate_query($gate) in its query, wait_at_gate($gate),
# open_gate($gate).

use strict;
use warnings;
use Exporter 'import';
use FPMPool::Client;
use FPMPool::Test;

our @EXPORT = qw(slow_script wait_code new_gate gate_query wait_at_gate start_slow open_gate gate_worker);

my @gates;

# PHP code that waits at the gate of the request's query; no longer than a minute, lest a test that dies leaves it.
sub wait_code {
    return '$d = $_GET["d"]; file_put_contents("$d/starting", getmypid()); rename("$d/starting", "$d/started"); $end = hrtime(true) + 60e9;'
        . ' while (!file_exists("$d/go") && hrtime(true) < $end) { usleep(5000); clearstatcache(); }';
}

# Text of a script, for site(), that prints $what, a PHP expression, when it may go on.
sub slow_script { my ($what) = @_; return '<?php ' . wait_code() . ' echo ' . ($what // '"done"') . ';' }

sub new_gate {
    my $folder = test_dir() . '/gates';
    if (!@gates) {
        chmod 0777, test_dir();
        mkdir $folder;
        chmod 0777, $folder;
    }
    my $gate = "$folder/" . (@gates + 1);
    mkdir $gate;
    chmod 0777, $gate;
    push @gates, $gate;
    return $gate;
}

sub gate_query   { my ($gate) = @_; return "d=$gate" }
sub wait_at_gate { my ($gate) = @_; return wait_for { -e "$gate/started" } 20, 'the slow request runs' }

# The process that waits there.
sub gate_worker { my ($gate) = @_; return read_file(($gate // $gates[-1]) . '/started') }

# A request of $root/slow.php that is running when this returns; it ends after open_gate(). Options:
# those of FPMPool::Client->connect; client => a connection to use; keep => 1: it serves on; gate => one of new_gate().
sub start_slow {
    my ($root, $daemon, $pool, %option) = @_;
    my $gate   = delete $option{gate} // new_gate();
    my $keep   = delete $option{keep};
    my $client = delete $option{client} // FPMPool::Client->connect($daemon->listen_address($pool), %option);
    $client->send_request(script => "$root/slow.php", query => gate_query($gate), keep => $keep);
    wait_at_gate($gate);
    return $client;
}

# Opens one gate, or all.
sub open_gate {
    my ($gate) = @_;
    write_file("$_/go", '') for $gate // @gates;
    return;
}

1;
