# Logs that take nothing: a full disk, a pipe that nobody reads, a fifo without a reader. Requests, reload and
# stop go on as ever, and what was lost is told as soon as somebody can be told.

use strict;
use warnings;
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK O_RDWR);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};

my $root = site('www',
    'hello.php' => '<?php echo "hello";',
    'noise.php' => '<?php for ($i = 0; $i < 2000; $i++) file_put_contents("php://stderr", str_repeat("noise ", 100) . "\n"); echo "said";',
    'error.php' => '<?php for ($i = 0; $i < 50; $i++) error_log(str_repeat("message ", 200)); echo "logged";',
);
my $daemon_file = build_path('bin/fpmpoold');
my $set_pipe_size = 1031;

# A daemon program that runs this shell text first; $real is fpmpoold, "$@" its arguments.
sub started_by {
    my ($name, $text) = @_;
    return write_file("$name/fpmpoold", "#!/bin/sh\nreal=$daemon_file\n$text\n", 0755);
}

# A fifo of one page and our end of it, which is read only when a subtest says so.
sub make_fifo {
    my ($name) = @_;
    my $path = test_dir() . "/$name";
    POSIX::mkfifo($path, 0600) or die "$path: $!";
    return $path;
}

sub open_fifo {
    my ($path) = @_;
    sysopen my $end, $path, O_RDWR | O_NONBLOCK or die "$path: $!";
    fcntl $end, $set_pipe_size, 4096;
    return $end;
}

sub read_fifo {
    my ($end) = @_;
    my $text = '';
    while (sysread $end, my $part, 65536) { $text .= $part }
    return $text;
}

# Fills it to the last byte, as a reader that sleeps lets it be.
sub fill_fifo {
    my ($end) = @_;
    1 while syswrite $end, 'x' x 4096;
    1 while syswrite $end, 'x';
    return;
}

