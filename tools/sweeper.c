/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/sweeper.h"

#include <errno.h>
#include <pthread.h>
#include <sys/statvfs.h>
#include <time.h>

#include "engine/purge.h"

#define FIRST_S 60
#define EVERY_S 3600
#define KICKED_SWEEPS 3
#define STEP_NS 50000000 /* between two steps of thinning: others want the disk, too */
#define DAY_US (24 * 3600 * 1000000ull)

struct sweeper {
	struct replica *replica;
	int dirfd;
	struct log *log;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop; /* lock */
	bool kicked; /* lock */
	struct flusher *flusher; /* lock */
	uint64_t rounds; /* lock: kicks that were followed */
	struct sweeper_limits limits; /* lock */
};

/* Bytes that the disk has left. */
static uint64_t room_of(struct sweeper *s)
{
	struct statvfs v;
	return fstatvfs(s->dirfd, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* False: it is time to stop. kick: or less, when somebody has something to be swept. */
static bool pause_or(struct sweeper *s, time_t seconds, long ns, bool kick)
{
	struct timespec then;
	int r = 0;
	clock_gettime(CLOCK_MONOTONIC, &then);
	then.tv_sec += seconds + (then.tv_nsec + ns) / 1000000000;
	then.tv_nsec = (then.tv_nsec + ns) % 1000000000;
	pthread_mutex_lock(&s->lock);
	while (!s->stop && !(kick && s->kicked) && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&s->cond, &s->lock, &then);
	bool stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return !stop;
}

static bool pause_for(struct sweeper *s, time_t seconds, long ns)
{
	return pause_or(s, seconds, ns, false);
}

/* What went is to be on the disk as room: the first sweep spares what a view still shows, or a peer sent a
 * moment ago. */
static void sweep_now(struct sweeper *s)
{
	struct sweep_report report;
	struct err e = { 0 };
	int r = 0;
	for (int i = 0; i < KICKED_SWEEPS && r == 0 && pause_for(s, 1, 0); i++) {
		r = replica_sweep(s->replica, &report, &e);
		if (r == 0 && report.deleted > 0)
			log_info(s->log, "deleted %llu chunks that nothing needs, %llu bytes",
				 (unsigned long long)report.deleted, (unsigned long long)report.deleted_bytes);
	}
	if (r == 0)
		r = replica_republish(s->replica, &e);
	pthread_mutex_lock(&s->lock);
	if (s->flusher)
		flusher_kick(s->flusher);
	pthread_mutex_unlock(&s->lock);
	/* Sessions take it before long, and let the one before go. */
	if (r == 0 && pause_for(s, 1, 0))
		r = store_compact(replica_store(s->replica), room_of(s), &e);
	if (r < 0 && r != -EBUSY && r != -ECANCELED)
		log_error(s->log, "%s", e.message);
	pthread_mutex_lock(&s->lock);
	s->rounds++;
	pthread_mutex_unlock(&s->lock);
}

static bool was_kicked(struct sweeper *s)
{
	pthread_mutex_lock(&s->lock);
	bool kicked = s->kicked;
	s->kicked = false;
	pthread_mutex_unlock(&s->lock);
	return kicked;
}

void sweeper_kick(struct sweeper *s)
{
	pthread_mutex_lock(&s->lock);
	s->kicked = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void sweeper_tell(struct sweeper *s, struct flusher *f)
{
	pthread_mutex_lock(&s->lock);
	s->flusher = f;
	pthread_mutex_unlock(&s->lock);
}

uint64_t sweeper_rounds(struct sweeper *s)
{
	pthread_mutex_lock(&s->lock);
	uint64_t n = s->rounds;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static uint64_t purge_us(const struct sweeper_limits *l)
{
	return l->purge == 0 ? 0 : (l->purge > l->days ? l->purge : l->days + 1) * DAY_US;
}

static struct history_policy policy_of(struct sweeper *s)
{
	struct statvfs v;
	pthread_mutex_lock(&s->lock);
	struct sweeper_limits limits = s->limits;
	pthread_mutex_unlock(&s->lock);
	struct history_policy p = { .keep_us = limits.days * DAY_US, .bytes = UINT64_MAX, .purge = limits.purge > 0 };
	if (fstatvfs(s->dirfd, &v) == 0)
		p.bytes = (uint64_t)v.f_blocks * v.f_frsize / 100 * limits.share;
	return p;
}

/* False: it failed, for whatever reason. */
static bool thin(struct sweeper *s, bool failed)
{
	const struct history_policy policy = policy_of(s);
	struct history_walk w = { 0 };
	struct err e = { 0 };
	int r;
	do
		r = replica_history_thin(s->replica, &policy, &w, &e);
	while (r > 0 && pause_for(s, 0, STEP_NS));
	if (r == 0 && w.dropped > 0)
		log_info(s->log, "let %llu earlier versions go; %llu are left, and %llu deletions",
			 (unsigned long long)w.dropped, (unsigned long long)w.versions,
			 (unsigned long long)w.deletions);
	if (r < 0 && r != -ECANCELED && !failed)
		log_error(s->log, "%s", e.message);
	return r >= 0;
}

/* The same. */
static bool purge(struct sweeper *s, bool failed)
{
	struct purge_walk w = { 0 };
	struct err e = { 0 };
	pthread_mutex_lock(&s->lock);
	const uint64_t horizon_us = purge_us(&s->limits);
	pthread_mutex_unlock(&s->lock);
	int r = horizon_us > 0;
	while (r > 0) {
		r = replica_purge_old(s->replica, horizon_us, &w, &e);
		if (r > 0 && !pause_for(s, 0, STEP_NS))
			break;
	}
	if (w.purged > 0)
		log_info(s->log, "nothing is kept any more of what %llu deleted files held",
			 (unsigned long long)w.purged);
	if (r < 0 && r != -ECANCELED && !failed)
		log_error(s->log, "%s", e.message);
	return r >= 0;
}

static void *run(void *userdata)
{
	struct sweeper *s = userdata;
	bool due = true, failed = false; /* what an earlier run left is not counted */
	bool thinned = true, purged = true;
	for (time_t wait = FIRST_S; pause_or(s, wait, 0, true); wait = EVERY_S) {
		struct sweep_report report;
		struct err e = { 0 };
		if (was_kicked(s)) {
			sweep_now(s);
			continue;
		}
		thinned = thin(s, !thinned);
		if (thinned)
			purged = purge(s, !purged);
		if (!due && replica_orphaned(s->replica) == 0)
			continue;
		int r = replica_sweep(s->replica, &report, &e);
		due = r < 0;
		if (r == 0 && report.deleted > 0)
			log_info(s->log, "deleted %llu chunks that nothing needs, %llu bytes",
				 (unsigned long long)report.deleted,
				 (unsigned long long)report.deleted_bytes);
		if (r < 0 && r != -EBUSY && r != -ECANCELED && !failed)
			log_error(s->log, "%s", e.message);
		failed = r < 0;
	}
	return NULL;
}

void sweeper_limit(struct sweeper *s, const struct sweeper_limits *limits)
{
	pthread_mutex_lock(&s->lock);
	s->limits = *limits;
	pthread_mutex_unlock(&s->lock);
}

int sweeper_new(struct replica *r, int dirfd, const struct sweeper_limits *limits, struct log *log,
		struct sweeper **ret, struct err *e)
{
	_cleanup_(sweeper_freep) struct sweeper *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	if (!s)
		return err_errno(e, -ENOMEM, "cannot start the sweeper");
	s->replica = r;
	s->dirfd = dirfd;
	s->limits = *limits;
	s->log = log;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	int code = pthread_create(&s->thread, NULL, run, s);
	if (code)
		return err_errno(e, -code, "cannot start the sweeper");
	s->running = true;
	*ret = TAKE_PTR(s);
	return 0;
}

void sweeper_free(struct sweeper *s)
{
	if (!s)
		return;
	if (s->running) {
		replica_sweep_cancel(s->replica);
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->cond);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
