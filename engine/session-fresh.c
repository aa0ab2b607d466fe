/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is changed now comes first on a slow link, whichever scope it is of: shoal-protocol(7), "Newest first".
 *
 * It gets four fifths of the link at most, but for short times: else who changes something all the time would never
 * get to the end of a round, and what has waited would never come. */
#include <errno.h>
#include <stdlib.h>

#include "engine/backlog.h"
#include "engine/session-part.h"

#define SHARE 4    /* bytes of what comes first for each of what waits */
#define BURST 4096 /* more of them, for some time */

/* Which scopes were changed since the view before: they come first. What waited when the first was looked at is no
 * news. */
int session_fresh_look(struct session *s)
{
	uint64_t commits = view_commits(s->view);
	if (!s->pace.slow || !s->scopes_in || s->looked == commits)
		return 0;
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		struct scope *scope = s->scope[i];
		if (!scope->have || vv_covers(&scope->sent, scope->have) || vv_covers(&scope->seen, scope->have))
			continue;
		/* What is only announced waits for nothing. */
		if (session_spread_due(s, scope))
			scope->fresh = s->looked > 0;
		int r = vv_join(&scope->seen, scope->have);
		if (r < 0)
			return r;
	}
	s->looked = commits;
	return 0;
}

static struct outgoing *oldest(struct session *s)
{
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog)
			return &s->out[i];
	return NULL;
}

void session_fresh_sent(struct session *s, const struct outgoing *o, size_t bytes)
{
	if (!backlog_turned(o->backlog))
		return;
	if (o != oldest(s) || backlog_ahead(o->backlog))
		s->ahead += bytes;
	else
		s->behind += bytes;
}

bool session_in_debt(struct session *s)
{
	uint64_t due = SHARE * s->behind;
	s->in_debt = s->ahead > due + (s->in_debt ? 0 : BURST);
	/* Neither saves up. */
	if (s->ahead < due)
		s->ahead = due;
	if (s->ahead > due + 2 * BURST)
		s->ahead = due + 2 * BURST;
	return s->in_debt;
}

struct outgoing *session_round_of(struct session *s, const struct scope *scope)
{
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog && (scope ? s->out[i].scope == scope : s->out[i].no == s->open))
			return &s->out[i];
	return NULL;
}

/* One with something that was changed since it began. */
static struct outgoing *raised(struct session *s)
{
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog && backlog_raised(s->out[i].backlog))
			return &s->out[i];
	return NULL;
}

/* A scope that can come first now, while `o` is under way; or the one that has waited longest, when that has its
 * turn. */
struct scope *session_fresh_next(struct session *s, const struct outgoing *o)
{
	uint32_t open = 0;
	if (session_in_debt(s)) {
		const struct outgoing *first = oldest(s);
		if (!first || first == o)
			return NULL;
		o->scope->fresh = true; /* it goes on after that */
		return first->scope;
	}
	/* Of several that were changed each sends something before the next one does. */
	bool more = backlog_raised(o->backlog);
	if (more && o->in_turn == 0)
		return NULL;
	for (uint32_t i = 0; i < s->n_rounds; i++)
		open += s->out[i].backlog != NULL;
	for (uint32_t k = 0; k < s->n_scopes; k++) {
		uint32_t i = (s->next_fresh + k) % s->n_scopes;
		struct scope *scope = s->scope[i];
		if (!scope->fresh || scope == o->scope || !scope->have || scope->vector_due || scope->vector_awaited)
			continue;
		if (!session_round_of(s, scope) &&
		    (open == OPEN_MAX || session_part_waits(s) || s->n_rounds == ROUNDS_OUT ||
		     vv_covers(&scope->sent, scope->have) || !session_spread_due(s, scope)))
			continue;
		o->scope->fresh |= more; /* it goes on after that */
		s->next_fresh = i + 1;
		return scope;
	}
	/* What was changed and then left for another goes before what waits. */
	const struct outgoing *left = more ? NULL : raised(s);
	return left ? left->scope : NULL;
}

struct outgoing *session_fresh_left(struct session *s)
{
	struct outgoing *left = raised(s);
	for (uint32_t i = s->n_rounds; !left && i-- > 0;)
		if (s->out[i].backlog)
			left = &s->out[i];
	return left;
}

/* ---- records of nodes of which a delta did not fit ---- */

#define PARTS_MAX 256 /* more are not on their way over a slow link at a time */

struct part_sent {
	struct id node;
	struct id version;
};

int session_fresh_part(struct session *s, const struct record *sent)
{
	if (!s->sent_parts)
		s->sent_parts = calloc(PARTS_MAX, sizeof(*s->sent_parts));
	if (!s->sent_parts)
		return -ENOMEM;
	struct part_sent *p = &s->sent_parts[s->n_sent_parts++ % PARTS_MAX];
	p->node = sent->id;
	record_version(sent, s->actors, &p->version);
	return 0;
}

/* The record is the one that its delta was of: what goes with it went with that. */
static bool is_as_sent(struct session *s, const struct record *whole)
{
	struct id version;
	record_version(whole, s->actors, &version);
	bool found = false;
	for (uint32_t i = 0; i < s->n_sent_parts && i < PARTS_MAX; i++) {
		if (!id_equal(&s->sent_parts[i].node, &whole->id))
			continue;
		/* Of two that differ it may be the first that did not fit. */
		if (!id_equal(&s->sent_parts[i].version, &version))
			return false;
		found = true;
	}
	return found;
}

/* A record of a newer view than that of its delta may have changes of batches whose other nodes were not sent
 * yet. It seldom comes to that; a session that begins anew has one view. */
int session_fresh_whole(struct session *s, const struct record *whole, struct err *e)
{
	for (uint32_t i = 0; i < s->n_rounds; i++) {
		if (s->out[i].no != s->whole_round || !s->out[i].raised || is_as_sent(s, whole))
			continue;
		int r = view_alone(s->whole_view, &s->whole_id, &s->out[i].scope->heard, &s->arena, e);
		if (r == 0)
			return err_set(e, -ESTALE, "the peer lacks what a newer change stands on: "
						   "the link begins anew");
		return r < 0 ? r : 0;
	}
	return 0;
}
