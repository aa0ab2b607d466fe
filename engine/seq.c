/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/seq-impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"

int seq_new(enum seq_flavour flavour, const struct actors *actors, struct seq **ret)
{
	struct seq *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->flavour = flavour;
	s->actors = actors;
	if (tree_init(s) < 0) {
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

void seq_free(struct seq *s)
{
	if (!s)
		return;
	tree_done(s);
	ids_free(s->ids);
	free(s->newest);
	free(s);
}

enum seq_flavour seq_flavour(const struct seq *s)
{
	return s->flavour;
}

uint32_t seq_length(const struct seq *s)
{
	return s->visible;
}

uint32_t seq_total(const struct seq *s)
{
	return s->total;
}

/* --- what actors inserted last --- */

uint32_t newest_at(const struct seq *s, uint32_t actor)
{
	uint32_t lo = 0, hi = s->newest_n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (s->newest[mid].actor < actor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int newest_index(const struct seq *s, struct dot dot, uint32_t n, uint32_t *ret)
{
	uint32_t i = newest_at(s, dot.actor), index = 0;
	if (dot.seq == 0 || dot.seq > SEQ_DOT_MAX)
		return -EINVAL;
	if (i < s->newest_n && s->newest[i].actor == dot.actor) {
		if (s->newest[i].seq > dot.seq)
			return -EINVAL;
		if (s->newest[i].seq == dot.seq)
			index = s->newest[i].next;
	}
	if (index > SEQ_TOTAL_MAX || n > SEQ_TOTAL_MAX - index)
		return -EFBIG;
	*ret = index;
	return 0;
}

int seq_next_index(const struct seq *s, struct dot dot, uint32_t *ret)
{
	return newest_index(s, dot, 0, ret);
}

int newest_raise(struct seq *s, const struct seq_id *last)
{
	uint32_t i = newest_at(s, last->actor);
	if (i == s->newest_n || s->newest[i].actor != last->actor) {
		if (s->newest_n == s->newest_cap) {
			uint32_t cap = s->newest_cap ? s->newest_cap * 2 : 4;
			struct newest *p = reallocarray(s->newest, cap, sizeof(*p));
			if (!p)
				return -ENOMEM;
			s->newest = p;
			s->newest_cap = cap;
		}
		memmove(s->newest + i + 1, s->newest + i, (s->newest_n - i) * sizeof(*s->newest));
		s->newest[i] = (struct newest){ .actor = last->actor };
		s->newest_n++;
	}
	struct newest *p = &s->newest[i];
	if (p->seq < last->seq)
		*p = (struct newest){ last->actor, 0, last->seq };
	if (p->seq == last->seq && p->next <= last->index)
		p->next = last->index + 1;
	return 0;
}

int seq_copy(const struct seq *s, struct seq **ret)
{
	_cleanup_(seq_freep) struct seq *c = NULL;
	int r = seq_new(s->flavour, s->actors, &c);
	if (r < 0)
		return r;
	struct place end = { .leaf = c->first };
	for (const struct leaf *l = s->first; l; l = l->next) {
		const uint8_t *text = l->text;
		for (uint32_t i = 0; i < l->node.n; i++) {
			r = tree_append(c, &end, &l->piece[i], text);
			if (r < 0)
				return r;
			if (text)
				text += piece_visible(&l->piece[i]);
		}
	}
	for (uint32_t i = 0; i < s->newest_n; i++) {
		const struct newest *p = &s->newest[i];
		r = newest_raise(c, &(struct seq_id){ p->actor, p->next - 1, p->seq });
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(c);
	return 0;
}

/* --- insertion --- */

/* Turns the gap into one between two pieces, with room for another. */
static int gap(struct seq *s, struct place *at)
{
	if (tree_room(s, at, 2) < 0)
		return -ENOMEM;
	if (at->off == 0)
		return 0;
	if (at->off < at->leaf->piece[at->i].len && tree_cut(s, at->leaf, at->i, at->off) < 0)
		return -ENOMEM;
	at->i++;
	at->off = 0;
	return 0;
}

int seq_put_run(struct seq *s, struct place *at, struct piece *p, const uint8_t *text)
{
	int r = gap(s, at);
	bool whole = !piece_alive(p) || s->flavour == SEQ_BARE || p->len <= LEAF_TEXT;
	if (r < 0 || !whole) {
		for (uint32_t k = 0, n; r == 0 && k < p->len; k += n) {
			struct piece q;
			n = p->len - k < LEAF_TEXT ? p->len - k : LEAF_TEXT;
			r = piece_slice(p, k, n, &q);
			if (k + n < p->len)
				q.flags |= PIECE_HAS_RIGHT;
			if (r == 0)
				r = tree_put(s, at, &q, text + k);
			at->i++;
			at->text += n;
		}
		piece_done(p);
		return r;
	}
	r = tree_put(s, at, p, text);
	if (r < 0)
		piece_done(p);
	else if (at->i > 0)
		tree_join(s, at->leaf, at->i - 1);
	return r;
}

/* Gives a new run that comes into a gap behind L its parent; at is a gap between pieces, L (if
 * any) ends the piece before it. */
static void attach(struct seq *s, struct place *at, struct piece *p)
{
	struct piece *left = at->i > 0 ? &at->leaf->piece[at->i - 1] : NULL, *right;
	if (s->total == 0) {
		p->parent = ROOT;
	} else if (left && !(left->flags & PIECE_HAS_RIGHT)) {
		p->parent = piece_last(left);
		left->flags |= PIECE_HAS_RIGHT;
	} else {
		right = &at->leaf->piece[at->i];
		if (at->i == at->leaf->node.n)
			right = &at->leaf->next->piece[0];
		p->parent = right->id;
		p->flags |= PIECE_LEFT;
		right->flags |= PIECE_HAS_LEFT;
	}
}

/* Most of typing: the run before the gap goes on. */
static bool go_on(struct seq *s, const struct place *at, const struct seq_id *id, const void *data,
		  uint32_t n)
{
	const struct piece *p = &at->leaf->piece[at->i];
	unsigned link = piece_link(p, id);
	if (at->off < p->len || (p->flags & PIECE_HAS_RIGHT) || link == 0 ||
	    (link == BY_STEP && n > 1))
		return false;
	return tree_extend(s, at, data, n, link);
}

int seq_insert(struct seq *s, uint32_t pos, const void *data, uint32_t n, struct dot dot)
{
	struct piece p = { .id = { dot.actor, 0, dot.seq }, .len = n };
	if (pos > s->visible)
		return -EINVAL;
	int r = newest_index(s, dot, n, &p.id.index);
	if (r < 0 || n == 0)
		return r;
	if (n > SEQ_TOTAL_MAX - s->total || s->pieces + n / LEAF_TEXT + 3 > SEQ_RUNS_MAX)
		return -EFBIG;
	struct seq_id last = piece_last(&p);
	r = newest_raise(s, &last);
	if (r < 0)
		return r;
	struct place at = { .leaf = s->first };
	if (pos == 0) {
		s->hint = (struct hint){ .leaf = s->first };
	} else {
		tree_at(s, pos - 1, &at);
		at.off++;
		at.text++;
		if (go_on(s, &at, &p.id, data, n))
			return 0;
	}
	r = gap(s, &at);
	if (r < 0)
		return r;
	attach(s, &at, &p);
	return seq_put_run(s, &at, &p, data);
}

/* --- deletion --- */

static int check_dot(struct dot dot)
{
	return dot.seq == 0 || dot.seq > SEQ_DOT_MAX ? -EINVAL : 0;
}

int seq_delete(struct seq *s, uint32_t pos, uint32_t n, struct dot dot)
{
	struct deletion gone = deletion_one(dot);
	int r = check_dot(dot);
	if (r < 0 || pos > s->visible || n > s->visible - pos)
		return -EINVAL;
	if (s->pieces + 2 > SEQ_RUNS_MAX)
		return -EFBIG;
	while (n > 0) {
		struct place at;
		tree_at(s, pos, &at);
		uint32_t k = at.leaf->piece[at.i].len - at.off;
		if (k > n)
			k = n;
		r = tree_delete(s, at, k, &gone);
		if (r < 0)
			return r;
		n -= k;
	}
	return 0;
}

static const struct dot no_dot = { ACTOR_NONE, 0 };

/* How many pieces the context covers in part. */
static uint32_t half_seen(const struct seq *s, const struct vv *seen)
{
	uint32_t n = 0;
	for (const struct leaf *l = s->first; l; l = l->next)
		for (uint32_t i = 0; i < l->node.n; i++) {
			uint32_t k = piece_seen(&l->piece[i], seen, no_dot);
			n += piece_alive(&l->piece[i]) && k > 0 && k < l->piece[i].len;
		}
	return n;
}

int seq_delete_covered(struct seq *s, const struct vv *seen, struct dot dot, uint32_t *ret_n)
{
	struct deletion gone = deletion_one(dot);
	uint32_t n = 0;
	int r = check_dot(dot);
	if (r < 0)
		return r;
	if (s->pieces + half_seen(s, seen) > SEQ_RUNS_MAX)
		return -EFBIG;
	for (uint32_t pos = 0; pos < s->visible;) {
		struct place at;
		tree_at(s, pos, &at);
		const struct piece *p = &at.leaf->piece[at.i];
		uint32_t rest = p->len - at.off, k = piece_seen(p, seen, no_dot);
		k = k > at.off ? k - at.off : 0;
		r = k > 0 ? tree_delete(s, at, k, &gone) : 0;
		if (r < 0)
			return r;
		n += k;
		pos += rest - k;
	}
	if (ret_n)
		*ret_n = n;
	return 0;
}

/* --- reading --- */

int seq_read(const struct seq *s, uint32_t pos, uint32_t n, void *out)
{
	uint8_t *p = out;
	if (s->flavour != SEQ_TEXT || pos > s->visible || n > s->visible - pos)
		return -EINVAL;
	if (n == 0)
		return 0;
	struct place at;
	tree_look(s, pos, &at);
	for (const struct leaf *l = at.leaf; n > 0; l = l->next) {
		uint32_t k = l->visible - at.text;
		if (k > n)
			k = n;
		if (k > 0)
			memcpy(p, l->text + at.text, k);
		p += k;
		n -= k;
		at.text = 0;
	}
	return 0;
}

struct seq_iter seq_iter(const struct seq *s)
{
	return (struct seq_iter){ .leaf = s->first };
}

bool seq_iter_next(struct seq_iter *it, struct seq_span *ret)
{
	const struct leaf *l = it->leaf;
	while (l) {
		if (it->i == l->node.n) {
			l = it->leaf = l->next;
			it->i = it->text = 0;
			continue;
		}
		const struct piece *p = &l->piece[it->i++];
		if (!piece_alive(p))
			continue;
		*ret = (struct seq_span){ p->id, p->len, p->flags & PIECE_STEP,
					  l->text ? l->text + it->text : NULL };
		it->text += p->len;
		return true;
	}
	return false;
}

int seq_id_at(const struct seq *s, uint32_t pos, struct seq_id *ret)
{
	if (pos >= s->visible)
		return -EINVAL;
	struct place at;
	tree_look(s, pos, &at);
	*ret = piece_id(&at.leaf->piece[at.i], at.off);
	return 0;
}

int seq_find(struct seq *s, const struct seq_id *id, uint32_t *ret_pos, bool *ret_alive)
{
	struct place at;
	int r = ids_need(s);
	if (r < 0)
		return r;
	if (!ids_find(s, id, &at))
		return -ENOENT;
	const struct piece *p = &at.leaf->piece[at.i];
	*ret_pos = tree_before(at.leaf) + tree_text(at.leaf, at.i) + (piece_alive(p) ? at.off : 0);
	*ret_alive = piece_alive(p);
	return 0;
}

static void put_id(struct buf *b, const struct actors *actors, const struct seq_id *id)
{
	static const struct actor_id root;
	const struct actor_id *actor =
		id->actor == ACTOR_NONE ? &root : actors_get(actors, id->actor);
	buf_put(b, actor->device.b, ID_SIZE);
	buf_u32(b, actor->incarnation);
	buf_u64(b, id->seq);
	buf_u32(b, id->index);
}

int seq_fingerprint(const struct seq *s, struct id *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	int r = seq_part_make(s, NULL, &d);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < d->n; i++) {
		put_id(&b, s->actors, &d->run[i].id);
		put_id(&b, s->actors, &d->run[i].parent);
		buf_u32(&b, d->run[i].len);
		buf_u32(&b, d->run[i].flags);
	}
	if (buf_failed(&b))
		return -ENOMEM;
	struct sha256_part part[] = { { b.data, b.len }, { d->text.data, d->text.len } };
	sha256_id(part, 2, ret);
	return 0;
}
