/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer may say of a purged file (shoal-format(7), "Purging"). */
#include <errno.h>

#include "engine/purged.h"
#include "tests/device.h"

/* What decoding a delta of that record says. */
static int hears(struct device *from, struct device *to, const struct record *r)
{
	struct delta d = { .state = *r, .complete = true }, *got;
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
	must(actor_codec_new(from->actors, &out));
	must(actor_codec_new(to->actors, &in));
	delta_encode(&d, from->actors, out, &b);
	struct cursor cur = cursor_make(b.data, b.len);
	return delta_decode(&to->arena, to->actors, in, &cur, &got, NULL);
}

static void test_refused(void)
{
	struct device d, to;
	struct record r;
	const struct record *moved;
	device_init(&d, 1);
	device_init(&to, 2);
	device_edit(&d, "{\"a\": 1}");
	struct stamp st = device_stamp(&d);
	must(record_move(&d.arena, d.actors, d.rec, &NODE_ROOT, "a", 1, &st, &d.rec));
	const struct record *alive = d.rec;
	st = device_stamp(&d);
	must(record_purge(&d.arena, d.actors, d.rec, &st, &d.rec));
	is_int(hears(&d, &to, d.rec), 0, "a purged record is taken");
	r = *d.rec;
	r.top = alive->top;
	is_int(hears(&d, &to, &r), -EBADMSG, "one with content is not");
	static const struct vv nothing;
	struct delta *sent[2];
	must(delta_make(&d.arena, d.actors, &r, &nothing, true, &sent[0]));
	must(delta_make(&d.arena, d.actors, &r, &nothing, false, &sent[1]));
	ok(record_is_bare(&sent[0]->state) && record_is_bare(&sent[1]->state), "nor is such a one sent");
	r = *d.rec;
	r.kind = NODE_DIR;
	is_int(hears(&d, &to, &r), -EBADMSG, "nor a purged directory");
	r = *d.rec;
	r.edge[0].counter = EDGE_PURGED + 1;
	is_int(hears(&d, &to, &r), -EBADMSG, "nor a counter beyond the last one");
	r = *alive;
	r.edge[0].counter = EDGE_PURGED;
	is_int(hears(&d, &to, &r), -EBADMSG, "nor that of a purge on another edge");
	r.edge[0].counter = EDGE_PURGED - 1;
	is_int(hears(&d, &to, &r), 0, "the largest one is taken");
	st = device_stamp(&d);
	is_int(record_move(&d.arena, d.actors, &r, &NODE_LOST, "x", 1, &st, &moved), -EOVERFLOW,
	       "and nothing is moved beyond it");
	ok(record_move(&d.arena, d.actors, &r, &NODE_TRASH, "", 0, &st, &moved) == 0 && record_is_purged(moved) &&
		   record_is_bare(moved), "but it can be deleted, for good");
	device_done(&d);
	device_done(&to);
}

int main(void)
{
	tap_plan(9);
	test_refused();
	return tap_done();
}
