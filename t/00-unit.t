# Every unit test program of both builds (plain and with sanitizers), and the replay of the fuzz
# corpus. One line for each check; a program that dies, hangs or runs no check is a failure.
# long: 70 s

use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Temp ();
use POSIX ();
use Test::More;

use constant AT_ONCE => 4;    # some of them wait for seconds, as time limits are whole ones

my $root = dirname(__FILE__) . '/..';
my @builds = grep { -d "$root/$_/test" } ($ENV{FPMPOOL_BUILD} ? $ENV{FPMPOOL_BUILD} : ('build', 'build/asan'));
my @sources = glob "$root/t/unit/test_*.c";
ok(@builds > 0 && @sources > 0, 'there are unit tests and a build of them (make unit)');

# LeakSanitizer needs ptrace, which forked checks may not have; leaks are valgrind's part
$ENV{ASAN_OPTIONS}  = 'detect_leaks=0:abort_on_error=1';
$ENV{UBSAN_OPTIONS} = 'print_stacktrace=1:halt_on_error=1';

my (@programs, %running);
for my $build (@builds) {
    push @programs, map { { build => $build, name => basename($_, '.c'), report => \&report_unit } } @sources;
    for my $source (glob "$root/t/fuzz/fuzz_*.c") {
        my $topic  = basename($source, '.c') =~ s/^fuzz_//r;
        my @corpus = glob "$root/t/corpus/$topic/*";
        ok(@corpus > 0, "$topic has a corpus");
        push @programs, { build => $build, name => "replay_fuzz_$topic", arguments => \@corpus, report => \&report_replay };
    }
}
for my $program (@programs) {
    finish_one() if keys %running >= AT_ONCE;
    start($program);
}
finish_one() while %running;
$_->{report}->($_) for @programs;
done_testing();

sub start {
    my ($program) = @_;
    $program->{$_} = File::Temp->new for qw(tap output);
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        $ENV{CK_TAP_LOG_FILE_NAME} = $program->{tap}->filename;
        open STDOUT, '>', $program->{output}->filename or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        exec qw(timeout -k 5 300), "$root/$program->{build}/test/$program->{name}", @{ $program->{arguments} || [] } or POSIX::_exit(127);
    }
    $running{$pid} = $program;
    return;
}

sub finish_one {
    my $pid = waitpid -1, 0;
    $pid > 0 or die "waitpid: $!";
    my $program = delete $running{$pid} or return;
    $program->{status} = $?;
    return;
}

sub text_of { my ($file) = @_; open my $in, '<', $file->filename or die "$file: $!"; local $/; return scalar(<$in>) // '' }

sub report_unit {
    my ($program) = @_;
    my $count = 0;
    for my $line (split /\n/, text_of($program->{tap})) {
        next unless $line =~ /^(not )?ok \d+ - (.*)/;
        $count++;
        ok(!$1, "$program->{build} $program->{name}: $2");
    }
    my $is_well = $program->{status} == 0 && $count > 0;
    ok($is_well, "$program->{build} $program->{name} ends well, with $count checks")
        or diag("exit status $program->{status}\n", text_of($program->{output}));
    return;
}

sub report_replay {
    my ($program) = @_;
    ok($program->{status} == 0, "$program->{build} $program->{name}: " . @{ $program->{arguments} } . ' seeds replayed')
        or diag(text_of($program->{output}));
    return;
}
