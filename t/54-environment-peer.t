# Every way that a request can take through httpd before it reaches a script: what the script sees is
# what it sees under mod_php with the same configuration, variable by variable. Where something
# differs, the table at the end says why.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Environment;
use FPMPool::Test;

my $dump = dump_script();
my $front = "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\n";
my $root = site('www',
    (map { ($_ => $dump) } qw(e.php app/index.php err/404.php err/403.php rw/index.php rwpi/index.php rwabs/index.php act/index.php strict/a.php open/a.php
        mv/foo.php denied/a.php cgivar/index.php qualify/index.php set/a.php sub/deep/x.php), 'a b/e.php', 'real/release/r.php'),
    'rw/.htaccess'      => "${front}RewriteRule . index.php [QSA,L,E=V:x,E=W:%{REQUEST_URI}]\n",
    'rwpi/.htaccess'    => "${front}RewriteRule ^(.+) index.php/\$1 [L]\n",
    'rwabs/.htaccess'   => "${front}RewriteRule ^(.*)\$ /rwabs/index.php?path=\$1 [L,QSA]\n",
    'act/page.foo'      => 'a page',
    'act/.htaccess'     => "AddHandler foo-action .foo\n",
    'set/.htaccess'     => "SetEnv SCRIPT_FILENAME /etc/passwd\nSetEnv PATH_TRANSLATED /none\nSetEnv QUERY_STRING mine\nSetEnv MINE 1\n",
    'page.shtml'        => '<!--#include virtual="/e.php?inner=1" -->',
    'pageinfo.shtml'    => '<!--#include virtual="e.php/pi?inner=1" -->',
    'twice.shtml'       => '[<!--#include virtual="/e.php/one" -->,<!--#include virtual="/e.php/two?b=2" -->]',
    'set.shtml'         => '<!--#set var="V" value="of the page" --><!--#include virtual="/e.php" -->',
    'rewritten.shtml'   => '<!--#include virtual="/rw/some/path?a=1" -->',
    'broken.shtml'      => 'before <!--#include virtual="/gone.php" --> after',
    'mvtype/foo.php'    => $dump,
    'plain.html'        => 'a plain page',
);
symlink "$root/real/release", "$root/current" or die;
my $outside = site('outside', 'o.php' => $dump, 'index.php' => $dump);
my $homes   = site('homes', 'alice/public/e.php' => $dump, 'alice/public/index.php' => $dump);
my $hosts   = site('hosts', 'one.example/e.php' => $dump, 'one.example/index.php' => $dump, 'two.example/e.php' => $dump);

