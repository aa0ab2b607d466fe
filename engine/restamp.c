/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/restamp.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/counter.h"
#include "engine/edge.h"
#include "engine/element.h"
#include "engine/sha256.h"
#include "engine/slotseq.h"

struct restamper {
	struct arena *a;
	const struct actors *actors;
	const struct restamp *rs;
	const struct counter_past *past;
};

int vv_restamp(struct arena *a, const struct vv *v, const struct restamp *rs, struct vv *ret)
{
	uint64_t seq = vv_get(v, rs->from);
	if (seq <= rs->above) {
		*ret = *v;
		return 0;
	}
	struct vv out = { arena_array(a, v->n + 1, sizeof(*out.item)), 0, 0 };
	if (!out.item)
		return -ENOMEM;
	bool put = false;
	for (uint32_t i = 0; i <= v->n; i++) {
		if (!put && (i == v->n || v->item[i].actor > rs->to)) {
			out.item[out.n++] = (struct vv_item){ rs->to, seq };
			put = true;
		}
		if (i == v->n)
			break;
		struct vv_item item = v->item[i];
		if (item.actor == rs->from)
			item.seq = rs->above;
		if (item.seq > 0)
			out.item[out.n++] = item;
	}
	*ret = out;
	return 0;
}

static int entry_cmp(const void *x, const void *y, void *actors)
{
	const struct entry *a = x, *b = y;
	return dot_cmp(actors, a->dot, b->dot);
}

static int reg_restamp(const struct restamper *k, struct reg *reg)
{
	bool any = false;
	for (uint32_t i = 0; i < reg->n; i++)
		any |= dot_restamp(k->rs, reg->entry[i].dot).actor != reg->entry[i].dot.actor;
	if (!any)
		return 0;
	struct entry *e = arena_array(k->a, reg->n, sizeof(*e));
	if (!e)
		return -ENOMEM;
	for (uint32_t i = 0; i < reg->n; i++) {
		e[i] = reg->entry[i];
		e[i].dot = dot_restamp(k->rs, e[i].dot);
	}
	qsort_r(e, reg->n, sizeof(*e), entry_cmp, (struct actors *)(uintptr_t)k->actors);
	reg->entry = e;
	return 0;
}

void slot_name(const struct id *parent, const struct slot *s, struct id *ret)
{
	const struct sha256_part part[2] = { { parent->b, ID_SIZE }, { s->key ? s->key : "", s->key_len } };
	sha256_id(part, 2, ret);
}

/* What stays of the counter e under its old name: 1 and the entry. */
static int counter_kept(const struct restamper *k, const struct id *name, const struct entry *e,
			struct entry *ret)
{
	int r = 1;
	for (*ret = *e; r > 0 && ret->dot.seq > k->rs->above;)
		r = k->past->before(name, ret->dot.seq, k->a, ret, k->past->userdata);
	ret->dot.actor = k->rs->from;
	return r;
}

