# What stands around an answer, beside Debian's php-fpm in the same run: work behind
# fastcgi_finish_request(), clients that go away, programs started by PHP, sections of php.ini,
# .user.ini, the access log, and what -i, -m and phpinfo() show.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Peer;
use FPMPool::Test;

plan(skip_all => 'needs php-fpm to compare with (Debian package php8.2-fpm)') unless -x '/usr/sbin/php-fpm8.2';

my $note = 'function note(...$v) { file_put_contents($_SERVER["X_NOTE"], json_encode($v) . "\n", FILE_APPEND); } ';
my $ini  = 'function show() { foreach (["precision", "user_agent", "memory_limit", "upload_max_filesize", "default_charset"] as $n) echo $n, "=", ini_get($n), "\n"; } ';
my $root = site('www',
    'run.php'   => "<?php $note eval(\$_SERVER[\"X_CODE\"]);",
    'hello.php' => '<?php echo "hello\n";',
    map { ("$_/show.php" => "<?php $ini show();") } qw(plain sub sub/deep own own/deep other),
);
write_file("$root/own/.user.ini", "precision = 9\nuser_agent = own\nupload_max_filesize = 1G\nmemory_limit = 99M\nno_such = 1\n[section]\ndefault_charset = x\n");
write_file("$root/own/deep/.user.ini", "user_agent = deep\nallow_url_include = 1\n");
my $php_ini = write_file('php.ini', <<"INI");
precision = 14
disable_functions = gethostname
memory_limit = 64M
[PATH=$root/sub]
precision = 7
user_agent = sub
upload_max_filesize = 1G
[PATH=$root/sub/deep/]
precision = 8
[HOST=Special.Example]
default_charset = host
[HOST=www.special.example]
default_charset = wwwhost
INI

my %log_format = (
    main => '%R - %u "%m %r%Q%q" %s %f %l %n %{X_VALUE}e %{Content-type}o %{X-None}o %{X-Here}o %{MISSING}e %% %M %{kilo}M %{mega}M %p %P %d %{milli}d %{micro}d %C %{user}C %{system}C',
    time => '%t|%{%Y}t|%T|%{%d/%m}T|%{seconds}d|%{total}C|literal|%e',
);
my %pool = ('pm.max_children' => 1);
sub conf_of {
    my ($name) = @_;
    my $logs = test_dir() . "/logs-$name";
    mkdir $logs;
    return {
        www   => { %pool, 'php_admin_value[upload_max_filesize]' => '9M', 'php_value[user_agent]' => 'pool' },
        fresh => { %pool, 'pm.max_children' => 4, 'pm.max_requests' => 1 },
        log   => { %pool, 'access.log' => "$logs/access.log", 'access.format' => "\"" . ($log_format{main} =~ s/"/\\"/gr) . "\"", 'ping.path' => '/ping', 'pm.status_path' => '/status',
            'access.suppress_path[]' => [ '/ping', '/quiet.php' ] },
        plain => { %pool, 'access.log' => "$logs/plain.log" },
    };
}
my $ours   = start_daemon(conf => conf_of('ours'), args => [ '-c', $php_ini ]);
my $theirs = start_php_fpm(conf => conf_of('theirs'), args => [ '-c', $php_ini ]);
compare_servers($ours, $theirs, $root);

