/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "engine/store.h"
#include "fusefs/draft.h"
#include "fusefs/fs.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/plain.h"

enum { FLAG_UNSETTLED = 1, FLAG_ASIDE = 2, FLAG_MTIME = 4, FLAG_ASTRAY = 8,
       FLAG_IGNORED = 16 };
enum { CONTENT_NONE = 0, CONTENT_INLINE = 1, CONTENT_SPOOL = 2, CONTENT_DIR = 3 };

/* The entries of one directory. */
struct overlay_dir {
	struct table_link link;
	struct id id;
	struct overlay_entry *first;
};

struct local *local_new(const struct id *parent, const char *name, uint32_t mode)
{
	struct local *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->name = strdup(name);
	if (!l->name) {
		free(l);
		return NULL;
	}
	l->parent = *parent;
	l->mode = mode;
	l->mtime_ns = wall_ns();
	l->named_us = (uint64_t)l->mtime_ns / 1000;
	l->born_ns = monotonic_ns();
	return l;
}

void local_free(struct local *l)
{
	if (!l)
		return;
	hardlink_free(l);
	free(l->name);
	free(l->target);
	buf_done(&l->xattr);
	if (l->about_version)
		version_unref(l->about_version);
	free(l);
}

static uint64_t overlay_hash(const struct id *parent, const char *name)
{
	return table_hash_bytes(name, strlen(name), id_hash(parent));
}

struct overlay_entry *overlay_get(struct fusefs *fs, const struct id *parent, const char *name)
{
	uint64_t h = overlay_hash(parent, name);
	for (struct table_link *l = table_first(&fs->overlay, h); l; l = l->next) {
		struct overlay_entry *e = table_entry(l, struct overlay_entry, link);
		if (l->hash == h && id_equal(&e->parent, parent) && strcmp(e->name, name) == 0)
			return e;
	}
	return NULL;
}

static struct overlay_dir *find_dir(struct fusefs *fs, const struct id *id)
{
	for (struct table_link *l = table_first(&fs->overlay_dirs, id_hash(id)); l; l = l->next) {
		struct overlay_dir *d = table_entry(l, struct overlay_dir, link);
		if (id_equal(&d->id, id))
			return d;
	}
	return NULL;
}

static struct overlay_dir *make_dir(struct fusefs *fs, const struct id *id)
{
	struct overlay_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->id = *id;
	if (table_add(&fs->overlay_dirs, &d->link, id_hash(id)) < 0) {
		free(d);
		return NULL;
	}
	return d;
}

static void drop_empty(struct fusefs *fs, struct overlay_dir *d)
{
	if (d->first)
		return;
	table_remove(&fs->overlay_dirs, &d->link);
	free(d);
}

int overlay_put(struct fusefs *fs, struct overlay_entry *e)
{
	if (overlay_get(fs, &e->parent, e->name))
		return -EEXIST;
	struct overlay_dir *d = find_dir(fs, &e->parent);
	if (!d)
		d = make_dir(fs, &e->parent);
	if (!d)
		return -ENOMEM;
	if (table_add(&fs->overlay, &e->link, overlay_hash(&e->parent, e->name)) < 0) {
		drop_empty(fs, d);
		return -ENOMEM;
	}
	e->dir = d;
	e->before = NULL;
	e->behind = d->first;
	if (d->first)
		d->first->before = e;
	d->first = e;
	return 0;
}

void overlay_take(struct fusefs *fs, struct overlay_entry *e)
{
	table_remove(&fs->overlay, &e->link);
	if (e->behind)
		e->behind->before = e->before;
	if (e->before)
		e->before->behind = e->behind;
	else
		e->dir->first = e->behind;
	drop_empty(fs, e->dir);
	e->dir = NULL;
}

void overlay_key(struct buf *b, char type, const struct id *parent, const char *name)
{
	buf_put(b, "f/", 2);
	buf_u8(b, (uint8_t)type);
	buf_put(b, parent->b, ID_SIZE);
	if (name)
		buf_puts(b, name);
}

int local_list(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	struct overlay_entry *e = calloc(1, sizeof(*e));
	char *text = strdup(name);
	if (!e || !text) {
		free(e);
		free(text);
		return -ENOMEM;
	}
	e->parent = *parent;
	e->name = text;
	e->inode = i;
	pthread_mutex_lock(&fs->lock);
	int r = overlay_put(fs, e);
	if (r == 0) {
		i->refs++;
		fs->n_local++;
	}
	pthread_mutex_unlock(&fs->lock);
	if (r < 0) {
		free(e->name);
		free(e);
	}
	return r;
}

