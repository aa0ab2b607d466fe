/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A patch is applied from the leaves up; each level makes new slots only where something
 * changed. Positions are given out by engine/place.c once a level's keys are known. */
#include "engine/patch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chars.h"
#include "engine/element.h"
#include "engine/jsonptr.h"
#include "engine/patch-impl.h"
#include "engine/value.h"

int patch_tell(struct applier *ap)
{
	if (!ap->changed)
		return 0;
	const char *pointer = buf_cstr(&ap->pointer);
	if (!pointer)
		return -ENOMEM;
	ap->changed(pointer, ap->pointer.len, ap->userdata);
	return 0;
}

int patch_write(struct applier *ap, struct slot *c, const struct value *v)
{
	struct entry e = { ap->st->dot, ap->st->hlc, *v };
	struct reg in = c->val;
	bool took;
	return reg_write(ap->a, ap->actors, &in, &ap->seen, &e, &c->val, &took);
}

/* Would a write take away a value that its writer saw losing? */
bool patch_settles(const struct applier *ap, const struct slot *s, const struct entry *shown)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e->value.kind == VALUE_COUNTER && value_is_number(shown->value.kind))
			continue;
		if (e != shown && e->value.kind != shown->value.kind && seen_has(&ap->seen, e->dot))
			return true;
		if (e != shown && !value_same(&e->value, &shown->value) &&
		    seen_has(&ap->seen, e->dot))
			return true;
	}
	return false;
}

/* Does the head show it already, with nothing left that its writer meant to take away? */
static int is_shown(struct applier *ap, const struct slot *s, const struct patch *p)
{
	const struct entry *shown;
	const struct chars_base *base;
	enum value_kind kind;
	struct value v;
	if (!s || !slot_shown(s, ap->actors, &shown, &kind) || value_is_container(kind))
		return 0;
	int r = value_shown(ap->a, ap->actors, s, &shown->value, &v, &base);
	if (r < 0)
		return r;
	bool is = value_equal_json(&v, p->value) && !patch_settles(ap, s, shown) &&
		  !slot_touched_below(s, &ap->seen);
	if (is)
		p->value->chars = base;
	return is;
}

static int set_value(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	int r = patch_count(ap, s, p, ret);
	if (r == 0)
		r = patch_chars(ap, s, p, ret);
	if (r != 0)
		return r < 0 ? r : patch_tell(ap);
	r = is_shown(ap, s, p);
	if (r != 0) {
		*ret = s;
		return r < 0 ? r : 0;
	}
	struct value v = value_of_json(p->value);
	struct slot *c = slot_copy(ap->a, s, p->key, p->key_len);
	r = c ? patch_write(ap, c, &v) : -ENOMEM;
	if (r == 0)
		r = slot_remove_below(ap->a, c, &ap->seen);
	if (r < 0)
		return r;
	*ret = c;
	return patch_tell(ap);
}

static int by_key(const void *x, const void *y)
{
	const struct placed *const *a = x, *const *b = y;
	return key_cmp((*a)->key, (*a)->key_len, (*b)->key, (*b)->key_len);
}

static int write_look(struct applier *ap, struct slot **s, uint64_t position, uint8_t layout)
{
	struct look want = { position, layout }, is;
	const struct entry *e = reg_shown(&(*s)->look, ap->actors);
	if (e && look_decode(&e->value, &is) == 0 && is.position == position && is.layout == layout)
		return 0;
	uint8_t data[LOOK_SIZE_MAX];
	size_t len = look_encode(&want, data);
	struct slot *c = slot_copy(ap->a, *s, NULL, 0);
	struct entry add = { ap->st->dot, ap->st->hlc, { VALUE_BYTES, NULL, len } };
	add.value.data = (const uint8_t *)arena_dup(ap->a, data, len);
	if (!c || !add.value.data)
		return -ENOMEM;
	bool took;
	int r = reg_write(ap->a, ap->actors, &(*s)->look, &ap->seen, &add, &c->look, &took);
	*s = c;
	return r;
}

/* Does the key need a place? New ones and moved ones do, and what comes back after somebody else
 * removed it. One that another device has put there at the same time stays where that put it. */
static bool needs_place(const struct applier *ap, const struct placed *it)
{
	const struct patch *p = it->patch;
	if (!it->slot || p->kind == PATCH_REMOVE)
		return false;
	const struct entry *look = it->old ? reg_shown(&it->old->look, ap->actors) : NULL;
	if (!it->old || !slot_live(it->old))
		return true;
	if (!p->moved)
		return false;
	return p->before || !look || seen_has(&ap->seen, look->dot);
}

