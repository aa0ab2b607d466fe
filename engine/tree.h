/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Where the nodes of the tree are: a pure function of their edges, so that replicas that hold
 * the same edges show the same tree, without cycles and without lost nodes.
 *
 *  1. Each node hangs at its newest edge (TRASH and INODES are none, but for a file with hard links, which
 *     hangs in INODES if its newest edge is one of these). A node without one hangs in lost+found.
 *  2. Nodes without a path to the root that way go back along an older edge that leads to a rooted
 *     node: the newest such edge of all nodes first, until there is none.
 *  3. What is left (cycles without a way out, unknown parents) goes to lost+found: the smallest id
 *     first, together with what hangs below it.
 *
 * "Newest" is the order (counter, actor identifier, name, parent); between nodes the smaller of
 * two otherwise equal edges is the one with the smaller id.
 *
 * A directory is live when it is alive itself or something in it is live. */

#include "engine/crdt.h"

#define TREE_LOST UINT32_MAX /* place: in lost+found */

struct tree_node {
	struct id id;
	uint32_t n;                   /* edges, TRASH left out */
	bool alive;                   /* by its own record: record_alive */
	enum node_kind kind;          /* the caller's */
	bool leaf;                    /* nothing hangs below it, whatever edges say */
	bool linked;                  /* the caller's */
	struct edge edge[EDGES_MAX];  /* newest first; `seen` is not used */
	/* results */
	uint32_t place;               /* index of the edge it hangs at, or TREE_LOST */
	bool live;
	bool loose;                   /* its newest edges do not lead to the root: rules 2 and 3 */
};

/* Fills a node from a record's edges, as one without hard links. Names stay the record's. */
void tree_node_init(struct tree_node *node, const struct id *id, const struct edge *edge,
		    uint32_t n_edges, bool alive, bool leaf);

/* It has hard links that are alive. */
void tree_node_linked(struct tree_node *node, const struct edge *edge, uint32_t n_edges);

/* Order of two edges as above: negative when x is older than y. */
int tree_edge_cmp(const struct actors *actors, const struct edge *x, const struct edge *y);

/* Resolves n nodes (distinct ids; the array is sorted by id on return). outside says of a parent
 * that is not among the nodes whether it is rooted: NODE_ROOT and NODE_LOST always are and need
 * not be told apart there. NULL: nothing else is. Liveness counts what is among the nodes only.
 * O(n log n). -ENOMEM. */
typedef bool (*tree_outside_fn)(const struct id *parent, void *userdata);
int tree_resolve(struct tree_node *node, uint32_t n, const struct actors *actors,
		 tree_outside_fn outside, void *userdata);
