# The module with many processes and servers, once more with sanitizers (FPMPool::Sanitizers).
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Sanitizers;

repeat_with_module(qw(54-docroot 56-module-processes 57-balance 57-checks 57-failover 57-health 57-names));
done_testing();
