/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "engine/tree.h"

#include <errno.h>

#include "engine/edge.h"

#define NONE UINT32_MAX        /* no such node */
#define OUTSIDE (UINT32_MAX - 1) /* a rooted parent that is not among the nodes */

/* A use of a parent by an edge. Lists of them run through `next`, one list for each parent. */
struct use {
	uint32_t node, edge;
	uint32_t next;
};

struct resolve {
	const struct actors *actors;
	struct tree_node *node;
	uint32_t n;
	uint32_t (*parent)[EDGES_MAX]; /* index of each edge's parent, OUTSIDE or NONE */
	uint32_t *users;               /* first use of each node as a parent */
	struct use *use;
	bool *rooted;
	uint32_t *todo; /* a stack */
	uint32_t n_todo;
	struct use *heap; /* ways out, newest at the top */
	uint32_t n_heap;
};

void tree_node_init(struct tree_node *node, const struct id *id, const struct edge *edge,
		    uint32_t n_edges, bool alive, bool leaf)
{
	*node = (struct tree_node){ .id = *id, .alive = alive, .leaf = leaf, .place = TREE_LOST };
	for (uint32_t i = 0; i < n_edges && node->n < EDGES_MAX; i++)
		if (!edge_is_trash(&edge[i]) && !edge_is_inodes(&edge[i]))
			node->edge[node->n++] = edge[i];
}

void tree_node_linked(struct tree_node *node, const struct edge *edge, uint32_t n_edges)
{
	node->linked = node->alive = true;
	if (n_edges == 0 || !(edge_is_trash(&edge[0]) || edge_is_inodes(&edge[0])))
		return;
	for (uint32_t i = 0; i < n_edges; i++)
		if (edge_is_inodes(&edge[i])) {
			node->edge[0] = edge[i];
			node->n = 1;
		}
}

int tree_edge_cmp(const struct actors *actors, const struct edge *x, const struct edge *y)
{
	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	if (x->dot.actor != y->dot.actor)
		return actors_cmp(actors, x->dot.actor, y->dot.actor);
	size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
	int c = len ? memcmp(x->name, y->name, len) : 0;
	if (c == 0)
		c = (x->name_len > y->name_len) - (x->name_len < y->name_len);
	return c;
}

/* Edges of one node: the parent decides at last. Between nodes their id comes before it. */
static int way_cmp(const struct resolve *r, const struct use *x, const struct use *y)
{
	const struct tree_node *nx = &r->node[x->node], *ny = &r->node[y->node];
	int c = tree_edge_cmp(r->actors, &nx->edge[x->edge], &ny->edge[y->edge]);
	if (c == 0)
		c = id_cmp(&nx->id, &ny->id);
	if (c == 0)
		c = id_cmp(&nx->edge[x->edge].parent, &ny->edge[y->edge].parent);
	return c;
}

