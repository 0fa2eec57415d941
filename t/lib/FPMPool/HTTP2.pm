package FPMPool::HTTP2;

# HTTP/2 without TLS, by curl, for tests that care for answers and not for frames. It looks like a
# connection of FPMPool::HTTP as far as FPMPool::Browser needs one; each request has its own.
#
#   my $http = FPMPool::HTTP2->connect(port => $port);
#   my $answer = $http->exchange(GET => '/', headers => [ 'X-A' => 1 ]);
#
# The answer is FPMPool::HTTP's, framing is "h2", and headers of several values are joined.

use strict;
use warnings;
use File::Temp ();

# Whether this curl can.
sub is_available { return (`curl --version 2>/dev/null` // '') =~ /\bHTTP2\b/ ? 1 : 0 }

sub connect {
    my ($class, %option) = @_;
    my $folder = File::Temp->newdir('fpmpool-http2-XXXXXXXX', TMPDIR => 1);
    return bless {
        base => 'http://' . ($option{host} || '127.0.0.1') . ":$option{port}", timeout => $option{timeout} || 20, folder => $folder,
    }, $class;
}

sub close { return }

# body: a string (sent with its length), or an array of strings (sent without). Dies when curl finds
# that the answer is not HTTP/2 or not whole.
sub exchange {
    my ($self, $method, $target, %option) = @_;
    my @argument = ('--http2-prior-knowledge', '-sS', '--max-time', $self->{timeout}, '-D', "$self->{folder}/head", '-o', "$self->{folder}/body",
        '-w', '%{http_version}', '--globoff', '--path-as-is');
    my @headers = @{ $option{headers} || [] };
    while (my ($name, $value) = splice @headers, 0, 2) { push @argument, '-H', "$name: $value" }
    if (defined $option{body}) {
        spew("$self->{folder}/sent", ref $option{body} ? join('', @{ $option{body} }) : $option{body});
        push @argument, '-X', $method, ref $option{body} ? ('-T', '-') : ('--data-binary', '@-');
    } else {
        push @argument, $method eq 'HEAD' ? '-I' : ('-X', $method);
    }
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        open STDIN, '<', defined $option{body} ? "$self->{folder}/sent" : '/dev/null' or die $!;
        exec 'curl', @argument, $self->{base} . $target or die "curl: $!\n";
    }
    my $version = do { local $/; <$pipe> } // '';
    CORE::close($pipe);
    die "curl: exit code " . ($? >> 8) . " for $method $target\n" if $?;
    die "$method $target: answered in HTTP/$version\n" unless $version eq '2';
    return $self->answer;
}

# The last head that curl wrote (1xx answers come before it), with the body.
sub answer {
    my ($self) = @_;
    my ($first, @lines) = split /\r?\n/, (split /\r?\n\r?\n/, slurp("$self->{folder}/head"))[-1];
    $first =~ m{\AHTTP/2 (\d{3})} or die "not an HTTP/2 answer: $first\n";
    my %answer = (version => 'HTTP/2', status => $1 + 0, reason => '', headers => {}, list => [], complete => 1, framing => 'h2', keep => 0);
    for my $line (@lines) {
        my ($name, $value) = $line =~ /\A([^:]+):\s*(.*?)\s*\z/ or die "bad header line: $line\n";
        push @{ $answer{list} }, $name, $value;
        $answer{headers}{$name} = defined $answer{headers}{$name} ? "$answer{headers}{$name}, $value" : $value;
    }
    $answer{body} = -e "$self->{folder}/body" ? slurp("$self->{folder}/body") : '';
    unlink "$self->{folder}/body";
    return \%answer;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub spew {
    my ($path, $bytes) = @_;
    open my $file, '>:raw', $path or die "$path: $!\n";
    print {$file} $bytes;
    CORE::close($file) or die "$path: $!\n";
    return;
}

1;
