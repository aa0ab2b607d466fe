/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making and joining deltas. Why this is right:
 *
 * A record's context is causally closed: whoever minted a dot of it had everything the record's
 * context then covered. F = min(context, known) is closed as well, since `known` is.
 * A register that differs between the states at F and at T either holds an entry beyond F, and
 * is carried, or lost entries to a removal beyond F. The latter left a mark at the slot or
 * above, which is beyond F (or stands for one that is, see slot_remove) and makes that part
 * complete. Marks that were dropped are covered by floor, and F covers floor or the delta is whole.
 */
#include "engine/delta.h"

#include <errno.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/purged.h"
#include "engine/slotseq.h"

/* --- making --- */

struct maker {
	struct arena *a;
	const struct actors *actors;
	const struct vv *from;
	bool all; /* nothing has been left out yet */
};

static bool reg_beyond(struct maker *m, const struct reg *reg)
{
	for (uint32_t i = 0; i < reg->n; i++)
		if (!vv_has(m->from, reg->entry[i].dot))
			return true;
	if (reg->n > 0)
		m->all = false;
	return false;
}

/* The part of v beyond from. */
static int vv_beyond(struct arena *a, const struct vv *from, const struct vv *v, struct vv *ret)
{
	struct vv out = { arena_array(a, v->n, sizeof(*out.item)), 0, 0 };
	if (!out.item)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++)
		if (!vv_has(from, (struct dot){ v->item[i].actor, v->item[i].seq }))
			out.item[out.n++] = v->item[i];
	*ret = out;
	return 0;
}

static int make_slot(struct maker *m, const struct slot *s, struct slot **ret);

static int make_children(struct maker *m, const struct slot *s, struct slot *to)
{
	to->child = NULL;
	to->n = 0;
	for (uint32_t i = 0; i < s->n; i++) {
		struct slot *c;
		int r = make_slot(m, s->child[i], &c);
		if (r < 0)
			return r;
		if (!c)
			continue;
		if (!to->child)
			to->child = arena_alloc(m->a, (s->n - i) * sizeof(*to->child));
		if (!to->child)
			return -ENOMEM;
		to->child[to->n++] = c;
	}
	return 0;
}

static int make_slot(struct maker *m, const struct slot *s, struct slot **ret)
{
	struct slot t = { .key = s->key, .key_len = s->key_len };
	int r = 0;
	if (s->cleared.n > 0 && !vv_covers(m->from, &s->cleared)) {
		t = *s;
		t.carried = SLOT_VAL | SLOT_LOOK | SLOT_COMPLETE;
		r = vv_beyond(m->a, m->from, &s->cleared, &t.cleared);
	} else {
		if (reg_beyond(m, &s->val)) {
			t.val = s->val;
			t.carried |= SLOT_VAL;
		}
		if (reg_beyond(m, &s->look)) {
			t.look = s->look;
			t.carried |= SLOT_LOOK;
		}
		r = make_children(m, s, &t);
		if (r == 0)
			r = slotseq_part(m->a, s, m->actors, m->from, &t);
		if (t.seq_len != s->seq_len)
			m->all = false;
	}
	if (r < 0)
		return r;
	*ret = NULL;
	if (!t.carried && t.n == 0 && t.seq_len == 0)
		return 0;
	*ret = arena_alloc(m->a, sizeof(t));
	if (!*ret)
		return -ENOMEM;
	**ret = t;
	return 0;
}

static int whole(struct arena *a, const struct record *r, struct delta **ret)
{
	struct delta *d = arena_new(a, struct delta);
	if (!d)
		return -ENOMEM;
	d->state = *r;
	d->complete = true;
	*ret = d;
	return 0;
}

/* What a damaged record that is purged holds is nobody else's: they would refuse it. */
static int whole_bare(struct arena *a, const struct record *r, struct delta **ret)
{
	int rc = whole(a, r, ret);
	if (rc == 0)
		record_bare(&(*ret)->state);
	return rc;
}

/* The edges and visits that the peer lacks; an edge comes with its directory's visit and a visit with
 * the edge, which costs the least to write. True when that is all of them. */
