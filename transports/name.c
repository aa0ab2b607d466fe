/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/name.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "engine/utf8.h"

/* Control characters, and those that reorder or hide text on a terminal. */
static bool unprintable(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

bool name_ok(const char *name, size_t len)
{
	const uint8_t *p = (const uint8_t *)name;
	if (len == 0 || len > NAME_LIMIT || p[0] == ' ' || p[len - 1] == ' ')
		return false;
	for (size_t i = 0; i < len;) {
		size_t n = p[i] < 0x80 ? 1 : utf8_sequence(p + i, p + len);
		if (n == 0 || unprintable(n == 1 ? p[i] : utf8_decode(p + i, n)))
			return false;
		i += n;
	}
	return true;
}

static const char *const role_names[] = {
	[ROLE_ADMIN] = "admin",
	[ROLE_MEMBER] = "member",
	[ROLE_READER] = "reader",
	[ROLE_COURIER] = "courier",
};

const char *role_name(enum role role)
{
	return role_names[role];
}

int role_parse(const char *text, enum role *ret)
{
	for (int i = 0; i <= ROLE_MAX; i++)
		if (strcmp(text, role_names[i]) == 0) {
			*ret = (enum role)i;
			return 0;
		}
	return -EINVAL;
}
