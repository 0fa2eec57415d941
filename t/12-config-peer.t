# Configuration beside the living peer: every case's files go through `php-fpm8.2 -tt` and `fpmpoold -tt`
# in this run; exit code, messages with file and line, and the dump must be the same, line by line.
#
# What may differ, and nothing else:
#   - time stamps, and what stands in front of a message at log_level debug or with syslog
#   - the compiled prefix and state directory (configure's, where Debian's has /usr and /var): cases marked `plain`
#   - all errors of a file are reported, not the first alone: in cases marked `more`, the peer's lines must
#     be among ours, in their order
#   - behind an include the peer counts lines wrongly: cases marked `right` have its texts and the right ones
#   - a syntax error names file and line, where the peer says "PHP:  syntax error ... in Unknown on line 1"
#   - "value is NULL ..." says what to write; an unknown listen.owner has no ": Success (0)" behind it
#   - process_control_timeout is 30 s where it is not set (lifecycle.md 4)
#   - a key that has no effect yet says so in a NOTICE
#   - a value that ends in "$" does not get the line end too
#   - cases marked `ours`: we refuse what the peer takes, with this message (it would not start, or worse)
#   - cases marked `better`: [what the peer says, what we say], with the reason beside them
# long: 80 s

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $peer     = '/usr/sbin/php-fpm8.2';
my $fpmpoold = build_path('bin/fpmpoold');
require_program($peer, 'php8.2-fpm');
plan(skip_all => 'most cases name users: run as root') unless is_root();

my %built = read_file(build_path('config.mk')) =~ /^(prefix|localstatedir) = (\S+)/mg;
my $state = $built{localstatedir} =~ s/\$\(prefix\)/$built{prefix}/r;
my $base  = test_dir() . '/c';
my ($count, $section, %cases) = (0, 'any');

$ENV{FPM_TEST_WORD}   = 'word';
$ENV{FPM_TEST_UPPER}  = 'YES';
$ENV{FPM_TEST_EMPTY}  = '';
$ENV{FPM_TEST_NUMBER} = '7';

# ---- running both ---------------------------------------------------------------------------

# Files of a case in a folder of its own; "@DIR@" in them is that folder.
sub lay_out {
    my ($dir, $files) = @_;
    make_path("$dir/log", "$dir/etc", "$dir/site/www", "$dir/site/log", { mode => 0755 });
    for my $name (sort keys %$files) {
        write_file("$dir/$name", $files->{$name} =~ s/\@DIR\@/$dir/gr);
    }
    return;
}

sub ask {
    my ($program, $dir, $option) = @_;
    my $err = "$dir/stderr";
    unlink $err;
    my @argv = ($program, map { s/\@DIR\@/$dir/gr } @{ $option->{args} || [ '-n', '-p', $dir, '-y', "$dir/fpm.conf" ] }, '-tt');
    @argv = ('/usr/bin/setpriv', '--reuid=www-data', '--regid=www-data', '--clear-groups', @argv) if $option->{unprivileged};
    my $pid = spawn(argv => \@argv, stderr => $err, dir => $dir, env => $option->{env});
    my $status = reap($pid, 20);
    if (!defined $status) { kill 'KILL', $pid; reap($pid, 5); return { code => 'hung', lines => [] } }
    my $text = read_file($err);
    my @line = map { s/\A\[\d\d-\w{3}-\d{4} [\d:.]+\] (?!NOTICE: pid \d+, \w+\()//r } split /\n/, $text, -1;
    pop @line if @line && $line[-1] eq '';
    return { code => $status & 127 ? "signal $status" : $status >> 8, lines => \@line };
}

# Ours in the peer's terms.
sub translate {
    my ($got, $option, $sets_timeout) = @_;
    my @translated;
    for my $line (map { $_ } @{ $got->{lines} }) {
        next if $line =~ /\ANOTICE: \[[^\]]+:\d+\] '[\w.]+' is accepted but has no effect yet/;
        next if $line =~ /\ANOTICE: '[\w.]+ = \w+' has no effect: /;
        $line =~ s/\A(\w+): pid \d+, /$1: /;
        $line =~ s/\AERROR: \[([^\]]+:\d+)\] syntax error, .*/SYNTAX/;
        $line =~ s/ \(write '.*'\)\z// if $line =~ /value is NULL/;
        if ($option->{plain}) {
            $line =~ s{ \Q$state\E/}{ /var/};
            $line =~ s{ \Q$built{prefix}\E/}{ /usr/};
        }
        $line =~ s/\ANOTICE: \tprocess_control_timeout = \K30s\z/0s/ if !$sets_timeout;
        push @translated, $line;
    }
    return \@translated;
}

# The peer's without what is only its own.
sub trim_peer {
    my ($lines) = @_;
    my $text = join "\n", @$lines;
    $text =~ s/\$\n(?!\w+: )/\$/g;
    my @trimmed;
    for my $line (split /\n/, $text, -1) {
        $line =~ s/\A\[\d\d-\w{3}-\d{4} [\d:.]+\] (\w+): pid \d+, \w+\(\), line \d+: /$1: /;
        $line =~ s/\A\[([A-Z]+)\] /$1: /;
        $line =~ s/\APHP:  syntax error, .*/SYNTAX/;
        $line =~ s/: Success \(0\)\z//;
        push @trimmed, $line;
    }
    return @trimmed;
}

# The first line of @$wanted that is not in @$got behind the ones before it; undef: all are.
sub first_missing {
    my ($wanted, $got) = @_;
    my $at = 0;
    for my $line (@$wanted) {
        $at++ while $at < @$got && $got->[$at] ne $line;
        return $line if $at++ >= @$got;
    }
    return;
}

