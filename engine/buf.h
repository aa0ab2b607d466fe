/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A growable byte buffer for encoders. All zero is an empty buffer.
 *
 * Appending never fails at once: when memory runs out the buffer drops what follows and
 * remembers it; an encoder appends as it likes and asks buf_failed() at the end.
 * Integers are big-endian; varints are LEB128, least significant group first. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/cleanup.h"

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool failed;
};

#define BUF_VARINT_MAX 10 /* bytes of the longest varint */

void buf_done(struct buf *b);  /* frees the memory; b is empty and usable again */
void buf_reset(struct buf *b); /* length 0, memory kept, failure forgotten */
static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

uint8_t *buf_grow(struct buf *b, size_t n); /* buf_reserve() when there is no room yet */

/* Room for n more bytes; NULL when memory ran out. The caller fills it and adds to len. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
	return !b->failed && b->data && b->cap - b->len >= n ? b->data + b->len : buf_grow(b, n);
}

static inline void buf_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *p = len > 0 ? buf_reserve(b, len) : NULL;
	if (!p)
		return;
	memcpy(p, data, len);
	b->len += len;
}

void buf_puts(struct buf *b, const char *text); /* without the NUL */
void buf_putf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
static inline void buf_u8(struct buf *b, uint8_t v)
{
	uint8_t *p = buf_reserve(b, 1);
	if (!p)
		return;
	*p = v;
	b->len++;
}

void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_varint_long(struct buf *b, uint64_t v); /* of any value */
static inline void buf_varint(struct buf *b, uint64_t v)
{
	if (v < 0x80)
		buf_u8(b, (uint8_t)v);
	else
		buf_varint_long(b, v);
}

void buf_bytes(struct buf *b, const void *data, size_t len); /* varint length, bytes */

/* Removes the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* Ends the buffer with a NUL that len does not count; returns the text, or NULL when memory
 * ran out. Ownership stays with b. */
char *buf_cstr(struct buf *b);

/* Gives the memory up: the caller frees it. NULL when the buffer failed or is empty. */
uint8_t *buf_take(struct buf *b, size_t *ret_len);
