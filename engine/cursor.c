/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/cursor.h"

static uint64_t big_endian(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;
	for (size_t i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

uint16_t cursor_u16(struct cursor *c)
{
	return (uint16_t)big_endian(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
	return (uint32_t)big_endian(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
	return big_endian(c, 8);
}

uint64_t cursor_varint_long(struct cursor *c)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = cursor_u8(c);
		if (c->bad)
			return 0;
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			if (b == 0 && shift > 0)
				break;
			return v;
		}
	}
	c->bad = true;
	return 0;
}

uint64_t cursor_varint_max(struct cursor *c, uint64_t max)
{
	uint64_t v = cursor_varint(c);
	if (v > max) {
		c->bad = true;
		return 0;
	}
	return v;
}

const uint8_t *cursor_bytes(struct cursor *c, size_t max, size_t *ret_len)
{
	size_t n = (size_t)cursor_varint_max(c, max);
	const uint8_t *p = cursor_take(c, n);
	*ret_len = p ? n : 0;
	return p;
}
