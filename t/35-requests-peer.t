# Requests of every kind, sent to fpmpoold and to Debian's php-fpm in the same run, and their answers
# compared: header block, body, STDERR text, END_REQUEST. The expectation is always the live peer's
# answer. A case that is meant to differ says what each side answers, and why.
# long: 150 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

plan(skip_all => 'needs php-fpm to compare with (Debian package php8.2-fpm)') unless -x '/usr/sbin/php-fpm8.2';

my $root = site('www',
    'run.php'    => '<?php eval($_SERVER["X_CODE"]);',
    'hello.php'  => '<?php echo "hello\n";',
    'server.php' => '<?php $s = $_SERVER; unset($s["REQUEST_TIME"], $s["REQUEST_TIME_FLOAT"]); var_dump($s);',
    'post.php'   => '<?php foreach ($_FILES as &$f) { array_walk_recursive($f, function (&$v, $k) { if (str_starts_with((string) $v, "/tmp/")) $v = strlen($v); }); }
        var_dump($_POST, $_FILES, $_GET, $_COOKIE, $_REQUEST); echo md5(file_get_contents("php://input")), " ", strlen(file_get_contents("php://input"));',
    'read.php'   => '<?php $s = file_get_contents("php://input"); echo strlen($s), " ", md5($s), " ", count($_POST);',
    'pi.php'     => '<?php $o = []; foreach (["SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "PATH_TRANSLATED", "PHP_SELF", "DOCUMENT_ROOT",
        "ORIG_PATH_INFO", "ORIG_SCRIPT_NAME", "ORIG_SCRIPT_FILENAME", "ORIG_PATH_TRANSLATED", "REDIRECT_URL"] as $k)
        if (isset($_SERVER[$k])) echo "$k=$_SERVER[$k]\n"; echo __FILE__, " ", getcwd();',
    'inc/a.php'  => '<?php echo "inc/a ", getcwd(), "\n"; include "b.php"; include "./c.php";',
    'inc/b.php'  => '<?php echo "inc/b\n";',
    'inc/c.php'  => '<?php echo "inc/c\n";',
    'c.php'      => '<?php echo "c\n";',
    'pre.php'    => '<?php echo "before\n";',
    'app.php'    => '<?php echo "after\n";',
    'parse.php'  => "<?php\necho 'a';\nini_set(;",
    'note.txt'   => 'text <?php echo 1;',
    'a.phar.php.txt' => 'no',
    'x.PHP'      => 'upper',
    '.php'       => 'only the extension',
    'empty.php'  => '',
    'plain.php'  => "no tag\n",
    'shebang.php' => "#!/usr/bin/php\n<?php echo 'ran';",
    'sub/index.php' => '<?php echo "index";',
    'body.txt'   => 'a=from+a+file&b=2',
);
chmod 0000, write_file("$root/secret.php", '<?php echo "secret";');
mkdir "$root/dir.php";
symlink 'run.php', "$root/link.php";
symlink 'nowhere', "$root/dangling.php";

my %pool = (FPMPool::Board::needed_keys(), 'pm.max_children' => 1, 'ping.path' => '/ping', 'pm.status_path' => '/status');
my %conf = (
    www    => {%pool},
    nofix  => { %pool, 'php_admin_value[cgi.fix_pathinfo]' => 0 },
    nodisc => { %pool, 'php_admin_value[cgi.fix_pathinfo]' => 0, 'php_admin_value[cgi.discard_path]' => 1 },
    based  => { %pool, 'php_admin_value[open_basedir]' => "$root/sub", 'security.limit_extensions' => '' },
    root   => { %pool, 'php_admin_value[doc_root]' => $root },
    limit  => { %pool, 'php_value[max_execution_time]' => 1 },
    locked => { %pool, 'php_admin_value[max_execution_time]' => 1, 'php_admin_value[disable_functions]' => 'exec, passthru ,shell_exec', 'php_admin_value[disable_classes]' => 'ArrayIterator', 'php_value[disable_functions]' => 'gethostname' },
    odd    => {
        %pool, 'php_value[user_agent]' => '"a;b=c|d&e~f!g(h)i\'j"', 'php_value[sendmail_from]' => "'\\x\\n\\\"q'", 'php_value[error_prepend_string]' => '"$HOME \$x \${y}"', 'php_value[error_append_string]' => '"<b>\\"q\\"</b>"', 'php_value[arg_separator.output]' => '"&amp;"',
        'php_value[highlight.comment]' => '', 'php_value[highlight.default]' => 'on', 'php_value[highlight.html]' => 'null', 'php_value[highlight.keyword]' => '"  two  "', 'php_value[highlight.string]' => '#x', 'php_flag[html_errors]' => 'on', 'php_admin_flag[ignore_repeated_errors]' => 'off', 'php_admin_value[precision]' => '0x10',
        'php_value[default_charset]' => [ 'iso-8859-1', 'iso-8859-15' ], 'php_admin_value[session.name]' => 'ADMIN', 'php_value[session.name]' => 'USER', 'php_value[unknown.setting]' => 'x', 'php_value[memory_limit]' => '1G', 'php_value[session.gc_maxlifetime]' => '77', 'php_value[error_reporting]' => '32759', 'php_admin_value[date.timezone]' => 'Asia/Tokyo',
    },
    fresh  => { %pool, 'pm.max_children' => 4, 'pm.max_requests' => 1 },
);
my $ours   = start_daemon(conf => \%conf);
my $theirs = start_php_fpm(conf => \%conf);

compare_servers($ours, $theirs, $root);
allow_log(qr/ERROR: \[pool odd\] Unable to set php_value 'unknown\.setting'$/);

# A part of the comparison, for a section of it.
sub group { my ($of, $name, $code) = @_; section($of); subtest $name => $code; return }

# ---- methods and bodies ---------------------------------------------------------------------

group '4.4', 'methods' => sub {
    for my $method (qw(GET HEAD POST PUT DELETE OPTIONS PATCH TRACE PROPFIND get head post FOO), '', 'A' x 40, 'GET /x') {
        same("method '$method'", script => 'hello.php', method => $method);
    }
    same('no method', script => 'hello.php', params => { REQUEST_METHOD => undef });
    same('HEAD ends at the first output', method => 'HEAD', code => 'header("X-A: 1"); echo str_repeat("x", 100000); header("X-B: 2"); flush(); echo "more";');
    same('HEAD with output buffers', method => 'HEAD', code => 'ob_start(); echo "x"; header("X-A: 1"); ob_end_flush(); header("X-B: 2");');
    same('an empty file', script => 'empty.php');
    same('no PHP tag', script => 'plain.php');
    same('#! is skipped', script => 'shebang.php');
};

