/* SPDX-License-Identifier: Apache-2.0 */
/* Room doubles, so that appending n ids costs O(n). */
#include "model/token_ids.h"

#include <stdlib.h>

void token_ids_free(struct token_ids *ids) {
    free(ids->data);
    *ids = (struct token_ids){0};
}

void token_ids_add(struct token_ids *ids, int32_t id) {
    if (ids->failed)
        return;
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : 64;
        int32_t *data = room > ids->room ? realloc(ids->data, room * sizeof *data) : NULL;
        if (!data) {
            ids->failed = true;
            return;
        }
        ids->data = data;
        ids->room = room;
    }
    ids->data[ids->n++] = id;
}
