/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/shoaldir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/conflictdir.h"
#include "fusefs/draft.h"
#include "fusefs/fs.h"

#define CONFLICTS "conflicts"
#define DRAFTS "drafts"

/* Paths of all drafts, and their bytes if wanted. */
struct draft_path {
	char *path;
	struct inode *inode; /* borrowed from the list */
};

struct draft_list {
	struct inode **inode;
	struct draft_path *item;
	size_t n_inodes, n;
};

static void list_done(struct fusefs *fs, struct draft_list *l)
{
	for (size_t k = 0; k < l->n; k++)
		free(l->item[k].path);
	free(l->item);
	inodes_put(fs, l->inode, l->n_inodes);
}

static int list_get(struct fusefs *fs, struct draft_list *ret)
{
	*ret = (struct draft_list){ 0 };
	int r = drafts_get(fs, &ret->inode, &ret->n_inodes);
	if (r < 0)
		return r;
	ret->item = calloc(ret->n_inodes + 1, sizeof(*ret->item));
	for (size_t k = 0; ret->item && k < ret->n_inodes; k++) {
		struct inode *i = ret->inode[k];
		_cleanup_(buf_done) struct buf b = { 0 };
		pthread_mutex_lock(&i->lock);
		int q;
		if (i->backing == BACK_LOCAL && i->local) {
			q = id_equal(&i->local->parent, &NODE_ROOT)
				    ? 0
				    : replica_path(fs->replica, &i->local->parent, &b);
			if (q >= 0 && b.len)
				buf_u8(&b, '/');
			buf_puts(&b, i->local->name);
		} else {
			q = replica_path(fs->replica, &i->id, &b);
		}
		pthread_mutex_unlock(&i->lock);
		const char *text = q < 0 ? NULL : buf_cstr(&b);
		char *copy = text ? strdup(text) : NULL;
		if (copy)
			ret->item[ret->n++] = (struct draft_path){ copy, i };
	}
	return 0;
}

/* What stands at a path below drafts/ ("" for it): a draft, a directory on the way to one. */
static enum node_kind find_draft(const struct draft_list *l, const char *path, struct inode **ret)
{
	size_t len = strlen(path);
	if (len == 0)
		return NODE_DIR;
	for (size_t k = 0; k < l->n; k++) {
		const char *p = l->item[k].path;
		if (strncmp(p, path, len) != 0)
			continue;
		if (p[len] == '\0') {
			if (ret)
				*ret = l->item[k].inode;
			return NODE_FILE;
		}
		if (p[len] == '/')
			return NODE_DIR;
	}
	return 0;
}

/* The path below one of our directories, "" for itself; NULL: it is not there. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	if (strncmp(path, dir, len) != 0)
		return NULL;
	path += len;
	return *path == '\0' ? path : *path == '/' ? path + 1 : NULL;
}

static enum node_kind kind_of(struct fusefs *fs, const char *path)
{
	if (*path == '\0')
		return NODE_DIR;
	if (strcmp(path, "status.json") == 0)
		return fs->config.status ? NODE_FILE : 0;
	if (strcmp(path, "peers.json") == 0)
		return fs->config.peers ? NODE_FILE : 0;
	const char *draft = below(path, DRAFTS), *conflict = below(path, CONFLICTS);
	struct draft_list l;
	struct attr at;
	if (conflict)
		return conflictdir_attr(fs, conflict, &at) < 0 ? 0 : at.kind;
	if (!draft || list_get(fs, &l) < 0)
		return 0;
	enum node_kind kind = find_draft(&l, draft, NULL);
	list_done(fs, &l);
	return kind;
}

int shoaldir_lookup(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (dir->virtual_path[0])
		buf_putf(&b, "%s/", dir->virtual_path);
	buf_puts(&b, name);
	const char *path = buf_cstr(&b);
	if (!path)
		return -ENOMEM;
	enum node_kind kind = kind_of(fs, path);
	return kind ? inode_of_virtual(fs, path, kind, ret) : -ENOENT;
}

static int generate(struct fusefs *fs, const char *path, struct buf *ret)
{
	if (strcmp(path, "status.json") == 0 && fs->config.status)
		return fs->config.status(fs->config.userdata, ret);
	if (strcmp(path, "peers.json") == 0 && fs->config.peers)
		return fs->config.peers(fs->config.userdata, ret);
	return -ENOENT;
}

/* A draft's size, and its bytes when to is not NULL. */
static int read_draft(struct fusefs *fs, const char *path, uint64_t *ret_size, struct workfile **to)
{
	struct draft_list l;
	int r = list_get(fs, &l);
	if (r < 0)
		return r;
	struct inode *i = NULL;
	r = -ENOENT;
	if (find_draft(&l, path, &i) == NODE_FILE && i) {
		pthread_mutex_lock(&i->lock);
		if (i->shared && i->shared->draft) {
			*ret_size = copy_size(i->shared);
			r = to ? copy_clone(fs, i->shared, to) : 0;
		}
		pthread_mutex_unlock(&i->lock);
	}
	list_done(fs, &l);
	return r;
}

