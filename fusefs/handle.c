/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/commit.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"
#include "fusefs/shoaldir.h"

uint64_t inode_limit(const struct inode *i)
{
	bool document = i->backing == BACK_NODE && i->last.form == FORM_JSON;
	return document || i->backing == BACK_VIRTUAL ? DOCUMENT_SIZE_MAX : BLOB_SIZE_MAX;
}

int inode_shared(struct fusefs *fs, struct inode *i, struct copy **ret)
{
	if (i->backing == BACK_LOCAL) {
		int r = local_content(fs, i);
		if (r < 0)
			return r;
	}
	if (!i->shared) {
		struct version *v = NULL;
		if (i->backing == BACK_NODE) {
			int r = replica_read(fs->replica, &i->id, &v);
			if (r < 0)
				return r;
		}
		i->shared = copy_new();
		if (!i->shared) {
			if (v)
				version_unref(v);
			return -ENOMEM;
		}
		i->shared->origin = v;
	}
	*ret = i->shared;
	return 0;
}

static bool same_bytes(const struct version *a, const struct version *b)
{
	if (a == b)
		return true;
	const void *s = version_data(a), *t = version_data(b);
	if (version_size(a) != version_size(b) || !s != !t)
		return false;
	if (s)
		return memcmp(s, t, (size_t)version_size(a)) == 0;
	const struct blob_ref *x = version_blob(a), *y = version_blob(b);
	return x && y && memcmp(&x->manifest, &y->manifest, sizeof(x->manifest)) == 0;
}

/* A copy of the newest version for one handle alone, past the kernel's pages. v is taken over. */
static int own_copy(struct version *v, struct fuse_file_info *fi, struct copy **ret)
{
	struct copy *c = copy_new();
	if (!c) {
		version_unref(v);
		return -ENOMEM;
	}
	c->origin = v;
	fi->direct_io = 1;
	fi->keep_cache = 0;
	*ret = c;
	return 0;
}

/* The copy that a new handle gets, and what the kernel may keep of its pages. own: the kernel's
 * pages are those of another inode. */
static int choose_copy(struct fusefs *fs, struct inode *i, bool own, struct fuse_file_info *fi,
		       struct copy **ret)
{
	struct copy *c = i->shared;
	struct attr attr;
	/* Replaced or gone between the kernel's lookup and this. */
	if (i->backing == BACK_ORPHAN && (!c || replica_attr(fs->replica, &i->id, &attr) >= 0))
		return -ESTALE;
	if (own && i->backing != BACK_NODE)
		return -ESTALE;
	if (own) {
		struct version *v = NULL;
		int r = replica_read(fs->replica, &i->id, &v);
		return r < 0 ? r : own_copy(v, fi, ret);
	}
	if (i->backing != BACK_NODE || (c && c->dirty)) {
		int r = inode_shared(fs, i, ret);
		fi->keep_cache = r == 0 && (*ret)->users > 0 && !(*ret)->unread;
		return r;
	}
	struct version *head = NULL;
	int r = replica_read_later(fs->replica, &i->id, &head);
	if (r < 0)
		return r;
	/* A newer version of the same bytes (renamed, another mode) is none to its readers: what is
	 * written through this handle they have to see. And one of the same context has other bytes
	 * when the copy is what a writer knows, his own before the merge. */
	bool same = c && c->origin && same_bytes(c->origin, head);
	if (i->unsteady || (c && c->users && !same))
		return own_copy(head, fi, ret);
	if (!c)
		c = i->shared = copy_new();
	if (!c) {
		version_unref(head);
		return -ENOMEM;
	}
	if (c->users && id_equal(&i->cache, version_id(c->origin)))
		i->cache = *version_id(head);
	fi->keep_cache = id_equal(&i->cache, version_id(head));
	if (!c->users) {
		copy_reset(c, head);
	} else {
		version_unref(c->origin);
		c->origin = head;
	}
	if (fi->keep_cache)
		c->unread = false;
	*ret = c;
	return 0;
}

