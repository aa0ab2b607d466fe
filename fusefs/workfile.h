/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The bytes of a file that is being written: in memory while small, then in a file of the spool
 * directory, so that "no space" is known at write(2) and not at close(2). Of a large blob that is
 * changed only what is written is there; the version shows through. One user at a time. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/replica.h"

#define WORKFILE_MEMORY (1024u * 1024)
#define WORKFILE_SMALL (64u * 1024)
#define WORKFILE_AHEAD (4u * 1024 * 1024) /* what is smaller is stored in no time */
#define WORKFILE_RESERVE (80ull * 1024 * 1024) /* of the disk; more than the store needs to write */

struct workfile;

/* dir: the spool, an open directory; borrowed and outlives the workfile. */
int workfile_new(int dir, struct workfile **ret);
/* From a version's bytes; holds a reference to it. */
int workfile_from(int dir, struct version *v, struct workfile **ret);
/* The same bytes once more, that change by themselves. */
int workfile_copy(struct workfile *from, struct workfile **ret);
/* From a kept spool file; the name is borrowed. */
int workfile_open(int dir, const char *name, struct workfile **ret);
/* Removes its spool file unless it is kept. */
void workfile_free(struct workfile *w);

uint64_t workfile_size(const struct workfile *w);
/* Bytes, less than len only at the end; -errno. */
ssize_t workfile_pread(struct workfile *w, void *data, size_t len, uint64_t offset);
/* What is written beyond a small file, up to `end`, has to leave the disk room enough for the database,
 * or the next save of a document would fail: -ENOSPC. */
int workfile_room(int dir, uint64_t end, size_t len);
/* All of it or -ENOSPC, -EDQUOT, -EIO, -ENOMEM. */
int workfile_pwrite(struct workfile *w, const void *data, size_t len, uint64_t offset);
int workfile_truncate(struct workfile *w, uint64_t size);
/* So many bytes from offset on read as zeros, and where it can be they are a hole; the size stays. */
int workfile_zero(struct workfile *w, uint64_t offset, uint64_t len);
/* As lseek with SEEK_HOLE (hole) and SEEK_DATA: the first offset from there on that is in a hole, or is
 * not; the size if there is none. */
int workfile_next(struct workfile *w, uint64_t offset, bool hole, uint64_t *ret);
/* About as many bytes take room on a disk. */
int workfile_stored(struct workfile *w, uint64_t *ret);
/* The bytes as the engine takes them; valid until the next change. */
void workfile_content(struct workfile *w, struct content *ret);

/* A large file's bytes go into the store while nobody holds the lock that guards w, and while more of them
 * are written behind: workfile_content gives what came of it, unless what was there has changed. With the lock;
 * workfile_ahead_store and _end (fusefs/workfile-ahead.h) follow without it. growing: it is being written, and
 * what is there is worth it if it was never gone back to. -EALREADY: there is nothing to do. */
struct workfile_ahead;
int workfile_ahead_begin(struct workfile *w, struct replica *r, bool growing,
			 struct workfile_ahead **ret);
/* Without it; workfile_content waits for a moment of this only. */
void workfile_ahead_store(struct workfile_ahead *a);
/* Without it. */
void workfile_ahead_end(struct workfile_ahead *a);

/* Puts the bytes into a spool file of that name that outlives the workfile, synced if so asked;
 * again after changes. */
int workfile_keep(struct workfile *w, const char *name, bool sync);
/* The spool file goes with the workfile again. */
void workfile_unkeep(struct workfile *w);

/* Handed over with its descriptor, and taken over: NULL when that failed. */
struct saver;
struct loader;
void workfile_save(struct saver *s, const struct workfile *w);
struct workfile *workfile_load(struct loader *l, int dir);

DEFINE_CLEANUP(struct workfile *, workfile_free)
