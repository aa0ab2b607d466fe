/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What is in a directory that a rule ignores. Such a directory can hold a clone of a repository or
 * a hundred thousand files of a build, and nobody else wants them: so they are plain files below a
 * directory of the spool (PLAIN_PREFIX and a number), and the mount passes everything on to them.
 * The directory itself is a LOCAL name (fusefs/local.h), whose record says which one it is.
 *
 * An inode of a plain file knows its directory and its name in it, which is its only one. Paths are
 * made of these under fs->plain, and are never followed through a link. Its number says that it is
 * one. */

#include "fusefs/fs.h"

#define PLAIN_PREFIX "tree-"

/* Which operations are for ops_plain.c. */
static inline bool plain_number(uint64_t ino)
{
	return ino >> 60 == 1;
}

static inline bool plain_is(const struct inode *i)
{
	return plain_number(i->ino);
}

/* An open file's handle. */
static inline int plain_fd(const struct fuse_file_info *fi)
{
	return (int)fi->fh;
}

/* A new directory of the spool, empty, as a LOCAL inode without local data; its name in ret_spool
 * (32 bytes). -ENOSPC and the like. */
int plain_make_root(struct fusefs *fs, uint32_t mode, char *ret_spool, struct inode **ret);
/* The same for one that is there; made when it is lost. */
int plain_open_root(struct fusefs *fs, const char *spool, struct inode **ret);
/* Removes it if nothing is in it. -ENOTEMPTY. */
int plain_remove_root(struct fusefs *fs, struct inode *root);

/* A descriptor of it; flags as for open(2), O_PATH and O_NOFOLLOW for what may be a link. -ESTALE:
 * it has no name any more and nobody uses it. */
int plain_open(struct fusefs *fs, struct inode *i, int flags);
/* stat(2)'s view of what a descriptor is of. */
int plain_stat(struct fusefs *fs, const struct inode *i, int fd, struct stat *ret);
/* The same by name. */
int plain_attr(struct fusefs *fs, struct inode *i, struct stat *ret);
/* The inode of dir/name, whose attributes are st, referenced. */
int plain_child(struct fusefs *fs, struct inode *dir, const char *name, const struct stat *st,
		struct inode **ret);

/* The directory's descriptor for work on names in it; *ret is referenced. */
int plain_open_dir(struct fusefs *fs, fuse_ino_t ino, struct inode **ret);
/* What the kernel is told of a name in the directory, which fd is of; it knows the inode from then
 * on, *ret_inode is referenced. All changes come through the kernel: it may keep what it knows. */
int plain_entry(struct fusefs *fs, struct inode *dir, int fd, const char *name,
		struct fuse_entry_param *ret, struct inode **ret_inode);

/* unlinkat(2), flags 0 or AT_REMOVEDIR; who has it open goes on. */
int plain_remove(struct fusefs *fs, struct inode *dir, const char *name, int flags);
/* renameat2(2). */
int plain_rename(struct fusefs *fs, struct inode *from, const char *name, struct inode *to,
		 const char *newname, unsigned flags);

/* As inode_drop_set_id (fusefs/handle.h); the kernel knows no better until it is told. */
void plain_drop_set_id(struct fusefs *fs, fuse_ino_t ino, int fd);
/* i, which is in no directory, is in that one: it was handed over (fusefs/handover.h). */
int plain_put(struct fusefs *fs, struct inode *i, struct inode *dir, bool named);
/* It is open by this descriptor, which is its handle, until it is released. -ENOMEM. */
int plain_take_open(struct fusefs *fs, struct inode *i, int fd);

/* The parts of ops_plain_fill. */
void ops_plain_attr_fill(struct fuse_lowlevel_ops *ops);
void ops_plain_file_fill(struct fuse_lowlevel_ops *ops);
