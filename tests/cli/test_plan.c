/* SPDX-License-Identifier: Apache-2.0 */
/* `plan`: what it says of the demonstration model, whose shapes are known (4 heads on 2 KV heads of
 * 256, 2 key heads, 16 experts, a shared expert of one run of 256, a vocabulary of 2048). */
#include "cli/command.h"
#include "support_run.h"
#include "tests/support/json_member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DEMO SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"

static int64_t number(struct json_object *object, const char *key) {
    return json_object_get_int64(json_member(object, key));
}

static struct json_object *rank_of(struct json_object *root, size_t i) {
    return json_object_array_get_idx(json_member(root, "ranks"), i);
}

static void assert_range(struct json_object *object, const char *key, int64_t begin, int64_t end) {
    struct json_object *range = json_member(object, key);
    assert_int_equal(json_object_get_int64(json_object_array_get_idx(range, 0)), begin);
    assert_int_equal(json_object_get_int64(json_object_array_get_idx(range, 1)), end);
}

static void json_says_who_holds_what(void **state) {
    (void)state;
    struct json_object *root = run_json("plan --json --workers 2 -c 4096 " DEMO, CLI_OK);
    assert_true(json_object_get_boolean(json_member(root, "fits")));
    assert_int_equal(number(root, "n_ranks"), 2);
    assert_int_equal(number(root, "n_groups"), 1);
    assert_int_equal(number(root, "ctx_size"), 4096);
    assert_int_equal(json_object_array_length(json_member(root, "ranks")), 2);
    struct json_object *rank = rank_of(root, 1);
    assert_int_equal(number(rank, "tp_idx"), 1);
    assert_int_equal(number(rank, "n_heads"), 2);
    assert_int_equal(number(rank, "n_k_heads"), 1);
    assert_range(rank, "kv_heads", 1, 2);
    assert_range(rank, "experts", 8, 16);
    assert_range(rank, "vocab", 1024, 2048);
    assert_range(json_member(rank, "parts"), "buckets", 32, 64);
    assert_int_equal(number(rank, "kv_bytes"), 4096 * 2 * 256 * 2); /* 1 layer, F16 */
    assert_int_equal(number(rank, "state_bytes"), 3 * 4 * (2 * 128 * 128 + 3 * 512)); /* F32 */
    json_object_put(root);
}

/* Every sequence is of one attention group: two groups of one have all heads and half the
 * sequences. */
static void attention_groups_divide_sequences(void **state) {
    (void)state;
    struct json_object *root =
        run_json("plan --json --workers 2 --attention-groups 2 -c 4096 -np 4 " DEMO, CLI_OK);
    for (size_t i = 0; i < 2; i++) {
        struct json_object *rank = rank_of(root, i);
        assert_int_equal(number(rank, "group"), i);
        assert_int_equal(number(rank, "n_heads"), 4);
        assert_int_equal(number(rank, "kv_bytes"), 2 * 4096 * 2 * 2 * 256 * 2);
    }
    assert_range(rank_of(root, 1), "experts", 8, 16);
    json_object_put(root);
}

static void nodes_are_runs_of_workers(void **state) {
    (void)state;
    struct json_object *root = run_json("plan --json --workers 5 --nodes 2 " DEMO, CLI_OK);
    assert_int_equal(number(root, "n_groups"), 2);
    struct json_object *node = json_object_array_get_idx(json_member(root, "nodes"), 1);
    assert_range(node, "ranks", 3, 5);
    assert_int_equal(number(rank_of(root, 2), "node"), 0);
    assert_int_equal(number(rank_of(root, 3), "node"), 1);
    json_object_put(root);
}

static void shares_follow_the_capacities_given(void **state) {
    (void)state;
    struct json_object *root = run_json("plan --json --workers 2 --capacity 3,1 " DEMO, CLI_OK);
    assert_range(rank_of(root, 0), "experts", 0, 12);
    assert_int_equal(number(rank_of(root, 0), "n_heads"), 3);
    json_object_put(root);
}

