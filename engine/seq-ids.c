/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From ids to leaves: an entry for each piece, under the id of its first element.
 *
 * Entries are sorted by (actor number, whether index > 0, seq, index) in blocks of some dozens,
 * the blocks in one array. Ids with index 0 stand apart from the others because a piece that goes
 * on from batch to batch has only those: what an id belongs to is then always the nearest entry
 * below it, in its own group or, for the first batch of elements that begins at index 0, exactly
 * (actor, seq, 0). */
#include "engine/seq-impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64
#define BLOCK_FILL 48

struct entry {
	struct seq_id id;
	struct leaf *leaf;
};

struct block {
	uint32_t n;
	struct entry entry[BLOCK];
};

struct ids {
	struct block **block; /* none is empty, but a lone one may be */
	uint32_t n, cap;
};

static int key_cmp(const struct seq_id *x, const struct seq_id *y)
{
	if (x->actor != y->actor)
		return x->actor < y->actor ? -1 : 1;
	if ((x->index > 0) != (y->index > 0))
		return x->index > 0 ? 1 : -1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int entry_cmp(const void *x, const void *y)
{
	return key_cmp(&((const struct entry *)x)->id, &((const struct entry *)y)->id);
}

void ids_free(struct ids *ids)
{
	if (!ids)
		return;
	for (uint32_t i = 0; i < ids->n; i++)
		free(ids->block[i]);
	free(ids->block);
	free(ids);
}

static int block_put(struct ids *ids, uint32_t at)
{
	if (ids->n == ids->cap) {
		uint32_t cap = ids->cap ? ids->cap * 2 : 16;
		struct block **p = reallocarray(ids->block, cap, sizeof(struct block *));
		if (!p)
			return -ENOMEM;
		ids->block = p;
		ids->cap = cap;
	}
	struct block *b = malloc(sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->n = 0;
	memmove(ids->block + at + 1, ids->block + at, (ids->n - at) * sizeof(struct block *));
	ids->block[at] = b;
	ids->n++;
	return 0;
}

static int fill(struct ids *ids, const struct seq *s)
{
	struct entry *entry = reallocarray(NULL, s->pieces ? s->pieces : 1, sizeof(*entry));
	uint32_t n = 0;
	int r = 0;
	if (!entry)
		return -ENOMEM;
	for (struct leaf *l = s->first; l; l = l->next)
		for (uint32_t i = 0; i < l->node.n; i++)
			entry[n++] = (struct entry){ l->piece[i].id, l };
	qsort(entry, n, sizeof(*entry), entry_cmp);
	for (uint32_t i = 0; r == 0 && (i < n || ids->n == 0); i += BLOCK_FILL) {
		r = block_put(ids, ids->n);
		if (r < 0)
			break;
		struct block *b = ids->block[ids->n - 1];
		b->n = n - i < BLOCK_FILL ? n - i : BLOCK_FILL;
		memcpy(b->entry, entry + i, b->n * sizeof(*entry));
	}
	free(entry);
	return r;
}

int ids_need(struct seq *s)
{
	if (s->ids)
		return 0;
	struct ids *ids = calloc(1, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	int r = fill(ids, s);
	if (r < 0) {
		ids_free(ids);
		return r;
	}
	s->ids = ids;
	return 0;
}

/* The block where the id is or would go: the last one that does not begin above it. */
static uint32_t block_at(const struct ids *ids, const struct seq_id *id)
{
	uint32_t lo = 0, hi = ids->n;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (key_cmp(&ids->block[mid]->entry[0].id, id) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* The first place in the block that is above the id. */
static uint32_t above(const struct block *b, const struct seq_id *id)
{
	uint32_t lo = 0, hi = b->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (key_cmp(&b->entry[mid].id, id) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct entry *nearest(const struct ids *ids, const struct seq_id *id)
{
	struct block *b = ids->block[block_at(ids, id)];
	uint32_t i = above(b, id);
	return i > 0 ? &b->entry[i - 1] : NULL;
}

static const struct entry *next(const struct ids *ids, const struct seq_id *id)
{
	uint32_t k = block_at(ids, id);
	uint32_t i = above(ids->block[k], id);
	if (i < ids->block[k]->n)
		return &ids->block[k]->entry[i];
	return k + 1 < ids->n ? &ids->block[k + 1]->entry[0] : NULL;
}

static bool find_in(const struct entry *e, const struct seq_id *head, const struct seq_id *id,
		    struct place *ret)
{
	if (!e || e->id.actor != head->actor || (e->id.index > 0) != (head->index > 0))
		return false;
	struct leaf *l = e->leaf;
	uint32_t i = 0;
	while (!seq_id_equal(&l->piece[i].id, &e->id))
		i++;
	uint32_t off = piece_find(&l->piece[i], id);
	if (off == NOWHERE)
		return false;
	*ret = (struct place){ .leaf = l, .i = i, .off = off };
	return true;
}

bool ids_find(const struct seq *s, const struct seq_id *id, struct place *ret)
{
	struct seq_id head = { id->actor, 0, id->seq };
	if (find_in(nearest(s->ids, id), id, id, ret))
		return true;
	return id->index > 0 && find_in(nearest(s->ids, &head), &head, id, ret);
}

uint32_t ids_unknown(const struct seq *s, const struct piece *p, uint32_t k)
{
	struct seq_id id = piece_id(p, k);
	const struct entry *e;
	uint64_t n = p->len - k;
	if (p->flags & PIECE_STEP) {
		e = next(s->ids, &id);
		if (e && e->id.actor == id.actor && e->id.index == 0 && e->id.seq - id.seq < n)
			n = e->id.seq - id.seq;
		return (uint32_t)n;
	}
	/* The next id of the batch is in the other group, as far as one can see from index 0. */
	if (id.index == 0 && n > 1) {
		struct seq_id first = { id.actor, 1, id.seq };
		struct place at;
		if (ids_find(s, &first, &at))
			return 1;
		id = first;
	}
	e = next(s->ids, &id);
	uint32_t end = piece_id(p, p->len).index;
	if (e && e->id.actor == id.actor && e->id.seq == id.seq && e->id.index > 0 &&
	    e->id.index < end)
		end = e->id.index;
	return end - piece_id(p, k).index;
}

static void drop(struct seq *s)
{
	ids_free(s->ids);
	s->ids = NULL;
}

void ids_add(struct seq *s, const struct seq_id *id, struct leaf *l)
{
	struct ids *ids = s->ids;
	if (!ids)
		return;
	uint32_t k = block_at(ids, id);
	struct block *b = ids->block[k];
	if (b->n == BLOCK) {
		if (block_put(ids, k + 1) < 0) {
			drop(s);
			return;
		}
		struct block *r = ids->block[k + 1];
		r->n = BLOCK / 2;
		b->n = BLOCK - r->n;
		memcpy(r->entry, b->entry + b->n, r->n * sizeof(*r->entry));
		if (key_cmp(&r->entry[0].id, id) <= 0)
			b = r;
	}
	uint32_t i = above(b, id);
	memmove(b->entry + i + 1, b->entry + i, (b->n - i) * sizeof(*b->entry));
	b->entry[i] = (struct entry){ *id, l };
	b->n++;
}

void ids_remove(struct seq *s, const struct seq_id *id)
{
	struct ids *ids = s->ids;
	if (!ids)
		return;
	uint32_t k = block_at(ids, id);
	struct block *b = ids->block[k];
	uint32_t i = above(b, id) - 1;
	b->n--;
	memmove(b->entry + i, b->entry + i + 1, (b->n - i) * sizeof(*b->entry));
	if (b->n > 0 || ids->n == 1)
		return;
	free(b);
	ids->n--;
	memmove(ids->block + k, ids->block + k + 1, (ids->n - k) * sizeof(struct block *));
}

void ids_move(struct seq *s, const struct seq_id *id, struct leaf *l)
{
	if (!s->ids)
		return;
	struct entry *e = nearest(s->ids, id);
	assert(e && seq_id_equal(&e->id, id));
	e->leaf = l;
}
