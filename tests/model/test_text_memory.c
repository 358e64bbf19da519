/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is gone, at every place where the text side asks for it: allocation 0 fails, then
 * allocation 1, and so on until the whole job succeeds. Each failure must be reported as
 * ERR_NOMEM, and what was taken before must be given back (a leak shows in the counter).
 *
 * The C library's allocator is replaced in this program; a sanitizer has replaced it already. */
#include "model/chat_template.h"
#include "model/output_splitter.h"
#include "support_files.h"
#include "support_vocabulary.h"
#include "tests/support/sanitizers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef SANITIZED

static void memory_that_is_gone_is_reported(void **state) {
    (void)state;
    print_message("skipped: the sanitizer's allocator cannot be replaced\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_that_is_gone_is_reported)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* glibc's own names, for programs that replace the public ones. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *p);

static struct {
    bool armed;
    size_t n_until_failure;
    bool failed; /* the failure has happened */
    long n_live; /* allocations taken and not given back while armed */
} heap;

static bool fails(void) {
    if (!heap.armed)
        return false;
    if (heap.n_until_failure-- > 0)
        return false;
    heap.failed = true;
    heap.n_until_failure = SIZE_MAX; /* once is enough: the way out may need memory */
    errno = ENOMEM;
    return true;
}

static void *taken(void *p) {
    heap.n_live += heap.armed && p;
    return p;
}

void *malloc(size_t bytes) {
    return fails() ? NULL : taken(__libc_malloc(bytes));
}

void *calloc(size_t n, size_t bytes) {
    return fails() ? NULL : taken(__libc_calloc(n, bytes));
}

void *realloc(void *old, size_t bytes) {
    if (fails())
        return NULL;
    return old ? __libc_realloc(old, bytes) : taken(__libc_realloc(old, bytes));
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return fails() ? NULL : taken(__libc_memalign(alignment, bytes));
}

void free(void *p) {
    heap.n_live -= heap.armed && p;
    __libc_free(p);
}

/* What the jobs work on; made while memory is there. */
struct fixture {
    struct vocabulary v;
    struct tokenizer_tables tables;
    struct tokenizer *tokenizer;
    struct json_object *chat;
    struct text word; /* long enough for the heap of pairs */
};

typedef enum status job(const struct fixture *f);

/* Runs the job with allocation 0, 1, 2 ... failing, until none does. */
static void fail_everywhere(const struct fixture *f, job *work) {
    for (size_t k = 0; k < 10000; k++) {
        heap.n_until_failure = k;
        heap.failed = false;
        heap.n_live = 0;
        heap.armed = true;
        enum status status = work(f);
        heap.armed = false;
        assert_int_equal(heap.n_live, 0);
        if (!heap.failed) {
            assert_int_equal(status, OK);
            assert_true(k > 0);
            return;
        }
        assert_int_equal(status, ERR_NOMEM);
    }
    fail_msg("no end after 10000 allocations");
}

static enum status open_vocabulary(const struct fixture *f) {
    struct tokenizer *t = NULL;
    struct error err;
    enum status status = tokenizer_open_tables(&t, &f->tables, &err);
    tokenizer_close(t);
    return status;
}

static enum status encode_text(const struct fixture *f) {
    struct token_ids ids = {0};
    struct error err;
    enum status status = tokenizer_encode(f->tokenizer, text_span(&f->word), true, &ids, &err);
    token_ids_free(&ids);
    return status;
}

static enum status render_chat(const struct fixture *f) {
    struct chat_input input = {.messages = f->chat,
                               .tools = f->chat,
                               .add_vision_id = true,
                               .add_generation_prompt = true};
    struct chat_prompt prompt = {0};
    struct token_ids ids = {0};
    struct error err;
    enum status status = chat_render(&prompt, CHAT_QWEN35, &input, &err);
    if (status == OK)
        status = chat_tokenize(&prompt, f->tokenizer, &ids, &err);
    token_ids_free(&ids);
    chat_prompt_free(&prompt);
    return status;
}

static void ignore(void *user, const struct output_event *event) {
    (void)user, (void)event;
}

static enum status split_output(const struct fixture *f) {
    (void)f;
    struct output_splitter_options options = {.starts_in_thought = true, .sink = ignore};
    struct output_splitter *s = NULL;
    struct error err;
    enum status status = output_splitter_open(&s, &options, &err);
    struct span text = span_of("hm </think>\n\nLook. <tool_call>\n<function=get_weather>\n"
                               "<parameter=city>\nRome\n</parameter>\n<parameter=n>\n5\n"
                               "</parameter>\n</function>\n</tool_call>\n\xe2\x82");
    if (status == OK)
        status = output_splitter_push(s, text, &err);
    if (status == OK)
        status = output_splitter_finish(s, &err);
    output_splitter_close(s);
    return status;
}

static void opening_a_vocabulary_reports_it(void **state) {
    fail_everywhere(*state, open_vocabulary);
}

static void encoding_reports_it(void **state) {
    fail_everywhere(*state, encode_text);
}

static void rendering_reports_it(void **state) {
    fail_everywhere(*state, render_chat);
}

static void splitting_reports_it(void **state) {
    fail_everywhere(*state, split_output);
}

static int open_fixture(void **state) {
    static struct fixture f;
    struct error err;
    vocabulary_init(&f.v, 300);
    vocabulary_add_bytes(&f.v);
    vocabulary_add(&f.v, span_of("aa"), TOKEN_NORMAL);
    vocabulary_add(&f.v, span_of("<|im_end|>"), TOKEN_CONTROL);
    vocabulary_add_merge(&f.v, span_of("a"), span_of("a"));
    f.tables = vocabulary_tables(&f.v, SPLIT_QWEN35);
    for (int i = 0; i < 100; i++)
        text_add_str(&f.word, i % 40 ? "a" : "<|im_end|>e\xcc\x81 ");
    static const char chat[] =
        "[{\"role\":\"user\",\"content\":[{\"text\":\"Hi\"},{\"image\":1},{\"text\":\"a\"}]},"
        "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":"
        "{\"a\":1,\"b\":[true],\"c\":\"s\"}}]},{\"role\":\"tool\",\"content\":\"y\"}]";
    *state = &f;
    return tokenizer_open_tables(&f.tokenizer, &f.tables, &err) != OK ||
           json_parse(span_of(chat), &f.chat, &err) != OK;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    tokenizer_close(f->tokenizer);
    json_object_put(f->chat);
    text_free(&f->word);
    vocabulary_free(&f->v);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_a_vocabulary_reports_it),
        cmocka_unit_test(encoding_reports_it),
        cmocka_unit_test(rendering_reports_it),
        cmocka_unit_test(splitting_reports_it),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}

#endif
