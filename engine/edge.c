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
	return dot_cmp(actors, x->dot, y->dot);
}

bool edge_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > NAME_MAX_BYTES || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

int edge_join(struct arena *a, const struct actors *actors, struct record *r,
	      const struct edge *edge, uint32_t n)
{
	struct edge all[2 * EDGES_MAX];
	uint32_t count = r->n_edges;
	assert(count <= EDGES_MAX && n <= EDGES_MAX);
	memcpy(all, r->edge, count * sizeof(*all));
	for (uint32_t i = 0; i < n; i++) {
		struct edge e = edge[i];
		uint32_t at = 0;
		while (at < count && !id_equal(&all[at].parent, &e.parent))
			at++;
		if (at < count) {
			struct visit visit = all[at].visit;
			struct vv seen;
			int ret = vv_arena_join(a, &all[at].seen, &e.seen, &seen);
			if (ret < 0)
				return ret;
			if (visit_rank(actors, &visit, &e.visit) < 0)
				visit = e.visit;
			if (edge_rank(actors, &all[at], &e) > 0)
				e = all[at];
			if (edge_is_trash(&e))
				e.seen = seen;
			e.visit = visit;
			count--;
			memmove(all + at, all + at + 1, (count - at) * sizeof(*all));
		}
		for (at = 0; at < count && edge_rank(actors, &all[at], &e) > 0; at++)
			;
		memmove(all + at + 1, all + at, (count - at) * sizeof(*all));
		all[at] = e;
		count++;
	}
	uint32_t room = EDGES_MAX;
	for (uint32_t i = 0; i < count; i++)
		room -= edge_is_trash(&all[i]) || edge_is_inodes(&all[i]);
	r->n_edges = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (edge_is_trash(&all[i]) || edge_is_inodes(&all[i]))
			r->edge[r->n_edges++] = all[i];
		else if (room > 0) {
			r->edge[r->n_edges++] = all[i];
			room--;
		}
	}
	for (uint32_t i = r->n_edges; i < EDGES_MAX; i++)
		r->edge[i] = (struct edge){ 0 };
	return 0;
}
