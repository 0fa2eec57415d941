package FPMPool::Client;

# A FastCGI client as tests want it: one object is one connection; requests are described by what
# matters to PHP, answers come as status, headers and body. It sends and reads whatever it is told,
# also what is wrong.
#
#   my $answer = php_request($daemon, "$root/a.php", query => 'x=1');
#   my $client = FPMPool::Client->connect($daemon->listen_address('www'));
#   $client->send_request(script => "$root/a.php", keep => 1);
#   my $answer = $client->read_answer;
#
# An answer is {status, headers => {lower name => value}, list => [...], body, stdout, stderr,
# app_status, protocol_status, ended}; ended is 0 when the connection ended without END_REQUEST.

use strict;
use warnings;
use Exporter 'import';
use File::Basename ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Time::HiRes ();

our @EXPORT = qw(php_request php_connect record begin_record params_records stdin_records);

our %TYPE = (
    BEGIN => 1, ABORT => 2, END => 3, PARAMS => 4, STDIN => 5, STDOUT => 6, STDERR => 7, DATA => 8,
    GET_VALUES => 9, GET_VALUES_RESULT => 10, UNKNOWN_TYPE => 11,
);

# ---- bytes ----------------------------------------------------------------------------------

# record('STDIN' or a number, id, content, option padding, version)
sub record {
    my ($type, $id, $content, %option) = @_;
    my $padding = $option{padding} || 0;
    return pack('CCnnCC', $option{version} // 1, $TYPE{$type} // $type, $id, length $content, $padding, 0)
        . $content . "\0" x $padding;
}

sub begin_record {
    my ($id, %option) = @_;
    return record('BEGIN', $id, pack 'nCx5', $option{role} // 1, $option{keep} ? 1 : 0);
}

sub pair {
    my ($name, $value) = @_;
    return join('', map { length $_ < 128 ? chr length $_ : pack 'N', 0x80000000 | length $_ } $name, $value) . "$name$value";
}

# The reverse: (name, value, ...) of a record's content, which must be whole pairs.
sub pairs_of {
    my ($content) = @_;
    my @found;
    my $length = sub {
        my ($first) = unpack 'C', $content;
        my $size = $first < 128 ? 1 : 4;
        my $value = $size == 1 ? $first : 0x7fffffff & unpack 'N', $content;
        substr $content, 0, $size, '';
        return $value;
    };
    while (length $content) {
        my @size = ($length->(), $length->());
        die "a pair is cut\n" if $size[0] + $size[1] > length $content;
        push @found, map { substr $content, 0, $_, '' } @size;
    }
    return @found;
}

# The PARAMS stream of [[name, value], ...], its end included. No pair is cut by a record unless it
# is larger than one, or piece says how large records are.
sub params_records {
    my ($id, $pairs, $piece) = @_;
    my ($out, $content) = ('', '');
    my $limit = $piece || 65_528;
    for my $encoded (map { pair(@$_) } @$pairs) {
        if (!$piece && length $content && length($content) + length($encoded) > $limit) {
            $out .= record('PARAMS', $id, $content);
            $content = '';
        }
        $content .= $encoded;
        $out .= record('PARAMS', $id, substr $content, 0, $limit, '') while length $content >= $limit;
    }
    $out .= record('PARAMS', $id, $content) if length $content;
    return $out . record('PARAMS', $id, '');
}

# The STDIN stream of a body, its end included (unless no_end).
sub stdin_records {
    my ($id, $body, %option) = @_;
    my ($out, $at) = ('', 0);
    while ($at < length $body) {
        $out .= record('STDIN', $id, substr $body, $at, $option{piece} || 65_528);
        $at += $option{piece} || 65_528;
    }
    $out .= record('STDIN', $id, '') unless $option{no_end};
    return $out;
}

# Parameters of a request as a web server sends them. params: more of them, undef removes one.
sub request_params {
    my (%option) = @_;
    my $script = $option{script} // '';
    my $name   = $option{name} // '/' . File::Basename::basename($script);
    my $query  = $option{query} // '';
    my %param  = (
        SCRIPT_FILENAME => $script, SCRIPT_NAME => $name,
        REQUEST_URI     => $option{uri} // $name . (length $query ? "?$query" : ''),
        DOCUMENT_ROOT   => $option{docroot} // File::Basename::dirname($script),
        QUERY_STRING    => $query, REQUEST_METHOD => $option{method} // (defined $option{body} ? 'POST' : 'GET'),
        SERVER_PROTOCOL => 'HTTP/1.1', GATEWAY_INTERFACE => 'CGI/1.1', SERVER_SOFTWARE => 'test/1',
        REMOTE_ADDR     => '127.0.0.1', REMOTE_PORT => 12345, SERVER_NAME => 'localhost', SERVER_PORT => 80,
        HTTP_HOST       => 'localhost',
    );
    if (defined $option{body}) {
        $param{CONTENT_LENGTH} = length $option{body};
        $param{CONTENT_TYPE} = $option{type} // 'application/x-www-form-urlencoded';
    }
    %param = (%param, %{ $option{params} || {} });
    return [ map { [ $_, $param{$_} ] } grep { defined $param{$_} } sort keys %param ];
}

# A whole request as bytes. Options of request_params, and id, keep, role, piece (of PARAMS).
sub request_bytes {
    my (%option) = @_;
    my $id = $option{id} || 1;
    return begin_record($id, %option) . params_records($id, request_params(%option), $option{piece})
        . stdin_records($id, $option{body} // '');
}

# ---- a connection ---------------------------------------------------------------------------

sub connect {
    my ($class, $address, %option) = @_;
    my $socket = $address =~ m{\A/} ? IO::Socket::UNIX->new(Peer => $address)
        : IO::Socket::INET->new(PeerAddr => $address, Timeout => 5);
    die "connect to $address: $!\n" unless $socket;
    $socket->blocking(0);
    return bless { socket => $socket, buffer => '', timeout => $option{timeout} || 20 }, $class;
}

sub socket  { return $_[0]{socket} }
sub close   { my ($self) = @_; CORE::close(delete $self->{socket}) if $self->{socket}; return }
sub end_of_writing { return shutdown $_[0]{socket}, 1 }

# Writes all bytes. Returns 1, or 0 when the peer closed.
sub send_bytes {
    my ($self, $bytes) = @_;
    my $end    = Time::HiRes::time() + $self->{timeout};
    my $select = IO::Select->new($self->{socket});
    my $offset = 0;
    local $SIG{PIPE} = 'IGNORE';
    while ($offset < length $bytes) {
        my $left = $end - Time::HiRes::time();
        die "FastCGI write: timeout\n" if $left <= 0;
        $select->can_write($left) or next;
        my $wrote = syswrite $self->{socket}, $bytes, length($bytes) - $offset, $offset;
        if (!defined $wrote) {
            next if $!{EAGAIN} || $!{EINTR};
            return 0 if $!{EPIPE} || $!{ECONNRESET};
            die "FastCGI write: $!\n";
        }
        $offset += $wrote;
    }
    return 1;
}

sub send_request { my ($self, %option) = @_; return $self->send_bytes(request_bytes(%option)) }

# The next record {type, id, content}; undef at the end of the stream ({reset} is set when it was
# a reset). Dies at the time limit.
sub read_record {
    my ($self, $timeout) = @_;
    my $end    = Time::HiRes::time() + ($timeout // $self->{timeout});
    my $select = IO::Select->new($self->{socket});
    while (1) {
        if (length $self->{buffer} >= 8) {
            my ($version, $type, $id, $length, $padding) = unpack 'CCnnC', $self->{buffer};
            die "answer with version $version\n" unless $version == 1;
            if (length $self->{buffer} >= 8 + $length + $padding) {
                my $content = substr $self->{buffer}, 8, $length;
                substr $self->{buffer}, 0, 8 + $length + $padding, '';
                return { type => $type, id => $id, content => $content };
            }
        }
        my $left = $end - Time::HiRes::time();
        die "FastCGI read: timeout\n" if $left <= 0;
        $select->can_read($left) or next;
        my $read = sysread $self->{socket}, $self->{buffer}, 262_144, length $self->{buffer};
        next if !defined $read && ($!{EAGAIN} || $!{EINTR});
        $self->{reset} = 1 unless defined $read;
        return unless $read;
    }
}

# Reads one request's answer to its END_REQUEST. on_output => sub(piece): instead of collecting.
sub read_answer {
    my ($self, %option) = @_;
    my %answer = (stdout => '', stderr => '', ended => 0, length => 0);
    while (my $record = $self->read_record($option{timeout})) {
        if ($record->{type} == 10 && $record->{id} == 0) { # what our daemon tells our module; any client skips it
            $answer{facts} = { %{ $answer{facts} || {} }, pairs_of($record->{content}) };
            next;
        }
        die "answer for request $record->{id}\n" if defined $option{id} && $record->{id} != $option{id};
        $answer{id} = $record->{id};
        if ($record->{type} == $TYPE{STDOUT}) {
            $answer{length} += length $record->{content};
            if ($option{on_output}) { $option{on_output}->($record->{content}) }
            else                    { $answer{stdout} .= $record->{content} }
        } elsif ($record->{type} == $TYPE{STDERR}) {
            $answer{stderr} .= $record->{content};
            $answer{acknowledged} = 1 unless length $record->{content};
        } elsif ($record->{type} == $TYPE{END}) {
            @answer{qw(app_status protocol_status)} = unpack 'NC', $record->{content};
            $answer{reserved} = substr $record->{content}, 5;
            $answer{ended} = 1;
            last;
        } else {
            die "unexpected record of type $record->{type}\n";
        }
    }
    return split_head(\%answer);
}

sub split_head {
    my ($answer) = @_;
    $answer->{list}    = [];
    $answer->{headers} = {};
    ($answer->{head}, $answer->{body}) = $answer->{stdout} =~ /\A(.*?\r?\n)\r?\n(.*)\z/s;
    for my $line (split /\r?\n/, $answer->{head} // '') {
        my ($name, $value) = split /:\s*/, $line, 2;
        push @{ $answer->{list} }, $name, $value;
        my $key = lc $name;
        $answer->{headers}{$key} =
            defined $answer->{headers}{$key} ? "$answer->{headers}{$key}, $value" : $value // '';
    }
    $answer->{status} = ($answer->{headers}{status} // '200') =~ /\A(\d+)/ ? $1 : undef;
    $answer->{status} = undef unless defined $answer->{head};
    return $answer;
}

# Has the peer closed it (EOF or reset) within the time? Bytes that come first are an error.
sub is_closed {
    my ($self, $seconds) = @_;
    my $record = eval { $self->read_record($seconds) };
    die "a record of type $record->{type} instead of the end\n" if $record;
    return $@ ? 0 : 1;
}

# Is it open and silent?
sub is_open {
    my ($self) = @_;
    my $read = sysread $self->{socket}, my $byte, 1;
    return !defined $read && $!{EAGAIN} ? 1 : 0;
}

# One request on this connection.
sub request {
    my ($self, %option) = @_;
    $self->send_request(keep => 1, %option);
    return $self->read_answer(%option);
}

# ---- shortcuts ------------------------------------------------------------------------------

sub php_connect {
    my ($daemon, $pool, %option) = @_;
    return FPMPool::Client->connect(ref $daemon ? $daemon->listen_address($pool // 'www') : $daemon, %option);
}

# One request on a connection of its own, which the daemon closes. pool => 'www'.
sub php_request {
    my ($daemon, $script, %option) = @_;
    my $client = php_connect($daemon, $option{pool}, %option);
    $client->send_request(script => $script, %option);
    my $answer = $client->read_answer(%option);
    $client->close;
    return $answer;
}

1;
