/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/owner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cursor.h"
#include "fusefs/fs.h"

struct owned {
	struct table_link link;
	struct id node;
	struct owner owner;
	int64_t ctime_ns;
};

/* fs->lock held. */
static struct owned *find(struct fusefs *fs, const struct id *node)
{
	for (struct table_link *l = table_first(&fs->owners, id_hash(node)); l; l = l->next) {
		struct owned *x = table_entry(l, struct owned, link);
		if (id_equal(&x->node, node))
			return x;
	}
	return NULL;
}

void owner_find(struct fusefs *fs, const struct id *node, struct owner *ret, int64_t *ret_ns)
{
	const struct owned *x = find(fs, node);
	*ret = x ? x->owner : (struct owner){ fs->options.uid, fs->options.gid };
	*ret_ns = x ? x->ctime_ns : 0;
}

static int remember(struct fusefs *fs, const struct id *node, const struct owner *owner,
		    int64_t ctime_ns)
{
	int r = 0;
	pthread_mutex_lock(&fs->lock);
	struct owned *x = find(fs, node);
	if (!x) {
		x = calloc(1, sizeof(*x));
		r = x ? table_add(&fs->owners, &x->link, id_hash(node)) : -ENOMEM;
		if (r < 0)
			free(TAKE_PTR(x));
	}
	if (x)
		*x = (struct owned){ x->link, *node, *owner, ctime_ns };
	pthread_mutex_unlock(&fs->lock);
	return r;
}

static void key_of(struct buf *b, const struct id *node)
{
	buf_put(b, "f/O", 3);
	buf_put(b, node->b, ID_SIZE);
}

void owner_forget(struct fusefs *fs, const struct id *node)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	pthread_mutex_lock(&fs->lock);
	struct owned *x = find(fs, node);
	if (x)
		table_remove(&fs->owners, &x->link);
	pthread_mutex_unlock(&fs->lock);
	if (!x)
		return;
	free(x);
	key_of(&key, node);
	if (!buf_failed(&key))
		replica_local_delete(fs->replica, key.data, key.len);
}

int owner_put(struct fusefs *fs, const struct id *node, const struct owner *owner, int64_t ctime_ns)
{
	if (owner->uid == fs->options.uid && owner->gid == fs->options.gid) {
		owner_forget(fs, node);
		return 0;
	}
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	key_of(&key, node);
	buf_u8(&value, 1);
	buf_u32(&value, owner->uid);
	buf_u32(&value, owner->gid);
	buf_u64(&value, (uint64_t)ctime_ns);
	if (buf_failed(&key) || buf_failed(&value))
		return -ENOMEM;
	int r = remember(fs, node, owner, ctime_ns);
	return r < 0 ? r : replica_local_put(fs->replica, key.data, key.len, value.data, value.len);
}

/* ---- at the mount ---- */

struct loading {
	struct fusefs *fs;
	struct buf gone; /* ids */
};

static int load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	struct loading *l = userdata;
	struct cursor c = cursor_make(value, len);
	if (cursor_u8(&c) != 1)
		return -EPROTONOSUPPORT;
	struct owner o = { .uid = cursor_u32(&c), .gid = cursor_u32(&c) };
	int64_t ctime_ns = (int64_t)cursor_u64(&c);
	struct attr attr;
	struct id node;
	if (key_len != 3 + ID_SIZE || !cursor_ok(&c))
		return 0;
	memcpy(node.b, key + 3, ID_SIZE);
	if (!id_equal(&node, &NODE_ROOT) && replica_attr(l->fs->replica, &node, &attr) == -ENOENT) {
		buf_put(&l->gone, node.b, ID_SIZE);
		return 0;
	}
	return remember(l->fs, &node, &o, ctime_ns);
}

int owner_load(struct fusefs *fs)
{
	struct loading l = { .fs = fs };
	int r = replica_local_scan(fs->replica, "f/O", 3, load_one, &l);
	for (size_t at = 0; r == 0 && at < l.gone.len; at += ID_SIZE) {
		_cleanup_(buf_done) struct buf key = { 0 };
		struct id node;
		memcpy(node.b, l.gone.data + at, ID_SIZE);
		key_of(&key, &node);
		if (!buf_failed(&key))
			replica_local_delete(fs->replica, key.data, key.len);
	}
	buf_done(&l.gone);
	return r;
}

void owners_done(struct fusefs *fs)
{
	table_each(&fs->owners, b, l, next)
	{
		table_remove(&fs->owners, l);
		free(table_entry(l, struct owned, link));
	}
	table_done(&fs->owners);
}
