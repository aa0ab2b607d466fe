/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree_resolve against a slow, literal version of its rules, on random histories of replicas that
 * create, move, delete and merge; and the rules by examples.
 *
 *     test_tree [SEED [ROUNDS]] */

#include <stdio.h>

#include "engine/tree.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define NODES 48
#define REPLICAS 5
#define ACTORS 5

/* ---- replicas in miniature: edges only ---- */

struct state {
	struct id id[NODES];
	struct edge edge[NODES][EDGES_MAX]; /* newest first */
	uint32_t n_edges[NODES];
	uint32_t n;
};

static struct actors *actors;

static struct id node_id(uint32_t n)
{
	struct id id = { { 0x80 } };
	/* Ids whose order is not that of creation. */
	id.b[1] = (uint8_t)(n * 151);
	id.b[2] = (uint8_t)n;
	return id;
}

static int edge_order(const struct edge *x, const struct edge *y)
{
	int c = tree_edge_cmp(actors, x, y);
	return c ? c : id_cmp(&x->parent, &y->parent);
}

static uint32_t state_find(const struct state *s, const struct id *id)
{
	uint32_t i = 0;
	while (i < s->n && !id_equal(&s->id[i], id))
		i++;
	return i;
}

static void edge_put(struct state *s, uint32_t i, const struct edge *e)
{
	struct edge *all = s->edge[i];
	uint32_t n = s->n_edges[i], k = 0;
	while (k < n && !id_equal(&all[k].parent, &e->parent))
		k++;
	if (k < n) {
		if (edge_order(&all[k], e) >= 0)
			return;
		memmove(all + k, all + k + 1, (n - k - 1) * sizeof(*all));
		n--;
	}
	for (k = 0; k < n && edge_order(&all[k], e) > 0;)
		k++;
	if (k == EDGES_MAX) {
		s->n_edges[i] = n;
		return;
	}
	if (n == EDGES_MAX)
		n--;
	memmove(all + k + 1, all + k, (n - k) * sizeof(*all));
	all[k] = *e;
	s->n_edges[i] = n + 1;
}

static void state_join(struct state *s, const struct state *other)
{
	for (uint32_t j = 0; j < other->n; j++) {
		uint32_t i = state_find(s, &other->id[j]);
		if (i == s->n) {
			s->id[s->n] = other->id[j];
			s->n_edges[s->n++] = 0;
		}
		for (uint32_t k = 0; k < other->n_edges[j]; k++)
			edge_put(s, i, &other->edge[j][k]);
	}
}

/* ---- the rules, word by word ---- */

struct naive {
	uint32_t place[NODES]; /* index into the edges without TRASH, or TREE_LOST */
	bool live[NODES], rooted[NODES];
	struct tree_node node[NODES];
	uint32_t n;
};

static uint32_t naive_find(const struct naive *v, const struct id *id)
{
	uint32_t i = 0;
	while (i < v->n && !id_equal(&v->node[i].id, id))
		i++;
	return i;
}

static bool is_root(const struct id *id)
{
	return id_equal(id, &NODE_ROOT) || id_equal(id, &NODE_LOST);
}

static void naive_reach(struct naive *v)
{
	bool more = true;
	memset(v->rooted, 0, sizeof(v->rooted));
	while (more) {
		more = false;
		for (uint32_t i = 0; i < v->n; i++) {
			if (v->rooted[i])
				continue;
			const struct id *p = v->place[i] == TREE_LOST ?
						     &NODE_LOST :
						     &v->node[i].edge[v->place[i]].parent;
			uint32_t k = is_root(p) ? v->n : naive_find(v, p);
			if (is_root(p) || (k < v->n && v->rooted[k]))
				more = v->rooted[i] = true;
		}
	}
}

