/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Who is calling: FUSE tells the id of a thread; /proc tells the process it belongs to.
 *
 * While a process is in execve(2) and its close-on-exec files are being closed, reading its
 * /proc/PID/stat blocks until that is over. The closing sends FLUSH and waits for the answer: so a
 * FLUSH must not look its caller up, and nobody may look anyone up with a lock held that a FLUSH
 * needs. proc_alive and proc_has_thread never block. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
	pid_t tgid; /* 0: unknown (another pid namespace, or gone) */
	pid_t pgrp;
	pid_t session;
	uint64_t start; /* of the thread group, in clock ticks since boot; with tgid an identity */
};

/* Looks thread tid up; may block, see above. An unknown one gives all zero. */
void proc_of(pid_t tid, struct proc *ret);

/* Remembers each thread for PROCS_TTL_NS: a program that opens many files is looked up once in a
 * while, and no thread id can come back that soon. A process that changes its group or session
 * meanwhile is noticed late, by so much. Thread-safe; its lock is not held while looking up. */
#define PROCS_SLOTS 64
#define PROCS_TTL_NS (INT64_C(5) * 1000 * 1000)

struct procs {
	pthread_mutex_t lock;
	struct {
		pid_t tid;
		int64_t at_ns;
		struct proc proc;
	} slot[PROCS_SLOTS];
};

void procs_init(struct procs *c);
void procs_done(struct procs *c);
/* As proc_of; now_ns: monotonic. */
void procs_of(struct procs *c, pid_t tid, int64_t now_ns, struct proc *ret);

/* The same process, both known. */
static inline bool proc_same(const struct proc *a, const struct proc *b)
{
	return a->tgid > 0 && a->tgid == b->tgid && a->start == b->start;
}
/* Is there still a process of that id? */
bool proc_alive(const struct proc *p);
/* Is tid one of its threads? */
bool proc_has_thread(const struct proc *p, pid_t tid);

/* Parses the text of /proc/PID/stat. -EBADMSG. */
int proc_parse_stat(const char *text, char *ret_state, struct proc *ret);
/* Tgid of the text of /proc/PID/status; 0 when there is none. */
pid_t proc_parse_tgid(const char *text);
