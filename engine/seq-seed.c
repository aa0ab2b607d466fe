/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeds: the bytes of a value that becomes a text with its first edit. Their ids say who wrote the
 * value, and not who made a text of it: so two devices that do it apart make one text. They hang on
 * the root as one chain of right children, and their indexes are beyond those of all insertions, so
 * that the batch that wrote the value may have inserted something, too.
 *
 * That somebody knows a seed's dot does not say that he has its elements, only that he had the
 * value, and he may have forgotten it: see lacks_seeds() in seq-part.c. */
#include <errno.h>
#include <string.h>

#include "engine/seq-impl.h"

static struct seq_id first_of(const struct seq_seed *seed)
{
	return (struct seq_id){ seed->dot.actor, SEQ_SEED, seed->dot.seq };
}

int seq_seed_put(struct seq *s, const struct seq_seed *seed, const void *text)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	const struct piece p = { .id = first_of(seed), .parent = ROOT, .len = seed->n };
	uint32_t pos;
	bool alive;
	if (seed->n == 0)
		return 0;
	int r = seq_find(s, &p.id, &pos, &alive);
	if (r != -ENOENT)
		return r;
	if (seed->dot.seq == 0 || seed->dot.seq > SEQ_DOT_MAX)
		return -EFBIG;
	r = part_new(SEQ_TEXT, s->actors, &d);
	if (r == 0)
		r = part_append(d, &p, text);
	return r < 0 ? r : seq_join(s, d, NULL);
}

/* What there is of one seed. */
struct found {
	struct seq_seed seed;
	uint32_t left;
	bool fits;
};

static void judge(const struct found *f, uint32_t n, struct found *best)
{
	if (f->fits && f->seed.n == n && (!best->fits || f->left > best->left))
		*best = *f;
}

/* Runs stand in the order of ids: those of one seed are neighbours. */
int seq_seed_find(const struct seq *s, const struct vv *seen, const void *text, uint32_t n,
		  struct seq_seed *ret)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	struct found f = { .fits = false }, best = { .fits = false };
	int r = seq_part_make(s, NULL, &d);
	if (r < 0)
		return r;
	const uint8_t *bytes = d->text.data;
	for (uint32_t i = 0; i < d->n; i++) {
		const struct piece *p = &d->run[i];
		const uint8_t *own = bytes;
		uint32_t at = p->id.index - SEQ_SEED;
		if (piece_alive(p))
			bytes += p->len;
		if (!seq_is_seed(&p->id))
			continue;
		if (p->id.actor != f.seed.dot.actor || p->id.seq != f.seed.dot.seq) {
			judge(&f, n, &best);
			f = (struct found){ .seed.dot = { p->id.actor, p->id.seq } };
			f.fits = vv_has(seen, f.seed.dot);
		}
		f.fits = f.fits && at == f.seed.n && at < n && p->len <= n - at;
		f.seed.n = at + p->len;
		if (!f.fits || !piece_alive(p))
			continue;
		f.fits = memcmp(own, (const uint8_t *)text + at, p->len) == 0;
		f.left += p->len;
	}
	judge(&f, n, &best);
	if (!best.fits)
		return -ENOENT;
	*ret = best.seed;
	return 0;
}

int seq_seed_base(const struct seq_seed *seed, struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	const struct piece p = { .id = first_of(seed), .parent = ROOT, .len = seed->n };
	int r = seq_base_new(&b);
	if (r == 0 && seed->n > 0)
		r = base_append(b, &p);
	if (r == 0)
		*ret = TAKE_PTR(b);
	return r;
}

static int add_others(const struct piece *p, const struct seq_seed *seed, const struct vv *seen,
		      struct seq_base *b)
{
	const struct seq_id of = first_of(seed);
	if (!piece_alive(p) ||
	    (seq_is_seed(&p->id) && p->id.actor == of.actor && p->id.seq == of.seq))
		return 0;
	uint32_t k = piece_seen(p, seen, (struct dot){ ACTOR_NONE, 0 });
	const struct piece view = piece_view(p, 0, k > 0 ? k : 1);
	return k > 0 ? base_append(b, &view) : 0;
}

int seq_seed_clear(struct seq *s, const struct seq_seed *seed, const struct vv *seen, struct dot dot)
{
	_cleanup_(seq_base_freep) struct seq_base *b = NULL;
	int r = seq_base_new(&b);
	for (const struct leaf *l = s->first; r == 0 && l; l = l->next)
		for (uint32_t i = 0; r == 0 && i < l->node.n; i++)
			r = add_others(&l->piece[i], seed, seen, b);
	if (r < 0 || b->total == 0)
		return r;
	const struct seq_edit all = { 0, b->total, NULL, 0 };
	return seq_edit(s, b, NULL, &all, 1, dot);
}
