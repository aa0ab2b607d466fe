/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What was deleted long ago (shoal-format(7), "Purging"). The first half is for everybody, the second for the files
 * of the replica. */

#include "engine/replica-impl.h"

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
 * rule one device does it), the oldest first, as the list of deletions says: 1: there is more to do, call again with the
 * same walk; 0: done. The time is that up to which history was thinned last (replica_history_thin), so a clock that is
 * wrong for a while costs little. Any thread, one walk at a time. -ECANCELED after replica_sweep_cancel. */
int replica_purge_old(struct replica *r, uint64_t horizon_us, struct purge_walk *w, struct err *e);

/* ---- of two records of which one is purged ---- */

enum apart {
	APART_NOT,    /* they just join */
	APART_OURS,   /* what is here becomes another file before */
	APART_THEIRS, /* the same of what comes, if the delta is whole */
};

/* Commit lock. */
enum apart purge_apart(struct replica *r, const struct record *old, const struct delta *d);
/* Does so, if it has to be done still, in a commit of its own. lacks: contents that the delta came without. */
int purge_inherit(struct replica *r, const struct delta *d, enum absence lacks, struct err *e);

/* replica-history.c: the versions that a file had go. */
int history_forget(struct replica *r, const struct id *node, struct store_batch *b);
/* replica-thin.c */
int history_thinned(struct replica *r, uint64_t *ret_us);

/* replica-rename.c: the content of a record as a draft, all of it in the commit's arena, because the new record refers
 * to it until it is written; and its extended attributes in another record. */
int draft_of(struct commit *c, const struct record *rec, struct draft *d);
int copy_xattrs(struct commit *c, const struct record *from, const struct record *to,
		const struct record **ret);

/* replica-tree.c: the id that a name gives. */
#define GENERATIONS_MAX 1024 /* of one name that live elsewhere or are purged; after that ids are random */
void name_id(const char *type, const struct id *parent, const char *name, size_t len, uint32_t generation,
	     struct id *ret);
