#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs chat.exp in a pseudo-terminal. Usage: chat.sh SHOAL
# shellcheck source=tests/integration/support.sh
. "$(dirname "$0")/support.sh"
command -v expect >/dev/null || skip "expect is not installed, the chat was not tested"
ids=$(echo '{"text":"<|im_end|><|endoftext|>","parse_special":true}' |
    "$shoal" tokenize | sed 's/[^0-9,]//g; s/,/ /')
# An error in a script given with -c ends expect with 0, so it is caught and told.
expect -c 'exit [catch {spawn true}]' >/dev/null 2>&1 ||
    skip "this machine has no pseudo-terminals, the chat was not tested"
mkdir "$folder/chat"
# shellcheck disable=SC2086 # two ids
expect -f "$(dirname "$0")/chat.exp" "$shoal" "$folder/chat" $ids
