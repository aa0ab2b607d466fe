/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What filters and queries have SQLite for has no file: each has a database of its own in memory, used by one thread at a
 * time, in which "x" is a name and never a text, and into which nothing can be loaded or attached. */

#include <sqlite3.h>
#include <stddef.h>


struct sqldb_limits {
	int value;   /* bytes of a value or row */
	int sql;     /* of a statement */
	int depth;   /* of an expression */
	int pattern; /* bytes of a pattern of LIKE or GLOB */
};

int sqldb_open(const struct sqldb_limits *limits, sqlite3 **ret); /* -ENOMEM */

/* From now on SQLite has in this thread so many bytes and no more, beyond what it has already; 0: any number. What it is
 * refused shows as SQLITE_NOMEM. A database is to be opened and closed in the thread, or before and after. */
void sqldb_limit_memory(size_t bytes);
