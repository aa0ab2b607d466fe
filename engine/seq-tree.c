/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The B+-tree of pieces in document order. Deleted elements stay, so nothing ever has to leave it:
 * nodes are split and never joined, and a leaf is never left empty.
 *
 * A leaf holds the bytes of its alive pieces, one after the other: cutting a piece or joining two
 * moves no byte, and reading copies whole leaves. */
#include "engine/seq-impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct leaf *leaf_of(struct node *n)
{
	return (struct leaf *)(void *)n;
}

static struct inner *inner_of(struct node *n)
{
	return (struct inner *)(void *)n;
}

int tree_init(struct seq *s)
{
	struct leaf *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	s->root = &l->node;
	s->first = l;
	s->height = 0;
	s->visible = s->total = s->pieces = 0;
	s->hint.leaf = NULL;
	return 0;
}

static void inner_free(struct node *n, uint32_t height)
{
	/* As deep as the tree is high. */
	if (height == 0)
		return;
	for (uint32_t i = 0; i < n->n; i++)
		inner_free(inner_of(n)->child[i], height - 1);
	free(n);
}

void tree_done(struct seq *s)
{
	if (s->root)
		inner_free(s->root, s->height);
	for (struct leaf *l = s->first, *next; l; l = next) {
		next = l->next;
		for (uint32_t i = 0; i < l->node.n; i++)
			piece_done(&l->piece[i]);
		free(l->text);
		free(l);
	}
	s->root = NULL;
	s->first = NULL;
}

void tree_take(struct seq *s, struct seq *from)
{
	tree_done(s);
	ids_free(s->ids);
	s->ids = NULL;
	s->hint.leaf = NULL;
	s->root = TAKE_PTR(from->root);
	s->first = TAKE_PTR(from->first);
	s->height = from->height;
	s->visible = from->visible;
	s->total = from->total;
	s->pieces = from->pieces;
}

/* --- looking --- */

static struct leaf *descend(const struct seq *s, uint32_t pos, uint32_t *ret_rest)
{
	struct node *n = s->root;
	for (uint32_t h = s->height; h > 0; h--) {
		const struct inner *in = inner_of(n);
		uint32_t i = 0;
		while (pos >= in->visible[i])
			pos -= in->visible[i++];
		n = in->child[i];
	}
	*ret_rest = pos;
	return leaf_of(n);
}

/* Finds the visible element number `rest` of the leaf, from a piece on of which one knows what is
 * before it: edits come close to each other. */
static void within(struct leaf *l, uint32_t rest, uint32_t i, uint32_t before, struct place *ret)
{
	while (before > rest)
		before -= piece_visible(&l->piece[--i]);
	for (uint32_t n; n = piece_visible(&l->piece[i]), rest - before >= n; i++)
		before += n;
	ret->leaf = l;
	ret->i = i;
	ret->off = rest - before;
	ret->text = rest;
}

void tree_look(const struct seq *s, uint32_t pos, struct place *ret)
{
	uint32_t rest;
	assert(pos < s->visible);
	struct leaf *l = descend(s, pos, &rest);
	within(l, rest, 0, 0, ret);
}

void tree_at(struct seq *s, uint32_t pos, struct place *ret)
{
	struct hint *h = &s->hint;
	uint32_t rest = pos - h->pos;
	assert(pos < s->visible);
	if (!h->leaf || pos < h->pos || rest >= h->leaf->visible) {
		h->leaf = descend(s, pos, &rest);
		h->pos = pos - rest;
		h->i = h->before = 0;
	} else if (h->i >= h->leaf->node.n) {
		h->i = h->before = 0; /* it was split */
	}
	within(h->leaf, rest, h->i, h->before, ret);
	h->i = ret->i;
	h->before = rest - ret->off;
}

bool leaf_beyond(const struct leaf *l, const struct vv *known)
{
	for (uint32_t i = 0; i < l->dots && i < LEAF_ACTORS; i++)
		if (l->dot[i].seq > vv_get(known, l->dot[i].actor))
			return true;
	return l->dots > LEAF_ACTORS;
}