int shoaldir_stat(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	struct attr attr = { .kind = i->kind, .mode = i->kind == NODE_DIR ? 0555 : 0444 };
	const char *conflict = below(i->virtual_path, CONFLICTS);
	const char *draft = below(i->virtual_path, DRAFTS);
	attr.mtime_ns = attr.ctime_ns = wall_ns();
	if (conflict) {
		int r = conflictdir_attr(fs, conflict, &attr);
		if (r == 0 && attr.kind != i->kind)
			r = -ENOENT;
		if (r < 0)
			return r;
	} else if (i->kind == NODE_FILE && draft) {
		int r = read_draft(fs, draft, &attr.size, NULL);
		if (r < 0)
			return r;
		attr.stored = attr.size;
	} else if (i->kind == NODE_FILE) {
		_cleanup_(buf_done) struct buf b = { 0 };
		int r = generate(fs, i->virtual_path, &b);
		if (r < 0)
			return r;
		attr.size = attr.stored = b.len;
	}
	inode_stat_node(fs, i->ino, &attr, ret);
	return 0;
}

int shoaldir_read(struct fusefs *fs, struct inode *i, struct copy **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *conflict = below(i->virtual_path, CONFLICTS);
	const char *draft = below(i->virtual_path, DRAFTS);
	struct copy *c = copy_new();
	int r = c ? 0 : -ENOMEM;
	if (r >= 0 && conflict) {
		r = conflictdir_read(fs, conflict, c);
	} else if (r >= 0 && draft) {
		uint64_t size;
		r = read_draft(fs, draft, &size, &c->work);
	} else if (r >= 0) {
		r = workfile_new(fs->spool, &c->work);
		if (r >= 0)
			r = generate(fs, i->virtual_path, &b);
		if (r >= 0 && buf_failed(&b))
			r = -ENOMEM;
		if (r >= 0)
			r = workfile_pwrite(c->work, b.data, b.len, 0);
	}
	if (r < 0) {
		copy_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int shoaldir_list(struct fusefs *fs, struct inode *i, list_fn f, void *userdata)
{
	static const char *const top[] = { CONFLICTS, DRAFTS, "peers.json", "status.json" };
	struct attr attr = { .mode = 0444 };
	const char *path = i->virtual_path;
	if (*path == '\0') {
		for (size_t k = 0; k < sizeof(top) / sizeof(top[0]); k++) {
			attr.kind = kind_of(fs, top[k]);
			int r = attr.kind ? f(top[k], strlen(top[k]), &attr, userdata) : 0;
			if (r)
				return r;
		}
		return 0;
	}
	const char *draft = below(path, DRAFTS), *conflict = below(path, CONFLICTS);
	struct draft_list l;
	if (conflict)
		return conflictdir_list(fs, conflict, f, userdata);
	if (!draft)
		return -ENOTDIR;
	int r = list_get(fs, &l);
	if (r < 0)
		return r;
	size_t skip = *draft ? strlen(draft) + 1 : 0;
	for (size_t k = 0; r == 0 && k < l.n; k++) {
		const char *p = l.item[k].path;
		if (skip && (strncmp(p, draft, skip - 1) != 0 || p[skip - 1] != '/'))
			continue;
		p += skip;
		size_t len = strcspn(p, "/");
		bool seen = false;
		for (size_t m = 0; m < k && !seen; m++) {
			const char *q = l.item[m].path;
			seen = strlen(q) > skip && strncmp(l.item[k].path, q, skip + len) == 0 &&
			       (q[skip + len] == '/' || q[skip + len] == '\0');
		}
		attr.kind = p[len] ? NODE_DIR : NODE_FILE;
		if (!seen)
			r = f(p, len, &attr, userdata);
	}
	list_done(fs, &l);
	return r;
}
