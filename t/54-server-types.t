# What a server gets by its type, seen from its side of the wire: fpmpool has our own parameters, fpm has php-fpm's names and
# the prefix that stops its guessing, generic has nothing but CGI's variables. A scripted peer is each of them.

use strict;
use warnings;
use Digest::SHA qw(sha1_base64);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Test;

my $root = site('www', 'x.php' => '<?php', 'rw/x.php' => '<?php', 'ht/x.php' => '<?php',
    'rw/.htaccess' => "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . x.php [QSA,L]\n",
    'ht/.htaccess' => "php_value precision 9\n");
my $run = test_dir() . '/run';
mkdir $run;
my @type = qw(fpmpool fpm generic);
my %peer = map { $_ => start_fake("$run/$_.sock") } @type;
write_file('passwords', 'me:{SHA}' . sha1_base64('x') . "=\n");

my $conf = "LogLevel fpmpool:info\nLimitRequestFieldSize 200000\n" . join '', map { <<"EOF_CONF" } @type;
<FpmPoolDefine $_>
    FpmPoolServer unix:$run/$_.sock type=$_
</FpmPoolDefine>
Alias /$_ $root
Alias /user-$_ $root
<LocationMatch "^/(user-)?$_/">
    SetHandler fpmpool
    FpmPool $_
    php_value memory_limit 64M
    php_admin_value open_basedir "/a \\"b\\""
    FpmPoolSetEnvIf "true" MINE "of %{REQUEST_METHOD}"
</LocationMatch>
<LocationMatch "^/user-$_/">
    AuthType Basic
    AuthName x
    AuthBasicProvider file
    AuthUserFile "@{[ test_dir() ]}/passwords"
    Require valid-user
</LocationMatch>
EOF_CONF

$conf .= "<Location \"/rw/\">\n    SetHandler fpmpool\n    FpmPool generic\n</Location>\n";

my @httpd = map { start_httpd(mpm => $_, name => $_, docroot => $root, modules => [qw(auth_basic authn_file authz_user)], conf => $conf) } qw(event prefork);

# The parameters that the server of that type has got, and those whose names are not CGI's.
sub params_of {
    my ($httpd, $path, %option) = @_;
    my $answer = http($httpd->url($path . ($path =~ /\?/ ? '&' : '?') . 'do=params'), %option);
    my %param = $answer->{body} =~ /^([A-Z][A-Z_0-9]*)=(.*)$/mg;
    return { STATUS => $answer->{status}, %param };
}
sub own_names { my ($param) = @_; return [ sort grep { /^FPMPOOL_|^PHP_|^FCGI_/ } keys %$param ] }

for my $httpd (@httpd) {
    subtest $httpd->name => sub {
        my %got = map { $_ => params_of($httpd, "/$_/x.php/info?q=1") } @type;
        is_deeply(own_names($got{fpmpool}), [qw(FPMPOOL_INI FPMPOOL_PEER)], 'fpmpool: our own parameters');
        is_deeply(own_names($got{fpm}), [qw(PHP_ADMIN_VALUE PHP_VALUE)], 'fpm: the settings under php-fpm\'s names');
        is_deeply(own_names($got{generic}), [], 'generic: none of them');
        is($got{fpm}{SCRIPT_FILENAME}, "proxy:fcgi://fpmpool$root/x.php", 'fpm: SCRIPT_FILENAME with the prefix');
        is($got{$_}{SCRIPT_FILENAME}, "$root/x.php", "$_: plain") for qw(fpmpool generic);
        is($got{fpm}{PHP_VALUE}, 'memory_limit="64M"', 'fpm: PHP_VALUE');
        is($got{fpm}{PHP_ADMIN_VALUE}, 'open_basedir="/a \\"b\\""', 'fpm: PHP_ADMIN_VALUE, quoted');
        for my $type (@type) {
            my %plain = %{ $got{$type} };
            is_deeply([ map { $plain{$_} } qw(STATUS MINE PATH_INFO QUERY_STRING REQUEST_METHOD GATEWAY_INTERFACE) ], [ 200, 'of GET', '/info', 'q=1&do=params', 'GET', 'CGI/1.1' ], "$type: CGI's variables, and the rule's");
        }
        my %names = map { my $type = $_; ($type => [ sort grep { !/^FPMPOOL_|^PHP_/ } keys %{ $got{$type} } ]) } @type;
        is_deeply($names{$_}, $names{generic}, "$_: apart from those the same names as generic") for qw(fpmpool fpm);

        my $rewritten = params_of($httpd, '/rw/some/path');
        is("$rewritten->{SCRIPT_FILENAME} $rewritten->{REDIRECT_URL}", "$root/rw/x.php /rw/some/path", 'generic: plain also with REDIRECT_URL');

        for my $type (@type) {
            my $known = http($httpd->url("/$type/x.php?do=body"), method => 'POST', body => 'b' x 200_000)->{body};
            like($known, qr/^200000 \w+ 200000 none$/, "$type: a body with its length");
            my $unknown = http($httpd->url("/$type/x.php?do=body"), method => 'POST', body => [ ('b' x 50_000) x 4 ])->{body};
            like($unknown, $type eq 'fpmpool' ? qr/^200000 \w+ none stream$/ : qr/^200000 \w+ 200000 none$/, '... without a length: ' . ($type eq 'fpmpool' ? 'streamed' : 'received first, then with its length'));
            my $long = http($httpd->url("/$type/x.php?do=hello"), headers => [ 'X-Long' => 'l' x 100_000 ])->{status};
            is($long, $type eq 'fpm' ? 431 : 200, "... a variable of 100 000 bytes: $long");
            my $from = $peer{$type}->log_length;
            http($httpd->url("/$type/x.php?do=hello")) for 1 .. 3;
            my ($keep) = $peer{$type}->log_text($from) =~ /keep=(\d)/;
            is($keep, $type eq 'fpmpool' ? 1 : 0, '... ' . ($keep ? 'is asked to keep the connection' : 'gets a connection for each request'));
        }

        for my $type (@type) {
            my $user = params_of($httpd, "/user-$type/x.php", headers => [ Authorization => 'Basic bWU6eA==' ]);
            is_deeply([ map { $user->{$_} } qw(REMOTE_USER HTTP_AUTHORIZATION PHP_AUTH_USER) ], [ 'me', undef, $type eq 'generic' ? undef : 'me' ],
                "$type: a login that httpd has checked comes without the password");
        }
        my $from = $httpd->log_length;
        my $ht = params_of($httpd, '/fpm/ht/x.php');
        unlike($ht->{PHP_VALUE} // '', qr/precision/, 'fpm: no setting of an .htaccess file');
        $httpd->wait_log(qr/FPMP0012: pool fpm: php_value and php_flag of \.htaccess files are not sent/, 5, $from);
    };
}
allow_log(qr/FPMP0013|\[fpmpool:info\]|AH01617|AH01618/);
done_testing();
