# What mod_fpmpool makes of good answers: conditional requests, ranges, early hints, files that a script names for httpd to
# send, errors that become httpd's own, and responses that are taken from PHP faster than the client reads them.

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use POSIX ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::HTTP2;
use FPMPool::Test;
use IO::Compress::Gzip ();
use IO::Uncompress::Gunzip ();

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $file = join '', map { chr(65 + $_ % 26) } 0 .. 2_999_999;
my $root = site('www',
    'tagged.php'  => '<?php header("ETag: \"v1\""); if (isset($_GET["s"])) http_response_code((int) $_GET["s"]); echo "a tagged page";',
    'dated.php'   => '<?php header("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"); echo "a dated page";',
    'page.php'    => '<?php echo "0123456789";',
    'part.php'    => '<?php http_response_code(206); header("Content-Range: bytes 2-4/10"); echo "234";',
    'length.php'  => '<?php header("Content-Length: " . $_GET["l"]); echo "0123456789";',
    'away.php'    => '<?php header("Location: " . $_GET["to"], true, (int) ($_GET["s"] ?? 302)); echo "moved";',
    'send.php'    => '<?php header(($_GET["h"] ?? "X-Sendfile") . ": " . $_GET["f"]); header("Content-Type: application/x-thing");'
        . ' header("Content-Disposition: attachment"); if (isset($_GET["s"])) http_response_code((int) $_GET["s"]); echo str_repeat("not this ", 1000);',
    'error.php'   => '<?php http_response_code((int) $_GET["s"]); header("X-Why: because"); echo "page of the script";',
    'err.php'     => '<?php http_response_code(404); echo "page of the site for ", $_SERVER["REDIRECT_STATUS"];',
    'big.php'     => '<?php for ($i = 0; $i < 160; $i++) echo str_repeat(chr(97 + $i % 26), 65536); flush(); file_put_contents($_GET["mark"], "");',
    'slow.php'    => '<?php while (ob_get_level()) ob_end_flush(); echo "first"; flush(); while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } echo "second";',
    'private/a.bin' => $file,
    'private/b.txt' => 'a static text',
    'other/c.txt'   => 'of another folder',
    'x.php'         => '<?php',
    'echo.php'      => '<?php $b = file_get_contents("php://input"); echo $_SERVER["CONTENT_LENGTH"] ?? "none", " ", strlen($b), " ", md5($b);',
    'text.php'      => '<?php echo str_repeat("compress me ", 1000);',
);
symlink '/etc/passwd', "$root/private/link" or die;
symlink "$root/private/b.txt", "$root/other/inside" or die;
POSIX::mkfifo("$root/private/fifo", 0666) or die;
my $outside = site('outside', 'o.txt' => 'outside of the document root');
my $run = test_dir() . '/run';
mkdir $run;
my $fake   = start_fake("$run/fake.sock");
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 } });
my $big    = md5_hex(join '', map { chr(97 + $_ % 26) x 65536 } 0 .. 159);
allow_log(qr/FPMP00(?:30|31|32|33|58|65|66|68): /);

my $conf = php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF";
RequestReadTimeout body=2
Protocols h2c http/1.1
LogLevel http2:error
<FpmPoolDefine fake>
    FpmPoolServer unix:$run/fake.sock
</FpmPoolDefine>
@{[ map { "Alias /$_ $root\n" } qw(fake sends document memory buffer small override some inflate hasty deflate) ]}
<Location "/fake/">
    FpmPool fake
</Location>
<Location "/sends/">
    FpmPoolSendfile $root/private $outside/
</Location>
<Location "/document/">
    FpmPoolSendfile on
</Location>
<Location "/memory/">
    FpmPoolBuffer 16M file=0
</Location>
<Location "/buffer/">
    FpmPoolBuffer 128K
    FpmPoolFlush on
</Location>
<Location "/small/">
    FpmPoolBuffer 64K file=1M
</Location>
<Location "/inflate/">
    SetInputFilter DEFLATE
</Location>
<Location "/deflate/">
    SetOutputFilter DEFLATE
</Location>
<Location "/override/">
    FpmPoolErrorOverride on
    ErrorDocument 404 /override/err.php
</Location>
<Location "/some/">
    FpmPoolErrorOverride 500 503
</Location>
EOF_CONF

