/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which elements of a JSON array a writer kept, moved, changed, put in and removed, by what it had
 * read (old) and what it wrote (new). arraydiff.c has the rules. The same result everywhere. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/arena.h"
#include "engine/json.h"

#define ARRAYDIFF_NONE UINT32_MAX

/* An element of new. */
struct arraydiff_item {
	const struct json *new;
	const struct json *old; /* the element that it continues; NULL: it is a new one */
	uint32_t old_at;        /* where that stood; ARRAYDIFF_NONE */
	bool changed;           /* its value is another one */
	bool moved;             /* it left the order; the others have kept theirs */
};

struct arraydiff {
	struct arraydiff_item *item; /* one for each element of new, in order */
	uint32_t count;
	uint32_t *removed; /* the places of old that nothing continues, ascending */
	uint32_t removed_count;
	const char *key; /* the name of the member that tells elements apart; NULL: none */
	size_t key_len;
	uint64_t steps; /* work done: at most ARRAYDIFF_STEPS */
};

/* What two arrays of n elements together cost at most, besides hashing them, in steps. */
#define ARRAYDIFF_STEPS(n) (256 * (uint64_t)(n) + (UINT64_C(1) << 18))

/* Matches the elements of two arrays, in a. key: the name of the member that was declared to tell
 * elements apart; NULL: none was. The result refers to both trees and to key. -ENOMEM; *ret is
 * untouched then. Any thread. */
int arraydiff(struct arena *a, const struct json *old, const struct json *new, const char *key,
	      size_t key_len, struct arraydiff *ret);
