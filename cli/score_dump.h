/* SPDX-License-Identifier: Apache-2.0 */
/* The intermediate results of one text, for comparisons with other implementations:
 *
 *     PREFIX.json  {"ids":[...],"tensors":[{"name","shape":[rows,columns],"offset"}]}
 *     PREFIX.f32   the tensors, float32, little-endian, at their offsets (bytes)
 *
 * Names: "embedding", "layer 0 output" ..., "final norm", "logits", and "mtp logits" if the block
 * is loaded. Rows may come in several pieces (prefill in chunks); they are joined here. */
#ifndef SHOAL_CLI_SCORE_DUMP_H
#define SHOAL_CLI_SCORE_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

#define DUMP_TENSORS_MAX 1024u

struct dump_tensor {
    char name[32];
    uint32_t n_columns;
    uint32_t n_rows;
    struct text bytes; /* floats */
};

struct score_dump {
    struct dump_tensor *tensors; /* in order of first appearance */
    uint32_t n_tensors;
    bool failed; /* memory was gone, or more than DUMP_TENSORS_MAX names came */
};

enum status score_dump_init(struct score_dump *dump, struct error *err);
void score_dump_free(struct score_dump *dump); /* safe on a zeroed struct */

/* Appends rows to the tensor of this name. */
void score_dump_add(struct score_dump *dump, const char *name, const float *x, uint32_t n_rows,
                    uint32_t n_columns);

/* ERR_IO names the file. */
enum status score_dump_write(const struct score_dump *dump, const char *prefix, const int32_t *ids,
                             uint32_t n_ids, struct error *err);

#endif
