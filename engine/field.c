/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/field.h"

#include <errno.h>
#include <string.h>

#include "engine/slotcodec-impl.h"

struct head { /* of a slot */
	uint8_t form;
	bool several;       /* entries */
	struct value value; /* of the only one; kind 0 also if there is none */
	uint64_t children;
};

static void skip_dot(struct cursor *c)
{
	(void)cursor_varint(c);
	(void)cursor_varint(c);
}

static void skip_vv(struct cursor *c)
{
	for (uint64_t n = cursor_varint_max(c, cursor_left(c) / 2); n > 0 && cursor_ok(c); n--)
		skip_dot(c);
}

static void skip_edges(struct cursor *c, unsigned n)
{
	unsigned visits = 0;
	bool apart = n == EDGES_APART;
	if (apart) {
		n = cursor_u8(c);
		visits = n >> 4;
		n &= 15;
	}
	for (; n > 0 && cursor_ok(c); n--) {
		size_t len;
		const uint8_t *parent = cursor_take(c, ID_SIZE);
		(void)cursor_varint(c);
		skip_dot(c);
		if (!apart && cursor_varint(c) & 1)
			skip_dot(c);
		if (parent && memcmp(parent, NODE_TRASH.b, ID_SIZE) == 0)
			skip_vv(c);
		else
			(void)cursor_bytes(c, NAME_MAX_BYTES, &len);
	}
	for (; visits > 0; visits--) {
		(void)cursor_take(c, ID_SIZE);
		(void)cursor_varint(c);
		skip_dot(c);
	}
}

static void take_value(struct cursor *c, struct value *ret)
{
	uint8_t head = cursor_u8(c);
	uint64_t kind = head & 15, len = head >> 4;
	if (kind == VALUE_LONG)
		kind = cursor_varint(c);
	if (len == VALUE_LONG)
		len += cursor_varint_max(c, cursor_left(c));
	ret->kind = (enum value_kind)kind;
	ret->data = cursor_take(c, (size_t)len);
	ret->len = (size_t)len;
}

static void skip_look(struct cursor *c, enum place place)
{
	if (place != PLACE_ELEMENT) {
		if (cursor_varint(c) & 1)
			(void)cursor_varint(c);
		return;
	}
	uint8_t flags = cursor_u8(c);
	if ((flags & (PLACE_GIVEN | PLACE_OWN)) == PLACE_GIVEN)
		skip_dot(c);
	if (flags & PLACE_GIVEN)
		(void)cursor_varint(c);
}

static uint64_t entries(struct cursor *c, unsigned form)
{
	return form == FORM_NONE ? 0 : form == FORM_SEVERAL ? cursor_varint_max(c, cursor_left(c)) : 1;
}

/* All of a slot but its children. */
static void take_head(struct cursor *c, enum place place, struct head *ret)
{
	struct head h = { .form = cursor_u8(c) };
	unsigned val = h.form & 3, look = h.form >> 2 & 3;
	h.several = val == FORM_SEVERAL;
	for (uint64_t n = entries(c, val); n > 0 && cursor_ok(c); n--) {
		(void)cursor_varint(c);
		take_value(c, &h.value);
	}
	for (uint64_t n = entries(c, look); n > 0 && cursor_ok(c); n--) {
		if (look != FORM_SHARED)
			(void)cursor_varint(c);
		skip_look(c, place);
	}
	if (h.form & FORM_SEQ) {
		size_t len;
		(void)cursor_bytes(c, cursor_left(c), &len);
	}
	if (h.form & FORM_CLEARED)
		skip_vv(c);
	if (h.form & FORM_CHILDREN)
		h.children = cursor_varint_max(c, cursor_left(c) / 2);
	*ret = h;
}

static void take_key(struct cursor *c, enum place above, struct slot *ret)
{
	*ret = (struct slot){ 0 };
	ret->key = (const char *)cursor_bytes(c, cursor_left(c), &ret->key_len);
	if (above >= PLACE_CONTENT && cursor_ok(c) && ret->key_len == 1 && (uint8_t)ret->key[0] == KEY_DOT) {
		skip_dot(c);
		(void)cursor_varint(c);
	}
}

/* No recursion: the children that are still to come, level by level. */
static void skip_slot(struct cursor *c, enum place place)
{
	struct {
		uint64_t left;
		enum place place;
	} level[RECORD_DEPTH_MAX];
	struct head h;
	struct slot key;
	unsigned depth = 0;
	take_head(c, place, &h);
	if (h.children == 0)
		return;
	level[0].left = h.children;
	level[0].place = place;
	for (;;) {
		if (level[depth].left-- == 0) {
			if (depth-- == 0)
				return;
			continue;
		}
		take_key(c, level[depth].place, &key);
		if (!cursor_ok(c))
			return;
		enum place below = place_below(level[depth].place, &key);
		take_head(c, below, &h);
		if (h.children == 0)
			continue;
		if (++depth == RECORD_DEPTH_MAX) {
			c->bad = true;
			return;
		}
		level[depth].left = h.children;
		level[depth].place = below;
	}
}

