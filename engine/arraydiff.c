/* SPDX-License-Identifier: GPL-2.0-or-later */

/* 1. Elements with a key: objects whose member of that name is a scalar. The name was declared, or
 * it is the first of id, _id, key and name that every element of both arrays has, no value twice in
 * one of them. Elements with equal keys belong together, wherever they stand and whatever else is
 * in them; one whose key the other array does not have is new or was removed. With a declared name
 * the elements that lack it, or share a key with a neighbour, are treated like those without:
 * 2. By value: histogram diff, in which the pairs of the first step take part.
 * 3. What is left and equal elsewhere has moved; of several equal ones the first old and the first
 *    new, the second and the second, and so on.
 * 4. What is left between two neighbours that histogram diff matched is paired in order by
 *    similarity, from half of it up: of members, of the elements of an array, of the ends of a
 * string; numbers and truth values are half similar as such. Elements that say they are different
 * things (id, _id, key) are not similar. All of it under a limit.
 * 5. Pairs outside of the longest increasing subsequence of old places are the moved ones. */

#include "engine/arraydiff.h"

#include <errno.h>
#include <string.h>

#include "engine/cleanup.h"
#include "engine/dense.h"
#include "engine/histdiff.h"
#include "engine/lis.h"

/* Similarity is counted in parts of ALIKE. */
#define ALIKE 256u
#define SIMILAR (ALIKE / 2)
/* How many children it looks at, a quarter of that at each level below, and how many bytes from
 * each end of a string. */
#define LOOK_CHILDREN 32
#define LOOK_BYTES 1024
/* Comparisons for similarity, for n elements. */
#define SIMILAR_STEPS(n) (64 * (uint64_t)(n) + (UINT64_C(1) << 17))
/* So many old ones times new ones between two neighbours are compared each with each; of more, a
 * new one with WINDOW old ones at about the same height. */
#define PAIRS_MAX 1024
#define WINDOW 8

#define NONE ARRAYDIFF_NONE

/* Both arrays in a row: old elements, then new ones. */
struct work {
	struct arena tmp, hunk; /* for all of it, and for one hunk */
	const struct json **element;
	const struct json **key; /* scratch: the keys, in a row */
	uint64_t *token;         /* scratch */
	uint32_t *value;         /* equal values, equal numbers */
	uint32_t *keyed;         /* equal keys, equal numbers; NONE */
	uint32_t *partner;       /* a place in the other half; NONE */
	uint32_t n, m;           /* elements of old and new */
	uint64_t left;           /* comparisons that similarity still has */
	uint64_t steps;
};

static void work_done(struct work *w)
{
	arena_done(&w->tmp);
	arena_done(&w->hunk);
}

static void pair(struct work *w, uint32_t old, uint32_t new)
{
	w->partner[old] = new;
	w->partner[new] = old;
}

/* --- by key ---------------------------------------------------------------------------------- */

static bool same_value(const void *userdata, uint32_t i, uint32_t j)
{
	const struct json *const *v = userdata;
	return json_equal(v[i], v[j]);
}

static const struct json *scalar(const struct json *object, const char *name, size_t len)
{
	const struct json *v = json_get(object, name, len);
	return v && !json_is_container(v) ? v : NULL;
}

/* Numbers the keys of that name: keyed[i]. Returns 1; 0: not every element has one. */
static int number_keys(struct work *w, const char *name, size_t len, bool all,
		       uint32_t *ret_numbers)
{
	uint32_t *at = arena_array(&w->tmp, w->n + w->m, sizeof(*at));
	uint32_t *number = arena_array(&w->tmp, w->n + w->m, sizeof(*number)), k = 0;
	if (!at || !number)
		return -ENOMEM;
	w->steps += w->n + w->m;
	for (uint32_t i = 0; i < w->n + w->m; i++) {
		w->keyed[i] = NONE;
		w->key[k] = scalar(w->element[i], name, len);
		if (w->key[k])
			at[k++] = i;
		else if (all)
			return 0;
	}
	for (uint32_t i = 0; i < k; i++)
		w->token[i] = json_hash(w->key[i]);
	int r = dense(w->token, k, same_value, w->key, number, ret_numbers);
	for (uint32_t i = 0; i < k && r == 0; i++)
		w->keyed[at[i]] = number[i];
	return r < 0 ? r : 1;
}

