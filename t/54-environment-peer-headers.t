# What the client, the connection and the login make of a script's variables: headers of every kind, authorization, TLS,
# proxies in front, methods, HTTP/1.0, lengths. Beside mod_php with the same configuration, in the same run.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Environment;
use FPMPool::Test;

require_program('curl', 'curl');
require_program('openssl', 'openssl');

my $dump = dump_script();
my $root = site('www',
    (map { ($_ => $dump) } qw(e.php pass/a.php cgipass/a.php login/a.php login-always/a.php login-off/a.php trace/a.php hack/index.php hackif/a.php empty.php)),
    'hack/.htaccess'   => "RewriteEngine On\nRewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [L]\n",
    'hackif/.htaccess' => "SetEnvIf Authorization \"(.*)\" HTTP_AUTHORIZATION=\$1\n",
    'plain.html'       => 'a plain page',
);
my $dir = test_dir();
write_file('passwords', 'user:{SHA}' . sha1_password('secret') . "\n");
write_file('groups', "all: user\n");
sub sha1_password { require Digest::SHA; require MIME::Base64; return MIME::Base64::encode_base64(Digest::SHA::sha1($_[0]), '') }

# A server's certificate and a client's, both signed by themselves.
for my $name (qw(server client)) {
    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/C=DE/O=Tests/CN=$name.test' -keyout $dir/$name.key -out $dir/$name.crt >$dir/openssl.log 2>&1") == 0
        or die read_file("$dir/openssl.log");
}

sub conf {
    my ($handler, $port) = @_;
    my $ours = sub { my ($text) = @_; return $handler eq 'fpmpool' ? $text : '' };
    my $files = "<FilesMatch \"\\.php\$\">\n    SetHandler $handler\n</FilesMatch>\n";
    my $login = sub { my ($name, $more) = @_; return <<"EOF_LOGIN" };
    <Directory "$root/$name">
        AuthType Basic
        AuthName "a place"
        AuthUserFile "$dir/passwords"
        AuthGroupFile "$dir/groups"
        Require valid-user
        $more
    </Directory>
EOF_LOGIN
    return <<"EOF_CONF";
@{[ $ours->('FpmPoolMaxParams 2M') ]}
LimitRequestFieldSize 300000
LimitRequestLine 300000
<VirtualHost *>
    ServerName site.test
    DocumentRoot "$root"
    $files
@{[ $login->('login', ''), $login->('login-always', $ours->('FpmPoolPassAuthorization Always')), $login->('login-off', $ours->('FpmPoolPassAuthorization Off')) ]}
    <Directory "$root/cgipass">
        CGIPassAuth On
    </Directory>
    <Location /remote>
        RequestHeader unset X-Removed
        RequestHeader set X-Added "by httpd"
    </Location>
    RequestHeader edit X-Edited "(.*)" "edited \$1"
    <Location /cookies>
        SetHandler $handler
    </Location>
    Redirect 410 /gone
    CustomLog users.log "%U%q %>s user=%u"
    ErrorDocument 404 /e.php
</VirtualHost>
<VirtualHost *>
    ServerName proxied.test
    DocumentRoot "$root"
    RemoteIPHeader X-Forwarded-For
    RemoteIPProxiesHeader X-Proxies
    RemoteIPInternalProxy 127.0.0.1
    SetEnvIf X-Forwarded-Proto "^https\$" HTTPS=on
    $files
</VirtualHost>
<VirtualHost *>
    ServerName notrace.test
    DocumentRoot "$root"
    TraceEnable Off
    $files
</VirtualHost>
<VirtualHost *>
    ServerName lookups.test
    DocumentRoot "$root"
    HostnameLookups On
    $files
</VirtualHost>
Listen 127.0.0.1:$port->{tls}
SSLSessionCache none
<VirtualHost 127.0.0.1:$port->{tls}>
    ServerName site.test
    DocumentRoot "$root"
    SSLEngine on
    SSLCertificateFile "$dir/server.crt"
    SSLCertificateKeyFile "$dir/server.key"
    SSLCACertificateFile "$dir/client.crt"
    SSLVerifyClient optional
    $files
    RewriteEngine On
    RewriteRule ^/rewritten/(.*) /e.php/\$1 [PT]
    <Files "a.php">
        SSLOptions +StdEnvVars +ExportCertData
    </Files>
    ErrorDocument 404 /pass/a.php
    <Directory "$root/login">
        SSLOptions +StdEnvVars
        SSLUserName SSL_CLIENT_S_DN_CN
    </Directory>
</VirtualHost>
EOF_CONF
}

