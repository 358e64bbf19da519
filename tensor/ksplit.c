/* SPDX-License-Identifier: Apache-2.0 */
/* Runs are built unit by unit; neighbours are joined where a block would be cut or where their
 * columns touch, so a kernel sees few long runs. */
#include "tensor/ksplit.h"

#include <assert.h>

enum status ksplit_init_whole(struct ksplit *split, uint32_t d_in, struct arena *arena,
                              struct error *err) {
    struct krun *run = arena_array(arena, 1, sizeof *run);
    if (!run)
        return error_set(err, ERR_NOMEM, "no memory for a split of %u columns", d_in);
    *run = (struct krun){.begin = 0, .end = d_in};
    *split = (struct ksplit){.n_parts = 1, .part_begin = {0, 1}, .runs = run};
    return OK;
}

/* Whether the columns before and behind the border of unit u and u+1 lie in one block, in any
 * repeat: then the two units cannot be told apart by a reader of blocks. */
static bool border_cuts_block(const struct ksplit_units *u, uint32_t unit, uint32_t block) {
    for (uint32_t k = 0; k < u->n_repeats; k++) {
        if ((k * u->stride + (unit + 1) * u->width) % block != 0)
            return true;
    }
    return false;
}

enum status ksplit_init_units(struct ksplit *split, const struct ksplit_units *u,
                              struct arena *arena, struct error *err) {
    uint32_t block = u->block > 32 ? u->block : 32;
    struct krun *runs = arena_array(arena, (size_t)u->n_units * u->n_repeats, sizeof *runs);
    uint32_t *first = arena_array(arena, (size_t)u->n_units + 1, sizeof *first);
    if (!runs || !first)
        return error_set(err, ERR_NOMEM, "no memory for a split of %u columns", u->d_in);

    /* Merged unit m is units first[m] .. first[m+1]-1. */
    uint32_t n_merged = 0;
    for (uint32_t unit = 0; unit < u->n_units; unit++) {
        if (unit == 0 || !border_cuts_block(u, unit - 1, block))
            first[n_merged++] = unit;
    }
    first[n_merged] = u->n_units;

    *split = (struct ksplit){.n_parts = KSPLIT_PARTS, .runs = runs};
    uint32_t n_runs = 0;
    for (uint32_t part = 0; part < KSPLIT_PARTS; part++) {
        split->part_begin[part] = n_runs;
        uint32_t begin = first[(uint64_t)part * n_merged / KSPLIT_PARTS];
        uint32_t end = first[(uint64_t)(part + 1) * n_merged / KSPLIT_PARTS];
        for (uint32_t k = 0; begin < end && k < u->n_repeats; k++) {
            uint32_t from = k * u->stride + begin * u->width;
            uint32_t to = k * u->stride + end * u->width;
            if (to > u->d_in)
                to = u->d_in;
            if (n_runs > split->part_begin[part] && runs[n_runs - 1].end == from)
                runs[n_runs - 1].end = to;
            else
                runs[n_runs++] = (struct krun){.begin = from, .end = to};
        }
    }
    split->part_begin[KSPLIT_PARTS] = n_runs;
    assert(n_runs > 0);
    return OK;
}
