/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/hardlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cursor.h"
#include "engine/store.h"
#include "fusefs/fs.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/notify.h"
#include "fusefs/rules.h"

/* How long scraps may hold the settling up. */
#define WAIT_NS (10 * SECOND_NS)

static bool is_at(const struct id *x, const char *a, const struct id *y, const char *b)
{
	return id_equal(x, y) && strcmp(a, b) == 0;
}

static struct further **find(struct local *l, const struct id *parent, const char *name)
{
	for (struct further **p = &l->also; *p; p = &(*p)->next)
		if (is_at(&(*p)->parent, (*p)->name, parent, name))
			return p;
	return NULL;
}

static void further_free(struct further *f)
{
	free(f->name);
	free(f);
}

static struct further *take(struct further **p)
{
	struct further *f = *p;
	*p = f->next;
	return f;
}

/* ---- records ---- */

static int put_one(const struct local *l, const struct further *f, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 }, value = { 0 };
	overlay_key(&key, 'K', &f->parent, f->name);
	buf_u8(&value, 1);
	buf_put(&value, l->parent.b, ID_SIZE);
	buf_bytes(&value, l->name, strlen(l->name));
	if (buf_failed(&key) || buf_failed(&value))
		return -ENOMEM;
	store_put(b, STORE_LOCAL, key.data, key.len, value.data, value.len);
	return 0;
}

void hardlink_forget_one(const struct id *parent, const char *name, struct store_batch *b)
{
	_cleanup_(buf_done) struct buf key = { 0 };
	overlay_key(&key, 'K', parent, name);
	if (!buf_failed(&key))
		store_delete(b, STORE_LOCAL, key.data, key.len);
}

int hardlink_store(const struct local *l, struct store_batch *b)
{
	int r = 0;
	for (const struct further *f = l->also; r == 0 && f; f = f->next)
		r = put_one(l, f, b);
	return r;
}

void hardlink_forget(const struct local *l, struct store_batch *b)
{
	for (const struct further *f = l->also; f; f = f->next)
		hardlink_forget_one(&f->parent, f->name, b);
}

/* One further name comes or goes. */
static int write_one(struct fusefs *fs, const struct local *l, const struct further *f, bool there)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	int r = l->stored ? store_batch_new(&b) : 0;
	if (r < 0 || !l->stored)
		return r;
	if (there)
		r = put_one(l, f, b);
	else
		hardlink_forget_one(&f->parent, f->name, b);
	return r < 0 ? r : replica_local_write(fs->replica, b);
}

/* ---- names ---- */

/* The collection of what is in a directory. */
static struct id collection_in(struct fusefs *fs, const struct id *dir)
{
	struct attr attr;
	if (id_equal(dir, &NODE_ROOT) || replica_attr(fs->replica, dir, &attr) < 0)
		return NODE_ROOT;
	return id_equal(&attr.scope, &NODE_ROOT) ? *dir : attr.scope;
}

int hardlink_fits(struct fusefs *fs, const struct inode *i, const struct id *parent)
{
	if (!S_ISREG(i->local->mode) || i->ignored)
		return 0;
	const struct id x = collection_in(fs, &i->local->parent), y = collection_in(fs, parent);
	return id_equal(&x, &y) ? 0 : -EXDEV;
}

int hardlink_add(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	struct local *l = i->local;
	struct further *f = calloc(1, sizeof(*f));
	char *text = strdup(name);
	int r = f && text ? local_list(fs, i, parent, name) : -ENOMEM;
	if (r < 0) {
		free(text);
		free(f);
		return r;
	}
	*f = (struct further){ l->also, *parent, text };
	l->also = f;
	r = write_one(fs, l, f, true);
	if (r < 0) {
		local_unlist(fs, parent, name);
		further_free(take(&l->also));
	}
	return r;
}

/* The newest name becomes the first. */
static int turn(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	struct further *f = l->also;
	char *old = strdup(l->name), *first = f->name;
	const struct id at = f->parent;
	if (!old)
		return -ENOMEM;
	char *name = strdup(first);
	if (!name) {
		free(old);
		return -ENOMEM;
	}
	f->name = old;
	f->parent = l->parent;
	int r = local_named(fs, i, &at, name);
	if (is_at(&l->parent, l->name, &at, first)) {
		free(first);
		return r;
	}
	free(old);
	f->name = first;
	f->parent = at;
	return r;
}

