/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The insides of a mounted file system, for the modules of fusefs/ only. */

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/table.h"
#include "fusefs/base.h"
#include "fusefs/fusefs.h"
#include "fusefs/inode.h"
#include "fusefs/scanner.h"
#include "fusefs/slots.h"
#include "fusefs/turn.h"

#define FUSEFS_THREADS 8
/* What has more bytes is no quick work (fusefs/turn.h). */
#define QUICK_SIZE (64u * 1024)
#define FILL_SIZE (32u * 1024) /* has its pages before it is read */
#define QUICK_NAMES 512 /* in a listing */
#define FUSEFS_STORING 2 /* of them may store what is written meanwhile */
#define DOCTREES 4    /* trees of documents that are kept */
#define ATDIRS 4      /* and of the past */
#define FOREVER 1.0e9 /* seconds that the kernel may keep names and attributes */

/* How long new files stay here before they become nodes: programs that are going to rename or
 * remove them do it at once. One made with O_EXCL is a temp file more often than not. */
#define SETTLE_NS (INT64_C(200) * 1000 * 1000)
#define SETTLE_EXCL_NS (INT64_C(500) * 1000 * 1000)
#define SETTLE_MAX_NS (INT64_C(1000) * 1000 * 1000) /* since it was created */
/* A deletion waits this long for the name to be created again. */
#define GRACE_NS (3 * SECOND_NS)
/* Renamed aside: as long as the process lives, but not longer than this. */
#define GRACE_ASIDE_NS (60 * SECOND_NS)
/* Who has opened, read or written so recently is in the middle of a version (fusefs/flip.h). */
#define FLIP_NS (5 * SECOND_NS)
/* Reads by the same group or session count for so long. */
#define STRANGERS_NS (3600 * SECOND_NS)
/* ... and for a temp file that is renamed, from so long before it was made, if there are any. */
#define BEFORE_TEMP_NS (5 * SECOND_NS)
/* The kernel forgets many inodes at once, when it needs memory: after so many, and then a moment, what they
 * took is given back to the system. */
#define TRIM_INODES 8192
#define TRIM_NS SECOND_NS
/* A backup that is still there after a second is worth keeping across a crash. */
#define ASIDE_STORE_NS SECOND_NS

enum timer_kind {
	TIMER_SETTLE = 1,
	TIMER_TOMB,
	TIMER_FLIP,
	TIMER_COMMIT,
	TIMER_STORE,
	TIMER_STRAY,
	TIMER_RULES,
	TIMER_TRIM
};

struct timer {
	int64_t due_ns;
	enum timer_kind kind;
	uint64_t ino; /* 0: TIMER_TOMB, TIMER_STRAY, TIMER_RULES; TIMER_TRIM: how many were forgotten */
};

/* A thread that commits to the replica for the mount: its changes are no news to the kernel. */
struct committer {
	struct committer *next;
	pthread_t thread;
};

struct overlay_entry; /* fusefs/local.h */
struct events;
struct notify;
struct doctree;       /* fusefs/doctree.h */
struct atdir;         /* fusefs/atdir.c */

/* A thread that serves. */
struct worker {
	struct fusefs *fs;
	pthread_t thread;
	atomic_bool waits; /* for a request, or is about to */
};

struct options {
	bool strict, lenient, readonly, allow_other;
	uid_t uid;
	gid_t gid;
};

struct fusefs {
	struct replica *replica;
	struct fusefs_config config; /* mountpoint, options, spool: own copies */
	char *mountpoint;
	struct options options;
	char *options_text; /* as they were given; NULL: none */
	int spool;
	struct fuse_session *session;
	struct buf first; /* request of the kernel: the next daemon needs it */
	bool taken;       /* from another daemon: the first request has been answered */
	struct saver *leaving;
	bool mounted, started, own_unmount;
	struct worker worker[FUSEFS_THREADS];
	unsigned n_workers;
	atomic_uint storing;
	atomic_bool stopping, parking, over;
	atomic_bool brisk; /* requests follow each other closely */
	atomic_bool entered; /* some program other than ours has looked at the root */
	struct timespec mount_time;

