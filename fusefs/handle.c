/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ignore.h"
#include "fusefs/commit.h"
#include "fusefs/demand.h"
#include "fusefs/event.h"
#include "fusefs/flip.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"
#include "fusefs/shoaldir.h"

/* Saves that replace a file again and again while it is being opened. */
#define REPLACED_MAX 100
/* Who reads on reads so much at a time, and asks for as much before he has got it. */
#define READ_WINDOW (256u * 1024)

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

/* The kernel drops older pages when it takes the answer to an open that says so, and answers may
 * overtake each other: who opens in between must not keep them. The first request through such a
 * handle is the proof that they are gone. */
static void note_dropped(struct handle *h)
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

/* Who wrote knows what came of it, when that has been committed since: his next save through the
 * same handle is no difference to what he had read before. */
static void note_own(struct handle *h)
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
	note_own(h);
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

/* Opens i; own: in the name of another inode. -ESTALE: another one has taken its place. */
static int open_inode(struct fusefs *fs, struct inode *i, bool own, int flags, pid_t tid,
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
	fi->fh = number;
	return 0;
fail:
	pthread_mutex_unlock(&i->lock);
	slots_remove(&fs->files, number);
	free(h);
	return r;
}

int handle_open(struct fusefs *fs, struct inode *i, int flags, pid_t tid, struct fuse_file_info *fi)
{
	return open_inode(fs, i, false, flags, tid, fi);
}

/* ---- operations on handles ---- */

/* A save has replaced i since the kernel looked its name up: the inode that stands for the file now,
 * referenced. The kernel would ask for the name once more, and once only; and who still has i open
 * must not make others read what it was. NULL: there is none. */
static struct inode *successor(struct fusefs *fs, struct inode *i)
{
	struct attr attr;
	struct inode *now = NULL;
	pthread_mutex_lock(&i->lock);
	bool gone = i->backing == BACK_ORPHAN && i->kind == NODE_FILE;
	struct id id = i->id;
	pthread_mutex_unlock(&i->lock);
	if (!gone || replica_attr(fs->replica, &id, &attr) < 0 || attr.kind != NODE_FILE ||
	    inode_of_node(fs, &attr, &now) < 0)
		return NULL;
	return now;
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

/* Who is not root has written to the file, or emptied it. Before he is answered. */
static void written_by(struct fusefs *fs, struct inode *i, uid_t writer)
{
	if (writer == 0)
		return;
	pthread_mutex_lock(&i->lock);
	bool dropped = inode_drop_set_id(fs, i);
	pthread_mutex_unlock(&i->lock);
	if (dropped)
		notify_size(fs, i);
}

/* Opens for whoever asked for ino, and answers. The reference to i goes. */
static void open_and_reply(fuse_req_t req, fuse_ino_t ino, struct inode *i, struct fuse_file_info *fi)
{
	struct fusefs *fs = fs_of(req);
	int r = i->kind == NODE_DIR ? -EISDIR : -ESTALE;
	for (unsigned tries = 0; r == -ESTALE && tries < REPLACED_MAX; tries++) {
		struct inode *now = successor(fs, i);
		if (!now && tries)
			break;
		if (now) {
			inode_put(fs, i);
			i = now;
		}
		if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
			pthread_mutex_lock(&i->lock);
			commit_before_save(fs, i);
			pthread_mutex_unlock(&i->lock);
		}
		r = open_inode(fs, i, i->ino != ino, fi->flags, fuse_req_ctx(req)->pid, fi);
	}
	if (r == 0 && (fi->flags & O_TRUNC))
		written_by(fs, i, fuse_req_ctx(req)->uid);
	inode_put(fs, i);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_open(req, fi);
}

struct opening {
	fuse_ino_t ino;
	struct inode *inode; /* referenced */
	struct fuse_file_info fi;
};

static void open_again(struct fusefs *fs, fuse_req_t req, int code, void *arg)
{
	struct opening *o = arg;
	if (code == 0) {
		open_and_reply(req, o->ino, o->inode, &o->fi);
	} else {
		inode_put(fs, o->inode);
		fuse_reply_err(req, -code);
	}
	free(o);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (event_open(req, fi))
		return;
	struct fusefs *fs = fs_of(req);
	struct inode *i = inode_get(fs, ino);
	if (!i) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	struct id id;
	struct opening *o = NULL;
	/* What is written into the middle of it, or behind it, needs the rest. */
	if ((fi->flags & O_ACCMODE) != O_RDONLY && !(fi->flags & O_TRUNC) && inode_is_absent(fs, i, &id))
		o = malloc(sizeof(*o));
	if (!o) {
		open_and_reply(req, ino, i, fi);
		return;
	}
	*o = (struct opening){ ino, i, *fi };
	demand_wait(fs, req, &id, NULL, 0, UINT64_MAX, open_again, o);
}

