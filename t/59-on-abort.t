# FpmPoolOnAbort: what a script learns when its client goes away, with fpmpoold, with php-fpm, and behind mod_proxy_fcgi.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;

# Its end: how far it came, and connection_status(). It goes on when MARK.go is there; long: it writes until it is told.
my $script = <<'EOF_PHP';
<?php
$mark = $_GET['mark'];
$at   = 'cut';
ignore_user_abort(isset($_GET['ignore']));
register_shutdown_function(function () use ($mark, &$at) { file_put_contents("$mark.new", "$at " . connection_status()); rename("$mark.new", "$mark.end"); });
while (ob_get_level()) ob_end_flush();
touch("$mark.called");
file_put_contents("$mark.runs", getmypid() . ' ', FILE_APPEND);
$body = strlen(file_get_contents('php://input'));
if (!isset($_GET['silent'])) { echo 'begun'; flush(); }
touch("$mark.begun");
for ($i = 0; $i < 3000 && !file_exists("$mark.go"); $i++) { usleep(5000); clearstatcache(); }
$most = isset($_GET['long']) ? 3000 : 60;
for ($i = 0; $i < $most && !(isset($_GET['ignore']) && connection_aborted()); $i++) { echo str_repeat('x', 30000); flush(); usleep(2000); }
$at = 'whole';
EOF_PHP
my $root   = site('www', 'x.php' => $script, 'pid.php' => '<?php echo getmypid();');
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 }, other => { 'pm.max_children' => 1 } });
my $fpm    = start_php_fpm(conf => { www => { 'pm.max_children' => 2 } });
my @places = map { ("/$_", "/fpm/$_") } qw(tell finish brief total);
my %line   = (
    tell => 'FpmPoolOnAbort tell', finish => 'FpmPoolOnAbort finish', brief => 'FpmPoolOnAbort finish within=500ms',
    total => "FpmPoolOnAbort finish\n    FpmPoolTimeout total=1500ms",
);
my $conf = "FpmPoolOnAbort finish\nProtocols h2c http/1.1\nLogFormat \"%U %{fpmpool-state}n\" states\nCustomLog states.log states\n";
$conf .= "<FpmPoolDefine fpm>\n    FpmPoolServer unix:" . $fpm->listen_address('www') . " type=fpm\n</FpmPoolDefine>\n";
$conf .= "<FpmPoolDefine pair>\n    FpmPoolServer unix:" . $daemon->listen_address('www') . "\n    FpmPoolServer unix:" . $daemon->listen_address('other')
    . "\n    FpmPoolBalance first\n    FpmPoolRetry idempotent\n</FpmPoolDefine>\nAlias /pair/ $root/\n<Location /pair/>\n    FpmPool pair\n</Location>\n";
for my $place (@places) {
    my ($kind) = $place =~ m{(\w+)\z};
    $conf .= "Alias $place/ $root/\n<Location \"$place/\">\n    $line{$kind}\n" . ($place =~ /fpm/ ? "    FpmPool fpm\n" : '') . "</Location>\n";
}
allow_log(qr/FPMP0076: /, qr/FPMP0097: /);
my $httpd = start_httpd(docroot => $root, modules => ['http2'], conf => php_routes('fpmpool', $daemon, 'www') . $conf, log_level => 'info fpmpool:debug http2:error');
my $proxy = start_httpd(name => 'httpd-peer', docroot => $root, modules => [qw(proxy proxy_fcgi)], conf => php_routes('proxy_fcgi', $fpm, 'www'), fpmpool => 0);

my $count = 0;

