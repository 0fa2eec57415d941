# The control socket: each command on a living daemon with requests under way, who may ask, what a client
# that misbehaves can do (nothing), and what the client says when there is no daemon.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::Test;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();

my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'env.php'   => '<?php echo getenv("WHAT");',
    'cache.php' => '<?php $s = opcache_get_status(); $n = array_map("basename", array_keys($s["scripts"] ?? [])); sort($n); echo getmypid() ? implode(",", $n) : "";',
    'slow.php'  => slow_script(),
);
chmod 0777, test_dir();

my $count = 0;
sub start {
    my ($pools, %global) = @_;
    my $name = 'ctl' . ++$count;
    my $dir  = test_dir() . "/$name";
    return start_daemon(name => $name, conf => { global => { pid => "$dir/fpm.pid", %global }, %$pools });
}
sub socket_of { return $_[0]->dir . '/fpm.ctl' }

# The client: {code, out, err}.
my $program = build_path('bin/fpmpoold');
sub ctl_in_background {
    my ($daemon, @argument) = @_;
    my $base = test_dir() . '/client-' . ++$count;
    my @command = ($program, ($daemon ? ('-y', $daemon->conf_file) : ()), '--ctl', @argument);
    return { pid => spawn(argv => \@command, stdout => "$base.out", stderr => "$base.err"), base => $base };
}
sub result {
    my ($client, $seconds) = @_;
    my $status = reap($client->{pid}, $seconds || 60);
    defined $status or do { kill 'KILL', $client->{pid}; reap($client->{pid}, 5); die "the client did not end\n" };
    return { code => $status >> 8, out => read_file("$client->{base}.out"), err => read_file("$client->{base}.err") };
}
sub ctl { my ($daemon, @argument) = @_; return result(ctl_in_background($daemon, @argument)) }
sub status_of { my ($daemon, @pool) = @_; return JSON::PP::decode_json(ctl($daemon, 'status', @pool, '-j')->{out}) }
# of the generation that serves, while others may still finish
sub pid_of { return pool_of(@_)->{pid} }
sub pool_of { my ($daemon, $pool) = @_; return status_of($daemon, $pool)->{pools}[0] }

# Does what is said to the client and wants it to go well, or to fail with that text.
sub good {
    my ($daemon, $command, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = ctl($daemon, @$command);
    ok($got->{code} == 0 && $got->{out} =~ $pattern && $got->{err} eq '', $name || "@$command") || diag("code $got->{code}, $got->{out}$got->{err}");
    return $got;
}
sub bad {
    my ($daemon, $command, $code, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = ctl($daemon, @$command);
    ok($got->{code} == $code && $got->{err} =~ $pattern, $name || "@$command: $code") || diag("code $got->{code}, $got->{out}$got->{err}");
    return $got;
}

sub asks {
    my ($daemon, $pool, $script) = @_;
    return FPMPool::Client->connect($daemon->listen_address($pool))->request(script => "$root/" . ($script || 'pid.php'), keep => 0);
}

# One connection with bytes of ours; what comes back until the end.
sub talk {
    my ($daemon, $bytes) = @_;
    my $socket = IO::Socket::UNIX->new(Peer => socket_of($daemon)) or return "connect: $!";
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, $bytes if length $bytes;
    my $answer = '';
    1 while sysread $socket, $answer, 65536, length $answer;
    return $answer;
}

subtest 'status' => sub {
    my $daemon = start({ www => {}, od => { pm => 'ondemand', 'pm.max_children' => 7 } });
    is((stat socket_of($daemon))[2] & 07777, 0600, 'the socket is beside the pid file, for its owner alone');
    my $slow = start_slow($root, $daemon, 'www', timeout => 60);
    my $got = good($daemon, ['status'], qr/^www +serving +\d+ +\d+s +1 +1 +2 +0 +1 +0  \S+www\.sock$/m, 'a row with a busy worker');
    like($got->{out}, qr/^fpmpoold \S+, pid ${\$daemon->pid}, serving, up \d+s, \Q${\$daemon->conf_file}\E$/m, 'the daemon');
    like($got->{out}, qr/^POOL +STATE +PID +UP +ACTIVE +IDLE +MAX +QUEUE +REQUESTS +SLOW +LISTEN$/m, 'titles');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'the request ends');
    my $all = status_of($daemon);
    is($all->{pid}, $daemon->pid, 'as JSON: the daemon');
    is(join(' ', map { $_->{name} } @{ $all->{pools} }), 'od www', '... every pool by name');
    is($all->{pools}[1]{pid}, pid_of($daemon, 'www'), '... with its process');
    is($all->{pools}[0]{max}, 7, '... and numbers');
    is($all->{pools}[1]{requests}, 1, '... requests');
    is(scalar @{ status_of($daemon, 'od')->{pools} }, 1, 'one pool alone');
    bad($daemon, [qw(status nobody)], 1, qr/no pool 'nobody': fpmpoold --ctl status lists them/);
    unlike($daemon->log_text, qr/control: status/, 'who only looks leaves no line at level notice');
    $daemon->stop;
    ok(!-e socket_of($daemon), 'the socket goes with the daemon');
};

subtest 'reload of all pools' => sub {
    my $daemon = start({ www => { 'env[WHAT]' => 'old' }, other => {} });
    my %old  = map { $_ => pid_of($daemon, $_) } qw(www other);
    my $slow = start_slow($root, $daemon, 'www', timeout => 60);
    rewrite($daemon, sub { s/WHAT\] = old/WHAT] = new/ });
    good($daemon, ['reload'], qr/^2 pools have new generations$/m, 'is waited for');
    isnt(pid_of($daemon, $_), $old{$_}, "$_ has a new generation") for 'other';
    is(asks($daemon, 'www', 'env.php')->{body}, 'new', 'the new configuration serves');
    is(pool_of($daemon, 'www')->{draining}, 1, 'status knows the generation that finishes');
    good($daemon, ['status'], qr/\[1 old generation still finishes\]$/m, '... and says so');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'its request ends whole');
    like($daemon->log_text, qr/NOTICE: control: reload by uid $>, pid \d+$/m, 'the log says who asked');
};

