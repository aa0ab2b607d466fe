/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating, removing and renaming: where programs' ways of saving are told from what they look
 * like. The table of what programs do is in mount.fuse.shoal(8). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/commit.h"
#include "fusefs/draft.h"
#include "fusefs/handle.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/notify.h"
#include "fusefs/tombstone.h"

/* A file that was made here so recently and is renamed over a document is a save. */
#define YOUNG_NS (600 * SECOND_NS)
/* A backup that is still there after a second is worth keeping across a crash. */
#define ASIDE_STORE_NS SECOND_NS

/* What is under a name; fs->names held. */
struct spot {
	struct id parent;
	const char *name;
	enum { SPOT_NONE, SPOT_LOCAL, SPOT_NODE } what;
	bool tomb;           /* NONE: a node is hidden here */
	struct inode *inode; /* referenced; NONE: NULL */
	struct attr attr;    /* NODE */
};

static void spot_done(struct fusefs *fs, struct spot *s)
{
	inode_put(fs, s->inode);
	s->inode = NULL;
}

static int spot_find(struct fusefs *fs, const struct id *parent, const char *name, struct spot *ret)
{
	struct id hidden = { 0 };
	*ret = (struct spot){ .parent = *parent, .name = name };
	if (strlen(name) > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	enum overlay o = local_find(fs, parent, name, &ret->inode, &hidden);
	if (o == OVERLAY_LOCAL) {
		ret->what = SPOT_LOCAL;
		return 0;
	}
	ret->tomb = o == OVERLAY_TOMB;
	int r = replica_lookup(fs->replica, parent, name, strlen(name), &ret->attr);
	if (r == -ENOENT || (r >= 0 && ret->tomb && id_equal(&hidden, &ret->attr.id)))
		return 0;
	if (r < 0)
		return r;
	r = inode_of_node(fs, &ret->attr, &ret->inode);
	if (r < 0)
		return r;
	ret->what = SPOT_NODE;
	pthread_mutex_lock(&ret->inode->lock);
	inode_set_place(ret->inode, parent, name);
	ret->inode->last = ret->attr;
	pthread_mutex_unlock(&ret->inode->lock);
	return 0;
}

/* The directory that a request names. */
static int parent_of(struct fusefs *fs, fuse_ino_t ino, const char *name, struct id *ret)
{
	struct inode *i = inode_get(fs, ino);
	if (!i)
		return -ESTALE;
	int r = 0;
	pthread_mutex_lock(&i->lock);
	if (i->backing == BACK_VIRTUAL)
		r = -EACCES;
	else if (i->backing != BACK_NODE)
		r = -ENOENT;
	else if (ino == INO_ROOT && strcmp(name, ".shoal") == 0)
		r = -EEXIST;
	*ret = i->id;
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	return r;
}

/* ---- taking names away ---- */

/* The local file loses its name; open handles go on. */
static void drop_local(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	struct local *l = i->local;
	if (i->shared && i->shared->work)
		workfile_unkeep(i->shared->work);
	i->last = (struct attr){ .kind = i->kind,
				 .mode = l->mode & 07777,
				 .mtime_ns = l->mtime_ns,
				 .ctime_ns = l->mtime_ns };
	draft_mark(fs, i, false);
	inode_orphan(fs, i);
	local_remove(fs, i);
	i->local = NULL;
	local_free(l);
	pthread_mutex_unlock(&i->lock);
}

/* The node has another inode from now on, or none. */
static void drop_node(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	if (i->backing == BACK_NODE) {
		draft_drop(fs, i);
		inode_orphan(fs, i);
	}
	pthread_mutex_unlock(&i->lock);
}

static int bury(struct fusefs *fs, const struct spot *s)
{
	return s->tomb ? tombstone_bury(fs, &s->parent, s->name) : 0;
}

static int remove_now(struct fusefs *fs, const struct id *id)
{
	struct committer own;
	fs_own_begin(fs, &own);
	int r = replica_remove(fs->replica, id);
	fs_own_end(fs, &own);
	return r;
}

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
		drop_local(fs, s.inode);
		break;
	case SPOT_NODE:
		if (s.attr.kind == NODE_DIR) {
			r = -EISDIR;
			break;
		}
		bury(fs, &s);
		if (s.attr.kind == NODE_LINK) {
			r = remove_now(fs, &s.attr.id);
			break;
		}
		replica_read(fs->replica, &s.attr.id, &v);
		r = tombstone_add(fs, parent, name, &s.attr, v, &who, false);
		break;
	}
	if (r >= 0 && s.what == SPOT_NODE)
		drop_node(fs, s.inode);
	spot_done(fs, &s);
	return r;
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		r = do_unlink(fs, &dir, name, fuse_req_ctx(req)->pid);
		pthread_mutex_unlock(&fs->names);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
}

