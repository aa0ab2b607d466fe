/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* inotify(7) for what was changed elsewhere.
 *
 * The kernel tells watchers of what is done through it, and an invalidation is nothing of the kind.
 * So behind each change that is no news to the mount a process of ours (fusefs/puppet.h) calls the
 * mount itself and does the same again. Its requests are recognised by its process number, which is
 * learned from a first request for a name that only it can know; they are answered as if they had been
 * carried out and change nothing: no save, no base, no version.
 *
 *     content          open for writing, fallocate, close   IN_MODIFY, IN_CLOSE_WRITE
 *     mode, times, ... setxattr                             IN_ATTRIB
 *     a name came      create, mkdir, symlink               IN_CREATE (and the content's)
 *     a name went      unlink, rmdir                        IN_DELETE, IN_DELETE_SELF
 *     a name moved     rename                               IN_MOVED_FROM, IN_MOVED_TO, IN_MOVE_SELF
 *
 * The replica has changed long before, so the kernel must not know what it is about to do. From the
 * observer on, a name whose event is due is handed out without a time to live. The notifier drops it
 * from the kernel's cache; then the event's turn comes. The kernel asks for the name, and the process
 * alone is told what was: the old name is still there, the new one is not. What stands under the old
 * one is the inode that the kernel knows, else one made for the purpose (a ghost). In the same way it
 * finds everything else where it was before what has not been told yet. What the call leaves in the
 * cache is without a time to live as well: whoever comes next asks, and is told what is.
 *
 * Order: content and attributes are told when the kernel has dropped its pages, of an open file when
 * that has gone over to the newer version or has been left to those who have it open (fusefs/flip.h).
 * Within one batch a name is freed before it is taken, so that the last event of a name says what it
 * is. Changes of one node that wait are one. More than EVENTS_MAX are forgotten, as inotify does; the
 * cache stays right.
 *
 * Who watches is not to be found out, but a watch pins its inode. So nothing is done where the kernel
 * does not know the directory, and for a mount that nobody has looked into that is everywhere.
 *
 * Dropping a name waits for whoever is busy in its directory. If that were our process, and the daemon
 * killed, its thread would wait for the process, the process for an answer, and the mount for that
 * thread to close the device. So it is either the notifier's turn or our process's.
 *
 * Locks: `lock` comes before fs->lock, behind all others. The thread that waits for the process, and
 * so for answers of the mount, holds nothing. */

#include "fusefs/fs.h"

#define EVENTS_MAX 65536

struct event;

int events_new(struct fusefs *fs, struct events **ret);
void events_free(struct events *s);
/* While the mount is served; until events_stop, which waits for the call under way. May be
 * started again. */
int events_start(struct events *s);
void events_stop(struct events *s);
/* 0 when everything queued before is told. */
int events_wait(struct events *s, int64_t until_ns);
/* Calls of the mount so far. */
uint64_t events_count(struct events *s);

/* ---- what happened: any thread, not under fs->lock ---- */

/* The names of a change, to be queued with event_add behind the invalidations; NULL: nobody can be
 * watching, or there are none. */
struct event *event_of_names(struct fusefs *fs, const struct change *c);
/* Its content and attributes (CHANGE_CONTENT, CHANGE_ATTR; what is 0: NULL). */
struct event *event_of_node(const struct id *id, enum node_kind kind, unsigned what);
/* Takes e over (may be NULL). */
void event_add(struct events *s, struct event *e);
void event_free(struct events *s, struct event *e);

struct saver;
struct loader;
/* An event that waits; loading gives NULL when that failed. */
void event_save(struct saver *s, const struct event *e);
struct event *event_load(struct events *s, struct loader *l);
/* Those that are due, in order. Nothing is told meanwhile. */
void events_save(struct events *s, struct saver *to);
void events_load(struct events *s, struct loader *l);

/* Around dropping a name from the kernel's cache. Under no lock. */
void event_turn_begin(struct events *s);
void event_turn_end(struct events *s);

/* ---- for the handlers ---- */

/* An event of this name is due: the kernel may not keep it. */
bool event_awaits(struct events *s, const struct id *dir, const char *name);
/* Each of these: true if the request was of our process and has been answered. */
bool event_lookup(fuse_req_t req, struct inode *dir, const char *name);
bool event_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi);
bool event_remove(fuse_req_t req, fuse_ino_t parent, const char *name);
bool event_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		  const char *newname);
bool event_getattr(fuse_req_t req, struct inode *i);
bool event_setattr(fuse_req_t req, struct inode *i);
bool event_setxattr(fuse_req_t req);
/* Its file handle is 0. */
bool event_open(fuse_req_t req, struct fuse_file_info *fi);
