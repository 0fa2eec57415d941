# FpmPoolCheck: what a check asks a server, when that takes it out and brings it back, that busy is not dead, and that
# somebody checks whichever child of httpd is killed.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Gate;
use FPMPool::Test;
use Time::HiRes ();

my $state = test_dir() . '/state';
my $root  = site('www', 'x.php' => '<?php echo "daemon";', 'slow.php' => slow_script(),
    'health.php' => "<?php list(\$code, \$text) = explode(' ', file_get_contents('$state'), 2); http_response_code((int)\$code); header('X-State: ' . strtok(\$text, ' ')); echo \$text;",
    'hang.php' => '<?php while (!file_exists("' . test_dir() . '/go-hang")) { usleep(20000); clearstatcache(); } echo "ok";',
    'echo.php' => '<?php $s = $_SERVER; $ok = $s["SCRIPT_FILENAME"] === __FILE__ && $s["DOCUMENT_ROOT"] === __DIR__ && $s["SCRIPT_NAME"] === "/echo.php" && $s["REQUEST_METHOD"] === "GET" && $s["HTTP_USER_AGENT"] === "FpmPoolCheck" && !isset($s["FPMPOOL_PEER"]) && file_get_contents("php://input") === ""; header($ok ? "Location: /x" : "Status: 500 " . json_encode($s));');
my $run  = test_dir() . '/run';
my $fast = 'interval=100ms fast=50ms down=50ms timeout=2s rise=2 fall=2';
mkdir $run;
write_file($state, '200 fine');
allow_log(qr/FPMP0085: /);

