/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A delta on a link:
 *
 *     u8 flags: bits 0-1 kind, bit 2 a slot is there, bits 3-5 number of edges or EDGES_APART, bit 6 complete,
 *         bit 7 a floor (complete only)
 *     complete: u8 names: bits 0-1: 0 the id follows, else it is what the newest edge with a name gives, of the
 *         generation less 1; bit 2 the scope follows, else it is the last one; [id], [scope], `to`
 *     else: id, `from` (not empty), and `to` as what it has beyond from: varint count; each: actor, varint
 *         difference > 0; sorted by identifier
 *     [floor], batches, edges, [slot]     (engine/slotcodec.h)
 *
 * Actors are written through the link's table (engine/actor.h), in the order of identifiers; numbers of from,
 * or of the `to` of a complete one, as the difference to the last one of the stream (engine/recent.h). After the head the
 * last one is the greatest of those that `to` has beyond from. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/nameid.h"
#include "engine/slotcodec.h"

#define FLAG_TOP 0x04
#define FLAG_COMPLETE 0x40
#define FLAG_FLOOR 0x80

#define NAMES_GENERATION 0x03
#define NAMES_SCOPE 0x04

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

static void put_names(const struct record *r, struct recent *recent, struct buf *b)
{
	uint32_t g = record_generation(r);
	bool named = g < NAMED_GENERATIONS, scope = !id_equal(&r->scope, &recent->scope);
	buf_u8(b, (uint8_t)((named ? g + 1 : 0) | (scope ? NAMES_SCOPE : 0)));
	if (!named)
		buf_put(b, r->id.b, ID_SIZE);
	if (scope)
		buf_put(b, r->scope.b, ID_SIZE);
	recent->scope = r->scope;
}

/* Most of what follows has the number of the newest batch. */
static void head_done(const struct vv *diff, const struct vv *to, struct recent *recent)
{
	uint64_t last = 0;
	for (uint32_t i = 0; i < diff->n; i++) {
		uint64_t seq = vv_get(to, diff->item[i].actor);
		last = seq > last ? seq : last;
	}
	recent->seq = last;
}

void delta_encode(const struct delta *d, struct actors *actors, struct actor_codec *c,
		  struct buf *b)
{
	const struct record *r = &d->state;
	_cleanup_(vv_done) struct vv diff = { 0 };
	buf_u8(b, (uint8_t)(r->kind | (r->top ? FLAG_TOP : 0) | slotcodec_edges(r) << 3 |
			    (d->complete ? FLAG_COMPLETE : 0) |
			    (d->complete && r->floor.n ? FLAG_FLOOR : 0)));
	if (d->complete)
		put_names(r, actor_codec_recent(c), b);
	else
		buf_put(b, r->id.b, ID_SIZE);
	vv_encode_recent(d->complete ? &r->ctx : &d->from, actors, c, b);
	if (difference(&d->from, &r->ctx, &diff) < 0) {
		b->failed = true;
		return;
	}
	if (!d->complete)
		vv_encode(&diff, actors, c, b);
	head_done(&diff, &r->ctx, actor_codec_recent(c));
	if (d->complete && r->floor.n)
		vv_encode(&r->floor, actors, c, b);
	slotcodec_put(r, actors, c, !d->complete, b);
}

static int bad(struct err *e, const char *why)
{
	return err_set(e, -EBADMSG, "bad delta: %s", why);
}

/* *ret_names: as it came. The id is still to be made if it says so. */
static int get_names(struct cursor *cur, struct record *r, struct recent *recent, uint8_t *ret_names,
		     struct err *e)
{
	uint8_t names = cursor_u8(cur);
	const uint8_t *id = names & NAMES_GENERATION ? NULL : cursor_take(cur, ID_SIZE);
	const uint8_t *scope = names & NAMES_SCOPE ? cursor_take(cur, ID_SIZE) : recent->scope.b;
	if (!cursor_ok(cur))
		return bad(e, "it ends within the head");
	if (names > (NAMES_GENERATION | NAMES_SCOPE) ||
	    (names & NAMES_SCOPE && !memcmp(scope, recent->scope.b, ID_SIZE)))
		return bad(e, "a head of no form");
	if (id)
		memcpy(r->id.b, id, ID_SIZE);
	memcpy(r->scope.b, scope, ID_SIZE);
	recent->scope = r->scope;
	*ret_names = names;
	return 0;
}

static int get_head(struct arena *a, struct actors *actors, struct actor_codec *c,
		    struct cursor *cur, struct delta *d, bool with_floor, uint8_t *ret_names, struct err *e)
{
	struct recent *recent = actor_codec_recent(c);
	struct vv first, diff = { 0 };
	const uint8_t *id = d->complete ? NULL : cursor_take(cur, ID_SIZE);
	int r = d->complete ? get_names(cur, &d->state, recent, ret_names, e) : 0;
	if (r < 0)
		return r;
	if (!cursor_ok(cur))
		return bad(e, "it ends within the head");
	if (id)
		memcpy(d->state.id.b, id, ID_SIZE);
	r = vv_decode_recent(a, cur, actors, c, &first);
	if (r == 0 && !d->complete)
		r = vv_decode_arena(a, cur, actors, c, &diff);
	if (r < 0)
		return r == -ENOMEM ? r : bad(e, "a vector that is none");
	if (d->complete)
		diff = first;
	else
		d->from = first;
	if (!d->complete && (d->from.n == 0 || diff.n == 0))
		return bad(e, "it comes from nowhere or leads nowhere");
	for (uint32_t i = 0; i < diff.n; i++)
		if (__builtin_add_overflow(diff.item[i].seq, vv_get(&d->from, diff.item[i].actor),
					   &diff.item[i].seq))
			return bad(e, "a sequence number beyond the last");
	r = vv_arena_join(a, &d->from, &diff, &d->state.ctx);
	if (r == 0)
		head_done(&diff, &d->state.ctx, recent);
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
	uint8_t names = 0;
	int r = get_head(a, actors, c, cur, d, flags & FLAG_FLOOR, &names, e);
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
	uint32_t g = names & NAMES_GENERATION;
	if (g > 0 && !record_named(&d->state, g - 1, &d->state.id))
		return bad(e, "a name that gives no id");
	if (d->complete && g == 0 && record_generation(&d->state) < NAMED_GENERATIONS)
		return bad(e, "an id that its name gives");
	*ret = d;
	return 0;
}
