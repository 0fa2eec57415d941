# FpmPoolSetEnvIf beside ProxyFCGISetEnvIf of mod_proxy_fcgi with the same rules: what scripts see, how sections merge, where
# the directive may be. Then what the peer's directive must not be imitated in: names that a tenant could change a pool with.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $dump = '<?php $all = $_SERVER; foreach ($all as $n => $v) if (!is_string($v)) unset($all[$n]); $all["HAS_USER"] = isset($_SERVER["PHP_AUTH_USER"]) ? "yes" : "no"; echo json_encode($all, JSON_INVALID_UTF8_SUBSTITUTE);';
my $root = site('www', (map { ("$_/a.php" => $dump) } qw(plain inner inner/deep ht ht/deep nofile login other)), 'a.php' => $dump);
my %name = (ours => 'FpmPoolSetEnvIf', peer => 'ProxyFCGISetEnvIf');

# Each server has its own .htaccess files: the directives' names differ. %OTHER% is a script's file.
my %htaccess = (
    'ht'       => "RULE \"true\" HT \"of htaccess\"\nRULE \"reqenv('SERVER_WIDE') == 'one'\" HT_SAW \"server wide\"\n",
    'ht/deep'  => "RULE \"true\" HT \"deeper\"\nRULE \"true\" !SECTION\n",
    'nofile'   => "RULE \"true\" HT 1\n",
    'other'    => "RULE \"true\" SCRIPT_FILENAME \"$root/a.php\"\n",
);
for my $side (keys %name) {
    write_file("$root/$_/.$side", $htaccess{$_} =~ s/RULE/$name{$side}/gr) for keys %htaccess;
}

sub rules {
    my ($side) = @_;
    return <<"EOF_CONF" =~ s/RULE/$name{$side}/gr;
AccessFileName .$side
LimitRequestFieldSize 100000
RULE "true" SERVER_WIDE one
RULE "true" EMPTY
RULE "false" NEVER x
RULE "%{QUERY_STRING} == 'q'" IF_QUERY "query"
RULE "reqenv('PATH_INFO') =~ m#/foo(\\d+)\\.(\\w+)\$#" FROM_INFO "n=\$1 e=\$2 all=\$0 none=\$9."
RULE "reqenv('PATH_INFO') =~ m#/foo(\\d+)\\.(\\w+)\$#" PATH_INFO "/foo.\$2"
RULE "reqenv('PATH_INFO') == '/foo.php'" SAW_INFO "changed before"
RULE "req('X-Set') =~ /^(.*)\$/" FROM_HEADER "\$1"
RULE "-n req('X-Remove')" !HTTP_X_REMOVE
RULE "-n req('X-Remove')" !NOT_THERE
RULE "%{HTTPS} == 'on' || req('X-Forwarded-Proto') == 'https'" HTTPS on
RULE "true" TEXT "%{REQUEST_METHOD} %{reqenv:SCRIPT_NAME} \\"quoted\\" %{tolower:%{HTTP_HOST}}"
RULE "req('X-Name') =~ /./" REMOTE_USER "%{req:X-Name}"
RULE "req('X-Name') =~ /./" PATH "/mine/bin"
RULE "req('X-Root') =~ m#^(\\w+)\$#" DOCUMENT_ROOT "/chroot/\$1"
<Directory "$root/inner">
    RULE "true" SECTION "directory"
    RULE "true" SERVER_WIDE "of the directory"
    RULE "true" !EMPTY
</Directory>
<Location "/inner/deep">
    RULE "reqenv('SECTION') == 'directory'" SECTION "location after %{reqenv:SECTION}"
</Location>
<Directory "$root/ht">
    RULE "true" SECTION "directory"
</Directory>
<Directory "$root/nofile">
    AllowOverride Options
</Directory>
<If "%{QUERY_STRING} == 'if'">
    RULE "true" SECTION "if"
</If>
EOF_CONF
}

my $daemon = start_daemon();
my $fpm    = start_php_fpm();
my ($ours, $peer) = start_pair($root,
    ours => php_routes('fpmpool', $daemon, 'www') . rules('ours'),
    peer => php_routes('proxy_fcgi', $fpm, 'www') . rules('peer'));

