# fpmpoold as pid 1 of a container: what conf/examples/kubernetes says (command, user, read-only root, probes, preStop, stop
# signal, grace period) is done here with namespaces, by the very commands of the manifest. There is no cluster and no image.

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use FPMPool::Hosts;
use FPMPool::Test;
use Cwd ();
use JSON::PP ();
use POSIX ();
use Time::HiRes ();

my $shipped = repository() . '/conf/examples/kubernetes';
plan(skip_all => 'needs python3-yaml') if system('/usr/bin/python3 -c "import yaml" 2>/dev/null');
my $yaml = <<'PYTHON';
import json, sys, yaml
class Strict(yaml.SafeLoader):
    pass
def mapping(loader, node):
    keys = [loader.construct_object(k) for k, v in node.value]
    assert len(keys) == len(set(keys)), "a key twice: %s" % node.start_mark
    return loader.construct_mapping(node, deep=True)
Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
print(json.dumps(list(yaml.load_all(open(sys.argv[1]), Loader=Strict))))
PYTHON
write_file('read.py', $yaml);
open my $parser, '-|', '/usr/bin/python3', test_dir() . '/read.py', "$shipped/deployment.yaml" or die $!;
my $documents = JSON::PP::decode_json(do { local $/; <$parser> });
close $parser;
my %document = map { $_->{kind} => $_ } @$documents;
my $pod       = $document{Deployment}{spec}{template}{spec};
my $container = $pod->{containers}[0];
my $image     = read_file("$shipped/Containerfile");

# Fields that kubernetes documents (v1.29), as far as the manifest uses their parents.
my %probe = map { $_ => 1 } qw(exec httpGet tcpSocket grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds);
my %known = (
    Deployment              => [qw(replicas selector template strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds)],
    Service                 => [qw(selector ports type clusterIP clusterIPs sessionAffinity publishNotReadyAddresses internalTrafficPolicy)],
    PodDisruptionBudget     => [qw(minAvailable maxUnavailable selector unhealthyPodEvictionPolicy)],
    NetworkPolicy           => [qw(podSelector policyTypes ingress egress)],
    HorizontalPodAutoscaler => [qw(scaleTargetRef minReplicas maxReplicas metrics behavior)],
);
my %version = (Deployment => 'apps/v1', Service => 'v1', PodDisruptionBudget => 'policy/v1', NetworkPolicy => 'networking.k8s.io/v1', HorizontalPodAutoscaler => 'autoscaling/v2');
my @pod_fields       = qw(automountServiceAccountToken terminationGracePeriodSeconds securityContext containers initContainers volumes serviceAccountName nodeSelector affinity tolerations topologySpreadConstraints);
my @container_fields = qw(name image command args env envFrom ports startupProbe readinessProbe livenessProbe lifecycle resources securityContext volumeMounts workingDir imagePullPolicy);

sub unknown_fields { my ($hash, @known) = @_; my %known = map { $_ => 1 } @known; return join ' ', sort grep { !$known{$_} } keys %$hash }

subtest 'the manifest' => sub {
    is(join(' ', sort keys %document), join(' ', sort keys %version), 'its documents');
    for my $kind (sort keys %version) {
        is($document{$kind}{apiVersion}, $version{$kind}, "$kind: its version");
        is(unknown_fields($document{$kind}, qw(apiVersion kind metadata spec)), '', '... no unknown field');
        is(unknown_fields($document{$kind}{spec}, @{ $known{$kind} }), '', '... nor in its spec');
    }
    is(unknown_fields($pod, @pod_fields), '', 'the pod');
    is(unknown_fields($container, @container_fields), '', 'the container');
    is(unknown_fields($container->{$_}, keys %probe), '', $_) for qw(startupProbe readinessProbe livenessProbe);
    is(unknown_fields($container->{securityContext}, qw(allowPrivilegeEscalation readOnlyRootFilesystem capabilities privileged runAsUser runAsGroup runAsNonRoot procMount seccompProfile)), '', 'its rights');
    is(unknown_fields($pod->{securityContext}, qw(runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy seccompProfile supplementalGroups sysctls)), '', '... of the pod');
    is_deeply($document{$_}{spec}{selector}, { app => 'shop-php' }, "$_ selects the pods") for 'Service';
    is_deeply($document{$_}{spec}{selector}{matchLabels}, $document{Deployment}{spec}{template}{metadata}{labels}, "$_ selects the pods") for qw(Deployment PodDisruptionBudget);
    my %volume = map { $_->{name} => 1 } @{ $pod->{volumes} };
    is(join(' ', grep { !$volume{$_} } map { $_->{name} } @{ $container->{volumeMounts} }), '', 'each mount has its volume');
    my ($sleep) = $container->{lifecycle}{preStop}{exec}{command}[2] =~ /^sleep (\d+);/;
    my ($end)   = read_file("$shipped/fpmpoold.conf") =~ /^process_control_timeout = (\d+)s/m;
    cmp_ok($pod->{terminationGracePeriodSeconds}, '>', $sleep + $end, 'the grace period is longer than preStop and process_control_timeout');
};

