/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Indexes for queries, within the replica (engine/index.h is what others see of them). */

#include "engine/jsonpath.h"
#include "engine/replica-impl.h"

/* At open; what a commit changes of them. */
int indexes_load(struct replica *r, struct err *e);
void indexes_done(struct replica *r);
int indexes_put(struct commit *c, struct store_batch *b);
/* Compares those that are complete with all documents; as picks_check. */
int indexes_check(struct replica *r, bool repair, uint64_t *ret_wrong, struct err *e);
/* The collection has left the store: into the batch, and in memory. Commit lock. */
void indexes_leave(struct replica *r, const struct id *scope, struct store_batch *b);

/* An index in a snapshot that is not going. */
struct index_at {
	struct id name, scope;
	const char **pointer; /* arena, as the rest */
	struct jsonpath *path;
	uint32_t n;
	bool complete;
	bool cut;             /* some texts in it are */
};
/* At most INDEXES_MAX of them. */
int indexes_at(struct replica *r, const struct store_snapshot *snap, struct arena *a, struct index_at *ret, uint32_t *ret_n);
/* Entries whose values are of a range; each key ends with the node. */
int index_at_iter(struct replica *r, const struct store_snapshot *snap, const struct id *name, const struct buf *from,
		  const struct buf *to, struct store_iter **ret);
