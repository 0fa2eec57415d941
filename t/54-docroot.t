# FpmPoolServer docroot=/here:/there: a server on another machine, whose files lie elsewhere, is told paths of its own.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $show  = '<?php echo "v1 "; foreach (["SCRIPT_FILENAME", "DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT", "PATH_TRANSLATED", "SCRIPT_NAME", "PATH_INFO", "MINE"] as $n) echo $n, "=", $_SERVER[$n] ?? "none", "\n";';
my $here  = site('here', 'app/show.php' => '<?php echo "the local file";');
my $there = site('there', 'app/show.php' => $show, 'other/show.php' => $show, 'only/there.php' => $show, 'top.php' => $show);
my $alike = site('here-too', 'show.php' => $show);
symlink $here, test_dir() . '/current';
my $link   = test_dir() . '/current';
my $mirror = test_dir() . '/mirror';
File::Path::make_path($mirror . dirname($here));
symlink $there, "$mirror$here";
my $daemon = start_daemon(conf => { www => {} });
my $socket = $daemon->listen_address('www');

my %pool = (
    mapped => "docroot=$here:$there",
    slash  => "docroot=$here/:$there/",
    whole  => "docroot=/:$mirror",    # / is a prefix of all paths
    linked => "docroot=$link:$there",
    part   => "docroot=" . test_dir() . "/he:$there",
    fpm    => "docroot=$here:$there type=fpm",
);
my $conf = "<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n";
for my $name (sort keys %pool) {
    my $root = $name eq 'linked' ? $link : $here;
    $conf .= "<FpmPoolDefine $name>\n    FpmPoolServer unix:$socket $pool{$name}\n</FpmPoolDefine>\nAlias /$name $root/app\n<Location /$name>\n    FpmPool $name\n</Location>\n";
}
$conf .= "<Directory @{[ test_dir() ]}>\n    Require all granted\n</Directory>\nFpmPool mapped\nAlias /alike $alike\n<Location /app/>\n    FpmPoolSetEnvIf true MINE $here/app\n</Location>\n"
    . "<Location /remote>\n    FpmPoolCheckScript Off\n</Location>\nAlias /remote $here/app\n<Location /top.php>\n    SetHandler fpmpool\n    FpmPoolCheckScript Off\n</Location>\n"
    . "<Location /elsewhere>\n    FpmPoolSetEnvIf true SCRIPT_FILENAME $there/other/show.php\n</Location>\nAlias /elsewhere $here/app\n"
    . "<Location /resolved>\n    FpmPool linked\n    FpmPoolResolveRoot On\n</Location>\nAlias /resolved $link/app\n";
my $httpd = start_httpd(mpm => 'event', docroot => $here, conf => $conf);

sub seen {
    my ($path) = @_;
    my $answer = http($httpd->url($path));
    my %seen   = $answer->{body} =~ /^(?:v1 )?(\w+)=(.*)$/mg;
    return { %seen, status => $answer->{status}, body => $answer->{body} };
}

subtest 'all paths are those of the server' => sub {
    my $seen = seen('/app/show.php/a/b');
    is($seen->{SCRIPT_FILENAME}, "$there/app/show.php", 'SCRIPT_FILENAME');
    is($seen->{DOCUMENT_ROOT}, $there, 'DOCUMENT_ROOT');
    is($seen->{CONTEXT_DOCUMENT_ROOT}, $there, 'CONTEXT_DOCUMENT_ROOT');
    is($seen->{PATH_TRANSLATED}, "$there/a/b", 'PATH_TRANSLATED');
    is($seen->{SCRIPT_NAME}, '/app/show.php', 'SCRIPT_NAME is that of the URL');
    is($seen->{PATH_INFO}, '/a/b', 'PATH_INFO too');
    is($seen->{MINE}, "$here/app", 'other variables stay as they are');
    is(seen('/mapped/show.php')->{CONTEXT_DOCUMENT_ROOT}, "$there/app", 'the directory of an Alias');
    is(seen("/$_/show.php")->{SCRIPT_FILENAME}, "$there/app/show.php", "$_: $pool{$_}") for qw(slash linked fpm);
    is(seen('/whole/show.php')->{SCRIPT_FILENAME}, "$mirror$here/app/show.php", "whole: $pool{whole}");
};

subtest 'only whole names of directories count' => sub {
    like(seen('/part/show.php')->{body}, qr/the local file/, 'a prefix that ends inside of a name is none');
    is(seen('/alike/show.php')->{SCRIPT_FILENAME}, "$alike/show.php", 'nor is a longer name');
    is(seen('/elsewhere/show.php')->{SCRIPT_FILENAME}, "$there/other/show.php", 'what FpmPoolSetEnvIf says stays');
};

subtest 'files that are only there' => sub {
    is(seen('/app/missing.php')->{status}, 404, 'httpd looks for the file here');
    is(seen('/top.php')->{SCRIPT_FILENAME}, "$there/top.php", 'FpmPoolCheckScript Off: it does not');
    allow_log(qr/FPMP0040: .*Primary script unknown/);
    is(seen('/remote/missing.php')->{status}, 404, '... and the server answers for what it does not have');
    is(seen('/resolved/show.php')->{SCRIPT_FILENAME}, "$there/app/show.php", 'docroot= goes before FpmPoolResolveRoot: links of this machine are not those of the server');
};

subtest 'each server its own paths' => sub {
    my $second = site('second', 'app/show.php' => $show);
    my $front  = start_httpd(name => 'httpd-two', mpm => 'event', docroot => $here, conf => "<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\nFpmPool two\n<FpmPoolDefine two>\n"
        . "    FpmPoolServer unix:$here/nobody.sock docroot=$here:$there\n    FpmPoolServer unix:$socket docroot=$here:$second\n    FpmPoolBalance first\n</FpmPoolDefine>\n");
    allow_log(qr/FPMP0073: /);
    like(http($front->url('/app/show.php'))->{body}, qr{^v1 SCRIPT_FILENAME=\Q$second\E/app/show\.php$}m, 'a request that goes on gets the paths of the next one');
};

done_testing();
