# The notes of mod_fpmpool in httpd's log, and what mod_headers makes of them: what each request cost, who served it, how long it
# waited; on success, on every way to fail that our daemon has, and from servers that tell nothing.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;
use Time::HiRes ();

my $gate = test_dir() . '/gates';
mkdir $gate;
chmod 0777, $gate;
my $wait = "while (!file_exists('$gate/open')) usleep(5000);";
my $root = site('www',
    'hello.php'  => '<?php echo "hello", getmypid();',
    'hungry.php' => '<?php $a = str_repeat("x", 20 << 20); echo memory_get_peak_usage(true);',
    'busy.php'   => '<?php $end = getrusage()["ru_utime.tv_usec"] + getrusage()["ru_utime.tv_sec"] * 1e6 + 80000; do { $r = getrusage(); } while ($r["ru_utime.tv_usec"] + $r["ru_utime.tv_sec"] * 1e6 < $end); echo "busy";',
    'wait.php'   => "<?php touch('$gate/begun'); $wait echo 'waited';",
    'stream.php' => "<?php echo getmypid(); while (ob_get_level()) ob_end_flush(); flush(); $wait echo 'end';",
    'early.php'  => '<?php echo "early"; fastcgi_finish_request(); usleep(1000);',
    'exit.php'   => '<?php echo "x"; exit(7);',
    'fatal.php'  => '<?php nowhere();',
    'die.php'    => '<?php posix_kill(getmypid(), 9); sleep(9);',
    'late.php'   => '<?php for (;;) { usleep(1000); }',
    'post.php'   => '<?php echo strlen(file_get_contents("php://input"));',
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 }, short => { 'pm.max_children' => 1, request_terminate_timeout => '1s' } });
my $gone = test_dir() . '/gone.sock';
allow_log(qr/exited on signal 9/, qr/request_terminate_timeout|[Ee]xecution timed out/, qr/PHP Fatal error|nowhere|Stack trace|^#0|thrown in/, qr/FPMP00(?:40|73|77|78): /);

my @note = map { "fpmpool-$_" } qw(pool server state attempts worker queue-us connect-us ttfb-us total-us mem cpu-us exit);
my $format = join ' ', map { s/^fpmpool-//r . "=%{$_}n" } @note, 'mod_php_memory_usage';
my $conf = php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF";
<FpmPoolDefine short>
    FpmPoolServer unix:@{[ $daemon->listen_address('short') ]}
</FpmPoolDefine>
<FpmPoolDefine gone>
    FpmPoolServer unix:$gone
</FpmPoolDefine>
Alias /short $root
<Location "/short">
    FpmPool short
</Location>
Alias /gone $root
<Location "/gone">
    FpmPool gone
</Location>
Alias /timed $root
<Location "/timed">
    FpmPoolServerTiming On
    Header set X-Worker "expr=%{note:fpmpool-worker}"
    Header set X-Waited "expr=%{note:fpmpool-queue-us}"
</Location>
LogFormat "%U $format" notes
CustomLog "notes.log" notes
EOF_CONF

sub run_all {
    my ($httpd) = @_;
    my $file = "$httpd->{dir}/notes.log";
    # The notes of the next request of that path, and its answer.
    my $ask = sub {
        my ($path, %option) = @_;
        my $before = -e $file ? length read_file($file) : 0;
        my $answer = $option{answer} ? $option{answer}->() : http($httpd->url($path), %option);
        my $line = wait_for { -e $file && substr(read_file($file), $before) =~ /^(\Q$path\E .*)\n/m ? $1 : undef } 10, "a log line of $path";
        my %note = map { /^([^=]+)=(.*)$/ ? ($1 => $2) : () } split / /, $line;
        return (\%note, $answer);
    };

    subtest 'a page' => sub {
        my ($note, $answer) = $ask->('/hello.php');
        is($answer->{status}, 200, 'is there');
        is("$note->{pool} $note->{state} $note->{attempts} $note->{exit}", 'www ok 1 0', 'pool, state, attempts, exit status');
        is($note->{server}, 'unix:' . $daemon->listen_address('www'), 'server');
        is("hello$note->{worker}", $answer->{body}, 'the worker is the process that ran the script');
        like($note->{$_}, qr/^\d+$/, "$_ is a number: $note->{$_}") for qw(queue-us connect-us ttfb-us total-us cpu-us);
        cmp_ok($note->{'total-us'}, '>=', $note->{'ttfb-us'}, 'the total includes the first byte');
        ($note, $answer) = $ask->('/hungry.php');
        is($note->{mem}, $answer->{body}, 'mem is memory_get_peak_usage(true) of that request');
        is($note->{mod_php_memory_usage}, $note->{mem}, "... and mod_php's note");
        ($note) = $ask->('/busy.php');
        cmp_ok($note->{'cpu-us'}, '>=', 75_000, 'a script that computes for 80 ms: cpu');
        cmp_ok($note->{'cpu-us'}, '<', 1_000_000, '... of that request alone');
        ($note) = $ask->('/hello.php');
        cmp_ok($note->{'cpu-us'}, '<', 70_000, 'the next one is not charged for it');
        cmp_ok($note->{mem}, '<', 10 << 20, '... nor for memory');
        ($note, $answer) = $ask->('/post.php', method => 'POST', body => 'b' x 1000);
        like("$answer->{body} $note->{worker} $note->{mem}", qr/^1000 \d+ \d+$/, 'a POST');
        ($note, $answer) = $ask->('/early.php');
        like("$answer->{body} $note->{worker} $note->{mem} $note->{'cpu-us'}", qr/^early \d+ \d+ \d+$/, 'fastcgi_finish_request(): what it had cost by then');
        ($note, $answer) = $ask->('/exit.php');
        is("$answer->{status} $note->{state} $note->{exit}", '200 ok 7', 'exit(7) is no failure, and noted');
        ($note, $answer) = $ask->('/fatal.php');
        is("$answer->{status} $note->{state} $note->{exit}", '500 ok 255', 'a fatal error: 255');
    };

    subtest 'a request that waits for a worker' => sub {
        unlink "$gate/open", "$gate/begun";
        my $first = http_connect(port => $httpd->port, timeout => 20);
        $first->send_request(GET => '/wait.php');
        wait_for { -e "$gate/begun" } 10, 'the worker is busy';
        my ($note) = $ask->('/hello.php', answer => sub {
            my $second = http_connect(port => $httpd->port, timeout => 20);
            $second->send_request(GET => '/hello.php');
            my $until = Time::HiRes::time() + 0.3; # it is to wait for that long, at least
            wait_for { Time::HiRes::time() > $until } 10, 'a while';
            write_file("$gate/open", '');
            $first->read_answer;
            return $second->read_answer;
        });
        cmp_ok($note->{'queue-us'}, '>=', 100_000, 'queue-us says for how long');
        cmp_ok($note->{'ttfb-us'}, '>=', $note->{'queue-us'}, '... and it is part of ttfb-us');
        ($note) = $ask->('/hello.php');
        cmp_ok($note->{'queue-us'}, '<', 100_000, 'the next one does not wait');
    };

    subtest 'failures' => sub {
        my ($note, $answer) = $ask->('/gone/hello.php');
        is("$answer->{status} $note->{pool} $note->{state} $note->{attempts} $note->{worker} $note->{mem}", '503 gone down 1 - -', 'no connection: nothing is made up');
        like($note->{'total-us'}, qr/^\d+$/, '... but the time is known');
        my $from = $httpd->log_length;
        ($note, $answer) = $ask->('/die.php');
        is("$answer->{status} $note->{state}", '502 died', 'a worker that dies: 502');
        like($note->{worker}, qr/^\d+$/, '... the worker');
        ok(eval { $httpd->wait_log(qr/\[fpmpool:error\].*FPMP0077: pool www \(unix:\S+\), worker $note->{worker}, script \S+die\.php: the worker died/, 5, $from) }, '... in the log too') or diag $httpd->log_text($from);
        ($note, $answer) = $ask->('/short/late.php');
        is("$answer->{status} $note->{state}", '504 timeout', 'request_terminate_timeout: 504');
        like("$note->{worker} $note->{'queue-us'}", qr/^\d+ \d+$/, '... the worker');
        ok(eval { $httpd->wait_log(qr/\[fpmpool:error\].*FPMP0078: pool short \(unix:\S+\), worker $note->{worker}, /, 5, $from) }, '... in the log too') or diag $httpd->log_text($from);
    };

    subtest 'headers' => sub {
        my ($note, $answer) = $ask->('/timed/hello.php');
        is($answer->{headers}{'x-worker'}, $note->{worker}, 'mod_headers can use the notes');
        is($answer->{headers}{'x-waited'}, $note->{'queue-us'}, '... all that are known then');
        my %duration = ($answer->{headers}{'server-timing'} // '') =~ /(\w+);dur=(\d+\.\d{3})/g;
        is(join(' ', sort keys %duration), 'connect cpu queue ttfb', 'FpmPoolServerTiming') or diag $answer->{headers}{'server-timing'};
        is(int($duration{cpu} * 1000 + 0.5), $note->{'cpu-us'}, '... in milliseconds');
        is((http($httpd->url('/hello.php')))->{headers}{'server-timing'}, undef, 'not without it');
        unlink "$gate/open";
        my $http = http_connect(port => $httpd->port, timeout => 20);
        ($note) = $ask->('/timed/stream.php', answer => sub {
            $http->send_request(GET => '/timed/stream.php');
            my $head = $http->read_head;
            is($head->{headers}{'x-worker'}, $http->read_some, 'a response that streams: the worker is known at its start');
            unlike($head->{headers}{'server-timing'}, qr/cpu/, '... the cost not');
            write_file("$gate/open", '');
            1 while length $http->read_some;
            return 1;
        });
        like("$note->{mem} $note->{'cpu-us'}", qr/^\d+ \d+$/, '... but at its end');
    };
    return;
}

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf);
        run_all($httpd);
        $httpd->stop;
    };
}

