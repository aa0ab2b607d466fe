/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chars.h"
#include "engine/element.h"
#include "engine/jsonstyle.h"
#include "engine/patch.h"
#include "engine/slot.h"
#include "engine/value.h"

struct builder {
	struct arena *a;
	const struct actors *actors;
};

static const struct slot *top_slot(const struct record *r, const char *top)
{
	return r->top ? slot_find(r->top, top, strlen(top)) : NULL;
}

/* The value of a metadata register, NULL if there is none. */
static const struct value *top_bytes(const struct record *r, const struct actors *actors,
				     const char *top)
{
	const struct slot *s = top_slot(r, top);
	const struct entry *e = s ? reg_shown(&s->val, actors) : NULL;
	return e && e->value.kind == VALUE_BYTES ? &e->value : NULL;
}

/* A style that a newer version wrote is as good as none. */
static void style_of(const struct record *r, const struct actors *actors, struct json_style *ret)
{
	const struct value *v = top_bytes(r, actors, TOP_STYLE);
	if (!v || json_style_decode(v->data, v->len, ret) < 0)
		json_style_default(ret);
}

/* --- the tree --- */

struct member {
	uint64_t position;
	struct json *json;
};

/* Members come in the order of their keys, offset counts them. */
static int by_position(const void *x, const void *y)
{
	const struct member *a = x, *b = y;
	if (a->position != b->position)
		return a->position < b->position ? -1 : 1;
	return a->json->offset < b->json->offset ? -1 : a->json->offset > b->json->offset;
}

/* Everything inside takes the layout. */
static void lay_out(struct json *j, uint8_t layout)
{
	j->layout = layout;
	for (struct json *c = j->first; c; c = c->next)
		if (json_is_container(c))
			lay_out(c, layout);
}

static int build_array(const struct builder *b, const struct value *v, uint8_t layout,
		       struct json *to)
{
	struct json *t;
	int r = json_parse(b->a, (const char *)v->data, v->len, NULL, &t, NULL);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || t->type != JSON_ARRAY)
		return -EBADMSG;
	to->text = t->text;
	to->len = t->len;
	to->count = t->count;
	to->first = t->first;
	for (struct json *c = to->first; c; c = c->next)
		c->parent = to;
	/* As written, unless it stands in another layout than it was written in. */
	if (t->count > 0 && t->layout != layout)
		lay_out(to, layout);
	to->layout = layout;
	return 0;
}

static int build(const struct builder *b, const struct slot *s, uint8_t layout, uint64_t *ret_pos,
		 struct json **ret);

static int build_object(const struct builder *b, const struct slot *s, uint8_t layout,
			struct json *to)
{
	uint32_t n = slot_members(s);
	struct member *m = arena_array(b->a, n, sizeof(*m));
	bool sorted = true;
	if (!m)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct member *k = &m[to->count];
		int r = build(b, s->child[i], layout, &k->position, &k->json);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		k->json->offset = to->count;
		k->json->key = s->child[i]->key;
		k->json->key_len = s->child[i]->key_len;
		k->json->parent = to;
		sorted = sorted && (to->count == 0 || k[-1].position <= k->position);
		to->count++;
	}
	if (!sorted)
		qsort(m, to->count, sizeof(*m), by_position);
	struct json **end = &to->first;
	for (uint32_t i = 0; i < to->count; i++) {
		m[i].json->offset = i;
		*end = m[i].json;
		end = &m[i].json->next;
	}
	return 0;
}

static int build_list(const struct builder *b, const struct slot *s, uint8_t layout,
		      struct json *to)
{
	struct slot **element;
	uint32_t n;
	struct json **end = &to->first;
	int r = list_order(b->a, b->actors, s, &element, &n);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		struct json *j;
		r = build(b, element[i], layout, NULL, &j);
		if (r < 0)
			return r;
		j->offset = to->count++;
		j->key = element[i]->key;
		j->key_len = element[i]->key_len;
		j->parent = to;
		*end = j;
		end = &j->next;
	}
	return r;
}

