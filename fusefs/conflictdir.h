/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/conflicts: the tree as far as something is in conflict, with a directory in the place of
 * each such file, and in it a file for each value that lost, named by its identifier: JSON, bytes, or
 * the target of a link. A value that is all of a file has the file's extension. Made at the moment it
 * is asked for. Directories without conflicts below are there, too, and empty. */

#include "fusefs/inode.h"

/* path: below .shoal/conflicts, "" for it. -ENOENT. */
int conflictdir_attr(struct fusefs *fs, const char *path, struct attr *ret);
/* The bytes of a file, into an empty copy. */
int conflictdir_read(struct fusefs *fs, const char *path, struct copy *to);
int conflictdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata);
