/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/element.h"

int dot_cmp(const struct actors *actors, struct dot x, struct dot y)
{
	int r = actors_cmp(actors, x.actor, y.actor);
	return r ? r : x.seq < y.seq ? -1 : x.seq > y.seq;
}

int entry_rank(const struct actors *actors, const struct entry *x, const struct entry *y)
{
	if (x->hlc != y->hlc)
		return x->hlc < y->hlc ? -1 : 1;
	return dot_cmp(actors, x->dot, y->dot);
}

const struct entry *reg_shown(const struct reg *r, const struct actors *actors)
{
	const struct entry *best = NULL;
	for (uint32_t i = 0; i < r->n; i++)
		if (!best || entry_rank(actors, &r->entry[i], best) > 0)
			best = &r->entry[i];
	return best;
}

static bool leaves(const struct seen *seen, enum reg_part part, const struct entry *e)
{
	bool counter = e->value.kind == VALUE_COUNTER;
	switch (part) {
	case REG_ALL:
		return seen_has(seen, e->dot);
	case REG_VALUES:
		return !counter && seen_has(seen, e->dot);
	case REG_COUNTER:
		return counter && e->dot.actor == seen->own.actor;
	}
	return false;
}

int reg_write_part(struct arena *a, const struct actors *actors, const struct reg *in,
		   const struct seen *seen, enum reg_part part, const struct entry *add,
		   struct reg *ret)
{
	struct reg out = { 0 };
	uint32_t keep = 0;
	for (uint32_t i = 0; i < in->n; i++)
		keep += !leaves(seen, part, &in->entry[i]);
	if (!add && keep == in->n) {
		*ret = *in;
		return 0;
	}
	if (keep + (add != NULL) > 0) {
		out.entry = arena_alloc(a, (keep + (size_t)(add != NULL)) * sizeof(*out.entry));
		if (!out.entry)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < in->n; i++) {
		const struct entry *e = &in->entry[i];
		if (leaves(seen, part, e))
			continue;
		if (add && dot_cmp(actors, add->dot, e->dot) < 0) {
			out.entry[out.n++] = *add;
			add = NULL;
		}
		out.entry[out.n++] = *e;
	}
	if (add)
		out.entry[out.n++] = *add;
	*ret = out;
	return 0;
}

int reg_write(struct arena *a, const struct actors *actors, const struct reg *in,
	      const struct seen *seen, const struct entry *add, struct reg *ret, bool *ret_took)
{
	*ret_took = false;
	for (uint32_t i = 0; i < in->n; i++)
		*ret_took = *ret_took || seen_has(seen, in->entry[i].dot);
	return reg_write_part(a, actors, in, seen, REG_ALL, add, ret);
}

/* Two entries of one dot are the same entry, unless somebody minted a dot twice; then the
 * choice must at least not depend on the side. */
static const struct entry *either(const struct entry *x, const struct entry *y)
{
	if (x->hlc != y->hlc)
		return x->hlc > y->hlc ? x : y;
	if (x->value.kind != y->value.kind)
		return x->value.kind > y->value.kind ? x : y;
	return key_cmp((const char *)x->value.data, x->value.len, (const char *)y->value.data,
		       y->value.len) >= 0
		       ? x
		       : y;
}

int reg_join(struct arena *a, const struct actors *actors, const struct reg *x, const struct vv *cx,
	     const struct reg *y, const struct vv *cy, struct reg *ret)
{
	struct reg out = { 0 };
	if (x->n + y->n > 0) {
		out.entry = arena_alloc(a, ((size_t)x->n + y->n) * sizeof(*out.entry));
		if (!out.entry)
			return -ENOMEM;
	}
	bool same = true;
	uint32_t i = 0, j = 0;
	while (i < x->n || j < y->n) {
		const struct entry *e = i < x->n ? &x->entry[i] : NULL;
		const struct entry *f = j < y->n ? &y->entry[j] : NULL;
		int r = !e ? 1 : !f ? -1 : dot_cmp(actors, e->dot, f->dot);
		if (r == 0) {
			const struct entry *g = either(e, f);
			same = same &&
			       (g == e || (g->hlc == e->hlc && value_same(&g->value, &e->value)));
			out.entry[out.n++] = *g;
			i++;
			j++;
		} else if (r < 0) {
			if (!vv_has(cy, e->dot))
				out.entry[out.n++] = *e;
			else
				same = false;
			i++;
		} else {
			if (!vv_has(cx, f->dot)) {
				out.entry[out.n++] = *f;
				same = false;
			}
			j++;
		}
	}
	*ret = same ? *x : out;
	return 0;
}

