/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/dirpages.h"
#include "fusefs/draft.h"
#include "fusefs/event.h"
#include "fusefs/field.h"
#include "fusefs/fs.h"
#include "fusefs/handle.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"
#include "fusefs/plain.h"
#include "fusefs/tombstone.h"

/* ---- copies ---- */

static void save_copy(struct saver *s, const struct copy *c)
{
	save_version(s, c->origin);
	save_bool(s, c->work != NULL);
	if (c->work)
		workfile_save(s, c->work);
	save_bool(s, c->dirty);
	save_bool(s, c->draft);
	save_bool(s, c->flushed);
	save_bool(s, c->unfinished);
	save_bool(s, c->unread);
	buf_u32(s->out, c->turn);
	save_u64(s, (uint64_t)c->used_ns);
	save_err(s, &c->err);
	save_bool(s, c->field != NULL);
	if (c->field)
		field_save(s, c->field);
	save_proc(s, &c->writer);
	save_u64(s, c->covered);
	save_version(s, c->seen);
	save_version(s, c->fallback);
	save_version(s, c->base);
	save_u64(s, (uint64_t)c->since_ns);
	save_u64(s, (uint64_t)c->mtime_ns);
	save_bool(s, c->mtime_set);
}

/* Its users are counted with their handles. */
static struct copy *load_copy(struct fusefs *fs, struct loader *l)
{
	struct copy *c = copy_new();
	if (!c) {
		load_fail(l, -ENOMEM);
		return NULL;
	}
	c->origin = load_version(l);
	if (load_bool(l))
		c->work = workfile_load(l, fs->spool);
	c->dirty = load_bool(l);
	c->draft = load_bool(l);
	c->flushed = load_bool(l);
	c->unfinished = load_bool(l);
	c->unread = load_bool(l);
	c->turn = cursor_u32(&l->in);
	c->used_ns = (int64_t)load_u64(l);
	load_err(l, &c->err);
	if (load_bool(l))
		c->field = field_load(l);
	load_proc(l, &c->writer);
	c->covered = load_u64(l);
	c->seen = load_version(l);
	c->fallback = load_version(l);
	c->base = load_version(l);
	c->since_ns = (int64_t)load_u64(l);
	c->mtime_ns = (int64_t)load_u64(l);
	c->mtime_set = load_bool(l);
	return c;
}

/* ---- local data ---- */

static void save_local(struct saver *s, const struct local *x, bool named)
{
	save_id(s, &x->parent);
	save_text(s, x->name);
	buf_u32(s->out, x->mode);
	save_bool(s, named);
	save_u64(s, (uint64_t)x->mtime_ns);
	save_u64(s, x->named_us);
	save_bool(s, x->unsettled);
	save_bool(s, x->aside);
	save_bool(s, x->astray);
	save_bool(s, x->stored);
	save_bool(s, x->mtime_set);
	save_text(s, x->target);
	save_bytes(s, x->xattr.data, x->xattr.len);
	save_u64(s, x->size);
	save_u64(s, x->room);
	save_proc(s, &x->creator);
	save_u64(s, (uint64_t)x->born_ns);
	save_u64(s, (uint64_t)x->settle_ns);
	save_id(s, &x->about);
	save_version(s, x->about_version);
	save_text(s, x->spool);
}

/* Each is put before those that are there when it is loaded: the last one comes first. */
static void save_further(struct saver *s, const struct local *x)
{
	unsigned n = hardlink_count(x);
	save_u64(s, n);
	while (n) {
		const struct further *f = x->also;
		for (unsigned k = 1; k < n; k++)
			f = f->next;
		save_id(s, &f->parent);
		save_text(s, f->name);
		n--;
	}
}

static void load_further(struct fusefs *fs, struct loader *l, struct inode *i)
{
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		struct id parent = { 0 };
		load_id(l, &parent);
		_cleanup_free_ char *name = load_text(l);
		int r = name && i->local ? hardlink_add(fs, i, &parent, name) : -EBADMSG;
		if (r < 0)
			load_fail(l, r);
	}
}

static void load_name(struct loader *l, char *ret, size_t size)
{
	_cleanup_free_ char *text = load_text(l);
	snprintf(ret, size, "%s", text ? text : "");
}

