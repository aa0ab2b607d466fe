/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>

int seq_id_cmp(const struct actors *actors, const struct seq_id *x, const struct seq_id *y)
{
	if (x->actor != y->actor) {
		if (x->actor == ACTOR_NONE || y->actor == ACTOR_NONE)
			return x->actor == ACTOR_NONE ? -1 : 1;
		return actors_cmp(actors, x->actor, y->actor);
	}
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

struct deletion deletion_one(struct dot dot)
{
	struct deletion d = { .actor = dot.actor };
	d.seq = dot.seq;
	return d;
}

void deletion_done(struct deletion *d)
{
	if (d->actor == DELETION_MANY) {
		vv_done(d->many);
		free(d->many);
	}
	*d = (struct deletion){ .actor = ACTOR_NONE };
}

struct vv deletion_vv(const struct deletion *d, struct vv_item *item)
{
	if (d->actor == DELETION_MANY)
		return (struct vv){ d->many->item, d->many->n, 0 };
	*item = (struct vv_item){ d->actor, d->seq };
	return (struct vv){ item, 1, 0 };
}

int deletion_copy(const struct deletion *d, struct deletion *ret)
{
	if (d->actor != DELETION_MANY) {
		*ret = *d;
		return 0;
	}
	struct vv *v = malloc(sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (vv_copy(d->many, v) < 0) {
		free(v);
		return -ENOMEM;
	}
	ret->actor = DELETION_MANY;
	ret->many = v;
	return 0;
}

bool deletion_beyond(const struct deletion *d, const struct vv *known)
{
	if (d->actor != DELETION_MANY)
		return d->seq > vv_get(known, d->actor);
	return !vv_covers(known, d->many);
}

int deletion_join(struct deletion *d, const struct deletion *other)
{
	struct vv_item x, y;
	if (d->actor == other->actor && d->actor != DELETION_MANY) {
		if (d->seq < other->seq)
			d->seq = other->seq;
		return 0;
	}
	struct vv a = deletion_vv(d, &x), b = deletion_vv(other, &y);
	if (d->actor == DELETION_MANY)
		return vv_join(d->many, &b);
	struct vv *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (vv_copy(&b, v) < 0 || vv_join(v, &a) < 0) {
		vv_done(v);
		free(v);
		return -ENOMEM;
	}
	d->actor = DELETION_MANY;
	d->many = v;
	return 0;
}

uint32_t piece_below(const struct piece *p, const struct seq_id *id)
{
	uint64_t k;
	if (id->seq < p->id.seq || (id->seq == p->id.seq && id->index <= p->id.index))
		return 0;
	if (p->flags & PIECE_STEP)
		k = id->seq - p->id.seq + (id->index > 0);
	else
		k = id->seq > p->id.seq ? p->len : id->index - p->id.index;
	return k < p->len ? (uint32_t)k : p->len;
}

uint32_t piece_seen(const struct piece *p, const struct vv *seen, struct dot own)
{
	uint64_t upto = vv_get(seen, p->id.actor);
	/* The first that is not covered may be the dot's own. */
	if (p->id.actor == own.actor && own.seq > upto &&
	    (own.seq == p->id.seq || own.seq == upto + 1))
		upto = own.seq;
	if (upto < p->id.seq)
		return 0;
	if (!(p->flags & PIECE_STEP))
		return p->len;
	upto = upto - p->id.seq + 1;
	return upto < p->len ? (uint32_t)upto : p->len;
}

int piece_slice(const struct piece *p, uint32_t from, uint32_t len, struct piece *ret)
{
	struct piece q = piece_view(p, from, len);
	if (!piece_alive(p) && deletion_copy(&p->gone, &q.gone) < 0)
		return -ENOMEM;
	*ret = q;
	return 0;
}

void piece_done(struct piece *p)
{
	if (!piece_alive(p))
		deletion_done(&p->gone);
}

bool piece_join(struct piece *p, struct piece *q)
{
	unsigned link = piece_link(p, &q->id);
	struct seq_id last = piece_last(p);
	if (link == 0 || ((p->flags ^ q->flags) & PIECE_DELETED) ||
	    (q->flags & (PIECE_LEFT | PIECE_HAS_LEFT)) || !seq_id_equal(&q->parent, &last))
		return false;
	if (q->len > 1 && !!(q->flags & PIECE_STEP) != (link == BY_STEP))
		return false;
	if (!piece_alive(p)) {
		if (deletion_join(&p->gone, &q->gone) < 0)
			return false;
		deletion_done(&q->gone);
	}
	p->len += q->len;
	p->flags = (p->flags & ~(unsigned)PIECE_HAS_RIGHT) | (q->flags & PIECE_HAS_RIGHT) |
		   (link == BY_STEP ? PIECE_STEP : 0u);
	return true;
}
