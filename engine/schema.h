/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A schema of documents: JSON Schema, draft 2020-12, as far as shoal-schema(7) says. Immutable once made; any
 * thread may check with it. */

#include <stddef.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "engine/json.h"

#define SCHEMA_FILE ".schema.json" /* of a collection */
#define SCHEMA_SIZE_MAX (1u << 20)

struct schema;

/* text, copied, is JSON of len bytes. -EINVAL: it is no schema, and e says where and why; -EFBIG; -ENOMEM. */
int schema_new(const char *text, size_t len, struct schema **ret, struct err *e);
struct schema *schema_ref(struct schema *s); /* NULL: NULL */
void schema_free(struct schema *s);          /* gives up a reference */

/* 0: the document is as it should be. -EINVAL: it is not; e has the first place found, by pointer and, for a tree that
 * was parsed from text, by line and column (text NULL: it was not). -ENOMEM. */
int schema_check(const struct schema *s, const struct json *doc, const char *text, struct err *e);

/* Calls f for each x-shoal-type: the pattern of the place (engine/types.h) and what was written. Stops at what is not 0, and
 * returns it. */
typedef int (*schema_type_fn)(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata);
int schema_types(const struct schema *s, schema_type_fn f, void *userdata);

DEFINE_CLEANUP(struct schema *, schema_free)
