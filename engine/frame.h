/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Frames and the pieces of their payloads: shoal-protocol(7), sections "Basic encoding" and
 * "Frames". One canonical encoding; decoders are strict, allocate nothing that a length in the
 * input chose before it was bounded, and answer -EPROTO with a message. */

#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/err.h"
#include "engine/id.h"
#include "engine/pack.h"
#include "engine/replica.h"
#include "engine/vv.h"

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_SCOPES,
	FRAME_VECTOR,
	FRAME_ROUND,
	FRAME_DELTA,
	FRAME_END,
	FRAME_ACK,
	FRAME_WHOLE,
	FRAME_WANT,
	FRAME_CHUNK,
	FRAME_CREDIT,
	FRAME_PING,
	FRAME_PONG,
	FRAME_RECORD,
	FRAME_BUNDLE,
	FRAME_WITNESS,
	FRAME_INTEREST,
	FRAME_COMPARE,
	FRAME_HOLD,
	FRAME_TAKE,
	FRAME_LEAVE,
	FRAME_PART,
	FRAME_HOLDS = 23,
	FRAME_HELD = 24,
	FRAME_MARK = 27,
	FRAME_RESUME,
	FRAME_PRESENCE = 29,
	FRAME_RAISE = 33,
	FRAME_PACE,
	FRAME_EAGER,
	FRAME_SEEK,
	FRAME_PACK,
	FRAME_FOUND,
	FRAME_TYPES
};

#define FRAME_HEAD_MAX 4      /* type and a length of three bytes */
#define FRAME_LARGE 328704    /* the largest payload: a chunk and its hash, or a vector */
#define FRAME_PIECE 65536     /* of a delta or record in one frame */
#define FRAME_PIECE_MIN 512   /* … that is not the last */
#define FRAME_MORE 1          /* flags: another piece follows */
#define FRAME_SCOPES_MAX 4096 /* entries in one SCOPES frame */
#define FRAME_LIST_MAX 393216 /* of a list of nodes of a part, or of a comparison */
#define FRAME_INTEREST_MAX 131072 /* bytes of one INTEREST frame */
#define FRAME_WANT_MAX 256    /* hashes in one WANT frame */
#define FRAME_HOLDS_MAX 64    /* contents in one HOLDS frame */
#define FRAME_PRESENCE_MAX 8192
#define FRAME_PACE_FILLER 4096
#define FRAME_EAGER_MAX 64 /* entries in one EAGER frame */
#define FRAME_SEEK_HEAD (8 + SHA256_SIZE) /* number and hash of SEEK and FOUND */
#define FRAME_PACK_MAX (1 + PACK_PLAIN_MAX + 4096) /* it may pack to more than it is */
#define FRAME_TAGS_MAX 1024 /* in one ROUND or WITNESS frame */
#define FRAME_SEQ_MAX (UINT64_C(1) << 62)

const char *frame_name(enum frame_type t);

/* Reads a frame's head. 1: *ret_type, *ret_head (its bytes) and *ret_len (the payload's) are set;
 * 0: more bytes are needed; -EPROTO: no such type, or a payload beyond the type's limit. */
int frame_head(const void *data, size_t len, enum frame_type *ret_type, size_t *ret_head,
	       size_t *ret_len, struct err *e);

/* Appends a frame. The payload must be within the type's limit: -E2BIG; -ENOMEM. */
int frame_put(struct buf *out, enum frame_type t, const struct buf *payload);
/* The same with a payload in two parts. */
int frame_put2(struct buf *out, enum frame_type t, const struct buf *first, const void *data,
	       size_t len);

struct hello {
	uint64_t version, oldest;
	uint64_t window;
	struct actor_id self;
	uint64_t acknowledged; /* of self's batches, by anybody */
	struct id fingerprint;
};

#define FRAME_WINDOW_MIN 65536u
#define FRAME_WINDOW_MAX (1u << 26)

void hello_encode(const struct hello *h, struct buf *b);
/* `speaks`: the highest version of this program; bytes left over are allowed above it. */
int hello_decode(struct cursor *c, uint64_t speaks, struct hello *ret, struct err *e);

/* A vector as what `now` has beyond `told` (now covers told). -ENOMEM. */
int frame_vector_put(struct buf *b, const struct vv *now, const struct vv *told,
		     struct actors *actors, struct actor_codec *codec);
/* Adds it to heard. -EPROTO, -ENOMEM. */
int frame_vector_get(struct cursor *c, struct vv *heard, struct actors *actors,
		     struct actor_codec *codec, struct err *e);

/* The tags of n batches that follow one another, at the end of ROUND. *ret is borrowed memory for
 * FRAME_TAGS_MAX of them. -EPROTO. */
void frame_tags_put(struct buf *b, const uint32_t *tag, uint32_t n);
int frame_tags_get(struct cursor *c, uint32_t *ret, uint32_t *ret_n, struct err *e);

/* WITNESS. ret has room for FRAME_TAGS_MAX. -EPROTO. */
void frame_witness_put(struct buf *b, uint64_t held, const struct witness *w, uint32_t n);
int frame_witness_get(struct cursor *c, uint64_t *ret_held, struct witness *ret, uint32_t *ret_n,
		      struct err *e);

/* Contents of a node that a peer is asked about. */
struct holding {
	struct id node;
	struct blob_ref ref;
};

/* HOLDS. ret has room for FRAME_HOLDS_MAX. -EPROTO. */
void frame_holds_put(struct buf *b, uint64_t number, const struct holding *h, uint32_t n);
int frame_holds_get(struct cursor *c, uint64_t *ret_number, struct holding *ret, uint32_t *ret_n,
		    struct err *e);

/* Number and hash, of SEEK behind links, of FOUND before the bytes. False: they are not there. */
void frame_seek_put(struct buf *b, uint64_t id, const struct sha256 *hash);
bool frame_seek_get(struct cursor *c, uint64_t *ret_id, struct sha256 *ret_hash);

/* The flags byte before a piece of a delta, and the piece behind it, which is borrowed. */
int frame_piece_get(struct cursor *c, bool *ret_more, const uint8_t **ret_data, size_t *ret_len,
		    struct err *e);
