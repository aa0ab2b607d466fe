/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Purged records: of a file that was deleted long ago nothing is left but that, for good. The rules,
 * and why the join stays what it has to be, stand in shoal-format(7), "Purging". */

#include "engine/crdt.h"
#include "engine/edge.h"

static inline bool record_is_purged(const struct record *r)
{
	return r->n_edges > 0 && edge_is_purge(&r->edge[0]);
}

/* There is no place for it any more: it is purged, or its next edge is beyond the last one. */
static inline bool record_is_spent(const struct record *r)
{
	return r->n_edges > 0 && r->edge[0].counter >= EDGE_PURGED - 1;
}

/* What a purge has taken account of; of a purged record only. Borrowed. */
static inline const struct vv *record_purge_seen(const struct record *r)
{
	return &r->edge[0].seen;
}

/* Takes away what a purged record does not have; nothing if it is none. */
void record_bare(struct record *r);
bool record_is_bare(const struct record *r);

/* Purges a record, or does so once more: with the stamp's dot, having seen all of it. Not for directories.
 * -ENOMEM. */
int record_purge(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct stamp *st, const struct record **ret);

/* It has something that whoever saw just that did not know: an entry of its content, or an edge. Of a delta:
 * of what it carries. */
bool record_has_news(const struct record *r, const struct vv *seen);

/* Where it hangs or hung last, TRASH left out; NULL: nowhere. */
const struct edge *record_last_place(const struct record *r);

/* The node that takes over what a record holds when its own is purged, and its record: all of r but its edge to
 * TRASH, and but for the files' bytes that the purge has taken account of (seen), if it has other content that the purge
 * has not: whoever purged it may be the one who had them last. actors: for the fingerprint. -ENOMEM. */
void record_heir(const struct record *r, const struct actors *actors, struct id *ret);
int record_inherit(struct arena *a, const struct record *r, const struct id *heir, const struct vv *seen,
		   const struct stamp *st, const struct record **ret);
