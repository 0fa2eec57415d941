#!/bin/sh
# deps.sh build|demo|test - installs the Debian packages that are missing for a purpose. Debian 12.
#
# Services stay off: while packages are installed a policy-rc.d forbids every start, and what was
# there before is put back. Nothing that is installed already is touched.
set -eu

purpose=${1:-build}
case $purpose in build | demo | test) ;; *) echo "usage: deps.sh build|demo|test" >&2; exit 64 ;; esac

# compiler and libraries the programs are built with
packages="gcc libc6-dev make apache2-dev libapr1-dev libaprutil1-dev libacl1-dev php8.2-dev libphp8.2-embed"
if [ "$purpose" != build ]; then
    # httpd itself (without the service's package), fpm's php.ini and conf.d, OPcache
    packages="$packages apache2-bin php8.2-fpm php8.2-opcache php8.2-xml php8.2-gd php8.2-mbstring
        media-types ca-certificates"
fi
if [ "$purpose" = test ]; then
    # check: unit tests; clang: fuzz targets and a second opinion; php8.2-fpm, nginx: peers;
    # wrk: load; valgrind, strace: memory and system calls; git: what belongs to the tree;
    # mariadb-server-core: the programs without the service, for WordPress; libfcgi-bin: cgi-fcgi;
    # passwd: a user for the time of a test; acl: setfacl and getfacl; iproute2: addresses
    # of a test's own network; haproxy: a front end of several hosts; python3-yaml: reads a manifest;
    # python3-prometheus-client: another hand's parser of OpenMetrics; chromium-headless-shell,
    # fonts-dejavu-core: the pages as a browser has them
    packages="$packages check libsubunit-dev clang libclang-rt-14-dev clang-format valgrind strace wrk
        nginx-light perl git curl procps binutils php-common mariadb-server-core php8.2-mysql libfcgi-bin passwd acl iproute2
        haproxy python3-yaml python3-prometheus-client chromium-headless-shell fonts-dejavu-core"
fi

missing=
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
    [ "$status" = installed ] || missing="$missing $package"
done

policy=/usr/sbin/policy-rc.d
install_missing() {
    if [ "$(id -u)" != 0 ]; then
        echo "deps.sh: these packages are missing; as root run: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    if [ -e "$policy" ]; then
        mv "$policy" "$policy.before-fpmpool"
    fi
    trap 'rm -f "$policy"; [ ! -e "$policy.before-fpmpool" ] || mv "$policy.before-fpmpool" "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get -qq update
        # shellcheck disable=SC2086
        apt-get -qq install -y --no-install-recommends $missing >/dev/null
    }
}

if [ -n "$missing" ]; then
    echo "deps.sh: installing$missing"
    install_missing
fi
if [ "$purpose" = test ]; then
    for application in dokuwiki wordpress mod-php; do
        sh "$(dirname "$0")/../t/lib/fetch-application.sh" "$application"
    done
fi
