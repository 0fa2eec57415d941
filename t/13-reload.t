# Reloads while clients go on asking: no request is lost, on fresh and on kept connections, over unix
# and TCP sockets, by HUP and USR2; nothing is left behind in the master or in the pool processes.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;
use POSIX ();

my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'pause.php' => '<?php usleep(random_int(0, 30000)); echo "paused";',
);

# One request: 200, or what was wrong. undef: not taken, where kept connections may_close (unix sockets only).
sub ask {
    my ($client, $option) = @_;
    my $was_sent = $client->send_request(script => "$root/$option->{script}", keep => $option->{keep} ? 1 : 0);
    return if !$was_sent && $option->{may_close};
    my $answer = $client->read_answer;
    return 200 if ($answer->{status} // 0) == 200 && $answer->{ended} && !$answer->{protocol_status};
    return 'status ' . ($answer->{status} // 'none') . ', protocol status ' . ($answer->{protocol_status} // 'none');
}

# A process that asks without a pause until the file "stop" is there, and writes down what it got.
sub start_client {
    my ($name, $address, %option) = @_;
    my $report = test_dir() . "/client-$name";
    my $pid = fork // die "fork: $!";
    return { pid => $pid, name => $name, report => $report } if $pid;
    my ($client, $count, $loss) = (undef, 0, '');
    until (-e test_dir() . '/stop' || !-d test_dir()) {
        my $got = eval {
            $client ||= FPMPool::Client->connect($address);
            ask($client, \%option) // 'again';
        } // "died: $@";
        if    ($got eq '200')   { $count++ }
        elsif ($got ne 'again') { $loss .= "loss after $count: $got\n" }
        undef $client if $got ne '200' || !$option{keep};
    }
    write_file($report, "ok $count\n$loss");
    POSIX::_exit(0);
}

sub stop_clients {
    my (@client) = @_;
    write_file(test_dir() . '/stop', '');
    my %result;
    for my $client (@client) {
        my $status = reap($client->{pid}, 30);
        is($status, 0, "client $client->{name} ended") or next;
        my ($count, $loss) = read_file($client->{report}) =~ /^ok (\d+)\n(.*)/s;
        is($loss, '', "client $client->{name} lost none of its $count requests");
        $result{ $client->{name} } = $count;
    }
    unlink test_dir() . '/stop';
    return \%result;
}

# One reload, until the old generation is gone.
sub reload {
    my ($daemon, $signal, @pool) = @_;
    my %old = map { $_ => $daemon->pool_pid($_) } @pool;
    $daemon->signal($signal);
    wait_for {
        !grep { my $now = $daemon->pool_pid($_); !$now || $now == $old{$_} || alive($old{$_}) } @pool
    } 20, 'every pool has a new generation and the old one is gone';
    return;
}

for my $listen (qw(unix tcp)) {
    subtest "no request is lost ($listen)" => sub {
        my %www = ('pm.max_children' => 4, $listen eq 'tcp' ? (listen => 'tcp') : ());
        my $daemon = start_daemon(conf => { www => \%www });
        my $master = $daemon->pid;
        my $address = $daemon->listen_address('www');
        my @client = (
            (map { start_client("$listen-fresh-$_", $address, script => $_ % 2 ? 'pid.php' : 'pause.php') } 1 .. 2),
            (map { start_client("$listen-kept-$_", $address, script => $_ % 2 ? 'pid.php' : 'pause.php', keep => 1) } 1 .. 3),
        );
        my $end = time() + 3; # more reloads than five on a fast machine: all clients shall see some
        for (my $n = 0; $n < 5 || time() < $end; $n++) {
            reload($daemon, $n % 2 ? 'USR2' : 'HUP', 'www');
        }
        my $count = stop_clients(@client);
        cmp_ok($count->{$_} // 0, '>', 20, "client $_ was busy all the time") for sort keys %$count;
        is($daemon->pid, $master, 'the master is the same process');
        ok(alive($master), '... and lives');
    };
}


sub asks { return FPMPool::Client->connect($_[0])->request(script => "$root/pid.php", keep => 0)->{status} // 'none' }

subtest 'a pool that gets another name keeps its socket and its clients' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 3 }, other => {} });
    my $address = $daemon->listen_address('www');
    my $inode   = (stat $address)[1];
    my @client  = map { start_client("named-$_", $address, script => 'pause.php', keep => $_ % 2, may_close => 1) } 1 .. 3;
    for my $names ([qw(www shop)], [qw(shop blog)], [qw(blog www)]) {
        my ($old, $new) = @$names;
        my $old_pid = $daemon->pool_pid($old);
        rewrite($daemon, sub { s/^\[$old\]/[$new]/m });
        $daemon->signal('HUP');
        wait_for { $daemon->pool_pid($new) && !alive($old_pid) } 20, "$old is $new now";
    }
    stop_clients(@client);
    is((stat $address)[1], $inode, 'the socket is the very same');
};

