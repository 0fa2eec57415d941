# The page cache of README.md (mod_cache before mod_fpmpool) beside nginx's fastcgi_cache over the same pages in the same run: what
# is served from memory, what when the pool fails, who runs the script when a page is stale and everybody wants it, who gets past
# the cache. How often a script ran is counted.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;
use Time::HiRes ();

require_program('/usr/sbin/nginx', 'nginx-light');

my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $count = "file_put_contents('$marks/' . \$_GET['k'], 'x', FILE_APPEND);";
my $root = site('www',
    'page.php'   => "<?php $count header('Cache-Control: max-age=' . (\$_GET['age'] ?? 60)); echo 'page ', filesize('$marks/' . \$_GET['k']);",
    'plain.php'  => "<?php $count echo 'plain';",
    'private.php' => "<?php $count session_cache_limiter('nocache'); session_id('abc'); ini_set('session.save_path', '$marks'); session_start(); echo 'private';",
    'cookie.php' => "<?php $count header('Cache-Control: max-age=60'); setcookie('a', 'b'); echo 'cookie';",
    'fails.php'  => "<?php $count clearstatcache(); if (file_exists('$marks/fail')) { http_response_code(500); echo 'broken'; exit; } header('Cache-Control: max-age=1'); echo 'good';",
    'slow.php'   => "<?php $count header('Cache-Control: max-age=1'); if (filesize('$marks/' . \$_GET['k']) > 1) { touch('$marks/refreshing'); while (!file_exists('$marks/go')) usleep(5000); } echo 'slow ', filesize('$marks/' . \$_GET['k']);",
);

# The part of mod_fpmpool/README.md that says it, with this test's directories.
my ($recipe) = read_file(repository() . '/mod_fpmpool/README.md') =~ /## A cache for pages\n.*?```apache\n(.*?)```/s;
ok(defined $recipe, 'the recipe is in the README') or BAIL_OUT('no recipe');
my $cache = test_dir() . '/cache';
for my $dir ($cache, "$cache/httpd", "$cache/lock", "$cache/nginx") { mkdir $dir; chmod 0777, $dir }
$recipe =~ s{/var/cache/apache2/fpmpool}{$cache/httpd};
$recipe =~ s{/run/apache2/cache-lock}{$cache/lock};
$recipe =~ s{^LoadModule.*\n}{}mg;
allow_log(qr/FPMP0073: /, qr/AH00(?:717|750|769|788): /, qr/connect\(\) to unix:.* failed/, qr/upstream/);

my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 6 } });
my $httpd  = start_httpd(docroot => $root, modules => [qw(cache cache_disk)], conf => php_routes('fpmpool', $daemon, 'www') . $recipe);
my $nginx  = start_nginx(docroot => $root,
    http => "fastcgi_cache_path $cache/nginx keys_zone=pages:1m;\n",
    conf => <<"EOF_NGINX");
location ~ \\.php\$ {
    include /etc/nginx/fastcgi_params;
    fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
    fastcgi_pass unix:@{[ $daemon->listen_address('www') ]};
    fastcgi_cache pages;
    fastcgi_cache_key \$request_method\$host\$request_uri;
    fastcgi_cache_use_stale error timeout http_500 http_503 updating;
    fastcgi_cache_lock on;
    fastcgi_cache_bypass \$cookie_session;
    fastcgi_no_cache \$cookie_session;
}
EOF_NGINX

sub runs { my ($key) = @_; return -e "$marks/$key" ? -s "$marks/$key" : 0 }

