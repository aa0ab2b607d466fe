/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes, times, modes, sizes and extended attributes of plain files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fusefs/plain.h"

static void reply_attr(fuse_req_t req, struct fusefs *fs, struct inode *i, int fd)
{
	struct stat st;
	int r = plain_stat(fs, i, fd, &st);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, FOREVER);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.getattr(req, ino, fi);
		return;
	}
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, O_PATH) : -ESTALE;
	if (fd < 0)
		fuse_reply_err(req, -fd);
	else
		reply_attr(req, fs, i, fd);
	inode_put(fs, i);
}

/* path: the magic link to the descriptor, which is followed to the file itself. */
static int change_attr(struct fusefs *fs, const char *path, const struct stat *attr, int to_set,
		       const struct fuse_file_info *fi)
{
	if ((to_set & FUSE_SET_ATTR_MODE) && chmod(path, attr->st_mode & 07777) < 0)
		return -errno;
	if (to_set & FUSE_SET_ATTR_SIZE) {
		int r = fi ? ftruncate(plain_fd(fi), attr->st_size) : truncate(path, attr->st_size);
		if (r < 0)
			return -errno;
	}
	if (!(to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)))
		return 0;
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		ts[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		ts[1] = attr->st_mtim;
	return utimensat(fs->spool, path, ts, 0) < 0 ? -errno : 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	const uid_t who = fuse_req_ctx(req)->uid;
	if (!plain_number(ino)) {
		fs->tree_ops.setattr(req, ino, attr, to_set, fi);
		return;
	}
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, O_PATH) : -ESTALE;
	int r = fd < 0 ? fd : 0;
	/* There is one owner, as of all files of the mount. */
	if ((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != fs->options.uid && who != 0)
		r = -EPERM;
	if ((to_set & FUSE_SET_ATTR_GID) && attr->st_gid != fs->options.gid && who != 0)
		r = -EPERM;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (r == 0 && (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		plain_drop_set_id(fs, ino, fd);
	if (r == 0)
		r = change_attr(fs, path, attr, to_set, fi);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && who != 0)
		plain_drop_set_id(fs, ino, fd);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_attr(req, fs, i, fd);
	inode_put(fs, i);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.readlink(req, ino);
		return;
	}
	char target[LINK_SIZE_MAX + 1];
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, O_PATH) : -ESTALE;
	inode_put(fs, i);
	ssize_t n = fd < 0 ? fd : readlinkat(fd, "", target, LINK_SIZE_MAX);
	if (n < 0) {
		fuse_reply_err(req, fd < 0 ? -fd : errno);
		return;
	}
	target[n] = '\0';
	fuse_reply_readlink(req, target);
}

/* ---- extended attributes ---- */

/* Has it open as long as somebody works on its attributes; path: 64 bytes. */
static int open_path(struct fusefs *fs, fuse_ino_t ino, char *path, enum node_kind *ret_kind)
{
	struct inode *i = inode_get(fs, ino);
	int fd = i ? plain_open(fs, i, O_PATH) : -ESTALE;
	if (i)
		*ret_kind = i->kind;
	inode_put(fs, i);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* -EOPNOTSUPP: not ours; -ENODATA: never there. */
static int check_name(const char *name)
{
	if (strcmp(name, XATTR_NAME_CAPS) == 0)
		return -ENODATA;
	return strncmp(name, "user.", 5) == 0 ? 0 : -EOPNOTSUPP;
}

static const char *shoal_text(const char *name, enum node_kind kind)
{
	if (strcmp(name, "user.shoal.state") == 0)
		return "local";
	if (strcmp(name, "user.shoal.kind") != 0)
		return NULL;
	return kind == NODE_DIR ? "directory" : kind == NODE_LINK ? "link" : "local";
}

static void reply_xattr(fuse_req_t req, const char *data, ssize_t n, size_t size)
{
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else if ((size_t)n > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.getxattr(req, ino, name, size);
		return;
	}
	char path[64];
	enum node_kind kind = NODE_FILE;
	int r = check_name(name);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	_cleanup_close_ int fd = open_path(fs, ino, path, &kind);
	_cleanup_free_ char *room = malloc(size + 1);
	if (fd < 0 || !room) {
		fuse_reply_err(req, fd < 0 ? -fd : ENOMEM);
	} else if (strncmp(name, "user.shoal.", 11) == 0) {
		const char *text = shoal_text(name, kind);
		reply_xattr(req, text, text ? (ssize_t)strlen(text) : -ENODATA, size);
	} else {
		ssize_t n = getxattr(path, name, room, size);
		reply_xattr(req, room, n < 0 ? -errno : n, size);
	}
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.listxattr(req, ino, size);
		return;
	}
	char path[64];
	enum node_kind kind;
	_cleanup_close_ int fd = open_path(fs, ino, path, &kind);
	_cleanup_free_ char *all = malloc(XATTR_LIST_MAX);
	_cleanup_(buf_done) struct buf b = { 0 };
	ssize_t n = fd < 0 ? fd : !all ? -ENOMEM : listxattr(path, all, XATTR_LIST_MAX);
	if (n == -1 && fd >= 0 && all)
		n = -errno;
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(all + at) + 1)
		if (check_name(all + at) == 0)
			buf_put(&b, all + at, strlen(all + at) + 1);
	if (n >= 0)
		n = buf_failed(&b) ? -ENOMEM : (ssize_t)b.len;
	reply_xattr(req, (const char *)b.data, n, size);
}

static void set_or_remove(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			  size_t size, int flags)
{
	char path[64];
	enum node_kind kind;
	int r = check_name(name) < 0 ? -EOPNOTSUPP : 0;
	if (strncmp(name, "user.shoal.", 11) == 0)
		r = -EPERM;
	_cleanup_close_ int fd = r < 0 ? r : open_path(fs_of(req), ino, path, &kind);
	if (fd < 0)
		r = fd;
	else if ((value ? setxattr(path, name, value, size, flags) : removexattr(path, name)) < 0)
		r = -errno;
	fuse_reply_err(req, -r);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	if (plain_number(ino))
		set_or_remove(req, ino, name, value, size, flags);
	else
		fs_of(req)->tree_ops.setxattr(req, ino, name, value, size, flags);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (plain_number(ino))
		set_or_remove(req, ino, name, NULL, 0, 0);
	else
		fs_of(req)->tree_ops.removexattr(req, ino, name);
}

void ops_plain_attr_fill(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->readlink = op_readlink;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->setxattr = op_setxattr;
	ops->removexattr = op_removexattr;
}
