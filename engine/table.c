/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/table.h"

#include <errno.h>
#include <stdlib.h>

static struct table_link **bucket_of(const struct table *t, uint64_t hash)
{
	return &t->bucket[hash & (t->size - 1)];
}

static void put_in(struct table *t, struct table_link *l)
{
	struct table_link **at = bucket_of(t, l->hash);
	l->next = *at;
	*at = l;
}

static int grow(struct table *t)
{
	struct table bigger = { .size = t->size ? 2 * t->size : 16, .n = t->n };
	if (t->size > UINT32_MAX / 2)
		return -ENOMEM;
	bigger.bucket = calloc(bigger.size, sizeof(*bigger.bucket));
	if (!bigger.bucket)
		return -ENOMEM;
	table_each(t, i, l, next)
		put_in(&bigger, l);
	free(t->bucket);
	*t = bigger;
	return 0;
}

int table_add(struct table *t, struct table_link *l, uint64_t hash)
{
	if (t->n >= t->size && grow(t) < 0 && t->size == 0)
		return -ENOMEM;
	l->hash = hash;
	put_in(t, l);
	t->n++;
	return 0;
}

bool table_remove(struct table *t, struct table_link *l)
{
	struct table_link **at = t->size ? bucket_of(t, l->hash) : NULL;
	while (at && *at && *at != l)
		at = &(*at)->next;
	if (!at || !*at)
		return false;
	*at = l->next;
	l->next = NULL;
	t->n--;
	return true;
}

void table_done(struct table *t)
{
	free(t->bucket);
	*t = (struct table){ 0 };
}
