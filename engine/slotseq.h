/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The sequence of a slot: what a VALUE_TEXT or VALUE_CHARS in its register shows, or the places of a
 * list's elements. It joins by itself, whatever the register says: a text that somebody replaced by
 * something else is there again, with all that others wrote meanwhile, where it is shown again.
 *
 * A slot holds it as bytes (engine/seqcodec.c, with local numbers), because most who touch a record
 * do not look at it; a slot of a delta holds a part of it. */

#include "engine/seq.h"
#include "engine/slot.h"

/* The sequence, for the caller to free; an empty one if s is NULL (then a text) or has none.
 * -EBADMSG. */
int slotseq_load(const struct slot *s, const struct actors *actors, struct seq **ret);
/* Puts it into the slot, in memory of the arena. */
int slotseq_store(struct arena *a, const struct seq *seq, const struct actors *actors,
		  struct slot *to);
/* What a peer lacks that has seen `known`; nothing is put into `to` if it lacks nothing. */
int slotseq_part(struct arena *a, const struct slot *s, const struct actors *actors,
		 const struct vv *known, struct slot *to);
/* The join of x's (NULL: none) with what y has, whole or in part. *to keeps x's memory if nothing
 * changed. -EBADMSG: y's part does not fit; no honest peer sends that. */
int slotseq_join(struct arena *a, const struct slot *x, const struct slot *y,
		 const struct actors *actors, struct slot *to);
