# One request at a time, straight over FastCGI: bodies, output, headers, errors, paths. Everything
# that the specification wants equal runs against fpmpoold and Debian's php-fpm side by side; what
# php-fpm does wrong (body without length, output after the end of a request) runs against ours only.

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;

my $root = site('www',
    'hello.php'  => '<?php echo "hello\n";',
    'method.php' => '<?php header("X-Method: " . $_SERVER["REQUEST_METHOD"]); echo "body";',
    'post.php'   => '<?php echo json_encode(["post" => $_POST, "raw" => md5(file_get_contents("php://input")),
        "length" => strlen(file_get_contents("php://input")), "type" => $_SERVER["CONTENT_TYPE"] ?? null]);',
    'slurp.php'  => '<?php $in = fopen("php://input", "r"); $h = hash_init("md5"); $n = 0;
        while (($s = fread($in, 8192)) !== false && $s !== "") { hash_update($h, $s); $n += strlen($s); }
        echo "$n ", hash_final($h);',
    'ignore.php' => '<?php echo "not read";',
    'upload.php' => '<?php $f = $_FILES["f"]; $ok = move_uploaded_file($f["tmp_name"], $_POST["to"]);
        echo json_encode([$f["name"], $f["type"], $f["size"], $f["error"], $ok, file_exists($f["tmp_name"])]);',
    'posted.php' => '<?php echo max(strlen(file_get_contents("php://input")), strlen(http_build_query($_POST)), $_FILES["f"]["size"] ?? 0), " ", $_FILES["f"]["error"] ?? -1;',
    'tmpname.php' => '<?php echo $_FILES["f"]["tmp_name"], is_uploaded_file($_FILES["f"]["tmp_name"]) ? " yes" : " no";',
    'large.php'  => '<?php $line = str_repeat("0123456789abcdef", 4096); for ($i = 0; $i < 512; $i++) echo $line;',
    'flush.php'  => '<?php while (ob_get_level()) ob_end_flush(); echo "first"; flush();
        $end = microtime(true) + 10; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(2000); clearstatcache(); }
        echo "second";',
    'finish.php' => '<?php ignore_user_abort(true); header("X-Before: 1"); echo "answer";
        $first = fastcgi_finish_request(); echo "never seen"; flush();
        $end = microtime(true) + 10; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(2000); clearstatcache(); }
        file_put_contents($_GET["done"], var_export($first, true));',
    'headers.php'  => '<?php $h = getallheaders(); ksort($h); echo json_encode($h), json_encode(apache_request_headers() == getallheaders());',
    'session.php'  => '<?php session_save_path($_GET["path"]); session_start(); echo $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1;',
    'server.php'   => '<?php echo json_encode($_SERVER);',
    'pi.php'       => '<?php $o = []; foreach (["SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "PATH_TRANSLATED", "PHP_SELF",
        "ORIG_PATH_INFO", "ORIG_SCRIPT_NAME", "ORIG_SCRIPT_FILENAME", "ORIG_PATH_TRANSLATED", "REDIRECT_URL"] as $k)
        $o[$k] = $_SERVER[$k] ?? null; echo json_encode($o);',
    'auth.php'   => '<?php echo json_encode([$_SERVER["PHP_AUTH_USER"] ?? null, $_SERVER["PHP_AUTH_PW"] ?? null,
        $_SERVER["HTTP_PROXY"] ?? null, getenv("HTTP_PROXY")]);',
    'exit.php'   => '<?php echo "bye"; exit(3);',
    'cwd.php'    => '<?php echo getcwd(), " ", __FILE__;',
    'fatal.php'  => '<?php ini_set("display_errors", "0"); nowhere();',
    'parse.php'  => '<?php ini_set(;',
    'shout.php'  => '<?php trigger_error("look here", E_USER_WARNING); error_log("and here"); echo "ok";',
    'reply.php'  => '<?php eval($_GET["code"]); if (empty($_GET["silent"])) echo "body";',
    'note.txt'   => 'text <?php echo 1;',
    'sub/index.php' => '<?php echo "index";',
);
chmod 0000, write_file("$root/secret.php", '<?php echo "secret";');