static struct local *load_local(struct loader *l, bool *ret_named)
{
	struct id parent = { 0 };
	load_id(l, &parent);
	_cleanup_free_ char *name = load_text(l);
	uint32_t mode = cursor_u32(&l->in);
	struct local *x = name ? local_new(&parent, name, mode) : NULL;
	if (!x) {
		load_fail(l, -ENOMEM);
		return NULL;
	}
	*ret_named = load_bool(l);
	x->mtime_ns = (int64_t)load_u64(l);
	x->named_us = load_u64(l);
	x->unsettled = load_bool(l);
	x->aside = load_bool(l);
	x->astray = load_bool(l);
	x->stored = load_bool(l);
	x->mtime_set = load_bool(l);
	x->target = load_text(l);
	size_t len;
	const void *xattr = load_bytes(l, &len);
	buf_put(&x->xattr, xattr, len);
	x->size = load_u64(l);
	x->room = load_u64(l);
	load_proc(l, &x->creator);
	x->born_ns = (int64_t)load_u64(l);
	x->settle_ns = (int64_t)load_u64(l);
	load_id(l, &x->about);
	x->about_version = load_version(l);
	load_name(l, x->spool, sizeof(x->spool));
	if (buf_failed(&x->xattr))
		load_fail(l, -ENOMEM);
	return x;
}

/* ---- inodes ---- */

static bool is_named(struct fusefs *fs, const struct inode *i)
{
	struct overlay_entry *e = overlay_get(fs, &i->local->parent, i->local->name);
	return e && e->inode == i;
}

static void save_inode(struct fusefs *fs, struct saver *s, const struct inode *i)
{
	save_u64(s, i->ino);
	buf_u8(s->out, (uint8_t)i->backing);
	buf_u8(s->out, (uint8_t)i->kind);
	save_id(s, &i->id);
	save_bool(s, i->hashed_id);
	save_u64(s, i->nlookup);
	save_u64(s, i->own);
	save_bool(s, i->flip_queued);
	buf_u32(s->out, i->news);
	save_bool(s, i->drafted);
	save_bool(s, i->ignored);
	save_u64(s, i->changes);
	save_u64(s, i->visited_us);
	save_text(s, i->virtual_path);
	buf_u32(s->out, i->owner.uid);
	buf_u32(s->out, i->owner.gid);
	buf_u32(s->out, i->special);
	save_u64(s, i->rdev);
	save_u64(s, (uint64_t)i->ctime_ns);
	save_u64(s, (uint64_t)i->unseen_ns);
	save_u64(s, (uint64_t)i->atime_ns);
	save_id(s, &i->cache);
	save_id(s, &i->told);
	save_attr(s, &i->last);
	save_id(s, &i->parent);
	save_text(s, i->name);
	save_fd(s, i->fd);
	save_u64(s, (uint64_t)i->born_ns);
	save_proc(s, &i->creator);
	save_text(s, i->draft_spool);
	save_bool(s, i->draft_stored);
	save_bool(s, i->nameless);
	save_bool(s, i->local != NULL);
	if (i->local) {
		save_local(s, i->local, is_named(fs, i));
		save_further(s, i->local);
	}
	save_bool(s, i->shared != NULL);
	if (i->shared)
		save_copy(s, i->shared);
}

static void load_fields(struct loader *l, struct inode *i)
{
	i->nlookup = load_u64(l);
	i->own = load_u64(l);
	i->flip_queued = load_bool(l);
	i->news = cursor_u32(&l->in);
	i->drafted = load_bool(l);
	i->ignored = load_bool(l);
	i->changes = load_u64(l);
	i->visited_us = load_u64(l);
	i->virtual_path = load_text(l);
	i->owner.uid = cursor_u32(&l->in);
	i->owner.gid = cursor_u32(&l->in);
	i->special = cursor_u32(&l->in);
	i->rdev = load_u64(l);
	i->ctime_ns = (int64_t)load_u64(l);
	i->unseen_ns = (int64_t)load_u64(l);
	i->atime_ns = (int64_t)load_u64(l);
	load_id(l, &i->cache);
	load_id(l, &i->told);
	load_attr(l, &i->last);
	load_id(l, &i->parent);
	i->name = load_text(l);
	i->fd = load_fd(l);
	i->born_ns = (int64_t)load_u64(l);
	load_proc(l, &i->creator);
	load_name(l, i->draft_spool, sizeof(i->draft_spool));
	i->draft_stored = load_bool(l);
	i->nameless = load_bool(l);
}

static struct inode *new_inode(struct fusefs *fs, struct loader *l)
{
	struct inode *i = NULL;
	uint64_t ino = load_u64(l);
	enum backing backing = (enum backing)cursor_u8(&l->in);
	enum node_kind kind = (enum node_kind)cursor_u8(&l->in);
	int r = load_ok(l) ? inode_new_number(fs, backing, kind, ino, 0, &i) : -EBADMSG;
	if (r == 0 && i->ino != ino)
		r = -EBADMSG;
	if (r < 0) {
		load_fail(l, r);
		return NULL;
	}
	load_id(l, &i->id);
	if (load_bool(l)) {
		r = table_add(&fs->by_id, &i->by_id, id_hash(&i->id));
		i->hashed_id = r == 0;
	}
	if (r < 0)
		load_fail(l, r);
	return i;
}

