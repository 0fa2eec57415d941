# Listening sockets beside php-fpm's: owner, group and mode of unix sockets, the addresses that TCP
# forms mean, allowed clients, and what is said when an address cannot be had.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;
use IO::Socket::IP;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
my $root = site('www', 'pid.php' => '<?php echo getmypid();');

sub look { my ($path) = @_; my @s = stat $path or return 'none'; return sprintf '%04o %d:%d', $s[2] & 07777, @s[ 4, 5 ] }

subtest 'owner, group and mode of a unix socket' => sub {
    plan(skip_all => 'needs a root master') unless is_root();
    my @case = (
        {}, { 'listen.mode' => '0600' }, { 'listen.mode' => '666' }, { 'listen.mode' => '0' }, { 'listen.owner' => 'www-data' }, { 'listen.group' => 'www-data' },
        { 'listen.owner' => 'www-data', 'listen.group' => 'root' }, { 'listen.owner' => 33 }, { 'listen.group' => 33, 'listen.mode' => '0606' },
        { 'listen.owner' => 'nobody' }, { 'listen.owner' => 'nobody', 'listen.group' => 'www-data', 'listen.mode' => '0640' },
    );
    my %conf = map { ("p$_" => { pm => 'ondemand', 'pm.max_children' => 1, 'listen.mode' => undef, %{ $case[$_] } }) } 0 .. $#case;
    my $peer = start_php_fpm(conf => \%conf);
    my $ours = start_daemon(conf => \%conf);
    for my $n (0 .. $#case) {
        my $name = join(', ', map { "$_ = $case[$n]{$_}" } sort keys %{ $case[$n] }) || 'nothing set';
        is(look($ours->listen_address("p$n")), look($peer->listen_address("p$n")), $name);
    }
    rewrite($ours, sub { s/listen\.mode = 0600/listen.mode = 0644\nlisten.owner = nobody/ });
    $ours->signal('HUP');
    wait_for { look($ours->listen_address('p1')) eq sprintf '0644 %d:%d', (getpwnam 'nobody')[2, 3] } 10, 'a reload applies them to a socket that stays';
    pass('a reload applies them to a socket that stays');
};

# Which of these addresses answer at that port.
sub answering {
    my ($port) = @_;
    my ($own) = grep { !/^127\./ } map { /inet (\S+?)\// ? $1 : () } split /\n/, `ip -4 -o addr show 2>/dev/null`;
    return join ' ', grep { IO::Socket::IP->new(PeerHost => $_, PeerPort => $port, Timeout => 2) } '127.0.0.1', '::1', $own // ();
}

for my $form ('%d', '127.0.0.1:%d', '[::1]:%d', '::1:%d', '*:%d', '[::]:%d', '0.0.0.0:%d', 'localhost:%d') {
    subtest "listen = $form" => sub {
        my %answer;
        for my $who (qw(peer ours)) {
            my $port = free_port();
            my %conf = (conf => { www => { listen => sprintf($form, $port), pm => 'static', 'pm.max_children' => 1 } });
            allow_log(qr/Found multiple addresses for/, qr/Failed implicitly binding/);
            my $daemon = eval { $who eq 'peer' ? start_php_fpm(%conf) : start_daemon(%conf) };
            $answer{$who} = $daemon ? answering($port) : 'does not start';
            $daemon->stop if $daemon;
        }
        is($answer{ours}, $answer{peer}, "answers at what php-fpm answers at: $answer{peer}");
    };
}

subtest 'an address that cannot be had: the message names it, and nothing starts' => sub {
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
    my @case = (
        [ ':9000', qr/\[pool www\] getaddrinfo: .* \(listen = :9000\)/ ],
        [ 'no-such-host.invalid:9000', qr/\[pool www\] getaddrinfo: .* \(listen = no-such-host\.invalid:9000\)/ ],
        [ '127.0.0.1:none', qr/\[pool www\] invalid port value 'none'/ ], [ '127.0.0.1:0', qr/invalid port value '0'/ ], [ '127.0.0.1:65536', qr/invalid port value '65536'/ ], [ '99999', qr/invalid port value '99999'/ ],
        [ '192.0.2.1:9000', qr/unable to bind listening socket for address '192\.0\.2\.1:9000': Cannot assign requested address/ ],
        [ '127.0.0.1:' . $taken->sockport, qr/unable to bind listening socket for address '127\.0\.0\.1:\d+': Address already in use/ ],
        [ test_dir() . '/nothing/x.sock', qr/unable to bind listening socket for address '\S+': No such file or directory/ ],
    );
    for my $case (@case) {
        allow_log($case->[1], qr/FPM initialization failed/);
        my $daemon = start_daemon(conf => { www => { listen => $case->[0] } }, wait => 0)->expect_end;
        wait_for { !$daemon->is_running } 15, "it ends: $case->[0]";
        is($daemon->stop >> 8, 78, "$case->[0]: exit code 78");
        like($daemon->log_text, $case->[1], '... with the reason');
    }
};

subtest 'one address of two that cannot be had: the other pool serves, this one is tried again' => sub {
    allow_log(qr/unable to bind listening socket/);
    my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
    my $address = '127.0.0.1:' . $holder->sockport;
    my $daemon  = start_daemon(conf => { www => {}, late => { listen => $address } });
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'the other pool serves');
    close $holder;
    wait_for { my $got = eval { FPMPool::Client->connect($address)->request(script => "$root/pid.php", keep => 0) }; $got && ($got->{status} // 0) == 200 } 20, 'free again, it is bound';
    pass('free again, it is bound');
};

subtest 'listen.allowed_clients' => sub {
    allow_log(qr/Connection disallowed: IP address '127\.0\.0\.1' has been dropped/, qr/Wrong IP address|There are no allowed addresses/);
    my %tcp = (listen => 'tcp', pm => 'static', 'pm.max_children' => 1);
    my $daemon = start_daemon(conf => {
        good => { %tcp, 'listen.allowed_clients' => '127.0.0.1' }, other => { %tcp, 'listen.allowed_clients' => '127.0.0.2,::1' },
        none => { %tcp, 'listen.allowed_clients' => 'localhost' }, unix => { 'listen.allowed_clients' => '127.0.0.2' },
    });
    is(php_request($daemon, "$root/pid.php", pool => 'good')->{status}, 200, 'an allowed client is served');
    is((eval { php_request($daemon, "$root/pid.php", pool => $_) } || {})->{status}, undef, "$_: refused") for qw(other none);
    is(php_request($daemon, "$root/pid.php", pool => 'unix')->{status}, 200, 'a unix socket is not asked');
};

done_testing();