subtest 'a reload that fails says why' => sub {
    allow_log(qr/no_such_key/, qr/failed to load/, qr/the new configuration has errors/, qr/PHP|cannot start|exited|the new generation did not start/);
    my $daemon = start({ www => {}, other => {} });
    my $old = pid_of($daemon, 'www');
    my $good_text = read_file($daemon->conf_file);
    rewrite($daemon, sub { s/^\[www\]/[www]\nno_such_key = 1/m });
    bad($daemon, ['reload'], 1, qr/the configuration has errors, the old one serves on: .*no_such_key/, 'a mistake in a file');
    bad($daemon, [qw(reload other)], 1, qr/the configuration has errors/, '... also for a pool that has none');
    is(pid_of($daemon, 'www'), $old, 'nothing changed');
    write_file($daemon->conf_file, $good_text =~ s/^\[www\]/[www]\nphp_admin_value[opcache.preload] = \/no\/such\/file.php\nphp_admin_value[opcache.preload_user] = @{[pool_user()]}/mr);
    my $got = bad($daemon, ['reload'], 1, qr/^fpmpoold: 1 of 2 pools did not change; the log says more$/m, 'a PHP that does not start');
    like($got->{out}, qr/^pool 'www': PHP did not start.* \(it serves on as it was\)$/m, '... names the pool and why');
    is(asks($daemon, 'www')->{status}, 200, 'which serves on');
    bad($daemon, [qw(reload www)], 1, qr/pool 'www': PHP did not start.*it serves on/, 'the same for the one');
    write_file($daemon->conf_file, $good_text);
    good($daemon, [qw(reload www)], qr/pool 'www' has a new generation, pid \d+/, 'repaired');
};

subtest 'reload of one pool' => sub {
    my $daemon = start({ www => { 'env[WHAT]' => 'old' }, other => { 'env[WHAT]' => 'old' }, third => {} });
    my %old = map { $_ => pid_of($daemon, $_) } qw(www other third);
    rewrite($daemon, sub { s/WHAT\] = old/WHAT] = new/g; s/^\[third\]/[fourth]/m; s/third\.sock/fourth.sock/ });
    my $got = good($daemon, [qw(reload www)], qr/^pool 'www' has a new generation, pid \d+$/m);
    like($got->{out}, qr/^pool '$_' changed in the files too, and was left as it is$/m, "$_ was left") for qw(other third fourth);
    is(asks($daemon, 'www', 'env.php')->{body}, 'new', 'it has its new configuration');
    is(asks($daemon, 'other', 'env.php')->{body}, 'old', 'another one has its old one');
    is(pid_of($daemon, $_), $old{$_}, "$_ is the same process") for qw(other third);
    good($daemon, [qw(reload fourth)], qr/pool 'fourth' has a new generation/, 'a new pool');
    good($daemon, [qw(reload third)], qr/pool 'third' is gone from the configuration and was stopped/, 'a pool that is gone');
    is(join(' ', map { $_->{name} } @{ status_of($daemon)->{pools} }), 'fourth other www', 'these are there now');
    bad($daemon, [qw(reload nobody)], 1, qr/no pool 'nobody', neither running nor in the configuration/);
    my $pid = pid_of($daemon, 'www');
    good($daemon, [qw(reload www)], qr/has a new generation/, 'without a change');
    isnt(pid_of($daemon, 'www'), $pid, '... it has a new generation too');
};