/* Is the way (i, k) newer than (j, l)? */
static bool newer(const struct naive *v, uint32_t i, uint32_t k, uint32_t j, uint32_t l)
{
	const struct edge *x = &v->node[i].edge[k], *y = &v->node[j].edge[l];
	int c = tree_edge_cmp(actors, x, y);
	if (c == 0)
		c = id_cmp(&v->node[i].id, &v->node[j].id);
	if (c == 0)
		c = id_cmp(&x->parent, &y->parent);
	return c > 0;
}

static void naive_resolve(struct naive *v)
{
	for (uint32_t i = 0; i < v->n; i++)
		v->place[i] = v->node[i].n ? 0 : TREE_LOST;
	naive_reach(v);
	for (;;) {
		uint32_t best = NODES, edge = 0;
		for (uint32_t i = 0; i < v->n; i++) {
			if (v->rooted[i])
				continue;
			for (uint32_t k = 0; k < v->node[i].n; k++) {
				const struct id *p = &v->node[i].edge[k].parent;
				uint32_t at = is_root(p) ? v->n : naive_find(v, p);
				if (!is_root(p) && (at == v->n || !v->rooted[at]))
					continue;
				if (best == NODES || newer(v, i, k, best, edge)) {
					best = i;
					edge = k;
				}
			}
		}
		if (best == NODES)
			break;
		v->place[best] = edge;
		naive_reach(v);
	}
	for (;;) {
		uint32_t smallest = NODES;
		for (uint32_t i = 0; i < v->n; i++)
			if (!v->rooted[i] && (smallest == NODES ||
					      id_cmp(&v->node[i].id, &v->node[smallest].id) < 0))
				smallest = i;
		if (smallest == NODES)
			break;
		v->place[smallest] = TREE_LOST;
		naive_reach(v);
	}
	memset(v->live, 0, sizeof(v->live));
	for (uint32_t i = 0; i < v->n; i++) {
		uint32_t k = i;
		while (v->node[i].alive && k < v->n && !v->live[k]) {
			v->live[k] = true;
			if (v->place[k] == TREE_LOST)
				break;
			k = naive_find(v, &v->node[k].edge[v->place[k]].parent);
		}
	}
}

static void nodes_of(const struct state *s, struct tree_node *node)
{
	for (uint32_t i = 0; i < s->n; i++)
		tree_node_init(&node[i], &s->id[i], s->edge[i], s->n_edges[i],
			       s->n_edges[i] > 0 &&
				       !id_equal(&s->edge[i][0].parent, &NODE_TRASH), false);
}

static bool acyclic(const struct tree_node *node, uint32_t n, uint32_t i)
{
	for (uint32_t steps = 0; steps <= n; steps++) {
		if (node[i].place == TREE_LOST || is_root(&node[i].edge[node[i].place].parent))
			return true;
		const struct id *p = &node[i].edge[node[i].place].parent;
		for (i = 0; i < n && !id_equal(&node[i].id, p);)
			i++;
		if (i == n)
			return false;
	}
	return false;
}

/* The fast one and the slow one say the same; result in node, sorted by id. */
static bool same(const struct state *s, struct tree_node *node)
{
	static struct naive v;
	v.n = s->n;
	nodes_of(s, v.node);
	naive_resolve(&v);
	nodes_of(s, node);
	if (tree_resolve(node, s->n, actors, NULL, NULL) < 0)
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t k = naive_find(&v, &node[i].id);
		if (node[i].place != v.place[k] || node[i].live != v.live[k] ||
		    !acyclic(node, s->n, i))
			return false;
	}
	return true;
}

static bool same_view(const struct tree_node *x, const struct tree_node *y, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		bool lost = x[i].place == TREE_LOST;
		if (!id_equal(&x[i].id, &y[i].id) || x[i].live != y[i].live ||
		    lost != (y[i].place == TREE_LOST))
			return false;
		if (!lost && !id_equal(&x[i].edge[x[i].place].parent,
				       &y[i].edge[y[i].place].parent))
			return false;
	}
	return true;
}

/* ---- histories ---- */

