/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edits of an older version.
 *
 * The elements that a version's context covers are, in the order in which they stand now, what its
 * writer had, deleted ones included: order never changes, and parents are covered with their
 * children. So the neighbour that an insertion has there is the next covered element, and
 * whether the element on its left had a right child there can be told from where that one hangs.
 * Which elements the writer saw cannot be told, because dots of deletions are not kept exactly:
 * that is what a base is for. */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>

static int base_push(struct seq_base *b, const struct piece *p)
{
	if (b->n == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 8;
		struct piece *more = reallocarray(b->run, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		b->run = more;
		b->cap = cap;
	}
	b->run[b->n++] = *p;
	return 0;
}

int base_append(struct seq_base *b, const struct piece *p)
{
	struct piece *last = b->n > 0 ? &b->run[b->n - 1] : NULL;
	unsigned link = last ? piece_link(last, &p->id) : 0;
	uint32_t k = 0;
	if (link)
		k = p->len > 1 && !!(p->flags & PIECE_STEP) != (link == BY_STEP) ? 1 : p->len;
	b->total += p->len;
	if (k > 0) {
		last->len += k;
		last->flags |= link == BY_STEP ? PIECE_STEP : 0u;
	}
	if (k == p->len)
		return 0;
	struct piece rest = piece_view(p, k, p->len - k);
	return base_push(b, &rest);
}

int seq_base_new(struct seq_base **ret)
{
	struct seq_base *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*ret = b;
	return 0;
}

int seq_base_make(const struct seq *s, struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	int r = seq_base_new(&b);
	for (const struct leaf *l = s->first; r == 0 && l; l = l->next)
		for (uint32_t i = 0; r == 0 && i < l->node.n; i++)
			if (piece_alive(&l->piece[i]))
				r = base_append(b, &l->piece[i]);
	if (r == 0)
		*ret = TAKE_PTR(b);
	return r;
}

int seq_base_add(struct seq_base *b, const struct seq_id *id)
{
	const struct piece p = { .id = *id, .len = 1 };
	return base_append(b, &p);
}

void seq_base_free(struct seq_base *b)
{
	if (!b)
		return;
	free(b->run);
	free(b);
}

uint32_t seq_base_length(const struct seq_base *b)
{
	return b->total;
}

/* --- edits --- */

/* Goes through a base, forwards. */
struct walk {
	const struct seq_base *base;
	uint32_t run, start; /* a run and the position of its first element */
};

/* The run with the element at pos, and which of its elements that is. */
static const struct piece *walk_to(struct walk *w, uint32_t pos, uint32_t *ret_off)
{
	while (pos - w->start >= w->base->run[w->run].len)
		w->start += w->base->run[w->run++].len;
	*ret_off = pos - w->start;
	return &w->base->run[w->run];
}

struct job {
	struct seq *s;
	const struct seq_base *base;
	const struct vv *seen; /* NULL: everything */
	struct dot dot;
	struct seq_part *fresh;
};

static bool seen_at(const struct job *j, const struct piece *p, uint32_t k)
{
	return !j->seen || piece_seen(p, j->seen, j->dot) > k;
}

/* Does an element hang, over left children only, as a right child on `on`? */
static bool hangs_right(const struct seq *s, struct place at, const struct seq_id *on)
{
	bool left = true;
	struct seq_id id;
	/* Parents are always found; the root has no left children. */
	do
		id = piece_parent(&at.leaf->piece[at.i], at.off, &left);
	while (left && ids_find(s, &id, &at));
	return seq_id_equal(&id, on);
}

/* Where an insertion behind L would hang in the version: its parent and side come into p. */
static int hang_behind(const struct job *j, const struct seq_id *l, struct piece *p)
{
	struct place at = { .leaf = j->s->first };
	bool has_right = true, skipped = false;
	if (l->actor != ACTOR_NONE) {
		if (!ids_find(j->s, l, &at))
			return -EINVAL;
		const struct piece *q = &at.leaf->piece[at.i];
		has_right = ++at.off < q->len || (q->flags & PIECE_HAS_RIGHT);
	}
	/* The next element that the version has. */
	while (at.leaf) {
		if (at.i == at.leaf->node.n) {
			at = (struct place){ .leaf = at.leaf->next };
			continue;
		}
		const struct piece *q = &at.leaf->piece[at.i];
		if (at.off < q->len) {
			if (seen_at(j, q, at.off))
				break;
			skipped = true;
		}
		at.i++;
		at.off = 0;
	}
	if (!at.leaf)
		has_right = false;
	else if (has_right && skipped)
		has_right = hangs_right(j->s, at, l);
	p->parent = has_right ? piece_id(&at.leaf->piece[at.i], at.off) : *l;
	p->flags = has_right ? PIECE_LEFT : 0;
	return 0;
}

/* Are all elements that an edit deletes there? Counts the runs of them. */
static int check_deleted(const struct job *j, struct walk w, const struct seq_edit *e,
			 uint64_t *pieces)
{
	for (uint32_t n = 0, k, off; n < e->del; n += k) {
		const struct piece *run = walk_to(&w, e->pos + n, &off);
		struct seq_id id = piece_id(run, off);
		struct place at;
		if (!ids_find(j->s, &id, &at))
			return -EINVAL;
		k = piece_alike(run, off, &at.leaf->piece[at.i], at.off);
		*pieces += 2;
	}
	return 0;
}

static int delete_seen(const struct job *j, struct walk *w, const struct seq_edit *e)
{
	struct deletion gone = deletion_one(j->dot);
	for (uint32_t n = 0, k, off; n < e->del; n += k) {
		const struct piece *run = walk_to(w, e->pos + n, &off);
		struct seq_id id = piece_id(run, off);
		struct place at;
		if (ids_need(j->s) < 0 || !ids_find(j->s, &id, &at))
			return -ENOMEM;
		const struct piece *ours = &at.leaf->piece[at.i];
		k = piece_alike(run, off, ours, at.off);
		k = k < e->del - n ? k : e->del - n;
		at.text = tree_text(at.leaf, at.i) + at.off;
		if (piece_alive(ours) && tree_delete(j->s, at, k, &gone) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Checks the edits, and makes a part of what they insert, with indexes from the given one on. */
static int plan(struct job *j, const struct seq_edit *edit, size_t n, uint32_t index)
{
	struct walk w = { .base = j->base };
	struct seq_id left = ROOT;
	uint64_t pieces = j->s->pieces;
	bool chain = false; /* left was inserted by the edit before */
	uint32_t end = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct seq_edit *e = &edit[i];
		uint32_t off;
		if (e->pos < end || e->pos > j->base->total || e->del > j->base->total - e->pos)
			return -EINVAL;
		if (e->pos > end) {
			const struct piece *run = walk_to(&w, e->pos - 1, &off);
			left = piece_id(run, off);
			chain = false;
		}
		if (e->n > 0) {
			struct piece p = { .id = { j->dot.actor, index, j->dot.seq },
					   .parent = left,
					   .len = e->n };
			r = chain ? 0 : hang_behind(j, &left, &p);
			if (r == 0)
				r = part_append(j->fresh, &p, e->data);
			left = piece_last(&p);
			chain = true;
			index += e->n;
			pieces += 4 + e->n / LEAF_TEXT; /* what seq_join() asks for */
		}
		if (r == 0)
			r = check_deleted(j, w, e, &pieces);
		end = e->pos + e->del;
	}
	return r == 0 && pieces > SEQ_RUNS_MAX ? -EFBIG : r;
}

int seq_edit(struct seq *s, const struct seq_base *base, const struct vv *seen,
	     const struct seq_edit *edit, size_t n, struct dot dot)
{
	_cleanup_(seq_part_freep) struct seq_part *fresh = NULL;
	struct job j = { .s = s, .base = base, .seen = seen, .dot = dot };
	struct walk w = { .base = base };
	uint32_t total = 0, index = 0;
	for (size_t i = 0; i < n; i++) {
		if (edit[i].n > SEQ_TOTAL_MAX - s->total - total)
			return -EFBIG;
		total += edit[i].n;
	}
	int r = newest_index(s, dot, total, &index);
	if (r == 0)
		r = ids_need(s);
	if (r == 0)
		r = part_new(s->flavour, s->actors, &fresh);
	j.fresh = fresh;
	if (r == 0)
		r = plan(&j, edit, n, index);
	s->hint.leaf = NULL;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (edit[i].del > 0)
			r = delete_seen(&j, &w, &edit[i]);
	return r == 0 ? seq_join(s, fresh, NULL) : r;
}
