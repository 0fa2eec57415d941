# Clients that are broken, slow or hostile. Each case ends within its time, none costs a worker, a
# descriptor or another client's request, and nothing that was not a request is ever run as one.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $data = test_dir() . '/data';
mkdir $data;
chown +(getpwnam pool_user())[ 2, 3 ], $data;
my $root = site('www',
    'hello.php' => '<?php echo "hello";',
    'body.php'  => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", substr($b, 0, 20);',
    'evil.php'  => "<?php file_put_contents('$data/evil', 'ran'); echo 'evil';",
    'evil.txt'  => "<?php file_put_contents('$data/evil', 'ran'); echo 'evil';",
    'large.php' => '<?php $s = str_repeat("x", 65536); for ($i = 0; $i < 512; $i++) echo $s;',
);
my $seed = $ENV{FPMPOOL_TEST_SEED} || 20261123;
srand $seed;

my $daemon = start_daemon(conf => {
    www   => { 'pm.max_children' => 2 },
    brief => { 'pm.max_children' => 1, request_head_timeout => '1s' },
});
my @workers;
wait_for { (@workers = $daemon->worker_pids) == 2 } 10, "both workers";
my $pool    = $daemon->pool_pid;

sub serves {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(eval { php_request($daemon, "$root/hello.php", timeout => 5)->{body} } // "nothing: $@", 'hello', $name // '... and the pool serves');
}
sub request { return FPMPool::Client::request_bytes(script => "$root/hello.php", @_) }
sub params  { return FPMPool::Client::request_params(script => "$root/hello.php", @_) }

# Sends bytes on a new connection and says what came back: the client, to go on with.
sub send_bytes {
    my ($bytes) = @_;
    my $client = php_connect($daemon);
    $client->send_bytes($bytes);
    return $client;
}

# Ended within five seconds, with or without an answer that is a proper one.
sub ends {
    my ($client, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = eval { $client->read_answer(timeout => 5) };
    return ok(0, "$name: $@") unless $answer;
    return ok($answer->{ended} || !length $answer->{stdout}, $name);
}

check_descriptors($pool, sub {
    subtest 'garbage' => sub {
        my %garbage = (
            'an HTTP request' => "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 'zeros' => "\0" x 4096, 'ones' => "\xff" x 4096,
            'a TLS greeting'  => pack('H*', '16030100a5010000a10303') . 'r' x 160,
            'random bytes'    => join('', map { chr int rand 256 } 1 .. 65536),
            'version 0'       => record('BEGIN', 1, pack('nCx5', 1, 0), version => 0),
            'version 2'       => record('BEGIN', 1, pack('nCx5', 1, 0), version => 2),
            'BEGIN of 7 bytes' => record('BEGIN', 1, "\0\1\0\0\0\0\0") . params_records(1, params()),
            'BEGIN of 9 bytes' => record('BEGIN', 1, "\0\1\0\0\0\0\0\0\0") . params_records(1, params()),
            'BEGIN of no bytes' => record('BEGIN', 1, '') . params_records(1, params()),
            'request id 0'    => begin_record(0) . params_records(0, params()) . stdin_records(0, ''),
            'PARAMS without BEGIN' => params_records(1, params()) . stdin_records(1, 'x'),
            'an answer instead of a request' => record('STDOUT', 1, 'x') . record('END', 1, "\0" x 8),
        );
        for my $name (sort keys %garbage) {
            my $client = send_bytes($garbage{$name});
            $client->end_of_writing;
            ends($client, $name);
            serves();
        }
    };

    subtest 'silence' => sub {
        my @silent = map { php_connect($daemon) } 1 .. 40;
        serves('with 40 clients that say nothing, the pool serves');
        my @half = map { send_bytes(substr request(), 0, $_) } 1 .. 15;
        serves('with 15 that stop inside the first record');
        $_->close for @silent, @half;
    };

    subtest 'a client that stops in the middle and goes away' => sub {
        my $whole = request(body => 'x' x 5000, keep => 1);
        for my $length (17, 30, 100, 200, length($whole) - 5000, length($whole) - 9, length($whole) - 1) {
            my $client = send_bytes(substr $whole, 0, $length);
            serves("after $length of " . length($whole) . ' bytes: others are served');
            $client->close;
        }
        serves('when all are gone');
    };
}, 'the pool process leaks no descriptor');

subtest 'request_head_timeout' => sub {
    my $whole = request(keep => 1);
    for my $length (1, 15, 16, 60, length($whole) - 16) {
        my $client = php_connect($daemon, 'brief');
        $client->send_bytes(substr $whole, 0, $length);
        my $start = time();
        my $closed = eval { $client->read_answer(timeout => 8); 1 };
        my $took = time() - $start;
        ok($closed && $took > 0.5 && $took < 5, sprintf 'a head that stops after %d bytes is closed after its time (%.1f s)', $length, $took);
        is(eval { php_request($daemon, "$root/hello.php", pool => 'brief', timeout => 5)->{body} } // $@, 'hello', '... the one worker is free again');
    }
    my $idle = php_connect($daemon, 'brief');
    is($idle->request(script => "$root/hello.php")->{body}, 'hello', 'a kept connection');
    my $start = time();
    wait_for { time() > $start + 2 } 3, 'more than that time to pass';
    is($idle->request(script => "$root/hello.php")->{body}, 'hello', '... may be idle longer');
    allow_log(qr/\[pool brief\] /);
};

subtest 'a body of another length than announced' => sub {
    my $body = sub { my ($announced, $sent) = @_; return (script => "$root/body.php", body => $sent, method => 'POST', type => 'x/y', params => { CONTENT_LENGTH => $announced }) };
    my %case = (
        'shorter'        => [ 10, 'abc', qr/\A3 abc\z/ ],
        'none at all'    => [ 10, '', qr/\A0 \z/ ],
        'negative'       => [ -1, 'abc', undef ],
        'minus two GiB'  => [ -2147483648, 'abc', undef ],
        'huge'           => [ '9223372036854775807', 'abc', qr/\A3 abc\z/ ],
        'beyond 64 bits' => [ '99999999999999999999999', 'abc', undef ],
        'words'          => [ 'abc', 'abc', undef ],
        'blank'          => [ '', 'abc', undef ],
        'four and a tail' => [ '2abc', 'abcdef', qr/\A2 ab\z/ ],
        'longer'         => [ 2, 'abcdef', qr/\A2 ab\z/ ],
        'much longer'    => [ 2, 'abc' x 100_000, qr/\A2 ab\z/ ],
        'zero'           => [ 0, 'abc', qr/\A0 \z/ ],
    );
    for my $name (sort keys %case) {
        my ($announced, $sent, $expected) = @{ $case{$name} };
        for my $keep (0, 1) {
            my $client = send_bytes(FPMPool::Client::request_bytes($body->($announced, $sent), keep => $keep));
            my $answer = eval { $client->read_answer(timeout => 5) };
            ok($answer && $answer->{ended}, "$name, keep $keep: an answer comes") or diag($@);
            like($answer->{body} // '', $expected, '... PHP sees what was sent') if $expected && $answer;
            if ($keep && $answer && $client->is_open) {
                is(eval { $client->request(script => "$root/hello.php", timeout => 5)->{body} } // $@, 'hello', '... the kept connection is in step');
            }
        }
    }
    serves();
    is_deeply([ $daemon->worker_pids ], \@workers, 'the same workers');
};

subtest 'what a body hides is never a request' => sub {
    my $hidden = FPMPool::Client::request_bytes(script => "$root/evil.php", keep => 1);
    my $outer  = FPMPool::Client::request_params(script => "$root/hello.php", body => '', method => 'POST', params => { CONTENT_LENGTH => 0 });
    my %case = (
        'STDIN beyond CONTENT_LENGTH' => begin_record(1, keep => 1) . params_records(1, $outer) . stdin_records(1, $hidden),
        'in pieces of 8 bytes'        => begin_record(1, keep => 1) . params_records(1, $outer) . stdin_records(1, $hidden, piece => 8),
        'inside a parameter'          => request(keep => 1, params => { X => $hidden }),
        'inside padding'              => begin_record(1, keep => 1) . record('PARAMS', 1, '', padding => 255) . record('STDIN', 1, '', padding => 255),
        'in STDIN that does not end'  => begin_record(1, keep => 1) . params_records(1, $outer) . stdin_records(1, $hidden, no_end => 1),
    );
    for my $name (sort keys %case) {
        my $client = send_bytes($case{$name});
        $client->end_of_writing;
        ends($client, $name);
        while (my $record = eval { $client->read_record(2) }) { unlike($record->{content}, qr/evil/, "$name: no second answer") }
        ok(!-e "$data/evil", "$name: the hidden request did not run");
    }
    serves();
};

subtest 'management records and roles' => sub {
    my $client = send_bytes(record('GET_VALUES', 0, join '', map { FPMPool::Client::pair($_, '') } qw(FCGI_MAX_CONNS FCGI_MAX_REQS FCGI_MPXS_CONNS OTHER)));
    my $record = $client->read_record(5);
    is("$record->{type} $record->{id}", '10 0', 'GET_VALUES is answered');
    like($record->{content}, qr/FCGI_MPXS_CONNS0/, '... with FCGI_MPXS_CONNS');
    like($record->{content}, qr/FCGI_MAX_CONNS\d+/, '... and FCGI_MAX_CONNS');
    unlike($record->{content}, qr/OTHER/, '... unknown names are left out');
    is($client->request(script => "$root/hello.php")->{body}, 'hello', '... a request on the same connection');

    $client = send_bytes(record(99, 0, 'what'));
    $record = $client->read_record(5);
    is("$record->{type} $record->{id} " . ord $record->{content}, '11 0 99', 'an unknown management record: UNKNOWN_TYPE');
    is($client->request(script => "$root/hello.php")->{body}, 'hello', '... a request on the same connection');
    $client->send_bytes(record(77, 0, ''));
    is(eval { $client->read_record(5)->{type} } // $@, 11, '... again on the kept connection');
    serves('... which holds no worker then');
    is(eval { $client->request(script => "$root/hello.php", timeout => 5)->{body} } // $@, 'hello', '... and a request');
    $client->close;

    for my $role (0, 4, 65535) {
        $client = send_bytes(request(role => $role));
        my $answer = $client->read_answer(timeout => 5);
        is($answer->{protocol_status}, 3, "role $role: UNKNOWN_ROLE");
        is($answer->{stdout}, '', '... and nothing runs');
    }
    serves();
};

subtest 'records at the wrong time' => sub {
    my $client = send_bytes(begin_record(1, keep => 1) . begin_record(2, keep => 1) . params_records(1, params()) . stdin_records(1, ''));
    my @record;
    while (my $record = eval { $client->read_record(5) }) {
        push @record, $record;
        last if $record->{type} == 3 && $record->{id} == 1;
    }
    my ($refused) = grep { $_->{type} == 3 && $_->{id} == 2 } @record;
    is($refused && ord(substr $refused->{content}, 4, 1), 1, 'a second BEGIN: CANT_MPX_CONN');
    like(join('', map { $_->{content} } grep { $_->{type} == 6 } @record), qr/hello/, '... and the first request is served');

    $client = send_bytes(begin_record(1, keep => 1) . record('ABORT', 1, ''));
    my $answer = eval { $client->read_answer(timeout => 5) };
    ok($answer && (!$answer->{ended} || $answer->{stdout} eq ''), 'ABORT before PARAMS: nothing runs');

    for my $type (12, 200) {
        $client = send_bytes(begin_record(1) . record($type, 1, 'x') . params_records(1, params()) . stdin_records(1, ''));
        $client->end_of_writing;
        ends($client, "an unknown record of type $type inside a request");
    }
    $client = send_bytes(begin_record(1) . params_records(1, params(method => 'POST', params => { CONTENT_LENGTH => 5 })) . record('PARAMS', 1, FPMPool::Client::pair('A', 'b')) . stdin_records(1, 'abcde'));
    $client->end_of_writing;
    ends($client, 'PARAMS after their end');
    serves();
};

subtest 'PARAMS that are wrong or too many' => sub {
    my %case = (
        'a pair longer than its record'   => record('PARAMS', 1, chr(5) . chr(100) . 'short') . record('PARAMS', 1, ''),
        'a pair that says 2 GiB'          => record('PARAMS', 1, pack('NN', 0xffffffff, 0xffffffff) . 'x') . record('PARAMS', 1, ''),
        'one byte'                        => record('PARAMS', 1, 'x') . record('PARAMS', 1, ''),
        'half of a long length'           => record('PARAMS', 1, chr(1) . "\x80\0") . record('PARAMS', 1, ''),
        'empty names'                     => record('PARAMS', 1, "\0\0" x 1000) . record('PARAMS', 1, ''),
        'no pair'                         => record('PARAMS', 1, ''),
        'a hundred thousand pairs'        => params_records(1, [ map { [ "N$_", $_ ] } 1 .. 100_000 ]),
        'NUL in name and script'          => params_records(1, params(params => { "A\0B" => "c\0d", SCRIPT_FILENAME => "$root/evil.txt\0.php" })),
    );
    for my $name (sort keys %case) {
        my $client = send_bytes(begin_record(1) . $case{$name} . stdin_records(1, ''));
        $client->end_of_writing;
        ends($client, $name);
    }
    ok(!-e "$data/evil", 'what is checked is what is opened');
    my $memory = sub { my $sum = 0; for ($pool, $daemon->worker_pids) { read_file("/proc/$_/status") =~ /^VmRSS:\s+(\d+)/m and $sum += $1 } $sum };
    my $before = $memory->();
    my $client = php_connect($daemon);
    my $block  = record('PARAMS', 1, 'p' x 65_528);
    my $sent   = $client->send_bytes(begin_record(1));
    for (1 .. 1024) { $sent = $client->send_bytes($block) or last }
    ends($client, '64 MiB of PARAMS are cut off') if $sent;
    pass('64 MiB of PARAMS are refused while they come') unless $sent;
    $client->close;
    cmp_ok($memory->() - $before, '<', 16_384, 'memory stays bounded (kB)');
    serves();
};

subtest 'clients that do not read' => sub {
    my @client = map { send_bytes(FPMPool::Client::request_bytes(script => "$root/large.php")) } 1;
    serves('one client that takes nothing of 32 MiB: others are served');
    $_->close for @client;
    for (1 .. 10) { send_bytes(FPMPool::Client::request_bytes(script => "$root/large.php"))->close }
    serves('ten that go away at once');
};

subtest 'mutated requests' => sub {
    my $body = 'k=v&' x 50;
    my @good = (request(keep => 1), request(body => $body, keep => 1), request(body => $body, piece => 40), record('GET_VALUES', 0, FPMPool::Client::pair('FCGI_MAX_REQS', '')) . request());
    my $bad = 0;
    for my $round (1 .. 300) {
        my $bytes = $good[ rand @good ];
        for (1 .. 1 + rand 4) {
            my $at = int rand length $bytes;
            my $way = int rand 4;
            if    ($way == 0) { substr $bytes, $at, 1, chr int rand 256 }
            elsif ($way == 1) { substr $bytes, $at, 1 + rand 20, '' }
            elsif ($way == 2) { substr $bytes, $at, 0, join '', map { chr int rand 256 } 0 .. rand 20 }
            else              { $bytes = substr $bytes, 0, $at }
            last unless length $bytes;
        }
        my $client = send_bytes($bytes);
        $client->end_of_writing;
        my $open = 1;
        eval { while ($client->read_record(5)) { } $open = 0; 1 };
        if ($open && $@ =~ /timeout/) { $bad++; diag("seed $seed, round $round: no end: " . unpack 'H*', substr $bytes, 0, 200) }
        $client->close;
    }
    is($bad, 0, '300 mutated requests all end');
    serves();
};

is_deeply([ $daemon->worker_pids ], \@workers, 'the same workers as at the start');
allow_log(qr/\[pool www\] /);

subtest 'more connections than descriptors' => sub {
    my $limit  = 100;
    my $small  = start_daemon(name => 'small', conf => { www => { 'pm.max_children' => 2 } }, limit_files => $limit);
    my $before = descriptor_count($small->pool_pid);
    my @flood  = map { php_connect($small) } 1 .. 200;
    my $request = FPMPool::Client::request_bytes(script => "$root/hello.php", keep => 1);
    $_->send_bytes($request) for @flood;
    my $answered = 0;
    for my $client (@flood[ 0 .. 19 ]) { $answered++ if (eval { $client->read_answer(timeout => 5)->{body} } // '') eq 'hello' }
    is($answered, 20, 'the first ones are answered');
    my ($start, $used) = (time(), cpu_seconds($small->pool_pid));
    wait_for { time() > $start + 1 } 3, 'the measured second';
    cmp_ok(cpu_seconds($small->pool_pid) - $used, '<', 0.1, 'the pool process does not spin');
    $_->close for splice @flood, 0, 120;
    my $rest = grep { (eval { $_->read_answer(timeout => 10)->{body} } // '') eq 'hello' } @flood;
    is($rest, scalar @flood, 'the others are answered when some have gone');
    $_->close for @flood;
    is(php_request($small, "$root/hello.php", timeout => 10)->{body}, 'hello', 'afterwards all is well');
    wait_for { descriptor_count($small->pool_pid) <= $before } 5, 'all descriptors to be closed';
    my @said = grep { /WARNING|ERROR/ } split /\n/, $small->log_text;
    cmp_ok(scalar @said, '<', 5, 'the log says it, not once per connection') or diag(join "\n", @said);
    like($small->log_text, qr/descriptor|Too many open files/i, 'and names descriptors');
};
done_testing();
