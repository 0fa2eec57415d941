# apparmor_hat where the kernel has no AppArmor: the pool says so, answers 503, and the others serve; no PHP
# runs unconfined. What is written to a kernel that has it: t/unit/test_apparmor.c.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $root = site('www', 'hello.php' => '<?php echo "hello";');

sub has_apparmor {
    my $text = eval { read_file('/sys/module/apparmor/parameters/enabled') } // 'N';
    return $text =~ /^Y/ ? 1 : 0;
}

subtest 'a kernel without AppArmor' => sub {
    plan(skip_all => 'this kernel has AppArmor') if has_apparmor();
    my $reason = qr/\[pool hat\] cannot start: apparmor_hat = web: failed to query apparmor confinement\. Please check if "\/proc\/\*\/attr\/current" is read and writeable\. Is AppArmor switched on in this kernel, .* remove 'apparmor_hat': \w.* \(\d+\)/;
    allow_log($reason, qr/pool process \d+ exited with code 70/);
    my $daemon = start_daemon(conf => { hat => { apparmor_hat => 'web' }, www => {} });
    like($daemon->log_text, qr/ERROR: $reason/, 'the log names pool, key, reason and cure');
    my $answer = wait_for { my $got = eval { php_request($daemon, "$root/hello.php", pool => 'hat', timeout => 10) }; $got && $got->{status} && $got } 20, 'an answer';
    is($answer->{status}, 503, 'the pool answers 503');
    like($answer->{stderr}, qr/apparmor_hat = web/, '... with the reason');
    is(php_request($daemon, "$root/hello.php")->{body}, 'hello', 'other pools serve');
    $daemon->stop;
};

subtest 'php-fpm forks workers that end at once, for ever' => sub {
    plan(skip_all => 'needs php-fpm to compare with (Debian package php8.2-fpm)') unless -x '/usr/sbin/php-fpm8.2';
    plan(skip_all => 'this kernel has AppArmor') if has_apparmor();
    allow_log(qr/child \d+ exited with code 70|child failed to initialize|failed to query apparmor/);
    my $peer = start_php_fpm(conf => { hat => { apparmor_hat => 'web', 'pm.max_children' => 1, catch_workers_output => 'yes' } });
    wait_for { my @exit = $peer->log_text =~ /exited with code 70/g; @exit > 20 } 20, 'twenty of them';
    like($peer->log_text, qr/failed to query apparmor confinement\. Please check if "\/proc\/\*\/attr\/current" is read and writeable\./, 'and these are its words');
    $peer->stop;
};

subtest 'a kernel with AppArmor' => sub {
    plan(skip_all => 'this kernel has no AppArmor: the change itself is tested with a fake attribute file only (test_apparmor.c)') unless has_apparmor();
    allow_log(qr/failed to change to new confinement|child \d+ exited|cannot start/);
    my $daemon = start_daemon(conf => { hat => { apparmor_hat => 'fpmpool-test-no-such-hat', 'pm.max_children' => 1 }, www => {} });
    $daemon->wait_log(qr/failed to change to new confinement \(\S+\/\/fpmpool-test-no-such-hat\)/, 20);
    pass('a hat that is not there: the worker does not start');
    is(php_request($daemon, "$root/hello.php")->{body}, 'hello', 'other pools serve');
};
done_testing();
