# Debian's dokuwiki behind httpd and a pool, used as a browser would: start page with its assets,
# log in, edit and save, upload an image and fetch it back, old revisions, recent changes. Through
# every front of FPMPool::Application, with plain URLs and with page names as PATH_INFO.
#
# FPMPOOL_TEST_DAEMON=/usr/sbin/php-fpm8.2 runs it on Debian's php-fpm, which tests the test.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Application;
use FPMPool::Test;

require_program('/usr/sbin/apache2', 'apache2-bin');

my $packages = packages_folder('dokuwiki');
my @text = ("====== First ======\nHallo **Welt** äöü € & <b>\n\n  * one\n  * two\n", "====== Second ======\n"
        . join('', map { "Line $_ of a longer page with some words.\n\n" } 1 .. 2000) . "the end\n");
my %password = (admin => 'Adm1n secret & "quoted"', editor => 'edit0r');

my $count = 0;
for my $front (fronts()) {
    my $rewrite = $count++ % 2 ? 2 : 0;
    subtest "$front->{name}, userewrite $rewrite" => sub { visit($front, $rewrite, "wiki-$count") };
}
done_testing();

# Unpacks the packages into a folder of this test and moves every absolute path in them there.
# Returns the document root.
sub install_dokuwiki {
    my ($name, $rewrite) = @_;
    my $place = site($name);
    unpack_packages($packages, $place, qw(dokuwiki libjs-jquery libjs-jquery-cookie libjs-jquery-ui libphp-simplepie php-geshi php-phpseclib php-random-compat));
    move_paths($place, '(?:usr/share|etc/dokuwiki|var/lib/dokuwiki)\b', qw(usr/share/dokuwiki etc/dokuwiki var/lib/dokuwiki));
    write_file("$place/etc/dokuwiki/local.php", <<"PHP");
<?php
\$conf['title'] = 'Test wiki <>&';
\$conf['useacl'] = 1;
\$conf['superuser'] = '\@admin';
\$conf['userewrite'] = $rewrite;
\$conf['recent_days'] = 30;
\$conf['updatecheck'] = 0;
PHP
    write_file("$place/etc/dokuwiki/htaccess", "# nothing to forbid here\n");
    write_file("$place/var/lib/dokuwiki/acl/acl.auth.php", "# <?php exit()?>\n*\t\@ALL\t1\n*\t\@user\t8\n");
    write_file("$place/var/lib/dokuwiki/acl/users.auth.php", "# <?php exit()?>\n" . join '', map {
        my $group = $_ eq 'admin' ? 'admin,user' : 'user';
        "$_:" . crypt($password{$_}, '$6$' . "salt$_\$") . ":\u$_ Person:$_\@example.org:$group\n"
    } sort keys %password);
    system('chown', '-R', pool_user() . ':', "$place/var/lib/dokuwiki", "$place/etc/dokuwiki") == 0 or die if is_root();
    age_files($place);
    return "$place/usr/share/dokuwiki";
}

sub visit {
    my ($front, $rewrite, $name) = @_;
    my $docroot = install_dokuwiki($name, $rewrite);
    my $place   = $docroot =~ s{/usr/share/dokuwiki\z}{}r;
    my $daemon  = start_daemon(conf => {
        wiki => { 'pm.max_children' => 3, 'php_admin_value[memory_limit]' => '128M', 'php_value[session.save_path]' => "$place/var/lib/dokuwiki/data/tmp" },
    });
    my $server = start_front($front, docroot => $docroot, daemon => $daemon, pool => 'wiki',
        conf => "<Directory \"$place/var/lib/dokuwiki/lib\">\n    Require all granted\n</Directory>\n");
    my $browser = browser($front, $server);
    my $page = sub {
        my ($id, $query) = @_;
        return $rewrite == 2 ? "/doku.php/$id" . ($query ? "?$query" : '') : "/doku.php?id=$id" . ($query ? "&$query" : '');
    };

    start_page($browser);
    log_in($browser, $page);
    edit_pages($browser, $page);
    upload_image($browser, $page, $front);
    look_back($browser, $page);
    log_out($browser, $page);

    cmp_ok($browser->connections, '<', 10, 'the connection to the server was kept') unless $front->{http2};
    my @log = grep { -s } glob "$place/var/lib/dokuwiki/data/log/*/*.log";
    is(join("\n", map { "$_: " . read_file($_) } @log), '', 'no error in the log of dokuwiki itself');
    $server->stop;
    $daemon->stop;
    return;
}

sub start_page {
    my ($browser) = @_;
    my $answer = $browser->get('/');
    is($answer->{status}, 200, 'start page');
    is($answer->{redirects}, 1, 'index.php redirects to doku.php');
    like($browser->location, qr{\A/doku\.php}, 'to the right place');
    like($answer->{headers}{'content-type'}, qr{\Atext/html; charset=utf-8\z}i, 'content type');
    ok($answer->{complete}, 'complete');
    shows($answer, qr{Test wiki &lt;&gt;&amp;.*</html>\s*\z}s, 'whole page');
    my @asset = $browser->assets;
    cmp_ok(scalar @asset, '>=', 5, 'style sheets, scripts and images are there: ' . @asset);
    for (@asset) {
        my ($target, $asset) = @$_;
        is($asset->{status}, 200, "asset $target");
        ok($asset->{complete} && length $asset->{body}, '... with content');
    }
    my ($style) = grep { $_->[0] =~ /css\.php/ } @asset;
    like($style->[1]{headers}{'content-type'}, qr{\Atext/css}, 'style sheet type');
    my $again = $browser->fetch(GET => $browser->absolute($style->[0]));    # now out of its cache
    my $tag   = $again->{headers}{etag};
    $again = $browser->fetch(GET => $browser->absolute($style->[0]), headers => [ 'If-None-Match' => $tag ]);
    is($again->{status}, 304, 'style sheet is revalidated by its ETag');
    is(length $again->{body}, 0, '... without a body');
    return;
}

