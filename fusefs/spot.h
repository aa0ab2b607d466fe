/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A name in a directory, and what is under it: nothing, a file that only this device has, or a
 * node. For the operations that change names (ops_name.c, ops_rename.c). fs->names is held, but
 * for spot_parent, and no inode lock. */

#include "fusefs/fs.h"

struct spot {
	struct id parent;
	const char *name;
	enum { SPOT_NONE, SPOT_LOCAL, SPOT_NODE } what;
	bool tomb;           /* NONE: a node is hidden here */
	struct inode *inode; /* referenced; NONE: NULL */
	struct attr attr;    /* NODE */
};

/* name is borrowed as long as the spot is used. Nothing there: 0 and SPOT_NONE. -ENAMETOOLONG. */
int spot_find(struct fusefs *fs, const struct id *parent, const char *name, struct spot *ret);
void spot_done(struct fusefs *fs, struct spot *s);
/* The directory that a request names; 1: it is .shoal or below (fusefs/shoaldir.h). -ESTALE, -ENOENT (it
 * is removed), -EPERM (name is .shoal). */
int spot_parent(struct fusefs *fs, fuse_ino_t ino, const char *name, struct id *ret);

/* ---- taking names away ---- */

/* The local file loses this name, and goes on under others or for open handles. Negative: it cannot, and
 * has it still; only where it has several. */
int spot_drop_local(struct fusefs *fs, const struct spot *s);
/* A local file has left its directory, which is seen there unless it was an editor's litter. */
void spot_local_left(struct fusefs *fs, const struct spot *s);
/* The node has another inode from now on, or none. */
void spot_drop_node(struct fusefs *fs, struct inode *i);
/* The deletion that waits under the name, if there is one, is carried out. */
int spot_bury(struct fusefs *fs, const struct spot *s);
/* The file has other names: what is put in the place of this one means nothing for those. */
bool spot_is_one_of_several(struct fusefs *fs, const struct spot *s);
/* Its names are hard links, be it only one by now: none waits for what becomes of it. */
bool spot_is_link(const struct spot *s);
/* A node's name goes without a time of grace, and the node with the last one. */
int spot_remove_now(struct fusefs *fs, const struct spot *s);
/* The node has lost that name. */
void spot_node_left(struct fusefs *fs, const struct spot *s);
/* Nothing but nodes, if anything, is in the directory afterwards: deletions are carried out.
 * -ENOTEMPTY: a local name is there. */
int spot_only_nodes(struct fusefs *fs, const struct id *dir);
