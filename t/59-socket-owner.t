# FpmPoolServer user=: a request goes only to the socket of that owner, whatever lies at its path now.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat qw(start_fake);
use FPMPool::Test;

my $root = site('www', 'x.php' => '<?php echo "ours";');
my $run  = test_dir() . '/run';
mkdir $run;
chmod 0777, $run;
my $owner  = pool_user();
my $other  = is_root() ? 'nobody' : 'root';
my $daemon = start_daemon(conf => { www => { is_root() ? ('listen.owner' => $owner) : () } });
my $socket = $daemon->listen_address('www');
my $fake   = start_fake("$run/theirs.sock", 'hello');
my $theirs = is_root() ? chown(scalar getpwnam($other), -1, "$run/theirs.sock") : 1;
die 'chown' unless $theirs;
my $its = is_root() ? $owner : 'root'; # who does not own the fake's socket
my %server = (
    right => "unix:$socket user=$owner", number => "unix:$socket user=" . getpwnam($owner), wrong => "unix:$socket user=$other",
    moved => "unix:$run/moved.sock user=$owner reuse=off", second => "unix:$run/theirs.sock user=$its\n    FpmPoolServer unix:$socket user=$owner backup",
    missing => "unix:$run/missing.sock user=$owner", checked => "unix:$socket user=$other\n    FpmPoolServer unix:$run/missing.sock backup\n    FpmPoolCheck connect interval=100ms down=100ms fast=100ms",
);
my $conf = "FpmPool right\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n";
for my $name (sort keys %server) {
    $conf .= "<FpmPoolDefine $name>\n    FpmPoolServer $server{$name}\n</FpmPoolDefine>\nAlias /$name/ $root/\n<Location \"/$name/\">\n    FpmPool $name\n</Location>\n";
}
allow_log(qr/FPMP00(?:73|85|98): /);
my $httpd = start_httpd(docroot => $root, conf => $conf, log_level => 'warn fpmpool:info');
my $line  = sub { my $answer = http($httpd->url("/$_[0]/x.php")); return $answer->{status} == 200 ? "200 $answer->{body}" : $answer->{status} };

is($line->('right'), '200 ours', 'its owner');
is($line->('right'), '200 ours', '... on a kept connection');
is($line->('number'), '200 ours', '... as a number');
my $from = $httpd->log_length;
is($line->('wrong'), 503, 'another owner: 503');
like($httpd->log_text($from), qr/\[fpmpool:error\].*FPMP0098: pool wrong: the socket unix:\Q$socket\E does not belong to $other, as its user= demands; nothing was sent: find out who put it there/, '... says so, and what to do');
is($line->('second'), '200 ours', '... the next server gets the request');
is($line->('missing'), 503, 'no socket: 503');
$httpd->wait_log(qr/FPMP0073: pool missing: .*there is no such socket/, 10, $from);
$httpd->wait_log(qr/FPMP0085: pool checked: .* does not belong to its user=/, 10);
ok(1, 'a check sees it, too');

symlink $socket, "$run/moved.sock" or die $!;
is($line->('moved'), '200 ours', 'a link to its socket');
unlink "$run/moved.sock";
symlink "$run/theirs.sock", "$run/moved.sock" or die $!;
if (is_root()) { # else both are this user's
    is($line->('moved'), 503, 'a link to another one\'s');
    unlink "$run/moved.sock";
    rename "$run/theirs.sock", "$run/moved.sock" or die $!;
    is($line->('moved'), 503, 'another one\'s socket in its place');
    rename "$run/moved.sock", "$run/theirs.sock" or die $!;
}
unlink "$run/moved.sock";
done_testing;
