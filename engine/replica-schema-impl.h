/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a collection says of its documents: how their values merge, and what they have to look like. */

#include "engine/replica-impl.h"

/* ---- declarations (replica-types.c) ---- */

void types_init(struct replica *r);
/* Those of a collection, for the caller to free; *ret NULL: none. */
int types_of(struct replica *r, const struct id *scope, struct types **ret);
/* The record was committed. Commit lock. */
void types_changed(struct replica *r, const struct record *rec);
/* A directory at the top or the root; what: is done for it, for people. -ENOENT, -ENOTDIR, -EINVAL. */
int collection_check(struct replica *r, const struct id *id, const char *what, struct err *e);

/* ---- schemas (replica-schema.c, shoal-schema(7)) ---- */

struct schema;
void schemas_init(struct replica *r);
bool schema_is_name(const char *name, size_t len);
/* That of a collection, for the caller to free; *ret NULL: none, or none that is one. */
int schema_of(struct replica *r, const struct id *scope, struct schema **ret);
/* It was committed. Commit lock. */
void schema_touched(struct replica *r, const struct touched *t);
/* May the draft be saved under that name in that collection? -EINVAL: e says why not. */
int draft_check(struct replica *r, const struct id *scope, const char *name, size_t len,
		const struct draft *d, struct err *e);
