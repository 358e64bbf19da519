/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic models: shapes against the published parameter counts, types against published
 * listings, values against the size they should have, files against the reader. */
#include "cli/command.h"
#include "cli/synth_file.h"
#include "cli/synth_recipe.h"
#include "cli/synth_shape.h"
#include "cli/synth_tensors.h"
#include "kernels/quant/unpack.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "support_options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

static void list_tensors(struct synth_tensors *tensors, struct hparams *hp, const char *preset,
                         bool with_mtp, const char *recipe, struct arena *arena) {
    struct synth_shape shape;
    struct error err = {0};
    synth_shape_init(&shape, synth_preset_find(preset, NULL), NULL);
    synth_shape_set_layers(&shape, 0, with_mtp);
    if (synth_shape_finish(&shape, hp, &err) ||
        synth_tensors_init(tensors, hp, shape.tied, synth_recipe_find(recipe), arena, &err))
        fail_msg("%s: %s", preset, err.text);
}

/* Totals of the published checkpoints without their vision towers; tensor counts of their files. */
static void presets_have_the_published_numbers_of_parameters(void **state) {
    (void)state;
    static const struct {
        const char *preset;
        bool with_mtp;
        uint64_t n_params;
        uint32_t n_tensors; /* 0: not published */
    } cases[] = {
        {"0.8b", false, 752393024, 0},
        {"0.8b", true, 752393024 + 20452864, 0},
        {"2b", false, 1881825088, 0},
        {"4b", false, 4205751296, 0},
        {"9b", false, 8953803264, 0},
        {"27b", false, 26895998464, 851},
        {"27b", true, 26895998464 + 424699392, 0},
        {"35b-a3b", false, 34660610688, 733},
        {"35b-a3b", true, 34660610688 + 844640768, 753},
        {"122b-a10b", false, 122111526912, 0},
        {"397b-a17b", false, 396346350336, 0},
        {"397b-a17b", true, 396346350336 + 6595568128, 0},
        {"next-80b-a3b", false, 79674391296, 0},
        {"30b-a3b", false, 30532122624, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = {0};
        struct synth_tensors tensors;
        struct hparams hp;
        list_tensors(&tensors, &hp, cases[i].preset, cases[i].with_mtp, "bf16", &arena);
        if (tensors.n_params != cases[i].n_params)
            fail_msg("%s: %llu parameters", cases[i].preset, (unsigned long long)tensors.n_params);
        if (cases[i].n_tensors)
            assert_int_equal(tensors.n, cases[i].n_tensors);
        arena_free(&arena);
    }
}

static enum dtype dtype_of(const struct synth_tensors *tensors, const char *name) {
    for (uint32_t i = 0; i < tensors->n; i++) {
        if (strcmp(tensors->list[i].name, name) == 0)
            return tensors->list[i].dtype;
    }
    fail_msg("no tensor '%s'", name);
    return DTYPE_N;
}

/* The published Q4_K_M file of 397B: Q6_K in layers 0..6, 9, 12, ..., 51 and 52..59. */
static void q4_k_m_gives_more_bits_to_the_published_layers(void **state) {
    (void)state;
    struct arena arena = {0};
    struct synth_tensors tensors;
    struct hparams hp;
    char name[64];
    list_tensors(&tensors, &hp, "397b-a17b", false, "q4_k_m", &arena);
    for (uint32_t i = 0; i < 60; i++) {
        bool more = i <= 6 || i >= 52 || (i <= 51 && i % 3 == 0 && i >= 9);
        enum dtype expected = more ? DTYPE_Q6_K : DTYPE_Q4_K;
        snprintf(name, sizeof name, "blk.%u.%s.weight", i, i % 4 == 3 ? "attn_v" : "attn_qkv");
        assert_int_equal(dtype_of(&tensors, name), expected);
        snprintf(name, sizeof name, "blk.%u.ffn_down_exps.weight", i);
        assert_int_equal(dtype_of(&tensors, name), expected);
        snprintf(name, sizeof name, "blk.%u.ffn_down_shexp.weight", i);
        assert_int_equal(dtype_of(&tensors, name), expected);
    }
    assert_int_equal(dtype_of(&tensors, "output.weight"), DTYPE_Q6_K);
    assert_int_equal(dtype_of(&tensors, "token_embd.weight"), DTYPE_Q4_K);
    assert_int_equal(dtype_of(&tensors, "blk.0.ffn_gate_inp.weight"), DTYPE_F32);
    assert_int_equal(dtype_of(&tensors, "blk.0.ssm_alpha.weight"), DTYPE_Q4_K);
    list_tensors(&tensors, &hp, "397b-a17b", true, "q4_k_m", &arena); /* L is 61 then */
    assert_int_equal(dtype_of(&tensors, "blk.52.ffn_down_exps.weight"), DTYPE_Q4_K);
    list_tensors(&tensors, &hp, "0.8b", false, "q4_k_m", &arena); /* tied */
    assert_int_equal(dtype_of(&tensors, "token_embd.weight"), DTYPE_Q6_K);
    arena_free(&arena);
}

static void other_recipes_follow_their_rules(void **state) {
    (void)state;
    static const struct {
        const char *recipe, *tensor;
        enum dtype dtype;
    } cases[] = {
        {"q4_k_s", "blk.3.attn_v.weight", DTYPE_Q5_K},
        {"q4_k_s", "blk.4.attn_qkv.weight", DTYPE_Q4_K},
        {"q4_k_s", "blk.4.ffn_down_exps.weight", DTYPE_Q5_K},
        {"q4_k_s", "blk.5.ffn_down_exps.weight", DTYPE_Q4_K},
        {"q3_k_m", "blk.1.attn_qkv.weight", DTYPE_Q5_K},
        {"q3_k_m", "blk.2.attn_qkv.weight", DTYPE_Q4_K},
        {"q3_k_m", "blk.1.ffn_down_exps.weight", DTYPE_Q5_K},
        {"q3_k_m", "blk.2.ffn_down_exps.weight", DTYPE_Q4_K},
        {"q3_k_m", "blk.3.attn_output.weight", DTYPE_Q4_K},
        {"q2_k", "blk.3.attn_output.weight", DTYPE_Q3_K},
        {"q2_k", "blk.9.ffn_down_shexp.weight", DTYPE_Q3_K},
        {"iq2_xxs", "token_embd.weight", DTYPE_Q2_K},
        {"iq2_xxs", "blk.1.ffn_down_exps.weight", DTYPE_Q2_K}, /* the first 5 of 80 downs */
        {"iq2_xxs", "blk.2.ffn_down_exps.weight", DTYPE_Q2_K},
        {"iq2_xxs", "blk.2.ffn_down_shexp.weight", DTYPE_IQ2_XXS},
        {"iq4_xs", "blk.3.attn_v.weight", DTYPE_Q5_K},
        {"mxfp4", "blk.0.ffn_up_exps.weight", DTYPE_MXFP4},
        {"mxfp4", "blk.0.ffn_up_shexp.weight", DTYPE_Q8_0},
        {"ud-q4_k_xl", "blk.0.ssm_alpha.weight", DTYPE_F16},
        {"UD-IQ2_XXS", "blk.20.ffn_down_exps.weight", DTYPE_IQ2_S},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = {0};
        struct synth_tensors tensors;
        struct hparams hp;
        list_tensors(&tensors, &hp, "35b-a3b", false, cases[i].recipe, &arena);
        enum dtype found = dtype_of(&tensors, cases[i].tensor);
        if (found != cases[i].dtype)
            fail_msg("%s: %s is %s", cases[i].recipe, cases[i].tensor, dtype_info(found)->name);
        arena_free(&arena);
    }
    struct recipe_place odd = {.class = CLASS_FFN, .n_blocks = 1, .row = 96};
    assert_int_equal(synth_recipe_dtype(synth_recipe_find("q4_k"), &odd), DTYPE_Q5_0);
    assert_int_equal(synth_recipe_dtype(synth_recipe_find("iq2_s"), &odd), DTYPE_IQ4_NL);
    odd.row = 40;
    assert_int_equal(synth_recipe_dtype(synth_recipe_find("q8_0"), &odd), DTYPE_F16);
}

static void weights_have_mean_0_and_the_deviation_asked_for(void **state) {
    (void)state;
    enum { N_BLOCKS = 512 };
    for (int dtype = 0; dtype < DTYPE_N_COMPUTE; dtype++) {
        if (dtype == DTYPE_Q8_K)
            continue; /* never in files */
        const struct dtype_info *info = dtype_info((enum dtype)dtype);
        uint64_t n_blocks = info->block_elements == 1 ? N_BLOCKS * 64 : N_BLOCKS;
        uint64_t n = n_blocks * info->block_elements;
        struct synth_fill fill = {
            .dtype = (enum dtype)dtype, .std = 0.02f, .key = synth_fill_key(1, info->name)};
        unsigned char *bytes = malloc(n_blocks * info->block_bytes + 8);
        float *values = malloc(n * sizeof *values);
        assert_true(bytes && values);
        synth_fill(bytes, &fill, 0, n_blocks);
        quant_dequantise_row((enum dtype)dtype, bytes, (uint32_t)n, values);
        double sum = 0, squares = 0;
        for (uint64_t i = 0; i < n; i++) {
            assert_true(isfinite(values[i]));
            sum += (double)values[i];
            squares += (double)values[i] * (double)values[i];
        }
        double deviation = sqrt(squares / (double)n), mean = sum / (double)n;
        if (fabs(deviation - 0.02) > 0.0008 || fabs(mean) > 0.003)
            fail_msg("%s: mean %g, deviation %g", info->name, mean, deviation);
        free(values);
        free(bytes);
    }
}

static void a_place_has_the_same_bytes_wherever_filling_begins(void **state) {
    (void)state;
    static const enum dtype dtypes[] = {DTYPE_F32,  DTYPE_BF16, DTYPE_Q8_0,
                                        DTYPE_Q6_K, DTYPE_Q4_1, DTYPE_MXFP4};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        uint64_t block_bytes = dtype_info(dtypes[i])->block_bytes, n = 300;
        struct synth_fill fill = {.dtype = dtypes[i], .std = 1, .key = 7};
        unsigned char *whole = malloc(n * block_bytes + 8), *rest = malloc(n * block_bytes + 8);
        synth_fill(whole, &fill, 0, n);
        synth_fill(rest, &fill, 2 * SYNTH_FILL_BLOCKS, n - 2 * SYNTH_FILL_BLOCKS);
        assert_memory_equal(whole + 2 * SYNTH_FILL_BLOCKS * block_bytes, rest,
                            (n - 2 * SYNTH_FILL_BLOCKS) * block_bytes);
        fill.key = synth_fill_key(2, "another");
        synth_fill(rest, &fill, 0, n);
        assert_memory_not_equal(whole, rest, n * block_bytes);
        free(whole);
        free(rest);
    }
}

