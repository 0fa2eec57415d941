# What a pool's section makes of PHP: ini values and who may change them, environment, extensions of
# scripts, ping and status, names and extensions that PHP code sees, and an OPcache of its own.
# Beside Debian's php-fpm where both must be equal.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

my $root = site('www',
    'eval.php'  => '<?php eval($_POST["code"]);',
    'hello.php' => '<?php echo "hello\n";',
    'a.html'    => '<?php echo "ran\n";',
    'only-a.php' => '<?php echo "a\n";',
    'only-b.php' => '<?php echo "b\n";',
);
$ENV{FPMPOOL_TEST_OUTER} = 'outer';    # in the environment of both masters
my %conf = (
    www => {
        FPMPool::Board::needed_keys(), 'pm.max_children' => 1, 'ping.path' => '/ping', 'ping.response' => 'alive', 'pm.status_path' => '/status',
        'php_value[memory_limit]'        => '77M',
        'php_admin_value[upload_max_filesize]' => '9M',
        'php_flag[short_open_tag]'       => 'on',
        'php_admin_flag[log_errors]'     => 'on',
        'php_value[display_errors]'      => 'stdout',
        'php_admin_value[disable_functions]' => 'gethostname',
        'env[PLAIN]' => 'a b', 'env[FROM]' => '$FPMPOOL_TEST_OUTER', 'env[QUOTED]' => '"x;y=z"', 'env[NOTHING_THERE]' => '$FPMPOOL_TEST_NO_SUCH',
    },
    open => {
        'pm.max_children' => 1, clear_env => 'no', 'security.limit_extensions' => '',
        'php_admin_value[opcache.memory_consumption]' => 32, 'php_admin_value[open_basedir]' => $root,
    },
);
my @servers = start_daemon(conf => \%conf);
if (-x '/usr/sbin/php-fpm8.2') { push @servers, start_php_fpm(conf => \%conf) }
else                           { diag('php8.2-fpm is not installed: nothing to compare with') }
my ($ours, $theirs) = @servers;

sub on_both {
    my ($name, $code) = @_;
    for my $server (@servers) {
        subtest "$name (" . $server->name . ')' => sub { $code->($server) };
    }
    return;
}

sub form { my ($text) = @_; $text =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge; return "code=$text" }

# Runs PHP code in a pool and returns what it printed.
sub php {
    my ($server, $code, %option) = @_;
    return php_request($server, "$root/eval.php", body => form($code), %option)->{body};
}

