# Debian's wordpress on a MariaDB of this test, used as a browser would: installed through its form, log
# in, settings and permalinks, images uploaded with and without a length, a post published, read under
# its pretty permalink, commented, found. Through every front of FPMPool::Application.
#
# Nothing leaves the machine: wp-config's constants WP_HTTP_BLOCK_EXTERNAL and DISABLE_WP_CRON see to
# it, and mail goes to a file. FPMPOOL_TEST_DAEMON=/usr/sbin/php-fpm8.2 runs it on Debian's php-fpm.
# long: 30 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Application;
use FPMPool::Browser;
use FPMPool::Test;
use JSON::PP ();

require_program('/usr/sbin/apache2', 'apache2-bin');
-e '/usr/share/php8.2-mysql/mysql/mysqli.ini' || plan(skip_all => 'needs mysqli (Debian package php8.2-mysql)');

my $packages = packages_folder('wordpress');
my @front    = fronts();
my $secret   = 'data & base';
my $mariadb  = start_mariadb($secret, map { "wordpress$_" } 1 .. @front);
my ($admin, $password) = ('editor', 'Adm1n secret & "quoted"');
my $image = png_image(640, 480);

for my $number (1 .. @front) {
    my $front = $front[ $number - 1 ];
    subtest $front->{name} => sub { visit($front, "wordpress$number") };
}
done_testing();

# Unpacks WordPress into a folder of this test, with Debian's wp-config.php and a file for this host.
# Returns that folder; usr/share/wordpress below it is the document root.
sub install_wordpress {
    my ($name) = @_;
    my $place = site($name);
    unpack_packages($packages, $place, qw(wordpress wordpress-theme-twentytwentythree libjs-cropper libjs-underscore php-getid3));
    move_paths($place, '(?:usr/share/wordpress|etc/wordpress|var/lib/wordpress)\b', 'usr/share/wordpress');
    write_file("$place/etc/wordpress/config-127.0.0.1.php", <<"PHP");
<?php
define('DB_NAME', '$name');
define('DB_USER', '$name');
define('DB_PASSWORD', '$secret');
define('DB_HOST', 'localhost:$mariadb->{socket}');
define('WP_CONTENT_DIR', '$place/usr/share/wordpress/wp-content');
// no request leaves the machine, none is made beside those of the test
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
define('DISALLOW_FILE_MODS', true);
// Debian's installation form reads these two and defines neither
\$upload_path = \$upload_url_path = '';
PHP
    # The settings page would ask for languages and warn that nobody answers.
    write_file("$place/usr/share/wordpress/wp-content/mu-plugins/languages.php", "<?php add_filter('translations_api', fn() => ['translations' => []]);\n");
    write_file("$place/sendmail", "#!/bin/sh\nexec cat >>$place/mail/sent\n", 0755);
    my @own = ("$place/usr/share/wordpress/wp-content/uploads", "$place/mail");
    mkdir $_, 0755 or die "$_: $!" for @own;
    system('chown', '-R', pool_user() . ':', @own, "$place/etc/wordpress") == 0 or die 'chown' if is_root();
    age_files($place);
    return $place;
}

sub visit {
    my ($front, $name) = @_;
    my $place   = install_wordpress($name);
    my $docroot = "$place/usr/share/wordpress";
    my $daemon  = start_daemon(conf => {
        blog => {
            'pm.max_children' => 4, 'php_admin_value[memory_limit]' => '256M', 'php_value[upload_max_filesize]' => '64M', 'php_value[post_max_size]' => '64M',
            'php_admin_value[open_basedir]' => "$place:/tmp", 'php_admin_value[sendmail_path]' => "$place/sendmail", 'php_admin_flag[log_errors]' => 'on',
        },
    });
    my $server = start_front($front, docroot => $docroot, daemon => $daemon, pool => 'blog',
        nginx => "        location / {\n            try_files \$uri \$uri/ /index.php?\$args;\n        }\n");
    my $writer  = browser($front, $server);
    my $visitor = browser($front, $server);

    install($writer);
    log_in($writer);
    settings($writer);
    permalinks($writer, $front, $docroot);
    my @media = map { upload($writer, $_) } 0, 1;
    my $post = publish($writer, $media[1]);
    read_post($visitor, $post, $media[1]);
    comment($writer, $visitor, $post);
    find($visitor);
    log_out($writer);

    my $mail = read_file("$place/mail/sent");
    like($mail, qr/^Subject: .*New WordPress Site/m, 'mail: the new site');
    like($mail, qr/^A new comment on the post "A post with an image" is waiting/m, '... and the comment');
    if ($server->{access_log}) {
        my @bad = grep { / (?:5\d\d|000) \d+ \d+$/ } split /\n/, read_file($server->{access_log});
        is(join("\n", @bad), '', 'no server error');
    }
    $server->stop;
    $daemon->stop;
    return;
}

