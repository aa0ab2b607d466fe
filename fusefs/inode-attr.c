/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stat(2) says of an inode. */
#include "fusefs/inode.h"

#include <errno.h>
#include <string.h>

#include "fusefs/fs.h"
#include "fusefs/hardlink.h"
#include "fusefs/plain.h"
#include "fusefs/shoaldir.h"

static struct timespec time_of(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS };
	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += SECOND_NS;
	}
	return ts;
}

static mode_t type_of(enum node_kind kind)
{
	switch (kind) {
	case NODE_DIR:
		return S_IFDIR;
	case NODE_FILE:
		return S_IFREG;
	case NODE_LINK:
		return S_IFLNK;
	}
	return S_IFREG;
}

mode_t inode_special(mode_t mode)
{
	return S_ISREG(mode) || S_ISLNK(mode) || S_ISDIR(mode) ? 0 : mode & S_IFMT;
}

mode_t inode_type(const struct inode *i)
{
	return i->special ? i->special : type_of(i->kind);
}

static void set_size(struct stat *st, uint64_t size, uint64_t stored)
{
	st->st_size = (off_t)size;
	st->st_blocks = (blkcnt_t)((stored + 511) / 512);
}

static void set_copy(struct stat *st, struct copy *c)
{
	set_size(st, copy_size(c), copy_stored(c));
}

void inode_stat_node(struct fusefs *fs, uint64_t ino, const struct attr *attr, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = ino,
		.st_mode = type_of(attr->kind) | (attr->kind == NODE_LINK ? 0777 : attr->mode),
		.st_nlink = 1,
		.st_uid = fs->options.uid,
		.st_gid = fs->options.gid,
		.st_blksize = 4096,
		.st_mtim = time_of(attr->mtime_ns),
		.st_ctim = time_of(attr->ctime_ns),
		.st_atim = time_of(attr->mtime_ns),
	};
	if (attr->kind != NODE_DIR)
		set_size(ret, attr->size, attr->stored);
	if (ino == INO_ROOT) {
		if (!attr->mode)
			ret->st_mode |= 0755;
		if (!attr->mtime_ns)
			ret->st_mtim = ret->st_ctim = ret->st_atim = fs->mount_time;
	}
}

static void stat_local(const struct inode *i, struct stat *ret)
{
	const struct local *l = i->local;
	*ret = (struct stat){
		.st_ino = i->ino,
		.st_mode = l->mode,
		.st_nlink = 1,
		.st_blksize = 4096,
		.st_mtim = time_of(l->mtime_ns),
		.st_atim = time_of(l->mtime_ns),
	};
	if (l->target)
		set_size(ret, strlen(l->target), strlen(l->target));
	else if (i->shared)
		set_copy(ret, i->shared);
	else
		set_size(ret, l->size, l->room);
}

static bool later(struct timespec x, struct timespec y)
{
	return x.tv_sec != y.tv_sec ? x.tv_sec > y.tv_sec : x.tv_nsec > y.tv_nsec;
}

/* What programs here have been told beyond what the record says, or instead of it. */
static void stat_here(const struct inode *i, int64_t ctime_ns, struct stat *ret)
{
	if (i->ctime_ns && (i->ctime_ns > ctime_ns || ctime_ns <= i->unseen_ns))
		ret->st_ctim = time_of(i->ctime_ns);
	if (i->atime_ns)
		ret->st_atim = time_of(i->atime_ns);
	else
		ret->st_atim = ret->st_mtim;
	if (i->special)
		ret->st_mode = i->special | (ret->st_mode & 07777);
	ret->st_rdev = i->rdev;
	ret->st_uid = i->owner.uid;
	ret->st_gid = i->owner.gid;
}

struct count {
	uint64_t names, dirs;
};

static int count_one(const char *name, size_t len, const struct id *id, enum node_kind kind,
		     void *userdata)
{
	(void)name;
	(void)len;
	(void)id;
	struct count *c = userdata;
	c->dirs += kind == NODE_DIR;
	return ++c->names > COUNT_MAX;
}

