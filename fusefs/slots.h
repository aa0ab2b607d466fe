/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Numbers for what the kernel has open. It gives back with each request what it was given at the
 * opening; an address would mean nothing to the next daemon (fusefs/handover.h). Finding what a number
 * stands for takes no lock. */

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SLOTS_FIRST 64u /* in the first block; each one has twice as many as the one before */
#define SLOTS_BLOCKS 32

struct slots {
	pthread_mutex_t lock;
	_Atomic(_Atomic(void *) *) block[SLOTS_BLOCKS];
	uint64_t next;  /* greater than all that were given */
	uint64_t *free; /* given back */
	size_t n_free, cap_free;
};

void slots_init(struct slots *s);
void slots_done(struct slots *s);

/* A number for p, which is not NULL. Never 0; 0: no memory. */
uint64_t slots_add(struct slots *s, void *p);
/* It has this number, which nobody else has: before any is added. -EBADMSG, -ENOMEM. */
int slots_put(struct slots *s, uint64_t number, void *p);
/* What has it; NULL: nothing, or number is 0. */
void *slots_get(struct slots *s, uint64_t number);
void slots_remove(struct slots *s, uint64_t number);
/* The first number from there on that something has; 0: none. Nothing comes or goes meanwhile. */
uint64_t slots_next(struct slots *s, uint64_t from);
