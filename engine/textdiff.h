/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Difference of two texts in UTF-8, as a person would tell it and as a merge needs it: by lines,
 * then by words, then by characters. textdiff.c has the rules. The same result everywhere. */

#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/histdiff.h"

#define TEXTDIFF_SIZE_MAX (64u << 20)

struct textdiff {
	struct hunk *edit; /* in bytes; ascending, not empty, not adjacent */
	uint32_t count;
	uint64_t steps; /* work done, in elements looked at: at most TEXTDIFF_STEPS */
};

/* What the difference of two texts of n bytes together costs at most, in steps. */
#define TEXTDIFF_STEPS(n) (320 * (uint64_t)(n) + 4096)

/* The edits that turn old into new, in a. Each begins and ends, in both texts, at the boundary of a
 * grapheme cluster; where a stretch that changed is not UTF-8, at any byte. Errors: -EFBIG a text
 * is longer than TEXTDIFF_SIZE_MAX; -ENOMEM. *ret is untouched on failure. Any thread. */
int textdiff(struct arena *a, const void *old, size_t old_len, const void *new, size_t new_len,
	     struct textdiff *ret);