sub first_difference {
    my ($wanted, $got) = @_;
    for my $n (0 .. (@$wanted > @$got ? $#$wanted : $#$got)) {
        my ($a, $b) = ($wanted->[$n] // '(end)', $got->[$n] // '(end)');
        return "line " . ($n + 1) . "\n  php-fpm:  $a\n  fpmpoold: $b" if $a ne $b;
    }
    return;
}

# compare('name', TEXT or {file => TEXT}, options): one test point.
sub compare {
    my ($name, $files, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $dir = "$base/" . ++$count;
    $cases{$section}++;
    $files = { 'fpm.conf' => $files } unless ref $files;
    lay_out($dir, $files);
    $option{prepare}->($dir) if $option{prepare};
    my $wanted = ask($peer, $dir, \%option);
    my $got    = ask($fpmpoold, $dir, \%option);
    my @wanted = trim_peer($wanted->{lines});
    my $ours   = translate($got, \%option, scalar grep { /process_control_timeout/ } values %$files);
    my $wrong;
    if ($option{right}) {
        my ($text, $right) = @{ $option{right} };
        s/\Q$text\E/$right/ for @wanted;
    }
    if ($option{ours}) {
        $wrong = "exit code $got->{code}" if $got->{code} ne '78';
        $wrong = "no message like $option{ours}" unless grep { $_ =~ $option{ours} } @{ $got->{lines} };
        $wrong = 'php-fpm refuses it too' if $wanted->{code} ne '0';
    } elsif ($option{better}) {
        my ($before, $after) = @{ $option{better} };
        $wrong = "php-fpm does not say $before" unless grep { $_ =~ $before } @wanted;
        $wrong = "fpmpoold does not say $after" unless grep { $_ =~ $after } @$ours;
    } elsif ($wanted->{code} ne $got->{code}) {
        $wrong = "exit code: php-fpm $wanted->{code}, fpmpoold $got->{code}";
    } elsif ($option{more}) {
        my $missing = first_missing(\@wanted, $ours);
        $wrong = "missing: $missing" if defined $missing;
    } else {
        $wrong = first_difference(\@wanted, $ours);
    }
    $wrong ||= "no syntax error with file and line" if (grep { $_ eq 'SYNTAX' } @wanted)
        && !grep { /\AERROR: \[\Q$dir\E\/[\w.\/]+:\d+\] syntax error, / } @{ $got->{lines} };
    my $good = ok(!$wrong, $name);
    if (!$good) {
        diag($wrong);
        diag(join "\n  ", '-- file', split /\n/, $files->{'fpm.conf'} // '');
        if ($wrong =~ /exit code|missing/) {
            diag(join "\n  ", '-- php-fpm', grep { !/\t|^NOTICE: (?: |\[\w+\])$/ } @{ $wanted->{lines} });
            diag(join "\n  ", '-- fpmpoold', grep { !/\t|^NOTICE: (?: |\[\w+\])$/ } @{ $got->{lines} });
        }
    }
    return $good;
}

# ---- frames ---------------------------------------------------------------------------------

my $needed = "user = www-data\nlisten = \@DIR\@/www.sock\npm = static\npm.max_children = 2\n";

# A whole file around lines of the pool, or of the global section.
sub pool   { return "[www]\n$needed$_[0]" }
sub global { return "[global]\n$_[0]\n[www]\n$needed" }

# The same with another process manager, complete or not.
sub managed {
    my ($lines, $manager) = @_;
    return "[www]\nuser = www-data\nlisten = \@DIR\@/www.sock\npm = $manager\n$lines";
}

sub each_pool_value {
    my ($key, @values) = @_;
    compare("$key = $_", pool("$key = $_\n")) for @values;
    return;
}

sub each_global_value {
    my ($key, @values) = @_;
    compare("$key = $_", global("$key = $_\n")) for @values;
    return;
}

# ---- the tables -----------------------------------------------------------------------------

$section = '1.1, 1.2';
subtest 'lexer (1.1, 1.2)' => sub {
    my @value = (
        'foo;bar', ';', 'foo ; bar', '"a;b" ; c', 'true', 'On', 'YES', 'false', 'off', 'No', 'none', 'NULL', 'null and void',
        'on and off', 'yesno', '"yes"', "'yes'", 'PHP_OS', 'PHP_VERSION', 'PHP_OS and more', 'E_ALL', '"E_ALL"', "'E_ALL'",
        'E_ALL & ~E_NOTICE', 'E_ALL&~E_NOTICE', 'E_ALL | E_STRICT', 'E_ALL ^ E_NOTICE', '1|2|4', '7&3|8', '8|7&3', '!1', '!0', '~5', '(1|2)&3',
        '((5))', '6 & (3 | 8)', 'abc|1', 'abc | def', '1 | abc', 'a(b', 'a)b', 'a!b', 'a^b', '1 |', '| 1', '(1', '1)', '()', 'a & ', '""|1',
        'a=b', '"a=b"', "'a=b'", '=', '==a', 'a "b" c', 'a"b"c', '"a" "b"', '"a"b', 'a\'b\'c', '"a"\'b\'', '"a\"b"', '"a\\\\b"', '"a\$b"', '"a\nb"', '"a\tb"',
        '"unclosed', "'unclosed", 'unclosed"', "it's", '""', "''", "'' ''", "''a", "a''", '"a\\', '"\\"', 'a\\b', 'a\\"b"',
        '${FPM_TEST_WORD}', 'x${FPM_TEST_WORD}y', '"x${FPM_TEST_WORD}y"', "'\${FPM_TEST_WORD}'", '${FPM_TEST_NONE}', 'a${FPM_TEST_NONE}b', '${FPM_TEST_WORD', '"${FPM_TEST_WORD"',
        '${}', '"${}"', '$FPM_TEST_WORD', '$', 'a$', '$$', '$ {A}', '"$"', '"\${FPM_TEST_WORD}"', '${FPM_TEST_WORD}${FPM_TEST_WORD}', '${FPM_TEST_NUMBER}|8',
        '${FPM_TEST_UPPER}', '${ FPM_TEST_WORD }', '  padded  ', "\tpadded\t", 'inner   blanks', 'a[b]', '[b]', 'a]b', '#foo', 'a#b', '{a}', 'a{b}', 'a,b', 'a:b', '@a', '%a',
        "\xc3\xa4\xc3\xb6", '1.5', '-1', '+1', '0x10', '1e3', '010', 'a~b', 'a ~ b', 'a%b', "\$pool", '"$pool"', 'x$pooly$pool', 'M_PI', 'PHP_INT_MAX', 'true1',
        'DIRECTORY_SEPARATOR', 'E_ALL;x', 'E_ALL ;x', 'E_ALL "x"', '"x" E_ALL', 'on "x"', 'on;x', 'none ;x', 'a|b|c;d', '1|2;3', '"a"|"b"', "'1'|'2'", '"1"|2', 'a|"2"', '${FPM_TEST_EMPTY}', '"${FPM_TEST_EMPTY}"', 'PHP_VERSION_ID',
        'it"s"', '"\\\\" b', '"\" b"', 'on\'', 'on \'\'', "x ''", "''=x", 'null;a', 'on"a"', 'on|1', '1|on', '~on', 'a on', 'on a', '$=x', '$;x', '$"a"', 'a$|b', '$(a', '${a|b}', '${ }', '${a"b}', '"${"', 'x ${FPM_TEST_WORD} y',
        '(a b)', '(1)(2)', '5 (5)', '(5) 5', '!!1', '~~1', '~1&3', '!1|2', '-5|1', '1.5|1', '99999999999|0', '2147483648|0', '0x10|1', 'a E_ALL b', '"E_ALL" x', 'E_ALLx', 'E_ALL-1', 'E_ALL.', "'3'|4", '"a" | 1', '1;2|3', "a\tb", '"a""b"', '"a" ; c', "'x' ; c", "'a;b'", '-', '--1', '.5', '5.',
    );
    for my $value (@value) {
        compare("value <$value>", pool("ping.response = $value\nping.path = /ping\n"));
    }
    my @line = (
        '#foo', '#foo=1', 'foo', 'ping.path', 'ping.path=', 'ping.path =', '= x', '=', '"ping.path" = /a', "'ping.path' = /a", 'PING.PATH = /a', 'Ping.Path=/a',
        'ping. path = /a', 'ping path = /a', 'ping.path /a', '${FPM_TEST_WORD} = 1', 'ping.${FPM_TEST_WORD} = 1', 'a;b = 1', ';a = b', '   ; comment', "\t; comment", '   ping.path = /a', "\tping.path\t=\t/a",
        '[other', 'other]', '[www', '[www]x', '[www] ; comment', '[www] x = 1', '!a = 1', 'a|b = 1', 'a(b) = 1', '{a} = 1', '$a = 1', 'a"b" = 1', 'on = 1', 'null = 1', 'E_ALL = 1', 'yes', 'on', 'E_ALL', '"a"', "\r", 'a\\b = 1', '~', '^ = 2', '& = 1', 'env[a = 1', 'env]a = 1', ' on = 1', "\ton = 1", 'on x = 1', 'onx = 1', 'on[a] = 1', "a\tb = 1", "a'b = 1", 'a"b = 1', 'x{y} = 1', 'a=b=c', 'a : b = 5', ':a = 5', '[x]y', '[a]]', '[a;b]', "['']", '[${FPM_TEST_WORD}', '{', '}', '$', "'a' = 1",
    );
    for my $line (@line) {
        compare("line <$line>", pool("$line\n"));
    }
    compare('CRLF', pool("ping.path = /ping\n") =~ s/\n/\r\n/gr);
    compare('CRLF and quotes', pool("ping.path = \"/ping\"\nping.response='x'\n") =~ s/\n/\r\n/gr);
    compare('a carriage return inside a line', pool("ping.path = /p\ring\n"));
    compare('BOM', "\xEF\xBB\xBF" . pool(''));
    compare('BOM in the middle', pool("\xEF\xBB\xBFping.path = /ping\n"));
    compare('no line end at the end', pool('ping.path = /ping'));
    compare('value over two lines', pool("ping.response = \"a\nb\"\nping.path = /ping\n"), more => 1);
    compare('a long line', pool('ping.response = ' . ('x' x 900) . "\nping.path = /ping\n"));
    # the peer cuts a line of its log at log_limit
    compare('a very long line', pool('ping.response = ' . ('x' x 5000) . "\nping.path = /ping\n"), better => [ qr/= x{900,1023}\.\.\.\z/, qr/= x{4000,}\.\.\.\z/ ]);
    compare('empty file', '');
    compare('comments only', "; nothing\n\n   \n");
    compare('directives before any section', "log_level = error\n" . pool(''));
    compare('[GLOBAL] in capitals', "[GLOBAL]\nlog_limit = 2048\n" . pool(''));
    compare('a section opened again', pool("[other]\n" . $needed =~ s/www\.sock/o.sock/r . "[WWW]\nping.path = /again\n"));
    compare('global opened again', pool("[global]\nlog_limit = 4096\n[www]\nping.path = /x\n"));
    compare('a repeated key: the last counts', pool("ping.path = /a\nping.path = /b\n"));
    compare('section name in double quotes', "[\"www\"]\n$needed");
    compare('section name in single quotes', "['w w']\n$needed");
    compare('section name with a variable', "[\${FPM_TEST_WORD}]\n$needed");
    compare('section name with blanks', "[ w w ]\n$needed");
    compare('section name that is a constant', "[E_ALL]\n$needed");
    compare('section name that is a word', "[on]\n$needed");
    compare('section name with odd characters', "[a.b-c_d/e:f]\n$needed");
    compare('section name with an equals sign', "[a=b]\n$needed");
    compare('section name with an operator', "[a|b]\n$needed");
    compare('NUL byte in a value', pool("ping.path = /a\0b\n"), ours => qr/fpm\.conf:6\] syntax error, a NUL byte/);
    compare('NUL byte in a comment', pool("; a\0b\n"), ours => qr/fpm\.conf:6\] syntax error, a NUL byte/);
    # control characters of a value cannot make a line of the log
    compare('a control character', pool("ping.path = /a\nping.response = a\x01b\n"), better => [ qr/= a\x01b\z/, qr/= a\\x01b\z/ ]);
    compare('a constant that is a line end', pool("ping.path = /a\nping.response = PHP_EOL\n"), better => [ qr/ping\.response = \z/, qr/= \\x0a\z/ ]);
    # a pool without a name could not be named in any message
    compare('a section without a name', "[]\n$needed", ours => qr/fpm\.conf:1\] a pool section needs a name/);
    compare('a quoted section without a name', "[\"\"]\n$needed", ours => qr/fpm\.conf:1\] a pool section needs a name/);
};

