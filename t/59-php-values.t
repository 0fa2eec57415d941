# php_value, php_flag, php_admin_value and php_admin_flag in httpd's files and in .htaccess, beside
# Debian's mod_php with the same text: every context, how sections merge, what a script may change.
# Then what mod_php need not do, because it is one process: nothing stays for the next request.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Application;
use FPMPool::Client;
use FPMPool::Test;

my @names = qw(memory_limit max_execution_time display_errors upload_max_filesize post_max_size user_agent
    include_path open_basedir allow_url_fopen short_open_tag session.name error_log date.timezone
    auto_prepend_file default_charset precision arg_separator.output error_prepend_string);
my $dump = '<?php $all = []; foreach (explode(" ", "' . "@names" . '") as $n) { $all[$n] = ini_get($n); }
    $all["set"] = @ini_set("user_agent", "script"); $all["after"] = ini_get("user_agent");
    $all["limit"] = @ini_set("memory_limit", "300M"); $all["limited"] = ini_get("memory_limit");
    echo json_encode($all);';

# Settings as .htaccess files of applications have them, and what is odd in them.
my %htaccess = (
    'plain'     => "php_value memory_limit 64M\nphp_flag display_errors on\nphp_value user_agent \"a b;c\"\n",
    'flags'     => "php_flag display_errors ON\nphp_flag short_open_tag 1\nphp_flag session.use_cookies yes\n",
    'off'       => "php_flag display_errors off\nphp_flag short_open_tag 0\nphp_value include_path none\n",
    'quotes'    => qq{php_value user_agent 'he said "no" \$HOME # ; end'\n},
    'system'    => "php_flag allow_url_fopen off\nphp_value memory_limit 65M\n",
    'perdir'    => "php_value upload_max_filesize 7M\nphp_value post_max_size 9M\n",
    'narrow'    => "php_value open_basedir \"%ROOT%/narrow\"\n",
    'wide'      => "php_value open_basedir /\n",
    'under'     => "php_value memory_limit 66M\nphp_value user_agent inner\nphp_value precision 5\n",
    'twice'     => "php_value memory_limit 67M\nphp_value memory_limit 68M\n",
    'unknown'   => "php_value no.such.setting 1\nphp_value memory_limit 69M\n",
    'files'     => "<Files a.php>\nphp_value memory_limit 70M\n</Files>\n<FilesMatch b>\nphp_value memory_limit 71M\n</FilesMatch>\n",
    'if'        => "<If \"%{QUERY_STRING} == 'y'\">\nphp_value memory_limit 72M\n</If>\n",
    'wordpress' => "php_value upload_max_filesize 64M\nphp_value post_max_size 64M\nphp_value max_execution_time 300\n",
    'nextcloud' => "<IfModule mod_php7.c>\nphp_value memory_limit 1M\n</IfModule>\n<IfModule mod_php.c>\nphp_value mbstring.func_overload 0\n"
        . "php_value default_charset 'UTF-8'\nphp_value output_buffering 0\nphp_value memory_limit 512M\n"
        . "<IfModule mod_env.c>\nSetEnv htaccessWorking true\n</IfModule>\n</IfModule>\n",
    'drupal'    => "<IfModule mod_php.c>\nphp_value assert.active 0\nphp_flag session.auto_start off\n"
        . "php_value mbstring.http_input pass\nphp_value memory_limit 73M\n</IfModule>\n",
);
my %site = map { ("$_/a.php" => $dump, "$_/b.php" => $dump) } keys %htaccess, qw(server vhost admin loc);
$site{"plain/deep/a.php"} = $dump;
$site{"plain/deep/.htaccess"} = "php_value memory_limit 74M\n";
$site{"none/a.php"} = $dump;
$site{"none/.htaccess"} = "php_value memory_limit 75M\n";
# What AllowOverride makes of them. (ifadmin and list have nothing else in their files.)
$site{"$_/a.php"} = $dump for qw(options list unlisted indexes ifadmin match/deep);
$site{"$_/.htaccess"} = "php_value memory_limit 81M\nphp_flag display_errors on\n" for qw(options list indexes);
$site{"unlisted/.htaccess"} = "php_flag display_errors on\n";
$site{"ifadmin/.htaccess"} = "<If \"true\">\nphp_admin_value memory_limit 76M\n</If>\n";
$site{"adminht/a.php"} = $dump;
$site{"adminht/.htaccess"} = "php_admin_value memory_limit 76M\n";
$site{"engine/a.php"} = '<?php echo "ran";';
$site{"engine/.htaccess"} = "php_flag engine off\n";
my $root = site('www', %site);
for my $name (keys %htaccess) {
    my $text = $htaccess{$name} =~ s/%ROOT%/$root/gr;
    write_file("$root/$name/.htaccess", $text);
}

