# What workers print and PHP logs, beside php-fpm's log: the same configuration, the same scripts, the same lines,
# decorated and bare, at each level, at several log_limits. Deliberate differences stand here with their reason.
# Then what php-fpm cannot: a log whose reader has stopped, and a log daemon that does not read.
# long: 40 s

use strict;
use warnings;
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK O_RDWR);
use File::Basename qw(dirname);
use IO::Select;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};
allow_log(qr/./);    # workers print anything here

my %say = (
    'one line'               => 'fwrite($err, "one line\n");', 'two lines' => 'fwrite($err, "first\nsecond\n");',
    'stdout'                 => 'fwrite($out, "to stdout\n");', 'no line end' => 'fwrite($err, "no line end");',
    'a line in two parts'    => 'fwrite($err, "be"); usleep(60000); fwrite($err, "gin\n");', 'empty lines' => 'fwrite($err, "\n\na\n\n");',
    'quotes and backslashes' => 'fwrite($err, "a \"b\" \\\\c %s %d\n");', 'UTF-8' => 'fwrite($err, "\u{e4}\u{20ac}\u{1f600}\n");', 'a tab' => 'fwrite($err, "a\tb\n");',
    'JSON'                   => 'fwrite($err, json_encode(["level" => "info", "text" => "a\nb\u{e4}", "n" => [1, 2]]) . "\n");',
    'error_log()'            => 'error_log("a message");', 'error_log() with lines' => 'error_log("line 1\nline 2\n\nline 4");', 'a long error_log()' => 'error_log(str_repeat("m", 700));',
    'a warning of PHP'       => 'ini_set("display_errors", 0); echo $undefined;', 'a fatal error' => 'ini_set("display_errors", 0); nowhere();',
    'a program'              => 'shell_exec("echo from a program >&2; echo captured");', 'a program in the shell\'s own words' => 'exec("no-such-program-here");',
    'two requests\' ends'    => 'fwrite($err, "x"); register_shutdown_function(function () use ($err) { fwrite($err, "y"); });',
    'after the response'     => 'echo "a"; fastcgi_finish_request(); fwrite($err, "late\n");',
);
my $root = site('www',
    'page.txt'  => 'not to be run',
    'say.php'   => '<?php $err = fopen("php://stderr", "w"); $out = fopen("php://stdout", "w"); eval($_SERVER["X_CODE"]);',
    'hello.php' => '<?php echo "hello";',
    'burst.php' => '<?php $err = fopen("php://stderr", "w"); for ($i = 1; $i <= 1500; $i++) fwrite($err, "burst $i\n"); echo "said";',
    'noise.php' => '<?php $err = fopen("php://stderr", "w"); for ($i = 0; $i < 300; $i++) fwrite($err, str_repeat("noise ", 600) . "\n"); echo "said";',
    'long.php'  => '<?php $err = fopen("php://stderr", "w"); fwrite($err, str_repeat($_GET["c"], (int) $_GET["n"]) . "\n");',
);

sub conf_of {
    my (%global) = @_;
    my %pool = ('pm.max_children' => 1, catch_workers_output => 'yes', 'php_admin_flag[log_errors]' => 'on', 'php_admin_value[display_errors]' => '0');
    return { global => \%global, dec => {%pool}, raw => { %pool, decorate_workers_output => 'no' } };
}

# The lines that came since $offset, without time and numbers of processes.
sub lines_since {
    my ($daemon, $offset) = @_;
    my @line = split /\n/, $daemon->log_text($offset);
    s/^\[[^\]]+\] (?:(\w+): pid \d+, (?:[^,\n]*, line \d+: )?)?/$1 ? "$1: " : ''/e, s/\bchild \d+/child N/g for @line;
    return grep { !/\AERROR: .*Peer|DEBUG: |systemd monitor/ } @line;
}

