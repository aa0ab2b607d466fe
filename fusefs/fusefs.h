/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A replica as a mounted directory. What programs may rely on: mount.fuse.shoal(8).
 *
 *     fusefs_mount(&config, &fs, &e);     the kernel knows the mount; nothing is served yet
 *     fusefs_start(fs, &e);               own threads serve it from here on
 *     ...
 *     fusefs_unmount(fs, false, &e);      or somebody else unmounts: config.ended is called
 *     fusefs_free(fs);                    before replica_free
 *
 * Another process may go on where this one is, with everything open:
 *
 *     fusefs_leave(fs, &out, &e);         nobody is served from here on; and, in a program that
 *                                         execve(2) has begun, where the replica is open again,
 *     fusefs_take(&config, data, len, &fs, &e);  in place of fusefs_mount
 *
 * Several may live in one process, each on its own replica. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"
#include "engine/err.h"
#include "engine/fetch.h"
#include "engine/replica.h"

struct fusefs;

struct fusefs_config {
	struct replica *replica; /* borrowed; outlives the fusefs */
	const char *mountpoint;  /* an existing directory */
	/* Comma list as in fstab(5), NULL for none. Ours: strict, lenient. The usual ones: ro, rw,
	 * allow_other, default_permissions, fsname=, uid=, gid=, ...; x-*, noatime, defaults, dev,
	 * suid, auto, user, nofail, _netdev and the like are accepted. */
	const char *options;
	const char *spool; /* directory for working files and drafts; made when missing */

	struct fetches *fetches; /* brings contents that are not here; borrowed. NULL: nobody does */
	unsigned scan_max;       /* files that a program which lists directories may have brought; 0: any number */

	/* Text of .shoal/status.json and .shoal/peers.json, appended to out; NULL: no such file.
	 * Called by a serving thread; must not touch the mount. 0 or -errno. */
	int (*status)(void *userdata, struct buf *out);
	int (*peers)(void *userdata, struct buf *out);
	/* Appends the names of the devices that are known to hold the cut durably, one a line; contents:
	 * and contents that are no part of records. By a serving thread. NULL: nobody is known to. */
	int (*seen_by)(void *userdata, const struct cut *cut, bool contents, struct buf *out);
	/* The mount is gone because somebody unmounted it (not by fusefs_unmount). Called once, by
	 * a thread of the fusefs: only pass the word on, do not free from here. May be NULL. */
	void (*ended)(void *userdata);
	void *userdata;
};

/* 0, or -EINVAL naming the option that is not known or contradicts another one. */
int fusefs_check_options(const char *options, struct err *e);

/* Mounts. A mount of ours that its dead daemon left behind (ENOTCONN) is cleaned away first.
 * -ENOENT or -ENOTDIR (mount point), -ENODEV (no /dev/fuse), -EPERM, -EACCES, -EBUSY (already a
 * mount of ours that lives), -EINVAL (options); e says what to do. Drafts, local files and pending
 * deletions of an earlier run come back. */
int fusefs_mount(const struct fusefs_config *config, struct fusefs **ret, struct err *e);
int fusefs_start(struct fusefs *fs, struct err *e);

/* What the format of fusefs_leave is; another number is another format. */
#define FUSEFS_HANDOVER 4
/* Stops serving: what was asked is answered, what is asked from here on waits for who takes over.
 * Appends what he has to know to out; descriptors that are named in it stay open across execve(2). No
 * other thread may use the replica for a change meanwhile. On failure it goes on serving. */
int fusefs_leave(struct fusefs *fs, struct buf *out, struct err *e);
/* After fusefs_leave: it goes on serving here. */
void fusefs_stay(struct fusefs *fs);
/* Takes over; mount point and options are in the data. Then fusefs_start. */
int fusefs_take(const struct fusefs_config *config, const void *data, size_t len,
		struct fusefs **ret, struct err *e);

/* Commits dirty handles and pending deletions, makes them durable, unmounts, waits for the threads.
 * -EBUSY while files are open or a process stands in it; force: unmounts lazily and cuts them off
 * (what they wrote is committed). Any thread but the fusefs's own. After 0 only fusefs_free. */
int fusefs_unmount(struct fusefs *fs, bool force, struct err *e);
/* Unmounts by force if that has not been done. NULL is fine. */
void fusefs_free(struct fusefs *fs);

void fusefs_limit_scans(struct fusefs *fs, unsigned scan_max); /* another limit */
/* The contents of that node are not here any more: the kernel is to forget them, too. */
void fusefs_evicted(struct fusefs *fs, const struct id *node);

/* True while the mount is there. */
bool fusefs_mounted(const struct fusefs *fs);

struct fusefs_stats {
	uint64_t inodes;     /* known to the kernel */
	uint64_t handles;    /* open files */
	uint64_t dirty;      /* files with bytes that are not committed */
	uint64_t drafts;     /* saves that could not become a version */
	uint64_t local;      /* files that never leave this device */
	uint64_t tombstones; /* deletions that wait for their grace */
	uint64_t pinned;     /* bytes of versions held for later saves */
	uint64_t saves;      /* versions made since the mount */
	uint64_t notifies;   /* invalidations sent to the kernel */
	uint64_t calls;      /* made of the mount itself, for inotify(7) */
	uint64_t requests;   /* of the kernel */
};
void fusefs_stats(struct fusefs *fs, struct fusefs_stats *ret);

/* Each draft: path from the root, and what is wrong with it. Stops when f returns non-zero. */
typedef int (*fusefs_draft_fn)(const char *path, const struct err *why, void *userdata);
int fusefs_drafts(struct fusefs *fs, fusefs_draft_fn f, void *userdata);

/* Ends grace periods now: returns 0 once no pending deletion or unsettled new file is left that programs have
 * done with, and what was changed before is what the kernel shows; -ETIMEDOUT. */
int fusefs_settle(struct fusefs *fs, unsigned timeout_ms);
/* Returns 0 once what was changed before is what the kernel shows; -ETIMEDOUT. */
int fusefs_show(struct fusefs *fs, unsigned timeout_ms);
/* Has a program that node open (NULL: any)? */
bool fusefs_is_open(struct fusefs *fs, const struct id *id);
/* Returns 0 once every notification that was due when called has reached the kernel and no pending
 * deletion or unsettled new file is left; -ETIMEDOUT after timeout_ms. settle: does not wait for
 * grace periods but ends them now. */
int fusefs_wait_idle(struct fusefs *fs, bool settle, unsigned timeout_ms);

DEFINE_CLEANUP(struct fusefs *, fusefs_free)
