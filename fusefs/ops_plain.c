/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on plain files (fusefs/plain.h): passed on to the files that they stand for. What is
 * no plain file goes to the operations of the tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/plain.h"
#include "fusefs/saver.h"

/* ---- names ---- */

/* Answers with the name, which something has been done to with result r. dir is put, fd is closed.
 */
static void reply_name(fuse_req_t req, struct fusefs *fs, struct inode *dir, int fd,
		       const char *name, int r)
{
	struct fuse_entry_param e = { 0 };
	struct inode *i = NULL;
	if (r == 0)
		r = plain_entry(fs, dir, fd, name, &e, &i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (fuse_reply_entry(req, &e) < 0)
		inode_forget(fs, e.ino, 1);
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
	int fd = plain_open_dir(fs, parent, &dir);
	int r = fd < 0 ? fd : plain_entry(fs, dir, fd, name, &e, &i);
	if (r == -ENOENT) {
		e = (struct fuse_entry_param){ .entry_timeout = FOREVER };
		fuse_reply_entry(req, &e);
	} else if (r < 0) {
		fuse_reply_err(req, -r);
	} else if (fuse_reply_entry(req, &e) < 0) {
		inode_forget(fs, e.ino, 1);
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
	int fd = plain_open_dir(fs, parent, &dir);
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
	int fd = plain_open_dir(fs, parent, &dir);
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
	int fd = plain_open_dir(fs, parent, &dir);
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
	int r = flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ? -EINVAL
		: plain_from != plain_to                                ? -EXDEV
		: from && to                                            ? 0
									: -ESTALE;
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

static struct plain_dir *dir_of(fuse_req_t req, const struct fuse_file_info *fi)
{
	return slots_get(&fs_of(req)->plain_lists, fi->fh);
}

/* The descriptor is taken over if that succeeds. NULL: no memory. */
static struct plain_dir *dir_new(int fd)
{
	struct plain_dir *d = calloc(1, sizeof(*d));
	DIR *stream = d ? fdopendir(fd) : NULL;
	if (!stream) {
		free(d);
		return NULL;
	}
	d->stream = stream;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void dir_free(struct plain_dir *d)
{
	closedir(d->stream);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int dir_open(struct fusefs *fs, fuse_ino_t ino, uint64_t *ret)
{
	struct inode *i = inode_get(fs, ino);
	_cleanup_close_ int fd = i ? plain_open(fs, i, O_RDONLY | O_DIRECTORY) : -ESTALE;
	inode_put(fs, i);
	struct plain_dir *d = fd < 0 ? NULL : dir_new(fd);
	if (!d)
		return fd < 0 ? fd : -ENOMEM;
	TAKE_FD(fd);
	*ret = slots_add(&fs->plain_lists, d);
	if (*ret)
		return 0;
	dir_free(d);
	return -ENOMEM;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.opendir(req, ino, fi);
		return;
	}
	int r = dir_open(fs, ino, &fi->fh);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	/* All changes come through the kernel: it may list from what it knows. */
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	if (!plain_number(ino)) {
		fs->tree_ops.releasedir(req, ino, fi);
		return;
	}
	struct plain_dir *d = dir_of(req, fi);
	slots_remove(&fs->plain_lists, fi->fh);
	dir_free(d);
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
	e.attr.st_mode = (mode_t)DTTOIF(x->d_type);
	if (!plus)
		return fuse_add_direntry(req, p, room, x->d_name, &e.attr, x->d_off);
	size_t need = fuse_add_direntry_plus(req, NULL, 0, x->d_name, &e, x->d_off);
	if (need > room)
		return need;
	if (!dot)
		(void)plain_entry(fs, dir, dirfd(d->stream), x->d_name, &e, &i);
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
	struct plain_dir *d = dir_of(req, fi);
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
	int r = plain_number(ino) && fsync(dirfd(dir_of(req, fi)->stream)) < 0 ? -errno : 0;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fs->tree_ops.fsyncdir(req, ino, datasync, fi);
}

/* ---- handing over ---- */

void ops_plain_save(struct fusefs *fs, struct saver *s)
{
	struct slots *dirs = &fs->plain_lists;
	for (uint64_t k = slots_next(dirs, 1); k; k = slots_next(dirs, k + 1)) {
		const struct plain_dir *d = slots_get(dirs, k);
		save_u64(s, k);
		save_fd(s, dirfd(d->stream));
	}
	save_u64(s, 0);
	for (size_t fd = 0; fd < fs->n_plain_files; fd++) {
		if (!fs->plain_file[fd])
			continue;
		save_u64(s, fs->plain_file[fd]);
		save_fd(s, (int)fd);
	}
	save_u64(s, 0);
}

/* Where the kernel has come to it says with its next request: no stream stands there yet. */
static int take_dir(struct fusefs *fs, uint64_t number, int fd)
{
	struct plain_dir *d = dir_new(fd);
	if (!d)
		return -ENOMEM;
	d->at = -1;
	int r = slots_put(&fs->plain_lists, number, d);
	if (r < 0)
		dir_free(d);
	return r;
}

void ops_plain_load(struct fusefs *fs, struct loader *l)
{
	for (uint64_t k = load_u64(l); k && load_ok(l); k = load_u64(l)) {
		int fd = load_fd(l), r = fd < 0 ? -EBADF : take_dir(fs, k, fd);
		if (r < 0)
			load_fail(l, r);
	}
	for (uint64_t ino = load_u64(l); ino && load_ok(l); ino = load_u64(l)) {
		int fd = load_fd(l);
		struct inode *i = fd < 0 ? NULL : inode_get(fs, ino);
		int r = i ? plain_take_open(fs, i, fd) : -EBADMSG;
		inode_put(fs, i);
		if (r < 0)
			load_fail(l, r);
	}
}

void ops_plain_done(struct fusefs *fs)
{
	struct slots *dirs = &fs->plain_lists;
	for (uint64_t k = slots_next(dirs, 1); k; k = slots_next(dirs, k + 1))
		dir_free(slots_get(dirs, k));
	slots_done(dirs);
	for (size_t fd = 0; fd < fs->n_plain_files; fd++)
		if (fs->plain_file[fd])
			close((int)fd);
	free(fs->plain_file);
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
	ops_plain_file_fill(ops);
	ops_plain_attr_fill(ops);
}
