/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/atdir.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moment.h"
#include "fusefs/fs.h"
#include "fusefs/when.h"

/* A moment that was asked for of late. */
struct atdir {
	atomic_uint refs;
	uint64_t us;
	struct moment *moment;
};

static void atdir_unref(struct atdir *d)
{
	if (!d || atomic_fetch_sub(&d->refs, 1) != 1)
		return;
	moment_free(d->moment);
	free(d);
}

/* fs->lock held. */
static struct atdir *find_kept(struct fusefs *fs, uint64_t us)
{
	for (unsigned k = 0; k < ATDIRS; k++)
		if (fs->atdir[k] && fs->atdir[k]->us == us) {
			atomic_fetch_add(&fs->atdir[k]->refs, 1);
			return fs->atdir[k];
		}
	return NULL;
}

static int get(struct fusefs *fs, uint64_t us, struct atdir **ret)
{
	pthread_mutex_lock(&fs->lock);
	struct atdir *d = find_kept(fs, us), *old = NULL;
	pthread_mutex_unlock(&fs->lock);
	if (d) {
		*ret = d;
		return 0;
	}
	d = calloc(1, sizeof(*d));
	int r = d ? moment_new(fs->replica, us, &d->moment) : -ENOMEM;
	if (r < 0) {
		free(d);
		return r;
	}
	d->us = us;
	atomic_init(&d->refs, 2);
	pthread_mutex_lock(&fs->lock);
	old = fs->atdir[fs->next_atdir];
	fs->atdir[fs->next_atdir] = d;
	fs->next_atdir = (fs->next_atdir + 1) % ATDIRS;
	pthread_mutex_unlock(&fs->lock);
	atdir_unref(old);
	*ret = d;
	return 0;
}

void atdirs_done(struct fusefs *fs)
{
	for (unsigned k = 0; k < ATDIRS; k++) {
		atdir_unref(fs->atdir[k]);
		fs->atdir[k] = NULL;
	}
}

/* ---- paths ---- */

struct where {
	struct atdir *dir;
	struct attr attr;
};

static void where_done(struct where *w)
{
	atdir_unref(w->dir);
}

/* path has a time in front. */
static int find(struct fusefs *fs, const char *path, struct where *ret)
{
	char time[NAME_MAX + 1];
	uint64_t us;
	size_t len = strcspn(path, "/");
	if (len >= sizeof(time))
		return -ENOENT;
	memcpy(time, path, len);
	time[len] = '\0';
	if (when_parse(time, &us) < 0 || us > replica_now_us(fs->replica))
		return -ENOENT;
	int r = get(fs, us, &ret->dir);
	if (r == 0)
		r = moment_root(ret->dir->moment, &ret->attr);
	path += len + (path[len] == '/');
	while (r == 0 && *path) {
		struct id parent = ret->attr.id;
		len = strcspn(path, "/");
		r = moment_lookup(ret->dir->moment, &parent, path, len, &ret->attr);
		path += len + (path[len] == '/');
	}
	return r;
}

int atdir_attr(struct fusefs *fs, const char *path, struct attr *ret)
{
	_cleanup_(where_done) struct where w = { 0 };
	if (*path == '\0') {
		*ret = (struct attr){ .kind = NODE_DIR, .mode = 0555, .mtime_ns = wall_ns() };
		ret->ctime_ns = ret->mtime_ns;
		return 0;
	}
	int r = find(fs, path, &w);
	if (r < 0)
		return r;
	*ret = w.attr;
	if (ret->kind == NODE_DIR && !ret->mode)
		ret->mode = 0755; /* the root of a store where nobody has set one */
	return 0;
}

int atdir_read(struct fusefs *fs, const char *path, struct copy *to)
{
	_cleanup_(where_done) struct where w = { 0 };
	int r = find(fs, path, &w);
	if (r == 0)
		r = w.attr.kind == NODE_FILE ? 0 : -EISDIR;
	return r < 0 ? r : moment_read(w.dir->moment, &w.attr.id, &to->origin);
}

int atdir_readlink(struct fusefs *fs, const char *path, struct buf *ret)
{
	_cleanup_(where_done) struct where w = { 0 };
	int r = find(fs, path, &w);
	return r < 0 ? r : moment_readlink(w.dir->moment, &w.attr.id, ret);
}

int atdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata)
{
	_cleanup_(where_done) struct where w = { 0 };
	if (*path == '\0')
		return 0;
	int r = find(fs, path, &w);
	if (r == 0 && w.attr.kind != NODE_DIR)
		r = -ENOTDIR;
	return r < 0 ? r : moment_list(w.dir->moment, &w.attr.id, f, userdata);
}