/* The content, and, if it is an object, its members. */
static int index_content(struct cursor *c, struct field_index *x)
{
	struct head h;
	x->content = c->p;
	x->n = 0;
	x->complete = true;
	take_head(c, PLACE_CONTENT, &h);
	for (; h.children > 0 && cursor_ok(c); h.children--) {
		struct slot key;
		take_key(c, PLACE_CONTENT, &key);
		if (!cursor_ok(c))
			break;
		if (!key_is_member(key.key, key.key_len) || x->n == FIELD_MEMBERS_MAX)
			x->complete = false;
		else
			x->member[x->n++] = (struct field_member){ key.key, key.key_len, c->p };
		skip_slot(c, place_below(PLACE_CONTENT, &key));
	}
	return cursor_ok(c) ? 0 : -EBADMSG;
}

int field_index(const void *record, size_t len, struct field_index *ret)
{
	struct cursor c = cursor_make(record, len);
	struct head h;
	int rc = 0;
	if (cursor_u8(&c) != RECORD_FORMAT)
		return -ENOTSUP;
	(void)cursor_take(&c, 2 * ID_SIZE);
	uint8_t flags = cursor_u8(&c);
	skip_vv(&c);
	if (flags & RECORD_FLOOR)
		skip_vv(&c);
	for (uint64_t n = cursor_varint_max(&c, cursor_left(&c) / 4); n > 0 && cursor_ok(&c); n--) {
		skip_dot(&c);
		skip_dot(&c);
	}
	skip_edges(&c, flags >> 3 & 7);
	if (!cursor_ok(&c) || !(flags & RECORD_TOP))
		return cursor_ok(&c) ? -ENOTSUP : -EBADMSG;
	ret->content = NULL;
	ret->end = c.end;
	take_head(&c, PLACE_TOP, &h);
	for (; rc == 0 && h.children > 0; h.children--) {
		struct slot key;
		take_key(&c, PLACE_TOP, &key);
		if (!cursor_ok(&c))
			return -EBADMSG;
		if (key.key_len == 1 && key.key[0] == TOP_SOURCE[0])
			return -ENOTSUP; /* what is shown may be written in another way */
		if (key.key_len == 1 && key.key[0] == TOP_CONTENT[0])
			rc = index_content(&c, ret);
		else
			skip_slot(&c, place_below(PLACE_TOP, &key));
	}
	if (rc == 0 && !cursor_ok(&c))
		rc = -EBADMSG;
	return rc == 0 && !ret->content ? -ENOTSUP : rc;
}

static bool is_named(const char *key, size_t len, const struct jsonpath_step *s)
{
	return s->kind == JSONPATH_NAME && len == s->len && (len == 0 || memcmp(key, s->name, len) == 0);
}

/* A member of an object, whose head was taken: 1 and the cursor is at its slot. */
static int find_member(struct cursor *c, enum place place, uint64_t children, const struct jsonpath_step *s)
{
	const uint8_t *found = NULL;
	for (; children > 0; children--) {
		struct slot key;
		take_key(c, place, &key);
		if (!cursor_ok(c))
			return -EBADMSG;
		if (!key_is_member(key.key, key.key_len))
			return -ENOTSUP; /* it may be shown as a list */
		if (is_named(key.key, key.key_len, s))
			found = c->p;
		skip_slot(c, place_below(place, &key));
	}
	if (!cursor_ok(c))
		return -EBADMSG;
	c->p = found ? found : c->p;
	return found != NULL;
}

static int find_indexed(const struct field_index *x, struct cursor *c, const struct jsonpath_step *s)
{
	for (uint32_t i = 0; i < x->n; i++) {
		const struct field_member *m = &x->member[i];
		if (is_named(m->key, m->len, s)) {
			c->p = m->slot;
			return 1;
		}
	}
	return 0;
}

int field_find(const struct field_index *x, const struct jsonpath *p, struct value *ret, uint32_t *ret_steps)
{
	struct cursor c = cursor_make(x->content, (size_t)(x->end - x->content));
	enum place place = PLACE_CONTENT;
	for (uint32_t i = 0;; i++) {
		struct head h;
		take_head(&c, place, &h);
		if (!cursor_ok(&c))
			return -EBADMSG;
		if (h.several || ((h.form & 3) == FORM_NONE && h.children))
			return -ENOTSUP;
		if ((h.form & 3) == FORM_NONE)
			return 0; /* what was there has gone */
		if (h.value.kind == VALUE_MAP && i < p->n) {
			int rc = i == 0 && x->complete ? find_indexed(x, &c, &p->step[0]) :
							 find_member(&c, place, h.children, &p->step[i]);
			if (rc <= 0)
				return rc;
			place = PLACE_MEMBER;
			continue;
		}
		if (h.value.kind > VALUE_ARRAY || h.children)
			return -ENOTSUP;
		if (h.value.kind != VALUE_ARRAY && i < p->n)
			return 0;
		*ret = h.value;
		*ret_steps = i;
		return 1;
	}
}
