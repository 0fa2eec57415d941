# Pools of several servers: who gets a request, over all children of httpd: weights, limits, groups, backups, hashes and
# cookies. Scripted peers are the servers; each says its name.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;
use IO::Select;

my $root = site('www', 'x.php' => '<?php');
my $run  = test_dir() . '/run';
my $port = free_port();
mkdir $run;
my %peer = map { $_ => start_peer($_) } qw(a b c);

sub start_peer {
    my ($name) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name", argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock" ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

sub pool {
    my ($name, $server, @more) = @_;
    my $text = "<FpmPoolDefine $name>\n";
    for my $peer (sort keys %$server) { $text .= "    FpmPoolServer unix:$run/$peer.sock name=$peer type=generic $server->{$peer}\n" }
    return $text . join('', map { "    $_\n" } @more) . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}

my $conf = "FpmPoolSocketDir $run\nFpmPool a\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
    . pool('equal', { a => '', b => '', c => '' })
    . pool('turns', { a => 'weight=3', b => 'weight=2', c => '' }, 'FpmPoolBalance roundrobin')
    . pool('heavy', { a => 'weight=3', b => '' })
    . pool('limited', { a => 'max=3', b => 'max=2' })
    . pool('first', { a => 'max=2', b => 'max=1', c => '' }, 'FpmPoolBalance first')
    . pool('tiers', { a => 'group=2', b => 'group=1 max=1', c => 'backup' })
    . pool('hashed', { a => '', b => '', c => '' }, 'FpmPoolBalance hash "%{QUERY_STRING}"')
    . pool('tied', { a => '', b => 'max=1', c => '' }, 'FpmPoolBalance sticky ROUTE')
    . pool('strict', { a => '', b => 'max=1' }, 'FpmPoolBalance sticky ROUTE strict')
    . pool('lone', { a => 'max=1' })
    . pool('mine', { a => 'max=1' })
    . "<Location /mine>\n    FpmPool mine equal\n</Location>\n";

my %mpm = (
    event   => "StartServers 3\nServerLimit 4\nThreadsPerChild 8\nMinSpareThreads 4\nMaxSpareThreads 32\nMaxRequestWorkers 32\n",
    prefork => "StartServers 8\nMinSpareServers 4\nMaxSpareServers 16\nMaxRequestWorkers 32\n",
);

for my $mpm (qw(event prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf . $mpm{$mpm});
    my $who = sub { my ($pool, %option) = @_; my $more = delete $option{more} // ''; return http($httpd->url("/$pool/x.php?do=who$more"), %option) };
    my $count = sub {
        my ($pool, $requests) = @_;
        my %got;
        $got{ $who->($pool)->{body} }++ for 1 .. $requests;
        return join ' ', map { "$_=$got{$_}" } sort keys %got;
    };
    my $round = 0;

    # Requests that wait in their servers until let_go; returns how many of them are where.
    my (@held, $go);
    my $hold = sub {
        my ($pool, $requests, %option) = @_;
        $go //= test_dir() . "/go-$mpm-" . ++$round;
        my %from = map { $_ => $peer{$_}->log_length } keys %peer;
        my $text;
        my $arrived = sub {
            my ($least) = @_;
            wait_for {
                my %got = map { $_ => scalar(() = $peer{$_}->log_text($from{$_}) =~ /request who/g) } keys %peer;
                $text = join ' ', map { "$_=$got{$_}" } grep { $got{$_} } sort keys %got;
                my $sum = 0;
                $sum += $_ for values %got;
                $sum >= $least;
            } 20, 'the requests at their servers';
        };
        my $in_turn = delete $option{in_turn};
        for my $n (1 .. $requests) {
            my $http = http_connect(port => $httpd->port, timeout => 20);
            $http->send_request(GET => "/$pool/x.php?do=who&go=$go", %option);
            push @held, $http;
            $arrived->($n) if $in_turn;
        }
        $arrived->($requests);
        return $text;
    };
    my $let_go = sub {
        write_file($go, '');
        my %status;
        $status{ $_->read_answer->{status} }++ for @held;
        (@held, $go) = ();
        return join ' ', map { "$_=$status{$_}" } sort keys %status;
    };

    subtest "$mpm: shares" => sub {
        is($count->('equal', 60), 'a=20 b=20 c=20', 'servers of the same weight: equal shares over all children');
        is($count->('turns', 60), 'a=30 b=20 c=10', 'roundrobin: shares by weight');
        is($count->('heavy', 40), 'a=30 b=10', 'least, one after another: shares by weight too');
        is($hold->('equal', 9, in_turn => 1), 'a=3 b=3 c=3', 'least, at the same time: equal loads');
        is($let_go->(), '200=9', '... all answered');
        is($hold->('heavy', 12, in_turn => 1), 'a=9 b=3', '... by weight');
        is($let_go->(), '200=12', '... all answered');
        is($count->('first', 5), 'a=5', 'first: the first');
        is($hold->('first', 5), 'a=2 b=1 c=2', '... as long as it has room');
        is($let_go->(), '200=5', '... all answered');
    };

    subtest "$mpm: limits" => sub {
        is($hold->('limited', 5), 'a=3 b=2', 'max= is kept over all children');
        my $from   = $httpd->log_length;
        my $answer = $who->('limited');
        is("$answer->{status} " . ($answer->{headers}{'retry-after'} // ''), '503 5', 'one more is 503 with Retry-After');
        ok(eval { $httpd->wait_log(qr/\[fpmpool:warn\].*FPMP0089: pool limited: .*max=/, 5, $from) }, '... and the log says why');
        is($let_go->(), '200=5', 'the others were not disturbed');
        is($hold->('limited', 5), 'a=3 b=2', 'and the places are free again');
        is($let_go->(), '200=5', '... all answered');
        $go = test_dir() . "/go-$mpm-" . ++$round;
        my $start = $peer{a}->log_length;
        @held = map { http_connect(port => $httpd->port, timeout => 20) } 1 .. 20;
        $_->send_request(GET => "/lone/x.php?do=who&go=$go") for @held;
        wait_for { (grep { IO::Select->new($_->{socket})->can_read(0) } @held) == 19 } 20, 'nineteen answers while one is held';
        wait_for { $peer{a}->log_text($start) =~ /request who/ } 20, 'the one at its server';
        is($let_go->(), '200=1 503=19', 'twenty at once: one gets the only place, the others 503');
        is(scalar(() = $peer{a}->log_text($start) =~ /request who/g), 1, '... and never came to the server');
        is($hold->('mine', 1), 'a=1', 'a pool with a fallback: its own server first');
        isnt($who->('mine')->{status}, 503, '... the next one goes to the fallback');
        is($let_go->(), '200=1', '... all answered');
    };

    subtest "$mpm: groups and backups" => sub {
        is($count->('tiers', 4), 'b=4', 'the lowest group');
        is($hold->('tiers', 1), 'b=1', '... until it is full');
        is($who->('tiers')->{body}, 'a', '... then the next');
        is($let_go->(), '200=1', '... all answered');
    };

    subtest "$mpm: a visitor and his server" => sub {
        my %of;
        for my $n (1 .. 12) {
            $of{$n}{ $who->('hashed', more => "&n=$n")->{body} }++ for 1 .. 4;
        }
        is((grep { keys %{ $of{$_} } == 1 } keys %of), 12, 'hash: the same text, the same server');
        my %servers = map { $_ => 1 } map { keys %{ $of{$_} } } keys %of;
        cmp_ok(keys %servers, '>', 1, '... other texts, other servers');

        my $first = $who->('tied');
        my ($cookie) = ($first->{headers}{'set-cookie'} // '') =~ /^(ROUTE=[0-9a-f]{16}); Path=\/; HttpOnly; SameSite=Lax$/;
        ok($cookie, 'sticky: the first answer brings a cookie') or diag explain $first->{headers};
        my %then;
        for (1 .. 6) {
            my $answer = $who->('tied', headers => [ Cookie => "a=b; $cookie; c=d" ]);
            $then{ $answer->{body} . ($answer->{headers}{'set-cookie'} // '') }++;
        }
        is_deeply(\%then, { $first->{body} => 6 }, '... with it he stays, and gets no other');
        is($who->('tied', headers => [ Cookie => 'ROUTE=0123' ])->{headers}{'set-cookie'} ? 1 : 0, 1, '... a cookie that names nobody is replaced');

        my %tag;
        for (1 .. 8) {
            my $answer = $who->('strict');
            ($tag{ $answer->{body} }) = ($answer->{headers}{'set-cookie'} // '') =~ /(ROUTE=\w+)/;
        }
        is($hold->('strict', 1, headers => [ Cookie => $tag{b} ]), 'b=1', 'strict: his server');
        is($who->('strict', headers => [ Cookie => $tag{b} ])->{status}, 503, '... or none');
        is($who->('strict', headers => [ Cookie => $tag{a} ])->{body}, 'a', '... others are not disturbed');
        is($let_go->(), '200=1', '... all answered');
    };

    subtest "$mpm: counts do not drift" => sub {
        # a child that dies with requests under way takes its counts with it
        is($hold->('limited', 5), 'a=3 b=2', 'all places taken');
        my @children = children($httpd->pid);
        kill KILL => @children;
        allow_log(qr/AH00052: child pid \d+ exit signal Killed|AH00170|AH03490|AH10159|AH10392/);
        write_file($go, '');
        eval { $_->read_answer } for @held;
        (@held, $go) = ();
        wait_for { !grep { -e "/proc/$_" } @children } 20, 'their parent to notice';
        wait_for { my $answer = eval { $who->('equal') }; $answer && $answer->{status} == 200 } 20, 'new children';
        is($hold->('limited', 5), 'a=3 b=2', 'all children are killed: every place is free again, no more and no less');
        is($who->('limited')->{status}, 503, '... one more is refused');
        $httpd->signal('USR1');
        is((wait_for { my $answer = eval { $who->('equal') }; $answer && $answer->{status} == 200 } 20, 'the restart'), 1, 'a graceful restart');
        is($who->('limited')->{status}, 503, 'requests of the old children still count');
        is($let_go->(), '200=5', '... and are answered');
        is((wait_for { my $answer = eval { $who->('limited') }; $answer && $answer->{status} == 200 } 20, 'a free place'), 1, '... then there is room');
        is($hold->('limited', 5), 'a=3 b=2', 'and exactly that');
        is($let_go->(), '200=5', '... all answered');
    };
    allow_log(qr/FPMP0089: /);
    $httpd->stop;
}

done_testing();
