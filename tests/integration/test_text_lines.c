/* SPDX-License-Identifier: Apache-2.0 */
/* `shoal tokenize`, `detokenize`, `render` and `parse` as scripts use them: one line in, one line
 * out, bad lines named, the run goes on. With the demonstration model. */
#include "tests/integration/support_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Takes the digits out of every "call_<24 digits>". */
static void remove_call_ids(struct text *out) {
    char *at = out->data;
    while (at && (at = strstr(at, "\"call_"))) {
        char *digits = at + strlen("\"call_");
        size_t n = strspn(digits, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
        assert_int_equal(n, 24);
        memmove(digits, digits + n, strlen(digits + n) + 1);
        at = digits;
    }
}

static void check(const char *command, const char *option, const char *input, int exit_code,
                  const char *expected) {
    struct process_result result;
    const char *argv[] = {shoal_program(), command, option, NULL};
    process_run(argv, input, 60, &result);
    remove_call_ids(&result.out);
    assert_string_equal(text_str(&result.out), expected);
    assert_string_equal(text_str(&result.err), "");
    assert_int_equal(result.exit_code, exit_code);
    process_result_free(&result);
}

static void texts_become_ids(void **state) {
    (void)state;
    check("tokenize", NULL, "{\"text\":\"x</think>y\",\"id\":\"a\"}\n\n{\"text\":\"\"}", 0,
          "{\"id\":\"a\",\"ids\":[120,1684,121]}\n{\"ids\":[]}\n");
    check("tokenize", NULL, "{\"text\":\"<think>\",\"parse_special\":false}\n", 0,
          "{\"ids\":[60,116,104,278,107,62]}\n");
    check("tokenize", NULL, "{\"id\":3}\n{\"text\":5}\n{\"text\":\"a\",\"parse_special\":1}\n[]\n",
          1,
          "{\"id\":3,\"error\":{\"line\":1,\"field\":\"text\",\"message\":\"is missing\"}}\n"
          "{\"error\":{\"line\":2,\"field\":\"text\",\"message\":\"must be a string, not "
          "integer\"}}\n"
          "{\"error\":{\"line\":3,\"field\":\"parse_special\",\"message\":"
          "\"must be a boolean, not integer\"}}\n"
          "{\"error\":{\"line\":4,\"field\":null,\"message\":"
          "\"a line must be an object, not array\"}}\n");
}

static void ids_become_text(void **state) {
    (void)state;
    check("detokenize", NULL,
          "{\"ids\":[120,1684,121]}\n{\"ids\":[]}\n{\"ids\":[195,169]}\n{\"ids\":[97,195]}\n", 0,
          "{\"text\":\"x</think>y\"}\n{\"text\":\"\"}\n{\"text\":\"\xc3\xa9\"}\n"
          "{\"text\":\"a\xef\xbf\xbd\",\"bytes\":[97,195]}\n");
    check("detokenize", NULL, "{}\n{\"ids\":[1,2048]}\n{\"ids\":[\"x\"]}\n", 1,
          "{\"error\":{\"line\":1,\"field\":\"ids\",\"message\":\"is missing\"}}\n"
          "{\"error\":{\"line\":2,\"field\":\"ids[1]\",\"message\":\"2048 is not in 0..2047\"}}\n"
          "{\"error\":{\"line\":3,\"field\":\"ids[0]\",\"message\":"
          "\"must be an integer, not string\"}}\n");
}

#define USER "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static void messages_become_prompts(void **state) {
    (void)state;
    check("render", NULL, USER "}\n" USER ",\"add_generation_prompt\":false}\n", 0,
          "{\"text\":\"<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\","
          "\"ids\":[1672,298,10,1274,1673,10,1672,312,10,1683,10]}\n"
          "{\"text\":\"<|im_start|>user\\nHi<|im_end|>\\n\",\"ids\":[1672,298,10,1274,1673,10]}\n");
    check("render", "--chat-template=qwen3",
          USER ",\"enable_thinking\":false}\n" USER ",\"template\":\"qwen3.5-small\","
               "\"add_generation_prompt\":true,\"enable_thinking\":null}\n",
          0,
          "{\"text\":\"<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n"
          "</think>\\n\\n\",\"ids\":[1672,298,10,1274,1673,10,1672,312,10,1683,277,1684,277]}\n"
          "{\"text\":\"<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n"
          "</think>\\n\\n\",\"ids\":[1672,298,10,1274,1673,10,1672,312,10,1683,277,1684,277]}\n");
}

