/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Difference of two sequences of things (lines, words, array elements), each given by a 64-bit
 * token, usually its hash. What occurs rarely on both sides decides what belongs together: a
 * person's idea of a difference rather than the shortest script. The same result everywhere. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"

/* More elements on either side, when the common ends are off, are not compared. */
#define HISTDIFF_MAX (2u << 20)

/* Work for n elements of both sides together, unless the caller sets less; counted in elements
 * looked at. What the limit leaves undone is replaced as a whole. */
#define HISTDIFF_STEPS(n) (128 * (uint64_t)(n))

struct histdiff_in {
	const uint64_t *old, *new; /* tokens */
	uint32_t old_count, new_count;
	/* Are two things with equal tokens really equal? They are numbered through: old ones, then
	 * new ones. Has to be an equivalence. NULL: the tokens say it. */
	bool (*same)(const void *userdata, uint32_t i, uint32_t j);
	const void *userdata;
	bool shortest;  /* by Myers, without regard to rarity: the shortest script */
	uint64_t steps; /* lowers HISTDIFF_STEPS; 0: does not */
};

/* old[at ... at + len) is replaced with new[...]; one of the lengths may be 0. */
struct hunk {
	uint32_t old, old_len, new, new_len;
};

struct histdiff {
	struct hunk *hunk; /* ascending; between two of them is at least one matched element */
	uint32_t count;
	uint64_t steps; /* work done: at most the limit and 16 for each element */
	size_t memory;  /* bytes of scratch used: at most 160 for each element and 64 KiB */
};

/* The hunks that turn old into new, in a. What is outside of the hunks is equal, in order. -EFBIG:
 * 2^31 elements or more; -ENOMEM. *ret is untouched on failure. Any thread. */
int histdiff(struct arena *a, const struct histdiff_in *in, struct histdiff *ret);