/* As other file systems that cannot count them have it, one link means: not counted. */
static uint64_t count_links(struct fusefs *fs, struct inode *i)
{
	struct count n = { 0 };
	pthread_mutex_lock(&fs->lock);
	bool counted = i->counted;
	uint64_t links = i->links, moves = i->moves;
	pthread_mutex_unlock(&fs->lock);
	if (counted)
		return links;
	links = replica_names(fs->replica, &i->id, count_one, &n) == 0 ? n.dirs + 2 : 1;
	pthread_mutex_lock(&fs->lock);
	if (i->moves == moves) {
		i->links = links;
		i->counted = true;
	}
	pthread_mutex_unlock(&fs->lock);
	return links;
}

static void stat_dir(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	ret->st_nlink = count_links(fs, i);
	pthread_mutex_lock(&fs->lock);
	uint64_t us = i->visited_us;
	pthread_mutex_unlock(&fs->lock);
	if (!us)
		return;
	struct timespec ts = time_of((int64_t)us * 1000);
	if (later(ts, ret->st_mtim)) {
		ret->st_mtim = ts;
		if (!i->atime_ns)
			ret->st_atim = ts;
	}
	if (later(ts, ret->st_ctim))
		ret->st_ctim = ts;
}

int inode_attr(struct fusefs *fs, struct inode *i, struct stat *ret, double *ret_timeout)
{
	struct attr attr;
	*ret_timeout = FOREVER;
	if (plain_is(i))
		return plain_attr(fs, i, ret);
	switch (i->backing) {
	case BACK_VIRTUAL:
		*ret_timeout = shoaldir_timeout(i);
		return shoaldir_stat(fs, i, ret);
	case BACK_LOCAL:
		/* What becomes a node looks the same as before, or the kernel is told (fusefs/commit.c). */
		if (i->shared && i->shared->dirty)
			*ret_timeout = 0;
		stat_local(i, ret);
		ret->st_nlink += hardlink_count(i->local);
		stat_here(i, 0, ret);
		return 0;
	case BACK_ORPHAN:
		*ret_timeout = 0;
		inode_stat_node(fs, i->ino, &i->last, ret);
		ret->st_nlink = 0;
		if (i->shared && i->kind == NODE_FILE) {
			set_copy(ret, i->shared);
			if (i->shared->dirty)
				ret->st_mtim = time_of(i->shared->mtime_ns);
		}
		stat_here(i, i->last.ctime_ns, ret);
		return 0;
	case BACK_NODE:
	case BACK_PLAIN:
		break;
	}
	int r = replica_attr(fs->replica, &i->id, &attr);
	if (r < 0 && i->ino == INO_ROOT)
		attr = (struct attr){ .id = NODE_ROOT, .kind = NODE_DIR, .mode = 0755 };
	else if (r < 0 && i->last.kind && (i->shared || i->opens)) {
		attr = i->last;
		*ret_timeout = 0;
	} else if (r < 0) {
		return r;
	}
	i->last = attr;
	inode_stat_node(fs, i->ino, &attr, ret);
	struct copy *c = i->shared;
	if (c && c->dirty && i->kind == NODE_FILE)
		ret->st_mtim = time_of(c->mtime_ns);
	stat_here(i, attr.ctime_ns, ret);
	uint32_t links;
	if (i->kind == NODE_DIR)
		stat_dir(fs, i, ret);
	else if (attr.linked && replica_links(fs->replica, &i->id, &links) == 0)
		ret->st_nlink += links;
	if (c && c->dirty && i->kind == NODE_FILE) {
		set_copy(ret, c);
		*ret_timeout = 0;
	} else if (c && c->flipping) {
		set_size(ret, c->shown, c->shown);
		*ret_timeout = 0;
	} else if (c && c->users && c->origin && !id_equal(version_id(c->origin), &attr.version)) {
		/* Readers are in the middle of an older version: the size must be its. */
		if (c->readers)
			set_copy(ret, c);
		*ret_timeout = 0;
	} else if (id_is_zero(&i->told)) {
		/* Answers can overtake each other: only the first is taken for sure. */
		i->told = attr.version;
	}
	return 0;
}
