/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that lost: entries of a register beside the shown one, and children hidden by a value
 * that is no object. What lies below something hidden is hidden as a whole and counts once. */
#include "engine/conflict.h"

#include <errno.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "engine/slot.h"
#include "engine/value.h"

struct walk {
	const struct actors *actors;
	settle_fn f;
	void *userdata;
	struct buf pointer;
	struct buf lost; /* of the slot at hand */
	/* To write what is taken; a NULL: nothing is. */
	struct arena *a;
	const struct stamp *st;
	struct seen seen;
	bool content; /* something else is shown */
};

static bool any_live(const struct slot *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (slot_live(s->child[i]))
			return true;
	return false;
}

/* The stamp of an object without an entry of its own: its newest part speaks for it. */
static void speak(const struct slot *s, const struct actors *actors, struct entry *object)
{
	const struct entry *newest = NULL;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct entry *e = slot_newest(s->child[i], actors);
		if (e && (!newest || entry_rank(actors, e, newest) > 0))
			newest = e;
	}
	if (newest) {
		object->dot = newest->dot;
		object->hlc = newest->hlc;
	}
}

static void add_lost(struct walk *w, const struct entry *e)
{
	buf_put(&w->lost, &e, sizeof(e));
}

/* What lost at the slot, into w->lost. object: has the stamp that an object there has. */
static void find_lost(struct walk *w, const struct slot *s, const struct entry *shown,
		      enum value_kind kind, bool below, const struct entry *object)
{
	bool told = false;
	buf_reset(&w->lost);
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e == shown || value_equal(&e->value, &shown->value))
			continue;
		told = told || e->value.kind == VALUE_MAP;
		add_lost(w, e);
	}
	if (below && kind != VALUE_MAP && !told)
		add_lost(w, object);
}

/* As a write by somebody who saw everything here: an object keeps its keys. */
static int take(struct walk *w, const struct slot *s, const struct entry *e, struct slot **ret)
{
	const struct entry add = { w->st->dot, w->st->hlc, e->value };
	struct slot *c = slot_copy(w->a, s, NULL, 0);
	bool took;
	int r = c ? reg_write(w->a, w->actors, &s->val, &w->seen, &add, &c->val, &took) : -ENOMEM;
	if (r == 0 && e->value.kind != VALUE_MAP)
		r = slot_remove_below(w->a, c, &w->seen);
	if (r == 0)
		*ret = c;
	return r;
}

static int walk(struct walk *w, struct slot *s, struct slot **ret);

static int walk_keys(struct walk *w, struct slot *s, struct slot **ret)
{
	struct slot **child = NULL, *t;
	for (uint32_t i = 0; i < s->n; i++) {
		size_t len = w->pointer.len;
		json_pointer_append(&w->pointer, s->child[i]->key, s->child[i]->key_len);
		int r = walk(w, s->child[i], &t);
		w->pointer.len = len;
		if (r != 0)
			return r;
		if (t == s->child[i])
			continue;
		if (!child) {
			struct slot *c = slot_copy(w->a, s, NULL, 0);
			child = arena_array(w->a, s->n, sizeof(*child));
			if (!c || !child)
				return -ENOMEM;
			memcpy(child, s->child, s->n * sizeof(*child));
			c->child = child;
			*ret = c;
		}
		child[i] = t;
	}
	return 0;
}

/* Slots nest at most RECORD_DEPTH_MAX deep. *ret == s: nothing was taken here or below. */
static int walk(struct walk *w, struct slot *s, struct slot **ret)
{
	struct entry object = { .value.kind = VALUE_MAP };
	const struct entry *shown, *chosen = NULL;
	enum value_kind kind;
	*ret = s;
	if (!slot_shown(s, w->actors, &shown, &kind))
		return 0;
	bool below = any_live(s);
	if (below && (!shown || kind != VALUE_MAP))
		speak(s, w->actors, &object);
	if (!shown)
		shown = &object;
	find_lost(w, s, shown, kind, below, &object);
	if (w->lost.len > 0) {
		struct conflict c = { buf_cstr(&w->pointer), w->pointer.len, s, shown, NULL,
				      (uint32_t)(w->lost.len / sizeof(struct entry *)) };
		c.lost = (const struct entry *const *)(const void *)w->lost.data;
		if (!c.pointer || buf_failed(&w->lost))
			return -ENOMEM;
		int r = w->f(&c, &chosen, w->userdata);
		if (r == 0 && w->a && chosen)
			r = take(w, s, chosen, ret);
		if (r != 0)
			return r;
		w->content = w->content || (chosen && chosen != shown);
	}
	if (kind != VALUE_MAP || (chosen && chosen->value.kind != VALUE_MAP))
		return 0;
	return walk_keys(w, *ret, ret);
}

static struct slot *content_of(const struct record *r)
{
	return r->top ? slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

int record_conflict_places(const struct record *r, const struct actors *actors, settle_fn f,
			   void *userdata)
{
	struct walk w = { .actors = actors, .f = f, .userdata = userdata };
	struct slot *content = content_of(r), *same;
	int ret = content ? walk(&w, content, &same) : 0;
	buf_done(&w.pointer);
	buf_done(&w.lost);
	return ret;
}

struct one_by_one {
	conflict_fn f;
	void *userdata;
};

static int each_lost(const struct conflict *c, const struct entry **ret_take, void *userdata)
{
	const struct one_by_one *o = userdata;
	int r = 0;
	(void)ret_take;
	for (uint32_t i = 0; r == 0 && i < c->n; i++)
		r = o->f(c->pointer, c->shown, c->lost[i], o->userdata);
	return r;
}

int record_conflicts(const struct record *r, const struct actors *actors, conflict_fn f,
		     void *userdata)
{
	struct one_by_one o = { f, userdata };
	return record_conflict_places(r, actors, each_lost, &o);
}

/* What belonged to the content that was shown: its exact bytes; of a document that is none any more
 * its style as well. */
static int forget_looks(struct arena *a, const struct actors *actors, const struct record *r,
			const struct vv *base, const struct stamp *st, const struct record **ret)
{
	const struct entry *shown;
	enum value_kind kind;
	int err = record_set(a, actors, r, TOP_SOURCE, NULL, 0, NULL, base, st, &r);
	if (err == 0 && slot_shown(content_of(r), actors, &shown, &kind) && kind > VALUE_MAP)
		err = record_set(a, actors, r, TOP_STYLE, NULL, 0, NULL, base, st, &r);
	*ret = r;
	return err;
}

int record_settle(struct arena *a, const struct actors *actors, const struct record *r, settle_fn f,
		  void *userdata, const struct stamp *st, const struct record **ret)
{
	struct walk w = { .actors = actors, .f = f, .userdata = userdata, .a = a, .st = st,
			  .seen = { &r->ctx, st->dot } };
	struct slot *content = content_of(r), *t = content;
	int err = content ? walk(&w, content, &t) : 0;
	buf_done(&w.pointer);
	buf_done(&w.lost);
	*ret = r;
	if (err != 0 || t == content)
		return err;
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	err = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	if (err == 0)
		err = slot_put(a, r->top, TOP_CONTENT, strlen(TOP_CONTENT), t, &c->top);
	if (err == 0)
		err = record_bound_marks(a, c);
	const struct record *done = c;
	if (err == 0 && w.content)
		err = forget_looks(a, actors, done, &r->ctx, st, &done);
	if (err == 0)
		err = record_touch(a, actors, done, st, &done);
	if (err == 0)
		*ret = done;
	return err;
}
