/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session, packed: frames that go out together are made small together (engine/pack.h), PACK. */
#include <assert.h>
#include <errno.h>

#include "engine/session-part.h"

#define SLICE 65536u /* bytes of frames in one PACK, until the frame that ends it */
#define LEAST 256u      /* that a stream is begun for, which takes memory and time at either side, … */
#define LEAST_ALONE 512u  /* … if it is all of one … */
#define MANY 1000u      /* nodes in a round that a stream is made small thoroughly for */
#define LEAST_SLICE 64u /* … and that go on with it */

/* What is in a frame of that type is small already, or has to be as large as it is. */
static bool is_plain(enum frame_type t)
{
	return t == FRAME_CHUNK || t == FRAME_FOUND || t == FRAME_PACE;
}

/* More is on its way, and will come soon. */
static bool goes_on(const struct session *s)
{
	return session_rounds_open(s) || session_part_sends(s) || s->record.busy || s->whole_due || s->delta.busy;
}

/* Appends frames to out, as they are or packed. */
static int put_slice(struct session *s, const uint8_t *frames, size_t len, bool last, struct buf *out)
{
	if (len < LEAST_SLICE && !(s->packer.ctx && last)) {
		buf_put(out, frames, len);
		return buf_failed(out) ? -ENOMEM : 0;
	}
	buf_reset(&s->payload);
	buf_u8(&s->payload, last ? 0 : FRAME_MORE);
	int r = pack(&s->packer, frames, len, last, &s->payload);
	return r < 0 ? r : frame_put(out, FRAME_PACK, &s->payload);
}

/* The frames that one PACK takes; *ret_plain: it is one that is not packed. */
static size_t next_slice(const struct session *s, const struct buf *frames, size_t from, bool *ret_plain)
{
	size_t at = from;
	*ret_plain = false;
	while (at < frames->len && at - from < SLICE) {
		enum frame_type t;
		size_t head, len;
		int r = frame_head(frames->data + at, frames->len - at, &t, &head, &len, NULL);
		assert(r == 1); /* they are ours */
		if (is_plain(t)) {
			*ret_plain = at == from;
			return at == from ? head + len : at - from;
		}
		at += head + len;
		/* An answer is to say how long what stands before it took. */
		if (t == FRAME_PING && (s->pace.slow || !s->pace.known))
			break;
	}
	return at - from;
}

int session_pack(struct session *s, struct buf *out, size_t from, uint64_t paced, bool more)
{
	if (!s->packer.ctx)
		s->packer.thorough = s->round_nodes >= MANY;
	const bool last = !more && !goes_on(s);
	const size_t plain = out->len - from;
	const size_t least = s->packer.ctx ? LEAST_SLICE : last && !s->pace.slow ? LEAST_ALONE : LEAST;
	if (!s->witness_in || s->unpacked || (plain < least && !(s->packer.ctx && last)))
		return 0;
	buf_reset(&s->unpacked_out);
	if (plain > 0)
		buf_put(&s->unpacked_out, out->data + from, plain);
	out->len = from;
	int r = buf_failed(&s->unpacked_out) ? -ENOMEM : 0;
	for (size_t at = 0, n; r == 0 && at < plain; at += n) {
		bool as_is;
		n = next_slice(s, &s->unpacked_out, at, &as_is);
		if (as_is)
			buf_put(out, s->unpacked_out.data + at, n);
		else
			r = put_slice(s, s->unpacked_out.data + at, n, last && at + n == plain, out);
	}
	/* There was none, or the last one was one of those that are not. */
	if (r == 0 && last && s->packer.ctx)
		r = put_slice(s, NULL, 0, true, out);
	if (!s->packer.ctx)
		buf_done(&s->unpacked_out);
	pace_packed(&s->pace, paced, plain, out->len - from);
	return r == 0 && buf_failed(out) ? -ENOMEM : r;
}

int session_unpack(struct session *s, struct cursor *c, struct err *e)
{
	uint8_t flags = cursor_u8(c);
	size_t len = cursor_left(c);
	const uint8_t *p = cursor_take(c, len);
	if (!cursor_end(c) || flags > FRAME_MORE || len == 0)
		return err_set(e, -EPROTO, "the peer sent a malformed PACK frame");
	buf_reset(&s->unpacked_in);
	int r = unpack(&s->unpacker, p, len, flags == 0, &s->unpacked_in, e);
	if (r == 0 && flags && s->unpacked_in.len == 0)
		r = err_set(e, -EPROTO, "the peer sent a PACK frame with nothing in it");
	return r;
}
