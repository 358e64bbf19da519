/* SPDX-License-Identifier: Apache-2.0 */
/* Sums by a fixed pairwise tree, whoever holds the terms.
 *
 * A sum has n_leaves (a power of two) leaves in order; leaves without a term are skipped, terms of
 * one leaf are added in order first. Somebody who holds all terms of the leaves own.begin ..
 * own.end-1 may add within every subtree that lies in them, and is left with that subtree's root:
 *
 *     8 leaves, own 0..2:   leaves 0 1 2   ->   roots (0+1), 2
 *     own 0..7              leaves 0 .. 7  ->   ((0+1)+(2+3)) + ((4+5)+(6+7))
 *
 * Roots of several holders, taken together in order, are terms again: folding them over all the
 * holders' leaves gives what one holder of everything would have got, bit for bit. A root stands at
 * the leaf of its first term. Used for the parts of K (tensor/ksplit.h, 8 leaves) and for the
 * buckets of experts (64 leaves). Pure arithmetic; any thread. */
#ifndef SHOAL_TENSOR_TREE_H
#define SHOAL_TENSOR_TREE_H

#include <stdint.h>

/* Leaves begin .. end-1; begin == end: none. */
struct leaf_range {
    uint32_t begin, end;
};

struct tree_add {
    uint32_t to, from; /* terms: term `to` += term `from` */
};

struct tree_term {
    uint32_t leaf;
    uint32_t term; /* the caller's name for it */
};

/* Folds n terms (in order of leaves, all within `own`) in place: what remains in terms[0 .. return
 * value - 1] are the roots, in order; `adds` receives n - return value adds, to be carried out in
 * order. n may be 0. */
uint32_t tree_fold(uint32_t n_leaves, struct leaf_range own, struct tree_term *terms, uint32_t n,
                   struct tree_add *adds);

#endif
