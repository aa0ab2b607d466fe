/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/ in the root: reachable by name, in no listing. status.json and peers.json; below at/,
 * drafts/, conflicts/ and fields/ what their modules say (fusefs/atdir.h, draftdir.h and so on).
 * Everything is made at the moment it is asked for. */

#include "fusefs/inode.h"

/* i, dir: VIRTUAL. -ENOENT. No locks held. */
int shoaldir_lookup(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret);
int shoaldir_stat(struct fusefs *fs, struct inode *i, struct stat *ret);
/* How long the kernel may keep its name and attributes, in seconds. */
double shoaldir_timeout(const struct inode *i);
/* The bytes of a file, for one handle that will only read, or write as well. -EACCES: it cannot be
 * written; -EROFS: it is past. */
int shoaldir_open(struct fusefs *fs, struct inode *i, bool write, struct copy **ret);
/* No locks held, here and below. */
int shoaldir_list(struct fusefs *fs, struct inode *i, list_fn f, void *userdata);
int shoaldir_readlink(struct fusefs *fs, struct inode *i, struct buf *ret);
/* user.shoal.kind of what is in fields/. -ENODATA. */
int shoaldir_kind(struct fusefs *fs, struct inode *i, struct buf *ret);

/* Why modes, times and other attributes cannot be changed: -EROFS or -EPERM. */
int shoaldir_refusal(const struct inode *i);

/* ---- names in a directory that change: those of fields/ can. -EROFS: those of at/; -EACCES ---- */

/* A file that is going to be opened for writing. */
int shoaldir_create(struct fusefs *fs, uint64_t dir, const char *name, bool excl,
		    struct inode **ret);
int shoaldir_mkdir(struct fusefs *fs, uint64_t dir, const char *name, struct inode **ret);
int shoaldir_remove(struct fusefs *fs, uint64_t dir, const char *name, bool is_dir);
/* -EXDEV: between a directory of ours and another one. */
int shoaldir_rename(struct fusefs *fs, uint64_t dir, const char *name, uint64_t newdir,
		    const char *newname, unsigned flags);
