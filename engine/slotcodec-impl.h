/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of the codec of slots share: slotcodec.c has slots, slotcodec-front.c the batches and edges in front of
 * them, engine/field.c reads one place of a stored record. */

#include "engine/element.h"
#include "engine/recent.h"
#include "engine/slotcodec.h"

/* --- the bytes of a slot --- */

enum { FORM_NONE = 0, FORM_ONE = 1, FORM_SEVERAL = 2, FORM_SHARED = 3 };
#define FORM_CLEARED 0x10
#define FORM_CHILDREN 0x20
#define FORM_COMPLETE 0x40
#define FORM_SEQ 0x80

#define VALUE_LONG 15 /* kind or length does not fit into its half of the byte */
#define KIND_KNOWN VALUE_NODE

/* The only byte of an element's key that is a dot and an index, which follow. */
#define KEY_DOT ELEMENT_BYTE

/* Of an element's look. */
#define PLACE_INLINE 1u
#define PLACE_GIVEN 2u
#define PLACE_OWN 4u /* in the entry's batch */

/* Where in the record a slot stands. */
enum place { PLACE_TOP, PLACE_META, PLACE_TIME, PLACE_ORDER, PLACE_CONTENT, PLACE_MEMBER, PLACE_ELEMENT };

static inline enum place place_below(enum place place, const struct slot *s)
{
	if (place == PLACE_TOP)
		return s->key_len != 1 ? PLACE_META :
		       s->key[0] == TOP_CONTENT[0] ? PLACE_CONTENT :
		       s->key[0] == TOP_MTIME[0] ? PLACE_TIME : PLACE_META;
	if (place < PLACE_CONTENT)
		return PLACE_META;
	return key_is_member(s->key, s->key_len) ? PLACE_MEMBER :
	       key_is_element(s->key, s->key_len) ? PLACE_ELEMENT : PLACE_ORDER;
}

struct encoder {
	struct batches batches;
	struct actors *actors;
	struct actor_codec *c;
	struct recent *recent; /* of c; NULL: the stored form */
	uint64_t made_us;      /* the record's latest visit; 0: it has none */
	struct buf *b;
	uint32_t last; /* the batch found last */
};

/* --- encoding --- */

static inline bool batch_is(const struct batch *b, const struct entry *e)
{
	return b->dot.seq == e->dot.seq && b->dot.actor == e->dot.actor && b->hlc == e->hlc;
}

int batch_cmp(const void *x, const void *y, void *actors);
/* Those of all entries, once each and sorted; and how they are written. */
void front_collect(struct encoder *d, const struct slot *top);
void front_put_batches(struct encoder *d);
void front_put_edges(struct encoder *d, const struct record *r);

/* --- decoding --- */

int slotcodec_bad(struct slotcodec *d, const char *why); /* -EBADMSG */
bool slotcodec_knows(const struct slotcodec *d, struct dot dot);
/* A vector that the context covers. */
int slotcodec_get_vv(struct slotcodec *d, const char *what, struct vv *ret);
