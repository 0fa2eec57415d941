# The master once more with sanitizers (FPMPool::Sanitizers; 00-unit.t runs the unit tests of both builds). The interpreter host is
# 37-valgrind.t's, since PHP opens its extensions in a way that libasan refuses.
# long: 150 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Sanitizers;

check_reports();
repeat_with_daemon(qw(10-command-line 11-lifecycle 13-reload 13-reexec 15-control 15-systemd));
done_testing();
