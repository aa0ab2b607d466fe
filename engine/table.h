/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A hash table with chains that doubles as it fills. The links are embedded in what it holds, it
 * owns nothing. All zero is an empty table. Not thread-safe.
 *
 *     for (struct table_link *l = table_first(&t, id_hash(id)); l; l = l->next) {
 *             struct thing *x = table_entry(l, struct thing, link);
 *             if (id_equal(&x->id, id))
 *                     return x;
 *     }
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

struct table {
	struct table_link **bucket;
	uint32_t size; /* a power of two, or 0 */
	uint32_t n;
};

/* The object around a link. */
#define table_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* -ENOMEM for the very first entry only: later the chains just get longer. */
int table_add(struct table *t, struct table_link *l, uint64_t hash);
/* False: it is not there. */
bool table_remove(struct table *t, struct table_link *l);
/* The first link of the chain that may hold this hash: go on with ->next and compare. */
static inline struct table_link *table_first(const struct table *t, uint64_t hash)
{
	return t->size ? t->bucket[hash & (t->size - 1)] : NULL;
}
/* The entries are not touched. */
void table_done(struct table *t);

/* Hashes for keys that are not spread evenly: numbers (the finalizer of MurmurHash3, a bijection)
 * and bytes (FNV-1a, then that). They are the same in every run. */
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

/* for (each link l, nextl behind it); the body may remove l from the table, or free it. */
#define table_each(t, i, l, nextl)                                                          \
	for (uint32_t i = 0; i < (t)->size; i++)                                            \
		for (struct table_link *l = (t)->bucket[i], *nextl = l ? l->next : NULL; l; \
		     l = nextl, nextl = l ? l->next : NULL)
