package FPMPool::Gate;

# A request that runs for as long as a test wants: its script waits at a gate. The folder of the
# test is opened to all, because the script runs as the pool's user.

use strict;
use warnings;
use Exporter 'import';
use FPMPool::Client;
use FPMPool::Test;

our @EXPORT = qw(slow_script start_slow open_gate);

my $gate;

# Text of the script, for site(): its file is slow.php.
sub slow_script {
    return '<?php $d = $_GET["d"]; touch("$d/started"); while (!file_exists("$d/go")) { usleep(20000); clearstatcache(); } echo "done";';
}

# A request of $root/slow.php that is running when this returns; it ends after open_gate(). Options:
# those of FPMPool::Client->connect.
sub start_slow {
    my ($root, $daemon, $pool, %option) = @_;
    if (!$gate) {
        chmod 0777, test_dir();
        $gate = test_dir() . '/gate';
        mkdir $gate;
        chmod 0777, $gate;
    }
    unlink "$gate/started", "$gate/go";
    my $client = FPMPool::Client->connect($daemon->listen_address($pool), %option);
    $client->send_request(script => "$root/slow.php", query => "d=$gate");
    wait_for { -e "$gate/started" } 10, 'the slow request runs';
    return $client;
}

sub open_gate { write_file("$gate/go", ''); return }

1;
