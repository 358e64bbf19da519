/* SPDX-License-Identifier: Apache-2.0 */
/* What the lines of `render` and `parse` have in common. */
#ifndef SHOAL_CLI_RENDER_H
#define SHOAL_CLI_RENDER_H

#include "base/error.h"
#include "base/json.h"
#include "model/chat_template.h"

/* The field "template" of a line; without it *t stays. ERR_INPUT names the allowed words. */
enum status render_get_template(struct json_object *request, enum chat_template *t,
                                struct error *err);

#endif
