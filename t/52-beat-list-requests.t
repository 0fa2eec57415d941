# Defects of mod_proxy_fcgi in what it sends: bodies without a length, environment, authorization, paths, and what a tenant's
# .htaccess can do to others. Beside httpd with mod_proxy_fcgi and php-fpm stands httpd with mod_fpmpool and fpmpoold.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::HTTP2;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $root = site('www',
    'size.php'       => '<?php echo $_SERVER["CONTENT_LENGTH"] ?? "none", " ", strlen(file_get_contents("php://input"));',
    'seen.php'       => '<?php file_put_contents($_GET["mark"] . ".new", strlen(file_get_contents("php://input"))); rename($_GET["mark"] . ".new", $_GET["mark"]);',
    'server.php'     => '<?php echo json_encode($_SERVER);',
    'long.php'       => '<?php echo strlen($_SERVER["HTTP_X_LONG"] ?? ""), " ", array_sum(array_map("strlen", preg_grep("/^l+\$/", $_SERVER)));',
    'strict/a.php'   => '<?php echo "ran with ", $_SERVER["PATH_INFO"] ?? "";',
    'error.html'     => 'the error page of this site',
    'plain.php'      => '<?php echo ini_get("memory_limit"), " ", ini_set("memory_limit", "88M") === false ? "locked" : "free";',
    'set/a.php'      => '<?php echo ini_get("memory_limit");',
    'set/.htaccess'  => "SetEnv PHP_ADMIN_VALUE \"memory_limit = 77M\"\n",
    'fake/x.php'     => '<?php',
    'who/a.php'      => '<?php echo "ran in ", $_SERVER["POOL_NAME"];',
);
my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $run = test_dir() . '/run';
mkdir $run;
my $fake = start_fake("$run/fake.sock");

# In pool www one worker serves all, so that what one request leaves behind is seen by the next.
my %pools  = (www => { 'pm.max_children' => 1, 'env[POOL_NAME]' => 'www' }, other => { 'env[POOL_NAME]' => 'other' });
my $daemon = start_daemon(conf => \%pools);
my $fpm    = start_php_fpm(conf => \%pools);
allow_log(qr/FPMP0010: /, qr/FPMP0106: /, qr/Primary script unknown|script '.*' not found/);

my ($ours, $peer) = start_pair($root,
    modules => ['http2'],
    both    => "Protocols h2c http/1.1\nLogLevel http2:error\nErrorDocument 404 /error.html\nLimitRequestFieldSize 100000\n"
        . "LimitRequestLine 100000\n<Directory \"$root/strict\">\n    AcceptPathInfo Off\n</Directory>\n",
    ours    => php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF",
<FpmPoolDefine fake>
    FpmPoolServer unix:$run/fake.sock type=generic
</FpmPoolDefine>
<Location "/fake/">
    FpmPool fake
</Location>
EOF_CONF
    peer => php_routes('proxy_fcgi', $fpm, 'www') . <<"EOF_CONF",
<Location "/fake/">
    SetHandler "proxy:unix:$run/fake.sock|fcgi://fake/"
</Location>
EOF_CONF
);
my %of = (ours => $ours, peer => $peer);

