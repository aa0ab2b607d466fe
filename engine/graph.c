/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two passes. The first finds, breadth first from this device, the statements that count: those of devices at the
 * other end of a link that both ends state. The second adds devices that such statements only name. So a device
 * that went silent counts no more as soon as its neighbours say that it is gone, whatever it said before. */
#include "engine/graph.h"

#include <errno.h>
#include <stdlib.h>

struct node {
	struct id id;
	const char *name;
	uint32_t told; /* GRAPH_NONE: no statement */
	bool reached, counts;
	uint32_t hops, parent; /* parent: a node */
	uint32_t place;        /* in graph->device */
};

struct claim { /* one device says that it has a link to another */
	uint32_t from, to; /* nodes */
	const struct statement_link *said;
};

struct making {
	struct node *node; /* by id */
	uint32_t n, self;
	struct claim *out; /* by from, then to */
	uint32_t n_claims;
	const struct graph_told *told;
	uint32_t *queue;
	uint32_t n_queue;
};

/* ---- nodes and claims ---- */

static int node_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct node *)a)->id, &((const struct node *)b)->id);
}

static uint32_t node_at(const struct making *m, const struct id *id)
{
	const struct node key = { .id = *id };
	const struct node *x = bsearch(&key, m->node, m->n, sizeof(key), node_cmp);
	return x ? (uint32_t)(x - m->node) : GRAPH_NONE;
}