# Lets a pool say it, then say an end mark, and returns what has come before that.
my $mark = 0;
sub said {
    my ($daemon, $pool, $script, %option) = @_;
    my $offset = $daemon->log_length;
    my $end    = 'mark ' . ++$mark . ' end';
    my %request = (pool => $pool, timeout => 15);
    eval { php_request($daemon, "$root/$script", %request, %option) };
    select undef, undef, undef, 0.05;
    php_request($daemon, "$root/say.php", %request, params => { X_CODE => "fwrite(\$err, '$end' . \"\\n\"); fwrite(\$out, '$end' . \"\\n\");" });
    wait_for { my @found = $daemon->log_text($offset) =~ /\Q$end\E/g; @found == 2 } 15, "the end mark of $script";
    return [ grep { !/\Q$end\E/ } lines_since($daemon, $offset) ];
}

# Both, serving: at some levels neither says so.
sub both {
    my ($conf) = @_;
    my @daemon = (start_daemon(conf => $conf, wait => 0), start_php_fpm(conf => $conf, wait => 0));
    for my $daemon (@daemon) {
        for my $pool (qw(dec raw)) { wait_for { eval { php_request($daemon, "$root/hello.php", pool => $pool)->{body} } } 20, 'the start' }
    }
    return @daemon;
}

for my $level (qw(notice warning debug)) {
    subtest "log_level = $level" => sub {
        my ($ours, $theirs) = both(conf_of(log_level => $level));
        for my $pool (qw(dec raw)) {
            for my $name (sort keys %say) {
                my ($mine, $his) = map { said($_, $pool, 'say.php', params => { X_CODE => $say{$name} }) } $ours, $theirs;
                if ($level eq 'debug') {    # php-fpm writes "pid N, (null)(), line 0: " and a NUL there
                    s/\AWARNING: (?:\(null\)\(\), line 0: )?\0?/WARNING: /, s/\0//, s/sapi_cgi_log_message\(\), line \d+: // for @$his;
                }
                is_deeply($mine, $his, "$pool: $name") or diag(explain({ ours => $mine, theirs => $his }));
            }
            # messages of php-fpm itself do follow the level (at debug with its functions and lines)
            for my $script ($level eq 'debug' ? () : qw(missing.php page.txt)) {
                is_deeply(map({ said($_, $pool, $script) } $ours, $theirs), "$pool: $script");
            }
        }
        $_->stop for $ours, $theirs;
    };
}

subtest 'log_level = error' => sub {
    my ($ours, $theirs) = both(conf_of(log_level => 'error'));
    my %option = (params => { X_CODE => $say{'one line'} });
    my $offset = $ours->log_length;
    php_request($ours, "$root/say.php", pool => 'dec', %option);
    php_request($theirs, "$root/say.php", pool => 'dec', %option);
    eval { wait_for { $theirs->log_text =~ /one line/ } 10, 'the line' };
    is_deeply([ lines_since($theirs, 0) ], ['one line"'], 'php-fpm: the bare line with a stray quote (7.22)');
    is_deeply(said($ours, 'raw', 'say.php', %option), said($theirs, 'raw', 'say.php', %option), 'bare lines have no level: both write them');
    unlike($ours->log_text($offset), qr/said into/, 'a WARNING is below error: ours does not write it');
    $_->stop for $ours, $theirs;
};

subtest 'log_buffering = no' => sub {
    my ($ours, $theirs) = both(conf_of(log_buffering => 'no'));
    unlike($ours->log_text, qr/log_buffering/, 'is no reason for a NOTICE');
    for my $name ('one line', 'a line in two parts', 'two lines', 'UTF-8') {
        is_deeply(map({ said($_, 'dec', 'say.php', params => { X_CODE => $say{$name} }) } $ours, $theirs), $name);
    }
    $_->stop for $ours, $theirs;
};

# Length of a line of the log as it is in the file.
sub sizes_of { my ($daemon, $offset, $pattern) = @_; return map { length } grep { /$pattern/ } split /\n/, $daemon->log_text($offset) }

