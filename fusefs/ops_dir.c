/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking names up and listing directories. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/event.h"
#include "fusefs/fs.h"
#include "fusefs/local.h"
#include "fusefs/saver.h"
#include "fusefs/shoaldir.h"

int make_entry(struct fusefs *fs, struct inode *i, struct fuse_entry_param *ret)
{
	double timeout = 0;
	*ret = (struct fuse_entry_param){ .ino = i->ino };
	/* Known to be looked up before its attributes are read, so that a change in between is
	 * notified. */
	inode_looked_up(fs, i);
	pthread_mutex_lock(&i->lock);
	int r = inode_attr(fs, i, &ret->attr, &timeout);
	ret->attr_timeout = timeout;
	ret->entry_timeout = i->backing == BACK_VIRTUAL ? timeout : FOREVER;
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		inode_forget(fs, i->ino, 1);
	return r;
}

void reply_entry(fuse_req_t req, struct fusefs *fs, struct inode *i)
{
	struct fuse_entry_param e;
	int r = make_entry(fs, i, &e);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (fuse_reply_entry(req, &e) < 0)
		inode_forget(fs, i->ino, 1);
}

/* The directory's node id; false when it is none. */
static bool dir_id(struct inode *i, struct id *ret)
{
	pthread_mutex_lock(&i->lock);
	bool ok = i->backing == BACK_NODE && i->kind == NODE_DIR;
	*ret = i->id;
	pthread_mutex_unlock(&i->lock);
	return ok;
}

int dir_find(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret)
{
	struct id parent, hidden = { 0 };
	struct attr attr;
	if (dir->backing == BACK_VIRTUAL)
		return shoaldir_lookup(fs, dir, name, ret);
	if (strlen(name) > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (!dir_id(dir, &parent))
		return dir->kind == NODE_DIR ? -ENOENT : -ENOTDIR;
	if (dir->ino == INO_ROOT && strcmp(name, ".shoal") == 0)
		return inode_of_virtual(fs, "", NODE_DIR, ret);
	enum overlay o = local_find(fs, &parent, name, ret, &hidden);
	if (o == OVERLAY_LOCAL)
		return 0;
	int r = replica_lookup(fs->replica, &parent, name, strlen(name), &attr);
	if (r < 0)
		return r;
	if (o == OVERLAY_TOMB && id_equal(&hidden, &attr.id))
		return -ENOENT;
	r = inode_of_node(fs, &attr, ret);
	if (r < 0)
		return r;
	pthread_mutex_lock(&(*ret)->lock);
	inode_set_place(*ret, &parent, name);
	(*ret)->last = attr;
	pthread_mutex_unlock(&(*ret)->lock);
	return 0;
}

/* How long the kernel may keep an entry, or that there is none. */
static double life(struct fusefs *fs, struct inode *dir, const char *name)
{
	struct id id;
	if (dir->backing == BACK_VIRTUAL)
		return 0;
	return dir_id(dir, &id) && event_awaits(fs->events, &id, name) ? 0 : FOREVER;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct inode *dir = inode_get(fs, parent), *i = NULL;
	if (!dir) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (event_lookup(req, dir, name)) {
		inode_put(fs, dir);
		return;
	}
	struct fuse_entry_param e = { 0 };
	int r = dir_find(fs, dir, name, &i);
	bool there = r == 0;
	if (there)
		r = make_entry(fs, i, &e);
	else if (r == -ENOENT)
		r = 0;
	if (r == 0 && (!there || e.entry_timeout > 0))
		e.entry_timeout = life(fs, dir, name);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (fuse_reply_entry(req, &e) < 0 && there)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
	inode_put(fs, dir);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	inode_forget(fs_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t k = 0; k < count; k++)
		inode_forget(fs_of(req), forgets[k].ino, forgets[k].nlookup);
	fuse_reply_none(req);
}

/* ---- listing: a snapshot for each opening, so that offsets are stable ---- */

struct dirent {
	char *name;
	struct attr attr;    /* a node */
	struct inode *inode; /* or a local file, referenced */
};

struct dir {
	pthread_mutex_t lock;
	struct dirent *item;
	size_t n, cap;
	bool filled;
	int error;
};

static struct dirent *add(struct dir *d, const char *name, size_t len)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 32;
		struct dirent *x = reallocarray(d->item, cap, sizeof(*x));
		if (!x)
			return NULL;
		d->item = x;
		d->cap = cap;
	}
	struct dirent *x = &d->item[d->n];
	*x = (struct dirent){ .name = strndup(name, len) };
	if (!x->name)
		return NULL;
	d->n++;
	return x;
}

static void clear(struct fusefs *fs, struct dir *d)
{
	for (size_t k = 0; k < d->n; k++) {
		free(d->item[k].name);
		inode_put(fs, d->item[k].inode);
	}
	d->n = 0;
	d->filled = false;
}

