# fpmpoold's command line beside php-fpm's: options, usage, exit codes, -t, -v -m -i, -D and pid files.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $fpmpoold = build_path('bin/fpmpoold');
my $peer     = '/usr/sbin/php-fpm8.2';
my $has_peer = -x $peer;
my $dir      = test_dir();
my $user     = is_root() ? "user = www-data\n" : '';

# {code, out, err} of a program that ends by itself.
sub run {
    my (@argv) = @_;
    my ($out, $err) = ("$dir/out", "$dir/err");
    unlink $out, $err;
    my $pid = spawn(argv => \@argv, stdout => $out, stderr => $err);
    my $status = reap($pid, 20);
    if (!defined $status) { kill 'KILL', $pid; reap($pid, 5); return { code => 'hung', out => '', err => '' } }
    return { code => $status >> 8, out => read_file($out), err => read_file($err) };
}

sub conf {
    my ($name, $text) = @_;
    return write_file("$dir/$name", $text);
}

my $good = conf('good.conf', "[global]\nerror_log = $dir/error.log\n[www]\n${user}listen = $dir/good.sock\npm = static\npm.max_children = 1\n");

subtest 'usage' => sub {
    for my $argv ([ '-h' ], [ '--help' ], [ '-?' ], [ '--usage' ]) {
        my $got = run($fpmpoold, @$argv);
        is($got->{code}, 0, "@$argv ends with 0");
        like($got->{out}, qr/^Usage: fpmpoold .*-y, --fpm-config/s, '... and prints the options');
    }
    for my $argv ([ '--no-such-option' ], [ '-Z' ], [ '-y' ], [ 'something' ]) {
        my $got = run($fpmpoold, @$argv);
        is($got->{code}, 64, "@$argv is bad usage");
        like($got->{out}, qr/^Usage:/, '... told on stdout');
        is($got->{err}, '', '... and not on stderr');
        is(run($peer, @$argv)->{code}, 64, '... as php-fpm has it') if $has_peer;
    }
};

my $compared = 0;
subtest 'exit codes are php-fpm\'s' => sub {
    plan(skip_all => 'php8.2-fpm is not installed') unless $has_peer;
    my @test = ('-n', '-t', '-y', $good);
    for my $argv (
        (map { [$_] } qw(-h -? --help --usage -v --version -vv -m -i -d -y -p -g -c --fpm-config --nosuch -C -q -t=1 extra)),
        [qw(-n -v)], [qw(-v -n)], [qw(-v extra)], [qw(-v -Z)], [qw(-Z -v)], [qw(-v -t)], [qw(-t -v)], [qw(-m extra)], [qw(-h -Z)], [qw(-Z -h)], [qw(-e -v)], [qw(-d foo -v)], [qw(-dfoo=1 -v)],
        [qw(--define foo=bar -v)], [qw(--define=foo=bar -v)], [@test], ['-tt', @test], ['-nt', "-y$good"], [qw(-n --test), "--fpm-config=$good"], [qw(-n --test --fpm-config), $good], [qw(--fpm-con), $good, '-t'],
        [@test, 'extra'], [@test, '--'], [@test, '-'], [@test, '-R'], [@test, '-O'], [@test, '-D', '-F'], [@test, '-p', $dir], [@test, '-p', "$dir/nothing"], [qw(-n -t -y), "$dir/nothing.conf"],
        [qw(-n -F -y), "$dir/nothing.conf"], [qw(-n -D -y), "$dir/nothing.conf"],
    ) {
        is(run($fpmpoold, @$argv)->{code}, run($peer, @$argv)->{code}, "@$argv");
        $compared++;
    }
};

subtest 'the interpreter answers -v, -m and -i' => sub {
    my $got = run($fpmpoold, '-v');
    is($got->{code}, 0, '-v ends with 0');
    like($got->{out}, qr/^PHP \d+\.\d+\.\d+ \(fpm-fcgi\)/, '... with PHP\'s version and the SAPI name');
    my ($ours) = $got->{out} =~ /^(PHP \S+ \(fpm-fcgi\))/;
    is($ours, (run($peer, '-v')->{out} =~ /^(PHP \S+ \(fpm-fcgi\))/)[0], '... the same as php-fpm') if $has_peer;
    my $modules = run($fpmpoold, '-m')->{out};
    unlike($modules, qr/^pcntl$/m, '-m has no pcntl');
    like($modules, qr/^cgi-fcgi\n.*^\[Zend Modules\]\n/ms, '... has cgi-fcgi, and the Zend modules');
    is($modules, run($peer, '-m')->{out}, '... and is php-fpm\'s list to the letter') if $has_peer;
    my $info = run($fpmpoold, '-i', '-d', 'memory_limit=77M')->{out};
    like($info, qr/^Server API => FPM\/FastCGI$/m, '-i is phpinfo as text');
    like($info, qr/^memory_limit => 77M => 77M$/m, '... with -d applied');
    like(run($fpmpoold, '-n', '-i')->{out}, qr/^Loaded Configuration File => \(none\)$/m, '-n reads no php.ini');
};

