#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a review should not spend time on, found by machine: lengths, direction of includes, forbidden
# functions, first comments, blanks, formatting. Usage: sh tests/style/check.sh [SOURCE_DIR]
# Prints "file:line: what" per finding; ends with 1 if there is one.
set -u
cd "${1:-$(dirname "$0")/../..}" || exit 2

rooms="base tensor proto model plan kernels worker coordinator cli tests bench tools"
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT

# C sources in all rooms, in a stable order; build trees and test data are none.
sources() {
    for room in $rooms; do
        [ -d "$room" ] && find "$room" -name data -prune -o \
            \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print
    done | sort
}

# A file has at most 800 lines and a function 100 (the files are formatted, so that a function
# begins in column 1 and ends with a lone brace there).
check_lengths() {
    sources | while read -r file; do
        awk -v file="$file" '
            FNR == 801 { print file ":801: more than 800 lines" }
            /^[A-Za-z]/ { head = $0; begin = FNR }
            /^}/ && head ~ /\(/ && head !~ /=|^(struct|enum|union) [a-z0-9_]+ \{/ {
                if (FNR - begin + 1 > 100)
                    print file ":" begin ": function of " FNR - begin + 1 " lines, at most 100"
                head = ""
            }' "$file"
    done
}

# Rooms that each room may include. cli, tests, bench and tools may include anything.
allowed_for() {
    case $1 in
    base) echo "base" ;;
    tensor) echo "tensor base" ;;
    proto) echo "proto base" ;;
    model) echo "model tensor base" ;;
    plan) echo "plan model tensor base" ;;
    kernels) echo "kernels tensor base" ;;
    worker) echo "worker kernels plan model proto tensor base" ;;
    coordinator) echo "coordinator plan model proto base" ;;
    *) echo "$rooms" ;;
    esac
}

check_includes() {
    sources | while read -r file; do
        allowed=" $(allowed_for "${file%%/*}") "
        grep -nE '^#include "[a-z_]+/' "$file" | while IFS= read -r line; do
            to=${line#*\"}
            case $allowed in
            *" ${to%%/*} "*) ;;
            *) echo "$file:${line%%:*}: ${file%%/*} may not include ${to%%/*}" ;;
            esac
        done
    done
}

# Foreign libraries live behind few doors: the header, and the folders that may include it.
check_doors() {
    while read -r header doors; do
        sources | grep -vE "^($doors)" | xargs grep -nH "^#include <$header" |
            sed "s#\$# : allowed only in $doors#"
    done <<'DOORS'
json-c/ base/|tests/
xxhash base/|model/|worker/|cli/|tests/
utf8proc model/|tests/
histedit cli/
pcre2 tests/
mpi worker/comm/
nccl worker/comm/
cuda kernels/|worker/comm/|tests/gpu/
uv.h coordinator/|worker/link/
DOORS
}

# Unbounded, stateful or unsafe functions. The environment arrives through main; tests may ask it.
check_functions() {
    sources | xargs grep -nHE \
        '(^|[^A-Za-z0-9_.>])(sprintf|strcpy|strcat|strtok|atoi|gets|alloca|system|getenv)\(' |
        grep -vE '^tests/.*getenv\(' | sed 's/$/ : forbidden function/'
}

check_first_comments() {
    sources | while read -r file; do
        sed -n 1p "$file" | grep -qx '/\* SPDX-License-Identifier: Apache-2.0 \*/' ||
            echo "$file:1: no SPDX line"
        sed -n 2p "$file" | grep -qE '^/\* [A-Za-z0-9"<`/]' ||
            echo "$file:2: no first comment that says what the file is"
    done
}

check_text() {
    { sources; find deploy docs cmake .ci README.md CMakeLists.txt tests/run.sh tests/style \
        tests/integration -type f 2>/dev/null; } | sort -u | while read -r file; do
        grep -nE '[[:blank:]]+$' "$file" | sed "s|^\([0-9]*\):.*|$file:\1: trailing blanks|"
    done
    sources | xargs grep -nHE '\b(TODO|FIXME|XXX|HACK)\b' | grep -vE '\(#[0-9]+\)' |
        sed 's/$/ : no issue number/'
}

# A static without const that keeps a value between calls. A table of constant pointers has its
# const before the name.
check_globals() {
    sources | grep -v '^tests/' | xargs grep -nHE '^ *static [^()]*(=|;|\{)' |
        grep -vE 'const|inline|_Static_assert' | sed 's/$/ : mutable state/'
}

check_format() {
    tool=$(command -v clang-format-14) || {
        echo "skipped: clang-format-14 is not installed, formatting was not checked" >&2
        return
    }
    sources | grep -E '\.[ch]$' | xargs "$tool" --dry-run 2>&1 |
        sed -n 's/^\([^ ]*:[0-9]*\):[0-9]*: warning: code should be clang-formatted.*/\1: not formatted/p'
}

for check in lengths includes doors functions first_comments text globals format; do
    "check_$check" >>"$findings"
done
cat "$findings"
if [ -s "$findings" ]; then
    echo "$(wc -l <"$findings") findings"
    exit 1
fi
echo "style: nothing found in $(sources | wc -l) files"
