/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fusefs/local.h"

#define PLAIN_BITS (UINT64_C(1) << 60)
#define FRESH_BITS (UINT64_C(1) << 59) /* not made from a number of the store's file system */

/* ---- inodes ---- */

static enum node_kind kind_of(mode_t mode)
{
	return S_ISDIR(mode) ? NODE_DIR : S_ISLNK(mode) ? NODE_LINK : NODE_FILE;
}

static uint64_t number_of(const struct stat *st)
{
	return PLAIN_BITS | table_mix((uint64_t)st->st_ino * 4 + kind_of(st->st_mode)) >> 5;
}

static int new_inode(struct fusefs *fs, enum backing backing, const struct stat *st,
		     struct inode **ret)
{
	return inode_new_number(fs, backing, kind_of(st->st_mode), number_of(st),
				PLAIN_BITS | FRESH_BITS, ret);
}

static uint64_t name_hash(const struct inode *dir, const char *name)
{
	return table_hash_bytes(name, strlen(name), dir->ino);
}

/* fs->lock held. */
static struct inode *find(struct fusefs *fs, const struct inode *dir, const char *name)
{
	uint64_t h = name_hash(dir, name);
	for (struct table_link *l = table_first(&fs->plains, h); l; l = l->next) {
		struct inode *i = table_entry(l, struct inode, by_name);
		if (l->hash == h && i->up == dir && strcmp(i->name, name) == 0)
			return i;
	}
	return NULL;
}

static struct inode *find_ref(struct fusefs *fs, const struct inode *dir, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find(fs, dir, name);
	if (i)
		i->refs++;
	pthread_mutex_unlock(&fs->lock);
	return i;
}

int plain_child(struct fusefs *fs, struct inode *dir, const char *name, const struct stat *st,
		struct inode **ret)
{
	struct inode *fresh = NULL;
	char *text = NULL;
	struct inode *i = find_ref(fs, dir, name);
	if (!i) {
		text = strdup(name);
		int r = text ? new_inode(fs, BACK_PLAIN, st, &fresh) : -ENOMEM;
		if (r < 0) {
			free(text);
			return r;
		}
		pthread_mutex_lock(&fs->lock);
		i = find(fs, dir, name);
		if (i) {
			i->refs++;
		} else {
			fresh->name = TAKE_PTR(text);
			fresh->up = dir;
			dir->refs++;
			fresh->hashed_name =
				table_add(&fs->plains, &fresh->by_name, name_hash(dir, name)) == 0;
			i = TAKE_PTR(fresh);
		}
		pthread_mutex_unlock(&fs->lock);
		free(text);
		inode_put(fs, fresh);
	}
	*ret = i;
	return 0;
}

/* ---- paths ---- */

/* From the end of room on; fs->plain held. */
static int path_of(const struct inode *i, char *room, size_t size, const char **ret)
{
	size_t at = size - 1;
	room[at] = '\0';
	for (;;) {
		/* Removed, or a directory of it is. */
		if (i->up && !i->hashed_name)
			return -ESTALE;
		size_t len = strlen(i->name);
		if (len + 1 > at)
			return -ENAMETOOLONG;
		at -= len;
		memcpy(room + at, i->name, len);
		if (!i->up)
			break;
		room[--at] = '/';
		i = i->up;
	}
	*ret = room + at;
	return 0;
}

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