uint32_t tree_before(const struct leaf *l)
{
	uint32_t sum = 0;
	for (const struct node *n = &l->node; n->up; n = &n->up->node)
		for (uint32_t i = 0; i < n->at; i++)
			sum += n->up->visible[i];
	return sum;
}

uint32_t tree_text(const struct leaf *l, uint32_t i)
{
	uint32_t sum = 0;
	while (i > 0)
		sum += piece_visible(&l->piece[--i]);
	return sum;
}

/* --- nodes --- */

static void count(struct seq *s, struct leaf *l, uint32_t more)
{
	/* Less is more by a wrap around zero. */
	l->visible += more;
	for (struct node *n = &l->node; n->up; n = &n->up->node)
		n->up->visible[n->at] += more;
	s->visible += more;
}

static void note_dot(struct leaf *l, uint32_t actor, uint64_t seq)
{
	uint32_t i = 0;
	while (i < l->dots && i < LEAF_ACTORS && l->dot[i].actor != actor)
		i++;
	if (i == LEAF_ACTORS) {
		l->dots = LEAF_ACTORS + 1;
	} else if (i == l->dots) {
		l->dot[l->dots++] = (struct vv_item){ actor, seq };
	} else if (l->dot[i].seq < seq) {
		l->dot[i].seq = seq;
	}
}

static void note_deletion(struct leaf *l, const struct deletion *gone)
{
	struct vv_item item;
	struct vv v = deletion_vv(gone, &item);
	for (uint32_t i = 0; i < v.n; i++)
		note_dot(l, v.item[i].actor, v.item[i].seq);
}

/* As many inner nodes as a new leaf beside l takes, linked by node.up. */
static int spare_nodes(const struct leaf *l, struct inner **ret)
{
	struct inner *first = NULL;
	const struct node *n = &l->node;
	while (!n->up || n->up->node.n == FAN) {
		struct inner *in = calloc(1, sizeof(*in));
		if (!in) {
			while (first) {
				struct inner *up = first->node.up;
				free(first);
				first = up;
			}
			return -ENOMEM;
		}
		in->node.up = first;
		first = in;
		if (!n->up)
			break;
		n = &n->up->node;
	}
	*ret = first;
	return 0;
}

static struct inner *take_spare(struct inner **spare)
{
	struct inner *in = *spare;
	*spare = in->node.up;
	in->node.up = NULL;
	return in;
}

static void set_child(struct inner *in, uint32_t i, struct node *child, uint32_t visible)
{
	in->child[i] = child;
	in->visible[i] = visible;
	child->up = in;
	child->at = (uint16_t)i;
}

static void inner_put(struct inner *in, uint32_t i, struct node *child, uint32_t visible)
{
	for (uint32_t k = in->node.n; k > i; k--)
		set_child(in, k, in->child[k - 1], in->visible[k - 1]);
	set_child(in, i, child, visible);
	in->node.n++;
}

/* Moves the upper half of the children to a new node; returns how much is visible there. */
static uint32_t inner_split(struct inner *in, struct inner *twin)
{
	uint32_t moved = 0;
	for (uint32_t i = FAN / 2; i < FAN; i++) {
		set_child(twin, i - FAN / 2, in->child[i], in->visible[i]);
		moved += in->visible[i];
	}
	in->node.n = FAN / 2;
	twin->node.n = FAN - FAN / 2;
	return moved;
}

/* Hangs `right` behind `left`, from which it took `moved` visible elements. */
static void add_sibling(struct seq *s, struct node *left, struct node *right, uint32_t moved,
			struct inner **spare)
{
	while (left->up && left->up->node.n == FAN) {
		struct inner *up = left->up, *twin = take_spare(spare);
		up->visible[left->at] -= moved;
		uint32_t half = inner_split(up, twin);
		if (left->up == twin)
			half += moved;
		inner_put(left->up, left->at + 1u, right, moved);
		left = &up->node;
		right = &twin->node;
		moved = half;
	}
	if (!left->up) {
		struct inner *root = take_spare(spare);
		set_child(root, 0, left, s->visible);
		root->node.n = 1;
		s->root = &root->node;
		s->height++;
	}
	left->up->visible[left->at] -= moved;
	inner_put(left->up, left->at + 1u, right, moved);
}

