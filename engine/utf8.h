/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* UTF-8 as Unicode's table 3-7 has it: no overlong forms, no surrogates, at most U+10FFFF. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed sequence at p (first byte from 0x80 up, p < end); 0: there is none. */
static inline size_t utf8_sequence(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);
	uint8_t c = p[0];
	if (c < 0xc2 || c > 0xf4 || left < 2)
		return 0;
	if (c < 0xe0)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	uint8_t lo = 0x80, hi = 0xbf;
	switch (c) {
	case 0xe0:
		lo = 0xa0;
		break;
	case 0xed:
		hi = 0x9f;
		break;
	case 0xf0:
		lo = 0x90;
		break;
	case 0xf4:
		hi = 0x8f;
		break;
	default:
		break;
	}
	if (p[1] < lo || p[1] > hi || left < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (c < 0xf0)
		return 3;
	return left >= 4 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
}

/* Is all of it well-formed? Of no bytes p may be NULL. */
static inline bool utf8_valid(const uint8_t *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t n = p[at] < 0x80 ? 1 : utf8_sequence(p + at, p + len);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* The code point of a well-formed sequence of n = 2 to 4 bytes. */
static inline uint32_t utf8_decode(const uint8_t *p, size_t n)
{
	uint32_t c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3fu);
	return c;
}

/* Bytes that the code point c takes. */
static inline size_t utf8_length(uint32_t c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* Writes the code point c (at most U+10FFFF) to p; returns its length. */
static inline size_t utf8_encode(uint8_t *p, uint32_t c)
{
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = utf8_length(c);
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		p[i] = (uint8_t)(0x80 | (c & 0x3f));
	p[0] = (uint8_t)(lead[n] | c);
	return n;
}
