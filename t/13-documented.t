# What README.md promises and no other test shows: deploys, reloads that go wrong in a new way,
# differences from php-fpm, names that stay from mod_php.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $dir  = test_dir();
my $gate = "$dir/gate";
mkdir $gate;
chmod 0777, $gate;
my $root = site('www',
    'pid.php'   => '<?php echo getmypid();',
    'loop.php'  => '<?php while (true) { usleep(1000); }',
    'gated.php' => '<?php touch("$_GET[d]/" . getmypid()); while (!file_exists("$_GET[d]/go")) { usleep(10000); clearstatcache(); } echo "done";',
    'say.php'   => '<?php file_put_contents("php://stderr", "a word\n"); echo "said";',
);

# Reloads and waits for the new generation of a pool.
sub reload {
    my ($daemon, $pool) = @_;
    my $old = $daemon->pool_pid($pool // 'www');
    $daemon->signal('USR2');
    wait_for { my $now = $daemon->pool_pid($pool // 'www'); $now && $now != $old && !alive($old) } 20, 'the new generation';
    return;
}

subtest 'a deploy by a symbolic link and a reload' => sub {
    for my $release (qw(one two)) { site("releases/$release", 'v.php' => '<?php require "part.php"; echo part(), __DIR__;', 'part.php' => "<?php function part() { return '$release '; }") }
    symlink "$dir/releases/one", "$dir/current" or die;
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2, 'php_admin_value[opcache.validate_timestamps]' => 0 } });
    my $ask = sub { php_request($daemon, "$dir/current/v.php")->{body} };
    is($ask->(), "one $dir/releases/one", 'the first release') for 1 .. 3;
    symlink "$dir/releases/two", "$dir/next" or die;
    rename "$dir/next", "$dir/current" or die;
    reload($daemon);
    is($ask->(), "two $dir/releases/two", 'the second one after link and reload') for 1 .. 3;
};

subtest 'a new generation that does not start leaves the old one' => sub {
    allow_log(qr/\[pool www\]/);
    my $preload = write_file("$dir/preload.php", "<?php syntax error here\n");
    my $daemon  = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
    my $old     = $daemon->pool_pid;
    rewrite($daemon, sub { $_ .= "php_admin_value[opcache.preload] = $preload\n" });
    $daemon->signal('USR2');
    $daemon->wait_log(qr/ERROR: \[pool www\] the new generation did not start, the old one serves on/, 20);
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'requests are served');
    ok(alive($old), '... by the old one');
    write_file($preload, "<?php\n");
    wait_for { !alive($old) } 40, 'a repaired one takes over by itself';
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'a repaired one takes over by itself');
};

subtest 'a daemon in the background keeps its process id over a reload' => sub {
    my $user = is_root() ? 'user = ' . pool_user() . "\n" : '';
    my $conf = write_file("$dir/bg.conf", "[global]\npid = $dir/bg.pid\nerror_log = $dir/bg.log\n[www]\n${user}listen = $dir/bg.sock\npm = static\npm.max_children = 1\n");
    is(reap(spawn(argv => [ build_path('bin/fpmpoold'), '-D', '-y', $conf ], stdout => "$dir/bg.out", stderr => "$dir/bg.out"), 20), 0, 'it starts');
    my $pid = read_file("$dir/bg.pid");
    wait_for { read_file("$dir/bg.log") =~ /ready to handle/ } 20, 'ready';
    is((stat "$dir/bg.sock")[2] & 0777, 0660, 'the socket has the usual mode');
    my $text = read_file($conf);
    write_file($conf, "${text}listen.mode = 0600\n");
    kill 'HUP', $pid;
    wait_for { ((stat "$dir/bg.sock")[2] & 0777) == 0600 } 20, 'listen.mode';
    pass('a reload changes the mode of the socket');
    is(read_file("$dir/bg.pid"), $pid, 'the pid file is the same');
    ok(alive($pid), '... and so is the process');
    kill 'TERM', $pid;
    wait_for { !alive($pid) } 10, 'the end';
};

