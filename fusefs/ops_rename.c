/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Renaming: where programs' ways of saving are told from what they look like. What they
 * may rely on: mount.fuse.shoal(8). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/commit.h"
#include "fusefs/draft.h"
#include "fusefs/event.h"
#include "fusefs/handle.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/notify.h"
#include "fusefs/shoaldir.h"
#include "fusefs/plain.h"
#include "fusefs/rules.h"
#include "fusefs/saveover.h"
#include "fusefs/spot.h"
#include "fusefs/tombstone.h"

/* A file that was made here so recently and is renamed over a document is a save. */
#define YOUNG_NS (600 * SECOND_NS)

/* The extended attributes of a node go with it. */
static void keep_xattrs(struct fusefs *fs, const struct id *node, struct local *l)
{
	_cleanup_(buf_done) struct buf names = { 0 };
	replica_list_xattr(fs->replica, node, &names);
	for (size_t at = 0; !buf_failed(&names) && at < names.len;) {
		const char *name = (const char *)names.data + at;
		_cleanup_(buf_done) struct buf value = { 0 };
		if (replica_get_xattr(fs->replica, node, name, &value) >= 0)
			local_xattr_set(l, name, value.data, value.len, false, false);
		at += strlen(name) + 1;
	}
}

/* i (NODE) becomes the local file parent/name with the bytes it has. i->lock held. */
static int become_aside(struct fusefs *fs, struct inode *i, const struct id *parent,
			const char *name, struct version *head)
{
	struct local *l = local_new(parent, name, S_IFREG | i->last.mode);
	struct copy *c = i->shared;
	if (!l || (!c && !(c = i->shared = copy_new()))) {
		local_free(l);
		return -ENOMEM;
	}
	if (!c->dirty && !c->users)
		copy_reset(c, head ? version_ref(head) : NULL);
	draft_drop(fs, i);
	c->dirty = c->draft = false;
	l->mtime_ns = i->last.mtime_ns;
	l->aside = true;
	keep_xattrs(fs, &i->id, l);
	inode_orphan(fs, i);
	i->backing = BACK_LOCAL;
	i->local = l;
	i->cache = (struct id){ 0 };
	int r = local_add(fs, i);
	if (r < 0) {
		i->local = NULL;
		i->backing = BACK_ORPHAN;
		local_free(l);
	}
	return r;
}

/* A local file whose name wants no document. i->lock held. */
static void no_draft(struct fusefs *fs, struct inode *i)
{
	if (i->shared)
		i->shared->draft = false;
	draft_mark(fs, i, false);
}

/* What is no document under a name that wants one, where that is refused, is a draft there, so
 * that it survives the program's tidying up. The file itself stays what it is. */
static int refused_new(struct fusefs *fs, struct inode *from, const struct spot *to,
		       const struct err *e)
{
	_cleanup_(local_freep) struct local *l = local_new(&to->parent, to->name, S_IFREG | 0644);
	struct copy *c = copy_new(), *bytes;
	struct inode *i = NULL;
	int r = l && c ? 0 : -ENOMEM;
	pthread_mutex_lock(&from->lock);
	if (r == 0)
		r = inode_shared(fs, from, &bytes);
	if (r == 0)
		r = copy_clone(fs, bytes, &c->work);
	if (r == 0) {
		l->mode = from->backing == BACK_LOCAL ? from->local->mode
						      : S_IFREG | from->last.mode;
		l->creator = from->backing == BACK_LOCAL ? from->local->creator : from->creator;
	}
	pthread_mutex_unlock(&from->lock);
	if (r == 0 && to->what == SPOT_LOCAL)
		r = spot_drop_local(fs, to);
	if (r == 0)
		r = inode_new(fs, BACK_LOCAL, NODE_FILE, &i);
	if (r < 0) {
		copy_free(c);
		return r;
	}
	pthread_mutex_lock(&i->lock);
	c->draft = c->flushed = true;
	c->err = *e;
	l->unsettled = true;
	i->shared = c;
	i->local = TAKE_PTR(l);
	r = local_add(fs, i);
	if (r == 0) {
		draft_mark(fs, i, true);
		r = local_store(fs, i, false);
	}
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	notify_entry(fs, &to->parent, to->name);
	return r < 0 ? r : -EINVAL;
}

