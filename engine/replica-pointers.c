/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which values of a document a commit changed, for observers. A save tells it while its patch is
 * applied. For a merge, old and new content are gone through side by side, which costs little: they
 * share every slot that did not change. Both name the value that is nearest to the root: an object
 * that came or went counts once. */

#include "engine/replica-impl.h"

#include "engine/chars.h"
#include "engine/element.h"
#include "engine/jsonptr.h"
#include "engine/slot.h"

void pointers_add(struct commit *c, struct pointers *p, const char *pointer, size_t len)
{
	if (p->n == POINTERS_MAX || atomic_load(&c->r->observers) == 0)
		return;
	if (p->n == p->cap) {
		uint32_t cap = p->cap ? 2 * p->cap : 16;
		const char **bigger = realloc((void *)(uintptr_t)p->text, cap * sizeof(char *));
		if (!bigger)
			return;
		p->text = bigger;
		p->cap = cap;
	}
	const char *copy = arena_dup(&c->arena, pointer, len);
	if (copy)
		p->text[p->n++] = copy;
}

void pointers_give(struct pointers *p, struct touched *t)
{
	free(t->pointer);
	t->pointer = p->text;
	t->n_pointers = p->n;
	*p = (struct pointers){ 0 };
}

void pointers_done(struct pointers *p)
{
	free((void *)(uintptr_t)p->text);
}

/* ---- what a merge changed ---- */

struct walk {
	struct commit *c;
	struct pointers found;
	struct buf at;
};

static void compare(struct walk *w, const struct slot *old, const struct slot *now);

/* True: other elements than before, or in another order; no pointer to one of them says so. */
static bool compare_elements(struct walk *w, const struct slot *old, const struct slot *now)
{
	struct slot **x, **y;
	uint32_t n, m;
	bool same = list_order(&w->c->arena, w->c->r->actors, old, &x, &n) == 0 &&
		    list_order(&w->c->arena, w->c->r->actors, now, &y, &m) == 0 && n == m;
	for (uint32_t i = 0; same && i < n; i++)
		same = key_cmp(x[i]->key, x[i]->key_len, y[i]->key, y[i]->key_len) == 0;
	for (uint32_t i = 0; same && i < n && w->found.n < POINTERS_MAX; i++) {
		if (x[i] == y[i])
			continue;
		size_t len = w->at.len;
		pointer_step(&w->at, VALUE_LIST, y[i], i);
		compare(w, x[i], y[i]);
		w->at.len = len;
	}
	return !same;
}

static void compare_keys(struct walk *w, const struct slot *old, const struct slot *now)
{
	uint32_t i = 0, k = 0, n = slot_members(old), m = slot_members(now);
	while ((i < n || k < m) && w->found.n < POINTERS_MAX) {
		const struct slot *x = i < n ? old->child[i] : NULL;
		const struct slot *y = k < m ? now->child[k] : NULL;
		int order = !x ? 1 : !y ? -1 : key_cmp(x->key, x->key_len, y->key, y->key_len);
		const struct slot *any = order <= 0 ? x : y;
		i += order <= 0;
		k += order >= 0;
		if (x == y)
			continue;
		size_t len = w->at.len;
		json_pointer_append(&w->at, any->key, any->key_len);
		compare(w, order <= 0 ? x : NULL, order >= 0 ? y : NULL);
		w->at.len = len;
	}
}

static bool same_shown(struct walk *w, const struct slot *old, const struct value *x,
		       const struct slot *now, const struct value *y)
{
	struct value was, is;
	const struct actors *actors = w->c->r->actors;
	return value_shown(&w->c->arena, actors, old, x, &was, NULL) == 0 &&
	       value_shown(&w->c->arena, actors, now, y, &is, NULL) == 0 && value_same(&was, &is);
}

/* By what is shown: a value that lost, or a new place among the siblings, is no change. Slots nest
 * at most RECORD_DEPTH_MAX deep. */
static void compare(struct walk *w, const struct slot *old, const struct slot *now)
{
	const struct actors *actors = w->c->r->actors;
	const struct entry *x = NULL, *y = NULL;
	enum value_kind was = VALUE_NULL, is = VALUE_NULL;
	bool had = old && slot_shown(old, actors, &x, &was);
	bool has = now && slot_shown(now, actors, &y, &is);
	if (had && has && was == is) {
		if (is == VALUE_MAP)
			compare_keys(w, old, now);
		if (is == VALUE_LIST ? !compare_elements(w, old, now) :
		    is == VALUE_MAP || same_shown(w, old, &x->value, now, &y->value))
			return;
	}
	const char *pointer = had || has ? buf_cstr(&w->at) : NULL;
	if (pointer)
		pointers_add(w->c, &w->found, pointer, w->at.len);
}

static const struct slot *content(const struct record *rec)
{
	return rec && rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

void pointers_of_merge(struct commit *c, struct touched *t)
{
	struct walk w = { .c = c };
	struct value shown;
	if (atomic_load(&c->r->observers) == 0 || content(t->old) == content(t->record) ||
	    !content_shown(c->r, t->record, &shown) || !value_is_json(shown.kind))
		return;
	compare(&w, content(t->old), content(t->record));
	pointers_give(&w.found, t);
	buf_done(&w.at);
}