for my $limit (512, 1024, 8192, 65536) {
    subtest "log_limit = $limit" => sub {
        my ($ours, $theirs) = both(conf_of(log_limit => $limit));
        for my $pool (qw(dec raw)) {
            my $around = $pool eq 'dec' ? length '[24-Nov-2026 10:15:00] WARNING: [pool dec] child 12345 said into stderr: ""' : 0;
            for my $n ($limit - $around - 20, $limit - 1, $limit, 3 * $limit, $limit == 1024 ? 200_000 : ()) {
                my $begin = $ours->log_length;
                my @got = map { my $offset = $_->log_length; said($_, $pool, 'long.php', query => "c=x&n=$n"); [ sizes_of($_, $offset, qr/xxxxx/) ] } $ours, $theirs;
                # numbers of processes may differ in length
                cmp_ok(scalar @{ $got[0] }, '==', scalar @{ $got[1] }, "$pool: $n bytes are as many lines") or diag(explain(\@got));
                is_deeply([ map { $_ == $limit - 1 ? 'full' : 'rest' } @{ $got[0] } ], [ map { $_ == $limit - 1 ? 'full' : 'rest' } @{ $got[1] } ], '... as long');
                cmp_ok($_, '<', $limit, '... none longer than log_limit') for grep { $_ >= $limit } @{ $got[0] };
                my $text = join '', map { /(x+)"?\z/ ? $1 : () } split /\n/, $ours->log_text($begin);
                is(length $text, $n, '... with every byte');
            }
        }
        my $offset = $ours->log_length;
        said($ours, 'dec', 'long.php', query => "c=%E2%82%AC&n=$limit");
        my @piece = map { /stderr: "([^"]+)"/ && $1 !~ /mark/ ? $1 : () } split /\n/, $ours->log_text($offset);
        cmp_ok(scalar @piece, '>', 2, 'characters of three bytes: several lines');
        ok(!(grep { !utf8::decode(my $copy = $_) } @piece), '... no character is cut (php-fpm cuts them)');
        is(length join('', @piece), 3 * $limit, '... and none is lost');
        $_->stop for $ours, $theirs;
    };
}

subtest 'control characters' => sub {
    my ($ours, $theirs) = both(conf_of());
    my %option = (params => { X_CODE => 'fwrite($err, "a\x1b[31mred\x01\x7f\r\n");' });
    my $nul = { X_CODE => 'fwrite($err, "a\0b\n");' };
    is_deeply(said($ours, 'dec', 'say.php', %option), ['WARNING: [pool dec] child N said into stderr: "a\x1b[31mred\x01\x7f\x0d"'], 'decorated: ours escapes them, a terminal that shows the log is safe');
    is_deeply(said($theirs, 'dec', 'say.php', %option), ["WARNING: [pool dec] child N said into stderr: \"a\e[31mred\x01\x7f\r\""], '... php-fpm does not');
    is_deeply(said($ours, 'dec', 'say.php', params => $nul), ['WARNING: [pool dec] child N said into stderr: "a\x00b"'], '... a NUL');
    is_deeply(said($ours, 'raw', 'say.php', %option), said($theirs, 'raw', 'say.php', %option), 'bare: as they are, with both');
    is_deeply(said($ours, 'raw', 'say.php', params => $nul), said($theirs, 'raw', 'say.php', params => $nul), '... a NUL too');
    $_->stop for $ours, $theirs;
};

subtest 'bare lines are only for pools that ask for them' => sub {
    # what a script can reach: the descriptor of the pool's log
    my $daemon = start_daemon(name => 'forger', conf => conf_of());
    my $code = 'foreach (glob("/proc/self/fd/*") ?: range(3, 30) as $f) { $fd = (int) basename($f); $s = @fopen("php://fd/$fd", "w"); if ($s) { @fwrite($s, "\x40[24-Nov-2026 00:00:00] ALERT: forged by " . $_SERVER["X_POOL"]); } } echo "tried";';
    is(php_request($daemon, "$root/say.php", pool => $_, params => { X_CODE => $code, X_POOL => $_ })->{body}, 'tried', "pool $_") for qw(dec raw);
    said($daemon, 'raw', 'say.php', params => { X_CODE => '1;' });
    unlike($daemon->log_text, qr/^\[24-Nov-2026 00:00:00\] ALERT: forged by dec/m, 'a decorated pool cannot write a line of its own');
    $daemon->stop;
};

