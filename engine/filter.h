/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which files of a collection a subscription wants: an expression of SQLite over the document, which
 * SQLite itself evaluates. shoal-format(7), section "Filters", says what stands for what.
 *
 * Two devices have to come to the same answer, so an expression is taken only if SQLite takes it as that
 * of a generated column, which may depend on nothing but its row: no random(), no now, no subqueries.
 * The expression may come from a peer: its length, the memory of an evaluation, its steps and the
 * functions that take more time than their arguments are long are bounded. Each filter has a database
 * of its own in memory, which holds the one row that is being asked about. Any thread; who asks the same
 * filter waits for one another. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "engine/id.h"

#define FILTER_SIZE_MAX 4096   /* bytes of an expression */
#define FILTER_MEMBERS_MAX 100 /* that it names */

struct filter;

/* The expression is UTF-8 without NUL. -EINVAL: it is not understood, or may not be used; e says why, and
 * has line, column and offset where SQLite knows the place; -E2BIG: too long, or too many members;
 * -ENOMEM. */
int filter_new(const char *text, size_t len, struct filter **ret, struct err *e);
void filter_free(struct filter *f); /* NULL: nothing */
/* As it was given; NUL-terminated, borrowed. */
const char *filter_text(const struct filter *f);
/* It asks for the path. */
bool filter_uses_path(const struct filter *f);
/* It asks for what only a document has: whatever is none does not match. */
bool filter_uses_content(const struct filter *f);

struct filter_file {
	struct id id;
	const char *path; /* from the root of the mount, without a slash in front */
	size_t path_len;
	const char *text; /* the document as it is shown; NULL: it is none */
	size_t len;
};

/* Does the file match? What cannot be evaluated (a document that is not JSON or too large, an error or
 * too many steps) does not: 0 with false. -ENOMEM. */
int filter_match(struct filter *f, const struct filter_file *x, bool *ret);

DEFINE_CLEANUP(struct filter *, filter_free)
