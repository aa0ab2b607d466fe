/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "fusefs/draft.h"
#include "fusefs/fs.h"
#include "fusefs/keeper.h"

enum { FLAG_UNSETTLED = 1, FLAG_ASIDE = 2, FLAG_MTIME = 4, FLAG_ASTRAY = 8 };
enum { CONTENT_NONE = 0, CONTENT_INLINE = 1, CONTENT_SPOOL = 2 };

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

void overlay_key(struct buf *b, char type, const struct id *parent, const char *name)
{
	buf_put(b, "f/", 2);
	buf_u8(b, (uint8_t)type);
	buf_put(b, parent->b, ID_SIZE);
	if (name)
		buf_puts(b, name);
}

int local_add(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	struct overlay_entry *e = calloc(1, sizeof(*e));
	char *name = strdup(l->name);
	if (!e || !name) {
		free(e);
		free(name);
		return -ENOMEM;
	}
	e->parent = l->parent;
	e->name = name;
	e->inode = i;
	pthread_mutex_lock(&fs->lock);
	int r = overlay_get(fs, &l->parent, l->name)
			? -EEXIST
			: table_add(&fs->overlay, &e->link, overlay_hash(&l->parent, l->name));
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

static void drop_entry(struct fusefs *fs, const struct id *parent, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	struct overlay_entry *e = overlay_get(fs, parent, name);
	struct inode *i = NULL;
	if (e && e->inode) {
		table_remove(&fs->overlay, &e->link);
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

static void drop_record(struct fusefs *fs, struct local *l)
{
	if (!l->stored)
		return;
	_cleanup_(buf_done) struct buf key = { 0 };
	overlay_key(&key, 'L', &l->parent, l->name);
	if (!buf_failed(&key))
		replica_local_delete(fs->replica, key.data, key.len);
	l->stored = false;
}

static void drop_spool(struct fusefs *fs, struct local *l)
{
	if (l->spool[0])
		unlinkat(fs->spool, l->spool, 0);
	l->spool[0] = '\0';
}

void local_remove(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	drop_record(fs, l);
	drop_spool(fs, l);
	drop_entry(fs, &l->parent, l->name);
}

int local_move(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	struct local *l = i->local;
	char *text = strdup(name);
	if (!text)
		return -ENOMEM;
	bool stored = l->stored;
	inode_ref(fs, i);
	drop_record(fs, l);
	drop_entry(fs, &l->parent, l->name);
	free(l->name);
	l->name = text;
	l->parent = *parent;
	l->named_us = replica_now_us(fs->replica);
	int r = local_add(fs, i);
	if (r == 0 && stored)
		r = local_store(fs, i, false);
	inode_put(fs, i);
	return r;
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
	table_each(&fs->overlay, b, l, next)
	{
		struct overlay_entry *e = table_entry(l, struct overlay_entry, link);
		if (id_equal(&e->parent, parent))
			f(e, userdata);
	}
	pthread_mutex_unlock(&fs->lock);
}

/* ---- records ---- */

static int put_content(struct fusefs *fs, struct inode *i, struct buf *b, bool sync)
{
	struct local *l = i->local;
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

int local_store(struct fusefs *fs, struct inode *i, bool sync)
{
	struct local *l = i->local;
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	overlay_key(&key, 'L', &l->parent, l->name);
	buf_u8(&value, 1);
	buf_u8(&value, (uint8_t)((l->unsettled ? FLAG_UNSETTLED : 0) | (l->aside ? FLAG_ASIDE : 0) |
				 (l->mtime_set ? FLAG_MTIME : 0) |
				 (l->astray ? FLAG_ASTRAY : 0)));
	buf_u32(&value, l->mode);
	buf_u64(&value, (uint64_t)l->mtime_ns);
	buf_u64(&value, l->named_us);
	buf_bytes(&value, l->target ? l->target : "", l->target ? strlen(l->target) : 0);
	buf_bytes(&value, l->xattr.data, l->xattr.len);
	int r = put_content(fs, i, &value, sync);
	if (r < 0)
		return r;
	if (buf_failed(&key) || buf_failed(&value))
		return -ENOMEM;
	r = replica_local_put(fs->replica, key.data, key.len, value.data, value.len);
	if (r >= 0)
		l->stored = true;
	return r;
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

	struct cursor c = cursor_make(value, len);
	if (cursor_u8(&c) != 1)
		return -EPROTONOSUPPORT;
	uint8_t flags = cursor_u8(&c);
	uint32_t mode = cursor_u32(&c);
	int64_t mtime = (int64_t)cursor_u64(&c);
	uint64_t named = cursor_u64(&c);
	size_t target_len, xattr_len, content_len;
	const uint8_t *target = cursor_bytes(&c, LINK_SIZE_MAX, &target_len);
	const uint8_t *xattr = cursor_bytes(&c, 1u << 20, &xattr_len);
	uint8_t kind = cursor_u8(&c);
	const uint8_t *content = cursor_bytes(&c, LOCAL_INLINE, &content_len);
	if (!cursor_ok(&c))
		return 0; /* damaged: nothing that could be shown */

	_cleanup_(local_freep) struct local *l = local_new(&parent, name, mode);
	struct inode *i = NULL;
	if (!l || inode_new(fs, BACK_LOCAL, S_ISLNK(mode) ? NODE_LINK : NODE_FILE, &i) < 0)
		return -ENOMEM;
	l->mtime_ns = mtime;
	l->named_us = named;
	l->unsettled = flags & FLAG_UNSETTLED;
	l->aside = flags & FLAG_ASIDE;
	l->mtime_set = flags & FLAG_MTIME;
	l->astray = flags & FLAG_ASTRAY;
	l->stored = true;
	if (target_len)
		l->target = strndup((const char *)target, target_len);
	buf_put(&l->xattr, xattr, xattr_len);
	i->shared = copy_new();
	int r = i->shared ? 0 : -ENOMEM;
	if (r == 0 && kind == CONTENT_SPOOL && content_len < sizeof(l->spool)) {
		memcpy(l->spool, content, content_len);
		r = workfile_open(fs->spool, l->spool, &i->shared->work);
		if (r == -ENOENT) /* lost with an unsynced spool: an empty file, as after fsck */
			r = workfile_new(fs->spool, &i->shared->work);
	} else if (r == 0) {
		r = workfile_new(fs->spool, &i->shared->work);
		if (r == 0)
			r = workfile_pwrite(i->shared->work, content, content_len, 0);
	}
	i->local = TAKE_PTR(l);
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
	return replica_local_scan(fs->replica, "f/L", 3, load_one, fs);
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
