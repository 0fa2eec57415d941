# What the processes of a running daemon hold, and what is left of them: users, capabilities, environment,
# descriptors; deaths in any order, with a request under way; pid files; sockets after a crash.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::Test;

my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'env.php'  => '<?php $e = getenv(); ksort($e); foreach ($e as $k => $v) { echo "$k=$v\n"; }',
    'self.php' => '<?php echo @file_get_contents("/proc/self/environ") === false ? "closed" : "open";',
    'slow.php' => slow_script(),
);
chmod 0777, test_dir();

sub status_of { my ($pid) = @_; return { read_file("/proc/$pid/status") =~ /^(\w+):[ \t]*(.*)$/mg } }

# Everything below the master that belongs to a pool.
sub family {
    my ($daemon, $pool) = @_;
    my $process = $daemon->pool_pid($pool);
    return ($process, children($process));
}

subtest 'a pool runs as its user, with nothing of root' => sub {
    plan(skip_all => 'needs a root master') unless is_root();
    chmod 0755, test_dir();
    my %pool = ('pm.max_children' => 1);
    my $daemon = start_daemon(conf => {
        www => {%pool}, open => { %pool, 'process.dumpable' => 'yes' }, rooted => { %pool, chroot => $root, chdir => '/' },
    });
    my ($uid, $gid) = ((getpwnam 'www-data')[2], (getgrnam 'www-data')[2]);
    for my $pool (qw(www open rooted)) {
        for my $pid (family($daemon, $pool)) {
            my $title  = process_title($pid);
            my $status = status_of($pid);
            is($status->{Uid}, join("\t", ($uid) x 4), "$title: all user ids are the pool's");
            is($status->{Gid}, join("\t", ($gid) x 4), '... all group ids too');
            is($status->{Groups} =~ s/\s+\z//r, $gid, '... and no other group');
            is($status->{$_}, '0' x 16, "... $_ is empty") for qw(CapInh CapPrm CapEff CapAmb);
            is((stat "/proc/$pid/environ")[4], $pool eq 'open' ? $uid : 0, $pool eq 'open' ? '... dumpable, as asked' : '... not dumpable');
        }
    }
    chmod 0777, test_dir();
};

subtest 'the environment' => sub {
    allow_log(qr/failed to notify start to systemd/);    # nobody is there
    my %env = (NOTIFY_SOCKET => '/run/none', WATCHDOG_USEC => 5, LISTEN_FDS => 1, LISTEN_PID => 77, LISTEN_FDNAMES => 'x', MASTER_SECRET => 'secret', PATH => $ENV{PATH});
    my %pool = ('pm.max_children' => 1);
    my $daemon = start_daemon(env => \%env, conf => {
        www  => { %pool, 'env[MINE]' => 'mine', 'env[TAKEN]' => '$MASTER_SECRET', 'env[NONE]' => '$NO_SUCH_THING' },
        kept => { %pool, clear_env => 'no' },
    });
    my $params = { map { $_->[0] => 1 } @{ FPMPool::Client::request_params(script => "$root/env.php") } };
    my $of = sub {
        my ($pool) = @_;
        return join "\n", grep { /^(\w+)=/ && !$params->{$1} && $1 ne 'FCGI_ROLE' } split /\n/, php_request($daemon, "$root/env.php", pool => $pool)->{body};
    };
    my $home = (getpwnam pool_user())[7];
    is($of->('www'), join("\n", sort "HOME=$home", 'MINE=mine', 'NONE=', 'TAKEN=secret', 'USER=' . pool_user()), 'clear_env: env[], USER and HOME alone');
    like($of->('kept'), qr/^MASTER_SECRET=secret$/m, 'clear_env = no keeps the master\'s');
    unlike($of->('kept'), qr/^(?:NOTIFY_SOCKET|WATCHDOG_|LISTEN_)/m, '... but for what a service manager told the master');
    for my $pid (family($daemon, 'www'), family($daemon, 'kept')) {
        unlike(read_file("/proc/$pid/environ"), qr/(?:^|\0)(?:NOTIFY_SOCKET|WATCHDOG_USEC|LISTEN_\w+)=/, process_title($pid) . ': nor is it in the memory of the process');
    }
    is(php_request($daemon, "$root/self.php")->{body}, 'closed', 'a script cannot read what the process was started with') if is_root();
};

subtest 'descriptors' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1, 'access.log' => test_dir() . '/access.log' }, other => { 'access.log' => test_dir() . '/other.log' } });
    php_request($daemon, "$root/pid.php");
    for my $pid (family($daemon, 'www')) {
        my $title = process_title($pid);
        my $open  = descriptors($pid);
        my @file  = grep { m{^/} && !m{^/dev/null$|/\.ZendSem} } values %$open;
        is_deeply([ sort @file ], [ test_dir() . '/access.log' ], "$title has no file but its own access log") or diag("$_: $open->{$_}") for sort keys %$open;
    }
    my ($worker) = $daemon->worker_pids;
    my $listener = grep { /socket:\[(\d+)\]/ && is_listening($1) } values %{ descriptors($worker) };
    is($listener, 0, 'a worker does not have the listener');
    my @master = grep { m{^/} } values %{ descriptors($daemon->pid) };
    is(scalar(grep { /access|other\.log/ } @master), 0, 'the master has no log of a pool open');
};

sub is_listening {
    my ($inode) = @_;
    return read_file('/proc/net/unix') =~ /^\S+ \S+ \S+ 00010000 \S+ \S+ +$inode /m;
}

