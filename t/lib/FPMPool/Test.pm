package FPMPool::Test;

# The harness of the system tests: `use FPMPool::Test;` gives Test::More, the start_* functions, an
# HTTP client and process helpers. See t/README.md. done_testing() (and the END block after a die)
# stops everything that was started and fails the test on an unexpected log line, a process, socket
# or pid file left over, or a server that did not end well.

use strict;
use warnings;
use Carp ();
use Cwd  ();
use Exporter 'import';
use File::Basename ();
use File::Path ();
use File::Temp ();
use FPMPool::HTTP;
use FPMPool::Process;
use FPMPool::Service;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT;

my $owner = $$;
my $root  = Cwd::realpath(File::Basename::dirname(__FILE__) . '/../../..');
my ($folder, @services, @allowed, @problems, $torn_down, %port_mark, $next_port);

BEGIN {
    my @own = qw(
        repository build_path test_dir write_file read_file rewrite site free_port is_root pool_user allow_log problem
        start_daemon start_php_fpm start_httpd start_nginx start_service php_routes wait_for
        check_descriptors http http_connect require_program preload done_testing sleep time
    );
    @EXPORT = (@own, @FPMPool::Process::EXPORT, grep { $_ ne 'done_testing' } @Test::More::EXPORT);
    no strict 'refs';
    for my $name (grep { /\A\w+\z/ } @Test::More::EXPORT) {
        next if $name eq 'done_testing';
        *{$name} = \&{"Test::More::$name"};
    }
    our $TODO;
    *{TODO} = \${Test::More::TODO};
}

become_subreaper() or Test::More::diag('no child subreaper here: stray orphans are not seen');
for my $signal (qw(INT TERM HUP PIPE)) {
    $SIG{$signal} = sub { exit 130 if $$ == $owner; POSIX::_exit(130) };
}
$SIG{ALRM} = sub {
    Test::More::diag('test time limit reached (FPMPOOL_TEST_TIMEOUT)');
    problem('the test did not end within its time');
    exit 1;
};
alarm($ENV{FPMPOOL_TEST_TIMEOUT} || 300);

# ---- places ---------------------------------------------------------------------------------

sub repository { return $root }

# Changes a daemon's configuration file: $change gets its text as $_. Who reads it meanwhile gets the old or the new one.
sub rewrite {
    my ($daemon, $change) = @_;
    my $file = $daemon->conf_file;
    my $text = read_file($file);
    $change->() for $text;
    write_file("$file.new", $text, (stat $file)[2] & 07777);
    rename "$file.new", $file or Carp::croak("$file: $!");
    return;
}

# build_path('bin/fpmpoold'): a file of the build tree (FPMPOOL_BUILD: another one).
sub build_path { return ($ENV{FPMPOOL_BUILD} || "$root/build") . "/$_[0]" }

# This test's own folder, 0755, removed at the end (FPMPOOL_KEEP=1 keeps it).
sub test_dir {
    if (!$folder) {
        $folder = Cwd::realpath(File::Temp::tempdir('fpmpool-test-XXXXXXXX', TMPDIR => 1, CLEANUP => 0));
        chmod 0755, $folder;
    }
    return $folder;
}

# Writes a file (0644, or the mode given), making its folders (0755). Relative: below test_dir().
sub write_file {
    my ($path, $content, $mode) = @_;
    $path = test_dir() . "/$path" unless $path =~ m{\A/};
    File::Path::make_path(File::Basename::dirname($path), { mode => 0755 });
    open my $file, '>:raw', $path or Carp::croak("$path: $!");
    print {$file} $content;
    close $file or Carp::croak("$path: $!");
    chmod $mode // 0644, $path;
    return $path;
}

sub read_file {
    my ($path) = @_;
    open my $file, '<:raw', $path or Carp::croak("$path: $!");
    local $/;
    return scalar <$file>;
}

# site('www', 'a.php' => '<?php ...', ...): a document root with these files; returns its path.
# The files are older than opcache.file_update_protection, so that they are cached at once.
sub site {
    my ($name, %file) = @_;
    my $path = test_dir() . "/$name";
    File::Path::make_path($path, { mode => 0755 });
    for my $entry (sort keys %file) {
        my $written = write_file("$path/$entry", $file{$entry});
        utime time() - 60, time() - 60, $written;
    }
    return $path;
}

