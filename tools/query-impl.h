/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of `query` share.
 *
 * query.c       the threads, and how their lines get to clients
 * query-live.c  queries that are followed */

#include <pthread.h>
#include <stdatomic.h>
#include <systemd/sd-event.h>

#include "engine/query.h"
#include "tools/daemon.h"

#define LINE_SIZE (48u * 1024)     /* rows are gathered up to that */
#define ROW_MAX (6u * 1024 * 1024) /* below CTL_PILE_MAX */

struct live;

struct asking {
	struct daemon *d;
	struct asking *next;
	struct call *call; /* the loop's; NULL: the client left */
	int fd;
	sd_event_source *source;
	pthread_t thread;
	struct arena arena;
	struct query query;
	struct live *live; /* NULL: it is answered once */
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

uint64_t asking_clock_us(void);
/* The rest for the query's thread. */
void asking_begin(struct asking *q); /* the time that it may take begins */
int asking_check(void *q);           /* -ECANCELED, -ETIMEDOUT */
/* Takes the line, one JSON text; waits while many are there. */
int asking_hand_over(struct asking *q, struct buf *line);
int asking_columns(const struct query_column *c, unsigned n, void *q);
void asking_put_value(struct buf *b, const struct query_value *v);
/* A row as a list. -EFBIG. */
int asking_put_row(struct asking *q, const struct query_value *v, unsigned n, struct buf *b);

/* query-live.c. The loop's: begins to listen to changes, and ends that. */
int live_new(struct asking *q, const struct json *params, struct err *e);
void live_stop(struct asking *q);
void live_free(struct live *x); /* NULL is fine */
/* What is shown here may be other collections: so often did that change (replica_interest_changes). */
void live_look(struct asking *q, unsigned changes);
/* The thread's. */
int live_run(struct asking *q, struct err *e);
