/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/turn.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <time.h>

#define QUICK_WRITE (64u * 1024)

void turns_init(struct turns *t)
{
	pthread_condattr_t attr;
	*t = (struct turns){ 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wanted, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->look, &attr);
	pthread_condattr_destroy(&attr);
}

void turns_done(struct turns *t)
{
	turns_end(t);
	if (t->watched)
		pthread_join(t->watcher, NULL);
	pthread_cond_destroy(&t->look);
	pthread_cond_destroy(&t->wanted);
	pthread_mutex_destroy(&t->lock);
}

/* Not with the lock held: whoever wakes would have to wait for that first. */
static void unlock_and_wake(struct turns *t, bool somebody)
{
	pthread_mutex_unlock(&t->lock);
	if (somebody)
		pthread_cond_signal(&t->wanted);
}

/* lock held. */
static void wait_a_moment(struct turns *t)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += TURN_LOOK_NS;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	pthread_cond_timedwait(&t->look, &t->lock, &ts);
}

static void *watch(void *userdata)
{
	struct turns *t = userdata;
	uint64_t seen = 0;
	unsigned still = 0;
	pthread_mutex_lock(&t->lock);
	while (!t->over) {
		if (still >= TURN_REST) {
			atomic_store(&t->sleeps, true);
			/* Else it was begun before anybody could see that this thread sleeps. */
			if (atomic_load(&t->number) == seen)
				pthread_cond_wait(&t->look, &t->lock);
			atomic_store(&t->sleeps, false);
			still = 0;
		} else {
			wait_a_moment(t);
		}
		const uint64_t now = atomic_load(&t->number);
		still = now == seen ? still + 1 : 0;
		seen = now;
		if (now % 2 && still && !t->taken && t->aside) {
			unlock_and_wake(t, true);
			pthread_mutex_lock(&t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

void turns_watch(struct turns *t)
{
	t->watched = pthread_create(&t->watcher, NULL, watch, t) == 0;
}

bool turn_take(struct turns *t, uint64_t number)
{
	if (number)
		atomic_compare_exchange_strong(&t->number, &number, number + 1);
	pthread_mutex_lock(&t->lock);
	while (t->taken && !t->over) {
		t->aside++;
		pthread_cond_wait(&t->wanted, &t->lock);
		t->aside--;
	}
	bool yes = !t->over;
	t->taken |= yes;
	pthread_mutex_unlock(&t->lock);
	return yes;
}

/* How much work a request is, so far as that can be seen from it. */
enum work { WORK_LONG, WORK_SHORT, WORK_QUICK };

static enum work work_of(const struct fuse_in_header *in, size_t len)
{
	if (len < sizeof(*in))
		return WORK_LONG;
	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_READ: /* of what is in memory; else the turn is passed on */
	case FUSE_GETATTR:
	case FUSE_RELEASE:
	case FUSE_OPENDIR:
	case FUSE_RELEASEDIR:
		return WORK_QUICK;
	case FUSE_OPEN:
	case FUSE_LOOKUP:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_CREATE:
	case FUSE_FLUSH:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_READLINK:
	case FUSE_UNLINK:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_GETXATTR:
		return WORK_SHORT;
	case FUSE_SETATTR: {
		const struct fuse_setattr_in *set = (const void *)(in + 1);
		return len >= sizeof(*in) + sizeof(*set) && !(set->valid & FATTR_SIZE) ? WORK_SHORT
										       : WORK_LONG;
	}
	case FUSE_WRITE:
		return len < QUICK_WRITE ? WORK_SHORT : WORK_LONG;
	default:
		return WORK_LONG;
	}
}

/* Somebody looks how long it takes. */
static uint64_t begin(struct turns *t)
{
	const uint64_t number = (atomic_load(&t->number) | 1) + 2;
	atomic_store(&t->number, number);
	if (atomic_load(&t->sleeps)) {
		/* It does by now, or has seen the number. */
		pthread_mutex_lock(&t->lock);
		pthread_mutex_unlock(&t->lock);
		pthread_cond_signal(&t->look);
	}
	return number;
}

uint64_t turn_give(struct turns *t, const void *request, size_t len)
{
	const enum work work = request ? work_of(request, len) : WORK_LONG;
	const uint64_t number = work == WORK_SHORT ? begin(t) : 0;
	pthread_mutex_lock(&t->lock);
	t->taken = false;
	unlock_and_wake(t, work == WORK_LONG && t->aside);
	return number;
}

void turn_pass(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	unlock_and_wake(t, !t->taken && t->aside);
}

void turns_end(struct turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_cond_broadcast(&t->wanted);
	pthread_cond_broadcast(&t->look);
	pthread_mutex_unlock(&t->lock);
}
