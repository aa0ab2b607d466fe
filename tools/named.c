/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files below the paths of `evict` and `fetch`. */
#include <errno.h>
#include <stdlib.h>

#include "tools/daemon.h"

struct gathering {
	struct named *files;
	struct id *dir; /* a queue */
	uint32_t n, cap;
};

static int id_add(struct id **list, uint32_t *n, uint32_t *cap, const struct id *id)
{
	if (*n == NAMED_MAX)
		return -E2BIG;
	if (*n == *cap) {
		uint32_t more = *cap ? 2 * *cap : 64;
		struct id *p = reallocarray(*list, more, sizeof(*p));
		if (!p)
			return -ENOMEM;
		*list = p;
		*cap = more;
	}
	(*list)[(*n)++] = *id;
	return 0;
}

static int gather(struct gathering *g, const struct attr *at)
{
	if (at->kind == NODE_DIR)
		return id_add(&g->dir, &g->n, &g->cap, &at->id);
	/* A document or text is its record. */
	if (at->kind != NODE_FILE || at->form != FORM_BLOB || at->size == 0)
		return 0;
	return id_add(&g->files->id, &g->files->n, &g->files->cap, &at->id);
}

static int gather_child(const char *name, size_t len, const struct attr *at, void *userdata)
{
	(void)name;
	(void)len;
	return gather(userdata, at);
}

int named_gather(struct daemon *d, const char **path, uint32_t n, struct named *ret, struct err *e)
{
	struct gathering g = { .files = ret };
	uint32_t next = 0;
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		struct attr at;
		r = path_resolve(d->replica, path[i], &at, e);
		if (r == 0)
			r = gather(&g, &at);
		while (r == 0 && next < g.n) {
			struct id dir = g.dir[next++];
			r = replica_list(d->replica, &dir, gather_child, &g);
			if (r == -ENOENT || r == -ENOTDIR)
				r = 0;
		}
		if (r == -E2BIG)
			err_set(e, r, "these are too many files at once: name some of them");
		else if (r < 0 && e->code == 0)
			err_errno(e, r, "cannot read %s", path[i]);
	}
	free(g.dir);
	return r;
}

void named_done(struct named *x)
{
	free(x->id);
	*x = (struct named){ 0 };
}
