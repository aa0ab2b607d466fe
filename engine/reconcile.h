/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Finds what differs between two sets that two devices hold, without sending the sets: range-based set
 * reconciliation (Meyer 2023, arXiv:2212.13567) over items, each an id with a hash of what stands under
 * it. shoal-protocol(7), section "Comparing sets", has the messages.
 *
 * Ranges are prefixes of ids. One side says the sum over all of its items; where the sums differ, the
 * other one divides the range, and so on in turns, until a range has so few items that they are listed
 * by short digests. In the end each side has been told, by `found`, which of its own items the other one
 * lacks or has with another hash. Items that look alike by their digests (40 bits) though they are not
 * are missed: whoever has to be sure compares again, in another pass, until the sums are equal.
 *
 * What is compared may not change meanwhile: the source is pinned. Nothing here does I/O. Memory: 40
 * bytes for each range that waits for an answer, of which there are at most 2^17 and some more, and
 * RECONCILE_ANSWERS_MAX bytes of bitmaps. One thread at a time. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/id.h"

struct reconcile_item {
	struct id id;   /* each at most once in a set */
	struct id hash; /* of what stands there */
};

/* How many, and the sum modulo 2^128 of a hash (SHA-256) of each. All zero: none. */
struct reconcile_sum {
	uint64_t n, high, low;
};

void reconcile_add(struct reconcile_sum *s, const struct reconcile_item *x);
void reconcile_remove(struct reconcile_sum *s, const struct reconcile_item *x);
void reconcile_join(struct reconcile_sum *s, const struct reconcile_sum *other);
static inline bool reconcile_equal(const struct reconcile_sum *x, const struct reconcile_sum *y)
{
	return x->n == y->n && x->high == y->high && x->low == y->low;
}

/* Is x among the ids that begin with these bits of prefix? */
bool reconcile_in(const struct id *x, const struct id *prefix, unsigned bits);
/* The prefix of bits + step bits that has `child` in its last ones. bits + step <= 128, step <= 63. */
void reconcile_child(const struct id *prefix, unsigned bits, unsigned step, uint64_t child, struct id *ret);
/* Which child that is of which x is one. */
uint64_t reconcile_which(const struct id *x, unsigned bits, unsigned step);

#define RECONCILE_STEP_MAX 6

/* A set; ranges are the ids that begin with the first `bits` bits of prefix, whose others are 0. */
typedef int (*reconcile_fn)(const struct reconcile_item *x, void *userdata);
struct reconcile_source {
	/* The sums of the 2^step ranges that it divides into (step <= RECONCILE_STEP_MAX). */
	int (*sums)(const struct id *prefix, unsigned bits, unsigned step, struct reconcile_sum *ret,
		    void *userdata);
	/* Its items, in any order, as long as f returns 0; what it returns else. */
	int (*items)(const struct id *prefix, unsigned bits, reconcile_fn f, void *f_userdata,
		     void *userdata);
	void *userdata;
};

/* A source of items in memory, sorted by id. Borrowed. */
struct reconcile_array {
	const struct reconcile_item *item;
	size_t n;
};
struct reconcile_source reconcile_array(struct reconcile_array *a);

#define RECONCILE_FRAME_MAX 65536           /* bytes of one frame */
#define RECONCILE_LIST_MAX 8192             /* items of one list */
#define RECONCILE_ASKED_MAX (1u << 17)      /* ranges and lists of the peer that wait for an answer */
#define RECONCILE_ANSWERS_MAX (4u << 20)

struct reconcile;

/* The source is copied, what it points to borrowed. found: of own items that the peer does not have as
 * they are; each at most once; what it returns other than 0 ends the call that it was made by. */
int reconcile_new(const struct reconcile_source *source, reconcile_fn found, void *userdata,
		  struct reconcile **ret);
void reconcile_free(struct reconcile *r);
/* This side begins; the other one waits. pass: how often these two have compared before. */
int reconcile_begin(struct reconcile *r, uint64_t pass);
/* A frame of the peer. -EPROTO, -ENOMEM, errors of the source and of found; after one it can only be
 * freed. */
int reconcile_take(struct reconcile *r, const void *data, size_t len, struct err *e);
/* Appends the next frame, at most RECONCILE_FRAME_MAX bytes. 1; 0: there is nothing to say; -ENOMEM and
 * errors of the source. */
int reconcile_next(struct reconcile *r, struct buf *out);
/* Nothing is to be said or to be heard any more. */
bool reconcile_done(const struct reconcile *r);
/* ... and nothing can have been missed: the sums of all were equal, or one side has nothing at all. */
bool reconcile_sure(const struct reconcile *r);

DEFINE_CLEANUP(struct reconcile *, reconcile_free)
