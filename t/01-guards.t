# The rules of the source tree that no compiler checks: which folder may include which, sizes, names,
# registration of tests, log ids, directives, formats, and what the built files export.

use strict;
use warnings;
use Cwd ();
use File::Basename qw(basename dirname);
use Test::More;

chdir dirname(__FILE__) . '/..' or die $!;
my $build = $ENV{FPMPOOL_BUILD} || 'build';

my @c = grep { -f } (glob('mod_fpmpool/*.[ch]'), glob('fpmpoold/*/*.[ch]'));
ok(@c > 50, 'the sources are there');
my %text = map { $_ => slurp($_) } @c, glob('t/unit/*.[ch]'), glob('t/fuzz/*.c'), glob('t/chaos/*.c'), glob('t/bin/*.c');

subtest 'includes run one way' => sub {
    my %may = (
        wire   => [],
        base   => [],
        conf   => [qw(base)],
        master => [qw(conf base)],
        php    => [qw(base wire)],
        worker => [qw(php base wire)],
        pool   => [qw(worker php base wire)],
    );
    for my $file (grep { m{^fpmpoold/} } @c) {
        my ($folder) = $file =~ m{^fpmpoold/(\w+)/};
        for my $include (includes($file)) {
            my ($to) = $include =~ m{^(\w+)/} or next;
            next if $to eq $folder || !$may{$to};
            ok((grep { $_ eq $to } @{ $may{$folder} }), "$file may include $include");
        }
    }
    # the pool process sees PHP only through its door
    for my $file (grep { m{^fpmpoold/pool/} } @c) {
        is_deeply([ grep { m{^php/} && $_ ne 'php/start.h' } includes($file) ], [], "$file knows php/start.h only");
    }
    my %layer = (
        mod_fpmpool => 3,
        (map { $_ => 2 } qw(fpmp_handler fpmp_task fpmp_route fpmp_exchange fpmp_verdict fpmp_probe fpmp_lookup fpmp_status fpmp_page fpmp_manager fpmp_conf_dump)),
        (map { $_ => 1 } qw(fpmp_client fpmp_queue fpmp_admit fpmp_share_slots fpmp_check fpmp_counters fpmp_hosts fpmp_notes fpmp_choice fpmp_names fpmp_select fpmp_health fpmp_share fpmp_share_private fpmp_share_names fpmp_balance fpmp_env fpmp_cgi fpmp_constant fpmp_conn fpmp_relay fpmp_body fpmp_response fpmp_answer fpmp_sendfile fpmp_spool fpmp_failure fpmp_stderr
            fpmp_snapshot fpmp_seen fpmp_query fpmp_html fpmp_card fpmp_chart fpmp_style fpmp_json fpmp_auto fpmp_metrics fpmp_text
            fpmp_latency fpmp_admin fpmp_trouble)),
        (map { $_ => 0 } qw(fpmp_conf fpmp_conf_define fpmp_conf_member fpmp_conf_health fpmp_conf_check fpmp_conf_select fpmp_expect fpmp_header fpmp_pool fpmp_limit fpmp_address fpmp_clock fpmp_root fpmp_ini fpmp_setenvif fpmp_cgi_text mod_php_names)),
    );
    for my $file (grep { m{^mod_fpmpool/} } @c) {
        my $name = basename($file) =~ s/\.[ch]$//r;
        ok(defined $layer{$name}, "$file has its place in the layers") or next;
        for my $include (includes($file)) {
            my $to = $include =~ s/\.h$//r;
            if (defined $layer{$to}) {
                cmp_ok($layer{$to}, '<=', $layer{$name}, "$file may include $include");
            } elsif ($include =~ m{/}) {
                like($include, qr{^wire/}, "$file takes wire/ alone from the daemon");
            }
        }
    }
};