/* Position and layout of one key, after places were found. */
static int finish_look(struct applier *ap, struct placed *it)
{
	const struct patch *p = it->patch;
	struct look is = { LOOK_NOWHERE, 0 };
	const struct entry *e;
	if (!it->slot || !slot_live(it->slot))
		return 0;
	e = reg_shown(&it->slot->look, ap->actors);
	if (e && look_decode(&e->value, &is) < 0)
		return -EBADMSG;
	uint64_t position = it->position != LOOK_NOWHERE ? it->position : is.position;
	uint8_t layout = is.layout;
	if (p && p->self && json_is_container(p->self) && p->self->count > 0 &&
	    (p->look || p->kind == PATCH_SET))
		layout = p->layout;
	if (position == LOOK_NOWHERE)
		return 0;
	return write_look(ap, &it->slot, position, layout);
}

int patch_merge(struct applier *ap, const struct slot *s, struct placed *placed, uint32_t n,
		struct slot *to)
{
	struct placed **item = arena_array(ap->a, n, sizeof(struct placed *));
	if (!item)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		item[i] = &placed[i];
	qsort(item, n, sizeof(*item), by_key);
	uint32_t i = 0, k = 0, have = s ? s->n : 0, count = 0;
	struct slot **out = arena_alloc(ap->a, ((size_t)have + n) * sizeof(*out));
	if (!out)
		return -ENOMEM;
	while (i < have || k < n) {
		struct slot *c = i < have ? s->child[i] : NULL;
		struct placed *it = k < n ? item[k] : NULL;
		int r = !c ? 1 : !it ? -1 : key_cmp(c->key, c->key_len, it->key, it->key_len);
		i += r <= 0;
		k += r >= 0;
		c = r >= 0 ? it->slot : c;
		if (c)
			out[count++] = c;
	}
	to->child = count ? out : NULL;
	to->n = count;
	return 0;
}

/* Applies the patches of an object's keys. *ret == s: no change; its children changed otherwise,
 * nothing else did. */
