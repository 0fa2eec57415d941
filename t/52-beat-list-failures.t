# Defects of mod_proxy_fcgi and its balancer when a server fails, is full or is left alone: what is executed twice, what arrives
# without its body, who waits for whom. And the index of the whole list: each number is shown somewhere, or says why not.

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Client;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $root = site('www',
    'hello.php' => '<?php echo "hello";',
    'die.php'   => '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); posix_kill(getmypid(), 9); sleep(5);',
    'dots.php'  => '<?php while (ob_get_level()) ob_end_flush(); $n = 0;'
        . ' register_shutdown_function(function () use (&$n) { file_put_contents($_GET["mark"] . ".new", ($n == 60 ? "to its end" : "aborted") . " " . connection_status());'
        . ' rename($_GET["mark"] . ".new", $_GET["mark"]); });'
        . ' file_put_contents($_GET["mark"] . ".begun", ""); while ($n < 60) { $n++; echo "."; flush(); usleep(50000); }',
    (map { ("$_/x.php" => '<?php') } qw(first patient full once busy checked)),
);
my $run = test_dir() . '/run';
mkdir $run;
my $second  = start_fake("$run/second.sock", 'body');
my $dies    = start_fake("$run/dies.sock", 'lost');
my @patient = map { start_fake("$run/patient-$_.sock") } qw(ours peer);
my $once    = start_fake("$run/once.sock");
my %busy    = map { $_ => start_fake("$run/$_.sock") } qw(busy-one busy-two checked);
my $daemon  = start_daemon(conf => { www => {}, one => { 'pm.max_children' => 1 } });
my $fpm     = start_php_fpm(conf => { www => {}, twin => {}, one => { 'pm.max_children' => 1 } });
allow_log(qr/FPMP00(?:64|72|77): /, qr/exited on signal 9/);

my ($ours, $peer) = start_pair($root,
    peer_modules => [qw(slotmem_shm lbmethod_byrequests lbmethod_bybusyness proxy_balancer proxy_hcheck)],
    ours         => <<"EOF_CONF",
FpmPool www
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
FpmPoolTimeout connect=1s
FpmPoolSocketDir $run
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]}
</FpmPoolDefine>
<FpmPoolDefine one>
    FpmPoolServer unix:@{[ $daemon->listen_address('one') ]}
</FpmPoolDefine>
<FpmPoolDefine dies>
    FpmPoolServer unix:$run/dies.sock
    FpmPoolServer unix:$run/second.sock
    FpmPoolBalance first
</FpmPoolDefine>
<FpmPoolDefine busy>
    FpmPoolServer unix:$run/busy-one.sock type=generic
    FpmPoolServer unix:$run/busy-two.sock type=generic
</FpmPoolDefine>
<FpmPoolDefine checked>
    FpmPoolServer unix:$run/checked.sock type=generic
    FpmPoolCheck ping interval=100ms
</FpmPoolDefine>
<Location "/first/">
    FpmPool dies
</Location>
<Location "/busy/">
    FpmPool busy
</Location>
<Location "/checked/">
    FpmPool checked nowhere
</Location>
<Location "/patient/">
    FpmPool patient-ours
</Location>
<Location "/full/">
    FpmPool full
</Location>
<Location "/once/">
    FpmPool once
</Location>
<If "%{QUERY_STRING} == 'one'">
    FpmPool one
</If>
EOF_CONF
    peer => <<"EOF_CONF",
ProxyTimeout 8
<Proxy "unix:$run/full.sock|fcgi://full/" timeout=1 connectiontimeout=1>
</Proxy>
<Proxy "balancer://fake">
    BalancerMember "unix:$run/dies.sock|fcgi://dies/"
    BalancerMember "unix:$run/second.sock|fcgi://second/" status=+H
</Proxy>
<Proxy "balancer://php">
    BalancerMember "unix:@{[ $fpm->listen_address('www') ]}|fcgi://www/"
    BalancerMember "unix:@{[ $fpm->listen_address('twin') ]}|fcgi://twin/"
