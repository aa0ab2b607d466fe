/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which nodes were changed together. A batch is a commit of `shoal txn`: its dot, and all nodes that
 * it changed. A bundle is what a peer has to take in at once: some nodes, and the batches because of
 * which they belong together. shoal-protocol(7), "Batches", has the rules and the encoding. */

#include "engine/vv.h"

struct batch_node {
	struct id id, scope;
};

struct batch {
	struct dot dot;
	const uint32_t *member; /* places in the bundle's list, ascending */
	uint32_t n;
};

struct bundle {
	const struct batch_node *member; /* by id; all of its batches, and directories that come along */
	uint32_t n_members;
	uint32_t n_deltas;           /* that belong to it: at least two, of different members */
	const struct batch *batch;
	uint32_t n_batches;
};

/* What a bundle may have. Whoever makes one stays below, and sends what is beyond without one. */
#define BUNDLE_MEMBERS_MAX 16384
#define BUNDLE_BATCHES_MAX 65536
#define BUNDLE_HEAD_MAX (4u * 1024 * 1024) /* bytes encoded */
#define BUNDLE_RECORDS_MAX (32u * 1024 * 1024) /* bytes of its records as stored by the sender */
#define BUNDLE_SIZE_MAX (96u * 1024 * 1024)    /* bytes of its deltas */

/* The place of a node in the list; UINT32_MAX: it is not there. */
uint32_t bundle_find(const struct bundle *g, const struct id *id);

/* The form on a link. -EBADMSG, -ENOMEM; what it has is in the arena. */
void bundle_encode(const struct bundle *g, struct actor_codec *c, struct buf *b);
int bundle_decode(struct arena *a, struct actor_codec *c, struct cursor *cur, struct bundle *ret);

/* The members of one batch as they are stored (format version first). -EBADMSG, -EPROTONOSUPPORT. */
void members_encode(const struct batch_node *m, uint32_t n, struct buf *b);
int members_decode(struct arena *a, const void *data, size_t len, struct batch_node **ret, uint32_t *ret_n);
