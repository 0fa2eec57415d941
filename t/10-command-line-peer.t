# Sections 2.1 to 2.3 beside the living peer: what options do to a daemon that runs, exit codes of starts that fail, pid
# files, titles, where the log goes (background, terminal, file, -O) and in which order its lines come, starts without
# root, php.ini by -c, -n, -d and the environment. Exit codes of options alone are in 10-command-line.t.
# long: 40 s

use strict;
use warnings;
use Fcntl ();
use File::Basename qw(dirname);
use IO::Select;
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
require_program('/usr/bin/setpriv', 'util-linux');
plan(skip_all => 'starts daemons as several users: run as root') unless is_root();

my %binary = (ours => build_path('bin/fpmpoold'), theirs => '/usr/sbin/php-fpm8.2');
my $root   = site('www', 'show.php' => '<?php foreach (explode(",", $_GET["k"] ?? "") as $k) echo $k, "=", var_export(ini_get($k), true), "\n"; echo "uid=", posix_geteuid(), " ini=", php_ini_loaded_file() ?: "none", " scanned=", php_ini_scanned_files() ? "yes" : "no";');
my $serial = 0;
my @failed;    # pids of daemons that a case has left: ended whatever happens
END { kill 'KILL', @failed if @failed }

# ---- running one ----------------------------------------------------------------------------------

# A folder with fpm.conf for one run; @DIR@ in texts is that folder, whose path has the same length for both.
sub lay_out {
    my ($who, $text, %file) = @_;
    my $dir = test_dir() . sprintf '/%03d%s', ++$serial, $who eq 'ours' ? 'o' : 't';
    mkdir $dir;
    chmod 0777, $dir;
    %file = ('fpm.conf' => $text, %file);
    write_file("$dir/$_", $file{$_} =~ s/\@DIR\@/$dir/gr) for keys %file;
    return $dir;
}

my $pool   = "[www]\nuser = www-data\nlisten = \@DIR\@/s\nlisten.mode = 0666\npm = static\npm.max_children = 1\n";
my $global = "[global]\nerror_log = \@DIR\@/error.log\npid = \@DIR\@/pid\n";

sub masked {
    my ($text, $dir) = @_;
    my @line = grep { !/systemd monitor/ } split /\n/, $text =~ s/\r//gr;
    for (@line) {
        s/\A\[\d\d-\w{3}-\d{4} [\d:.]+\] //;
        s/\Q$dir\E/DIR/g;
        s/\bpid \d+/pid N/g;
        s/child \d+/child N/g;
    }
    return join '|', @line;
}

sub content { my ($path) = @_; return -e $path ? read_file($path) : '' }

# A start that ends by itself: "code; stderr; error_log".
sub ended {
    my ($who, $text, $argv, %option) = @_;
    my $dir = lay_out($who, $text, %{ $option{files} || {} });
    $option{prepare}->($dir) if $option{prepare};
    my $pid = spawn(argv => [ @{ $option{before} || [] }, $binary{$who}, map { s/\@DIR\@/$dir/gr } @$argv ], stdout => "$dir/out", stderr => "$dir/err", dir => $dir);
    my $status = reap($pid, 20);
    if (!defined $status) { kill 'KILL', $pid; reap($pid, 5) }
    my $daemon = content("$dir/pid");
    if ($daemon =~ /\A\d+\z/ && alive($daemon)) { kill 'TERM', $daemon; wait_for { !alive($daemon) } 15, 'its end' }
    $option{clean}->($dir) if $option{clean};
    return join '; ', 'code ' . (defined $status ? $status >> 8 : 'none'), 'stderr: ' . masked(content("$dir/err"), $dir), 'log: ' . masked(content("$dir/error.log"), $dir);
}

