/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When files are committed that no call waits for: by timers, by rules that change, at the end. */
#include "fusefs/commit.h"

#include <string.h>

#include "engine/ignore.h"
#include "engine/schema.h"
#include "fusefs/handle.h"
#include "fusefs/hardlink.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/rules.h"
#include "fusefs/tombstone.h"
#include "fusefs/workfile-ahead.h"
#include "fusefs/workfile.h"

/* A program that keeps a new file open this long wants it to be seen. */
#define SETTLE_OPEN_NS (5 * SECOND_NS)

static int64_t due_settle(struct fusefs *fs, struct inode *i, bool now)
{
	struct local *l = i->local;
	if (i->backing != BACK_LOCAL || !l->unsettled || !i->shared)
		return 0;
	int64_t t = monotonic_ns();
	if (i->shared->writers && t - l->born_ns < SETTLE_OPEN_NS)
		return t + SETTLE_NS;
	if (!now && l->settle_ns > t)
		return l->settle_ns;
	if (i->shared->draft)
		return 0; /* strict: stays until a save parses */
	if (hardlink_waits(l))
		return t + SETTLE_NS;
	if (rules_ignore(fs, &l->parent, l->name, false)) {
		l->unsettled = false;
		local_ignored(fs, i, true);
		if (local_store(fs, i, false) == 0)
			local_rest(i);
		return 0;
	}
	struct err e = { 0 };
	int r = commit_settle(fs, i, &e);
	/* The directory is gone or full: tried again, the bytes are safe here. */
	return r < 0 && !i->shared->draft ? t + 5 * SECOND_NS : 0;
}

void commit_ahead(struct fusefs *fs, struct inode *i)
{
	struct workfile_ahead *ahead = NULL;
	pthread_mutex_lock(&i->lock);
	const struct copy *c = i->shared;
	const struct local *l = i->backing == BACK_LOCAL ? i->local : NULL;
	/* What becomes a draft, and moves to another inode, has the name of a document. */
	if (l && c && c->work && !c->writers && !c->draft &&
	    replica_is_blob(l->name, strlen(l->name), copy_size(c)))
		workfile_ahead_begin(c->work, fs->replica, false, &ahead);
	pthread_mutex_unlock(&i->lock);
	if (!ahead)
		return;
	workfile_ahead_store(ahead);
	workfile_ahead_end(ahead);
}

struct workfile_ahead *commit_grows(struct fusefs *fs, struct inode *i, struct copy *c)
{
	struct workfile_ahead *ahead = NULL;
	if (i->backing != BACK_NODE || i->last.form != FORM_BLOB || !i->name || !c->work ||
	    c->draft || !replica_is_blob(i->name, strlen(i->name), copy_size(c)))
		return NULL;
	if (atomic_fetch_add(&fs->storing, 1) < FUSEFS_STORING &&
	    workfile_ahead_begin(c->work, fs->replica, true, &ahead) == 0)
		return ahead;
	atomic_fetch_sub(&fs->storing, 1);
	return NULL;
}

void commit_growing(struct fusefs *fs, struct workfile_ahead *ahead)
{
	workfile_ahead_store(ahead);
	workfile_ahead_end(ahead);
	atomic_fetch_sub(&fs->storing, 1);
}

/* Is it time for due_settle to make a node of it? */
static bool settles(struct fusefs *fs, struct inode *i, bool now)
{
	pthread_mutex_lock(&i->lock);
	const struct local *l = i->backing == BACK_LOCAL ? i->local : NULL;
	bool yes = l && l->unsettled && (now || l->settle_ns <= monotonic_ns()) &&
		   !rules_ignore(fs, &l->parent, l->name, false);
	pthread_mutex_unlock(&i->lock);
	return yes;
}

