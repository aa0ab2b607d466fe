/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is changed now comes first on a slow link, whichever scope it is of: shoal-protocol(7), "Newest first". */
#include "engine/session-impl.h"

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
		scope->fresh = s->looked > 0;
		int r = vv_join(&scope->seen, scope->have);
		if (r < 0)
			return r;
	}
	s->looked = commits;
	return 0;
}

struct outgoing *session_round_of(struct session *s, const struct scope *scope)
{
	for (uint32_t i = 0; i < s->n_rounds; i++)
		if (s->out[i].backlog && (scope ? s->out[i].scope == scope : s->out[i].no == s->open))
			return &s->out[i];
	return NULL;
}

/* A scope that can come first now, while `o` is under way. */
struct scope *session_fresh_next(struct session *s, const struct outgoing *o)
{
	uint32_t open = 0;
	for (uint32_t i = 0; i < s->n_rounds; i++)
		open += s->out[i].backlog != NULL;
	for (uint32_t i = 0; i < s->n_scopes; i++) {
		struct scope *scope = s->scope[i];
		if (!scope->fresh || scope == o->scope || !scope->have || scope->vector_due ||
		    scope->vector_awaited || vv_covers(&scope->sent, scope->have))
			continue;
		if (session_round_of(s, scope) || (open < OPEN_MAX && s->n_rounds < ROUNDS_OUT))
			return scope;
	}
	return NULL;
}
