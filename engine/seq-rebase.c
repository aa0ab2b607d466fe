/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a writer knows after a save: its own text, of elements it had read and of those that its
 * save put in, whatever others have written meanwhile. */
#include <errno.h>

#include "engine/seq-impl.h"

/* Appends the elements [from, to) of b. *run and *start go forwards with it. */
static int copy_range(const struct seq_base *b, uint32_t *run, uint32_t *start, uint32_t from,
		      uint32_t to, struct seq_base *out)
{
	while (from < to) {
		while (from - *start >= b->run[*run].len)
			*start += b->run[(*run)++].len;
		const struct piece *p = &b->run[*run];
		uint32_t off = from - *start, n = p->len - off;
		if (n > to - from)
			n = to - from;
		struct piece part = piece_view(p, off, n);
		int r = base_append(out, &part);
		if (r < 0)
			return r;
		from += n;
	}
	return 0;
}

int seq_base_edit(const struct seq_base *b, const struct seq_edit *edit, size_t n, struct dot dot,
		  uint32_t index, struct seq_base **ret)
{
	_cleanup_(seq_base_freep) struct seq_base *out = NULL;
	uint32_t at = 0, run = 0, start = 0;
	int r = seq_base_new(&out);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct seq_edit *e = &edit[i];
		if (e->pos < at || e->pos > b->total || e->del > b->total - e->pos)
			return -EINVAL;
		r = copy_range(b, &run, &start, at, e->pos, out);
		struct piece fresh = { .id = { dot.actor, index, dot.seq }, .len = e->n };
		if (r == 0 && e->n > 0)
			r = base_append(out, &fresh);
		index += e->n;
		at = e->pos + e->del;
	}
	if (r == 0)
		r = copy_range(b, &run, &start, at, b->total, out);
	if (r == 0)
		*ret = TAKE_PTR(out);
	return r;
}
