/* SPDX-License-Identifier: Apache-2.0 */
/* Unicode normalisation form C, in linear time.
 *
 * utf8proc knows decompositions and compositions, but it sorts the marks of a character by
 * exchanging neighbours: a text of marks alone would take quadratic time. So the sorting is
 * ours, and text that is in form C already is recognised and copied. Source: Unicode Standard
 * Annex 15. */
#ifndef SHOAL_MODEL_NFC_H
#define SHOAL_MODEL_NFC_H

#include <stdbool.h>

#include "base/error.h"
#include "base/span.h"
#include "base/text.h"

/* True only if `utf8` (valid) is surely in form C: no character that could change or compose. */
bool nfc_is_plain(struct span utf8);

/* Appends the form C of `utf8` (valid). ERR_NOMEM. */
enum status nfc_append(struct text *out, struct span utf8, struct error *err);

#endif
