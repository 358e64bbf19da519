/* SPDX-License-Identifier: Apache-2.0 */
/* One answer of a model to the messages of a conversation. Engine thread only. */
#ifndef SHOAL_CLI_ANSWER_H
#define SHOAL_CLI_ANSWER_H

#include "cli/conversation.h"

struct answer_request {
    struct conversation *conversation;
    output_sink *sink; /* sees every event as it comes */
    void *user;
};

/* *reply: the message of the assistant, for the caller to release or to keep. */
enum status answer_generate(const struct answer_request *request, struct answer *answer,
                            struct json_object **reply, struct error *err);

/* The sampling options as the sampler wants them, with a random seed if none was given; bias
 * values go to c->bias. ERR_INPUT names the option. */
enum status sampling_params(const struct conversation *c, struct sampler_params *params,
                            struct error *err);

#endif
