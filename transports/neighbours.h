/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which of the devices in reach this one is linked to when they are many (shoal-protocol(7),
 * Neighbours). A pure choice: what was seen, linked and refused comes in, whom to dial and whom to let
 * go comes out; no I/O. Time is in microseconds of any clock that does not go back, and is not 0. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/id.h"

#define NEIGHBOURS_LIMIT 5u     /* unless told otherwise; */
#define NEIGHBOURS_LIMIT_MIN 3u /* two for the ring, one by weight */
#define NEIGHBOURS_LIMIT_MAX 64u
#define NEIGHBOURS_ALL UINT32_MAX /* no limit: everybody in reach */
#define NEIGHBOURS_EXTRA 3u     /* beyond the limit, for those who need it */
#define NEIGHBOURS_MOST 1024u   /* and for those who have nobody else */
#define NEIGHBOURS_SEEN_MAX 4096u
#define NEIGHBOURS_FORGET_US (45ull * 1000 * 1000) /* who is not heard of any more */

struct neighbours;

/* self is copied. secret: what only members know, so that strangers cannot compute weights; len bytes, at
 * most 64. limit: from NEIGHBOURS_LIMIT_MIN to _MAX, or NEIGHBOURS_ALL. -EINVAL, -ENOMEM. */
int neighbours_new(const struct id *self, const void *secret, size_t len, unsigned limit,
		   struct neighbours **ret);
void neighbours_free(struct neighbours *n);
DEFINE_CLEANUP(struct neighbours *, neighbours_free)

/* ---- what happens ---- */

/* Discovery heard the device. True: it is new, choose again. When NEIGHBOURS_SEEN_MAX are known or memory is
 * short it is not taken down. */
bool neighbours_seen(struct neighbours *n, const struct id *device, uint64_t now);

enum neighbour_link {
	NEIGHBOUR_CHOSEN,  /* one of those that count */
	NEIGHBOUR_CLAIMED, /* the peer said that it needs it */
	NEIGHBOUR_KEPT,    /* by a fixed address of either end: does not count and stays */
	NEIGHBOUR_HINTED,  /* by an address that was remembered: the same, until the device is seen nearby */
};
/* A link came up, dialled by either. -ENOMEM: it will not be let go. */
int neighbours_linked(struct neighbours *n, const struct id *device, enum neighbour_link how, uint64_t now);

enum neighbour_end {
	NEIGHBOUR_LOST,   /* it broke, or the peer ended it for another reason */
	NEIGHBOUR_LET_GO, /* the peer has enough */
	NEIGHBOUR_ENDED,  /* this device has */
};
void neighbours_ended(struct neighbours *n, const struct id *device, enum neighbour_end how, uint64_t now);
/* Dialled, and the peer said that it has enough; or it could not be reached. */
void neighbours_refused(struct neighbours *n, const struct id *device, uint64_t now);
void neighbours_failed(struct neighbours *n, const struct id *device, uint64_t now);
/* It is no member any more. */
void neighbours_forget(struct neighbours *n, const struct id *device);

/* A device that is reachable over links of devices, and the part of the mesh that it would be in
 * without this device. */
struct neighbour_way {
	struct id id;
	uint32_t part;
};
/* Who is reachable, ascending by id; all others are not. With NEIGHBOURS_WAYS_MAX or more the
 * list is taken to be incomplete and says nothing. */
#define NEIGHBOURS_WAYS_MAX 500u
void neighbours_ways(struct neighbours *n, const struct neighbour_way *way, uint32_t count, uint64_t now);
/* Somebody here needs a link to the device until then: it is wanted, beyond the limit if need be. False: it is not
 * in reach, or NEIGHBOURS_EXTRA others are needed. */
bool neighbours_need(struct neighbours *n, const struct id *device, uint64_t until, uint64_t now);
/* It does not any more. */
void neighbours_spare(struct neighbours *n, const struct id *device, uint64_t now);

/* ---- what to do ---- */

/* Chooses; returns when to do so again if nothing happens before. */
uint64_t neighbours_choose(struct neighbours *n, uint64_t now);

enum neighbour_want {
	NEIGHBOUR_NO,
	NEIGHBOUR_WANTED,
	NEIGHBOUR_NEEDED, /* to be dialled with a claim */
	NEIGHBOUR_ALONE,  /* and told that this device has no link at all */
};
/* As it was chosen last; of a device that is not known: no. */
enum neighbour_want neighbours_want(const struct neighbours *n, const struct id *device);
/* A link that is to be let go now; the caller ends it, says so, and asks again. busy (may be NULL): the link
 * carries something, so that another one, or later, is better. */
bool neighbours_surplus(const struct neighbours *n, uint64_t now,
			bool (*busy)(const struct id *device, void *userdata), void *userdata,
			struct id *ret);
/* The device asks for a link, in one of these ways. */
bool neighbours_takes(struct neighbours *n, const struct id *device, enum neighbour_want ask, uint64_t now);

/* More than twice the limit are in reach, as chosen last. */
bool neighbours_dense(const struct neighbours *n);
/* Links that count. */
unsigned neighbours_links(const struct neighbours *n, uint64_t now);
/* Heard of not long ago, by discovery. */
bool neighbours_nearby(const struct neighbours *n, const struct id *device, uint64_t now);
