/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a device keeps: for each collection a level, and one for the collections that it has not said
 * anything about. Immutable and reference-counted, so that sessions and views share them. Levels,
 * their meaning and the encoding: shoal-protocol(7), Interests. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/cleanup.h"
#include "engine/cursor.h"
#include "engine/err.h"
#include "engine/id.h"

enum interest_level {
	INTEREST_NONE = 0,
	INTEREST_SUBSCRIBED = 1, /* all of it, shown to programs */
	INTEREST_CARRIED = 2,    /* all of it, for somebody next to this device who subscribes; */
	INTEREST_FARTHEST = 5,   /* … for somebody so many links less one away, or for nobody any more */
	INTEREST_FILTERED = 6,   /* what matches an expression, shown to programs */
	INTEREST_LEVELS
};

#define INTERESTS_MAX 65536u           /* entries */
#define INTEREST_WHERE_MAX 4096u       /* bytes of one expression */
#define INTERESTS_TEXT_MAX (1u << 20)  /* of all together */

struct interest {
	struct id scope;
	enum interest_level level;
	const char *where; /* INTEREST_FILTERED: where_len bytes, UTF-8 without NUL, NUL-terminated; else NULL */
	uint32_t where_len;
};

struct interests {
	atomic_uint refs;
	enum interest_level fresh; /* of collections that are not listed: NONE or SUBSCRIBED */
	const struct interest *item; /* by scope; none of the level `fresh` */
	uint32_t n;
	struct id print;           /* of the encoding; zero: all that was never changed */
	size_t text;               /* bytes of all expressions */
	char *memory;
};

/* Everything is subscribed. Static: need not be counted, but may. */
struct interests *interests_all(void);
struct interests *interests_ref(struct interests *x);
void interests_unref(struct interests *x);
DEFINE_CLEANUP(struct interests *, interests_unref)

/* The same with another entry for one scope (where: NUL-terminated, of INTEREST_FILTERED only), or with another level for what is
 * not listed; fresh keeps what is listed. NODE_ROOT is always subscribed: -EINVAL. -E2BIG: too many, too long; -ENOMEM. */
int interests_with(const struct interests *x, const struct id *scope, enum interest_level level,
		   const char *where, struct interests **ret);
int interests_with_fresh(const struct interests *x, enum interest_level fresh, struct interests **ret);

/* The entry, or NULL: it is not listed. */
const struct interest *interests_find(const struct interests *x, const struct id *scope);
enum interest_level interests_level(const struct interests *x, const struct id *scope);

static inline bool interest_is_whole(enum interest_level l)
{
	return l >= INTEREST_SUBSCRIBED && l <= INTEREST_FARTHEST;
}

static inline bool interest_is_shown(enum interest_level l)
{
	return l == INTEREST_SUBSCRIBED || l == INTEREST_FILTERED;
}

/* Entries from *at on, as many as fit into max bytes (at least one): appended; *at moves on. */
void interests_encode_part(const struct interests *x, uint32_t *at, size_t max, struct buf *b);
/* Takes entries of one such part behind those that were taken before; room is theirs: all zero at first. -EPROTO
 * when they are not in order, not canonical or too many. */
struct interests_room {
	struct buf item, text; /* struct interest with offsets; texts */
	enum interest_level fresh;
};
int interests_decode_part(struct cursor *c, struct interests_room *room);
int interests_make(const struct interests_room *room, struct interests **ret);
void interests_room_done(struct interests_room *room);

/* Whole, with its level for what is not listed: for the store. -EBADMSG. */
void interests_encode(const struct interests *x, struct buf *b);
int interests_decode(struct cursor *c, struct interests **ret);
