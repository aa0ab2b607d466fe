/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads an encoded byte string that may be hostile.
 *
 * A failed read sets bad, returns zero or NULL, and every later read fails as well; a
 * decoder reads as it likes and asks cursor_ok() or cursor_end() before it believes
 * anything. Nothing is allocated. Non-canonical varints (a needless last zero group, more
 * than 64 bits) are bad. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct cursor cursor_make(const void *data, size_t len)
{
	const uint8_t *p = data;
	return (struct cursor){ p, p ? p + len : p, false };
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

static inline bool cursor_ok(const struct cursor *c)
{
	return !c->bad;
}

/* True when nothing was bad and every byte was read. */
static inline bool cursor_end(const struct cursor *c)
{
	return !c->bad && c->p == c->end;
}

/* The next n bytes, borrowed from the input. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return NULL;
	}
	const uint8_t *p = c->p;
	c->p += n;
	return p;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);
	return p ? *p : 0;
}

uint64_t cursor_varint_long(struct cursor *c); /* of any length */
static inline uint64_t cursor_varint(struct cursor *c)
{
	return !c->bad && c->p < c->end && *c->p < 0x80 ? *c->p++ : cursor_varint_long(c);
}

uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);

/* A varint that must be at most max. */
uint64_t cursor_varint_max(struct cursor *c, uint64_t max);


/* A varint length (at most max) and as many bytes, borrowed from the input. */
const uint8_t *cursor_bytes(struct cursor *c, size_t max, size_t *ret_len);
