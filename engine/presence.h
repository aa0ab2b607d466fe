/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What devices say of whom they are connected to, and passing it on. Rules, bounds and what is believed:
 * shoal-protocol(7), Presence. One thread; no I/O: time comes in (microseconds of the clock that sessions
 * go by), payloads of PRESENCE frames go out. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/err.h"
#include "engine/graph.h"
#include "engine/statement.h"

#define PRESENCE_DEVICES_MAX 1024u /* statements that are kept */
#define PRESENCE_TELLER_MAX 512u   /* of them from one teller about others */
#define PRESENCE_LINKS_MAX 8192u   /* in all of them together */
#define PRESENCE_FRAME_MAX 8192   /* bytes of one frame, as engine/frame.h has it */
#define PRESENCE_BURST 4          /* frames in a row on one link; */
#define PRESENCE_REFILL_US (10ull * 1000 * 1000) /* one more each */
#define PRESENCE_DELAY_US (1000 * 1000) /* a session begins with other things */
#define PRESENCE_SETTLE_US (300 * 1000) /* what changes together is told together */
#define PRESENCE_LOST_US (60ull * 1000 * 1000) /* what does not count any more is kept */

struct presence;
struct presence_side; /* one session's */

/* name: of this device, at most STATEMENT_NAME_MAX bytes. */
int presence_new(const struct id *self, const char *name, struct presence **ret);
/* All sides have left. */
void presence_free(struct presence *p);
DEFINE_CLEANUP(struct presence *, presence_free)

/* All links of this device, sorted by peer; copied. Of a round trip only that it has become known is news. Returns
 * 1: there is something to tell; 0; -ENOMEM. */
int presence_own(struct presence *p, const struct statement_link *link, uint32_t n, uint64_t now_us,
		 uint64_t wall_us);
/* Counts what came to be known. */
uint64_t presence_changes(const struct presence *p);
/* Who is reachable; owned by the caller, valid until anything else of p is called. -ENOMEM. */
int presence_graph(struct presence *p, uint64_t now_us, struct graph **ret);

int presence_join(struct presence *p, const struct id *peer, uint64_t now_us, struct presence_side **ret);
void presence_leave(struct presence_side *s); /* NULL: nothing */
/* Takes the payload of a frame. -EPROTO; -ENOMEM. */
int presence_get(struct presence_side *s, struct cursor *c, uint64_t now_us, struct err *e);
/* Appends the payload of a frame; nothing when there is none to be sent now. -ENOMEM. */
int presence_put(struct presence_side *s, uint64_t now_us, struct buf *b);
/* When to call presence_put next, if nothing happens before; UINT64_MAX: never. */
uint64_t presence_deadline(const struct presence_side *s);

/* Is it a payload? For sessions that keep nothing of it. -EPROTO, -ENOMEM. */
int presence_check(struct cursor *c, struct err *e);
