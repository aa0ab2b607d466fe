/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How it is found: what two texts have in common at their ends is compared as bytes. If what is between is
 * within the lexeme of one value of the new text, then the old text has the same tokens before and behind,
 * and at its place, where the grammar wants a value, other bytes. If these are one scalar, without
 * space around it, they are the old value, and nothing else differs. */
#include "engine/leaf.h"

#include <errno.h>
#include <string.h>

#include "engine/element.h"
#include "engine/jsonnum.h"
#include "engine/jsonstyle.h"
#include "engine/slot.h"
#include "engine/utf8.h"
#include "engine/value.h"

/* --- finding --- */

#define STEP 4096

static size_t common_prefix(const char *x, const char *y, size_t max)
{
	size_t n = 0;
	while (max - n >= STEP && memcmp(x + n, y + n, STEP) == 0)
		n += STEP;
	while (n < max && x[n] == y[n])
		n++;
	return n;
}

/* x and y are the ends. */
static size_t common_suffix(const char *x, const char *y, size_t max)
{
	size_t n = 0;
	while (max - n >= STEP && memcmp(x - n - STEP, y - n - STEP, STEP) == 0)
		n += STEP;
	while (n < max && x[-1 - (ptrdiff_t)n] == y[-1 - (ptrdiff_t)n])
		n++;
	return n;
}

/* The value that holds bytes [from, to) and has nothing below; NULL: none, or it is in an array. */
static const struct json *scalar_around(const struct json *tree, size_t from, size_t to)
{
	const struct json *j = tree;
	while (j && json_is_container(j)) {
		if (j->type == JSON_ARRAY)
			return NULL;
		for (j = j->first; j && j->end < to; j = j->next)
			;
	}
	return j && j->offset <= from && j->end >= to ? j : NULL;
}

/* What stood in the old text at the place of the value. */
static int parse_before(struct arena *a, const char *text, size_t len, const struct json **ret)
{
	struct json *j;
	int r = json_parse(a, text, len, NULL, &j, NULL);
	if (r == -ENOMEM)
		return r;
	*ret = j;
	return r == 0 && !json_is_container(j) && j->offset == 0 && j->end == len;
}

static int make_path(struct arena *a, const struct types_at *types, struct leaf *l)
{
	for (const struct json *j = l->now; j->parent; j = j->parent)
		l->n++;
	l->path = arena_array(a, l->n, sizeof(*l->path));
	if (!l->path)
		return -ENOMEM;
	uint32_t i = l->n;
	for (const struct json *j = l->now; j->parent; j = j->parent)
		l->path[--i] = (struct leaf_step){ j->key, j->key_len };
	for (i = 0; i < l->n; i++) {
		int r = types_step(a, types, l->path[i].key, l->path[i].len, &types);
		if (r < 0)
			return r;
	}
	enum merge merge = types_merge(types);
	return merge == MERGE_DEFAULT || merge == MERGE_REGISTER;
}

int leaf_find(struct arena *a, const char *base, size_t base_len, const char *text, size_t len,
	      const struct json *tree, const struct types_at *types, struct leaf *ret)
{
	struct leaf l = { 0 };
	size_t max = base_len < len ? base_len : len;
	size_t prefix = common_prefix(base, text, max);
	size_t suffix = common_suffix(base + base_len, text + len, max - prefix);
	l.now = scalar_around(tree, prefix, len - suffix);
	if (!l.now || base_len + l.now->end <= len + l.now->offset)
		return 0;
	size_t old = base_len + l.now->end - len - l.now->offset;
	int r = parse_before(a, base + l.now->offset, old, &l.before);
	/* The same written in another way is nothing that a record says of a value. */
	if (r > 0 && json_equal(l.before, l.now))
		return 0;
	if (r > 0)
		r = make_path(a, types, &l);
	if (r <= 0)
		return r;
	l.value = value_of_json(l.now);
	l.text = text + l.now->offset;
	l.len = l.now->end - l.now->offset;
	*ret = l;
	return 1;
}

/* --- writing --- */

static bool is_scalar(enum value_kind kind)
{
	return kind <= VALUE_STRING;
}

static bool is_plain_object(const struct slot *s)
{
	return s->val.n == 1 && s->val.entry[0].value.kind == VALUE_MAP && slot_elements(s) == s->n;
}

static struct slot *content_slot(const struct record *r)
{
	return r->top ? slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

struct slot *leaf_slot(const struct record *r, const struct leaf *l)
{
	struct slot *s = content_slot(r);
	for (uint32_t i = 0; s && i < l->n; i++)
		s = is_plain_object(s) ? slot_find(s, l->path[i].key, l->path[i].len) : NULL;
	return s && s->val.n == 1 && is_scalar(s->val.entry[0].value.kind) && s->n == 0 &&
			       s->seq_len == 0 ? s : NULL;
}

int leaf_styled(const struct record *r, const struct actors *actors, const struct leaf *l)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct json_style style;
	const struct slot *s = slot_find(r->top, TOP_STYLE, strlen(TOP_STYLE));
	const struct slot *source = slot_find(r->top, TOP_SOURCE, strlen(TOP_SOURCE));
	const struct entry *e = s ? reg_shown(&s->val, actors) : NULL;
	if (source && (source->val.n > 0 || source->look.n > 0 || source->n > 0))
		return 0;
	if (!e || e->value.kind != VALUE_BYTES ||
	    json_style_decode(e->value.data, e->value.len, &style) < 0)
		json_style_default(&style);
	/* Nothing around it has a say in how a scalar is written. */
	json_style_write_value(l->now, &style, 0, &b);
	if (buf_failed(&b))
		return -ENOMEM;
	return b.len == l->len && memcmp(b.data, l->text, b.len) == 0;
}

