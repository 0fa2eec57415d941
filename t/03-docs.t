# The documents say what the code does: keys, types and defaults, options, signals, exit codes, log
# lines, directives, variables of the tests; links lead somewhere; commands that are shown exist.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp ();
use Test::More;

chdir dirname(__FILE__) . '/..' or die $!;
my $build    = $ENV{FPMPOOL_BUILD} || 'build';
my @document = qw(README.md fpmpoold/README.md fpmpoold/COMPATIBILITY.md mod_fpmpool/README.md t/README.md);
my %text     = map { $_ => slurp($_) } @document;
my $daemon   = $text{'fpmpoold/README.md'};
my $main     = $text{'README.md'};

# ---- keys -----------------------------------------------------------------------------------

my %type_name = (
    NUMBER => 'number', PRIORITY => 'priority', TIME => 'time', SCALE => 'time', BOOLEAN => 'boolean', TEXT => 'text', PATH => 'path',
    LEVEL => 'level', FACILITY => 'facility', CORE => 'core limit', PM => 'pm', MODE => 'mode', BYTES => 'bytes',
);
my $table = slurp('fpmpoold/conf/keys.c');
my (%key, @order);    # "Global section/name" => {type, preset, effect}
my $string = qr/"((?:\\.|[^"\\])*)"/;
while ($table =~ /^\s+(GLOBAL|POOL|OURS|OURS_GLOBAL)\($string,\s*FPD_KEY_(\w+),\s*\w+,\s*$string(?:,\s*([01]))?\)/mg) {
    my ($macro, $name, $type, $preset, $effect) = ($1, $2, $3, $4, $5 // 1);
    my $section = { GLOBAL => 'Global section', POOL => 'Pool sections', map { $_ => 'Keys that php-fpm does not have' } qw(OURS OURS_GLOBAL) }->{$macro};
    $key{"$section/$name"} = { type => $type_name{$type} // $type, preset => $preset =~ s/\\(.)/$1/gr, effect => $effect };
}
my $rows_in_code = () = $table =~ /^\s+(?:GLOBAL|POOL|OURS|OURS_GLOBAL)\("/mg;

subtest 'the tables of keys are the table of the code' => sub {
    is(scalar keys %key, $rows_in_code, 'every row of keys.c was understood');
    cmp_ok(scalar keys %key, '>', 50, 'there are keys');
    my %documented;
    for my $section ('Global section', 'Pool sections', 'Keys that php-fpm does not have') {
        for my $row (table_rows($daemon, $section)) {
            my ($name, $type, $preset, $meaning) = @$row;
            $name =~ s/^`|`$//g;
            $documented{"$section/$name"} = { type => $type, preset => $preset eq '-' ? '' : $preset, effect => $meaning =~ /No effect yet/ ? 0 : 1, meaning => $meaning };
        }
    }
    is_deeply([ sort keys %documented ], [ sort keys %key ], 'the same keys in the same sections');
    for my $name (sort grep { $documented{$_} } keys %key) {
        is($documented{$name}{$_}, $key{$name}{$_}, "$name: $_") for qw(type preset effect);
        like($documented{$name}{meaning}, qr/\w/, "$name: has a meaning");
    }
};

subtest 'lists and include' => sub {
    my $parse = slurp('fpmpoold/conf/parse.c');
    my ($settings) = $parse =~ /php_settings\[\] = \{(.*?)\}/s;
    my @list = (($settings =~ /"(\w+)"/g), $parse =~ /strcmp\(\w+(?:->|\.)name, "([\w.]+)"\)/g);
    my @documented = map { $_->[0] =~ /^`([\w.]+)/ ? $1 : $_->[0] } table_rows($daemon, 'Lists and include');
    is_deeply([ sort @documented ], [ sort @list ], 'the table has what the parser knows');
};

subtest 'documented defaults are those of the program' => sub {
    my $program = "$build/bin/fpmpoold";
    plan(skip_all => "$program is not built") unless -x $program;
    my $dir = File::Temp->newdir;
    my $user = $> ? '' : "user = www-data\n";
    spew("$dir/a.conf", "error_log = $dir/error.log\n[a]\n${user}listen = $dir/a.sock\npm = ondemand\npm.max_children = 1\n");
    my $output = `$program -tt -y $dir/a.conf 2>&1`;
    my %dumped;
    my $section = '';
    for my $line (split /\n/, $output) {
        $section = $1 eq 'global' ? 'Global section' : 'Pool sections' if $line =~ /NOTICE: \s*\[(\w+)\]$/;
        $dumped{"$section/$1"} = $2 if $line =~ /\t([\w.]+) = (.*)$/;
    }
    for my $name (sort keys %key) {
        my $preset = $key{$name}{preset};
        next if $preset eq '' || $preset =~ / / && $preset !~ /^\./ || $name =~ /^Keys/;
        next if $name =~ m{/(?:error_log|log_level|ping\.response|listen\.mode|syslog\.facility)$};    # dumped resolved, as unknown, or when used
        $preset = seconds($preset) . ($dumped{$name} =~ /s$/ ? 's' : '') if $key{$name}{type} eq 'time';
        is($dumped{$name}, $preset, $name);
    }
};

subtest 'a key without effect says so' => sub {
    my $program = "$build/bin/fpmpoold";
    plan(skip_all => "$program is not built") unless -x $program;
    my $dir  = File::Temp->newdir;
    my $user = $> ? '' : "user = www-data\n";
    my %value = (text => 'x', number => 3, time => '10s', path => "$dir/x.log", boolean => 'yes');
    my @silent = sort grep { !$key{$_}{effect} } keys %key;
    my %line = ('Global section' => '', 'Pool sections' => '');
    for my $name (@silent) {
        my ($section, $key) = split m{/}, $name, 2;
        $line{$section} .= "$key = $value{ $key{$name}{type} }\n";
    }
    spew("$dir/a.conf", "[global]\nerror_log = $dir/error.log\nlog_buffering = no\nevents.mechanism = poll\n" . $line{'Global section'}
        . "[a]\n${user}listen = $dir/a.sock\npm = static\npm.max_children = 1\n" . $line{'Pool sections'});
    my $output = `$program -t -y $dir/a.conf 2>&1`;
    is($? >> 8, 0, 'the file is good') or diag($output);
    for my $name (@silent) {
        my $key = $name =~ s{.*/}{}r;
        like($output, qr/NOTICE: \[\Q$dir\E\/a\.conf:\d+\] '\Q$key\E' is accepted but has no effect yet/, $name);
    }
    unlike($output, qr/log_buffering/, 'log_buffering = no is harmless, and no NOTICE is made of it');
    like($output, qr/NOTICE: 'events\.mechanism = poll' has no effect/, 'events.mechanism = poll');
    spew("$dir/a.conf", "[global]\nerror_log = $dir/error.log\nlog_buffering = yes\nevents.mechanism = epoll\n[a]\n${user}listen = $dir/a.sock\npm = static\npm.max_children = 1\n");
    unlike(`$program -t -y $dir/a.conf 2>&1`, qr/no effect/, 'and nothing is said of what has its effect');
};

# ---- the daemon's other tables ----------------------------------------------------------------

subtest 'options' => sub {
    my $source = slurp('fpmpoold/master/argv.c');
    my @code = map { "$_->[1] $_->[0] $_->[2]" } pairs($source =~ /^\s+\{"([\w-]+)",\s+(?:'(.)'|OPTION_\w+), ([01]),/mg);
    s/^ /- / for @code;    # without a letter
    my @documented;
    for my $row (table_rows($daemon, 'Command line')) {
        next unless $row->[1] =~ /^`--/;
        if ($row->[0] eq '-') {
            my ($long, $argument) = $row->[1] =~ /^`--([\w-]+)( [^`]+)?`$/;
            push @documented, "- $long " . ($argument ? 1 : 0);
            next;
        }
        my ($short, $argument) = $row->[0] =~ /^`-(\S)( \S+)?`$/ or do { fail("not an option: $row->[0]"); next };
        my ($long) = $row->[1] =~ /^`--([\w-]+)`$/;
        push @documented, "$short $long " . ($argument ? 1 : 0);
    }
    ok(@code > 10, 'there are options');
    is_deeply([ sort @documented ], [ sort @code ], 'the table is argv.c\'s');
};

subtest 'commands of --ctl' => sub {
    my ($table) = slurp('fpmpoold/master/control_line.c') =~ /verbs\[\] = \{(.*?)^\};/ms;
    my @code = grep { $_ ne 'outcome' } $table =~ /\{"([\w-]+)", [01]\}/g;
    my @documented = map { $_->[0] =~ /^`([\w-]+)/ ? $1 : $_->[0] } table_rows($daemon, 'Control');
    is_deeply([ sort @documented ], [ sort @code ], 'the table has what the daemon knows');
    my ($pool, $master) = map { slurp("fpmpoold/master/control_line.c") =~ /fpd_control_${_}_fields\[\] = \{(.*?)^\};/ms } qw(pool daemon);
    for my $list ($pool, $master) {
        like($daemon, qr/`$_`/, "field $_ of status is documented") for $list =~ /\{"(\w+)"/g;
    }
};

subtest 'signals and exit codes' => sub {
    my ($list) = slurp('fpmpoold/master/master.c') =~ /numbers\[\] = \{(.*?)\}/s;
    my @code = grep { $_ ne 'CHLD' } $list =~ /SIG(\w+)/g;
    my @documented = map { split /, /, $_->[0] } table_rows($daemon, 'Signals');
    is_deeply([ sort @documented ], [ sort @code ], 'signals of the master');
    my @exit = slurp('fpmpoold/master/master.h') =~ /FPD_EXIT_\w+ = (\d+)/g;
    my @documented_exit = map { $_->[0] } grep { $_->[0] =~ /^\d+$/ } table_rows($daemon, 'Command line');
    is_deeply([ sort @documented_exit ], [ sort @exit ], 'exit codes');
};

subtest 'log lines' => sub {
    my %known;
    for my $file (glob 'fpmpoold/*/*.c') {
        my $code = slurp($file) =~ s{/\*.*?\*/}{}sgr;
        $code =~ s/"\s*\n\s*"//g;    # pieces of one string
        $known{ $_ =~ s/\\(.)/$1/gr } = 1 for $code =~ /$string/g;
    }
    my @row = table_rows($daemon, 'Log lines');
    cmp_ok(scalar @row, '>', 20, 'there are lines');
    for my $row (@row) {
        my ($line) = $row->[1] =~ /^`(.*)`$/ or do { fail("not a line: $row->[1]"); next };
        like($row->[0], qr/^(?:NOTICE|WARNING|ERROR|ALERT)$/, "level of: $line");
        # the part that a pool's own lines get from the master may stand in the code or not
        my $pattern = join '.*', map { quotemeta } split /\{[^}]*\}/, $line;
        my @piece = $line =~ /^child \{pid\} exited/ ? ($line =~ /(exited (?:with code|on signal) )/) : ();
        my $found = grep { /^$pattern/ } keys %known;
        $found ||= grep { index($_, $piece[0]) >= 0 } keys %known if @piece;
        ok($found, "the code can say: $line");
    }
};

subtest 'tokens of access.format' => sub {
    my ($tokens) = slurp('fpmpoold/worker/access_log.c') =~ /strchr\("%(\w+)"/;
    my ($part) = $daemon =~ /^## Access log$(.*?)^## /ms;
    my %documented = map { $_ => 1 } map { /`%(?:\{NAME\})?(\w|%)`/g } grep { /^\|/ } split /\n/, $part;
    is_deeply([ sort keys %documented ], [ sort split(//, $tokens), '%' ], 'the table has all of them');
};

# ---- the table of compatibility ----------------------------------------------------------------

my $compatibility = $text{'fpmpoold/COMPATIBILITY.md'};
my %verdict = map { $_ => 1 } 'same', 'improved', 'not applicable';

# The first cells of a section's table, without quotes; each row has a verdict, and a reason unless it is "same".
sub compared_rows {
    my ($section) = @_;
    my @found;
    for my $row (table_rows($compatibility, $section)) {
        my ($name, $here, $why) = @$row;
        ok($verdict{$here}, "$section: $name: $here");
        like($why, qr/\w/, "$section: $name: how, or why") if $here ne 'same';
        push @found, $name =~ s/`//gr;
    }
    return @found;
}

subtest 'compatibility: keys' => sub {
    my %of = ('Global keys' => [], 'Pool keys' => [ 'listen.setfib', map { "$_\[]" } qw(access.suppress_path env php_value php_flag php_admin_value php_admin_flag) ]);
    push @{ $of{'Pool keys'} }, 'include';
    for my $name (keys %key) {
        my ($section, $key) = split m{/}, $name, 2;
        push @{ $of{ $section =~ /Global/ ? 'Global keys' : 'Pool keys' } }, $key if $section !~ /does not have/;
    }
    s/\\//g for map { @$_ } values %of;
    is_deeply([ sort { $a cmp $b } compared_rows($_) ], [ sort @{ $of{$_} } ], "$_: the table is the code's") for sort keys %of;
};

subtest 'compatibility: options, signals, fields, tokens' => sub {
    my @option = map { "-$_->[1], --$_->[0]" } pairs(slurp('fpmpoold/master/argv.c') =~ /^\s+\{"([\w-]+)", '(.)', ([01]),/mg);
    @option = grep { !/^-j,/ } @option;    # our own: it belongs to --ctl
    is_deeply([ sort { $a cmp $b } compared_rows('Options') ], [ sort @option ], 'options');
    my ($numbers) = slurp('fpmpoold/master/master.c') =~ /numbers\[\] = \{(.*?)\}/s;
    is_deeply([ sort { $a cmp $b } compared_rows('Signals') ], [ sort 'PIPE', $numbers =~ /SIG(\w+)/g ], 'signals');
    my %field = map { $_ => 1 } slurp('fpmpoold/worker/status_format.c') =~ /^\s+\{"([\w ]+)", FIELD_/mg;
    is_deeply([ sort { $a cmp $b } compared_rows('Status fields') ], [ sort keys %field ], 'fields of the status page');
    my ($tokens) = slurp('fpmpoold/worker/access_log.c') =~ /strchr\("(%\w+)"/;
    is_deeply([ sort { $a cmp $b } compared_rows('Tokens of access.format') ], [ sort map { "%$_" } split //, $tokens ], 'tokens');
    compared_rows('PHP');
};

subtest 'compatibility: what php-fpm has' => sub {
    my $peer = '/usr/sbin/php-fpm8.2';
    plan(skip_all => 'php8.2-fpm is not installed') unless -x $peer;
    my $dir  = File::Temp->newdir;
    my $user = $> ? '' : "user = www-data\n";
    spew("$dir/a.conf", "[global]\nerror_log = $dir/error.log\n[a]\n${user}listen = $dir/a.sock\npm = static\npm.max_children = 1\naccess.suppress_path[] = /a\nenv[A] = b\nphp_value[a] = b\nphp_admin_value[a] = b\n");
    my %row = map { my $section = $_; map { ("$section/" . $_->[0] =~ s/`//gr => 1) } table_rows($compatibility, $section) } 'Global keys', 'Pool keys';
    my ($section, $count, @missing) = ('', 0);
    for my $line (split /\n/, `$peer -n -tt -y $dir/a.conf 2>&1`) {
        $section = $1 eq 'global' ? 'Global keys' : 'Pool keys' if $line =~ /NOTICE: \s*\[(\w+)\]$/;
        next unless $line =~ /\t([\w.]+(?:\[)?)[^=]* = /;
        my $name = $1 =~ s/\[$/[]/r;
        $name .= '[]' if $name eq 'access.suppress_path';
        $count++;
        push @missing, "$section/$name" unless $row{"$section/$name"};
    }
    cmp_ok($count, '>', 60, 'php-fpm -tt shows its keys');
    is_deeply(\@missing, [], 'each of them is in the table');
    my $options = join ' ', map { $_->[0] } table_rows($compatibility, 'Options');
    my @unknown = grep { index($options, "`$_`") < 0 } `$peer --help` =~ /^\s+(-\w)\b/mg, `$peer --help` =~ /(--[\w-]+)/g;
    is_deeply(\@unknown, [], 'and each option of --help');
};

# ---- the module -------------------------------------------------------------------------------

subtest 'directives, both ways' => sub {
    my $readme     = $text{'mod_fpmpool/README.md'};
    my $conf       = join "\n", map { slurp($_) } glob 'mod_fpmpool/fpmp_conf*.c';
    my %created    = map { $_ => 1 } $conf =~ /AP_INIT_\w+\(\s*"<?(\w+)"/g;
    my %documented = map { $_ => 1 } $readme =~ /^### (?:\\<)?(\w+)/mg;
    is_deeply([ sort keys %documented ], [ sort keys %created ], 'the README documents exactly what is there');
    for my $file (@document, glob('conf/examples/*/*'), glob('conf/fpmpool*')) {
        my %used = map { $_ => 1 } slurp($file) =~ /\b(FpmPool[A-Z]\w+|FpmPool)\b/g;
        is_deeply([ grep { !$created{$_} } sort keys %used ], [], "$file names no other");
    }
};

# ---- the tests' own page -----------------------------------------------------------------------

subtest 'variables of the tests' => sub {
    my %used;
    for my $file (glob('t/*.t'), glob('t/lib/FPMPool/*.pm'), 't/run', glob('t/bench/*')) {
        $used{$_} = 1 for slurp($file) =~ /ENV\{(FPMPOOL_\w+)\}/g;
    }
    my %documented = map { $_ => 1 } map { /`(FPMPOOL_\w+)/g } grep { /^\|/ } split /\n/, $text{'t/README.md'};
    delete $used{FPMPOOL_TEST_OUTER};    # a variable that a test gives to the daemon
    is_deeply([ sort keys %documented ], [ sort keys %used ], 't/README.md lists those that are used');
};

# ---- links, names, commands ---------------------------------------------------------------------

subtest 'links lead somewhere' => sub {
    my %anchor = map { $_ => { map { anchor($_) => 1 } $text{$_} =~ /^#+ (.*)$/mg } } @document;
    my $count = 0;
    for my $file (@document) {
        my $prose = $text{$file} =~ s/^```.*?^```$//msgr;
        for my $link ($prose =~ /\[[^\]]+\]\(([^)\s]+)\)/g) {
            next if $link =~ /^https?:/;
            my ($path, $place) = split /#/, $link, 2;
            my $target = $path eq '' ? $file : normal(dirname($file) . "/$path");
            $count++;
            ok(-e $target, "$file: $link") or next;
            next unless defined $place;
            ok($anchor{$target} && $anchor{$target}{$place}, "$file: $link has that heading");
        }
        # files and folders that are named in the text
        for my $path ($prose =~ m{`((?:build|conf|t|fpmpoold|mod_fpmpool)/[\w./-]*\w)`}g) {
            next if $path =~ m{^build/(?:bin|lib|test|asan)/|/NN-|test_NAME};
            ok(-e $path || -e dirname($file) . "/$path", "$file: $path is there");
        }
    }
    cmp_ok($count, '>', 10, 'there are links');
};

subtest 'commands that are shown exist' => sub {
    my $help    = `./configure --help`;
    my $make    = slurp('Makefile');
    my %option  = map { $_ => 1 } slurp('fpmpoold/master/argv.c') =~ /^\s+\{"[\w-]+", '(.)'/mg;
    my %foreign = map { $_ => 1 } qw(systemctl a2enmod apache2ctl cp kill curl tail env);
    my %installed = map { $_ => 1 } qw(fpmpoold);
    my $count   = 0;
    for my $file (qw(README.md fpmpoold/README.md t/README.md)) {
        my @command = map { split /\s*&&\s*/ } grep { /\S/ } map { s/\s+#\s.*//r } map { split /\n/ } fences($text{$file}, 'sh');
        for my $command (@command) {
            my ($word, @argument) = split ' ', $command;
            $count++;
            if ($word eq 'sh') {
                ok(-f $argument[0], "$file: $command") or next;
                next if @argument < 2 || $argument[1] =~ /^\[/;
                like(slurp($argument[0]), qr/\b\Q$argument[1]\E\b/, '... and takes that argument');
            } elsif ($word eq './configure') {
                for my $flag (@argument) {
                    my ($name) = $flag =~ /^(--[\w-]+)/;
                    like($help, qr/\Q$name\E\b/, "$file: configure knows $name");
                }
            } elsif ($word eq 'make') {
                like($make, qr/^\Q$_\E:/m, "$file: make $_") for grep { !/=/ } @argument;
                pass("$file: $command");
            } elsif ($word =~ m{^(?:build/bin/)?fpmpoold$}) {
                my @flag = map { /^-(\w)/ ? $1 : () } @argument;
                is_deeply([ grep { !$option{$_} } @flag ], [], "$file: $command");
            } elsif ($word eq 'prove') {
                ok(-f $argument[-1], "$file: $command");
            } elsif ($word =~ m{/}) {
                ok(-x $word, "$file: $command");
            } else {
                ok($foreign{$word}, "$file: $command is a command of the system");
            }
        }
    }
    cmp_ok($count, '>', 10, 'there are commands');
    for my $option ($main =~ /^\| (`--.*?) \|/mg) {
        like($help, qr/\Q$_\E\b/, "configure knows $_") for $option =~ /(--[\w-]+)/g;
    }
};

subtest 'dependencies' => sub {
    my $script = slurp('build/deps.sh') =~ s/^\s*#.*$//mgr;
    my %installed = map { $_ => 1 } map { split ' ' } map { s/\$packages//r } $script =~ /^\s*packages="([^"]*)"/msg;
    my %documented = map { $_ => 1 } map { $_->[0] =~ /`([^`]+)`/g } table_rows($main, 'Dependencies');
    is_deeply([ sort keys %documented ], [ sort keys %installed ], 'the README gives a reason for each package of deps.sh');
};

subtest 'the first screen' => sub {
    my @line = split /\n/, $main;
    my ($end) = grep { $line[$_] =~ /^## / } 0 .. $#line;
    cmp_ok($end, '<=', 75, 'fits a screen');
    my $head = join "\n", @line[ 0 .. $end ];
    like($head, qr/^sh build\/demo\.sh \[DOCROOT\]/m, 'the demo');
    like($head, qr/^sh build\/check\.sh/m, 'the check');
    is(scalar fences($head, 'apache'), 1, 'httpd\'s part');
    is(scalar fences($head, 'ini'), 1, 'the pool\'s part');
    like($main, qr/^## Measured\n.*^<!-- figures: t\/bench\/hello -->$/ms, 'the place of the figures');
    my ($version) = slurp('Makefile') =~ /^VERSION = (\S+)$/m;
    like(slurp('CHANGES'), qr/^\Q$version\E\b/m, "CHANGES tells of $version");
};

subtest 'what mod_fpmpool and the daemon tell each other is described' => sub {
    my %named  = map { $_ => 1 } map { slurp("fpmpoold/wire/$_") =~ /"(FPMPOOL_\w+)"/g } qw(wire.h wire_facts.c);
    cmp_ok(scalar keys %named, '>=', 10, 'there are some');
    like($daemon, qr/^\| `$_` \|/m, $_) for sort keys %named;
};
done_testing();

# ---- helpers -------------------------------------------------------------------------------------

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

sub spew {
    my ($file, $content) = @_;
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} $content;
    close $out or die "$file: $!\n";
    return;
}

# The rows of the tables below a heading: lists of cells. Heads and rules are left out.
sub table_rows {
    my ($document, $heading) = @_;
    my ($part) = $document =~ /^#+ \Q$heading\E\n(.*?)(?=^#+ |\z)/ms or die "no heading '$heading'\n";
    my @row;
    my @line = split /\n/, $part;
    for my $n (0 .. $#line) {
        next unless $line[$n] =~ /^\|(.*)\|$/;
        my $cells = $1;
        next if $cells =~ /^[-:| ]+$/ || ($line[ $n + 1 ] // '') =~ /^\|[-:| ]+\|$/;
        push @row, [ map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, $cells, -1 ];
    }
    return @row;
}

sub fences {
    my ($document, $kind) = @_;
    return $document =~ /^```\Q$kind\E\n(.*?)^```$/msg;
}

sub pairs {
    my @list = @_;
    my @triple;
    push @triple, [ map { $_ // '' } splice @list, 0, 3 ] while @list;
    return @triple;
}

sub seconds {
    my ($time) = @_;
    return $time =~ /^(\d+)m$/ ? $1 * 60 : $time =~ /^(\d+)s?$/ ? $1 : $time;
}

# A heading's name in a link, as the usual viewers make it.
sub anchor { return lc($_[0]) =~ s/[^\w\s-]//gr =~ s/\s/-/gr }

sub normal {
    my ($path) = @_;
    $path =~ s{^\./}{};
    1 while $path =~ s{(?:^|/)(?!\.\./)[^/]+/\.\.(?:/|$)}{/} && $path =~ s{^/}{};
    return $path =~ s{/$}{}r;
}
