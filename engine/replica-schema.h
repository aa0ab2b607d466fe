/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the documents of a collection have to look like: shoal-schema(7). Saves look by themselves; these are for
 * whoever asks before, or after a merge. Any thread. */

#include "engine/replica.h"

/* Has a document of this name in this directory to be as a schema says (shoal-schema(7)), or to be one? */
bool replica_asks(struct replica *r, const struct id *dir, const char *name, size_t len);
/* Would content be refused there, and why: because of the schema; strict: because it is no document as well. */
bool replica_refuses(struct replica *r, const struct id *dir, const char *name, size_t len,
		     const struct content *c, bool strict, struct err *e);
/* Is the live file as the schema of its collection says, or a schema if it has to be one? 0: yes, or there
 * is none; -EINVAL: no, and e says why; -ENOENT. */
int replica_check(struct replica *r, const struct id *id, struct err *e);

/* Calls f for each live file that replica_check finds fault with, in no order; what it returns other than 0 ends it and is
 * returned. Looks at all documents of collections that have a schema. */
int replica_broken(struct replica *r, conflicted_fn f, void *userdata);
