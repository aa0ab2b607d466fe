/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Who owns what here. Users have other numbers on other devices, so owners are not synced: what comes
 * from elsewhere belongs to the user and group of the mount. What somebody makes here is his, and
 * chown(2) means what it says; where that is another owner than the mount's there is a record of it.
 *
 * Records of the store (STORE_LOCAL): "f/O" node id -> u8 format (1), u32 user, u32 group, u64 ctime (ns)
 * since then. */

#include <stdint.h>
#include <sys/types.h>

#include "engine/id.h"

struct fusefs;

struct owner {
	uid_t uid;
	gid_t gid;
};

/* What is recorded of the node, since *ret_ns; or the owner of the mount and 0. fs->lock held. */
void owner_find(struct fusefs *fs, const struct id *node, struct owner *ret, int64_t *ret_ns);
/* From now on. No lock of the file system but inode->lock and fs->names. */
int owner_put(struct fusefs *fs, const struct id *node, const struct owner *owner, int64_t ctime_ns);
/* The node belongs to the mount's owner, when it comes back. Locks as before. */
void owner_forget(struct fusefs *fs, const struct id *node);
/* At the mount; records of nodes that are no more go. */
int owner_load(struct fusefs *fs);
void owners_done(struct fusefs *fs);
