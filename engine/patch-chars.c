/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings over strings where a text is declared (engine/chars.h).
 *
 * What the writer had read is either the sequence as it was then, and the version knows its elements;
 * or a plain string. That one is still in the register, or somebody who had read it as well has made a
 * text of it meanwhile; else it is gone, and what is written is a string again, as everywhere. */
#include <errno.h>

#include "engine/chars.h"
#include "engine/patch-impl.h"
#include "engine/slotseq.h"

struct editor {
	struct applier *ap;
	const struct slot *s;
	const struct json *before;
	struct seq *seq;
	struct seq_base *base; /* what the writer had read */
};

static void editor_done(struct editor *e)
{
	seq_base_free(e->base);
	seq_free(e->seq);
}

/* The entry of the string that the writer had read: of equal ones the one that was shown. What this
 * batch wrote is written again: its dot says nothing of when. */
static const struct entry *plain_entry(const struct editor *e)
{
	const struct applier *ap = e->ap;
	const struct value was = { VALUE_STRING, (const uint8_t *)e->before->text, e->before->len };
	const struct entry *best = NULL;
	for (uint32_t i = 0; i < e->s->val.n; i++) {
		const struct entry *x = &e->s->val.entry[i];
		if (vv_has(ap->seen.base, x->dot) && value_same(&x->value, &was) &&
		    (!best || entry_rank(ap->actors, x, best) > 0))
			best = x;
	}
	return best;
}

/* Has somebody made a text of it whom the writer had not seen? An empty string leaves no elements. */
static bool became_text(const struct editor *e)
{
	for (uint32_t i = 0; i < e->s->val.n; i++)
		if (e->s->val.entry[i].value.kind == VALUE_CHARS &&
		    !vv_has(e->ap->seen.base, e->s->val.entry[i].dot))
			return true;
	return false;
}

/* -ENOENT: the string is neither there, nor a text. */
static int find_seed(const struct editor *e, struct seq_seed *ret)
{
	const struct entry *plain = plain_entry(e);
	const uint32_t n = (uint32_t)e->before->len;
	*ret = (struct seq_seed){ .n = n };
	if (plain)
		ret->dot = plain->dot;
	if (plain || n == 0)
		return plain || became_text(e) ? 0 : -ENOENT;
	return seq_seed_find(e->seq, e->ap->seen.base, e->before->text, n, ret);
}

static int base_of_plain(struct editor *e)
{
	struct seq_seed seed;
	int r = find_seed(e, &seed);
	if (r == 0)
		r = seq_seed_clear(e->seq, &seed, e->ap->seen.base, e->ap->st->dot);
	if (r == 0)
		r = seq_seed_put(e->seq, &seed, e->before->text);
	return r < 0 ? r : seq_seed_base(&seed, &e->base);
}

static int base_of_chars(struct editor *e)
{
	const struct chars_base *k = e->before->chars;
	int r = chars_base_decode(e->ap->actors, k, &e->base);
	return r == 0 && seq_base_length(e->base) != e->before->len ? -EBADMSG : r;
}

/* Puts the edits in; *ret: what their writer knows then. */
static int put_edits(struct editor *e, const struct patch *p, const struct chars_base **ret)
{
	_cleanup_(seq_twins_freep) struct seq_twins *twins = NULL;
	_cleanup_(seq_base_freep) struct seq_base *after = NULL;
	const struct dot dot = e->ap->st->dot;
	uint32_t index;
	int r = seq_next_index(e->seq, dot, &index);
	if (r == 0)
		r = seq_twins_make(e->seq, &twins);
	if (r == 0)
		r = seq_edit(e->seq, e->base, e->ap->seen.base, p->edit, p->n_edits, dot);
	if (r == 0 && twins)
		r = seq_twins_delete(e->seq, twins, dot);
	if (r == 0)
		r = seq_base_edit(e->base, p->edit, p->n_edits, dot, index, &after);
	return r < 0 ? r : chars_base_keep(e->ap->a, after, ret);
}

static int put(struct applier *ap, struct slot *s, const struct seq *seq, struct slot **ret)
{
	static const struct value chars = { .kind = VALUE_CHARS };
	struct slot *c = slot_copy(ap->a, s, NULL, 0);
	int r = c ? slotseq_store(ap->a, seq, ap->actors, c) : -ENOMEM;
	if (r == 0)
		r = patch_write(ap, c, &chars);
	if (r == 0)
		r = slot_remove_below(ap->a, c, &ap->seen);
	if (r == 0)
		*ret = c;
	return r;
}

int patch_chars(struct applier *ap, struct slot *s, const struct patch *p, struct slot **ret)
{
	struct editor e = { .ap = ap, .s = s, .before = p->before };
	const struct chars_base *after = NULL;
	if (!s || p->n_edits == 0)
		return 0;
	int r = slotseq_load(s, ap->actors, &e.seq);
	if (r == 0)
		r = p->before->chars ? base_of_chars(&e) : base_of_plain(&e);
	if (r == 0)
		r = put_edits(&e, p, &after);
	if (r == 0)
		r = put(ap, s, e.seq, ret);
	editor_done(&e);
	/* Where the text is full it begins anew. */
	if (r == -ENOENT || r == -EFBIG)
		return 0;
	if (r == 0)
		p->value->chars = after;
	return r < 0 ? r : 1;
}
