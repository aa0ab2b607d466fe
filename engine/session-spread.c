/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session: which changes go to the peer at once, which are announced only, and what is asked of the peer in
 * that respect (shoal-protocol(7), Spreading).
 *
 * Each scope of a session is looked at when a vector of it has changed and when a time has come. What is found
 * stands in the scope: whether a round is held back, and when it begins all the same; when to announce what is
 * here; when to ask for what the peer has announced. Nothing here is needed for what is sent to be complete:
 * whatever is lost, forgotten or lied about, a round begins SPREAD_ANYHOW_US after it was held back. */
#include <errno.h>
#include <stdlib.h>

#include "engine/backlog.h"
#include "engine/replica-live.h"
#include "engine/session-impl.h"

#define STALLED_US (5ull * 1000 * 1000) /* without a piece of what a peer is in the middle of sending */

void session_spread_for(struct session *s, struct spread *spread)
{
	if (s->spread)
		return;
	s->spread = spread;
	s->spread_next = spread->first;
	spread->first = s;
}

/* ---- between sessions ---- */

static bool is_open(const struct session *s)
{
	return s->error == 0 && s->scopes_in && s->intake;
}

/* x is no worse to get changes from than s: a slow link is, whoever is at its other end. */
static bool is_as_fast(const struct session *x, const struct session *s)
{
	return !x->peer_slow || s->peer_slow;
}

static bool is_other(const struct session *x, const struct session *s, bool fast)
{
	return x != s && is_open(x) && !(fast && x->peer_slow);
}

/* Another session (fast: whose link is not slow) has brought changes of that actor first. */
static bool has_other(const struct session *s, const struct id *scope, uint32_t actor, bool fast)
{
	for (const struct session *x = s->spread->first; x; x = x->spread_next)
		if (is_other(x, s, fast) && session_shares(x, scope) &&
		    wishes_state(&x->own_wishes, scope, actor) == WISH_FIRST)
			return true;
	return false;
}

/* Until when a round that has it counts as on its way, on whichever session, if nothing more of it comes: a peer
 * that only lives brings nothing. 0: none does. */
static uint64_t coming_until(const struct session *s, const struct id *scope, struct dot d, uint64_t now)
{
	uint64_t until = 0;
	for (const struct session *x = s->spread->first; x; x = x->spread_next)
		if (is_open(x) && is_as_fast(x, s) && now < x->moved_at + STALLED_US && x->moved_at + STALLED_US > until &&
		    intake_brings(x->intake, scope, d))
			until = x->moved_at + STALLED_US;
	return until;
}

/* When another session that was asked for it has had its time; 0: none was. */
static uint64_t asked_until(const struct session *s, const struct id *scope, uint32_t actor, uint64_t now)
{
	uint64_t until = 0;
	for (const struct session *x = s->spread->first; x; x = x->spread_next) {
		const struct wish *w = x != s && is_open(x) ? wishes_find(&x->own_wishes, scope, actor) : NULL;
		if (w && w->state == WISH_ASKED && now < w->at_us + SPREAD_NEXT_US && w->at_us + SPREAD_NEXT_US > until)
			until = w->at_us + SPREAD_NEXT_US;
	}
	return until;
}

static int newest_first(const void *a, const void *b)
{
	const struct wish *const *x = a, *const *y = b;
	return (*x)->at_us < (*y)->at_us ? 1 : (*x)->at_us > (*y)->at_us ? -1 : 0;
}

/* Others that were told to be lazy about it are to be so no more; unless one of them was first since then or not
 * long before: what comes over that one goes on doing so, as if the link that ended had never been. */
static void ask_others(const struct session *s, const struct wish *w, bool fast)
{
	for (const struct session *x = s->spread->first; x; x = x->spread_next) {
		const struct wish *y = is_other(x, s, fast) ? wishes_find(&x->own_wishes, &w->scope, w->actor) : NULL;
		if (y && y->state == WISH_FIRST && y->at_us + SPREAD_AGAIN_US > w->at_us)
			return;
	}
	for (struct session *x = s->spread->first; x; x = x->spread_next) {
		struct wish *y = is_other(x, s, fast) ? wishes_find(&x->own_wishes, &w->scope, w->actor) : NULL;
		if (y && y->state == WISH_LAZY)
			wishes_set(&x->own_wishes, y, WISH_ASKED, true, x->spread_now);
	}
}

/* What came over this session first comes over none now, or slowly. That which came last is asked of others (fast:
 * whose links are not slow); the rest they announce, and then it is asked for. */
