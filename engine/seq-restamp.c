/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequences under other names (engine/restamp.h): each run is cut where its ids go beyond the number,
 * and the pieces are put in the order that their new ids have. */
#include "engine/restamp.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/seq-impl.h"

/* How many elements of the piece keep their names. */
static uint32_t staying(const struct restamp *rs, const struct piece *p)
{
	if (p->id.actor != rs->from)
		return p->len;
	if (p->id.seq > rs->above)
		return 0;
	if (!(p->flags & PIECE_STEP) || rs->above - p->id.seq >= p->len - 1)
		return p->len;
	return (uint32_t)(rs->above - p->id.seq) + 1;
}

static struct seq_id id_restamp(const struct restamp *rs, struct seq_id id)
{
	if (id.actor == rs->from && id.seq > rs->above)
		id.actor = rs->to;
	return id;
}

/* gone is owned. */
static int deletion_restamp(const struct restamp *rs, struct deletion *gone)
{
	if (gone->actor != DELETION_MANY) {
		if (gone->actor == rs->from && gone->seq > rs->above)
			gone->actor = rs->to;
		return 0;
	}
	struct vv *v = gone->many;
	uint64_t seq = vv_get(v, rs->from);
	if (seq <= rs->above)
		return 0;
	/* As before, one newest dot stands for all. */
	vv_lower(v, rs->from, 0);
	return vv_raise(v, rs->to, seq);
}

struct bit {
	struct piece piece; /* gone: owned */
	const uint8_t *text;
};

struct bits {
	const struct actors *actors;
	struct bit *bit;
	uint32_t n;
};

static void bits_done(struct bits *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		piece_done(&b->bit[i].piece);
	free(b->bit);
}

static int bits_add(struct bits *b, const struct restamp *rs, const struct piece *p, uint32_t from,
		    uint32_t len, const uint8_t *text)
{
	struct bit *bit = &b->bit[b->n];
	if (len == 0)
		return 0;
	if (piece_slice(p, from, len, &bit->piece) < 0)
		return -ENOMEM;
	b->n++;
	bit->text = text ? text + from : NULL;
	bit->piece.id = id_restamp(rs, bit->piece.id);
	bit->piece.parent = id_restamp(rs, bit->piece.parent);
	return piece_alive(&bit->piece) ? 0 : deletion_restamp(rs, &bit->piece.gone);
}

static int bit_cmp(const void *x, const void *y, void *actors)
{
	const struct bit *a = x, *b = y;
	return seq_id_cmp(actors, &a->piece.id, &b->piece.id);
}

static int part_restamp(const struct seq_part *d, const struct restamp *rs, struct seq_part **ret)
{
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	_cleanup_(bits_done) struct bits b = { .actors = d->actors };
	const uint8_t *text = d->flavour == SEQ_TEXT ? d->text.data : NULL;
	int rc = part_new(d->flavour, d->actors, &part);
	if (rc == 0) {
		b.bit = reallocarray(NULL, d->n ? d->n : 1, 2 * sizeof(*b.bit));
		rc = b.bit ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; rc == 0 && i < d->n; i++) {
		const struct piece *p = &d->run[i];
		const uint8_t *bytes = text && piece_alive(p) ? text : NULL;
		uint32_t k = staying(rs, p);
		rc = bits_add(&b, rs, p, 0, k, bytes);
		if (rc == 0)
			rc = bits_add(&b, rs, p, k, p->len - k, bytes);
		text = bytes ? bytes + p->len : text;
	}
	if (rc == 0 && b.n > 0)
		qsort_r(b.bit, b.n, sizeof(*b.bit), bit_cmp, (struct actors *)(uintptr_t)d->actors);
	for (uint32_t i = 0; rc == 0 && i < b.n; i++)
		rc = part_append(part, &b.bit[i].piece, b.bit[i].text);
	if (rc == 0)
		*ret = TAKE_PTR(part);
	return rc;
}

int seq_restamp(const struct seq *s, const struct restamp *rs, struct seq **ret)
{
	_cleanup_(seq_part_freep) struct seq_part *old = NULL;
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	_cleanup_(seq_freep) struct seq *new = NULL;
	int rc = seq_part_make(s, NULL, &old);
	if (rc == 0)
		rc = part_restamp(old, rs, &part);
	if (rc == 0)
		rc = seq_new(s->flavour, s->actors, &new);
	if (rc == 0)
		rc = seq_join(new, part, NULL);
	if (rc == 0)
		*ret = TAKE_PTR(new);
	return rc;
}

int seq_base_restamp(const struct seq_base *b, const struct restamp *rs, struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *new = NULL;
	int rc = seq_base_new(&new);
	for (uint32_t i = 0; rc == 0 && i < b->n; i++) {
		const struct piece *p = &b->run[i];
		uint32_t k = staying(rs, p);
		for (unsigned half = 0; rc == 0 && half < 2; half++) {
			uint32_t from = half ? k : 0, n = half ? p->len - k : k;
			if (n == 0)
				continue;
			struct piece q = piece_view(p, from, n);
			q.id = id_restamp(rs, q.id);
			rc = base_append(new, &q);
		}
	}
	if (rc == 0)
		*ret = TAKE_PTR(new);
	return rc;
}
