# Bodies of requests, with real scripts: every mode of FpmPoolBody in HTTP/1.1 and HTTP/2, httpd's limits and filters, uploads that
# end too early, answers that come before the upload has ended, what is on the disk meanwhile. (What goes over the wire is in
# 51-module-failures.t, full disks in 58-module-spool.t, HTTP/2 in 55-module-http2.t.)
# long: 40 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::HTTP2;
use FPMPool::Test;
use IO::Compress::Gzip ();

my $marks = test_dir() . '/marks';
my $spool = test_dir() . '/spool';
for ($marks, $spool) { mkdir; chmod 0777, $_ }
my $note = 'function note($text) { file_put_contents($_GET["mark"], "$text\n", FILE_APPEND); }';
my $root = site('www',
    'sum.php'    => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b), " ", isset($_SERVER["CONTENT_LENGTH"]) ? $_SERVER["CONTENT_LENGTH"] == strlen($b) ? "told" : "wrong" : "none";',
    'post.php'   => '<?php echo count($_POST), " ", md5(serialize($_POST)), " ", count($_FILES);',
    'cut.php'    => "<?php $note register_shutdown_function(fn () => note('end ' . connection_aborted())); note('begun');"
        . ' $n = 0; $in = fopen("php://input", "r"); while (($p = fread($in, 65536)) != "") $n += strlen($p); note("read $n"); echo "x"; flush(); note("whole $n");',
    'form.php'   => "<?php $note register_shutdown_function(fn () => note('end ' . connection_aborted())); note('begun ' . count(\$_POST)); echo 'x'; flush(); note('whole');",
    'early.php'  => '<?php while (ob_get_level()) ob_end_flush(); http_response_code(413); echo "no"; flush(); while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } echo " more";',
    'wait.php'   => "<?php $note note('begun'); while (!file_exists(\$_GET['go'])) { clearstatcache(); usleep(10000); } echo strlen(file_get_contents('php://input'));",
    'ignore.php' => '<?php echo "did not read";',
    'late.php'   => '<?php register_shutdown_function(function () { echo strlen(file_get_contents("php://input")); });',
);
my @pool = ('pm.max_children' => 2, 'php_value[post_max_size]' => '64M', FPMPool::Board::needed_keys());
my $daemon = start_daemon(conf => { www => {@pool} });
my $fpm    = -x '/usr/sbin/php-fpm8.2' ? start_php_fpm(conf => { www => { 'pm.max_children' => 2 } }) : undef;
my @mode   = qw(auto stream buffer);
allow_log(qr/AH01626|AH01387|AH01390|AH01588|AH02650|AH00524|Zlib|inflate|AH01568|AH01569|AH01579|AH10275|FPMP00(?:20|64): |FPMP0073: pool nobody|AH02648|AH02649|AH02481/, qr/\[auth_basic:error\]/);

sub conf {
    my ($http2) = @_;
    my @path = map { my $mode = $_; map { ["$mode-$_", $mode, $_] } 'ours', $fpm ? 'fpm' : () } @mode;
    return ($http2 ? "Protocols h2c http/1.1\nLogLevel http2:error\n" : '') . <<"EOF_CONF"
<FpmPoolDefine ours>
    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]}
</FpmPoolDefine>
FpmPool ours
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
@{[ map { "Alias /$_ $root\n" } qw(limited inflate ratio slow login none strict nobody missing small) ]}
<LocationMatch "^/(limited|inflate)/">
    LimitRequestBody 100000
</LocationMatch>
<LocationMatch "^/(inflate|ratio)/">
    SetInputFilter DEFLATE
</LocationMatch>
<Location "/ratio/">
    DeflateInflateRatioLimit 10
    DeflateInflateRatioBurst 1
</Location>
<LocationMatch "/stream">
    FpmPoolBody stream
</LocationMatch>
<Location "/none/">
    FpmPool none
</Location>
<Location "/nobody/">
    FpmPool nobody
</Location>
<Location "/small/">
    FpmPoolMaxParams 4K
</Location>
<Location "/strict/">
    AcceptPathInfo Off
</Location>
<Location "/login/">
    AuthType Basic
    AuthName x
    AuthUserFile /dev/null
    Require valid-user
</Location>
RequestReadTimeout body=3
EOF_CONF
        . ($fpm ? "<FpmPoolDefine fpm>\n    FpmPoolServer unix:" . $fpm->listen_address('www') . " type=fpm\n</FpmPoolDefine>\n" : '')
        . join '', map { my ($path, $mode, $pool) = @$_;
            "Alias /$path $root\nAlias /limited-$path $root\n<LocationMatch \"^/(limited-)?$path/\">\n    FpmPool $pool\n    FpmPoolBody $mode memory=16K\n</LocationMatch>\n"
            . "<Location \"/limited-$path/\">\n    LimitRequestBody 100000\n</Location>\n" } @path;
}

