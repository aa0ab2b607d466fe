/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/table.h"

#define CHAIN_MAX 64 /* names that move up by one each; directories in one another */

struct step {
	const struct change *c;
	struct table_link by_id, by_old, by_new;
	unsigned class, depth;
	uint32_t at;
};

struct steps {
	struct step *step;
	size_t n;
	struct table by_id, by_old, by_new;
};

static uint64_t name_hash(const struct id *dir, const char *name)
{
	return table_hash_bytes(name, strlen(name), id_hash(dir));
}

static bool moves(const struct change *c)
{
	return c->name && c->old_name;
}

static const struct step *find_id(const struct steps *b, const struct id *id)
{
	for (struct table_link *l = table_first(&b->by_id, id_hash(id)); l; l = l->next) {
		const struct step *p = table_entry(l, struct step, by_id);
		if (id_equal(&p->c->id, id))
			return p;
	}
	return NULL;
}

/* What leaves the name. */
static const struct step *find_old(const struct steps *b, const struct id *dir, const char *name)
{
	for (struct table_link *l = table_first(&b->by_old, name_hash(dir, name)); l; l = l->next) {
		const struct step *p = table_entry(l, struct step, by_old);
		if (id_equal(&p->c->old_parent, dir) && strcmp(p->c->old_name, name) == 0)
			return p;
	}
	return NULL;
}

/* Is the name taken? */
static bool find_new(const struct steps *b, const struct id *dir, const char *name)
{
	for (struct table_link *l = table_first(&b->by_new, name_hash(dir, name)); l; l = l->next) {
		const struct step *p = table_entry(l, struct step, by_new);
		if (id_equal(&p->c->parent, dir) && strcmp(p->c->name, name) == 0)
			return true;
	}
	return false;
}

static unsigned class_of(const struct steps *b, const struct change *c)
{
	if (!c->old_name)
		return 3;
	if (c->name)
		return 1;
	return c->kind == NODE_DIR && !find_new(b, &c->old_parent, c->old_name) ? 2 : 0;
}

static unsigned depth_of(const struct steps *b, const struct step *p)
{
	unsigned depth = 0;
	while (depth < CHAIN_MAX && p) {
		const struct change *c = p->c;
		if (moves(c)) {
			p = find_old(b, &c->parent, c->name);
			p = p && moves(p->c) ? p : NULL;
		} else {
			p = c->old_name || c->name ? find_id(b, c->name ? &c->parent : &c->old_parent)
						   : NULL;
			p = p && !moves(p->c) && !p->c->name == !c->name ? p : NULL;
		}
		depth += p != NULL;
	}
	return depth;
}

static int compare(const void *a, const void *b)
{
	const struct step *x = a, *y = b;
	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->depth != y->depth)
		return (x->depth < y->depth) == (x->class % 2 == 1) ? -1 : 1;
	return x->at < y->at ? -1 : 1;
}

static int index_one(struct steps *b, struct step *p)
{
	const struct change *c = p->c;
	int r = table_add(&b->by_id, &p->by_id, id_hash(&c->id));
	if (r == 0 && c->old_name)
		r = table_add(&b->by_old, &p->by_old, name_hash(&c->old_parent, c->old_name));
	if (r == 0 && c->name)
		r = table_add(&b->by_new, &p->by_new, name_hash(&c->parent, c->name));
	return r;
}

int order_changes(const struct change *c, size_t n, uint32_t *ret)
{
	struct steps b = { .step = calloc(n + 1, sizeof(*b.step)), .n = n };
	int r = b.step ? 0 : -ENOMEM;
	for (size_t k = 0; r == 0 && k < n; k++) {
		b.step[k].c = &c[k];
		b.step[k].at = (uint32_t)k;
		r = index_one(&b, &b.step[k]);
	}
	for (size_t k = 0; r == 0 && k < n; k++) {
		b.step[k].class = class_of(&b, &c[k]);
		b.step[k].depth = depth_of(&b, &b.step[k]);
	}
	table_done(&b.by_id);
	table_done(&b.by_old);
	table_done(&b.by_new);
	if (r == 0)
		qsort(b.step, n, sizeof(*b.step), compare);
	for (size_t k = 0; r == 0 && k < n; k++)
		ret[k] = b.step[k].at;
	free(b.step);
	return r;
}
