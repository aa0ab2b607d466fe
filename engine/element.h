/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Elements of lists: JSON arrays that merge element by element.
 *
 * A list is a slot whose register shows VALUE_LIST. Its elements are children of the slot like the
 * members of an object, and merge like them: an element's key is its identity, which it keeps wherever
 * it goes and whatever becomes of its value. There are two kinds of identity:
 *     a dot and an index   of an element that was put into an array that its writer had read,
 *     a hash               of one that came with an array written as a whole: of its value, and of how
 *                          many equal ones stand before it. So an array that two devices write alike,
 *                          a template say, is one array, and not twice its elements.
 *
 * Places. One more child, ORDER_KEY, has nothing but a bare sequence (engine/seq.h) of places, which
 * are never deleted. An element stands at the place that its look register names, or that is named
 * like itself. A move gives it a new place; of concurrent moves one wins, and the element is never
 * there twice. Elements of one place, or of places that are unknown, stand in the order of their keys
 * (the latter last): honest devices make neither.
 *
 * Keys begin with bytes that no member's name can begin with, because that is UTF-8; they sort behind
 * all names. */

#include "engine/actor.h"
#include "engine/seq.h"
#include "engine/slot.h"

#define ORDER_BYTE 0xfe
#define ELEMENT_BYTE 0xff
#define ORDER_KEY "\xfe"
#define ORDER_KEY_LEN 1

#define ELEMENT_HASH_SIZE 9 /* of a key: ELEMENT_BYTE, hash */
#define ELEMENT_DOT_SIZE (1 + ELEMENT_PLACE_SIZE)
#define ELEMENT_PLACE_SIZE (ACTOR_ID_SIZE + 12) /* actor, seq, index, big-endian */

/* An identity, in memory: a seq_id; a hash is its seq, and its actor ACTOR_NONE. */

static inline bool key_is_member(const char *key, size_t len)
{
	return len == 0 || (uint8_t)key[0] < ORDER_BYTE;
}

static inline bool key_is_order(const char *key, size_t len)
{
	return len == ORDER_KEY_LEN && (uint8_t)key[0] == ORDER_BYTE;
}

static inline bool key_is_element(const char *key, size_t len)
{
	return len > 0 && (uint8_t)key[0] == ELEMENT_BYTE;
}

/* How many of the children are members; they come first. */
uint32_t slot_members(const struct slot *s);
/* Where the elements begin; they come last. */
uint32_t slot_elements(const struct slot *s);

/* The key of an identity, in the arena; *ret_len: ELEMENT_*_SIZE. */
const char *element_key(struct arena *a, const struct actors *actors, const struct seq_id *id,
			size_t *ret_len);
/* -EBADMSG: no such key, or an actor that is not in the table. */
int element_id(const struct actors *actors, const char *key, size_t len, struct seq_id *ret);

/* What an element's look register holds. */
struct element_look {
	uint8_t layout;      /* LOOK_INLINE */
	bool placed;         /* it has a place that is not named like itself */
	struct seq_id place;
};

#define ELEMENT_LOOK_MAX (1 + ELEMENT_PLACE_SIZE)

size_t element_look_encode(const struct actors *actors, const struct element_look *l,
			   uint8_t data[static ELEMENT_LOOK_MAX]);
int element_look_decode(const struct actors *actors, const struct value *v,
			struct element_look *ret); /* -EBADMSG */

/* Where an element stands by its look and its key. False: nowhere. *ret_look may be NULL. */
bool element_place(const struct actors *actors, const struct slot *s, struct seq_id *ret,
		   struct element_look *ret_look);

/* The live elements of a list in order: *ret has *ret_n of them, in the arena. */
int list_order(struct arena *a, const struct actors *actors, const struct slot *list,
	       struct slot ***ret, uint32_t *ret_n);

/* The parts of a container: members in the order of their names, or elements in theirs. */
int slot_parts(struct arena *a, const struct actors *actors, const struct slot *s,
	       enum value_kind container, struct slot ***ret, uint32_t *ret_n);
/* Appends the step to a part of a container to a JSON pointer: the key of a member, the number of an
 * element. */
void pointer_step(struct buf *pointer, enum value_kind container, const struct slot *part, uint32_t i);
/* The part that such a step leads to, in what the slot (may be NULL) shows; *ret NULL: none. */
int slot_step(struct arena *a, const struct actors *actors, const struct slot *s, const char *token,
	      size_t len, const struct slot **ret);