</Proxy>
<Proxy "unix:@{[ $fpm->listen_address('one') ]}|fcgi://one/" enablereuse=on>
</Proxy>
<FilesMatch "\\.php\$">
    SetHandler "proxy:balancer://php/"
</FilesMatch>
<Proxy "balancer://busy">
    BalancerMember "unix:$run/busy-one.sock|fcgi://busy-one/"
    BalancerMember "unix:$run/busy-two.sock|fcgi://busy-two/"
    ProxySet lbmethod=bybusyness
</Proxy>
<Proxy "balancer://checked">
    BalancerMember "unix:$run/checked.sock|fcgi://localhost/" hcmethod=TCP hcinterval=1
</Proxy>
<Location "/busy/">
    SetHandler "proxy:balancer://busy/"
</Location>
<Location "/checked/">
    SetHandler "proxy:balancer://checked/"
</Location>
<Location "/first/">
    SetHandler "proxy:balancer://fake/"
</Location>
<Location "/patient/">
    SetHandler "proxy:unix:$run/patient-peer.sock|fcgi://patient/"
</Location>
<Location "/full/">
    SetHandler "proxy:unix:$run/full.sock|fcgi://full/"
</Location>
<If "%{QUERY_STRING} == 'one'">
    SetHandler "proxy:unix:@{[ $fpm->listen_address('one') ]}|fcgi://one/"
</If>
EOF_CONF
);
my %of = (ours => $ours, peer => $peer);
sub each_of { my ($code) = @_; return map { my $httpd = $of{$_}; ($_ => sub { $code->($httpd) }) } qw(ours peer) }

# ---- a server that fails

defect('D1', 'a POST that fails over arrives without its body',
    peer  => sub { show(http($peer->url('/first/x.php'), method => 'POST', body => 'b' x 1000)) },
    wrong => qr/^200 .*: 0 \w{32} 1000 none$/,
    ours  => sub { show(http($ours->url('/first/x.php'), method => 'POST', body => 'b' x 1000)) },
    right => qr/^200 .*: 1000 @{[ md5_hex('b' x 1000) ]} 1000 none$/);

subtest 'D1: a POST that goes to a second connection arrives whole' => sub {
    my $go = "$marks/go";
    for my $body ('b' x 1000, 'm' x 100_000, [ ('c' x 9_000) x 5 ]) {
        my $text = ref $body ? join '', @$body : $body;
        my $from = $once->log_length;
        unlink $go;
        is(http($ours->url("/once/x.php?do=once&go=$go"))->{status}, 200, 'a connection is kept');
        write_file($go, '');
        $once->wait_log(qr/left/, 5, $from);
        like(http($ours->url('/once/x.php?do=body'), method => 'POST', body => $body)->{body}, qr/^@{[ length $text ]} @{[ md5_hex($text) ]} /, '... and closed by the server: ' . length($text) . ' bytes arrive on the next');
    }
};

defect('D2', 'a POST whose worker dies is executed again',
    each_of(sub {
        my ($httpd) = @_;
        my $mark = "$marks/die-" . $httpd->name;
        my $status = http($httpd->url("/die.php?mark=$mark"), method => 'POST', body => 'pay=100')->{status};
        return "$status, executed " . length(read_file($mark)) . ' times; the next request ' . http($httpd->url('/hello.php'))->{status};
    }),
    wrong => qr/^503, executed 2 times; /, right => qr/^502, executed 1 times; the next request 200$/);

defect('D6', 'a check of a unix socket goes somewhere else and takes the healthy socket out',
    each_of(sub {
        my ($httpd) = @_;
        my $last;
        eval { wait_for { ($last = http($httpd->url('/checked/x.php?do=who'))->{status}) != 200 } 4, 'a healthy server out of use' };
        return $last;
    }),
    wrong => qr/^503$/, right => qr/^200$/);