int64_t commit_due(struct fusefs *fs, struct inode *i, enum timer_kind kind, bool now)
{
	int64_t again = 0;
	if (kind == TIMER_SETTLE && settles(fs, i, now))
		commit_ahead(fs, i);
	pthread_mutex_lock(&fs->names);
	pthread_mutex_lock(&i->lock);
	switch (kind) {
	case TIMER_SETTLE:
		again = due_settle(fs, i, now);
		break;
	case TIMER_COMMIT:
		if (i->shared && i->shared->dirty && !i->shared->draft && !i->shared->writers)
			commit_copy(fs, i, i->shared, false, NULL);
		break;
	case TIMER_STORE:
		if (i->backing == BACK_LOCAL && i->local->aside && !i->local->stored &&
		    local_store(fs, i, false) == 0 && i->name)
			tombstone_store(fs, &i->parent, i->name);
		break;
	case TIMER_TOMB:
	case TIMER_FLIP:
	case TIMER_STRAY:
	case TIMER_RULES:
	case TIMER_TRIM:
		break;
	}
	pthread_mutex_unlock(&i->lock);
	pthread_mutex_unlock(&fs->names);
	return again;
}

bool commit_is_rules(const struct inode *i)
{
	return i->backing == BACK_LOCAL && i->local->unsettled &&
	       (strcmp(i->local->name, IGNORE_FILE) == 0 || strcmp(i->local->name, SCHEMA_FILE) == 0);
}

void commit_rules(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->names);
	pthread_mutex_lock(&i->lock);
	/* If it cannot be now, the keeper tries on. */
	if (commit_is_rules(i))
		commit_settle(fs, i, NULL);
	pthread_mutex_unlock(&i->lock);
	pthread_mutex_unlock(&fs->names);
}

static bool is_ignored(const struct inode *i)
{
	return i->ignored;
}

/* No rule says any more that it is to stay here, and it can go. i->lock held. */
static bool may_be_shared(struct fusefs *fs, struct inode *i)
{
	struct attr attr;
	if (i->backing != BACK_LOCAL || i->kind == NODE_DIR)
		return false;
	/* A directory that is gone has no rules; what is in it stays. */
	const struct id *dir = &i->local->parent;
	return (id_equal(dir, &NODE_ROOT) || replica_attr(fs->replica, dir, &attr) >= 0) &&
	       !rules_here(fs, dir, i->local->name) && !hardlink_kept(fs, i->local);
}

void commit_know_rules(struct fusefs *fs)
{
	struct inode **list = NULL;
	size_t n = 0;
	if (inodes_get(fs, is_ignored, &list, &n) < 0)
		return;
	for (size_t k = 0; k < n; k++) {
		pthread_mutex_lock(&list[k]->lock);
		(void)may_be_shared(fs, list[k]);
		pthread_mutex_unlock(&list[k]->lock);
	}
	inodes_put(fs, list, n);
}

int64_t commit_unignored(struct fusefs *fs, bool now)
{
	struct inode **list = NULL;
	size_t n = 0;
	int64_t due = rules_due(fs, now);
	if (due || inodes_get(fs, is_ignored, &list, &n) < 0)
		return due;
	for (size_t k = 0; k < n; k++) {
		struct inode *i = list[k];
		struct copy *c;
		pthread_mutex_lock(&fs->names);
		pthread_mutex_lock(&i->lock);
		if (may_be_shared(fs, i) && inode_shared(fs, i, &c) == 0) {
			local_ignored(fs, i, false);
			i->local->unsettled = true;
			if (c->writers || c->dirty || commit_settle(fs, i, NULL) < 0)
				keeper_add(fs, TIMER_SETTLE, i->ino, monotonic_ns() + SECOND_NS);
		}
		pthread_mutex_unlock(&i->lock);
		pthread_mutex_unlock(&fs->names);
	}
	inodes_put(fs, list, n);
	return 0;
}

void commit_all(struct fusefs *fs)
{
	struct inode **list = NULL;
	size_t n = 0;
	inodes_get(fs, NULL, &list, &n);
	pthread_mutex_lock(&fs->names);
	tombstone_expire(fs, INT64_MAX);
	for (size_t k = 0; k < n; k++) {
		struct inode *i = list[k];
		pthread_mutex_lock(&i->lock);
		if (i->shared && i->shared->dirty)
			commit_copy(fs, i, i->shared, false, NULL);
		if (i->backing == BACK_LOCAL && i->local->unsettled && i->shared &&
		    !i->shared->draft)
			commit_settle(fs, i, NULL);
		if (i->backing == BACK_LOCAL && !i->local->stored)
			local_store(fs, i, false);
		pthread_mutex_unlock(&i->lock);
	}
	pthread_mutex_unlock(&fs->names);
	inodes_put(fs, list, n);
}
