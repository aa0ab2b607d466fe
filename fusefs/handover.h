/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the next daemon needs to serve a mount on with nothing closed: all that the kernel knows, by
 * the numbers it knows it by, and all that is not in the store yet.
 *
 * In this order (fusefs/saver.h; integers are big-endian, a text has a byte before it that says whether
 * there is one):
 *
 *   mount      text mount point, text options, time of the mount, u8 entered, u64 next numbers of an
 *              inode and of a spool file, u64 saves
 *   connection descriptor, the kernel's first request (FUSE_INIT): it is not sent again
 *   pins       numbers of nodes
 *   inodes     each with its attributes, copy and local data; then what plain directories they are in
 *   names      tombstones (local names are with the inodes)
 *   handles    with what was read through them; directories that are open; plain ones
 *   bases      what processes have read
 *   queues     events and invalidations that are due, timers
 *
 * Locks of programs are the kernel's own affair, and watches, working directories and mappings too: they
 * hold inodes, and these keep their numbers. Times are of CLOCK_MONOTONIC, which goes on. What is
 * kept to be quick (rules, trees of documents, moments of the past) is made again. */

#include "fusefs/saver.h"

struct fusefs;

/* Nobody is served, no thread of the file system runs. */
void handover_save(struct fusefs *fs, struct saver *s);
/* The first part, into a new one: mount point and options. */
void handover_load_mount(struct fusefs *fs, struct loader *l);
/* The rest. The descriptor of the connection: *ret_fd. */
void handover_load(struct fusefs *fs, struct loader *l, int *ret_fd);
