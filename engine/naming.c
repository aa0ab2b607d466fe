/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/naming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/element.h"

struct numbered {
	uint64_t hash;
	uint32_t at;
	struct json *j;
};

static int by_hash(const void *x, const void *y)
{
	const struct numbered *a = x, *b = y;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static int by_number(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;
	return *a < *b ? -1 : *a > *b;
}

static uint64_t mix(uint64_t value, uint32_t i)
{
	uint64_t h = value + i * UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

static const struct json *field_of(const struct json *j, const struct type *t)
{
	const struct json *v = t->merge == MERGE_KEYED ? json_get(j, t->field, t->field_len) : NULL;
	return v && !json_is_container(v) ? v : NULL;
}

/* A keyed element is not the same as one that is its key. */
static uint64_t hash_of(const struct json *j, const struct type *t)
{
	const struct json *v = field_of(j, t);
	return v ? mix(json_hash(v), UINT32_MAX) : json_hash(j);
}

static int put_name(struct arena *a, struct json *j, uint64_t hash)
{
	const struct seq_id id = { .actor = ACTOR_NONE, .seq = hash };
	j->key = element_key(a, NULL, &id, &j->key_len);
	return j->key ? 0 : -ENOMEM;
}

static bool taken(const uint64_t *names, uint32_t n, uint64_t name)
{
	return n > 0 && bsearch(&name, names, n, sizeof(*names), by_number);
}

/* Of equal ones each gets the next name that is free. */
static int give_names(struct arena *a, struct numbered *list, uint32_t n, const uint64_t *names,
		      uint32_t n_names)
{
	uint32_t next = 0;
	qsort(list, n, sizeof(*list), by_hash);
	for (uint32_t i = 0; i < n; i++) {
		next = i > 0 && list[i].hash == list[i - 1].hash ? next : 0;
		while (taken(names, n_names, mix(list[i].hash, next)))
			next++;
		int r = put_name(a, list[i].j, mix(list[i].hash, next++));
		if (r < 0)
			return r;
	}
	return 0;
}

int naming_all(struct arena *a, struct json *array, const struct types_at *at)
{
	const struct type t = types_type(at);
	struct numbered *list = arena_array(a, array->count, sizeof(*list));
	uint32_t n = 0;
	if (!list)
		return -ENOMEM;
	for (struct json *j = array->first; j; j = j->next, n++)
		list[n] = (struct numbered){ hash_of(j, &t), n, j };
	return give_names(a, list, n, NULL, 0);
}

/* The hashes that name elements of an array, in order. */
static int collect_names(struct arena *a, const struct json *array, uint64_t **ret, uint32_t *ret_n)
{
	uint64_t *names = arena_array(a, array->count, sizeof(*names));
	struct seq_id id;
	uint32_t n = 0;
	if (!names)
		return -ENOMEM;
	for (const struct json *j = array->first; j; j = j->next)
		if (j->key_len == ELEMENT_HASH_SIZE && element_id(NULL, j->key, j->key_len, &id) == 0)
			names[n++] = id.seq;
	qsort(names, n, sizeof(*names), by_number);
	*ret = names;
	*ret_n = n;
	return 0;
}

int naming_new(struct arena *a, const struct json *old, struct json *next, const struct types_at *at)
{
	const struct type t = types_type(at);
	struct numbered *list;
	uint64_t *names;
	uint32_t n = 0, n_names;
	if (t.merge != MERGE_SET && t.merge != MERGE_KEYED)
		return 0;
	int r = collect_names(a, old, &names, &n_names);
	list = arena_array(a, next->count, sizeof(*list));
	if (r < 0 || !list)
		return -ENOMEM;
	for (struct json *j = next->first; j; j = j->next)
		if (!j->key && (t.merge == MERGE_SET || field_of(j, &t))) {
			list[n] = (struct numbered){ hash_of(j, &t), n, j };
			n++;
		}
	return give_names(a, list, n, names, n_names);
}

/* --- sets --- */

/* Which of the elements are there before? */
static int find_copies(struct arena *a, const struct json *array, bool **ret)
{
	struct numbered *list = arena_array(a, array->count, sizeof(*list));
	bool *copy = arena_array(a, array->count, sizeof(*copy));
	uint32_t n = 0;
	if (!list || !copy)
		return -ENOMEM;
	for (struct json *j = array->first; j; j = j->next, n++)
		list[n] = (struct numbered){ json_hash(j), n, j };
	qsort(list, n, sizeof(*list), by_hash);
	for (uint32_t i = 1, first = 0; i < n; i++) {
		if (list[i].hash != list[first].hash)
			first = i;
		else
			copy[list[i].at] = json_equal(list[i].j, list[first].j);
	}
	*ret = copy;
	return 0;
}

static int unite(struct arena *a, struct json *array, bool *ret_changed)
{
	bool *copy;
	uint32_t i = 0;
	struct json **end = &array->first;
	int r = find_copies(a, array, &copy);
	for (struct json *j = array->first; r == 0 && j; j = j->next, i++) {
		if (copy[i]) {
			array->count--;
			*ret_changed = true;
			continue;
		}
		*end = j;
		end = &j->next;
	}
	if (r == 0)
		*end = NULL;
	return r;
}

int naming_unite(struct arena *a, struct json *j, const struct types_at *at, bool *ret_changed)
{
	const struct types_at *below;
	int r = 0;
	if (!at || !json_is_container(j))
		return 0;
	for (struct json *c = j->first; c && r == 0; c = c->next) {
		r = types_step(a, at, j->type == JSON_OBJECT ? c->key : NULL, c->key_len, &below);
		if (r == 0)
			r = naming_unite(a, c, below, ret_changed);
	}
	if (r == 0 && j->type == JSON_ARRAY && types_merge(at) == MERGE_SET)
		r = unite(a, j, ret_changed);
	return r;
}
