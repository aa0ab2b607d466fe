/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Joining a part into a sequence.
 *
 * First everything is checked, so that a refusal changes nothing: each element of the part that we
 * have must be the same one, and each that we lack must hang, over elements that we lack, on one
 * that we have. That also gives an order in which parents come before children.
 *
 * Then the elements are put where they hang. A child that is the first on its side of its parent
 * stands next to it. One that has a sibling there is concurrent with it, and may belong behind a
 * whole subtree: then, or when the part is about as large as what we have, the union is
 * laid out anew. */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Elements of one run of the part that we lack. */
struct fresh {
	uint32_t run, off, len;
	uint32_t text;        /* offset of their bytes */
	uint32_t parent;      /* fresh; NOWHERE: we have it */
	uint32_t first, next; /* those that hang on this one; NOWHERE: the end */
};

struct plan {
	struct seq *s;
	const struct seq_part *d;
	struct fresh *fresh; /* sorted by run, off */
	uint32_t n, cap;
	uint32_t total;  /* elements */
	uint32_t *order; /* of fresh, parents first */
	struct err *e;
};

static void plan_done(struct plan *p)
{
	free(p->fresh);
	free(p->order);
}

static int bad(const struct plan *p, const char *why)
{
	return err_set(p->e, -EBADMSG, "bad sequence: %s", why);
}

