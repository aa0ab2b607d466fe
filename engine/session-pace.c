/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session and how fast its link is (engine/pace.h): PING, PONG and PACE. */
#include <errno.h>

#include "engine/session-impl.h"

void session_pace(struct session *s, uint64_t rate, bool slow)
{
	pace_begin(&s->pace, rate, slow);
	s->pace_out = s->pace.slow;
}

int session_put_ping(struct session *s, struct buf *out, uint64_t now)
{
	/* Only the oldest one without an answer says whether the peer lives. */
	if (!s->ping_out)
		s->last_ping = now;
	s->ping_due = false;
	s->ping_out = true;
	pace_ping(&s->pace, ++s->ping_value, now);
	buf_reset(&s->payload);
	buf_varint(&s->payload, s->ping_value);
	return frame_put(out, FRAME_PING, &s->payload);
}

int session_get_pong(struct session *s, struct cursor *c, uint64_t now, struct err *e)
{
	uint64_t v = cursor_varint(c);
	if (!cursor_end(c) || !s->ping_out || v > s->ping_value)
		return err_set(e, -EPROTO, "the peer sent a malformed PONG frame");
	s->pace_out |= pace_pong(&s->pace, v, now, &s->rtt);
	s->ping_out = v < s->ping_value;
	return 0;
}

int session_put_pace(struct session *s, struct buf *out)
{
	if (!s->pace_out)
		return 0;
	s->pace_out = false;
	buf_reset(&s->payload);
	buf_varint(&s->payload, s->pace.rate);
	buf_u8(&s->payload, s->pace.slow);
	return frame_put(out, FRAME_PACE, &s->payload);
}

int session_get_pace(struct session *s, struct cursor *c, struct err *e)
{
	uint64_t rate = cursor_varint(c);
	uint8_t slow = cursor_u8(c);
	if (!cursor_end(c) || slow > 1 || rate == 0)
		return err_set(e, -EPROTO, "the peer sent a malformed PACE frame");
	s->peer_rate = rate;
	s->peer_slow = slow;
	intake_pace(s->intake, slow);
	return 0;
}
