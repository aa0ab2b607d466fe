/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/event-impl.h"

#include <errno.h>
#include <string.h>

/* Answers can overtake each other: the size that the kernel has is of no version for sure. */
static const struct id unsure = { .b = { 0xff } };

static bool is_ours(fuse_req_t req)
{
	return puppet_is(fs_of(req)->events->puppet, fuse_req_ctx(req)->pid);
}

/* Whether it is there or not. Returns how long the kernel may keep it; who comes into a root that
 * nobody has seen is to be noticed. */
static double stat_ghost(struct fusefs *fs, struct inode *i, struct stat *ret)
{
	double timeout;
	pthread_mutex_lock(&i->lock);
	if (inode_attr(fs, i, ret, &timeout) < 0) {
		timeout = 0;
		const struct attr attr = { .kind = i->kind,
					   .mode = i->kind == NODE_DIR ? 0755 : 0644 };
		inode_stat_node(fs, i->ino, &attr, ret);
	}
	pthread_mutex_unlock(&i->lock);
	ret->st_nlink = 1;
	return i->ino == INO_ROOT && !atomic_load(&fs->entered) ? 0 : timeout;
}

/* As make_entry; the name has no time to live. */
static void make_ghost(struct fusefs *fs, struct inode *i, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){ .ino = i->ino };
	inode_looked_up(fs, i);
	inode_looked_up_by_us(fs, i);
	ret->attr_timeout = stat_ghost(fs, i, &ret->attr);
}

static bool is_at(const struct label *l, const struct id *dir, const char *name)
{
	return l && id_equal(&l->dir, dir) && strcmp(l->name, name) == 0;
}

static struct id id_of(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	struct id id = i->id;
	pthread_mutex_unlock(&i->lock);
	return id;
}

static struct id id_at(struct fusefs *fs, fuse_ino_t ino)
{
	struct inode *i = inode_get(fs, ino);
	struct id id = { 0 };
	if (i)
		id = id_of(i);
	inode_put(fs, i);
	return id;
}

static bool says_hello(struct events *s, fuse_req_t req, const struct inode *dir, const char *name)
{
	pthread_mutex_lock(&s->lock);
	bool yes = s->hello[0] && dir->ino == INO_ROOT && strcmp(name, s->hello) == 0;
	if (yes) {
		puppet_learn(s->puppet, fuse_req_ctx(req)->pid);
		s->hello[0] = '\0';
	}
	pthread_mutex_unlock(&s->lock);
	return yes;
}

static void reply_nothing(fuse_req_t req)
{
	const struct fuse_entry_param e = { 0 };
	fuse_reply_entry(req, &e);
}

static void reply_ghost(fuse_req_t req, struct fusefs *fs, struct inode *i)
{
	struct fuse_entry_param e;
	make_ghost(fs, i, &e);
	if (fuse_reply_entry(req, &e) < 0)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
}

bool event_lookup(fuse_req_t req, struct inode *dir, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req)) {
		bool hello = name[0] == '.' && says_hello(s, req, dir, name);
		if (hello)
			reply_nothing(req);
		else
			atomic_store(&fs->entered, true);
		return hello;
	}
	struct id id = id_of(dir);
	struct inode *i = NULL;
	pthread_mutex_lock(&s->lock);
	bool from = s->now && is_at(s->now->from, &id, name),
	     to = s->now && is_at(s->now->to, &id, name);
	if (from) {
		s->asked = true;
		i = inode_ref(fs, s->old);
	}
	const struct label *l = from || to ? NULL : label_find(s, &id, name);
	const struct event *before = l ? l->leaving : NULL;
	struct id node = before ? before->id : (struct id){ 0 };
	enum node_kind kind = before ? before->kind : NODE_FILE;
	pthread_mutex_unlock(&s->lock);
	if (to && !from) {
		reply_nothing(req);
		return true;
	}
	/* On the way to what was told before something that is not told yet. */
	if (before && !(i = inode_find_node(fs, &node)))
		i = event_ghost(fs, &node, kind);
	/* Whatever it comes by else is left in the cache without a time to live, too. */
	if (!i && dir_find(fs, dir, name, &i) < 0) {
		reply_nothing(req);
		return true;
	}
	reply_ghost(req, fs, i);
	return true;
}

bool event_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent);
	struct inode *i = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->now && !s->now->from && is_at(s->now->to, &id, name))
		i = inode_ref(fs, s->new);
	pthread_mutex_unlock(&s->lock);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return true;
	}
	if (!fi) {
		reply_ghost(req, fs, i);
		return true;
	}
	struct fuse_entry_param e;
	make_ghost(fs, i, &e);
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_create(req, &e, fi) < 0)
		inode_forget(fs, i->ino, 1);
	inode_put(fs, i);
	return true;
}

/* The kernel has asked for what was there, and not taken what it had. */
static bool plays_from(struct events *s, const struct id *dir, const char *name)
{
	return s->now && s->asked && is_at(s->now->from, dir, name);
}

bool event_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent);
	pthread_mutex_lock(&s->lock);
	bool ok = plays_from(s, &id, name) && !s->now->to;
	pthread_mutex_unlock(&s->lock);
	fuse_reply_err(req, ok ? 0 : ESTALE);
	return true;
}

bool event_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		  const char *newname)
{
	struct fusefs *fs = fs_of(req);
	struct events *s = fs->events;
	if (!is_ours(req))
		return false;
	struct id id = id_at(fs, parent), new = id_at(fs, newparent);
	pthread_mutex_lock(&s->lock);
	bool ok = plays_from(s, &id, name) && is_at(s->now->to, &new, newname);
	pthread_mutex_unlock(&s->lock);
	fuse_reply_err(req, ok ? 0 : ESTALE);
	return true;
}

bool event_getattr(fuse_req_t req, struct inode *i)
{
	struct fusefs *fs = fs_of(req);
	struct stat st;
	bool root = i->ino == INO_ROOT, ours = is_ours(req);
	if (root && !ours) {
		/* Nobody knows yet who that is: whoever it is has to ask again. */
		pthread_mutex_lock(&fs->events->lock);
		ours = fs->events->hello[0];
		pthread_mutex_unlock(&fs->events->lock);
	}
	if (root && !ours)
		atomic_store(&fs->entered, true);
	if (!ours)
		return false;
	double timeout = stat_ghost(fs, i, &st);
	fuse_reply_attr(req, &st, timeout);
	return true;
}

bool event_setattr(fuse_req_t req, struct inode *i)
{
	struct fusefs *fs = fs_of(req);
	struct stat st;
	double timeout;
	if (!is_ours(req))
		return false;
	pthread_mutex_lock(&fs->lock);
	bool open = i->opens > 0;
	pthread_mutex_unlock(&fs->lock);
	pthread_mutex_lock(&i->lock);
	int r = open && i->kind == NODE_FILE ? -EBUSY : inode_attr(fs, i, &st, &timeout);
	if (r == 0)
		i->told = unsure;
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, 0);
	return true;
}

bool event_setxattr(fuse_req_t req)
{
	if (!is_ours(req))
		return false;
	fuse_reply_err(req, 0);
	return true;
}

bool event_open(fuse_req_t req, struct fuse_file_info *fi)
{
	if (!is_ours(req))
		return false;
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
	return true;
}
