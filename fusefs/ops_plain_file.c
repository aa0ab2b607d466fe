/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open plain files. A handle is a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/newfile.h"
#include "fusefs/plain.h"

/* fs->lock held. */
static bool note_file(struct fusefs *fs, int fd, uint64_t ino)
{
	const size_t at = (size_t)fd;
	if (at >= fs->n_plain_files) {
		size_t n = (at | 63) + 1;
		uint64_t *x = reallocarray(fs->plain_file, n, sizeof(*x));
		if (!x)
			return false;
		memset(x + fs->n_plain_files, 0, (n - fs->n_plain_files) * sizeof(*x));
		fs->plain_file = x;
		fs->n_plain_files = n;
	}
	fs->plain_file[at] = ino;
	return true;
}

int plain_take_open(struct fusefs *fs, struct inode *i, int fd)
{
	pthread_mutex_lock(&fs->lock);
	bool noted = note_file(fs, fd, i->ino);
	if (noted) {
		i->opens++;
		i->refs++;
		fs->n_handles++;
	}
	pthread_mutex_unlock(&fs->lock);
	return noted ? 0 : -ENOMEM;
}

static void closed(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->opens--;
	fs->n_handles--;
	pthread_mutex_unlock(&fs->lock);
	inode_put(fs, i);
}

/* What is passed on of the flags of an open. Where to append is known to the kernel. */
static int open_flags(int flags)
{
	return flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC);
}

static int take_open(struct fusefs *fs, struct inode *i, int fd, struct fuse_file_info *fi)
{
	fi->fh = (uint64_t)fd;
	fi->keep_cache = 1;
	fi->noflush = 1;
	return plain_take_open(fs, i, fd);
}

/* Before the answer. */
static void written_by(fuse_req_t req, fuse_ino_t ino, int fd)
{
	if (fuse_req_ctx(req)->uid != 0)
		plain_drop_set_id(fs_of(req), ino, fd);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.open(req, ino, fi);
		return;
	}
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, open_flags(fi->flags)) : -ESTALE;
	int r = fd < 0 ? fd : take_open(fs, i, fd, fi);
	if (r == 0 && (fi->flags & O_TRUNC))
		written_by(req, ino, fd);
	inode_put(fs, i);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	TAKE_FD(fd);
	fuse_reply_open(req, fi);
}

static int create(struct fusefs *fs, int dir, const char *name, mode_t mode, int flags)
{
	int r = workfile_room(fs->spool, UINT64_MAX, 0);
	if (r < 0)
		return r;
	const int pass = open_flags(flags) | O_CLOEXEC | O_NOFOLLOW;
	_cleanup_close_ int fd = openat(dir, name, pass | O_CREAT | O_EXCL, mode & 07777);
	if (fd >= 0 && fchmod(fd, mode & 07777) < 0)
		return -errno;
	if (fd < 0 && errno == EEXIST && !(flags & O_EXCL))
		fd = openat(dir, name, pass);
	return fd < 0 ? -errno : TAKE_FD(fd);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(parent)) {
		fs->tree_ops.create(req, parent, name, mode, fi);
		return;
	}
	struct inode *dir = NULL, *i = NULL;
	struct fuse_entry_param e;
	if (strcmp(name, NEWFILE_NO_NAME) == 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	_cleanup_close_ int at = plain_open_dir(fs, parent, &dir);
	_cleanup_close_ int fd = at < 0 ? at : create(fs, at, name, mode, fi->flags);
	int r = fd < 0 ? fd : plain_entry(fs, dir, at, name, &e, &i);
	const bool entered = r == 0;
	if (r == 0)
		r = take_open(fs, i, fd, fi);
	if (r == 0)
		TAKE_FD(fd);
	if (r < 0)
		fuse_reply_err(req, -r);
	if (entered && (r < 0 || fuse_reply_create(req, &e, fi) < 0))
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
	inode_put(fs, dir);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.release(req, ino, fi);
		return;
	}
	pthread_mutex_lock(&fs->lock);
	fs->plain_file[plain_fd(fi)] = 0;
	pthread_mutex_unlock(&fs->lock);
	close(plain_fd(fi));
	fuse_reply_err(req, 0);
	struct inode *i = inode_get(fs, ino);
	if (i)
		closed(fs, i);
	inode_put(fs, i);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	if (!plain_number(ino)) {
		fs_of(req)->tree_ops.read(req, ino, size, off, fi);
		return;
	}
	turn_pass(&fs_of(req)->turns);
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);
	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = plain_fd(fi);
	v.buf[0].pos = off;
	fuse_reply_data(req, &v, 0);
}

static int write_all(int fd, const char *data, size_t size, off_t off)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, data + done, size - done, off + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (int)done : -errno;
		done += (size_t)n;
	}
	return (int)size;
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.write(req, ino, data, size, off, fi);
		return;
	}
	int r = workfile_room(fs->spool, (uint64_t)off + size, size);
	if (r == 0)
		r = write_all(plain_fd(fi), data, size, off);
	if (r > 0)
		written_by(req, ino, plain_fd(fi));
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_write(req, (size_t)r);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	if (!plain_number(ino)) {
		fs_of(req)->tree_ops.lseek(req, ino, off, whence, fi);
		return;
	}
	off_t at = lseek(plain_fd(fi), off, whence);
	if (at < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, at);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (plain_number(ino))
		fuse_reply_err(req, 0);
	else
		fs_of(req)->tree_ops.flush(req, ino, fi);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.fsync(req, ino, datasync, fi);
		return;
	}
	struct err e = { 0 };
	int r = (datasync ? fdatasync(plain_fd(fi)) : fsync(plain_fd(fi))) < 0 ? -errno : 0;
	/* The directory that it is in, wherever that stands. */
	if (r == 0)
		r = replica_flush(fs->replica, &e);
	fuse_reply_err(req, r < 0 ? -r : 0);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.fallocate(req, ino, mode, offset, length, fi);
		return;
	}
	int r = workfile_room(fs->spool, (uint64_t)offset + (uint64_t)length, (size_t)length);
	if (r == 0 && fallocate(plain_fd(fi), mode, offset, length) < 0)
		r = -errno;
	if (r == 0)
		written_by(req, ino, plain_fd(fi));
	fuse_reply_err(req, -r);
}

void ops_plain_file_fill(struct fuse_lowlevel_ops *ops)
{
	ops->open = op_open;
	ops->create = op_create;
	ops->release = op_release;
	ops->read = op_read;
	ops->write = op_write;
	ops->lseek = op_lseek;
	ops->flush = op_flush;
	ops->fsync = op_fsync;
	ops->fallocate = op_fallocate;
}
