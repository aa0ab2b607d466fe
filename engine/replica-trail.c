/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Large documents that are saved again and again, one value at a time (engine/leaf.h). Their record is
 * neither read nor written for it: the one that was saved last stays in memory, decoded, and what a
 * save changes goes into a trail of the record (META_TRAIL), in the order of the saves. Whoever reads the
 * record takes the trail with it (stored_decode). Any other change writes the record whole and takes the
 * trail away, and so does a save that finds it long. Only a record in DOC_FORMAT_TRAIL has one, and
 * only the first such save writes that format: what is small, or comes from others, pays nothing.
 *
 * All under the commit lock, but for stored_decode. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/leaf.h"
#include "engine/slot.h"

#define LARGE_MEMORY (96u << 20) /* of one that stays decoded */
#define TRAIL_FORMAT 1
#define TRAIL_MAX (16u << 10) /* and half of the document at most */

struct large {
	bool there;
	struct arena arena;
	size_t first;         /* its size when the record was read */
	struct record record; /* as the store has it */
	bool trail;           /* it is in DOC_FORMAT_TRAIL */
	struct buf changes;   /* the value of META_TRAIL; empty: there is none */
	uint64_t sum;         /* record_entries_sum */
	struct entry newest;  /* slot_newest of the content: which one, not its value */
};

/* ---- reading ---- */

static void trail_key(const struct id *id, uint8_t key[static 1 + ID_SIZE])
{
	key[0] = META_TRAIL;
	memcpy(key + 1, id->b, ID_SIZE);
}

int trail_get(struct store *store, const struct store_snapshot *snap, const struct id *id,
	      struct buf *ret)
{
	uint8_t key[1 + ID_SIZE];
	trail_key(id, key);
	int rc = store_get(store, snap, STORE_META, key, sizeof(key), ret);
	if (rc == -ENOENT)
		buf_reset(ret);
	return rc == -ENOENT ? 0 : rc;
}

