/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Further names of a file that only this device has (fusefs/local.h): each is an entry of the overlay with
 * the same inode, beside local->name, which is the first. When the file becomes a node they become hard
 * links of that (replica_link); an editor's litter among them holds that up for a while, for it is
 * about to go.
 *
 * Records of the store: "f/K" parent id, name -> u8 format (1), parent id and bytes of the first name.
 * They come and go with the first name's record.
 *
 * fs->names and i->lock held. */

#include "fusefs/inode.h"

struct further {
	struct further *next;
	struct id parent;
	char *name;
};

/* What can settle has all its names in one collection: 0, or -EXDEV. */
int hardlink_fits(struct fusefs *fs, const struct inode *i, const struct id *parent);
/* -EEXIST: something is there. */
int hardlink_add(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name);
/* Takes a name away from a file that has several, and goes on under the others: 1. 0: it has no other;
 * negative: it cannot; nothing was done. */
int hardlink_drop(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name);
/* One of its several names becomes another one. */
int hardlink_move(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name,
		  const struct id *newparent, const char *newname);
/* How many, beside the first. */
unsigned hardlink_count(const struct local *l);
/* What was made under a name for scraps has got its own, the newest: that is its first now, and it
 * settles. */
int hardlink_share(struct fusefs *fs, struct inode *i);
/* One of its names may not leave this device. */
bool hardlink_kept(struct fusefs *fs, const struct local *l);
/* It is too early to settle. */
bool hardlink_waits(const struct local *l);
/* The file, which is node id now, has them all. Its local data is about to go. */
void hardlink_settle(struct fusefs *fs, struct inode *i, const struct id *id);

/* For local.c: the records of further names, with that of the first, into the batch or out. */
struct store_batch;
int hardlink_store(const struct local *l, struct store_batch *b);
void hardlink_forget(const struct local *l, struct store_batch *b);
void hardlink_forget_one(const struct id *parent, const char *name, struct store_batch *b);
int hardlink_load(struct fusefs *fs);
void hardlink_free(struct local *l);
