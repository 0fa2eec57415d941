# Scripts through mod_fpmpool over HTTP/2 (mod_http2, cleartext): streams side by side, bodies with and
# without a length, answers during an upload, cuts, clients that go away. With our daemon, php-fpm and a fake peer.
# long: 30 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

require_program('curl', 'curl');
require_program('openssl', 'openssl');
plan(skip_all => 'curl has no HTTP/2') unless `curl --version` =~ /\bHTTP2\b/;

my $root = site('www',
    'hello.php'  => '<?php echo "hello\n";',
    'echo.php'   => '<?php $b = file_get_contents("php://input"); if (isset($_GET["wait"])) usleep(700000); echo strlen($b), " ", md5($b), " ", $_SERVER["CONTENT_LENGTH"] ?? "none", " ", $_SERVER["SERVER_PROTOCOL"];',
    'large.php'  => '<?php for ($i = 0; $i < 100; $i++) echo str_repeat(chr(97 + $i % 26), 50000);',
    'length.php' => '<?php header("Content-Length: 5"); echo "12345";',
    'status.php' => '<?php http_response_code(404); header("X-A: b"); setcookie("a", "1"); setcookie("b", "2"); echo "own";',
    'x.php'      => '<?php',
);
my $run = test_dir() . '/run';
mkdir $run;
chmod 0777, $run;
my $peer = start_service(kind => 'peer', name => 'peer', argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/peer.sock" ]);
$peer->wait_log(qr/listening/);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 4 } });
my $fpm    = -x '/usr/sbin/php-fpm8.2' ? start_php_fpm(conf => { fpm => {} }) : undef;
allow_log(qr{FPMP0073: pool nobody}, qr/FPMP00(?:20|60|63|64|66|68): /);
my $httpd;
my $secure = free_port();
my ($key, $certificate) = map { test_dir() . "/$_.pem" } qw(key certificate);
system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout $key -out $certificate >/dev/null 2>&1") == 0 or die 'openssl req';

sub curl {
    my (@argument) = @_;
    open my $pipe, '-|', 'curl', '-sS', '--http2-prior-knowledge', '--max-time', 20, '-o', test_dir() . '/body', '-D', test_dir() . '/head', '-w', '%{http_code} %{http_version}', @argument or die $!;
    my $written = do { local $/; <$pipe> } // '';
    close $pipe;
    my ($status, $version) = $written =~ /(\d+) ([\d.]+)\z/;
    return { status => $status, version => $version, code => $? >> 8, body => -e test_dir() . '/body' ? read_file(test_dir() . '/body') : '', head => -e test_dir() . '/head' ? read_file(test_dir() . '/head') : '' };
}

