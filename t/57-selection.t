# Which pool serves a request: names that expressions give, ten thousand of them without a restart, and what .htaccess files
# may choose. One daemon with three pools; sockets of names are links to theirs. Each pool says which one it is.
# long: 30 s

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Test;

my $run  = test_dir() . '/sockets';
my $gate = test_dir() . '/gate';
mkdir $_ for $run, $gate;
chmod 0777, $gate;
my $who  = '<?php echo getenv("POOL");';
my $root = site('www',
    'x.php'      => $who,
    'wait.php'   => "<?php touch('$gate/' . \$_GET['n']); while (!file_exists('$gate/open')) { usleep(5000); clearstatcache(); } echo getenv('POOL');",
    'plain.txt'  => 'plain',
    map({ ("$_/x.php" => $who, "$_/plain.txt" => 'plain') } qw(tenant tenant/deep closed free)),
);
my $daemon = start_daemon(conf => { map { $_ => { 'pm.max_children' => $_ eq 'one' ? 8 : 2, 'env[POOL]' => $_ } } qw(one two three) });
# (httpd itself says that an expression failed)
allow_log(qr/Evaluation of expression from /, qr/FPMP01\d\d: /, qr/FPMP0073: /, qr/\.htaccess: /, qr/AH00052: child pid \d+ exit signal Killed/);

sub name_socket { my ($name, $pool) = @_; symlink $daemon->listen_address($pool), "$run/$name.sock" or die "$name: $!"; return }
name_socket('a.example', 'one');
name_socket('b.example', 'two');
write_file("$run/file.sock", 'no socket');
mkdir "$run/folder.sock";
symlink "$run/nowhere", "$run/dangling.sock";
mkdir "$run/below";
symlink $daemon->listen_address('one'), "$run/below/x.sock";
symlink $daemon->listen_address('one'), test_dir() . '/beside.sock';

my $handler = "FpmPoolSocketDir $run\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\n";
my $by_name = $handler . qq{FpmPool "expr=%{SERVER_NAME}"\n};
my $defined = "<FpmPoolDefine defined>\n    FpmPoolServer unix:" . $daemon->listen_address('three') . "\n</FpmPoolDefine>\n";
my $status  = "<Location /server-status>\n    SetHandler server-status\n</Location>\n";

