/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/keeper.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#include "fusefs/commit.h"
#include "fusefs/draft.h"
#include "fusefs/flip.h"
#include "fusefs/tombstone.h"

/* A binary heap, soonest first. fs->lock held in all of these. */
static void push(struct fusefs *fs, struct timer t)
{
	if (fs->n_timers == fs->cap_timers) {
		size_t cap = fs->cap_timers ? fs->cap_timers * 2 : 64;
		struct timer *x = reallocarray(fs->timer, cap, sizeof(*x));
		if (!x)
			return;
		fs->timer = x;
		fs->cap_timers = cap;
	}
	size_t i = fs->n_timers++;
	while (i > 0 && fs->timer[(i - 1) / 2].due_ns > t.due_ns) {
		fs->timer[i] = fs->timer[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	fs->timer[i] = t;
}

static struct timer pop(struct fusefs *fs)
{
	struct timer first = fs->timer[0];
	struct timer t = fs->timer[--fs->n_timers];
	size_t i = 0;
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= fs->n_timers)
			break;
		if (child + 1 < fs->n_timers &&
		    fs->timer[child + 1].due_ns < fs->timer[child].due_ns)
			child++;
		if (fs->timer[child].due_ns >= t.due_ns)
			break;
		fs->timer[i] = fs->timer[child];
		i = child;
	}
	if (fs->n_timers)
		fs->timer[i] = t;
	return first;
}

void keeper_add(struct fusefs *fs, enum timer_kind kind, uint64_t ino, int64_t due_ns)
{
	pthread_mutex_lock(&fs->lock);
	bool sooner = !fs->n_timers || due_ns < fs->timer[0].due_ns;
	push(fs, (struct timer){ .due_ns = due_ns, .kind = kind, .ino = ino });
	if (sooner)
		pthread_cond_signal(&fs->keeper_wake);
	pthread_mutex_unlock(&fs->lock);
}

/* Gives back what was freed once the kernel has done with forgetting: the timer has how many it was when the last
 * one looked. */
static void trim_due(struct fusefs *fs, const struct timer *t, bool now)
{
	pthread_mutex_lock(&fs->lock);
	const uint64_t n = fs->n_forgotten;
	const bool more = n - t->ino >= TRIM_INODES / 16 && n < 16 * TRIM_INODES && !now;
	if (!more)
		fs->n_forgotten = 0;
	pthread_mutex_unlock(&fs->lock);
	if (more)
		keeper_add(fs, TIMER_TRIM, n, monotonic_ns() + TRIM_NS);
	else
		malloc_trim(0);
}

static void act(struct fusefs *fs, const struct timer *t, bool now)
{
	if (t->kind == TIMER_TOMB) {
		pthread_mutex_lock(&fs->names);
		tombstone_expire(fs, now ? INT64_MAX : monotonic_ns());
		pthread_mutex_unlock(&fs->names);
		return;
	}
	if (t->kind == TIMER_STRAY) {
		pthread_mutex_lock(&fs->names);
		drafts_astray(fs);
		pthread_mutex_unlock(&fs->names);
		return;
	}
	if (t->kind == TIMER_TRIM) {
		trim_due(fs, t, now);
		return;
	}
	if (t->kind == TIMER_RULES) {
		int64_t again = commit_unignored(fs, now);
		if (again)
			keeper_add(fs, TIMER_RULES, 0, again);
		return;
	}
	struct inode *i = inode_get(fs, t->ino);
	if (!i)
		return;
	if (t->kind == TIMER_FLIP) {
		flip_due(fs, i, now);
		inode_put(fs, i);
		return;
	}
	int64_t again = commit_due(fs, i, t->kind, now);
	if (again)
		keeper_add(fs, t->kind, t->ino, again);
	inode_put(fs, i);
}

static void *keeper_main(void *userdata)
{
	struct fusefs *fs = userdata;
	pthread_mutex_lock(&fs->lock);
	while (!fs->keeper_stop) {
		int64_t now = monotonic_ns();
		if (fs->n_timers && (fs->settle_now || fs->timer[0].due_ns <= now)) {
			struct timer t = pop(fs);
			bool at_once = fs->settle_now;
			/* One round: what is put off again (a file still open) has had its turn. */
			if (at_once && --fs->settle_left == 0)
				fs->settle_now = false;
			fs->keeper_busy = true;
			pthread_mutex_unlock(&fs->lock);
			act(fs, &t, at_once);
			pthread_mutex_lock(&fs->lock);
			fs->keeper_busy = false;
			continue;
		}
		pthread_cond_broadcast(&fs->keeper_idle);
		if (!fs->n_timers) {
			pthread_cond_wait(&fs->keeper_wake, &fs->lock);
			continue;
		}
		int64_t due = fs->timer[0].due_ns;
		struct timespec ts = { .tv_sec = due / SECOND_NS, .tv_nsec = due % SECOND_NS };
		pthread_cond_timedwait(&fs->keeper_wake, &fs->lock, &ts);
	}
	pthread_mutex_unlock(&fs->lock);
	return NULL;
}

/* Rules that may have gone are no news, nor is memory: fs->lock held. */
static bool is_due_soon(const struct fusefs *fs)
{
	for (size_t k = 0; k < fs->n_timers; k++)
		if (fs->timer[k].kind != TIMER_RULES && fs->timer[k].kind != TIMER_TRIM)
			return true;
	return false;
}

int keeper_wait(struct fusefs *fs, bool settle, int64_t until_ns)
{
	struct timespec ts = { .tv_sec = until_ns / SECOND_NS, .tv_nsec = until_ns % SECOND_NS };
	int r = 0;
	pthread_mutex_lock(&fs->lock);
	if (settle && fs->n_timers) {
		fs->settle_now = true;
		fs->settle_left = fs->n_timers;
		pthread_cond_signal(&fs->keeper_wake);
	}
	while (r == 0 && !fs->keeper_stop &&
	       (fs->keeper_busy || (settle ? fs->settle_now : is_due_soon(fs))))
		r = -pthread_cond_timedwait(&fs->keeper_idle, &fs->lock, &ts);
	pthread_mutex_unlock(&fs->lock);
	return r;
}

int keeper_start(struct fusefs *fs)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	fs->keeper_stop = false;
	int r = -pthread_create(&fs->keeper, NULL, keeper_main, fs);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

void keeper_stop(struct fusefs *fs)
{
	pthread_mutex_lock(&fs->lock);
	fs->keeper_stop = true;
	pthread_cond_signal(&fs->keeper_wake);
	pthread_mutex_unlock(&fs->lock);
	pthread_join(fs->keeper, NULL);
}
