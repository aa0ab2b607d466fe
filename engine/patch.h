/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a save changed in a JSON document: a tree that follows the document's objects and lists, made by
 * engine/jdiff.h from the bytes that the writer had read and the bytes it wrote, applied to a
 * record by record_patch. */

#include "engine/crdt.h"
#include "engine/cursor.h"
#include "engine/json.h"
#include "engine/seq.h"
#include "engine/types.h"

enum patch_kind {
	PATCH_SET,    /* the value is new or replaced: `value` */
	PATCH_REMOVE, /* the key is gone */
	PATCH_INTO,   /* an object or a list on both sides: see first */
	PATCH_LOOK,   /* only the place among the siblings or the layout changed */
};

struct patch {
	enum patch_kind kind;
	bool list;       /* PATCH_INTO: a list; its parts are elements */
	const char *key; /* NULL at the root, and for an element that is new */
	size_t key_len;
	struct json *value;        /* PATCH_SET; its elements get their keys */
	const struct json *before; /* the base's value, NULL if there was none */
	bool moved;                /* the place among the siblings is new or another */
	bool look;                 /* moved, or the layout changed */
	uint8_t layout;            /* LOOK_* below, of the new text */
	const struct json *object; /* the new object or list this stands in, for its neighbours' order */
	struct json *self; /* this part in the new text, an element gets its key; NULL: PATCH_REMOVE */
	const struct types_at *types; /* PATCH_SET: what is declared there */
	const struct seq_edit *edit;  /* PATCH_SET of a string over a string that is a text */
	size_t n_edits;
	struct patch *first, *next;
};

#define LOOK_INLINE 1 /* a container on one line though the one around it is not */

/* The look register's value: position among the siblings (u64, ascending, ties by key bytes)
 * and layout. Keys without one come last, by key bytes. */
struct look {
	uint64_t position;
	uint8_t layout;
};

#define LOOK_GAP (1ull << 32) /* between the positions of two keys written one after another */

/* Encoded: varint of the position's upper half << 2 | layout << 1 | (lower half is not zero); then
 * in that case a varint of the lower half's bits in reverse, since positions are halved. */
#define LOOK_SIZE_MAX 10

size_t look_encode(const struct look *l, uint8_t data[static LOOK_SIZE_MAX]);
int look_decode(const struct value *v, struct look *ret);    /* -EBADMSG */
int look_read(struct cursor *cur, struct look *ret);         /* takes one off the cursor */

/* Longer arrays merge as one value. */
#define LIST_MAX 65536u

/* Does the array, about to be written whole, merge element by element? */
bool patch_is_list(const struct json *array, const struct types_at *types);

/* Applies p to the content of r as record_set does, with base context `base`. Already true at the
 * head (equal values: numbers as decimals) is dropped, but for what is added to a counter. Calls changed (may be NULL) with the JSON
 * pointer of every value that was set or removed; a container that is set counts once, and so does a
 * list some of whose elements came, went or moved. The new record
 * refers to the texts and trees that p refers to. A patch made by hand may leave object and
 * self NULL: a new key then comes last. */
typedef void (*pointer_fn)(const char *pointer, size_t len, void *userdata);
int record_patch(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct patch *p, const struct vv *base, const struct stamp *st,
		 pointer_fn changed, void *userdata, const struct record **ret);
