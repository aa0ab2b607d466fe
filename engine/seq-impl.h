/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of a sequence share. engine/seq.h says what a sequence is.
 *
 * A piece is a stretch of a run as it lies in memory: a leaf of the tree or a place where something
 * hangs may cut a run in two, and pieces are joined again when that is easy (piece_join), never
 * because something depends on it. What leaves the module (parts, bases, encodings) is
 * maximal.
 *
 * Inside a piece every element but the last has exactly one right child that matters here, its
 * successor, and none but the first has left children. A concurrent right child of an element
 * inside a piece can stand behind the whole piece (seq-arrange.c); nothing is recorded of it in the
 * piece. */

#include "engine/seq.h"

#define ROOT ((struct seq_id){ ACTOR_NONE, 0, 0 })
#define NOWHERE UINT32_MAX

/* The newest dot kept of deletions, for each actor: mostly there is one. */
struct deletion {
	uint32_t actor; /* DELETION_MANY: see many */
	union {
		uint64_t seq;
		struct vv *many; /* malloc, at least two items */
	};
};

#define DELETION_MANY (ACTOR_NONE - 1)

enum {
	PIECE_DELETED = 1,
	PIECE_STEP = 2,       /* ids go on from batch to batch; never when it has one element */
	PIECE_LEFT = 4,       /* the first element is a left child */
	PIECE_HAS_LEFT = 8,   /* the first element has left children (in a tree) */
	PIECE_HAS_RIGHT = 16, /* the last element has right children (in a tree) */
};

struct piece {
	struct seq_id id;     /* of the first element */
	struct seq_id parent; /* its parent; ROOT: always on the right */
	struct deletion gone; /* PIECE_DELETED: owned */
	uint32_t len;         /* at least 1 */
	uint32_t flags;
};

/* --- pieces (seq-piece.c) --- */

static inline bool seq_id_equal(const struct seq_id *x, const struct seq_id *y)
{
	return x->seq == y->seq && x->index == y->index && x->actor == y->actor;
}

/* The order of ids, ROOT first. */
int seq_id_cmp(const struct actors *actors, const struct seq_id *x, const struct seq_id *y);

static inline bool piece_alive(const struct piece *p)
{
	return !(p->flags & PIECE_DELETED);
}

static inline uint32_t piece_visible(const struct piece *p)
{
	return piece_alive(p) ? p->len : 0;
}

/* The id of the k-th element. */
static inline struct seq_id piece_id(const struct piece *p, uint32_t k)
{
	struct seq_id id = p->id;
	if (p->flags & PIECE_STEP)
		id.seq += k;
	else
		id.index += k;
	return id;
}

static inline struct seq_id piece_last(const struct piece *p)
{
	return piece_id(p, p->len - 1);
}

/* Which element has the id: NOWHERE if none. */
static inline uint32_t piece_find(const struct piece *p, const struct seq_id *id)
{
	uint64_t k;
	if (id->actor != p->id.actor)
		return NOWHERE;
	if (p->flags & PIECE_STEP) {
		k = id->index == 0 ? id->seq - p->id.seq : NOWHERE;
	} else {
		k = id->seq == p->id.seq ? (uint64_t)id->index - p->id.index : NOWHERE;
	}
	return k < p->len ? (uint32_t)k : NOWHERE;
}

/* Where a run with that last element and those flags would go on with `next`: 0 nowhere, else
 * how (BY_BATCH, BY_STEP). */
enum { BY_BATCH = 1, BY_STEP = 2 };

static inline unsigned piece_link(const struct piece *p, const struct seq_id *next)
{
	if (next->actor != p->id.actor)
		return 0;
	if (next->seq == p->id.seq)
		return !(p->flags & PIECE_STEP) && next->index == p->id.index + p->len ? BY_BATCH
										       : 0;
	return next->index == 0 && p->id.index == 0 && next->seq == p->id.seq + p->len &&
			       (p->len == 1 || (p->flags & PIECE_STEP))
		       ? BY_STEP
		       : 0;
}

/* The parent and the side of the k-th element. */
static inline struct seq_id piece_parent(const struct piece *p, uint32_t k, bool *ret_left)
{
	*ret_left = k == 0 && (p->flags & PIECE_LEFT);
	return k == 0 ? p->parent : piece_id(p, k - 1);
}

