#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Groups over MPI: ranks on real and pretended nodes, values, lost ranks, and what is left behind.
# Usage: mpi_ranks.sh MPI_RANKS_PROGRAM
set -u
program=$1
command -v mpirun >/dev/null || {
    echo "skipped: mpirun is not installed"
    exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# Open MPI's own files go where nobody else's are, so that we see what is left of them. Its segments
# of shared memory are counted as well.
export TMPDIR="$dir/tmp" OMPI_MCA_btl_vader_backing_directory="$dir/shm"
# Open MPI does not give everything back at its end.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir "$TMPDIR" "$dir/shm"

# ranks N NODES CASE...: output in $dir/out; prints the exit status.
ranks() {
    n=$1
    shift
    timeout 120 mpirun -n "$n" --oversubscribe --bind-to none "$program" "$@" >"$dir/out" 2>&1
    echo $?
}

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$dir/out"
    failed=1
}

nothing_left() {
    if pgrep -f "$program $1" >/dev/null; then
        fail "$2: a process is left"
    fi
    if [ -n "$(ls -A "$dir/tmp" "$dir/shm" | grep -v -e ':$' -e '^$')" ]; then
        ls -AR "$dir/tmp" "$dir/shm" >"$dir/out"
        fail "$2: files are left"
    fi
}

for shape in "1 0" "2 0" "2 2" "3 2" "4 0" "4 2" "4 4"; do
    n=${shape% *} nodes=${shape#* }
    rc=$(ranks "$n" "$nodes" values)
    expected_nodes=$nodes
    [ "$nodes" = 0 ] && expected_nodes=1
    if [ "$rc" != 0 ] || ! grep -q "^ok: $n ranks, $expected_nodes nodes" "$dir/out"; then
        fail "values on $n ranks, $nodes nodes: status $rc"
    fi
done
nothing_left "" "values"

for shape in "2 0" "4 2"; do
    rc=$(ranks ${shape% *} ${shape#* } links)
    if [ "$rc" != 0 ] || ! grep -q "^sum 0-" "$dir/out"; then
        fail "links of ranks and nodes $shape: status $rc"
    fi
done

rc=$(ranks 2 2 truncated)
[ "$rc" = 0 ] || fail "a message that is too long: status $rc"

rc=$(ranks 4 2 silent short)
[ "$rc" = 0 ] || fail "a silent rank: status $rc"

begin=$(date +%s)
rc=$(ranks 4 2 killed)
took=$(($(date +%s) - begin))
[ "$rc" != 0 ] || fail "a killed rank: status 0"
[ "$took" -le 15 ] || fail "a killed rank: the job ended after $took s"
nothing_left "2 killed" "a killed rank"

rc=$(ranks 2 3 values)
if [ "$rc" = 0 ] || ! grep -q "3 nodes of 2 ranks" "$dir/out"; then
    fail "three nodes of two ranks: status $rc"
fi
exit $failed
