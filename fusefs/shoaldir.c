/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/shoaldir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/atdir.h"
#include "fusefs/conflictdir.h"
#include "fusefs/draftdir.h"
#include "fusefs/fieldsdir.h"
#include "fusefs/fs.h"

/* The kernel asks for every name on the way to a file, every time, unless it may keep it: those above
 * the areas are always there, and what is past stays as it is. */
#define AREA_SECONDS 1.0
#define PAST_SECONDS 10.0

/* What has a directory of its own. Paths are below it. */
struct area {
	const char *name;
	int (*attr)(struct fusefs *fs, const char *path, struct attr *ret);
	int (*read)(struct fusefs *fs, const char *path, struct copy *to);
	int (*list)(struct fusefs *fs, const char *path, list_fn f, void *userdata);
	bool fields; /* what is in it can be changed */
	bool past;   /* it cannot be changed because it is over */
};

static int read_field(struct fusefs *fs, const char *path, struct copy *to)
{
	return fieldsdir_open(fs, path, false, to);
}

static const struct area areas[] = {
	{ "at", atdir_attr, atdir_read, atdir_list, false, true },
	{ "conflicts", conflictdir_attr, conflictdir_read, conflictdir_list, false, false },
	{ "drafts", draftdir_attr, draftdir_read, draftdir_list, false, false },
	{ "fields", fieldsdir_attr, read_field, fieldsdir_list, true, false },
};
#define N_AREAS (sizeof(areas) / sizeof(areas[0]))

/* The area that a path is in, and the path there; NULL: none. */
static const struct area *area_of(const char *path, const char **ret)
{
	size_t len = strcspn(path, "/");
	for (size_t k = 0; k < N_AREAS; k++)
		if (strlen(areas[k].name) == len && strncmp(path, areas[k].name, len) == 0) {
			*ret = path + len + (path[len] == '/');
			return &areas[k];
		}
	return NULL;
}

/* ---- single files ---- */

static int generate(struct fusefs *fs, const char *path, struct buf *ret)
{
	if (strcmp(path, "status.json") == 0 && fs->config.status)
		return fs->config.status(fs->config.userdata, ret);
	if (strcmp(path, "peers.json") == 0 && fs->config.peers)
		return fs->config.peers(fs->config.userdata, ret);
	return -ENOENT;
}

static enum node_kind kind_of_file(struct fusefs *fs, const char *path)
{
	bool is = (strcmp(path, "status.json") == 0 && fs->config.status) ||
		  (strcmp(path, "peers.json") == 0 && fs->config.peers);
	return is ? NODE_FILE : 0;
}

static int read_file(struct fusefs *fs, const char *path, struct copy *to)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = generate(fs, path, &b);
	if (r >= 0 && buf_failed(&b))
		r = -ENOMEM;
	if (r >= 0)
		r = workfile_new(fs->spool, &to->work);
	return r < 0 ? r : workfile_pwrite(to->work, b.data, b.len, 0);
}

static int attr_of_file(struct fusefs *fs, const char *path, struct attr *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	*ret = (struct attr){ .kind = *path ? NODE_FILE : NODE_DIR, .mode = *path ? 0444 : 0555 };
	ret->mtime_ns = ret->ctime_ns = wall_ns();
	int r = *path ? generate(fs, path, &b) : 0;
	ret->size = ret->stored = b.len;
	return r;
}

/* ---- reading ---- */

static int path_in(const char *dir, const char *name, struct buf *ret)
{
	if (*dir)
		buf_putf(ret, "%s/", dir);
	buf_puts(ret, name);
	return buf_cstr(ret) ? 0 : -ENOMEM;
}

int shoaldir_lookup(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *rest;
	struct attr attr = { 0 };
	int r = path_in(dir->virtual_path, name, &b);
	if (r < 0)
		return r;
	const char *path = (char *)b.data;
	const struct area *a = area_of(path, &rest);
	if (a && a->fields)
		fieldsdir_settle(fs, rest);
	if (a)
		r = a->attr(fs, rest, &attr);
	else
		attr.kind = kind_of_file(fs, path);
	if (r < 0)
		return r;
	return attr.kind ? inode_of_virtual(fs, path, attr.kind, ret) : -ENOENT;
}

/* One that is being created shows as an empty file until it is. */
static bool is_coming(struct fusefs *fs, const struct area *a, const struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool is = a && a->fields && i->kind == NODE_FILE && i->opens > 0;
	pthread_mutex_unlock(&fs->lock);
	return is;
}

int shoaldir_stat(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	struct attr attr;
	const char *rest;
	const struct area *a = area_of(i->virtual_path, &rest);
	int r = a ? a->attr(fs, rest, &attr) : attr_of_file(fs, i->virtual_path, &attr);
	if (r == 0 && attr.kind != i->kind)
		r = -ENOENT;
	if (r == -ENOENT && is_coming(fs, a, i)) {
		attr = (struct attr){ .kind = NODE_FILE, .mode = 0644 };
		attr.mtime_ns = attr.ctime_ns = wall_ns();
		r = 0;
	}
	if (r < 0)
		return r;
	inode_stat_node(fs, i->ino, &attr, ret);
	return 0;
}

