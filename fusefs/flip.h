/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Open files go over to a newer version.
 *
 * Who has a file open goes on with the version he opened, so that what he reads is of one version
 * (fusefs/inode.h). He goes over when that cannot tear anything: at once when the newer version only
 * adds to the end (a log that is followed), else when nobody has opened, read or written for
 * FLIP_NS. The kernel has one size and one set of pages for all handles, so the order matters:
 *
 *   1. the copy takes the newer bytes; stat still tells the old size, new openings bypass the cache
 *   2. the kernel drops its pages; what it reads from now on is new
 *   3. stat tells the new size, and the kernel drops the one it has
 *
 * so that no page of the old version is ever seen at the new size, padded with zeros. */

#include "fusefs/fs.h"

/* The node behind i has a newer version (queued: the keeper looks at once, and again when it may have
 * been idle for long enough). Under no lock but i->lock. */
void flip_add(struct fusefs *fs, struct inode *i);
/* What the timer is for; then i->news are told. No locks held. now: nobody's time is waited for. */
void flip_due(struct fusefs *fs, struct inode *i, bool now);
/* A handle's own copy, which is in no cache, is about to be read up to end: it goes over by the same rule,
 * to what was added when that is asked for. i->lock held. */
void flip_own(struct fusefs *fs, struct inode *i, struct copy *c, uint64_t end);
