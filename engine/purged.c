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

static bool is_covered_blob(const struct entry *e, const struct vv *seen)
{
	return e->value.kind == VALUE_BLOB && vv_has(seen, e->dot);
}

/* The content without the blobs that are covered; a mark tells those who have the same heir with them. */
static int drop_covered(struct arena *a, const struct vv *seen, const struct stamp *st, struct record *c)
{
	const struct slot *s = c->top ? slot_find(c->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	uint32_t n = 0;
	for (uint32_t i = 0; s && i < s->val.n; i++)
		n += is_covered_blob(&s->val.entry[i], seen);
	/* Without any it would be nothing that could be shown. */
	if (n == 0 || n == s->val.n || slot_covered(s, seen))
		return 0;
	struct slot *t = slot_copy(a, s, NULL, 0);
	struct entry *left = arena_array(a, s->val.n - n, sizeof(*left));
	if (!t || !left)
		return -ENOMEM;
	t->val = (struct reg){ .entry = left };
	for (uint32_t i = 0; i < s->val.n; i++)
		if (!is_covered_blob(&s->val.entry[i], seen))
			left[t->val.n++] = s->val.entry[i];
	int rc = vv_arena_raise(a, &s->cleared, st->dot, &t->cleared);
	if (rc == 0)
		rc = slot_put(a, c->top, TOP_CONTENT, strlen(TOP_CONTENT), t, &c->top);
	return rc == 0 ? record_bound_marks(a, c) : rc;
}

int record_inherit(struct arena *a, const struct record *r, const struct id *heir, const struct vv *seen,
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
		rc = drop_covered(a, seen, st, c);
	if (rc == 0)
		*ret = c;
	return rc;
}
