/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/seen.h"

#include <errno.h>

#include "engine/replica-cut.h"

/* Nodes of a directory that are looked at one by one, in a thread that others wait for. Of a larger one who
 * is named has everything that this device shows. */
#define TREE_MAX 10000

/* Has it bytes that are no version yet, or none of its own? Not locked. */
static bool is_unsaved(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	bool yes = (i->shared && (i->shared->dirty || i->shared->draft)) ||
		   (i->backing == BACK_LOCAL && i->local->unsettled);
	pthread_mutex_unlock(&i->lock);
	return yes;
}

static bool is_file(const struct inode *i)
{
	return i->kind == NODE_FILE && i->backing != BACK_VIRTUAL;
}

/* Any file of the mount: where in the tree one is may change while this looks. */
static bool some_is_unsaved(struct fusefs *fs)
{
	struct inode **list = NULL;
	size_t n = 0;
	bool yes = false;
	if (inodes_get(fs, is_file, &list, &n) < 0)
		return true;
	for (size_t k = 0; k < n && !yes; k++)
		yes = is_unsaved(list[k]);
	inodes_put(fs, list, n);
	return yes;
}

int seen_by(struct fusefs *fs, struct inode *i, struct buf *ret)
{
	_cleanup_(cut_freep) struct cut *cut = NULL;
	struct attr attr;
	uint32_t left = TREE_MAX;
	bool contents = false;
	/* Of a directory it takes a while. */
	if (i->kind == NODE_DIR)
		turn_pass(&fs->turns);
	pthread_mutex_lock(&i->lock);
	const enum backing backing = i->backing;
	const struct id id = i->id;
	pthread_mutex_unlock(&i->lock);
	if (is_unsaved(i))
		return 0;
	if (backing != BACK_NODE)
		return -ENODATA;
	if (i->kind == NODE_DIR && some_is_unsaved(fs))
		return 0;
	int r = cut_new(fs->replica, &cut);
	if (r == 0)
		r = replica_attr(fs->replica, &id, &attr);
	if (r == 0)
		r = cut_tree(cut, fs->replica, &attr, &left, &contents);
	if (r == -E2BIG) {
		contents = true;
		r = cut_all(cut);
	}
	if (r == -ENOENT) /* removed, or a root that nobody has written to */
		return 0;
	return r < 0 || !fs->config.seen_by ? r : fs->config.seen_by(fs->config.userdata, cut, contents, ret);
}
