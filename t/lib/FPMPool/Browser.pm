package FPMPool::Browser;

# What a browser does for a tester: one kept connection, cookies, redirects, forms with their hidden
# fields, the assets of a page. Pages are taken apart with patterns, which is enough for pages whose
# make is known.

use strict;
use warnings;
use Carp ();
use FPMPool::HTTP;
use FPMPool::HTTP2;

# base => "http://127.0.0.1:PORT"; http2 => 1: HTTP/2 with prior knowledge, a connection for each request
sub new {
    my ($class, %option) = @_;
    my ($host, $port) = $option{base} =~ m{\Ahttp://([^:/]+):(\d+)} or Carp::croak("bad base $option{base}");
    return bless { host => $host, port => $port, cookies => {}, at => '/', opened => 0,
        client => $option{http2} ? 'FPMPool::HTTP2' : 'FPMPool::HTTP' }, $class;
}

# Connections opened so far.
sub connections { return $_[0]{opened} }

# Path and query of the page that was loaded last.
sub location { return $_[0]{at} }

sub absolute {
    my ($self, $target) = @_;
    $target =~ s{#.*}{};
    return $self->{at} if $target eq '';
    $target =~ s{\Ahttp://\Q$self->{host}\E:$self->{port}(?=/|\z)}{};
    Carp::croak("leaves the site: $target") if $target =~ m{\A(?:https?:)?//};
    return $target if $target =~ m{\A/};
    my ($path) = $self->{at} =~ /\A([^?]*)/;
    return $path . $target if $target =~ /\A\?/;
    $path =~ s{[^/]*\z}{};
    return $path . $target;
}

# One request, without following; the connection is kept when the server keeps it, and reopened when
# the server closed it before.
sub fetch {
    my ($self, $method, $target, %option) = @_;
    my @headers = @{ $option{headers} || [] };
    my $cookies = join '; ', map { "$_=$self->{cookies}{$_}" } sort keys %{ $self->{cookies} };
    push @headers, Cookie => $cookies if length $cookies;
    push @headers, Referer => "http://$self->{host}:$self->{port}$self->{at}";
    my $answer;
    if ($self->{http}) {
        $answer = eval { $self->{http}->exchange($method, $target, %option, headers => \@headers) };
        die $@ if $@ && $@ !~ /\Awrite: /;    # anything else is no connection that was closed before
    }
    if (!$answer) {
        $self->{http} = $self->{client}->connect(host => $self->{host}, port => $self->{port});
        $self->{opened}++;
        $answer = $self->{http}->exchange($method, $target, %option, headers => \@headers)
            or Carp::croak("no answer to $method $target");
    }
    if (!$answer->{keep}) { $self->{http}->close; $self->{http} = undef }
    my @list = @{ $answer->{list} };
    while (my ($name, $value) = splice @list, 0, 2) {
        next unless lc $name eq 'set-cookie';
        my ($key, $content) = $value =~ /\A([^=]+)=([^;]*)/ or next;
        if ($content eq 'deleted' || $content eq '' || $value =~ /;\s*Max-Age=0\b/i) { delete $self->{cookies}{$key} }
        else                                                                          { $self->{cookies}{$key} = $content }
    }
    return $answer;
}

# Loads a page, following redirects (a POST becomes GET, as browsers do). The answer has the last
# page; {redirects} says how many there were.
sub load {
    my ($self, $method, $target, %option) = @_;
    my $count = 0;
    $target = $self->absolute($target);
    while (1) {
        my $answer = $self->fetch($method, $target, %option);
        $self->{at} = $target;
        if ($answer->{status} !~ /\A30[1237]\z/ || !defined $answer->{headers}{location}) {
            return $self->{page} = { %$answer, redirects => $count };
        }
        Carp::croak("too many redirects at $target") if ++$count > 5;
        $target = $self->absolute($answer->{headers}{location});
        ($method, %option) = ('GET');
    }
}

sub get { my ($self, $target) = @_; return $self->load(GET => $target) }

sub decode_entities {
    my ($text) = @_;
    my %named = (amp => '&', lt => '<', gt => '>', quot => '"', apos => "'");
    $text =~ s/&(?:[#](\d+)|[#]x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));/
        defined $1 ? chr $1 : defined $2 ? chr hex $2 : $named{$3}/gex;
    return $text;
}

sub attributes {
    my ($text) = @_;
    my %found;
    while ($text =~ /([\w-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'))?/g) {
        $found{ lc $1 } = decode_entities(defined $2 ? $2 : defined $3 ? $3 : '');
    }
    return \%found;
}

# The form of the loaded page that matches: {action, method, enctype, fields => [name, value, ...]}.
# Buttons are not among the fields; a browser sends only the one that is pressed.
sub form {
    my ($self, $pattern) = @_;
    for my $part ($self->{page}{body} =~ m{(<form\b.*?</form>)}gs) {
        my ($head) = $part =~ /\A<form\b([^>]*)>/ or next;
        next unless $head =~ $pattern;
        my $form = attributes($head);
        my @fields;
        while ($part =~ m{<(?:input\b([^>]*?)/?>|textarea\b([^>]*)>\r?\n?(.*?)</textarea>|select\b([^>]*)>(.*?)</select>)}gs) {
            if (defined $4) {
                my ($select, $choice) = (attributes($4), chosen($5));
                push @fields, $select->{name}, $choice if defined $select->{name} && defined $choice;
                next;
            }
            my $field = attributes(defined $1 ? $1 : $2);
            my $value = defined $3 ? decode_entities($3) : $field->{value};
            my $type = defined $2 ? 'textarea' : lc($field->{type} || 'text');
            next unless defined $field->{name} && $type !~ /\A(?:submit|button|image|reset|file)\z/;
            next if $type =~ /\A(?:checkbox|radio)\z/ && !exists $field->{checked};
            push @fields, $field->{name}, defined $value ? $value : '';
        }
        return { action => $form->{action} // '', method => uc($form->{method} || 'GET'),
            enctype => $form->{enctype} // '', fields => \@fields };
    }
    Carp::croak("no form like $pattern on $self->{at}:\n" . substr $self->{page}{body}, 0, 4000);
}

# The value of the option that is selected: the first one unless another says so. undef without options.
sub chosen {
    my ($text) = @_;
    my @option;
    while ($text =~ m{<option\b([^>]*)>([^<]*)}g) {
        my ($option, $label) = (attributes($1), $2);
        push @option, [ $option->{value} // decode_entities($label), exists $option->{selected} ];
    }
    my ($found) = grep { $_->[1] } @option;
    return ($found || $option[0] || [])->[0];
}

sub escape {
    my ($text) = @_;
    $text =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $text;
}

# Sends a form with some fields changed or added. files: {field => {name, type, content}}.
# Option no_length: a form with files goes in pieces, without a Content-Length.
sub submit {
    my ($self, $form, $change, $files, %option) = @_;
    my (@pairs, %done);
    my @fields = @{ $form->{fields} };
    while (my ($name, $value) = splice @fields, 0, 2) {
        push @pairs, [ $name, exists $change->{$name} ? $change->{$name} : $value ];
        $done{$name} = 1;
    }
    push @pairs, [ $_, $change->{$_} ] for grep { !$done{$_} } sort keys %$change;
    my $action = $form->{action} eq '' ? $self->{at} : $form->{action};
    if ($files) {
        my $boundary = '----fpmpool' . join '', map { int rand 10 } 1 .. 16;
        my $body = join '', map { qq{--$boundary\r\nContent-Disposition: form-data; name="$_->[0]"\r\n\r\n$_->[1]\r\n} } @pairs;
        for my $name (sort keys %$files) {
            my $file = $files->{$name};
            $body .= qq{--$boundary\r\nContent-Disposition: form-data; name="$name"; filename="$file->{name}"\r\n}
                . "Content-Type: $file->{type}\r\n\r\n$file->{content}\r\n";
        }
        $body .= "--$boundary--\r\n";
        return $self->load(POST => $action, body => $option{no_length} ? [ unpack '(a30000)*', $body ] : $body,
            headers => [ 'Content-Type' => "multipart/form-data; boundary=$boundary" ]);
    }
    my $text = join '&', map { escape($_->[0]) . '=' . escape($_->[1]) } @pairs;
    if ($form->{method} eq 'POST') {
        return $self->load(POST => $action, body => $text,
            headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ]);
    }
    $action =~ s/\?.*//;
    return $self->load(GET => "$action?$text");
}

# Loads every style sheet, script and image of the loaded page; returns [target, answer] each.
sub assets {
    my ($self) = @_;
    my ($body, $at) = ($self->{page}{body}, $self->{at});
    my %seen;
    my @target = grep { !/\Adata:/ && !$seen{$_}++ }
        map { decode_entities($_) } $body =~ m{<(?:script|img)\b[^>]*?\bsrc=["']([^"']+)["']}gs,
        map { /\bhref=["']([^"']+)["']/ } $body =~ m{(<link\b[^>]*\brel=["'](?:stylesheet|shortcut icon)["'][^>]*>)}gs;
    return map { [ $_, $self->fetch(GET => $self->absolute($_)) ] } @target;
}

1;
