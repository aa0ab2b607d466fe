/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Twins: what several writers inserted at one place, none having heard of the others, and alike to the
 * byte: two devices that run the same formatter, or correct the same mistake. All but the first
 * of them are hidden.
 *
 * In Fugue, children of one element on one side are concurrent: who knows of one inserts next to it,
 * not beside it. So twins are runs that begin with children of one element on one side and have the
 * same text. Runs are maximal, alive all over, and say the same on every replica; once somebody
 * has changed one of the twins it is none any more. A twin that is hidden when somebody saves is
 * deleted with that save. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/seq-impl.h"

struct seq_twins {
	const struct actors *actors;
	struct piece *run; /* hidden, by id */
	uint32_t n;
};

struct candidate {
	const struct piece *run;
	const uint8_t *text;
};

static int by_place(const void *x, const void *y)
{
	const struct candidate *p = x, *q = y;
	const struct seq_id *a = &p->run->parent, *b = &q->run->parent;
	if (a->actor != b->actor)
		return a->actor < b->actor ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	unsigned left = p->run->flags & PIECE_LEFT, other = q->run->flags & PIECE_LEFT;
	if (left != other)
		return left < other ? -1 : 1;
	if (p->run->len != q->run->len)
		return p->run->len < q->run->len ? -1 : 1;
	int c = memcmp(p->text, q->text, p->run->len);
	/* Runs of a part stand in the order of ids. */
	return c ? c : (p->run > q->run) - (p->run < q->run);
}

static bool alike(const struct candidate *p, const struct candidate *q)
{
	return seq_id_equal(&p->run->parent, &q->run->parent) &&
	       !((p->run->flags ^ q->run->flags) & PIECE_LEFT) && p->run->len == q->run->len &&
	       memcmp(p->text, q->text, p->run->len) == 0;
}

static int by_id(const void *x, const void *y, void *actors)
{
	const struct piece *p = x, *q = y;
	return seq_id_cmp(actors, &p->id, &q->id);
}

static int collect(const struct seq_part *d, struct seq_twins *t)
{
	struct candidate *c = reallocarray(NULL, d->n ? d->n : 1, sizeof(*c));
	t->run = reallocarray(NULL, d->n ? d->n : 1, sizeof(*t->run));
	const uint8_t *text = d->text.data;
	uint32_t n = 0;
	if (!c || !t->run) {
		free(c);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < d->n; i++) {
		if (!piece_alive(&d->run[i]))
			continue;
		c[n++] = (struct candidate){ &d->run[i], text };
		text += d->run[i].len;
	}
	qsort(c, n, sizeof(*c), by_place);
	for (uint32_t i = 1; i < n; i++)
		if (alike(&c[i - 1], &c[i]))
			t->run[t->n++] = piece_view(c[i].run, 0, c[i].run->len);
	qsort_r(t->run, t->n, sizeof(*t->run), by_id, (struct actors *)(uintptr_t)t->actors);
	free(c);
	return 0;
}

static bool one_writer(const struct seq *s)
{
	const struct leaf *first = s->first;
	for (const struct leaf *l = first; l; l = l->next)
		for (uint32_t i = 0; i < l->node.n; i++)
			if (l->piece[i].id.actor != first->piece[0].id.actor)
				return false;
	return true;
}

int seq_twins_make(const struct seq *s, struct seq_twins **ret)
{
	_cleanup_(seq_twins_freep) struct seq_twins *t = NULL;
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	*ret = NULL;
	if (s->flavour != SEQ_TEXT || one_writer(s))
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->actors = s->actors;
	int r = seq_part_make(s, NULL, &part);
	if (r == 0)
		r = collect(part, t);
	if (r == 0 && t->n > 0)
		*ret = TAKE_PTR(t);
	return r;
}

void seq_twins_free(struct seq_twins *t)
{
	if (!t)
		return;
	free(t->run);
	free(t);
}

bool seq_twins_hide(const struct seq_twins *t, const struct seq_id *id)
{
	uint32_t lo = 0, hi = t ? t->n : 0;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (seq_id_cmp(t->actors, &t->run[mid].id, id) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && piece_find(&t->run[lo - 1], id) != NOWHERE;
}

/* The visible elements that are hidden, or those that are not. */
static int base_of(const struct seq *s, const struct seq_twins *t, bool hidden,
		   struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	int r = seq_base_new(&b);
	for (const struct leaf *l = s->first; r == 0 && l; l = l->next)
		for (uint32_t i = 0; r == 0 && i < l->node.n; i++)
			if (piece_alive(&l->piece[i]) &&
			    seq_twins_hide(t, &l->piece[i].id) == hidden)
				r = base_append(b, &l->piece[i]);
	if (r == 0)
		*ret = TAKE_PTR(b);
	return r;
}

int seq_twins_base(const struct seq *s, const struct seq_twins *t, struct seq_base **ret)
{
	return base_of(s, t, false, ret);
}

int seq_twins_delete(struct seq *s, const struct seq_twins *t, struct dot dot)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	int r = base_of(s, t, true, &b);
	if (r != 0 || b->total == 0)
		return r;
	const struct seq_edit all = { 0, b->total, NULL, 0 };
	return seq_edit(s, b, NULL, &all, 1, dot);
}
