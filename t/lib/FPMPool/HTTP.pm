package FPMPool::HTTP;

# An HTTP/1.1 client on a raw socket, for tests: it shows what is on the wire (framing, cuts,
# moments), so nothing is hidden, retried or decoded beyond chunks. One object is one connection.
#
#   my $answer = FPMPool::HTTP::request("http://127.0.0.1:$port/x", method => 'POST', body => 'a');
#   my $http = FPMPool::HTTP->connect(port => $port);
#   $http->send_request(GET => '/', headers => [ 'X-A' => 1 ]);
#   my $head = $http->read_head;             # {status, reason, version, headers, list}
#   my $piece = $http->read_some;            # body bytes as they come; '' at the end
#
# An answer is {status, reason, version, headers => {lower name => joined value}, list => [name,
# value, ...], body, complete, framing => length|chunked|close|none}. complete is 0 when the server
# cut the body.

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket ();
use Time::HiRes ();

sub connect {
    my ($class, %option) = @_;
    my $timeout = $option{timeout} || 20;
    my $socket =
        $option{path}
        ? IO::Socket::UNIX->new(Peer => $option{path}, Type => Socket::SOCK_STREAM())
        : IO::Socket::INET->new(
            PeerAddr => $option{host} || '127.0.0.1', PeerPort => $option{port}, Proto => 'tcp', Timeout => 5
        );
    die "connect: $@ $!\n" unless $socket;
    $socket->sockopt(Socket::SO_RCVBUF(), $option{receive_buffer}) if $option{receive_buffer};
    setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1 unless $option{path};
    $socket->blocking(0);
    return bless {
        socket => $socket, buffer => '', timeout => $timeout,
        host   => $option{host_header} || ($option{host} || '127.0.0.1') . ':' . ($option{port} || 80),
    }, $class;
}

sub socket { return $_[0]{socket} }
sub close  { my ($self) = @_; CORE::close(delete $self->{socket}) if $self->{socket}; return }

# Writes all bytes, or dies at the time limit.
sub send_raw {
    my ($self, $bytes) = @_;
    my $end    = Time::HiRes::time() + $self->{timeout};
    my $select = IO::Select->new($self->{socket});
    my $offset = 0;
    local $SIG{PIPE} = 'IGNORE';
    while ($offset < length $bytes) {
        my $left = $end - Time::HiRes::time();
        die "write: timeout\n" if $left <= 0;
        $select->can_write($left) or next;
        my $wrote = syswrite $self->{socket}, $bytes, length($bytes) - $offset, $offset;
        next if !defined $wrote && ($!{EAGAIN} || $!{EINTR});
        die "write: $!\n" unless defined $wrote;
        $offset += $wrote;
    }
    return;
}

# body: a string (Content-Length is added), or an array of strings (sent as chunks). Option
# no_host, no_body (only the head; the body is sent by send_raw later).
sub send_request {
    my ($self, $method, $target, %option) = @_;
    my @list = @{ $option{headers} || [] };
    my $body = $option{body};
    my %has;
    for (my $i = 0; $i < @list; $i += 2) { $has{ lc $list[$i] } = 1 }
    unshift @list, Host => $self->{host} unless $has{host} || $option{no_host};
    if (ref $body) {
        push @list, 'Transfer-Encoding' => 'chunked' unless $has{'transfer-encoding'};
    } elsif (defined $body) {
        push @list, 'Content-Length' => length $body unless $has{'content-length'};
    }
    my $version = $option{version} || 'HTTP/1.1';
    my $text = "$method $target $version\r\n";
    while (my ($name, $value) = splice @list, 0, 2) { $text .= "$name: $value\r\n" }
    $text .= "\r\n";
    if (!$option{no_body}) {
        $text .= ref $body
            ? join('', map({ sprintf("%x\r\n", length) . "$_\r\n" } grep { length } @$body), "0\r\n\r\n")
            : $body // '';
    }
    $self->{method} = $method;
    $self->send_raw($text);
    return;
}

# More bytes into the buffer: 1, or 0 at the end of the stream. Dies at the time limit.
sub fill {
    my ($self, $end) = @_;
    my $select = IO::Select->new($self->{socket});
    while (1) {
        my $left = $end - Time::HiRes::time();
        die "read: timeout\n" if $left <= 0;
        $select->can_read($left) or next;
        my $read = sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer};
        next if !defined $read && ($!{EAGAIN} || $!{EINTR});
        if (!defined $read) { $self->{error} = "$!"; return 0 }
        return $read ? 1 : 0;
    }
}

