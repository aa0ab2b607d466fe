/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* New files of this device: under a name, or without one (O_TMPFILE) until linkat(2) gives them one. A file
 * without a name is an ORPHAN that may be named (inode->nameless); the kernel asks for one as for the file
 * NEWFILE_NO_NAME, which no name can be. fs->names is held by the caller. */

#include "fusefs/fs.h"

#define NEWFILE_NO_NAME "/"

/* Who makes something, and whose it becomes. */
struct maker {
	pid_t tid;
	struct owner owner;
	mode_t setgid; /* what a new directory inherits */
};

/* A new local inode, referenced, under the name, which is free. mode: with the type bits; excl: nobody but
 * the maker is to have had it. -EEXIST, -ENOMEM. */
int newfile_make(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode, bool excl,
		 const struct maker *m, struct inode **ret);
/* One that has no name, an empty regular file. May it be given one? The kernel knows (O_EXCL). */
int newfile_nameless(struct fusefs *fs, mode_t mode, const struct maker *m, struct inode **ret);
bool newfile_is_nameless(struct inode *i);
/* It gets its first name, which is free, and goes on as a file made there would; what was written is on the disk.
 * -EEXIST, -ENOSPC, -ENOMEM: it is still without. */
int newfile_name(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name);
/* The same where a document that was just removed waits for who saves it by name (fusefs/tombstone.h): its next
 * version is this one. -ENOENT: none does; -EINVAL: refused, see save_over. */
int newfile_save(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name, pid_t tid);
