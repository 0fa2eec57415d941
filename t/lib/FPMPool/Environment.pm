package FPMPool::Environment;

# What a script sees through mod_fpmpool, variable by variable beside Debian's mod_php, in the same run:
#
#   start_servers($root, conf => sub { my ($handler) = @_; ... }, modules => [qw(userdir)]);
#   compare('DirectoryIndex', '/app/?i=1');               # method, headers, body, version, host, tls, curl
#   report();                                             # the table of differences; each reason occurs
#
# mod_php runs in a prefork httpd. Beside it stand event, worker and prefork with our module and our
# daemon, and event with our module and php-fpm (type=fpm). A variable that differs is a failure unless
# %reason has it: then the table at the end shows both values and the reason.

use strict;
use warnings;
use Digest::MD5 ();
use Exporter 'import';
use FPMPool::Application ();
use FPMPool::Test;
use JSON::PP ();

our @EXPORT = qw(dump_script start_servers compare report server_named peer_server runs_of);

# Each value is encoded, so that the bytes arrive as the script has seen them, also inside of a page.
# A HEAD has no page: the values go into a header, too.
my $dump = <<'EOF_PHP';
<?php
$seen = $_SERVER + ['(body)' => file_get_contents('php://input'), '(get)' => http_build_query($_GET),
    '(post)' => http_build_query($_POST), '(env)' => getenv('MINE') === false ? 'none' : getenv('MINE')];
$all = [];
foreach ($seen as $name => $value) {
    $value = is_array($value) ? implode(',', $value) : (string) $value;
    $all[rawurlencode($name)] = strlen($value) > 4000 ? 'of ' . strlen($value) . ' bytes: ' . md5($value) : rawurlencode($value);
}
$all = json_encode($all);
if (strlen($all) < 20000) {
    header('X-Seen: ' . base64_encode($all));
}
echo 'ENV', $all;
EOF_PHP

sub dump_script { return $dump }

my %reason = (
    REMOTE_PORT          => 'the port of each connection',
    REQUEST_TIME         => 'the moment of each request',
    REQUEST_TIME_FLOAT   => 'the moment of each request',
    SSL_SESSION_ID       => 'of each TLS session',
    PATH                 => 'httpd\'s own search path is none of a script\'s business; PassEnv PATH passes it; the pool\'s env[PATH] is the script\'s',
    LD_LIBRARY_PATH      => 'as PATH',
    USER                 => 'the pool\'s user, which mod_php does not have',
    HOME                 => 'the pool\'s user, which mod_php does not have',
    FCGI_ROLE            => 'PHP\'s own, wherever it speaks FastCGI',
    '(env)'              => 'what httpd was started with is in its own process only; PassEnv passes it as a variable, the pool\'s env[] is for getenv()',
    HTTP_AUTHORIZATION   => 'mod_php takes the header apart for PHP_AUTH_USER and hides it: scripts with Bearer tokens needed a rewrite rule for it',
);

our ($peer, @ours);
my (%seen, @table, $differences, $requests);

# ---- servers --------------------------------------------------------------------------------

