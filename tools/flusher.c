/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/flusher.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define GATHER_US 1000      /* with sessions: at least this long between two flushes */
#define LAZY_US 1000000     /* without */
#define RETRY_US 1000000    /* after a failed one */

struct flusher {
	struct replica *replica;
	struct log *log;
	void (*published)(void *userdata);
	void *userdata;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool kicked, now, hurry, stop; /* lock */
};

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Lock held. Waits until the time comes, or hurry or stop is set meanwhile. */
static void wait_until(struct flusher *f, uint64_t then, bool lazy)
{
	const struct timespec ts = { .tv_sec = (time_t)(then / 1000000),
				     .tv_nsec = (long)(then % 1000000) * 1000 };
	while (!f->stop && !(lazy && (f->hurry || f->now)) && now_us() < then)
		pthread_cond_timedwait(&f->cond, &f->lock, &ts);
}

static uint64_t published_commits(struct replica *r)
{
	_cleanup_(view_unrefp) struct view *v = replica_view(r);
	return v ? view_commits(v) : 0;
}

static void *run(void *userdata)
{
	struct flusher *f = userdata;
	uint64_t last = 0, told = published_commits(f->replica);
	bool failed = false;
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if (!f->kicked) {
			pthread_cond_wait(&f->cond, &f->lock);
			continue;
		}
		if (!f->hurry && !f->now)
			wait_until(f, last + LAZY_US, true);
		else
			wait_until(f, last + GATHER_US, false);
		f->kicked = f->now = false;
		pthread_mutex_unlock(&f->lock);

		struct err e = { 0 };
		last = now_us();
		int r = replica_dirty(f->replica) ? replica_flush(f->replica, &e) : 0;
		if (r < 0 && !failed)
			log_error(f->log, "cannot make changes durable: %s", e.message);
		failed = r < 0;
		/* An fsync may have published a view before we came to it. */
		uint64_t commits = published_commits(f->replica);
		if (commits != told)
			f->published(f->userdata);
		told = commits;

		pthread_mutex_lock(&f->lock);
		if (failed) {
			f->kicked = true;
			wait_until(f, now_us() + RETRY_US, false);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void on_change(const struct change *change, size_t n, void *userdata)
{
	(void)change;
	(void)n;
	flusher_kick(userdata);
}

int flusher_new(struct replica *r, struct log *log, void (*published)(void *userdata),
		void *userdata, struct flusher **ret, struct err *e)
{
	_cleanup_(flusher_freep) struct flusher *f = calloc(1, sizeof(*f));
	pthread_condattr_t attr;
	if (!f)
		return err_errno(e, -ENOMEM, "cannot start the flusher");
	f->replica = r;
	f->log = log;
	f->published = published;
	f->userdata = userdata;
	f->kicked = true; /* what an earlier run left */
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->cond, &attr);
	pthread_condattr_destroy(&attr);
	int code = pthread_create(&f->thread, NULL, run, f);
	if (code)
		return err_errno(e, -code, "cannot start the flusher");
	f->running = true;
	code = replica_observe(r, on_change, f);
	if (code < 0)
		return err_errno(e, code, "cannot start the flusher");
	*ret = TAKE_PTR(f);
	return 0;
}

void flusher_free(struct flusher *f)
{
	if (!f)
		return;
	if (f->running) {
		replica_unobserve(f->replica, on_change, f);
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_signal(&f->cond);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	}
	pthread_cond_destroy(&f->cond);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void flusher_kick(struct flusher *f)
{
	pthread_mutex_lock(&f->lock);
	if (!f->kicked) {
		f->kicked = true;
		pthread_cond_signal(&f->cond);
	}
	pthread_mutex_unlock(&f->lock);
}

void flusher_now(struct flusher *f)
{
	pthread_mutex_lock(&f->lock);
	f->kicked = f->now = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

void flusher_hurry(struct flusher *f, bool hurry)
{
	pthread_mutex_lock(&f->lock);
	f->hurry = hurry;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}
