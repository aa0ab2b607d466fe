/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/flip.h"

#include <string.h>

#include "fusefs/event.h"
#include "fusefs/handle.h"
#include "fusefs/keeper.h"
#include "fusefs/notify.h"

static void queue(struct fusefs *fs, struct inode *i, int64_t due_ns)
{
	pthread_mutex_lock(&fs->lock);
	bool queued = i->flip_queued;
	i->flip_queued = true;
	pthread_mutex_unlock(&fs->lock);
	if (!queued)
		keeper_add(fs, TIMER_FLIP, i->ino, due_ns);
}

void flip_add(struct fusefs *fs, struct inode *i)
{
	queue(fs, i, monotonic_ns());
}

/* The newest version if c, clean, is of an older one: referenced. NULL: it is not, or nobody knows. */
static struct version *newer(struct fusefs *fs, struct inode *i, const struct copy *c)
{
	struct attr attr;
	struct version *v = NULL;
	if (i->backing != BACK_NODE || c->dirty || !c->origin ||
	    replica_attr(fs->replica, &i->id, &attr) < 0 ||
	    id_equal(&attr.version, version_id(c->origin)) ||
	    replica_read(fs->replica, &i->id, &v) < 0)
		return NULL;
	return v;
}

/* Whatever was read of the old one is in the new one, too, at the same place. */
static bool has_grown(const struct version *old, const struct version *new)
{
	return version_data(old) && version_data(new) && version_size(old) <= version_size(new) &&
	       memcmp(version_data(old), version_data(new), (size_t)version_size(old)) == 0;
}

void flip_own(struct fusefs *fs, struct inode *i, struct copy *c, uint64_t end)
{
	bool idle = monotonic_ns() - c->used_ns >= FLIP_NS;
	struct version *v = idle || end > copy_size(c) ? newer(fs, i, c) : NULL;
	if (v && (idle || has_grown(c->origin, v)))
		copy_reset(c, v);
	else if (v)
		version_unref(v);
}

/* Step 1 of flip.h: true if there is anything to be done. *ret_again: not yet; 0: not at all. */
static bool begin(struct fusefs *fs, struct inode *i, bool now, int64_t *ret_again)
{
	struct copy *c = i->shared;
	*ret_again = 0;
	struct version *v = c && c->users ? newer(fs, i, c) : NULL;
	if (!v)
		return false;
	int64_t due = c->used_ns + FLIP_NS;
	if (!now && due > monotonic_ns() && !has_grown(c->origin, v)) {
		version_unref(v);
		*ret_again = due;
		return false;
	}
	c->shown = copy_size(c);
	c->flipping = true;
	inode_unsteady(i);
	c->users++;
	copy_reset(c, v);
	i->cache = (struct id){ 0 };
	return true;
}

void flip_due(struct fusefs *fs, struct inode *i, bool now)
{
	pthread_mutex_lock(&fs->lock);
	i->flip_queued = false; /* from here on a change wants another look */
	unsigned news = i->news;
	i->news = 0;
	pthread_mutex_unlock(&fs->lock);

	int64_t again;
	pthread_mutex_lock(&i->lock);
	bool begun = begin(fs, i, now, &again);
	struct copy *c = i->shared;
	unsigned turn = begun ? c->turn : 0;
	struct id id = i->id;
	pthread_mutex_unlock(&i->lock);
	if (again) {
		/* The time of change may be told before. */
		notify_size(fs, i);
		queue(fs, i, again);
		/* Who opens it now reads what is new; who has it open is told again. */
		event_add(fs->events, event_of_node(&id, i->kind, news));
		return;
	}
	notify_pages(fs, i);
	if (!begun) {
		event_add(fs->events, event_of_node(&id, i->kind, news));
		return;
	}

	struct id version = { 0 };
	pthread_mutex_lock(&i->lock);
	c->flipping = false;
	if (c == i->shared && c->turn == turn && !c->dirty) {
		version = *version_id(c->origin);
		i->cache = version;
		c->unread = false;
	}
	pthread_mutex_unlock(&i->lock);
	notify_size(fs, i);

	pthread_mutex_lock(&i->lock);
	if (!id_is_zero(&version))
		i->told = version;
	inode_steady(i);
	bool stale = copy_leave(fs, i, c);
	pthread_mutex_unlock(&i->lock);
	if (stale)
		notify_inode(fs, i);
	event_add(fs->events, event_of_node(&id, i->kind, news | CHANGE_CONTENT));
}
