package FPMPool::Peer;

# The same request to fpmpoold and to Debian's php-fpm, and their answers side by side.
#
#   compare_servers($ours, $theirs, $root);
#   same('what is sent', script => 'a.php', query => 'x=1');         # equal answers
#   same('code', code => 'echo 1;');                                  # run.php evals X_CODE
#   differs('what', 'why', qr/fpmpoold answers/, qr/php-fpm answers/, code => '...');
#
# Each case counts for the section that section() named last; report_sections() prints the numbers.
#
# Options are those of FPMPool::Client::request_params, and: pool; bytes (instead of a request);
# half_close; idle => 1: only when every worker is idle (busy => N: all but N), so that a worker answers; mask => sub(text) -> text; note => 1: the
# request gets the parameter X_NOTE, a file that the script must write; its content is part of what is
# compared.

use strict;
use warnings;
use Exporter 'import';
use FPMPool::Board;
use FPMPool::Client;
use FPMPool::Test;

our @EXPORT = qw(compare_servers answer_of same differs note_file section compared report_sections);

my ($ours, $theirs, $root, $notes);
my ($section, %cases);

sub compare_servers { ($ours, $theirs, $root) = @_; return }

# Cases of same() and differs() from here on belong to this section of the comparison.
sub section { ($section) = @_; return }

# Counts cases, of a section or of the present one.
sub compared { my ($name, $count) = @_; $cases{ $name // $section // 'any' } += $count // 1; return }

# Prints the number of cases of each section. At the end of a test.
sub report_sections {
    diag(sprintf 'section %s: %d cases beside php-fpm', $_, $cases{$_}) for sort keys %cases;
    return;
}

# A new file that pools may write.
sub note_file {
    my $folder = test_dir() . '/notes';
    if (!-d $folder) {
        mkdir $folder;
        chmod 0777, $folder;
    }
    return "$folder/" . ++$notes;
}

# What one server answers, as one text.
sub answer_of {
    my ($server, %option) = @_;
    my $note = $option{note} ? note_file() : undef;
    $option{params} = { %{ $option{params} || {} }, X_NOTE => $note } if $note;
    FPMPool::Board::wait_idle($server, $option{pool}, $option{busy}) if $option{idle} || $option{busy};
    my $client = php_connect($server, $option{pool}, timeout => 15);
    $client->send_bytes($option{bytes} // FPMPool::Client::request_bytes(%option));
    $client->end_of_writing if $option{half_close};
    my $answer = eval { $client->read_answer } or return "no answer: $@";
    my $text = $answer->{stdout} . "\n--- STDERR: $answer->{stderr}\n--- "
        . ($answer->{ended} ? "END $answer->{app_status} $answer->{protocol_status}" : 'no END_REQUEST');
    $client->close unless $option{keep};    # php-fpm waits for it before the script goes on
    if ($note) {
        my $is_there = eval { wait_for { -s $note } 15, 'the script to write its note' };
        $text .= "\n--- NOTE: " . ($is_there ? read_file($note) : 'none');
    }
    if ($option{keep}) {
        my $next = eval { $client->request(script => "$root/hello.php") };
        $text .= "\n--- NEXT: " . ($next ? $next->{stdout} : $@);
        $client->close;
    }
    return $option{mask} ? $option{mask}->($text) : $text;
}

sub request_of {
    my (%option) = @_;
    if (defined(my $code = delete $option{code})) {
        $option{params} = { X_CODE => $code, %{ $option{params} || {} } };
        $option{script} //= "$root/run.php";
    }
    # php-fpm keeps PHP_VALUE for later requests of a worker: such cases get a worker each
    $option{pool} //= 'fresh' if grep { /^PHP_(?:ADMIN_)?VALUE$/ } keys %{ $option{params} || {} };
    $option{script} = "$root/$option{script}" if defined $option{script} && $option{script} !~ m{^/};
    return (script => '', %option);
}

sub visible { my ($text) = @_; return $text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger }

sub show_difference {
    my ($mine, $his) = @_;
    my @mine = split /\n/, $mine, -1;
    my @his  = split /\n/, $his,  -1;
    my $shown = 0;
    for my $n (0 .. ($#mine > $#his ? $#mine : $#his)) {
        my ($m, $h) = ($mine[$n] // '(nothing)', $his[$n] // '(nothing)');
        next if $m eq $h;
        my ($equal) = map { length } ($m ^ $h) =~ /\A(\0*)/;
        my $from = $equal > 60 ? $equal - 60 : 0;
        diag(sprintf "line %d, from byte %d (of %d and %d)\n  fpmpoold: %s\n  php-fpm:  %s", $n + 1, $from, length $m, length $h,
            map { visible(substr $_, $from, 200) } $m, $h);
        last if ++$shown == 4;
    }
    return;
}

# One request to both; equal answers.
sub same {
    my ($name, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %request = request_of(%option);
    my ($mine, $his) = map { answer_of($_, %request) } $ours, $theirs;
    compared();
    return 1 if ok($mine eq $his, $name);
    show_difference($mine, $his);
    return 0;
}

# A deliberate difference: what each answers, and why.
sub differs {
    my ($name, $reason, $wanted, $peers, %option) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %request = request_of(%option);
    compared();
    return subtest "$name ($reason)" => sub {
        like(answer_of($ours,   %request), $wanted, 'fpmpoold');
        like(answer_of($theirs, %request), $peers,  'php-fpm');
    };
}

1;
