# A reload closes no connection: kept connections, what waits in the queue and half-sent heads go from
# one generation of a pool to the next, over unix and TCP sockets, behind every front end.
# long: 40 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Gate;
use FPMPool::Test;
use POSIX ();
use Time::HiRes ();

my $root = site('www',
    'pid.php'  => '<?php echo posix_getppid();',
    'slow.php' => slow_script('posix_getppid()'),
    'hello.php' => '<?php usleep(random_int(0, 5000)); echo "hello";',
);
sub connect_to { return FPMPool::Client->connect($_[0], timeout => 60) }

# Pool processes of that pool, draining ones too.
sub generations {
    my ($daemon, $pool) = @_;
    $pool //= 'www';
    return grep { process_title($_) =~ /\Afpmpool-php[\d.]+: \Q$pool\E\s*\z/ && alive($_) } children($daemon->pid);
}

# Until a new generation answers; the old one may live on. Returns its pid.
sub start_reload {
    my ($daemon, $pool, $signal) = @_;
    my %old = map { $_ => 1 } generations($daemon, $pool);
    $daemon->signal($signal // 'USR2');
    my $address = $daemon->listen_address($pool // 'www');
    my $new;
    wait_for {
        $new = eval { connect_to($address)->request(script => "$root/pid.php", keep => 0)->{body} };
        $new && !$old{$new}
    } 30, 'a new generation serves';
    return $new;
}

sub reload {
    my ($daemon, $pool, $signal) = @_;
    my @old = generations($daemon, $pool);
    my $new = start_reload($daemon, $pool, $signal);
    wait_for { !grep { alive($_) } @old } 30, 'the old generation is gone';
    return $new;
}

# The pool process that serves the next request on this very connection.
sub served_by {
    my ($client) = @_;
    my $answer = $client->request(script => "$root/pid.php");
    return ($answer->{status} // '') eq '200' && $answer->{ended} ? $answer->{body}
        : 'no answer, ' . ($client->{reset} ? 'reset' : 'closed');
}

for my $listen (qw(unix tcp)) {
    subtest "kept connections survive twenty reloads ($listen)" => sub {
        my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 3, $listen eq 'tcp' ? (listen => 'tcp') : () } });
        my @kept   = map { connect_to($daemon->listen_address) } 1 .. 8;
        my $silent = connect_to($daemon->listen_address);    # has not sent a byte yet
        is_deeply([ map { served_by($_) } @kept ], [ ($daemon->pool_pid) x @kept ], 'before');
        my $good = 0;
        for my $n (1 .. 20) {
            my $pool = reload($daemon, 'www', $n % 2 ? 'USR2' : 'HUP');
            my @by = map { served_by($_) } @kept[ $n % 2 ? 0 .. 7 : 0 .. 3 ];    # some stay idle
            my @other = grep { $_ ne $pool } @by;
            $good++ unless @other;
            diag("reload $n: pool process $pool, served by @by") if @other;
        }
        is($good, 20, 'after each reload the new generation serves on every one of them');
        is(served_by($silent), $daemon->pool_pid, '... and on one that had been silent all the time');
        is(scalar(grep { !$_->is_open } @kept), 0, 'none is closed');
    };
}

subtest 'what waits behind a slow request is served by the next generation while that runs on' => sub {
    my $status = sub { return { connect_to($_[0]->listen_address)->request(script => "$root/fpm-status", name => '/fpm-status', keep => 0)->{body} =~ /^(.+?):\s+(\S+)/mg } };
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1, 'pm.status_path' => '/fpm-status' } });
    my $old    = $daemon->pool_pid;
    my $slow   = start_slow($root, $daemon, 'www', timeout => 60, keep => 1);
    my @waiting = map { connect_to($daemon->listen_address) } 1 .. 5;
    $_->send_request(script => "$root/pid.php", keep => 1) for @waiting;
    wait_for { $status->($daemon)->{'listen queue'} == 5 } 20, 'five wait';
    my $before = $status->($daemon)->{'accepted conn'};
    my $new = start_reload($daemon);
    is_deeply([ map { $_->read_answer->{body} } @waiting ], [ ($new) x 5 ], 'the new generation has served them');
    ok(alive($old), 'the old one runs its slow request');
    is(served_by($waiting[2]), $new, 'their connections are kept');
    open_gate();
    is($slow->read_answer->{body}, $old, 'the slow request ends where it began');
    is(served_by($slow), $new, '... and its connection goes on in the new generation');
    wait_for { !alive($old) } 20, 'the old generation ends';
    my $after = $status->($daemon);
    cmp_ok($after->{'accepted conn'}, '>=', $before + 7, 'the status page counts on');
    cmp_ok($after->{'max listen queue'}, '>=', 5, '... and remembers its greatest queue');
};

