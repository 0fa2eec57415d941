package FPMPool::Hosts;

# Several hosts in one machine, for tests: each is a network namespace with an address of its own,
# joined by a bridge. `use FPMPool::Hosts;` before everything else moves the test itself into a
# namespace, where httpd and the front ends run; start_host() makes the others. No namespace has a
# name: they are gone with the processes in them, however the test ends. /srv is an empty folder
# of this test's own, the same on all hosts, so that shipped configurations run as they are.
#
#   my $a = start_host('a', 11);              # 10.0.0.11 and fd00:10::11; the test is 10.0.0.10, fd00:10::10
#   start_daemon(prefix => $a->prefix, ...);  # runs on it
#   $a->cut; $a->repair;                      # its packets vanish in both directions, no RST
#   $a->mute; $a->speak;                      # hears everything, and nobody hears it

use strict;
use warnings;
use Carp ();
use Exporter 'import';

our @EXPORT = qw(start_host);

BEGIN {
    my $mark = 'FPMPOOL_TEST_HOSTS';    # in the environment: the process that is in its namespace already
    if (($ENV{$mark} // 0) != $$) {
        my @unshare = ('unshare', '--net', '--mount', '--');
        my $said = `@unshare true 2>&1`;
        if ($? || !-x '/usr/bin/nsenter' || system('ip -V >/dev/null 2>&1')) {
            $said = 'nsenter or ip (Debian packages util-linux, iproute2) is not there' unless $said =~ /\S/;
            chomp $said;
            print "1..0 # SKIP no network namespaces here: $said\n";
            exit 0;
        }
        $ENV{$mark} = $$;    # exec keeps the process
        exec @unshare, $^X, (map { "-I$_" } grep { !ref } @INC), $0, @ARGV or die "unshare: $!";
    }
}

use FPMPool::Test;

my $count = 0;

sub run {
    my (@command) = @_;
    system(@command) == 0 or Carp::croak("failed: @command");
    return;
}

sub quietly {
    my ($file, $text) = @_;
    open my $out, '>', $file or return;
    print {$out} $text;
    close $out;
    return;
}

run(qw(mount -t tmpfs -o mode=0755 fpmpool-test /srv));
quietly('/proc/sys/net/ipv6/conf/default/accept_dad', '0');
run(qw(ip link set lo up));
run(qw(ip link add bridge type bridge forward_delay 0));
run(qw(ip link set bridge up));
run(qw(ip address add 10.0.0.10/24 dev bridge));
run(qw(ip address add fd00:10::10/64 dev bridge nodad)) if -e '/proc/net/if_inet6';

sub start_host {
    my ($name, $number) = @_;
    my $holder = start_service(
        kind => 'peer', name => "host-$name",
        argv => [ '/usr/bin/setpriv', '--pdeathsig', 'KILL', '/usr/bin/unshare', '--net', 'sleep', 'infinity' ],
    )->expect_end;
    my $own = readlink "/proc/$$/ns/net";
    wait_for { (readlink("/proc/$holder->{pid}/ns/net") // $own) ne $own } 10, "the namespace of host $name";
    my $self = bless { name => $name, pid => $holder->pid, port => "port-$name", v4 => "10.0.0.$number", v6 => "fd00:10::$number" }, __PACKAGE__;
    run('ip', 'link', 'add', $self->{port}, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', $self->{pid});
    run('ip', 'link', 'set', $self->{port}, 'master', 'bridge', 'up');
    $self->ip(qw(link set lo up));
    $self->ip('address', 'add', "$self->{v4}/24", 'dev', 'eth0');
    $self->ip('address', 'add', "$self->{v6}/64", 'dev', 'eth0', 'nodad') if -e '/proc/net/if_inet6';
    $self->ip(qw(link set eth0 up));
    return $self;
}

sub v4 { return $_[0]{v4} }
sub v6 { return $_[0]{v6} }

# What argv begins with for a program that runs on this host, as the same process.
sub prefix { return [ '/usr/bin/nsenter', "--net=/proc/$_[0]{pid}/ns/net", '--' ] }

sub ip { my ($self, @argument) = @_; return run(@{ $self->prefix }, 'ip', @argument) }

# Output of a program that runs on this host.
sub output {
    my ($self, @command) = @_;
    open my $pipe, '-|', @{ $self->prefix }, @command or Carp::croak("$command[0]: $!");
    local $/;
    my $text = <$pipe> // '';
    close $pipe;
    return $text;
}

sub cut    { return run('ip', 'link', 'set', $_[0]{port}, 'down') }
sub repair { return run('ip', 'link', 'set', $_[0]{port}, 'up') }

# It hears the test's host, and its answers vanish.
sub mute  { return $_[0]->ip('route', 'add', 'blackhole', '10.0.0.10') }
sub speak { return $_[0]->ip('route', 'del', 'blackhole', '10.0.0.10') }

# tc's netem on the way to this host: delay => '20ms', loss => '5%'. Returns 0 where the kernel has none.
sub weather {
    my ($self, @how) = @_;
    return system("tc qdisc replace dev $self->{port} root netem @how 2>/dev/null") == 0;
}

1;
