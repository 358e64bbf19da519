/* SPDX-License-Identifier: Apache-2.0 */
/* The table: what is chosen, what is refused and in which words. */
#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/kernels/support_kernels.h"

static void every_variant_fills_the_whole_table(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    for (size_t i = 0; i < variants.n; i++) {
        const struct kernels *k = &variants.table[i];
        assert_non_null(k->name);
        assert_non_null(k->activation_quantise);
        assert_non_null(k->embed);
        assert_non_null(k->rmsnorm);
        assert_non_null(k->matmul);
        assert_non_null(k->rope);
        assert_non_null(k->kv_append);
        assert_non_null(k->attention);
        assert_non_null(k->gdn_conv);
        assert_non_null(k->gdn_step);
        assert_non_null(k->gdn_gate);
        assert_non_null(k->gdn_mix);
        assert_non_null(k->router);
        assert_non_null(k->experts);
        assert_non_null(k->swiglu);
        assert_non_null(k->add);
        assert_non_null(k->add_shared);
    }
}

static void only_the_reference_is_exact(void **state) {
    (void)state;
    struct variants variants;
    variants_init(&variants);
    assert_string_equal(variants.table[0].name, "ref");
    for (size_t i = 0; i < variants.n; i++)
        assert_int_equal(variants.table[i].exact, i == 0);
}

static void auto_is_the_best_that_runs(void **state) {
    (void)state;
    struct variants variants;
    struct kernels best;
    struct error err;
    variants_init(&variants);
    assert_int_equal(kernels_init(&best, "auto", &err), OK);
    assert_string_equal(best.name, variants.table[variants.n - 1].name);
}

static void an_unknown_name_is_refused_with_the_list(void **state) {
    (void)state;
    struct kernels kernels;
    struct error err;
    assert_int_equal(kernels_init(&kernels, "sse9", &err), ERR_INPUT);
    assert_non_null(strstr(err.text, "'sse9'"));
    assert_non_null(strstr(err.text, "auto, ref"));
}

static void a_variant_the_machine_lacks_is_refused_with_what_it_has(void **state) {
    (void)state;
    struct kernels kernels;
    struct error err;
    enum status status = kernels_init(&kernels, "avx512", &err);
    if (status == OK)
        skip(); /* this machine has them all */
    if (status == ERR_UNSUPPORTED)
        assert_non_null(strstr(err.text, "it has: ref"));
    else
        assert_int_equal(status, ERR_INPUT); /* built for another kind of processor */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_fills_the_whole_table),
        cmocka_unit_test(only_the_reference_is_exact),
        cmocka_unit_test(auto_is_the_best_that_runs),
        cmocka_unit_test(an_unknown_name_is_refused_with_the_list),
        cmocka_unit_test(a_variant_the_machine_lacks_is_refused_with_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
