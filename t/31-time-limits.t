# request_terminate_timeout: whatever a request does when its time is over, its client gets an answer,
# its shutdown functions and destructors run, access.log has its line, and the worker serves on where
# that is possible.
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Socket::INET;
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;

# A server that accepts and says nothing.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 20) or die "listen: $!";
my $port   = $silent->sockport;

# Every script says how it ended in the file that ?note= names.
my $head = <<'PHP';
<?php
function note($text) { file_put_contents($_GET["note"], "$text\n", FILE_APPEND); }
class Holder { function __destruct() { note("destructor"); } }
register_shutdown_function(function () { note("shutdown: " . (error_get_last()["message"] ?? "no error")); });
$held = new Holder;
PHP
my %script = (
    'loop'      => 'while (true) { }',
    'calls'     => 'function f($n) { return $n > 0 ? f($n - 1) + 1 : 0; } while (true) { f(20); }',
    'caught'    => 'while (true) { try { while (true) { strlen("x"); } } catch (Throwable $e) { note("caught"); } finally { note("finally"); } }',
    'callback'  => '$a = range(1, 50); while (true) { usort($a, function ($x, $y) { return $x <=> $y; }); }',
    'generator' => 'function g() { while (true) { yield 1; } } foreach (g() as $x) { }',
    'fiber'     => '$f = new Fiber(function () { while (true) { } }); $f->start();',
    'buffer'    => 'ob_start(function ($text) { return strtoupper($text); }); echo "lost"; while (true) { }',
    'printed'   => 'header("X-Lost: 1"); setcookie("lost", "1"); http_response_code(201); echo "lost"; while (true) { }',
    'sleep'     => 'sleep(60); note("woke up"); while (true) { }',
    'select'    => '$r = [stream_socket_client("tcp://127.0.0.1:' . $port . '")]; $w = $e = null; stream_select($r, $w, $e, 60); while (true) { }',
    'lock'      => '$a = fopen($_GET["note"] . ".lock", "c"); flock($a, LOCK_EX); $b = fopen($_GET["note"] . ".lock", "c"); flock($b, LOCK_EX); while (true) { }',
    'read'      => '$s = stream_socket_client("tcp://127.0.0.1:' . $port . '"); stream_set_timeout($s, 60); fread($s, 100); while (true) { }',
    'http'      => 'file_get_contents("http://127.0.0.1:' . $port . '/"); while (true) { }',
);
my %file = map { ("$_.php" => "$head$script{$_}") } keys %script;
my $root = site('www', %file,
    'pid.php'     => '<?php echo getmypid();',
    'begun.php'   => "$head while (ob_get_level()) ob_end_flush(); echo 'begun'; flush(); while (true) { }",
    'endless.php' => "$head while (true) { echo str_repeat('x', 100000); }",
    'child.php'   => "$head shell_exec('exec sleep 12');",
    'stuck.php'   => "$head register_shutdown_function(function () { note('stuck'); while (true) { } }); while (true) { }",
    'slow.php'    => "$head register_shutdown_function(function () { sleep(2); note('slept'); }); while (true) { }",
    'finish.php'  => "$head echo 'answer'; fastcgi_finish_request(); \$end = microtime(true) + 3; while (microtime(true) < \$end) { } note('end');",
    'after.php'   => "$head register_shutdown_function(function () { \$end = microtime(true) + 3; while (microtime(true) < \$end) { } note('end'); }); echo 'answer';",
    'body.php'    => "$head note('ran');",
);
my %one = ('pm.max_children' => 1, request_terminate_timeout => '1s', FPMPool::Board::needed_keys());
my $log    = "$data/access.log";
my $daemon = start_daemon(conf => {
    www   => { %one, 'access.log' => $log, 'access.format' => '%s %f %{X-Lost}o' },
    jit   => { %one, 'php_admin_value[opcache.enable]' => 1, 'php_admin_value[opcache.jit]' => 'tracing', 'php_admin_value[opcache.jit_buffer_size]' => '32M' },
    track => { %one, request_terminate_timeout_track_finished => 'yes' },
    two   => { %one, 'pm.max_children' => 2 },
});
allow_log(qr/execution timed out \(\d+\.\d{6} sec\), terminating/);

