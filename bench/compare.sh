#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2317 # the trap calls what looks unreachable
# Our speed beside a peer's, on this machine, in turns: each round runs both programs on the same
# file with the same tests, and the next round swaps who begins. The speed of a shared machine
# drifts within minutes, so only runs that stand next to each other are compared: the ratio is the
# median of the ratios of the rounds, and the read bandwidth is that of our run of the same round.
set -u

usage() {
    cat <<'TEXT'
usage: sh bench/compare.sh --peer PROGRAM [options] FILE... [-- PEER_FLAG...]

Runs `shoal bench model` and the peer's bench program in turns on each GGUF file and prints a table
in Markdown. The peer must understand -m FILE -p LIST -n LIST -t N -r N -o json, as llama-bench does;
what stands after -- is given to it in every run.

  --peer PROGRAM     bench program to compare with
  --shoal PROGRAM    ours; default build/release/cli/shoal beside this script
  --rounds N         rounds of one run each, in turns; default 5
  --threads LIST     thread counts; default 1,2
  --prompts LIST     prompt lengths; default 512,2048; 0: none
  --gen LIST         tokens to generate; default 64; 0: none
  --repetitions N    repetitions inside a run, after its warm-up; default 1
  --keep FOLDER      keep the JSON of every run there, numbered by round
  --help             this text

example:
  sh bench/compare.sh --peer ~/ik_llama.cpp/build/bin/llama-bench model.gguf -- -rtr 1 -fa 1 -fmoe 1
TEXT
}

wrong() {
    echo "compare.sh: $1" >&2
    echo "see sh bench/compare.sh --help" >&2
    exit 2
}

# A list of counts: digits and commas.
check_list() {
    case $2 in
    '' | *[!0-9,]* | ,* | *, | *,,*) wrong "$1: '$2' is not a list of counts such as 1,2" ;;
    esac
}

check_count() {
    case $2 in
    '' | *[!0-9]* | 0*) wrong "$1: '$2' is not a count of at least 1" ;;
    esac
}

# run_one WHO COMMAND...: the rows of one run, as "ours|peer file threads round test tokens/s
# bytes/token read-bytes/s", appended to the samples. Both programs print an array of flat objects.
run_one() {
    who=$1
    shift
    if ! "$@" >"$work/json" 2>"$work/err"; then
        echo "compare.sh: this run failed:" >&2
        echo "    $*" >&2
        tail -n 5 "$work/err" | sed 's/^/    /' >&2
        echo "run it by hand to see why; the file is left out of the rest" >&2
        return 1
    fi
    [ -z "$keep" ] || cp "$work/json" "$keep/file$n_file-t$n_threads-round$round-$who.json" || exit 1
    awk -v who="$who" -v at="$n_file $n_threads $round" '
        BEGIN { RS = "}" } # one object is one record
        function number(key) {
            if (!match($0, "\"" key "\": *[-+0-9.eE]+"))
                return 0
            text = substr($0, RSTART, RLENGTH)
            sub(/^.*: */, "", text)
            return text + 0
        }
        /"avg_ts"/ {
            prompt = number("n_prompt")
            gen = number("n_gen")
            test = (prompt ? "pp" prompt : "") (prompt && gen ? "+" : "") (gen ? "tg" gen : "")
            print who, at, test, number("avg_ts"), number("bytes_per_token"),
                number("read_bytes_per_s")
        }' "$work/json" >"$work/rows"
    if [ ! -s "$work/rows" ]; then
        echo "compare.sh: no result in the output of $1; it must print JSON with -o json" >&2
        return 1
    fi
    cat "$work/rows" >>"$work/samples"
}

