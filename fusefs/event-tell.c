/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/event-impl.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 256 /* directories on the way to one that is gone */
#define TRIES 3

void event_turn_begin(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	s->dropping++;
	while (s->calling)
		pthread_cond_wait(&s->turn, &s->lock);
	s->dropping--;
	s->calling = true;
	pthread_mutex_unlock(&s->lock);
}

void event_turn_end(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	s->calling = false;
	pthread_cond_broadcast(&s->turn);
	pthread_mutex_unlock(&s->lock);
}

int event_call(struct events *s, const struct job *job)
{
	pthread_mutex_lock(&s->lock);
	while (s->calling || s->dropping)
		pthread_cond_wait(&s->turn, &s->lock);
	s->calling = true;
	pthread_mutex_unlock(&s->lock);
	int r = puppet_do(s->puppet, job);
	event_turn_end(s);
	pthread_mutex_lock(&s->lock);
	s->calls++;
	s->dead |= r == -EPIPE;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* Where a node is for our process: where it was before what is not told yet. -ENOENT. */
static int place_of(struct events *s, const struct id *id, struct id *ret_dir, char *ret_name)
{
	pthread_mutex_lock(&s->lock);
	const struct label *l = label_before(s, id);
	if (l) {
		*ret_dir = l->dir;
		memcpy(ret_name, l->name, strlen(l->name) + 1);
	}
	pthread_mutex_unlock(&s->lock);
	return l ? 0 : replica_parent(s->fs->replica, id, ret_dir, ret_name);
}

static int path_of(struct events *s, const struct id *dir, struct buf *ret)
{
	char name[NAME_MAX_BYTES + 1];
	struct id at = *dir, up;
	_cleanup_(buf_done) struct buf below = { 0 };
	for (unsigned n = 0; !id_equal(&at, &NODE_ROOT); n++) {
		int r = n < DEPTH_MAX ? place_of(s, &at, &up, name) : -ELOOP;
		if (r < 0)
			return r;
		buf_reset(&below);
		buf_put(&below, ret->data, ret->len);
		buf_reset(ret);
		buf_puts(ret, name);
		if (below.len)
			buf_u8(ret, '/');
		buf_put(ret, below.data, below.len);
		at = up;
	}
	return 0;
}

struct inode *event_ghost(struct fusefs *fs, const struct id *id, enum node_kind kind)
{
	struct inode *i = NULL;
	if (inode_new(fs, BACK_ORPHAN, kind, &i) < 0)
		return NULL;
	i->id = *id;
	i->last = (struct attr){ .kind = kind, .mode = kind == NODE_DIR ? 0755 : 0644 };
	return i;
}

/* What stood there before: of a node that is no more, or goes on elsewhere, the inode by which the kernel
 * knows it. A directory that is removed stays dead for the kernel: should it come back, it is
 * another one. */
static struct inode *inode_before(struct fusefs *fs, const struct event *e)
{
	struct attr attr;
	struct inode *i = inode_find_node(fs, &e->id);
	if (i) {
		pthread_mutex_lock(&i->lock);
		bool lives = replica_attr(fs->replica, &e->id, &attr) >= 0;
		bool fits = i->kind == e->kind && lives == (e->to != NULL);
		if (fits && !e->to && e->kind == NODE_DIR)
			inode_orphan(fs, i);
		pthread_mutex_unlock(&i->lock);
		if (fits)
			return i;
		inode_put(fs, i);
	} else if (e->to && replica_attr(fs->replica, &e->id, &attr) >= 0 && attr.kind == e->kind &&
		   inode_of_node(fs, &attr, &i) >= 0) {
		return i;
	}
	return event_ghost(fs, &e->id, e->kind);
}

/* What has come: the node, if it is still there, else something that looks like it. */
static struct inode *inode_after(struct fusefs *fs, const struct event *e, uint64_t *ret_size)
{
	struct attr attr;
	struct inode *i = NULL;
	*ret_size = 0;
	if (replica_lookup(fs->replica, &e->to->dir, e->to->name, strlen(e->to->name), &attr) < 0 ||
	    !id_equal(&attr.id, &e->id) || attr.kind != e->kind ||
	    inode_of_node(fs, &attr, &i) < 0)
		return event_ghost(fs, &e->id, e->kind);
	*ret_size = attr.size;
	return i;
}

static int play(struct events *s, const struct event *e, const struct job *job, struct inode *old,
		struct inode *new)
{
	pthread_mutex_lock(&s->lock);
	s->now = e;
	s->old = old;
	s->new = new;
	s->asked = false;
	pthread_mutex_unlock(&s->lock);
	int r = event_call(s, job);
	pthread_mutex_lock(&s->lock);
	s->now = NULL;
	s->old = s->new = NULL;
	pthread_mutex_unlock(&s->lock);
	inode_put(s->fs, old);
	inode_put(s->fs, new);
	return r;
}

/* -errno: our process was told nothing, or failed. */
static int tell_names(struct events *s, const struct event *e)
{
	struct fusefs *fs = s->fs;
	_cleanup_(buf_done) struct buf from = { 0 }, to = { 0 };
	struct job job = { .kind = e->kind };
	int r = e->from ? path_of(s, &e->from->dir, &from) : 0;
	if (r == 0 && e->to)
		r = path_of(s, &e->to->dir, &to);
	if (r < 0)
		return r;
	if (!e->from) {
		uint64_t size;
		struct inode *new = inode_after(fs, e, &size);
		job.what = JOB_MAKE;
		job.dir = buf_cstr(&to);
		job.name = e->to->name;
		job.wrote = size > 0 && !e->hard; /* link(2) writes nothing */
		return new && job.dir ? play(s, e, &job, NULL, new) : -ENOMEM;
	}
	job.what = e->to ? JOB_RENAME : JOB_REMOVE;
	job.dir = buf_cstr(&from);
	job.name = e->from->name;
	job.to_dir = buf_cstr(&to);
	job.to_name = e->to ? e->to->name : NULL;
	struct inode *old = job.dir && job.to_dir ? inode_before(fs, e) : NULL;
	r = old ? play(s, e, &job, old, NULL) : -ENOMEM;
	/* A directory has one place for the kernel, and it may have seen it in another one. */
	if (r < 0 && e->kind == NODE_DIR && (old = event_ghost(fs, &e->id, e->kind)))
		r = play(s, e, &job, old, NULL);
	return r;
}

static int tell_node(struct events *s, const struct event *e)
{
	struct fusefs *fs = s->fs;
	char name[NAME_MAX_BYTES + 1] = ".";
	struct id dir = NODE_ROOT;
	_cleanup_(buf_done) struct buf path = { 0 };
	if (!id_equal(&e->id, &NODE_ROOT)) {
		int r = place_of(s, &e->id, &dir, name);
		if (r < 0)
			return r;
		if (event_is_hidden(fs, &dir, name, &e->id) ||
		    (!event_is_known(fs, &dir) && !event_is_known(fs, &e->id)))
			return 0;
		r = path_of(s, &dir, &path);
		if (r < 0)
			return r;
	}
	struct job job = { .kind = e->kind, .dir = buf_cstr(&path), .name = name, .wrote = true };
	if (!job.dir)
		return -ENOMEM;
	job.what = e->what & CHANGE_CONTENT && e->kind != NODE_DIR ? JOB_WRITE : JOB_ATTR;
	job.attr = e->what & CHANGE_ATTR;
	return event_call(s, &job);
}

/* What can be seen already may have taken away a directory on the path, and its event not be queued
 * yet. */
void event_tell(struct events *s, const struct event *e)
{
	for (unsigned n = 1;; n++) {
		int r = e->what ? tell_node(s, e) : tell_names(s, e);
		if (r != -ENOENT || n == TRIES)
			return;
		replica_observed(s->fs->replica);
	}
}