group '4.6', 'bodies' => sub {
    my $long = join '', map { chr(($_ * 7 + int $_ / 251) % 256) } 1 .. 200_001;
    same('a form', script => 'post.php', body => 'a=1&b[]=x&b[]=y&c[k][l]=z&=none&d&e==&f=%41%zz%', query => 'g=1&a=2', params => { HTTP_COOKIE => 'k=v; a=3; bad; q="x y"' });
    same('JSON', script => 'post.php', body => '{"a":1}', type => 'application/json');
    same('a form as PUT', script => 'post.php', body => 'a=1', method => 'PUT');
    same('type in capitals, with parameters', script => 'post.php', body => 'a=1', type => 'Application/X-WWW-Form-Urlencoded ; charset=x');
    same('no type', script => 'post.php', body => 'a=1', params => { CONTENT_TYPE => undef });
    same('empty type', script => 'post.php', body => 'a=1', params => { CONTENT_TYPE => '' });
    same('unknown type', script => 'post.php', body => 'a=1', type => 'x/y');
    same('large', script => 'read.php', body => $long, type => 'x/y');
    same('large form', script => 'read.php', body => 'a=' . 'x' x 300_000);
    same('many variables (max_input_vars)', script => 'read.php', body => join('&', map { "v$_=1" } 1 .. 1100));
    same('nested deeply (max_input_nesting_level)', script => 'read.php', body => 'a' . '[b]' x 70 . '=1');
    same('more than post_max_size', script => 'read.php', body => 'a=' . 'x' x 3000, params => { PHP_VALUE => 'post_max_size = 1K' });
    same('more than post_max_size, no form', script => 'read.php', body => 'x' x 3000, type => 'x/y', params => { PHP_VALUE => 'post_max_size = 1K' });
    same('enable_post_data_reading = 0', script => 'post.php', body => 'a=1', params => { PHP_VALUE => 'enable_post_data_reading = 0' });
    same('read in pieces', body => $long, type => 'x/y', code => '$f = fopen("php://input", "r"); while (!feof($f)) echo strlen(fread($f, 5000)), " "; rewind($f); echo strlen(stream_get_contents($f));');
    same('not read', script => 'hello.php', body => $long, type => 'x/y');
};

group '4.6', 'lengths of bodies' => sub {
    # the client closes its side, or php-fpm would wait for what was announced (4.1)
    for my $length ('2', '0', '4abc', 'abc', '+3', ' 3', '003', '0x5', '3.9', '18446744073709551619') {
        for my $script (qw(read.php post.php)) {
            same("CONTENT_LENGTH '$length', 6 bytes came, $script", script => $script, body => 'abcdef', type => 'x/y', params => { CONTENT_LENGTH => $length }, half_close => 1);
        }
        same("CONTENT_LENGTH '$length' of a form", script => 'post.php', body => 'ab=def', params => { CONTENT_LENGTH => $length }, half_close => 1);
    }
    for my $none (undef, '') {
        my $name = defined $none ? 'an empty CONTENT_LENGTH' : 'no CONTENT_LENGTH';
        my %unknown = (body => 'ab=def', params => { CONTENT_LENGTH => $none });
        differs($name, 'a body of unknown length is read to the end of its stream', qr/^6 /m, qr/^0 /m, script => 'read.php', %unknown, type => 'x/y');
        differs("$name of a form", 'a body of unknown length is read to the end of its stream', qr/\["ab"\]=>\s+string\(3\) "def"/, qr/\A(?!.*def)/s, script => 'post.php', %unknown);
        same("$name and no body", script => 'post.php', method => 'POST', params => { CONTENT_LENGTH => $none });
        same("$name, GET", script => 'read.php', params => { CONTENT_LENGTH => $none });
    }
    same('longer than what came', script => 'read.php', body => 'abcdef', type => 'x/y', params => { CONTENT_LENGTH => 10 }, half_close => 1);
    same('a form longer than what came', script => 'post.php', body => 'ab=def', params => { CONTENT_LENGTH => 10 }, half_close => 1);
    for my $length (-1, -5) {
        same("negative: $length", script => 'read.php', body => 'abcdef', type => 'x/y', params => { CONTENT_LENGTH => $length }, half_close => 1);
    }
};