subtest 'the image' => sub {
    my ($entry)   = $image =~ /^ENTRYPOINT (.*)$/m;
    my ($command) = $image =~ /^CMD (.*)$/m;
    is_deeply([ @{ JSON::PP::decode_json($entry) }, @{ JSON::PP::decode_json($command) } ], $container->{command}, 'starts what the manifest starts');
    like($image, qr/^USER $pod->{securityContext}{runAsUser}:$pod->{securityContext}{runAsGroup}$/m, '... as the same user');
    like($image, qr/^STOPSIGNAL SIGQUIT$/m, '... and is stopped by QUIT');
    for my $source ($image =~ /^COPY (?!--from)(\S+) /mg) {
        next if $source eq 'app' || $source eq '.';
        ok(-e repository() . "/$source", "$source is there");
    }
    my @needed = $image =~ /--no-install-recommends (.*?) &&/ ? split ' ', $1 : ();
    my %has = map { $_ => 1 } @needed;
    for my $program (map { build_path("bin/$_") } qw(fpmpoold fpmpool-php8.2)) {
        for my $library (`objdump -p $program` =~ /NEEDED +(\S+)/g) {
            next if $library =~ /^(?:libc|libm|libpthread|libdl|ld-linux\S*)\.so/;
            my ($file) = `ldd $program` =~ /^\s*\Q$library\E => (\S+)/m;
            my $real = Cwd::realpath($file) =~ s{^/usr}{}r;
            my ($package) = `dpkg -S '*$real' 2>/dev/null` =~ /^([\w.+-]+)(?::\w+)?: /m;
            ok($package && $has{$package}, "$library is in a package of the image") or diag("$library: " . ($package // 'unknown'));
        }
    }
};

# ---- pods ---------------------------------------------------------------------------------------

mkdir '/srv/marks';
chmod 0777, '/srv/marks';
write_file("/srv/shop/public/$_->[0]", $_->[1]) for
    [ 'who.php', '<?php echo gethostname(), " ", posix_getuid(), " ", posix_getpid() > 1 ? "worker" : "init";' ],
    [ 'write.php', '<?php foreach (["/etc/x", "/usr/x", "/srv/x", "/x", "/var/tmp/x"] as $f) { if (@file_put_contents($f, "x")) echo "$f "; } echo file_put_contents("/tmp/x", "x") ? "tmp" : "none";' ],
    [ 'say.php', '<?php ini_set("error_log", "/proc/self/fd/2"); file_put_contents("php://stderr", "a message\n"); echo "said";' ],
    [ 'orphan.php', '<?php exec("(sleep 0.3 &) >/dev/null 2>&1"); echo "left";' ],
    [ 'order.php', '<?php file_put_contents($_GET["mark"], "x", FILE_APPEND); usleep(30000); echo "order ", $_SERVER["SERVER_ADDR"];' ],
    [ 'slow.php', '<?php touch($_GET["mark"] . ".begun"); while (!file_exists($_GET["mark"] . ".go")) { usleep(20000); clearstatcache(); } file_put_contents($_GET["mark"], "x", FILE_APPEND); echo "slow";' ];

my $out = test_dir() . '/image';
mkdir $_ for $out, "$out/sbin", "$out/etc", "$out/etc/fpmpool";
for my $program (qw(fpmpoold fpmpool-php8.2)) { system('cp', build_path("bin/$program"), "$out/sbin/$program") == 0 or die }
write_file("$out/etc/fpmpool/fpmpoold.conf", read_file("$shipped/fpmpoold.conf"));
chmod 0755, $out, "$out/sbin", "$out/etc", "$out/etc/fpmpool";

my $uid = $pod->{securityContext}{runAsUser};
my $gid = $pod->{securityContext}{runAsGroup};
my %mounted = map { $_->{mountPath} => 1 } @{ $container->{volumeMounts} };

# The root of the image (this machine's, with fpmpoold in it) is read-only; volumes are tmpfs.
sub start_pod {
    my ($host) = @_;
    my $root = test_dir() . "/$host->{name}/root";
    system('mkdir', '-p', $root);
    my $script = write_file("$host->{name}/pod.sh", join "\n", 'set -e', "R=$root", "O=$out",
        'mount --bind / $R', 'mount -t overlay -o lowerdir=$O/sbin:/usr/sbin none $R/usr/sbin', 'mount -t overlay -o lowerdir=$O/etc:/etc none $R/etc',
        'mount -o remount,bind,ro $R', 'mount --bind /srv $R/srv', 'mount -o remount,bind,ro $R/srv', 'mount --bind /srv/marks $R/srv/marks', 'mount --rbind /dev $R/dev',
        'mount -t proc proc $R/proc', 'mount -t tmpfs -o mode=0755 none $R/run',
        (map { ("mkdir -p \$R$_", "mount -t tmpfs -o mode=1777 none \$R$_") } sort keys %mounted), 'mount -o remount,ro $R/run',
        "exec chroot --userspec=$uid:$gid --groups=$gid \$R " . join(' ', map { "'$_'" } @{ $container->{command} }), '');
    my $service = start_service(kind => 'daemon', name => "pod-$host->{name}", prefix => $host->prefix,
        argv => [ qw(/usr/bin/unshare --mount --pid --fork --kill-child=KILL /bin/sh), $script ]);
    my $self = { service => $service, host => $host };
    wait_for { ($self->{init}) = children($service->pid); !$service->is_running || ($self->{init} && process_title($self->{init}) =~ /php-fpm: master/) } 20, 'pid 1';
    return $self;
}

# As kubelet executes a command in a container: exit code.
sub execute {
    my ($self, $command) = @_;
    return system('nsenter', '--target', $self->{init}, qw(--mount --pid --net --root --wd), '--setuid', $uid, '--setgid', $gid, '--', @$command) >> 8;
}
sub probe { my ($self, $kind) = @_; return execute($self, [ @{ $container->{"${kind}Probe"}{exec}{command} } ]) }

# As kubelet ends a container: the hook, then the stop signal, then KILL. Returns how pid 1 ended.
sub terminate {
    my ($self, %option) = @_;
    my $until = Time::HiRes::time() + $pod->{terminationGracePeriodSeconds};
    my $pid   = $self->{service}->pid;
    if (!$option{no_hook}) {
        my $hook = spawn(argv => [ 'nsenter', '--target', $self->{init}, qw(--mount --pid --net --root --wd), '--setuid', $uid, '--setgid', $gid, '--', @{ $container->{lifecycle}{preStop}{exec}{command} } ]);
        wait_for { !alive($hook) || !alive($self->{init}) } $pod->{terminationGracePeriodSeconds} + 5, 'preStop';
        reap($hook, 5);
    }
    kill QUIT => $self->{init} if alive($self->{init});
    my $status = reap($pid, $until - Time::HiRes::time());
    $self->{service}{pid} = undef if defined $status;
    return defined $status ? $status : 'killed';
}

# Makes a file when the daemon has said that it ends; the process that does it.
sub at_the_end {
    my ($self, $file) = @_;
    my $from = $self->{service}->log_length;
    my $pid  = fork // die "fork: $!";
    return $pid if $pid;
    my $until = Time::HiRes::time() + 60;
    Time::HiRes::sleep(0.05) until $self->{service}->log_text($from) =~ /Finishing/ || Time::HiRes::time() > $until;
    write_file($file, '');
    POSIX::_exit(0);
}

my %host = (a => start_host('a', 11), b => start_host('b', 12));
my %pods = map { $_ => start_pod($host{$_}) } qw(a b);
my $httpd = start_httpd(docroot => '/srv/shop/public', conf => "<FpmPoolDefine shop>\nFpmPoolServer tcp://10.0.0.11:9000 name=a reuse=off\nFpmPoolServer tcp://10.0.0.12:9000 name=b reuse=off\n</FpmPoolDefine>\n"
        . "FpmPool shop\n<FilesMatch \"\\.php\$\">\nSetHandler fpmpool\n</FilesMatch>\n<Location /only>\nFpmPool only\n</Location>\n<FpmPoolDefine only>\nFpmPoolServer tcp://10.0.0.11:9000\n</FpmPoolDefine>\nAlias /only /srv/shop/public\n");
sub get { my ($path, %option) = @_; return http($httpd->url($path), timeout => 40, %option) }

subtest 'a pod' => sub {
    is((wait_for { !probe($pods{a}, 'startup') && !probe($pods{b}, 'startup') } 30, 'the startup probe'), 1, 'starts');
    is(probe($pods{a}, $_), 0, "its $_ probe") for qw(readiness liveness);
    my ($inside) = read_file("/proc/$pods{a}{init}/status") =~ /^NSpid:.*\s(\d+)$/m;
    is($inside, 1, 'the master is pid 1');
    is(process_uid($pods{a}{init}), $uid, '... and not root');
    like(get('/only/who.php')->{body}, qr/ $uid worker$/, 'a script runs as the same user');
    is(get('/only/write.php')->{body}, 'tmp', '... and can write to /tmp alone');
    like(get('/only/say.php')->{body}, qr/^said/, 'a script writes to its error log');
    allow_log(qr/\Aa message\z/);
    ok(eval { $pods{a}{service}->wait_log(qr/^a message$/m) }, '... which is the stderr of the container, as it is');
};

subtest 'what scripts leave behind is reaped' => sub {
    is(get('/only/orphan.php')->{body}, 'left', 'a script starts a program and does not wait for it') for 1 .. 5;
    my $zombies = sub { scalar grep { (process_state($_) // '') eq 'Z' } descendants($pods{a}{init}) };
    my $sleeps  = sub { scalar grep { process_title($_) =~ /^sleep/ } descendants($pods{a}{init}) };
    is((wait_for { !$sleeps->() && !$zombies->() } 10, 'no sleep, no zombie'), 1, 'no process and no zombie is left');
};

subtest 'busy is ready' => sub {
    my @slow = map { my $http = http_connect(port => $httpd->port, timeout => 40); $http->send_request(GET => "/only/slow.php?mark=/srv/marks/busy-$_"); $http } 1 .. 8;
    wait_for { 8 == grep { -e "/srv/marks/busy-$_.begun" } 1 .. 8 } 20, 'all workers busy';
    is(probe($pods{a}, $_), 0, "all workers busy: its $_ probe") for qw(readiness liveness);
    write_file("/srv/marks/busy-$_.go", '') for 1 .. 8;
    is($_->read_answer->{status}, 200, 'an answer') for @slow;
    is(execute($pods{a}, [ '/usr/sbin/fpmpoold', '--ctl-socket', '/run/fpmpool/fpmpoold.ctl', '--ctl', 'drain', 'shop' ]), 0, 'drained by hand');
    isnt(probe($pods{a}, 'readiness'), 0, '... it is not ready');
    is(probe($pods{a}, 'liveness'), 0, '... and lives');
    is(execute($pods{a}, [ '/usr/sbin/fpmpoold', '--ctl-socket', '/run/fpmpool/fpmpoold.ctl', '--ctl', 'restart' ]), 0, '... until it is restarted');
    is(probe($pods{a}, 'readiness'), 0, '... and ready');
};

subtest 'a pod ends under load, and no request is lost' => sub {
    my @slow = http_connect(port => $httpd->port, timeout => 60);
    $slow[0]->send_request(POST => '/only/slow.php?mark=/srv/marks/last', body => 'x');
    wait_for { -e '/srv/marks/last.begun' } 10, 'a long order';
    my $clients = 6;
    my @client = map {
        my $client = $_;
        pipe(my $from, my $to) or die;
        my $pid = fork // die;
        if (!$pid) {
            my %status;
            my $n = 0;
            until (-e '/srv/marks/stop') {
                my $mark   = "/srv/marks/order-$client-" . ++$n;
                my $answer = eval { get("/order.php?mark=$mark", method => 'POST', body => 'x') };
                $status{ $answer ? $answer->{status} : 'none' }++;
            }
            syswrite $to, join ' ', map { "$_=$status{$_}" } sort keys %status;
            POSIX::_exit(0);
        }
        close $to;
        [ $pid, $from ];
    } 1 .. $clients;
    my $watch = at_the_end($pods{a}, '/srv/marks/last.go');
    is(terminate($pods{a}), 0, 'preStop and QUIT: pid 1 ends well, within the grace period');
    waitpid $watch, 0;
    is($slow[0]->read_answer->{body}, 'slow', 'the order that was running was finished');
    $pods{a} = start_pod($host{a});
    wait_for { !probe($pods{a}, 'startup') } 30, 'the next pod';
    write_file('/srv/marks/stop', '');
    my %sum;
    for (@client) {
        my ($pid, $from) = @$_;
        my $text = do { local $/; <$from> };
        waitpid $pid, 0;
        $sum{$1} += $2 while $text =~ /(\w+)=(\d+)/g;
    }
    is(join(' ', sort keys %sum), '200', 'every order of ' . ($sum{200} // 0) . ' was answered: 200') or diag explain \%sum;
    cmp_ok($sum{200}, '>', 50, '... and there were some');
    my @marks = glob '/srv/marks/order-*';
    is(scalar @marks, $sum{200}, '... each was executed');
    is(scalar(grep { -s $_ != 1 } @marks), 0, '... once');
    allow_log(qr/FPMP00(?:73|85): pool shop/);
};

subtest 'the stop signal of the image alone' => sub {
    my $http = http_connect(port => $httpd->port, timeout => 40);
    $http->send_request(POST => '/only/slow.php?mark=/srv/marks/signal', body => 'x');
    wait_for { -e '/srv/marks/signal.begun' } 10, 'a long order';
    my $open = at_the_end($pods{a}, '/srv/marks/signal.go');
    is(terminate($pods{a}, no_hook => 1), 0, 'QUIT: pid 1 ends well');
    waitpid $open, 0;
    is($http->read_answer->{body}, 'slow', '... when the running order is finished');
    is(terminate($pods{b}, no_hook => 1), 0, 'an idle one too');
};

done_testing();