/* Cuts a counter that goes over; if the difference has too many digits, it goes over whole. */
static int counter_cut(const struct restamper *k, const struct id *name, struct reg *reg)
{
	struct entry kept;
	uint32_t i = 0;
	while (i < reg->n && (reg->entry[i].value.kind != VALUE_COUNTER ||
			      dot_restamp(k->rs, reg->entry[i].dot).actor == reg->entry[i].dot.actor))
		i++;
	if (i == reg->n)
		return 0;
	int r = counter_kept(k, name, &reg->entry[i], &kept);
	if (r <= 0)
		return r;
	struct entry *e = arena_array(k->a, reg->n + 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	memcpy(e, reg->entry, reg->n * sizeof(*e));
	r = number_add(k->a, &e[i].value, &kept.value, true, &e[i].value);
	if (r < 0)
		return r == -ERANGE ? 0 : r;
	e[i].value.kind = VALUE_COUNTER;
	e[reg->n] = kept;
	*reg = (struct reg){ e, reg->n + 1 };
	return 0;
}

static int text_restamp(const struct restamper *k, struct slot *s)
{
	_cleanup_(seq_freep) struct seq *old = NULL;
	_cleanup_(seq_freep) struct seq *new = NULL;
	int rc = slotseq_load(s, k->actors, &old);
	if (rc == 0)
		rc = seq_restamp(old, k->rs, &new);
	return rc < 0 ? rc : slotseq_store(k->a, new, k->actors, s);
}

/* Other keys may sort otherwise. */
static int slot_order(const void *x, const void *y)
{
	const struct slot *const *a = x, *const *b = y;
	return key_cmp((*a)->key, (*a)->key_len, (*b)->key, (*b)->key_len);
}

static bool place_restamp(const struct restamper *k, struct seq_id *id)
{
	struct dot d = { id->actor, id->seq };
	id->actor = dot_restamp(k->rs, d).actor;
	return id->actor != d.actor;
}

/* The key of an element, and the place that it has been moved to. */
static int element_restamp(const struct restamper *k, struct slot *s)
{
	struct seq_id id;
	if (!key_is_element(s->key, s->key_len))
		return 0;
	if (element_id(k->actors, s->key, s->key_len, &id) == 0 && place_restamp(k, &id)) {
		s->key = element_key(k->a, k->actors, &id, &s->key_len);
		if (!s->key)
			return -ENOMEM;
	}
	struct entry *e = arena_array(k->a, s->look.n ? s->look.n : 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->look.n; i++) {
		struct element_look l;
		uint8_t data[ELEMENT_LOOK_MAX];
		e[i] = s->look.entry[i];
		if (element_look_decode(k->actors, &e[i].value, &l) < 0 || !l.placed ||
		    !place_restamp(k, &l.place))
			continue;
		e[i].value.len = element_look_encode(k->actors, &l, data);
		e[i].value.data = (const uint8_t *)arena_dup(k->a, data, e[i].value.len);
		if (!e[i].value.data)
			return -ENOMEM;
	}
	s->look.entry = e;
	return 0;
}

/* Slots nest at most RECORD_DEPTH_MAX deep. */
static int slot_restamp(const struct restamper *k, const struct id *parent, const struct slot *s,
			struct slot **ret)
{
	struct slot *t = slot_copy(k->a, s, NULL, 0);
	struct id name;
	if (!t)
		return -ENOMEM;
	slot_name(parent, s, &name);
	int rc = element_restamp(k, t);
	if (rc == 0)
		rc = counter_cut(k, &name, &t->val);
	if (rc == 0)
		rc = reg_restamp(k, &t->val);
	if (rc == 0)
		rc = reg_restamp(k, &t->look);
	if (rc == 0 && t->seq_len > 0)
		rc = text_restamp(k, t);
	if (rc == 0)
		rc = vv_restamp(k->a, &s->cleared, k->rs, &t->cleared);
	if (rc == 0 && t->n > 0) {
		t->child = arena_array(k->a, t->n, sizeof(*t->child));
		rc = t->child ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; rc == 0 && i < t->n; i++)
		rc = slot_restamp(k, &name, s->child[i], &t->child[i]);
	if (rc == 0 && t->n > 0)
		qsort(t->child, t->n, sizeof(*t->child), slot_order);
	if (rc == 0)
		*ret = t;
	return rc;
}

static int edges_restamp(const struct restamper *k, struct record *r)
{
	struct edge edge[EDGES_MAX];
	uint32_t n = r->n_edges;
	for (uint32_t i = 0; i < n; i++) {
		edge[i] = r->edge[i];
		edge[i].dot = dot_restamp(k->rs, edge[i].dot);
		int rc = vv_restamp(k->a, &r->edge[i].seen, k->rs, &edge[i].seen);
		if (rc < 0)
			return rc;
	}
	struct visit visit[EDGES_MAX];
	uint32_t n_visits = r->n_visits;
	for (uint32_t i = 0; i < n_visits; i++) {
		visit[i] = r->visit[i];
		visit[i].dot = dot_restamp(k->rs, visit[i].dot);
	}
	/* One for each parent, so that this only sorts them. */
	r->n_edges = r->n_visits = 0;
	visit_join(k->actors, r, visit, n_visits);
	return edge_join(k->a, k->actors, r, edge, n);
}

int record_restamp(struct arena *a, const struct actors *actors, const struct record *r,
		   const struct restamp *rs, const struct counter_past *past,
		   const struct record **ret)
{
	const struct restamper k = { a, actors, rs, past };
	*ret = r;
	/* Everything in a record is covered by its context. */
	if (vv_get(&r->ctx, rs->from) <= rs->above)
		return 0;
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	int rc = vv_restamp(a, &r->ctx, rs, &c->ctx);
	if (rc == 0)
		rc = vv_restamp(a, &r->floor, rs, &c->floor);
	if (rc == 0)
		rc = edges_restamp(&k, c);
	if (rc == 0 && r->top)
		rc = slot_restamp(&k, &r->id, r->top, &c->top);
	if (rc == 0)
		*ret = c;
	return rc;
}
