/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Dots and version vectors.
 *
 * A dot (actor, seq) names one committed batch of one actor; every entry that the batch made
 * in a document carries it, and so does every removal. seq counts from 1, database-wide.
 * A version vector maps actors to the highest seq seen: {a: 5} covers (a, 1..5). */

#include <stdbool.h>
#include <stdint.h>

#include "engine/actor.h"
#include "engine/arena.h"

struct dot {
	uint32_t actor; /* local number */
	uint64_t seq;
};

struct vv_item {
	uint32_t actor;
	uint64_t seq;
};

/* Sorted by local actor number, seq > 0. All zero is the empty vector. Owns its memory
 * (malloc), except the ones made by vv_arena, which must only be read. */
struct vv {
	struct vv_item *item;
	uint32_t n;
	uint32_t cap;
};

#define VV_MAX ACTORS_MAX

void vv_done(struct vv *v);
uint64_t vv_get(const struct vv *v, uint32_t actor);      /* 0: none */
int vv_raise(struct vv *v, uint32_t actor, uint64_t seq); /* item = max(item, seq) */
void vv_lower(struct vv *v, uint32_t actor, uint64_t seq); /* item = min(item, seq) */
int vv_join(struct vv *v, const struct vv *other);        /* pointwise maximum */
int vv_copy(const struct vv *v, struct vv *ret);
int vv_arena(struct arena *a, const struct vv *v, struct vv *ret); /* copy inside an arena */
/* The join, and v raised by one dot, inside an arena; they may share x's, y's or v's memory. */
int vv_arena_join(struct arena *a, const struct vv *x, const struct vv *y, struct vv *ret);
int vv_arena_raise(struct arena *a, const struct vv *v, struct dot d, struct vv *ret);
bool vv_has(const struct vv *v, struct dot d);            /* d is covered */
bool vv_covers(const struct vv *v, const struct vv *other); /* other <= v */
bool vv_equal(const struct vv *a, const struct vv *b);

/* Canonical 128-bit fingerprint: over (actor identifier, seq) sorted by identifier. The same
 * on every replica for the same vector. */
void vv_fingerprint(const struct vv *v, const struct actors *actors, struct id *ret);

/* varint count, then actor and varint seq each. Sorted by local number when c is NULL, by
 * identifier otherwise; the decoder refuses any other order and duplicates. */
void vv_encode(const struct vv *v, struct actors *actors, struct actor_codec *c, struct buf *b);
int vv_decode(struct cursor *cur, struct actors *actors, struct actor_codec *c, struct vv *ret);
/* The same into an arena. actors is only read when c is NULL. */
int vv_decode_arena(struct arena *a, struct cursor *cur, const struct actors *actors,
		    struct actor_codec *c, struct vv *ret);
/* The same in an arena, with each seq as the difference to the last one of the stream (engine/recent.h); c is not NULL. */
void vv_encode_recent(const struct vv *v, struct actors *actors, struct actor_codec *c, struct buf *b);
int vv_decode_recent(struct arena *a, struct cursor *cur, const struct actors *actors,
		     struct actor_codec *c, struct vv *ret);
