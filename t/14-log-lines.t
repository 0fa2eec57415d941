# The lines of the error log beside php-fpm's: start, ends of workers of every kind, new logs, stop. The
# same things are done to both in this run; the same lines must come, with the same level, in the same order.
#
# Not compared: what USR1 does to php-fpm's workers (it restarts them to give them a new access log; ours are
# handed one).

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
allow_log(qr/child \d+ exited/);
my $root = site('www',
    'pid.php'  => '<?php echo getmypid();',
    'kill.php' => '<?php posix_kill(getmypid(), (int) $_GET["s"]); sleep(5);',
    'exit.php' => '<?php exit(3);',
);

sub line_of {
    my ($line) = @_;
    $line =~ s/\A\[[^\]]+\] //;
    $line =~ s/\bpid \d+/pid N/;
    $line =~ s/child \d+/child N/g;
    $line =~ s/after \d+\.\d{6} seconds/after S seconds/;
    $line =~ s/fd=\d+/fd=N/;
    $line =~ s{/\S+/bin/(?:php-fpm8\.2|fpmpoold)|/\S+/(?:php-fpm8\.2|fpmpoold)(?=")}{PROGRAM}g;
    $line =~ s{/[^\s"]+/(?:php-fpm|fpmpoold)(?:-\d+)?/}{FOLDER/}g;
    $line =~ s/127\.0\.0\.1:\d+/127.0.0.1:N/;
    return $line;
}

# Starts one, does it, stops it; returns the lines.
sub lines_of {
    my ($start, $conf, $work, $signal, %option) = @_;
    my $daemon = $start->(conf => $conf, %option);
    # php-fpm says that it is ready before it has forked
    wait_for { scalar(my @worker = $daemon->worker_pids) } 10, 'a worker';
    $work->($daemon) if $work;
    $daemon->stop($signal);
    return [ map { line_of($_) } split /\n/, $daemon->log_text ];
}

my $cases = 0;

sub same_lines {
    my ($name, $conf, $work, $signal, %option) = @_;
    subtest $name => sub {
        my $wanted = lines_of(\&start_php_fpm, $conf, $work, $signal || 'TERM', %option);
        my $got    = lines_of(\&start_daemon, $conf, $work, $signal || 'TERM', %option);
        cmp_ok(scalar @$wanted, '>=', 4, 'php-fpm has something to say');
        is_deeply($got, $wanted, 'fpmpoold says the same');
        $cases++;
    };
    return;
}

# Waits until the log has as many lines like that.
sub wait_lines {
    my ($daemon, $pattern, $count) = @_;
    wait_for { my @found = $daemon->log_text =~ /$pattern/g; @found >= $count } 10, "$count lines like $pattern";
    return;
}

my $one = { global => { process_control_timeout => 5 }, www => { 'pm.max_children' => 1 } };

same_lines("start and SIG$_", $one, undef, $_) for qw(TERM INT QUIT);

# the worker has served, so that the new one comes without a pause
for my $signal (qw(KILL TERM INT HUP USR1 USR2 SEGV ABRT QUIT)) {
    same_lines("a worker that gets SIG$signal", $one, sub {
        my ($daemon) = @_;
        php_request($daemon, "$root/pid.php");
        kill $signal, $daemon->worker_pids;
        wait_lines($daemon, qr/child \d+ started/, 1);
    });
}

same_lines('workers that die again and again', $one, sub {
    my ($daemon) = @_;
    for my $n (1 .. 4) {
        wait_for { scalar(my @worker = $daemon->worker_pids) } 10, 'a worker';
        kill 'KILL', $daemon->worker_pids;
        wait_lines($daemon, qr/child \d+ started/, $n);
    }
});

same_lines('a script that kills its worker', $one, sub {
    my ($daemon) = @_;
    eval { php_request($daemon, "$root/kill.php", query => 's=9') };
    wait_lines($daemon, qr/child \d+ started/, 1);
});

same_lines('a script that ends with a code', $one, sub {
    my ($daemon) = @_;
    php_request($daemon, "$root/exit.php") for 1 .. 3;
});

same_lines('pm.max_requests', { global => {}, www => { 'pm.max_children' => 1, 'pm.max_requests' => 2 } }, sub {
    my ($daemon) = @_;
    for my $n (1 .. 2) {
        php_request($daemon, "$root/pid.php") for 1 .. 2;
        wait_lines($daemon, qr/child \d+ started/, $n);
    }
});

same_lines('SIGUSR1 without an access log', $one, sub {
    my ($daemon) = @_;
    $daemon->signal('USR1');
    wait_lines($daemon, qr/re-opened/, 1);
});

# php-fpm says them when its workers have ended, fpmpoold before it starts the new ones beside the old
for my $signal (qw(USR2 HUP)) {
    same_lines("a reload by SIG$signal", { global => { process_control_timeout => 5 }, map { $_ => { 'pm.max_children' => 1 } } qw(a www z) }, sub {
        my ($daemon) = @_;
        for my $n (1 .. 2) {
            $daemon->signal($signal);
            wait_lines($daemon, qr/ready to handle connections/, $n + 1);
            wait_for { scalar(my @worker = $daemon->worker_pids) } 10, 'a worker';
        }
    });
}

same_lines('a reload with many arguments, and TCP', { global => {}, www => { 'pm.max_children' => 1, listen => 'tcp' } }, sub {
    my ($daemon) = @_;
    $daemon->signal('USR2');
    wait_lines($daemon, qr/ready to handle connections/, 2);
}, undef, args => [ map { ('-d', "a$_=1") } 1 .. 6 ]);

diag("section 6: $cases cases beside php-fpm");
done_testing();
