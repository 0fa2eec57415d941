# Section 3.10 beside the living peer: every token of access.format with every modifier, every letter of strftime, lines
# of requests that end in every way, access.suppress_path, long lines, Unix and TCP sockets. The same requests go to
# both daemons; a field that depends on the moment must have php-fpm's form and lie near php-fpm's value. What is
# deliberately truer, since it is measured at the true end of the request (7.19), is shown side by side.

use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Socket::INET;
use POSIX ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/child \d+ exited/, qr/said into stderr: "NOTICE: (?:the log buffer is full|Access to the script)/);
my $root = site('www',
    'run.php'   => '<?php eval($_SERVER["X_CODE"]);',
    'hello.php' => '<?php header("X-Here: there"); echo "hello\n"; flush();',
    'note.txt'  => 'text',
);
mkdir "$root/folder";

# ---- pools and their formats ----------------------------------------------------------------------

my @exact = qw(%% %n %m %r %q %Q %f %l %s %u %{X_VALUE}e %{MISSING}e %{REQUEST_METHOD}e %{SCRIPT_FILENAME}e %{X-Here}o %{x-here}o %{Content-type}o %{Content-Type}o %{X-Powered-By}o %{Status}o %{Location}o %{Set-Cookie}o);
my @figure = qw(%d %{seconds}d %{milliseconds}d %{milli}d %{mili}d %{miliseconds}d %{micro}d %{microseconds}d %M %{bytes}M %{kilo}M %{kilobytes}M %{mega}M %{megabytes}M %C %{user}C %{system}C %{total}C %p %P);
my @letter = qw(a A b B c C d D e F g G h H I j k l m M p P r R S t T u U V w W x X y Y z Z);
my %pool = ('pm.max_children' => 1, 'ping.path' => '/ping', 'pm.status_path' => '/status');
my %format = (
    exact  => join('|', @exact), figure => join('|', @figure), remote => '%R %s', plain => undef,
    start  => join('|', '%{%s}t', map { "%{%$_}t" } @letter), end => join('|', '%{%s}T', map { "%{%$_}T" } @letter),
    times  => '%t|%T|%{%s}t|%{%s}T|%{}t|%{text}t|%{%%}t|%{%E %Ey %Od}t',
    quiet  => '%m %r %s', long => '%m %r%Q%q', text => 'no token', odd => 'a%%b%%%%c %m%m%m "x" \\t [%s]',
    one    => '%{mega}M %s',
);
sub conf_of {
    my ($name) = @_;
    my $logs = test_dir() . "/logs-$name";
    mkdir $logs;
    my %conf;
    for my $pool (keys %format) {
        my $format = $format{$pool};
        $conf{$pool} = { %pool, 'access.log' => "$logs/$pool.log", defined $format ? ('access.format' => '"' . ($format =~ s/(["\\])/\\$1/gr) . '"') : () };
    }
    $conf{quiet}{'access.suppress_path[]'} = [ '/ping', '/quiet.php', '/a b', '/dir/', '/status' ];
    $conf{exact}{catch_workers_output} = 'yes';    # or php-fpm's workers tell nobody that a line was cut
    $conf{tcp}  = { %{ $conf{remote} }, listen => 'tcp', 'access.log' => "$logs/tcp.log" };
    $conf{six}  = { %{ $conf{remote} }, listen => '[::1]:' . free_port(), 'access.log' => "$logs/six.log" };
    $conf{both} = { %{ $conf{remote} }, listen => '[::]:' . free_port(), 'access.log' => "$logs/both.log" };
    if (!-e '/proc/net/if_inet6') { delete @conf{qw(six both)} }
    return \%conf;
}
my %name   = (fpmpoold => 'ours', 'php-fpm' => 'theirs');
my $ours   = start_daemon(conf => conf_of('ours'));
my $theirs = start_php_fpm(conf => conf_of('theirs'));

sub path_of { my ($server, $pool) = @_; return test_dir() . '/logs-' . $name{ $server->name } . "/$pool.log" }
sub lines { my ($server, $pool) = @_; my $path = path_of($server, $pool); return -e $path ? split /\n/, read_file($path), -1 : () }
sub count_lines { my $text = read_file(path_of(@_)); return $text =~ tr/\n// }

# A request to both, and the line that each writes; undef: it writes none. A request without a line is followed by
# one that has one, so that nobody waits in vain.
my ($head_of_ours, $serial);

sub lines_for {
    my ($pool, %request) = @_;
    my @line;
    for my $server ($ours, $theirs) {
        my $before = count_lines($server, $pool);
        my $client = php_connect($server, $pool);
        $client->send_bytes($request{bytes} // FPMPool::Client::request_bytes(script => '', %request));
        $client->end_of_writing if $request{half_close};
        my $answer = eval { $client->read_answer };
        $head_of_ours = $answer ? $answer->{head} : undef if $server->is_ours;
        $client->close;
        my $sentinel = 'sentinel-' . ++$serial . '.php';
        if ($request{is_quiet}) { php_request($server, "$root/hello.php", pool => $pool, name => "/$sentinel") }
        wait_for { $request{is_quiet} ? read_file(path_of($server, $pool)) =~ /$sentinel/ : count_lines($server, $pool) > $before } 10, "a line of $pool";
        my $text = read_file(path_of($server, $pool));
        my @new = (split /\n/, $text)[ $before .. $before + 1 ];
        push @line, $request{is_quiet} && $new[0] =~ /$sentinel/ ? undef : $new[0];
    }
    return @line;
}

sub code { my ($code, %more) = @_; return (script => "$root/run.php", %more, params => { X_CODE => $code, %{ $more{params} || {} } }) }
sub file { my ($file, %more) = @_; return (script => "$root/$file", %more) }

# php-fpm has response headers in its line only after the first flush, so these scripts flush.
my @request = (
    [ 'GET',                  file('hello.php') ],
    [ 'a query',              file('hello.php', query => 'a=1&b=%20"x"') ],
    [ 'an empty query',       file('hello.php', query => '', uri => '/hello.php?') ],
    [ 'another name',         file('hello.php', name => '/alias/x.php') ],
    [ 'no name',              file('hello.php', params => { SCRIPT_NAME => undef }) ],
    [ 'a form',               code('echo 1; flush();', body => 'a=b') ],
    [ 'PUT',                  code('echo 1; flush();', body => 'x' x 3000, method => 'PUT', type => 'x/y') ],
    [ 'a body of type GET',   code('echo 1; flush();', body => 'a=b', method => 'GET') ],
    [ 'a method of its own',  file('hello.php', method => 'PROPFIND') ],
    [ 'no method',            file('hello.php', params => { REQUEST_METHOD => undef }) ],
    [ 'an empty method',      file('hello.php', method => '') ],
    [ 'a missing file',       file('missing.php') ],
    [ 'a missing file, query', file('missing.php', query => 'x=1') ],
    [ 'a folder',             file('folder') ],
    [ 'a folder with slash',  file('folder/') ],
    [ 'a forbidden extension', file('note.txt') ],
    [ 'path info',            file('hello.php/a/b', name => '/hello.php/a/b', params => { PATH_INFO => '/hello.php/a/b' }) ],
    [ 'ping',                 file('x', name => '/ping') ],
    [ 'ping, query',          file('x', name => '/ping', query => 'a') ],
    [ 'ping, HEAD',           file('x', name => '/ping', method => 'HEAD') ],
    [ 'ping, POST',           file('x', name => '/ping', body => 'a=b') ],
    [ 'status',               file('x', name => '/status') ],
    [ 'status, query',        file('x', name => '/status', query => 'json&full') ],
    [ 'user',                 file('hello.php', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' }) ],
    [ 'user of ping',         file('x', name => '/ping', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' }) ],
    [ 'user without password', file('hello.php', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U=' }) ],
    [ 'bad user',             file('hello.php', params => { HTTP_AUTHORIZATION => 'Basic ====' }) ],
    [ 'digest user',          file('hello.php', params => { HTTP_AUTHORIZATION => 'Digest username="bob", realm="x"' }) ],
    [ 'REMOTE_USER',          file('hello.php', params => { REMOTE_USER => 'carol', AUTH_TYPE => 'Basic' }) ],
    [ 'a parameter',          file('hello.php', params => { X_VALUE => 'some value' }) ],
    [ 'an empty parameter',   file('hello.php', params => { X_VALUE => '' }) ],
    (map { [ "CONTENT_LENGTH '$_'", file('hello.php', params => { CONTENT_LENGTH => $_ }, half_close => 1) ] } '', '0', '7', 'abc', '4abc'),
    (map { [ "code: $_", code("$_ flush();") ] }
        'http_response_code(404); echo 1;', 'http_response_code(299); echo 1;', 'header("HTTP/1.1 503 Away"); echo 1;', 'header("Status: 418 Tea"); echo 1;', 'header("Location: /y"); echo 1;', 'header("Location: /y", true, 307);', 'http_response_code(204);', 'http_response_code(304);',
        'header("X-Here:"); echo 1;', 'header("X-Here: "); echo 1;', 'header("x-here: lower"); echo 1;', 'header("X-Here: 1"); header("X-Here: 2", false); echo 1;', 'header("X-Here-Not: 1"); echo 1;', 'header("Content-Type: a/b"); echo 1;', 'header("Content-type: text/x"); echo 1;',
        'header_remove("X-Powered-By"); echo 1;', 'setcookie("a", "b"); echo 1;', 'header("WWW-Authenticate: Basic"); echo 1;', 'echo str_repeat("x", 100000);', 'exit(3);', 'exit("text");', 'ini_set("log_errors", 0); echo 1; flush(); nowhere();', 'ini_set("log_errors", 0); echo 1; flush(); throw new Exception("x");'),
    [ 'HEAD',                 code('header("X-Here: head"); echo 1; flush();', method => 'HEAD') ],
    [ 'finished early',       code('header("X-Here: early"); echo 1; fastcgi_finish_request(); $x = 1;') ],
);

# ---- tokens ---------------------------------------------------------------------------------------

section('3.10');
subtest 'tokens that depend on the request alone' => sub {
    for my $case (@request) {
        my ($name, %request) = @$case;
        my ($mine, $his) = lines_for('exact', %request);
        compared();
        my @mine = split /\|/, $mine, -1;
        my @his  = split /\|/, $his,  -1;
        # headers that PHP adds while it sends them: php-fpm does not know them, ours are those that were sent
        for my $n (grep { $exact[$_] =~ /Content-type|Status/ && $his[$_] eq '-' && $mine[$_] ne '-' } 0 .. $#exact) {
            my ($header) = $exact[$n] =~ /\{(.*)\}/;
            is($mine[$n], ($head_of_ours =~ /^\Q$header\E: (.*?)\r$/m)[0], "$name: $exact[$n] is what was sent");
            $mine[$n] = '-';
        }
        next if is(join('|', @mine), join('|', @his), $name);
        diag("$exact[$_]: fpmpoold '$mine[$_]', php-fpm '$his[$_]'") for grep { ($mine[$_] // '') ne ($his[$_] // '') } 0 .. $#exact;
    }
};

subtest 'the format of php-fpm when none is given' => sub {
    my $masked = sub { return $_[0] =~ s/\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/TIME/r };
    for my $case (grep { $_->[0] =~ /\A(?:GET|a query|ping|a missing file|no method|user|HEAD|a form)\z/ } @request) {
        my ($name, %request) = @$case;
        my ($mine, $his) = map { $masked->($_) } lines_for('plain', %request);
        compared();
        is($mine, $his, $name);
        like($mine, qr/\A- - \S* ?TIME "/, "$name: is the usual line") if $name ne 'user';
    }
    for my $pool (qw(odd text)) {
        my ($mine, $his) = lines_for($pool, file('hello.php'));
        compared();
        is($mine, $his, "text around tokens: $format{$pool}");
    }
};

subtest 'figures: form and order of magnitude' => sub {
    my $work = '$end = hrtime(true) + 60e6; while (hrtime(true) < $end); $x = str_repeat("x", 9 << 20); usleep(40000); echo 1; flush();';
    my ($mine, $his) = map { [ split /\|/, $_, -1 ] } lines_for('figure', code($work));
    is(scalar @$mine, scalar @figure, 'a field for each token');
    for my $n (0 .. $#figure) {
        my ($token, $m, $h) = ($figure[$n], $mine->[$n], $his->[$n]);
        my ($form) = $h =~ s/\d+/N/gr;
        compared();
        is($m =~ s/\d+/N/gr, $form, "$token: form ($m, php-fpm $h)");
        if ($token =~ /d\z/) {
            my $unit = $token =~ /micro/ ? 1e6 : $token =~ /mil/ ? 1e3 : 1;
            cmp_ok($m, '>=', 0.099 * $unit, "$token: not less than the script took");
            cmp_ok($m, '<', 5 * $unit, "$token: nor much more");
        } elsif ($token =~ /M\z/) {
            cmp_ok(abs($m - $h), '<=', 0.25 * $h + 1, "$token: near php-fpm's");
        } elsif ($token =~ /C\z/) {
            cmp_ok($m, '<=', 110, "$token: of one CPU");
        }
    }
    my %mine = map { $figure[$_] => $mine->[$_] } 0 .. $#figure;
    cmp_ok($mine{'%C'}, '>', 10, 'CPU of a script that works');
    is($mine{'%{total}C'}, $mine{'%C'}, 'total is the default of %C');
    cmp_ok(abs($mine{'%{user}C'} + $mine{'%{system}C'} - $mine{'%C'}), '<', 0.02, 'and the sum of user and system');
    is($mine{'%{bytes}M'} // '', $mine{'%M'}, 'bytes is the default of %M');
    is($mine{'%{kilo}M'}, int $mine{'%M'} / 1024, 'kilo'), is($mine{'%{mega}M'}, int $mine{'%M'} / 1048576, 'mega');
    my ($worker) = $ours->worker_pids('figure');
    is($mine{'%p'}, $worker, '%p is the worker');
    is($mine{'%P'}, $ours->pid, '%P is the master');
    is($his->[-1], $theirs->pid, '... as with php-fpm');
};

subtest 'strftime' => sub {
    for my $pool (qw(start end)) {
        for my $line (lines_for($pool, file('hello.php'))) {
            my ($epoch, @field) = split /\|/, $line, -1;
            cmp_ok(abs($epoch - time()), '<', 60, "$pool: %s");
            compared();
            for my $n (0 .. $#letter) {
                my $wanted = POSIX::strftime("%$letter[$n]", localtime $epoch);
                $wanted =~ s/([\0-\x1f])/sprintf '\\x%02X', ord $1/ge if $field[$n] =~ /\\x/;    # ours cannot be made to break a line
                is($field[$n], $wanted, "$pool: %$letter[$n]");
            }
        }
    }
    my ($mine, $his) = map { s/\d/0/gr =~ s/00\/\w{3}\//00\/Mon\//gr } lines_for('times', file('hello.php'));
    compared();
    is($mine, $his, "$format{times}: form");
    my ($line) = lines_for('times', code('usleep(1200000); echo 1; flush();'));
    my ($from, $to) = (split /\|/, $line)[ 2, 3 ];
    cmp_ok($to - $from, '>=', 1, '%t is the start and %T the end');
};

subtest 'the client\'s address' => sub {
    for my $case ([ remote => undef, '-' ], [ tcp => undef, '127.0.0.1' ], [ six => 'IO::Socket::IP', '::1' ], [ both => 'IO::Socket::INET', '127.0.0.1' ]) {
        my ($pool, $class, $wanted) = @$case;
        SKIP: {
            skip('no IPv6', 1) if $class && !-e '/proc/net/if_inet6';
            my @line;
            for my $server ($ours, $theirs) {
                my $address = $server->listen_address($pool);
                my $before  = count_lines($server, $pool);
                my $client  = FPMPool::Client->connect($class ? inside($address, $class, $pool) : $address);
                $client->request(script => "$root/hello.php", keep => 0);
                $client->close;
                wait_for { count_lines($server, $pool) > $before } 10, 'a line';
                push @line, (lines($server, $pool))[0];
            }
            compared();
            is($line[0], "$wanted 200", "$pool: $wanted");
            is($line[1], $line[0], "$pool: php-fpm's");
        }
    }
};

# The client knows Unix sockets and host:port of IPv4: a small relay brings it to an IPv6 socket.
sub inside {
    my ($address, $class, $pool) = @_;
    my ($port) = $address =~ /:(\d+)\z/;
    return "127.0.0.1:$port" if $class eq 'IO::Socket::INET';
    require IO::Socket::IP;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $@;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        my $client = $listener->accept or POSIX::_exit(1);
        my $server = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port) or POSIX::_exit(1);
        my $select = IO::Select->new($client, $server);
        while (my @ready = $select->can_read(10)) {
            for my $from (@ready) {
                sysread($from, my $bytes, 65_536) or POSIX::_exit(0);
                syswrite($from == $client ? $server : $client, $bytes);
            }
        }
        POSIX::_exit(0);
    }
    return '127.0.0.1:' . $listener->sockport;
}

# ---- which requests have a line ----------------------------------------------------------------------

subtest 'access.suppress_path' => sub {
    my $ok = sub { return code('echo 1; flush();', name => '/quiet.php', @_) };
    for my $case (
        [ 'GET', $ok->() ], [ 'HEAD', $ok->(method => 'HEAD') ], [ 'POST', $ok->(method => 'POST') ], [ 'PUT', $ok->(method => 'PUT') ], [ 'get', $ok->(method => 'get') ], [ 'no method', $ok->(params => { REQUEST_METHOD => undef, X_CODE => 'echo 1;' }) ],
        [ 'a query', $ok->(query => 'a=1') ], [ 'an empty query', $ok->(query => '', uri => '/quiet.php?') ], [ 'a body', $ok->(method => 'GET', body => 'a=b') ], [ 'an empty body', $ok->(method => 'GET', body => '') ], [ 'CONTENT_LENGTH 0', $ok->(params => { CONTENT_LENGTH => 0, X_CODE => 'echo 1; flush();' }) ],
        (map { [ "status $_", code("http_response_code($_); echo 1; flush();", name => '/quiet.php') ] } 200, 201, 204, 206, 299, 301, 304, 400, 404, 500, 503), [ 'a missing file', file('missing.php', name => '/quiet.php') ], [ 'a forbidden file', file('note.txt', name => '/quiet.php') ],
        [ 'ping', file('x', name => '/ping') ], [ 'ping, HEAD', file('x', name => '/ping', method => 'HEAD') ], [ 'ping with a query', file('x', name => '/ping', query => 'x') ], [ 'ping, POST', file('x', name => '/ping', method => 'POST') ], [ 'status', file('x', name => '/status') ], [ 'status, json', file('x', name => '/status', query => 'json') ],
        (map { [ "name $_", code('echo 1; flush();', name => $_) ] } '/quiet.php/', '/Quiet.php', '//quiet.php', '/quiet.php ', '/quiet.phpx', '/a b', '/a', '/dir', '/dir/', '/dir/x', 'quiet.php', '/x/quiet.php'),
        [ 'another URI', code('echo 1; flush();', name => '/quiet.php', uri => '/other') ], [ 'the URI alone', code('echo 1; flush();', name => '/other', uri => '/quiet.php') ], [ 'path info', code('echo 1; flush();', name => '/quiet.php', params => { PATH_INFO => '/x', X_CODE => 'echo 1; flush();' }) ],
        [ 'a finished request', code('echo 1; fastcgi_finish_request();', name => '/quiet.php') ], [ 'a fatal error behind the response', code('ini_set("log_errors", 0); echo 1; flush(); nowhere();', name => '/quiet.php') ],
    ) {
        my ($name, %request) = @$case;
        my ($mine, $his) = map { $_ // 'no line' } lines_for('quiet', %request, is_quiet => 1);
        compared();
        is($mine, $his, "$name: $his");
    }
};

subtest 'requests that have no end' => sub {
    for my $case ([ 'a worker that is killed', code('posix_kill(getmypid(), 9); sleep(5);') ], [ 'a worker that kills itself behind its response', code('echo 1; flush(); posix_kill(getmypid(), 9); sleep(5);') ]) {
        my ($name, %request) = @$case;
        my ($mine, $his) = map { $_ // 'no line' } lines_for('quiet', %request, is_quiet => 1);
        compared();
        is($mine, $his, "$name: $his");
    }
};

# ---- better ---------------------------------------------------------------------------------------------

subtest 'measured at the true end (7.19)' => sub {
    my $field = sub { my ($line, $token) = @_; my @field = split /\|/, $line; return $field[ (grep { $figure[$_] eq $token } 0 .. $#figure)[0] ] };
    my $late  = 'register_shutdown_function(function () { usleep(400000); }); echo 1;';
    my ($mine, $his) = map { $field->($_, '%d') } lines_for('figure', code($late));
    cmp_ok($mine, '>=', 0.4, "shutdown functions count: $mine s");
    cmp_ok($his,  '<',  0.4, "... where php-fpm says $his s");
    ($mine, $his) = map { $field->($_, '%d') } lines_for('figure', code('class D { function __destruct() { usleep(400000); } } $GLOBALS["d"] = new D; echo 1;'));
    cmp_ok($mine, '>=', 0.4, "destructors count: $mine s");
    cmp_ok($his,  '<',  0.4, "... where php-fpm says $his s");
    ($mine, $his) = map { $field->($_, '%{mega}M') } lines_for('figure', code('register_shutdown_function(function () { $x = str_repeat("x", 50 << 20); }); echo 1;'));
    cmp_ok($mine, '>=', 50, "memory of a shutdown function counts: $mine MB");
    cmp_ok($his,  '<',  50, "... where php-fpm says $his MB");
    ($mine, $his) = map { $field->($_, '%d') } lines_for('figure', code('echo 1; fastcgi_finish_request(); usleep(300000);'));
    cmp_ok($_, '>=', 0.3, 'work behind fastcgi_finish_request() counts in both') for $mine, $his;
    my $part = sub { my ($line, $token) = @_; my @field = split /\|/, $line, -1; return $field[ (grep { $exact[$_] eq $token } 0 .. $#exact)[0] ] };
    for my $case (
        [ 'a header without a blank behind its colon', 'header("X-Here:near"); echo 1; flush();', '%{X-Here}o', 'near', '-' ],
        [ 'a header from a shutdown function', 'register_shutdown_function(fn () => header("X-Here: last")); echo "";', '%{X-Here}o', 'last', '-' ],
        [ 'a status from a shutdown function', 'register_shutdown_function(fn () => http_response_code(418)); echo "";', '%s', '418', '200' ],
    ) {
        my ($name, $code, $token, $ours_is, $his_is) = @$case;
        my @got = map { $part->($_, $token) } lines_for('exact', code($code));
        is($got[0], $ours_is, "$name: $token");
        is($got[1], $his_is,  "$name: php-fpm's");
    }
    compared('3.10', 7);
};

subtest 'nothing is cut (7.19)' => sub {
    for my $case ([ 'a query of 700', '', 'q' x 700 ], [ 'a query of 2000', '', 'q' x 2000 ], [ 'a name of 300', '/' . 'n' x 300, '' ]) {
        my ($what, $uri, $query) = @$case;
        my ($mine, $his) = lines_for('long', file('hello.php', name => $uri || '/hello.php', query => $query));
        is($mine, 'GET ' . ($uri || '/hello.php') . (length $query ? "?$query" : ''), "$what: whole");
        cmp_ok(length $his, '<', length $mine, "$what: php-fpm keeps " . length($his) . ' bytes of ' . length $mine);
        compared();
    }
    my ($mine, $his) = lines_for('exact', file('hello.php', params => { X_VALUE => 'v' x 1500 }));
    like($mine, qr/\|v{1500}\|.*\|there\|/, 'a parameter of 1500: whole, and what follows it');
    cmp_ok(length $his, '<=', 1024, 'php-fpm ends its line at 1024');
    compared();
    $theirs->wait_log(qr/the log buffer is full \(1024\)\. The access log request has been truncated\./, 20); # through its master, later
    pass('... and says so');
    my ($longest) = read_file(repository() . '/fpmpoold/worker/access_log.h') =~ /FPD_ACCESS_LOG_LINE (\d+)/;
    ($mine) = lines_for('exact', file('hello.php', params => { X_VALUE => 'v' x ($longest + 1) }));
    is(length $mine, $longest - 1, "a line is at most $longest bytes with its end");
    $ours->wait_log(qr/the log buffer is full \($longest\)\. The access log request has been truncated\./, 20);
    pass('... and a longer one is told in the same words');
};

subtest 'no line can be forged' => sub {
    for my $value ("a\nb", "a\r\nb", "a\0b", "a\tb\x7f", "\x1b[31m") {
        my ($mine, $his) = lines_for('exact', file('hello.php', params => { X_VALUE => $value }));
        my $shown = $value =~ s/([\0-\x1f\x7f])/sprintf '\\x%02X', ord $1/ger;
        like($mine, qr/\|\Q$shown\E\|/, "a control character is written as $shown");
        compared();
    }
};

report_sections();
done_testing();
