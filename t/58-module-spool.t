# The disk for bodies is full: a response goes out without it, at the client's speed; who uploads gets a 500 and httpd's log says what to do; all others are served, and
# so is he when there is room again. httpd has a small disk of its own for that.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $root = site('www', 'size.php' => '<?php echo strlen(file_get_contents("php://input"));', 'hello.php' => '<?php echo "hello";',
    'big.php' => '<?php for ($i = 0; $i < 64; $i++) echo str_repeat("b", 65536);');
my $disk = test_dir() . '/disk';
mkdir $disk;
plan(skip_all => 'needs root and unshare: a disk of its own') if !is_root() || system("unshare -m mount -t tmpfs none $disk 2>/dev/null") != 0;

my $httpd_file = $ENV{FPMPOOL_HTTPD} || '/usr/sbin/apache2';
my $wrapper = write_file('httpd-with-disk', <<"SH", 0755);
#!/bin/sh
if [ -z "\$INSIDE" ]; then INSIDE=1 exec unshare -m "\$0" "\$@"; fi
mount -t tmpfs -o size=256k,mode=1777 none $disk || exit 1
TMPDIR=$disk exec $httpd_file "\$@"
SH
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 2 } });

for my $mpm (qw(event prefork)) {
    subtest $mpm => sub {
        local $ENV{FPMPOOL_HTTPD} = $wrapper;
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => "FpmPoolBody buffer memory=4K\nFpmPoolBuffer 16K\n" . php_routes('fpmpool', $daemon, 'www'));
        my $size = sub { my ($length) = @_; return http($httpd->url('/size.php'), method => 'POST', body => 'x' x $length) };
        is($size->(100_000)->{body}, 100_000, 'a body that has room');
        my $answer = $size->(2_000_000);
        is($answer->{status}, 500, 'one that has none: 500');
        unlike($answer->{body}, qr/\Q$disk\E/, '... which tells visitors no path');
        my $said = qr/\[fpmpool:error\] .*\(28\)No space left on device: .*FPMP0021: pool www: the request's body could not be stored in a temporary file: free space there, or set TMPDIR for httpd/;
        ok(eval { $httpd->wait_log($said, 5) }, '... and the log what to do') or diag $httpd->log_text;
        allow_log($said);
        is(http($httpd->url('/hello.php'))->{body}, 'hello', 'requests without a body are served');
        is($size->(3000)->{body}, 3000, 'small bodies too');
        is($size->(200_000)->{body}, 200_000, 'the large one has left nothing behind: there is room again');
        my $page = http($httpd->url('/big.php'));
        is("$page->{status} $page->{complete} " . ($page->{body} eq 'b' x (64 * 65536) ? 'whole' : length $page->{body}), '200 1 whole', 'a response that has no room arrives whole');
        my $warned = qr/\[fpmpool:warn\] .*\(28\)No space left on device: .*FPMP0023: pool www: the response could not be stored in a temporary file/;
        ok(eval { $httpd->wait_log($warned, 5) }, '... the log says so') or diag $httpd->log_text;
        allow_log($warned);
        my $inside = '/proc/' . $httpd->pid . "/root$disk";
        is_deeply([ glob "$inside/*" ], [], 'no file is left');
    };
}
done_testing();