sub conf_text {
    my ($handler) = @_;
    return <<"EOF_CONF";
<FilesMatch "\\.php\$">
    SetHandler $handler
</FilesMatch>
php_value date.timezone Europe/Berlin
php_admin_value session.name SERVER
php_value precision 11
<Directory "$root/none">
    AllowOverride FileInfo
</Directory>
<Directory "$root/options">
    AllowOverride Options
</Directory>
<Directory "$root/list">
    AllowOverride None
    AllowOverrideList php_value php_flag
</Directory>
<Directory "$root/unlisted">
    AllowOverride None
    AllowOverrideList php_value
</Directory>
<Directory "$root/indexes">
    AllowOverride Options=Indexes
</Directory>
<DirectoryMatch "/match/(?<what>\\w+)">
    php_admin_value user_agent "of a DirectoryMatch"
    php_value precision 9
</DirectoryMatch>
<LocationMatch "^/match/">
    php_value precision 8
    php_value user_agent "of a LocationMatch"
    <If "%{QUERY_STRING} == 'admin'">
        php_admin_value memory_limit 82M
        php_admin_flag display_errors on
    </If>
</LocationMatch>
<Directory "$root/server">
    php_value user_agent "from directory"
    php_admin_flag display_errors on
</Directory>
<Directory "$root/under">
    php_admin_value user_agent outer
</Directory>
<Directory "$root/admin">
    php_admin_value memory_limit 77M
    php_admin_value open_basedir "$root"
    php_admin_flag allow_url_fopen off
</Directory>
<Directory "$root/system">
    php_value allow_url_fopen off
</Directory>
<Directory "$root/narrow">
    php_admin_value open_basedir "$root"
</Directory>
<Directory "$root/wide">
    php_admin_value open_basedir "$root"
</Directory>
<Location /loc>
    php_value error_prepend_string "in location"
    php_value precision 12
</Location>
<If "%{QUERY_STRING} == 'z'">
    php_value default_charset latin1
</If>
EOF_CONF
}

my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1, 'security.limit_extensions' => '.php .html', 'php_admin_value[error_log]' => '/dev/null' } });
my $ours = start_httpd(mpm => 'event', docroot => $root, conf => pool_text() . conf_text('fpmpool') . virtual_host());

sub pool_text {
    return "<FpmPoolDefine www>\nFpmPoolServer unix:" . $daemon->listen_address('www') . "\n</FpmPoolDefine>\nFpmPool www\n";
}

sub virtual_host {
    return "<VirtualHost *>\nServerName main\n</VirtualHost>\n<VirtualHost *>\nServerName other\n"
        . "php_value memory_limit 78M\nphp_admin_value session.name VHOST\n</VirtualHost>\n";
}

my $place = test_dir() . '/mod_php';
unpack_packages(packages_folder('mod-php'), $place, 'libapache2-mod-php8.2');
my $peer = start_httpd(mpm => 'prefork', name => 'mod-php', docroot => $root, fpmpool => 0,
    conf => "LoadModule php_module $place/usr/lib/apache2/modules/libphp8.2.so\nPHPINIDir /etc/php/8.2/fpm\n"
        . "php_admin_value error_log /dev/null\n" . conf_text('application/x-httpd-php') . virtual_host());

sub settings_of {
    my ($server, $path, $host) = @_;
    my $answer = http($server->url($path), headers => [ Host => $host || 'main' ]);
    my $all = eval { JSON::PP::decode_json($answer->{body}) };
    return $all || { status => $answer->{status} };
}

my $cases = 0;
sub compare {
    my ($path, $host, $server) = @_;
    $cases++;
    return is_deeply(settings_of($server || $ours, $path, $host), settings_of($peer, $path, $host), "$path as with mod_php" . ($host ? " ($host)" : ''));
}

