/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Document order out of parents: a part becomes a tree of pieces.
 *
 * A run hangs with its first element on an element of another one, or on the root. Around the
 * elements of a run, from the first to the last, stand
 *
 *     the left children of element k, before it;
 *     the right children of element k that are smaller than its successor in the run, behind it;
 *     behind the last element its right children;
 *     then, from the last element but one back to the first, the right children that are
 *     greater than the successor: all that follows in the run stands in the successor's subtree.
 *
 * So each run that hangs on another has a slot in it, slots of one run ascend, and in one slot
 * runs stand in the order of ids, which is the order of their numbers. Sorting by (run hung on,
 * slot, number) gives the order in which a walk without recursion lays everything out. Runs that
 * the walk does not reach hang on each other in a circle. */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>

struct hung {
	uint32_t slot, run;
};

struct frame {
	uint32_t run;
	uint32_t done; /* elements laid out */
	uint32_t next; /* in hung */
	bool left;     /* what was laid out last are left children of the next element */
};

struct arrangement {
	const struct seq_part *d;
	struct link *parent; /* NULL: the caller's */
	uint32_t *first;     /* by run, the root last: where its hung runs begin; one more */
	struct hung *hung;   /* sorted */
	struct frame *frame;
	uint32_t *text; /* by run: offset of its bytes */
	struct seq *s;
	struct place end;
};

static void arrangement_done(struct arrangement *a)
{
	free(a->parent);
	free(a->first);
	free(a->hung);
	free(a->frame);
	free(a->text);
	seq_free(a->s);
}

static int find_parents(const struct seq_part *d, struct link **ret)
{
	struct link *parent = reallocarray(NULL, d->n ? d->n : 1, sizeof(*parent));
	if (!parent)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++) {
		const struct seq_id *id = &d->run[i].parent;
		if (id->actor == ACTOR_NONE) {
			parent[i] = NO_LINK;
		} else if (!part_find(d, id, &parent[i])) {
			free(parent);
			return -EBADMSG;
		}
	}
	*ret = parent;
	return 0;
}

/* The slot of run i in the one that it hangs on. At most 3 * SEQ_TOTAL_MAX. */
static uint32_t slot_of(const struct seq_part *d, uint32_t i, const struct link *parent)
{
	if (parent->run == NOWHERE)
		return 0;
	uint32_t len = d->run[parent->run].len, k = parent->off;
	if (d->run[i].flags & PIECE_LEFT)
		return 2 * k;
	/* Runs do not overlap: what has the smaller number is smaller than any element of the
	 * other. */
	if (k + 1 == len || i < parent->run)
		return 2 * k + 1;
	return 2 * len + (len - k);
}

static int hung_cmp(const void *x, const void *y)
{
	const struct hung *a = x, *b = y;
	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	return a->run < b->run ? -1 : a->run > b->run;
}

/* Sorts one run's, which come in the order of numbers. */
static void sort_hung(struct hung *h, uint32_t n)
{
	if (n > 16) {
		qsort(h, n, sizeof(*h), hung_cmp);
		return;
	}
	for (uint32_t i = 1; i < n; i++) {
		struct hung x = h[i];
		uint32_t k = i;
		for (; k > 0 && h[k - 1].slot > x.slot; k--)
			h[k] = h[k - 1];
		h[k] = x;
	}
}

static int hang(struct arrangement *a, const struct link *parent)
{
	uint32_t n = a->d->n, sum = 0;
	a->first = calloc((size_t)n + 3, sizeof(*a->first));
	a->hung = reallocarray(NULL, n ? n : 1, sizeof(*a->hung));
	if (!a->first || !a->hung)
		return -ENOMEM;
	/* Counted two places ahead, and filled one ahead, so that the last round leaves first[]
	 * as it has to be. */
	for (uint32_t i = 0; i < n; i++)
		a->first[(parent[i].run == NOWHERE ? n : parent[i].run) + 2]++;
	for (uint32_t i = 0; i < n + 3; i++)
		a->first[i] = sum += a->first[i];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t on = parent[i].run == NOWHERE ? n : parent[i].run;
		a->hung[a->first[on + 1]++] = (struct hung){ slot_of(a->d, i, &parent[i]), i };
	}
	for (uint32_t i = 0; i <= n; i++)
		sort_hung(a->hung + a->first[i], a->first[i + 1] - a->first[i]);
	return 0;
}

