/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Finds positions for the new and moved keys of one object: between the neighbours that they
 * have in the new text, as far as those are there. */

#include "engine/patch.h"
#include "engine/slot.h"

#define LOOK_NOWHERE UINT64_MAX

/* A key of the object that changes. */
struct placed {
	const struct patch *patch; /* NULL: only gets a new position */
	const char *key;
	size_t key_len;
	struct slot *old;  /* before, NULL if there was none */
	struct slot *slot; /* after, NULL if nothing is left */
	bool place;        /* wants a position */
	uint64_t position; /* the one given, else LOOK_NOWHERE */
};

struct placing {
	struct arena *a;
	const struct actors *actors;
	const struct slot *s;      /* the object before; may be NULL */
	const struct json *object; /* the object in the new text; may be NULL */
	struct placed *item;       /* in the order of the text */
	uint32_t n;
};

/* Gives each item that wants one a position. When there is no room between two neighbours, all
 * keys of the object are numbered anew; those that were not among the items are added. -ENOMEM. */
int place_keys(struct placing *pl);
