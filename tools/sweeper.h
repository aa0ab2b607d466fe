/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lets earlier versions go when their time is over, purges what was deleted long ago, and frees the chunks that nothing needs any
 * more: a minute after the start, for what an earlier run left, and then once an hour; chunks only
 * when files were overwritten or versions went. A thread of its own, with no lower priority than
 * others: it takes locks that saves wait for. */

#include "engine/replica.h"
#include "tools/flusher.h"
#include "tools/log.h"

struct sweeper;

struct sweeper_limits { /* of history, see shoal.conf(5) */
	uint64_t days;
	uint64_t share; /* percent of the disk that dirfd is on */
	uint64_t purge; /* days; not more than `days`: one more than that; 0: never */
};

/* dirfd is borrowed. */
int sweeper_new(struct replica *r, int dirfd, const struct sweeper_limits *limits, struct log *log,
		struct sweeper **ret, struct err *e);
/* Other limits from the next run on. Any thread. */
void sweeper_limit(struct sweeper *s, const struct sweeper_limits *limits);
/* Contents were evicted: sweeps soon, and gives the room back to the disk. Any thread. */
void sweeper_kick(struct sweeper *s);
/* Whom to tell of a view that the sweeper has published. Before the first kick; borrowed. */
void sweeper_tell(struct sweeper *s, struct flusher *f);
/* How often that has been done, since the start. Any thread. */
uint64_t sweeper_rounds(struct sweeper *s);
/* Breaks off a sweep that runs: what it did not delete waits for the next start. The replica cannot
 * be swept any more. */
void sweeper_free(struct sweeper *s);
DEFINE_CLEANUP(struct sweeper *, sweeper_free)