/* 0: the file may have the name. */
static int check_name(struct fusefs *fs, struct inode *i, const struct spot *to)
{
	struct err e = { 0 };
	pthread_mutex_lock(&i->lock);
	bool refused = commit_refuses(fs, i, &to->parent, to->name, &e) && !i->shared->draft;
	pthread_mutex_unlock(&i->lock);
	return refused ? refused_new(fs, i, to, &e) : 0;
}

static bool own_work(struct fusefs *fs, const struct attr *attr)
{
	struct actor_id self;
	uint64_t seq;
	struct actors *actors = replica_actors(fs->replica);
	replica_self(fs->replica, &self, &seq);
	return attr->author < actors_count(actors) &&
	       actor_id_cmp(actors_get(actors, attr->author), &self) == 0;
}

/* An ignored directory stays with its kind: anything else is a copy, as between file systems. */
static int rename_plain(struct fusefs *fs, struct spot *from, struct spot *to)
{
	struct inode *i = from->inode;
	if (to->what == SPOT_NODE || !rules_ignore(fs, &to->parent, to->name, true))
		return -EXDEV;
	int r = to->what == SPOT_LOCAL ? plain_remove_root(fs, to->inode) : spot_bury(fs, to);
	if (r < 0)
		return r;
	if (to->what == SPOT_LOCAL)
		spot_drop_local(fs, to);
	pthread_mutex_lock(&i->lock);
	r = local_move(fs, i, &to->parent, to->name);
	pthread_mutex_unlock(&i->lock);
	return r;
}

/* One of the several names of a local file: the others say whether it is to leave this device. */
static int rename_one_name(struct fusefs *fs, struct spot *from, struct spot *to)
{
	struct inode *i = from->inode;
	const bool settles = S_ISREG(i->local->mode) && !i->ignored && !i->local->unsettled &&
			     !rules_here(fs, &to->parent, to->name);
	int r = hardlink_fits(fs, i, &to->parent);
	if (r == 0 && settles && to->what != SPOT_NODE)
		r = check_name(fs, i, to);
	if (r == 0)
		r = to->what == SPOT_NODE ? spot_remove_now(fs, to) : spot_bury(fs, to);
	if (r == 0 && to->what == SPOT_LOCAL)
		r = spot_drop_local(fs, to);
	if (r < 0)
		return r;
	pthread_mutex_lock(&i->lock);
	r = hardlink_move(fs, i, &from->parent, from->name, &to->parent, to->name);
	inode_changed(i);
	/* This is the name it was made for. */
	if (r == 0 && settles)
		r = hardlink_share(fs, i);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		spot_local_left(fs, from);
	return r;
}

