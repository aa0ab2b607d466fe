/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session as a source of contents that are not here (engine/fetch.h). */
#include <assert.h>
#include <errno.h>

#include "engine/session-impl.h"

void session_fetch_for(struct session *s, struct fetches *f)
{
	s->fetches = f;
}

struct fetch_source *session_fetch_hand(struct session *s, uint64_t now_us)
{
	struct fetch_source *source = s->source;
	if (!source || !fetch_handed(source, now_us))
		return NULL;
	s->source = NULL;
	s->fetches = NULL;
	return source;
}

void session_fetch_take(struct session *s, struct fetch_source *take)
{
	assert(!s->source);
	s->source = take;
	s->source_kick = take != NULL;
}

int session_put_fetch(struct session *s, struct buf *out, uint64_t now)
{
	struct sha256 hash;
	if (!s->fetches)
		return 0;
	if (!s->source) {
		int r = fetch_join(s->fetches, &s->source);
		if (r < 0)
			return r == -EUSERS ? 0 : r; /* there are others enough */
		s->source_kick = true;
		if (s->peer_rate > 0)
			fetch_slow(s->source, s->peer_slow);
	}
	if (s->source_kick) {
		s->source_kick = false;
		fetch_background(s->fetches);
	}
	buf_reset(&s->payload);
	for (int n = 0; n < FRAME_WANT_MAX && fetch_next(s->source, now, &hash); n++)
		buf_put(&s->payload, hash.b, SHA256_SIZE);
	return s->payload.len > 0 ? frame_put(out, FRAME_WANT, &s->payload) : 0;
}

bool session_is_source(const struct session *s)
{
	return s->source != NULL;
}

int session_get_fetched(struct session *s, const struct sha256 *hash, const void *data, size_t len,
			uint64_t cost, uint64_t now, struct err *e)
{
	int r = s->source ? fetch_chunk(s->source, hash, data, len, now, e) : 0;
	if (r > 0)
		intake_credit_add(s->intake, STREAM_CHUNK, cost);
	/* Room for another one of those that only wait to be here. */
	if (r > 0 && len > 0)
		fetch_background(s->fetches);
	return r;
}

int session_check_fetch(struct session *s, uint64_t now, struct err *e)
{
	return s->source && now >= fetch_deadline(s->source) ?
		err_set(e, -ETIMEDOUT, "the peer has not answered for contents within %llu seconds",
			(s->peer_slow ? FETCH_SLOW_PATIENCE_US : FETCH_PATIENCE_US) / 1000000) : 0;
}
