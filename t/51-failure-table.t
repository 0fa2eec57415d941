# Everything that can go wrong with a request, one row after the other: what the client gets, what the note says, and one log
# line with pool, server, worker (where known), script and the next step. Rows of the specification, in its order.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat qw(full_listener);
use FPMPool::Client;
use FPMPool::HTTP2;
use FPMPool::Test;
use IO::Socket::UNIX;
use Time::HiRes ();

my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'hello.php'  => '<?php echo "hello";',
    'die.php'    => '<?php posix_kill(getmypid(), 9); sleep(9);',
    'begun.php'  => "<?php echo str_repeat('x', 20000); while (ob_get_level()) ob_end_flush(); flush(); while (!file_exists('$flags/open')) usleep(10000); posix_kill(getmypid(), 9); sleep(9);",
    'sleep.php'  => "<?php register_shutdown_function(function () { file_put_contents('$flags/ended', connection_status()); });"
        . " while (ob_get_level()) ob_end_flush(); for (\$i = 0; \$i < 400; \$i++) { usleep(25000); echo ' '; if (\$i > 60 || isset(\$_GET['flush'])) flush(); }",
    'silent.php' => "<?php touch('$flags/begun'); while (!file_exists('$flags/open')) usleep(10000); echo 'released';",
    'pause.php'  => "<?php echo 'begun'; while (ob_get_level()) ob_end_flush(); flush(); while (!file_exists('$flags/open')) usleep(10000);",
    'drip.php'   => "<?php while (ob_get_level()) ob_end_flush(); while (!file_exists('$flags/open')) { echo '.'; flush(); usleep(20000); }",
    'errors.php' => '<?php trigger_error("a warning", E_USER_WARNING); trigger_error("a notice", E_USER_NOTICE); trigger_error("old", E_USER_DEPRECATED); error_log("said"); echo "x";',
    'fatal.php'  => '<?php nowhere();',
    'exit.php'   => '<?php echo "x"; exit(3);',
    'post.php'   => '<?php echo strlen(file_get_contents("php://input"));',
    'x.php'      => '<?php',
);
my $run = test_dir() . '/run';
mkdir $run;
chmod 0755, $run;
my $daemon = start_daemon(conf => {
    www  => { 'pm.max_children' => 2 },
    tiny => { 'pm.max_children' => 1, 'queue.max' => 1, 'pm.status_path' => '/status' },
    late => { 'pm.max_children' => 1, 'queue.timeout' => 1 },
    slow => { 'pm.max_children' => 1, request_terminate_timeout => '1s' },
});
my $fake = start_service(kind => 'peer', name => 'fake', argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/fake.sock" ]);
$fake->wait_log(qr/listening/);
my $closed = IO::Socket::UNIX->new(Local => "$run/closed.sock", Listen => 1) or die $!;
chmod 0600, "$run/closed.sock";
my ($full, @waiting) = full_listener("$run/full.sock");
{ my $gone = IO::Socket::UNIX->new(Local => "$run/refused.sock", Listen => 1) or die $!; chmod 0666, "$run/refused.sock" } # nobody listens any more

allow_log(qr/FPMP00(?:20|30|40|6\d|7[1-8]): /, qr/exited on signal 9/, qr/request_terminate_timeout|[Ee]xecution timed out/, qr/PHP (?:Warning|Notice|Deprecated|Fatal)|PHP message: said/, qr/AH00128/);

my $secure = free_port();
my ($key, $certificate) = map { test_dir() . "/$_.pem" } qw(key certificate);
system("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout $key -out $certificate >/dev/null 2>&1") == 0 or die 'openssl req';
my $pools = join '', map { "<FpmPoolDefine $_>\n    FpmPoolServer unix:" . $daemon->listen_address($_) . "\n</FpmPoolDefine>\n" } qw(www tiny late slow);
my $places = join '', map { "Alias /$_ $root\n<Location \"/$_\">\n    FpmPool $_\n</Location>\n" } qw(tiny late slow fake closed full refused gone);
my $conf = <<"EOF_CONF";
FpmPoolSocketDir $run
$pools
FpmPool www
FpmPoolTimeout connect=500ms
FpmPoolRetryAfter 7
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
$places
Alias /first $root
<Location "/first">
    FpmPoolTimeout first=500ms
</Location>
Alias /idle $root
<Location "/idle">
    FpmPoolTimeout idle=500ms
</Location>
Alias /total $root
<Location "/total">
    FpmPoolTimeout total=1s
</Location>
Alias /header $root
<Location "/header">
    FpmPool fake
    FpmPoolMaxHeader 1K
</Location>
Alias /limited $root
<Location "/limited">
    LimitRequestBody 1000
</Location>
ErrorLogFormat "[%t] [%-m:%l] [pid %P] [id %L] [client %a] %M"
LogFormat "%U%q %>s %{fpmpool-state}n %{fpmpool-attempts}n %{fpmpool-worker}n %{fpmpool-exit}n id=%L" failures
CustomLog failures.log failures
<IfModule ssl_module>
    Protocols h2c http/1.1
    LogLevel http2:error ssl:error
    Listen 127.0.0.1:$secure
    <VirtualHost 127.0.0.1:$secure>
        Protocols h2 http/1.1
        SSLEngine on
        SSLCertificateFile $certificate
        SSLCertificateKeyFile $key
    </VirtualHost>
</IfModule>
EOF_CONF

my ($httpd, $rows);

# Status and Retry-After of an answer, and the fields of httpd's access log for it.
sub outcome_of {
    my ($target, %option) = @_;
    my $file = "$httpd->{dir}/failures.log";
    my $before = -e $file ? length read_file($file) : 0;
    my $answer = $option{answer} ? $option{answer}->() : http($httpd->url($target), %option);
    my ($state, $attempts, $worker, $exit, $id) = @{ (wait_for {
        my ($line) = -e $file ? grep { /^\Q$target\E \d/ } split /\n/, substr read_file($file), $before : ();
        $line && $line =~ /^\S+ \d+ (\S+) (\S+) (\S+) (\S+) id=(\S+)/ ? [ $1, $2, $3, $4, $5 ] : undef;
    } 15, "the access log line of $target") };
    return { answer => $answer, status => $answer ? $answer->{status} : 0, retry => $answer ? $answer->{headers}{'retry-after'} // '-' : '-', state => $state, attempts => $attempts, worker => $worker, exit => $exit, id => $id };
}

# One row: what is asked, 'STATUS RETRY-AFTER STATE', level and text of the log line (undef: none at info or above).
sub row {
    my ($name, $target, $expected, $level, $text, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $rows++;
    return subtest $name => sub {
        my $from = $httpd->log_length;
        my $got  = outcome_of($target, %option);
        is("$got->{status} $got->{retry} $got->{state}", $expected, 'status, Retry-After, state');
        if (defined $level) {
            ok(eval { $httpd->wait_log(qr/\[fpmpool:$level\].*$text/, 10, $from) }, "says so at level $level") or diag $httpd->log_text($from);
        } else {
            unlike($httpd->log_text($from), qr/\[fpmpool:(?:info|notice|warn|error)\]/, 'nothing in the log');
        }
        $option{then}->($got, $from) if $option{then};
    };
}

sub names_worker {
    my ($got, $from) = @_;
    like($got->{worker}, qr/^\d+$/, 'the worker is known');
    like($httpd->log_text($from), qr/FPMP00\d\d: pool \S+ \(unix:\S+\), worker $got->{worker}, script \Q$root\E/, '... and named in the log');
    return;
}

sub lines_of { my ($level, $text, $from) = @_; my $count = () = $httpd->log_text($from) =~ /\[fpmpool:$level\].*$text/g; return $count }

# Makes the only worker of that pool busy, until $flags/open is there; the connection that waits.
sub hold_worker {
    my ($pool) = @_;
    unlink map { "$flags/$_" } qw(begun open);
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request(GET => "/$pool/silent.php");
    wait_for { -e "$flags/begun" } 10, 'the only worker is busy';
    return $http;
}

# What curl says of a response that is cut when its beginning has arrived.
sub curl_begun {
    my ($arguments) = @_;
    unlink "$flags/open";
    open my $pipe, '-|', "curl -sSNi --max-time 20 $arguments 2>&1" or die $!;
    my $text = <$pipe>;
    write_file("$flags/open", '');
    local $/;
    $text .= <$pipe>;
    close $pipe;
    return substr $text, -200;
}

sub run_all {
    # connect: refused, no socket, no permission
    row('no socket', '/gone/x.php', '503 7 down', 'error', qr/FPMP0073: pool gone: cannot connect to unix:\S+gone\.sock: there is no such socket: start fpmpoold.* \(script \S+x\.php\)/);
    row('connection refused', '/refused/x.php', '503 7 down', 'error', qr/FPMP0073: pool refused: .*nobody listens there: start fpmpoold with this pool/);
    row('no permission', '/closed/x.php', '503 7 down', 'error', qr/FPMP0073: pool closed: .*httpd's user may not connect: set listen\.owner, listen\.group or listen\.mode/) if is_root();

    # backlog, queue
    row('a full backlog', '/full/x.php', '503 7 full', 'warn', qr/FPMP0072: pool full: the listen queue of unix:\S+full\.sock is full: raise pm\.max_children.* \(script \S+x\.php\)/);
    for my $case ([ 'a full queue', 'tiny' ], [ 'a wait in the queue beyond its limit', 'late' ]) {
        my ($name, $pool) = @$case;
        my @busy = hold_worker($pool);
        if ($pool eq 'tiny') {
            push @busy, http_connect(port => $httpd->port, timeout => 20);
            $busy[1]->send_request(GET => "/$pool/hello.php");
            wait_for { php_request($daemon, '/status', pool => $pool, name => '/status', query => 'json')->{body} =~ /"listen queue":1,/ } 10, 'the queue is full';
        }
        row($name, "/$pool/hello.php", '503 7 overload', 'warn', qr/FPMP0060: pool $pool \(unix:\S+\), script \S+hello\.php: the pool refused the request.*raise pm\.max_children or its queue limits/);
        write_file("$flags/open", '');
        is($_->read_answer->{status}, 200, 'who was in is served') for @busy;
    }
    # a fresh child logs the first, and every 10 s with the number left out: not one line per request
    subtest 'failures of a server are logged once, then counted' => sub {
        my $from = $httpd->log_length;
        http($httpd->url('/gone/x.php')) for 1 .. 40;
        cmp_ok(lines_of('error', 'FPMP0073: pool gone', $from), '<=', 5, 'at most one per child');
    };

    # END_REQUEST without an answer
    row('OVERLOADED', '/fake/x.php?do=overloaded', '503 7 overload', 'warn|debug', qr/FPMP0060: pool fake \(unix:\S+fake\.sock\), script \S+x\.php: /);
    row('CANT_MPX_CONN', '/fake/x.php?do=cant_mpx', '500 - invalid', 'error', qr/FPMP0061: pool fake .*set reuse=off/);
    row('UNKNOWN_ROLE', '/fake/x.php?do=role', '500 - invalid', 'error', qr/FPMP0062: pool fake .*correct the address/);

    # a worker that dies, a script that takes too long
    row('a worker that dies before it answers', '/die.php', '502 - died', 'error', qr/FPMP0077: .*the worker died before it answered/, then => \&names_worker);
    row('... with POST: not executed again', '/die.php', '502 - died', 'error', qr/FPMP0077: /, method => 'POST', body => 'a=1', then => sub { is($_[0]{attempts}, 1, 'one attempt') });
    row('a connection that is lost', '/fake/x.php?do=lost', '502 - lost', 'error', qr/FPMP0064: pool fake .*script \S+x\.php: the server closed the connection.*see the daemon's log/);
    unlink "$flags/open";
    row('request_terminate_timeout of the pool', '/slow/silent.php', '504 - timeout', 'error', qr/FPMP0078: .*look into its slow log, or raise it/, then => \&names_worker);

    # our own time limits
    unlink "$flags/ended";
    row('FpmPoolTimeout first=', '/first/sleep.php', '504 - timeout', 'error', qr/FPMP0063: pool www \(unix:\S+\), script \S+sleep\.php: no byte of an answer in time: .*raise FpmPoolTimeout first=/, then => sub {
        is((wait_for { -e "$flags/ended" && read_file("$flags/ended") ne '' ? read_file("$flags/ended") : undef } 10, 'the end of the script'), 1, 'and the script is told: connection_status() is ABORTED');
    });
    unlink "$flags/open";
    row('FpmPoolTimeout total=', '/total/silent.php', '504 - timeout', 'error', qr/FPMP0076: .*not complete in time: .*raise FpmPoolTimeout total=/);
    write_file("$flags/open", '');

    # answers that are none
    row('a malformed header', '/fake/x.php?do=bad_header', '502 - invalid', 'error', qr/FPMP0066: .*malformed or incomplete.*: "this is no header/);
    row('a header cut by END_REQUEST', '/fake/x.php?do=cut_header', '502 - invalid', 'error', qr/FPMP0066: .*: "Content-Type: text\/ht"/);
    row('a header cut by the end of the connection', '/fake/x.php?do=lost_header', '502 - lost', 'error', qr/FPMP0064: /);
    row('an oversized header', '/header/x.php?do=long_line', '502 - invalid', 'error', qr/FPMP0067: .*FpmPoolMaxHeader: raise it/);
    row('no answer at all', '/fake/x.php?do=nothing', '502 - invalid', 'error', qr/FPMP0065: /);
    row('not FastCGI', '/fake/x.php?do=garbage', '502 - invalid', 'error', qr/FPMP0069: .*not FastCGI: correct the address \(.+\)/);
    row('fewer bytes than Content-Length', '/fake/x.php?do=short', '502 - cut', 'error', qr/FPMP0068: /);

    # after the headers
    for my $case ([ 'a worker that dies in the middle', '/begun.php', '0064' ], [ 'a pause longer than idle=', '/idle/pause.php', '0063' ], [ 'an answer longer than total=', '/total/drip.php', '0076' ]) {
        my ($name, $target, $id) = @$case;
        unlink "$flags/open";
        row($name, $target, '200 - cut', 'error', qr/FPMP$id: .*; the response had begun, the client got it cut/, answer => sub {
            my $http = http_connect(port => $httpd->port, timeout => 20);
            $http->send_request(GET => $target);
            my $head = $http->read_head;
            is($head->{headers}{'transfer-encoding'}, 'chunked', 'chunked');
            write_file("$flags/open", '') if $target =~ /begun/;
            eval { 1 while length $http->read_some };
            ok(!$http->{complete}, 'no last chunk');
            ok($http->is_closed(5), 'the connection is closed at once');
            return $head;
        }, then => \&names_worker);
        write_file("$flags/open", '');
    }
    if ($httpd->name !~ /prefork/ && FPMPool::HTTP2::is_available()) {
        for my $base ($httpd->url(''), "https://127.0.0.1:$secure") {
            my $from = $httpd->log_length;
            my $how  = $base =~ /https/ ? '-k --http2' : '--http2-prior-knowledge';
            my $told = curl_begun("$how '$base/begun.php'");
            like($told, qr/reset|INTERNAL_ERROR|not closed cleanly|PROTOCOL_ERROR/i, ($base =~ /https/ ? 'TLS and ' : '') . 'HTTP/2: the stream is reset') or diag $told;
            $httpd->wait_log(qr/FPMP0064: .*the client got it cut/, 10, $from);
            for my $case ([ '/hello.php', 200 ], [ '/gone/x.php', 503 ], [ '/die.php', 502 ], [ '/fake/x.php?do=bad_header', 502 ], [ '/first/sleep.php', 504 ]) {
                is(`curl -sS $how --max-time 20 -o /dev/null -w '%{http_version} %{http_code}' '$base$case->[0]'`, "2 $case->[1]", "... $case->[0]: $case->[1]");
            }
        }
        my $plain = curl_begun("-k --http1.1 'https://127.0.0.1:$secure/begun.php'");
        like($plain, qr/transfer closed|outstanding|unexpected eof|chunk/i, 'TLS and HTTP/1.1: cut');
    }

    # the client
    unlink "$flags/ended";
    row('a client that goes away', '/sleep.php?flush=1', '200 - abort', undef, undef, answer => sub {
        my $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(GET => '/sleep.php?flush=1');
        my $head = $http->read_head;
        $http->close;
        return $head;
    }, then => sub { is((wait_for { -e "$flags/ended" ? read_file("$flags/ended") || undef : undef } 10, 'the end of the script'), 1, 'the script is told') });
    row('a body that is too large', '/limited/post.php', '413 - client', 'info', qr/FPMP0020: /, method => 'POST', body => 'b' x 5000);
    row('a chunk that is none', '/post.php', '400 - client', 'info', qr/FPMP0020: /, answer => sub {
        my $http = http_connect(port => $httpd->port, timeout => 20);
        $http->send_request(POST => '/post.php', headers => [ 'Transfer-Encoding' => 'chunked' ], no_body => 1);
        $http->send_raw("no chunk\r\n");
        return $http->read_answer;
    });

    # what PHP says
    my $from = $httpd->log_length;
    my $got = outcome_of('/errors.php');
    is("$got->{status} $got->{state}", '200 ok', 'messages of PHP are no failure');
    for my $case ([ warn => 'a warning' ], [ notice => 'a notice' ], [ notice => 'old' ], [ notice => 'said' ]) {
        my ($level, $text) = @$case;
        like($httpd->log_text($from), qr/^\[[^\]]+\] \[fpmpool:$level\] \[pid \d+\] \[id \Q$got->{id}\E\] \[client 127[^\]]+\] FPMP0040: pool www, worker $got->{worker}: .*\b$text/m, "... '$text' at level $level, with client and request id");
    }
    row('a fatal error of PHP', '/fatal.php', '500 - ok', 'error', qr/FPMP0040: pool www, worker \d+: PHP Fatal error: /, then => sub { is($_[0]{exit}, 255, 'exit status 255') });
    row('a script that exits with a status', '/exit.php', '200 - ok', 'debug', qr/FPMP0075: pool www: the script ended with exit status 3: \Q$root\E\/exit\.php/, then => sub { is($_[0]{exit}, 3, 'noted') });
    return;
}

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        $rows = 0;
        my @http2 = $mpm eq 'event' ? qw(http2 socache_shmcb ssl) : ();
        $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf, modules => \@http2, log_level => 'warn fpmpool:debug');
        $httpd->{log_level_info} = 1;
        run_all();
        $httpd->stop;
        note("$rows rows");
    };
}
undef $closed;
undef $full;
unlink map { "$run/$_.sock" } qw(closed full refused);
done_testing();
