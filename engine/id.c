/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/id.h"

#include <errno.h>

char *id_hex(const struct id *a, char text[static ID_HEX])
{
	static const char digit[] = "0123456789abcdef";
	for (size_t i = 0; i < ID_SIZE; i++) {
		text[2 * i] = digit[a->b[i] >> 4];
		text[2 * i + 1] = digit[a->b[i] & 15];
	}
	text[2 * ID_SIZE] = 0;
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int id_parse(const char *text, size_t len, struct id *ret)
{
	struct id id;
	if (len != 2 * ID_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < ID_SIZE; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		id.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret = id;
	return 0;
}