/* Pairs elements with equal keys of that name; those that share a key in one array lose it. Returns
 * 1; 0: not every element has one of its own, though all should. */
static int match_keys(struct work *w, const char *name, size_t len, bool all)
{
	uint32_t numbers = 0, *old, *new;
	int r = number_keys(w, name, len, all, &numbers);
	if (r <= 0)
		return r;
	/* By number: the place of the only one, or the number of places if there are more. */
	old = arena_array(&w->tmp, numbers, 2 * sizeof(*old));
	new = old + numbers;
	if (!old)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->n + w->m; i++)
		if (w->keyed[i] != NONE && ++(i < w->n ? old : new)[w->keyed[i]] > 1 && all)
			return 0;
	for (uint32_t i = 0; i < w->n + w->m; i++)
		if (w->keyed[i] != NONE && (old[w->keyed[i]] > 1 || new[w->keyed[i]] > 1))
			w->keyed[i] = NONE;
	memset(old, 0xff, numbers * sizeof(*old));
	for (uint32_t i = 0; i < w->n; i++)
		if (w->keyed[i] != NONE)
			old[w->keyed[i]] = i;
	for (uint32_t i = w->n; i < w->n + w->m; i++)
		if (w->keyed[i] != NONE && old[w->keyed[i]] != NONE)
			pair(w, old[w->keyed[i]], i);
	return 1;
}

static const struct name {
	const char *text;
	size_t len;
	bool identity; /* else things of different names may still be the same thing */
} names[] = {
	{ "id", 2, true },
	{ "_id", 3, true },
	{ "key", 3, true },
	{ "name", 4, false },
};
#define NAMES (sizeof(names) / sizeof(names[0]))

/* Finds the key and matches by it; sets ret->key if there is one. */
static int by_key(struct work *w, const char *key, size_t len, struct arraydiff *ret)
{
	int r = key ? match_keys(w, key, len, false) : 0;
	for (size_t i = 0; i < NAMES && r == 0; i++) {
		key = names[i].text;
		len = names[i].len;
		r = match_keys(w, key, len, true);
	}
	if (r == 0)
		memset(w->keyed, 0xff, (w->n + w->m) * sizeof(*w->keyed));
	ret->key = r > 0 ? key : NULL;
	ret->key_len = r > 0 ? len : 0;
	return r < 0 ? r : 0;
}

/* --- by value -------------------------------------------------------------------------------- */

static bool is_loose(const struct work *w, uint32_t i)
{
	return w->keyed[i] == NONE && w->partner[i] == NONE;
}

static int number_values(struct work *w, uint32_t *ret_numbers)
{
	for (uint32_t i = 0; i < w->n + w->m; i++)
		w->token[i] = json_hash(w->element[i]);
	w->steps += w->n + w->m;
	return dense(w->token, w->n + w->m, same_value, w->element, w->value, ret_numbers);
}

static int by_value(struct work *w, struct histdiff *ret)
{
	for (uint32_t i = 0; i < w->n + w->m; i++)
		w->token[i] = w->keyed[i] == NONE ? w->value[i] : w->keyed[i] | UINT64_C(1) << 32;
	struct histdiff_in in = {
		.old = w->token,
		.new = w->token + w->n,
		.old_count = w->n,
		.new_count = w->m,
	};
	int r = histdiff(&w->tmp, &in, ret);
	if (r < 0)
		return r;
	w->steps += ret->steps;
	uint32_t i = 0, j = w->n;
	for (uint32_t k = 0; k <= ret->count; k++) {
		const struct hunk *h = k < ret->count ? &ret->hunk[k] : NULL;
		for (; i < (h ? h->old : w->n); i++, j++)
			if (is_loose(w, i))
				pair(w, i, j);
		i += h ? h->old_len : 0;
		j += h ? h->new_len : 0;
	}
	return 0;
}

