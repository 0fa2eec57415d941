# From a source tree to an installation: configure's options and errors, what make builds again, what
# make install puts where, and that the installed daemon runs with the installed configuration, also
# with the capabilities of the shipped unit alone.
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Find ();
use File::Path ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $root   = repository();
my $dir    = test_dir();
my $tree   = "$dir/tree";
my $prefix = "$dir/root";

require_program('make', 'make');

# Runs a shell command in a folder; {code, text} of it.
sub run {
    my ($folder, $command, %env) = @_;
    local @ENV{ keys %env } = values %env;
    delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
    my $text = `cd '$folder' && { $command; } 2>&1`;
    return { code => $? >> 8, text => $text };
}

sub succeeds {
    my ($got, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok($got->{code} == 0, $name) || diag($got->{text});
}

# The files below a folder, relative to it.
sub files_of {
    my ($folder) = @_;
    my @found;
    return () unless -d $folder;
    File::Find::find({ no_chdir => 1, wanted => sub { push @found, $_ if -f $_ || -l $_ } }, $folder);
    return sort map { s{^\Q$folder\E/}{}r } @found;
}

# A copy of what the build needs, so that nothing here touches the build that is tested elsewhere.
File::Path::make_path($tree, { mode => 0755 });
my @parts = qw(configure Makefile README.md CHANGES LICENSE conf fpmpoold mod_fpmpool t/unit t/fuzz t/chaos t/bin);
is(system("cd '$root' && tar cf - @parts | tar xf - -C '$tree'"), 0, 'a tree of its own');

# ---- configure ------------------------------------------------------------------------------------

# A PATH with everything but the programs named.
sub path_without {
    my %gone = map { $_ => 1 } @_;
    my $path = "$dir/path-" . join '-', sort keys %gone;
    mkdir $path or return $path;
    for my $folder (qw(/usr/local/bin /usr/bin /bin /usr/sbin)) {
        opendir my $list, $folder or next;
        for my $name (readdir $list) {
            next if $name =~ /^\./ || $gone{$name} || -l "$path/$name" || !-x "$folder/$name";
            symlink "$folder/$name", "$path/$name";
        }
    }
    return $path;
}

subtest 'configure names the package of what is missing' => sub {
    my @case = (
        [ [qw(gcc cc clang)],             qr/no C compiler/,           qr/apt-get install gcc/ ],
        [ [qw(make gmake)],               qr/make is missing/,         qr/apt-get install make/ ],
        [ [qw(apr-1-config apr-config)],  qr/apr-1-config is missing/, qr/apt-get install libapr1-dev/ ],
        [ [qw(apu-1-config apu-config)],  qr/apu-1-config is missing/, qr/apt-get install libaprutil1-dev/ ],
        [ [qw(apxs apxs2)],               qr/apxs is missing/,         qr/apt-get install apache2-dev/ ],
        [ [qw(php-config php-config8.2)], qr/php-config is missing/,   qr/apt-get install php8\.2-dev libphp8\.2-embed/ ],
    );
    for my $case (@case) {
        my ($gone, $what, $package) = @$case;
        my $got = run($tree, './configure', PATH => path_without(@$gone));
        isnt($got->{code}, 0, "without $gone->[0]");
        like($got->{text}, qr/^configure: error: .*$what/m, '... says what');
        like($got->{text}, qr/^configure: to fix it: .*$package/m, '... and the package');
    }
    ok(!-e "$tree/build/config.mk", 'and writes nothing');
};

# A php-config of another PHP, whose headers say what it is.
sub fake_php {
    my ($name, $header, $version) = @_;
    my $folder = "$dir/$name";
    write_file("$folder/include/php.h", $header);
    return write_file("$folder/php-config", "#!/bin/sh\n"
        . "case \$1 in\n--includes) echo -I$folder/include ;;\n--version) echo $version ;;\n--prefix) echo $folder ;;\nesac\n", 0755);
}

subtest 'configure refuses what it cannot use' => sub {
    my $with = sub { return run($tree, './configure --with-php-config=' . fake_php(@_)) };
    my $got  = $with->('zts', "#define ZTS 1\n", '8.2.30');
    isnt($got->{code}, 0, 'a thread-safe PHP');
    like($got->{text}, qr/PHP 8\.2 \(\S+\) is a thread-safe \(ZTS\) build.*needs a non-thread-safe \(NTS\) PHP/, '... says so');
    like($got->{text}, qr/to fix it: apt-get install php8\.2-dev libphp8\.2-embed/, '... and what to take');
    like($with->('old', "\n", '7.3.1')->{text}, qr/libphp7\.3\.so is missing.*apt-get install libphp7\.3-embed/s, 'a PHP without its library');
    like($with->('broken', "#error nothing\n", '8.2.1')->{text}, qr/headers of PHP 8\.2 do not compile.*apt-get install php8\.2-dev/s, 'headers that do not compile');
    like($with->('odd', "\n", 'none')->{text}, qr/says 'none', which is no PHP version/, 'a php-config that is none');
    my %refused = (
        '--with-php-config=/nowhere/php-config' => qr{php-config '/nowhere/php-config' is not an executable},
        '--with-apxs=/nowhere/apxs'             => qr{--with-apxs=/nowhere/apxs is not an executable.*apt-get install apache2-dev}s,
        '--with-nonsense=1'                     => qr/unknown option --with-nonsense=1/,
        'nonsense'                              => qr/unknown argument nonsense/,
    );
    for my $argument (sort keys %refused) {
        $got = run($tree, "./configure $argument");
        isnt($got->{code}, 0, $argument);
        like($got->{text}, $refused{$argument}, '... and says why');
    }
    ok(!-e "$tree/build/config.mk", 'and writes nothing');
};

subtest 'configure takes what dh_auto_configure says' => sub {
    my $got = run($tree, q{./configure --build=x86_64-linux-gnu --prefix=/usr --includedir=\${prefix}/include --mandir=\${prefix}/share/man }
        . q{--infodir=\${prefix}/share/info --sysconfdir=/etc --localstatedir=/var --disable-option-checking --disable-silent-rules }
        . q{--libdir=\${prefix}/lib/x86_64-linux-gnu --libexecdir=\${prefix}/libexec --runstatedir=/run --disable-maintainer-mode }
        . q{--disable-dependency-tracking CFLAGS='-g -O2 -fstack-protector-strong' LDFLAGS=-Wl,-z,relro});
    succeeds($got, 'all of it');
    my $dry = run($tree, 'make -n install DESTDIR=/stage');
    like($dry->{text}, qr{/stage/usr/libexec/fpmpool}, 'libexecdir with ${prefix} in it');
    like($dry->{text}, qr{/stage/etc/fpmpool/pool\.d}, 'sysconfdir');
    like($dry->{text}, qr{-fstack-protector-strong.*-Wl,-z,relro}s, 'flags of compiler and linker');
    my $before = read_file("$tree/build/config.mk");
    succeeds(run($tree, 'sh build/config.again'), 'build/config.again repeats it');
    is(read_file("$tree/build/config.mk"), $before, '... word for word');
};

# ---- make -----------------------------------------------------------------------------------------

subtest 'make' => sub {
    succeeds(run($tree, "./configure --prefix='$prefix' --runstatedir='$prefix/run' CFLAGS='-O0'"), 'configure') or return;
    my $got = run($tree, 'make -s -j2');
    succeeds($got, 'builds') or return;
    is($got->{text}, '', '... without a word');
    like(run($tree, 'make')->{text}, qr/\Amake: Nothing to be done for 'all'\.\n\z/, 'a second make does nothing');
    succeeds(run($tree, 'sh build/config.again >/dev/null && make -q'), '... also after configure with the same options');

    # each object's own list of headers says what must follow a change
    my @object = grep { /\.d$/ } files_of("$tree/build/obj");
    my $later = time + 5;
    for my $header (qw(fpmpoold/wire/wire.h fpmpoold/php/sapi.h fpmpoold/conf/keys.h mod_fpmpool/fpmp_conf.h)) {
        my @includes = grep { read_file("$tree/build/obj/$_") =~ /(?<!\S)\Q$header\E(?!\S)/ } @object;
        my @times = (stat "$tree/$header")[ 8, 9 ];
        utime $later, $later, "$tree/$header";
        my @built = map { m{-o build/obj/(\S+)\.o\b} ? "$1.d" : () } split /\n/, run($tree, 'make -n')->{text} =~ s/\\\n//gr;
        cmp_ok(scalar @includes, '>', 0, "$header is included");
        is_deeply([ sort @built ], \@includes, '... and a change builds what includes it, nothing else');
        utime @times, "$tree/$header";
    }
    succeeds(run($tree, 'make -q'), 'back to what it was');
};

# ---- install ---------------------------------------------------------------------------------------

subtest 'make install DESTDIR=' => sub {
    my $stage = "$dir/stage";
    my $below = $prefix =~ s{^/}{}r;
    my ($host) = map { s{.*/}{}r } glob "$tree/build/bin/fpmpool-php*";
    my ($modules) = read_file("$tree/build/config.mk") =~ /^HTTPD_MODULEDIR = (\S+)/m;
    succeeds(run($tree, "umask 077 && make -s install DESTDIR='$stage'"), 'installs');
    my @file  = files_of($stage);
    my %there = map { $_ => 1 } @file;
    my @wanted = (
        "$below/sbin/fpmpoold", "$below/libexec/fpmpool/$host", ($modules =~ s{^/}{}r) . '/mod_fpmpool.so', ($modules =~ s{^/}{}r) . '/mod_fpmpool_php.so',
        (map { "$below/etc/fpmpool/$_" } qw(fpmpoold.conf pool.d/www.conf)),
        map { "$below/share/doc/fpmpool/$_" } qw(README.md CHANGES LICENSE fpmpoold/README.md mod_fpmpool/README.md conf/fpmpool.load
        conf/fpmpool.conf conf/fpmpoold.service conf/fpmpoold.tmpfiles conf/examples/laravel/pool.conf),
    );
    for my $file (@wanted) {
        ok($there{$file}, $file) or next;
        ok((stat "$stage/$file")[2] & 04, '... readable for all, whatever the umask was');
    }
    is_deeply([ grep { !/^\Q$below\E/ && !m{/mod_fpmpool(_php)?\.so$} } @file ], [], 'nothing outside of the prefix but the modules');
    is_deeply([ grep { -T "$stage/$_" && read_file("$stage/$_") =~ /\@[a-z]+dir\@/ } @file ], [], 'every place is filled in');
    my $doc = "$stage/$below/share/doc/fpmpool/conf";
    is(read_file("$doc/fpmpool.load"), "LoadModule fpmpool_module $modules/mod_fpmpool.so\n", 'fpmpool.load names the place of the modules');
    like(read_file("$doc/fpmpool.conf"), qr/^FpmPoolSocketDir \Q$prefix\E\/run\/fpmpool$/m, 'fpmpool.conf that of the sockets');

    my $mine = write_file("$stage/$below/etc/fpmpool/pool.d/www.conf", "; mine\n");
    succeeds(run($tree, "make -s install DESTDIR='$stage'"), 'again');
    is(read_file($mine), "; mine\n", '... keeps a configuration that is there');
    succeeds(run($tree, "make -s uninstall DESTDIR='$stage'"), 'uninstall');
    is_deeply([ files_of($stage) ], [ map { "$below/etc/fpmpool/$_" } qw(fpmpoold.conf pool.d/www.conf) ], '... leaves the configuration alone');
};

# The module's folder is httpd's own: for a run it goes below the prefix too.
my $with_modules = "HTTPD_MODULEDIR='$prefix/modules'";
my @capability;

subtest 'the unit' => sub {
    succeeds(run($tree, "make -s install $with_modules"), 'make install');
    my $file = "$prefix/share/doc/fpmpool/conf/fpmpoold.service";
    my $unit = read_file($file);
    like($unit, qr{^ExecStart=\Q$prefix\E/sbin/fpmpoold -F -y \Q$prefix\E/etc/fpmpool/fpmpoold\.conf$}m, 'starts the installed daemon');
    my ($run_folder) = $unit =~ /^RuntimeDirectory=(.*)$/m;
    like(read_file("$prefix/etc/fpmpool/fpmpoold.conf"), qr{^pid = \Q$prefix\E/run/\Q$run_folder\E/}m, '... whose pid file and control socket have a folder that the unit makes');
    like($unit, qr/^MemoryDenyWriteExecute=no$/m, 'lets PHP\'s JIT work');
    my ($www) = read_file("$prefix/etc/fpmpool/pool.d/www.conf") =~ /^listen = (.*)$/m;
    $www =~ s/\$pool/www/;
    like(read_file("$prefix/share/doc/fpmpool/conf/examples/fpmpoold-www.socket"), qr/^ListenStream=\Q$www\E$/m, 'the example of a socket unit has the address of the shipped pool');
    my $speaks = grep { /getenv\("NOTIFY_SOCKET"\)/ } map { read_file($_) } glob "$tree/fpmpoold/*/*.c";
    is($unit =~ /^Type=notify/m ? 1 : 0, $speaks ? 1 : 0, 'promises sd_notify if and only if the daemon speaks it');
    my ($stop) = $unit =~ /^TimeoutStopSec=(\d+)$/m;
    my ($drain) = read_file("$tree/fpmpoold/conf/keys.c") =~ /"process_control_timeout".*?"(\d+)s"/;
    cmp_ok($stop, '>', $drain, 'waits longer than process_control_timeout');
    @capability = map { split ' ' } $unit =~ /^CapabilityBoundingSet=(.*)$/mg;
    is(scalar @capability, 10, 'ten capabilities, as the README says');
    my ($checker) = grep { -x } map { "$_/systemd-analyze" } split /:/, $ENV{PATH};
    return unless $checker;
    # the socket's service must be found under its name
    my $units = "$dir/units";
    my $socket = 'fpmpoold-www.socket';
    write_file("$units/fpmpoold.service", $unit);
    write_file("$units/$socket", read_file("$prefix/share/doc/fpmpool/conf/examples/$socket"));
    for my $checked ("fpmpoold.service", $socket) {
        my $got = run($units, "SYSTEMD_UNIT_PATH='$units:' '$checker' verify --man=no --recursive-errors=no '$units/$checked'");
        is($got->{text}, '', "systemd-analyze verify has nothing to say about $checked");
        is($got->{code}, 0, '...');
    }
};

subtest 'the installed daemon runs with the installed configuration' => sub {
    plan(skip_all => 'the installed pool has a user of its own: needs root') unless is_root();
    my $run = "$prefix/run/fpmpool";
    File::Path::make_path($run, { mode => 0755 });
    my $got = run('/', "'$prefix/sbin/fpmpoold' -t");
    is($got->{code}, 0, '-t finds its configuration and is content') or diag($got->{text});
    unlike($got->{text}, qr/WARNING|ERROR|no effect/, '... without reservations');
    rename "$tree/build", "$tree/build-away" or die;
    like(run('/', "'$prefix/sbin/fpmpoold' -v")->{text}, qr/^PHP \d+\.\d+\.\d+ \(fpm-fcgi\)/, '-v finds the interpreter host in libexecdir');
    rename "$tree/build-away", "$tree/build" or die;

    # a second pool that needs more of root: another user, chroot, priority, a log of its own
    my $page = site('site', 'a.php' => '<?php echo posix_geteuid(), " ", PHP_SAPI, " ", getcwd();');
    write_file('jail/www/a.php', '<?php echo posix_geteuid(), " ", __FILE__;');
    write_file("$prefix/etc/fpmpool/pool.d/jail.conf", "[jail]\nuser = nobody\nlisten = $run/\$pool.sock\nlisten.owner = www-data\npm = static\n"
        . "pm.max_children = 1\nchroot = $dir/jail\nprocess.priority = -5\nrlimit_files = 4096\naccess.log = $prefix/var/log/jail.log\n");
    my $keep    = join ',', map { '+' . lc(s/^CAP_//r) } @capability;
    my $service = start_service(
        kind => 'daemon', name => 'installed', stop_signal => 'QUIT', is_ours => 1,
        argv => [ 'setpriv', "--bounding-set=-all,$keep", "$prefix/sbin/fpmpoold", '-F', '-O' ],
        listen => { www => "$run/www.sock", jail => "$run/jail.sock" },
    );
    $service->wait_log(qr/ready to handle connections|initialization failed/, 20);
    my %number = (CHOWN => 0, DAC_OVERRIDE => 1, FOWNER => 3, KILL => 5, SETGID => 6, SETUID => 7, NET_BIND_SERVICE => 10,
        SYS_CHROOT => 18, SYS_NICE => 23, SYS_RESOURCE => 24);
    no warnings "portable";
    my ($own, $bound) = map { hex((read_file("/proc/$_/status") =~ /^CapBnd:\s+([0-9a-f]+)$/m)[0]) } $$, $service->pid;
    my $of_unit = 0;
    $of_unit |= 1 << $number{ s/^CAP_//r } for @capability;
    is($bound, $of_unit & $own, 'it has the capabilities of the unit and no other');
    my ($uid, $nobody) = map { scalar getpwnam $_ } qw(www-data nobody);
    is(php_request($service, "$page/a.php")->{body}, "$uid fpm-fcgi $page", 'the shipped www.conf serves');
    is(php_request($service, '/www/a.php', pool => 'jail')->{body}, "$nobody /www/a.php", 'a pool in a chroot too');
    is((stat "$run/www.sock")[2] & 0777, 0660, 'its socket has the mode');
    is((stat "$run/www.sock")[4], $uid, '... and the owner that the file says');
    ok(-s "$run/fpmpoold.pid", 'the pid file is there');
    is(getpriority(0, $service->pool_pid('jail')), -5, 'the priority is set');
    wait_for { -s "$prefix/var/log/jail.log" } 5, 'the access log';
    my $old = $service->pool_pid('jail');
    $service->signal('USR2');
    wait_for { my $now = $service->pool_pid('jail'); $now && $now != $old } 10, 'a new generation';
    is(php_request($service, '/www/a.php', pool => 'jail')->{body}, "$nobody /www/a.php", 'and goes on over a reload');
    is($service->stop('QUIT'), 0, 'ends well');
    is_deeply([ glob "$run/*" ], [], '... and leaves nothing in its run directory');
};

subtest 'make uninstall' => sub {
    unlink "$prefix/etc/fpmpool/pool.d/jail.conf";
    succeeds(run($tree, "make -s uninstall $with_modules"), 'runs');
    is_deeply([ grep { !m{^var/log/} } files_of($prefix) ], [qw(etc/fpmpool/fpmpoold.conf etc/fpmpool/pool.d/www.conf)], 'leaves the configuration and the logs alone');
};

done_testing();
