# mod_fpmpool under valgrind: a mix of good and bad requests and answers, each memory error with a frame of
# the module is a failure. httpd runs with one child, under prefork and under event.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

require_program('valgrind', 'valgrind');

my $root = site('www', 'x.php' => '<?php', 'static.txt' => 'static', 'page.shtml' => '<!--#include virtual="/x.php?do=hello" -->');
my $run  = test_dir() . '/run';
mkdir $run;
my $peer = start_service(kind => 'peer', name => 'peer', argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/ours.sock" ]);
$peer->wait_log(qr/listening/);
allow_log(qr/AH00161: server reached MaxRequestWorkers/);    # one child, and clients that come while the last one leaves
allow_log(qr/FPMP00(?:11|20|30|31|32|40|58|6\d|73|77): /, qr/client denied|No such file/);

my $httpd  = $ENV{FPMPOOL_HTTPD} || '/usr/sbin/apache2';
my $report = test_dir() . '/valgrind';
mkdir $report;
chmod 0777, $report;
my $wrapper = write_file('httpd-under-valgrind', <<"EOF_SCRIPT", 0755);
#!/bin/sh
exec valgrind -q --vgdb=no --num-callers=30 --track-fds=no --log-file=$report/%p.log --child-silent-after-fork=no $httpd "\$\@"
EOF_SCRIPT

my %one = (
    prefork => "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nMaxRequestWorkers 1\n",
    event   => "StartServers 1\nServerLimit 1\nThreadsPerChild 4\nMinSpareThreads 1\nMaxSpareThreads 4\nMaxRequestWorkers 4\n",
);

sub conf {
    return <<"EOF_CONF";
FpmPoolSocketDir $run
FpmPool ours
FpmPoolServerTiming On
FpmPoolTimeout first=20s idle=20s
<FilesMatch "\\.php\$">
    SetHandler fpmpool
</FilesMatch>
<FpmPoolDefine fpm>
    FpmPoolServer unix:$run/ours.sock type=fpm
</FpmPoolDefine>
@{[ map { "Alias /$_ $root\n" } qw(fpm gone tiny buffer stream flush off kept sends override) ]}
<Location "/fpm">
    FpmPool fpm
</Location>
<Location "/gone">
    FpmPool gone
</Location>
<Location "/tiny">
    FpmPoolMaxParams 4K
    FpmPoolMaxHeader 1K
</Location>
<Location "/buffer">
    FpmPoolBody buffer memory=4K
</Location>
<Location "/stream">
    FpmPoolBody stream
</Location>
<Location "/flush">
    FpmPoolFlush on
</Location>
<Location "/kept">
    FpmPoolBuffer 4K
</Location>
<Location "/sends">
    FpmPoolSendfile $root
</Location>
<Location "/override">
    FpmPoolErrorOverride on
</Location>
<Location "/off">
    FpmPoolFlush off
</Location>
AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<Directory "$root">
    Options +Includes
</Directory>
EOF_CONF
}

# Returns how many requests were answered with what was expected.
sub run_requests {
    my ($server) = @_;
    my @answers = (
        (map { [ "/x.php?do=$_", 200 ] } qw(hello params long_line no_header pieces drips padded surplus bad_length local stderr stderr_nul long_body)),
        (map { [ "/x.php?do=$_", 502 ] } qw(nothing garbage bad_header control bad_status cut_header lost lost_header reset short large)),
        [ '/x.php?do=overloaded', 503 ], [ '/x.php?do=reason', 503 ], [ '/x.php?do=cant_mpx', 500 ], [ '/x.php?do=role', 500 ], [ '/x.php?do=away', 302 ],
        [ '/gone/x.php', 503 ], [ '/none.php', 404 ], [ '/tiny/x.php?do=long_line', 502 ], [ '/page.shtml', 200 ], [ '/x.php/path/info?do=hello', 200 ],
        (map { [ "/$_/x.php?do=pieces", 200 ] } qw(flush off kept)), (map { [ "/kept/x.php?do=$_", 200 ] } qw(steps long_body)), [ '/kept/x.php?do=short', 502 ],
        (map { [ "/x.php?do=$_", 200 ] } qw(hints many_hints)), [ '/x.php?do=hints_only', 502 ], (map { [ "/x.php?do=$_", 200 ] } qw(facts_in_pieces facts_long)), [ '/x.php?do=facts_died', 502 ], [ '/override/x.php?do=status&text=404+Gone', 404 ],
        (map { [ "/sends/x.php?do=send&f=$root/$_->[0]", $_->[1] ] } [ 'static.txt', 200 ], [ 'none', 404 ], [ '', 403 ], [ '../run', 403 ]), [ '/sends/x.php?do=send&f=/etc/passwd', 403 ], [ '/x.php?do=status&text=599', 599 ],
    );
    my $good = 0;
    my $ask = sub {
        my ($path, $status, @option) = @_;
        my $answer = http($server->url($path), @option);
        $good++ if $answer->{status} == $status;
        diag "$path: $answer->{status}, not $status" if $answer->{status} != $status;
    };
    $ask->(@$_) for @answers;
    $ask->('/x.php?do=hello', 200, method => 'HEAD') for 1, 2;
    $ask->('/tiny/x.php?do=hello', 431, headers => [ 'X-Large' => 'l' x 5000 ]);
    $ask->("/x.php?do=hello", 200, headers => [ map { ("X-Long-$_" => 'c' x 7000) } 1 .. 20 ]);
    for my $path (qw(/x.php /fpm/x.php /buffer/x.php /stream/x.php)) {
        for my $length (0, 1, 4095, 65535, 65536, 200_000) {
            my $body = 'b' x $length;
            $ask->("$path?do=body", 200, method => 'POST', body => $body);
            $ask->("$path?do=body", 200, method => 'POST', body => [ unpack '(a9999)*', $body ]);
        }
    }
    my $total = @answers + 4 + 4 * 6 * 2;
    my $http = http_connect(port => $server->port, timeout => 20);    # a client that dies in its body
    $http->send_request(POST => '/x.php?do=body', headers => [ 'Content-Length' => 5_000_000 ], no_body => 1);
    $http->send_raw('x' x 300_000);
    $http->close;
    my $go = test_dir() . '/go';                                      # a response that is cut
    unlink $go;
    $http = http_connect(port => $server->port, timeout => 20);
    $http->send_request(GET => "/x.php?do=lost_body&go=$go");
    $http->read_head;
    $http->read_some;
    write_file($go, '');
    $http->read_some;
    return ($good, $total);
}

for my $mpm (qw(prefork event)) {
    subtest $mpm => sub {
        local $ENV{FPMPOOL_HTTPD} = $wrapper;
        my $server = start_httpd(mpm => $mpm, mpm_conf => $one{$mpm}, docroot => $root, modules => ['include'], conf => conf(), log_level => 'warn fpmpool:debug');
        my ($good, $total) = run_requests($server);
        is($good, $total, "$total requests are answered");
        $server->stop;
        my $text = join '', map { read_file($_) } glob "$report/*.log";
        ok(scalar(glob "$report/*.log"), 'valgrind has written its report');
        my @errors = grep { /fpmp_|wire_|mod_fpmpool/ } split /^==\d+== \n/m, $text;
        is(scalar @errors, 0, 'no memory error in the module') or diag @errors;
        unlink glob "$report/*.log";
    };
}
done_testing();
