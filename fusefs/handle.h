/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Open files. A handle reads and writes one copy (fusefs/inode.h) and knows who opened it and what
 * was read through it. */

#include "fusefs/fs.h"

/* Takes i->lock for what is quick work (fusefs/turn.h) unless somebody is busy with the file. */
void inode_lock_quickly(struct fusefs *fs, struct inode *i);

/* All of it is handed over: fusefs/handover.c. */
struct handle {
	struct inode *inode; /* referenced */
	struct copy *copy;   /* inode->shared, or its own */
	struct proc opener;
	bool reads, writes, append;
	bool wrote;           /* since the last commit: the next FLUSH commits */
	bool began;           /* anything at all was written: a save has begun */
	bool closing;         /* a FLUSH came, and nothing was written since: i->lock */
	bool fresh;           /* its open makes the kernel drop the pages that it has ... */
	unsigned turn;        /* ... from before the copy took these bytes */
	uint64_t read_to;     /* where the last read ended */
	struct version *seen; /* what was read through it last, or written since */
	bool knows;           /* it has written to the copy, when that had ... */
	unsigned knows_turn;  /* ... turned so often: the next turn is the commit of that */
};

/* flags: of open(2). Sets the cache bits of fi and its fh. own: in the name of another inode, whose pages the
 * kernel's are. -ESTALE: another one has taken its place. */
int handle_open(struct fusefs *fs, struct inode *i, bool own, int flags, pid_t tid,
		struct fuse_file_info *fi);
/* The kernel drops older pages when it takes the answer to an open that says so, and answers may
 * overtake each other: who opens in between must not keep them. The first request through such a
 * handle is the proof that they are gone. i->lock held. */
void handle_dropped(struct handle *h);
/* Who wrote knows what came of it, when that has been committed since: his next save through the
 * same handle is no difference to what he had read before. i->lock held. */
void handle_wrote(struct handle *h);
/* As pwrite(2), and write(2) with O_APPEND: from_cache, then not, for pages of a mapping come by any handle, at
 * their own offsets. 0, -EFBIG, -ENOSPC. i->lock held, handle_begin was called. */
int handle_write(struct fusefs *fs, struct handle *h, const char *data, size_t size, off_t off,
		 bool from_cache);
/* As fallocate(2), in these modes: 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; likewise. */
int handle_allocate(struct fusefs *fs, struct handle *h, int mode, uint64_t offset, uint64_t len);
/* Makes the bytes of c dirty; i->lock held. */
void copy_touch(struct copy *c, const struct proc *writer);
/* ftruncate and truncate; h may be NULL; i->lock held. -EFBIG, -ENOSPC. */
int copy_truncate(struct fusefs *fs, struct inode *i, struct copy *c, uint64_t size,
		  const struct proc *writer, struct handle *h);
/* Called before anything is written through h: the first time, a save begins. i->lock held, and let
 * go in between. */
void handle_begin(struct fusefs *fs, struct handle *h);
/* A handle, or who else has counted himself among c's users, has gone: frees it behind the last.
 * i->lock held. True: the kernel may have pages of another version, and wants notify_inode. */
bool copy_leave(struct fusefs *fs, struct inode *i, struct copy *c);
/* Whatever is open still, when nobody is served any more. */
void handles_done(struct fusefs *fs);
/* The largest size that this file may grow to. */
uint64_t inode_limit(const struct inode *i);
/* Somebody else has it now, or who is not root has changed its bytes: it does not run as its owner or group
 * any more. True if it would have. i->lock held. */
bool inode_drop_set_id(struct fusefs *fs, struct inode *i);
/* The copy that somebody without a handle works on, made from the newest version; i->lock held. */
int inode_shared(struct fusefs *fs, struct inode *i, struct copy **ret);

/* NULL: the opening is one of those that raise events (fusefs/event.h), and nothing stands behind it. */
static inline struct handle *handle_of(struct fusefs *fs, const struct fuse_file_info *fi)
{
	return slots_get(&fs->files, fi->fh);
}