int trail_replay(struct arena *a, const struct actors *actors, const struct buf *trail,
		 struct record *rec, struct err *e)
{
	struct cursor c = cursor_make(trail->data, trail->len);
	struct leaf l;
	struct stamp st;
	if (trail->len == 0)
		return 0;
	uint8_t format = cursor_u8(&c);
	if (format != TRAIL_FORMAT)
		return err_set(e, -EPROTONOSUPPORT,
			       "changes of a record have format %u, which a newer version of shoal "
			       "wrote: use that one", format);
	while (cursor_left(&c) > 0) {
		int rc = leaf_decode(a, actors, &c, &l, &st);
		if (rc == 0)
			rc = leaf_apply(a, actors, rec, &l, &st);
		if (rc == -EBADMSG)
			return err_set(e, rc, "the changes of a record are damaged");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the one in memory ---- */

int large_init(struct replica *r)
{
	r->large = calloc(1, sizeof(*r->large));
	return r->large ? 0 : -ENOMEM;
}

static void large_drop(struct replica *r)
{
	struct large *l = r->large;
	arena_done(&l->arena);
	buf_done(&l->changes);
	*l = (struct large){ 0 };
}

void large_done(struct replica *r)
{
	if (r->large)
		large_drop(r);
	free(r->large);
	r->large = NULL;
}

static struct large *large_of(struct replica *r, const struct id *id)
{
	return r->large->there && id_equal(&r->large->record.id, id) ? r->large : NULL;
}

static const struct slot *content(const struct record *rec)
{
	return rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

static void find_newest(struct replica *r, const struct record *rec, struct entry *ret)
{
	const struct slot *s = content(rec);
	const struct entry *e = s ? slot_newest(s, r->actors) : NULL;
	*ret = e ? (struct entry){ .dot = e->dot, .hlc = e->hlc } : (struct entry){ .hlc = 0 };
}

static int large_load(struct replica *r, const struct id *id, struct err *e)
{
	struct large *l = r->large;
	struct stored s;
	large_drop(r);
	int rc = stored_get(r, NULL, &l->arena, id, &s, e);
	if (rc == 0 && s.trail)
		rc = trail_get(r->store, NULL, id, &l->changes);
	if (rc < 0 || s.n_extra > 0 || l->arena.total > LARGE_MEMORY) {
		large_drop(r);
		return rc;
	}
	l->record = *s.record;
	l->trail = s.trail;
	l->first = l->arena.total;
	l->sum = record_entries_sum(&l->record, r->actors);
	find_newest(r, &l->record, &l->newest);
	l->there = true;
	return 0;
}

int large_get(struct commit *c, const struct node *n, struct stored *ret, struct err *e)
{
	const struct id *id = &n->attr.id;
	if (n->attr.size < c->r->config.large_min)
		return commit_record(c, id, ret, e);
	int rc = large_of(c->r, id) ? 0 : large_load(c->r, id, e);
	struct large *l = large_of(c->r, id);
	if (rc < 0)
		return rc;
	if (!l)
		return commit_record(c, id, ret, e);
	*ret = (struct stored){ .record = &l->record, .trail = l->trail };
	return 0;
}

/* ---- a save ---- */

void large_changes(struct commit *c, struct touched *t, const struct leaf *leaf)
{
	const struct large *l = large_of(c->r, &t->record->id);
	t->leaf = leaf;
	if (!l)
		return;
	const struct entry *old = &leaf_slot(&l->record, leaf)->val.entry[0];
	struct entry newest = { .dot = c->stamp.dot, .hlc = c->stamp.hlc };
	if (entry_rank(c->r->actors, &newest, &l->newest) < 0) {
		newest = l->newest;
		if (dot_cmp(c->r->actors, old->dot, newest.dot) == 0)
			find_newest(c->r, t->record, &newest);
	}
	t->gist = (struct gist){ l->sum - dot_sum(c->r->actors, old->dot) +
					 dot_sum(c->r->actors, c->stamp.dot),
				 newest };
	t->known.gist = &t->gist;
}

uint8_t trail_format(struct commit *c, const struct touched *t)
{
	return t->leaf && large_of(c->r, &t->record->id) && t->n_extra == 0 ? DOC_FORMAT_TRAIL :
									       DOC_FORMAT;
}

bool trail_put(struct commit *c, struct touched *t, struct store_batch *b, struct buf *v)
{
	const struct large *l = t->leaf ? large_of(c->r, &t->record->id) : NULL;
	uint8_t key[1 + ID_SIZE];
	trail_key(&t->record->id, key);
	if (l && l->trail && t->n_extra == 0) {
		buf_reset(v);
		if (l->changes.len == 0)
			buf_u8(v, TRAIL_FORMAT);
		buf_put(v, l->changes.data, l->changes.len);
		leaf_encode(t->leaf, &c->stamp, v);
		t->behind = v->len <= TRAIL_MAX && v->len <= t->after.attr.size / 2;
	}
	if (t->behind)
		store_put(b, STORE_META, key, sizeof(key), v->data, v->len);
	else if (t->trail)
		store_delete(b, STORE_META, key, sizeof(key));
	return t->behind;
}

void large_publish(struct commit *c, const struct touched *t)
{
	struct replica *r = c->r;
	struct large *l = large_of(r, &t->after.attr.id);
	if (!l)
		return;
	if (t->gone || !t->leaf || t->n_extra > 0 ||
	    leaf_apply(&l->arena, r->actors, &l->record, t->leaf, &c->stamp) < 0) {
		large_drop(r);
		return;
	}
	l->sum = t->gist.sum;
	l->newest = t->gist.newest;
	l->trail = true;
	if (!t->behind)
		buf_reset(&l->changes);
	else if (l->changes.len == 0)
		buf_u8(&l->changes, TRAIL_FORMAT);
	if (t->behind)
		leaf_encode(t->leaf, &c->stamp, &l->changes);
	/* What was replaced stays in the arena. */
	if (buf_failed(&l->changes) || l->arena.total > l->first + l->first / 2)
		large_drop(r);
}