static int rename_local(struct fusefs *fs, struct spot *from, struct spot *to, pid_t tid)
{
	struct inode *i = from->inode;
	bool litter = name_is_local(to->name, strlen(to->name));
	bool ignored = !litter && rules_ignore(fs, &to->parent, to->name, false);
	struct copy *c;
	if (i->kind == NODE_DIR)
		return rename_plain(fs, from, to);
	if (to->what == SPOT_NODE && to->attr.kind == NODE_DIR)
		return -EISDIR;
	if (i->local->also)
		return rename_one_name(fs, from, to);
	pthread_mutex_lock(&i->lock);
	int r = inode_shared(fs, i, &c);
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		return r;
	if (to->what == SPOT_NODE && to->attr.kind == NODE_FILE && i->kind == NODE_FILE &&
	    S_ISREG(i->local->mode) && !spot_is_one_of_several(fs, to))
		return save_over(fs, i, to->inode, &to->attr, NULL, tid);
	if (to->tomb && S_ISREG(i->local->mode) && !litter) {
		struct id node;
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct attr attr;
		if (tombstone_take(fs, &to->parent, to->name, &node, &v) &&
		    replica_attr(fs->replica, &node, &attr) >= 0)
			return save_over(fs, i, NULL, &attr, v, tid);
	} else if (to->tomb) {
		r = spot_bury(fs, to);
	}
	if (r == 0 && S_ISREG(i->local->mode) && to->what != SPOT_NODE)
		r = check_name(fs, i, to);
	if (r == 0 && to->what == SPOT_LOCAL)
		r = spot_drop_local(fs, to);
	if (r == 0 && to->what == SPOT_NODE)
		r = spot_remove_now(fs, to);
	if (r < 0)
		return r;
	pthread_mutex_lock(&i->lock);
	inode_changed(i);
	r = local_move(fs, i, &to->parent, to->name);
	if (r == 0)
		spot_local_left(fs, from);
	if (r == 0)
		local_ignored(fs, i, ignored);
	bool plain = !litter && !ignored;
	if (r == 0 && plain)
		inode_visited(fs, &to->parent, i->local->named_us);
	if (r == 0 && plain && S_ISLNK(i->local->mode)) {
		r = commit_settle(fs, i, NULL);
	} else if (r == 0 && plain && S_ISREG(i->local->mode)) {
		/* This is the name it was made for. If it cannot be now, the keeper tries on. */
		i->local->unsettled = true;
		i->local->aside = false;
		if (commit_settle(fs, i, NULL) < 0)
			keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SECOND_NS);
	} else if (r == 0) {
		i->local->unsettled = false;
		no_draft(fs, i);
		if (ignored && !c->dirty)
			r = local_store(fs, i, false);
		local_rest(i);
	}
	pthread_mutex_unlock(&i->lock);
	return r < 0 ? r : 0;
}

/* D -> D~: the name is about to be written again. */
static int rename_aside(struct fusefs *fs, struct spot *from, struct spot *to, pid_t tid)
{
	struct inode *i = from->inode;
	struct proc who;
	_cleanup_(version_unrefp) struct version *head = NULL;
	pthread_mutex_lock(&i->lock);
	if (i->shared && i->shared->dirty && !i->shared->draft)
		commit_copy(fs, i, i->shared, false, NULL);
	pthread_mutex_unlock(&i->lock);
	/* With what was just written. */
	int r = replica_read(fs->replica, &from->attr.id, &head);
	if (r == 0 && to->what == SPOT_LOCAL)
		r = spot_drop_local(fs, to);
	if (r < 0)
		return r;
	if (to->tomb)
		spot_bury(fs, to);
	procs_of(&fs->procs, tid, monotonic_ns(), &who);
	spot_bury(fs, from);
	pthread_mutex_lock(&i->lock);
	replica_attr(fs->replica, &from->attr.id, &i->last);
	struct attr attr = i->last;
	r = tombstone_add(fs, &from->parent, from->name, &attr, head, &who, true);
	if (r == 0)
		r = become_aside(fs, i, &to->parent, to->name, head);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		keeper_add(fs, TIMER_STORE, i->ino, monotonic_ns() + ASIDE_STORE_NS);
	return r;
}

/* The same for a name of a file that has others, or had: the backup is a copy, the name is free. */
static int leave_copy(struct fusefs *fs, struct spot *from, struct spot *to, pid_t tid)
{
	struct inode *i = from->inode, *copy = NULL;
	_cleanup_(version_unrefp) struct version *head = NULL;
	pthread_mutex_lock(&i->lock);
	int r = 0;
	if (i->shared && i->shared->dirty && !i->shared->draft)
		r = commit_copy(fs, i, i->shared, false, NULL);
	const struct owner owner = i->owner;
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		r = replica_read(fs->replica, &from->attr.id, &head);
	if (r == 0 && to->what == SPOT_LOCAL)
		r = spot_drop_local(fs, to);
	if (r == 0)
		r = inode_new(fs, BACK_LOCAL, NODE_FILE, &copy);
	if (!copy)
		return r;
	if (to->tomb)
		spot_bury(fs, to);
	pthread_mutex_lock(&copy->lock);
	copy->owner = owner;
	copy->local = local_new(&to->parent, to->name, S_IFREG | from->attr.mode);
	copy->shared = copy_new();
	r = copy->local && copy->shared ? 0 : -ENOMEM;
	if (r == 0) {
		copy->local->mtime_ns = from->attr.mtime_ns;
		copy->local->aside = true;
		procs_of(&fs->procs, tid, monotonic_ns(), &copy->local->creator);
		keep_xattrs(fs, &from->attr.id, copy->local);
		copy_reset(copy->shared, version_ref(head));
		r = local_add(fs, copy);
	}
	pthread_mutex_unlock(&copy->lock);
	if (r == 0) {
		keeper_add(fs, TIMER_STORE, copy->ino, monotonic_ns() + ASIDE_STORE_NS);
		r = spot_remove_now(fs, from);
		/* The kernel takes the file itself along. */
		notify_entry(fs, &to->parent, to->name);
	}
	inode_put(fs, copy);
	return r < 0 ? r : 0;
}