struct counted {
	unsigned local;
};

static void count_local(const struct overlay_entry *e, void *userdata)
{
	struct counted *c = userdata;
	c->local += e->inode != NULL;
}

/* Nothing but nodes, if anything, is in the directory: local names gone, deletions carried out. */
static int only_nodes(struct fusefs *fs, const struct id *dir)
{
	struct counted c = { 0 };
	local_each(fs, dir, count_local, &c);
	return c.local ? -ENOTEMPTY : tombstone_expire(fs, dir, 0);
}

static int do_rmdir(struct fusefs *fs, const struct id *parent, const char *name)
{
	struct spot s;
	int r = spot_find(fs, parent, name, &s);
	if (r < 0)
		return r;
	if (s.what == SPOT_NONE)
		r = -ENOENT;
	else if (s.what != SPOT_NODE || s.attr.kind != NODE_DIR)
		r = -ENOTDIR;
	else
		r = only_nodes(fs, &s.attr.id);
	if (r == 0)
		r = remove_now(fs, &s.attr.id);
	if (r >= 0)
		drop_node(fs, s.inode);
	spot_done(fs, &s);
	return r;
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		r = do_rmdir(fs, &dir, name);
		pthread_mutex_unlock(&fs->names);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
}

/* ---- making ---- */

/* The file that a temporary or backup name is about is looked at now: rule 4 wants the version
 * from when the temp file was made; a backup means that the last read was for copying. */
static bool look_about(struct fusefs *fs, struct local *l, int64_t now)
{
	const char *part;
	size_t len, full = strlen(l->name);
	struct attr attr;
	if (name_backup_of(l->name, full, &part, &len)) {
		if (replica_lookup(fs->replica, &l->parent, part, len, &attr) >= 0)
			bases_backup(fs->bases, &l->creator, &attr.id, now);
		return false;
	}
	if (!name_target(l->name, full, &part, &len) ||
	    replica_lookup(fs->replica, &l->parent, part, len, &attr) < 0 || attr.kind != NODE_FILE)
		return false;
	if (replica_read(fs->replica, &attr.id, &l->about_version) >= 0)
		l->about = attr.id;
	return true;
}

/* A new local inode under the name, which is free. */
static int make_local(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode,
		      bool excl, pid_t tid, struct inode **ret)
{
	struct inode *i = NULL;
	struct local *l = local_new(parent, name, mode);
	struct copy *c = copy_new();
	int r = l && c ? workfile_new(fs->spool, &c->work) : -ENOMEM;
	if (r == 0)
		r = inode_new(fs, BACK_LOCAL, S_ISLNK(mode) ? NODE_LINK : NODE_FILE, &i);
	if (r < 0) {
		local_free(l);
		copy_free(c);
		return r;
	}
	procs_of(&fs->procs, tid, monotonic_ns(), &l->creator);
	bool temp = look_about(fs, l, monotonic_ns());
	l->unsettled = S_ISREG(mode) && !temp && !name_is_local(name, strlen(name));
	l->settle_ns = excl ? 1 : 0;
	c->writer = l->creator;
	c->since_ns = l->born_ns - BEFORE_TEMP_NS;
	i->local = l;
	i->shared = c;
	r = local_add(fs, i);
	if (r < 0) {
		inode_put(fs, i);
		return r;
	}
	*ret = i;
	return 0;
}