sub install {
    my ($browser) = @_;
    my $answer = $browser->get('/');
    is($browser->location, '/wp-admin/install.php', 'the start page leads to the installation');
    shows($answer, qr{id="setup".*</html>\s*\z}s, '... which is whole');
    my @asset = $browser->assets;
    cmp_ok(scalar @asset, '>=', 5, 'style sheets and scripts: ' . @asset);
    is(join(' ', map { $_->[0] } grep { $_->[1]{status} != 200 || !length $_->[1]{body} } @asset), '', '... all there');
    $answer = $browser->submit($browser->form(qr/id="setup"/), {
        weblog_title => 'Test blog & <more>', user_name => $admin, admin_password => $password, admin_password2 => $password,
        admin_email  => 'editor@example.org', Submit => 'Install WordPress',
    });
    is($answer->{status}, 200, 'the form is taken');
    shows($answer, qr{<h1>Success!</h1>}, '... and WordPress is installed');
    return;
}

sub log_in {
    my ($browser) = @_;
    $browser->get('/wp-login.php');
    my $answer = $browser->submit($browser->form(qr/loginform/), { log => $admin, pwd => 'wrong' });
    shows($answer, qr/The password you entered/, 'a wrong password is refused');
    $answer = $browser->submit($browser->form(qr/loginform/), { log => $admin, pwd => $password });
    is($answer->{redirects}, 1, 'the right one leads on');
    is($browser->location, '/wp-admin/', '... to the dashboard');
    shows($answer, qr{<h1>Dashboard</h1>.*</html>\s*\z}s, '... which is whole');
    return;
}

sub settings {
    my ($browser) = @_;
    $browser->get('/wp-admin/options-general.php');
    my $change = { blogdescription => "Words & \"signs\" äöü €", timezone_string => 'Europe/Berlin', submit => 'Save Changes' };
    my $answer = $browser->submit($browser->form(qr{action="options\.php"}), $change);
    shows($answer, qr/Settings saved\./, 'general settings are saved');
    my %field = @{ $browser->form(qr{action="options\.php"})->{fields} };
    is($field{$_}, $change->{$_}, "... $_") for qw(blogdescription timezone_string);
    $browser->get('/wp-admin/options-discussion.php');
    my $form = $browser->form(qr{action="options\.php"});
    my @pair;
    while (my ($name, $value) = splice @{ $form->{fields} }, 0, 2) { push @pair, $name, $value unless $name eq 'show_avatars' }
    shows($browser->submit({ %$form, fields => \@pair }, { submit => 'Save Changes' }), qr/Settings saved\./, 'pictures of another site are switched off');
    return;
}

sub permalinks {
    my ($browser, $front, $docroot) = @_;
    my $structure = '/%year%/%postname%/';
    $browser->get('/wp-admin/options-permalink.php');
    my $answer = $browser->submit($browser->form(qr{action="options-permalink\.php"}),
        { selection => 'custom', permalink_structure => $structure, submit => 'Save Changes' });
    shows($answer, qr/Permalink structure updated/, 'permalinks are set');
    my $rules = -e "$docroot/.htaccess" ? read_file("$docroot/.htaccess") : '';
    if ($front->{route} eq 'nginx') { unlike($rules, qr/^RewriteRule/m, 'nginx has its own rules') }
    else                            { like($rules, qr{^RewriteRule \. /index\.php \[L\]$}m, 'WordPress wrote httpd\'s rules') }
    return;
}

# Uploads the image by the form without scripts; returns what REST knows of it. no_length: as a
# client does that does not know the size yet.
sub upload {
    my ($browser, $no_length) = @_;
    my $file = $no_length ? 'second.png' : 'first.png';
    my $how  = $no_length ? 'without a length' : 'with a length';
    $browser->get('/wp-admin/media-new.php?browser-uploader');
    my $answer = $browser->submit($browser->form(qr/file-form/), { 'html-upload' => 'Upload' },
        { 'async-upload' => { name => $file, type => 'image/png', content => $image } }, no_length => $no_length);
    is($answer->{status}, 200, "an image is uploaded $how");
    like($browser->location, qr{\A/wp-admin/upload\.php}, '... into the library');
    my $list = rest($browser, GET => '/wp-json/wp/v2/media?search=' . ($no_length ? 'second' : 'first'), undef, 200);
    is(ref $list eq 'ARRAY' ? scalar @$list : $list, 1, '... which has it once') or die "no image to go on with\n";
    my $media = $list->[0];
    my $whole = $browser->fetch(GET => $browser->absolute($media->{source_url}));
    ok($whole->{status} == 200 && $whole->{body} eq $image, '... byte for byte');
    is($whole->{headers}{'content-type'}, 'image/png', '... as PNG');
    return $media;
}