/* The reference that it is made with goes when all has been loaded. */
static void load_inode(struct fusefs *fs, struct loader *l)
{
	bool named = false;
	struct inode *i = new_inode(fs, l);
	if (!i)
		return;
	load_fields(l, i);
	fs->n_drafts += i->drafted;
	if (i->draft_stored)
		inode_ref(fs, i);
	const bool local = load_bool(l);
	if (local)
		i->local = load_local(l, &named);
	int r = named && load_ok(l) ? local_add(fs, i) : 0;
	if (r < 0)
		load_fail(l, r);
	if (local)
		load_further(fs, l, i);
	if (load_bool(l))
		i->shared = load_copy(fs, l);
}

static void save_inodes(struct fusefs *fs, struct saver *s)
{
	save_u64(s, fs->by_ino.n);
	table_each(&fs->by_ino, b, l, next)
		save_inode(fs, s, table_entry(l, struct inode, by_ino));
	table_each(&fs->by_ino, b, l, next)
	{
		const struct inode *i = table_entry(l, struct inode, by_ino);
		if (!i->up)
			continue;
		save_u64(s, i->ino);
		save_u64(s, i->up->ino);
		save_bool(s, i->hashed_name);
	}
	save_u64(s, 0);
}

static void load_inodes(struct fusefs *fs, struct loader *l)
{
	for (uint64_t n = load_count(l); n && load_ok(l); n--)
		load_inode(fs, l);
	for (uint64_t ino = load_u64(l); ino && load_ok(l); ino = load_u64(l)) {
		struct inode *i = inode_get(fs, ino), *up = inode_get(fs, load_u64(l));
		bool named = load_bool(l);
		int r = i && up && !i->up ? plain_put(fs, i, up, named) : -EBADMSG;
		if (r < 0)
			load_fail(l, r);
		inode_put(fs, i);
		inode_put(fs, up);
	}
}

/* ---- tombstones ---- */

static void save_tombs(struct fusefs *fs, struct saver *s)
{
	save_u64(s, fs->n_tombs);
	for (const struct overlay_entry *e = fs->first_tomb; e; e = e->next) {
		save_id(s, &e->parent);
		save_text(s, e->name);
		save_id(s, &e->node);
		save_version(s, e->version);
		save_id(s, &e->version_id);
		save_proc(s, &e->proc);
		save_u64(s, (uint64_t)e->due_ns);
		save_u64(s, (uint64_t)e->last_ns);
		save_u64(s, e->when_us);
		save_bool(s, e->stored);
	}
}

static void load_tomb(struct fusefs *fs, struct loader *l)
{
	struct overlay_entry *e = calloc(1, sizeof(*e));
	if (!e) {
		load_fail(l, -ENOMEM);
		return;
	}
	load_id(l, &e->parent);
	e->name = load_text(l);
	load_id(l, &e->node);
	e->version = load_version(l);
	load_id(l, &e->version_id);
	load_proc(l, &e->proc);
	e->due_ns = (int64_t)load_u64(l);
	e->last_ns = (int64_t)load_u64(l);
	e->when_us = load_u64(l);
	e->stored = load_bool(l);
	int r = tombstone_put(fs, e);
	if (r < 0)
		load_fail(l, r);
}

/* ---- handles ---- */

static void save_handles(struct fusefs *fs, struct saver *s)
{
	for (uint64_t k = slots_next(&fs->files, 1); k; k = slots_next(&fs->files, k + 1)) {
		const struct handle *h = slots_get(&fs->files, k);
		save_u64(s, k);
		save_u64(s, h->inode->ino);
		save_bool(s, h->copy != h->inode->shared);
		if (h->copy != h->inode->shared)
			save_copy(s, h->copy);
		save_proc(s, &h->opener);
		save_bool(s, h->reads);
		save_bool(s, h->writes);
		save_bool(s, h->append);
		save_bool(s, h->wrote);
		save_bool(s, h->began);
		save_bool(s, h->fresh);
		buf_u32(s->out, h->turn);
		save_version(s, h->seen);
		save_bool(s, h->knows);
		buf_u32(s->out, h->knows_turn);
	}
	save_u64(s, 0);
}

