/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deltas of a stream: one that is accepted encodes to the same bytes, and joins with what a device has: twice is
 * once, and the result can be stored, read and shown. */
#include <errno.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/render.h"
#include "tests/fuzz/replay.h"

#define DELTAS_MAX 8

static void check_record(struct arena *a, struct actors *actors, const struct record *r)
{
	struct buf b = { 0 }, text = { 0 };
	struct record *s;
	struct id x, y;
	record_encode(r, actors, &b);
	FUZZ_CHECK(record_decode(a, actors, b.data, b.len, &s, NULL) == 0);
	record_fingerprint(r, actors, &x);
	record_fingerprint(s, actors, &y);
	FUZZ_CHECK(id_equal(&x, &y));
	int err = render_json(a, actors, r, &text, NULL);
	FUZZ_CHECK(err == 0 || err == -ENOENT || err == -EINVAL);
	buf_done(&b);
	buf_done(&text);
}

static void check_joins(struct arena *a, struct actors *actors, const struct delta *d)
{
	struct record *mine;
	const struct record *r, *s, *t;
	struct stamp st = { { 0, 2 }, 4096 };
	struct id x, y;
	FUZZ_CHECK(record_new(a, &d->state.id, &d->state.scope, d->state.kind, &mine) == 0);
	FUZZ_CHECK(record_set(a, actors, mine, TOP_CONTENT, NULL, 0,
			      &(struct value){ VALUE_NUMBER, (const uint8_t *)"7", 1 }, NULL, &st,
			      &r) == 0);
	FUZZ_CHECK(record_move(a, actors, r, &NODE_ROOT, "name", 4, &st, &r) == 0);
	/* A part of a sequence may hang on what is not here: then all of it is refused. */
	int err = delta_join(a, actors, r, d, &s);
	if (err == -EBADMSG)
		return;
	FUZZ_CHECK(err == 0);
	FUZZ_CHECK(vv_covers(&s->ctx, &r->ctx) && vv_covers(&s->ctx, &d->state.ctx));
	FUZZ_CHECK(delta_join(a, actors, s, d, &t) == 0);
	record_fingerprint(s, actors, &x);
	record_fingerprint(t, actors, &y);
	FUZZ_CHECK(id_equal(&x, &y));
	check_record(a, actors, s);
	if (delta_fits(d, NULL, &(struct vv){ 0 })) {
		err = delta_join(a, actors, NULL, d, &s);
		FUZZ_CHECK(err == 0 || err == -EBADMSG);
		if (err < 0)
			return;
		check_record(a, actors, s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct arena a = { 0 };
	struct actors *actors = NULL;
	struct actor_codec *in = NULL, *out = NULL;
	struct delta *d;
	struct buf again = { 0 };
	struct err e = { 0 };
	struct cursor cur = cursor_make(data, len);
	struct actor_id me = { { { 1 } }, 1 };
	uint32_t no;
	FUZZ_CHECK(actors_new(&actors) == 0 && actors_intern(actors, &me, &no) == 0);
	FUZZ_CHECK(actor_codec_new(actors, &in) == 0 && actor_codec_new(actors, &out) == 0);
	int err = 0;
	for (int i = 0; i < DELTAS_MAX && err == 0 && cursor_left(&cur) > 0; i++) {
		const uint8_t *from = cur.p;
		err = delta_decode(&a, actors, in, &cur, &d, &e);
		FUZZ_CHECK(err == 0 ||
			   ((err == -EBADMSG || err == -EPROTONOSUPPORT) && e.code == err && e.message[0]));
		if (err < 0)
			break;
		buf_reset(&again);
		delta_encode(d, actors, out, &again);
		FUZZ_CHECK(again.len == (size_t)(cur.p - from));
		FUZZ_CHECK(memcmp(again.data, from, again.len) == 0);
		check_joins(&a, actors, d);
	}
	buf_done(&again);
	actor_codec_free(in);
	actor_codec_free(out);
	actors_free(actors);
	arena_done(&a);
	return 0;
}