/* A value that stands, or stood, at the slot; the parts of a container are the slot's children. */
static int build_value(const struct builder *b, const struct slot *s, enum value_kind kind,
		       const struct value *v, uint8_t layout, struct json *j)
{
	if (v && !value_is_container(kind)) {
		struct value shows;
		int r = value_shown(b->a, b->actors, s, v, &shows, &j->chars);
		if (r < 0)
			return r;
		j->text = (const char *)shows.data;
		j->len = shows.len;
	}
	switch (kind) {
	case VALUE_NULL:
		j->type = JSON_NULL;
		j->text = "null";
		j->len = 4;
		return 0;
	case VALUE_FALSE:
		j->type = JSON_FALSE;
		j->text = "false";
		j->len = 5;
		return 0;
	case VALUE_TRUE:
		j->type = JSON_TRUE;
		j->text = "true";
		j->len = 4;
		return 0;
	case VALUE_NUMBER:
	case VALUE_COUNTER:
		j->type = JSON_NUMBER;
		return 0;
	case VALUE_STRING:
	case VALUE_CHARS:
		j->type = JSON_STRING;
		return 0;
	case VALUE_ARRAY:
		j->type = JSON_ARRAY;
		return build_array(b, v, layout, j);
	case VALUE_MAP:
		j->type = JSON_OBJECT;
		j->layout = layout;
		return build_object(b, s, layout, j);
	case VALUE_LIST:
		j->type = JSON_ARRAY;
		j->layout = layout;
		return build_list(b, s, layout, j);
	case VALUE_TEXT:
	case VALUE_BLOB:
	case VALUE_LINK:
	case VALUE_NODE:
	case VALUE_INT:
	case VALUE_BYTES:
		break;
	}
	return -EINVAL;
}

/* -ENOENT when nothing is live. layout: of what is around. */
static int build(const struct builder *b, const struct slot *s, uint8_t layout, uint64_t *ret_pos,
		 struct json **ret)
{
	const struct entry *shown;
	enum value_kind kind;
	if (!slot_shown(s, b->actors, &shown, &kind))
		return -ENOENT;
	struct json *j = arena_new(b->a, struct json);
	struct look look = { UINT64_MAX, 0 };
	struct element_look at = { 0 };
	struct seq_id place;
	const struct entry *e = reg_shown(&s->look, b->actors);
	if (!j)
		return -ENOMEM;
	if (key_is_element(s->key, s->key_len))
		element_place(b->actors, s, &place, &at);
	else if (e && look_decode(&e->value, &look) < 0)
		return -EBADMSG;
	if ((look.layout | at.layout) & LOOK_INLINE)
		layout = JSON_LAYOUT_INLINE;
	if (ret_pos)
		*ret_pos = look.position;
	*ret = j;
	return build_value(b, s, kind, shown ? &shown->value : NULL, layout, j);
}

int render_value(struct arena *a, const struct actors *actors, const struct slot *s,
		 const struct value *v, uint8_t layout, struct buf *out)
{
	const struct builder b = { a, actors };
	struct json_style style;
	struct json *j = arena_new(a, struct json);
	int r = j ? build_value(&b, s, v->kind, v, layout, j) : -ENOMEM;
	if (r < 0)
		return r;
	lay_out(j, layout); /* however its arrays were written */
	json_style_default(&style);
	json_style_write_value(j, &style, 0, out);
	return buf_failed(out) ? -ENOMEM : 0;
}

static int tree(struct arena *a, const struct actors *actors, const struct record *r,
		const struct json_style *style, struct json **ret)
{
	const struct builder b = { a, actors };
	const struct slot *content = top_slot(r, TOP_CONTENT);
	const struct entry *shown;
	enum value_kind kind;
	if (!content || !slot_shown(content, actors, &shown, &kind))
		return -ENOENT;
	return build(&b, content, kind == VALUE_ARRAY || kind == VALUE_LIST ? style->array_layout : style->object_layout,
		     NULL, ret);
}

int render_tree(struct arena *a, const struct actors *actors, const struct record *r,
		struct json **ret)
{
	struct json_style style;
	style_of(r, actors, &style);
	return tree(a, actors, r, &style, ret);
}

/* --- the bytes --- */

static bool same_key(const struct json *x, const struct json *y)
{
	return x->key_len == y->key_len && memcmp(x->key, y->key, x->key_len) == 0;
}

/* The same values, with the keys of objects in the same order. */
static bool same_document(const struct json *x, const struct json *y)
{
	if (x->type != y->type || !json_is_container(x))
		return json_equal(x, y);
	if (x->count != y->count)
		return false;
	const struct json *d = y->first;
	for (const struct json *c = x->first; c; c = c->next, d = d->next)
		if ((x->type == JSON_OBJECT && !same_key(c, d)) || !same_document(c, d))
			return false;
	return true;
}

static int source_holds(struct arena *a, const struct value *source, const struct json *root)
{
	struct json *t;
	int r = json_parse(a, (const char *)source->data, source->len, NULL, &t, NULL);
	if (r == -ENOMEM)
		return r;
	return r == 0 && same_document(t, root);
}