static void note_read(struct fusefs *fs, struct inode *i, struct handle *h)
{
	/* Of a file that has been replaced meanwhile, too: its reader is about to save. */
	struct version *basis = copy_basis(h->copy);
	if (!basis || basis == h->seen ||
	    (i->backing != BACK_NODE && (i->backing != BACK_ORPHAN || h->copy->dirty)))
		return;
	version_set(&h->seen, basis);
	bases_note(fs->bases, &h->opener, version_node(basis), basis, monotonic_ns());
}

/* Is this one of a row of reads, as the kernel makes of a file that is read from its beginning? They may
 * overtake each other. i->lock held. */
static bool reads_on(struct handle *h, uint64_t offset, size_t size)
{
	const uint64_t last = h->read_to;
	h->read_to = offset + size;
	return last && size > QUICK_SIZE && offset < last + READ_WINDOW &&
	       last < offset + READ_WINDOW;
}

/* Reading size bytes of it is quick work. */
static bool is_at_hand(const struct inode *i, const struct copy *c, size_t size)
{
	return c == i->shared && !c->work && size <= QUICK_SIZE &&
	       (!c->origin || version_is_made(c->origin));
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	struct inode *i = h->inode;
	inode_lock_quickly(fs, i);
	struct copy *c = h->copy;
	if (!is_at_hand(i, c, size))
		turn_pass(&fs->turns);
	note_dropped(h);
	if (c != i->shared)
		flip_own(fs, i, c, (uint64_t)off + size);
	c->used_ns = monotonic_ns();
	note_read(fs, i, h);
	const bool on = reads_on(h, (uint64_t)off, size);
	if (!c->work) {
		_cleanup_(version_unrefp) struct version *v =
			c->origin ? version_ref(c->origin) : NULL;
		const struct proc reader = h->opener;
		pthread_mutex_unlock(&i->lock);
		const uint8_t *data = v ? version_data(v) : (const uint8_t *)"";
		uint64_t total = v ? version_size(v) : 0;
		if (data) {
			uint64_t left = (uint64_t)off < total ? total - (uint64_t)off : 0;
			fuse_reply_buf(req, (const char *)data + (left ? off : 0),
				       left < size ? (size_t)left : size);
			return;
		}
		_cleanup_free_ char *room = malloc(size);
		ssize_t n = room ? version_pread(v, room, size, (uint64_t)off) : -ENOMEM;
		/* Chunks end where they end; the kernel takes a short answer for the end. */
		while (room && n > 0 && (size_t)n < size) {
			ssize_t m =
				version_pread(v, room + n, size - (size_t)n, (uint64_t)(off + n));
			if (m < 0)
				n = m;
			if (m <= 0)
				break;
			n += m;
		}
		if (n == -EHOSTDOWN)
			demand_read(fs, req, &reader, v, size, (uint64_t)off);
		else if (n < 0)
			fuse_reply_err(req, (int)-n);
		else
			fuse_reply_buf(req, room, (size_t)n);
		/* The reader has his answer: this thread sees to what he will ask for. */
		if (on && n > 0)
			version_expect(v, size, (uint64_t)off + READ_WINDOW);
		return;
	}
	_cleanup_free_ char *room = malloc(size);
	ssize_t n = room ? copy_pread(c, room, size, (uint64_t)off) : -ENOMEM;
	pthread_mutex_unlock(&i->lock);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, room, (size_t)n);
}

/* SEEK_HOLE and SEEK_DATA; the kernel does the others. */
static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	(void)ino;
	struct handle *h = handle_of(fs_of(req), fi);
	struct inode *i = h->inode;
	uint64_t next = 0;
	int r = whence == SEEK_HOLE || whence == SEEK_DATA ? 0 : -EINVAL;
	pthread_mutex_lock(&i->lock);
	uint64_t size = copy_size(h->copy);
	if (r == 0 && (off < 0 || (uint64_t)off >= size))
		r = -ENXIO;
	if (r == 0)
		r = copy_next(h->copy, (uint64_t)off, whence == SEEK_HOLE, &next);
	/* Where the holes are of what is elsewhere, nobody knows here. */
	if (r == -EHOSTDOWN) {
		next = whence == SEEK_HOLE ? size : (uint64_t)off;
		r = 0;
	}
	if (r == 0 && whence == SEEK_DATA && next >= size)
		r = -ENXIO;
	pthread_mutex_unlock(&i->lock);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_lseek(req, (off_t)next);
}

static int do_write(struct fusefs *fs, struct handle *h, const char *data, size_t size, off_t off,
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

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	struct inode *i = h->inode;
	inode_lock_quickly(fs, i);
	handle_begin(fs, h);
	note_dropped(h);
	int r = do_write(fs, h, data, size, off, fi->writepage);
	struct workfile_ahead *ahead = r == 0 ? commit_grows(fs, i, h->copy) : NULL;
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		written_by(fs, i, fuse_req_ctx(req)->uid);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_write(req, size);
	/* The writer has his answer: this thread goes on with what he has written so far. */
	if (ahead)
		commit_growing(fs, ahead);
}

