/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/draft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "engine/deleted.h"
#include "fusefs/fs.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"

#define INLINE_MAX 65536u
#define BASE_MAX (DOCUMENT_SIZE_MAX + (1u << 20))

static void key_of(struct buf *b, const struct id *id)
{
	buf_put(b, "f/D", 3);
	buf_put(b, id->b, ID_SIZE);
}

void draft_mark(struct fusefs *fs, struct inode *i, bool drafted)
{
	pthread_mutex_lock(&fs->lock);
	if (i->drafted != drafted) {
		i->drafted = drafted;
		fs->n_drafts += drafted ? 1 : -(uint64_t)1;
	}
	pthread_mutex_unlock(&fs->lock);
}

int draft_store(struct fusefs *fs, struct inode *i)
{
	struct copy *c = i->shared;
	draft_mark(fs, i, true);
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	_cleanup_(buf_done) struct buf base = { 0 };
	key_of(&key, &i->id);
	if (c->base && version_data(c->base))
		version_encode(fs->replica, c->base, &base);
	buf_u8(&value, 1);
	buf_u32(&value, c->err.line);
	buf_u32(&value, c->err.column);
	buf_u64(&value, c->err.offset);
	buf_bytes(&value, c->err.message, strlen(c->err.message));
	buf_u64(&value, (uint64_t)c->mtime_ns);
	buf_bytes(&value, base.data, buf_failed(&base) ? 0 : base.len);
	uint64_t size = copy_size(c);
	int r = 0;
	if (size <= INLINE_MAX) {
		buf_u8(&value, 1);
		buf_varint(&value, size);
		uint8_t *p = buf_reserve(&value, (size_t)size + 1);
		if (!p)
			return -ENOMEM;
		ssize_t n = copy_pread(c, p, (size_t)size, 0);
		if (n < 0 || (uint64_t)n != size)
			return n < 0 ? (int)n : -EIO;
		value.len += (size_t)size;
	} else {
		if (!i->draft_spool[0]) {
			pthread_mutex_lock(&fs->lock);
			snprintf(i->draft_spool, sizeof(i->draft_spool), "draft-%llu",
				 (unsigned long long)fs->next_spool++);
			pthread_mutex_unlock(&fs->lock);
		}
		r = workfile_keep(c->work, i->draft_spool, true);
		buf_u8(&value, 2);
		buf_bytes(&value, i->draft_spool, strlen(i->draft_spool));
	}
	if (r == 0 && (buf_failed(&key) || buf_failed(&value)))
		r = -ENOMEM;
	if (r == 0)
		r = replica_local_put(fs->replica, key.data, key.len, value.data, value.len);
	if (r < 0)
		return r;
	if (!i->draft_stored) {
		i->draft_stored = true;
		inode_ref(fs, i); /* stays known */
	}
	return 0;
}

void draft_drop(struct fusefs *fs, struct inode *i)
{
	draft_mark(fs, i, false);
	if (!i->draft_stored)
		return;
	_cleanup_(buf_done) struct buf key = { 0 };
	key_of(&key, &i->id);
	if (!buf_failed(&key))
		replica_local_delete(fs->replica, key.data, key.len);
	if (i->draft_spool[0])
		unlinkat(fs->spool, i->draft_spool, 0);
	i->draft_spool[0] = '\0';
	i->draft_stored = false;
	/* The caller holds a reference of its own, so this is never the last. */
	inode_put(fs, i);
}

static int load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	struct fusefs *fs = userdata;
	if (key_len != 3 + ID_SIZE)
		return 0;
	struct attr attr;
	struct id id;
	memcpy(id.b, key + 3, ID_SIZE);
	struct cursor c = cursor_make(value, len);
	if (cursor_u8(&c) != 1)
		return -EPROTONOSUPPORT;
	struct err e = { .code = -EINVAL };
	e.line = cursor_u32(&c);
	e.column = cursor_u32(&c);
	e.offset = cursor_u64(&c);
	size_t message_len, base_len, content_len;
	const uint8_t *message = cursor_bytes(&c, sizeof(e.message) - 1, &message_len);
	int64_t mtime = (int64_t)cursor_u64(&c);
	const uint8_t *base = cursor_bytes(&c, BASE_MAX, &base_len);
	uint8_t kind = cursor_u8(&c);
	const uint8_t *content = cursor_bytes(&c, INLINE_MAX, &content_len);
	if (!cursor_ok(&c))
		return 0;
	if (replica_attr(fs->replica, &id, &attr) < 0)
		attr = (struct attr){ .id = id, .kind = NODE_FILE }; /* drafts_astray */
	memcpy(e.message, message, message_len);

	struct inode *i = NULL;
	struct copy *copy = copy_new();
	int r = copy ? inode_of_node(fs, &attr, &i) : -ENOMEM;
	if (r == 0 && kind == 2 && content_len < sizeof(i->draft_spool)) {
		memcpy(i->draft_spool, content, content_len);
		i->draft_spool[content_len] = '\0';
		r = workfile_open(fs->spool, i->draft_spool, &copy->work);
	} else if (r == 0) {
		r = workfile_new(fs->spool, &copy->work);
		if (r == 0)
			r = workfile_pwrite(copy->work, content, content_len, 0);
	}
	if (r == 0 && base_len)
		version_decode(fs->replica, base, base_len, &copy->base);
	if (r < 0) {
		copy_free(copy);
		if (i)
			inode_put(fs, i);
		return r == -ENOENT ? 0 : r;
	}
	copy->dirty = copy->draft = copy->flushed = true;
	copy->err = e;
	copy->mtime_ns = mtime;
	i->shared = copy;
	i->draft_stored = true; /* keeps the reference of inode_of_node */
	draft_mark(fs, i, true);
	return 0;
}

