# The environment that a script sees through mod_fpmpool, beside the values that mod_php gives: every
# way that a request can take through httpd before it reaches a script. With our daemon and with php-fpm,
# on a unix socket and over TCP.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $dump = '<?php echo json_encode($_SERVER + ["BODY" => file_get_contents("php://input")]);';
my $root = site('www',
    'e.php'             => $dump,
    'app/index.php'     => $dump,
    'err/404.php'       => $dump,
    'rw/index.php'      => $dump,
    'rw/.htaccess'      => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [QSA,L,E=V:x]\n",
    'rwpi/index.php'    => $dump,
    'rwpi/.htaccess'    => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.+) index.php/\$1 [L]\n",
    'act/index.php'     => $dump,
    'act/page.foo'      => 'a page',
    'act/.htaccess'     => "AddHandler foo-action .foo\n",
    'strict/a.php'      => $dump,
    'set/a.php'         => $dump,
    'set/.htaccess'     => "SetEnv SCRIPT_FILENAME /etc/passwd\nSetEnv PATH /mine\nSetEnv PATH_TRANSLATED /none\n",
    'page.shtml'        => '<!--#include virtual="/e.php?inner=1" -->',
    'twice.shtml'       => '[<!--#include virtual="/e.php/one" -->,<!--#include virtual="/e.php/two?b=2" -->]',
    'broken.shtml'      => 'before <!--#include virtual="/gone.php" --> after',
    'a b/e.php'         => $dump,
    'real/release/r.php' => $dump,
);
symlink "$root/real/release", "$root/current" or die;
my $outside = site('outside', 'o.php' => $dump);

my %pools = (www => {}, tcp => { listen => 'tcp' });

sub conf_for {
    my ($daemon) = @_;
    my $type = $daemon->is_ours ? 'fpmpool' : 'fpm';
    return <<"EOF_CONF";
<FpmPoolDefine www>
    FpmPoolServer unix:@{[ $daemon->listen_address('www') ]} type=$type
</FpmPoolDefine>
<FpmPoolDefine tcp>
    FpmPoolServer tcp://@{[ $daemon->listen_address('tcp') ]} type=$type
</FpmPoolDefine>
FpmPool www
<If "%{HTTP:X-Pool} == 'tcp'">
    FpmPool tcp
</If>
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
ErrorDocument 404 /err/404.php
Alias /out $outside
<Directory "$outside">
    Require all granted
</Directory>
<Directory "$root/strict">
    AcceptPathInfo Off
</Directory>
Action foo-action /act/index.php
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<Directory "$root">
    Options +Includes
</Directory>
RewriteEngine On
RewriteRule ^/pt/(.*) /app/index.php/\$1 [PT]
EOF_CONF
}

my $httpd;

sub decode {
    my ($answer) = @_;
    return eval { JSON::PP::decode_json($answer->{body}) } // { NOT_JSON => "$answer->{status}: $answer->{body}" };
}

# The named variables as mod_php has them; undef: there must be none.
sub sees {
    my ($request, $expected, $name) = @_;
    my ($path, %option) = ref $request ? @$request : $request;
    my $is_post = $option{body} ? 'POST' : 'GET';
    subtest $name => sub {
        for my $pool (qw(www tcp)) {
            my $s = decode(http($httpd->url($path), method => $is_post, %option, headers => [ 'X-Pool' => $pool, @{ $option{headers} || [] } ]));
            ok(!exists $s->{NOT_JSON}, "$pool: the script runs") or diag $s->{NOT_JSON};
            is($s->{$_}, $expected->{$_}, "$pool: $_") for sort keys %$expected;
            is_deeply([ grep { /^FPMPOOL_|^PHP_(?:ADMIN_)?VALUE$|LD_LIBRARY_PATH|proxy/ } keys %$s ], [], "$pool: nothing of ours");
        }
    };
    return;
}

my @none = (PATH_INFO => undef, PATH_TRANSLATED => undef);
my @direct = (REDIRECT_URL => undef, REDIRECT_STATUS => undef, REDIRECT_QUERY_STRING => undef);