int local_add(struct fusefs *fs, struct inode *i)
{
	return local_list(fs, i, &i->local->parent, i->local->name);
}

void local_unlist(struct fusefs *fs, const struct id *parent, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	struct overlay_entry *e = overlay_get(fs, parent, name);
	struct inode *i = NULL;
	if (e && e->inode) {
		overlay_take(fs, e);
		fs->n_local--;
		i = e->inode;
	} else {
		e = NULL;
	}
	pthread_mutex_unlock(&fs->lock);
	if (e) {
		free(e->name);
		free(e);
		inode_put(fs, i);
	}
}

/* The records of all its names. */
static void drop_records(const struct local *l, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	overlay_key(&key, 'L', &l->parent, l->name);
	if (l->stored && !buf_failed(&key))
		store_delete(b, STORE_LOCAL, key.data, key.len);
	if (l->stored)
		hardlink_forget(l, b);
}

static void drop_spool(struct fusefs *fs, struct local *l)
{
	if (l->spool[0])
		unlinkat(fs->spool, l->spool, 0);
	l->spool[0] = '\0';
}

void local_remove(struct fusefs *fs, struct inode *i)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	struct local *l = i->local;
	if (l->stored && store_batch_new(&b) == 0) {
		drop_records(l, b);
		replica_local_write(fs->replica, b);
	}
	l->stored = false;
	drop_spool(fs, l);
	local_unlist(fs, &l->parent, l->name);
}

static int put_records(struct fusefs *fs, struct inode *i, bool sync, struct store_batch *b);

/* The name is another one, and the records with it, in one step; text is taken over. */
int local_named(struct fusefs *fs, struct inode *i, const struct id *parent, char *text)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	struct local *l = i->local;
	int r = l->stored ? local_content(fs, i) : 0;
	if (r == 0)
		r = store_batch_new(&b);
	if (r < 0) {
		free(text);
		return r;
	}
	drop_records(l, b);
	/* Perhaps a further name until now. */
	if (l->also)
		hardlink_forget_one(parent, text, b);
	free(l->name);
	l->name = text;
	l->parent = *parent;
	l->named_us = replica_now_us(fs->replica);
	if (!l->stored)
		return 0;
	r = put_records(fs, i, false, b);
	return r < 0 ? r : replica_local_write(fs->replica, b);
}

int local_renamed(struct fusefs *fs, struct inode *i, const struct id *parent, char *text)
{
	local_unlist(fs, &i->local->parent, i->local->name);
	return local_named(fs, i, parent, text);
}

int local_move(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	int r = i->local->stored ? local_content(fs, i) : 0;
	if (r < 0)
		return r;
	char *text = strdup(name);
	r = text ? local_list(fs, i, parent, name) : -ENOMEM;
	if (r < 0) {
		free(text);
		return r;
	}
	return local_renamed(fs, i, parent, text);
}

enum overlay local_find(struct fusefs *fs, const struct id *parent, const char *name,
			struct inode **ret_inode, struct id *ret_node)
{
	enum overlay what = OVERLAY_NONE;
	pthread_mutex_lock(&fs->lock);
	struct overlay_entry *e = overlay_get(fs, parent, name);
	if (e && e->inode) {
		what = OVERLAY_LOCAL;
		e->inode->refs++;
		*ret_inode = e->inode;
	} else if (e) {
		what = OVERLAY_TOMB;
		*ret_node = e->node;
	}
	pthread_mutex_unlock(&fs->lock);
	return what;
}

void local_each(struct fusefs *fs, const struct id *parent, local_entry_fn f, void *userdata)
{
	pthread_mutex_lock(&fs->lock);
	struct overlay_dir *d = find_dir(fs, parent);
	for (const struct overlay_entry *e = d ? d->first : NULL; e; e = e->behind)
		f(e, userdata);
	pthread_mutex_unlock(&fs->lock);
}

/* ---- records ---- */

/* A record of the store. */
struct kept {
	uint8_t flags, kind;
	uint32_t mode;
	int64_t mtime_ns;
	uint64_t named_us;
	struct owner owner;
	int64_t ctime_ns;
	dev_t rdev;
	const uint8_t *target, *xattr, *content;
	size_t target_len, xattr_len, content_len;
};

