/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names of devices and meshes, and the roles of devices. */

#include <stdbool.h>
#include <stddef.h>

#define NAME_LIMIT 64             /* bytes; X.509's bound for a common name */
#define NAME_SIZE (NAME_LIMIT + 1) /* NUL included */

/* A name is 1..64 bytes of valid UTF-8 without control characters, and neither begins nor
 * ends with a space; so it can stand in a terminal, a log line and a certificate. */
bool name_ok(const char *name, size_t len);

enum role {
	ROLE_ADMIN,   /* may also invite, grant and revoke */
	ROLE_MEMBER,  /* reads and writes what it is granted */
	ROLE_READER,  /* reads only */
	ROLE_COURIER, /* carries for others, sees nothing itself */
};
#define ROLE_MAX ROLE_COURIER

const char *role_name(enum role role);

/* -EINVAL when text is no role. */
int role_parse(const char *text, enum role *ret);
