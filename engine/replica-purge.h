/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of the replica share about purging (engine/purge.h). */

#include "engine/purge.h"
#include "engine/replica-impl.h"

/* ---- of two records of which one is purged ---- */

enum apart {
	APART_NOT,    /* they just join */
	APART_OURS,   /* what is here becomes another file before */
	APART_THEIRS, /* the same of what comes, if the delta is whole */
};

/* Commit lock. */
enum apart purge_apart(struct replica *r, const struct record *old, const struct delta *d);
/* Does so, if it has to be done still, in a commit of its own; 1: of what comes. lacks: contents that the delta came without. */
int purge_inherit(struct replica *r, const struct delta *d, enum absence lacks, struct err *e);
/* What came was joined, too: others that have it need not do the same, unless something of it is not here; and its
 * hard links that came meanwhile turn. */
int purge_again(struct replica *r, const struct delta *d, enum absence lacks, struct err *e);

/* A purged record for STORE_DOCS, without what it should not have. */
void purge_encode(struct replica *r, const struct stored *s, struct buf *b);

/* replica-absent.c: when the file was read. */
void read_forget(const struct id *node, struct store_batch *b);

/* replica-history.c: the versions that a file had go. */
int history_forget(struct replica *r, const struct id *node, struct store_batch *b);
/* replica-thin.c */
int history_thinned(struct replica *r, uint64_t *ret_us);

/* replica-rename.c: the content of a record as a draft, all of it in the commit's arena, because the new record refers
 * to it until it is written; and its extended attributes in another record. */
int draft_of(struct commit *c, const struct record *rec, struct draft *d);
int copy_xattrs(struct commit *c, const struct record *from, const struct record *to,
		const struct record **ret);

#define GENERATIONS_MAX 1024 /* of one name that live elsewhere or are purged; after that ids are random */
