/* SPDX-License-Identifier: Apache-2.0 */
/* A list of token ids that grows. After memory is gone, every further call does nothing and
 * `failed` says so. A zeroed struct is an empty list; one owner thread. */
#ifndef SHOAL_MODEL_TOKEN_IDS_H
#define SHOAL_MODEL_TOKEN_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_ids {
    int32_t *data;
    size_t n, room;
    bool failed; /* memory was gone */
};

void token_ids_free(struct token_ids *ids); /* safe on a zeroed struct */
void token_ids_add(struct token_ids *ids, int32_t id);

#endif