allow_log(qr/script .*gone\.php. not found|FPMP0013|AH01873|AH01882|AH01617|AH01618|AH01276|AH10244|AH00127|AH00135|AH00566|AH01797|AH0112|AH02032|AH01906|AH01909|AH02292|password mismatch|user .* not found|CA certificate/);
start_servers($root, conf => \&conf, ports => ['tls'], modules => [qw(auth_basic authn_file authz_user authz_groupfile authz_host remoteip ssl socache_shmcb)]);

sub basic { require MIME::Base64; return ('Authorization' => 'Basic ' . MIME::Base64::encode_base64($_[0], '')) }
my %hidden = map { $_ => 'httpd has checked the login itself: a script is not given the password; FpmPoolPassAuthorization Always gives it' } qw(PHP_AUTH_PW);

subtest 'headers' => sub {
    compare('usual ones', '/e.php', headers => [ 'User-Agent' => 'a (b; c)', Accept => '*/*', 'Accept-Language' => 'de', Referer => 'http://x/?a=b&c', Cookie => 'a=1; b=%20',
        'If-None-Match' => '"x"', Range => 'bytes=0-1000000', DNT => 1, 'X-Requested-With' => 'XMLHttpRequest' ], sees => { HTTP_COOKIE => 'a=1; b=%20', HTTP_DNT => 1 });
    compare('the same twice', '/e.php', headers => [ 'X-Twice' => 'a', 'X-Twice' => 'b', Cookie => 'a=1', Cookie => 'b=2' ], sees => { HTTP_X_TWICE => 'a, b' });
    compare('with underscores', '/e.php', headers => [ 'X_Under' => 1, 'X-Dash' => 2, 'X-Un_der' => 3 ], sees => { HTTP_X_UNDER => undef, HTTP_X_DASH => 2, HTTP_X_UN_DER => undef });
    compare('with other characters', '/e.php', headers => [ 'X.Dot' => 1, 'X!Mark' => 2, 'X~Tilde' => 3, '1-Digit' => 4 ], sees => { HTTP_1_DIGIT => 4 });
    compare('Proxy', '/e.php', headers => [ Proxy => 'evil:1' ], sees => { HTTP_PROXY => undef });
    compare('that look like variables', '/e.php', headers => [ 'Script-Filename' => '/etc/passwd', 'Php-Value' => 'memory_limit=1', 'Fpmpool-Ini' => 'x', 'Content-Length' => '0', 'Https' => 'on' ],
        sees => { HTTP_SCRIPT_FILENAME => '/etc/passwd', HTTP_FPMPOOL_INI => 'x', HTTPS => undef, HTTP_HTTPS => 'on' });
    compare('empty', '/e.php', headers => [ 'X-Empty' => '' ], sees => { HTTP_X_EMPTY => '' });
    compare('bytes above 127', '/e.php', headers => [ 'X-Bytes' => "\xe4\xff\xc3\xa4" ], sees => { HTTP_X_BYTES => "\xe4\xff\xc3\xa4" });
    compare('changed by httpd', '/e.php', headers => [ 'X-Edited' => 'text' ], sees => { HTTP_X_EDITED => 'edited text' });
    compare('Content-Type without a body', '/e.php', headers => [ 'Content-Type' => 'text/x' ], sees => { CONTENT_TYPE => 'text/x', HTTP_CONTENT_TYPE => undef });
    compare('Content-Length: 0', '/e.php', method => 'POST', body => '', sees => { CONTENT_LENGTH => 0 });
    compare('a form', '/e.php?q=1', body => 'a=1&b[]=2&b[]=3', headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ], sees => { '(post)' => 'a=1&b%5B0%5D=2&b%5B1%5D=3' });
    compare('a body in chunks', '/e.php', body => [ 'a=1', '&b=2' ], headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ],
        sees => { '(post)' => 'a=1&b=2', HTTP_TRANSFER_ENCODING => 'chunked' },
        differs => { CONTENT_LENGTH => 'a server that is no part of httpd reads as many bytes as it is told; the body had arrived, so its length is known' });
    compare('Expect', '/e.php', body => 'after 100', headers => [ Expect => '100-continue', 'Content-Type' => 'text/plain' ], sees => { HTTP_EXPECT => '100-continue', '(body)' => 'after 100' });
};