my %conf = (www => { 'pm.max_children' => 1, 'php_admin_value[memory_limit]' => '64M', 'php_value[upload_max_filesize]' => '8M' });
my @servers = start_daemon(conf => \%conf);
if (-x '/usr/sbin/php-fpm8.2') { push @servers, start_php_fpm(conf => \%conf) }
else                           { diag('php8.2-fpm is not installed: nothing to compare with') }
my $ours = $servers[0];

sub on_both {
    my ($name, $code) = @_;
    for my $server (@servers) {
        subtest "$name (" . $server->name . ')' => sub { $code->($server) };
    }
    return;
}

sub escape { my ($text) = @_; $text =~ s/([^A-Za-z0-9._\/-])/sprintf '%%%02X', ord $1/ge; return $text }
sub body_of { my ($server, $script, %option) = @_; return php_request($server, "$root/$script", %option)->{body} }

on_both 'GET' => sub {
    my ($server) = @_;
    my $answer = php_request($server, "$root/hello.php");
    is($answer->{status}, 200, 'status');
    is($answer->{body}, "hello\n", 'body');
    is($answer->{headers}{'content-type'}, 'text/html; charset=UTF-8', 'default type');
    like($answer->{headers}{'x-powered-by'}, qr{\APHP/8\.}, 'X-Powered-By') if $answer->{headers}{'x-powered-by'};
    ok(!exists $answer->{headers}{status}, 'no Status line for 200');
    ok($answer->{ended}, 'END_REQUEST');
    is($answer->{protocol_status}, 0, 'REQUEST_COMPLETE');
    is($answer->{app_status}, 0, 'application status');
    is($answer->{stderr}, '', 'nothing on STDERR');
    is(body_of($server, 'hello.php', id => 65535), "hello\n", 'the largest request id');
};

on_both 'HEAD' => sub {
    my ($server) = @_;
    my $answer = php_request($server, "$root/method.php", method => 'HEAD');
    is($answer->{headers}{'x-method'}, 'HEAD', 'headers are sent');
    is($answer->{body}, '', 'the body is not');
};

on_both 'other methods' => sub {
    my ($server) = @_;
    for my $method (qw(OPTIONS DELETE PATCH PROPFIND FOO)) {
        is(php_request($server, "$root/method.php", method => $method)->{headers}{'x-method'}, $method, $method);
    }
};

on_both 'POST' => sub {
    my ($server) = @_;
    is(body_of($server, 'post.php', body => 'a=1&b%5B%5D=x&b%5B%5D=y'),
        '{"post":{"a":"1","b":["x","y"]},"raw":"' . md5_hex('a=1&b%5B%5D=x&b%5B%5D=y')
            . '","length":23,"type":"application\/x-www-form-urlencoded"}', 'a form');
    like(body_of($server, 'post.php', body => '{"x":1}', type => 'application/json'),
        qr/"post":\[\],"raw":"@{[ md5_hex('{"x":1}') ]}","length":7/, 'JSON');
    my $long = join '', map { chr(($_ * 7 + int $_ / 251) % 256) } 1 .. 300_001;
    is(body_of($server, 'slurp.php', body => $long, type => 'x/y'), '300001 ' . md5_hex($long), 'a body of several records');
    is(body_of($server, 'slurp.php', method => 'PUT', body => $long, type => 'x/y'), '300001 ' . md5_hex($long), 'PUT');
    is(body_of($server, 'ignore.php', body => $long, type => 'x/y'), 'not read', 'a body that the script does not read');
    is(body_of($server, 'post.php', body => ''),
        '{"post":[],"raw":"d41d8cd98f00b204e9800998ecf8427e","length":0,"type":"application\/x-www-form-urlencoded"}', 'an empty one');
};

on_both 'small records' => sub {
    my ($server) = @_;
    my $client = php_connect($server);
    my $body   = 'x' x 2000 . 'y';
    my $params = FPMPool::Client::request_params(script => "$root/slurp.php", body => $body, type => 'x/y');
    $client->send_bytes(begin_record(7) . join('', map({ record('PARAMS', 7, FPMPool::Client::pair(@$_), padding => 3) } @$params),
        record('PARAMS', 7, '')) . stdin_records(7, $body, piece => 100));
    my $answer = $client->read_answer;
    is($answer->{body}, '2001 ' . md5_hex($body), 'every pair and every 100 bytes in a record of their own, padded');
    is($answer->{id}, 7, 'the id comes back');
};

