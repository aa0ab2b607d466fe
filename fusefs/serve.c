/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BRISK_NS 50000
#define OTHERS_NS 10000

static void gone(struct fusefs *fs)
{
	if (atomic_exchange(&fs->over, true) || atomic_load(&fs->stopping))
		return;
	if (fs->config.ended)
		fs->config.ended(fs->config.userdata);
}

static void free_buf(void *p)
{
	free(((struct fuse_buf *)p)->mem);
}

static bool ending(struct fusefs *fs)
{
	return fuse_session_exited(fs->session) || atomic_load(&fs->stopping);
}

/* The next request. While they follow each other closely the thread does not sleep in between: to wake it, a
 * processor that has gone idle most of all, takes longer than most of them do. It gives way to whoever wants
 * to run, and sleeps from the first time on that it has looked for one in vain. */
static int receive(struct fusefs *fs, struct fuse_buf *buf)
{
	const int64_t since = monotonic_ns();
	const bool brisk = atomic_load(&fs->brisk);
	int64_t now = since, last = since;
	while (brisk && now - since < BRISK_NS && now - last < OTHERS_NS) {
		int n = fuse_session_receive_buf(fs->session, buf);
		if (n != -EAGAIN)
			return n;
		last = monotonic_ns();
		sched_yield();
		now = monotonic_ns();
	}
	struct pollfd device = { .fd = fuse_session_fd(fs->session), .events = POLLIN };
	if (poll(&device, 1, -1) < 0)
		return -errno;
	/* Waking up took its part of that. */
	atomic_store(&fs->brisk, !brisk && monotonic_ns() - since < 2 * BRISK_NS);
	return fuse_session_receive_buf(fs->session, buf);
}

/* Until the mount ends, or (false) until others are to serve it. */
static bool serve(struct worker *w, struct fuse_buf *buf)
{
	struct fusefs *fs = w->fs;
	uint64_t number = 0;
	int state;
	while (!ending(fs)) {
		if (!turn_take(&fs->turns, number) || atomic_load(&fs->parking))
			return !atomic_load(&fs->parking);
		/* Waiting for a request is the one place to stop at. */
		atomic_store(&w->waits, true);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
		int n = receive(fs, buf);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		atomic_store(&w->waits, false);
		number = turn_give(&fs->turns, n > 0 ? buf->mem : NULL, n > 0 ? (size_t)n : 0);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(fs->session, buf);
	}
	return true;
}

static void *worker_main(void *userdata)
{
	struct worker *w = userdata;
	struct fuse_buf buf = { 0 };
	int state;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_cleanup_push(free_buf, &buf);
	if (serve(w, &buf)) {
		turns_end(&w->fs->turns);
		gone(w->fs);
	}
	pthread_cleanup_pop(1);
	return NULL;
}

/* Of the mount's first request (FUSE_INIT), as the kernel sends it: u32 length, u32 what, u64 number. */
#define FIRST_NUMBER 8

/* It comes before all others, and once: what the next daemon would not be told is in it. */
int serve_first(struct fusefs *fs)
{
	struct fuse_buf buf = { 0 };
	int n;
	do {
		n = fuse_session_receive_buf(fs->session, &buf);
	} while (n == -EINTR || n == -EAGAIN);
	if (n > 0 && !(buf.flags & FUSE_BUF_IS_FD))
		buf_put(&fs->first, buf.mem, buf.size);
	if (n > 0)
		fuse_session_process_buf(fs->session, &buf);
	free(buf.mem);
	return n <= 0 ? (n ? n : -ENODEV) : fs->first.len && !buf_failed(&fs->first) ? 0 : -ENOMEM;
}

/* libfuse gets to know what it has never heard. The kernel has no question of such a number, and lets the
 * answer go. */
int serve_first_again(struct fusefs *fs)
{
	const uint64_t nobody = UINT64_MAX - 1;
	struct fuse_buf buf = { .size = fs->first.len };
	_cleanup_free_ uint8_t *copy = malloc(fs->first.len);
	if (!copy || buf.size < FIRST_NUMBER + sizeof(nobody))
		return -EBADMSG;
	memcpy(copy, fs->first.data, buf.size);
	memcpy(copy + FIRST_NUMBER, &nobody, sizeof(nobody));
	buf.mem = copy;
	fuse_session_process_buf(fs->session, &buf);
	return fuse_session_exited(fs->session) ? -EPROTO : 0;
}

static void on_interrupt(int signo)
{
	(void)signo;
}

int serve_start(struct fusefs *fs)
{
	/* Without SA_RESTART: who waits for a request returns. */
	const struct sigaction interrupt = { .sa_handler = on_interrupt };
	sigset_t most, old;
	int r = sigaction(SIGUSR1, &interrupt, NULL) < 0 ? -errno : 0;
	const int flags = fcntl(fuse_session_fd(fs->session), F_GETFL);
	if (r == 0 && fcntl(fuse_session_fd(fs->session), F_SETFL, flags | O_NONBLOCK) < 0)
		r = -errno;
	sigfillset(&most);
	sigdelset(&most, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &most, &old);
	turns_watch(&fs->turns);
	while (r == 0 && fs->n_workers < FUSEFS_THREADS) {
		struct worker *w = &fs->worker[fs->n_workers];
		w->fs = fs;
		r = -pthread_create(&w->thread, NULL, worker_main, w);
		fs->n_workers += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* pthread_cancel might take a request along that has just been read, and whoever made it would wait for
 * ever. */
void serve_park(struct fusefs *fs)
{
	const struct timespec moment = { .tv_nsec = 200000 };
	atomic_store(&fs->parking, true);
	turns_end(&fs->turns);
	for (unsigned k = 0; k < fs->n_workers; k++) {
		struct worker *w = &fs->worker[k];
		/* It may have been about to wait when the signal came. */
		while (pthread_tryjoin_np(w->thread, NULL) == EBUSY) {
			if (atomic_load(&w->waits))
				pthread_kill(w->thread, SIGUSR1);
			nanosleep(&moment, NULL);
		}
	}
	fs->n_workers = 0;
	atomic_store(&fs->parking, false);
	turns_done(&fs->turns);
	turns_init(&fs->turns);
}

void serve_stop(struct fusefs *fs)
{
	turns_end(&fs->turns);
	for (unsigned k = 0; k < fs->n_workers; k++)
		pthread_cancel(fs->worker[k].thread);
	for (unsigned k = 0; k < fs->n_workers; k++)
		pthread_join(fs->worker[k].thread, NULL);
	fs->n_workers = 0;
}
