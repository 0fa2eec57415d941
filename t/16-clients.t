# listen.allowed_clients beside php-fpm: addresses compared in full, IPv4 and IPv6, in a network of the test's own
# in which the client can have any address. (php-fpm compared 12 bytes of 16 until 8.2.33: 7.14.)

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;
use IO::Socket::IP;

BEGIN {
    if (!$ENV{IN_OWN_NETWORK}) {
        plan(skip_all => 'needs root: a network of its own') if $>;
        plan(skip_all => 'unshare -n is not allowed here: a network of its own') if system('unshare -n true 2>/dev/null') != 0;
        $ENV{IN_OWN_NETWORK} = 1;
        exec 'unshare', '-n', $^X, $0;
    }
}
my @address = qw(127.0.0.1 10.9.8.7 10.9.8.6 ::1 fd00:1:2:3:4:5:6:7 fd00:1:2:3:4:5:6:8 fd00:1:2:3:4:5:0:7);
my $is_made = system('ip link set lo up') == 0;
for my $one (grep { !/^(?:127\.0\.0\.1|::1)$/ } @address) { $is_made &&= system('ip addr add ' . $one . ($one =~ /:/ ? '/128 nodad' : '/32') . ' dev lo') == 0 }
plan(skip_all => 'the addresses cannot be made (Debian package iproute2)') unless $is_made;

my $root = site('www', 'hello.php' => '<?php echo "hello";');
my %list = (
    'IPv4' => '10.9.8.7', 'IPv6' => 'fd00:1:2:3:4:5:6:7', 'loopback' => '127.0.0.1,::1', 'both' => '10.9.8.6,fd00:1:2:3:4:5:0:7', 'mapped' => '::ffff:10.9.8.7',
    'long form' => 'fd00:0001:0002:0003:0004:0005:0006:0008', 'one good of three' => 'localhost,10.9.8.7,10.9.8', 'with a blank' => '10.9.8.7, 10.9.8.6', 'none' => 'nobody',
);
my @pool = sort keys %list;

# Which of the addresses are served by that pool.
sub served {
    my ($daemon, $pool) = @_;
    my $port = $daemon->listen_address($pool) =~ /(\d+)\z/ ? $1 : die;
    my @got;
    for my $from (@address) {
        my $socket = IO::Socket::IP->new(PeerHost => $from =~ /:/ ? '::1' : '127.0.0.1', PeerPort => $port, LocalHost => $from, Timeout => 5) or next;
        $socket->blocking(0);
        my $client = bless { socket => $socket, buffer => '', timeout => 10 }, 'FPMPool::Client';
        my $answer = eval { $client->send_request(script => "$root/hello.php"); $client->read_answer };
        push @got, $from if $answer && ($answer->{body} // '') eq 'hello';
    }
    return join ' ', @got;
}

allow_log(qr/Connection disallowed: IP address '\S+' has been dropped|Wrong IP address|There are no allowed addresses/);
my @daemon = map {
    my $start = $_;
    my %conf = map { ("p$_" => { listen => '[::]:' . free_port(), 'pm.max_children' => 1, 'listen.allowed_clients' => $list{ $pool[$_] } }) } 0 .. $#pool;
    $start->(conf => \%conf);
} \&start_daemon, -x '/usr/sbin/php-fpm8.2' ? \&start_php_fpm : ();
for my $n (0 .. $#pool) {
    my ($mine, $his) = map { served($_, "p$n") } @daemon;
    is($mine, $his, "$pool[$n] ($list{$pool[$n]}): " . ($mine || 'nobody')) if @daemon > 1;
}
my %right = ('IPv4' => '10.9.8.7', 'IPv6' => 'fd00:1:2:3:4:5:6:7', 'mapped' => '10.9.8.7', 'none' => '');
for my $name (sort keys %right) {
    my ($n) = grep { $pool[$_] eq $name } 0 .. $#pool;
    is(served($daemon[0], "p$n"), $right{$name}, "$name: nobody but who is listed");
}
$_->stop for @daemon;
done_testing();
