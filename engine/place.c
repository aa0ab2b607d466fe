/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/element.h"

/* Where a child stands at the head; LOOK_NOWHERE when it is not shown or comes last. */
static uint64_t position_of(const struct placing *pl, const struct slot *c)
{
	const struct entry *e = reg_shown(&c->look, pl->actors);
	struct look look;
	return e && look_decode(&e->value, &look) == 0 ? look.position : LOOK_NOWHERE;
}

/* Puts k positions between lower and upper (exclusive; LOOK_NOWHERE: open). False: no room. */
static bool spread(uint64_t lower, uint64_t upper, uint32_t k, uint64_t *ret)
{
	if (lower == LOOK_NOWHERE)
		return false;
	if (upper == LOOK_NOWHERE) {
		uint64_t first = lower / LOOK_GAP + 1;
		if (first + k >= UINT64_MAX / LOOK_GAP)
			return false;
		for (uint32_t i = 0; i < k; i++)
			ret[i] = (first + i) * LOOK_GAP;
		return true;
	}
	if (upper <= lower || upper - lower <= k)
		return false;
	uint64_t step = (upper - lower) / (k + UINT64_C(1)), round = 1;
	/* Round numbers are short, and rounding by less than half a step keeps the order. */
	while (round <= step / 4)
		round *= 2;
	for (uint32_t i = 0; i < k; i++) {
		uint64_t x = lower + step * (i + UINT64_C(1)), y = x / round * round;
		uint64_t prev = i > 0 ? ret[i - 1] : lower;
		ret[i] = y > prev ? y : x;
	}
	return true;
}

struct member {
	const struct json *json;
	struct placed *item; /* NULL: not in the patch */
};

static bool is_there(const struct placing *pl, const struct member *m)
{
	if (m->item)
		return m->item->slot && slot_live(m->item->slot);
	const struct slot *c = pl->s ? slot_find(pl->s, m->json->key, m->json->key_len) : NULL;
	return c && slot_live(c);
}

/* Position of a member that keeps its own. False: it gets one, or is not there. */
static bool keeps(const struct placing *pl, const struct member *m, uint64_t *ret)
{
	if ((m->item && m->item->place) || !is_there(pl, m))
		return false;
	*ret = position_of(pl, m->item ? m->item->old
				       : slot_find(pl->s, m->json->key, m->json->key_len));
	return true;
}

/* Places the members [from, to), among which none keeps its position, but the one at `to` does. */
static bool place_run(const struct placing *pl, const struct member *m, uint32_t from, uint32_t to,
		      uint64_t upper, uint64_t *tmp)
{
	uint64_t lower = 0;
	uint32_t k = 0;
	for (uint32_t i = from; i > 0; i--)
		if (keeps(pl, &m[i - 1], &lower))
			break;
	for (uint32_t i = from; i < to; i++)
		k += m[i].item && m[i].item->place;
	if (!spread(lower, upper, k, tmp))
		return false;
	k = 0;
	for (uint32_t i = from; i < to; i++)
		if (m[i].item && m[i].item->place)
			m[i].item->position = tmp[k++];
	return true;
}

static bool place_runs(const struct placing *pl, const struct member *m, uint32_t n, uint64_t *tmp)
{
	for (uint32_t i = 0; i < n;) {
		if (!m[i].item || !m[i].item->place) {
			i++;
			continue;
		}
		uint32_t to = i;
		uint64_t upper = LOOK_NOWHERE;
		while (to < n && !keeps(pl, &m[to], &upper))
			to++;
		if (!place_run(pl, m, i, to, upper, tmp))
			return false;
		i = to;
	}
	return true;
}

/* --- numbering anew --- */

struct shown {
	uint64_t position;
	uint32_t child;
};

static int by_position(const void *x, const void *y)
{
	/* Children are in the order of their keys, which breaks ties. */
	const struct shown *a = x, *b = y;
	if (a->position != b->position)
		return a->position < b->position ? -1 : 1;
	return a->child < b->child ? -1 : a->child > b->child;
}

struct renumber {
	struct placing *pl;
	struct placed *item; /* old ones, then added ones */
	uint32_t n;
	uint32_t *item_of;   /* by child: item + 1, 0: none */
	bool *in_text;       /* by child */
	struct shown *shown; /* children at the head in their order */
	uint32_t n_shown;
	uint32_t *rank; /* by child: place in shown */
	uint64_t next;
};