subtest 'request_terminate_timeout is a 504 with the cause' => sub {
    allow_log(qr/execution timed out/, qr/exited on signal 15/);
    my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1, request_terminate_timeout => '1s' } });
    my $answer = php_request($daemon, "$root/loop.php");
    is($answer->{status}, 504, 'its client gets 504');
    like($answer->{stderr}, qr/child \d+ .*loop\.php/, 'the cause is on the error stream');
    is(php_request($daemon, "$root/pid.php")->{status}, 200, 'the next request is served');
};

subtest 'ondemand starts as many workers as requests wait' => sub {
    my $daemon = start_daemon(conf => { www => { pm => 'ondemand', 'pm.max_children' => 8 } });
    my @client = map { FPMPool::Client->connect($daemon->listen_address) } 1 .. 5;
    $_->send_request(script => "$root/gated.php", query => "d=$gate") for @client;
    wait_for { 5 == grep { m{/\d+$} } glob "$gate/*" } 20, 'five workers run at once';
    write_file("$gate/go", '');
    is($_->read_answer->{body}, 'done', 'each has its own') for @client;
};

subtest 'what workers print' => sub {
    allow_log(qr/a word/);
    my $daemon = start_daemon(conf => { www => { catch_workers_output => 'yes' }, plain => { catch_workers_output => 'yes', decorate_workers_output => 'no' } });
    is(php_request($daemon, "$root/say.php", pool => $_)->{body}, 'said', "pool $_") for qw(www plain);
    $daemon->wait_log(qr/WARNING: \[pool www\] child \d+ said into stderr: "a word"/, 5);
    $daemon->wait_log(qr/^a word$/m, 5);
    pass('goes to the log, with decoration and without');
};

subtest 'numbers that do not fit are refused' => sub {
    my $user = is_root() ? "user = www-data\n" : '';
    for my $case ([ 'pm.max_children', '99999999999' ], [ 'request_terminate_timeout', '99999999h' ], [ 'pm.max_requests', '5000000000' ], [ 'pm.max_memory', '3000G' ]) {
        my $conf = write_file("$dir/number.conf", "[www]\n${user}listen = $dir/n.sock\npm = static\npm.max_children = 1\n$case->[0] = $case->[1]\n");
        my $pid  = spawn(argv => [ build_path('bin/fpmpoold'), '-t', '-y', $conf ], stdout => "$dir/n.out", stderr => "$dir/n.out");
        is(reap($pid, 10) >> 8, 78, "$case->[0] = $case->[1]");
        like(read_file("$dir/n.out"), qr/\Q$case->[0]\E': is too large/, '... says so');
    }
};

subtest 'Debian\'s own configuration of php-fpm' => sub {
    my $conf = '/etc/php/8.2/fpm/php-fpm.conf';
    plan(skip_all => "$conf is not there (Debian package php8.2-fpm)") unless -e $conf && is_root();
    my $pid = spawn(argv => [ build_path('bin/fpmpoold'), '-t', '-y', $conf ], stdout => "$dir/d.out", stderr => "$dir/d.out");
    is(reap($pid, 10), 0, 'is good as it is');
    unlike(read_file("$dir/d.out"), qr/no effect|WARNING|ERROR/, '... and has its effect');
};

subtest 'names of handlers that stay from mod_php' => sub {
    my $daemon = start_daemon(conf => { www => {} });
    my $tenant = site('tenant', 'a.php' => '<?php echo "ran";', 'b.inc' => '<?php echo "ran too";',
        '.htaccess' => "AddType application/x-httpd-php .php\n<Files b.inc>\nSetHandler application/x-httpd-php\n</Files>\n");
    my $routes = php_routes('fpmpool', $daemon, 'www') =~ s{<FilesMatch.*</FilesMatch>\n}{}sr;
    rewrite($daemon, sub { s/^(\[www\]\n)/$1security.limit_extensions = .php .inc\n/m });
    reload($daemon);
    my $httpd = start_httpd(docroot => $tenant, conf => "${routes}FpmPoolHandlerAlias application/x-httpd-php\n");
    is(http($httpd->url('/a.php'))->{body}, 'ran', 'AddType in .htaccess');
    is(http($httpd->url('/b.inc'))->{body}, 'ran too', 'SetHandler in .htaccess');
};

done_testing();
