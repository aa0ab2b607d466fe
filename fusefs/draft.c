/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/draft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "fusefs/fs.h"

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
	if (!cursor_ok(&c) || replica_attr(fs->replica, &id, &attr) < 0)
		return 0; /* the document is gone, and the draft with it */
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

int draft_load(struct fusefs *fs)
{
	return replica_local_scan(fs->replica, "f/D", 3, load_one, fs);
}

static bool is_drafted(const struct inode *i)
{
	return i->drafted;
}

int drafts_get(struct fusefs *fs, struct inode ***ret, size_t *ret_n)
{
	return inodes_get(fs, is_drafted, ret, ret_n);
}
