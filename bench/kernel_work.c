/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations, and the memory that their sets lie in. */
#include "bench/kernel_work.h"

#include "base/size.h"
#include "bench/kernel_data.h"
#include "worker/cache/mapping.h"
#include "worker/memory_probe.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#define COLD_BYTES_MIN ((size_t)64 << 20)
#define COLD_BYTES_MAX ((size_t)1 << 30)

static const struct {
    struct kernel_op_info info;
    kernel_prepare_fn *prepare;
} ops[KERNEL_N_OPS] = {
    [KERNEL_MATMUL] = {{"matmul", "all", "8192x2048,2048x4096,512x2048", "1,8,128,512", NULL},
                       prepare_matmul},
    [KERNEL_EXPERTS] = {{"experts", "all", "512x2048", "1,8,64,512", NULL}, prepare_experts},
    [KERNEL_EMBED] = {{"embed", "q4_k,q6_k,q8_0,bf16", "32768x2048", "1,512", NULL}, prepare_embed},
    [KERNEL_PACK] = {{"pack", "quantised", "8192x2048", NULL, NULL}, prepare_pack},
    [KERNEL_ATTENTION] = {{"attention", "f16,bf16", NULL, "1,64", "4096,32768"}, prepare_attention},
    [KERNEL_KV_APPEND] = {{"kv_append", "f16", NULL, "1,512", NULL}, prepare_kv_append},
    [KERNEL_GDN_CONV] = {{"gdn_conv", NULL, NULL, "1,8,512", NULL}, prepare_gdn_conv},
    [KERNEL_GDN_STEP] = {{"gdn_step", NULL, NULL, "1,8,512", NULL}, prepare_gdn_step},
    [KERNEL_GDN_GATE] = {{"gdn_gate", NULL, NULL, "1,512", NULL}, prepare_gdn_gate},
    [KERNEL_GDN_MIX] = {{"gdn_mix", NULL, NULL, "1,8,512", NULL}, prepare_gdn_mix},
    [KERNEL_ROPE] = {{"rope", NULL, NULL, "1,512", NULL}, prepare_rope},
    [KERNEL_RMSNORM] = {{"rmsnorm", NULL, NULL, "1,512", NULL}, prepare_rmsnorm},
    [KERNEL_QUANTISE] = {{"quantise", NULL, NULL, "1,512", NULL}, prepare_quantise},
    [KERNEL_ROUTER] = {{"router", NULL, NULL, "1,512", NULL}, prepare_router},
    [KERNEL_SWIGLU] = {{"swiglu", NULL, NULL, "1,512", NULL}, prepare_swiglu},
    [KERNEL_ADD] = {{"add", NULL, NULL, "1,512", NULL}, prepare_add},
    [KERNEL_ADD_SHARED] = {{"add_shared", NULL, NULL, "1,512", NULL}, prepare_add_shared},
};

const struct kernel_op_info *kernel_op_info(enum kernel_op op) {
    assert(op < KERNEL_N_OPS);
    return &ops[op].info;
}

bool kernel_op_takes(enum kernel_op op, enum dtype dtype) {
    if (!ops[op].info.types || dtype >= DTYPE_N_COMPUTE)
        return false;
    if (op == KERNEL_ATTENTION || op == KERNEL_KV_APPEND)
        return !dtype_is_quantised(dtype);
    return op != KERNEL_PACK || dtype_is_quantised(dtype);
}

/* Twice the last cache level, as far as free memory allows. */
static size_t cold_bytes_wanted(void) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 2 * (size_t)cache : 0;
    bytes = bytes < COLD_BYTES_MIN ? COLD_BYTES_MIN : bytes;
    bytes = bytes > COLD_BYTES_MAX ? COLD_BYTES_MAX : bytes;
    while (bytes > COLD_BYTES_MIN && bytes > memory_available_bytes() / 4)
        bytes /= 2;
    return bytes;
}

enum status cold_memory_take(struct cold_memory *cold, const struct cold_sets *sets, size_t *stride,
                             uint32_t *n, struct error *err) {
    /* A line more than whole pages, so that sets do not compete for the same lines of a cache. */
    *stride = align_up(sets->set_bytes, 4096) + 64;
    size_t need = *stride * sets->n_min;
    if (cold->bytes < need || !cold->data) {
        size_t bytes = cold_bytes_wanted();
        bytes = bytes < need ? need : bytes;
        cold_memory_free(cold);
        TRY(mapping_take((void **)&cold->data, bytes, "memory beyond the caches", err));
        cold->bytes = bytes;
    }
    size_t fit = cold->bytes / *stride;
    *n = fit > sets->n_max ? sets->n_max : (uint32_t)fit;
    return OK;
}

void cold_memory_repeat(const struct cold_memory *cold, size_t stride, uint32_t n) {
    for (uint32_t i = 1; i < n; i++)
        memcpy(cold->data + i * stride, cold->data, stride);
}

void cold_memory_free(struct cold_memory *cold) {
    mapping_give_back(cold->data, cold->bytes);
    *cold = (struct cold_memory){0};
}

float *work_floats(struct kernel_work *work, size_t n, uint64_t key, float size) {
    float *x = arena_array(&work->arena, n, sizeof *x);
    if (x && size > 0)
        random_fill(x, n, key, size);
    return x;
}

enum status work_out(struct kernel_work *work, size_t n_out, struct error *err) {
    work->n_out = n_out;
    work->out = work_floats(work, work->what.n_tokens * n_out, 0, 0);
    return work->out ? OK : error_set(err, ERR_NOMEM, "no memory for the result");
}

static enum status check_shape(const struct kernel_case *c, struct error *err) {
    const struct kernel_op_info *info = kernel_op_info(c->op);
    if (!info->shapes)
        return OK;
    const struct dtype_info *dtype = dtype_info(c->dtype);
    uint32_t unit = dtype->block_elements > 32 ? dtype->block_elements : 32;
    bool experts = c->op == KERNEL_EXPERTS; /* the down projection has d_out columns */
    if (c->d_in == 0 || c->d_out == 0 || c->d_in % unit || (experts && c->d_out % unit))
        return error_set(err, ERR_INPUT, "%s of %ux%u: %s needs %s in multiples of %u", info->name,
                         c->d_out, c->d_in, dtype->name, experts ? "both" : "columns", unit);
    return OK;
}

enum status kernel_work_open(struct kernel_work *work, const struct kernel_work_options *options,
                             struct error *err) {
    *work = (struct kernel_work){.what = options->what,
                                 .kernels = options->kernels,
                                 .ctx = options->ctx,
                                 .cold = options->cold,
                                 .n_sets = 1};
    TRY(check_shape(&work->what, err));
    enum status status = ops[work->what.op].prepare(work, err);
    if (status != OK)
        kernel_work_close(work);
    return status;
}

void kernel_work_close(struct kernel_work *work) {
    arena_free(&work->arena);
    *work = (struct kernel_work){0};
}
