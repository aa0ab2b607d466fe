/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/conflictdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/blob.h"
#include "engine/clock.h"
#include "fusefs/fs.h"

#define DEPTH_MAX 4096

/* Who may enter the directory that stands for a node: who may read that. */
static uint32_t dir_mode(const struct attr *node)
{
	uint32_t read = node->kind == NODE_LINK ? 0444 : node->mode & 0444;
	return node->kind == NODE_DIR ? node->mode & 0555 : read | read >> 2;
}

/* The node that a path leads to; 1: one name more is left, in *ret_rest, below a file. */
static int find_node(struct fusefs *fs, const char *path, struct attr *ret, const char **ret_rest)
{
	int r = replica_attr(fs->replica, &NODE_ROOT, ret);
	while (r == 0 && *path) {
		size_t n = strcspn(path, "/");
		struct id parent = ret->id;
		if (ret->kind != NODE_DIR) {
			*ret_rest = path;
			return path[n] ? -ENOENT : 1;
		}
		r = replica_lookup(fs->replica, &parent, path, n, ret);
		path += n + (path[n] == '/');
	}
	if (r == 0 && ret->kind != NODE_DIR && !ret->conflict)
		r = -ENOENT;
	return r;
}

/* The name of a value's file, in its node's directory. */
static void put_name(struct fusefs *fs, const struct attr *node, const struct contest *t,
		     const struct rival *v, struct buf *b)
{
	char name[NAME_MAX_BYTES + 1];
	struct id parent;
	const char *dot = NULL;
	if (t->len == 0 && replica_parent(fs->replica, &node->id, &parent, name) == 0)
		dot = strrchr(name, '.');
	buf_puts(b, v->id);
	if (dot && dot != name)
		buf_puts(b, dot);
}

static void attr_of(struct fusefs *fs, const struct attr *node, const struct rival *v,
		    struct attr *ret)
{
	*ret = (struct attr){ .kind = NODE_FILE,
			      .mode = node->kind == NODE_LINK ? 0444 : node->mode & 0444,
			      .size = v->text ? v->len + value_is_json(v->kind) : v->blob.size };
	ret->stored = ret->size;
	if (!v->text)
		(void)blob_stored(replica_store(fs->replica), &v->blob, &ret->stored);
	ret->mtime_ns = ret->ctime_ns = (int64_t)hlc_us(v->hlc) * 1000;
}

/* Calls f for each value that lost. */
typedef int (*lost_fn)(const char *name, const struct attr *node, const struct rival *v,
		       void *userdata);

static int each_lost(struct fusefs *fs, const struct attr *node, lost_fn f, void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *t;
	uint32_t n;
	int r = replica_contests(fs->replica, &node->id, false, &a, &t, &n);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		for (uint32_t k = 0; r == 0 && k < t[i].n; k++) {
			_cleanup_(buf_done) struct buf name = { 0 };
			put_name(fs, node, &t[i], &t[i].lost[k], &name);
			r = buf_cstr(&name) ? f((char *)name.data, node, &t[i].lost[k], userdata) :
					      -ENOMEM;
		}
	return r;
}

/* ---- one file ---- */

struct wanted {
	struct fusefs *fs;
	const char *name;
	struct attr *attr; /* NULL: not asked for */
	struct copy *to;   /* NULL: not asked for */
};

static int copy_value(struct fusefs *fs, const struct attr *node, const struct rival *v,
		      struct copy *to)
{
	if (!v->text)
		return replica_rival_blob(fs->replica, &node->id, &v->blob, &to->origin);
	int r = workfile_new(fs->spool, &to->work);
	if (r == 0)
		r = workfile_pwrite(to->work, v->text, v->len, 0);
	return r < 0 || !value_is_json(v->kind) ? r : workfile_pwrite(to->work, "\n", 1, v->len);
}

static int give(const char *name, const struct attr *node, const struct rival *v, void *userdata)
{
	struct wanted *w = userdata;
	if (strcmp(name, w->name) != 0)
		return 0;
	if (w->attr)
		attr_of(w->fs, node, v, w->attr);
	int r = w->to ? copy_value(w->fs, node, v, w->to) : 0;
	return r < 0 ? r : 1;
}

static int find_lost(struct wanted *w, const struct attr *node)
{
	int r = each_lost(w->fs, node, give, w);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int conflictdir_attr(struct fusefs *fs, const char *path, struct attr *ret)
{
	struct wanted w = { .fs = fs, .name = "", .attr = ret };
	struct attr node;
	int r = find_node(fs, path, &node, &w.name);
	if (r == 1)
		return find_lost(&w, &node);
	if (r < 0)
		return r;
	*ret = (struct attr){ .kind = NODE_DIR, .mode = dir_mode(&node),
			      .mtime_ns = node.mtime_ns, .ctime_ns = node.ctime_ns };
	return 0;
}

int conflictdir_read(struct fusefs *fs, const char *path, struct copy *to)
{
	struct wanted w = { .fs = fs, .name = "", .to = to };
	struct attr node;
	int r = find_node(fs, path, &node, &w.name);
	return r == 1 ? find_lost(&w, &node) : r < 0 ? r : -EISDIR;
}

/* ---- directories ---- */

struct lister {
	struct fusefs *fs;
	list_fn f;
	void *userdata;
};

static int list_lost(const char *name, const struct attr *node, const struct rival *v,
		     void *userdata)
{
	const struct lister *l = userdata;
	struct attr at;
	attr_of(l->fs, node, v, &at);
	return l->f(name, strlen(name), &at, l->userdata);
}

struct names {
	struct fusefs *fs;
	struct id dir;
	char **name;
	size_t n, cap;
};

static void names_done(struct names *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->name[i]);
	free(k->name);
}

/* The name in the directory under which the file in conflict is to be found, if it is below. */
static int add_name(const struct id *id, void *userdata)
{
	char name[NAME_MAX_BYTES + 1];
	struct names *k = userdata;
	struct id at = *id, parent = { 0 };
	for (unsigned depth = 0; depth < DEPTH_MAX && !id_equal(&at, &NODE_ROOT); depth++) {
		int r = replica_parent(k->fs->replica, &at, &parent, name);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (id_equal(&parent, &k->dir))
			break;
		at = parent;
	}
	if (!id_equal(&parent, &k->dir))
		return 0;
	if (k->n == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 32;
		char **bigger = reallocarray(k->name, cap, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		k->name = bigger;
		k->cap = cap;
	}
	k->name[k->n] = strdup(name);
	return k->name[k->n] ? (k->n++, 0) : -ENOMEM;
}

static int by_bytes(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

int conflictdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata)
{
	_cleanup_(names_done) struct names k = { .fs = fs };
	struct lister l = { fs, f, userdata };
	const struct attr dir = { .kind = NODE_DIR, .mode = 0555 };
	const char *rest;
	struct attr node;
	int r = find_node(fs, path, &node, &rest);
	if (r != 0)
		return r < 0 ? r : -ENOTDIR;
	if (node.kind != NODE_DIR)
		return each_lost(fs, &node, list_lost, &l);
	k.dir = node.id;
	r = replica_conflicted(fs->replica, add_name, &k);
	if (k.n)
		qsort(k.name, k.n, sizeof(*k.name), by_bytes);
	for (size_t i = 0; r == 0 && i < k.n; i++)
		if (i == 0 || strcmp(k.name[i], k.name[i - 1]) != 0)
			r = f(k.name[i], strlen(k.name[i]), &dir, userdata);
	return r;
}