# A TCP port that nobody uses and that this test was not given before, for 127.0.0.1 or any other address. Between
# this and the server's bind nobody takes it: it is outside the range that the kernel hands out, and every test marks
# its ports with an abstract socket, which is gone when the test is.
sub free_port {
    my ($lowest) = read_file('/proc/sys/net/ipv4/ip_local_port_range') =~ /(\d+)/;
    my ($from, $count) = $lowest > 20_000 ? (10_000, $lowest - 10_000) : (61_000, 4_500);
    my $any = -e '/proc/net/if_inet6' ? '::' : '0.0.0.0';
    $next_port //= $$ * 17;
    for (1 .. $count) {
        my $port = $from + $next_port++ % $count;
        $port_mark{$port} = IO::Socket::UNIX->new(Local => "\0fpmpool-test-port-$port", Listen => 1) or next;
        return $port if IO::Socket::IP->new(LocalHost => $any, LocalPort => $port, V6Only => 0, Listen => 1);
    }
    die "free_port: none found\n";
}

sub is_root { return $> == 0 ? 1 : 0 }

# The user that pools run as.
sub pool_user { return is_root() ? 'www-data' : (getpwuid $>)[0] }

# Skips the whole test, with the package's name, when a program is not there.
sub require_program {
    my ($program, $package) = @_;
    return if $program =~ m{/} ? -x $program : grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin';
    Test::More::plan(skip_all => "needs $program (Debian package $package)");
    return;
}

# preload('slow_end'): the library for LD_PRELOAD that is made of t/lib/slow_end.c.
sub preload {
    my ($name) = @_;
    my $library = test_dir() . "/$name.so";
    my $source  = "$root/t/lib/$name.c";
    system(qw(cc -O1 -Wall -Wextra -Werror -shared -fPIC -o), $library, $source) == 0
        or Carp::croak("$source: no library can be made of it (Debian package gcc)");
    return $library;
}

# ---- waiting and checking -------------------------------------------------------------------

# wait_for { condition } SECONDS, 'what': runs the block until it is true and returns its value.
# Dies at the time limit.
sub wait_for(&$$) {
    my ($condition, $seconds, $what) = @_;
    my $end = time() + $seconds;
    while (1) {
        my $value = $condition->();
        return $value if $value;
        Carp::croak("waited $seconds s in vain for: $what") if time() > $end;
        sleep(0.02);
    }
}

# Log lines that match are expected by this test.
sub allow_log { push @allowed, @_; return }

# Makes the test fail at its end.
sub problem { push @problems, @_; return }

