/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the stored form of a record and the wire form of a delta have in common: edges, the
 * table of batches, and the tree of slots. shoal-format(7) has it byte by byte.
 *
 * In this order: batches, edges, the top slot.
 *
 * batches  varint count; each: actor, varint seq, then hlc against the one before (the first
 *          against 0): zigzag varint of the difference of the microseconds, varint counter.
 *          Sorted by (actor identifier, seq, hlc); each is used by an entry.
 * slot     u8 form: bits 0-1 val (0 none, 1 one entry, 2 several), bits 2-3 look (the same, and
 *          3: one entry, of the batch of the only entry of val), bit 4 removal marks, bit 5
 *          children, bit 6 (delta) complete. Then those present, in this order:
 *          val: [varint n >= 2], entries: varint batch, value
 *          look: [varint n >= 2], entries: [varint batch], look (engine/patch.h)
 *          marks: vector; children: varint count, each: varint length, key, slot. The key of an
 *          element that is a dot and an index: 1, u8 0xff, actor, varint seq, varint index
 *          look of an element (engine/element.h): u8: bit 0 on one line, bit 1 a place, bit 2 the
 *          place is of the entry's batch; unless it is: actor, varint seq; a place: varint index
 * value    u8: bits 0-3 kind (15: varint kind follows), bits 4-7 length (15: varint of the
 *          length less 15 follows), data
 * edges    if the number said of them is 7: u8, bits 0-3 how many there are, bits 4-7 visits
 * edge     parent, varint counter, actor, varint seq; unless that number is 7 the visit: varint of
 *          2 * z, z being the zigzag of its microseconds less those of the first batch (less 0 if there
 *          is none), plus 1 if its dot is not the edge's: then actor, varint seq; the name (varint
 *          length, bytes), or for TRASH the vector `seen`
 * visit    behind the edges, if that number is 7: parent, varint z, actor, varint seq. */

#include "engine/crdt.h"
#include "engine/cursor.h"

#define SLOTS_MAX (16u << 20) /* of one record */

/* The head of the stored form (engine/recordcodec.c). */
#define RECORD_FORMAT 1
#define RECORD_TOP 0x04
#define RECORD_FLOOR 0x40

/* A batch as entries refer to it. */
struct batch {
	struct dot dot;
	uint64_t hlc;
};

struct batches {
	struct batch *item; /* malloc when encoding, arena when decoding */
	bool *used;         /* decoding */
	uint32_t n;
	uint32_t cap;
};

/* The number that is said of the edges: EDGES_APART when not every edge comes with its directory's
 * visit, or there are more. */
#define EDGES_APART 7
unsigned slotcodec_edges(const struct record *r);

/* Encodes the batches of everything in top, the edges, and top (may be NULL; then no slot is
 * written). c: as in engine/actor.h. partial: slots' complete marks are written. Failures show
 * in b. */
void slotcodec_put(const struct record *r, struct actors *actors, struct actor_codec *c,
		   bool partial, struct buf *b);

struct slotcodec {
	struct arena *a;
	const struct actors *actors;
	struct actor_codec *codec; /* NULL: stored form */
	struct recent *recent;     /* of the codec */
	uint64_t made_us;          /* the record's latest visit; 0: it has none */
	struct cursor *cur;
	const struct vv *ctx; /* covers every dot that comes */
	struct batches batches;
	struct err *e;
	uint32_t slots;
	bool wire;     /* values are checked for what the JSON side relies on */
	bool partial;  /* slots may be marked complete */
};

/* Decodes the same into r, which has its context already. with_top: a slot is there. -EBADMSG,
 * -EPROTONOSUPPORT, -ENOMEM. */
int slotcodec_get(struct slotcodec *d, struct record *r, uint32_t n_edges, bool with_top);
/* Only what stands in front of the top slot. */
int slotcodec_get_edges(struct slotcodec *d, struct record *r, uint32_t n_edges);
