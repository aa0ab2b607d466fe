/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Trees: looking up and comparing. The parser is json-parse.c. */

#include "engine/json.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/jsonindex.h"
#include "engine/jsonnum.h"

static bool same_bytes(const char *a, size_t alen, const char *b, size_t blen)
{
	return alen == blen && (alen == 0 || memcmp(a, b, alen) == 0);
}

struct json *json_get(const struct json *obj, const char *key, size_t key_len)
{
	if (!obj || obj->type != JSON_OBJECT)
		return NULL;
	if (obj->index)
		return json_index_find(obj, key, key_len);
	for (struct json *v = obj->first; v; v = v->next)
		if (same_bytes(v->key, v->key_len, key, key_len))
			return v;
	return NULL;
}

struct json *json_get_z(const struct json *obj, const char *key)
{
	return json_get(obj, key, strlen(key));
}

struct json *json_at(const struct json *container, size_t i)
{
	struct json *v = container && json_is_container(container) ? container->first : NULL;
	while (v && i-- > 0)
		v = v->next;
	return v;
}

/* Equal apart from the children. */
static bool same_node(const struct json *a, const struct json *b)
{
	if (a->type != b->type || a->count != b->count)
		return false;
	switch ((enum json_type)a->type) {
	case JSON_NUMBER:
		return same_bytes(a->text, a->len, b->text, b->len) ||
		       json_number_compare(a->text, a->len, b->text, b->len) == 0;
	case JSON_STRING:
		return same_bytes(a->text, a->len, b->text, b->len);
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_ARRAY:
	case JSON_OBJECT:
		return true;
	}
	return false;
}

/* The member of b's parent that has a's name; b is a likely one (may be NULL). */
static const struct json *counterpart(const struct json *a, const struct json *b,
				      const struct json *parent)
{
	if (parent->type == JSON_ARRAY)
		return b;
	if (b && same_bytes(a->key, a->key_len, b->key, b->key_len))
		return b;
	return json_get(parent, a->key, a->key_len);
}

bool json_equal(const struct json *a, const struct json *b)
{
	/* Walks a in document order; b is always the node of the other tree that belongs to a. */
	const struct json *top = a;
	for (;;) {
		if (!b || !same_node(a, b))
			return false;
		if (a->first) {
			b = counterpart(a->first, b->first, b);
			a = a->first;
			continue;
		}
		while (a != top && !a->next) {
			a = a->parent;
			b = b->parent;
		}
		if (a == top)
			return true;
		b = counterpart(a->next, b->next, b->parent);
		a = a->next;
	}
}

#define HASH_DEPTH 64

static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
	return h ^ h >> 31;
}

static uint64_t hash_at(const struct json *v, unsigned depth)
{
	uint64_t h = mix(v->type + UINT64_C(0x9e3779b97f4a7c15) * (v->count + UINT64_C(1)));
	switch ((enum json_type)v->type) {
	case JSON_NUMBER:
		return mix(h ^ json_number_hash(v->text, v->len));
	case JSON_STRING:
		return mix(h ^ XXH3_64bits(v->text, v->len));
	case JSON_NULL:
	case JSON_FALSE:
	case JSON_TRUE:
		return h;
	case JSON_ARRAY:
		for (const struct json *c = v->first; c && depth > 0; c = c->next)
			h = mix(h + hash_at(c, depth - 1));
		return h;
	case JSON_OBJECT:
		/* A sum, because the order does not count. */
		for (const struct json *c = v->first; c && depth > 0; c = c->next)
			h += mix(mix(XXH3_64bits(c->key, c->key_len)) + hash_at(c, depth - 1));
		return h;
	}
	return h;
}

uint64_t json_hash(const struct json *v)
{
	return hash_at(v, HASH_DEPTH);
}

bool json_is_numbers(const struct json *v)
{
	if (v->type != JSON_ARRAY)
		return false;
	for (const struct json *c = v->first; c; c = c->next)
		if (c->type != JSON_NUMBER)
			return false;
	return v->first != NULL;
}

const char *json_type_name(const struct json *v)
{
	switch ((enum json_type)v->type) {
	case JSON_NULL:
		return "null";
	case JSON_FALSE:
	case JSON_TRUE:
		return "boolean";
	case JSON_NUMBER:
		return "number";
	case JSON_STRING:
		return "string";
	case JSON_ARRAY:
		return "array";
	case JSON_OBJECT:
		return "object";
	}
	return "unknown";
}
