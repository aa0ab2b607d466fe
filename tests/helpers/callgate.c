/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a program and stops it, and all that it starts, before each system call that touches files
 * below a directory, until whoever started it says go on:
 *
 *     callgate FD DIR PROGRAM [ARGUMENT]...
 *
 * FD is a SOCK_SEQPACKET socket. Each call is told by one message, fields apart by NUL: the name of
 * the call, what it does to the file (below), the path, and the other path of a call that has two.
 * Whatever message comes back lets it go on. Exits as the program did, after the last of its
 * processes.
 *
 *     look   opens it for reading, reads, maps, copies from it
 *     open   opens it for writing, or makes it
 *     empty  the same, and it is empty afterwards
 *     write  writes, truncates, copies into it
 *     done   closes or syncs it
 *     name   renames, links, removes it
 *
 * The kernel asks here before it carries a call out (seccomp_unotify(2)): no signals, no
 * preloading, and the calls are the program's own. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 4096

enum { NONE = -1, HERE = -2 }; /* no such argument; relative to the working directory */

/* Where the arguments of a call are: descriptors, directories with paths, flags. */
struct call {
	int nr;
	const char *name, *does; /* does NULL: open, look or empty, by its flags */
	int fd, from_fd;         /* the file; what it copies from */
	int dir, path;           /* dir HERE: the call has none */
	int dir2, path2;
	int flags;
};