subtest 'httpd, PHP and APR stay where they belong' => sub {
    for my $file (sort keys %text) {
        my @include = $text{$file} =~ /^\s*#\s*include\s*[<"]([^>"]+)/mg;
        unlike("@include", qr/\b(?:httpd|http_(?:config|connection|core|log|main|protocol|request|vhost)|ap_\w+)\.h/, "$file: no httpd") unless $file =~ m{^mod_fpmpool/};
        unlike("@include", qr/\b(?:php|php_\w+|SAPI|zend\w*)\.h\b|Zend\//, "$file: no PHP") unless $file =~ m{^fpmpoold/php/};
        unlike("@include", qr/\bapr|"(?!wire\/)/, "$file: libc alone") if $file =~ m{^fpmpoold/wire/};
    }
};

subtest 'sizes' => sub {
    for my $file (@c) {
        my @line = split /\n/, $text{$file};
        cmp_ok(scalar @line, '<=', 600, "$file is one noun: at most 600 lines");
        next unless $file =~ /\.c$/;
        my $start;
        for my $n (0 .. $#line) {
            $start = $n if $line[$n] eq '{';
            if ($line[$n] eq '}' && defined $start) {
                my $length = $n - $start + 1;
                fail("$file:" . ($start + 1) . ": a function of $length lines") if $length > 120;
                undef $start;
            }
        }
        my ($comment) = $text{$file} =~ m{\A(/\*.*?\*/)}s;
        ok(defined $comment, "$file opens with what it is") or next;
        cmp_ok(scalar(split /\n/, $comment), '<=', 12, "$file: in at most 12 lines");
    }
};

subtest 'every unit test runs' => sub {
    for my $file (glob 't/unit/test_*.c') {
        my @defined    = $text{$file} =~ /^START_TEST\((\w+)\)/mg;
        my %registered = map { $_ => 1 } $text{$file} =~ /tcase_add_(?:loop_)?test\w*\(\s*\w+,\s*(\w+)/g;
        ok(@defined > 0, "$file has tests");
        is_deeply([ grep { !$registered{$_} } @defined ], [], "$file registers each");
        like($text{$file}, qr/^UNIT_MAIN\(/m, "$file can run");
    }
};

# t/run reads of a test's first comment whether it runs alone, and how long it takes.
subtest 'what test files say of themselves' => sub {
    my %listed = map { my ($name, $long, $alone) = split /\t/; ($name => [ $long, $alone ]) } split /\n/, `$^X t/run --list`;
    my @last = map { (split /\t/)[0] } grep { /\t.*\t./ } split /\n/, `$^X t/run --list`;
    ok(@last > 0, 'some run alone');
    for my $file (glob 't/*.t') {
        my $text = slurp($file);
        my @line = $text =~ /^# *(?:alone|long) *:.*/mgi;
        my ($head) = $text =~ /\A((?:#.*\n)+)/;
        is_deeply([ grep { !/^# alone: \S.{10,}$|^# long: \d+ s$/ || index($head // '', "$_\n") < 0 } @line ], [], "$file: in words that t/run reads");
        ok($listed{$file}, "$file is run") or next;
        is(length $listed{$file}[1] ? 1 : 0, scalar(grep { /^# alone/ } @line), "$file: t/run knows whether it runs alone");
        # whoever counts calls, loads the machine or runs for long with many clients disturbs, and is disturbed
        next if $file eq 't/01-guards.t' || $text !~ m{require_program\('(?:strace|wrk)'|build_path\('test/storm'\)|'/chaos/|'strace',};
        ok($listed{$file}[1], "$file measures the machine or fills it: it says '# alone: WHY'");
    }
};

subtest 'no shell, no unbounded text' => sub {
    for my $file (@c) {
        my $code = $text{$file} =~ s{/\*.*?\*/|"(?:\\.|[^"\\])*"}{}gsr;
        unlike($code, qr/\b(?:system|popen|tmpnam|mktemp|tempnam|gets|sprintf|vsprintf|strcat)\s*\(/, "$file");
    }
};

# Limits and durations are of CLOCK_MONOTONIC; the time of day is for what people read.
subtest 'the time of day decides nothing' => sub {
    my %shows = map { $_ => 1 } map { "fpmpoold/$_.c" } qw(base/log base/log_syslog base/board pool/spawn pool/slow_requests worker/exchange worker/status_format php/functions);
    for my $file (grep { /\.c$/ && !$shows{$_} } @c) {
        my $code = $text{$file} =~ s{/\*.*?\*/|"(?:\\.|[^"\\])*"}{}gsr;
        unlike($code, qr/\b(?:CLOCK_REALTIME\w*|apr_time_now|gettimeofday|ftime|TIMER_ABSTIME|pthread_cond_timedwait|time\s*\(\s*(?:NULL|0|&))/, $file);
    }
};

subtest 'log ids of the module' => sub {
    my (%used, %documented);
    for my $file (grep { m{^mod_fpmpool/.*\.c$} } @c) {
        push @{ $used{$_} }, $file for $text{$file} =~ /"(FPMP\d{4}): /g;
    }
    my $readme = slurp('mod_fpmpool/README.md');
    $documented{$_}++ for $readme =~ /^\|\s*`?(FPMP\d{4})/mg;
    ok(%used, 'messages have ids');
    is(scalar @{ $used{$_} }, 1, "$_ is one message") for sort keys %used;
    is_deeply([ sort keys %used ], [ sort keys %documented ], 'the README lists exactly these');
};

subtest 'directives of the module' => sub {
    my $conf   = join "\n", map { $text{$_} } grep { m{^mod_fpmpool/fpmp_conf\w*\.c$} } @c;
    my $readme = slurp('mod_fpmpool/README.md');
    my @directive = $conf =~ /AP_INIT_\w+\(\s*"<?(\w+)"/g;
    ok(@directive > 5, 'there are directives');
    for my $name (@directive) {
        like($readme, qr/^#+ .*\b\Q$name\E\b|^\|[^|]*`<?\Q$name\E/m, "$name is documented");
    }
};

subtest 'exported names' => sub {
    my $seen   = 0;
    my @object = split /\n/, `find $build/obj -name '*.o' -not -path '*/unit/*' -not -path '*/t/*'`;
    for my $line (split /\n/, `nm -A -g --defined-only @object`) {
        my ($object, $name) = $line =~ /^(\S+?):.*\s[TDBRCV]\s+(\S+)$/ or next;
        my $is_module = $object =~ m{/mod_fpmpool/};
        next if $name eq 'main' || $name eq 'fpmpool_module' || $name =~ /^__|^\.|^asan|^_/;
        my $prefix = $is_module ? qr/^fpmp_/ : $object =~ m{/wire/} ? qr/^wire_/ : qr/^fpd_/;
        # PHP_FUNCTION() names what PHP code calls, and makes it global
        $prefix = qr/^(?:fpd|zif)_/ if $object =~ m{/php/(?:functions|apache)\.o$};
        $prefix = qr{^php\d?_module$} if $object =~ m{/named/}; # the names are what it is for
        like($name, $prefix, "$object: $name");
        $seen++;
    }
    cmp_ok($seen, '>', 100, 'names were looked at');
};

subtest 'what the built files show' => sub {
    my @module = grep { !/^_|^__asan/ } map { (split)[-1] } split /\n/, `nm -D --defined-only $build/lib/mod_fpmpool.so`;
    is_deeply(\@module, ['fpmpool_module'], 'httpd sees the module symbol alone');
    for my $host (glob "$build/bin/fpmpool-php*") {
        my @copies = grep { /COPY/ && !/\b(?:environ|stderr|stdout|stdin)\b|environ@/ } split /\n/, `readelf -rW '$host'`;
        is_deeply(\@copies, [], basename($host) . ': no copy relocations of PHP data');
    }
    unlike(`readelf -d $build/bin/fpmpoold`, qr/libphp/, 'the master has no libphp');
};

subtest 'formatted' => sub {
    my $tool = (grep { -x "$_/clang-format" } split /:/, $ENV{PATH})[0];
    plan(skip_all => 'clang-format is not installed') unless $tool;
    # one run for all of them tells that all is well; which it is, one run for each
    my $all_well = system("clang-format --dry-run -Werror @{[ map { qq('$_') } sort keys %text ]} >/dev/null 2>&1") == 0;
    for my $file (sort keys %text) {
        ok($all_well || system("clang-format --dry-run -Werror '$file' >/dev/null 2>&1") == 0, "$file (make format)");
    }
};

subtest 'the tree names no place of its own' => sub {
    my @tracked = split /\n/, `git ls-files 2>/dev/null`;
    plan(skip_all => 'not a git checkout') unless @tracked;
    my $place = quotemeta Cwd::getcwd();
    for my $file (grep { -f && -T } @tracked) {
        unlike(slurp($file), qr/$place|\/home\/\w|\/root\//, "$file: no path of one machine");
    }
};

done_testing();

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

sub includes {
    my ($file) = @_;
    return $text{$file} =~ /^\s*#\s*include\s*"([^"]+)"/mg;
}
