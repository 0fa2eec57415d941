# Defects of mod_proxy_fcgi in what it makes of an answer: statuses, framing, headers, moments, logs. Beside httpd with
# mod_proxy_fcgi stands httpd with mod_fpmpool; behind both php-fpm and fpmpoold, or the same server that answers wrongly.

use strict;
use warnings;
use File::Basename qw(dirname);
use POSIX ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Beat;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');

my $root = site('www',
    'small.php'  => '<?php echo "a small page";',
    'length.php' => '<?php header("Content-Length: 50000"); echo str_repeat("d", 50000);',
    'long.php'   => '<?php header("X-Long: " . str_repeat("v", 9000)); echo "ok";',
    'plain.php'  => '<?php echo "no validators";',
    'flush.php'  => '<?php while (ob_get_level()) ob_end_flush(); echo "first"; flush();'
        . ' while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } echo "second";',
    'early.php'  => '<?php while (ob_get_level()) ob_end_flush(); while (!file_exists($_GET["go"])) { clearstatcache(); usleep(10000); } http_response_code(413); echo "too large"; flush(); file_get_contents("php://input");',
    'errors.php' => '<?php error_log("a note"); trigger_error("a warning", E_USER_WARNING); trigger_error("a notice", E_USER_NOTICE); echo "said";',
    'fake/x.php' => '<?php',
);
my $run = test_dir() . '/run';
mkdir $run;
my $fake   = start_fake("$run/fake.sock");
my %pools  = (www => { 'php_admin_flag[log_errors]' => 'on', 'php_admin_value[error_reporting]' => 32767 });
my $daemon = start_daemon(conf => \%pools);
my $fpm    = start_php_fpm(conf => \%pools);
allow_log(qr/FPMP00(?:40|58|6\d): /);

my ($ours, $peer) = start_pair($root,
    both => "KeepAliveTimeout 20\n",
    ours => php_routes('fpmpool', $daemon, 'www') . <<"EOF_CONF",
FpmPoolBody stream
<FpmPoolDefine fake>
    FpmPoolServer unix:$run/fake.sock
</FpmPoolDefine>
<Location "/fake/">
    FpmPool fake
</Location>
EOF_CONF
    peer => php_routes('proxy_fcgi', $fpm, 'www') . <<"EOF_CONF",
<Location "/fake/">
    SetHandler "proxy:unix:$run/fake.sock|fcgi://fake/"
</Location>
EOF_CONF
);
my %of = (ours => $ours, peer => $peer);

# The same to both, for defect(): what the code makes of each httpd.
sub each_of { my ($code) = @_; return map { my $httpd = $of{$_}; ($_ => sub { $code->($httpd) }) } qw(ours peer) }
sub both    { my ($path, %option) = @_; return each_of(sub { show(http($_[0]->url($path), %option)) }) }

# ---- statuses

defect('D4', 'a server that is overloaded is a success without a page',
    both('/fake/x.php?do=overloaded'), wrong => qr/^200 \w+ 0 bytes/, right => qr/^503 /);
defect('D4', 'so is one that ends the request without an answer',
    both('/fake/x.php?do=nothing'), wrong => qr/^200 \w+ 0 bytes/, right => qr/^502 /);
defect('D5', 'an answer that ends inside of its header is a success',
    both('/fake/x.php?do=cut_header'), wrong => qr{^200 }, right => qr/^502 /);
