/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session: what each side keeps (shoal-protocol(7), Interests). A change of it ends the session, so
 * within one both sides go by the same two lists from INTEREST on, or from the beginning if HELLO shows
 * that they have not changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"
#include "engine/session-impl.h"

bool session_shares(const struct session *s, const struct id *scope)
{
	return view_shares(s->view, s->peer_keeps, scope);
}

int session_common(struct session *s)
{
	uint32_t n = view_scopes(s->hello_view);
	uint32_t *common = calloc(n ? n : 1, sizeof(*common));
	if (!common)
		return -ENOMEM;
	free(s->common);
	s->common = common;
	s->n_common = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct id id;
		const struct vv *have;
		view_scope(s->hello_view, i, &id, &have);
		if (view_shares(s->hello_view, s->peer_keeps, &id))
			common[s->n_common++] = i;
	}
	return 0;
}

void session_fingerprint(const struct session *s, struct id *ret)
{
	const struct interests *own = view_interests(s->hello_view), *peer = s->peer_keeps;
	bool first = id_cmp(&s->own.device, &s->peer) < 0;
	struct id held;
	view_fingerprint(s->hello_view, peer, &held);
	const struct sha256_part part[3] = { { first ? own->print.b : peer->print.b, ID_SIZE },
					     { first ? peer->print.b : own->print.b, ID_SIZE },
					     { held.b, ID_SIZE } };
	sha256_id(part, 3, ret);
}

int session_interests_known(struct session *s, struct err *e)
{
	int r = replica_peer_keeps(s->replica, &s->peer, s->peer_keeps, s->meeting);
	return r < 0 ? err_errno(e, r, "cannot note what the peer keeps") : 0;
}

int session_interest_put(struct session *s, struct buf *out)
{
	const struct interests *own = view_interests(s->hello_view);
	struct buf *b = &s->payload;
	_cleanup_(buf_done) struct buf items = { 0 };
	bool first = s->interests_at == 0;
	interests_encode_part(own, &s->interests_at, FRAME_INTEREST_MAX - 2, &items);
	s->interests_out = s->interests_at < own->n;
	buf_reset(b);
	buf_u8(b, s->interests_out ? FRAME_MORE : 0);
	if (first)
		buf_u8(b, (uint8_t)own->fresh);
	buf_put(b, items.data, items.len);
	return buf_failed(&items) ? -ENOMEM : frame_put(out, FRAME_INTEREST, b);
}

static int malformed(struct err *e)
{
	return err_set(e, -EPROTO, "the peer sent a malformed INTEREST frame");
}

/* All of the list is here: from now on both go by it. */
static int complete(struct session *s, struct err *e)
{
	struct interests *x;
	int r = interests_make(&s->room, &x);
	interests_room_done(&s->room);
	if (r == -E2BIG)
		return malformed(e);
	if (r < 0)
		return err_errno(e, r, "cannot note what the peer keeps");
	interests_unref(s->peer_keeps);
	s->peer_keeps = x;
	s->interests_in = true;
	r = session_interests_known(s, e);
	if (r == 0 && session_common(s) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	/* The view's vectors go into the scopes that are shared now. */
	if (r == 0)
		r = session_scopes_of_view(s, e);
	s->scopes_out = true;
	return r;
}

int session_interest_get(struct session *s, struct cursor *c, struct err *e)
{
	if (s->interests_in || s->scopes_in || !s->hello_view)
		return err_set(e, -EPROTO, "the peer sent INTEREST out of place");
	uint8_t flags = cursor_u8(c);
	if (!s->interests_begun) {
		uint8_t fresh = cursor_u8(c);
		s->room.fresh = (enum interest_level)fresh;
		if (fresh > INTEREST_SUBSCRIBED)
			return malformed(e);
	}
	s->interests_begun = true;
	if (!cursor_ok(c) || flags > FRAME_MORE || (flags && cursor_left(c) == 0))
		return malformed(e);
	int r = interests_decode_part(c, &s->room);
	if (r == -EPROTO)
		return malformed(e);
	if (r < 0)
		return err_set(e, r, "out of memory");
	return flags ? 0 : complete(s, e);
}
