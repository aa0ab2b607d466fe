/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Strings that merge as texts do.
 *
 * Where a text is declared (engine/types.h), the first save of a string over a string makes the one
 * that was there the seed of the slot's sequence (engine/seq.h), puts the edits into it, and
 * writes VALUE_CHARS: the string is what the sequence shows. Later saves edit the sequence. Each writes
 * the register anew, as with the text of a file (engine/text.h), so that an edit outlives a removal
 * that had not seen it, and competes with everything else that is written there.
 *
 * The seed is known by the dot of the string: whoever makes the first edit, even of an older version,
 * edits the same elements. Everything else that is written leaves the sequence as it is; where it is
 * a string that is edited as a text later, that takes away what its writer had seen of the older one. */

#include "engine/restamp.h"
#include "engine/seq.h"
#include "engine/slot.h"

/* What an edit of a version's string needs: a seq_base, encoded with local numbers. */
struct chars_base {
	const uint8_t *data;
	size_t len;
};

/* What v, a value of the slot, shows: a number with what was added to it (engine/counter.h), the
 * characters of VALUE_CHARS as a VALUE_STRING, others themselves. In memory of the arena or v's own.
 * ret_base (may be NULL): what an edit of the characters needs; NULL of everything else, and where the
 * sequence does not give UTF-8, which no honest peer brings about. -ENOMEM, -EBADMSG. */
int value_shown(struct arena *a, const struct actors *actors, const struct slot *s,
		const struct value *v, struct value *ret, const struct chars_base **ret_base);

/* Is it the same string, of which one or both are VALUE_CHARS? */
bool chars_same(const struct actors *actors, const struct slot *s, const struct value *x,
		const struct value *y);

/* -ENOMEM, -EBADMSG. */
int chars_base_decode(const struct actors *actors, const struct chars_base *base, struct seq_base **ret);

/* The same under other names, appended. -ENOMEM, -EBADMSG. */
int chars_base_restamp(const struct actors *actors, const struct chars_base *base,
		       const struct restamp *rs, struct buf *ret);

/* The encoded form of a base, in the arena. -ENOMEM. */
int chars_base_keep(struct arena *a, const struct seq_base *base, const struct chars_base **ret);