defect('D11', 'a header line of 9000 bytes is 500',
    each_of(sub { my $answer = http($_[0]->url('/long.php')); "$answer->{status} " . length($answer->{headers}{'x-long'} // '') }),
    wrong => qr/^500 0$/, right => qr/^200 9000$/);
defect('D26', 'an answer without a header line loses its body',
    both('/fake/x.php?do=no_header'), wrong => qr/^\d+ (?!.*only a body)/, right => qr/^200 .*only a body/);

# The peer takes a page without validators for one that was made this second.
defect('D12', '304 for a page without validators',
    each_of(sub {
        my %seen;
        for (1 .. 20) {
            my $now = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime);
            $seen{ http($_[0]->url('/plain.php'), headers => [ 'If-Modified-Since' => $now ])->{status} }++;
        }
        return join ' and ', sort keys %seen;
    }),
    wrong => qr/304/, right => qr/^200$/);

# ---- framing

defect('D16', 'a small page has no Content-Length',
    both('/small.php'), wrong => qr/^200 chunked 12 /, right => qr/^200 length 12 /);
defect('D16', 'a download loses the Content-Length that the script gave',
    each_of(sub { my $answer = http($_[0]->url('/length.php')); "$answer->{status} " . ($answer->{headers}{'content-length'} // 'none') }),
    wrong => qr/^200 none$/, right => qr/^200 50000$/);
defect('D16', 'so does HEAD',
    each_of(sub { my $answer = http($_[0]->url('/length.php'), method => 'HEAD'); "$answer->{status} " . ($answer->{headers}{'content-length'} // 'none') }),
    wrong => qr/^200 none$/, right => qr/^200 50000$/);

defect('D28', 'a page that is cut leaves the client waiting for the rest',
    each_of(sub {
        my ($httpd) = @_;
        my $go = test_dir() . '/go';
        unlink $go;
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => "/fake/x.php?do=lost_body&go=$go");
        write_file($go, '') if $httpd == $peer;    # it shows nothing before its server has gone (D9)
        $http->read_head;
        $http->read_some;
        write_file($go, '');
        my $rest = within(3, sub { $http->read_some(3) });
        return $rest eq '' ? ($http->{complete} ? 'complete' : 'closed, incomplete') : $rest;
    }),
    wrong => qr/^nothing in 3 s$/, right => qr/^closed, incomplete$/);

# ---- moments

defect('D9', 'flush() does not reach the client',
    each_of(sub {
        my ($httpd) = @_;
        my $go = test_dir() . '/go';
        unlink $go;
        my $http = http_connect(port => $httpd->port, timeout => 10);
        $http->send_request(GET => "/flush.php?go=$go");
        my $text = within(2, sub { $http->read_head(2)->{status} . ' ' . $http->read_some(2) });
        write_file($go, '');
        $http->close;
        return $text;
    }),
    wrong => qr/^nothing in 2 s$/, right => qr/^200 first$/);

# The answer comes when all that the client has sent so far has arrived and no thread of httpd has anything to do: what comes
# while the peer still reads, it passes on.
sub is_at_rest { my ($httpd) = @_; return !grep { !/\) S / } map { read_file($_) } map { glob "/proc/$_/task/*/stat" } children($httpd->pid) }

for my $path ('/fake/x.php?do=early', '/early.php?do=early') {
    defect('D10', "an answer during an upload waits for the upload ($path)",
        each_of(sub {
            my ($httpd) = @_;
            my $go = test_dir() . '/go';
            unlink $go;
            my $http = http_connect(port => $httpd->port, timeout => 10);
            $http->send_request(PUT => "$path&go=$go", headers => [ 'Content-Length' => 5_000_000 ], no_body => 1);
            $http->send_raw('u' x 20_000);
            wait_for { is_at_rest($httpd) && is_at_rest($httpd) } 10, 'httpd to be at rest';
            write_file($go, '');
            my $text = within(2, sub { $http->read_head(2)->{status} . ' ' . $http->read_some(2) });
            $http->close;
            return $text;
        }),
        wrong => qr/^nothing in 2 s$/, right => qr/^413 (?:enough|too large)$/);
}

# ---- logs

defect('D23', 'what PHP says is logged as errors, in lumps and without the pool',
    each_of(sub {
        my ($httpd) = @_;
        my $from = $httpd->log_length;
        http($httpd->url('/errors.php'));
        $httpd->wait_log(qr/a notice/, 5, $from);
        return join ' | ', map { s/^\[[^\]]*\] //r =~ s/ \[pid.*?\] \[client.*?\]//r } grep { /a (?:note|warning|notice)/ } split /\n/, $httpd->log_text($from);
    }),
    wrong => qr/^\[proxy_fcgi:error\](?!.*\[proxy_fcgi:(?:warn|notice)).*a note.*a warning.*a notice(?!.*pool www)/,
    right => qr/^\[fpmpool:notice\].*pool www, worker \d+: a note \| \[fpmpool:warn\].*pool www, worker \d+: PHP Warning:  a warning.* \| \[fpmpool:notice\].*pool www, worker \d+: PHP Notice:  a notice/);

done_testing();
