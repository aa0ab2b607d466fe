/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/element.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "engine/patch.h"
#include "engine/slotseq.h"

#define LOOK_PLACED 2u

/* The first child whose key is not below a byte. */
static uint32_t first_from(const struct slot *s, uint8_t byte)
{
	const char key[1] = { (char)byte };
	bool found;
	if (s->n == 0 || key_cmp(s->child[s->n - 1]->key, s->child[s->n - 1]->key_len, key, 1) < 0)
		return s->n;
	return slot_place(s, key, 1, &found);
}

uint32_t slot_members(const struct slot *s)
{
	return first_from(s, ORDER_BYTE);
}

uint32_t slot_elements(const struct slot *s)
{
	return first_from(s, ELEMENT_BYTE);
}

/* --- identities --- */

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n-- > 0) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void put_place(const struct actors *actors, const struct seq_id *id, uint8_t *p)
{
	const struct actor_id *actor = actors_get(actors, id->actor);
	memcpy(p, actor->device.b, ID_SIZE);
	put_be(p + ID_SIZE, actor->incarnation, 4);
	put_be(p + ACTOR_ID_SIZE, id->seq, 8);
	put_be(p + ACTOR_ID_SIZE + 8, id->index, 4);
}

static int get_place(const struct actors *actors, const uint8_t *p, struct seq_id *ret)
{
	struct actor_id actor = { .incarnation = (uint32_t)get_be(p + ID_SIZE, 4) };
	memcpy(actor.device.b, p, ID_SIZE);
	ret->actor = actors_find(actors, &actor);
	ret->seq = get_be(p + ACTOR_ID_SIZE, 8);
	ret->index = (uint32_t)get_be(p + ACTOR_ID_SIZE + 8, 4);
	return ret->actor == ACTOR_NONE ? -EBADMSG : 0;
}

const char *element_key(struct arena *a, const struct actors *actors, const struct seq_id *id,
			size_t *ret_len)
{
	size_t len = id->actor == ACTOR_NONE ? ELEMENT_HASH_SIZE : ELEMENT_DOT_SIZE;
	uint8_t *p = arena_alloc(a, len);
	if (!p)
		return NULL;
	p[0] = ELEMENT_BYTE;
	if (id->actor == ACTOR_NONE)
		put_be(p + 1, id->seq, 8);
	else
		put_place(actors, id, p + 1);
	*ret_len = len;
	return (const char *)p;
}

int element_id(const struct actors *actors, const char *key, size_t len, struct seq_id *ret)
{
	const uint8_t *p = (const uint8_t *)key;
	if (!key_is_element(key, len))
		return -EBADMSG;
	if (len == ELEMENT_DOT_SIZE)
		return get_place(actors, p + 1, ret);
	if (len != ELEMENT_HASH_SIZE)
		return -EBADMSG;
	*ret = (struct seq_id){ .actor = ACTOR_NONE, .seq = get_be(p + 1, 8) };
	return 0;
}

/* --- places --- */

size_t element_look_encode(const struct actors *actors, const struct element_look *l,
			   uint8_t data[static ELEMENT_LOOK_MAX])
{
	data[0] = (uint8_t)(l->layout | (l->placed ? LOOK_PLACED : 0));
	if (!l->placed)
		return 1;
	put_place(actors, &l->place, data + 1);
	return ELEMENT_LOOK_MAX;
}

int element_look_decode(const struct actors *actors, const struct value *v, struct element_look *ret)
{
	struct element_look l = { 0 };
	if (v->kind != VALUE_BYTES || v->len == 0 || v->data[0] > (LOOK_INLINE | LOOK_PLACED))
		return -EBADMSG;
	l.layout = v->data[0] & LOOK_INLINE;
	l.placed = v->data[0] & LOOK_PLACED;
	if (v->len != (l.placed ? ELEMENT_LOOK_MAX : 1))
		return -EBADMSG;
	if (l.placed && get_place(actors, v->data + 1, &l.place) < 0)
		return -EBADMSG;
	*ret = l;
	return 0;
}

bool element_place(const struct actors *actors, const struct slot *s, struct seq_id *ret,
		   struct element_look *ret_look)
{
	const struct entry *e = reg_shown(&s->look, actors);
	struct element_look l = { 0 };
	if (e && element_look_decode(actors, &e->value, &l) < 0)
		l = (struct element_look){ 0 };
	if (ret_look)
		*ret_look = l;
	if (l.placed)
		*ret = l.place;
	else if (element_id(actors, s->key, s->key_len, ret) < 0)
		return false;
	return ret->actor != ACTOR_NONE;
}

/* An element and its place; its number in the order once that is known. */
struct placed {
	struct slot *slot;
	struct seq_id at;
	uint32_t child, rank;
};

