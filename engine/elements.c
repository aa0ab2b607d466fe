/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoded: for each array in the order in which they open: varint 0 if it is one value, else the
 * number of its elements plus 1, and each: varint kind (0 a hash: u64; 1 one more than the last
 * element's, in its batch; 2: varint actor, local, varint seq, varint index). Then, if there are any,
 * for each string that is a text: varint strings since the last one, bytes what is known of its
 * characters (engine/chars.h). */
#include "engine/elements.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chars.h"

#define ONE_VALUE UINT32_MAX /* as a count */

/* A string that is a text. */
struct text {
	uint32_t number; /* among the document's strings */
	uint32_t from;   /* in bytes */
	struct chars_base base;
};

struct elements {
	atomic_uint refs;
	uint32_t *count; /* by array */
	struct seq_id *id;
	uint32_t n, n_ids;
	struct text *text;
	uint32_t n_texts;
	struct buf bytes; /* of all texts */
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
	free(e->text);
	buf_done(&e->bytes);
	free(e);
}

size_t elements_size(const struct elements *e)
{
	return e ? sizeof(*e) + e->n * sizeof(*e->count) + e->n_ids * sizeof(*e->id) +
			   e->n_texts * sizeof(*e->text) + e->bytes.len : 0;
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

/* What elements are made of. */
struct lists {
	struct buf count, id, text; /* uint32_t, struct seq_id, struct text */
	struct buf bytes;
};

static void lists_done(struct lists *l)
{
	buf_done(&l->count);
	buf_done(&l->id);
	buf_done(&l->text);
	buf_done(&l->bytes);
}

/* Takes the lists' memory. */
static int lists_take(struct lists *l, struct elements *e)
{
	if (buf_failed(&l->count) || buf_failed(&l->id) || buf_failed(&l->text) ||
	    buf_failed(&l->bytes))
		return -ENOMEM;
	e->n = (uint32_t)(l->count.len / sizeof(*e->count));
	e->n_ids = (uint32_t)(l->id.len / sizeof(*e->id));
	e->n_texts = (uint32_t)(l->text.len / sizeof(*e->text));
	e->count = (uint32_t *)(void *)l->count.data;
	e->id = (struct seq_id *)(void *)l->id.data;
	e->text = (struct text *)(void *)l->text.data;
	e->bytes = l->bytes;
	for (uint32_t i = 0; i < e->n_texts; i++)
		e->text[i].base.data = e->bytes.data + e->text[i].from;
	*l = (struct lists){ 0 };
	return 0;
}

static void add_text(struct lists *l, uint32_t number, const void *data, size_t len)
{
	const struct text t = { number, (uint32_t)l->bytes.len, { NULL, len } };
	buf_put(&l->text, &t, sizeof(t));
	buf_put(&l->bytes, data, len);
}

static int add_array(const struct actors *actors, const struct json *array, struct lists *l)
{
	bool list = is_list(array);
	uint32_t n = list ? array->count : ONE_VALUE;
	int r = 0;
	buf_put(&l->count, &n, sizeof(n));
	for (const struct json *c = array->first; list && c && r == 0; c = c->next) {
		struct seq_id one;
		r = element_id(actors, c->key, c->key_len, &one);
		buf_put(&l->id, &one, sizeof(one));
	}
	return r;
}

static int collect(const struct actors *actors, const struct json *tree, struct lists *l)
{
	uint32_t strings = 0;
	bool inside;
	int r = 0;
	for (struct json *j = (struct json *)(uintptr_t)tree; j && r == 0;
	     j = next_node(tree, j, inside)) {
		inside = j->type == JSON_OBJECT || (j->type == JSON_ARRAY && is_list(j));
		if (j->type == JSON_STRING && j->chars)
			add_text(l, strings, j->chars->data, j->chars->len);
		strings += j->type == JSON_STRING;
		if (j->type == JSON_ARRAY)
			r = add_array(actors, j, l);
	}
	return r;
}

int elements_make(const struct actors *actors, const struct json *tree, struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *e = elements_new();
	_cleanup_(lists_done) struct lists l = { 0 };
	int r = e ? collect(actors, tree, &l) : -ENOMEM;
	if (r == 0)
		r = lists_take(&l, e);
	if (r == 0)
		*ret = e->n > 0 || e->n_texts > 0 ? TAKE_PTR(e) : NULL;
	return r;
}

int elements_name(const struct elements *e, struct arena *a, const struct actors *actors,
		  struct json *tree)
{
	uint32_t k = 0, id = 0, strings = 0, t = 0;
	bool inside;
	for (struct json *j = tree; e && j; j = next_node(tree, j, inside)) {
		inside = j->type == JSON_OBJECT;
		if (j->type == JSON_STRING && t < e->n_texts && e->text[t].number == strings)
			j->chars = &e->text[t++].base;
		strings += j->type == JSON_STRING;
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
	return !e || (k == e->n && id == e->n_ids && t == e->n_texts) ? 0 : -EBADMSG;
}

static bool has_renamed(const struct elements *e, const struct restamp *rs)
{
	bool any = e->n_texts > 0; /* these may; it is not worth looking */
	for (uint32_t i = 0; i < e->n_ids && !any; i++)
		any = e->id[i].actor == rs->from && e->id[i].seq > rs->above;
	return any;
}

int elements_restamp(const struct actors *actors, struct elements *e, const struct restamp *rs,
		     struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *x = NULL;
	_cleanup_(lists_done) struct lists l = { 0 };
	if (!has_renamed(e, rs)) {
		*ret = elements_ref(e);
		return 0;
	}
	buf_put(&l.count, e->count, e->n * sizeof(*e->count));
	for (uint32_t i = 0; i < e->n_ids; i++) {
		struct seq_id id = e->id[i];
		id.actor = dot_restamp(rs, (struct dot){ id.actor, id.seq }).actor;
		buf_put(&l.id, &id, sizeof(id));
	}
	for (uint32_t i = 0; i < e->n_texts; i++) {
		_cleanup_(buf_done) struct buf base = { 0 };
		int r = chars_base_restamp(actors, &e->text[i].base, rs, &base);
		if (r < 0)
			return r;
		add_text(&l, e->text[i].number, base.data, base.len);
	}
	x = elements_new();
	int r = x ? lists_take(&l, x) : -ENOMEM;
	if (r == 0)
		*ret = TAKE_PTR(x);
	return r;
}

static bool goes_on(const struct seq_id *last, const struct seq_id *id)
{
	return last && last->actor != ACTOR_NONE && id->actor == last->actor && id->seq == last->seq &&
	       id->index == last->index + 1;
}

enum { ID_HASH, ID_NEXT, ID_DOT };

static void put_texts(const struct elements *e, struct buf *b)
{
	uint32_t next = 0;
	for (uint32_t i = 0; i < e->n_texts; i++) {
		const struct text *t = &e->text[i];
		buf_varint(b, t->number - next);
		buf_bytes(b, t->base.data, t->base.len);
		next = t->number + 1;
	}
}

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
	put_texts(e, b);
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

static int get_ids(struct cursor *cur, const struct actors *actors, struct lists *l)
{
	uint64_t arrays = cursor_varint_max(cur, cursor_left(cur));
	struct seq_id last = { .actor = ACTOR_NONE }, one;
	for (uint64_t i = 0; i < arrays; i++) {
		uint64_t n = cursor_varint_max(cur, cursor_left(cur) + UINT64_C(1));
		uint32_t c = n == 0 ? ONE_VALUE : (uint32_t)(n - 1);
		buf_put(&l->count, &c, sizeof(c));
		for (; n > 1 && cursor_ok(cur); n--, last = one) {
			if (get_id(cur, actors, &last, &one) < 0)
				return -EBADMSG;
			buf_put(&l->id, &one, sizeof(one));
		}
		if (!cursor_ok(cur))
			return -EBADMSG;
	}
	return 0;
}

/* Numbers are below that of all strings a document can have. */
static int get_texts(struct cursor *cur, struct lists *l)
{
	uint32_t next = 0;
	while (cursor_ok(cur) && cursor_left(cur) > 0) {
		uint32_t number = next + (uint32_t)cursor_varint_max(cur, JSON_SIZE_MAX / 4);
		size_t len;
		const uint8_t *data = cursor_bytes(cur, cursor_left(cur), &len);
		if (!cursor_ok(cur) || number >= JSON_SIZE_MAX / 2)
			return -EBADMSG;
		add_text(l, number, data, len);
		next = number + 1;
	}
	return cursor_ok(cur) ? 0 : -EBADMSG;
}

int elements_decode(struct cursor *cur, const struct actors *actors, struct elements **ret)
{
	_cleanup_(elements_freep) struct elements *e = elements_new();
	_cleanup_(lists_done) struct lists l = { 0 };
	int r = e ? get_ids(cur, actors, &l) : -ENOMEM;
	if (r == 0)
		r = get_texts(cur, &l);
	if (r == 0)
		r = lists_take(&l, e);
	if (r == 0 && e->n == 0 && e->n_texts == 0)
		r = -EBADMSG;
	if (r == 0)
		*ret = TAKE_PTR(e);
	return r;
}
