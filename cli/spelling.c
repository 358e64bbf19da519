/* SPDX-License-Identifier: Apache-2.0 */
/* Three rows of the edit table are enough: a swap looks back two rows. */
#include "cli/spelling.h"

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t m = a < b ? a : b;
    return m < c ? m : c;
}

uint32_t spelling_distance(struct span a, struct span b) {
    if (a.len > SPELLING_WORD_MAX || b.len > SPELLING_WORD_MAX)
        return UINT32_MAX;
    uint32_t table[3][SPELLING_WORD_MAX + 1];
    for (uint32_t j = 0; j <= b.len; j++)
        table[0][j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t *row = table[i % 3];
        const uint32_t *above = table[(i + 2) % 3], *two_above = table[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            uint32_t change = above[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, change);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1] && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return table[a.len % 3][b.len];
}

void spelling_offer(struct spelling *spelling, struct span candidate) {
    uint32_t distance = spelling_distance(spelling->word, candidate);
    /* A third of the letters may be wrong; beyond that a guess confuses more than it helps. */
    size_t near = spelling->word.len / 3 > 1 ? spelling->word.len / 3 : 1;
    if (distance > near || (spelling->best.len && distance >= spelling->distance))
        return;
    spelling->best = candidate;
    spelling->distance = distance;
}
