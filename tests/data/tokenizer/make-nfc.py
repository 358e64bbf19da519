# SPDX-License-Identifier: Apache-2.0
# Writes nfc-cases.txt: one case a line, the code points of a text and of its form C in hexadecimal,
# "0061 0301;00e1". Made with unicodedata of Python 3.11 (Unicode 14): every character that form C
# changes or that another decomposes to, and random rows of letters, marks and Hangul.
import pathlib
import random
import sys
import unicodedata

random.seed(1)
cases = []
for c in range(sys.maxunicode + 1):
    if 0xD800 <= c <= 0xDFFF or 0xAC00 < c < 0xD7A3 and c % 97:
        continue
    form_d = unicodedata.normalize("NFD", chr(c))
    if form_d != chr(c):
        cases += [chr(c), form_d]
pool = [c for text in cases for c in text]
marks = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
hangul = [chr(c) for c in (0x1100, 0x1112, 0x1113, 0x1161, 0x1175, 0x1176, 0x11A7, 0x11A8, 0x11C2,
                           0x11C3, 0xAC00, 0xAC01, 0xAC1C, 0xD7A3, 0xA960, 0xD7B0, 0xD7CB)]
plain = list("aeiouAEIOUsn .\n1\u4e00\u0915\u0627")
for _ in range(3000):
    kind = random.choice([pool, marks, hangul, plain])
    row = [random.choice(random.choice([kind, kind, plain, marks])) for _ in range(random.randint(1, 9))]
    cases.append("".join(row))
for n in (40, 300):  # long enough for the sort by counting
    for _ in range(5):
        cases.append("".join(random.choice(plain[:12]) if random.random() < 0.02 else random.choice(marks)
                             for _ in range(n)))
lines = [";".join(" ".join(f"{ord(c):04x}" for c in t) for t in (x, unicodedata.normalize("NFC", x)))
         for x in cases]
(pathlib.Path(__file__).parent / "nfc-cases.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
