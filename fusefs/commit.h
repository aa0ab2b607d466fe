/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* When written bytes become a version. A handle's bytes are committed at FSYNC, at a FLUSH after a
 * WRITE (bash flushes before it writes), at a RENAME (GLib renames before it closes), and at the
 * last RELEASE. New files settle (fs.h: SETTLE_NS), documents before their next save at the latest.
 * What cannot become a version is a draft. */

#include "fusefs/fs.h"

/* c, dirty, of i. i->lock held. 0, or why not; -EINVAL: it is a draft now. quiet: a refusal is not
 * final (another process may go on writing): keeps the bytes, no draft, 0. */
int commit_copy(struct fusefs *fs, struct inode *i, struct copy *c, bool quiet, struct err *e);

/* Mounted strict, or a draft astray, and i's bytes are no document, which the name wants, or the schema of the
 * collection forbids them: e (may be NULL) says why. i->lock held. */
bool commit_refuses(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name,
		    struct err *e);

/* A local file becomes a node under its name. fs->names and i->lock held. -EINVAL: commit_refuses;
 * it is a draft now. */
int commit_settle(struct fusefs *fs, struct inode *i, struct err *e);

/* Is it in force as soon as it is written? i->lock held. */
bool commit_is_rules(const struct inode *i);
/* What has just been written or renamed is in force now: a .shoalignore or .schema.json file becomes a node at
 * once. Under no lock. */
void commit_rules(struct fusefs *fs, struct inode *i);
/* Asks for the rules of all that is ignored, so that a change of them is noticed. At the start, when
 * changes are observed and nobody is served. */
void commit_know_rules(struct fusefs *fs);
/* The rules have changed: local files that no rule names any more become nodes. Returns when to come
 * again, 0: never; now: it does not wait. Under no lock. */
int64_t commit_unignored(struct fusefs *fs, bool now);

/* A new *.json file that its writer closed as a document is one from then on, settled or not: when
 * the next save of it is about to begin (opened for writing, truncated, another file renamed over
 * it) it becomes a node first, so that this save has a base and can be refused. A first write that
 * goes on, and what does not parse, stay as they are. True: it has become one. fs->names held, no
 * inode lock. */
bool commit_finished(struct fusefs *fs, struct inode *i);
/* The same where only i->lock is held; it is let go in between. */
void commit_before_save(struct fusefs *fs, struct inode *i);

/* i's bytes (LOCAL, or a NODE that is to go away) become the next version of the node, and the
 * node stands behind i from then on. fallback: rules 4 and 5 (may be NULL). fs->names and
 * i->lock held; the inode that stood for the node so far has been made an orphan by the caller
 * or is after success. tid: who does that; what was renamed aside has no other writer. -EINVAL: refused;
 * *ret_base is the base it would have had, referenced. */
int commit_over(struct fusefs *fs, struct inode *i, const struct id *node, struct version *fallback,
		pid_t tid, struct version **ret_base, struct err *e);

/* Mode, time and extended attributes of one node become those of another; what else that has stays.
 * Between fs_own_begin and fs_own_end. */
int commit_dress(struct fusefs *fs, const struct id *from, const struct id *to);

/* Bytes that were refused over the node become its draft: work is taken over, as is base. No
 * inode lock held. */
int commit_draft(struct fusefs *fs, const struct attr *node, struct workfile *work,
		 struct version *base, const struct err *e);

/* Stores the bytes of a large file that is not shared yet, before it becomes a node under locks that others
 * wait for. No locks held. */
void commit_ahead(struct fusefs *fs, struct inode *i);
/* The same while a file that is shared is written anew, so that its last close finds most of that done:
 * NULL when there is nothing to store of it now (i->lock held), or what commit_growing has to be called with
 * (no locks held). */
struct workfile_ahead *commit_grows(struct fusefs *fs, struct inode *i, struct copy *c);
void commit_growing(struct fusefs *fs, struct workfile_ahead *ahead);

/* What the keeper's timers are for; returns when to come again, 0: never. No locks held. */
int64_t commit_due(struct fusefs *fs, struct inode *i, enum timer_kind kind, bool now);

/* Everything that is dirty or unsettled, for the end of the mount. */
void commit_all(struct fusefs *fs);
