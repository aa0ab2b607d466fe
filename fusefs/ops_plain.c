/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on plain files (fusefs/plain.h): passed on to the files that they stand for. What is
 * no plain file goes to the operations of the tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fusefs/plain.h"

/* ---- names ---- */

/* The directory's descriptor for work on names in it. */
static int open_dir(struct fusefs *fs, fuse_ino_t ino, struct inode **ret)
{
	struct inode *dir = inode_get(fs, ino);
	int fd = dir ? plain_open(fs, dir, O_PATH | O_DIRECTORY) : -ESTALE;
	if (fd < 0)
		inode_put(fs, dir);
	else
		*ret = dir;
	return fd;
}

/* What the kernel is told of a name in the directory; *ret_inode is referenced. All changes come
 * through it: it may keep what it knows. */
static int entry_of(struct fusefs *fs, struct inode *dir, int fd, const char *name,
		    struct fuse_entry_param *ret, struct inode **ret_inode)
{
	struct inode *i = NULL;
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	int r = plain_child(fs, dir, name, &st, &i);
	if (r < 0)
		return r;
	st.st_ino = i->ino;
	st.st_uid = fs->options.uid;
	st.st_gid = fs->options.gid;
	*ret = (struct fuse_entry_param){
		.ino = i->ino, .attr = st, .attr_timeout = FOREVER, .entry_timeout = FOREVER
	};
	inode_looked_up(fs, i);
	*ret_inode = i;
	return 0;
}

/* Answers with the name, which something has been done to with result r. dir is put, fd is closed.
 */
static void reply_name(fuse_req_t req, struct fusefs *fs, struct inode *dir, int fd,
		       const char *name, int r)
{
	struct fuse_entry_param e;
	struct inode *i = NULL;
	if (r == 0)
		r = entry_of(fs, dir, fd, name, &e, &i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (fuse_reply_entry(req, &e) < 0)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
	inode_put(fs, dir);
	close(fd);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(parent)) {
		fs->tree_ops.lookup(req, parent, name);
		return;
	}
	struct inode *dir = NULL, *i = NULL;
	struct fuse_entry_param e = { 0 };
	int fd = open_dir(fs, parent, &dir);
	int r = fd < 0 ? fd : entry_of(fs, dir, fd, name, &e, &i);
	if (r == -ENOENT) {
		e = (struct fuse_entry_param){ .entry_timeout = FOREVER };
		fuse_reply_entry(req, &e);
	} else if (r < 0) {
		fuse_reply_err(req, -r);
	} else if (fuse_reply_entry(req, &e) < 0) {
		inode_forget(fs, i->ino, 1);
	}
	inode_put(fs, i);
	if (fd >= 0) {
		inode_put(fs, dir);
		close(fd);
	}
}

/* The mode that was asked for, whatever the daemon's umask is. */
static int set_mode(int fd, const char *name, mode_t mode)
{
	return fchmodat(fd, name, mode & 07777, 0) < 0 ? -errno : 0;
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(parent)) {
		fs->tree_ops.mkdir(req, parent, name, mode);
		return;
	}
	struct inode *dir;
	int fd = open_dir(fs, parent, &dir);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	int r = workfile_room(fs->spool, UINT64_MAX, 0);
	if (r == 0 && mkdirat(fd, name, mode & 07777) < 0)
		r = -errno;
	if (r == 0)
		r = set_mode(fd, name, mode);
	reply_name(req, fs, dir, fd, name, r);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(parent)) {
		fs->tree_ops.mknod(req, parent, name, mode, rdev);
		return;
	}
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	struct inode *dir;
	int fd = open_dir(fs, parent, &dir);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	int r = mknodat(fd, name, mode, 0) < 0 ? -errno : 0;
	if (r == 0)
		r = set_mode(fd, name, mode);
	reply_name(req, fs, dir, fd, name, r);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(parent)) {
		fs->tree_ops.symlink(req, link, parent, name);
		return;
	}
	struct inode *dir;
	int fd = open_dir(fs, parent, &dir);
	if (fd < 0)
		fuse_reply_err(req, -fd);
	else
		reply_name(req, fs, dir, fd, name, symlinkat(link, fd, name) < 0 ? -errno : 0);
}