static int apply_keys(struct applier *ap, struct slot *s, const struct patch *p,
		      const struct patch *first, struct slot **ret)
{
	uint32_t n = 0;
	bool changed = false, places = false;
	const struct json *object = NULL;
	for (const struct patch *q = first; q; q = q->next)
		n++;
	struct placed *item = arena_array(ap->a, n, sizeof(*item));
	if (!item)
		return -ENOMEM;
	n = 0;
	for (const struct patch *q = first; q; q = q->next) {
		struct placed *it = &item[n++];
		it->patch = q;
		it->key = q->key;
		it->key_len = q->key_len;
		it->position = LOOK_NOWHERE;
		it->old = s ? slot_find(s, q->key, q->key_len) : NULL;
		size_t len = ap->pointer.len;
		if (ap->changed)
			json_pointer_append(&ap->pointer, q->key, q->key_len);
		int r = patch_apply(ap, it->old, q, &it->slot);
		ap->pointer.len = len;
		if (r < 0)
			return r;
		it->place = needs_place(ap, it);
		places = places || it->place;
		object = object ? object : q->object;
	}
	struct placing pl = {
		.a = ap->a, .actors = ap->actors, .s = s, .object = object, .item = item, .n = n
	};
	int r = places ? place_keys(&pl) : 0;
	for (uint32_t i = 0; r == 0 && i < pl.n; i++) {
		r = finish_look(ap, &pl.item[i]);
		changed = changed || pl.item[i].slot != pl.item[i].old;
	}
	if (r < 0)
		return r;
	*ret = s;
	if (!changed)
		return 0;
	struct slot *c = slot_copy(ap->a, s, p->key, p->key_len);
	r = c ? patch_merge(ap, s, pl.item, pl.n, c) : -ENOMEM;
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

/* Is the slot marked as what its children make it, and shown so? */
static bool is_marked(const struct applier *ap, const struct slot *s, enum value_kind kind,
		      const struct entry **ret_shown)
{
	enum value_kind is;
	bool marked = false;
	for (uint32_t i = 0; s && i < s->val.n; i++)
		marked = marked || s->val.entry[i].value.kind == kind;
	return marked && slot_shown(s, ap->actors, ret_shown, &is) && is == kind;
}

/* No value changes, only places and layout. */
static bool only_look(const struct patch *p)
{
	if (p->kind != PATCH_INTO)
		return p->kind == PATCH_LOOK;
	for (const struct patch *q = p->first; q; q = q->next)
		if (!only_look(q))
			return false;
	return true;
}

/* What the writer saw of the other kind of container goes: by a clock that is behind, it could be what is
 * shown. */
static int write_mark(struct applier *ap, struct slot *c, const struct value *mark)
{
	int r = patch_write(ap, c, mark);
	return r < 0 ? r : slot_remove_type(ap->a, c, mark->kind == VALUE_MAP ? VALUE_LIST : VALUE_MAP,
					    &ap->seen);
}

static int into(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	const struct value mark = { .kind = p->list ? VALUE_LIST : VALUE_MAP };
	const struct entry *shown;
	struct slot *c;
	int r = p->list ? patch_list(ap, s, p, p->first, &c) : apply_keys(ap, s, p, p->first, &c);
	if (r < 0 || c == s) {
		*ret = c;
		return r;
	}
	/* The container must outlive its last part, and be what is shown. Who only writes it in
	 * another way does not mean to settle a conflict. */
	if (only_look(p)) {
		*ret = c;
		return 0;
	}
	if (!is_marked(ap, c, mark.kind, &shown))
		r = write_mark(ap, c, &mark);
	*ret = c;
	return r;
}

/* The patch that makes an object of what is there: its keys are set, others go. */
static int set_keys(struct applier *ap, const struct slot *s, const struct patch *p,
		    struct patch **ret)
{
	struct patch **end = ret;
	uint32_t n = p->value->count, others = 0, have = s ? slot_members(s) : 0;
	*ret = NULL;
	for (uint32_t i = 0; i < have; i++)
		others += !json_get(p->value, s->child[i]->key, s->child[i]->key_len);
	struct patch *q = arena_array(ap->a, (size_t)n + others, sizeof(*q));
	if (!q)
		return -ENOMEM;
	for (struct json *j = p->value->first; j; j = j->next, q++) {
		const struct types_at *types;
		int r = types_step(ap->a, p->types, j->key, j->key_len, &types);
		if (r < 0)
			return r;
		*q = (struct patch){ .kind = PATCH_SET,
				     .key = j->key,
				     .key_len = j->key_len,
				     .value = j,
				     .moved = true,
				     .look = true,
				     .object = p->value,
				     .self = j,
				     .types = types };
		if (json_is_container(j) && j->count > 0 && j->layout == JSON_LAYOUT_INLINE &&
		    p->value->layout == JSON_LAYOUT_BROKEN)
			q->layout = LOOK_INLINE;
		*end = q;
		end = &q->next;
	}
	for (uint32_t i = 0; others > 0 && i < have; i++) {
		const struct slot *c = s->child[i];
		if (json_get(p->value, c->key, c->key_len))
			continue;
		*q = (struct patch){ .kind = PATCH_REMOVE, .key = c->key, .key_len = c->key_len };
		*end = q;
		end = &q->next;
		q++;
	}
	return 0;
}

/* A list or an object, whole: of the other that is there, or was, goes what the writer saw. */
static int set_container(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	const bool list = p->value->type == JSON_ARRAY;
	const struct value mark = { .kind = list ? VALUE_LIST : VALUE_MAP };
	const struct entry *shown;
	struct patch *parts = NULL;
	struct slot *c;
	pointer_fn changed = ap->changed;
	int r = list ? patch_elements(ap, s, p, &parts) : set_keys(ap, s, p, &parts);
	if (r < 0)
		return r;
	ap->changed = NULL;
	r = list ? patch_list(ap, s, p, parts, &c) : apply_keys(ap, s, p, parts, &c);
	ap->changed = changed;
	if (r < 0)
		return r;
	bool marked = is_marked(ap, c, mark.kind, &shown) && !patch_settles(ap, c, shown);
	if (!marked) {
		if (c == s)
			c = slot_copy(ap->a, s, p->key, p->key_len);
		r = c ? write_mark(ap, c, &mark) : -ENOMEM;
	}
	if (r < 0)
		return r;
	*ret = c;
	return c != s ? patch_tell(ap) : 0;
}

int patch_apply(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	int r;
	*ret = s;
	switch (p->kind) {
	case PATCH_SET:
		if (p->value->type == JSON_OBJECT || patch_is_list(p->value, p->types))
			return set_container(ap, s, p, ret);
		return set_value(ap, s, p, ret);
	case PATCH_REMOVE:
		if (!s)
			return 0;
		r = slot_remove(ap->a, s, &ap->seen, ret);
		return r == 0 && *ret != s ? patch_tell(ap) : r;
	case PATCH_INTO:
		return into(ap, s, p, ret);
	case PATCH_LOOK:
		return 0;
	}
	return -EINVAL;
}

int record_patch(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct patch *p, const struct vv *base, const struct stamp *st,
		 pointer_fn changed, void *userdata, const struct record **ret)
{
	struct applier ap = { .a = a,
			      .actors = actors,
			      .st = st,
			      .changed = changed,
			      .seen = { base ? base : &r->ctx, st->dot },
			      .userdata = userdata };
	const size_t len = strlen(TOP_CONTENT);
	struct slot *s = r->top ? slot_find(r->top, TOP_CONTENT, len) : NULL, *t;
	struct patch root = *p;
	root.key = TOP_CONTENT;
	root.key_len = len;
	int err = patch_apply(&ap, s, &root, &t);
	buf_done(&ap.pointer);
	if (err < 0)
		return err;
	if (t == s) {
		*ret = r;
		return 0;
	}
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	err = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	if (err == 0)
		err = slot_put(a, r->top, TOP_CONTENT, len, t, &c->top);
	if (err == 0)
		err = record_bound_marks(a, c);
	return err < 0 ? err : record_touch(a, actors, c, st, ret);
}