sub multipart {
    my (@part) = @_;
    return (type => 'multipart/form-data; boundary=XbX', body => join('', map { "--XbX\r\n$_->[0]\r\n\r\n$_->[1]\r\n" } @part) . "--XbX--\r\n");
}
sub field { my ($name, $value) = @_; return [ "Content-Disposition: form-data; name=\"$name\"", $value ] }
sub file  { my ($name, $file, $content, $type) = @_; return [ "Content-Disposition: form-data; name=\"$name\"; filename=\"$file\"\r\nContent-Type: " . ($type // 'image/x'), $content ] }

group '4.6', 'uploads' => sub {
    same('a field and a file', script => 'post.php', multipart(field(a => 1), file(f => 'x y.png', 'content')));
    same('several files of one name', script => 'post.php', multipart(file('f[]' => 'a', 'A'), file('f[]' => 'b', 'BB'), file('g[k]' => 'c', 'C')));
    same('path in the name', script => 'post.php', multipart(file(f => 'C:\\dir\\n.txt', 'A'), file(g => 'd/e/n.txt', 'B'), file(h => '../../x', 'C')));
    same('empty file, no file', script => 'post.php', multipart(file(f => 'e.txt', ''), file(g => '', '')));
    same('larger than upload_max_filesize', script => 'post.php', multipart(file(f => 'l', 'x' x 5000)), params => { PHP_VALUE => 'upload_max_filesize = 1K' });
    same('MAX_FILE_SIZE', script => 'post.php', multipart(field(MAX_FILE_SIZE => 10), file(f => 'l', 'x' x 50)));
    same('too many files', script => 'post.php', multipart(map { file("f$_" => "n$_", $_) } 1 .. 25));
    same('file_uploads = 0', script => 'post.php', multipart(file(f => 'x', 'content')), params => { PHP_ADMIN_VALUE => 'file_uploads = 0' });
    my %cut = multipart(field(a => 1), file(f => 'x', 'y' x 2000));
    same('cut in the file', script => 'post.php', %cut, body => substr($cut{body}, 0, 1000));
    same('no boundary', script => 'post.php', %cut, type => 'multipart/form-data');
    same('empty boundary', script => 'post.php', %cut, type => 'multipart/form-data; boundary=');
    same('quoted boundary', script => 'post.php', %cut, type => 'multipart/form-data; boundary="XbX"');
    same('another boundary', script => 'post.php', %cut, type => 'multipart/form-data; boundary=other');
    same('upload progress without a session', script => 'post.php', multipart(field('PHP_SESSION_UPLOAD_PROGRESS' => 'x'), file(f => 'x', 'content')));
    same('move_uploaded_file and is_uploaded_file', multipart(file(f => 'x', 'content')), code => '$t = $_FILES["f"]["tmp_name"]; var_dump(is_uploaded_file($t), is_uploaded_file("/etc/passwd"), filesize($t), decoct(fileperms($t) & 0777), @move_uploaded_file("/etc/hostname", "/tmp/x"));');
};

group '4.6', 'REQUEST_BODY_FILE' => sub {
    my $size = -s "$root/body.txt";
    my %file = (method => 'POST', params => { REQUEST_BODY_FILE => "$root/body.txt", CONTENT_LENGTH => $size, CONTENT_TYPE => 'application/x-www-form-urlencoded' });
    same('a form', script => 'post.php', %file);
    same('shorter than announced', script => 'read.php', method => 'POST', params => { %{ $file{params} }, CONTENT_LENGTH => 500 });
    same('longer than announced', script => 'read.php', method => 'POST', params => { %{ $file{params} }, CONTENT_LENGTH => 5, CONTENT_TYPE => 'x/y' });
    same('missing', script => 'read.php', method => 'POST', params => { %{ $file{params} }, REQUEST_BODY_FILE => "$root/nothing-here" });
    same('a directory', script => 'read.php', method => 'POST', params => { %{ $file{params} }, REQUEST_BODY_FILE => $root });
    same('empty name', script => 'read.php', method => 'POST', params => { %{ $file{params} }, REQUEST_BODY_FILE => '' });
};

# ---- headers --------------------------------------------------------------------------------

group '4.8', 'response headers' => sub {
    my @code = (
        (map { "http_response_code($_);" } qw(100 102 103 200 201 204 205 206 207 299 300 301 303 304 307 308 400 401 404 405 418 422 429 451 499 500 503 511 599 600 999 1000 0 -1 99)),
        'header("HTTP/1.1 404 Foo");', 'header("HTTP/1.0 404");', 'header("HTTP/1.1 200 OK");', 'header("HTTP/1.1 200 Fine");', 'header("HTTP/2 503 x y z");', 'header("http/1.1 410 lower");', 'header("HTTP/1.1");',
        'header("HTTP/1.1 abc");', 'header("HTTP/1.1  404  two");', 'header("HTTP/1.1 404 Foo"); http_response_code(500);', 'http_response_code(500); header("HTTP/1.1 404 Foo");',
        'header("Status: 404 Nope");', 'header("Status: 200 OK");', 'header("status: 404 lower");', 'header("Status:404");', 'header("Status: 418 Short"); http_response_code(500);', 'header("Status: 404 A"); header("Status: 405 B", false);',
        'header("HTTP/1.1 404 Foo"); header("Status: 405 Bar");', 'header("Statusx: 1"); http_response_code(404);', 'header("Status: "); http_response_code(404);', 'header("Status:"); http_response_code(404);',
        'header("Location: /x");', 'header("Location: /x", true, 301);', 'http_response_code(201); header("Location: /x");', 'header("Location: /x"); http_response_code(200);', 'header("location: /x", true, 303);', 'header("Location: http://h/x"); header_remove("Location");',
        'header("WWW-Authenticate: Basic realm=\"x\"");', 'header("WWW-Authenticate: Digest", true, 402);', 'header("Content-Type: text/plain");', 'header("Content-Type: text/plain; charset=latin1");', 'header("Content-type:text/css");',
        'header("Content-Type: application/json");', 'header("Content-Type: ");', 'header("Content-Type:");', 'header_remove("Content-Type");', 'header("Content-Type: image/png"); ob_start(); echo "x"; ob_end_flush();',
        'header("X-A: 1"); header("X-A: 2");', 'header("X-A: 1"); header("X-A: 2", false);', 'header("X-A: 1"); header("x-a: 2");', 'header("X-Empty:");', 'header("X-Blank: ");', 'header("no colon");', 'header("");', 'header(": x");', 'header(" X: 1");',
        'header("X: a\r\n b");', 'header("X: a\nY: b");', 'header("X: a\0b");', 'header("X: trailing   ");', 'header("X: " . str_repeat("v", 9000));', 'for ($i = 0; $i < 300; $i++) header("X-$i: " . str_repeat("v", 500));',
        'setcookie("a", "b c"); setcookie("d", "e", 0, "/", "", true, true);', 'setrawcookie("a", "b+c"); header_remove("Set-Cookie"); setcookie("z", "1");', 'header_remove();', 'header_remove("X-Powered-By");', 'header("X-Powered-By: me");',
        'header("Content-Length: 4");', 'header("Content-Length: 99");', 'http_response_code(304); header("Content-Type: text/plain"); header("ETag: x");', 'http_response_code(204); header("Content-Type: text/plain");', 'http_response_code(304); header("Content-Typex: 1");',
        'header("HTTP/1.1 304 Not Modified"); header("Last-Modified: x");', 'var_dump(http_response_code(), http_response_code(404), http_response_code());', 'var_dump(headers_list());', 'header_register_callback(function () { header("X-Late: 1"); http_response_code(202); });',
        'echo "x"; flush(); header("X-Late: 1");', 'echo "x"; flush(); var_dump(headers_sent($f, $l), $f === null ? 0 : basename($f), $l, http_response_code(404), @setcookie("a", "b"));', 'header("X: 1"); header_remove("x"); header("Y: 2", true, 0);',
        'ini_set("default_mimetype", "");', 'ini_set("default_charset", "");', 'ini_set("default_charset", "latin1"); header("Content-Type: text/x");', 'ini_set("default_mimetype", "a/b");',
        'header("HTTP/1.1 " . str_repeat("4", 3000));', 'header("HTTP/1.1 404 " . str_repeat("r", 3000));', 'ini_set("cgi.rfc2616_headers", 1); header("HTTP/1.1 404 " . str_repeat("r", 3000));', 'header("Content-Encoding: none"); header("X-Accel-Buffering: no");',
        'ini_set("cgi.rfc2616_headers", 1); header("HTTP/1.1 404 Foo");', 'ini_set("cgi.rfc2616_headers", 1); http_response_code(404);', 'ini_set("cgi.rfc2616_headers", 1); header("HTTP/1.1 200 Yes");', 'ini_set("cgi.rfc2616_headers", 1); header("Status: 404 S"); header("HTTP/1.1 404 Foo");',
        'ini_set("cgi.nph", 1);', 'ini_set("cgi.nph", 1); http_response_code(404);', 'ini_set("cgi.nph", 1); header("HTTP/1.1 200 Yes");', 'ini_set("cgi.nph", 1); ini_set("cgi.rfc2616_headers", 1); header("HTTP/1.1 200 Yes");', 'ini_set("cgi.nph", 1); header("Status: 201 S");', 'ini_set("cgi.nph", 1); ini_set("cgi.rfc2616_headers", 1);',
    );
    same($_, code => "$_ echo 'body';") for @code;
    same("$_ (no output)", code => $_) for 'http_response_code(404);', 'header("Location: /");', 'http_response_code(204);', '';
    same("$_ (POST)", code => $_, method => 'POST') for 'header("Location: /x");', 'header("Location: /x", true, 301);';
    same("expose_php = 0", code => 'echo 1;', params => { PHP_ADMIN_VALUE => 'expose_php = 0' });
    same('session', code => 'session_id("abc"); session_start(["save_path" => sys_get_temp_dir(), "use_cookies" => 1]); $_SESSION["a"] = 1; echo "x"; session_destroy();');
    same('session cache limiter', code => 'session_cache_limiter("public"); session_save_path(sys_get_temp_dir()); session_id("abd"); session_start(); session_destroy(); echo 1;', mask => sub { $_[0] =~ s/^(Expires|Last-Modified):.*$/$1/mgr });
};

# ---- output ---------------------------------------------------------------------------------

group '4.2', 'output' => sub {
    my @code = (
        'echo str_repeat("x", 8192); echo "y";', 'echo str_repeat("x", 65528);', 'echo str_repeat("x", 65529);', 'echo str_repeat("x", 200000);', 'for ($i = 0; $i < 5000; $i++) echo $i, ",";', 'echo "a"; flush(); echo "b"; flush(); echo "c";', 'flush(); echo "x";',
        'ob_start(fn($b) => strtoupper($b)); echo "abc";', 'ob_start(fn($b) => false); echo "abc";', 'ob_start(fn($b) => ""); echo "abc";', 'ob_start(function ($b, $phase) { return "[$phase:$b]"; }, 2); echo "abc"; echo "d"; ob_flush(); echo "e";',
        'ob_start(); echo "a"; ob_start(); echo "b"; exit;', 'ob_start(); echo "thrown away"; ob_end_clean(); echo "kept";', 'ob_start(function ($b) { header("X-In: 1"); return $b; }); echo "x";', 'ob_start(function ($b) { throw new Exception("in callback"); }); echo "x";',
        'ob_start(function ($b) { ob_start(); return "nested"; }); echo "x";', 'ob_start(function ($b) { return $b . error_get_last()["message"]; }); echo $undefined; nowhere();', 'ob_implicit_flush(); echo "a"; echo "b";', 'ob_start("ob_gzhandler"); echo str_repeat("z", 1000);',
        'register_shutdown_function(function () { echo "late"; header("X-Late: 1"); }); echo "early";', 'register_shutdown_function(function () { header("X-Late: 1"); http_response_code(404); });', 'register_shutdown_function(function () { nowhere(); }); echo "x";',
        'register_shutdown_function(function () { exit(5); }); register_shutdown_function(function () { echo "second"; }); echo "x";', 'register_shutdown_function(function () { register_shutdown_function(function () { echo "inner"; }); echo "outer "; });',
        'class D { function __destruct() { echo "gone"; } } $GLOBALS["d"] = new D; echo "here ";', 'class E { function __destruct() { throw new Exception("d"); } } $GLOBALS["d"] = new E; echo "here ";', 'class F { function __destruct() { header("X-D: 1"); } } $GLOBALS["d"] = new F;',
        'file_put_contents("php://output", "via stream"); $f = fopen("php://stdout", "w"); var_dump($f !== false);', 'print "a"; printf("%05d", 7); echo <<<X' . "\nheredoc\nX;", 'readfile("' . "$root/body.txt" . '");', 'fpassthru(fopen("' . "$root/body.txt" . '", "r"));',
        'output_add_rewrite_var("s", "1"); echo "<a href=\"x.php\">y</a>";', 'header("Content-Length: 3"); echo "abc"; exit;', 'echo "\0binary\xff";',
    );
    same($_, code => $_) for @code;
    same('zlib.output_compression', code => 'ini_set("zlib.output_compression", 1); echo str_repeat("z", 3000);', params => { HTTP_ACCEPT_ENCODING => 'gzip' });
    same('output_buffering = 4096', code => 'echo str_repeat("x", 5000); var_dump(ob_get_level());', params => { PHP_VALUE => 'output_buffering = 4096' });
    same('output_buffering = 0, header after output', code => 'echo "x"; header("X-Late: 1"); echo "y";', params => { PHP_VALUE => 'output_buffering = 0' });
    same('implicit_flush', code => 'echo "a"; echo "b";', params => { PHP_VALUE => "implicit_flush = 1\noutput_buffering = 0" });
    same('output_handler', code => 'echo "abc";', params => { PHP_VALUE => 'output_handler = strrev' });
    same('auto_prepend_file and auto_append_file', script => 'hello.php', params => { PHP_VALUE => "auto_prepend_file = $root/pre.php\nauto_append_file = $root/app.php" });
    same('auto_append_file after exit', code => 'echo "x"; exit;', params => { PHP_VALUE => "auto_append_file = $root/app.php" });
    same('auto_prepend_file that is missing', script => 'hello.php', params => { PHP_VALUE => "auto_prepend_file = $root/nothing.php" });
};

group '4.3', 'errors' => sub {
    my @code = (
        'nowhere();', 'echo "before"; nowhere();', 'throw new Exception("x");', 'trigger_error("w", E_USER_WARNING); echo "on";', 'trigger_error("e", E_USER_ERROR); echo "not";', 'echo $undefined;', 'exit(3);', 'exit("text");', 'exit(255);', 'die;',
        'error_log("to the log");', 'error_log("two\nlines");', 'error_log("a"); error_log("b"); echo "x";', 'error_log("sapi", 4);', 'error_log("nul\0byte");', 'error_log(""); echo "x";', 'error_log("\x01\x1b[31m\xff");',
        'ini_set("memory_limit", "4M"); str_repeat("x", 1 << 26);', 'echo "some"; flush(); nowhere();', 'set_error_handler(function () { echo "handled"; return true; }); echo $undefined;', 'set_exception_handler(function ($e) { echo "caught ", $e->getMessage(); }); throw new Exception("y");',
        'register_shutdown_function(function () { var_dump(error_get_last()["message"] ?? null, http_response_code()); }); nowhere();', 'eval("syntax error");', 'eval("class A extends B {}");', 'function f() { f(); } ini_set("memory_limit", "8M"); f();', 'assert(false);', 'syslog(LOG_DEBUG, "x"); echo 1;',
        'http_response_code(418); nowhere();', 'header("X-Kept: 1"); nowhere();', 'header("Location: /x"); nowhere();', 'include "nothing.php"; echo "on";', 'require "nothing.php"; echo "not";', 'exit(nowhere());',
    );
    for my $display ('display_errors = 0', 'display_errors = 1', "display_errors = 1\nhtml_errors = 1", "display_errors = stderr", "display_errors = 0\nlog_errors = 0") {
        same("$_ ($display)", code => $_, params => { PHP_VALUE => $display }) for @code;
    }
    differs('a long message', 'the peer cuts at log_limit, and at 1 KB here', qr/STDERR: PHP message: (?:long ){1000}$/m, qr/STDERR: PHP message: (?:long ){190,204}\w*\.\.\.$/m, code => 'error_log(str_repeat("long ", 1000));');
    same('parse error', script => 'parse.php');
    same('fastcgi.logging = 0', code => 'error_log("quiet"); echo 1;', params => { PHP_ADMIN_VALUE => 'fastcgi.logging = 0' });
    same('fastcgi.error_header', code => 'nowhere();', params => { PHP_ADMIN_VALUE => 'fastcgi.error_header = "HTTP/1.1 550 Broken"' });
    same('fastcgi.error_header, output sent', code => 'echo "x"; flush(); nowhere();', params => { PHP_ADMIN_VALUE => 'fastcgi.error_header = "HTTP/1.1 550 Broken"' });
    same('fastcgi.error_header, exit(255)', code => 'exit(255);', params => { PHP_ADMIN_VALUE => 'fastcgi.error_header = "HTTP/1.1 550 Broken"' });
    same('error_log in a file', code => 'ini_set("error_log", "/dev/null"); error_log("away"); echo 1;');
};

group '3.5', 'time limits' => sub {
    same('set_time_limit', code => 'set_time_limit(1); while (1);');
    same('max_execution_time of the request', code => 'while (1);', params => { PHP_VALUE => 'max_execution_time = 1' });
    same('ini_set', code => 'ini_set("max_execution_time", "1"); echo "x"; while (1);');
    same('in a function', code => 'function busy() { for (;;) { md5("x"); } } set_time_limit(1); register_shutdown_function(function () { echo "shutdown ", connection_status(); }); busy();');
    same('extended again and again', code => 'set_time_limit(1); $e = hrtime(true) + 1500000000; while (hrtime(true) < $e) set_time_limit(1); echo "done";');
    same('ini_get shows what is set', code => 'echo ini_get("max_execution_time"), " ", ini_get("max_input_time"); var_dump(set_time_limit(5)); echo ini_get("max_execution_time");');
    # the pool's own limit, for which ours has no timer of its own in each request
    my $burn = 'function burn($ms) { $u = fn () => ($r = getrusage())["ru_utime.tv_sec"] * 1000 + $r["ru_utime.tv_usec"] / 1000 + $r["ru_stime.tv_sec"] * 1000 + $r["ru_stime.tv_usec"] / 1000; $e = $u() + $ms; while ($u() < $e); } ';
    for my $pool (qw(limit locked)) {
        same("$pool: a busy loop", pool => $pool, code => 'while (1);');
        same("$pool: in a function, with a shutdown function", pool => $pool, code => 'register_shutdown_function(function () { echo "shutdown ", connection_status(); }); function busy() { for (;;) md5("x"); } busy();');
        same("$pool: holds again in the next request", pool => $pool, code => 'while (1);');
        same("$pool: set_time_limit(0)", pool => $pool, code => "${burn}var_dump(set_time_limit(0)); burn(1300); echo 'done';");
        next if $pool eq 'locked';    # the rest is the same
        same("$pool: not added up over requests, $_", pool => $pool, code => "${burn}burn(600); echo 'done';") for 1 .. 3;
        same("$pool: set_time_limit(3)", pool => $pool, code => "${burn}var_dump(set_time_limit(3)); burn(1300); echo 'done', ini_get('max_execution_time');");
        same("$pool: begins again with set_time_limit", pool => $pool, code => "${burn}burn(700); set_time_limit(1); burn(700); echo 'done';");
        same("$pool: sleeping does not count", pool => $pool, code => 'usleep(1200000); echo "slept";');
        same("$pool: a loop in a shutdown function", pool => $pool, code => 'register_shutdown_function(function () { while (1); }); echo "x";');
        same("$pool: a loop in a destructor", pool => $pool, code => 'class L { function __destruct() { while (1); } } $GLOBALS["l"] = new L; echo "x";');
        same("$pool: a loop in an output callback", pool => $pool, code => 'ob_start(function ($b) { while (1); }); echo "x";');
        same("$pool: behind fastcgi_finish_request", pool => $pool, note => 1, code => 'ignore_user_abort(true); fastcgi_finish_request(); register_shutdown_function(function () { file_put_contents($_SERVER["X_NOTE"], connection_status()); }); while (1);');
        same("$pool: caught by nobody", pool => $pool, code => 'try { while (1); } catch (Throwable $t) { echo "caught"; } finally { echo "finally"; }');
        same("$pool: and all is well", pool => $pool, script => 'hello.php');
    }
    same('sleeping does not count', code => 'set_time_limit(1); usleep(1200000); echo "slept";');
};

# ---- superglobals ---------------------------------------------------------------------------

group '4.6', '$_SERVER and its kin' => sub {
    my $environment = sub { my ($text) = @_; $text =~ s/\Q$ours->{dir}\E|\Q$theirs->{dir}\E/DIR/g; $text };
    my @set = (
        {}, { HTTPS => 'on', HTTP_X_A => '1', 'a.b' => 'dot', 'a b' => 'blank', 'c[d]' => 'array', 'c[e]' => 'array', ' lead' => 'x', 'e=f' => 'y', EMPTY => '', '' => 'noname' },
        { HTTP_PROXY => 'http://evil/', HTTP_HOST => 'a', http_host => 'b' }, { REMOTE_USER => 'u', AUTH_TYPE => 'Basic', REDIRECT_STATUS => '200', REDIRECT_X => 'y', UNIQUE_ID => 'z' }, { HTTP_AUTHORIZATION => 'Basic YTpi' },
        { PHP_SELF => 'mine', argv => 'x', argc => 'y', REQUEST_TIME => 'never', PHP_AUTH_USER => 'forged', FCGI_ROLE => 'forged', PATH => '/nowhere', USER => 'someone', HOME => '/nowhere' }, { "utf\xc3\xa9" => "\xc3\xa9", BIN => join('', map { chr } 0 .. 255) },
        { LONG => 'x' x 60000 }, { map { ("N$_" => $_) } 1 .. 300 }, { PATH_INFO => '/a/b', PATH_TRANSLATED => '/t' }, { 'GLOBALS' => 'x', 'this' => 'y', '_SERVER' => 'z', 'x[' => '1', '[y' => '2', 'z]' => '3' },
    );
    same('$_SERVER ' . join(',', map { substr $_, 0, 12 } (sort keys %$_)[ 0 .. ((keys %$_) > 6 ? 5 : keys(%$_) - 1) ]), script => 'server.php', params => $_, mask => $environment) for @set;
    differs('a pair that needs more than one record', '7.16: the peer closes the connection', qr/\["LONG"\]=>\s+string\(70000\)/, qr/no END_REQUEST/, script => 'server.php', params => { LONG => 'x' x 70000 });
    same("query '$_'", script => 'server.php', query => $_) for 'a=1', 'a+b', 'a%20b', '?', '';
    same('role AUTHORIZER', script => 'server.php', role => 2);
    same('role FILTER', script => 'server.php', role => 3);
    my $twice = FPMPool::Client::request_params(script => "$root/server.php");
    same('a name twice', bytes => begin_record(1) . params_records(1, [ @$twice, [ X => 1 ], [ Y => 2 ], [ X => 3 ] ]) . stdin_records(1, ''));
    same("register_argc_argv, query '$_'", code => 'var_dump($argv ?? null, $argc ?? null, $_SERVER["argv"] ?? null, $_SERVER["argc"] ?? null);', query => $_, params => { PHP_VALUE => 'register_argc_argv = 1' }) for 'a+b+c', '', 'a=1&b', 'x';
    same('auto_globals_jit = 0', script => 'server.php', params => { PHP_VALUE => 'auto_globals_jit = 0' });
    same("variables_order $_", code => 'unset($_SERVER["REQUEST_TIME"], $_SERVER["REQUEST_TIME_FLOAT"], $_ENV["REQUEST_TIME"]); var_dump($_ENV, $_SERVER["SCRIPT_NAME"] ?? null, $_GET, $_COOKIE);', query => 'a=1', params => { PHP_VALUE => "variables_order = $_", HTTP_COOKIE => 'c=1' }, mask => sub { $_[0] =~ s/float\([\d.]+\)/float/r }) for qw(EGPCS GPCS ES S);
    same('without S', code => 'echo 1;', script => 'hello.php', params => { PHP_VALUE => 'variables_order = GPC' });
    my @code = (
        'var_dump(getenv("SCRIPT_NAME"), getenv("SCRIPT_NAME", true), getenv("PATH"), getenv("HTTP_PROXY"), getenv("HTTP_HOST"), getenv("nothing"), getenv("USER"), getenv("HOME"));', '$e = getenv(); unset($e["HTTP_PROXY"]); var_dump($e);', 'putenv("X_NEW=1"); var_dump(getenv("X_NEW"), getenv("X_NEW", true), getenv()["X_NEW"] ?? null); putenv("SCRIPT_NAME=z"); var_dump(getenv("SCRIPT_NAME"), getenv("SCRIPT_NAME", true));',
        'var_dump(filter_input(INPUT_SERVER, "SCRIPT_NAME"), filter_input(INPUT_SERVER, "HTTP_HOST"), filter_has_var(INPUT_SERVER, "X_CODE"), filter_input(INPUT_ENV, "SCRIPT_NAME"), filter_input(INPUT_GET, "a"));', '$f = filter_input_array(INPUT_SERVER) ?: []; unset($f["HTTP_PROXY"]); var_dump(array_keys($f));',
        'var_dump(getallheaders(), apache_request_headers() === getallheaders());', 'var_dump(getopt("a:"));', 'var_dump(php_sapi_name(), PHP_SAPI, PHP_BINARY === "" , $_SERVER["argv"] ?? null, defined("STDIN"), defined("STDERR"));', 'var_dump(getmyuid() > 0, get_current_user(), getmyinode() > 0);',
        'var_dump(ini_get("display_errors"), ini_get("html_errors"), ini_get("implicit_flush"), ini_get("register_argc_argv"), ini_get("max_execution_time"), ini_get("error_log"));', 'var_dump(fastcgi_finish_request(1));', 'var_dump((new ReflectionFunction("fastcgi_finish_request"))->__toString(), (new ReflectionFunction("getallheaders"))->__toString(), (new ReflectionFunction("apache_request_headers"))->__toString(), (new ReflectionFunction("fpm_get_status"))->__toString());',
        '$r = new ReflectionExtension("cgi-fcgi"); var_dump($r->getVersion(), array_slice(array_keys($r->getFunctions()), 0, 4), $r->getINIEntries(), $r->getDependencies(), $r->getClassNames());', 'var_dump(function_exists("dl"), function_exists("pcntl_fork"), function_exists("cli_set_process_title"), function_exists("chroot"));',
        'ini_set("html_errors", 0); phpinfo(INFO_VARIABLES);', 'ob_start(); phpinfo(INFO_MODULES); preg_match("~cgi-fcgi.*?<h2~s", ob_get_clean(), $m); echo $m[0] ?? "none";', 'ob_start(); phpinfo(INFO_ENVIRONMENT); echo strip_tags(ob_get_clean());',
        'var_dump(headers_list(), http_response_code(), connection_status(), ignore_user_abort(), ob_get_level());', 'var_dump(gethostname() !== false, php_uname("s"), PHP_OS);', 'var_dump(ini_get("cgi.fix_pathinfo"), ini_set("cgi.fix_pathinfo", "0"), ini_set("fastcgi.logging", "0"), ini_set("cgi.nph", "1"));', 'echo implode(" ", get_loaded_extensions(true));',
        'foreach (ini_get_all("cgi-fcgi") as $k => $v) echo $k, " ", json_encode($v), "\n";', 'var_dump(stream_get_transports(), stream_get_wrappers());', 'var_dump(posix_getpgid(0) > 1, posix_isatty(0), posix_isatty(1));', 'echo decoct(umask());', 'var_dump(get_include_path(), sys_get_temp_dir());', 'echo implode(" ", hash_algos());',
    );
    same($_, code => $_, query => 'a=5', params => { HTTP_X_Y => 'v', HTTP_ => 'e', HTTP__D => 'f', HTTP_a_b => 'g', HTTP_PROXY => 'p', CONTENT_TYPE => '', CONTENT_LENGTH => '', HTTPX => 'h', HTTP_1_2 => 'n', HTTP_5 => 'five' }, mask => sub { $_[0] =~ s/(REQUEST_TIME\S*\D*?)[\d.]+/$1 N/gr =~ s/^\$_SERVER\['REQUEST_TIME.*$//mgr }) for @code;
};

group '4.6', 'httpoxy' => sub {
    my %proxy = (params => { HTTP_PROXY => 'http://evil/' });
    same('not in $_SERVER and getenv()', code => 'var_dump($_SERVER["HTTP_PROXY"] ?? null, getenv("HTTP_PROXY"), $_ENV["HTTP_PROXY"] ?? null, getallheaders()["Proxy"]);', %proxy);
    differs($_->[0], 'the peer forgets to hide it here', qr/^NULL$/m, qr/evil/, code => $_->[1], %proxy)
        for [ 'in the list of getenv()' => 'var_dump(getenv()["HTTP_PROXY"] ?? null);' ], [ 'in INPUT_SERVER' => 'var_dump(filter_input(INPUT_SERVER, "HTTP_PROXY"));' ];
};

group '4.6', 'authentication' => sub {
    for my $value ('Basic YWxpY2U6czNjcmV0', 'basic YWxpY2U6czNjcmV0', 'Basic YWxpY2U=', 'Basic YTpiOmM=', 'Basic Og==', 'Basic', 'Basic ', 'Basic !!!!', 'Basic YWxpY2U6czNjcmV0 x', 'Digest username="u", realm="r"', 'digest x', 'Digest', 'Bearer abc', '', 'Basic ' . 'YTpi' x 300) {
        same("'" . substr($value, 0, 30) . "'", code => 'foreach (["PHP_AUTH_USER", "PHP_AUTH_PW", "PHP_AUTH_DIGEST", "REMOTE_USER", "AUTH_TYPE", "HTTP_AUTHORIZATION"] as $n) { echo $n, "="; var_dump($_SERVER[$n] ?? null); }', params => { HTTP_AUTHORIZATION => $value, REMOTE_USER => 'web', AUTH_TYPE => 'X' });
    }
    same('and nothing of it stays', code => 'var_dump($_SERVER["PHP_AUTH_USER"] ?? null);');
};

# ---- ini of a request -----------------------------------------------------------------------

group '4.6', 'PHP_VALUE and PHP_ADMIN_VALUE' => sub {
    my $get = 'var_dump(ini_get("precision"), ini_get("memory_limit"), ini_get("user_agent"), ini_get("open_basedir"));';
    # harmless ones, because php-fpm keeps them for the next request
    for my $text ('precision = 9', "precision=9\r\nuser_agent=x", 'precision = "8"', "; comment\nprecision = 7", 'user_agent = "a b;c=d"', "user_agent = 'raw'", 'user_agent = a;b', "precision = 6\nprecision = 5", 'user_agent = ${HOME}', 'user_agent = E_ALL', 'user_agent = on', 'user_agent = off', 'user_agent = null', 'user_agent =',
        '[section]', "[section]\nprecision = 4", 'user_agent[] = x', 'user_agent[k] = x', 'no_such_setting = 1', '= 5', 'precision', 'user_agent', 'precision = (', "precision = 3\nprecision = (", '', "\n", 'USER_AGENT = upper', 'allow_url_include = 1', 'error_log = /dev/null' . "\n" . 'precision = 14') {
        for my $name (qw(PHP_VALUE PHP_ADMIN_VALUE)) {
            next if $name eq 'PHP_ADMIN_VALUE' && $text =~ /user_agent|precision|error_log|USER_AGENT|allow_url/;
            same("$name '$text'", code => $get, params => { $name => $text, HOME => '/h' });
        }
    }
    for my $text ('disable_functions = strlen', 'extension = nothing.so') {
        differs($text, 'it could not be undone at the end of the request', qr/unable to set '\w+'/, qr/STDERR: (?!.*unable to set)/, code => 'echo 1;', params => { PHP_VALUE => $text });
    }
    same('without a script', params => { PHP_VALUE => '[x]', SCRIPT_FILENAME => "$root/nothing.php" });
};

group '1.7', 'values of the pool' => sub {
    for my $round (1, 2) {
        same("as PHP code sees them, round $round", pool => 'odd', code => 'foreach (["user_agent", "sendmail_from", "error_prepend_string", "error_append_string", "arg_separator.output", "highlight.comment", "highlight.default", "highlight.html", "highlight.keyword", "highlight.string", "html_errors", "ignore_repeated_errors", "precision", "default_charset",
            "session.name", "unknown.setting", "memory_limit", "session.gc_maxlifetime", "error_reporting", "date.timezone"] as $n) { echo $n, " "; var_dump(ini_get($n)); }');
        same("who may change them, round $round", pool => 'odd', code => 'foreach (["user_agent" => "x", "session.name" => "Y", "precision" => 3, "html_errors" => 0, "date.timezone" => "UTC", "memory_limit" => "2G", "ignore_repeated_errors" => 5] as $n => $v) { echo $n; var_dump(ini_set($n, $v), ini_get($n)); ini_restore($n); var_dump(ini_get($n)); }');
        same("and what follows from them, round $round", pool => 'odd', code => 'echo http_build_query(["a" => 1, "b" => 2]), " ", date_default_timezone_get(), " ", 0.1 + 0.2, " ", session_name(), " ", error_reporting(); echo $undefined["x"];');
    }
};

group '1.7', 'disabled functions and classes' => sub {
    same($_, pool => 'locked', code => $_) for 'var_dump(function_exists("exec"), function_exists("passthru"), function_exists("shell_exec"), function_exists("system"), function_exists("gethostname"));', 'exec("true");', 'echo `true`;', 'new ArrayIterator([]); echo 1;',
        'var_dump(set_time_limit(9), ini_set("max_execution_time", 9), ini_get("max_execution_time"));', 'echo ini_get("disable_classes");';
};

# ---- scripts and paths ----------------------------------------------------------------------

group '4.4', 'which file runs' => sub {
    my $other = site('other', map { $_ => "<?php echo 'other';" } qw(hello.php note.txt sub/index.php run.php));
    symlink 'run.php', "$other/link.php";
    # files of its own: php-fpm runs what OPcache has from another pool, without asking open_basedir
    for my $file (qw(hello.php sub/index.php link.php sub/../hello.php hello.php/x sub missing.php note.txt)) {
        same("open_basedir: $file", pool => 'based', params => { SCRIPT_FILENAME => "$other/$file", SCRIPT_NAME => '/x.php', DOCUMENT_ROOT => $other });
    }
    same('open_basedir: within', pool => 'based', script => 'sub/index.php');
    for my $pool (qw(www nofix nodisc root)) {
        for my $file ("$root/hello.php", "$root/missing.php", "$root/note.txt", "$root/a.phar.php.txt", "$root/x.PHP", "$root/.php", "$root/sub", "$root/sub/", "$root/dir.php", "$root/dir.php/", "$root/secret.php", "$root/link.php", "$root/dangling.php", "$root/sub/../hello.php", "$root/sub/..", '..', "$root/./hello.php",
            "$root//hello.php", "$root/hello.php/", "$root/hello.php/x", "$root/hello.php/x/", "$root/hello.php/../hello.php", "$root/missing.php/x", "$root/note.txt/x.php", "$root/sub/index.php", 'hello.php', 'sub/index.php', '', '/', '/etc/passwd', "$root/hello.php\0x.php", "$root/hello.php ", "$root/..hello.php", "$root/...php", "$root/" . 'd/' x 900 . 'x.php', "$root/hello.php\\x", "$root/a%20b.php") {
            my $label = $file =~ s/\Q$root\E/W/r;
            same("$pool: $label", pool => $pool, params => { X_CODE => 'echo "ran";', SCRIPT_FILENAME => $file, SCRIPT_NAME => '/x.php', DOCUMENT_ROOT => $root });
        }
    }
    same('no SCRIPT_FILENAME', params => { SCRIPT_FILENAME => undef });
    same('PATH_TRANSLATED only', params => { SCRIPT_FILENAME => undef, PATH_TRANSLATED => "$root/hello.php" });
    same('no SCRIPT_NAME', script => 'pi.php', params => { SCRIPT_NAME => undef, PATH_INFO => '/a' });
    same('nothing but a method', bytes => begin_record(1) . params_records(1, [ [ REQUEST_METHOD => 'GET' ] ]) . stdin_records(1, ''));
    same('nothing', bytes => begin_record(1) . params_records(1, []) . stdin_records(1, ''));
};

group '4.5', 'path parameters' => sub {
    my @vector = (
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b' }, { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php/a/b' }, { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php/a/b', PATH_INFO => '/pi.php/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b' }, { SCRIPT_FILENAME => 'proxy:fcgi://h:9000/w/pi.php/a/b?x', SCRIPT_NAME => '/pi.php/a/b' }, { SCRIPT_FILENAME => 'proxy:balancer://lb/w/pi.php/a%20b', SCRIPT_NAME => '/pi.php/a b' },
        { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_INFO => '/pi.php/a', PATH_TRANSLATED => '/w/pi.php/a', REDIRECT_URL => '/pi.php/a' },
        { SCRIPT_FILENAME => '/w/pi.php/', SCRIPT_NAME => '/pi.php/' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b' }, { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php', PATH_INFO => '/b' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/other.php', PATH_INFO => '/pi.php/a' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a', PATH_TRANSLATED => '/w/a' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a', PATH_TRANSLATED => '/w/a' }, { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '' }, { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', REDIRECT_URL => '/nice' }, { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', REDIRECT_URL => '/nice', PATH_INFO => '/a', PATH_TRANSLATED => '/w/pi.php' }, { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', REDIRECT_URL => '/nice', PATH_INFO => '/a', PATH_TRANSLATED => '/w/a' }, { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', REDIRECT_URL => '/pi.php', PATH_TRANSLATED => '/w/hello.php' },
        { SCRIPT_FILENAME => 'proxy:fcgi://h:9000/w/pi.php', SCRIPT_NAME => '/pi.php' }, { SCRIPT_FILENAME => 'proxy:fcgi://h:9000/w/pi.php?q=/x', SCRIPT_NAME => '/pi.php' }, { SCRIPT_FILENAME => 'proxy:fcgi://h:9000/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a' }, { SCRIPT_FILENAME => 'Proxy:FCGI://h/w/pi.php/a', SCRIPT_NAME => '/pi.php/a', REDIRECT_URL => '/n', PATH_TRANSLATED => '/w/n' },
        { SCRIPT_FILENAME => 'proxy:fcgi://h:9000', SCRIPT_NAME => '/pi.php' }, { SCRIPT_FILENAME => 'proxy:fcgi://', SCRIPT_NAME => '/pi.php' }, { SCRIPT_FILENAME => 'proxy:unix:/s.sock|fcgi://localhost/w/pi.php', SCRIPT_NAME => '/pi.php' }, { SCRIPT_FILENAME => 'proxy:balancer://lb/w/pi.php/a+b', SCRIPT_NAME => '/pi.php/a b' }, { SCRIPT_FILENAME => 'proxy:balancer://lb/w/pi.php/a%2', SCRIPT_NAME => '/pi.php/a%2' }, { SCRIPT_FILENAME => 'proxy:balancer://lb/w/pi.php/%61%zz', SCRIPT_NAME => '/pi.php/a%zz' }, { SCRIPT_FILENAME => 'proxy:fcgi://h/w/pi.php/a', SCRIPT_NAME => 'a' }, { SCRIPT_FILENAME => 'proxy:fcgi://h/w/pi.php/a', SCRIPT_NAME => '/a' },
        { SERVER_SOFTWARE => 'Microsoft-IIS/10.0', SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/pi.php/a' }, { SERVER_SOFTWARE => 'Microsoft-IIS/10.0', SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/pi.php' }, { SERVER_SOFTWARE => 'Microsoft-IIS/10.0', SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/other' }, { SERVER_SOFTWARE => 'Microsoft-IIS/10.0', SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/pi.php/a' }, { SERVER_SOFTWARE => 'Microsoft-IIS/10.0', SCRIPT_FILENAME => '/w/pi.php', PATH_INFO => '/pi.php' },
        { SCRIPT_FILENAME => undef, PATH_TRANSLATED => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a' }, { SCRIPT_FILENAME => undef, PATH_TRANSLATED => '/w/pi.php', SCRIPT_NAME => '/pi.php', REDIRECT_URL => '/r' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php/a', DOCUMENT_ROOT => undef }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/pi.php/a', DOCUMENT_ROOT => undef }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b', DOCUMENT_ROOT => '/w/' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => '/pi.php', DOCUMENT_ROOT => '' }, { SCRIPT_FILENAME => '/w/pi.php/a', SCRIPT_NAME => undef, DOCUMENT_ROOT => undef },
        { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_TRANSLATED => '/w/pi.php', REDIRECT_URL => '/pi.php' }, { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_INFO => '/pi.php', PATH_TRANSLATED => '/w/missing.php', REDIRECT_URL => '/missing.php' }, { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_TRANSLATED => '/w/pi.php/x/y', REDIRECT_URL => '/pi.php/x/y', PATH_INFO => '/x/y' }, { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_TRANSLATED => '/w/pi.php/x/y', REDIRECT_URL => '/pi.php/x/y' }, { SCRIPT_FILENAME => '/cgi/php', PATH_TRANSLATED => '/w/pi.php/x/y', REDIRECT_URL => '/pi.php/x/y', PATH_INFO => '/y' }, { SCRIPT_FILENAME => '/w/pi.php\\a', SCRIPT_NAME => '/pi.php\\a' }, { SCRIPT_FILENAME => '/w/pi.php/a/..', SCRIPT_NAME => '/pi.php/a/..' }, { SCRIPT_FILENAME => '/w/pi.php/../pi.php', SCRIPT_NAME => '/pi.php' },
    );
    for my $pool (qw(www nofix nodisc)) {
        for my $vector (@vector) {
            my %param = (DOCUMENT_ROOT => $root, %$vector);
            s{(?<![\w/])/w(?=/|\z)|(?<=lb|h|00)/w(?=/)|(?<=t)/w(?=/)}{$root} for grep { defined } @param{qw(SCRIPT_FILENAME PATH_TRANSLATED DOCUMENT_ROOT)};
            my $label = join ' ', map { "$_=" . ($vector->{$_} // '-') } sort keys %$vector;
            same("$pool: $label", script => 'pi.php', pool => $pool, params => \%param);
        }
    }
};

differs('a proxy: URL with another PATH_INFO', 'the peer puts PATH_INFO into SCRIPT_NAME too', qr/^SCRIPT_NAME=\/pi\.php\nPATH_INFO=\/a\n/m, qr/^SCRIPT_NAME=\/other\nPATH_INFO=\/a\n/m,
    script => 'pi.php', params => { SCRIPT_FILENAME => "proxy:fcgi://h:9000$root/pi.php/a", SCRIPT_NAME => '/pi.php', PATH_INFO => '/other' });

group '4.4', 'working directory' => sub {
    same('include relative to the script, its file and the working directory', script => 'inc/a.php');
    same('chdir in a script', code => 'chdir("/"); echo getcwd();');
    same('is forgotten', code => 'echo getcwd();');
    same('called through a variable', code => '$f = "chdir"; $f("/tmp"); array_map("chdir", ["/"]); echo getcwd();');
    same('is forgotten too', script => 'inc/a.php');
    same('of a link', script => 'link.php', params => { X_CODE => 'echo getcwd(), __FILE__;' });
    differs('in a shutdown function', 'php-fpm goes back to where it was started; ours does not pay the system calls', qr/^\Q$root\E$/m, qr/^(?!\Q$root\E)\/.*$/m, code => 'register_shutdown_function(function () { echo "\n", getcwd(), "\n"; });');
};

# ---- ping and status ------------------------------------------------------------------------

# Before 8.2.36 php-fpm did not escape user and script: such a peer says nothing about these two.
my ($peer_patch) = `php-fpm8.2 -n -v 2>/dev/null` =~ /\APHP 8\.2\.(\d+)/;
my $numbers = sub {
    my ($text) = @_;
    if (($peer_patch // 0) < 36) {
        $text =~ s/"user":"(?:[^"\\]|\\.)*","script":"(?:[^"\\]|\\.)*"/USER AND SCRIPT/g;
        $text =~ s{<user>.*?</user><script>.*?</script>}{USER AND SCRIPT}g;
        $text =~ s{<td>(?:<b>|&lt;b&gt;)</td>}{<td>USER</td>}g;
    }
    $text =~ s/\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/TIME/g;
    $text =~ s/\bstatus\?\K|(?<![\w-])\d+(?:\.\d+)?(?![\w-])/N/g;
    return $text;
};
group '3.8', 'ping and status' => sub {
    for my $pool (qw(www nofix)) {
        for my $path ('/ping', '/status') {
            for my $query ('', 'full', 'json', 'json&full', 'html', 'html&full', 'xml', 'full&xml', 'openmetrics', 'openmetrics&full', 'html&json&xml', 'other', 'json=1', 'y&full') {
                same("$pool: $path?$query", pool => $pool, name => $path, script => 'hello.php', query => $query, idle => 1, mask => $numbers);
            }
            for my $method (qw(HEAD POST PUT FOO)) {
                same("$pool: $method $path", pool => $pool, name => $path, script => 'hello.php', method => $method, idle => 1, mask => $numbers);
            }
            same("$pool: $path, a body", pool => $pool, name => $path, script => 'hello.php', body => 'a=b', idle => 1, mask => $numbers);
            same("$pool: $path, missing file", pool => $pool, name => $path, script => 'nothing', idle => 1, mask => $numbers);
            same("$pool: $path, no file", pool => $pool, name => $path, params => { SCRIPT_FILENAME => undef }, idle => 1, mask => $numbers);
            same("$pool: $path, only translated", pool => $pool, name => $path, params => { SCRIPT_FILENAME => undef, PATH_TRANSLATED => '/x' }, idle => 1, mask => $numbers);
            same("$pool: $path, no method", pool => $pool, name => $path, script => 'hello.php', params => { REQUEST_METHOD => undef }, idle => 1, mask => $numbers);
            same("$pool: $path, path info", pool => $pool, name => $path, script => 'hello.php', params => { PATH_INFO => '/x' }, idle => 1, mask => $numbers);
            same("$pool: $path as path info", pool => $pool, name => '/other', script => 'pi.php', params => { PATH_INFO => $path }, idle => 1, mask => $numbers);
            same("$pool: $path/", pool => $pool, name => "$path/", script => 'hello.php');
            same("$pool: $path, expose_php = 0", pool => $pool, name => $path, script => 'hello.php', params => { PHP_ADMIN_VALUE => 'expose_php = 0' }, idle => 1, mask => $numbers);
        }
    }
    for my $query ('json&full&<x>"&y=\'/&é', 'xml&full&<x>"&y=\'', 'html&full&<x>"&y=\'', 'full&<x>"', "json&full&a\xffb\xe2\x82\xf0\x9f", "json&full&\x01\x7f\t\n\r\f\b", "json&full&\xf0\x9f\x98\x80\xe2\x82\xac", "xml&full&\x01\t\xc3\xa9", "html&full&\x01\x7f\t\xc3\xa9", "full&\x01\xff") {
        same("what must be escaped: $query", name => '/status', script => 'hello.php', query => $query, params => { HTTP_AUTHORIZATION => 'Basic PGI+OnB3' }, idle => 1, mask => $numbers);
    }
    for my $case ([ xml => qr/xml&amp;full&amp;a\xef\xbf\xbdb/ ], [ html => qr/html&amp;full&amp;a\xef\xbf\xbdb/ ]) {
        my ($format, $wanted) = @$case;
        differs("$format: bytes that are not UTF-8", 'the peer leaves out the whole text', $wanted, qr/status(?![^<"]*b)/, name => '/status', script => 'hello.php', query => "$format&full&a\xffb");
    }
    same("fpm_get_status() $_", code => "\$s = fpm_get_status(); $_", mask => sub { $numbers->($_[0] =~ s/string\(\d+\)/string/gr) }, params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' }) for 'var_dump($s);', 'echo json_encode($s);';
    # When every worker is busy the pool process answers. It runs no PHP, so it has no X-Powered-By.
    my @ask = (map({ my $path = $_; map { { name => $path, method => $_ } } qw(GET HEAD) } qw(/ping /status)), map { { name => '/status', query => $_ } } qw(json html xml openmetrics));
    my $of_worker = sub { return map { $numbers->(answer_of($ours, script => "$root/hello.php", @_, %$_)) =~ s/^X-Powered-By.*\n//r } @ask };
    my @idle = $of_worker->(idle => 1);
    my $go   = note_file();
    my $busy = php_connect($ours);
    $busy->send_request(script => "$root/run.php", params => { X_CODE => 'echo str_repeat(" ", 9000); flush(); while (!file_exists($_SERVER["X_GO"])) { usleep(2000); clearstatcache(); }', X_GO => $go });
    $busy->read_record;
    my @busy = $of_worker->();
    write_file($go, '');
    ok($busy->read_answer->{ended}, 'the busy worker ends well');
    is($busy[$_], $idle[$_], join ' ', 'every worker busy:', @{ $ask[$_] }{ sort keys %{ $ask[$_] } }) for 0 .. $#ask;
    differs('the beginning of a format\'s name', '3.8: the peer matches prefixes', qr/^pool: /m, qr/^\{"pool"/m, idle => 1, name => '/status', script => 'hello.php', query => 'j');
};

report_sections();
done_testing();