static bool reserve_text(struct leaf *l, uint32_t n)
{
	if (n <= l->text_cap)
		return true;
	uint32_t cap = l->text_cap ? l->text_cap : 64;
	while (cap < n)
		cap *= 2;
	uint8_t *p = realloc(l->text, cap);
	if (!p)
		return false;
	l->text = p;
	l->text_cap = cap;
	return true;
}

/* Moves the pieces from i on to a new leaf behind l. Both may be empty for a moment. */
static int leaf_split(struct seq *s, struct leaf *l, uint32_t i, struct leaf **ret)
{
	uint32_t before = tree_text(l, i), moved = l->visible - before;
	struct inner *spare = NULL;
	struct leaf *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if ((l->text && moved > 0 && !reserve_text(r, moved)) || spare_nodes(l, &spare) < 0) {
		free(r->text);
		free(r);
		return -ENOMEM;
	}
	r->node.n = (uint16_t)(l->node.n - i);
	memcpy(r->piece, l->piece + i, r->node.n * sizeof(*r->piece));
	if (r->text)
		memcpy(r->text, l->text + before, moved);
	memcpy(r->dot, l->dot, sizeof(r->dot));
	r->dots = l->dots;
	l->node.n = (uint16_t)i;
	l->visible = before;
	r->visible = moved;
	r->next = l->next;
	l->next = r;
	add_sibling(s, &l->node, &r->node, moved, &spare);
	for (uint32_t k = 0; s->ids && k < r->node.n; k++)
		ids_move(s, &r->piece[k].id, r);
	*ret = r;
	return 0;
}

/* --- changes --- */

int tree_room(struct seq *s, struct place *at, uint32_t pieces)
{
	struct leaf *l = at->leaf, *r;
	if (l->node.n + pieces <= LEAF_PIECES)
		return 0;
	uint32_t half = l->node.n / 2u;
	if (leaf_split(s, l, half, &r) < 0)
		return -ENOMEM;
	if (at->i >= half) {
		at->leaf = r;
		at->i -= half;
		at->text -= l->visible;
	}
	return 0;
}

static void open_gap(struct leaf *l, uint32_t i)
{
	memmove(l->piece + i + 1, l->piece + i, (l->node.n - i) * sizeof(*l->piece));
	l->node.n++;
}

static void close_gap(struct leaf *l, uint32_t i)
{
	l->node.n--;
	memmove(l->piece + i, l->piece + i + 1, (l->node.n - i) * sizeof(*l->piece));
}

int tree_cut(struct seq *s, struct leaf *l, uint32_t i, uint32_t k)
{
	struct piece *p = &l->piece[i], tail;
	assert(l->node.n < LEAF_PIECES && k > 0 && k < p->len);
	if (piece_slice(p, k, p->len - k, &tail) < 0)
		return -ENOMEM;
	tail.flags |= p->flags & PIECE_HAS_RIGHT;
	open_gap(l, i + 1);
	l->piece[i + 1] = tail;
	p->len = k;
	p->flags |= PIECE_HAS_RIGHT;
	if (k == 1)
		p->flags &= ~(unsigned)PIECE_STEP;
	s->pieces++;
	ids_add(s, &tail.id, l);
	return 0;
}

bool tree_join(struct seq *s, struct leaf *l, uint32_t i)
{
	if (i + 1 >= l->node.n)
		return false;
	struct seq_id id = l->piece[i + 1].id;
	if (!piece_join(&l->piece[i], &l->piece[i + 1]))
		return false;
	close_gap(l, i + 1);
	s->pieces--;
	ids_remove(s, &id);
	return true;
}

static void text_put(struct leaf *l, uint32_t at, const void *data, uint32_t n)
{
	memmove(l->text + at + n, l->text + at, l->visible - at);
	memcpy(l->text + at, data, n);
}

