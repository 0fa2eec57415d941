# A reload executes the program that is on disk, as the same process: an upgraded one takes over, one that is missing,
# broken, slow or of another kind changes nothing; pools, requests, logs, limits and signals go on over it.
# long: 45 s

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use File::Copy qw(copy);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::Test;
use POSIX ();

plan(skip_all => 'another daemon is named: this is about ours') if $ENV{FPMPOOL_TEST_DAEMON};
$ENV{FPMPOOL_TEST_TIMEOUT} || alarm 600;

my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'slow.php'  => '<?php echo "begin."; flush(); usleep(1500000); echo "end.";',
    'all.php'   => '<?php echo implode("\n", array_keys(getenv() + $_SERVER + $_ENV)), "\nX=", getenv("X");',
);

sub asks {
    my ($daemon, $pool) = @_;
    return FPMPool::Client->connect($daemon->listen_address($pool // 'www'))->request(script => "$root/pid.php", keep => 0)->{status} // 'none';
}

sub comes_back {
    my (@where) = @_;
    return eval { wait_for { (eval { asks(@where) } // 'none') eq '200' } 30, 'an answer' };
}

# An installation of its own, whose fpmpoold can be replaced: its folder and the path of the program.
sub install {
    my ($name) = @_;
    my $bin = test_dir() . "/$name-bin";
    mkdir $bin or die "$bin: $!";
    for my $file (glob build_path('bin/*')) { copy_program($file, "$bin/" . $file =~ s{.*/}{}r) }
    return "$bin/fpmpoold";
}

# As a package manager does it: the new file takes the name of the old one.
sub copy_program {
    my ($from, $to) = @_;
    copy($from, "$to.new") or die "$to.new: $!";
    chmod 0755, "$to.new";
    rename "$to.new", $to or die "$to: $!";
    return;
}

# The same sources as another version, which waits for a test only 3 seconds. Built once.
my $other;
sub other_version {
    return $other if $other;
    my $build = test_dir() . '/build';
    mkdir $build;
    copy(build_path('config.mk'), "$build/config.mk") or die "config.mk: $!";
    local $ENV{MAKEFLAGS} = '';
    my $output = `make -s -j2 -C '${\repository()}' BUILD='$build' VERSION=9.9.9 USER_CFLAGS=-O0 USER_CPPFLAGS=-DFPD_RELOAD_PATIENCE=3 '$build/bin/fpmpoold' 2>&1`;
    die "no other version: $output" if $? || !-x "$build/bin/fpmpoold";
    return $other = "$build/bin/fpmpoold";
}

sub running_inode { return (stat "/proc/$_[0]/exe")[1] }

# Sends the signal and waits for the end of that reload: every pool has a new process, and the old one is gone.
sub reload {
    my ($daemon, $signal, @pool) = @_;
    my %old = map { $_ => $daemon->pool_pid($_) } @pool ? @pool : @pool = 'www';
    my $offset = $daemon->log_length;
    $daemon->signal($signal // 'HUP');
    wait_for {
        !grep { my $now = $daemon->pool_pid($_); !$now || $now == ($old{$_} // 0) || alive($old{$_} // 0) } keys %old
    } 30, 'every pool has a new generation and the old one is gone';
    return $daemon->log_text($offset);
}

# A reload that must change nothing: the line, and the same process serves.
sub refuses {
    my ($daemon, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($pool, $inode, $offset) = ($daemon->pool_pid, running_inode($daemon->pid), $daemon->log_length);
    $daemon->signal('HUP');
    ok(eval { $daemon->wait_log($pattern, 20, $offset); 1 }, "$name: the log says what and what to do") or diag($@);
    is($daemon->pool_pid, $pool, '... the pool process is the same');
    is(running_inode($daemon->pid), $inode, '... and the program');
    is(asks($daemon), 200, '... and it serves on');
    return;
}

subtest 'an upgraded program takes over' => sub {
    my $program = install('upgrade');
    my $daemon  = start_daemon(binary => $program, conf => { www => {} });
    my ($pid, $old) = ($daemon->pid, running_inode($daemon->pid));
    my $version = read_file(repository() . '/Makefile') =~ /^VERSION = (\S+)/m ? $1 : die 'no VERSION';
    copy_program(other_version(), $program);
    my $log = reload($daemon, 'USR2');
    is($daemon->pid, $pid, 'the process is the same');
    is(running_inode($pid), (stat $program)[1], '... and runs the file that is there now');
    isnt(running_inode($pid), $old, '... which is another one than before');
    like($log, qr/NOTICE: reload: fpmpoold 9\.9\.9 goes on for fpmpoold \Q$version\E$/m, 'the log says so');
    is(asks($daemon), 200, 'it serves');
    like(process_title($pid), qr/^php-fpm: master process \(\Q${\$daemon->conf_file}\E\)$/, 'its title is right');
    copy_program(build_path('bin/fpmpoold'), $program);
    like(reload($daemon), qr/goes on for fpmpoold 9\.9\.9$/m, 'and back again');
    is(asks($daemon), 200, 'it serves');
};

subtest 'a symbolic link that leads to a new version' => sub {
    my $program = install('link');
    my $link    = test_dir() . '/link-bin/fpmpoold-link';
    copy_program(other_version(), "$program-9");
    symlink $program, $link;
    my $daemon = start_daemon(binary => $link, conf => { www => {} });
    $daemon->{is_ours} = 1;
    unlink $link;
    symlink "$program-9", $link;
    reload($daemon);
    is(running_inode($daemon->pid), (stat "$program-9")[1], 'the new one runs');
};

subtest 'a program that cannot be run, or is none' => sub {
    allow_log(qr/reload: /, qr/no\.such\.key/, qr/failed to load configuration/, qr/Unable to include/);
    my $program = install('broken');
    my $daemon  = start_daemon(binary => $program, conf => { www => {} });
    unlink $program;
    refuses($daemon, qr{ERROR: reload: cannot run \Q$program\E, the old configuration serves on \(install fpmpoold there again\): No such file or directory \(2\)$}m, 'deleted');
    write_file($program, "\x7fELF and nothing", 0755);
    refuses($daemon, qr{ERROR: reload: cannot run \Q$program\E, .*Exec format error}m, 'garbage');
    write_file($program, read_file(build_path('bin/fpmpoold')), 0644);
    refuses($daemon, qr{ERROR: reload: cannot run \Q$program\E, .*Permission denied}m, 'not executable');
    unlink $program;
    write_file($program, "#!/bin/sh\nexit 0\n", 0755);
    refuses($daemon, qr{ERROR: reload: \Q$program\E ended with code 0 and gave no verdict on the configuration, the old configuration serves on .*install it again}m, 'another program');
    write_file($program, "#!/bin/sh\nkill -SEGV \$\$\n", 0755);
    refuses($daemon, qr{ERROR: reload: \Q$program\E ended on signal 11 \(SIGSEGV\) while it tested the configuration, the old}m, 'one that crashes');
    write_file($program, "#!/bin/sh\necho 'libapr-1.so.0: cannot open' >&2\nexit 127\n", 0755);
    refuses($daemon, qr{WARNING: reload: \Q$program\E said: "libapr-1.so.0: cannot open"$}m, 'one that lacks a library');
    unlink $program;
    copy_program(build_path('bin/fpmpoold'), $program);
    rewrite($daemon, sub { s/^\[www\]/[www]\nno.such.key = 1/m });
    refuses($daemon, qr/ERROR: reload: the new configuration has errors, the old one serves on/, 'a mistake in the configuration');
    rewrite($daemon, sub { s/^no.such.key = 1\n//m });
    reload($daemon);
    is(running_inode($daemon->pid), (stat $program)[1], 'all is well again: the next reload works');
};

subtest 'a program that does not end its test' => sub {
    allow_log(qr/did not test the configuration within/);
    my $program = install('slow');
    copy_program(other_version(), $program);
    my $daemon = start_daemon(binary => $program, conf => { www => {} });
    rename $program, "$program.good";
    write_file($program, "#!/bin/sh\nexec sleep 600\n", 0755);
    refuses($daemon, qr{ERROR: reload: \Q$program\E did not test the configuration within 3 seconds and was killed, the old configuration serves on \(}, 'it hangs');
    is(scalar(my @left = grep { process_title($_) =~ /sleep/ } children($daemon->pid)), 0, 'nothing of it is left');
    rename "$program.good", $program;
    reload($daemon);
    is(asks($daemon), 200, 'the next reload works');
};

subtest 'a program that cannot read the state: the old one applies the configuration' => sub {
    allow_log(qr/cannot take over the running pools/);
    my $program = install('foreign');
    my $daemon  = start_daemon(binary => $program, conf => { www => {} });
    my $inode   = running_inode($daemon->pid);
    write_file("$program-x", read_file($program) =~ s/fpmstat1/fpmstat9/gr, 0755);
    rename "$program-x", $program;
    rewrite($daemon, sub { s/^\[www\]/[www]\nenv[X] = new/m });
    my $log = reload($daemon);
    like($log, qr/WARNING: reload: \Q$program\E \(version \S+\) cannot take over the running pools: it cannot read the state of the running daemon: another format; this process goes on and applies/, 'the log says so');
    is(running_inode($daemon->pid), $inode, 'the old program runs');
    like(php_request($daemon, "$root/all.php")->{body}, qr/X=new$/, 'with the new configuration');
};

subtest 'an interpreter host that is older than the program' => sub {
    allow_log(qr/this interpreter host is older than fpmpoold/);
    my $program = install('host');
    my $daemon  = start_daemon(binary => $program, conf => { www => {} });
    write_file("$program-x", read_file($program) =~ s/is_root_allowed/is_root_allowEd/gr, 0755);
    rename "$program-x", $program;
    my $log = reload($daemon);
    like($log, qr/reloading: execvp/, 'its state and its plans are understood');
    like($log, qr/WARNING: \[pool www\] this interpreter host is older than fpmpoold: it does not know 'is_root_allowEd' and serves without it; install both of one version$/m, 'the host says what it does not know');
    is(asks($daemon), 200, '... and serves');
};

# A test that waits until we let it go on: the configuration includes a fifo.
sub held_reload {
    my ($daemon, $meanwhile) = @_;
    my $fifo = $daemon->dir . '/more.conf';
    unlink $fifo;
    POSIX::mkfifo($fifo, 0644);
    rewrite($daemon, sub { s/^include = \S+\n//mg; $_ = "include = $fifo\n$_" });
    my $offset = $daemon->log_length;
    $daemon->signal('HUP');
    my $tester = wait_for { (grep { process_title($_) =~ /--reload-test=/ } children($daemon->pid))[0] } 10, 'the tester';
    $meanwhile->($tester);
    open my $out, '>', $fifo or die "$fifo: $!";
    close $out;
    unlink $fifo;
    return $offset;
}

subtest 'what happens between the test and the exec' => sub {
    allow_log(qr/failed to reload: execvp\(\) failed/);
    my $program = install('between');
    my $daemon  = start_daemon(binary => $program, conf => { www => {} });
    my $pool    = $daemon->pool_pid;
    my $offset  = held_reload($daemon, sub { chmod 0644, $program });
    $daemon->wait_log(qr/ERROR: failed to reload: execvp\(\) failed for '\Q$program\E'; this process goes on and applies the new configuration itself: Permission denied \(13\)$/m, 10, $offset);
    wait_for { my $now = $daemon->pool_pid; $now && $now != $pool } 20, 'a new generation';
    is(asks($daemon), 200, 'the program could not be executed: it serves, with a new generation');
    chmod 0755, $program;
    rewrite($daemon, sub { s/^include = \S+\n//mg });
    reload($daemon);
    # (the second look at the configuration begins at once, and shall not wait for the fifo too)
    $offset = held_reload($daemon, sub { copy_program(other_version(), $program); rewrite($daemon, sub { s/^include = \S+\n//mg }) });
    $daemon->wait_log(qr/NOTICE: reload: \Q$program\E was replaced meanwhile, it is asked again$/m, 10, $offset);
    $daemon->wait_log(qr/ready to handle connections/, 20, $offset);
    is(running_inode($daemon->pid), (stat $program)[1], 'the program was replaced: the newest runs');
    is(asks($daemon), 200, '... and serves');
};

subtest 'the master of a test in progress dies' => sub {
    my $daemon = start_daemon(conf => { www => {} });
    my $tester;
    my $fifo = $daemon->dir . '/more.conf';
    POSIX::mkfifo($fifo, 0644);
    rewrite($daemon, sub { $_ = "include = $fifo\n$_" });
    $daemon->signal('HUP');
    $tester = wait_for { (grep { process_title($_) =~ /--reload-test=/ } children($daemon->pid))[0] } 10, 'the tester';
    $daemon->crash;
    ok(eval { wait_for { !alive($tester) } 5, 'the tester' }, 'its tester goes with it');
};

# What should never be; the pools of the state that is lost have ended with their channels by then.
subtest 'a state that cannot be read: the daemon starts anew' => sub {
    allow_log(qr/ALERT: reload: the state of the daemon cannot be read/);
    my $number = { x86_64 => 319, aarch64 => 279 }->{ (POSIX::uname())[4] } or plan(skip_all => 'memfd_create is not known here');
    my $dir    = start_daemon(conf => { www => {} })->dir;
    my $conf   = write_file("$dir-2/fpm.conf", read_file("$dir/fpm.conf") =~ s{\Q$dir\E/run}{$dir-2}gr);
    my $label  = 'state';
    my $fd     = syscall($number, $label, 2);
    cmp_ok($fd, '>', 2, 'a memfd');
    open my $state, '+<&=', $fd or die "memfd: $!";
    syswrite $state, 'nonsense' x 100;
    local $^F = 1000;    # stays open
    fcntl $state, 2, 0;
    my $daemon = start_service(kind => 'daemon', name => 'anew', argv => [ build_path('bin/fpmpoold'), "--reload-resume=$fd", qw(-D -O -y), $conf ], listen => { www => "$dir-2/www.sock" }, is_ours => 1, stop_signal => 'QUIT');
    close $state;
    $daemon->wait_log(qr/ALERT: reload: the state of the daemon cannot be read: it starts anew.*ready to handle connections/s);
    is(asks($daemon), 200, 'it serves');
    is(system("'${\build_path('bin/fpmpoold')}' --reload-resume=0 -t >/dev/null 2>&1") >> 8, 64, 'the option is for nobody else');
    is(system("'${\build_path('bin/fpmpoold')}' --reload-test=0,1 -t >/dev/null 2>&1") >> 8, 64, '... nor is the other one');
};

subtest 'requests that run' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 4 } });
    my @client = map { php_connect($daemon) } 1 .. 3;
    $_->send_request(script => "$root/slow.php") for @client;
    wait_for { FPMPool::Client->connect($daemon->listen_address)->request(script => "$root/pid.php", keep => 0)->{status} == 200 } 10, 'they are taken';
    my $old = $daemon->pool_pid;
    $daemon->signal('USR2');
    $daemon->wait_log(qr/using inherited socket fd=\d+, "\Q${\$daemon->listen_address}\E"/);
    wait_for { my $now = $daemon->pool_pid; $now && $now != $old } 10, 'a new generation';
    is($_->read_answer->{body}, 'begin.end.', 'a request that ran meanwhile ends whole') for @client;
    wait_for { !alive($old) } 10, 'the old generation is gone';
    is(scalar(my @children = children($daemon->pid)), 1, 'one pool process, and no zombie');
};

subtest 'limits, priority, error_log and pid of the new configuration' => sub {
    allow_log(qr/failed to open error_log/, qr/stays the error_log/);
    my $dir = test_dir() . '/global';
    mkdir $dir;
    my $conf = sub {
        my (%global) = @_;
        my $text = "[global]\ndaemonize = no\nprocess_control_timeout = 5\n" . join('', map { "$_ = $global{$_}\n" } sort keys %global);
        return $text . "[www]\nlisten = $dir/www.sock\nlisten.mode = 0666\npm = static\npm.max_children = 1\n" . (is_root() ? "user = ${\pool_user()}\n" : '');
    };
    write_file("$dir/fpm.conf", $conf->(error_log => "$dir/one.log", pid => "$dir/one.pid"));
    my $daemon = start_service(kind => 'daemon', name => 'globals', argv => [ build_path('bin/fpmpoold'), '-F', '-y', "$dir/fpm.conf" ],
        listen => { www => "$dir/www.sock" }, conf_file => "$dir/fpm.conf", is_ours => 1, stop_signal => 'QUIT', logs => [ map { "$dir/$_.log" } qw(one two) ]);
    $daemon->wait_log(qr/ready to handle/);
    my $pid = $daemon->pid;
    write_file("$dir/fpm.conf", $conf->(error_log => "$dir/two.log", pid => "$dir/two.pid", rlimit_files => 777, rlimit_core => 4096, (is_root() ? ('process.priority' => 3) : ())));
    reload($daemon);
    $daemon->wait_log(qr/fpm is running.*ready to handle.*fpm is running.*ready to handle/s);
    like(read_file("$dir/two.log"), qr/using inherited socket/, 'the new error_log is written');
    unlike(read_file("$dir/one.log"), qr/using inherited socket/, '... and not the old one');
    is(read_file("$dir/two.pid"), $pid, 'the new pid file is there');
    ok(!-e "$dir/one.pid", '... and the old one is gone');
    my $limits = read_file("/proc/$pid/limits");
    like($limits, qr/^Max open files\s+777 /m, 'rlimit_files');
    like($limits, qr/^Max core file size\s+4096 /m, 'rlimit_core');
    SKIP: {
        skip 'priority is for root', 1 unless is_root();
        is((read_file("/proc/$pid/stat") =~ /\)\s+(.*)/s)[0] =~ /^(?:\S+ ){16}(\S+)/ && $1, 3, 'process.priority');
    }
    write_file("$dir/fpm.conf", $conf->(error_log => "$dir/none/three.log", pid => "$dir/two.pid"));
    reload($daemon);
    my $text = read_file("$dir/two.log");
    like($text, qr{ERROR: failed to open error_log \(\Q$dir\E/none/three\.log\): No such file or directory \(2\)$}m, 'one that cannot be opened: said in the old one');
    like($text, qr{ERROR: reload: '\Q$dir/two.log\E' stays the error_log: make}, '... with what to do');
    $daemon->signal('USR1');
    ok(eval { $daemon->wait_log(qr/error log file re-opened/, 5); 1 }, 'which goes on, also when it is opened anew');
    write_file("$dir/fpm.conf", $conf->(error_log => "$dir/two.log", pid => "$dir/two.pid"));
    $daemon->stop;
    ok(!-e "$dir/two.pid", 'the pid file is removed at the end');
};

subtest 'in the background' => sub {
    my $dir = test_dir() . '/background';
    mkdir $dir;
    write_file("$dir/fpm.conf", "[global]\nerror_log = $dir/error.log\npid = $dir/fpm.pid\ndaemonize = yes\n[www]\nlisten = $dir/www.sock\nlisten.mode = 0666\npm = static\npm.max_children = 1\n" . (is_root() ? "user = ${\pool_user()}\n" : ''));
    is(system(build_path('bin/fpmpoold'), '-y', "$dir/fpm.conf"), 0, 'started');
    my $pid    = read_file("$dir/fpm.pid");
    my $daemon = FPMPool::Service->new(kind => 'daemon', name => 'background', pid => $pid, dir => $dir, logs => ["$dir/error.log"], listen => { www => "$dir/www.sock" }, conf_file => "$dir/fpm.conf", is_ours => 1);
    my $inode  = (stat "$dir/fpm.pid")[1];
    $daemon->wait_log(qr/ready to handle/);
    for my $daemonize (qw(yes no)) {    # where it runs is decided at the start
        rewrite($daemon, sub { s/^daemonize = \w+/daemonize = $daemonize/m });
        reload($daemon);
        is(asks($daemon), 200, "it serves after a reload (daemonize = $daemonize)");
        ok(alive($pid), '... as the same process');
        is(read_file("$dir/fpm.pid") . ' ' . (stat "$dir/fpm.pid")[1], "$pid $inode", '... with the same pid file');
    }
    like(read_file("$dir/error.log"), qr/using inherited socket.*using inherited socket/s, 'the log goes on');
    kill 'QUIT', $pid;
    ok(eval { wait_for { !alive($pid) } 15, 'the end' }, 'QUIT ends it');
    reap($pid, 2);
    ok(!-e "$dir/fpm.pid", 'and the pid file is gone');
};

subtest 'environment, working directory, mask' => sub {
    allow_log(qr/the directory in which fpmpoold was started is gone|failed to|unable to|the new configuration has errors/);
    my $dir = test_dir() . '/start';
    mkdir $dir;
    my $daemon = start_daemon(conf => { www => { clear_env => 'no', 'env[X]' => '$FROM_OUTSIDE' } }, env => { FROM_OUTSIDE => 'here' });
    my $before = php_request($daemon, "$root/all.php")->{body};
    reload($daemon) for 1 .. 2;
    my $after = php_request($daemon, "$root/all.php")->{body};
    is(join(' ', sort split /\n/, $after), join(' ', sort split /\n/, $before), 'PHP code sees the same environment as before');
    like($after, qr/X=here$/, 'env[] finds the environment of the start');
    my %status = read_file("/proc/${\$daemon->pid}/status") =~ /^(SigBlk|SigIgn|SigCgt|Umask):\s+(\S+)/mg;
    my $fresh  = start_daemon(conf => { www => {} });
    my %wanted = read_file("/proc/${\$fresh->pid}/status") =~ /^(SigBlk|SigIgn|SigCgt|Umask):\s+(\S+)/mg;
    is_deeply(\%status, \%wanted, 'signal mask, dispositions and umask are those of a fresh start');

    my $conf   = write_file("$dir/fpm.conf", read_file($daemon->conf_file) =~ s{\Q${\$daemon->listen_address}\E}{$dir/www.sock}r);
    my $at     = start_service(kind => 'daemon', name => 'relative', cwd => $dir, argv => [ build_path('bin/fpmpoold'), qw(-F -O -y fpm.conf -d), "x=a b" ], listen => { www => "$dir/www.sock" }, conf_file => $conf, is_ours => 1, stop_signal => 'QUIT', leaves_files => 1);
    $at->wait_log(qr/ready to handle/);
    my $log = reload($at);
    like($log, qr/reloading: execvp\("\S+", \{"\S+", "-F", "-O", "-y", "fpm\.conf", "-d", "x=a b"\}\)$/m, 'the arguments of the start are used');
    is(asks($at), 200, 'a relative path of the configuration');
    rename $dir, "$dir-moved";
    rename "$dir-moved/fpm.conf", test_dir() . '/fpm.kept';
    unlink "$dir-moved/www.sock";
    rmdir "$dir-moved";
    my $pool = $at->pool_pid;
    $at->signal('HUP');
    $at->wait_log(qr/ERROR: the directory in which fpmpoold was started is gone, .* start it again with absolute paths$/m);
    $at->wait_log(qr/the new configuration has errors, the old one serves on/);
    is($at->pool_pid, $pool, 'the directory of the start is gone: the pool is as it was');
};

my $gated = site('gated', 'slow.php' => slow_script());
subtest 'a worker of a pool process that died comes to the master, also after a reload' => sub {
    allow_log(qr/exited on signal 9/);
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
    reload($daemon);
    my $client = start_slow($gated, $daemon);
    my $worker = gate_worker();
    kill 'KILL', $daemon->pool_pid;
    my $parent = wait_for { my ($p) = (read_file("/proc/$worker/stat") =~ /\)\s+\S+ (\d+)/); $p == $daemon->pid ? $p : 0 } 5, 'the orphan';
    is($parent, $daemon->pid, 'it is the subreaper');
    open_gate();
    wait_for { !-e "/proc/$worker" } 10, 'the orphan ends and is reaped';
    is(asks($daemon), 200, 'and it serves');
};

subtest 'a pool process dies while the master executes itself' => sub {
    allow_log(qr/exited on signal 9/, qr/did not start, the old one serves on/, qr/did not begin a request/, qr/exited with code/);
    my $daemon = start_daemon(conf => { www => {}, other => { pm => 'ondemand' } });
    for my $round (1 .. 20) {
        my $offset = $daemon->log_length;
        my @pool   = grep { $_ } map { $daemon->pool_pid($_) } qw(www other);
        $daemon->signal($round % 2 ? 'HUP' : 'USR2');
        $daemon->wait_log($round % 4 < 2 ? qr/reloading: execvp/ : qr/using inherited/, 20, $offset);
        kill 'KILL', @pool;
        if ($round % 3 == 0) { kill 'KILL', grep { $_ } map { $daemon->pool_pid($_) } qw(www other) }
        $daemon->wait_log(qr/ready to handle connections/, 30, $offset);
    }
    for my $pool (qw(www other)) {
        ok(comes_back($daemon, $pool), "pool $pool serves");
    }
    wait_for { my @all = children($daemon->pid); @all == 2 && !grep { !alive($_) } @all } 15, 'two pool processes, and no zombie';
};

subtest 'pools that sleep, and pools that cannot serve, stay so' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    allow_log(qr/cannot get uid for user 'nobody-of-this-name'/);
    my $daemon = start_daemon(conf => { www => {}, sleepy => { pm => 'ondemand', pool_idle_timeout => '1s', 'pm.process_idle_timeout' => '1s' }, broken => { user => 'nobody-of-this-name' } });
    is(asks($daemon, 'sleepy'), 200, 'it is awake');
    wait_for { !$daemon->pool_pid('sleepy') } 20, 'it sleeps';
    reload($daemon) for 1 .. 2;
    ok(!$daemon->pool_pid('sleepy'), 'a pool that sleeps sleeps on');
    is(asks($daemon, 'sleepy'), 200, '... until somebody asks');
    is(asks($daemon, 'broken'), 503, 'a pool that cannot serve is answered for');
    is(scalar(my @all = children($daemon->pid)), 3, 'three processes');
};

subtest 'hundreds of pools' => sub {
    plan(skip_all => 'raises the limit of open files') unless is_root();
    allow_log(qr/cannot get uid for user 'nobody-of-this-name'/);
    my $count  = 300;
    my %pool   = map { ; "p$_" => { user => 'nobody-of-this-name', group => 'nogroup' } } 1 .. $count;    # answered for by processes without PHP
    my $daemon = start_daemon(conf => { global => { rlimit_files => 8000 }, www => {}, %pool }, wait => 0);
    $daemon->wait_log(qr/ready to handle connections/, 120);
    for my $round (1 .. 2) {
        my $offset = $daemon->log_length;
        $daemon->signal('USR2');
        $daemon->wait_log(qr/ready to handle connections/, 120, $offset);
        my $inherited = () = $daemon->log_text($offset) =~ /using inherited socket/g;
        is($inherited, $count + 1, "reload $round: every listener came along");
    }
    wait_for { scalar(my @all = children($daemon->pid)) == $count + 1 } 60, 'as many processes as pools';
    is(asks($daemon), 200, 'it serves');
    is(asks($daemon, "p$_"), 503, "pool p$_ is answered for") for 1, 77, $count;
    my $inherited = descriptor_count($daemon->pid);
    cmp_ok($inherited, '>', 4 * $count, "with $inherited descriptors");
};

subtest 'a storm of signals, and TERM' => sub {
    my $log    = test_dir() . '/storm-access.log';
    my $daemon = start_daemon(conf => { www => { 'access.log' => $log }, other => {} });
    my $pid    = $daemon->pid;
    srand($ENV{FPMPOOL_TEST_SEED} || 1);
    my $end = time + 6;
    my $sent = 0;
    while (time < $end) {
        kill((qw(HUP USR2 USR1 CHLD HUP USR1))[ rand 6 ], $pid);
        $sent++;
        sleep rand 0.03;
    }
    ok(comes_back($daemon), "after $sent signals it serves");
    my $reloads = () = $daemon->log_text =~ /reloading: execvp/g;
    cmp_ok($reloads, '>', 5, "and has executed itself $reloads times");
    my $offset = $daemon->log_length;
    kill $_, $pid for qw(HUP USR1 CHLD TERM);
    is($daemon->stop('CONT'), 0, 'TERM among them ends it well');
    like($daemon->log_text($offset), qr/exiting, bye-bye!$/m, '... with its last line');
};

subtest 'QUIT while it executes itself' => sub {
    for my $round (1 .. 8) {
        my $daemon = start_daemon(conf => { www => {} });
        my $offset = $daemon->log_length;
        $daemon->signal('HUP');
        if ($round > 1) { $daemon->wait_log($round % 2 ? qr/reloading: execvp/ : qr/using inherited/, 20, $offset) }
        is($daemon->stop($round % 4 < 2 ? 'QUIT' : 'TERM'), 0, "round $round: it ends");
    }
};

subtest 'fifty reloads leave nothing behind' => sub {
    my $daemon = start_daemon(conf => { www => {}, tcp => { listen => 'tcp' } });
    reload($daemon, 'HUP', qw(www tcp));
    my $memory = sub { read_file("/proc/${\$daemon->pid}/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : die 'no RssAnon' };
    my $before = $memory->();
    check_descriptors($daemon->pid, sub { reload($daemon, $_ % 2 ? 'HUP' : 'USR2', qw(www tcp)) for 1 .. 50 }, 'as many descriptors as before');
    cmp_ok($memory->(), '<', $before + 512, 'and as much memory');
    # The last generation may be on its way out.
    ok(eval { wait_for { 2 == (my @children = children($daemon->pid)) } 20, 'two children' }, 'two pool processes, and no zombie') or diag $@;
    is(asks($daemon, $_), 200, "$_ serves") for qw(www tcp);
};

done_testing();
