/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session: HELLO, what each side holds, rounds out, acknowledgements, credits, life. Frames and
 * rules: shoal-protocol(7). engine/frame.h has the encoding, engine/intake.h the receiving half.
 *
 * For each scope three vectors: `told`, what we said that we hold; `heard`, what the peer said that
 * it holds; `sent`, heard and the uptos of our rounds. A round starts for a scope whose vector in
 * the newest view is beyond `sent`. Nothing is encoded before there is room to send it, because the
 * tables of actors and scopes must see the frames in the order of the stream. */
#include "engine/backlog.h"
#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session-part.h"

int session_fail(struct session *s, int code, struct err *e)
{
	/* To the decoder it is nonsense like any other. */
	if (code == -EPROTO && s->strangers.overrun)
		err_set(e, code, "the peer introduced more than %u actors that are new here",
			SESSION_STRANGERS);
	if (s->error == 0) {
		s->error = code;
		snprintf(s->message, sizeof(s->message), "%.190s", e ? e->message : "");
	}
	return code;
}

/* A store that has become another incarnation is known to the peer by names that it has not any more. */
int session_same_store(const struct session *s, struct err *e)
{
	if (s->renewals != replica_renewals(s->replica))
		return err_set(e, -ESTALE, "this store goes on as a new incarnation: the link begins anew");
	if (s->interest_changes != replica_interest_changes(s->replica))
		return err_set(e, -ESTALE, "what this device keeps has changed: the link begins anew");
	return 0;
}

/* ---- scopes ---- */