$section = '1.3';
subtest 'value types (1.3)' => sub {
    each_pool_value('pm.max_requests', qw(0 5 -5 007 5K 1.5 +5 - -- 5-5 0x10 yes off ten), '"5"', '" 5"', '"5 "', '5 5', '2147483647', '-2147483647');
    compare('number that is too large', pool("pm.max_requests = 99999999999\n"), ours => qr/too large/);
    each_pool_value('request_terminate_timeout', qw(0 5 5s 5m 2h 1d 10ms s m -1 -1s 5S 5x 1.5 5w yes), '""', '5 s', '"s5"');
    each_pool_value('catch_workers_output', qw(yes Yes 1 on ON true 0 no none off false 2 maybe), '""', '"yes"', '"YES"', '${FPM_TEST_UPPER}', 'null', '"null"');
    each_global_value('log_level', qw(debug NOTICE Warning warn error alert info yes), '""', '5');
    each_global_value('syslog.facility', qw(AUTH authpriv cron daemon ftp kern lpr mail news syslog user uucp local0 local7 local8 yes 24), '""');
    each_global_value('rlimit_core', qw(0 5 -1 -2 unlimited UNLIMITED x), '""');
    compare("pm = $_", managed("pm.max_children = 1\n", $_)) for 'STATIC', 'Static', 'sometimes', '""', 'yes', '"static"';
    compare("pm = $_", managed("pm.max_children = 1\npm.process_idle_timeout = 5\n", $_)) for 'OnDemand';
    each_pool_value('listen.mode', '0600', '600', '666', '"0666"', '0', 'yes');
    # what is no octal number would be some other mode, or none at all
    compare("listen.mode = $_", pool("listen.mode = $_\n"), ours => qr/entry 'listen\.mode': is not an octal mode such as 0660/) for '0999', 'abc', '""', '07777', '-1', '0o600', 'rw-rw----';
    each_pool_value('process.priority', '0', '5', '-19', '20', '21', '-20', 'x', '""');
    compare('$pool in the global section', global("error_log = \@DIR\@/log/\$pool.log\n"));
    compare('$pool in a path', pool("access.log = \@DIR\@/log/\$pool-\$pool.log\n"));
    compare('$pool in listen', "[www]\nuser = www-data\nlisten = \@DIR\@/\$pool.sock\npm = static\npm.max_children = 1\n");
    compare('$pool in a number', pool("pm.max_requests = \$pool\n"));
};

