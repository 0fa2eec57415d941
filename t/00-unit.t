# Every unit test program of both builds (plain and with sanitizers), and the replay of the fuzz
# corpus. One line for each check; a program that dies, hangs or runs no check is a failure.

use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Temp ();
use Test::More;

my $root = dirname(__FILE__) . '/..';
my @builds = grep { -d "$root/$_/test" } ($ENV{FPMPOOL_BUILD} ? $ENV{FPMPOOL_BUILD} : ('build', 'build/asan'));
my @sources = glob "$root/t/unit/test_*.c";
ok(@builds > 0 && @sources > 0, 'there are unit tests and a build of them (make unit)');

# LeakSanitizer needs ptrace, which forked checks may not have; leaks are valgrind's part
$ENV{ASAN_OPTIONS}  = 'detect_leaks=0:abort_on_error=1';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1:halt_on_error=1';

for my $build (@builds) {
    for my $source (@sources) {
        my $name = basename($source, '.c');
        run_unit($build, $name);
    }
    replay($build, $_) for glob "$root/t/fuzz/fuzz_*.c";
}
done_testing();

sub run_unit {
    my ($build, $name) = @_;
    my $program = "$root/$build/test/$name";
    my $tap     = File::Temp->new;
    my $output  = File::Temp->new;
    local $ENV{CK_TAP_LOG_FILE_NAME} = $tap->filename;
    my $status = system("timeout -k 5 300 '$program' >'$output' 2>&1");
    my @lines = do { open my $in, '<', $tap->filename or die "$tap: $!"; <$in> };
    my $count = 0;
    for my $line (@lines) {
        next unless $line =~ /^(not )?ok \d+ - (.*)/;
        $count++;
        ok(!$1, "$build $name: $2");
    }
    my $is_well = $status == 0 && $count > 0;
    ok($is_well, "$build $name ends well, with $count checks")
        or diag("exit status $status\n", do { local $/; open my $in, '<', $output->filename or die; <$in> });
}

sub replay {
    my ($build, $source) = @_;
    my $name   = basename($source, '.c');
    my $topic  = $name =~ s/^fuzz_//r;
    my @corpus = glob "$root/t/corpus/$topic/*";
    ok(@corpus > 0, "$topic has a corpus");
    my $output = File::Temp->new;
    my $status = system("timeout -k 5 300 '$root/$build/test/replay_$name' @corpus >'$output' 2>&1");
    ok($status == 0, "$build $name: " . @corpus . ' seeds replayed')
        or diag(do { local $/; open my $in, '<', $output->filename or die; <$in> });
}
