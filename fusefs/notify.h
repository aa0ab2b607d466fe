/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Tells the kernel what has changed behind its back: forget these pages and attributes, this name.
 *
 * A notification can block on requests that are being served, so one thread of its own sends
 * them, with no lock held; a handler only queues. What is new must be visible before it is
 * queued. Invalidations of one inode that is already queued are one. */

#include "fusefs/fs.h"

int notify_new(struct fusefs *fs, struct notify **ret);
/* From when on they are sent (the session is mounted). */
int notify_start(struct notify *n);
/* Sends nothing more; waits for the thread. */
void notify_stop(struct notify *n);
void notify_free(struct notify *n);

/* Its attributes alone, at once: that waits for no page and no name, so an open may do it before it is
 * answered. Under no lock. */
void notify_size(struct fusefs *fs, struct inode *i);
/* Its attributes and pages, at once: that waits for reads which are being served. Under no lock. */
void notify_pages(struct fusefs *fs, struct inode *i);
/* The bytes of v, which are all of the file, become pages of it. Of an inode that has no pages, and none on
 * their way; under no lock. */
int notify_store(struct fusefs *fs, struct inode *i, struct version *v);
/* Any thread, under any lock but the queue's own; not under fs->lock. */
void notify_inode(struct fusefs *fs, struct inode *i);
/* The same under fs->lock. */
void notify_inode_locked(struct fusefs *fs, struct inode *i);
void notify_entry(struct fusefs *fs, const struct id *parent, const char *name);
struct saver;
struct loader;
/* What is queued. Nothing is sent meanwhile. */
void notify_save(struct notify *n, struct saver *s);
void notify_load(struct notify *n, struct loader *l);
/* 0 when everything queued before has been sent. */
int notify_wait(struct notify *n, int64_t until_ns);
uint64_t notify_count(struct notify *n);

/* The replica's observer (change_fn), userdata: the fusefs. */
void notify_observe(const struct change *change, size_t n, void *userdata);