my $serial = 0;
sub ask {
    my ($script, %option) = @_;
    my $note   = "$data/note-" . ++$serial;
    my $start  = time();
    my $answer = php_request($daemon, "$root/$script.php", timeout => 30, %option, query => "note=$note");
    my $took   = time() - $start;
    FPMPool::Board::wait_idle($daemon, $option{pool});
    return ($answer, -e $note ? read_file($note) : '', $took);
}
sub worker { my ($pool) = @_; return php_request($daemon, "$root/pid.php", pool => $pool)->{body} }
sub has_logged { my ($pool, $script) = @_; return () = $daemon->log_text =~ /\[pool $pool\] child \d+, script '[^']*\Q$script\E\.php' \(request: "GET [^"]*"\) execution timed out/g }

my $ended = qr/shutdown: Execution timed out: request_terminate_timeout is 1 second/;

for my $pool (qw(www jit)) {
    my $worker = worker($pool);
    for my $script (sort keys %script) {
        subtest "$script ($pool)" => sub {
            my ($answer, $note, $took) = ask($script, pool => $pool);
            is($answer->{status}, 504, '504');
            like($answer->{body}, qr/took too long/, '... with a page');
            unlike("$answer->{stdout}", qr/lost/i, '... and nothing of the script');
            ok($answer->{ended}, 'the response is whole');
            like($answer->{stderr}, qr/child \d+ ran into request_terminate_timeout \(1 s\) while it ran .*\Q$script\E\.php/, 'the cause is on the error stream');
            like($answer->{stderr}, qr/Fatal error: +Execution timed out.*\Q$script\E\.php/, '... with the place');
            like($note, $ended, 'shutdown functions run, and know why');
            like($note, qr/destructor/, 'destructors run');
            unlike($note, qr/caught|finally/, 'the script cannot go on');
            cmp_ok($took, '>=', 0.9, sprintf 'not before its time (%.2f s)', $took);
            is(has_logged($pool, $script), 1, 'one line in the log');
        };
    }
    is(worker($pool), $worker, "one worker has done all this ($pool)");
}

subtest 'access.log has the status' => sub {
    my @line = split /\n/, read_file($log);
    for my $script (sort keys %script) {
        is(scalar(grep { m{^504 \Q$root/$script.php\E -$} } @line), 1, $script);
    }
};

subtest 'output that is out already is cut off' => sub {
    my $worker = worker('www');
    my ($answer, $note) = ask('begun');
    is($answer->{body}, 'begun', 'what was sent was sent');
    ok(!$answer->{ended}, 'but nobody can take it for whole');
    like($note, qr/$ended.*destructor/s, 'shutdown functions and destructors run');
    is(worker('www'), $worker, 'the worker serves on');
    like(read_file($log), qr/^504 \Q$root\E\/begun\.php/m, 'access.log says 504');
};

subtest 'a client that does not read' => sub {
    my $worker = worker('www');
    my $note   = "$data/note-" . ++$serial;
    my $client = php_connect($daemon, 'www');
    $client->send_request(script => "$root/endless.php", query => "note=$note");
    wait_for { -e $note && read_file($note) =~ /$ended.*destructor/s } 20, 'its request to end';
    is(worker('www'), $worker, 'the worker serves on');
};

subtest 'a body that does not come' => sub {
    my $worker = worker('www');
    my $note   = "$data/note-" . ++$serial;
    my $client = php_connect($daemon, 'www', timeout => 20);
    my $bytes  = FPMPool::Client::request_bytes(script => "$root/body.php", query => "note=$note", method => 'POST',
        body => 'a=1' . 'x' x 997, params => { CONTENT_TYPE => 'application/x-www-form-urlencoded' });
    $client->send_bytes(substr $bytes, 0, length($bytes) - 600);
    is($client->read_answer->{status}, 504, '504');
    ok(!-e $note, 'the script did not run');
    is(worker('www'), $worker, 'the worker serves on');
};

