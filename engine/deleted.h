/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What was deleted here, and bringing it back (engine/replica-deleted.c). */

#include "engine/replica.h"

/* A file, link or directory that was here and was deleted. */
struct deleted {
	struct id id;
	struct id file;    /* whose versions it had: id, or what it named as a hard link */
	enum node_kind kind; /* of that */
	struct id parent;  /* the directory that it was in */
	const char *name;  /* there; arena, NUL-terminated */
	size_t name_len;
	uint64_t when_us;  /* by the clock of who deleted it */
	uint32_t actor;    /* who did; ACTOR_NONE: unknown */
};

/* What was deleted and still is, the latest deletion first, each node once; an array in the arena. */
int replica_deleted(struct replica *r, struct arena *a, struct deleted **ret, uint32_t *ret_n);
/* Where a file was, or a link to it, that was deleted last; also of one of which nothing else is kept. ret->id is the file or
 * the link. -ENOENT: it is not known. */
int replica_deleted_place(struct replica *r, struct arena *a, const struct id *file, struct deleted *ret);
/* Brings a deleted node back to where it was, or (parent not NULL) to parent/name, with the content
 * that it had, and with the directories that it was in as far as these are deleted as well; one
 * commit. -EEXIST: something has a name there, -ENOENT: it is not deleted, or nobody knows where it was,
 * -EXDEV: parent is in another collection; e says which. */
int replica_undelete(struct replica *r, const struct id *id, const struct id *parent,
		     const char *name, size_t len, struct err *e);
