# Servers that are host names (FpmPoolServer tcp://name:port): all addresses of a name are used, they are looked up again,
# what has changed is used without a restart, and a name server that does not answer holds up nothing. The name service is a preloaded
# library that reads a file.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $library = preload('name_server');
my $names = test_dir() . '/names';
my %name  = (php => '127.0.0.11 127.0.0.12', kept => '127.0.0.11', late => '!', checked => '127.0.0.13', fixed => '127.0.0.11', stuck => '127.0.0.11');
my $port  = free_port();
my $root  = site('www', 'x.php' => '<?php');
my $run   = test_dir() . '/run';
mkdir $run;

sub set_name {
    my ($host, $addresses) = @_;
    $name{$host} = $addresses;
    my $text = join '', map { "$_.test $name{$_}\n" } sort keys %name;
    write_file("$names.new", $text);
    chmod 0644, "$names.new";
    rename "$names.new", $names;
    return;
}

sub start_peer {
    my ($address, @always) = @_;
    my $peer = start_service(kind => 'peer', name => 'peer-' . ($address =~ s{.*/}{}r), argv => [ dirname(__FILE__) . '/bin/scripted-peer', $address, @always ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

set_name(php => $name{php});
my %env  = (LD_PRELOAD => $library, NAME_FILE => $names);
my %pool = (
    php     => 'resolve=1s type=generic',
    kept    => 'resolve=1s type=generic reuse=on',
    late    => 'resolve=1s type=generic',
    checked => 'resolve=1s type=generic',
    fixed   => 'resolve=0 type=generic',
);
my $conf = "FpmPoolSocketDir $run\nFpmPool ping\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n<FpmPoolDefine ping>\n    FpmPoolServer unix:$run/ping.sock\n    FpmPoolCheck ping interval=100ms\n</FpmPoolDefine>\n";
for my $host (sort keys %pool) {
    $conf .= "<FpmPoolDefine $host>\n    FpmPoolServer tcp://$host.test:$port $pool{$host}\n" . ($host eq 'checked' ? "    FpmPoolCheck ping interval=100ms fast=50ms down=50ms fall=2\n" : '') . "    FpmPoolRetry off\n</FpmPoolDefine>\nAlias /$host $root\n<Location /$host>\n    FpmPool $host\n</Location>\n";
}
allow_log(qr/FPMP0003: .*late\.test/, qr/FPMP0073: pool (?:late|checked|php|kept)/);
my $ping = start_peer("$run/ping.sock", 'who');

for my $mpm (qw(event prefork)) {
    set_name(php => '127.0.0.11 127.0.0.12'), set_name(kept => '127.0.0.11'), set_name(late => '!'), set_name(checked => '127.0.0.13'), set_name(fixed => '127.0.0.11');
    my %peer  = map { $_ => start_peer("$_:$port") } qw(127.0.0.11 127.0.0.12);
    my $httpd = start_httpd(mpm => $mpm, name => "httpd-$mpm", env => \%env, docroot => $root, conf => $conf . ($mpm eq 'event' ? "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n" : "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\n"));
    my $get   = sub { my ($host) = @_; my $answer = http($httpd->url("/$host/x.php?do=who")); return $answer->{status} == 200 ? $answer->{body} =~ s/:\d+\z//r : $answer->{status} };
    my $shares = sub { my ($host) = @_; my %got; $got{ $get->($host) }++ for 1 .. 20; return \%got };

    subtest "$mpm: all addresses of a name" => sub {
        wait_for { $get->('php') eq '127.0.0.12' } 20, 'the second address';
        # An address that was too slow once, on a busy machine, is the last for 10 s.
        wait_for { my $got = $shares->('php'); ($got->{'127.0.0.11'} // 0) == 10 && ($got->{'127.0.0.12'} // 0) == 10 } 30, 'each address in its turn';
        pass('each in turn');
        $peer{'127.0.0.12'}->stop;
        is_deeply($shares->('php'), { '127.0.0.11' => 20 }, 'one is away: the other, for every request');
        unlike($httpd->log_text, qr/FPMP0085: pool php/, '... and the server is up');
        is($get->('fixed'), '127.0.0.11', 'resolve=0: as it was at the start');
    };

    subtest "$mpm: a name moves" => sub {
        is($get->('kept'), '127.0.0.11', 'a server with kept connections');
        my $old = sub { scalar(my @open = children($peer{'127.0.0.11'}->pid)) };
        wait_for { $old->() == 1 } 10, 'the kept connection is the only one';
        my $from = $httpd->log_length;
        my $new  = start_peer("127.0.0.13:$port");
        set_name($_, '127.0.0.13') for qw(php kept fixed);
        for my $host (qw(php kept)) {
            ok((wait_for { $get->($host) eq '127.0.0.13' } 20, 'the new address'), "$host: the new address, without a restart");
            like($httpd->log_text($from), qr/\[fpmpool:notice\].*FPMP0122: pool $host: the addresses of tcp:\S+ are now 127\.0\.0\.13$/m, '... which the log mentions');
        }
        is_deeply($shares->($_), { '127.0.0.13' => 20 }, "$_: ... and no other") for qw(php kept);
        ok((wait_for { $old->() == 0 } 10, 'the old connection is closed'), 'connections to the old address end');
        is($get->('fixed'), '127.0.0.11', 'resolve=0: still as it was');
        set_name(php => '127.0.0.13 127.0.0.11');
        set_name(php => '127.0.0.11 127.0.0.13');
        ok((wait_for { my $got = $shares->('php'); keys %$got == 2 } 20, 'both'), 'one more address');
        my $count = sub { scalar(() = $httpd->log_text($from) =~ /FPMP0122: pool php:.* are now 127\.0\.0\.11, 127\.0\.0\.13$/mg) };
        is($count->(), 1, 'another order is no change');
        $peer{new} = $new;
    };

    subtest "$mpm: a name that is not known" => sub {
        is($get->('late'), 503, 'not yet: 503');
        set_name(late => '127.0.0.11');
        ok((wait_for { $get->('late') eq '127.0.0.11' } 20, 'the name'), 'then it is: used without a restart');
        my $from = $httpd->log_length;
        allow_log(qr/FPMP0123: pool (?:late|php): the host of tcp:\S+ cannot be looked up \(Name or service not known\); the addresses that were known stay/);
        set_name(php => '!');
        ok(eval { $httpd->wait_log(qr/FPMP0123: pool php/, 20, $from) }, 'a name that is lost');
        like($get->('php'), qr/\A127\.0\.0\.1[13]\z/, '... has its last addresses');
        set_name(php => '127.0.0.13');
        ok((wait_for { $get->('php') eq '127.0.0.13' && keys %{ $shares->('php') } == 1 } 20, 'the name'), '... until it is there again');
    };

    subtest "$mpm: checks follow" => sub {
        ok((wait_for { $get->('checked') eq '127.0.0.13' } 20, 'the checks'), 'a server with checks');
        allow_log(qr/FPMP0085: pool checked/);
        my $from = $httpd->log_length;
        set_name(checked => '127.0.0.14');
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool checked: \S+ counts as down: no connection for a check/, 20, $from) }, 'its name moves to where nobody is: down');
        set_name(checked => '127.0.0.14 127.0.0.11');
        ok(eval { $httpd->wait_log(qr/FPMP0086: pool checked/, 20, $from) }, 'one good address is enough: up');
        is($get->('checked'), '127.0.0.11', '... requests go there');
    };

    subtest "$mpm: a name server that does not answer" => sub {
        set_name(php => '?');
        my $pings = sub { scalar(() = $ping->log_text =~ /ping/g) };
        my $before = $pings->();
        wait_for { $pings->() > $before + 20 } 20, 'two look-ups would have come';
        pass('holds up no checks');
        like($get->('php'), qr/\A127\.0\.0\.13\z/, '... and no requests');
        $httpd->stop;    # the harness looks for crashes
        pass('... nor the end of httpd');
    };
    $_->stop for grep { $_->pid && kill 0, $_->pid } values %peer;
}

done_testing();