section('5');
subtest 'fastcgi_finish_request()' => sub {
    my $finish = 'ignore_user_abort(true); ';
    my @code = (
        'echo "a"; note(fastcgi_finish_request());',
        'header("X-A: 1"); http_response_code(404); echo "a"; fastcgi_finish_request(); @header("X-B: 1"); note(headers_sent(), http_response_code(), ob_get_level(), count(headers_list()));',
        'echo "a"; fastcgi_finish_request(); register_shutdown_function(fn () => note("late"));',
        'register_shutdown_function(function () { echo "b"; note(fastcgi_finish_request()); }); echo "a";',
        'ob_start(fn ($b) => strtoupper($b)); ob_start(); echo "a"; note(fastcgi_finish_request(), ob_get_level());',
        'note(fastcgi_finish_request());', 'echo str_repeat("x", 100000); note(fastcgi_finish_request());', 'flush(); echo "a"; flush(); note(fastcgi_finish_request());',
        'class D { function __destruct() { note("gone"); } } $GLOBALS["d"] = new D; fastcgi_finish_request();',
        'session_save_path(dirname($_SERVER["X_NOTE"])); session_id("finish"); @session_start(); $_SESSION["n"] = 1; fastcgi_finish_request(); session_destroy(); note(1);',
        'echo "a"; fastcgi_finish_request(); ini_set("log_errors", 0); register_shutdown_function(fn () => note(error_get_last()["type"])); nowhere();',
        'echo "a"; fastcgi_finish_request(); register_shutdown_function(fn () => note("after exit")); exit("text");',
        'header("Location: /x"); fastcgi_finish_request(); note(http_response_code());',
    );
    for my $keep (0, 1) {
        same("keep=$keep: $_", code => $finish . $_, note => 1, keep => $keep) for @code;
        same("keep=$keep: HEAD", code => "${finish}echo 'a'; note(fastcgi_finish_request());", method => 'HEAD', note => 1, keep => $keep);
        same("keep=$keep: POST", code => "${finish}echo \$_POST['a']; note(fastcgi_finish_request());", body => 'a=1', note => 1, keep => $keep);
        same("keep=$keep: a body that is not read", code => "${finish}note(fastcgi_finish_request());", body => 'x' x 200_000, type => 'x/y', note => 1, keep => $keep);
    }
    same('twice', code => $finish . 'note(fastcgi_finish_request(), fastcgi_finish_request());', note => 1);
    differs('twice on a kept connection', '5: true again; ours ends a response once', qr/NOTE: \[true,false\]/, qr/NOTE: \[true,true\]/, code => $finish . 'note(fastcgi_finish_request(), fastcgi_finish_request());', note => 1, keep => 1);
    differs('later output on a kept connection', '7.17: the peer sends it behind END_REQUEST', qr/NOTE: \[1\]\n\n--- NEXT: X-Powered-By.*\nhello\n\z/s, qr/NEXT: later/, code => $finish . 'echo "a"; fastcgi_finish_request(); echo "later"; flush(); note(1);', note => 1, keep => 1);
    differs('later output, user abort not ignored', '7.17: the peer stops the script', qr/NOTE: \["end",0\]\n\["on"/, qr/NOTE: \["end",1\]\n\z/,
        code => 'register_shutdown_function(fn () => note("end", connection_status())); echo "a"; fastcgi_finish_request(); echo "later"; flush(); note("on");', note => 1, mask => sub { my ($t) = @_; $t =~ s/(\["on"\]\n)(\["end",\d\]\n)/$2$1/; $t });
};

subtest 'a client that goes away' => sub {
    my $stream = 'while (ob_get_level()) ob_end_clean(); register_shutdown_function(fn () => note("end", connection_status(), connection_aborted()));
        $end = hrtime(true) + 10e9; while (!connection_aborted() && hrtime(true) < $end) { echo str_repeat("x", 10000); flush(); usleep(1000); } note("on");';
    for my $server ($ours, $theirs) {
        for my $case ([ '', "[\"end\",1,1]\n" ], [ 'ignore_user_abort(true);', "[\"on\"]\n[\"end\",1,1]\n" ]) {
            my ($before, $expect) = @$case;
            my $file   = note_file();
            my $client = php_connect($server);
            $client->send_request(script => "$root/run.php", params => { X_CODE => "$before $stream", X_NOTE => $file });
            $client->read_record;
            $client->close;
            wait_for { -e $file && read_file($file) =~ /end/ } 15, 'the script to notice';
            is(read_file($file), $expect, $server->name . ($before ? ': may go on' : ': is stopped at its next output'));
        }
        is(php_request($server, "$root/hello.php")->{body}, "hello\n", $server->name . ': and serves on');
    }
};

subtest 'a program in the background' => sub {
    my $code = 'exec("sleep 60 >/dev/null 2>&1 & echo \$!", $out); echo trim($out[0]);';
    my ($pid) = php_request($ours, "$root/run.php", params => { X_CODE => $code })->{body} =~ /(\d+)/;
    ok($pid && alive($pid), 'runs on when the request has ended');
    my $open = FPMPool::Process::descriptors($pid);
    is_deeply([ sort grep { $open->{$_} !~ m{\A/dev/null\z} } keys %$open ], [], 'and holds none of our descriptors')
        or diag(map { "$_ -> $open->{$_}\n" } sort keys %$open);
    my $status = read_file("/proc/$pid/status");
    like($status, qr/^SigBlk:\s+0+$/m, 'no signal is blocked in it');
    my ($ignored) = $status =~ /^SigIgn:\s+(\w+)$/m;
    is(hex(substr $ignored, -8) & (1 << 12 | 1 << 14 | 1 << 16 | 1), 0, 'PIPE, TERM, CHLD and HUP are not ignored in it');
    is(php_request($ours, "$root/hello.php")->{body}, "hello\n", 'the worker serves on');
    kill 'KILL', $pid;
    FPMPool::Process::reap($pid, 3);
};

section('5');
subtest 'sections of php.ini and .user.ini' => sub {
    # the folders are cached by their own names: the first request decides
    same('a document root that is missing',      script => 'own/none/show.php', params => { DOCUMENT_ROOT => undef });
    same('a document root elsewhere',            script => 'own/far/show.php', docroot => '/nowhere');
    same('a document root with slashes',         script => 'own/slash/show.php', docroot => "$root//");
    same('an empty document root',               script => 'own/empty/show.php', docroot => '');
    for my $round (1, 2) {
        for my $folder (qw(plain own own/deep own/far own/slash own/empty own/none other)) {
            same("$folder, round $round", script => "$folder/show.php", docroot => $root);
        }
        for my $host ('special.example', 'SPECIAL.example', 'www.special.example', 'other.example', '') {
            same("host '$host', round $round", script => 'plain/show.php', docroot => $root, params => { SERVER_NAME => $host });
        }
        same("no host, round $round", script => 'plain/show.php', docroot => $root, params => { SERVER_NAME => undef });
        differs("$_, round $round", 'in php-fpm php.ini\'s sections may change what the pool\'s administrator fixed', qr/^precision=\d\nuser_agent=sub\nmemory_limit=64M\nupload_max_filesize=9M$/m, qr/^precision=\d\nuser_agent=sub\nmemory_limit=64M\nupload_max_filesize=1G$/m,
            script => "$_/show.php", docroot => $root) for qw(sub sub/deep);
    }
    same('no document root', script => 'own/deep/show.php', params => { DOCUMENT_ROOT => undef });
    same('a host\'s and a folder\'s values together with PHP_VALUE', pool => 'fresh', script => 'sub/show.php', docroot => $root, params => { SERVER_NAME => 'special.example', PHP_VALUE => "precision = 3\nuser_agent = given" });
    same('of a missing script', script => 'own/missing.php', docroot => $root);
    same('php.ini\'s disable_functions', code => 'var_dump(function_exists("gethostname"), ini_get("disable_functions"));');
};

# ---- access log -----------------------------------------------------------------------------

sub log_lines {
    my ($name, $file) = @_;
    my $path = test_dir() . "/logs-$name/$file";
    return -e $path ? split /\n/, read_file($path) : ();
}

subtest 'access log' => sub {
    my @request = (
        { script => 'hello.php' }, { script => 'hello.php', query => 'a=1&b=%20' }, { script => 'hello.php', method => 'HEAD' }, { script => 'run.php', body => 'a=b', params => { X_CODE => 'header("X-Here: there", false); http_response_code(404); echo 1;' } },
        { script => 'missing.php' }, { script => 'own', name => '/own' }, { script => 'hello.php', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0', X_VALUE => 'env value' } }, { script => 'hello.php', params => { X_VALUE => '' } },
        { script => 'hello.php', name => '/hello.php', params => { SCRIPT_NAME => undef } }, { script => 'ping', name => '/ping' }, { script => 'ping', name => '/ping', query => 'x' }, { script => 'ping', name => '/ping', method => 'HEAD' }, { script => 'ping', name => '/ping', method => 'POST' },
        { script => 'status', name => '/status', params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' } }, { script => 'status', name => '/status', query => 'json' }, { script => 'hello.php', name => '/quiet.php' }, { script => 'hello.php', name => '/quiet.php', body => 'x=1', method => 'GET' }, { script => 'missing.php', name => '/quiet.php' },
        { script => 'run.php', params => { X_CODE => 'header("Content-Type: text/plain;charset=x"); header("Location: /y");' } }, { script => 'run.php', params => { X_CODE => 'ini_set("log_errors", 0); echo "x"; flush(); nowhere();' } }, { script => 'hello.php', method => 'X' x 15 }, { script => 'hello.php', query => 'q' x 300 },
        (map { { script => 'run.php', params => { X_CODE => "$_ echo 1;" } } } 'header("X-Here:");', 'header("X-Here: ");', 'header("x-here: lower");', 'header("X-Here: 1"); header("X-Here: 2", false);', 'header("X-Here-Not: 1");', 'header("Content-type: a/b");', 'http_response_code(299);', 'header("HTTP/1.1 404 Foo");', 'header("Status: 418 x");', 'echo "x"; flush(); exit(3);'),
    );
    for my $request (@request) {
        for my $pool (qw(log plain)) {
            for my $server ($ours, $theirs) {
                php_request($server, '', %$request, pool => $pool, script => "$root/$request->{script}");
            }
        }
    }
    wait_for { log_lines('ours', 'plain.log') >= @request } 10, 'the lines';
    for my $file (qw(access.log plain.log)) {
        my ($mine, $his) = map { my $name = $_; [ map { masked_line($_) } log_lines($name, $file) ] } qw(ours theirs);
        ok(@$his > 10, "$file: there is something to compare");
        is(scalar @$mine, scalar @$his, "$file: as many lines");
        compared('3.10', scalar @$his);
        is($mine->[$_], $his->[$_], "$file: line " . ($_ + 1)) for 0 .. ($#$mine > $#$his ? $#$mine : $#$his);
    }
};

subtest 'what the access log knows at the true end of a request (7.19)' => sub {
    my %case = (
        'header("X-Here: shutdown"); register_shutdown_function(fn () => http_response_code(418));' => [ qr/ 418 .* shutdown /, qr/ 200 .* - % / ],
        'ini_set("log_errors", 0); ini_set("display_errors", 0); header("X-Here: fatal"); nowhere();' => [ qr/ 500 .* fatal /, qr/ 500 .* - % / ],
    );
    for my $code (sort keys %case) {
        my $n = 0;
        for my $server ($ours, $theirs) {
            my $name = (qw(ours theirs))[$n];
            my $before = log_lines($name, 'access.log');
            php_request($server, "$root/run.php", pool => 'log', params => { X_CODE => $code });
            wait_for { log_lines($name, 'access.log') > $before } 10, 'the line';
            like((log_lines($name, 'access.log'))[-1], $case{$code}[$n], $server->name . ": $code");
            $n++;
        }
    }
    php_request($ours, "$root/hello.php", pool => 'log', method => 'X' x 60, query => 'a' x 3000);
    wait_for { (log_lines('ours', 'access.log'))[-1] =~ /X{60}/ } 10, 'the line';
    like((log_lines('ours', 'access.log'))[-1], qr/"X{60} \/hello\.php\?a{3000}"/, 'and nothing of it is cut at php-fpm\'s lengths');
    php_request($ours, "$root/hello.php", pool => 'log', query => "forged\n1.2.3.4 - - \"GET /\" 200");
    wait_for { (log_lines('ours', 'access.log'))[-1] =~ /forged/ } 10, 'the line';
    like((log_lines('ours', 'access.log'))[-1], qr/forged\\x0A1\.2\.3\.4/, 'a line break in a value makes no line');
};

# (7.19: the peer has no headers before the first output, so every request here has some.)
# Without process ids, times and amounts of memory.
sub masked_line {
    my ($line) = @_;
    $line =~ s/\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/TIME/g;
    $line =~ s/ % \d+ \d+ \d+ \d+ \d+ [\d.]+ [\d.]+ \d+ [\d.]+ [\d.]+ [\d.]+$/ % M M M PID PID D D D C C C/;
    return $line;
}

# ---- what PHP says about itself -------------------------------------------------------------

sub output_of {
    my ($binary, @argument) = @_;
    open my $out, '-|', $binary, @argument or die "$binary: $!";
    local $/;
    my $text = <$out>;
    close $out;
    return $text;
}

subtest '-m, -i and phpinfo()' => sub {
    my @binary = (build_path('bin/fpmpoold'), '/usr/sbin/php-fpm8.2');
    my ($mine, $his) = map { output_of($_, '-m') } @binary;
    is($mine, $his, '-m');
    ($mine, $his) = map { output_of($_, '-v') =~ s/\(built: [^)]*\)/(built)/r } @binary;
    is($mine, $his, '-v');
    ($mine, $his) = map { info_lines(output_of($_, '-i')) } @binary;
    compare_info($mine, $his, '-i');
    my $code = 'ob_start(); phpinfo(INFO_GENERAL | INFO_CONFIGURATION | INFO_MODULES); $t = ob_get_clean(); echo preg_replace("~</?(?:td|th)[^>]*>~", "|", $t);';
    ($mine, $his) = map { info_lines(php_request($_, "$root/run.php", params => { X_CODE => $code })->{body}) } $ours, $theirs;
    compare_info($mine, $his, 'phpinfo()');
};

sub info_lines {
    my ($text) = @_;
    $text =~ s/\Q$ours->{dir}\E|\Q$theirs->{dir}\E/DIR/g;
    return [ split /\n/, $text ];
}

sub compare_info {
    my ($mine, $his, $name) = @_;
    # libphp was built another way than php-fpm; figures of OPcache; where things are
    my $other = qr/Build Date|Configure Command|^'|Configuration File \(php\.ini\) Path|\.mutex|ZendSem|\$_(?:SERVER|ENV)|\$_REQUEST|=> *\d+ *$|\|[\d.]+ *\|(?:<.tr>)?$|REQUEST_TIME|Build Provider|lockfile_path|^(?:PATH|PWD|_|SHLVL|OLDPWD) =>|Start time/;
    my @m = grep { !/$other/ } @$mine;
    my @h = grep { !/$other/ } @$his;
    my %h = map { $_ => 1 } @h;
    my %m = map { $_ => 1 } @m;
    my @only_m = grep { !$h{$_} } @m;
    my @only_h = grep { !$m{$_} } @h;
    is(join("\n", @only_m), '', "$name: fpmpoold says nothing that php-fpm does not");
    is(join("\n", @only_h), '', "$name: php-fpm says nothing that fpmpoold does not");
    cmp_ok(scalar @h, '>', 200, "$name: there was something to compare");
    compared("5");
}
report_sections();
done_testing();
