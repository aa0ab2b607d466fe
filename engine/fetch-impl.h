/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of fetches, for fetch*.c. The lock is held wherever nothing else is said. */

#include <pthread.h>

#include "engine/fetch.h"

#define WANTS_MAX 128   /* chunks of one file that are wanted at a time */

struct want {
	struct sha256 hash;
	struct fetch_source *asked; /* NULL: nobody yet */
	bool urgent;
};

struct waiter {
	struct waiter *next;
	uint64_t ticket;
	uint64_t offset, len;
	uint32_t ref;       /* place in refs; of the whole file: nothing */
	fetch_fn fn;
	void *userdata;
	int code;           /* once it is answered */
};

struct file {
	uint64_t no;
	struct id node;
	struct blob_ref *ref;
	uint32_t n_refs;
	struct hold hold;   /* chunks that have come, and those that are awaited */
	uint32_t at;        /* in front of from in ref[at] nothing is missing */
	uint64_t from;
	unsigned turns;
	struct want want[WANTS_MAX];
	uint32_t n_wants;
	struct waiter *waiter;
	struct fetch_source **lacks; /* who does not have all of it */
	uint32_t n_lacks, cap_lacks;
	uint64_t sought; /* since when others are looked for who have it; 0: they are not */
};

struct asked {
	struct sha256 hash;
	uint64_t file; /* its number: it may have gone */
	bool called_off; /* it is not going to be answered as it should: that says nothing */
};

struct fetch_source {
	struct fetches *all;
	struct asked asked[FETCH_ASKED_MAX];
	uint32_t n;
	uint64_t since; /* last answer, or first question */
	uint32_t most;  /* that may be asked and not answered */
	bool slow;
	bool idle;       /* it has changed hands, and was not asked since */
	unsigned handed; /* so often since its last answer */
};

/* Those who are to be called when the lock is free. */
struct calls {
	struct waiter *first;
	bool wake; /* something may be asked of others now, or others are to be looked for */
};

struct fetches {
	struct replica *replica;
	struct store *store;
	void (*wake)(void *userdata);
	void *userdata;
	pthread_mutex_t lock; /* all below */
	struct file **file;
	uint32_t n, cap;
	struct fetch_source **source;
	uint32_t n_sources;
	uint32_t n_waiters;
	uint64_t last_ticket, last_file;
	uint32_t place; /* in the list of what is wanted */
	bool stopped;
	bool seeks; /* somebody looks for other sources */
};

/* Calls them; without the lock. */
void fetches_call(const struct fetches *f, struct calls *c);

struct file *fetches_find(const struct fetches *f, const struct id *node); /* or NULL */
/* The file is through, whatever came of it. */
void fetches_end(struct fetches *f, struct file *x, int code, struct calls *c);
/* Goes on with a file of which something has come, or that is new. It may be gone afterwards. */
void fetches_step(struct fetches *f, struct file *x, struct calls *c);
/* *ret: the place in x->want. */
bool fetches_wanted(const struct file *x, const struct sha256 *hash, uint32_t *ret);

/* Nothing will come of it any more. What a reader has asked for who has gone since is still taken in. */
bool fetches_over(const struct fetches *f, const struct file *x);
/* What nothing will come of fails, or others are looked for. */
void fetches_give_up(struct fetches *f, struct calls *c);