subtest 'every context gives the values that mod_php gives' => sub {
    compare("/$_/a.php") for grep { $_ !~ /drupal|nextcloud/ } sort keys %htaccess;
    compare("/$_") for qw(server/a.php vhost/a.php admin/a.php loc/a.php plain/deep/a.php files/b.php if/a.php?y
        loc/a.php?z plain/a.php?z);
    compare("/$_/a.php", 'other') for qw(vhost plain server admin);
    compare($_) for '/match/deep/a.php', '/match/deep/a.php?admin';
    my $all = settings_of($ours, '/match/deep/a.php?admin');
    is_deeply([ @$all{qw(memory_limit limited user_agent precision)} ], [ '82M', '82M', 'of a DirectoryMatch', '8' ],
        'php_admin_value in <If>: not changed by the script; one of a directory wins over php_value of a location');
    note("contexts: $cases cases");
};

subtest 'AllowOverride and contexts are those of mod_php' => sub {
    compare("/none/a.php");    # 500: not allowed by FileInfo alone
    compare("/adminht/a.php"); # 500: never in .htaccess
    compare("/$_/a.php") for qw(options list unlisted indexes ifadmin);
    is(settings_of($ours, "/$_/a.php")->{memory_limit}, '81M', "AllowOverride: $_") for qw(options list);
    is(settings_of($ours, "/$_/a.php")->{status}, 500, "AllowOverride: not $_") for qw(unlisted ifadmin);
    is(settings_of($ours, '/none/a.php')->{status}, 500, 'php_value needs AllowOverride Options');
    is(settings_of($ours, '/adminht/a.php')->{status}, 500, 'php_admin_value never in .htaccess');
    $_->wait_log(qr/php_value not allowed here/) for $ours, $peer;
    $_->wait_log(qr/php_admin_value not allowed here/) for $ours, $peer;
    allow_log(qr/not allowed (?:here|in <If> context)/);
};

subtest 'sections for mod_php in .htaccess files of applications' => sub {
    is(settings_of($ours, '/drupal/a.php')->{memory_limit}, settings_of($ours, '/vhost/a.php')->{memory_limit},
        '<IfModule mod_php.c> is not entered');
    is(settings_of($peer, '/drupal/a.php')->{memory_limit}, '73M', 'mod_php enters it');
    my $names = build_path('lib/mod_fpmpool_php.so');
    my $named = start_httpd(mpm => 'event', name => 'named', docroot => $root,
        conf => join('', map { "LoadModule ${_}_module $names\n" } qw(php php7 php5)) . pool_text() . conf_text('fpmpool') . virtual_host());
    compare('/drupal/a.php', undef, $named);
    compare('/nextcloud/a.php', undef, $named);
    is(settings_of($named, '/nextcloud/a.php')->{memory_limit}, '512M', 'entered where modules with its names are loaded');
};

subtest 'php_flag engine off' => sub {
    is(http($ours->url('/engine/a.php'))->{status}, 403, 'refused by default: no source leaks');
    like(http($peer->url('/engine/a.php'))->{body}, qr/<\?php/, 'mod_php sends the source');
};

