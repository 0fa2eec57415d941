# What `httpd -t` says about mod_fpmpool's directives: each mistake with file, line and cure, and
# nothing about what is right.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $httpd   = $ENV{FPMPOOL_HTTPD} || '/usr/sbin/apache2';
my $modules = $ENV{FPMPOOL_HTTPD_MODULES} || '/usr/lib/apache2/modules';
my $module  = $ENV{FPMPOOL_TEST_MODULE} || build_path('lib/mod_fpmpool.so');
my $dir     = test_dir();
my $count   = 0;

# Exit code and output of a test of that text; its first line is line 11 of the file.
sub config_test {
    my ($text, @argument) = @_;
    my $file = write_file('httpd-' . ++$count . '.conf', <<"EOF_CONF" . $text);
ServerRoot "$dir"
DefaultRuntimeDir "$dir"
PidFile "$dir/httpd.pid"
ErrorLog "$dir/error.log"
LoadModule mpm_event_module "$modules/mod_mpm_event.so"
LoadModule authz_core_module "$modules/mod_authz_core.so"
LoadModule fpmpool_module "$module"
ServerName 127.0.0.1
DocumentRoot "$dir"
Listen 127.0.0.1:1
EOF_CONF
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT or die;
        exec $httpd, '-t', '-f', $file, @argument or die;
    }
    my $output = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? >> 8, $output, basename_of($file));
}
sub basename_of { return (split m{/}, $_[0])[-1] }

sub refused {
    my ($text, $line, $pattern, $name) = @_;
    my ($code, $output, $file) = config_test($text);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return subtest $name => sub {
        isnt($code, 0, 'refused');
        like($output, qr/line $line of \S*\Q$file\E|\Q$file\E:$line:/, "names file and line $line") or diag $output;
        like($output, $pattern, 'says what and what to do') or diag $output;
    };
}

sub accepted {
    my ($text, $name) = @_;
    my ($code, $output) = config_test($text);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok($code == 0 && $output =~ /\ASyntax OK\s*\z/, $name) || diag $output;
}

my $define = "<FpmPoolDefine a>\n    FpmPoolServer unix:/run/a.sock\n</FpmPoolDefine>\n";

accepted($define . <<'EOF_CONF', 'every directive where it may be');
<FpmPoolDefine "b.c-d_e">
    FpmPoolServer tcp://127.0.0.1:9000 type=fpm reuse=on
    FpmPoolTimeout connect=500ms first=30s idle=2min total=10min keep=0
</FpmPoolDefine>
<FpmPoolDefine six>
    FpmPoolServer tcp://[::1]:9000 type=generic
</FpmPoolDefine>
FpmPoolSocketDir /run/fpmpool/
FpmPool a
FpmPoolTimeout first=10s
FpmPoolTimeout total=0
FpmPoolRetryAfter 10
FpmPoolServerTiming On
FpmPoolCheckScript Off
FpmPoolPassAuthorization Always
FpmPoolBody buffer memory=128K
FpmPoolFlush on
FpmPoolMaxParams 1M
FpmPoolMaxHeader 64K
FpmPoolHandlerAlias application/x-httpd-php php-script
FpmPoolBuffer 256K file=2048M
FpmPoolSendfile on /srv/files
FpmPoolErrorOverride 404 500
FpmPoolResolveRoot off
FpmPoolSetEnvIf "true" A
FpmPoolSetEnvIf "%{HTTP_HOST} =~ /^(\\w+)/" TENANT "$1 of %{SERVER_NAME}"
<VirtualHost 127.0.0.1:1>
    FpmPool b.c-d_e
    <Directory "/">
        FpmPool none
        FpmPoolTimeout idle=5s
    </Directory>
    <Location "/x">
        FpmPool six
        FpmPoolBody stream
        FpmPoolBuffer off
        FpmPoolSendfile off
        FpmPoolErrorOverride on
        FpmPoolResolveRoot on
        FpmPoolSetEnvIf "req('X-A') == 'b'" !A
    </Location>
    <If "true">
        FpmPool a
        FpmPoolFlush off
    </If>
</VirtualHost>
EOF_CONF

subtest 'a pool without definition and without a socket' => sub {
    my ($code, $output, $file) = config_test("FpmPoolSocketDir $dir\nFpmPool shpo\n");
    is($code, 0, 'is no mistake: its daemon may start later');
    like($output, qr/FPMP0001: \S*\Q$file\E:12: FpmPool shpo: .*no socket \Q$dir\E\/shpo\.sock yet/, '... but mentioned');
};

