/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A process beside the daemon that calls the mount: inotify(7) hears of what is done through the
 * kernel, and of nothing else (fusefs/event.h).
 *
 * It shares the memory of the daemon, so that it costs none, but not its table of open files: were
 * the daemon killed while one of its own threads waits for an answer of its own mount, that thread
 * would keep /dev/fuse open, which keeps the thread waiting. A dump of the daemon's memory would
 * wait for it as well. This process has nothing open but a socket; it ends with the daemon.
 *
 * It holds nothing of the mount between two jobs, and looks whether the mount is still the one it
 * knows before it does anything: nothing is ever done to the directory below the mount point. */

#include <stdbool.h>
#include <sys/types.h>

#include "engine/replica.h"

struct puppet;

enum job_kind {
	JOB_LOOK = 1, /* asks for the name; that of a mount which was not looked at before is learned */
	JOB_WRITE,    /* opened for writing, written (wrote), attributes set (attr), closed */
	JOB_ATTR,     /* attributes were set */
	JOB_MAKE,     /* comes into being: by kind; a file is closed, and written before (wrote) */
	JOB_REMOVE,
	JOB_RENAME,
};

struct job {
	enum job_kind what;
	enum node_kind kind;
	bool wrote, attr;
	const char *dir; /* of the name, from the root of the mount; "" for it */
	const char *name;
	const char *to_dir, *to_name; /* JOB_RENAME */
};

/* mountpoint is copied. */
int puppet_new(const char *mountpoint, struct puppet **ret);
/* Waits for its end. NULL is fine. */
void puppet_free(struct puppet *p);
/* The process runs from here to puppet_stop; after that it may be started again. */
int puppet_start(struct puppet *p);
void puppet_stop(struct puppet *p);
/* Waits until the job is done, however it ends: the mount must be served meanwhile. One at a time.
 * -errno of what failed; -EPIPE: the process is gone. */
int puppet_do(struct puppet *p, const struct job *job);
/* Requests of this process carry the number pid, as the mount's pid namespace has it. */
void puppet_learn(struct puppet *p, pid_t pid);
/* Is a request with this number one of its? Never before the number has been learned, nor when it
 * may be another process's already. */
bool puppet_is(const struct puppet *p, pid_t pid);
