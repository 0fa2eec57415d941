# The module puts the CGI variables of most requests into the table itself, and leaves the others to
# httpd. Two hosts of the same configuration, of which one has a CGIVar that changes nothing, which
# leaves all to httpd: scripts see the same, and so does who reads the table after them.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::HTTP;
use FPMPool::Test;
use JSON::PP ();

my $dump = '<?php unset($_SERVER["REQUEST_TIME"], $_SERVER["REQUEST_TIME_FLOAT"], $_SERVER["REMOTE_PORT"]); ksort($_SERVER);'
    . ' echo json_encode($_SERVER, JSON_INVALID_UTF8_SUBSTITUTE);';
my $root = site('www',
    (map { ($_ => $dump) } qw(e.php err.php set/e.php auth/e.php pass/e.php names/e.php double/e.php rw/index.php qualify/index.php)),
    'rw/.htaccess'      => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [L,E=V:x]\n",
    'qualify/.htaccess' => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [L]\n",
    'page.shtml'        => '<!--#include virtual="/e.php?inner=1" -->',
    'users'             => "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n",    # password
);
my $outside = site('outside', 'o.php' => $dump);
my $daemon  = start_daemon(conf => { www => { pm => 'static', 'pm.max_children' => 2 } });
my $routes  = php_routes('fpmpool', $daemon, 'www');

sub host {
    my ($name, $more) = @_;
    return <<"EOF_CONF";
<VirtualHost *>
    ServerName $name
    UseCanonicalName Off
    ServerAdmin "a <b> & c"
    ServerSignature On
    DocumentRoot "$root"
    Alias /out "$outside"
    ErrorDocument 404 /err.php?e=1
    $more
    <Directory "$root">
        Options +Includes
        AllowOverride All
        AddType text/html .shtml
        AddOutputFilter INCLUDES .shtml
    </Directory>
    <Directory "$outside">
        Require all granted
    </Directory>
    <Location /set>
        SetEnv REMOTE_ADDR mine
        SetEnv HTTP_HOST mine
        SetEnv QUERY_STRING mine
        SetEnv REMOTE_HOST mine
        SetEnv PATH /mine
        SetEnv OTHER 1
    </Location>
    <Location /names>
        HostnameLookups On
    </Location>
    <Location /double>
        RequestHeader add X-Two one
        RequestHeader add X-Two two
        RequestHeader add X-Two three
    </Location>
    <Location /qualify>
        QualifyRedirectURL On
    </Location>
    <Location /pass>
        CGIPassAuth On
    </Location>
    <Location /auth>
        AuthType Basic
        AuthName here
        AuthUserFile "$root/users"
        Require valid-user
    </Location>
    CustomLog "$root/../$name.log" "%{SCRIPT_NAME}e %{HTTP_HOST}e %{QUERY_STRING}e %{SERVER_ADMIN}e %{PATH_INFO}e %{REDIRECT_URL}e %{HTTP_PROXY}e %{HTTP_AUTHORIZATION}e"
</VirtualHost>
EOF_CONF
}

my $httpd = start_httpd(
    docroot => $root, modules => [qw(include auth_basic authn_file authz_user authz_host)],
    conf => $routes . host('own.test', '') . host('std.test', 'CGIVar REQUEST_URI original-uri'),
);
my ($port) = $httpd->url('/') =~ /:(\d+)/;

sub seen {
    my ($host, $method, $target, @headers) = @_;
    $target =~ s/HOST/$host/;
    my $http = FPMPool::HTTP->connect(port => $port, host_header => $host);
    $http->send_request($method => $target, headers => \@headers, $method eq 'POST' ? (body => 'a=b') : ());
    my $head = $http->read_head;
    my ($body, $piece) = ('');
    $body .= $piece while length($piece = $http->read_some);
    $http->close;
    $body =~ s/\Q$host\E/HOST/g;
    return { status => $head->{status}, map { ref $_ ? %$_ : () } eval { JSON::PP::decode_json($body) } };
}

my $login = 'Basic YW5uOnBhc3N3b3Jk';    # ann:password
my @cases = (
    [ 'a page',                      GET  => '/e.php' ],
    [ 'a query',                     GET  => '/e.php?a=%20b&c' ],
    [ 'no file before the query',    GET  => '/e.php?' ],
    [ 'a form',                      POST => '/e.php', 'Content-Type' => 'application/x-www-form-urlencoded' ],
    [ 'twenty headers',              GET  => '/e.php', map { ("X-Number-$_" => "value $_") } 1 .. 20 ],
    [ 'a long name',                 GET  => '/e.php', 'X-' . 'n' x 3000 => 'a', 'X-After' => 'b' ],
    [ 'names that are not passed',   GET  => '/e.php', X_Under => 1, 'X.Dot' => 2, Proxy => 'http://evil.test', 'X-Fine' => 3, proxy => 4 ],
    [ 'names in any case',           GET  => '/e.php', 'x-lOwer' => 1, 'X-LOWER' => 2, 'CONTENT-TYPE' => 'a/b' ],
    [ 'an empty value',              GET  => '/e.php', 'X-Empty' => '' ],
    [ 'a login nobody asked for',    GET  => '/e.php', Authorization => $login, 'Proxy-Authorization' => $login ],
    [ 'CGIPassAuth',                 GET  => '/pass/e.php', Authorization => $login, 'Proxy-Authorization' => $login ],
    [ 'a login that httpd checks',   GET  => '/auth/e.php', Authorization => $login ],
    [ 'a login before an error page', GET => '/auth/none', Authorization => $login ],
    [ 'SetEnv',                      GET  => '/set/e.php?q=1' ],
    [ 'HostnameLookups',             GET  => '/names/e.php' ],
    [ 'a header that is added',      GET  => '/double/e.php' ],
    [ 'Alias',                       GET  => '/out/o.php' ],
    [ 'path info',                   GET  => '/e.php/x%20y/z?q' ],
    [ 'a rewrite in .htaccess',      GET  => '/rw/some/path?q=1', 'X-A' => 1 ],
    [ 'QualifyRedirectURL',          GET  => '/qualify/some/path?q=1' ],
    [ 'ErrorDocument',               GET  => '/none?x=1', 'X-A' => 1 ],
    [ 'a page that includes',        GET  => '/page.shtml?outer=1' ],
    [ 'the whole address',           GET  => 'http://HOST/e.php?q' ],
);
for my $case (@cases) {
    my ($name, @request) = @$case;
    my ($own, $std) = map { seen($_, @request) } 'own.test', 'std.test';
    ok($own->{SCRIPT_FILENAME}, "$name: a script runs");
    is_deeply($own, $std, "$name: it sees the same");
}

my %log = map { my $name = $_; ($name => sub { my $text = -e "$root/../$name.log" ? read_file("$root/../$name.log") : ''; $text =~ s/\Q$name\E/HOST/g; $text }) } 'own.test', 'std.test';
wait_for { my @lines = split /\n/, $log{'std.test'}->() . $log{'own.test'}->(); @lines == 2 * @cases } 10, 'all requests are logged';
is($log{'own.test'}->(), $log{'std.test'}->(), 'a log format sees the same variables');
like($log{'own.test'}->(), qr{^/e\.php HOST a=%20b&c }m, 'and there they are');
done_testing();
