/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/chars.h"

#include <errno.h>

#include "engine/counter.h"
#include "engine/text.h"
#include "engine/utf8.h"

int chars_base_keep(struct arena *a, const struct seq_base *base, const struct chars_base **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct chars_base *k = arena_new(a, struct chars_base);
	seq_base_encode(base, NULL, &b);
	if (!k || buf_failed(&b))
		return -ENOMEM;
	k->data = (const uint8_t *)arena_dup(a, b.data, b.len);
	k->len = b.len;
	if (!k->data)
		return -ENOMEM;
	*ret = k;
	return 0;
}

int chars_base_decode(const struct actors *actors, const struct chars_base *k, struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *base = NULL;
	struct cursor c = cursor_make(k->data, k->len);
	struct actors *table = (struct actors *)(uintptr_t)actors; /* none is added */
	int r = seq_base_decode(&c, table, NULL, &base, NULL);
	if (r == 0 && !cursor_end(&c))
		r = -EBADMSG;
	if (r == 0)
		*ret = TAKE_PTR(base);
	return r;
}

int chars_base_restamp(const struct actors *actors, const struct chars_base *k,
		       const struct restamp *rs, struct buf *ret)
{
	_cleanup_(seq_base_freep) struct seq_base *old = NULL, *new = NULL;
	int r = chars_base_decode(actors, k, &old);
	if (r == 0)
		r = seq_base_restamp(old, rs, &new);
	if (r == 0)
		seq_base_encode(new, NULL, ret);
	return r == 0 && buf_failed(ret) ? -ENOMEM : r;
}

/* U+FFFD for each byte that is none of a character. */
static void repair(const struct buf *from, struct buf *to)
{
	for (const uint8_t *p = from->data, *end = p + from->len; p < end;) {
		size_t n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (n > 0)
			buf_put(to, p, n);
		else
			buf_put(to, "\xef\xbf\xbd", 3);
		p += n > 0 ? n : 1;
	}
}

static int keep_string(struct arena *a, const struct buf *b, struct value *ret)
{
	if (buf_failed(b))
		return -ENOMEM;
	const char *copy = arena_dup(a, b->len ? (const char *)b->data : "", b->len);
	if (!copy)
		return -ENOMEM;
	*ret = (struct value){ VALUE_STRING, (const uint8_t *)copy, b->len };
	return 0;
}

static int chars_shown(struct arena *a, const struct actors *actors, const struct slot *s,
		       struct value *ret, const struct chars_base **ret_base)
{
	_cleanup_(buf_done) struct buf b = { 0 }, good = { 0 };
	_cleanup_(seq_base_freep) struct seq_base *base = NULL;
	int r = slot_text(s, actors, &b, ret_base ? &base : NULL);
	if (r < 0)
		return r;
	if (!utf8_valid(b.data, b.len)) {
		repair(&b, &good);
		return keep_string(a, &good, ret);
	}
	if (base)
		r = chars_base_keep(a, base, ret_base);
	return r < 0 ? r : keep_string(a, &b, ret);
}

int value_shown(struct arena *a, const struct actors *actors, const struct slot *s,
		const struct value *v, struct value *ret, const struct chars_base **ret_base)
{
	if (ret_base)
		*ret_base = NULL;
	return v->kind == VALUE_CHARS ? chars_shown(a, actors, s, ret, ret_base) :
					number_shown(a, s, v, ret);
}

bool chars_same(const struct actors *actors, const struct slot *s, const struct value *x,
		const struct value *y)
{
	struct arena tmp = { 0 };
	struct value p, q;
	bool strings = (x->kind == VALUE_CHARS || x->kind == VALUE_STRING) &&
		       (y->kind == VALUE_CHARS || y->kind == VALUE_STRING);
	bool same = strings && value_shown(&tmp, actors, s, x, &p, NULL) == 0 &&
		    value_shown(&tmp, actors, s, y, &q, NULL) == 0 && value_same(&p, &q);
	arena_done(&tmp);
	return same;
}
