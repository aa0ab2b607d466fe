/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Files whose contents are not here though their record is: which, and why. In memory as in the store
 * (META 'X'; shoal-format(7)). Also those that are about to leave: their contents are here still, but
 * nobody may be told so any more (shoal-protocol(7), "Who holds contents"). Any thread. */

#include "engine/err.h"
#include "engine/id.h"
#include "engine/store.h"

enum absence {
	ABSENT_NOT,
	ABSENT_EVICTED, /* somebody wanted the room: what is left of them goes as well */
	ABSENT_RULE,    /* too large to come unasked */
	ABSENT_WANTED,  /* they come as soon as somebody is met who has them */
};

#define ABSENT_PAST 0x80 /* or-ed: an earlier version may lack its bytes as well */

struct absents;

/* Reads what the store has. -EBADMSG, -ENOMEM. */
int absents_new(struct store *s, struct absents **ret, struct err *e);
void absents_free(struct absents *x);

enum absence absents_get(struct absents *x, const struct id *id);
/* The byte as it is stored; 0: there is none. */
uint8_t absents_byte(struct absents *x, const struct id *id);
/* In memory, after it was written; so that it cannot fail, absents_room goes before it is. */
int absents_room(struct absents *x, const struct id *id);
void absents_set(struct absents *x, const struct id *id, uint8_t byte);
/* Into a batch, what absents_set says later. */
void absents_put(struct store_batch *b, const struct id *id, uint8_t byte);
/* As it was in the snapshot. */
enum absence absents_at(struct store *s, const struct store_snapshot *snap, const struct id *id);
uint64_t absents_count(struct absents *x); /* contents that are not here */
/* Up to max of those that are so, from a place on that the caller keeps (0: the beginning; 0 again: the end).
 * What changes meanwhile may come twice or not at all. */
uint32_t absents_list(struct absents *x, enum absence which, uint32_t *place, struct id *ret,
		      uint32_t max);

/* -EBUSY: it is leaving already; -EALREADY: its contents are not here; -ENOMEM. */
int absents_leave(struct absents *x, const struct id *id);
void absents_stay(struct absents *x, const struct id *id); /* it is not any more */
bool absents_leaving(struct absents *x); /* some are leaving */
/* They are here and are to stay, as far as is known now. */
bool absents_keeps(struct absents *x, const struct id *id);
