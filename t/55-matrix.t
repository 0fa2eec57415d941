# One table of requests in every combination of MPM, protocol and kind of socket: what works in one cell of the matrix works
# in all. Depth is in the tests of each topic; this one finds the cell that nobody looked at.
# long: 30 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

require_program('curl',    'curl');
require_program('openssl', 'openssl');
plan(skip_all => 'curl has no HTTP/2') unless `curl --version` =~ /\bHTTP2\b/;

my $megabyte = 1024 * 1024;
my $flags    = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'hello.php'    => '<?php echo "hello ", $_SERVER["REQUEST_METHOD"], " ", $_SERVER["HTTPS"] ?? "plain", " ", $_SERVER["SERVER_PROTOCOL"];',
    'big.php'      => '<?php for ($i = 0; $i < 16; $i++) echo str_repeat(chr(97 + $i), 65536);',
    'echo.php'     => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);',
    'flush.php'    => '<?php while (ob_get_level()) ob_end_flush(); echo "first"; flush(); while (!file_exists($_GET["go"])) { clearstatcache(); usleep(2000); } echo " second";',
    'error.php'    => '<?php ini_set("display_errors", "0"); ini_set("log_errors", "0"); not_there();',
    'redirect.php' => '<?php header("Location: https://example.org/there", true, 302);',
);
my $big    = join '', map { chr(97 + $_) x 65536 } 0 .. 15;
my $upload = write_file('upload', join '', map { chr($_ % 251) } 1 .. $megabyte);
my $sum    = md5_hex(read_file($upload));
my ($key, $certificate) = map { test_dir() . "/$_.pem" } qw(key certificate);
system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout $key -out $certificate >/dev/null 2>&1") == 0 or die 'openssl req';
allow_log(qr/AH10034: The mpm module \(prefork\.c\) is not supported by mod_http2/);

my $daemon = start_daemon(conf => { unix => { 'pm.max_children' => 2 }, tcp => { 'pm.max_children' => 2, listen => 'tcp' } });
my $secure = free_port();
my $conf   = <<"EOF_CONF";
Protocols h2 h2c http/1.1
Listen 127.0.0.1:$secure https
<VirtualHost 127.0.0.1:$secure>
    SSLEngine on
    SSLCertificateFile $certificate
    SSLCertificateKeyFile $key
</VirtualHost>
LogLevel ssl:error
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
<FpmPoolDefine unix>
    FpmPoolServer unix:@{[ $daemon->listen_address('unix') ]}
</FpmPoolDefine>
<FpmPoolDefine tcp>
    FpmPoolServer tcp://@{[ $daemon->listen_address('tcp') ]}
</FpmPoolDefine>
@{[ map { "Alias /$_ $root\n<Location /$_/>\n    FpmPool $_\n</Location>\n" } qw(unix tcp) ]}
EOF_CONF

sub start_curl {
    my (@argument) = @_;
    open my $pipe, '-|', 'curl', qw(-sSkN --max-time 30 -w), "\n%{http_code} %{http_version} %{redirect_url}", @argument or die "curl: $!";
    return $pipe;
}

# "STATUS VERSION BODY", the version as the line's protocol has it; a redirect's target behind it.
sub finish_curl {
    my ($pipe, $begun) = @_;
    my $text = ($begun // '') . (do { local $/; <$pipe> } // '');
    close $pipe;
    my ($body, $status, $version, $target) = $text =~ /\A(.*)\n(\d+) ([\d.]+) (\S*)\z/s or return "curl: exit code @{[ $? >> 8 ]}: $text";
    $body = length($body) . ' ' . md5_hex($body) if length $body > 200;
    return join ' ', $status, $version, grep { length } $body, $target;
}

# A page whose second half is only written once the first one has come out of httpd.
sub stream {
    my (@argument) = @_;
    my $go   = "$flags/go";
    my $url  = pop @argument;
    unlink $go;
    my $pipe  = start_curl(@argument, "$url?go=$go");
    my $begun = '';
    eval { wait_for { sysread $pipe, $begun, 5 - length $begun, length $begun; length $begun == 5 } 10, 'the first half' };
    write_file($go, '');
    return finish_curl($pipe, $begun);
}

my @binary = ('-H', 'Content-Type: application/octet-stream');
my @cases  = (    # name, script, curl's options, status and body (NAME: what follows from the cell)
    [ 'a page',              'hello.php',    [],                                                        '200 hello GET HTTPS PROTOCOL' ],
    [ '1 MiB from PHP',      'big.php',      [],                                                        "200 $megabyte " . md5_hex($big) ],
    [ '1 MiB to PHP',        'echo.php',     [ @binary, '--data-binary', "\@$upload" ],                 "200 $megabyte $sum" ],
    [ '... without a length', 'echo.php',    [ @binary, '-X', 'POST', '-T', $upload, '-H', 'Transfer-Encoding: chunked' ], "200 $megabyte $sum" ],
    [ 'a flushed half',      'flush.php',    \&stream,                                                  '200 first second' ],
    [ 'no script',           'none.php',     [ '-o', '/dev/null' ],                                     '404' ],
    [ 'a fatal error',       'error.php',    [ '-o', '/dev/null' ],                                     '500' ],
    [ 'a redirect',          'redirect.php', [],                                                        '302 https://example.org/there' ],
);
my @protocols = (    # name, curl's option, with TLS?, version
    [ 'HTTP/1.1',        '--http1.1',                0, '1.1' ],
    [ 'HTTP/2',          '--http2-prior-knowledge',  0, '2' ],
    [ 'HTTP/1.1 in TLS', '--http1.1',                1, '1.1' ],
    [ 'HTTP/2 in TLS',   '--http2',                  1, '2' ],
);

my $cells = 0;
for my $mpm (qw(event worker prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, modules => [qw(socache_shmcb ssl http2)], conf => $conf);
    for my $protocol (@protocols) {
        my ($name, $option, $has_tls, $version) = @$protocol;
        if ($mpm eq 'prefork' && $version eq '2') {
            next unless $has_tls;
            ($name, $version) = ("$name, which falls back", '1.1');    # httpd has no HTTP/2 there
        }
        for my $socket (qw(unix tcp)) {
            subtest "$mpm, $name, $socket" => sub {
                $cells++;
                my $base = ($has_tls ? "https://127.0.0.1:$secure" : $httpd->url) . "/$socket";
                for my $case (@cases) {
                    my ($what, $script, $how, $wanted) = @$case;
                    my ($status, $rest) = split / /, $wanted, 2;
                    my $https    = $has_tls ? 'on' : 'plain';
                    my $expected = join ' ', $status, $version, grep { defined } $rest;
                    $expected =~ s{HTTPS PROTOCOL}{"$https HTTP/" . ($version eq '2' ? '2.0' : $version)}e;
                    my $got = ref $how eq 'CODE' ? $how->($option, "$base/$script") : finish_curl(start_curl($option, @$how, "$base/$script"));
                    is($got, $expected, $what);
                }
            };
        }
    }
    $httpd->stop;
}
is($cells, 22, 'two sockets, four protocols (three without HTTP/2 under prefork), three MPMs');
done_testing();