# conf gets the name of the handler, the directives of the pool and the httpd's own ports
# {tls => PORT}; the same text is for all.
sub start_servers {
    my ($root, %option) = @_;
    my $place = test_dir() . '/mod_php';
    FPMPool::Application::unpack_packages(FPMPool::Application::packages_folder('mod-php'), $place, 'libapache2-mod-php8.2');
    my %pools  = (www => { 'pm.max_children' => 2, 'php_admin_value[error_log]' => '/dev/null' });
    my @common = (docroot => $root, modules => $option{modules} || [], env => { %ENV, MINE => 'of httpd', LD_LIBRARY_PATH => '/nonexistent', %{ $option{env} || {} } });
    my $start  = sub {
        my ($name, $mpm, $handler, $pool) = @_;
        my %port = map { $_ => free_port() } @{ $option{ports} || [] };
        my $httpd = start_httpd(@common, mpm => $mpm, name => $name, fpmpool => $handler eq 'fpmpool', conf => $pool . $option{conf}->($handler, \%port));
        $httpd->{ports} = \%port;
        return $httpd;
    };
    $peer = $start->('mod_php', 'prefork', 'application/x-httpd-php',
        "LoadModule php_module $place/usr/lib/apache2/modules/libphp8.2.so\nPHPINIDir /etc/php/8.2/fpm\nphp_admin_value error_log /dev/null\n");
    my $pool_text = sub {
        my ($daemon, $type) = @_;
        return "<FpmPoolDefine www>\n    FpmPoolServer unix:" . $daemon->listen_address('www') . " type=$type\n</FpmPoolDefine>\nFpmPool www\n" . ($option{ours} // '');
    };
    my $daemon = start_daemon(conf => \%pools);
    push @ours, $start->($_, $_, 'fpmpool', $pool_text->($daemon, 'fpmpool')) for @{ $option{mpms} || [qw(event worker prefork)] };
    if (-x '/usr/sbin/php-fpm8.2') {
        push @ours, $start->('php-fpm', 'event', 'fpmpool', $pool_text->(start_php_fpm(name => 'fpm', conf => \%pools), 'fpm'));
    }
    return;
}

sub peer_server  { return $peer }
sub server_named { my ($name) = @_; my ($found) = grep { $_->name =~ /^\Q$name\E/ } @ours; return $found }

# ---- one request ----------------------------------------------------------------------------

sub decode {
    my ($json) = @_;
    my $all = JSON::PP::decode_json($json);
    my %plain;
    $plain{ unescape($_) } = unescape($all->{$_}) for keys %$all;
    return \%plain;
}
sub unescape { my ($text) = @_; $text =~ s/%(..)/chr hex $1/ge; return $text }

# Through curl, for TLS.
sub exchange_tls {
    my ($server, $path, %option) = @_;
    my $host  = $option{host} // 'site.test';
    my $port  = $server->{ports}{tls};
    my @header = @{ $option{headers} || [] };
    my @argument = (qw(curl -s -k -i --http1.1 --max-time 20), @{ $option{curl} || [] }, '--connect-to', "$host:443:127.0.0.1:$port");
    while (my ($name, $value) = splice @header, 0, 2) { push @argument, '-H', "$name: $value" }
    open my $pipe, '-|', @argument, "https://$host$path" or die "curl: $!";
    my $answer = do { local $/; <$pipe> } // '';
    close $pipe;
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    return { status => ($head // '') =~ m{\AHTTP/1\.1 (\d+)} ? $1 : 0, headers => {}, body => $body // '' };
}

sub exchange {
    my ($server, $path, %option) = @_;
    return exchange_tls($server, $path, %option) if $option{tls};
    my $http = http_connect(port => $option{port} ? $server->{ports}{ $option{port} } : $server->port);
    my @host = defined $option{host} || !$option{no_host} ? (Host => $option{host} // 'site.test') : ();
    return $http->exchange($option{method} || ($option{body} ? 'POST' : 'GET'), $path, %option, headers => [ @host, @{ $option{headers} || [] }, Connection => 'close' ])
        || { status => 'closed', headers => {}, body => '' };
}

# What the scripts of the page have seen (a page can have several), and the page without it.
sub runs_of {
    my ($server, $path, %option) = @_;
    my $answer = exchange($server, $path, %option);
    my $page   = $answer->{body};
    my @run;
    push @run, decode($1) while $page =~ s/ENV(\{[^}]*\})/RUN/;
    if (!@run && $answer->{headers}{'x-seen'}) {
        require MIME::Base64;
        push @run, decode(MIME::Base64::decode_base64($answer->{headers}{'x-seen'}));
    }
    my $ports = join '|', $server->port, values %{ $server->{ports} };
    $_->{SERVER_PORT} =~ s/^(?:$ports)$/(its own)/ for grep { defined $_->{SERVER_PORT} } @run;
    $page =~ s/\b(?:$ports)\b/PORT/g;
    my $type = $answer->{headers}{'content-type'} // 'none';
    my $allow = join ',', sort split /, */, $answer->{headers}{allow} // ''; # (httpd's order is that of a hash)
    return ("$answer->{status} $type $allow: $page", @run);
}

# ---- comparisons ----------------------------------------------------------------------------

# differs => { NAME => reason } adds reasons for this request, fpm_differs for php-fpm only; runs => N: so many scripts must have run
# (default 1); sees => { NAME => value }: what all of them show, mod_php too (undef: nothing).
sub compare {
    my ($name, $path, %option) = @_;
    my %allowed = (%reason, %{ delete $option{differs} || {} });
    my %allowed_fpm = (%allowed, %{ delete $option{fpm_differs} || {} });
    my $runs = delete $option{runs} // 1;
    my $sees = delete $option{sees} || {};
    my $only = delete $option{only};
    my ($page, @expected) = runs_of($peer, $path, %option);
    $requests++;
    subtest $name => sub {
        is(scalar @expected, $runs, "mod_php: scripts that ran: $runs") or diag(cut($page)), return;
        is($expected[-1]{$_}, $sees->{$_}, "mod_php: $_") for sort keys %$sees;
        for my $server (grep { !$only || $_->name =~ $only } @ours) {
            my ($our_page, @run) = runs_of($server, $path, %option);
            my $where = $server->name;
            is(cut($our_page), cut($page), "$where: the page");
            is(scalar @run, scalar @expected, "$where: as many scripts ran");
            my @wrong;
            for my $i (0 .. $#expected) {
                push @wrong, look($name, $where, $run[$i] || {}, $expected[$i], $where =~ /^php-fpm/ ? \%allowed_fpm : \%allowed);
            }
            is_deeply(\@wrong, [], "$where: every variable");
        }
    };
    return;
}

sub look {
    my ($name, $where, $run, $expected, $allowed) = @_;
    my @wrong;
    for my $variable (sort keys %{ { %$run, %$expected } }) {
        my ($ours, $theirs) = ($run->{$variable}, $expected->{$variable});
        next if defined $ours && defined $theirs && $ours eq $theirs;
        my $why = $allowed->{$variable} // $allowed->{ $variable =~ s/^(?:REDIRECT_)+//r };
        if (!$why) {
            push @wrong, "$variable: ours " . visible($ours) . ', mod_php\'s ' . visible($theirs);
            next;
        }
        $differences++;
        my $key = "$variable: $why";
        push @table, $key if !$seen{$key};
        $seen{$key} ||= [ "$name ($where)", visible($ours), visible($theirs), 0 ];
        $seen{$key}[3]++;
    }
    return @wrong;
}

sub cut { my ($text) = @_; return length $text > 600 ? substr($text, 0, 600) . '...' : $text }

sub visible {
    my ($value) = @_;
    return '-' unless defined $value;
    $value =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    return '"' . (length $value > 60 ? substr($value, 0, 60) . '...' : $value) . '"';
}

# Prints the table. No reason is kept that no request has shown: names that need not occur are given.
sub report {
    my (%may_be_absent) = map { $_ => 1 } @_;
    note("$requests requests beside mod_php, $differences variables that differ, each for one of these reasons:");
    for my $key (sort @table) {
        my ($where, $ours, $theirs, $count) = @{ $seen{$key} };
        note(sprintf '  %s', $key);
        note(sprintf '      %d times; %s: ours %s, mod_php\'s %s', $count, $where, $ours, $theirs);
    }
    my %shown = map { s/:.*//sr => 1 } map { s/^(?:REDIRECT_)+//r } @table;
    is_deeply([ grep { !$shown{$_} && !$may_be_absent{$_} } sort keys %reason ], [], 'every reason of the table has its difference');
    return;
}

1;
