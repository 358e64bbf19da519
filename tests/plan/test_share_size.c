/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of shares: by hand for a small model, and as sums that must give the whole. */
#include "plan/share_size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N_LAYERS 4 /* three delta nets, one attention */

/* A model without data: only shapes and types count. */
struct shapes {
    struct hparams hp;
    struct weights weights;
    struct layer_weights layers[N_LAYERS];
    struct arena arena;
    uint64_t bytes; /* of all matrices */
};

static const float vector[1] = {0};

static struct tensor matrix(struct shapes *m, enum dtype dtype, uint64_t rows, uint64_t columns) {
    struct tensor t = {.dtype = dtype,
                       .n_dims = 2,
                       .shape = {rows, columns, 1, 1},
                       .bytes = rows * dtype_row_bytes(dtype, columns)};
    m->bytes += t.bytes;
    return t;
}

static struct tensor experts(struct shapes *m, enum dtype dtype, uint64_t rows, uint64_t columns) {
    struct tensor one = matrix(m, dtype, rows, columns);
    uint64_t n = m->hp.n_experts;
    m->bytes += one.bytes * (n - 1);
    return (struct tensor){
        .dtype = dtype, .n_dims = 3, .shape = {n, rows, columns, 1}, .bytes = one.bytes * n};
}

static void fill_layer(struct shapes *m, struct layer_weights *w, enum mixer mixer) {
    const struct hparams *hp = &m->hp;
    uint32_t d = hp->d_model, d_q = hp->n_heads * hp->d_head, d_v = hp->n_v_heads * hp->d_v;
    w->mixer = mixer;
    if (mixer == MIXER_ATTENTION) {
        w->attention.q = matrix(m, DTYPE_Q4_K, 2 * (uint64_t)d_q, d);
        w->attention.k = matrix(m, DTYPE_Q4_K, (uint64_t)hp->n_kv_heads * hp->d_head, d);
        w->attention.v = matrix(m, DTYPE_Q6_K, (uint64_t)hp->n_kv_heads * hp->d_head, d);
        w->attention.output = matrix(m, DTYPE_Q4_K, d, d_q);
    } else {
        w->gdn.qkv = matrix(m, DTYPE_Q4_K, hp->conv_dim, d);
        w->gdn.z = matrix(m, DTYPE_Q4_K, d_v, d);
        w->gdn.alpha = matrix(m, DTYPE_F32, hp->n_v_heads, d);
        w->gdn.beta = matrix(m, DTYPE_F32, hp->n_v_heads, d);
        w->gdn.out = matrix(m, DTYPE_Q8_0, d, d_v);
    }
    w->ffn.router = matrix(m, DTYPE_F32, hp->n_experts, d);
    w->ffn.gate_exps = experts(m, DTYPE_Q4_K, hp->d_ff_expert, d);
    w->ffn.up_exps = experts(m, DTYPE_Q4_K, hp->d_ff_expert, d);
    w->ffn.down_exps = experts(m, DTYPE_Q6_K, d, hp->d_ff_expert);
    w->ffn.gate_shared = matrix(m, DTYPE_Q8_0, hp->d_ff_shared, d);
    w->ffn.up_shared = matrix(m, DTYPE_Q8_0, hp->d_ff_shared, d);
    w->ffn.down_shared = matrix(m, DTYPE_Q8_0, d, hp->d_ff_shared);
    w->ffn.shared_gate = vector;
}

/* The 35B shape with four layers, or others that the caller put in hp. */
static void fill_model(struct shapes *m) {
    struct hparams *hp = &m->hp;
    hp->n_layers = N_LAYERS;
    hp->n_attention_layers = 1;
    hp->n_gdn_layers = N_LAYERS - 1;
    hp->conv_dim = 2 * hp->n_k_heads * hp->d_k + hp->n_v_heads * hp->d_v;
    m->weights.layers = m->layers;
    m->weights.token_embd = matrix(m, DTYPE_Q4_K, hp->n_vocab, hp->d_model);
    m->weights.output = matrix(m, DTYPE_Q6_K, hp->n_vocab, hp->d_model);
    m->weights.output.data = vector; /* another place than the embedding's */
    for (uint32_t i = 0; i < N_LAYERS; i++)
        fill_layer(m, &m->layers[i], i == 3 ? MIXER_ATTENTION : MIXER_GDN);
}

