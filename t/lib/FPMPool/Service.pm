package FPMPool::Service;

# One server that a test started: its process, its folder, its log. Made by FPMPool::Test's
# start_* functions, stopped at the end of the test at the latest.

use strict;
use warnings;
use Carp ();
use FPMPool::Process;
use Time::HiRes ();

# kind (daemon, httpd, nginx, haproxy, mariadb), name, pid, dir, logs => [FILE...], stop_signal.
sub new {
    my ($class, %field) = @_;
    return bless { seen => {}, %field }, $class;
}

sub pid  { return $_[0]{pid} }
sub name { return $_[0]{name} }
sub dir  { return $_[0]{dir} }
sub port { return $_[0]{port} }

# "http://127.0.0.1:PORT", with a path behind it if given.
sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '') }

# Unix socket path or "host:port" of a pool.
sub listen_address { my ($self, $pool) = @_; return $self->{listen}{ $pool // 'www' } }

# Path of the configuration file that it was started with.
sub conf_file { return $_[0]{conf_file} }

sub is_running { return defined $_[0]{pid} && alive($_[0]{pid}) }

# Everything that it has logged, from byte $offset on.
sub log_text {
    my ($self, $offset) = @_;
    my $all = '';
    for my $path (@{ $self->{logs} }) {
        open my $file, '<', $path or next;
        local $/;
        $all .= <$file> // '';
    }
    return substr $all, $offset || 0;
}

sub log_length { return length $_[0]->log_text }

# Waits until its log (from $offset on) matches; returns the captured groups, or (1) without any.
# Dies at the time limit with the log's tail.
sub wait_log {
    my ($self, $pattern, $seconds, $offset) = @_;
    my $end = Time::HiRes::time() + ($seconds || 10);
    while (1) {
        my @found = $self->log_text($offset) =~ $pattern;
        return @found if @found;
        if (Time::HiRes::time() > $end) {
            Carp::croak("$self->{name}: no log line like $pattern; log:\n" . $self->log_text($offset));
        }
        Time::HiRes::sleep(0.02);
    }
}

sub signal { my ($self, $signal) = @_; return kill $signal, $self->{pid} }

# A child of httpd's event MPM can die of SIGSEGV when it is stopped in the moment in which it gives back the memory of a
# connection, of which the client has seen the end by then (lib/safe_close.c). So whoever has its answer and stops httpd waits
# until that is done: until no thread runs, at two looks. No longer than three seconds: there may be other clients.
sub let_rest {
    my ($self) = @_;
    my $end = Time::HiRes::time() + 3;
    my $looks = 0;
    while ($looks < 2 && Time::HiRes::time() < $end) {
        $looks = (grep { !is_at_rest($_) } children($self->{pid})) ? 0 : $looks + 1;
        Time::HiRes::sleep(0.005);
    }
    return;
}

# Stops it: its own signal (or the one given), then KILL at the time limit. Returns the wait status;
# what is wrong with its end is kept in problems(). Twice is harmless.
sub stop {
    my ($self, $signal, $seconds) = @_;
    return $self->{status} unless defined $self->{pid};
    my $pid = $self->{pid};
    $self->let_rest if $self->{kind} eq 'httpd' && !$self->{end_expected};
    if (alive($pid)) { kill 'CONT', $pid; kill $signal || $self->{stop_signal}, $pid }
    my $status = reap($pid, $seconds || 15);
    if (!defined $status) {
        push @{ $self->{problems} }, "$self->{name} (pid $pid) did not stop on "
            . ($signal || $self->{stop_signal}) . ' within ' . ($seconds || 15) . ' s';
        kill 'KILL', $pid;
        $status = reap($pid, 5);
    } elsif ($status != 0 && !$self->{end_expected}) {
        push @{ $self->{problems} }, "$self->{name} (pid $pid) ended with "
            . ($status & 127 ? 'signal ' . ($status & 127) : 'exit code ' . ($status >> 8));
    }
    $self->{pid} = undef;
    return $self->{status} = $status;
}

# Kills it hard, as a crash would; its end and its leftover sockets are then no problem.
sub crash {
    my ($self) = @_;
    $self->{end_expected} = $self->{leaves_files} = 1;
    kill 'KILL', $self->{pid};
    return $self->stop('KILL');
}

# The test expects it to end by itself or with another code than 0.
sub expect_end { my ($self) = @_; $self->{end_expected} = 1; return $self }

sub problems { return @{ $_[0]{problems} || [] } }

# ---- what only a FastCGI daemon has --------------------------------------------------------

# Workers of a pool: all processes below the master that carry php-fpm's title.
sub worker_pids {
    my ($self, $pool) = @_;
    $pool //= 'www';
    return grep { process_title($_) =~ /\Aphp-fpm: pool \Q$pool\E\s*\z/ && alive($_) } descendants($self->{pid});
}

# The pool process (fpmpoold only): the workers' parent.
sub pool_pid {
    my ($self, $pool) = @_;
    $pool //= 'www';
    my ($found) = grep { process_title($_) =~ /\Afpmpool-php[\d.]+: \Q$pool\E\s*\z/ } children($self->{pid});
    return $found;
}

sub is_ours { return $_[0]{is_ours} }

# Lines of the logs that a healthy run does not have. @$allowed: patterns of this test.
sub unexpected_lines {
    my ($self, $allowed) = @_;
    my @bad;
    for my $line (split /\n/, $self->log_text) {
        next unless $self->is_bad_line($line);
        next if grep { $line =~ $_ } @$allowed;
        push @bad, "$self->{name}: $line";
    }
    return @bad;
}

sub is_bad_line {
    my ($self, $line) = @_;
    return 0 if $line =~ /\A\s*\z/;
    return 1 if $line =~ /Sanitizer|runtime error:|\A==\d+==|Assertion|exit signal|core dumped/;
    return 1 if $line =~ /PHP (?:Warning|Notice|Deprecated|Fatal error|Parse error|Recoverable)/;
    return $line !~ /\A\[[^\]]+\] (?:NOTICE|DEBUG): / if $self->{kind} eq 'daemon';
    return $line =~ /\[(?:warn|error|crit|alert|emerg)\]/ ? 1 : 0 if $self->{kind} eq 'nginx';
    return $line =~ /\[(?:WARNING|ALERT)\]|is DOWN|has no server available/ ? 1 : 0 if $self->{kind} eq 'haproxy';
    return $line =~ /\[(?:Warning|ERROR)\]/ ? 1 : 0 if $self->{kind} eq 'mariadb';
    return $line !~ /\A\[[^\]]+\] \[[\w-]*:(?:notice|info|debug|trace\d)\]/;
}

1;
