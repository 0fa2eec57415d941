#!/bin/sh
# fetch-application.sh dokuwiki|wordpress|mod-php [FOLDER]: downloads Debian's package and the libraries it
# loads into FOLDER (default: build/cache), without installing anything. What is there already is
# kept. Called by build/deps.sh and by the applications' tests.
set -eu

case ${1:-} in
dokuwiki) packages="dokuwiki libjs-jquery libjs-jquery-cookie libjs-jquery-ui libphp-simplepie php-geshi
    php-phpseclib php-random-compat" ;;
wordpress) packages="wordpress wordpress-theme-twentytwentythree libjs-cropper libjs-underscore php-getid3" ;;
mod-php) packages="libapache2-mod-php8.2" ;; # the peer of 59-php-values.t, unpacked and never installed
*) echo "usage: fetch-application.sh dokuwiki|wordpress|mod-php [FOLDER]" >&2; exit 64 ;;
esac
folder=${2:-$(cd "$(dirname "$0")/../.." && pwd)/build/cache}

mkdir -p "$folder"
missing=
for package in $packages; do
    found=no
    for file in "$folder/${package}"_*.deb; do
        [ -f "$file" ] && found=yes
    done
    [ "$found" = yes ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Into a folder beside it first: a download that was cut never looks like a package.
incoming=$(mktemp -d "$folder/incoming.XXXXXX")
trap 'rm -rf "$incoming"' EXIT INT TERM
cd "$incoming"
options=-q
[ "$(id -u)" = 0 ] && options="-q -o APT::Sandbox::User=root"
# shellcheck disable=SC2086
if ! apt-get $options download $missing; then
    [ "$(id -u)" = 0 ] || {
        echo "fetch-application.sh: cannot download$missing; as root run: apt-get update" >&2
        exit 1
    }
    apt-get -q update
    # shellcheck disable=SC2086
    apt-get $options download $missing
fi
for file in ./*.deb; do
    dpkg-deb --info "$file" >/dev/null
    mv "$file" "$folder/"
done
