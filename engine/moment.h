/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The tree as it was.
 *
 * What this device showed at a time, as far as it is known still: names and places that were left no
 * longer ago than deletions are remembered; of a file the version that was there, or the first later one
 * that is kept. What came from another device counts as here from when it was made there. Modes and
 * targets of links are those of now, or of when it was deleted. */

#include "engine/replica.h"

struct moment;

/* us since 1970. Any thread, as with all that follow. -EINVAL. */
int moment_new(struct replica *r, uint64_t us, struct moment **ret);
void moment_free(struct moment *m); /* before the replica; NULL is fine */
int moment_root(struct moment *m, struct attr *ret);
/* As replica_lookup, and replica_list. A parent that was no directory, or was not there: as if empty. */
int moment_lookup(struct moment *m, const struct id *parent, const char *name, size_t len,
		  struct attr *ret);
int moment_list(struct moment *m, const struct id *parent, list_fn f, void *userdata);
/* Of a node that was found so. -ESTALE: look it up again; -EHOSTDOWN, -EBADMSG: its bytes are missing
 * or damaged. */
int moment_read(struct moment *m, const struct id *id, struct version **ret);
int moment_readlink(struct moment *m, const struct id *id, struct buf *ret);

DEFINE_CLEANUP(struct moment *, moment_free)
