# What php-fpm is known to do wrong (its four security fixes of 2026, and the weaknesses of its life cycle, isolation,
# protocol and figures), each shown beside fpmpoold in the same run: php-fpm's answer and the right one. "Once failed"
# is what the installed php-fpm has fixed: there both must be right.
# long: 50 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
plan(skip_all => 'pools of several users: run as root') unless is_root();
my ($patch) = `php-fpm8.2 -n -v 2>/dev/null` =~ /\APHP 8\.2\.(\d+)/;
plan(skip_all => 'shows what php-fpm 8.2.36 does') if ($patch // 0) < 36;
allow_log(qr/child \d+ exited/, qr/said into std(?:out|err)/, qr/execution timed out/, qr/max_children setting/, qr/Connection disallowed/, qr/\Aprinted"\z/);

my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'run.php'   => '<?php eval($_SERVER["X_CODE"]);',
    'hello.php' => '<?php echo "hello";',
    'other.php' => '<?php echo "other";',
);
my $wait = '$end = hrtime(true) + 20e9; while (!file_exists($_SERVER["X_GO"]) && hrtime(true) < $end) { usleep(5000); clearstatcache(); }';
my $serial = 0;
my @started;
sub flag { return "$flags/" . ++$serial }
sub code { my ($code, %more) = @_; return (script => "$root/run.php", %more, params => { X_CODE => $code, %{ $more{params} || {} } }) }

# $ask->(server) gives a text: what fpmpoold's and php-fpm's must be like.
sub beside {
    my ($number, $name, $ask, $right, $wrong) = @_;
    subtest "$number $name" => sub {
        for my $case ([ \&start_daemon, $right ], [ \&start_php_fpm, $wrong ]) {
            my ($start, $wanted) = @$case;
            my $text = eval { $ask->($start) } // "failed: $@";
            like($text, $wanted, (is_ours($start) ? 'fpmpoold: ' : 'php-fpm: ') . ($text =~ s/[^ -~]+/ /gr =~ s/\A(.{60}).+/$1 .../r));
            $_->stop('TERM') for splice @started;
        }
        compared('7');
    };
    return;
}

sub is_ours { return $_[0] == \&start_daemon }

sub once_failed { my ($number, $name, $ask, $right) = @_; return beside($number, "$name (once failed)", $ask, $right, $right) }

my %one = ('pm.max_children' => 1);
sub start { my ($start, %option) = @_; push @started, $start->(%option); return $started[-1] }
sub one { my ($start, %option) = @_; return start($start, conf => { global => $option{global} || {}, www => { %one, %{ $option{pool} || {} } } }, wait => $option{wait}) }

# The answer of a client within the time, or "nothing".
sub answer_within {
    my ($client, $seconds) = @_;
    my $answer = eval { $client->read_answer(timeout => $seconds) } or return 'nothing';
    return 'cut' unless $answer->{ended};
    return ($answer->{status} // '?') . ' ' . ($answer->{body} // '');
}

# ---- the four security fixes ------------------------------------------------------------------------

once_failed('CVE-2026-129289', 'a body that nobody reads is no request', sub {
    my ($start) = @_;
    my $server = one($start);
    my $flag   = flag();
    my $hidden = FPMPool::Client::request_bytes(code("touch('$flag'); echo 'hidden';"), keep => 1, id => 1);
    my $text   = '';
    for my $length (0, 3, length $hidden) {
        my $client = php_connect($server);
        my $params = FPMPool::Client::request_params(script => "$root/hello.php", method => 'POST', params => { CONTENT_LENGTH => $length });
        $client->send_bytes(begin_record(1, keep => 1) . params_records(1, $params) . record('STDIN', 1, $hidden) . record('STDIN', 1, ''));
        $text .= answer_within($client, 10) . ', then ' . (eval { $client->is_closed(0.5) } ? 'closed' : 'silent') . '; ';
        $client->close;
    }
    return $text . (-e $flag ? 'it ran' : 'it did not run');
}, qr/\A(?:200 hello, then (?:closed|silent); ){3}it did not run\z/);

once_failed('CVE-2026-129292', 'a user name is no markup on the status page', sub {
    my ($start) = @_;
    my $server = one($start, pool => { 'pm.max_children' => 1, 'pm.status_path' => '/status' });
    return join ' ', map { php_request($server, "$root/x", name => '/status', query => "$_&full", params => { HTTP_AUTHORIZATION => 'Basic PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pjp4' })->{body} =~ /<script>alert/ ? "$_: markup" : "$_: escaped" } qw(html xml);
}, qr/\Ahtml: escaped xml: escaped\z/);

once_failed('epoll use-after-free', 'workers that die while they print do not harm the master', sub {
    my ($start) = @_;
    my $server = one($start, pool => { 'pm.max_children' => 4, catch_workers_output => 'yes' });
    my $master = $server->pid;
    my $noise  = 'for ($i = 0; $i < 50; $i++) fwrite(fopen("php://stderr", "w"), "noise $i\n"); if ($_SERVER["QUERY_STRING"] == "die") posix_kill(getmypid(), 9);';
    for my $round (1 .. 12) {
        my @client = map { php_connect($server) } 1 .. 4;
        $client[$_]->send_request(code($noise, query => $_ % 2 ? 'die' : 'live')) for 0 .. 3;
        eval { $_->read_answer(timeout => 10) } for @client;
        $_->close for @client;
    }
    my $answer = php_request($server, "$root/hello.php")->{body};
    return ($server->is_running && $server->pid == $master ? 'the master lives, ' : 'the master is gone, ') . $answer;
}, qr/\Athe master lives, hello\z/);

SKIP: {
    skip('no IPv6', 1) unless -e '/proc/net/if_inet6';
    require IO::Socket::IP;
    once_failed('CVE-2026-91768', 'all 16 bytes of an IPv6 address are compared', sub {
        my ($start) = @_;
        my $port   = free_port();
        my $server = one($start, pool => { listen => "[::1]:$port", 'listen.allowed_clients' => '::2,::8:1' });
        my $socket = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port, Timeout => 5) or return "connect: $@";
        syswrite $socket, FPMPool::Client::request_bytes(script => "$root/hello.php");
        my $read = sysread $socket, my $bytes, 100;
        return $read ? "served ::1: $bytes" : 'refused';
    }, qr/\Arefused\z/);
}

# ---- life cycle ----------------------------------------------------------------------------------------

beside('7.1', 'a reload with default settings keeps running requests', sub {
    my ($start) = @_;
    my $server = one($start);
    my $go     = flag();
    my $client = php_connect($server);
    $client->send_request(code("touch('$go.began'); $wait echo 'whole';", params => { X_GO => $go }));
    wait_for { -e "$go.began" } 10, 'the request';
    $server->signal('USR2');
    $server->wait_log(qr/Reloading in progress/, 10);
    eval { wait_for { IO::Select->new($client->socket)->can_read(0) } 1, 'its end' };
    write_file($go, '');
    my $text = answer_within($client, 15);
    php_request($server, "$root/hello.php");    # until it is up again
    return $text;
}, qr/\A200 whole\z/, qr/\Acut\z/);

beside('7.2', 'a mistake in the configuration at reload', sub {
    my ($start) = @_;
    allow_log(qr/ERROR|ALERT|WARNING/);
    my $server = one($start);
    my $client = php_connect($server);
    $client->request(script => "$root/hello.php");
    rewrite($server, sub { s/^pm = static$/pm = sometimes/m });
    $server->signal('USR2');
    $server->wait_log(qr/invalid process manager/, 15);
    my $is_end = eval { wait_for { !$server->is_running } 3, 'its end' };
    if ($is_end) { $server->expect_end; $server->{leaves_files} = 1; return 'ended with ' . ($server->stop >> 8) }
    return 'serves on: ' . php_request($server, "$root/hello.php")->{body};
}, qr/\Aserves on: hello\z/, qr/\Aended with 78\z/);

beside('7.3', 'the process id of a daemon in the background, over a reload', sub {
    my ($start) = @_;
    my $binary = is_ours($start) ? build_path('bin/fpmpoold') : '/usr/sbin/php-fpm8.2';
    my $dir    = flag();
    mkdir $dir;
    my $conf = write_file("$dir/fpm.conf", "[global]\npid = $dir/pid\nerror_log = $dir/log\n[www]\nuser = www-data\nlisten = $dir/s\nlisten.mode = 0666\npm = static\npm.max_children = 1\n");
    my $caller = spawn(argv => [ $binary, '-D', '-y', $conf ]);
    reap($caller, 20);
    my $pid = read_file("$dir/pid");
    kill 'USR2', $pid;
    wait_for { read_file("$dir/log") =~ /Reloading in progress/ } 10, 'the reload';
    my $is_other = eval { wait_for { my $now = -e "$dir/pid" ? read_file("$dir/pid") : ''; $now =~ /\A\d+\z/ && $now != $pid } 3, 'another id' };
    my $last = read_file("$dir/pid");
    wait_for { eval { php_request("$dir/s", "$root/hello.php")->{body} eq 'hello' } } 10, 'it to serve';
    kill 'TERM', $last;
    wait_for { !alive($last) } 15, 'its end';
    return $is_other ? 'another' : 'the same';
}, qr/\Athe same\z/, qr/\Aanother\z/);

beside('7.4', 'an idle kept connection and another client', sub {
    my ($start) = @_;
    my $server = one($start);
    my $kept   = php_connect($server);
    $kept->request(script => "$root/hello.php");
    my $other = php_connect($server);
    $other->send_request(script => "$root/hello.php");
    my $first = answer_within($other, is_ours($start) ? 10 : 1.5);
    $kept->close;
    return "$first; when that is closed: " . ($first eq 'nothing' ? answer_within($other, 10) : $first);
}, qr/\A200 hello; /, qr/\Anothing; when that is closed: 200 hello\z/);

beside('7.4', 'a client that sends half a head has no worker', sub {
    my ($start) = @_;
    my $server = one($start);
    my $slow   = php_connect($server);
    $slow->send_bytes(substr FPMPool::Client::request_bytes(script => "$root/hello.php"), 0, 9);
    my $other = php_connect($server);
    sleep(0.2);
    $other->send_request(script => "$root/hello.php");
    return answer_within($other, is_ours($start) ? 10 : 1.5);
}, qr/\A200 hello\z/, qr/\Anothing\z/);

for my $length (99, -1) {
    beside('7.5', "CONTENT_LENGTH $length and a body of 3", sub {
        my ($start) = @_;
        my $server = one($start);
        my $client = php_connect($server);
        $client->send_request(code('echo strlen(file_get_contents("php://input"));', method => 'POST', body => 'abc', type => 'x/y', params => { CONTENT_LENGTH => $length }), keep => 1);
        return answer_within($client, is_ours($start) ? 10 : 1.5);
    }, qr/\A(?:200 [03]|400 .*)\z/, qr/\Anothing\z/);
}

beside('7.6', 'ondemand: five at once', sub {
    my ($start) = @_;
    my $server = one($start, pool => { pm => 'ondemand', 'pm.max_children' => 5 });
    my $go     = flag();
    my @client = map { php_connect($server) } 1 .. 5;
    $client[ $_ - 1 ]->send_request(code("touch('$go.' . getmypid()); $wait echo 'ok';", params => { X_GO => $go })) for 1 .. 5;
    my @running;
    eval { wait_for { @running = glob "$go.*"; @running == 5 } is_ours($start) ? 10 : 1.5, 'all' };
    write_file($go, '');
    $_->close for @client;
    return @running . ' run at once';
}, qr/\A5 run/, qr/\A[1-4] run/);

beside('7.7', 'the client of a request that takes too long', sub {
    my ($start) = @_;
    my $server = one($start, pool => { request_terminate_timeout => '1s' });
    my $client = php_connect($server);
    $client->send_request(code('sleep(20);'));
    return answer_within($client, 15);
}, qr/\A504 /, qr/\Acut\z/);

# ---- isolation -------------------------------------------------------------------------------------------

beside('7.9', 'the socket of the status page runs no scripts', sub {
    my ($start) = @_;
    my $where  = flag() . '.sock';
    my $server = one($start, pool => { 'pm.status_path' => '/status', 'pm.status_listen' => $where, 'php_admin_value[open_basedir]' => '/nowhere', 'listen.mode' => '0666' });
    return 'no such socket' if is_ours($start) && !-e $where;
    my $answer = eval { php_request($where, "$root/run.php", params => { X_CODE => 'echo "ran, open_basedir is ", ini_get("open_basedir") ?: "off";' }, timeout => 10) };
    return $answer ? $answer->{body} // 'closed' : 'closed';
}, qr/\A(?!.*ran)/s, qr/\Aran, open_basedir is off\z/);

beside('7.10', 'PHP_VALUE ends with its request', sub {
    my ($start) = @_;
    my $server = one($start);
    php_request($server, "$root/hello.php", params => { PHP_VALUE => 'user_agent = of somebody else' });
    return php_request($server, '', code('echo ini_get("user_agent") ?: "clean";'))->{body};
}, qr/\Aclean\z/, qr/\Aof somebody else\z/);

beside('7.11', 'a pool sees no scripts of another', sub {
    my ($start) = @_;
    my $server = start($start, conf => { a => {%one}, b => {%one} });
    php_request($server, "$root/other.php", pool => 'b') for 1 .. 2;
    my $body = php_request($server, '', code('$s = opcache_get_status(true); echo $s ? implode("\n", array_keys($s["scripts"] ?? [])) : "off";'), pool => 'a')->{body};
    return $body =~ /other\.php/ ? "a lists b's other.php" : "a does not list b's";
}, qr/\Aa does not/, qr/\Aa lists/);

# [address, bytes, mode, "inode name"] of what a process shares with others.
sub shared_memory {
    my ($pid) = @_;
    my @shared;
    for (split /\n/, read_file("/proc/$pid/maps")) {
        my ($from, $to, $mode, $file) = /\A([0-9a-f]+)-([0-9a-f]+) (\S+s) \S+ \S+ (.*)/ or next;
        push @shared, { size => hex($to) - hex($from), mode => $mode, file => $file };
    }
    return @shared;
}

beside('7.11', 'a pool\'s own size of OPcache', sub {
    my ($start) = @_;
    my $server = one($start, pool => { 'php_admin_value[opcache.memory_consumption]' => 17 });
    my $said   = php_request($server, '', code('echo ini_get("opcache.memory_consumption");'))->{body};
    my ($size) = sort { $b <=> $a } map { $_->{size} } shared_memory(($server->worker_pids)[0]);
    return "$said MB said, " . ($size >> 20) . ' MB mapped';
}, qr/\A17 MB said, 17 MB mapped\z/, qr/\A17 MB said, (?!17 )\d+ MB mapped\z/);

beside('7.12', 'memory that workers can write, in the master', sub {
    my ($start) = @_;
    my $server = one($start);
    my $worker = wait_for { ($server->worker_pids)[0] } 10, 'a worker';
    my %writable  = map { $_->{file} => 1 } grep { $_->{mode} =~ /w/ } shared_memory($worker);
    return join ' ', 'in the master:', map { $_->{mode} } grep { $writable{ $_->{file} } } shared_memory($server->pid);
}, qr/master:(?: r--s)*\z/, qr/ rw-s/);

beside('7.13', 'the reserved bytes of END_REQUEST', sub {
    my ($start) = @_;
    my $server = one($start);
    my %seen;
    for my $code ('echo str_repeat("Z", 300);', 'echo str_repeat("Y", 5000);', 'error_log("message"); echo 1;') {
        my $client = php_connect($server);
        $client->send_request(code($code));
        $seen{ unpack 'H*', $client->read_answer->{reserved} }++;
        $client->close;
    }
    return join ' ', sort keys %seen;
}, qr/\A000000\z/, qr/(?!000000\b)\b[0-9a-f]{6}\b/);

beside('7.13', 'what a reload leaves in the environment of PHP', sub {
    my ($start) = @_;
    my $server = one($start, pool => { clear_env => 'no' });
    my $worker = wait_for { ($server->worker_pids)[0] } 10, 'a worker';
    $server->signal('USR2');
    wait_for { !alive($worker) } 15, 'the old worker to end';
    wait_for { my @now = $server->worker_pids; @now == 1 } 15, 'a new one';
    my @left = grep { /FPM|LISTEN|NOTIFY/ && !defined $ENV{$_} } split / /, php_request($server, '', code('echo implode(" ", array_keys(getenv()));'))->{body};
    return "@left" || 'nothing';
}, qr/\Anothing\z/, qr/FPM_SOCKETS/);

beside('7.15', '-t runs no preload script and makes no files', sub {
    my ($start) = @_;
    my $binary = is_ours($start) ? build_path('bin/fpmpoold') : '/usr/sbin/php-fpm8.2';
    my $dir    = flag();
    mkdir $dir;
    chmod 0777, $dir;
    my $preload = write_file("$dir/preload.php", "<?php touch('$dir/preloaded');");
    my $conf = write_file("$dir/fpm.conf", "[global]\nerror_log = $dir/error.log\n[www]\nuser = www-data\nlisten = $dir/s\npm = static\npm.max_children = 1\naccess.log = $dir/access.log\n");
    my $pid = spawn(argv => [ $binary, '-t', '-y', $conf, '-d', "opcache.preload=$preload", '-d', 'opcache.preload_user=www-data' ]);
    my $status = reap($pid, 20);
    return "$status: " . join ' ', grep { -e "$dir/$_" } qw(preloaded error.log access.log);
}, qr/\A0: \z/, qr/\A0: preloaded error\.log access\.log\z/);

# ---- protocol ----------------------------------------------------------------------------------------------

my $request = sub { return FPMPool::Client::request_bytes(script => "$root/hello.php", @_) };
my $records = sub {
    my ($server, $bytes, $count, $seconds) = @_;
    my $client = php_connect($server);
    $client->send_bytes($bytes);
    my @got;
    while (@got < $count) {
        my $record = eval { $client->read_record($seconds // 10) } or last;
        next if $record->{type} == 6 || $record->{type} == 7;
        push @got, $record->{type} == 3 ? "END/$record->{id} " . ord(substr $record->{content}, 4) : $record->{type} == 11 ? 'UNKNOWN ' . ord $record->{content} : $record->{type} == 10 ? 'VALUES ' . join ',', sort keys %{ { FPMPool::Client::pairs_of($record->{content}) } } : "type $record->{type}";
    }
    $client->close;
    return join '; ', @got;
};
my $values = record('GET_VALUES', 0, join '', map { FPMPool::Client::pair($_, '') } qw(FCGI_MAX_CONNS FCGI_MAX_REQS FCGI_MPXS_CONNS));
my $params = FPMPool::Client::request_params(script => "$root/hello.php");
for my $case (
    [ 'an unknown type',                        sub { record(99, 0, 'x') . $request->() },                                     2, qr/\AUNKNOWN 99; END\/1 0\z/, qr/\A\z/ ],
    [ 'an unknown role',                        sub { begin_record(1, role => 9) . params_records(1, $params) . stdin_records(1, '') }, 1, qr/\AEND\/1 3\z/, qr/\A\z/ ],
    [ 'a second request at the same time',      sub { begin_record(1) . begin_record(2) . params_records(2, $params) . params_records(1, $params) . stdin_records(1, '') }, 2, qr/END\/2 1.*END\/1 0|END\/1 0.*END\/2 1/, qr/\A(?!.*END\/2 1)/ ],
    [ 'MAX_CONNS and MAX_REQS',                 sub { $values },                                                                1, qr/\AVALUES FCGI_MAX_CONNS,FCGI_MAX_REQS,FCGI_MPXS_CONNS\z/, qr/\AVALUES FCGI_MPXS_CONNS\z/ ],
    [ 'a pair that is cut by records',          sub { begin_record(1) . params_records(1, $params, 7) . stdin_records(1, '') }, 1, qr/\AEND\/1 0\z/, qr/\A\z/ ],
) {
    my ($name, $bytes, $count, $right, $wrong) = @$case;
    beside('7.16', $name, sub { my ($start) = @_; return $records->(one($start), $bytes->(), $count) }, $right, $wrong);
}

beside('7.16', 'PARAMS with another id are not this request\'s', sub {
    my ($start) = @_;
    my $client = php_connect(one($start));
    my $stream = params_records(1, $params);
    substr $stream, -8, 8, record('PARAMS', 7, FPMPool::Client::pair('SCRIPT_FILENAME', "$root/other.php")) . record('PARAMS', 1, '');
    $client->send_bytes(begin_record(1) . $stream . stdin_records(1, ''));
    return answer_within($client, 10);
}, qr/\A(?:200 hello|cut)\z/, qr/\A200 other\z/);

beside('7.16', 'ABORT_REQUEST before the script', sub {
    my ($start) = @_;
    my $server = one($start);
    my $flag   = flag();
    $records->($server, begin_record(1) . substr(params_records(1, FPMPool::Client::request_params(code("touch('$flag');"))), 0, -8) . record('ABORT', 1, ''), 1, 3);
    php_request($server, "$root/hello.php");
    return -e $flag ? 'it ran' : 'it did not run';
}, qr/\Ait did not/, qr/\Ait ran/);

beside('7.17', 'output behind fastcgi_finish_request() on a kept connection', sub {
    my ($start) = @_;
    my $client = php_connect(one($start));
    my $text   = '';
    $client->send_request(code('while (ob_get_level()) ob_end_clean(); ignore_user_abort(true); echo "first"; fastcgi_finish_request(); echo "LATE"; flush();'), keep => 1);
    $text .= answer_within($client, 10);
    $client->send_request(script => "$root/hello.php", keep => 1);
    my $next = $client->read_answer;
    return "$text; next: " . ($next->{stdout} =~ /LATE/ ? 'has LATE, ' : '') . $next->{body};
}, qr/\A200 first; next: hello\z/, qr/\A200 first; next: has LATE, hello\z/);

beside('7.17', 'output behind it on a closed one ends no script', sub {
    my ($start) = @_;
    my $flag = flag();
    php_request(one($start), '', code("echo 'first'; fastcgi_finish_request(); echo 'late'; flush(); touch('$flag');"));
    return eval { wait_for { -e $flag } is_ours($start) ? 10 : 1, 'its end' } ? 'went on' : 'was ended';
}, qr/\Awent on/, qr/\Awas ended/);

# ---- figures -------------------------------------------------------------------------------------------------

beside('7.19', 'the duration in the access log', sub {
    my ($start) = @_;
    my $log    = flag();
    my $server = one($start, pool => { 'access.log' => $log, 'access.format' => '%d' });
    php_request($server, '', code('register_shutdown_function(function () { usleep(300000); }); echo 1;'));
    wait_for { -s $log } 10, 'the line';
    return read_file($log) >= 0.3 ? 'with shutdown functions' : 'without them';
}, qr/\Awith shut/, qr/\Awithout/);

beside('7.20', 'one worker and six kept connections', sub {
    my ($start) = @_;
    my $server = one($start, pool => { 'pm.status_path' => '/status' });
    for (1 .. 5) { my $client = php_connect($server); $client->request(script => "$root/hello.php") for 1 .. 2; $client->close }
    return php_request($server, "$root/x", name => '/status')->{body} =~ /^max active processes: +(\d+)$/m ? "at most $1 active" : 'no figure';
}, qr/\Aat most 1 active\z/, qr/\Aat most (?!1 )\d+ active\z/);

beside('7.20', 'the queue of a Unix socket', sub {
    my ($start) = @_;
    my $server = one($start, pool => { 'pm.max_children' => 2, 'pm.status_path' => '/status' });
    my $go     = flag();
    my @client = map { php_connect($server) } 1 .. 6;
    $_->send_request(code("touch('$go.' . getmypid()); $wait echo 'ok';", params => { X_GO => $go })) for @client;
    wait_for { my @running = glob "$go.*"; @running == 2 } 10, 'both workers';
    my $status = php_connect($server);
    $status->send_request(script => "$root/x", name => '/status');
    my $first = answer_within($status, is_ours($start) ? 10 : 1);
    write_file($go, '');
    $_->close for @client;
    return $first =~ /^listen queue: +(\d+)$/m ? "$1 wait" : $first;
}, qr/\A4 wait\z/, qr/\Anothing\z/);

beside('7.22', 'what a worker prints, with log_level = error', sub {
    my ($start) = @_;
    my $server = one($start, global => { log_level => 'error' }, pool => { catch_workers_output => 'yes' }, wait => 0);
    wait_for { eval { php_request($server, "$root/hello.php")->{body} eq 'hello' } } 20, 'it to serve';
    my $from = $server->log_length;
    php_request($server, '', code('fwrite(fopen("php://stderr", "w"), "printed\n"); echo 1;'));
    eval { wait_for { $server->log_text($from) =~ /printed/ } 1, 'it' };
    return $server->log_text($from) =~ /(.*printed.*)/ ? "logged: $1" : 'not logged';
}, qr/\Anot logged\z/, qr/\Alogged: printed"\z/);

beside('7.23', 'a queue with a limit', sub {
    my ($start) = @_;
    my $server = one($start, pool => is_ours($start) ? { 'queue.timeout' => '1s' } : {});
    my $go     = flag();
    my @client = map { php_connect($server) } 1 .. 2;
    $client[0]->send_request(code("touch('$go.began'); $wait echo 'ok';", params => { X_GO => $go }));
    wait_for { -e "$go.began" } 10, 'the request';
    $client[1]->send_request(script => "$root/hello.php");
    my $second = answer_within($client[1], is_ours($start) ? 10 : 1.5);
    write_file($go, '');
    return $second . '; ' . answer_within($client[0], 10);
}, qr/\A503 .*; 200 ok\z/s, qr/\Anothing; 200 ok\z/);

report_sections();
done_testing();
