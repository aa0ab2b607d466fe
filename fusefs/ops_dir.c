/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking names up and listing directories. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"
#include "fusefs/dirpages.h"
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
	if (there) {
		atomic_fetch_add_explicit(&dir->asked, 1, memory_order_relaxed);
		r = make_entry(fs, i, &e);
	}
	if (r == -ENOENT && !there)
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

/* ---- listing: what was there when an opening began, so that it sees each name once ----
 *
 * The offset of a name is made of the name alone and names come in the order of their offsets. So one that
 * is there all the time has its place in every listing, whatever comes and goes around it. */

#define OFFSET_DOTS 2 /* of ".."; that of "." is less */
/* In a directory of more names than this the kernel is given attributes only while somebody asks for them, name by
 * name: each costs both sides the memory of an inode. Then the next answer of the listing has them, and the
 * next two when names are asked for again, up to PLUS_ANSWERS. */
#define PLUS_MAX (128 * 1024)
#define PLUS_ANSWERS 64

struct dirent {
	off_t offset; /* the next one's are greater */
	const char *name;
	struct id id;
	enum node_kind kind; /* of a node; 0: a local name, or what hides a node */
	struct inode *inode; /* the local file, referenced */
};

struct dir {
	struct fusefs *fs;
	pthread_mutex_t lock;
	fuse_ino_t ino;
	struct arena names;
	struct dirent *item;
	size_t n, cap;
	bool filled;
	unsigned asked, plus_next, plus_left;
	struct dirpages pages;
};

static struct dirent *add(struct dir *d, const char *name, size_t len)
{
	if (d->n == QUICK_NAMES)
		turn_pass(&d->fs->turns);
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 32;
		struct dirent *x = reallocarray(d->item, cap, sizeof(*x));
		if (!x)
			return NULL;
		d->item = x;
		d->cap = cap;
	}
	struct dirent *x = &d->item[d->n];
	*x = (struct dirent){ .name = arena_dup(&d->names, name, len) };
	if (!x->name)
		return NULL;
	/* 61 bits: programs and the kernel want it positive, and those of equal hash are told apart. */
	x->offset = (off_t)(table_hash_bytes(name, len, 0) >> 3) + OFFSET_DOTS + 1;
	d->n++;
	return x;
}

static void clear(struct fusefs *fs, struct dir *d)
{
	for (size_t k = 0; k < d->n; k++)
		inode_put(fs, d->item[k].inode);
	d->n = 0;
	d->filled = false;
	arena_reset(&d->names);
}

static int add_name(const char *name, size_t len, const struct id *id, enum node_kind kind,
		    void *userdata)
{
	struct dirent *x = add(userdata, name, len);
	if (!x)
		return -ENOMEM;
	x->id = *id;
	x->kind = kind;
	return 0;
}

static int add_node(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	return add_name(name, len, &attr->id, attr->kind, userdata);
}

/* A local name, or (no inode, no kind) a tombstone that hides a node. */
static void add_overlay(const struct overlay_entry *e, void *userdata)
{
	struct dirent *x = add(userdata, e->name, strlen(e->name));
	if (!x)
		return;
	if (e->inode)
		e->inode->refs++; /* fs->lock is held */
	x->inode = e->inode;
	x->id = e->node;
}

/* What is laid over a node stands before it. */
static int compare(const void *a, const void *b)
{
	const struct dirent *x = a, *y = b;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	int c = strcmp(x->name, y->name);
	return c ? c : (x->kind != 0) - (y->kind != 0);
}

/* Another device may have made something of that name: it is not to be reached, and not shown. */
static bool is_shoal(const struct inode *dir, const struct dirent *x)
{
	return dir->ino == INO_ROOT && strcmp(x->name, ".shoal") == 0;
}

/* Below .shoal the order says something, as that of a list's elements. */
static void arrange_virtual(struct dir *d)
{
	for (size_t k = 0; k < d->n; k++)
		d->item[k].offset = (off_t)k + OFFSET_DOTS + 1;
}

/* In order, less what is hidden and what hides it; each offset is greater than that of the one before. */
static void arrange(struct fusefs *fs, const struct inode *dir, struct dir *d)
{
	const struct dirent *over = NULL; /* what is laid over this name */
	struct dirent last = { 0 };
	off_t offset = OFFSET_DOTS;
	size_t kept = 0;
	if (d->n)
		qsort(d->item, d->n, sizeof(*d->item), compare);
	for (size_t k = 0; k < d->n; k++) {
		struct dirent x = d->item[k];
		if (over && strcmp(over->name, x.name) != 0)
			over = NULL;
		bool hidden = over && (over->inode || id_equal(&over->id, &x.id));
		if (!x.kind) {
			last = x;
			over = &last;
			hidden = !x.inode;
		}
		if (hidden || is_shoal(dir, &x)) {
			inode_put(fs, x.inode);
			continue;
		}
		x.offset = offset = x.offset > offset ? x.offset : offset + 1;
		d->item[kept++] = x;
	}
	d->n = kept;
}