sub deadline { return Time::HiRes::time() + ($_[1] // $_[0]{timeout}) }

# The next response's head. undef when the server closed before a byte of it came; dies when it
# closed inside. 1xx answers are returned too.
sub read_head {
    my ($self, $timeout) = @_;
    my $end = $self->deadline($timeout);
    until ($self->{buffer} =~ /\r?\n\r?\n/) {
        next if $self->fill($end);
        return if $self->{buffer} eq '';
        die "connection closed inside the head: $self->{buffer}\n";
    }
    $self->{buffer} =~ s/\A(.*?)\r?\n\r?\n//s;
    my ($first, @lines) = split /\r?\n/, $1;
    $first =~ m{\A(HTTP/\d\.\d) (\d{3}) ?(.*)\z} or die "not an HTTP answer: $first\n";
    my %head = (version => $1, status => $2 + 0, reason => $3, headers => {}, list => []);
    for my $line (@lines) {
        my ($name, $value) = $line =~ /\A([^:]+):\s*(.*?)\s*\z/ or die "bad header line: $line\n";
        push @{ $head{list} }, $name, $value;
        my $key = lc $name;
        $head{headers}{$key} = defined $head{headers}{$key} ? "$head{headers}{$key}, $value" : $value;
    }
    $self->{framing} = $self->framing_of(\%head);
    $self->{left}    = $self->{framing} eq 'length' ? $head{headers}{'content-length'} : 0;
    $self->{ended}   = $self->{framing} eq 'none' || ($self->{framing} eq 'length' && !$self->{left});
    $self->{complete} = $self->{ended};
    $self->{chunk_state} = 'size';
    $head{framing}    = $self->{framing};
    $head{keep} = $self->{framing} ne 'close'
        && ($head{headers}{connection} // '') !~ /close/i
        && ($head{version} eq 'HTTP/1.1' || ($head{headers}{connection} // '') =~ /keep-alive/i) ? 1 : 0;
    return \%head;
}

sub framing_of {
    my ($self, $head) = @_;
    my $status = $head->{status};
    return 'none' if ($self->{method} // '') eq 'HEAD' || $status < 200 || $status == 204 || $status == 304;
    return 'chunked' if ($head->{headers}{'transfer-encoding'} // '') =~ /chunked/i;
    return 'length' if defined $head->{headers}{'content-length'};
    return 'close';
}

# A piece of the body as soon as there is one; '' at its end (see complete).
sub read_some {
    my ($self, $timeout) = @_;
    my $end = $self->deadline($timeout);
    while (!$self->{ended}) {
        my $piece = $self->{framing} eq 'chunked' ? $self->chunk_piece : $self->plain_piece;
        return $piece if length $piece;
        last if $self->{ended};
        next if $self->fill($end);
        $self->{ended} = 1;
        $self->{complete} = $self->{framing} eq 'close' && !$self->{error} ? 1 : 0;
    }
    return '';
}

sub plain_piece {
    my ($self) = @_;
    my $length = length $self->{buffer};
    $length = $self->{left} if $self->{framing} eq 'length' && $length > $self->{left};
    my $piece = substr $self->{buffer}, 0, $length, '';
    if ($self->{framing} eq 'length') {
        $self->{left} -= $length;
        $self->{ended} = $self->{complete} = 1 unless $self->{left};
    }
    return $piece;
}

# States: size, data, crlf (behind the data), trailer.
sub chunk_piece {
    my ($self) = @_;
    my $piece = '';
    while (!$self->{ended}) {
        my $state = $self->{chunk_state};
        if ($state eq 'size') {
            $self->{buffer} =~ s/\A([0-9a-fA-F]+)[^\n]*\n// or return $piece;
            $self->{left} = hex $1;
            $self->{chunk_state} = $self->{left} ? 'data' : 'trailer';
        } elsif ($state eq 'data') {
            return $piece if $self->{buffer} eq '';
            my $part = substr $self->{buffer}, 0, $self->{left}, '';
            $self->{left} -= length $part;
            $piece .= $part;
            $self->{chunk_state} = 'crlf' unless $self->{left};
        } elsif ($state eq 'crlf') {
            $self->{buffer} =~ s/\A\r?\n// or return $piece;
            $self->{chunk_state} = 'size';
        } else {
            $self->{buffer} =~ s/\A([^\n]*)\n// or return $piece;
            $self->{ended} = $self->{complete} = 1 if $1 =~ /\A\r?\z/;
        }
    }
    return $piece;
}

# The whole answer; 100 Continue and other 1xx are skipped.
sub read_answer {
    my ($self, $timeout) = @_;
    my $head;
    do { $head = $self->read_head($timeout) } while $head && $head->{status} < 200 && $head->{status} != 101;
    return unless $head;
    my $body = '';
    while (length(my $piece = $self->read_some($timeout))) { $body .= $piece }
    return { %$head, body => $body, complete => $self->{complete} };
}

# One request and its whole answer on this connection; undef when the server closed before it.
sub exchange {
    my ($self, $method, $target, %option) = @_;
    $self->send_request($method, $target, %option);
    return $self->read_answer($option{timeout});
}

# Is the connection closed by the server (within the time), without a further byte?
sub is_closed {
    my ($self, $seconds) = @_;
    my $filled = eval { $self->fill(Time::HiRes::time() + $seconds) };
    return defined $filled && !$filled && $self->{buffer} eq '' ? 1 : 0;
}

# One request on a connection of its own. Options: method, headers, body, timeout.
sub request {
    my ($url, %option) = @_;
    my ($host, $port, $target) = $url =~ m{\Ahttp://([^:/]+):(\d+)(/.*)?\z}s or die "bad URL $url";
    my $http = FPMPool::HTTP->connect(host => $host, port => $port, timeout => $option{timeout});
    my $method = $option{method} || 'GET';
    my @headers = (@{ $option{headers} || [] }, Connection => 'close');
    my $answer = $http->exchange($method, $target // '/', %option, headers => \@headers);
    $http->close;
    die "no answer from $url\n" unless $answer;
    return $answer;
}

1;
