# Pages and streams of scripts through httpd's output filters: each gets honest buckets, so a page arrives whole with a right
# length, and what a script flushes leaves every filter at once.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use Compress::Raw::Zlib ();
use FPMPool::Test;
use IO::Uncompress::Gunzip ();
use Time::HiRes qw(time);

my $gates = test_dir() . '/gates';
mkdir $gates;
chmod 0777, $gates;
# (mod_substitute keeps back what is no whole line.)
my $stream = '<?php header("Content-Type: text/html"); while (ob_get_level()) ob_end_flush(); ini_set("zlib.output_compression", "0");'
    . ' echo "first foo piece,\n"; flush(); while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } echo " last foo piece";';
my $root = site('www',
    'page.php'    => '<?php header("Content-Type: text/html"); echo str_repeat("a page of foo ", (int) ($_GET["n"] ?? 1));',
    'stream.php'  => $stream,
    'ssi.php'     => '<?php header("Content-Type: text/html"); echo "[", "<!--#include virtual=\"/part.php?of=ssi\" -->", "]";',
    'part.php'    => '<?php echo "part of ", $_GET["of"];',
    'hop.php'     => '<?php header("Connection: close"); header("Keep-Alive: timeout=99"); header("Trailer: X-Sum"); header("Upgrade: h2c"); header("X-Mine: 1");'
        . ' if (isset($_GET["t"])) header("Transfer-Encoding: chunked"); header("Server: mine"); echo "page";',
);
my %filter = (plain => '', rate => "SetOutputFilter RATE_LIMIT\n    SetEnv rate-limit 400", deflate => 'SetOutputFilter DEFLATE', brotli => 'SetOutputFilter BROTLI_COMPRESS',
    substitute => "SetOutputFilter SUBSTITUTE\n    Substitute s/foo/replaced/", includes => "SetOutputFilter INCLUDES\n    Options +Includes", chain => "SetOutputFilter SUBSTITUTE;DEFLATE;RATE_LIMIT\n"
        . "    Substitute s/foo/replaced/\n    SetEnv rate-limit 4000");
my $daemon = start_daemon();
my $conf = php_routes('fpmpool', $daemon, 'www') . join '', map { "Alias /$_/ $root/\n<Location \"/$_/\">\n    $filter{$_}\n</Location>\n" } sort keys %filter;
my $gate = 0;

sub unpacked {
    my ($answer) = @_;
    IO::Uncompress::Gunzip::gunzip(\$answer->{body} => \my $text) or die 'no gzip';
    return $text;
}

# curl does what the client of the tests cannot: brotli.
sub curl {
    my ($url, @argument) = @_;
    open my $pipe, '-|', 'curl', '-s', '-N', '--max-time', 20, @argument, $url or die "curl: $!";
    return $pipe;
}

sub read_until {
    my ($pipe, $pattern) = @_;
    my $text = '';
    while ($text !~ $pattern) { sysread($pipe, $text, 1000, length $text) or last }
    return $text;
}

sub new_gate { return "$gates/" . ++$gate }

# The first piece arrives while the script still waits for its gate.
sub streams {
    my ($httpd, $place, $first, $last, $decode, @header) = @_;
    my $go   = new_gate();
    my $http = http_connect(port => $httpd->port, timeout => 15);
    $http->send_request(GET => "/$place/stream.php?go=$go", headers => [@header]);
    $http->read_head;
    my $text = '';
    while ($text !~ /\Q$first\E/) { my $piece = $http->read_some; last unless length $piece; $text .= $decode->($piece) }
    is($text, $first, "$place: what was flushed arrives while the script runs");
    write_file($go, '');
    $text = '';
    while (length(my $piece = $http->read_some)) { $text .= $decode->($piece) }
    is($text, $last, '... and the rest with its end');
    ok($http->{complete}, '... which is a clean one');
    return;
}

