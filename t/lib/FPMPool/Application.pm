package FPMPool::Application;

# What the tests of applications share: Debian's packages unpacked into the test's folder, the web
# servers that an application is tried behind, a database server, an image.

use strict;
use warnings;
use Compress::Zlib ();
use Exporter 'import';
use File::Basename qw(basename dirname);
use FPMPool::Browser;
use FPMPool::HTTP2;
use FPMPool::Process;
use FPMPool::Test;

our @EXPORT = qw(fronts start_front browser shows packages_folder unpack_packages move_paths age_files start_mariadb png_image);

# Every way to an application: httpd with our module, and the two front ends that know nothing of us.
sub fronts {
    return (
        { name => 'event', mpm => 'event', route => 'fpmpool' },
        { name => 'event, HTTP/2', mpm => 'event', route => 'fpmpool', http2 => 1 },
        { name => 'prefork', mpm => 'prefork', route => 'fpmpool' },
        { name => 'prefork, HTTP/2', mpm => 'prefork', route => 'fpmpool', http2 => 1 },
        { name => 'mod_proxy_fcgi', mpm => 'event', route => 'proxy_fcgi' },
        { name => 'nginx', route => 'nginx' },
    );
}

# Skips (inside a subtest) what this machine cannot do; else starts the server of a front.
# docroot, daemon, pool; conf: more for httpd; nginx: more for nginx's server block.
sub start_front {
    my ($front, %option) = @_;
    plan(skip_all => 'needs nginx (Debian package nginx-light)') if $front->{route} eq 'nginx' && !-x '/usr/sbin/nginx';
    plan(skip_all => 'needs a curl with HTTP/2') if $front->{http2} && !FPMPool::HTTP2::is_available();
    return start_nginx(docroot => $option{docroot}, conf => nginx_block($option{daemon}->listen_address($option{pool})) . ($option{nginx} // ''))
        if $front->{route} eq 'nginx';
    # httpd says that mod_http2 is not made for prefork; clients that begin with HTTP/2 are served all the same
    allow_log(qr/AH10034/) if $front->{http2} && $front->{mpm} eq 'prefork';
    # mod_proxy_fcgi gives a long body without a length no length either; of that php-fpm reads nothing
    my $with_length = $front->{route} eq 'proxy_fcgi' && !$option{daemon}->is_ours ? "SetEnv proxy-sendcl 1\n" : '';
    return start_httpd(
        mpm => $front->{mpm}, docroot => $option{docroot},
        modules => [ $front->{route} eq 'proxy_fcgi' ? qw(proxy proxy_fcgi) : (), $front->{http2} ? 'http2' : () ],
        conf => routes($front, $option{daemon}, $option{pool}) . ($front->{http2} ? "Protocols h2c http/1.1\n" : '') . $with_length . ($option{conf} // ''),
    );
}

# httpd's directives; the module is told when the daemon is php-fpm (FPMPOOL_TEST_DAEMON).
sub routes {
    my ($front, $daemon, $pool) = @_;
    my $text = php_routes($front->{route}, $daemon, $pool);
    $text =~ s{^FpmPoolSocketDir .*$}{"<FpmPoolDefine $pool>\n    FpmPoolServer unix:" . $daemon->listen_address($pool) . " type=fpm\n</FpmPoolDefine>"}me
        unless $daemon->is_ours;
    return $text;
}

# Buffers are large enough that nginx has no reason to tell of temporary files. Debian's fastcgi_params
# makes HTTP_HOST without a port, which is right for port 80 only.
sub nginx_block {
    my ($listen) = @_;
    my $to = $listen =~ m{\A/} ? "unix:$listen" : $listen;
    return <<"NGINX";
        include /etc/nginx/mime.types;
        index index.php;
        client_max_body_size 64m;
        client_body_buffer_size 8m;
        location ~ ^(?<script>.+\\.php)(?<path_info>/.*)?\$ {
            try_files \$script =404;
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME \$document_root\$script;
            fastcgi_param SCRIPT_NAME \$script;
            fastcgi_param PATH_INFO \$path_info;
            fastcgi_param HTTP_HOST \$host:\$server_port;
            fastcgi_buffers 256 16k;
            fastcgi_pass $to;
        }
NGINX
}

sub browser {
    my ($front, $server) = @_;
    return FPMPool::Browser->new(base => $server->url, http2 => $front->{http2});
}

# Does the page match? Names where to look when it does not, instead of printing the page.
sub shows {
    my ($answer, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($title) = $answer->{body} =~ m{<title>(.*?)</title>}s;
    my @said = $answer->{body} =~ m{<div[^>]* (?:class="(?:error|info|notify|notice[^"]*)"|id="(?:login_error|message)")[^>]*>(.*?)</div>}gs;
    return ok($answer->{body} =~ $pattern, $name)
        || diag("status $answer->{status}, title '" . ($title // '') . "', messages: @said; wanted $pattern");
}

# ---- packages -------------------------------------------------------------------------------

# The folder with an application's packages, fetched if need be. FPMPOOL_PACKAGES names another one.
# Skips the test when they are not there and nothing may be downloaded.
sub packages_folder {
    my ($application) = @_;
    require_program('dpkg-deb', 'dpkg');
    return $ENV{FPMPOOL_PACKAGES} if $ENV{FPMPOOL_PACKAGES};
    my $folder = build_path('cache');
    my $script = repository() . '/t/lib/fetch-application.sh';
    if (system('sh', $script, $application, $folder) != 0) {
        plan(skip_all => "FPMPOOL_OFFLINE is set and $application is not in the cache") if $ENV{FPMPOOL_OFFLINE};
        die "cannot fetch $application; run $script $application, or set FPMPOOL_OFFLINE=1 to skip this test\n";
    }
    return $folder;
}

# Unpacks packages by name into $place.
sub unpack_packages {
    my ($folder, $place, @package) = @_;
    for my $package (@package) {
        my ($deb) = glob "$folder/${package}_*.deb" or die "no $package in $folder\n";
        system('dpkg-deb', '-x', $deb, $place) == 0 or die "dpkg-deb -x $deb failed\n";
    }
    return;
}

# Moves the absolute paths of unpacked packages, in links and in PHP files, below $place: those that
# match, in the trees (below $place).
sub move_paths {
    my ($place, $pattern, @tree) = @_;
    my $trees = join ' ', map { "$place/$_" } @tree;
    for my $path (split /\0/, `find $trees -type l -print0`) {
        my $target = readlink $path;
        next unless $target =~ m{\A/(?:$pattern)};
        unlink $path;
        symlink "$place$target", $path or die "$path: $!";
    }
    for my $path (split /\0/, `grep -rlZE --include='*.php' "['\\"]/(usr|etc|var)/" $trees`) {
        my $text = read_file($path);
        write_file($path, $text) if $text =~ s{(['"])/(?=(?:$pattern))}{$1$place/}g;
    }
    return;
}

# Makes everything an hour old: what is as new as the caches made from it is not cached.
sub age_files {
    my ($place) = @_;
    system('find', $place, '-type', 'f', '-exec', 'touch', '-d', '1 hour ago', '{}', '+') == 0 or die "touch below $place\n";
    return;
}

# ---- database -------------------------------------------------------------------------------

# A MariaDB of this test: its data below the test's folder, no network, as the pools' user. Each
# database has a user of the same name with that password. Returns the service; {socket} is its socket.
sub start_mariadb {
    my ($password, @database) = @_;
    require_program('/usr/sbin/mariadbd', 'mariadb-server-core');
    my $dir  = test_dir() . '/mariadb';
    my $user = pool_user();
    mkdir $_, 0755 or die "$_: $!" for $dir, "$dir/data", "$dir/run";
    chown((getpwnam $user)[ 2, 3 ], "$dir/data", "$dir/run") if is_root();
    my @argv = (
        '/usr/sbin/mariadbd', '--no-defaults', is_root() ? "--user=$user" : (), "--datadir=$dir/data",
        qw(--innodb-use-native-aio=0 --innodb-flush-method=nosync --innodb-log-file-size=8M --innodb-buffer-pool-size=32M
            --open-files-limit=1000 --table-open-cache=200 --max-connections=50)
    );
    my $tables = "CREATE DATABASE mysql;\nUSE mysql;\n"
        . join '', map { read_file("/usr/share/mysql/mysql_$_.sql") } qw(system_tables system_tables_data performance_tables);
    open my $saved, '>&', \*STDERR or die $!;
    open STDERR, '>', "$dir/bootstrap.log" or die $!;
    open my $bootstrap, '|-', @argv, '--bootstrap' or die "mariadbd: $!\n";
    print {$bootstrap} $tables;
    my $done = close $bootstrap;
    open STDERR, '>&', $saved or die $!;
    die "mariadbd --bootstrap failed:\n" . read_file("$dir/bootstrap.log") unless $done;

    write_file("$dir/init.sql", join '', map { "CREATE DATABASE $_;\nCREATE USER $_\@localhost IDENTIFIED BY '$password';\nGRANT ALL ON $_.* TO $_\@localhost;\n" } @database);
    my $service = start_service(
        kind => 'mariadb', name => 'mariadb', dir => $dir, socket => "$dir/run/mariadb.sock",
        argv => [ @argv, "--socket=$dir/run/mariadb.sock", "--pid-file=$dir/run/mariadb.pid", '--skip-networking', "--init-file=$dir/init.sql" ],
    );
    $service->wait_log(qr/ready for connections/, 30);
    return $service;
}

# ---- files ----------------------------------------------------------------------------------

# A real image: true colour, noise, so that it does not shrink below a few hundred KiB.
sub png_image {
    my ($width, $height) = @_;
    srand 7;
    my $rows = join '', map { "\0" . join '', map { chr int rand 256 } 1 .. 3 * $width } 1 .. $height;
    my $chunk = sub { pack('N', length $_[1]) . "$_[0]$_[1]" . pack('N', Compress::Zlib::crc32("$_[0]$_[1]")) };
    return "\x89PNG\r\n\x1a\n" . $chunk->(IHDR => pack 'NNCCCCC', $width, $height, 8, 2, 0, 0, 0)
        . $chunk->(IDAT => Compress::Zlib::compress($rows)) . $chunk->(IEND => '');
}

1;
