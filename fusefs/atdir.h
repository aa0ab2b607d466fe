/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/at/TIME: the tree as it was then (engine/replica.h, moments), read-only. Any time that
 * fusefs/when.h knows is a directory there unless it is yet to come; none is listed. */

#include "fusefs/inode.h"

/* path: below .shoal/at, "" for it. -ENOENT. */
int atdir_attr(struct fusefs *fs, const char *path, struct attr *ret);
/* The bytes of a file, into an empty copy. */
int atdir_read(struct fusefs *fs, const char *path, struct copy *to);
int atdir_readlink(struct fusefs *fs, const char *path, struct buf *ret);
int atdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata);

void atdirs_done(struct fusefs *fs);
