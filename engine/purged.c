/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/purged.h"

#include <errno.h>
#include <string.h>

#include "engine/sha256.h"
#include "engine/slot.h"

void record_bare(struct record *r)
{
	if (!record_is_purged(r))
		return;
	r->top = NULL;
	r->floor = (struct vv){ 0 };
}

bool record_is_bare(const struct record *r)
{
	return !record_is_purged(r) || (!r->top && r->floor.n == 0);
}

int record_purge(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct stamp *st, const struct record **ret)
{
	/* The file left its directory when it was deleted. */
	const struct visit visit = { NODE_TRASH, 0, st->dot };
	struct edge e = { .parent = NODE_TRASH, .counter = EDGE_PURGED, .dot = st->dot, .name = "" };
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	int rc = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	e.seen = c->ctx;
	if (rc == 0)
		rc = edge_join(a, actors, c, &e, 1);
	if (rc < 0)
		return rc;
	if (!record_visit(c, &NODE_TRASH))
		visit_join(actors, c, &visit, 1);
	record_bare(c);
	*ret = c;
	return 0;
}

bool record_has_news(const struct record *r, const struct vv *seen)
{
	const struct slot *content = r->top ? slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	for (uint32_t i = 0; i < r->n_edges; i++)
		if (!edge_is_trash(&r->edge[i]) && !vv_has(seen, r->edge[i].dot))
			return true;
	return content && !slot_covered(content, seen);
}

const struct edge *record_last_place(const struct record *r)
{
	for (uint32_t i = 0; i < r->n_edges; i++)
		if (!edge_is_trash(&r->edge[i]))
			return &r->edge[i];
	return NULL;
}

void record_heir(const struct record *r, const struct actors *actors, struct id *ret)
{
	struct id version;
	vv_fingerprint(&r->ctx, actors, &version);
	const struct sha256_part part[3] = { { "fork", 4 }, { r->id.b, ID_SIZE }, { version.b, ID_SIZE } };
	sha256_id(part, 3, ret);
}

int record_inherit(struct arena *a, const struct record *r, const struct id *heir,
		   const struct stamp *st, const struct record **ret)
{
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	c->id = *heir;
	c->n_edges = 0;
	for (uint32_t i = 0; i < r->n_edges; i++)
		if (!edge_is_trash(&r->edge[i]))
			c->edge[c->n_edges++] = r->edge[i];
	for (uint32_t i = c->n_edges; i < EDGES_MAX; i++)
		c->edge[i] = (struct edge){ 0 };
	c->n_visits = 0;
	for (uint32_t i = 0; i < r->n_visits; i++)
		if (!id_equal(&r->visit[i].parent, &NODE_TRASH))
			c->visit[c->n_visits++] = r->visit[i];
	for (uint32_t i = c->n_visits; i < EDGES_MAX; i++)
		c->visit[i] = (struct visit){ 0 };
	int rc = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	if (rc == 0)
		*ret = c;
	return rc;
}
