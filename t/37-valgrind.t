# The interpreter host under valgrind: pool process and worker over a short mix of requests, with
# PHP's own allocator off so that every block is watched. Nobody may read or write what he must not;
# a use of an uninitialised value counts when it is ours, because libphp compares strings word by word.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Copy ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

require_program('valgrind', 'valgrind');
plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};

my $root = site('www',
    'hello.php'  => '<?php echo "hello\n";',
    'post.php'   => '<?php echo count($_POST), " ", count($_FILES), " ", strlen(file_get_contents("php://input"));',
    'large.php'  => '<?php for ($i = 0; $i < 20; $i++) echo str_repeat("x", 10000);',
    'flush.php'  => '<?php for ($i = 0; $i < 3; $i++) { echo "piece"; flush(); }',
    'exit.php'   => '<?php echo "x"; exit(1);',
    'fatal.php'  => '<?php nowhere();',
    'finish.php' => '<?php ignore_user_abort(true); echo "x"; fastcgi_finish_request(); echo "later"; flush();',
    'see.php'    => '<?php echo count(fpm_get_status()["procs"]), " ", count(getallheaders()), " ", count($_SERVER) > 20, " ", getenv("SCRIPT_NAME"), " ", count(getenv()) > 10;',
    'ini.php'    => '<?php set_time_limit(60); ini_set("precision", 3); chdir("/"); echo ini_get("precision"), ini_get("user_agent");',
    'reply.php'  => '<?php header("HTTP/1.1 404 Foo"); header("X-A: 1"); error_log("said"); echo $undefined;',
    'own/a.php'  => '<?php echo ini_get("user_agent");',
    'sleep.php'  => '<?php function f() { return sleep(4); } echo f();',
    'note.txt'   => 'no script',
);
write_file("$root/own/.user.ini", "user_agent = own\n");

# A build of its own: the daemon beside a host that starts under valgrind.
my $bin = test_dir() . '/bin';
mkdir $bin;
my ($host) = glob build_path('bin/fpmpool-php*');
File::Copy::copy(build_path('bin/fpmpoold'), "$bin/fpmpoold") or die $!;
chmod 0755, "$bin/fpmpoold";
my $report = test_dir() . '/valgrind.log';
my $name   = ($host =~ m{([^/]+)\z})[0];
write_file("$bin/$name", <<"SH", 0755);
#!/bin/sh
test "\$1" = --pool || exec "$host" "\$@"
USE_ZEND_ALLOC=0 exec valgrind --tool=memcheck --vgdb=no --log-file=$report --num-callers=20 --error-limit=no --undef-value-errors=yes \\
    --max-stackframe=8000000 --leak-check=no "$host" "\$@"
SH