/* A node has been moved to parent/name, as id. */
static void moved(struct fusefs *fs, struct inode *i, const struct id *id, const struct id *parent,
		  const char *name)
{
	pthread_mutex_lock(&i->lock);
	const struct id before = i->id;
	inode_changed(i);
	if (!id_equal(id, &before)) {
		bool draft = i->draft_stored;
		if (draft)
			draft_drop(fs, i);
		inode_bind(fs, i, id);
		bases_rename(fs->bases, &before, id);
		if (draft)
			draft_store(fs, i);
	}
	inode_set_place(i, parent, name);
	i->cache = (struct id){ 0 }; /* versions are of another node, or name the new place */
	pthread_mutex_unlock(&i->lock);
}

static int one_is_enough(const char *name, size_t len, const struct id *id, enum node_kind kind,
			 void *userdata)
{
	(void)name;
	(void)len;
	(void)id;
	(void)kind;
	(void)userdata;
	return 1;
}

/* A directory cannot leave its collection, but an empty one can be made there and removed here. What
 * is in others goes file by file, which is mv(1)'s business: -EXDEV. */
static int move_empty(struct fusefs *fs, struct spot *from, struct spot *to, struct id *ret)
{
	const struct id *id = &from->attr.id;
	struct stat st;
	double timeout;
	struct attr attr;
	struct committer own;
	if (spot_only_nodes(fs, id) < 0 || replica_names(fs->replica, id, one_is_enough, NULL) != 0)
		return -EXDEV;
	pthread_mutex_lock(&from->inode->lock);
	int r = inode_attr(fs, from->inode, &st, &timeout);
	pthread_mutex_unlock(&from->inode->lock);
	fs_own_begin(fs, &own);
	if (r == 0 && to->what == SPOT_NODE)
		r = replica_remove(fs->replica, &to->attr.id, 0);
	if (r == 0)
		r = replica_mkdir(fs->replica, &to->parent, to->name, strlen(to->name),
				  from->attr.mode, &attr);
	if (r >= 0)
		r = commit_dress(fs, id, &attr.id);
	/* What came and went in it is seen already. */
	if (r >= 0)
		r = replica_set_mtime(fs->replica, &attr.id,
				      (int64_t)st.st_mtim.tv_sec * SECOND_NS + st.st_mtim.tv_nsec);
	if (r >= 0)
		r = replica_remove(fs->replica, id, 0);
	fs_own_end(fs, &own);
	if (r >= 0)
		*ret = attr.id;
	return r;
}

