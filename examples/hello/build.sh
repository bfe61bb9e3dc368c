#!/bin/sh
# Builds host and guest with the installed library, which pkg-config finds, into the current folder:
#   PKG_CONFIG_PATH=/opt/hyperlight/lib/pkgconfig sh build.sh
set -eu
here=$(dirname "$0")
# The flags are words.
# shellcheck disable=SC2046
gcc -Wall -Wextra -O2 "$here/host.c" $(pkg-config --cflags --libs hyperlight) -o host
# shellcheck disable=SC2046
gcc -Wall -Wextra -O2 -static "$here/guest.c" $(pkg-config --cflags --libs --static hyperlight-guest) -o guest
if command -v musl-gcc >/dev/null; then
    # shellcheck disable=SC2046
    musl-gcc -Wall -Wextra -O2 -static "$here/guest.c" $(pkg-config --cflags --libs --static hyperlight-guest) -o guest.musl
fi
