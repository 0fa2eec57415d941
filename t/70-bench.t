# The benchmark runs and prints numbers that make sense (t/bench/hello checks each). Nothing about
# speed is asserted here: this machine is shared.
# alone: loads the machine with wrk, and the share of lanes is counted

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

require_program('wrk', 'wrk');
require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
require_program('/usr/sbin/apache2', 'apache2-bin');

my $stacks = $ENV{FPMPOOL_BENCH_STACKS} || 'fpmpool,default,reuse';
my $bench  = dirname(__FILE__) . '/bench/hello';
my $log    = test_dir() . '/bench.log';
my $text   = `'$bench' --short --stacks '$stacks' 2>'$log'`;
is($? >> 8, 0, 'the benchmark ends well') or diag(read_file($log));

my @row = grep { /^\| \d+ \|/ } split /\n/, $text;
is(scalar @row, 2 * split(/,/, $stacks), 'one row for each stack and number of connections') or diag($text);
like($_, qr{^\| \d+ \| [^|]+ \| [1-9]\d* us \| (?:\d+\.\d\dx|-) \| [1-9]\d* \| \d+\.\d\d ms \| (?:\d+ %|-) \|$},
    'a row with all figures') for @row;
is(scalar(grep { /mod_fpmpool.*\d+ % \|$/ } @row), 2, 'the lane hit rate is known') if $stacks =~ /fpmpool/;
done_testing();