/* Nodes and local names. The local names are looked at first: a file that settles in between is seen
 * twice then, and not missed. */
static int fill(struct fusefs *fs, struct inode *i, struct dir *d)
{
	struct id id;
	int r;
	clear(fs, d);
	d->filled = true;
	if (i->backing == BACK_VIRTUAL) {
		r = shoaldir_list(fs, i, add_node, d);
		arrange_virtual(d);
	} else if (dir_id(i, &id)) {
		dirpages_read(fs, i, &d->pages);
		local_each(fs, &id, add_overlay, d);
		r = replica_names(fs->replica, &id, add_name, d);
		arrange(fs, i, d);
	} else {
		r = -ENOENT;
	}
	return r;
}

static struct dir *dir_new(struct fusefs *fs, fuse_ino_t ino)
{
	struct dir *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->fs = fs;
	d->ino = ino;
	return d;
}

static void dir_free(struct fusefs *fs, struct dir *d)
{
	clear(fs, d);
	arena_done(&d->names);
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
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	struct dir *d = i ? dir_new(fs, ino) : NULL;
	struct id id;
	fi->fh = d ? slots_add(&fs->lists, d) : 0;
	if (fi->fh && dir_id(i, &id)) {
		struct proc who;
		dirpages_open(fs, i, &d->pages, fi);
		procs_of(&fs->procs, fuse_req_ctx(req)->pid, monotonic_ns(), &who);
		scanner_lists(&fs->scanners, &who, monotonic_ns());
	}
	inode_put(fs, i);
	if (fi->fh) {
		fuse_reply_open(req, fi);
		return;
	}
	if (d)
		dir_free(fs, d);
	fuse_reply_err(req, i ? ENOMEM : ESTALE);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	struct dir *d = dir_of(req, fi);
	slots_remove(&fs->lists, fi->fh);
	if (i)
		dirpages_close(fs, i, &d->pages);
	inode_put(fs, i);
	dir_free(fs, d);
	fuse_reply_err(req, 0);
}

static mode_t mode_of(enum node_kind kind)
{
	return kind == NODE_DIR ? S_IFDIR : kind == NODE_LINK ? S_IFLNK : S_IFREG;
}

/* Below .shoal the kernel keeps nothing: what it wants to know of a name it asks for. */
static void set_virtual(const struct inode *dir, const struct dirent *x, struct stat *ret)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	enum node_kind kind = x->kind ? x->kind : NODE_DIR;
	if (dir->virtual_path[0])
		buf_putf(&b, "%s/", dir->virtual_path);
	buf_puts(&b, x->name);
	const char *path = buf_cstr(&b);
	ret->st_ino = path ? inode_virtual_number(path, kind) : 1;
	if (x->kind)
		ret->st_mode = mode_of(x->kind);
}

/* Its number and type only. */
static void set_named(struct fusefs *fs, const struct inode *dir, const struct dirent *x,
		      struct stat *ret)
{
	if (dir->backing == BACK_VIRTUAL) {
		set_virtual(dir, x, ret);
		return;
	}
	ret->st_ino = x->inode ? x->inode->ino : inode_number(fs, &x->id, x->kind);
	ret->st_mode = x->inode ? inode_type(x->inode) : mode_of(x->kind);
}

/* What stands under the name, asked for again, so that what is not there any more is not handed out. */
static void set_found(struct fusefs *fs, struct inode *dir, const struct dirent *x,
		      struct fuse_entry_param *ret)
{
	struct inode *i = NULL;
	int r = dir_find(fs, dir, x->name, &i);
	if (r == 0)
		r = make_entry(fs, i, ret);
	if (r == 0 && ret->entry_timeout > 0)
		ret->entry_timeout = life(fs, dir, x->name);
	if (r < 0) {
		*ret = (struct fuse_entry_param){ 0 };
		set_named(fs, dir, x, &ret->attr);
	}
	inode_put(fs, i);
}

static size_t emit_dots(fuse_req_t req, const struct inode *dir, off_t offset, bool plus, char *p,
			size_t room)
{
	struct fuse_entry_param e = { .attr = { .st_ino = dir->ino, .st_mode = S_IFDIR } };
	const char *name = offset < OFFSET_DOTS ? "." : "..";
	return plus ? fuse_add_direntry_plus(req, p, room, name, &e, offset)
		    : fuse_add_direntry(req, p, room, name, &e.attr, offset);
}