/* -EPROTONOSUPPORT, -EPROTO: damaged, nothing that could be shown. */
static int kept_decode(struct fusefs *fs, const uint8_t *value, size_t len, struct kept *ret)
{
	struct cursor c = cursor_make(value, len);
	const uint8_t format = cursor_u8(&c);
	if (format != 1 && format != 2)
		return -EPROTONOSUPPORT;
	ret->flags = cursor_u8(&c);
	ret->mode = cursor_u32(&c);
	ret->mtime_ns = (int64_t)cursor_u64(&c);
	ret->named_us = cursor_u64(&c);
	ret->owner = (struct owner){ fs->options.uid, fs->options.gid };
	ret->ctime_ns = ret->mtime_ns;
	ret->rdev = 0;
	if (format == 2) {
		ret->owner.uid = cursor_u32(&c);
		ret->owner.gid = cursor_u32(&c);
		ret->ctime_ns = (int64_t)cursor_u64(&c);
		ret->rdev = cursor_u64(&c);
	}
	ret->target = cursor_bytes(&c, LINK_SIZE_MAX, &ret->target_len);
	ret->xattr = cursor_bytes(&c, 1u << 20, &ret->xattr_len);
	ret->kind = cursor_u8(&c);
	ret->content = cursor_bytes(&c, LOCAL_INLINE, &ret->content_len);
	return cursor_ok(&c) ? 0 : -EPROTO;
}

/* The content of a file at rest is in its record. */
static int put_again(struct fusefs *fs, const struct buf *key, struct buf *b)
{
	_cleanup_(buf_done) struct buf value = { 0 };
	struct kept k;
	int r = replica_local_get(fs->replica, key->data, key->len, &value);
	if (r >= 0)
		r = kept_decode(fs, value.data, value.len, &k);
	if (r < 0)
		return r;
	buf_u8(b, k.kind);
	buf_bytes(b, k.content, k.content_len);
	return 0;
}

static int put_content(struct fusefs *fs, struct inode *i, const struct buf *key, struct buf *b,
		       bool sync)
{
	struct local *l = i->local;
	if (i->kind == NODE_DIR) {
		buf_u8(b, CONTENT_DIR);
		buf_bytes(b, l->spool, strlen(l->spool));
		return 0;
	}
	if (!i->shared && l->stored)
		return put_again(fs, key, b);
	struct copy *c = i->shared;
	if (!c || (!c->work && !c->origin)) {
		buf_u8(b, CONTENT_NONE);
		buf_bytes(b, "", 0);
		return 0;
	}
	uint64_t size = copy_size(c);
	if (size <= LOCAL_INLINE) {
		buf_u8(b, CONTENT_INLINE);
		buf_varint(b, size);
		uint8_t *p = buf_reserve(b, (size_t)size + 1);
		if (!p)
			return -ENOMEM;
		ssize_t n = copy_pread(c, p, (size_t)size, 0);
		if (n < 0)
			return (int)n;
		b->len += (size_t)n;
		drop_spool(fs, l);
		return (uint64_t)n == size ? 0 : -EIO;
	}
	int r = copy_open_work(fs, c);
	if (r < 0)
		return r;
	if (!l->spool[0]) {
		pthread_mutex_lock(&fs->lock);
		snprintf(l->spool, sizeof(l->spool), "local-%llu",
			 (unsigned long long)fs->next_spool++);
		pthread_mutex_unlock(&fs->lock);
	}
	r = workfile_keep(c->work, l->spool, sync);
	buf_u8(b, CONTENT_SPOOL);
	buf_bytes(b, l->spool, strlen(l->spool));
	return r;
}

static int put_records(struct fusefs *fs, struct inode *i, bool sync, struct store_batch *b)
{
	const struct local *l = i->local;
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	overlay_key(&key, 'L', &l->parent, l->name);
	buf_u8(&value, 2);
	buf_u8(&value,
	       (uint8_t)((l->unsettled ? FLAG_UNSETTLED : 0) | (l->aside ? FLAG_ASIDE : 0) |
			 (l->mtime_set ? FLAG_MTIME : 0) | (l->astray ? FLAG_ASTRAY : 0) |
			 (i->ignored ? FLAG_IGNORED : 0)));
	buf_u32(&value, l->mode);
	buf_u64(&value, (uint64_t)l->mtime_ns);
	buf_u64(&value, l->named_us);
	buf_u32(&value, i->owner.uid);
	buf_u32(&value, i->owner.gid);
	buf_u64(&value, (uint64_t)i->ctime_ns);
	buf_u64(&value, i->rdev);
	buf_bytes(&value, l->target ? l->target : "", l->target ? strlen(l->target) : 0);
	buf_bytes(&value, l->xattr.data, l->xattr.len);
	int r = put_content(fs, i, &key, &value, sync);
	if (r < 0)
		return r;
	if (buf_failed(&key) || buf_failed(&value))
		return -ENOMEM;
	store_put(b, STORE_LOCAL, key.data, key.len, value.data, value.len);
	return hardlink_store(l, b);
}

