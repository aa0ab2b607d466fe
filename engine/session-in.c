/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session, coming in: one function for each type of frame. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session-part.h"

static int malformed(enum frame_type t, struct err *e)
{
	return err_set(e, -EPROTO, "the peer sent a malformed %s frame", frame_name(t));
}

static int unshared(struct err *e)
{
	return err_set(e, -EPROTO, "the peer spoke of a collection that not both sides keep");
}

/* The peer knows of changes of our own actor that this store never made. */
int session_check_own(struct session *s, const struct vv *v, struct err *e)
{
	uint32_t no = actors_find(s->actors, &s->own);
	uint64_t known = no == ACTOR_NONE ? 0 : vv_get(v, no);
	int r = known ? replica_check_fence(s->replica, &s->own, known, e) : 0;
	return r <= 0 ? r : session_same_store(s, e);
}

static int raise_peer(struct session *s, struct scope *scope, struct err *e)
{
	int r = vv_join(&scope->sent, &scope->heard);
	if (r == 0)
		r = scope->held_known ?
			replica_peer_raise(s->replica, &s->peer, &scope->id, &scope->heard) :
			replica_peer_set(s->replica, &s->peer, &scope->id, &scope->heard, s->meeting);
	scope->held_known = true;
	return r < 0 ? err_errno(e, r, "cannot note what the peer holds") : 0;
}

/* A scope that the peer's list leaves out: it holds nothing of it, any more perhaps. */
static int peer_lacks(struct session *s, const struct id *id, struct err *e)
{
	static const struct vv none;
	int r = replica_peer_set(s->replica, &s->peer, id, &none, s->meeting);
	return r < 0 ? err_errno(e, r, "cannot note what the peer holds") : 0;
}

/* All scopes of our HELLO are in step with the peer, or this one. */
static int in_step(struct session *s, const struct id *id, const struct vv *have, struct err *e)
{
	struct scope *scope = NULL;
	int r = session_scope(s, id, &scope);
	if (r == 0)
		r = vv_join(&scope->told, have);
	if (r == 0)
		r = vv_join(&scope->heard, have);
	return r < 0 ? err_errno(e, r, "cannot note what the peer holds") : raise_peer(s, scope, e);
}

static int get_hello(struct session *s, struct cursor *c, struct err *e)
{
	struct hello h;
	if (s->hello_in)
		return err_set(e, -EPROTO, "the peer sent HELLO twice");
	int r = hello_decode(c, SESSION_PROTOCOL, &h, e);
	if (r < 0)
		return r;
	/* Decoding refused what is newer than we speak; this is for what is older. */
	if (h.version < OLDEST_PROTOCOL)
		return err_set(
			e, -EPROTO,
			"the peer speaks version %llu of the protocol, this device %u and later: "
			"update Shoal there",
			(unsigned long long)h.version, OLDEST_PROTOCOL);
	if (!id_equal(&h.self.device, &s->peer))
		return err_set(e, -EPROTO,
			       "the peer says it is another device than its certificate");
	r = replica_adopt(s->replica, &h.self, e);
	if (r == 0)
		r = replica_part_settle(s->replica, e);
	if (r < 0)
		return r;
	s->window = h.window;
	r = intake_new(s->replica, &h.self, SESSION_WINDOW, &s->strangers, &s->intake);
	if (r < 0)
		return err_set(e, r, "out of memory");
	s->hello_in = s->ping_due = true;
	s->peer_self = h.self;
	s->peer_acknowledged = h.acknowledged;
	s->peer_print = h.fingerprint;
	return 0;
}