subtest '-t tests' => sub {
    my $got = run($fpmpoold, '-t', '-y', $good);
    is($got->{code}, 0, 'a good file: 0');
    like($got->{err}, qr/NOTICE: configuration file \Q$good\E test is successful/, '... and says so on stderr');
    ok(!-e "$dir/good.sock", '... binds nothing');
    $got = run($fpmpoold, '-tt', '-y', $good);
    like($got->{err}, qr/NOTICE: \[www\].*\tlisten = \Q$dir\E\/good\.sock/s, '-tt prints it too');
    my $bad = conf('bad.conf', "[www]\nlisten = $dir/x.sock\nno.such.key = 1\npm = sometimes\n");
    $got = run($fpmpoold, '-t', '-y', $bad);
    is($got->{code}, 78, 'a bad file: 78');
    like($got->{err}, qr/\[\Q$bad\E:3\] unknown entry 'no\.such\.key'/, '... names file, line and key');
    like($got->{err}, qr/\[\Q$bad\E:4\] unable to parse value for entry 'pm'/, '... and the second mistake too');
    like($got->{err}, qr/FPM initialization failed/, '... and ends as php-fpm does');
    is(run($fpmpoold, '-t', '-y', "$dir/missing.conf")->{code}, 78, 'a missing file: 78');
    my $long = conf('long.conf', "[www]\n${user}listen = $dir/" . ('x' x 120) . ".sock\npm = static\npm.max_children = 1\n");
    $got = run($fpmpoold, '-t', '-y', $long);
    is($got->{code}, 78, 'a socket path that is too long: 78');
    like($got->{err}, qr/\[pool www\] \[\Q$long\E:1\].*is \d+ bytes long, the limit is 107/, '... with its length and the limit');
};

subtest 'PHP is asked for constants as nobody, and only when a file names one' => sub {
    my $alone = "$dir/alone/fpmpoold";
    mkdir "$dir/alone";
    system('cp', $fpmpoold, $alone);
    my ($host) = glob build_path('bin/fpmpool-php*');
    my ($version) = $host =~ /php([\d.]+)$/;
    my $text = read_file($good) . "php_value[a] = %s\nping.path = /p\nping.response = \${HOSTTYPE_NONE}x\n";
    my $plain = conf('plain.conf', read_file($good) . "php_value[a] = b\n");
    my $got  = run($alone, '-t', '-y', $plain);
    is($got->{code}, 0, 'a file without constants needs no interpreter');
    unlike($got->{err}, qr/WARNING/, '... and does not look for one');
    SKIP: {
        skip('an interpreter host is installed', 3) if glob "/usr/local/libexec/fpmpool/fpmpool-php*";
        my $asking = conf('asking.conf', sprintf $text, 'M_PI');
        $got = run($alone, '-t', '-y', $asking);
        like($got->{err}, qr/WARNING: \[\Q$asking\E:8\] PHP cannot be asked for 'M_PI': no interpreter host fpmpool-php[\d.]+ was found/, 'one that cannot be asked is told');
        like($got->{err}, qr/asked for 'HOSTTYPE_NONE'/, '... for each name');
        is($got->{code}, 0, '... and the text stands for itself');
    }
    for my $case (
        [ "#!/bin/sh\nprintf 'cM_PI\\0003\\000' >&3\n", 'an answer without an end' ],
        [ "#!/bin/sh\nprintf 'cM_PI' >&3\n", 'an answer that is cut' ],
        [ "#!/bin/sh\nprintf 'xM_PI\\0003\\000e' >&3\n", 'an unknown kind' ],
        [ "#!/bin/sh\nprintf 'cM_PI\\0003\\000ee' >&3\n", 'bytes behind the end' ],
        [ "#!/bin/sh\nprintf 'cM_PI\\0003\\000e' >&3; echo broken thing >&2; exit 3\n", 'a bad end', qr/status 3: broken thing/ ],
        [ "#!/bin/sh\nhead -c 9000000 /dev/zero >&3\n", 'an answer too long', qr/its answer is too long/ ],
        [ "#!/bin/sh\nhead -c 3000000 /dev/zero >&2; printf 'cM_PI\\0003.1\\000e' >&3\n", 'many words and a good answer', undef, '3.1' ],
    ) {
        my ($script, $name, $reason, $value) = @$case;
        write_file("$dir/alone/fpmpool-php$version", $script, 0755);
        $got = run($alone, '-tt', '-y', conf('asking.conf', sprintf $text, 'M_PI'));
        if (defined $value) {
            like($got->{err}, qr/php_value\[a\] = \Q$value\E$/m, "$name: taken");
        } else {
            like($got->{err}, qr/php_value\[a\] = M_PI$/m, "$name: refused");
            like($got->{err}, $reason // qr/asked for 'M_PI': it ended with status 0/, '... with the reason');
        }
    }
    return unless is_root();
    write_file("$dir/alone/php.ini", "alone.setting = secret\n", 0600);
    write_file("$dir/alone/fpmpool-php$version", "#!/bin/sh\nexec $host \"\$@\"\n", 0755);
    $got = run($alone, '-tt', '-c', "$dir/alone/php.ini", '-y', conf('asking.conf', read_file($good) . "php_value[a] = \${alone.setting}\n"));
    like($got->{err}, qr/php_value\[a\] = secret$/m, 'a php.ini for root alone is read');
    is($got->{code}, 0, '... as the test of a good file');
    require POSIX;
    POSIX::mkfifo("$dir/answer", 0600);
    my $pid = spawn(argv => [ '/bin/sh', '-c', "exec $host --constants 3>$dir/answer" ]);
    open my $answer, '<', "$dir/answer" or die $!;    # its answer is longer than a pipe holds: it waits there
    wait_for { sysread($answer, my $byte, 1) } 20, 'the answer begins';
    is(process_uid($pid), (getpwnam 'nobody')[2], 'by then it is nobody');
    local $/;
    like(scalar <$answer>, qr/cPHP_VERSION\0[\d.]+\0.*e\z/s, 'the whole answer comes');
    is(reap($pid, 10), 0, '... and it ends well');
};

subtest 'a missing pool user' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    my $text = "[a]\nuser = nobody-of-this-name\nlisten = $dir/a.sock\npm = static\npm.max_children = 1\n";
    my $got = run($fpmpoold, '-t', '-y', conf('user.conf', $text));
    is($got->{code}, 78, '-t: 78');
    like($got->{err}, qr/\[pool a\] cannot get uid for user 'nobody-of-this-name'/, '... with php-fpm\'s words');
    is(run($fpmpoold, '-F', '-O', '-y', "$dir/user.conf")->{code}, 78, 'a start with no other pool: 78');
    $got = run($fpmpoold, '-t', '-y', conf('root.conf', "[a]\nlisten = $dir/a.sock\npm = static\npm.max_children = 1\n"));
    like($got->{err}, qr/ALERT: \[pool a\] user has not been defined/, 'no user at all is an error for root');
    $got = run($fpmpoold, '-t', '-y', conf('root2.conf', "[global]\nerror_log = $dir/error.log\n[a]\nuser = root\nlisten = $dir/a.sock\npm = static\npm.max_children = 1\n"));
    like($got->{err}, qr/please specify user and group other than root/, 'root is refused');
    is(run($fpmpoold, '-t', '-R', '-y', "$dir/root2.conf")->{code}, 0, '... but for -R');
};

