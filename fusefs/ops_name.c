/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating, removing and linking. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/commit.h"
#include "fusefs/event.h"
#include "fusefs/handle.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/newfile.h"
#include "fusefs/notify.h"
#include "fusefs/saveover.h"
#include "fusefs/shoaldir.h"
#include "fusefs/plain.h"
#include "fusefs/rules.h"
#include "fusefs/spot.h"
#include "fusefs/tombstone.h"

/* ---- removing ---- */

static int do_unlink(struct fusefs *fs, const struct id *parent, const char *name, pid_t tid)
{
	struct spot s;
	int r = spot_find(fs, parent, name, &s);
	if (r < 0)
		return r;
	struct proc who;
	procs_of(&fs->procs, tid, monotonic_ns(), &who);
	_cleanup_(version_unrefp) struct version *v = NULL;
	switch (s.what) {
	case SPOT_NONE:
		return -ENOENT;
	case SPOT_LOCAL:
		if (s.inode->kind == NODE_DIR) {
			r = -EISDIR;
			break;
		}
		r = spot_drop_local(fs, &s);
		if (r == 0)
			spot_local_left(fs, &s);
		break;
	case SPOT_NODE:
		if (s.attr.kind == NODE_DIR) {
			r = -EISDIR;
			break;
		}
		spot_bury(fs, &s);
		/* Who saves so breaks a hard link, here as elsewhere. */
		if (s.attr.kind == NODE_LINK || spot_is_link(&s)) {
			r = spot_remove_now(fs, &s);
			break;
		}
		/* Now, so that a handle that is being released does not commit in between: the
		 * deletion would take that for somebody else's change. */
		spot_drop_node(fs, s.inode);
		r = replica_attr(fs->replica, &s.attr.id, &s.attr);
		if (r < 0)
			break;
		replica_read(fs->replica, &s.attr.id, &v);
		r = tombstone_add(fs, parent, name, &s.attr, v, &who, false);
		break;
	}
	spot_done(fs, &s);
	return r;
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (event_remove(req, parent, name))
		return;
	struct fusefs *fs = fs_of(req);
	struct id dir;
	int r = spot_parent(fs, parent, name, &dir);
	if (r == 0) {
		names_lock(fs);
		r = do_unlink(fs, &dir, name, fuse_req_ctx(req)->pid);
		pthread_mutex_unlock(&fs->names);
	} else if (r > 0) {
		r = shoaldir_remove(fs, parent, name, false);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
}

/* A directory that a rule ignores. */
static int rmdir_plain(struct fusefs *fs, struct spot *s)
{
	int r = plain_remove_root(fs, s->inode);
	if (r == 0)
		spot_drop_local(fs, s);
	return r;
}

static int do_rmdir(struct fusefs *fs, const struct id *parent, const char *name)
{
	struct spot s;
	int r = spot_find(fs, parent, name, &s);
	if (r < 0)
		return r;
	if (s.what == SPOT_NONE)
		r = -ENOENT;
	else if (s.inode->kind != NODE_DIR)
		r = -ENOTDIR;
	else if (s.what == SPOT_LOCAL)
		r = rmdir_plain(fs, &s);
	else
		r = spot_only_nodes(fs, &s.attr.id);
	if (r == 0 && s.what == SPOT_NODE)
		r = spot_remove_now(fs, &s);
	if (r >= 0 && s.what == SPOT_NODE)
		inode_recount(fs, parent);
	spot_done(fs, &s);
	return r;
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (event_remove(req, parent, name))
		return;
	struct fusefs *fs = fs_of(req);
	struct id dir;
	int r = spot_parent(fs, parent, name, &dir);
	if (r == 0) {
		names_lock(fs);
		r = do_rmdir(fs, &dir, name);
		pthread_mutex_unlock(&fs->names);
	} else if (r > 0) {
		r = shoaldir_remove(fs, parent, name, true);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
}

/* ---- making ---- */

/* As in other file systems: a directory with the set-group-id bit gives its group on. */
static struct maker maker_of(fuse_req_t req, fuse_ino_t parent)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct maker m = { .tid = ctx->pid, .owner = { ctx->uid, ctx->gid } };
	struct inode *dir = inode_get(fs_of(req), parent);
	if (!dir)
		return m;
	pthread_mutex_lock(&dir->lock);
	if (dir->last.mode & S_ISGID) {
		m.owner.gid = dir->owner.gid;
		m.setgid = S_ISGID;
	}
	pthread_mutex_unlock(&dir->lock);
	inode_put(fs_of(req), dir);
	return m;
}

/* A new node is his who made it, whoever had one of this id before. */
static int give_node(struct fusefs *fs, const struct attr *attr, const struct maker *m,
		     struct inode **ret)
{
	struct inode *i;
	int r = inode_of_node(fs, attr, &i);
	if (r < 0)
		return r;
	pthread_mutex_lock(&i->lock);
	inode_set_owner(fs, i, &m->owner);
	i->atime_ns = 0;
	pthread_mutex_unlock(&i->lock);
	*ret = i;
	return 0;
}

/* The name of a document that was removed a moment ago: it is being saved. */
static int adopt(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode,
		 const struct maker *m, struct inode **ret)
{
	struct id node;
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (!tombstone_take(fs, parent, name, &node, &v))
		return -ENOENT;
	struct inode *i = NULL;
	struct copy *c = copy_new();
	int r = c ? workfile_new(fs->spool, &c->work) : -ENOMEM;
	if (r == 0)
		r = inode_new(fs, BACK_NODE, NODE_FILE, &i);
	if (r < 0) {
		copy_free(c);
		return r;
	}
	struct proc who;
	procs_of(&fs->procs, m->tid, monotonic_ns(), &who);
	version_set(&c->fallback, v);
	copy_touch(c, &who);
	pthread_mutex_lock(&i->lock);
	i->owner = m->owner;
	i->ctime_ns = c->mtime_ns;
	inode_bind(fs, i, &node);
	inode_set_place(i, parent, name);
	i->shared = c;
	replica_attr(fs->replica, &node, &i->last);
	pthread_mutex_unlock(&i->lock);
	if (i->last.mode != (mode & 07777)) {
		struct committer own;
		fs_own_begin(fs, &own);
		replica_set_mode(fs->replica, &node, mode & 07777);
		fs_own_end(fs, &own);
	}
	*ret = i;
	return 0;
}

static int make_file(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode,
		     int flags, const struct maker *m, struct inode **ret, bool *ret_there)
{
	struct spot s;
	*ret_there = false;
	int r = spot_find(fs, parent, name, &s);
	if (r < 0)
		return r;
	if (s.what != SPOT_NONE) {
		*ret_there = true;
		if (flags & O_EXCL)
			r = -EEXIST;
		else if (s.inode->kind == NODE_DIR)
			r = -EISDIR;
		if (r < 0)
			spot_done(fs, &s);
		else
			*ret = s.inode;
		return r;
	}
	if (s.tomb) {
		r = adopt(fs, parent, name, mode, m, ret);
		if (r != -ENOENT)
			return r;
	}
	/* Is the directory still there? */
	struct attr attr;
	if (!id_equal(parent, &NODE_ROOT) && replica_attr(fs->replica, parent, &attr) < 0)
		return -ENOENT;
	return newfile_make(fs, parent, name, S_IFREG | (mode & 07777), flags & O_EXCL, m, ret);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	if (event_create(req, parent, name, fi))
		return;
	struct fusefs *fs = fs_of(req);
	const struct maker m = maker_of(req, parent);
	struct id dir;
	struct inode *i = NULL;
	bool there = false;
	struct fuse_entry_param e;
	const bool nameless = strcmp(name, NEWFILE_NO_NAME) == 0;
	int r = spot_parent(fs, parent, name, &dir);
	if (r > 0 && nameless)
		r = -EOPNOTSUPP;
	if (r == 0) {
		names_lock(fs);
		r = nameless ? newfile_nameless(fs, mode, &m, &i)
			     : make_file(fs, &dir, name, mode, fi->flags, &m, &i, &there);
		if (r == 0 && there && (fi->flags & O_ACCMODE) != O_RDONLY)
			commit_finished(fs, i);
		/* Opened under names: it does not settle in between. */
		if (r == 0)
			r = handle_open(fs, i, false, there ? fi->flags : fi->flags & ~O_TRUNC, m.tid, fi);
		pthread_mutex_unlock(&fs->names);
	} else if (r > 0) {
		r = shoaldir_create(fs, parent, name, fi->flags & O_EXCL, &i);
		if (r == 0)
			r = handle_open(fs, i, false, fi->flags, m.tid, fi);
	}
	if (r == 0) {
		r = make_entry(fs, i, &e);
		if (r == 0 && fuse_reply_create(req, &e, fi) < 0)
			inode_forget(fs, i->ino, 1);
	}
	inode_put(fs, i);
	if (r < 0)
		fuse_reply_err(req, -r);
}

/* A fifo, socket or device: stays here. */
static int make_special(struct fusefs *fs, const struct id *dir, const char *name, mode_t mode,
			dev_t rdev, const struct maker *m, struct inode **ret)
{
	struct spot s;
	int r = spot_find(fs, dir, name, &s);
	if (r == 0 && s.what != SPOT_NONE)
		r = -EEXIST;
	spot_done(fs, &s);
	if (r == 0)
		r = spot_bury(fs, &s);
	if (r == 0)
		r = newfile_make(fs, dir, name, mode, true, m, ret);
	if (r < 0)
		return r;
	pthread_mutex_lock(&(*ret)->lock);
	(*ret)->rdev = rdev;
	local_store(fs, *ret, false);
	pthread_mutex_unlock(&(*ret)->lock);
	return 0;
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fusefs *fs = fs_of(req);
	const struct maker m = maker_of(req, parent);
	struct id dir;
	struct inode *i = NULL;
	bool there = false;
	int r = spot_parent(fs, parent, name, &dir);
	if (r > 0)
		r = -EPERM;
	if (r == 0) {
		names_lock(fs);
		if (S_ISREG(mode))
			r = make_file(fs, &dir, name, mode, O_EXCL, &m, &i, &there);
		else
			r = make_special(fs, &dir, name, mode, rdev, &m, &i);
		pthread_mutex_unlock(&fs->names);
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (S_ISREG(mode))
		keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SETTLE_NS);
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

/* A directory that is this device's alone, with all that will be in it. */
static int make_plain(struct fusefs *fs, const struct id *parent, const char *name, mode_t mode,
		      struct inode **ret)
{
	_cleanup_(local_freep) struct local *l = local_new(parent, name, S_IFDIR | (mode & 07777));
	struct inode *i = NULL;
	int r = l ? plain_make_root(fs, mode, l->spool, &i) : -ENOMEM;
	if (r < 0)
		return r;
	i->ignored = true;
	i->local = TAKE_PTR(l);
	r = local_add(fs, i);
	if (r == 0)
		r = local_store(fs, i, false);
	if (r == 0) {
		*ret = i;
		return 0;
	}
	plain_remove_root(fs, i);
	local_remove(fs, i);
	inode_put(fs, i);
	return r;
}

static int make_dir(struct fusefs *fs, const struct id *parent, const char *name, mode_t mode,
		    const struct maker *m, struct inode **ret)
{
	struct attr attr;
	struct committer own;
	if (rules_ignore(fs, parent, name, true))
		return make_plain(fs, parent, name, mode, ret);
	fs_own_begin(fs, &own);
	int r = replica_mkdir(fs->replica, parent, name, strlen(name), (mode & 07777) | m->setgid,
			      &attr);
	fs_own_end(fs, &own);
	inode_recount(fs, parent);
	return r < 0 ? r : give_node(fs, &attr, m, ret);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (event_create(req, parent, name, NULL))
		return;
	struct fusefs *fs = fs_of(req);
	const struct maker m = maker_of(req, parent);
	struct id dir;
	struct inode *i = NULL;
	int r = spot_parent(fs, parent, name, &dir);
	if (r == 0) {
		struct spot s;
		names_lock(fs);
		r = spot_find(fs, &dir, name, &s);
		if (r == 0 && s.what != SPOT_NONE)
			r = -EEXIST;
		spot_done(fs, &s);
		if (r == 0)
			r = spot_bury(fs, &s);
		if (r == 0)
			r = make_dir(fs, &dir, name, mode, &m, &i);
		pthread_mutex_unlock(&fs->names);
	} else if (r > 0) {
		r = shoaldir_mkdir(fs, parent, name, &i);
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

static int do_symlink(struct fusefs *fs, const struct id *dir, const char *name, const char *target,
		      const struct maker *m, struct inode **ret)
{
	struct spot s;
	struct attr attr;
	int r = spot_find(fs, dir, name, &s);
	if (r == 0 && s.what != SPOT_NONE)
		r = -EEXIST;
	spot_done(fs, &s);
	if (r == 0)
		r = spot_bury(fs, &s);
	if (r < 0)
		return r;
	if (rules_here(fs, dir, name)) {
		r = newfile_make(fs, dir, name, S_IFLNK | 0777, true, m, ret);
		if (r < 0)
			return r;
		pthread_mutex_lock(&(*ret)->lock);
		(*ret)->local->target = strdup(target);
		local_store(fs, *ret, false);
		pthread_mutex_unlock(&(*ret)->lock);
		return 0;
	}
	struct committer own;
	fs_own_begin(fs, &own);
	r = replica_symlink(fs->replica, dir, name, strlen(name), target, &attr);
	fs_own_end(fs, &own);
	return r < 0 ? r : give_node(fs, &attr, m, ret);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	if (event_create(req, parent, name, NULL))
		return;
	struct fusefs *fs = fs_of(req);
	const struct maker m = maker_of(req, parent);
	struct id dir;
	struct inode *i = NULL;
	int r = spot_parent(fs, parent, name, &dir);
	if (r > 0)
		r = -EPERM;
	if (r == 0 && strlen(link) > LINK_SIZE_MAX)
		r = -ENAMETOOLONG;
	if (r == 0) {
		names_lock(fs);
		r = do_symlink(fs, &dir, name, link, &m, &i);
		pthread_mutex_unlock(&fs->names);
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

/* ---- linking ---- */

/* What a file is at a moment. */
struct snapshot {
	struct version *version; /* or */
	struct workfile *work;
	struct owner owner;
	uint32_t mode;
	int64_t mtime_ns;
};

static void snapshot_done(struct snapshot *s)
{
	version_unrefp(&s->version);
	workfile_freep(&s->work);
}

static int snapshot_take(struct fusefs *fs, struct inode *from, struct snapshot *ret)
{
	pthread_mutex_lock(&from->lock);
	const struct local *l = from->local;
	*ret = (struct snapshot){
		.owner = from->owner,
		.mode = l ? l->mode & 07777 : from->last.mode,
		.mtime_ns = l ? l->mtime_ns : from->last.mtime_ns,
	};
	struct copy *c;
	int r = l ? inode_shared(fs, from, &c) : 0;
	if (r == 0 && from->shared && from->shared->work)
		r = copy_clone(fs, from->shared, &ret->work);
	else if (r == 0)
		r = replica_read(fs->replica, &from->id, &ret->version);
	pthread_mutex_unlock(&from->lock);
	return r;
}

/* A local file of it that stays here; takes the bytes. */
static int snapshot_make(struct fusefs *fs, struct snapshot *s, const struct id *dir, const char *name,
			 pid_t tid, struct inode **ret)
{
	const struct maker m = { .tid = tid, .owner = s->owner };
	struct inode *i;
	int r = newfile_make(fs, dir, name, S_IFREG | s->mode, true, &m, &i);
	if (r < 0)
		return r;
	pthread_mutex_lock(&i->lock);
	copy_reset(i->shared, TAKE_PTR(s->version));
	i->shared->work = TAKE_PTR(s->work);
	i->local->aside = true;
	i->local->mtime_ns = s->mtime_ns;
	pthread_mutex_unlock(&i->lock);
	keeper_add(fs, TIMER_STORE, i->ino, monotonic_ns() + ASIDE_STORE_NS);
	*ret = i;
	return 0;
}

/* A copy of the moment, for the backups that programs make. */
static int make_snapshot(struct fusefs *fs, struct inode *from, const struct id *dir, const char *name,
			 pid_t tid, struct inode **ret)
{
	_cleanup_(snapshot_done) struct snapshot s;
	int r = snapshot_take(fs, from, &s);
	return r < 0 ? r : snapshot_make(fs, &s, dir, name, tid, ret);
}

/* unlink D, link T to D, unlink T: a save, as it is with rename. T, which is about to go, is a copy from
 * then on. -ENOENT: nothing waits under the name any more. */
static int link_over(struct fusefs *fs, struct inode *from, const struct spot *to, pid_t tid)
{
	_cleanup_(snapshot_done) struct snapshot s;
	_cleanup_(version_unrefp) struct version *v = NULL;
	_cleanup_free_ char *name = strdup(from->local->name);
	const struct id parent = from->local->parent;
	struct inode *copy = NULL;
	struct id node;
	struct attr attr;
	int r = name ? snapshot_take(fs, from, &s) : -ENOMEM;
	if (r == 0 && !tombstone_take(fs, &to->parent, to->name, &node, &v))
		r = -ENOENT;
	if (r == 0)
		r = replica_attr(fs->replica, &node, &attr);
	if (r == 0)
		r = save_over(fs, from, NULL, &attr, v, tid);
	if (r < 0)
		return r;
	r = snapshot_make(fs, &s, &parent, name, tid, &copy);
	inode_put(fs, copy);
	notify_entry(fs, &parent, name);
	return r;
}

/* Is it a temporary file that becomes the next version of what waits to be deleted there? */
static bool links_over(struct inode *from, const struct spot *to)
{
	pthread_mutex_lock(&from->lock);
	bool yes = to->tomb && from->backing == BACK_LOCAL && S_ISREG(from->local->mode) &&
		   !from->local->unsettled && !from->local->also && !from->ignored &&
		   !name_is_local(to->name, strlen(to->name));
	pthread_mutex_unlock(&from->lock);
	return yes;
}

/* A further name of a node. */
static int link_node(struct fusefs *fs, struct inode *from, const struct id *dir, const char *name)
{
	struct committer own;
	if (rules_here(fs, dir, name))
		return -EXDEV;
	pthread_mutex_lock(&from->lock);
	struct id id = from->id;
	pthread_mutex_unlock(&from->lock);
	fs_own_begin(fs, &own);
	int r = replica_link(fs->replica, &id, dir, name, strlen(name), NULL);
	fs_own_end(fs, &own);
	if (r < 0)
		return r;
	pthread_mutex_lock(&from->lock);
	inode_changed(from);
	pthread_mutex_unlock(&from->lock);
	return 0;
}

/* A further name of what only this device has. What was made under a name for scraps has got its own
 * with that. from->lock held. */
static int link_local(struct fusefs *fs, struct inode *from, const struct id *dir, const char *name)
{
	struct local *l = from->local;
	bool litter = name_is_local(name, strlen(name));
	bool regular = S_ISREG(l->mode);
	if (hardlink_count(l) + 1 >= LINKS_MAX)
		return -EMLINK;
	if ((regular || S_ISLNK(l->mode)) && !litter && rules_ignore(fs, dir, name, false) != from->ignored &&
	    (from->ignored || !name_is_local(l->name, strlen(l->name))))
		return -EXDEV;
	int r = hardlink_fits(fs, from, dir);
	if (r == 0)
		r = hardlink_add(fs, from, dir, name);
	if (r < 0)
		return r;
	inode_changed(from);
	if (!litter)
		inode_visited(fs, dir, replica_now_us(fs->replica));
	return !regular || litter || from->ignored || l->unsettled ? 0 : hardlink_share(fs, from);
}

/* The first name of a file that was made without one. */
static int link_nameless(struct fusefs *fs, struct inode *from, const struct id *dir, const char *name,
			 const struct spot *to, pid_t tid, struct inode **ret)
{
	const bool saves = to->tomb && !name_is_local(name, strlen(name));
	int r = saves ? newfile_save(fs, from, dir, name, tid) : -ENOENT;
	if (r == -ENOENT) {
		r = spot_bury(fs, to);
		if (r == 0)
			r = newfile_name(fs, from, dir, name);
	}
	if (r == 0)
		*ret = inode_ref(fs, from);
	return r;
}

static int do_link(struct fusefs *fs, struct inode *from, const struct id *dir, const char *name,
		   pid_t tid, struct inode **ret)
{
	struct spot s;
	struct attr attr;
	const char *part;
	size_t part_len, len = strlen(name);
	int r = spot_find(fs, dir, name, &s);
	if (r == 0 && s.what != SPOT_NONE)
		r = -EEXIST;
	spot_done(fs, &s);
	if (r == 0 && !id_equal(dir, &NODE_ROOT) && replica_attr(fs->replica, dir, &attr) < 0)
		r = -ENOENT;
	if (r == 0 && newfile_is_nameless(from))
		return link_nameless(fs, from, dir, name, &s, tid, ret);
	if (r == 0 && links_over(from, &s)) {
		r = link_over(fs, from, &s, tid);
		if (r == 0)
			*ret = inode_ref(fs, from);
		if (r != -ENOENT)
			return r;
		r = 0;
	}
	if (r == 0)
		r = spot_bury(fs, &s);
	if (r < 0)
		return r;
	pthread_mutex_lock(&from->lock);
	/* If it can be a node it is one. */
	if (from->backing == BACK_LOCAL && from->local->unsettled && !from->local->also &&
	    inode_shared(fs, from, &(struct copy *){ 0 }) == 0 && !from->shared->draft)
		commit_settle(fs, from, NULL);
	enum backing backing = from->backing;
	if (backing == BACK_LOCAL)
		r = link_local(fs, from, dir, name);
	pthread_mutex_unlock(&from->lock);
	if (backing == BACK_ORPHAN)
		return -ENOENT;
	if (backing == BACK_NODE && from->kind == NODE_FILE &&
	    (name_is_local(name, len) || name_backup_of(name, len, &part, &part_len)))
		return make_snapshot(fs, from, dir, name, tid, ret);
	if (backing == BACK_NODE)
		r = link_node(fs, from, dir, name);
	if (r == 0)
		*ret = inode_ref(fs, from);
	return r;
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	struct inode *from = inode_get(fs, ino), *i = NULL;
	int r = from ? spot_parent(fs, newparent, newname, &dir) : -ESTALE;
	if (r > 0 || (r == 0 && from->backing == BACK_VIRTUAL))
		r = -EPERM;
	if (r == 0) {
		names_lock(fs);
		r = do_link(fs, from, &dir, newname, fuse_req_ctx(req)->pid, &i);
		pthread_mutex_unlock(&fs->names);
	}
	inode_put(fs, from);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

void ops_name_fill(struct fuse_lowlevel_ops *ops)
{
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->create = op_create;
	ops->mknod = op_mknod;
	ops->mkdir = op_mkdir;
	ops->symlink = op_symlink;
	ops->link = op_link;
}
