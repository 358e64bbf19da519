/* SPDX-License-Identifier: Apache-2.0 */
/* Level by level, as the sum itself is defined: at width w, terms whose leaves lie in one aligned
 * run of w leaves are joined in order. Above single leaves there are at most two of them, for each
 * half of the run was folded before. */
#include "tensor/tree.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

static bool is_own(struct leaf_range own, uint32_t leaf, uint32_t width) {
    uint32_t begin = leaf / width * width;
    return begin >= own.begin && begin + width <= own.end;
}

uint32_t tree_fold(uint32_t n_leaves, struct leaf_range own, struct tree_term *terms, uint32_t n,
                   struct tree_add *adds) {
    assert(n_leaves > 0 && (n_leaves & (n_leaves - 1)) == 0 && own.end <= n_leaves);
    for (uint32_t width = 1; width <= n_leaves; width *= 2) {
        uint32_t n_kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            struct tree_term *last = n_kept > 0 ? &terms[n_kept - 1] : NULL;
            if (last && last->leaf / width == terms[i].leaf / width &&
                is_own(own, last->leaf, width))
                *adds++ = (struct tree_add){.to = last->term, .from = terms[i].term};
            else
                terms[n_kept++] = terms[i];
        }
        n = n_kept;
    }
    return n;
}
