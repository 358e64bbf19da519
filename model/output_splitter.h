/* SPDX-License-Identifier: Apache-2.0 */
/* Generated text, as it streams, split into reasoning, content and tool calls.
 *
 *     thought --</think>--> gap (white space dropped) --> answer --<tool_call>--> call --> answer
 *        \--<tool_call> ws <function= ----------------------------------^
 *
 * Text that could be the beginning of a marker is held back until it is decided, and so is white
 * space that may turn out to stand at an end: the thought is trimmed at both ends, content before
 * a call at its right end. Characters of several bytes are never cut. What comes out does not
 * depend on how the input was cut into pushes.
 *
 * A block that does not begin as a call must is content, unchanged. A call that is cut off keeps
 * the parameters that were complete. Text behind a call is content again. */
#ifndef SHOAL_MODEL_OUTPUT_SPLITTER_H
#define SHOAL_MODEL_OUTPUT_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "base/text.h"

enum output_kind {
    OUTPUT_REASONING,      /* text of the thought */
    OUTPUT_CONTENT,        /* text of the answer */
    OUTPUT_CALL_BEGIN,     /* name of a tool call */
    OUTPUT_CALL_ARGUMENTS, /* a piece of its JSON arguments; the pieces together are the object */
    OUTPUT_CALL_END,
};

struct output_event {
    enum output_kind kind;
    struct span text; /* view; valid during the callback only */
};
typedef void output_sink(void *user, const struct output_event *event);

struct output_splitter; /* opaque */

enum call_format {
    CALLS_XML, /* qwen3.5, 3.6: <function=NAME> <parameter=KEY> VALUE </parameter> </function> */
    /* qwen3: {"name": NAME, "arguments": {...}}. Its prompt does not open the thought, so a <think>
     * at the front of the text does. */
    CALLS_JSON,
};

struct output_splitter_options {
    bool starts_in_thought; /* the prompt ended with an open <think> */
    enum call_format calls;
    struct json_object *tools; /* schemas for argument types; borrowed; NULL: as text or JSON */
    output_sink *sink;
    void *user;
};
enum status output_splitter_open(struct output_splitter **out,
                                 const struct output_splitter_options *options, struct error *err);
void output_splitter_close(struct output_splitter *s); /* NULL is fine */

/* Text in (any bytes); events out. ERR_NOMEM. */
enum status output_splitter_push(struct output_splitter *s, struct span text, struct error *err);

/* The end of generation: what was held back is decided. Bytes that never became a character come
 * out as U+FFFD. Afterwards only close may follow. */
enum status output_splitter_finish(struct output_splitter *s, struct error *err);

#endif
