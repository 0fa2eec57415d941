# php.ini and conf.d that cannot be read. PHP itself would start with its defaults and say nothing: other memory
# limits, other disabled functions. A pool has its settings, or it does not start and says which file is to blame.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

plan(skip_all => 'fpmpoold is another one') if $ENV{FPMPOOL_TEST_DAEMON};
plan(skip_all => 'needs root: files of other users') unless is_root();

my $root   = site('www', 'a.php' => '<?php echo ini_get("precision"), " ", ini_get("user_agent"), " ", ini_get("memory_limit");');
my $folder = 0;

# A folder of settings; returns its path. php.ini and conf.d/x.ini with their modes, undef: none.
sub settings {
    my (%option) = @_;
    my $path = test_dir() . '/settings-' . ++$folder;
    mkdir $path or die $!;
    write_file("$path/php.ini", "precision = 7\nuser_agent = from_ini\nmemory_limit = 44M\n", $option{ini} // 0644) if !$option{no_ini};
    write_file("$path/conf.d/x.ini", "user_agent = from_conf_d\n", $option{extra} // 0644);
    chmod $option{conf_d} // 0755, "$path/conf.d";
    chmod $option{folder} // 0755, $path;
    return $path;
}

sub start {
    my ($path, %option) = @_;
    my @as = $option{as_user} ? (binary => as_user()) : ();
    my $conf = { www => { 'pm.max_children' => 1, %{ $option{keys} || {} } } };
    my $daemon = start_daemon(wait => 0, @as, args => [ '-c', $option{c} // "$path/php.ini" ], env => { PHP_INI_SCAN_DIR => "$path/conf.d" }, conf => $conf);
    return $daemon;
}

# The daemon as an ordinary user, who can neither read what root can nor make a copy.
sub as_user {
    my ($uid, $gid) = (getpwnam pool_user())[ 2, 3 ];
    my $real = build_path('bin/fpmpoold');
    return write_file('as-user/fpmpoold', <<"PERL", 0755);
#!/usr/bin/perl
\$) = "$gid $gid"; \$( = $gid; \$< = \$> = $uid;
\$< == $uid && \$> == $uid or die "cannot become $uid: \$!";
exec '$real', \@ARGV;
PERL
}

# Its exit code when it ends by itself. A signal before it has heard of its pool's end would be a good end.
sub own_end {
    my ($daemon) = @_;
    eval { wait_for { !alive($daemon->pid) } 15, 'its own end' };
    return $daemon->stop >> 8;
}

my $all = '7 from_conf_d 44M';

subtest 'what the pool\'s user cannot read, root reads for it' => sub {
    my %case = (
        'all can be read'              => {},
        'php.ini for root alone'       => { ini => 0600 },
        'a file of conf.d for root'    => { extra => 0600 },
        'a folder for root alone'      => { folder => 0700 },
        'conf.d that cannot be listed' => { conf_d => 0711 },
    );
    for my $name (sort keys %case) {
        my $daemon = start(settings(%{ $case{$name} }));
        ok(eval { $daemon->wait_log(qr/ready to handle connections/, 15) }, "$name: starts");
        is(eval { php_request($daemon, "$root/a.php")->{body} } // $@, $all, '... with all settings');
        $daemon->stop;
    }
};

subtest 'what root cannot read either stops the pool, by name' => sub {
    my $path = settings(no_ini => 1);
    symlink "$path/nowhere", "$path/php.ini" or die $!;
    my $daemon = start($path)->expect_end;
    $daemon->wait_log(qr/ERROR: \[pool www\] cannot start: .*'\Q$path\E\/php\.ini'.*: No such file or directory/, 15);
    is(own_end($daemon), 78, 'a link to nothing as php.ini');
    $daemon = start($path, c => $path)->expect_end;
    $daemon->wait_log(qr/ERROR: \[pool www\] cannot start: .*'\Q$path\E\/php\.ini'.*: No such file or directory/, 15);
    is(own_end($daemon), 78, '... found by its folder');
    $daemon = start($path, c => "$path/other.ini")->expect_end;
    $daemon->wait_log(qr/ERROR: \[pool www\] cannot start: php\.ini '\Q$path\E\/other\.ini' \(-c\): No such file or directory/, 15);
    is(own_end($daemon), 78, '-c with a file that is not there');
    allow_log(qr/ERROR: \[pool www\] cannot start: |WARNING: \[pool www\] pool process \d+ exited with code 70|ALERT: no pool can serve/);
};

subtest 'as an ordinary user' => sub {
    my $path   = settings();
    my $user   = (getpwnam pool_user())[2];
    my $give   = sub { my $daemon = shift; chown +(getpwnam pool_user())[ 2, 3 ], $daemon };
    my $run    = test_dir() . '/user-run';
    mkdir $run;
    $give->($run);
    my %keys   = (listen => "$run/www.sock", user => undef);
    my $daemon = start($path, as_user => 1, keys => \%keys);
    ok(eval { $daemon->wait_log(qr/ready to handle connections/, 15) }, 'all can be read: starts');
    is(eval { php_request("$run/www.sock", "$root/a.php")->{body} } // $@, $all, '... with all settings');
    $daemon->stop;
    my %case = (
        'php.ini'            => [ { ini => 0600 }, 'php.ini' ],
        'a file of conf.d'   => [ { extra => 0600 }, 'conf.d/x.ini' ],
        'conf.d as a folder' => [ { conf_d => 0711 }, 'conf.d' ],
        'the folder of all'  => [ { folder => 0700 }, 'php.ini' ],
    );
    for my $name (sort keys %case) {
        my ($modes, $file) = @{ $case{$name} };
        $path = settings(%$modes);
        $daemon = start($path, as_user => 1, keys => \%keys)->expect_end;
        ok(eval { $daemon->wait_log(qr/ERROR: \[pool www\] cannot start: '\Q$path\/$file\E' cannot be read by user $user: Permission denied; PHP would run with its defaults: give that user the right to read it$/m, 15) }, "$name: named")
            or diag $daemon->log_text;
        is(own_end($daemon), 78, '... and nothing serves with defaults');
    }
    my $said = `"@{[ as_user() ]}" -c "$path/php.ini" -i 2>&1`;
    like($said, qr/^fpmpool-php[\d.]+: '\Q$path\E\/php\.ini' cannot be read by user $user: Permission denied/m, '-i says so too');
};

subtest 'settings with a mistake are told' => sub {
    my $path = settings();
    write_file("$path/php.ini", "precision = 7\nmemory_limit = (\nuser_agent = late\n");
    my $daemon = start($path);
    my $said = qr/WARNING: \[pool www\] the interpreter said: "PHP:\s+syntax error, unexpected .* in \Q$path\E\/php\.ini on line [23]"/;
    ok(eval { $daemon->wait_log($said, 15) }, 'a syntax error, with file and line') or diag $daemon->log_text;
    allow_log(qr/the interpreter said: "PHP:\s+syntax error/);
};
done_testing();
