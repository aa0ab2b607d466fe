/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Indexes: which documents of a collection have which values at some places, for queries (shoal-query(7); shoal-format(7),
 * family picks). They belong to this device's store, as how fast it answers does, and no other device hears of them.
 * Each commit changes them with what it changes; a new one is made in steps, each a commit. */

#include "engine/replica.h"

#define INDEXES_MAX 64          /* in a store */
#define INDEX_POINTERS_MAX 8    /* of one */
#define INDEX_POINTER_SIZE 1024 /* bytes */

/* Makes sure that there is one; pointers are JSON pointers, a token that is a number is that element of an array. 1: it is
 * complete; 0: replica_index_step makes it. -EINVAL: no pointers, or no collection; -ENOENT, -ENOTDIR; -ENOSPC: too many. */
int replica_index(struct replica *r, const struct id *collection, const char *const *pointer, uint32_t n, struct err *e);
/* Takes one away: from now on it is not used, and the steps erase it. -ENOENT: there is none. */
int replica_index_drop(struct replica *r, const struct id *collection, const char *const *pointer, uint32_t n,
		       struct err *e);
/* Some more of what is to be made or erased. 1: there is more; 0: all is done. */
int replica_index_step(struct replica *r, struct err *e);

struct index_info {
	struct id collection;
	const char *const *pointer; /* borrowed, as they were given */
	uint32_t n;
	bool complete;
	uint64_t done, all; /* of an index that is being made: documents, roughly */
};

/* Calls f for each one that is not being taken away, with a lock held: it must not call the replica. What it returns other
 * than 0 ends it. */
typedef int (*index_fn)(const struct index_info *x, void *userdata);
int replica_indexes(struct replica *r, index_fn f, void *userdata);
