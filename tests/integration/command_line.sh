#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manners of the program from outside: help, versions, exit statuses, clean pipes.
# Usage: command_line.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"

run 0
has out "Usage: shoal COMMAND"
for command in run inspect plan synth tokenize detokenize render parse score bench completion version \
    help; do
    run 0 help "$command"
    has out "Usage: shoal $command"
    run 0 "$command" --help
    has out "Usage: shoal"
    awk 'length > 100 { exit 1 }' "$folder/out" || fail "help of $command is too wide"
    run 2 "$command" --no-such-option
    has err "unknown option"
    [ ! -s "$folder/out" ] || fail "$command writes its mistakes to standard output"
done
run 0 run --help-all
has out "--mpirun-args"
run 0 --version
has out "shoal "
cp "$folder/out" "$folder/version"
run 0 version
cmp -s "$folder/out" "$folder/version" || fail "version and --version differ"

# Wrong usage.
run 2 rnu
has err "did you mean 'run'?"
run 2 run --temprature 1
has err "did you mean '--temperature'?"
run 2 run --temp 7 -p x
has err "--temp: 7 is out of range, allowed are 0 to 2"
run 2 run --logit-bias 5 -p x
has err "is not ID+VALUE or ID-VALUE"
run 2 run -p ""
has err "the prompt is empty"
run 2 bench
run 2 completion tcsh
run 2 version x
has err "unexpected operand 'x'"
run 2 help nothing
run 2 synth

# Config file and environment.
printf '[run]\ntop-k = 5\ntemp = warm\n' >"$folder/broken.ini"
run 3 run --config "$folder/broken.ini" -p x
has err "broken.ini:3: temp: 'warm' is not a number"
run 3 run --config "$folder/missing.ini" -p x
SHOAL_TOP_P=2 run 3 run -p x
has err "environment SHOAL_TOP_P: 2 is out of range"
mkdir -p "$XDG_CONFIG_HOME/shoal"
printf '[default]\nthreads = 2\n[run]\ntop-k = 5\n' >"$XDG_CONFIG_HOME/shoal/shoal.ini"
SHOAL_MIN_P=0.25 run 0 run --temp 0.5 --print-config
grep -qE '^temp = 0\.5 +# command line$' "$folder/out" || fail "origin of temp"
grep -qE '^min-p = 0\.25 +# environment SHOAL_MIN_P$' "$folder/out" || fail "origin of min-p"
grep -qE '^top-k = 5 +# .*shoal\.ini:4$' "$folder/out" || fail "origin of top-k"
grep -qE '^top-p = 0\.95 +# model file$' "$folder/out" || fail "origin of top-p"
grep -qE '^seed = -1 +# default$' "$folder/out" || fail "origin of seed"
rm "$XDG_CONFIG_HOME/shoal/shoal.ini"

# Models that are missing, damaged or too large.
run 4 run -m "$folder/missing.gguf" -p x
has err "missing.gguf"
printf 'GGUF\003\000\000\000' >"$folder/cut.gguf"
run 4 run -m "$folder/cut.gguf" -p x
has err "cut.gguf"
run 4 inspect "$folder/cut.gguf"
printf 'no model at all' >"$folder/text.gguf"
run 4 tokenize -m "$folder/text.gguf"

# A full disk is an error, also for results that were buffered.
if [ -w /dev/full ]; then
    "$shoal" help >/dev/full 2>"$folder/err"
    [ $? -eq 1 ] || fail "writing to a full disk"
    has err "standard output"
fi

# No escape codes in pipes unless asked for.
esc=$(printf '\033')
run 4 run -m "$folder/missing.gguf" -p x
lacks err "$esc"
CLICOLOR_FORCE=1 run 4 run -m "$folder/missing.gguf" -p x
has err "$esc"
NO_COLOR=1 CLICOLOR_FORCE=1 run 4 run -m "$folder/missing.gguf" -p x
lacks err "$esc"
run 4 run -m "$folder/missing.gguf" -p x --color always
has err "$esc"

# What shells and man read.
run 0 completion bash
bash -n "$folder/out" || fail "bash completion"
if command -v zsh >/dev/null; then
    run 0 completion zsh
    zsh -n "$folder/out" || fail "zsh completion"
fi
if command -v fish >/dev/null; then
    run 0 completion fish
    fish -n "$folder/out" || fail "fish completion"
fi
mkdir "$folder/man"
run 0 help --man "$folder/man"
[ -s "$folder/man/shoal.1" ] || fail "no shoal.1"
if command -v groff >/dev/null; then
    for page in "$folder"/man/*.1; do
        groff -man -ww -z "$page" >"$folder/out" 2>"$folder/err"
        [ ! -s "$folder/err" ] || fail "groff warns about ${page##*/}"
    done
else
    echo "skipped: groff is not installed, man pages were not checked"
fi
run 1 help --man "$folder/nowhere"
exit "$n_failed"
