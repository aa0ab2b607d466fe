/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of an intake, for intake*.c. */

#include "engine/intake.h"
#include "engine/spans.h"

#define BUCKETS 1024
#define WANTS_TOTAL 8192 /* hashes remembered; above it arrivals queue in `later` */
#define WAIT_HASHES 256  /* of one arrival at a time */
#define BURST_MAX 64u    /* deltas that are joined in one commit: others wait for it */
#define BURST_BYTES (128u << 10)

enum wait { WAIT_TURN, WAIT_CHUNKS, WAIT_RECORD, WAIT_LATER, WAIT_OTHERS };

struct round {
	uint64_t no;
	struct id scope;
	struct vv upto;
	bool asked;     /* the claim is to tell who was first */
	struct vv news; /* of upto, what the peer told with this round */
	uint64_t announced, received;
	uint64_t waiting; /* arrivals */
	bool ended;
	/* Places (intake-marks.c). */
	bool counts;           /* a mark is to be reached */
	struct dot mark, last; /* that one, and the newest */
	uint64_t before;       /* arrivals that wait and came before it */
	uint32_t marks;        /* so many were counted */
	uint32_t in_row;       /* marks since the last delta, or since it was raised */
	uint64_t bytes;        /* of deltas that came */
	uint64_t reach_bytes;  /* … before the spans that are to be reached were copied, and one; 0: they were not yet */
	/* Newest first: places are spans, of which the newest ones and those to be reached. */
	bool turned;
	struct spans spans, reach;
	struct spans resumed;  /* of an earlier session, until it turns */
	uint32_t moves, reach_moves; /* how often they moved */
	bool part;
};

struct arrival {
	struct arena arena;
	struct buf bytes; /* what delta refers to */
	struct delta *delta;
	uint64_t cost, record_cost; /* credit held in the streams */
	struct round *round;
	uint32_t marks;       /* of the round when it came */
	enum wait wait;
	uint32_t missing;      /* WAIT_CHUNKS */
	bool record;           /* holds the whole record already */
	bool nowhere;          /* the peer does not have all of its chunks */
	struct missing_place place; /* of the search for chunks */
	struct waiter *waiter; /* WAIT_CHUNKS: one for each hash */
	struct arrival *next;  /* in the lane */
	struct arrival *queue; /* in `later`, `record` or `ready` */
	struct parcel *parcel; /* NULL: it came alone */
	struct arrival *mate;  /* the next one of the parcel */
};

/* A bundle that comes in, or waits. */
struct parcel {
	struct arena arena;
	struct buf head;       /* encoded bundle; what bundle has is in the arena */
	struct bundle bundle;
	bool decoded;
	bool *here;            /* by member: its delta came */
	uint32_t received;
	uint32_t waiting;      /* arrivals that wait for something but the others */
	uint64_t bytes;
	struct arrival *first, *last;
};

struct lane {
	struct id node;
	struct arrival *first, *last;
	struct lane *next;
};

struct waiter {
	struct arrival *arrival;
	struct waiter *next;
};

struct want {
	struct sha256 hash;
	bool asked;
	struct waiter *waiter;
	struct want *next;          /* in the bucket */
	struct want *newer, *older; /* not asked: in the queue */
};

struct queue {
	struct arrival *first, *last;
};

struct intake {
	struct replica *replica;
	struct actor_id from;
	struct actor_codec *delta_actors, *record_actors; /* tables of the peer's streams */
	uint64_t window;
	struct arena scratch;
	struct arrival *spare; /* some, linked by next */
	uint32_t n_spare;
	struct round **round;
	uint32_t n_rounds, cap_rounds;
	struct round *open;
	uint64_t last_round;
	struct claim *claim;
	uint32_t n_claims, cap_claims;
	struct lane *lane[BUCKETS];
	struct want *want[BUCKETS];
	struct want *ask_first, *ask_last;
	uint32_t n_wants, n_asked;
	uint32_t asks_max;
	bool sparing; /* no contents */
	struct queue later, records, ready;
	bool record_asked;     /* the first of records */
	struct arrival *piece; /* delta not yet complete */
	struct arrival *burst[BURST_MAX]; /* in lanes, to be joined together */
	uint32_t n_burst;
	size_t burst_bytes;
	struct parcel *parcel; /* bundle not yet complete */
	struct buf record;     /* record not yet complete */
	uint64_t record_cost;
	uint64_t waiting_bytes, waiting;
	uint64_t credit[STREAMS];
	uint64_t deltas;
};

static inline void queue_push(struct queue *q, struct arrival *a)
{
	a->queue = NULL;
	if (q->last)
		q->last->queue = a;
	else
		q->first = a;
	q->last = a;
}

static inline struct arrival *queue_pop(struct queue *q)
{
	struct arrival *a = q->first;
	if (a) {
		q->first = a->queue;
		if (!q->first)
			q->last = NULL;
	}
	return a;
}

/* An arrival of the round does not wait any more. */
void intake_mark_left(struct round *round, const struct arrival *a);
/* Notes the marks that are reached. */
int intake_marks_run(struct intake *in, struct err *e);
/* What of upto the peer has not told before, as base says; NULL: nobody asks. -ENOMEM, and so is the next one. */
int intake_news_note(struct round *round, const struct vv *base);
/* What does the round bring first, and what of its news is here already? Before it is claimed. */
int intake_news_divide(struct intake *in, const struct round *round, struct vv *fresh, struct vv *late);
/* intake-rounds.c */
void intake_round_free(struct round *round);
/* Claims what is complete: the rounds of one scope in their order. Errors as those of intake_delta. */
int intake_claim_rounds(struct intake *in, struct err *e);
/* Whoever waits for the hash; it is asked for when nobody did before. */
int intake_want_add(struct intake *in, const struct sha256 *hash, struct waiter *waiter);
/* intake-burst.c. Can it be joined together with others? Only one that is the first of its lane is added. */
bool intake_burst_takes(const struct arrival *a);
int intake_burst_add(struct intake *in, struct arrival *a, struct err *e);
/* It is joined: the next one of its lane is ready, and its memory and credit are given back. */
void intake_leave(struct intake *in, struct arrival *a);
/* The first of a lane is not waiting any more: goes on with it and those behind. */
int intake_lane_run(struct intake *in, const struct id *node, struct err *e);
/* No deltas are going to come soon. */
void intake_spare_less(struct intake *in);
/* Goes on with what became ready, and with what is left over when few hashes are waited for. */
int intake_run_ready(struct intake *in, struct err *e);
