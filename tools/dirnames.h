/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What is in a directory, in byte order of the names, without . and .. */

#include "engine/buf.h"

struct dirnames {
	char **name;
	size_t n;
	struct buf text; /* of the names */
};

/* Reads all of dir, an open directory that stays the caller's and is read from its beginning. 0 or -errno (and then there
 * is nothing to be given back). */
int dirnames_read(int dir, struct dirnames *ret);
void dirnames_done(struct dirnames *x);
