/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/turn.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#define QUICK_WRITE (64u * 1024)

void turns_init(struct turns *t)
{
	*t = (struct turns){ 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wanted, NULL);
}

void turns_done(struct turns *t)
{
	pthread_cond_destroy(&t->wanted);
	pthread_mutex_destroy(&t->lock);
}

bool turn_take(struct turns *t)
{
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

/* No work for the store, so far as that can be seen from here. */
static bool is_quick(const struct fuse_in_header *in, size_t len)
{
	if (len < sizeof(*in))
		return false;
	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_READ: /* of what is in memory; else the turn is passed on */
	case FUSE_GETATTR:
	case FUSE_RELEASE:
	case FUSE_OPENDIR:
	case FUSE_RELEASEDIR:
		return true;
	case FUSE_OPEN: {
		const struct fuse_open_in *open = (const void *)(in + 1);
		return len >= sizeof(*in) + sizeof(*open) &&
		       (open->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
	}
	case FUSE_WRITE:
		return len < QUICK_WRITE;
	case FUSE_GETXATTR: {
		/* Of security.capability before a write; there are none. */
		static const char security[] = "security.";
		const char *name = (const char *)(in + 1) + sizeof(struct fuse_getxattr_in);
		return len > sizeof(*in) + sizeof(struct fuse_getxattr_in) + sizeof(security) &&
		       memcmp(name, security, sizeof(security) - 1) == 0;
	}
	default:
		return false;
	}
}

/* Not with the lock held: whoever wakes would have to wait for that first. */
static void unlock_and_wake(struct turns *t, bool somebody)
{
	pthread_mutex_unlock(&t->lock);
	if (somebody)
		pthread_cond_signal(&t->wanted);
}

void turn_give(struct turns *t, const void *request, size_t len)
{
	bool quick = request && is_quick(request, len);
	pthread_mutex_lock(&t->lock);
	t->taken = false;
	unlock_and_wake(t, !quick && t->aside);
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
	pthread_mutex_unlock(&t->lock);
}
