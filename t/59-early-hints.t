# fpmpool_send_early_hints(): a script's Link headers reach browsers as 103 Early Hints before it has worked out its page, over HTTP/1.1
# and HTTP/2; other front ends and older browsers see nothing but the page.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::HTTP2;
use FPMPool::Test;

my $wait = wait_code();
my $root = site('www',
    'page.php'  => "<?php header('Link: </a.css>; rel=preload; as=style'); header('Link: </b.js>; rel=preload', false); header('X-Own: 1');"
        . " \$sent = fpmpool_send_early_hints(); $wait http_response_code(201); echo json_encode(\$sent);",
    'twice.php' => '<?php header("Link: </a.css>"); $a = fpmpool_send_early_hints(); header("Link: </b.css>", false); $b = fpmpool_send_early_hints(); echo json_encode([$a, $b]);',
    'none.php'  => '<?php $a = fpmpool_send_early_hints(); header("X-Link: no"); echo json_encode([$a, fpmpool_send_early_hints()]);',
    'late.php'  => '<?php header("Link: </a.css>"); echo "x"; while (ob_get_level()) ob_end_flush(); flush(); echo json_encode(fpmpool_send_early_hints());',
    'early.php' => '<?php header("Link: </a.css>"); echo "x"; fastcgi_finish_request(); echo json_encode(fpmpool_send_early_hints());',
    'die.php'   => '<?php header("Link: </a.css>"); fpmpool_send_early_hints(); posix_kill(getmypid(), 9); sleep(9);',
    'types.php' => '<?php try { fpmpool_send_early_hints(1); } catch (Error $e) { echo get_class($e), " "; } echo (new ReflectionFunction("fpmpool_send_early_hints"))->getReturnType();',
    'post.php'  => '<?php header("Link: </a.css>"); fpmpool_send_early_hints(); echo strlen(file_get_contents("php://input"));',
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 } });
allow_log(qr/exited on signal 9/, qr/FPMP0064: /);

# A page whose gate is open, or the one given.
sub page { my ($gate) = @_; if (!$gate) { open_gate($gate = new_gate()) } return '/page.php?' . gate_query($gate) }

for my $mpm (qw(event prefork)) {
    subtest "HTTP/1.1, $mpm" => sub {
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => php_routes('fpmpool', $daemon, 'www'));
        my $get = sub { http($httpd->url($_[0]), @_[ 1 .. $#_ ]) };
        my $gate = new_gate();
        my $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(GET => page($gate));
        my $hints = $http->read_head;
        is($hints->{status}, 103, 'the hints come while the script works');
        is(join(', ', map { lc $hints->{list}[ 2 * $_ ] eq 'link' ? $hints->{list}[ 2 * $_ + 1 ] : () } 0 .. $#{ $hints->{list} } / 2),
            '</a.css>; rel=preload; as=style, </b.js>; rel=preload', '... both links');
        is(join(' ', map { $hints->{headers}{$_} // '-' } qw(x-own content-type x-powered-by)), '- - -', '... and nothing else of the script');
        open_gate($gate);
        my $answer = $http->read_answer;
        is("$answer->{status} $answer->{body} $answer->{headers}{'x-own'}", '201 true 1', 'then the page');
        like($answer->{headers}{link}, qr{</a\.css>.*</b\.js>}, '... which has the links too');
        $http->send_request(GET => page());
        $http->read_head;
        is($http->read_answer->{status}, 201, 'the connection serves on');
        $http->send_request(GET => '/twice.php');
        my @status = map { $http->read_head->{status} } 1 .. 3;
        is("@status " . $http->read_some, '103 103 200 [true,true]', 'twice');
        is($get->('/none.php')->{body}, '[false,false]', 'without a Link header: false');
        is($get->('/late.php')->{body}, 'xfalse', 'when the headers are sent: false');
        is($get->('/early.php')->{body}, 'x', 'after fastcgi_finish_request(): nothing');
        is($get->('/types.php')->{body}, 'ArgumentCountError bool', 'its signature');
        $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(POST => '/post.php', headers => [ 'Content-Length' => 3 ], body => 'abc');
        is($http->read_head->{status}, 103, 'POST');
        is($http->read_answer->{body}, 3, '... its body is there');
        $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(GET => page(), version => 'HTTP/1.0');
        $answer = $http->read_answer;
        is("$answer->{status} $answer->{body}", '201 true', 'HTTP/1.0 gets the page alone');
        $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(GET => '/die.php');
        is($http->read_head->{status}, 103, 'hints of a worker that dies');
        is($http->read_answer->{status}, 502, '... before a 502');
        $httpd->stop;
    };
}

subtest 'HTTP/2' => sub {
    plan(skip_all => 'curl has no HTTP/2') unless FPMPool::HTTP2::is_available();
    for my $case ([ 'on', '103 201' ], [ 'off', '201' ]) {
        my ($switch, $expected) = @$case;
        my $httpd = start_httpd(docroot => $root, modules => ['http2'], conf => "Protocols h2c http/1.1\nH2EarlyHints $switch\n" . php_routes('fpmpool', $daemon, 'www'));
        my $head = `curl -sS --http2-prior-knowledge --max-time 20 -o /dev/null -D - '@{[ $httpd->url(page()) ]}'`;
        is(join(' ', $head =~ m{^HTTP/2 (\d+)}mg), $expected, "H2EarlyHints $switch");
        like((split /\r?\n\r?\n/, $head)[0], qr{^link: </a\.css>; rel=preload; as=style}mi, '... with the links') if $switch eq 'on';
        $httpd->stop;
    }
};

subtest 'other front ends' => sub {
    open_gate(my $gate = new_gate());
    my $answer = php_request($daemon, "$root/page.php", query => gate_query($gate));
    like($answer->{stdout}, qr/\AStatus: 201.*\r\n\r\nfalse\z/s, 'no 103 block, and the function says false');
};
done_testing();
