package FPMPool::Process;

# Processes as /proc shows them: start one, walk its descendants, measure its CPU time and its
# descriptors. Linux only, core modules only. Every function accepts a pid that is gone.

use strict;
use warnings;
use Exporter 'import';
use POSIX ();
use Time::HiRes ();

our @EXPORT = qw(
    spawn alive is_at_rest process_state process_title process_uid children descendants
    cpu_seconds tree_cpu_seconds descriptor_count descriptors become_subreaper reap
);

my %prctl_number = (x86_64 => 157, aarch64 => 167, i686 => 172, riscv64 => 167, ppc64le => 171);

# Orphans of everything started here come back to this process, so that none can hide. Returns 1
# where the kernel did it.
sub become_subreaper {
    my $number = $prctl_number{ (POSIX::uname())[4] } or return 0;
    my $set_child_subreaper = 36;
    return syscall($number, $set_child_subreaper, 1, 0, 0, 0) == 0 ? 1 : 0;
}

# spawn(argv => [...], stdout => FILE, stderr => FILE, env => {...}, dir => DIR): starts a process
# in a session of its own, stdin from /dev/null, and returns its pid. Dies when exec fails.
sub spawn {
    my (%option) = @_;
    pipe(my $reader, my $writer) or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $reader;
        POSIX::setsid();
        $SIG{$_} = 'DEFAULT' for qw(INT TERM PIPE ALRM HUP);
        %ENV = (%ENV, %{ $option{env} || {} });
        my $ok = open(STDIN, '<', '/dev/null')
            && open(STDOUT, '>>', $option{stdout} || '/dev/null')
            && open(STDERR, '>>', $option{stderr} || '/dev/null')
            && (!$option{dir} || chdir $option{dir});
        { no warnings 'exec'; $ok and exec { $option{argv}[0] } @{ $option{argv} }; }
        syswrite $writer, "$!";
        POSIX::_exit(127);
    }
    close $writer;
    my $read = sysread $reader, my $error, 512;
    if ($read) {
        waitpid $pid, 0;
        die "cannot start $option{argv}[0]: $error\n";
    }
    return $pid;
}

# Waits for a child until it ended or the time is over. Returns its wait status, or undef.
sub reap {
    my ($pid, $seconds) = @_;
    my $end = Time::HiRes::time() + $seconds;
    while (1) {
        my $got = waitpid $pid, POSIX::WNOHANG();
        return $? if $got == $pid;
        return if $got < 0 || Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.01);
    }
}

sub read_small {
    my ($path) = @_;
    open my $file, '<', $path or return;
    local $/;
    return scalar <$file>;
}

# The fields of /proc/PID/stat behind the name: state is 0, parent 1, utime 11 and so on.
sub stat_fields {
    my ($pid) = @_;
    my $text = read_small("/proc/$pid/stat");
    return unless defined $text && $text =~ /\)\s+(.*)/s;
    return split ' ', $1;
}

# One letter ("R", "S", "T", "Z"), or undef when there is no such process.
sub process_state { return (stat_fields($_[0]))[0] }

# Does none of its threads run, or wait for a processor or a disk?
sub is_at_rest {
    my ($pid) = @_;
    return !grep { (read_small($_) // '') =~ /\)\s+[RD]/ } glob "/proc/$pid/task/*/stat";
}

# Is it there and not a zombie?
sub alive {
    my $state = process_state($_[0]);
    return defined $state && $state ne 'Z' && $state ne 'X';
}

# Command line as `ps` shows it.
sub process_title {
    my $text = read_small("/proc/$_[0]/cmdline");
    return '' unless defined $text;
    $text =~ s/\0+\z//;
    $text =~ tr/\0/ /;
    return $text;
}

# Effective user id, or undef.
sub process_uid {
    my $text = read_small("/proc/$_[0]/status");
    return defined $text && $text =~ /^Uid:\s+\d+\s+(\d+)/m ? $1 : undef;
}

# Children as the kernel lists them, by thread; undef where it has no such lists. A list that is read while a child ends
# may lack another one, so only two readings that are equal count.
sub listed_children {
    my ($pid) = @_;
    my ($text, $before);
    do {
        $before = $text;
        my @list = map { read_small($_) // '' } glob "/proc/$pid/task/[0-9]*/children";
        return if !@list && -e "/proc/$pid/stat" && !-e '/proc/self/task/' . $$ . '/children';
        $text = join ' ', @list;
    } until defined $before && $text eq $before;
    return [ split ' ', $text ];
}

# {pid => parent} of every process of the machine.
sub parents {
    opendir my $proc, '/proc' or die "/proc: $!";
    my %parent;
    for my $pid (grep { /^\d+\z/ } readdir $proc) {
        my @field = stat_fields($pid) or next;
        $parent{$pid} = $field[1];
    }
    return \%parent;
}

sub children {
    my ($pid) = @_;
    my $listed = listed_children($pid);
    return sort { $a <=> $b } @$listed if $listed;
    my $parent = parents();
    return sort { $a <=> $b } grep { $parent->{$_} == $pid } keys %$parent;
}

# All descendants, zombies included, without the process itself.
sub descendants {
    my ($pid) = @_;
    my @found = children($pid);
    for (my $n = 0; $n < @found; $n++) { push @found, children($found[$n]) }
    my %in = map { $_ => 1 } @found;    # one may have got another parent meanwhile
    return sort { $a <=> $b } keys %in;
}

# The same from one look at every process of the machine: slow, and sees those that get another parent meanwhile.
sub descendants_by_scan {
    my ($pid) = @_;
    my $parent = parents();
    my (%in, @found);
    $in{$pid} = 1;
    my $grew = 1;
    while ($grew) {
        $grew = 0;
        for my $candidate (keys %$parent) {
            next if $in{$candidate} || !$in{ $parent->{$candidate} };
            $in{$candidate} = 1;
            push @found, $candidate;
            $grew = 1;
        }
    }
    return sort { $a <=> $b } @found;
}

# CPU seconds that the threads of one process have used; nanosecond resolution where the kernel
# has schedstat, clock ticks else.
sub cpu_seconds {
    my ($pid) = @_;
    my ($sum, $seen) = (0, 0);
    for my $file (glob "/proc/$pid/task/[0-9]*/schedstat") {
        my $text = read_small($file);
        next unless defined $text && $text =~ /^(\d+)/;
        $sum += $1 / 1e9;
        $seen = 1;
    }
    return $sum if $seen;
    my @field = stat_fields($pid) or return 0;
    return ($field[11] + $field[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# User and system seconds of a process, all its descendants, and all that those have reaped.
sub tree_cpu_seconds {
    my ($root) = @_;
    my $ticks = 0;
    for my $pid ($root, descendants($root)) {
        my @field = stat_fields($pid) or next;
        $ticks += $field[$_] for 11 .. 14;
    }
    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# {number => what it is} of a process.
sub descriptors {
    my ($pid) = @_;
    opendir my $directory, "/proc/$pid/fd" or return {};
    my %open = map { $_ => readlink("/proc/$pid/fd/$_") // '?' } grep { /^\d+\z/ } readdir $directory;
    delete @open{ grep { $open{$_} eq "/proc/$pid/fd" } keys %open };    # this very handle
    return \%open;
}

sub descriptor_count { return scalar keys %{ descriptors($_[0]) } }

1;