subtest 'lengths' => sub {
    my $most = 65_535 - length('HTTP_COOKIE') - 5; # with its name and lengths one record of FastCGI
    compare("a cookie of $_ bytes", '/e.php', headers => [ Cookie => 'c=' . 'x' x ($_ - 2) ]) for 127, 128, 4096, 16_384, $most;
    my @ours = (only => qr/event|worker|prefork/);
    compare("a cookie of $_ bytes", '/e.php', headers => [ Cookie => 'c=' . 'x' x ($_ - 2) ], @ours) for $most + 1, 65_535, 65_536, 70_000, 200_000;
    compare('many headers', '/e.php', headers => [ map { ("X-Many-$_" => 'm' x 1500) } 1 .. 80 ]);
    compare('a query of 100 000 bytes', '/e.php?' . 'q' x 100_000, @ours);
    if (my $httpd = server_named('php-fpm')) {
        my ($page) = runs_of($httpd, '/e.php', headers => [ Cookie => 'c=' . 'x' x ($most - 1) ]);
        like($page, qr/^431 /, 'php-fpm cannot read a variable of more than a record: 431, not a lost connection');
        $httpd->wait_log(qr/FPMP0013: pool www: the variable HTTP_COOKIE has 65520 bytes: php-fpm/);
    }
    compare('a path info of 1000 bytes', '/e.php/' . 'p' x 200 . '/' . 'r' x 200);
};

subtest 'methods and versions' => sub {
    compare($_, '/e.php', method => $_, sees => { REQUEST_METHOD => $_ }) for qw(GET HEAD OPTIONS DELETE PUT POST PATCH PROPFIND SEARCH);
    compare('a method that httpd does not know', '/e.php', method => 'BREW', sees => { REQUEST_METHOD => 'BREW' });
    compare('a lower-case method', '/e.php', method => 'get');
    compare('a body with DELETE', '/e.php', method => 'DELETE', body => 'of DELETE', headers => [ 'Content-Type' => 'text/plain' ], sees => { '(body)' => 'of DELETE' });
    compare('a body with GET', '/e.php', method => 'GET', body => 'of GET', headers => [ 'Content-Type' => 'text/plain' ]);
    compare('OPTIONS *', '*', method => 'OPTIONS', runs => 0);
    compare('OPTIONS of a file', '/plain.html', method => 'OPTIONS', runs => 0);
    compare('TRACE', '/e.php', method => 'TRACE', runs => 0);
    compare('TRACE where it is off', '/e.php', method => 'TRACE', runs => 0, host => 'notrace.test');
    compare('HTTP/1.0', '/e.php', version => 'HTTP/1.0', sees => { SERVER_PROTOCOL => 'HTTP/1.0' });
    compare('HTTP/1.0 with a body', '/e.php', version => 'HTTP/1.0', body => 'x', headers => [ 'Content-Type' => 'text/plain' ], sees => { '(body)' => 'x' });
    compare('Redirect 410', '/gone', runs => 0);
};