static bool make_edges(const struct actors *actors, const struct record *r, const struct vv *from,
		       struct record *ret)
{
	ret->n_edges = ret->n_visits = 0;
	for (uint32_t i = 0; i < r->n_edges; i++) {
		const struct edge *e = &r->edge[i];
		const struct visit *v = record_visit(r, &e->parent);
		/* What an edge to TRASH saw may have grown through one that it outranks. */
		if (!vv_has(from, e->dot) || (v && !vv_has(from, v->dot)) || !vv_covers(from, &e->seen)) {
			ret->edge[ret->n_edges++] = *e;
			if (v)
				visit_join(actors, ret, v, 1);
		}
	}
	for (uint32_t i = 0; i < r->n_visits; i++)
		if (!vv_has(from, r->visit[i].dot))
			visit_join(actors, ret, &r->visit[i], 1);
	for (uint32_t i = ret->n_edges; i < EDGES_MAX; i++)
		ret->edge[i] = (struct edge){ 0 };
	for (uint32_t i = ret->n_visits; i < EDGES_MAX; i++)
		ret->visit[i] = (struct visit){ 0 };
	return ret->n_edges == r->n_edges && ret->n_visits == r->n_visits;
}

int delta_make(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct vv *known, bool complete, struct delta **ret)
{
	if (complete)
		return whole_bare(a, r, ret);
	if (vv_covers(known, &r->ctx)) {
		*ret = NULL;
		return 0;
	}
	if (record_is_purged(r))
		return whole_bare(a, r, ret);
	struct vv from = { arena_array(a, r->ctx.n, sizeof(*from.item)), 0, 0 };
	if (!from.item)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->ctx.n; i++) {
		struct vv_item item = r->ctx.item[i];
		uint64_t k = vv_get(known, item.actor);
		if (k < item.seq)
			item.seq = k;
		if (item.seq > 0)
			from.item[from.n++] = item;
	}
	if (from.n == 0 || !vv_covers(&from, &r->floor))
		return whole(a, r, ret);

	struct delta *d = arena_new(a, struct delta);
	struct maker m = { a, actors, &from, true };
	if (!d)
		return -ENOMEM;
	d->from = from;
	d->state = *r;
	d->state.floor = (struct vv){ 0 };
	m.all = make_edges(actors, r, &from, &d->state);
	d->state.top = NULL;
	int err = r->top ? make_slot(&m, r->top, &d->state.top) : 0;
	if (err < 0)
		return err;
	/* Where nothing was left out the whole record costs no more, and fits everywhere: a
	 * new record needs no second round. */
	if (m.all)
		return whole(a, r, ret);
	*ret = d;
	return 0;
}

bool delta_fits(const struct delta *d, const struct vv *ctx, const struct vv *have)
{
	if (!ctx)
		return d->from.n == 0;
	for (uint32_t i = 0; i < d->from.n; i++) {
		struct dot dot = { d->from.item[i].actor, d->from.item[i].seq };
		if (!vv_has(ctx, dot) && !vv_has(have, dot))
			return false;
	}
	return true;
}

/* --- joining --- */

struct joiner {
	struct arena *a;
	const struct actors *actors;
	const struct vv *mine, *theirs; /* the contexts */
	const struct vv *floor;         /* of the result: marks that it covers are not taken */
};

static int join_marks(const struct joiner *j, const struct vv *x, const struct vv *y,
		      struct vv *ret)
{
	struct vv above = { 0 };
	if (y->n > 0 && !vv_covers(j->floor, y)) {
		int r = vv_beyond(j->a, j->floor, y, &above);
		if (r < 0)
			return r;
	}
	return vv_arena_join(j->a, x, &above, ret);
}

static int join_slot(const struct joiner *j, struct slot *x, struct slot *y, bool complete,
		     struct slot **ret);

static int join_children(const struct joiner *j, struct slot *x, struct slot *y, bool complete,
			 struct slot *to)
{
	struct slot **out = NULL;
	uint32_t i = 0, k = 0, n = 0;
	bool same = true;
	if (y->n == 0 && !complete)
		return 0;
	if (x->n + (uint64_t)y->n > 0) {
		out = arena_alloc(j->a, ((size_t)x->n + y->n) * sizeof(*out));
		if (!out)
			return -ENOMEM;
	}
	while (i < x->n || k < y->n) {
		struct slot *p = i < x->n ? x->child[i] : NULL, *q = k < y->n ? y->child[k] : NULL;
		int r = !p ? 1 : !q ? -1 : key_cmp(p->key, p->key_len, q->key, q->key_len);
		struct slot *one = r <= 0 ? p : NULL, *joined = NULL;
		int err = join_slot(j, one, r >= 0 ? q : NULL, complete, &joined);
		if (err < 0)
			return err;
		i += r <= 0;
		k += r >= 0;
		same = same && joined == one;
		if (joined)
			out[n++] = joined;
	}
	if (!same) {
		to->child = out;
		to->n = n;
	}
	return 0;
}

/* A part of a sequence that is new here must be all of it. */
static int check_seqs(const struct joiner *j, const struct slot *y)
{
	struct slot whole = { 0 };
	int r = slotseq_join(j->a, NULL, y, j->actors, &whole);
	for (uint32_t i = 0; r == 0 && i < y->n; i++)
		r = check_seqs(j, y->child[i]);
	return r;
}