static void heap_push(struct resolve *r, struct use way)
{
	uint32_t i = r->n_heap++;
	while (i > 0 && way_cmp(r, &r->heap[(i - 1) / 2], &way) < 0) {
		r->heap[i] = r->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->heap[i] = way;
}

static struct use heap_pop(struct resolve *r)
{
	struct use top = r->heap[0], last = r->heap[--r->n_heap];
	uint32_t i = 0;
	for (;;) {
		uint32_t child = 2 * i + 1;
		if (child >= r->n_heap)
			break;
		if (child + 1 < r->n_heap &&
		    way_cmp(r, &r->heap[child], &r->heap[child + 1]) < 0)
			child++;
		if (way_cmp(r, &last, &r->heap[child]) >= 0)
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	if (r->n_heap > 0)
		r->heap[i] = last;
	return top;
}

static void set_rooted(struct resolve *r, uint32_t i)
{
	if (!r->rooted[i]) {
		r->rooted[i] = true;
		r->todo[r->n_todo++] = i;
	}
}

/* Takes the subtrees of the nodes on the stack along. Every edge that now leads to a rooted node
 * is a way for its node, if that needs one: a node may be in the heap up to EDGES_MAX times. */
static void spread(struct resolve *r)
{
	while (r->n_todo > 0) {
		uint32_t i = r->todo[--r->n_todo];
		for (uint32_t u = r->users[i]; u != NONE; u = r->use[u].next) {
			if (r->rooted[r->use[u].node])
				continue;
			if (r->use[u].edge == r->node[r->use[u].node].place)
				set_rooted(r, r->use[u].node);
			else
				heap_push(r, r->use[u]);
		}
	}
}

static int node_cmp(const void *x, const void *y)
{
	return id_cmp(&((const struct tree_node *)x)->id, &((const struct tree_node *)y)->id);
}

static uint32_t find(const struct resolve *r, const struct id *id)
{
	uint32_t low = 0, high = r->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = id_cmp(&r->node[middle].id, id);
		if (c == 0)
			return middle;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NONE;
}

static void link_parents(struct resolve *r, tree_outside_fn outside, void *userdata)
{
	uint32_t uses = 0;
	for (uint32_t i = 0; i < r->n; i++)
		r->users[i] = NONE;
	for (uint32_t i = 0; i < r->n; i++) {
		struct tree_node *node = &r->node[i];
		node->live = false;
		node->place = node->n > 0 ? 0 : TREE_LOST;
		for (uint32_t k = 0; k < node->n; k++) {
			const struct id *parent = &node->edge[k].parent;
			bool top = id_equal(parent, &NODE_ROOT) || id_equal(parent, &NODE_LOST) ||
				   id_equal(parent, &NODE_INODES);
			uint32_t p = top ? OUTSIDE : find(r, parent);
			if (p == NONE && outside && outside(parent, userdata))
				p = OUTSIDE;
			if (p < OUTSIDE && r->node[p].leaf)
				p = NONE;
			r->parent[i][k] = p;
			if (p < OUTSIDE) {
				r->use[uses] = (struct use){ i, k, r->users[p] };
				r->users[p] = uses++;
			}
		}
	}
}

static void place(struct resolve *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->node[i].n == 0 || r->parent[i][0] == OUTSIDE)
			set_rooted(r, i);
	spread(r);
	for (uint32_t i = 0; i < r->n; i++)
		r->node[i].loose = !r->rooted[i];
	/* Edges to rooted nodes outside are ways from the start. */
	for (uint32_t i = 0; i < r->n; i++)
		for (uint32_t k = 1; !r->rooted[i] && k < r->node[i].n; k++)
			if (r->parent[i][k] == OUTSIDE)
				heap_push(r, (struct use){ i, k, NONE });
	while (r->n_heap > 0) {
		struct use way = heap_pop(r);
		if (r->rooted[way.node])
			continue;
		r->node[way.node].place = way.edge;
		set_rooted(r, way.node);
		spread(r);
	}
	for (uint32_t i = 0; i < r->n; i++) {
		if (r->rooted[i])
			continue;
		r->node[i].place = TREE_LOST;
		set_rooted(r, i);
		/* No new way can come of it: who had one to these was not loose any more. */
		while (r->n_todo > 0) {
			uint32_t top = r->todo[--r->n_todo];
			for (uint32_t u = r->users[top]; u != NONE; u = r->use[u].next)
				if (r->use[u].edge == r->node[r->use[u].node].place)
					set_rooted(r, r->use[u].node);
		}
	}
	for (uint32_t i = 0; i < r->n; i++) {
		if (!r->node[i].alive)
			continue;
		for (uint32_t k = i; k < OUTSIDE && !r->node[k].live;) {
			r->node[k].live = true;
			uint32_t at = r->node[k].place;
			k = at == TREE_LOST ? NONE : r->parent[k][at];
		}
	}
}

int tree_resolve(struct tree_node *node, uint32_t n, const struct actors *actors,
		 tree_outside_fn outside, void *userdata)
{
	if (n == 0)
		return 0;
	struct resolve r = { .actors = actors, .node = node, .n = n };
	_cleanup_(arena_done) struct arena a = { 0 };
	r.parent = arena_array(&a, n, sizeof(*r.parent));
	r.users = arena_array(&a, n, sizeof(*r.users));
	r.use = arena_array(&a, (size_t)n * EDGES_MAX, sizeof(*r.use));
	r.heap = arena_array(&a, (size_t)n * EDGES_MAX, sizeof(*r.heap));
	r.rooted = arena_array(&a, n, sizeof(*r.rooted));
	r.todo = arena_array(&a, n, sizeof(*r.todo));
	if (!r.parent || !r.users || !r.use || !r.heap || !r.rooted || !r.todo)
		return -ENOMEM;
	qsort(node, n, sizeof(*node), node_cmp);
	link_parents(&r, outside, userdata);
	place(&r);
	return 0;
}
