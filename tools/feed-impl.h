/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of `watch` share.
 *
 * feed.c        changes as JSON, and handing them to all
 * feed-where.c  to those who look into documents, each in a thread */

#include <sys/queue.h>

#include "tools/daemon.h"

#define QUEUE_MAX (16u * 1024 * 1024) /* bytes */
#define WATCH_PATHS_MAX 4096

struct item {
	STAILQ_ENTRY(item) link;
	struct id id; /* of the file that is meant */
	bool dir;
	char *path, *old_path; /* NULL: none */
	struct buf json;
};

/* A bounded queue of changes. */
struct items {
	STAILQ_HEAD(, item) list;
	size_t bytes;
	bool overflow; /* some are missing */
};

void item_free(struct item *i);
/* For an observer: puts them there, each as it is now, under the lock. */
void items_add(struct items *q, pthread_mutex_t *lock, struct daemon *d, const struct change *change, size_t n);
/* All that are there; under the lock. */
void items_take(struct items *q, struct items *ret);
void items_done(struct items *q);
void put_overflow(struct buf *b); /* the line about that */
/* Without any directory everything is. path NULL: it is not, but for that. */
bool is_below_any(const char *path, const char *const *dir, uint32_t n);

/* `watch` with an expression. */
void watch_where(struct daemon *d, struct call *call, const struct json *params);
