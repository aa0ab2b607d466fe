/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/replica-cut.h"

#include <errno.h>
#include <stdlib.h>

/* Goes through a tree, breadth first. */
struct gathering {
	struct cut *cut;
	struct id *dir; /* directories: a queue that is kept to its end */
	uint32_t n, cap;
	uint32_t *left; /* nodes */
	bool contents;
};

static int gather_node(struct gathering *g, const struct attr *attr)
{
	if (*g->left == 0)
		return -E2BIG;
	(*g->left)--;
	int code = cut_node(g->cut, &attr->id);
	/* The name, where that is a hard link. */
	if (code == 0 && !id_equal(&attr->entry, &attr->id))
		code = cut_node(g->cut, &attr->entry);
	if (code < 0 && code != -ENOENT) /* what has no record is the same everywhere */
		return code;
	/* A document or text is its record, but for values that lost, which may be of another form. */
	if (attr->kind == NODE_FILE && (attr->conflict || (attr->form == FORM_BLOB && attr->size > 0)))
		g->contents = true;
	if (attr->kind != NODE_DIR)
		return 0;
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 64;
		struct id *p = reallocarray(g->dir, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		g->dir = p;
		g->cap = cap;
	}
	g->dir[g->n++] = attr->id;
	return 0;
}

static int gather_child(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	(void)name;
	(void)len;
	return gather_node(userdata, attr);
}

int cut_tree(struct cut *c, struct replica *r, const struct attr *top, uint32_t *left,
	     bool *ret_contents)
{
	struct gathering g = { .cut = c, .left = left };
	uint32_t at = 0;
	int code = cut_parents(c, &top->entry);
	if (code == 0)
		code = gather_node(&g, top);
	while (code == 0 && at < g.n) {
		const struct id id = g.dir[at++];
		code = replica_list(r, &id, gather_child, &g);
		if (code == -ENOENT || code == -ENOTDIR) /* removed meanwhile */
			code = 0;
	}
	free(g.dir);
	if (code == 0 && ret_contents)
		*ret_contents = g.contents;
	return code;
}
