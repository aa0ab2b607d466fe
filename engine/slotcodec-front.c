/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands in front of the top slot: batches, edges, visits. In the store numbers and times stand as they are, on a
 * link as differences to what the stream said last (engine/recent.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/slot.h"
#include "engine/slotcodec-impl.h"

/* --- encoding --- */

unsigned slotcodec_edges(const struct record *r)
{
	return record_visits_follow_edges(r) ? r->n_edges : EDGES_APART;
}

static void batch_add(struct batches *t, const struct entry *e, struct buf *b)
{
	/* Neighbours come from the same few batches; what slips through is found by sorting. */
	for (uint32_t i = t->n; i > 0 && i + 4 > t->n; i--)
		if (batch_is(&t->item[i - 1], e))
			return;
	if (t->n == t->cap) {
		uint32_t cap = t->cap ? t->cap * 2 : 16;
		struct batch *p = reallocarray(t->item, cap, sizeof(*p));
		if (!p) {
			b->failed = true;
			return;
		}
		t->item = p;
		t->cap = cap;
	}
	t->item[t->n++] = (struct batch){ e->dot, e->hlc };
}

static void collect(struct batches *t, const struct slot *s, struct buf *b)
{
	for (uint32_t i = 0; i < s->val.n; i++)
		batch_add(t, &s->val.entry[i], b);
	for (uint32_t i = 0; i < s->look.n; i++)
		batch_add(t, &s->look.entry[i], b);
	for (uint32_t i = 0; i < s->n; i++)
		collect(t, s->child[i], b);
}

int batch_cmp(const void *x, const void *y, void *actors)
{
	const struct batch *p = x, *q = y;
	int r = dot_cmp(actors, p->dot, q->dot);
	return r ? r : p->hlc < q->hlc ? -1 : p->hlc > q->hlc;
}

void front_collect(struct encoder *d, const struct slot *top)
{
	struct batches *t = &d->batches;
	uint32_t n = 0;
	collect(t, top, d->b);
	if (t->n < 2)
		return;
	qsort_r(t->item, t->n, sizeof(*t->item), batch_cmp, d->actors);
	for (uint32_t i = 0; i < t->n; i++)
		if (n == 0 || batch_cmp(&t->item[n - 1], &t->item[i], d->actors) != 0)
			t->item[n++] = t->item[i];
	t->n = n;
}

static void put_dot(struct encoder *d, struct dot dot)
{
	actor_codec_put(d->c, d->b, dot.actor);
	if (d->recent)
		recent_put(&d->recent->seq, dot.seq, d->b);
	else
		buf_varint(d->b, dot.seq);
}

void front_put_batches(struct encoder *d)
{
	uint64_t begin = 0, *us = d->recent ? &d->recent->us : &begin;
	buf_varint(d->b, d->batches.n);
	for (uint32_t i = 0; i < d->batches.n; i++) {
		const struct batch *p = &d->batches.item[i];
		put_dot(d, p->dot);
		recent_put(us, hlc_us(p->hlc), d->b);
		buf_varint(d->b, p->hlc & ((1u << HLC_COUNTER_BITS) - 1));
	}
}

/* What a visit's time is told from in the store: most nodes came where they are as they were made. */
static uint64_t first_us(const struct batches *t)
{
	return t->n > 0 ? hlc_us(t->item[0].hlc) : 0;
}

static uint64_t visit_z(struct encoder *d, const struct visit *v)
{
	uint64_t from = d->recent ? d->recent->visit_us : first_us(&d->batches);
	if (d->recent)
		d->recent->visit_us = v->us;
	return zigzag((int64_t)(v->us - from));
}

static void put_parent(struct encoder *d, const struct edge *e)
{
	if (!d->recent) {
		buf_put(d->b, e->parent.b, ID_SIZE);
		buf_varint(d->b, e->counter);
		return;
	}
	bool other = !id_equal(&e->parent, &d->recent->parent);
	buf_varint(d->b, e->counter << 1 | other);
	if (other)
		buf_put(d->b, e->parent.b, ID_SIZE);
	d->recent->parent = e->parent;
}

/* v: NULL when visits come by themselves. */
static void put_edge(struct encoder *d, const struct edge *e, const struct visit *v)
{
	struct buf *b = d->b;
	put_parent(d, e);
	put_dot(d, e->dot);
	if (v) {
		bool other = v->dot.actor != e->dot.actor || v->dot.seq != e->dot.seq;
		buf_varint(b, visit_z(d, v) << 1 | other);
		if (other)
			put_dot(d, v->dot);
	}
	if (edge_is_trash(e))
		vv_encode(&e->seen, d->actors, d->c, b);
	else
		buf_bytes(b, e->name, e->name_len);
}

void front_put_edges(struct encoder *d, const struct record *r)
{
	bool apart = slotcodec_edges(r) == EDGES_APART;
	if (apart)
		buf_u8(d->b, (uint8_t)(r->n_edges | r->n_visits << 4));
	for (uint32_t i = 0; i < r->n_edges; i++)
		put_edge(d, &r->edge[i], apart ? NULL : record_visit(r, &r->edge[i].parent));
	for (uint32_t i = 0; apart && i < r->n_visits; i++) {
		const struct visit *v = &r->visit[i];
		buf_put(d->b, v->parent.b, ID_SIZE);
		buf_varint(d->b, visit_z(d, v));
		put_dot(d, v->dot);
	}
}

/* --- decoding --- */

int slotcodec_bad(struct slotcodec *d, const char *why)
{
	d->cur->bad = true;
	return err_set(d->e, -EBADMSG, "damaged record: %s", why);
}

bool slotcodec_knows(const struct slotcodec *d, struct dot dot)
{
	return dot.seq > 0 && vv_has(d->ctx, dot);
}

int slotcodec_get_vv(struct slotcodec *d, const char *what, struct vv *ret)
{
	int r = vv_decode_arena(d->a, d->cur, d->actors, d->codec, ret);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !vv_covers(d->ctx, ret))
		return slotcodec_bad(d, what);
	return 0;
}

