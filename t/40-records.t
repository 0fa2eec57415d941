# FastCGI records, row by row as web servers may send them: each answer is php-fpm's, held beside the living peer,
# or an improvement that is named here. One worker in each pool: a case that loses it fails all others.

use strict;
use warnings;
use Digest::MD5 ();
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};
my $flags = test_dir() . '/flags';
mkdir $flags;
chmod 0777, $flags;
my $root = site('www',
    'hello.php' => '<?php echo "hello";',
    'role.php'  => '<?php echo $_SERVER["FCGI_ROLE"] ?? "none";',
    'body.php'  => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);',
    'size.php'  => '<?php echo count($_SERVER) > 10000 ? "many" : "few", " ", strlen($_SERVER["LONG"] ?? ""), " ", $_SERVER["N9999"] ?? "";',
    'flag.php'  => "<?php touch('$flags/' . \$_GET['n']); ignore_user_abort(true); echo 'ran';",
    'slow.php'  => "<?php touch('$flags/began'); while (!file_exists('$flags/go')) { usleep(5000); clearstatcache(); } echo 'slow';",
);
my $ours   = start_daemon(conf => { www => { 'pm.max_children' => 1, FPMPool::Board::needed_keys() } });
my $theirs = -x '/usr/sbin/php-fpm8.2' ? start_php_fpm(conf => { www => { 'pm.max_children' => 1 } }) : undef;
my ($worker) = wait_for { my ($one) = $ours->worker_pids; $one } 10, "a worker";
my ($flag, $compared) = (0, 0);
my $md5_of_abc = '900150983cd24fb0d6963f7d28e17f72';

sub params { return FPMPool::Client::request_params(script => "$root/hello.php", @_) }
sub whole  { return FPMPool::Client::request_bytes(script => "$root/hello.php", @_) }
sub values_record { return record('GET_VALUES', 0, join('', map { FPMPool::Client::pair($_, '') } @_ ? @_ : 'FCGI_MPXS_CONNS')) }

