/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a peer lacks of a scope, as deltas (replica-backlog.c). */

#include "engine/replica.h"

/* Walks, in the view, the nodes of a scope that a peer with vector `known` lacks: each once. */
struct backlog;
int backlog_new(struct replica *r, struct view *view, const struct id *scope, const struct vv *known,
		struct backlog **ret);
void backlog_free(struct backlog *b);
/* The next delta, made in the arena; *ret NULL at the end. */
int backlog_next(struct backlog *b, struct arena *a, struct delta **ret, struct err *e);
/* Nodes of a batch have to be taken in at once, those of other scopes too: what the peer holds of these
 * (borrowed until the next call; NULL: it does not keep them, so nothing of them goes there). Without it the peer
 * is taken to hold nothing there. */
void backlog_others(struct backlog *b, const struct vv *(*known)(const struct id *scope, void *userdata),
		    void *userdata);
/* Leaves out what a walk of an earlier view of this store has been through, when it stands in `reached`;
 * before the first delta. -ENOMEM. */
int backlog_skip(struct backlog *b, const struct vv *reached);
/* Finds what is in upto, which the view covers; without it all that the view has. The same way. */
int backlog_limit(struct backlog *b, const struct vv *upto);
/* How far it is, between two deltas: all that is found under the actors before *ret_actor, in the order of
 * identifiers, and under that one up to *ret_seq, was given. False: that is not to be said now. */
bool backlog_place(const struct backlog *b, uint32_t *ret_actor, uint64_t *ret_seq);
/* The bundle that the last delta begins, else NULL; borrowed until the next backlog_next(). */
const struct bundle *backlog_bundle(const struct backlog *b);
/* The next delta is of the same bundle. */
bool backlog_inside(const struct backlog *b);
/* Newest first (replica-recent.c), between two deltas. From here on what is left goes from the newest to the
 * oldest. spans (NULL: none): what walks of earlier sessions that did so have been through; no higher than the view. */
struct spans;
int backlog_turn(struct backlog *b, const struct spans *spans);
bool backlog_turned(const struct backlog *b);
/* What it met last is of what came in since it began, and goes before what has waited. */
bool backlog_ahead(const struct backlog *b);
/* Of that there is more, as far as is known. */
bool backlog_raised(const struct backlog *b);
/* What has waited has its turn, or (as it begins) not. */
void backlog_back(struct backlog *b, bool back);
/* Goes on in a newer view: what upto has beyond where the walk went up to comes next. Of each actor upto is all that the
 * view has, or no more than the peer holds and the walk was to bring (shoal-protocol(7), Newest first). heard: what the
 * peer has told that it holds. 1: so it is; 0: there is nothing, or this is no moment for it; -ENOMEM. */
int backlog_raise(struct backlog *b, struct view *view, const struct vv *upto, const struct vv *heard);
/* The next place to be told, of a walk that has turned: all under that actor beyond the number was given. now: tell how
 * far it is now; else only what has to be told before it goes on. */
bool backlog_mark(struct backlog *b, bool now, struct dot *ret);
/* It is between two nodes, and nothing goes ahead of one. */
bool backlog_between(const struct backlog *b);
const struct vv *backlog_known(const struct backlog *b); /* for which it is; borrowed */
/* Nodes left, an estimate for progress. */
uint64_t backlog_left(const struct backlog *b);
/* The same before it is walked, without the numbers that were given to nodes of other scopes before the first of this
 * one: a new collection of an old device has many. */
int backlog_count(struct backlog *b, uint64_t *ret);

DEFINE_CLEANUP(struct backlog *, backlog_free)