struct slot *slot_copy(struct arena *a, const struct slot *s, const char *key, size_t key_len)
{
	struct slot *c = arena_new(a, struct slot);
	if (!c)
		return NULL;
	if (s) {
		*c = *s;
		c->carried = 0;
	} else {
		c->key = key;
		c->key_len = key_len;
	}
	return c;
}

uint32_t slot_place(const struct slot *s, const char *key, size_t key_len, bool *ret_found)
{
	uint32_t lo = 0, hi = s ? s->n : 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int r = key_cmp(s->child[mid]->key, s->child[mid]->key_len, key, key_len);
		if (r == 0) {
			*ret_found = true;
			return mid;
		}
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_found = false;
	return lo;
}

struct slot *slot_find(const struct slot *s, const char *key, size_t key_len)
{
	bool found;
	uint32_t i = slot_place(s, key, key_len, &found);
	return found ? s->child[i] : NULL;
}

int slot_put(struct arena *a, const struct slot *s, const char *key, size_t key_len,
	     struct slot *child, struct slot **ret)
{
	bool found;
	uint32_t i = slot_place(s, key, key_len, &found), n = s ? s->n : 0;
	struct slot *c = slot_copy(a, s, NULL, 0);
	if (!c)
		return -ENOMEM;
	uint32_t rest = n - i - found;
	c->n = i + (child != NULL) + rest;
	c->child = c->n ? arena_alloc(a, c->n * sizeof(*c->child)) : NULL;
	if (c->n && !c->child)
		return -ENOMEM;
	if (i)
		memcpy(c->child, s->child, i * sizeof(*c->child));
	if (child)
		c->child[i] = child;
	if (rest)
		memcpy(c->child + i + (child != NULL), s->child + i + found,
		       rest * sizeof(*c->child));
	*ret = c;
	return 0;
}

bool slot_live(const struct slot *s)
{
	if (!s)
		return false;
	if (s->val.n > 0)
		return true;
	for (uint32_t i = 0; i < s->n; i++)
		if (slot_live(s->child[i]))
			return true;
	return false;
}

const struct entry *slot_newest(const struct slot *s, const struct actors *actors)
{
	const struct entry *best = reg_shown(&s->val, actors);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct entry *e = slot_newest(s->child[i], actors);
		if (e && (!best || entry_rank(actors, e, best) > 0))
			best = e;
	}
	return best;
}

/* What there is of one type at a slot. */
struct typed {
	const struct entry *entry;   /* highest-ranked entry of the type */
	const struct entry *counter; /* the same of counters, which rank below everything else */
	uint32_t from, to;           /* its children */
	bool live;
};

static void typed_add(const struct actors *actors, const struct entry *e, const struct entry **best)
{
	if (!*best || entry_rank(actors, e, *best) > 0)
		*best = e;
}

static struct typed typed_find(const struct slot *s, const struct actors *actors,
			       enum value_kind kind)
{
	struct typed t = { 0 };
	if (kind == VALUE_MAP)
		t.to = slot_members(s);
	if (kind == VALUE_LIST) {
		t.from = slot_elements(s);
		t.to = s->n;
	}
	for (uint32_t i = 0; i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		bool fits = value_is_container(kind) ? e->value.kind == kind :
						       !value_is_container(e->value.kind);
		if (fits)
			typed_add(actors, e, e->value.kind == VALUE_COUNTER ? &t.counter : &t.entry);
	}
	t.live = t.entry != NULL;
	for (uint32_t i = t.from; !t.live && i < t.to; i++)
		t.live = slot_live(s->child[i]);
	return t;
}

/* The highest-ranked entry here and below. */
static const struct entry *typed_newest(const struct slot *s, const struct actors *actors,
					const struct typed *t)
{
	const struct entry *best = t->entry;
	for (uint32_t i = t->from; i < t->to; i++) {
		const struct entry *e = slot_newest(s->child[i], actors);
		if (e && (!best || entry_rank(actors, e, best) > 0))
			best = e;
	}
	return best;
}

/* Does nothing below compete with the only entry? */
static bool is_alone(const struct slot *s, enum value_kind kind)
{
	return s->n == 0 || (kind == VALUE_MAP && slot_elements(s) == s->n) ||
	       (kind == VALUE_LIST && slot_members(s) == 0);
}

