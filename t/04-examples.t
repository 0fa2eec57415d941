# Every piece of configuration that the documents and conf/ show is accepted by the program that it is
# for, and the pairs in conf/examples serve what they are made for.

use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Path ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root     = repository();
my $fpmpoold = build_path('bin/fpmpoold');
my $httpd    = $ENV{FPMPOOL_HTTPD} || '/usr/sbin/apache2';
my $modules  = $ENV{FPMPOOL_HTTPD_MODULES} || '/usr/lib/apache2/modules';
my $module   = $ENV{FPMPOOL_TEST_MODULE} || build_path('lib/mod_fpmpool.so');
my $dir      = test_dir();
my $user     = pool_user();
my $group    = is_root() ? 'www-data' : (getgrgid $))[0];
my @needed   = qw(authn_core authn_file auth_basic authz_core authz_host authz_user mime dir alias env setenvif headers rewrite macro proxy proxy_fcgi);
my $count    = 0;
File::Path::make_path("$dir/fpmpool", { mode => 0755 });    # which the daemon would make

sub run {
    my (@argv) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT or die;
        exec @argv or die;
    }
    my $output = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? >> 8, $output);
}

# The example with this machine's user and the test's own places: sockets, sites, includes.
sub localize {
    my ($text, $place, $port) = @_;
    $port ||= 1;
    $text =~ s/\@runstatedir\@/$place/g;
    $text =~ s/\@localstatedir\@/$place/g;
    $text =~ s/\@sysconfdir\@/$place/g;
    $text =~ s{/run/fpmpool\b}{$place/fpmpool}g;
    $text =~ s{/etc/fpmpool\b}{$place}g;
    $text =~ s{/srv\b}{$place/srv}g;
    $text =~ s{/var/(?:log/apache2|www/html)}{$place}g;
    $text =~ s/^user = .*$/user = $user/mg;
    $text =~ s/^group = .*$/group = $group/mg;
    $text =~ s/^(listen\.(?:owner|group)) = .*$/"$1 = " . ($1 eq 'listen.owner' ? $user : $group)/mge;
    $text =~ s/\*:80\b/127.0.0.1:$port/g;
    $text =~ s/^LoadModule fpmpool_module .*\n//mg;
    $text =~ s{\bmodules/(mod_fpmpool_php\.so)}{build_path("lib/$1")}ge;
    $text =~ s{\bmodules/(mod_\w+\.so)}{$modules/$1}g;
    return $text;
}

sub accepts_httpd {
    my ($text, $name) = @_;
    my $head = qq{ServerRoot "$dir"\nDefaultRuntimeDir "$dir"\nPidFile "$dir/httpd.pid"\nErrorLog "$dir/error.log"\nServerName 127.0.0.1\nListen 127.0.0.1:1\n};
    $head .= qq{LoadModule ${_}_module "$modules/mod_$_.so"\n} for 'mpm_event', @needed;
    $head .= qq{LoadModule fpmpool_module "$module"\nTypesConfig /etc/mime.types\nFpmPoolSocketDir "$dir/fpmpool"\n};
    my $file = write_file('httpd-' . ++$count . '.conf', $head . localize($text, $dir));
    my ($code, $output) = run($httpd, '-t', '-f', $file);
    # what is said of daemons that do not run here and of document roots that are not there is no fault
    my @line = grep { !/Syntax OK|FPMP0001: .* no socket \S+ yet: |AH00112/ && /\S/ } split /\n/, $output;
    return ok($code == 0 && !@line, $name) || diag("$output\n$text");
}

