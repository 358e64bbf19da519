/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of a synthetic model, in file order: names and shapes from the hyperparameters, types
 * from the recipe, the size of the values from their place in the network. */
#ifndef SHOAL_CLI_SYNTH_TENSORS_H
#define SHOAL_CLI_SYNTH_TENSORS_H

#include "base/arena.h"
#include "base/error.h"
#include "cli/synth_fill.h"
#include "cli/synth_recipe.h"
#include "model/hparams.h"

struct synth_tensor {
    char name[64];
    enum dtype dtype;
    uint32_t n_dims;
    uint64_t shape[3]; /* outermost first */
    uint64_t n_blocks, bytes;
    enum synth_values values;
    float std;
    /* Filled by whoever writes the file: */
    uint32_t part;
    uint64_t idx; /* in the part */
};

struct synth_tensors {
    struct synth_tensor *list; /* in the arena */
    uint32_t n;
    uint64_t bytes, n_params;
};

/* ERR_NOMEM. */
enum status synth_tensors_init(struct synth_tensors *tensors, const struct hparams *hp, bool tied,
                               const struct synth_recipe *recipe, struct arena *arena,
                               struct error *err);

#endif