static void number_child(struct renumber *re, uint32_t child)
{
	struct slot *c = re->pl->s->child[child];
	if (re->item_of[child] == 0) {
		re->item[re->n++] = (struct placed){
			.key = c->key, .key_len = c->key_len, .old = c, .slot = c
		};
		re->item_of[child] = re->n;
	}
	struct placed *it = &re->item[re->item_of[child] - 1];
	if (it->slot && slot_live(it->slot))
		it->position = re->next += LOOK_GAP;
}

/* Children that the text does not have keep following the one they followed. */
static void number_others(struct renumber *re, uint32_t from)
{
	for (uint32_t i = from; i < re->n_shown && !re->in_text[re->shown[i].child]; i++)
		number_child(re, re->shown[i].child);
}

static int renumber_init(struct renumber *re, struct member *m, uint32_t n)
{
	struct placing *pl = re->pl;
	uint32_t have = pl->s ? slot_members(pl->s) : 0;
	re->item = arena_array(pl->a, (size_t)pl->n + have, sizeof(*re->item));
	re->item_of = arena_array(pl->a, have, sizeof(*re->item_of));
	re->in_text = arena_array(pl->a, have, sizeof(*re->in_text));
	re->shown = arena_array(pl->a, have, sizeof(*re->shown));
	re->rank = arena_array(pl->a, have, sizeof(*re->rank));
	if (!re->item || !re->item_of || !re->in_text || !re->shown || !re->rank)
		return -ENOMEM;
	memcpy(re->item, pl->item, pl->n * sizeof(*re->item));
	re->n = pl->n;
	for (uint32_t i = 0; i < pl->n; i++) {
		bool found;
		uint32_t at = slot_place(pl->s, re->item[i].key, re->item[i].key_len, &found);
		if (found)
			re->item_of[at] = i + 1;
	}
	for (uint32_t i = 0; i < n; i++) {
		bool found;
		uint32_t at = slot_place(pl->s, m[i].json->key, m[i].json->key_len, &found);
		if (found)
			re->in_text[at] = true;
		if (m[i].item)
			m[i].item = re->item + (m[i].item - pl->item);
	}
	for (uint32_t i = 0; i < have; i++)
		if (slot_live(pl->s->child[i]))
			re->shown[re->n_shown++] =
				(struct shown){ position_of(pl, pl->s->child[i]), i };
	qsort(re->shown, re->n_shown, sizeof(*re->shown), by_position);
	for (uint32_t i = 0; i < re->n_shown; i++)
		re->rank[re->shown[i].child] = i;
	return 0;
}

static int renumber(struct placing *pl, struct member *m, uint32_t n)
{
	struct renumber re = { .pl = pl };
	int r = renumber_init(&re, m, n);
	if (r < 0)
		return r;
	number_others(&re, 0);
	for (uint32_t i = 0; i < n; i++) {
		bool found;
		uint32_t at = slot_place(pl->s, m[i].json->key, m[i].json->key_len, &found);
		if (found)
			number_child(&re, at);
		else if (m[i].item)
			m[i].item->position = re.next += LOOK_GAP;
		if (found && slot_live(pl->s->child[at]))
			number_others(&re, re.rank[at] + 1);
	}
	pl->item = re.item;
	pl->n = re.n;
	return 0;
}

/* A patch made by hand does not say where: behind everything. */
static void append(struct placing *pl)
{
	uint64_t last = 0;
	for (uint32_t i = 0, n = pl->s ? slot_members(pl->s) : 0; i < n; i++) {
		uint64_t p = slot_live(pl->s->child[i]) ? position_of(pl, pl->s->child[i]) : 0;
		if (p != LOOK_NOWHERE && p > last)
			last = p;
	}
	for (uint32_t i = 0; i < pl->n; i++)
		if (pl->item[i].place && last < UINT64_MAX - 2 * LOOK_GAP)
			pl->item[i].position = last = (last / LOOK_GAP + 1) * LOOK_GAP;
}

int place_keys(struct placing *pl)
{
	if (!pl->object) {
		append(pl);
		return 0;
	}
	uint32_t n = 0, k = 0;
	struct member *m = arena_array(pl->a, pl->object->count, sizeof(*m));
	uint64_t *tmp = arena_array(pl->a, pl->n, sizeof(*tmp));
	if (!m || !tmp)
		return -ENOMEM;
	for (const struct json *j = pl->object->first; j && n < pl->object->count; j = j->next) {
		/* Items come in the order of the text; removed ones are not in it. */
		while (k < pl->n && pl->item[k].patch->self == NULL)
			k++;
		m[n].json = j;
		if (k < pl->n && pl->item[k].patch->self == j)
			m[n].item = &pl->item[k++];
		n++;
	}
	if (place_runs(pl, m, n, tmp))
		return 0;
	return renumber(pl, m, n);
}
