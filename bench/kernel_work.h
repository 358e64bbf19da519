/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the kernel table, with everything it needs to run: shape, inputs, results.
 *
 * What a step finds in memory rather than in a cache (weights, states, keys and values) exists many
 * times over, as sets of equal contents at different places, in memory beyond the last cache level.
 * Run i reads set i mod n_sets, so it finds its set as cold as a step does. Activations and results
 * are one set, warm as a step leaves them. Shapes that the caller does not choose are those of
 * 35B-A3B. Owned by the pool's owner thread. */
#ifndef SHOAL_BENCH_KERNEL_WORK_H
#define SHOAL_BENCH_KERNEL_WORK_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/kernels.h"

enum kernel_op {
    KERNEL_MATMUL,
    KERNEL_EXPERTS,
    KERNEL_EMBED,
    KERNEL_PACK, /* rows of a file to panels: not in the table, but a part of loading */
    KERNEL_ATTENTION,
    KERNEL_KV_APPEND,
    KERNEL_GDN_CONV,
    KERNEL_GDN_STEP,
    KERNEL_GDN_GATE,
    KERNEL_GDN_MIX, /* the three above in one */
    KERNEL_ROPE,
    KERNEL_RMSNORM,
    KERNEL_QUANTISE,
    KERNEL_ROUTER,
    KERNEL_SWIGLU,
    KERNEL_ADD,
    KERNEL_ADD_SHARED,
    KERNEL_N_OPS,
};

/* What an operation is, and what it is measured with if nobody says otherwise. Lists as a user
 * would write them; NULL: it has no such parameter. */
struct kernel_op_info {
    const char *name;
    const char *types;  /* of weights, or of the KV cache; "all", "quantised" */
    const char *shapes; /* "d_out x d_in"; of experts: width x model */
    const char *tokens;
    const char *depths; /* tokens that stand in the KV cache before */
};
const struct kernel_op_info *kernel_op_info(enum kernel_op op);
/* Whether the operation has a dtype and knows this one. */
bool kernel_op_takes(enum kernel_op op, enum dtype dtype);

struct kernel_case {
    enum kernel_op op;
    enum dtype dtype;
    uint32_t d_out, d_in;
    uint32_t n_tokens; /* gdn: up to 8 are so many sequences of one token, more are one sequence */
    uint32_t n_depth;
};

/* Memory for sets, taken once for many cases and grown when one set needs more. */
struct cold_memory {
    unsigned char *data;
    size_t bytes;
};
void cold_memory_free(struct cold_memory *cold); /* safe on a zeroed struct */

/* Which arithmetic a case is made of: its ceiling besides memory. */
enum kernel_arithmetic { KERNEL_MOVES, KERNEL_INTEGERS, KERNEL_FLOATS };

struct kernel_work;
struct kernel_run {
    const struct kernels *kernels;
    struct kernel_ctx *ctx;
    uint32_t set;
    uint32_t n_tokens; /* at most the case's: results of a token do not depend on the others */
};
typedef void kernel_work_fn(struct kernel_work *work, const struct kernel_run *run);

struct kernel_work {
    struct kernel_case what;
    const struct kernels *kernels; /* borrowed: the variant that is measured */
    struct kernel_ctx *ctx;        /* borrowed */
    struct cold_memory *cold;      /* borrowed */
    struct arena arena;
    void *op;            /* what run needs, by operation */
    kernel_work_fn *run; /* also of the reference kernels */
    uint32_t n_sets;
    bool changes_set;  /* a run leaves its set changed (states): two runs need two sets to agree */
    double cold_bytes; /* of one run from memory, to memory; 0: caches hold it all */
    double warm_bytes; /* of one run from and to caches */
    double operations; /* of one run, a multiplication and its addition counted as two */
    enum kernel_arithmetic arithmetic;
    float *out; /* [n_tokens, n_out], result of the last run; NULL: it is no list of floats */
    size_t n_out;
};

/* ERR_INPUT: a shape that the type or the operation does not have; ERR_NOMEM. */
struct kernel_work_options {
    struct kernel_case what;
    const struct kernels *kernels;
    struct kernel_ctx *ctx;
    struct cold_memory *cold;
};
enum status kernel_work_open(struct kernel_work *work, const struct kernel_work_options *options,
                             struct error *err);
void kernel_work_close(struct kernel_work *work); /* safe on a zeroed struct */

/* For the files of the operations: n_min..n_max sets of set_bytes at *sets, `stride` apart. */
struct cold_sets {
    size_t set_bytes;
    uint32_t n_min, n_max;
};
enum status cold_memory_take(struct cold_memory *cold, const struct cold_sets *sets, size_t *stride,
                             uint32_t *n, struct error *err);
/* Copies set 0 to all others. */
void cold_memory_repeat(const struct cold_memory *cold, size_t stride, uint32_t n);

/* Fill in run, bytes, operations and result of a work whose case is checked; ERR_NOMEM. */
typedef enum status kernel_prepare_fn(struct kernel_work *work, struct error *err);
kernel_prepare_fn prepare_matmul, prepare_experts, prepare_embed, prepare_pack, prepare_attention,
    prepare_kv_append, prepare_gdn_conv, prepare_gdn_step, prepare_gdn_gate, prepare_gdn_mix,
    prepare_rope, prepare_rmsnorm, prepare_quantise, prepare_router, prepare_swiglu, prepare_add,
    prepare_add_shared;

/* n floats in the work's arena, uniform in [-size, size), or zero if size is 0; NULL if memory is
 * gone. */
float *work_floats(struct kernel_work *work, size_t n, uint64_t key, float size);
/* The result: n_tokens rows of n_out floats. */
enum status work_out(struct kernel_work *work, size_t n_out, struct error *err);

#endif