my @names = qw(SERVER_WIDE EMPTY NEVER IF_QUERY FROM_INFO PATH_INFO SAW_INFO FROM_HEADER HTTP_X_REMOVE NOT_THERE HTTPS TEXT REMOTE_USER DOCUMENT_ROOT SECTION HT HT_SAW);
sub seen {
    my ($server, $path, @header) = @_;
    my $answer = http($server->url($path), headers => [ Host => 'Site.Test', @header ]);
    my $all = eval { JSON::PP::decode_json($answer->{body}) } or return { status => $answer->{status} };
    return $all;
}
my $cases = 0;
sub same_for_both {
    my ($name, $path, $expected, @header) = @_;
    my ($mine, $theirs) = map { my $all = seen($_, $path, @header); $all->{status} ? $all : { map { $_ => $all->{$_} } @names } } $ours, $peer;
    $cases++;
    subtest $name => sub {
        is_deeply($mine, $theirs, 'as with ProxyFCGISetEnvIf');
        is($mine->{$_}, $expected->{$_}, $_) for sort keys %$expected;
    };
    return;
}

subtest 'rules' => sub {
    same_for_both('of the server', '/a.php', { SERVER_WIDE => 'one', EMPTY => '', NEVER => undef, IF_QUERY => undef, TEXT => 'GET /a.php "quoted" site.test' });
    same_for_both('a condition of the request', '/a.php?q', { IF_QUERY => 'query' });
    same_for_both('what the condition matched', '/a.php/foo17.php', { FROM_INFO => 'n=17 e=php all=/foo17.php none=.', PATH_INFO => '/foo.php', SAW_INFO => 'changed before' });
    same_for_both('a header\'s value', '/a.php', { FROM_HEADER => 'a "b" $1 \\ %{x}' }, 'X-Set' => 'a "b" $1 \\ %{x}');
    same_for_both('a long value', '/a.php', { FROM_HEADER => 'l' x 7000 }, 'X-Set' => 'l' x 7000);
    same_for_both('removing', '/a.php', { HTTP_X_REMOVE => undef }, 'X-Remove' => 'x');
    same_for_both('... what is not there', '/a.php', { NOT_THERE => undef }, 'X-Remove' => 'x');
    same_for_both('HTTPS behind a proxy', '/a.php', { HTTPS => 'on' }, 'X-Forwarded-Proto' => 'https');
    same_for_both('variables of the request', '/a.php', { REMOTE_USER => 'me', DOCUMENT_ROOT => '/chroot/jail' }, 'X-Name' => 'me', 'X-Root' => 'jail');
};

subtest 'sections add to each other' => sub {
    same_for_both('a directory', '/inner/a.php', { SECTION => 'directory', SERVER_WIDE => 'of the directory', EMPTY => undef });
    same_for_both('a location in it', '/inner/deep/a.php', { SECTION => 'location after directory' });
    same_for_both('<If>', '/inner/a.php?if', { SECTION => 'if' });
    same_for_both('.htaccess', '/ht/a.php', { HT => 'of htaccess', HT_SAW => 'server wide', SECTION => 'directory' });
    same_for_both('.htaccess below .htaccess', '/ht/deep/a.php', { HT => 'deeper', HT_SAW => 'server wide', SECTION => undef });
    same_for_both('.htaccess without AllowOverride FileInfo: 500', '/nofile/a.php', { status => 500 });
    $_->wait_log(qr/SetEnvIf not allowed here/) for $ours, $peer;
    note("$cases requests to both");
};

subtest 'what only ours is asked' => sub {
    is(seen($ours, '/a.php', 'X-Name' => 'me')->{PATH}, '/mine/bin', 'PATH, which is not passed otherwise');
    is(seen($ours, '/a.php')->{PATH}, undef, '... not without the rule');
    is(seen($ours, '/other/a.php')->{SCRIPT_FILENAME}, "$root/a.php", 'SCRIPT_FILENAME: another script');
    my $basic = 'Basic dTpw';
    is(seen($ours, '/a.php', Authorization => $basic)->{HAS_USER}, 'yes', 'a login reaches PHP');
    write_file("$root/login/.ours", "FpmPoolSetEnvIf \"true\" !HTTP_AUTHORIZATION\n");
    is(seen($ours, '/login/a.php', Authorization => $basic)->{HAS_USER}, 'no', '... unless a rule removes it');
    write_file("$root/login/.ours", "FpmPoolSetEnvIf \"reqenv('HTTP_AUTHORIZATION') =~ /Basic/\" HTTP_AUTHORIZATION \"Basic eDp5\"\n");
    is(seen($ours, '/login/a.php', Authorization => $basic)->{PHP_AUTH_USER}, 'x', '... or changes it');
};