#define BY_FD(n, what, fd_at) \
	{ SYS_##n, #n, what, fd_at, NONE, NONE, NONE, NONE, NONE, NONE }
#define BY_COPY(n, to, from) \
	{ SYS_##n, #n, "write", to, from, NONE, NONE, NONE, NONE, NONE }
#define BY_PATH(n, what, dir_at, path_at, flags_at) \
	{ SYS_##n, #n, what, NONE, NONE, dir_at, path_at, NONE, NONE, flags_at }
#define BY_PATHS(n, dir_at, path_at, dir2_at, path2_at) \
	{ SYS_##n, #n, "name", NONE, NONE, dir_at, path_at, dir2_at, path2_at, NONE }

static const struct call calls[] = {
	BY_FD(read, "look", 0),
	BY_FD(pread64, "look", 0),
	BY_FD(readv, "look", 0),
	BY_FD(mmap, "look", 4),
	BY_FD(write, "write", 0),
	BY_FD(pwrite64, "write", 0),
	BY_FD(writev, "write", 0),
	BY_FD(pwritev, "write", 0),
	BY_FD(ftruncate, "write", 0),
	BY_FD(msync, "done", NONE),
	BY_FD(fsync, "done", 0),
	BY_FD(fdatasync, "done", 0),
	BY_FD(close, "done", 0),
	BY_FD(dup3, "done", 1),
	BY_FD(exit_group, "done", NONE),
	BY_COPY(sendfile, 0, 1),
	BY_COPY(copy_file_range, 2, 0),
	BY_PATH(openat, NULL, 0, 1, 2),
	BY_PATH(truncate, "write", HERE, 0, NONE),
	BY_PATH(unlinkat, "name", 0, 1, NONE),
	BY_PATHS(renameat, 0, 1, 2, 3),
	BY_PATHS(renameat2, 0, 1, 2, 3),
	BY_PATHS(linkat, 0, 1, 2, 3),
	BY_PATHS(symlinkat, NONE, NONE, 1, 2),
#ifdef SYS_open /* architectures that are old enough have these as well */
	BY_FD(dup2, "done", 1),
	BY_PATH(open, NULL, HERE, 0, 1),
	BY_PATH(creat, "empty", HERE, 0, NONE),
	BY_PATH(unlink, "name", HERE, 0, NONE),
	BY_PATHS(rename, HERE, 0, HERE, 1),
	BY_PATHS(link, HERE, 0, HERE, 1),
	BY_PATHS(symlink, NONE, NONE, HERE, 1),
#endif
};

#define N_CALLS (sizeof(calls) / sizeof(calls[0]))
static_assert(N_CALLS < 256, "a jump of the filter reaches no further");

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "callgate: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* ---- the program's side ---- */

/* The kernel asks whoever has the descriptor that this returns. */
static int install_filter(void)
{
	struct sock_filter code[N_CALLS + 3];
	size_t n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < N_CALLS; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							 (uint32_t)calls[i].nr,
							 (uint8_t)(N_CALLS - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	struct sock_fprog program = { .len = (unsigned short)n, .filter = code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_NEW_LISTENER |
				    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			    &program);
}

union room {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static struct msghdr message(struct iovec *byte, union room *room)
{
	return (struct msghdr){ .msg_iov = byte,
				.msg_iovlen = 1,
				.msg_control = room->bytes,
				.msg_controllen = sizeof(room->bytes) };
}

/* The listener goes to the other side by a call that is not asked about. */
static _Noreturn void child(int sock, int gate, char **argv)
{
	int listener = install_filter();
	if (listener < 0)
		die("seccomp");
	char zero = 0;
	struct iovec byte = { &zero, 1 };
	union room room = { 0 };
	struct msghdr m = message(&byte, &room);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &listener, sizeof(int));
	if (sendmsg(sock, &m, 0) != 1)
		_exit(125);
	/* From here on calls are asked about. */
	close(listener);
	close(sock);
	close(gate);
	execvp(argv[0], argv);
	die(argv[0]);
}

static int receive(int sock)
{
	char zero;
	int fd = -1;
	struct iovec byte = { &zero, 1 };
	union room room = { 0 };
	struct msghdr m = message(&byte, &room);
	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&m))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

/* ---- what a call is about ---- */

struct gate {
	int listener, sock;
	const char *dir;
	size_t dir_len;
};

static bool below(const struct gate *g, const char *path)
{
	return strncmp(path, g->dir, g->dir_len) == 0 &&
	       (path[g->dir_len] == '/' || path[g->dir_len] == '\0');
}

/* Where a link of /proc leads; "" for nowhere. */
static void follow(pid_t pid, const char *what, char ret[static PATH_SIZE])
{
	char link[PATH_SIZE + 32];
	snprintf(link, sizeof(link), "/proc/%d/%s", (int)pid, what);
	ssize_t n = readlink(link, ret, PATH_SIZE - 1);
	ret[n < 0 ? 0 : n] = '\0';
}

static void path_of_fd(pid_t pid, uint64_t fd, char ret[static PATH_SIZE])
{
	char what[32];
	snprintf(what, sizeof(what), "fd/%d", (int)fd);
	follow(pid, what, ret);
}

/* A string in the program's memory, a page at a time: what follows it may be unmapped. */
static void text_of(pid_t pid, uint64_t at, char ret[static PATH_SIZE])
{
	size_t n = 0;
	ret[0] = '\0';
	while (n < PATH_SIZE - 1) {
		size_t part = 4096 - ((at + n) & 4095);
		if (part > PATH_SIZE - 1 - n)
			part = PATH_SIZE - 1 - n;
		struct iovec here = { ret + n, part };
		struct iovec there = { (void *)(uintptr_t)(at + n), part };
		if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)part)
			break;
		if (memchr(ret + n, '\0', part))
			return;
		n += part;
	}
	ret[n] = '\0';
}

static void path_at(pid_t pid, const struct seccomp_data *d, int dir, int path,
		    char ret[static PATH_SIZE])
{
	char text[PATH_SIZE];
	text_of(pid, d->args[path], text);
	/* What is linked by its descriptor. */
	if (strncmp(text, "/proc/self/", 11) == 0) {
		follow(pid, text + 11, ret);
		return;
	}
	if (text[0] == '/')
		ret[0] = '\0';
	else if (dir == HERE || (int)d->args[dir] == AT_FDCWD)
		follow(pid, "cwd", ret);
	else
		path_of_fd(pid, d->args[dir], ret);
	size_t n = strlen(ret);
	snprintf(ret + n, PATH_SIZE - n, "%s%s", n ? "/" : "", text);
}

static const char *does(const struct call *c, const struct seccomp_data *d)
{
	if (c->does)
		return c->does;
	uint64_t flags = d->args[c->flags];
	if (flags & O_TRUNC)
		return "empty";
	return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT) ? "look" : "open";
}

/* Tells of the call and waits for the answer. */
static void ask(const struct gate *g, const char *name, const char *what, const char *path,
		const char *path2)
{
	char text[2 * PATH_SIZE + 64], answer[16];
	int n = snprintf(text, sizeof(text), "%s%c%s%c%s%c%s", name, 0, what, 0, path, 0, path2);
	if (send(g->sock, text, (size_t)n, MSG_NOSIGNAL) == n)
		recv(g->sock, answer, sizeof(answer), 0);
}

static void look_at(const struct gate *g, const struct seccomp_notif *req)
{
	const struct seccomp_data *d = &req->data;
	const struct call *c = NULL;
	char path[PATH_SIZE] = "", path2[PATH_SIZE] = "";
	pid_t pid = (pid_t)req->pid;
	for (size_t i = 0; i < N_CALLS && !c; i++)
		if (calls[i].nr == d->nr)
			c = &calls[i];
	if (!c)
		return;
	if (c->fd != NONE)
		path_of_fd(pid, d->args[c->fd], path);
	if (c->from_fd != NONE) {
		path_of_fd(pid, d->args[c->from_fd], path2);
		if (below(g, path2))
			ask(g, c->name, "look", path2, "");
		path2[0] = '\0';
	}
	if (c->path != NONE)
		path_at(pid, d, c->dir, c->path, path);
	if (c->path2 != NONE)
		path_at(pid, d, c->dir2, c->path2, path2);
	bool ends = c->nr == SYS_exit_group || c->nr == SYS_msync;
	if (below(g, path) || below(g, path2) || ends)
		ask(g, c->name, does(c, d), path, path2);
}

/* Until the last process that the filter is on has gone. */
static void serve(const struct gate *g)
{
	for (;;) {
		struct pollfd p = { .fd = g->listener, .events = POLLIN };
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return;
		if (p.revents & (POLLHUP | POLLERR))
			return;
		if (!(p.revents & POLLIN))
			continue;
		struct seccomp_notif req = { 0 };
		/* Who was killed meanwhile asks no more. */
		if (ioctl(g->listener, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
			continue;
		look_at(g, &req);
		struct seccomp_notif_resp resp = {
			.id = req.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE
		};
		ioctl(g->listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: callgate FD DIR PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	int pair[2];
	struct gate g = { .sock = (int)strtol(argv[1], NULL, 10), .dir = argv[2] };
	g.dir_len = strlen(g.dir);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(pair[1], g.sock, argv + 3);
	close(pair[1]);
	g.listener = receive(pair[0]);
	if (g.listener < 0)
		die("no listener");
	serve(&g);
	int status;
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
