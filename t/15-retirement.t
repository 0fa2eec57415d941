# Workers that end between two requests: pm.max_requests, exact or spread, and pm.max_memory.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

my $root = site('www',
    'pid.php' => '<?php echo getmypid();',
    'big.php' => '<?php for ($i = 0; $i < 100000; $i++) { $a[] = str_repeat("x", 900 + $i % 100); } echo getmypid();',
);
my $daemon = start_daemon(conf => {
    exact  => { 'pm.max_children' => 2, 'pm.max_requests' => 7 },
    spread => { 'pm.max_children' => 4, 'pm.max_requests' => 200 },
    memory => { 'pm.max_children' => 1, 'pm.max_memory' => '40M', 'php_admin_value[memory_limit]' => '-1', FPMPool::Board::needed_keys() },
    every  => { 'pm.max_children' => 1, 'pm.max_memory' => '1K', FPMPool::Board::needed_keys() },
});

# Answers of each worker that was there at the start, until all of them are gone.
sub count_requests {
    my ($pool) = @_;
    my %first  = map { $_ => 0 } $daemon->worker_pids($pool);
    my @client = map { php_connect($daemon, $pool) } 1 .. keys %first;
    for my $n (1 .. 5000) {
        my $pid = $client[ $n % @client ]->request(script => "$root/pid.php", keep => 1)->{body};
        $first{$pid}++ if exists $first{$pid};
        last if !grep { alive($_) } keys %first;
    }
    $_->close for @client;
    return sort { $a <=> $b } values %first;
}

subtest 'pm.max_requests' => sub {
    is_deeply([ count_requests('exact') ], [ 7, 7 ], 'a small number is exact');
    is_deeply([ count_requests('spread') ], [ 185, 190, 195, 200 ], 'of a large one each worker has its own, up to a tenth less');
};

subtest 'pm.max_memory' => sub {
    my %pid = map { php_request($daemon, "$root/pid.php", pool => 'memory')->{body} => 1 } 1 .. 20;
    is(scalar keys %pid, 1, 'a worker that stays small serves on');
    my ($worker) = keys %pid;
    my $big;
    for (1 .. 10) {    # PHP keeps some memory for the next large request
        $big = php_request($daemon, "$root/big.php", pool => 'memory');
        is($big->{status}, 200, 'a large request is answered');
        last if eval { wait_for { !alive($worker) } 1, 'its end' };
    }
    ok(!alive($worker), 'its worker ends');
    my ($requests, $held, $limit) = $daemon->wait_log(qr/NOTICE: \[pool memory\] child $worker ends after (\d+) requests: it holds ([\d.]+) MB, pm\.max_memory is ([\d.]+) MB/, 5);
    cmp_ok($requests, '>', 20, 'the log tells its requests');
    cmp_ok($held, '>', 40, '... its memory');
    is($limit, '40.0', '... and the limit');
    $daemon->wait_log(qr/NOTICE: \[pool memory\] child $worker exited with code 0 after/, 5);
    isnt(php_request($daemon, "$root/pid.php", pool => 'memory')->{body}, $worker, 'another one serves');

    my $client = php_connect($daemon, 'every');
    my %seen   = map { $client->request(script => "$root/pid.php", keep => 1)->{body} => 1 } 1 .. 5;
    is(scalar keys %seen, 5, 'a limit below what PHP needs: each worker serves one request, and its connection stays');
};

done_testing();