subtest 'authorization' => sub {
    compare('Basic without a login of httpd', '/e.php', headers => [ basic('u:p:q') ], sees => { PHP_AUTH_USER => 'u', PHP_AUTH_PW => 'p:q', REMOTE_USER => undef, AUTH_TYPE => undef });
    compare('Basic without a password', '/e.php', headers => [ basic('u:') ], sees => { PHP_AUTH_USER => 'u' }, differs => {
        PHP_AUTH_PW => 'PHP over FastCGI has an empty password as an empty string, mod_php as none' });
    compare('Basic without a colon', '/e.php', headers => [ basic('u') ]);
    compare('Basic that is no base64', '/e.php', headers => [ Authorization => 'Basic !!!' ]);
    compare('basic in lower case', '/e.php', headers => [ Authorization => 'basic dTpw' ]);
    compare('Basic with an empty user', '/e.php', headers => [ basic(':p') ]);
    compare('Basic with UTF-8', '/e.php', headers => [ basic("\xc3\xa4:\xc3\xb6") ], sees => { PHP_AUTH_USER => "\xc3\xa4" });
    compare('Bearer', '/e.php', headers => [ Authorization => 'Bearer t.o-k_en' ], sees => { PHP_AUTH_USER => undef });
    compare('Digest', '/e.php', headers => [ Authorization => 'Digest username="u", realm="r", nonce="n", uri="/e.php", response="0"' ]);
    compare('Negotiate', '/e.php', headers => [ Authorization => 'Negotiate YII' ]);
    compare('an empty one', '/e.php', headers => [ Authorization => '' ]);
    compare('CGIPassAuth', '/cgipass/a.php', headers => [ Authorization => 'Bearer t' ], sees => { HTTP_AUTHORIZATION => 'Bearer t' });
    compare('CGIPassAuth with Basic', '/cgipass/a.php', headers => [ basic('u:p') ], sees => { HTTP_AUTHORIZATION => 'Basic dTpw', PHP_AUTH_USER => 'u' });
    compare('the rewrite rule that others need', '/hack/index.php', headers => [ Authorization => 'Bearer t' ], sees => { HTTP_AUTHORIZATION => 'Bearer t' });
    compare('... through a redirect', '/hack/some', headers => [ Authorization => 'Bearer t' ], sees => { REDIRECT_HTTP_AUTHORIZATION => 'Bearer t' });
    compare('... with SetEnvIf', '/hackif/a.php', headers => [ Authorization => 'Bearer t' ], sees => { HTTP_AUTHORIZATION => 'Bearer t' });
    compare('Proxy-Authorization', '/e.php', headers => [ 'Proxy-Authorization' => 'Basic dTpw' ], sees => { HTTP_PROXY_AUTHORIZATION => undef });
    compare('httpd\'s own login', '/login/a.php', headers => [ basic('user:secret') ], sees => { REMOTE_USER => 'user', AUTH_TYPE => 'Basic', PHP_AUTH_USER => 'user' }, differs => \%hidden);
    compare('... with FpmPoolPassAuthorization Always', '/login-always/a.php', headers => [ basic('user:secret') ], sees => { PHP_AUTH_USER => 'user', PHP_AUTH_PW => 'secret' });
    compare('... refused', '/login/a.php', headers => [ basic('user:wrong') ], runs => 0);
    compare('... without one', '/login/a.php', runs => 0);
};

