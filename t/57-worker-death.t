# A worker is killed in the middle of a request: the visitor gets a clean 502, httpd's log the cause, the next visitor
# his page. Through httpd, mod_fpmpool and our own daemon, on kept connections and new ones.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};

my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'hello.php'  => '<?php echo "hello";',
    'silent.php' => "<?php file_put_contents('$flags/pid', getmypid()); rename('$flags/pid', '$flags/ready'); while (true) usleep(10000);",
    'begun.php'  => "<?php echo str_repeat('x', 20000); flush(); file_put_contents('$flags/pid', getmypid()); rename('$flags/pid', '$flags/ready'); while (true) usleep(10000);",
    'count.php'  => "<?php file_put_contents('$flags/count', 'x', FILE_APPEND); file_put_contents('$flags/pid', getmypid()); rename('$flags/pid', '$flags/ready'); while (true) usleep(10000);",
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
allow_log(qr/WARNING: \[pool www\] child \d+ exited on signal (?:9|11) /, qr/FPMP0064: |FPMP0077: |FPMP0040: |FPMP0065: |FPMP0068: /);

# Sends a request, kills its worker when the script is in its middle; the connection.
sub begin_and_kill {
    my ($httpd, $signal, $method, $path, %option) = @_;
    unlink "$flags/ready";
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request($method => $path, %option);
    my $head = $option{early} ? $http->read_head : undef;
    my $pid = wait_for { -e "$flags/ready" && read_file("$flags/ready") } 10, 'the script';
    kill $signal, $pid or die "kill $pid: $!";
    return ($http, $head);
}

for my $mpm (qw(event prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => php_routes('fpmpool', $daemon, 'www'));
    for my $signal ([ KILL => 9 ], [ SEGV => 11 ]) {
        my ($name, $number) = @$signal;
        subtest "$mpm: SIG$name" => sub {
            for my $round (1, 2) {
                is(http($httpd->url('/hello.php'))->{body}, 'hello', "round $round: a page before");
                for my $case ([ GET => '/silent.php' ], [ POST => '/silent.php', body => 'a=1' ]) {
                    my ($method, $path, @option) = @$case;
                    my $from = $httpd->log_length;
                    my ($http) = begin_and_kill($httpd, $name, $method, $path, @option);
                    my $answer = $http->read_answer;
                    is($answer->{status}, 502, "$method: 502");
                    is($answer->{complete}, 1, '... a whole answer');
                    unlike($answer->{body}, qr/signal|child|worker|pool/i, '... which tells visitors nothing of the inside');
                    ok(eval { $httpd->wait_log(qr/\[fpmpool:error\].*\b(?:child|worker) \d+\D.*signal $number \(SIG$name\b/, 5, $from) }, '... the cause is in httpd\'s log') or diag $httpd->log_text($from);
                    is(http($httpd->url('/hello.php'))->{body}, 'hello', '... the next request is fine');
                }
                my ($http, $head) = begin_and_kill($httpd, $name, 'GET', '/begun.php', early => 1);
                is($head->{status}, 200, 'killed when the response has begun');
                my $body = '';
                my $ended = eval { while (length(my $piece = $http->read_some)) { $body .= $piece } 1 };
                ok(!$ended || !$http->{complete}, '... the visitor\'s browser sees that it is cut');
                is(http($httpd->url('/hello.php'))->{body}, 'hello', '... the next request is fine');
            }
            unlink "$flags/count";
            my ($http) = begin_and_kill($httpd, $name, 'POST', '/count.php', body => 'a=1');
            $http->read_answer;
            is(read_file("$flags/count"), 'x', 'nothing is executed twice');
        };
    }
}
done_testing();