/* x: mine, y: theirs; either may be NULL. */
static int join_slot(const struct joiner *j, struct slot *x, struct slot *y, bool complete,
		     struct slot **ret)
{
	static const struct dot none;
	if (!y) {
		*ret = x;
		if (!complete || !x)
			return 0;
		return slot_filter(j->a, x, &(struct seen){ j->theirs, none }, false, ret);
	}
	complete = complete || y->carried & SLOT_COMPLETE;
	if (!x) {
		int r = check_seqs(j, y);
		if (r == 0)
			r = slot_filter(j->a, y, &(struct seen){ j->mine, none }, false, ret);
		return r < 0 || !*ret ? r : slot_drop_marks(j->a, *ret, j->floor, ret);
	}
	struct slot t = *x;
	int r = slotseq_join(j->a, x, y, j->actors, &t);
	if (r == 0 && (complete || y->carried & SLOT_VAL))
		r = reg_join(j->a, j->actors, &x->val, j->mine, &y->val, j->theirs, &t.val);
	if (r == 0 && (complete || y->carried & SLOT_LOOK))
		r = reg_join(j->a, j->actors, &x->look, j->mine, &y->look, j->theirs, &t.look);
	if (r == 0)
		r = join_marks(j, &x->cleared, &y->cleared, &t.cleared);
	if (r == 0)
		r = join_children(j, x, y, complete, &t);
	if (r < 0)
		return r;
	if (t.val.entry == x->val.entry && t.val.n == x->val.n && t.look.entry == x->look.entry &&
	    t.look.n == x->look.n && t.seq == x->seq && t.child == x->child && t.n == x->n &&
	    vv_equal(&t.cleared, &x->cleared)) {
		*ret = x;
		return 0;
	}
	*ret = slot_empty(&t) ? NULL : slot_copy(j->a, &t, NULL, 0);
	return *ret || slot_empty(&t) ? 0 : -ENOMEM;
}

static bool edges_equal(const struct record *x, const struct record *y)
{
	if (x->n_edges != y->n_edges)
		return false;
	for (uint32_t i = 0; i < x->n_edges; i++) {
		const struct edge *e = &x->edge[i], *f = &y->edge[i];
		if (e->dot.actor != f->dot.actor || e->dot.seq != f->dot.seq ||
		    !id_equal(&e->parent, &f->parent) || !vv_equal(&e->seen, &f->seen))
			return false;
	}
	return true;
}

static bool visits_equal(const struct actors *actors, const struct record *x, const struct record *y)
{
	bool equal = x->n_visits == y->n_visits;
	for (uint32_t i = 0; equal && i < x->n_visits; i++)
		equal = visit_rank(actors, &x->visit[i], &y->visit[i]) == 0;
	return equal;
}

int delta_join(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct delta *d, const struct record **ret)
{
	struct record none = { .id = d->state.id, .scope = d->state.scope, .kind = d->state.kind };
	const struct record *x = r ? r : &none, *y = &d->state;
	if (!id_equal(&x->id, &y->id) || x->kind != y->kind ||
	    (d->complete && !id_equal(&x->scope, &y->scope)))
		return -EBADMSG;
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *x;
	struct joiner j = { a, actors, &x->ctx, &y->ctx, &c->floor };
	int err = vv_arena_join(a, &x->ctx, &y->ctx, &c->ctx);
	if (err == 0)
		err = vv_arena_join(a, &x->floor, &y->floor, &c->floor);
	if (err == 0)
		err = edge_join(a, actors, c, y->edge, y->n_edges);
	/* What a delta leaves out is not there any more. */
	if (err == 0 && record_is_purged(c))
		record_bare(c);
	else if (err == 0)
		err = join_slot(&j, x->top, y->top, d->complete, &c->top);
	if (err < 0)
		return err;
	visit_join(actors, c, y->visit, y->n_visits);
	if (r && c->top == r->top && vv_equal(&c->ctx, &r->ctx) && vv_equal(&c->floor, &r->floor) &&
	    edges_equal(c, r) && visits_equal(actors, c, r)) {
		*ret = r;
		return 0;
	}
	if (c->top && !vv_equal(&c->floor, &x->floor))
		err = slot_drop_marks(a, c->top, &c->floor, &c->top);
	if (err == 0)
		err = record_bound_marks(a, c);
	if (err < 0)
		return err;
	*ret = c;
	return 0;
}

int record_join(struct arena *a, const struct actors *actors, const struct record *x,
		const struct record *y, const struct record **ret)
{
	struct delta *d;
	int err = whole(a, y, &d);
	return err < 0 ? err : delta_join(a, actors, x, d, ret);
}
