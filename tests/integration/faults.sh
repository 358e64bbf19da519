#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A rank is killed, stopped, or made to fail in every phase: the whole group ends with one line that
# names rank, phase and layer, and leaves no process, shared memory or file. Usage: faults.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"
command -v mpirun >/dev/null || skip "mpirun is not installed, lost ranks were not tested"
worker=$(dirname "$shoal")/shoal-worker
[ -x "$worker" ] || skip "shoal-worker was not built, lost ranks were not tested"

# Open MPI keeps memory for ever, which is not ours to report; its files go where we can count them.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" TMPDIR="$folder/tmp"
mkdir "$TMPDIR"
# A file name of our own, so that our processes are told from others'.
model=$folder/model.gguf
ln -s "$(cd "$(dirname "$0")/../.." && pwd)/model/demo/shoal-demo-q8_0.gguf" "$model"
echo '{"text":"The sky is"}' >"$folder/lines"
WAIT=60 # seconds; a group that hangs ends by this, and fails

nothing_left() {
    for _ in 1 2 3 4 5 6 7 8; do
        pgrep -f "$model" >/dev/null || break
        sleep 0.25 # who was just killed may take a moment to go
    done
    if pgrep -af "$model" >"$folder/out"; then fail "$1: processes are left"; fi
    if [ -n "$(find "$TMPDIR" -type f -o -type s)" ]; then
        find "$TMPDIR" >"$folder/out"
        fail "$1: files are left"
    fi
    # Others may work on this machine: only names that ours could have.
    find /dev/shm -newer "$folder/lines" -user "$(id -un)" \
        \( -name '*shoal*' -o -name '*vader*' -o -name '*.[0-9]' \) >"$folder/out"
    [ ! -s "$folder/out" ] || fail "$1: shared memory is left"
}

# ends NAME TEXT: what `timeout` ran has ended by itself, with one line that has these texts.
ends() {
    name=$1
    shift
    [ "$status" -ne 124 ] || fail "$name: still running after $WAIT s"
    [ "$status" -ne 0 ] || fail "$name: exit status 0"
    [ "$(grep -c '^shoal: error: ' "$folder/err")" -eq 1 ] || fail "$name: not one line"
    for text; do has err "$text"; done
    nothing_left "$name"
}

# lose PHASE LAYER RANK ACTION ARGUMENT...: the program itself, which shows nothing but its line.
lose() {
    phase=$1 layer=$2 rank=$3 action=$4
    shift 4
    fault=$phase/$layer:$rank:$action
    begin=$(date +%s%N)
    timeout -k 5 "$WAIT" "$shoal" score -m "$model" -n 100 -t 1 --fault "$fault" "$@" \
        <"$folder/lines" >"$folder/out" 2>"$folder/err"
    status=$?
    echo "$fault $*: $((($(date +%s%N) - begin) / 1000000)) ms"
    [ "$(wc -l <"$folder/err")" -eq 1 ] || fail "$fault $*: more than a line"
}

# ---- one node: phase and layer as they were ----
for rank in 0 1; do
    for action in kill stop error; do
        for place in "self-test 0" "load 0" "step 2" "exchange 2"; do
            # shellcheck disable=SC2086 # two words
            lose $place "$rank" "$action" --workers 3
            ends "$fault" "rank $rank" "phase $phase, layer $layer"
        done
    done
done

# ---- several nodes: the phase in which the others miss a rank of another node ----
for action in kill stop error; do
    lose load 0 2 "$action" --workers 4 --nodes 2
    ends "$fault" "rank 2" "phase load, layer 0"
    lose step 1 2 "$action" --workers 4 --nodes 2
    ends "$fault" "rank 2" "phase " ", layer "
    lose exchange 1 0 "$action" --workers 4 --nodes 2
    ends "$fault" "rank 0" "phase " ", layer "
done

# ---- mpirun by hand, which adds its own words ----
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for fault in exchange/2:1:kill exchange/2:0:kill; do
    timeout -k 5 "$WAIT" mpirun -n 2 --oversubscribe --bind-to none "$worker" --standalone score \
        -m "$model" -n 100 -t 1 --fault "$fault" <"$folder/lines" >"$folder/out" 2>"$folder/err"
    status=$?
    ends "mpirun, $fault" "was killed or crashed: phase exchange, layer 2, step "
done

echo "$n_failed failed"
exit "$n_failed"
