# Section 3.8 beside the living peer: the status page in five formats, plain and full, GET and HEAD, of a pool that has
# just started, has a busy worker, has served: the same bytes, figures included, but for times, process ids, memory.
# Then what must be escaped, which words choose a format, ping, fpm_get_status(), and what exporters read.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
my ($peer_patch) = `php-fpm8.2 -n -v 2>/dev/null` =~ /\APHP 8\.2\.(\d+)/;
plan(skip_all => 'php-fpm before 8.2.36 does not escape user and script') if ($peer_patch // 0) < 36;

my $odd  = q{o<b>"&'d.php};
my $gate = test_dir() . '/gate';
mkdir $gate;
chmod 0777, $gate;
my $wait = 'touch("$g.began"); $end = hrtime(true) + 30e9; while (!file_exists("$g.go") && hrtime(true) < $end) { usleep(5000); clearstatcache(); } echo "done";';
my $root = site('www',
    'run.php'   => '<?php eval($_SERVER["X_CODE"]);',
    'hello.php' => '<?php echo "hello\n";',
    'busy.php'  => "<?php \$g = \$_SERVER['X_GATE']; $wait",
    $odd        => "<?php \$g = \$_SERVER['X_GATE']; $wait",
);
my %pool = (FPMPool::Board::needed_keys(), 'pm.max_children' => 2, 'ping.path' => '/ping', 'ping.response' => '"a <b> & b"', 'pm.status_path' => '/status');
my %conf = (www => {%pool}, hostile => {%pool}, all => {%pool}, one => { %pool, 'pm.max_children' => 1 }, dynamic => { %pool, pm => 'dynamic', 'pm.max_children' => 1, 'pm.start_servers' => 1, 'pm.min_spare_servers' => 1, 'pm.max_spare_servers' => 1 }, ondemand => { %pool, pm => 'ondemand', listen => 'tcp', 'listen.backlog' => 77 });
my $ours   = start_daemon(conf => \%conf);
my $theirs = start_php_fpm(conf => \%conf);
compare_servers($ours, $theirs, $root);
for my $server ($ours, $theirs) {
    wait_for { 4 == map { $server->worker_pids($_) } qw(www one dynamic) } 10, 'workers';
}

# ---- what cannot be equal -----------------------------------------------------------------------

# Times, ids, memory; and the length of the queue, which php-fpm does not know of a Unix socket (7.20).
my @varies = ('start time', 'start since', 'pid', 'request duration', 'last request cpu', 'last request memory', 'listen queue len');
my @column = qw(pid STATE DATE since REQUESTS duration METHOD URI LENGTH USER SCRIPT cpu memory);

sub masked {
    my ($text) = @_;
    for my $name (@varies) {
        my $element = $name =~ s/ /-/gr;
        my $value   = qr/\d+(?:\.\d\d)?|\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/;
        $text =~ s/^(\Q$name\E: +)$value$/$1N/mg;
        $text =~ s/("\Q$name\E":)$value\b/$1N/g;
        $text =~ s{(<\Q$element\E>)$value(</)}{$1N$2}g;
        $text =~ s{(<th>\Q$name\E</th><td>)$value(</)}{$1N$2}g;
    }
    $text =~ s/^(phpfpm_(?:start_since|listen_queue_length)) \d+$/$1 N/mg;
    # rows of the second table
    $text =~ s{^<tr>((?:<td>[^<]*</td>){13})</tr>$}{ my @cell = $1 =~ m{<td>([^<]*)}g; $_ = 'N' for @cell[ 0, 2, 3, 5, 11, 12 ]; join '|', @cell }meg;
    return $text;
}

# The processes of a full page, in an order that does not depend on who was forked first.
sub ordered {
    my ($text) = @_;
    $text =~ s{("processes":\[)(.*)(\]\})}{ $1 . join(',', sort split /(?<=\}),/, $2) . $3 }es;
    $text =~ s{(<processes>\n)(.*?)(</processes>)}{ $1 . join("\n", sort split /\n/, $2) . "\n$3" }es;
    $text =~ s{((?:^N\|.*\n){2,})}{ join("\n", sort split /\n/, $1) . "\n" }emg;
    if ($text =~ /\A(.*?)\n(\*{24}\n.*)\z/s) {
        my ($head, $rest) = ($1, $2);
        my ($tail, $end) = $rest =~ /\A(.*?)(\n--- STDERR.*)\z/s;
        $text = join "\n", $head, (sort map { s/\n+\z//r } split /^\*{24}\n/m, $tail), $end;
    }
    return $text;
}

# Fields of our own may follow php-fpm's, in JSON and OpenMetrics.
sub without_more {
    my ($text) = @_;
    $text =~ s/("slow requests":\d+)(?:,"[^"]+":(?:"[^"]*"|[\d.]+))+/$1/;
    $text =~ s/(^phpfpm_slow_requests \d+\n).*?(?=^# EOF)/$1/ms;
    return $text;
}

sub page { my ($text) = @_; return ordered(masked(without_more($text))) }

# ---- the pages ----------------------------------------------------------------------------------

sub hold {
    my ($pool, $script, %option) = @_;
    my @held;
    for my $server ($ours, $theirs) {
        my $file   = note_file();
        my $client = php_connect($server, $pool);
        $client->send_request(script => "$root/$script", %option, params => { %{ $option{params} || {} }, X_GATE => $file });
        wait_for { -e "$file.began" } 15, 'the request to run';
        push @held, [ $server, $client, $file ];
    }
    return sub {
        for my $held (@held) {
            my ($server, $client, $file) = @$held;
            write_file("$file.go", '');
            $client->read_answer;
            $client->close;
        }
    };
}

my %in_state = ('just started' => 0, busy => 0, served => 0);

sub all_pages {
    my ($pool, $state, %option) = @_;
    for my $format ('', 'json', 'html', 'xml', 'openmetrics') {
        for my $full ('', 'full') {
            for my $method (qw(GET HEAD)) {
                my $query = join '&', grep { length } $format, $full;
                same("$state: $method /status?$query", pool => $pool, name => '/status', script => 'hello.php', query => $query, method => $method, mask => \&page, %option);
                $in_state{$state}++;
            }
        }
    }
    return;
}

section('3.8');
# Both look once a second whether the one worker is idle; who looks in the moment of a request counts, and warns (14-managers-peer.t)
subtest 'just started' => sub { all_pages('dynamic', 'just started', idle => 1, mask => sub { page($_[0]) =~ s/(max.children.reached\W[^\d\n]*)[01]\b/$1N/r }) };
allow_log(qr/\[pool dynamic\] server reached pm\.max_children setting \(1\)/);
subtest 'served' => sub {
    php_request($_, "$root/hello.php", query => 'q=1', method => 'POST', body => 'four', name => '/a/b', pool => 'one') for $ours, $theirs;
    all_pages('one', 'served', idle => 1);
};
subtest 'one worker busy' => sub {
    my $release = hold('www', 'busy.php', query => 'q=1&r=%20', method => 'PUT', body => 'five5', name => '/busy/path', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' });
    all_pages('www', 'busy', busy => 1);
    $release->();
};
is($in_state{$_}, 20, "$_: 20 pages") for sort keys %in_state;

subtest 'ondemand, TCP' => sub {
    differs('asleep', 'the pool process answers and wakes no worker', qr/^accepted conn: +1\n.*^total processes: +0$/ms, qr/^accepted conn: +1\n.*^total processes: +1$/ms, pool => 'ondemand', name => '/status', script => 'hello.php');
    php_request($_, "$root/hello.php", pool => 'ondemand') for $ours, $theirs;
    # php-fpm looks at the queue once a second, and shows until the next look what it saw
    wait_for { (map { php_request($_, "$root/x", name => '/status', pool => 'ondemand')->{body} } $ours, $theirs)[1] =~ /^listen queue: +0$/m } 10, 'php-fpm to look at its empty queue';
    same("awake: /status?$_", pool => 'ondemand', name => '/status', script => 'hello.php', query => $_, idle => 1, mask => sub { page($_[0]) =~ s/(max.listen.queue\W[^\d\n]*)[01]\b/$1N/r }) for '', 'json', 'html', 'xml', 'openmetrics';
    my @length = map { php_request($_, "$root/x", name => '/status', pool => 'ondemand')->{body} =~ /^max listen queue: +(\d+)$/m } $ours, $theirs;
    like("@length", qr/^1 [01]$/, 'max listen queue: one has waited for the first worker, which php-fpm sees by chance alone (7.20)');
    @length = map { php_request($_, "$root/x", name => '/status', pool => 'ondemand')->{body} =~ /^listen queue len: +(\d+)$/m } $ours, $theirs;
    is($length[0], $length[1], 'listen queue len of a TCP socket');
    @length = map { php_request($_, "$root/x", name => '/status')->{body} =~ /^listen queue len: +(\d+)$/m } $ours, $theirs;
    cmp_ok($length[0], '>', 0, 'listen queue len of a Unix socket is known');
    is($length[1], 0, '... where php-fpm says 0 (7.20)');
};

subtest 'what must be escaped' => sub {
    my %hostile = (method => q{<"&'>}, query => q{a=<script>alert("1")</script>&b='x'\\/y}, name => q{/u<i>"&'/x}, params => { HTTP_AUTHORIZATION => 'Basic PGI+IicmOng=' });
    my $release = hold('hostile', $odd, %hostile);
    same("another worker's request: $_", pool => 'hostile', name => '/status', script => 'hello.php', query => $_, busy => 1, mask => \&page) for 'full', 'json&full', 'html&full', 'xml&full';
    for my $format (qw(html xml)) {
        for my $server ($ours, $theirs) {
            my $body = php_request($server, "$root/x", name => '/status', query => "$format&full", pool => 'hostile')->{body};
            unlike($body, qr/<(?:i>|b>|script>alert|"&)/, $server->name . ", $format: no markup of a client");
        }
    }
    $release->();
    same("its own query: $_", pool => 'one', name => '/status', script => 'hello.php', query => $_, idle => 1, mask => \&page)
        for map { my $format = $_; map { "${format}full&$_" } q{<x>"&y='/\\}, "\x01\t\x7f", "\xc3\xa9\xe2\x82\xac", '%3Cb%3E+&;' } '', 'json&', 'html&', 'xml&';
};

subtest 'words of the query' => sub {
    my $format = sub { my ($text) = @_; my ($type) = $text =~ /^Content-[Tt]ype: (.*?)\r?$/m; return $type . ($text =~ /request.ur[il]/i ? ' full' : '') };
    for my $query ('JSON', 'Json', 'json=', 'json=0', 'json=1&xml', '&json', '&&json', 'y&json', 'json&', 'jsonx', 'xjson', 'json;full', 'full=0&json', 'json%26full', 'xml=a&html', 'openmetrics&json', 'html&openmetrics', 'FULL', 'full&full', 'json#full', 'json?full', '?json', 'json ', 'json+full', 'a=json', 'html5', 'fullx&json', '_json') {
        same("'$query'", name => '/status', script => 'hello.php', query => $query, mask => $format);
    }
    for my $begin (qw(j js x h ht o openm)) {
        differs("'$begin'", '3.8: php-fpm takes the beginning of a word', qr/\Atext\/plain/, qr/\A(?!text\/plain)/, name => '/status', script => 'hello.php', query => $begin, mask => $format);
    }
    differs("'$_'", 'php-fpm decodes the query as PHP does for $_GET; a page of figures needs no such spelling', qr/\Atext\/plain/, qr/json/, name => '/status', script => 'hello.php', query => $_, mask => $format) for 'js%6fn', 'json[]', ' json';
    differs("'json&ful'", '3.8: php-fpm takes the beginning of a word', qr/json\z/, qr/json full\z/, name => '/status', script => 'hello.php', query => 'json&ful', mask => $format);
};

subtest 'ping' => sub {
    for my $method (qw(GET HEAD POST)) { same("$method $_", name => '/ping', script => 'hello.php', query => $_, method => $method) for '', 'json', 'full' }
    same("$_ is another path", name => $_, script => 'hello.php') for '/ping/', '/PING', '/ping?', '//ping', '/pin', '/status/', '/Status', '/stat';
};

subtest 'fpm_get_status()' => sub {
    my $types = 'function types($v) { if (!is_array($v)) return gettype($v); $o = []; foreach ($v as $k => $e) $o[] = "$k: " . types($e); return "[" . implode(", ", $o) . "]"; }';
    same('keys and types', pool => 'one', code => "$types echo types(fpm_get_status());");
    same('values', pool => 'one', code => 'ob_start(); $s = fpm_get_status(); foreach (["start-time", "start-since", "listen-queue-len"] as $k) unset($s[$k]);
        foreach ($s["procs"] as &$p) foreach (["pid", "start-time", "start-since", "request-duration", "last-request-cpu", "last-request-memory"] as $k) unset($p[$k]); unset($p); unset($s["accepted-conn"], $s["procs"][0]["requests"]); var_dump($s);',
        query => 'a=<b>&c', body => 'x=1', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' });
    differs('with an argument', 'PHP itself refuses it', qr/ArgumentCountError/, qr/ArgumentCountError/, pool => 'one', code => 'try { fpm_get_status(1); } catch (Error $e) { echo get_class($e), $e->getMessage(); }');
};

# ---- what reads it --------------------------------------------------------------------------------

# The fields that hipages/php-fpm_exporter reads, with the types that it needs: it refuses the whole page otherwise.
my %of_pool = (
    (map { $_ => 'text' } 'pool', 'process manager'),
    (map { $_ => 'integer' } 'start time', 'start since', 'accepted conn', 'listen queue', 'max listen queue', 'listen queue len', 'idle processes', 'active processes', 'total processes', 'max active processes', 'max children reached', 'slow requests'),
);
my %of_process = (
    (map { $_ => 'text' } 'state', 'request method', 'request uri', 'user', 'script'),
    (map { $_ => 'integer' } 'pid', 'start time', 'start since', 'requests', 'request duration', 'content length', 'last request memory'),
    'last request cpu' => 'number',
);
my %shape = (text => qr/\A".*"\z/s, integer => qr/\A\d+\z/, number => qr/\A\d+(?:\.\d+)?\z/);

sub wrong_fields {
    my ($json, $found, $wanted) = @_;
    my @wrong;
    for my $name (sort keys %$wanted) {
        push(@wrong, "$name is missing"), next unless exists $found->{$name};
        my $value = $json->encode($found->{$name});
        push @wrong, "$name is $value, not $wanted->{$name}" unless $value =~ $shape{ $wanted->{$name} };
    }
    return @wrong;
}

sub check_exporter {
    my ($server, $state, $pool, %states) = @_;
    my $json   = JSON::PP->new->allow_nonref->utf8;
    my $answer = php_request($server, '/status', name => '/status', query => 'json&full', pool => $pool, params => { SERVER_SOFTWARE => 'go / php-fpm_exporter', DOCUMENT_ROOT => undef, REQUEST_URI => undef, CONTENT_LENGTH => '' });
    my $page   = eval { $json->decode($answer->{body}) };
    ok($page, $server->name . ", $state: JSON") or return diag($@);
    is_deeply([ wrong_fields($json, $page, \%of_pool) ], [], $server->name . ", $state: every field of the pool, of its type");
    is_deeply([ map { wrong_fields($json, $_, \%of_process) } @{ $page->{processes} } ], [], $server->name . ", $state: every field of the processes");
    is_deeply([ grep { !$states{$_} } map { $_->{state} } @{ $page->{processes} } ], [], $server->name . ", $state: states that it counts");
    is(scalar @{ $page->{processes} }, $page->{'total processes'}, $server->name . ", $state: as many processes as it says");
    return;
}

subtest 'an exporter' => sub {
    check_exporter($_, 'idle', 'one', Idle => 1, Running => 1) for $ours, $theirs;
    my @release = map { hold('all', 'busy.php') } 1, 2;
    check_exporter($ours, 'every worker busy', 'all', Running => 1);
    my $page = php_request($ours, '/status', name => '/status', query => 'json', pool => 'all')->{body};
    like($page, qr/"idle processes":0,"active processes":2,"total processes":2,/, 'and the figures are right, where php-fpm does not answer');
    $_->() for @release;
    compared('3.8', 4);
};

subtest 'OpenMetrics' => sub {
    for my $server ($ours, $theirs) {
        my $body = php_request($server, '/status', name => '/status', query => 'openmetrics')->{body};
        my (%type, %help, @wrong);
        my @line = split /\n/, $body, -1;
        is(pop @line, '', $server->name . ': ends with a line end');
        is(pop @line, '# EOF', $server->name . ': and its end');
        for my $line (@line) {
            if    ($line =~ /\A# HELP (phpfpm_\w+) \S/) { $help{$1}++ }
            elsif ($line =~ /\A# TYPE (phpfpm_\w+) (?:gauge|counter)\z/) { $type{$1}++ }
            elsif ($line !~ /\A(phpfpm_\w+)(?:\{[^}]*\})? \d+(?:\.\d+)?\z/ || !$help{$1} || !$type{$1}) { push @wrong, $line }
        }
        is_deeply(\@wrong, [], $server->name . ': every value has its type and help before it');
        is_deeply([ grep { $type{$_} != 1 || $help{$_} != 1 } keys %type ], [], $server->name . ': once each');
    }
    compared('3.8');
};

report_sections();
done_testing();
