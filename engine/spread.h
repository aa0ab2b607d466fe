/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* From whom a device wants which changes at once, and from whom only word of them: shoal-protocol(7),
 * Spreading. A `spread` joins the sessions of one replica, for what one of them knows to be what another one
 * goes by; `wishes` are what one side of a session has told the other. One thread. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/id.h"

#define SPREAD_WISHES_MAX 1024u /* of one side of a session */
#define SPREAD_GATHER_US (1000ull * 1000)      /* what is announced in the same second is so at once */
#define SPREAD_PATIENCE_US (500ull * 1000)     /* before what was announced is asked for */
#define SPREAD_NEXT_US (1000ull * 1000)        /* before another one is asked */
#define SPREAD_ANYHOW_US (10ull * 1000 * 1000) /* before it is sent unasked */
#define SPREAD_AGAIN_US (10ull * 1000 * 1000)  /* before a wish that is not heeded is said again */
#define SPREAD_REPAIR_MAX 64u /* wishes of one session that others are told of when it ends */

struct session;

/* The sessions of one replica. */
struct spread {
	struct session *first;
};

int spread_new(struct spread **ret);
/* All sessions have left. NULL: nothing. */
void spread_free(struct spread *s);
DEFINE_CLEANUP(struct spread *, spread_free)

enum wish_state {
	WISH_NONE,  /* changes are wanted; the peer may not know that anybody thinks of it */
	WISH_FIRST, /* so they are, and the last one came from it first */
	WISH_ASKED, /* so they are, and the peer was told that; none has come yet */
	WISH_LAZY,  /* word of them is enough */
};

/* About changes of an actor (the replica's number) in a scope. */
struct wish {
	struct id scope;
	uint32_t actor;
	enum wish_state state;
	bool due;       /* to be told */
	uint64_t at_us; /* when it became what it is, or was said again */
};

/* Sorted by scope and actor. All zero is the empty table. */
struct wishes {
	struct wish *wish;
	uint32_t n, cap;
	uint32_t n_due, n_lazy;
};

void wishes_done(struct wishes *w);
/* NULL: not there. Valid until the table changes; so are those below. */
struct wish *wishes_find(const struct wishes *w, const struct id *scope, uint32_t actor);
enum wish_state wishes_state(const struct wishes *w, const struct id *scope, uint32_t actor);
/* The same or a new one, of WISH_NONE. -ENOMEM; -ENOSPC: the table is full. */
int wishes_get(struct wishes *w, const struct id *scope, uint32_t actor, struct wish **ret);
/* As wishes_get; in a full table the oldest that is not WISH_LAZY makes room. If there is none the oldest of
 * all becomes WISH_ASKED, which makes room for the next one when it has been told: -ENOSPC for now. */
int wishes_make_room(struct wishes *w, const struct id *scope, uint32_t actor, uint64_t now_us, struct wish **ret);
void wishes_set(struct wishes *w, struct wish *wish, enum wish_state state, bool due, uint64_t now_us);
void wishes_drop(struct wishes *w, struct wish *wish);