# One row per file, threads and test. Medians over the rounds; the ratio with its range.
print_table() {
    awk '
        function median(list, n,    i, j, x) {
            for (i = 2; i <= n; i++) {
                x = list[i]
                for (j = i; j > 1 && list[j - 1] > x; j--)
                    list[j] = list[j - 1]
                list[j] = x
            }
            return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
        }
        FILENAME ~ /files$/ { name[++n_files] = $0; sub(/^.*\//, "", name[n_files]); next }
        {
            row = $2 " " $3 " " $5
            if (!(row in seen)) {
                seen[row] = 1
                order[++n_rows] = row
            }
            speed[$1, row, $4] = $6
            if ($1 == "ours") {
                bytes[row, $4] = $7
                reading[row, $4] = $8
            }
            if ($4 > n_rounds)
                n_rounds = $4
        }
        END {
            print "| file | threads | test | ours t/s | peer t/s | ours / peer (range) |" \
                " read GB/s | MB/token | ours reached | peer reached |"
            print "| --- | ---: | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
            for (r = 1; r <= n_rows; r++) {
                row = order[r]
                n = 0
                for (round = 1; round <= n_rounds; round++) {
                    if (!(("ours", row, round) in speed) || !(("peer", row, round) in speed))
                        continue
                    n++
                    ours[n] = speed["ours", row, round]
                    peer[n] = speed["peer", row, round]
                    ratio[n] = peer[n] > 0 ? ours[n] / peer[n] : 0
                    mb[n] = bytes[row, round] / 1e6
                    gbs[n] = reading[row, round] / 1e9
                    our_share[n] = gbs[n] > 0 ? ours[n] * mb[n] / 1e3 / gbs[n] : 0
                    peer_share[n] = gbs[n] > 0 ? peer[n] * mb[n] / 1e3 / gbs[n] : 0
                }
                if (n == 0)
                    continue
                split(row, part, " ")
                middle = median(ratio, n) # and now it is sorted
                printf "| %s | %d | %s | %.2f | %.2f | %.2f (%.2f to %.2f) | %.1f | %.1f",
                    name[part[1]], part[2], part[3], median(ours, n), median(peer, n), middle,
                    ratio[1], ratio[n], median(gbs, n), median(mb, n)
                if (part[3] ~ /^tg/) # prompts are bound by arithmetic, not by reading
                    printf " | %.2f | %.2f |\n", median(our_share, n), median(peer_share, n)
                else
                    print " | - | - |"
            }
        }' "$work/files" "$work/samples"
}

# What was measured is shown even if the rest was interrupted.
finish() {
    [ ! -s "$work/samples" ] || print_table
    rm -rf "$work"
}

# compare_file PEER_FLAG...: all rounds of $file; 1 if a run of either program failed.
compare_file() {
    for n_threads in $(echo "$threads" | tr , ' '); do
        round=1
        while [ "$round" -le "$rounds" ]; do
            echo "file $n_file of $n_files, threads $n_threads, round $round of $rounds" >&2
            order='ours peer'
            [ $((round % 2)) -eq 1 ] || order='peer ours'
            for turn in $order; do
                if [ "$turn" = ours ]; then
                    run_one ours "$shoal" bench model "$file" -p "$prompts" -n "$gen" \
                        -t "$n_threads" -r "$repetitions" --quiet -o json || return 1
                else
                    run_one peer "$peer" -m "$file" -p "$prompts" -n "$gen" \
                        -t "$n_threads" -r "$repetitions" "$@" -o json || return 1
                fi
            done
            round=$((round + 1))
        done
    done
}

peer='' keep=''
shoal=$(dirname "$0")/../build/release/cli/shoal
rounds=5 threads=1,2 prompts=512,2048 gen=64 repetitions=1
work=$(mktemp -d) || exit 1
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --*=*) wrong "$1: write a blank instead of '='" ;;
    --peer | --shoal | --rounds | --threads | --prompts | --gen | --repetitions | --keep)
        [ $# -ge 2 ] || wrong "$1 needs a value"
        case $1 in
        --peer) peer=$2 ;;
        --shoal) shoal=$2 ;;
        --rounds) rounds=$2 ;;
        --threads) threads=$2 ;;
        --prompts) prompts=$2 ;;
        --gen) gen=$2 ;;
        --repetitions) repetitions=$2 ;;
        --keep) keep=$2 ;;
        esac
        shift
        ;;
    -*) wrong "unknown option $1 (flags of the peer stand behind --)" ;;
    *)
        [ -r "$1" ] || wrong "$1: no such file (shoal synth writes one)"
        printf '%s\n' "$1" >>"$work/files"
        ;;
    esac
    shift
done
[ "${1:-}" = -- ] && shift # what is left is the peer's

[ -n "$peer" ] || wrong "--peer is missing: which program to compare with?"
[ -f "$work/files" ] || wrong "no model file was given"
check_count --rounds "$rounds"
check_count --repetitions "$repetitions"
check_list --threads "$threads"
check_list --prompts "$prompts"
check_list --gen "$gen"
command -v "$peer" >"$work/path" || wrong "$peer: not a program that can be run"
command -v "$shoal" >"$work/path" ||
    wrong "$shoal: not built; run cmake --preset release && cmake --build --preset release, or give --shoal"
if [ -n "$keep" ]; then
    mkdir -p "$keep" || exit 1
fi

n_files=$(wc -l <"$work/files")
n_file=0
failed=0
while IFS= read -r file <&3; do
    n_file=$((n_file + 1))
    compare_file "$@" || failed=1
done 3<"$work/files"
exit "$failed"