subtest 'drain and restart' => sub {
    my $daemon = start({ www => {}, od => { pm => 'ondemand' }, other => {} });
    my $other  = pid_of($daemon, 'other');
    my $slow   = start_slow($root, $daemon, 'www', timeout => 60);
    my $drain  = ctl_in_background($daemon, qw(drain www));
    wait_for { pool_of($daemon, 'www')->{state} eq 'draining' } 20, 'it drains';
    my $answer = wait_for { my $got = asks($daemon, 'www'); $got->{status} == 503 && $got } 20, 'a new request is refused';
    like($answer->{stderr}, qr/drained by the operator/, '... with the reason');
    is(waitpid($drain->{pid}, POSIX::WNOHANG()), 0, 'the client waits for the request that runs');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'which ends whole');
    my $got = result($drain);
    is($got->{code}, 0, 'then the command has ended');
    like($got->{out}, qr/^pool 'www' is drained and answers 503 until `restart www` or a reload$/m, '... and says what comes next');
    is(pool_of($daemon, 'www')->{state}, 'drained', 'status');
    is(scalar(my @worker = $daemon->worker_pids('www')), 0, 'no PHP of it is left');
    # whoever answers for it is replaced when it dies, and the pool stays drained
    my $answerer = pool_of($daemon, 'www')->{pid};
    allow_log(qr/exited on signal 9/);
    kill 'KILL', $answerer;
    wait_for { my $pid = pool_of($daemon, 'www')->{pid}; $pid && $pid != $answerer } 20, 'somebody else answers';
    is(asks($daemon, 'www')->{status}, 503, 'with 503');
    good($daemon, [qw(restart www)], qr/pool 'www' has a new generation, pid \d+/);
    is(asks($daemon, 'www')->{status}, 200, 'it serves again');
    good($daemon, [qw(drain od)], qr/is drained/, 'a pool without workers');
    good($daemon, ['reload'], qr/3 pools have new generations/, 'a reload ends it too');
    is(asks($daemon, 'od')->{status}, 200, '... and it serves');
    $other = pid_of($daemon, 'other');
    my $busy = start_slow($root, $daemon, 'other', timeout => 60);
    good($daemon, [qw(restart other)], qr/has a new generation/, 'restart with a request under way');
    open_gate();
    is($busy->read_answer->{body}, 'done', '... which ends whole');
    good($daemon, ['restart'], qr/3 pools have new generations/, 'restart of all');
    bad($daemon, [qw(restart nobody)], 1, qr/no pool 'nobody'/);
    bad($daemon, [qw(drain nobody)], 1, qr/no pool 'nobody'/);
};

subtest 'restart does not read the files' => sub {
    my $daemon = start({ www => { 'env[WHAT]' => 'old' } });
    my $old = pid_of($daemon, 'www');
    rewrite($daemon, sub { s/WHAT\] = old/WHAT] = new/; $_ .= "no_such_key = 1\n" });
    good($daemon, [qw(restart www)], qr/has a new generation/);
    isnt(pid_of($daemon, 'www'), $old, 'another process');
    is(asks($daemon, 'www', 'env.php')->{body}, 'old', '... with the old configuration');
};

subtest 'ready' => sub {
    my $daemon = start({ www => {}, bad => { user => 'nobody-has-this-name' } });
    allow_log(qr/nobody-has-this-name|\[pool bad\]/) if is_root();
    good($daemon, [qw(ready www)], qr/^$/, 'a pool that serves');
    bad($daemon, [qw(ready nothere)], 1, qr/no pool 'nothere'/);
    if (is_root()) {
        bad($daemon, ['ready'], 1, qr/^fpmpoold: pool 'bad' is failed: .*nobody-has-this-name/, 'one pool has failed: so says who asks for all');
    } else {
        good($daemon, ['ready'], qr/^$/, 'all');
    }
    good($daemon, [qw(drain www)], qr/drained/);
    bad($daemon, [qw(ready www)], 1, qr/pool 'www' is drained/, 'a drained one');
    good($daemon, [qw(restart www)], qr/new generation/);
    good($daemon, [qw(ready www)], qr/^$/, '... and restarted');
};

