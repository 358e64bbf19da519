/* SPDX-License-Identifier: Apache-2.0 */
/* One valid message of every kind, with and without what may be missing or largest. */
#ifndef SHOAL_TESTS_PROTO_SUPPORT_FRAMES_H
#define SHOAL_TESTS_PROTO_SUPPORT_FRAMES_H

#include "proto/frame.h"

#define N_SAMPLES 11

/* Length and frame of sample `idx` into `buffer`; returns how many bytes. A sample that cannot be
 * written fails the test. */
size_t sample_frame(uint32_t idx, unsigned char buffer[1024]);

#endif
