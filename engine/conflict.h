/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Conflicts by place, and their end. record_conflicts (engine/crdt.h) is enough for who only wants
 * to know what lost. */

#include "engine/crdt.h"

/* A place of the content at which values compete. Borrowed for the call. */
struct conflict {
	const char *pointer; /* JSON pointer; keys may have NUL bytes */
	size_t len;
	const struct slot *slot;
	/* A container without an entry of its own: its kind with the stamp of its newest part. */
	const struct entry *shown;
	const struct entry *const *lost; /* the values differ from the shown one's */
	uint32_t n;
};

/* *ret_take is NULL: set to shown or to one of lost, that becomes what is there, see
 * record_settle. Non-zero ends the walk. */
typedef int (*settle_fn)(const struct conflict *c, const struct entry **ret_take, void *userdata);

/* Calls f for every place in conflict, the outer ones first; what f takes is not looked at. */
int record_conflict_places(const struct record *r, const struct actors *actors, settle_fn f,
			   void *userdata);

/* Writes what f takes, as a save by somebody who saw all of r: the other values that r has at the
 * place go, those that r has not seen stay. A container keeps its parts, another value that takes
 * its place takes them away. All with one stamp. *ret == r when f took nothing. A value other than 0
 * that f returned comes back, and *ret is r. */
int record_settle(struct arena *a, const struct actors *actors, const struct record *r, settle_fn f,
		  void *userdata, const struct stamp *st, const struct record **ret);
