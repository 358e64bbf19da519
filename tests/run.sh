#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every check of the project, in the order in which failures are cheapest to read:
#
#     style and unit tests, release build with -Werror
#     unit tests and mutants of foreign bytes, AddressSanitizer and UBSan
#     threads, ThreadSanitizer
#     fuzz targets, clang and libFuzzer
#
# About 15 minutes on two cores with the builds; their trees stay in build/, so that a second run
# compiles nothing. The last line is "N passed, N failed, N skipped". Usage: sh tests/run.sh
set -u
cd "$(dirname "$0")/.." || exit 2

MUTANTS=100000    # per mutants test, under the sanitizers
FUZZ_SECONDS=45   # per fuzz target
jobs=$(nproc)
logs=build/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $1 (log: $2)"
    tail -n 25 "$2" | sed 's/^/    /'
}
stage() { echo "== $(date +%H:%M:%S) $1"; }

# build PRESET TARGET...: configured once, then whatever changed; all warnings are errors.
build() {
    preset=$1
    shift
    log=$logs/build-$preset.log
    {
        if [ ! -f "build/$preset/build.ninja" ] ||
            ! grep -q '^SHOAL_WERROR:BOOL=ON' "build/$preset/CMakeCache.txt"; then
            cmake --preset "$preset" -DSHOAL_WERROR=ON
        fi && ninja -C "build/$preset" "$@"
    } >"$log" 2>&1 && return 0
    fail "build of $preset" "$log"
    return 1
}

# attribute NAME FILE: a number in the first element of a JUnit report.
attribute() { sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }

# ctests PRESET CTEST_OPTION...: runs tests and adds their numbers to ours.
ctests() {
    preset=$1
    shift
    log=$logs/ctest-$preset.log report=$PWD/$logs/ctest-$preset.xml
    rm -f "$report"
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error \
        --output-junit "$report" "$@" >"$log" 2>&1
    if [ ! -s "$report" ]; then
        fail "ctest in $preset" "$log"
        return
    fi
    n_failed=$(attribute failures "$report")
    # A test says why it, or a case in it, did not run; ctest keeps the text in the report.
    n_not_run=$(($(attribute skipped "$report") + $(attribute disabled "$report")))
    reasons=$(grep -oE '(^|>)skipped: [^<]*' "$report" | sed 's/^>//')
    n_reasons=0
    if [ -n "$reasons" ]; then
        echo "$reasons"
        n_reasons=$(echo "$reasons" | wc -l)
    fi
    passed=$((passed + $(attribute tests "$report") - n_failed - n_not_run))
    skipped=$((skipped + (n_reasons > n_not_run ? n_reasons : n_not_run)))
    if [ "$n_failed" -gt 0 ]; then
        failed=$((failed + n_failed - 1))
        sed -n '/tests failed out of/,$p' "$log"
        fail "ctest in $preset" "$log"
    fi
}

# one NAME COMMAND...: a program that is one test.
one() {
    log=$logs/$1.log
    shift
    if "$@" >"$log" 2>&1; then pass; else fail "$*" "$log"; fi
}

fuzz_one() {
    target=$1 name=${1##*/fuzz_}
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    "$target" -max_total_time="$FUZZ_SECONDS" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$logs/fuzz-$name-" "$corpus" "tests/data/fuzz/$name" \
        >"$logs/fuzz-$name.log" 2>&1
}

# Two at a time: libFuzzer uses one core.
fuzz_all() {
    set -- build/fuzz/tests/fuzz/fuzz_*
    while [ $# -gt 0 ]; do
        fuzz_one "$1" &
        first=$! second_target=${2:-}
        if [ -n "$second_target" ]; then
            fuzz_one "$second_target" &
            second=$!
        fi
        if wait "$first"; then pass; else fail "$1" "$logs/fuzz-${1##*/fuzz_}.log"; fi
        if [ -n "$second_target" ]; then
            if wait "$second"; then pass; else
                fail "$second_target" "$logs/fuzz-${second_target##*/fuzz_}.log"
            fi
            shift
        fi
        shift
    done
}

sh deploy/install-packages.sh build test || exit 1

stage "release: all tests"
build release all && ctests release

stage "address and undefined behaviour: unit tests, then $MUTANTS mutants each"
if build asan all; then
    ctests asan -LE 'style|slow'
    for test in build/asan/tests/test_*_mutants; do
        one "${test##*/}" "$test" "$MUTANTS"
    done
fi

stage "threads"
threads="base_thread_pool worker_engine worker_group worker_window worker_linkbench worker_link
    worker_exchange_sums worker_exchange_experts worker_exchange_messages cli_conversation"
# shellcheck disable=SC2046,SC2086 # one word per test
if build tsan $(printf 'test_%s ' $threads); then
    # Randomised addresses of newer kernels collide with the shadow memory of gcc 12's runtime.
    as_is="env"
    setarch -R true 2>/dev/null && as_is="setarch -R"
    for test in $threads; do
        # shellcheck disable=SC2086 # a command and its option
        one "tsan-$test" $as_is "build/tsan/tests/test_$test"
    done
fi

stage "fuzz targets, $FUZZ_SECONDS s each"
build fuzz all && fuzz_all

stage "done"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
