/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a peer says, frame by frame, for tests in which it says what no session would. */

#include <string.h>

#include "engine/frame.h"
#include "tests/pair.h"

/* An id, and an actor as a table of them takes it in. */
#define SCOPE16 "ABCDEFGHIJKLMNOP"
#define ACTOR20 "abcdefghijklmnopqrst"

/* Only word of an actor, a round with something of it; at once; only word again. */
#define WISHES "\x23\x27\0" SCOPE16 "\0" ACTOR20 "\0\x04\x06\0\0\1\0\5\0\x06\0\x23\x3\0\0\1\x23\x3\0\0\0"

_unused_ static void put_frame(struct buf *b, enum frame_type t, const void *data, size_t len)
{
	buf_u8(b, (uint8_t)t);
	buf_varint(b, len);
	buf_put(b, data, len);
}

_unused_ static void put_hello(struct buf *b, struct node *self, uint64_t version, uint64_t oldest)
{
	struct hello h = { .version = version, .oldest = oldest, .window = SESSION_WINDOW };
	h.self.device = self->id;
	h.self.incarnation = 1;
	memset(&h.fingerprint, 0x77, sizeof(h.fingerprint));
	_cleanup_(buf_done) struct buf p = { 0 };
	hello_encode(&h, &p);
	put_frame(b, FRAME_HELLO, p.data, p.len);
}

/* Of no batches, and everything is subscribed. */
_unused_ static void put_greeting(struct buf *b, struct node *self)
{
	put_hello(b, self, 1, 1);
	put_frame(b, FRAME_WITNESS, "\0", 2);
	put_frame(b, FRAME_INTEREST, "\0\1", 2);
}

/* What a peer says first: it holds batches of that actor, the last of them with a tag. */
_unused_ static void put_witness(struct buf *b, uint64_t held, uint64_t seq, uint32_t tag)
{
	_cleanup_(buf_done) struct buf p = { 0 };
	const struct witness w = { seq, tag };
	frame_witness_put(&p, held, &w, seq > 0);
	put_frame(b, FRAME_WITNESS, p.data, p.len);
}
