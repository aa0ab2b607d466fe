/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names that only this device has, laid over the directories of the tree: scraps of editors (never
 * synced), what a rule ignores (fusefs/rules.h), new files that have not settled yet, and tombstones
 * (fusefs/tombstone.h), which hide a node. A name here comes before a node of the same name. An ignored
 * directory is one name here; what is in it is in fusefs/plain.h.
 *
 * Records of the store (STORE_LOCAL): "f/L" parent id, name ->
 *   u8 format (2), u8 flags, u32 mode, u64 mtime (ns), u64 named (us), u32 user, u32 group, u64 ctime (ns),
 *   u64 number of a device, bytes target of a link, bytes extended attributes, u8 content (0 none,
 *   1 inline, 2 spool file, 3 directory of the spool), bytes content or name of the file or directory.
 * Format 1 is the same without the four behind `named`. */

#include <stdbool.h>

#include "fusefs/inode.h"

#define LOCAL_INLINE 65536u /* bytes of content kept in the record itself */

struct overlay_dir;

struct overlay_entry {
	struct table_link link;
	struct overlay_dir *dir; /* all of one directory, doubly linked */
	struct overlay_entry *before, *behind;
	struct id parent;
	char *name;
	struct inode *inode; /* a local file, referenced; NULL: a tombstone */

	/* tombstone */
	struct overlay_entry *next, *prev; /* those that are due later, and sooner */
	struct id node;
	struct version *version; /* what the remover had before its eyes; may be NULL (links) */
	struct id version_id;
	struct proc proc;
	int64_t due_ns, last_ns; /* grace ends; at the latest */
	uint64_t when_us;        /* it was removed, since 1970 */
	bool stored;
};

struct local *local_new(const struct id *parent, const char *name, uint32_t mode);
void local_free(struct local *l);

/* Puts the inode (LOCAL, with local data; referenced anew) under its local->parent and name.
 * -EEXIST when something is there, a tombstone too. */
int local_add(struct fusefs *fs, struct inode *i);
/* Takes the name away, and the record and kept bytes with it; i goes on as it is. */
void local_remove(struct fusefs *fs, struct inode *i);
/* The first name to another place, and given now; i->lock held. */
int local_move(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name);

/* What is laid over a name. */
enum overlay { OVERLAY_NONE, OVERLAY_LOCAL, OVERLAY_TOMB };
/* LOCAL: *ret_inode is referenced. TOMB: *ret_node is hidden. */
enum overlay local_find(struct fusefs *fs, const struct id *parent, const char *name,
			struct inode **ret_inode, struct id *ret_node);
/* All of one directory. f must not take locks. */
typedef void (*local_entry_fn)(const struct overlay_entry *e, void *userdata);
void local_each(struct fusefs *fs, const struct id *parent, local_entry_fn f, void *userdata);

/* Writes the record and the bytes; sync: the bytes are on the disk, the record is after
 * replica_flush. i->lock held. */
int local_store(struct fusefs *fs, struct inode *i, bool sync);
/* The kept bytes become i's copy, if it has none. i->lock held. */
int local_content(struct fusefs *fs, struct inode *i);
/* A file that is kept because of a rule needs no copy while nobody has it open. i->lock held. */
void local_rest(struct inode *i);
/* It is here because of a rule, or not any more; counts in the store from the next local_store on.
 * fs->names and i->lock held. */
void local_ignored(struct fusefs *fs, struct inode *i, bool ignored);
/* Brings all of them back at the mount; unsettled ones settle soon. */
int local_load(struct fusefs *fs);

/* Extended attributes of a local file. */
int local_xattr_get(const struct local *l, const char *name, struct buf *ret);
int local_xattr_set(struct local *l, const char *name, const void *value, size_t len, bool create,
		    bool replace);
int local_xattr_remove(struct local *l, const char *name);
void local_xattr_list(const struct local *l, struct buf *ret);
/* Each of them, for carrying them over to a node. */
int local_xattr_each(const struct local *l,
		     int (*f)(const char *name, const void *value, size_t len, void *userdata),
		     void *userdata);

/* Shared with hardlink.c; fs->names and i->lock held. An entry more for i, or less, -EEXIST; the first name is
 * another one, which has its entry (text is taken over), and the old one is without an entry, or loses it
 * (local_renamed). */
int local_list(struct fusefs *fs, struct inode *i, const struct id *parent, const char *name);
void local_unlist(struct fusefs *fs, const struct id *parent, const char *name);
int local_named(struct fusefs *fs, struct inode *i, const struct id *parent, char *text);
int local_renamed(struct fusefs *fs, struct inode *i, const struct id *parent, char *text);

/* Shared by local.c, tombstone.c and draft.c. fs->lock held. */
struct overlay_entry *overlay_get(struct fusefs *fs, const struct id *parent, const char *name);
/* Into the tables, by its parent and name: -EEXIST, -ENOMEM; and out of them. */
int overlay_put(struct fusefs *fs, struct overlay_entry *e);
void overlay_take(struct fusefs *fs, struct overlay_entry *e);
void overlay_key(struct buf *b, char type, const struct id *parent, const char *name);
DEFINE_CLEANUP(struct local *, local_free)
