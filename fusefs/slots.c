/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/slots.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

typedef _Atomic(void *) slot;

void slots_init(struct slots *s)
{
	*s = (struct slots){ .next = 1 };
	pthread_mutex_init(&s->lock, NULL);
}

void slots_done(struct slots *s)
{
	for (unsigned k = 0; k < SLOTS_BLOCKS; k++)
		free(atomic_load(&s->block[k]));
	free(s->free);
	pthread_mutex_destroy(&s->lock);
}

/* Which block a number is in, and where. */
static unsigned block_of(uint64_t number, uint64_t *ret_at)
{
	const uint64_t n = number / SLOTS_FIRST + 1;
	const unsigned k = 63 - (unsigned)__builtin_clzll(n);
	*ret_at = number - SLOTS_FIRST * ((UINT64_C(1) << k) - 1);
	return k;
}

static slot *find(struct slots *s, uint64_t number)
{
	uint64_t at;
	const unsigned k = block_of(number, &at);
	slot *block = k < SLOTS_BLOCKS ? atomic_load_explicit(&s->block[k], memory_order_acquire)
					: NULL;
	return block ? &block[at] : NULL;
}

/* lock held. */
static slot *make(struct slots *s, uint64_t number)
{
	uint64_t at;
	const unsigned k = block_of(number, &at);
	if (k >= SLOTS_BLOCKS)
		return NULL;
	slot *block = atomic_load(&s->block[k]);
	if (!block) {
		block = calloc((size_t)SLOTS_FIRST << k, sizeof(*block));
		atomic_store_explicit(&s->block[k], block, memory_order_release);
	}
	return block ? &block[at] : NULL;
}

uint64_t slots_add(struct slots *s, void *p)
{
	pthread_mutex_lock(&s->lock);
	uint64_t number = s->n_free ? s->free[--s->n_free] : s->next;
	slot *at = make(s, number);
	if (at) {
		atomic_store(at, p);
		s->next += number == s->next;
	}
	pthread_mutex_unlock(&s->lock);
	return at ? number : 0;
}

int slots_put(struct slots *s, uint64_t number, void *p)
{
	/* As many as the kernel can have open. */
	if (number == 0 || number >= UINT32_MAX)
		return -EBADMSG;
	pthread_mutex_lock(&s->lock);
	slot *at = make(s, number);
	const bool taken = at && atomic_load(at);
	if (at && !taken)
		atomic_store(at, p);
	if (number >= s->next)
		s->next = number + 1;
	pthread_mutex_unlock(&s->lock);
	return taken ? -EBADMSG : at ? 0 : -ENOMEM;
}

void *slots_get(struct slots *s, uint64_t number)
{
	slot *at = find(s, number);
	return at ? atomic_load_explicit(at, memory_order_acquire) : NULL;
}

void slots_remove(struct slots *s, uint64_t number)
{
	slot *at = find(s, number);
	if (!at)
		return;
	pthread_mutex_lock(&s->lock);
	atomic_store(at, NULL);
	if (s->n_free == s->cap_free) {
		size_t cap = s->cap_free ? s->cap_free * 2 : 64;
		uint64_t *x = reallocarray(s->free, cap, sizeof(*x));
		if (x) {
			s->free = x;
			s->cap_free = cap;
		}
	}
	/* Without memory it is not used again. */
	if (s->n_free < s->cap_free)
		s->free[s->n_free++] = number;
	pthread_mutex_unlock(&s->lock);
}

uint64_t slots_next(struct slots *s, uint64_t from)
{
	for (uint64_t n = from; n < s->next; n++)
		if (slots_get(s, n))
			return n;
	return 0;
}