# The same request to both: for defect().
sub both {
    my ($path, %option) = @_;
    return map { my $httpd = $of{$_}; ($_ => sub { show(http($httpd->url($path), %option)) }) } qw(ours peer);
}
sub server_of { return JSON::PP::decode_json(http($_[0]->url($_[1]), @_[ 2 .. $#_ ])->{body}) }

defect('D3', 'an upload in chunks arrives empty, and the answer is 200',
    both('/size.php', method => 'POST', body => [ ('c' x 10_000) x 10 ]),
    wrong => qr/^200 .*: none 0$/, right => qr/^200 .* 100000$/);

SKIP: {
    skip 'curl cannot do HTTP/2', 1 unless FPMPool::HTTP2::is_available();
    my $sent   = write_file('sent', 'h' x 100_000);
    my $upload = sub {    # (curl takes an answer that is there before the upload has ended for an error: the script says what it saw)
        my ($httpd) = @_;
        my $mark = "$marks/" . $httpd->name;
        return sub {
            system "curl -s --max-time 20 --http2-prior-knowledge -X POST -T - -o /dev/null '@{[ $httpd->url(\"/seen.php?mark=$mark\") ]}' <'$sent'";
            wait_for { -e $mark } 10, 'the script';
            return read_file($mark) . ' bytes';
        };
    };
    defect('D3', 'so does an HTTP/2 upload without a length',
        peer => $upload->($peer), wrong => qr/^0 bytes$/, ours => $upload->($ours), right => qr/^100000 bytes$/);
}

defect('D13', 'AcceptPathInfo Off is ignored',
    both('/strict/a.php/info'), wrong => qr{^200 .*ran with /info$}, right => qr/^404 .*the error page of this site/);

defect('D14', 'a script that is not there is 404 without the site\'s error page, and an error line each time',
    (map { my $httpd = $of{$_}; ($_ => sub {
        my $from   = $httpd->log_length;
        my $answer = show(http($httpd->url('/none.php')));
        return $answer . ', errors logged: ' . (() = $httpd->log_text($from) =~ /:error\]/g);
    }) } qw(ours peer)),
    wrong => qr/^404 .*File not found\..*errors logged: 1/, right => qr/^404 .*the error page of this site, errors logged: 0/);

for my $kind ([ Basic => 'Basic dTpw', qr/PHP_AUTH_USER=u PHP_AUTH_PW=p/ ], [ Bearer => 'Bearer t', qr/HTTP_AUTHORIZATION=Bearer t/ ]) {
    my ($name, $value, $right) = @$kind;
    defect('D15', "an Authorization header ($name) does not reach the script",
        (map { my $httpd = $of{$_}; ($_ => sub {
            my $s = server_of($httpd, '/server.php', headers => [ Authorization => $value ]);
            return join(' ', map { "$_=$s->{$_}" } grep { exists $s->{$_} } qw(PHP_AUTH_USER PHP_AUTH_PW HTTP_AUTHORIZATION)) || 'none';
        }) } qw(ours peer)),
        wrong => qr/^none$/, right => $right);
}

defect('D17', 'a variable of 20 000 bytes is dropped',
    both('/long.php', headers => [ 'X-Long' => 'l' x 20_000 ]), wrong => qr/^200 .*: 0 0$/, right => qr/^200 .*: 20000 20000$/);
defect('D17', 'of variables of more than 64 KiB together some are dropped',
    both('/long.php', headers => [ 'X-Long' => 'l' x 70_000, map { ("X-Long-$_" => 'l' x 9_000) } 1 .. 10 ]),
    wrong => qr/^200 .*: 0 90000$/, right => qr/^200 .*: 70000 160000$/);

defect('D18', 'a marker of httpd\'s inside is a variable of the script',
    (map { my $httpd = $of{$_}; ($_ => sub { join(' ', grep { /proxy|FPMPOOL/i } keys %{ server_of($httpd, '/server.php') }) || 'none' }) } qw(ours peer)),
    wrong => qr/proxy-nokeepalive/, right => qr/^none$/);
defect('D18', 'SCRIPT_FILENAME is a URL for servers other than php-fpm',
    (map { my $httpd = $of{$_}; ($_ => sub { http($httpd->url('/fake/x.php?do=params'))->{body} =~ /^(SCRIPT_FILENAME=.*)$/m ? $1 : 'none' }) } qw(ours peer)),
    wrong => qr{^SCRIPT_FILENAME=proxy:fcgi://}, right => qr{^SCRIPT_FILENAME=\Q$root\E/fake/x\.php$});

my %htaccess = (
    peer => "<FilesMatch \"\\.php\$\">\nSetHandler \"proxy:unix:" . $fpm->listen_address('other') . "|fcgi://x/\"\n</FilesMatch>\n",
    ours => "FpmPool other\n",
);
defect('D19', 'a tenant\'s .htaccess runs his script in another pool, as its user',
    (map { my ($side, $httpd) = ($_, $of{$_}); ($_ => sub {
        write_file("$root/who/.htaccess", $htaccess{$side});
        my $text = show(http($httpd->url('/who/a.php')));
        unlink "$root/who/.htaccess";
        return $text;
    }) } qw(ours peer)),
    wrong => qr/^200 .*ran in other$/, right => qr/^500 /);

defect('D24', 'SetEnv PHP_ADMIN_VALUE of a tenant is obeyed, and stays for the next site',
    (map { my $httpd = $of{$_}; ($_ => sub { join ', then ', map { http($httpd->url($_))->{body} } qw(/set/a.php /plain.php) }) } qw(ours peer)),
    wrong => qr/^77M, then 77M locked$/, right => qr/^128M, then 128M free$/);

done_testing();
