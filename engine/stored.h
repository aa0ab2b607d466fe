/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Records as they are in the store (engine/replica-derive.c). For the files of the replica. */

#include "engine/crdt.h"
#include "engine/replica.h"
#include "engine/store.h"

struct stored {
	const struct record *record;
	struct dot *extra; /* arena */
	uint32_t n_extra;
	bool trail; /* it may have one in the store; record has what it says */
};

int stored_get(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct id *id, struct stored *ret, struct err *e); /* -ENOENT */
/* From a value of STORE_DOCS, which was read in that snapshot; NULL: nobody writes meanwhile. */
int stored_decode(struct replica *r, const struct store_snapshot *snap, struct arena *a,
		  const void *data, size_t len, struct stored *ret, struct err *e);
/* A record without its slots, as it was before what its trail has, which are changes of slots. It refers to
 * value. -ENOENT. */
int stored_edges(struct replica *r, struct arena *a, const struct id *id, struct buf *value,
		 const struct record **ret);
/* The record of a live node. -ENOENT. */
int record_live(struct replica *r, struct arena *a, const struct id *id, struct stored *ret);
/* The content as shown; false when there is none. */
bool content_shown(const struct replica *r, const struct record *rec, struct value *ret);
