/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Patches of lists (engine/element.h).
 *
 * The elements that neither came nor moved are the anchors: what came or moved gets new places behind
 * the anchor that stands before it in the new text, in one insertion for each anchor. An anchor's
 * place is the one it has now, if the writer has seen that; one that somebody else has moved meanwhile
 * is no anchor, nor is one that was removed and has left no place. */
#include "engine/patch-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/element.h"
#include "engine/naming.h"
#include "engine/slotseq.h"

bool patch_is_list(const struct json *array, const struct types_at *types)
{
	if (array->type != JSON_ARRAY || array->count > LIST_MAX)
		return false;
	switch (types_merge(types)) {
	case MERGE_REGISTER:
		return false;
	case MERGE_SET:
	case MERGE_LIST:
	case MERGE_KEYED:
		return true;
	case MERGE_DEFAULT:
	case MERGE_COUNTER:
	case MERGE_TEXT:
		break;
	}
	return !json_is_numbers(array);
}

/* --- a list as a whole --- */

static int key_order(const void *x, const void *y)
{
	const struct json *const *a = x, *const *b = y;
	return key_cmp((*a)->key, (*a)->key_len, (*b)->key, (*b)->key_len);
}

/* The array's elements in the order of their keys. */
static const struct json **by_keys(struct arena *a, const struct json *array)
{
	const struct json **list = arena_array(a, array->count, sizeof(const struct json *));
	uint32_t n = 0;
	for (const struct json *j = array->first; list && j; j = j->next)
		list[n++] = j;
	if (list)
		qsort(list, n, sizeof(*list), key_order);
	return list;
}

int patch_elements(struct applier *ap, const struct slot *s, const struct patch *p,
		   struct patch **ret)
{
	struct json *array = p->value;
	struct patch **end = ret;
	const struct types_at *types;
	uint32_t first = s ? slot_elements(s) : 0, have = s ? s->n - first : 0, k = 0;
	int r = naming_all(ap->a, array, p->types);
	if (r == 0)
		r = types_step(ap->a, p->types, NULL, 0, &types);
	if (r < 0)
		return r;
	struct patch *q = arena_array(ap->a, (size_t)array->count + have, sizeof(*q));
	const struct json **sorted = by_keys(ap->a, array);
	if (!q || !sorted)
		return -ENOMEM;
	*ret = NULL;
	for (struct json *j = array->first; j; j = j->next, q++) {
		*q = (struct patch){ .kind = PATCH_SET,
				     .key = j->key,
				     .key_len = j->key_len,
				     .value = j,
				     .moved = true,
				     .look = true,
				     .object = array,
				     .self = j,
				     .types = types };
		if (json_is_container(j) && j->count > 0 && j->layout == JSON_LAYOUT_INLINE &&
		    array->layout == JSON_LAYOUT_BROKEN)
			q->layout = LOOK_INLINE;
		*end = q;
		end = &q->next;
	}
	for (uint32_t i = 0; i < have; i++) {
		const struct slot *c = s->child[first + i];
		while (k < array->count &&
		       key_cmp(sorted[k]->key, sorted[k]->key_len, c->key, c->key_len) < 0)
			k++;
		if (k < array->count &&
		    !key_cmp(sorted[k]->key, sorted[k]->key_len, c->key, c->key_len))
			continue;
		*q = (struct patch){ .kind = PATCH_REMOVE, .key = c->key, .key_len = c->key_len };
		*end = q;
		end = &q->next;
		q++;
	}
	return 0;
}

/* --- places --- */

struct element {
	const struct patch *patch;
	bool wants; /* a place */
	struct seq_id place;
};

struct lister {
	struct applier *ap;
	const struct slot *s; /* the list before; may be NULL */
	struct element *e;
	struct placed *item; /* the same ones, in the order of the text, then the places */
	uint32_t n;
	const struct json *array; /* NULL: new ones come last */
	struct seq *order;
	struct seq_base *anchors;
	struct seq_edit *edit;
	uint32_t n_edits, index;
};