sub run_all {
    sees('/e.php', { SCRIPT_NAME => '/e.php', SCRIPT_FILENAME => "$root/e.php", @none, @direct, QUERY_STRING => '',
        DOCUMENT_ROOT => $root, REQUEST_METHOD => 'GET', SERVER_PROTOCOL => 'HTTP/1.1', GATEWAY_INTERFACE => 'CGI/1.1', REQUEST_SCHEME => 'http',
        SERVER_PORT => $httpd->port, REMOTE_ADDR => '127.0.0.1', CONTENT_LENGTH => undef, CONTEXT_DOCUMENT_ROOT => $root, CONTEXT_PREFIX => '' }, 'a script');
    sees('/e.php/x%20y/z?q', { SCRIPT_NAME => '/e.php', SCRIPT_FILENAME => "$root/e.php", PATH_INFO => '/x y/z', PATH_TRANSLATED => "$root/x y/z",
        REQUEST_URI => '/e.php/x%20y/z?q', PHP_SELF => '/e.php/x y/z', QUERY_STRING => 'q', @direct }, 'path info');
    sees('/app/?i=1', { SCRIPT_NAME => '/app/index.php', SCRIPT_FILENAME => "$root/app/index.php", @none, @direct, REQUEST_URI => '/app/?i=1', QUERY_STRING => 'i=1' }, 'DirectoryIndex');
    sees('/out/o.php/pi', { SCRIPT_NAME => '/out/o.php', SCRIPT_FILENAME => "$outside/o.php", PATH_INFO => '/pi', PATH_TRANSLATED => "$root/pi",
        CONTEXT_PREFIX => '/out', CONTEXT_DOCUMENT_ROOT => $outside, DOCUMENT_ROOT => $root }, 'Alias');
    my %missing = (SCRIPT_NAME => '/err/404.php', SCRIPT_FILENAME => "$root/err/404.php", @none, REDIRECT_URL => '/nope', REDIRECT_STATUS => 404,
        REDIRECT_QUERY_STRING => 'x=1', QUERY_STRING => '', REQUEST_URI => '/nope?x=1', REQUEST_METHOD => 'GET', BODY => '');
    sees('/nope?x=1', \%missing, 'ErrorDocument');
    sees([ '/nope?x=1', body => 'b' x 3000 ], \%missing, '... of a POST');
    sees('/rw/some/path?a=1', { SCRIPT_NAME => '/rw/index.php', SCRIPT_FILENAME => "$root/rw/index.php", @none, REDIRECT_URL => '/rw/some/path',
        REDIRECT_STATUS => 200, REDIRECT_V => 'x', V => undef, QUERY_STRING => 'a=1', REQUEST_URI => '/rw/some/path?a=1' }, 'a rewrite in .htaccess');
    sees([ '/rw/some/path', body => 'posted' ], { SCRIPT_NAME => '/rw/index.php', REQUEST_METHOD => 'POST', CONTENT_LENGTH => 6, BODY => 'posted' }, '... keeps the body');
    sees([ '/rw/some/path', body => ['in ', 'chunks'] ], { SCRIPT_NAME => '/rw/index.php', REQUEST_METHOD => 'POST', BODY => 'in chunks' }, '... also one without a length');
    sees('/rwpi/some/path', { SCRIPT_NAME => '/rwpi/index.php', SCRIPT_FILENAME => "$root/rwpi/index.php", PATH_INFO => '/some/path',
        PATH_TRANSLATED => "$root/some/path", REDIRECT_URL => '/rwpi/some/path', REQUEST_URI => '/rwpi/some/path' }, 'a rewrite in .htaccess to path info');
    sees('/pt/one/two', { SCRIPT_NAME => '/app/index.php', SCRIPT_FILENAME => "$root/app/index.php", PATH_INFO => '/one/two', PATH_TRANSLATED => "$root/one/two",
        @direct, REQUEST_URI => '/pt/one/two' }, 'a rewrite of the server with [PT]');
    sees('/act/page.foo/pi', { SCRIPT_NAME => '/act/index.php', SCRIPT_FILENAME => "$root/act/index.php", PATH_INFO => '/act/page.foo/pi',
        PATH_TRANSLATED => "$root/act/page.foo/pi", REDIRECT_URL => '/act/page.foo/pi', REDIRECT_STATUS => 200 }, 'Action');
    sees([ '/act/page.foo', body => 'for the action' ], { SCRIPT_NAME => '/act/index.php', REQUEST_METHOD => 'POST', BODY => 'for the action' }, '... with a body');
    sees('/page.shtml?outer=1', { SCRIPT_NAME => '/e.php', SCRIPT_FILENAME => "$root/e.php", @none, QUERY_STRING => 'inner=1',
        REQUEST_URI => '/page.shtml?outer=1', SERVER_PROTOCOL => 'INCLUDED', REQUEST_METHOD => 'GET' }, 'an SSI include');
    sees([ '/page.shtml', body => 'of the page' ], { SCRIPT_NAME => '/e.php', BODY => '', CONTENT_LENGTH => undef }, '... gets no body of the page');
    sees('//e.php//x', { SCRIPT_NAME => '/e.php', SCRIPT_FILENAME => "$root/e.php", PATH_INFO => '/x' }, 'slashes are merged');
    sees('/a%20b/e.php', { SCRIPT_NAME => '/a b/e.php', SCRIPT_FILENAME => "$root/a b/e.php", REQUEST_URI => '/a%20b/e.php' }, 'a blank in the path');
    sees('/current/r.php', { SCRIPT_NAME => '/current/r.php', SCRIPT_FILENAME => "$root/current/r.php" }, 'a symbolic link stays as it is');
    sees([ '/e.php', headers => [ Authorization => 'Basic dTpw' ] ], { PHP_AUTH_USER => 'u', PHP_AUTH_PW => 'p', REMOTE_USER => undef, AUTH_TYPE => undef }, 'Basic');
    sees([ '/e.php', headers => [ Authorization => 'Bearer t' ] ], { HTTP_AUTHORIZATION => 'Bearer t', PHP_AUTH_USER => undef }, 'Bearer');
    sees([ '/rw/x', headers => [ Authorization => 'Bearer t' ] ], { HTTP_AUTHORIZATION => 'Bearer t' }, '... after a rewrite');
    sees([ '/e.php', headers => [ Proxy => 'evil:1', 'X_Under' => 1, 'X-Dash' => 2 ] ], { HTTP_PROXY => undef, HTTP_X_UNDER => undef, HTTP_X_DASH => 2 }, 'headers that are dropped');
    sees('/set/a.php', { SCRIPT_FILENAME => "$root/set/a.php", SCRIPT_NAME => '/set/a.php', PATH => '/mine' }, 'SetEnv cannot choose the script');
    is(http($httpd->url('/strict/a.php/pi'))->{status}, 404, 'AcceptPathInfo Off: 404');
    sees('/strict/a.php', { SCRIPT_NAME => '/strict/a.php' }, '... but the script runs');
    is(http($httpd->url('/e.php/a%2Fb'))->{status}, 404, 'an encoded slash: 404 by httpd');
    my $both = http($httpd->url('/twice.shtml'));
    my $list = eval { JSON::PP::decode_json($both->{body}) } || [];
    is_deeply([ map { [ @$_{qw(SCRIPT_NAME PATH_INFO QUERY_STRING)} ] } @$list ], [ [ '/e.php/one', '/one', '' ], [ '/e.php/two', '/two', 'b=2' ] ], 'two includes of a page');
    like(http($httpd->url('/broken.shtml'))->{body}, qr/\Abefore .*error occurred.* after\z/s, 'an include of a script that is not there');
    return;
}

my @peers = ([ 'our daemon', \&start_daemon ]);
push @peers, [ 'php-fpm', \&start_php_fpm ] if -x '/usr/sbin/php-fpm8.2';
allow_log(qr/unable to include|include virtual|AH01268|AH01264/);
for my $peer (@peers) {
    my ($name, $start) = @$peer;
    subtest $name => sub {
        my $daemon = $start->(conf => \%pools);
        $httpd = start_httpd(mpm => 'event', docroot => $root, modules => [qw(include actions negotiation)], conf => conf_for($daemon));
        run_all();
        $_->stop for $httpd, $daemon;
    };
}
done_testing();
