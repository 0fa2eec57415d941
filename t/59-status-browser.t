# The pages of fpmpool-status and fpmpool-manager in a real browser: they load through httpd without a complaint of the browser, are
# as wide as the window on a desktop and on a phone, every text can be read in light and in dark, and the manager's forms work from
# their own page and from no other site.

use strict;
use warnings;
use Compress::Zlib ();
use File::Basename qw(dirname);
use JSON::PP ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my ($browser) = grep { -x } map { ("$_/chromium-headless-shell", "$_/chromium") } split /:/, $ENV{PATH};
plan(skip_all => 'chromium-headless-shell is not installed (build/deps.sh test)') unless $browser;

my $root = site('www', 'x.php' => '<?php');
my $run  = test_dir() . '/run';
mkdir $run;
my $peer = start_service(kind => 'peer', name => 'peer', argv => [ dirname(__FILE__) . '/bin/scripted-peer', "$run/a.sock" ]);
$peer->wait_log(qr/listening/);
allow_log(qr/FPMP00(?:73|85): /, qr/FPMP013[12]: /);
my $many = join '', map { "<FpmPoolDefine site$_.example.org>\n    FpmPoolServer unix:$run/site$_.sock\n</FpmPoolDefine>\n" } 1 .. 1000;
my $conf = "FpmPoolSocketDir $run\nFpmPool shop\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n"
    . "<FpmPoolDefine shop>\n    FpmPoolServer unix:$run/a.sock name=local type=generic weight=4 max=40\n"
    . "    FpmPoolServer tcp://127.0.0.1:1 name=a-server-of-a-very-long-name-in-another-city type=fpm weight=2\n    FpmPoolBalance first\n</FpmPoolDefine>\n"
    . "Alias /gone $root\n<Location /gone>\n    FpmPool gone\n</Location>\n"
    . "<Location /pools>\n    SetHandler fpmpool-status\n</Location>\n<Location /manage>\n    SetHandler fpmpool-manager\n    Require all granted\n</Location>\n";
my $httpd = start_httpd(docroot => $root, conf => $conf);
my $large = start_httpd(name => 'large', docroot => $root, conf => $conf . $many);
http($httpd->url('/x.php?do=who')) for 1 .. 20;
http($httpd->url('/gone/x.php')) for 1 .. 3;

# Runs the browser; returns what it wrote: the page's DOM after its scripts, and its complaints.
sub browse {
    my ($url, %option) = @_;
    my ($out, $complaints) = map { test_dir() . "/browser.$_" } qw(out err);
    my @argv = ($browser, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--disable-dev-shm-usage', '--no-first-run', '--virtual-time-budget=5000',
        '--enable-logging=stderr', '--allow-file-access-from-files', '--user-data-dir=' . test_dir() . '/browser', '--window-size=' . ($option{size} || '1280,900'),
        '--blink-settings=preferredColorScheme=' . ($option{dark} ? 0 : 1), ($option{picture} ? "--screenshot=$option{picture}" : '--dump-dom'), $url);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>', $out or die;
        open STDERR, '>', $complaints or die;
        exec @argv or die;
    }
    waitpid $pid, 0;
    is($?, 0, "the browser has been at $url") or diag read_file($complaints);
    my $console = join '', grep { /:CONSOLE/ } split /^/, read_file($complaints);
    return (read_file($out), $console);
}

# What a script finds in a copy of the page: width, and the text with the least contrast to its ground.
my $measure = <<'EOF_SCRIPT';
<script>
function parse(c) { const n = c.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; }
function ground(e) { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; } return [255, 255, 255, 1]; }
function luminance(c) { const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); }
let least = 99, where = '', texts = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, e = node.parentElement;
  if (!node.data.trim() || e.closest('script, style, title, option') || !e.getClientRects().length) continue;
  const pair = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  texts++;
  if (ratio < least) { least = ratio; where = node.data.trim().slice(0, 40); }
}
const unnamed = [...document.querySelectorAll('input:not([type=hidden]), select, button')].filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).length;
const headless = [...document.querySelectorAll('table')].filter(t => !t.caption || !t.querySelector('th[scope=col]') || t.querySelector('tbody tr:not(:has(th[scope=row]))')).length;
document.body.dataset.found = JSON.stringify({ width: document.documentElement.scrollWidth, window: innerWidth, texts, least, where, unnamed, headless });
</script>
EOF_SCRIPT

sub measure {
    my ($server, $path, %option) = @_;
    my $copy = write_file(test_dir() . '/copy.html', http($server->url($path))->{body} =~ s{</body>}{$measure</body>}r);
    my ($dom) = browse("file://$copy", %option);
    my ($found) = $dom =~ /data-found="([^"]+)"/ or return {};
    return JSON::PP::decode_json($found =~ s/&quot;/"/gr =~ s/&amp;/&/gr);
}

