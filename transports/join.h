/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Joining a mesh with a token: the new device's side. Of the sd-event thread.
 *
 *     static void joined(const struct join_result *r, const struct err *why, void *user)
 *     {
 *             if (!r)
 *                     fprintf(stderr, "%s\n", why->message);
 *             ...
 *     }
 *     join_new(event, &(struct join_options){ .dir = "/store/identity", .token = &token,
 *              .device = "laptop", .timeout_us = 30 * 1000000 }, joined, user, &join, &e);
 *
 * All addresses are dialled at once. The first that proves to belong to the mesh of the
 * token is asked to admit us, and when it does not know the token the next that does; nobody
 * else ever sees anything made from the secret. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "engine/id.h"
#include "transports/name.h"
#include "transports/token.h"

#define JOIN_EXTRA_ADDRESSES 8

struct join;

struct join_options {
	const char *dir;           /* the identity directory to make; must not exist */
	const struct token *token; /* copied */
	const char *device;        /* name of this device */
	const struct token_address *extra; /* addresses to try besides the token's */
	unsigned n_extra;
	uint64_t timeout_us;       /* 0: 30 s */
};

struct join_result {
	struct id inviter;
	char inviter_name[NAME_SIZE];
	struct token_address address; /* where the inviter answered; worth connecting to */
};

/* result, or NULL and why: what happened and what to try. Comes once, from the loop, after
 * the identity is on disk; result and why are gone afterwards. It may call join_free. */
typedef void join_fn(const struct join_result *result, const struct err *why, void *user);

int join_new(sd_event *event, const struct join_options *o, join_fn *fn, void *user,
	     struct join **ret, struct err *e);
void join_free(struct join *j); /* gives up; no callback any more */
DEFINE_CLEANUP(struct join *, join_free)
