/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What was made of a collection's declarations, for some collections, until these change. Who makes one asks before
 * how often they have changed: what is older than a change is not kept. Any thread. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/id.h"

#define KEPT_SCOPES 32
struct kept_one {
	struct id scope;
	bool known;
	void *value;
};
struct kept {
	pthread_mutex_t lock; /* leaf */
	uint64_t changes;     /* of declarations */
	void *(*ref)(void *); /* NULL: NULL */
	void (*unref)(void *);
	struct kept_one one[KEPT_SCOPES];
};
void kept_init(struct kept *k, void *(*ref)(void *), void (*unref)(void *));
void kept_done(struct kept *k); /* of zeros: nothing */
/* True: it is known; *ret is the caller's reference. False: make it, and then put it. */
bool kept_get(struct kept *k, const struct id *scope, uint64_t *ret_changes, void **ret);
/* Takes a reference of its own. */
void kept_put(struct kept *k, const struct id *scope, uint64_t changes, void *value);
/* They have changed. */
void kept_forget(struct kept *k, const struct id *scope);
