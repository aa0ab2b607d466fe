/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Replicas on memory stores with a pretended clock, and two of them joined by sessions without a
 * network, for tests and benchmarks of sync. What fails ends the test. */

#include "engine/replica.h"
#include "engine/session.h"
#include "tests/prng.h"

struct node {
	struct id id;
	struct store *store;
	struct replica *replica;
	struct prng random;
	uint64_t now; /* microseconds since 1970, given out by the clock */
	uint8_t fence[16];
};

/* A replica in memory, or in the directory path. */
void node_open(struct node *n, uint8_t no, const char *path);
/* The same in memory, of the device with that id. */
void node_open_as(struct node *n, const struct id *id);
void node_close(struct node *n);
/* Its power fails: what was not flushed is lost but for the first `keep` commits (memory only). */
void node_crash(struct node *n, uint64_t keep);
/* What is in its store now, in another one in memory. */
struct store *node_copy(const struct node *n);
/* The node goes on with that store, which is copied, as if it had always had it. */
void node_bring_back(struct node *n, struct store *copy);
/* A copy of `of` that runs beside it and knows that it is one. */
void node_clone(struct node *n, const struct node *of);
/* Creates or overwrites a file in a top-level directory that is made on the way. */
void node_write(struct node *n, const char *dir, const char *name, const void *data, size_t len);
/* The whole content as text, to be freed; NULL when there is none. */
char *node_read(struct node *n, const char *dir, const char *name);
void node_flush(struct node *n, struct session *s);

struct pair {
	struct node *node[2];
	struct session *session[2];
	uint64_t bytes[2];   /* sent by each */
	struct buf *said[2]; /* where to keep what each sends; may be NULL */
	uint64_t now;
	bool failed;
	struct err e; /* why */
};

void pair_open(struct pair *p, struct node *a, struct node *b);
void pair_close(struct pair *p);
/* Carries bytes and flushes until nothing moves any more. */
void pair_run(struct pair *p);
/* One turn: each side's output to the other. True when a byte moved. */
bool pair_turn(struct pair *p, size_t max);
/* Carries what both have said by then to the other one at the same time, flushes, and so on until both are in step: how
 * many delays of a link, one way, that takes. most: it took as many, or failed. */
unsigned pair_delays(struct pair *p, unsigned most);
/* One turn over a link that takes so long for a byte; what comes is durable at once. look (may be NULL) sees what is
 * sent. Failure ends the test. True when something moved. */
bool pair_crawl(struct pair *p, size_t max, unsigned byte_us, void (*look)(const struct buf *out));
/* Both sides know the link to be slow, of that many bits a second, or to be fast. */
void pair_pace(struct pair *p, uint64_t rate, bool slow);
/* One session; true if it went well. */
bool pair_meet(struct node *x, struct node *y);