static int rename_node(struct fusefs *fs, struct spot *from, struct spot *to, unsigned flags,
		       pid_t tid)
{
	struct inode *i = from->inode;
	size_t len = strlen(to->name);
	int r = 0;
	if (from->attr.kind == NODE_FILE && name_is_local(to->name, len) &&
	    to->what != SPOT_NODE && spot_is_link(from))
		return leave_copy(fs, from, to, tid);
	if (from->attr.kind == NODE_FILE && name_is_local(to->name, len) && to->what != SPOT_NODE)
		return rename_aside(fs, from, to, tid);
	if (to->what == SPOT_NODE && to->attr.kind == NODE_DIR && from->attr.kind == NODE_DIR) {
		r = spot_only_nodes(fs, &to->attr.id);
		if (r < 0)
			return r;
	}
	if (from->attr.kind == NODE_FILE && from->attr.form != FORM_JSON &&
	    !name_is_json(from->name, strlen(from->name)) && to->what != SPOT_NODE)
		r = check_name(fs, i, to);
	if (r < 0)
		return r;
	if (from->attr.kind == NODE_FILE) {
		pthread_mutex_lock(&i->lock);
		if (i->shared && i->shared->dirty && !i->shared->draft)
			r = commit_copy(fs, i, i->shared, false, NULL);
		bool young = i->born_ns && monotonic_ns() - i->born_ns < YOUNG_NS;
		pthread_mutex_unlock(&i->lock);
		if (r < 0)
			return r;
		if (to->what == SPOT_NODE && to->attr.kind == NODE_FILE && young &&
		    own_work(fs, &from->attr) && !spot_is_link(from) &&
		    !spot_is_one_of_several(fs, to) &&
		    (to->attr.form == FORM_TEXT ||
		     (to->attr.form == FORM_JSON && name_is_json(to->name, len))))
			return save_over(fs, i, to->inode, &to->attr, NULL, tid);
	}
	r = to->what == SPOT_LOCAL ? spot_drop_local(fs, to) : spot_bury(fs, to);
	struct id id = from->attr.entry;
	if (r == 0) {
		struct committer own;
		fs_own_begin(fs, &own);
		r = replica_rename(fs->replica, &from->attr.entry, &to->parent, to->name, len,
				   flags, &id);
		fs_own_end(fs, &own);
	}
	if (r == -EXDEV && from->attr.kind == NODE_DIR)
		r = move_empty(fs, from, to, &id);
	if (r < 0)
		return r;
	if (to->what == SPOT_NODE)
		spot_node_left(fs, to);
	/* A hard link has moved, its file has not. */
	if (!id_equal(&from->attr.entry, &from->attr.id))
		id = from->attr.id;
	if (from->attr.kind == NODE_DIR) {
		inode_recount(fs, &from->parent);
		inode_recount(fs, &to->parent);
	}
	moved(fs, i, &id, &to->parent, to->name);
	return 0;
}

/* a (LOCAL) goes where b (NODE) is, and the other way round. */
static int exchange_local(struct fusefs *fs, struct spot *a, struct spot *b)
{
	const struct id parent = a->parent;
	struct id id;
	pthread_mutex_lock(&a->inode->lock);
	int r = local_move(fs, a->inode, &b->parent, b->name);
	inode_changed(a->inode);
	/* What was there others have, and so will they have this. */
	if (r == 0 && S_ISREG(a->inode->local->mode) && !a->inode->ignored) {
		a->inode->local->unsettled = true;
		a->inode->local->aside = false;
		keeper_add(fs, TIMER_SETTLE, a->inode->ino, monotonic_ns() + SETTLE_NS);
	}
	pthread_mutex_unlock(&a->inode->lock);
	if (r < 0)
		return r;
	struct committer own;
	fs_own_begin(fs, &own);
	r = replica_rename(fs->replica, &b->attr.entry, &parent, a->name, strlen(a->name),
			   RENAME_FLAG_NOREPLACE, &id);
	fs_own_end(fs, &own);
	if (r < 0) {
		pthread_mutex_lock(&a->inode->lock);
		local_move(fs, a->inode, &parent, a->name);
		pthread_mutex_unlock(&a->inode->lock);
		return r;
	}
	if (!id_equal(&b->attr.entry, &b->attr.id))
		id = b->attr.id;
	moved(fs, b->inode, &id, &parent, a->name);
	inode_recount(fs, &parent);
	inode_recount(fs, &b->parent);
	return 0;
}

/* Whether a file is to leave this device belongs to its name. */
static int exchange_move(struct fusefs *fs, struct inode *i, const struct id *parent,
			 const char *name, bool unsettled, bool aside)
{
	pthread_mutex_lock(&i->lock);
	i->local->unsettled = unsettled;
	i->local->aside = aside;
	if (!unsettled)
		no_draft(fs, i);
	int r = local_move(fs, i, parent, name);
	pthread_mutex_unlock(&i->lock);
	if (r == 0 && unsettled)
		keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SETTLE_NS);
	return r;
}

/* Will it be shared in the other one's place? A special file has no say in that, and stays here itself. */
static bool settles_there(const struct local *l, const struct local *other)
{
	if (!S_ISREG(l->mode))
		return false;
	return S_ISREG(other->mode) ? other->unsettled
				    : !name_is_local(other->name, strlen(other->name));
}