static void repair(const struct session *s, bool fast)
{
	const struct wish **list = calloc(s->own_wishes.n + 1, sizeof(struct wish *));
	uint32_t n = 0;
	if (!list)
		return;
	for (uint32_t i = 0; i < s->own_wishes.n; i++) {
		const struct wish *w = &s->own_wishes.wish[i];
		if (w->state == WISH_FIRST || w->state == WISH_ASKED)
			list[n++] = w;
	}
	qsort(list, n, sizeof(struct wish *), newest_first);
	for (uint32_t i = 0; i < n && i < SPREAD_REPAIR_MAX; i++)
		ask_others(s, list[i], fast);
	free(list);
}

void session_spread_slow(const struct session *s)
{
	if (s->spread)
		repair(s, true);
}

void session_spread_leave(struct session *s)
{
	for (struct session **at = s->spread ? &s->spread->first : NULL; at && *at; at = &(*at)->spread_next)
		if (*at == s) {
			*at = s->spread_next;
			repair(s, false);
			break;
		}
	wishes_done(&s->own_wishes);
	wishes_done(&s->peer_wishes);
}

/* ---- what came, and from whom first ---- */

static int note_fresh(struct session *s, const struct id *scope, uint32_t actor, uint64_t now)
{
	struct wish *w;
	int r = wishes_make_room(&s->own_wishes, scope, actor, now, &w);
	if (r < 0)
		return r == -ENOSPC ? 0 : r;
	/* What was on its way when the peer was told to be lazy, or came along with other changes. */
	if (w->state != WISH_LAZY)
		wishes_set(&s->own_wishes, w, WISH_FIRST, w->due, now);
	return 0;
}

static int note_late(struct session *s, const struct id *scope, uint32_t actor, uint64_t now)
{
	struct wish *w;
	/* Nobody has them before who makes them, unless the link is slow; and who has them from nobody else does not do
	 * without. */
	const bool maker = id_equal(&actors_get(s->actors, actor)->device, &s->peer);
	if ((maker && !s->peer_slow) || !has_other(s, scope, actor, maker || !s->peer_slow))
		return 0;
	int r = wishes_make_room(&s->own_wishes, scope, actor, now, &w);
	if (r < 0)
		return r == -ENOSPC ? 0 : r;
	if (w->state != WISH_LAZY || now >= w->at_us + SPREAD_AGAIN_US)
		wishes_set(&s->own_wishes, w, WISH_LAZY, true, now);
	return 0;
}

int session_spread_claims(struct session *s, uint64_t now, struct err *e)
{
	struct claim *c;
	int r = 0;
	while (r == 0 && s->spread && s->intake && (c = intake_claim_unseen(s->intake))) {
		for (uint32_t i = 0; r == 0 && i < c->fresh.n; i++)
			r = note_fresh(s, &c->scope, c->fresh.item[i].actor, now);
		for (uint32_t i = 0; r == 0 && i < c->late.n; i++)
			r = note_late(s, &c->scope, c->late.item[i].actor, now);
		c->seen = true;
	}
	return r < 0 ? err_errno(e, r, "cannot note who was first") : 0;
}

int session_spread_raised(struct session *s, const struct scope *scope, const struct vv *base, uint64_t now,
			  struct err *e)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && s->spread && i < scope->heard.n; i++) {
		const struct dot d = { scope->heard.item[i].actor, scope->heard.item[i].seq };
		if (!vv_has(base, d) && replica_has(s->replica, &scope->id, d))
			r = note_late(s, &scope->id, d.actor, now);
	}
	return r < 0 ? err_errno(e, r, "cannot note who was first") : 0;
}

/* ---- looking ---- */

/* Is word enough of that which the peer lacks? */
static bool is_lazy(const struct session *s, const struct scope *scope, const struct vv_item *x)
{
	return x->seq > vv_get(&scope->sent, x->actor) &&
	       wishes_state(&s->peer_wishes, &scope->id, x->actor) == WISH_LAZY;
}

static bool owes_word(const struct session *s, const struct scope *scope)
{
	bool any = false;
	for (uint32_t i = 0; !any && s->peer_wishes.n_lazy > 0 && i < scope->have->n; i++)
		any = is_lazy(s, scope, &scope->have->item[i]);
	return any;
}

bool session_spread_due(const struct session *s, const struct scope *scope)
{
	bool any = scope->anyhow || s->peer_wishes.n_lazy == 0;
	for (uint32_t i = 0; !any && i < scope->have->n; i++) {
		const struct vv_item *x = &scope->have->item[i];
		any = x->seq > vv_get(&scope->sent, x->actor) && !is_lazy(s, scope, x);
	}
	return any;
}

/* Is all that the round was to bring of the actor held by the peer already, or nothing? */
static bool brings_none(const struct scope *scope, const struct outgoing *o, uint32_t actor)
{
	const uint64_t upto = vv_get(&o->upto, actor);
	return upto <= vv_get(&scope->heard, actor) || upto <= vv_get(backlog_known(o->backlog), actor);
}

