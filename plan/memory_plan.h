/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker needs in memory, by purpose, before anything is loaded. The engine takes exactly
 * what stands here; `inspect` prints it. Plain arithmetic, no device. */
#ifndef SHOAL_PLAN_MEMORY_PLAN_H
#define SHOAL_PLAN_MEMORY_PLAN_H

#include <stdint.h>

#include "model/hparams.h"
#include "tensor/dtype.h"

struct memory_plan_input {
    const struct hparams *hp;
    uint32_t n_kv_heads; /* of this rank */
    uint32_t n_k_heads;  /* key heads of delta nets of this rank, in the layer that has most */
    int in_group;
    uint64_t exchange_bytes; /* of this rank, shared memory and its own, in a group */
    uint64_t weights_bytes;  /* as the engine holds them, in memory of its own and mapped */
    uint64_t tables_bytes;   /* tokenizer and other host tables */
    uint32_t ctx_size;       /* tokens per sequence */
    uint32_t n_seqs;         /* sequences at once */
    uint32_t n_kv_pages;     /* pages of keys and values for all of them; 0: n_seqs full contexts,
                                and never more than those */
    uint32_t n_step_tokens;  /* tokens per step at most */
    uint32_t n_logit_rows;   /* rows of logits held at once */
    uint32_t n_threads;
    enum dtype kv_dtype;
    int with_mtp;
};

struct memory_plan {
    uint32_t ctx_size, n_seqs; /* what it is for */
    uint64_t weights_bytes;
    uint64_t kv_bytes;      /* n_kv_pages pages, all attention layers */
    uint64_t state_bytes;   /* recurrent states and convolution columns of n_seqs, F32 */
    uint64_t buffers_bytes; /* activations, logits, kernel scratch, tables, the program itself */
    uint64_t total_bytes;
    uint32_t n_kv_pages;
    uint64_t kv_page_bytes;
    uint64_t seq_state_bytes;   /* of one sequence */
    uint64_t activations_bytes; /* part of buffers: what the forward pass takes */
};

void memory_plan_compute(struct memory_plan *plan, const struct memory_plan_input *input);

#endif
