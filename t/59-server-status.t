# The figures of all pools on mod_status's pages: they add up over children, forget what a killed child had in flight, and
# survive graceful restarts. And mod_info: every directive has a help text and is listed.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $gate = test_dir() . '/gates';
mkdir $gate;
chmod 0777, $gate;
my $root = site('www',
    'hello.php' => '<?php echo "hello world\n";',
    'wait.php'  => "<?php touch('$gate/' . \$_GET['n']); while (!file_exists('$gate/open')) usleep(5000); echo 'x';",
);
my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 4 }, 'a-b.c' => {} });
allow_log(qr/FPMP00(?:63|73): /, qr/AH00052: child pid \d+ exit signal Killed/);

my $conf = php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF";
<FpmPoolDefine a-b.c>
    FpmPoolServer unix:@{[ $daemon->listen_address('a-b.c') ]}
</FpmPoolDefine>
Alias /other $root
<Location "/other">
    FpmPool a-b.c
</Location>
Alias /gone $root
<Location "/gone">
    FpmPool gone
</Location>
<FpmPoolDefine two>
    FpmPoolServer unix:$gate/nobody.sock
    FpmPoolServer unix:@{[ $daemon->listen_address('a-b.c') ]}
    FpmPoolBalance first
</FpmPoolDefine>
Alias /two $root
<Location "/two">
    FpmPool two
</Location>
Alias /never $root
<Location "/never">
    FpmPool never
</Location>
Alias /short $root
<Location "/short">
    FpmPoolTimeout first=200ms
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
<Location "/server-info">
    SetHandler server-info
</Location>
EOF_CONF

sub figures {
    my ($httpd) = @_;
    my $body = http($httpd->url('/server-status?auto'))->{body};
    return { $body =~ /^FpmPool_(\S+): (.*)$/mg };
}

for my $mpm (qw(event worker prefork)) {
    subtest $mpm => sub {
        unlink glob "$gate/*";
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $conf, modules => [qw(status info)]);
        is_deeply(figures($httpd), {}, 'a pool that nobody has asked is not listed');
        http($httpd->url('/hello.php')) for 1 .. 20;
        is(http($httpd->url('/other/hello.php'))->{status}, 200, 'another pool');
        is(http($httpd->url('/gone/hello.php'))->{status}, 503, 'one that is not there') for 1 .. 3;
        is(http($httpd->url('/two/hello.php'))->{status}, 200, 'one of two servers, the first of which is not there');
        is(http($httpd->url('/short/wait.php?n=short'))->{status}, 504, 'one that is too slow');
        my $now = wait_for { my $f = figures($httpd); ($f->{www_Requests} // 0) == 21 ? $f : undef } 10, 'the last request';
        is("$now->{www_Ok} $now->{www_Timeout} $now->{www_InFlight}", '20 1 0', 'requests of all children, by their state');
        is($now->{www_Server}, 'unix:' . $daemon->listen_address('www'), 'the server');
        cmp_ok($now->{www_Bytes}, '>=', 20 * 12, 'bytes of bodies');
        cmp_ok($now->{www_Microseconds}, '>=', 200_000, 'time');
        is($now->{'a-b.c_Ok'}, 1, 'each pool for itself');
        is("$now->{gone_Requests} $now->{gone_Down}", '3 3', 'failures');
        is("$now->{www_Up} $now->{gone_Up}", '1 0', 'which counts as down');
        is("@{$now}{qw(two/1_Requests two/1_Down two/2_Ok)}", '1 1 1', 'a pool of two servers: each one\'s attempts');
        ok(!exists $now->{never_Requests}, 'not one that was never asked');
        my $page = http($httpd->url('/server-status'))->{body};
        like($page, qr{<h2>FpmPool</h2>}, 'the page for people');
        like($page, qr{<tr><td>gone</td><td>unix:[^<]+gone\.sock \(down\)</td><td>0</td><td>3</td><td>\d+</td><td>[\d.]+</td><td>down 3</td></tr>}, '... a row for each server');
        like(http($httpd->url('/server-status?notable'))->{body}, qr{^gone \| unix:\S+ \(down\) \| 0 \| 3 \| \d+ \| [\d.]+ \| down 3$}m, '... without tables');

        my @waiting = map { my $http = http_connect(port => $httpd->port, timeout => 20); $http->send_request(GET => "/wait.php?n=w$_"); $http } 1 .. 3;
        wait_for { 3 == grep { -e "$gate/w$_" } 1 .. 3 } 10, 'three requests';
        is(figures($httpd)->{www_InFlight}, 3, 'in flight');
        if ($mpm eq 'prefork') {
            kill KILL => children($httpd->pid);
            wait_for { (eval { figures($httpd)->{www_InFlight} } // 'none') eq '0' } 20, 'the children are forgotten';
            pass('killed children have nothing in flight');
            write_file("$gate/open", '');
        } else {
            my $from = $httpd->log_length;
            $httpd->signal('USR1');
            $httpd->wait_log(qr/configured -- resuming/, 20, $from);
            my $after = wait_for { eval { figures($httpd) } } 20, 'the new generation';
            is("$after->{www_InFlight} $after->{www_Requests} $after->{gone_Down}", '3 21 3', 'a graceful restart keeps the figures, and what still runs');
            write_file("$gate/open", '');
            is($_->read_answer->{body}, 'x', 'answered by the old generation') for @waiting;
            wait_for { my $f = figures($httpd); $f->{www_InFlight} == 0 && $f->{www_Ok} == 23 } 20, 'its figures';
            pass('... which counts on in the same figures');
        }
        if ($mpm eq 'event') {
            my $info = http($httpd->url('/server-info?mod_fpmpool.c'))->{body};
            my %help = $info =~ m{<dt><tt>(?:&lt;)?(\w+)(?:&gt;)?\s*-\s*<i>(.*?)</i></tt></dt>}g;
            %help = $info =~ m{<tt>(?:&lt;)?(\w+)[^<]*-\s*<i>([^<]*)</i>}g unless %help;
            my $source = join '', map { read_file($_) } glob repository() . '/mod_fpmpool/fpmp_conf*.c';
            my @directive = $source =~ /AP_INIT_\w+\(\s*"<?(\w+)"/g;
            cmp_ok(scalar @directive, '>', 15, 'directives');
            is_deeply([ sort grep { ($help{$_} // '') !~ /\w{2}/ } @directive ], [], 'mod_info has a help text for each') or diag $info;
            like($info, qr{FpmPool</tt>|<tt>.*FpmPool\b.*www}, '... and the lines of this configuration');
        }
        $httpd->stop;
    };
}

subtest 'without mod_status' => sub {
    my $httpd = start_httpd(docroot => $root, conf => php_routes('fpmpool', $daemon, 'www'));
    is(http($httpd->url('/hello.php'))->{status}, 200, 'everything works');
    $httpd->stop;
};
done_testing();