/* One entry into the answer; its size, or more than room. */
static size_t emit(fuse_req_t req, struct inode *dir, const struct dirent *x, bool plus, bool attributes,
		   char *p, size_t room)
{
	struct fusefs *fs = fs_of(req);
	struct fuse_entry_param e = { 0 };
	if (!plus) {
		set_named(fs, dir, x, &e.attr);
		return fuse_add_direntry(req, p, room, x->name, &e.attr, x->offset);
	}
	size_t need = fuse_add_direntry_plus(req, NULL, 0, x->name, &e, x->offset);
	if (need > room)
		return need;
	if (dir->backing == BACK_VIRTUAL || !attributes)
		set_named(fs, dir, x, &e.attr);
	else
		set_found(fs, dir, x, &e);
	return fuse_add_direntry_plus(req, p, room, x->name, &e, x->offset);
}

/* The first one behind an offset. */
static size_t find_behind(const struct dir *d, off_t offset)
{
	size_t low = 0, high = d->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (d->item[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool wants_attributes(struct inode *dir, struct dir *d)
{
	const unsigned asked = atomic_load_explicit(&dir->asked, memory_order_relaxed);
	if (d->n <= PLUS_MAX)
		return true;
	if (asked != d->asked) {
		d->plus_next = d->plus_next == 0 ? 1 : d->plus_next < PLUS_ANSWERS ? 2 * d->plus_next : PLUS_ANSWERS;
		d->plus_left = d->plus_next;
	}
	d->asked = asked;
	if (d->plus_left == 0)
		return false;
	d->plus_left--;
	return true;
}

/* All that fits into room, from behind an offset on. */
static size_t emit_some(fuse_req_t req, struct inode *dir, struct dir *d, off_t offset, bool plus, char *room,
			size_t size)
{
	const bool attributes = plus && wants_attributes(dir, d);
	size_t used = 0, n;
	for (; offset < OFFSET_DOTS; offset++) {
		n = emit_dots(req, dir, offset + 1, plus, room + used, size - used);
		if (n > size - used)
			return used;
		used += n;
	}
	for (size_t at = find_behind(d, offset); at < d->n; at++) {
		n = emit(req, dir, &d->item[at], plus, attributes, room + used, size - used);
		if (n > size - used)
			return used;
		used += n;
	}
	return used;
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
	if (off == 0 || !d->filled) {
		r = fill(fs, i, d);
		d->asked = atomic_load_explicit(&i->asked, memory_order_relaxed);
		d->plus_next = d->plus_left = 0;
	}
	if (r == 0)
		used = emit_some(req, i, d, off, plus, room, size);
	if (r == 0 && used == 0)
		dirpages_end(fs, i, &d->pages);
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
		save_u64(s, d->ino);
		save_bool(s, d->pages.fills);
		save_bool(s, d->filled);
		save_u64(s, d->n);
		for (size_t n = 0; n < d->n; n++) {
			save_text(s, d->item[n].name);
			save_u64(s, (uint64_t)d->item[n].offset);
			save_id(s, &d->item[n].id);
			buf_u8(s->out, (uint8_t)d->item[n].kind);
			save_u64(s, d->item[n].inode ? d->item[n].inode->ino : 0);
		}
	}
	save_u64(s, 0);
}

static void load_items(struct fusefs *fs, struct loader *l, struct dir *d)
{
	d->pages.fills = load_bool(l);
	d->filled = load_bool(l);
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		_cleanup_free_ char *name = load_text(l);
		struct dirent *x = name ? add(d, name, strlen(name)) : NULL;
		if (!x) {
			load_fail(l, -ENOMEM);
			return;
		}
		x->offset = (off_t)load_u64(l);
		load_id(l, &x->id);
		x->kind = (enum node_kind)cursor_u8(&l->in);
		uint64_t ino = load_u64(l);
		x->inode = ino ? inode_get(fs, ino) : NULL;
	}
}

void ops_dir_load(struct fusefs *fs, struct loader *l)
{
	for (uint64_t k = load_u64(l); k && load_ok(l); k = load_u64(l)) {
		struct dir *d = dir_new(fs, load_u64(l));
		int r = d ? slots_put(&fs->lists, k, d) : -ENOMEM;
		if (r == 0) {
			load_items(fs, l, d);
			struct inode *i = inode_get(fs, d->ino);
			if (i)
				dirpages_taken(fs, i, &d->pages);
			inode_put(fs, i);
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
