# What a site sees of mod_fpmpool when all is well, under each MPM, with our daemon behind it
# (FPMPOOL_TEST_DAEMON=/usr/sbin/php-fpm8.2: with php-fpm, as type=fpm), and once with php-fpm.
# long: 45 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root = site('www',
    'hello.php'       => '<?php echo "hello\n";',
    'server.php'      => '<?php echo json_encode($_SERVER);',
    'echo.php'        => '<?php $b = file_get_contents("php://input");'
        . ' echo json_encode([strlen($b), md5($b), $_SERVER["CONTENT_LENGTH"] ?? null, $_SERVER["REQUEST_METHOD"]]);',
    'upload.php'      => '<?php echo json_encode([$_POST, md5_file($_FILES["f"]["tmp_name"]), $_FILES["f"]["name"]]);',
    'status.php'      => '<?php http_response_code((int) $_GET["s"]); header("X-Here: yes"); echo "own page";',
    'headers.php'     => '<?php setcookie("a", "1"); setcookie("b", "2"); header("X-Long: " . str_repeat("v", 20000));'
        . ' header("Vary: A"); header("Vary: B", false); header("Connection: close"); header("Server: fake"); echo "x";',
    'length.php'      => '<?php header("Content-Length: 5"); echo "12345";',
    'large.php'       => '<?php for ($i = 0; $i < 200; $i++) echo str_repeat(chr(97 + $i % 26), 50000);',
    'medium.php'      => '<?php for ($i = 0; $i < 300; $i++) echo str_repeat("m", 100);',
    'stream.php'      => '<?php while (ob_get_level()) ob_end_flush(); echo "first"; flush();'
        . ' while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } echo "second";',
    'modified.php'    => '<?php header("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"); header("ETag: \"v1\""); echo "page";',
    'plain.php'       => '<?php echo "no validators";',
    'created.php'     => '<?php http_response_code(204);',
    'away.php'        => '<?php header("Location: http://other.example/"); echo "moved";',
    'not.html'        => 'static',
    'dir/index.php'   => '<?php echo "index of ", $_SERVER["SCRIPT_NAME"], " ", $_SERVER["REQUEST_URI"];',
    'err/404.php'     => '<?php http_response_code(404); echo "my 404 for ", $_SERVER["REDIRECT_URL"], " ", $_SERVER["REDIRECT_STATUS"],'
        . ' " ", $_SERVER["REQUEST_METHOD"], " ", strlen(file_get_contents("php://input"));',
    'uploads/evil.php' => '<?php echo "ran";',
    'strict/a.php'    => '<?php echo "a";',
    'auth/a.php'      => '<?php echo json_encode($_SERVER);',
    'rw/.htaccess'    => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [QSA,L,E=V:x]\n",
    'rw/index.php'    => '<?php echo json_encode($_SERVER);',
    'env/.htaccess'   => "SetEnv PHP_ADMIN_VALUE \"memory_limit = 77M\"\nSetEnv FPMPOOL_BODY stream\nSetEnv MINE 1\n",
    'env/a.php'       => '<?php echo json_encode([ini_get("memory_limit"), $_SERVER["MINE"] ?? null,'
        . ' preg_grep("/^(FPMPOOL_|PHP_ADMIN)/", array_keys($_SERVER))]);',
    (map { ("reject$_->[0]/.htaccess" => $_->[1], "reject$_->[0]/a.php" => '<?php echo "x";') }
        [ '', "FpmPool other\n" ], [ 1, "<Files a.php>\nFpmPool other\n</Files>\n" ], [ 2, "<If \"true\">\nFpmPool other\n</If>\n" ],
        [ 3, "FpmPoolHandlerAlias text/plain\n" ], [ 4, "FpmPoolServer unix:/x\n" ], [ 5, "FpmPoolTimeout first=1h\n" ]),
);
symlink "$root/hello.php", "$root/link.php" or die;
my $outside = site('outside', 'o.php' => '<?php echo json_encode($_SERVER);');

