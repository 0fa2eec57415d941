# What a worker is when it runs a script, beside php-fpm's: user, groups, limits, nice value, root, working directory,
# may it be traced, its environment. Each key by itself and together, by name and by number.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'needs a root master: limits, users, chroot') unless is_root();
require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $root = site('www', 'who.php' => '<?php echo json_encode(["pid" => getmypid(), "cwd" => getcwd(), "user" => getenv("USER"), "home" => getenv("HOME"), "umask" => sprintf("%04o", umask())]);');
my $jail = test_dir() . '/jail';
mkdir $_ for $jail, "$jail/www", "$jail/dev", "$jail/proc";
write_file("$jail/www/who.php", read_file("$root/who.php"));
my ($www, $games) = map { scalar getpwnam $_ } qw(www-data games);
my ($games_gid, $nogroup_gid) = map { scalar getgrnam $_ } qw(games nogroup);

sub who { my ($daemon, $pool, $script) = @_; my $body = php_request($daemon, $script // "$root/who.php", pool => $pool, timeout => 20)->{body} // ''; return { $body =~ /"(\w+)":"?([^",}]*)"?/g } }

# Everything that can be seen of a worker from outside, as lines.
sub portrait {
    my ($daemon, $pool, $script) = @_;
    my $seen = who($daemon, $pool, $script);
    my $pid  = $seen->{pid} or return 'no answer';
    my $status = read_file("/proc/$pid/status");
    my $limits = read_file("/proc/$pid/limits");
    my @stat   = split ' ', read_file("/proc/$pid/stat") =~ s/.*\) //r;
    my @line   = map { "$_ $seen->{$_}" } qw(cwd user home umask);
    push @line, map { $status =~ /^($_:.*)$/m ? $1 =~ s/\s+/ /gr =~ s/ \z//r : "$_?" } qw(Uid Gid Groups CapPrm CapEff);
    push @line, map { $limits =~ /^($_.*?)\s*$/m ? $1 =~ s/\s+/ /gr : "$_?" } 'Max open files', 'Max core file size';
    push @line, "nice $stat[16]", 'root ' . readlink("/proc/$pid/root"),
        'dumpable ' . ((stat "/proc/$pid/environ")[4] == 0 && $status !~ /^Uid:\s+0\b/m ? 'no' : 'yes');
    return join "\n", @line;
}

my %case = (
    'nothing set'            => {}, 'rlimit_files' => { rlimit_files => 300 }, 'rlimit_files above the hard limit' => { rlimit_files => 20000 }, 'rlimit_core' => { rlimit_core => 1048576 },
    'rlimit_core unlimited'  => { rlimit_core => 'unlimited' }, 'priority' => { 'process.priority' => 7 }, 'priority below 0' => { 'process.priority' => -5 }, 'priority 0' => { 'process.priority' => 0 },
    'dumpable'               => { 'process.dumpable' => 'yes' }, 'chdir' => { chdir => $root }, 'chroot' => { chroot => $jail }, 'chroot and chdir' => { chroot => $jail, chdir => '/www' },
    'user by number'         => { user => $games, group => undef }, 'user and group by number' => { user => $games, group => $nogroup_gid }, 'group by name' => { user => 'games', group => 'nogroup' },
    'user without a group'   => { user => 'games', group => undef }, 'a number that nobody has' => { user => 54321, group => 54322 }, 'user by name, group by number' => { user => 'games', group => $www },
    'all of it'              => { user => 'games', group => 'www-data', rlimit_files => 200, rlimit_core => 4096, 'process.priority' => 3, 'process.dumpable' => 'yes', chroot => $jail, chdir => '/www' },
);
my @name = sort keys %case;

sub compare_all {
    my ($ours, $theirs) = @_;
    for my $n (0 .. $#name) {
        my $script = $case{ $name[$n] }{chroot} ? '/www/who.php' : undef;
        my ($mine, $his) = map { portrait($_, "p$n", $script) } $ours, $theirs;
        is($mine, $his, $name[$n]);
    }
    return;
}

# a master without CAP_SYS_RESOURCE cannot raise a limit; php-fpm's workers say so to nobody unless caught
allow_log(qr/failed to set rlimit_(files|core) for this pool\. Please check your system limits or decrease rlimit_\g1\. setrlimit\(RLIMIT_(?:NOFILE|CORE), -?\d+\): Operation not permitted/);
my %conf = map { ("p$_" => { 'pm.max_children' => 1, %{ $case{ $name[$_] } } }) } 0 .. $#name;

subtest 'a worker' => sub {
    my ($ours, $theirs) = (start_daemon(conf => \%conf), start_php_fpm(conf => \%conf));
    compare_all($ours, $theirs);
    $_->stop for $ours, $theirs;
};

subtest 'with limits and priority of the master' => sub {
    my %both = (conf => { global => { 'process.priority' => 4, rlimit_files => 700, rlimit_core => 8192 }, %conf });
    my ($ours, $theirs) = (start_daemon(%both), start_php_fpm(%both));
    for my $what (qw(limits nice)) {
        my ($mine, $his) = map {
            my $pid = $_->pid;
            $what eq 'nice' ? (split ' ', read_file("/proc/$pid/stat") =~ s/.*\) //r)[16] : join "\n", read_file("/proc/$pid/limits") =~ /^((?:Max open files|Max core).*?)\s*$/mg
        } $ours, $theirs;
        is($mine, $his, "the master's $what");
    }
    compare_all($ours, $theirs);
    $_->stop for $ours, $theirs;
};

subtest 'without root' => sub {
    my $dir = test_dir() . '/plain';
    mkdir $dir;
    chown $www, $www, $dir;
    my %got;
    for my $who (qw(ours theirs)) {
        my $sock = "$dir/$who.sock";
        my $conf = write_file("plain-$who.conf", "[global]\nerror_log = $dir/$who.log\nprocess.priority = 3\n[www]\nuser = games\ngroup = games\nchroot = $jail\nprocess.priority = 2\nlisten = $sock\npm = static\npm.max_children = 1\nrlimit_files = 100\n");
        my $pid = spawn(argv => [ '/usr/bin/setpriv', '--reuid=www-data', '--regid=www-data', '--clear-groups', $who eq 'ours' ? build_path('bin/fpmpoold') : '/usr/sbin/php-fpm8.2', '-F', '-O', '-y', $conf ],
            stdout => "$dir/$who.out", stderr => "$dir/$who.out", dir => $dir);
        my $seen = wait_for { my $got = eval { php_request($sock, "$root/who.php", timeout => 3)->{body} }; $got && { $got =~ /"(\w+)":"?([^",}]*)"?/g } } 20, "$who to serve";
        my $status = read_file("/proc/$seen->{pid}/status");
        my $limits = read_file("/proc/$seen->{pid}/limits");
        my ($notices) = join "\n", sort map { /NOTICE: (.*ignored.*)/ ? $1 : () } split /\n/, read_file("$dir/$who.out");
        $got{$who} = join "\n", "user $seen->{user}", "home $seen->{home}", $notices, map { s/\s+/ /gr } $status =~ /^((?:Uid|Gid):.*)$/mg, $limits =~ /^(Max open files.*)$/mg;
        kill 'QUIT', $pid;
        reap($pid, 15);
    }
    is($got{ours}, $got{theirs}, 'what needs root is ignored with php-fpm\'s words');
};
done_testing();