sub run_all {
    my $url = sub { $httpd->url($_[0]) };
    my $answer = curl($url->('/hello.php'));
    is("$answer->{status} $answer->{version} $answer->{body}", "200 2 hello\n", 'a page');
    like($answer->{head}, qr/^content-length: 6\r$/m, 'has its length');
    $answer = curl('-I', $url->('/length.php'));
    like($answer->{head}, qr/^content-length: 5\r$/m, 'HEAD has the script\'s');
    $answer = curl($url->('/status.php'));
    is("$answer->{status} $answer->{body}", '404 own', 'a status of the script');
    is(scalar(() = $answer->{head} =~ /^set-cookie: [ab]=/mg), 2, 'both cookies');
    is(length curl($url->('/large.php'))->{body}, 5_000_000, '5 MB');

    for my $length (1, 5000, 65535, 65536, 200_000, 3_000_000) {
        my $body = join '', map { chr $_ % 251 } 1 .. $length;
        my $file = write_file('upload', $body);
        my $sum  = md5_hex($body);
        my @type = ('-H', 'Content-Type: application/octet-stream');
        for my $path ('/echo.php', $fpm ? '/fpm/echo.php' : ()) {
            is(curl(@type, '--data-binary', "\@$file", $url->($path))->{body}, "$length $sum $length HTTP/2.0", "$path: a body of $length bytes");
            open my $in, '-|', "curl -sS --max-time 20 --http2-prior-knowledge -X POST -T - '" . $url->($path) . "' < $file" or die $!;
            my $text = do { local $/; <$in> } // '';
            close $in;
            like($text, qr/\A$length $sum /, '... without a length');
        }
        is(curl(@type, '--data-binary', "\@$file", $url->('/echo.php?wait=1'))->{body}, "$length $sum $length HTTP/2.0", '... for a script that then takes its time') if $length == 5000 || $length == 3_000_000;
    }
    my $file = write_file('upload', 'u' x 100_000);
    my $logged = sub {
        my ($request) = @_;
        return wait_for { read_file($httpd->{access_log}) =~ m{"\Q$request\E HTTP/2.0" (\d+)} && $1 } 5, "the access log line of $request";
    };
    # (curl 7.88 takes the end of the stream behind an early answer for an error, so httpd's word is taken)
    curl('--data-binary', "\@$file", '--stderr', '/dev/null', $url->('/limited/echo.php'));
    is($logged->('POST /limited/echo.php'), 413, 'LimitRequestBody: 413');

    # (over TLS: curl 7.88 confuses streams side by side on cleartext connections, of static files too)
    my @url = map { "https://127.0.0.1:$secure/hello.php?$_" } 1 .. 40;
    open my $pipe, '-|', 'curl', '-sSk', '--http2', '--parallel', '--parallel-max', 20, '--stderr', '/dev/null', @url or die $!;
    my $all = do { local $/; <$pipe> } // '';
    close $pipe;
    is($all, "hello\n" x 40, '40 streams side by side');
    my $sent = write_file('upload', join '', map { chr $_ % 251 } 1 .. 900_000);
    for my $version ('--http1.1', '--http2') {
        my $text = `curl -sSk --max-time 20 $version -H 'Content-Type: application/octet-stream' --data-binary \@$sent https://127.0.0.1:$secure/echo.php`;
        like($text, qr/\A900000 @{[ md5_hex(read_file($sent)) ]} 900000 /, "a body over TLS, $version");
    }

    subtest 'failures' => sub {
        is(curl($url->("/peer/x.php?do=$_->[0]"))->{status}, $_->[1], "$_->[0]: $_->[1]") for [ overloaded => 503 ], [ lost => 502 ], [ cut_header => 502 ], [ silence => 504 ];
        like(curl($url->('/peer/x.php?do=overloaded'))->{head}, qr/^retry-after: 5\r$/m, '503 has Retry-After');
        is(curl($url->('/none/x.php'))->{status}, 503, 'a server that is not there');
        my $go = test_dir() . '/go';
        for my $do (qw(lost_body lost_length)) {
            unlink $go;
            open my $in, '-|', 'curl', '-sSN', '--http2-prior-knowledge', '--max-time', 20, '--stderr', '/dev/null', $url->("/slow/x.php?do=$do&go=$go") or die $!;
            read $in, my $begun, 100;
            is($begun, 'x' x 100, "$do: the response begins");
            write_file($go, '');
            my $rest = do { local $/; <$in> } // '';
            close $in;
            ok($rest eq '' && $? >> 8, '... and the client can tell that it is cut');
        }
        unlink $go;
    };

    subtest 'an answer during the upload' => sub {
        my $big = write_file('upload', 'u' x 6_000_000);
        my $from = $peer->log_length;
        curl('--data-binary', "\@$big", '-H', 'Expect:', '--stderr', '/dev/null', $url->('/peer/x.php?do=early'));
        is($logged->('POST /peer/x.php?do=early'), 413, 'ends the request');
        ok(eval { $peer->wait_log(qr/the connection was closed/, 5, $from) }, '... and the connection to the server');
    };

    subtest 'a client that goes away' => sub {
        my $from = $peer->log_length;
        my $pid = fork // die $!;
        if (!$pid) { open STDERR, '>', '/dev/null'; open STDOUT, '>', '/dev/null'; exec 'curl', '-s', '--http2-prior-knowledge', $url->('/patient/x.php?do=silence') or exit 1 }
        $peer->wait_log(qr/request silence/, 5, $from);
        kill 'TERM', $pid;
        waitpid $pid, 0;
        ok(eval { $peer->wait_log(qr/the connection was closed/, 5, $from) }, 'the server hears of it while it works');
    };
    return;
}

my $conf = php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF";
Protocols h2 h2c http/1.1
Listen 127.0.0.1:$secure https
<VirtualHost 127.0.0.1:$secure>
    SSLEngine on
    SSLCertificateFile $certificate
    SSLCertificateKeyFile $key
</VirtualHost>
LogLevel http2:error ssl:error
@{[ $fpm ? "<FpmPoolDefine fpm>\n    FpmPoolServer unix:" . $fpm->listen_address('fpm') . " type=fpm\n</FpmPoolDefine>\nAlias /fpm $root\n<Location /fpm/>\n    FpmPool fpm\n</Location>" : '' ]}
<FpmPoolDefine peer>
    FpmPoolServer unix:$run/peer.sock
</FpmPoolDefine>
@{[ map { "Alias /$_ $root\n" } qw(peer none limited patient slow) ]}
<LocationMatch "^/(peer|patient|slow)/">
    FpmPool peer
    FpmPoolTimeout first=1s
</LocationMatch>
<Location "/patient/">
    FpmPoolTimeout first=20s
</Location>
<Location "/none/">
    FpmPool nobody
</Location>
<Location "/limited/">
    LimitRequestBody 50000
</Location>
EOF_CONF
for my $mpm (qw(event worker)) {
    $httpd = start_httpd(mpm => $mpm, docroot => $root, modules => [qw(socache_shmcb ssl http2)], log_level => 'warn fpmpool:debug', conf => $conf);
    subtest $mpm => sub { run_all() };
    $httpd->stop;
}
done_testing();
