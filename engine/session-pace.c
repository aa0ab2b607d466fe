/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session and how fast its link is (engine/pace.h): PING, PONG and PACE. */
#include <errno.h>

#include "engine/session-impl.h"

#define PACE_EVERY_US (10ull * 1000 * 1000) /* between two verdicts that are told */
#define PACE_REFILL_US (5ull * 1000 * 1000) /* so often one of the peer's is looked at, … */
#define PACE_ROW 16                         /* … and so many in a row */
#define PACE_UNSAID 2                       /* instead of a verdict */
#define PROBE_US (30ull * 1000 * 1000)      /* of rest before a slow link is measured, twice as long each time … */
#define PROBE_MAX_US (3600ull * 1000 * 1000)
#define PROBE_FILLERS 4 /* at first, and twice as many each time that the link looks as if it were not slow … */
#define PROBE_STEPS 4   /* … so often */
#define CALM_US (60ull * 1000 * 1000)

void session_pace(struct session *s, uint64_t rate, bool slow)
{
	pace_begin(&s->pace, rate, slow);
	s->pace_out = rate > 0;
}

bool session_slow(const struct session *s, bool *ret)
{
	*ret = s->pace.slow || s->peer_slow;
	return *ret || (s->pace.known && s->peer_rate > 0);
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

static int put_pace(struct session *s, struct buf *out, uint8_t verdict, size_t zeros)
{
	static const uint8_t filler[FRAME_PACE_FILLER];
	buf_reset(&s->payload);
	buf_varint(&s->payload, s->pace.rate);
	buf_u8(&s->payload, verdict);
	return frame_put2(out, FRAME_PACE, &s->payload, filler, zeros);
}

int session_put_pace(struct session *s, struct buf *out, uint64_t now)
{
	bool slow = s->pace.slow;
	if (!s->pace_out || now < s->pace_at)
		return 0;
	s->pace_out = false;
	/* It was another one for a moment only: what was asked for since the last one is to come. */
	if (s->pace_told && s->pace_told_slow == slow)
		return 0;
	/* What was asked for before is not to come any more; the peer knows that by this frame. */
	if (slow)
		s->n_refused = s->n_wanted;
	if (slow && (s->probe_us == 0 || now - s->pace_told_at >= CALM_US))
		s->probe_us = PROBE_US;
	s->probe_at = 0;
	s->probe_step = 0;
	s->pace_told = true;
	s->pace_told_slow = slow;
	s->pace_told_at = now;
	s->pace_at = now + PACE_EVERY_US;
	return put_pace(s, out, slow, 0);
}

int session_put_filler(struct session *s, struct buf *out)
{
	if (s->pace.known || s->fillers == FILLERS)
		return 0;
	s->fillers++;
	int r = put_pace(s, out, PACE_UNSAID, FRAME_PACE_FILLER);
	return r < 0 ? r : 1;
}

/* Contents are missing at the peer and it does not ask for them because the link was slow; nothing else goes over
 * it from which to learn that it is not any more. */
static bool probes(const struct session *s)
{
	return s->pace.slow && s->holds.partial && !s->pace_out && s->pace.sent == s->pace.answered;
}

/* What was sent to measure it was carried as if it were not slow. */
static bool looks_fast(const struct session *s)
{
	uint64_t bytes = s->pace.answered - s->probe_from, rtt = s->pace.rtt_least;
	uint64_t took = s->pace.last_us - s->probe_began;
	return bytes * 8 * 1000000 / (took > rtt ? took - rtt : 1) >= PACE_FAST_BPS;
}

int session_put_probe(struct session *s, struct buf *out, uint64_t now)
{
	if (!probes(s))
		return 0;
	if (s->probe_step > 0 && (s->probe_step == PROBE_STEPS || !looks_fast(s)))
		s->probe_step = 0;
	if (s->probe_step == 0) {
		if (s->probe_at == 0 || s->pace.sent_us + s->probe_us > s->probe_at)
			s->probe_at = (s->pace.sent_us > 0 ? s->pace.sent_us : now) + s->probe_us;
		if (now < s->probe_at)
			return 0;
		s->probe_us = 2 * s->probe_us < PROBE_MAX_US ? 2 * s->probe_us : PROBE_MAX_US;
		s->probe_at = now + s->probe_us;
		pace_afresh(&s->pace);
	}
	s->probe_from = s->pace.answered;
	s->probe_began = now;
	for (int i = 1; i <= PROBE_FILLERS << s->probe_step; i++) {
		size_t before = out->len;
		int r = put_pace(s, out, PACE_UNSAID, FRAME_PACE_FILLER);
		if (r < 0)
			return r;
		pace_sent(&s->pace, out->len - before, now);
		if (i % (1 << s->probe_step) == 0)
			r = session_put_ping(s, out, now);
		if (r < 0)
			return r;
	}
	s->probe_step++;
	return 0;
}

uint64_t session_pace_deadline(const struct session *s)
{
	if (s->pace_out)
		return s->pace_at;
	return probes(s) && s->probe_at > 0 ? s->probe_at : UINT64_MAX;
}

int session_get_pace(struct session *s, struct cursor *c, uint64_t now, struct err *e)
{
	uint64_t rate = cursor_varint(c);
	uint8_t slow = cursor_u8(c);
	bool filled = true;
	for (const uint8_t *p; cursor_left(c) > 0 && (p = cursor_take(c, 1));)
		filled &= *p == 0;
	if (!cursor_end(c) || slow > PACE_UNSAID || (rate == 0 && slow != PACE_UNSAID) || !filled)
		return err_set(e, -EPROTO, "the peer sent a malformed PACE frame");
	if (slow == PACE_UNSAID)
		return 0;
	/* Each may make this device do something. */
	uint64_t more = (now - s->paces_at) / PACE_REFILL_US;
	s->paces_at += more * PACE_REFILL_US;
	s->paces = s->paces > more ? s->paces - more : 0;
	if (++s->paces > PACE_ROW)
		return err_set(e, -EPROTO, "the peer sent PACE too often");
	bool news = s->peer_rate == 0 || s->peer_slow != slow;
	s->peer_rate = rate;
	s->peer_slow = slow;
	if (!news)
		return 0;
	s->source_kick = true;
	if (s->source)
		fetch_slow(s->source, slow);
	if (slow)
		session_spread_slow(s);
	return intake_pace(s->intake, slow, e);
}
