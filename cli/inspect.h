/* SPDX-License-Identifier: Apache-2.0 */
/* What `inspect` looks at: a file that can be read, and mostly a model that can be run. A file of
 * another architecture is still described; what needs the model is then left out. */
#ifndef SHOAL_CLI_INSPECT_H
#define SHOAL_CLI_INSPECT_H

#include "cli/command.h"
#include "model/model.h"
#include "plan/memory_plan.h"

struct inspection {
    struct cli *cli;
    const struct gguf *gguf; /* of the model, or of the file alone */
    struct model model;      /* if is_model; weights without the MTP block */
    bool is_model;
    struct error why_not; /* it is no model that runs here */
    struct gguf file;     /* if not is_model */
    struct memory_plan plan;
};

/* Totals over all tensors of the file. */
uint64_t inspect_n_params(const struct gguf *gguf);
uint64_t inspect_file_bytes(const struct gguf *gguf);

/* Each writes one description to cli->out. */
enum status inspect_summary(const struct inspection *in, struct error *err);
enum status inspect_tensors(const struct inspection *in, const char *pattern, struct error *err);
enum status inspect_template(const struct inspection *in, struct error *err);
enum status inspect_tokenizer(const struct inspection *in, struct error *err);
enum status inspect_json(const struct inspection *in, struct error *err);

/* Every check that needs no prompt, one row each. ERR_INPUT: something is wrong with the file. */
enum status inspect_verify(const struct inspection *in, struct error *err);

#endif
