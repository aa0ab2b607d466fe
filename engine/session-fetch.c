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

/* A peer may look for something before anything was sent after its WITNESS. */
static int join(struct session *s)
{
	if (!s->fetches || s->source)
		return 0;
	int r = fetch_join(s->fetches, &s->source);
	if (r < 0)
		return r == -EUSERS ? 0 : r; /* there are others enough */
	s->source_kick = true;
	if (s->peer_rate > 0)
		fetch_slow(s->source, s->peer_slow);
	return 0;
}

/* What is to be looked for there, and what was looked for here in vain. */
static int put_seeks(struct session *s, struct buf *out, uint64_t now)
{
	struct fetch_seek seek;
	int r = 0;
	while (r == 0 && fetch_seek_next(s->source, now, &seek)) {
		buf_reset(&s->payload);
		buf_u8(&s->payload, (uint8_t)seek.links);
		frame_seek_put(&s->payload, seek.id, &seek.hash);
		r = frame_put(out, FRAME_SEEK, &s->payload);
	}
	while (r == 0 && fetch_answer_vain(s->source, &seek)) {
		buf_reset(&s->payload);
		frame_seek_put(&s->payload, seek.id, &seek.hash);
		r = frame_put(out, FRAME_FOUND, &s->payload);
	}
	return r;
}

int session_put_fetch(struct session *s, struct buf *out, uint64_t now)
{
	struct sha256 hash;
	int r = join(s);
	buf_put(out, s->unfound.data, s->unfound.len);
	buf_reset(&s->unfound);
	if (r < 0 || !s->source)
		return r;
	if (s->source_kick) {
		s->source_kick = false;
		fetch_background(s->fetches);
	}
	buf_reset(&s->payload);
	for (int n = 0; n < FRAME_WANT_MAX && fetch_next(s->source, now, &hash); n++)
		buf_put(&s->payload, hash.b, SHA256_SIZE);
	r = s->payload.len > 0 ? frame_put(out, FRAME_WANT, &s->payload) : 0;
	return r < 0 ? r : put_seeks(s, out, now);
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

/* ---- what the peer looks for ---- */

/* Nobody is asked over this session, nor for it; what is here it gets by WANT. */
static int seek_nowhere(struct session *s, const struct fetch_seek *seek, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	frame_seek_put(&b, seek->id, &seek->hash);
	if (s->unfound.len >= FETCH_SEEKS_MAX * b.len)
		return err_set(e, -EPROTO, "the peer looks for too many chunks at a time");
	int r = frame_put(&s->unfound, FRAME_FOUND, &b);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

int session_get_seek(struct session *s, struct cursor *c, struct err *e)
{
	struct fetch_seek seek = { .links = cursor_u8(c) };
	if (!frame_seek_get(c, &seek.id, &seek.hash) || !cursor_end(c))
		return err_set(e, -EPROTO, "the peer sent a malformed SEEK frame");
	if (join(s) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return s->source ? fetch_seek_for(s->source, &seek, e) : seek_nowhere(s, &seek, e);
}

int session_get_found(struct session *s, struct cursor *c, uint64_t cost, uint64_t now, struct err *e)
{
	struct fetch_seek seek = { 0 };
	if (!frame_seek_get(c, &seek.id, &seek.hash) || cursor_left(c) > CHUNK_WIRE_MAX)
		return err_set(e, -EPROTO, "the peer sent a malformed FOUND frame");
	const size_t len = cursor_left(c);
	if (!s->source)
		return err_set(e, -EPROTO, "the peer looked for a chunk that it was not asked for");
	if (len > 0)
		intake_credit_add(s->intake, STREAM_CHUNK, cost);
	return fetch_found(s->source, &seek, cursor_take(c, len), len, now, e);
}

/* ---- what it is sent ---- */

/* What stands before the bytes is in the payload. */
static int put_chunk(struct session *s, struct buf *out, enum frame_type t, const struct buf *data, struct err *e)
{
	int r = session_put_counted(s, out, STREAM_CHUNK, t, &s->payload, data->data, data->len);
	return r < 0 ? err_errno(e, r, "cannot send a chunk") : 1;
}

/* A large one is long on its way if the link is slow, and cannot be called off then. */
static int put_filler(struct session *s, struct buf *out, const struct buf *data, struct err *e)
{
	int r = data->len > CHUNK_LONG ? session_put_filler(s, out) : 0;
	return r < 0 ? err_set(e, r, "out of memory") : r;
}

int session_chunk_step(struct session *s, struct buf *out, struct err *e)
{
	if (s->n_wanted == 0 || !session_window_open(s, STREAM_CHUNK))
		return 0;
	const struct sha256 *hash = &s->wanted[s->wanted_at];
	buf_reset(&s->chunk);
	bool refused = s->n_refused > 0;
	int r = refused ? -ENOENT : chunk_get(replica_store(s->replica), hash, &s->chunk);
	if (r < 0 && r != -ENOENT && r != -EHOSTDOWN)
		return err_errno(e, r, "cannot read a chunk");
	if (r < 0)
		buf_reset(&s->chunk);
	r = put_filler(s, out, &s->chunk, e);
	if (r != 0)
		return r;
	buf_reset(&s->payload);
	buf_put(&s->payload, hash->b, SHA256_SIZE);
	r = put_chunk(s, out, FRAME_CHUNK, &s->chunk, e);
	s->wanted_at = (s->wanted_at + 1) % WANTED_MAX;
	s->n_wanted--;
	s->n_refused -= refused;
	return r;
}

/* What was found for the peer, or was here when it looked for it. */
int session_given_step(struct session *s, struct buf *out, struct err *e)
{
	if (!s->source || !session_window_open(s, STREAM_CHUNK))
		return 0;
	int r = s->given_any ? 1 : fetch_answer(s->source, &s->given_seek, &s->given);
	if (r <= 0)
		return r < 0 ? err_errno(e, r, "cannot read a chunk") : 0;
	s->given_any = true;
	r = put_filler(s, out, &s->given, e);
	if (r != 0)
		return r;
	buf_reset(&s->payload);
	frame_seek_put(&s->payload, s->given_seek.id, &s->given_seek.hash);
	r = put_chunk(s, out, FRAME_FOUND, &s->given, e);
	s->given_any = false;
	buf_done(&s->given);
	fetch_given(s->source);
	return r;
}