my $daemon = start_daemon(binary => "$bin/fpmpoold", wait => 0, conf => {
    global => { process_control_timeout => 60 },
    www => { 'pm.max_children' => 1, 'ping.path' => '/ping', 'pm.status_path' => '/status', 'access.log' => test_dir() . '/access.log', 'access.format' => '"%R %u %m %r%Q%q %s %C %M %t %{Content-type}o %{HTTP_HOST}e"',
        'php_admin_value[opcache.jit]' => 'off', slowlog => test_dir() . '/slow.log', request_slowlog_timeout => '2s', 'php_admin_value[error_log]' => '/dev/null', 'php_value[display_errors]' => 0, 'env[A]' => 'b', 'php_admin_value[disable_functions]' => 'gethostname' },
});
$daemon->wait_log(qr/ready to handle connections/, 90);
my @case = (
    [ 'hello.php', {}, "hello\n" ], [ 'hello.php', { method => 'HEAD' }, '' ], [ 'hello.php', { query => 'a=1', params => { HTTP_COOKIE => 'a=b', HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0', HTTP_PROXY => 'x', map { ("HTTP_X_$_" => "v$_") } 1 .. 80 } }, "hello\n" ],
    [ 'post.php', { body => 'a=1&b=2' }, '2 0 7' ], [ 'post.php', { body => 'x' x 200_000, type => 'x/y' }, '0 0 200000' ], [ 'post.php', { body => 'x' x 70_000, type => 'x/y', params => { CONTENT_LENGTH => undef, FPMPOOL_BODY => 'stream' } }, '0 0 70000' ],
    [ 'post.php', { type => 'multipart/form-data; boundary=B', body => "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\nccc\r\n--B--\r\n" }, qr/^0 1 / ], [ 'hello.php', { body => 'x' x 50_000, type => 'x/y' }, "hello\n" ],
    [ 'post.php', { method => 'POST', params => { REQUEST_BODY_FILE => "$root/note.txt", CONTENT_LENGTH => 9, CONTENT_TYPE => 'x/y' } }, '0 0 9' ], [ 'large.php', {}, 'x' x 200_000 ], [ 'flush.php', {}, 'piecepiecepiece' ], [ 'exit.php', {}, 'x' ], [ 'fatal.php', {}, '' ], [ 'finish.php', {}, 'x' ],
    [ 'see.php', { params => { HTTP_X_Y => 'v' } }, qr/^1 \d+ 1 \/see\.php 1$/ ], [ 'ini.php', { params => { PHP_VALUE => "user_agent = given\n[bad]", PHP_ADMIN_VALUE => 'html_errors = 1' } }, '3given' ], [ 'reply.php', {}, '' ], [ 'own/a.php', { docroot => $root }, 'own' ],
    [ 'missing.php', {}, "File not found.\n" ], [ 'note.txt', {}, "Access denied.\n" ], [ 'hello.php/path/info', { name => '/hello.php/path/info' }, "hello\n" ], [ 'hello.php/a', { name => '/hello.php', params => { PATH_INFO => '/hello.php/a' } }, "hello\n" ], [ 'hello.php', { params => { SCRIPT_FILENAME => "proxy:fcgi://h$root/hello.php/a%20b?c", SCRIPT_NAME => '/hello.php/a b' } }, "hello\n" ],
    [ 'hello.php', { params => { REQUEST_METHOD => undef } }, '' ], [ 'ping', { name => '/ping' }, 'pong' ], (map { [ 'status', { name => '/status', query => $_, params => { HTTP_AUTHORIZATION => 'Basic YWxpY2U6czNjcmV0' } }, qr/./ ] } '', 'full', 'json&full', 'xml&full', 'html&full&é<', 'openmetrics'), [ 'hello.php', { piece => 7 }, "hello\n" ],
);
subtest 'requests' => sub {
    for my $keep (0, 1) {
        my $kept;
        for my $case (@case) {
            my ($script, $option, $expected) = @$case;
            my $answer;
            if ($keep) {
                $kept   = php_connect($daemon, undef, timeout => 60) if !$kept || !$kept->is_open;
                $answer = $kept->request(script => "$root/$script", %$option);
            } else {
                $answer = php_request($daemon, "$root/$script", timeout => 60, %$option);
            }
            my $label = "$script, keep=$keep";
            ref $expected ? like($answer->{body}, $expected, $label) : is($answer->{body}, $expected, $label);
        }
    }
    for my $bytes (substr(FPMPool::Client::request_bytes(script => "$root/hello.php", keep => 1), 0, 200), 'garbage of more than sixteen bytes', record('GET_VALUES', 0, FPMPool::Client::pair('FCGI_MAX_CONNS', '')), record(99, 0, 'x')) {
        my $client = php_connect($daemon, undef, timeout => 60);
        $client->send_bytes($bytes);
        $client->end_of_writing;
        1 while $client->read_record;
    }
    is(php_request($daemon, "$root/hello.php", timeout => 60)->{body}, "hello\n", 'serves after bytes that are no request');
};
allow_log(qr/executing too slow/);
subtest 'a slow request' => sub {
    is(php_request($daemon, "$root/sleep.php", timeout => 60)->{body}, '0', 'sleeps as long as it wants');
    like(read_file(test_dir() . '/slow.log'), qr{^script_filename = \Q$root\E/sleep\.php\n\[0x[0-9a-f]{16}\] sleep\(\) .*/sleep\.php:1\n\[0x[0-9a-f]{16}\] f\(\) .*/sleep\.php:1$}m, 'is in the slow log');
};
$daemon->stop('QUIT', 60);

# Each error: its headline and its frames, innermost first.
sub errors_of {
    my ($text) = @_;
    my @error;
    for my $block (split /^==\d+== \n/m, $text) {
        my ($headline) = $block =~ /^==\d+== ((?:Invalid|Use of uninit|Conditional jump|Syscall param|Mismatched|Source and dest|Jump to).*)$/m or next;
        push @error, { headline => $headline, frames => [ $block =~ /^==\d+==    (?:at|by) 0x[0-9A-F]+: (.*)$/mg ] };
    }
    return @error;
}

my %own_file = map { (m{([^/]+)\z})[0] => 1 } grep { -f } glob repository() . '/fpmpoold/*/*.c';
sub is_ours {
    my ($frame) = @_;
    my ($file) = $frame =~ /\((\w+\.c):\d+\)\z/;
    return ($file && $own_file{$file}) || $frame =~ /\(in [^)]*fpmpool-php/ ? 1 : 0;
}

my $text = read_file($report);
like($text, qr/Memcheck, a memory error detector/, 'valgrind was there');
like($text, qr/^==(\d+)==.*^==(?!\1)\d+==/ms, 'in the pool process and in the worker');
my @bad = grep {
    my @frames = @{ $_->{frames} };
    shift @frames while @frames && $frames[0] =~ /vg_replace|\(in [^)]*(?:libc\.so|vgpreload|libapr)/;
    $_->{headline} =~ /Invalid|Mismatched|Jump/ || (@frames && is_ours($frames[0]));
} errors_of($text);
is(scalar @bad, 0, 'no invalid access anywhere, no uninitialised value in our code')
    or diag(map { "$_->{headline}\n" . join('', map { "    $_\n" } @{ $_->{frames} }) } @bad);
done_testing();