refused("${define}FpmPool a\n$define", 15, qr/pool "a" is already defined at \S+:11/, 'a pool defined twice');
refused("<FpmPoolDefine a>\n</FpmPoolDefine>\n", 11, qr/pool "a" has no server: add FpmPoolServer/, 'a pool without a server');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a\n    FpmPoolServer unix:/a weight=2\n</FpmPoolDefine>\n", 13, qr/pool "a" has unix:\/a twice/, 'the same server twice');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a name=x\n    FpmPoolServer unix:/b name=x\n</FpmPoolDefine>\n", 13, qr/two servers of the name "x"/, 'the same name twice');
refused("<FpmPoolDefine a>\n" . join('', map { "    FpmPoolServer unix:/$_\n" } 1 .. 65) . "</FpmPoolDefine>\n", 76, qr/at most 64 servers/, 'too many servers');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/" . 'x' x 107 . "\n</FpmPoolDefine>\n", 12, qr/has 108 bytes, a unix socket's can have 107: use a shorter/, 'a socket path that is too long');
accepted("<FpmPoolDefine a>\n    FpmPoolServer unix:/" . 'x' x 106 . "\n</FpmPoolDefine>\n", 'one that is just short enough');
refused("FpmPoolSocketDir /" . 'x' x 100 . "\nFpmPool long\n", 12, qr/FPMP0002: .*use a shorter directory.*FpmPoolSocketDir/, '... also one that is made of directory and name');
refused("<VirtualHost 127.0.0.1:1>\nFpmPoolSocketDir /run\n</VirtualHost>\n", 12, qr/cannot occur within <VirtualHost>/, 'FpmPoolSocketDir in a virtual host');
refused("<VirtualHost 127.0.0.1:1>\n$define</VirtualHost>\n", 12, qr/cannot occur within <VirtualHost>/, '<FpmPoolDefine> in a virtual host');
refused("<FpmPoolDefine a>\n    FpmPoolServer /run/a.sock\n</FpmPoolDefine>\n", 12, qr{is neither unix:/path nor tcp://host:port}, 'an address without scheme');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:run/a.sock\n</FpmPoolDefine>\n", 12, qr{does not begin with /}, 'a relative socket path');
refused("<FpmPoolDefine a>\n    FpmPoolServer tcp://127.0.0.1\n</FpmPoolDefine>\n", 12, qr{is not tcp://host:port}, 'a TCP address without port');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a type=php\n</FpmPoolDefine>\n", 12, qr/known are fpmpool, fpm, generic/, 'an unknown type');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a wight=2\n</FpmPoolDefine>\n", 12, qr/"wight=2": known are/, 'an unknown option');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a $_->[0]\n</FpmPoolDefine>\n", 12, $_->[1], "FpmPoolServer $_->[0]")
    for [ 'weight=0', qr/"weight=0": a number from 1 to 100/ ], [ 'weight=101', qr/from 1 to 100/ ], [ 'max=0', qr/from 1 to/ ], [ 'max=many', qr/a number/ ], [ 'group=-1', qr/from 0 to/ ], [ 'name=a/b', qr/a name has letters/ ],
    [ 'slowstart=long', qr/a time from 0ms/ ], [ 'docroot=/srv', qr/docroot= is a path here and one there/ ], [ 'docroot=srv:/var', qr/docroot= is a path here/ ], [ 'docroot=/srv:', qr/docroot= is a path here/ ];
my $member = sub { my ($line, $message, $name) = @_; refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a\n    $line\n</FpmPoolDefine>\n", 13 + ($line =~ tr/\n//), $message, $name // $line) };
$member->('FpmPoolBalance random', qr/known are least, roundrobin, first, hash/);
$member->('FpmPoolBalance hash', qr/is no expression/);
$member->('FpmPoolBalance hash "%{"', qr/is no expression/);
$member->('FpmPoolBalance sticky "a b"', qr/no cookie's name/);
$member->('FpmPoolBalance sticky ID strictly', qr/"strictly" is too much/);
$member->('FpmPoolBalance least 5', qr/"5" is too much/);
$member->('FpmPoolHealth', qr/one of fails= rate= window= retry= status= is needed/);
$member->('FpmPoolHealth rate=100', qr/from 0 to 99/);
$member->('FpmPoolHealth window=10ms', qr/a time from 1000ms/);
$member->('FpmPoolHealth status=200', qr/from 400 to 599/);
$member->('FpmPoolHealth status=', qr/status= is a list/);
$member->('FpmPoolHealth status=' . join(',', 500 .. 516), qr/at most 16 statuses/);
$member->('FpmPoolHealth fail=1', qr/known are fails= rate= window= retry= and status=/);
accepted("<FpmPoolDefine \"*\">\n    FpmPoolCheck ping\n    FpmPoolCheck script=/h.php\n</FpmPoolDefine>\n<FpmPoolDefine a>\n    FpmPoolServer unix:/a\n    FpmPoolCheck connect\n</FpmPoolDefine>\n<FpmPoolDefine b>\n    FpmPoolServer unix:/b\n    FpmPoolCheck off\n</FpmPoolDefine>\n", 'checks of its own replace those of all pools');
$member->('FpmPoolAllDown maybe', qr/FpmPoolAllDown is try or refuse/);
$member->('FpmPoolAllDown try refuse', qr/FpmPoolAllDown is try or refuse/);
$member->('FpmPoolHealth fails=0', qr/from 1 to 50/);
$member->('FpmPoolHealth retry=5s', qr/two times: retry=1s\.\.60s/);
$member->('FpmPoolHealth retry=5s..1s', qr/a time from 5000ms/);
$member->('FpmPoolCheck http', qr/known are off, connect, ping and script=/);
$member->('FpmPoolCheck ping interval=1ms', qr/a time from 50ms/);
$member->('FpmPoolCheck ping often', qr/known are interval= fast=/);
$member->('FpmPoolCheck script=health.php', qr/the whole path of a script on the server is needed/);
$member->('FpmPoolCheck ping expect="%{REQUEST_STATUS} -eq 200"', qr/expect= is for script= only/);
$member->('FpmPoolCheck script=/h.php expect="%{REQUEST_STATUS} -eq"', qr/is no expression/);
$member->('FpmPoolCheck script=/h.php expect=""', qr/is no expression: it is empty/);
$member->('FpmPoolCheck script=/h.php expect="%{HTTP_HOST} == \'a\'"', qr/"HTTP_HOST" is not known in expect=: %\{REQUEST_STATUS\}/);
$member->('FpmPoolCheck script=/h.php expect="file(\'/etc/passwd\') == \'a\'"', qr/"file" is not known in expect=/);
$member->("FpmPoolCheck ping\n    FpmPoolCheck connect", qr/at most one check with connect or ping/);
$member->("FpmPoolCheck script=/a.php\n    FpmPoolCheck script=/b.php", qr/at most one check with script=/);
$member->("FpmPoolCheck script=/a.php\n    FpmPoolCheck ping\n    FpmPoolCheck ping", qr/at most two/);
$member->("FpmPoolCheck ping\n    FpmPoolCheck off", qr/"off" stands alone/);
$member->('FpmPoolRetry always', qr/is not off, safe or idempotent/);
$member->('FpmPoolRetry safe attempts=0', qr/from 1 to 16/);
accepted("<FpmPoolDefine a>\n    FpmPoolServer unix:/a weight=3 max=4 group=1 name=one\n    FpmPoolServer tcp://127.0.0.1:9 slowstart=30s docroot=/srv/www:/var/www backup\n    FpmPoolBalance sticky ROUTE strict\n    FpmPoolHealth fails=5 retry=500ms..5s rate=30 window=20s status=500,502\n    FpmPoolAllDown refuse\n"
    . "    FpmPoolCheck ping interval=1s fast=100ms down=5s timeout=2s rise=1 fall=2\n    FpmPoolCheck script=/srv/h.php expect=\"%{REQUEST_STATUS} in {'200','204'} && hc('body') =~ /fine/ && -n resp('X-A') && ! -z tolower('A')\" interval=20s rise=3\n    FpmPoolRetry idempotent attempts=3 within=5s body=1M\n</FpmPoolDefine>\n<Location /x>\n    FpmPool a\n    FpmPoolRetry off\n    SetHandler fpmpool\n</Location>\n", 'everything that a pool of several servers may have');
refused("FpmPoolBalance first\n", 11, qr/FpmPoolBalance is allowed only inside of/, 'FpmPoolBalance outside of a definition');
refused("FpmPool \"expr=%{nosuch:x}\"\n", 11, qr/FpmPool: "%\{nosuch:x\}" is no expression of httpd: .*nosuch.*: correct it/, 'FpmPool with an expression that is none');
refused("FpmPool \"expr=\"\n", 11, qr/FpmPool: "" is no expression of httpd: it is empty/, '... with an empty one');
refused("FpmPool a \"expr=%{SERVER_NAME}\" \"expr=%{SERVER_NAME}\"\n", 11, qr/names "expr=%\{SERVER_NAME\}" twice/, '... with one twice');
refused("FpmPool none \"expr=a\"\n", 11, qr/none does not go with other names/, '... and none');
refused("FpmPoolMaxPools $_\n", 11, qr/FpmPoolMaxPools: "$_" is not a number from 1 to 65536/, "FpmPoolMaxPools $_") for 0, 65537, -1, '1K', 'many';
refused("<VirtualHost 127.0.0.1:1>\nFpmPoolMaxPools 5\n</VirtualHost>\n", 12, qr/cannot occur within <VirtualHost>/, '... in a virtual host');
refused("FpmPoolSelectable ../a\n", 11, qr/FpmPoolSelectable: "..\/a" cannot be a pool's name/, 'FpmPoolSelectable with what is no name');
refused("FpmPoolSelectable a none\n", 11, qr/FpmPoolSelectable: none does not go with names/, '... with names and none');
refused("FpmPoolSelectable none a\n", 11, qr/FpmPoolSelectable: none does not go with names/, '... the other way round');
refused("<FpmPoolDefine \"*\">\n    FpmPoolServer unix:/a\n</FpmPoolDefine>\n", 11, qr/pool "\*" is what all pools have in common: FpmPoolServer belongs into another/, 'a server of all pools');
refused("$define<FpmPoolDefine \"*\">\n</FpmPoolDefine>\n", 14, qr/<FpmPoolDefine "\*"> must stand before all other pools: move it up/, 'what all pools have in common, behind one');
refused("<FpmPoolDefine \"*\">\n</FpmPoolDefine>\n" x 2, 13, qr/pool "\*" is already defined at \S+:11/, '... twice');
accepted("<FpmPoolDefine \"*\">\n    FpmPoolTimeout first=5s\n    FpmPoolHealth fails=5\n    FpmPoolRetry off\n    FpmPoolCheck ping\n    FpmPoolBalance first\n</FpmPoolDefine>\n$define"
    . "FpmPool \"expr=%{SERVER_NAME}\" a \"expr=%{osenv:POOL}\"\nFpmPoolMaxPools 65536\nFpmPoolSelectable a\n<Directory \"/srv\">\nFpmPoolSelectable none\nSetHandler fpmpool\n</Directory>\n", 'expressions, what tenants may choose, what all pools have');
refused("FpmPool a b a\n", 11, qr/names "a" twice/, 'a pool that falls back to itself');
refused("FpmPool a none\n", 11, qr/none does not go with other names/, 'none as a fallback');
refused("FpmPool a b c d e f g h i\n", 11, qr/up to 7 fallbacks/, 'too many fallbacks');
refused("FpmPoolLimit\n", 11, qr/one of requests= queue= wait=/, 'FpmPoolLimit without a word');
refused("FpmPoolLimit requests=-1\n", 11, qr/"requests=-1": a number from 0 to 30000/, '... with what is no number');
refused("FpmPoolLimit requests=30001\n", 11, qr/from 0 to 30000/, '... with too many');
refused("FpmPoolLimit queue=many\n", 11, qr/"queue=many": a number/, '... queue=');
refused("FpmPoolLimit perip=x\n", 11, qr/"perip=x": a number/, '... perip=');
refused("FpmPoolLimit wait=0\n", 11, qr/"wait=0": a time from 1ms/, '... wait=');
refused("FpmPoolLimit status=200\n", 11, qr/from 400 to 599/, '... status=');
refused("FpmPoolLimit retry-after=soon\n", 11, qr/from 0 to 86400/, '... retry-after=');
refused("FpmPoolLimit most=7\n", 11, qr/"most=7": known are requests= queue= wait= perip= status= and retry-after=/, 'an unknown word of FpmPoolLimit');
$member->('FpmPoolLimit requests=x', qr/FpmPoolLimit: "requests=x": a number/);
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/run/a.sock user=nobody-has-this\n</FpmPoolDefine>\n", 12, qr/user=nobody-has-this: there is no such user/, 'user= with an unknown user');
refused("<FpmPoolDefine a>\n    FpmPoolServer tcp://127.0.0.1:9000 user=root\n</FpmPoolDefine>\n", 12, qr/user= is for unix sockets: remove it/, '... for TCP');
refused("FpmPoolStderr loud\n", 11, qr/FpmPoolStderr: "loud" is not auto, off or a level of LogLevel \(emerg, /, 'FpmPoolStderr with another word');
refused("FpmPoolOnAbort kill\n", 11, qr/FpmPoolOnAbort: "kill" is not tell or finish/, 'FpmPoolOnAbort with another word');
refused("FpmPoolOnAbort tell within=1s\n", 11, qr/FpmPoolOnAbort: "within=1s": known is finish within=TIME/, '... with a time for tell');
refused("FpmPoolOnAbort finish within=0\n", 11, qr/FpmPoolOnAbort: "within=0": a time from 1ms to 86400s is needed/, '... with no time');
accepted("FpmPoolStderr Info\nFpmPoolOnAbort finish within=300s\n<Location />\nFpmPoolStderr off\nFpmPoolOnAbort finish\n</Location>\n", 'FpmPoolStderr and FpmPoolOnAbort');
accepted("FpmPool a\nFpmPoolLimit requests=40 queue=80 wait=5s perip=4 status=429 retry-after=0\n$define<FilesMatch x>\n    SetHandler fpmpool\n</FilesMatch>\n", 'every word of FpmPoolLimit');
refused("FpmPoolFailover on=never\n", 11, qr/known are down, overload/, 'FpmPoolFailover');
refused("FpmPoolFailover down\n", 11, qr/known is on=/, '... without on=');
refused("<FpmPoolDefine a>\n    FpmPoolServer unix:/a\n    FpmPoolFlush on\n</FpmPoolDefine>\n", 13, qr/FpmPoolFlush is not allowed in <FpmPoolDefine>/, 'another directive in a definition');
refused("<FpmPoolDefine ../a>\n    FpmPoolServer unix:/a\n</FpmPoolDefine>\n", 11, qr/cannot be a pool's name/, 'a name that is a path');
refused("<FpmPoolDefine a b>\n    FpmPoolServer unix:/a\n</FpmPoolDefine>\n", 11, qr/exactly one name/, 'two names');
refused("FpmPoolServer unix:/a\n", 11, qr/only inside of <FpmPoolDefine NAME>/, 'a server outside of a definition');
refused("FpmPool .hidden\n", 11, qr/cannot be a pool's name/, 'FpmPool with an invalid name');
refused("FpmPoolSocketDir run\n", 11, qr{does not begin with /}, 'a relative socket directory');
refused("FpmPoolTimeout first=0\n", 11, qr/must be longer than 0/, 'a time limit of 0');
refused("FpmPoolTimeout read=1s\n", 11, qr/known are connect= first= idle= total= keep=/, 'an unknown time limit');
refused("FpmPoolTimeout first=soon\n", 11, qr/is not a time/, 'a time that is none');
refused("FpmPoolTimeout\n", 11, qr/needs one of/, 'no time limit at all');
refused("FpmPoolRetryAfter soon\n", 11, qr/takes seconds/, 'FpmPoolRetryAfter');
refused("FpmPoolRetryAfter 5K\n", 11, qr/takes seconds/, '... with a unit');
refused("FpmPoolBody memory\n", 11, qr/is not auto, stream or buffer/, 'FpmPoolBody');
refused("FpmPoolBody auto memory=1\n", 11, qr/not a size from 4096/, '... with too little memory');
refused("FpmPoolFlush sometimes\n", 11, qr/is not auto, on or off/, 'FpmPoolFlush');
refused("FpmPoolMaxParams 1G\n", 11, qr/not a size/, 'FpmPoolMaxParams');
refused("FpmPoolMaxHeader -1\n", 11, qr/not a size/, 'FpmPoolMaxHeader');
refused("FpmPoolPassAuthorization Maybe\n", 11, qr/is not Off, On or Always/, 'FpmPoolPassAuthorization');
refused("php_value \"bad name\" 1\n", 11, qr/php_value: "bad name" is not the name of a PHP setting/, 'php_value with a name that is none');
refused("php_value memory_limit\n", 11, qr/php_value takes two arguments/, '... without value');
refused("PHPINIDir /etc/php\n", 11, qr{is mod_php's: remove it, and start fpmpoold with -c /etc/php instead}, 'PHPINIDir');
refused("FpmPoolEngineOff maybe\n", 11, qr/is not refuse or decline/, 'FpmPoolEngineOff');
refused("FpmPoolBuffer on\n", 11, qr/FpmPoolBuffer: "on" is not a size.*off is the other choice/, 'FpmPoolBuffer');
refused("FpmPoolBuffer 64K disk=1M\n", 11, qr/"disk=1M": known is file=/, '... with an unknown option');
refused("FpmPoolBuffer off file=1M\n", 11, qr/off takes no option/, '... off with one');
refused("FpmPoolSendfile files\n", 11, qr/"files" is neither on nor off nor a directory: a directory begins with \//, 'FpmPoolSendfile');
refused("FpmPoolSendfile /srv off\n", 11, qr/off does not go with directories/, '... off and a directory');
refused("FpmPoolSendfile off /srv\n", 11, qr/off does not go with directories/, '... the other way round');
refused("FpmPoolErrorOverride 200\n", 11, qr/"200" is neither on nor off nor a status from 400 to 599/, 'FpmPoolErrorOverride');
refused("FpmPoolResolveRoot yes\n", 11, qr/FpmPoolResolveRoot: "yes" is not auto, on or off/, 'FpmPoolResolveRoot');
refused("FpmPoolErrorOverride 404 off\n", 11, qr/off does not go with statuses/, '... off and a status');
refused("FpmPoolSetEnvIf \"true\"\n", 11, qr/FpmPoolSetEnvIf takes two or three arguments/, 'FpmPoolSetEnvIf without a name');
refused("FpmPoolSetEnvIf true A b c\n", 11, qr/FpmPoolSetEnvIf takes two or three arguments/, '... with a value that is not in quotes');
refused("FpmPoolSetEnvIf \"tru e\" A b\n", 11, qr/the condition "tru e" is no expression of httpd: .*: correct it \(one argument, in quotes\)/, '... with a condition that is none');
refused("FpmPoolSetEnvIf \"true\" A \"%{nosuch:x}\"\n", 11, qr/the value "%\{nosuch:x\}" is no expression of httpd: .*nosuch/, '... with a value that is none');
refused("FpmPoolSetEnvIf \"true\" !A b\n", 11, qr/!A removes the variable and takes no value: remove "b"/, '... removing and setting');
refused("FpmPoolSetEnvIf \"true\" !\n", 11, qr/a variable's name is missing: write NAME, or !NAME/, '... with nothing but !');
refused("FpmPoolSetEnvIf \"true\" \"A=b\"\n", 11, qr/"A=b" is no variable's name: write it as "CONDITION" NAME "VALUE"/, '... with the form of SetEnvIf');
refused("FpmPoolSetEnvIf \"true\" PHP_VALUE \"memory_limit=1\"\n", 11, qr/"PHP_VALUE" is reserved: write the settings as php_value or php_admin_value/, '... with PHP_VALUE');
refused("FpmPoolSetEnvIf \"true\" php_admin_value \"memory_limit=1\"\n", 11, qr/"php_admin_value" is reserved/, '... with PHP_ADMIN_VALUE in small letters');
refused("FpmPoolSetEnvIf \"true\" !FPMPOOL_PEER\n", 11, qr/"FPMPOOL_PEER" is reserved for mod_fpmpool itself: choose one that does not begin with FPMPOOL_/, '... with a name of ours');
refused("FpmPoolSetEnvIf \"true\" CONTENT_LENGTH 1\n", 11, qr/CONTENT_LENGTH is the length of the body that is sent and cannot be chosen: remove the line/, '... with CONTENT_LENGTH');

# What httpd starts with all the same, and `httpd -t` mentions.
sub mentioned {
    my ($text, $line, $pattern, $name) = @_;
    my ($code, $output, $file) = config_test($text);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return subtest $name => sub {
        is($code, 0, 'not refused');
        like($output, qr/FPMP\d{4}: \S*\Q$file\E:$line: $pattern/, 'but mentioned, with file and line') or diag $output;
    };
}
my $handler = "<FilesMatch php>\nSetHandler fpmpool\n</FilesMatch>\n";
mentioned("<FpmPoolDefine a>\n    FpmPoolServer unix:$dir/no/such/a.sock\n</FpmPoolDefine>\n", 11, qr{pool a: there is no directory \Q$dir\E/no/such for its socket: start the daemon that makes it}, 'the directory of a socket');
mentioned("FpmPoolSocketDir $dir/none\nFpmPool a\n", 12, qr{FpmPool a: .*no socket \Q$dir\E/none/a\.sock yet, nor its directory \(FpmPoolSocketDir\): start}, '... FpmPoolSocketDir');
mentioned("FpmPoolSocketDir $dir\n<FpmPoolDefine Shop>\n    FpmPoolServer unix:/a\n</FpmPoolDefine>\nFpmPool shop\n", 15,
    qr/FpmPool shop: there is no <FpmPoolDefine shop> \(Shop of \S+:12 is another: capital letters count\)/, 'a name that differs in a capital letter');
mentioned("${define}FpmPool a\nFpmPool none\nFpmPool b\n$handler", 16, qr/FpmPool b replaces FpmPool a of \S+:14, which is of the same section: remove one/, 'FpmPool twice in one place');
mentioned("${define}<Location /x>\nFpmPool a\n</Location>\n", 15, qr/FpmPool a: no line of the configuration sets the handler.*add SetHandler fpmpool/, 'a pool without a handler');
accepted("${define}FpmPool a\n<VirtualHost 127.0.0.1:1>\nFpmPool a\n<Location /x>\nFpmPool a\n</Location>\n<If \"true\">\n$handler</If>\n</VirtualHost>\n", 'one FpmPool in each section, a handler deep inside');
mentioned("FpmPool \"expr=$_\"\nFpmPoolHandlerAlias x\n", 11, qr/FpmPool "expr=\Q$_\E" reads a variable or a note, which \.htaccess files can set .*: take another source/, "an expression that tenants can change: $_")
    for '%{env:POOL}', '%{ENV:POOL}', 'x%{reqenv:POOL}', '%{note:POOL}';
accepted("${define}FpmPool a\nFpmPoolHandlerAlias x\n", 'a handler of another name');

subtest 'httpd -t -D DUMP_FPMPOOLS' => sub {
    my $text = $define . <<'EOF_CONF' . $handler;
<FpmPoolDefine legacy>
    FpmPoolServer tcp://127.0.0.1:9000 type=fpm
    FpmPoolTimeout first=30s total=5min
</FpmPoolDefine>
FpmPoolSocketDir DIR
FpmPool a
FpmPoolTimeout idle=10s
<VirtualHost 127.0.0.1:8080>
    ServerName shop.example.org
    FpmPool blog
    FpmPoolTimeout connect=500ms keep=0
    <Directory "/srv/old">
        <Files "x.php">
            FpmPool legacy
            FpmPoolTimeout first=2min
        </Files>
    </Directory>
    <Location "/export">
        FpmPoolTimeout first=10min
        FpmPoolTimeout total=0 keep=500ms
    </Location>
</VirtualHost>
<If "%{QUERY_STRING} == 'x'">
    FpmPoolTimeout idle=1s connect=2s
</If>
EOF_CONF
    $text =~ s/DIR/$dir/;
    my ($code, $output, $file) = config_test($text, '-D', 'DUMP_FPMPOOLS');
    is($code, 0, 'no failure');
    $output =~ s/[^\s(]*\Q$file\E/FILE/g;
    my ($dump) = $output =~ /^(FpmPool configuration:\n(?:    .*\n)+)/m;
    is($dump, <<"EOF_DUMP", 'every pool, its server, its limits, and who uses it') or diag $output;
FpmPool configuration:
    FpmPoolSocketDir $dir
    a (FILE:11)
        unix:/run/a.sock type=fpmpool reuse=on
        server (FILE:19)
            connect=1s first=60s idle=10s total=0 keep=30s
    blog (FILE:23), not defined: its socket in FpmPoolSocketDir
        unix:$dir/blog.sock type=fpmpool reuse=on
        virtual host shop.example.org:8080 (FILE:23)
            connect=500ms first=60s idle=10s total=0 keep=0
    legacy (FILE:14)
        tcp://127.0.0.1:9000 type=fpm reuse=off
        virtual host shop.example.org:8080, <Directory "/srv/old"> <Files "x.php"> (FILE:27)
            connect=500ms first=120s idle=10s total=300s keep=0
    time limits of sections
        server, <If "%{QUERY_STRING} == 'x'"> (FILE:37)
            connect=2s idle=1s
        virtual host shop.example.org:8080, <Directory "/srv/old"> <Files "x.php"> (FILE:28)
            first=120s
        virtual host shop.example.org:8080, <Location "/export"> (FILE:32)
            first=600s total=0 keep=500ms
EOF_DUMP
    ($code, $output) = config_test("<FpmPoolDefine m>\n    FpmPoolServer tcp://127.0.0.1:9000 weight=2 max=7 name=one\n    FpmPoolServer tcp://127.0.0.1:9001 type=fpm backup\n    FpmPoolBalance first\n    FpmPoolCheck ping\n</FpmPoolDefine>\nFpmPool a m\n$define$handler", '-D', 'DUMP_FPMPOOLS');
    like($output, qr{    m \(.*\n        tcp://127\.0\.0\.1:9000 type=fpmpool reuse=on name=one weight=2 max=7\n        tcp://127\.0\.0\.1:9001 type=fpm reuse=off backup\n        balance=first\n        check=ping interval=2s\n        server, as a fallback \(}, 'a pool of several servers, which is a fallback');
    ($code, $output, $file) = config_test("<FpmPoolDefine \"*\">\n    FpmPoolTimeout first=7s\n</FpmPoolDefine>\n${define}FpmPool \"expr=%{SERVER_NAME}\" a\n<Directory \"/srv\">\nFpmPoolSelectable a\n$handler</Directory>\n<VirtualHost 127.0.0.1:8080>\nServerName b.example\n<If \"true\">\nFpmPool a \"expr=b\"\n</If>\n</VirtualHost>\n", '-D', 'DUMP_FPMPOOLS');
    $output =~ s/[^\s(]*\Q$file\E/FILE/g;
    ($dump) = $output =~ /^(FpmPool configuration:\n(?:    .*\n)+)/m;
    is($dump, <<"EOF_DUMP", 'expressions, what .htaccess may choose, what all pools have') or diag $output;
FpmPool configuration:
    FpmPoolSocketDir /run/fpmpool
    FpmPoolMaxPools 1024
    * (FILE:11): what all pools have that say nothing else
    a (FILE:14)
        unix:/run/a.sock type=fpmpool reuse=on
        server, as a fallback (FILE:17)
            connect=1s first=7s idle=60s total=0 keep=30s
        server, <Directory "/srv">, if .htaccess chooses it (FILE:19)
            connect=1s first=7s idle=60s total=0 keep=30s
        virtual host b.example:8080, <If "true"> (FILE:27)
            connect=1s first=7s idle=60s total=0 keep=30s
    "expr=%{SERVER_NAME}"
        server (FILE:17)
    "expr=b", as a fallback
        virtual host b.example:8080, <If "true"> (FILE:27)
EOF_DUMP
    ($code, $output) = config_test("<FpmPoolDefine l>\n    FpmPoolServer unix:/run/l.sock\n    FpmPoolLimit queue=2\n</FpmPoolDefine>\nFpmPool l\nFpmPoolRetryAfter 9\nFpmPoolLimit requests=7 queue=1\n$handler", '-D', 'DUMP_FPMPOOLS');
    like($output, qr{keep=30s\n            requests=7 queue=2 wait=5s perip=0 status=503 retry-after=9\n}, 'a pool with limits: word by word the most specific one');
    ($code, $output) = config_test("<FpmPoolDefine \"*\">\n    FpmPoolLimit requests=40 queue=80\n</FpmPoolDefine>\n${define}FpmPool a\nFpmPoolLimit requests=120\n$handler", '-D', 'DUMP_FPMPOOLS');
    like($output, qr{keep=30s\n            requests=120 queue=80 wait=5s }, 'limits that all pools have: those of servers and virtual hosts go before them');
    ($code, $output) = config_test("<FpmPoolDefine o>\n    FpmPoolServer unix:/run/o.sock backup user=0\n</FpmPoolDefine>\nFpmPool o\n$handler", '-D', 'DUMP_FPMPOOLS');
    like($output, qr{ unix:/run/o\.sock type=fpmpool reuse=on backup user=0\n}, 'the owner of a socket');
    ($code, $output) = config_test("FpmPoolFlush x\n", '-D', 'DUMP_FPMPOOLS');
    unlike($output, qr/FpmPool configuration/, 'a wrong configuration is not shown');
};
done_testing();