static bool is_drafted(const struct inode *i)
{
	return i->drafted;
}

int draft_load(struct fusefs *fs)
{
	int r = replica_local_scan(fs->replica, "f/D", 3, load_one, fs);
	if (r >= 0)
		drafts_astray(fs);
	return r;
}

/* ---- documents that were deleted elsewhere ---- */

/* A name for what was in there as `name`: that, unless somebody else has it now. */
static int free_name(struct fusefs *fs, const struct id *dir, const char *name, struct buf *ret)
{
	for (unsigned n = 1; n < 100; n++) {
		struct attr attr;
		struct inode *i = NULL;
		struct id hidden;
		buf_reset(ret);
		if (n > 1)
			buf_putf(ret, "draft-%u-", n);
		buf_puts(ret, name);
		const char *text = buf_cstr(ret);
		if (!text || ret->len > NAME_MAX_BYTES)
			break;
		enum overlay o = local_find(fs, dir, text, &i, &hidden);
		if (i)
			inode_put(fs, i);
		if (o == OVERLAY_NONE &&
		    replica_lookup(fs->replica, dir, text, strlen(text), &attr) == -ENOENT)
			return 0;
	}
	return -EEXIST;
}

/* Where the document was; what of its directories is gone as well is left out. */
static int last_place(struct fusefs *fs, const struct id *id, struct id *ret_dir, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted d;
	struct attr attr;
	int r = replica_deleted_place(fs->replica, &a, id, &d);
	if (r < 0)
		return r;
	*ret_dir = d.parent;
	if (replica_attr(fs->replica, ret_dir, &attr) < 0)
		*ret_dir = NODE_ROOT;
	return free_name(fs, ret_dir, d.name, ret);
}

/* The document of i, a node, is gone: its bytes become a local file. i->lock held. */
static void without_document(struct fusefs *fs, struct inode *i)
{
	_cleanup_(buf_done) struct buf name = { 0 };
	struct id dir;
	struct copy *c = i->shared;
	if (last_place(fs, &i->id, &dir, &name) < 0)
		return;
	struct local *l = local_new(&dir, buf_cstr(&name), S_IFREG | 0644);
	if (!l)
		return;
	if (i->last.mode)
		l->mode = S_IFREG | i->last.mode;
	l->mtime_ns = c->mtime_ns;
	l->unsettled = l->astray = true;
	c->dirty = false; /* as other local files; a draft it stays */
	inode_orphan(fs, i);
	i->backing = BACK_LOCAL;
	i->local = l;
	local_add(fs, i);
	if (local_store(fs, i, false) == 0)
		draft_drop(fs, i);
	draft_mark(fs, i, true);
	notify_entry(fs, &dir, l->name);
}

/* i is a local file, and its directory is gone. i->lock held. */
static void without_directory(struct fusefs *fs, struct inode *i)
{
	_cleanup_(buf_done) struct buf name = { 0 };
	if (free_name(fs, &NODE_ROOT, i->local->name, &name) == 0 &&
	    local_move(fs, i, &NODE_ROOT, buf_cstr(&name)) == 0)
		notify_entry(fs, &NODE_ROOT, i->local->name);
}

void drafts_astray(struct fusefs *fs)
{
	struct inode **list = NULL;
	struct attr attr;
	size_t n = 0;
	pthread_mutex_lock(&fs->lock);
	fs->stray_queued = false; /* what goes from here on wants another look */
	pthread_mutex_unlock(&fs->lock);
	if (drafts_get(fs, &list, &n) < 0)
		return;
	for (size_t k = 0; k < n; k++) {
		struct inode *i = list[k];
		pthread_mutex_lock(&i->lock);
		if (i->backing == BACK_NODE && i->shared && i->shared->draft &&
		    replica_attr(fs->replica, &i->id, &attr) == -ENOENT)
			without_document(fs, i);
		else if (i->backing == BACK_LOCAL && !id_equal(&i->local->parent, &NODE_ROOT) &&
			 replica_attr(fs->replica, &i->local->parent, &attr) == -ENOENT)
			without_directory(fs, i);
		pthread_mutex_unlock(&i->lock);
	}
	inodes_put(fs, list, n);
}

int drafts_get(struct fusefs *fs, struct inode ***ret, size_t *ret_n)
{
	return inodes_get(fs, is_drafted, ret, ret_n);
}
