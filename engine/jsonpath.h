/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Paths into a JSON document as SQLite writes them: $, then .name, ."any name", [N] and [#-N], the
 * N-th element from the end. */

#include "engine/arena.h"
#include "engine/buf.h"
#include "engine/json.h"

enum jsonpath_kind { JSONPATH_NAME, JSONPATH_INDEX, JSONPATH_FROM_END };

struct jsonpath_step {
	enum jsonpath_kind kind;
	const char *name; /* UTF-8, as it stands in the path; no escapes */
	size_t len;
	uint32_t n; /* FROM_END: 0 is behind the last element */
};

struct jsonpath {
	struct jsonpath_step *step;
	uint32_t n;
};

/* short_form: a path that does not begin with $ is the name of a member, the number of an element or
 * [N], as behind -> and ->>. Refers to the text. -EINVAL: no path, *ret_at (may be NULL) is where it stops
 * being one; -ENOMEM. */
int jsonpath_parse(struct arena *a, const char *text, size_t len, bool short_form, struct jsonpath *ret,
		   size_t *ret_at);
/* What is there; NULL: nothing. skip: steps that lead to root. */
const struct json *jsonpath_get(const struct json *root, const struct jsonpath *p, uint32_t skip);
/* A, then what B says of it. */
int jsonpath_join(struct arena *a, const struct jsonpath *x, const struct jsonpath *y, struct jsonpath *ret);
bool jsonpath_equal(const struct jsonpath *x, const struct jsonpath *y);
/* The same in one way of writing; equal paths, equal texts. */
void jsonpath_write(const struct jsonpath *p, struct buf *out);
