/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Values in the keys of indexes: bytes whose order, by memcmp, is that in which SQL sorts what body ->> '$.path' gives
 * (shoal-query(7), "Values"): NULL, then numbers, then texts by their bytes. Equal values have equal bytes, and no number is
 * rounded. Several behind each other are sorted by the first one, then by the next.
 *
 *     05                               NULL
 *     10, u64 double, u16 rest         a number: the largest double that is not greater, its bits so that they sort
 *                                      (negative ones inverted, else the sign set), and what an integer has beyond it
 *     20, bytes, 00 00                 a text; each 00 in it is 00 ff
 *     20, 1024 bytes, 00 01            the beginning of a longer one
 *
 * Any thread. */

#include "engine/buf.h"
#include "engine/json.h"

enum { INDEXKEY_NULL = 0x05, INDEXKEY_NUMBER = 0x10, INDEXKEY_TEXT = 0x20, INDEXKEY_END = 0x30 /* behind all of them */ };

#define INDEXKEY_TEXT_MAX 1024 /* bytes of a text */

void indexkey_integer(struct buf *b, int64_t v);
void indexkey_real(struct buf *b, double v); /* not NaN */
/* True: it was cut. */
bool indexkey_text(struct buf *b, const char *text, size_t len);
/* A text's beginning, for all texts that begin so. */
void indexkey_prefix(struct buf *b, const char *text, size_t len);
/* What ->> gives for a value of a document; NULL: nothing is there. 1: it was cut; 0; -ENOMEM. */
int indexkey_json(struct buf *b, const struct json *v);