subtest 'pipelined requests' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
    my $old    = $daemon->pool_pid;
    my $client = connect_to($daemon->listen_address);
    my $gate   = new_gate();
    my @request = ([ script => "$root/slow.php", query => gate_query($gate) ], [ script => "$root/pid.php" ], [ script => "$root/pid.php" ]);
    $client->send_bytes(join '', map { FPMPool::Client::request_bytes(@$_, keep => 1) } @request);
    wait_at_gate($gate);
    my $new = start_reload($daemon);
    open_gate($gate);
    my @by = map { $client->read_answer->{body} } @request;
    is(shift @by, $old, 'the first is answered where it began');
    is(scalar(grep { $_ eq $old || $_ eq $new } @by), 2, 'the others too, in order, each once');
    is(served_by($client), $new, 'the connection is kept');
};

subtest 'half a head' => sub {
    my $daemon  = start_daemon(conf => { www => {} });
    my $bytes   = FPMPool::Client::request_bytes(script => "$root/pid.php", keep => 1);
    my @cut     = (1, 8, 15, 16, 40, length($bytes) - 8);
    my @client  = map { connect_to($daemon->listen_address) } @cut;
    my @kept    = map { connect_to($daemon->listen_address) } 1 .. 3;
    served_by($_) for @kept;
    $client[$_]->send_bytes(substr $bytes, 0, $cut[$_]) for 0 .. 2;
    $kept[$_]->send_bytes(substr $bytes, 0, $cut[$_])   for 0 .. 2;
    # with a whole BEGIN it has a worker, which waits for the rest
    $client[3]->send_bytes(substr $bytes, 0, $cut[3]);
    my $new = start_reload($daemon);
    $client[$_]->send_bytes(substr $bytes, $cut[$_]) for 0 .. 3;
    $kept[$_]->send_bytes(substr $bytes, $cut[$_])   for 0 .. 2;
    is($client[$_]->read_answer->{body}, $new, "$cut[$_] bytes of a new connection's head: the new generation reads the rest") for 0 .. 2;
    # a worker that has it as its lane has begun to read it, as that of a whole BEGIN
    is($kept[$_]->read_answer->{status}, 200, "$cut[$_] bytes of the next request's head: answered") for 0 .. 2;
    is($client[3]->read_answer->{status}, 200, 'a head that a worker had begun to read is read by it to its end');
    is(served_by($_), $new, 'kept') for @client[0 .. 3], @kept;
};

subtest 'three generations, each with a request that runs' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
    my (@slow, @gate, @pool);
    for my $generation (0 .. 2) {
        push @pool, $generation ? start_reload($daemon) : $daemon->pool_pid;
        push @gate, new_gate();
        push @slow, start_slow($root, $daemon, 'www', timeout => 60, keep => 1, gate => $gate[-1]);
    }
    is(scalar(generations($daemon)), 3, 'three pool processes');
    my $waiting = connect_to($daemon->listen_address);
    $waiting->send_request(script => "$root/pid.php", keep => 1);
    my $last = start_reload($daemon);
    is($waiting->read_answer->{body}, $last, 'who waited behind the third is served by the fourth');
    for my $generation (2, 0, 1) {
        open_gate($gate[$generation]);
        is($slow[$generation]->read_answer->{body}, $pool[$generation], "generation $generation ends its request");
        is(served_by($slow[$generation]), $last, '... and the newest one has the connection');
    }
    wait_for { generations($daemon) == 1 } 20, 'one generation is left';
};

subtest 'reloads faster than a pool can start' => sub {
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2, listen => 'tcp' } });
    my @kept   = map { connect_to($daemon->listen_address) } 1 .. 4;
    my $good   = 0;
    for my $n (1 .. 40) {
        $daemon->signal('USR2');
        $good += served_by($_) =~ /\A\d+\z/ for @kept;
        push @kept, connect_to($daemon->listen_address) if $n % 10 == 0;
    }
    is($good, 4 * 10 + 5 * 10 + 6 * 10 + 7 * 10, 'every request is answered, on the same connections');
    wait_for { generations($daemon) == 1 } 30, 'one generation is left';
    is(served_by($_), $daemon->pool_pid, 'kept') for @kept;
};

