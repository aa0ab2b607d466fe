/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/slotseq.h"

static struct slot *content_of(const struct record *r)
{
	return r->top ? slot_find(r->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
}

/* Also deletes what is shown once though several wrote it. */
static int edit_seq(struct seq *seq, const struct seq_base *anchors, const struct vv *base,
		    const struct seq_edit *edit, size_t n, struct dot dot)
{
	if (anchors) {
		_cleanup_(seq_twins_freep) struct seq_twins *twins = NULL;
		int r = seq_twins_make(seq, &twins);
		if (r == 0)
			r = seq_edit(seq, anchors, base, edit, n, dot);
		/* Without this the other would show where one of the two is changed. */
		return r < 0 || !twins ? r : seq_twins_delete(seq, twins, dot);
	}
	int r = seq_delete_covered(seq, base, dot, NULL);
	return r < 0 || n == 0 ? r : seq_insert(seq, 0, edit->data, edit->n, dot);
}

static int write_content(struct arena *a, const struct actors *actors, const struct record *r,
			 const struct slot *s, const struct seq *seq, const struct vv *base,
			 const struct stamp *st, const struct record **ret)
{
	struct seen seen = { base, st->dot };
	struct entry e = { st->dot, st->hlc, { .kind = VALUE_TEXT } };
	struct reg before = s ? s->val : (struct reg){ 0 };
	struct slot *t = slot_copy(a, s, TOP_CONTENT, strlen(TOP_CONTENT));
	struct record *c = arena_new(a, struct record);
	bool took;
	if (!t || !c)
		return -ENOMEM;
	*c = *r;
	int err = slotseq_store(a, seq, actors, t);
	if (err == 0)
		err = reg_write(a, actors, &before, &seen, &e, &t->val, &took);
	if (err == 0)
		err = slot_remove_below(a, t, &seen);
	if (err == 0)
		err = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	if (err == 0)
		err = slot_put(a, r->top, TOP_CONTENT, strlen(TOP_CONTENT), t, &c->top);
	if (err == 0)
		err = record_bound_marks(a, c);
	if (err == 0)
		*ret = c;
	return err;
}

int record_set_text(struct arena *a, const struct actors *actors, const struct record *r,
		    const struct seq_base *anchors, const struct vv *base,
		    const struct seq_edit *edit, size_t n, const struct stamp *st,
		    const struct record **ret)
{
	static const char *const style[] = { TOP_STYLE, TOP_SOURCE };
	_cleanup_(seq_freep) struct seq *seq = NULL;
	const struct slot *s = content_of(r);
	const struct record *c = r;
	const struct entry *shown;
	enum value_kind kind;
	assert(anchors || n <= 1);
	if (anchors && n == 0 && slot_shown(s, actors, &shown, &kind) && kind == VALUE_TEXT) {
		*ret = r;
		return 0;
	}
	if (!base)
		base = &r->ctx;
	int err = slotseq_load(s, actors, &seq);
	if (err == 0)
		err = edit_seq(seq, anchors, base, edit, n, st->dot);
	if (err == 0)
		err = write_content(a, actors, r, s, seq, base, st, &c);
	for (size_t i = 0; err == 0 && i < 2; i++)
		err = record_set(a, actors, c, style[i], NULL, 0, NULL, base, st, &c);
	return err < 0 ? err : record_touch(a, actors, c, st, ret);
}

int slot_text(const struct slot *s, const struct actors *actors, struct buf *b,
	      struct seq_base **ret_anchors)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	_cleanup_(seq_twins_freep) struct seq_twins *twins = NULL;
	int err = slotseq_load(s, actors, &seq);
	if (err == 0)
		err = seq_twins_make(seq, &twins);
	if (err < 0)
		return err;
	struct seq_iter it = seq_iter(seq);
	struct seq_span span;
	while (seq_iter_next(&it, &span))
		if (!seq_twins_hide(twins, &span.id))
			buf_put(b, span.text, span.len);
	if (buf_failed(b))
		return -ENOMEM;
	return ret_anchors ? seq_twins_base(seq, twins, ret_anchors) : 0;
}

int record_text(const struct record *r, const struct actors *actors, struct buf *b,
		struct seq_base **ret_anchors)
{
	return slot_text(content_of(r), actors, b, ret_anchors);
}
