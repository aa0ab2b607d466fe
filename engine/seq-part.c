/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts: runs in the order of ids.
 *
 * A run of a part is a maximal stretch of elements whose ids follow one another in the part (no
 * other id of the part lies between), each the right child of the one before, all alive or all
 * deleted, in one of the two steps; scanning from the lowest id, a run takes what it can. So
 * the runs depend on the elements alone and not on how they lay in memory. */
#include "engine/seq-impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int part_new(enum seq_flavour flavour, const struct actors *actors, struct seq_part **ret)
{
	struct seq_part *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->flavour = flavour;
	d->actors = actors;
	*ret = d;
	return 0;
}

void seq_part_free(struct seq_part *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < d->n; i++)
		piece_done(&d->run[i]);
	free(d->run);
	buf_done(&d->text);
	free(d);
}

bool seq_part_empty(const struct seq_part *d)
{
	return d->n == 0;
}

enum seq_flavour seq_part_flavour(const struct seq_part *d)
{
	return d->flavour;
}

static int push(struct seq_part *d, const struct piece *view)
{
	if (d->n == d->cap) {
		uint32_t cap = d->cap ? d->cap * 2 : 8;
		struct piece *p = reallocarray(d->run, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		d->run = p;
		d->cap = cap;
	}
	int r = piece_slice(view, 0, view->len, &d->run[d->n]);
	d->n += r == 0;
	return r;
}

/* How many elements of p the last run takes. */
static uint32_t taken(const struct seq_part *d, const struct piece *p)
{
	if (d->n == 0)
		return 0;
	const struct piece *last = &d->run[d->n - 1];
	struct seq_id end = piece_last(last);
	unsigned link = piece_link(last, &p->id);
	if (link == 0 || ((last->flags ^ p->flags) & PIECE_DELETED) || (p->flags & PIECE_LEFT) ||
	    !seq_id_equal(&p->parent, &end))
		return 0;
	return p->len > 1 && !!(p->flags & PIECE_STEP) != (link == BY_STEP) ? 1 : p->len;
}

int part_append(struct seq_part *d, const struct piece *p, const uint8_t *text)
{
	uint32_t k = taken(d, p);
	if (k > 0) {
		struct piece *last = &d->run[d->n - 1];
		unsigned link = piece_link(last, &p->id);
		if (!piece_alive(p) && deletion_join(&last->gone, &p->gone) < 0)
			return -ENOMEM;
		last->len += k;
		last->flags |= link == BY_STEP ? PIECE_STEP : 0u;
	}
	if (k < p->len) {
		struct piece rest = piece_view(p, k, p->len - k);
		if (push(d, &rest) < 0)
			return -ENOMEM;
	}
	if (d->flavour == SEQ_TEXT && piece_alive(p)) {
		buf_put(&d->text, text, p->len);
		if (buf_failed(&d->text))
			return -ENOMEM;
	}
	d->total += p->len;
	return 0;
}

bool part_find(const struct seq_part *d, const struct seq_id *id, struct link *ret)
{
	uint32_t lo = 0, hi = d->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (seq_id_cmp(d->actors, &d->run[mid].id, id) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	uint32_t off = piece_find(&d->run[lo - 1], id);
	if (off == NOWHERE)
		return false;
	*ret = (struct link){ lo - 1, off };
	return true;
}

/* --- out of a tree --- */

struct key {
	uint32_t rank; /* of the actor, by identifiers */
	uint32_t from; /* elements of the piece left out */
	struct seq_id id;
	const struct piece *p;
	const uint8_t *text; /* of its first element */
};

static int key_cmp(const void *x, const void *y)
{
	const struct key *a = x, *b = y;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->id.seq != b->id.seq)
		return a->id.seq < b->id.seq ? -1 : 1;
	return a->id.index < b->id.index ? -1 : a->id.index > b->id.index;
}

struct ranked {
	uint32_t actor, place;
};

static int actor_cmp(const void *x, const void *y, void *actors)
{
	const struct ranked *a = x, *b = y;
	return actors_cmp(actors, a->actor, b->actor);
}

/* The rank of each actor that inserted something, in the order of s->newest. */
static uint32_t *ranks(const struct seq *s)
{
	uint32_t n = s->newest_n, *rank = reallocarray(NULL, n ? n : 1, sizeof(*rank));
	_cleanup_free_ struct ranked *sorted = reallocarray(NULL, n ? n : 1, sizeof(*sorted));
	if (!rank || !sorted) {
		free(rank);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = (struct ranked){ s->newest[i].actor, i };
	qsort_r(sorted, n, sizeof(*sorted), actor_cmp, (struct actors *)(uintptr_t)s->actors);
	for (uint32_t i = 0; i < n; i++)
		rank[sorted[i].place] = i;
	return rank;
}

/* The first element of p that goes into a part for `known`; NOWHERE: none does. */
static uint32_t wanted_from(const struct piece *p, const struct vv *known, bool seeds)
{
	if (!known || (seeds && seq_is_seed(&p->id)) ||
	    (!piece_alive(p) && deletion_beyond(&p->gone, known)))
		return 0;
	uint32_t k = piece_seen(p, known, (struct dot){ ACTOR_NONE, 0 });
	return k < p->len ? k : NOWHERE;
}

/* Has a peer who has seen `known` an edit that stands on the seed's piece? */
static bool edit_seen(const struct piece *p, const struct vv *known)
{
	struct vv_item room;
	if (!seq_is_seed(&p->id))
		return seq_is_seed(&p->parent) &&
		       vv_has(known, (struct dot){ p->id.actor, p->id.seq });
	if (piece_alive(p))
		return false;
	const struct vv gone = deletion_vv(&p->gone, &room);
	for (uint32_t i = 0; i < gone.n; i++)
		if (vv_has(known, (struct dot){ gone.item[i].actor, gone.item[i].seq }))
			return true;
	return false;
}

/* Do seeds go along? Their dots are those of values, and say nothing of who knows that these became
 * texts. But nobody has an edit without what it was made in. Of several seeds it is not worth telling
 * which one a peer has. */
static bool lacks_seeds(const struct seq *s, const struct vv *known)
{
	const struct piece *seed = NULL;
	bool beyond = false, has = false, several = false;
	for (const struct leaf *l = s->first; known && l; l = l->next)
		for (uint32_t i = 0; i < l->node.n; i++) {
			const struct piece *p = &l->piece[i];
			beyond = beyond || wanted_from(p, known, false) != NOWHERE;
			has = has || edit_seen(p, known);
			if (!seq_is_seed(&p->id))
				continue;
			several = several || (seed && (seed->id.actor != p->id.actor ||
						       seed->id.seq != p->id.seq));
			seed = p;
		}
	return seed && beyond && (several || !has);
}

static int collect(const struct seq *s, const struct vv *known, struct key **ret, uint32_t *ret_n)
{
	const bool seeds = s->flavour == SEQ_TEXT && lacks_seeds(s, known);
	_cleanup_free_ uint32_t *rank = ranks(s);
	uint32_t n = 0, cap = known ? 64 : s->pieces + 1;
	struct key *key = reallocarray(NULL, cap, sizeof(*key));
	if (!rank || !key)
		goto nomem;
	for (const struct leaf *l = s->first; l; l = l->next) {
		const uint8_t *text = l->text;
		if (known && !seeds && !leaf_beyond(l, known))
			continue;
		for (uint32_t i = 0; i < l->node.n; i++) {
			const struct piece *p = &l->piece[i];
			uint32_t from = wanted_from(p, known, seeds);
			const uint8_t *bytes = piece_alive(p) ? text : NULL;
			if (bytes)
				text += p->len;
			if (from == NOWHERE)
				continue;
			if (n == cap) {
				struct key *more = reallocarray(key, cap *= 2, sizeof(*key));
				if (!more)
					goto nomem;
				key = more;
			}
			key[n++] = (struct key){ rank[newest_at(s, p->id.actor)], from,
						 piece_id(p, from), p, bytes };
		}
	}
	qsort(key, n, sizeof(*key), key_cmp);
	*ret = key;
	*ret_n = n;
	return 0;
nomem:
	free(key);
	return -ENOMEM;
}

/* Appends the wanted elements of one piece that are below the id of the next one; true in *cut:
 * some are left, and k is what they begin with. */
static int append_key(struct seq_part *d, struct key *k, const struct key *next, bool *cut)
{
	uint32_t n = k->p->len - k->from, all = n;
	struct piece view = piece_view(k->p, k->from, n);
	if (next && next->id.actor == view.id.actor)
		n = piece_below(&view, &next->id);
	*cut = n < all;
	if (*cut)
		view = piece_view(k->p, k->from, n);
	int r = part_append(d, &view, k->text ? k->text + k->from : NULL);
	k->from += n;
	k->id = *cut ? piece_id(k->p, k->from) : k->id;
	return r;
}

int seq_part_make(const struct seq *s, const struct vv *known, struct seq_part **ret)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	_cleanup_free_ struct key *key = NULL;
	uint32_t n = 0;
	int r = part_new(s->flavour, s->actors, &d);
	if (r == 0)
		r = collect(s, known, &key, &n);
	/* A piece that goes on from batch to batch may have other ids of one of its batches between
	 * its own. What follows those waits in `rest`; nothing else cuts it there. */
	struct key rest = { .p = NULL };
	bool cut;
	for (uint32_t i = 0; r == 0 && (i < n || rest.p);) {
		const struct key *next = i < n ? &key[i] : NULL;
		if (rest.p && (!next || key_cmp(&rest, next) < 0)) {
			r = append_key(d, &rest, next, &cut);
			rest.p = cut ? rest.p : NULL;
			continue;
		}
		struct key *k = &key[i++];
		r = append_key(d, k, i < n ? &key[i] : NULL, &cut);
		assert(r < 0 || !cut || !rest.p);
		if (cut)
			rest = *k;
	}
	if (r == 0)
		*ret = TAKE_PTR(d);
	return r;
}

/* --- union --- */

/* What is left of a part. */
struct tail {
	const struct seq_part *d;
	uint32_t run, off;
	const uint8_t *text;
};

static struct piece tail_run(const struct tail *t)
{
	const struct piece *p = &t->d->run[t->run];
	return piece_view(p, t->off, p->len - t->off);
}

static void tail_skip(struct tail *t, uint32_t k)
{
	const struct piece *p = &t->d->run[t->run];
	if (t->text && piece_alive(p))
		t->text += k;
	t->off += k;
	if (t->off == p->len) {
		t->run++;
		t->off = 0;
	}
}

/* Appends k elements of what a tail begins with. */
static int tail_move(struct tail *t, uint32_t k, struct seq_part *d)
{
	struct piece p = tail_run(t), head = piece_view(&p, 0, k);
	int r = part_append(d, &head, t->text);
	tail_skip(t, k);
	return r;
}

/* The elements that both begin with. */
static int tail_both(struct tail *x, struct tail *y, struct seq_part *d)
{
	struct piece p = tail_run(x), q = tail_run(y);
	uint32_t k = p.len < q.len ? p.len : q.len;
	if (k > 1 && ((p.flags ^ q.flags) & PIECE_STEP))
		k = 1;
	/* x is where the union is wanted: its dots of deletions stay. */
	struct piece head = piece_view(!piece_alive(&q) && piece_alive(&p) ? &q : &p, 0, k);
	int r = part_append(d, &head, x->text);
	tail_skip(x, k);
	tail_skip(y, k);
	return r;
}

int part_union(const struct seq_part *x, const struct seq_part *y, struct seq_part **ret)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	struct tail a = { x, 0, 0, x->text.data }, b = { y, 0, 0, y->text.data };
	int r = part_new(x->flavour, x->actors, &d);
	while (r == 0 && (a.run < x->n || b.run < y->n)) {
		if (b.run == y->n || a.run == x->n) {
			struct tail *t = b.run == y->n ? &a : &b;
			r = tail_move(t, tail_run(t).len, d);
			continue;
		}
		struct piece p = tail_run(&a), q = tail_run(&b);
		bool same = p.id.actor == q.id.actor;
		int c = seq_id_cmp(x->actors, &p.id, &q.id);
		if (c == 0)
			r = tail_both(&a, &b, d);
		else if (c < 0)
			r = tail_move(&a, same ? piece_below(&p, &q.id) : p.len, d);
		else
			r = tail_move(&b, same ? piece_below(&q, &p.id) : q.len, d);
	}
	if (r == 0)
		*ret = TAKE_PTR(d);
	return r;
}
