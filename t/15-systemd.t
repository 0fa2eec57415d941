# What systemd is told, beside what php-fpm tells it, and what it passes: notifications through a path and
# an abstract name, reports, the watchdog, reload and stop; listening sockets of a service manager.
# long: 45 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;
use IO::Select;
use POSIX ();
use Socket;

my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'slow.php' => '<?php $d = $_GET["d"]; touch("$d/started"); while (!file_exists("$d/go")) { usleep(20000); clearstatcache(); } echo "done";',
);
chmod 0777, test_dir();
my $gate = test_dir() . '/gate';
mkdir $gate; chmod 0777, $gate;
my $has_peer = -x '/usr/sbin/php-fpm8.2';
my $count = 0;

# The service manager's ear: {socket, name for NOTIFY_SOCKET, heard => [...]}.
sub listen_to {
    my ($kind) = @_;
    my $name = $kind eq 'path' ? test_dir() . '/notify-' . ++$count : "fpmpool-test-$$-" . ++$count;
    socket my $socket, AF_UNIX, SOCK_DGRAM, 0 or die "socket: $!";
    bind $socket, pack_sockaddr_un($kind eq 'path' ? $name : "\0$name") or die "bind: $!";
    return { socket => $socket, name => $kind eq 'path' ? $name : "\@$name", heard => [] };
}

sub hear {
    my ($ear) = @_;
    while (IO::Select->new($ear->{socket})->can_read(0)) {
        recv $ear->{socket}, my $message, 8192, 0;
        push @{ $ear->{heard} }, $message;
    }
    return $ear->{heard};
}