subtest 'other front ends are told nothing, our module all' => sub {
    my $plain = php_request($daemon, "$root/exit.php");
    is($plain->{app_status}, 0, 'appStatus is 0 as from php-fpm, whatever exit() said');
    is($plain->{facts}, undef, 'no records of ours');
    my $own = php_request($daemon, "$root/exit.php", params => { FPMPOOL_PEER => 1 });
    is("$own->{body} $own->{app_status}", 'x 7', 'our module gets it');
    is(join(' ', sort keys %{ $own->{facts} }), 'FPMPOOL_CPU FPMPOOL_MEMORY FPMPOOL_QUEUE FPMPOOL_WORKER', '... and all facts');
    my $peer = start_service(kind => 'peer', name => 'liar', argv => [ dirname(__FILE__) . '/bin/scripted-peer', test_dir() . '/liar.sock' ]);
    $peer->wait_log(qr/listening/);
    for my $case ([ fpm => '-' ], [ fpmpool => '42' ]) {
        my ($type, $expected) = @$case;
        my $httpd = start_httpd(docroot => $root, conf => "FpmPool liar\n<FpmPoolDefine liar>\nFpmPoolServer unix:@{[ test_dir() ]}/liar.sock type=$type\n</FpmPoolDefine>\n<FilesMatch php>\nSetHandler fpmpool\n</FilesMatch>\n"
            . "Header set X-Worker \"expr=%{note:fpmpool-worker}-\"\nLogFormat \"%{fpmpool-worker}n %{fpmpool-state}n\" worker\nCustomLog worker.log worker\n");
        is(http($httpd->url('/hello.php?do=facts_in_pieces'))->{body}, 'told', "type=$type: a record of facts, a byte at a time");
        is((wait_for { -e "$httpd->{dir}/worker.log" && read_file("$httpd->{dir}/worker.log") =~ /(.*)\n/ ? $1 : undef } 5, 'a log line'), "$expected ok", '... is believed of our daemon only');
        is(http($httpd->url('/hello.php?do=facts_long'))->{body}, 'told', '... a record too long for facts is skipped');
        $httpd->stop;
    }
    $peer->stop;
};

subtest 'LogLevel fpmpool:trace7' => sub {
    my $httpd = start_httpd(docroot => $root, log_level => 'warn fpmpool:trace7', conf => php_routes('fpmpool', $daemon, 'www'));
    is(http($httpd->url('/hello.php?traced'))->{status}, 200, 'a page');
    my $socket = quotemeta 'unix:' . $daemon->listen_address('www');
    my $log = $httpd->log_text;
    like($log, qr/fpmpool:trace7\].*FPMP0093: bytes to $socket .*\d+ bytes/, 'shows what goes to the server');
    like($log, qr/fpmpool:trace7\].*FPMP0094: bytes from $socket .*\d+ bytes/, '... and what comes from it');
    like($log, qr/trace7.* 0000: \.{16} 0101000100080000/, '... byte by byte');
    $httpd->stop;
    $httpd = start_httpd(docroot => $root, log_level => 'warn fpmpool:trace6', conf => php_routes('fpmpool', $daemon, 'www'));
    is(http($httpd->url('/hello.php'))->{status}, 200, 'below that level');
    unlike($httpd->log_text, qr/FPMP009[34]/, '... nothing of it');
    $httpd->stop;
};
done_testing();
