/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which of the threads that serve a mount waits for the kernel's next request: one, the others stand aside
 * until they are needed. The kernel gives requests to all who wait, one after the other; an open and the
 * release of the one before would each wake a thread of its own, on another processor and with cold
 * caches, for a few microseconds of work.
 *
 * Who has got a request does it and waits for the next one: most are done sooner than another thread is
 * awake. Whoever has work that takes long, or comes upon some (a read of what is not in memory), or has to
 * wait for a lock, passes the turn on before. What takes longer without anybody having known (the store
 * waits for its disk, a lock is held for long) is noticed by a thread that looks every TURN_LOOK_NS while
 * there are such requests: it passes the turn on. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TURN_LOOK_NS 1000000
#define TURN_REST 20 /* looks without anything to see; then it sleeps until somebody wakes it */

struct turns {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	bool taken, over;
	unsigned aside;

	pthread_t watcher;
	bool watched; /* the thread runs */
	pthread_cond_t look;
	atomic_bool sleeps;
	atomic_uint_fast64_t number; /* of the last request that may take long; +1: it is done */
};

void turns_init(struct turns *t);
void turns_done(struct turns *t);
/* The thread that looks: from here to turns_end. Without it (a failure) all is the same but for what
 * nobody has known to take long. */
void turns_watch(struct turns *t);
/* Returns when the caller is to wait for a request; false: nobody is any more. number: what turn_give has
 * returned; that is done now. */
bool turn_take(struct turns *t, uint64_t number);
/* It does not wait any more. request: what it has got, as it came from the kernel, or NULL. */
uint64_t turn_give(struct turns *t, const void *request, size_t len);
/* What the caller does may take a while: somebody else is to wait. */
void turn_pass(struct turns *t);
/* Nobody is to wait again. */
void turns_end(struct turns *t);
