/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define DAEMON "shoald"
#define ARGS_MAX 32

int spawn_find(char path[static PATH_MAX], struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		char *slash = strrchr(self, '/');
		if (slash) {
			static const char *const places[] = { "", "../sbin/", "../libexec/" };
			*slash = 0;
			for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
				int m = snprintf(path, PATH_MAX, "%s/%s" DAEMON, self, places[i]);
				if (m < PATH_MAX && access(path, X_OK) == 0)
					return 0;
			}
		}
	}
	snprintf(path, PATH_MAX, "%s", SHOAL_SBINDIR "/" DAEMON);
	if (access(path, X_OK) == 0)
		return 0;
	for (const char *p = getenv("PATH"); p && *p;) {
		size_t len = strcspn(p, ":");
		int m = snprintf(path, PATH_MAX, "%.*s/" DAEMON, (int)len, p);
		if (len && m < PATH_MAX && access(path, X_OK) == 0)
			return 0;
		p += len + (p[len] == ':');
	}
	return err_set(e, -ENOENT, DAEMON " is not installed beside this program, in " SHOAL_SBINDIR
				   " or in $PATH: install the whole of shoal");
}

static int make_argv(const char *const *args, const char *ready, char *argv[static ARGS_MAX])
{
	unsigned n = 0;
	argv[n++] = strdup(DAEMON);
	if (ready) {
		argv[n++] = strdup("--ready-fd");
		argv[n++] = strdup(ready);
	}
	for (; *args; args++) {
		if (n + 1 >= ARGS_MAX)
			return -E2BIG;
		argv[n++] = strdup(*args);
	}
	argv[n] = NULL;
	while (n)
		if (!argv[--n])
			return -ENOMEM;
	return 0;
}

static void free_argv(char *argv[static ARGS_MAX])
{
	for (unsigned i = 0; i < ARGS_MAX; i++)
		free(argv[i]);
}

/* In the child: nothing of the terminal stays with it. */
__attribute__((__noreturn__)) static void become(const struct storedir *dir, const char *path,
						  char **argv, int ready)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = openat(storedir_fd(dir), STOREDIR_LOG,
			 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(log >= 0 ? log : null, STDOUT_FILENO);
		dup2(log >= 0 ? log : null, STDERR_FILENO);
	}
	fcntl(ready, F_SETFD, 0);
	if (chdir("/") == 0)
		execv(path, argv);
	dprintf(ready, "%d cannot start %s: %s\n", errno, path, strerror(errno));
	_exit(1);
}

/* Reads the daemon's line. */
static int await(int fd, struct err *e)
{
	char line[512];
	size_t n = 0;
	while (n < sizeof(line) - 1) {
		ssize_t m = read(fd, line + n, sizeof(line) - 1 - n);
		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			break;
		n += (size_t)m;
		if (line[n - 1] == '\n')
			break;
	}
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	char *end;
	long code = strtol(line, &end, 10);
	if (end == line || code < 0 || code > 4095)
		return err_set(e, -ECONNRESET,
			       "the daemon ended before it served; its log says why");
	if (code == 0)
		return 0;
	return err_set(e, -(int)code, "%s", *end == ' ' ? end + 1 : "the daemon failed");
}

int spawn_daemon(const struct storedir *dir, const char *const *args, struct err *e)
{
	char path[PATH_MAX], text[16];
	char *argv[ARGS_MAX] = { 0 };
	int pipe_fd[2];
	int r = spawn_find(path, e);
	if (r < 0)
		return r;
	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "cannot start the daemon");
	_cleanup_close_ int in = pipe_fd[0], out = pipe_fd[1];
	snprintf(text, sizeof(text), "%d", out);
	r = make_argv(args, text, argv);
	pid_t pid = r < 0 ? -1 : fork();
	if (pid == 0)
		become(dir, path, argv, out);
	int code = r < 0 ? r : pid < 0 ? -errno : 0;
	free_argv(argv);
	if (code < 0)
		return err_errno(e, code, "cannot start the daemon");
	close(TAKE_FD(out));
	r = await(in, e);
	if (r < 0)
		/* It is ending; collect it, so that the store's lock is free when we report. */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return r;
}

int spawn_exec(const char *const *args, struct err *e)
{
	char path[PATH_MAX];
	char *argv[ARGS_MAX] = { 0 };
	int r = spawn_find(path, e);
	if (r < 0)
		return r;
	r = make_argv(args, NULL, argv);
	if (r == 0) {
		execv(path, argv);
		r = -errno;
	}
	free_argv(argv);
	return err_errno(e, r, "cannot start %s", path);
}

void spawn_tell(int fd, const struct err *e)
{
	if (fd < 0)
		return;
	if (e && e->code < 0)
		dprintf(fd, "%d %s\n", -e->code, e->message);
	else
		dprintf(fd, "0\n");
	close(fd);
}