/* Pairs equal elements that are left, the first with the first. */
static int by_equality(struct work *w, uint32_t numbers)
{
	/* By number: the first old place that is left; by place: the next one. */
	uint32_t *first = arena_alloc(&w->tmp, numbers * sizeof(*first));
	uint32_t *next = arena_alloc(&w->tmp, w->n * sizeof(*next));
	if (!first || !next)
		return -ENOMEM;
	memset(first, 0xff, numbers * sizeof(*first));
	for (uint32_t i = w->n; i-- > 0;) {
		if (!is_loose(w, i))
			continue;
		next[i] = first[w->value[i]];
		first[w->value[i]] = i;
	}
	for (uint32_t j = w->n; j < w->n + w->m; j++) {
		uint32_t i = first[w->value[j]];
		if (!is_loose(w, j) || i == NONE)
			continue;
		pair(w, i, j);
		first[w->value[j]] = next[i];
	}
	w->steps += w->n + w->m;
	return 0;
}

/* --- by similarity --------------------------------------------------------------------------- */

static void spend(struct work *w, size_t steps)
{
	w->steps += steps;
	w->left -= steps < w->left ? steps : w->left;
}

static uint32_t similar_text(struct work *w, const struct json *x, const struct json *y)
{
	size_t shorter = x->len < y->len ? x->len : y->len, longer = x->len + y->len - shorter;
	size_t head = 0, tail = 0;
	while (head < shorter && head < LOOK_BYTES && x->text[head] == y->text[head])
		head++;
	while (tail < shorter - head && tail < LOOK_BYTES &&
	       x->text[x->len - tail - 1] == y->text[y->len - tail - 1])
		tail++;
	spend(w, (head + tail) / 64);
	if (longer > 2 * LOOK_BYTES)
		longer = 2 * LOOK_BYTES;
	return longer ? (uint32_t)((head + tail) * ALIKE / longer) : ALIKE;
}

static uint32_t similar(struct work *w, const struct json *x, const struct json *y, uint32_t look);

/* The longer one's children, as far as it looks. */
static uint32_t children(const struct json *x, const struct json *y, uint32_t look)
{
	uint32_t n = x->count > y->count ? x->count : y->count;
	return n < look ? n : look;
}

static uint32_t similar_objects(struct work *w, const struct json *x, const struct json *y,
				uint32_t look)
{
	uint32_t sum = 0, n = children(x, y, look), i = 0;
	for (const struct json *c = x->first; c && i < look; c = c->next, i++) {
		const struct json *d = json_get(y, c->key, c->key_len);
		sum += d ? similar(w, c, d, look / 4) : 0;
	}
	return sum / n;
}

/* Element by element; one that only one side has is stepped over. */
static uint32_t similar_arrays(struct work *w, const struct json *x, const struct json *y,
			       uint32_t look)
{
	const struct json *c = x->first, *d = y->first;
	uint32_t sum = 0, n = children(x, y, look);
	for (uint32_t i = 0; c && d && i < look; i++, c = c->next, d = d->next) {
		uint32_t here = similar(w, c, d, look / 4);
		if (here < SIMILAR && x->count < y->count && d->next)
			here = similar(w, c, (d = d->next), look / 4);
		else if (here < SIMILAR && x->count > y->count && c->next)
			here = similar(w, (c = c->next), d, look / 4);
		sum += here;
	}
	return sum / n;
}

static bool is_truth(const struct json *v)
{
	return v->type == JSON_FALSE || v->type == JSON_TRUE;
}

