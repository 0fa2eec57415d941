# A reload, or the end, in the middle of something else: what the executed master must still know of
# processes that it did not start, and pool processes that leave, start or talk just then.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'another daemon is named: this is about ours') if $ENV{FPMPOOL_TEST_DAEMON};

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;
my $wait = 'touch($_GET["mark"]); $end = microtime(true) + 60; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(5000); clearstatcache(); }';
my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'hold.php' => "<?php $wait echo 'held';",
    'say.php'  => "<?php $wait file_put_contents('php://stderr', \"bare words\\n\"); echo 'said';",
);

my $serial = 0;

# A request that holds a worker; returns its client and the file that ends it.
sub hold {
    my ($daemon, $pool, $script) = @_;
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    my $client = php_connect($daemon, $pool, timeout => 60);
    $client->send_request(script => "$root/" . ($script // 'hold.php'), query => "mark=$mark&go=$go");
    wait_for { -e $mark } 15, "a worker of $pool to be busy";
    return { client => $client, go => $go };
}
sub let_go { my ($held) = @_; write_file($held->{go}, ''); return $held->{client}->read_answer->{body} }

# The reload is over when the executed master is ready.
sub reload {
    my ($daemon) = @_;
    my $offset = $daemon->log_length;
    $daemon->signal('HUP');
    $daemon->wait_log(qr/ready to handle connections/, 30, $offset);
    return;
}

subtest 'bare lines of a worker that outlives a reload' => sub {
    my $daemon = start_daemon(conf => { www => { catch_workers_output => 'yes', decorate_workers_output => 'no' } });
    my $held = hold($daemon, 'www', 'say.php');
    allow_log(qr/^bare words$/);
    reload($daemon);
    is(let_go($held), 'said', 'the request ends');
    ok(eval { $daemon->wait_log(qr/^bare words$/m, 10); 1 }, '... and what it said is in the log, as it is');
    $daemon->stop;
};

done_testing();