static int get_dot(struct slotcodec *d, struct dot *ret)
{
	ret->actor = actor_get(d->actors, d->codec, d->cur);
	ret->seq = d->recent ? recent_get(&d->recent->seq, d->cur) : cursor_varint(d->cur);
	return cursor_ok(d->cur) ? 0 : -EBADMSG;
}

static int check_visit(struct slotcodec *d, uint64_t z, struct visit *v)
{
	v->us = (d->recent ? d->recent->visit_us : first_us(&d->batches)) + (uint64_t)unzigzag(z);
	if (d->recent)
		d->recent->visit_us = v->us;
	if (!cursor_ok(d->cur) || v->us >> (64 - HLC_COUNTER_BITS) || z >> 54 || !slotcodec_knows(d, v->dot))
		return slotcodec_bad(d, "an impossible visit");
	return 0;
}

static int get_visit(struct slotcodec *d, const struct edge *e, struct visit *ret)
{
	uint64_t z = cursor_varint(d->cur);
	ret->parent = e->parent;
	ret->dot = e->dot;
	if (cursor_ok(d->cur) && z & 1 && get_dot(d, &ret->dot) == 0 && ret->dot.actor == e->dot.actor &&
	    ret->dot.seq == e->dot.seq)
		return slotcodec_bad(d, "a visit's batch said twice");
	return check_visit(d, z >> 1, ret);
}

static int get_visit_apart(struct slotcodec *d, struct visit *ret)
{
	const uint8_t *parent = cursor_take(d->cur, ID_SIZE);
	uint64_t z = cursor_varint(d->cur);
	if (get_dot(d, &ret->dot) == 0)
		memcpy(ret->parent.b, parent, ID_SIZE);
	return check_visit(d, z, ret);
}

static int get_parent(struct slotcodec *d, struct edge *e)
{
	const uint8_t *parent = d->recent ? NULL : cursor_take(d->cur, ID_SIZE);
	e->counter = cursor_varint(d->cur);
	if (d->recent) {
		parent = e->counter & 1 ? cursor_take(d->cur, ID_SIZE) : d->recent->parent.b;
		e->counter >>= 1;
	}
	if (!cursor_ok(d->cur))
		return slotcodec_bad(d, "it ends within an edge");
	memcpy(e->parent.b, parent, ID_SIZE);
	if (d->recent && parent != d->recent->parent.b) {
		if (id_equal(&e->parent, &d->recent->parent))
			return slotcodec_bad(d, "an edge's directory said twice");
		d->recent->parent = e->parent;
	}
	return 0;
}