sub answers {
    my ($daemon, $script, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(eval { php_request($daemon, "$root/$script", timeout => 10)->{body} } // $@, $expected, $name);
}

sub serves_at_last {
    my ($daemon, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $body = eval {
        wait_for { eval { php_request($daemon, "$root/hello.php", timeout => 2)->{body} } } 15, 'an answer';
    };
    return is($body // $@, 'hello', $name);
}

# Requests, reload, reopening, end: none of them waits for the log.
sub goes_on {
    my ($daemon, $when) = @_;
    answers($daemon, 'hello.php', 'hello', "$when: requests are served") for 1 .. 3;
    my ($pool) = $daemon->pool_pid;
    $daemon->signal('USR1');
    $daemon->signal('HUP');
    ok(eval { wait_for { my $now = $daemon->pool_pid; $now && $now != $pool } 15, 'a new pool process' }, "$when: reload works");
    serves_at_last($daemon, "$when: and serves");
    my ($worker) = $daemon->worker_pids;
    kill 'KILL', $worker;
    ok(eval { wait_for { my ($now) = $daemon->worker_pids; $now && $now != $worker } 15, 'a new worker' }, "$when: a worker that dies is replaced");
    serves_at_last($daemon, "$when: and serves");
    return;
}

subtest 'stderr is a pipe that nobody reads' => sub {
    my $path   = make_fifo('stderr');
    my $end    = open_fifo($path);
    my $daemon = start_daemon(wait => 0, binary => started_by('pipe', "exec \"\$real\" \"\$@\" 2>$path"),
        conf => { global => { log_level => 'debug' }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes' } });
    serves_at_last($daemon, 'it starts');
    fill_fifo($end);
    answers($daemon, 'noise.php', 'said', 'a script that says more than the pipe takes is not held up');
    goes_on($daemon, 'full');
    read_fifo($end);
    $daemon->signal('USR1');
    my $text = '';
    ok(eval { wait_for { $text .= read_fifo($end); $text =~ /lines lost/ } 10, 'the note' }, 'when it is read again it says how many lines were lost');
    like($text, qr/^\[[^\]]*\] WARNING: .*lines lost from this log: \d+ \(Resource temporarily unavailable\); its reader does not read, restart that$/m, '... why, and what to do');
    fill_fifo($end);
    is($daemon->stop('TERM', 15), 0, 'full: TERM ends it');
};

for my $signal (qw(QUIT TERM)) {
    subtest "error_log is a fifo without a reader ($signal)" => sub {
        my $path   = make_fifo("error-$signal");
        my $daemon = start_daemon(wait => 0, binary => started_by("fifo-$signal", 'shift 2; exec "$real" -F "$@"'),
            conf => { global => { error_log => $path, log_level => 'debug' }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes' } });
        serves_at_last($daemon, 'it starts');
        answers($daemon, 'noise.php', 'said', 'a script that says more than the pipe takes is not held up');
        goes_on($daemon, 'full');
        my $end = open_fifo($path);
        like(read_fifo($end), qr/\] NOTICE: (?:.*\n)+/, 'a reader that comes late gets what the pipe has kept');
        is($daemon->stop($signal, 15), 0, "$signal ends it");
    };
}

subtest 'error_log on a full disk' => sub {
    my $daemon = start_daemon(wait => 0, binary => started_by('full', 'shift 2; exec "$real" -F "$@"'),
        conf => { global => { error_log => '/dev/full', log_level => 'debug' }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes', 'php_admin_value[error_log]' => '/dev/full' } });
    serves_at_last($daemon, 'it starts');
    answers($daemon, 'noise.php', 'said', 'what workers say does not stop them');
    answers($daemon, 'error.php', 'logged', "PHP's error_log neither");
    goes_on($daemon, 'full');
};

subtest 'a disk that fills up and gets room again' => sub {
    my $disk = test_dir() . '/disk';
    mkdir $disk;
    plan(skip_all => 'needs root and unshare: a disk of its own') if !is_root() || system("unshare -m mount -t tmpfs none $disk 2>/dev/null") != 0;
    my $daemon = start_daemon(wait => 0, binary => started_by('disk', <<"SH"),
if [ -z "\$INSIDE" ]; then INSIDE=1 exec unshare -m "\$0" "\$@"; fi
mount -t tmpfs -o size=64k,mode=755 none $disk || exit 1
shift 2
exec "\$real" -F "\$@"
SH
        conf => { global => { error_log => "$disk/error.log" }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes', 'access.log' => "$disk/access.log", 'php_admin_value[error_log]' => "$disk/php.log", FPMPool::Board::needed_keys() } });
    serves_at_last($daemon, 'it starts');
    my $inside = '/proc/' . $daemon->pid . "/root$disk";
    # A line is written after the answer; the block that the first one takes has room for many more.
    wait_for { -s "$inside/access.log" } 10, 'the first line of access.log';
    open my $filler, '>', "$inside/filler" or die "$inside: $!";
    1 while syswrite $filler, 'x' x 4096;
    1 while syswrite $filler, 'x' x 16;
    close $filler;
    answers($daemon, 'hello.php', 'hello', 'full: a request whose access.log line has no place') for 1 .. 200;
    answers($daemon, 'error.php', 'logged', 'full: a script that logs');
    answers($daemon, 'noise.php', 'said', 'full: a script whose output is caught');
    goes_on($daemon, 'full');
    my $size = -s "$inside/access.log";
    unlink "$inside/filler";
    answers($daemon, 'hello.php', 'hello', 'with room again') for 1 .. 3;
    FPMPool::Board::wait_idle($daemon, 'www');
    my @line = split /\n/, read_file("$inside/access.log");
    my @odd = grep { !/\A- -  \S+ \S+ "GET \/(?:hello|error|noise)\.php" 200\z/ } @line;
    cmp_ok(scalar @odd, '<=', 1, 'access.log has whole lines, but for the one that was cut when its worker was killed') or diag(join "\n", @odd);
    cmp_ok(scalar @line, '>', 3, '... many');
    cmp_ok(-s "$inside/access.log", '>', $size, '... and new ones');
    $daemon->signal('USR1');
    my $log = wait_for { my $text = read_file("$inside/error.log"); $text =~ /error log file re-opened/ && $text } 10, 'the log to go on';
    like($log, qr/WARNING: lines lost from this log: \d+ \(No space left on device\); make room on its disk$/m, 'error_log says how many lines it has lost');
    $daemon->stop;
};

subtest 'access.log' => sub {
    my $fifo   = make_fifo('access');
    my $daemon = start_daemon(conf => {
        fifo => { 'pm.max_children' => 1, 'access.log' => $fifo, FPMPool::Board::needed_keys() },
        full => { 'pm.max_children' => 1, 'access.log' => test_dir() . '/access-full' },
    });
    my $is_written = sub { FPMPool::Board::wait_idle($daemon, 'fifo') };    # the line comes after the answer
    is(eval { php_request($daemon, "$root/hello.php", pool => 'fifo', timeout => 10)->{body} } // $@, 'hello', 'a fifo without a reader: the pool serves');
    $is_written->();
    my $end = open_fifo($fifo);
    like(read_fifo($end), qr/"GET \/hello.php" 200$/m, '... and keeps the line for it');
    fill_fifo($end);
    is(eval { php_request($daemon, "$root/hello.php", pool => 'fifo', timeout => 10)->{body} } // $@, 'hello', 'when it is full the pool serves on') for 1 .. 50;
    my $lost = qr/WARNING: \[pool fifo\] access\.log '\Q$fifo\E' cannot be written and loses lines; its reader does not read, restart that: Resource temporarily unavailable \(11\)$/m;
    $daemon->wait_log($lost);
    allow_log($lost);
    $is_written->();
    is(scalar(() = $daemon->log_text =~ /cannot be written/g), 1, '... and says so once');
    read_fifo($end);
    php_request($daemon, "$root/hello.php", pool => 'fifo');
    like($daemon->wait_log(qr/(NOTICE: \[pool fifo\] access\.log .* is written again, lines lost: 50)$/m), qr/./, '... and what was lost, when it is read again');
    close $end;
    is(eval { php_request($daemon, "$root/hello.php", pool => 'fifo', timeout => 10)->{body} } // $@, 'hello', 'a reader that ends kills nobody');
    is($daemon->log_text =~ /pool fifo\] child \d+ exited/ ? 1 : 0, 0, '... no worker');
};
done_testing();
