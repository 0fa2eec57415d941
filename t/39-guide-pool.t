# A production pool as guides show it, unchanged but for its paths: its user, its nginx server block,
# its Apache vhost, its status command and the checks by phpinfo that guides end with. What phpinfo
# says is compared with php-fpm on the same pool.
#
# The user myapp exists for the time of this test only: a guard process takes it away when the test
# ends, however it ends. A user of that name who was there before is used and left alone.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;
use JSON::PP ();
use POSIX ();

plan(skip_all => 'a pool with a user of its own needs root') unless is_root();
require_program($_->[0], $_->[1]) for [ 'useradd', 'passwd' ], [ 'cgi-fcgi', 'libfcgi-bin' ], [ '/usr/sbin/nginx', 'nginx-light' ], [ '/usr/sbin/apache2', 'apache2-bin' ];

my $mark = 'user of a test of fpmpool';
my ($guard, $guard_pipe);
END { remove_user() }
add_user();
my ($uid, $gid) = (getpwnam 'myapp')[ 2, 3 ];

my $dir  = test_dir();
my $docroot = site('myapp/public',
    'index.php'  => '<?php echo "index ", $_SERVER["REQUEST_URI"];',
    'info.php'   => '<?php phpinfo();',
    'env.php'    => '<?php echo json_encode(["env" => getenv(), "path" => getenv("PATH", true), "uid" => posix_geteuid(), "gid" => posix_getegid(), "groups" => posix_getgroups()]);',
    'ini.php'    => '<?php echo json_encode([ini_set("memory_limit", "1G"), ini_set("open_basedir", "/"), ini_get("memory_limit"), ini_get("open_basedir")]);',
    'functions.php' => '<?php foreach (["exec", "passthru", "shell_exec", "system", "gethostname", "strlen"] as $f) $r[$f] = function_exists($f); echo json_encode($r);',
    'basedir.php' => '<?php echo json_encode([file_get_contents("/etc/passwd"), strlen(file_get_contents(__FILE__)) > 0]);',
    'error.php'  => '<?php echo "before "; trigger_error("a warning of myapp", E_USER_WARNING); error_log("a line of myapp"); nothing_of_the_kind();',
    'upload.php' => '<?php echo json_encode([$_POST, isset($_FILES["f"]) ? [$_FILES["f"]["error"], $_FILES["f"]["size"]] : null]);',
    'memory.php' => '<?php $x = str_repeat("x", 200 << 20); echo strlen($x);',
    'uploads/evil.jpg' => '<?php echo "ran";',
    'style.css'  => "p { color: red }\n",
);
mkdir "$dir/log", 0755 or die;
chown $uid, $gid, "$dir/log" or die;

# Debian's php.ini, with a function that it disables.
my $php_ini = read_file('/etc/php/8.2/fpm/php.ini');
$php_ini =~ s/^disable_functions\s*=.*$/disable_functions = gethostname/m or die 'php.ini has no disable_functions';
write_file('php.ini', $php_ini);

sub pool_text {
    my ($name) = @_;
    return <<"POOL";
[myapp]
user = myapp
group = myapp

listen = $dir/$name/run/myapp.sock
listen.owner = www-data
listen.group = www-data
listen.mode = 0660

pm = dynamic
pm.max_children = 30
pm.start_servers = 5
pm.min_spare_servers = 3
pm.max_spare_servers = 10
pm.max_requests = 1000

slowlog = $dir/log/$name-slow.log
request_slowlog_timeout = 2s

pm.status_path = /fpm-status
ping.path = /fpm-ping

clear_env = yes
env[HOSTNAME] = \$HOSTNAME
env[PATH] = /usr/local/bin:/usr/bin:/bin

php_admin_value[error_log] = $dir/log/$name-error.log
php_admin_flag[log_errors] = on
php_admin_value[memory_limit] = 256M
php_admin_value[upload_max_filesize] = 20M
php_admin_value[post_max_size] = 25M
php_admin_value[disable_functions] = exec,passthru,shell_exec,system
php_admin_value[open_basedir] = $docroot:/tmp
POOL
}

sub start_pool {
    my ($start, $name) = @_;
    return $start->(
        name => $name, conf => "[global]\nerror_log = $dir/$name/error.log\n" . pool_text($name), args => [ '-c', "$dir/php.ini" ],
        env  => { HOSTNAME => 'web1.example.org', SECRET_OF_ROOT => 'hidden' }, listen => { myapp => "$dir/$name/run/myapp.sock" },
    );
}

