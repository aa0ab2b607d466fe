/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on open files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/commit.h"
#include "fusefs/demand.h"
#include "fusefs/event.h"
#include "fusefs/flip.h"
#include "fusefs/handle.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/notify.h"

/* Saves that replace a file again and again while it is being opened. */
#define REPLACED_MAX 100
/* Who reads on reads so much at a time, and asks for as much before he has got it. */
#define READ_WINDOW (256u * 1024)

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
		r = handle_open(fs, i, i->ino != ino, fi->flags, fuse_req_ctx(req)->pid, fi);
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
	handle_dropped(h);
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

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino;
	struct fusefs *fs = fs_of(req);
	struct handle *h = handle_of(fs, fi);
	struct inode *i = h->inode;
	inode_lock_quickly(fs, i);
	handle_begin(fs, h);
	handle_dropped(h);
	int r = handle_write(fs, h, data, size, off, fi->writepage);
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
	if (h->writes && !h->closing)
		atomic_fetch_add(&fs->n_closing, 1);
	h->closing = h->writes;
	if (h->writes && (h->wrote || (h->began && c->unfinished))) {
		/* A child that inherited the file closes it: others may go on writing. */
		pid_t tid = fuse_req_ctx(req)->pid;
		bool quiet = tid > 0 && tid != h->opener.tgid && proc_alive(&h->opener) &&
			     !proc_has_thread(&h->opener, tid);
		struct err e = { 0 };
		if (h->wrote)
			r = commit_copy(fs, i, c, quiet, &e);
		handle_wrote(h);
		if (!c->dirty && !c->draft)
			h->wrote = false; /* a draft is told of at every close */
		if (!quiet && !c->dirty)
			c->unfinished = false;
		rules = r == 0 && c->flushed && commit_is_rules(i);
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
	handle_wrote(h);
	if (r == 0)
		h->wrote = false;
	if (r == 0 && i->backing == BACK_LOCAL && i->shared)
		r = local_store(fs, i, true);
	pthread_mutex_unlock(&i->lock);
	if (r == 0)
		r = replica_flush(fs->replica, &e);
	fuse_reply_err(req, r < 0 ? -r : 0);
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
	if (h->closing)
		atomic_fetch_sub(&fs->n_closing, 1);
	inode_put(fs, i);
	slots_remove(&fs->files, fi->fh);
	if (h->seen)
		version_unref(h->seen);
	free(h);
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
	handle_dropped(h);
	int r = handle_allocate(fs, h, mode, (uint64_t)offset, (uint64_t)length);
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
