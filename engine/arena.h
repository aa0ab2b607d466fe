/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Memory for one call: parse trees, decoded messages, lists of operations. Everything is
 * released at once. All zero is an empty arena. Not thread-safe. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct arena_block;

struct arena {
	struct arena_block *block; /* newest first */
	uint8_t *p;                /* free space in it */
	uint8_t *end;
	size_t total;              /* bytes taken from malloc */
};

void arena_done(struct arena *a);  /* frees all; the arena is empty and usable */
void arena_reset(struct arena *a); /* like arena_done, but keeps one block */

void *arena_grow(struct arena *a, size_t n); /* arena_alloc() when there is no room yet */

/* n bytes, aligned to 8, not cleared; NULL when memory ran out. */
static inline void *arena_alloc(struct arena *a, size_t n)
{
	size_t size = (n + 7) & ~(size_t)7;
	/* Nothing, too, has an address: NULL means that there is no memory. */
	if (!a->p || size < n || (size_t)(a->end - a->p) < size)
		return arena_grow(a, n);
	void *p = a->p;
	a->p += size;
	return p;
}

static inline void *arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);
	if (p)
		memset(p, 0, n);
	return p;
}

/* Array of n elements of the given size, cleared; NULL on overflow as well. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* A copy, with a NUL added behind it. */
char *arena_dup(struct arena *a, const void *data, size_t len);

#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))