static int add_fresh(struct plan *p, uint32_t run, uint32_t off, uint32_t len, uint32_t text)
{
	if (p->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 8;
		struct fresh *more = reallocarray(p->fresh, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->fresh = more;
		p->cap = cap;
	}
	p->fresh[p->n++] = (struct fresh){ run, off, len, text, NOWHERE, NOWHERE, NOWHERE };
	p->total += len;
	return 0;
}

/* Elements off … of run r that we have, as many as lie in one piece. */
static int check_known(const struct plan *p, const struct piece *run, uint32_t off,
		       const uint8_t *text, struct place *at, uint32_t *ret_n)
{
	const struct piece *ours = &at->leaf->piece[at->i];
	uint32_t n = piece_alike(run, off, ours, at->off);
	bool left, our_left;
	struct seq_id parent = piece_parent(run, off, &left);
	struct seq_id our_parent = piece_parent(ours, at->off, &our_left);
	if (left != our_left || !seq_id_equal(&parent, &our_parent))
		return bad(p, "an element hangs elsewhere");
	if (text && piece_alive(ours) && piece_alive(run)) {
		const uint8_t *our_text = at->leaf->text + tree_text(at->leaf, at->i) + at->off;
		if (memcmp(text, our_text, n) != 0)
			return bad(p, "an element has another byte");
	}
	*ret_n = n;
	return 0;
}

static int check_run(struct plan *p, uint32_t r, uint32_t text)
{
	const struct piece *run = &p->d->run[r];
	bool bytes = p->d->flavour == SEQ_TEXT && piece_alive(run);
	for (uint32_t off = 0, n = 0; off < run->len; off += n) {
		struct seq_id id = piece_id(run, off);
		struct place at;
		int ret;
		if (ids_find(p->s, &id, &at)) {
			ret = check_known(p, run, off, bytes ? p->d->text.data + text + off : NULL,
					  &at, &n);
		} else {
			n = ids_unknown(p->s, run, off);
			ret = add_fresh(p, r, off, n, text + (bytes ? off : 0));
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The fresh elements with this place in the part; NOWHERE: we have it. */
static uint32_t fresh_at(const struct plan *p, const struct link *at)
{
	uint32_t lo = 0, hi = p->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct fresh *f = &p->fresh[mid];
		if (f->run < at->run || (f->run == at->run && f->off <= at->off))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return NOWHERE;
	const struct fresh *f = &p->fresh[lo - 1];
	return f->run == at->run && at->off - f->off < f->len ? lo - 1 : NOWHERE;
}

static int find_parent(struct plan *p, struct fresh *f)
{
	bool left;
	struct seq_id parent = piece_parent(&p->d->run[f->run], f->off, &left);
	struct link link;
	struct place at;
	if (parent.actor == ACTOR_NONE)
		return left ? bad(p, "an element left of the root") : 0;
	if (part_find(p->d, &parent, &link))
		f->parent = fresh_at(p, &link);
	if (f->parent == NOWHERE && !ids_find(p->s, &parent, &at))
		return bad(p, "an element without its parent");
	return 0;
}

/* Puts parents before children. */
static int put_in_order(struct plan *p)
{
	uint32_t n = 0;
	p->order = reallocarray(NULL, p->n ? p->n : 1, sizeof(*p->order));
	if (!p->order)
		return -ENOMEM;
	/* Downwards, so that children go up by number: that is how runs grow. */
	for (uint32_t i = p->n; i-- > 0;) {
		struct fresh *f = &p->fresh[i];
		if (f->parent == NOWHERE)
			continue;
		f->next = p->fresh[f->parent].first;
		p->fresh[f->parent].first = i;
	}
	for (uint32_t i = 0; i < p->n; i++)
		if (p->fresh[i].parent == NOWHERE)
			p->order[n++] = i;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = p->fresh[p->order[i]].first; c != NOWHERE; c = p->fresh[c].next)
			p->order[n++] = c;
	return n == p->n ? 0 : bad(p, "elements that are each other's ancestors");
}

static int make_plan(struct plan *p)
{
	uint32_t text = 0, pieces = 0;
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < p->d->n; i++) {
		r = check_run(p, i, text);
		text += piece_visible(&p->d->run[i]);
	}
	for (uint32_t i = 0; r == 0 && i < p->n; i++) {
		r = find_parent(p, &p->fresh[i]);
		pieces += p->fresh[i].len / LEAF_TEXT;
	}
	if (r == 0)
		r = put_in_order(p);
	/* A fresh run may cut a piece in two, a deletion of one of ours in three. */
	if (r == 0 &&
	    (p->total > SEQ_TOTAL_MAX - p->s->total ||
	     (uint64_t)p->s->pieces + pieces + 2 * ((uint64_t)p->n + p->d->n) > SEQ_RUNS_MAX))
		r = err_set(p->e, -EFBIG, "a sequence of more than %u elements or %u runs",
			    SEQ_TOTAL_MAX, SEQ_RUNS_MAX);
	return r;
}

/* Deletes those of our elements that a deleted run has; k is the first of its fresh ones. */
static int join_deleted(struct plan *p, const struct piece *run, uint32_t k)
{
	for (uint32_t off = 0, n; off < run->len; off += n) {
		if (k < p->n && &p->d->run[p->fresh[k].run] == run && p->fresh[k].off == off) {
			n = p->fresh[k++].len;
			continue;
		}
		struct seq_id id = piece_id(run, off);
		struct place at;
		if (ids_need(p->s) < 0 || !ids_find(p->s, &id, &at))
			return -ENOMEM;
		const struct piece *ours = &at.leaf->piece[at.i];
		n = piece_alike(run, off, ours, at.off);
		at.text = tree_text(at.leaf, at.i) + at.off;
		if (piece_alive(ours) && tree_delete(p->s, at, n, &run->gone) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int join_deletions(struct plan *p)
{
	int r = 0;
	for (uint32_t i = 0, k = 0; r == 0 && i < p->d->n; i++) {
		if (!piece_alive(&p->d->run[i]))
			r = join_deleted(p, &p->d->run[i], k);
		while (k < p->n && p->fresh[k].run == i)
			k++;
	}
	return r;
}

/* The gap where the first child on that side of a parent goes, and what the neighbours have to
 * know. 1: the parent has a child there already. */
static int gap_beside(struct seq *s, const struct seq_id *parent, bool left, struct place *ret)
{
	struct place at = { .leaf = s->first };
	if (parent->actor == ACTOR_NONE) {
		*ret = at;
		return s->total > 0;
	}
	if (ids_need(s) < 0 || !ids_find(s, parent, &at))
		return -ENOMEM;
	struct piece *p = &at.leaf->piece[at.i];
	if (left ? at.off == 0 && (p->flags & PIECE_HAS_LEFT)
		 : at.off + 1 < p->len || (p->flags & PIECE_HAS_RIGHT))
		return 1;
	at.text = tree_text(at.leaf, at.i) + (piece_alive(p) ? at.off + !left : 0);
	if (!left) {
		p->flags |= PIECE_HAS_RIGHT;
		at.off++;
	} else if (at.off == 0) {
		p->flags |= PIECE_HAS_LEFT;
	} else {
		if (tree_room(s, &at, 2) < 0 || tree_cut(s, at.leaf, at.i, at.off) < 0)
			return -ENOMEM;
		at.leaf->piece[++at.i].flags |= PIECE_HAS_LEFT;
		at.off = 0;
	}
	*ret = at;
	return 0;
}

/* 1: it has a sibling. */
static int join_fresh(struct plan *p, const struct fresh *f)
{
	struct piece run;
	struct place at;
	bool left;
	struct seq_id parent = piece_parent(&p->d->run[f->run], f->off, &left);
	int r = gap_beside(p->s, &parent, left, &at);
	if (r != 0)
		return r;
	if (piece_slice(&p->d->run[f->run], f->off, f->len, &run) < 0)
		return -ENOMEM;
	struct seq_id last = piece_last(&run);
	const uint8_t *text = p->d->text.data;
	r = seq_put_run(p->s, &at, &run, text ? text + f->text : NULL);
	return r < 0 ? r : newest_raise(p->s, &last);
}

/* Lays out the union anew. */
static int join_all(struct plan *p)
{
	_cleanup_(seq_part_freep) struct seq_part *ours = NULL, *both = NULL;
	_cleanup_(seq_freep) struct seq *s = NULL;
	int r = seq_part_make(p->s, NULL, &ours);
	if (r == 0)
		r = part_union(ours, p->d, &both);
	if (r == 0)
		r = seq_arrange(both, NULL, &s);
	for (uint32_t i = 0; r == 0 && i < s->newest_n; i++) {
		const struct newest *n = &s->newest[i];
		r = newest_raise(p->s, &(struct seq_id){ n->actor, n->next - 1, n->seq });
	}
	if (r == 0)
		tree_take(p->s, s);
	return r;
}

int seq_join(struct seq *s, const struct seq_part *d, struct err *e)
{
	_cleanup_(plan_done) struct plan p = { .s = s, .d = d, .e = e };
	if (s->flavour != d->flavour)
		return bad(&p, "a text and a list");
	int r = ids_need(s);
	if (r == 0)
		r = make_plan(&p);
	if (r < 0)
		return r;
	s->hint.leaf = NULL;
	if (p.n > s->pieces / 4)
		return join_all(&p);
	r = join_deletions(&p);
	for (uint32_t i = 0; r == 0 && i < p.n; i++)
		r = join_fresh(&p, &p.fresh[p.order[i]]);
	return r == 1 ? join_all(&p) : r;
}