# Runs a daemon until $look has been called: {dir, pid}. Its stderr is a file or a terminal.
sub running {
    my ($who, $text, $argv, $look, %option) = @_;
    my $dir = lay_out($who, $text, %{ $option{files} || {} });
    my ($terminal, $slave) = $option{terminal} ? new_terminal() : ();
    my $pid = spawn(argv => [ @{ $option{before} || [] }, $binary{$who}, map { s/\@DIR\@/$dir/gr } @$argv ], stdout => "$dir/out", stderr => $slave // "$dir/err", dir => $option{cwd} // $dir, env => $option{env});
    my $is_background = grep { $_ eq '-D' } @$argv;
    if ($is_background) { my $status = reap($pid, 20); die "$who: -D ended with $status\n" . content("$dir/err") if $status; $pid = read_file("$dir/pid") }
    push @failed, $pid;
    wait_for { !alive($pid) || eval { FPMPool::Client->connect($option{listen} // "$dir/s"); 1 } } 20, "$who to listen";
    my $said = $terminal ? '' : undef;
    if ($text !~ /log_level/) { wait_for { !alive($pid) || ($said = $terminal ? $said . all_of($terminal, 0.02) : undef) && 0 || (($said // '') . content("$dir/err") . content("$dir/error.log")) =~ /ready to handle/ } 20, "$who to be ready" }
    my @text = eval { $look->({ dir => $dir, pid => $pid, who => $who }) };
    push @text, "failed: $@" if $@;
    kill 'TERM', $pid;
    $is_background ? wait_for { !alive($pid) } 15, 'its end' : reap($pid, 15);
    @failed = grep { $_ != $pid } @failed;
    push @text, 'stderr: ' . masked($terminal ? $said . all_of($terminal, 0.2) : content("$dir/err"), $dir), 'log: ' . masked(content("$dir/error.log"), $dir),
        'left: ' . join ' ', grep { -e "$dir/$_" } qw(pid s);
    return join '; ', @text;
}

# Both ends of a new pseudo terminal: handle of the master, path of the slave.
sub new_terminal {
    open my $master, '+<', '/dev/ptmx' or die "/dev/ptmx: $!";
    my $number = pack 'i', 0;
    ioctl($master, 0x40045431, $number) or die "TIOCSPTLCK: $!";
    ioctl($master, 0x80045430, $number) or die "TIOCGPTN: $!";
    return ($master, '/dev/pts/' . unpack 'i', $number);
}

sub all_of {
    my ($handle, $patience) = @_;
    my $text = '';
    my $select = IO::Select->new($handle);
    while ($select->can_read($patience)) { sysread($handle, $text, 65_536, length $text) or last }
    return $text;
}

sub show { my ($run, $query) = @_; return php_request("$run->{dir}/s", "$root/show.php", query => $query // '')->{body} }

# The same of both. is => what php-fpm's must be like. meant => [reason, ours, php-fpm's]: a difference.
sub compare {
    my ($name, $code, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($mine, $his) = map { my $who = $_; eval { $code->($who) } // "failed: $@" } qw(ours theirs);
    compared();
    if ($option{meant}) {
        my ($reason, $right, $other) = @{ $option{meant} };
        like($mine, $right, "$name ($reason)");
        return like($his, $other, "$name: php-fpm");
    }
    like($his, $option{is}, "$name: php-fpm") if $option{is};
    return is($mine, $his, $name);
}

# ---- starts ------------------------------------------------------------------------------------------

section('2.3');
my $run = [ '-y', '@DIR@/fpm.conf' ];
subtest 'log sinks and the order of lines' => sub {
    my %mode = ('in the background' => [ '-D', @$run ], 'foreground, stderr is a file' => [ '-F', @$run ], 'foreground, -O' => [ '-F', '-O', @$run ], 'foreground, daemonize = no' => $run, 'background against daemonize = no' => [ '-D', @$run ], '-O in the background' => [ '-D', '-O', @$run ]);
    for my $name (sort keys %mode) {
        my $text = $name =~ /daemonize = no/ ? "${global}daemonize = no\n$pool" : "$global$pool";
        compare($name, sub { running($_[0], $text, $mode{$name}, sub { '' }) }, is => qr/fpm is running, pid N\|NOTICE: ready to handle connections/);
    }
    SKIP: {
        skip('no /dev/ptmx', 2) unless -w '/dev/ptmx';
        for my $more ([], ['-O']) {
            compare("a terminal, @$more", sub { running($_[0], "$global$pool", [ '-F', @$more, @$run ], sub { '' }, terminal => 1) }, is => qr/stderr: NOTICE: fpm is running/);
        }
    }
    for my $level (qw(warning error alert)) {
        compare("log_level = $level", sub { running($_[0], "${global}log_level = $level\n$pool", [ '-F', '-O', @$run ], sub { '' }) });
    }
    compare('QUIT', sub { running($_[0], "$global$pool", [ '-F', '-O', @$run ], sub { my ($one) = @_; kill 'QUIT', $one->{pid}; wait_for { content("$one->{dir}/err") =~ /bye-bye/ } 10, 'its end'; '' }) }, is => qr/Finishing \.\.\.\|NOTICE: exiting, bye-bye!/);
};

subtest 'pid file and titles' => sub {
    my $facts = sub {
        my ($run, $file) = @_;
        my $path = "$run->{dir}/$file";
        my @stat = stat $path or return 'no file';
        my $content = read_file($path);
        my @title = map { s/\Q$run->{dir}\E/DIR/gr =~ s/\s+\z//r } process_title($run->{pid}), (grep { /pool/ } map { process_title($_) } descendants($run->{pid}))[-1] // '';
        return sprintf '%s, mode %o, owner %d, %s, parent %s; %s', $content eq $run->{pid} ? 'the id and no more' : 'another content', $stat[2] & 07777, $stat[4], -e "$run->{dir}/other.pid" ? 'also -g' : 'no other', 'x', join ', ', @title;
    };
    my $worker = sub { my ($run) = @_; show($run); return $facts->($run, 'pid') };
    compare('by pid =',           sub { running($_[0], "$global$pool", [ '-F', @$run ], $worker) }, is => qr/\Athe id and no more, mode 644/);
    compare('in the background',  sub { running($_[0], "$global$pool", [ '-D', @$run ], $worker) });
    compare('pid = goes before -g', sub { running($_[0], "$global$pool", [ '-F', '-g', '@DIR@/other.pid', @$run ], $worker) }, is => qr/no other/);
    compare('--pid',              sub { running($_[0], "[global]\nerror_log = \@DIR\@/error.log\n$pool", [ '-F', '--pid', '@DIR@/pid', @$run ], $worker) }, is => qr/the id and no more/);
    compare('a relative -g',      sub { running($_[0], "[global]\nerror_log = \@DIR\@/error.log\n$pool", [ '-F', '-p', '@DIR@', '-g', 'pid', @$run ], sub { show($_[0]); join ' ', grep { -e "$_[0]{dir}/$_" } 'pid', 'var/pid' }) });
    compare('another one is there', sub { running($_[0], "$global$pool", [ '-F', @$run ], $worker, files => { pid => 'old' }) }, is => qr/the id and no more/);
    compare('the title has the path as it was given', sub { running($_[0], "$global$pool", [ '-F', '-y', 'fpm.conf' ], sub { show($_[0]); process_title($_[0]{pid}) =~ s/\s+\z//r }) }, is => qr/master process \(fpm\.conf\)/);
    my @umask = map { my $mask = $_; sub { running($_[0], "$global$pool", [ '-D', @$run ], sub { sprintf 'pid %o, log %o', map { (stat "$_[0]{dir}/$_")[2] & 07777 } qw(pid error.log) }, before => [ '/bin/sh', '-c', "umask $mask; exec \"\$@\"", 'sh' ]) } } qw(000 022 077 777);
    compare('modes below another umask', $_) for @umask[ 0 .. 2 ];
};

subtest '-D returns when sockets are bound' => sub {
    for my $who (qw(ours theirs)) {
        my ($good, $text) = (0, "$global${pool}[two]\nuser = www-data\nlisten = 127.0.0.1:\@PORT\@\npm = ondemand\npm.max_children = 1\n");
        for my $round (1 .. 20) {
            my $port = free_port();
            my $dir  = lay_out($who, $text =~ s/\@PORT\@/$port/r);
            my $pid  = spawn(argv => [ $binary{$who}, '-D', '-y', "$dir/fpm.conf" ], stderr => "$dir/err");
            my $status = reap($pid, 20);
            my $is_up  = eval { FPMPool::Client->connect($_) for "$dir/s", "127.0.0.1:$port"; 1 };
            my $daemon = content("$dir/pid");
            $good++ if defined $status && $status == 0 && $is_up && $daemon =~ /\A\d+\z/ && alive($daemon);
            if ($daemon) { push @failed, $daemon; kill 'TERM', $daemon; wait_for { !alive($daemon) } 15, 'its end'; pop @failed }
        }
        is($good, 20, "$who: connected at once, 20 times of 20");
    }
    compared();
};

section('2.2');
subtest 'starts that fail' => sub {
    my $taken = free_port();
    my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$taken", Listen => 1, ReuseAddr => 1) or die $@;
    my %case = (
        'no such user'          => [ $pool =~ s/www-data/nobody-of-this-name/r ],
        'no user at all'        => [ $pool =~ s/user = www-data\n//r ],
        'root'                  => [ $pool =~ s{www-data}{root}r ],
        'no folder for socket'  => [ $pool =~ s/\/s\n/\/none\/s\n/r ],
        'no folder for log'     => [ $pool, "[global]\nerror_log = \@DIR\@/none/error.log\n" ],
        'no folder for access.log' => [ "${pool}access.log = \@DIR\@/none/a.log\n" ],
        'no folder for pid'     => [ $pool, "[global]\nerror_log = \@DIR\@/error.log\npid = \@DIR\@/none/pid\n" ],
        'a port that is taken'  => [ $pool =~ s/listen = .*/listen = 127.0.0.1:$taken/r ],
        'no pool'               => [ '' ],
        'an unknown key'        => [ "${pool}nothing = 1\n" ],
        'an unknown group'      => [ "${pool}group = nobody-of-this-name\n" ],
        'an unknown owner'      => [ "${pool}listen.owner = nobody-of-this-name\n" ],
        'a missing chroot'      => [ "${pool}chroot = /nowhere\n" ],
        'an empty file'         => [ '', '' ],
    );
    # [exit code of ours, php-fpm's words that ours have otherwise], with the reason
    my %meant = (
        '-D root'  => [ 78, undef, 'is found before the daemon goes into the background' ],
        '-t root'  => [ 78, qr/test is successful/, 'is found by the test' ],
        '-F no folder for access.log' => [ 78, qr/access log|post process/, 'one pool\'s log does not stop the others: the pool fails, which is told with its name' ],
        '-D no folder for access.log' => [ 0,  qr/access log|post process/, 'the same; the daemon ends when it knows that no pool is left' ],
    );
    # lines of ours may be more (all mistakes are told, and that no pool is left) and name the pool
    for my $name (sort keys %case) {
        my ($text, $head) = @{ $case{$name} };
        for my $mode ('-F', '-D', '-t') {
            my ($mine, $his) = map { ended($_, ($head // $global) . $text, [ $mode, @$run ]) } qw(ours theirs);
            compared();
            my ($code, $wanted) = map { /\Acode (\w+)/ } $mine, $his;
            my ($other, $words, $why) = @{ $meant{"$mode $name"} || [] };
            $wanted = $other if defined $other;
            is($code, $wanted, "$mode, $name: exit code $wanted" . ($why ? " ($why)" : '')) or diag("fpmpoold: $mine\nphp-fpm:  $his");
            my ($stderr) = $his =~ /stderr: (.*?); log:/;
            my @missing = grep { index($mine =~ s/: \[pool www\] unable/: unable/gr, $_) < 0 } grep { !/initialization failed|\A\s*\z/ && !($words && /$words/) } split /\|/, $stderr =~ s/: Success \(0\)//r;
            is(join("\n", @missing), '', "$mode, $name: php-fpm's words") or diag("fpmpoold: $mine\nphp-fpm:  $his");
        }
    }
    close $listener;
};

section('2.1');
subtest 'who it runs as' => sub {
    my $as_root = $pool =~ s{www-data}{root}r;
    for my $option ('-R', '--allow-to-run-as-root') {
        compare("$option as root", sub { running($_[0], "$global$as_root", [ '-F', '-O', $option, @$run ], sub { show($_[0]) }) }, is => qr/uid=0 /);
    }
    my @www = ('/usr/bin/setpriv', '--reuid=www-data', '--regid=www-data', '--clear-groups');
    my $uid = getpwnam 'www-data';
    for my $mode ([ '-F', '-O' ], ['-D']) {
        compare("@$mode, not as root", sub { running($_[0], "$global$pool", [ @$mode, @$run ], sub { show($_[0]) . ' ' . (stat "$_[0]{dir}/s")[4] }, before => \@www) }, is => qr/uid=$uid /);
        compare("@$mode, not as root, another user", sub { running($_[0], "$global" . ($pool =~ s/www-data/nobody/r) . "group = nogroup\n", [ @$mode, @$run ], sub { show($_[0]) }, before => \@www) }, is => qr/uid=$uid .*'user' directive is ignored when FPM is not running as root/s);
    }
    compare('not as root, a log that it cannot write', sub { ended($_[0], "[global]\nerror_log = /etc/x.log\n$pool", [ '-F', @$run ], before => \@www) }, is => qr/failed to open error_log/);
};

subtest 'php.ini' => sub {
    my %file = ('php.ini' => "precision = 5\nuser_agent = file\n", 'd/php.ini' => "precision = 6\n", 'e/php-fpm-fcgi.ini' => "precision = 7\n", 'e/php.ini' => "precision = 8\n", 'scan/a.ini' => "precision = 9\nuser_agent = scanned\n", 'scan/b.ini' => "user_agent = later\n", 'empty/x' => '');
    my %meant = (
        '-c nothing' => [ 'PHP without its php.ini would run with its defaults, unnoticed', qr/cannot start: php\.ini 'DIR\/nothing' \(-c\): No such file/, qr/ini=none .*ready to handle/s ],
        '-d with ='  => [ 'what PHP says while it starts is in the log, with the pool', qr/user_agent='a'.*said: "PHP:  syntax error, unexpected '='/s, qr/user_agent='a'.*stderr: PHP:  syntax error, unexpected '='/s ],
    );
    my $keys = 'k=precision,user_agent,memory_limit,error_prepend_string,my.own,display_errors';
    for my $case (
        [ 'none of them' ], [ '-n', ['-n'] ], [ '-c FILE', [ '-c', '@DIR@/php.ini' ] ], [ '--php-ini FILE', [ '--php-ini', '@DIR@/php.ini' ] ], [ '-c DIR', [ '-c', '@DIR@/d' ] ], [ '-c DIR with slash', [ '-c', '@DIR@/d/' ] ], [ '-c DIR with a file for this SAPI', [ '-c', '@DIR@/e' ] ], [ '-c DIR without a file', [ '-c', '@DIR@/empty' ] ],
        [ '-c nothing', [ '-c', '@DIR@/nothing' ] ], [ '-n -c FILE', [ '-n', '-c', '@DIR@/php.ini' ] ], [ '-c twice', [ '-c', '@DIR@/php.ini', '-c', '@DIR@/d' ] ], [ '-d', [ '-d', 'precision=3' ] ], [ '-d without value', [ '-d', 'my.own' ] ], [ '-d twice', [ '-d', 'precision=3', '-d', 'precision=4' ] ], [ '--define', [ '--define', 'user_agent=x y' ] ],
        [ '-d with quotes', [ '-d', 'user_agent="a;b"' ] ], [ '-d with =', [ '-d', 'user_agent=a=b' ] ], [ '-d empty', [ '-d', 'user_agent=' ] ], [ '-d with a constant', [ '-d', 'error_reporting=E_ALL' ] ], [ '-d goes before -c', [ '-c', '@DIR@/php.ini', '-d', 'user_agent=given' ] ], [ '-n -d', [ '-n', '-d', 'user_agent=given' ] ], [ '-dK=V', ['-duser_agent=near'] ], [ '-e', ['-e'] ], [ '--profile-info', ['--profile-info'] ],
        [ 'PHPRC', [], { PHPRC => '@DIR@/d' } ], [ 'PHPRC is a file', [], { PHPRC => '@DIR@/php.ini' } ], [ '-c goes before PHPRC', [ '-c', '@DIR@/php.ini' ], { PHPRC => '@DIR@/d' } ], [ 'PHP_INI_SCAN_DIR', ['-c', '@DIR@/php.ini'], { PHP_INI_SCAN_DIR => '@DIR@/scan' } ], [ 'PHP_INI_SCAN_DIR of two', [], { PHP_INI_SCAN_DIR => ':@DIR@/scan' } ], [ 'PHP_INI_SCAN_DIR empty', [], { PHP_INI_SCAN_DIR => '' } ], [ '-n with PHP_INI_SCAN_DIR', ['-n'], { PHP_INI_SCAN_DIR => '@DIR@/scan' } ],
    ) {
        my ($name, $argv, $env) = @$case;
        compare($name, sub {
            my ($who) = @_;
            my $next = test_dir() . sprintf '/%03d%s', $serial + 1, $who eq 'ours' ? 'o' : 't';
            my %env = map { $_ => $env->{$_} =~ s/\@DIR\@/$next/gr } keys %{ $env || {} };
            return running($who, "$global$pool", [ '-F', '-O', @{ $argv || [] }, @$run ], sub { show($_[0], $keys) =~ s/\Q$_[0]{dir}\E/DIR/gr }, files => \%file, env => \%env);
        }, meant => $meant{$name});
    }
};

subtest '-e' => sub {
    my @dump = ('-d', 'opcache.opt_debug_level=0x10000');    # compiled scripts are printed
    for my $option ([], ['-e'], ['--profile-info']) {
        compare("scripts compiled with '@$option'", sub {
            my ($who) = @_;
            my $text = running($who, "$global${pool}catch_workers_output = yes\n", [ '-F', '-O', @$option, @dump, @$run ], sub {
                my ($one) = @_;
                show($one) for 1 .. 2;
                wait_for { content("$one->{dir}/err") =~ /INIT_FCALL/ } 10, 'the dump';
                return '';
            });
            return $text =~ /EXT_STMT/ ? 'extended' : $text =~ /INIT_FCALL/ ? 'plain' : $text;
        }, is => @$option ? qr/\Aextended\z/ : qr/\Aplain\z/);
    }
};

subtest '-p and -y' => sub {
    my $relative = "[global]\nerror_log = error.log\npid = pid\n[www]\nuser = www-data\nlisten = s\nlisten.mode = 0666\npm = static\npm.max_children = 1\naccess.log = access.log\n";
    my $where = sub { my ($run) = @_; show($run); return join ' ', grep { -e "$run->{dir}/$_" } qw(pid error.log s access.log) };
    for my $option ([ '-p', '@DIR@' ], [ '--prefix', '@DIR@/' ], ['-p@DIR@']) {
        compare("@$option", sub { running($_[0], $relative, [ '-F', @$option, @$run ], $where) }, is => qr/\Apid error\.log s access\.log; /);
    }
    compare('-p without -y', sub { running($_[0], '', [ '-F', '-p', '@DIR@' ], $where, files => { 'etc/php-fpm.conf' => $relative }) }, is => qr/\Apid error\.log s access\.log; /);
    compare('a pool prefix goes before -p', sub { running($_[0], $relative . "prefix = \@DIR\@/www\n", [ '-F', '-p', '@DIR@', @$run ], sub { join ' ', grep { -e "$_[0]{dir}/$_" } qw(pid error.log www/s www/access.log) }, files => { 'www/x' => '' }, listen => test_dir() . sprintf '/%03d%s/www/s', $serial + 1, $_[0] eq 'ours' ? 'o' : 't') }, is => qr/\Apid error\.log www\/s www\/access\.log; /);
    compare('-y relative', sub { running($_[0], "$global$pool", [ '-F', '-O', '-y', 'fpm.conf' ], sub { show($_[0]) }) });
    compare('--fpm-config', sub { running($_[0], "$global$pool", [ '-F', '-O', '--fpm-config', '@DIR@/fpm.conf' ], sub { show($_[0]) }) });
    compare('--nodaemonize --force-stderr', sub { running($_[0], "$global$pool", [ '--nodaemonize', '--force-stderr', @$run ], sub { show($_[0]) }) });
    compare('--daemonize', sub { running($_[0], "$global$pool", [ '-D', '--daemonize', @$run ], sub { show($_[0]) }) });
    compare('a folder instead of a file', sub { ended($_[0], '', [ '-F', '-y', '@DIR@' ]) }, meant => [ 'says what is wrong with it', qr/\Acode 78; .*failed to read configuration file 'DIR'/, qr/\Acode 78; .*No pool defined/ ]);
};

report_sections();
done_testing();