static struct shapes big(void) {
    return (struct shapes){.hp = {.d_model = 2048,
                                  .n_vocab = 248320,
                                  .n_heads = 16,
                                  .n_kv_heads = 2,
                                  .d_head = 256,
                                  .attention_gate = true,
                                  .n_k_heads = 16,
                                  .n_v_heads = 32,
                                  .d_k = 128,
                                  .d_v = 128,
                                  .n_experts = 256,
                                  .top_k = 8,
                                  .d_ff_expert = 512,
                                  .d_ff_shared = 512}};
}

static struct shard_plan plan_of(struct shapes *m, uint32_t n_ranks, uint32_t n_groups) {
    struct plan_rank ranks[16];
    struct shard_plan plan;
    for (uint32_t i = 0; i < n_ranks; i++)
        ranks[i] = (struct plan_rank){.capacity = 1};
    struct shard_plan_options options = {&m->hp, ranks, n_ranks, n_groups};
    assert_int_equal(shard_plan_init(&plan, &options, &m->arena, NULL), OK);
    return plan;
}

static struct share_size size_of(const struct shapes *m, const struct rank_share *share) {
    struct share_size size;
    assert_int_equal(share_size_init(&size, &m->hp, &m->weights, share, NULL), OK);
    return size;
}

/* Norms of 4 layers, heads and output; shared expert's gate; conv, a and dt_bias of three layers.
 */
#define VECTORS_35B                                                                                \
    (4ull * (2 * 4 * 2048 + 2 * 256 + 3 * 128 + 2048 + 4 * 2048) + 3ull * 4 * (4 * 8192 + 2 * 32))

static void alone_a_rank_has_everything(void **state) {
    (void)state;
    struct shapes m = big();
    fill_model(&m);
    struct shard_plan plan = plan_of(&m, 1, 1);
    struct share_size size = size_of(&m, &plan.ranks[0]);
    assert_int_equal(size.bytes, m.bytes + VECTORS_35B);
    assert_int_equal(size.n_heads, 16);
    assert_int_equal(size.n_k_heads, 16);
    assert_int_equal(size.d_ff, 512);
    assert_int_equal(size.kv_heads.begin, 0);
    assert_int_equal(size.kv_heads.end, 2);
    arena_free(&m.arena);
}

/* What is cut adds up to the whole in each attention group, the experts over all ranks. */
static void shares_add_up(void **state) {
    (void)state;
    static const uint32_t layouts[][2] = {{2, 1}, {3, 1}, {4, 1}, {5, 2}, {8, 1}, {8, 4}, {16, 2}};
    for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
        struct shapes m = big();
        fill_model(&m);
        struct shard_plan alone = plan_of(&m, 1, 1);
        struct share_size whole = size_of(&m, &alone.ranks[0]);
        struct shard_plan plan = plan_of(&m, layouts[l][0], layouts[l][1]);
        struct share_size sum = {0};
        for (uint32_t r = 0; r < plan.n_ranks; r++) {
            struct share_size size = size_of(&m, &plan.ranks[r]);
            sum.gdn_bytes += size.gdn_bytes;
            sum.router_bytes += size.router_bytes;
            sum.head_bytes += size.head_bytes;
            sum.experts_bytes += size.experts_bytes;
            assert_int_equal(size.ffn_bytes, whole.ffn_bytes); /* the shared expert */
            assert_int_equal(size.vectors_bytes, whole.vectors_bytes);
            assert_int_equal(size.embedding_bytes, whole.embedding_bytes);
        }
        assert_int_equal(sum.gdn_bytes, whole.gdn_bytes * plan.n_groups);
        assert_int_equal(sum.router_bytes, whole.router_bytes * plan.n_groups);
        assert_int_equal(sum.head_bytes, whole.head_bytes * plan.n_groups);
        assert_int_equal(sum.experts_bytes, whole.experts_bytes);
        arena_free(&m.arena);
    }
}

