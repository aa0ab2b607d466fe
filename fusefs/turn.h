/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which of the threads that serve a mount waits for the kernel's next request: one, the others stand aside
 * until they are needed. The kernel gives requests to all who wait, one after the other; an open and the
 * release of the one before would each wake a thread of its own, on another processor and with cold
 * caches, for a few microseconds of work.
 *
 * Who has got a request that is quick work does it and waits for the next one. Whoever has other work, or
 * comes upon some (a read of what is not in memory), or has to wait for a lock, passes the turn on before. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct turns {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	bool taken, over;
	unsigned aside;
};

void turns_init(struct turns *t);
void turns_done(struct turns *t);
/* Returns when the caller is to wait for a request; false: nobody is any more. */
bool turn_take(struct turns *t);
/* It does not wait any more. request: what it has got, as it came from the kernel, or NULL. */
void turn_give(struct turns *t, const void *request, size_t len);
/* What the caller does may take a while: somebody else is to wait. */
void turn_pass(struct turns *t);
/* Nobody is to wait again. */
void turns_end(struct turns *t);
