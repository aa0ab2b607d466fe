/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "engine/patch.h"

#define HAS_LOWER 1u
#define HAS_LAYOUT 2u

static uint32_t reverse(uint32_t v)
{
	v = (v >> 1 & 0x55555555) | (v & 0x55555555) << 1;
	v = (v >> 2 & 0x33333333) | (v & 0x33333333) << 2;
	v = (v >> 4 & 0x0f0f0f0f) | (v & 0x0f0f0f0f) << 4;
	return __builtin_bswap32(v);
}

static size_t put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

size_t look_encode(const struct look *l, uint8_t data[static LOOK_SIZE_MAX])
{
	uint32_t lower = (uint32_t)l->position;
	size_t n = put_varint(data, l->position >> 32 << 2 |
					    (l->layout & LOOK_INLINE ? HAS_LAYOUT : 0) |
					    (lower ? HAS_LOWER : 0));
	if (lower)
		n += put_varint(data + n, reverse(lower));
	return n;
}

int look_read(struct cursor *cur, struct look *ret)
{
	uint64_t head = cursor_varint_max(cur, (UINT64_C(1) << 34) - 1);
	struct look l = { .position = head >> 2 << 32,
			  .layout = head & HAS_LAYOUT ? LOOK_INLINE : 0 };
	if (head & HAS_LOWER) {
		uint32_t lower = reverse((uint32_t)cursor_varint_max(cur, UINT32_MAX));
		if (lower == 0)
			cur->bad = true;
		l.position |= lower;
	}
	if (!cursor_ok(cur))
		return -EBADMSG;
	*ret = l;
	return 0;
}

int look_decode(const struct value *v, struct look *ret)
{
	struct cursor cur = cursor_make(v->data, v->len);
	struct look l;
	if (v->kind != VALUE_BYTES || look_read(&cur, &l) < 0 || !cursor_end(&cur))
		return -EBADMSG;
	*ret = l;
	return 0;
}