static int by_id(const struct seq_id *x, const struct seq_id *y)
{
	if (x->actor != y->actor)
		return x->actor < y->actor ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Equal places are told apart by their keys' order. */
static int by_place(const void *x, const void *y)
{
	const struct placed *a = x, *b = y;
	int r = by_id(&a->at, &b->at);
	return r ? r : a->child < b->child ? -1 : a->child > b->child;
}

static int by_rank(const void *x, const void *y)
{
	const struct placed *a = x, *b = y;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->child < b->child ? -1 : a->child > b->child;
}

/* Numbers those whose place is in the span: its ids ascend as the sorted list does, though in a span
 * of many batches others may come between. */
static uint32_t rank_span(const struct seq_span *span, struct placed *p, uint32_t n, uint32_t rank)
{
	uint32_t lo = 0, hi = n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (by_id(&p[mid].at, &span->id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && p[lo].at.actor == span->id.actor; lo++) {
		const struct seq_id *id = &p[lo].at;
		uint64_t k = span->step ? id->seq - span->id.seq : (uint64_t)id->index - span->id.index;
		if (!span->step && (id->seq != span->id.seq || k >= span->len))
			break;
		if (span->step && k >= span->len)
			break;
		if (!span->step || id->index == 0)
			p[lo].rank = rank + (uint32_t)k;
	}
	return rank + span->len;
}

static int rank_all(const struct actors *actors, const struct slot *list, struct placed *p, uint32_t n)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	struct seq_span span;
	uint32_t rank = 0;
	int r = slotseq_load(slot_find(list, ORDER_KEY, ORDER_KEY_LEN), actors, &seq);
	if (r < 0)
		return r;
	struct seq_iter it = seq_iter(seq);
	while (seq_iter_next(&it, &span))
		rank = rank_span(&span, p, n, rank);
	return 0;
}

int list_order(struct arena *a, const struct actors *actors, const struct slot *list,
	       struct slot ***ret, uint32_t *ret_n)
{
	uint32_t first = slot_elements(list), n = 0;
	struct placed *p = arena_array(a, list->n - first, sizeof(*p));
	struct slot **order = arena_array(a, list->n - first, sizeof(*order));
	if (!p || !order)
		return -ENOMEM;
	for (uint32_t i = first; i < list->n; i++) {
		struct placed *e = &p[n];
		if (!slot_live(list->child[i]))
			continue;
		*e = (struct placed){ list->child[i], { .actor = ACTOR_NONE }, i, UINT32_MAX };
		if (!element_place(actors, e->slot, &e->at, NULL))
			e->at.actor = ACTOR_NONE;
		n++;
	}
	qsort(p, n, sizeof(*p), by_place);
	int r = n > 0 ? rank_all(actors, list, p, n) : 0;
	if (r < 0)
		return r;
	qsort(p, n, sizeof(*p), by_rank);
	for (uint32_t i = 0; i < n; i++)
		order[i] = p[i].slot;
	*ret = order;
	*ret_n = n;
	return 0;
}

int slot_parts(struct arena *a, const struct actors *actors, const struct slot *s,
	       enum value_kind container, struct slot ***ret, uint32_t *ret_n)
{
	if (container == VALUE_LIST)
		return list_order(a, actors, s, ret, ret_n);
	*ret = s->child;
	*ret_n = slot_members(s);
	return 0;
}

void pointer_step(struct buf *pointer, enum value_kind container, const struct slot *part, uint32_t i)
{
	if (container == VALUE_LIST)
		json_pointer_append_index(pointer, i);
	else
		json_pointer_append(pointer, part->key, part->key_len);
}

/* A number without leading zeros. */
static bool read_index(const char *token, size_t len, uint32_t *ret)
{
	uint32_t v = 0;
	if (len == 0 || len > 9 || (len > 1 && token[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (token[i] < '0' || token[i] > '9')
			return false;
		v = v * 10 + (uint32_t)(token[i] - '0');
	}
	*ret = v;
	return true;
}

int slot_step(struct arena *a, const struct actors *actors, const struct slot *s, const char *token,
	      size_t len, const struct slot **ret)
{
	const struct entry *shown;
	enum value_kind kind;
	struct slot **element;
	uint32_t n, i;
	*ret = NULL;
	if (!s || !slot_shown(s, actors, &shown, &kind))
		return 0;
	if (kind == VALUE_MAP && key_is_member(token, len))
		*ret = slot_find(s, token, len);
	if (kind != VALUE_LIST || !read_index(token, len, &i))
		return 0;
	int r = list_order(a, actors, s, &element, &n);
	if (r == 0 && i < n)
		*ret = element[i];
	return r;
}