/* One name for each file here too. */
static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	bool from = plain_number(ino), to = plain_number(parent);
	if (!from && !to)
		fs->tree_ops.link(req, ino, parent, name);
	else
		fuse_reply_err(req, from && to ? EPERM : EXDEV);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct fusefs *fs = fs_of(req);
	struct inode *dir = inode_get(fs, parent);
	int r = dir ? plain_remove(fs, dir, name, flags) : -ESTALE;
	inode_put(fs, dir);
	fuse_reply_err(req, -r);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	if (plain_number(parent))
		remove_name(req, parent, name, 0);
	else
		fs->tree_ops.unlink(req, parent, name);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	if (plain_number(parent))
		remove_name(req, parent, name, AT_REMOVEDIR);
	else
		fs->tree_ops.rmdir(req, parent, name);
}

/* A directory of its own as to renaming: mv(1) copies then. */
static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct fusefs *fs = fs_of(req);
	bool plain_from = plain_number(parent), plain_to = plain_number(newparent);
	if (!plain_from && !plain_to) {
		fs->tree_ops.rename(req, parent, name, newparent, newname, flags);
		return;
	}
	struct inode *from = inode_get(fs, parent), *to = inode_get(fs, newparent);
	int r = plain_from != plain_to ? -EXDEV : from && to ? 0 : -ESTALE;
	if (r == 0)
		r = plain_rename(fs, from, name, to, newname, flags);
	inode_put(fs, from);
	inode_put(fs, to);
	fuse_reply_err(req, -r);
}

/* ---- directories ---- */

struct plain_dir {
	pthread_mutex_t lock;
	DIR *stream;
	off_t at; /* where the stream stands */
};

static struct plain_dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct plain_dir *)(uintptr_t)fi->fh;
}

static int dir_new(struct fusefs *fs, fuse_ino_t ino, struct plain_dir **ret)
{
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, O_RDONLY | O_DIRECTORY) : -ESTALE;
	inode_put(fs, i);
	if (fd < 0)
		return fd;
	_cleanup_free_ struct plain_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->stream = fdopendir(fd);
	if (!d->stream)
		return -errno;
	TAKE_FD(fd);
	pthread_mutex_init(&d->lock, NULL);
	*ret = TAKE_PTR(d);
	return 0;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	struct plain_dir *d;
	if (!plain_number(ino)) {
		fs->tree_ops.opendir(req, ino, fi);
		return;
	}
	int r = dir_new(fs, ino, &d);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)d;
	fuse_reply_open(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.releasedir(req, ino, fi);
		return;
	}
	struct plain_dir *d = dir_of(fi);
	closedir(d->stream);
	pthread_mutex_destroy(&d->lock);
	free(d);
	fuse_reply_err(req, 0);
}

/* One entry into the answer; its size, or more than room. */
static size_t emit(fuse_req_t req, struct fusefs *fs, struct inode *dir, const struct plain_dir *d,
		   const struct dirent *x, bool plus, char *p, size_t room)
{
	struct fuse_entry_param e = { 0 };
	struct inode *i = NULL;
	bool dot = strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0;
	e.attr.st_ino = dot ? dir->ino : UINT32_MAX;
	e.attr.st_mode = DTTOIF(x->d_type);
	if (!plus)
		return fuse_add_direntry(req, p, room, x->d_name, &e.attr, x->d_off);
	size_t need = fuse_add_direntry_plus(req, NULL, 0, x->d_name, &e, x->d_off);
	if (need > room)
		return need;
	if (!dot)
		(void)entry_of(fs, dir, dirfd(d->stream), x->d_name, &e, &i);
	inode_put(fs, i);
	return fuse_add_direntry_plus(req, p, room, x->d_name, &e, x->d_off);
}

static int list(fuse_req_t req, struct inode *dir, struct plain_dir *d, char *room, size_t size,
		off_t off, bool plus, size_t *ret_used)
{
	size_t used = 0;
	if (off != d->at)
		seekdir(d->stream, off);
	d->at = off;
	for (;;) {
		errno = 0;
		const struct dirent *x = readdir(d->stream);
		if (!x && errno && !used)
			return -errno;
		if (!x)
			break;
		size_t n = emit(req, fs_of(req), dir, d, x, plus, room + used, size - used);
		if (n > size - used) {
			seekdir(d->stream, d->at);
			break;
		}
		used += n;
		d->at = x->d_off;
	}
	*ret_used = used;
	return 0;
}