/* New ignore rules that have not settled: i->lock held. */
static bool is_rules(const struct inode *i)
{
	return i->backing == BACK_LOCAL && i->local->unsettled &&
	       strcmp(i->local->name, IGNORE_FILE) == 0;
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	if (!h) {
		fuse_reply_err(req, 0);
		return;
	}
	struct inode *i = h->inode;
	struct copy *c = h->copy;
	int r = 0;
	bool rules = false;
	inode_lock_quickly(fs, i);
	if (copy_size(c) > QUICK_SIZE || i->last.size > QUICK_SIZE)
		turn_pass(&fs->turns);
	if (h->writes && (h->wrote || (h->began && c->unfinished))) {
		/* A child that inherited the file closes it: others may go on writing. */
		pid_t tid = fuse_req_ctx(req)->pid;
		bool quiet = tid > 0 && tid != h->opener.tgid && proc_alive(&h->opener) &&
			     !proc_has_thread(&h->opener, tid);
		struct err e = { 0 };
		if (h->wrote)
			r = commit_copy(fs, i, c, quiet, &e);
		note_own(h);
		if (!c->dirty && !c->draft)
			h->wrote = false; /* a draft is told of at every close */
		if (!quiet && !c->dirty)
			c->unfinished = false;
		rules = r == 0 && c->flushed && is_rules(i);
	}
	pthread_mutex_unlock(&i->lock);
	if (rules)
		commit_rules(fs, i);
	fuse_reply_err(req, -r);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	struct inode *i = h->inode;
	struct err e = { 0 };
	pthread_mutex_lock(&i->lock);
	int r = h->copy->dirty ? commit_copy(fs, i, h->copy, false, &e) : 0;
	note_own(h);
	if (r == 0)
		h->wrote = false;
	if (r == 0 && i->backing == BACK_LOCAL && i->shared)
		r = local_store(fs, i, true);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		r = replica_flush(fs->replica, &e);
	fuse_reply_err(req, r < 0 ? -r : 0);
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

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	if (!h) {
		fuse_reply_err(req, 0);
		return;
	}
	struct inode *i = h->inode;
	struct copy *c = h->copy;
	int64_t settle = 0;
	inode_lock_quickly(fs, i);
	if (h->writes)
		turn_pass(&fs->turns);
	c->readers -= h->reads;
	c->writers -= h->writes;
	if (h->writes && c->dirty && !c->writers && !(c->draft && c->flushed))
		commit_copy(fs, i, c, false, NULL);
	if (h->writes && !c->writers && !c->dirty)
		c->unfinished = false;
	bool stale = copy_leave(fs, i, c);
	if (i->backing == BACK_LOCAL && i->ignored && !i->local->stored)
		local_store(fs, i, false);
	local_rest(i);
	if (i->backing == BACK_LOCAL && i->local->unsettled && h->writes) {
		/* Each save puts it off, but a file that is saved all the time leaves as well. */
		int64_t now = monotonic_ns(), last = i->local->born_ns + SETTLE_MAX_NS;
		settle = now + (i->local->settle_ns > 0 ? SETTLE_EXCL_NS : SETTLE_NS);
		if (settle > last)
			settle = last > now ? last : now;
		i->local->settle_ns = settle;
	}
	pthread_mutex_unlock(&i->lock);
	fuse_reply_err(req, 0);
	if (stale)
		notify_inode(fs, i);
	if (settle)
		keeper_add(fs, TIMER_SETTLE, i->ino, settle);
	pthread_mutex_lock(&fs->lock);
	i->opens--;
	fs->n_handles--;
	pthread_mutex_unlock(&fs->lock);
	inode_put(fs, i);
	slots_remove(&fs->files, fi->fh);
	if (h->seen)
		version_unref(h->seen);
	free(h);
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

static int allocate(struct fusefs *fs, struct handle *h, int mode, uint64_t offset, uint64_t len)
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

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	if (!h) {
		fuse_reply_err(req, 0);
		return;
	}
	struct inode *i = h->inode;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	pthread_mutex_lock(&i->lock);
	handle_begin(fs, h);
	note_dropped(h);
	int r = allocate(fs, h, mode, (uint64_t)offset, (uint64_t)length);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		written_by(fs, i, fuse_req_ctx(req)->uid);
	fuse_reply_err(req, -r);
}

void ops_file_fill(struct fuse_lowlevel_ops *ops)
{
	ops->open = op_open;
	ops->read = op_read;
	ops->lseek = op_lseek;
	ops->write = op_write;
	ops->flush = op_flush;
	ops->fsync = op_fsync;
	ops->release = op_release;
	ops->fallocate = op_fallocate;
}