/* Alone, the plan is that of `inspect`, but for vectors, which files may keep in other types. */
static void one_worker_needs_what_inspect_says(void **state) {
    (void)state;
    struct json_object *plan = run_json("plan --json -c 4096 -np 2 " DEMO, CLI_OK);
    struct json_object *inspect = run_json("inspect --json -c 4096 -np 2 " DEMO, CLI_OK);
    struct json_object *rank = rank_of(plan, 0), *needs = json_member(inspect, "needs");
    static const char *const keys[] = {"kv_bytes", "state_bytes", "buffers_bytes"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_int_equal(number(rank, keys[i]), number(needs, keys[i]));
    double weights = json_number(rank, "weights_bytes"), want = json_number(needs, "weights_bytes");
    assert_true(weights > 0.99 * want && weights < 1.01 * want);
    json_object_put(plan);
    json_object_put(inspect);
}

static void tables_show_ranks_and_a_verdict(void **state) {
    (void)state;
    expect_text("plan -o table --workers 2 -c 4096 -np 3 " DEMO, CLI_OK,
                (const char *const[]){"KV heads", "0-1023", "1024-2047", "8-15",
                                      "It fits: node 0 takes", "with 3 sequences of 4096 tokens.",
                                      NULL});
    expect_text("plan --csv --workers 2 " DEMO, CLI_OK,
                (const char *const[]){"rank,node,group,", "\"[8,16]\"", NULL});
    expect_text("plan -o jsonl --workers 2 " DEMO, CLI_OK,
                (const char *const[]){"{\"rank\":1,", NULL});
}

/* The context shrinks to what fits, but not one that was asked for. */
static void what_does_not_fit_has_a_status_of_its_own(void **state) {
    (void)state;
    struct json_object *root = run_json("plan --json --workers 2 --node-memory 80M " DEMO, CLI_OK);
    assert_true(number(root, "ctx_size") < 32768);
    json_object_put(root);
    root = run_json("plan --json --workers 2 --node-memory 80M -c 32768 " DEMO, CLI_NO_FIT);
    assert_false(json_object_get_boolean(json_member(root, "fits")));
    json_object_put(root);
    expect_text("plan -o md --workers 2 --node-memory 4M " DEMO, CLI_NO_FIT,
                (const char *const[]){"It does not fit: node", "of 4.00 MiB", NULL});
    expect_text(
        "plan --workers 100 " DEMO, CLI_NO_FIT,
        (const char *const[]){"100 ranks: the experts of this model keep at most 16", NULL});
}

static void layouts_that_cannot_be_are_wrong_usage(void **state) {
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"plan --workers 2 --nodes 3 " DEMO, "--nodes 3: there are only 2 workers"},
        {"plan --workers 2 --capacity 1 " DEMO, "--capacity: 1 numbers for 2 workers"},
        {"plan --workers 2 --capacity 1,2,3 " DEMO, "--capacity: 3 numbers for 2 workers"},
        {"plan --workers 2 --capacity 1,x " DEMO, "--capacity: 'x' does not begin with a number"},
        {"plan --workers 2 --capacity 1,0 " DEMO, "--capacity: 0; a speed is above 0"},
        {"plan --workers 2 --attention-groups 3 " DEMO, "1 to 2 are possible"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_text(cases[i].line, CLI_USAGE, (const char *const[]){cases[i].text, NULL});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_says_who_holds_what),
        cmocka_unit_test(attention_groups_divide_sequences),
        cmocka_unit_test(nodes_are_runs_of_workers),
        cmocka_unit_test(shares_follow_the_capacities_given),
        cmocka_unit_test(one_worker_needs_what_inspect_says),
        cmocka_unit_test(tables_show_ranks_and_a_verdict),
        cmocka_unit_test(what_does_not_fit_has_a_status_of_its_own),
        cmocka_unit_test(layouts_that_cannot_be_are_wrong_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
