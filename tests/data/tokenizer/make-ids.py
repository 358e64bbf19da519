# SPDX-License-Identifier: Apache-2.0
# Writes the golden ids of qwen2-151k.tiktoken for the inputs of qwen3.5-vectors, under both split
# patterns: the tiktoken package is an implementation of byte-pair encoding independent of ours.
# Run here with tiktoken 0.14.0 under Python 3.11 (Unicode 14); form C comes from unicodedata.
import base64
import pathlib
import re
import unicodedata

import tiktoken

HERE = pathlib.Path(__file__).parent
PATTERNS = {
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen35": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
# Added tokens are cut out before anything else; their ids stand behind the ranks.
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ADDED_BEGIN = 151643


def texts(name):
    data = (HERE / "qwen3.5-vectors" / f"{name}_input.txt").read_bytes().decode()
    if name == "utf8":
        return [data]
    lines = [line for line in data.split("\n") if line]
    return [t.replace("\\n", "\n").replace("\\s", " ").replace("\\x", "") for t in lines]


def encode(encoding, text):
    ids = []
    for piece in re.split("(" + "|".join(map(re.escape, ADDED)) + ")", text):
        if piece in ADDED:
            ids.append(ADDED_BEGIN + ADDED.index(piece))
        else:
            ids += encoding.encode_ordinary(unicodedata.normalize("NFC", piece))
    return ids


ranks = {}
for line in (HERE / "qwen2-151k.tiktoken").read_bytes().split(b"\n"):
    if line:
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
for pattern, regex in PATTERNS.items():
    encoding = tiktoken.Encoding(pattern, pat_str=regex, mergeable_ranks=ranks, special_tokens={})
    for name in ("small", "mixed", "utf8"):
        lines = [" ".join(map(str, encode(encoding, text))) for text in texts(name)]
        path = HERE / f"qwen2-151k-{pattern}-{name}.ids"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