int session_spread_upto(const struct session *s, const struct scope *scope, const struct outgoing *o, struct vv *ret)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < scope->have->n; i++) {
		struct vv_item x = scope->have->item[i];
		const uint64_t sent = vv_get(&scope->sent, x.actor);
		/* For each actor the round goes up to `have`, or only to `sent`, which takes no walk: the dot index has
		 * what lies behind a vector up to `have`, but up to nothing before that (engine/replica.h, Vectors),
		 * because an entry goes when the actor has changed the node again. The peer claims what it was told, so of
		 * whom more was announced than sent, all has to come along. So it has to of whom a round that is
		 * raised brings something: from then on it is walked in the newer view, where an entry that it did not
		 * come to yet may have gone up. */
		if (!scope->anyhow && is_lazy(s, scope, &x) && vv_get(&scope->told, x.actor) <= sent &&
		    (!o || brings_none(scope, o, x.actor)))
			x.seq = sent;
		if (x.seq > 0)
			r = vv_raise(ret, x.actor, x.seq);
	}
	return r;
}

/* When is that which is held back sent all the same? */
static int look_at_debt(struct session *s, struct scope *scope, bool owes, uint64_t now)
{
	const bool was = scope->anyhow;
	int r = 0;
	if (!owes) {
		scope->owed_at = 0;
	} else if (scope->owed_at == 0 || vv_covers(&scope->heard, &scope->owed)) {
		/* The time begins anew when the peer has got what it was about, for what came since. */
		vv_done(&scope->owed);
		scope->owed_at = now + SPREAD_ANYHOW_US;
		r = vv_copy(scope->have, &scope->owed);
	}
	scope->anyhow = scope->owed_at > 0 && now >= scope->owed_at;
	if (scope->anyhow && !was)
		s->idle = false;
	return r;
}

/* Is there something to announce? A round tells what it brings. */
static void look_at_word(struct scope *scope, bool owes, bool lacks, uint64_t now)
{
	if (vv_covers(&scope->told, scope->have) || (lacks && !owes))
		scope->announce_at = 0;
	else if (scope->announce_at == 0)
		scope->announce_at = now + SPREAD_GATHER_US;
}

/* Asks for what the peer has announced and nobody else brings. */
static void look_at_gaps(struct session *s, struct scope *scope, uint64_t now)
{
	bool missing = false;
	uint64_t again = UINT64_MAX;
	if (!s->spread || s->own_wishes.n_lazy == 0 || (scope->have && vv_covers(scope->have, &scope->heard))) {
		scope->ask_at = 0;
		return;
	}
	for (uint32_t i = 0; i < scope->heard.n; i++) {
		const struct dot d = { scope->heard.item[i].actor, scope->heard.item[i].seq };
		struct wish *w = wishes_find(&s->own_wishes, &scope->id, d.actor);
		if (!w || w->state != WISH_LAZY || (scope->have && vv_has(scope->have, d)) ||
		    replica_has(s->replica, &scope->id, d))
			continue;
		missing = true;
		if (scope->ask_at == 0 || now < scope->ask_at)
			continue;
		const uint64_t coming = coming_until(s, &scope->id, d, now);
		const uint64_t until = coming > 0 ? coming : asked_until(s, &scope->id, d.actor, now);
		if (until == 0)
			wishes_set(&s->own_wishes, w, WISH_ASKED, true, now);
		else if (until < again)
			again = until;
	}
	if (!missing) {
		scope->ask_at = 0;
	} else if (scope->ask_at == 0) {
		scope->ask_at = now + SPREAD_PATIENCE_US;
	} else if (now >= scope->ask_at) {
		/* What others bring or were asked for is looked after when their time is over. */
		scope->ask_at = again < UINT64_MAX ? again : 0;
	}
}

static void sooner(struct session *s, uint64_t at, uint64_t now)
{
	if (at > now && at < s->spread_at)
		s->spread_at = at;
}

int session_spread_look(struct session *s, uint64_t now)
{
	int r = 0;
	s->spread_now = now;
	if (!s->scopes_in || s->scopes_out || (s->idle && now < s->spread_at))
		return 0;
	/* Without wishes there is nothing to find: rounds and what acknowledges them tell all. */
	if (s->own_wishes.n_lazy == 0 && s->peer_wishes.n_lazy == 0 && s->spread_at == UINT64_MAX)
		return 0;
	s->spread_at = UINT64_MAX;
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		struct scope *scope = s->scope[i];
		if (scope->vector_due || scope->vector_awaited)
			continue;
		look_at_gaps(s, scope, now);
		sooner(s, scope->ask_at, now);
		if (!scope->have) {
			scope->announce_at = scope->owed_at = 0;
			continue;
		}
		const bool lacks = !vv_covers(&scope->sent, scope->have), owes = lacks && owes_word(s, scope);
		r = look_at_debt(s, scope, owes, now);
		if (r < 0)
			return r;
		look_at_word(scope, owes, lacks, now);
		sooner(s, scope->owed_at, now);
		if (scope->announce_at > 0)
			sooner(s, scope->announce_at > now ? scope->announce_at : now + 1, now);
	}
	return 0;
}

