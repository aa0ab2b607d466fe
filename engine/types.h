/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Declarations of how values merge: which places of a collection's documents are what. They are looked
 * at when a save is turned into changes (engine/jdiff.h, engine/patch.h), and only then: merging and
 * rendering do not depend on them, so devices that hear of one at different times hold the same
 * documents all the same.
 *
 * A declaration names places by a pattern, a JSON pointer in which the token * stands for any member or
 * element; elements of arrays are named by it alone. A member whose name is * is written ~2. Where
 * several patterns fit a place, the first token from the left in which they differ decides: a name wins
 * over *. */

#include <stdbool.h>
#include <stddef.h>

#include "engine/arena.h"
#include "engine/err.h"

enum merge {
	MERGE_DEFAULT,
	MERGE_REGISTER, /* one value, arrays included */
	MERGE_COUNTER,  /* engine/counter.h */
	MERGE_SET,      /* an array of elements that are known by their values */
	MERGE_LIST,     /* an array whose elements are known by where they were put in */
	MERGE_TEXT,     /* a string that merges as a text (engine/chars.h) */
	MERGE_KEYED,    /* an array of objects that are known by a member */
};

struct type {
	enum merge merge;
	const char *field; /* MERGE_KEYED */
	size_t field_len;
};

#define TYPE_POINTER_MAX 1024 /* bytes of a pattern */
#define TYPE_TEXT_MAX 256     /* bytes of what is declared */
#define TYPES_MAX 1024        /* of one collection */

/* What is declared, in words: "register", "counter", "set", "list", "text", "keyed:FIELD". field
 * refers to the text. -EINVAL. */
int type_parse(const char *text, size_t len, struct type *ret, struct err *e);
/* -EINVAL: no pattern. */
int type_check_pointer(const char *pointer, size_t len, struct err *e);

/* The declarations of a collection; immutable once made, any thread. */
struct types;
int types_new(struct types **ret);
/* pointer and text as the functions above take them; copied. What is beyond TYPES_MAX is left out. */
int types_add(struct types *t, const char *pointer, size_t len, const char *text, size_t text_len);
struct types *types_ref(struct types *t); /* NULL: NULL */
void types_free(struct types *t);         /* gives up a reference */
bool types_empty(const struct types *t);
/* Is there one of that kind? */
bool types_have(const struct types *t, enum merge merge);

/* A place of a document, as far as declarations can tell places apart; NULL: nothing is declared there
 * or below. In the arena; refers to the types. */
struct types_at;
/* The whole document. t may be NULL. */
int types_begin(struct arena *a, const struct types *t, const struct types_at **ret);
/* The member of that name; key NULL: an element. */
int types_step(struct arena *a, const struct types_at *at, const char *key, size_t len,
	       const struct types_at **ret);
/* What is declared there. */
struct type types_type(const struct types_at *at);

static inline enum merge types_merge(const struct types_at *at)
{
	return at ? types_type(at).merge : MERGE_DEFAULT;
}

DEFINE_CLEANUP(struct types *, types_free)
