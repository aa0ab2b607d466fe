/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One value of a document that is replaced by another, in place: most saves do nothing else. What has
 * to be looked at then is a path, not the document.
 *
 * It is a scalar below objects only, and both what it replaces and what it is known by its slot alone:
 * one entry, nothing below, neither a counter nor a text. Everything else is left to engine/jdiff.h and
 * engine/patch.h, which do the same with any change; where a leaf is written, they would have made the
 * same record.
 *
 * Encoded, as engine/replica-trail.c keeps it: varint actor (local), varint seq, u64 hlc, varint number of
 * keys, each: bytes; u8 kind, bytes data. */

#include "engine/crdt.h"
#include "engine/cursor.h"
#include "engine/json.h"
#include "engine/types.h"

struct leaf_step {
	const char *key;
	size_t len;
};

struct leaf {
	struct leaf_step *path; /* from the content down */
	uint32_t n;
	struct value value;
	/* of what leaf_find gives: the same in the new text, its lexeme there, and what it replaces */
	const struct json *now;
	const char *text;
	size_t len;
	const struct json *before;
};

/* What has to be replaced in base to get text, which tree was parsed from; both are JSON. 1, and *ret
 * refers to tree, base and the arena; 0: something else than one value, or one whose place is declared to
 * merge in a way of its own. -ENOMEM. */
int leaf_find(struct arena *a, const char *base, size_t base_len, const char *text, size_t len,
	      const struct json *tree, const struct types_at *types, struct leaf *ret);

/* The slot to write, NULL: this is nothing for leaf_write. */
struct slot *leaf_slot(const struct record *r, const struct leaf *l);

/* Does a record that is written by its style alone, and gave what l was found in, with l give the new
 * text? 1, 0, -ENOMEM. */
int leaf_styled(const struct record *r, const struct actors *actors, const struct leaf *l);

/* The record with the value, written by one who had seen all of r: what record_patch makes of it.
 * -ENOENT: leaf_slot is NULL. The new record refers to the value. */
int leaf_write(struct arena *a, const struct actors *actors, const struct record *r,
	       const struct leaf *l, const struct stamp *st, const struct record **ret);

/* The same in r itself, of which all is the caller's; the value is copied to the arena. -EBADMSG: the dot
 * is not new to r. r is of no use after -ENOMEM. */
int leaf_apply(struct arena *a, const struct actors *actors, struct record *r, const struct leaf *l,
	       const struct stamp *st);

void leaf_encode(const struct leaf *l, const struct stamp *st, struct buf *b);
/* Refers to what it reads. -EBADMSG. */
int leaf_decode(struct arena *a, const struct actors *actors, struct cursor *cur, struct leaf *ret,
		struct stamp *ret_stamp);
