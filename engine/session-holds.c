/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who holds contents: HOLDS asks, HELD answers, and tells unasked whether anything is missing.
 * shoal-protocol(7), "Who holds contents", has the rules and why the last copy stays. */
#include <errno.h>

#include "engine/session-impl.h"

/* ---- what is missing here ---- */

static int put_told(struct session *s, struct buf *out, bool partial)
{
	buf_reset(&s->payload);
	buf_varint(&s->payload, 0);
	buf_u8(&s->payload, partial);
	s->holds.told_partial = partial;
	s->holds.whole_at = 0;
	return frame_put(out, FRAME_HELD, &s->payload);
}

int session_put_partial(struct session *s, struct buf *out)
{
	struct holds *h = &s->holds;
	/* That nothing is missing is not said while something leaves: who gives a collection up goes by that, and whoever
	 * leaves may go by an answer of before. What was said earlier stands. */
	const bool partial = replica_absents(s->replica) > 0 ||
		((!h->begun || h->told_partial) && replica_leaving(s->replica));
	h->begun = true;
	if (partial) {
		/* Said again when some have come, for those who asked too soon. */
		uint64_t n = replica_absents(s->replica), before = h->absents;
		h->whole_at = 0;
		h->absents = n;
		return h->told_partial && n >= before ? 0 : put_told(s, out, true);
	}
	if (!h->told_partial)
		return 0;
	/* Only what is on the disk is told. */
	if (h->whole_at == 0)
		h->whole_at = replica_commits(s->replica);
	return view_commits(s->view) < h->whole_at ? 0 : put_told(s, out, false);
}

/* ---- questions ---- */

int session_ask_holds(struct session *s, const struct holding *h, uint32_t n, uint64_t *ret_number)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct holds *q = &s->holds;
	if (s->error || !s->witness_in)
		return -ENOTCONN;
	if (q->asked - q->taken >= HOLDS_OPEN_MAX)
		return -EBUSY;
	frame_holds_put(&b, q->asked + 1, h, n);
	int r = frame_put(&q->ask, FRAME_HOLDS, &b);
	if (r < 0)
		return r;
	q->asked++;
	q->n_asked[q->asked % HOLDS_OPEN_MAX] = n;
	*ret_number = q->asked;
	return 0;
}

bool session_take_held(struct session *s, uint64_t *ret_number, uint64_t *ret_bits)
{
	struct holds *q = &s->holds;
	if (q->taken == q->answered)
		return false;
	*ret_number = ++q->taken;
	*ret_bits = q->bits[q->taken % HOLDS_OPEN_MAX];
	return true;
}

bool session_peer_partial(const struct session *s)
{
	return s->holds.partial;
}

int session_put_holds(struct session *s, struct buf *out)
{
	struct holds *q = &s->holds;
	buf_put(out, q->ask.data, q->ask.len);
	buf_put(out, q->reply.data, q->reply.len);
	buf_reset(&q->ask);
	buf_reset(&q->reply);
	q->n_replies = 0;
	return buf_failed(out) ? -ENOMEM : 0;
}

/* ---- coming in ---- */

static int note_partial(struct session *s, bool partial, struct err *e)
{
	s->holds.known = true;
	s->holds.partial = partial;
	return replica_peer_set_partial(s->replica, &s->peer, partial, s->meeting, e);
}

int session_held_known(struct session *s, struct err *e)
{
	return s->holds.known ? 0 : note_partial(s, false, e);
}

int session_get_holds(struct session *s, struct cursor *c, struct err *e)
{
	struct holding h[FRAME_HOLDS_MAX];
	_cleanup_(buf_done) struct buf b = { 0 };
	struct holds *q = &s->holds;
	uint64_t number;
	uint32_t n;
	int r = frame_holds_get(c, &number, h, &n, e);
	if (r < 0)
		return r;
	if (number != q->heard + 1 || q->n_replies == HOLDS_OPEN_MAX)
		return err_set(e, -EPROTO, "the peer asked out of turn what is held here");
	q->heard = number;
	/* With the newest view: what the peer was told is durable here is in it. */
	_cleanup_(view_unrefp) struct view *view = replica_view(s->replica);
	if (!view)
		return err_set(e, -ENOMEM, "out of memory");
	buf_varint(&b, number);
	for (uint32_t i = 0; i < n; i += 8) {
		uint8_t byte = 0;
		for (uint32_t k = 0; k < 8 && i + k < n; k++)
			if (replica_holds(s->replica, view, &h[i + k].node, &h[i + k].ref))
				byte |= (uint8_t)(1u << k);
		buf_u8(&b, byte);
	}
	r = frame_put(&q->reply, FRAME_HELD, &b);
	q->n_replies++;
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

int session_get_held(struct session *s, struct cursor *c, struct err *e)
{
	struct holds *q = &s->holds;
	uint64_t number = cursor_varint(c), bits = 0;
	if (number == 0) {
		uint8_t partial = cursor_u8(c);
		if (!cursor_end(c) || partial > 1)
			return err_set(e, -EPROTO, "the peer sent a malformed HELD frame");
		s->source_kick = true;
		return note_partial(s, partial, e);
	}
	int r = session_held_known(s, e);
	if (r < 0)
		return r;
	if (!cursor_ok(c) || number != q->answered + 1 || number > q->asked)
		return err_set(e, -EPROTO, "the peer answered what it was not asked");
	uint32_t n = q->n_asked[number % HOLDS_OPEN_MAX];
	for (uint32_t i = 0; i < n; i += 8)
		bits |= (uint64_t)cursor_u8(c) << i;
	if (!cursor_end(c) || (n < 64 && bits >> n))
		return err_set(e, -EPROTO, "the peer sent a malformed HELD frame");
	q->bits[number % HOLDS_OPEN_MAX] = bits;
	q->answered = number;
	return 0;
}