/* What each change of the content changes besides. */
static int finish(struct arena *a, const struct actors *actors, struct record *r,
		  const struct stamp *st)
{
	const struct record *touched;
	int err = vv_arena_raise(a, &r->ctx, st->dot, &r->ctx);
	if (err == 0)
		err = record_touch(a, actors, r, st, &touched);
	if (err == 0)
		*r = *touched;
	return err;
}

static int put_entry(struct arena *a, struct slot *s, const struct value *v, const struct stamp *st)
{
	struct entry *e = arena_new(a, struct entry);
	if (!e)
		return -ENOMEM;
	*e = (struct entry){ st->dot, st->hlc, *v };
	s->val.entry = e;
	return 0;
}

/* Copies of all slots above the one at the end of the path, with s in its place. */
static int put_path(struct arena *a, const struct record *r, const struct leaf *l, struct slot *s,
		    struct slot **ret)
{
	struct slot **above = arena_array(a, l->n + (size_t)1, sizeof(struct slot *));
	if (!above)
		return -ENOMEM;
	above[0] = content_slot(r);
	for (uint32_t i = 1; i < l->n; i++)
		above[i] = slot_find(above[i - 1], l->path[i - 1].key, l->path[i - 1].len);
	for (uint32_t i = l->n; i > 0; i--) {
		int err = slot_put(a, above[i - 1], l->path[i - 1].key, l->path[i - 1].len, s, &s);
		if (err < 0)
			return err;
	}
	return slot_put(a, r->top, TOP_CONTENT, strlen(TOP_CONTENT), s, ret);
}

int leaf_write(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct leaf *l, const struct stamp *st, const struct record **ret)
{
	const struct slot *old = leaf_slot(r, l);
	if (!old)
		return -ENOENT;
	struct record *c = arena_new(a, struct record);
	struct slot *s = slot_copy(a, old, NULL, 0);
	int err = c && s ? put_entry(a, s, &l->value, st) : -ENOMEM;
	if (err < 0)
		return err;
	*c = *r;
	err = put_path(a, r, l, s, &c->top);
	if (err == 0)
		err = finish(a, actors, c, st);
	if (err == 0)
		*ret = c;
	return err;
}

int leaf_apply(struct arena *a, const struct actors *actors, struct record *r, const struct leaf *l,
	       const struct stamp *st)
{
	struct slot *s = leaf_slot(r, l);
	if (!s || vv_has(&r->ctx, st->dot))
		return -EBADMSG;
	struct value v = l->value;
	v.data = (const uint8_t *)arena_dup(a, v.data, v.len);
	int err = v.data ? put_entry(a, s, &v, st) : -ENOMEM;
	return err < 0 ? err : finish(a, actors, r, st);
}

/* --- encoding --- */

void leaf_encode(const struct leaf *l, const struct stamp *st, struct buf *b)
{
	buf_varint(b, st->dot.actor);
	buf_varint(b, st->dot.seq);
	buf_u64(b, st->hlc);
	buf_varint(b, l->n);
	for (uint32_t i = 0; i < l->n; i++)
		buf_bytes(b, l->path[i].key, l->path[i].len);
	buf_u8(b, (uint8_t)l->value.kind);
	buf_bytes(b, l->value.data, l->value.len);
}

static bool is_sound(const struct value *v)
{
	if (v->kind == VALUE_NUMBER)
		return json_number_valid((const char *)v->data, v->len);
	return v->kind == VALUE_STRING ? utf8_valid(v->data, v->len) : v->len == 0;
}

int leaf_decode(struct arena *a, const struct actors *actors, struct cursor *cur, struct leaf *ret,
		struct stamp *ret_stamp)
{
	struct leaf l = { 0 };
	struct stamp st;
	st.dot.actor = (uint32_t)cursor_varint_max(cur, ACTORS_MAX);
	st.dot.seq = cursor_varint(cur);
	st.hlc = cursor_u64(cur);
	l.n = (uint32_t)cursor_varint_max(cur, RECORD_DEPTH_MAX);
	if (!cursor_ok(cur) || st.dot.seq == 0 || st.dot.actor >= actors_count(actors))
		return -EBADMSG;
	l.path = arena_array(a, l.n, sizeof(*l.path));
	if (!l.path)
		return -ENOMEM;
	for (uint32_t i = 0; i < l.n; i++)
		l.path[i].key = (const char *)cursor_bytes(cur, cursor_left(cur), &l.path[i].len);
	uint8_t kind = cursor_u8(cur);
	l.value.data = cursor_bytes(cur, cursor_left(cur), &l.value.len);
	if (!cursor_ok(cur) || !is_scalar(kind))
		return -EBADMSG;
	l.value.kind = (enum value_kind)kind;
	if (!is_sound(&l.value))
		return -EBADMSG;
	*ret = l;
	*ret_stamp = st;
	return 0;
}
