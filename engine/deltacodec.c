/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A delta on a link:
 *
 *     u8 flags: bits 0-1 kind, bit 2 a slot is there, bits 3-5 number of edges or EDGES_APART, bit 6 complete,
 *         bit 7 a floor (complete only)
 *     id, complete: scope, else: `from` (not empty)
 *     `to` as what it has beyond from: varint count; each: actor, varint difference > 0; sorted by
 *         identifier
 *     [floor], edges, batches, [slot]     (engine/slotcodec.h)
 *
 * Actors are written through the link's table (engine/actor.h), in the order of identifiers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/slotcodec.h"

#define FLAG_TOP 0x04
#define FLAG_COMPLETE 0x40
#define FLAG_FLOOR 0x80

/* What `to` has beyond `from`, as a vector of differences. */
static int difference(const struct vv *from, const struct vv *to, struct vv *ret)
{
	for (uint32_t i = 0; i < to->n; i++) {
		uint64_t old = vv_get(from, to->item[i].actor);
		int r = vv_raise(ret, to->item[i].actor, to->item[i].seq - old);
		if (r < 0)
			return r;
	}
	return 0;
}

void delta_encode(const struct delta *d, struct actors *actors, struct actor_codec *c,
		  struct buf *b)
{
	const struct record *r = &d->state;
	_cleanup_(vv_done) struct vv diff = { 0 };
	buf_u8(b, (uint8_t)(r->kind | (r->top ? FLAG_TOP : 0) | slotcodec_edges(r) << 3 |
			    (d->complete ? FLAG_COMPLETE : 0) |
			    (d->complete && r->floor.n ? FLAG_FLOOR : 0)));
	buf_put(b, r->id.b, ID_SIZE);
	if (d->complete)
		buf_put(b, r->scope.b, ID_SIZE);
	else
		vv_encode(&d->from, actors, c, b);
	if (difference(&d->from, &r->ctx, &diff) < 0) {
		b->failed = true;
		return;
	}
	vv_encode(&diff, actors, c, b);
	if (d->complete && r->floor.n)
		vv_encode(&r->floor, actors, c, b);
	slotcodec_put(r, actors, c, !d->complete, b);
}

static int bad(struct err *e, const char *why)
{
	return err_set(e, -EBADMSG, "bad delta: %s", why);
}

static int get_head(struct arena *a, struct actors *actors, struct actor_codec *c,
		    struct cursor *cur, struct delta *d, bool with_floor, struct err *e)
{
	struct vv diff;
	const uint8_t *id = cursor_take(cur, ID_SIZE);
	const uint8_t *scope = d->complete ? cursor_take(cur, ID_SIZE) : NULL;
	int r = 0;
	if (!cursor_ok(cur))
		return bad(e, "it ends within the head");
	memcpy(d->state.id.b, id, ID_SIZE);
	if (scope)
		memcpy(d->state.scope.b, scope, ID_SIZE);
	else
		r = vv_decode_arena(a, cur, actors, c, &d->from);
	if (r == 0)
		r = vv_decode_arena(a, cur, actors, c, &diff);
	if (r < 0)
		return r == -ENOMEM ? r : bad(e, "a vector that is none");
	if (!d->complete && (d->from.n == 0 || diff.n == 0))
		return bad(e, "it comes from nowhere or leads nowhere");
	for (uint32_t i = 0; i < diff.n; i++)
		if (__builtin_add_overflow(diff.item[i].seq, vv_get(&d->from, diff.item[i].actor),
					   &diff.item[i].seq))
			return bad(e, "a sequence number beyond the last");
	r = vv_arena_join(a, &d->from, &diff, &d->state.ctx);
	if (r == 0 && with_floor) {
		r = vv_decode_arena(a, cur, actors, c, &d->state.floor);
		if (r == -EBADMSG || (r == 0 && (d->state.floor.n == 0 ||
						 !vv_covers(&d->state.ctx, &d->state.floor))))
			return bad(e, "a floor above the record");
	}
	return r;
}

int delta_decode(struct arena *a, struct actors *actors, struct actor_codec *c, struct cursor *cur,
		 struct delta **ret, struct err *e)
{
	struct delta *d = arena_new(a, struct delta);
	if (!d)
		return -ENOMEM;
	if (cursor_left(cur) > DELTA_SIZE_MAX)
		return bad(e, "it is too large");
	uint8_t flags = cursor_u8(cur);
	d->complete = flags & FLAG_COMPLETE;
	if (!cursor_ok(cur) || (flags & 3) == 0 || (flags & FLAG_FLOOR && !d->complete))
		return bad(e, "bad head");
	d->state.kind = (enum node_kind)(flags & 3);
	int r = get_head(a, actors, c, cur, d, flags & FLAG_FLOOR, e);
	if (r < 0)
		return r;
	struct slotcodec s = { .a = a,
			       .actors = actors,
			       .codec = c,
			       .cur = cur,
			       .ctx = &d->state.ctx,
			       .e = e,
			       .wire = true,
			       .partial = !d->complete };
	r = slotcodec_get(&s, &d->state, flags >> 3 & 7, flags & FLAG_TOP);
	if (r < 0)
		return r;
	*ret = d;
	return 0;
}