static int exchange_locals(struct fusefs *fs, const struct spot *a, const struct spot *b)
{
	const struct local *x = a->inode->local, *y = b->inode->local;
	struct id parent = a->parent;
	_cleanup_free_ char *name = strdup(a->name);
	const bool x_settles = settles_there(x, y), y_settles = settles_there(y, x);
	const bool x_aside = x->aside, y_aside = y->aside;
	int r = name ? 0 : -ENOMEM;
	if (r == 0 && S_ISREG(x->mode) && S_ISREG(y->mode)) {
		r = check_name(fs, a->inode, b);
		if (r == 0)
			r = check_name(fs, b->inode, a);
	}
	/* By a name that no one can have. */
	if (r == 0)
		r = exchange_move(fs, a->inode, &parent, "/", x_settles, y_aside);
	if (r == 0)
		r = exchange_move(fs, b->inode, &parent, name, y_settles, x_aside);
	if (r == 0)
		r = exchange_move(fs, a->inode, &b->parent, b->name, x_settles, y_aside);
	return r;
}

static int exchange(struct fusefs *fs, struct spot *a, struct spot *b, pid_t tid)
{
	if (a->what == SPOT_NODE && b->what == SPOT_LOCAL) {
		struct spot *t = a;
		a = b;
		b = t;
	}
	int r;
	if ((a->what == SPOT_LOCAL && a->inode->kind == NODE_DIR) ||
	    (b->what == SPOT_LOCAL && b->inode->kind == NODE_DIR))
		return -EXDEV; /* ignored directories */
	if ((a->what == SPOT_LOCAL && a->inode->local->also) ||
	    (b->what == SPOT_LOCAL && b->inode->local->also))
		return -EBUSY; /* on its way to settle, or something special */
	if (a->what == SPOT_LOCAL && b->what == SPOT_LOCAL) {
		r = exchange_locals(fs, a, b);
		/* Each has the other's name, and perhaps no rule any more. */
		keeper_add(fs, TIMER_RULES, 0, 0);
		return r;
	}
	if (a->what == SPOT_LOCAL) {
		/* The temp file becomes the document's next version; its name gets the old one,
		 * and others see it there unless that is a temporary name. */
		if (b->attr.kind != NODE_FILE || !S_ISREG(a->inode->local->mode) ||
		    spot_is_one_of_several(fs, b))
			return exchange_local(fs, a, b);
		_cleanup_(version_unrefp) struct version *head = NULL;
		r = replica_read(fs->replica, &b->attr.id, &head);
		if (r < 0)
			return r;
		struct id parent = a->parent;
		_cleanup_free_ char *name = strdup(a->name);
		bool fresh = a->inode->local->unsettled;
		r = name ? save_over(fs, a->inode, b->inode, &b->attr, NULL, tid) : -ENOMEM;
		if (r < 0)
			return r;
		pthread_mutex_lock(&b->inode->lock);
		r = become_aside(fs, b->inode, &parent, name, head);
		if (r == 0 && fresh) {
			b->inode->local->unsettled = true;
			b->inode->local->aside = false;
		}
		pthread_mutex_unlock(&b->inode->lock);
		if (r == 0 && fresh)
			keeper_add(fs, TIMER_SETTLE, b->inode->ino, monotonic_ns() + SETTLE_NS);
		return r;
	}
	struct committer own;
	struct id id;
	fs_own_begin(fs, &own);
	r = replica_rename(fs->replica, &a->attr.entry, &b->parent, b->name, strlen(b->name),
			   RENAME_FLAG_EXCHANGE, &id);
	fs_own_end(fs, &own);
	if (r < 0)
		return r;
	inode_recount(fs, &a->parent);
	inode_recount(fs, &b->parent);
	struct inode *i[2] = { a->inode, b->inode };
	const struct spot *at[2] = { b, a };
	for (unsigned k = 0; k < 2; k++) {
		struct attr attr;
		pthread_mutex_lock(&i[k]->lock);
		inode_changed(i[k]);
		/* Across collections both are other nodes now. */
		if (replica_lookup(fs->replica, &at[k]->parent, at[k]->name, strlen(at[k]->name),
				   &attr) >= 0 &&
		    !id_equal(&attr.id, &i[k]->id))
			inode_bind(fs, i[k], &attr.id);
		inode_set_place(i[k], &at[k]->parent, at[k]->name);
		i[k]->cache = (struct id){ 0 };
		pthread_mutex_unlock(&i[k]->lock);
	}
	return 0;
}