# check_descriptors(PID, sub { work }, 'name'): one test point: after the work the process has no
# more descriptors than before (it may take two seconds to close them).
sub check_descriptors {
    my ($pid, $work, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = descriptors($pid);
    $work->();
    my $after;
    my $end = time() + 2;
    do {
        $after = descriptors($pid);
        sleep(0.02);
    } while (keys %$after > keys %$before && time() < $end);
    my $good = Test::More::ok(keys %$after <= keys %$before, $name // "no descriptor leaked in $pid");
    if (!$good) {
        Test::More::diag("new: $_ -> $after->{$_}") for grep { !exists $before->{$_} } sort keys %$after;
    }
    return $good;
}

# ---- servers --------------------------------------------------------------------------------

# A service of another kind: spawns argv and keeps it for the teardown. Needs kind, name, argv. prefix: what argv begins with
# (FPMPool::Hosts: another host).
sub start_service {
    my (%option) = @_;
    my $dir = $option{dir} || test_dir() . "/$option{name}";
    File::Path::make_path($dir, { mode => 0755 });
    my $error = "$dir/stderr.log";
    my $pid   = spawn(argv => [ @{ $option{prefix} || [] }, @{ $option{argv} } ], stdout => $error, stderr => $error, env => $option{env},
        dir => $option{cwd});
    my $service = FPMPool::Service->new(
        stop_signal => 'TERM', %option, pid => $pid, dir => $dir, logs => [ $error, @{ $option{logs} || [] } ]
    );
    push @services, $service;
    return $service;
}

sub unique_name {
    my ($name) = @_;
    my $count = grep { $_->name =~ /\A\Q$name\E(?:-\d+)?\z/ } @services;
    return $count ? "$name-" . ($count + 1) : $name;
}

# Pool sections get what every test pool needs unless they say otherwise.
sub daemon_text {
    my ($conf, $dir, $listen) = @_;
    my %section = %{ $conf || {} };
    $section{www} ||= {} unless grep { $_ ne 'global' } keys %section;
    my $text = "[global]\n";
    my %global = (error_log => "$dir/error.log", %{ delete $section{global} || {} });
    $text .= "$_ = $global{$_}\n" for sort grep { defined $global{$_} } keys %global;
    for my $pool (sort keys %section) {
        my %key = (
            listen => "$dir/run/$pool.sock", 'listen.mode' => '0666',
            (is_root() ? (user => pool_user(), group => pool_user()) : ()),
            pm => 'static', 'pm.max_children' => 2, %{ $section{$pool} },
        );
        $key{listen} = '127.0.0.1:' . free_port() if $key{listen} eq 'tcp';
        $listen->{$pool} = $key{listen};
        $text .= "\n[$pool]\n";
        for my $name (sort grep { defined $key{$_} } keys %key) {
            $text .= "$name = $_\n" for ref $key{$name} ? @{ $key{$name} } : $key{$name};
        }
    }
    return $text;
}

# start_daemon(conf => {global => {...}, POOL => {key => value, ...}} or TEXT, args => [...],
# name => , env => {}, limit_files => N, wait => 0|1, listen => {POOL => address} with TEXT, binary => ): fpmpoold in
# the foreground, its log on stderr. Pools get a socket run/POOL.sock, www-data (as root) and static
# with 2 workers unless they say otherwise. Returns an FPMPool::Service when it is ready.
sub start_daemon {
    my (%option) = @_;
    my $binary = $option{binary} || build_path('bin/fpmpoold');
    $binary = $ENV{FPMPOOL_TEST_DAEMON} if $ENV{FPMPOOL_TEST_DAEMON} && !$option{binary};
    my $name = unique_name($option{name} || File::Basename::basename($binary));
    my $dir  = test_dir() . "/$name";
    File::Path::make_path("$dir/run", { mode => 0755 });
    my %listen = %{ $option{listen} || {} };
    my $text = ref $option{conf} || !defined $option{conf} ? daemon_text($option{conf}, $dir, \%listen)
        : $option{conf};
    my $conf    = write_file("$dir/fpm.conf", $text);
    my $service = start_service(
        kind => 'daemon', name => $name, dir => $dir, stop_signal => $option{stop_signal} || 'QUIT',
        argv => [
            $option{limit_files} ? ('/bin/sh', '-c', "ulimit -n $option{limit_files}; exec \"\$@\"", 'sh') : (),
            $binary, '-F', '-O', '-y', $conf, @{ $option{args} || [] },
        ],
        env  => $option{env}, cwd => $option{cwd}, prefix => $option{prefix}, listen => \%listen, conf_file => $conf,
        is_ours => $binary =~ m{/fpmpoold\z} ? 1 : 0,
    );
    $service->{logs} = [ @{ $service->{logs} }, grep { -e } "$dir/error.log" ];
    return $service if defined $option{wait} && !$option{wait};
    wait_until_up($service, sub { $service->log_text =~ /ready to handle connections/ });
    return $service;
}

# The same with Debian's php-fpm, for comparisons.
sub start_php_fpm {
    my (%option) = @_;
    return start_daemon(name => 'php-fpm', %option, binary => '/usr/sbin/php-fpm8.2');
}

sub wait_until_up {
    my ($service, $condition) = @_;
    my $up = eval {
        wait_for { $condition->() || !$service->is_running } 20, "$service->{name} to be ready";
        $service->is_running;
    };
    return if $up;
    my $text = $service->log_text;
    $service->expect_end->stop('KILL');
    Carp::croak("$service->{name} did not start:\n$text");
}

# httpd directives that bring .php to a pool of a daemon. kind: fpmpool or proxy_fcgi.
sub php_routes {
    my ($kind, $daemon, $pool) = @_;
    my $listen = $daemon->listen_address($pool // 'www');
    if ($kind eq 'proxy_fcgi') {
        my $to = $listen =~ m{\A/} ? "unix:$listen|fcgi://localhost/" : "fcgi://$listen/";
        return qq{<FilesMatch "\\.ph(ar|p)\$">\n    SetHandler "proxy:$to"\n</FilesMatch>\n};
    }
    my $define = $listen =~ m{/run/\Q$pool\E\.sock\z}
        ? 'FpmPoolSocketDir ' . File::Basename::dirname($listen)
        : "<FpmPoolDefine $pool>\n    FpmPoolServer "
            . ($listen =~ m{\A/} ? "unix:$listen" : "tcp://$listen") . "\n</FpmPoolDefine>";
    return qq{$define\nFpmPool $pool\n<FilesMatch "\\.ph(ar|p)\$">\n    SetHandler fpmpool\n</FilesMatch>\n};
}

my %mpm_conf = (
    event   => "StartServers 1\nServerLimit 2\nThreadsPerChild 32\nMinSpareThreads 1\nMaxSpareThreads 64\nMaxRequestWorkers 64\n",
    worker  => "StartServers 1\nServerLimit 2\nThreadsPerChild 32\nMinSpareThreads 1\nMaxSpareThreads 64\nMaxRequestWorkers 64\n",
    prefork => "StartServers 4\nMinSpareServers 2\nMaxRequestWorkers 32\n",
);

# start_httpd(mpm => 'event', docroot => DIR, conf => TEXT, modules => [qw(proxy proxy_fcgi)],
# mpm_conf => TEXT, override => 'All', log_level => , args => ['-X'], fpmpool => 0|1 (load our module; default: if conf names it)):
# an httpd of its own on a free loopback port.
sub start_httpd {
    my (%option) = @_;
    my $mpm     = $option{mpm} || 'event';
    my $httpd   = $ENV{FPMPOOL_HTTPD} || '/usr/sbin/apache2';
    my $modules = $ENV{FPMPOOL_HTTPD_MODULES} || '/usr/lib/apache2/modules';
    my $name    = unique_name($option{name} || "httpd-$mpm");
    my $dir     = test_dir() . "/$name";
    my $port    = $option{port} || free_port();
    my $docroot = $option{docroot} || site("$name-htdocs");
    File::Path::make_path($dir, { mode => 0755 });
    my $user = pool_user();
    my $conf     = $option{conf} // '';
    my $override = $option{override} // 'All';
    my $text = qq{ServerRoot "$dir"\nDefaultRuntimeDir "$dir"\nPidFile "$dir/httpd.pid"\nListen 127.0.0.1:$port\n}
        . qq{ServerName 127.0.0.1:$port\nErrorLog "$dir/error.log"\n}
        . 'LogLevel ' . ($option{log_level} || 'warn') . "\nServerTokens Prod\nTimeout 30\nKeepAliveTimeout 15\n";
    my %loaded;
    for my $module ("mpm_$mpm", qw(authn_core authz_core mime dir alias env setenvif headers rewrite),
        @{ $option{modules} || [] }) {
        next if $loaded{$module}++;
        $text .= qq{LoadModule ${module}_module "$modules/mod_$module.so"\n};
    }
    $text .= $option{mpm_conf} // $mpm_conf{$mpm};
    if ($option{fpmpool} // $conf =~ m{^\s*(?:<?FpmPool|SetHandler\s+fpmpool)}m) {
        my $module = $ENV{FPMPOOL_TEST_MODULE} || build_path('lib/mod_fpmpool.so');
        $text .= qq{LoadModule fpmpool_module "$module"\n};
    }
    $text .= "User $user\nGroup $user\n" if is_root();
    $text .= qq{TypesConfig /etc/mime.types\n} if -e '/etc/mime.types';
    $text .= qq{DocumentRoot "$docroot"\n<Directory />\n    AllowOverride None\n    Require all denied\n</Directory>\n}
        . qq{<Directory "$docroot">\n    AllowOverride $override\n    Options +FollowSymLinks\n    Require all granted\n</Directory>\n}
        . qq{LogFormat "%h \\"%r\\" %>s %O %D" test\nCustomLog "$dir/access.log" test\nDirectoryIndex index.php index.html\n};
    my $file = write_file("$dir/httpd.conf", "$text$conf");
    my $service = start_service(
        kind => 'httpd', name => $name, dir => $dir, port => $port, conf_file => $file, env => $option{env},
        argv => [ $httpd, '-DFOREGROUND', '-f', $file, @{ $option{args} || [] } ], logs => ["$dir/error.log"], docroot => $docroot,
        access_log => "$dir/access.log",
    );
    return $service if defined $option{wait} && !$option{wait};
    wait_until_up($service, sub { accepts("127.0.0.1:$port") });
    return $service;
}

# start_nginx(docroot => DIR, conf => text of the server block): nginx on a free loopback port.
sub start_nginx {
    my (%option) = @_;
    my $name = unique_name($option{name} || 'nginx');
    my $dir  = test_dir() . "/$name";
    my $port = free_port();
    File::Path::make_path("$dir/tmp", { mode => 0755 });
    my $user = is_root() ? 'user ' . pool_user() . ";\n" : '';
    my $temp = join '', map { "    ${_}_temp_path $dir/tmp/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi);
    my $docroot = $option{docroot} || site("$name-htdocs");
    my $file    = write_file("$dir/nginx.conf",
        "${user}daemon off;\nworker_processes 1;\npid $dir/nginx.pid;\nerror_log $dir/error.log warn;\n"
            . "events { worker_connections 256; }\nhttp {\n$temp    access_log off;\n"
            . ($option{http} // '') . "    server {\n        listen 127.0.0.1:$port;\n        root $docroot;\n"
            . ($option{conf} // '') . "\n    }\n}\n");
    my $service = start_service(
        kind => 'nginx', name => $name, dir => $dir, port => $port, conf_file => $file, stop_signal => 'QUIT',
        argv => [ '/usr/sbin/nginx', '-p', $dir, '-c', $file ], logs => ["$dir/error.log"], docroot => $docroot,
    );
    wait_until_up($service, sub { accepts("127.0.0.1:$port") });
    return $service;
}

# Does somebody accept connections there (socket path or host:port)?
sub accepts {
    my ($address) = @_;
    my $socket = $address =~ m{\A/} ? IO::Socket::UNIX->new(Peer => $address)
        : IO::Socket::INET->new(PeerAddr => $address, Timeout => 1);
    return $socket ? 1 : 0;
}

sub http         { return FPMPool::HTTP::request(@_) }
sub http_connect { return FPMPool::HTTP->connect(@_) }

# ---- the end --------------------------------------------------------------------------------

# Stops all services; returns what is wrong, as lines. Runs once.
sub teardown {
    return () if $torn_down++;
    my @found = @problems;
    for my $service (reverse @services) {
        $service->stop;
        push @found, $service->problems;
    }
    push @found, stray_processes();
    for my $service (@services) { push @found, $service->unexpected_lines(\@allowed) }
    push @found, stray_files() if $folder;
    return @found;
}

# Every process below this one must be gone; those that are not are killed and reported.
sub stray_processes {
    my @left;
    my $end = time() + 3;
    while (1) {
        1 while waitpid(-1, POSIX::WNOHANG()) > 0;
        @left = grep { alive($_) } FPMPool::Process::descendants_by_scan($$);
        last if !@left || time() > $end;
        sleep(0.02);
    }
    my @found = map { "left over: process $_ (" . process_title($_) . ')' } @left;
    kill 'KILL', $_ for @left;
    reap($_, 2) for @left;
    1 while waitpid(-1, POSIX::WNOHANG()) > 0;
    return @found;
}

sub stray_files {
    my @found;
    for my $service (grep { !$_->{leaves_files} } @services) {
        for my $path (glob "$service->{dir}/*.pid $service->{dir}/run/*") {
            push @found, "left over: $path" if -S $path || $path =~ /\.pid\z/;
        }
    }
    return @found;
}

sub show_logs {
    for my $service (@services) {
        my @line = split /\n/, $service->log_text;
        splice @line, 0, @line - 40 if @line > 40;
        Test::More::diag("---- log of $service->{name}\n" . join "\n", @line);
    }
    return;
}

# Ends the test: teardown, one test point for its findings, plan.
sub done_testing {
    my @found = teardown();
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok(!@found, 'clean end: logs, processes, files') or Test::More::diag(join "\n", @found);
    show_logs() unless Test::More->builder->is_passing;
    Test::More::done_testing();
    return;
}

END {
    if ($$ == $owner) {
        my $status = $?;
        if (!$torn_down) {
            my @found = teardown();
            Test::More::diag(join "\n", 'at the end of the test:', @found) if @found;
            show_logs() if @services && ($status || @found);
            $status ||= 1 if @found;
        }
        if ($folder) {
            if   ($ENV{FPMPOOL_KEEP}) { Test::More::diag("kept: $folder") }
            else                      { File::Path::remove_tree($folder, { safe => 0 }) }
        }
        $? = $status;
    }
}

1;
