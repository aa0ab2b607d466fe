/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/keeping.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/index.h"

#define EVERY_S 2
#define STEP_NS 1000000          /* between two steps of dropping: saves want the store, too */
#define SIZE_EVERY_S 30          /* a size that was found out is good for so long */
#define REFUSED_S 3600           /* what did not fit is not tried again before */
#define NEIGHBOUR_US (30ull * 24 * 3600 * 1000000) /* who was here since then is one */

struct cargo { /* a collection that was carried, or was too much */
	struct id scope;
	uint64_t bytes, sized_s; /* 0: never */
	uint64_t refused_s;      /* until then it is not taken */
};

struct keeping {
	struct replica *replica;
	struct flusher *flusher;
	struct log *log;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop, kicked; /* lock */
	uint64_t quota;    /* lock */
	struct buf cargo; /* struct cargo, the thread's */
	bool failed;
};

static uint64_t now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec + 1;
}

/* False: it is time to stop. Ends early when it is kicked, if that is to be heard. */
static bool pause_for(struct keeping *k, time_t seconds, long ns, bool hear)
{
	struct timespec then;
	int r = 0;
	clock_gettime(CLOCK_MONOTONIC, &then);
	then.tv_sec += seconds + (then.tv_nsec + ns) / 1000000000;
	then.tv_nsec = (then.tv_nsec + ns) % 1000000000;
	pthread_mutex_lock(&k->lock);
	while (!k->stop && !(hear && k->kicked) && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&k->cond, &k->lock, &then);
	if (hear)
		k->kicked = false;
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

static uint64_t quota_of(struct keeping *k)
{
	pthread_mutex_lock(&k->lock);
	uint64_t quota = k->quota;
	pthread_mutex_unlock(&k->lock);
	return quota;
}

/* Told once, until it works again. */
static void complain(struct keeping *k, const struct err *e)
{
	if (!k->failed)
		log_error(k->log, "%s", e->message);
	k->failed = true;
}

/* Until the next one is asked for. NULL: out of memory. */
static struct cargo *cargo_of(struct keeping *k, const struct id *scope)
{
	const struct cargo new = { .scope = *scope };
	size_t n = k->cargo.len / sizeof(new), i = 0;
	while (i < n && !id_equal(&((struct cargo *)k->cargo.data)[i].scope, scope))
		i++;
	if (i == n)
		buf_put(&k->cargo, &new, sizeof(new));
	return buf_failed(&k->cargo) ? NULL : &((struct cargo *)k->cargo.data)[i];
}

static uint64_t size_of(struct keeping *k, struct cargo *c)
{
	uint64_t files, now = now_s();
	if (c->sized_s == 0 || now >= c->sized_s + SIZE_EVERY_S) {
		if (replica_collection_size(k->replica, &c->scope, &files, &c->bytes) < 0)
			return 0;
		c->sized_s = now;
	}
	return c->bytes;
}

/* The level that an errand asks for, when so much is carried already. */
static unsigned decide(struct keeping *k, const struct errand *x, uint64_t carried, uint64_t quota)
{
	struct cargo *c = cargo_of(k, &x->scope);
	const unsigned leave = x->elsewhere ? INTEREST_NONE : INTEREST_FARTHEST;
	if (!c)
		return x->is;
	if (x->should == INTEREST_NONE)
		return x->is == INTEREST_NONE ? INTEREST_NONE : leave;
	if (x->is == INTEREST_NONE)
		return carried < quota && now_s() >= c->refused_s ? x->should : INTEREST_NONE;
	if (carried <= quota && quota > 0)
		return x->should;
	if (leave == INTEREST_NONE)
		c->refused_s = now_s() + REFUSED_S;
	return leave;
}

static void look(struct keeping *k)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct errand *x;
	struct err e = { 0 };
	uint32_t n;
	uint64_t carried = 0, quota = quota_of(k), wall = replica_now_us(k->replica);
	bool changed = false;
	int r = replica_errands(k->replica, wall > NEIGHBOUR_US ? wall - NEIGHBOUR_US : 0, &a, &x, &n);
	if (r < 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct cargo *c = x[i].is == INTEREST_NONE ? NULL : cargo_of(k, &x[i].scope);
		carried += c ? size_of(k, c) : 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		unsigned level = decide(k, &x[i], carried, quota);
		if (level == x[i].is || replica_dropping(k->replica, &x[i].scope))
			continue;
		r = replica_keep(k->replica, &x[i].scope, level, NULL, &e);
		if (r < 0 && r != -EBUSY)
			complain(k, &e);
		changed |= r == 0;
		if (r == 0 && level == INTEREST_NONE) {
			struct cargo *c = cargo_of(k, &x[i].scope);
			carried -= c && c->bytes < carried ? c->bytes : carried;
			if (c)
				c->sized_s = 0;
		}
	}
	if (changed)
		flusher_kick(k->flusher);
}