# A request whose body does not come whole: $length bytes of it.
sub send_part {
    my ($http, $method, $path, $type, $chunked, $length) = @_;
    my $text = $type =~ /multipart/ ? "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" : 'a=';
    my $sent = $text . 'x' x ($length - length $text);
    $http->send_request($method, $path, no_body => 1,
        headers => [ 'Content-Type' => $type, $chunked ? ('Transfer-Encoding' => 'chunked') : ('Content-Length' => $length + 100_000) ]);
    $http->send_raw($chunked ? sprintf("%x\r\n", $length) . "$sent\r\n" : $sent);
    return;
}

# Lines that a script has left.
sub marked { my ($mark) = @_; return -e $mark ? read_file($mark) : '' }
my $serial = 0;
sub new_mark { return "$marks/" . ++$serial }

# The workers are idle again, so what a script would still have written is there.
sub settle { FPMPool::Board::wait_idle($daemon, 'www'); return }

sub run_all {
    my ($httpd) = @_;
    my @pool = ('ours', $fpm ? 'fpm' : ());
    my $get = sub { my ($path, %option) = @_; return http($httpd->url($path), %option) };
    my $open = sub { return http_connect(port => $httpd->port, timeout => 15) };

    subtest 'modes' => sub {
        my %body = map { my $text = join '', map { chr $_ % 251 } 1 .. $_; ($_ => $text) } 1, 16_384, 16_385, 65_535, 65_536, 1_048_576, 1_048_577, 2_500_000;
        my $h2 = $httpd->{http2} ? FPMPool::HTTP2->connect(port => $httpd->port) : undef;
        my $count = 0;
        my @type = (headers => [ 'Content-Type' => 'application/octet-stream' ]);
        for my $mode (@mode) {
            for my $pool (@pool) {
                my @wrong;
                for my $length (sort { $a <=> $b } keys %body) {
                    my $sum = "$length " . md5_hex($body{$length});
                    my %way = ('HTTP/1.1' => sub { $get->("/$mode-$pool/sum.php", method => 'POST', body => $body{$length}) },
                        chunked => sub { $get->("/$mode-$pool/sum.php", method => 'POST', body => [ unpack '(a30000)*', $body{$length} ]) },
                        $h2 ? (h2 => sub { $h2->exchange(POST => "/$mode-$pool/sum.php", @type, body => $body{$length}) },
                            'h2 without length' => sub { $h2->exchange(POST => "/$mode-$pool/sum.php", @type, body => [ $body{$length} ]) }) : ());
                    for my $way (sort keys %way) {
                        my $got = $way{$way}->()->{body};
                        $count++;
                        push @wrong, "$way, $length bytes: $got" if $got !~ /\A\Q$sum\E (?:told|none)\z/;
                    }
                }
                is_deeply(\@wrong, [], "$mode, $pool: every body arrives whole");
            }
        }
        note("$count uploads");
    };

    subtest 'httpd\'s limit' => sub {
        for my $mode (@mode) {
            for my $pool (@pool) {
                my $mark = new_mark();
                my $path = "/limited-$mode-$pool/cut.php?mark=$mark";
                is($get->($path, method => 'POST', body => 'l' x 100_001)->{status}, 413, "$mode, $pool: one byte too many: 413");
                ok(!-e $mark, '... no script ran');
                is($get->($path, method => 'POST', body => [ ('l' x 25_000) x 4, 'l' ])->{status}, 413, '... in chunks');
                settle() if $pool eq 'ours';
                unlike(marked($mark), qr/whole/, '... and no script has taken it for whole');
                is($get->("/limited-$mode-$pool/sum.php", method => 'POST', body => $_)->{body} =~ /^(\d+)/ ? $1 : 'none', 100_000, 'the limit itself passes') for 'l' x 100_000, [ ('l' x 25_000) x 4 ];
            }
        }
    };

    subtest 'compressed bodies' => sub {
        my $plain = join '', map { "line $_\n" } 1 .. 9_000; # below the limit
        IO::Compress::Gzip::gzip(\$plain => \my $packed) or die;
        my @gzip = (headers => [ 'Content-Encoding' => 'gzip', 'Content-Type' => 'text/plain' ]);
        for my $stream ('', 'stream/') { # (FpmPoolBody stream by its path)
            like($get->("/inflate/sum.php/$stream", method => 'POST', body => $_, @gzip)->{body}, qr/^@{[ length $plain ]} @{[ md5_hex($plain) ]} (?:told|none)$/, "arrives unpacked $stream" . (ref ? ', in chunks' : ''))
                for $packed, [ unpack '(a5000)*', $packed ];
            my $mark = new_mark();
            my $large = join '', map { "line $_\n" } 1 .. 30_000;
            IO::Compress::Gzip::gzip(\$large => \my $bomb) or die;
            my $zeros = "z" x 3_000_000;
            IO::Compress::Gzip::gzip(\$zeros => \my $dense) or die;
            cmp_ok(length $bomb, '<', 100_000, 'a body that is small on the wire');
            for my $body ($bomb, [ unpack '(a1000)*', $bomb ]) {
                is($get->("/inflate/cut.php/$stream?mark=$mark", method => 'POST', body => $body, @gzip)->{status}, 413, '... and unpacked larger than LimitRequestBody: 413');
            }
            isnt($get->("/ratio/cut.php/$stream?mark=$mark", method => 'POST', body => $dense, @gzip)->{status}, 200, '... DeflateInflateRatioLimit');
            isnt($get->("/inflate/cut.php/$stream?mark=$mark", method => 'POST', body => substr($packed, 0, length($packed) - 20), @gzip)->{status}, 200, '... cut on the wire');
            settle();
            unlike(marked($mark), qr/whole/, '... and no script has taken one of them for whole');
        }
    };

    subtest 'Expect: 100-continue' => sub {
        for my $case ([ '/none.php', 404, 'no such script' ], [ '/none/sum.php', 403, 'FpmPool none' ], [ '/strict/sum.php/pi', 404, 'AcceptPathInfo Off' ],
            [ '/nobody/sum.php', 503, 'a pool that is not there' ], [ '/limited/sum.php', 413, 'too large' ], [ '/login/sum.php', 401, 'no login' ]) {
            my ($path, $status, $name) = @$case;
            my $http = $open->();
            $http->send_request(POST => $path, headers => [ 'Content-Length' => 300_000, Expect => '100-continue' ], no_body => 1);
            my $head = $http->read_head;
            is($head->{status}, $status, "$name: $status, without an upload");
            ok(!$head->{keep} || $status == 401 || $status == 404 || $status == 403, '... and the connection does not wait for it') or diag explain $head;
        }
        for my $mode (@mode) {
            my $http = $open->();
            $http->send_request(POST => "/$mode-ours/sum.php", headers => [ 'Content-Length' => 2_000_000, Expect => '100-continue' ], no_body => 1);
            is($http->read_head->{status}, 100, "$mode: 100 where it will be taken");
            $http->send_raw('e' x 2_000_000);
            is($http->read_answer->{body}, '2000000 ' . md5_hex('e' x 2_000_000) . ' told', '... and it is');
            is($http->exchange(GET => '/ignore.php')->{body}, 'did not read', '... and the connection goes on');
        }
        my $http = $open->();
        $http->send_request(POST => '/auto-ours/sum.php', headers => [ 'Content-Length' => 10, Expect => '100-continue' ], no_body => 1, version => 'HTTP/1.0');
        $http->send_raw('0123456789');
        is($http->read_head->{status}, 200, 'HTTP/1.0 gets no 100');
        is($get->('/ignore.php', method => 'POST', headers => [ Expect => 'something else' ], body => 'x')->{status}, 417, 'another expectation: 417');
    };

    # PHP reads a POST before its script begins, and all others when the script asks.
    subtest 'a client that does not send all' => sub {
        my @case = ([ PUT => 'cut.php', 'text/plain' ], [ POST => 'form.php', 'text/plain' ], [ POST => 'form.php', 'application/x-www-form-urlencoded' ], [ POST => 'form.php', 'multipart/form-data; boundary=B' ]);
        for my $mode (@mode) {
            for my $case (@case) {
                my ($method, $script, $type) = @$case;
                for my $chunked (0, 1) {
                    for my $length (50_000, 2_000_000) {
                        my $mark = new_mark();
                        my $http = $open->();
                        send_part($http, $method, "/$mode-ours/$script?mark=$mark", $type, $chunked, $length);
                        wait_for { marked($mark) =~ /begun/ } 10, 'the script' if $mode eq 'stream' && $method eq 'PUT';
                        $http->close;
                        settle();
                        my $seen = marked($mark) =~ s/\n/ /gr;
                        my $right = $method eq 'POST' || $mode eq 'buffer' ? qr/\A\z/ : qr/\A(?:begun read \d+ end 1 )?\z/;
                        like($seen, $right, "$mode, $method $type, " . ($chunked ? 'chunked' : 'known') . ", $length bytes, then gone: " . ($seen eq '' ? 'no script ran' : "the script is ended ($seen)"));
                    }
                }
            }
        }
        if ($fpm) {
            my $mark = new_mark();
            my $http = $open->();
            send_part($http, POST => "/stream-fpm/form.php?mark=$mark", 'application/x-www-form-urlencoded', 0, 50_000);
            select undef, undef, undef, 0.3; # until php-fpm has some of it
            $http->close;
            like(eval { wait_for { marked($mark) =~ /end/ && marked($mark) } 5, 'the script' } // 'none ran', qr/begun 1/, 'php-fpm runs the script with a part of the form');
        }
    };

    subtest 'a client that is too slow' => sub {
        for my $mode (@mode) {
            my $mark = new_mark();
            my $http = $open->();
            $http->send_request(PUT => "/$mode-ours/cut.php?mark=$mark", headers => [ 'Content-Length' => 100_000 ], no_body => 1);
            $http->send_raw('slow');
            is($http->read_answer->{status}, 408, "$mode: 408 by mod_reqtimeout");
            settle();
            unlike(marked($mark), qr/whole/, '... and no script goes on with a part');
        }
    };

    subtest 'an answer before the upload has ended' => sub {
        for my $length (200_000, 3_000_000) {
            my $go = new_mark();
            my $http = $open->();
            $http->send_request(PUT => "/stream-ours/early.php?go=$go", headers => [ 'Content-Length' => $length ], no_body => 1);
            $http->send_raw('e' x 100_000);
            is($http->read_head->{status}, 413, "$length bytes: the head comes during the upload");
            is($http->read_some, 'no', '... and the first bytes');
            write_file($go, '');
            is($http->read_some, ' more', '... then the rest');
        }
        my $http = $open->();
        $http->send_request(PUT => '/stream-ours/ignore.php', headers => [ 'Content-Length' => 3_000_000 ], no_body => 1);
        $http->send_raw('e' x 100_000);
        is($http->read_answer->{body}, 'did not read', 'an answer that was not flushed does not wait for the rest of the upload');
        if ($fpm) {
            $http = http_connect(port => $httpd->port, timeout => 1);
            $http->send_request(PUT => '/stream-fpm/ignore.php', headers => [ 'Content-Length' => 3_000_000 ], no_body => 1);
            $http->send_raw('e' x 100_000);
            ok(!eval { $http->read_answer }, '... php-fpm\'s does');
        }
        $http = $open->();
        is($http->exchange(PUT => '/stream-ours/ignore.php', body => 'x' x 500_000)->{body}, 'did not read', 'a script that does not read its body');
        is(eval { $http->exchange(GET => '/ignore.php')->{body} }, 'did not read', '... whose connection goes on with the next request');
        is($get->('/stream-ours/late.php', method => 'PUT', body => 'x' x 300_000)->{body}, 300_000, 'a shutdown function may still read the body');
    };

    subtest 'a script that does not read' => sub {
        my ($mark, $go) = (new_mark(), new_mark());
        my $http = $open->();
        $http->send_request(PUT => "/stream-ours/wait.php?mark=$mark&go=$go", headers => [ 'Content-Length' => 80_000_000 ], no_body => 1);
        wait_for { -e $mark } 10, 'the script';
        $http->{timeout} = 1.5;
        my ($taken, $piece) = (0, 'b' x 100_000);
        while ($taken < 80_000_000 && eval { $http->send_raw($piece); 1 }) { $taken += length $piece }
        cmp_ok($taken, '<', 40_000_000, "holds up its client: $taken bytes were taken of 80 MB");
        my $pool_pid = $daemon->pool_pid('www');
        write_file($go, '');
        $http->close;
        settle();
    };

    subtest 'on the disk' => sub {
        is_deeply([ glob "$spool/*" ], [], 'no file has a name after all that');
        my ($mark, $go) = (new_mark(), new_mark());
        my $http = $open->();
        $http->send_request(POST => "/buffer-ours/wait.php?mark=$mark&go=$go", body => 'd' x 3_000_000);
        wait_for { -e $mark } 10, 'the script';
        my $files = sub { return scalar grep { m{\A\Q$spool\E/.* \(deleted\)\z} } map { values %{ descriptors($_) } } descendants($httpd->pid) };
        is($files->(), 1, 'a spooled body is a file');
        is_deeply([ glob "$spool/*" ], [], '... without a name');
        write_file($go, '');
        is($http->read_answer->{body}, 3_000_000, '... that the script gets');
        ok((wait_for { !$files->() } 5, 'the end of the file'), '... and that is gone with the request');
    };
    return;
}

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        my $http2 = $mpm eq 'event' && FPMPool::HTTP2::is_available();
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => conf($http2), env => { %ENV, TMPDIR => $spool },
            modules => [ qw(deflate filter reqtimeout auth_basic authn_file authz_user), $http2 ? 'http2' : () ]);
        $httpd->{http2} = $http2;
        run_all($httpd);
        $httpd->stop;
    };
}
done_testing();