sub ask {
    my ($httpd, $host, $path, %option) = @_;
    return http($httpd->url($path // '/x.php'), headers => [ Host => $host, @{ $option{headers} || [] } ]);
}
sub lines_of { my ($httpd, $id) = @_; return scalar(() = $httpd->log_text =~ /$id: /g) }
sub figures  { my ($httpd) = @_; return { http($httpd->url('/server-status?auto'))->{body} =~ /^FpmPool_(\S+): (.*)$/mg } }

for my $mpm (qw(event worker prefork)) {
    subtest "names of virtual hosts: $mpm" => sub {
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => $defined . $by_name . $status, modules => ['status']);
        for my $round (1 .. 5) {
            is(ask($httpd, 'a.example')->{body}, 'one',   'the socket of that name');
            is(ask($httpd, 'b.example')->{body}, 'two',   '... of another');
            is(ask($httpd, 'defined')->{body},   'three', 'a pool that is defined');
        }
        is(ask($httpd, 'A.Example')->{body}, 'one', 'capital letters in a host name do not count');
        my $answer = ask($httpd, 'later.example');
        is($answer->{status} . ' ' . ($answer->{headers}{'retry-after'} // 'none'), '503 5', 'a name without a pool: 503, with Retry-After');
        is(ask($httpd, 'later.example')->{status}, 503, '... again');
        like($httpd->log_text, qr/FPMP0102: FpmPool "expr=%\{SERVER_NAME\}" gives "later\.example": there is no <FpmPoolDefine later\.example>, and \Q$run\E\/later\.example\.sock is no socket .*: start that pool/, 'the log names the result and what to do');
        is(lines_of($httpd, 'FPMP0102'), 1, '... once');
        name_socket('later.example', 'two');
        is(ask($httpd, 'later.example')->{body}, 'two', 'its socket comes: it serves, without a restart');
        unlink "$run/later.example.sock";
        $httpd->signal('USR1');
        $httpd->wait_log(qr/configured -- resuming/, 20);
        wait_for { (eval { ask($httpd, 'later.example')->{status} } // 0) == 503 } 20, 'the socket is gone';
        is(ask($httpd, 'a.example')->{body}, 'one', 'after a restart');
        my $f = figures($httpd);
        is($f->{'a.example_Ok'}, 7, 'figures of names are listed, over restarts and all children');
        is($f->{defined_Ok}, 5, '... and those of defined pools');
        $httpd->stop;
    };
}

subtest 'what an expression may give' => sub {
    my $locations = '';
    my %expression = (q => '%{QUERY_STRING}', up => '../beside%{QUERY_STRING}', read => '%{file:/no/such/file}');
    for my $path (sort keys %expression) {
        $locations .= "Alias /$path $root\n<Location /$path>\n    FpmPool \"expr=$expression{$path}\"\n</Location>\n";
    }
    $locations .= "Alias /fall $root\n<Location /fall>\n    FpmPool \"expr=%{QUERY_STRING}\" defined\n</Location>\n"
        . "Alias /last $root\n<Location /last>\n    FpmPool missing \"expr=%{QUERY_STRING}\"\n</Location>\n"
        . "Alias /busy $root\n<Location /busy>\n    FpmPool \"expr=%{QUERY_STRING}\" defined\n    FpmPoolFailover on=overload\n</Location>\n"
        . "Alias /if $root\n<If \"%{QUERY_STRING} == 'two'\">\n    FpmPool \"expr=b.example\"\n</If>\n";
    my $httpd = start_httpd(docroot => $root, conf => $defined . $handler . "FpmPool defined\n" . $locations);
    my @case = (
        [ '/q/x.php?a.example',  200, 'one',   'a name' ],
        [ '/q/x.php?defined',    200, 'three', 'a defined pool' ],
        [ '/q/x.php',            403, undef,   'nothing: as none' ],
        [ '/q/x.php?none',       403, undef,   'none' ],
        [ '/q/x.php?nobody',     503, undef,   'no socket' ],
        [ '/q/x.php?file',       503, undef,   'a file' ],
        [ '/q/x.php?folder',     503, undef,   'a directory' ],
        [ '/q/x.php?dangling',   503, undef,   'a link that leads nowhere' ],
        [ '/q/x.php?.',          500, undef,   'a dot' ],
        [ '/q/x.php?..',         500, undef,   'two dots' ],
        [ '/q/x.php?../beside',  500, undef,   'a path upwards' ],
        [ '/q/x.php?below/x',    500, undef,   'a path downwards' ],
        [ '/q/x.php?/run/x',     500, undef,   'an absolute path' ],
        [ '/q/x.php?a%00',       500, undef,   'an encoded NUL' ],
        [ '/q/x.php?' . 'x' x 64, 503, undef,  'a name of 64 characters' ],
        [ '/q/x.php?' . 'x' x 65, 500, undef,  '... of 65' ],
        [ '/q/x.php?' . 'x' x 7000, 500, undef, '... of 7000' ],
        [ '/up/x.php',           500, undef,   'an expression that goes upwards itself' ],
        [ '/read/x.php',         500, undef,   'an expression that fails' ],
        [ '/fall/x.php?a.example', 200, 'one', 'a fallback that is not needed' ],
        [ '/fall/x.php?nobody',  200, 'three', 'a fallback for a name without a pool' ],
        [ '/fall/x.php',         403, undef,   'none has no fallback' ],
        [ '/fall/x.php?..',      500, undef,   'what can be no name has none' ],
        [ '/last/x.php?a.example', 200, 'one', 'an expression as the fallback of a pool that is not there' ],
        [ '/last/x.php?nobody',  503, undef,   '... without a pool' ],
        [ '/last/x.php',         503, undef,   '... that gives nothing' ],
        [ '/busy/x.php?nobody',  503, undef,   'FpmPoolFailover on=overload: no fallback for a pool that is not there' ],
        [ '/if/x.php?two',       200, 'two',   'in <If>' ],
        [ '/if/x.php?other',     200, 'three', '... that does not hold' ],
    );
    for my $case (@case) {
        my ($path, $code, $body, $name) = @$case;
        my $answer = http($httpd->url($path));
        is($answer->{status} . (defined $body ? " $answer->{body}" : ''), $code . (defined $body ? " $body" : ''), $name);
        unlike($answer->{body}, qr/<\?php|\Q$run\E/, '... and shows neither source nor paths');
    }
    my $log = $httpd->log_text;
    like($log, qr/FPMP0101: FpmPool "expr=%\{QUERY_STRING\}" gives "\.", which cannot be a pool's name .*: let the expression give a name/, 'what is no name, in the log');
    like($log, qr/FPMP0100: FpmPool "expr=%\{file:\/no\/such\/file\}" could not be evaluated: .*: correct the expression/, 'an expression that fails');
    is(lines_of($httpd, $_), 1, "$_ comes once, however many there are") for qw(FPMP0100 FPMP0101 FPMP0102);
    $httpd->stop;
};

# ---- very many -----------------------------------------------------------------------------------

sub memory_of {
    my ($pid) = @_;
    my %kib = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } split /\n/, read_file("/proc/$pid/status");
    my %shared = (Size => 0, Rss => 0); # of the largest anonymous segment: httpd has small ones of its own
    for my $part (split /^(?=[0-9a-f]+-)/m, read_file("/proc/$pid/smaps")) {
        my %of = $part =~ /^(\w+):\s+(\d+) kB/mg;
        %shared = (%of) if $part =~ m{ rw-s .* /dev/zero \(deleted\)\n} && $of{Size} > $shared{Size};
    }
    return { rss => $kib{RssAnon}, shared => $shared{Size}, touched => $shared{Rss} };
}

subtest 'ten thousand names' => sub {
    my $names = 10_000;
    name_socket("site$_.example", 'one') for 1 .. $names;
    for my $most (64, 20_000) {
        my $httpd = start_httpd(name => "many-$most", docroot => $root, modules => ['status'],
            conf => "${by_name}FpmPoolMaxPools $most\n${status}MaxKeepAliveRequests 0\n",
            mpm_conf => "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMinSpareThreads 1\nMaxSpareThreads 8\nMaxRequestWorkers 8\n");
        my $connection = http_connect(port => $httpd->port, timeout => 60);
        my $go_through = sub {
            my $good = 0;
            for my $n (1 .. $names) {
                $connection->send_request(GET => '/x.php', headers => [ Host => "site$n.example" ]);
                my $answer = $connection->read_answer;
                $good += $answer->{status} == 200 && $answer->{body} eq 'one';
            }
            return $good;
        };
        is($go_through->(), $names, "FpmPoolMaxPools $most: each name is answered by its pool");
        my ($child) = children($httpd->pid);
        my $first = memory_of($child);
        is($go_through->(), $names, '... and again');
        my $second = memory_of($child);
        diag sprintf 'FpmPoolMaxPools %d: %d KiB shared, %d KiB of them touched; a child has %d KiB of its own after 10,000 names, %d KiB after another 10,000', $most, $first->{shared}, $second->{touched}, $first->{rss}, $second->{rss};
        cmp_ok($second->{rss}, '<', $first->{rss} + 2048, 'a child grows no more');
        cmp_ok($first->{shared}, '<', $most == 64 ? 1024 : 32 * 1024, 'shared memory is bounded');
        cmp_ok(descriptor_count($child), '<', 400, 'connections of names that nobody wants are closed');
        my $f = figures($httpd);
        my @listed = grep { /_Ok$/ } keys %$f;
        is(scalar @listed, $most == 64 ? 64 : $names, 'as many are remembered as may be');
        is((grep { $f->{$_} != ($most == 64 ? 1 : 2) } @listed) + 0, 0, '... and a name that was forgotten begins anew');
        $connection->close;
        $httpd->stop;
    }
    unlink glob "$run/site*.sock";
};

for my $mpm (qw(event prefork)) {
    subtest "more names in use than there is room for: $mpm" => sub {
        unlink glob "$gate/*";
        my $httpd = start_httpd(mpm => $mpm, docroot => $root, conf => "${by_name}FpmPoolMaxPools 3\n$status", modules => ['status'],
            mpm_conf => $mpm eq 'prefork' ? "StartServers 6\nMinSpareServers 2\nMaxRequestWorkers 10\n" : "StartServers 2\nServerLimit 2\nThreadsPerChild 8\nMinSpareThreads 1\nMaxSpareThreads 16\nMaxRequestWorkers 16\n");
        for my $n (1 .. 4) { name_socket("held$n", 'one') unless -l "$run/held$n.sock" }
        my @held = map { my $http = http_connect(port => $httpd->port, timeout => 30); $http->send_request(GET => "/wait.php?n=h$_", headers => [ Host => "held$_" ]); $http } 1 .. 3;
        wait_for { 3 == grep { -e "$gate/h$_" } 1 .. 3 } 20, 'three requests';
        my $answer = ask($httpd, 'held4');
        is($answer->{status}, 503, 'all entries have requests: a fourth name is refused');
        like($httpd->log_text, qr/FPMP0103: pool held4: 3 pools that expressions of FpmPool name have requests.*raise FpmPoolMaxPools/, '... and the log says why');
        is(ask($httpd, 'held2')->{body}, 'one', 'a name that has an entry goes on');
        if ($mpm eq 'prefork') {
            kill KILL => children($httpd->pid);
            wait_for { (eval { ask($httpd, 'held4')->{status} } // 0) == 200 } 20, 'killed children hold nothing';
            pass('what killed children held is free');
            write_file("$gate/open", '');
            eval { $_->read_answer } for @held;
        } else {
            write_file("$gate/open", '');
            is($_->read_answer->{body}, 'one', 'the held ones end') for @held;
            wait_for { ask($httpd, 'held4')->{status} == 200 } 20, 'room';
            pass('then there is room');
        }
        $httpd->stop;
    };
}

subtest 'what all pools have in common' => sub {
    unlink glob "$gate/*";
    my $httpd = start_httpd(docroot => $root, conf => "<FpmPoolDefine \"*\">\n    FpmPoolTimeout first=300ms\n</FpmPoolDefine>\n"
            . "<FpmPoolDefine patient>\n    FpmPoolServer unix:" . $daemon->listen_address('one') . "\n    FpmPoolTimeout first=20s\n</FpmPoolDefine>\n"
            . "<FpmPoolDefine hasty>\n    FpmPoolServer unix:" . $daemon->listen_address('one') . "\n</FpmPoolDefine>\n$by_name");
    allow_log(qr/FPMP0063: /);
    is(ask($httpd, 'a.example', '/wait.php?n=1')->{status}, 504, 'a name at run time has the defaults');
    is(ask($httpd, 'hasty', '/wait.php?n=2')->{status}, 504, 'a defined pool has them');
    my $http = http_connect(port => $httpd->port, timeout => 20);
    $http->send_request(GET => '/wait.php?n=3', headers => [ Host => 'patient' ]);
    wait_for { -e "$gate/3" } 20, 'the request';
    write_file("$gate/open", '');
    is($http->read_answer->{status}, 200, '... unless its definition says otherwise');
    $httpd->stop;
};

# ---- tenants -------------------------------------------------------------------------------------

subtest 'a tenant reaches no pool that the server did not give him' => sub {
    my $httpd = start_httpd(docroot => $root, conf => "${by_name}Alias /one $root\n");
    my $set = sub { write_file("$root/tenant/.htaccess", join '', map { "$_\n" } @_) };
    my @trick = (
        [ 200, 'SetEnv SERVER_NAME b.example' ],
        [ 200, 'SetEnvIf Host . SERVER_NAME=b.example' ],
        [ 200, 'RewriteEngine On', 'RewriteRule .* - [E=SERVER_NAME:b.example]' ],
        [ 200, 'RequestHeader set Host b.example early', ],
        [ 200, 'RequestHeader set Host b.example' ],
        [ 200, 'FpmPoolSetEnvIf "true" SERVER_NAME b.example' ],
        [ 500, 'FpmPool two' ],
        [ 500, 'FpmPool b.example' ],
        [ 500, 'FpmPool "expr=b.example"' ],
        [ 500, 'FpmPool none b.example' ],
        [ 500, 'FpmPoolSelectable b.example', 'FpmPool b.example' ],
        [ 500, "FpmPoolSocketDir $run/below", 'FpmPool x' ],
        [ 500, "<FpmPoolDefine mine>", "FpmPoolServer unix:$run/b.example.sock", '</FpmPoolDefine>', 'FpmPool mine' ],
        [ 500, '<If "true">', 'FpmPool b.example', '</If>' ],
        [ 500, '<Files "x.php">', 'FpmPool b.example', '</Files>' ],
    );
    for my $trick (@trick) {
        my ($code, @line) = @$trick;
        $set->(@line);
        my $answer = ask($httpd, 'a.example', '/tenant/x.php');
        is($answer->{status}, $code, join ' / ', @line) or diag $httpd->log_text;
        is($answer->{body}, 'one', '... is still his own pool') if $code == 200;
        unlike($answer->{body}, qr/two|three/, '... and never another');
    }
    $set->('FpmPool b.example');
    is(ask($httpd, 'a.example', '/tenant/plain.txt')->{body}, 'plain', 'what is no script is served');
    my $from = $httpd->log_length;
    is(ask($httpd, 'a.example', '/tenant/x.php')->{status}, 500, 'a script is not');
    like(substr($httpd->log_text, $from), qr{FPMP0106: \Q$root\E/tenant/\.htaccess:1: FpmPool b\.example: .*there is no FpmPoolSelectable for this directory}, '... and the log says so');
    unlink "$root/tenant/.htaccess";
    $httpd->stop;
};

subtest 'FpmPoolSelectable' => sub {
    my $listen = join '', map { "<FpmPoolDefine $_>\n    FpmPoolServer unix:" . $daemon->listen_address($_) . "\n</FpmPoolDefine>\n" } qw(one two three);
    for my $order ('server', 'directory') {
        my $list = "FpmPoolSelectable two three\n";
        my $httpd = start_httpd(docroot => $root, conf => $listen . "FpmPoolSocketDir $run\n<FilesMatch \"\\.php\$\">\n    SetHandler fpmpool\n</FilesMatch>\nFpmPool one\n"
                . ($order eq 'server' ? $list : "<Directory \"$root\">\n$list</Directory>\n")
                . "<Directory \"$root/closed\">\n    FpmPoolSelectable none\n</Directory>\n<Directory \"$root/free\">\n    FpmPool three\n</Directory>\n<Location \"/tenant/deep/x.php/fixed\">\n    FpmPool one\n</Location>\n");
        my $get = sub { my $answer = http($httpd->url($_[0])); return $answer->{status} == 200 ? $answer->{body} : $answer->{status} };
        my $say = sub { my ($where, $text) = @_; return $text ? write_file("$root/$where/.htaccess", "$text\n") : unlink "$root/$where/.htaccess" };
        is($get->('/tenant/x.php'), 'one', "of the $order: no .htaccess");
        $say->(tenant => 'FpmPool two');
        is($get->('/tenant/x.php'), 'two', 'one of the list');
        is($get->('/tenant/deep/x.php'), 'two', '... for what lies below');
        is($get->('/tenant/deep/x.php/fixed'), 'one', '<Location> of the server goes over it');
        is($get->('/x.php'), 'one', '... not beside');
        $say->('tenant/deep' => 'FpmPool three');
        is($get->('/tenant/deep/x.php'), 'three', 'a deeper one counts');
        $say->(tenant => 'FpmPool one');
        is($get->('/tenant/x.php'), 500, 'not in the list, though the server uses it');
        like($httpd->log_text, qr{FPMP0106: \Q$root\E/tenant/\.htaccess:1: FpmPool one: this \.htaccess file may not choose it: FpmPoolSelectable has two three; choose one of FpmPoolSelectable, or add the name there}, 'the log names the list');
        $say->(tenant => '<Files "x.php">' . "\nFpmPool three\n</Files>");
        is($get->('/tenant/x.php'), 'three', 'in a section of .htaccess');
        $say->(tenant => "FpmPool $_"), is($get->('/tenant/x.php'), 500, "FpmPool $_") for 'two three', 'none', '"expr=two"', '../two', '';
        like($httpd->log_text, qr/FpmPool: an \.htaccess file takes one name, of those that FpmPoolSelectable/, '... says what is possible');
        $say->(closed => 'FpmPool two');
        is($get->('/closed/x.php'), 500, 'FpmPoolSelectable none ends it');
        $say->(free => 'FpmPool two');
        is($get->('/free/x.php'), 'two', 'over FpmPool of the directory');
        $say->($_ => '') for qw(tenant tenant/deep closed free);
        $httpd->stop;
    }
    write_file("$root/tenant/.htaccess", "FpmPool two\n");
    my $httpd = start_httpd(docroot => $root, override => 'AuthConfig Options', conf => "$listen$handler" . "FpmPool one\nFpmPoolSelectable two\n");
    is(http($httpd->url('/tenant/x.php'))->{status}, 500, 'AllowOverride without FileInfo: refused by httpd');
    unlink "$root/tenant/.htaccess";
    $httpd->stop;
};

subtest 'a pool for debugging, by cookie and address' => sub {
    my ($recipe) = read_file(repository() . '/mod_fpmpool/README.md') =~ /^(<If "[^\n]*XDEBUG_SESSION.*?^<\/If>\n)/ms;
    ok($recipe, 'the README has it') or return;
    $recipe =~ s/\bFpmPool \S+/FpmPool two/;
    my $httpd = start_httpd(docroot => $root, conf => join('', map { "<FpmPoolDefine $_>\n    FpmPoolServer unix:" . $daemon->listen_address($_) . "\n</FpmPoolDefine>\n" } qw(one two)) . "${handler}FpmPool one\n" . $recipe);
    my %from = (near => $recipe, far => $recipe =~ s{-R '[^']+'}{-R '192.0.2.0/24'}r);
    isnt($from{near}, $from{far}, 'it names addresses');
    is(http($httpd->url('/x.php'))->{body}, 'one', 'a visitor');
    is(http($httpd->url('/x.php'), headers => [ Cookie => 'a=b; XDEBUG_SESSION=me' ])->{body}, 'two', 'the cookie, from an address of the list');
    is(http($httpd->url('/x.php'), headers => [ Cookie => 'MY_XDEBUG_SESSION=me' ])->{body}, 'one', 'another cookie');
    $httpd->stop;
    $httpd = start_httpd(docroot => $root, conf => join('', map { "<FpmPoolDefine $_>\n    FpmPoolServer unix:" . $daemon->listen_address($_) . "\n</FpmPoolDefine>\n" } qw(one two)) . "${handler}FpmPool one\n" . $from{far});
    is(http($httpd->url('/x.php'), headers => [ Cookie => 'XDEBUG_SESSION=me' ])->{body}, 'one', 'the cookie from elsewhere');
    $httpd->stop;
};
done_testing();