subtest 'settings that are of the handler' => sub {
    my $page = '<?php echo "ran";';
    for my $place (qw(own own-off)) {
        my $value = $place eq 'own' ? 'on' : 'off';
        write_file("$root/$place/.htaccess", "php_flag last_modified $value\nphp_flag xbithack $value\n");
        write_file("$root/$place/$_", $page) for qw(a.php plain.html bit.html bit.txt group.html);
        write_file("$root/$place/said.php", '<?php header("Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"); echo "said";');
        chmod 0755, "$root/$place/bit.html", "$root/$place/bit.txt";
        chmod 0674, "$root/$place/group.html";
        utime 1_600_000_000, 1_600_000_000, glob "$root/$place/*";
        for my $path (map { "/$place/$_" } qw(a.php said.php plain.html bit.html bit.txt group.html)) {
            my ($got, $expected) = map { my $answer = http($_->url($path)); "$answer->{status} $answer->{body} " . ($answer->{headers}{'last-modified'} // '-') } $ours, $peer;
            is($got, $expected, "$path as with mod_php: $expected");
        }
    }
    is(http($ours->url('/own/a.php'))->{headers}{'last-modified'}, 'Sun, 13 Sep 2020 12:26:40 GMT', 'last_modified: the time of the file');
    is(http($ours->url('/own/a.php'), headers => [ 'If-Modified-Since' => 'Sun, 13 Sep 2020 12:26:40 GMT' ])->{status}, 200, '... which makes no 304');
    is(http($ours->url('/own/bit.html'))->{body}, 'ran', 'xbithack: an executable page');
};

subtest 'nothing stays for the next request of the worker' => sub {
    my $plain = php_request($daemon, "$root/vhost/a.php")->{body};
    my %end = (
        'end of script' => '', exit => 'exit(3);', fatal => 'no_such_function();',
        timeout => 'set_time_limit(1); for (;;) { }', 'an exception' => 'throw new Exception("x");',
    );
    write_file("$root/admin/end.php", '<?php header("X-Limit: " . ini_get("memory_limit")); ini_set("precision", "3");'
            . join '', map { qq{if (\$_SERVER["QUERY_STRING"] == } . JSON::PP->new->allow_nonref->encode($_ =~ s/ /_/gr) . qq{) { $end{$_} }} } sort keys %end);
    for my $end (sort keys %end) {
        my $answer = http($ours->url('/admin/end.php?' . $end =~ s/ /_/gr), headers => [ Host => 'other' ]);
        is($answer->{headers}{'x-limit'}, '77M', "$end: the setting counts");
        is(php_request($daemon, "$root/vhost/a.php")->{body}, $plain, "$end: the pool's own values are back");
    }
    is(scalar $daemon->worker_pids('www'), 1, 'all by one worker');
};

subtest "what the pool's administrator fixed wins" => sub {
    my $fixed = start_daemon(name => 'fixed', conf => { www => { 'pm.max_children' => 1,
        'php_admin_value[memory_limit]' => '99M', 'php_admin_value[open_basedir]' => "$root:/tmp" } });
    my $httpd = start_httpd(mpm => 'worker', name => 'fixed-httpd', docroot => $root, conf => <<"EOF_CONF" . conf_text('fpmpool'));
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $fixed->listen_address('www') ]}
</FpmPoolDefine>
FpmPool www
<Directory "$root/loc">
    php_admin_value memory_limit 1G
    php_admin_value open_basedir /
    php_admin_value disable_functions phpinfo
</Directory>
FpmPoolEngineOff decline
EOF_CONF
    allow_log(qr/FPMP0006/);
    my $all = settings_of($httpd, '/loc/a.php');
    is($all->{memory_limit}, '99M', 'memory_limit');
    is($all->{open_basedir}, "$root:/tmp", 'open_basedir');
    $httpd->wait_log(qr/FPMP0006: .*httpd\.conf:\d+: php_admin_value disable_functions has no effect/);
    pass('what PHP takes for a whole process only is named with file and line');
    like(http($httpd->url('/engine/a.php'))->{body}, qr/<\?php/, 'FpmPoolEngineOff decline: as mod_php');
};

subtest 'the settings reach php-fpm as PHP_VALUE and PHP_ADMIN_VALUE' => sub {
    plan(skip_all => 'php-fpm8.2 is not installed') if !-x '/usr/sbin/php-fpm8.2';
    my $fpm = start_php_fpm(name => 'fpm', conf => { www => { 'pm.max_children' => 1 } });
    my $value = 'he said "no" $HOME \\ ; end';
    my $httpd = start_httpd(mpm => 'worker', name => 'fpm-httpd', docroot => $root, conf => <<"EOF_CONF");
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $fpm->listen_address('www') ]} type=fpm
</FpmPoolDefine>
FpmPool www
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
php_value error_prepend_string '$value'
php_admin_value session.name FIXED
EOF_CONF
    my $all = settings_of($httpd, '/plain/a.php');
    is($all->{'error_prepend_string'}, $value, 'php_value, quoted');
    is($all->{'session.name'}, 'FIXED', 'php_admin_value');
    isnt($all->{memory_limit}, '64M', 'an .htaccess file does not reach php-fpm, which would set anything for it');
};

done_testing();
