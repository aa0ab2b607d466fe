/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Elements that are named by what they are: two devices that make the same one make one. The name is a
 * hash (engine/element.h) of the value, or of the member that tells elements of a keyed array apart,
 * and of how many have that name already. */

#include "engine/arena.h"
#include "engine/json.h"
#include "engine/types.h"

/* Names all elements of an array. at: the array's place. -ENOMEM. */
int naming_all(struct arena *a, struct json *array, const struct types_at *at);

/* Names those of next that have no key and can be known by one: all of a set, those of a keyed array
 * that have the member. No name is that of an element of old. -ENOMEM. */
int naming_new(struct arena *a, const struct json *old, struct json *next, const struct types_at *at);

/* Takes every element out of a set that is there before: of the whole tree below j, whose place is at.
 * *ret_changed is set, or left. -ENOMEM. */
int naming_unite(struct arena *a, struct json *j, const struct types_at *at, bool *ret_changed);
