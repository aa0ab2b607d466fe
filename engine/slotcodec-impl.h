/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the files of the codec of slots share: slotcodec.c has slots, slotcodec-front.c the batches and edges in front of
 * them. */

#include "engine/recent.h"
#include "engine/slotcodec.h"

struct encoder {
	struct batches batches;
	struct actors *actors;
	struct actor_codec *c;
	struct recent *recent; /* of c; NULL: the stored form */
	uint64_t made_us;      /* the record's latest visit; 0: it has none */
	struct buf *b;
	uint32_t last; /* the batch found last */
};

/* --- encoding --- */

static inline bool batch_is(const struct batch *b, const struct entry *e)
{
	return b->dot.seq == e->dot.seq && b->dot.actor == e->dot.actor && b->hlc == e->hlc;
}

int batch_cmp(const void *x, const void *y, void *actors);
/* Those of all entries, once each and sorted; and how they are written. */
void front_collect(struct encoder *d, const struct slot *top);
void front_put_batches(struct encoder *d);
void front_put_edges(struct encoder *d, const struct record *r);

/* --- decoding --- */

int slotcodec_bad(struct slotcodec *d, const char *why); /* -EBADMSG */
bool slotcodec_knows(const struct slotcodec *d, struct dot dot);
/* A vector that the context covers. */
int slotcodec_get_vv(struct slotcodec *d, const char *what, struct vv *ret);
