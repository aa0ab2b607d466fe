/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* New names for dots that two wrote under: what a store made after it was brought back to an earlier
 * state unnoticed has the numbers of what it had made there before, and others may hold the latter.
 * Everything of one actor beyond a number goes to another actor, with its number, as if it had been
 * made there: entries, marks, edges, characters. The contexts are those that it then would have.
 *
 * A counter's entry holds all that its actor has added (engine/counter.h), and others hold the sum as it
 * was at that number. So it is cut in two: that sum stays the old actor's, and the new one has added the
 * rest. */

#include "engine/crdt.h"
#include "engine/seq.h"

struct restamp {
	uint32_t from, to; /* actors; nothing is known of `to` */
	uint64_t above;    /* dots of from beyond that number */
};

static inline struct dot dot_restamp(const struct restamp *rs, struct dot d)
{
	if (d.actor == rs->from && d.seq > rs->above)
		d.actor = rs->to;
	return d;
}

/* A context: it covers of `from` what it covered up to `above`. In memory of the arena, or v's. -ENOMEM. */
int vv_restamp(struct arena *a, const struct vv *v, const struct restamp *rs, struct vv *ret);

/* A name for a slot of a record: that of the slot it is in (the node's id, for the top) and its key. */
void slot_name(const struct id *parent, const struct slot *s, struct id *ret);

/* What the counter of `from` in the slot of that name held before the batch `seq` of it: 1 and the entry,
 * of an earlier batch, in the arena; 0: nothing. */
struct counter_past {
	int (*before)(const struct id *slot, uint64_t seq, struct arena *a, struct entry *ret,
		      void *userdata);
	void *userdata;
};

/* *ret == r if there is nothing of the kind in it. -EBADMSG for a damaged text, -ENOMEM; or an error of
 * past. */
int record_restamp(struct arena *a, const struct actors *actors, const struct record *r,
		   const struct restamp *rs, const struct counter_past *past,
		   const struct record **ret);
/* New objects, for the caller to free. */
int seq_restamp(const struct seq *s, const struct restamp *rs, struct seq **ret);
int seq_base_restamp(const struct seq_base *b, const struct restamp *rs, struct seq_base **ret);