sub run_all {
    my ($httpd) = @_;
    my $get = sub { my ($path, %option) = @_; return http($httpd->url($path), %option) };
    my $line = sub { my ($path, @header) = @_; my $answer = $get->($path, headers => [@header]); return "$answer->{status} $answer->{body}" };

    subtest 'conditional requests' => sub {
        is($line->('/tagged.php', 'If-None-Match' => '"v1"'), '304 ', 'If-None-Match with the script\'s tag');
        is($line->('/tagged.php', 'If-None-Match' => '"v0", "v1"'), '304 ', '... in a list');
        is($line->('/tagged.php', 'If-None-Match' => '"v2"'), '200 a tagged page', '... with another');
        is(($get->('/tagged.php', headers => [ 'If-Match' => '"v2"' ]))->{status}, 412, 'If-Match with another tag: 412');
        is($line->('/tagged.php', 'If-Match' => '"v1"'), '200 a tagged page', '... with the same');
        is($line->('/dated.php', 'If-Modified-Since' => 'Mon, 01 Jan 2024 00:00:00 GMT'), '304 ', 'If-Modified-Since');
        is(($get->('/dated.php', headers => [ 'If-Unmodified-Since' => 'Sun, 31 Dec 2023 00:00:00 GMT' ]))->{status}, 412, 'If-Unmodified-Since: 412');
        is($line->('/tagged.php?s=404', 'If-None-Match' => '"v1"'), '404 a tagged page', 'not when the script has its own status');
        is(($get->('/tagged.php', method => 'POST', body => 'x', headers => [ 'If-None-Match' => '"v1"' ]))->{status}, 200, '... nor for a POST');
        is(($get->('/tagged.php', headers => [ 'If-None-Match' => '"v1"' ]))->{headers}{etag}, '"v1"', '304 has the tag');
        my $head = $get->('/tagged.php', method => 'HEAD');
        is("$head->{status} $head->{headers}{etag} $head->{body}", '200 "v1" ', 'HEAD: the headers alone');
    };

    subtest 'ranges and lengths' => sub {
        my $part = $get->('/page.php', headers => [ Range => 'bytes=2-4' ]);
        is("$part->{status} $part->{body} $part->{headers}{'content-range'}", '206 234 bytes 2-4/10', 'httpd cuts a range out of a small page, as with mod_php');
        $part = $get->('/part.php', headers => [ Range => 'bytes=2-4' ]);
        is("$part->{status} $part->{body} $part->{headers}{'content-range'} $part->{framing}", '206 234 bytes 2-4/10 length', 'a range that the script has cut itself passes');
        my $answer = $get->('/length.php?l=10');
        is("$answer->{status} $answer->{headers}{'content-length'} $answer->{body}", '200 10 0123456789', 'a right Content-Length');
        $answer = $get->('/length.php?l=4');
        is("$answer->{status} $answer->{headers}{'content-length'} $answer->{body}", '200 4 0123', 'one that is too small is kept');
        is($get->('/length.php?l=400')->{status}, 502, 'one that is too large: 502');
        is($get->('/length.php?l=400', method => 'HEAD')->{headers}{'content-length'}, 400, '... of a HEAD it is believed');
        $answer = $get->('/away.php?to=/page.php');
        is("$answer->{status} $answer->{headers}{location}", '302 /page.php', 'a path in Location with PHP\'s status goes to the client');
        $answer = $get->('/away.php?to=/page.php&s=201');
        is("$answer->{status} $answer->{headers}{location} $answer->{body}", '201 /page.php moved', '... with another status too');
    };

    subtest 'through filters of httpd' => sub {
        my $plain = join '', map { "line $_\n" } 1 .. 40_000;
        IO::Compress::Gzip::gzip(\$plain => \my $packed) or die;
        for my $body ($packed, [ unpack '(a5000)*', $packed ]) {
            my $answer = $get->('/inflate/echo.php', method => 'POST', body => $body, headers => [ 'Content-Encoding' => 'gzip' ]);
            like($answer->{body}, qr/^(?:@{[ length $plain ]}|none) @{[ length $plain ]} @{[ md5_hex($plain) ]}$/, 'a compressed upload arrives unpacked and whole' . (ref $body ? ', in chunks' : ''));
        }
        my $answer = $get->('/deflate/text.php', headers => [ 'Accept-Encoding' => 'gzip' ]);
        IO::Uncompress::Gunzip::gunzip(\$answer->{body} => \my $unpacked) or die;
        is("$answer->{headers}{'content-encoding'} $unpacked", 'gzip ' . 'compress me ' x 1000, 'a compressed page');
        $answer = $get->('/deflate/length.php?l=10', headers => [ 'Accept-Encoding' => 'gzip' ]);
        IO::Uncompress::Gunzip::gunzip(\$answer->{body} => \$unpacked) or die;
        is($unpacked . ' ' . ($answer->{framing} eq 'chunked' || $answer->{headers}{'content-length'} == length $answer->{body}), '0123456789 1', '... whose script gave a length');
        my $http = http_connect(port => $httpd->port, timeout => 15);
        $http->send_request(POST => '/echo.php', headers => [ 'Content-Length' => 100_000 ], no_body => 1);
        $http->send_raw('slow');
        is($http->read_answer->{status}, 408, 'RequestReadTimeout: a body that does not come is 408');
    };

    subtest 'early hints' => sub {
        my $go = "$marks/go";
        unlink $go;
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => "/fake/x.php?do=hints&go=$go");
        my $hints = $http->read_head;
        is("$hints->{status} $hints->{headers}{link} " . ($hints->{headers}{'content-length'} // 'none'), '103 </a.css>; rel=preload none', '103 with Link, at once');
        write_file($go, '');
        my $answer = $http->read_answer;
        is("$answer->{status} $answer->{body} " . ($answer->{headers}{link} // 'none'), '200 after hints none', 'then the response');
        unlink $go;
        $http->send_request(GET => '/fake/x.php?do=many_hints');
        my $count = 0;
        my $head;
        $count++ while ($head = $http->read_head) && $head->{status} == 103;
        is("$count $head->{status} " . $http->read_some, '8 200 after hints', 'at most eight of them');
        is($get->('/fake/x.php?do=hints_only')->{status}, 502, 'nothing but hints: 502');
        is($get->('/fake/x.php?do=switching')->{status}, 502, 'another 1xx: 502');
        write_file($go, '');
        $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => "/fake/x.php?do=hints&go=$go", version => 'HTTP/1.0');
        is($http->read_head->{status}, 200, 'HTTP/1.0 gets none');
        is(FPMPool::HTTP2->connect(port => $httpd->port)->exchange(GET => "/fake/x.php?do=hints&go=$go")->{body}, 'after hints', 'HTTP/2 gets the response') if FPMPool::HTTP2::is_available() && $httpd->name !~ /prefork/;
    };

    subtest 'files that a script names' => sub {
        for my $header (qw(X-Sendfile X-LIGHTTPD-send-file)) {
            my $answer = $get->("/sends/send.php?h=$header&f=$root/private/a.bin");
            is("$answer->{status} $answer->{framing} " . md5_hex($answer->{body}), '200 length ' . md5_hex($file), "$header: the file, with its length");
            is("$answer->{headers}{'content-type'} $answer->{headers}{'content-disposition'}", 'application/x-thing attachment', '... the script\'s headers');
            ok(!defined $answer->{headers}{ lc $header } && $answer->{headers}{'last-modified'}, '... not this one, but a date');
        }
        my $path = "/sends/send.php?f=$root/private/b.txt";
        my $answer = $get->($path);
        is("$answer->{status} $answer->{body}", '200 a static text', 'a small one');
        is($line->($path, 'If-Modified-Since' => $answer->{headers}{'last-modified'}), '304 ', 'is 304 by its date');
        is($line->($path, Range => 'bytes=2-7'), '206 static', 'and can be had in ranges');
        my $head = $get->($path, method => 'HEAD');
        is("$head->{status} $head->{headers}{'content-length'}$head->{body}", '200 13', 'HEAD');
        is($line->("$path&s=404") =~ s/(not this ).*/$1/sr, '404 not this ', 'not with a status of its own');
        is($line->("/sends/send.php?f=$outside/o.txt"), '200 outside of the document root', 'another directory');
        is($line->("/sends/send.php?f=$root/other/inside"), '200 a static text', 'a link from outside of the directories to the inside');
        my $from = $httpd->log_length;
        is($get->("/sends/send.php?f=$_->[0]")->{status}, $_->[1], "$_->[2]: $_->[1]")
            for [ '/etc/passwd', 403, 'a file elsewhere' ], [ "$root/private/link", 403, 'a link to one' ], [ "$root/private/../other/c.txt", 403, 'one behind ..' ],
            [ "$root/private", 403, 'the directory' ], [ "$root/private/", 403, '... with a slash' ], [ "$root/private/fifo", 403, 'a fifo' ], [ 'private/b.txt', 403, 'a relative path' ], [ "$root/private/none", 404, 'a missing file' ], [ "${root}/private-b", 404, 'a neighbour' ];
        ok(eval { $httpd->wait_log(qr/FPMP0031: pool www: the script wants the file \/etc\/passwd/, 5, $from) }, 'the log says which') or diag $httpd->log_text($from);
        is($line->("/document/send.php?f=$root/other/c.txt"), '200 of another folder', '"on": below the document root');
        is($get->("/document/send.php?f=$outside/o.txt")->{status}, 403, '... and nowhere else');
        $answer = $get->("/send.php?f=$root/private/b.txt");
        is("$answer->{headers}{'x-sendfile'} " . length $answer->{body}, "$root/private/b.txt 9000", 'without the directive it is a header as others');
        $answer = $get->('/sends/send.php?h=X-Accel-Redirect&f=/private/b.txt');
        is("$answer->{status} $answer->{body} $answer->{headers}{'content-disposition'}", '200 a static text attachment', 'X-Accel-Redirect: a path of this server');
        is($get->('/sends/send.php?h=X-Accel-Redirect&f=/page.php', method => 'POST', body => 'x')->{body}, '0123456789', '... also a script, also from a POST');
        is($get->('/sends/send.php?h=X-Accel-Redirect&f=http://other/')->{status}, 502, '... not a URL');
        $answer = $get->('/send.php?h=X-Accel-Redirect&f=/private/b.txt');
        is($answer->{headers}{'x-accel-redirect'}, '/private/b.txt', '... nothing without the directive');
    };

    subtest 'errors that become httpd\'s own' => sub {
        my $answer = $get->('/error.php?s=404');
        is("$answer->{status} $answer->{body}", '404 page of the script', 'not without the directive');
        $answer = $get->('/override/error.php?s=500');
        like("$answer->{status} $answer->{body}", qr/^500 .*Internal Server Error/s, 'on: httpd\'s page');
        is($answer->{headers}{'x-why'}, 'because', '... with the script\'s headers');
        $answer = $get->('/override/error.php?s=404');
        is("$answer->{status} $answer->{body}", '404 page of the site for 404', '... or an ErrorDocument, which may answer 404 itself');
        is($line->('/override/page.php'), '200 0123456789', 'good answers pass');
        is($line->('/some/error.php?s=404'), '404 page of the script', 'statuses: others pass');
        like($line->("/some/error.php?s=$_"), qr/^$_ (?!page of the script)/, "... $_ does not") for 500, 503;
        my $http = http_connect(port => $httpd->port);
        is($http->exchange(GET => '/override/error.php?s=403')->{status}, 403, 'a kept connection');
        is($http->exchange(GET => '/page.php')->{body}, '0123456789', '... goes on');
    };

    subtest 'a slow reader' => sub {
        my $serial = 0;
        for my $path (qw(/big.php /small/big.php /memory/big.php /buffer/big.php)) {
            my $mark = "$marks/" . $httpd->name . ++$serial;
            my $http = http_connect(port => $httpd->port, timeout => 20, receive_buffer => 131_072);
            $http->send_request(GET => "$path?mark=$mark");
            my $is_done = eval { wait_for { -e $mark } $path =~ /memory|buffer/ ? 20 : 1, 'the end of the script'; 1 } ? 1 : 0;
            is($is_done, $path =~ /memory|buffer/ ? 1 : 0, "$path: the worker is " . ($is_done ? 'free before the client has read' : 'held'));
            my $answer = $http->read_answer;
            is("$answer->{status} $answer->{complete} " . md5_hex($answer->{body}), "200 1 $big", '... the client gets all of it');
            is($answer->{framing}, $is_done ? 'length' : 'chunked', '... framing: ' . $answer->{framing});
            is($http->exchange(GET => '/page.php')->{body}, '0123456789', '... and the connection goes on');
        }
        my $go = "$marks/go";
        unlink $go;
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => "/buffer/slow.php?go=$go");
        is(within(1, sub { $http->read_head(1)->{status} }), 'nothing in 1 s', 'flush() waits for the end then');
        write_file($go, '');
        is($http->read_answer->{body}, 'firstsecond', '... and nothing is missing');
        unlink $go;
        is($line->('/buffer/page.php'), '200 0123456789', 'a small page');
        is($line->('/buffer/tagged.php', 'If-None-Match' => '"v1"'), '304 ', 'a conditional one');
        is($get->('/buffer/length.php?l=400')->{status}, 502, 'one that is too short');
    };
    return;
}

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, modules => [ qw(filter deflate reqtimeout), $mpm eq 'event' ? 'http2' : () ], conf => $mpm eq 'event' ? $conf : $conf =~ s/^(?:Protocols|LogLevel).*\n//mgr);
        run_all($httpd);
        $httpd->stop;
    };
}
done_testing();
