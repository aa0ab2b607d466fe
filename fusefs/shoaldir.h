/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/ in the root: reachable by name, in no listing. status.json, peers.json, drafts/PATH,
 * conflicts/PATH (fusefs/conflictdir.h). Everything is made at the moment it is asked for. */

#include "fusefs/inode.h"

/* i: VIRTUAL. -ENOENT. */
int shoaldir_lookup(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret);
int shoaldir_stat(struct fusefs *fs, struct inode *i, struct stat *ret);
/* The bytes of a file, for one handle. */
int shoaldir_read(struct fusefs *fs, struct inode *i, struct copy **ret);
int shoaldir_list(struct fusefs *fs, struct inode *i, list_fn f, void *userdata);
