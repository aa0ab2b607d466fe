/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names of one object: finds duplicates and looks names up. For the JSON parser only.
 *
 * Up to JSON_INDEX_MIN members are compared directly, behind a 64-bit filter. More go into a
 * hash table with open addressing (XXH3). Somebody who chooses names that collide gets no
 * quadratic time: when building the table takes more than a fixed number of probes per
 * member, the object is indexed by sorting instead. */

#include "engine/arena.h"
#include "engine/json.h"

#define JSON_INDEX_MIN 16

/* Looks at all members of obj. Returns 0 and sets obj->index if the object is big, or 1 and
 * the later one of two members of the same name in *ret_dup, or -ENOMEM. */
int json_index_build(struct arena *a, struct json *obj, struct json **ret_dup);

/* The member with that name, by obj->index, which must be there; or NULL. */
struct json *json_index_find(const struct json *obj, const char *key, size_t key_len);
