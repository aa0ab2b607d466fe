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
/* Nodes left, an estimate for progress. */
uint64_t backlog_left(const struct backlog *b);

DEFINE_CLEANUP(struct backlog *, backlog_free)
