/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Mounts of shoal on this machine, from /proc/self/mountinfo: type fuse.shoal, source the store's
 * path. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/buf.h"
#include "engine/err.h"

struct mount_entry {
	const char *dir;    /* mount point */
	const char *source; /* the store */
	uint32_t major, minor; /* device number of the file system */
};

/* Calls f for every shoal mount in the order of mounting, until it returns non-zero; returns
 * that, 0, or -errno. The entry lives as long as the call. */
typedef int (*mount_fn)(const struct mount_entry *m, void *userdata);
int mounts_each(mount_fn f, void *userdata);
/* The same over a text in the format of mountinfo. */
int mounts_parse(const char *text, size_t len, mount_fn f, void *userdata);

/* The shoal mount that path (absolute, or relative to the current directory) is in: its
 * directory and store, both replaced. Asks nothing of the file system itself, so that a dead one
 * cannot hang or fail it. -ENOENT. */
int mounts_of(const char *path, struct buf *ret_dir, struct buf *ret_source);
/* The directory where a store is mounted. -ENOENT. */
int mounts_find(const char *source, struct buf *ret_dir);
/* The store that is mounted exactly at dir. -ENOENT. */
int mounts_at(const char *dir, struct buf *ret_source);

/* True when dir is a mount whose daemon is gone (ENOTCONN). */
bool mount_is_stale(const char *dir);
/* Unmounts dir: umount2(2), else fusermount3. lazy: also when it is in use. */
int mount_end(const char *dir, bool lazy, struct err *e);

/* Makes path absolute by text alone: the current directory in front, "." and ".." and double
 * slashes gone. */
int path_absolute(const char *path, struct buf *ret);
/* mkdir -p of an absolute path: every directory that is missing is made with this mode. */
int path_make(const char *path, mode_t mode);