sub multipart {
    my ($field, $name, $content) = @_;
    my $boundary = 'XbX';
    return (
        type => "multipart/form-data; boundary=$boundary",
        body => join('', map { "--$boundary\r\nContent-Disposition: form-data; name=\"$_\"\r\n\r\n$field->{$_}\r\n" } sort keys %$field)
            . "--$boundary\r\nContent-Disposition: form-data; name=\"f\"; filename=\"$name\"\r\nContent-Type: image/x\r\n\r\n$content\r\n--$boundary--\r\n"
    );
}

on_both 'upload' => sub {
    my ($server) = @_;
    my $content = join '', map { chr($_ * $_ % 256) } 1 .. 1_500_000;
    my $to = "$data/uploaded-" . $server->name;
    is(body_of($server, 'upload.php', multipart({ to => $to }, 'a b.bin', $content)), '["a b.bin","image\/x",1500000,0,true,false]', 'accepted');
    is(md5_hex(read_file($to)), md5_hex($content), 'byte for byte');
    my ($temporary, $known) = split ' ', body_of($server, 'tmpname.php', multipart({}, 'x', 'abc'));
    is($known, 'yes', 'is_uploaded_file');
    ok(wait_for(sub { !-e $temporary }, 5, 'the temporary file to go'), 'a file that was not moved is removed');
    my $large = body_of($server, 'tmpname.php', multipart({}, 'x', 'a' x 9_000_000));
    is($large, ' no', 'larger than upload_max_filesize: refused');
};

# Any front end's request without CONTENT_LENGTH: mod_proxy_fcgi sends long chunked uploads like that.
subtest 'a body without length, from whoever' => sub {
    my $body = join '', map { chr($_ % 256) } 1 .. 500_000;
    my %stream = (method => 'POST', body => $body, type => 'x/y', params => { CONTENT_LENGTH => undef });
    my $client = php_connect($ours);
    for my $round (1 .. 3) {
        is($client->request(script => "$root/slurp.php", %stream)->{body}, '500000 ' . md5_hex($body), "kept connection, round $round");
    }
    is($client->request(script => "$root/slurp.php", method => 'GET', params => { CONTENT_LENGTH => undef })->{body}, '0 ' . md5_hex(''), 'and none is none');
};

subtest 'a body without length (FPMPOOL_BODY=stream)' => sub {
    my $body = join '', map { chr($_ % 256) } 1 .. 500_000;
    my %stream = (method => 'POST', body => $body, type => 'x/y', params => { CONTENT_LENGTH => undef, FPMPOOL_BODY => 'stream' });
    is(body_of($ours, 'slurp.php', %stream), '500000 ' . md5_hex($body), 'is read to its end');
    my $form = body_of($ours, 'post.php', %stream, body => 'a=1', type => 'application/x-www-form-urlencoded');
    like($form, qr/"post":\{"a":"1"\}/, 'a form too');
    is(body_of($ours, 'ignore.php', %stream), 'not read', 'may be ignored');
    my $client = php_connect($ours);
    for my $round (1 .. 3) {
        is($client->request(script => "$root/slurp.php", %stream)->{body}, '500000 ' . md5_hex($body), "kept connection, round $round");
        is($client->request(script => "$root/ignore.php", %stream)->{body}, 'not read', 'and ignored on it') if $round == 2;
        $client = php_connect($ours) if $round == 2 && !$client->is_open;
    }
    for my $kind ([ 'x/y', 'z' x 5000 ], [ 'application/x-www-form-urlencoded', 'a=' . 'z' x 5000 ], [ 'multipart/form-data; boundary=B', "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n" . 'z' x 5000 . "\r\n--B--\r\n" ]) {
        my ($type, $content) = @$kind;
        my $limited = body_of($ours, 'posted.php', %stream, body => $content, type => $type, params => { %{ $stream{params} }, PHP_VALUE => 'post_max_size = 1K' });
        my ($length, $error) = $limited =~ /^(\d+) (-?\d+)$/;
        cmp_ok($length, '<=', 1025, "$type: PHP gets no more than post_max_size");
        is($error, $type =~ /multipart/ ? 3 : -1, '... and a file is known to be cut');
    }
    unlike(body_of($ours, 'server.php', params => { FPMPOOL_BODY => 'stream', FPMPOOL_PEER => 1 }), qr/FPMPOOL_/, 'FPMPOOL_* are hidden from PHP');
    my $named = body_of($ours, 'server.php', params => { FPMPOOL_SELF => '/a//b', SCRIPT_NAME => '/a', PATH_INFO => '/b', FPMPOOL_PEER => 1 });
    like($named, qr{"PHP_SELF":"\\/a\\/\\/b"}, 'PHP_SELF is what our module says');
    unlike($named, qr/FPMPOOL_/, '... without another trace');
    like(body_of($ours, 'server.php', params => { SCRIPT_NAME => '/a', PATH_INFO => '/b' }), qr{"PHP_SELF":"\\/a\\/b"}, '... of one request only');
};

