/* SPDX-License-Identifier: Apache-2.0 */
/* What several fuzz targets share. */
#ifndef SHOAL_TESTS_FUZZ_SUPPORT_FUZZ_H
#define SHOAL_TESTS_FUZZ_SUPPORT_FUZZ_H

#include <stdbool.h>

#include "model/tokenizer.h"

/* A broken promise ends the process, which is what libFuzzer reports. */
void fuzz_check(bool promise);

/* That of the demonstration model, opened once: libFuzzer calls a target in one thread. */
const struct tokenizer *fuzz_tokenizer(void);

#endif