sub log_in {
    my ($browser, $page) = @_;
    $browser->get($page->('start', 'do=login'));
    my $form = $browser->form(qr/dw__login/);
    my $answer = $browser->submit($form, { u => 'editor', p => 'wrong' });
    shows($answer, qr/username or password was wrong/, 'a wrong password is refused');
    $form   = $browser->form(qr/dw__login/);
    $answer = $browser->submit($form, { u => 'admin', p => $password{admin} });
    is($answer->{status}, 200, 'logged in');
    shows($answer, qr/Logged in as:.*Admin Person/s, '... and the page says so');
    $answer = $browser->get($page->('start', 'do=admin'));
    shows($answer, qr/Administration/, 'the administration opens');
    return;
}

sub edit_pages {
    my ($browser, $page) = @_;
    for my $round (0 .. 1) {
        $browser->get($page->('test:page', 'do=edit'));
        my $form = $browser->form(qr/dw__editform/);
        sleep(1.1) if $round;    # a revision is named by its second
        my $answer = $browser->submit($form, { wikitext => $text[$round], summary => "round $round", 'do[save]' => 1 });
        is($answer->{status}, 200, "saved, round $round");
        is($answer->{redirects}, 1, '... by post, redirect, get');
        shows($answer, $round ? qr/Line 2000.*the end/s : qr{Hallo <strong>Welt</strong> äöü € &amp; &lt;b&gt;},
            '... and shown');
        for ($browser->assets) {
            is($_->[1]{status}, 200, "asset $_->[0]") if $_->[0] =~ /taskrunner/;
        }
    }
    $browser->get($page->('test:page', 'do=edit'));
    my %field = @{ $browser->form(qr/dw__editform/)->{fields} };
    is($field{wikitext} =~ s/\r\n/\n/gr, $text[1] , 'the editor has the text back');
    return;
}

sub upload_image {
    my ($browser, $page, $front) = @_;
    my $image = png_image(320, 240);
    $browser->get($page->('start', 'do=media&ns=test&tab_files=upload'));
    my $form = $browser->form(qr/dw__upload/);
    my $answer = $browser->submit($form, { mediaid => 'noise.png' },
        { upload => { name => 'noise.png', type => 'image/png', content => $image } });
    shows($answer, qr/Upload successful/, 'image uploaded (' . length($image) . ' bytes)');
    for my $round (1 .. 2) {
        $answer = $browser->fetch(GET => '/lib/exe/fetch.php?media=test:noise.png');
        is($answer->{status}, 200, "image fetched, round $round");
        is($answer->{headers}{'content-type'}, 'image/png', '... its type');
        ok($answer->{body} eq $image, '... byte for byte');
        is($answer->{headers}{'content-length'}, length $image, '... with its length') if $front->{route} eq 'fpmpool';
    }
    my $part = $browser->fetch(GET => '/lib/exe/fetch.php?media=test:noise.png', headers => [ Range => 'bytes=100-299' ]);
    is($part->{status}, 206, 'a range of it');
    ok($part->{body} eq substr($image, 100, 200), '... is right');

    $browser->get($page->('test:image', 'do=edit'));
    $browser->submit($browser->form(qr/dw__editform/), { wikitext => "{{test:noise.png?50}}\n", 'do[save]' => 1 });
    my ($small) = grep { $_->[0] =~ /noise/ } $browser->assets;
    ok($small, 'a page shows it small') or return;
    is($small->[1]{status}, 200, '... scaled by PHP');
    like($small->[1]{body}, qr/\A\x89PNG/, '... to a PNG');
    cmp_ok(length $small->[1]{body}, '<', length($image) / 4, '... that is smaller');
    return;
}

sub look_back {
    my ($browser, $page) = @_;
    my $answer = $browser->get($page->('test:page', 'do=revisions'));
    shows($answer, qr/round 1.*round 0/s, 'old revisions are listed, newest first');
    my ($revision) = $answer->{body} =~ /rev(?:=|%3D|\[\]?"[^>]*value=")(\d{9,})/;
    ok($revision, '... with a link') or return;
    $answer = $browser->get($page->('test:page', "rev=$revision"));
    shows($answer, qr{Hallo <strong>Welt</strong>}, 'the old revision shows the old text');
    $answer = $browser->get($page->('test:page', "do=diff&rev=$revision"));
    shows($answer, qr{diff-deletedline.*Hallo}s, 'the difference shows what went');
    $answer = $browser->get($page->('start', 'do=recent'));
    shows($answer, qr/test:image.*test:page/s, 'recent changes list both pages');
    $answer = $browser->get($page->('start', 'do=index'));
    shows($answer, qr/test/, 'the index opens');
    return;
}

sub log_out {
    my ($browser, $page) = @_;
    my $answer = $browser->get($page->('start'));
    my ($link) = map { FPMPool::Browser::decode_entities($_) } $answer->{body} =~ /href="([^"]*do=logout[^"]*)"/;
    $answer = $browser->get($link);
    unlike($answer, qr/Logged in as/, 'logged out');
    $answer = $browser->get($page->('test:page', 'do=edit'));
    unlike($answer, qr/name="do\[save\]"|wikitext" [^>]*(?<!readonly)>/, 'and cannot edit any more');
    return;
}
