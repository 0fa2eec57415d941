# FpmPoolStderr: what PHP writes to its error stream, in httpd's error log: level, pool and worker, nothing lost.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root = site('www',
    'errors.php' => '<?php trigger_error("a warning", E_USER_WARNING); trigger_error("a notice", E_USER_NOTICE); error_log("said"); echo getmypid();',
    'long.php'   => '<?php error_log(str_repeat("abcdefghi ", 1500) . "the end"); echo "long";',
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
my $fpm    = start_php_fpm(conf => { www => { 'pm.max_children' => 1, 'php_admin_flag[log_errors]' => 'on' } });
my @levels = qw(emerg alert crit error warn notice info debug);
my $conf   = "<FpmPoolDefine fpm>\n    FpmPoolServer unix:" . $fpm->listen_address('www') . " type=fpm\n</FpmPoolDefine>\nFpmPoolStderr off\n";
$conf .= "Alias /$_/ $root/\n<Location \"/$_/\">\n    FpmPoolStderr $_\n</Location>\n" for 'auto', @levels;
$conf .= "Alias /fpm/ $root/\n<Location \"/fpm/\">\n    FpmPool fpm\n    FpmPoolStderr auto\n</Location>\nAlias /quiet/ $root/\n<Location \"/quiet/\">\n    FpmPoolStderr debug\n    LogLevel fpmpool:info\n</Location>\n";
allow_log(qr/FPMP0040: /, qr/PHP (?:Warning|Notice):|PHP message: /);
my $httpd = start_httpd(docroot => $root, conf => php_routes('fpmpool', $daemon, 'www') . $conf, log_level => 'warn fpmpool:debug');

# Body of the page, and httpd's lines of it: [LEVEL, TEXT].
sub lines_of {
    my ($path) = @_;
    my $from = $httpd->log_length;
    my $page = http($httpd->url($path));
    is($page->{status}, 200, "$path is served");
    http($httpd->url('/auto/errors.php')) if $path ne '/auto/errors.php'; # what was to come is there before its own lines
    my @line = map { [ /\[fpmpool:(\w+)\].*?FPMP0040: (.*)/ ] } grep { /FPMP0040/ } split /\n/, $httpd->log_text($from);
    splice @line, -3 if $path ne '/auto/errors.php';
    return ($page->{body}, @line);
}
sub levels { return join ' ', map { $_->[0] } @_ }

my ($worker, @line) = lines_of('/auto/errors.php');
is(levels(@line), 'warn notice notice', 'auto: PHP\'s own level');
like($line[0][1], qr/\Apool www, worker $worker: PHP Warning:  a warning in \Q$root\E/, 'with pool and worker');
like($line[2][1], qr/\Apool www, worker $worker: said(?:, referer.*)?\z/, 'what error_log() says');
for my $level (@levels) {
    (undef, @line) = lines_of("/$level/errors.php");
    is(levels(@line), "$level $level $level", "$level: all of it");
}
(undef, @line) = lines_of('/quiet/errors.php');
is(scalar @line, 0, 'debug where LogLevel is info: none');
(undef, @line) = lines_of('/errors.php');
is(scalar @line, 0, 'off: none');
(undef, @line) = lines_of('/fpm/errors.php');
is(levels(@line), 'warn notice notice', 'php-fpm: the same');
like($line[0][1], qr/\Apool fpm: PHP Warning:  a warning/, '... it does not say which worker');
(undef, @line) = lines_of('/info/long.php');
cmp_ok(scalar @line, '>', 1, 'a long message takes several lines');
is(join('', map { $_->[1] =~ s/\Apool www, worker \d+: //r } @line), 'abcdefghi ' x 1500 . 'the end', '... of which nothing is lost');
done_testing;