static uint32_t scope_at(const struct session *s, const struct id *id)
{
	uint32_t lo = 0, hi = s->n_scopes;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (id_cmp(&s->scope[mid]->id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct scope *session_scope_find(const struct session *s, const struct id *id)
{
	uint32_t i = scope_at(s, id);
	return i < s->n_scopes && id_equal(&s->scope[i]->id, id) ? s->scope[i] : NULL;
}

int session_scope(struct session *s, const struct id *id, struct scope **ret)
{
	uint32_t i = scope_at(s, id);
	if (i < s->n_scopes && id_equal(&s->scope[i]->id, id)) {
		*ret = s->scope[i];
		return 0;
	}
	if (s->n_scopes == s->cap_scopes) {
		uint32_t cap = s->cap_scopes ? 2 * s->cap_scopes : 16;
		struct scope **p = reallocarray(s->scope, cap, sizeof(struct scope *));
		if (!p)
			return -ENOMEM;
		s->scope = p;
		s->cap_scopes = cap;
	}
	struct scope *scope = calloc(1, sizeof(*scope));
	if (!scope)
		return -ENOMEM;
	scope->id = *id;
	scope->in_no = scope->out_no = NO_NUMBER;
	memmove(&s->scope[i + 1], &s->scope[i], (s->n_scopes - i) * sizeof(struct scope *));
	s->scope[i] = scope;
	s->n_scopes++;
	*ret = scope;
	return 0;
}

static void scope_free(struct scope *scope)
{
	vv_done(&scope->told);
	vv_done(&scope->heard);
	vv_done(&scope->sent);
	vv_done(&scope->resume);
	spans_done(&scope->resume_spans);
	vv_done(&scope->resumed);
	vv_done(&scope->seen);
	spans_done(&scope->resumed_spans);
	vv_done(&scope->owed);
	free(scope);
}

/* Takes the newest view, and its vectors into the scopes. */
int session_refresh(struct session *s, struct err *e)
{
	struct view *view = replica_view(s->replica);
	if (!view)
		return err_set(e, -ENOMEM, "out of memory");
	s->news = false;
	s->idle = false;
	if (view == s->view) {
		view_unref(view);
		return 0;
	}
	if (s->hello_out && view_interest_changes(view) != s->interest_changes) {
		view_unref(view);
		return session_same_store(s, e);
	}
	if (s->view)
		view_unref(s->view);
	s->view = view;
	session_parts_news(s);
	return session_scopes_of_view(s, e);
}

int session_scopes_of_view(struct session *s, struct err *e)
{
	for (uint32_t i = 0; i < s->n_scopes; i++)
		s->scope[i]->have = NULL;
	for (uint32_t i = 0; i < view_scopes(s->view); i++) {
		struct id id;
		const struct vv *have;
		struct scope *scope = NULL;
		view_scope(s->view, i, &id, &have);
		if (!session_shares(s, &id))
			continue;
		if (session_scope(s, &id, &scope) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		scope->have = have;
	}
	return 0;
}

bool session_all_heard(const struct session *s)
{
	for (uint32_t i = 0; i < s->n_scopes; i++)
		if (s->scope[i]->have && !vv_covers(&s->scope[i]->heard, s->scope[i]->have))
			return false;
	return true;
}

bool session_all_here(const struct session *s)
{
	static const struct vv none;
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		const struct scope *scope = s->scope[i];
		if (!vv_covers(scope->have ? scope->have : &none, &scope->heard))
			return false;
	}
	return true;
}

/* ---- rounds that wait for an answer ---- */

bool session_rounds_open(const struct session *s)
{
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog)
			return true;
	return false;
}

void session_round_drop(struct session *s, uint32_t i)
{
	backlog_free(s->out[i].backlog);
	vv_done(&s->out[i].upto);
	view_unref(s->out[i].view);
	s->n_rounds--;
	memmove(&s->out[i], &s->out[i + 1], (s->n_rounds - i) * sizeof(s->out[0]));
}

/* Rounds that the peer holds now; an open one is ended first. */
void session_rounds_answered(struct session *s)
{
	for (uint32_t i = 0; i < s->n_rounds;) {
		bool open = s->out[i].backlog;
		if (!open && vv_covers(&s->out[i].scope->heard, &s->out[i].upto))
			session_round_drop(s, i);
		else
			i++;
	}
	s->idle = false;
}

/* ---- the rest ---- */

int session_new(struct replica *replica, const struct id *peer, uint64_t now_us,
		struct session **ret)
{
	_cleanup_(session_freep) struct session *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->replica = replica;
	s->actors = replica_actors(replica);
	s->peer = *peer;
	s->last_in = s->last_ping = s->spread_now = now_us;
	s->spread_at = UINT64_MAX;
	s->strangers.left = SESSION_STRANGERS;
	int r = actor_codec_new(s->actors, &s->in_actors);
	if (r == 0)
		actor_codec_limit(s->in_actors, &s->strangers);
	if (r == 0)
		r = actor_codec_new(s->actors, &s->out_actors);
	if (r == 0)
		r = actor_codec_new(s->actors, &s->delta_actors);
	if (r == 0)
		r = actor_codec_new(s->actors, &s->record_actors);
	/* First the number: what this device keeps is changed by who looks at the last one. */
	s->meeting = replica_meeting(replica);
	s->peer_keeps = replica_peer_interests(replica, peer);
	if (r == 0)
		r = session_refresh(s, NULL);
	if (r < 0)
		return r;
	s->hello_view = view_ref(s->view);
	s->renewals = view_renewals(s->view);
	s->interest_changes = view_interest_changes(s->view);
	replica_own(replica, &s->own, &s->acknowledged);
	r = session_common(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	session_spread_leave(s);
	session_parts_free(s);
	while (s->n_rounds > 0)
		session_round_drop(s, s->n_rounds - 1);
	for (uint32_t i = 0; i < s->n_scopes; i++)
		scope_free(s->scope[i]);
	intake_free(s->intake);
	if (s->whole_view)
		view_unref(s->whole_view);
	free(s->sent_parts);
	if (s->hello_view)
		view_unref(s->hello_view);
	if (s->view)
		view_unref(s->view);
	actor_codec_free(s->in_actors);
	actor_codec_free(s->out_actors);
	actor_codec_free(s->delta_actors);
	actor_codec_free(s->record_actors);
	buf_done(&s->inbuf);
	buf_done(&s->unpacked_in);
	buf_done(&s->unpacked_out);
	packer_done(&s->packer);
	unpacker_done(&s->unpacker);
	buf_done(&s->payload);
	buf_done(&s->bundle.data);
	buf_done(&s->delta.data);
	buf_done(&s->record.data);
	buf_done(&s->chunk);
	buf_done(&s->given);
	buf_done(&s->unfound);
	fetch_leave(s->source);
	presence_leave(s->side);
	buf_done(&s->holds.ask);
	buf_done(&s->holds.reply);
	arena_done(&s->arena);
	interests_unref(s->peer_keeps);
	interests_room_done(&s->room);
	free(s->common);
	free(s->in_scope);
	free(s->scope);
	free(s->wanted);
	free(s);
}

void session_unpacked(struct session *s)
{
	s->unpacked = true;
}

void session_news(struct session *s)
{
	s->news = true;
}

/* ---- life ---- */

static uint64_t last_sign(const struct session *s)
{
	return s->last_in > s->last_ping ? s->last_in : s->last_ping;
}

uint64_t session_ping_at(const struct session *s)
{
	if (!s->hello_in || s->ping_out)
		return UINT64_MAX;
	if (!s->live || s->n_rounds > 0)
		return last_sign(s) + PING_US;
	/* Each hears the other's: so one of the two asks, for both. */
	return last_sign(s) + (id_cmp(&s->own.device, &s->peer) < 0 ? IDLE_PING_US : SPARE_PING_US);
}

uint64_t session_dead_at(const struct session *s)
{
	if (!s->hello_in)
		return s->last_in + HELLO_US;
	/* An answer comes behind all that is on its way. */
	return s->ping_out ? last_sign(s) + PONG_US + pace_drain_us(&s->pace) : UINT64_MAX;
}

uint64_t session_deadline(const struct session *s)
{
	if (s->error)
		return UINT64_MAX;
	uint64_t dead = session_dead_at(s), ping = session_ping_at(s);
	uint64_t at = ping < dead ? ping : dead;
	uint64_t fetch = s->source ? fetch_deadline(s->source) : UINT64_MAX;
	uint64_t seek = s->source ? fetch_seek_deadline(s->source) : UINT64_MAX;
	uint64_t tell = s->side ? presence_deadline(s->side) : UINT64_MAX;
	uint64_t pace = s->hello_in ? session_pace_deadline(s) : UINT64_MAX;
	uint64_t spread = session_spread_deadline(s);
	at = fetch < at ? fetch : at;
	at = seek < at ? seek : at;
	at = pace < at ? pace : at;
	at = spread < at ? spread : at;
	uint64_t burst = session_burst_deadline(s);
	at = burst < at ? burst : at;
	return tell < at ? tell : at;
}

/* Commits that `have` is ahead of `of`: a stand-in for nodes before a round counts them. */
static uint64_t ahead(const struct vv *have, const struct vv *of)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < have->n; i++) {
		uint64_t base = vv_get(of, have->item[i].actor);
		n += have->item[i].seq > base ? have->item[i].seq - base : 0;
	}
	return n;
}

void session_status(const struct session *s, struct session_status *ret)
{
	*ret = (struct session_status){ .phase = !s->hello_in ? SESSION_HELLO
						 : s->live    ? SESSION_LIVE
							      : SESSION_SYNCING,
					.bytes_in = s->bytes_in,
					.bytes_out = s->bytes_out,
					.deltas_out = s->deltas_out,
					.rtt_us = s->rtt,
					.rate_out = s->pace.rate,
					.slow_out = s->pace.slow,
					.measured_us = s->pace.measured_us,
					.rate_in = s->peer_rate,
					.slow_in = s->peer_slow,
					.since_us = s->last_in };
	if (s->intake) {
		ret->deltas_in = intake_deltas(s->intake);
		ret->behind_here = intake_left(s->intake);
	}
	static const struct vv none;
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		const struct scope *scope = s->scope[i];
		if (scope->have && s->scopes_in && !scope->vector_awaited)
			ret->behind_there += ahead(scope->have, &scope->sent);
		if (ret->behind_here == 0)
			ret->behind_here =
				ahead(&scope->heard, scope->have ? scope->have : &none) > 0;
	}
	for (uint32_t i = 0; i < s->n_rounds; i++) {
		bool open = s->out[i].backlog;
		ret->behind_there += s->out[i].nodes ? s->out[i].nodes : open;
	}
}