sub decode {
    my ($answer) = @_;
    require JSON::PP;
    return eval { JSON::PP::decode_json($answer->{body}) } // die "not JSON ($answer->{status}): $answer->{body}\n";
}

sub httpd_conf {
    my ($daemon) = @_;
    my $type = $daemon->is_ours ? 'fpmpool' : 'fpm';
    my $pools = join '', map { sprintf "<FpmPoolDefine %s>\n    FpmPoolServer unix:%s type=%s\n</FpmPoolDefine>\n", $_, $daemon->listen_address($_), $type } qw(www other);
    return <<"EOF_CONF";
$pools
FpmPool www
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
ErrorDocument 404 /err/404.php
Alias /out $outside
<Directory "$outside">
    Require all granted
</Directory>
<Directory "$root/uploads">
    FpmPool none
</Directory>
<Directory "$root/strict">
    AcceptPathInfo Off
</Directory>
<Directory "$root/auth">
    FpmPoolPassAuthorization Off
</Directory>
<Location "/other/">
    FpmPool other
</Location>
Alias /other/ $root/
<Location "/virtual">
    SetHandler fpmpool
    FpmPoolCheckScript Off
</Location>
LogFormat "%U %>s pool=%{fpmpool-pool}n server=%{fpmpool-server}n state=%{fpmpool-state}n attempts=%{fpmpool-attempts}n ttfb=%{fpmpool-ttfb-us}n total=%{fpmpool-total-us}n connect=%{fpmpool-connect-us}n" notes
CustomLog "notes.log" notes
EOF_CONF
}

