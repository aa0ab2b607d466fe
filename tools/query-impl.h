/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Answers that come from threads of their own.
 *
 * query.c       the threads, and how their lines get to clients; queries
 * query-live.c  queries that are followed
 * feed-where.c  watches that look into documents */

#include <pthread.h>
#include <stdatomic.h>
#include <systemd/sd-event.h>

#include "engine/query.h"
#include "tools/daemon.h"

#define LINE_SIZE (48u * 1024)     /* rows are gathered up to that */
#define ROW_MAX (6u * 1024 * 1024) /* below CTL_PILE_MAX */

struct live;
struct sieve;
struct asking;

struct asking_kind {
	const char *name; /* of the thread, for ps -L */
	bool lasting;     /* it goes on until somebody ends it */
	int (*run)(struct asking *q, struct err *e); /* in the thread */
	/* NULL: nothing. The loop's, when the thread has ended: nothing calls it from outside any more. */
	void (*stop)(struct asking *q);
	void (*free)(struct asking *q);
	/* What is shown here may be other collections: so often did that change (replica_interest_changes). */
	void (*look)(struct asking *q, unsigned changes);
};

struct asking {
	const struct asking_kind *kind;
	struct daemon *d;
	struct asking *next;
	struct call *call; /* the loop's; NULL: the client left */
	int fd;
	sd_event_source *source;
	pthread_t thread;
	struct arena arena;
	struct query query;
	struct live *live;   /* of its kind */
	struct sieve *sieve; /* of its kind */
	uint64_t time_us;  /* it may take; 0: any */
	uint64_t since_us, waited_us; /* the thread's: when it began, and how long it waited for the client */
	struct buf rows;   /* the thread's: the line that is being made */
	uint64_t line_us, n_rows;
	atomic_bool cancelled;
	pthread_mutex_t lock;
	pthread_cond_t taken; /* by CLOCK_MONOTONIC; the thread waits there, for whatever */
	struct buf lines;  /* lock: JSON texts, each ended by a newline */
	bool behind;       /* lock: the client has not read all that was told */
	bool done;         /* lock; the rest is final then */
	int code;
	struct err e;      /* the thread's, until then: why, where that is better known than by the code */
};

/* The loop's. -EBUSY: too many. */
int asking_new(struct daemon *d, struct call *call, const struct asking_kind *kind, struct asking **ret, struct err *e);
/* Begins the thread, or answers with the error if r says that there is one. */
void asking_start(struct asking *q, int r, struct err *e);

uint64_t asking_clock_us(void);
/* The rest for the thread. */
void asking_begin(struct asking *q); /* the time that it may take begins */
int asking_check(void *q);           /* -ECANCELED, -ETIMEDOUT */
/* Takes the line, one JSON text; waits while many are there. */
int asking_hand_over(struct asking *q, struct buf *line);
/* The line is rows, an object with an unended list, or nothing yet: ends it. */
int asking_end_list(struct asking *q);
int asking_columns(const struct query_column *c, unsigned n, void *q);
void asking_put_value(struct buf *b, const struct query_value *v);
/* A row as a list. -EFBIG. */
int asking_put_row(struct asking *q, const struct query_value *v, unsigned n, struct buf *b);

/* query-live.c */
extern const struct asking_kind live_kind;
/* The loop's: begins to listen to changes. */
int live_new(struct asking *q, const struct json *params, struct err *e);
