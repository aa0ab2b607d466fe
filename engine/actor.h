/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Actors: who mints dots. An actor is a device in one incarnation; a restored or cloned
 * store goes on as a new incarnation, so that no dot is ever minted twice.
 *
 * Inside a replica actors are small integers, given out in order of first sight by a
 * struct actors, which only grows. Ranks and canonical encodings compare the full
 * identifiers, never these numbers, because every replica numbers differently. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/id.h"
#include "engine/recent.h"

struct actor_id {
	struct id device;
	uint32_t incarnation;
};

#define ACTOR_ID_SIZE 20         /* encoded: device, incarnation big-endian */
#define ACTORS_MAX 65536         /* in one table */
#define ACTOR_NONE UINT32_MAX

int actor_id_cmp(const struct actor_id *a, const struct actor_id *b);

struct actors;

int actors_new(struct actors **ret);
void actors_free(struct actors *a);

/* All of the below may be called by several threads at once. */

/* The number of an actor; given one when new. -E2BIG when the table is full. */
int actors_intern(struct actors *a, const struct actor_id *id, uint32_t *ret);
/* The number, or ACTOR_NONE. */
uint32_t actors_find(const struct actors *a, const struct actor_id *id);
/* The identifier; borrowed and valid as long as the table. no < actors_count(). */
const struct actor_id *actors_get(const struct actors *a, uint32_t no);
uint32_t actors_count(const struct actors *a);
/* Order of two numbers by their identifiers' bytes. */
int actors_cmp(const struct actors *a, uint32_t x, uint32_t y);

DEFINE_CLEANUP(struct actors *, actors_free)

/* How an actor is written into an encoding.
 *
 * Stored records write the local number as a varint (codec NULL). On a link both ends keep a
 * table: a varint below the table's size refers to it, one equal to it is followed by the 20
 * bytes of a new actor, anything larger is bad. So an actor costs 20 bytes once in a session
 * and one byte after that. Encoder and decoder each own one codec for one direction. */
struct actor_codec;

/* How many actors that the table did not know may still be introduced to decoders: a table only
 * grows, and takes ACTORS_MAX. */
struct actor_quota {
	uint32_t left;
	bool overrun; /* one more was */
};

int actor_codec_new(struct actors *actors, struct actor_codec **ret);
/* What the stream said last beside actors; valid as long as c. */
struct recent *actor_codec_recent(struct actor_codec *c);
/* For a decoder of what a peer says. The quota is borrowed, several decoders may share it. */
void actor_codec_limit(struct actor_codec *c, struct actor_quota *quota);
void actor_codec_free(struct actor_codec *c);
/* c NULL: the stored form. */
void actor_codec_put(struct actor_codec *c, struct buf *b, uint32_t local);
/* Returns the local number (interning it); marks cur bad on nonsense and beyond the quota. */
uint32_t actor_codec_get(struct actor_codec *c, struct cursor *cur);
/* The same, or with c NULL the stored form: a number that the table must have. */
uint32_t actor_get(const struct actors *actors, struct actor_codec *c, struct cursor *cur);

DEFINE_CLEANUP(struct actor_codec *, actor_codec_free)