struct history {
	struct prng prng;
	struct state rep[REPLICAS];
	uint64_t clock[REPLICAS];
	uint32_t n, created;
	uint64_t loose; /* nodes that rule 2 or 3 placed: says that the histories are worth it */
};

static const struct id *live_node(struct history *h, const struct tree_node *node, uint32_t n)
{
	uint32_t start = n ? (uint32_t)prng_below(&h->prng, n) : 0;
	for (uint32_t k = 0; k < n; k++)
		if (node[(start + k) % n].live)
			return &node[(start + k) % n].id;
	return NULL;
}

static bool step(struct history *h)
{
	static const char *const names[] = { "f0", "f1", "g" };
	static struct tree_node node[NODES];
	uint32_t i = (uint32_t)prng_below(&h->prng, h->n);
	struct state *s = &h->rep[i];
	unsigned op = (unsigned)prng_below(&h->prng, 100);
	const char *name = names[prng_below(&h->prng, 3)];
	struct edge e = { .dot = { i, 1 }, .name = name, .name_len = strlen(name) };
	if (!same(s, node))
		return false;
	for (uint32_t k = 0; k < s->n; k++)
		h->loose += node[k].loose;
	const struct id *at = live_node(h, node, s->n), *to = live_node(h, node, s->n);
	h->clock[i]++;
	if ((op < 30 || !at) && h->created < NODES) {
		s->id[s->n] = node_id(h->created++);
		s->n_edges[s->n] = 0;
		e.parent = to && prng_chance(&h->prng, 70) ? *to : NODE_ROOT;
		e.counter = h->clock[i];
		edge_put(s, s->n++, &e);
	} else if (op < 78 && at) {
		uint32_t k = state_find(s, at);
		e.counter = s->edge[k][0].counter + 1;
		if (e.counter < h->clock[i])
			e.counter = h->clock[i];
		h->clock[i] = e.counter;
		e.parent = op >= 65 ? NODE_TRASH :
			   to && prng_chance(&h->prng, 80) ? *to : NODE_ROOT;
		e.name_len = op >= 65 ? 0 : e.name_len;
		edge_put(s, k, &e);
	} else {
		uint32_t j = (uint32_t)prng_below(&h->prng, h->n);
		state_join(s, &h->rep[j]);
		if (h->clock[j] > h->clock[i])
			h->clock[i] = h->clock[j];
	}
	return true;
}

static bool history(uint64_t seed, uint64_t *loose)
{
	static struct tree_node first[NODES], other[NODES];
	struct history *h = calloc(1, sizeof(*h));
	struct state *all = calloc(1, sizeof(*all));
	bool good = h && all;
	h->prng.state = seed;
	h->n = 2 + (uint32_t)prng_below(&h->prng, REPLICAS - 1);
	unsigned steps = 5 + (unsigned)prng_below(&h->prng, 80);
	for (unsigned k = 0; k < steps && good; k++)
		good = step(h);
	/* Every order of joining gives one tree. */
	for (unsigned order = 0; order < 3 && good; order++) {
		memset(all, 0, sizeof(*all));
		for (uint32_t k = 0; k < 2 * h->n; k++)
			state_join(all, &h->rep[order == 0 ? k % h->n :
						order == 1 ? (2 * h->n - 1 - k) % h->n :
							     prng_below(&h->prng, h->n)]);
		for (uint32_t k = 0; k < h->n; k++)
			state_join(all, &h->rep[k]);
		good = same(all, order ? other : first) &&
		       (order == 0 || same_view(first, other, all->n));
	}
	*loose += h->loose;
	free(h);
	free(all);
	return good;
}

/* ---- examples ---- */

static struct edge edge_to(const struct id *parent, uint64_t counter, const char *name)
{
	return (struct edge){ .parent = *parent, .counter = counter, .dot = { 0, 1 },
			      .name = name, .name_len = strlen(name) };
}

static bool only_known(const struct id *parent, void *userdata)
{
	return id_equal(parent, userdata);
}

