/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* An intrusive hash table with chains that doubles as it fills. Links live in the objects; the
 * table owns nothing. Not thread-safe. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

struct table {
	struct table_link **bucket;
	size_t size; /* a power of two, or 0 */
	size_t n;
};

#define table_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline uint64_t table_mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

static inline uint64_t table_hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = seed ^ UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return table_mix(h);
}

static inline void table_done(struct table *t)
{
	free(t->bucket);
	*t = (struct table){ 0 };
}

/* -ENOMEM only for the very first entry; later the chains just get longer. */
static inline int table_add(struct table *t, struct table_link *l, uint64_t hash)
{
	if (t->n >= t->size) {
		size_t size = t->size ? t->size * 2 : 64;
		struct table_link **b = calloc(size, sizeof(struct table_link *));
		if (!b && !t->size)
			return -ENOMEM;
		for (size_t i = 0; b && i < t->size; i++)
			for (struct table_link *x = t->bucket[i], *next; x; x = next) {
				next = x->next;
				x->next = b[x->hash & (size - 1)];
				b[x->hash & (size - 1)] = x;
			}
		if (b) {
			free(t->bucket);
			t->bucket = b;
			t->size = size;
		}
	}
	l->hash = hash;
	l->next = t->bucket[hash & (t->size - 1)];
	t->bucket[hash & (t->size - 1)] = l;
	t->n++;
	return 0;
}

static inline bool table_remove(struct table *t, struct table_link *l)
{
	if (!t->size)
		return false;
	for (struct table_link **p = &t->bucket[l->hash & (t->size - 1)]; *p; p = &(*p)->next)
		if (*p == l) {
			*p = l->next;
			l->next = NULL;
			t->n--;
			return true;
		}
	return false;
}

/* First link of the chain that may hold this hash; go on with ->next and compare. */
static inline struct table_link *table_first(const struct table *t, uint64_t hash)
{
	return t->size ? t->bucket[hash & (t->size - 1)] : NULL;
}

/* for (each link) with removal of the current one allowed. */
#define table_each(t, i, l, nextl)                                                          \
	for (size_t i = 0; i < (t)->size; i++)                                              \
		for (struct table_link *l = (t)->bucket[i], *nextl = l ? l->next : NULL; l; \
		     l = nextl, nextl = l ? l->next : NULL)
