#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a first answer: installs what the build needs, builds, asks the demonstration
# model a question. What stands already is neither installed nor built again.
# Usage: sh deploy/demo.sh
set -eu
cd "$(dirname "$0")/.."

sh deploy/install-packages.sh build
if [ ! -f build/release/build.ninja ]; then
    echo "configuring build/release"
    cmake --preset release --log-level=ERROR >/dev/null
fi
if [ ! -x build/release/cli/shoal ]; then
    echo "building shoal, a minute or two on two cores"
fi
output=$(ninja --quiet -C build/release shoal) || {
    echo "$output" # the compiler's messages; otherwise there is nothing worth saying
    exit 1
}

shoal=build/release/cli/shoal
echo "\$ $shoal run -p 'What is 27 + 58?' --temp 0 --reasoning on --show-reasoning on"
$shoal run -p 'What is 27 + 58?' --temp 0 --reasoning on --show-reasoning on --verbose
cat <<END

That was the demonstration model, trained on sums, capitals, opposites, days, sorting, spelling and
little tools; it is small and it errs. What to type next:

    $shoal run                   chat with it; /help lists the commands
    $shoal run MODEL.gguf        chat with a model of yours
    $shoal inspect MODEL.gguf    what a file holds and how much memory it needs
    $shoal help                  all commands
END
