/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/jsonindex.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PROBES_PER_MEMBER 16

struct slot {
	uint64_t hash;
	struct json *node; /* NULL: free */
};

/* Either table (mask != 0) or sorted is used. */
struct json_index {
	uint32_t mask;
	struct slot *table;
	struct json **sorted;
};

static inline bool same_key(const struct json *v, const char *key, size_t len)
{
	return v->key_len == len && (len == 0 || memcmp(v->key, key, len) == 0);
}

/* A weak hash to 0..63 for the filter: names of one object differ in length or at an end. */
static inline unsigned filter_bit(const struct json *v)
{
	size_t n = v->key_len;
	if (n == 0)
		return 0;
	const uint8_t *k = (const uint8_t *)v->key;
	return (unsigned)(n * 7 + k[0] * 13u + k[n - 1] * 29u + k[n / 2] * 5u) & 63;
}

static struct json *small_duplicate(const struct json *obj)
{
	uint64_t seen = 0;
	for (struct json *v = obj->first; v; v = v->next) {
		uint64_t bit = UINT64_C(1) << filter_bit(v);
		if (seen & bit) {
			for (const struct json *u = obj->first; u != v; u = u->next)
				if (same_key(u, v->key, v->key_len))
					return v;
		}
		seen |= bit;
	}
	return NULL;
}

static int compare_keys(const char *a, size_t alen, const char *b, size_t blen)
{
	if (alen != blen)
		return alen < blen ? -1 : 1;
	return alen ? memcmp(a, b, alen) : 0;
}

/* Equal names: the one that comes first in the source first. */
static int compare_members(const void *a, const void *b)
{
	const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;
	int r = compare_keys(x->key, x->key_len, y->key, y->key_len);
	return r ? r : (x->offset > y->offset) - (x->offset < y->offset);
}

static int build_sorted(struct arena *a, struct json *obj, struct json_index *x,
			struct json **ret_dup)
{
	struct json **list = arena_array(a, obj->count, sizeof(*list));
	if (!list)
		return -ENOMEM;
	size_t n = 0;
	for (struct json *v = obj->first; v; v = v->next)
		list[n++] = v;
	assert(n == obj->count);
	qsort(list, n, sizeof(*list), compare_members);

	struct json *dup = NULL;
	for (size_t i = 1; i < n; i++)
		if (same_key(list[i], list[i - 1]->key, list[i - 1]->key_len) &&
		    (!dup || list[i]->offset < dup->offset))
			dup = list[i];
	if (dup) {
		*ret_dup = dup;
		return 1;
	}
	*x = (struct json_index){ .sorted = list };
	obj->index = x;
	return 0;
}

int json_index_build(struct arena *a, struct json *obj, struct json **ret_dup)
{
	if (obj->count <= JSON_INDEX_MIN) {
		struct json *dup = small_duplicate(obj);
		if (dup)
			*ret_dup = dup;
		return dup != NULL;
	}

	size_t cap = 2 * JSON_INDEX_MIN;
	while (cap < 2 * (size_t)obj->count)
		cap *= 2;
	if (cap - 1 > UINT32_MAX)
		return -ENOMEM;
	struct json_index *x = arena_new(a, struct json_index);
	struct slot *table = arena_array(a, cap, sizeof(*table));
	if (!x || !table)
		return -ENOMEM;
	size_t mask = cap - 1;
	uint64_t budget = (uint64_t)PROBES_PER_MEMBER * obj->count;
	for (struct json *v = obj->first; v; v = v->next) {
		uint64_t h = XXH3_64bits(v->key, v->key_len);
		size_t i = h & mask;
		for (; table[i].node; i = (i + 1) & mask) {
			if (table[i].hash == h && same_key(table[i].node, v->key, v->key_len)) {
				*ret_dup = v;
				return 1;
			}
			if (budget-- == 0)
				return build_sorted(a, obj, x, ret_dup);
		}
		table[i] = (struct slot){ h, v };
	}
	*x = (struct json_index){ .mask = (uint32_t)mask, .table = table };
	obj->index = x;
	return 0;
}

struct json *json_index_find(const struct json *obj, const char *key, size_t key_len)
{
	const struct json_index *x = obj->index;
	if (x->table) {
		uint64_t h = XXH3_64bits(key, key_len);
		for (size_t i = h & x->mask; x->table[i].node; i = (i + 1) & x->mask)
			if (x->table[i].hash == h && same_key(x->table[i].node, key, key_len))
				return x->table[i].node;
		return NULL;
	}
	size_t lo = 0, hi = obj->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct json *v = x->sorted[mid];
		int r = compare_keys(v->key, v->key_len, key, key_len);
		if (r == 0)
			return v;
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}
