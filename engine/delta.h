/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Deltas of records: made for what a peer holds, encoded for a link, joined. The rules stand in
 * engine/crdt.h, the encoding in shoal-format(7). */

#include "engine/crdt.h"

struct delta {
	struct record state; /* carried slots, edges beyond from; ctx is `to`, floor the sender's */
	struct vv from;      /* arena; empty for a whole record */
	bool complete;       /* the whole record: nothing is expected at the receiver */
};

#define DELTA_SIZE_MAX (96u * 1024 * 1024)

/* The delta for a peer that has, of this record's scope, everything that `known` covers. complete:
 * send the whole record regardless. *ret is NULL when known covers the record. Refers to r. */
int delta_make(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct vv *known, bool complete, struct delta **ret);

void delta_encode(const struct delta *d, struct actors *actors, struct actor_codec *c,
		  struct buf *b);
/* Strict and bounded; refers to the cursor's bytes. -EBADMSG, -EPROTONOSUPPORT, -ENOMEM. */
int delta_decode(struct arena *a, struct actors *actors, struct actor_codec *c, struct cursor *cur,
		 struct delta **ret, struct err *e);

/* True when a receiver whose record has context ctx (NULL: no record) and who holds everything of
 * the scope that `have` covers may join d. */
bool delta_fits(const struct delta *d, const struct vv *ctx, const struct vv *have);

/* Joins. r may be NULL. *ret == r when d brings nothing. */
int delta_join(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct delta *d, const struct record **ret);

/* Full-state join of two records of the same node; for tests of the laws and for imports. */
int record_join(struct arena *a, const struct actors *actors, const struct record *x,
		const struct record *y, const struct record **ret);
