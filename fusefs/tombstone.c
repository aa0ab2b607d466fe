/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/tombstone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cursor.h"
#include "fusefs/fs.h"
#include "fusefs/keeper.h"
#include "fusefs/notify.h"

static void entry_free(struct overlay_entry *e)
{
	if (e->version)
		version_unref(e->version);
	free(e->name);
	free(e);
}

static void store(struct fusefs *fs, struct overlay_entry *e)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	overlay_key(&key, 'T', &e->parent, e->name);
	buf_u8(&value, 1);
	buf_put(&value, e->node.b, ID_SIZE);
	buf_put(&value, e->version_id.b, ID_SIZE);
	buf_u64(&value, e->when_us);
	if (!buf_failed(&key) && !buf_failed(&value) &&
	    replica_local_put(fs->replica, key.data, key.len, value.data, value.len) >= 0)
		e->stored = true;
}

static void unstore(struct fusefs *fs, struct overlay_entry *e)
{
	if (!e->stored)
		return;
	_cleanup_(buf_done) struct buf key = { 0 };
	overlay_key(&key, 'T', &e->parent, e->name);
	if (!buf_failed(&key))
		replica_local_delete(fs->replica, key.data, key.len);
	e->stored = false;
}

/* ---- those that wait, soonest first; fs->lock held ---- */

static void wait_put(struct fusefs *fs, struct overlay_entry *e)
{
	struct overlay_entry *last = fs->last_tomb;
	while (last && last->due_ns > e->due_ns)
		last = last->prev;
	e->prev = last;
	e->next = last ? last->next : fs->first_tomb;
	*(e->prev ? &e->prev->next : &fs->first_tomb) = e;
	*(e->next ? &e->next->prev : &fs->last_tomb) = e;
	fs->n_tombs++;
}

static void wait_take(struct fusefs *fs, struct overlay_entry *e)
{
	*(e->prev ? &e->prev->next : &fs->first_tomb) = e->next;
	*(e->next ? &e->next->prev : &fs->last_tomb) = e->prev;
	fs->n_tombs--;
}

/* One timer is for all of them. True: the caller has to set it, without the lock. */
static bool wants_timer(struct fusefs *fs, int64_t *ret_due)
{
	bool wants = fs->first_tomb && !fs->tomb_timer;
	if (wants) {
		fs->tomb_timer = true;
		*ret_due = fs->first_tomb->due_ns;
	}
	return wants;
}

static int attach(struct fusefs *fs, struct overlay_entry *e)
{
	int64_t due = 0;
	pthread_mutex_lock(&fs->lock);
	int r = overlay_put(fs, e);
	if (r == 0)
		wait_put(fs, e);
	bool timer = wants_timer(fs, &due);
	pthread_mutex_unlock(&fs->lock);
	if (timer)
		keeper_add(fs, TIMER_TOMB, 0, due);
	return r;
}

int tombstone_put(struct fusefs *fs, struct overlay_entry *e)
{
	int r = e->name ? attach(fs, e) : -ENOMEM;
	if (r < 0)
		entry_free(e);
	return r;
}

int tombstone_add(struct fusefs *fs, const struct id *parent, const char *name,
		  const struct attr *node, struct version *version, const struct proc *proc,
		  bool aside)
{
	struct overlay_entry *e = calloc(1, sizeof(*e));
	char *text = strdup(name);
	if (!e || !text) {
		free(e);
		free(text);
		return -ENOMEM;
	}
	int64_t now = monotonic_ns();
	e->parent = *parent;
	e->name = text;
	e->node = node->id;
	e->version = version ? version_ref(version) : NULL;
	e->version_id = node->version;
	e->proc = *proc;
	e->when_us = replica_now_us(fs->replica);
	e->due_ns = now + GRACE_NS;
	e->last_ns = now + (aside ? GRACE_ASIDE_NS : GRACE_NS);
	/* The only copy of what was renamed aside is not stored yet: tombstone_store(). */
	if (!aside)
		store(fs, e);
	int r = attach(fs, e);
	if (r < 0) {
		unstore(fs, e);
		entry_free(e);
		return r;
	}
	if (!aside)
		inode_visited(fs, parent, e->when_us);
	return 0;
}

/* Out of the tables; names is held, so nobody else frees it meanwhile. */
static void detach(struct fusefs *fs, struct overlay_entry *e)
{
	unstore(fs, e);
	pthread_mutex_lock(&fs->lock);
	overlay_take(fs, e);
	wait_take(fs, e);
	pthread_mutex_unlock(&fs->lock);
}

static struct overlay_entry *find(struct fusefs *fs, const struct id *parent, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	struct overlay_entry *e = overlay_get(fs, parent, name);
	if (e && e->inode)
		e = NULL;
	pthread_mutex_unlock(&fs->lock);
	return e;
}

bool tombstone_take(struct fusefs *fs, const struct id *parent, const char *name,
		    struct id *ret_node, struct version **ret_version)
{
	struct overlay_entry *e = find(fs, parent, name);
	if (!e)
		return false;
	struct attr attr;
	bool there = replica_attr(fs->replica, &e->node, &attr) >= 0;
	detach(fs, e);
	*ret_node = e->node;
	*ret_version = TAKE_PTR(e->version);
	entry_free(e);
	if (!there && *ret_version)
		version_unref(TAKE_PTR(*ret_version));
	return there;
}

