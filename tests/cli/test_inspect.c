/* SPDX-License-Identifier: Apache-2.0 */
/* `inspect`: what it says of the demonstration file (numbers from the `gguf` Python package and the
 * file's own description), of files that are no model, and of data that is damaged. */
#include "base/json.h"
#include "cli/command.h"
#include "support_run.h"
#include "tensor/dtype.h"
#include "tests/support/json_member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#define DEMO SOURCE_DIR "/model/demo/shoal-demo-q8_0.gguf"

static int64_t number(struct json_object *object, const char *key) {
    return json_object_get_int64(json_member(object, key));
}

static void json_describes_the_demonstration_file(void **state) {
    (void)state;
    struct json_object *root = run_json("inspect --json -c 4096 -np 2 " DEMO, CLI_OK);
    assert_string_equal(json_object_get_string(json_member(root, "arch")), "qwen35moe");
    assert_int_equal(json_object_get_string_len(json_member(root, "header_hash")), 16);
    assert_int_equal(number(root, "n_params"), 21606552);
    struct json_object *file = json_object_array_get_idx(json_member(root, "files"), 0);
    assert_string_equal(json_object_get_string(json_member(file, "path")), DEMO);
    assert_int_equal(number(file, "bytes"), 23143040);
    struct json_object *hparams = json_member(root, "hparams");
    assert_int_equal(number(hparams, "n_layers"), 4);
    assert_int_equal(number(hparams, "top_k"), 4);

    struct json_object *metadata = json_member(root, "metadata"), *tokens;
    tokens = json_member(metadata, "tokenizer.ggml.tokens");
    assert_string_equal(json_object_get_string(json_member(tokens, "type")), "string");
    assert_int_equal(number(tokens, "count"), 2048);
    assert_int_equal(
        json_object_array_length(json_member(metadata, "qwen35moe.rope.dimension_sections")), 4);
    assert_true(json_object_get_double(
                    json_member(metadata, "qwen35moe.attention.layer_norm_rms_epsilon")) == 1e-6);
    assert_false(json_object_get_boolean(json_member(metadata, "tokenizer.ggml.add_bos_token")));

    struct json_object *tensors = json_member(root, "tensors");
    assert_int_equal(json_object_array_length(tensors), 96);
    struct json_object *qkv = json_object_array_get_idx(tensors, 5);
    assert_string_equal(json_object_get_string(json_member(qkv, "name")), "blk.0.attn_qkv.weight");
    assert_string_equal(json_object_get_string(json_member(qkv, "dtype")), "Q8_0");
    assert_int_equal(json_object_get_int(json_object_array_get_idx(json_member(qkv, "shape"), 0)),
                     1024);
    assert_int_equal(number(qkv, "bytes"), 278528);
    assert_int_equal(number(qkv, "offset"), 1188416);

    struct json_object *needs = json_member(root, "needs");
    assert_int_equal(number(needs, "ctx_size"), 4096);
    assert_int_equal(number(needs, "n_seqs"), 2);
    assert_int_equal(number(needs, "kv_bytes"), 2 * 4096 * 2 * 2 * 256 * 2); /* 1 layer, F16 */
    assert_int_equal(number(needs, "state_bytes"),
                     2 * 3 * 4 * (4 * 128 * 128 + 3 * 1024)); /* 3 layers, F32 */
    json_object_put(root);
}

static void tables_describe_it_for_people(void **state) {
    (void)state;
    expect_text("inspect " DEMO, CLI_OK,
                (const char *const[]){"qwen35moe", "21.6 million", "1 attention, 3 delta net",
                                      "4 of 16, width 256", "qwen3.5", "KV cache", NULL});
    expect_text("inspect --tokenizer " DEMO, CLI_OK,
                (const char *const[]){"qwen35", "1671 normal", "<|im_end|>", NULL});
    expect_text("inspect --template " DEMO, CLI_OK,
                (const char *const[]){"{%- set image_count = namespace(value=0) %}", NULL});
    expect_text("inspect -o csv " DEMO, CLI_OK, (const char *const[]){"property,value", NULL});
}

static void tensors_are_chosen_by_a_pattern(void **state) {
    (void)state;
    struct run all = run_line("inspect -o csv --tensors " DEMO);
    struct run some = run_line("inspect -o csv --tensors *.ffn_*_exps.weight " DEMO);
    uint32_t n_all = 0, n_some = 0;
    for (size_t i = 0; i < all.out_len; i++)
        n_all += all.out[i] == '\n';
    for (size_t i = 0; i < some.out_len; i++)
        n_some += some.out[i] == '\n';
    assert_int_equal(n_all, 1 + 96);
    assert_int_equal(n_some, 1 + 15);
    assert_non_null(strstr(some.out, "blk.4.ffn_down_exps.weight,Q8_0"));
    run_free(&all);
    run_free(&some);
}

/* A folder with one synthetic model in it. */
struct place {
    char folder[32], path[64];
};

static void place_init(struct place *p, const char *arguments) {
    char line[256];
    snprintf(p->folder, sizeof p->folder, "/tmp/shoal-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/m.gguf", p->folder);
    snprintf(line, sizeof line, "synth %s %s", p->path, arguments);
    struct run run = run_line(line);
    assert_int_equal(run.code, CLI_OK);
    run_free(&run);
}

static void place_free(struct place *p) {
    unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
}

static void poke(const char *path, uint64_t offset, const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)offset), n);
    close(fd);
}