int local_store(struct fusefs *fs, struct inode *i, bool sync)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int r = store_batch_new(&b);
	if (r >= 0)
		r = put_records(fs, i, sync, b);
	if (r >= 0)
		r = replica_local_write(fs->replica, b);
	if (r >= 0)
		i->local->stored = true;
	return r;
}

static int open_kept(struct fusefs *fs, const struct local *l, const struct kept *k,
		     struct workfile **ret)
{
	int r = -ENOENT;
	if (l->spool[0])
		r = workfile_open(fs->spool, l->spool, ret);
	if (r != -ENOENT) /* lost with an unsynced spool: an empty file, as after fsck */
		return r;
	r = workfile_new(fs->spool, ret);
	if (r == 0 && k->kind == CONTENT_INLINE)
		r = workfile_pwrite(*ret, k->content, k->content_len, 0);
	return r;
}

int local_content(struct fusefs *fs, struct inode *i)
{
	const struct local *l = i->local;
	if (i->shared || i->kind == NODE_DIR)
		return 0;
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	struct kept k = { 0 };
	struct copy *c = copy_new();
	overlay_key(&key, 'L', &l->parent, l->name);
	int r = c && !buf_failed(&key) ? 0 : -ENOMEM;
	if (r == 0 && l->stored)
		r = replica_local_get(fs->replica, key.data, key.len, &value);
	if (r >= 0 && l->stored)
		r = kept_decode(fs, value.data, value.len, &k);
	if (r >= 0)
		r = open_kept(fs, l, &k, &c->work);
	if (r < 0)
		copy_free(c);
	else
		i->shared = c;
	return r;
}

void local_rest(struct inode *i)
{
	struct copy *c = i->shared;
	if (i->backing != BACK_LOCAL || !i->ignored || !i->local->stored ||
	    !S_ISREG(i->local->mode) || !c || c->users || c->dirty || c->draft)
		return;
	i->local->size = copy_size(c);
	i->local->room = copy_stored(c);
	copy_free(c);
	i->shared = NULL;
}

void local_ignored(struct fusefs *fs, struct inode *i, bool ignored)
{
	pthread_mutex_lock(&fs->lock);
	i->ignored = ignored;
	pthread_mutex_unlock(&fs->lock);
}

static int load_inode(struct fusefs *fs, const struct local *l, struct inode **ret)
{
	if (S_ISDIR(l->mode))
		return plain_open_root(fs, l->spool, ret);
	return inode_new(fs, BACK_LOCAL, S_ISLNK(l->mode) ? NODE_LINK : NODE_FILE, ret);
}

static int load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	struct fusefs *fs = userdata;
	if (key_len <= 3 + ID_SIZE || key_len > 3 + ID_SIZE + NAME_MAX_BYTES)
		return 0;
	struct id parent;
	memcpy(parent.b, key + 3, ID_SIZE);
	char name[NAME_MAX_BYTES + 1];
	memcpy(name, key + 3 + ID_SIZE, key_len - 3 - ID_SIZE);
	name[key_len - 3 - ID_SIZE] = '\0';

	struct kept k;
	int r = kept_decode(fs, value, len, &k);
	if (r < 0)
		return r == -EPROTO ? 0 : r;
	_cleanup_(local_freep) struct local *l = local_new(&parent, name, k.mode);
	struct inode *i = NULL;
	if (!l)
		return -ENOMEM;
	l->mtime_ns = k.mtime_ns;
	l->named_us = k.named_us;
	l->unsettled = k.flags & FLAG_UNSETTLED;
	l->aside = k.flags & FLAG_ASIDE;
	l->mtime_set = k.flags & FLAG_MTIME;
	l->astray = k.flags & FLAG_ASTRAY;
	l->stored = true;
	if (k.target_len)
		l->target = strndup((const char *)k.target, k.target_len);
	buf_put(&l->xattr, k.xattr, k.xattr_len);
	if (k.kind >= CONTENT_SPOOL && k.content_len < sizeof(l->spool))
		memcpy(l->spool, k.content, k.content_len);
	r = load_inode(fs, l, &i);
	if (r < 0)
		return r;
	i->ignored = k.flags & FLAG_IGNORED;
	i->owner = k.owner;
	i->ctime_ns = k.ctime_ns;
	i->rdev = k.rdev;
	i->special = inode_special(k.mode);
	if (i->kind != NODE_DIR) {
		i->shared = copy_new();
		r = i->shared ? open_kept(fs, l, &k, &i->shared->work) : -ENOMEM;
	}
	i->local = TAKE_PTR(l);
	local_rest(i);
	if (r == 0)
		r = local_add(fs, i);
	if (r == 0 && i->local->astray) {
		struct content bytes;
		workfile_content(i->shared->work, &bytes);
		i->shared->draft = i->shared->flushed =
			!replica_parses(name, strlen(name), &bytes, &i->shared->err);
		draft_mark(fs, i, i->shared->draft);
	}
	if (r == 0 && i->local->unsettled)
		keeper_add(fs, TIMER_SETTLE, i->ino, 0);
	inode_put(fs, i);
	return r == -EEXIST ? 0 : r;
}