# Waits for a message like that, and returns it; with what was heard before it, in a list.
sub wait_message {
    my ($ear, $pattern, $what, $from) = @_;
    return wait_for { my ($found) = grep { /$pattern/ } @{ hear($ear) }[ ($from || 0) .. $#{ hear($ear) } ]; $found } 30, $what;
}

sub log_lines {
    my ($daemon) = @_;
    return map { s/\A\[[^\]]+\] //r =~ s/\bpid \d+/pid N/r } grep { length } split /\n/, $daemon->log_text;
}

my %start = (fpmpoold => \&start_daemon, ($has_peer ? ('php-fpm' => \&start_php_fpm) : ()));

# What both say, to systemd and to the log, in one situation.
sub both {
    my ($name, $option, $work) = @_;
    subtest $name => sub {
        plan(skip_all => 'php8.2-fpm is not installed') unless $has_peer;
        my %said;
        for my $who (sort keys %start) {
            my $ear    = listen_to($option->{kind} || 'path');
            my %env    = (NOTIFY_SOCKET => $ear->{name}, %{ $option->{env} || {} });
            my $daemon = $start{$who}->(env => \%env, conf => { global => $option->{global} || {}, www => {} });
            # php-fpm says that it is ready before it has forked
            wait_for { 2 == (my @worker = $daemon->worker_pids) } 20, 'workers';
            $said{$who}{work} = [ $work->($daemon, $ear) ];
            is($said{$who}{work}[0] // '', 'READY=1' . "\nSTATUS=Ready to handle connections\nMAINPID=" . $daemon->pid, "$who: the first message") if $option->{has_first};
            $said{$who}{work} = [ map { s/MAINPID=\d+/MAINPID=N/r } @{ $said{$who}{work} } ];
            $daemon->stop('TERM');
            $said{$who}{log} = [ log_lines($daemon) ];
        }
        cmp_ok(scalar @{ $said{'php-fpm'}{log} }, '>=', 4, 'php-fpm has something to say');
        is_deeply($said{fpmpoold}, $said{'php-fpm'}, 'fpmpoold says the same');
    };
    return;
}

for my $kind (qw(path abstract)) {
    both("start and a report ($kind)", { kind => $kind, has_first => 1, global => { systemd_interval => 1 } }, sub {
        my ($daemon, $ear) = @_;
        wait_message($ear, qr/STATUS=Processes active: 0, idle: 2, Requests: 0,/, 'a report');
        return @{ hear($ear) }[ 0, -1 ];
    });
}

both('no interval: nothing but the start', { has_first => 1, global => { systemd_interval => 0 } }, sub {
    my ($daemon, $ear) = @_;
    wait_message($ear, qr/READY=1/, 'READY');
    return @{ hear($ear) };
});

both('the default interval', { has_first => 1 }, sub { wait_message($_[1], qr/READY=1/, 'READY') });
both('an interval with a suffix', { has_first => 1, global => { systemd_interval => '2m' } }, sub { wait_message($_[1], qr/READY=1/, 'READY') });

both('the watchdog sets the interval', { has_first => 1, env => { WATCHDOG_USEC => 2400000 } }, sub {
    my ($daemon, $ear) = @_;
    wait_message($ear, qr/WATCHDOG=1/, 'a sign of life');
    return @{ hear($ear) }[ 0, 1 ];
});

both('the watchdog wins over systemd_interval', { env => { WATCHDOG_USEC => 6000000 }, global => { systemd_interval => 1 } }, sub { wait_message($_[1], qr/READY=1/, 'READY') });
both('a watchdog with odd numbers', { env => { WATCHDOG_USEC => 12345678 } }, sub { wait_message($_[1], qr/READY=1/, 'READY') });
both('a watchdog of two seconds or less is none', { env => { WATCHDOG_USEC => 2000000 }, global => { systemd_interval => 20 } }, sub { wait_message($_[1], qr/READY=1/, 'READY') });
both('requests are counted', { global => { systemd_interval => 1 } }, sub {
    my ($daemon, $ear) = @_;
    php_request($daemon, "$root/pid.php") for 1 .. 5;
    return wait_message($ear, qr/Requests: 5, slow: 0, Traffic: \d+\.\d\dreq\/sec$/, 'a report with five requests') =~ s/Traffic: .*//r;
});

allow_log(qr/failed to notify (?:start|status) to systemd/, qr/systemd_interval option ignored/);
both('nobody listens at NOTIFY_SOCKET', { env => { NOTIFY_SOCKET => '/no/such/socket' }, global => { systemd_interval => 0 } }, sub { return });

subtest 'a service manager that does not read holds nobody up' => sub {
    my $ear = listen_to('path');
    socket my $filler, AF_UNIX, SOCK_DGRAM, 0 or die;
    $filler->blocking(0);
    1 while send $filler, 'full', 0, pack_sockaddr_un($ear->{name});
    my $daemon = start_daemon(env => { NOTIFY_SOCKET => $ear->{name} }, conf => { global => { systemd_interval => 1 }, www => {} });
    $daemon->wait_log(qr/WARNING: failed to notify start to systemd/);
    $daemon->wait_log(qr/NOTICE: failed to notify status to systemd/, 20);
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'it serves');
    hear($ear);
    wait_message($ear, qr/STATUS=Processes/, 'reports, once somebody reads');
    pass('reports come, once somebody reads');
};

subtest 'signs of life come again and again, and do not end a reload' => sub {
    my $ear    = listen_to('path');
    my $daemon = start_daemon(env => { NOTIFY_SOCKET => $ear->{name}, WATCHDOG_USEC => 2200000 }, conf => { www => {} });
    wait_for { 4 <= grep { /\AREADY=1\nWATCHDOG=1\nSTATUS=Processes active: \d+, idle: \d+, Requests: 0, slow: 0, Traffic: 0\.00req\/sec\z/ } @{ hear($ear) } } 60, 'four of them';
    is(scalar(grep { /READY=1\nSTATUS=Ready/ } @{ $ear->{heard} }), 1, 'the start is told once');

    # a pool that takes its time: PHP waits for somebody who writes into the fifo
    my $fifo = test_dir() . '/preload.php';
    POSIX::mkfifo($fifo, 0644);
    rewrite($daemon, sub { s/^\[www\]/[www]\nphp_admin_value[opcache.preload] = $fifo\nphp_admin_value[opcache.preload_user] = @{[pool_user()]}/m });
    my $from = @{ hear($ear) };
    my $now  = POSIX::floor(clock() * 1e6);
    $daemon->signal('USR2');
    my $reloading = wait_message($ear, qr/RELOADING=1/, 'RELOADING');
    my ($usec) = $reloading =~ /\ARELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=Reloading in progress \.\.\.\z/ or fail("what it says: $reloading");
    ok($usec >= $now && $usec <= clock() * 1e6, 'it says when, by the monotonic clock');
    my $alive = sub { scalar grep { /\AWATCHDOG=1\nSTATUS=Processes/ } @{ hear($ear) }[ $from .. $#{ hear($ear) } ] };
    wait_for { $alive->() >= 2 } 60, 'two signs of life meanwhile';
    is(scalar(grep { /RELOADING/ } @{ $ear->{heard} }), 1, 'one RELOADING');
    my ($index) = grep { $ear->{heard}[$_] =~ /RELOADING/ } 0 .. $#{ $ear->{heard} };
    is(scalar(grep { /READY/ } @{ $ear->{heard} }[ $index .. $#{ $ear->{heard} } ]), 0, 'no READY before the new generation is ready');
    rewrite($daemon, sub { s/^php_admin_value.*\n//mg });
    $daemon->signal('USR2');
    wait_message($ear, qr/\AREADY=1\nSTATUS=Ready to handle connections\nMAINPID=\d+\z/, 'READY', $index);
    pass('READY when it is');
};

sub clock { return POSIX::fmod(Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()), 1e12) }

subtest 'reload and stop' => sub {
    allow_log(qr/no_such_key|failed to load|the new configuration has errors/);
    my $ear    = listen_to('abstract');
    my $pid    = test_dir() . '/systemd.pid';
    my $daemon = start_daemon(env => { NOTIFY_SOCKET => $ear->{name} }, conf => { global => { systemd_interval => 1, pid => $pid, process_control_timeout => 20 }, www => {}, other => {} });
    php_request($daemon, "$root/pid.php") for 1 .. 3;
    my $after = sub {
        my ($what) = @_;
        my $from = @{ hear($ear) };
        $what->();
        wait_message($ear, qr/RELOADING=1/, 'RELOADING', $from);
        return wait_message($ear, qr/\AREADY=1\nSTATUS=Ready/, 'READY after it', $from);
    };
    ok($after->(sub { $daemon->signal('HUP') }), 'HUP');
    wait_message($ear, qr/Requests: 3,/, 'requests of the old generation are still counted', scalar @{ hear($ear) });
    ok($after->(sub { rewrite($daemon, sub { $_ .= "no_such_key = 1\n" }); $daemon->signal('USR2') }), 'a configuration with a mistake: ready as before');
    rewrite($daemon, sub { s/^no_such_key.*\n//m });
    ok($after->(sub { system(build_path('bin/fpmpoold'), '-y', $daemon->conf_file, '--ctl', 'reload', 'www') == 0 or fail('ctl') }), 'of one pool');
    my $client = FPMPool::Client->connect($daemon->listen_address('www'), timeout => 60);
    $client->send_request(script => "$root/slow.php", query => "d=$gate");
    wait_for { -e "$gate/started" } 10, 'a request runs';
    my $from = @{ hear($ear) };
    $daemon->signal('QUIT');
    is(wait_message($ear, qr/STOPPING=1/, 'STOPPING', $from), "STOPPING=1\nSTATUS=Finishing ...", 'STOPPING');
    wait_message($ear, qr/STATUS=Processes/, 'reports go on', $from);
    write_file("$gate/go", '');
    is($client->read_answer->{body}, 'done', 'the request ends whole');
    is($daemon->stop, 0, 'the daemon ends');
    my @rest = @{ hear($ear) };
    my ($index) = grep { $rest[$_] =~ /STOPPING/ } 0 .. $#rest;
    is(scalar(grep { /READY=1|STOPPING=1/ } @rest[ $index + 1 .. $#rest ]), 0, 'no READY and no second STOPPING behind it');
};

subtest 'one pool that takes long does not keep the daemon from being ready' => sub {
    my $fifo = test_dir() . '/stuck.php';
    POSIX::mkfifo($fifo, 0644);
    my $ear    = listen_to('path');
    my %stuck  = ('php_admin_value[opcache.preload]' => $fifo, 'php_admin_value[opcache.preload_user]' => pool_user());
    my $daemon = start_daemon(env => { NOTIFY_SOCKET => $ear->{name} }, conf => { www => {}, stuck => \%stuck }, wait => 0);
    wait_for { eval { served($daemon->listen_address('www')) == 200 } } 20, 'the other pool serves';
    wait_message($ear, qr/READY=1\nSTATUS=Ready/, 'READY');
    unlike($daemon->log_text, qr/ready to handle connections/, 'READY comes before every pool is');
    is(scalar(my @line = $daemon->log_text =~ /systemd monitor interval/g), 1, '... and its line');
    my $from = @{ hear($ear) };
    rewrite($daemon, sub { s/^php_admin_value.*\n//mg });
    $daemon->signal('USR2');
    $daemon->wait_log(qr/ready to handle connections/, 20);
    wait_message($ear, qr/\AREADY=1\nSTATUS=Ready/, 'READY behind the reload', $from);
    wait_for { @{ hear($ear) } > $from + 1 || $daemon->log_text =~ /systemd monitor interval.*systemd monitor interval/s } 20, 'its line once more';
    is(join(' ', map { /^(\w+)/ } @{ hear($ear) }[ $from .. $#{ hear($ear) } ]) =~ s/ STATUS//gr, 'RELOADING READY', 'RELOADING, READY, and each once');
};

subtest 'no pool can serve: not ready' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    allow_log(qr/cannot get uid/, qr/no pool can serve/);
    my $ear    = listen_to('path');
    my $daemon = start_daemon(env => { NOTIFY_SOCKET => $ear->{name} }, conf => { www => { user => 'nobody-of-this-name' } }, wait => 0)->expect_end;
    wait_for { !$daemon->is_running } 20, 'it ends';
    is(scalar(grep { /READY/ } @{ hear($ear) }), 0, 'READY was not said');
};

# ---- sockets of the service manager -----------------------------------------------------------------

# Binds what ACTIVATE names and becomes the daemon, as systemd does.
my $manager = write_file('manager/fpmpoold', <<'PERL' =~ s/PROGRAM/build_path('bin\/fpmpoold')/er, 0755);
#!/usr/bin/perl
use strict; use warnings; use Socket qw(:all); use POSIX ();
my $fd = 3;
$^F = 1000;
my @keep;
POSIX::close($_) for 3 .. 20;
for my $address (split ' ', $ENV{ACTIVATE}) {
    my ($family, $packed) = $address =~ m{^/} ? (AF_UNIX, pack_sockaddr_un($address))
        : $address =~ /^\[/ ? (AF_INET6, pack_sockaddr_in6(($address =~ /(\d+)$/)[0], inet_pton(AF_INET6, ($address =~ /\[(.*)\]/)[0])))
        : (AF_INET, pack_sockaddr_in(($address =~ /:(\d+)/)[0], inet_aton($address =~ s/:.*//r)));
    socket my $socket, $family, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $socket, $packed or die "bind $address: $!";
    $ENV{ACTIVATE_DEAF} || listen $socket, 100 or die "listen: $!";
    chmod 0640, $address if $address =~ m{^/};
    push @keep, $socket;
    fileno($socket) == $fd or die "descriptor " . fileno($socket) . " is not $fd";
    $fd++;
}
delete $ENV{ACTIVATE};
$ENV{LISTEN_FDS} //= $fd - 3;
$ENV{LISTEN_PID} //= $$;
$ENV{LISTEN_FDNAMES} = 'whatever';
exec 'PROGRAM', @ARGV;
PERL
sub start_activated {
    my ($addresses, $conf, %env) = @_;
    return start_daemon(binary => $manager, name => 'activated', env => { ACTIVATE => join(' ', @$addresses), %env }, conf => $conf);
}
sub served { return FPMPool::Client->connect($_[0])->request(script => "$root/pid.php", keep => 0)->{status} }

subtest 'sockets that are passed serve the pools with their addresses' => sub {
    my $path = test_dir() . '/passed.sock';
    my ($port, $any, $six, $named) = map { free_port() } 1 .. 4;
    my $daemon = start_activated([ $path, "127.0.0.1:$port", "[::]:$any", "[::1]:$six", "127.0.0.1:$named" ], {
        www => { listen => $path, 'listen.mode' => '0666', 'env[A]' => 1 }, tcp => { listen => "127.0.0.1:$port" }, any => { listen => $any }, six => { listen => "[::1]:$six" },
        named => { listen => "localhost:$named" }, own => {},
    });
    my $inode = (stat $path)[1];
    is(served($path), 200, 'a path');
    is(served("127.0.0.1:$port"), 200, 'address and port');
    is(served("127.0.0.1:$any"), 200, 'a port alone');
    is(served("127.0.0.1:$named"), 200, 'a name');
    is(served($daemon->listen_address('own')), 200, 'a pool without one binds its own');
    is((stat $path)[2] & 0777, 0640, 'mode and owner are the manager\'s');
    unlike($daemon->log_text, qr/WARNING/, 'no complaint');
    for my $pid (map { $daemon->pool_pid($_) } qw(www own)) {
        unlike(read_file("/proc/$pid/environ"), qr/LISTEN_/, 'the pool process knows nothing of it');
    }
    my %open = %{ descriptors($daemon->pool_pid('own')) };
    is(scalar(grep { /socket/ && is_listening($_) } values %open), 1, 'and has no socket of another pool');

    for my $signal (qw(USR2 HUP)) {
        my $old = $daemon->pool_pid('www');
        rewrite($daemon, sub { s/env\[A\] = \d/env[A] = 2/; s/listen\.mode = 0666/listen.mode = 0600/ });
        $daemon->signal($signal);
        wait_for { my $new = $daemon->pool_pid('www'); $new && $new != $old && !alive($old) } 20, "$signal: a new generation";
        is(served($path), 200, '... serves on the same socket');
    }
    is((stat $path)[2] & 0777, 0640, 'whose mode is still the manager\'s');
    my $text = read_file($daemon->conf_file);
    rewrite($daemon, sub { s/\[www\].*?(?=^\[|\z)//ms });
    $daemon->signal('USR2');
    $daemon->wait_log(qr/pool 'www' is gone from the configuration/);
    write_file($daemon->conf_file, $text);
    $daemon->signal('USR2');
    $daemon->wait_log(qr/pool 'www' is new/);
    is(served($path), 200, 'a pool that went and came has its socket again');
    $daemon->stop;
    ok(-S $path, 'the end leaves the socket to the manager');
    is((stat $path)[1], $inode, '... the same one');
    unlink $path;
};

sub is_listening {
    my ($inode) = $_[0] =~ /\[(\d+)\]/;
    return read_file('/proc/net/unix') =~ /^\S+ \S+ \S+ 00010000 \S+ \S+ +$inode /m || join('', map { read_file("/proc/net/$_") } qw(tcp tcp6)) =~ /^ *\d+: \S+ \S+ 0A .* $inode /m;
}

subtest 'a socket that no pool wants' => sub {
    allow_log(qr/the service manager handed over a socket at/);
    my ($wanted, $path, $port) = (test_dir() . '/wanted.sock', test_dir() . '/unwanted.sock', free_port());
    my $daemon = start_activated([ $path, $wanted, "127.0.0.1:$port" ], { www => { listen => $wanted } });
    is(served($wanted), 200, 'the other one serves');
    for my $address ($path, "127.0.0.1:$port") {
        like($daemon->log_text, qr/WARNING: the service manager handed over a socket at '\Q$address\E', but no pool has it as its 'listen', or it is none for accepting: closed; change a pool or the \.socket unit/, "$address is named");
    }
    ok(!FPMPool::Client->can('nothing') && !eval { FPMPool::Client->connect("127.0.0.1:$port"); 1 }, 'nobody accepts there');
    ok(-S $path, 'its path stays');
    $daemon->stop;
    unlink $path, $wanted;
};

subtest 'a socket that does not listen is none' => sub {
    allow_log(qr/the service manager handed over a socket at/);
    my $port   = free_port();
    my $daemon = start_activated(["127.0.0.1:$port"], { www => { listen => '127.0.0.1:' . free_port() } }, ACTIVATE_DEAF => 1);
    like($daemon->log_text, qr/handed over a socket at '127\.0\.0\.1:$port'/, 'a warning');
    is(served($daemon->listen_address('www')), 200, 'the pool serves');
};

for my $case ([ { LISTEN_PID => 1 }, qr/\A\z/, 'for another process' ], [ { LISTEN_FDS => 'x' }, qr/LISTEN_FDS='x' is not a number/, 'no number' ],
    [ { LISTEN_FDS => 5000 }, qr/LISTEN_FDS='5000' is not a number from 0 to 4096/, 'too many' ], [ { LISTEN_FDS => 7 }, qr/LISTEN_FDS='7', but descriptor 4 is not open/, 'more than there are' ]) {
    my ($env, $pattern, $name) = @$case;
    subtest "LISTEN_FDS: $name" => sub {
        allow_log(qr/LISTEN_FDS/);
        my $path   = test_dir() . '/listen-' . ++$count . '.sock';
        my $port   = free_port();
        my $daemon = start_activated([$path], { www => { listen => "127.0.0.1:$port" }, ($name eq 'more than there are' ? (passed => { listen => $path }) : ()) }, %$env);
        like(join("\n", grep { /WARNING/ } split /\n/, $daemon->log_text), $pattern, 'what the log says');
        is(served("127.0.0.1:$port"), 200, 'it serves');
        is(served($path), 200, '... also on the socket that was passed') if $name eq 'more than there are';
        $daemon->stop;
        unlink $path;
    };
}

done_testing();