int render_json(struct arena *a, const struct actors *actors, const struct record *r,
		struct buf *out, struct elements **ret_elements)
{
	struct json_style style;
	struct json *root;
	style_of(r, actors, &style);
	int err = tree(a, actors, r, &style, &root);
	if (err < 0)
		return err;
	const struct value *source = top_bytes(r, actors, TOP_SOURCE);
	err = source ? source_holds(a, source, root) : 0;
	if (err < 0)
		return err;
	if (err > 0)
		buf_put(out, source->data, source->len);
	else
		json_style_write(root, &style, out);
	if (buf_failed(out))
		return -ENOMEM;
	return ret_elements ? elements_make(actors, root, ret_elements) : 0;
}

/* Does the tree, written in that style, give text? */
static int gives(const struct json *root, const struct json_style *style, const char *text,
		 size_t len)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_write(root, style, &b);
	if (buf_failed(&b))
		return -ENOMEM;
	return b.len == len && memcmp(b.data, text, len) == 0;
}

static int put_style(struct arena *a, const struct actors *actors, const struct record *r,
		     const struct json_style *style, const struct vv *base, const struct stamp *st,
		     const struct record **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_encode(style, &b);
	if (buf_failed(&b))
		return -ENOMEM;
	struct value v = { VALUE_BYTES, b.data, b.len };
	return record_set(a, actors, r, TOP_STYLE, NULL, 0, &v, base, st, ret);
}

static int drop_source(struct arena *a, const struct actors *actors, const struct record *r,
		       const struct stamp *st, const struct record **ret)
{
	return record_set(a, actors, r, TOP_SOURCE, NULL, 0, NULL, NULL, st, ret);
}

/* The head is not what text says: only how it is written is taken over. */
static int remember_merged(struct arena *a, const struct actors *actors, const struct record *r,
			   const char *text, size_t len, const struct json *root,
			   const struct vv *base, const struct stamp *st, const struct record **ret)
{
	struct json_style old, new;
	struct json *head;
	const struct value *source = top_bytes(r, actors, TOP_SOURCE);
	style_of(r, actors, &old);
	json_style_detect(root, text, len, &new);
	/* Where the old style would have written the same, its writer chose nothing. */
	int err = gives(root, &old, text, len);
	if (err == 0)
		err = put_style(a, actors, r, &new, base, st, &r);
	if (err >= 0 && source) {
		err = tree(a, actors, r, &old, &head);
		if (err == 0)
			err = source_holds(a, source, head);
		/* The head may not even be JSON any more. */
		if (err == 0 || err == -EINVAL || err == -ENOENT)
			err = drop_source(a, actors, r, st, &r);
	}
	if (err < 0)
		return err;
	*ret = r;
	return 0;
}

static int remember(struct arena *a, const struct actors *actors, const struct record *r,
		    const char *text, size_t len, const struct json *root, const struct vv *base,
		    const struct stamp *st, const struct record **ret)
{
	struct json_style style;
	struct json *head;
	style_of(r, actors, &style);
	int err = tree(a, actors, r, &style, &head);
	if (err == 0)
		err = gives(head, &style, text, len);
	if (err == 0) {
		json_style_detect(root, text, len, &style);
		err = put_style(a, actors, r, &style, base, st, &r);
		if (err == 0)
			err = tree(a, actors, r, &style, &head);
		if (err == 0)
			err = gives(head, &style, text, len);
	}
	if (err == 0) {
		struct value v = { VALUE_BYTES, (const uint8_t *)text, len };
		err = record_set(a, actors, r, TOP_SOURCE, NULL, 0, &v, base, st, &r);
	} else if (err > 0) {
		err = drop_source(a, actors, r, st, &r);
	}
	if (err < 0)
		return err;
	*ret = r;
	return 0;
}

int render_remember(struct arena *a, const struct actors *actors, const struct record *r,
		    const char *text, size_t len, const struct json *root, bool merged,
		    const struct vv *base, const struct stamp *st, const struct record **ret)
{
	const struct record *c;
	/* NULL: all that r holds, not what the steps below add; st's own dot is seen anyway. */
	if (!base)
		base = &r->ctx;
	int err = merged ? remember_merged(a, actors, r, text, len, root, base, st, &c)
			 : remember(a, actors, r, text, len, root, base, st, &c);
	if (err < 0)
		return err;
	if (c != r)
		return record_touch(a, actors, c, st, ret);
	*ret = r;
	return 0;
}
