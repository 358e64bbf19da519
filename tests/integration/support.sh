# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034 # the tests use the variables
# For the shell tests of the program: sourced with the program's path in $1. Each check counts; the
# test ends with the number of failed ones. A test that cannot run ends with 77 and says why.
shoal=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_STATE_HOME="$folder/state" XDG_CONFIG_HOME="$folder/config" TERM=dumb
unset SHOAL_MODEL NO_COLOR CLICOLOR_FORCE FORCE_COLOR
n_failed=0

skip() {
    echo "skipped: $1"
    exit 77
}

fail() {
    echo "failed: $1"
    sed 's/^/    out: /' "$folder/out"
    sed 's/^/    err: /' "$folder/err"
    n_failed=$((n_failed + 1))
}

# run STATUS ARGUMENT...: standard output and error go to $folder/out and /err.
run() {
    expected=$1
    shift
    "$shoal" "$@" </dev/null >"$folder/out" 2>"$folder/err"
    status=$?
    [ "$status" -eq "$expected" ] || fail "shoal $*: exit status $status, expected $expected"
}

# has FILE TEXT, lacks FILE TEXT: FILE is out or err.
has() { grep -qF -- "$2" "$folder/$1" || fail "no '$2' in standard $1"; }
lacks() { ! grep -qF -- "$2" "$folder/$1" || fail "'$2' in standard $1"; }
