/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that lost: entries of a register beside the shown one, and children hidden by a value
 * that is no object. What lies below something hidden is hidden as a whole and counts once. */
#include "engine/conflict.h"

#include <errno.h>
#include <string.h>

#include "engine/chars.h"
#include "engine/element.h"
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

/* A container that children make: live, with the stamp of an entry of its own or of its newest part. */
struct made {
	bool live;
	struct entry entry;
};

static void find_made(const struct slot *s, const struct actors *actors, enum value_kind kind,
		      struct made *ret)
{
	bool list = kind == VALUE_LIST;
	uint32_t from = list ? slot_elements(s) : 0, to = list ? s->n : slot_members(s);
	const struct entry *newest = NULL;
	for (uint32_t i = from; i < to; i++) {
		const struct entry *e = slot_newest(s->child[i], actors);
		ret->live = ret->live || slot_live(s->child[i]);
		if (e && (!newest || entry_rank(actors, e, newest) > 0))
			newest = e;
	}
	if (newest) {
		ret->entry.dot = newest->dot;
		ret->entry.hlc = newest->hlc;
	}
}

/* Counters belong to the number, if there is one; where something else hides them alone, the newest of
 * them stands for all. */
static const struct entry *hidden_counter(const struct walk *w, const struct slot *s,
					  enum value_kind shown)
{
	const struct entry *best = NULL;
	if (value_is_number(shown))
		return NULL;
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e->value.kind == VALUE_NUMBER)
			return NULL;
		if (e->value.kind == VALUE_COUNTER &&
		    (!best || entry_rank(w->actors, e, best) > 0))
			best = e;
	}
	return best;
}

static void add_lost(struct walk *w, const struct entry *e)
{
	buf_put(&w->lost, &e, sizeof(e));
}

/* What lost at the slot, into w->lost. made: the object, the list. */
static void find_lost(struct walk *w, const struct slot *s, const struct entry *shown,
		      enum value_kind kind, const struct made made[2])
{
	bool told[2] = { false, false };
	const struct entry *counter = hidden_counter(w, s, kind);
	buf_reset(&w->lost);
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e == shown || value_equal(&e->value, &shown->value) ||
		    chars_same(w->actors, s, &e->value, &shown->value) ||
		    (e->value.kind == VALUE_COUNTER && e != counter))
			continue;
		for (unsigned k = 0; k < 2; k++)
			told[k] = told[k] || e->value.kind == made[k].entry.value.kind;
		add_lost(w, e);
	}
	for (unsigned k = 0; k < 2; k++)
		if (made[k].live && kind != made[k].entry.value.kind && !told[k])
			add_lost(w, &made[k].entry);
}

/* As a write by somebody who saw everything here: a container keeps its parts, a number what others
 * add to it. */
static int take(struct walk *w, const struct slot *s, const struct entry *e, struct slot **ret)
{
	static const struct value zero = { VALUE_NUMBER, (const uint8_t *)"0", 1 };
	const struct entry add = { w->st->dot, w->st->hlc,
				   e->value.kind == VALUE_COUNTER ? zero : e->value };
	struct slot *c = slot_copy(w->a, s, NULL, 0);
	int r = c ? reg_write_part(w->a, w->actors, &s->val, &w->seen,
				   value_is_number(e->value.kind) ? REG_VALUES : REG_ALL, &add,
				   &c->val) : -ENOMEM;
	if (r == 0 && !value_is_container(e->value.kind))
		r = slot_remove_below(w->a, c, &w->seen);
	else if (r == 0)
		r = slot_remove_type(w->a, c, e->value.kind == VALUE_MAP ? VALUE_LIST : VALUE_MAP,
				     &w->seen);
	if (r == 0)
		*ret = c;
	return r;
}

static int walk(struct walk *w, struct slot *s, struct slot **ret);

/* One child, changed. *copied: *to is the walk's own. */
static int put_child(struct walk *w, const struct slot *s, struct slot *old, struct slot *new,
		     bool *copied, struct slot **to)
{
	bool found;
	if (!*copied) {
		struct slot *c = slot_copy(w->a, s, NULL, 0);
		struct slot **child = arena_array(w->a, s->n, sizeof(*child));
		if (!c || !child)
			return -ENOMEM;
		memcpy(child, s->child, s->n * sizeof(*child));
		c->child = child;
		*to = c;
		*copied = true;
	}
	(*to)->child[slot_place(s, old->key, old->key_len, &found)] = new;
	return 0;
}

/* The members of an object, or the elements of a list in their order. */
static int walk_parts(struct walk *w, struct slot *s, enum value_kind kind, struct slot **ret)
{
	_cleanup_(arena_done) struct arena tmp = { 0 };
	struct slot **part, *t;
	uint32_t n;
	bool copied = false;
	int r = slot_parts(&tmp, w->actors, s, kind, &part, &n);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		size_t len = w->pointer.len;
		pointer_step(&w->pointer, kind, part[i], i);
		r = walk(w, part[i], &t);
		w->pointer.len = len;
		if (r == 0 && t != part[i])
			r = put_child(w, s, part[i], t, &copied, ret);
	}
	return r;
}

/* Nothing can compete here or below: most documents are like that, and are gone through in no time. */
static bool is_quiet(const struct slot *s)
{
	uint32_t members = slot_members(s);
	if (s->val.n > 1 || (members > 0 && slot_elements(s) < s->n) ||
	    (s->n > 0 && s->val.n > 0 && !value_is_container(s->val.entry[0].value.kind)))
		return false;
	if (s->val.n > 0 && s->n > 0 && (s->val.entry[0].value.kind == VALUE_MAP) != (members > 0))
		return false;
	for (uint32_t i = 0; i < s->n; i++)
		if (!is_quiet(s->child[i]))
			return false;
	return true;
}

/* Slots nest at most RECORD_DEPTH_MAX deep. *ret == s: nothing was taken here or below. */
static int walk(struct walk *w, struct slot *s, struct slot **ret)
{
	struct made made[2];
	const struct entry *shown, *chosen = NULL;
	enum value_kind kind;
	*ret = s;
	if (!slot_shown(s, w->actors, &shown, &kind))
		return 0;
	for (unsigned k = 0; k < 2; k++) {
		made[k] = (struct made){ .entry.value.kind = k ? VALUE_LIST : VALUE_MAP };
		/* What is shown by an entry of its own needs no other stamp. */
		if (!shown || kind != made[k].entry.value.kind)
			find_made(s, w->actors, made[k].entry.value.kind, &made[k]);
	}
	if (!shown)
		shown = &made[kind == VALUE_LIST].entry;
	find_lost(w, s, shown, kind, made);
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
	if (!value_is_container(kind) || (chosen && chosen->value.kind != kind))
		return 0;
	return walk_parts(w, *ret, kind, ret);
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
	int ret = content && !is_quiet(content) ? walk(&w, content, &same) : 0;
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
	if (err == 0 && slot_shown(content_of(r), actors, &shown, &kind) && !value_is_json(kind))
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
