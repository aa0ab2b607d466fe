/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/fieldsdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "fusefs/commit.h"
#include "fusefs/field.h"
#include "fusefs/fieldname.h"
#include "fusefs/fs.h"
#include "fusefs/local.h"
#include "fusefs/name.h"

#define SUFFIX ".json"
#define SUFFIX_LEN (sizeof(SUFFIX) - 1)

/* What a path leads to. */
struct place {
	struct attr node;      /* a directory, or the document */
	struct doctree *tree;  /* of the document; NULL: a directory */
	const struct json *in; /* what the value is in; NULL: it is all of the document */
	const struct json *at; /* the value; NULL: there is none */
	struct buf pointer;    /* where it is, or would be */
	bool free;             /* no value, and there can be one */
	char index[16];        /* of a new element */
};

static void place_done(struct place *p)
{
	doctree_unref(p->tree);
	buf_done(&p->pointer);
}

/* ---- directories of the tree, and documents in them ---- */

/* The document of that name, as the mount shows it. */
static int find_document(struct fusefs *fs, const struct id *dir, const char *name, size_t len,
			 bool settle, struct attr *ret)
{
	char text[NAME_MAX_BYTES + 1];
	struct inode *i = NULL;
	struct id hidden;
	if (len > NAME_MAX_BYTES || !name_is_json(name, len))
		return -ENOENT;
	memcpy(text, name, len);
	text[len] = '\0';
	enum overlay o = local_find(fs, dir, text, &i, &hidden);
	if (o == OVERLAY_LOCAL) {
		bool is = false;
		if (settle) {
			pthread_mutex_lock(&fs->names);
			is = commit_finished(fs, i);
			pthread_mutex_unlock(&fs->names);
		}
		inode_put(fs, i);
		if (!is)
			return -ENOENT;
	}
	int r = replica_lookup(fs->replica, dir, name, len, ret);
	if (r < 0)
		return r;
	if (ret->kind != NODE_FILE || ret->form != FORM_JSON)
		return -ENOENT;
	return o == OVERLAY_TOMB && id_equal(&hidden, &ret->id) ? -ENOENT : 0;
}

/* Is something else shown under that name? */
static bool taken(struct fusefs *fs, const struct id *dir, const char *name, size_t len)
{
	struct attr attr;
	for (;;) {
		if ((len == 1 || len == 2) && strncmp(name, "..", len) == 0)
			return true;
		if (replica_lookup(fs->replica, dir, name, len, &attr) == 0 &&
		    attr.kind == NODE_DIR)
			return true;
		/* A document of that very name, if its own short one is taken. */
		if (find_document(fs, dir, name, len, false, &attr) < 0)
			return false;
		len -= SUFFIX_LEN;
	}
}

/* One name further down from a directory. */
static int find_node(struct fusefs *fs, const struct id *dir, const char *name, size_t len,
		     bool settle, struct attr *ret)
{
	char full[NAME_MAX_BYTES + 1];
	int r = replica_lookup(fs->replica, dir, name, len, ret);
	if (r == 0 && ret->kind == NODE_DIR)
		return 0;
	if (r < 0 && r != -ENOENT)
		return r;
	r = find_document(fs, dir, name, len, settle, ret);
	if (r == 0 && taken(fs, dir, name, len - SUFFIX_LEN))
		return 0;
	if (len + SUFFIX_LEN > NAME_MAX_BYTES)
		return -ENOENT;
	memcpy(full, name, len);
	memcpy(full + len, SUFFIX, SUFFIX_LEN);
	return find_document(fs, dir, full, len + SUFFIX_LEN, settle, ret);
}

/* ---- values in a document ---- */

/* An index, or SIZE_MAX: it is none. */
static size_t index_of(const char *name, size_t len)
{
	size_t i = 0;
	if (len == 0 || len > 9 || (name[0] == '0' && len > 1))
		return SIZE_MAX;
	for (size_t k = 0; k < len; k++) {
		if (name[k] < '0' || name[k] > '9')
			return SIZE_MAX;
		i = i * 10 + (size_t)(name[k] - '0');
	}
	return i;
}

static void find_element(struct place *p, const char *name, size_t len)
{
	size_t i = len == 1 && *name == '-' ? p->in->count : index_of(name, len);
	p->at = doctree_at(p->tree, p->in, i);
	p->free = !p->at && i == p->in->count;
	snprintf(p->index, sizeof(p->index), "%zu", i);
	json_pointer_append_index(&p->pointer, i);
}

static void find_member(struct place *p, const char *name, size_t len)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	p->at = fieldname_find(p->in, name, len);
	if (p->at) {
		json_pointer_append(&p->pointer, p->at->key, p->at->key_len);
		return;
	}
	p->free = fieldname_key(name, len, &key);
	json_pointer_append(&p->pointer, key.len ? (char *)key.data : "", key.len);
}