on_both 'large output' => sub {
    my ($server) = @_;
    my ($worker) = $server->worker_pids;
    my $peak = sub { read_file("/proc/$worker/status") =~ /^VmHWM:\s+(\d+) kB/m; $1 };
    php_request($server, "$root/hello.php");
    my $before = $peak->();
    my $digest = Digest::MD5->new;
    my $answer = php_request($server, "$root/large.php", timeout => 60, on_output => sub { $digest->add($_[0]) });
    ok($answer->{ended}, 'ended');
    my $head = 1;
    cmp_ok($answer->{length}, '>', 32 * 1048576, '32 MiB arrived');
    my $line   = '0123456789abcdef' x 4096;
    my $expect = php_request($server, "$root/large.php", timeout => 60);
    is(md5_hex($expect->{body}), md5_hex($line x 512), 'byte for byte');
    cmp_ok($peak->() - $before, '<', 4096, 'the worker\'s memory stays flat (kB)') if alive($worker);
    ok(alive($worker), 'the same worker');
};

on_both 'a slow reader' => sub {
    my ($server) = @_;
    my $client = php_connect($server);
    $client->send_request(script => "$root/large.php");
    my ($pieces, $total) = (0, 0);
    my $answer = $client->read_answer(timeout => 60, on_output => sub { $total += length $_[0]; sleep(0.002) if ++$pieces % 50 == 0 });
    cmp_ok($total, '>', 32 * 1048576, 'gets all');
};

on_both 'flush()' => sub {
    my ($server) = @_;
    my $go = "$data/go-flush-" . $server->name;
    my $client = php_connect($server);
    $client->send_request(script => "$root/flush.php", query => "go=$go");
    my $first = '';
    wait_for { $first .= $client->read_record(5)->{content}; $first =~ /first/ } 5, 'the first part';
    unlike($first, qr/second/, 'the first part comes before the second is made');
    write_file($go, '');
    my $answer = $client->read_answer;
    is($answer->{stdout}, 'second', 'then the rest');
};

on_both 'fastcgi_finish_request()' => sub {
    my ($server) = @_;
    my ($go, $done) = map { "$data/$_-finish-" . $server->name } qw(go done);
    my $answer = php_request($server, "$root/finish.php", query => "go=$go&done=$done");
    is($answer->{body}, 'answer', 'the answer ends there');
    is($answer->{headers}{'x-before'}, '1', 'with its headers');
    ok(!-e $done, 'while the script runs on');
    write_file($go, '');
    wait_for(sub { -s $done }, 10, 'the rest of the script');
    is(read_file($done), 'true', 'it returned true, the script ended well');
    is(body_of($server, 'hello.php'), "hello\n", 'the worker serves again');
};

subtest 'fastcgi_finish_request() on a kept connection' => sub {
    my ($go, $done) = map { "$data/$_-kept" } qw(go done);
    my $client = php_connect($ours);
    for my $round (1 .. 2) {
        unlink $go, $done;
        my $answer = $client->request(script => "$root/finish.php", query => "go=$go&done=$done");
        is($answer->{body}, 'answer', "round $round: the answer");
        ok($client->is_open, 'the connection is open and silent');
        write_file($go, '');
        wait_for(sub { -s $done }, 10, 'the rest of the script');
        is($client->request(script => "$root/hello.php")->{body}, "hello\n", 'later output never came; the connection is in step');
    }
};

on_both 'kept connection' => sub {
    my ($server) = @_;
    my $client = php_connect($server);
    for my $round (1 .. 20) {
        my $answer = $client->request(script => "$root/hello.php", id => $round);
        is($answer->{body}, "hello\n", "round $round") if $round < 3 || $answer->{body} ne "hello\n";
    }
    ok($client->is_open, 'open after 20 requests');
    $client->close;
};

