/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/printable.h"

#include "engine/utf8.h"

static bool is_hidden(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

bool printable(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = text[i] < 0x80 ? 1 : utf8_sequence(text + i, text + len);
		if (n == 0 || is_hidden(n == 1 ? text[i] : utf8_decode(text + i, n)))
			return false;
		i += n;
	}
	return true;
}