subtest 'process_control_timeout = 0 ends what runs, nothing else' => sub {
    my $daemon  = start_daemon(conf => { global => { process_control_timeout => 0 }, www => { 'pm.max_children' => 1 } });
    my $idle    = connect_to($daemon->listen_address);
    served_by($idle);
    my $running = start_slow($root, $daemon, 'www', timeout => 60, keep => 1);
    my $waiting = connect_to($daemon->listen_address);
    $waiting->send_request(script => "$root/pid.php", keep => 1);
    my $old = $daemon->pool_pid;
    my $new = start_reload($daemon);
    is($running->read_answer->{status}, 502, 'the running request is ended');
    is($waiting->read_answer->{body}, $new, 'the waiting one is served');
    is(served_by($idle), $new, 'the idle connection is kept');
    wait_for { !alive($old) } 20, 'the old generation ends';
};

subtest 'another address: connections of the old one go on' => sub {
    my $daemon = start_daemon(conf => { www => {} });
    my $kept   = connect_to($daemon->listen_address);
    served_by($kept);
    my $old = $daemon->listen_address;
    my $address = $daemon->{listen}{www} = "$old.new";
    rewrite($daemon, sub { s{^listen = .*}{listen = $address}m });
    my $new = reload($daemon);
    is(served_by($kept), $new, 'served by the generation at the new address');
    ok(!-e $old, 'the old socket is gone');
};

subtest 'listen.allowed_clients of the new plan counts for connections of the old one' => sub {
    allow_log(qr/Connection disallowed: IP address '127.0.0.1' has been dropped/);
    my $daemon = start_daemon(conf => { www => { listen => 'tcp', 'listen.allowed_clients' => '127.0.0.1' } });
    my $kept   = connect_to($daemon->listen_address);
    served_by($kept);
    rewrite($daemon, sub { s{^listen.allowed_clients = .*}{listen.allowed_clients = 127.0.0.9}m });
    my $old = $daemon->pool_pid;
    $daemon->signal('USR2');
    wait_for { !alive($old) } 20, 'the old generation ends';
    ok($kept->is_closed(10), 'a client that is not allowed any more is closed');
    $daemon->wait_log(qr/Connection disallowed: IP address '127.0.0.1' has been dropped/);
};