on_both 'getallheaders()' => sub {
    my ($server) = @_;
    is(body_of($server, 'headers.php', body => 'x', type => 'a/b', params => { HTTP_X_FOO_BAR => 'v', HTTP_ACCEPT => '*/*', HTTP_HOST => 'h', HTTP_Empty => '' }),
        '{"Accept":"*\/*","Content-Length":"1","Content-Type":"a\/b","Empty":"","Host":"h","X-Foo-Bar":"v"}true', 'names and values');
};

on_both 'sessions' => sub {
    my ($server) = @_;
    my $first = php_request($server, "$root/session.php", query => "path=$data");
    is($first->{body}, '1', 'a new session');
    my ($cookie) = $first->{headers}{'set-cookie'} =~ /\A(PHPSESSID=[^;]+)/;
    ok($cookie, 'sets its cookie');
    is(body_of($server, 'session.php', query => "path=$data", params => { HTTP_COOKIE => $cookie }), $_, "visit $_") for 2 .. 3;
    is(body_of($server, 'session.php', query => "path=$data"), '1', 'another visitor has his own');
};

# spec/php-fpm.md 4.5, docroot /w
my @vectors = (
    [ { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b', PHP_SELF => '/pi.php/a/b' } ],
    [ { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php/a/b', PATH_TRANSLATED => '/w', ORIG_SCRIPT_FILENAME => '/w/pi.php/a/b', PHP_SELF => '/pi.php/a/b' } ],
    [ { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php/a/b', PATH_INFO => '/pi.php/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b', PATH_TRANSLATED => '/w/a/b', ORIG_SCRIPT_FILENAME => '/w/pi.php/a/b',
            ORIG_SCRIPT_NAME => '/pi.php/a/b', ORIG_PATH_INFO => '/pi.php/a/b', PHP_SELF => '/pi.php/a/b' } ],
    [ { SCRIPT_FILENAME => '/w/pi.php/a/b', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b', PATH_TRANSLATED => '/w/a/b', ORIG_SCRIPT_FILENAME => '/w/pi.php/a/b', PHP_SELF => '/pi.php/a/b' } ],
    [ { SCRIPT_FILENAME => 'proxy:fcgi://h:9000/w/pi.php/a/b?x', SCRIPT_NAME => '/pi.php/a/b' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a/b', PATH_TRANSLATED => '/w/a/b', ORIG_SCRIPT_FILENAME => '/w/pi.php/a/b',
            ORIG_SCRIPT_NAME => '/pi.php/a/b', PHP_SELF => '/pi.php/a/b' } ],
    [ { SCRIPT_FILENAME => 'proxy:balancer://lb/w/pi.php/a%20b', SCRIPT_NAME => '/pi.php/a b' },
        { SCRIPT_NAME => '/pi.php', PATH_INFO => '/a%20b' } ],
    [ { SCRIPT_FILENAME => '/cgi/php', SCRIPT_NAME => '/cgi-bin/php', PATH_INFO => '/pi.php/a', PATH_TRANSLATED => '/w/pi.php/a', REDIRECT_URL => '/pi.php/a' },
        { SCRIPT_FILENAME => '/w/pi.php', SCRIPT_NAME => '/pi.php', PATH_INFO => '/a', PATH_TRANSLATED => '/w/a', ORIG_SCRIPT_FILENAME => '/cgi/php',
            ORIG_SCRIPT_NAME => '/cgi-bin/php', ORIG_PATH_INFO => '/pi.php/a', ORIG_PATH_TRANSLATED => '/w/pi.php/a' } ],
    [ { SCRIPT_FILENAME => '/w/sub/', SCRIPT_NAME => '/sub/' }, undef ],
    [ { SCRIPT_FILENAME => '/w/sub/index.php/', SCRIPT_NAME => '/sub/index.php/' }, undef ],
);

on_both 'PATH_INFO' => sub {
    my ($server) = @_;
    for my $vector (@vectors) {
        my ($in, $out) = @$vector;
        my %param = (PATH_INFO => undef, DOCUMENT_ROOT => $root, %$in);
        s{/w(?=/|\z)}{$root} for grep { defined } @param{qw(SCRIPT_FILENAME PATH_TRANSLATED)};
        my $label = join ' ', map { "$_=$in->{$_}" } sort keys %$in;
        my $answer = php_request($server, '', params => \%param);
        next if !defined $out && $server == $ours && @servers < 2;
        if (!defined $out) {
            our %seen;
            my $text = "$answer->{status} " . ($answer->{body} // '');
            is($text, $seen{$label} //= $text, "$label: as the other server");
            next;
        }
        my $got = eval { $answer->{body} =~ /\A\{/ ? json($answer->{body}) : {} };
        is_deeply({ map { $_ => $got->{$_} } keys %$out }, { map { my $v = $out->{$_}; $v =~ s{\A/w(?=/|\z)}{$root}; ($_ => $v) } keys %$out }, $label)
            or diag("status $answer->{status}: $answer->{body}");
        for my $name (grep { !exists $out->{$_} && /\A(?:PATH_|ORIG_)/ } sort keys %$got) {
            next if $in->{SCRIPT_FILENAME} =~ /balancer/;
            is($got->{$name}, undef, "$label: no $name") if defined $got->{$name};
        }
    }
};

# A flat JSON object of strings and null, as the scripts here print it.
sub json {
    my ($text) = @_;
    my %value;
    while ($text =~ /"((?:[^"\\]++|\\.)*+)":(null|"((?:[^"\\]++|\\.)*+)"|[-\d.]+)/g) {
        my ($name, $raw, $string) = ($1, $2, $3);
        if (defined $string) { $string =~ s/\\(.)/$1/g }
        $value{$name} = $raw eq 'null' ? undef : defined $string ? $string : $raw;
    }
    return \%value;
}

on_both 'authentication and HTTP_PROXY' => sub {
    my ($server) = @_;
    is(body_of($server, 'auth.php', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0', HTTP_PROXY => 'http://evil/' }),
        '["alice","s3cret",null,false]', 'Basic is decoded, Proxy is not let in');
    is(body_of($server, 'auth.php'), '[null,null,null,false]', 'and nothing of it stays');
};

on_both 'a long parameter list' => sub {
    my ($server) = @_;
    my %param = map { ("X_LONG_$_" => ("$_," x 200)) } 1 .. 200;
    $param{X_HUGE} = 'h' x 60_000;
    my $got = json(body_of($server, 'server.php', params => \%param));
    is_deeply([ map { length($got->{$_} // '') } sort keys %param ], [ map { length $param{$_} } sort keys %param ], 'all values arrive');
};

subtest 'a pair that is cut by records' => sub {
    my $got = json(body_of($ours, 'server.php', piece => 11, params => { X_A => 'b' x 300, X_HUGE => 'h' x 200_000 }));
    is($got->{X_A}, 'b' x 300, 'short');
    is(length $got->{X_HUGE}, 200_000, 'longer than any record');
};

on_both 'exit()' => sub {
    my ($server) = @_;
    my ($worker) = $server->worker_pids;
    is(php_request($server, "$root/exit.php")->{body}, 'bye', 'output before exit');
    is(($server->worker_pids)[0], $worker, 'the worker lives');
};

on_both 'working directory' => sub {
    my ($server) = @_;
    is(body_of($server, 'cwd.php'), "$root $root/cwd.php", 'is the script\'s');
};

on_both 'errors' => sub {
    my ($server) = @_;
    allow_log(qr/fatal\.php|parse\.php|look here|and here|Unable to open primary script|Access to the script/);
    my @case = (
        [ 'missing.php',     404, "File not found.\n", qr/\APrimary script unknown/ ],
        [ 'sub/../hello.php',  404, "File not found.\n", qr/\APrimary script unknown/ ],
        [ 'note.txt',        403, "Access denied.\n", qr/Access to the script '\Q$root\E\/note\.txt' has been denied \(see security\.limit_extensions\)/ ],
        [ 'sub',             403, "Access denied.\n", qr/denied|Unable/ ],
    );
    push @case, [ 'secret.php', 403, "Access denied.\n", qr/Unable to open primary script: \Q$root\E\/secret\.php \(Permission denied\)/ ] if is_root();
    for (@case) {
        my ($script, $status, $body, $error) = @$_;
        my $answer = php_request($server, "$root/$script");
        is($answer->{status}, $status, "$script: $status");
        is($answer->{body}, $body, '... its page');
        like($answer->{stderr}, $error, '... STDERR');
    }
    my $answer = php_request($server, "$root/fatal.php");
    is($answer->{status}, 500, 'uncaught error: 500');
    is($answer->{body}, '', '... with an empty page');
    like($answer->{stderr}, qr/PHP message: PHP Fatal error:  Uncaught Error: Call to undefined function nowhere\(\)/, '... and its message on STDERR');
    is(php_request($server, "$root/parse.php")->{status}, 500, 'parse error: 500');
    $answer = php_request($server, "$root/shout.php");
    like($answer->{stderr}, qr/PHP message: PHP Warning:  look here in \Q$root\E\/shout\.php on line 1; PHP message: and here/, 'messages of one request are joined');
    is($answer->{body}, 'ok', '... beside the answer');
    $answer = php_request($server, "$root/hello.php", params => { REQUEST_METHOD => undef });
    is($answer->{status}, 200, 'no method: 200');
    is($answer->{body}, '', '... and nothing runs');
    is(body_of($server, 'hello.php'), "hello\n", 'afterwards all is well');
};

on_both 'response headers' => sub {
    my ($server) = @_;
    my %case = (
        'http_response_code(404);'                        => [ '404 Not Found' ],
        'header("HTTP/1.1 404 Foo");'                     => [ '404 Foo' ],
        'header("Status: 418 Short");http_response_code(500);' => [ '418 Short' ],
        'http_response_code(299);'                        => [ '299' ],
        'header("Location: /x");'                         => [ '302 Found', location => '/x' ],
        'header("Location: /x", true, 301);'              => [ '301 Moved Permanently', location => '/x' ],
        'header("WWW-Authenticate: Basic");'              => [ '401 Unauthorized', 'www-authenticate' => 'Basic' ],
        'header("X-A: 1");header("X-A: 2", false);'       => [ undef, 'x-a' => '1, 2' ],
        'header("Content-Type: text/plain");'             => [ undef, 'content-type' => 'text/plain;charset=UTF-8' ],
        'header("Content-Length: 4");'                    => [ undef, 'content-length' => '4' ],
        'setcookie("a","b c");setcookie("d","e");'        => [ undef, 'set-cookie' => 'a=b%20c, d=e' ],
        'header_remove("X-Powered-By");'                  => [ undef ],
        'http_response_code(304);'                        => [ '304 Not Modified', 'content-type' => undef ],
    );
    for my $code (sort keys %case) {
        my ($status, %expected) = @{ $case{$code} };
        my $answer = php_request($server, "$root/reply.php", query => 'code=' . escape($code));
        is($answer->{headers}{status}, $status, "$code: status");
        is($answer->{headers}{$_}, $expected{$_}, "... $_") for sort keys %expected;
        is($answer->{list}[0], 'Status', '... first of all') if defined $status && $code !~ /Status:/;
        unlike($answer->{head}, qr/(?<!\r)\n/, '... lines end with CR LF');
    }
    my $answer = php_request($server, "$root/hello.php");
    is($answer->{status}, 200, 'a status does not stay');
    if ($server != $ours) {
        my ($mine, $theirs) = map { php_request($_, "$root/reply.php", query => 'code=' . escape('header("X-Z: 1");header("X-B: 2");setcookie("q","r");'))->{head} } @servers;
        is($mine, $theirs, 'the whole head is the same, order included');
    }
};

on_both 'shutdown functions and destructors' => sub {
    my ($server) = @_;
    is(php_request($server, "$root/reply.php", query => 'silent=1&code=' . escape('register_shutdown_function(function () { echo "late"; }); echo "early ";'))->{body},
        'early late', 'their output still arrives');
    is(php_request($server, "$root/reply.php", query => 'silent=1&code=' . escape('class D { function __destruct() { echo "gone"; } } $GLOBALS["d"] = new D; echo "here ";'))->{body},
        'here gone', 'so does that of destructors');
};

check_descriptors(($ours->worker_pids)[0], sub {
    for (1 .. 30) { body_of($ours, 'hello.php'); body_of($ours, 'post.php', body => 'a=b') }
}, 'no descriptor leaked in the worker');
if (defined $ours->pool_pid) {
    check_descriptors($ours->pool_pid, sub { body_of($ours, 'hello.php') for 1 .. 30 }, 'no descriptor leaked in the pool process');
}
done_testing();
