# The slow log: what it says of scripts that compute, sleep, wait for a database or a stream; that none of them
# notices; that message, entry and counter always agree; and the peer's own entries for the same scripts.
# long: 80 s

use strict;
use warnings;
use Fcntl qw(O_NONBLOCK O_RDWR);
use File::Basename qw(dirname);
use POSIX ();
use Time::HiRes ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Application;
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};

my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;

# Every script prints what its slow call returned and how many seconds that took.
my $timed = 'function timed($call) { $start = hrtime(true); $result = $call(); printf("%s %.3f", json_encode($result), (hrtime(true) - $start) / 1e9); }';
my $root  = site('www',
    'timed.php'    => "<?php\n$timed\n",
    'hello.php'    => '<?php echo "hello";',
    'sleep.php'    => "<?php\nrequire 'timed.php';\nfunction inner() {\n    return sleep(2);\n}\ntimed(function () {\n    return inner();\n});\n",
    'usleep.php'   => "<?php\nrequire 'timed.php';\ntimed(fn() => usleep(2000000));\n",
    'nano.php'     => "<?php\nrequire 'timed.php';\ntimed(fn() => time_nanosleep(2, 0));\n",
    'select.php'   => "<?php\nrequire 'timed.php';\ntimed(function () {\n    [\$a, \$b] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);\n    \$r = [\$a]; \$w = \$e = null;\n    return stream_select(\$r, \$w, \$e, 2);\n});\n",
    'read.php'     => "<?php\nrequire 'timed.php';\ntimed(function () {\n    [\$a, \$b] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);\n    stream_set_timeout(\$a, 2);\n    return [fread(\$a, 10), stream_get_meta_data(\$a)['timed_out']];\n});\n",
    'program.php'  => "<?php\nrequire 'timed.php';\ntimed(fn() => exec('sleep 2; echo slept'));\n",
    'query.php'    => "<?php\nrequire 'timed.php';\n\$db = new PDO('mysql:unix_socket=' . \$_SERVER['DATABASE'] . ';dbname=slow', 'slow', 'secret');\ntimed(function () use (\$db) {\n    return \$db->query('SELECT SLEEP(2)')->fetchColumn();\n});\n",
    'loop.php'     => "<?php\nclass Counter {\n    public \$n = 0;\n    function add(\$i) {\n        \$this->n += \$i & 1;\n    }\n    static function count(\$end) {\n        \$counter = new self;\n        while (hrtime(true) < \$end) {\n            for (\$i = 0; \$i < 1000; \$i++) {\n                \$counter->add(\$i);\n            }\n        }\n        return \$counter->n > 0;\n    }\n}\nfunction spin() {\n    return Counter::count(hrtime(true) + 2500000000);\n}\necho json_encode(spin());\n",
    'jit.php'      => "<?php\n\$jit = opcache_get_status(false)['jit'];\necho \$jit['on'] ? \$jit['buffer_free'] : 'off';\n",
    'hot.php'      => <<'PHP',
<?php
class T {
    function r($d) {
        if ($d == 0) {
            return str_repeat('x', mt_rand(1, 50));
        }
        $f = function () use ($d) {
            return $this->r($d - 1);
        };
        return $f();
    }
    static function g($n) {
        for ($i = 0; $i < $n; $i++) {
            $o = new self;
            yield $o->r($i % 30);
        }
    }
}
function page($n) {
    eval('$x = ' . $n . ';');
    return array_map(fn($a) => preg_replace_callback('/x/', fn($m) => 'y', $a), iterator_to_array(T::g(50)));
}
$end = microtime(true) + 1.5;
$k = 0;
while (microtime(true) < $end) {
    page($k++);
}
echo 'done';
PHP
    'methods.php'  => <<'PHP',
<?php
namespace App\Sub;
class Base {
    function deep() { sleep(2); }
    static function make() {
        (new static)->run();
    }
    function run() {
        array_map(function ($x) {
            $this->deep();
        }, [1]);
    }
}
class Child extends Base {
    function __get($name) {
        self::make();
    }
    function __toString(): string {
        return (string) $this->missing;
    }
}
(function () {
    strlen(new Child);
})();
echo "done";
PHP
    'include.php'  => "<?php\nfunction load() {\n    eval('include __DIR__ . \"/part.php\";');\n}\nload();\necho 'done';\n",
    'part.php'     => "<?php\n\$o = new class {\n    function wait() {\n        sleep(2);\n    }\n};\n\$o->wait();\n",
    'autoload.php' => "<?php\nspl_autoload_register(function (\$name) {\n    sleep(2);\n    eval(\"class \$name {}\");\n});\nfunction create() {\n    new Missing;\n}\ncreate();\necho 'done';\n",
    'unwind.php'   => "<?php\nclass Guard {\n    function __destruct() {\n        sleep(2);\n    }\n}\nfunction work() {\n    \$guard = new Guard;\n    throw new Exception('x');\n}\ntry {\n    work();\n} catch (Exception \$e) {\n    echo 'done';\n}\n",
    'generate.php' => "<?php\nfunction outer() {\n    yield from inner();\n}\nfunction inner() {\n    sleep(2);\n    yield 1;\n}\nforeach (outer() as \$x) {\n    echo 'done';\n}\n",
    'fiber.php'    => "<?php\nfunction inside() {\n    sleep(2);\n}\n\$fiber = new Fiber(function () {\n    inside();\n});\n\$fiber->start();\necho 'done';\n",
    'recurse.php'  => "<?php\nfunction down(\$n) {\n    if (\$n === 0) {\n        sleep(2);\n        return;\n    }\n    down(\$n - 1);\n}\ndown(30);\necho 'done';\n",
    'hostile.php'  => "<?php\nfile_put_contents(\$_GET['file'], '<?php sleep(2);');\ninclude \$_GET['file'];\nunlink(\$_GET['file']);\necho 'done';\n",
    'late.php'     => "<?php\nregister_shutdown_function(function () { sleep(2); });\necho 'done';\n",
    'finished.php' => "<?php\necho 'done';\nfastcgi_finish_request();\nsleep(2);\ntouch('$flags/finished');\n",
    'short.php'    => "<?php\nrequire 'timed.php';\ntimed(fn() => usleep(1000));\n",
    'long.php'     => "<?php\nsleep(5);\necho 'done';\n",
    'wait.php'     => "<?php\n\$n = \$_GET['n'];\ntouch(\"$flags/began-\$n\");\nwhile (!file_exists(\"$flags/go-\$n\")) {\n    usleep(5000);\n    clearstatcache();\n}\necho 'done';\n",
);