# Mean brightness of a PNG of 8 bits: 0 to 255.
sub brightness {
    my ($file) = @_;
    my $png = read_file($file);
    my ($width, $height, $depth, $kind) = unpack 'x16 N N C C', $png;
    my ($at, $data) = (8, '');
    while ($at < length $png) {
        my ($length, $type) = unpack "x$at N a4", $png;
        $data .= substr $png, $at + 8, $length if $type eq 'IDAT';
        $at += $length + 12;
    }
    my $raw   = Compress::Zlib::uncompress($data);
    my $bytes = $kind == 6 ? 4 : 3;
    my ($sum, $count, @above) = (0, 0, (0) x ($width * $bytes));
    for my $row (0 .. $height - 1) {
        my ($filter, @line) = unpack 'C*', substr $raw, $row * ($width * $bytes + 1), $width * $bytes + 1;
        for my $i (0 .. $#line) {
            my $left = $i < $bytes ? 0 : $line[ $i - $bytes ];
            my $corner = $i < $bytes ? 0 : $above[ $i - $bytes ];
            my $guess = $filter == 1 ? $left : $filter == 2 ? $above[$i] : $filter == 3 ? int(($left + $above[$i]) / 2) : $filter == 4 ? paeth($left, $above[$i], $corner) : 0;
            $line[$i] = ($line[$i] + $guess) & 255;
            if ($i % $bytes < 3) { $sum += $line[$i]; $count++ }
        }
        @above = @line;
    }
    return ($width, $height, $sum / $count);
}

sub paeth {
    my ($left, $above, $corner) = @_;
    my $guess = $left + $above - $corner;
    my ($to_left, $to_above, $to_corner) = map { abs($guess - $_) } $left, $above, $corner;
    return $to_left <= $to_above && $to_left <= $to_corner ? $left : $to_above <= $to_corner ? $above : $corner;
}

subtest 'the page loads' => sub {
    for my $path ('/pools', '/pools?pool=shop&refresh=60', '/manage', '/pools?name=nobody') {
        my ($dom, $console) = browse($httpd->url($path));
        like($dom, qr{<h1>Pools}, "$path: it is there");
        is($console, '', '... and the browser complains of nothing');
    }
    my ($dom) = browse($httpd->url('/pools'));
    like($dom, qr{<svg class="chart".*<path class="bar" }s, 'with its charts');
    ($dom) = browse($large->url('/pools'));
    is(scalar(() = $dom =~ /<tr role="row"><th scope="row"/g), 200, 'a thousand pools are a list in pages');
};

for my $look ([ light => '1280,900' ], [ dark => '1280,900' ], [ light => '375,800' ], [ dark => '375,800' ]) {
    my ($scheme, $size) = @$look;
    my %option = (size => $size, dark => $scheme eq 'dark');
    subtest "$scheme, $size" => sub {
        for my $page ([ $httpd, '/manage' ], [ $large, '/pools' ]) {
            my $found = measure(@$page, %option);
            cmp_ok($found->{texts} // 0, '>', 50, "$page->[1]: there is text");
            cmp_ok($found->{least} // 0, '>=', 4.5, "... whose contrast is at least 4.5 (\"$found->{where}\")");
            cmp_ok($found->{width}, '<=', $found->{window}, '... within the window');
            is("$found->{unnamed} $found->{headless}", '0 0', '... every control has a name, every table its headers');
        }
        my $picture = test_dir() . "/picture-$scheme.png";
        browse($httpd->url('/pools'), %option, picture => $picture);
        my ($width, $height, $bright) = brightness($picture);
        is("$width,$height", $size, 'a picture');
        $scheme eq 'dark' ? cmp_ok($bright, '<', 80, '... is dark') : cmp_ok($bright, '>', 200, '... is light');
    };
}

# A form of the manager that is sent by a page like the manager's: its policy of referrers, and of where forms may go.
subtest 'the manager by hand' => sub {
    my $script = <<'EOF_PAGE';
<!DOCTYPE html><meta name="referrer" content="same-origin"><meta http-equiv="Content-Security-Policy" content="form-action 'self'"><body>
<script>
fetch('/manage?pool=shop').then(answer => answer.text()).then(text => {
  const form = new DOMParser().parseFromString(text, 'text/html').querySelector('button[value=drain]').form;
  document.body.append(form);
  form.action = 'TARGET/manage?pool=shop';
  form.querySelector('button[value=drain]').click();
});
</script>
EOF_PAGE
    write_file("$root/by-hand.html", $script =~ s/TARGET//r);
    my $from = $httpd->log_length;
    my ($dom) = browse($httpd->url('/by-hand.html'));
    like($dom, qr{<h1>Pools: manager}, 'the browser is on the manager\'s page again');
    like($dom, qr{drained</span><span class="quiet"> by the manager}, '... which shows the change');
    like($httpd->log_text($from), qr/FPMP0132: .*pool shop, server local: drain/, '... which is in the log');

    my $url = $httpd->url('') =~ s{/$}{}r;
    write_file("$root/elsewhere.html", $script =~ s/TARGET/$url/r =~ s/form-action 'self'/form-action */r =~ s/drain/ready/gr =~ s/DOMParser/DOMParser/r);
    $from = $httpd->log_length;
    ($dom) = browse($httpd->url('/elsewhere.html') =~ s/127\.0\.0\.1/localhost/r);
    like($httpd->log_text($from), qr/FPMP0131: fpmpool-manager: refused: the request was made by a page of another site/, 'a page of another site is refused, even with the nonce');
    like(http($httpd->url('/pools?pool=shop'))->{body}, qr/drained/, '... and changes nothing');
};
done_testing();