enum session_work session_work(const struct session *s)
{
	struct session_status now;
	session_status(s, &now);
	/* On a slow link contents that somebody waits for are few bytes a second. */
	bool contents = s->n_wanted > 0 || (s->source && (fetch_deadline(s->source) != UINT64_MAX || fetch_seeks(s->source)));
	if (s->error)
		return SESSION_IDLE;
	if (!s->live)
		return SESSION_COMPARING;
	if (contents)
		return SESSION_CONTENTS;
	return now.behind_here > SESSION_FEW || now.behind_there > SESSION_FEW ? SESSION_CHANGES : SESSION_IDLE;
}

bool session_is_busy(const struct session *s)
{
	return session_work(s) != SESSION_IDLE;
}

bool session_peer_actor(const struct session *s, struct actor_id *ret)
{
	if (s->hello_in)
		*ret = s->peer_self;
	return s->hello_in;
}

bool session_in_step(const struct session *s)
{
	if (s->error || !s->scopes_in || session_same_store(s, NULL) < 0)
		return false;
	struct view *view = replica_view(s->replica);
	if (!view)
		return false;
	bool all = true;
	for (uint32_t i = 0; all && i < view_scopes(view); i++) {
		struct id id;
		const struct vv *have;
		view_scope(view, i, &id, &have);
		if (!view_shares(view, s->peer_keeps, &id))
			continue;
		const struct scope *scope = session_scope_find(s, &id);
		all = scope ? vv_covers(&scope->heard, have) : have->n == 0;
	}
	view_unref(view);
	return all;
}