int hardlink_share(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	/* A name that was taken away and left one only has made that the first. */
	int r = l->also ? turn(fs, i) : 0;
	l->unsettled = true;
	l->aside = false;
	keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SETTLE_NS);
	return r;
}

int hardlink_drop(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	struct local *l = i->local;
	if (!l->also)
		return 0;
	int r = is_at(&l->parent, l->name, parent, name) ? turn(fs, i) : 0;
	if (r < 0)
		return r;
	struct further **p = find(l, parent, name);
	if (!p)
		return -ENOENT;
	write_one(fs, l, *p, false);
	local_unlist(fs, parent, name);
	further_free(take(p));
	return 1;
}

int hardlink_move(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name,
		  const struct id *newparent, const char *newname)
{
	int r = hardlink_add(fs, i, newparent, newname);
	if (r < 0)
		return r;
	r = hardlink_drop(fs, i, parent, name);
	if (r < 0)
		hardlink_drop(fs, i, newparent, newname);
	return r < 0 ? r : 0;
}

unsigned hardlink_count(const struct local *l)
{
	unsigned n = 0;
	for (const struct further *f = l->also; f; f = f->next)
		n++;
	return n;
}

/* ---- settling ---- */

bool hardlink_kept(struct fusefs *fs, const struct local *l)
{
	for (const struct further *f = l->also; f; f = f->next)
		if (rules_here(fs, &f->parent, f->name))
			return true;
	return false;
}

bool hardlink_waits(const struct local *l)
{
	const char *part;
	size_t part_len;
	for (const struct further *f = l->also; f; f = f->next)
		if (name_is_local(f->name, strlen(f->name)) ||
		    name_target(f->name, strlen(f->name), &part, &part_len))
			return monotonic_ns() - l->born_ns < WAIT_NS;
	return false;
}

void hardlink_settle(struct fusefs *fs, struct inode *i, const struct id *id)
{
	struct local *l = i->local;
	struct committer own;
	while (l->also) {
		struct further *f = l->also;
		fs_own_begin(fs, &own);
		int r = replica_link(fs->replica, id, &f->parent, f->name, strlen(f->name), NULL);
		fs_own_end(fs, &own);
		/* Something has taken the name, or its directory is gone: the bytes are safe under the first. */
		if (r < 0)
			notify_entry(fs, &f->parent, f->name);
		write_one(fs, l, f, false);
		local_unlist(fs, &f->parent, f->name);
		further_free(take(&l->also));
	}
}

/* ---- loading ---- */

static int load_one(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		    void *userdata)
{
	struct fusefs *fs = userdata;
	struct cursor c = cursor_make(value, len);
	struct id parent, first;
	size_t name_len;
	if (cursor_u8(&c) != 1)
		return -EPROTONOSUPPORT;
	const uint8_t *id = cursor_take(&c, ID_SIZE);
	const uint8_t *text = cursor_bytes(&c, NAME_MAX_BYTES, &name_len);
	if (!cursor_end(&c) || key_len <= 3 + ID_SIZE || key_len > 3 + ID_SIZE + NAME_MAX_BYTES)
		return 0;
	char at[NAME_MAX_BYTES + 1], name[NAME_MAX_BYTES + 1];
	memcpy(first.b, id, ID_SIZE);
	memcpy(at, text, name_len);
	at[name_len] = '\0';
	memcpy(parent.b, key + 3, ID_SIZE);
	memcpy(name, key + 3 + ID_SIZE, key_len - 3 - ID_SIZE);
	name[key_len - 3 - ID_SIZE] = '\0';
	struct inode *i = NULL;
	struct id hidden;
	if (local_find(fs, &first, at, &i, &hidden) != OVERLAY_LOCAL)
		return replica_local_delete(fs->replica, key, key_len);
	pthread_mutex_lock(&i->lock);
	int r = hardlink_add(fs, i, &parent, name);
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	return r == -EEXIST ? 0 : r;
}

int hardlink_load(struct fusefs *fs)
{
	return replica_local_scan(fs->replica, "f/K", 3, load_one, fs);
}

void hardlink_free(struct local *l)
{
	while (l->also)
		further_free(take(&l->also));
}