static void messages_that_cannot_be_rendered_are_named(void **state) {
    (void)state;
    check("render", NULL,
          "{}\n{\"messages\":[]}\n{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}\n"
          "{\"messages\":[{\"role\":\"user\"},{\"role\":\"boss\"}],\"id\":1}\n" USER
          ",\"template\":\"llama\"}\n" USER ",\"tools\":{}}\n",
          1,
          "{\"error\":{\"line\":1,\"field\":\"messages\",\"message\":\"is missing\"}}\n"
          "{\"error\":{\"line\":2,\"field\":\"messages\",\"message\":\"No messages provided.\"}}\n"
          "{\"error\":{\"line\":3,\"field\":\"messages\",\"message\":"
          "\"No user query found in messages.\"}}\n"
          "{\"id\":1,\"error\":{\"line\":4,\"field\":\"messages[1].role\",\"message\":"
          "\"Unexpected message role.\"}}\n"
          "{\"error\":{\"line\":5,\"field\":\"template\",\"message\":"
          "\"must be qwen3.5, qwen3.5-small, qwen3.6 or qwen3\"}}\n"
          "{\"error\":{\"line\":6,\"field\":\"tools\",\"message\":"
          "\"must be an array, not object\"}}\n");
}

static void generated_text_is_split(void **state) {
    (void)state;
    check("parse", NULL,
          "{\"text\":\"hm\\n</think>\\n\\nHi\",\"thinking\":true}\n"
          "{\"text\":\"hm\\n</think>\\n\\nHi\"}\n"
          "{\"text\":\"\"}\n{\"text\":null}\n",
          1,
          "{\"reasoning_content\":\"hm\",\"content\":\"Hi\",\"tool_calls\":[]}\n"
          "{\"reasoning_content\":\"\",\"content\":\"hm\\n</think>\\n\\nHi\",\"tool_calls\":[]}\n"
          "{\"reasoning_content\":\"\",\"content\":\"\",\"tool_calls\":[]}\n"
          "{\"error\":{\"line\":4,\"field\":\"text\",\"message\":\"is missing\"}}\n");
}

static void calls_in_generated_text_are_listed(void **state) {
    (void)state;
    check("parse", NULL,
          "{\"text\":\"Look.\\n\\n<tool_call>\\n<function=f>\\n<parameter=a>\\n5\\n</parameter>\\n"
          "</function>\\n</tool_call>\\n<tool_call>\\n<function=g>\\n</function>\\n"
          "</tool_call>\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
          "\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"}}}}}]}\n",
          0,
          "{\"reasoning_content\":\"\",\"content\":\"Look.\",\"tool_calls\":["
          "{\"id\":\"call_\",\"type\":\"function\",\"function\":"
          "{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"5\\\"}\"}},"
          "{\"id\":\"call_\",\"type\":\"function\",\"function\":"
          "{\"name\":\"g\",\"arguments\":\"{}\"}}]}\n");
    check("parse", "--chat-template=qwen3",
          "{\"text\":\"<tool_call>\\n{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {}}\\n"
          "</tool_call>\"}\n",
          0,
          "{\"reasoning_content\":\"\",\"content\":null,\"tool_calls\":["
          "{\"id\":\"call_\",\"type\":\"function\",\"function\":"
          "{\"name\":\"f\",\"arguments\":\"{}\"}}]}\n");
}

static void ids_of_calls_differ_and_repeat(void **state) {
    (void)state;
    static const char input[] = "{\"text\":\"<tool_call><function=f></function></tool_call>"
                                "<tool_call><function=f></function></tool_call>\"}\n";
    const char *argv[] = {shoal_program(), "parse", NULL};
    struct process_result first, again;
    process_run(argv, input, 60, &first);
    process_run(argv, input, 60, &again);
    assert_string_equal(text_str(&first.out), text_str(&again.out));
    const char *one = strstr(text_str(&first.out), "\"call_");
    const char *two = one ? strstr(one + 1, "\"call_") : NULL;
    assert_true(two && strncmp(one, two, strlen("\"call_") + 24) != 0);
    process_result_free(&first);
    process_result_free(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_ids),
        cmocka_unit_test(ids_become_text),
        cmocka_unit_test(messages_become_prompts),
        cmocka_unit_test(messages_that_cannot_be_rendered_are_named),
        cmocka_unit_test(generated_text_is_split),
        cmocka_unit_test(calls_in_generated_text_are_listed),
        cmocka_unit_test(ids_of_calls_differ_and_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
