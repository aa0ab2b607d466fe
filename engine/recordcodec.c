/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stored form of a record:
 *
 *     u8 format (1), id, scope
 *     u8 flags: bits 0-1 kind, bit 2 a slot is there, bits 3-5 number of edges or EDGES_APART, bit 6 a floor
 *     context, [floor], edges, batches, [slot]     (engine/slotcodec.h)
 *
 * Actors are local numbers, so the bytes mean something in one store only. */
#include <errno.h>
#include <string.h>

#include "engine/crdt.h"
#include "engine/slotcodec.h"

void record_encode(const struct record *r, const struct actors *actors, struct buf *b)
{
	/* The stored form never adds an actor. */
	struct actors *table = (struct actors *)(uintptr_t)actors;
	buf_u8(b, RECORD_FORMAT);
	buf_put(b, r->id.b, ID_SIZE);
	buf_put(b, r->scope.b, ID_SIZE);
	buf_u8(b, (uint8_t)(r->kind | (r->top ? RECORD_TOP : 0) | slotcodec_edges(r) << 3 |
			    (r->floor.n ? RECORD_FLOOR : 0)));
	vv_encode(&r->ctx, table, NULL, b);
	if (r->floor.n)
		vv_encode(&r->floor, table, NULL, b);
	slotcodec_put(r, table, NULL, false, b);
}

static int decode(struct arena *a, const struct actors *actors, const void *data, size_t len, bool whole,
		  struct record **ret, struct err *e)
{
	struct cursor cur = cursor_make(data, len);
	struct record *r = arena_new(a, struct record);
	if (!r)
		return -ENOMEM;
	uint8_t format = cursor_u8(&cur);
	if (cursor_ok(&cur) && format != RECORD_FORMAT)
		return err_set(
			e, -EPROTONOSUPPORT,
			"record of format %u, which a newer version of Shoal wrote: update this device",
			format);
	const uint8_t *id = cursor_take(&cur, ID_SIZE), *scope = cursor_take(&cur, ID_SIZE);
	uint8_t flags = cursor_u8(&cur);
	if (!cursor_ok(&cur) || flags & 0x80 || (flags & 3) == 0)
		return err_set(e, -EBADMSG, "damaged record: bad head");
	memcpy(r->id.b, id, ID_SIZE);
	memcpy(r->scope.b, scope, ID_SIZE);
	r->kind = (enum node_kind)(flags & 3);
	int err = vv_decode_arena(a, &cur, actors, NULL, &r->ctx);
	if (err == 0 && flags & RECORD_FLOOR) {
		err = vv_decode_arena(a, &cur, actors, NULL, &r->floor);
		if (err == 0 && (r->floor.n == 0 || !vv_covers(&r->ctx, &r->floor)))
			err = -EBADMSG;
	}
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		return err_set(e, -EBADMSG, "damaged record: bad context");
	struct slotcodec d = { .a = a, .actors = actors, .cur = &cur, .ctx = &r->ctx, .e = e };
	err = whole ? slotcodec_get(&d, r, flags >> 3 & 7, flags & RECORD_TOP) :
		      slotcodec_get_edges(&d, r, flags >> 3 & 7);
	if (err < 0)
		return err;
	if (whole && !cursor_end(&cur))
		return err_set(e, -EBADMSG, "damaged record: %zu bytes too many",
			       cursor_left(&cur));
	*ret = r;
	return 0;
}

int record_decode(struct arena *a, const struct actors *actors, const void *data, size_t len,
		  struct record **ret, struct err *e)
{
	return decode(a, actors, data, len, true, ret, e);
}

int record_decode_edges(struct arena *a, const struct actors *actors, const void *data, size_t len,
			struct record **ret, struct err *e)
{
	return decode(a, actors, data, len, false, ret, e);
}