$section = '1.4';
subtest 'paths, prefix, includes (1.4)' => sub {
    my @plain = ('-n', '-y', '@DIR@/fpm.conf');
    compare('no -p: /var and /usr', "[global]\nerror_log = \@DIR\@/e.log\npid = run/x.pid\n[www]\nuser = www-data\nlisten = run/w.sock\npm = static\npm.max_children = 1\nslowlog = log/s.log\n", args => \@plain, plain => 1);
    compare('-p', "[global]\npid = run/x.pid\n[www]\nuser = www-data\nlisten = run/w.sock\npm = static\npm.max_children = 1\nslowlog = log/s.log\n");
    compare('-p that is no directory', pool(''), args => [ '-n', '-p', '@DIR@/nothing', '-y', '@DIR@/fpm.conf' ], more => 1);
    # the peer puts a relative -p in front of a socket twice
    compare('-p that is relative', "[www]\nuser = www-data\nlisten = w.sock\npm = static\npm.max_children = 1\n", args => [ '-n', '-p', 'site', '-y', 'fpm.conf' ], prepare => sub { make_path("$_[0]/site/log") }, better => [ qr{listen = site/site/w\.sock\z}, qr{listen = site/w\.sock\z} ]);
    compare('default file below -p', { 'etc/php-fpm.conf' => pool('') }, args => [ '-n', '-p', '@DIR@' ]);
    compare('missing file', {}, args => [ '-n', '-p', '@DIR@', '-y', '@DIR@/none.conf' ]);
    # the peer reads a directory as an empty file
    compare('a directory instead of a file', {}, args => [ '-n', '-p', '@DIR@', '-y', '@DIR@/etc' ], better => [ qr/No pool defined/, qr/ERROR: failed to read configuration file '\S+\/etc'/ ]);
    compare('-g', pool(''), args => [ '-n', '-p', '@DIR@', '-g', 'run/g.pid', '-y', '@DIR@/fpm.conf' ]);
    compare('-g, absolute', pool(''), args => [ '-n', '-p', '@DIR@', '-g', '/run/g.pid', '-y', '@DIR@/fpm.conf' ]);
    compare('-g beside pid', global("pid = c.pid\n"), args => [ '-n', '-p', '@DIR@', '-g', 'run/g.pid', '-y', '@DIR@/fpm.conf' ]);
    compare('-D in the dump', pool(''), args => [ '-n', '-D', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('-F in the dump', pool(''), args => [ '-n', '-F', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    my $relative = "user = www-data\nlisten = w.sock\npm = static\npm.max_children = 1\nslowlog = log/s.log\naccess.log = log/a.log\nchdir = www\nphp_value[error_log] = log/p.log\n";
    compare('pool prefix', "[www]\nprefix = \@DIR\@/site\n$relative");
    compare('pool prefix, relative', "[www]\nprefix = site\n$relative");
    compare('pool prefix with $pool', "[site]\nprefix = \@DIR\@/\$pool\n$relative");
    compare('pool prefix behind the keys', "[www]\n${relative}prefix = \@DIR\@/site\n");
    compare('pool prefix that is missing', "[www]\nprefix = \@DIR\@/nothing\n$relative", more => 1);
    compare('pool prefix that is a file', { 'fpm.conf' => "[www]\nprefix = \@DIR\@/file\n$relative", file => '' }, more => 1);
    compare('empty pool prefix', pool("prefix =\n"));
    my $rooted = "user = www-data\nlisten = \@DIR\@/w.sock\npm = static\npm.max_children = 1\n";
    compare('chroot = $prefix', "[www]\nprefix = \@DIR\@/site\n${rooted}chroot = \$prefix\n");
    compare('chroot = $prefix/www', "[www]\nprefix = \@DIR\@/site\n${rooted}chroot = \$prefix/www\n");
    compare('chroot = $prefix with -p alone', pool("chroot = \$prefix\n"));
    compare('chroot with $prefix inside', "[www]\nprefix = \@DIR\@/site\n${rooted}chroot = /x/\$prefix\n");
    compare('chroot with $prefix twice', "[www]\nprefix = \@DIR\@/site\n${rooted}chroot = \$prefix/\$prefix\n");
    compare('chroot', pool("chroot = \@DIR\@/site\n"));
    compare('chroot, relative', pool("chroot = site\n"));
    compare('chroot that is missing', pool("chroot = \@DIR\@/nothing\n"));
    compare('chroot that is empty', pool("chroot =\n"));
    compare('chroot and chdir', pool("chroot = \@DIR\@/site\nchdir = /www\n"));
    compare('chroot and relative chdir', pool("chroot = \@DIR\@/site\nchdir = www\n"));
    compare('chroot and chdir that is missing', pool("chroot = \@DIR\@/site\nchdir = /nothing\n"));
    compare('chdir', pool("chdir = \@DIR\@/site\n"));
    compare('chdir, relative', pool("chdir = site\n"));
    compare('chdir that is missing', pool("chdir = /nothing/here\n"));
    compare('chdir = yes', pool("chdir = yes\n"));
    compare('chdir that is empty', pool("chdir =\n"));
    compare('include', { 'fpm.conf' => "include = \@DIR\@/etc/*.conf\n", 'etc/a.conf' => pool(''), 'etc/b.conf' => "[b]\n" . $needed =~ s/www\.sock/b.sock/r });
    compare('include below the prefix', { 'fpm.conf' => "include = etc/*.conf\n", 'etc/a.conf' => pool('') });
    compare('include skips folders', { 'fpm.conf' => "include = etc/*\n", 'etc/a.conf' => pool(''), 'etc/z/b.conf' => "[b]\n" });
    compare('include without a match', pool("include = \@DIR\@/etc/*.none\n"));
    compare('include of a folder that is missing', pool("include = \@DIR\@/nothing/*.conf\n"));
    compare('include of a file that is missing', pool("include = \@DIR\@/etc/none.conf\n"));
    compare('include in a pool section', { 'fpm.conf' => pool("include = etc/more.conf\n"), 'etc/more.conf' => "ping.path = /included\n" });
    compare('a section goes on after an include', { 'fpm.conf' => "include = etc/a.conf\nping.path = /behind\n", 'etc/a.conf' => pool('') });
    compare('an included file starts in the section', { 'fpm.conf' => pool("include = etc/a.conf\n"), 'etc/a.conf' => "log_level = debug\n" }, right => [ 'fpm.conf at line 1', 'fpm.conf at line 6' ]);
    compare('an error in an included file', { 'fpm.conf' => pool("include = etc/a.conf\n"), 'etc/a.conf' => "\nnonsense = 1\n" }, right => [ 'fpm.conf at line 2', 'fpm.conf at line 6' ]);
    compare('an error two files down', { 'fpm.conf' => "\n\ninclude = etc/a.conf\n", 'etc/a.conf' => "\n\ninclude = etc/b.conf\n", 'etc/b.conf' => "\n\nnonsense = 1\n" });
    compare('a syntax error in an included file', { 'fpm.conf' => pool("include = etc/a.conf\n"), 'etc/a.conf' => "\nping.path = a=b\n" }, right => [ 'fpm.conf at line 2', 'fpm.conf at line 6' ]);
    compare('an error behind an include has its own line number', { 'fpm.conf' => pool("include = etc/a.conf\n\nnonsense = 1\n"), 'etc/a.conf' => "\n\n\n\n\n\n\n\nping.path = /a\n" }, right => [ 'fpm.conf:12]', 'fpm.conf:8]' ]);
    compare('an include behind an include too', { 'fpm.conf' => pool("include = etc/a.conf\ninclude = etc/none*\n"), 'etc/a.conf' => "\n\n\n\n\n\n\n\nping.path = /a\n" }, right => [ 'at line 11', 'at line 7' ]);
    compare('includes five files deep', { 'fpm.conf' => "include = etc/1.conf\n", (map { ("etc/$_.conf" => "include = etc/" . ($_ + 1) . ".conf\n") } 1 .. 3), 'etc/4.conf' => pool('') });
    compare('includes six files deep', { 'fpm.conf' => "include = etc/1.conf\n", (map { ("etc/$_.conf" => "include = etc/" . ($_ + 1) . ".conf\n") } 1 .. 4), 'etc/5.conf' => pool('') });
    compare('a file that includes itself', { 'fpm.conf' => pool("include = fpm.conf\n") });
    compare('Include is no include', pool("Include = etc/*.conf\n"));
    compare('include[] is no include', pool("include[a] = etc/*.conf\n"));
    compare('include of nothing', pool("include =\n"));
    compare('include = $pool', { 'fpm.conf' => pool("include = etc/\$pool.conf\n"), 'etc/www.conf' => "ping.path = /a\n" });
    compare('include with a variable', { 'fpm.conf' => pool("include = etc/\${FPM_TEST_WORD}.conf\n"), 'etc/word.conf' => "ping.path = /a\n" });
    compare("$_ with a relative value", pool("php_admin_value[$_] = a/b\n")) for qw(error_log extension_dir mime_magic.magicfile sendmail_path session.cookie_path
        session_pgsql.sem_file_name soap.wsdl_cache_dir uploadprogress.file.filename_template xdebug.output_dir xdebug.profiler_output_dir
        xdebug.trace_output_dir xmms.path axis2.client_home blenc.key_file coin_acceptor.device session.save_path open_basedir);
    compare('error_log = syslog, all four ways', pool("php_admin_value[error_log] = syslog\n[b]\n" . ($needed =~ s/www\.sock/b.sock/r) . "php_value[error_log] = syslog\n"));
    compare('relative php values below a chroot', pool("chroot = \@DIR\@/site\nphp_admin_value[error_log] = a.log\nphp_value[extension_dir] = x\n"));
    compare('sendmail_path with arguments', pool("php_admin_value[sendmail_path] = sendmail -t -i\n"));
    # an empty path means none; the peer makes it its prefix, a directory
    compare('empty php path values', pool("php_admin_value[error_log] =\nphp_value[extension_dir] = \"\"\n"), better => [ qr{php_admin_value\[error_log\] = /.+/\z}, qr{php_admin_value\[error_log\] = \z} ]);
    compare('chroot with $prefix behind a name', "[www]\nprefix = \@DIR\@/site\n${rooted}chroot = x/\$prefix\n");
};

$section = '1.5';
subtest 'global keys (1.5)' => sub {
    each_global_value('pid', 'run/a.pid', '/run/a.pid', '""');
    each_global_value('error_log', 'log/x.log', 'syslog', 'SYSLOG', '@DIR@/nothing/x.log', '@DIR@/etc', '""');
    each_global_value('syslog.ident', 'mine', '""', 'two words');
    each_global_value('log_buffering', 'no', 'x');
    each_global_value('log_limit', '512', '511', '4096', '0', '-1', 'x');
    each_global_value('emergency_restart_threshold', '10', 'x', '-1');
    each_global_value('emergency_restart_interval', '1m', 'x', '-1');
    each_global_value('process_control_timeout', '10', '1m', 'x', '""', '-5');
    each_global_value('process.max', '0', '128', '-1', 'x');
    each_global_value('process.priority', '-19', '20', '-20', '21', 'x', '""');
    each_global_value('daemonize', 'no', 'yes', 'x');
    each_global_value('rlimit_files', '1024', '-1', 'x');
    each_global_value('events.mechanism', 'epoll', 'poll', 'select', 'kqueue', 'EPOLL', 'nonsense', '""', 'port', '/dev/poll');
    each_global_value('systemd_interval', '0', '5', '10m', 'x', '-1');
    compare('a pool key in the global section', global("pm = static\n"));
    compare('a global key in a pool', pool("log_level = debug\n"));
    compare('two errors: the first is reported, and ours too', global("log_limit = x\nlog_level = y\n"), more => 1);
    compare('two bad limits', global("log_limit = 5\nprocess.max = -1\n"), more => 1);
};

$section = '1.6';
subtest 'pool keys (1.6)' => sub {
    compare('no pool', "[global]\nlog_level = notice\n");
    compare('an empty pool', "[www]\n", more => 1);
    compare('no user', "[www]\nlisten = \@DIR\@/w.sock\npm = static\npm.max_children = 1\n");
    compare('no user, with -R', "[www]\nlisten = \@DIR\@/w.sock\npm = static\npm.max_children = 1\n", args => [ '-n', '-R', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    # the peer's test takes what its start refuses
    compare($_->[0], pool("$_->[1]\n"), ours => qr/\[pool www\] please specify user and group other than root/)
        for [ 'root', 'user = root' ], [ 'user 0', 'user = 0' ], [ 'an unknown number without a group', 'user = 4242424' ], [ 'an empty user', 'user = ""' ], [ 'group 0', 'group = 0' ], [ 'group root', 'group = root' ];
    compare('an empty user with -R', pool("user = \"\"\n"), args => [ '-n', '-R', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('root with -R', pool("user = root\n"), args => [ '-n', '-R', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare("user = $_", pool("user = $_\n")) for '33', 'nobody-of-this-name', 'www-data2';
    compare('unknown numeric user with a group', pool("user = 4242424\ngroup = www-data\n"));
    compare("group = $_", pool("group = $_\n")) for 'www-data', '33', 'no-such-group', '424242', '""';
    compare('group = root with -R', pool("group = root\n"), args => [ '-n', '-R', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    my $no_listen = "user = www-data\npm = static\npm.max_children = 1\n";
    compare('no listen', "[www]\n$no_listen");
    compare("listen = $_", "[www]\n${no_listen}listen = $_\n") for '""', '9000', '127.0.0.1:9000', '[::1]:9000', '*:9000', ':9000', 'localhost:9000', 'name:port', '0', '99999', 'w.sock', './w.sock', 'a b.sock', '[::]:9000', '127.0.0.1:0', '"w.sock "';
    each_pool_value('listen.backlog', '0', '511', '-1', '-2', 'x');
    each_pool_value('listen.acl_users', 'www-data', 'www-data,nobody', '""');
    each_pool_value('listen.acl_groups', 'www-data', 'www-data,nogroup');
    # the peer finds out when it starts, and does not
    compare('an ACL user that is missing', pool("listen.acl_users = nobody-of-this-name\n"), ours => qr/\AERROR: \[pool www\] cannot get uid for user 'nobody-of-this-name'\z/);
    compare('an ACL group that is missing', pool("listen.acl_groups = www-data,no-such-group\n"), ours => qr/\AERROR: \[pool www\] cannot get gid for group 'no-such-group'\z/);
    compare('ACL and owner', pool("listen.acl_users = www-data\nlisten.owner = www-data\nlisten.group = www-data\n"));
    compare('ACL of groups and group', pool("listen.acl_groups = www-data\nlisten.group = www-data\n"));
    each_pool_value('listen.owner', 'www-data', '33', 'nobody-of-this-name', '""');
    each_pool_value('listen.group', 'www-data', '33', 'no-such-group', '""');
    compare('unknown listen.owner of a TCP pool', pool("listen = 127.0.0.1:9000\nlisten.owner = nobody-of-this-name\n"));
    compare('unknown listen.group of a TCP pool', pool("listen = 127.0.0.1:9000\nlisten.group = no-such-group\n"));
    each_pool_value('listen.allowed_clients', '127.0.0.1', '127.0.0.1,::1', '127.0.0.1, ::1', 'any', '""', 'localhost');
    each_pool_value('listen.setfib', '1');
    each_pool_value('process.dumpable', 'yes', 'x');
    compare('no pm', "[www]\nuser = www-data\nlisten = \@DIR\@/w.sock\npm.max_children = 1\n");
    compare('no pm.max_children', managed('', 'static'));
    compare("pm.max_children = $_", managed("pm.max_children = $_\n", 'static')) for '0', '-1', 'x', '1000', '""';
    compare("dynamic: $_", managed(join("\n", split / /, $_) . "\n", 'dynamic')) for
        'pm.max_children=5',
        'pm.max_children=5 pm.min_spare_servers=1',
        'pm.max_children=5 pm.max_spare_servers=1',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=0',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=2',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=1',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=3',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=4',
        'pm.max_children=5 pm.min_spare_servers=2 pm.max_spare_servers=3 pm.start_servers=1',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.start_servers=-2',
        'pm.max_children=5 pm.min_spare_servers=4 pm.max_spare_servers=3 pm.start_servers=4',
        'pm.max_children=5 pm.min_spare_servers=6 pm.max_spare_servers=7',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=7',
        'pm.max_children=5 pm.min_spare_servers=0 pm.max_spare_servers=3',
        'pm.max_children=5 pm.min_spare_servers=-1 pm.max_spare_servers=3',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=-3',
        'pm.max_children=5 pm.min_spare_servers=5 pm.max_spare_servers=5',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.max_spawn_rate=0',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.max_spawn_rate=-1',
        'pm.max_children=5 pm.min_spare_servers=1 pm.max_spare_servers=3 pm.max_spawn_rate=64',
        'pm.max_children=0 pm.min_spare_servers=1 pm.max_spare_servers=3';
    compare("ondemand: $_", managed(join("\n", split / /, $_) . "\n", 'ondemand')) for
        'pm.max_children=5',
        'pm.max_children=5 pm.process_idle_timeout=0',
        'pm.max_children=5 pm.process_idle_timeout=-5',
        'pm.max_children=5 pm.process_idle_timeout=2m',
        'pm.max_children=5 pm.process_idle_timeout=x',
        'pm.max_children=5 listen.backlog=-1',
        'pm.max_children=5 listen.backlog=-2',
        'pm.max_children=5 pm.start_servers=7';
    compare('ondemand without epoll', "[global]\nevents.mechanism = poll\n" . managed("pm.max_children = 1\n", 'ondemand'));
    compare('static ignores the numbers of dynamic', pool("pm.start_servers = 9\npm.min_spare_servers = 7\npm.max_spare_servers = 3\npm.max_spawn_rate = -2\npm.process_idle_timeout = -1\n"));
    for my $key ('pm.status_path', 'ping.path') {
        each_pool_value($key, '/a', '/', 'a', '""', '/a b', '/a?b', '/a%b', '/a/b.c_d-e~f', '/AZ09', '/a*', "/\xc3\xa4");
    }
    each_pool_value('pm.status_listen', '127.0.0.1:9001', 's.sock', '""', '@DIR@/www.sock');
    compare('pm.status_listen and pm.status_path', pool("pm.status_listen = \@DIR\@/s.sock\npm.status_path = /status\n"));
    compare('pm.status_listen and pm.status_path = /', pool("pm.status_listen = \@DIR\@/s.sock\npm.status_path = /\n"));
    compare('pm.status_listen twice', pool("pm.status_listen = \@DIR\@/s.sock\n[b]\n" . ($needed =~ s/www\.sock/b.sock/r) . "pm.status_listen = \@DIR\@/s.sock\n"));
    compare('a pool named like the status pool', pool("pm.status_listen = \@DIR\@/s.sock\n[www_status]\n" . ($needed =~ s/www\.sock/b.sock/r)));
    compare('ping.response alone', pool("ping.response = x\n"));
    compare('empty ping.response', pool("ping.path = /ping\nping.response =\n"));
    compare('ping.path and ping.response', pool("ping.path = /ping\nping.response = \"it lives\"\n"));
    each_pool_value('access.log', 'log/a.log', '@DIR@/nothing/a.log', '@DIR@/etc', '""');
    compare("access.format = $_", pool("access.log = \@DIR\@/log/a.log\naccess.format = $_\n")) for
        '"%R - %u %t \"%m %r%Q%q\" %s %f %{milli}d %{kilo}M %C%%"', '"%m"', '""', '"%"', '"%z"', '"%{mega}M"', '"%{seconds}d"', '"%{x}d"', '"%{x}M"', '"%{REQUEST_URI}e"', '"%e"', '"%{}e"',
        '"%{Content-type}o"', '"%o"', '"%{user}C"', '"%{system}C"', '"%{x}C"', '"%{%H}t"', '"%{%H}T"', '"%{"', '"%{a"', '"%{a}"', '"%l %n %p %P %T %s %d %M"', '"plain"', '"%{a}m"', '"%A"', '"%{total}C %{bytes}M %{micro}d %{miliseconds}d"';
    compare('access.format without access.log', pool("access.format = \"%z\"\n"));
    each_pool_value('slowlog', 'log/s.log', '@DIR@/nothing/s.log', '""');
    compare('slowlog and its timeout', pool("slowlog = log/s.log\nrequest_slowlog_timeout = 5\n"));
    compare('slowlog that cannot be written', pool("slowlog = \@DIR\@/nothing/s.log\nrequest_slowlog_timeout = 5\n"));
    compare('a slow timeout without slowlog', pool("request_slowlog_timeout = 5\n"));
    compare('a slow timeout with an empty slowlog', pool("slowlog =\nrequest_slowlog_timeout = 5\n"));
    compare('a negative slow timeout', pool("slowlog = log/s.log\nrequest_slowlog_timeout = -5\n"));
    compare('a slow timeout above the hard one', pool("slowlog = log/s.log\nrequest_slowlog_timeout = 10\nrequest_terminate_timeout = 5\n"));
    compare('a slow timeout like the hard one', pool("slowlog = log/s.log\nrequest_slowlog_timeout = 5\nrequest_terminate_timeout = 5\n"));
    compare("request_slowlog_trace_depth = $_", pool("slowlog = log/s.log\nrequest_slowlog_trace_depth = $_\n")) for '0', '-1', '5', 'x';
    compare('trace depth without slowlog', pool("request_slowlog_trace_depth = 5\n"));
    compare('trace depth of 0 without slowlog', pool("request_slowlog_trace_depth = 0\n"));
    each_pool_value('request_terminate_timeout_track_finished', 'yes', 'x');
    each_pool_value('rlimit_files', '1024', '-1', 'x');
    each_pool_value('rlimit_core', 'unlimited', '7', '-2');
    each_pool_value('decorate_workers_output', 'no', 'x');
    each_pool_value('clear_env', 'no', 'x');
    each_pool_value('security.limit_extensions', '.php', '.php .html', '""', 'FALSE', '.php   .phar ', 'php', '.php,.phar');
    each_pool_value('apparmor_hat', 'hat', '""');
    each_pool_value('no.such.key', '1');
    compare('the same address twice', pool("[b]\n$needed"));
    compare('the same address in another spelling', "[www]\n${no_listen}listen = w.sock\n[b]\n${no_listen}listen = \@DIR\@/w.sock\n");
    compare('the same TCP port twice', "[www]\n${no_listen}listen = 9000\n[b]\n${no_listen}listen = 9000\n");
    compare('errors of two pools', "[a]\nuser = www-data\n[b]\nuser = www-data\nlisten = 9000\n", more => 1);
    compare('many errors', pool("pm = x\npm.max_children = y\nnonsense = 1\nping.path = a=b\n"), more => 1);
    compare('a check error and a file error', pool("pm.max_children = 0\nnonsense = 1\n"), more => 1);
};

$section = '1.7';
subtest 'arrays (1.7)' => sub {
    my @line = (
        'env[A] = b', 'env[A] = $HOME', 'env[A] = ${FPM_TEST_WORD}', 'env[A] =', 'env[A] = ""', 'env[] = x', 'env = x', 'env[A]', 'Env[A] = b', 'ENV[A] = b', 'env["A"] = b', "env['A'] = b", 'env[ A ] = b', 'env[A B] = c',
        'env[E_ALL] = x', 'env[on] = x', 'env[A]x = y', 'env[A][B] = y', 'env[A=B] = c', 'env[A;B] = c', 'env[A|B] = c', 'env[${FPM_TEST_WORD}] = c', 'env[$pool] = $pool', 'env[A] = "a=b"', 'env[A] = $', 'env[A] = $FPM_TEST_NONE',
        'env[A] = on', 'env[A] = off', 'env[A] = null', 'env[A] = E_ALL', "env[A] = ''", 'env[""] = x', "env[''] = x", 'env [A] = x', 'env[A] ; = x',
        'php_value[a] = b', 'php_value[a] =', 'php_value[] = b', 'php_value = b', 'php_value[E_ALL] = b', 'php_value[error_reporting] = E_ALL & ~E_DEPRECATED', 'php_value[a] = "x y"', 'php_value[date.timezone] = Europe/Berlin',
        'php_flag[a] = on', 'php_flag[a] = off', 'php_flag[a] = 1', 'php_flag[a] = 0', 'php_flag[a] = maybe', 'php_flag[a] =', 'php_flag[a] = "on"', 'php_flag[a] = "ON"', 'php_flag[a] = 2',
        'php_admin_value[a] = b', 'php_admin_value[a] = $pool', 'php_admin_flag[a] = yes', 'php_admin_flag[a] = nein', 'php_admin_value[disable_functions] = exec,system', 'php_admin_value[extension] = x.so', 'PHP_VALUE[a] = b',
        'access.suppress_path[] = /ping', 'access.suppress_path[] = ping', 'access.suppress_path[a] = /ping', 'access.suppress_path[] =', 'access.suppress_path = /ping', 'access.suppress_path[] = /a b', 'access.suppress_path[] = /$pool', 'access.suppress_path[] = on',
        'unknown[a] = b', 'unknown[] = b', 'pm[a] = static', 'listen[] = x', 'php_value[a] = a=b', '[a] = b',
    );
    compare("line <$_>", pool("$_\n")) for @line;
    compare("global <$_>", global("$_\n")) for 'env[A] = b', 'php_value[a] = b', 'unknown[a] = b', 'access.suppress_path[] = /a', 'env[] = b', 'env[A] =';
    compare('order of arrays', pool("env[A] = 1\nphp_admin_value[x] = 1\nphp_value[x] = 2\nenv[B] = 2\nphp_flag[y] = on\nphp_admin_flag[y] = off\nenv[A] = 3\nphp_value[x] = 4\naccess.suppress_path[] = /a\naccess.suppress_path[] = /b\naccess.suppress_path[] = /a\n"));
    compare('arrays of two pools', pool("env[A] = 1\n[b]\n" . ($needed =~ s/www\.sock/b.sock/r) . "env[B] = 2\n[www]\nenv[C] = 3\n"));
};

$section = '1.8';
subtest 'without root' => sub {
    my $open = sub { chmod 0777, $_[0], "$_[0]/log", "$_[0]/site" };
    my $own  = "[www]\nlisten = \@DIR\@/w.sock\npm = static\npm.max_children = 1\n";
    my @mine = (unprivileged => 1, prepare => $open);
    compare('no user', $own, @mine);
    compare('user and group', "${own}user = www-data\ngroup = www-data\n", @mine);
    compare('an unknown user', "${own}user = nobody-of-this-name\n", @mine);
    compare('chroot and priority', "${own}chroot = \@DIR\@/site\nprocess.priority = 5\n", @mine);
    compare('chroot that is missing', "${own}chroot = /no/where\n", @mine);
    compare('chroot and chdir', "${own}chroot = \@DIR\@/site\nchdir = /www\n", @mine);
    compare('priority of the master', "[global]\nprocess.priority = 5\n$own", @mine);
    compare('all of them', "[global]\nprocess.priority = 5\n${own}user = x\ngroup = y\nchroot = /\nprocess.priority = 3\n", @mine);
    compare('error_log of somebody else', "[global]\nerror_log = /etc/x.log\n$own", @mine);
    compare('a file that must not be read', $own, unprivileged => 1, prepare => sub { $open->($_[0]); chmod 0600, "$_[0]/fpm.conf" });
};

$section = '1.8';
subtest 'files of the distribution and of guides' => sub {
    my ($global, $www) = ('/etc/php/8.2/fpm/php-fpm.conf', '/etc/php/8.2/fpm/pool.d/www.conf');
    if (-e $global && -e $www) {
        compare('Debian\'s unchanged files', {}, args => [ '-n', '-y', $global ]);
        compare('Debian\'s files as the peer finds them', {}, args => [ '-n', '-y', $global, '-D' ]);
    }
    compare('a production pool', "[myapp]\nuser = www-data\ngroup = www-data\nlisten = /run/php/php8.2-fpm-myapp.sock\nlisten.owner = www-data\nlisten.group = www-data\nlisten.mode = 0660\n"
        . "pm = dynamic\npm.max_children = 30\npm.start_servers = 5\npm.min_spare_servers = 3\npm.max_spare_servers = 10\npm.max_requests = 1000\n"
        . "slowlog = \@DIR\@/log/slow.log\nrequest_slowlog_timeout = 2s\npm.status_path = /fpm-status\nping.path = /fpm-ping\nclear_env = yes\nenv[HOSTNAME] = \$HOSTNAME\nenv[PATH] = /usr/local/bin:/usr/bin:/bin\n"
        . "php_admin_value[error_log] = \@DIR\@/log/php.log\nphp_admin_flag[log_errors] = on\nphp_admin_value[memory_limit] = 256M\nphp_admin_value[upload_max_filesize] = 64M\nphp_admin_value[post_max_size] = 64M\n"
        . "php_admin_value[disable_functions] = exec,passthru,shell_exec,system\nphp_admin_value[open_basedir] = /var/www/myapp:/tmp\n");
    compare('-d and ${}', pool("ping.path = /\${my.setting}\n"), args => [ '-n', '-d', 'my.setting=there', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('${} of a php.ini setting', pool("ping.response = \${memory_limit}\nping.path = /ping\n"), args => [ '-n', '-d', 'memory_limit=77M', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('${} of php.ini', { 'fpm.conf' => pool("ping.response = \${memory_limit}-\${my.own}\nping.path = /ping\n"), 'php.ini' => "memory_limit = 99M\nmy.own = mine\n" }, args => [ '-c', '@DIR@/php.ini', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('${} of php.ini comes before the environment', { 'fpm.conf' => pool("ping.response = \${FPM_TEST_WORD}\nping.path = /ping\n"), 'php.ini' => "FPM_TEST_WORD = ini\n" }, args => [ '-c', '@DIR@/php.ini', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare("constant $_", pool("ping.response = $_\nping.path = /ping\n"), args => [ '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]) for qw(PHP_VERSION PHP_MAJOR_VERSION PHP_VERSION_ID PHP_SAPI E_STRICT M_PI JSON_ERROR_NONE LOG_ERR NAN INF PHP_DEBUG PHP_ZTS DATE_ATOM e_all E_NONE SEEK_END \\E_ALL ZEND_THREAD_SAFE), 'LOG_ERR|LOG_PID', 'JSON_PRETTY_PRINT | JSON_THROW_ON_ERROR';
    compare('a constant as key', pool("php_value[LOG_ERR] = x\n"), args => [ '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('-d fpm.config', pool(''), args => [ '-n', '-d', 'fpm.config=@DIR@/fpm.conf', '-p', '@DIR@' ]);
    compare('fpm.config of php.ini', { 'named.conf' => pool('ping.path = /named'), 'php.ini' => "fpm.config = \@DIR\@/named.conf\n" }, args => [ '-c', '@DIR@/php.ini', '-p', '@DIR@' ]);
    compare('-y goes before fpm.config of php.ini', { 'fpm.conf' => pool('ping.path = /named'), 'php.ini' => "fpm.config = \@DIR\@/none.conf\n" }, args => [ '-c', '@DIR@/php.ini', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
    compare('-c without a file', pool(''), args => [ '-c', '@DIR@/none.ini', '-p', '@DIR@', '-y', '@DIR@/fpm.conf' ]);
};

diag("section $_: $cases{$_} cases beside php-fpm") for sort keys %cases;
done_testing();
