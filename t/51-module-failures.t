# What mod_fpmpool makes of a server that fails: the status, the log line, the framing that shows the
# client what happened; and what it does with a client that fails. Fake peers do the failing.
# long: 50 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat qw(full_listener);
use FPMPool::Test;
use IO::Socket::UNIX;
use Socket ();

my $root = site('www', 'x.php' => '<?php', 'static.txt' => "a static file\n");
my $run  = test_dir() . '/run';
mkdir $run;
my $peers = 0;

sub start_peer {
    my ($name) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name-" . ++$peers, argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock" ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

my @allowed = map { qr/FPMP00$_: / } 11, 20, 30, 40, 58, 60 .. 69, 72, 73, 74;
allow_log(qr/AH01328: Line too long/);
allow_log(@allowed);

my $limits = 'first=1s idle=1s connect=1s';
my $hasty  = free_port();
my $conf   = <<"EOF_CONF";
FpmPoolSocketDir $run
FpmPool ours
FpmPoolTimeout $limits
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
<FpmPoolDefine fpm>
    FpmPoolServer unix:$run/fpm.sock type=fpm reuse=on
</FpmPoolDefine>
<FpmPoolDefine tcp>
    FpmPoolServer tcp://127.0.0.1:@{[ free_port() ]}
</FpmPoolDefine>
<FpmPoolDefine brief>
    FpmPoolServer unix:$run/ours.sock
    FpmPoolTimeout keep=50ms
</FpmPoolDefine>
Alias /late $root
Alias /fpm $root
Alias /tcp $root
Alias /full $root
Alias /brief $root
Alias /tiny $root
Alias /buffer $root
Alias /stream $root
Alias /closed $root
Alias /steady $root
<Location "/late">
    FpmPool late
    FpmPoolRetryAfter 7
</Location>
<Location "/fpm">
    FpmPool fpm
</Location>
<Location "/tcp">
    FpmPool tcp
</Location>
<Location "/full">
    FpmPool full
</Location>
<Location "/brief">
    FpmPool brief
</Location>
Alias /limited $root
<Location "/limited">
    LimitRequestBody 50000
</Location>
Alias /loop $root
<Location "/loop">
    ErrorDocument 502 /loop/x.php?do=lost
    ErrorDocument 503 /loop/x.php?do=overloaded
</Location>
Alias /early $root
<Location "/early">
    CookieTracking On
</Location>
Alias /filter $root
<Location "/filter">
    SetOutputFilter SUBSTITUTE
    Substitute "s/nothing/at all/"
    SubstituteMaxLineLength 1k
</Location>
<Location "/closed">
    FpmPool closed
    FpmPoolRetryAfter 0
</Location>
<Location "/steady">
    FpmPoolFlush off
</Location>
<Location "/tiny">
    FpmPoolMaxParams 4K
    FpmPoolMaxHeader 1K
</Location>
<Location "/buffer">
    FpmPoolBody buffer memory=4K
</Location>
<Location "/stream">
    FpmPoolBody stream
    FpmPoolTimeout first=20s
</Location>
Listen 127.0.0.1:$hasty
<VirtualHost 127.0.0.1:$hasty>
    Timeout 1
    FpmPoolBody stream
    FpmPoolTimeout first=20s
</VirtualHost>
LogFormat "%U%q %>s state=%{fpmpool-state}n attempts=%{fpmpool-attempts}n" notes
CustomLog "notes.log" notes
EOF_CONF

sub run_all {
    my ($httpd, $peer, $fpm) = @_;
    my $get = sub { my ($path, %option) = @_; return http($httpd->url($path), %option) };
    my $state = sub {
        my ($target) = @_;
        my $file = "$httpd->{dir}/notes.log";
        return wait_for { my @found = read_file($file) =~ m{^\Q$target\E \d+ (.*)$}mg; $found[-1] } 5, "the log line of $target";
    };
    # status and log line of a failure that begins before the response
    my $fails = sub {
        my ($do, $status, $log, $note, $name) = @_;
        my $from   = $httpd->log_length;
        my $answer = $get->("/x.php?do=$do");
        is($answer->{status}, $status, "$name: $status");
        ok(eval { $httpd->wait_log($log, 5, $from) }, '... and says so') or diag $httpd->log_text($from);
        like($state->("/x.php?do=$do"), qr/state=$note/, "... state $note");
        return $answer;
    };

    subtest 'a server that is not there, then is' => sub {
        my $from   = $httpd->log_length;
        my $answer = $get->('/late/x.php?do=hello');
        is($answer->{status}, 503, '503 before it runs');
        is($answer->{headers}{'retry-after'}, 7, '... with Retry-After');
        $httpd->wait_log(qr/\[fpmpool:error\].*FPMP0073: pool late: cannot connect to unix:\S+late\.sock: there is no such socket: start/, 5, $from);
        $get->('/late/x.php?do=hello') for 1 .. 8;
        my $lines = () = $httpd->log_text($from) =~ /fpmpool:error\].*FPMP0073: pool late/g;
        cmp_ok($lines, '<=', 4, 'one line per child, not one per request');
        my $late = start_peer('late');
        is($get->('/late/x.php?do=hello')->{status}, 200, '200 as soon as it runs');
        like($httpd->log_text($from), qr/FPMP0057: pool late .* answers again/, '... and the log says so') if $httpd->name =~ /event/;
        $late->stop;
        ok((wait_for { $get->('/late/x.php')->{status} == 503 } 5, 'its end'), '503 when it is gone again'); # its last process may still take one
        is($get->('/tcp/x.php')->{status}, 503, 'a TCP port that nobody listens on');
        $httpd->wait_log(qr/FPMP0073: pool tcp: .*nobody listens there/, 5, $from);
        my $listener = IO::Socket::UNIX->new(Local => "$run/closed.sock", Listen => 1) or die;
        chmod 0600, "$run/closed.sock";
        if (is_root()) {
            $answer = $get->('/closed/x.php');
            is("$answer->{status} " . ($answer->{headers}{'retry-after'} // 'none'), '503 none', 'a socket that httpd may not use; no Retry-After if 0');
            $httpd->wait_log(qr/FPMP0073: pool closed: .*httpd's user may not connect: set listen\.owner/, 5, $from);
        }
        unlink "$run/closed.sock";
        my $http = http_connect(port => $httpd->port);
        $http->send_request(POST => '/late/x.php', headers => [ 'Content-Length' => 100, Expect => '100-continue' ], no_body => 1);
        is($http->read_head->{status}, 503, 'who expects 100-continue need not upload');
    };

    subtest 'a full listen queue' => sub {
        my @held  = full_listener("$run/full.sock");
        my $from  = $httpd->log_length;
        my $begin = time;
        my $answer = $get->('/full/x.php');
        is("$answer->{status} $answer->{headers}{'retry-after'}", '503 5', '503 with Retry-After');
        cmp_ok(time - $begin, '<', 4, 'within the connect time limit');
        $httpd->wait_log(qr/\[fpmpool:warn\].*FPMP0072: pool full: the listen queue of/, 5, $from);
        unlink "$run/full.sock";
    };

    subtest 'answers that are none' => sub {
        my $answer = $fails->('overloaded', 503, qr/FPMP0060: .*x\.php/, 'overload', 'OVERLOADED');
        is($answer->{headers}{'retry-after'}, 5, '... with Retry-After');
        $fails->('cant_mpx', 500, qr/FPMP0061/, 'invalid', 'CANT_MPX_CONN');
        $fails->('role', 500, qr/FPMP0062/, 'invalid', 'UNKNOWN_ROLE');
        $fails->('nothing', 502, qr/FPMP0065/, 'invalid', 'END_REQUEST without output');
        $fails->('garbage', 502, qr/FPMP0069: .*not FastCGI.*\(.+\)/, 'invalid', 'not FastCGI');
        $fails->('bad_header', 502, qr/FPMP0066: .*: "this is no header/, 'invalid', 'no header line');
        $fails->('control', 502, qr/FPMP0066: .*X-A: a\^\@b/, 'invalid', 'a control character in a header');
        $fails->('bad_status', 502, qr/FPMP0066: .*Status: 99/, 'invalid', 'an invalid status');
        $fails->('cut_header', 502, qr/FPMP0066: .*Content-Type: text\/ht/, 'invalid', 'an end inside the header');
        $fails->('large', 502, qr/FPMP0067: .*FpmPoolMaxHeader/, 'invalid', 'a header that does not end');
        $fails->('lost', 502, qr/FPMP0064: .*closed the connection/, 'lost', 'a connection closed before the answer');
        $fails->('lost_header', 502, qr/FPMP0064/, 'lost', 'closed inside the header');
        $fails->('reset', 502, qr/FPMP0064/, 'lost', 'closed inside a record');
        $fails->('short', 502, qr/FPMP0068/, 'cut', 'fewer bytes than Content-Length, nothing sent yet');
        is($get->('/steady/x.php?do=lost_early')->{status}, 502, 'lost in the body before anything was sent: 502');
        $fails->('silence', 504, qr/FPMP0063: .*FpmPoolTimeout/, 'timeout', 'no answer in time');
        $peer->wait_log(qr/the connection was closed/);
        is($get->('/tiny/x.php?do=hello')->{status}, 200, 'small parameters pass');
        is($get->('/tiny/x.php?do=hello', headers => [ 'X-Large' => 'l' x 5000 ])->{status}, 431, 'parameters above FpmPoolMaxParams: 431');
        is($get->('/tiny/x.php?do=long_line')->{status}, 502, 'a header above FpmPoolMaxHeader: 502');
    };

    subtest 'answers that are unusual' => sub {
        my $answer = $get->('/x.php?do=long_line');
        is(length($answer->{headers}{'x-long'}) . $answer->{body}, '60000ok', 'a header line of 60 000 bytes');
        is($get->('/x.php?do=no_header')->{body}, 'only a body', 'no header line keeps the body');
        $answer = $get->('/x.php?do=pieces');
        is("$answer->{headers}{'x-a'} $answer->{body}", 'b in pieces', 'a record per byte');
        is($get->('/x.php?do=drips')->{body}, 'dripping', 'a write per byte');
        is($get->('/x.php?do=padded')->{body}, 'padded', 'padding');
        $answer = $get->('/x.php?do=surplus');
        is("$answer->{body} $answer->{headers}{'content-length'} $answer->{complete}", '12345 5 1', 'more bytes than Content-Length are dropped');
        is($get->('/x.php?do=bad_length')->{body}, '12345', 'a Content-Length that is no number is dropped');
        is($get->('/x.php?do=local')->{body}, "a static file\n", 'a local redirect');
        is($get->('/x.php?do=local_php', method => 'POST', body => $_)->{body}, 'GET none none', '... of a POST forgets its body') for 'known', ['in', 'chunks'];
        $answer = $get->('/x.php?do=away');
        is("$answer->{status} $answer->{headers}{location}", '302 http://other.example/', 'another redirect');
    };

    subtest 'errors keep to what other modules have set' => sub {
        for my $do (qw(lost overloaded)) {
            my $from   = $peer->log_length;
            my $answer = $get->("/loop/x.php?do=$do");
            is($answer->{status}, $do eq 'lost' ? 502 : 503, "an ErrorDocument that fails like its request: $do");
            my $runs = () = $peer->log_text($from) =~ /request $do /g;
            cmp_ok($runs, '<=', 3, '... is tried once') or diag $runs; # (OVERLOADED on a kept connection: once more)
        }
        for my $do (qw(hello lost cut_header)) {
            like($get->("/early/x.php?do=$do")->{headers}{'set-cookie'} // '', qr/^Apache=/, "a header that another module has added stays: $do");
        }
        my $answer = $get->('/filter/x.php?do=surplus');
        is("$answer->{status} $answer->{body}", '200 12345', 'through an output filter');
        $answer = $get->('/filter/x.php?do=long_body');
        is($answer->{status}, 500, 'an output filter that fails: 500, not a closed connection');
    };

    subtest 'the status that a script chooses' => sub {
        for my $text ('200+OK', '299', '418+Teapot', '451+Legal+Reasons', '599', '700+Own', '999+Most') {
            my $answer = $get->("/x.php?do=status&text=$text");
            is($answer->{status}, substr($text, 0, 3), "Status: $text");
            is($answer->{reason}, substr($text, 4) =~ s/\+/ /gr, '... with its words') if length $text > 3;
            is($answer->{body}, 'body', '... and its body');
        }
        is($get->("/x.php?do=status&text=$_")->{status}, 502, "Status: $_ is none") for qw(99 1000 abc 100 20x);
    };

    subtest 'a request is executed once' => sub {
        for my $case ([ '/x.php', 'GET', 'lost' ], [ '/fpm/x.php', 'GET', 'lost' ], [ '/x.php', 'POST', 'ack_lost' ], [ '/fpm/x.php', 'POST', 'lost' ], [ '/x.php', 'PUT', 'lost' ]) {
            my ($path, $method, $do) = @$case;
            my @peer = $path =~ /fpm/ ? $fpm : $peer;
            my $from = $peer[0]->log_length;
            my @body = $method eq 'GET' ? () : (body => 'b' x 100);
            my @status;
            for (1 .. 4) {
                $get->("$path?do=hello") for 1 .. 4;
                push @status, $get->("$path?do=$do", method => $method, @body)->{status};
            }
            is("@status", '502 502 502 502', "$method $path: a server that takes the request on a kept connection and dies is 502");
            my $runs = () = $peer[0]->log_text($from) =~ /request $do /g;
            is($runs, 4, '... and sees it once');
        }
    };

    subtest 'slow clients and servers' => sub {
        my $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(GET => '/x.php?do=steps');
        is($http->read_head->{status}, 200, 'a client begins to read');
        select undef, undef, undef, 3; # longer than idle=: that is what it must survive
        my $answer = '';
        while (length(my $piece = $http->read_some)) { $answer .= $piece }
        is(length($answer) . " $http->{complete}", '8000000 1', '... pauses longer than idle=, and gets all');
        my $go = test_dir() . '/go';
        unlink $go;
        $http = http_connect(port => $hasty, timeout => 20);
        $http->send_request(POST => "/x.php?do=late_body&go=$go", headers => [ 'Content-Length' => 300_010 ], no_body => 1);
        $http->send_raw('u' x 300_000);
        select undef, undef, undef, 1.3; # longer than httpd's Timeout
        write_file($go, '');
        select undef, undef, undef, 0.2;
        $http->send_raw('u' x 10);
        is($http->read_answer->{body}, 300_010, 'a server that is slow to take a body does not use up the time of the client');
        unlink $go;
    };

    subtest 'a response that breaks off' => sub {
        for my $do (qw(lost_body lost_length)) {
            my $go = test_dir() . '/go';
            unlink $go;
            my $http = http_connect(port => $httpd->port, timeout => 10);
            my $from = $httpd->log_length;
            $http->send_request(GET => "/x.php?do=$do&go=$go");
            is($http->read_head->{status}, 200, "$do: begun");
            is($http->read_some, 'x' x 100, 'the first bytes came');
            write_file($go, '');
            is($http->read_some, '', 'no more');
            ok(!$http->{complete}, 'and the client can tell that it is cut');
            ok($http->is_closed(5), 'the connection is closed at once');
            $httpd->wait_log(qr/FPMP0064: .*the client got it cut/, 5, $from);
            unlink $go;
        }
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => '/x.php?do=pause');
        $http->read_head;
        is($http->read_some, 'begun', 'a pause longer than idle=');
        is($http->read_some . ($http->{complete} ? 'whole' : 'cut'), 'cut', '... cuts the response');
    };

    subtest 'the error log' => sub {
        my $from = $httpd->log_length;
        is($get->('/x.php?do=stderr')->{body}, 'said', 'STDERR does not disturb the page');
        my $log = $httpd->log_text($from);
        like($log, qr/fpmpool:warn\].*FPMP0040: pool ours: PHP Warning:  one/, 'a warning is a warning');
        like($log, qr/fpmpool:notice\].*FPMP0040: pool ours: PHP Notice:  two$/m, 'a notice a notice');
        like($log, qr/fpmpool:error\].*FPMP0040: pool ours: PHP Fatal error:  three/, 'a fatal error an error');
        like($log, qr/fpmpool:error\].*FPMP0040: pool ours: Stack trace:/, '... with what follows it');
        $from = $httpd->log_length;
        $get->('/x.php?do=stderr_nul');
        like($httpd->log_text($from), qr/FPMP0040: pool ours: one.*two/, 'a NUL does not hide the rest of its line');
        $get->('/x.php?do=reason');
        like($httpd->log_text($from), qr/FPMP0040: pool ours: the reason why/, 'the reason of an OVERLOADED too');
    };

    subtest 'kept connections' => sub {
        my $count = sub { $get->("$_[0]?do=hello")->{body} };
        my ($first, $second) = map { my ($n) = $count->('/x.php') =~ /(\d+)/; $n } 1, 2;
        cmp_ok($second, '>', 1, 'are reused') unless $httpd->name =~ /prefork/;
        is($count->('/brief/x.php'), 'request 1', 'not beyond keep=') and do {
            my $old = $peer->log_length;
            select undef, undef, undef, 0.1;
            is($count->('/brief/x.php'), 'request 1', '... 100 ms later');
        };
        my $go = test_dir() . '/go';
        for my $method (qw(GET POST)) {
            my %body = $method eq 'POST' ? (body => 'p' x 3000) : ();
            unlink $go;
            my $old = $peer->log_length;
            is($get->("/x.php?do=once&go=$go")->{status}, 200, 'a server closes a kept connection');
            write_file($go, '');
            $peer->wait_log(qr/left/, 5, $old);
            is($get->('/x.php?do=body', method => $method, %body)->{body} =~ /^(\d+)/ && $1, length($body{body} // ''), "$method goes to a fresh one, whole");
        }
        unlink $go;
        like($get->('/fpm/x.php?do=hello')->{body}, qr/^request \d+$/, 'php-fpm with reuse=on: a GET');
        like($get->('/fpm/x.php?do=body', method => 'POST', body => 'b')->{body}, qr/^1 /, 'a POST gets a connection of its own');
        my $old = $fpm->log_length;
        is($get->("/fpm/x.php?do=once&go=$go")->{status}, 200, 'one that will be closed') ;
        write_file($go, '');
        $fpm->wait_log(qr/left/, 5, $old);
        is($get->('/fpm/x.php?do=hello')->{status}, 200, '... a GET survives it');
        unlink $go;
    };

    subtest 'request bodies' => sub {
        my $big = join '', map { chr $_ % 253 } 1 .. 1_500_000;
        my $sum = md5_hex($big);
        is($get->('/x.php?do=body', method => 'POST', body => $big)->{body}, "1500000 $sum 1500000 none", 'a large one');
        is($get->('/x.php?do=body', method => 'POST', body => [ unpack '(a50000)*', $big ])->{body}, "1500000 $sum none stream", 'without a length: our daemon reads it as a stream');
        is($get->('/fpm/x.php?do=body', method => 'POST', body => [ unpack '(a50000)*', $big ])->{body}, "1500000 $sum 1500000 none", '... php-fpm gets its length');
        is($get->('/x.php?do=body', method => 'POST', body => ['short'])->{body}, '5 ' . md5_hex('short') . ' 5 none', 'a short one without a length gets one');
        is($get->('/buffer/x.php?do=body', method => 'POST', body => [ unpack '(a50000)*', $big ])->{body}, "1500000 $sum 1500000 none", 'FpmPoolBody buffer');
        for my $path ('/x.php', '/stream/x.php') {
            my $from = $peer->log_length;
            my $http = http_connect(port => $httpd->port);
            $http->send_request(POST => "$path?do=body", headers => [ 'Content-Length' => 5_000_000 ], no_body => 1);
            $http->send_raw('x' x 300_000);
            $peer->wait_log(qr/./, 5, 0);
            $http->close;
            $peer->wait_log(qr/the body was cut after/, 10, $from);
            pass("$path: a client that dies in its body: the request is cut, not completed");
        }
        my $from = $peer->log_length;
        my $http = http_connect(port => $httpd->port);
        $http->send_request(POST => '/x.php?do=body', headers => [ 'Content-Length' => 5000 ], no_body => 1);
        $http->send_raw('x' x 300);
        $http->close;
        $httpd->wait_log(qr/FPMP0020: .*\(300 bytes came\)/, 10) if $httpd->{log_level_info};
        is($get->('/x.php?do=hello')->{status}, 200, 'a small one that is cut never reaches the server');
        unlike($peer->log_text($from), qr/request body/, '...');
        $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(POST => '/stream/x.php?do=early', headers => [ 'Content-Length' => 5_000_000 ], no_body => 1);
        $http->send_raw('x' x 1000);
        my $head = $http->read_head;
        is($head->{status} . $http->read_some, '413enough', 'an answer during the upload reaches the client at once');
        $from = $peer->log_length;
        is($get->('/limited/x.php?do=body', method => 'POST', body => 'l' x 60_000)->{status}, 413, 'LimitRequestBody: 413');
        is($get->('/limited/x.php?do=body', method => 'POST', body => [ ('l' x 20_000) x 3 ])->{status}, 413, '... also without a length');
        $http = http_connect(port => $httpd->port);
        $http->send_request(POST => '/limited/x.php?do=body', headers => [ 'Content-Length' => 60_000, Expect => '100-continue' ], no_body => 1);
        is($http->read_head->{status}, 413, '... before "100 Continue"');
        $http = http_connect(port => $httpd->port);
        $http->send_request(POST => '/missing.php', headers => [ 'Content-Length' => 60_000, Expect => '100-continue' ], no_body => 1);
        is($http->read_head->{status}, 404, 'and so is a missing script');
        unlike($peer->log_text($from), qr/request body/, 'none of them reached the server');
        is($get->('/limited/x.php?do=body', method => 'POST', body => 'l' x 50_000)->{status}, 200, 'exactly the limit passes');
    };

    subtest 'a client that goes away' => sub {
        my $from = $peer->log_length;
        my $http = http_connect(port => $httpd->port);
        $http->send_request(GET => '/stream/x.php?do=silence');
        $peer->wait_log(qr/request silence/, 5, $from);
        $http->close;
        $peer->wait_log(qr/the connection was closed/, 5, $from);
        pass('the server hears of it while it works');
        like($state->('/stream/x.php?do=silence'), qr/state=abort/, 'state abort');
    };
    return;
}

for my $mpm (qw(event worker prefork)) {
    subtest $mpm => sub {
        my ($peer, $fpm) = map { start_peer($_) } qw(ours fpm);
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf, modules => [qw(usertrack filter substitute)], log_level => 'warn fpmpool:debug');
        $httpd->{log_level_info} = 1;
        run_all($httpd, $peer, $fpm);
        if ($mpm ne 'prefork') {
            my @failing = qw(overloaded nothing garbage bad_header lost lost_header reset short hello);
            http($httpd->url('/x.php?do=hello')); # leaves one kept connection
            check_descriptors((children($httpd->pid))[0], sub {
                for my $do (@failing, @failing, @failing) { http($httpd->url("/x.php?do=$do")) }
            }, 'no descriptor is left over from failed requests');
        }
        $_->stop for $httpd, $peer, $fpm;
    };
}
done_testing();