# What the script says at its end; its client goes away once it has begun. leave: how.
sub end_of {
    my ($where, $place, $query, %option) = @_;
    my $mark   = "$marks/" . ++$count;
    my $target = "$place/x.php?mark=$mark$query";
    my $http   = http_connect(port => $where->port);
    my $from   = $where->log_length;
    $http->send_request($option{method} // 'GET', $target, %option);
    $http->send_raw($option{part}) if $option{part};
    my $first = $option{part} ? "$mark.called" : "$mark.begun";
    wait_for { -e $first } 20, 'the script has begun';
    $http->read_head unless $query =~ /silent/ || $option{part};
    $http->close;
    # httpd knows before the script goes on, wherever it looks.
    wait_for { $where->log_text($from) =~ /FPMP0056|FPMP0097|FPMP0076/ } 20, 'httpd to see it' if $option{sees};
    write_file("$mark.go", '');
    return wait_for { -e "$mark.end" ? read_file("$mark.end") : undef } 30, "the end of $target";
}

my %tells = (fpmpoold => '', 'php-fpm' => '/fpm');
for my $server (sort keys %tells) {
    my $at = $tells{$server};
    subtest $server => sub {
        is(end_of($httpd, "$at/tell", '&long=1'), 'cut 1', 'tell: the script ends at its next output');
        is(end_of($httpd, "$at/tell", '&long=1&silent=1', sees => 1), 'cut 1', '... also one that had not answered yet');
        is(end_of($httpd, "$at/tell", '&long=1&ignore=1'), 'whole 1', '... with ignore_user_abort it goes on, and knows');
        my $from = $httpd->log_length;
        is(end_of($httpd, "$at/finish", ''), 'whole 0', 'finish: it runs to its end and knows nothing');
        $httpd->wait_log(qr/FPMP0056: .*; its script ran to its end/, 10, $from);
        is(end_of($httpd, "$at/finish", '&silent=1'), 'whole 0', '... also one that had not answered yet');
        is(end_of($httpd, "$at/finish", '&silent=1', method => 'POST', body => 'b' x 200000), 'whole 0', '... with a body that has arrived');
        $from = $httpd->log_length;
        is(end_of($httpd, "$at/brief", '&long=1'), 'cut 1', 'not longer than within=: then it is told');
        $httpd->wait_log(qr/\[fpmpool:info\].*FPMP0097: pool \w+: .*: \Q$root\E\/x\.php/, 10, $from);
        is(end_of($httpd, "$at/brief", '&long=1&silent=1', sees => 1), 'cut 1', '... however silent it is');
        is(end_of($httpd, "$at/total", '&long=1'), 'cut 1', 'nor longer than total=');
        is(http($httpd->url("$at/finish/pid.php"))->{status}, 200, 'the pool serves on');
    };
}

subtest 'where finish cannot be' => sub {
    my $body = 'b' x 2_000_000;
    is(end_of($httpd, '/finish', '&long=1', method => 'PUT', headers => [ 'Content-Length' => 4_000_000 ], no_body => 1, part => $body), 'cut 1',
        'a body that stops in the middle ends its script');
    my $mark = "$marks/h2";
    my $pid = open my $curl, '-|', 'curl', '-sN', '--http2-prior-knowledge', $httpd->url("/finish/x.php?mark=$mark&long=1") or die $!;
    read $curl, my $text, 5;
    is($text, 'begun', 'HTTP/2: a page that streams');
    kill TERM => $pid;
    close $curl;
    write_file("$mark.go", '');
    is((wait_for { -e "$mark.end" ? read_file("$mark.end") : undef } 30, 'its end'), 'cut 1', '... its script is told');
};

subtest 'a worker that dies' => sub {
    allow_log(qr/exited on signal 9/, qr/FPMP0077: pool pair/);
    for my $leaves (0, 1) {
        my $mark = "$marks/dies-$leaves";
        my $http = http_connect(port => $httpd->port);
        my $from = $httpd->log_length;
        $http->send_request(GET => "/pair/x.php?mark=$mark&silent=1");
        wait_for { -e "$mark.begun" } 20, 'the script has begun';
        if ($leaves) {
            $http->close;
            my $end = time() + 2;
            wait_for { time() > $end } 5, 'httpd to see it, which no log tells';
        }
        kill KILL => split ' ', read_file("$mark.runs");
        write_file("$mark.go", '') unless $leaves;
        if ($leaves) {
            wait_for { $httpd->log_text($from) =~ /FPMP00(?:56|77): pool pair/ } 20, 'the end of the request';
            is(split(' ', read_file("$mark.runs")) + 0, 1, 'nobody else runs a script whose client has left');
        } else {
            is($http->read_head->{status}, 200, 'another server answers a client that waits');
            is(split(' ', read_file("$mark.runs")) + 0, 2, '... it ran there');
            $http->close;
        }
    }
};

subtest 'mod_proxy_fcgi with php-fpm' => sub {
    is(end_of($proxy, '', '&long=1'), 'cut 1', 'as tell, once there is output');
    is(end_of($proxy, '', '&long=1&ignore=1'), 'whole 1', '... with ignore_user_abort');
};

is(end_of($httpd, '', ''), 'whole 0', 'the directive of the server counts where no section has one');
my $states = join ' ', map { /(\S+)\z/ } split /\n/, read_file("$httpd->{dir}/states.log");
like($states, qr/\Aabort abort abort abort abort abort abort abort (?:timeout|cut) ok /, 'all noted') or diag $states;
done_testing;
