/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Edges of a node: where it hangs or hung, and its visits: when it last came to a directory or left it. A set of edges is kept newest first, one per
 * parent, at most EDGES_MAX. The edge to TRASH is never dropped for newer ones, because what
 * its `seen` says must not be forgotten; it takes the place of the oldest other edge. So does
 * that to INODES, because there are names that lead there. Visits are kept in the same way, the latest
 * ones, whatever edges there are. */

#include "engine/crdt.h"

/* The counter of an edge to TRASH that nothing comes after (engine/purged.h). All others are less. */
#define EDGE_PURGED (UINT64_C(1) << 34)

/* Order: counter, actor identifier, name, parent, seq. */
int edge_rank(const struct actors *actors, const struct edge *x, const struct edge *y);

static inline bool edge_is_trash(const struct edge *e)
{
	return id_equal(&e->parent, &NODE_TRASH);
}

static inline bool edge_is_purge(const struct edge *e)
{
	return e->counter == EDGE_PURGED && edge_is_trash(e);
}

static inline bool edge_is_inodes(const struct edge *e)
{
	return id_equal(&e->parent, &NODE_INODES);
}

/* Order: time, actor identifier, seq, parent. */
int visit_rank(const struct actors *actors, const struct visit *x, const struct visit *y);

/* True for 1 to NAME_MAX_BYTES bytes without NUL and '/' that are not "." or "..". */
bool edge_name_valid(const char *name, size_t len);

/* The join of n edges with those of r, into r. Of two edges to one parent the higher rank
 * stays; two to TRASH also join what they saw: a deletion counts though a second one outranks it.
 * -ENOMEM. */
int edge_join(struct arena *a, const struct actors *actors, struct record *r,
	      const struct edge *edge, uint32_t n);

/* The join of n visits with those of r, into r: of two to one parent the later one stays. */
void visit_join(const struct actors *actors, struct record *r, const struct visit *visit, uint32_t n);

/* The record's visit of that directory, NULL if it tells of none. */
const struct visit *record_visit(const struct record *r, const struct id *parent);

/* Are the visits those of the directories that the edges lead to, and no others? */
bool record_visits_follow_edges(const struct record *r);
