# Section 5 beside the living peer: what php.ini and the pool's php_*value lines do to PHP. Settings of the SAPI
# (cgi.*, fastcgi.*), extensions, disabled functions and classes, and what counts only at PHP's start: preload, JIT and
# OPcache's size, which in php-fpm a pool can only say and not have.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/the interpreter said|PHP Warning|PHP Startup|Unable to set php_/);

my $root = site('www',
    'run.php'     => '<?php eval($_SERVER["X_CODE"]);',
    'hello.php'   => '<?php echo "hello\n";',
    'preload.php' => '<?php function preloaded() { return "preloaded"; } class Preloaded {}',
    'parse.php'   => "<?php\nini_set(;",
);
my ($folder) = map { dirname($_) } glob '/usr/lib/php/*/opcache.so';

# Daemons with that php.ini; code(PHP) compares what it says.
sub with_ini {
    my ($ini, $pool, $code, %option) = @_;
    my $file = write_file('ini/php.ini', $ini);
    my %conf = (www => { 'pm.max_children' => 1, %{ $pool || {} } });
    my @pair = map { $_->(conf => \%conf, args => [ '-c', $file, @{ $option{args} || [] } ], env => { PHP_INI_SCAN_DIR => test_dir() . '/none' }) } \&start_daemon, \&start_php_fpm;
    compare_servers(@pair, $root);
    $code->();
    $_->stop('TERM') for @pair;
    return;
}

section('5');

