/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/slotseq.h"

#include <errno.h>
#include <string.h>

#include "engine/element.h"

/* The stored form never adds an actor. */
static struct actors *table(const struct actors *actors)
{
	return (struct actors *)(uintptr_t)actors;
}

static int part_load(const struct slot *s, const struct actors *actors, struct seq_part **ret)
{
	struct cursor c = cursor_make(s->seq, s->seq_len);
	int r = seq_part_decode(&c, table(actors), NULL, NULL, ret, NULL);
	return r < 0 || cursor_end(&c) ? r : -EBADMSG;
}

int slotseq_load(const struct slot *s, const struct actors *actors, struct seq **ret)
{
	const enum seq_flavour want = s && key_is_order(s->key, s->key_len) ? SEQ_BARE : SEQ_TEXT;
	_cleanup_(seq_freep) struct seq *seq = NULL;
	if (!s || !s->seq_len)
		return seq_new(want, actors, ret);
	struct cursor c = cursor_make(s->seq, s->seq_len);
	int r = seq_decode(&c, table(actors), NULL, NULL, &seq, NULL);
	if (r < 0 || seq_flavour(seq) != want)
		return r < 0 ? r : -EBADMSG;
	*ret = TAKE_PTR(seq);
	return 0;
}

/* Moves the bytes to the arena. */
static int keep(struct arena *a, struct buf *b, struct slot *to)
{
	if (buf_failed(b))
		return -ENOMEM;
	to->seq = (const uint8_t *)arena_dup(a, b->data, b->len);
	to->seq_len = b->len;
	return to->seq ? 0 : -ENOMEM;
}

int slotseq_store(struct arena *a, const struct seq *seq, const struct actors *actors,
		  struct slot *to)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (seq_total(seq) == 0) {
		to->seq = NULL;
		to->seq_len = 0;
		return 0;
	}
	seq_encode(seq, table(actors), NULL, &b);
	return keep(a, &b, to);
}

int slotseq_part(struct arena *a, const struct slot *s, const struct actors *actors,
		 const struct vv *known, struct slot *to)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	if (!s->seq_len)
		return 0;
	int r = slotseq_load(s, actors, &seq);
	if (r == 0)
		r = seq_part_make(seq, known, &part);
	if (r < 0 || seq_part_empty(part))
		return r;
	seq_part_encode(part, table(actors), NULL, &b);
	return keep(a, &b, to);
}

int slotseq_join(struct arena *a, const struct slot *x, const struct slot *y,
		 const struct actors *actors, struct slot *to)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	_cleanup_(seq_part_freep) struct seq_part *part = NULL;
	if (!y->seq_len)
		return 0;
	const struct slot empty = { .key = y->key, .key_len = y->key_len };
	int r = part_load(y, actors, &part);
	if (r == 0)
		r = slotseq_load(x ? x : &empty, actors, &seq);
	if (r == 0)
		r = seq_join(seq, part, NULL);
	if (r == 0)
		r = slotseq_store(a, seq, actors, to);
	if (r == 0 && x && x->seq_len == to->seq_len && x->seq_len > 0 &&
	    !memcmp(x->seq, to->seq, x->seq_len))
		to->seq = x->seq;
	return r;
}
