/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of JSON (RFC 8259), as a yes or no before anything is built.
 *
 * json-c reads more than JSON even when told to be strict: names in single quotes, NaN, "-01",
 * "1.", raw control characters. Bytes from outside are therefore checked here first, in one pass
 * without recursion. */
#ifndef SHOAL_BASE_JSON_SYNTAX_H
#define SHOAL_BASE_JSON_SYNTAX_H

#include "base/error.h"
#include "base/span.h"

#define JSON_DEPTH_MAX 128 /* arrays and objects inside each other */

/* Exactly one value with white space around it, in valid UTF-8. ERR_INPUT names the byte offset;
 * ERR_LIMIT: deeper than JSON_DEPTH_MAX. A zero character in a property name is refused too,
 * because C libraries would end the name there. */
enum status json_check_syntax(struct span bytes, struct error *err);

#endif