subtest 'two pools swap their sockets' => sub {
    my $daemon = start_daemon(conf => { a => { 'env[POOL]' => 'a' }, b => { 'env[POOL]' => 'b' } });
    my ($a, $b) = map { $daemon->listen_address($_) } qw(a b);
    my $script = write_file("$root/pool.php", '<?php echo getenv("POOL");');
    my $pool_at = sub { FPMPool::Client->connect($_[0])->request(script => $script, keep => 0)->{body} };
    is($pool_at->($a) . $pool_at->($b), 'ab', 'before');
    my @client = map { start_client("swap-$_", $_ % 2 ? $a : $b, script => 'pid.php') } 1 .. 2;
    rewrite($daemon, sub { s{\Q$a\E}{SWAP}; s{\Q$b\E}{$a}; s{SWAP}{$b} });
    reload($daemon, 'HUP', 'a', 'b');
    stop_clients(@client);
    is($pool_at->($a) . $pool_at->($b), 'ba', 'after');
};

subtest 'an address that is taken: the pool serves on at the old one, the next reload tries again' => sub {
    allow_log(qr/Another FPM instance seems to already listen/, qr/the new address cannot be bound, '\S+' serves on/);
    my $daemon = start_daemon(conf => { www => {} });
    my $old    = $daemon->listen_address('www');
    my $new    = test_dir() . '/taken.sock';
    my $holder = IO::Socket::UNIX->new(Local => $new, Listen => 5) or die "listen: $!";
    my $pool   = $daemon->pool_pid;
    rewrite($daemon, sub { s{\Q$old\E}{$new} });
    $daemon->signal('HUP');
    $daemon->wait_log(qr/\[pool www\] the new address cannot be bound, '\Q$old\E' serves on/);
    is(asks($old), 200, 'the old address serves');
    is($daemon->pool_pid, $pool, '... by the same process');
    close $holder;
    unlink $new;
    reload($daemon, 'HUP', 'www');
    is(asks($new), 200, 'free again: the new address serves');
    ok(!-e $old, '... and the old one is gone');
    $daemon->{listen}{www} = $new;
};

subtest 'a user that does not exist any more: the pool serves on as it is' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    allow_log(qr/cannot get uid for user 'nobody-of-this-name'/);
    my $daemon = start_daemon(conf => { www => {}, other => {} });
    my ($pool, $other) = ($daemon->pool_pid, $daemon->pool_pid('other'));
    rewrite($daemon, sub { s/^(\[www\]\n(?:(?!\[).*\n)*?)user = .*/$1user = nobody-of-this-name/m });
    $daemon->signal('USR2');
    $daemon->wait_log(qr/\[pool www\] cannot get uid for user 'nobody-of-this-name': the pool serves on as it is/);
    wait_for { my $now = $daemon->pool_pid('other'); $now && $now != $other } 20, 'the other pool took its new generation';
    is($daemon->pool_pid, $pool, 'the pool process is the same');
    is(asks($daemon->listen_address('www')), 200, '... and serves');
    rewrite($daemon, sub { s/nobody-of-this-name/www-data/ });
    reload($daemon, 'USR2', 'www');
    is(asks($daemon->listen_address('www')), 200, 'repaired: a new generation serves');
};

subtest 'a pool that never gets ready does not stop a reload' => sub {
    my $fifo = test_dir() . '/preload.php';
    POSIX::mkfifo($fifo, 0644);    # PHP waits for somebody who writes
    my $daemon = start_daemon(conf => { www => {}, stuck => { 'php_admin_value[opcache.preload]' => $fifo } }, wait => 0);
    wait_for { $daemon->pool_pid('stuck') && eval { asks($daemon->listen_address('www')) == 200 } } 20, 'the other pool serves';
    rewrite($daemon, sub { s/^php_admin_value.*\n//m });
    $daemon->signal('HUP');
    $daemon->wait_log(qr/ready to handle connections/, 20);
    is(asks($daemon->listen_address('stuck')), 200, 'the repaired pool serves');
};

subtest 'twenty reloads leave nothing behind' => sub {
    my $log = test_dir() . '/access.log';
    my %seen = FPMPool::Board::needed_keys();
    my $daemon = start_daemon(conf => { www => { %seen, 'access.log' => $log }, other => { %seen, pm => 'ondemand' }, tcp => { %seen, listen => 'tcp' } });
    my @pool = qw(www other tcp);
    reload($daemon, 'HUP', @pool);    # what is made once is there now
    my $asks = sub {    # and no client is left, which is a socket too
        asks($daemon->listen_address($_)) for @pool;
        for my $pool (@pool) { wait_for { FPMPool::Board::look($daemon, $pool)->{pool}{connections} == 0 } 10, "the client of $pool to be closed" }
    };
    $asks->();
    my %before = map { $_ => join ' ', sort values %{ descriptors($daemon->pool_pid($_)) } } @pool;
    my $general = sub { $_[0] =~ s{ZendSem\.\w+}{ZendSem}gr =~ s{\d{2,}}{N}gr };
    my $master = descriptor_count($daemon->pid);
    my $memory = memory_of($daemon->pid);
    reload($daemon, $_ % 2 ? 'HUP' : 'USR2', @pool) for 1 .. 20;
    is(descriptor_count($daemon->pid), $master, 'the master has as many descriptors as before');
    $asks->();
    for my $pool (@pool) {
        my $now = join ' ', sort values %{ descriptors($daemon->pool_pid($pool)) };
        is($general->($now), $general->($before{$pool}), "pool process $pool has the same descriptors as before");
    }
    cmp_ok(memory_of($daemon->pid), '<', $memory + 1024, 'the master has not grown by a megabyte');
    is(scalar(my @children = children($daemon->pid)), 3, 'three pool processes, and no zombie');
};

sub memory_of { return read_file("/proc/$_[0]/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : die 'no RssAnon' }

done_testing();
