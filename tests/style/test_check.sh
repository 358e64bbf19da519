#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The style check must be able to fail: a tree with one fault of each kind, and one without faults.
set -u
check=$(dirname "$0")/check.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# write FILE: the text of standard input behind a proper head.
write() {
    mkdir -p "$tree/$(dirname "$1")"
    { printf '/* SPDX-License-Identifier: Apache-2.0 */\n/* A file. */\n'; cat; } >"$tree/$1"
}

# expect TEXT: the check fails and one line of it has TEXT.
expect() {
    if sh "$check" "$tree" >"$tree/out" 2>&1 || ! grep -qF "$1" "$tree/out"; then
        echo "not found: $1"
        cat "$tree/out"
        failed=1
    fi
}

write base/good.c <<'C'
#include "base/good.h"

static const int good = 1;
C
if ! sh "$check" "$tree" >"$tree/out" 2>&1; then
    echo "a good tree was refused"
    cat "$tree/out"
    failed=1
fi

{ echo 'int long_one(void) {'; yes '    (void)0;' | head -n 100; echo '}'; } | write base/long.c
expect "base/long.c:3: function of 102 lines, at most 100"
yes '/* line */' | head -n 800 | write base/many.c
expect "base/many.c:801: more than 800 lines"
echo '#include "model/up.h"' | write base/up.c
expect "base/up.c:3: base may not include model"
echo '#include <histedit.h>' | write worker/door.c
expect "allowed only in cli/"
echo 'int f(char *s) { return atoi(s); }' | write model/unsafe.c
expect "forbidden function"
echo 'int x; ' | write model/blank.c
expect "model/blank.c:3: trailing blanks"
echo 'static int counter;' | write model/state.c
expect "mutable state"
echo '/* TODO: later */' | write model/todo.c
expect "no issue number"
echo 'int x;' >"$tree/base/bare.c"
expect "base/bare.c:1: no SPDX line"
if command -v clang-format-14 >/dev/null; then
    cp "$(dirname "$0")/../../.clang-format" "$tree"
    echo 'int   y ;' | write model/format.c
    expect "model/format.c:3: not formatted"
fi
exit $failed
