/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes, opened as the header of a model file. What is accepted must keep the
 * promises of gguf.h, hparams.h and weights.h. */
#include "model/weights.h"
#include "tests/fuzz/support_fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_gguf(const struct gguf *gguf) {
    struct span file = gguf->parts[0].bytes;
    fuzz_check(gguf->parts[0].header_bytes <= file.len);
    for (uint32_t i = 0; i < gguf->n_tensors; i++) {
        char name[GGUF_NAME_MAX + 1] = {0};
        memcpy(name, gguf->tensors[i].name.data, gguf->tensors[i].name.len);
        fuzz_check(gguf_find_tensor(gguf, name) == &gguf->tensors[i]);
        fuzz_check(gguf->tensors[i].tensor.data == NULL);
    }
    for (uint32_t i = 0; i < gguf->n_pairs; i++) {
        const struct gguf_value *value = &gguf->pairs[i].value;
        if (value->type != GGUF_ARRAY || value->array.type != GGUF_STRING)
            continue;
        struct gguf_strings strings = {.rest = value->array.bytes, .n_left = value->array.n};
        struct span string;
        while (gguf_strings_next(&strings, &string))
            fuzz_check(string.data + string.len <= file.data + file.len);
        fuzz_check(strings.rest.len == 0);
    }
}

static void check_hparams(const struct hparams *hp) {
    fuzz_check(hp->n_layers >= 1 && hp->n_layers + hp->n_mtp_layers <= HPARAMS_LAYERS_MAX);
    fuzz_check(hp->n_attention_layers + hp->n_gdn_layers == hp->n_layers);
    fuzz_check(hp->n_heads % hp->n_kv_heads == 0 && hp->n_rot <= hp->d_head);
    fuzz_check(hp->n_gdn_layers == 0 || hp->n_v_heads % hp->n_k_heads == 0);
    fuzz_check(hp->top_k <= hp->n_experts && (hp->n_experts > 0) != (hp->d_ff > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct gguf gguf;
    struct hparams hp;
    struct weights w;
    struct arena arena = {0};
    struct error err = {0};
    enum status status =
        gguf_parse(&gguf, "fuzz.gguf", span_make((const char *)data, size), true, &err);
    if (!status) {
        check_gguf(&gguf);
        status = hparams_read(&hp, &gguf, &err);
    }
    if (!status) {
        check_hparams(&hp);
        status = weights_bind(&w, &gguf, &hp, true, &arena, &err);
    }
    fuzz_check(!status || strstr(err.text, "fuzz.gguf"));
    gguf_close(&gguf);
    arena_free(&arena);
    return 0;
}
