/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The receiving half of a session: rounds, and the deltas that wait for something. Deltas are
 * joined as they come, those of one node in their order; a delta that lacks chunks, or does not
 * fit, waits, and with it the later ones of its node and its round. What waits is bounded by the
 * credit that it holds. Rules: shoal-protocol(7), "Rounds" and "Credits". One thread. */

#include "engine/replica.h"
#include "engine/sha256.h"

enum stream { STREAM_DELTA, STREAM_RECORD, STREAM_CHUNK, STREAMS };

#define INTAKE_WANTS_MAX 1024 /* hashes asked for and not answered */
#define INTAKE_WANTS_FIRST 2  /* … while nobody knows how fast the link is */

struct intake;
struct spans;

/* from: the peer's store. window: credit that it has for each stream. strangers: how many actors it may
 * introduce that the replica does not know. Replica and strangers are borrowed. */
int intake_new(struct replica *r, const struct actor_id *from, uint64_t window,
	       struct actor_quota *strangers, struct intake **ret);
void intake_free(struct intake *in);

/* A round begins. upto is copied; count: nodes announced. base: what the peer had said before that it holds, for
 * the claim to tell what of the rest was news; NULL: nobody asks. resumed (taken over and emptied, may be NULL): what
 * was told of it in RESUME. */
int intake_round(struct intake *in, const struct id *scope, const struct vv *base, const struct vv *upto,
		 uint64_t count, struct spans *resumed, struct err *e);
/* A round of another scope may begin: none is open, or one that was raised, which is gone on with later. */
bool intake_can_open(const struct intake *in, const struct id *scope);
/* The round of the scope goes on, if it was left, and goes up to that (NULL: where it was), newest first from here on;
 * base as that of a round. First it is asked whether it can. -EPROTO, -ENOMEM. */
bool intake_can_raise(const struct intake *in, const struct id *scope);
int intake_raise(struct intake *in, const struct id *scope, const struct vv *base, const struct vv *upto,
		 struct err *e);
/* A piece of a delta of the open round; cost: credit that its frame took. -EPROTO and errors of the
 * store. */
int intake_delta(struct intake *in, bool more, const void *data, size_t len, uint64_t cost,
		 struct err *e);
/* Joins what has come and may still wait for more that could be joined with it: before anything but a delta or a place is taken,
 * and before the session is left. Errors as those of intake_delta. */
int intake_settle(struct intake *in, struct err *e);
/* A piece of what comes before the deltas of a bundle. */
int intake_bundle(struct intake *in, bool more, const void *data, size_t len, uint64_t cost,
		  struct err *e);
/* The peer has sent all that it finds before that place. -EPROTO, -ENOMEM. */
int intake_mark(struct intake *in, uint32_t actor, uint64_t seq, struct err *e);
/* A round of a part of a collection: no vector is claimed when it is complete. */
int intake_part(struct intake *in, const struct id *scope, uint64_t count, struct err *e);
int intake_end(struct intake *in, struct err *e);
/* A piece of the record that intake_whole asked for. */
int intake_record(struct intake *in, uint64_t round, const struct id *node, bool more,
		  const void *data, size_t len, uint64_t cost, struct err *e);
/* A chunk that intake_want asked for; len 0: the peer does not have it, and what waits for it is joined
 * without its contents. */
int intake_chunk(struct intake *in, const struct sha256 *hash, const void *data, size_t len,
		 uint64_t cost, struct err *e);

/* How fast the link is, is known. On a slow one nothing is asked for any more: deltas are joined without the
 * contents that are not here, and so are those that wait for contents now. Errors as those of intake_delta. */
int intake_pace(struct intake *in, bool slow, struct err *e);
/* The next hash to ask for. False: none now. */
bool intake_want(struct intake *in, struct sha256 *ret);
/* The next record to ask for. */
bool intake_whole(struct intake *in, uint64_t *ret_round, struct id *ret_node);
bool intake_asks(const struct intake *in); /* either would give something */

/* A claimed round: told to the peer once a view of at least `commits` shows it durable. */
struct claim {
	struct id scope;
	struct vv upto;
	uint64_t commits;
	bool part; /* it was a round of a part: upto is empty */
	struct vv fresh; /* what was not here when the round was complete */
	struct vv late;  /* what was, of that which the peer told of with this round and not before */
	bool seen; /* by who asked for these */
};
/* The oldest one that is not seen; NULL: all are. */
struct claim *intake_claim_unseen(struct intake *in);
/* A round on its way has that. */
bool intake_brings(const struct intake *in, const struct id *scope, struct dot d);
/* The oldest claim not yet dropped (i-th of intake_claims); borrowed. */
uint32_t intake_claims(const struct intake *in);
const struct claim *intake_claim(const struct intake *in, uint32_t i);
void intake_claim_drop(struct intake *in, uint32_t i);

/* Credit that can be given back; intake_credit_take makes it 0. */
uint64_t intake_credit(const struct intake *in, enum stream s);
void intake_credit_add(struct intake *in, enum stream s, uint64_t n); /* of what went elsewhere */
uint64_t intake_credit_take(struct intake *in, enum stream s);

uint32_t intake_rounds(const struct intake *in); /* not claimed yet */
bool intake_open(const struct intake *in);       /* a round or part is not ended */
/* What the i-th of them is going to claim; NULL: it is of a part. Borrowed, as is the scope. */
const struct vv *intake_upto(const struct intake *in, uint32_t i, const struct id **ret_scope);
bool intake_open(const struct intake *in);       /* between ROUND or PART and END */
bool intake_in_part(const struct intake *in);    /* … PART and END */
uint64_t intake_left(const struct intake *in);   /* nodes announced or waiting */
uint64_t intake_deltas(const struct intake *in); /* received so far */

DEFINE_CLEANUP(struct intake *, intake_free)
