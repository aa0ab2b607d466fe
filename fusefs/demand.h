/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Requests of the kernel that wait for contents which are not here (engine/fetch.h). They wait without a
 * thread: whoever brings the contents goes on with them. A signal to the program ends the wait (EINTR). */

#include "fusefs/fs.h"

struct demand;

int demand_new(struct fusefs *fs, struct demand **ret);
void demand_free(struct demand *d); /* NULL: nothing. After demand_stop */
/* Nobody waits from here on: those who do are interrupted. The serving threads have stopped. */
void demand_stop(struct demand *d);
void demand_start(struct demand *d); /* after demand_stop */

/* Answers req, if it is to be, and frees arg. code: 0 or -errno. Any thread. */
typedef void (*demand_fn)(struct fusefs *fs, fuse_req_t req, int code, void *arg);
/* Calls fn once: when the range of the blob (NULL: all that is content of the node) is here, when it cannot be
 * had, -EHOSTDOWN, or when the program was interrupted, -EINTR. Maybe before this returns. */
void demand_wait(struct fusefs *fs, fuse_req_t req, const struct id *node, const struct blob_ref *ref,
		 uint64_t offset, uint64_t len, demand_fn fn, void *arg);
/* Its contents are not here, and nobody has written others yet. Takes i->lock. */
bool inode_is_absent(struct fusefs *fs, struct inode *i, struct id *ret_node);
/* Answers a read of a version that had -EHOSTDOWN. */
void demand_read(struct fusefs *fs, fuse_req_t req, const struct proc *reader, struct version *v,
		 size_t size, uint64_t offset);