/* Replacing a new document, or renaming it aside, is the beginning of its next save. */
static int finish(struct fusefs *fs, struct spot *s)
{
	struct id parent = s->parent;
	const char *name = s->name;
	if (s->what != SPOT_LOCAL || !commit_finished(fs, s->inode))
		return 0;
	spot_done(fs, s);
	return spot_find(fs, &parent, name, s);
}

static int do_rename(struct fusefs *fs, const struct id *parent, const char *name,
		     const struct id *newparent, const char *newname, unsigned flags, pid_t tid)
{
	struct spot from, to = { 0 };
	int r = spot_find(fs, parent, name, &from);
	if (r == 0)
		r = spot_find(fs, newparent, newname, &to);
	if (r < 0)
		goto out;
	r = finish(fs, &to);
	if (r == 0 && ((flags & RENAME_EXCHANGE) || name_is_local(newname, strlen(newname))))
		r = finish(fs, &from);
	if (r < 0)
		goto out;
	bool dir = from.inode && from.inode->kind == NODE_DIR;
	if (from.what == SPOT_NONE || ((flags & RENAME_EXCHANGE) && to.what == SPOT_NONE))
		r = -ENOENT;
	else if ((flags & RENAME_NOREPLACE) && to.what != SPOT_NONE)
		r = -EEXIST;
	else if (flags & RENAME_EXCHANGE)
		r = exchange(fs, &from, &to, tid);
	else if (from.what == SPOT_NODE && to.what == SPOT_LOCAL && dir &&
		 to.inode->kind == NODE_DIR)
		r = -EXDEV;
	else if (to.what != SPOT_NONE && dir && to.inode->kind != NODE_DIR)
		r = -ENOTDIR;
	else if (to.what != SPOT_NONE && !dir && to.inode->kind == NODE_DIR)
		r = -EISDIR;
	else if (from.what == SPOT_LOCAL)
		r = rename_local(fs, &from, &to, tid);
	else
		r = rename_node(fs, &from, &to,
				flags & RENAME_NOREPLACE ? RENAME_FLAG_NOREPLACE : 0, tid);
out:
	spot_done(fs, &from);
	spot_done(fs, &to);
	return r;
}

/* A large file that is saved by this rename: the mount would stand still while its bytes are stored. */
static void store_ahead(struct fusefs *fs, const struct id *dir, const char *name,
			const struct id *newdir, const char *newname)
{
	struct inode *i = NULL;
	struct attr attr;
	struct id hidden;
	if (replica_lookup(fs->replica, newdir, newname, strlen(newname), &attr) == 0 &&
	    attr.form == FORM_BLOB && local_find(fs, dir, name, &i, &hidden) == OVERLAY_LOCAL)
		commit_ahead(fs, i);
	inode_put(fs, i);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	if (event_rename(req, parent, name, newparent, newname))
		return;
	struct fusefs *fs = fs_of(req);
	struct id a, b;
	int q = 0, r = flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)
			       ? -EINVAL
			       : spot_parent(fs, parent, name, &a);
	if (r >= 0)
		q = spot_parent(fs, newparent, newname, &b);
	if (r < 0 || q < 0) {
		r = r < 0 ? r : q;
	} else if (r > 0 || q > 0) {
		r = shoaldir_rename(fs, parent, name, newparent, newname, flags);
	} else {
		store_ahead(fs, &a, name, &b, newname);
		names_lock(fs);
		r = do_rename(fs, &a, name, &b, newname, flags, fuse_req_ctx(req)->pid);
		pthread_mutex_unlock(&fs->names);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
}

void ops_rename_fill(struct fuse_lowlevel_ops *ops)
{
	ops->rename = op_rename;
}
