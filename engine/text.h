/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A record whose content is a text: VALUE_TEXT in the content's register, the characters in its
 * sequence. Each save writes the register anew, so who wrote last, what a deletion had not seen and
 * what won against a blob are what the register says, as for every other content. */

#include "engine/seq.h"
#include "engine/slot.h"

/* Applies edits of the version that showed `anchors` and had the context `base` (NULL: all of r),
 * see seq_edit. anchors NULL: what the writer had read was no text; all that base covers goes, and the
 * only edit's bytes are the new text. *ret == r if there is nothing to do. Errors as seq_edit's;
 * -EBADMSG for a damaged sequence. */
int record_set_text(struct arena *a, const struct actors *actors, const struct record *r,
		    const struct seq_base *anchors, const struct vv *base,
		    const struct seq_edit *edit, size_t n, const struct stamp *st,
		    const struct record **ret);

/* The bytes of the text whose content's slot this is, shown or not. */
int slot_text(const struct slot *s, const struct actors *actors, struct buf *b,
	      struct seq_base **ret_anchors);
/* The bytes of the text, appended to b, and what an edit of them needs (may be NULL; the caller
 * frees it). Of a record that shows a text. -EBADMSG, -ENOMEM. */
int record_text(const struct record *r, const struct actors *actors, struct buf *b,
		struct seq_base **ret_anchors);