static int find_value(struct place *p, const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");
		if (!p->at || !json_is_container(p->at))
			return -ENOENT;
		p->in = p->at;
		if (p->in->type == JSON_ARRAY)
			find_element(p, path, len);
		else
			find_member(p, path, len);
		path += len + (path[len] == '/');
	}
	return buf_failed(&p->pointer) ? -ENOMEM : 0;
}

/* 0, too, if there is no value but the one that it would be in. */
static int find(struct fusefs *fs, const char *path, bool settle, struct place *p)
{
	int r = replica_attr(fs->replica, &NODE_ROOT, &p->node);
	while (r == 0 && *path && p->node.kind == NODE_DIR) {
		size_t len = strcspn(path, "/");
		struct id dir = p->node.id;
		r = find_node(fs, &dir, path, len, settle, &p->node);
		path += len + (path[len] == '/');
	}
	if (r < 0 || p->node.kind == NODE_DIR)
		return r;
	r = doctree_get(fs, &p->node, &p->tree);
	if (r < 0)
		return r;
	p->at = doctree_root(p->tree);
	return find_value(p, path);
}

static bool is_dir(const struct place *p)
{
	return !p->tree || (p->at && json_is_container(p->at));
}

static bool is_there(const struct place *p)
{
	return !p->tree || p->at;
}

/* ---- reading ---- */

static int attr_of(const struct place *p, struct attr *ret)
{
	uint32_t read = p->node.mode & 0444;
	*ret = (struct attr){ .kind = is_dir(p) ? NODE_DIR : NODE_FILE,
			      .mtime_ns = p->node.mtime_ns,
			      .ctime_ns = p->node.ctime_ns };
	if (!p->tree) {
		ret->mode = p->node.mode & 0555;
	} else if (is_dir(p)) {
		ret->mode = (p->node.mode & 0666) | read >> 2;
	} else {
		_cleanup_(buf_done) struct buf b = { 0 };
		field_text(p->at, &b);
		ret->mode = p->node.mode & 0666;
		ret->size = ret->stored = b.len;
		return buf_failed(&b) ? -ENOMEM : 0;
	}
	return 0;
}

int fieldsdir_attr(struct fusefs *fs, const char *path, struct attr *ret)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find(fs, path, false, &p);
	if (r < 0)
		return r;
	return is_there(&p) ? attr_of(&p, ret) : -ENOENT;
}

int fieldsdir_type(struct fusefs *fs, const char *path, const char **ret)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find(fs, path, false, &p);
	if (r < 0)
		return r;
	if (!p.at)
		return -ENODATA;
	*ret = json_type_name(p.at);
	return 0;
}

int fieldsdir_open(struct fusefs *fs, const char *path, bool write, struct copy *to)
{
	_cleanup_(place_done) struct place p = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	int r = find(fs, path, false, &p);
	if (r < 0)
		return r;
	if (is_dir(&p))
		return -EISDIR;
	if (!p.at && !(write && p.free))
		return -ENOENT;
	if (p.at)
		field_text(p.at, &text);
	if (buf_failed(&text))
		return -ENOMEM;
	r = workfile_new(fs->spool, &to->work);
	if (r == 0)
		r = workfile_pwrite(to->work, text.data, text.len, 0);
	return r < 0 || !write ? r
			       : field_new(p.tree, (char *)p.pointer.data, p.pointer.len, p.at,
					   &to->field);
}

/* ---- listing ---- */

struct lister {
	struct fusefs *fs;
	struct id dir;
	list_fn f;
	void *userdata;
};

static int list_node(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	const struct lister *l = userdata;
	struct attr at = { .kind = attr->kind };
	if (attr->kind == NODE_DIR)
		return l->f(name, len, &at, l->userdata);
	if (find_document(l->fs, &l->dir, name, len, false, &at) < 0)
		return 0;
	at.kind = 0; /* a directory, unless it is a single value: that can be asked for */
	bool full = taken(l->fs, &l->dir, name, len - SUFFIX_LEN);
	return l->f(name, full ? len : len - SUFFIX_LEN, &at, l->userdata);
}

static int list_values(const struct json *in, list_fn f, void *userdata)
{
	_cleanup_(buf_done) struct buf name = { 0 };
	size_t i = 0;
	int r = 0;
	for (const struct json *j = in->first; r == 0 && j; j = j->next) {
		struct attr at = { .kind = json_is_container(j) ? NODE_DIR : NODE_FILE };
		buf_reset(&name);
		if (in->type == JSON_ARRAY)
			buf_putf(&name, "%zu", i++);
		else
			fieldname_put(&name, j->key, j->key_len);
		r = buf_failed(&name) ? -ENOMEM : f((char *)name.data, name.len, &at, userdata);
	}
	return r;
}

struct fresh {
	struct fusefs *fs;
	struct inode *inode[64];
	size_t n;
};