/* What was a part and is to be nothing goes when all that was changed in it is with somebody who keeps all. */
static void look_at_parts(struct keeping *k)
{
	_cleanup_(interests_unrefp) struct interests *x = replica_interests(k->replica);
	struct err e = { 0 };
	for (uint32_t i = 0; i < x->n; i++) {
		const struct interest *item = &x->item[i];
		if (item->level != INTEREST_FILTERED || strcmp(item->where, KEEPING_NOTHING) != 0 ||
		    !replica_part_left(k->replica, &item->scope))
			continue;
		int r = replica_keep(k->replica, &item->scope, INTEREST_NONE, NULL, &e);
		if (r < 0)
			complain(k, &e);
		else
			flusher_kick(k->flusher);
	}
}

static void drop(struct keeping *k)
{
	struct err e = { 0 };
	int r;
	bool any = false;
	while ((r = replica_drop_step(k->replica, &e)) == 1) {
		any = true;
		if (!pause_for(k, 0, STEP_NS, false))
			return;
	}
	if (r < 0)
		complain(k, &e);
	else
		k->failed = false;
	if (any)
		log_info(k->log, "what is not kept any more is out of the store");
}

/* Indexes for queries are made and erased. */
static void make_indexes(struct keeping *k)
{
	struct err e = { 0 };
	int r;
	bool any = false;
	while ((r = replica_index_step(k->replica, &e)) == 1) {
		any = true;
		if (!pause_for(k, 0, STEP_NS, false))
			return;
	}
	if (r < 0)
		complain(k, &e);
	if (any && r == 0)
		flusher_kick(k->flusher);
}

static void *run(void *userdata)
{
	struct keeping *k = userdata;
	do {
		look(k);
		look_at_parts(k);
		make_indexes(k);
		drop(k);
	} while (pause_for(k, EVERY_S, 0, true));
	return NULL;
}

int keeping_new(struct replica *r, uint64_t quota_bytes, struct flusher *flusher, struct log *log,
		struct keeping **ret, struct err *e)
{
	_cleanup_(keeping_freep) struct keeping *k = calloc(1, sizeof(*k));
	pthread_condattr_t attr;
	if (!k)
		return err_errno(e, -ENOMEM, "cannot start what keeps collections");
	k->replica = r;
	k->quota = quota_bytes;
	k->flusher = flusher;
	k->log = log;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->cond, &attr);
	pthread_condattr_destroy(&attr);
	int code = pthread_create(&k->thread, NULL, run, k);
	if (code)
		return err_errno(e, -code, "cannot start what keeps collections");
	k->running = true;
	*ret = TAKE_PTR(k);
	return 0;
}

void keeping_limit(struct keeping *k, uint64_t quota_bytes)
{
	pthread_mutex_lock(&k->lock);
	k->quota = quota_bytes;
	pthread_mutex_unlock(&k->lock);
}

void keeping_kick(struct keeping *k)
{
	pthread_mutex_lock(&k->lock);
	k->kicked = true;
	pthread_cond_signal(&k->cond);
	pthread_mutex_unlock(&k->lock);
}

void keeping_free(struct keeping *k)
{
	if (!k)
		return;
	if (k->running) {
		pthread_mutex_lock(&k->lock);
		k->stop = true;
		pthread_cond_signal(&k->cond);
		pthread_mutex_unlock(&k->lock);
		pthread_join(k->thread, NULL);
	}
	pthread_cond_destroy(&k->cond);
	pthread_mutex_destroy(&k->lock);
	buf_done(&k->cargo);
	free(k);
}
