#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A worker group over several machines. The machines are network namespaces of this one, each with a
# host name and an address of its own, on a bridge that stands in a namespace too, so that nothing of
# the machine's own network is touched:
#
#     a 10.213.x.1 --veth--+             +--veth-- b 10.213.x.2
#                          +-- bridge ---+
#
# mpirun runs in a and reaches b by its launch agent. Usage: hosts.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"
command -v mpirun >/dev/null || skip "mpirun is not installed, groups over machines were not tested"
worker=$(dirname "$shoal")/shoal-worker
[ -x "$worker" ] || skip "shoal-worker was not built, groups over machines were not tested"
[ "$(id -u)" -eq 0 ] || skip "only root makes network namespaces, groups over machines were not tested"
shoal=$(cd "$(dirname "$shoal")" && pwd)/$(basename "$shoal")

job=shoal-$$
net=10.213.$(($$ % 250))
# shellcheck disable=SC2317 # called by the trap
close_net() {
    for name in a b hub; do
        ip netns pids "$job-$name" 2>/dev/null | xargs -r kill -9
        ip netns del "$job-$name" 2>/dev/null
    done
    rm -rf "$folder"
}
trap close_net EXIT

# machine NAME NUMBER: a namespace with one cable to the bridge.
machine() {
    ip netns add "$job-$1" && ip -n "$job-$1" link set lo up &&
        ip -n "$job-$1" link add eth0 type veth peer name "to-$1" netns "$job-hub" &&
        ip -n "$job-$1" addr add "$net.$2/24" dev eth0 && ip -n "$job-$1" link set eth0 up &&
        ip -n "$job-hub" link set "to-$1" master bridge up
}
{ ip netns add "$job-hub" && ip -n "$job-hub" link add bridge type bridge &&
    ip -n "$job-hub" link set bridge up && machine a 1 && machine b 2; } >"$folder/out" 2>&1 ||
    skip "this machine makes no network namespaces: $(tail -n 1 "$folder/out")"

# on NAME COMMAND...: as if typed there.
cat >"$folder/on" <<ON
#!/bin/sh
name=\$1
shift
exec ip netns exec $job-\$name unshare --uts sh -c 'hostname "\$0"; exec "\$@"' \$name "\$@"
ON
# mpirun calls it as it would ssh: ADDRESS COMMAND, one word for a shell.
cat >"$folder/agent" <<AGENT
#!/bin/sh
case \$1 in $net.1) name=a ;; $net.2) name=b ;; esac
shift
exec "$folder/on" \$name sh -c "\$*"
AGENT
chmod +x "$folder/on" "$folder/agent"
"$folder/on" a true 2>"$folder/err" || skip "unshare: $(cat "$folder/err")"

export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" TMPDIR="$folder/tmp"
mkdir "$TMPDIR"
demo=$(cd "$(dirname "$0")/../.." && pwd)/model/demo/shoal-demo-q8_0.gguf
model=$folder/model.gguf
ln -s "$demo" "$model"
printf '%s\n' '{"text":"The sky is"}' '{"ids":[1,2,3]}' >"$folder/lines"
printf '%s slots=2\n' "$net.1" "$net.2" >"$folder/here"
printf '%s slots=2\n' "$net.2" >"$folder/there"
agent="--mca plm_rsh_agent $folder/agent --mca orte_keep_fqdn_hostnames 1"

# score HOSTFILE ARGUMENT...: on a.
score() {
    hostfile=$1
    shift
    timeout 100 "$folder/on" a "$shoal" score -m "$model" --hostfile "$hostfile" \
        --mpirun-args "$agent" --top 2 -n 4 "$@" <"$folder/lines" >"$folder/out" 2>"$folder/err"
    status=$?
}

same() {
    [ "$status" -eq 0 ] || fail "$1: exit status $status"
    cmp -s "$folder/out" "$folder/expected" || fail "$1: other lines"
}

"$shoal" score -m "$model" --top 2 -n 4 <"$folder/lines" >"$folder/expected" 2>"$folder/err"
[ -s "$folder/expected" ] || fail "score says nothing"

score "$folder/here" --workers 4 -v
same "four workers on two machines"
has err "4 ranks on 2 nodes"
has err "by messages"
score "$folder/here" --workers 4 --ep-exchange alltoall
same "alltoall"
score "$folder/here" --workers 3
same "three workers on two machines"

# Rank 0 is on the other machine: mpirun's own streams.
score "$folder/there" --workers 2
same "all workers on the other machine"

# A slow cable.
if ip netns exec "$job-a" tc qdisc add dev eth0 root tbf rate 50mbit burst 32k latency 50ms \
    2>"$folder/err"; then
    score "$folder/here" --workers 4 -v
    same "a slow cable"
    # Short messages slip through in a burst; those of many rows do not (0.6 ms without a limit).
    sed -n 's/.* rows \([0-9]*\) us (.*/\1/p' "$folder/err" | awk '{ exit $1 < 10000 }' ||
        fail "the choice of the exchange does not see 50 Mbit/s"
    ip netns exec "$job-a" tc qdisc del dev eth0 root
else
    echo "skipped: no token bucket filter in this kernel, a slow cable was not tested"
fi

# A lost rank on the other machine, and a machine that is cut off.
score "$folder/here" --workers 4 --fault exchange/1:2:kill
[ "$status" -eq 8 ] || fail "a rank killed on the other machine: exit status $status"
has err "rank 2 (host b, "
has err "phase exchange, layer 1"
mkfifo "$folder/input"
timeout 100 "$folder/on" a "$shoal" score -m "$model" --hostfile "$folder/here" --workers 4 \
    --mpirun-args "$agent" <"$folder/input" >"$folder/out" 2>"$folder/err" &
exec 9>"$folder/input"
head -n 1 "$folder/lines" >&9
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -s "$folder/out" ] && break
    sleep 0.5
done
[ -s "$folder/out" ] || fail "no line before the cable is cut"
ip -n "$job-hub" link set to-b down
wait $!
status=$?
exec 9>&-
[ "$status" -eq 8 ] || fail "a cut cable: exit status $status"
has err "(host b, "
has err "cut off"
[ "$(grep -c '^shoal: error: ' "$folder/err")" -eq 1 ] || fail "a cut cable: not one line"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    pgrep -f "$model" >/dev/null || break
    sleep 0.25
done
if pgrep -af "$model" >"$folder/out"; then fail "processes are left"; fi
exit "$n_failed"