/* Four heads each; ranks 0 and 1 read KV head 0, ranks 2 and 3 KV head 1. */
static void kv_heads_beyond_two_ranks_are_held_twice(void **state) {
    (void)state;
    struct shapes m = big();
    fill_model(&m);
    struct shard_plan plan = plan_of(&m, 4, 1);
    for (uint32_t r = 0; r < 4; r++) {
        struct share_size size = size_of(&m, &plan.ranks[r]);
        assert_int_equal(size.n_heads, 4);
        assert_int_equal(size.kv_heads.begin, r / 2);
        assert_int_equal(size.kv_heads.end, r / 2 + 1);
        /* Q4_K: 144 bytes for 256 weights, Q6_K: 210. q with its gate, k, v, output. */
        assert_int_equal(size.attention_bytes,
                         4 * 512 * 8 * 144 + 256 * 8 * 144 + 256 * 8 * 210 + 2048 * 4 * 144);
    }
    arena_free(&m.arena);
}

/* Heads of 128 in a type with blocks of 256: eight heads are four units, in the parts 1, 3, 5, 7,
 * and a rank of three has two heads or four. */
static void heads_that_share_a_block_stay_together(void **state) {
    (void)state;
    struct shapes m = big();
    m.hp.n_heads = 8;
    m.hp.d_head = 128;
    fill_model(&m);
    struct shard_plan plan = plan_of(&m, 3, 1);
    uint32_t n_heads = 0;
    for (uint32_t r = 0; r < 3; r++) {
        struct share_size size = size_of(&m, &plan.ranks[r]);
        assert_int_equal(size.n_heads % 2, 0);
        n_heads += size.n_heads;
    }
    assert_int_equal(n_heads, 8);
    arena_free(&m.arena);
}

static void value_heads_in_checkpoint_order_have_the_same_bytes(void **state) {
    (void)state;
    struct shapes tiled = big(), grouped = big();
    grouped.hp.v_heads_grouped = true;
    fill_model(&tiled);
    fill_model(&grouped);
    struct shard_plan plan = plan_of(&tiled, 3, 1);
    for (uint32_t r = 0; r < 3; r++) {
        assert_int_equal(size_of(&tiled, &plan.ranks[r]).gdn_bytes,
                         size_of(&grouped, &plan.ranks[r]).gdn_bytes);
    }
    arena_free(&tiled.arena);
}

static void a_tied_head_is_held_beside_the_embedding_only_if_it_is_cut(void **state) {
    (void)state;
    struct shapes m = big();
    fill_model(&m);
    m.weights.output = m.weights.token_embd;
    struct shard_plan alone = plan_of(&m, 1, 1), two = plan_of(&m, 2, 1);
    uint64_t embedding = m.weights.token_embd.bytes;
    struct share_size whole = size_of(&m, &alone.ranks[0]), half = size_of(&m, &two.ranks[0]);
    assert_int_equal(whole.head_bytes, embedding);
    assert_int_equal(half.head_bytes, embedding / 2);
    assert_int_equal(whole.embedding_bytes, 0);
    assert_int_equal(half.embedding_bytes, embedding);
    arena_free(&m.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_a_rank_has_everything),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(kv_heads_beyond_two_ranks_are_held_twice),
        cmocka_unit_test(heads_that_share_a_block_stay_together),
        cmocka_unit_test(value_heads_in_checkpoint_order_have_the_same_bytes),
        cmocka_unit_test(a_tied_head_is_held_beside_the_embedding_only_if_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
