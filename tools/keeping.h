/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What this device keeps beyond what it subscribes to: carries collections for neighbours within a
 * quota, gives up what it was told to once somebody else has all of it, and takes out of the store
 * what it does not keep (shoal-protocol(7), Interests); and, as that is done in the same way, makes indexes in small steps.
 * A thread of its own. */

#include "engine/replica.h"
#include "tools/flusher.h"
#include "tools/log.h"

struct keeping;

/* The filter of a part that is to be kept no more: everything leaves, then it is not kept. */
#define KEEPING_NOTHING "0"

/* flusher is told when something changed, so that links hear of it; borrowed. */
int keeping_new(struct replica *r, uint64_t quota_bytes, struct flusher *flusher, struct log *log,
		struct keeping **ret, struct err *e);
/* Another quota from now on. Any thread. */
void keeping_limit(struct keeping *k, uint64_t quota_bytes);
/* Something that it goes by may have changed: it looks at once. Any thread. */
void keeping_kick(struct keeping *k);
void keeping_free(struct keeping *k);
DEFINE_CLEANUP(struct keeping *, keeping_free)