subtest 'what does not come back is killed after five seconds' => sub {
    allow_log(qr/child \d+ exited on signal 15 \(SIGTERM\) after/);
    my $worker = worker('two');
    my $note   = "$data/note-" . ++$serial;
    my $answer = php_request($daemon, "$root/child.php", pool => 'two', query => "note=$note", timeout => 40);
    is($answer->{status}, 504, '504, from the pool process');
    like($answer->{stderr}, qr/child \d+ exited on signal 15 \(SIGTERM\) while it ran .*child\.php/, 'with the cause');
    is(php_request($daemon, "$root/pid.php", pool => 'two')->{status}, 200, 'the pool serves on');

    my $start  = time();
    my $client = php_connect($daemon, 'two', timeout => 20);
    $client->send_request(script => "$root/stuck.php", query => "note=$note");
    is($client->read_answer->{status}, 504, 'a shutdown function that loops: 504 before that');
    my ($pid) = $daemon->wait_log(qr/child (\d+), script '[^']*stuck\.php'/);
    $daemon->wait_log(qr/child $pid exited on signal 15 \(SIGTERM\)/, 30);
    like(read_file($note), qr/stuck/, 'it had begun');
    cmp_ok(time() - $start, '>=', 5, 'and had its time');
};

subtest 'shutdown functions have time' => sub {
    my ($answer, $note) = ask('slow');
    is($answer->{status}, 504, '504');
    like($note, qr/slept/, 'a shutdown function sleeps undisturbed');
};

subtest 'an idle kept connection has no limit' => sub {
    my $client = php_connect($daemon, 'www');
    my $worker = $client->request(script => "$root/pid.php", keep => 1)->{body};
    sleep(2.5);
    is($client->request(script => "$root/pid.php", keep => 1)->{body}, $worker, 'it is served by the same worker after more than twice the limit');
};

subtest 'behind the response' => sub {
    for my $script (qw(finish after)) {
        my (undef, $note) = ask($script);
        like($note, qr/^end$/m, "$script: no limit by itself");
        is(has_logged('www', $script), 0, '... and no line');
    }
    my $worker = worker('track');
    my ($answer, $note) = ask('finish', pool => 'track');
    is($answer->{body}, 'answer', 'track_finished: the response is not touched');
    unlike($note, qr/^end$/m, 'what follows it ends at the limit');
    like($note, qr/$ended.*destructor/s, '... with shutdown functions');
    ($answer, $note) = ask('after', pool => 'track');
    is($answer->{status}, 504, 'a shutdown function counts');
    unlike($note, qr/^end$/m, '... and ends');
    is(worker('track'), $worker, 'the worker serves on');
};

subtest 'through httpd' => sub {
    for my $kind (qw(fpmpool proxy_fcgi)) {
        my $httpd = start_httpd(mpm => 'event', docroot => $root, modules => $kind eq 'fpmpool' ? [] : [qw(proxy proxy_fcgi)], conf => php_routes($kind, $daemon, 'www'));
        my $note  = "$data/note-" . ++$serial;
        allow_log(qr/ran into request_terminate_timeout|Execution timed out/, qr/FPMP0078: /);
        my $answer = http($httpd->url("/printed.php?note=$note"));
        is($answer->{status}, 504, "$kind: 504");
        like($answer->{body}, $kind eq 'fpmpool' ? qr{<title>504 Gateway Timeout</title>} : qr/took too long/, '... with ' . ($kind eq 'fpmpool' ? "httpd's own page, or its ErrorDocument" : 'the page'));
        is($answer->{header}{'set-cookie'}, undef, '... and no header of the script');
        FPMPool::Board::wait_idle($daemon, 'www');
        like(read_file($note), $ended, 'shutdown functions run');
        is(http($httpd->url('/pid.php'))->{status}, 200, 'it serves on');
    }
};

done_testing();