static int number_cmp(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

static int out_cmp(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	return x->from != y->from ? number_cmp(x->from, y->from) : number_cmp(x->to, y->to);
}

static void add_node(struct making *m, const struct id *id)
{
	m->node[m->n++] = (struct node){ .id = *id, .told = GRAPH_NONE, .parent = GRAPH_NONE,
					 .place = GRAPH_NONE };
}

static void add_claim(struct making *m, uint32_t from, const struct statement_link *l)
{
	m->out[m->n_claims++] = (struct claim){ from, node_at(m, &l->peer), l };
}

static int prepare(struct making *m, const struct id *self, const char *name,
		   const struct statement_link *own, uint32_t n_own, const struct graph_told *told,
		   uint32_t n_told)
{
	uint32_t claims = n_own, unique = 0;
	for (uint32_t i = 0; i < n_told; i++)
		claims += told[i].statement->n;
	m->told = told;
	m->node = calloc(1 + (size_t)n_told + claims, sizeof(*m->node));
	m->out = calloc((size_t)claims + 1, sizeof(*m->out));
	if (!m->node || !m->out)
		return -ENOMEM;
	add_node(m, self);
	for (uint32_t i = 0; i < n_own; i++)
		add_node(m, &own[i].peer);
	for (uint32_t i = 0; i < n_told; i++) {
		add_node(m, &told[i].statement->author);
		for (uint32_t k = 0; k < told[i].statement->n; k++)
			add_node(m, &told[i].statement->link[k].peer);
	}
	qsort(m->node, m->n, sizeof(*m->node), node_cmp);
	for (uint32_t i = 1; i < m->n; i++)
		if (!id_equal(&m->node[i].id, &m->node[unique].id))
			m->node[++unique] = m->node[i];
	m->n = unique + 1;
	m->self = node_at(m, self);
	m->node[m->self].name = name;
	/* A certificate says more than a statement about oneself, that more than what others say. */
	for (uint32_t i = 0; i < n_own; i++) {
		add_claim(m, m->self, &own[i]);
		m->node[m->out[i].to].name = own[i].name;
	}
	for (uint32_t i = 0; i < n_told; i++) {
		const struct statement *s = told[i].statement;
		const uint32_t from = node_at(m, &s->author);
		m->node[from].told = i;
		for (uint32_t k = 0; k < s->n; k++)
			add_claim(m, from, &s->link[k]);
	}
	qsort(m->out, m->n_claims, sizeof(*m->out), out_cmp);
	m->queue = calloc(m->n, sizeof(*m->queue));
	return m->queue ? 0 : -ENOMEM;
}

static bool has_claim(const struct making *m, uint32_t from, uint32_t to)
{
	const struct claim key = { from, to, NULL };
	return bsearch(&key, m->out, m->n_claims, sizeof(key), out_cmp) != NULL;
}

/* The first claim that a device makes. */
static uint32_t first_claim(const struct making *m, uint32_t from)
{
	uint32_t low = 0, high = m->n_claims;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (m->out[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- who is reached ---- */

static bool is_first_hand(const struct graph_told *t)
{
	return id_equal(&t->teller, &t->statement->author);
}

static void reach(struct making *m, uint32_t from, uint32_t to, const char *name)
{
	struct node *x = &m->node[to];
	x->reached = true;
	if (!x->name)
		x->name = name;
	x->hops = m->node[from].hops + 1;
	x->parent = from;
	m->queue[m->n_queue++] = to;
}

/* There is a link to that device, as `from` says: does what it states itself count? */
static void reach_author(struct making *m, uint32_t from, uint32_t to)
{
	const struct node *x = &m->node[to];
	if (x->reached || x->told == GRAPH_NONE)
		return;
	const struct graph_told *t = &m->told[x->told];
	if (!has_claim(m, to, from) && !(from == m->self && is_first_hand(t)))
		return;
	m->node[to].counts = true;
	reach(m, from, to, t->statement->name);
}

static void reach_all(struct making *m)
{
	m->node[m->self].reached = true;
	m->queue[m->n_queue++] = m->self;
	for (uint32_t at = 0; at < m->n_queue; at++) {
		const uint32_t from = m->queue[at];
		for (uint32_t i = first_claim(m, from); i < m->n_claims && m->out[i].from == from; i++)
			reach_author(m, from, m->out[i].to);
	}
	/* Those that are only named end every way. */
	const uint32_t authors = m->n_queue;
	for (uint32_t at = 0; at < authors; at++) {
		const uint32_t from = m->queue[at];
		for (uint32_t i = first_claim(m, from); i < m->n_claims && m->out[i].from == from; i++)
			if (!m->node[m->out[i].to].reached)
				reach(m, from, m->out[i].to, m->out[i].said->name);
	}
}

/* ---- the graph ---- */

static int device_cmp(const void *a, const void *b)
{
	const struct graph_device *x = a, *y = b;
	return x->hops != y->hops ? number_cmp(x->hops, y->hops) : id_cmp(&x->id, &y->id);
}

static void put_devices(struct making *m, struct graph *g)
{
	for (uint32_t i = 0; i < m->n_queue; i++) {
		const struct node *x = &m->node[m->queue[i]];
		struct graph_device *d = &g->device[g->n_devices++];
		*d = (struct graph_device){ .id = x->id, .name = x->name, .source = GRAPH_NAMED,
					    .hops = x->hops, .parent = x->parent };
		if (m->queue[i] == m->self)
			d->source = GRAPH_OWN;
		if (!x->counts)
			continue;
		const struct graph_told *t = &m->told[x->told];
		d->source = is_first_hand(t) ? GRAPH_FIRST_HAND : GRAPH_HEARSAY;
		d->more = t->statement->more;
		d->teller = t->teller;
	}
	qsort(g->device, g->n_devices, sizeof(*g->device), device_cmp);
	for (uint32_t i = 0; i < g->n_devices; i++)
		m->node[node_at(m, &g->device[i].id)].place = i;
	for (uint32_t i = 0; i < g->n_devices; i++)
		if (g->device[i].parent != GRAPH_NONE)
			g->device[i].parent = m->node[g->device[i].parent].place;
}

static int link_cmp(const void *a, const void *b)
{
	const struct graph_link *x = a, *y = b;
	if (x->a != y->a)
		return number_cmp(x->a, y->a);
	return x->b != y->b ? number_cmp(x->b, y->b) : number_cmp(x->source, y->source);
}

static void put_links(const struct making *m, struct graph *g)
{
	uint32_t unique = 0;
	for (uint32_t i = 0; i < m->n_claims; i++) {
		const struct claim *c = &m->out[i];
		const struct node *from = &m->node[c->from], *to = &m->node[c->to];
		/* Nobody knows better than this device which links it has. */
		if ((c->from != m->self && !from->counts) || !to->reached ||
		    (c->to == m->self && !has_claim(m, m->self, c->from)))
			continue;
		struct graph_link *l = &g->link[g->n_links++];
		*l = (struct graph_link){ .a = from->place, .b = to->place, .said = c->said };
		l->source = c->from == m->self ? GRAPH_OWN : g->device[from->place].source;
		if (l->a > l->b) {
			l->a = to->place;
			l->b = from->place;
		}
	}
	if (g->n_links == 0)
		return;
	qsort(g->link, g->n_links, sizeof(*g->link), link_cmp);
	for (uint32_t i = 1; i < g->n_links; i++) {
		if (g->link[i].a == g->link[unique].a && g->link[i].b == g->link[unique].b)
			g->link[unique].both = true;
		else
			g->link[++unique] = g->link[i];
	}
	g->n_links = unique + 1;
}

static int make(struct making *m, struct graph_told *told, uint32_t n_told, struct graph **ret)
{
	_cleanup_(graph_freep) struct graph *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	reach_all(m);
	g->device = calloc(m->n_queue, sizeof(*g->device));
	g->link = calloc((size_t)m->n_claims + 1, sizeof(*g->link));
	if (!g->device || !g->link)
		return -ENOMEM;
	put_devices(m, g);
	put_links(m, g);
	for (uint32_t i = 0; i < n_told; i++)
		told[i].counts = m->node[node_at(m, &told[i].statement->author)].counts;
	*ret = TAKE_PTR(g);
	return 0;
}

int graph_new(const struct id *self, const char *name, const struct statement_link *own, uint32_t n_own,
	      struct graph_told *told, uint32_t n_told, struct graph **ret)
{
	struct making m = { 0 };
	int r = prepare(&m, self, name, own, n_own, told, n_told);
	if (r == 0)
		r = make(&m, told, n_told, ret);
	free(m.node);
	free(m.out);
	free(m.queue);
	return r;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	free(g->device);
	free(g->link);
	free(g);
}