/* Does an element get a new place? New ones and moved ones do, and what comes back that has left none.
 * One that another device has put there at the same time stays where that put it. */
static bool needs_place(const struct applier *ap, const struct patch *p, const struct slot *old)
{
	struct seq_id at;
	if (p->kind == PATCH_REMOVE)
		return false;
	bool live = old && slot_live(old);
	bool somewhere = old && element_place(ap->actors, old, &at, NULL);
	if (p->kind == PATCH_LOOK && !live)
		return false;
	if (!p->key || !somewhere)
		return true;
	if (!p->moved)
		return false;
	const struct entry *look = reg_shown(&old->look, ap->actors);
	return p->before || !live || !look || seen_has(&ap->seen, look->dot);
}

/* Where an element that stays has its place, if the writer has seen that. */
static int anchor_of(struct lister *l, const struct json *j, struct seq_id *ret)
{
	const struct slot *c = l->s ? slot_find(l->s, j->key, j->key_len) : NULL;
	const struct slot gone = { .key = j->key, .key_len = j->key_len };
	uint32_t pos;
	bool alive;
	if (!element_place(l->ap->actors, c ? c : &gone, ret, NULL) ||
	    !seen_has(&l->ap->seen, (struct dot){ ret->actor, ret->seq }))
		return -ENOENT;
	return seq_find(l->order, ret, &pos, &alive);
}

static void flush(struct lister *l, uint32_t *run)
{
	if (*run > 0)
		l->edit[l->n_edits++] = (struct seq_edit){ .pos = seq_base_length(l->anchors),
							   .n = *run };
	*run = 0;
}

static void want(struct lister *l, struct element *e, uint32_t *run)
{
	e->place = (struct seq_id){ .actor = l->ap->st->dot.actor,
				    .seq = l->ap->st->dot.seq,
				    .index = l->index++ };
	++*run;
}

/* Patches come in the order of the text; those of removed elements are not in it. */
static int plan_text(struct lister *l)
{
	uint32_t k = 0, run = 0;
	struct seq_id at;
	int r = 0;
	for (const struct json *j = l->array->first; j && r == 0; j = j->next) {
		while (k < l->n && !l->e[k].patch->self)
			k++;
		struct element *e = k < l->n && l->e[k].patch->self == j ? &l->e[k++] : NULL;
		if (e && e->wants) {
			want(l, e, &run);
			continue;
		}
		r = j->key ? anchor_of(l, j, &at) : -ENOENT;
		if (r == 0) {
			flush(l, &run);
			r = seq_base_add(l->anchors, &at);
		} else if (r == -ENOENT) {
			r = 0;
		}
	}
	flush(l, &run);
	return r;
}

/* Behind everything. */
static int plan_end(struct lister *l)
{
	uint32_t run = 0, total = seq_length(l->order);
	struct seq_id at;
	int r = total > 0 ? seq_id_at(l->order, total - 1, &at) : 0;
	if (r == 0 && total > 0)
		r = seq_base_add(l->anchors, &at);
	for (uint32_t i = 0; i < l->n; i++)
		if (l->e[i].wants)
			want(l, &l->e[i], &run);
	flush(l, &run);
	return r;
}