/* The elements i of x and k of y are the same: how many from there on are. */
static inline uint32_t piece_alike(const struct piece *x, uint32_t i, const struct piece *y,
				   uint32_t k)
{
	uint32_t n = x->len - i < y->len - k ? x->len - i : y->len - k;
	return n > 1 && ((x->flags ^ y->flags) & PIECE_STEP) ? 1 : n;
}

/* How many elements have ids below the given one, of the same actor. */
uint32_t piece_below(const struct piece *p, const struct seq_id *id);
/* How many elements, from the first on, the context covers, or the dot is the one of. */
uint32_t piece_seen(const struct piece *p, const struct vv *seen, struct dot own);

/* Elements [from, from + len) as a piece of its own; flags of a tree are dropped. A view does not
 * own what it says of deletions. */
static inline struct piece piece_view(const struct piece *p, uint32_t from, uint32_t len)
{
	struct piece q = *p;
	q.len = len;
	q.flags &= PIECE_DELETED | (len > 1 ? PIECE_STEP : 0u) | (from == 0 ? PIECE_LEFT : 0u);
	if (from > 0) {
		q.id = piece_id(p, from);
		q.parent = piece_id(p, from - 1);
	}
	return q;
}

int piece_slice(const struct piece *p, uint32_t from, uint32_t len, struct piece *ret);
void piece_done(struct piece *p);
/* Puts q behind p if they make one piece: true, and q is done. False also without memory. */
bool piece_join(struct piece *p, struct piece *q);

struct deletion deletion_one(struct dot dot);
void deletion_done(struct deletion *d);
int deletion_copy(const struct deletion *d, struct deletion *ret);
int deletion_join(struct deletion *d, const struct deletion *other);
bool deletion_beyond(const struct deletion *d, const struct vv *known);
/* The same as a vector; item is memory for it. */
struct vv deletion_vv(const struct deletion *d, struct vv_item *item);

/* --- the tree (seq-tree.c) --- */

#define LEAF_PIECES 32
#define LEAF_FILL 24 /* pieces of a leaf that is made at once */
#define LEAF_TEXT 4096
#define LEAF_ACTORS 4
#define FAN 32

struct inner;

struct node {
	struct inner *up; /* NULL: this is the root */
	uint16_t at;      /* place there */
	uint16_t n;       /* pieces or children */
};

struct leaf {
	struct node node;
	struct leaf *next;
	uint32_t visible;  /* elements; bytes of text */
	uint32_t text_cap; /* bytes allocated */
	uint8_t *text;
	/* The highest seq of each actor's dots in the leaf, or higher; more actors than fit: not
	 * known. */
	struct vv_item dot[LEAF_ACTORS];
	uint32_t dots;
	struct piece piece[LEAF_PIECES];
};

struct inner {
	struct node node;
	uint32_t visible[FAN];
	struct node *child[FAN];
};

/* What an actor inserted last. */
struct newest {
	uint32_t actor;
	uint32_t next; /* index */
	uint64_t seq;
};

/* Where the last local edit was. Whatever it changed stands behind the start of that piece, or is
 * not visible, so that this holds until somebody else changes something. */
struct hint {
	struct leaf *leaf; /* NULL: nowhere */
	uint32_t pos;      /* visible elements before the leaf */
	uint32_t i;        /* piece; none, if the leaf was split */
	uint32_t before;   /* visible elements of the leaf before the piece */
};

struct ids;

struct seq {
	const struct actors *actors;
	enum seq_flavour flavour;
	struct node *root;
	uint32_t height; /* inner nodes above a leaf */
	struct leaf *first;
	uint32_t visible, total, pieces;
	struct newest *newest; /* sorted by actor */
	uint32_t newest_n, newest_cap;
	struct ids *ids; /* NULL: nobody has asked yet */
	struct hint hint;
};

/* An element of a leaf, or the gap before it: off of piece i. off = len of the piece is the gap
 * behind it. text: visible elements in the leaf before that. */
struct place {
	struct leaf *leaf;
	uint32_t i, off, text;
};