bool slot_shown(const struct slot *s, const struct actors *actors, const struct entry **ret_entry,
		enum value_kind *ret_kind)
{
	static const enum value_kind type[] = { VALUE_NULL, VALUE_MAP, VALUE_LIST };
	struct typed t[3];
	unsigned n = 0, one = 0;
	if (!s)
		return false;
	if (s->val.n == 1 && is_alone(s, s->val.entry[0].value.kind)) {
		*ret_entry = &s->val.entry[0];
		*ret_kind = s->val.entry[0].value.kind;
		return true;
	}
	for (unsigned i = 0; i < 3; i++) {
		t[i] = typed_find(s, actors, type[i]);
		n += t[i].live;
		one = t[i].live ? i : one;
	}
	if (n == 0) {
		*ret_entry = t[0].counter;
		*ret_kind = VALUE_NUMBER;
		return t[0].counter != NULL;
	}
	if (n > 1) {
		const struct entry *best = NULL;
		for (unsigned i = 0; i < 3; i++) {
			const struct entry *e = t[i].live ? typed_newest(s, actors, &t[i]) : NULL;
			if (!e || (best && entry_rank(actors, e, best) <= 0))
				continue;
			best = e;
			one = i;
		}
	}
	*ret_entry = t[one].entry;
	*ret_kind = one == 0 ? t[0].entry->value.kind : type[one];
	return true;
}

static bool reg_touched(const struct reg *r, const struct seen *seen)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (seen_has(seen, r->entry[i].dot))
			return true;
	return false;
}

bool slot_touched_below(const struct slot *s, const struct seen *seen)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (slot_touched(s->child[i], seen))
			return true;
	return false;
}

/* Slots nest at most RECORD_DEPTH_MAX deep. */
bool slot_covered(const struct slot *s, const struct vv *seen)
{
	for (uint32_t i = 0; i < s->val.n; i++)
		if (!vv_has(seen, s->val.entry[i].dot))
			return false;
	for (uint32_t i = 0; i < s->n; i++)
		if (!slot_covered(s->child[i], seen))
			return false;
	return true;
}

bool slot_touched(const struct slot *s, const struct seen *seen)
{
	return reg_touched(&s->val, seen) || reg_touched(&s->look, seen) ||
	       slot_touched_below(s, seen);
}

static int reg_filter(struct arena *a, const struct reg *in, const struct seen *seen,
		      struct reg *ret)
{
	bool took;
	return reg_write(a, NULL, in, seen, NULL, ret, &took);
}

/* Gives s the children that f makes of them. *changed: the array is new. */
struct mapper {
	struct arena *a;
	const struct seen *seen;
	const struct vv *floor;
	bool drop_marks;
	int (*one)(const struct mapper *m, struct slot *s, struct slot **ret);
};

static int map_children(const struct mapper *m, const struct slot *s, struct slot ***ret,
			uint32_t *ret_n)
{
	struct slot **out = NULL;
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		struct slot *c = s->child[i];
		int r = m->one(m, c, &c);
		if (r < 0)
			return r;
		if (!out && c != s->child[i]) {
			out = arena_alloc(m->a, s->n * sizeof(*out));
			if (!out)
				return -ENOMEM;
			memcpy(out, s->child, i * sizeof(*out));
			n = i;
		}
		if (out && c)
			out[n++] = c;
	}
	*ret = out ? out : s->child;
	*ret_n = out ? n : s->n;
	return 0;
}

static int filter_one(const struct mapper *m, struct slot *s, struct slot **ret)
{
	struct slot t = *s;
	int r = reg_filter(m->a, &s->val, m->seen, &t.val);
	if (r == 0)
		r = reg_filter(m->a, &s->look, m->seen, &t.look);
	if (r == 0)
		r = map_children(m, s, &t.child, &t.n);
	if (r < 0)
		return r;
	if (m->drop_marks)
		t.cleared = (struct vv){ 0 };
	if (slot_empty(&t)) {
		*ret = NULL;
		return 0;
	}
	if (t.val.n == s->val.n && t.look.n == s->look.n && t.child == s->child &&
	    t.cleared.n == s->cleared.n) {
		*ret = s;
		return 0;
	}
	*ret = slot_copy(m->a, &t, NULL, 0);
	return *ret ? 0 : -ENOMEM;
}

int slot_filter(struct arena *a, struct slot *s, const struct seen *seen, bool drop_marks,
		struct slot **ret)
{
	struct mapper m = { .a = a, .seen = seen, .drop_marks = drop_marks, .one = filter_one };
	return filter_one(&m, s, ret);
}