subtest 'opcache-reset' => sub {
    my $daemon = start({ www => { 'pm.max_children' => 1, 'php_admin_value[opcache.validate_timestamps]' => 0 }, other => { 'pm.max_children' => 1 } });
    my $script = "$root/changing.php";
    my $change = sub { write_file($script, "<?php echo '$_[0]';"); utime time() - 60, time() - 60, $script; return };
    $change->('one');
    is(asks($daemon, $_, 'changing.php')->{body}, 'one', "$_: it runs") for qw(www other);
    asks($daemon, 'www', 'pid.php');
    $change->('two');
    is(asks($daemon, 'www', 'changing.php')->{body}, 'one', 'a change is not seen: the OPcache is in use');
    is(asks($daemon, 'www', 'cache.php')->{body}, 'cache.php,changing.php,pid.php', '... with these scripts');
    my $other = pid_of($daemon, 'other');
    good($daemon, [qw(opcache-reset www)], qr/pool 'www' has a new generation with an empty OPcache, pid \d+/);
    is(asks($daemon, 'www', 'cache.php')->{body}, 'cache.php', 'nothing else is in it');
    is(asks($daemon, 'www', 'changing.php')->{body}, 'two', 'the change is seen');
    is(pid_of($daemon, 'other'), $other, 'another pool keeps what it has');
    like(asks($daemon, 'other', 'cache.php')->{body}, qr/changing\.php/, '... in its OPcache');
    unlink $script;
};

subtest 'a pool that sleeps' => sub {
    my $daemon = start({ od => { pm => 'ondemand', pool_idle_timeout => 1, 'pm.process_idle_timeout' => '1s', 'env[WHAT]' => 'old' }, www => {} });
    wait_for { pool_of($daemon, 'od')->{state} eq 'asleep' } 30, 'it falls asleep';
    is(pool_of($daemon, 'od')->{pid}, 0, 'no process');
    good($daemon, ['status'], qr/^od +asleep +- +- /m, 'the table');
    rewrite($daemon, sub { s/WHAT\] = old/WHAT] = new/ });
    good($daemon, [qw(reload od)], qr/pool 'od' is asleep, the next request starts a new generation/);
    is(asks($daemon, 'od', 'env.php')->{body}, 'new', 'with the new configuration');
    wait_for { pool_of($daemon, 'od')->{state} eq 'asleep' } 30, 'asleep again';
    good($daemon, [qw(drain od)], qr/is drained/);
    is(asks($daemon, 'od')->{status}, 503, 'a drained pool does not wake');
    good($daemon, [qw(restart od)], qr/has a new generation/);
    is(asks($daemon, 'od')->{status}, 200, 'it serves');
};

subtest 'a pool that cannot serve' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    allow_log(qr/cannot get uid for user 'nobody-of-this-name'/);
    my $daemon = start({ www => {}, bad => { user => 'nobody-of-this-name' } });
    my $got = good($daemon, ['status'], qr/^bad +failed .*  cannot get uid for user 'nobody-of-this-name'$/m, 'status says why');
    like($got->{out}, qr/^pools: 2, serving or asleep: 1;/m, '... and counts');
    bad($daemon, ['reload'], 1, qr/1 of 2 pools did not change/);
    bad($daemon, [qw(restart bad)], 1, qr/pool 'bad': cannot get uid for user/);
    good($daemon, [qw(reload www)], qr/has a new generation/, 'the other can be reloaded');
};