sub run_all {
    my ($httpd) = @_;
    my $get = sub { my ($path, @header) = @_; return http($httpd->url($path), headers => [@header]) };

    subtest 'pages' => sub {
        my $answer = $get->('/substitute/page.php');
        is("$answer->{body} $answer->{headers}{'content-length'}", 'a page of replaced  19', 'SUBSTITUTE: the length is that of the changed page');
        is($get->('/includes/ssi.php')->{body}, '[part of ssi]', 'INCLUDES: a script includes another');
        $answer = $get->('/deflate/page.php?n=50000', 'Accept-Encoding' => 'gzip');
        is(unpacked($answer), 'a page of foo ' x 50_000, 'DEFLATE: a large page');
        is(unpacked($get->('/chain/page.php?n=5000', 'Accept-Encoding' => 'gzip')), 'a page of replaced ' x 5000, 'three filters in a row');
        for my $n (1, 50_000) {
            my $pipe = curl($httpd->url("/brotli/page.php?n=$n"), '--compressed', '-H', 'Accept-Encoding: br');
            is(do { local $/; <$pipe> }, 'a page of foo ' x $n, "brotli: @{[ 14 * $n ]} bytes");
            close $pipe;
        }
        $answer = http($httpd->url('/brotli/page.php'), headers => [ 'Accept-Encoding' => 'br' ]);
        is($answer->{headers}{'content-encoding'}, 'br', '... compressed');
        is(http($httpd->url('/deflate/page.php?n=500'), method => 'HEAD', headers => [ 'Accept-Encoding' => 'gzip' ])->{body}, '', 'HEAD through a filter');
    };

    subtest 'mod_ratelimit' => sub {
        my $begin  = time;
        my $answer = $get->('/rate/page.php?n=20000');
        is(length $answer->{body}, 280_000, 'a page arrives whole');
        cmp_ok(time - $begin, '>', 0.3, '... and not at once'); # (a lower bound: load cannot make it wrong)
        my $http = http_connect(port => $httpd->port, timeout => 15);
        $http->send_request(GET => '/rate/page.php?n=60000');
        $http->read_head;
        ok(length $http->read_some, 'a client that leaves while it is held back');
        $http->close;
        is($get->('/rate/part.php?of=x')->{body}, 'part of x', '... disturbs nobody');
    };

    subtest 'streams' => sub {
        my ($first, $last) = ("first foo piece,\n", ' last foo piece');
        my $same = sub { return $_[0] };
        streams($httpd, 'plain', $first, $last, $same);
        streams($httpd, 'rate', $first, $last, $same);
        my $inflate = sub {
            my $stream = Compress::Raw::Zlib::Inflate->new(-WindowBits => Compress::Raw::Zlib::WANT_GZIP());
            return sub { my ($piece) = @_; $stream->inflate($piece, my $text); return $text // '' };
        };
        streams($httpd, 'deflate', $first, $last, $inflate->(), 'Accept-Encoding' => 'gzip');
        streams($httpd, 'chain', "first replaced piece,\n", ' last replaced piece', $inflate->(), 'Accept-Encoding' => 'gzip');
        my $go   = new_gate();
        my $pipe = curl($httpd->url("/brotli/stream.php?go=$go"), '--compressed', '-H', 'Accept-Encoding: br');
        is(read_until($pipe, qr/\Q$first\E/), $first, 'brotli: what was flushed arrives while the script runs');
        write_file($go, '');
        is(read_until($pipe, qr/\Q$last\E/), $last, '... and the rest');
        close $pipe;
        is($?, 0, '... with a clean end');
    };

    subtest 'headers of one connection are none of a script\'s' => sub {
        my $http = http_connect(port => $httpd->port);
        for my $query ('', '?t=1') {
            my $answer = $http->exchange(GET => "/hop.php$query");
            is("$answer->{body} $answer->{framing} $answer->{headers}{'x-mine'}", 'page length 1', "the page, with a length$query");
            is_deeply([ grep { defined $answer->{headers}{$_} } qw(transfer-encoding trailer upgrade) ], [], '... without Transfer-Encoding, Trailer, Upgrade');
            unlike($answer->{headers}{'keep-alive'} // '', qr/99/, '... Keep-Alive is httpd\'s');
            unlike($answer->{headers}{server} // '', qr/mine/, '... and so is Server');
        }
        is($http->exchange(GET => '/part.php?of=it')->{body}, 'part of it', '... and the connection is kept in spite of "Connection: close"');
    };
    return;
}

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf, modules => [qw(filter ratelimit deflate brotli substitute include)]);
        run_all($httpd);
        $httpd->stop;
    };
}
done_testing();
