/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/saveover.h"

#include <errno.h>

#include "fusefs/commit.h"
#include "fusefs/draft.h"
#include "fusefs/notify.h"

/* What was refused over a document becomes its draft; the temp file stays as it is. */
static void refused(struct fusefs *fs, struct inode *from, const struct attr *node,
		    struct version *base, const struct err *e)
{
	struct workfile *w = NULL;
	pthread_mutex_lock(&from->lock);
	struct copy *c = from->shared;
	int r = c ? copy_clone(fs, c, &w) : -ENOMEM;
	pthread_mutex_unlock(&from->lock);
	if (r == 0) {
		commit_draft(fs, node, w, base, e);
		return;
	}
	if (base)
		version_unref(base);
}

int save_over(struct fusefs *fs, struct inode *from, struct inode *old, const struct attr *node,
	      struct version *fallback, pid_t tid)
{
	struct err e = { 0 };
	struct version *base = NULL;
	if (old) {
		pthread_mutex_lock(&old->lock);
		inode_unsteady(old);
		pthread_mutex_unlock(&old->lock);
	}
	pthread_mutex_lock(&from->lock);
	int r = commit_over(fs, from, &node->id, fallback, tid, &base, &e);
	pthread_mutex_unlock(&from->lock);
	/* Its times are those of the save from here on. That waits for nobody (fusefs/notify.h). */
	if (r == 0)
		notify_size(fs, from);
	if (r == -EINVAL)
		refused(fs, from, node, base, &e);
	else if (base)
		version_unref(base);
	if (old) {
		/* Whoever has the old inode open goes on reading what he opened. */
		pthread_mutex_lock(&old->lock);
		if (r == 0) {
			draft_drop(fs, old);
			old->last = *node;
			inode_orphan(fs, old);
		}
		inode_steady(old);
		pthread_mutex_unlock(&old->lock);
	}
	return r;
}