/* How much of x is y, in parts of ALIKE. */
static uint32_t similar(struct work *w, const struct json *x, const struct json *y, uint32_t look)
{
	spend(w, 1);
	if (w->left == 0 || (x->type != y->type && !(is_truth(x) && is_truth(y))))
		return 0;
	switch ((enum json_type)x->type) {
	case JSON_NULL:
		return ALIKE;
	case JSON_FALSE:
	case JSON_TRUE:
		return x->type == y->type ? ALIKE : SIMILAR;
	case JSON_NUMBER:
		spend(w, (x->len + y->len) / 64);
		return json_equal(x, y) ? ALIKE : SIMILAR;
	case JSON_STRING:
		return similar_text(w, x, y);
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	if (x->count == 0 || y->count == 0)
		return x->count == y->count ? ALIKE : 0;
	if (look == 0)
		return x->count == y->count ? SIMILAR : 0;
	return x->type == JSON_ARRAY ? similar_arrays(w, x, y, look)
				     : similar_objects(w, x, y, look);
}

/* Do they say that they are different things? */
static bool disagree(const struct json *x, const struct json *y, const char *name, size_t len)
{
	const struct json *v = scalar(x, name, len), *u = scalar(y, name, len);
	return v && u && !json_equal(v, u);
}

/* How similar two elements are: 0, or SIMILAR and more. */
static uint32_t likeness(struct work *w, const struct arraydiff *d, uint32_t i, uint32_t j)
{
	const struct json *x = w->element[i], *y = w->element[j];
	if (d->key && disagree(x, y, d->key, d->key_len))
		return 0;
	for (size_t k = 0; k < NAMES; k++)
		if (names[k].identity && disagree(x, y, names[k].text, names[k].len))
			return 0;
	uint32_t s = similar(w, x, y, LOOK_CHILDREN);
	return s < SIMILAR ? 0 : s;
}

/* Two lists of places: what is left of a hunk. */
struct left {
	const uint32_t *old, *new;
	uint32_t n, m;
};

/* The pairs, in order, whose likenesses make the largest sum. best[i][j] is that of the old ones
 * from i and the new ones from j on. */
static int pair_best(struct work *w, const struct arraydiff *d, const struct left *l)
{
	uint32_t width = l->m + 1, *best = arena_array(&w->hunk, l->n + 1, width * sizeof(*best));
	uint32_t *like = arena_array(&w->hunk, l->n, width * sizeof(*like));
	if (!best || !like)
		return -ENOMEM;
	for (uint32_t i = l->n; i-- > 0;) {
		for (uint32_t j = l->m; j-- > 0;) {
			uint32_t *at = best + i * width + j,
				 s = likeness(w, d, l->old[i], l->new[j]);
			uint32_t skip = at[1] > at[width] ? at[1] : at[width];
			like[i * width + j] = s;
			*at = s > 0 && s + at[width + 1] >= skip ? s + at[width + 1] : skip;
		}
	}
	for (uint32_t i = 0, j = 0; i < l->n && j < l->m;) {
		const uint32_t *at = best + i * width + j;
		uint32_t s = like[i * width + j];
		if (s > 0 && *at == s + at[width + 1])
			pair(w, l->old[i++], l->new[j++]);
		else if (*at == at[width])
			i++;
		else
			j++;
	}
	return 0;
}

/* Each new one with the best of the old ones at about the same height. */
static void pair_near(struct work *w, const struct arraydiff *d, const struct left *l)
{
	uint32_t next = 0;
	for (uint32_t j = 0; j < l->m; j++) {
		uint32_t height = (uint32_t)((uint64_t)j * l->n / l->m), best = 0, found = NONE;
		uint32_t from = height > WINDOW / 2 ? height - WINDOW / 2 : 0;
		for (uint32_t i = from > next ? from : next; i < l->n && i < from + WINDOW; i++) {
			uint32_t s = likeness(w, d, l->old[i], l->new[j]);
			if (s <= best)
				continue;
			best = s;
			found = i;
		}
		if (found == NONE)
			continue;
		pair(w, l->old[found], l->new[j]);
		next = found + 1;
	}
}

static uint32_t list_loose(const struct work *w, uint32_t from, uint32_t len, uint32_t *place)
{
	uint32_t n = 0;
	for (uint32_t i = from; i < from + len; i++)
		if (is_loose(w, i))
			place[n++] = i;
	return n;
}

static int by_similarity(struct work *w, const struct arraydiff *d, const struct histdiff *found)
{
	for (uint32_t k = 0; k < found->count; k++) {
		const struct hunk *h = &found->hunk[k];
		arena_reset(&w->hunk);
		w->steps += (uint64_t)h->old_len + h->new_len;
		uint32_t *old = arena_array(&w->hunk, h->old_len, sizeof(*old));
		uint32_t *new = arena_array(&w->hunk, h->new_len, sizeof(*new));
		if (!old || !new)
			return -ENOMEM;
		struct left l = { old, new, list_loose(w, h->old, h->old_len, old),
				  list_loose(w, w->n + h->new, h->new_len, new) };
		if (l.n == 0 || l.m == 0)
			continue;
		if ((uint64_t)l.n * l.m > PAIRS_MAX)
			pair_near(w, d, &l);
		else if (pair_best(w, d, &l) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* --- the result ------------------------------------------------------------------------------ */

static int list_items(struct arena *a, const struct work *w, struct arraydiff *d)
{
	d->item = arena_array(a, w->m, sizeof(*d->item));
	d->removed = arena_array(a, w->n, sizeof(*d->removed));
	if (!d->item || !d->removed)
		return -ENOMEM;
	d->count = w->m;
	for (uint32_t j = 0; j < w->m; j++) {
		uint32_t i = w->partner[w->n + j];
		d->item[j] = (struct arraydiff_item){
			.new = w->element[w->n + j],
			.old = i != NONE ? w->element[i] : NULL,
			.old_at = i,
			.changed = i != NONE && w->value[i] != w->value[w->n + j],
		};
	}
	for (uint32_t i = 0; i < w->n; i++)
		if (w->partner[i] == NONE)
			d->removed[d->removed_count++] = i;
	return 0;
}

/* Marks what left the order. */
static int mark_moved(struct work *w, struct arraydiff *d)
{
	uint32_t *space = arena_array(&w->tmp, w->m, 4 * sizeof(*space)), k = 0;
	uint32_t *old = space, *at = space + w->m, *stays = at + w->m;
	if (!space)
		return -ENOMEM;
	for (uint32_t j = 0; j < w->m; j++) {
		d->item[j].moved = d->item[j].old != NULL;
		if (!d->item[j].old)
			continue;
		old[k] = d->item[j].old_at;
		at[k++] = j;
	}
	uint32_t count = lis(old, k, stays, stays + w->m);
	for (uint32_t i = 0; i < count; i++)
		d->item[at[stays[i]]].moved = false;
	for (uint32_t n = k; n > 0; n /= 2)
		w->steps += k;
	return 0;
}

static int work_init(struct work *w, const struct json *old, const struct json *new)
{
	uint32_t all, i = 0;
	if (__builtin_add_overflow(old->count, new->count, &all) || all >= UINT32_MAX / 2)
		return -ENOMEM;
	w->n = old->count;
	w->m = new->count;
	w->left = SIMILAR_STEPS(all);
	w->element = arena_array(&w->tmp, all, sizeof(const struct json *));
	w->key = arena_array(&w->tmp, all, sizeof(const struct json *));
	w->token = arena_array(&w->tmp, all, sizeof(*w->token));
	w->value = arena_array(&w->tmp, all, sizeof(*w->value));
	w->keyed = arena_array(&w->tmp, all, sizeof(*w->keyed));
	w->partner = arena_alloc(&w->tmp, all * sizeof(*w->partner));
	if (!w->element || !w->key || !w->token || !w->value || !w->keyed || !w->partner)
		return -ENOMEM;
	memset(w->partner, 0xff, all * sizeof(*w->partner));
	for (const struct json *v = old->first; v; v = v->next)
		w->element[i++] = v;
	for (const struct json *v = new->first; v; v = v->next)
		w->element[i++] = v;
	return 0;
}

int arraydiff(struct arena *a, const struct json *old, const struct json *new, const char *key,
	      size_t key_len, struct arraydiff *ret)
{
	_cleanup_(work_done) struct work w = { .n = 0 };
	struct arraydiff d = { 0 };
	struct histdiff found;
	uint32_t numbers;
	int r = work_init(&w, old, new);
	if (r == 0)
		r = number_values(&w, &numbers);
	if (r == 0)
		r = by_key(&w, key, key_len, &d);
	if (r == 0)
		r = by_value(&w, &found);
	if (r == 0)
		r = by_equality(&w, numbers);
	if (r == 0)
		r = by_similarity(&w, &d, &found);
	if (r == 0)
		r = list_items(a, &w, &d);
	if (r == 0)
		r = mark_moved(&w, &d);
	if (r < 0)
		return r;
	d.steps = w.steps;
	*ret = d;
	return 0;
}
