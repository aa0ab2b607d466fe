/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoded: for each array in the order in which they open: varint 0 if it is one value, else the
 * number of its elements plus 1, and each: varint kind (0 a hash: u64; 1 one more than the last
 * element's, in its batch; 2: varint actor, local, varint seq, varint index). */
#include "engine/elements.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ONE_VALUE UINT32_MAX /* as a count */

struct elements {
	atomic_uint refs;
	uint32_t *count; /* by array */
	struct seq_id *id;
	uint32_t n, n_ids;
};

static struct elements *elements_new(void)
{
	struct elements *e = calloc(1, sizeof(*e));
	if (e)
		atomic_init(&e->refs, 1);
	return e;
}

struct elements *elements_ref(struct elements *e)
{
	if (e)
		atomic_fetch_add(&e->refs, 1);
	return e;
}

void elements_free(struct elements *e)
{
	if (!e || atomic_fetch_sub(&e->refs, 1) != 1)
		return;
	free(e->count);
	free(e->id);
	free(e);
}

int elements_restamp(struct elements *e, const struct restamp *rs, struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *x = NULL;
	bool any = false;
	for (uint32_t i = 0; i < e->n_ids; i++)
		any |= e->id[i].actor == rs->from && e->id[i].seq > rs->above;
	if (!any) {
		*ret = elements_ref(e);
		return 0;
	}
	x = elements_new();
	if (!x)
		return -ENOMEM;
	x->count = reallocarray(NULL, e->n, sizeof(*x->count));
	x->id = reallocarray(NULL, e->n_ids, sizeof(*x->id));
	if (!x->count || !x->id)
		return -ENOMEM;
	x->n = e->n;
	x->n_ids = e->n_ids;
	memcpy(x->count, e->count, e->n * sizeof(*x->count));
	for (uint32_t i = 0; i < e->n_ids; i++) {
		struct dot d = { e->id[i].actor, e->id[i].seq };
		x->id[i] = e->id[i];
		x->id[i].actor = dot_restamp(rs, d).actor;
	}
	*ret = TAKE_PTR(x);
	return 0;
}

size_t elements_size(const struct elements *e)
{
	return e ? sizeof(*e) + e->n * sizeof(*e->count) + e->n_ids * sizeof(*e->id) : 0;
}

/* The next node in document order; what is inside of an array that is one value is passed by. */
static struct json *next_node(const struct json *root, struct json *j, bool inside)
{
	if (inside && j->first)
		return j->first;
	while (j != root && !j->next)
		j = j->parent;
	return j == root ? NULL : j->next;
}

static bool is_list(const struct json *array)
{
	return !array->first || array->first->key;
}

static int collect(const struct actors *actors, const struct json *tree, struct elements *e)
{
	struct buf count = { 0 }, id = { 0 };
	bool inside;
	int r = 0;
	for (struct json *j = (struct json *)(uintptr_t)tree; j && r == 0;
	     j = next_node(tree, j, inside)) {
		inside = j->type == JSON_OBJECT;
		if (j->type != JSON_ARRAY)
			continue;
		inside = is_list(j);
		uint32_t n = inside ? j->count : ONE_VALUE;
		buf_put(&count, &n, sizeof(n));
		for (const struct json *c = j->first; inside && c && r == 0; c = c->next) {
			struct seq_id one;
			r = element_id(actors, c->key, c->key_len, &one);
			buf_put(&id, &one, sizeof(one));
		}
	}
	if (r == 0 && (buf_failed(&count) || buf_failed(&id)))
		r = -ENOMEM;
	e->n = (uint32_t)(count.len / sizeof(*e->count));
	e->n_ids = (uint32_t)(id.len / sizeof(*e->id));
	if (r == 0 && e->n > 0) {
		e->count = (uint32_t *)(void *)count.data;
		e->id = (struct seq_id *)(void *)id.data;
		return 0;
	}
	buf_done(&count);
	buf_done(&id);
	return r;
}

int elements_make(const struct actors *actors, const struct json *tree, struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *e = elements_new();
	int r = e ? collect(actors, tree, e) : -ENOMEM;
	if (r == 0)
		*ret = e->n > 0 ? TAKE_PTR(e) : NULL;
	return r;
}

int elements_name(const struct elements *e, struct arena *a, const struct actors *actors,
		  struct json *tree)
{
	uint32_t k = 0, id = 0;
	bool inside;
	for (struct json *j = tree; e && j; j = next_node(tree, j, inside)) {
		inside = j->type == JSON_OBJECT;
		if (j->type != JSON_ARRAY)
			continue;
		if (k == e->n)
			return -EBADMSG;
		uint32_t n = e->count[k++];
		inside = n != ONE_VALUE;
		if (inside && (n != j->count || n > e->n_ids - id))
			return -EBADMSG;
		for (struct json *c = j->first; inside && c; c = c->next) {
			c->key = element_key(a, actors, &e->id[id++], &c->key_len);
			if (!c->key)
				return -ENOMEM;
		}
	}
	return !e || (k == e->n && id == e->n_ids) ? 0 : -EBADMSG;
}

static bool goes_on(const struct seq_id *last, const struct seq_id *id)
{
	return last && last->actor != ACTOR_NONE && id->actor == last->actor && id->seq == last->seq &&
	       id->index == last->index + 1;
}

enum { ID_HASH, ID_NEXT, ID_DOT };

void elements_encode(const struct elements *e, struct buf *b)
{
	const struct seq_id *id = e->id, *last = NULL;
	buf_varint(b, e->n);
	for (uint32_t i = 0; i < e->n; i++) {
		uint32_t n = e->count[i] == ONE_VALUE ? 0 : e->count[i];
		buf_varint(b, e->count[i] == ONE_VALUE ? 0 : n + UINT64_C(1));
		for (; n > 0; n--, last = id++) {
			if (id->actor == ACTOR_NONE) {
				buf_varint(b, ID_HASH);
				buf_u64(b, id->seq);
			} else if (goes_on(last, id)) {
				buf_varint(b, ID_NEXT);
			} else {
				buf_varint(b, ID_DOT);
				buf_varint(b, id->actor);
				buf_varint(b, id->seq);
				buf_varint(b, id->index);
			}
		}
	}
}

static int get_id(struct cursor *cur, const struct actors *actors, const struct seq_id *last,
		  struct seq_id *ret)
{
	switch (cursor_varint(cur)) {
	case ID_HASH:
		*ret = (struct seq_id){ .actor = ACTOR_NONE, .seq = cursor_u64(cur) };
		return 0;
	case ID_NEXT:
		if (!last || last->actor == ACTOR_NONE)
			return -EBADMSG;
		*ret = *last;
		ret->index++;
		return 0;
	case ID_DOT:
		ret->actor = (uint32_t)cursor_varint_max(cur, ACTORS_MAX);
		ret->seq = cursor_varint(cur);
		ret->index = (uint32_t)cursor_varint_max(cur, UINT32_MAX);
		return cursor_ok(cur) && ret->actor < actors_count(actors) ? 0 : -EBADMSG;
	}
	return -EBADMSG;
}

static int get_ids(struct cursor *cur, const struct actors *actors, struct buf *count, struct buf *id)
{
	uint64_t arrays = cursor_varint_max(cur, cursor_left(cur));
	struct seq_id last = { .actor = ACTOR_NONE }, one;
	for (uint64_t i = 0; i < arrays; i++) {
		uint64_t n = cursor_varint_max(cur, cursor_left(cur) + UINT64_C(1));
		uint32_t c = n == 0 ? ONE_VALUE : (uint32_t)(n - 1);
		buf_put(count, &c, sizeof(c));
		for (; n > 1 && cursor_ok(cur); n--, last = one) {
			if (get_id(cur, actors, &last, &one) < 0)
				return -EBADMSG;
			buf_put(id, &one, sizeof(one));
		}
		if (!cursor_ok(cur))
			return -EBADMSG;
	}
	return buf_failed(count) || buf_failed(id) ? -ENOMEM : 0;
}

int elements_decode(struct cursor *cur, const struct actors *actors, struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *e = elements_new();
	struct buf count = { 0 }, id = { 0 };
	int r = e ? get_ids(cur, actors, &count, &id) : -ENOMEM;
	if (r == 0 && count.len == 0)
		r = -EBADMSG;
	if (r < 0) {
		buf_done(&count);
		buf_done(&id);
		return r;
	}
	e->n = (uint32_t)(count.len / sizeof(*e->count));
	e->n_ids = (uint32_t)(id.len / sizeof(*e->id));
	e->count = (uint32_t *)(void *)count.data;
	e->id = (struct seq_id *)(void *)id.data;
	*ret = TAKE_PTR(e);
	return 0;
}
