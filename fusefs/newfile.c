/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/newfile.h"

#include <errno.h>
#include <string.h>

#include "fusefs/handle.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/rules.h"
#include "fusefs/saveover.h"
#include "fusefs/tombstone.h"

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

/* What its name says of i, and the entry for it. i->local is set, with the creator. */
static int put(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	const bool temp = look_about(fs, l, monotonic_ns());
	const bool litter = name_is_local(l->name, strlen(l->name));
	const bool kept = S_ISREG(l->mode) || S_ISLNK(l->mode);
	i->ignored = kept && !litter && rules_ignore(fs, &l->parent, l->name, false);
	l->unsettled = S_ISREG(l->mode) && !temp && !litter && !i->ignored;
	l->named_us = replica_now_us(fs->replica);
	int r = local_add(fs, i);
	if (r == 0 && !litter && !i->ignored)
		inode_visited(fs, &l->parent, l->named_us);
	return r;
}

/* An inode with an empty copy. */
static int make(struct fusefs *fs, enum backing backing, enum node_kind kind, const struct maker *m,
		struct inode **ret)
{
	struct inode *i = NULL;
	struct copy *c = copy_new();
	int r = c ? workfile_new(fs->spool, &c->work) : -ENOMEM;
	if (r == 0)
		r = inode_new(fs, backing, kind, &i);
	if (r != 0) {
		copy_free(c);
		return r;
	}
	procs_of(&fs->procs, m->tid, monotonic_ns(), &c->writer);
	i->shared = c;
	i->owner = m->owner;
	*ret = i;
	return 0;
}

int newfile_make(struct fusefs *fs, const struct id *parent, const char *name, uint32_t mode, bool excl,
		 const struct maker *m, struct inode **ret)
{
	struct inode *i = NULL;
	_cleanup_(local_freep) struct local *l = local_new(parent, name, mode);
	int r = l ? make(fs, BACK_LOCAL, S_ISLNK(mode) ? NODE_LINK : NODE_FILE, m, &i) : -ENOMEM;
	if (r != 0)
		return r;
	l->creator = i->shared->writer;
	l->settle_ns = excl ? 1 : 0;
	i->shared->since_ns = l->born_ns - BEFORE_TEMP_NS;
	i->special = inode_special(mode);
	i->ctime_ns = l->mtime_ns;
	i->local = TAKE_PTR(l);
	r = put(fs, i);
	if (r < 0) {
		inode_put(fs, i);
		return r;
	}
	*ret = i;
	return 0;
}

int newfile_nameless(struct fusefs *fs, mode_t mode, const struct maker *m, struct inode **ret)
{
	struct inode *i;
	int r = make(fs, BACK_ORPHAN, NODE_FILE, m, &i);
	if (r != 0)
		return r;
	const int64_t now = wall_ns();
	i->nameless = true;
	i->creator = i->shared->writer;
	i->born_ns = monotonic_ns();
	i->shared->since_ns = i->born_ns - BEFORE_TEMP_NS;
	i->ctime_ns = now;
	i->last = (struct attr){
		.kind = NODE_FILE, .mode = mode & 07777, .mtime_ns = now, .ctime_ns = now
	};
	*ret = i;
	return 0;
}

bool newfile_is_nameless(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	const bool yes = i->backing == BACK_ORPHAN && i->nameless;
	pthread_mutex_unlock(&i->lock);
	return yes;
}

/* i->lock held. */
static int begin(struct inode *i, const struct id *parent, const char *name)
{
	struct local *l = local_new(parent, name, S_IFREG | i->last.mode);
	if (!l)
		return -ENOMEM;
	l->creator = i->creator;
	l->born_ns = i->born_ns;
	l->settle_ns = 1;
	l->mtime_ns = i->shared->dirty ? i->shared->mtime_ns : i->last.mtime_ns;
	l->mtime_set = i->shared->mtime_set;
	i->local = l;
	i->backing = BACK_LOCAL;
	inode_changed(i);
	return 0;
}

/* i->lock held. */
static void take_back(struct inode *i)
{
	local_free(TAKE_PTR(i->local));
	i->backing = BACK_ORPHAN;
	i->ignored = false;
}

/* Its bytes are on the disk, as fsync(2) before the name may have promised; the name is when the directory is synced.
 * i->lock held. */
static int keep(struct fusefs *fs, struct inode *i)
{
	int r = local_store(fs, i, true);
	if (r < 0) {
		if (i->shared->work)
			workfile_unkeep(i->shared->work);
		local_remove(fs, i);
	}
	return r;
}

int newfile_name(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name)
{
	pthread_mutex_lock(&i->lock);
	int r = begin(i, parent, name);
	if (r == 0) {
		r = put(fs, i);
		if (r == 0)
			r = keep(fs, i);
		if (r < 0)
			take_back(i);
	}
	i->nameless = r < 0;
	pthread_mutex_unlock(&i->lock);
	return r;
}

int newfile_save(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name, pid_t tid)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct id node;
	struct attr attr;
	if (!tombstone_take(fs, parent, name, &node, &v) || replica_attr(fs->replica, &node, &attr) < 0)
		return -ENOENT;
	pthread_mutex_lock(&i->lock);
	int r = begin(i, parent, name);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		r = save_over(fs, i, NULL, &attr, v, tid);
	pthread_mutex_lock(&i->lock);
	if (r < 0 && i->local)
		take_back(i);
	i->nameless = r < 0;
	pthread_mutex_unlock(&i->lock);
	return r;
}
