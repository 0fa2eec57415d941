# A stuck pool leaves its neighbours alone where FpmPoolLimit is set (t/bench/isolation in its short form). Nothing about speed
# is asserted here: this machine is shared.
# alone: clients crowd httpd and ask again and again

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

require_program('/usr/sbin/apache2', 'apache2-bin');

my $bench = dirname(__FILE__) . '/bench/isolation';
my $log   = test_dir() . '/bench.log';
my $text  = `'$bench' --short --stacks limit,none 2>'$log'`;
is($? >> 8, 0, 'the benchmark ends well') or diag(read_file($log));

my @row = grep { /\| (?:alone|A is stuck) \|/ } split /\n/, $text;
is(scalar @row, 4, 'two rows for each stack') or diag($text);
my ($limited, $unlimited) = map { [ /\| A is stuck \| (\d+) \| [^|]+ \| [^|]+ \| (\d+) \|$/ ] } @row[ 1, 3 ];
cmp_ok($limited->[0], '>', 0, 'with limits: the neighbour is asked while the pool is stuck');
is($limited->[1], 0, '... and answers every request');
is($unlimited->[0], $unlimited->[1], 'without: it answers none');
done_testing();
