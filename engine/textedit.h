/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The difference of two texts (engine/textdiff.h) as edits of a sequence (engine/seq.h). */

#include "engine/arena.h"
#include "engine/seq.h"

/* The edits that turn old into new, in the arena; they refer to new. They ascend and do not overlap;
 * lines that were replaced as a whole are so with their ends. Errors: -EFBIG, -ENOMEM. */
int textedit_make(struct arena *a, const void *old, size_t old_len, const void *new,
		   size_t new_len, struct seq_edit **ret, size_t *ret_n);