subtest 'another user' => sub {
    plan(skip_all => 'pools change their user only below a root master') unless is_root();
    my $script = write_file("$root/user.php", '<?php echo posix_getpwuid(posix_geteuid())["name"];');
    my $daemon = start_daemon(conf => { www => {} });
    my @kept   = map { connect_to($daemon->listen_address) } 1 .. 70;    # more than are in flight at once
    my $user   = sub { return join ' ', sort keys %{ { map { ($_->request(script => $script)->{body} // 'none') => 1 } @kept } } };
    is($user->(), 'www-data', 'before');
    rewrite($daemon, sub { s/^user = .*/user = nobody/m });
    reload($daemon);
    is($user->(), 'nobody', 'after, on the same connections');
};

subtest 'few descriptors for a user that is not root: all arrive, after a while' => sub {
    plan(skip_all => 'needs a user besides root') unless is_root();
    my $daemon = start_daemon(limit_files => 200, conf => { www => { 'pm.max_children' => 2, rlimit_files => 200 } });
    my @kept   = map { connect_to($daemon->listen_address) } 1 .. 90;
    is(scalar(grep { served_by($_) eq $daemon->pool_pid } @kept), 90, 'before');
    my $new = reload($daemon);
    is(scalar(grep { served_by($_) eq $new } @kept), 90, 'after');
};

subtest 'no 502 behind any front end in a storm of reloads' => sub {
    my $daemon  = start_daemon(conf => { www => { 'pm.max_children' => 4 }, tcp => { listen => 'tcp', 'pm.max_children' => 4 } });
    my $tcp     = $daemon->listen_address('tcp');
    my $socket  = $daemon->listen_address('www');
    my %to      = (unix => "unix:$socket|fcgi://unix-pool/", tcp => "fcgi://$tcp/");
    my $proxy   = sub {
        my ($kind) = @_;
        my $name = $kind eq 'unix' ? "unix:$socket|fcgi://unix-pool/" : "fcgi://$tcp/";
        return qq{<Proxy "$name" enablereuse=on max=8>\n</Proxy>\n<FilesMatch "\\.php\$">\n    SetHandler "proxy:$name"\n</FilesMatch>\n};
    };
    my $upstream = sub { qq{    upstream php { server $_[0]; keepalive 8; }\n} };
    my $nginx    = qq{        location ~ \\.php\$ {\n            fastcgi_pass php;\n            fastcgi_keep_conn on;\n            include /etc/nginx/fastcgi_params;\n            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;\n        }\n};
    my %front    = (
        'mod_fpmpool, unix' => start_httpd(mpm => 'event', docroot => $root, conf => php_routes('fpmpool', $daemon, 'www')),
        'mod_fpmpool, tcp'  => start_httpd(mpm => 'event', docroot => $root, conf => php_routes('fpmpool', $daemon, 'tcp')),
        (map { ("mod_proxy_fcgi with enablereuse, $_" => start_httpd(mpm => 'event', docroot => $root, modules => [qw(proxy proxy_fcgi)], conf => $proxy->($_))) } qw(unix tcp)),
    );
    if (-x '/usr/sbin/nginx') {
        $front{'nginx with keepalive, unix'} = start_nginx(docroot => $root, http => $upstream->("unix:$socket"), conf => $nginx);
        $front{'nginx with keepalive, tcp'}  = start_nginx(docroot => $root, http => $upstream->($tcp), conf => $nginx);
    }
    my %client;
    for my $name (sort keys %front) {
        for my $i (1, 2) {
            my $report = test_dir() . '/report-' . keys %client;
            my $pid = fork // die "fork: $!";
            $client{$pid} = [ $name, $report ];
            next if $pid;
            my ($count, $loss, $http) = (0, '', undef);
            until (-e test_dir() . '/stop' || !-d test_dir()) {
                my $answer = eval { $http ||= http_connect(port => $front{$name}->port); $http->exchange(GET => '/hello.php') };
                my $error = $@;
                if ($answer && $answer->{status} == 200 && $answer->{body} eq 'hello') { $count++ }
                elsif ($answer)                                                        { $loss .= "status $answer->{status} after $count\n" }
                elsif ($error)                                                         { $loss .= "after $count: $error" }
                undef $http unless $answer && $count % 50;    # httpd ends a kept connection after 100 requests
            }
            write_file($report, "ok $count\n$loss");
            POSIX::_exit(0);
        }
    }
    for my $n (1 .. 15) {
        my %old = map { $_ => 1 } map { generations($daemon, $_) } qw(www tcp);
        $daemon->signal($n % 2 ? 'USR2' : 'HUP');
        wait_for { !grep { $old{ $_ // '' } } map { generations($daemon, $_) } qw(www tcp) } 30, "reload $n";
    }
    write_file(test_dir() . '/stop', '');
    for my $pid (sort keys %client) {
        my ($name, $report) = @{ $client{$pid} };
        is(reap($pid, 30), 0, "client of $name ended") or next;
        my ($count, $loss) = read_file($report) =~ /^ok (\d+)\n(.*)/s;
        is($loss, '', "$name: $count requests, none lost");
        cmp_ok($count, '>', 15, '... it was busy');
    }
};

subtest 'fifty reloads with kept connections leave no descriptor behind' => sub {
    my $daemon = start_daemon(conf => { www => {}, tcp => { listen => 'tcp' } });
    my @kept   = map { connect_to($daemon->listen_address($_)) } qw(www www www tcp tcp tcp);
    my $all    = sub { join ' ', map { served_by($_) } @kept };
    my $kinds  = sub { join ' ', map { s{ZendSem\.\w+}{ZendSem}r =~ s{\d{2,}}{N}gr } sort values %{ descriptors($_[0]) } };
    reload($daemon);
    $all->();
    my %before;
    wait_for { generations($daemon) == 1 && generations($daemon, 'tcp') == 1 } 30, 'two pool processes';
    $before{$_} = $kinds->($daemon->pool_pid($_)) for qw(www tcp);
    check_descriptors($daemon->pid, sub {
        for my $n (1 .. 50) { reload($daemon, $n % 2 ? 'www' : 'tcp') }
        wait_for { generations($daemon) == 1 && generations($daemon, 'tcp') == 1 } 30, 'two pool processes';
    }, 'the master has no more than before');
    my $www = $daemon->pool_pid;
    my $tcp = $daemon->pool_pid('tcp');
    is($all->(), "$www $www $www $tcp $tcp $tcp", 'the connections are served');
    is($kinds->($daemon->pool_pid($_)), $before{$_}, "pool process $_ has the same descriptors as before") for qw(www tcp);
};

done_testing();
