/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/arena.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK 4096
#define LARGEST_STEP (1024 * 1024)

struct arena_block {
	struct arena_block *next;
	size_t size; /* of the whole block, head included */
	_Alignas(16) uint8_t data[];
};

void arena_done(struct arena *a)
{
	for (struct arena_block *b = a->block, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct arena){ 0 };
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = a->block;
	if (!keep)
		return;
	a->block = keep->next;
	arena_done(a);
	keep->next = NULL;
	a->block = keep;
	a->p = keep->data;
	a->end = (uint8_t *)keep + keep->size;
	a->total = keep->size;
}

void *arena_grow(struct arena *a, size_t n)
{
	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + 7) & ~(size_t)7;
	size_t size = a->block ? a->block->size * 2 : FIRST_BLOCK;
	if (size > LARGEST_STEP)
		size = LARGEST_STEP;
	if (size < n + sizeof(struct arena_block))
		size = n + sizeof(struct arena_block);
	struct arena_block *b = malloc(size);
	if (!b)
		return NULL;
	b->size = size;
	b->next = a->block;
	a->block = b;
	a->p = b->data + n;
	a->end = (uint8_t *)b + size;
	a->total += size;
	return b->data;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return arena_zalloc(a, bytes);
}

char *arena_dup(struct arena *a, const void *data, size_t len)
{
	char *p = arena_alloc(a, len + 1);
	if (!p)
		return NULL;
	if (len)
		memcpy(p, data, len);
	p[len] = 0;
	return p;
}
