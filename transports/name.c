/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/name.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "engine/printable.h"

bool name_ok(const char *name, size_t len)
{
	return len > 0 && len <= NAME_LIMIT && name[0] != ' ' && name[len - 1] != ' ' &&
	       printable((const uint8_t *)name, len);
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
