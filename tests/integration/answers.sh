#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One answer of the demonstration model: what goes to which stream, where prompts come from, and
# that the same seed gives the same answer. Usage: answers.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"

run 0 run -p "What is 27 + 58?" --temp 0 --reasoning on
has out "85"
lacks out "Thinking"
lacks out "think>"
lacks err "tokens/s"
cp "$folder/out" "$folder/answer"

# A pipe may ask for the thoughts, a terminal may do without.
run 0 run -p "What is 27 + 58?" --temp 0 --reasoning on --show-reasoning on
has out "Thinking:"
has out "Answer:"
has out "85"

# The prompt by every road gives the same answer.
same() { cmp -s "$folder/out" "$folder/answer" || fail "another answer $1"; }
run 0 run --temp=0 --reasoning=on --prompt="What is 27 + 58?" --verbose
same "with --verbose"
has err "tokens/s"
echo "What is 27 + 58?" >"$folder/prompt"
run 0 run -f "$folder/prompt" --temp 0 --reasoning on
same "from a file"
"$shoal" run --temp 0 --reasoning on <"$folder/prompt" >"$folder/out" 2>"$folder/err"
same "from standard input"
"$shoal" run -f - --temp 0 --reasoning on <"$folder/prompt" >"$folder/out" 2>"$folder/err"
same "from -f -"
demo=$(dirname "$0")/../../model/demo/shoal-demo-q8_0.gguf
run 0 run "$demo" What is 27 + "58?" --temp 0 --reasoning on
same "from operands"
run 0 run -p "What is 27 + 58?" --temp 0 --reasoning on -ub 3 -t 1
same "in chunks of three tokens"

# Seeds.
run 0 run -p "Tell me a story about a fox." --seed 5 --temp 1
cp "$folder/out" "$folder/answer"
run 0 run -p "Tell me a story about a fox." --seed 5 --temp 1
same "with the same seed"
run 0 run -p "Tell me a story about a fox." --seed 6 --temp 1
! cmp -s "$folder/out" "$folder/answer" || fail "another seed, the same answer"

# Limits.
run 0 run -p "Count from 1 to 9." -n 1 --temp 0 -v
has err "answer 1 tokens"
has err "stopped at --predict"
run 1 run -p "Count from 1 to 9." -c 5
has err "the context holds 5"

# Ctrl-C ends an answer that would not end by itself (its end tokens are made impossible).
ids=$(echo '{"text":"<|im_end|><|endoftext|>","parse_special":true}' |
    "$shoal" tokenize | sed 's/[^0-9,]//g; s/,/ /')
# shellcheck disable=SC2046,SC2086 # two ids
"$shoal" run -p "Tell me a story about a fox." --kernels ref --reasoning off \
    $(printf -- '--logit-bias %s-100 ' $ids) </dev/null >"$folder/out" 2>"$folder/err" &
pid=$!
n=0
until [ -s "$folder/out" ] || [ $n -eq 600 ]; do
    n=$((n + 1))
    sleep 0.1
done
kill -INT "$pid"
wait "$pid"
status=$?
[ "$status" -eq 130 ] || fail "interrupted: exit status $status, expected 130"

# A reader that leaves ends the answer too, with a failure and not by a signal.
# shellcheck disable=SC2046,SC2086 # two ids
{
    "$shoal" run -p "Tell me a story about a fox." --kernels ref --reasoning off \
        $(printf -- '--logit-bias %s-100 ' $ids) </dev/null 2>"$folder/err"
    echo $? >"$folder/status"
} | head -c 1 >"$folder/out"
[ "$(cat "$folder/status")" = 1 ] || fail "closed pipe: exit status $(cat "$folder/status")"
has err "standard output: a write failed"
exit "$n_failed"
