/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Chunks that somebody needs though no record of the store says so yet: what a save has stored and
 * not committed, what a peer sent for a change that still waits. One set belongs to each store;
 * everything that deletes chunks goes through it (chunks_delete in blob.h). The rules that make this
 * safe are at the head of replica-sweep.c.
 *
 * A hold is a set of chunks with an owner, who ends it (hold_done). While a sweep runs ended holds
 * stay in force, because the sweep may have looked at the records before the owner wrote his. Chunks
 * without an owner (hold NULL) are held through the next sweep that begins, but not through the one
 * after it; at most PINS_LOOSE_MAX of them each time, beyond that the oldest are forgotten.
 *
 * Only the first 128 bits of a hash are kept: a chunk that has them in common with a held one is
 * held as well. Cost: 16 bytes a chunk. All functions may be called by any thread. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/sha256.h"

#define PINS_LOOSE_MAX (1u << 20)

struct chunk_pin {
	uint8_t b[16];
};

struct pin_list {
	struct chunk_pin *pin;
	uint32_t n, cap;
	uint64_t total; /* ever added; the place of the next one in a full list of loose ones */
};

/* All zero is a hold of nothing. Belongs to one thread. */
struct hold {
	struct pins *pins;
	struct hold_list *list; /* NULL: nothing yet */
};

/* Part of each store. */
struct pins {
	pthread_mutex_t lock; /* all below, and every list of a hold */
	struct hold_list *held, *ended;
	struct pin_list loose[2]; /* since the last sweep began; before that */
	bool sweeping;
};

void pins_init(struct pins *p);
void pins_done(struct pins *p);

/* From now on the chunk is not deleted. What is looked up after this call is there to stay, so:
 * first pin, then look. h NULL: without an owner. -ENOMEM. */
int pins_add(struct pins *p, struct hold *h, const struct sha256 *hash);
/* Number of chunks in a hold. */
uint32_t hold_count(const struct hold *h);
/* One that was added is not held any more, as often as it was added but once. It has not come yet: what is there may
 * be part of what a sweep looks at now. */
void hold_drop(struct hold *h, const struct sha256 *hash);
/* Ends the hold; it is all zero then. */
void hold_done(struct hold *h);
/* Ends it, but its chunks stay as those without an owner do. -ENOMEM: they do not. */
int hold_leave(struct hold *h);

/* -EBUSY when a sweep runs already. */
int pins_sweep_begin(struct pins *p);
void pins_sweep_end(struct pins *p);
/* For the deletion itself: between the two no chunk can be pinned. Sets keep[i] where hash[i] is
 * held; hash is in ascending order. */
void pins_lock(struct pins *p);
void pins_check(struct pins *p, const struct sha256 *hash, uint32_t n, bool *keep);
void pins_unlock(struct pins *p);