/* The name of a document that was removed a moment ago: it is being saved. */
static int adopt(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode,
		 pid_t tid, struct inode **ret)
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
	procs_of(&fs->procs, tid, monotonic_ns(), &who);
	version_set(&c->fallback, v);
	copy_touch(c, &who);
	pthread_mutex_lock(&i->lock);
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
		     int flags, pid_t tid, struct inode **ret, bool *ret_there)
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
		r = adopt(fs, parent, name, mode, tid, ret);
		if (r != -ENOENT)
			return r;
	}
	/* Is the directory still there? */
	struct attr attr;
	if (!id_equal(parent, &NODE_ROOT) && replica_attr(fs->replica, parent, &attr) < 0)
		return -ENOENT;
	return make_local(fs, parent, name, S_IFREG | (mode & 07777), flags & O_EXCL, tid, ret);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	pid_t tid = fuse_req_ctx(req)->pid;
	struct id dir;
	struct inode *i = NULL;
	bool there = false;
	struct fuse_entry_param e;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		r = make_file(fs, &dir, name, mode, fi->flags, tid, &i, &there);
		if (r == 0 && there && (fi->flags & O_ACCMODE) != O_RDONLY)
			commit_finished(fs, i);
		/* Opened under names: it does not settle in between. */
		if (r == 0)
			r = handle_open(fs, i, there ? fi->flags : fi->flags & ~O_TRUNC, tid, fi);
		pthread_mutex_unlock(&fs->names);
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

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)rdev;
	struct fusefs *fs = fs_of(req);
	pid_t tid = fuse_req_ctx(req)->pid;
	struct id dir;
	struct inode *i = NULL;
	bool there = false;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0 && !S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		r = -EPERM;
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		if (S_ISREG(mode)) {
			r = make_file(fs, &dir, name, mode, O_EXCL, tid, &i, &there);
		} else {
			struct spot s;
			r = spot_find(fs, &dir, name, &s);
			if (r == 0 && s.what != SPOT_NONE)
				r = -EEXIST;
			spot_done(fs, &s);
			if (r == 0)
				r = bury(fs, &s);
			if (r == 0)
				r = make_local(fs, &dir, name, mode, true, tid, &i);
		}
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

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	struct inode *i = NULL;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0) {
		struct spot s;
		struct attr attr;
		pthread_mutex_lock(&fs->names);
		r = spot_find(fs, &dir, name, &s);
		if (r == 0 && s.what != SPOT_NONE)
			r = -EEXIST;
		spot_done(fs, &s);
		if (r == 0)
			r = bury(fs, &s);
		if (r == 0) {
			struct committer own;
			fs_own_begin(fs, &own);
			r = replica_mkdir(fs->replica, &dir, name, strlen(name), mode & 07777,
					  &attr);
			fs_own_end(fs, &own);
		}
		if (r >= 0)
			r = inode_of_node(fs, &attr, &i);
		pthread_mutex_unlock(&fs->names);
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

static int do_symlink(struct fusefs *fs, const struct id *dir, const char *name, const char *target,
		      pid_t tid, struct inode **ret)
{
	struct spot s;
	struct attr attr;
	int r = spot_find(fs, dir, name, &s);
	if (r == 0 && s.what != SPOT_NONE)
		r = -EEXIST;
	spot_done(fs, &s);
	if (r == 0)
		r = bury(fs, &s);
	if (r < 0)
		return r;
	if (name_is_local(name, strlen(name))) {
		r = make_local(fs, dir, name, S_IFLNK | 0777, true, tid, ret);
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
	return r < 0 ? r : inode_of_node(fs, &attr, ret);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	struct inode *i = NULL;
	int r = parent_of(fs, parent, name, &dir);
	if (r == 0 && strlen(link) > LINK_SIZE_MAX)
		r = -ENAMETOOLONG;
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		r = do_symlink(fs, &dir, name, link, fuse_req_ctx(req)->pid, &i);
		pthread_mutex_unlock(&fs->names);
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

/* ---- snapshots: backups that programs make by renaming or linking ---- */

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

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fusefs *fs = fs_of(req);
	struct id dir;
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct inode *from = inode_get(fs, ino), *i = NULL;
	int r = from ? parent_of(fs, newparent, newname, &dir) : -ESTALE;
	size_t len = strlen(newname);
	const char *part;
	size_t part_len;
	if (r == 0 && !name_is_local(newname, len) &&
	    !name_backup_of(newname, len, &part, &part_len))
		r = -EPERM;
	if (r < 0)
		goto out;
	struct spot s;
	pthread_mutex_lock(&fs->names);
	r = spot_find(fs, &dir, newname, &s);
	if (r == 0 && s.what != SPOT_NONE)
		r = -EEXIST;
	spot_done(fs, &s);
	if (r == 0)
		r = bury(fs, &s);
	struct workfile *w = NULL;
	uint32_t mode = 0644;
	if (r == 0) {
		pthread_mutex_lock(&from->lock);
		mode = from->backing == BACK_LOCAL ? from->local->mode & 07777 : from->last.mode;
		if (from->shared && from->shared->work) {
			_cleanup_free_ char *room = malloc((size_t)copy_size(from->shared) + 1);
			ssize_t n = room ? copy_pread(from->shared, room,
						      (size_t)copy_size(from->shared), 0)
					 : -ENOMEM;
			r = n < 0 ? (int)n : workfile_new(fs->spool, &w);
			if (r == 0)
				r = workfile_pwrite(w, room, (size_t)n, 0);
		} else if (from->backing == BACK_NODE) {
			r = replica_read(fs->replica, &from->id, &v);
		} else if (from->shared && from->shared->origin) {
			v = version_ref(from->shared->origin);
		} else {
			r = -EPERM;
		}
		pthread_mutex_unlock(&from->lock);
	}
	if (r == 0)
		r = make_local(fs, &dir, newname, S_IFREG | mode, true, fuse_req_ctx(req)->pid, &i);
	if (r == 0) {
		pthread_mutex_lock(&i->lock);
		copy_reset(i->shared, TAKE_PTR(v));
		i->shared->work = TAKE_PTR(w);
		i->local->aside = true;
		i->local->mtime_ns = from->last.mtime_ns;
		pthread_mutex_unlock(&i->lock);
		keeper_add(fs, TIMER_STORE, i->ino, monotonic_ns() + ASIDE_STORE_NS);
	}
	workfile_free(w);
	pthread_mutex_unlock(&fs->names);
out:
	inode_put(fs, from);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	reply_entry(req, fs, i);
	inode_put(fs, i);
}

/* ---- rename ---- */

/* What was refused over a document becomes its draft; the temp file stays as it is. */
static void refused(struct fusefs *fs, struct inode *from, const struct attr *node,
		    struct version *base, const struct err *e)
{
	struct workfile *w = NULL;
	pthread_mutex_lock(&from->lock);
	struct copy *c = from->shared;
	uint64_t size = c ? copy_size(c) : 0;
	_cleanup_free_ char *room = malloc((size_t)size + 1);
	int r = room && c ? workfile_new(fs->spool, &w) : -ENOMEM;
	if (r == 0 && copy_pread(c, room, (size_t)size, 0) == (ssize_t)size)
		r = workfile_pwrite(w, room, (size_t)size, 0);
	else if (r == 0)
		r = -EIO;
	pthread_mutex_unlock(&from->lock);
	if (r == 0) {
		commit_draft(fs, node, w, base, e);
		return;
	}
	workfile_free(w);
	if (base)
		version_unref(base);
}

/* The temp file's bytes over a document: an edit of it. from: LOCAL, or a NODE made here just
 * now. */
static int save_over(struct fusefs *fs, struct inode *from, struct inode *old,
		     const struct attr *node, struct version *fallback)
{
	struct err e = { 0 };
	struct version *base = NULL;
	pthread_mutex_lock(&from->lock);
	int r = commit_over(fs, from, &node->id, fallback, &base, &e);
	pthread_mutex_unlock(&from->lock);
	if (r == -EINVAL)
		refused(fs, from, node, base, &e);
	else if (base)
		version_unref(base);
	if (r == 0 && old) {
		/* Whoever has the old inode open goes on reading what he opened. */
		pthread_mutex_lock(&old->lock);
		draft_drop(fs, old);
		old->last = *node;
		inode_orphan(fs, old);
		pthread_mutex_unlock(&old->lock);
	}
	return r;
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

static int rename_local(struct fusefs *fs, struct spot *from, struct spot *to)
{
	struct inode *i = from->inode;
	size_t len = strlen(to->name);
	bool plain = !name_is_local(to->name, len);
	int r = 0;
	if (to->what == SPOT_NODE && to->attr.kind == NODE_DIR)
		return -EISDIR;
	if (to->what == SPOT_NODE && to->attr.kind == NODE_FILE && i->kind == NODE_FILE &&
	    S_ISREG(i->local->mode))
		return save_over(fs, i, to->inode, &to->attr, NULL);
	if (to->tomb && S_ISREG(i->local->mode) && plain) {
		struct id node;
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct attr attr;
		if (tombstone_take(fs, &to->parent, to->name, &node, &v) &&
		    replica_attr(fs->replica, &node, &attr) >= 0)
			return save_over(fs, i, NULL, &attr, v);
	} else if (to->tomb) {
		r = bury(fs, to);
	}
	if (r == 0 && to->what == SPOT_LOCAL)
		drop_local(fs, to->inode);
	if (r == 0 && to->what == SPOT_NODE) {
		r = remove_now(fs, &to->attr.id);
		drop_node(fs, to->inode);
	}
	if (r < 0)
		return r;
	pthread_mutex_lock(&i->lock);
	r = local_move(fs, i, &to->parent, to->name);
	if (r == 0 && plain && S_ISLNK(i->local->mode)) {
		struct attr attr;
		struct committer own;
		fs_own_begin(fs, &own);
		r = replica_symlink(fs->replica, &to->parent, to->name, len, i->local->target,
				    &attr);
		fs_own_end(fs, &own);
		if (r >= 0) {
			struct local *l = i->local;
			inode_bind(fs, i, &attr.id);
			local_remove(fs, i);
			i->local = NULL;
			local_free(l);
		}
	} else if (r == 0 && plain && S_ISREG(i->local->mode)) {
		/* This is the name it was made for. If it cannot be now, the keeper tries on. */
		i->local->unsettled = true;
		i->local->aside = false;
		if (fs->options.strict && i->shared->draft)
			r = 0;
		else if (commit_settle(fs, i, NULL) < 0)
			keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SECOND_NS);
	} else if (r == 0) {
		i->local->unsettled = false;
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
	int r = replica_read(fs->replica, &from->attr.id, &head);
	if (r < 0)
		return r;
	if (to->what == SPOT_LOCAL)
		drop_local(fs, to->inode);
	else if (to->tomb)
		bury(fs, to);
	procs_of(&fs->procs, tid, monotonic_ns(), &who);
	bury(fs, from);
	pthread_mutex_lock(&i->lock);
	if (i->shared && i->shared->dirty && !i->shared->draft)
		commit_copy(fs, i, i->shared, false, NULL);
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

static int rename_node(struct fusefs *fs, struct spot *from, struct spot *to, unsigned flags,
		       pid_t tid)
{
	struct inode *i = from->inode;
	size_t len = strlen(to->name);
	int r = 0;
	if (from->attr.kind == NODE_FILE && name_is_local(to->name, len) && to->what != SPOT_NODE)
		return rename_aside(fs, from, to, tid);
	if (to->what == SPOT_NODE && to->attr.kind == NODE_DIR && from->attr.kind == NODE_DIR) {
		r = only_nodes(fs, &to->attr.id);
		if (r < 0)
			return r;
	}
	if (from->attr.kind == NODE_FILE) {
		pthread_mutex_lock(&i->lock);
		if (i->shared && i->shared->dirty && !i->shared->draft)
			r = commit_copy(fs, i, i->shared, false, NULL);
		bool young = i->born_ns && monotonic_ns() - i->born_ns < YOUNG_NS;
		pthread_mutex_unlock(&i->lock);
		if (r < 0)
			return r;
		if (to->what == SPOT_NODE && to->attr.kind == NODE_FILE && young &&
		    own_work(fs, &from->attr) && name_is_json(to->name, len) &&
		    to->attr.form == FORM_JSON)
			return save_over(fs, i, to->inode, &to->attr, NULL);
	}
	if (to->what == SPOT_LOCAL)
		drop_local(fs, to->inode);
	r = bury(fs, to);
	struct id id = from->attr.id;
	if (r == 0) {
		struct committer own;
		fs_own_begin(fs, &own);
		r = replica_rename(fs->replica, &from->attr.id, &to->parent, to->name, len, flags,
				   &id);
		fs_own_end(fs, &own);
	}
	if (r < 0)
		return r;
	if (to->what == SPOT_NODE)
		drop_node(fs, to->inode);
	pthread_mutex_lock(&i->lock);
	if (!id_equal(&id, &from->attr.id)) {
		bool draft = i->draft_stored;
		if (draft)
			draft_drop(fs, i);
		inode_bind(fs, i, &id);
		bases_rename(fs->bases, &from->attr.id, &id);
		if (draft)
			draft_store(fs, i);
	}
	inode_set_place(i, &to->parent, to->name);
	i->cache = (struct id){ 0 }; /* versions are of another node, or name the new place */
	pthread_mutex_unlock(&i->lock);
	return 0;
}

static int exchange(struct fusefs *fs, struct spot *a, struct spot *b)
{
	if (a->what == SPOT_NODE && b->what == SPOT_LOCAL) {
		struct spot *t = a;
		a = b;
		b = t;
	}
	int r;
	if (a->what == SPOT_LOCAL && b->what == SPOT_LOCAL) {
		struct id parent = a->parent;
		_cleanup_free_ char *name = strdup(a->name);
		if (!name)
			return -ENOMEM;
		/* By a name that no one can have. */
		pthread_mutex_lock(&a->inode->lock);
		r = local_move(fs, a->inode, &a->parent, "/");
		pthread_mutex_unlock(&a->inode->lock);
		pthread_mutex_lock(&b->inode->lock);
		if (r == 0)
			r = local_move(fs, b->inode, &parent, name);
		pthread_mutex_unlock(&b->inode->lock);
		pthread_mutex_lock(&a->inode->lock);
		if (r == 0)
			r = local_move(fs, a->inode, &b->parent, b->name);
		pthread_mutex_unlock(&a->inode->lock);
		return r;
	}
	if (a->what == SPOT_LOCAL) {
		/* The temp file becomes the document's next version; its name gets the old one,
		 * and others see it there unless that is a temporary name. */
		if (b->attr.kind != NODE_FILE || !S_ISREG(a->inode->local->mode))
			return -EINVAL;
		_cleanup_(version_unrefp) struct version *head = NULL;
		r = replica_read(fs->replica, &b->attr.id, &head);
		if (r < 0)
			return r;
		struct id parent = a->parent;
		_cleanup_free_ char *name = strdup(a->name);
		bool fresh = a->inode->local->unsettled;
		r = name ? save_over(fs, a->inode, b->inode, &b->attr, NULL) : -ENOMEM;
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
	r = replica_rename(fs->replica, &a->attr.id, &b->parent, b->name, strlen(b->name),
			   RENAME_FLAG_EXCHANGE, &id);
	fs_own_end(fs, &own);
	if (r < 0)
		return r;
	struct inode *i[2] = { a->inode, b->inode };
	const struct spot *at[2] = { b, a };
	for (unsigned k = 0; k < 2; k++) {
		struct attr attr;
		pthread_mutex_lock(&i[k]->lock);
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
		r = exchange(fs, &from, &to);
	else if (to.what != SPOT_NONE && dir && to.inode->kind != NODE_DIR)
		r = -ENOTDIR;
	else if (to.what != SPOT_NONE && !dir && to.inode->kind == NODE_DIR)
		r = -EISDIR;
	else if (from.what == SPOT_LOCAL)
		r = rename_local(fs, &from, &to);
	else
		r = rename_node(fs, &from, &to,
				flags & RENAME_NOREPLACE ? RENAME_FLAG_NOREPLACE : 0, tid);
out:
	spot_done(fs, &from);
	spot_done(fs, &to);
	return r;
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct fusefs *fs = fs_of(req);
	struct id a, b;
	int r = flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)
			? -EINVAL
			: parent_of(fs, parent, name, &a);
	if (r == 0)
		r = parent_of(fs, newparent, newname, &b);
	if (r == 0) {
		pthread_mutex_lock(&fs->names);
		r = do_rename(fs, &a, name, &b, newname, flags, fuse_req_ctx(req)->pid);
		pthread_mutex_unlock(&fs->names);
	}
	fuse_reply_err(req, r < 0 ? -r : 0);
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
	ops->rename = op_rename;
}
