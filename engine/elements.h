/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "engine/element.h"
#include "engine/json.h"
#include "engine/restamp.h"

/* The identities of all elements of a document's lists, arrays in the order in which they open, and of
 * the characters of strings that are texts (engine/chars.h): what is known of a version besides its
 * bytes. Arrays that are one value (engine/arraydiff.h) count as
 * lists whose elements are unknown. Immutable; any thread. */
struct elements;

/* From a tree whose elements and strings have their keys and chars (struct json) as engine/render.c,
 * engine/jdiff.c and engine/patch.c give them. *ret NULL: the document has neither. */
int elements_make(const struct actors *actors, const struct json *tree, struct elements **ret);
/* Gives the elements of a tree with the same arrays their keys, in the arena, and strings their chars,
 * which refer to e. -EBADMSG: it has others. e may be NULL. */
int elements_name(const struct elements *e, struct arena *a, const struct actors *actors,
		  struct json *tree);
struct elements *elements_ref(struct elements *e); /* NULL: NULL */
/* The same under other names; a reference to e if none is another. -ENOMEM. */
int elements_restamp(const struct actors *actors, struct elements *e, const struct restamp *rs,
		     struct elements **ret);
void elements_free(struct elements *e);             /* gives up a reference */
size_t elements_size(const struct elements *e); /* bytes of memory */
void elements_encode(const struct elements *e, struct buf *b);
int elements_decode(struct cursor *cur, const struct actors *actors, struct elements **ret);

DEFINE_CLEANUP(struct elements *, elements_free)
