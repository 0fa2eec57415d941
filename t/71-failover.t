# t/chaos/failover for some seconds: servers that die and freeze under load; no GET fails, no POST is executed twice. For
# minutes of it run t/chaos/failover by hand (its head has the options).
# alone: many clients fill the machine, and a freeze is told from slowness by time

use strict;
use warnings;
use File::Basename qw(dirname);

my $seconds = $ENV{FPMPOOL_FAILOVER_SECONDS} || 10;
exec $^X, dirname(__FILE__) . '/chaos/failover', '--seconds', $seconds, @ARGV or die "exec: $!";
