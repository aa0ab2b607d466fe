/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/workfile-ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct workfile_ahead {
	struct ahead *stored;
	int fd;
	uint64_t size; /* of what is given to be stored; the owner's, or while it is being stored */
	bool used; /* what it says of the end holds as well */
	pthread_mutex_t lock; /* all below */
	pthread_cond_t idle;
	bool storing, wanted;
	bool dropped; /* the file has changed since, or is gone */
};

int workfile_ahead_new(struct replica *r, int from, struct workfile_ahead **ret)
{
	struct workfile_ahead *a = calloc(1, sizeof(*a));
	int fd = a ? fcntl(from, F_DUPFD_CLOEXEC, 0) : -1;
	int rc = !a ? -ENOMEM : fd < 0 ? -errno : ahead_new(r, fd, &a->stored, NULL);
	if (rc < 0) {
		if (fd >= 0)
			close(fd);
		free(a);
		return rc;
	}
	a->fd = fd;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->idle, NULL);
	*ret = a;
	return 0;
}

static void end(struct workfile_ahead *a)
{
	ahead_free(a->stored);
	close(a->fd);
	pthread_cond_destroy(&a->idle);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void workfile_ahead_drop(struct workfile_ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->dropped = true;
	bool storing = a->storing; /* whoever does frees it */
	pthread_mutex_unlock(&a->lock);
	if (!storing)
		end(a);
}

bool workfile_ahead_used(const struct workfile_ahead *a)
{
	return a->used;
}

bool workfile_ahead_needs(const struct workfile_ahead *a, uint64_t offset)
{
	return a->used || offset < a->size;
}

struct blob_writer *workfile_ahead_use(struct workfile_ahead *a)
{
	pthread_mutex_lock(&a->lock);
	a->wanted = true;
	while (a->storing)
		pthread_cond_wait(&a->idle, &a->lock);
	a->wanted = false;
	pthread_mutex_unlock(&a->lock);
	a->used = true;
	return ahead_writer(a->stored);
}

int workfile_ahead_start(struct workfile_ahead *a, uint64_t size, uint64_t least)
{
	if (a->used || size - a->size < least)
		return -EALREADY;
	pthread_mutex_lock(&a->lock);
	const bool storing = a->storing;
	a->storing = true;
	pthread_mutex_unlock(&a->lock);
	if (storing)
		return -EALREADY;
	a->size = size;
	return 0;
}

static bool is_wanted(struct workfile_ahead *a)
{
	pthread_mutex_lock(&a->lock);
	bool yes = a->wanted || a->dropped;
	pthread_mutex_unlock(&a->lock);
	return yes;
}

void workfile_ahead_store(struct workfile_ahead *a)
{
	struct err e = { 0 };
	/* If it cannot be, the save says so. */
	while (!is_wanted(a) && ahead_store(a->stored, a->size, &e) > 0)
		;
}

void workfile_ahead_end(struct workfile_ahead *a)
{
	pthread_mutex_lock(&a->lock);
	a->storing = false;
	const bool dropped = a->dropped;
	pthread_cond_broadcast(&a->idle);
	pthread_mutex_unlock(&a->lock);
	if (dropped)
		end(a);
}
