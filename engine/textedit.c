/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/textedit.h"

#include <errno.h>

#include "engine/textdiff.h"

struct text {
	const char *p;
	size_t len;
};

static bool begins_line(const struct text *t, uint32_t at)
{
	return at == 0 || t->p[at - 1] == '\n';
}

static bool ends_line(const struct text *t, uint32_t at)
{
	return at < t->len && t->p[at] == '\n';
}

/* Lines that were written anew go with their ends. Otherwise the end of a line that somebody else
 * takes away goes, and what was written here runs into the line behind it. */
static void whole_lines(const struct text *old, const struct text *new, struct hunk *h)
{
	if (h->old_len > 0 && h->new_len > 0 && begins_line(old, h->old) &&
	    begins_line(new, h->new) && ends_line(old, h->old + h->old_len) &&
	    ends_line(new, h->new + h->new_len)) {
		h->old_len++;
		h->new_len++;
	}
}

int textedit_make(struct arena *a, const void *old, size_t old_len, const void *new,
		  size_t new_len, struct seq_edit **ret, size_t *ret_n)
{
	const struct text from = { old, old_len }, to = { new, new_len };
	struct textdiff td = { 0 };
	int r = textdiff(a, old, old_len, new, new_len, &td);
	if (r < 0)
		return r;
	struct seq_edit *edit = arena_array(a, td.count ? td.count : 1, sizeof(*edit));
	if (!edit)
		return -ENOMEM;
	for (uint32_t i = 0; i < td.count; i++) {
		struct hunk h = td.edit[i];
		whole_lines(&from, &to, &h);
		edit[i] = (struct seq_edit){ h.old, h.old_len, to.p + h.new, h.new_len };
	}
	*ret = edit;
	*ret_n = td.count;
	return 0;
}