void handle_dropped(struct handle *h)
{
	struct inode *i = h->inode;
	struct copy *c = h->copy;
	if (h->fresh && c == i->shared && h->turn == c->turn && c->unread) {
		c->unread = false;
		if (i->backing == BACK_NODE && !c->dirty && c->origin)
			i->cache = *version_id(c->origin);
	}
	h->fresh = false;
}

void copy_touch(struct copy *c, const struct proc *writer)
{
	if (!c->dirty) {
		c->dirty = true;
		c->since_ns = monotonic_ns() - STRANGERS_NS;
	}
	c->used_ns = monotonic_ns();
	c->flushed = false;
	c->unfinished = true;
	c->mtime_set = false;
	c->mtime_ns = wall_ns();
	if (writer)
		c->writer = *writer;
}

static void touch(struct inode *i, struct copy *c, const struct proc *writer)
{
	copy_touch(c, writer);
	i->ctime_ns = c->mtime_ns;
	if (i->backing == BACK_LOCAL)
		i->local->mtime_ns = c->mtime_ns;
}

void handle_wrote(struct handle *h)
{
	const struct copy *c = h->copy;
	if (!h->knows || c->dirty || c->turn == h->knows_turn)
		return;
	if (h->seen && c->origin && c->turn == h->knows_turn + 1)
		version_set(&h->seen, c->origin);
	h->knows = false;
}

/* Something is about to be written through it. */
static void begin_write(struct handle *h)
{
	handle_wrote(h);
	h->knows = true;
	h->knows_turn = h->copy->turn;
}

int copy_truncate(struct fusefs *fs, struct inode *i, struct copy *c, uint64_t size,
		  const struct proc *writer, struct handle *h)
{
	if (size > inode_limit(i))
		return -EFBIG;
	if (h)
		begin_write(h);
	int r = 0;
	if (size == 0 && !c->work)
		r = workfile_new(fs->spool, &c->work);
	else
		r = copy_open_work(fs, c);
	if (r == 0)
		r = workfile_truncate(c->work, size);
	if (r < 0)
		return r;
	if (c->covered > size)
		c->covered = size;
	touch(i, c, writer);
	if (h) {
		if (size > 0)
			h->wrote = true;
		if (h->seen)
			version_set(&c->seen, h->seen);
	}
	return 0;
}

void handle_begin(struct fusefs *fs, struct handle *h)
{
	if (h->closing)
		atomic_fetch_sub(&fs->n_closing, 1);
	h->closing = false;
	if (!h->began)
		commit_before_save(fs, h->inode);
	h->began = true;
}

void inode_lock_quickly(struct fusefs *fs, struct inode *i)
{
	if (pthread_mutex_trylock(&i->lock) == 0)
		return;
	turn_pass(&fs->turns);
	pthread_mutex_lock(&i->lock);
}

/* What is small, opened to be read and nobody else's just now gets its pages before the answer: that saves
 * the kernel a question, and one more later, as after each read it asks anew for the time of access. */
static struct version *wants_pages(const struct inode *i, const struct handle *h,
				   const struct copy *c, const struct fuse_file_info *fi)
{
	if (h->writes || fi->direct_io || (fi->keep_cache && !i->partial) ||
	    i->backing != BACK_NODE || c != i->shared || c->users || c->work || !c->origin ||
	    !version_is_bytes(c->origin) || version_size(c->origin) == 0 ||
	    version_size(c->origin) > FILL_SIZE)
		return NULL;
	return version_ref(c->origin);
}

/* Through h, whose inode is unsteady: pages of v, which its copy had when it was opened. */
static void fill_pages(struct fusefs *fs, struct handle *h, struct version *v, bool pageless,
		       struct fuse_file_info *fi)
{
	struct inode *i = h->inode;
	struct copy *c = h->copy;
	/* Nobody reads pages that might be of something else: there is no other handle. */
	if (!fi->keep_cache && !pageless)
		notify_pages(fs, i);
	int r = notify_store(fs, i, v);
	pthread_mutex_lock(&i->lock);
	if (c != i->shared || h->turn != c->turn || c->dirty) {
		/* It took other bytes meanwhile, and the pages may be of these or those. */
		i->cache = (struct id){ 0 };
		c->unread = h->fresh = true;
		fi->keep_cache = 0;
	} else if (r == 0) {
		i->cache = *version_id(v);
		i->partial = c->unread = h->fresh = false;
		fi->keep_cache = 1;
	}
	inode_steady(i);
	pthread_mutex_unlock(&i->lock);
}