for my $side ([ nginx => $nginx ], [ httpd => $httpd ]) {
    my ($name, $server) = @$side;
    my $keys = 0;
    my $new  = sub { return "$name-" . ++$keys };
    my $get  = sub { my ($path, %option) = @_; return http($server->url($path), %option) };
    my $bodies = sub { my ($path, $times, %option) = @_; return join ',', map { my $a = $get->($path, %option); "$a->{status} $a->{body}" } 1 .. $times };
    subtest $name => sub {
        my $key = $new->();
        is($bodies->("/page.php?k=$key", 5), join(',', ('200 page 1') x 5), 'a page that says how long it is good');
        is(runs($key), 1, '... is made once');
        is($get->("/page.php?k=$key", headers => [ Cookie => 'session=1' ])->{body}, 'page 2', 'who has a session gets past the cache');
        is($get->("/page.php?k=$key", headers => [ Cookie => 'other=1' ])->{body}, 'page 1', '... and leaves nothing in it; another cookie does not matter');
        is($get->("/page.php?k=$key", method => 'POST', body => 'a=1')->{body}, 'page 3', 'a POST too');
        is($get->("/page.php?k=$key")->{body}, $name eq 'nginx' ? 'page 1' : 'page 4', $name eq 'nginx' ? '... and the page is still there' : '... after which the page is made anew, as RFC 9111 says');
        is($get->("/page.php?k=$key", method => 'HEAD')->{status}, 200, 'HEAD');
        is($bodies->('/page.php?k=' . ($key = $new->()), 1) . runs($key), '200 page 11', 'each query string is a page of its own');
        for my $path (qw(plain private cookie)) {
            $key = $new->();
            $bodies->("/$path.php?k=$key", 3);
            is(runs($key), 3, { plain => 'a page that says nothing is not kept', private => 'nor one with a session', cookie => 'nor one that sets a cookie' }->{$path});
        }

        $key = $new->();
        unlink "$marks/fail";
        is($bodies->("/fails.php?k=$key", 2), '200 good,200 good', 'a page for a second');
        write_file("$marks/fail", '');
        my $before = runs($key);
        # stale after a second, as both of them count
        wait_for { $get->("/fails.php?k=$key")->{body} eq 'good' && runs($key) > $before } 15, 'that it is stale and the script is asked';
        my $answer = $get->("/fails.php?k=$key");
        is("$answer->{status} $answer->{body}", '200 good', 'when the script fails the stale page is served');
        is($get->('/fails.php?k=' . $new->())->{status}, 500, '... a page that is not there is the error');
        unlink "$marks/fail";

        $key = $new->();
        unlink "$marks/go", "$marks/refreshing";
        is($get->("/slow.php?k=$key")->{body}, 'slow 1', 'a page that takes long to make anew');
        my ($first, @others);
        wait_for {
            # the one who finds it stale is the one who waits
            $first = http_connect(port => $server->port, timeout => 30);
            $first->send_request(GET => "/slow.php?k=$key", headers => [ Connection => 'close' ]);
            my $until = Time::HiRes::time() + 0.4;
            Time::HiRes::sleep(0.02) until -e "$marks/refreshing" || Time::HiRes::time() > $until;
            -e "$marks/refreshing";
        } 15, 'that somebody makes it anew';
        is($bodies->("/slow.php?k=$key", 4), join(',', ('200 slow 1') x 4), 'meanwhile the others get what was there');
        is(runs($key), 2, '... and the script runs once');
        write_file("$marks/go", '');
        is($first->read_answer->{body}, 'slow 2', 'who waits gets the new one');
        return;
    };
}

subtest 'the pool is gone' => sub {
    my %key = map { $_ => "gone-$_" } qw(nginx httpd);
    my %of  = (nginx => $nginx, httpd => $httpd);
    for my $name (sort keys %of) { is(http($of{$name}->url("/page.php?k=$key{$name}&age=1"))->{body}, 'page 1', "$name: a page is there") }
    $daemon->stop;
    for my $name (sort keys %of) {
        my $new = "$of{$name}{name}";
        wait_for { http($of{$name}->url("/page.php?k=other-$name"))->{status} >= 502 } 10, 'the end of the pool';
        my $until = Time::HiRes::time() + 2.5;
        wait_for { Time::HiRes::time() > $until } 10, 'the page to be stale';
        my $answer = http($of{$name}->url("/page.php?k=$key{$name}&age=1"));
        is("$answer->{status} $answer->{body}", '200 page 1', "$name: stale pages are served");
    }
};
done_testing();