sub same {
    my ($code, $name, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return pass("$name (nothing to compare with)") unless $theirs;
    my ($mine, $his) = map { php($_, $code, %option) } $ours, $theirs;
    return 1 if ok($mine eq $his, $name);
    my ($cut) = $mine =~ /\n/ ? qr/\n/ : qr/ /;
    my %line = map { $_ => 'php-fpm only: ' } split $cut, $his;
    for (split $cut, $mine) { $line{$_} ? delete $line{$_} : ($line{$_} = 'fpmpoold only: ') }
    diag(map { substr("$line{$_}$_", 0, 200) . "\n" } sort keys %line);
    return 0;
}

on_both 'php_value and php_admin_value' => sub {
    my ($server) = @_;
    is(php($server, 'echo ini_get("memory_limit"), " ", ini_get("upload_max_filesize"), " ", ini_get("short_open_tag"), " ", ini_get("log_errors");'),
        '77M 9M 1 1', 'are set');
    is(php($server, 'var_dump(ini_set("memory_limit", "99M")); echo ini_get("memory_limit");'), "string(3) \"77M\"\n99M", 'a script may change a value');
    is(php($server, 'var_dump(ini_set("log_errors", "0")); echo ini_get("log_errors");'), "bool(false)\n1", 'but not an admin value');
    is(php($server, 'echo ini_get("memory_limit");'), '77M', 'and its change is gone with the request');
    is(php($server, 'var_dump(function_exists("gethostname"));'), "bool(false)\n", 'disable_functions');
};

subtest 'php.ini\'s own disable_functions stay' => sub {
    plan(skip_all => 'php.ini disables no function') unless php($ours, 'echo ini_get("disable_functions");', pool => 'open') =~ /\w/;
    like(php($ours, 'echo ini_get("disable_functions");'), qr/gethostname/, 'the pool adds to them');
    my @of_ini = split /,/, php($ours, 'echo ini_get("disable_functions");', pool => 'open');
    is(php($ours, "var_dump(function_exists('$_'));"), "bool(false)\n", $_) for grep { /\w/ } @of_ini;
};

on_both 'ini_set, locale, time zone, time limit and the like end with a request' => sub {
    my ($server) = @_;
    my $state = 'echo ini_get("precision"), setlocale(LC_ALL, 0), date_default_timezone_get(), ini_get("max_execution_time"), error_reporting(),
        ini_get("error_log"), umask(), mb_internal_encoding(), count(spl_autoload_functions()), ob_get_level(), ini_get("default_charset"), getenv("PUT") === false;';
    my $clean = php($server, $state);
    for my $way ('', 'exit(1);', 'ini_set("display_errors", "0"); undefined_function();', 'throw new Exception("x");',
        'ini_set("memory_limit", "4M"); str_repeat("x", 1 << 26);', 'set_time_limit(1); while (1);') {
        allow_log(qr/eval\.php/);
        php_request($server, "$root/eval.php", body => form('ini_set("precision", "3"); setlocale(LC_ALL, "C.UTF-8"); date_default_timezone_set("Asia/Tokyo");
            error_reporting(0); ini_set("error_log", "/dev/null"); umask(077); mb_internal_encoding("EUC-JP"); putenv("PUT=1"); spl_autoload_register(function ($c) {});
            ini_set("default_charset", "x"); set_time_limit(77);' . $way));
        is(php($server, $state), $clean, $way eq '' ? 'plainly' : "after $way");
    }
};

my @ways = ([ plainly => '' ], [ 'after exit()' => 'exit(0);' ], [ 'after a fatal error' => 'undefined_function();' ],
    [ 'after an exception' => 'throw new Exception("x");' ], [ 'after the memory limit' => 'ini_set("memory_limit", "4M"); str_repeat("x", 1 << 26);' ],
    [ 'after the time limit' => 'set_time_limit(1); while (1);' ], [ 'after fastcgi_finish_request()' => 'fastcgi_finish_request();' ]);

# php-fpm keeps these values for later requests of a worker; here they end with the request.
subtest 'PHP_VALUE and PHP_ADMIN_VALUE end with the request' => sub {
    my $get = 'echo ini_get("memory_limit"), " ", ini_get("html_errors"), " ", ini_get("open_basedir"), " ", var_export(ini_set("html_errors", "1") !== false, true);';
    my ($worker) = $ours->worker_pids;
    my $clean = php($ours, $get);
    is($clean, '77M 0  true', 'before') if $clean =~ /^77M 0/;
    for (@ways) {
        my ($name, $way) = @$_;
        my $inside = php_request($ours, "$root/eval.php", body => form('echo ini_get("memory_limit"), "|", ini_get("html_errors"), "|", var_export(ini_set("html_errors", "0"), true), "|";' . $way),
            params => { PHP_VALUE => "memory_limit = 55M\nprecision=5", PHP_ADMIN_VALUE => "html_errors = On" });
        like($inside->{body} // '', qr/\A55M\|1\|false\|/, "$name: they hold in their request") unless $way =~ /memory_limit/;    # that throws buffered output away
        is(php($ours, $get), $clean, '... and not in the next one');
    }
    is(($ours->worker_pids)[0], $worker, 'all in one worker');
};

subtest 'what the pool says wins over what a request brings' => sub {
    for my $name (qw(PHP_VALUE PHP_ADMIN_VALUE)) {
        is(php($ours, 'echo ini_get("upload_max_filesize");', params => { $name => 'upload_max_filesize = 1G' }), '9M', "$name does not change an admin value");
        is(php($ours, 'echo ini_get("open_basedir"), "|", @file_get_contents("/etc/hostname") === false ? "refused" : "read";', pool => 'open', params => { $name => 'open_basedir = /' }),
            "$root|refused", "$name does not lift open_basedir");
    }
};

subtest '.user.ini' => sub {
    write_file("$root/own/.user.ini", "precision = 9\nupload_max_filesize = 1G\n");
    write_file("$root/own/show.php", '<?php echo ini_get("precision"), " ", ini_get("upload_max_filesize");');
    for my $server (@servers) {
        is(php_request($server, "$root/own/show.php", docroot => $root)->{body}, '9 9M', 'holds in its folder, below the pool\'s admin values: ' . $server->name);
        isnt(php($server, 'echo ini_get("precision");'), '9', 'and not elsewhere: ' . $server->name);
    }
};

on_both 'environment' => sub {
    my ($server) = @_;
    my $get = 'foreach (["PLAIN", "FROM", "QUOTED", "NOTHING_THERE", "PATH", "FPMPOOL_TEST_OUTER", "USER", "HOME"] as $n) echo $n, "=", var_export(getenv($n), true), "/", var_export($_SERVER[$n] ?? null, true), "\n";';
    my ($user, $home) = (getpwnam pool_user())[ 0, 7 ];
    my $expect = "PLAIN='a b'/'a b'\nFROM='outer'/'outer'\nQUOTED='x;y=z'/'x;y=z'\nNOTHING_THERE=''/''\nPATH=false/NULL\nFPMPOOL_TEST_OUTER=false/NULL\n";
    like(php($server, $get), qr{\A\Q$expect\EUSER='\Q$user\E'/'\Q$user\E'\nHOME='\Q$home\E'/'\Q$home\E'\n}, 'env[] and nothing else with clear_env');
    my $path = $ENV{PATH};
    like(php($server, $get, pool => 'open'), qr{^PLAIN=false/NULL\n.*^PATH='\Q$path\E'/'\Q$path\E'\nFPMPOOL_TEST_OUTER='outer'}ms, 'all with clear_env = no');
    like(php($server, 'echo `env`;'), qr/^PLAIN=a b$/m, 'programs that PHP starts have it too') unless php($server, 'echo ini_get("disable_functions");') =~ /shell_exec/;
};

subtest 'programs that PHP starts hold none of our descriptors' => sub {
    my $list = php($ours, 'echo shell_exec("ls -l /proc/self/fd");');
    my @held = grep { /->/ && !/-> (?:pipe:|\/dev\/null|\/proc\/\d+\/fd)/ } split /\n/, $list;
    is_deeply(\@held, [], 'only standard descriptors') or diag($list);
};

on_both 'security.limit_extensions' => sub {
    my ($server) = @_;
    allow_log(qr/Access to the script/);
    is(php_request($server, "$root/a.html")->{status}, 403, '.html is refused by default');
    is(php_request($server, "$root/a.html", pool => 'open')->{body}, "ran\n", 'an empty list allows it');
};

on_both 'ping and status' => sub {
    my ($server) = @_;
    my $ping = php_request($server, "$root/ping", name => '/ping');
    is($ping->{body}, 'alive', 'ping');
    is($ping->{status}, 200, '... 200');
    is($ping->{headers}{'content-type'}, 'text/plain;charset=UTF-8', '... type');
    like($ping->{headers}{'cache-control'}, qr/no-cache/, '... not cached');
    is(php_request($server, "$root/ping", name => '/ping', method => 'HEAD')->{body}, '', '... HEAD');

    FPMPool::Board::wait_idle($server);
    my $text = php_request($server, "$root/status", name => '/status');
    is($text->{headers}{'content-type'}, 'text/plain;charset=UTF-8', 'status: text');
    my %value = $text->{body} =~ /^([a-z ]+):\s+(.*)$/mg;
    is_deeply([ sort keys %value ], [ sort 'pool', 'process manager', 'start time', 'start since', 'accepted conn', 'listen queue', 'max listen queue',
        'listen queue len', 'idle processes', 'active processes', 'total processes', 'max active processes', 'max children reached', 'slow requests' ], '... all fields');
    is($value{pool}, 'www', '... pool');
    is($value{'process manager'}, 'static', '... process manager');
    is($value{'total processes'}, 1, '... total');
    is($value{'active processes'}, 1, '... this request is active');
    is($value{'idle processes'}, 0, '... nothing idle');
    php($server, '1;') for 1 .. 5;
    my $json = php_request($server, "$root/status", name => '/status', query => 'json');
    is($json->{headers}{'content-type'}, 'application/json', 'status: json');
    my ($accepted) = $json->{body} =~ /"accepted conn":(\d+)/;
    is($accepted - $value{'accepted conn'}, 6, '... counts the requests');
    like($json->{body}, qr/\A\{"pool":"www","process manager":"static","start time":\d+,/, '... its shape');

    FPMPool::Board::wait_idle($server);
    my $full = php_request($server, "$root/status", name => '/status', query => 'json&full');
    my ($worker) = $server->worker_pids;
    like($full->{body}, qr/"processes":\[\{"pid":$worker,"state":"Running",/, 'full: the worker') or diag($full->{body});
    like($full->{body}, qr{"request method":"GET","request uri":"\\/status\?json&full"}, '... and its request');
    my ($requests) = $full->{body} =~ /"requests":(\d+)/;
    cmp_ok($requests, '>=', 8, '... its number of requests');
};

subtest 'status has the same shape as php-fpm\'s' => sub {
    plan(skip_all => 'php8.2-fpm is not installed') unless $theirs;
    for my $query ('', 'full', 'json', 'json&full', 'html', 'html&full', 'xml', 'xml&full', 'openmetrics') {
        my ($mine, $his) = map {
            FPMPool::Board::wait_idle($_);
            my $answer = php_request($_, "$root/status", name => '/status', query => $query);
            my $text = "$answer->{head}\n$answer->{body}";
            $text =~ s/\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/TIME/g;
            $text =~ s/\d+(?:\.\d+)?/N/g;
            $text =~ s/( +)N/ N/g;
            $text;
        } $ours, $theirs;
        is($mine, $his, $query eq '' ? 'text' : $query);
    }
};

# May everybody enter all folders above? (A checkout in root's home is not for www-data.)
sub is_reachable {
    my ($path) = @_;
    return 1 if $> != 0;
    for (my $folder = dirname($path); $folder ne '/'; $folder = dirname($folder)) {
        return 0 unless (stat $folder)[2] & 01;
    }
    return 1;
}

subtest 'what PHP code sees' => sub {
    is(php($ours, 'echo PHP_SAPI, " ", php_sapi_name();'), 'fpm-fcgi fpm-fcgi', 'SAPI name');
    is(php($ours, 'echo extension_loaded("pcntl") ? "yes" : "no", function_exists("pcntl_fork") ? " yes" : " no", " ", function_exists("dl") ? "yes" : "no";'), 'no no no', 'no pcntl, no dl()');
    is(php($ours, 'echo extension_loaded("cgi-fcgi") ? "yes" : "no";'), 'yes', 'module cgi-fcgi');
    same('$e = get_loaded_extensions(); sort($e); echo implode(" ", $e);', 'the same extensions');
    same('echo php_ini_loaded_file(), " ", php_ini_scanned_files();', 'the same php.ini and conf.d');
    my $more = '["apache_getenv", "apache_note", "apache_response_headers", "apache_setenv", "fpmpool_send_early_hints"]'; # README.md
    same("\$f = array_diff(get_defined_functions()['internal'], $more); sort(\$f); echo implode(' ', \$f);", 'the same functions');
    is(php($ours, "foreach ($more as \$f) echo (int) function_exists(\$f);"), '11111', '... and those of mod_php and of our own');
    same('$a = ini_get_all(null, false); unset($a["disable_functions"], $a["opcache.lockfile_path"]); ksort($a);
        foreach ($a as $k => $v) echo "$k=", $v, "\n";', 'the same ini values');
    same('echo implode(" ", array_keys(fpm_get_status())), " ", implode(" ", array_keys(fpm_get_status()["procs"][0]));', 'fpm_get_status() has the same keys');
    same('$s = array_keys($_SERVER); sort($s); echo implode(" ", $s);', 'the same names in $_SERVER');
    same('echo implode(",", array_keys(getenv()));', 'the same names in getenv()', pool => 'www');
    same('echo get_cfg_var("cfg_file_path");', 'the configuration file');
    my $host = Cwd::realpath(build_path('bin/fpmpool-php8.2'));
    is(php($ours, 'echo PHP_BINARY;'), is_reachable($host) ? $host : '', 'PHP_BINARY is the host, if the pool may run it');
    like(php($ours, 'ini_set("html_errors", 0); phpinfo(INFO_GENERAL);'), qr{Server API.*FPM/FastCGI}, 'phpinfo: Server API');
    is(php($ours, 'echo posix_geteuid(), " ", posix_getegid();'), join(' ', (getpwnam pool_user())[ 2, 3 ]), 'user and group') if is_root();
};

subtest 'OPcache' => sub {
    my $scripts = 'echo implode("\n", array_keys(opcache_get_status()["scripts"] ?? []));';
    for (1 .. 3) { php_request($ours, "$root/only-a.php"); php_request($ours, "$root/only-b.php", pool => 'open') }
    my ($www, $open) = map { php($ours, $scripts, pool => $_) } qw(www open);
    like($www, qr{/only-a\.php$}m, 'a pool caches its scripts');
    unlike($www, qr{/only-b\.php$}m, '... and does not see another pool\'s');
    like($open, qr{/only-b\.php$}m, 'nor the other way');
    unlike($open, qr{/only-a\.php$}m, '...');
    my $hits = 'echo opcache_get_status(false)["opcache_statistics"]["hits"];';
    my $before = php($ours, $hits);
    php_request($ours, "$root/only-a.php") for 1 .. 5;
    cmp_ok(php($ours, $hits) - $before, '>=', 5, 'requests hit it');
    is(php($ours, '$m = opcache_get_status(false)["memory_usage"]; echo ($m["used_memory"] + $m["free_memory"] + $m["wasted_memory"]) >> 20;', pool => 'open'), '32',
        'its size is the pool\'s own');
    php($ours, 'opcache_reset();', pool => 'open');
    is(php($ours, 'echo opcache_get_status(false)["opcache_statistics"]["manual_restarts"];'), '0', 'a reset reaches only its own pool');
    like(php($ours, $scripts), qr{/only-a\.php$}m, '... and the other keeps its scripts');
};
done_testing();
