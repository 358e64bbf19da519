#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages of one or more groups of packages.txt, only those that are missing.
# Usage: sh deploy/install-packages.sh build [test]
set -eu
here=$(dirname "$0")
[ $# -gt 0 ] || {
    echo "usage: sh $0 GROUP...; groups: build test" >&2
    exit 2
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for group in "$@"; do
    packages=$(sed -n "s/^$group //p" "$here/packages.txt")
    [ -n "$packages" ] || {
        echo "$0: unknown group '$group'" >&2
        exit 2
    }
    command -v dpkg-query >/dev/null || {
        printf '%s: this is no Debian system; needed are the equivalents of:\n%s\n' \
            "$0" "$packages" >&2
        exit 1
    }
    for package in $packages; do
        is_installed "$package" || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo env"
else
    echo "$0: packages are missing and neither root nor sudo is at hand; please run:" >&2
    echo "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing with apt-get:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # one word per package
$as_root DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