subtest 'PHP_SELF' => sub {
    my $httpd = start_httpd(mpm => 'prefork', name => 'self', docroot => $root, conf => php_routes('fpmpool', $daemon, 'www') . <<'EOF_CONF');
MergeSlashes Off
FpmPoolSetEnvIf "req('X-Info') =~ /^(.+)$/" PATH_INFO "$1"
FpmPoolSetEnvIf "req('X-Other') =~ /^(.+)$/" OTHER "$1"
EOF_CONF
    is(seen($httpd, '/a.php//x')->{PHP_SELF}, '/a.php//x', 'is the path of the URL, as with mod_php');
    is(seen($httpd, '/a.php//x', 'X-Other' => '/y')->{PHP_SELF}, '/a.php//x', '... whatever rules do to other variables');
    is(seen($httpd, '/a.php//x', 'X-Info' => '/y')->{PHP_SELF}, '/a.php/y', '... and made of the parts when a rule sets one of them');
    is(seen($httpd, '/a.php/x', 'X-Info' => '/y')->{PHP_SELF}, '/a.php/y', '... also of an ordinary URL');
};

# For each name: what a tenant's .htaccess with it gets from the peer, and from us.
subtest 'names that are refused' => sub {
    for my $name ('PHP_VALUE', 'php_admin_value', 'PHP_ADMIN_VALUE', 'FPMPOOL_INI', 'FPMPOOL_BODY', 'fpmpool_x', 'CONTENT_LENGTH', '!FPMPOOL_PEER', '!CONTENT_LENGTH', 'A=B') {
        write_file("$root/login/.ours", "FpmPoolSetEnvIf \"true\" \"$name\" " . ($name =~ /^!/ ? '' : '"memory_limit=77M"') . "\n");
        my $from = $ours->log_length;
        is(http($ours->url('/login/a.php'))->{status}, 500, "$name in .htaccess: 500");
        ok(eval { $ours->wait_log(qr/FpmPoolSetEnvIf: .*(?:reserved|cannot be chosen|is no variable's name).*: /, 5, $from) }, '... and the log says why') or diag $ours->log_text($from);
    }
};

subtest 'expressions of a tenant read no files for httpd' => sub {
    my $secret = write_file('secret', "of httpd's user\n");
    write_file("$root/login/.ours", "FpmPoolSetEnvIf \"true\" X \"%{file:$secret}\"\n");
    my $from = $ours->log_length;
    is(http($ours->url('/login/a.php'))->{status}, 500, 'file() in .htaccess: 500');
    $ours->wait_log(qr/FpmPoolSetEnvIf: the value ".*" is no expression of httpd: /, 5, $from);
};

subtest 'a rule that cannot be evaluated' => sub {
    my $httpd = start_httpd(mpm => 'prefork', name => 'file', docroot => $root, conf => php_routes('fpmpool', $daemon, 'www')
        . "<Location \"/plain\">\n    FpmPoolSetEnvIf \"true\" X \"%{file:@{[ test_dir() ]}/none}\"\n</Location>\n");
    is(http($httpd->url('/a.php'))->{status}, 200, 'elsewhere requests are served');
    is(http($httpd->url('/plain/a.php'))->{status}, 500, 'is a 500: no script runs with half of its variables');
    $httpd->wait_log(qr/FPMP0014: FpmPoolSetEnvIf for X could not be evaluated at line \d+ of \S+httpd\.conf: .*correct the expression/);
};

subtest 'to php-fpm' => sub {
    my $httpd = start_httpd(mpm => 'worker', name => 'to-fpm', docroot => $root, conf => <<"EOF_CONF" . rules('ours'));
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $fpm->listen_address('www') ]} type=fpm
</FpmPoolDefine>
FpmPool www
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
<Location "/plain">
    FpmPoolSetEnvIf "true" SCRIPT_FILENAME "$root/a.php"
</Location>
<Location "/login">
    FpmPoolSetEnvIf "true" SCRIPT_FILENAME "proxy:fcgi://localhost$root/a.php"
</Location>
EOF_CONF
    is(seen($httpd, '/inner/deep/a.php')->{SECTION}, 'location after directory', 'the same rules');
    is(seen($httpd, '/plain/a.php')->{SCRIPT_FILENAME}, "$root/a.php", 'SCRIPT_FILENAME is what the rule says');
    unlink "$root/login/.ours";
    is(seen($httpd, '/login/a.php')->{SCRIPT_FILENAME}, "$root/a.php", '... also with the prefix that configurations for mod_proxy_fcgi have');
};

allow_log(qr/FpmPoolSetEnvIf: |SetEnvIf not allowed here|FPMP0014|Evaluation of expression from .* failed: Cannot open file/);
done_testing();
