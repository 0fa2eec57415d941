# pm.status_listen: a second address that answers status and ping, and nothing else. php-fpm makes a pool of
# it that runs any script it is asked for, without the limits of its parent; both are asked the same here.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Client;
use FPMPool::Test;

my $has_peer = -x '/usr/sbin/php-fpm8.2';
my $root = site('www',
    'mark.php'  => '<?php file_put_contents($_SERVER["X_MARK"], "executed"); echo "executed";',
    'sleep.php' => '<?php file_put_contents($_SERVER["X_MARK"], "runs"); while (!file_exists($_SERVER["X_MARK"] . ".end")) usleep(20000); echo "slept";',
    'hello.php' => '<?php echo "hello";',
    'text.txt'  => 'no script',
);
my $marks = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my $mark_count = 0;
sub mark { return "$marks/" . ++$mark_count }

# Where its second address is: beside the first one.
sub status_path { my ($name, $pool) = @_; return test_dir() . "/$name/run/" . ($pool // 'www') . '-status.sock' }

sub ask {
    my ($address, %option) = @_;
    my $client = FPMPool::Client->connect($address, timeout => 15);
    $client->send_bytes($option{bytes} // FPMPool::Client::request_bytes(script => '/x', %option));
    my $answer = $client->read_answer;
    $client->close;
    return $answer;
}

# Without what tells one run from another. The peer's worker says who made the page; our pool process does not.
sub masked {
    my ($answer) = @_;
    my $text = $answer->{stdout} . "\n--- $answer->{stderr}\n--- $answer->{app_status} $answer->{protocol_status}";
    $text =~ s/^X-Powered-By: .*\r\n//m;
    $text =~ s/(start[- _]time"?[>:]*\s*)[\d\/A-Za-z:]+(?: \+\d+)?/$1TIME/g;
    $text =~ s/(start[- _]since"?[>:]*\s*)\d+/$1N/g;
    $text =~ s/(pid"?[>:]*\s*)\d+/$1PID/g;
    $text =~ s/(<td>)\d+(<\/td>)/$1N$2/g;
    $text =~ s/(<td>)\d\d\/\w+\/\d+:[\d:]+ \+\d+(<\/td>)/$1TIME$2/g;
    $text =~ s/(phpfpm_start_since )\d+/$1N/g;
    $text =~ s/(listen[- ]queue[- ]len"?[>:]*\s*|phpfpm_listen_queue_length )\d+/$1N/g;
    return $text;
}

sub conf_of {
    my ($name, %more) = @_;
    return { www => { 'pm.max_children' => 2, 'pm.status_listen' => status_path($name), 'pm.status_path' => '/fpm-status', 'ping.path' => '/ping', %more } };
}

my %pages = (
    (map { ("status, $_" => { name => '/fpm-status', query => $_ }) } '', 'json', 'json&full', 'xml', 'xml&full', 'html', 'html&full', 'openmetrics', 'full', 'nonsense'),
    'status, HEAD' => { name => '/fpm-status', method => 'HEAD' }, 'status, POST' => { name => '/fpm-status', body => 'a=1' },
    ping => { name => '/ping' }, 'ping, kept' => { name => '/ping', keep => 1 },
    'another path' => { name => '/status' }, 'the root' => { name => '/' }, 'a script that is missing' => { script => "$root/none.php" },
    'no script'    => { name => '/fpm-status', params => { SCRIPT_FILENAME => undef } }, 'nothing but a name' => { name => '/x', params => { SCRIPT_FILENAME => undef } },
);

subtest 'answers are php-fpm\'s' => sub {
    plan(skip_all => 'needs php-fpm to compare with (Debian package php8.2-fpm)') unless $has_peer;
    my $ours   = start_daemon(conf => conf_of('fpmpoold'));
    my $theirs = start_php_fpm(conf => conf_of('php-fpm'));
    for my $name (sort keys %pages) {
        my ($mine, $his) = map { masked(ask(status_path($_), %{ $pages{$name} })) } qw(fpmpoold php-fpm);
        is($mine, $his, $name);
    }
    for my $server ($ours, $theirs) {
        is(php_request($server, "$root/hello.php", name => '/fpm-status')->{status}, 200, $server->name . ': the pool\'s own address has the page too');
    }
};

subtest 'no script is run there, ever' => sub {
    my $name   = 'closed';
    my $daemon = start_daemon(name => $name, conf => conf_of($name, 'php_admin_value[open_basedir]' => '/nowhere', 'security.limit_extensions' => ''));
    my %try = (
        'a script'           => { script => "$root/mark.php" }, 'PATH_TRANSLATED' => { script => "$root/mark.php", params => { PATH_TRANSLATED => "$root/mark.php" } },
        'auto_prepend_file'  => { name => '/fpm-status', params => { PHP_VALUE => "auto_prepend_file=$root/mark.php" } },
        'an admin value'     => { script => "$root/mark.php", params => { PHP_ADMIN_VALUE => 'open_basedir=' } }, 'a file that is no script' => { script => "$root/text.txt" },
        'a kept connection'  => { script => "$root/mark.php", keep => 1 }, 'a body' => { script => "$root/mark.php", body => 'x' x 300_000 },
        'a filter'           => { script => "$root/mark.php", role => 3 }, 'an authorizer' => { script => "$root/mark.php", role => 2 },
    );
    for my $what (sort keys %try) {
        my $mark = mark();
        my %option = %{ $try{$what} };
        my $answer = ask(status_path($name), %option, params => { %{ $option{params} || {} }, X_MARK => $mark });
        ok(!-e $mark, "$what: not executed");
        unlike($answer->{stdout}, qr/executed|no script/, '... and nothing of it is shown');
        is($answer->{body}, "File not found.\n", '... 404') if $what !~ /prepend|filter|authorizer/;
        is($answer->{protocol_status}, 3, '... UNKNOWN_ROLE') if $option{role};
    }
    my $client = FPMPool::Client->connect(status_path($name));
    my $mark = mark();
    $client->send_bytes(join '', map { FPMPool::Client::request_bytes(%$_, keep => 1) } { script => '/x', name => '/ping' }, { script => "$root/mark.php", params => { X_MARK => $mark } });
    is($client->read_answer->{body}, 'pong', 'two requests at once: the first is answered');
    ok($client->is_closed(10), '... and the connection ends');
    ok(!-e $mark, '... without a look at the second');
    unlike(php_request($daemon, "$root/hello.php")->{stdout}, qr/hello\z/, 'open_basedir holds at the other address');
    allow_log(qr/open_basedir restriction|Failed opening required|Access to the script|PHP message|Unable to open/);
    $daemon->stop;
};

subtest 'php-fpm runs it, without open_basedir' => sub {
    plan(skip_all => 'needs php-fpm to compare with (Debian package php8.2-fpm)') unless $has_peer;
    my $name = 'peer';
    start_php_fpm(name => $name, conf => conf_of($name, 'php_admin_value[open_basedir]' => '/nowhere'));
    my $mark = mark();
    is(ask(status_path($name), script => "$root/mark.php", params => { X_MARK => $mark })->{body}, 'executed', 'the script\'s answer');
    ok(-e $mark, 'executed');
};

subtest 'every worker is busy: status and ping are answered' => sub {
    my $name = 'busy';
    my $daemon = start_daemon(name => $name, conf => conf_of($name));
    my @run = map { { mark => mark(), client => php_connect($daemon) } } 1 .. 4;
    $_->{client}->send_request(script => "$root/sleep.php", params => { X_MARK => $_->{mark} }) for @run;
    wait_for { 2 == grep { -e $_->{mark} } @run } 10, 'both workers to be busy';
    is(ask(status_path($name), name => '/ping')->{body}, 'pong', 'ping');
    my $text = wait_for { my $body = ask(status_path($name), name => '/fpm-status', query => 'full')->{body}; $body =~ /^listen queue: +2$/m && $body } 10, 'two waiting requests';
    like($text, qr/^active processes: +2$/m, 'two active');
    is(scalar(() = $text =~ /^request URI: +\/sleep\.php$/mg), 2, 'and what they run');
    my $accepted = sub { ask(status_path($name), name => '/fpm-status')->{body} =~ /^accepted conn: +(\d+)$/m; $1 };
    my ($before, $after) = ($accepted->(), $accepted->());
    is($after, $before, 'who monitors is not counted');
    write_file("$_->{mark}.end", '') for @run;
    is($_->{client}->read_answer->{body}, 'slept', 'a request goes on') for @run;
};

subtest 'owner, mode and allowed clients are those of listen' => sub {
    my $port = free_port();
    my %conf = map { my $name = $_; ($name => { www => { 'listen.mode' => '0606', (is_root() ? ('listen.owner' => 'nobody', 'listen.group' => 'www-data') : ()), 'pm.max_children' => 1, 'pm.status_listen' => status_path($name) },
        tcp => { 'listen.allowed_clients' => '127.0.0.2', 'pm.max_children' => 1, 'pm.status_listen' => "127.0.0.1:$port", 'listen.mode' => '0600' } }) } qw(ours-mode peer-mode);
    my %look;
    for my $name ($has_peer ? 'peer-mode' : (), 'ours-mode') {
        allow_log(qr/Connection disallowed: IP address '127\.0\.0\.1' has been dropped/);
        my $daemon = $name =~ /ours/ ? start_daemon(name => $name, conf => $conf{$name}) : start_php_fpm(name => $name, conf => $conf{$name});
        my @s = stat status_path($name);
        $look{$name} = sprintf '%04o %d:%d', $s[2] & 07777, @s[ 4, 5 ];
        my $got = eval { ask("127.0.0.1:$port", name => '/') };
        ok(!$got || !$got->{ended}, "$name: a client that is not allowed gets nothing");
        $daemon->stop;
    }
    is($look{'ours-mode'}, $look{'peer-mode'} // sprintf('0606 %d:%d', $>, $)), 'the same owner, group and mode');
};

subtest 'an ondemand pool that sleeps is woken for its status' => sub {
    my $name = 'asleep';
    my $daemon = start_daemon(name => $name, conf => conf_of($name, pm => 'ondemand', 'pm.process_idle_timeout' => '1s', pool_idle_timeout => '1s'));
    wait_for { !$daemon->pool_pid } 20, 'the pool process to go';
    my $text = ask(status_path($name), name => '/fpm-status')->{body};
    like($text, qr/^process manager: +ondemand$/m, 'status is answered');
    like($text, qr/^total processes: +0$/m, '... without a worker');
    wait_for { !$daemon->pool_pid } 20, 'the pool process to go again';
    is(ask(status_path($name), name => '/ping')->{body}, 'pong', 'and ping');
    is(php_request($daemon, "$root/hello.php")->{body}, 'hello', 'requests as ever');
};

subtest 'reload' => sub {
    my $name = 'reload';
    my $daemon = start_daemon(name => $name, conf => conf_of($name));
    my $inode = (stat status_path($name))[1];
    my $reload = sub {
        my ($change) = @_;
        my $pid = $daemon->pool_pid;
        rewrite($daemon, $change);
        $daemon->signal('HUP');
        wait_for { my $now = $daemon->pool_pid; $now && $now != $pid } 20, 'a new generation';
    };
    $reload->(sub { s/ping\.path = \/ping/ping.path = \/pong/; s/listen\.mode = 0666/listen.mode = 0600/ });
    wait_for { eval { (ask(status_path($name), name => '/pong')->{body} // '') eq 'pong' } } 15, 'the new path';
    is((stat status_path($name))[1], $inode, 'the same address: the same socket');
    is((stat status_path($name))[2] & 0777, 0600, '... with the new mode');
    my $new = status_path($name, 'moved');
    $reload->(sub { s/www-status\.sock/moved-status.sock/ });
    wait_for { -S $new && eval { ask($new, name => '/pong')->{body} eq 'pong' } } 15, 'the new address';
    ok(!-e status_path($name), 'another address: the old socket is gone');
    $reload->(sub { s/^(listen = .*\/)www\.sock$/$1moved-status.sock/m; s/^(pm\.status_listen = .*\/)moved-status\.sock$/$1www.sock/m });
    wait_for { eval { php_request($new, "$root/hello.php")->{body} eq 'hello' } } 15, 'addresses that changed places';
    is(ask($daemon->listen_address, name => '/pong')->{body}, 'pong', 'the two addresses of a pool change places');
    $reload->(sub { s/^pm\.status_listen = .*\n//m });
    wait_for { !-e $daemon->listen_address } 15, 'the second address to go';
    pass('a second address that is gone from the configuration');
    is(php_request($new, "$root/hello.php")->{body}, 'hello', '... and the pool serves');
};

subtest 'a second address that cannot be had' => sub {
    my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
    my $port = $holder->sockport;
    allow_log(qr/\[pool www_status\] unable to bind listening socket for address '127\.0\.0\.1:$port': Address already in use/, qr/\[pool www\] pm\.status_listen = 127\.0\.0\.1:$port cannot be bound: the pool serves without it, a reload tries again/);
    my $daemon = start_daemon(name => 'taken', conf => { www => { 'pm.status_listen' => "127.0.0.1:$port" } });
    like($daemon->log_text, qr/a reload tries again/, 'is told');
    is(php_request($daemon, "$root/hello.php")->{body}, 'hello', 'and the pool serves');
    close $holder;
    $daemon->signal('HUP');
    wait_for { eval { ask("127.0.0.1:$port", name => '/')->{status} == 200 } } 15, 'the reload';
    pass('a reload binds it');
};

subtest 'clients that send half a head or nothing' => sub {
    my $name = 'half';
    my $daemon = start_daemon(name => $name, conf => conf_of($name, request_head_timeout => '1s'));
    my $bytes = FPMPool::Client::request_bytes(script => '/x', name => '/ping');
    my $slow = FPMPool::Client->connect(status_path($name));
    $slow->send_bytes(substr $bytes, 0, 30);
    wait_for { ask(status_path($name), name => '/ping')->{body} eq 'pong' } 5, 'others';
    $slow->send_bytes(substr $bytes, 30);
    my $answer = eval { $slow->read_answer };
    ok(!$answer || !$answer->{ended} || $answer->{body} eq 'pong', 'a head in two parts is put together');
    for my $length (0, 5, 16, 40) {
        my $client = FPMPool::Client->connect(status_path($name));
        $client->send_bytes(substr $bytes, 0, $length);
        ok($client->is_closed(15), "$length bytes and no more: closed after request_head_timeout");
    }
    my $rubbish = FPMPool::Client->connect(status_path($name));
    $rubbish->send_bytes("GET / HTTP/1.0\r\n\r\n");
    ok($rubbish->is_closed(15), 'what is no FastCGI is closed');
};
done_testing();
