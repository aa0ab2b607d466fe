/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Turns what was committed into durable, published views: the thread that pays for the disk, so
 * that neither writers nor the network loop wait for it. One flush serves everything that was
 * committed while the last one ran. */

#include <stdbool.h>

#include "engine/replica.h"
#include "tools/log.h"

struct flusher;

/* published is called by the flusher's thread whenever a view that it has not reported yet is
 * there: only pass the word on. */
int flusher_new(struct replica *r, struct log *log, void (*published)(void *userdata),
		void *userdata, struct flusher **ret, struct err *e);
/* Stops the thread; what is dirty then is flushed by whoever closes the store. */
void flusher_free(struct flusher *f);
DEFINE_CLEANUP(struct flusher *, flusher_free)

/* Something may have been committed. Any thread; cheap. The flusher observes the replica itself;
 * this is for commits that no observer hears of. */
void flusher_kick(struct flusher *f);
/* The same, and somebody waits for it to be on the disk. */
void flusher_now(struct flusher *f);
/* hurry: somebody waits for views (a session is up), so a change is flushed within about a
 * millisecond; else once a second. */
void flusher_hurry(struct flusher *f, bool hurry);
