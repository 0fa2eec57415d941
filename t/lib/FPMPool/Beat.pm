package FPMPool::Beat;

# Defects of mod_proxy_fcgi, each shown side by side with what mod_fpmpool does in the same place. Both
# halves are asserted: a peer that has learnt to behave fails its test as "no longer a defect".
#
#   my ($ours, $peer) = start_pair($root, both => 'ErrorDocument ...', ours => ..., peer => ...);
#   defect('D4', 'OVERLOADED is answered 200',
#       peer => sub { show(http($peer->url('/x.php'))) }, wrong => qr/^200 /,
#       ours => sub { show(http($ours->url('/x.php'))) }, right => qr/^503 /);
#
# prove -v prints what each of them answered.

use strict;
use warnings;
use Exporter 'import';
use FPMPool::Test;
use IO::Socket::UNIX;
use Socket ();

our @EXPORT = qw(defect defects_elsewhere start_pair start_fake full_listener show within);

# Numbers of the list that no test of this kind can show, and why.
our %elsewhere = (
    D25 => 'limits for a pool over all children (FpmPoolLimit) are chapter 6',
    D29 => 'a pause of httpd itself after a graceful restart, with and without any module',
);
our $count = 29;

# The peer's module names: its log is full of what its defects make of good requests.
my $peers_log = qr/\[proxy(?:_\w+)?:\w+\]/;

# One number of the list. Options peer and ours: subs that return a text; wrong and right: what it is like.
sub defect {
    my ($number, $what, %side) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return subtest "$number: $what" => sub {
        my ($his, $mine) = map { one_line($_->()) } @side{qw(peer ours)};
        note("mod_proxy_fcgi: $his");
        note("mod_fpmpool:    $mine");
        like($his, $side{wrong}, 'mod_proxy_fcgi gets it wrong') or diag("$number is no longer a defect of mod_proxy_fcgi: $his");
        like($mine, $side{right}, 'mod_fpmpool gets it right');
    };
}

sub one_line {
    my ($text) = @_;
    $text = 'undef' unless defined $text;
    $text =~ s/([^ -~])/$1 eq "\n" ? '\n' : sprintf '\x%02x', ord $1/ge;
    return length $text > 300 ? substr($text, 0, 300) . '...' : $text;
}

# Status, framing and body of an answer.
sub show {
    my ($answer) = @_;
    return 'no answer' unless $answer;
    return "$answer->{status} " . ($answer->{framing} // '-') . ' ' . length($answer->{body}) . " bytes: $answer->{body}";
}

# What the code returns, or 'nothing in N s' when it ran into its own time limit of N seconds.
sub within {
    my ($seconds, $code) = @_;
    my $value = eval { $code->() };
    return $value if defined $value;
    die $@ if $@ && $@ !~ /timeout/;
    return $@ ? "nothing in $seconds s" : 'closed';
}

# An httpd with mod_fpmpool and one with mod_proxy_fcgi over the same document root; neither has the other's module.
sub start_pair {
    my ($root, %option) = @_;
    my %common = (mpm => 'event', docroot => $root);
    my $both   = $option{both} // '';
    my @more   = @{ $option{modules} || [] };
    allow_log($peers_log);
    my $ours = start_httpd(%common, name => 'httpd-ours', modules => [@more], conf => $both . $option{ours});
    my $peer = start_httpd(%common, name => 'httpd-peer', modules => [ qw(proxy proxy_fcgi), @{ $option{peer_modules} || [] }, @more ],
        conf => $both . $option{peer}, fpmpool => 0);
    return ($ours, $peer);
}

# A scripted peer on that socket; $always: what it does whatever the request says.
sub start_fake {
    my ($socket, @always) = @_;
    my ($name) = $socket =~ m{([^/]+)\.sock\z};
    my $fake = start_service(kind => 'peer', name => "fake-$name", argv => [ repository() . '/t/bin/scripted-peer', $socket, @always ]);
    $fake->wait_log(qr/listening/);
    return $fake;
}

# A listener whose queue is full: the next connect waits. Returns it, and the clients that fill it.
sub full_listener {
    my ($path) = @_;
    unlink $path;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!";
    chmod 0666, $path;
    my @waiting;
    while (@waiting < 16) {
        socket my $client, Socket::PF_UNIX(), Socket::SOCK_STREAM() | Socket::SOCK_NONBLOCK(), 0 or die $!;
        connect $client, Socket::pack_sockaddr_un($path) or last;
        push @waiting, $client;
    }
    return ($listener, @waiting);
}

# Test points: every number of the list has its test in one of these files, or its reason to have none.
sub defects_elsewhere {
    my (@file) = @_;
    my %tested;
    for my $file (@file) { $tested{$_} = $file for read_file($file) =~ /^\s*defect\('(D\d+)'/mg }
    for my $number (map { "D$_" } 1 .. $count) {
        my $reason = $elsewhere{$number};
        ok(!$tested{$number} != !$reason, "$number: " . ($reason // ($tested{$number} // 'nowhere') =~ s{.*/}{}r));
    }
    return;
}

1;
