# Pools whose servers are other hosts, over TCP: who gets requests, hosts that vanish without a word (no RST), come back,
# answer into the void, die during POSTs; clients that are not allowed; connections to httpds that vanished.
# long: 53 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Hosts;
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $root = site('www',
    'who.php'   => '<?php echo $_SERVER["SERVER_ADDR_OF_POOL"] ?? getenv("HOST_NAME");',
    'order.php' => '<?php file_put_contents($_GET["mark"], getenv("HOST_NAME") . "\n", FILE_APPEND); usleep(20000); echo "order";',
    'slow.php'  => '<?php file_put_contents($_GET["mark"], getenv("HOST_NAME") . "\n", FILE_APPEND); while (!file_exists($_GET["go"])) { usleep(20000); clearstatcache(); } echo "slow";',
    'body.php'  => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);',
    'large.php' => '<?php for ($i = 0; $i < 320; $i++) { echo str_repeat(chr(97 + $i % 26), 65536); }',
);
my %host = (a => start_host('a', 11), b => start_host('b', 12), c => start_host('c', 13), d => start_host('d', 14));
my $stranger = start_host('stranger', 20);
my $lost     = start_host('lost', 21);

sub start_pool {
    my ($name, %more) = @_;
    return start_daemon(
        name => "daemon-$name", prefix => $host{$name}->prefix,
        conf => {
            global => { process_control_timeout => '2s' },
            www    => { listen => '[::]:9000', 'pm.max_children' => 4, 'env[HOST_NAME]' => $name,
                'listen.allowed_clients' => '10.0.0.10,fd00:10::10,10.0.0.21', 'php_admin_value[post_max_size]' => '64M', 'php_admin_value[memory_limit]' => '256M', %more },
        },
    );
}
my %daemon = map { $_ => start_pool($_) } qw(a b c d);