sub conf {
    my ($handler) = @_;
    my $files = "<FilesMatch \"\\.php\$\">\n    SetHandler $handler\n</FilesMatch>\n";
    my $alias = $handler eq 'fpmpool' ? 'FpmPoolHandlerAlias application/x-httpd-php' : '';
    my $resolve = $handler eq 'fpmpool' ? 'FpmPoolResolveRoot off' : '';
    return <<"EOF_CONF";
$resolve
<VirtualHost *>
    ServerName site.test
    DocumentRoot "$root"
    $files
    ErrorDocument 404 /err/404.php
    ErrorDocument 403 /err/403.php?e=1
    Alias /out $outside
    AliasMatch ^/match/(\\w+)/(.*) $outside/o.php/\$1
    UserDir $homes/*/public
    Action foo-action /act/index.php
    Action virtual-action /virtual.php virtual
    <Location /act-virtual>
        SetHandler virtual-action
    </Location>
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
    SetEnv SERVER_WIDE 1
    SetEnv REMOTE_USER somebody
    PassEnv MINE
    SetEnvIf User-Agent "^probe/(\\d+)" AGENT_VERSION=\$1 !SERVER_WIDE
    SetEnvIf Request_URI "^/set/" FROM_URI
    <Directory "$root">
        Options +Includes
    </Directory>
    <Directory "$outside">
        Require all granted
    </Directory>
    <Directory "$homes">
        Require all granted
    </Directory>
    <Directory "$root/strict">
        AcceptPathInfo Off
    </Directory>
    <Directory "$root/open">
        AcceptPathInfo On
    </Directory>
    <Directory "$root/denied">
        Require all denied
    </Directory>
    <Directory "$root/cgivar">
        CGIVar REQUEST_URI current-uri
        RewriteEngine On
        RewriteCond %{REQUEST_FILENAME} !-f
        RewriteRule ^(.*) index.php/\$1 [L]
    </Directory>
    <Directory "$root/qualify">
        QualifyRedirectURL On
        RewriteEngine On
        RewriteCond %{REQUEST_FILENAME} !-f
        RewriteRule ^(.*) index.php [L]
    </Directory>
    <Directory "$root/mv">
        Options +MultiViews
    </Directory>
    RewriteEngine On
    RewriteRule ^/pt/(.*) /app/index.php/\$1 [PT]
    RewriteRule ^/ptq/(.*) /app/index.php?p=\$1 [PT,QSA,E=V:x]
    RewriteRule ^/direct/(.*) $root/app/index.php [L,E=V:direct]
    RewriteRule ^/noescape/(.*) /app/index.php/\$1 [PT,NE]
</VirtualHost>
<VirtualHost *>
    ServerName mass.test
    ServerAlias *.example
    UseCanonicalName Off
    VirtualDocumentRoot $hosts/%0
    $files
    <Directory "$hosts">
        Require all granted
    </Directory>
</VirtualHost>
<VirtualHost *>
    ServerName canonical.test
    ServerAlias other.test
    UseCanonicalName On
    ServerAdmin root\@canonical.test
    DocumentRoot "$root"
    $files
</VirtualHost>
<VirtualHost *>
    ServerName slashes.test
    AllowEncodedSlashes On
    DocumentRoot "$root"
    $files
</VirtualHost>
<VirtualHost *>
    ServerName nodecode.test
    AllowEncodedSlashes NoDecode
    MergeSlashes Off
    DocumentRoot "$root"
    $files
</VirtualHost>
<VirtualHost *>
    ServerName types.test
    DocumentRoot "$root"
    $alias
    AddType application/x-httpd-php .php
    <Directory "$root/mvtype">
        Options +MultiViews
    </Directory>
</VirtualHost>
<VirtualHost *>
    ServerName handlers.test
    DocumentRoot "$root"
    $alias
    AddHandler application/x-httpd-php .php
    <Directory "$root/mvtype">
        Options +MultiViews
        MultiviewsMatch Handlers
    </Directory>
</VirtualHost>
EOF_CONF
}

allow_log(qr/unable to include|AH01264|AH01268|AH01276|AH10244|AH00127|AH00687|AH01630|client denied|not found or unable to stat/);
start_servers($root, conf => \&conf, modules => [qw(include actions negotiation userdir vhost_alias)]);

my @none   = (PATH_INFO => undef, PATH_TRANSLATED => undef);
my @direct = (REDIRECT_URL => undef, REDIRECT_STATUS => undef, REDIRECT_QUERY_STRING => undef);
my %self   = (PHP_SELF => 'php-fpm makes it of SCRIPT_NAME and PATH_INFO, which together are not the URL\'s path where httpd has changed the path info');
my %length = (CONTENT_LENGTH => 'error pages and subrequests get no body, so none is announced to them; mod_php announces one that cannot be read');
my %body   = ('(body)' => 'the body belongs to the request that failed; mod_php gives one in chunks to the error page');
my $app    = "$root/app/index.php";

subtest 'files' => sub {
    compare('a script', '/e.php', sees => { SCRIPT_NAME => '/e.php', SCRIPT_FILENAME => "$root/e.php", QUERY_STRING => '', @none, @direct });
    compare('path info', '/e.php/x%20y/z?q', sees => { SCRIPT_NAME => '/e.php', PATH_INFO => '/x y/z', PATH_TRANSLATED => "$root/x y/z",
        REQUEST_URI => '/e.php/x%20y/z?q', PHP_SELF => '/e.php/x y/z' });
    compare('a query with odd characters', '/e.php?a[]=1&a[]=%00%ff&b=%C3%A4+%26&c&=d', sees => { QUERY_STRING => 'a[]=1&a[]=%00%ff&b=%C3%A4+%26&c&=d' });
    compare('a query without a name', '/e.php?one+two', sees => { QUERY_STRING => 'one+two' });
    compare('an empty query', '/e.php?', sees => { QUERY_STRING => '', REQUEST_URI => '/e.php?' });
    compare('two question marks', '/e.php?a=1?b=2');
    compare('bytes that are no UTF-8 in the path', '/e.php/%ff%fe/%C3%A4', sees => { PATH_INFO => "/\xff\xfe/\xC3\xA4" });
    compare('DirectoryIndex', '/app/?i=1', sees => { SCRIPT_NAME => '/app/index.php', SCRIPT_FILENAME => $app, REQUEST_URI => '/app/?i=1', @none, @direct });
    compare('DirectoryIndex without the slash', '/app?i=1', runs => 0);
    compare('a blank in the path', '/a%20b/e.php', sees => { SCRIPT_NAME => '/a b/e.php', REQUEST_URI => '/a%20b/e.php' });
    compare('a symbolic link', '/current/r.php', sees => { SCRIPT_FILENAME => "$root/current/r.php" });
    compare('.. and . in the path', '/sub/../sub/./deep/x.php', sees => { SCRIPT_NAME => '/sub/deep/x.php', REQUEST_URI => '/sub/../sub/./deep/x.php' });
    compare('Alias with path info', '/out/o.php/pi', sees => { SCRIPT_NAME => '/out/o.php', SCRIPT_FILENAME => "$outside/o.php", PATH_INFO => '/pi',
        PATH_TRANSLATED => "$root/pi", CONTEXT_PREFIX => '/out', CONTEXT_DOCUMENT_ROOT => $outside, DOCUMENT_ROOT => $root });
    compare('Alias and DirectoryIndex', '/out/', sees => { SCRIPT_FILENAME => "$outside/index.php", SCRIPT_NAME => '/out/index.php' });
    compare('AliasMatch', '/match/one/two?q=1', sees => { SCRIPT_FILENAME => "$outside/o.php" },
        fpm_differs => \%self);
    compare('a home directory', '/~alice/e.php/pi', sees => { SCRIPT_NAME => '/~alice/e.php', SCRIPT_FILENAME => "$homes/alice/public/e.php", PATH_INFO => '/pi' });
    compare('a home directory\'s index', '/~alice/', sees => { SCRIPT_NAME => '/~alice/index.php' });
};

subtest 'path info' => sub {
    compare('AcceptPathInfo Off', '/strict/a.php/pi', sees => { SCRIPT_NAME => '/err/404.php', REDIRECT_STATUS => 404 });
    compare('AcceptPathInfo Off without path info', '/strict/a.php');
    compare('AcceptPathInfo On', '/open/a.php/pi', sees => { PATH_INFO => '/pi' });
    compare('the default accepts it', '/sub/deep/x.php/pi', sees => { PATH_INFO => '/pi' });
    compare('... but not of a static file', '/plain.html/pi', sees => { SCRIPT_NAME => '/err/404.php' });
    compare('slashes are merged', '//e.php//x', sees => { SCRIPT_NAME => '/e.php', PATH_INFO => '/x' });
    compare('an encoded slash: 404 by httpd', '/e.php/a%2Fb', runs => 1, sees => { SCRIPT_NAME => '/err/404.php' });
    compare('AllowEncodedSlashes On', '/e.php/a%2Fb', host => 'slashes.test', sees => { PATH_INFO => '/a/b' });
    compare('AllowEncodedSlashes NoDecode', '/e.php/a%2Fb%20c', host => 'nodecode.test', sees => { PATH_INFO => '/a%2Fb c' });
    compare('MergeSlashes Off', '/e.php//x', host => 'nodecode.test', fpm_differs => \%self);
    compare('MergeSlashes Off, at the front', '//e.php//x', host => 'nodecode.test', fpm_differs => \%self);
    compare('MultiViews with FilesMatch and SetHandler is 404 for both', '/mv/foo', sees => { SCRIPT_NAME => '/err/404.php' });
    compare('MultiViews with AddType', '/mvtype/foo', host => 'types.test', sees => { SCRIPT_FILENAME => "$root/mvtype/foo.php", SCRIPT_NAME => '/mvtype/foo.php' });
    compare('MultiViews with AddType and path info', '/mvtype/foo/pi?q=1', host => 'types.test');
    compare('MultiViews with AddHandler', '/mvtype/foo?q=1', host => 'handlers.test', sees => { SCRIPT_FILENAME => "$root/mvtype/foo.php" });
    compare('AddType', '/e.php/pi', host => 'types.test');
};

subtest 'redirects inside of httpd' => sub {
    my %missing = (SCRIPT_NAME => '/err/404.php', @none, REDIRECT_URL => '/nope', REDIRECT_STATUS => 404, REDIRECT_QUERY_STRING => 'x=1', QUERY_STRING => '',
        REQUEST_URI => '/nope?x=1', REQUEST_METHOD => 'GET');
    compare('ErrorDocument', '/nope?x=1', sees => \%missing);
    compare('ErrorDocument of a script that is not there', '/nope.php?x=1', sees => { %missing, REDIRECT_URL => '/nope.php', REQUEST_URI => '/nope.php?x=1' });
    compare('ErrorDocument of a POST', '/nope?x=1', body => 'b' x 3000, headers => [ 'Content-Type' => 'text/plain' ], sees => { %missing, '(body)' => '' }, differs => \%length);
    compare('ErrorDocument of a PUT in chunks', '/nope.php?x=1', method => 'PUT', body => [ 'b' x 3000 ], sees => { REQUEST_METHOD => 'GET', REDIRECT_STATUS => 404 }, differs => \%body);
    compare('ErrorDocument of a HEAD', '/nope?x=1', method => 'HEAD');
    compare('ErrorDocument with a query', '/denied/a.php?x=1', sees => { SCRIPT_NAME => '/err/403.php', REDIRECT_STATUS => 403, QUERY_STRING => 'e=1' });
    compare('a rewrite in .htaccess', '/rw/some/path?a=1', sees => { SCRIPT_NAME => '/rw/index.php', REDIRECT_URL => '/rw/some/path', REDIRECT_STATUS => 200,
        REDIRECT_V => 'x', V => undef, QUERY_STRING => 'a=1', REQUEST_URI => '/rw/some/path?a=1', @none });
    compare('... keeps the body', '/rw/some/path', body => 'a=posted', headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ],
        sees => { REQUEST_METHOD => 'POST', CONTENT_LENGTH => 8, '(body)' => 'a=posted', '(post)' => 'a=posted' });
    compare('... of a HEAD', '/rw/some/path', method => 'HEAD', sees => { REQUEST_METHOD => 'HEAD', REDIRECT_V => 'x' });
    compare('... with a path that has a blank', '/rw/some%20path/%C3%A4?a=b%20c', sees => { REQUEST_URI => '/rw/some%20path/%C3%A4?a=b%20c' });
    compare('a rewrite in .htaccess to path info', '/rwpi/some/path', sees => { PATH_INFO => '/some/path', PATH_TRANSLATED => "$root/some/path", REDIRECT_URL => '/rwpi/some/path' });
    compare('a rewrite in .htaccess to a query', '/rwabs/some/path?a=1', sees => { QUERY_STRING => 'path=some/path&a=1' });
    compare('a rewrite of the server with [PT]', '/pt/one/two', sees => { SCRIPT_NAME => '/app/index.php', PATH_INFO => '/one/two', PATH_TRANSLATED => "$root/one/two", @direct, REQUEST_URI => '/pt/one/two' });
    compare('a rewrite of the server with [PT,QSA,E=]', '/ptq/one/two?a=1', sees => { QUERY_STRING => 'p=one/two&a=1', V => 'x', @direct });
    compare('a rewrite of the server to a file', '/direct/one', sees => { SCRIPT_FILENAME => $app, V => 'direct' });
    compare('[NE]', '/noescape/a%25b', sees => { PATH_INFO => '/a%b' });
    compare('Action', '/act/page.foo/pi', sees => { SCRIPT_NAME => '/act/index.php', PATH_INFO => '/act/page.foo/pi', PATH_TRANSLATED => "$root/act/page.foo/pi",
        REDIRECT_URL => '/act/page.foo/pi', REDIRECT_STATUS => 200 });
    compare('... with a query and a body', '/act/page.foo?x=1', body => 'for the action', headers => [ 'Content-Type' => 'text/plain' ],
        sees => { REQUEST_METHOD => 'POST', '(body)' => 'for the action', QUERY_STRING => 'x=1' });
    compare('CGIVar REQUEST_URI current-uri', '/cgivar/some/path?a=1');
    compare('... without a rewrite', '/cgivar/index.php/pi?a=1');
    compare('QualifyRedirectURL', '/qualify/some/path?a=1', sees => { REDIRECT_URL => 'http://site.test/qualify/some/path?a=1' });
};

subtest 'subrequests' => sub {
    compare('an SSI include', '/page.shtml?outer=1', sees => { SCRIPT_NAME => '/e.php', QUERY_STRING => 'inner=1', REQUEST_URI => '/page.shtml?outer=1',
        SERVER_PROTOCOL => 'INCLUDED', REQUEST_METHOD => 'GET', @none });
    compare('... gets no body of the page', '/page.shtml', body => 'of the page', headers => [ 'Content-Type' => 'text/plain' ], sees => { '(body)' => '' }, differs => \%length);
    compare('... nor one in chunks', '/page.shtml', body => [ 'of the', ' page' ], sees => { '(body)' => '' });
    compare('... with path info', '/pageinfo.shtml', fpm_differs => \%self, sees => { PATH_INFO => '/pi', QUERY_STRING => 'inner=1' });
    compare('... through a rewrite', '/rewritten.shtml', sees => { SCRIPT_NAME => '/rw/index.php' });
    compare('... with a variable of the page', '/set.shtml');
    compare('two includes of one page', '/twice.shtml?o=1', runs => 2, fpm_differs => \%self, sees => { SCRIPT_NAME => '/e.php/two', PHP_SELF => '/e.php/two', PATH_INFO => '/two', QUERY_STRING => 'b=2' });
    compare('an include of a script that is not there', '/broken.shtml', runs => 0);
};

subtest 'hosts' => sub {
    compare('VirtualDocumentRoot', '/e.php/pi', host => 'one.example', sees => { DOCUMENT_ROOT => "$hosts/one.example", SCRIPT_FILENAME => "$hosts/one.example/e.php", SERVER_NAME => 'one.example' });
    compare('VirtualDocumentRoot, its index', '/', host => 'one.example', sees => { SCRIPT_NAME => '/index.php' });
    compare('VirtualDocumentRoot, another host on the same', '/e.php', host => 'two.example', sees => { DOCUMENT_ROOT => "$hosts/two.example" });
    compare('UseCanonicalName On', '/e.php', host => 'other.test:81', sees => { SERVER_NAME => 'canonical.test', HTTP_HOST => 'other.test:81', SERVER_ADMIN => 'root@canonical.test' });
    compare('a Host header with a port', '/e.php', host => 'site.test:8088', sees => { SERVER_PORT => '8088', HTTP_HOST => 'site.test:8088' });
    compare('an absolute URL in the request line', 'http://site.test/e.php/pi?a=1', sees => { REQUEST_URI => 'http://site.test/e.php/pi?a=1', PATH_INFO => '/pi' });
    compare('an absolute URL of another host than Host', 'http://one.example/e.php', host => 'site.test');
    compare('an empty Host', '/e.php', host => '', runs => 0);
    compare('HTTP/1.0', '/e.php', version => 'HTTP/1.0', sees => { SERVER_PROTOCOL => 'HTTP/1.0' });
    compare('HTTP/1.0 without Host', '/e.php', version => 'HTTP/1.0', no_host => 1, sees => { HTTP_HOST => undef });
};

subtest 'variables of the configuration' => sub {
    compare('SetEnv, PassEnv', '/e.php', sees => { SERVER_WIDE => 1, MINE => 'of httpd' });
    compare('SetEnvIf', '/set/a.php', headers => [ 'User-Agent' => 'probe/17' ], sees => { AGENT_VERSION => 17, FROM_URI => 1, MINE => 1 });
    compare('SetEnv cannot choose the script', '/set/a.php?q=1', sees => { SCRIPT_FILENAME => "$root/set/a.php", QUERY_STRING => 'q=1' });
    compare('... nor the user', '/e.php');
    compare('a rewrite takes them along', '/rw/x', headers => [ 'User-Agent' => 'probe/18' ], sees => { REDIRECT_AGENT_VERSION => 18 });
};

report(qw(SSL_SESSION_ID HTTP_AUTHORIZATION REQUEST_TIME));
done_testing();
