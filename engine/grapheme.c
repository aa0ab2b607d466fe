/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/grapheme.h"

#include <unigbrk.h>

#include "engine/utf8.h"

/* A boundary is between any two ASCII characters but CR and LF. */
static bool ascii_break(const uint8_t *text, size_t i)
{
	return i == 0 || text[i] != '\n' || text[i - 1] != '\r';
}

void grapheme_breaks(const uint8_t *text, size_t len, uint8_t *brk)
{
	for (size_t i = 0; i < len;) {
		for (; i < len && text[i] < 0x80; i++)
			brk[i] = ascii_break(text, i);
		if (i == len)
			break;
		/* From the character before what is not ASCII to the first two behind that are. */
		size_t from = i > 0 ? i - 1 : 0;
		uint8_t first = i > 0 ? brk[from] : 1;
		while (i < len && (text[i] >= 0x80 || text[i - 1] >= 0x80))
			i++;
		u8_grapheme_breaks(text + from, i - from, (char *)brk + from);
		brk[from] = first;
	}
}

/* The cluster break property of the code point at text[at], GBP_EXTEND if it is no valid one: that
 * decides nothing. */
static int property(const uint8_t *text, size_t len, size_t at)
{
	uint32_t c = text[at];
	if (c >= 0x80) {
		size_t n = utf8_sequence(text + at, text + len);
		if (n == 0)
			return GBP_EXTEND;
		c = utf8_decode(text + at, n);
	}
	return uc_graphemeclusterbreak_property(c);
}

static bool is_control(int p)
{
	return p == GBP_CR || p == GBP_LF || p == GBP_CONTROL;
}

bool grapheme_certain(const uint8_t *text, size_t len, size_t at)
{
	size_t before = at;
	if (at == 0 || at == len)
		return true;
	if (text[at] < 0x80 && text[at - 1] < 0x80)
		return ascii_break(text, at);
	do
		before--;
	while (before > 0 && at - before < 4 && (text[before] & 0xc0) == 0x80);
	size_t n = text[before] < 0x80 ? 1 : utf8_sequence(text + before, text + len);
	if (before + n != at)
		return false;
	int x = property(text, len, before), y = property(text, len, at);
	return is_control(x) || is_control(y) || (x == GBP_OTHER && y == GBP_OTHER);
}