subtest 'only root and the user of the daemon' => sub {
    plan(skip_all => 'needs root to be somebody else') unless is_root();
    my $daemon = start({ www => {} });
    my $as_nobody = sub {
        pipe my $in, my $out or die;
        my $pid = fork // die;
        if (!$pid) {
            POSIX::setgid(65534); POSIX::setuid(65534);
            print {$out} talk($daemon, "status\n");
            close $out;
            POSIX::_exit(0);
        }
        close $out;
        my $text = join '', <$in>;
        reap($pid, 10);
        return $text;
    };
    chmod 0755, $daemon->dir;
    like($as_nobody->(), qr/^connect: Permission denied/, 'nobody else can connect');
    chmod 0666, socket_of($daemon);
    is($as_nobody->(), "failed only root and the daemon's own user may ask\n", 'and if the mode is opened, nobody else is answered');
    like($daemon->log_text, qr/NOTICE: control: uid 65534, pid \d+ was refused/, 'the log says so');
    my $pid = spawn(argv => [ 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', $program, '--ctl', 'status', '--ctl-socket', socket_of($daemon) ],
        stdout => test_dir() . '/n.out', stderr => test_dir() . '/n.err');
    is(reap($pid, 20) >> 8, 1, 'the client is told');
    like(read_file(test_dir() . '/n.err'), qr/only root and the daemon's own user may ask/, '... why');
};

subtest 'requests that are none' => sub {
    my $daemon = start({ www => {} });
    my $old = pid_of($daemon, 'www');
    my %answer = (
        "\n"                          => qr/^failed no such command/,
        "stop\n"                      => qr/^failed no such command/,
        "STATUS\n"                    => qr/^failed no such command/,
        "status\r\n"                  => qr/^failed no such command/,
        "drain\n"                     => qr/^failed this command needs the name of a pool/,
        "drain \n"                    => qr/^failed the name of the pool is empty/,
        "drain \e[2Jwww\n"            => qr/^failed the name of the pool has a control character/,
        "drain w\0w\n"                => qr/^failed the name of the pool has a control character/,
        "restart www\nrestart www\n"  => qr/^failed one command for each connection/,
        "outcome\n"                   => qr/^failed outcome needs the number of a job/,
        "outcome 1\n"                 => qr/^failed this daemon does not know the command any more/,
        'drain ' . 'x' x 256 . "\n"   => qr/^failed the name of the pool is longer than 255 bytes/,
        'x' x 300                     => qr/^failed the request is longer than a line may be/,
        'x' x 100000                  => qr/^failed the request is longer than a line may be|^$/,
        pack('C*', 0 .. 255) x 4      => qr/^failed |^$/,
    );
    for my $bytes (sort keys %answer) {
        like(talk($daemon, $bytes), $answer{$bytes}, 'refused: ' . (substr($bytes, 0, 30) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger));
    }
    is(scalar(my @line = $daemon->log_text =~ /control: a request of uid $>, pid \d+ was refused/g) > 5 ? 1 : 0, 1, 'the log has them');
    is(pid_of($daemon, 'www'), $old, 'nothing happened');
    my $slowly = IO::Socket::UNIX->new(Peer => socket_of($daemon)) or die;
    for my $byte (split //, "status www\n") { syswrite $slowly, $byte; sleep(0.02) }
    like(join('', <$slowly>), qr/^daemon .*\npool www\tserving\t.*\ndone \n\z/, 'a line may come byte by byte');
};

subtest 'clients that keep silent cost nothing' => sub {
    my $daemon = start({ www => {} });
    my $before = descriptor_count($daemon->pid);
    my @silent = map { IO::Socket::UNIX->new(Peer => socket_of($daemon)) or die } 1 .. 20;
    syswrite $_, 'stat' for @silent[ 0 .. 5 ];
    is(asks($daemon, 'www')->{status}, 200, 'requests are served');
    like(talk($daemon, ''), qr/^failed too many clients are connected: try again/, 'one too many is told so');
    bad($daemon, ['status'], 1, qr/too many clients are connected: try again/, '... and so is the client');
    wait_for { ctl($daemon, 'status')->{code} == 0 } 30, 'their time is up';
    is(join('', map { sysread($_, my $byte, 1) ? 'x' : '' } @silent[ 0 .. 3 ]), '', 'they were closed');
    wait_for { descriptor_count($daemon->pid) <= $before } 20, 'and their descriptors';
    pass('the master has as many descriptors as before');
    undef @silent;
    # one that asks and goes away, one that asks and does not read
    for (1 .. 5) { my $socket = IO::Socket::UNIX->new(Peer => socket_of($daemon)); syswrite $socket, "restart www\n"; close $socket }
    my $deaf = IO::Socket::UNIX->new(Peer => socket_of($daemon));
    syswrite $deaf, "status\n";
    good($daemon, [qw(restart www)], qr/has a new generation/, 'others are served');
    is(asks($daemon, 'www')->{status}, 200, 'and requests');
};

subtest 'many clients at once' => sub {
    my $daemon = start({ www => {}, other => {} });
    my @client = map { ctl_in_background($daemon, $_ % 3 == 0 ? ('reload') : $_ % 3 == 1 ? qw(reload www) : qw(restart other)) } 1 .. 12;
    my @got = map { result($_, 120) } @client;
    is(join(' ', map { $_->{code} } @got), join(' ', (0) x 12), 'each has its outcome') or diag(map { "$_->{out}$_->{err}" } @got);
    is(asks($daemon, $_)->{status}, 200, "$_ serves") for qw(www other);
};

subtest 'a client that lost its connection asks for the outcome' => sub {
    my $daemon = start({ www => {}, other => {} });
    my $slow = start_slow($root, $daemon, 'www', timeout => 60);
    my $socket = IO::Socket::UNIX->new(Peer => socket_of($daemon)) or die;
    syswrite $socket, "drain www\n";
    my ($job) = (scalar readline $socket) =~ /^job (\d+) \d+$/ or die 'no job';
    close $socket;
    my $again = IO::Socket::UNIX->new(Peer => socket_of($daemon)) or die;
    syswrite $again, "outcome $job\n";
    open_gate();
    like(join('', <$again>), qr/^done pool 'www' is drained/, 'while it is under way');
    like(talk($daemon, "outcome $job\n"), qr/^done pool 'www' is drained/, 'and afterwards');
    is($slow->read_answer->{body}, 'done', 'the request ended');
};

subtest 'a reload executes the daemon anew, which goes on with its clients' => sub {
    my $daemon = start({ www => {}, other => {}, idle => {} });
    my $inode  = (stat socket_of($daemon))[1];
    my ($pid, $up) = @{ status_of($daemon) }{qw(pid up)};
    my $slow = start_slow($root, $daemon, 'www', timeout => 60);
    good($daemon, [qw(drain idle)], qr/is drained/, 'an earlier command');
    my $drain = ctl_in_background($daemon, qw(drain www));
    wait_for { pool_of($daemon, 'www')->{state} eq 'draining' } 20, 'it drains';
    my @client = map { ctl_in_background($daemon, 'reload') } 1 .. 3;
    my @got = map { result($_) } @client;
    is(join('', map { "$_->{code} $_->{out}$_->{err}" } @got), "0 3 pools have new generations\n" x 3, 'who asked for the reload hears its outcome');
    is((my @executed = $daemon->log_text =~ /reloading: execvp/g) > 0 ? 1 : 0, 1, 'the program was executed');
    my $got = result($drain);
    is("$got->{code} $got->{err}", "1 fpmpoold: pool 'www' was replaced meanwhile\n", 'who asked for something else too');
    is((stat socket_of($daemon))[1], $inode, 'the socket is the same');
    is((stat _)[2] & 07777, 0600, '... and as closed as before');
    my $now = status_of($daemon);
    is($now->{pid}, $pid, 'the daemon too');
    cmp_ok($now->{up}, '>=', $up, '... and as old as it is');
    is(join(' ', map { "$_->{name} $_->{state}" } @{ $now->{pools} }), 'idle serving other serving www serving', 'every pool serves');
    my ($busy) = grep { $_->{name} eq 'www' } @{ $now->{pools} };
    cmp_ok($busy->{draining}, '>=', 1, 'a generation from before the reload is still known');
    open_gate();
    is($slow->read_answer->{body}, 'done', '... and its request ends whole');
    php_request($daemon, "$root/pid.php", pool => 'other') for 1 .. 3;
    good($daemon, ['reload'], qr/new generations/, 'again');
    wait_for { pool_of($daemon, 'other')->{requests} >= 3 } 20, 'requests are counted on';
    is(status_of($daemon)->{requests}, 4, 'requests of all pools and generations');
    rewrite($daemon, sub { s/^pid = .*/pid = @{[ $daemon->dir ]}\/new.pid/m });
    my $moved = ctl_in_background(undef, 'reload', '--ctl-socket', socket_of($daemon));
    wait_for { -S $daemon->dir . '/new.ctl' } 20, 'the socket moves with the pid file';
    ok(!-e socket_of($daemon), '... and leaves its old place');
    kill 'TERM', $moved->{pid};
    reap($moved->{pid}, 10);
    is(ctl($daemon, 'status')->{code}, 0, 'where the configuration leads to');
};

# A daemon that re-executes itself closes its clients: here one that does so whenever it is told to.
subtest 'the client comes again when the connection is cut' => sub {
    my $path = test_dir() . '/cut.ctl';
    my $play = sub {
        my ($command, @answer) = @_;
        my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "listen: $!";
        my $client = ctl_in_background(undef, $command, '--ctl-socket', $path);
        my @asked;
        for my $n (0 .. $#answer) {
            if (!defined $answer[$n]) {    # away for a moment
                sleep(0.3);
                $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "listen: $!";
                next;
            }
            my $peer = $listener->accept or die;
            push @asked, scalar readline $peer;
            if ($n < $#answer && !defined $answer[$n + 1]) {    # before the client, which may come again once it was told
                close $listener;
                unlink $path;
            }
            syswrite $peer, $answer[$n] if length $answer[$n];
            close $peer;
        }
        close $listener;
        unlink $path;
        return { %{ result($client) }, asked => join '', @asked };
    };
    my $got = $play->('reload', "job 77 100\n", undef, "text a note\n", '', "text \e[2Jb\ndone it went well\n");
    is($got->{asked}, "reload\noutcome 77\noutcome 77\noutcome 77\n", 'it asks for the outcome of its job until it has one');
    is("$got->{code} $got->{out}$got->{err}", "0 a note\n?[2Jb\nit went well\n", 'and prints what it was told, without orders for a terminal');
    $got = $play->('reload', "job 77 100\n", "failed no\n");
    is("$got->{code} $got->{out}$got->{err}", "1 fpmpoold: no\n", 'a failure');
    $got = $play->('restart', "again \n", undef, "job 78 100\n", "done yes\n");
    is("$got->{code} $got->{out}$got->{asked}", "0 yes\nrestart\nrestart\noutcome 78\n", 'what was not looked at is asked again');
    $got = $play->('status', "daemon 1\npool a\n", "failed no\n");
    is("$got->{code} $got->{out}$got->{asked}", "1 status\nstatus\n", 'so is what changes nothing');
    $got = $play->('restart', '');
    is("$got->{code} $got->{asked}", "1 restart\n", 'nothing is asked for twice that may have been taken');
    like($got->{err}, qr/closed the connection without an answer: look into its error_log/, '... and it says so');
    $got = $play->('status', "pool a\tb\nnonsense\n\njob x\ndone \n");
    is("$got->{code} $got->{out}$got->{err}", '0 ', 'lines that mean nothing are passed over');
};

subtest 'the daemon ends while a client waits' => sub {
    my $daemon = start({ www => {} });
    my $slow   = start_slow($root, $daemon, 'www', timeout => 60);
    my $client = ctl_in_background($daemon, qw(drain www));
    wait_for { pool_of($daemon, 'www')->{state} eq 'draining' } 20, 'it drains';
    $daemon->signal('QUIT');
    my $got = result($client);
    is($got->{code}, 1, 'it is told');
    like($got->{err}, qr/the daemon is ending/, '... why');
    bad($daemon, [qw(restart www)], 1, qr/the daemon is ending/, 'nothing new begins');
    good($daemon, ['status'], qr/, ending, up /, 'status is answered');
    open_gate();
    is($slow->read_answer->{body}, 'done', 'the request ends whole');
    is($daemon->stop('QUIT'), 0, 'and the daemon');
};

subtest 'no daemon' => sub {
    my $daemon = start({ www => {} });
    my $socket = socket_of($daemon);
    $daemon->stop;
    bad($daemon, ['status'], 69, qr/nobody answers at the control socket '\Q$socket\E': No such file or directory; is fpmpoold running\? Name its configuration with -y/, 'it has ended');
    bad(undef, [ 'status', '--ctl-socket', '/no/such/place.ctl' ], 69, qr{'/no/such/place\.ctl'}, 'a path');
    bad(undef, [ 'status', '-y', '/no/such/file.conf' ], 69, qr{failed to open configuration file '/no/such/file\.conf'.*; name the daemon's configuration with -y}, 'no configuration');
    my $none = write_file('none.conf', "[www]\nlisten = /x\n");
    bad(undef, [ 'status', '-y', $none ], 69, qr/has neither 'pid' nor 'control_socket'.*set one of them/, 'no socket in it');
    my $crashed = start({ www => {} });
    $crashed->crash;
    ok(-S socket_of($crashed), 'a daemon that died leaves its socket');
    bad($crashed, ['status'], 69, qr/Connection refused/, '... where nobody answers');
    my $next = start_daemon(name => 'next', conf => read_file($crashed->conf_file), listen => { www => $crashed->listen_address('www') });
    is(ctl($crashed, 'status')->{code}, 0, 'its successor takes the path over');
    $next->stop;
    ok(!-e socket_of($crashed), '... and removes it');
};

subtest 'places' => sub {
    my $file = sub { return write_file('place.conf', "[global]\n$_[0]\n[www]\nlisten = /x\n") };
    my $where = sub { return bad(undef, [ 'status', '-y', @_ ], 69, qr/control socket '/)->{err} =~ /control socket '([^']*)'/ ? $1 : '' };
    is($where->($file->('pid = /a/b.pid')), '/a/b.ctl', 'pid = b.pid');
    is($where->($file->('pid = /a/b')), '/a/b.ctl', 'pid = b');
    is($where->($file->('pid = b.pid'), '-p', test_dir()), test_dir() . '/b.ctl', 'below -p');
    is($where->($file->(''), '-g', '/c/d.pid'), '/c/d.ctl', '-g');
    is($where->($file->("pid = /a/b.pid\ncontrol_socket = /e/f")), '/e/f', 'control_socket');
    is($where->($file->("pid = /a/b.pid\nno_such_key = 1\n[x]\nuser = no-such-user")), '/a/b.ctl', 'in a file with mistakes');
    bad(undef, [ 'status', '-y', $file->("pid = /a/b.pid\ncontrol_socket = none") ], 69, qr/has neither/, 'none');
    my $quiet = start({ www => {} }, control_socket => 'none');
    ok(!-e socket_of($quiet), 'none: there is none');
    my $own = start({ www => {} }, control_socket => test_dir() . '/own.ctl');
    is(ctl($own, 'status')->{code}, 0, 'one with another name');
    $own->stop;
    allow_log(qr/no control socket: /);
    my $long = start({ www => {} }, control_socket => '/tmp/' . 'x' x 120);
    like($long->log_text, qr/WARNING: no control socket: its path '\S+' is longer than 107 bytes; set a shorter 'control_socket'/, 'too long: a warning');
    is(asks($long, 'www')->{status}, 200, '... and the daemon serves');
    my $away = start({ www => {} }, control_socket => '/no/such/place/x.ctl');
    like($away->log_text, qr{WARNING: no control socket: '/no/such/place/x\.ctl' cannot be bound; make its directory, or change 'control_socket': No such file or directory \(2\)}, 'no directory');
    is(asks($away, 'www')->{status}, 200, '... and the daemon serves');
    my $taken = write_file('taken.ctl', 'mine');
    my $file_there = start({ www => {} }, control_socket => $taken);
    like($file_there->log_text, qr/WARNING: no control socket: '\S+' exists and is not a socket/, 'a file');
    is(read_file($taken), 'mine', '... is left alone');
    my $first  = start({ www => {} }, control_socket => test_dir() . '/two.ctl');
    my $second = start({ www => {} }, control_socket => test_dir() . '/two.ctl');
    like($second->log_text, qr/WARNING: no control socket: another daemon answers on/, 'another daemon');
    $second->stop;
    is(ctl($first, 'status')->{code}, 0, '... keeps its socket');
    $first->stop;
};

subtest 'usage' => sub {
    for my $ask ([qw(help)], [qw(--help)], [qw(-h)]) {
        my $got = good(undef, $ask, qr/^Usage: fpmpoold \[-y FILE\] --ctl COMMAND \[POOL\]\n(?=.*^  status)(?=.*^  ready)(?=.*^  reload)(?=.*^  restart)(?=.*^  opcache-reset)(?=.*^  drain)/ms);
    }
    bad(undef, ['explode'], 64, qr/no such command/);
    bad(undef, ['drain'], 64, qr/this command needs the name of a pool/);
    bad(undef, [qw(status a b)], 64, qr/at most one pool/);
    bad(undef, ["status", "a\nb"], 64, qr/control character/);
    for my $argument ([qw(-j -t)], [qw(--ctl-socket /x)], ['--ctl']) {
        my $pid = spawn(argv => [ $program, @$argument ], stdout => test_dir() . '/u.out', stderr => test_dir() . '/u.err');
        is(reap($pid, 10) >> 8, 64, "@$argument: 64");
    }
};

done_testing();
