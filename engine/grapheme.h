/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Grapheme clusters, what a person calls a character (Unicode Standard Annex 29): a letter with its
 * accents, a flag, a family of emoji, CR LF. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* brk[i] becomes 1 where a cluster begins at text[i], else 0. The text is valid UTF-8, and its
 * beginning is a boundary. */
void grapheme_breaks(const uint8_t *text, size_t len, uint8_t *brk);

/* Is text[at] (at <= len) the beginning of a cluster, whatever the text says elsewhere? Looks at
 * the code points on both sides of it alone, in constant time; false: it may be one nevertheless,
 * or there is no valid code point. */
bool grapheme_certain(const uint8_t *text, size_t len, size_t at);
