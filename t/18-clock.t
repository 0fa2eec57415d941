# The time of day jumps: a day ahead, two days back. No limit of the daemon or the module may notice: what has
# time keeps it, what has run out of time ends when its own seconds are over. (A time namespace moves other clocks, not
# this one; so the clock of the servers is moved by a preloaded library.)

use strict;
use warnings;
use Config;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};
require_program('cc', 'gcc');
my $library = preload('shift_clock');

my $file = test_dir() . '/shift';
sub shift_clock {
    my ($seconds) = @_;
    open my $out, -e $file ? '+<:raw' : '>:raw', $file or die $!;    # the file is mapped: never made anew
    syswrite $out, pack 'l!', $seconds or die $!;
    return;
}
shift_clock(0);
chmod 0644, $file;
my %env = (LD_PRELOAD => $library, SHIFT_CLOCK => $file);
my $day = 86_400;

my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'hello.php' => '<?php echo "hello";',
    'time.php'  => '<?php echo time();',
    'wait.php'  => "<?php touch('$flags/began-' . \$_GET['n']); while (!file_exists('$flags/go-' . \$_GET['n'])) { usleep(5000); clearstatcache(); } echo 'waited';",
    'spin.php'  => '<?php while (true) { usleep(20000); }',
);

my @daemon_option = (env => \%env, conf => {
    global  => { process_control_timeout => '60s' },
    patient => { 'pm.max_children' => 1, request_terminate_timeout => '60s', 'queue.timeout' => '60s', request_head_timeout => '60s', FPMPool::Board::needed_keys() },
    brief   => { 'pm.max_children' => 1, request_terminate_timeout => '2s', request_head_timeout => '1s' },
    queued  => { 'pm.max_children' => 1, 'queue.timeout' => '1s' },
    sleepy  => { pm => 'ondemand', 'pm.max_children' => 2, 'pm.process_idle_timeout' => '1s' },
});
my $daemon = start_daemon(@daemon_option);
my $httpd  = start_httpd(env => \%env, docroot => $root, modules => ['http2'], conf => <<"CONF");
Protocols h2c http/1.1
FpmPoolSocketDir @{[ dirname $daemon->listen_address('patient') ]}
FpmPool patient
FpmPoolTimeout first=60s idle=60s
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
Alias /hasty $root
Alias /down $root
<Location "/down">
    FpmPool down
</Location>
<Location "/hasty">
    FpmPoolTimeout first=1s
</Location>
CONF
my $number = 0;

# Begins a request that waits; returns its client and how it is let go.
sub begin {
    my ($client, $send) = @_;
    my $n = ++$number;
    $send->($n);
    return sub { write_file("$flags/go-$n", '') };
}
my $has_http2 = `curl --version 2>/dev/null` =~ /\bHTTP2\b/;
sub begin_curl {
    my ($n, $body) = @_;
    return FPMPool::Process::spawn(argv => [ 'curl', '-sS', '--http2-prior-knowledge', '--max-time', 20, '-w', ' %{http_code}', $httpd->url("/wait.php?n=$n") ], stdout => $body, stderr => $body);
}
sub has_begun { wait_for { -e "$flags/began-$number" } 10, 'the script to begin' }