# Everything that comes back, as "TYPE/ID text" parts, STDOUT joined and without its header; "closed" at the end.
# more => 1: the connection stays open, and is read up to `records` END_REQUESTs or other whole answers.
sub exchange {
    my ($server, $bytes, %option) = @_;
    my $client = $option{client} || php_connect($server, undef, timeout => 15);
    my ($text, $stdout, $answers) = ('', '', 0);
    # one that refuses may close before it has read all
    if ($option{one_by_one}) { for my $at (0 .. length($bytes) - 1) { $client->send_bytes(substr $bytes, $at, 1) or last } }
    else                     { $client->send_bytes($bytes) }
    $client->end_of_writing if $option{half_close};
    while (!$option{answers} || $answers < $option{answers}) {
        my $record = eval { $client->read_record };
        if (!$record) { $text .= $@ ? "$@" : 'closed'; last }
        if ($record->{type} == 6) { $stdout .= $record->{content}; next }
        next if $record->{type} == 7;
        $answers++;
        if ($record->{type} == 3) {
            my ($status, $protocol) = unpack 'NC', $record->{content};
            my ($body) = $stdout =~ /\r\n\r\n(.*)\z/s;
            $text .= ($body // $stdout) . "|END/$record->{id} $protocol ";
            $stdout = '';
        } elsif ($record->{type} == 10) {
            my %value = FPMPool::Client::pairs_of($record->{content});
            $text .= "VALUES/$record->{id} " . join(',', map { "$_=" . ($_ eq 'FCGI_MPXS_CONNS' ? $value{$_} : $value{$_} > 0 ? 'n' : 0) } sort keys %value) . ' ';
        } elsif ($record->{type} == 11) {
            $text .= 'UNKNOWN/' . $record->{id} . ' ' . ord($record->{content}) . ' ';
        } else {
            $text .= "type $record->{type} ";
        }
    }
    $client->close unless $option{client};
    return $text =~ s/ \z//r;
}

# The pool's only worker serves, and is the one that it was.
sub is_well {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $body = eval { php_request($ours, "$root/hello.php", timeout => 10)->{body} } // $@;
    my ($now) = $ours->worker_pids;
    return is("$body $now", "hello $worker", "$name: the worker serves on");
}

# As php-fpm: the same answer from both, and what it is.
sub as_peer {
    my ($name, $bytes, $expected, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(exchange($ours, $bytes, %option), $expected, $name);
    if ($theirs) { is(exchange($theirs, $bytes, %option), $expected, "$name: php-fpm"); $compared++ }
    return is_well($name);
}

# Better than php-fpm, whose answer is $peers (undef: it is not asked, since it would wait for ever).
sub better {
    my ($name, $bytes, $expected, $peers, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(exchange($ours, $bytes, %option), $expected, $name);
    if ($theirs && defined $peers) { is(exchange($theirs, $bytes, %option), $peers, "$name: what php-fpm does instead"); $compared++ }
    return is_well($name);
}

my $ok = 'hello|END/1 0 closed';

subtest 'version' => sub {
    for my $version (0, 2, 9, 255) {
        my $bytes = record('BEGIN', 1, pack('nCx5', 1, 0), version => $version) . params_records(1, params()) . stdin_records(1, '');
        if ($version == 0) { as_peer("version $version: closed", $bytes, 'closed') }
        else               { better("version $version: closed, it is no version that we know", $bytes, 'closed', $ok) }
    }
    better('another version in a later record: closed', begin_record(1) . record('PARAMS', 1, '', version => 7), 'closed', '|END/1 0 closed');
};

subtest 'the first record' => sub {
    my $rest = params_records(1, params()) . stdin_records(1, '');
    as_peer('BEGIN_REQUEST', begin_record(1) . $rest, $ok);
    as_peer("a BEGIN_REQUEST of $_ bytes: closed", record('BEGIN', 1, substr "\0\1\0\0\0\0\0\0\0\0", 0, $_) . $rest, 'closed') for 0, 7, 9;
    as_peer('empty STDIN records before it', record('STDIN', 1, '') x 3 . begin_record(1) . $rest, $ok);
    as_peer('... of another id', record('STDIN', 9, '') . begin_record(1) . $rest, $ok);
    better('... with padding', record('STDIN', 1, '', padding => 255) . begin_record(1) . $rest, $ok, 'closed');
    better('padding of BEGIN_REQUEST', record('BEGIN', 1, pack('nCx5', 1, 0), padding => 255) . $rest, $ok, $ok);
};

subtest 'request ids' => sub {
    as_peer("id $_", FPMPool::Client::request_bytes(script => "$root/hello.php", id => $_), "hello|END/$_ 0 closed") for 1, 255, 256, 65535;
    better('id 0 is for management: closed', begin_record(0) . params_records(0, params()) . stdin_records(0, ''), 'closed', 'hello|END/0 0 closed');
    my $wrong = begin_record(1, keep => 1) . params_records(7, params(script => "$root/flag.php", query => 'n=wrong')) . params_records(1, params()) . stdin_records(8, 'x') . stdin_records(1, '');
    better('records of an id that is not open are skipped', $wrong, 'hello|END/1 0', undef, answers => 1);
    ok(!-e "$flags/wrong", '... and are part of no request');
};

subtest 'roles' => sub {
    for ([ 1, 'RESPONDER' ], [ 2, 'AUTHORIZER' ], [ 3, 'FILTER' ]) {
        my ($role, $name) = @$_;
        my $data = $role == 3 ? record('DATA', 1, 'some data') . record('DATA', 1, '') : '';
        as_peer("role $role: FCGI_ROLE", FPMPool::Client::request_bytes(script => "$root/role.php", role => $role) . $data, "$name|END/1 0 closed", answers => 0);
    }
    better("role $_: UNKNOWN_ROLE", whole(role => $_), '|END/1 3 closed', 'closed') for 0, 4, 255, 65535;
    better('UNKNOWN_ROLE on a kept connection, and the next request', whole(role => 4, keep => 1, id => 3) . whole(keep => 1, id => 4), '|END/3 3 hello|END/4 0', 'closed', answers => 2);
};

subtest 'PARAMS' => sub {
    my $pairs = params(params => { LONG => 'l' x 300 });
    my $stream = join '', map { FPMPool::Client::pair(@$_) } @$pairs;
    my $cut_at = sub {
        my @length = @_;
        my ($out, $at) = ('', 0);
        for my $length (@length) { $out .= record('PARAMS', 1, substr $stream, $at, $length); $at += $length }
        return begin_record(1) . $out . record('PARAMS', 1, substr $stream, $at) . record('PARAMS', 1, '') . stdin_records(1, '');
    };
    as_peer('in one record', $cut_at->(), $ok);
    my $whole_pair = length FPMPool::Client::pair(@{ $pairs->[0] });
    as_peer('in two, cut between pairs', $cut_at->($whole_pair), $ok);
    better("cut inside the first pair, at $_", $cut_at->($_), $ok, 'closed') for 1, 2, 5, $whole_pair - 1;
    my $long = index $stream, "\x04" . pack 'N', 0x80000000 | 300;
    cmp_ok($long, '>', 0, 'there is a long length');
    better("cut inside a length of four bytes, at $_", $cut_at->($long + $_), $ok, 'closed') for 1 .. 5;
    better('one byte in each record', begin_record(1) . join('', map { record('PARAMS', 1, $_) } split //, $stream) . record('PARAMS', 1, '') . stdin_records(1, ''), $ok, 'closed');
    better('with padding of 255 bytes each', begin_record(1) . join('', map { record('PARAMS', 1, $_, padding => 255) } split //, $stream) . record('PARAMS', 1, '', padding => 255) . record('STDIN', 1, '', padding => 255), $ok, 'closed');
    my $size = FPMPool::Client::request_params(script => "$root/size.php", params => { LONG => 'l' x 65_000, map { ("N$_" => $_) } 0 .. 9999 });
    as_peer('10,000 parameters in 10,000 records', begin_record(1) . join('', map { record('PARAMS', 1, FPMPool::Client::pair(@$_)) } @$size) . record('PARAMS', 1, '') . stdin_records(1, ''), 'many 65000 9999|END/1 0 closed');
    my $max = FPMPool::Client::request_params(script => "$root/size.php");
    my $base = join '', map { FPMPool::Client::pair(@$_) } @$max;
    my $fill = 65_535 - length($base) - length(FPMPool::Client::pair('LONG', 'l' x 60_000)) + 60_000;
    as_peer('a record of 65535 bytes', begin_record(1) . record('PARAMS', 1, $base . FPMPool::Client::pair('LONG', 'l' x $fill)) . record('PARAMS', 1, '') . stdin_records(1, ''), "few $fill |END/1 0 closed");
    as_peer('65528 and 7 of padding', begin_record(1) . record('PARAMS', 1, $base . FPMPool::Client::pair('LONG', 'l' x ($fill - 7)), padding => 7) . record('PARAMS', 1, '') . stdin_records(1, ''), 'few ' . ($fill - 7) . ' |END/1 0 closed');
    better('a record of 65535 bytes with 255 of padding, as the specification allows', begin_record(1) . record('PARAMS', 1, $base . FPMPool::Client::pair('LONG', 'l' x $fill), padding => 255) . record('PARAMS', 1, '') . stdin_records(1, ''), "few $fill |END/1 0 closed", 'closed');
    better('another record in place of their end: closed', begin_record(1) . record('PARAMS', 1, $stream) . record('STDIN', 1, '') . stdin_records(1, ''), 'closed', $ok);
    better('no parameter at all', begin_record(1) . record('PARAMS', 1, '') . stdin_records(1, ''), '|END/1 0 closed', '|END/1 0 closed');
    better('a pair that goes beyond the end of the stream: closed', begin_record(1) . record('PARAMS', 1, "\5\100abc") . record('PARAMS', 1, '') . stdin_records(1, ''), 'closed', 'closed');
};

subtest 'STDIN' => sub {
    my $post = sub { my ($length) = @_; return params_records(1, FPMPool::Client::request_params(script => "$root/body.php", body => '', type => 'x/y', params => { CONTENT_LENGTH => $length })) };
    my $got = "3 $md5_of_abc|END/1 0 closed";
    as_peer('in one record', begin_record(1) . $post->(3) . stdin_records(1, 'abc'), $got);
    as_peer('one byte in each record', begin_record(1) . $post->(3) . stdin_records(1, 'abc', piece => 1), $got);
    as_peer('with padding of 255 bytes', begin_record(1) . $post->(3) . record('STDIN', 1, 'abc', padding => 255) . record('STDIN', 1, '', padding => 255), $got);
    my $large = 'x' x 65_535;
    my $sum   = Digest::MD5::md5_hex($large x 2);
    as_peer('two records of 65535 bytes', begin_record(1) . $post->(131_070) . record('STDIN', 1, $large) x 2 . record('STDIN', 1, ''), "131070 $sum|END/1 0 closed");
    better('the same with padding', begin_record(1) . $post->(131_070) . record('STDIN', 1, $large, padding => 255) x 2 . record('STDIN', 1, ''), "131070 $sum|END/1 0 closed", undef);
    better('shorter than announced: what came', begin_record(1) . $post->(1000) . stdin_records(1, 'abc'), $got, undef);
    better('negative length: what came', begin_record(1) . $post->(-1) . stdin_records(1, 'abc'), $got, undef);
    better('an empty record twice', begin_record(1, keep => 1) . $post->(3) . stdin_records(1, 'abc') . record('STDIN', 1, '') . whole(id => 2, keep => 1), "3 $md5_of_abc|END/1 0 hello|END/2 0", "3 $md5_of_abc|END/1 0 hello|END/2 0", answers => 2);
    my $hidden = FPMPool::Client::request_bytes(script => "$root/flag.php", query => 'n=hidden', keep => 1);
    my $client = php_connect($ours, undef, timeout => 15);
    like(exchange($ours, begin_record(1, keep => 1) . $post->(3) . stdin_records(1, "abc$hidden"), client => $client, answers => 1), qr/\A3 $md5_of_abc\|END\/1 0/, 'more than announced: what was announced is read');
    is(eval { exchange($ours, '', client => $client, half_close => 1) } // $@, 'closed', '... and nothing else comes');
    ok(!-e "$flags/hidden", '... and what was behind it is no request');
    as_peer('none is awaited when PARAMS announce none', begin_record(1) . params_records(1, params()) . stdin_records(1, ''), $ok);
};

subtest 'content after the end of a request' => sub {
    is(exchange($ours, whole(keep => 1) . record('STDIN', 1, 'late') . whole(keep => 1, id => 2), answers => 2), 'hello|END/1 0 hello|END/2 0', 'STDIN of a request that has ended is skipped');
    is(exchange($ours, whole(keep => 1) . record('PARAMS', 1, 'x') . whole(keep => 1, id => 2), answers => 2), 'hello|END/1 0 hello|END/2 0', 'PARAMS too');
    is(exchange($ours, whole(keep => 1) . 'no record at all', answers => 2), 'hello|END/1 0 closed', 'bytes that are no record close the connection');
    is(exchange($ours, whole() . whole(id => 2)), $ok, 'a second request on a connection that is not kept does not run');
    is_well('afterwards');
};

subtest 'ABORT_REQUEST' => sub {
    my $runs = sub { my ($name, $bytes, $expected) = @_;
        my $n = 'abort' . ++$flag;
        my $params = params_records(1, FPMPool::Client::request_params(script => "$root/flag.php", query => "n=$n", method => 'POST', params => { CONTENT_LENGTH => 3 }));
        my $got = exchange($ours, $bytes->($params), answers => 1);
        like($got, $expected, $name);
        ok(!-e "$flags/$n", '... and nothing has run');
        is_well($name);
    };
    my $abort = record('ABORT', 1, '');
    $runs->('before PARAMS', sub { begin_record(1, keep => 1) . $abort }, qr/\A\|END\/1 0\z/);
    $runs->('within PARAMS', sub { begin_record(1, keep => 1) . substr($_[0], 0, length($_[0]) - 8) . $abort }, qr/\A\|END\/1 0\z/);
    is(exchange($ours, begin_record(1, keep => 1) . $abort . whole(script => "$root/flag.php", query => 'n=behind', id => 2, keep => 1), answers => 2), '|END/1 0 closed', 'the connection is not kept');
    ok(!-e "$flags/behind", '... and no request behind it has run');
    is(exchange($ours, whole(keep => 1) . $abort . whole(id => 2, keep => 1), answers => 2), 'hello|END/1 0 hello|END/2 0', 'after the end of its request it means nothing');
    is(exchange($ours, $abort . whole(keep => 1), answers => 1), 'hello|END/1 0', 'before any request neither');
    is(exchange($ours, begin_record(1, keep => 1) . record('ABORT', 5, '') . params_records(1, params()) . stdin_records(1, ''), answers => 1), 'hello|END/1 0', 'of another id neither');
    my $client = php_connect($ours, undef, timeout => 15);
    $client->send_request(script => "$root/slow.php", keep => 1);
    wait_for { -e "$flags/began" } 10, 'the script';
    $client->send_bytes($abort);
    write_file("$flags/go", '');
    is(exchange($ours, '', client => $client, answers => 1), 'slow|END/1 0', 'while its script runs: the script ends');
    is(exchange($ours, whole(id => 2, keep => 1), client => $client, answers => 1), 'hello|END/2 0', '... and the connection serves on');
    is_well('afterwards');
};

subtest 'a second BEGIN_REQUEST' => sub {
    my $second = FPMPool::Client::request_bytes(script => "$root/flag.php", query => 'n=second', id => 2, keep => 1);
    my $first  = params_records(1, params());
    for ([ 'before PARAMS', begin_record(1, keep => 1) . $second . $first . stdin_records(1, '') ],
        [ 'between PARAMS and STDIN', begin_record(1, keep => 1) . $first . $second . stdin_records(1, '') ]) {
        my ($name, $bytes) = @$_;
        my $got = exchange($ours, $bytes . whole(id => 3, keep => 1), answers => 3);
        like($got, qr/\|END\/2 1/, "$name: CANT_MPX_CONN for the second");
        like($got, qr/hello\|END\/1 0.*hello\|END\/3 0/, '... the first is served, and the next');
        ok(!-e "$flags/second", '... the second did not run');
    }
    is(exchange($ours, begin_record(1, keep => 1) . begin_record(1, keep => 1) . $first . stdin_records(1, '')), 'closed', 'of the same id: closed');
    is_well('afterwards');
};

subtest 'unknown types' => sub {
    for my $type (12, 99, 255) {
        better("type $type, id 0, before a request: UNKNOWN_TYPE", record($type, 0, 'what') . whole(), "UNKNOWN/0 $type $ok", 'closed');
        is(exchange($ours, whole(keep => 1) . record($type, 0, '') . whole(id => 2, keep => 1), answers => 3), "hello|END/1 0 UNKNOWN/0 $type hello|END/2 0", '... and between two');
        my $inside = exchange($ours, begin_record(1, keep => 1) . record($type, 0, 'x' x 300, padding => 9) . params_records(1, params()) . stdin_records(1, ''), answers => 2);
        is($inside, "UNKNOWN/0 $type hello|END/1 0", '... and inside one');
        better("type $type, id 1, instead of a request: closed", record($type, 1, 'what') . whole(), 'closed', 'closed');
        is(exchange($ours, begin_record(1, keep => 1) . record($type, 1, 'x') . params_records(1, params()) . stdin_records(1, '')), 'closed', '... and inside one');
    }
    for my $type (3, 6, 7, 10, 11) {
        is(exchange($ours, record($type, $type > 8 ? 0 : 1, "\0" x 8) . whole()), 'closed', "type $type is the application's: closed");
    }
    is_well('afterwards');
};

subtest 'GET_VALUES' => sub {
    my $all = 'VALUES/0 FCGI_MAX_CONNS=n,FCGI_MAX_REQS=n,FCGI_MPXS_CONNS=0';
    my @all = qw(FCGI_MAX_CONNS FCGI_MAX_REQS FCGI_MPXS_CONNS);
    as_peer('MPXS_CONNS', values_record() . whole(), "VALUES/0 FCGI_MPXS_CONNS=0 $ok");
    better('all three', values_record(@all) . whole(), "$all $ok", "VALUES/0 FCGI_MPXS_CONNS=0 $ok");
    as_peer('an unknown name', values_record('OTHER', 'FCGI_MPXS_CONNS') . whole(), "VALUES/0 FCGI_MPXS_CONNS=0 $ok");
    better('twice before a request', values_record(@all) x 2 . whole(), "$all $all $ok", undef);
    better('with padding', record('GET_VALUES', 0, FPMPool::Client::pair('FCGI_MPXS_CONNS', ''), padding => 255) . whole(), "VALUES/0 FCGI_MPXS_CONNS=0 $ok", undef);
    is(exchange($ours, values_record(@all) . whole(keep => 1) . values_record(@all) . whole(id => 2, keep => 1) . values_record(@all), answers => 5), "$all hello|END/1 0 $all hello|END/2 0 $all", 'pipelined before, between and behind requests');
    is(exchange($ours, begin_record(1, keep => 1) . values_record(@all) . params_records(1, params()) . values_record(@all) . stdin_records(1, ''), answers => 3), "$all $all hello|END/1 0", 'inside a request');
    my $client = php_connect($ours, undef, timeout => 15);
    my $next = whole(id => 9, keep => 1);
    is(exchange($ours, whole(keep => 1) . values_record(@all) . substr($next, 0, 100), client => $client, answers => 2), "hello|END/1 0 $all", 'half a request behind: answered before the other half comes');
    is(exchange($ours, substr($next, 100), client => $client, answers => 1), 'hello|END/9 0', '... which is served then');
    my $head = begin_record(1, keep => 1) . params_records(1, FPMPool::Client::request_params(script => "$root/body.php", body => 'abc', type => 'x/y'));
    is(exchange($ours, $head . record('STDIN', 1, 'ab') . values_record(@all), client => $client, answers => 1), $all, 'inside a body that is waited for: at once');
    is(exchange($ours, record('STDIN', 1, 'c') . record('STDIN', 1, ''), client => $client, answers => 1), "3 $md5_of_abc|END/1 0", '... and the request goes on');
    for my $n (1 .. 3) {
        is(exchange($ours, values_record(@all), client => $client, answers => 1), $all, "round $n on a kept connection: values");
        is_well("round $n");
        is(exchange($ours, whole(id => $n, keep => 1), client => $client, answers => 1), "hello|END/$n 0", "round $n: a request");
    }
    is(exchange($ours, record('GET_VALUES', 0, "\x0f") . whole()), 'closed', 'a pair that is cut: closed');
    is_well('afterwards');
};

subtest 'one byte at a time' => sub {
    # A body that is read to the end of its stream: one of a known length may be answered before the end has come, and
    # the connection is not kept then (nothing waits for a client that may have gone).
    my $body = FPMPool::Client::request_bytes(script => "$root/body.php", body => 'abc', type => 'x/y', keep => 1, params => { CONTENT_LENGTH => undef, FPMPOOL_BODY => 'stream' });
    my $both = values_record() . record('STDIN', 1, '') . $body . record(99, 0, 'x') . whole(id => 2, keep => 1);
    my $expected = "VALUES/0 FCGI_MPXS_CONNS=0 3 $md5_of_abc|END/1 0 UNKNOWN/0 99 hello|END/2 0";
    is(exchange($ours, $both, answers => 4), $expected, 'whole');
    is(exchange($ours, $both, answers => 4, one_by_one => 1), $expected, 'byte by byte');
    as_peer('a request byte by byte', FPMPool::Client::request_bytes(script => "$root/body.php", body => 'abc', type => 'x/y'), "3 $md5_of_abc|END/1 0 closed", one_by_one => 1);
};

subtest 'FCGI_KEEP_CONN' => sub {
    as_peer('not kept: closed after END_REQUEST', whole(), $ok);
    as_peer('kept: pipelined requests are answered in order', join('', map { whole(id => $_, keep => 1) } 1 .. 20), join(' ', map { "hello|END/$_ 0" } 1 .. 20), answers => 20);
    as_peer('kept, then not', whole(keep => 1) . whole(id => 2), 'hello|END/1 0 hello|END/2 0 closed');
    as_peer('other flag bits mean nothing', record('BEGIN', 1, pack 'nCx5', 1, 0xfe) . params_records(1, params()) . stdin_records(1, ''), $ok);
    as_peer('a half-close after the request is no hang-up', whole(keep => 1), $ok, half_close => 1);
};

subtest 'END_REQUEST' => sub {
    my $answer = php_request($ours, "$root/hello.php");
    is($answer->{reserved}, "\0\0\0", 'its reserved bytes are zeros');
};
diag("section 4.1: $compared cases beside php-fpm") if $theirs;
cmp_ok($compared, '>', 50, "$compared cases were held beside php-fpm") if $theirs;
allow_log(qr/\[pool www\] /) if $theirs;
done_testing();