static int open_locked(struct fusefs *fs, const struct inode *i, int flags)
{
	char room[PATH_MAX];
	const char *path;
	if (i->fd >= 0) {
		snprintf(room, sizeof(room), "/proc/self/fd/%d", i->fd);
		/* The link to it is to be followed: what it is is known. */
		int fd = flags & O_PATH ? fcntl(i->fd, F_DUPFD_CLOEXEC, 0)
					: open(room, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	int r = path_of(i, room, sizeof(room), &path);
	return r < 0 ? r : open_beneath(fs->spool, path, flags);
}

int plain_open(struct fusefs *fs, struct inode *i, int flags)
{
	pthread_rwlock_rdlock(&fs->plain);
	int r = open_locked(fs, i, flags);
	pthread_rwlock_unlock(&fs->plain);
	return r;
}

/* ---- attributes ---- */

int plain_stat(struct fusefs *fs, const struct inode *i, int fd, struct stat *ret)
{
	if (fstatat(fd, "", ret, AT_EMPTY_PATH) < 0)
		return -errno;
	ret->st_ino = i->ino;
	ret->st_uid = fs->options.uid;
	ret->st_gid = fs->options.gid;
	return 0;
}

int plain_attr(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	_cleanup_close_ int fd = plain_open(fs, i, O_PATH);
	return fd < 0 ? fd : plain_stat(fs, i, fd, ret);
}

void plain_drop_set_id(struct fusefs *fs, fuse_ino_t ino, int fd)
{
	char path[64];
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	mode_t drop = st.st_mode & S_ISUID;
	if (st.st_mode & S_IXGRP)
		drop |= st.st_mode & S_ISGID;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (drop && chmod(path, (st.st_mode & ~drop) & 07777) == 0)
		fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
}

/* ---- for the operations ---- */

int plain_open_dir(struct fusefs *fs, fuse_ino_t ino, struct inode **ret)
{
	struct inode *dir = inode_get(fs, ino);
	int fd = dir ? plain_open(fs, dir, O_PATH | O_DIRECTORY) : -ESTALE;
	if (fd < 0)
		inode_put(fs, dir);
	else
		*ret = dir;
	return fd;
}

int plain_entry(struct fusefs *fs, struct inode *dir, int fd, const char *name,
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

int plain_put(struct fusefs *fs, struct inode *i, struct inode *dir, bool named)
{
	int r = i->name ? 0 : -EBADMSG;
	pthread_mutex_lock(&fs->lock);
	if (r == 0 && named)
		r = table_add(&fs->plains, &i->by_name, name_hash(dir, i->name));
	if (r == 0) {
		i->hashed_name = named;
		i->up = dir;
		dir->refs++;
	}
	pthread_mutex_unlock(&fs->lock);
	return r;
}

/* ---- roots ---- */

int plain_open_root(struct fusefs *fs, const char *spool, struct inode **ret)
{
	struct stat st;
	if (mkdirat(fs->spool, spool, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (fstatat(fs->spool, spool, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	char *name = strdup(spool);
	int r = name ? new_inode(fs, BACK_LOCAL, &st, ret) : -ENOMEM;
	if (r < 0)
		free(name);
	else
		(*ret)->name = name;
	return r;
}

int plain_make_root(struct fusefs *fs, uint32_t mode, char *ret_spool, struct inode **ret)
{
	char name[32];
	pthread_mutex_lock(&fs->lock);
	snprintf(name, sizeof(name), PLAIN_PREFIX "%llu", (unsigned long long)fs->next_spool++);
	pthread_mutex_unlock(&fs->lock);
	int r = workfile_room(fs->spool, UINT64_MAX, 0);
	if (r == 0)
		r = plain_open_root(fs, name, ret);
	if (r == 0 && fchmodat(fs->spool, name, mode & 07777, 0) < 0)
		r = -errno;
	if (r == 0)
		memcpy(ret_spool, name, sizeof(name));
	return r;
}

/* ---- names ---- */

/* Who uses what is about to lose its name goes on with a descriptor. fs->plain held for writing. */
static int hold(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool used = i->opens > 0 || i->kind == NODE_DIR;
	pthread_mutex_unlock(&fs->lock);
	if (!used || i->fd >= 0)
		return 0;
	int fd = open_locked(fs, i, O_PATH);
	if (fd >= 0)
		i->fd = fd;
	return fd < 0 ? fd : 0;
}

static void unhold(struct inode *i)
{
	if (i->fd >= 0)
		close(i->fd);
	i->fd = -1;
}

/* i, which may be NULL, has lost its name; fs->plain held for writing. */
static void unname(struct fusefs *fs, struct inode *i)
{
	if (!i)
		return;
	pthread_mutex_lock(&fs->lock);
	if (i->hashed_name)
		table_remove(&fs->plains, &i->by_name);
	i->hashed_name = false;
	pthread_mutex_unlock(&fs->lock);
}

/* i, which has none, gets the name; text is taken over. Its old directory is not referenced any
 * more: *ret_old. */
static void set_name(struct fusefs *fs, struct inode *i, struct inode *dir, char *text,
		     struct inode **ret_old)
{
	pthread_mutex_lock(&fs->lock);
	*ret_old = i->up;
	i->up = dir;
	dir->refs++;
	free(i->name);
	i->name = text;
	i->hashed_name = table_add(&fs->plains, &i->by_name, name_hash(dir, text)) == 0;
	pthread_mutex_unlock(&fs->lock);
}

int plain_remove(struct fusefs *fs, struct inode *dir, const char *name, int flags)
{
	pthread_rwlock_wrlock(&fs->plain);
	_cleanup_close_ int fd = open_locked(fs, dir, O_PATH | O_DIRECTORY);
	struct inode *i = find_ref(fs, dir, name);
	int r = fd < 0 ? fd : i ? hold(fs, i) : 0;
	if (r == 0 && unlinkat(fd, name, flags) < 0)
		r = -errno;
	if (r == 0)
		unname(fs, i);
	else if (i)
		unhold(i);
	pthread_rwlock_unlock(&fs->plain);
	inode_put(fs, i);
	return r;
}

int plain_remove_root(struct fusefs *fs, struct inode *root)
{
	pthread_rwlock_wrlock(&fs->plain);
	int r = hold(fs, root);
	if (r == 0 && unlinkat(fs->spool, root->name, AT_REMOVEDIR) < 0)
		r = -errno;
	if (r < 0)
		unhold(root);
	pthread_rwlock_unlock(&fs->plain);
	return r == -ENOENT ? 0 : r;
}

int plain_rename(struct fusefs *fs, struct inode *from, const char *name, struct inode *to,
		 const char *newname, unsigned flags)
{
	char *text = strdup(newname), *back = strdup(name);
	struct inode *old[2] = { NULL, NULL };
	if (!text || !back) {
		free(text);
		free(back);
		return -ENOMEM;
	}
	pthread_rwlock_wrlock(&fs->plain);
	_cleanup_close_ int a = open_locked(fs, from, O_PATH | O_DIRECTORY);
	_cleanup_close_ int b = open_locked(fs, to, O_PATH | O_DIRECTORY);
	struct inode *i = find_ref(fs, from, name), *over = find_ref(fs, to, newname);
	bool swap = flags & RENAME_EXCHANGE;
	int r = a < 0 ? a : b < 0 ? b : over && !swap && over != i ? hold(fs, over) : 0;
	if (r == 0 && renameat2(a, name, b, newname, flags) < 0)
		r = -errno;
	if (r == 0 && over != i) {
		unname(fs, over);
		unname(fs, i);
		if (i)
			set_name(fs, i, to, TAKE_PTR(text), &old[0]);
		if (over && swap)
			set_name(fs, over, from, TAKE_PTR(back), &old[1]);
	} else if (r < 0 && over && !swap && over != i) {
		unhold(over);
	}
	pthread_rwlock_unlock(&fs->plain);
	free(text);
	free(back);
	inode_put(fs, old[0]);
	inode_put(fs, old[1]);
	inode_put(fs, i);
	inode_put(fs, over);
	return r;
}