int handle_open(struct fusefs *fs, struct inode *i, bool own, int flags, pid_t tid,
		struct fuse_file_info *fi)
{
	struct handle *h = calloc(1, sizeof(*h));
	uint64_t number = h ? slots_add(&fs->files, h) : 0;
	if (!number) {
		free(h);
		return -ENOMEM;
	}
	int mode = flags & O_ACCMODE;
	h->reads = mode != O_WRONLY;
	h->writes = mode != O_RDONLY || (flags & O_TRUNC);
	h->append = flags & O_APPEND;
	procs_of(&fs->procs, tid, monotonic_ns(), &h->opener);
	struct copy *c = NULL;
	_cleanup_(version_unrefp) struct version *fill = NULL; /* its bytes are to become pages */
	inode_lock_quickly(fs, i);
	if (i->backing == BACK_VIRTUAL || i->last.size > QUICK_SIZE)
		turn_pass(&fs->turns);
	int r;
	if (mode == O_RDONLY && (flags & O_TRUNC) && (inode_mode(i) & 0111)) {
		/* The kernel looks whether it is running only after this, and has emptied its pages
		 * by then: the program would die of it. */
		r = -ETXTBSY;
	} else if (i->backing == BACK_VIRTUAL) {
		r = shoaldir_open(fs, i, h->writes, &c);
		fi->direct_io = 1;
	} else {
		r = choose_copy(fs, i, own, fi, &c);
	}
	if (r < 0)
		goto fail;
	/* A change that the kernel has not been told of yet: reads would end at the old size. */
	bool resized = i->backing == BACK_NODE && c == i->shared && !c->dirty && c->origin &&
		       !id_equal(&i->told, version_id(c->origin));
	if (i->backing == BACK_NODE)
		replica_attr(fs->replica, &i->id, &i->last);
	/* Reads through a handle that may write matter for the base of what it writes: without
	 * cached pages they arrive here. */
	bool noted =
		h->reads && (!h->writes || fi->keep_cache || fi->direct_io) && !(flags & O_TRUNC);
	if (h->reads && h->writes && c->users == 0) {
		fi->keep_cache = 0;
		noted = false;
	}
	if (noted && i->backing == BACK_NODE && copy_basis(c)) {
		version_set(&h->seen, copy_basis(c));
		bases_note(fs->bases, &h->opener, &i->id, h->seen, monotonic_ns());
	}
	struct id version = { 0 };
	if (!resized)
		fill = wants_pages(i, h, c, fi);
	const bool pageless = i->pageless;
	i->pageless = false;
	if (fill)
		inode_unsteady(i);
	if (resized) {
		version = *version_id(c->origin);
		inode_unsteady(i);
	}
	if (h->reads && i->backing == BACK_NODE && i->last.form == FORM_BLOB)
		replica_note_read(fs->replica, &i->id);
	c->users++;
	c->used_ns = monotonic_ns();
	c->readers += h->reads;
	c->writers += h->writes;
	h->copy = c;
	h->inode = i;
	if ((flags & O_TRUNC) && h->writes && (copy_size(c) > 0 || c->draft)) {
		/* Rule 5 wants what was there; a draft being replaced has the base it had. */
		if (!c->fallback && copy_basis(c))
			version_set(&c->fallback, copy_basis(c));
		r = copy_truncate(fs, i, c, 0, &h->opener, NULL);
		fi->keep_cache = 0;
	}
	if (!h->writes)
		fi->noflush = 1;
	h->fresh = !fi->keep_cache && !fi->direct_io;
	h->turn = c->turn;
	pthread_mutex_unlock(&i->lock);
	pthread_mutex_lock(&fs->lock);
	i->refs++;
	i->opens++;
	fs->n_handles++;
	pthread_mutex_unlock(&fs->lock);
	if (resized) {
		notify_size(fs, i);
		pthread_mutex_lock(&i->lock);
		i->told = version;
		inode_steady(i);
		pthread_mutex_unlock(&i->lock);
	}
	if (fill)
		fill_pages(fs, h, fill, pageless, fi);
	fi->fh = number;
	return 0;
fail:
	pthread_mutex_unlock(&i->lock);
	slots_remove(&fs->files, number);
	free(h);
	return r;
}