sub slow_log { my ($name) = @_; return test_dir() . "/slow-$name.log" }

sub pool {
    my ($name, %more) = @_;
    return ($name => { 'pm.max_children' => 2, slowlog => slow_log($name), request_slowlog_timeout => '1s', %more });
}

# [{time, pool, pid, script, frames: [text without address], addresses, failed}] of one log.
sub entries {
    my ($name) = @_;
    my $path = $name =~ m{/} ? $name : slow_log($name);
    return () unless -s $path;
    my $text = read_file($path);
    my @entry;
    while ($text =~ /\G\n\[(\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d)\]  \[pool ([^\]]+)\] pid (\d+)\nscript_filename = (.*)\n((?:\[0x[0-9a-f]{16}\] .*\n)*)(\+\+\+ dump failed\n)?/gc) {
        my %entry = (time => $1, pool => $2, pid => $3, script => $4, failed => $6 ? 1 : 0);
        $entry{frames} = [ map { s/\A\[0x[0-9a-f]{16}\] //r } split /\n/, $5 ];
        push @entry, \%entry;
    }
    is(substr($text, pos $text // 0), '', "$path has nothing but entries");
    return @entry;
}

sub entry_of {
    my ($name, $script) = @_;
    my @found;
    wait_for { @found = grep { $_->{script} =~ m{/\Q$script\E\z} } entries($name); scalar @found } 10, "the entry of $script";
    is(scalar @found, 1, "$script: one entry");
    return $found[0];
}

sub short_frames { my ($entry) = @_; return join "\n", map { s{ \Q$root\E/}{ }r } @{ $entry->{frames} } }
sub slow_messages { my ($daemon) = @_; return scalar(() = $daemon->log_text =~ /executing too slow/g) }
sub counter {
    my ($daemon, $pool) = @_;
    return php_request($daemon, '/status', pool => $pool, name => '/status', query => 'json')->{body} =~ /"slow requests":(\d+)/ ? $1 : undef;
}
allow_log(qr/executing too slow \(\d+\.\d{6} sec\), logging/);

my $database = -x '/usr/sbin/mariadbd' && `php8.2 -m 2>/dev/null` =~ /^pdo_mysql$/m ? start_mariadb('secret', 'slow') : undef;
my %with_database = $database ? ('env[DATABASE]' => $database->{socket}) : ();

my @compiled = ('pm.max_children' => 12, 'php_admin_value[opcache.jit]' => 'tracing', 'php_admin_value[opcache.jit_buffer_size]' => '32M', 'php_admin_value[opcache.file_update_protection]' => 0);
my $daemon = start_daemon(env => { TZ => 'Asia/Tokyo' }, conf => {
    pool('www', 'pm.max_children' => 30, 'pm.status_path' => '/status', %with_database),
    pool('depth', request_slowlog_trace_depth => 3),
    pool('jit', @compiled),
    pool('patient', 'pm.max_children' => 1, request_slowlog_timeout => '4s'),
    pool('limited', 'pm.max_children' => 1, request_terminate_timeout => '3s'),
    pool('sleepy', pm => 'ondemand', 'pm.process_idle_timeout' => '1s'),
    pool('off', request_slowlog_timeout => 0),
    is_root() ? pool('rooted', chroot => $root, request_slowlog_trace_depth => 50) : (),
});

# script => [what it prints, frames]; the frames of a script that computes are met anywhere in it.
my %case = (
    'sleep.php'    => [ qr/\A0 [2-9]/, "sleep() sleep.php:4\ninner() sleep.php:7\n{closure}() timed.php:2\ntimed() sleep.php:6" ],
    'usleep.php'   => [ qr/\Anull [2-9]/, "usleep() usleep.php:3\n{closure}() timed.php:2\ntimed() usleep.php:3" ],
    'nano.php'     => [ qr/\Atrue [2-9]/, "time_nanosleep() nano.php:3\n{closure}() timed.php:2\ntimed() nano.php:3" ],
    'select.php'   => [ qr/\A0 [2-9]/, "stream_select() select.php:6\n{closure}() timed.php:2\ntimed() select.php:3" ],
    'read.php'     => [ qr/\A\[false,true\] [2-9]/, "fread() read.php:6\n{closure}() timed.php:2\ntimed() read.php:3" ],
    'program.php'  => [ qr/\A"slept" [2-9]/, "exec() program.php:3\n{closure}() timed.php:2\ntimed() program.php:3" ],
    'methods.php'  => [ qr/\Adone\z/, <<'TRACE' =~ s/\n\z//r ],
sleep() methods.php:4
App\Sub\Base->deep() methods.php:10
App\Sub\Base->App\Sub\{closure}() methods.php:9
array_map() methods.php:9
App\Sub\Base->run() methods.php:6
App\Sub\Base::make() methods.php:16
App\Sub\Child->__get() methods.php:19
App\Sub\Child->__toString() methods.php:23
strlen() methods.php:23
App\Sub\{closure}() methods.php:24
TRACE
    'include.php'  => [ qr/\Adone\z/, "sleep() part.php:4\nclass\@anonymous->wait() part.php:7\n[INCLUDE_OR_EVAL]() include.php(3) : eval()'d code:1\n[INCLUDE_OR_EVAL]() include.php:3\nload() include.php:5" ],
    'autoload.php' => [ qr/\Adone\z/, "sleep() autoload.php:3\n{closure}() autoload.php:7\ncreate() autoload.php:9" ],
    'unwind.php'   => [ qr/\Adone\z/, "sleep() unwind.php:4\nGuard->__destruct() unwind.php:12" ],
    'generate.php' => [ qr/\Adone\z/, "sleep() generate.php:6\ninner() generate.php:9\n???() generate.php:9" ],
    'fiber.php'    => [ qr/\Adone\z/, "sleep() fiber.php:3\ninside() fiber.php:6\n{closure}() fiber.php:8\n???() fiber.php:8\nFiber->start() fiber.php:8" ],
    'recurse.php'  => [ qr/\Adone\z/, join "\n", 'sleep() recurse.php:4', ('down() recurse.php:7') x 19 ],
    'loop.php'     => [ qr/\Atrue\z/, qr/\A(?:hrtime\(\) loop\.php:9\n|Counter->add\(\) loop\.php:11\n)?Counter::count\(\) loop\.php:18\nspin\(\) loop\.php:20\z/ ],
);
$case{'query.php'} = [ qr/\A"?0"? [2-9]/, "PDO->query() query.php:5\n{closure}() timed.php:2\ntimed() query.php:4" ] if $database;

subtest 'where scripts are, and that they do not notice' => sub {
    my %client = map { $_ => php_connect($daemon, 'www', timeout => 60) } sort keys %case;
    $client{$_}->send_request(script => "$root/$_", query => 'q=1') for sort keys %client;
    for my $script (sort keys %client) {
        my ($printed, $frames) = @{ $case{$script} };
        like($client{$script}->read_answer->{body}, $printed, "$script: its result and its time");
        my $entry = entry_of('www', $script);
        is($entry->{script}, "$root/$script", '... script_filename');
        is($entry->{failed}, 0, '... frames were read');
        ref $frames ? like(short_frames($entry), $frames, '... where it is') : is(short_frames($entry), $frames, '... where it is');
        $daemon->wait_log(qr{WARNING: \[pool www\] child $entry->{pid}, script '\Q$root\E/\Q$script\E' \(request: "GET /\Q$script\E\?q=1"\) executing too slow \(\d+\.\d{6} sec\), logging$}m);
    }
    my ($stamp) = (entries('www'))[0]{time} =~ /(\d\d):\d\d:\d\d/;
    my $tokyo = (gmtime(time + 9 * 3600))[2];
    cmp_ok(($tokyo - $stamp) % 24, '<=', 1, "times are local: Tokyo's");
    is(scalar entries('www'), scalar keys %case, 'as many entries as slow requests');
    is(slow_messages($daemon), scalar keys %case, '... as messages');
    is(counter($daemon, 'www'), scalar keys %case, '... as status counts');
};
diag('PDO was left out: no mariadb-server-core or php8.2-mysql') unless $database;

subtest 'code that the JIT has compiled' => sub {
    my $free = php_request($daemon, "$root/jit.php", pool => 'jit')->{body};
    like($free, qr/\A\d{8,}\z/, 'the JIT is on');
    my @client = map { php_connect($daemon, 'jit', timeout => 60) } 1, 2;
    $_->send_request(script => "$root/loop.php") for @client;
    is($_->read_answer->{body}, 'true', 'it ran') for @client;
    cmp_ok(php_request($daemon, "$root/jit.php", pool => 'jit')->{body}, '<', $free - 500, '... as machine code');
    my @entry;
    wait_for { @entry = entries('jit'); @entry == 2 } 10, 'two entries';
    like(short_frames($_), $case{'loop.php'}[1], 'the same frames') for @entry;
};

# Nobody stops the script; what is read of it must be of one moment all the same, whatever happens between two reads.
for my $case ([ 'code that calls and returns all the time', 'jit', $daemon ], [ '... and a reader that is put off again and again', 'slow' ]) {
    my ($name, $pool, $server) = @$case;
    subtest $name => sub {
        my $own = $server ? undef : start_daemon(env => { LD_PRELOAD => preload('slow_read') }, conf => { pool($pool, @compiled) });
        my @client = map { php_connect($server // $own, $pool, timeout => 60) } 1 .. 12;
        $_->send_request(script => "$root/hot.php") for @client;
        is($_->read_answer->{body}, 'done', 'it ran') for @client;
        my @entry;
        # one that comes too late to read the script writes none
        wait_for { @entry = grep { $_->{script} =~ /hot/ } entries($pool); @entry >= ($own ? 6 : 12) } 10, 'their entries';
        my %line = map { $_ => 1 } (map { "T->{closure}() hot.php:$_" } 10), (map { "T->r() hot.php:$_" } 8, 15), (map { "T::g() hot.php:$_" } 21), (map { "{closure}() hot.php:$_" } 21),
            'str_repeat() hot.php:5', 'mt_rand() hot.php:5', 'array_map() hot.php:21', 'preg_replace_callback() hot.php:21', 'iterator_to_array() hot.php:21', '[INCLUDE_OR_EVAL]() hot.php:20',
            'page() hot.php:26', 'microtime() hot.php:25';
        my @odd = grep { $_->{failed} || grep { !$line{$_} } split /\n/, short_frames($_) } @entry;
        is(scalar @odd, 0, 'every entry is one moment of that script') or diag(join "\n\n", map { short_frames($_) } @odd);
        $own->stop if $own;
    };
}

subtest 'once for each request, for each request' => sub {
    my $before = slow_messages($daemon);
    my $client = php_connect($daemon, 'depth', timeout => 60);
    for my $n (1, 2) {
        is($client->request(script => "$root/long.php")->{body}, 'done', "request $n, five times as long as the limit");
    }
    wait_for { slow_messages($daemon) == $before + 2 } 10, 'two messages';
    is(scalar entries('depth'), 2, 'two requests, two entries');
    php_request($daemon, "$root/recurse.php", pool => 'depth', timeout => 60);
    wait_for { entries('depth') == 3 } 10, 'the third entry';
    is(scalar @{ (entries('depth'))[2]{frames} }, 3, 'request_slowlog_trace_depth');
};

subtest 'a pool that has had no worker for a while' => sub {
    for my $n (1, 2) {
        wait_for { !$daemon->worker_pids('sleepy') } 20, 'no worker';
        like(php_request($daemon, "$root/sleep.php", pool => 'sleepy', timeout => 60)->{body}, qr/\A0 [2-9]/, "request $n");
        is(eval { wait_for { entries('sleepy') == $n } 10, 'the entry' }, 1, '... has its entry');
    }
};

subtest 'what is not slow' => sub {
    my $before  = slow_messages($daemon);
    my $counted = counter($daemon, 'www');
    like(php_request($daemon, "$root/short.php")->{body}, qr/\Anull 0/, 'a fast request') for 1 .. 20;
    my $late = php_connect($daemon, 'www', timeout => 60);
    $late->send_request(script => "$root/late.php");
    is(php_request($daemon, "$root/finished.php")->{body}, 'done', 'a script that works behind its response');
    is($late->read_answer->{body}, 'done', 'a shutdown function');
    wait_for { -e "$flags/finished" } 10, 'the end of that work';
    is(php_request($daemon, "$root/sleep.php", pool => 'off')->{body} =~ /\A0 [2-9]/ ? 1 : 0, 1, 'a pool without a limit');
    ok(!-e slow_log('off'), '... has no file either');
    is(slow_messages($daemon), $before, 'none of them is logged');
    is(counter($daemon, 'www'), $counted, 'nor counted');
};

subtest 'the file' => sub {
    is((stat slow_log('www'))[2] & 07777, 0600, 'has mode 0600');
    is((stat _)[4], $>, 'and the owner of the master');
    my ($worker) = $daemon->worker_pids('www');
    my @open = grep { /slow/ } values %{ FPMPool::Process::descriptors($worker) };
    is("@open", '', 'a worker does not have it open');
    SKIP: {
        skip 'not root', 2 unless is_root();
        is((stat "/proc/$worker/stat")[4], 0, 'the workers that were traced are not dumpable');
        like(read_file("/proc/$worker/status"), qr/^CapEff:\s+0+$/m, '... and have no capability');
    }
    my %thread = map { $_ => read_file("/proc/$worker/task/$_/status") } grep { $_ != $worker } map { m{(\d+)\z} } glob "/proc/$worker/task/*";
    is(scalar keys %thread, 1, 'one thread more');
    like($_, qr/^SigBlk:\s+fffffffe7ffbfeff$/m, '... which takes no signal') for values %thread;
    my ($plain) = $daemon->worker_pids('off');
    is(scalar(() = glob "/proc/$plain/task/*"), 1, 'none in a pool without a slow log');
};

subtest 'names cannot forge lines' => sub {
    my $file = "$flags/a\n[23-Nov-2026 03:02:51]  [pool www] pid 1\n.php";
    my %option = (query => 'file=' . $file =~ s/([^\w\/.-])/sprintf '%%%02X', ord $1/ger);
    is(php_request($daemon, "$root/hostile.php", %option, timeout => 60)->{body}, 'done', 'a file with line ends in its name');
    is(short_frames(entry_of('www', 'hostile.php')) =~ s/\Q$flags\E/F/gr, "sleep() F/a.[23-Nov-2026 03:02:51]  [pool www] pid 1..php:1\n[INCLUDE_OR_EVAL]() hostile.php:3", '... is one line');
};

subtest 'in a chroot' => sub {
    plan(skip_all => 'not root') unless is_root();
    is(php_request($daemon, '/recurse.php', pool => 'rooted', timeout => 60)->{body}, 'done', 'a slow script');
    my $entry = entry_of('rooted', 'recurse.php');
    is($entry->{script}, '/recurse.php', 'paths are as the script sees them');
    is(join("\n", @{ $entry->{frames} }), join("\n", 'sleep() /recurse.php:4', ('down() /recurse.php:7') x 30, 'down() /recurse.php:9'), '... all of them, to the last');
    my ($hour) = $entry->{time} =~ /(\d\d):\d\d:\d\d/;
    cmp_ok(((gmtime(time + 9 * 3600))[2] - $hour) % 24, '<=', 1, 'times as outside');
};

my $number = 0;
sub begin_waiting {
    my ($server, $pool) = @_;
    my $n      = ++$number;
    my $client = php_connect($server, $pool, timeout => 60);
    $client->send_request(script => "$root/wait.php", query => "n=$n");
    wait_for { -e "$flags/began-$n" } 10, 'the script to begin';
    return ($client, sub { write_file("$flags/go-$n", '') });
}

subtest 'USR1 while a worker is busy' => sub {
    my ($client, $go) = begin_waiting($daemon, 'patient');
    rename slow_log('patient'), slow_log('patient') . '.1' or die $!;
    my $before = () = $daemon->log_text =~ /log file re-opened/g;
    $daemon->signal('USR1');
    wait_for { (() = $daemon->log_text =~ /log file re-opened/g) > $before && -e slow_log('patient') } 10, 'the new file';
    like(short_frames(entry_of('patient', 'wait.php')), qr/\A(?:\w+\(\) wait\.php:[456])?\z/, 'its entry is in the new file');
    is(-s slow_log('patient') . '.1', 0, '... and not in the old one');
    $go->();
    is($client->read_answer->{body}, 'done', 'the script ends as ever');
};

subtest 'a worker that dies' => sub {
    allow_log(qr/pool limited\] child \d+(?:, script .* execution timed out|\ exited on signal)/);
    my ($worker) = $daemon->worker_pids('limited');
    my ($client, $go) = begin_waiting($daemon, 'limited');
    like($client->read_answer->{stdout}, qr/^Status: 504/, 'the time limit ends the script');
    my @entry = grep { $_->{pid} == $worker } entries('limited');
    is(scalar @entry, 1, 'it had its entry before');
    $daemon->wait_log(qr/child $worker, script .* executing too slow.*\n(?:.*\n)*.*child $worker, script .* execution timed out/);
    pass('... and its message');

    my $before = slow_messages($daemon);
    wait_for { ($worker) = $daemon->worker_pids('limited'); defined $worker } 10, 'another worker';
    ($client, $go) = begin_waiting($daemon, 'limited');
    kill 'STOP', $worker;
    like($client->read_answer->{stdout}, qr/^Status: 50/, 'a worker that hangs is killed');
    wait_for { slow_messages($daemon) == $before + 1 } 10, 'the message';
    is(scalar(grep { $_->{pid} == $worker } entries('limited')) <= 1 ? 1 : 0, 1, 'what could not be traced is told of all the same');
};
$daemon->stop;
$database->stop if $database;

# ---- files that take nothing ------------------------------------------------------------------

subtest 'a full disk, a fifo that is full' => sub {
    my $fifo = test_dir() . '/slow-fifo';
    POSIX::mkfifo($fifo, 0600) or die $!;
    my $server = start_daemon(conf => { pool('full', slowlog => '/dev/full'), pool('fifo', slowlog => $fifo, 'pm.max_children' => 1) });
    my $lost = qr/WARNING: \[pool (?:full|fifo)\] slowlog '[^']+' cannot be written and loses entries; .*: .* \(\d+\)$/m;
    allow_log($lost);
    sysopen my $end, $fifo, O_RDWR | O_NONBLOCK or die $!;
    fcntl $end, 1031, 4096;
    1 while syswrite $end, 'x' x 4096;
    1 while syswrite $end, 'x';
    my @client = map { php_connect($server, $_, timeout => 60) } qw(full full fifo);
    $_->send_request(script => "$root/sleep.php") for @client;
    like($_->read_answer->{body}, qr/\A0 [2-9]/, 'the script does not notice') for @client;
    $server->wait_log(qr/\[pool full\] slowlog '\/dev\/full' cannot be written and loses entries; make room on its disk: No space left on device \(28\)$/m);
    $server->wait_log(qr/\[pool fifo\] slowlog '\Q$fifo\E' cannot be written and loses entries; its reader does not read, restart that: Resource temporarily unavailable \(11\)$/m);
    wait_for { slow_messages($server) == 3 } 10, 'the messages';
    is(scalar(() = $server->log_text =~ /cannot be written/g), 2, 'each pool says so once');
    sysread $end, my $text, 65536;
    php_request($server, "$root/sleep.php", pool => 'fifo', timeout => 60);
    $server->wait_log(qr/NOTICE: \[pool fifo\] slowlog '\Q$fifo\E' is written again, entries lost: 1$/m);
    sysread $end, $text, 65536;
    like($text, qr/\A\n\[.*\]  \[pool fifo\] pid \d+\nscript_filename = .*\n\[0x[0-9a-f]{16}\] sleep\(\) /, 'and then has whole entries again');
    $server->stop;
};

# ---- what the system refuses ------------------------------------------------------------------

my $refuse = test_dir() . '/refuse_call';
my $has_compiler = system('cc', '-Wall', '-Werror', '-Wno-missing-field-initializers', '-o', $refuse, dirname(__FILE__) . '/lib/refuse_call.c') == 0;
sub refused { my ($what) = @_; return write_file("refused-$what/fpmpoold", "#!/bin/sh\nexec $refuse $what @{[ build_path('bin/fpmpoold') ]} \"\$@\"\n", 0755) }

subtest 'process_vm_readv is refused' => sub {
    ok($has_compiler, 'the filter is built') or return;
    my $server = start_daemon(binary => refused('read'), conf => { pool('refused') });
    my $warning = qr/WARNING: \[pool refused\] slowlog '[^']+' gets no traces: the system call process_vm_readv is refused; allow it in the container's seccomp profile or in the unit's SystemCallFilter, or set request_slowlog_timeout = 0: Operation not permitted \(1\)$/m;
    allow_log($warning);
    my @client = map { php_connect($server, 'refused', timeout => 60) } 1, 2;
    $_->send_request(script => "$root/sleep.php") for @client;
    like($_->read_answer->{body}, qr/\A0 [2-9]/, 'the script does not notice') for @client;
    wait_for { slow_messages($server) == 2 } 10, 'the messages';
    $server->wait_log($warning);
    is(scalar(() = $server->log_text =~ /gets no traces/g), 1, 'it is said once, and what to do');
    is(join(' ', map { "$_->{failed}" . @{ $_->{frames} } } entries('refused')), '10 10', 'the entries say that the dump failed');
    $server->stop;
};

subtest 'threads are refused' => sub {
    ok($has_compiler, 'the filter is built') or return;
    my $server = start_daemon(binary => refused('thread'), conf => { pool('threadless', 'pm.max_children' => 1) });
    allow_log(qr/child \d+ writes no traces to slowlog '[^']+': its thread cannot be made: Resource temporarily unavailable \(11\)/);
    $server->wait_log(qr/\[pool threadless\] child \d+ writes no traces to slowlog/);
    like(php_request($server, "$root/sleep.php", pool => 'threadless', timeout => 60)->{body}, qr/\A0 [2-9]/, 'the pool serves');
    $server->wait_log(qr/executing too slow/);
    pass('slow requests are told of and counted');
    $server->stop;
};

subtest 'frames that no PHP makes' => sub {
    my ($cc, $version, $includes) = read_file(build_path('config.mk')) =~ /^CC = (\S+).*^PHP_INCLUDES_(\S+) = (.*?)$/ms;
    my $program = test_dir() . '/read_frames';
    my @command = ($cc, qw(-std=gnu11 -D_GNU_SOURCE -g -O1), '-I' . repository() . '/fpmpoold', (map { s/\A-I//r } map { ('-isystem', $_) } split ' ', $includes),
        '-o', $program, dirname(__FILE__) . '/lib/read_frames.c', repository() . '/fpmpoold/php/frames.c');
    my $has_sanitizers = system("@command -fsanitize=address,undefined -fno-sanitize-recover=undefined 2>/dev/null") == 0;
    is(system(@command), 0, 'built without sanitizers') unless $has_sanitizers;
    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    is(`$program 200000 2>&1`, "ok\n", 'loops, strings without an end, bytes at random' . ($has_sanitizers ? ', under sanitizers' : ''));
};

# ---- the peer ---------------------------------------------------------------------------------

subtest 'php-fpm says the same, but for classes' => sub {
    plan(skip_all => 'php8.2-fpm is not installed') unless -x '/usr/sbin/php-fpm8.2';
    my @script = qw(sleep.php usleep.php select.php read.php program.php methods.php include.php autoload.php fiber.php generate.php recurse.php);
    my %text;
    for my $case ([ ours => \&start_daemon ], [ theirs => \&start_php_fpm ]) {
        my ($name, $start) = @$case;
        my $server = $start->(conf => { pool($name, 'pm.max_children' => scalar @script) });
        my @client = map { php_connect($server, $name, timeout => 60) } @script;
        $client[$_]->send_request(script => "$root/$script[$_]", query => 'a=b&c') for 0 .. $#script;
        my @body = map { $_->read_answer->{body} =~ s/\d+\.\d+/SECONDS/r } @client;
        wait_for { entries($name) == @script || $server->log_text =~ /failed to ptrace/ } 15, "the entries of $name";
        if ($server->log_text =~ /failed to ptrace|trace.*failed/) {
            allow_log(qr/ptrace|trace/);
            $server->stop;
            plan(skip_all => 'php-fpm may not trace its children here');
        }
        wait_for { slow_messages($server) == @script } 10, 'the messages';
        for my $script (@script) {
            my $entry = entry_of($name, $script);
            my ($message) = $server->log_text =~ /^\[[^\]]+\] (WARNING: .*\/\Q$script\E' .* executing too slow .*)$/m;
            $text{$name}{$script} = join "\n", shift @body, $message =~ s/child \d+/child PID/r =~ s/\(\d+\.\d{6} sec\)/(SECONDS sec)/r =~ s/pool $name/pool NAME/r, $entry->{script},
                map { s/\A[\w\\\@]+(?:->|::)//r } @{ $entry->{frames} };
        }
        $server->stop;
    }
    # between a generator and the one that it was given on to there is a frame without a function,
    # at which php-fpm stops looking for the caller
    like($text{theirs}{'generate.php'}, qr/^inner\(\) unknown:0$/m, 'php-fpm does not know who runs a generator');
    $text{theirs}{'generate.php'} =~ s/^inner\(\) unknown:0$/inner() $root\/generate.php:9/m;
    # below the first call in a fiber there is a frame that is neither a function nor a file
    like($text{theirs}{'fiber.php'}, qr/^\[INCLUDE_OR_EVAL\]\(\) .*fiber\.php:8$/m, 'php-fpm takes the bottom of a fiber for an include');
    $text{theirs}{'fiber.php'} =~ s/^\[INCLUDE_OR_EVAL\]/???/m;
    is($text{ours}{$_}, $text{theirs}{$_}, $_) for @script;
};
done_testing();
