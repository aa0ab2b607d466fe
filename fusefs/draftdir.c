/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/draftdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/draft.h"
#include "fusefs/fs.h"

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

int draftdir_attr(struct fusefs *fs, const char *path, struct attr *ret)
{
	struct draft_list l;
	int r = list_get(fs, &l);
	if (r < 0)
		return r;
	enum node_kind kind = find_draft(&l, path, NULL);
	list_done(fs, &l);
	if (!kind)
		return -ENOENT;
	*ret = (struct attr){ .kind = kind, .mode = kind == NODE_DIR ? 0555 : 0444 };
	ret->mtime_ns = ret->ctime_ns = wall_ns();
	if (kind == NODE_DIR)
		return 0;
	r = read_draft(fs, path, &ret->size, NULL);
	ret->stored = ret->size;
	return r;
}

int draftdir_read(struct fusefs *fs, const char *path, struct copy *to)
{
	uint64_t size;
	return read_draft(fs, path, &size, &to->work);
}

int draftdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata)
{
	struct attr attr = { .mode = 0444 };
	struct draft_list l;
	int r = list_get(fs, &l);
	if (r < 0)
		return r;
	size_t skip = *path ? strlen(path) + 1 : 0;
	for (size_t k = 0; r == 0 && k < l.n; k++) {
		const char *p = l.item[k].path;
		if (skip && (strncmp(p, path, skip - 1) != 0 || p[skip - 1] != '/'))
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
