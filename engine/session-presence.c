/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is connected to whom (engine/presence.h), over a session. */
#include <assert.h>
#include <errno.h>

#include "engine/session-impl.h"

static_assert(PRESENCE_FRAME_MAX == FRAME_PRESENCE_MAX, "a payload fits into its frame");
static_assert(STATEMENT_SIZE_MAX <= FRAME_PRESENCE_MAX, "and a statement into a payload");

void session_presence_for(struct session *s, struct presence *p)
{
	s->presence = p;
}

static int join(struct session *s, uint64_t now)
{
	return s->presence && !s->side ? presence_join(s->presence, &s->peer, now, &s->side) : 0;
}

int session_put_presence(struct session *s, struct buf *out, uint64_t now)
{
	int r = join(s, now);
	if (r < 0 || !s->side)
		return r;
	buf_reset(&s->payload);
	r = presence_put(s->side, now, &s->payload);
	return r < 0 || s->payload.len == 0 ? r : frame_put(out, FRAME_PRESENCE, &s->payload);
}

int session_get_presence(struct session *s, struct cursor *c, uint64_t now, struct err *e)
{
	int r = join(s, now);
	if (r < 0)
		return err_set(e, r, "out of memory");
	return s->side ? presence_get(s->side, c, now, e) : presence_check(c, e);
}
