/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a commit changed, for those who want to be told (replica-observe.c). */

#include "engine/crdt.h"

struct replica;

enum {
	CHANGE_CONTENT = 1, /* bytes or size */
	CHANGE_ATTR = 2,    /* mode, times, extended attributes */
	CHANGE_CREATED = 4, /* a name appeared: parent, name */
	CHANGE_REMOVED = 8, /* a name went away: old_parent, old_name */
};

#define POINTERS_MAX 256 /* of one change; of more the first ones are told */

struct change {
	struct id id;
	unsigned what; /* CHANGE_CREATED | CHANGE_REMOVED: moved or renamed */
	enum node_kind kind;
	struct id target;     /* of a hard link: the node it names; else zero */
	bool fresh;           /* that was not there before */
	bool remote;
	uint64_t hlc;         /* of the commit, or the newest dot that arrived */
	uint32_t actor;       /* who made it */
	struct id version;
	struct id parent, old_parent;
	const char *name, *old_name; /* NUL-terminated; NULL when not meant */
	const char *const *pointer;  /* JSON pointers set or removed in a document; may be NULL */
	uint32_t n_pointers;
};

/* f is called after the commit is visible, in commit order, by the committing thread with no lock
 * of the replica held but the order of notifications; it must be quick and must not write to the
 * replica. */
typedef void (*change_fn)(const struct change *change, size_t n, void *userdata);
int replica_observe(struct replica *r, change_fn f, void *userdata);
void replica_unobserve(struct replica *r, change_fn f, void *userdata);
/* Waits until observers have been told of all that was visible at the call. Not for an observer. */
void replica_observed(struct replica *r);