subtest 'settings of the SAPI' => sub {
    my @case = (
        { script => 'hello.php' }, { script => 'missing.php' }, { script => 'parse.php' }, { script => 'hello.php/a', params => { PATH_INFO => '/hello.php/a' } }, { script => 'hello.php', params => { PATH_TRANSLATED => "$root/run.php", X_CODE => 'echo "run";' } },
        (map { { code => $_ } } 'header("HTTP/1.1 404 Gone Away"); echo 1;', 'http_response_code(503);', 'header("Status: 418 Tea"); echo 1;', 'header("HTTP/1.0 200 Fine"); echo 1;', 'ini_set("display_errors", 0); nowhere();', 'error_log("said"); echo 1;', 'trigger_error("warned", E_USER_WARNING); echo 1;', 'header("Location: /x");'),
        (map { { code => "var_dump(ini_get('$_'), ini_set('$_', '1'), ini_get('$_'));" } } qw(cgi.nph cgi.rfc2616_headers cgi.fix_pathinfo cgi.discard_path cgi.force_redirect cgi.redirect_status_env fastcgi.error_header fastcgi.logging fpm.config)),
    );
    for my $ini ('cgi.nph = 1', 'cgi.rfc2616_headers = 1', "cgi.nph = 1\ncgi.rfc2616_headers = 1", 'cgi.fix_pathinfo = 0', "cgi.fix_pathinfo = 0\ncgi.discard_path = 1", 'fastcgi.logging = 0', "fastcgi.error_header = \"HTTP/1.1 550 Broken\"", "fastcgi.error_header = \"Status: 551 Broken\"", "cgi.force_redirect = 0\ncgi.redirect_status_env = X", 'expose_php = 0', "default_mimetype = text/x\ndefault_charset = y") {
        with_ini("$ini\n", undef, sub { same(($ini =~ s/\n/, /gr) . ': ' . ($_->{code} // $_->{script}), %$_) for @case });
    }
};

subtest 'fastcgi.error_header' => sub {
    for my $display (0, 1) {
        for my $buffer (0, 4096) {
            with_ini("fastcgi.error_header = \"HTTP/1.1 550 Broken\"\ndisplay_errors = $display\nlog_errors = 0\noutput_buffering = $buffer\n", undef, sub {
                my $name = "display_errors = $display, output_buffering = $buffer";
                same("$name: parse error", script => 'parse.php');
                same("$name: $_", code => $_) for 'nowhere();', 'echo 1; nowhere();', 'echo 1; flush(); nowhere();', 'exit(255);', 'echo 1; exit(255);', 'throw new Exception("x");', 'http_response_code(404); nowhere();', 'header("Location: /x"); nowhere();', 'register_shutdown_function(function () { nowhere(); });';
            });
        }
    }
};

subtest 'the module and its settings' => sub {
    with_ini("cgi.nph = 1\n", { 'php_value[cgi.rfc2616_headers]' => 1, 'php_admin_value[fastcgi.logging]' => 0 }, sub {
        same($_, code => $_) for 'var_dump(ini_get_all("cgi-fcgi"));', '$e = new ReflectionExtension("cgi-fcgi"); var_dump($e->getName(), $e->getVersion(), array_slice(array_keys($e->getFunctions()), 0, 4), $e->getINIEntries(), $e->isPersistent());',
            'var_dump(PHP_SAPI, php_sapi_name(), PHP_BINARY === "" || is_string(PHP_BINARY), php_ini_scanned_files());',
            'foreach (["fastcgi_finish_request", "fpm_get_status", "apache_request_headers", "getallheaders"] as $f) echo new ReflectionFunction($f);', 'ob_start(); phpinfo(INFO_MODULES); $t = ob_get_clean(); preg_match("~>cgi-fcgi<.*?(?=<h2)~s", $t, $m); echo $m[0] ?? "none";', 'var_dump(function_exists("cli_set_process_title"), function_exists("dl"), ini_get("enable_dl"));';
    });
};

subtest 'extensions' => sub {
    my ($name, $second) = grep { -e "$folder/$_.so" } qw(ctype exif calendar ftp gettext shmop sockets);
    plan(skip_all => "no shared extensions in $folder") unless $second;
    my @code = ("var_dump(extension_loaded('$name'), extension_loaded('$second'), in_array('$name', get_loaded_extensions()));", 'var_dump(ini_get("extension_dir"));');
    for my $case (
        [ 'php.ini', "extension = $name\n" ], [ 'php.ini, with its path', "extension = $folder/$name.so\n" ], [ 'php.ini, two', "extension = $name\nextension=$second.so\n" ], [ 'php.ini, twice the same', "extension = $name\nextension = $name\n" ], [ 'php.ini, missing', "extension = no_such_thing\n" ],
        [ 'the pool', '', { 'php_admin_value[extension]' => $name } ], [ 'the pool, as a value', '', { 'php_value[extension]' => "$name.so" } ], [ '-d', '', undef, [ '-d', "extension=$name" ] ], [ 'a section of php.ini', "[PATH=/nowhere]\nextension = $name\n" ],
    ) {
        my ($where, $ini, $pool, $args) = @$case;
        with_ini($ini, $pool, sub { same("$where: $_", code => $_) for @code }, args => $args);
    }
};

subtest 'disabled functions and classes' => sub {
    my $code = 'foreach (["exec", "system", "gethostname", "strlen"] as $f) echo $f, " ", var_export(function_exists($f), true), "\n"; var_dump(class_exists("ArrayIterator"), class_exists("SplStack"), ini_get("disable_functions"), ini_get("disable_classes"));';
    my $uses = 'try { echo gethostname() === php_uname("n") ? "name" : "other"; } catch (Error $e) { echo get_class($e), ": ", $e->getMessage(); }';
    for my $case (
        [ 'php.ini', "disable_functions = exec, gethostname\n" ], [ 'php.ini, classes', "disable_classes = SplStack\n" ], [ 'the pool', '', { 'php_admin_value[disable_functions]' => '"exec,gethostname"' } ], [ 'the pool, as a value', '', { 'php_value[disable_functions]' => 'exec' } ],
        [ 'the pool, classes', '', { 'php_admin_value[disable_classes]' => 'SplStack' } ], [ 'an unknown one', '', { 'php_admin_value[disable_functions]' => 'nothing_of_this_name' } ], [ '-d', '', undef, [ '-d', 'disable_functions=system' ] ],
    ) {
        my ($where, $ini, $pool, $args) = @$case;
        with_ini($ini, $pool, sub { same("$where: $_", code => $_) for $code, $uses }, args => $args);
    }
    with_ini("disable_functions = exec\n", { 'php_admin_value[disable_functions]' => 'gethostname' }, sub {
        same('php.ini\'s and the pool\'s', code => 'var_dump(function_exists("exec"), function_exists("gethostname"));');
    });
};

# ---- what counts at PHP's start ---------------------------------------------------------------------

subtest 'what a pool says about PHP\'s start is true' => sub {
    my $opcache = -e "$folder/opcache.so" ? "zend_extension = opcache\n" : '';
    my %at_start = (
        'php_admin_value[opcache.preload]' => "$root/preload.php", (is_root() ? ('php_admin_value[opcache.preload_user]' => 'www-data') : ()),
        'php_admin_value[opcache.jit_buffer_size]' => '8M', 'php_admin_value[opcache.jit]' => 'tracing', 'php_admin_value[opcache.memory_consumption]' => 9, 'php_admin_value[opcache.interned_strings_buffer]' => 2,
        'php_admin_value[realpath_cache_size]' => '64K', 'php_admin_value[opcache.max_accelerated_files]' => 400,
    );
    with_ini($opcache, \%at_start, sub {
        my $ignored = 'in php-fpm the value is shown and nothing follows: PHP has started before pools are read';
        same('what is shown', code => 'foreach (["opcache.preload", "opcache.jit", "opcache.jit_buffer_size", "opcache.memory_consumption", "opcache.max_accelerated_files"] as $k) var_dump(ini_get($k));');
        differs('preload', $ignored, qr/^preloaded$/m, qr/^none$/m, code => 'echo function_exists("preloaded") ? preloaded() : "none", "\n";');
        differs('a preloaded class', $ignored, qr/^there$/m, qr/^none$/m, code => 'echo class_exists("Preloaded", false) ? "there" : "none", "\n";');
        differs('JIT', $ignored, qr/^enabled, on, 8$/m, qr/^(?!enabled, on, 8$).*\boff\b/m, code => '$j = opcache_get_status(false)["jit"]; echo $j["enabled"] ? "enabled" : "disabled", ", ", $j["on"] ? "on" : "off", ", ", round($j["buffer_size"] / 1048576), "\n";');
        differs('number of scripts', $ignored, qr/^463$/m, qr/^(?!463$)\d+$/m, code => 'echo opcache_get_status(false)["opcache_statistics"]["max_cached_keys"], "\n";');
    });
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 }, bad => { 'php_admin_value[opcache.preload]' => "$root/nothing.php" } });
    allow_log(qr/\[pool bad\]/);
    is(php_request($daemon, "$root/hello.php")->{body}, "hello\n", 'a pool whose preload script is missing leaves the others alone, where php-fpm would not start');
    $daemon->stop('TERM');
};

report_sections();
done_testing();