# The guide's server block.
sub nginx_block {
    my ($socket) = @_;
    return <<"NGINX";
        index index.php;
        client_max_body_size 64m;
        client_body_buffer_size 32m;
        location / {
            try_files \$uri \$uri/ /index.php?\$query_string;
        }
        location ~ \\.php\$ {
            try_files \$uri =404;
            fastcgi_pass unix:$socket;
            fastcgi_index index.php;
            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
            include fastcgi_params;
            fastcgi_buffers 64 16k;
        }
        location ~ ^/(fpm-status|fpm-ping)\$ {
            allow 127.0.0.1;
            deny all;
            fastcgi_pass unix:$socket;
            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
            include fastcgi_params;
        }
NGINX
}

# The guide's vhost, inside httpd's main server.
sub vhost {
    my ($socket) = @_;
    return <<"HTTPD";
<FilesMatch "\\.php\$">
    SetHandler "proxy:unix:$socket|fcgi://localhost/"
</FilesMatch>
<LocationMatch "^/(fpm-status|fpm-ping)\$">
    Require ip 127.0.0.1
    SetHandler "proxy:unix:$socket|fcgi://localhost/"
</LocationMatch>
HTTPD
}

# What a command prints, with these variables for it; dies when it fails.
sub output_of {
    my ($variables, @argv) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        %ENV = (%ENV, %$variables);
        open STDIN, '<', '/dev/null' or POSIX::_exit(1);
        exec { $argv[0] } @argv or POSIX::_exit(127);
    }
    my $text = do { local $/; <$pipe> } // '';
    close $pipe;
    die "$argv[0]: exit code " . ($? >> 8) . "\n" if $?;
    return $text;
}

sub json { return JSON::PP->new->utf8->decode($_[0]{body}) }

# {name => [local, master]} of the tables of phpinfo; a fact has one value.
sub phpinfo_rows {
    my ($text) = @_;
    my %row;
    while ($text =~ m{<tr><td class="e">([^<]*?)\s*</td>((?:<td class="v">.*?</td>)+)</tr>}gs) {
        my ($name, $cells) = ($1, $2);
        $row{$name} //= [ map { s/<[^>]*>//gr =~ s/\A\s+|\s+\z//gr } $cells =~ m{<td class="v">(.*?)</td>}gs ];
    }
    return \%row;
}

my $daemon = start_pool(\&start_daemon, 'fpmpoold');
my $socket = $daemon->listen_address('myapp');

subtest 'the pool starts unchanged' => sub {
    my @stat = stat $socket;
    is($stat[2] & 07777, 0660, 'listen.mode');
    is((getpwuid $stat[4])[0] . ':' . (getgrgid $stat[5])[0], 'www-data:www-data', 'listen.owner and listen.group');
    wait_for { $daemon->worker_pids('myapp') == 5 } 10, 'five workers';
    is(scalar $daemon->worker_pids('myapp'), 5, 'pm.start_servers');
    is(process_uid($_), $uid, 'user of ' . process_title($_)) for $daemon->pool_pid('myapp'), $daemon->worker_pids('myapp');
    is(process_uid($daemon->pid), 0, 'the master is root');
    my $log = $daemon->log_text;
    unlike($log, qr/has no effect/, 'every key has its effect');
};