sub run_all {
    my ($httpd, $daemon) = @_;
    my $get = sub { my ($path, %option) = @_; return http($httpd->url($path), %option) };

    subtest 'a page' => sub {
        my $answer = $get->('/hello.php');
        is($answer->{status}, 200, 'status');
        is($answer->{body}, "hello\n", 'body');
        is($answer->{headers}{'content-length'}, 6, 'has a Content-Length though the script gave none');
        like($answer->{headers}{'content-type'}, qr{\Atext/html}, 'type');
        my $medium = $get->('/medium.php');
        is($medium->{headers}{'content-length'}, 30000, 'so has one that the server wrote in pieces');
        my $head = $get->('/hello.php', method => 'HEAD');
        is("$head->{status} $head->{body}", '200 ', 'HEAD has no body');
        $head = $get->('/length.php', method => 'HEAD');
        is($head->{headers}{'content-length'}, 5, 'HEAD keeps the Content-Length of the script');
        is($get->('/length.php')->{framing}, 'length', 'GET too');
        is($get->('/not.html')->{body}, 'static', 'other files are httpd\'s');
        is($get->('/link.php')->{body}, "hello\n", 'a symbolic link');
    };

    subtest 'environment' => sub {
        my $s = decode($get->('/server.php/x%20y/z?q=1&r=%20'));
        is($s->{SCRIPT_NAME}, '/server.php', 'SCRIPT_NAME');
        is($s->{SCRIPT_FILENAME}, "$root/server.php", 'SCRIPT_FILENAME is plain');
        is($s->{PATH_INFO}, '/x y/z', 'PATH_INFO');
        is($s->{PATH_TRANSLATED}, "$root/x y/z", 'PATH_TRANSLATED');
        is($s->{PHP_SELF}, '/server.php/x y/z', 'PHP_SELF');
        is($s->{REQUEST_URI}, '/server.php/x%20y/z?q=1&r=%20', 'REQUEST_URI is raw');
        is($s->{QUERY_STRING}, 'q=1&r=%20', 'QUERY_STRING');
        is($s->{DOCUMENT_ROOT}, $root, 'DOCUMENT_ROOT');
        ok(!exists $s->{LD_LIBRARY_PATH} && !exists $s->{CONTENT_LENGTH}, 'nothing of httpd\'s own');
        unlike(join(' ', keys %$s), qr/FPMPOOL_|PHP_VALUE/, 'no marker of ours');
        $s = decode($get->('/out/o.php/pi'));
        is("$s->{SCRIPT_NAME} $s->{SCRIPT_FILENAME} $s->{CONTEXT_PREFIX}", "/out/o.php $outside/o.php /out", 'Alias');
        $s = decode($get->('/rw/some/path?a=1'));
        is("$s->{SCRIPT_NAME} $s->{SCRIPT_FILENAME}", "/rw/index.php $root/rw/index.php", 'rewritten to a front controller');
        is("$s->{REDIRECT_URL} $s->{REDIRECT_V} $s->{QUERY_STRING}", '/rw/some/path x a=1', '... which sees where it came from');
        is($get->('/dir/?i=1')->{body}, 'index of /dir/index.php /dir/?i=1', 'DirectoryIndex');
        my $long = 'c' x 7000;
        $s = decode($get->('/server.php', headers => [ map { ("X-Long-$_" => $long) } 1 .. 12 ]));
        is(length $s->{HTTP_X_LONG_12}, 7000, 'parameters of more than one record arrive');
    };

    subtest 'reserved variables of a tenant' => sub {
        my $from = $httpd->log_length;
        my $seen = decode($get->('/env/a.php'));
        isnt($seen->[0], '77M', 'PHP_ADMIN_VALUE of .htaccess changes nothing');
        is($seen->[1], 1, 'other variables pass');
        ok(!@{ ref $seen->[2] eq 'ARRAY' ? $seen->[2] : [ values %{ $seen->[2] } ] }, 'none reaches the script');
        $httpd->wait_log(qr/FPMP0010: pool www: the variable PHP_ADMIN_VALUE is reserved/, 5, $from);
    };

    subtest 'authorization' => sub {
        my @basic = (headers => [ Authorization => 'Basic dTpw' ]);
        my $s = decode($get->('/server.php', @basic));
        is("$s->{PHP_AUTH_USER} $s->{PHP_AUTH_PW}", 'u p', 'Basic reaches PHP');
        ok(!exists $s->{REMOTE_USER}, 'and is no REMOTE_USER');
        $s = decode($get->('/server.php', headers => [ Authorization => 'Bearer t' ]));
        is($s->{HTTP_AUTHORIZATION}, 'Bearer t', 'Bearer too');
        $s = decode($get->('/auth/a.php', @basic));
        ok(!exists $s->{PHP_AUTH_USER} && !exists $s->{HTTP_AUTHORIZATION}, 'not with FpmPoolPassAuthorization Off');
    };

    subtest 'request bodies' => sub {
        my %body = (one => 'x', small => 'ab' x 1000, record => 'r' x 65535, more => 'm' x 65536, spooled => 's' x 700_000, large => join('', map { chr $_ % 251 } 1 .. 3_000_000));
        for my $name (sort keys %body) {
            my $length = length $body{$name};
            my $expect = [ $length, md5_hex($body{$name}) ];
            for my $method (qw(POST PUT)) {
                is_deeply([ @{ decode($get->('/echo.php', method => $method, body => $body{$name})) }[ 0, 1, 2, 3 ] ],
                    [ @$expect, $length, $method ], "$method of $length bytes");
            }
            my @piece = unpack '(a70001)*', $body{$name};
            is_deeply([ @{ decode($get->('/echo.php', method => 'POST', body => \@piece)) }[ 0, 1 ] ], $expect, "$length bytes in chunks");
        }
        is(decode($get->('/echo.php', method => 'POST', body => ''))->[0], 0, 'an empty one');
        is(decode($get->('/echo.php', method => 'DELETE'))->[3], 'DELETE', 'none, DELETE');
        is(decode($get->('/echo.php', method => 'OPTIONS'))->[3], 'OPTIONS', 'none, OPTIONS');
        my $http = http_connect(port => $httpd->port);
        $http->send_request('POST', '/echo.php', headers => [ 'Content-Length' => 20000 ], no_body => 1);
        my $text = 'slow' x 5000;
        $http->send_raw(substr $text, $_ * 2000, 2000), sleep 0.02 for 0 .. 9;
        is(decode($http->read_answer)->[1], md5_hex($text), 'one that comes in drips');
        $http->send_request('POST', '/echo.php', headers => [ 'Content-Length' => 4, Expect => '100-continue' ], no_body => 1);
        is($http->read_head->{status}, 100, '100 Continue is sent for a pool that is there');
        $http->send_raw('late');
        is(decode($http->read_answer)->[1], md5_hex('late'), '... and the body after it');
        my $file = 'binary' . join '', map { chr $_ % 256 } 0 .. 99_999;
        my $form = join "\r\n", '--B', 'Content-Disposition: form-data; name="a"', '', '1', '--B',
            'Content-Disposition: form-data; name="f"; filename="n.bin"', 'Content-Type: application/octet-stream', '', $file, '--B--', '';
        is_deeply(decode($get->('/upload.php', method => 'POST', body => $form, headers => [ 'Content-Type' => 'multipart/form-data; boundary=B' ])),
            [ { a => 1 }, md5_hex($file), 'n.bin' ], 'an upload');
    };

    subtest 'responses' => sub {
        my $answer = $get->('/status.php?s=404');
        is("$answer->{status} $answer->{body} $answer->{headers}{'x-here'}", '404 own page yes', 'a status of the script goes out with its own page');
        is($get->('/status.php?s=503')->{body}, 'own page', '503 too');
        $answer = $get->('/headers.php');
        my %count;
        for (my $i = 0; $i < @{ $answer->{list} }; $i += 2) { $count{ lc $answer->{list}[$i] }++ }
        is($count{'set-cookie'}, 2, 'each Set-Cookie is a line of its own');
        is(length $answer->{headers}{'x-long'}, 20000, 'a header line of 20 000 bytes');
        like($answer->{headers}{vary}, qr{^A, ?B$}, 'others are merged');
        is($answer->{headers}{server}, 'Apache', 'Server is httpd\'s');
        $answer = $get->('/created.php');
        is("$answer->{status} $answer->{body}", '204 ', 'no content');
        $answer = $get->('/away.php');
        is("$answer->{status} $answer->{headers}{location}", '302 http://other.example/', 'a redirect');
        $answer = $get->('/large.php');
        is(length $answer->{body}, 10_000_000, '10 MB come whole');
        is(md5_hex($answer->{body}), md5_hex(join '', map { chr(97 + $_ % 26) x 50000 } 0 .. 199), '... and right');
    };

    subtest 'flush() reaches the client at once' => sub {
        my $go = test_dir() . '/go';
        unlink $go;
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request('GET', "/stream.php?go=$go");
        is($http->read_head->{status}, 200, 'the head comes while the script runs');
        is($http->read_some, 'first', 'and what it has written');
        write_file($go, '');
        is($http->read_some, 'second', 'then the rest');
        is($http->read_some, '', 'and the end');
        unlink $go;
    };

    subtest 'conditional requests' => sub {
        my $ask = sub { $get->($_[0], headers => [ @_[ 1 .. $#_ ] ])->{status} };
        is($ask->('/modified.php', 'If-Modified-Since', 'Mon, 01 Jan 2024 00:00:00 GMT'), 304, 'If-Modified-Since with the script\'s date');
        is($ask->('/modified.php', 'If-Modified-Since', 'Sun, 31 Dec 2023 00:00:00 GMT'), 200, '... older than that');
        is($ask->('/modified.php', 'If-None-Match', '"v1"'), 304, 'If-None-Match with the script\'s tag');
        is($ask->('/modified.php', 'If-None-Match', '"v2"'), 200, '... with another');
        is($ask->('/plain.php', 'If-Modified-Since', POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 5))), 200, 'a script without validators is never 304');
        my $http = http_connect(port => $httpd->port);
        is($http->exchange(GET => '/modified.php', headers => [ 'If-None-Match' => '"v1"' ])->{status}, 304, '304 on a kept connection');
        is($http->exchange(GET => '/hello.php')->{body}, "hello\n", '... which serves on');
    };

    subtest 'what is not run' => sub {
        my $answer = $get->('/nope.php?x=1');
        is($answer->{status}, 404, 'a missing script is 404');
        is($answer->{body}, 'my 404 for /nope.php 404 GET 0', '... with the ErrorDocument');
        $answer = $get->('/nope.php', method => 'POST', body => 'b' x 5000);
        is($answer->{body}, 'my 404 for /nope.php 404 GET 0', '... also for a POST');
        is($get->('/uploads/evil.php')->{status}, 403, 'FpmPool none: neither run nor shown');
        is($get->('/strict/a.php/pi')->{status}, 404, 'AcceptPathInfo Off');
        is($get->('/strict/a.php')->{body}, 'a', '... without path info it runs');
        my $from = $httpd->log_length;
        for my $n ('', 1 .. 5) {
            is($get->("/reject$n/a.php")->{status}, 500, "a directive of ours in .htaccess is refused ($n)");
        }
        $httpd->wait_log(qr/FPMP0106: \S+\.htaccess:1: FpmPool other: this \.htaccess file may not choose it/, 5, $from);
        is($get->('/virtual/x')->{status}, 404, 'FpmPoolCheckScript Off: the pool says 404 itself') if !$daemon->is_ours;
    };

    subtest 'directories select pools' => sub {
        is(decode($get->('/server.php'))->{POOL_NAME}, 'www', 'the server\'s');
        is(decode($get->('/other/server.php'))->{POOL_NAME}, 'other', 'a location\'s');
    };

    subtest 'notes' => sub {
        my $file = "$httpd->{dir}/notes.log";
        my $line = wait_for { my ($found) = read_file($file) =~ m{^(/hello\.php 200 .*)$}m; $found } 5, 'a line of notes';
        like($line, qr{pool=www server=unix:/\S+ state=ok attempts=1 ttfb=\d+ total=\d+ connect=\d+}, 'pool, server, state, attempts and times');
    };

    if ($daemon->is_ours) {
        subtest 'connections are kept' => sub {
            my $http = http_connect(port => $httpd->port);
            my @notes = sub { read_file("$httpd->{dir}/notes.log") =~ m{^/hello\.php 200 .* connect=(\d+)$}mg };
            my $before = () = $notes[0]->();
            $http->exchange(GET => '/hello.php') for 1 .. 10;
            wait_for { my $now = () = $notes[0]->(); $now >= $before + 10 } 5, 'ten log lines';
            my @connect = ($notes[0]->())[ $before .. $before + 9 ];
            cmp_ok(scalar(grep { $_ > 0 } @connect), '<=', 1, 'ten requests need at most one connect');
        };
    }
    return;
}

my %pools = map { $_ => { 'env[POOL_NAME]' => $_ } } qw(www other);
allow_log(qr/FPMP0010: /, qr/FPMP0106: /, qr/FpmPool\w* not allowed (?:here|in <)/, qr/script '.*' not found or unable to stat/, qr/Primary script unknown/);

sub run_with {
    my ($mpm, $daemon) = @_;
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => httpd_conf($daemon));
    run_all($httpd, $daemon);
    $httpd->stop;
    return;
}

my $daemon = start_daemon(conf => \%pools);
for my $mpm (qw(event worker prefork)) {
    subtest "$mpm, " . $daemon->name => sub { run_with($mpm, $daemon) };
}
$daemon->stop;
SKIP: {
    skip 'compares with php-fpm: Debian package php8.2-fpm is not installed', 1 unless -x '/usr/sbin/php-fpm8.2';
    my $fpm = start_php_fpm(conf => \%pools);
    subtest 'event, php-fpm' => sub { run_with('event', $fpm) };
    $fpm->stop;
}
done_testing();