sub accepts_pool {
    my ($text, $name) = @_;
    $text = localize($text, $dir);
    File::Path::make_path("$dir/log"); # the test opens the logs, as php-fpm's does
    my $head = ($text =~ /^error_log = /m ? '' : "error_log = $dir/log/daemon.log\n") . ($text =~ /^\[/m ? '' : "[a]\n");
    my $file = write_file('pool-' . ++$count . '.conf', $head . $text);
    my ($code, $output) = run($fpmpoold, '-t', '-y', $file);
    my @line = grep { !/test is successful|is ignored when FPM is not running as root/ } split /\n/, $output;
    return ok($code == 0 && !@line, $name) || diag("$output\n$text");
}

sub accepts_nginx {
    my ($text, $name) = @_;
    my $port = free_port();    # its test binds
    my $server = $text =~ /^\s*(?:server|upstream)\s/m ? $text : "server {\nlisten 127.0.0.1:$port;\n$text}\n";
    my $file = write_file('nginx-' . ++$count . '.conf', nginx_frame($server, $dir, $port));
    my ($code, $output) = run('/usr/sbin/nginx', '-t', '-q', '-p', $dir, '-c', $file);
    return ok($code == 0 && $output !~ /\S/, $name) || diag("$output\n$text");
}

sub nginx_frame {
    my ($text, $place, $port) = @_;
    File::Path::make_path("$place/tmp", { mode => 0755 });
    my $temp = join '', map { "    ${_}_temp_path $place/tmp/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi);
    $text = localize($text, $place, $port) =~ s/^(\s*listen) 80;/$1 127.0.0.1:$port;/mr;
    return (is_root() ? "user $user;\n" : '') . "daemon off;\nworker_processes 1;\npid $place/nginx.pid;\nerror_log $place/error.log warn;\n"
        . "events { worker_connections 256; }\nhttp {\n${temp}access_log off;\n$text}\n";
}

my %accepts = (
    apache => \&accepts_httpd,
    ini    => \&accepts_pool,
    nginx  => \&accepts_nginx,
);

for my $document ('README.md', 'mod_fpmpool/README.md', 'fpmpoold/README.md', 't/README.md') {
    subtest "what $document shows" => sub {
        my $text  = read_file("$root/$document");
        my $shown = 0;
        while ($text =~ /^```(\w*)\n(.*?)^```$/msg) {
            my ($kind, $snippet, $line) = ($1, $2, 1 + (substr($text, 0, $-[0]) =~ tr/\n//));
            if ($kind eq '') {    # a picture: configuration would have to say what it is for
                unlike($snippet, qr/^\s*(?:FpmPool\w*|<\w+|SetHandler|\[\w+\]$|pm\b.* = )/m, "line $line, a picture");
            }
            next unless $accepts{$kind};
            next if $kind eq 'nginx' && !-x '/usr/sbin/nginx';
            $shown++;
            $accepts{$kind}->($snippet, "line $line, $kind");
        }
        my %least = ('README.md' => 7, 'mod_fpmpool/README.md' => 9);
        cmp_ok($shown, '>=', $least{$document} || 0, "$shown pieces of configuration");
    };
}

subtest 'what conf/ has' => sub {
    File::Path::make_path("$dir/fpmpool/pool.d", { mode => 0755 });
    my $www = read_file("$root/conf/pool.d/www.conf");
    accepts_pool($www, 'pool.d/www.conf');
    accepts_pool($www =~ s/^;(?=\S)//mgr, '... with everything that is commented out');
    write_file('fpmpool/pool.d/www.conf', localize($www, $dir));
    my $global = read_file("$root/conf/fpmpoold.conf");
    accepts_pool($global, 'fpmpoold.conf, which includes it');
    accepts_pool($global =~ s/^;(?=\S)//mgr, '... with everything that is commented out');
    my $fpmpool = read_file("$root/conf/fpmpool.conf");
    accepts_httpd($fpmpool, 'fpmpool.conf');
    my @comment = $fpmpool =~ /^#\n((?:#     .*\n)+)/mg;
    cmp_ok(scalar @comment, '>=', 3, '... has examples in its comments');
    accepts_httpd("$fpmpool\n" . (s/^#     //mgr), '... example: ' . (/(Fpm\w+ \w+)/)[0]) for @comment;
};

# ---- examples that run ----------------------------------------------------------------------------

sub example { return read_file("$root/conf/examples/$_[0]") }

# A daemon with an example's pools, in a place of its own.
sub start_pools {
    my ($name, $file, @pools) = @_;
    my $place = "$dir/$name";
    File::Path::make_path("$place/fpmpool", "$place/run", { mode => 0755 });
    my $text = "[global]\nerror_log = $place/error.log\n" . localize(example("$name/$file"), $place);
    $text =~ s{\Q$place\E/fpmpool/\$pool\.sock}{$place/run/\$pool.sock}g;
    return ($place, $text);
}

sub pools {
    my ($name, $file, @pools) = @_;
    my ($place, $text) = start_pools($name, $file);
    return start_daemon(name => $name, conf => $text, listen => { map { $_ => "$place/run/$_.sock" } @pools });
}

sub front {
    my ($name, $file) = @_;
    my $place = "$dir/$name";
    my $port  = free_port();
    my $shipped = localize(read_file("$root/conf/fpmpool.conf"), $place) =~ s{^FpmPoolSocketDir .*}{FpmPoolSocketDir $place/run}mr;
    return start_httpd(
        name => "httpd-$name", port => $port, fpmpool => 1, modules => [qw(authz_host macro)], docroot => "$place/srv",
        conf => $shipped . localize(example("$name/" . ($file // 'httpd.conf')), $place, $port),
    );
}

sub files {
    my ($name, %file) = @_;
    for my $path (sort keys %file) {
        my $written = write_file("$dir/$name/srv/$path", $file{$path});
        utime time() - 60, time() - 60, $written;
    }
    return;
}

sub get {
    my ($server, $host, $path, %option) = @_;
    return http($server->url($path), no_host => 1, %option, headers => [ Host => $host, @{ $option{headers} || [] } ]);
}

my $who = '<?php echo ini_get("open_basedir"), " ", ini_get("opcache.memory_consumption"), " ", ini_get("memory_limit");';

subtest 'mass hosting' => sub {
    require_example();
    files('mass-hosting', map { ("$_/www/who.php" => $who, "$_/www/session.php" => '<?php session_start(); echo $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1;') } qw(alice bob));
    for my $site (qw(alice bob)) {
        mkdir "$dir/mass-hosting/srv/$site/tmp" or die;
        chown((getpwnam $user)[ 2, 3 ], "$dir/mass-hosting/srv/$site/tmp") if is_root();
    }
    write_file("$dir/mass-hosting/site.inc", localize(example('mass-hosting/site.inc'), "$dir/mass-hosting") =~ s{/fpmpool/\$pool}{/run/\$pool}r);
    my $daemon = pools('mass-hosting', 'pools.conf', qw(alice bob));
    my $httpd  = front('mass-hosting');
    my $place  = "$dir/mass-hosting/srv";
    like(get($httpd, 'alice.example.org', '/who.php')->{body}, qr{^\Q$place\E/alice 32 (?!256M)}, 'a site has its pool, its folder and its OPcache');
    like(get($httpd, 'bob.example.org', '/who.php')->{body}, qr{^\Q$place\E/bob 32 256M$}, '... and what follows its include');
    is(get($httpd, 'alice.example.org', '/session.php')->{body}, '1', 'sessions go to its own folder');
    ok(glob("$place/alice/tmp/sess_*"), '... as a file');
    write_file("$place/alice/www/.htaccess", "FpmPool bob\n");
    allow_log(qr/FPMP0106: /);
    is(get($httpd, 'alice.example.org', '/who.php')->{status}, 500, 'a tenant cannot choose another pool');
};

subtest 'mass hosting without a line for each site' => sub {
    require_example();
    my @site = map { "$_.example.org" } qw(carol dave);
    files('mass-hosting', map { ("$_/www/who.php" => $who, "$_/www/where.php" => '<?php echo $_SERVER["DOCUMENT_ROOT"];') } @site);
    my $daemon = pools('mass-hosting', 'by-host-pools.conf', @site);
    my $httpd  = front('mass-hosting', 'by-host.conf');
    my $place  = "$dir/mass-hosting/srv";
    for my $site (@site) {
        like(get($httpd, $site, '/who.php')->{body}, qr{^\Q$place\E/$site 32 }, "$site has its pool");
        is(get($httpd, $site, '/where.php')->{body}, "$place/$site/www", '... and its folder');
    }
    write_file("$place/$site[0]/www/.htaccess", "SetEnv SERVER_NAME $site[1]\nSetEnvIf Host . SERVER_NAME=$site[1]\n");
    like(get($httpd, $site[0], '/who.php')->{body}, qr{^\Q$place\E/$site[0] }, 'a tenant stays in his own pool');
    allow_log(qr/FPMP0102: .*gives "erin\.example\.org"/);
    files('mass-hosting', 'erin.example.org/www/who.php' => $who);
    is(get($httpd, 'erin.example.org', '/who.php')->{status}, 503, 'a site whose pool is not there yet');
    is(get($httpd, 'frank.example.org', '/who.php')->{status}, 404, 'a host name without a folder');
};

subtest 'one front controller' => sub {
    require_example();
    files('laravel', 'app/public/index.php' => '<?php echo "front ", $_SERVER["REQUEST_URI"], " ", $_SERVER["SCRIPT_NAME"], " ", ini_get("opcache.validate_timestamps");',
        'app/public/robots.txt' => "User-agent: *\n", 'app/secret.php' => '<?php echo "secret";');
    my $daemon = pools('laravel', 'pool.conf', 'app');
    my $httpd  = front('laravel');
    is(get($httpd, 'app.example.org', '/')->{body}, 'front / /index.php 0', 'the start page');
    is(get($httpd, 'app.example.org', '/orders/7?x=1')->{body}, 'front /orders/7?x=1 /index.php 0', 'what is no file goes to index.php');
    is(get($httpd, 'app.example.org', '/orders', method => 'POST', body => 'a=b')->{body}, 'front /orders /index.php 0', '... a POST too');
    is(get($httpd, 'app.example.org', '/robots.txt')->{body}, "User-agent: *\n", 'a file is httpd\'s');
    is(get($httpd, 'app.example.org', '/export')->{status}, 200, 'a location with another time limit');
};

subtest 'WordPress' => sub {
    require_example();
    my $rules = "RewriteEngine On\nRewriteBase /\nRewriteRule ^index\\.php\$ - [L]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule . /index.php [L]\n";
    files('wordpress', 'blog/index.php' => '<?php echo "post ", $_SERVER["REQUEST_URI"], " ", ini_get("upload_max_filesize");', 'blog/.htaccess' => $rules,
        'blog/wp-login.php' => '<?php echo "login";', 'blog/xmlrpc.php' => '<?php echo "rpc";',
        'blog/wp-content/uploads/2026/evil.php' => '<?php echo "ran";', 'blog/wp-content/uploads/2026/a.txt' => 'text');
    my $daemon = pools('wordpress', 'pool.conf', 'blog');
    my $httpd  = front('wordpress');
    allow_log(qr/AH01630: client denied by server configuration: \S*xmlrpc\.php/);
    is(get($httpd, 'blog.example.org', '/2026/11/hello/')->{body}, 'post /2026/11/hello/ 64M', 'pretty permalinks');
    is(get($httpd, 'blog.example.org', '/wp-login.php')->{body}, 'login', 'other scripts');
    is(get($httpd, 'blog.example.org', '/wp-content/uploads/2026/a.txt')->{body}, 'text', 'an upload is delivered');
    my $evil = get($httpd, 'blog.example.org', '/wp-content/uploads/2026/evil.php');
    is($evil->{status}, 403, 'but never run');
    unlike($evil->{body}, qr/ran|<\?php/, '... nor shown');
    is(get($httpd, 'blog.example.org', '/xmlrpc.php')->{status}, 403, 'xmlrpc.php is closed');
};

subtest 'nginx in front' => sub {
    require_example();
    plan(skip_all => 'nginx is not installed (Debian package nginx-light)') unless -x '/usr/sbin/nginx';
    files('nginx', 'shop/public/index.php' => '<?php echo "shop ", $_SERVER["REQUEST_URI"], " ", getmypid();', 'shop/public/a.txt' => 'text');
    my $daemon = pools('nginx', 'pool.conf', 'shop');
    my $place  = "$dir/nginx";
    my $port   = free_port();
    my $text   = nginx_frame(example('nginx/nginx.conf') =~ s{/run/fpmpool/}{$place/run/}gr, "$dir/nginx-front", $port);
    $text =~ s{\Q$dir\E/nginx-front/srv}{$place/srv}g;
    my $file  = write_file('nginx-front/nginx.conf', $text);
    my $nginx = start_service(kind => 'nginx', name => 'nginx-front', port => $port, conf_file => $file, stop_signal => 'QUIT',
        argv => [ '/usr/sbin/nginx', '-p', "$dir/nginx-front", '-c', $file ], logs => ["$dir/nginx-front/error.log"]);
    wait_for { eval { http_connect(port => $port)->close; 1 } } 20, 'nginx';
    allow_log(qr/keepalive.*upstream/);
    like(get($nginx, 'shop.example.org', '/index.php')->{body}, qr{^shop /index\.php \d+$}, 'a script');
    like(get($nginx, 'shop.example.org', '/pretty/path?a=1')->{body}, qr{^shop /pretty/path\?a=1 \d+$}, 'what is no file');
    is(get($nginx, 'shop.example.org', '/a.txt')->{body}, 'text', 'a file');
    is(get($nginx, 'shop.example.org', '/missing.php')->{status}, 404, 'a script that is not there is nginx\'s 404');
    is(get($nginx, 'shop.example.org', '/fpm-ping')->{body}, 'pong', 'ping');
    like(get($nginx, 'shop.example.org', '/fpm-status?json')->{body}, qr/"pool":"shop"/, 'status');
    my @client = map { http_connect(port => $port, host_header => 'shop.example.org') } 1 .. 12;
    for my $round (1 .. 3) {
        $_->send_request(GET => "/round/$round") for @client;
        is(scalar(grep { $_->read_answer->{body} =~ m{^shop /round/$round \d+$} } @client), 12, "12 clients on 6 workers, round $round");
    }
    my ($kept) = php_peers("$place/run/shop.sock");
    cmp_ok($kept, '>', 6, "nginx keeps more connections ($kept) than there are workers");
};

subtest 'several servers and a fallback' => sub {
    require_example();
    files('failover', 'shop/public/who.php' => '<?php echo "shop ", posix_getppid();', 'shop/public/order.php' => '<?php echo "order ", strlen(file_get_contents("php://input"));',
        'shop/health.php' => '<?php echo "database ok";',
        'shop/maintenance.php' => '<?php http_response_code(503); header("Retry-After: 30"); echo "back soon"; exit;');
    my $shop  = pools('failover', 'pool.conf', 'shop');
    my $other = start_daemon(name => 'failover-other', conf => { shop => { listen => 'tcp' } });
    my ($place, $text) = start_pools('failover', 'maintenance.conf');
    my $spare = start_daemon(name => 'failover-spare', conf => $text =~ s/error\.log/error-spare.log/r, listen => { maintenance => "$place/run/maintenance.sock" });
    my $port  = free_port();
    my $conf  = localize(example('failover/httpd.conf'), $place, $port);
    $conf =~ s{/run/fpmpool\b|\Q$place\E/fpmpool\b}{$place/run}g;
    $conf =~ s{10\.0\.0\.12:9000}{$other->listen_address('shop')}e;
    $conf =~ s{10\.0\.0\.13:9000}{'127.0.0.1:' . free_port()}e;
    my $shipped = localize(read_file("$root/conf/fpmpool.conf"), $place) =~ s{^FpmPoolSocketDir .*}{FpmPoolSocketDir $place/run}mr;
    my $httpd = start_httpd(name => 'httpd-failover', port => $port, fpmpool => 1, modules => [qw(authz_host)], docroot => "$place/srv", conf => $shipped . $conf);
    allow_log(qr/FPMP00(?:64|73|85): pool shop/);
    my $who = sub { return get($httpd, 'shop.example.org', '/who.php') };
    my %seen;
    $seen{ $who->()->{body} }++ for 1 .. 12;
    is(join(' ', sort { $a <=> $b } values %seen), '4 8', 'both servers, by weight');
    $other->stop;
    %seen = ();
    $seen{ $who->()->{body} }++ for 1 .. 12;
    is(join(' ', values %seen), '12', 'one is stopped: the other has all requests');
    is(get($httpd, 'shop.example.org', '/order.php', method => 'POST', body => 'a=b')->{body}, 'order 3', '... orders too');
    $shop->stop;
    my $answer = $who->();
    is("$answer->{status} $answer->{body} $answer->{headers}{'retry-after'}", '503 back soon 30', 'all are down: the maintenance page');
};

done_testing();

# Connections that are open on a unix socket, as the kernel counts them at the server's end.
sub php_peers {
    my ($socket) = @_;
    return scalar grep { /\b03 +\d+ \Q$socket\E$/ } split /\n/, read_file('/proc/net/unix');
}

sub require_example {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    return;
}