# What an access log says of the user, and what of it an error page sees.
subtest 'the user in access logs' => sub {
    my %header = (basic => [ basic('u:p') ], none => [], empty => [ basic(':p') ], colon => [ basic('u') ], bearer => [ Authorization => 'Bearer dTpw' ], lower => [ Authorization => 'basic dTpw' ],
        utf8 => [ basic("\xc3\xa4:p") ], quote => [ basic("u\"x\n:p") ], digest => [ Authorization => 'Digest username="u", realm="r", nonce="n", uri="/e.php", response="0"' ]);
    my %path = (map { ("/e.php?log=$_" => $header{$_}) } keys %header);
    $path{'/login/a.php?log'} = [ basic('user:secret') ];
    $path{'/login/a.php?wrong'} = [ basic('user:wrong') ];
    $path{'/login-off/a.php?log'} = [ basic('user:secret') ];
    my %logged;
    for my $server (peer_server(), map { server_named($_) } qw(event prefork)) {
        my $name = $server->name;
        for my $path (sort keys %path) {
            http($server->url($path), headers => [ Host => 'site.test', @{ $path{$path} } ]);
            $logged{$name}{$path} = wait_for { read_file("$server->{dir}/users.log") =~ /^\Q$path\E (\d+ user=.*)$/m ? $1 : undef } 5, "the log line of $path";
        }
        is_deeply($logged{$name}, $logged{ peer_server()->name }, "$name: the user of every line is mod_php's") or diag explain \%logged;
    }
    my $event = server_named('event')->name;
    is($logged{$event}{'/e.php?log=basic'}, '200 user=u', 'a Basic login that PHP checks');
    is($logged{$event}{'/e.php?log=bearer'}, '200 user=-', '... not one of another kind');
    compare('an error page knows no such user', '/gone.php', headers => [ basic('u:p') ], sees => { REDIRECT_STATUS => 404, REMOTE_USER => undef, REDIRECT_REMOTE_USER => undef });
};

subtest 'proxies in front' => sub {
    compare('mod_remoteip', '/e.php', host => 'proxied.test', headers => [ 'X-Forwarded-For' => '192.0.2.7', 'X-Forwarded-Proto' => 'https' ],
        sees => { REMOTE_ADDR => '192.0.2.7', HTTPS => 'on' });
    compare('... with two proxies', '/e.php', host => 'proxied.test', headers => [ 'X-Forwarded-For' => '192.0.2.7, 198.51.100.3' ]);
    compare('... IPv6', '/e.php', host => 'proxied.test', headers => [ 'X-Forwarded-For' => '2001:db8::7' ], sees => { REMOTE_ADDR => '2001:db8::7' });
    compare('... that is no address', '/e.php', host => 'proxied.test', headers => [ 'X-Forwarded-For' => 'unknown' ], sees => { REMOTE_ADDR => '127.0.0.1' });
    compare('without mod_remoteip\'s directive', '/e.php', headers => [ 'X-Forwarded-For' => '192.0.2.7' ], sees => { REMOTE_ADDR => '127.0.0.1' });
    compare('HostnameLookups', '/e.php', host => 'lookups.test', sees => { REMOTE_HOST => 'localhost' });
};

subtest 'TLS' => sub {
    my @client = (curl => [ '--cert', "$dir/client.crt", '--key', "$dir/client.key" ]);
    my %session = (SSL_SESSION_ID => 'of each TLS session');
    compare('HTTPS without StdEnvVars', '/e.php/pi?q=1', tls => 1, sees => { HTTPS => 'on', REQUEST_SCHEME => 'https', SSL_PROTOCOL => undef, SSL_TLS_SNI => 'site.test' });
    compare('StdEnvVars', '/pass/a.php', tls => 1, sees => { HTTPS => 'on', SSL_SERVER_S_DN_CN => 'server.test', SSL_CLIENT_VERIFY => 'NONE', SSL_PROTOCOL => 'TLSv1.3' });
    compare('a client\'s certificate', '/pass/a.php', tls => 1, @client, sees => { SSL_CLIENT_VERIFY => 'SUCCESS', SSL_CLIENT_S_DN_CN => 'client.test' });
    compare('TLS 1.2', '/pass/a.php', tls => 1, curl => ['--tls-max', '1.2'], sees => { SSL_PROTOCOL => 'TLSv1.2' });
    compare('a rewrite', '/rewritten/one', tls => 1, sees => { HTTPS => 'on', PATH_INFO => '/one' });
    compare('an ErrorDocument', '/none', tls => 1, @client, sees => { HTTPS => 'on', REDIRECT_HTTPS => 'on', REDIRECT_STATUS => 404, SSL_CLIENT_S_DN_CN => 'client.test' });
    compare('SSLUserName', '/login/a.php', tls => 1, @client, sees => { REMOTE_USER => 'client.test' });
};

report(qw(REQUEST_TIME));
done_testing();