subtest 'a burst' => sub {
    my $daemon = start_daemon(name => 'burst', conf => conf_of());
    for my $pool (qw(dec raw)) {
        my $lines = said($daemon, $pool, 'burst.php');
        my @number = map { /burst (\d+)/ ? $1 : () } @$lines;
        is_deeply(\@number, [ 1 .. 1500 ], "$pool: 1500 lines at once arrive, in order");
        select undef, undef, undef, 1.1;    # another second, another 2000 lines
    }
    $daemon->stop;
};

# ---- logs that nobody reads -----------------------------------------------------------------

my $set_pipe_size = 1031;

subtest 'the reader of stderr has stopped with a megabyte before it' => sub {
    pipe my $read, my $write or die $!;
    my $size = fcntl $write, $set_pipe_size, 1 << 20;
    my $daemon = start_daemon(name => 'stopped', wait => 0, conf => { www => { 'pm.max_children' => 2, catch_workers_output => 'yes' } },
        binary => write_file('stopped-bin/fpmpoold', "#!/bin/sh\nexec " . build_path('bin/fpmpoold') . " \"\$@\" 2>/proc/$$/fd/" . fileno($write) . "\n", 0755));
    wait_for { eval { php_request($daemon, "$root/hello.php", timeout => 2)->{body} } } 20, 'the start';
    my $said = eval { php_request($daemon, "$root/noise.php", timeout => 30)->{body} };
    is($said, 'said', 'a megabyte is said');
    is(eval { php_request($daemon, "$root/noise.php", timeout => 30)->{body} }, 'said', '... and another, for which there is no room');
    my $served = grep { (eval { php_request($daemon, "$root/hello.php", timeout => 20)->{body} } // '') eq 'hello' } 1 .. 100;
    is($served, 100, '100 requests are served meanwhile');
    my $text = '';
    $read->blocking(0);
    my $drain = sub { while (sysread $read, my $part, 1 << 20) { $text .= $part } };
    $drain->();
    cmp_ok(length $text, '>', ($size // 65536) / 2, 'what was pending is there');
    eval { wait_for { eval { php_request($daemon, "$root/say.php", params => { X_CODE => 'fwrite($err, "read again\n");' }) }; $drain->(); $text =~ /read again/ } 15, 'the log' };
    like($text, qr/^\[[^\]]+\] WARNING: (?:lines lost from this log: \d+ \(Resource temporarily unavailable\)|\[pool www\] \d+ log messages were dropped)/m, 'and a line says how many were lost');
    like($text, qr/said into stderr: "read again"/, '... and it goes on');
    my @bad = grep { length && !/\A\[[^\]]+\] [A-Z]+: / } split /\n/, $text;
    cmp_ok(scalar @bad, '<=', 1, '... in whole lines') or diag(map { substr($_, 0, 200) . "\n" } @bad);
    $daemon->stop;
};

subtest 'long lines through a pipe that is smaller' => sub {
    pipe my $read, my $write or die $!;
    fcntl $write, $set_pipe_size, 4096;
    my $daemon = start_daemon(name => 'narrow', wait => 0, conf => { global => { log_limit => 65536 }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes', decorate_workers_output => 'no' } },
        binary => write_file('narrow-bin/fpmpoold', "#!/bin/sh\nexec " . build_path('bin/fpmpoold') . " \"\$@\" 2>/proc/$$/fd/" . fileno($write) . "\n", 0755));
    my $text = '';
    $read->blocking(0);
    my $drain = sub { while (sysread $read, my $part, 65536) { $text .= $part } };
    wait_for { $drain->(); eval { php_request($daemon, "$root/hello.php", timeout => 2)->{body} } } 20, 'the start';
    my $client = php_connect($daemon);
    $client->send_request(script => "$root/long.php", query => 'c=j&n=60000');
    eval { wait_for { $drain->(); $text =~ /^j{60000}$/m } 15, 'the line' };
    like($text, qr/^j{60000}$/m, 'a line of 60,000 bytes arrives whole through a pipe of 4,096');
    unlike($text, qr/lines lost/, '... and nothing is lost');
    $daemon->stop;
};

# ---- syslog ---------------------------------------------------------------------------------

# A daemon that has a /dev of its own with our socket in place of the log daemon's.
sub start_with_syslog {
    my ($name, $start, $global, $dev) = @_;
    my $binary = $start eq 'ours' ? build_path('bin/fpmpoold') : '/usr/sbin/php-fpm8.2';
    my $shell = "#!/bin/sh\nif [ -z \"\$INSIDE\" ]; then INSIDE=1 exec unshare -m \"\$0\" \"\$@\"; fi\nmount --bind $dev /dev || exit 1\nshift 2\nexec $binary -F \"\$@\"\n";
    my $daemon = start_daemon(name => $name, wait => 0, binary => write_file("$name-bin/fpmpoold", $shell, 0755),
        conf => { global => { error_log => 'syslog', %$global }, www => { 'pm.max_children' => 1, catch_workers_output => 'yes', listen => test_dir() . "/$name/run/www.sock" } });
    wait_for { eval { php_request($daemon, "$root/hello.php", timeout => 2)->{body} } } 20, "$name to serve";
    return $daemon;
}

sub make_dev {
    my ($name) = @_;
    my $dev = test_dir() . "/dev-$name";
    mkdir $dev;
    my $made = 1;
    for my $node ([ null => 1, 3 ], [ zero => 1, 5 ], [ random => 1, 8 ], [ urandom => 1, 9 ]) {
        $made &&= system('mknod', '-m', '666', "$dev/$node->[0]", 'c', @$node[ 1, 2 ]) == 0;
    }
    system('ln', '-s', '/proc/self/fd', "$dev/fd");
    return $made && system("unshare -m mount --bind $dev /dev 2>/dev/null") == 0 ? $dev : undef;
}

sub listen_syslog { my ($dev) = @_; unlink "$dev/log"; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$dev/log") or die $!; chmod 0666, "$dev/log"; $s->blocking(0); return $s }

sub take {
    my ($socket) = @_;
    my @line;
    while (defined $socket->recv(my $line, 262144)) { push @line, $line }
    return @line;
}

subtest 'syslog' => sub {
    plan(skip_all => 'needs root, unshare and mknod: a /dev of its own') unless is_root();
    my $dev = make_dev('a');
    plan(skip_all => 'mount and mknod are not allowed here: a /dev of its own') unless $dev;
    my $socket = listen_syslog($dev);
    my %line;
    for my $who (qw(ours theirs)) {
        my @got;
        my $daemon = start_with_syslog("syslog-$who", $who, { 'syslog.ident' => 'pools', 'syslog.facility' => 'local3' }, $dev);
        php_request($daemon, "$root/say.php", params => { X_CODE => $say{'one line'} });
        # php-fpm's syslog lacks what workers print
        wait_for { push @got, take($socket); grep { $who eq 'ours' ? /one line/ : /ready to handle/ } @got } 15, "$who: the line";
        my $pid = $daemon->pid;
        ok((grep { /\A<\d+>\w{3} [ \d]\d \d\d:\d\d:\d\d pools\[$pid\]: \[NOTICE\] fpm is running, pid $pid\z/ } @got), "$who: priority, time, ident and pid in libc's form") or diag(explain(\@got));
        $daemon->stop;
        push @got, take($socket);
        s/\A(<\d+>)\w{3} [ \d]\d \d\d:\d\d:\d\d pools\[\d+\]/$1WHEN pools[PID]/, s/\b(pid|child) \d+/$1 N/g for @got;
        $line{$who} = [ grep { !/systemd monitor/ } @got ];
    }
    is((grep { /child N said into stderr: "one line"\z/ } @{ $line{ours} }) . (grep { /one line/ } @{ $line{theirs} }), '10', 'what workers print is there (php-fpm\'s lacks it)');
    is_deeply([ map { s/\A<\d+>//r } grep { !/one line/ } @{ $line{ours} } ], [ map { s/\A<\d+>//r } @{ $line{theirs} } ], 'the other lines are the same') or diag(explain(\%line));
    my ($notice, $warning) = (19 << 3 | 5, 19 << 3 | 4);
    is_deeply([ map { /\A<(\d+)>.*(NOTICE|WARNING)/ ? "$2 $1" : $_ } @{ $line{ours} } ], [ map { /(NOTICE|WARNING)/ ? "$1 " . ($1 eq 'NOTICE' ? $notice : $warning) : $_ } @{ $line{ours} } ], 'each with its own priority');
    is_deeply([ grep { !/\A<$notice>/ } @{ $line{theirs} } ], [], '(php-fpm gives all the configured level\'s: 7.22)');
};

subtest 'a log daemon that does not read, goes and comes back' => sub {
    plan(skip_all => 'needs root, unshare and mknod: a /dev of its own') unless is_root();
    my $dev = make_dev('b');
    plan(skip_all => 'mount and mknod are not allowed here: a /dev of its own') unless $dev;
    my $socket = listen_syslog($dev);
    my $daemon = start_with_syslog('syslog-slow', 'ours', {}, $dev);
    is(eval { php_request($daemon, "$root/noise.php", timeout => 30)->{body} }, 'said', 'more is said than it takes');
    my $served = grep { (eval { php_request($daemon, "$root/hello.php", timeout => 20)->{body} } // '') eq 'hello' } 1 .. 100;
    is($served, 100, '100 requests are served meanwhile');
    my $pool = $daemon->pool_pid;
    $daemon->signal('HUP');
    ok(eval { wait_for { my $now = $daemon->pool_pid; $now && $now != $pool } 15, 'a reload' }, 'the master goes on: a reload');
    take($socket);
    my @got;
    eval { wait_for { php_request($daemon, "$root/say.php", params => { X_CODE => $say{'one line'} }); push @got, take($socket); grep { /one line/ } @got } 15, 'the line' };
    like("@got", qr/<28>\S+ .*\[WARNING\] lines lost from this log: \d+ \(Resource temporarily unavailable\)/, 'when it reads again it is told how many lines it has missed');
    close $socket;
    unlink "$dev/log";
    php_request($daemon, "$root/say.php", params => { X_CODE => $say{'one line'} }) for 1 .. 3;
    $socket = listen_syslog($dev);
    @got = ();
    eval { wait_for { php_request($daemon, "$root/say.php", params => { X_CODE => 'fwrite($err, "back\n");' }); push @got, take($socket); grep { /back/ } @got } 15, 'the line' };
    like("@got", qr/"back"/, 'a log daemon that was started anew is found');
    like("@got", qr/lines lost from this log: \d+ \(/, '... and told of the time between');
    $daemon->stop;
};

subtest 'no log daemon at all' => sub {
    plan(skip_all => 'needs root, unshare and mknod: a /dev of its own') unless is_root();
    my $dev = make_dev('c');
    plan(skip_all => 'mount and mknod are not allowed here: a /dev of its own') unless $dev;
    my $daemon = start_with_syslog('syslog-none', 'ours', {}, $dev);
    like($daemon->log_text, qr/^error_log = syslog: cannot connect to \/dev\/log: No such file or directory \(2\); lines are lost until a log daemon listens there$/m, 'stderr says so at the start');
    is(php_request($daemon, "$root/noise.php", timeout => 30)->{body}, 'said', 'and the pool serves');
    $daemon->stop;
};
done_testing();