static void add_fresh(const struct overlay_entry *e, void *userdata)
{
	struct fresh *x = userdata;
	if (!e->inode || x->n == sizeof(x->inode) / sizeof(x->inode[0]) ||
	    !name_is_json(e->name, strlen(e->name)))
		return;
	e->inode->refs++; /* fs->lock is held */
	x->inode[x->n++] = e->inode;
}

/* New documents of a directory; of very many the rest comes when they settle. */
static void settle_dir(struct fusefs *fs, const struct id *dir)
{
	struct fresh x = { .fs = fs };
	local_each(fs, dir, add_fresh, &x);
	for (size_t k = 0; k < x.n; k++) {
		pthread_mutex_lock(&fs->names);
		commit_finished(fs, x.inode[k]);
		pthread_mutex_unlock(&fs->names);
		inode_put(fs, x.inode[k]);
	}
}

int fieldsdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find(fs, path, false, &p);
	if (r < 0)
		return r;
	if (!is_there(&p) || !is_dir(&p))
		return p.at ? -ENOTDIR : -ENOENT;
	if (p.tree)
		return list_values(p.at, f, userdata);
	settle_dir(fs, &p.node.id);
	struct lister l = { fs, p.node.id, f, userdata };
	return replica_list(fs->replica, &p.node.id, list_node, &l);
}

void fieldsdir_settle(struct fusefs *fs, const char *path)
{
	_cleanup_(place_done) struct place p = { 0 };
	find(fs, path, true, &p);
}

/* ---- changing ---- */

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* A place for a new value, which may be taken. */
static int find_new(struct fusefs *fs, const char *path, struct place *p)
{
	const char *name = last_name(path);
	int r = find(fs, path, false, p);
	if (r < 0 || p->at)
		return r == -ENOENT && !p->tree ? -EACCES : r;
	if (!p->in || name_is_local(name, strlen(name)))
		return -EACCES;
	return p->free ? 0 : -EINVAL;
}

/* The same path, with an index for - . */
static int new_path(const struct place *p, const char *path, struct buf *ret)
{
	const char *name = last_name(path);
	buf_put(ret, path, (size_t)(name - path));
	buf_puts(ret, p->in->type == JSON_ARRAY && !p->at ? p->index : name);
	return buf_failed(ret) ? -ENOMEM : 0;
}

int fieldsdir_create(struct fusefs *fs, const char *path, bool excl, struct buf *ret)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find_new(fs, path, &p);
	if (r < 0)
		return r;
	if (p.at && excl)
		return -EEXIST;
	if (p.at && is_dir(&p))
		return -EISDIR;
	return new_path(&p, path, ret);
}

int fieldsdir_mkdir(struct fusefs *fs, const char *path, struct buf *ret)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find_new(fs, path, &p);
	if (r == 0 && p.at)
		r = -EEXIST;
	if (r == 0)
		r = new_path(&p, path, ret);
	return r < 0 ? r : field_edit(fs, doctree_version(p.tree), "add", NULL, &p.pointer, "{}",
				      2, NULL, NULL);
}

int fieldsdir_remove(struct fusefs *fs, const char *path, bool dir)
{
	_cleanup_(place_done) struct place p = { 0 };
	int r = find(fs, path, false, &p);
	if (r < 0)
		return r;
	if (!is_there(&p))
		return -ENOENT;
	if (is_dir(&p) != dir)
		return dir ? -ENOTDIR : -EISDIR;
	if (!p.in)
		return -EACCES;
	/* The elements of a list move up: they cannot be told by their names, one after the other. */
	if (dir && p.at->type == JSON_OBJECT && p.at->count > 0)
		return -ENOTEMPTY;
	return field_edit(fs, doctree_version(p.tree), "remove", NULL, &p.pointer, NULL, 0, NULL,
			  NULL);
}

int fieldsdir_rename(struct fusefs *fs, const char *from, const char *to, unsigned flags)
{
	_cleanup_(place_done) struct place a = { 0 };
	_cleanup_(place_done) struct place b = { 0 };
	int r = find(fs, from, false, &a);
	if (r == 0)
		r = find_new(fs, to, &b);
	if (r < 0)
		return r;
	if (flags & RENAME_EXCHANGE)
		return -EINVAL;
	if (!is_there(&a))
		return -ENOENT;
	if (!a.in || !b.in)
		return -EACCES;
	if (!id_equal(&a.node.id, &b.node.id))
		return -EXDEV;
	if (a.in->type == JSON_ARRAY || b.in->type == JSON_ARRAY)
		return -EINVAL;
	if (b.at && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (b.at && is_dir(&a) != is_dir(&b))
		return is_dir(&b) ? -EISDIR : -ENOTDIR;
	if (b.at && is_dir(&b) && b.at->count > 0)
		return -ENOTEMPTY;
	return field_edit(fs, doctree_version(a.tree), "move", &a.pointer, &b.pointer, NULL, 0,
			  NULL, NULL);
}