sub pool {
    my ($name, $servers, @lines) = @_;
    my %address = map { $_ => "tcp://" . $host{$_}->v4 . ':9000' } keys %host;
    return "<FpmPoolDefine $name>\n" . join('', map { "    $_\n" } (map { 'FpmPoolServer ' . ($address{$_} // $_) . (/^\w$/ ? " name=$_" : '') } @$servers), @lines)
        . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}
my $check = 'FpmPoolCheck ping interval=400ms fast=200ms down=300ms timeout=500ms rise=2 fall=2';
my $httpd = start_httpd(
    docroot => $root,
    conf    => "FpmPoolTimeout connect=1s first=8s\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
        . pool('all', [qw(a b c)], $check, 'FpmPoolRetry idempotent')
        . pool('plain', [qw(a b c)], 'FpmPoolHealth fails=2 retry=500ms..2s', 'FpmPoolBalance roundrobin')
        . pool('first', [qw(a b)], 'FpmPoolBalance first', 'FpmPoolRetry idempotent', 'FpmPoolHealth fails=50')
        . pool('alone', [qw(c)])
        . pool('patient', [qw(d)], 'FpmPoolTimeout first=10min')
        . pool('six', [ map { "tcp://[" . $host{$_}->v6 . "]:9000" } qw(a b c) ])
        . pool('refused', ['tcp://10.0.0.12:9001']),
);

sub get { my ($target, %option) = @_; return http($httpd->url($target), timeout => 40, %option) }

sub spread {
    my ($pool, $requests) = @_;
    my %got;
    $got{ get("/$pool/who.php")->{body} }++ for 1 .. $requests;
    return join ' ', map { "$_=$got{$_}" } sort keys %got;
}

sub lines { my ($mark) = @_; return -e $mark ? scalar(() = read_file($mark) =~ /\n/g) : 0 }

# A script that computes for long on a host that will vanish.
my $patient = http_connect(port => $httpd->port, timeout => 90);
$patient->send_request(GET => "/patient/slow.php?mark=$marks/patient&go=$marks/never", headers => [ Connection => 'close' ]);
wait_for { lines("$marks/patient") } 10, 'a script that runs';
$host{d}->cut;

# Workers of a pool that have a request.
sub busy { my ($name) = @_; return scalar grep { $_->{state} !~ /\A(?:idle|free)/i } @{ FPMPool::Board::look($daemon{$name}, 'www')->{slots} } }

# An httpd that will vanish: a connection that it has kept, and one on which it does not read on.
my $vanish  = sub {
    my $script = <<'PERL';
use strict; use warnings; use lib $ARGV[0]; use FPMPool::Client; use IO::Socket::INET;
my $root = $ARGV[1];
my @client = map { FPMPool::Client->connect('10.0.0.13:9000') } 1 .. 2;
$client[0]->send_request(script => "$root/who.php", keep => 1);
$client[0]->read_answer;
$client[1]->send_request(script => "$root/large.php", keep => 1);
$| = 1; print "[lost] [peer:notice] ready\n"; sleep 1000;
PERL
    write_file('vanish.pl', $script);
    return start_service(kind => 'peer', name => 'lost-httpd', prefix => $lost->prefix,
        argv => [ $^X, test_dir() . '/vanish.pl', dirname(__FILE__) . '/lib', $root ])->expect_end;
};
my $gone = $vanish->();
$gone->wait_log(qr/ready/);
my $connections_of = sub { my ($host, $peer) = @_; return scalar grep { /ESTAB/ } split /\n/, $host->output('ss', '-Htn', 'dst', "[::ffff:$peer]") };
is((wait_for { $connections_of->($host{c}, '10.0.0.21') == 2 } 10, 'two connections'), 1, 'another httpd has two connections');
is((wait_for { busy('c') == 1 } 10, 'the download'), 1, '... on one a worker writes and cannot go on');
$lost->cut;

subtest 'requests are distributed' => sub {
    is(spread('all', 30), 'a=10 b=10 c=10', 'least: equal shares of three hosts');
    is(spread('plain', 30), 'a=10 b=10 c=10', 'roundrobin too');
    is(spread('six', 30), 'a=10 b=10 c=10', 'IPv6 addresses');
    is($httpd->log_text =~ /FPMP00(?:73|85)/, '', 'nothing is said');
};

subtest 'large bodies' => sub {
    my $body   = join '', map { chr(97 + $_ % 26) x 65536 } 0 .. 319;
    my $answer = get('/all/body.php', method => 'POST', body => $body);
    is($answer->{body}, length($body) . ' ' . md5_hex($body), 'an upload of 20 MiB');
    $answer = get('/all/body.php', method => 'POST', body => [ map { substr $body, $_ * 1_000_000, 1_000_000 } 0 .. 9 ]);
    is($answer->{body}, '10000000 ' . md5_hex(substr $body, 0, 10_000_000), '... in chunks');
    $answer = get('/all/large.php');
    is(md5_hex($answer->{body}), md5_hex($body), 'a download of 20 MiB');
};

subtest 'clients that are not allowed' => sub {
    write_file('stranger.pl', 'use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "10.0.0.12:9000", Timeout => 5) or die; print "answer: ", sysread($s, my $b, 10) // "reset", "\n";');
    like($stranger->output($^X, test_dir() . '/stranger.pl'), qr/^answer: (?:0|reset)$/m, 'are closed at once');
    allow_log(qr/Connection disallowed: IP address '::ffff:10\.0\.0\.20' has been dropped/);
    ok(eval { $daemon{b}->wait_log(qr/IP address '::ffff:10\.0\.0\.20' has been dropped/) }, '... and named in the log');
};

subtest 'a host vanishes' => sub {
    allow_log(qr/FPMP00(?:64|73|85): pool (?:first|plain|all)/);
    my $from = $httpd->log_length;
    spread('first', 1);    # a connection is kept
    $host{a}->cut;
    # a time limit would be 504: it is never a reason to go on
    my $answer = get('/first/who.php');
    is("$answer->{status} $answer->{body}", '200 b', 'a page on a kept connection: its bytes are never acknowledged, it goes on to another host');
    $answer = get('/first/who.php');
    is("$answer->{status} $answer->{body}", '200 b', 'a page without a kept connection: connect= passes, it goes on');
    ok(eval { $httpd->wait_log(qr/FPMP0085: pool all: tcp:\S*10\.0\.0\.11\S* counts as down/, 10, $from) }, 'checks take it out');
    is(spread('all', 20), 'b=10 c=10', 'the others have its share');
    is(scalar(() = $httpd->log_text($from) =~ /FPMP0085: pool all/g), 1, 'one line says so');
    my %status;
    $status{ get('/plain/order.php?mark=' . "$marks/plain", method => 'POST', body => 'x')->{status} }++ for 1 .. 12;
    is(join(' ', map { "$_=$status{$_}" } sort keys %status), '200=12', 'without checks, POSTs on fresh connections: not one is lost');
    is(lines("$marks/plain"), 12, '... nor executed twice');
    $host{a}->repair;
    ok(eval { $httpd->wait_log(qr/FPMP0086: pool all/, 20, $from) }, 'repaired: checks bring it back');
    is(scalar(() = $httpd->log_text($from) =~ /FPMP0086: pool all/g), 1, '... one line says so');
    is((wait_for { spread('all', 9) eq 'a=3 b=3 c=3' } 20, 'equal shares'), 1, '... and it has its share again');
};

subtest 'a host hears and cannot answer' => sub {
    # what it got may have been executed: a POST is never sent again
    get('/first/who.php');
    wait_for { get('/first/who.php')->{body} eq 'a' } 20, 'host a';
    $host{a}->mute;
    my $answer = get("/first/order.php?mark=$marks/mute", method => 'POST', body => 'x', headers => []);
    like($answer->{status}, qr/^(?:200|502)$/, "the client of a POST has an answer ($answer->{status})");
    wait_for { lines("$marks/mute") } 10, 'the POST';
    is(lines("$marks/mute"), 1, '... it was executed once');
    is(get('/first/who.php')->{body}, 'b', 'a page goes on');
    $host{a}->speak;
    is((wait_for { get('/first/who.php')->{body} eq 'a' } 20, 'host a'), 1, 'it is back');
};

subtest 'a host dies during POSTs' => sub {
    allow_log(qr/FPMP00(?:63|64|73|85): /, qr/pool process \d+ exited on signal 9/);
    my @sent;
    my $from = $httpd->log_length;
    my %of;
    for my $n (1 .. 60) {
        my $http = http_connect(port => $httpd->port, timeout => 40);
        $http->send_request(POST => "/all/order.php?mark=$marks/post-$n", body => "order $n", headers => [ Connection => 'close' ]);
        push @sent, $http;
        if ($n == 30) {
            wait_for { grep { lines("$marks/post-$_") } 1 .. 30 } 10, 'the first order';
            $host{b}->cut;    # as when the power fails: nobody is told
            kill KILL => descendants($daemon{b}->pid), $daemon{b}->pid;
            $daemon{b}->crash;
        }
    }
    my %status;
    for my $n (1 .. 60) {
        my $answer = $sent[ $n - 1 ]->read_answer;
        $status{ $answer->{status} }++;
        $of{$n} = $answer->{status};
    }
    is(join(' ', grep { !/^(?:200|502|504)$/ } keys %status), '', 'every client has an answer: ' . join ' ', map { "$_=$status{$_}" } sort keys %status);
    is(join(' ', grep { lines("$marks/post-$_") > 1 } 1 .. 60), '', 'no order was executed twice');
    is(join(' ', grep { $of{$_} == 200 && lines("$marks/post-$_") != 1 } 1 .. 60), '', 'what was answered 200 was executed once');
    ok($status{200} >= 30, 'most orders went through');
    is(spread('all', 10), 'a=5 c=5', 'the others go on');
    $host{b}->repair;
    $daemon{b} = start_pool('b');
    ok(eval { $httpd->wait_log(qr/FPMP0086: pool all/, 20, $from) }, 'started again: checks bring it back');
};

subtest 'distance and loss' => sub {
    plan(skip_all => 'this kernel has no netem') unless $host{a}->weather(qw(delay 40ms 10ms loss 3%));
    my %status;
    $status{ get('/all/who.php')->{status} }++ for 1 .. 40;
    is(join(' ', map { "$_=$status{$_}" } sort keys %status), '200=40', 'every page comes');
};

subtest 'a script was running on a host that vanished' => sub {
    allow_log(qr/FPMP0064: pool patient/);
    is($patient->read_answer->{status}, 502, 'its client has an answer long before first=10min');
    like($httpd->log_text, qr/FPMP0064: pool patient/, '... and the log says that the connection was lost');
    kill KILL => descendants($daemon{d}->pid), $daemon{d}->pid;
    $daemon{d}->crash;
};

subtest 'an httpd that vanished holds nothing' => sub {
    # it is looked for when nothing was heard for 30 s, and asked four times
    is((wait_for { busy('c') == 0 } 90, 'the worker'), 1, 'the worker that wrote to it is free');
    is((wait_for { $connections_of->($host{c}, '10.0.0.21') == 0 } 90, 'the end of its connections'), 1, 'its connections are closed');
    is(get('/alone/who.php')->{body}, 'c', 'the pool goes on');
};

done_testing();
