/* SPDX-License-Identifier: Apache-2.0 */
/* What a model computes: a table of operations, and what they run on.
 *
 * The table is filled with the references, then overwritten in order of capability by what the
 * machine has. worker/forward/ calls only the table and so is written once for all devices.
 * Each operation has its own folder; its header is the contract.
 *
 *   ref      the definition: plain loops, double sums, dequantised weights times unquantised
 *            activations. Slow on purpose.
 *   avx2, avx512 (with VNNI, VBMI, BITALG and GFNI)
 *            weights in their quantised form times activations quantised per 32. Both compute
 *            the same sums in the same order: their results are equal bit for bit.
 *
 * For every variant the result for one token does not depend on the other tokens of the call, on
 * their number, or on the number of threads; nor on the heads, experts or parts of K that the rank
 * holds beside. Without rows, heads or experts an operation does nothing. */
#ifndef SHOAL_KERNELS_KERNELS_H
#define SHOAL_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/attention/attention.h"
#include "kernels/device/context.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embed/embed.h"
#include "kernels/experts/experts.h"
#include "kernels/gdn/gdn.h"
#include "kernels/matmul/matmul.h"
#include "kernels/quant/activation.h"
#include "kernels/rmsnorm/rmsnorm.h"
#include "kernels/rope/rope.h"
#include "kernels/router/router.h"

struct kernels {
    const char *name; /* "ref", "avx2", "avx512" */
    int exact;        /* 1: multiplies unquantised activations (ref) */
    activation_quantise_fn *activation_quantise;
    embed_fn *embed;
    rmsnorm_fn *rmsnorm;
    matmul_fn *matmul;
    rope_fn *rope;
    kv_append_fn *kv_append;
    attention_fn *attention;
    gdn_conv_fn *gdn_conv;
    gdn_step_fn *gdn_step;
    gdn_gate_fn *gdn_gate;
    gdn_mix_fn *gdn_mix;
    router_fn *router;
    experts_fn *experts;
    swiglu_fn *swiglu;
    add_fn *add;
    add_shared_fn *add_shared;
};

/* Fills the table. `name`: "auto" (the best this machine has), "ref", "avx2" or "avx512".
 * ERR_UNSUPPORTED: this machine lacks the variant (the text lists what it has);
 * ERR_INPUT: no such variant. */
enum status kernels_init(struct kernels *kernels, const char *name, struct error *err);

#endif