/* Gives out places; the slot of the order becomes the last item if it changed. */
static int place_elements(struct lister *l)
{
	struct applier *ap = l->ap;
	const struct slot empty = { .key = ORDER_KEY, .key_len = ORDER_KEY_LEN };
	struct slot *old = l->s ? slot_find(l->s, ORDER_KEY, ORDER_KEY_LEN) : NULL;
	l->edit = arena_array(ap->a, l->n, sizeof(*l->edit));
	if (!l->edit)
		return -ENOMEM;
	int r = slotseq_load(old ? old : &empty, ap->actors, &l->order);
	if (r == 0)
		r = seq_base_new(&l->anchors);
	if (r == 0)
		r = seq_next_index(l->order, ap->st->dot, &l->index);
	if (r == 0)
		r = l->array ? plan_text(l) : plan_end(l);
	if (r == 0)
		r = seq_edit(l->order, l->anchors, l->array ? ap->seen.base : NULL, l->edit,
			     l->n_edits, ap->st->dot);
	if (r < 0)
		return r;
	struct slot *c = slot_copy(ap->a, old, ORDER_KEY, ORDER_KEY_LEN);
	if (!c)
		return -ENOMEM;
	l->item[l->n++] = (struct placed){ .key = c->key, .key_len = c->key_len, .old = old, .slot = c };
	return slotseq_store(ap->a, l->order, ap->actors, c);
}

/* --- the elements --- */

/* Position and layout of an element. One whose place is named like itself needs no entry for it. */
static int finish_look(struct applier *ap, const struct element *e, struct placed *it)
{
	const struct patch *p = e->patch;
	struct element_look is, want;
	struct seq_id at, own;
	if (!it->slot || !slot_live(it->slot))
		return 0;
	element_place(ap->actors, it->slot, &at, &is);
	want = is;
	if (e->wants) {
		want.place = e->place;
		want.placed = element_id(ap->actors, it->key, it->key_len, &own) < 0 ||
			      memcmp(&own, &e->place, sizeof(own)) != 0;
	}
	if (p->self && json_is_container(p->self) && p->self->count > 0 &&
	    (p->look || p->kind == PATCH_SET))
		want.layout = p->layout;
	if (want.layout == is.layout && want.placed == is.placed &&
	    (!want.placed || !memcmp(&want.place, &is.place, sizeof(is.place))))
		return 0;
	uint8_t data[ELEMENT_LOOK_MAX];
	size_t len = element_look_encode(ap->actors, &want, data);
	struct slot *c = slot_copy(ap->a, it->slot, NULL, 0);
	struct entry add = { ap->st->dot, ap->st->hlc, { VALUE_BYTES, NULL, len } };
	add.value.data = (const uint8_t *)arena_dup(ap->a, data, len);
	if (!c || !add.value.data)
		return -ENOMEM;
	bool took;
	int r = reg_write(ap->a, ap->actors, &it->slot->look, &ap->seen, &add, &c->look, &took);
	it->slot = c;
	return r;
}

/* Who watches is told of the whole list when elements come, go or move, else of what is in them. */
static int apply_one(struct lister *l, uint32_t i, uint32_t at, bool tell)
{
	struct applier *ap = l->ap;
	struct placed *it = &l->item[i];
	struct patch p = *l->e[i].patch;
	const pointer_fn changed = ap->changed;
	const size_t len = ap->pointer.len;
	if (!p.key) {
		p.key = element_key(ap->a, ap->actors, &l->e[i].place, &p.key_len);
		if (!p.key)
			return -ENOMEM;
		it->key = p.key;
		it->key_len = p.key_len;
		if (p.self) {
			p.self->key = p.key;
			p.self->key_len = p.key_len;
		}
	}
	if (!tell)
		ap->changed = NULL;
	if (ap->changed)
		pointer_step(&ap->pointer, VALUE_LIST, NULL, at);
	int r = patch_apply(ap, it->old, &p, &it->slot);
	ap->changed = changed;
	ap->pointer.len = len;
	return r < 0 ? r : finish_look(ap, &l->e[i], it);
}

/* Elements' places in the text, for pointers. */
static int apply_all(struct lister *l, uint32_t n, bool tell)
{
	uint32_t at = 0;
	const struct json *j = l->array ? l->array->first : NULL;
	for (uint32_t i = 0; i < n; i++) {
		for (; tell && j && j != l->e[i].patch->self; j = j->next)
			at++;
		int r = apply_one(l, i, at, tell);
		if (r < 0)
			return r;
	}
	return 0;
}

