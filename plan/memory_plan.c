/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of counts; the only constant is the program's own footprint. */
#include "plan/memory_plan.h"

#include "base/size.h"
#include "plan/activation_plan.h"

/* Code, libraries, stacks and the allocator's slack. On Debian 12 (VmHWM) `shoal version` holds
 * 3 MiB, and a `run` of a tiny model 5 MiB beside everything else that is counted here; rounded up
 * for long conversations. */
#define PROGRAM_BYTES (8u << 20)

/* Positions per KV page, as in the attention kernel's contract (asserted in worker/). */
#define PAGE_TOKENS 32

/* Of each thread: kernels' scratch (asserted in worker/) and the touched part of a stack. */
#define THREAD_BYTES (512u * 1024u + 64u * 1024u)

void memory_plan_compute(struct memory_plan *plan, const struct memory_plan_input *in) {
    const struct hparams *hp = in->hp;
    *plan = (struct memory_plan){
        .ctx_size = in->ctx_size, .n_seqs = in->n_seqs, .weights_bytes = in->weights_bytes};

    uint64_t n_kv_layers = hp->n_attention_layers + (in->with_mtp ? hp->n_mtp_layers : 0);
    uint64_t pages_per_seq = div_up(in->ctx_size, PAGE_TOKENS);
    uint64_t n_kv_pages = pages_per_seq * in->n_seqs;
    if (in->n_kv_pages && in->n_kv_pages < n_kv_pages)
        n_kv_pages = in->n_kv_pages;
    plan->n_kv_pages = n_kv_layers ? (uint32_t)n_kv_pages : 0;
    plan->kv_page_bytes =
        n_kv_layers * 2 * in->n_kv_heads * PAGE_TOKENS * dtype_row_bytes(in->kv_dtype, hp->d_head);
    plan->kv_bytes = plan->n_kv_pages * plan->kv_page_bytes;

    uint64_t n_v_heads =
        hp->n_gdn_layers ? (uint64_t)in->n_k_heads * (hp->n_v_heads / hp->n_k_heads) : 0;
    uint64_t conv_dim = 2 * (uint64_t)in->n_k_heads * hp->d_k + n_v_heads * hp->d_v;
    uint64_t layer_state = 3 * conv_dim + n_v_heads * hp->d_k * hp->d_v;
    plan->seq_state_bytes = align_up(hp->n_gdn_layers * layer_state * sizeof(float), 64);
    plan->state_bytes = plan->seq_state_bytes * in->n_seqs;

    struct activation_plan activations;
    activation_plan_compute(&activations, hp, in->n_step_tokens, in->n_logit_rows,
                            (in->with_mtp ? ACTIVATION_WITH_MTP : 0) |
                                (in->in_group ? ACTIVATION_IN_GROUP : 0));
    plan->activations_bytes = activations.bytes;
    uint64_t page_tables = pages_per_seq * in->n_seqs * sizeof(uint32_t) * 2;
    uint64_t sampler = (uint64_t)hp->n_vocab * 16;
    plan->buffers_bytes = activations.bytes + (uint64_t)in->n_threads * THREAD_BYTES + page_tables +
                          sampler + in->tables_bytes + in->exchange_bytes + PROGRAM_BYTES;
    plan->total_bytes =
        plan->weights_bytes + plan->kv_bytes + plan->state_bytes + plan->buffers_bytes;
}
