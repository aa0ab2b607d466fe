/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/puppet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define STACK (256 * 1024)
#define XATTR "user.shoal.event" /* any name that may be set */

struct puppet {
	char *mountpoint;
	uint32_t major, minor; /* of the mount; 0, 0: not looked at yet */
	const struct job *job; /* the one being done */
	int result;
	int fd[2]; /* a socket: our end, its end */
	atomic_int pid; /* in its requests; 0: unknown */
	void *stack;
	bool started;
	pthread_t keeper;
};

/* ---- the process: no allocation, no lock, nothing of the C library but system calls ---- */

/* The root of the mount; -ESTALE: something else is there, or nothing. */
static int open_root(struct puppet *p)
{
	struct statx st;
	int fd = open(p->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* What the kernel knows is enough: no request. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0) {
		close(fd);
		return -ESTALE;
	}
	if (!p->major && !p->minor) {
		p->major = st.stx_dev_major;
		p->minor = st.stx_dev_minor;
	}
	if (p->major != st.stx_dev_major || p->minor != st.stx_dev_minor) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

/* A directory of the mount: by no link, and not into what is mounted inside it. */
static int open_dir(struct puppet *p, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	int root = open_root(p);
	if (root < 0 || !*path)
		return root;
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	int r = fd < 0 ? -errno : (int)fd;
	close(root);
	return r;
}

/* IN_MODIFY, and with the closing IN_CLOSE_WRITE. The answer to fallocate(2) tells no size, so that it
 * cannot overtake a newer one. */
static int finish(int fd, const struct job *j)
{
	int r = j->wrote && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1) < 0 ? -errno : 0;
	if (j->attr && fsetxattr(fd, XATTR, "", 0, 0) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int set_times(int dir, const char *name, long atime)
{
	const struct timespec times[2] = { { .tv_nsec = atime }, { 0 } };
	return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int do_write(int dir, const struct job *j)
{
	int fd = j->kind != NODE_FILE
			 ? -1
			 : openat(dir, j->name,
				  O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	/* A link, or a file that its owner must not write: IN_MODIFY alone. */
	return fd < 0 ? set_times(dir, j->name, UTIME_OMIT) : finish(fd, j);
}

static int do_attr(int dir, const struct job *j)
{
	char path[64 + NAME_MAX_BYTES];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, j->name);
	/* No size in the answer here, either; but it wants a permission to write, and no link. */
	if (lsetxattr(path, XATTR, "", 0, 0) == 0)
		return 0;
	return set_times(dir, j->name, 0);
}

static int do_make(int dir, const struct job *j)
{
	switch (j->kind) {
	case NODE_DIR:
		return mkdirat(dir, j->name, 0755) < 0 ? -errno : 0;
	case NODE_LINK:
		return symlinkat(".", dir, j->name) < 0 ? -errno : 0;
	case NODE_FILE:
		break;
	}
	int fd = openat(dir, j->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : finish(fd, j);
}

static int do_rename(struct puppet *p, int dir, const struct job *j)
{
	int to = open_dir(p, j->to_dir);
	if (to < 0)
		return to;
	int r = renameat2(dir, j->name, to, j->to_name, 0) < 0 ? -errno : 0;
	close(to);
	return r;
}

static int act(struct puppet *p, const struct job *j)
{
	int dir = open_dir(p, j->dir), r = -EINVAL;
	if (dir < 0)
		return dir;
	struct stat st;
	switch (j->what) {
	case JOB_LOOK:
		r = fstatat(dir, j->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
		break;
	case JOB_WRITE:
		r = do_write(dir, j);
		break;
	case JOB_ATTR:
		r = do_attr(dir, j);
		break;
	case JOB_MAKE:
		r = do_make(dir, j);
		break;
	case JOB_REMOVE:
		r = unlinkat(dir, j->name, j->kind == NODE_DIR ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
		break;
	case JOB_RENAME:
		r = do_rename(p, dir, j);
		break;
	}
	close(dir);
	return r;
}

static int serve(void *userdata)
{
	struct puppet *p = userdata;
	char c;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "shoal-events");
	if (dup2(p->fd[1], 0) < 0 || close_range(1, ~0u, 0) < 0)
		return 1;
	while (read(0, &c, 1) == 1) {
		p->result = act(p, p->job);
		if (write(0, &c, 1) != 1)
			break;
	}
	return 0;
}

/* ---- the daemon ---- */

/* The process and the thread that made it share what a thread has for its own (errno): therefore
 * this one makes it and then does nothing but wait for its end. */
static void *keep(void *userdata)
{
	struct puppet *p = userdata;
	int pid = clone(serve, (char *)p->stack + STACK, CLONE_VM, p);
	siginfo_t info;
	while (pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL) < 0 &&
	       errno == EINTR)
		;
	/* Its number is free for others when it has been waited for. */
	atomic_store(&p->pid, 0);
	if (pid > 0)
		waitpid(pid, NULL, __WALL);
	/* Whoever waits for an answer hears that there will be none. */
	shutdown(p->fd[0], SHUT_RDWR);
	return NULL;
}

int puppet_new(const char *mountpoint, struct puppet **ret)
{
	struct puppet *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->fd[0] = p->fd[1] = -1;
	p->mountpoint = strdup(mountpoint);
	void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	p->stack = stack == MAP_FAILED ? NULL : stack;
	if (!p->mountpoint || !p->stack) {
		puppet_free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

static void close_ends(struct puppet *p)
{
	for (unsigned k = 0; k < 2; k++)
		if (p->fd[k] >= 0)
			close(TAKE_FD(p->fd[k]));
}

int puppet_start(struct puppet *p)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd) < 0)
		return -errno;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = -pthread_create(&p->keeper, NULL, keep, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->started = r == 0;
	if (r < 0)
		close_ends(p);
	return r;
}

void puppet_stop(struct puppet *p)
{
	if (!p->started)
		return;
	shutdown(p->fd[0], SHUT_RDWR);
	pthread_join(p->keeper, NULL);
	p->started = false;
	close_ends(p);
}

void puppet_free(struct puppet *p)
{
	if (!p)
		return;
	puppet_stop(p);
	if (p->stack)
		munmap(p->stack, STACK);
	free(p->mountpoint);
	free(p);
}

int puppet_do(struct puppet *p, const struct job *job)
{
	char c = 0;
	p->job = job;
	ssize_t n = send(p->fd[0], &c, 1, MSG_NOSIGNAL);
	while (n == 1 && (n = recv(p->fd[0], &c, 1, 0)) < 0 && errno == EINTR)
		n = 1;
	return n == 1 ? p->result : -EPIPE;
}

void puppet_learn(struct puppet *p, pid_t pid)
{
	atomic_store(&p->pid, pid);
}

bool puppet_is(const struct puppet *p, pid_t pid)
{
	return pid > 0 && pid == atomic_load(&p->pid);
}
