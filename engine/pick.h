/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which nodes of a collection a filter picks, with sums that are kept as they change, so that two devices can
 * compare what they hold of it (engine/reconcile.h) without a look at every record. shoal-format(7), family picks.
 *
 * There are two kinds: that of a filter has the live files that match it, and all live directories and hard links;
 * that of no filter has every record of the collection, deleted ones as well. An item's hash is the fingerprint of
 * its record's context. */

#include "engine/reconcile.h"
#include "engine/replica.h"

#define PICKS_MAX 64 /* in a store */

/* Makes sure that there is such a pick (where NULL: no filter); it is complete once replica_pick_step has had its
 * way. 1: it is complete now; 0: not yet. -EINVAL: no filter that SQLite takes, e says why; -ENOSPC: too many. */
int replica_pick(struct replica *r, const struct id *scope, const char *where, struct err *e);
/* Looks at some more of what picks lack, in one commit. 1: there is more; 0: all are complete. */
int replica_pick_step(struct replica *r, struct err *e);
/* Takes those away for which `wanted` says no. */
typedef bool (*pick_fn)(const struct id *scope, const char *where, void *userdata);
int replica_pick_forget(struct replica *r, pick_fn wanted, void *userdata, struct err *e);

/* One pick in a view. */
struct picked;
/* -ENOENT: there is none, or it is not complete in that view. */
int picked_new(struct view *v, const struct id *scope, const char *where, struct picked **ret);
void picked_free(struct picked *p);
/* Borrowed by the source. */
struct reconcile_source picked_source(struct picked *p);
/* Is the node one of them? */
bool picked_has(const struct picked *p, const struct id *node);
int picked_sum(struct picked *p, struct reconcile_sum *ret);

DEFINE_CLEANUP(struct picked *, picked_free)
