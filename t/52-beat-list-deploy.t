# A deploy that moves a symbolic link to the next release: mod_proxy_fcgi with php-fpm goes on with the old one, because PHP
# remembers where a path has led. What FpmPoolResolveRoot does, and where it keeps its hands off.

use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $app = test_dir() . '/app';
for my $release (1 .. 3) {
    site("app/releases/$release/public",
        'index.php'  => "<?php echo 'index $release, '; include __DIR__ . '/../part.php';",
        'server.php' => '<?php echo json_encode($_SERVER);',
        'same.php'   => '<?php echo basename(dirname(__DIR__));',
    );
    write_file("$app/releases/$release/part.php", "<?php echo 'part $release';");
}
# as rsync --link-dest and cp -l leave it: the same file in two releases
unlink "$app/releases/2/public/same.php";
link "$app/releases/1/public/same.php", "$app/releases/2/public/same.php" or die;
symlink "$app/releases/1/public/server.php", "$app/releases/1/public/link.php" or die;

sub deploy {
    my ($release) = @_;
    unlink "$app/next";
    symlink "releases/$release", "$app/next" or die;
    rename "$app/next", "$app/current" or die;
    return;
}
deploy(1);

my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
my $fpm    = start_php_fpm(conf => { www => { 'pm.max_children' => 1 } });
my ($ours, $peer) = start_pair("$app/current/public",
    both => "Alias /alias/ $app/current/public/\nAlias /off $app/current/public\n<Directory \"$app\">\n    Require all granted\n</Directory>\n",
    ours => php_routes('fpmpool', $daemon, 'www') . "<Location \"/off\">\n    FpmPoolResolveRoot off\n</Location>\n",
    peer => php_routes('proxy_fcgi', $fpm, 'www'),
);
my %of = (ours => $ours, peer => $peer);
my $get = sub { http($_[0]->url($_[1]))->{body} };

is($get->($_, '/index.php'), 'index 1, part 1', $_->name . ': the first release') for $ours, $peer;
$get->($ours, "/same.php");
deploy(2);
defect('D27', 'a deploy that moves a link is not seen',
    (map { my $httpd = $of{$_}; ($_ => sub { $get->($httpd, '/index.php') }) } qw(ours peer)),
    wrong => qr/index 1/, right => qr/^index 2, part 2$/);
is($get->($ours, '/same.php'), 2, 'nor is a script mistaken that both releases share');
is($get->($ours, '/alias/index.php'), 'index 2, part 2', 'an Alias that goes through the link');
deploy(3);
is($get->($ours, $_), 'index 3, part 3', "$_: the next one at once") for '/index.php', '/alias/index.php';
deploy(1);
is($get->($ours, '/index.php'), 'index 1, part 1', 'and back');

my $server = JSON::PP::decode_json($get->($ours, '/server.php/path'));
my $real   = "$app/releases/1/public";
is("$server->{DOCUMENT_ROOT} $server->{SCRIPT_FILENAME} $server->{PATH_TRANSLATED}", "$real $real/server.php $real/path", 'scripts see the paths of the release');
is($server->{SCRIPT_NAME}, '/server.php', '... under the same URL');
is(JSON::PP::decode_json($get->($ours, '/link.php'))->{SCRIPT_FILENAME}, "$real/link.php", 'links below the document root stay');
$server = JSON::PP::decode_json($get->($ours, '/off/server.php'));
is($server->{SCRIPT_FILENAME}, "$app/current/public/server.php", 'FpmPoolResolveRoot off: the path as it is');
done_testing();
