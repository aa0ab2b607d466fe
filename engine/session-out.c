/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session, going out: what is sent, in which order, and when. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/backlog.h"
#include "engine/session-part.h"

/* ---- outgoing frames ---- */

static struct buf *payload(struct session *s)
{
	buf_reset(&s->payload);
	return &s->payload;
}

static int put(struct session *s, struct buf *out, enum frame_type t)
{
	return frame_put(out, t, &s->payload);
}

void session_put_scope(struct session *s, struct scope *scope)
{
	if (scope->out_no != NO_NUMBER) {
		buf_varint(&s->payload, scope->out_no);
		return;
	}
	scope->out_no = s->n_out++;
	buf_varint(&s->payload, scope->out_no);
	buf_put(&s->payload, scope->id.b, ID_SIZE);
}

/* Tells the peer that all of `now` is durable here. */
static int put_told(struct session *s, struct scope *scope, const struct vv *now)
{
	int r = frame_vector_put(&s->payload, now, &scope->told, s->actors, s->out_actors);
	return r < 0 ? r : vv_join(&scope->told, now);
}

static int put_hello(struct session *s, struct buf *out)
{
	struct hello h = { .version = SESSION_PROTOCOL,
			   .oldest = OLDEST_PROTOCOL,
			   .window = SESSION_WINDOW };
	h.self = s->own;
	h.acknowledged = s->acknowledged;
	session_fingerprint(s, &h.fingerprint);
	hello_encode(&h, payload(s));
	s->hello_out = true;
	return put(s, out, FRAME_HELLO);
}

/* What is here of the peer's own batches, for it to see whether it made them. */
static int put_witness(struct session *s, struct buf *out)
{
	struct witness w[FRAME_TAGS_MAX];
	uint32_t n, no = actors_find(s->actors, &s->peer_self);
	uint64_t held = 0;
	int r = replica_witness(s->replica, &s->peer_self, s->peer_acknowledged, w, FRAME_TAGS_MAX, &n);
	if (r < 0)
		return r;
	for (uint32_t i = 0; no != ACTOR_NONE && i < view_scopes(s->hello_view); i++) {
		struct id scope;
		const struct vv *have;
		view_scope(s->hello_view, i, &scope, &have);
		uint64_t seq = vv_get(have, no);
		held = seq > held ? seq : held;
	}
	frame_witness_put(payload(s), held, w, n);
	s->witness_out = true;
	return put(s, out, FRAME_WITNESS);
}

/* All vectors go into one frame. */
static bool spans_fit(const struct spans *spans, const struct vv *reached)
{
	size_t items = reached->n;
	for (uint32_t i = 0; i < spans->n; i++)
		items += spans->low[i].n + spans->high[i].n;
	return items < FRAME_LARGE / 40;
}

