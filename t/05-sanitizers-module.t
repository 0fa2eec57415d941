# The module once more with sanitizers (FPMPool::Sanitizers): its configuration, its requests, their failures.
# long: 60 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Sanitizers;

repeat_with_module(qw(50-module 51-module-failures 52-module-config 54-module-environment));
done_testing();