int local_load(struct fusefs *fs)
{
	int r = replica_local_scan(fs->replica, "f/L", 3, load_one, fs);
	return r < 0 ? r : hardlink_load(fs);
}

/* ---- extended attributes: name NUL, u32 length, value ---- */

static size_t xattr_find(const struct local *l, const char *name, size_t *ret_value,
			 size_t *ret_end)
{
	for (size_t at = 0; at < l->xattr.len;) {
		const char *s = (const char *)l->xattr.data + at;
		size_t value = at + strlen(s) + 1 + 4;
		const uint8_t *n = l->xattr.data + value - 4;
		size_t len = (size_t)n[0] << 24 | (size_t)n[1] << 16 | (size_t)n[2] << 8 | n[3];
		if (strcmp(s, name) == 0) {
			*ret_value = value;
			*ret_end = value + len;
			return at;
		}
		at = value + len;
	}
	return SIZE_MAX;
}

int local_xattr_get(const struct local *l, const char *name, struct buf *ret)
{
	size_t value, end;
	if (xattr_find(l, name, &value, &end) == SIZE_MAX)
		return -ENODATA;
	buf_put(ret, l->xattr.data + value, end - value);
	return buf_failed(ret) ? -ENOMEM : 0;
}

int local_xattr_remove(struct local *l, const char *name)
{
	size_t value, end, at = xattr_find(l, name, &value, &end);
	if (at == SIZE_MAX)
		return -ENODATA;
	memmove(l->xattr.data + at, l->xattr.data + end, l->xattr.len - end);
	l->xattr.len -= end - at;
	return 0;
}

int local_xattr_set(struct local *l, const char *name, const void *value, size_t len, bool create,
		    bool replace)
{
	size_t v, end;
	bool there = xattr_find(l, name, &v, &end) != SIZE_MAX;
	if (there && create)
		return -EEXIST;
	if (!there && replace)
		return -ENODATA;
	if (len > XATTR_SIZE_MAX || l->xattr.len + len > 1u << 20)
		return -ENOSPC;
	if (there)
		local_xattr_remove(l, name);
	if (!buf_reserve(&l->xattr, strlen(name) + 5 + len))
		return -ENOMEM;
	buf_put(&l->xattr, name, strlen(name) + 1);
	buf_u32(&l->xattr, (uint32_t)len);
	buf_put(&l->xattr, value, len);
	return 0;
}

int local_xattr_each(const struct local *l,
		     int (*f)(const char *name, const void *value, size_t len, void *userdata),
		     void *userdata)
{
	for (size_t at = 0; at < l->xattr.len;) {
		const char *s = (const char *)l->xattr.data + at;
		size_t value, end;
		xattr_find(l, s, &value, &end);
		int r = f(s, l->xattr.data + value, end - value, userdata);
		if (r)
			return r;
		at = end;
	}
	return 0;
}

static int list_one(const char *name, const void *value, size_t len, void *userdata)
{
	(void)value;
	(void)len;
	buf_put(userdata, name, strlen(name) + 1);
	return 0;
}

void local_xattr_list(const struct local *l, struct buf *ret)
{
	local_xattr_each(l, list_one, ret);
}
