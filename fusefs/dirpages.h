/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The names of a directory in the kernel's pages.
 *
 * While an opening that may (it "fills") is listed, the kernel puts the names into pages of the directory;
 * once it has come to the end it lists from there and asks no more. What is done to the directory through
 * the kernel makes it start anew by itself. Of what is done elsewhere it has to be told: inode->moves
 * counts that, and the notifier drops the pages. Then:
 *
 *   - An opening may fill as long as all pages are of the present count, or there are none.
 *   - Pages that are dropped before the end has been reached would be missed for ever: the kernel goes on
 *     where it stopped, and that place is gone. So they stay, and whoever fills next goes on and comes to
 *     the end; what the pages hold then is of several counts. It is dropped before the answer that makes
 *     the kernel believe in it is given.
 *   - As long as an opening that fills is there it may put in what it has read: what is known to be dropped
 *     counts as such when there is none.
 *   - Offsets are made of the names (fusefs/ops_dir.c), so that who comes from one listing into another
 *     misses no name that is in both. */

#include "fusefs/fs.h"

/* Of an opening. */
struct dirpages {
	bool fills;
	uint64_t turn; /* inode->moves before its names were read last */
};

/* i: a directory of the tree. Sets the cache bits of fi. */
void dirpages_open(struct fusefs *fs, struct inode *i, struct dirpages *p,
		   struct fuse_file_info *fi);
/* Its names are about to be read, to be given from the first on. */
void dirpages_read(struct fusefs *fs, struct inode *i, struct dirpages *p);
/* The answer that says that there are no more is about to be given. */
void dirpages_end(struct fusefs *fs, struct inode *i, struct dirpages *p);
void dirpages_close(struct fusefs *fs, struct inode *i, struct dirpages *p);

/* The opening was handed over. What the kernel has by then is of no count that this daemon knows: of all
 * directories, dirpages_unknown. */
void dirpages_taken(struct fusefs *fs, struct inode *i, const struct dirpages *p);
void dirpages_unknown(struct fusefs *fs, struct inode *i);

/* For the notifier: drops the pages of a directory if that can be, and what else the kernel knows
 * of it. 0 or -errno. */
int dirpages_drop(struct fusefs *fs, struct inode *i);
