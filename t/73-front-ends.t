# Other front ends before pools on several hosts: HAProxy, nginx, mod_proxy_balancer, and mod_fpmpool, each with the very
# file that conf/examples/several-hosts has, at the very addresses that the files name.
# long: 56 s

use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Hosts;
use FPMPool::Test;

my $shipped = repository() . '/conf/examples/several-hosts';
my $marks   = test_dir() . '/marks';
mkdir $marks;
chmod 0777, $marks;
my %script = (
    'index.php' => '<?php echo "front ", $_SERVER["REQUEST_URI"], " ", $_SERVER["SCRIPT_NAME"], " ", __FILE__;',
    'who.php'   => '<?php echo getenv("HOST_NAME");',
    'order.php' => '<?php parse_str($_SERVER["QUERY_STRING"], $q); file_put_contents($q["mark"], getenv("HOST_NAME") . "\n", FILE_APPEND); usleep(20000); echo "order ", $_POST["a"];',
    'body.php'  => '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);',
    'large.php' => '<?php for ($i = 0; $i < 160; $i++) { echo str_repeat(chr(97 + $i % 26), 65536); }',
);
write_file("/srv/shop/public/$_", $script{$_}) for keys %script;
utime time - 60, time - 60, map { "/srv/shop/public/$_" } keys %script;

my %host = (a => start_host('a', 11), b => start_host('b', 12), c => start_host('c', 13));

sub start_pool {
    my ($name) = @_;
    return start_daemon(
        name => "daemon-$name", prefix => $host{$name}->prefix, env => { HOST_NAME => $name },
        conf => "[global]\ncontrol_socket = " . test_dir() . "/$name.ctl\nprocess_control_timeout = 10s\ninclude = $shipped/pool.conf\nenv[HOST_NAME] = $name\nphp_admin_value[post_max_size] = 64M\n",
    );
}
my %daemon = map { $_ => start_pool($_) } qw(a b c);

# The file as it ships, but for time limits of a minute: what a host had got before it vanished waits for that.
sub shipped { my ($name) = @_; return write_file("shipped/$name", read_file("$shipped/$name") =~ s/\b60(?=s|$| )/8/gmr) }

my %start = (
    mod_fpmpool => sub { start_httpd(name => 'mod_fpmpool', port => 80, docroot => '/srv/shop/public', fpmpool => 1, conf => 'Include ' . shipped('httpd.conf') . "\n") },
    mod_proxy_balancer => sub {
        start_httpd(name => 'balancer', port => 80, docroot => '/srv/shop/public', modules => [qw(proxy proxy_fcgi proxy_balancer lbmethod_bybusyness slotmem_shm)],
            conf => 'Include ' . shipped('proxy-balancer.conf') . "\n");
    },
    nginx => sub {
        my $dir  = test_dir() . '/nginx';
        mkdir $_ for $dir, "$dir/tmp";
        my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi);
        my $file = write_file('nginx/nginx.conf', "user www-data;\ndaemon off;\nworker_processes 1;\npid $dir/nginx.pid;\nerror_log $dir/error.log warn;\n"
            . "events { worker_connections 512; }\nhttp {\n${temp}access_log off;\ninclude " . shipped('nginx.conf') . ";\n}\n");
        start_service(kind => 'nginx', name => 'nginx', port => 80, stop_signal => 'QUIT', argv => [ '/usr/sbin/nginx', '-p', $dir, '-c', $file ], logs => ["$dir/error.log"]);
    },
    HAProxy => sub { start_service(kind => 'haproxy', name => 'haproxy', port => 80, argv => [ '/usr/sbin/haproxy', '-db', '-f', shipped('haproxy.cfg') ])->expect_end },
);
my %program = (nginx => '/usr/sbin/nginx', HAProxy => '/usr/sbin/haproxy');

sub get { my ($path, %option) = @_; return http("http://127.0.0.1:80$path", timeout => 70, no_host => 1, %option, headers => [ Host => 'shop.example.org', @{ $option{headers} || [] } ]) }

sub lines { my ($mark) = @_; return -e $mark ? scalar(() = read_file($mark) =~ /\n/g) : 0 }

sub statuses {
    my (@answers) = @_;
    my %status;
    $status{$_}++ for @answers;
    return join ' ', map { "$_=$status{$_}" } sort keys %status;
}

# Orders of several clients at a time; $middle runs when a third of them is under way. Status of each.
sub orders {
    my ($tag, $count, $middle) = @_;
    my @http;
    for my $n (1 .. $count) {
        $middle->() if $n == int($count / 3) + 1;
        my $http = http_connect(port => 80, timeout => 70);
        $http->send_request(POST => "/order.php?mark=$marks/$tag-$n", body => "a=$n", no_host => 1,
            headers => [ Host => 'shop.example.org', Connection => 'close', 'Content-Type' => 'application/x-www-form-urlencoded' ]);
        push @http, $http;
    }
    return map { my $answer = $_->read_answer; $answer ? $answer->{status} : 'none' } @http;
}