static void load_handle(struct fusefs *fs, struct loader *l, struct handle *h)
{
	h->inode = inode_get(fs, load_u64(l));
	h->copy = load_bool(l) ? load_copy(fs, l) : h->inode ? h->inode->shared : NULL;
	load_proc(l, &h->opener);
	h->reads = load_bool(l);
	h->writes = load_bool(l);
	h->append = load_bool(l);
	h->wrote = load_bool(l);
	h->began = load_bool(l);
	h->fresh = load_bool(l);
	h->turn = cursor_u32(&l->in);
	h->seen = load_version(l);
	h->knows = load_bool(l);
	h->knows_turn = cursor_u32(&l->in);
	if (!h->inode || !h->copy) {
		load_fail(l, -EBADMSG);
		return;
	}
	h->copy->users++;
	h->copy->readers += h->reads;
	h->copy->writers += h->writes;
	h->inode->opens++;
	fs->n_handles++;
}

static void load_handles(struct fusefs *fs, struct loader *l)
{
	for (uint64_t k = load_u64(l); k && load_ok(l); k = load_u64(l)) {
		struct handle *h = calloc(1, sizeof(*h));
		int r = h ? slots_put(&fs->files, k, h) : -ENOMEM;
		if (r == 0) {
			load_handle(fs, l, h);
			continue;
		}
		free(h);
		load_fail(l, r);
	}
}

/* ---- timers ---- */

static void save_timers(struct fusefs *fs, struct saver *s)
{
	save_u64(s, fs->n_timers);
	for (size_t k = 0; k < fs->n_timers; k++) {
		save_u64(s, (uint64_t)fs->timer[k].due_ns);
		buf_u8(s->out, (uint8_t)fs->timer[k].kind);
		save_u64(s, fs->timer[k].ino);
	}
}

static void load_timers(struct fusefs *fs, struct loader *l)
{
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		int64_t due = (int64_t)load_u64(l);
		enum timer_kind kind = (enum timer_kind)cursor_u8(&l->in);
		keeper_add(fs, kind, load_u64(l), due);
	}
}

/* ---- all of it ---- */

void handover_save(struct fusefs *fs, struct saver *s)
{
	save_text(s, fs->mountpoint);
	save_text(s, fs->options_text);
	save_u64(s, (uint64_t)fs->mount_time.tv_sec);
	save_u64(s, (uint64_t)fs->mount_time.tv_nsec);
	save_bool(s, atomic_load(&fs->entered));
	save_u64(s, fs->next_ino);
	save_u64(s, fs->next_spool);
	save_u64(s, atomic_load(&fs->saves));
	save_fd(s, fuse_session_fd(fs->session));
	save_bytes(s, fs->first.data, fs->first.len);
	pins_save(fs, s);
	save_inodes(fs, s);
	save_tombs(fs, s);
	save_handles(fs, s);
	ops_dir_save(fs, s);
	ops_plain_save(fs, s);
	bases_save(fs->bases, s);
	events_save(fs->events, s);
	notify_save(fs->notify, s);
	save_timers(fs, s);
	if (buf_failed(s->out))
		save_fail(s, -ENOMEM);
}

void handover_load_mount(struct fusefs *fs, struct loader *l)
{
	fs->mountpoint = load_text(l);
	fs->options_text = load_text(l);
	fs->mount_time.tv_sec = (time_t)load_u64(l);
	fs->mount_time.tv_nsec = (long)load_u64(l);
	atomic_store(&fs->entered, load_bool(l));
	fs->next_ino = load_u64(l);
	fs->next_spool = load_u64(l);
	atomic_store(&fs->saves, load_u64(l));
	if (!fs->mountpoint)
		load_fail(l, -EBADMSG);
}

void handover_load(struct fusefs *fs, struct loader *l, int *ret_fd)
{
	*ret_fd = load_fd(l);
	size_t len;
	const void *first = load_bytes(l, &len);
	buf_put(&fs->first, first, len);
	pins_load(fs, l);
	load_inodes(fs, l);
	for (uint64_t n = load_count(l); n && load_ok(l); n--)
		load_tomb(fs, l);
	load_handles(fs, l);
	ops_dir_load(fs, l);
	ops_plain_load(fs, l);
	bases_load(fs->bases, l);
	events_load(fs->events, l);
	notify_load(fs->notify, l);
	load_timers(fs, l);
	struct inode **list = NULL;
	size_t n = 0;
	if (load_ok(l) && (!cursor_end(&l->in) || buf_failed(&fs->first)))
		load_fail(l, -EBADMSG);
	if (!load_ok(l) || inodes_get(fs, NULL, &list, &n) < 0)
		return;
	for (size_t k = 0; k < n; k++)
		if (list[k]->kind == NODE_DIR && list[k]->backing == BACK_NODE)
			dirpages_unknown(fs, list[k]);
	/* What each was made with; who is needed by nobody else goes. */
	for (size_t k = 0; k < n; k++)
		inode_put(fs, list[k]);
	inodes_put(fs, list, n);
}
