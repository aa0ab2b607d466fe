/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/vv.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "engine/recent.h"

void vv_done(struct vv *v)
{
	free(v->item);
	*v = (struct vv){ 0 };
}

/* The first place whose actor is not below the given one. */
static uint32_t lower_bound(const struct vv *v, uint32_t actor)
{
	uint32_t lo = 0, hi = v->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (v->item[mid].actor < actor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t vv_get(const struct vv *v, uint32_t actor)
{
	uint32_t i = lower_bound(v, actor);
	return i < v->n && v->item[i].actor == actor ? v->item[i].seq : 0;
}

bool vv_has(const struct vv *v, struct dot d)
{
	return d.seq <= vv_get(v, d.actor);
}

static int reserve(struct vv *v, uint32_t n)
{
	if (n <= v->cap)
		return 0;
	uint32_t cap = v->cap ? v->cap : 4;
	while (cap < n)
		cap *= 2;
	struct vv_item *p = reallocarray(v->item, cap, sizeof(*p));
	if (!p)
		return -ENOMEM;
	v->item = p;
	v->cap = cap;
	return 0;
}

int vv_raise(struct vv *v, uint32_t actor, uint64_t seq)
{
	if (seq == 0)
		return 0;
	uint32_t i = lower_bound(v, actor);
	if (i < v->n && v->item[i].actor == actor) {
		if (v->item[i].seq < seq)
			v->item[i].seq = seq;
		return 0;
	}
	if (reserve(v, v->n + 1) < 0)
		return -ENOMEM;
	memmove(v->item + i + 1, v->item + i, (v->n - i) * sizeof(*v->item));
	v->item[i] = (struct vv_item){ actor, seq };
	v->n++;
	return 0;
}

void vv_lower(struct vv *v, uint32_t actor, uint64_t seq)
{
	uint32_t i = lower_bound(v, actor);
	if (i == v->n || v->item[i].actor != actor || v->item[i].seq <= seq)
		return;
	v->item[i].seq = seq;
	if (seq == 0)
		memmove(v->item + i, v->item + i + 1, (--v->n - i) * sizeof(*v->item));
}

/* Merges x and y by actor into item, which has room for both; returns how many. */
static uint32_t merge(const struct vv *x, const struct vv *y, struct vv_item *item)
{
	uint32_t i = 0, j = 0, n = 0;
	while (i < x->n || j < y->n) {
		if (j == y->n || (i < x->n && x->item[i].actor < y->item[j].actor)) {
			item[n++] = x->item[i++];
		} else if (i == x->n || y->item[j].actor < x->item[i].actor) {
			item[n++] = y->item[j++];
		} else {
			item[n++] = x->item[i].seq > y->item[j].seq ? x->item[i] : y->item[j];
			i++;
			j++;
		}
	}
	return n;
}

int vv_join(struct vv *v, const struct vv *other)
{
	if (vv_covers(v, other))
		return 0;
	struct vv r = { 0 };
	if (reserve(&r, v->n + other->n) < 0 || !r.item)
		return -ENOMEM;
	r.n = merge(v, other, r.item);
	free(v->item);
	*v = r;
	return 0;
}

int vv_copy(const struct vv *v, struct vv *ret)
{
	struct vv r = { 0 };
	if (v->n > 0) {
		r.item = reallocarray(NULL, v->n, sizeof(*r.item));
		if (!r.item)
			return -ENOMEM;
		memcpy(r.item, v->item, v->n * sizeof(*r.item));
		r.n = r.cap = v->n;
	}
	*ret = r;
	return 0;
}

int vv_arena(struct arena *a, const struct vv *v, struct vv *ret)
{
	struct vv r = { 0 };
	if (v->n > 0) {
		r.item = arena_alloc(a, v->n * sizeof(*v->item));
		if (!r.item)
			return -ENOMEM;
		memcpy(r.item, v->item, v->n * sizeof(*v->item));
		r.n = v->n;
	}
	*ret = r;
	return 0;
}

int vv_arena_join(struct arena *a, const struct vv *x, const struct vv *y, struct vv *ret)
{
	if (vv_covers(x, y)) {
		*ret = (struct vv){ x->item, x->n, 0 };
		return 0;
	}
	if (vv_covers(y, x)) {
		*ret = (struct vv){ y->item, y->n, 0 };
		return 0;
	}
	struct vv r = { arena_alloc(a, ((size_t)x->n + y->n) * sizeof(*r.item)), 0, 0 };
	if (!r.item)
		return -ENOMEM;
	r.n = merge(x, y, r.item);
	*ret = r;
	return 0;
}

int vv_arena_raise(struct arena *a, const struct vv *v, struct dot d, struct vv *ret)
{
	struct vv_item item = { d.actor, d.seq };
	struct vv one;
	if (vv_has(v, d)) {
		*ret = (struct vv){ v->item, v->n, 0 };
		return 0;
	}
	int r = vv_arena(a, &(struct vv){ &item, 1, 0 }, &one);
	return r < 0 ? r : vv_arena_join(a, v, &one, ret);
}

bool vv_covers(const struct vv *v, const struct vv *other)
{
	uint32_t i = 0;
	for (uint32_t j = 0; j < other->n; j++) {
		while (i < v->n && v->item[i].actor < other->item[j].actor)
			i++;
		if (i == v->n || v->item[i].actor != other->item[j].actor ||
		    v->item[i].seq < other->item[j].seq)
			return false;
	}
	return true;
}

bool vv_equal(const struct vv *a, const struct vv *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (a->item[i].actor != b->item[i].actor || a->item[i].seq != b->item[i].seq)
			return false;
	return true;
}

static int by_identifier(const void *x, const void *y, void *actors)
{
	const struct vv_item *a = x, *b = y;
	return actors_cmp(actors, a->actor, b->actor);
}

static int by_number(const void *x, const void *y)
{
	const struct vv_item *a = x, *b = y;
	return a->actor < b->actor ? -1 : a->actor > b->actor;
}

/* A view of a vector in the order of identifiers. Most vectors have few items and need no
 * memory of their own. */
#define ORDER_SMALL 32

struct order {
	struct vv_item small[ORDER_SMALL];
	struct vv_item *item, *heap;
};

static bool order_init(struct order *o, const struct vv *v, const struct actors *actors)
{
	o->heap = NULL;
	o->item = o->small;
	if (v->n > ORDER_SMALL)
		o->item = o->heap = reallocarray(NULL, v->n, sizeof(*o->item));
	if (!o->item)
		return false;
	if (v->n > 0)
		memcpy(o->item, v->item, v->n * sizeof(*v->item));
	if (v->n > 1)
		qsort_r(o->item, v->n, sizeof(*o->item), by_identifier,
			(struct actors *)(uintptr_t)actors);
	return true;
}

static void order_done(struct order *o)
{
	free(o->heap);
}

/* The item with the smallest identifier above prev's (NULL: of all). */
static const struct vv_item *next_by_identifier(const struct vv *v, const struct actors *actors,
						const struct vv_item *prev)
{
	const struct vv_item *best = NULL;
	for (uint32_t i = 0; i < v->n; i++)
		if ((!prev || actors_cmp(actors, v->item[i].actor, prev->actor) > 0) &&
		    (!best || actors_cmp(actors, v->item[i].actor, best->actor) < 0))
			best = &v->item[i];
	return best;
}

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

/* SHA-256 over the length of what follows (u64), then for each item device, incarnation (u32)
 * and seq (u64); the first 128 bits. The same as sha256_id() of one part, without its memory. */
void vv_fingerprint(const struct vv *v, const struct actors *actors, struct id *ret)
{
	struct sha256_ctx ctx;
	uint8_t b[ID_SIZE + 4 + 8];
	struct order o = { .heap = NULL };
	bool ordered = order_init(&o, v, actors);
	const struct vv_item *item = NULL;
	sha256_init(&ctx);
	put_be(b, (uint64_t)v->n * sizeof(b), 8);
	sha256_update(&ctx, 8, b);
	for (uint32_t i = 0; i < v->n; i++) {
		/* Without memory to sort in, it is slow but still right. */
		item = ordered ? &o.item[i] : next_by_identifier(v, actors, item);
		const struct actor_id *id = actors_get(actors, item->actor);
		memcpy(b, id->device.b, ID_SIZE);
		put_be(b + ID_SIZE, id->incarnation, 4);
		put_be(b + ID_SIZE + 4, item->seq, 8);
		sha256_update(&ctx, sizeof(b), b);
	}
	sha256_digest(&ctx, ID_SIZE, ret->b);
	order_done(&o);
}

/* last: what numbers are differences to; NULL: to nothing. */
static void encode(const struct vv *v, struct actors *actors, struct actor_codec *c, uint64_t *last,
		   struct buf *b)
{
	struct order o = { .item = v->item };
	if (c && !order_init(&o, v, actors)) {
		b->failed = true;
		return;
	}
	buf_varint(b, v->n);
	for (uint32_t i = 0; i < v->n; i++) {
		actor_codec_put(c, b, o.item[i].actor);
		if (last)
			recent_put(last, o.item[i].seq, b);
		else
			buf_varint(b, o.item[i].seq);
	}
	if (c)
		order_done(&o);
}

void vv_encode(const struct vv *v, struct actors *actors, struct actor_codec *c, struct buf *b)
{
	encode(v, actors, c, NULL, b);
}

void vv_encode_recent(const struct vv *v, struct actors *actors, struct actor_codec *c, struct buf *b)
{
	encode(v, actors, c, &actor_codec_recent(c)->seq, b);
}

/* One decoder for both owners of memory: a NULL means malloc. */
static int decode(struct arena *a, struct cursor *cur, const struct actors *actors,
		  struct actor_codec *c, uint64_t *last, struct vv *ret)
{
	/* An item takes two bytes at least. */
	size_t most = cursor_left(cur) / 2;
	uint32_t n = (uint32_t)cursor_varint_max(cur, most < VV_MAX ? most : VV_MAX);
	struct vv v = { 0 };
	if (!cursor_ok(cur))
		return -EBADMSG;
	if (n > 0) {
		v.item = a ? arena_alloc(a, n * sizeof(*v.item))
			   : reallocarray(NULL, n, sizeof(*v.item));
		if (!v.item)
			return -ENOMEM;
	}
	for (; v.n < n; v.n++) {
		struct vv_item item;
		item.actor = actor_get(actors, c, cur);
		item.seq = last ? recent_get(last, cur) : cursor_varint(cur);
		if (!cursor_ok(cur) || item.seq == 0)
			break;
		if (v.n > 0) {
			uint32_t prev = v.item[v.n - 1].actor;
			if (c ? actors_cmp(actors, prev, item.actor) >= 0 : prev >= item.actor)
				break;
		}
		v.item[v.n] = item;
	}
	if (v.n < n) {
		cur->bad = true;
		if (!a)
			free(v.item);
		return -EBADMSG;
	}
	if (c && n > 1)
		qsort(v.item, n, sizeof(*v.item), by_number);
	v.cap = a ? 0 : n;
	*ret = v;
	return 0;
}

int vv_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c, struct vv *ret)
{
	return decode(NULL, cur, actors, c, NULL, ret);
}

int vv_decode_arena(struct arena *a, struct cursor *cur, const struct actors *actors,
		    struct actor_codec *c, struct vv *ret)
{
	return decode(a, cur, actors, c, NULL, ret);
}

int vv_decode_recent(struct arena *a, struct cursor *cur, const struct actors *actors,
		     struct actor_codec *c, struct vv *ret)
{
	return decode(a, cur, actors, c, &actor_codec_recent(c)->seq, ret);
}