int tree_put(struct seq *s, struct place *at, struct piece *p, const uint8_t *text)
{
	uint32_t n = piece_visible(p), bytes = s->flavour == SEQ_TEXT ? n : 0;
	struct leaf *l;
	assert(bytes <= LEAF_TEXT);
	if (tree_room(s, at, 1) < 0)
		return -ENOMEM;
	/* A leaf that is full of bytes is split here, and what comes may stand in a leaf alone. */
	while (bytes > 0 && at->leaf->visible + bytes > LEAF_TEXT) {
		bool end = at->i == at->leaf->node.n;
		if (leaf_split(s, at->leaf, at->i, &l) < 0)
			return -ENOMEM;
		if (end)
			*at = (struct place){ .leaf = l };
	}
	l = at->leaf;
	if (bytes > 0) {
		if (!reserve_text(l, l->visible + bytes))
			return -ENOMEM;
		text_put(l, at->text, text, bytes);
	}
	open_gap(l, at->i);
	l->piece[at->i] = *p;
	note_dot(l, p->id.actor, piece_last(p).seq);
	if (!piece_alive(p))
		note_deletion(l, &p->gone);
	count(s, l, n);
	s->total += p->len;
	s->pieces++;
	ids_add(s, &p->id, l);
	return 0;
}

bool tree_extend(struct seq *s, const struct place *at, const void *data, uint32_t n, unsigned link)
{
	struct leaf *l = at->leaf;
	struct piece *p = &l->piece[at->i];
	if (s->flavour == SEQ_TEXT) {
		if (l->visible + n > LEAF_TEXT || !reserve_text(l, l->visible + n))
			return false;
		text_put(l, at->text, data, n);
	}
	p->len += n;
	if (link == BY_STEP)
		p->flags |= PIECE_STEP;
	note_dot(l, p->id.actor, piece_last(p).seq);
	count(s, l, n);
	s->total += n;
	return true;
}

int tree_delete(struct seq *s, struct place at, uint32_t k, const struct deletion *gone)
{
	struct deletion copy;
	if (tree_room(s, &at, 2) < 0 || deletion_copy(gone, &copy) < 0)
		return -ENOMEM;
	struct leaf *l = at.leaf;
	/* An alive piece is cut without memory. */
	if (at.off + k < l->piece[at.i].len)
		(void)tree_cut(s, l, at.i, at.off + k);
	if (at.off > 0)
		(void)tree_cut(s, l, at.i++, at.off);
	struct piece *p = &l->piece[at.i];
	p->flags |= PIECE_DELETED;
	p->gone = copy;
	note_deletion(l, gone);
	if (l->text)
		memmove(l->text + at.text, l->text + at.text + k, l->visible - at.text - k);
	count(s, l, -k);
	tree_join(s, l, at.i);
	if (at.i > 0)
		tree_join(s, l, at.i - 1);
	return 0;
}

int tree_append(struct seq *s, struct place *end, const struct piece *p, const uint8_t *text)
{
	bool bytes = piece_alive(p) && s->flavour == SEQ_TEXT;
	for (uint32_t k = 0, n; k < p->len; k += n) {
		struct leaf *l = end->leaf;
		struct piece q;
		if (l->node.n >= LEAF_FILL || (bytes && l->visible >= LEAF_TEXT)) {
			if (leaf_split(s, l, l->node.n, &l) < 0)
				return -ENOMEM;
			*end = (struct place){ .leaf = l };
		}
		n = p->len - k;
		if (bytes && n > LEAF_TEXT - l->visible)
			n = LEAF_TEXT - l->visible;
		if (piece_slice(p, k, n, &q) < 0)
			return -ENOMEM;
		q.flags |= k + n < p->len ? (unsigned)PIECE_HAS_RIGHT : p->flags & PIECE_HAS_RIGHT;
		if (k == 0)
			q.flags |= p->flags & PIECE_HAS_LEFT;
		if (tree_put(s, end, &q, bytes ? text + k : NULL) < 0) {
			piece_done(&q);
			return -ENOMEM;
		}
		end->i++;
		end->text = l->visible;
	}
	return 0;
}
