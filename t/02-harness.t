# The harness fails a test for what it promises to find, and leaves nothing behind. Each case is a
# small test of its own, run in a child.

use strict;
use warnings;
use Cwd qw(realpath);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $library = realpath(dirname(__FILE__) . '/lib');

# Runs a test's text; returns its exit code and everything that it printed.
sub run_test {
    my ($text) = @_;
    my $file = write_file('case.t', <<"PERL");
use strict; use warnings; use lib '$library'; use FPMPool::Test;
sub service { start_service(name => 'it', kind => 'daemon', argv => [ \$^X, '-e', \$_[0] ]) }
print STDERR 'folder ', test_dir(), "\\n";
$text
done_testing();
PERL
    my $output = `'$^X' '$file' 2>&1`;
    my $code   = $? >> 8;
    my ($folder) = $output =~ /^folder (.+)$/m;
    ok(!-e $folder, 'its folder is gone');
    return ($code, $output);
}

my $waits = q(service('$| = 1; print "[x] NOTICE: up\n"; $SIG{TERM} = sub { exit 0 }; sleep 1 while 1');) . "\n"
    . q(wait_for { -s test_dir() . '/it/stderr.log' } 5, 'start';) . "\n";
my %case = (
    'nothing wrong' => [ "$waits pass();", 0, qr/^ok 2 - clean end/m ],
    'a process left over' => [ 'system("(sleep 300 &)"); pass();', 1, qr/left over: process \d+ \(sleep 300\)/ ],
    'a process in a session of its own' => [ q(system('perl', '-MPOSIX', '-e', 'fork and exit; POSIX::setsid(); fork and exit; exec "sleep", "300.7"');
        wait_for { qx(ps -eo args) =~ /^sleep 300\.7$/m } 20, 'it'; pass();),
        1, qr/left over: process \d+ \(sleep 300\.7\)/ ],
    'a warning in a log' => [ q(service('$| = 1; print "[x] WARNING: look\n"; exit 0'); wait_for { -s test_dir() . '/it/stderr.log' } 5, 'line'; pass();), 1, qr/it: \[x\] WARNING: look/ ],
    'a warning that is allowed' => [ q(allow_log(qr/look/); service('$| = 1; print "[x] WARNING: look\n"; exit 0'); wait_for { -s test_dir() . '/it/stderr.log' } 5, 'line'; pass();), 0, qr/clean end/ ],
    'a PHP warning at notice level' => [ q(service('$| = 1; print "[x] NOTICE: PHP Warning:  x\n"; exit 0'); wait_for { -s test_dir() . '/it/stderr.log' } 5, 'line'; pass();), 1, qr/PHP Warning/ ],
    'an exit code' => [ q(service('$| = 1; $SIG{TERM} = sub { exit 3 }; print "[x] NOTICE: up\n"; sleep 1 while 1'); wait_for { -s test_dir() . '/it/stderr.log' } 5, 'start'; pass();), 1, qr/it \(pid \d+\) ended with exit code 3/ ],
    'a socket left over' => [ q(service('use IO::Socket::UNIX; mkdir "$ARGV[0]"; 1'); mkdir test_dir() . '/it/run';
        require IO::Socket::UNIX; IO::Socket::UNIX->new(Local => test_dir() . '/it/run/x.sock', Listen => 1) or die; pass();), 1, qr{left over: .*/x\.sock} ],
    'a test that dies' => [ "$waits die 'in the middle';", 255, qr/in the middle/ ],
    'a test that takes too long' => [ "$waits alarm 1; sleep 1 while 1;", 1, qr/test time limit reached/ ],
    'httpd that is stopped while it gives back the memory of a connection' => [ q(
        my $mark = test_dir() . '/mark';
        my $httpd = start_httpd(docroot => site('www', 'a.txt' => 'a'), env => { LD_PRELOAD => preload('slow_end'), SLOW_END => 'connection', SLOW_END_MARK => $mark });
        chmod 0777, test_dir();
        is(http($httpd->url('/a.txt'), headers => [ Connection => 'close' ])->{status}, 200, 'it answers');
        wait_for { -e $mark } 10, 'the memory to be given back';
        is($httpd->stop, 0, 'it ends'); pass();), 0, qr/clean end/ ],
    'a leaked descriptor' => [ q(my @keep; check_descriptors($$, sub { push @keep, IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') }, 'leak');), 2, qr/not ok 1 - leak.*new: \d+ -> socket/s ],
);
for my $name (sort keys %case) {
    my ($text, $code, $pattern) = @{ $case{$name} };
    subtest $name => sub {
        my ($got, $output) = run_test($text);
        is($code ? $got != 0 : $got, $code ? 1 : 0, $code ? 'the test fails' : 'the test passes') or diag($output);
        like($output, $pattern, 'and says why');
    };
}
done_testing();