/* What came of rounds of the peer that were cut. */
static int put_resumes(struct session *s, struct buf *out, size_t end)
{
	static const struct vv none;
	while (s->resumes_out) {
		_cleanup_(vv_done) struct vv reached = { 0 };
		_cleanup_(spans_done) struct spans spans = { 0 };
		struct id id;
		struct scope *scope;
		if (out->len >= end)
			return 1;
		int r = replica_partial_next(s->replica, &s->peer_self,
					     s->resume_any ? &s->resume_last : NULL, &id, &reached,
					     &spans);
		if (r == 0)
			s->resumes_out = false;
		if (r <= 0)
			return r;
		s->resume_any = true;
		s->resume_last = id;
		if (!session_shares(s, &id))
			continue;
		r = session_scope(s, &id, &scope);
		if (r < 0)
			return r;
		/* Without them more is sent again. */
		if (!spans_fit(&spans, &reached))
			spans_done(&spans);
		if (reached.n == 0 && spans.n == 0)
			continue;
		payload(s);
		session_put_scope(s, scope);
		r = frame_vector_put(&s->payload, &reached, &none, s->actors, s->out_actors);
		for (uint32_t i = 0; r == 0 && i < spans.n; i++) {
			r = frame_vector_put(&s->payload, &spans.high[i], &none, s->actors, s->out_actors);
			if (r == 0)
				r = frame_vector_put(&s->payload, &spans.low[i], &none, s->actors,
						     s->out_actors);
		}
		if (r == 0)
			r = vv_copy(&reached, &scope->resumed);
		if (r == 0)
			r = spans_copy(&spans, &scope->resumed_spans);
		if (r == 0)
			r = put(s, out, FRAME_RESUME);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_scopes(struct session *s, struct buf *out)
{
	struct buf *b = payload(s);
	uint32_t n = s->n_common, left = n - s->scopes_at;
	if (n > SCOPES_MAX)
		return -E2BIG;
	uint32_t end = s->scopes_at + (left > FRAME_SCOPES_MAX ? FRAME_SCOPES_MAX : left);
	buf_u8(b, end < n ? FRAME_MORE : 0);
	for (; s->scopes_at < end; s->scopes_at++) {
		struct id id, fingerprint;
		const struct vv *have;
		view_scope(s->hello_view, s->common[s->scopes_at], &id, &have);
		vv_fingerprint(have, s->actors, &fingerprint);
		buf_put(b, id.b, ID_SIZE);
		buf_put(b, fingerprint.b, ID_SIZE);
	}
	s->scopes_out = end < n;
	return put(s, out, FRAME_SCOPES);
}

/* Drops HELLO's view once both lists of scopes are through. */
void session_hello_done(struct session *s)
{
	if (!s->scopes_in || s->scopes_out || !s->hello_view || !s->hello_in)
		return;
	view_unref(s->hello_view);
	s->hello_view = NULL;
}

static int put_vectors(struct session *s, struct buf *out, size_t end)
{
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		struct scope *scope = s->scope[i];
		if (!scope->vector_due)
			continue;
		if (out->len >= end)
			return 1;
		static const struct vv none;
		payload(s);
		session_put_scope(s, scope);
		int r = put_told(s, scope, scope->have ? scope->have : &none);
		if (r == 0)
			r = put(s, out, FRAME_VECTOR);
		if (r < 0)
			return r;
		scope->vector_due = false;
	}
	s->vectors_due = false;
	return 0;
}

int session_put_ack(struct session *s, struct scope *scope, struct buf *out)
{
	payload(s);
	session_put_scope(s, scope);
	int r = put_told(s, scope, scope->have);
	return r < 0 ? r : put(s, out, FRAME_ACK);
}

static int put_acks(struct session *s, struct buf *out)
{
	uint64_t shown = view_commits(s->view);
	for (uint32_t i = 0; i < intake_claims(s->intake);) {
		const struct claim *c = intake_claim(s->intake, i);
		if (c->part) {
			if (c->commits > shown) {
				i++;
				continue;
			}
			int r = session_part_here(s, &c->scope, NULL);
			intake_claim_drop(s->intake, i);
			if (r < 0)
				return r;
			continue;
		}
		struct scope *scope = session_scope_find(s, &c->scope);
		assert(scope);
		/* A claim that brought nothing new made no commit. */
		if (c->commits > shown || !scope->have || !vv_covers(scope->have, &c->upto)) {
			i++;
			continue;
		}
		if (!vv_covers(&scope->told, &c->upto)) {
			int r = session_put_ack(s, scope, out);
			if (r < 0)
				return r;
		}
		intake_claim_drop(s->intake, i);
	}
	return 0;
}

static int put_credits(struct session *s, struct buf *out)
{
	for (int i = 0; i < STREAMS; i++) {
		if (intake_credit(s->intake, (enum stream)i) < SESSION_WINDOW / 4)
			continue;
		uint64_t n = intake_credit_take(s->intake, (enum stream)i);
		s->in_flight[i] -= n;
		buf_u8(payload(s), (uint8_t)i);
		buf_varint(&s->payload, n);
		int r = put(s, out, FRAME_CREDIT);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_asks(struct session *s, struct buf *out)
{
	uint64_t round;
	struct id node;
	int r = 0;
	if (intake_whole(s->intake, &round, &node)) {
		buf_varint(payload(s), round);
		buf_put(&s->payload, node.b, ID_SIZE);
		r = put(s, out, FRAME_WHOLE);
	}
	struct sha256 hash;
	while (r == 0 && intake_asks(s->intake)) {
		payload(s);
		for (int n = 0; n < FRAME_WANT_MAX && intake_want(s->intake, &hash); n++)
			buf_put(&s->payload, hash.b, SHA256_SIZE);
		if (s->payload.len == 0)
			break;
		r = put(s, out, FRAME_WANT);
	}
	return r;
}

static int put_number(struct session *s, struct buf *out, enum frame_type t, uint64_t v)
{
	buf_varint(payload(s), v);
	return put(s, out, t);
}

static int put_life(struct session *s, struct buf *out, uint64_t now)
{
	int r = 0;
	if (s->pong_due) {
		r = put_number(s, out, FRAME_PONG, s->pong_value);
		s->pong_due = false;
	}
	if (r == 0 && s->hello_in && (s->ping_due || now >= session_ping_at(s))) {
		r = session_put_ping(s, out, now);
	}
	if (r == 0)
		r = session_put_probe(s, out, now);
	return r;
}

bool session_window_open(const struct session *s, enum stream stream)
{
	return s->out_flight[stream] < s->window;
}

int session_put_counted(struct session *s, struct buf *out, enum stream stream, enum frame_type t,
			const struct buf *first, const void *data, size_t len)
{
	size_t before = out->len;
	int r = frame_put2(out, t, first, data, len);
	if (r == 0)
		s->out_flight[stream] += out->len - before;
	return r;
}

/* The next piece of an encoded delta; the fields before it are in the payload. */
static int put_piece(struct session *s, struct buf *out, enum stream stream, enum frame_type t,
		     struct piecewise *p)
{
	size_t left = p->data.len - p->at, most = pace_piece(&s->pace);
	size_t n = left > most ? most : left;
	buf_u8(&s->payload, n < left ? FRAME_MORE : 0);
	int r = session_put_counted(s, out, stream, t, &s->payload, p->data.data + p->at, n);
	p->at += n;
	if (p->at < p->data.len)
		return r;
	p->busy = false;
	if (p->data.cap > 4 * FRAME_PIECE)
		buf_done(&p->data);
	return r;
}

static int encode_delta(struct session *s, const struct delta *d, struct actor_codec *codec,
			struct piecewise *p)
{
	buf_reset(&p->data);
	delta_encode(d, s->actors, codec, &p->data);
	arena_reset(&s->arena);
	p->at = 0;
	p->busy = true;
	return buf_failed(&p->data) ? -ENOMEM : 0;
}

static int encode_bundle(struct session *s, const struct bundle *b)
{
	buf_reset(&s->bundle.data);
	bundle_encode(b, s->delta_actors, &s->bundle.data);
	s->bundle.at = 0;
	s->bundle.busy = true;
	return buf_failed(&s->bundle.data) ? -ENOMEM : 0;
}

int session_delta_encode(struct session *s, const struct delta *d)
{
	s->deltas_out++;
	return encode_delta(s, d, s->delta_actors, &s->delta);
}

int session_delta_piece(struct session *s, struct buf *out)
{
	payload(s);
	return put_piece(s, out, STREAM_DELTA, FRAME_DELTA, &s->delta);
}

/* ---- rounds ---- */

/* The next scope with something that the peer lacks. */
static struct scope *scope_due(struct session *s)
{
	for (uint32_t k = 0; k < s->n_scopes; k++) {
		struct scope *scope = s->scope[(s->next_scope + k) % s->n_scopes];
		if (!scope->have || scope->vector_due || scope->vector_awaited ||
		    vv_covers(&scope->sent, scope->have) || !session_spread_due(s, scope))
			continue;
		s->next_scope = (s->next_scope + k + 1) % s->n_scopes;
		return scope;
	}
	return NULL;
}

static const struct vv *sent_of(const struct id *id, void *userdata)
{
	static const struct vv nothing;
	const struct session *s = userdata;
	const struct scope *scope = session_scope_find(s, id);
	if (!session_shares(s, id))
		return NULL;
	/* A round that is not ended has not brought all that it will. */
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog && s->out[i].scope == scope)
			return backlog_known(s->out[i].backlog);
	return scope ? &scope->sent : &nothing;
}

/* The tags of the own batches that a round is the first to tell of. */
static void put_tags(struct session *s, const struct vv *upto)
{
	uint32_t tag[FRAME_TAGS_MAX], no = actors_find(s->actors, &s->own);
	uint64_t last = no == ACTOR_NONE ? 0 : vv_get(upto, no);
	uint64_t n = last > s->tagged ? last - s->tagged : 0;
	if (n > FRAME_TAGS_MAX)
		n = FRAME_TAGS_MAX;
	/* A vector that fills the frame leaves no room. */
	if (s->payload.len + BUF_VARINT_MAX + n * sizeof(*tag) > FRAME_LARGE)
		n = 0;
	for (uint32_t i = 0; i < n; i++)
		tag[i] = replica_own_tag(s->replica, last - n + 1 + i);
	frame_tags_put(&s->payload, tag, (uint32_t)n);
	if (n > 0)
		s->tagged = last;
}

/* The round goes on newest first; up: to what it says. */
static int put_raise(struct session *s, struct buf *out, struct outgoing *o, bool up)
{
	payload(s);
	session_put_scope(s, o->scope);
	if (!up)
		return put(s, out, FRAME_RAISE);
	int r = put_told(s, o->scope, &o->upto);
	if (r < 0)
		return r;
	put_tags(s, &o->upto);
	return put(s, out, FRAME_RAISE);
}

static int round_start(struct session *s, struct buf *out, struct scope *scope, struct err *e)
{
	scope->fresh = false;
	struct outgoing *o = &s->out[s->n_rounds];
	*o = (struct outgoing){ .scope = scope };
	struct backlog *b;
	int r = backlog_new(s->replica, s->view, &scope->id, &scope->sent, &b);
	if (r < 0)
		return err_errno(e, r, "cannot list what the peer lacks");
	backlog_others(b, sent_of, s);
	r = session_spread_upto(s, scope, NULL, &o->upto);
	if (r == 0)
		r = backlog_limit(b, &o->upto);
	/* Only of a view that is no earlier than the one it is about. */
	bool goes_on = vv_covers(&o->upto, &scope->resume) &&
		       (scope->resume_spans.n == 0 || vv_covers(&o->upto, spans_top(&scope->resume_spans)));
	if (r == 0 && goes_on && scope->resume.n > 0)
		r = backlog_skip(b, &scope->resume);
	goes_on &= scope->resume_spans.n > 0;
	if (r == 0 && goes_on)
		r = backlog_turn(b, &scope->resume_spans);
	vv_done(&scope->resume);
	spans_done(&scope->resume_spans);
	if (r == 0 && s->live)
		session_burst_round(s, &o->upto, &scope->sent);
	if (r == 0)
		r = vv_join(&scope->sent, &o->upto);
	o->view = view_ref(s->view);
	o->no = ++s->last_round;
	o->backlog = b;
	if (r == 0)
		r = backlog_count(b, &o->nodes);
	s->round_nodes = o->nodes;
	s->open = o->no;
	s->n_rounds++;
	payload(s);
	session_put_scope(s, scope);
	buf_varint(&s->payload, o->nodes);
	if (r == 0)
		r = put_told(s, scope, &o->upto);
	if (r == 0) {
		put_tags(s, &o->upto);
		r = put(s, out, FRAME_ROUND);
	}
	if (r == 0 && goes_on)
		r = put_raise(s, out, o, true);
	if (r < 0)
		return err_errno(e, r, "cannot start a round");
	return 1;
}

/* On a slow link what is left goes newest first, and what has come since before that. go_on: another round was under
 * way. 1: something was sent. */
static int round_raise(struct session *s, struct buf *out, struct outgoing *o, bool go_on, struct err *e)
{
	_cleanup_(vv_done) struct vv upto = { 0 };
	struct scope *scope = o->scope;
	int r = 0;
	bool turn = !backlog_turned(o->backlog);
	/* The first time it goes up to all that was told, which may have been announced since it began. */
	bool news = scope->have && !vv_covers(&o->upto, scope->have) &&
		    (session_spread_due(s, scope) || (turn && !vv_covers(&o->upto, &scope->told)));
	if (!backlog_between(o->backlog) || (!turn && !go_on && !news) ||
	    (turn && (!s->pace.slow || !scope->have || backlog_left(o->backlog) < TURN_MIN)))
		return 0;
	if (turn)
		r = backlog_turn(o->backlog, NULL);
	if (r == 0 && news)
		r = session_spread_upto(s, scope, o, &upto);
	if (r == 0 && news) {
		r = backlog_raise(o->backlog, s->view, &upto, &scope->heard);
		if (r == 0 && !go_on)
			return 0;
		news = r != 0;
		if (r > 0) {
			view_unref(o->view);
			o->view = view_ref(s->view);
			o->raised = true;
			r = vv_join(&o->upto, &upto);
		}
		if (r == 0)
			r = vv_join(&scope->sent, &o->upto);
	}
	s->open = o->no;
	o->in_turn = 0;
	scope->fresh = false;
	if (r == 0)
		r = put_raise(s, out, o, turn || news);
	return r < 0 ? err_errno(e, r, "cannot raise a round") : 1;
}

/* Tells how far the round is, now and then. 1: it was. */
static int put_mark(struct session *s, struct buf *out, struct outgoing *o)
{
	struct dot at;
	bool now = o->since_mark >= (backlog_turned(o->backlog) ? MARK_EVERY_TURNED : MARK_EVERY);
	if (!backlog_turned(o->backlog)) {
		if (!now || !backlog_place(o->backlog, &at.actor, &at.seq) ||
		    (at.actor == o->mark.actor && at.seq == o->mark.seq))
			return 0;
		o->mark = at;
	} else if (!backlog_mark(o->backlog, now, &at)) {
		return 0;
	}
	o->since_mark = 0;
	actor_codec_put(s->out_actors, payload(s), at.actor);
	recent_put(&actor_codec_recent(s->out_actors)->seq, at.seq, &s->payload);
	int r = put(s, out, FRAME_MARK);
	return r < 0 ? r : 1;
}

/* What to go on with, where that is to be said. 1: something was sent. */
static int round_choose(struct session *s, struct buf *out, struct err *e)
{
	struct outgoing *o = session_round_of(s, NULL);
	if (session_fresh_look(s) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (o) {
		struct scope *scope = backlog_turned(o->backlog) && backlog_between(o->backlog) ?
					      session_fresh_next(s, o) : NULL;
		struct outgoing *other = scope ? session_round_of(s, scope) : NULL;
		if (other)
			return round_raise(s, out, other, true, e);
		return scope ? round_start(s, out, scope, e) : round_raise(s, out, o, false, e);
	}
	o = session_fresh_left(s);
	if (o)
		return round_raise(s, out, o, true, e);
	if (s->idle || !s->scopes_in || s->n_rounds == ROUNDS_OUT || session_part_waits(s) || session_burst_waits(s))
		return 0;
	struct scope *scope = scope_due(s);
	s->idle = !scope;
	return scope ? round_start(s, out, scope, e) : 0;
}

/* One frame of the round under way. 1: something was sent. */
static int round_step(struct session *s, struct buf *out, struct err *e)
{
	if (session_part_sends(s))
		return 0;
	struct outgoing *o = session_round_of(s, NULL);
	if (o && !session_window_open(s, STREAM_DELTA))
		return 0;
	if (!s->delta.busy) {
		struct delta *d = NULL;
		int r = o ? put_mark(s, out, o) : 0;
		if (r == 0)
			r = round_choose(s, out, e);
		if (r != 0 || !o)
			return r < 0 ? err_errno(e, r, "cannot make a frame") : r;
		/* The peer may have got it all from others meanwhile; but what began ends. */
		if (backlog_inside(o->backlog) || !vv_covers(&o->scope->heard, &o->upto)) {
			backlog_back(o->backlog, session_in_debt(s));
			r = backlog_next(o->backlog, &s->arena, &d, e);
			if (r < 0)
				return r;
		}
		if (!d) {
			backlog_free(TAKE_PTR(o->backlog));
			s->open = 0;
			payload(s);
			r = put(s, out, FRAME_END);
			session_rounds_answered(s);
			return r < 0 ? r : 1;
		}
		s->deltas_out++;
		o->in_turn++;
		const struct bundle *b = backlog_bundle(o->backlog);
		if (s->pace.slow && !d->complete)
			r = session_fresh_part(s, &d->state);
		if (r == 0 && b)
			r = encode_bundle(s, b);
		if (r == 0)
			r = encode_delta(s, d, s->delta_actors, &s->delta);
		if (r < 0)
			return err_errno(e, r, "cannot encode a delta");
	}
	payload(s);
	size_t before = out->len;
	int r = s->bundle.busy ? put_piece(s, out, STREAM_DELTA, FRAME_BUNDLE, &s->bundle) :
				 put_piece(s, out, STREAM_DELTA, FRAME_DELTA, &s->delta);
	if (o) {
		o->since_mark += out->len - before;
		session_fresh_sent(s, o, out->len - before);
	}
	return r < 0 ? err_errno(e, r, "cannot send a delta") : 1;
}

static int record_step(struct session *s, struct buf *out, struct err *e)
{
	if ((!s->whole_due && !s->record.busy) || !session_window_open(s, STREAM_RECORD))
		return 0;
	if (s->whole_due) {
		struct delta *d;
		int r = view_whole(s->whole_view, &s->whole_id, &s->arena, &d, e);
		if (r == 0 && d)
			r = session_fresh_whole(s, &d->state, e);
		if (r < 0)
			return r;
		view_unref(TAKE_PTR(s->whole_view));
		s->whole_due = false;
		if (!d)
			return err_set(e, -EPROTO, "the peer asked for a record that is not here");
		r = encode_delta(s, d, s->record_actors, &s->record);
		if (r < 0)
			return err_errno(e, r, "cannot encode a record");
	}
	buf_varint(payload(s), s->whole_round);
	buf_put(&s->payload, s->whole_id.b, ID_SIZE);
	int r = put_piece(s, out, STREAM_RECORD, FRAME_RECORD, &s->record);
	return r < 0 ? err_errno(e, r, "cannot send a record") : 1;
}

/* ---- output ---- */

static int control(struct session *s, struct buf *out, size_t end, uint64_t now)
{
	const size_t before = out->len;
	int r = 0;
	if (!s->hello_out)
		r = put_hello(s, out);
	if (r < 0 || !s->hello_in)
		return r;
	if (!s->witness_out)
		r = put_witness(s, out);
	if (r == 0)
		r = session_put_partial(s, out);
	if (r == 0)
		r = session_put_pace(s, out, now);
	while (r == 0 && s->interests_out) {
		if (out->len >= end)
			return 1;
		r = session_interest_put(s, out);
	}
	if (r == 0 && s->resumes_out)
		r = put_resumes(s, out, end);
	while (r == 0 && s->scopes_out) {
		if (out->len >= end)
			return 1;
		r = put_scopes(s, out);
	}
	session_hello_done(s);
	if (r == 0)
		r = put_life(s, out, now);
	/* Our list of scopes comes before all that stands on it. */
	if (r == 0 && s->vectors_due)
		r = put_vectors(s, out, end);
	if (r == 0)
		r = put_acks(s, out);
	if (r == 0)
		r = put_credits(s, out);
	if (r == 0)
		r = put_asks(s, out);
	if (r == 0 && s->witness_in)
		r = session_put_holds(s, out);
	if (r == 0 && s->witness_in)
		r = session_put_fetch(s, out, now);
	if (r == 0 && s->witness_in)
		r = session_put_presence(s, out, now);
	if (r == 0)
		r = session_spread_put(s, out, out->len > before, now);
	return r;
}

static int data(struct session *s, struct buf *out, size_t end, uint64_t now, struct err *e)
{
	for (;;) {
		if (pace_due(&s->pace) && session_put_ping(s, out, now) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		/* What is on its way cannot be overtaken: on a slow link that is little. */
		if (pace_room(&s->pace) == 0)
			return 0;
		if (out->len >= end)
			return 1;
		size_t before = out->len;
		int record = record_step(s, out, e);
		if (record < 0)
			return record;
		int chunk = session_chunk_step(s, out, e);
		if (chunk < 0)
			return chunk;
		int given = session_given_step(s, out, e);
		if (given < 0)
			return given;
		int round = round_step(s, out, e);
		if (round < 0)
			return round;
		int part = session_part_step(s, out, e);
		if (part < 0)
			return part;
		if (record + chunk + given + round + part == 0) {
			if (pace_tail(&s->pace) && session_put_ping(s, out, now) < 0)
				return err_set(e, -ENOMEM, "out of memory");
			return 0;
		}
		pace_sent(&s->pace, out->len - before, now);
	}
}

static void check_live(struct session *s)
{
	if (s->live || !s->scopes_in || s->n_rounds > 0 || s->vectors_due ||
	    intake_rounds(s->intake) > 0 || intake_claims(s->intake) > 0)
		return;
	for (uint32_t i = 0; i < s->n_scopes; i++)
		if (s->scope[i]->vector_awaited)
			return;
	s->live = session_all_heard(s) && session_all_here(s);
}

int session_output(struct session *s, struct buf *out, size_t max, uint64_t now_us, struct err *e)
{
	struct err why = { 0 };
	if (s->error)
		return err_set(e, s->error, "%s", s->message);
	int r = 0;
	if (now_us >= session_dead_at(s))
		r = err_set(&why, -ETIMEDOUT, "the peer has been silent for %llu seconds",
			    (unsigned long long)(now_us - s->last_in) / 1000000);
	if (r == 0)
		r = session_check_fetch(s, now_us, &why);
	if (r == 0)
		r = session_same_store(s, &why);
	if (r == 0 && s->news)
		r = session_refresh(s, &why);
	if (r == 0) {
		r = session_spread_look(s, now_us);
		if (r < 0)
			err_errno(&why, r, "cannot note what the peer wants");
	}
	const size_t before = out->len;
	s->burst_until = 0;
	const uint64_t paced = s->pace.sent;
	const bool met = s->witness_out;
	if (r == 0) {
		r = control(s, out, before + max, now_us);
		if (r < 0)
			err_errno(&why, r, "cannot make a frame");
	}
	/* Parts are spoken of when both know what the other one keeps. */
	bool known = r == 0 && s->witness_in && !s->scopes_out && !s->interests_out && s->scopes_in;
	int more = 0;
	if (known)
		r = session_parts_begin(s, &why);
	if (r == 0 && known) {
		more = session_parts_put(s, out, before + max, &why);
		r = more < 0 ? more : 0;
	}
	if (r == 0 && s->hello_in && !s->scopes_out)
		r = data(s, out, before + max, now_us, &why);
	r = r == 0 ? more : r;
	if (r >= 0 && met) {
		int q = session_pack(s, out, before, paced, r > 0);
		r = q < 0 ? err_set(&why, q, "out of memory") : r;
	}
	s->bytes_out += out->len - before;
	if (r < 0) {
		session_fail(s, r, &why);
		return err_set(e, r, "%s", why.message);
	}
	if (s->hello_in)
		check_live(s);
	return r;
}
