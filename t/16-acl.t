# listen.acl_users and listen.acl_groups beside php-fpm: the lists that getfacl shows, the messages, file systems
# without lists, and what a reload does to a socket that stays.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'needs a root master: a pool of its own user') unless is_root();
require_program('/usr/sbin/php-fpm8.2', 'php8.2-fpm');
require_program('getfacl', 'acl');
my $root = site('www', 'hello.php' => '<?php echo "hello";');

sub list_of { my ($path) = @_; return -e $path ? join '', grep { !/^# file/ } `getfacl -p -n '$path' 2>&1` : 'none' }
sub acl_lines { return [ map { s/^\[[^\]]+\] //r } grep { /ACL/ } split /\n/, $_[0]->log_text ] }

my @case = (
    { 'listen.acl_users' => 'www-data' }, { 'listen.acl_users' => 'www-data,nobody' }, { 'listen.acl_groups' => 'games' },
    { 'listen.acl_users' => 'nobody', 'listen.acl_groups' => 'games,www-data' }, { 'listen.acl_users' => 'nobody', 'listen.mode' => '0600' },
    { 'listen.acl_users' => 'nobody', 'listen.mode' => '0640' }, { 'listen.acl_groups' => 'games', 'listen.mode' => '0' }, { 'listen.acl_users' => 'root', 'listen.mode' => '0666' },
    { 'listen.acl_users' => 'www-data', 'listen.owner' => 'nobody', 'listen.group' => 'games' }, { 'listen.acl_groups' => 'games', 'listen.group' => 'nogroup' },
    { 'listen.acl_users' => '""', 'listen.owner' => 'nobody' }, { 'listen.acl_users' => 'nobody', 'listen.acl_groups' => '""' },
);

subtest 'getfacl shows what php-fpm sets' => sub {
    allow_log(qr/ACL set, listen\.(?:owner|group) = '\S+' is ignored/);
    my %conf = map { ("p$_" => { pm => 'ondemand', 'pm.max_children' => 1, 'listen.mode' => undef, %{ $case[$_] } }) } 0 .. $#case;
    my $peer = start_php_fpm(conf => { global => { log_level => 'notice' }, %conf });
    my $ours = start_daemon(conf => { global => { log_level => 'notice' }, %conf });
    for my $n (0 .. $#case) {
        is(list_of($ours->listen_address("p$n")), list_of($peer->listen_address("p$n")), join ', ', map { "$_ = $case[$n]{$_}" } sort keys %{ $case[$n] });
    }
    is_deeply(acl_lines($ours), acl_lines($peer), 'and the log says the same');
};

subtest 'who is listed may connect, who is not may not' => sub {
    my $daemon = start_daemon(name => 'doors', conf => { www => { 'listen.mode' => '0600', 'listen.acl_users' => 'nobody' } });
    my $path = $daemon->listen_address;
    my $try = sub { return system('/usr/bin/setpriv', "--reuid=$_[0]", '--regid=nogroup', '--clear-groups', $^X, '-MIO::Socket::UNIX', '-e', "exit(IO::Socket::UNIX->new(Peer => '$path') ? 0 : 1)") == 0 };
    ok($try->('nobody'), 'nobody, who is listed');
    ok(!$try->('games'), 'games, who is not');
};

subtest 'the second address has the same list' => sub {
    my $status = test_dir() . '/second/run/status.sock';
    my $daemon = start_daemon(name => 'second', conf => { www => { 'listen.mode' => '0600', 'listen.acl_users' => 'nobody', 'pm.status_listen' => $status } });
    is(list_of($status), list_of($daemon->listen_address), 'pm.status_listen');
};

subtest 'names that nobody has' => sub {
    my %case = (
        'listen.acl_users = no-such-user'        => "cannot get uid for user 'no-such-user'", 'listen.acl_groups = no-such-group' => "cannot get gid for group 'no-such-group'",
        'listen.acl_users = www-data, nobody'    => "cannot get uid for user ' nobody'", 'listen.acl_users = 33' => "cannot get uid for user '33'",
        'listen.acl_users = www-data,'           => "cannot get uid for user ''",
    );
    for my $line (sort keys %case) {
        my ($key, $value) = split / = /, $line;
        allow_log(qr/\[pool bad\] (?:cannot start: )?\Q$case{$line}\E/, qr/FPM initialization failed|the address '.*' cannot be bound/);
        my %conf = (conf => { bad => { $key => $value }, good => {} });
        my $peer = start_php_fpm(%conf, wait => 0)->expect_end;
        wait_for { !$peer->is_running } 10, 'php-fpm to give up';
        like($peer->log_text, qr/ERROR: \[pool bad\] \Q$case{$line}\E/, "$line: php-fpm's error");
        my $ours = start_daemon(%conf);
        like($ours->log_text, qr/ERROR: \[pool bad\] \Q$case{$line}\E/, '... is ours');
        is(php_request($ours, "$root/hello.php", pool => 'good')->{body}, 'hello', '... and other pools serve');
        my $answer = php_request($ours, "$root/hello.php", pool => 'bad');
        is($answer->{status}, 503, '... this one does not');
        like($answer->{stderr}, qr/\Q$case{$line}\E/, '... and says why');
        unlike(list_of($ours->listen_address('bad')), qr/^user:\d+:/m, '... and lets nobody in by a wrong name') if $line !~ /www-data/;
        $ours->stop;
    }
};

subtest 'a name that is listed twice counts once' => sub {
    my $daemon = start_daemon(name => 'twice', conf => { www => { 'listen.acl_users' => 'www-data,www-data' } });
    is(scalar(() = list_of($daemon->listen_address) =~ /^user:33:rw-$/mg), 1, 'where php-fpm does not start');
};

subtest 'reload' => sub {
    my $daemon = start_daemon(name => 'reload', conf => { www => { 'listen.mode' => '0600', 'listen.acl_users' => 'nobody,games' } });
    my $path = $daemon->listen_address;
    my $become = sub {
        my ($change, $expected, $name) = @_;
        my $inode = (stat $path)[1];
        rewrite($daemon, $change);
        $daemon->signal('HUP');
        eval { wait_for { list_of($path) =~ /\A(?:#.*\n)*\Q$expected\E\n\z/ } 15, $name };
        is(list_of($path) =~ s/^#.*\n//mgr, "$expected\n", $name);
        is((stat $path)[1], $inode, '... on the same socket');
    };
    my ($games, $nobody) = map { scalar getpwnam $_ } qw(games nobody);
    $become->(sub { s/nobody,games/nobody/ }, "user::rw-\nuser:$nobody:rw-\ngroup::---\nmask::rw-\nother::---\n", 'who is not listed any more loses access');
    $become->(sub { s/= nobody$/= games/m; s/0600/0640/ }, "user::rw-\nuser:$games:rw-\ngroup::r--\nmask::rw-\nother::---\n", 'another user and mode');
    $become->(sub { s/^listen\.acl_users.*\n//m }, "user::rw-\ngroup::r--\nother::---\n", 'no list any more');
    $become->(sub { s/^listen\.mode/listen.acl_groups = games\nlisten.mode/m }, "user::rw-\ngroup::r--\ngroup:60:rw-\nmask::rw-\nother::---\n", 'a list again');
};

subtest 'a folder with a default list' => sub {
    my %made;
    for my $who (qw(ours theirs)) {
        my $folder = test_dir() . "/default-$who";
        mkdir $folder;
        system('setfacl', '-m', 'd:u:games:rw,d:g::r', $folder) == 0 or BAIL_OUT('setfacl');
        my %conf = (name => "default-$who-daemon", conf => { www => { listen => "$folder/www.sock", 'listen.acl_users' => 'nobody', pm => 'ondemand' } });
        my $daemon = $who eq 'ours' ? start_daemon(%conf) : start_php_fpm(%conf);
        $made{$who} = [ sort grep { /^user:\d/ } split /\n/, list_of("$folder/www.sock") ];
        if ($who eq 'ours') {
            my $pid = $daemon->pid;
            rewrite($daemon, sub { s/acl_users = nobody/acl_users = www-data/ });
            $daemon->signal('HUP');
            eval { wait_for { list_of("$folder/www.sock") =~ /^user:33:rw-$/m } 15, 'the reload' };
            my ($games, $nobody) = map { scalar getpwnam $_ } qw(games nobody);
            like(list_of("$folder/www.sock"), qr/^user:$games:rw-$/m, 'a reload keeps what the folder gives');
            unlike(list_of("$folder/www.sock"), qr/^user:$nobody:/m, '... and takes what the configuration gave');
        }
        $daemon->stop;
    }
    is_deeply($made{ours}, $made{theirs}, 'its entries stay, as with php-fpm');
};

subtest 'a file system without lists' => sub {
    my $folder = test_dir() . '/without';
    mkdir $folder;
    plan(skip_all => 'needs a ramfs: mount is not allowed here') if system("mount -t ramfs none '$folder' 2>/dev/null") != 0;
    chmod 0755, $folder;
    my $reason = qr/\[pool www\] failed to read the ACL of the socket '\Q$folder\E\/www\.sock': Operation not supported \(95\)/;
    allow_log($reason, qr/FPM initialization failed/);
    for my $who (qw(theirs ours)) {
        my %conf = (name => "without-$who", wait => 0, conf => { www => { listen => "$folder/www.sock", 'listen.acl_users' => 'nobody' } });
        my $daemon = ($who eq 'ours' ? start_daemon(%conf) : start_php_fpm(%conf))->expect_end;
        eval { wait_for { !$daemon->is_running } 15, 'the end' };
        is($daemon->stop >> 8, 78, "$who: does not start");
        like($daemon->log_text, qr/ERROR: $reason/, '... and says why');
        unlink "$folder/www.sock";
    }
    my $daemon = start_daemon(name => 'without-list', conf => { www => { listen => "$folder/www.sock" } });
    is(php_request($daemon, "$root/hello.php")->{body}, 'hello', 'without a list it is as good as any');
    $daemon->stop;
    system('umount', $folder);
};
done_testing();