subtest 'the status command' => sub {
    my $ask = sub {
        my ($path, $query) = @_;
        return output_of({ SCRIPT_NAME => $path, SCRIPT_FILENAME => $path, REQUEST_METHOD => 'GET', QUERY_STRING => $query // '' }, 'cgi-fcgi', '-bind', '-connect', $socket);
    };
    my $status = $ask->('/fpm-status');
    like($status, qr{^Content-type: text/plain}mi, 'cgi-fcgi gets text');
    like($status, qr/^pool:\s+myapp$/m, 'the pool');
    like($status, qr/^process manager:\s+dynamic$/m, '... its pm');
    like($status, qr/^total processes:\s+5$/m, '... its workers');
    like($status, qr/^$_:\s+\d+$/m, "... $_") for 'accepted conn', 'listen queue', 'idle processes', 'active processes', 'max children reached', 'slow requests';
    my ($json) = $ask->('/fpm-status', 'json&full') =~ /(\{.*\})\s*\z/s;
    is(scalar @{ JSON::PP->new->decode($json)->{processes} }, 5, 'json&full lists the workers');
    like($ask->('/fpm-ping'), qr/^pong$/m, 'ping');
};

# What is the same behind every front.
sub check_site {
    my ($server, $error_log) = @_;
    my $get = sub { return http($server->url($_[0]), @_[ 1 .. $#_ ]) };
    my $facts = json($get->('/env.php'));
    is("$facts->{uid}:$facts->{gid} @{ $facts->{groups} }", "$uid:$gid $gid", 'scripts run as myapp, in no other group');
    is($facts->{env}{HOSTNAME}, 'web1.example.org', 'env[HOSTNAME] = $HOSTNAME');
    is($facts->{path}, '/usr/local/bin:/usr/bin:/bin', 'env[PATH], for the programs that PHP starts');
    ok(!exists $facts->{env}{SECRET_OF_ROOT}, 'clear_env');
    is_deeply(json($get->('/ini.php')), [ JSON::PP::false, JSON::PP::false, '256M', "$docroot:/tmp" ], 'php_admin_value is out of reach for scripts');
    is($get->('/memory.php')->{body}, 200 << 20, 'memory_limit lets 200 MB pass');
    my $functions = json($get->('/functions.php'));
    is(join(' ', grep { !$functions->{$_} } sort keys %$functions), 'exec gethostname passthru shell_exec system', 'disable_functions adds to php.ini\'s');
    is_deeply(json($get->('/basedir.php')), [ JSON::PP::false, JSON::PP::true ], 'open_basedir is in force');

    my $from = -s $error_log;
    my $answer = $get->('/error.php');
    is($answer->{status}, 500, 'a fatal error is a 500');
    my $log = substr read_file($error_log), $from;
    like($log, qr/$_/m, "error_log has: $_") for '\[[^\]]+\] PHP Warning:  a warning of myapp in ', '\] a line of myapp$', '\] PHP Fatal error:  Uncaught Error: Call to undefined function nothing_of_the_kind';
    like(read_file($error_log), qr/open_basedir restriction in effect\. File\(\/etc\/passwd\)/, '... and what open_basedir refused');
    is((stat $error_log)[4], $uid, '... as a file of myapp');
    upload_limits($get, $error_log);

    is($get->('/fpm-ping')->{body}, 'pong', 'ping');
    my $status = json($get->('/fpm-status?json'));
    is("$status->{pool} $status->{'process manager'}", 'myapp dynamic', 'status');
    my $other = output_of({}, 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--interface', '127.0.0.2', $server->url('/fpm-status'));
    is($other, 403, '... for 127.0.0.1 only');
    return;
}

sub upload_limits {
    my ($get, $error_log) = @_;
    my $send = sub {
        my ($size) = @_;
        my $body = qq{--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--xx\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\nContent-Type: application/x\r\n\r\n}
            . 'u' x $size . "\r\n--xx--\r\n";
        my $answer = $get->('/upload.php', method => 'POST', body => $body, headers => [ 'Content-Type' => 'multipart/form-data; boundary=xx' ]);
        return $answer->{body} =~ /(\[.*\])\s*\z/s ? JSON::PP->new->decode($1) : $answer->{body};
    };
    is_deeply($send->(20 << 20), [ { a => 'b' }, [ 0, 20 << 20 ] ], 'an upload of 20 MB is taken');
    is_deeply($send->((20 << 20) + 1), [ { a => 'b' }, [ 1, 0 ] ], '... a larger one is UPLOAD_ERR_INI_SIZE');
    is_deeply($send->(25 << 20), [ [], undef ], '... and beyond post_max_size there is nothing');
    like(read_file($error_log), qr/POST Content-Length of \d+ bytes exceeds the limit of 26214400 bytes/, '... and a line in error_log');
    return;
}

subtest 'the nginx server block' => sub {
    allow_log(qr{access forbidden by rule.*/fpm-status});
    my $nginx = start_nginx(docroot => $docroot, conf => nginx_block($socket) =~ s{include fastcgi_params}{include /etc/nginx/fastcgi_params}gr);
    is(http($nginx->url('/'))->{body}, 'index /', 'the start page');
    is(http($nginx->url('/no/file?a=1'))->{body}, 'index /no/file?a=1', 'what is no file goes to index.php');
    is(http($nginx->url('/style.css'))->{body}, "p { color: red }\n", 'a file');
    is(http($nginx->url('/none.php'))->{status}, 404, 'a script that is not there is nginx\'s 404');
    is(http($nginx->url('/uploads/evil.jpg/x.php'))->{status}, 404, 'try_files: nothing runs an upload');
    check_site($nginx, "$dir/log/fpmpoold-error.log");
    $nginx->stop;
};

for my $mpm (qw(event prefork)) {
    subtest "the Apache vhost, $mpm" => sub {
        allow_log(qr{AH01630: client denied by server configuration: \S*fpm-status}, qr{AH01071: Got error 'Primary script unknown'});
        my $httpd = start_httpd(mpm => $mpm, docroot => $docroot, modules => [qw(authz_host proxy proxy_fcgi)], conf => vhost($socket));
        is(http($httpd->url('/'))->{body}, 'index /', 'the start page');
        is(http($httpd->url('/style.css'))->{body}, "p { color: red }\n", 'a file');
        is(http($httpd->url('/none.php'))->{status}, 404, 'a script that is not there is a 404');
        unlike(http($httpd->url('/uploads/evil.jpg/x.php'))->{body}, qr/\Aran/, 'nothing runs an upload');
        check_site($httpd, "$dir/log/fpmpoold-error.log");
        $httpd->stop;
    };
}

subtest 'phpinfo' => sub {
    my $nginx = start_nginx(docroot => $docroot, conf => nginx_block($socket) =~ s{include fastcgi_params}{include /etc/nginx/fastcgi_params}gr);
    my $ours  = phpinfo_rows(http($nginx->url('/info.php'))->{body});
    $nginx->stop;
    my %wanted = (
        'Server API' => ['FPM/FastCGI'], 'Loaded Configuration File' => ["$dir/php.ini"], memory_limit => [ '256M', '256M' ], upload_max_filesize => [ '20M', '20M' ],
        post_max_size => [ '25M', '25M' ], open_basedir => [ ("$docroot:/tmp") x 2 ], error_log => [ ("$dir/log/fpmpoold-error.log") x 2 ], log_errors => [ 'On', 'On' ],
        'php-fpm' => ['active'], 'Opcode Caching' => ['Up and Running'],
    );
    is_deeply($ours->{$_}, $wanted{$_}, $_) for sort keys %wanted;
    like("@{ $ours->{disable_functions} }", qr/\b$_\b/, "disable_functions has $_") for qw(exec passthru shell_exec system);

  SKIP: {
        skip('php8.2-fpm is not installed', 1) unless -x '/usr/sbin/php-fpm8.2';
        my $fpm  = start_pool(\&start_php_fpm, 'php-fpm');
        my $peer = start_nginx(docroot => $docroot, conf => nginx_block($fpm->listen_address('myapp')) =~ s{include fastcgi_params}{include /etc/nginx/fastcgi_params}gr);
        my $theirs = phpinfo_rows(http($peer->url('/info.php'))->{body});
        $_->stop for $peer, $fpm;
        cmp_ok(scalar keys %$theirs, '>', 200, 'php-fpm\'s page: ' . scalar(keys %$theirs) . ' rows');
        # numbers of this moment; each daemon's log; php-fpm hides what php.ini disables (it is in force
        # all the same); the folder that libphp was built for
        my $own    = qr/\A(?:\$_SERVER\['(?:REMOTE_PORT|REQUEST_TIME|REQUEST_TIME_FLOAT|SERVER_PORT|HTTP_HOST)'\]|Cache.*|Interned Strings.*|(?:Free|Used|Wasted) memory|error_log|disable_functions|Configuration File \(php\.ini\) Path)\z/;
        my @differ = grep { $_ !~ $own && "@{ $ours->{$_} || ['none'] }" ne "@{ $theirs->{$_} || ['none'] }" } sort keys %{ { %$ours, %$theirs } };
        diag("$_: @{ $ours->{$_} || ['none'] } | @{ $theirs->{$_} || ['none'] }") for @differ;
        is("@differ", '', 'the rest is php-fpm\'s');
    }
};

$daemon->stop;
remove_user();
done_testing();

# ---- the user -------------------------------------------------------------------------------

sub add_user {
    my @found = getpwnam 'myapp';
    return if @found && $found[6] ne $mark;    # the administrator's
    pipe(my $reader, my $writer) or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $writer;
        POSIX::setsid();
        $SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
        $SIG{ALRM} = 'DEFAULT';
        alarm 0;
        1 while sysread $reader, my $byte, 1;    # until the test is gone
        system('userdel -f myapp >/dev/null 2>&1') if ((getpwnam 'myapp')[6] // '') eq $mark;
        system('groupdel myapp >/dev/null 2>&1') if !getpwnam('myapp') && getgrnam('myapp');
        POSIX::_exit(0);
    }
    close $reader;
    ($guard, $guard_pipe) = ($pid, $writer);
    return if @found;                            # of a run that was killed together with its guard
    system('useradd', '--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', '--comment', $mark, 'myapp') == 0
        or die "useradd myapp failed\n";
    return;
}

sub remove_user {
    return unless $guard;
    local ($?, $!);
    close $guard_pipe;
    waitpid $guard, 0;
    $guard = undef;
    problem('the user myapp is left over') if getpwnam('myapp') || getgrnam('myapp');
    return;
}
