/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of a backlog, for replica-backlog.c and replica-recent.c. */

#include "engine/backlog.h"
#include "engine/replica-impl.h"
#include "engine/spans.h"

struct done {
	struct table_link link;
	struct id id;
};

#define RECENT_RING 64

struct spot { /* in the dot index, under one actor */
	uint64_t seq;
	struct id id;
};

/* What is left of a slab under one actor: numbers beyond bottom, up to and without `last`. */
struct head {
	uint32_t actor;
	uint64_t bottom;
	struct spot last;  /* where the walk is; all beyond it, up to the slab's high, is met */
	struct spot ring[RECENT_RING]; /* the next ones, ascending; the last one is next */
	uint32_t n;
	uint64_t width;    /* numbers looked through at a time */
	uint64_t told;     /* of MARK */
	uint64_t time;     /* of the next one; 0: not known */
	bool ended;
};

/* A piece of the walk from the newest to the oldest: what came in between two views. */
struct slab {
	struct view *view; /* in which it is walked; NULL: of an earlier session */
	struct vv low, high;
	struct head *head; /* by actor, once it is walked */
	uint32_t n_heads;
	bool walked;
	bool raised; /* it came in while the walk lasted */
	struct table done; /* as that of a backlog */
};

struct backlog {
	struct replica *r;
	struct view *view;
	struct id scope;
	struct vv known;
	struct vv skip; /* where the walk begins: known, and perhaps more */
	bool resumed;
	bool back;  /* what waits has its turn */
	bool ahead; /* the last one met was of what came in meanwhile */
	const struct vv *have; /* where it ends: the view's, or limit */
	struct vv limit;
	uint32_t *actor; /* to walk, by identifier */
	uint32_t n_actors, at;
	struct store_iter *it;
	uint64_t left;
	uint64_t last;      /* seq of the entry before */
	struct table done;  /* nodes that need not be sent again: directories, and of bundles */
	struct table alone; /* nodes that hang together with more than goes into a bundle */
	struct buf queue;   /* ids to send now, the last one first */
	known_fn others;    /* what the peer holds of other scopes; NULL: nothing */
	void *userdata;
	struct arena arena; /* of the bundle */
	struct bundle bundle;
	struct batch_node *wanted; /* its bundle.n_deltas nodes */
	uint32_t sent;             /* so many of them are */
	/* Newest first (replica-recent.c). */
	bool turned;
	struct slab slab[SPANS_MAX]; /* the newest one last */
	uint32_t n_slabs;
	struct buf marks;          /* struct dot: to be told */
	struct vv wide;            /* known, and what was sent of the node that was looked at last */
	bool wider;                /* … if something was */
	struct head *visiting;     /* under which the last entry is */
	struct spot visit;
};

bool backlog_has(const struct table *t, const struct id *id);
int backlog_add(struct table *t, const struct id *id);

/* The next entry of a walk from the newest to the oldest; 0 at the end. */
int recent_next(struct backlog *b, uint32_t *ret_actor, uint64_t *ret_seq, struct id *ret);
/* What the peer will have of the node by all that was sent: b->known, or b->wide. queued: it is to be sent, whatever
 * the newest slab says. */
int recent_known(struct backlog *b, const struct stored *now, bool queued, const struct vv **ret);
/* The table of what need not be sent again of the newest view. */
struct table *recent_done(struct backlog *b);
void recent_free(struct backlog *b);
