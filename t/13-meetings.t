# A reload, or the end, in the middle of something else: what the executed master must still know of
# processes that it did not start, and pool processes that leave, start or talk just then.
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Copy qw(copy);
use lib dirname(__FILE__) . '/lib';
use POSIX ();
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'another daemon is named: this is about ours') if $ENV{FPMPOOL_TEST_DAEMON};

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;
my $wait = 'touch($_GET["mark"]); $end = microtime(true) + 60; while (!file_exists($_GET["go"]) && microtime(true) < $end) { usleep(5000); clearstatcache(); }';
my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'hold.php' => "<?php $wait echo 'held';",
    'say.php'  => "<?php $wait file_put_contents('php://stderr', \"bare words\\n\"); echo 'said';",
);

my $serial = 0;

# A request that holds a worker; returns its client and the file that ends it.
sub hold {
    my ($daemon, $pool, $script) = @_;
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    my $client = php_connect($daemon, $pool, timeout => 60);
    $client->send_request(script => "$root/" . ($script // 'hold.php'), query => "mark=$mark&go=$go");
    wait_for { -e $mark } 15, "a worker of $pool to be busy";
    return { client => $client, go => $go };
}
sub let_go { my ($held) = @_; write_file($held->{go}, ''); return $held->{client}->read_answer->{body} }

# The reload is over when the executed master is ready.
sub reload {
    my ($daemon) = @_;
    my $offset = $daemon->log_length;
    $daemon->signal('HUP');
    $daemon->wait_log(qr/ready to handle connections/, 30, $offset);
    return;
}

subtest 'bare lines of a worker that outlives a reload' => sub {
    my $daemon = start_daemon(conf => { www => { catch_workers_output => 'yes', decorate_workers_output => 'no' } });
    my $held = hold($daemon, 'www', 'say.php');
    allow_log(qr/^bare words$/);
    reload($daemon);
    is(let_go($held), 'said', 'the request ends');
    ok(eval { $daemon->wait_log(qr/^bare words$/m, 10); 1 }, '... and what it said is in the log, as it is');
    $daemon->stop;
};

subtest 'process.max counts workers of a generation that had more of them' => sub {
    my $daemon = start_daemon(conf => { global => { 'process.max' => 4 }, www => { 'pm.max_children' => 4 } });
    allow_log(qr/The maximum number of processes has been reached/);
    my @held = map { hold($daemon, 'www') } 1 .. 4;
    rewrite($daemon, sub { s/^pm\.max_children = 4$/pm.max_children = 1/m or die 'no max_children' });
    reload($daemon);
    reload($daemon);
    my $client = php_connect($daemon, 'www', timeout => 60);
    $client->send_request(script => "$root/pid.php");
    for (1 .. 20) {
        my @all = $daemon->worker_pids('www');
        cmp_ok(scalar @all, '<=', 4, 'there are not more than process.max') or last;
        select(undef, undef, undef, 0.1);
    }
    is(let_go($_), 'held', 'a request ends') for @held;
    is($client->read_answer->{status}, 200, 'and the new generation serves');
    wait_for { my @all = $daemon->worker_pids('www'); @all == 1 } 20, 'one worker';
    $daemon->stop;
};

subtest 'process.max is taken away while a generation of it ends' => sub {
    my $daemon = start_daemon(conf => { global => { 'process.max' => 2 }, www => { 'pm.max_children' => 2 } });
    allow_log(qr/The maximum number of processes has been reached/);
    my $held = hold($daemon, 'www');
    my $old  = $daemon->pool_pid;
    rewrite($daemon, sub { s/^process\.max = 2\n//m or die 'no process.max' });
    reload($daemon) for 1, 2;
    is(let_go($held), 'held', 'its request ends');
    wait_for { !alive($old) } 20, 'the old generation to end';
    unlike($daemon->log_text, qr/malformed/, '... and nothing that it says is strange to the master');
    $daemon->stop;
};

subtest 'process.max counts workers of a pool that is gone' => sub {
    my $daemon = start_daemon(conf => { global => { 'process.max' => 2 }, www => { 'pm.max_children' => 2 }, zone => { pm => 'ondemand', 'pm.max_children' => 1 } });
    allow_log(qr/The maximum number of processes has been reached/, qr/pool process \d+ exited on signal 9/);
    my $held = hold($daemon, 'zone');
    my ($worker) = $daemon->worker_pids('zone');
    kill 'KILL', $daemon->pool_pid('zone');
    wait_for { $daemon->pool_pid('zone') } 10, 'another pool process';
    rewrite($daemon, sub { s/^\[zone\].*?(?=^\[|\z)//ms or die 'no zone' });
    reload($daemon);
    wait_for { !$daemon->pool_pid('zone') } 20, 'the pool to be gone';
    reload($daemon) for 1, 2;
    for (1 .. 15) {
        my @all = $daemon->worker_pids('www');
        alive($worker) or last;
        cmp_ok(scalar @all, '<=', 1, 'the other pool has what is left') or last;
        select(undef, undef, undef, 0.1);
    }
    ok(alive($worker), 'its worker still runs');
    write_file($held->{go}, '');
    wait_for { my @all = $daemon->worker_pids('www'); @all == 2 } 20, 'the place of the worker that ended';
    $daemon->stop;
};

# A pool process that was told to leave and has not heard it yet.
sub start_leaving {
    my $daemon = start_daemon(conf => { sleepy => { pm => 'ondemand', pool_idle_timeout => '1s', 'pm.process_idle_timeout' => '1s' } });
    is(php_request($daemon, "$root/pid.php", pool => 'sleepy')->{status}, 200, 'the pool serves');
    my $pool = $daemon->pool_pid('sleepy');
    kill 'STOP', $daemon->pid;
    wait_for { !grep { readlink("/proc/$pool/fd/7") // '' } 1 } 20, 'the pool process to leave its listener';
    kill 'STOP', $pool;
    kill 'CONT', $daemon->pid;
    return ($daemon, $pool);
}

subtest 'a pool process that leaves and does not end' => sub {
    allow_log(qr/WARNING: \[pool sleepy\] pool process \d+, which was idle, did not end within 5 seconds and is killed/);
    my ($daemon, $pool) = start_leaving();
    my $answer = eval { php_request($daemon, "$root/pid.php", pool => 'sleepy', timeout => 40)->{status} };
    is($answer, 200, 'is ended, and the pool serves again');
    $daemon->stop;

    ($daemon, $pool) = start_leaving();
    kill 'TERM', $daemon->pid;
    ok(eval { wait_for { !$daemon->is_running } 30, 'the end'; 1 }, 'it does not keep the daemon from ending');
    $daemon->stop;
};

subtest 'a pool process that leaves while its successor starts' => sub {
    my ($daemon, $pool) = start_leaving();
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    write_file("$data/preload.php", "<?php touch('$mark'); while (!file_exists('$go')) { usleep(5000); clearstatcache(); }");
    rewrite($daemon, sub { $_ .= "php_admin_value[opcache.preload] = $data/preload.php\n" });
    $daemon->signal('HUP');
    wait_for { -e $mark } 20, 'the next generation to start';
    kill 'CONT', $pool;
    wait_for { !alive($pool) } 10, 'the old one to end';
    my ($next) = children($daemon->pid);
    my $offset = $daemon->log_length;
    write_file($go, '');
    $daemon->wait_log(qr/ready to handle connections/, 20, $offset);
    is(php_request($daemon, "$root/pid.php", pool => 'sleepy')->{status}, 200, 'the pool serves') for 1, 2;
    my @all = children($daemon->pid);
    is_deeply(\@all, [$next], 'by its next generation, and the master starts no third one');
    $daemon->stop;
};

subtest 'new logs while generations change' => sub {
    my $log = "$data/access.log";
    my $daemon = start_daemon(conf => { www => { 'access.log' => $log, 'access.format' => '"%Q%q"' } });
    my $held = hold($daemon, 'www');
    my ($mark, $go) = map { "$data/$_-" . ++$serial } qw(mark go);
    write_file("$data/preload.php", "<?php touch('$mark'); while (!file_exists('$go')) { usleep(5000); clearstatcache(); }");
    rewrite($daemon, sub { s/^(?=access\.log)/php_admin_value[opcache.preload] = $data\/preload.php\n/m or die 'no access.log' });
    $daemon->signal('HUP');
    wait_for { -e $mark } 20, 'the next generation to start';
    rename $log, "$log.1" or die "$log: $!";
    my $offset = $daemon->log_length;
    $daemon->signal('USR1');
    $daemon->wait_log(qr/access log file re-opened/, 10, $offset);
    write_file($go, '');
    $daemon->wait_log(qr/ready to handle connections/, 20, $offset);
    is(php_request($daemon, "$root/pid.php", query => 'of=next')->{status}, 200, 'the next generation serves');
    ok(eval { wait_for { read_file($log) =~ /of=next/ } 5, 'its line'; 1 }, '... and writes into the new file');
    rename $log, "$log.2" or die "$log: $!";
    $offset = $daemon->log_length;
    $daemon->signal('USR1');
    $daemon->wait_log(qr/access log file re-opened/, 10, $offset);
    is(let_go($held), 'held', 'a request of the old generation ends');
    ok(eval { wait_for { read_file($log) =~ /go=/ } 5, 'its line'; 1 }, '... and its line is in the newest file');
    $daemon->stop;
};

# Lets the tester of a reload wait for a fifo until the work is done; then it finds nothing special.
sub while_testing {
    my ($daemon, $begin, $work) = @_;
    my $fifo = $daemon->dir . '/more.conf';
    unlink $fifo;
    POSIX::mkfifo($fifo, 0644) or die "$fifo: $!";
    rewrite($daemon, sub { $_ = "include = $fifo\n$_" });
    $begin->();
    wait_for { (grep { process_title($_) =~ /--reload-test=/ } children($daemon->pid))[0] } 20, 'the tester';
    $work->();
    rewrite($daemon, sub { s/^include = \S+\n//mg });
    open my $out, '>', $fifo or die "$fifo: $!";
    close $out;
    unlink $fifo;
    return;
}

sub crash_worker {
    my ($daemon, $pool) = @_;
    my $offset = $daemon->log_length;
    php_request($daemon, "$root/pid.php", pool => $pool);
    kill 'SEGV', ($daemon->worker_pids($pool))[0];
    $daemon->wait_log(qr/failed processes threshold .* is reached, initiating reload/, 20, $offset);
    return;
}

sub starts_of { my ($daemon, $pool) = @_; return scalar(() = $daemon->log_text =~ /\[pool $pool\] pool process \d+ started/g) }

subtest 'crashes while a reload is under way, and a reload while crashes are' => sub {
    allow_log(qr/failed processes threshold/, qr/exited on signal 11/);
    my $daemon = start_daemon(conf => { global => { log_level => 'debug', emergency_restart_threshold => 1, emergency_restart_interval => '1s' },
        one => { 'pm.max_children' => 1 }, two => { 'pm.max_children' => 1 } });
    my $offset = $daemon->log_length;
    while_testing($daemon, sub { $daemon->signal('HUP') }, sub { crash_worker($daemon, 'one') });
    $daemon->wait_log(qr/(?:Reloading in progress.*){2}ready to handle connections/s, 30, $offset);
    is(starts_of($daemon, 'two'), 2, 'the other pool is replaced once, by the reload');
    cmp_ok(starts_of($daemon, 'one'), '>=', 2, 'and the pool that crashed');

    sleep(1.1);
    $offset = $daemon->log_length;
    while_testing($daemon, sub { crash_worker($daemon, 'one') }, sub { $daemon->signal('HUP'); $daemon->wait_log(qr/received SIGHUP/, 10, $offset) });
    $daemon->wait_log(qr/(?:Reloading in progress.*){2}ready to handle connections/s, 30, $offset);
    is(starts_of($daemon, 'two'), 3, 'a reload that was asked for meanwhile is for every pool');

    sleep(1.1);
    allow_log(qr/no\.such\.key/, qr/reload: the new configuration has errors/, qr/failed to load configuration/);
    rewrite($daemon, sub { $_ .= "no.such.key = 1\n" });
    $offset = $daemon->log_length;
    $daemon->signal('HUP');
    $daemon->wait_log(qr/reload: the new configuration has errors/, 20, $offset);
    rewrite($daemon, sub { s/^no\.such\.key.*\n//mg });
    my $starts = starts_of($daemon, 'two');
    crash_worker($daemon, 'one');
    $daemon->wait_log(qr/initiating reload.*ready to handle connections/s, 30, $offset);
    is(starts_of($daemon, 'two'), $starts, 'a reload that failed before is forgotten');
    $daemon->stop;
};

# An interpreter host that says READY and then the same thing for ever; perl stands in for what a tenant could make of it.
my $talker = <<'EOF_TALKER';
#!/usr/bin/perl
use strict;
use warnings;
use POSIX ();
open my $file, '<', 'FOLDER/kind' or die "kind: $!";
chomp(my $kind = <$file>);
my $count = 0;
my %message = (
    unknown => sub { return (77, '') },
    failed  => sub { return (33, "words\n[24-Nov-2026 00:00:00] ALERT: forged") },
    want    => sub { return (35, pack('LL', $count++ % 2 ? 0 : 5, 0)) },
    broken  => sub { return (36, 'x') },
    idle    => sub { return (34, '') },
);
my ($type, $body) = (32, '');
while (1) {
    my $packet = pack('LL', $type, length $body) . $body;
    defined POSIX::write(3, $packet, length $packet) or exit 0;
    select(undef, undef, undef, 0.01) until -e 'FOLDER/go';
    ($type, $body) = $message{$kind}->();
}
EOF_TALKER

# A folder with the programs, to which a test adds an interpreter host of its own.
sub install {
    my ($name) = @_;
    my $bin = test_dir() . "/$name";
    mkdir $bin or die "$bin: $!";
    for my $file (glob build_path('bin/*')) {
        my $to = "$bin/" . $file =~ s{.*/}{}r;
        copy($file, $to) or die "$to: $!";
        chmod 0755, $to;
    }
    return $bin;
}

subtest 'a pool process that talks without end' => sub {
    my $bin = install('talks-bin');
    write_file("$bin/fpmpool-php9.9", $talker =~ s/FOLDER/$bin/gr, 0755);
    my %most = (unknown => 2001, failed => 2001, broken => 2001, want => 2, idle => 1); # lines in a second
    for my $kind (sort keys %most) {
        allow_log(qr/The maximum number of processes has been reached/, qr/\[pool talks\] /);
        write_file("$bin/kind", "$kind\n");
        unlink "$bin/go";
        my $daemon = start_daemon(name => "talks-$kind", binary => "$bin/fpmpoold", conf => { global => { 'process.max' => 3 }, www => { 'pm.max_children' => 1 }, talks => { php => '9.9', 'pm.max_children' => 3 } });
        is(php_request($daemon, "$root/pid.php")->{status}, 200, "$kind: the other pool serves");
        write_file("$bin/go", '');
        my ($offset, $start) = ($daemon->log_length, time());
        sleep(1);
        $daemon->signal('USR1');
        reload($daemon) if $kind ne 'want'; # who has permits may keep them
        is(php_request($daemon, "$root/pid.php")->{status}, 200, '... the daemon hears signals, and the other pool serves on');
        my $seconds = time() - $start;
        my $lines = () = $daemon->log_text($offset) =~ /\n/g;
        cmp_ok($lines, '<=', $most{$kind} * ($seconds + 2) + 20, "... and its log grows slowly: $lines lines in $seconds s");
        unlike($daemon->log_text, qr/^\[24-Nov-2026 00:00:00\]/m, '... nothing in it is forged');
        $daemon->stop('TERM', 20);
    }
};

subtest 'a pool process that gives the master a descriptor whose close takes its time' => sub {
    my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/;
    plan(skip_all => "Linux $major.$minor cannot refuse descriptors") if $major < 6 || ($major == 6 && $minor < 16);
    my $bin = install('gives-bin');
    my $flags = `apr-1-config --includes --cppflags 2>/dev/null` =~ s/\s+/ /gr;
    my @command = ($ENV{CC} || 'cc', qw(-std=gnu11 -D_GNU_SOURCE), '-I' . repository() . '/fpmpoold', split(' ', $flags),
        '-o', "$bin/fpmpool-php9.9", map { repository() . "/$_" } qw(t/bin/give_descriptor.c fpmpoold/base/channel.c));
    is(system(@command), 0, 'the host is built') or return;
    my $daemon = start_daemon(name => 'gives', binary => "$bin/fpmpoold", conf => { www => {}, gives => { php => '9.9' } });
    wait_for { -e "$bin/fpmpool-php9.9.result" } 10, 'the host to have tried';
    my @result = split /\n/, read_file("$bin/fpmpool-php9.9.result");
    is_deeply(\@result, [ ('Operation not permitted') x 2 ], 'it cannot');
    my $offset = $daemon->log_length;
    $daemon->signal('HUP');
    ok(eval { $daemon->wait_log(qr/Reloading in progress/, 10, $offset); 1 }, '... and the master does not wait for it');
    $daemon->stop('TERM', 20);
};

done_testing();
