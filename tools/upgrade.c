/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "engine/cursor.h"
#include "engine/jsonw.h"
#include "tools/control.h"

#define CHECK_MS 10000   /* a program that takes longer to say whether it can */
#define ANSWER_US 100000 /* for who asked to take the answer */

extern char **environ;

/* ---- can it? ---- */

static int wait_for(pid_t pid, int *ret_status)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	for (unsigned k = 0; k < CHECK_MS; k++) {
		pid_t done = waitpid(pid, ret_status, WNOHANG);
		if (done == pid)
			return 0;
		if (done < 0 && errno != EINTR)
			return -errno;
		nanosleep(&ms, NULL);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	return -ETIMEDOUT;
}

int upgrade_check(const char *program, struct err *e)
{
	char number[16], option[] = "--check-handover";
	_cleanup_free_ char *name = strdup(program);
	snprintf(number, sizeof(number), "%u", SHOALD_HANDOVER);
	char *argv[] = { name, option, number, NULL };
	posix_spawn_file_actions_t quiet;
	if (!name || posix_spawn_file_actions_init(&quiet) != 0)
		return err_errno(e, -ENOMEM, "cannot upgrade");
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
	pid_t pid;
	int status = 0, r = -posix_spawn(&pid, program, &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (r == 0)
		r = wait_for(pid, &status);
	if (r < 0)
		return err_errno(e, r, "cannot run %.150s", program);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, -EPROTONOSUPPORT,
			       "%.120s cannot take over from shoald " PACKAGE_VERSION
			       ": `shoal down`, then `shoal up`", program);
	return 0;
}

/* ---- the old one ---- */

static void put_text(struct buf *b, const char *text)
{
	buf_u8(b, text != NULL);
	if (text)
		buf_bytes(b, text, strlen(text));
}

static int write_all(int fd, const struct buf *b)
{
	for (size_t done = 0; done < b->len;) {
		ssize_t n = write(fd, b->data + done, b->len - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int put_head(const struct upgrade *u, const int fd[static 3], struct buf *b)
{
	_cleanup_(buf_done) struct buf id = { 0 };
	if (u->who)
		call_id(u->who, &id);
	buf_u32(b, SHOALD_HANDOVER);
	put_text(b, PACKAGE_VERSION);
	for (unsigned k = 0; k < 3; k++)
		buf_u32(b, (uint32_t)fd[k]);
	put_text(b, id.len ? buf_cstr(&id) : NULL);
	buf_u8(b, u->mount_bound);
	put_text(b, u->mount_dir);
	put_text(b, u->mount_opts);
	return buf_failed(&id) || buf_failed(b) ? -ENOMEM : 0;
}

static void become(const struct upgrade *u, int state)
{
	char number[16];
	const char *argv[10] = { "shoald", "--store", storedir_path(u->dir), "--handover", number };
	size_t n = 5;
	snprintf(number, sizeof(number), "%d", state);
	if (u->listen) {
		argv[n++] = "--listen";
		argv[n++] = u->listen;
	}
	if (u->foreground)
		argv[n++] = "--foreground";
	sd_notify(0, "STATUS=upgrading");
	execv(u->program, (char *const *)(uintptr_t)argv);
}

static void keep_open(const int fd[static 3], int flags)
{
	for (unsigned k = 0; k < 3; k++)
		if (fd[k] >= 0)
			fcntl(fd[k], F_SETFD, flags);
}

int upgrade_exec(const struct upgrade *u, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	const int fd[3] = { storedir_lock_fd(u->dir), ctlserver_fd(u->control),
			    u->who ? call_fd(u->who) : -1 };
	_cleanup_close_ int state = memfd_create("shoal-handover", 0);
	if (state < 0)
		return err_errno(e, -errno, "cannot upgrade");
	int r = put_head(u, fd, &b);
	if (r < 0)
		return err_errno(e, r, "cannot upgrade");
	r = u->fs ? fusefs_leave(u->fs, &b, e) : 0;
	if (r < 0)
		return r;
	r = buf_failed(&b) ? -ENOMEM : write_all(state, &b);
	if (r == 0) {
		keep_open(fd, 0);
		become(u, state);
		r = -errno;
		keep_open(fd, FD_CLOEXEC);
	}
	if (u->fs)
		fusefs_stay(u->fs);
	return err_errno(e, r, "cannot run %.150s", u->program);
}

/* ---- the new one ---- */

static char *take_text(struct cursor *c)
{
	size_t len;
	if (!cursor_u8(c))
		return NULL;
	const uint8_t *p = cursor_bytes(c, cursor_left(c), &len);
	return p ? strndup((const char *)p, len) : NULL;
}

static int take_fd(struct cursor *c)
{
	int fd = (int)cursor_u32(c);
	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		c->bad = true;
	return fd;
}

static int read_all(int fd, struct buf *ret)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	uint8_t *p = buf_reserve(ret, (size_t)st.st_size + 1);
	if (!p)
		return -ENOMEM;
	while (ret->len < (size_t)st.st_size) {
		ssize_t n = read(fd, p + ret->len, (size_t)st.st_size - ret->len);
		if (n == 0 || (n < 0 && errno != EINTR))
			return n ? -errno : -EBADMSG;
		ret->len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int handover_read(int fd, struct handover *ret, struct err *e)
{
	_cleanup_close_ int state = fd;
	struct handover h = { .lock = -1, .listen = -1, .client = -1 };
	int r = read_all(state, &h.data);
	struct cursor c = cursor_make(h.data.data, h.data.len);
	if (r == 0 && cursor_u32(&c) != SHOALD_HANDOVER)
		r = -EPROTONOSUPPORT;
	if (r == 0) {
		h.version = take_text(&c);
		h.lock = take_fd(&c);
		h.listen = take_fd(&c);
		h.client = take_fd(&c);
		h.id = take_text(&c);
		h.mount_bound = cursor_u8(&c);
		h.mount_dir = take_text(&c);
		h.mount_opts = take_text(&c);
		h.mount = c.p;
		h.mount_len = cursor_left(&c);
		r = cursor_ok(&c) && h.version ? 0 : -EBADMSG;
	}
	*ret = h;
	return r < 0 ? err_errno(e, r, "cannot take over from the daemon before") : 0;
}

void handover_answer(struct handover *h, const struct err *e)
{
	_cleanup_(buf_done) struct buf result = { 0 }, line = { 0 };
	const size_t id_len = h->id ? strlen(h->id) : 0;
	struct jsonw w;
	if (h->client < 0)
		return;
	jsonw_init(&w, &result, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "version");
	jsonw_string(&w, PACKAGE_VERSION);
	jsonw_key(&w, "before");
	jsonw_string(&w, h->version);
	jsonw_object_end(&w);
	jsonw_end(&w);
	if (e)
		control_put_error(&line, h->id, id_len, e);
	else
		control_put_result(&line, h->id, id_len, (const char *)result.data, result.len, false);
	const struct timeval patience = { .tv_usec = ANSWER_US };
	setsockopt(h->client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	/* Who has gone meanwhile does not want to know. */
	fcntl(h->client, F_SETFL, 0);
	(void)!send(h->client, line.data, line.len, MSG_NOSIGNAL);
	close(TAKE_FD(h->client));
}

void handover_done(struct handover *h)
{
	buf_done(&h->data);
	free(h->version);
	free(h->id);
	free(h->mount_dir);
	free(h->mount_opts);
	if (h->client >= 0)
		close(h->client);
	*h = (struct handover){ .lock = -1, .listen = -1, .client = -1 };
}
