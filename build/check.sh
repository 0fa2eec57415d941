#!/bin/sh
# check.sh - from nothing to tested: installs what is missing, builds without a warning, runs every
# test, also with sanitizers. Its last line is "N passed, N failed". Works as root on a bare Debian 12.
set -eu
cd "$(dirname "$0")/.."

sh build/deps.sh test
jobs=$(nproc)

say() { printf '== %s\n' "$*"; }
fail() {
    printf 'check.sh: %s\n0 passed, 1 failed\n' "$1"
    exit 1
}

say "build"
[ -f build/config.mk ] || ./configure || fail "configure failed"
make -s -j"$jobs" WERROR=1 all unit || fail "the build failed, or it warned"

say "build with sanitizers"
mkdir -p build/asan
sed 's/^ASAN = .*/ASAN = yes/' build/config.mk >build/asan/config.mk.new
if cmp -s build/asan/config.mk.new build/asan/config.mk; then
    rm build/asan/config.mk.new
else
    mv build/asan/config.mk.new build/asan/config.mk
fi
make -s -j"$jobs" WERROR=1 BUILD=build/asan all unit || fail "the sanitizer build failed, or it warned"

say "tests"
exec perl t/run "$@"