sub start_peer {
    my ($name, @always) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name", argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock", @always ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

# Pools of a server and a backup, by the lines of their checks.
sub start_front {
    my ($server, $lines, %option) = @_;
    my $conf = "LogLevel fpmpool:debug\nFpmPoolSocketDir $run\nFpmPool good\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n";
    for my $name (sort keys %$lines) {
        $conf .= "<FpmPoolDefine $name>\n    FpmPoolServer $server\n    FpmPoolServer unix:$run/good.sock backup\n" . join('', map { "    $_\n" } split /;/, $lines->{$name})
            . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
    }
    return start_httpd(mpm => 'event', docroot => $root, %option, conf => $conf);
}

my $good = start_peer('good', 'who');
my $who  = sub { my ($httpd, $pool, $script) = @_; return http($httpd->url("/$pool/" . ($script // 'x.php')))->{body} };
my $says = sub { my ($httpd, $from, $what, $name) = @_; return ok(eval { $httpd->wait_log($what, 20, $from) }, $name) };
my $count = sub { my ($httpd, $from, $what) = @_; return scalar(() = $httpd->log_text($from) =~ /$what/g) };

for my $kind ('fpmpoold', 'php-fpm') {
    next if $kind eq 'php-fpm' && !-x '/usr/sbin/php-fpm8.2';
    my $start  = $kind eq 'php-fpm' ? \&start_php_fpm : \&start_daemon;
    my $daemon = $start->(name => "scripts-$kind", conf => { www => { 'pm.max_children' => 2 } });
    my $server = 'unix:' . $daemon->listen_address('www') . ($kind eq 'php-fpm' ? ' type=fpm' : '');
    my $httpd  = start_front($server, {
        plain   => "FpmPoolCheck script=$root/health.php $fast",
        exact   => "FpmPoolCheck script=$root/health.php $fast expect=\"%{REQUEST_STATUS} -eq 200 && (hc('body') == 'good' || hc('body') =~ /^fi[nx]/ && resp('X-State') in {'fine', 'fixed'})\"",
        both    => "FpmPoolCheck ping $fast;FpmPoolCheck script=$root/health.php $fast",
        facts   => "FpmPoolCheck script=$root/echo.php $fast",
        missing => "FpmPoolCheck script=$root/missing.php $fast",
    });

    subtest "$kind: the script decides" => sub {
        $says->($httpd, 0, qr/FPMP0085: pool missing: \S+ counts as down: the script \S+missing\.php of its check answers with status 404; the others/, 'a script that is not there');
        is($who->($httpd, $_), 'daemon', "$_: well") for qw(plain exact both facts);
        my $from = $httpd->log_length;
        write_file($state, '500 fine');
        $says->($httpd, $from, qr/FPMP0085: pool $_: \S+ counts as down: the script \S+health\.php of its check answers with status 500/, "$_: status 500 takes it out") for qw(plain exact both);
        is($who->($httpd, $_), 'good', "... requests of $_ go to the backup") for qw(plain exact both);
        write_file($state, '302 fine');
        $says->($httpd, $from, qr/\[fpmpool:notice\].*FPMP0086: pool $_: \S+ is up again: 2 checks/, "$_: 302 brings it back") for qw(plain both);
        is($who->($httpd, 'exact'), 'good', '... but not where 200 is expected');
        write_file($state, '200 fixed');
        $says->($httpd, $from, qr/FPMP0086: pool exact: /, '... 200 does');
        is($who->($httpd, $_), 'daemon', "$_: requests go to it") for qw(plain exact both);
        write_file($state, '200 sick');
        $says->($httpd, $from, qr/FPMP0085: pool exact: \S+ counts as down: the script \S+ of its check answers with status 200, and not as expected/, 'a body that is not the expected one');
        write_file($state, '200 fine');
        $says->($httpd, $from, qr/FPMP0086: pool exact: .*?FPMP0086: pool exact: /s, '... and the right one again');
        is($count->($httpd, $from, qr/FPMP008[56]: pool plain/), 2, 'one line for each change');
        is($count->($httpd, $from, qr/FPMP008[56]: pool both/), 2, '... also with two kinds of checks');
        is($count->($httpd, $from, qr/FPMP008[56]: pool exact/), 4, '... and with an expectation');
        is($count->($httpd, 0, qr/FPMP008[56]: pool facts/), 0, 'the script sees a plain GET request for itself');
    };

    subtest "$kind: busy is not dead" => sub {
        my $from = $httpd->log_length;
        my @busy = map { start_busy($httpd, $_) } 1 .. 2;
        wait_for { $count->($httpd, $from, qr/FPMP0120: pool both: a check of \S+ does not count/) >= 4 } 40, 'four checks that found no worker';
        is($count->($httpd, $from, qr/FPMP0085/), 0, 'all workers have requests: checks wait, and nobody counts as down');
        write_file(test_dir() . '/go-busy', '');
        is($_->read_answer->{body}, 'done', '... requests are answered') for @busy;
        unlink test_dir() . '/go-busy';
        is($who->($httpd, 'both'), 'daemon', '... and go on to go there');
    } if $kind eq 'fpmpoold';

    if ($kind eq 'fpmpoold') {
        subtest 'who does not answer a ping either is dead' => sub {
            kill STOP => $daemon->pool_pid('www'), $daemon->worker_pids('www');
            my $from = $httpd->log_length;
            $says->($httpd, $from, qr/FPMP0085: pool facts: \S+ counts as down: no answer to a check in time/, 'a pool that is frozen');
            kill CONT => $daemon->pool_pid('www'), $daemon->worker_pids('www');
            $says->($httpd, $from, qr/FPMP0086: pool facts: /, '... and goes on');
        };
    }
    $httpd->stop;

    subtest "$kind: a script that does not end" => sub {
        my $hanging = $start->(name => "hanging-$kind", conf => { www => { 'pm.max_children' => 8 } });
        my $front   = start_front('unix:' . $hanging->listen_address('www') . ($kind eq 'php-fpm' ? ' type=fpm' : ''), { hangs => "FpmPoolCheck script=$root/hang.php $fast timeout=300ms" }, name => "httpd-hanging-$kind");
        my $reason  = $kind eq 'fpmpoold' ? qr/the script \S+hang\.php of its check does not end in time/ : qr/no answer to a check in time/;
        $says->($front, 0, qr/FPMP0085: pool hangs: \S+www\.sock counts as down: $reason/, 'takes it out');
        $front->stop;
        write_file(test_dir() . '/go-hang', '');
        $hanging->stop;
        unlink test_dir() . '/go-hang';
    };
    $daemon->stop;
}

# A request that holds a worker until there is a file.
sub start_busy {
    my ($httpd, $n) = @_;
    my $dir = test_dir() . "/busy-$n";
    chmod 0777, test_dir();
    mkdir $dir;
    chmod 0777, $dir;
    unlink "$dir/started";
    symlink test_dir() . '/go-busy', "$dir/go";
    my $http = http_connect(port => $httpd->port, timeout => 60);
    $http->send_request(GET => "/both/slow.php?d=$dir");
    wait_for { -e "$dir/started" } 20, 'the busy request';
    return $http;
}

subtest 'OVERLOADED is busy too' => sub {
    start_peer('overloaded', 'overloaded');
    my $httpd = start_front("unix:$run/overloaded.sock", { refused => "FpmPoolCheck script=/h.php $fast" }, name => 'httpd-overloaded');
    wait_for { $count->($httpd, 0, qr/FPMP0120: pool refused: .*OVERLOADED/) >= 6 } 20, 'six checks';
    is($count->($httpd, 0, qr/FPMP0085/), 0, 'a server that refuses checks is not down');
    $httpd->stop;
};

subtest 'what is no answer' => sub {
    my %wrong = (lost => 'it closes the connection of a check', garbage => 'what it answers a check is not FastCGI', role => 'it refuses the request of a check by FastCGI',
        bad_header => 'the script of its check does not answer', nothing => 'the script of its check does not answer', silence => 'no answer to a check in time');
    for my $name (sort keys %wrong) {
        start_peer($name, $name);
        my $httpd = start_front("unix:$run/$name.sock type=generic", { $name => "FpmPoolCheck script=/h.php $fast timeout=200ms" }, name => "httpd-$name");
        $says->($httpd, 0, qr/FPMP0085: pool $name: \S+ counts as down: $wrong{$name}; /, "$name: $wrong{$name}");
        is($who->($httpd, $name), 'good', '... requests go elsewhere');
        $httpd->stop;
    }
};

subtest 'the child that checks is killed' => sub {
    my $peer  = start_peer('checked', 'who');
    my $httpd = start_front("unix:$run/checked.sock", { checked => 'FpmPoolCheck ping interval=1s fall=2' }, name => 'httpd-killed');
    my $pings = sub { scalar(() = $peer->log_text =~ /ping/g) };
    allow_log(qr/AH00052: child pid \d+ exit signal Killed|AH10392|AH10159/);
    for my $round (1 .. 3) {
        my $before = $pings->();
        wait_for { $pings->() > $before } 20, 'a check';
        $before = $pings->();
        my $begin = Time::HiRes::time();
        kill KILL => children($httpd->pid);    # whoever has the lease is among them
        ok((wait_for { $pings->() > $before } 20, 'the next check'), 'another child takes over');
        note sprintf 'interval 1 s: the next check %d ms after kill -9 of all children', 1000 * (Time::HiRes::time() - $begin);
    }
    is($count->($httpd, 0, qr/FPMP008[56]/), 0, '... and nothing of the server was forgotten or made up');
    $httpd->stop;
};

done_testing();