static void lister_done(struct lister *l)
{
	seq_free(l->order);
	seq_base_free(l->anchors);
}

static bool is_stray(const struct applier *ap, const struct slot *c)
{
	struct seq_id at;
	return c && slot_live(c) && !element_place(ap->actors, c, &at, NULL);
}

static bool any_strays(const struct applier *ap, const struct slot *s)
{
	for (uint32_t i = s ? slot_elements(s) : 0; s && i < s->n; i++)
		if (is_stray(ap, s->child[i]))
			return true;
	return false;
}

/* Elements that came back without a place stand last. When the order changes, those that the text has
 * get one, or what is put behind them would stand before them. */
static int place_strays(struct applier *ap, const struct slot *s, const struct patch **first)
{
	struct patch *list = NULL, **end = &list;
	const struct patch *q = *first;
	struct json *array = NULL;
	bool order = false;
	for (const struct patch *p = q; p; p = p->next) {
		order = order || !p->key || p->moved;
		array = array ? array : (struct json *)(uintptr_t)p->object;
	}
	if (!order || !array || !any_strays(ap, s))
		return 0;
	for (struct json *j = array->first; j || q; j = j ? j->next : NULL) {
		struct patch *p = arena_new(ap->a, struct patch);
		/* Those of removed elements come as they come. */
		while (p && q && (!q->self || !j)) {
			*p = *q;
			q = q->next;
			*end = p;
			end = &p->next;
			p = arena_new(ap->a, struct patch);
		}
		if (!p)
			return -ENOMEM;
		if (j && q && q->self == j) {
			*p = *q;
			q = q->next;
		} else if (j && j->key && is_stray(ap, slot_find(s, j->key, j->key_len))) {
			*p = (struct patch){ .kind = PATCH_LOOK, .key = j->key, .key_len = j->key_len,
					     .moved = true, .object = array, .self = j };
		} else {
			continue;
		}
		*end = p;
		end = &p->next;
	}
	*end = NULL;
	*first = list;
	return 0;
}

int patch_list(struct applier *ap, struct slot *s, const struct patch *p, const struct patch *first,
	       struct slot **ret)
{
	_cleanup_(lister_done) struct lister l = { .ap = ap, .s = s };
	uint32_t n = 0;
	bool places = false, same = true, changed = false;
	int r = place_strays(ap, s, &first);
	if (r < 0)
		return r;
	for (const struct patch *q = first; q; q = q->next)
		n++;
	l.e = arena_array(ap->a, n, sizeof(*l.e));
	l.item = arena_array(ap->a, n + (size_t)1, sizeof(*l.item));
	if (!l.e || !l.item)
		return -ENOMEM;
	for (const struct patch *q = first; q; q = q->next, l.n++) {
		struct slot *old = s && q->key ? slot_find(s, q->key, q->key_len) : NULL;
		bool wants = needs_place(ap, q, old);
		l.e[l.n] = (struct element){ .patch = q, .wants = wants };
		l.item[l.n] = (struct placed){ .key = q->key, .key_len = q->key_len, .old = old };
		l.array = l.array ? l.array : q->object;
		places = places || wants;
		same = same && !wants && q->kind != PATCH_REMOVE;
	}
	if (places)
		r = place_elements(&l);
	if (r == 0)
		r = apply_all(&l, n, same);
	for (uint32_t i = 0; i < l.n; i++)
		changed = changed || l.item[i].slot != l.item[i].old;
	*ret = s;
	if (r < 0 || !changed)
		return r;
	struct slot *c = slot_copy(ap->a, s, p->key, p->key_len);
	r = c ? patch_merge(ap, s, l.item, l.n, c) : -ENOMEM;
	if (r < 0)
		return r;
	*ret = c;
	return same ? 0 : patch_tell(ap);
}
