# mod_php's functions that reach httpd, beside Debian's mod_php with the same script: notes and
# variables in httpd's log, switches of filters, response headers.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Application;
use FPMPool::Client;
use FPMPool::Test;

my %script = (
    'note.php' => '<?php var_dump(apache_note("mine"), apache_note("mine", "a \"b\" %41;=\u{e4}"), apache_note("mine"),
        apache_note("mine", "second"), apache_note("empty", ""), apache_note("none", null));',
    'env.php' => '<?php var_dump(apache_setenv("MINE", "x y"), apache_getenv("MINE"), apache_getenv("no such"),
        apache_getenv("QUERY_STRING"), apache_getenv("QUERY_STRING", true), apache_setenv("MINE", "z", true));',
    'headers.php' => '<?php header("X-One: 1"); header("X-Two: a: b"); header_remove("X-Powered-By"); var_dump(apache_response_headers());',
    'zip.php' => '<?php apache_setenv("no-gzip", "1"); echo str_repeat("long ", 2000);',
    'plain.php' => '<?php echo str_repeat("long ", 2000);',
    'types.php' => '<?php foreach (["apache_note", "apache_getenv", "apache_setenv", "apache_response_headers", "getallheaders"] as $f) {
        echo preg_replace("/<internal:[^>]*>/", "<internal>", new ReflectionFunction($f)); }',
    'wrong.php' => '<?php try { apache_note(); } catch (Error $e) { echo get_class($e), $e->getMessage(); }',
    'long.php' => '<?php echo @apache_note("long", str_repeat("x", 70000)) === false ? "false" : "?", @apache_setenv("L", str_repeat("x", 70000)) ? "true" : "false";',
    'edge.php' => '<?php apache_note("a", str_repeat("x", 65470)); for ($n = $i = 0; $i < 8; $i++) { @apache_note("b$i", str_repeat("y", 1000)); $n += apache_note("b$i") !== false; } echo "$n more";',
    'memory.php' => '<?php $a = str_repeat("x", 8 << 20); echo memory_get_peak_usage(true);',
    'late.php' => '<?php echo "x"; while (ob_get_level()) { ob_end_flush(); } flush(); apache_note("mine", "late"); echo apache_note("mine");',
    'steal.php' => '<?php apache_note("fpmpool-pool", "other"); apache_note("", "x"); header("Fpmpool-Note: mine=raw%20one"); header("Fpmpool-Env: broken"); echo 1;',
);
my $root = site('www', %script);

sub conf_for {
    my ($handler, $log) = @_;
    return <<"EOF_CONF";
<FilesMatch "\\.php\$">
    SetHandler $handler
</FilesMatch>
SetOutputFilter DEFLATE
LogFormat "%U mine=%{mine}n empty=%{empty}n env=%{MINE}e pool=%{fpmpool-pool}n memory=%{mod_php_memory_usage}n" told
CustomLog "$log" told
EOF_CONF
}

my $daemon = start_daemon(conf => { www => { 'pm.max_children' => 1 } });
my $pool = "<FpmPoolDefine www>\nFpmPoolServer unix:" . $daemon->listen_address('www') . "\n</FpmPoolDefine>\nFpmPool www\n";
my %log = map { $_ => test_dir() . "/told-$_.log" } qw(ours peer fpm);
my $ours = start_httpd(mpm => 'event', docroot => $root, modules => [qw(filter deflate)], conf => $pool . conf_for('fpmpool', $log{ours}));
my $place = test_dir() . '/mod_php';
unpack_packages(packages_folder('mod-php'), $place, 'libapache2-mod-php8.2');
my $peer = start_httpd(mpm => 'prefork', name => 'mod-php', docroot => $root, fpmpool => 0, modules => [qw(filter deflate)],
    conf => "LoadModule php_module $place/usr/lib/apache2/modules/libphp8.2.so\nPHPINIDir /etc/php/8.2/fpm\n"
        . conf_for('application/x-httpd-php', $log{peer}));

# Answer and log line.
sub ask {
    my ($server, $log, $path, @header) = @_;
    my $before = -e $log ? read_file($log) : '';
    my $answer = http($server->url($path), headers => [@header]);
    my $text;
    wait_for { $text = -e $log ? substr(read_file($log), length $before) : ''; $text =~ /\n\z/ } 10, "a log line of $path";
    return ($answer, $text);
}

for my $path ('/note.php', '/env.php?a=b', '/headers.php', '/types.php', '/wrong.php') {
    my ($answer, $line) = ask($ours, $log{ours}, $path);
    my ($expected, $peer_line) = ask($peer, $log{peer}, $path);
    is($answer->{body}, $expected->{body}, "$path answers as with mod_php");
    $_ =~ s/ pool=.*//s for $line, $peer_line;
    is($line, $peer_line, "... and httpd logs the same");
    is_deeply([ grep { /^fpmpool/i } keys %{ $answer->{headers} } ], [], '... and the client sees nothing of it');
}
for my $server ($ours, $peer) {
    my $log = $server == $ours ? $log{ours} : $log{peer};
    my ($plain) = ask($server, $log, '/plain.php', 'Accept-Encoding' => 'gzip');
    my ($not)   = ask($server, $log, '/zip.php',   'Accept-Encoding' => 'gzip');
    is($plain->{headers}{'content-encoding'}, 'gzip', $server->name . ': a page is compressed');
    is($not->{headers}{'content-encoding'}, undef, $server->name . ': not after apache_setenv("no-gzip", 1)');
}

for my $server ($ours, $peer) {
    my ($answer, $line) = ask($server, $server == $ours ? $log{ours} : $log{peer}, '/memory.php');
    like($line, qr/memory=$answer->{body}$/m, $server->name . ": the note mod_php_memory_usage is the script's peak");
}

subtest 'what cannot be told' => sub {
    my ($answer, $line) = ask($ours, $log{ours}, '/late.php');
    is($answer->{body}, 'xlate', 'after the headers a note is the script\'s alone');
    like($line, qr/mine=- /, '... and httpd does not know it');
    ($answer) = ask($ours, $log{ours}, '/long.php');
    is($answer->{body}, 'falsefalse', 'more than 64 KiB are refused');
    is(php_request($daemon, "$root/edge.php")->{body}, '0 more', '... also when they are full to the last bytes');
    ($answer, $line) = ask($ours, $log{ours}, '/steal.php');
    like($line, qr/pool=www /m, 'the notes of the module are its own');
    like($line, qr/mine=raw one /, 'a header of that name is a note');
};

subtest 'other front ends see no lines of ours' => sub {
    my $answer = php_request($daemon, "$root/note.php");
    like($answer->{body}, qr/second|%41/, 'the functions are there');
    unlike($answer->{stdout}, qr/Fpmpool-/i, 'nothing of it is sent');
};

done_testing();