subtest '-D returns when sockets are bound' => sub {
    my $conf = conf('daemon.conf', "[global]\nerror_log = $dir/daemon.log\npid = $dir/daemon.pid\n[www]\n${user}listen = $dir/d.sock\npm = ondemand\npm.max_children = 1\n");
    my $got = run($fpmpoold, '-D', '-y', $conf, '-g', "$dir/other.pid");
    is($got->{code}, 0, 'the caller gets 0');
    ok(-S "$dir/d.sock", '... the socket is there');
    my $pid = read_file("$dir/daemon.pid");
    like($pid, qr/\A\d+\z/, '... the pid file holds a number without line end');
    ok(!-e "$dir/other.pid", '... at the configured place, not at that of -g');
    is((stat "$dir/daemon.pid")[2] & 07777, 0644, '... with mode 0644');
    like(process_title($pid), qr/^php-fpm: master process \(\Q$conf\E\)/, 'the title names the file');
    is(run($fpmpoold, '-D', '-y', $conf)->{code}, 70, 'a second daemon on the same socket fails with 70');
    allow_log(qr/Another FPM instance/);
    kill 'TERM', $pid;
    wait_for { !alive($pid) } 10, 'the daemon ended';
    ok(!-e "$dir/daemon.pid" && !-e "$dir/d.sock", 'TERM leaves neither pid file nor socket');
    like(read_file("$dir/daemon.log"), qr/Terminating \.\.\..*exiting, bye-bye!/s, '... and logs the end');
};

subtest 'pid file that cannot be written' => sub {
    my $got = run($fpmpoold, '-F', '-O', '-y', $good, '-g', "$dir/no/such/dir.pid");
    isnt($got->{code}, 0, 'does not start');
    like($got->{err}, qr/Unable to create the PID file \(\Q$dir\E\/no\/such\/dir\.pid\)/, '... and names the file');
    ok(!-e "$dir/good.sock", '... and leaves no socket');
};

diag("section 2.1: $compared cases beside php-fpm") if $has_peer;
done_testing();