double shoaldir_timeout(const struct inode *i)
{
	const char *rest;
	const struct area *a = area_of(i->virtual_path, &rest);
	if (a && a->past && *rest)
		return PAST_SECONDS;
	return (a && !*rest) || !i->virtual_path[0] ? AREA_SECONDS : 0;
}

int shoaldir_open(struct fusefs *fs, struct inode *i, bool write, struct copy **ret)
{
	const char *rest;
	const struct area *a = area_of(i->virtual_path, &rest);
	if (write && !(a && a->fields))
		return a && a->past ? -EROFS : -EACCES;
	struct copy *c = copy_new();
	int r = !c	? -ENOMEM
		: write ? fieldsdir_open(fs, rest, true, c)
		: a	? a->read(fs, rest, c)
			: read_file(fs, i->virtual_path, c);
	if (r < 0) {
		copy_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int shoaldir_list(struct fusefs *fs, struct inode *i, list_fn f, void *userdata)
{
	static const char *const file[] = { "peers.json", "status.json" };
	struct attr attr = { .kind = NODE_DIR };
	const char *path = i->virtual_path, *rest;
	const struct area *a = area_of(path, &rest);
	int r = 0;
	if (a)
		return a->list(fs, rest, f, userdata);
	if (*path)
		return -ENOTDIR;
	for (size_t k = 0; r == 0 && k < N_AREAS; k++)
		r = f(areas[k].name, strlen(areas[k].name), &attr, userdata);
	for (size_t k = 0; r == 0 && k < sizeof(file) / sizeof(file[0]); k++) {
		attr.kind = kind_of_file(fs, file[k]);
		if (attr.kind)
			r = f(file[k], strlen(file[k]), &attr, userdata);
	}
	return r;
}

int shoaldir_readlink(struct fusefs *fs, struct inode *i, struct buf *ret)
{
	const char *rest;
	const struct area *a = area_of(i->virtual_path, &rest);
	return a && a->past ? atdir_readlink(fs, rest, ret) : -EINVAL;
}

int shoaldir_refusal(const struct inode *i)
{
	const char *rest;
	const struct area *a = area_of(i->virtual_path, &rest);
	return a && a->past ? -EROFS : -EPERM;
}

int shoaldir_kind(struct fusefs *fs, struct inode *i, struct buf *ret)
{
	const char *rest, *type;
	const struct area *a = area_of(i->virtual_path, &rest);
	int r = a && a->fields ? fieldsdir_type(fs, rest, &type) : -ENODATA;
	if (r == 0)
		buf_puts(ret, type);
	return r;
}

/* ---- changing ---- */

/* The path below fields/ of a name in the directory; *ret points into b. */
static int field_path(struct fusefs *fs, uint64_t ino, const char *name, struct buf *b,
		      const char **ret)
{
	struct inode *dir = inode_get(fs, ino);
	if (!dir)
		return -ESTALE;
	int r = dir->virtual_path ? path_in(dir->virtual_path, name, b) : -EXDEV;
	inode_put(fs, dir);
	if (r < 0)
		return r;
	const struct area *a = area_of((char *)b->data, ret);
	if (a && a->past)
		return -EROFS;
	return a && a->fields && **ret ? 0 : -EACCES;
}

static int made(struct fusefs *fs, struct buf *rest, enum node_kind kind, struct inode **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *text = buf_cstr(rest);
	int r = text ? path_in("fields", text, &b) : -ENOMEM;
	return r < 0 ? r : inode_of_virtual(fs, (char *)b.data, kind, ret);
}

int shoaldir_create(struct fusefs *fs, uint64_t dir, const char *name, bool excl,
		    struct inode **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(buf_done) struct buf final = { 0 };
	const char *path;
	int r = field_path(fs, dir, name, &b, &path);
	if (r == 0)
		r = fieldsdir_create(fs, path, excl, &final);
	return r < 0 ? r : made(fs, &final, NODE_FILE, ret);
}

int shoaldir_mkdir(struct fusefs *fs, uint64_t dir, const char *name, struct inode **ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(buf_done) struct buf final = { 0 };
	const char *path;
	int r = field_path(fs, dir, name, &b, &path);
	if (r == 0)
		r = fieldsdir_mkdir(fs, path, &final);
	return r < 0 ? r : made(fs, &final, NODE_DIR, ret);
}

int shoaldir_remove(struct fusefs *fs, uint64_t dir, const char *name, bool is_dir)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *path;
	int r = field_path(fs, dir, name, &b, &path);
	return r < 0 ? r : fieldsdir_remove(fs, path, is_dir);
}

int shoaldir_rename(struct fusefs *fs, uint64_t dir, const char *name, uint64_t newdir,
		    const char *newname, unsigned flags)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(buf_done) struct buf c = { 0 };
	const char *from, *to;
	int r = field_path(fs, dir, name, &b, &from);
	if (r == 0)
		r = field_path(fs, newdir, newname, &c, &to);
	return r < 0 ? r : fieldsdir_rename(fs, from, to, flags);
}