static int text_offsets(struct arrangement *a)
{
	const struct seq_part *d = a->d;
	uint32_t sum = 0;
	a->text = reallocarray(NULL, d->n ? d->n : 1, sizeof(*a->text));
	if (!a->text)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++) {
		a->text[i] = sum;
		sum += piece_visible(&d->run[i]);
	}
	return 0;
}

/* Lays out the elements of a frame's run before `upto`; right: the last of them has right children
 * that follow. */
static int lay(struct arrangement *a, struct frame *f, uint32_t upto, bool right)
{
	const struct piece *run = &a->d->run[f->run];
	if (upto <= f->done)
		return 0;
	struct piece p = piece_view(run, f->done, upto - f->done);
	p.flags |=
		(f->left ? PIECE_HAS_LEFT : 0u) | (right || upto < run->len ? PIECE_HAS_RIGHT : 0u);
	const uint8_t *text = NULL;
	if (a->d->flavour == SEQ_TEXT && piece_alive(run))
		text = a->d->text.data + a->text[f->run] + f->done;
	f->done = upto;
	f->left = false;
	return tree_append(a->s, &a->end, &p, text);
}

/* Lays out what stands before the next hung run of a frame, or all if there is none. */
static int lay_before(struct arrangement *a, struct frame *f, const struct hung *h)
{
	uint32_t len = a->d->run[f->run].len;
	if (!h || h->slot >= 2 * len)
		return lay(a, f, len, false);
	int r = lay(a, f, h->slot / 2 + (h->slot & 1), h->slot & 1);
	f->left = !(h->slot & 1);
	return r;
}

static int walk(struct arrangement *a)
{
	uint32_t n = a->d->n, depth = 0;
	a->frame = reallocarray(NULL, (size_t)n + 1, sizeof(*a->frame));
	if (!a->frame)
		return -ENOMEM;
	a->frame[depth++] = (struct frame){ .run = n, .next = a->first[n] };
	while (depth > 0) {
		struct frame *f = &a->frame[depth - 1];
		const struct hung *h = f->next < a->first[f->run + 1] ? &a->hung[f->next++] : NULL;
		int r = f->run < n ? lay_before(a, f, h) : 0;
		if (r < 0)
			return r;
		if (h)
			a->frame[depth++] =
				(struct frame){ .run = h->run, .next = a->first[h->run] };
		else
			depth--;
	}
	return a->s->total == a->d->total ? 0 : -EBADMSG;
}

int seq_arrange(const struct seq_part *d, const struct link *parent, struct seq **ret)
{
	_cleanup_(arrangement_done) struct arrangement a = { .d = d };
	int r = seq_new(d->flavour, d->actors, &a.s);
	if (r == 0 && !parent)
		r = find_parents(d, &a.parent);
	if (r == 0)
		r = hang(&a, parent ? parent : a.parent);
	if (r == 0)
		r = text_offsets(&a);
	if (r < 0)
		return r;
	a.end = (struct place){ .leaf = a.s->first };
	r = walk(&a);
	for (uint32_t i = 0; r == 0 && i < d->n; i++) {
		struct seq_id last = piece_last(&d->run[i]);
		if (i + 1 == d->n || d->run[i + 1].id.actor != last.actor)
			r = newest_raise(a.s, &last);
	}
	if (r == 0)
		*ret = TAKE_PTR(a.s);
	return r;
}
