/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cleanup.h"

static ssize_t slurp(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

int proc_parse_stat(const char *text, char *ret_state, struct proc *ret)
{
	/* pid (comm) state ppid pgrp session ... starttime is field 22; comm may hold anything,
	 * parentheses too, so count from the last one. */
	const char *p = strrchr(text, ')');
	char *end = NULL;
	long pid = strtol(text, &end, 10);
	if (!p || end == text || pid <= 0)
		return -EBADMSG;
	char state = 0;
	int pgrp = 0, session = 0;
	if (sscanf(p + 1, " %c %*d %d %d", &state, &pgrp, &session) != 3)
		return -EBADMSG;
	const char *q = p + 1;
	for (int field = 2; field < 22; field++) {
		q = strchr(q, ' ');
		if (!q)
			return -EBADMSG;
		q++;
	}
	uint64_t start = strtoull(q, &end, 10);
	if (end == q)
		return -EBADMSG;
	*ret_state = state;
	*ret = (struct proc){
		.tgid = (pid_t)pid, .pgrp = pgrp, .session = session, .start = start
	};
	return 0;
}

pid_t proc_parse_tgid(const char *text)
{
	const char *p = strstr(text, "\nTgid:");
	return p ? (pid_t)strtol(p + 6, NULL, 10) : 0;
}

static int proc_get(pid_t pid, char *ret_state, struct proc *ret)
{
	char text[1024];
	ssize_t n = slurp(pid, "stat", text, sizeof(text));
	return n < 0 ? (int)n : proc_parse_stat(text, ret_state, ret);
}

void proc_of(pid_t tid, struct proc *ret)
{
	*ret = (struct proc){ 0 };
	if (tid <= 0)
		return;
	char text[2048], state;
	struct proc p;
	if (slurp(tid, "status", text, sizeof(text)) < 0)
		return;
	pid_t tgid = proc_parse_tgid(text);
	if (tgid <= 0 || proc_get(tgid, &state, &p) < 0)
		return;
	*ret = p;
}

void procs_init(struct procs *c)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
}

void procs_done(struct procs *c)
{
	pthread_mutex_destroy(&c->lock);
}

void procs_of(struct procs *c, pid_t tid, int64_t now_ns, struct proc *ret)
{
	size_t k = (size_t)(unsigned)tid % PROCS_SLOTS;
	pthread_mutex_lock(&c->lock);
	bool known = tid > 0 && c->slot[k].tid == tid && now_ns - c->slot[k].at_ns < PROCS_TTL_NS;
	if (known)
		*ret = c->slot[k].proc;
	pthread_mutex_unlock(&c->lock);
	if (known)
		return;
	proc_of(tid, ret);
	pthread_mutex_lock(&c->lock);
	c->slot[k].tid = ret->tgid > 0 ? tid : 0;
	c->slot[k].at_ns = now_ns;
	c->slot[k].proc = *ret;
	pthread_mutex_unlock(&c->lock);
}

bool proc_alive(const struct proc *p)
{
	return p->tgid > 0 && (kill(p->tgid, 0) == 0 || errno == EPERM);
}

bool proc_has_thread(const struct proc *p, pid_t tid)
{
	char path[64];
	if (p->tgid <= 0 || tid <= 0)
		return false;
	if (tid == p->tgid)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)p->tgid, (int)tid);
	return access(path, F_OK) == 0;
}
