#!/bin/sh
# demo.sh [DOCROOT] - a real PHP page through httpd, mod_fpmpool and fpmpoold, from nothing.
#
# Installs what is missing (services stay off), builds, then runs an httpd and a daemon of its own in
# a temporary directory, on a free loopback port. Serves DOCROOT or the bundled site. Ctrl-C ends
# both and leaves no process and no file. Nothing of the system's httpd is read or changed.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
docroot=${1:-}
if [ -n "$docroot" ]; then
    [ -d "$docroot" ] || { echo "demo.sh: '$docroot' is no directory" >&2; exit 64; }
    docroot=$(cd "$docroot" && pwd)
fi

sh "$top/build/deps.sh" demo
cd "$top"
[ -f build/config.mk ] || ./configure
make -s -j"$(nproc)" all

# ---- a place of its own ----
work=$(mktemp -d /tmp/fpmpool-demo.XXXXXX)
daemon_pid='' httpd_pid=''
clean_up() {
    trap '' HUP INT TERM
    [ -z "$httpd_pid" ] || kill -TERM "$httpd_pid" 2>/dev/null || :
    [ -z "$daemon_pid" ] || kill -TERM "$daemon_pid" 2>/dev/null || :
    [ -z "$httpd_pid" ] || wait "$httpd_pid" 2>/dev/null || :
    [ -z "$daemon_pid" ] || wait "$daemon_pid" 2>/dev/null || :
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 0' HUP INT TERM
chmod 755 "$work"
mkdir "$work/run" "$work/sessions"

if [ -z "$docroot" ]; then
    mkdir "$work/site"
    cp build/demo-site/* "$work/site/"
    chmod -R a+rX "$work/site"
    docroot=$work/site
fi

pool_user='' httpd_user=''
if [ "$(id -u)" = 0 ]; then
    pool_user='user = www-data
group = www-data'
    httpd_user='User www-data
Group www-data'
    chown www-data "$work/sessions"
fi

cat >"$work/fpmpoold.conf" <<EOF
[global]
error_log = $work/fpmpoold.log
[demo]
$pool_user
listen = $work/run/demo.sock
listen.mode = 0666
pm = dynamic
pm.max_children = 6
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
pm.status_path = /fpm-status
ping.path = /fpm-ping
php_admin_value[session.save_path] = $work/sessions
EOF

modules=$(sed -n 's/^HTTPD_MODULEDIR = //p' build/config.mk)
port=8080
while grep -qi ":$(printf '%04X' "$port") 0*:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
    port=$((port + 1))
    [ "$port" -lt 8200 ] || { echo "demo.sh: no free port between 8080 and 8199" >&2; exit 1; }
done

cat >"$work/httpd.conf" <<EOF
ServerRoot $work
ServerName localhost
PidFile $work/httpd.pid
Listen 127.0.0.1:$port
ErrorLog $work/httpd.log
$httpd_user
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule mime_module $modules/mod_mime.so
LoadModule dir_module $modules/mod_dir.so
LoadModule rewrite_module $modules/mod_rewrite.so
LoadModule fpmpool_module $top/build/lib/mod_fpmpool.so
TypesConfig /etc/mime.types
DocumentRoot $docroot
DirectoryIndex index.php index.html
<Directory $docroot>
    AllowOverride All
    Require all granted
</Directory>
FpmPoolSocketDir $work/run
FpmPool demo
<FilesMatch "\.php\$">
    SetHandler fpmpool
</FilesMatch>
<LocationMatch "^/fpm-(status|ping)\$">
    FpmPoolCheckScript Off
    SetHandler fpmpool
</LocationMatch>
EOF

fail() {
    echo "demo.sh: $1" >&2
    cat "$work"/*.log >&2 2>/dev/null || :
    exit 1
}
httpd=$(command -v apache2 || command -v httpd) || fail "httpd's program (apache2) is not in PATH"

build/bin/fpmpoold -F -y "$work/fpmpoold.conf" </dev/null >"$work/start.log" 2>&1 &
daemon_pid=$!
tries=0
until [ -S "$work/run/demo.sock" ] && grep -q 'ready to handle' "$work/fpmpoold.log" 2>/dev/null; do
    kill -0 "$daemon_pid" 2>/dev/null || fail "fpmpoold did not start"
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "fpmpoold is not ready after 20 s"
    sleep 0.1
done

"$httpd" -f "$work/httpd.conf" -DFOREGROUND </dev/null >"$work/httpd-start.log" 2>&1 &
httpd_pid=$!
tries=0
until [ -s "$work/httpd.pid" ]; do
    kill -0 "$httpd_pid" 2>/dev/null || fail "httpd did not start"
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "httpd is not ready after 20 s"
    sleep 0.1
done

cat <<EOF

  http://127.0.0.1:$port/            the site ($docroot)
  http://127.0.0.1:$port/fpm-status?full
  http://127.0.0.1:$port/fpm-ping

  Try:  curl -i http://127.0.0.1:$port/
        kill -USR2 $daemon_pid      (reload: no request is lost)
        tail -f $work/fpmpoold.log
  Stop: Ctrl-C

EOF
wait "$httpd_pid" || fail "httpd ended"