static void reply_list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi, bool plus)
{
	struct fusefs *fs = fs_of(req);
	struct plain_dir *d = dir_of(fi);
	struct inode *dir = inode_get(fs, ino);
	_cleanup_free_ char *room = malloc(size);
	size_t used = 0;
	pthread_mutex_lock(&d->lock);
	int r = !dir ? -ESTALE : room ? list(req, dir, d, room, size, off, plus, &used) : -ENOMEM;
	pthread_mutex_unlock(&d->lock);
	inode_put(fs, dir);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, room, used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	if (plain_number(ino))
		reply_list(req, ino, size, off, fi, false);
	else
		fs_of(req)->tree_ops.readdir(req, ino, size, off, fi);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	if (plain_number(ino))
		reply_list(req, ino, size, off, fi, true);
	else
		fs_of(req)->tree_ops.readdirplus(req, ino, size, off, fi);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	int r = plain_number(ino) && fsync(dirfd(dir_of(fi)->stream)) < 0 ? -errno : 0;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fs->tree_ops.fsyncdir(req, ino, datasync, fi);
}

/* ---- files ---- */

static int fd_of(const struct fuse_file_info *fi)
{
	return (int)fi->fh;
}

static void count_open(struct fusefs *fs, struct inode *i, bool more)
{
	pthread_mutex_lock(&fs->lock);
	i->opens += more ? 1 : -1u;
	fs->n_handles += more ? 1 : -(uint64_t)1;
	if (more)
		i->refs++;
	pthread_mutex_unlock(&fs->lock);
	if (!more)
		inode_put(fs, i);
}

/* What is passed on of the flags of an open. Where to append is known to the kernel. */
static int open_flags(int flags)
{
	return flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC);
}

static void take_open(struct fusefs *fs, struct inode *i, int fd, struct fuse_file_info *fi)
{
	count_open(fs, i, true);
	fi->fh = (uint64_t)fd;
	fi->keep_cache = 1;
	fi->noflush = 1;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.open(req, ino, fi);
		return;
	}
	struct inode *i = inode_get(fs, ino);
	int fd = i ? plain_open(fs, i, open_flags(fi->flags)) : -ESTALE;
	if (fd >= 0)
		take_open(fs, i, fd, fi);
	inode_put(fs, i);
	if (fd < 0)
		fuse_reply_err(req, -fd);
	else
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
	_cleanup_close_ int at = open_dir(fs, parent, &dir);
	_cleanup_close_ int fd = at < 0 ? at : create(fs, at, name, mode, fi->flags);
	int r = fd < 0 ? fd : entry_of(fs, dir, at, name, &e, &i);
	if (r < 0) {
		fuse_reply_err(req, -r);
	} else {
		take_open(fs, i, TAKE_FD(fd), fi);
		if (fuse_reply_create(req, &e, fi) < 0)
			inode_forget(fs, i->ino, 1);
	}
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
	close(fd_of(fi));
	fuse_reply_err(req, 0);
	struct inode *i = inode_get(fs, ino);
	if (i)
		count_open(fs, i, false);
	inode_put(fs, i);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	if (!plain_number(ino)) {
		fs_of(req)->tree_ops.read(req, ino, size, off, fi);
		return;
	}
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);
	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = fd_of(fi);
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
		r = write_all(fd_of(fi), data, size, off);
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
	off_t at = lseek(fd_of(fi), off, whence);
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
	int r = (datasync ? fdatasync(fd_of(fi)) : fsync(fd_of(fi))) < 0 ? -errno : 0;
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
	if (r == 0 && fallocate(fd_of(fi), mode, offset, length) < 0)
		r = -errno;
	fuse_reply_err(req, -r);
}

/* ---- attributes ---- */

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
		int r = fi ? ftruncate(fd_of(fi), attr->st_size) : truncate(path, attr->st_size);
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
	if (r == 0)
		r = change_attr(fs, path, attr, to_set, fi);
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
	if (strncmp(name, "security.", 9) == 0)
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

void ops_plain_fill(struct fusefs *fs, struct fuse_lowlevel_ops *ops)
{
	fs->tree_ops = *ops;
	ops->lookup = op_lookup;
	ops->mkdir = op_mkdir;
	ops->mknod = op_mknod;
	ops->symlink = op_symlink;
	ops->link = op_link;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->rename = op_rename;
	ops->opendir = op_opendir;
	ops->releasedir = op_releasedir;
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->fsyncdir = op_fsyncdir;
	ops->open = op_open;
	ops->create = op_create;
	ops->release = op_release;
	ops->read = op_read;
	ops->write = op_write;
	ops->lseek = op_lseek;
	ops->flush = op_flush;
	ops->fsync = op_fsync;
	ops->fallocate = op_fallocate;
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->readlink = op_readlink;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->setxattr = op_setxattr;
	ops->removexattr = op_removexattr;
}
