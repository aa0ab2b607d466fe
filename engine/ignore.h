/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Rules of an ignore file: what gitignore(5) says, byte for byte as git matches.
 *
 * A pattern without a slash, but for one at its end, is compared with names, any other with paths
 * from the rules' directory on. Whatever stands in a pattern, matching takes its length times the
 * path's. */

#include <stdbool.h>
#include <stddef.h>

#include "engine/cleanup.h"

#define IGNORE_FILE ".shoalignore"
#define IGNORE_SIZE_MAX (256u * 1024) /* of a file; what is beyond is not read */
#define IGNORE_PATTERN_MAX 1024u      /* bytes; a longer one matches nothing */

struct ignore;

/* There is no wrong rule: what makes no sense matches nothing. text is not needed afterwards.
 * -ENOMEM. */
int ignore_parse(const char *text, size_t len, struct ignore **ret);
void ignore_free(struct ignore *g);

/* What the last rule that fits says of the path, relative to the rules' directory and without a
 * slash at its ends; its parents are not looked at. */
enum ignore_says { IGNORE_NOTHING, IGNORE_YES, IGNORE_NO };
enum ignore_says ignore_match(const struct ignore *g, const char *path, size_t len, bool dir);

/* Whether a path is ignored where each directory may have rules. rules[k] are those of the k-th
 * directory of the path (0: where it begins), NULL for none; n of them, as many as the path has
 * names. The deepest directory's rules come first; below what is ignored everything is. */
bool ignore_path(const struct ignore *const *rules, size_t n, const char *path, size_t len,
		 bool dir);

DEFINE_CLEANUP(struct ignore *, ignore_free)