# Who is killed, in which order; then the master stops, if it lives.
my @orders = (
    [qw(worker)], [qw(pool)], [qw(master)], [qw(pool master)], [qw(master pool)], [qw(worker pool)], [qw(worker master)],
    [qw(pool worker master)], [qw(master worker)], [qw(worker pool master)], [qw(master pool worker)], [qw(pool pool)],
);
for my $order (@orders) {
    for my $signal ($order->[0] eq 'pool' && @$order == 1 ? qw(TERM QUIT) : 'TERM') {
        subtest "killed: @$order; then $signal: nothing is left" => sub {
            allow_log(qr/exited on signal 9/, qr/left over/, qr/ended/);
            my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 }, other => {} });
            my $client = start_slow($root, $daemon, 'www');
            my ($busy) = sort { cpu_or_wait($b) <=> cpu_or_wait($a) } $daemon->worker_pids;
            my %seen = map { $_ => 1 } descendants($daemon->pid);
            my $master = $daemon->pid;
            for my $who (@$order) {
                if    ($who eq 'worker') { kill 'KILL', $busy }
                elsif ($who eq 'pool')   { my $pid = $daemon->{pid} && $daemon->pool_pid || (grep { process_title($_) =~ /^fpmpool.*: www/ } keys %seen)[0]; kill 'KILL', $pid if $pid; wait_for { !$pid || !alive($pid) } 5, 'the pool process is gone' }
                else                     { $daemon->crash }
                $seen{$_} = 1 for $daemon->{pid} ? descendants($daemon->pid) : ();
            }
            open_gate();
            my $answer = eval { $client->read_answer } || {};
            if (grep { $_ eq 'worker' } @$order) {
                isnt($answer->{body}, 'done', 'a killed worker does not answer');
            } else {
                is($answer->{body}, 'done', 'the running request ends whole');
            }
            if ($daemon->{pid}) {
                $seen{$_} = 1 for descendants($daemon->pid);
                is($daemon->stop($signal), 0, 'the master ends well');
                is(scalar(grep { alive($_) } keys %seen), 0, 'nothing is left behind it');
            }
            wait_for { !grep { alive($_) } keys %seen } 20, 'every process of it is gone';
            pass('every process of it is gone');
        };
    }
}

# The worker that runs the slow script: the one that has opened a connection.
sub cpu_or_wait { return scalar grep { /socket/ } values %{ descriptors($_[0]) } }

subtest 'QUIT waits for a worker whose pool process was killed' => sub {
    allow_log(qr/exited on signal 9/);
    my $daemon = start_daemon(conf => { www => {} });
    my $client = start_slow($root, $daemon, 'www');
    my $old    = $daemon->pool_pid;
    kill 'KILL', $old;
    wait_for { !alive($old) } 5, 'the pool process is gone';
    $daemon->signal('QUIT');
    $daemon->wait_log(qr/Finishing \.\.\./);
    wait_for { !$daemon->pool_pid } 10, 'no pool process is left';
    open_gate();
    is($client->read_answer->{body}, 'done', 'its request ends whole');
    is($daemon->stop('QUIT'), 0, 'the master ends then');
};

subtest 'QUIT does not wait longer than process_control_timeout for it' => sub {
    allow_log(qr/exited on signal 9/);
    my $daemon = start_daemon(conf => { global => { process_control_timeout => 1 }, www => {} });
    my $client = start_slow($root, $daemon, 'www');
    my $old    = $daemon->pool_pid;
    kill 'KILL', $old;
    wait_for { !alive($old) } 5, 'the pool process is gone';
    is($daemon->stop('QUIT'), 0, 'the master ends');
    isnt((eval { $client->read_answer } || {})->{body}, 'done', 'the request was cut');
};

for my $listen (qw(unix tcp)) {
    subtest "a new master takes over while the old one's pools finish ($listen)" => sub {
        allow_log(qr/left over/);
        my $first = start_daemon(conf => { www => { 'pm.max_children' => 2, $listen eq 'tcp' ? (listen => 'tcp') : () } });
        my $address = $first->listen_address('www');
        my $client  = start_slow($root, $first, 'www');
        my @old     = descendants($first->pid);
        $first->crash;
        my $second = start_daemon(conf => { www => { listen => $address } });
        is(FPMPool::Client->connect($address)->request(script => "$root/pid.php", keep => 0)->{status}, 200, 'the new one serves');
        ok((grep { alive($_) } @old), '... while the old request runs');
        open_gate();
        is($client->read_answer->{body}, 'done', 'the old request ends whole');
        wait_for { !grep { alive($_) } @old } 20, 'the old processes are gone';
        is(FPMPool::Client->connect($address)->request(script => "$root/pid.php", keep => 0)->{status}, 200, 'the new one serves on');
    };
}

subtest 'the pid file of another daemon is left alone' => sub {
    allow_log(qr/Another FPM instance/, qr/initialization failed/, qr/cannot be bound/);
    my $pid_file = test_dir() . '/daemon.pid';
    my $first  = start_daemon(conf => { global => { pid => $pid_file }, www => {} });
    my $second = start_daemon(conf => { global => { pid => $pid_file }, www => { listen => $first->listen_address('www') } }, wait => 0)->expect_end;
    wait_for { !$second->is_running } 15, 'the second daemon gives up';
    is(read_file($pid_file), $first->pid, 'the first one\'s pid is still there');
    ok(-S $first->listen_address('www'), '... and its socket');
    $first->stop;
    ok(!-e $pid_file, 'its own master removes it');
};

done_testing();