bool inode_drop_set_id(struct fusefs *fs, struct inode *i)
{
	mode_t mode = inode_mode(i), drop = mode & S_ISUID;
	if (mode & S_IXGRP)
		drop |= mode & S_ISGID;
	if (!drop || i->kind != NODE_FILE)
		return false;
	inode_set_mode(fs, i, mode & ~drop);
	inode_changed(i);
	return true;
}

int handle_write(struct fusefs *fs, struct handle *h, const char *data, size_t size, off_t off,
		 bool from_cache)
{
	struct inode *i = h->inode;
	struct copy *c = h->copy;
	/* Pages of a mapping come by any handle, at their own offsets. */
	uint64_t at = h->append && !from_cache ? copy_size(c) : (uint64_t)off;
	uint64_t end;
	if (__builtin_add_overflow(at, (uint64_t)size, &end) || end > inode_limit(i))
		return -EFBIG;
	begin_write(h);
	int r = copy_open_work(fs, c);
	if (r == 0)
		r = workfile_pwrite(c->work, data, size, at);
	if (r < 0)
		return r;
	touch(i, c, &h->opener);
	if (at <= c->covered && end > c->covered)
		c->covered = end;
	if (h->seen)
		version_set(&c->seen, h->seen);
	h->wrote = true;
	return 0;
}

bool copy_leave(struct fusefs *fs, struct inode *i, struct copy *c)
{
	c->users--;
	if (c->users)
		return false;
	if (c != i->shared) {
		copy_free(c);
		return false;
	}
	if (c->dirty || i->backing != BACK_NODE)
		return false;
	struct attr attr;
	bool stale = replica_attr(fs->replica, &i->id, &attr) >= 0 &&
		     !id_equal(&attr.version,
			       c->unread && c->origin ? version_id(c->origin) : &i->cache);
	copy_free(c);
	i->shared = NULL;
	return stale;
}

void handles_done(struct fusefs *fs)
{
	for (uint64_t k = slots_next(&fs->files, 1); k; k = slots_next(&fs->files, k + 1)) {
		struct handle *h = slots_get(&fs->files, k);
		if (h->inode && h->copy && h->copy != h->inode->shared && --h->copy->users == 0)
			copy_free(h->copy);
		if (h->seen)
			version_unref(h->seen);
		free(h);
	}
	slots_done(&fs->files);
}

static int zero(struct fusefs *fs, struct handle *h, uint64_t offset, uint64_t len)
{
	struct copy *c = h->copy;
	begin_write(h);
	int r = copy_open_work(fs, c);
	if (r == 0)
		r = workfile_zero(c->work, offset, len);
	if (r < 0)
		return r;
	touch(h->inode, c, &h->opener);
	if (h->seen)
		version_set(&c->seen, h->seen);
	h->wrote = true;
	return 0;
}

int handle_allocate(struct fusefs *fs, struct handle *h, int mode, uint64_t offset, uint64_t len)
{
	uint64_t end, size = copy_size(h->copy);
	if (__builtin_add_overflow(offset, len, &end) || end > inode_limit(h->inode))
		return -EFBIG;
	int r = 0;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && offset < size)
		r = zero(fs, h, offset, len);
	if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > size)
		r = copy_truncate(fs, h->inode, h->copy, end, &h->opener, h);
	return r;
}

