/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Memory for one call: parse trees, decoded messages, lists of operations. Everything is
 * released at once. All zero is an empty arena. Not thread-safe. */

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	struct arena_block *block; /* newest first */
	uint8_t *p;                /* free space in it */
	uint8_t *end;
	size_t total;              /* bytes taken from malloc */
};

void arena_done(struct arena *a);  /* frees all; the arena is empty and usable */
void arena_reset(struct arena *a); /* like arena_done, but keeps one block */

/* n bytes, aligned to 8, not cleared; NULL when memory ran out. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* Array of n elements of the given size, cleared; NULL on overflow as well. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* A copy, with a NUL added behind it. */
char *arena_dup(struct arena *a, const void *data, size_t len);

#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))