for my $front (qw(mod_fpmpool mod_proxy_balancer nginx HAProxy)) {
    subtest $front => sub {
        plan(skip_all => "$program{$front} is not installed (Debian package " . ($front eq 'nginx' ? 'nginx-light' : 'haproxy') . ')') if $program{$front} && !-x $program{$front};
        my $server = $start{$front}->();
        wait_for { my $answer = eval { get('/who.php') }; $answer && $answer->{status} == 200 } 20, $front;
        my %who;
        $who{ get('/who.php')->{body} }++ for 1 .. 30;
        is(join(' ', sort keys %who), 'a b c', 'all hosts get requests');
        is(get('/pretty/path?x=1')->{body}, 'front /pretty/path?x=1 /index.php /srv/shop/public/index.php', 'what is no file goes to the front controller');
        my $body = join '', map { chr(97 + $_ % 26) x 65536 } 0 .. 159;
        is(get('/body.php', method => 'POST', body => $body)->{body}, length($body) . ' ' . md5_hex($body), 'an upload of 10 MiB');
        is(md5_hex(get('/large.php')->{body}), md5_hex($body), 'a download of 10 MiB');

        my %length = map { $_ => $daemon{$_}->log_length } keys %daemon;
        my @status = orders("$front-reload", 30, sub { $_->signal('USR2') for values %daemon });
        is(statuses(@status), '200=30', 'all three reload: no order is lost');
        is(join(' ', grep { lines("$marks/$front-reload-$_") != 1 } 1 .. 30), '', '... none is executed twice');
        $daemon{$_}->wait_log(qr/ready to handle connections/, 20, $length{$_}) for keys %daemon;
        wait_for { !grep { my $daemon = $_; 1 != (() = grep { process_title($_) =~ /\Afpmpool-php/ } children($daemon->pid)) } values %daemon } 20, 'the old generations';

        # a host that its operator has taken out answers 503 to those who come
        my $ctl = sub { system(build_path('bin/fpmpoold'), '--ctl-socket', test_dir() . '/a.ctl', '--ctl', @_, 'shop') };
        is($ctl->('drain'), 0, 'a host is drained');
        my %drained = (GET => statuses(map { get('/who.php')->{status} } 1 .. 12), POST => statuses(orders("$front-drained", 12, sub {})));
        my %right = (mod_fpmpool => 'GET 200=12 POST 200=12', nginx => 'GET 200=12 POST 200=.*');
        like("GET $drained{GET} POST $drained{POST}", qr/^$right{$front}$/, '... its 503 is no reason for the client to see one') if $right{$front};
        note("$front, a drained host: GET $drained{GET} POST $drained{POST}");
        is((wait_for { statuses(map { get('/who.php')->{status} } 1 .. 12) eq '200=12' } 20, 'the others'), 1, '... its checks find it') if $front eq 'HAProxy';
        is($ctl->('restart'), 0, '... and restarted');

        # a host without power: nothing is closed, nobody is told
        my $from = $server->log_length;
        @status = orders("$front-power", 45, sub {
            $host{b}->cut;
            kill KILL => descendants($daemon{b}->pid), $daemon{b}->pid;
            $daemon{b}->crash;
        });
        is(join(' ', grep { !/^(?:200|50[0234])$/ } @status), '', 'a host vanishes: every order has an answer: ' . statuses(@status));
        is(join(' ', grep { lines("$marks/$front-power-$_") > 1 } 1 .. 45), '', '... none is executed twice');
        is(join(' ', grep { $status[ $_ - 1 ] == 200 && lines("$marks/$front-power-$_") != 1 } 1 .. 45), '', '... what was answered was executed');
        is((wait_for { statuses(map { get('/who.php')->{status} } 1 .. 12) eq '200=12' } 40, 'the others'), 1, 'then the others serve');
        $host{b}->repair;
        $daemon{b} = start_pool('b');
        is((wait_for { get('/who.php')->{body} eq 'b' } 40, 'the host'), 1, 'it comes back and is found');
        $server->stop;
    };
    allow_log(qr/pool process \d+ exited on signal 9/,
        qr/FPMP00(?:63|64|73|85|87): /,
        qr/AH00957|AH01114|AH01071: Got error 'fpmpool: pool shop: drained|AH01079|AH01067|AH01068|AH01075|AH10\d+|\bAH0\d+.*10\.0\.0\.12/,
        qr/upstream (?:timed out|prematurely closed|server temporarily disabled)|connect\(\) failed|no live upstreams|buffered to a temporary file|keepalive.*upstream|a client request body is buffered/,
        qr/FastCGI sent in stderr: "fpmpool: pool shop: drained by the operator"/,
        qr{Server shop/[ab] is DOWN});
}

done_testing();