uint64_t session_spread_deadline(const struct session *s)
{
	if (!is_open(s) || s->scopes_out)
		return UINT64_MAX;
	return s->own_wishes.n_due > 0 ? 0 : s->spread_at;
}

/* ---- frames ---- */

static int by_identifier(const void *a, const void *b, void *userdata)
{
	const struct wish *const *x = a, *const *y = b;
	return actors_cmp(userdata, (*x)->actor, (*y)->actor);
}

/* The wishes that are due from the i-th on which are of one scope. */
static int put_eager(struct session *s, struct buf *out, uint32_t *i)
{
	struct wish *list[FRAME_EAGER_MAX];
	struct scope *scope;
	uint32_t n = 0;
	const struct id id = s->own_wishes.wish[*i].scope;
	for (; *i < s->own_wishes.n && n < FRAME_EAGER_MAX && id_equal(&s->own_wishes.wish[*i].scope, &id); ++*i)
		if (s->own_wishes.wish[*i].due)
			list[n++] = &s->own_wishes.wish[*i];
	if (n == 0)
		return 0;
	int r = session_scope(s, &id, &scope);
	if (r < 0)
		return r;
	qsort_r(list, n, sizeof(list[0]), by_identifier, s->actors);
	buf_reset(&s->payload);
	session_put_scope(s, scope);
	for (uint32_t k = 0; k < n; k++) {
		actor_codec_put(s->out_actors, &s->payload, list[k]->actor);
		buf_u8(&s->payload, list[k]->state != WISH_LAZY);
		wishes_set(&s->own_wishes, list[k], list[k]->state, false, list[k]->at_us);
	}
	return frame_put(out, FRAME_EAGER, &s->payload);
}

int session_spread_put(struct session *s, struct buf *out, bool along, uint64_t now)
{
	int r = 0;
	if (!s->scopes_in || s->scopes_out)
		return 0;
	along |= s->own_wishes.n_due > 0;
	for (uint32_t i = 0; r == 0 && s->own_wishes.n_due > 0 && i < s->own_wishes.n;)
		r = put_eager(s, out, &i);
	if (s->spread_at == UINT64_MAX)
		return r;
	for (uint32_t i = 0; r == 0 && i < s->n_scopes; i++) {
		struct scope *scope = s->scope[i];
		if (scope->announce_at == 0 || (!along && now < scope->announce_at))
			continue;
		scope->announce_at = 0;
		if (scope->have && !vv_covers(&scope->told, scope->have))
			r = session_put_ack(s, scope, out);
		along = true;
	}
	return r;
}

static int malformed(struct err *e)
{
	return err_set(e, -EPROTO, "the peer sent a malformed EAGER frame");
}

int session_eager_get(struct session *s, struct cursor *c, struct scope *scope, struct err *e)
{
	uint32_t last = ACTOR_NONE;
	if (!s->scopes_in)
		return err_set(e, -EPROTO, "the peer sent EAGER out of place");
	if (cursor_left(c) == 0)
		return malformed(e);
	for (uint32_t n = 0; cursor_left(c) > 0; n++) {
		const uint32_t actor = actor_codec_get(s->in_actors, c);
		const uint8_t on = cursor_u8(c);
		if (!cursor_ok(c) || on > 1 || n == FRAME_EAGER_MAX ||
		    (last != ACTOR_NONE && actors_cmp(s->actors, last, actor) >= 0))
			return malformed(e);
		last = actor;
		struct wish *w = wishes_find(&s->peer_wishes, &scope->id, actor);
		if (on && w)
			wishes_drop(&s->peer_wishes, w);
		int r = on ? 0 : wishes_get(&s->peer_wishes, &scope->id, actor, &w);
		if (r == -ENOSPC)
			return err_set(e, -EPROTO, "the peer wants only word of more than %u actors' changes",
				       SPREAD_WISHES_MAX);
		if (r < 0)
			return err_set(e, r, "out of memory");
		if (!on)
			wishes_set(&s->peer_wishes, w, WISH_LAZY, false, 0);
	}
	s->idle = false;
	return 0;
}
