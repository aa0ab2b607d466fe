/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396) on trees. What is given is not changed; the
 * result is a new tree in the arena that shares the texts, so it is valid while all of them are.
 * Containers that stayed keep their layout, those that came with the patch take that of what is
 * around them (JSON_LAYOUT_AUTO).
 *
 * Copying can grow a document without bound: the result may have JSONPATCH_VALUES_MAX values and
 * JSONPATCH_BYTES_MAX bytes of text together with all that was thrown away on the way there, and may be
 * JSON_DEPTH_DEFAULT deep. Any thread. */

#include "engine/arena.h"
#include "engine/err.h"
#include "engine/json.h"

#define JSONPATCH_VALUES_MAX (1u << 20)
#define JSONPATCH_BYTES_MAX (64u << 20)

/* Applies all operations in their order, or none. -EINVAL: that is no patch (e says which operation,
 * from 1); -ENOENT: no such place; -ECANCELED: a test failed; -EFBIG: the result is too large. */
int jsonpatch_apply(struct arena *a, const struct json *doc, const struct json *patch,
		    struct json **ret, struct err *e);

/* doc NULL: there is none. -EFBIG. */
int jsonpatch_merge(struct arena *a, const struct json *doc, const struct json *patch,
		    struct json **ret, struct err *e);

/* A copy of a value that is to stand where `old` (may be NULL) stood: its containers take the layout
 * of the ones that were at their place. -EFBIG. */
int jsonpatch_replace(struct arena *a, const struct json *old, const struct json *value,
		      struct json **ret, struct err *e);
