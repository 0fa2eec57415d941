# FpmPoolHealth and what follows from it: which failures of requests take a server out, statuses that are failures, what
# happens when all are out (FpmPoolAllDown), and how a server that came back gets its share (slowstart=).

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root = site('www', map { ($_ => '<?php') } 'x.php', map { "$_.php" } 'a' .. 'z');
my $run  = test_dir() . '/run';
mkdir $run;
my %peer = map { $_ => start_peer($_) } qw(one two);
my $good = start_peer('good', 'who');
allow_log(qr/FPMP00(?:57|63|64|73|85|87|69): /);

sub start_peer {
    my ($name, @always) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name", argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock", @always ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

sub pool {
    my ($name, $servers, @lines) = @_;
    return "<FpmPoolDefine $name>\n" . join('', map { "    FpmPoolServer unix:$run/$_ type=generic\n" } @$servers) . join('', map { "    $_\n" } @lines) . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}

my $long = 'retry=60s..60s';
my $conf = "LogLevel fpmpool:info\nFpmPoolSocketDir $run\nFpmPool good\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
    . pool('crowd',    [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth $long", 'FpmPoolRetry off')
    . pool('rate',     [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=50 rate=40 $long", 'FpmPoolRetry off')
    . pool('tolerant', [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=50 rate=0 $long", 'FpmPoolRetry off')
    . pool('status',   [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=3 status=500,503 $long")
    . pool('elsewhere', [ 'one.sock', 'good.sock' ], "FpmPoolHealth fails=50 rate=0 status=500", 'FpmPoolBalance first', 'FpmPoolRetry idempotent')
    . pool('lonely',   [ 'one.sock' ], 'FpmPoolHealth fails=50 rate=0 status=500', 'FpmPoolRetry idempotent')
    . pool('mute',     [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=3 $long", 'FpmPoolTimeout first=150ms')
    . pool('begun',    [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=3 $long", 'FpmPoolTimeout idle=150ms')
    . pool('busy',     [ 'one.sock', 'good.sock backup' ], "FpmPoolHealth fails=3 rate=0 $long", 'FpmPoolTimeout first=700ms')
    . pool('tried',    [ 'one.sock name=a' ], "FpmPoolHealth fails=2 $long", 'FpmPoolRetry off')
    . pool('refused',  [ 'one.sock name=a' ], "FpmPoolHealth fails=2 $long", 'FpmPoolRetry off', 'FpmPoolAllDown refuse')
    . "Alias /spare $root\n<Location /spare>\n    FpmPool refused tried\n</Location>\n"
    . pool('restarted', [ 'restarted.sock', 'good.sock backup' ], 'FpmPoolHealth retry=60s..60s rate=20')
    . pool('slow',     [ 'two.sock slowstart=1h', 'good.sock' ], 'FpmPoolBalance roundrobin', 'FpmPoolHealth fails=1')
    . pool('quick',    [ 'two.sock', 'good.sock' ], 'FpmPoolBalance roundrobin', 'FpmPoolHealth fails=1');
my %mpm = (event => "StartServers 2\nServerLimit 2\nThreadsPerChild 8\nMaxRequestWorkers 16\nMinSpareThreads 8\nMaxSpareThreads 16\n", prefork => "StartServers 4\n");

for my $mpm (qw(event prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf . $mpm{$mpm});
    my $get   = sub { my ($pool, $what, %option) = @_; my $script = delete $option{script} // 'x'; return http($httpd->url("/$pool/$script.php?do=" . ($what // 'who')), %option) };
    my $downs = sub { my ($pool) = @_; return scalar(() = $httpd->log_text =~ /FPMP0085: pool $pool: /g) };

    subtest "$mpm: many see it at once" => sub {
        for my $round (1 .. 5) {
            my @at_once = map { http_connect(port => $httpd->port, timeout => 20) } 1 .. 16;
            $_->send_request(GET => "/crowd/x.php?do=garbage", headers => [ Connection => 'close' ]) for @at_once;
            $_->read_answer for @at_once;
        }
        is($downs->('crowd'), 1, 'eighty failures in all children, one line');
        is($get->('crowd')->{body}, 'good', '... requests go elsewhere');
    };

    subtest "$mpm: the share of failures" => sub {
        for my $n (1 .. 9) {
            $get->($_, 'garbage'), $get->($_), for qw(rate tolerant);
        }
        is($downs->('rate'), 0, '9 of 18: fewer than 20 requests say nothing');
        $get->('rate', 'garbage') for 1 .. 2;
        $get->('tolerant', 'garbage') for 1 .. 2;
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool rate: \S+ counts as down: more than 40 % of its requests fail; the others/, 10) }, '11 of 20: down, with the reason');
        is($get->('rate')->{body}, 'good', '... requests go elsewhere');
        is($get->('tolerant')->{body}, 'one', 'rate=0: answers between them are enough');
        is($downs->('rate'), 1, 'one line');
    };

    subtest "$mpm: statuses" => sub {
        is($get->('status', 'status&text=500')->{status}, 500, 'a listed status is passed on') for 1 .. 2;
        is($get->('status', 'status&text=502')->{status}, 502, 'another one is an answer');
        is($get->('status', 'status&text=500')->{status}, 500, 'it counts from the start') for 1 .. 2;
        is($downs->('status'), 0, '... up');
        is($get->('status', 'status&text=503')->{status}, 503, 'the third in a row');
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool status: \S+ counts as down: it answers with status 503; the others/, 10) }, '... takes it out');
        is($get->('status')->{body}, 'good', '... requests go elsewhere');

        my $answer = $get->('elsewhere', 'status&text=500');
        is("$answer->{status} $answer->{body}", '200 good', 'idempotent and listed: another server is asked');
        my $from = $good->log_length;
        is($get->('elsewhere', 'status&text=500', method => 'POST', body => 'a=b')->{status}, 500, 'POST: never');
        unlike($good->log_text($from), qr/POST/, '... and nobody else had it');
        is($get->('elsewhere', 'status&text=404')->{status}, 404, 'a status that is not listed is an answer');
        $answer = $get->('lonely', 'status&text=500');
        is("$answer->{status} $answer->{body}", '500 body', 'no other server: the answer of the only one');
    };

    subtest "$mpm: time limits" => sub {
        is($get->('mute', 'silence')->{status}, 504, 'nobody is answered: 504') for 1 .. 4;
        is($downs->('mute'), 0, 'one and the same page counts once');
        is($get->('mute', 'silence', script => 'b')->{status}, 504, 'another one');
        ok(eval { $httpd->wait_log(qr/FPMP0085: pool mute: \S+ counts as down: it answers nobody within the time limits; the others/, 10) }, '... takes it out: each counts double');
        is($get->('mute')->{body}, 'good', '... requests go elsewhere');
        is(eval { $get->('begun', 'pause', script => $_)->{complete} } || 0, 0, "begun and not ended ($_)") for 'a' .. 'd';
        is($downs->('begun'), 0, '... is a slow page, not a server that answers nobody');
        for my $script ('a' .. 'f') {
            my $slow = http_connect(port => $httpd->port, timeout => 20);
            $slow->send_request(GET => "/busy/$script.php?do=silence");
            wait_for { $peer{one}->log_text =~ /request silence/ } 10, 'it';
            my $end = 0;
            until ($end) {    # others are answered meanwhile
                is($get->('busy')->{body}, 'one', 'answered') unless $end++ > 0;
                $end = IO::Select->new($slow->{socket})->can_read(0.1) ? 1 : 0;
                $get->('busy') unless $end;
            }
            is($slow->read_answer->{status}, 504, 'a slow page');
        }
        is($downs->('busy'), 0, 'a server that answers others is busy, not dead');
    };

    subtest "$mpm: all are down" => sub {
        $get->($_, 'garbage') for (qw(tried refused)) x 2;
        is($downs->($_), 1, "$_: down") for qw(tried refused);
        is($get->('tried')->{body}, 'one', 'the one that failed longest ago is asked, and answers');
        my $from   = $peer{one}->log_length;
        my $answer = $get->('refused');
        is("$answer->{status} $answer->{headers}{'retry-after'}", '503 5', 'FpmPoolAllDown refuse: 503');
        unlike($peer{one}->log_text($from), qr/request/, '... and nobody was asked');
        is($get->('spare')->{body}, 'one', '... a fallback serves');
    };

    subtest "$mpm: a daemon that is restarted again and again" => sub {
        for my $round (1 .. 8) {
            my $peer = start_peer('restarted');
            ok((wait_for { $get->('restarted')->{body} eq 'restarted' } 10, 'it'), "start $round: it gets requests");
            $peer->stop;
            is($get->('restarted')->{body}, 'good', '... stopped: the backup') for 1 .. 5;
        }
        unlike($httpd->log_text, qr/FPMP0085: pool restarted: .* % of its requests/, 'its share of failures is not looked at: it is back as soon as it listens');
    };

    subtest "$mpm: slowstart" => sub {
        my $shares = sub { my ($pool) = @_; my %got; $got{ $get->($pool)->{body} }++ for 1 .. 60; return \%got };
        is_deeply($shares->($_), { two => 30, good => 30 }, "$_: equal shares of servers that were never down") for qw(slow quick);
        $peer{two}->stop;
        $get->($_) for (qw(slow quick)) x 3;
        is($downs->($_), 1, "$_: one is down") for qw(slow quick);
        $peer{two} = start_peer('two');
        my $from = $httpd->log_length;
        wait_for { $get->($_)->{body} eq 'two' } 10, "$_: back" for qw(slow quick);
        my $got = $shares->('slow');
        cmp_ok($got->{two} // 0, '<=', 2, 'it came back a moment ago: hardly any requests') or diag explain $got;
        is_deeply($shares->('quick'), { two => 30, good => 30 }, 'without slowstart= all of its share');
        $httpd->signal('USR1');
        is((wait_for { my $answer = eval { $get->('quick') }; $answer && $answer->{status} == 200 } 20, 'the restart'), 1, 'a graceful restart');
        cmp_ok($shares->('slow')->{two} // 0, '<=', 2, '... does not warm it');
    };
    $httpd->stop;
}

done_testing();