# One call of WordPress's REST interface, in JSON, as the editor in the browser makes it.
sub rest {
    my ($browser, $method, $path, $data, $status) = @_;
    my $nonce = $browser->fetch(GET => '/wp-admin/admin-ajax.php?action=rest-nonce')->{body};
    my @body  = $data ? (body => JSON::PP->new->utf8->encode($data)) : ();
    my $answer = $browser->fetch($method, $path, @body, headers => [ 'X-WP-Nonce' => $nonce, @body ? ('Content-Type' => 'application/json') : () ]);
    is($answer->{status}, $status, "REST: $method " . ($path =~ s/\?.*//r)) or diag(substr $answer->{body}, 0, 300);
    return eval { JSON::PP->new->utf8->decode($answer->{body}) };
}

sub publish {
    my ($browser, $media) = @_;
    shows($browser->get('/wp-admin/post-new.php'), qr{id="editor".*</html>\s*\z}s, 'the editor opens');
    my $text = qq{<!-- wp:paragraph -->\n<p>Some words: \x{e4}\x{f6}\x{fc} \x{20ac} &amp; marzipan.</p>\n<!-- /wp:paragraph -->\n}
        . qq{<!-- wp:image {"id":$media->{id},"sizeSlug":"full"} -->\n<figure class="wp-block-image size-full"><img src="$media->{source_url}" alt="noise" class="wp-image-$media->{id}"/></figure>\n<!-- /wp:image -->\n}
        . join '', map { "<!-- wp:paragraph -->\n<p>Line $_ of a longer post.</p>\n<!-- /wp:paragraph -->\n" } 1 .. 500;
    my $post = rest($browser, POST => '/wp-json/wp/v2/posts', { title => 'A post with an image', content => $text, status => 'publish' }, 201);
    like($post->{link}, qr{\Ahttp://127\.0\.0\.1:\d+/\d{4}/a-post-with-an-image/\z}, 'the post is published under a pretty permalink');
    is($post->{content}{raw}, $text, '... as it was written');
    return $post;
}

sub read_post {
    my ($browser, $post, $media) = @_;
    shows($browser->get('/'), qr{Test blog &amp; .*A post with an image}s, 'the start page has it');
    my @asset = $browser->assets;
    is(join(' ', map { $_->[0] } grep { $_->[1]{status} != 200 || !length $_->[1]{body} } @asset), '', '... and all its ' . @asset . ' assets');
    my $answer = $browser->get($post->{link});
    is($answer->{status}, 200, 'the permalink opens');
    is($answer->{redirects}, 0, '... without a redirect');
    ok($answer->{complete}, '... whole');
    shows($answer, qr{Some words: äöü € &amp; marzipan.*Line 500 of a longer post.*</html>\s*\z}s, '... to the last line');
    my ($shown) = grep { $_->[0] eq $media->{source_url} } $browser->assets;
    ok($shown && $shown->[1]{body} eq $image, '... with its image');
    my $small = $media->{media_details}{sizes}{thumbnail}{source_url};
    my $scaled = $browser->fetch(GET => $browser->absolute($small));
    is($scaled->{status}, 200, 'PHP made a thumbnail');
    like($scaled->{body}, qr/\A\x89PNG/, '... a PNG');
    cmp_ok(length $scaled->{body}, '<', length($image) / 4, '... that is smaller');
    $answer = $browser->get('/2001/no-such-post/');
    is($answer->{status}, 404, 'what is no post is WordPress\'s 404');
    shows($answer, qr/could not be found|isn.t available/i, '... with its page');
    return;
}

sub comment {
    my ($writer, $visitor, $post) = @_;
    $visitor->get($post->{link});
    my $answer = $visitor->submit($visitor->form(qr/commentform/), { comment => "Nice <b>noise</b> & all that", author => 'A. Reader', email => 'reader@example.org', url => '', submit => 'Post Comment' });
    is($answer->{redirects}, 1, 'a comment is taken');
    shows($answer, qr/awaiting moderation/, '... and waits');
    my $list = $writer->get('/wp-admin/edit-comments.php?comment_status=moderated');
    my ($link) = map { FPMPool::Browser::decode_entities($_) } $list->{body} =~ /href=["'](comment\.php\?[^"']*action=approvecomment[^"']*)/;
    ok($link, '... to be approved') or return;
    $writer->get($link);
    my $other = FPMPool::Browser->new(base => "http://127.0.0.1:$visitor->{port}");
    shows($other->get($post->{link}), qr{A\. Reader.*Nice <b>noise</b> &amp; all that}s, 'then everybody sees it');
    return;
}

sub find {
    my ($browser) = @_;
    shows($browser->get('/?s=marzipan'), qr/A post with an image/, 'search finds the post');
    my $answer = $browser->get('/?s=nothingofthekind');
    ok($answer->{status} == 200 && $answer->{body} !~ /A post with an image/, '... and not by other words');
    return;
}

sub log_out {
    my ($browser) = @_;
    my $page = $browser->get('/wp-admin/profile.php');
    my ($link) = map { FPMPool::Browser::decode_entities($_) } $page->{body} =~ m{href="([^"]*wp-login\.php\?action=logout[^"]*)"};
    shows($browser->get($link), qr/You are now logged out/, 'logged out');
    $browser->get('/wp-admin/');
    like($browser->location, qr{\A/wp-login\.php\?}, '... and the dashboard asks again');
    return;
}