/* Only now it is known that what the peer holds of us is what we have. */
static int get_witness(struct session *s, struct cursor *c, struct err *e)
{
	struct witness w[FRAME_TAGS_MAX];
	uint64_t held;
	uint32_t n;
	if (s->witness_in)
		return err_set(e, -EPROTO, "the peer sent WITNESS twice");
	int r = frame_witness_get(c, &held, w, &n, e);
	if (r == 0)
		r = replica_check_witness(s->replica, &s->own, s->acknowledged, held, w, n, e);
	if (r != 0)
		return r < 0 ? r : session_same_store(s, e);
	s->witness_in = true;
	s->tagged = n > 0 ? w[n - 1].seq : 0;
	struct id mine;
	session_fingerprint(s, &mine);
	if (!id_equal(&mine, &s->peer_print)) {
		s->interests_out = true;
		return 0;
	}
	r = session_interests_known(s, e);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < s->n_common; i++) {
		struct id id;
		const struct vv *have;
		view_scope(s->hello_view, s->common[i], &id, &have);
		r = in_step(s, &id, have, e);
		if (r < 0)
			return r;
	}
	s->scopes_in = true;
	s->live = true;
	return 0;
}

static int get_scopes(struct session *s, struct cursor *c, struct err *e)
{
	if (s->scopes_in || !s->hello_view || !s->interests_in)
		return err_set(e, -EPROTO, "the peer sent SCOPES out of place");
	uint8_t flags = cursor_u8(c);
	size_t n = cursor_left(c) / (2 * ID_SIZE);
	if (!cursor_ok(c) || flags > FRAME_MORE || (flags && n != FRAME_SCOPES_MAX) ||
	    cursor_left(c) % (2 * ID_SIZE) || s->scopes_heard + n > SCOPES_MAX)
		return malformed(FRAME_SCOPES, e);
	for (size_t i = 0; i < n; i++) {
		struct id id, theirs, mine_id, mine;
		const struct vv *have = NULL;
		memcpy(id.b, cursor_take(c, ID_SIZE), ID_SIZE);
		memcpy(theirs.b, cursor_take(c, ID_SIZE), ID_SIZE);
		if (s->scopes_heard++ > 0 && id_cmp(&id, &s->scopes_last) <= 0)
			return malformed(FRAME_SCOPES, e);
		s->scopes_last = id;
		if (!session_shares(s, &id))
			return unshared(e);
		/* Both lists are sorted. */
		for (; s->scopes_seen < s->n_common; s->scopes_seen++) {
			view_scope(s->hello_view, s->common[s->scopes_seen], &mine_id, &have);
			if (id_cmp(&mine_id, &id) >= 0)
				break;
			have = NULL;
			int r = peer_lacks(s, &mine_id, e);
			if (r < 0)
				return r;
		}
		if (!have || !id_equal(&mine_id, &id))
			continue;
		s->scopes_seen++;
		vv_fingerprint(have, s->actors, &mine);
		if (id_equal(&mine, &theirs)) {
			int r = in_step(s, &id, have, e);
			if (r < 0)
				return r;
			continue;
		}
		struct scope *scope;
		if (session_scope(s, &id, &scope) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		scope->vector_due = scope->vector_awaited = s->vectors_due = true;
	}
	for (; flags == 0 && s->scopes_seen < s->n_common; s->scopes_seen++) {
		struct id mine_id;
		const struct vv *have;
		view_scope(s->hello_view, s->common[s->scopes_seen], &mine_id, &have);
		int r = peer_lacks(s, &mine_id, e);
		if (r < 0)
			return r;
	}
	s->scopes_in = flags == 0;
	s->idle = false;
	session_hello_done(s);
	return 0;
}

static int get_scope(struct session *s, struct cursor *c, struct scope **ret, struct err *e)
{
	uint32_t no = (uint32_t)cursor_varint_max(c, s->n_in);
	if (!cursor_ok(c))
		return err_set(e, -EPROTO, "the peer sent a malformed scope");
	if (no < s->n_in) {
		*ret = s->in_scope[no];
		return 0;
	}
	struct id id;
	const uint8_t *p = cursor_take(c, ID_SIZE);
	if (!p || s->n_in == SCOPES_MAX)
		return err_set(e, -EPROTO, "the peer sent a malformed scope");
	memcpy(id.b, p, ID_SIZE);
	if (!session_shares(s, &id))
		return unshared(e);
	if (s->n_in == s->cap_in) {
		uint32_t cap = s->cap_in ? 2 * s->cap_in : 16;
		struct scope **list = reallocarray(s->in_scope, cap, sizeof(struct scope *));
		if (!list)
			return err_set(e, -ENOMEM, "out of memory");
		s->in_scope = list;
		s->cap_in = cap;
	}
	struct scope *scope;
	if (session_scope(s, &id, &scope) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (scope->in_no != NO_NUMBER)
		return err_set(e, -EPROTO, "the peer introduced a scope twice");
	scope->in_no = s->n_in;
	s->in_scope[s->n_in++] = scope;
	*ret = scope;
	return 0;
}

/* The vector of VECTOR, ROUND and ACK; behind that of ROUND the tags. */
static int get_told(struct session *s, struct cursor *c, enum frame_type t, struct scope *scope,
		    struct err *e)
{
	uint32_t tag[FRAME_TAGS_MAX], n = 0, no;
	int r = frame_vector_get(c, &scope->heard, s->actors, s->in_actors, e);
	if (r == 0 && (t == FRAME_ROUND || t == FRAME_RAISE))
		r = frame_tags_get(c, tag, &n, e);
	if (r < 0)
		return r;
	no = actors_find(s->actors, &s->peer_self);
	uint64_t upto = no == ACTOR_NONE ? 0 : vv_get(&scope->heard, no);
	if (!cursor_end(c) || n > upto)
		return malformed(t, e);
	r = replica_heard_tags(s->replica, &s->peer_self, upto, tag, n);
	if (r < 0)
		return err_errno(e, r, "cannot note what the peer sends");
	r = session_check_own(s, &scope->heard, e);
	if (r == 0)
		r = raise_peer(s, scope, e);
	if (r == 0)
		session_rounds_answered(s);
	return r;
}

/* Whether it counts shows when the round begins. */
static int get_resume(struct session *s, struct cursor *c, struct err *e)
{
	struct scope *scope = NULL;
	if (s->scopes_in || s->scopes_heard > 0 || !s->hello_view || !s->interests_in)
		return err_set(e, -EPROTO, "the peer sent RESUME out of place");
	int r = get_scope(s, c, &scope, e);
	if (r < 0)
		return r;
	if (scope->resume.n > 0 || scope->resume_spans.n > 0)
		return err_set(e, -EPROTO, "the peer sent RESUME twice for a scope");
	struct spans *x = &scope->resume_spans;
	r = frame_vector_get(c, &scope->resume, s->actors, s->in_actors, e);
	while (r == 0 && cursor_ok(c) && cursor_left(c) > 0 && x->n < SPANS_KEPT) {
		r = frame_vector_get(c, &x->high[x->n], s->actors, s->in_actors, e);
		if (r == 0)
			r = frame_vector_get(c, &x->low[x->n], s->actors, s->in_actors, e);
		x->n++;
	}
	if (r == 0 && (!cursor_end(c) || !spans_valid(x) || (scope->resume.n == 0 && x->n == 0)))
		r = malformed(FRAME_RESUME, e);
	if (r == 0 && x->n > 0)
		r = session_check_own(s, spans_top(x), e);
	return r < 0 ? r : session_check_own(s, &scope->resume, e);
}

static int get_mark(struct session *s, struct cursor *c, struct err *e)
{
	uint32_t actor = actor_codec_get(s->in_actors, c);
	uint64_t seq = recent_get(&actor_codec_recent(s->in_actors)->seq, c);
	if (!cursor_end(c) || seq > FRAME_SEQ_MAX)
		return malformed(FRAME_MARK, e);
	return intake_mark(s->intake, actor, seq, e);
}

static int get_vector(struct session *s, struct cursor *c, struct err *e)
{
	struct scope *scope = NULL;
	int r = get_scope(s, c, &scope, e);
	if (r < 0)
		return r;
	if (!scope->vector_awaited)
		return err_set(e, -EPROTO, "the peer sent a vector out of place");
	scope->vector_awaited = false;
	return get_told(s, c, FRAME_VECTOR, scope, e);
}

static bool is_answered(const struct session *s, const struct id *id, const struct vv *upto)
{
	const struct scope *scope = upto ? session_scope_find(s, id) : NULL;
	return scope && vv_covers(&scope->told, upto);
}

/* May the peer open another round? Those that it was told to be held here, because it all came from others first,
 * it takes for answered, though they may still be on their way or wait here for chunks. */
static bool round_allowed(const struct session *s)
{
	const uint32_t rounds = intake_rounds(s->intake), claims = intake_claims(s->intake);
	uint32_t n = rounds + claims;
	if (n < ROUNDS_MAX || n >= ROUNDS_IN_ALL)
		return n < ROUNDS_MAX;
	for (uint32_t i = 0; i < rounds; i++) {
		const struct id *id;
		const struct vv *upto = intake_upto(s->intake, i, &id);
		n -= is_answered(s, id, upto);
	}
	for (uint32_t i = 0; i < claims; i++) {
		const struct claim *c = intake_claim(s->intake, i);
		n -= is_answered(s, &c->scope, c->part ? NULL : &c->upto);
	}
	return n < ROUNDS_MAX;
}

static int get_round(struct session *s, struct cursor *c, struct err *e)
{
	struct scope *scope = NULL;
	int r = get_scope(s, c, &scope, e);
	if (r < 0)
		return r;
	uint64_t count = cursor_varint(c);
	if (scope->vector_awaited || !s->scopes_in || !intake_can_open(s->intake, &scope->id))
		return err_set(e, -EPROTO, "the peer opened a round out of place");
	if (!round_allowed(s))
		return err_set(e, -EPROTO, "the peer opened too many rounds");
	_cleanup_(vv_done) struct vv base = { 0 };
	if (s->spread && vv_copy(&scope->heard, &base) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = get_told(s, c, FRAME_ROUND, scope, e);
	if (r < 0)
		return r;
	/* It goes on where the last one was cut, if it is of a view that is no earlier. */
	bool goes_on = vv_covers(&scope->heard, &scope->resumed) && scope->resumed_spans.n > 0 &&
		       vv_covers(&scope->heard, spans_top(&scope->resumed_spans));
	r = intake_round(s->intake, &scope->id, s->spread ? &base : NULL, &scope->heard, count,
			 goes_on ? &scope->resumed_spans : NULL, e);
	vv_done(&scope->resumed);
	spans_done(&scope->resumed_spans);
	return r;
}

static int get_raise(struct session *s, struct cursor *c, uint64_t now, struct err *e)
{
	struct scope *scope = NULL;
	int r = get_scope(s, c, &scope, e);
	if (r == 0 && !intake_can_raise(s->intake, &scope->id))
		return err_set(e, -EPROTO, "the peer raised a round that is not open, or inside of a delta");
	if (r == 0 && cursor_left(c) == 0)
		return intake_raise(s->intake, &scope->id, NULL, NULL, e);
	_cleanup_(vv_done) struct vv base = { 0 };
	if (r == 0 && s->spread && vv_copy(&scope->heard, &base) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = get_told(s, c, FRAME_RAISE, scope, e);
	if (r == 0)
		r = intake_raise(s->intake, &scope->id, s->spread ? &base : NULL, &scope->heard, e);
	return r < 0 ? r : session_spread_raised(s, scope, &base, now, e);
}

static int get_ack(struct session *s, struct cursor *c, struct err *e)
{
	struct scope *scope = NULL;
	int r = get_scope(s, c, &scope, e);
	return r < 0 ? r : get_told(s, c, FRAME_ACK, scope, e);
}

static int get_eager(struct session *s, struct cursor *c, struct err *e)
{
	struct scope *scope = NULL;
	int r = get_scope(s, c, &scope, e);
	return r < 0 ? r : session_eager_get(s, c, scope, e);
}

static int get_delta(struct session *s, struct cursor *c, uint64_t cost, struct err *e)
{
	bool more;
	const uint8_t *p;
	size_t len;
	int r = frame_piece_get(c, &more, &p, &len, e);
	return r < 0 ? r : intake_delta(s->intake, more, p, len, cost, e);
}

static int get_bundle(struct session *s, struct cursor *c, uint64_t cost, struct err *e)
{
	bool more;
	const uint8_t *p;
	size_t len;
	if (intake_in_part(s->intake))
		return err_set(e, -EPROTO, "the peer sent a bundle inside of a part");
	int r = frame_piece_get(c, &more, &p, &len, e);
	return r < 0 ? r : intake_bundle(s->intake, more, p, len, cost, e);
}

static int get_record(struct session *s, struct cursor *c, uint64_t cost, struct err *e)
{
	uint64_t round = cursor_varint(c);
	const uint8_t *node = cursor_take(c, ID_SIZE);
	bool more;
	const uint8_t *p;
	size_t len;
	if (!node)
		return malformed(FRAME_RECORD, e);
	struct id id;
	memcpy(id.b, node, ID_SIZE);
	int r = frame_piece_get(c, &more, &p, &len, e);
	return r < 0 ? r : intake_record(s->intake, round, &id, more, p, len, cost, e);
}

static int get_whole(struct session *s, struct cursor *c, struct err *e)
{
	uint64_t round = cursor_varint(c);
	const uint8_t *node = cursor_take(c, ID_SIZE);
	if (!cursor_end(c))
		return malformed(FRAME_WHOLE, e);
	if (s->whole_due || s->record.busy || round == 0 || round > s->last_round)
		return err_set(e, -EPROTO, "the peer asked for a record out of place");
	s->whole_round = round;
	memcpy(s->whole_id.b, node, ID_SIZE);
	struct view *view = s->view;
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].no == round)
			view = s->out[i].view;
	s->whole_view = view_ref(view);
	s->whole_due = true;
	return 0;
}

static int get_want(struct session *s, struct cursor *c, struct err *e)
{
	size_t n = cursor_left(c) / SHA256_SIZE;
	if (n == 0 || cursor_left(c) % SHA256_SIZE)
		return malformed(FRAME_WANT, e);
	if (s->n_wanted + n > WANTED_MAX)
		return err_set(e, -EPROTO, "the peer asked for too many chunks");
	if (!s->wanted) {
		s->wanted = calloc(WANTED_MAX, sizeof(*s->wanted));
		if (!s->wanted)
			return err_set(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t at = (s->wanted_at + s->n_wanted++) % WANTED_MAX;
		memcpy(s->wanted[at].b, cursor_take(c, SHA256_SIZE), SHA256_SIZE);
	}
	return 0;
}

static int get_chunk(struct session *s, struct cursor *c, uint64_t cost, uint64_t now, struct err *e)
{
	struct sha256 hash;
	const uint8_t *p = cursor_take(c, SHA256_SIZE);
	if (!p)
		return malformed(FRAME_CHUNK, e);
	memcpy(hash.b, p, SHA256_SIZE);
	size_t len = cursor_left(c);
	if (len > CHUNK_WIRE_MAX)
		return malformed(FRAME_CHUNK, e);
	const uint8_t *data = cursor_take(c, len);
	int r = session_get_fetched(s, &hash, data, len, cost, now, e);
	return r != 0 ? (r < 0 ? r : 0) : intake_chunk(s->intake, &hash, data, len, cost, e);
}

static int get_credit(struct session *s, struct cursor *c, struct err *e)
{
	uint8_t stream = cursor_u8(c);
	uint64_t n = cursor_varint(c);
	if (!cursor_end(c) || stream >= STREAMS || n == 0 || n > s->out_flight[stream])
		return malformed(FRAME_CREDIT, e);
	s->out_flight[stream] -= n;
	return 0;
}

static int get_ping(struct session *s, struct cursor *c, struct err *e)
{
	s->pong_value = cursor_varint(c);
	s->pong_due = true;
	return cursor_end(c) ? 0 : malformed(FRAME_PING, e);
}

/* Counts a frame against the window that the peer has. */
static int count_in(struct session *s, enum stream stream, uint64_t cost, struct err *e)
{
	if (s->in_flight[stream] >= SESSION_WINDOW)
		return err_set(e, -EPROTO, "the peer sent more than its window");
	s->in_flight[stream] += cost;
	return 0;
}

static bool is_of_round(enum frame_type t)
{
	return t == FRAME_ROUND || t == FRAME_RAISE || t == FRAME_BUNDLE || t == FRAME_DELTA || t == FRAME_MARK || t == FRAME_RECORD ||
	       t == FRAME_CHUNK || t == FRAME_FOUND;
}

static void moved(struct session *s, uint64_t now)
{
	s->moved_at = now;
	s->since_moved = 0;
}

static int take_frames(struct session *s, const uint8_t *p, size_t len, size_t *ret_used, bool packed, uint64_t now,
		       struct err *e);

static int get_pack(struct session *s, struct cursor *c, uint64_t now, struct err *e)
{
	size_t used = 0;
	int r = session_unpack(s, c, e);
	if (r == 0)
		r = take_frames(s, s->unpacked_in.data, s->unpacked_in.len, &used, true, now, e);
	if (r == 0 && used < s->unpacked_in.len)
		r = err_set(e, -EPROTO, "the peer packed a frame that is not whole");
	if (!s->unpacker.ctx)
		buf_done(&s->unpacked_in);
	return r;
}

static int take_frame(struct session *s, enum frame_type t, const uint8_t *p, size_t head,
		      size_t len, uint64_t now, struct err *e)
{
	struct cursor c = cursor_make(p + head, len);
	uint64_t cost = head + len;
	int r = 0;
	if (!s->hello_in && t != FRAME_HELLO)
		return err_set(e, -EPROTO, "the peer did not begin with HELLO");
	if (s->hello_in && !s->witness_in && t != FRAME_WITNESS && t != FRAME_HELLO)
		return err_set(e, -EPROTO, "the peer did not go on with WITNESS");
	if (s->witness_in && t != FRAME_HELD && t != FRAME_PACE && t != FRAME_PACK)
		r = session_held_known(s, e);
	/* What is told behind deltas may stand on them. A place is reached once they are joined. */
	if (r == 0 && s->intake && t != FRAME_DELTA && t != FRAME_MARK && t != FRAME_PACK)
		r = intake_settle(s->intake, e);
	if (r < 0)
		return r;
	switch (t) {
	case FRAME_HELLO:
		return get_hello(s, &c, e);
	case FRAME_SCOPES:
		return get_scopes(s, &c, e);
	case FRAME_VECTOR:
		return get_vector(s, &c, e);
	case FRAME_ROUND:
		return get_round(s, &c, e);
	case FRAME_DELTA:
		r = count_in(s, STREAM_DELTA, cost, e);
		return r < 0 ? r : get_delta(s, &c, cost, e);
	case FRAME_END:
		return intake_end(s->intake, e);
	case FRAME_ACK:
		return get_ack(s, &c, e);
	case FRAME_WHOLE:
		return get_whole(s, &c, e);
	case FRAME_WANT:
		return get_want(s, &c, e);
	case FRAME_CHUNK:
		r = count_in(s, STREAM_CHUNK, cost, e);
		return r < 0 ? r : get_chunk(s, &c, cost, now, e);
	case FRAME_CREDIT:
		return get_credit(s, &c, e);
	case FRAME_PING:
		return get_ping(s, &c, e);
	case FRAME_PONG:
		return session_get_pong(s, &c, now, e);
	case FRAME_RECORD:
		r = count_in(s, STREAM_RECORD, cost, e);
		return r < 0 ? r : get_record(s, &c, cost, e);
	case FRAME_BUNDLE:
		r = count_in(s, STREAM_DELTA, cost, e);
		return r < 0 ? r : get_bundle(s, &c, cost, e);
	case FRAME_WITNESS:
		return get_witness(s, &c, e);
	case FRAME_INTEREST:
		return session_interest_get(s, &c, e);
	case FRAME_HOLDS:
		return session_get_holds(s, &c, e);
	case FRAME_HELD:
		return session_get_held(s, &c, e);
	case FRAME_MARK:
		return get_mark(s, &c, e);
	case FRAME_PACE:
		return session_get_pace(s, &c, now, e);
	case FRAME_RAISE:
		return get_raise(s, &c, now, e);
	case FRAME_RESUME:
		return get_resume(s, &c, e);
	case FRAME_PRESENCE:
		return session_get_presence(s, &c, now, e);
	case FRAME_EAGER:
		return get_eager(s, &c, e);
	case FRAME_COMPARE:
		return session_compare_get(s, &c, e);
	case FRAME_HOLD:
		return session_hold_get(s, &c, e);
	case FRAME_TAKE:
		return session_take_get(s, &c, e);
	case FRAME_LEAVE:
		return session_leave_get(s, &c, e);
	case FRAME_PART:
		return session_part_get(s, &c, e);
	case FRAME_SEEK:
		return session_get_seek(s, &c, e);
	case FRAME_FOUND:
		/* That it was in vain is as small as other frames. */
		r = len > FRAME_SEEK_HEAD ? count_in(s, STREAM_CHUNK, cost, e) : 0;
		return r < 0 ? r : session_get_found(s, &c, cost, now, e);
	case FRAME_PACK:
		return get_pack(s, &c, now, e);
	case FRAME_TYPES:
		break;
	}
	return -EPROTO;
}

/* Takes whole frames from the front; *ret_used bytes of them. */
static int take_frames(struct session *s, const uint8_t *p, size_t len, size_t *ret_used, bool packed, uint64_t now,
		       struct err *e)
{
	size_t used = 0;
	while (used < len) {
		enum frame_type t;
		size_t head, n;
		int r = frame_head(p + used, len - used, &t, &head, &n, e);
		if (r < 0)
			return r;
		if (r == 0 || len - used < head + n)
			break;
		if (packed && t == FRAME_PACK)
			return err_set(e, -EPROTO, "the peer packed a PACK frame");
		r = take_frame(s, t, p + used, head, n, now, e);
		if (r < 0)
			return r;
		if (is_of_round(t))
			moved(s, now);
		used += head + n;
	}
	*ret_used = used;
	return 0;
}

int session_input(struct session *s, const void *data, size_t len, uint64_t now_us, struct err *e)
{
	struct err why = { 0 };
	if (s->error)
		return err_set(e, s->error, "%s", s->message);
	if (len == 0)
		return 0;
	s->last_in = now_us;
	s->bytes_in += len;
	s->since_moved += len;
	if (s->since_moved >= MOVES)
		moved(s, now_us);
	const uint8_t *p = data;
	size_t used = 0;
	int r = session_same_store(s, &why);
	if (r == 0 && s->inbuf.len > 0) {
		buf_put(&s->inbuf, p, len);
		p = s->inbuf.data;
		len = s->inbuf.len;
	}
	if (r == 0)
		r = buf_failed(&s->inbuf) ? err_set(&why, -ENOMEM, "out of memory")
					  : take_frames(s, p, len, &used, false, now_us, &why);
	/* What came before a bad frame is good. */
	int settled = s->intake ? intake_settle(s->intake, r < 0 ? NULL : &why) : 0;
	r = r < 0 ? r : settled;
	if (r == 0)
		r = session_spread_claims(s, now_us, &why);
	if (r == 0 && s->inbuf.len > 0)
		buf_consume(&s->inbuf, used);
	else if (r == 0)
		buf_put(&s->inbuf, p + used, len - used);
	if (r == 0 && buf_failed(&s->inbuf))
		r = err_set(&why, -ENOMEM, "out of memory");
	if (r < 0) {
		session_fail(s, r, &why);
		return err_set(e, r, "%s", why.message);
	}
	return 0;
}
