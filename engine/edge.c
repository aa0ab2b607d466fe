/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/edge.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/slot.h"

int edge_rank(const struct actors *actors, const struct edge *x, const struct edge *y)
{
	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	int r = actors_cmp(actors, x->dot.actor, y->dot.actor);
	if (r == 0)
		r = key_cmp(x->name, x->name_len, y->name, y->name_len);
	if (r == 0)
		r = id_cmp(&x->parent, &y->parent);
	return r ? r : x->dot.seq < y->dot.seq ? -1 : x->dot.seq > y->dot.seq;
}

int visit_rank(const struct actors *actors, const struct visit *x, const struct visit *y)
{
	if (x->us != y->us)
		return x->us < y->us ? -1 : 1;
	int r = dot_cmp(actors, x->dot, y->dot);
	return r ? r : id_cmp(&x->parent, &y->parent);
}

bool edge_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > NAME_MAX_BYTES || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

/* What is never dropped for newer ones. */
static bool is_kept(const struct id *parent)
{
	return id_equal(parent, &NODE_TRASH) || id_equal(parent, &NODE_INODES);
}

/* Which ones stay of n with these parents, newest first: those that are never dropped, and of the others as many as
 * there is room for. Their places, into ret; how many. */
static uint32_t newest(const struct id *const *parent, uint32_t n, uint32_t ret[static EDGES_MAX])
{
	uint32_t room = EDGES_MAX, count = 0;
	for (uint32_t i = 0; i < n; i++)
		room -= is_kept(parent[i]);
	for (uint32_t i = 0; i < n; i++) {
		bool kept = is_kept(parent[i]);
		if (kept || room > 0)
			ret[count++] = i;
		room -= !kept && room > 0;
	}
	return count;
}

int edge_join(struct arena *a, const struct actors *actors, struct record *r,
	      const struct edge *edge, uint32_t n)
{
	struct edge all[2 * EDGES_MAX];
	const struct id *parent[2 * EDGES_MAX];
	uint32_t count = r->n_edges, stay[EDGES_MAX];
	assert(count <= EDGES_MAX && n <= EDGES_MAX);
	memcpy(all, r->edge, count * sizeof(*all));
	for (uint32_t i = 0; i < n; i++) {
		struct edge e = edge[i];
		uint32_t at = 0;
		while (at < count && !id_equal(&all[at].parent, &e.parent))
			at++;
		if (at < count) {
			struct vv seen;
			int ret = vv_arena_join(a, &all[at].seen, &e.seen, &seen);
			if (ret < 0)
				return ret;
			if (edge_rank(actors, &all[at], &e) > 0)
				e = all[at];
			if (edge_is_trash(&e))
				e.seen = seen;
			count--;
			memmove(all + at, all + at + 1, (count - at) * sizeof(*all));
		}
		for (at = 0; at < count && edge_rank(actors, &all[at], &e) > 0; at++)
			;
		memmove(all + at + 1, all + at, (count - at) * sizeof(*all));
		all[at] = e;
		count++;
	}
	for (uint32_t i = 0; i < count; i++)
		parent[i] = &all[i].parent;
	r->n_edges = newest(parent, count, stay);
	for (uint32_t i = 0; i < EDGES_MAX; i++)
		r->edge[i] = i < r->n_edges ? all[stay[i]] : (struct edge){ 0 };
	return 0;
}

void visit_join(const struct actors *actors, struct record *r, const struct visit *visit, uint32_t n)
{
	struct visit all[2 * EDGES_MAX];
	const struct id *parent[2 * EDGES_MAX];
	uint32_t count = r->n_visits, stay[EDGES_MAX];
	assert(count <= EDGES_MAX && n <= EDGES_MAX);
	memcpy(all, r->visit, count * sizeof(*all));
	for (uint32_t i = 0; i < n; i++) {
		struct visit v = visit[i];
		uint32_t at = 0;
		while (at < count && !id_equal(&all[at].parent, &v.parent))
			at++;
		if (at < count) {
			if (visit_rank(actors, &all[at], &v) > 0)
				v = all[at];
			count--;
			memmove(all + at, all + at + 1, (count - at) * sizeof(*all));
		}
		for (at = 0; at < count && visit_rank(actors, &all[at], &v) > 0; at++)
			;
		memmove(all + at + 1, all + at, (count - at) * sizeof(*all));
		all[at] = v;
		count++;
	}
	for (uint32_t i = 0; i < count; i++)
		parent[i] = &all[i].parent;
	r->n_visits = newest(parent, count, stay);
	for (uint32_t i = 0; i < EDGES_MAX; i++)
		r->visit[i] = i < r->n_visits ? all[stay[i]] : (struct visit){ 0 };
}

const struct visit *record_visit(const struct record *r, const struct id *parent)
{
	for (uint32_t i = 0; i < r->n_visits; i++)
		if (id_equal(&r->visit[i].parent, parent))
			return &r->visit[i];
	return NULL;
}

bool record_visits_follow_edges(const struct record *r)
{
	bool follow = r->n_visits == r->n_edges;
	for (uint32_t i = 0; follow && i < r->n_edges; i++)
		follow = record_visit(r, &r->edge[i].parent);
	return follow;
}