static int add_node(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct dirent *x = add(userdata, name, len);
	if (!x)
		return -ENOMEM;
	x->attr = *attr;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct dirent *)a)->name, ((const struct dirent *)b)->name);
}

/* A local name, or (no inode, no kind) a tombstone that hides attr.id. */
static void add_overlay(const struct overlay_entry *e, void *userdata)
{
	struct dirent *x = add(userdata, e->name, strlen(e->name));
	if (!x)
		return;
	if (e->inode)
		e->inode->refs++; /* fs->lock is held */
	x->inode = e->inode;
	x->attr.id = e->node;
}

/* Nodes, less what is hidden, and local names, in one order. The local names are looked at first:
 * a file that settles in between is seen twice then, and not missed. */
static int merge(struct fusefs *fs, const struct id *id, struct dir *d)
{
	local_each(fs, id, add_overlay, d);
	size_t laid = d->n;
	if (laid)
		qsort(d->item, laid, sizeof(*d->item), compare);
	int r = replica_list(fs->replica, id, add_node, d);
	if (r < 0 || !laid)
		return r;
	for (size_t k = laid; k < d->n; k++) {
		struct dirent *node = &d->item[k];
		const struct dirent *x = bsearch(node, d->item, laid, sizeof(*x), compare);
		if (x && (x->inode || id_equal(&x->attr.id, &node->attr.id)))
			node->attr.kind = 0;
	}
	size_t kept = 0;
	for (size_t k = 0; k < d->n; k++) {
		if (d->item[k].inode || d->item[k].attr.kind)
			d->item[kept++] = d->item[k];
		else
			free(d->item[k].name);
	}
	d->n = kept;
	qsort(d->item, d->n, sizeof(*d->item), compare);
	return 0;
}

/* Another device may have made something of that name: it is not to be reached, and not shown. */
static void hide_shoal(struct fusefs *fs, struct dir *d)
{
	size_t kept = 0;
	for (size_t k = 0; k < d->n; k++) {
		if (strcmp(d->item[k].name, ".shoal") != 0) {
			d->item[kept++] = d->item[k];
			continue;
		}
		free(d->item[k].name);
		inode_put(fs, d->item[k].inode);
	}
	d->n = kept;
}

static int fill(struct fusefs *fs, struct inode *i, struct dir *d)
{
	struct id id;
	clear(fs, d);
	d->filled = true;
	if (i->backing == BACK_VIRTUAL)
		return shoaldir_list(fs, i, add_node, d);
	int r = dir_id(i, &id) ? merge(fs, &id, d) : -ENOENT;
	if (i->ino == INO_ROOT)
		hide_shoal(fs, d);
	return r;
}