int tree_init(struct seq *s);
void tree_done(struct seq *s);
/* The tree of `from` comes in place of that of s. */
void tree_take(struct seq *s, struct seq *from);
/* The visible element at pos < s->visible. */
void tree_at(struct seq *s, uint32_t pos, struct place *ret);
/* The same for those who may not move the hint. */
void tree_look(const struct seq *s, uint32_t pos, struct place *ret);
/* May the leaf have a dot that is not covered? */
bool leaf_beyond(const struct leaf *l, const struct vv *known);
/* Visible elements before the leaf. */
uint32_t tree_before(const struct leaf *l);
/* Visible elements of the leaf before piece i. */
uint32_t tree_text(const struct leaf *l, uint32_t i);
/* Room for so many more pieces in the place's leaf; the place moves along. */
int tree_room(struct seq *s, struct place *at, uint32_t pieces);
/* Cuts piece i before element k, 0 < k < len; there is room. */
int tree_cut(struct seq *s, struct leaf *l, uint32_t i, uint32_t k);
/* Puts *p before piece at->i, at->off = 0; at->text is set. On success p is moved, and at says
 * where it is. text: its bytes; at most LEAF_TEXT of them. */
int tree_put(struct seq *s, struct place *at, struct piece *p, const uint8_t *text);
/* Makes one of the pieces i and i + 1 if they are. */
bool tree_join(struct seq *s, struct leaf *l, uint32_t i);
/* n bytes more at the end of alive piece i; text is the offset in the leaf. False: no room. */
bool tree_extend(struct seq *s, const struct place *at, const void *data, uint32_t n,
		 unsigned link);
/* Marks k elements from the place on, of one alive piece. */
int tree_delete(struct seq *s, struct place at, uint32_t k, const struct deletion *gone);

/* Copies a piece of any length behind the last one; end is where that was, and moves on. */
int tree_append(struct seq *s, struct place *end, const struct piece *p, const uint8_t *text);

/* --- ids (seq-ids.c) --- */

/* Makes the index if there is none. */
int ids_need(struct seq *s);
void ids_free(struct ids *ids);
/* The element; false: there is none. The index is there. at->text is not set. */
bool ids_find(const struct seq *s, const struct seq_id *id, struct place *ret);
/* How many elements of p, from k on, are unknown; the k-th is. */
uint32_t ids_unknown(const struct seq *s, const struct piece *p, uint32_t k);
/* The tree tells of pieces that come, go, and move to another leaf. An index that runs out of
 * memory is dropped. */
void ids_add(struct seq *s, const struct seq_id *id, struct leaf *l);
void ids_remove(struct seq *s, const struct seq_id *id);
void ids_move(struct seq *s, const struct seq_id *id, struct leaf *l);

/* --- local edits (seq.c) --- */

/* The place of the actor in newest, or where it would go. */
uint32_t newest_at(const struct seq *s, uint32_t actor);
/* The index from which dot goes on. -EINVAL: the actor is further. */
int newest_index(const struct seq *s, struct dot dot, uint32_t n, uint32_t *ret);
int newest_raise(struct seq *s, const struct seq_id *last);
/* Puts a run into the gap (leaf, i, off) where it belongs: cuts, keeps text in pieces that fit
 * a leaf. p: parent, side, and what its neighbours have to know, are done; p is moved. */
int seq_put_run(struct seq *s, struct place *at, struct piece *p, const uint8_t *text);

/* --- parts (seq-part.c) --- */

/* An element of a part. */
struct link {
	uint32_t run, off;
};

#define NO_LINK ((struct link){ NOWHERE, 0 })

struct seq_part {
	const struct actors *actors;
	enum seq_flavour flavour;
	struct piece *run; /* maximal, in the order of ids, no two overlap */
	uint32_t n, cap;
	uint32_t total;
	struct buf text; /* bytes of those alive, in that order */
};

int part_new(enum seq_flavour flavour, const struct actors *actors, struct seq_part **ret);
/* Appends elements whose ids are beyond all that are there; p is copied. */
int part_append(struct seq_part *d, const struct piece *p, const uint8_t *text);
/* Where an element is: false if it is not. */
bool part_find(const struct seq_part *d, const struct seq_id *id, struct link *ret);
/* Everything of both. Where both have an element they agree. */
int part_union(const struct seq_part *x, const struct seq_part *y, struct seq_part **ret);

/* The sequence that a part is, if it has every parent: -EBADMSG if not, or if elements are each
 * other's ancestors. parent: where those of its runs are (NO_LINK: the root), or NULL. */
int seq_arrange(const struct seq_part *d, const struct link *parent, struct seq **ret);

/* --- bases (seq-edit.c) --- */

struct seq_base {
	struct piece *run; /* maximal; id, len and PIECE_STEP say something */
	uint32_t n, cap;
	uint32_t total;
};

/* Appends elements, as far as they go on from the last ones to the last run. */
int base_append(struct seq_base *b, const struct piece *p);