/* Runs `shoal synth <path> <arguments>`; returns its exit status. */
static int synth(const char *path, const char *arguments) {
    struct support_options s;
    char line[512];
    snprintf(line, sizeof line, "synth %s %s", path, arguments);
    assert_int_equal(support_read(&s, line, NULL), OK);
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    struct cli cli = {
        .command = command_row(CMD_SYNTH), .options = &s.options, .out = out, .err = out};
    int code = command_synth(&cli);
    fclose(out);
    support_free(&s);
    return code;
}

static void folder_init(char folder[32], char path[64]) {
    snprintf(folder, 32, "/tmp/shoal-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, 64, "%s/m.gguf", folder);
}

static void open_all(struct gguf *gguf, struct hparams *hp, const char *path, bool with_mtp) {
    struct error err = {0};
    struct weights w;
    struct arena arena = {0};
    if (gguf_open(gguf, path, &err) || hparams_read(hp, gguf, &err) ||
        weights_bind(&w, gguf, hp, with_mtp, &arena, &err))
        fail_msg("%s", err.text);
    assert_true((w.mtp != NULL) == with_mtp);
    arena_free(&arena);
}

static void every_architecture_is_written_and_opens(void **state) {
    (void)state;
    char folder[32], path[64], arguments[64];
    folder_init(folder, path);
    for (int arch = 0; arch < ARCH_N; arch++) {
        struct gguf gguf;
        struct hparams hp;
        bool with_mtp = arch != ARCH_QWEN3MOE;
        snprintf(arguments, sizeof arguments, "--arch %s %s", arch_name((enum arch)arch),
                 with_mtp ? "--mtp" : "");
        assert_int_equal(synth(path, arguments), CLI_OK);
        open_all(&gguf, &hp, path, with_mtp);
        assert_int_equal(hp.arch, arch);
        assert_int_equal(hp.d_model, 256);
        assert_int_equal(hp.n_layers, 4);
        assert_int_equal(hp.n_experts, arch == ARCH_QWEN35 ? 0 : 8);
        assert_true(gguf.parts[0].bytes.len < 20000000);
        gguf_close(&gguf);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void options_change_the_shape(void **state) {
    (void)state;
    char folder[32], path[64];
    struct gguf gguf;
    struct hparams hp;
    folder_init(folder, path);
    assert_int_equal(synth(path, "--layers 3 --vocab 600 --recipe iq3_s --set expert_count=4 --set "
                                 "ssm.time_step_rank=6 --set rope.dimension_count=96 --set "
                                 "full_attention_interval=2 --set rope.scaling.factor=4"),
                     CLI_OK);
    open_all(&gguf, &hp, path, false);
    assert_int_equal(hp.n_layers, 3);
    assert_int_equal(hp.n_vocab, 600);
    assert_int_equal(hp.n_experts, 4);
    assert_int_equal(hp.n_v_heads, 6);
    assert_int_equal(hp.conv_dim, 2 * 2 * 128 + 6 * 128);
    assert_int_equal(hp.rope_sections[0] + hp.rope_sections[1] + hp.rope_sections[2], 48);
    assert_int_equal(hp.n_attention_layers, 1);
    assert_true(hp.yarn_factor == 4);
    assert_int_equal(hp.yarn_n_ctx, 32768);
    gguf_close(&gguf);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void same_seed_same_file_another_seed_other_weights(void **state) {
    (void)state;
    char folder[32], path[64];
    struct gguf gguf[3];
    folder_init(folder, path);
    static const char *const seeds[] = {"--seed 5", "--seed 5", "--seed 6"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(synth(path, seeds[i]), CLI_OK);
        assert_int_equal(gguf_open(&gguf[i], path, NULL), OK);
        unlink(path);
    }
    struct span a = gguf[0].parts[0].bytes, b = gguf[1].parts[0].bytes, c = gguf[2].parts[0].bytes;
    assert_true(span_eq(a, b));
    assert_int_equal(a.len, c.len);
    assert_false(span_eq(a, c));
    for (int i = 0; i < 3; i++)
        gguf_close(&gguf[i]);
    assert_int_equal(rmdir(folder), 0);
}

static void split_file_has_the_tensors_of_the_whole(void **state) {
    (void)state;
    char folder[32], path[64], part[128];
    struct gguf whole, split;
    struct hparams hp;
    folder_init(folder, path);
    assert_int_equal(synth(path, "--recipe q8_0"), CLI_OK);
    assert_int_equal(synth(path, "--recipe q8_0 --split-max-size 4MiB"), CLI_OK);
    snprintf(part, sizeof part, "%s/m-00001-of-00003.gguf", folder);
    open_all(&whole, &hp, path, false);
    open_all(&split, &hp, part, false);
    assert_int_equal(split.n_parts, 3);
    for (uint32_t i = 0; i < whole.n_tensors; i++) {
        const struct gguf_tensor *t = &whole.tensors[i], *s = &split.tensors[i];
        assert_true(span_eq(t->name, s->name));
        assert_memory_equal(t->tensor.data, s->tensor.data, t->tensor.bytes);
    }
    for (uint32_t i = 0; i < 3; i++)
        unlink(split.parts[i].path);
    gguf_close(&whole);
    gguf_close(&split);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void vocabulary_is_a_tokenizer_with_the_published_template(void **state) {
    (void)state;
    char folder[32], path[64];
    struct gguf gguf;
    struct hparams hp;
    struct tokenizer *t;
    struct error err = {0};
    struct token_ids ids = {0};
    bool exact;
    folder_init(folder, path);
    assert_int_equal(synth(path, "--vocab 2000"), CLI_OK);
    open_all(&gguf, &hp, path, false);
    if (tokenizer_open(&t, &gguf, &err))
        fail_msg("%s", err.text);
    struct span text = span_of("<|im_start|> the people\xc3\xa9<think>");
    assert_int_equal(tokenizer_encode(t, text, true, &ids, &err), OK);
    assert_int_equal(ids.n, 6); /* marker, two words, two bytes, marker */
    struct text back = {0};
    for (size_t i = 0; i < ids.n; i++)
        text_add(&back, tokenizer_bytes(t, ids.data[i]));
    assert_true(span_eq(text_span(&back), text));
    assert_true(tokenizer_is_end(t, tokenizer_find_added(t, "<|im_end|>")));
    assert_int_equal(tokenizer_kind(t, 1999), TOKEN_UNUSED);
    assert_int_equal(tokenizer_kind(t, ids.data[5]), TOKEN_USER_DEFINED);
    assert_int_equal(chat_template_of(&gguf, &exact), CHAT_QWEN35);
    assert_true(exact);
    text_free(&back);
    token_ids_free(&ids);
    tokenizer_close(t);
    gguf_close(&gguf);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void wrong_options_are_usage_errors_and_leave_no_file(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "--preset 7b",
        "--recipe q9_k",
        "--set expert_count",
        "--set expert_cuont=4",
        "--set expert_count=four",
        "--set expert_count=4.5",
        "--set feed_forward_length=512", /* of another architecture */
        "--set expert_used_count=9",
        "--set attention.head_count=3",
        "--arch qwen3moe --mtp",
    };
    char folder[32], path[64];
    folder_init(folder, path);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (synth(path, wrong[i]) != CLI_USAGE)
            fail_msg("'%s' was not refused", wrong[i]);
    }
    assert_int_equal(synth("", ""), CLI_USAGE);
    assert_int_equal(rmdir(folder), 0);
}

static void existing_file_is_replaced_only_with_force(void **state) {
    (void)state;
    char folder[32], path[64];
    folder_init(folder, path);
    assert_int_equal(synth(path, ""), CLI_OK);
    assert_int_equal(synth(path, ""), CLI_FAILED);
    assert_int_equal(synth(path, "--force"), CLI_OK);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_have_the_published_numbers_of_parameters),
        cmocka_unit_test(q4_k_m_gives_more_bits_to_the_published_layers),
        cmocka_unit_test(other_recipes_follow_their_rules),
        cmocka_unit_test(weights_have_mean_0_and_the_deviation_asked_for),
        cmocka_unit_test(a_place_has_the_same_bytes_wherever_filling_begins),
        cmocka_unit_test(every_architecture_is_written_and_opens),
        cmocka_unit_test(options_change_the_shape),
        cmocka_unit_test(same_seed_same_file_another_seed_other_weights),
        cmocka_unit_test(split_file_has_the_tensors_of_the_whole),
        cmocka_unit_test(vocabulary_is_a_tokenizer_with_the_published_template),
        cmocka_unit_test(wrong_options_are_usage_errors_and_leave_no_file),
        cmocka_unit_test(existing_file_is_replaced_only_with_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