static struct dir *dir_new(void)
{
	struct dir *d = calloc(1, sizeof(*d));
	if (d)
		pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void dir_free(struct fusefs *fs, struct dir *d)
{
	clear(fs, d);
	free(d->item);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static struct dir *dir_of(fuse_req_t req, const struct fuse_file_info *fi)
{
	return slots_get(&fs_of(req)->lists, fi->fh);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct dir *d = dir_new();
	fi->fh = d ? slots_add(&fs_of(req)->lists, d) : 0;
	if (fi->fh) {
		fuse_reply_open(req, fi);
		return;
	}
	if (d)
		dir_free(fs_of(req), d);
	fuse_reply_err(req, ENOMEM);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct dir *d = dir_of(req, fi);
	slots_remove(&fs->lists, fi->fh);
	dir_free(fs, d);
	fuse_reply_err(req, 0);
}

/* Below .shoal the kernel keeps nothing: what it wants to know of a name it asks for. */
static void set_virtual(const struct inode *dir, const struct dirent *x, struct stat *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	enum node_kind kind = x->attr.kind ? x->attr.kind : NODE_DIR;
	if (dir->virtual_path[0])
		buf_putf(&b, "%s/", dir->virtual_path);
	buf_puts(&b, x->name);
	const char *path = buf_cstr(&b);
	ret->st_ino = path ? inode_virtual_number(path, kind) : 1;
	if (x->attr.kind)
		ret->st_mode = x->attr.kind == NODE_DIR	   ? S_IFDIR
			       : x->attr.kind == NODE_LINK ? S_IFLNK
							   : S_IFREG;
}

/* One entry into the answer; its size, or more than room. */
static size_t emit(fuse_req_t req, struct fusefs *fs, struct inode *dir, struct dir *d, size_t at,
		   bool plus, char *p, size_t room)
{
	static const char *const dots[] = { ".", ".." };
	struct fuse_entry_param e = { 0 };
	off_t next = (off_t)at + 1;
	if (at < 2) {
		e.attr.st_ino = dir->ino;
		e.attr.st_mode = S_IFDIR;
		return plus ? fuse_add_direntry_plus(req, p, room, dots[at], &e, next)
			    : fuse_add_direntry(req, p, room, dots[at], &e.attr, next);
	}
	struct dirent *x = &d->item[at - 2];
	if (dir->backing == BACK_VIRTUAL) {
		set_virtual(dir, x, &e.attr);
		return plus ? fuse_add_direntry_plus(req, p, room, x->name, &e, next)
			    : fuse_add_direntry(req, p, room, x->name, &e.attr, next);
	}
	if (!plus) {
		if (x->inode) {
			e.attr.st_ino = x->inode->ino;
			e.attr.st_mode = inode_type(x->inode);
		} else {
			inode_stat_node(fs, inode_number(fs, &x->attr.id, x->attr.kind), &x->attr,
					&e.attr);
		}
		return fuse_add_direntry(req, p, room, x->name, &e.attr, next);
	}
	size_t need = fuse_add_direntry_plus(req, NULL, 0, x->name, &e, next);
	if (need > room)
		return need;
	struct inode *i = NULL;
	/* Asked for again, so that what is not there any more is not handed out. */
	int r = dir_find(fs, dir, x->name, &i);
	if (r == 0)
		r = make_entry(fs, i, &e);
	if (r == 0 && e.entry_timeout > 0)
		e.entry_timeout = life(fs, dir, x->name);
	if (r < 0) {
		e = (struct fuse_entry_param){ 0 };
		e.attr.st_ino = inode_number(fs, &x->attr.id, x->attr.kind);
		e.attr.st_mode = S_IFREG;
	}
	inode_put(fs, i);
	return fuse_add_direntry_plus(req, p, room, x->name, &e, next);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
		 bool plus)
{
	struct fusefs *fs = fs_of(req);
	struct dir *d = dir_of(req, fi);
	struct inode *i = inode_get(fs, ino);
	_cleanup_free_ char *room = malloc(size);
	if (!i || !room) {
		inode_put(fs, i);
		fuse_reply_err(req, i ? ENOMEM : ESTALE);
		return;
	}
	size_t used = 0;
	int r = 0;
	pthread_mutex_lock(&d->lock);
	if (off == 0 || !d->filled)
		r = fill(fs, i, d);
	for (size_t at = (size_t)off; r == 0 && at < d->n + 2; at++) {
		size_t n = emit(req, fs, i, d, at, plus, room + used, size - used);
		if (n > size - used)
			break;
		used += n;
	}
	pthread_mutex_unlock(&d->lock);
	inode_put(fs, i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, room, used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, true);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	struct err e = { 0 };
	int r = replica_flush(fs_of(req)->replica, &e);
	fuse_reply_err(req, r < 0 ? -r : 0);
}

/* ---- handing over ---- */

void ops_dir_save(struct fusefs *fs, struct saver *s)
{
	for (uint64_t k = slots_next(&fs->lists, 1); k; k = slots_next(&fs->lists, k + 1)) {
		const struct dir *d = slots_get(&fs->lists, k);
		save_u64(s, k);
		save_bool(s, d->filled);
		save_u64(s, d->n);
		for (size_t n = 0; n < d->n; n++) {
			save_text(s, d->item[n].name);
			save_attr(s, &d->item[n].attr);
			save_u64(s, d->item[n].inode ? d->item[n].inode->ino : 0);
		}
	}
	save_u64(s, 0);
}

static void load_items(struct fusefs *fs, struct loader *l, struct dir *d)
{
	d->filled = load_bool(l);
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		_cleanup_free_ char *name = load_text(l);
		struct dirent *x = name ? add(d, name, strlen(name)) : NULL;
		if (!x) {
			load_fail(l, -ENOMEM);
			return;
		}
		load_attr(l, &x->attr);
		uint64_t ino = load_u64(l);
		x->inode = ino ? inode_get(fs, ino) : NULL;
	}
}

void ops_dir_load(struct fusefs *fs, struct loader *l)
{
	for (uint64_t k = load_u64(l); k && load_ok(l); k = load_u64(l)) {
		struct dir *d = dir_new();
		int r = d ? slots_put(&fs->lists, k, d) : -ENOMEM;
		if (r == 0) {
			load_items(fs, l, d);
			continue;
		}
		if (d)
			dir_free(fs, d);
		load_fail(l, r);
	}
}

void ops_dir_done(struct fusefs *fs)
{
	for (uint64_t k = slots_next(&fs->lists, 1); k; k = slots_next(&fs->lists, k + 1))
		dir_free(fs, slots_get(&fs->lists, k));
	slots_done(&fs->lists);
}

void ops_dir_fill(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = op_lookup;
	ops->forget = op_forget;
	ops->forget_multi = op_forget_multi;
	ops->opendir = op_opendir;
	ops->releasedir = op_releasedir;
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->fsyncdir = op_fsyncdir;
}
