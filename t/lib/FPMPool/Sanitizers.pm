package FPMPool::Sanitizers;

# System tests once more with the programs of build/asan, under AddressSanitizer and UndefinedBehaviorSanitizer: the
# 05-sanitizers-*.t. Any report of any process is a failure. Nothing is run where other programs are named, since those
# are what is tested then.

use strict;
use warnings;
use Cwd ();
use Exporter 'import';
use File::Basename qw(dirname);
use File::Temp ();
use FPMPool::Service;
use IPC::Open3 ();
use Test::More;

our @EXPORT = qw(check_reports repeat_with_daemon repeat_with_module done_testing);

my $root  = Cwd::realpath(dirname(__FILE__) . '/../../..');
my $build = "$root/build/asan";
plan(skip_all => 'other programs are named: they are what is tested') if grep { $ENV{$_} } qw(FPMPOOL_BUILD FPMPOOL_TEST_DAEMON FPMPOOL_TEST_MODULE FPMPOOL_HTTPD);
plan(skip_all => 'no sanitizer build (build/check.sh makes build/asan)') unless -x "$build/bin/fpmpoold" && -e "$build/lib/mod_fpmpool.so";

my $reports = File::Temp->newdir('fpmpool-test-XXXXXXXX', TMPDIR => 1);
chmod 0777, $reports;    # processes of the pool's and httpd's user write there too
my $asan  = "log_path=$reports/report:detect_leaks=0:abort_on_error=0:exitcode=99";
my $ubsan = 'print_stacktrace=1:halt_on_error=1:exitcode=99';

sub cc {
    open my $config, '<', "$build/config.mk" or die "config.mk: $!";
    my ($cc) = join('', <$config>) =~ /^CC = (\S+)/m;
    return $cc;
}

# httpd itself has no sanitizers: their libraries must be there before it starts.
sub httpd_with_libraries {
    my $cc      = cc();
    my @library = map { my $path = `$cc -print-file-name=$_`; chomp $path; $path } qw(libasan.so libubsan.so);
    my $file    = "$reports/httpd";
    open my $out, '>', $file or die "$file: $!";
    print {$out} "#!/bin/sh\nLD_PRELOAD=\"@library \$LD_PRELOAD\" exec /usr/sbin/apache2 \"\$@\"\n";
    close $out;
    chmod 0755, $file;
    return $file;
}

sub found_reports {
    my @text;
    for my $file (glob "$reports/report*") {
        open my $in, '<', $file or next;
        push @text, join '', <$in>;
        unlink $file;
    }
    return @text;
}

# Runs a command with this environment; its output (both streams) and its wait status.
sub run {
    my ($environment, @command) = @_;
    local %ENV = (%ENV, ASAN_OPTIONS => $asan, UBSAN_OPTIONS => $ubsan, %$environment);
    my $pid = IPC::Open3::open3(my $in, my $out, undef, @command);
    close $in;
    my $text = do { local $/; <$out> };
    waitpid $pid, 0;
    return ($text // '', $?);
}

# A mistake would be seen, in both builds' programs and by both sanitizers.
sub check_reports {
    return subtest 'a report would be seen' => sub {
        for my $file ("$build/bin/fpmpoold", "$build/lib/mod_fpmpool.so") {
            my $symbols = `nm -D '$file'`;
            like($symbols, qr/ __asan_init$/m, "$file has AddressSanitizer");
            like($symbols, qr/ __ubsan_handle_/, '... and UndefinedBehaviorSanitizer');
        }
        open my $out, '>', "$reports/wrong.c" or die $!;
        print {$out} "#include <stdlib.h>\nint main(int c, char **v) { (void)v; if (c > 1) { int *p = malloc(4); free(p); return *p; } return 0x7fffffff + c == 7; }\n";
        close $out;
        is(system(cc(), '-w', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-o', "$reports/wrong", "$reports/wrong.c"), 0, 'a program with two mistakes');
        my (undef, $status) = run({}, "$reports/wrong", 'x');
        isnt($status, 0, 'AddressSanitizer ends it');
        like((found_reports())[0] // '', qr/heap-use-after-free/, '... and leaves a report');
        # gcc's UBSan knows no log_path: the harness sees its line in the log of the server, and the death
        (my $text, $status) = run({}, "$reports/wrong");
        isnt($status, 0, 'UndefinedBehaviorSanitizer ends it');
        like($text, qr/runtime error: signed integer overflow/, '... and says so');
        ok(FPMPool::Service->new(kind => 'daemon')->is_bad_line($text), '... in a line that fails a test');
    };
}

sub repeat {
    my ($environment, @test) = @_;
    for my $test (@test) {
        subtest $test => sub {
            my ($text, $status) = run($environment, $^X, "$root/t/$test.t");
            my @points = $text =~ /^((?:not )?ok) \d+/mg;
            ok($status == 0 && @points > 0 && $text !~ /^1\.\.0/m, "$test passes with sanitizers") or diag($text);
            my @found = found_reports();
            is(scalar @found + ($text =~ /runtime error:/), 0, '... and no process has made a report') or diag(@found);
        };
    }
    return;
}

# These tests, with the daemon of the sanitizer build.
sub repeat_with_daemon { return repeat({ FPMPOOL_BUILD => $build }, @_) }

# These tests, with its module, in an httpd that has the sanitizers' libraries.
sub repeat_with_module { return repeat({ FPMPOOL_HTTPD => httpd_with_libraries(), FPMPOOL_TEST_MODULE => "$build/lib/mod_fpmpool.so" }, @_) }

1;