static void examples(void)
{
	struct id a = node_id(1), b = node_id(2), c = node_id(3), x = node_id(40);
	struct tree_node n[3];
	struct edge ea[2] = { edge_to(&b, 5, "a"), edge_to(&NODE_ROOT, 1, "a") };
	struct edge eb[2] = { edge_to(&a, 6, "b"), edge_to(&NODE_ROOT, 2, "b") };
	struct edge ec[1] = { edge_to(&a, 9, "c") };
	tree_node_init(&n[0], &a, ea, 2, true, false);
	tree_node_init(&n[1], &b, eb, 2, true, false);
	tree_node_init(&n[2], &c, ec, 1, true, true);
	is_int(tree_resolve(n, 3, actors, NULL, NULL), 0, "two directories moved into each other");
	unsigned ia = id_equal(&n[0].id, &a) ? 0 : id_equal(&n[1].id, &a) ? 1 : 2;
	unsigned ib = id_equal(&n[0].id, &b) ? 0 : id_equal(&n[1].id, &b) ? 1 : 2;
	unsigned ic = 3 - ia - ib;
	is_uint(n[ib].place, 1, "the newer way back, b's, is taken");
	is_uint(n[ia].place, 0, "the other stays where it was moved");
	is_uint(n[ic].place, 0, "what hangs below stays");
	ok(n[ia].loose && n[ib].loose && n[ic].loose, "all three are loose");

	struct edge away[1] = { edge_to(&x, 3, "a") };
	tree_node_init(&n[0], &a, away, 1, true, false);
	is_int(tree_resolve(n, 1, actors, NULL, NULL), 0, "an unknown parent");
	is_uint(n[0].place, TREE_LOST, "goes to lost+found");
	is_int(tree_resolve(n, 1, actors, only_known, &x), 0, "a parent outside of the nodes");
	ok(n[0].place == 0 && !n[0].loose, "is as good as one among them");

	struct edge under[1] = { edge_to(&c, 1, "y") };
	tree_node_init(&n[0], &a, under, 1, true, false);
	tree_node_init(&n[1], &c, (struct edge[]){ edge_to(&NODE_ROOT, 1, "f") }, 1, true, true);
	is_int(tree_resolve(n, 2, actors, NULL, NULL), 0, "a file as parent");
	is_uint(n[id_equal(&n[0].id, &a) ? 0 : 1].place, TREE_LOST, "is no parent");

	struct edge dead[2] = { edge_to(&NODE_TRASH, 7, ""), edge_to(&NODE_ROOT, 1, "d") };
	tree_node_init(&n[0], &a, dead, 2, false, false);
	tree_node_init(&n[1], &c, (struct edge[]){ edge_to(&a, 1, "f") }, 1, true, true);
	is_int(tree_resolve(n, 2, actors, NULL, NULL), 0, "a file in a deleted directory");
	ok(n[0].live && n[1].live, "brings the directory back");
	is_int(tree_resolve(NULL, 0, actors, NULL, NULL), 0, "no nodes");
}

int main(int argc, char **argv)
{
	tap_plan(16);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 3000), k = 0, loose = 0;
	if (actors_new(&actors) < 0)
		tap_bail("no memory");
	for (uint32_t i = 0; i < ACTORS; i++) {
		/* Identifiers in another order than the numbers. */
		const struct actor_id id = { { { (uint8_t)(0xf0 - 37 * i) } }, i };
		uint32_t no;
		actors_intern(actors, &id, &no);
	}
	examples();
	while (k < rounds && history(seed + k, &loose))
		k++;
	if (k < rounds)
		tap_diag("seed %llu failed", (unsigned long long)(seed + k));
	ok(k == rounds, "%llu random histories are resolved by the rules", (unsigned long long)k);
	ok(loose > rounds, "and loose nodes were among them (%llu)", (unsigned long long)loose);
	actors_free(actors);
	return tap_done();
}
