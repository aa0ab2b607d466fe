/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What own counters held before each of the last batches. A counter's entry is one sum; when the store
 * goes on as another incarnation from some number on, others hold the sum as it was at that number, and
 * only what was added since goes over (engine/restamp.h). It is kept as long as a batch's tag. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/slot.h"

static void counted_key(uint64_t seq, const struct id *slot, struct buf *b)
{
	buf_u8(b, META_COUNTED);
	buf_u64(b, seq);
	buf_put(b, slot->b, ID_SIZE);
}

struct noting {
	const struct commit *c;
	struct store_batch *b;
};

static const struct entry *own_counter(const struct noting *k, const struct slot *s)
{
	for (uint32_t i = 0; s && i < s->val.n; i++) {
		const struct entry *e = &s->val.entry[i];
		if (e->value.kind == VALUE_COUNTER && e->dot.actor == k->c->stamp.dot.actor)
			return e;
	}
	return NULL;
}

static int note(const struct noting *k, const struct id *name, const struct entry *was)
{
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	counted_key(k->c->stamp.dot.seq, name, &key);
	buf_u64(&v, was->dot.seq);
	buf_u64(&v, was->hlc);
	buf_put(&v, was->value.data, was->value.len);
	if (buf_failed(&key) || buf_failed(&v))
		return -ENOMEM;
	store_put(k->b, STORE_META, key.data, key.len, v.data, v.len);
	return 0;
}

/* What did not change is shared. Slots nest at most RECORD_DEPTH_MAX deep. */
static int note_slot(const struct noting *k, const struct id *parent, const struct slot *old,
		     const struct slot *new)
{
	struct id name;
	if (!old || !new || old == new)
		return 0;
	slot_name(parent, new, &name);
	const struct entry *was = own_counter(k, old), *is = own_counter(k, new);
	int rc = was && is && is->dot.seq != was->dot.seq ? note(k, &name, was) : 0;
	for (uint32_t i = 0, j = 0; rc == 0 && i < new->n && old->child != new->child; i++) {
		const struct slot *s = new->child[i];
		while (j < old->n && old->child[j] != s &&
		       key_cmp(old->child[j]->key, old->child[j]->key_len, s->key, s->key_len) < 0)
			j++;
		if (j < old->n && old->child[j] != s &&
		    key_cmp(old->child[j]->key, old->child[j]->key_len, s->key, s->key_len) == 0)
			rc = note_slot(k, &name, old->child[j], s);
	}
	return rc;
}

int counted_put(const struct commit *c, struct store_batch *b)
{
	const struct noting k = { c, b };
	int rc = 0;
	for (const struct touched *t = c->first; rc == 0 && t; t = t->next)
		/* A leaf is no counter. */
		if (t->record && t->old && t->old != t->record && !t->leaf)
			rc = note_slot(&k, &t->record->id, t->old->top, t->record->top);
	return rc;
}

int counted_before(const struct id *slot, uint64_t seq, struct arena *a, struct entry *ret,
		   void *userdata)
{
	const struct replica *r = userdata;
	_cleanup_(buf_done) struct buf key = { 0 }, v = { 0 };
	counted_key(seq, slot, &key);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(r->store, NULL, STORE_META, key.data, key.len, &v);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	struct cursor c = cursor_make(v.data, v.len);
	struct entry e = { .value.kind = VALUE_COUNTER };
	e.dot.seq = cursor_u64(&c);
	e.hlc = cursor_u64(&c);
	if (!cursor_ok(&c) || e.dot.seq >= seq)
		return -EBADMSG;
	e.value.len = cursor_left(&c);
	e.value.data = (const uint8_t *)arena_dup(a, c.p, e.value.len);
	if (!e.value.data)
		return -ENOMEM;
	*ret = e;
	return 1;
}