	pthread_rwlock_t plain; /* places of PLAIN inodes: in reach of names and inode->lock */
	struct table plains;
	struct fuse_lowlevel_ops tree_ops; /* for what is not PLAIN */

	pthread_mutex_t names;
	pthread_mutex_t lock;
	struct table by_ino, by_id, pins;
	struct table owners;         /* that are not the mount's: fusefs/owner.h */
	struct table overlay;        /* entries: local names and tombstones */
	struct table overlay_dirs;   /* the same by their directories */
	struct overlay_entry *first_tomb, *last_tomb; /* list, soonest due first */
	bool tomb_timer;             /* TIMER_TOMB is set */
	struct doctree *doctree[DOCTREES]; /* the last one first; NULL: no more */
	struct atdir *atdir[ATDIRS];
	unsigned next_atdir; /* to be replaced */
	uint64_t n_tombs, n_local, n_drafts;
	uint64_t next_ino, next_spool;
	uint64_t n_forgotten;              /* inodes, since memory was given back last */
	struct committer *committers;
	uint64_t n_handles;
	atomic_uint n_closing; /* handles of which a close was told, and not the end */
	struct slots files, lists, plain_lists; /* what is open: handles, directories, plain ones */
	uint64_t *plain_file; /* fs->lock: by descriptor, whose it is; 0: not an open plain file */
	size_t n_plain_files;

	/* The keeper: one thread that does what is due. fs->lock. */
	pthread_t keeper;
	pthread_cond_t keeper_wake, keeper_idle;
	struct timer *timer; /* a heap, soonest first */
	size_t n_timers, cap_timers;
	bool keeper_stop, keeper_busy, settle_now, stray_queued;
	size_t settle_left;

	struct bases *bases;
	struct rules *rules;
	struct procs procs;
	struct turns turns;
	struct demand *demand;       /* fusefs/demand.h */
	struct scanners scanners;
	struct notify *notify;
	struct events *events;
	atomic_uint_fast64_t saves, requests;
	uint64_t init_unique; /* the kernel's INIT, and the flags that it offered there */
	uint32_t init_flags;
};

static inline int64_t monotonic_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static inline int64_t wall_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

/* Takes fs->names for a request: who has to wait for it passes the turn on. */
void names_lock(struct fusefs *fs);

/* Around every call of the replica that changes something on behalf of the mount. */
void fs_own_begin(struct fusefs *fs, struct committer *c);
void fs_own_end(struct fusefs *fs, struct committer *c);

/* Replies with an entry for i (referenced by the caller, not locked), or its failure. */
void reply_entry(fuse_req_t req, struct fusefs *fs, struct inode *i);
int make_entry(struct fusefs *fs, struct inode *i, struct fuse_entry_param *ret);
/* What stands under a name, referenced. -ENOENT, -ENOTDIR, -ENAMETOOLONG. */
int dir_find(struct fusefs *fs, struct inode *dir, const char *name, struct inode **ret);
static inline struct fusefs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct saver; /* fusefs/saver.h */
struct loader;
/* Open directories, and plain files: handed over, taken over, closed at the end. */
void ops_dir_save(struct fusefs *fs, struct saver *s);
void ops_dir_load(struct fusefs *fs, struct loader *l);
void ops_dir_done(struct fusefs *fs);
void ops_plain_save(struct fusefs *fs, struct saver *s);
void ops_plain_load(struct fusefs *fs, struct loader *l);
void ops_plain_done(struct fusefs *fs);

/* The operations, one table from several files. */
void ops_attr_fill(struct fuse_lowlevel_ops *ops);
void ops_dir_fill(struct fuse_lowlevel_ops *ops);
void ops_file_fill(struct fuse_lowlevel_ops *ops);
void ops_name_fill(struct fuse_lowlevel_ops *ops);
void ops_rename_fill(struct fuse_lowlevel_ops *ops);
/* Behind all others: keeps what is there for all but plain files. */
void ops_plain_fill(struct fusefs *fs, struct fuse_lowlevel_ops *ops);
