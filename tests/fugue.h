/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The algorithm of "The Art of the Fugue" (Weidner and Kleppmann 2023), taken literally: a tree of
 * single elements, and the document by walking it. All elements that anybody ever inserted lie
 * in one struct fugue; a replica is what it knows of them and which of these it knows deleted.
 * Beside it stands the sequence under test, with actors numbered in an order of its own. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/seq-impl.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define FUGUE_MAX 4096
#define FUGUE_ACTORS 7

#define must(expr)                                                                               \
	do {                                                                                     \
		int must_r = (expr);                                                             \
		if (must_r < 0)                                                                  \
			tap_bail("%s:%d: %s: %s", __FILE__, __LINE__, #expr, strerror(-must_r)); \
	} while (0)

struct element {
	unsigned actor;
	uint64_t seq;
	uint32_t index;
	int parent; /* -1: the root */
	bool left;
	uint8_t byte;
};

struct fugue {
	struct element e[FUGUE_MAX];
	int n;
	int order[FUGUE_MAX]; /* the document with everything, deleted or not */
	int ordered;          /* how many were there when order was made */
};

struct replica {
	unsigned no;
	struct actors *actors;
	struct seq *s;
	uint64_t seq;
	struct vv have; /* local numbers */
	bool known[FUGUE_MAX], dead[FUGUE_MAX];
};

/* Identifiers whose order is not that of n. */
_unused_ static struct actor_id fugue_actor(unsigned n)
{
	return (struct actor_id){ { { (uint8_t)(n * 151 + 7), (uint8_t)n } }, n % 2 };
}

_unused_ static uint32_t fugue_local(const struct replica *x, unsigned actor)
{
	struct actor_id id = fugue_actor(actor);
	uint32_t no;
	must(actors_intern(x->actors, &id, &no));
	return no;
}

_unused_ static struct seq_id fugue_id(const struct fugue *f, const struct replica *x, int e)
{
	return (struct seq_id){ fugue_local(x, f->e[e].actor), f->e[e].index, f->e[e].seq };
}

_unused_ static void replica_init(struct replica *x, enum seq_flavour flavour, unsigned no)
{
	memset(x, 0, sizeof(*x));
	x->no = no;
	must(actors_new(&x->actors));
	/* Everybody meets the others in another order. */
	for (unsigned i = 0; i < FUGUE_ACTORS; i++)
		fugue_local(x, (no * 3 + i * 2) % FUGUE_ACTORS);
	must(seq_new(flavour, x->actors, &x->s));
}

_unused_ static void replica_done(struct replica *x)
{
	seq_free(x->s);
	vv_done(&x->have);
	actors_free(x->actors);
}

_unused_ static struct dot replica_dot(struct replica *x)
{
	struct dot dot = { fugue_local(x, x->no), ++x->seq };
	must(vv_raise(&x->have, dot.actor, dot.seq));
	return dot;
}

/* --- order --- */

_unused_ static int fugue_id_cmp(const struct fugue *f, int x, int y)
{
	const struct element *a = &f->e[x], *b = &f->e[y];
	struct actor_id p = fugue_actor(a->actor), q = fugue_actor(b->actor);
	int c = actor_id_cmp(&p, &q);
	if (c == 0)
		c = a->seq < b->seq ? -1 : a->seq > b->seq;
	return c ? c : a->index < b->index ? -1 : a->index > b->index;
}

_unused_ static int fugue_child_cmp(const void *x, const void *y, void *fugue)
{
	const struct fugue *f = fugue;
	const int a = *(const int *)x, b = *(const int *)y;
	if (f->e[a].parent != f->e[b].parent)
		return f->e[a].parent < f->e[b].parent ? -1 : 1;
	if (f->e[a].left != f->e[b].left)
		return f->e[a].left ? -1 : 1;
	return fugue_id_cmp(f, a, b);
}

/* traverse(v): the left children, v, the right children; with a stack in place of recursion. */
_unused_ static void fugue_order(struct fugue *f)
{
	static struct {
		int v, next; /* a node, and which of its children comes */
		bool shown;
	} stack[FUGUE_MAX + 1], *top;
	static int child[FUGUE_MAX], first[FUGUE_MAX + 2]; /* of v: from first[v + 1] on */
	int depth = 0, n = 0;
	if (f->ordered == f->n)
		return;
	memset(first, 0, sizeof(first));
	for (int i = 0; i < f->n; i++) {
		child[i] = i;
		first[f->e[i].parent + 2]++;
	}
	qsort_r(child, (size_t)f->n, sizeof(*child), fugue_child_cmp, f);
	for (int i = 1; i <= f->n + 1; i++)
		first[i] += first[i - 1];
	stack[depth].v = -1;
	stack[depth].next = first[0];
	stack[depth++].shown = true;
	while (depth > 0) {
		top = &stack[depth - 1];
		bool more = top->next < first[top->v + 2];
		if (!top->shown && (!more || !f->e[child[top->next]].left)) {
			f->order[n++] = top->v;
			top->shown = true;
		} else if (more) {
			int c = child[top->next++];
			stack[depth].v = c;
			stack[depth].next = first[c + 1];
			stack[depth++].shown = false;
		} else {
			depth--;
		}
	}
	if (n != f->n)
		tap_bail("the model lost elements");
	f->ordered = f->n;
}

/* The element behind e (-1: the root) among those that the replica knows; -1: none. */
_unused_ static int fugue_next(struct fugue *f, const struct replica *x, int e)
{
	fugue_order(f);
	int i = 0;
	while (e >= 0 && f->order[i] != e)
		i++;
	for (i += e >= 0; i < f->n; i++)
		if (x->known[f->order[i]])
			return f->order[i];
	return -1;
}

_unused_ static bool fugue_has_child(const struct fugue *f, const struct replica *x, int e,
				     bool left)
{
	for (int i = 0; i < f->n; i++)
		if (x->known[i] && f->e[i].parent == e && f->e[i].left == left)
			return true;
	return false;
}

/* The visible element at pos. */
_unused_ static int fugue_visible(struct fugue *f, const struct replica *x, uint32_t pos)
{
	fugue_order(f);
	for (int i = 0; i < f->n; i++)
		if (x->known[f->order[i]] && !x->dead[f->order[i]] && pos-- == 0)
			return f->order[i];
	return -1;
}

/* --- what a replica does, to the model alone --- */

/* Inserts behind element l. */
_unused_ static int fugue_insert(struct fugue *f, struct replica *x, int l, struct dot dot,
				 uint8_t byte)
{
	int r = fugue_next(f, x, l), e = f->n;
	bool left = fugue_has_child(f, x, l, false);
	uint32_t index = 0;
	for (int i = 0; i < f->n; i++)
		index += f->e[i].actor == x->no && f->e[i].seq == dot.seq;
	if (e == FUGUE_MAX)
		tap_bail("the model is full");
	f->e[e] = (struct element){ x->no, dot.seq, index, left ? r : l, left, byte };
	f->n++;
	x->known[e] = true;
	return e;
}

_unused_ static void fugue_join(const struct fugue *f, struct replica *x, const bool *known,
				const bool *dead)
{
	for (int i = 0; i < f->n; i++) {
		x->known[i] |= known[i];
		x->dead[i] |= dead[i];
	}
}

/* --- what it does, to both --- */

_unused_ static void replica_insert(struct fugue *f, struct replica *x, uint32_t pos,
				    const uint8_t *text, uint32_t n, struct dot dot)
{
	int l = pos > 0 ? fugue_visible(f, x, pos - 1) : -1;
	must(seq_insert(x->s, pos, text, n, dot));
	for (uint32_t i = 0; i < n; i++)
		l = fugue_insert(f, x, l, dot, text[i]);
}

_unused_ static void replica_delete(struct fugue *f, struct replica *x, uint32_t pos, uint32_t n,
				    struct dot dot)
{
	must(seq_delete(x->s, pos, n, dot));
	while (n-- > 0)
		x->dead[fugue_visible(f, x, pos)] = true;
}

/* --- is the sequence what the model says, and its memory in order? --- */

_unused_ static const char *check_element(const struct fugue *f, const struct replica *x, int e,
					  const struct piece *p, uint32_t k)
{
	struct seq_id want = fugue_id(f, x, e), id = piece_id(p, k);
	bool left;
	struct seq_id parent = piece_parent(p, k, &left), root = ROOT;
	if (!seq_id_equal(&id, &want))
		return "another element";
	want = f->e[e].parent < 0 ? root : fugue_id(f, x, f->e[e].parent);
	if (!seq_id_equal(&parent, &want) || left != f->e[e].left)
		return "another parent";
	if (piece_alive(p) == x->dead[e])
		return "another flag";
	if (k == 0 && !!(p->flags & PIECE_HAS_LEFT) != fugue_has_child(f, x, e, true))
		return "PIECE_HAS_LEFT";
	if (k + 1 == p->len && !!(p->flags & PIECE_HAS_RIGHT) != fugue_has_child(f, x, e, false))
		return "PIECE_HAS_RIGHT";
	return NULL;
}

/* The tree, its counts and its index, whatever stands in it. */
_unused_ static const char *check_memory(const struct seq *s)
{
	uint32_t visible = 0, total = 0, pieces = 0;
	for (const struct leaf *l = s->first; l; l = l->next) {
		uint32_t before = visible;
		if (l->node.n == 0 && s->total > 0)
			return "an empty leaf";
		if (tree_before(l) != visible)
			return "counts are wrong";
		for (uint32_t i = 0; i < l->node.n; i++) {
			const struct piece *p = &l->piece[i];
			struct place at;
			if (p->len == 0 || (p->len == 1 && (p->flags & PIECE_STEP)))
				return "a piece of no form";
			if (s->ids &&
			    (!ids_find(s, &p->id, &at) || at.leaf != l || at.i != i || at.off != 0))
				return "the index is wrong";
			visible += piece_visible(p);
			total += p->len;
			pieces++;
		}
		if (l->visible != visible - before || (l->text && l->visible > LEAF_TEXT))
			return "a leaf's count is wrong";
	}
	if (visible != s->visible || total != s->total || pieces != s->pieces)
		return "totals are wrong";
	return NULL;
}

_unused_ static const char *check_pieces(struct fugue *f, const struct replica *x)
{
	int o = 0;
	fugue_order(f);
	for (const struct leaf *l = x->s->first; l; l = l->next) {
		const uint8_t *text = l->text;
		for (uint32_t i = 0; i < l->node.n; i++) {
			const struct piece *p = &l->piece[i];
			for (uint32_t k = 0; k < p->len; k++, o++) {
				while (o < f->n && !x->known[f->order[o]])
					o++;
				if (o == f->n)
					return "more elements";
				const char *why = check_element(f, x, f->order[o], p, k);
				if (why)
					return why;
				if (text && piece_alive(p) && *text++ != f->e[f->order[o]].byte)
					return "another byte";
			}
		}
	}
	for (; o < f->n; o++)
		if (x->known[f->order[o]])
			return "fewer elements";
	return check_memory(x->s);
}

/* --- as bytes --- */

/* What a peer lacks that has seen `known` (NULL: nothing), as the first message of a link. */
_unused_ static void replica_part(const struct replica *from, const struct vv *known, struct buf *b)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL;
	must(actor_codec_new(from->actors, &out));
	must(seq_part_make(from->s, known, &d));
	seq_part_encode(d, from->actors, out, b);
}

