/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/drafts: the bytes of drafts (fusefs/draft.h) under their paths, read-only. */

#include "fusefs/inode.h"

/* path: below .shoal/drafts, "" for it. -ENOENT. */
int draftdir_attr(struct fusefs *fs, const char *path, struct attr *ret);
/* The bytes of a file, into an empty copy. */
int draftdir_read(struct fusefs *fs, const char *path, struct copy *to);
int draftdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata);
