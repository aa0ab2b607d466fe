/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Numbers that several devices add to.
 *
 * Where a counter was declared (engine/types.h), a save of a number over a number adds: the difference
 * of what its writer had read to what it wrote goes into an entry VALUE_COUNTER of the slot's register,
 * beside the number, which stays. There is one such entry for each actor, with all that it has added; it
 * replaces its own and nobody else's. What is shown is the number that is shown, or 0 if there is none,
 * and all counters together. An object, a list or another scalar hides them.
 *
 * So the sum is exact however the saves meet, and does not depend on who knows of the declaration. A
 * number that is written over a number without one goes on where it can (engine/patch-counter.c): the
 * counters stay and the number makes up the difference. Everything else that is written takes the
 * counters away that its writer had seen, and so does removal. A counter that somebody raised meanwhile
 * stays, with all that its actor had added since the place last held something else.
 *
 * A sum that would take more than JSON_SUM_DIGITS is not made: then the number is shown alone. */

#include "engine/slot.h"

/* Are there any? */
bool slot_counts(const struct slot *s);

/* What v, a number or counter of the slot, shows: together with the counters. In memory of the arena
 * or v's own. Values of other kinds show themselves. -ENOMEM. */
int number_shown(struct arena *a, const struct slot *s, const struct value *v, struct value *ret);

/* The exact sum (minus: difference) of two numbers, in the arena. -ERANGE: too long. */
int number_add(struct arena *a, const struct value *x, const struct value *y, bool minus,
	       struct value *ret);