static int verify(const struct place *p, char **out) {
    char line[256];
    snprintf(line, sizeof line, "inspect --verify %s", p->path);
    struct run run = run_line(line);
    int code = run.code;
    if (out) {
        *out = run.out;
        run.out = NULL;
    }
    run_free(&run);
    return code;
}

static uint64_t offset_of(const struct place *p, const char *tensor, const char *dtype) {
    char line[256];
    snprintf(line, sizeof line, "inspect --json %s", p->path);
    struct json_object *root = run_json(line, CLI_OK), *tensors = json_member(root, "tensors");
    uint64_t offset = 0;
    for (size_t i = 0; i < json_object_array_length(tensors); i++) {
        struct json_object *t = json_object_array_get_idx(tensors, i);
        if (strcmp(json_object_get_string(json_member(t, "name")), tensor) != 0)
            continue;
        assert_string_equal(json_object_get_string(json_member(t, "dtype")), dtype);
        offset = (uint64_t)number(t, "offset");
    }
    json_object_put(root);
    assert_true(offset > 0);
    return offset;
}

/* Places of the scales as the formats define them. */
static void verify_finds_values_that_are_not_finite(void **state) {
    (void)state;
    static const struct {
        const char *recipe, *dtype;
        uint32_t block_bytes, at;
        unsigned char bytes[4];
        uint32_t n;
    } cases[] = {
        {"f32", "F32", 4, 0, {0, 0, 0x80, 0xff}, 4},    {"f16", "F16", 2, 0, {0, 0x7c}, 2},
        {"bf16", "BF16", 2, 0, {0xc0, 0x7f}, 2},        {"q4_0", "Q4_0", 18, 0, {1, 0x7c}, 2},
        {"q4_1", "Q4_1", 20, 2, {0, 0xfc}, 2},          {"q5_1", "Q5_1", 24, 0, {0, 0x7e}, 2},
        {"q8_0", "Q8_0", 34, 0, {0, 0x7c}, 2},          {"q2_k", "Q2_K", 84, 82, {0, 0x7c}, 2},
        {"q3_k", "Q3_K", 110, 108, {0, 0x7c}, 2},       {"q4_k", "Q4_K", 144, 2, {0, 0x7c}, 2},
        {"q5_k", "Q5_K", 176, 0, {0, 0x7c}, 2},         {"q6_k", "Q6_K", 210, 208, {0, 0x7c}, 2},
        {"iq1_m", "IQ1_M", 56, 53, {0xc0, 0, 0x70}, 3}, {"iq2_xxs", "IQ2_XXS", 66, 0, {0, 0x7c}, 2},
        {"iq4_xs", "IQ4_XS", 136, 0, {0, 0x7c}, 2},     {"mxfp4", "MXFP4", 17, 0, {255}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct place p;
        char arguments[128], *out;
        snprintf(arguments, sizeof arguments,
                 "--layers 1 --vocab 300 --set expert_count=2 --recipe %s", cases[i].recipe);
        place_init(&p, arguments);
        if (verify(&p, &out) != CLI_OK)
            fail_msg("%s: %s", cases[i].recipe, out);
        free(out);
        uint64_t offset = offset_of(&p, "blk.0.ffn_gate_exps.weight", cases[i].dtype);
        offset += 7 * (uint64_t)cases[i].block_bytes;
        poke(p.path, offset + cases[i].at, cases[i].bytes, cases[i].n);
        char place_text[64];
        snprintf(place_text, sizeof place_text, "byte %llu ", (unsigned long long)offset);
        assert_int_equal(verify(&p, &out), CLI_MODEL);
        if (!strstr(out, "blk.0.ffn_gate_exps.weight") || !strstr(out, place_text))
            fail_msg("%s, %s: %s", cases[i].recipe, place_text, out);
        free(out);
        place_free(&p);
    }
}

static void damaged_and_foreign_files_have_the_exit_status_of_models(void **state) {
    (void)state;
    struct place p;
    place_init(&p, "");
    struct run run = run_line("inspect /nonexistent.gguf");
    assert_int_equal(run.code, CLI_MODEL);
    run_free(&run);
    assert_int_equal(truncate(p.path, 100000), 0);
    assert_int_equal(verify(&p, NULL), CLI_MODEL);
    place_free(&p);
}

/* What can be said without knowing the architecture is said, and the exit status tells. */
static void file_of_another_architecture_is_described(void **state) {
    (void)state;
    struct place p;
    char line[128];
    place_init(&p, "");
    /* The first value of the header: magic, version, counts, then "general.architecture". */
    poke(p.path, 24 + 8 + 20 + 4 + 8, "llama3333", 9);
    snprintf(line, sizeof line, "inspect --json %s", p.path);
    struct run run = run_line(line);
    struct json_object *root = NULL;
    assert_int_equal(run.code, CLI_MODEL);
    assert_int_equal(json_parse(span_make(run.out, run.out_len), &root, NULL), OK);
    assert_string_equal(json_object_get_string(json_member(root, "arch")), "llama3333");
    assert_null(json_member(root, "hparams"));
    assert_true(json_object_array_length(json_member(root, "tensors")) > 50);
    json_object_put(root);
    run_free(&run);
    assert_int_equal(verify(&p, NULL), CLI_MODEL);
    place_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_describes_the_demonstration_file),
        cmocka_unit_test(tables_describe_it_for_people),
        cmocka_unit_test(tensors_are_chosen_by_a_pattern),
        cmocka_unit_test(verify_finds_values_that_are_not_finite),
        cmocka_unit_test(damaged_and_foreign_files_have_the_exit_status_of_models),
        cmocka_unit_test(file_of_another_architecture_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
