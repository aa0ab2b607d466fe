/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "engine/replica-impl.h"

#include <errno.h>

static int table_grow(struct table *t)
{
	uint32_t cap = t->cap ? 2 * t->cap : 16;
	struct link **slot = calloc(cap, sizeof(struct link *));
	if (!slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->cap; i++) {
		while (t->slot[i]) {
			struct link *l = t->slot[i];
			t->slot[i] = l->next;
			l->next = slot[l->hash & (cap - 1)];
			slot[l->hash & (cap - 1)] = l;
		}
	}
	free(t->slot);
	t->slot = slot;
	t->cap = cap;
	return 0;
}

int table_add(struct table *t, struct link *l, uint64_t hash)
{
	if (t->n >= t->cap && table_grow(t) < 0 && t->cap == 0)
		return -ENOMEM;
	l->hash = hash;
	l->next = t->slot[hash & (t->cap - 1)];
	t->slot[hash & (t->cap - 1)] = l;
	t->n++;
	return 0;
}

void table_remove(struct table *t, struct link *l)
{
	struct link **at = &t->slot[l->hash & (t->cap - 1)];
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	t->n--;
}

void table_done(struct table *t)
{
	free(t->slot);
	*t = (struct table){ 0 };
}
