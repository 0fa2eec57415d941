# The daemon is reloaded, upgraded and restarted under the load of httpd's requests: a reload loses none, and after a
# hard restart the module uses the socket as soon as it is there again. Over a unix socket and over TCP.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Copy qw(copy);
use IO::Handle ();
use lib dirname(__FILE__) . '/lib';
use FPMPool::Board;
use FPMPool::Test;

plan(skip_all => 'another daemon is named: this is about ours') if $ENV{FPMPOOL_TEST_DAEMON};

my $marks = test_dir() . '/marks';
mkdir $marks;
my $root = site('www',
    'page.php' => '<?php echo "a page";',
    'body.php' => '<?php usleep(2000); echo strlen(file_get_contents("php://input"));',
);

# An installation of its own, whose programs can be replaced.
my $installations = 0;
sub install {
    my $bin = test_dir() . '/bin-' . ++$installations;
    mkdir $bin or die "$bin: $!";
    upgrade("$bin/fpmpoold");
    return "$bin/fpmpoold";
}

# As a package manager does it: new files take the names of the old ones.
sub upgrade {
    my ($program) = @_;
    for my $file (glob build_path('bin/*')) {
        my $to = dirname($program) . '/' . $file =~ s{.*/}{}r;
        copy($file, "$to.new") or die "$to.new: $!";
        chmod 0755, "$to.new";
        rename "$to.new", $to or die "$to: $!";
    }
    return;
}

my @kinds = ([ '/page.php', [], 'a page' ], [ '/body.php', [ method => 'POST', body => 'b' x 2000 ], 2000 ]);

# Asks until the file `stop` is there; writes for each request when it began, when it ended and what was wrong.
sub client {
    my ($port, $file, $stop, $path, $option, $wanted) = @_;
    my %option = @$option;
    my $http;
    open my $out, '>', $file or die "$file: $!";
    $out->autoflush(1);
    until (-e $stop) {
        my $from   = time;
        my $answer = eval { $http //= http_connect(port => $port); $http->exchange($option{method} // 'GET', $path, %option) };
        my $got    = $answer ? "$answer->{status} $answer->{body}" : $@ || 'closed';
        undef $http unless $answer && $answer->{keep};
        my $wrong = $got eq "200 $wanted" ? '' : $got =~ s/\s+/ /gr;
        print {$out} join(' ', $from, time, $wrong), "\n";
        sleep 0.005 if $wrong;
    }
    return;
}

# Six clients ask until `work` is done. Returns [[when it was asked, when it ended, what was wrong], ...].
sub under_load {
    my ($httpd, $work) = @_;
    my $stop = test_dir() . '/stop';
    my @file = map { "$marks/client-$_" } 1 .. 6;
    unlink $stop, @file;
    my @pid;
    for my $n (0 .. $#file) {
        my $pid = fork // die $!;
        if (!$pid) {
            client($httpd->port, $file[$n], $stop, @{ $kinds[ $n % 2 ] });
            POSIX::_exit(0);
        }
        push @pid, $pid;
    }
    my $good = sub { my ($file) = @_; return -e $file ? scalar(() = read_file($file) =~ /^\S+ \S+ $/mg) : 0 };
    my $more = sub { my %now = map { $_ => $good->($_) } @file; wait_for { !grep { $good->($_) < $now{$_} + 5 } @file } 40, 'good answers for each client' };
    $more->();
    $work->();
    $more->();
    write_file($stop, '');
    for my $pid (@pid) { waitpid $pid, 0 }
    return [ sort { $a->[0] <=> $b->[0] } map { [ split / /, $_, 3 ] } map { split /\n/, read_file($_) } @file ];
}

sub lost { my ($requests) = @_; return grep { length($_->[2] // '') } @$requests }

sub start_both {
    my ($listen) = @_;
    my $program = install();
    my %key     = ('pm.max_children' => 4, FPMPool::Board::needed_keys(), $listen eq 'tcp' ? (listen => 'tcp') : ());
    my $daemon  = start_daemon(binary => $program, conf => { global => { process_control_timeout => '20s' }, www => \%key });
    my $httpd   = start_httpd(mpm => 'event', docroot => $root, conf => php_routes('fpmpool', $daemon, 'www'));
    return ($program, $daemon, $httpd);
}

for my $listen (qw(unix tcp)) {
    subtest "$listen: reloads and upgrades" => sub {
        my ($program, $daemon, $httpd) = start_both($listen);
        my $requests = under_load($httpd, sub {
            for my $round (1 .. 4) {
                my $old = $daemon->pool_pid;
                upgrade($program) if $round % 2;
                $daemon->signal($round < 3 ? 'USR2' : 'HUP');
                wait_for { my $now = $daemon->pool_pid; $now && $now != $old && !alive($old) } 60, "reload $round";
            }
            is((stat "/proc/@{[ $daemon->pid ]}/exe")[1], (stat $program)[1], 'the new program runs');
        });
        cmp_ok(scalar @$requests, '>', 60, 'there was load');
        is(scalar(lost($requests)), 0, 'none of ' . @$requests . ' requests is lost') or diag(map { "$_->[2]\n" } lost($requests));
        FPMPool::Board::wait_idle($daemon, 'www');
        $_->stop for $httpd, $daemon;
    };

    subtest "$listen: restarts" => sub {
        allow_log(qr/FPMP0073: pool www|FPMP00(?:6\d|77|88): pool www/, qr/FPMP0040: pool www(?:, worker \d+)?: fpmpool: pool www: child \d+ exited on signal 15/);
        my ($program, $daemon, $httpd) = start_both($listen);
        my (@away, @back);
        my $requests = under_load($httpd, sub {
            for my $signal (qw(QUIT TERM QUIT)) {
                push @away, time;
                $daemon->stop($signal);
                sleep 0.3;    # some requests find nothing
                $daemon = start_daemon(binary => $program, conf => read_file($daemon->conf_file), listen => { www => $daemon->listen_address('www') });
                push @back, time;
                my $asked = time;
                is(http($httpd->url('/page.php'))->{body}, 'a page', "$signal: the first request to the new daemon is answered");
                wait_for { time > $asked + 0.5 } 5, 'some load';
            }
        });
        my @failed = lost($requests);
        for my $round (0 .. $#away) {
            my @lost = grep { $_->[1] >= $away[$round] && $_->[0] <= $back[$round] } @failed;
            ok(@lost > 0, 'while it was away ' . @lost . ' requests failed') or next;
            is(scalar(grep { $_->[2] !~ /\A50[23] / } @lost), 0, '... with 503, or 502') or diag(map { "$_->[2]\n" } @lost);
            my ($first) = sort { $a->[1] <=> $b->[1] } grep { !length($_->[2] // '') && $_->[0] > $lost[-1][0] } @$requests;
            note(sprintf 'ready %.0f ms after its stop began; the last request to fail began %.0f ms before that, the first to succeed %.0f ms before it and took %.1f ms',
                1000 * ($back[$round] - $away[$round]), 1000 * ($back[$round] - $lost[-1][0]), 1000 * ($back[$round] - $first->[0]), 1000 * ($first->[1] - $first->[0]));
        }
        # None that began once the daemon had said that it is ready, until the next one is stopped.
        my @other = grep { my $at = $_; !grep { $at->[1] >= $away[$_] && $at->[0] <= $back[$_] } 0 .. $#away } @failed;
        is(scalar @other, 0, 'at other times none of ' . @$requests . ' requests failed') or diag(map { "$_->[0] to $_->[1]: $_->[2]\n" } @other);
        $_->stop for $httpd, $daemon;
    };
}
done_testing();
