# fpmpool-status and fpmpool-manager: the figures of all pools as a page, JSON, lines and OpenMetrics; servers that are drained,
# taken down and weighted while httpd runs. Scripted peers are the servers; each says its name.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root = site('www', 'x.php' => '<?php');
my $run  = test_dir() . '/run';
mkdir $run;
my %peer = map { $_ => start_peer($_) } qw(a b found);
my $odd  = "$run/<i>&'x.sock";
allow_log(qr/FPMP00(?:73|85): pool odd/, qr/FPMP0131: /, qr/FPMP0132: /);

sub start_peer {
    my ($name) = @_;
    my $peer = start_service(kind => 'peer', name => "peer-$name", argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/$name.sock" ]);
    $peer->wait_log(qr/listening/);
    return $peer;
}

sub pool {
    my ($name, @line) = @_;
    return "<FpmPoolDefine $name>\n" . join('', map { "    $_\n" } @line) . "</FpmPoolDefine>\nAlias /$name $root\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}

my @both = map { "FpmPoolServer unix:$run/$_.sock name=$_ type=generic" } qw(a b);
my $conf = "FpmPoolSocketDir $run\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
    . pool('two', @both, 'FpmPoolRetry off')
    . pool('tied', @both, 'FpmPoolBalance sticky ROUTE strict')
    . pool('turns', (map { "$both[$_] weight=" . (3 - 2 * $_) } 0, 1), 'FpmPoolBalance roundrobin')
    . pool('odd', qq{FpmPoolServer "unix:$odd" type=generic})
    . pool('unasked', "FpmPoolServer unix:$run/u.sock")
    . qq{Alias /named $root\n<Location /named>\n    FpmPool "expr=%{req:X-Pool}"\n</Location>\n}
    . "<Location /pools>\n    SetHandler fpmpool-status\n</Location>\n"
    . "<Location /manage>\n    SetHandler fpmpool-manager\n    Require ip 127.0.0.1\n</Location>\n"
    . "<Location /server-status>\n    SetHandler server-status\n</Location>\n";

sub json_of { return JSON::PP->new->utf8->decode($_[0]{body}) }

sub pools { my ($httpd, $query) = @_; return { map { $_->{name} => $_ } @{ json_of(http($httpd->url("/pools?json$query")))->{pools} } } }

sub form { my (%field) = @_; return join '&', map { my $v = $field{$_}; "$_=" . $v =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ger } sort keys %field }

sub post {
    my ($httpd, $field, %option) = @_;
    my $header = delete $option{headers} || [];
    return http($httpd->url('/manage' . ($option{query} // '?json')), method => 'POST', body => form(%$field), headers => [ 'Content-Type' => 'application/x-www-form-urlencoded', @$header ]);
}

my %mpm_conf = (
    event   => "StartServers 2\nServerLimit 4\nThreadsPerChild 8\nMinSpareThreads 4\nMaxSpareThreads 32\nMaxRequestWorkers 32\n",
    prefork => "StartServers 4\nMinSpareServers 2\nMaxSpareServers 16\nMaxRequestWorkers 32\n",
);

for my $mpm (qw(event prefork)) {
    my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf . $mpm_conf{$mpm}, modules => [qw(status authz_host)]);
    my $who   = sub { my ($pool, %option) = @_; return http($httpd->url("/$pool/x.php?do=who"), %option) };
    my $nonce = json_of(http($httpd->url('/manage?json')))->{nonce};
    my $tell  = sub {
        my ($pool, $server, $action, %more) = @_;
        return post($httpd, { nonce => $nonce, pool => $pool, server => $server, action => $action, %more });
    };
    my $count = sub {
        my ($pool, $requests) = @_;
        my %got;
        $got{ $who->($pool)->{body} }++ for 1 .. $requests;
        return join ' ', map { "$_=$got{$_}" } sort keys %got;
    };

    subtest "$mpm: figures" => sub {
        $count->('two', 20);
        is($who->('odd')->{status}, 503, 'a server that is not there') for 1 .. 3;
        is($who->('two')->{status}, 200);
        my $pool = wait_for { my $p = pools($httpd, ''); my $sum = 0; $sum += $_->{requests} for @{ $p->{two}{servers} }; $sum == 21 ? $p : undef } 10, 'the last request';
        is(join(' ', sort keys %$pool), 'odd tied turns two unasked', 'JSON: all pools');
        is("$pool->{two}{state}, $pool->{odd}{state}, $pool->{unasked}{state}", 'up, down, not asked yet', 'their states');
        is($pool->{odd}{servers}[0]{address}, "unix:$odd", 'the address as it is');
        is($pool->{odd}{servers}[0]{last_failure}, 'no connection to it: No such file or directory', 'why a server is down');
        like($pool->{odd}{servers}[0]{since}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '... and since when');
        is($pool->{odd}{servers}[0]{states}{down}, 3, 'answers by state');
        my ($requests, $errors, $microseconds) = (0) x 3;
        for my $minute (@{ $pool->{odd}{minutes} }) { $requests += $minute->[0]; $errors += $minute->[1]; $microseconds += $minute->[2] }
        is("$requests $errors", '3 3', 'the history has them');
        is($pool->{odd}{servers}[0]{microseconds}, $microseconds, '... and their time');
        my $time = $pool->{two}{recent_microseconds};
        ok($time->{p50} > 0 && $time->{p50} <= $time->{p90} && $time->{p90} <= $time->{p99}, 'percentiles') or diag explain $time;
        my $status = http($httpd->url('/server-status?auto'))->{body};
        like($status, qr/^FpmPool_odd_Down: 3$/m, 'server-status has the same');
        unlike($status, qr/unasked/, '... without pools that nobody has asked');
        my $auto = http($httpd->url('/pools?auto'));
        is($auto->{headers}{'content-type'}, 'text/plain; charset=utf-8', '?auto: lines');
        like($auto->{body}, qr/^FpmPool_unasked_Requests: 0$/m, '... of all pools');
        like($auto->{body}, qr/^\QFpmPool_odd_Server: unix:$odd\E$/m, '... each one line');
    };

    subtest "$mpm: the page" => sub {
        my $answer = http($httpd->url('/pools'));
        my %header = %{ $answer->{headers} };
        is("$answer->{status} $header{'content-type'}", '200 text/html; charset=utf-8', 'HTML');
        my ($style) = ($header{'content-security-policy'} // '') =~ /^default-src 'none'; style-src 'nonce-(\w{32})'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/;
        ok($style, 'a policy that allows nothing but this page\'s own style') or diag $header{'content-security-policy'};
        like($answer->{body}, qr/<style nonce="$style">/, '... which is marked');
        isnt((http($httpd->url('/pools'))->{headers}{'content-security-policy'}), $header{'content-security-policy'}, '... anew for each answer');
        is("$header{'cache-control'} $header{'x-content-type-options'} $header{'referrer-policy'} $header{'x-frame-options'}", 'no-store nosniff same-origin DENY', 'it is kept and framed nowhere');
        unlike($answer->{body}, qr/<i>|<script|\son\w+=|\sstyle=|(?:src|href|action)="(?!\?)/, 'nothing from elsewhere, nothing that runs');
        like($answer->{body}, qr{unix:\Q$run\E/&lt;i&gt;&amp;&#39;x\.sock}, 'a name that tries to break out does not');
        unlike($answer->{body}, qr/<form method="post"|$nonce/, 'no controls, no nonce');
        like(http($httpd->url('/pools?refresh=5'))->{body}, qr/<meta http-equiv="refresh" content="5">/, 'refresh');
        is(join(' ', http($httpd->url('/pools?state=problems'))->{body} =~ /id="pool-([\w-]+)"/g), 'odd', 'what is not well');
        is(join(' ', http($httpd->url('/pools?sort=name&name=t'))->{body} =~ /id="pool-([\w-]+)"/g), 'tied turns two', 'some, in an order');
        is(join(' ', http($httpd->url('/pools?pool=two'))->{body} =~ /id="pool-([\w-]+)"/g), 'two', 'one');
    };

    subtest "$mpm: what is not understood" => sub {
        for my $query (qw(jsn json=1 refresh=x refresh=3601 page=0 sort=up %3cb%3e=1 pool=%zz)) {
            my $answer = http($httpd->url("/pools?$query"));
            is("$answer->{status} $answer->{headers}{'content-type'}", '400 text/plain; charset=utf-8', "$query: 400, so that no program takes it for an answer");
            unlike($answer->{body}, qr/</, '... without what was sent');
        }
        is(http($httpd->url('/pools?json&pool=nobody'))->{status}, 404, 'a pool that is not there');
        for my $method (qw(POST PUT DELETE PATCH)) {
            my $answer = http($httpd->url('/pools'), method => $method, body => 'x');
            is("$answer->{status} " . allowed($answer), '405 GET HEAD', "$method: 405");
        }
        is(allowed(http($httpd->url('/manage'), method => 'PUT', body => 'x')), 'GET HEAD POST', 'the manager takes POST too');
        my $head = http($httpd->url('/pools?metrics'), method => 'HEAD');
        is("$head->{status} $head->{body}", '200 ', 'HEAD');
        is(http($httpd->url('/pools'), method => 'OPTIONS')->{status}, 200, 'OPTIONS');
    };

    subtest "$mpm: OpenMetrics" => sub {
        my $answer = http($httpd->url('/pools?metrics'));
        is($answer->{headers}{'content-type'}, 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'type');
        like($answer->{body}, qr/^fpmpool_requests_total\{pool="odd",server="unix:[^"]+",state="down"\} 3$/m, 'a counter');
        like($answer->{body}, qr/# EOF\n\z/, 'the end');
        my $python = '/usr/bin/python3';
        my $parser = 'from prometheus_client.openmetrics.parser import text_string_to_metric_families';
        plan(skip_all => 'python3-prometheus-client is not installed') if system("$python -c '$parser' 2>/dev/null");
        my $file = write_file(test_dir() . "/metrics-$mpm", $answer->{body});
        my $read = `$python -c '$parser as f; print(*(m.name + "=" + m.type for m in f(open("$file").read())))' 2>&1`;
        is($? >> 8, 0, 'a parser of another hand takes it') or diag $read;
        like($read, qr/fpmpool_requests=counter .*fpmpool_request_duration_seconds=histogram/, '... with its families');
    };

    subtest "$mpm: who may change something" => sub {
        my %good = (nonce => $nonce, pool => 'two', server => 'a', action => 'drain');
        like($nonce, qr/^[0-9a-f]{32}$/, 'a nonce');
        my $url = $httpd->url('') =~ s{/$}{}r;
        my @bad = (
            [ 403, 'no nonce',              { %good, nonce => '' } ],
            [ 403, 'another one',           { %good, nonce => '0' x 32 } ],
            [ 403, 'a longer one',          { %good, nonce => "${nonce}0" } ],
            [ 403, 'a page of another site', \%good, headers => [ 'Sec-Fetch-Site' => 'cross-site' ] ],
            [ 403, 'a page of a sister site', \%good, headers => [ 'Sec-Fetch-Site' => 'same-site' ] ],
            [ 403, 'another origin',        \%good, headers => [ Origin => 'http://evil.example' ] ],
            [ 403, 'no origin of a page',   \%good, headers => [ Origin => 'null' ] ],
            [ 403, 'another port',          \%good, headers => [ Origin => 'http://127.0.0.1:1' ] ],
            [ 404, 'no such pool',          { %good, pool => 'three' } ],
            [ 404, 'no such server',        { %good, server => 'c' } ],
            [ 400, 'no such action',        { %good, action => 'stop' } ],
            [ 400, 'no weight',             { %good, action => 'weight' } ],
            [ 400, 'too much weight',       { %good, action => 'weight', weight => 101 } ],
            [ 400, 'an unknown parameter',  \%good, query => '?jsn' ],
            [ 413, 'a large form',          { %good, x => 'x' x 5000 } ],
        );
        for my $case (@bad) {
            my ($status, $name, $field, %option) = @$case;
            is(post($httpd, $field, %option)->{status}, $status, "$name: $status");
        }
        is(http($httpd->url('/manage?json'), method => 'POST', body => JSON::PP::encode_json(\%good), headers => [ 'Content-Type' => 'application/json' ])->{status}, 403, 'a body that is no form has no nonce');
        is(http($httpd->url('/manage?' . form(%good)))->{status}, 400, 'GET changes nothing');
        is(pools($httpd, '&pool=two')->{two}{servers}[0]{mode}, 'ready', 'nothing was changed');
        my $from = $httpd->log_length;
        my $done = post($httpd, \%good, headers => [ Origin => $url, 'Sec-Fetch-Site' => 'same-origin' ]);
        is($done->{status}, 200, 'the page\'s own form') or diag $done->{body};
        is_deeply(json_of($done), { pool => 'two', server => 'a', before => { mode => 'ready', weight => 1 }, after => { mode => 'drain', weight => 1 } }, 'JSON of what was and is');
        is(scalar(() = $httpd->log_text($from) =~ /FPMP0132: fpmpool-manager: nobody at 127\.0\.0\.1: pool two, server a: drain weight=1, before: ready weight=1/g), 1, 'one line of the log');
        my $page = post($httpd, { %good, action => 'ready' }, query => '?pool=two&refresh=5');
        is("$page->{status} $page->{headers}{location}", '303 ?pool=two&refresh=5', 'a browser comes back to its page');
        my @form = http($httpd->url('/manage?pool=two'))->{body} =~ /<form method="post">.*?<\/form>/g;
        is(scalar(grep { /name="nonce" value="$nonce"/ } @form), 4, 'the page has a form for each change');
    };

    subtest "$mpm: drained servers" => sub {
        my $go = test_dir() . "/go-$mpm";
        my $from = $peer{a}->log_length;
        my ($held, $at) = hold($httpd, $go);
        is($tell->('two', $at, 'drain')->{status}, 200, 'drain the one that has a request');
        my $other = $at eq 'a' ? 'b' : 'a';
        is($count->('two', 10), "$other=10", 'new ones go to the other');
        my $seen = pools($httpd, '&pool=two')->{two};
        is("$seen->{state} $seen->{usable} $seen->{in_flight}", 'drained 1 1', 'as the figures say');
        write_file($go, '');
        is($held->read_answer->{body}, $at, 'what runs there finishes');
        is($tell->('two', $other, 'down')->{status}, 200, 'the other one down');
        is($who->('two')->{status}, 503, 'then there is nobody');
        is($tell->('two', $at, 'ready')->{status}, 200);
        is($count->('two', 4), "$at=4", 'ready again');
        $tell->('two', $other, 'ready');
        is($count->('two', 4), 'a=2 b=2', 'both');

        my $first = $who->('tied');
        my ($cookie) = $first->{headers}{'set-cookie'} =~ /^(ROUTE=\w+)/;
        is($who->('tied', headers => [ Cookie => $cookie ])->{body}, $first->{body}, 'a visitor is tied to a server');
        $tell->('tied', $first->{body}, 'drain');
        my $moved = $who->('tied', headers => [ Cookie => $cookie ]);
        is("$moved->{status} " . ($moved->{body} ne $first->{body}), '200 1', 'when it is drained he goes elsewhere, even if strict');
        like($moved->{headers}{'set-cookie'}, qr/^ROUTE=(?!\Q@{[ $cookie =~ s{ROUTE=}{}r ]}\E)\w+/, '... and is tied there');
        $tell->('tied', $first->{body}, 'ready');
    };

    subtest "$mpm: a pool that an expression names" => sub {
        my $named = sub { return $who->('named', headers => [ 'X-Pool' => 'found' ]) };
        ok(!pools($httpd, '')->{found}, 'before it was asked nobody knows it');
        is($named->()->{body}, 'found', 'it answers');
        my $pool = wait_for { my $p = pools($httpd, '&pool=found')->{found}; $p && $p->{servers}[0]{requests} ? $p : undef } 10, 'its figures';
        is("$pool->{state} $pool->{servers}[0]{address}", "up unix:$run/found.sock", 'it is there');
        like(http($httpd->url('/pools?pool=found'))->{body}, qr/named by an expression/, '... and the page says why');
        is($tell->('found', $pool->{servers}[0]{name}, 'drain')->{status}, 200, 'drained');
        is($named->()->{status}, 503, '... it gets nothing');
        is($tell->('found', $pool->{servers}[0]{name}, 'ready')->{status}, 200);
        is($named->()->{body}, 'found', 'ready again');
        is($tell->('found', 'another', 'drain')->{status}, 404, 'it has no other server');
    };

    subtest "$mpm: weights" => sub {
        is($count->('turns', 16), 'a=12 b=4', 'as configured');
        is(json_of($tell->('turns', 'b', 'weight', weight => 9))->{after}{weight}, 9, 'another weight');
        is($count->('turns', 24), 'a=6 b=18', '... counts at once, in all children');
        like(http($httpd->url('/pools?pool=turns'))->{body}, qr{9 <small>\(was 1\)</small>}, '... and is seen');
        is(json_of($tell->('turns', 'b', 'weight', weight => 0))->{after}{weight}, 1, 'the configured one again');
        is($count->('turns', 16), 'a=12 b=4', '... counts');
    };

    subtest "$mpm: drain under load" => sub {
        my $stop = test_dir() . "/stop-$mpm";
        my @client = map { start_client($httpd, $stop) } 1 .. 4;
        for my $round (1 .. 5) {
            for my $server (qw(a b)) {
                is($tell->('two', $server, 'drain')->{status}, 200, "round $round: $server drained");
                wait_for { my ($one) = grep { $_->{name} eq $server } @{ pools($httpd, '&pool=two')->{two}{servers} }; $one->{in_flight} == 0 } 20, 'it has nothing any more';
                my $from = $peer{$server}->log_length;
                my $before = pools($httpd, '&pool=two')->{two}{servers};
                wait_for { my $sum = 0; my $now = pools($httpd, '&pool=two')->{two}{servers}; $sum += $now->[$_]{requests} - $before->[$_]{requests} for 0, 1; $sum > 20 } 20, 'requests';
                unlike($peer{$server}->log_text($from), qr/request who/, '... and gets nothing');
                is($tell->('two', $server, 'ready')->{status}, 200, '... ready');
            }
        }
        write_file($stop, '');
        my ($requests, $lost) = (0, 0);
        for my $client (@client) {
            my ($good, $bad) = split ' ', readline $client->{from};
            waitpid $client->{pid}, 0;
            $requests += $good + $bad;
            $lost += $bad;
        }
        cmp_ok($requests, '>', 100, "$requests requests meanwhile");
        is($lost, 0, 'none was lost');
    };

    subtest "$mpm: restarts" => sub {
        $tell->('two', 'b', 'drain');
        $tell->('turns', 'b', 'weight', weight => 9);
        my $before = pools($httpd, '&pool=two')->{two}{servers}[0]{requests};
        my $from = $httpd->log_length;
        $httpd->signal('USR1');
        $httpd->wait_log(qr/configured -- resuming/, 20, $from);
        my $after = wait_for { eval { pools($httpd, '') } } 20, 'the new generation';
        is("$after->{two}{servers}[1]{mode} $after->{turns}{servers}[1]{weight} $after->{two}{servers}[0]{requests}", "drain 9 $before", 'a graceful restart keeps what was said, and the figures');
        is($count->('two', 6), 'a=6', '... and the new children heed it');
        is($tell->('two', 'b', 'ready')->{status}, 200, 'the nonce is still the same');
        is($count->('two', 6), 'a=3 b=3', '... ready');
        $httpd->stop;
        $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf . $mpm_conf{$mpm}, modules => [qw(status authz_host)]);
        isnt(json_of(http($httpd->url('/manage?json')))->{nonce}, $nonce, 'a new start has another nonce');
        is(pools($httpd, '')->{turns}{servers}[1]{weight}, 1, '... and the configuration counts again');
    };
    $httpd->stop;
}

subtest 'a manager for everybody is mentioned' => sub {
    my $check = sub {
        my ($section) = @_;
        my $httpd = start_httpd(docroot => $root, conf => "FpmPoolSocketDir $run\n<FilesMatch php>\n    SetHandler fpmpool\n</FilesMatch>\n$section", modules => ['authz_host']);
        my $text = `/usr/sbin/apache2 -t -f $httpd->{conf_file} 2>&1`;
        $httpd->stop;
        return $text;
    };
    my $open = "<Location /manage>\n    SetHandler fpmpool-manager\n%s</Location>\n";
    like($check->(sprintf $open, ''), qr/FPMP0133: \S+httpd\.conf:\d+: .*add Require/, 'no Require');
    like($check->(sprintf $open, "    Require all granted\n"), qr/FPMP0133/, 'Require all granted');
    unlike($check->(sprintf $open, "    Require local\n"), qr/FPMP0133/, 'Require local');
    unlike($check->("<Location />\n    <RequireAny>\n        Require local\n    </RequireAny>\n    <If true>\n        SetHandler fpmpool-manager\n    </If>\n</Location>\n"), qr/FPMP0133/, 'a section around it');
};
done_testing();

# Methods of an Allow header; TRACE is httpd's own.
sub allowed { return join ' ', grep { $_ ne 'TRACE' } sort split /,\s*/, $_[0]{headers}{allow} // '' }

# A request to pool two that is at its server; the connection and the server's name.
sub hold {
    my ($httpd, $go) = @_;
    my %from = map { $_ => $peer{$_}->log_length } keys %peer;
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request(GET => "/two/x.php?do=who&go=$go");
    my $at = wait_for { (grep { $peer{$_}->log_text($from{$_}) =~ /request who/ } sort keys %peer)[0] } 20, 'the request at its server';
    return ($http, $at);
}

# A process that sends one request after another until the file is there; prints how many were answered, and how many not.
sub start_client {
    my ($httpd, $stop) = @_;
    pipe my $from, my $to or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        my ($good, $bad) = (0, 0);
        while (!-e $stop) {
            my $answer = eval { http($httpd->url('/two/x.php?do=who')) } || { status => 0 };
            $answer->{status} == 200 ? $good++ : $bad++;
        }
        syswrite $to, "$good $bad\n";
        require POSIX;
        POSIX::_exit(0);
    }
    close $to;
    return { pid => $pid, from => $from };
}