_unused_ static int replica_join(struct replica *to, const struct buf *b, const struct vv *ctx,
				 struct err *e)
{
	_cleanup_(seq_part_freep) struct seq_part *d = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *in = NULL;
	struct cursor cur = cursor_make(b->data, b->len);
	must(actor_codec_new(to->actors, &in));
	int r = seq_part_decode(&cur, to->actors, in, ctx, &d, e);
	if (r == 0 && !cursor_end(&cur))
		r = err_set(e, -EBADMSG, "more bytes than a part");
	return r < 0 ? r : seq_join(to->s, d, e);
}

_unused_ static void join_bytes(struct replica *to, const struct buf *b, const struct vv *ctx)
{
	struct err e = { 0 };
	if (replica_join(to, b, ctx, &e) < 0)
		tap_bail("a part of an honest peer: %s", e.message);
}

/* The same vector in another replica's numbers; malloc. */
_unused_ static struct vv replica_translate(const struct vv *v, const struct replica *from,
					    const struct replica *to)
{
	struct vv r = { 0 };
	for (uint32_t i = 0; i < v->n; i++) {
		uint32_t no;
		must(actors_intern(to->actors, actors_get(from->actors, v->item[i].actor), &no));
		must(vv_raise(&r, no, v->item[i].seq));
	}
	return r;
}

_unused_ static bool same_state(const struct seq *x, const struct seq *y)
{
	struct id p, q;
	must(seq_fingerprint(x, &p));
	must(seq_fingerprint(y, &q));
	return id_equal(&p, &q);
}