/* ret_visit: NULL when visits come by themselves. */
static int get_edge(struct slotcodec *d, struct edge *e, struct visit *ret_visit)
{
	int r = get_parent(d, e);
	if (r < 0)
		return r;
	if (get_dot(d, &e->dot) < 0 || !slotcodec_knows(d, e->dot))
		return slotcodec_bad(d, "an edge of an unknown batch");
	/* More would bring somebody's next move to where nothing comes after it. */
	if (e->counter >= EDGE_PURGED && !edge_is_purge(e))
		return slotcodec_bad(d, "an edge beyond the last");
	r = ret_visit ? get_visit(d, e, ret_visit) : 0;
	if (r < 0)
		return r;
	if (edge_is_trash(e)) {
		e->name = "";
		return slotcodec_get_vv(d, "an edge that saw more than there is", &e->seen);
	}
	e->name = (const char *)cursor_bytes(d->cur, NAME_MAX_BYTES, &e->name_len);
	if (!cursor_ok(d->cur) || !edge_name_valid(e->name, e->name_len))
		return slotcodec_bad(d, "a name that no file can have");
	return 0;
}

static int get_visits(struct slotcodec *d, struct record *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct visit *v = &r->visit[i];
		int ret = get_visit_apart(d, v);
		if (ret < 0)
			return ret;
		if (i > 0 && visit_rank(d->actors, &r->visit[i - 1], v) <= 0)
			return slotcodec_bad(d, "visits out of order");
		if (record_visit(r, &v->parent))
			return slotcodec_bad(d, "two visits of one directory");
		r->n_visits++;
	}
	return record_visits_follow_edges(r) ? slotcodec_bad(d, "visits apart from edges that have them") : 0;
}

static int get_edges(struct slotcodec *d, struct record *r, uint32_t n)
{
	bool apart = n == EDGES_APART;
	uint32_t n_visits = 0;
	if (apart) {
		n = cursor_u8(d->cur);
		n_visits = n >> 4;
		n &= 15;
	}
	if (n > EDGES_MAX || n_visits > EDGES_MAX)
		return slotcodec_bad(d, "too many edges");
	for (uint32_t i = 0; i < n; i++) {
		struct edge *e = &r->edge[i];
		struct visit v;
		int ret = get_edge(d, e, apart ? NULL : &v);
		if (ret < 0)
			return ret;
		if (i > 0 && edge_rank(d->actors, &r->edge[i - 1], e) <= 0)
			return slotcodec_bad(d, "edges out of order");
		for (uint32_t j = 0; j < i; j++)
			if (id_equal(&r->edge[j].parent, &e->parent))
				return slotcodec_bad(d, "two edges to one directory");
		if (!apart)
			visit_join(d->actors, r, &v, 1);
	}
	r->n_edges = n;
	return apart ? get_visits(d, r, n_visits) : 0;
}

static int get_batches(struct slotcodec *d)
{
	struct cursor *cur = d->cur;
	struct batches *t = &d->batches;
	uint64_t begin = 0, *us = d->recent ? &d->recent->us : &begin;
	/* A batch takes four bytes at least. */
	t->cap = (uint32_t)cursor_varint_max(cur, cursor_left(cur) / 4);
	if (!cursor_ok(cur))
		return slotcodec_bad(d, "more batches than bytes");
	t->item = arena_array(d->a, t->cap, sizeof(*t->item));
	t->used = arena_array(d->a, t->cap, sizeof(*t->used));
	if (!t->item || !t->used)
		return -ENOMEM;
	for (; t->n < t->cap; t->n++) {
		struct batch *p = &t->item[t->n];
		(void)get_dot(d, &p->dot);
		recent_get(us, cur);
		uint64_t counter = cursor_varint_max(cur, (1u << HLC_COUNTER_BITS) - 1);
		if (!cursor_ok(cur) || *us >> (64 - HLC_COUNTER_BITS) || !slotcodec_knows(d, p->dot))
			return slotcodec_bad(d, "an impossible batch");
		p->hlc = *us << HLC_COUNTER_BITS | counter;
		if (t->n > 0 && batch_cmp(p - 1, p, (struct actors *)(uintptr_t)d->actors) >= 0)
			return slotcodec_bad(d, "batches out of order");
	}
	return 0;
}

int slotcodec_get_edges(struct slotcodec *d, struct record *r, uint32_t n_edges)
{
	d->recent = d->codec ? actor_codec_recent(d->codec) : NULL;
	int ret = get_batches(d);
	return ret < 0 ? ret : get_edges(d, r, n_edges);
}