int slot_remove(struct arena *a, struct slot *s, const struct seen *seen, struct slot **ret)
{
	if (!slot_touched(s, seen)) {
		*ret = s;
		return 0;
	}
	struct slot *t;
	int r = slot_filter(a, s, seen, true, &t);
	if (r < 0)
		return r;
	struct slot *c = slot_copy(a, t, s->key, s->key_len);
	if (!c)
		return -ENOMEM;
	r = vv_arena_raise(a, &(struct vv){ 0 }, seen->own, &c->cleared);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

int slot_remove_below(struct arena *a, struct slot *s, const struct seen *seen)
{
	if (!slot_touched_below(s, seen))
		return 0;
	struct mapper m = { .a = a, .seen = seen, .drop_marks = true, .one = filter_one };
	int r = map_children(&m, s, &s->child, &s->n);
	if (r < 0)
		return r;
	return vv_arena_raise(a, &(struct vv){ 0 }, seen->own, &s->cleared);
}

int slot_remove_type(struct arena *a, struct slot *s, enum value_kind kind, const struct seen *seen)
{
	uint32_t members = slot_members(s), from = kind == VALUE_MAP ? 0 : slot_elements(s);
	uint32_t to = kind == VALUE_MAP ? members : s->n, n = 0;
	struct slot **out = NULL;
	for (uint32_t i = 0; i < s->n; i++) {
		struct slot *c = s->child[i];
		int r = i < from || i >= to ? 0 : slot_remove(a, c, seen, &c);
		if (r < 0)
			return r;
		if (!out && c != s->child[i]) {
			out = arena_array(a, s->n, sizeof(*out));
			if (!out)
				return -ENOMEM;
			memcpy(out, s->child, i * sizeof(*out));
			n = i;
		}
		if (out)
			out[n++] = c;
	}
	if (out)
		s->child = out;
	return 0;
}

static int unmark_one(const struct mapper *m, struct slot *s, struct slot **ret)
{
	struct slot t = *s;
	int r = map_children(m, s, &t.child, &t.n);
	if (r < 0)
		return r;
	uint32_t keep = 0;
	for (uint32_t i = 0; i < s->cleared.n; i++) {
		struct vv_item *item = &s->cleared.item[i];
		keep += !vv_has(m->floor, (struct dot){ item->actor, item->seq });
	}
	if (keep == s->cleared.n && t.child == s->child) {
		*ret = s;
		return 0;
	}
	t.cleared = (struct vv){ 0 };
	if (keep > 0) {
		t.cleared.item = arena_alloc(m->a, keep * sizeof(*t.cleared.item));
		if (!t.cleared.item)
			return -ENOMEM;
		for (uint32_t i = 0; i < s->cleared.n; i++) {
			struct vv_item *item = &s->cleared.item[i];
			if (!vv_has(m->floor, (struct dot){ item->actor, item->seq }))
				t.cleared.item[t.cleared.n++] = *item;
		}
	}
	if (slot_empty(&t)) {
		*ret = NULL;
		return 0;
	}
	*ret = slot_copy(m->a, &t, NULL, 0);
	return *ret ? 0 : -ENOMEM;
}

int slot_drop_marks(struct arena *a, struct slot *s, const struct vv *floor, struct slot **ret)
{
	struct mapper m = { .a = a, .floor = floor, .one = unmark_one };
	return unmark_one(&m, s, ret);
}

size_t slot_marks(const struct slot *s)
{
	size_t n = s->cleared.n;
	for (uint32_t i = 0; i < s->n; i++)
		n += slot_marks(s->child[i]);
	return n;
}

static void collect_marks(const struct slot *s, struct vv_item *item, size_t *n)
{
	for (uint32_t i = 0; i < s->cleared.n; i++)
		item[(*n)++] = s->cleared.item[i];
	for (uint32_t i = 0; i < s->n; i++)
		collect_marks(s->child[i], item, n);
}

static int item_cmp(const void *x, const void *y)
{
	const struct vv_item *a = x, *b = y;
	if (a->actor != b->actor)
		return a->actor < b->actor ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* Of each actor's marks the older half goes, so that this is rare and the newest stay. */
int record_bound_marks(struct arena *a, struct record *r)
{
	size_t total = r->top ? slot_marks(r->top) : 0, n = 0;
	if (total <= CLEARED_MAX)
		return 0;
	struct vv_item *item = arena_array(a, total, sizeof(*item));
	if (!item)
		return -ENOMEM;
	collect_marks(r->top, item, &n);
	qsort(item, n, sizeof(*item), item_cmp);
	struct vv old = { item, 0, 0 };
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i; end < n && item[end].actor == item[i].actor; end++)
			;
		/* In place: the vector never overtakes the list it is made from. */
		item[old.n++] = item[i + (end - i - 1) / 2];
	}
	int ret = vv_arena_join(a, &r->floor, &old, &r->floor);
	return ret < 0 ? ret : slot_drop_marks(a, r->top, &r->floor, &r->top);
}
