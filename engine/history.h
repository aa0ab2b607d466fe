/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Earlier versions of files as STORE_HISTORY keeps them, and the rule which of them stay.
 *
 * History is this device's own: the contents that it showed, not the replicated state, and it is never
 * sent. Key: node id, then the stamp (engine/clock.h) of this device's clock at which the version was
 * replaced; so a file's history is one range, oldest first, and the version that was there at some
 * time is the first one replaced later. The history of the node TRASH is the list of places that
 * nodes left: deletions, and moves, which renames are too. */

#include <stdbool.h>

#include "engine/arena.h"
#include "engine/blob.h"
#include "engine/crdt.h"

#define HISTORY_KEY_SIZE (ID_SIZE + 8)
/* Bytes of a content that stand in the entry itself. They are not packed: versions of one file lie
 * side by side, and the database packs them together, which a version for itself could not be. */
#define HISTORY_INLINE_MAX (16u * 1024)
#define HISTORY_FORM_MAX 15

void history_key(const struct id *node, uint64_t stamp, uint8_t key[static HISTORY_KEY_SIZE]);
int history_key_decode(const void *key, size_t len, struct id *ret_node, uint64_t *ret_stamp);

struct history_version {
	uint8_t form;       /* enum form, not 0 */
	struct id version;
	uint64_t written;   /* stamp of its newest change */
	uint32_t author;    /* actor number of who made that change; ACTOR_NONE: unknown */
	struct vv context;
	bool blob;          /* ref, else data */
	const uint8_t *data;
	size_t len;
	struct blob_ref ref;
};

/* A node left a place. */
struct history_deletion {
	struct id node;
	struct id parent;   /* where it showed */
	enum node_kind kind;
	uint64_t when_us;   /* by the clock of who deleted it */
	uint32_t actor;     /* who did; ACTOR_NONE: unknown */
	const char *name;   /* the name it claimed there */
	size_t name_len;
	bool moved;         /* to another directory or name; else it was deleted */
	uint64_t since_us;  /* when it had come there; 0: unknown */
};

/* Actors are local numbers. Decoding is strict; what is decoded refers to data, vectors live in the
 * arena. -EBADMSG, -EPROTONOSUPPORT for an unknown format, with a message in e; -ENOMEM. */
void history_version_encode(const struct history_version *h, struct actors *actors, struct buf *b);
int history_version_decode(struct arena *a, const struct actors *actors, const void *data, size_t len,
			   struct history_version *ret, struct err *e);
void history_deletion_encode(const struct history_deletion *d, struct buf *b);
int history_deletion_decode(const struct actors *actors, const void *data, size_t len,
			    struct history_deletion *ret, struct err *e);
/* The bytes that a version takes at most: in the entry, and as a blob that shares nothing. */
uint64_t history_cost(const struct history_version *h, size_t entry_len);

/* ---- which versions stay ---- */

#define HISTORY_BURST_US 1000000ull

/* Is a version by the same author in the same second worth nothing once it is replaced? */
bool history_burst(uint64_t written_us, uint32_t author, uint64_t next_us, uint32_t next_author);

struct history_time {
	uint64_t written_us;
	uint64_t replaced_us;
};

/* Sets keep[i] for the n earlier versions of one file, in the order in which they were replaced:
 *   - replaced within the last hour: all;
 *   - within the last 24 hours: of those written in the same hour the last;
 *   - before that: of those written on the same day (UTC) the last;
 *   - replaced keep_us ago or longer: none.
 * The last one of the list stays until its time is over, so there is always a way back. Thinning
 * again at the same time, or later what was thinned earlier, changes nothing in what stays. */
void history_thin(const struct history_time *t, uint32_t n, uint64_t now_us, uint64_t keep_us,
		  bool *keep);
