# How many system calls a request costs httpd, by strace: a small page on a kept connection, and a page of 1 MiB. Beside
# mod_proxy_fcgi with php-fpm, whose numbers are defect D22. A request is served by one thread, and each thread has a trace of its own.
# alone: counts system calls, which are more when threads wait for the processor

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Test;

require_program('strace', 'strace');
require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $root = site('www',
    'hello.php'  => '<?php echo "hello world\n";',
    'large.php'  => '<?php echo str_repeat("0123456789abcdef", 65536);',
    'pieces.php' => '<?php for ($i = 0; $i < 256; $i++) echo str_repeat("0123456789abcdef", 256);',
);
my $daemon = start_daemon(conf => { www => {} });
my $fpm    = start_php_fpm(conf => { www => {} });

# The calls of httpd's child while the code runs, one text for each thread.
my $traces = 0;
sub trace {
    my ($httpd, $code) = @_;
    my ($child) = children($httpd->pid);
    my $dir = test_dir() . '/trace-' . ++$traces;
    mkdir $dir;
    my $strace = start_service(kind => 'peer', name => "strace-$traces", stop_signal => 'INT',
        argv => [ 'strace', '-ff', '-yy', '-s', '64', '-o', "$dir/t", '-p', $child ]);
    $strace->expect_end;
    $strace->wait_log(qr/attached/, 10);
    my $result = $code->();
    $strace->stop;
    allow_log(qr/strace: Process \d+ (?:attached|detached)/);
    return ($result, map { read_file($_) } sort glob "$dir/t.*");
}

# For each request of that path: {backend => {call => count}, client => {...}}.
sub requests_of {
    my ($path, @text) = @_;
    my @request;
    for my $text (@text) {
        my $at;
        for my $line (split /\n/, $text) {
            my ($call) = $line =~ /^(\w+)\(/ or next;
            push @request, $at = {} if $line =~ /^read\(\d+<TCP.*"GET \Q$path\E/;
            next unless $at;
            my $side = $line =~ /UNIX/ ? 'backend' : $line =~ /TCP/ ? 'client' : next;
            $at->{$side}{$call}++;
            undef $at if $side eq 'client' && $call eq 'shutdown';
        }
    }
    return @request;
}

sub total { my ($calls, $which) = @_; my $sum = 0; $sum += $calls->{$_} for grep { /$which/ } keys %{ $calls || {} }; return $sum }
sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] }
sub list { my ($calls) = @_; return join ' ', map { "$_=$calls->{$_}" } sort keys %{ $calls || {} } }

my $one = "MaxKeepAliveRequests 0\nStartServers 1\nServerLimit 1\nThreadLimit 8\nThreadsPerChild 8\nMinSpareThreads 1\nMaxSpareThreads 8\nMaxRequestWorkers 8\n";
my %httpd = (
    ours => start_httpd(name => 'httpd-ours', docroot => $root, mpm_conf => $one, override => 'None', conf => php_routes('fpmpool', $daemon, 'www')),
    peer => start_httpd(name => 'httpd-peer', docroot => $root, mpm_conf => $one, override => 'None', modules => [qw(proxy proxy_fcgi)], conf => php_routes('proxy_fcgi', $fpm, 'www')),
);

my (%small, %large);
for my $side (qw(ours peer)) {
    for my $path ('/hello.php', '/large.php', '/pieces.php') {
        my $count = $path eq '/hello.php' ? 100 : 10;
        my $http  = http_connect(port => $httpd{$side}->port);
        $http->exchange(GET => '/hello.php') for 1 .. 3;
        my ($good, @text) = trace($httpd{$side}, sub { scalar grep { $http->exchange(GET => $path)->{complete} } 1 .. $count });
        $http->close;
        my @request = requests_of($path, @text);
        is($good, $count, "$side: $path, $count answers");
        is(scalar @request, $count, '... all of them traced');
        if ($path eq '/hello.php') { $small{$side} = median(map { total($_->{backend}, qr/./) } @request) }
        else {
            $large{$side}{$path} = [ median(map { total($_->{backend}, qr/^(?:read|recv)/) } @request), median(map { total($_->{client}, qr/^(?:write|send)/) } @request) ];
        }
        my $middle = $request[ @request / 2 ];
        note("$side $path: backend " . list($middle->{backend}) . '; client ' . list($middle->{client}));
    }
}
note("a small page: $small{ours} calls to the server (mod_proxy_fcgi: $small{peer})");
cmp_ok($small{ours}, '<=', 4, 'a small page: at most 4 calls to the server');
for my $path ('/large.php', '/pieces.php') {
    my ($ours, $peer) = map { $large{$_}{$path} } qw(ours peer);
    note("$path, 1 MiB: $ours->[0] reads, $ours->[1] writes to the client (mod_proxy_fcgi: $peer->[0] and $peer->[1])");
    cmp_ok($ours->[0], '<=', 20, "$path, 1 MiB: at most 20 reads");
    cmp_ok($ours->[1], '<=', 20, '... and 20 writes to the client');
    defect('D22', "1 MiB costs more than a hundred calls on each side ($path)",
        peer => sub { "@$peer" }, wrong => qr/^\d{3,} \d{3,}$/, ours => sub { "@$ours" }, right => qr/^\d{1,2} \d{1,2}$/);
}
done_testing();
