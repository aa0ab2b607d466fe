/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Purging what was deleted long ago (shoal-format(7), "Purging"): of a file nothing is kept but that it was deleted, for
 * good. */

#include "engine/replica.h"

#define PURGE_NODES_MAX 256

/* Purges those of the files and links that are deleted, in one commit: no directories, nothing that has or is a hard
 * link, nothing of a collection that is not shown here. *ret_n: how many of the list were looked at, fewer than n if
 * their records are large; *ret_purged: how many of them were purged. At most PURGE_NODES_MAX. */
int replica_purge(struct replica *r, const struct id *id, uint32_t n, uint32_t *ret_n,
		  uint32_t *ret_purged, struct err *e);

struct purge_walk { /* all zero at the start */
	uint64_t next;   /* stamp of a deletion */
	uint64_t now_us; /* by which it is judged what is old */
	uint64_t purged;
};

/* One step of purging what was deleted more than horizon_us ago (by this device; by others: a quarter more, so that as a
 * rule one device does it), the oldest first, as the list of deletions says, and it says so no more then: 1: there is more to do, call again with the
 * same walk; 0: done. The time is that up to which history was thinned last (replica_history_thin), so a clock that is
 * wrong for a while costs little. Any thread, one walk at a time. -ECANCELED after replica_sweep_cancel. */
int replica_purge_old(struct replica *r, uint64_t horizon_us, struct purge_walk *w, struct err *e);
