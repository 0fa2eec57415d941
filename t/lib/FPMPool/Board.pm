package FPMPool::Board;

# A pool's board as the kernel holds it: what the slots are doing at this moment, for tests that
# need a state and not only its consequences, and for the benchmark's lane hit rate. Compiles
# t/bin/show_board.c against the sources unless `make unit` did.

use strict;
use warnings;
no warnings "portable";    # addresses are hexadecimal numbers above 32 bits
use FPMPool::Process;
use FPMPool::Test ();

my $program;

sub program {
    return $program if $program;
    my $root  = FPMPool::Test::repository();
    my $built = FPMPool::Test::build_path('test/show_board');
    my @newer = grep { !-e $built || -M $_ < -M $built } "$root/fpmpoold/base/board.h", "$root/t/bin/show_board.c";
    return $program = $built unless @newer;
    my $path  = FPMPool::Test::test_dir() . '/show_board';
    my $flags = `apr-1-config --includes --cppflags 2>/dev/null` =~ s/\s+/ /gr;
    my @command = (
        $ENV{CC} || 'cc', qw(-std=gnu11 -D_GNU_SOURCE), "-I$root/fpmpoold", split(' ', $flags),
        '-o', $path, "$root/t/bin/show_board.c"
    );
    system(@command) == 0 or die "cannot compile show_board.c: @command\n";
    return $program = $path;
}

# Keys of a pool whose board shall be read: only root may look into a process that is not dumpable.
sub needed_keys { return FPMPool::Test::is_root() ? () : ('process.dumpable' => 'yes') }

# The board as text, from a mapping of it: the pool process's, or a worker's, or the master's.
sub board_text {
    my ($daemon, $pool) = @_;
    for my $pid (grep { defined } $daemon->pool_pid($pool), $daemon->worker_pids($pool), $daemon->pid) {
        open my $maps, '<', "/proc/$pid/maps" or next;
        while (my $line = <$maps>) {
            my ($from, $to) = $line =~ /\A([0-9a-f]+)-([0-9a-f]+) .*memfd:fpmpool-board/ or next;
            my $text = read_board($pid, $from, sprintf '%x', hex($to) - hex $from);
            return $text if defined $text && $text =~ /\Apool \Q$pool\E /;
        }
    }
    return;
}

sub read_board {
    my ($pid, $address, $size) = @_;
    my $command = program();
    open my $pipe, '-|', $command, $pid, $address, $size or return;
    local $/;
    my $text = <$pipe>;
    return close($pipe) ? $text : undef;
}

# {pool => {...counters}, slots => [{state, pid, requests, lane_hits, has_lane, ...}, ...],
# requests, lane_hits: sums}. Dies when there is no board.
sub look {
    my ($daemon, $pool) = @_;
    $pool //= 'www';
    my $text = board_text($daemon, $pool);
    die "no board of pool $pool found\n" unless $text;
    my %board = (slots => [], requests => 0, lane_hits => 0);
    for my $line (split /\n/, $text) {
        my ($kind, $name, @pairs) = split ' ', $line;
        if ($kind eq 'pool') { $board{pool} = {@pairs} }
        else                 { $board{slots}[$name] = {@pairs} }
    }
    $board{$_} = $board{pool}{"retired_$_"} for qw(requests lane_hits);
    for my $slot (@{ $board{slots} }) { $board{$_} += $slot->{$_} for qw(requests lane_hits) }
    return \%board;
}

# Waits until no worker of the pool has anything to do, or only so many. A client has its answer a moment
# earlier, and a request that comes in this moment may find no idle worker. Of php-fpm nothing is known.
sub wait_idle {
    my ($daemon, $pool, $busy) = @_;
    return unless $daemon->is_ours;
    return FPMPool::Test::wait_for(sub { ($busy // 0) == grep { $_->{state} !~ /\A(?:idle|free)/i } @{ look($daemon, $pool)->{slots} } }, 10, 'idle workers');
}

1;
