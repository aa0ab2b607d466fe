/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/spot.h"

#include <errno.h>
#include <string.h>

#include "fusefs/draft.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/name.h"
#include "fusefs/rules.h"
#include "fusefs/tombstone.h"

void spot_done(struct fusefs *fs, struct spot *s)
{
	inode_put(fs, s->inode);
	s->inode = NULL;
}

int spot_find(struct fusefs *fs, const struct id *parent, const char *name, struct spot *ret)
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

int spot_parent(struct fusefs *fs, fuse_ino_t ino, const char *name, struct id *ret)
{
	struct inode *i = inode_get(fs, ino);
	if (!i)
		return -ESTALE;
	int r = 0;
	pthread_mutex_lock(&i->lock);
	if (i->backing == BACK_VIRTUAL)
		r = 1;
	else if (i->backing != BACK_NODE)
		r = -ENOENT;
	else if (ino == INO_ROOT && strcmp(name, ".shoal") == 0)
		r = -EPERM;
	*ret = i->id;
	pthread_mutex_unlock(&i->lock);
	inode_put(fs, i);
	return r == 0 && !replica_shows(fs->replica, ret) ? -EROFS : r;
}

/* ---- taking names away ---- */

/* What goes on under its other names; i->lock held. */
static void loses_name(struct fusefs *fs, struct inode *i)
{
	struct local *l = i->local;
	bool litter = name_is_local(l->name, strlen(l->name));
	inode_changed(i);
	if (i->ignored)
		keeper_add(fs, TIMER_RULES, 0, 0); /* the name that is left may have none */
	if (S_ISREG(l->mode) && !i->ignored && l->unsettled == litter) {
		l->unsettled = !litter;
		if (!litter)
			keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SETTLE_NS);
	}
}

int spot_drop_local(struct fusefs *fs, const struct spot *s)
{
	struct inode *i = s->inode;
	pthread_mutex_lock(&i->lock);
	struct local *l = i->local;
	int r = hardlink_drop(fs, i, &s->parent, s->name);
	if (r != 0) {
		if (r > 0)
			loses_name(fs, i);
		pthread_mutex_unlock(&i->lock);
		return r < 0 ? r : 0;
	}
	if (i->shared && i->shared->work)
		workfile_unkeep(i->shared->work);
	i->last = (struct attr){ .kind = i->kind,
				 .mode = l->mode & 07777,
				 .mtime_ns = l->mtime_ns,
				 .ctime_ns = l->mtime_ns };
	inode_changed(i);
	draft_mark(fs, i, false);
	inode_orphan(fs, i);
	local_remove(fs, i);
	local_ignored(fs, i, false);
	i->local = NULL;
	local_free(l);
	pthread_mutex_unlock(&i->lock);
	return 0;
}

void spot_local_left(struct fusefs *fs, const struct spot *s)
{
	if (!rules_here(fs, &s->parent, s->name))
		inode_visited(fs, &s->parent, replica_now_us(fs->replica));
}

void spot_drop_node(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	if (i->backing == BACK_NODE) {
		draft_drop(fs, i);
		inode_changed(i);
		inode_orphan(fs, i);
	}
	pthread_mutex_unlock(&i->lock);
}

int spot_bury(struct fusefs *fs, const struct spot *s)
{
	return s->tomb ? tombstone_bury(fs, &s->parent, s->name) : 0;
}

bool spot_is_one_of_several(struct fusefs *fs, const struct spot *s)
{
	uint32_t links = 0;
	return s->attr.linked && replica_links(fs->replica, &s->attr.id, &links) == 0 && links > 0;
}

bool spot_is_link(const struct spot *s)
{
	return !id_equal(&s->attr.entry, &s->attr.id) || s->attr.linked;
}

int spot_remove_now(struct fusefs *fs, const struct spot *s)
{
	struct committer own;
	fs_own_begin(fs, &own);
	int r = replica_remove(fs->replica, &s->attr.entry, 0);
	fs_own_end(fs, &own);
	if (r >= 0)
		spot_node_left(fs, s);
	return r;
}

void spot_node_left(struct fusefs *fs, const struct spot *s)
{
	struct attr attr;
	if (replica_attr(fs->replica, &s->attr.id, &attr) < 0) {
		spot_drop_node(fs, s->inode);
		return;
	}
	struct id dir;
	char name[NAME_MAX_BYTES + 1];
	bool found = replica_parent(fs->replica, &s->attr.id, &dir, name) >= 0;
	pthread_mutex_lock(&s->inode->lock);
	inode_changed(s->inode);
	if (found)
		inode_set_place(s->inode, &dir, name);
	pthread_mutex_unlock(&s->inode->lock);
}

struct counted {
	unsigned local;
};

static void count_local(const struct overlay_entry *e, void *userdata)
{
	struct counted *c = userdata;
	c->local += e->inode != NULL;
}

int spot_only_nodes(struct fusefs *fs, const struct id *dir)
{
	struct counted c = { 0 };
	local_each(fs, dir, count_local, &c);
	return c.local ? -ENOTEMPTY : tombstone_bury_all(fs, dir);
}
