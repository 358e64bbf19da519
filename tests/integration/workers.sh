#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A model over several workers, from outside: the same lines, terminals and pipes, ends of every
# kind, and nothing left behind. Usage: workers.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"
command -v mpirun >/dev/null || skip "mpirun is not installed, groups of workers were not tested"
worker=$(dirname "$shoal")/shoal-worker
[ -x "$worker" ] || skip "shoal-worker was not built, groups of workers were not tested"

# Open MPI keeps memory for ever, which is not ours to report; its files go where we can count them.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" TMPDIR="$folder/tmp"
mkdir "$TMPDIR"
# A file name of our own, so that our processes are told from others'.
demo=$(cd "$(dirname "$0")/../.." && pwd)/model/demo/shoal-demo-q8_0.gguf
model=$folder/model.gguf
ln -s "$demo" "$model"
cat >"$folder/lines" <<'LINES'
{"text":"The sky is"}
{"text":"What is 27 + 58? A prompt that is long enough for several chunks of a few tokens each."}
{"ids":[1,2,3]}
LINES

# A rank that was just killed may take a moment to go.
nothing_left() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        pgrep -f "$model" >/dev/null || break
        sleep 0.25
    done
    if pgrep -af "$model" >"$folder/out"; then fail "$1: processes are left"; fi
    if [ -n "$(find "$TMPDIR" -type f -o -type s)" ]; then
        find "$TMPDIR" >"$folder/out"
        fail "$1: files are left"
    fi
}

# score STATUS ARGUMENT...: as run, with the lines as input.
score() {
    expected=$1
    shift
    "$shoal" score -m "$model" --top 2 -n 6 "$@" <"$folder/lines" >"$folder/out" 2>"$folder/err"
    status=$?
    [ "$status" -eq "$expected" ] || fail "score $*: exit status $status, expected $expected"
}

# one_error TEXT: standard error is one line, with this text.
one_error() {
    has err "$1"
    [ "$(grep -c "^shoal: error: " "$folder/err")" -eq 1 ] || fail "not one line of error: $1"
}

# ---- the same lines ----
score 0
cp "$folder/out" "$folder/expected"
[ -s "$folder/expected" ] || fail "score says nothing"
for layout in "2" "3" "4" "2 --nodes 2" "4 --nodes 2 --ep-exchange alltoall" \
    "4 --attention-groups 2 --ep-exchange gather" "3 -ub 5 -np 3"; do
    # shellcheck disable=SC2086 # options
    score 0 --workers $layout
    cmp -s "$folder/out" "$folder/expected" || fail "other lines with --workers $layout"
    [ ! -s "$folder/err" ] || fail "something is said with --workers $layout"
done
nothing_left "score"

# Under an mpirun of somebody else's.
root=$([ "$(id -u)" -eq 0 ] && echo --allow-run-as-root)
# shellcheck disable=SC2086 # an option or none
mpirun $root -n 2 --oversubscribe --bind-to none "$worker" --standalone score -m "$model" \
    --top 2 -n 6 <"$folder/lines" >"$folder/out" 2>"$folder/err" || fail "mpirun shoal-worker"
cmp -s "$folder/out" "$folder/expected" || fail "other lines under mpirun"

# What is started can be seen; it is not started.
run 0 score --workers 3 --launcher none --mpirun-args "--mca x y"
has out "mpirun -n 3 "
has out " --mca x y $worker --standalone score --workers 3"

# ---- pipes ----
run 0 run -m "$model" -p "What is 27 + 58?" --temp 0 -n 40
cp "$folder/out" "$folder/answer"
run 0 run --workers 2 -m "$model" -p "What is 27 + 58?" --temp 0 -n 40
cmp -s "$folder/out" "$folder/answer" || fail "another answer of two workers"
# Nobody reads any more.
"$shoal" run --workers 2 -m "$model" -p "Count." --temp 0 -n 400 2>/dev/null | head -c 1 >/dev/null
# A reader that takes its time: longer than any rank waits for the next step without being told.
{ cat "$folder/lines"; sleep 5; cat "$folder/lines"; } |
    "$shoal" score --workers 2 -m "$model" --top 2 -n 6 >"$folder/out" 2>"$folder/err" ||
    fail "lines with a pause"
cat "$folder/expected" "$folder/expected" | cmp -s - "$folder/out" || fail "other lines after a pause"
nothing_left "pipes"

# ---- mistakes, told once ----
run 4 score --workers 2 -m "$folder/missing.gguf"
one_error "missing.gguf: No such file or directory"
run 2 score --workers 2 --hostfile "$folder/missing"
one_error "--hostfile: "
echo "# nobody" >"$folder/hosts"
run 2 score --hostfile "$folder/hosts"
one_error "it names no host"
run 2 score --workers 2 --nodes 3
one_error "3 nodes of 2 ranks"
run 2 score --workers 2 --no-such
one_error "unknown option"
run 2 score --workers 2 --dump "$folder/dump"
one_error "not of a group"
run 2 bench kernel --workers 2
one_error "takes no --workers"
PATH=/nowhere run 6 score --workers 2
one_error "mpirun: No such file or directory"
run 6 score --workers 3 --fault load:2:error
one_error "an error on purpose at rank 2"
ln -s "$shoal" "$folder/alone"
mkdir "$folder/elsewhere" && cp "$shoal" "$folder/elsewhere/shoal"
"$folder/elsewhere/shoal" score --workers 2 </dev/null >"$folder/out" 2>"$folder/err"
[ $? -eq 6 ] || fail "shoal without shoal-worker"
one_error "need the program shoal-worker"

# ---- lost ranks ----
for fault in load:1:kill exchange/1:2:kill step/1:0:kill step/0:1:error; do
    score 8 --workers 3 --fault "$fault"
    one_error "phase ${fault%%[/:]*}, layer"
    nothing_left "$fault"
done

# ---- signals to the launcher ----
mkfifo "$folder/input"
for signal in INT TERM KILL; do
    "$shoal" score --workers 2 -m "$model" <"$folder/input" >"$folder/out" 2>"$folder/err" &
    launcher=$!
    exec 9>"$folder/input"
    echo '{"ids":[1,2,3]}' >&9
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -s "$folder/out" ] && break
        sleep 0.25
    done
    [ -s "$folder/out" ] || fail "no line before SIG$signal"
    kill -s "$signal" "$launcher"
    wait "$launcher"
    status=$?
    exec 9>&-
    case $signal in INT) expected=130 ;; TERM) expected=143 ;; KILL) expected=137 ;; esac
    [ "$status" -eq "$expected" ] || fail "SIG$signal: exit status $status"
    [ "$signal" = KILL ] || [ ! -s "$folder/err" ] || fail "SIG$signal: something is said"
    nothing_left "SIG$signal"
done
rm "$folder/input"

# ---- the chat in a terminal ----
SHOAL_WORKERS=2 sh "$(dirname "$0")/chat.sh" "$shoal" >"$folder/out" 2>&1
status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 77 ] || fail "the chat with two workers"
exit "$n_failed"