is(php_request($daemon, "$root/time.php", pool => 'patient')->{body} <=> time() + 1000, -1, 'the clock is right');
for my $jump ([ $day, 'a day ahead' ], [ -2 * $day, 'two days back' ]) {
    my ($seconds, $name) = @$jump;
    shift_clock(0);
    subtest "$name: who has time keeps it" => sub {
        my $running = php_connect($daemon, 'patient', timeout => 20);
        my $go = begin($running, sub { $running->send_request(script => "$root/wait.php", query => "n=$_[0]", keep => 1) });
        has_begun();
        my $queued = php_connect($daemon, 'patient', timeout => 20);
        $queued->send_request(script => "$root/hello.php");
        my $half = php_connect($daemon, 'patient', timeout => 20);
        my $bytes = FPMPool::Client::request_bytes(script => "$root/hello.php");
        $half->send_bytes(substr $bytes, 0, 12);
        my @worker = $daemon->worker_pids('patient');
        shift_clock($seconds);
        my $then = php_request($daemon, "$root/time.php", pool => 'sleepy')->{body};
        cmp_ok(abs($then - time() - $seconds), '<', 100, 'PHP sees the new time');
        # The limits are looked at once a second and more often: let one that would notice notice.
        my $end = time() + 2;
        wait_for { time() > $end } 5, 'two looks at the limits';
        $go->();
        is(eval { $running->read_answer->{body} } // $@, 'waited', 'a running request');
        is(eval { $queued->read_answer->{body} } // $@, 'hello', 'one that waits');
        $half->send_bytes(substr $bytes, 12);
        is(eval { $half->read_answer->{body} } // $@, 'hello', 'one whose head has begun');
        is(eval { $running->request(script => "$root/hello.php")->{body} } // $@, 'hello', 'a kept connection');
        is_deeply([ $daemon->worker_pids('patient') ], \@worker, 'the same worker');
    };
    subtest "$name: who has none left ends" => sub {
        my $answer = php_request($daemon, "$root/spin.php", pool => 'brief', timeout => 10);
        is($answer->{status}, 504, 'request_terminate_timeout');
        my $busy = php_connect($daemon, 'queued', timeout => 20);
        my $go   = begin($busy, sub { $busy->send_request(script => "$root/wait.php", query => "n=$_[0]") });
        has_begun();
        my $half = php_connect($daemon, 'brief');
        $half->send_bytes('half');
        is(php_request($daemon, "$root/hello.php", pool => 'queued', timeout => 10)->{status} // 'none', 503, 'queue.timeout');
        ok(eval { $half->read_answer(timeout => 10); 1 }, 'request_head_timeout') or diag $@;
        $go->();
        is(eval { $busy->read_answer->{body} } // $@, 'waited', '... and the worker that was waited for goes on');
        php_request($daemon, "$root/hello.php", pool => 'sleepy');
        ok(eval { wait_for { !$daemon->worker_pids('sleepy') } 15, 'no worker' }, 'pm.process_idle_timeout');
    };
    shift_clock(0);
    subtest "$name: the module" => sub {
        my $slow = http_connect(port => $httpd->port, timeout => 20);
        my $go = begin($slow, sub { $slow->send_request(GET => "/wait.php?n=$_[0]") });
        has_begun();
        shift_clock($seconds);
        my $end = time() + 2;
        wait_for { time() > $end } 5, 'two looks at the limits';
        $go->();
        is(eval { my $head = $slow->read_head; $head->{status} } // $@, 200, 'waits on for a script that has time') or diag $httpd->log_text;
        is(http($httpd->url('/hello.php'))->{body}, 'hello', 'uses its kept connections');
        shift_clock(0);
        if ($has_http2) { # whose streams look at their limits twice a second
            my $body = test_dir() . "/h2-$seconds";
            my $curl = begin_curl(++$number, $body);
            has_begun();
            shift_clock($seconds);
            $end = time() + 2;
            wait_for { time() > $end } 5, 'two looks at the limits';
            write_file("$flags/go-$number", '');
            FPMPool::Process::reap($curl, 20);
            is(read_file($body), 'waited 200', '... over HTTP/2 too') or diag $httpd->log_text;
            shift_clock(0);
        }
        my $from = $httpd->log_length;
        for my $again (0, 1) {
            is(http($httpd->url('/down/hello.php'))->{status}, 503, 'a pool that is down');
            shift_clock($again ? 0 : $seconds);
        }
        my $said = () = $httpd->log_text($from) =~ /FPMP0073: /g;
        cmp_ok($said, '<=', 1, '... is told of once in ten seconds');
        my $hasty = http_connect(port => $httpd->port, timeout => 20);
        $go = begin($hasty, sub { $hasty->send_request(GET => "/hasty/wait.php?n=$_[0]") });
        has_begun();
        shift_clock($seconds);
        is(eval { my $head = $hasty->read_head; $head->{status} } // $@, 504, 'gives up when FpmPoolTimeout is over') or diag $httpd->log_text;
        $go->();
        FPMPool::Board::wait_idle($daemon, 'patient');
    };
    subtest "$name: reload and end" => sub {
        my $pool = $daemon->pool_pid('patient');
        $daemon->signal('HUP');
        ok(eval { wait_for { my $now = $daemon->pool_pid('patient'); $now && $now != $pool && !alive($pool) } 20, 'a new pool process, and no old one' }, 'reload');
        is(eval { php_request($daemon, "$root/hello.php", pool => 'patient', timeout => 10)->{body} } // $@, 'hello', '... and requests');
    };
}
like($daemon->log_text, qr/^\[@{[ POSIX::strftime('%d-%b-%Y', localtime(time() - 2 * $day)) ]} /m, 'the log shows the time of day');
allow_log(qr/execution timed out|exited on signal|queue\.timeout|FPMP006\d|FPMP0073/);
done_testing();