void tombstone_store(struct fusefs *fs, const struct id *parent, const char *name)
{
	struct overlay_entry *e = find(fs, parent, name);
	if (e && !e->stored)
		store(fs, e);
}

static int remove_node(struct fusefs *fs, const struct id *node, const struct id *version,
		       uint64_t when_us)
{
	struct attr attr;
	int r = replica_attr(fs->replica, node, &attr);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!id_equal(&attr.version, version))
		return 1;
	struct committer c;
	fs_own_begin(fs, &c);
	r = replica_remove(fs->replica, node, when_us);
	fs_own_end(fs, &c);
	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		bases_forget(fs->bases, node);
	return r;
}

static int bury(struct fusefs *fs, struct overlay_entry *e)
{
	int r = remove_node(fs, &e->node, &e->version_id, e->when_us);
	detach(fs, e);
	/* Changed by others meanwhile, or not to be deleted: it is there again. */
	if (r != 0)
		notify_entry(fs, &e->parent, e->name);
	entry_free(e);
	return r < 0 ? r : 0;
}

int tombstone_bury(struct fusefs *fs, const struct id *parent, const char *name)
{
	struct overlay_entry *e = find(fs, parent, name);
	return e ? bury(fs, e) : 0;
}

/* Waits on as long as whoever renamed it aside lives. */
static bool put_off(struct fusefs *fs, struct overlay_entry *e, int64_t now_ns)
{
	if (now_ns == INT64_MAX || e->last_ns <= now_ns || !proc_alive(&e->proc))
		return false;
	pthread_mutex_lock(&fs->lock);
	wait_take(fs, e);
	e->due_ns = now_ns + GRACE_NS < e->last_ns ? now_ns + GRACE_NS : e->last_ns;
	wait_put(fs, e);
	pthread_mutex_unlock(&fs->lock);
	return true;
}

void tombstone_expire(struct fusefs *fs, int64_t now_ns)
{
	int64_t next = 0;
	for (;;) {
		pthread_mutex_lock(&fs->lock);
		struct overlay_entry *e = fs->first_tomb;
		pthread_mutex_unlock(&fs->lock);
		if (!e || e->due_ns > now_ns)
			break;
		if (!put_off(fs, e, now_ns))
			bury(fs, e);
	}
	pthread_mutex_lock(&fs->lock);
	fs->tomb_timer = false;
	bool timer = wants_timer(fs, &next);
	pthread_mutex_unlock(&fs->lock);
	if (timer)
		keeper_add(fs, TIMER_TOMB, 0, next);
}

static void add_tomb(const struct overlay_entry *e, void *userdata)
{
	if (!e->inode)
		buf_put(userdata, &e, sizeof(e));
}

int tombstone_bury_all(struct fusefs *fs, const struct id *parent)
{
	_cleanup_(buf_done) struct buf list = { 0 };
	int r = 0;
	local_each(fs, parent, add_tomb, &list);
	if (buf_failed(&list))
		return -ENOMEM;
	for (size_t at = 0; at < list.len; at += sizeof(struct overlay_entry *)) {
		struct overlay_entry *e;
		memcpy(&e, list.data + at, sizeof(e));
		int q = bury(fs, e);
		if (q < 0)
			r = q;
	}
	return r;
}

/* ---- after a restart ---- */

#define ENTRY_SIZE (2 * ID_SIZE + 8) /* of a stored one: node, version, time */

static int load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	(void)key;
	(void)key_len;
	struct cursor c = cursor_make(value, len);
	if (cursor_u8(&c) != 1)
		return -EPROTONOSUPPORT;
	const uint8_t *entry = cursor_take(&c, ENTRY_SIZE);
	if (entry)
		buf_put(userdata, entry, ENTRY_SIZE);
	return 0;
}

static int load_key(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	(void)value;
	(void)len;
	buf_bytes(userdata, key, key_len);
	return 0;
}

int tombstone_load(struct fusefs *fs)
{
	_cleanup_(buf_done) struct buf entries = { 0 };
	_cleanup_(buf_done) struct buf keys = { 0 };
	int r = replica_local_scan(fs->replica, "f/T", 3, load_one, &entries);
	if (r >= 0)
		r = replica_local_scan(fs->replica, "f/T", 3, load_key, &keys);
	if (r < 0)
		return r;
	for (size_t at = 0; at < entries.len; at += ENTRY_SIZE) {
		struct cursor c = cursor_make(entries.data + at, ENTRY_SIZE);
		struct id node, version;
		memcpy(node.b, cursor_take(&c, ID_SIZE), ID_SIZE);
		memcpy(version.b, cursor_take(&c, ID_SIZE), ID_SIZE);
		r = remove_node(fs, &node, &version, cursor_u64(&c));
		if (r < 0)
			return r;
	}
	struct cursor c = cursor_make(keys.data, keys.len);
	while (cursor_left(&c) > 0) {
		size_t len;
		const uint8_t *key = cursor_bytes(&c, 1024, &len);
		if (key)
			replica_local_delete(fs->replica, key, len);
	}
	return 0;
}

void tombstones_done(struct fusefs *fs)
{
	table_each(&fs->overlay, b, l, next)
	{
		struct overlay_entry *e = table_entry(l, struct overlay_entry, link);
		overlay_take(fs, e);
		entry_free(e);
	}
	fs->first_tomb = fs->last_tomb = NULL;
	table_done(&fs->overlay);
	table_done(&fs->overlay_dirs);
}