allow_log(qr/AH00052: child pid \d+ exit signal Killed|AH10392|AH10159/);
defect('D21', 'a child that dies with a request leaves its server busy for ever',
    each_of(sub {
        my ($httpd) = @_;
        my $go = "$marks/busy-" . $httpd->name;
        my $from = $busy{'busy-one'}->log_length + $busy{'busy-two'}->log_length;
        my $http = http_connect(port => $httpd->port);
        $http->send_request(GET => "/busy/x.php?do=who&go=$go");
        wait_for { $busy{'busy-one'}->log_length + $busy{'busy-two'}->log_length > $from } 10, 'the request at a server';
        kill KILL => children($httpd->pid);
        wait_for { eval { http($httpd->url('/hello.php'))->{status} == 200 } } 20, 'the next children';
        write_file($go, '');
        # Of one connection httpd reads the next request when the one before is over for its counts too, not only for the client.
        my $next = http_connect(port => $httpd->port);
        my %got;
        $got{ $next->exchange(GET => '/busy/x.php?do=who')->{body} }++ for 1 .. 20;
        return join ' ', sort { $a <=> $b } values %got;
    }),
    wrong => qr/^20$/, right => qr/^10 10$/);

# ---- who waits

{
    my ($listener, @waiting) = full_listener("$run/full.sock");
    defect('D7', 'a full listen queue holds a request beyond all time limits',
        each_of(sub {
            my ($httpd) = @_;
            my $http = http_connect(port => $httpd->port);
            $http->send_request(GET => '/full/x.php', headers => [ Connection => 'close' ]);
            return within(5, sub { show($http->read_answer(5)) });
        }),
        wrong => qr/^nothing in 5 s$/, right => qr/^503 /);
    unlink "$run/full.sock";
}

my %patience = (ours => $patient[0], peer => $patient[1]);
defect('D8', 'nobody tells the server that the client has gone',
    (map { my ($side, $httpd) = ($_, $of{$_}); ($_ => sub {
        my $from = $patience{$side}->log_length;
        my $http = http_connect(port => $httpd->port);
        $http->send_request(GET => '/patient/x.php?do=silence');
        $patience{$side}->wait_log(qr/request silence/, 5, $from);
        $http->close;
        return eval { $patience{$side}->wait_log(qr/the connection was closed/, 3, $from) } ? 'the server hears of it' : 'nothing in 3 s';
    }) } qw(ours peer)),
    wrong => qr/^nothing in 3 s$/, right => qr/^the server hears of it$/);

defect('D8', 'a script runs to its end for a client that has gone',
    each_of(sub {
        my ($httpd) = @_;
        my $mark = "$marks/dots-" . $httpd->name;
        my $http = http_connect(port => $httpd->port);
        $http->send_request(GET => "/dots.php?mark=$mark");
        wait_for { -e "$mark.begun" } 10, 'the script to begin';
        $http->close;
        wait_for { -e $mark } 20, 'its end';
        return read_file($mark);
    }),
    wrong => qr/^to its end 0$/, right => qr/^aborted 1$/);

defect('D20', 'an idle connection that may be reused holds a worker',
    (map { my ($httpd, $server) = ($of{ $_->[0] }, $_->[1]); ($_->[0] => sub {
        my $status = http($httpd->url('/hello.php?one'))->{status};
        return "$status, the next client: " . within(2, sub { php_request($server, "$root/hello.php", pool => 'one', timeout => 2)->{body} });
    }) } [ ours => $daemon ], [ peer => $fpm ]),
    wrong => qr/^200, the next client: nothing in 2 s$/, right => qr/^200, the next client: hello$/);

subtest 'the list is complete' => sub { my $here = dirname(__FILE__); defects_elsewhere(glob("$here/52-beat-list*.t"), "$here/53-module-calls.t") };
done_testing();
