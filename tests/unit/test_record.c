/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encodings of records and deltas: what is read back is what was written, in few bytes, and
 * nothing else is accepted: every truncation and every changed bit of some hundred encodings is
 * either refused or encodes again to the same bytes. */
#include <errno.h>
#include <string.h>

#include "engine/edge.h"
#include "tests/device.h"
#include "tests/prng.h"

static const struct id dir = { { 0xd1 } };

/* A record with something of everything. */
static void rich(struct device *a, struct device *b, struct prng *r)
{
	static const char *const text[] = {
		"{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1, 2]\n  },\n  \"d\": \"x\"\n}\n",
		"{\"a\": 2,  \"b\": 5}",
		"{\"b\": {\"c\": null, \"e\": {}}, \"a\": 1.50}\n",
		"{\"d\": true, \"a\": {\"z\": false}}\n",
		"{}\n",
	};
	uint8_t data[VALUE_INT_MAX];
	device_init(a, 1);
	device_init(b, 2);
	device_edit(a, text[0]);
	struct stamp st = device_stamp(a);
	must(record_move(&a->arena, a->actors, a->rec, &dir, "name.json", 9, &st, &a->rec));
	device_meet(a, b);
	for (unsigned i = 0; i < 4; i++) {
		struct device *d = prng_chance(r, 50) ? a : b;
		device_edit(d, text[prng_below(r, 5)]);
		st = device_stamp(d);
		struct value v = value_of_int((int64_t)prng_below(r, 512), data);
		if (prng_chance(r, 30))
			must(record_set(&d->arena, d->actors, d->rec, TOP_MODE, NULL, 0, &v, NULL,
					&st, &d->rec));
		if (prng_chance(r, 30))
			must(record_set(&d->arena, d->actors, d->rec, TOP_XATTR, "user.x", 6, &v,
					NULL, &st, &d->rec));
		if (prng_chance(r, 30))
			must(record_move(&d->arena, d->actors, d->rec, &NODE_TRASH, "", 0, &st,
					 &d->rec));
		if (prng_chance(r, 40))
			device_meet(a, b);
	}
	device_send(b, a);
}

static bool decodes_to_itself(struct device *d, const uint8_t *data, size_t len, bool *ret_good)
{
	struct arena a = { 0 };
	struct record *r;
	struct buf again = { 0 };
	int err = record_decode(&a, d->actors, data, len, &r, NULL);
	bool ok = err < 0;
	if (err == 0) {
		record_encode(r, d->actors, &again);
		ok = again.len == len && memcmp(again.data, data, len) == 0;
	}
	*ret_good = err == 0;
	buf_done(&again);
	arena_done(&a);
	return ok;
}

/* Deltas are read with a fresh table each time, so that what is said is all in the bytes. */
static bool delta_to_itself(const uint8_t *data, size_t len, bool *ret_good)
{
	struct arena a = { 0 };
	struct actors *actors;
	struct actor_codec *in, *out;
	struct delta *d;
	struct buf again = { 0 };
	struct cursor cur = cursor_make(data, len);
	must(actors_new(&actors));
	must(actor_codec_new(actors, &in));
	must(actor_codec_new(actors, &out));
	int err = delta_decode(&a, actors, in, &cur, &d, NULL);
	bool ok = err < 0;
	if (err == 0) {
		delta_encode(d, actors, out, &again);
		size_t used = (size_t)(cur.p - data);
		ok = again.len == used && memcmp(again.data, data, used) == 0;
	}
	*ret_good = err == 0;
	actor_codec_free(in);
	actor_codec_free(out);
	actors_free(actors);
	buf_done(&again);
	arena_done(&a);
	return ok;
}

static void test_strict(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	bool whole = true, cut = true, flipped = true, delta = true, delta_cut = true,
	     delta_flipped = true, good;
	for (uint64_t i = 0; i < rounds; i++) {
		struct device a, b;
		struct buf s = { 0 }, w = { 0 };
		rich(&a, &b, &r);
		record_encode(a.rec, a.actors, &s);
		whole = whole && decodes_to_itself(&a, s.data, s.len, &good) && good;
		for (size_t n = 0; n < s.len; n++)
			cut = cut && decodes_to_itself(&a, s.data, n, &good) && !good;
		for (size_t n = 0; n < s.len * 8; n++) {
			s.data[n / 8] ^= (uint8_t)(1 << n % 8);
			flipped = flipped && decodes_to_itself(&a, s.data, s.len, &good);
			s.data[n / 8] ^= (uint8_t)(1 << n % 8);
		}
		struct actor_codec *out;
		struct delta *d;
		struct vv known = { 0 };
		/* Whole ones and parts alike. */
		if (prng_chance(&r, 70))
			must(vv_raise(&known, a.me, 1 + prng_below(&r, a.seq)));
		must(actor_codec_new(a.actors, &out));
		must(delta_make(&a.arena, a.actors, a.rec, &known, false, &d));
		if (d) {
			delta_encode(d, a.actors, out, &w);
			delta = delta && delta_to_itself(w.data, w.len, &good) && good;
			for (size_t n = 0; n < w.len; n++)
				delta_cut = delta_cut && delta_to_itself(w.data, n, &good) && !good;
			for (size_t n = 0; n < w.len * 8; n++) {
				w.data[n / 8] ^= (uint8_t)(1 << n % 8);
				delta_flipped =
					delta_flipped && delta_to_itself(w.data, w.len, &good);
				w.data[n / 8] ^= (uint8_t)(1 << n % 8);
			}
		}
		actor_codec_free(out);
		vv_done(&known);
		buf_done(&s);
		buf_done(&w);
		device_done(&a);
		device_done(&b);
	}
	ok(whole, "a record reads back");
	ok(cut, "no part of one does");
	ok(flipped, "a changed bit is refused or means another record");
	ok(delta, "a delta reads back");
	ok(delta_cut, "no part of one does");
	ok(delta_flipped, "a changed bit is refused or means another delta");
}

static void test_sizes(void)
{
	struct device a, b;
	_cleanup_(buf_done) struct buf text = { 0 }, s = { 0 }, w = { 0 };
	_cleanup_(actor_codec_freep) struct actor_codec *out = NULL;
	struct delta *d;
	device_init(&a, 1);
	device_init(&b, 2);
	buf_puts(&text, "{\n");
	for (int i = 0; i < 30; i++)
		buf_putf(&text, "  \"key_%02d\": \"a value of %02d letters, \"%s\n", i, i,
			 i < 29 ? "," : "");
	buf_puts(&text, "}\n");
	device_edit(&a, buf_cstr(&text));
	record_encode(a.rec, a.actors, &s);
	ok(s.len * 10 <= text.len * 13, "%zu bytes of text are stored in %zu", text.len, s.len);
	device_meet(&a, &b);
	struct vv known = device_translate(&b.have, b.actors, a.actors);
	must(actor_codec_new(a.actors, &out));
	must(delta_make(&a.arena, a.actors, a.rec, &(struct vv){ 0 }, true, &d));
	delta_encode(d, a.actors, out, &w);
	buf_reset(&w);
	char *t = device_text(&a);
	memcpy(strstr(t, "a value of 17"), "A", 1);
	device_edit(&a, t);
	must(delta_make(&a.arena, a.actors, a.rec, &known, false, &d));
	ok(!d->complete, "one changed field is a part");
	delta_encode(d, a.actors, out, &w);
	ok(w.len <= 120, "which takes %zu bytes on a link", w.len);
	must(delta_make(&a.arena, a.actors, a.rec, &a.have, false, &d));
	ok(d == NULL, "who has all is sent nothing");
	vv_done(&known);
	device_done(&a);
	device_done(&b);
}

static void test_refusals(void)
{
	struct device a, b;
	struct record *r;
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf s = { 0 };
	device_init(&a, 1);
	device_init(&b, 2);
	device_edit(&a, "{\"a\":1}\n");
	record_encode(a.rec, a.actors, &s);
	s.data[0] = 9;
	is_errno(record_decode(&a.arena, a.actors, s.data, s.len, &r, &e), -EPROTONOSUPPORT,
		 "a format of the future");
	ok(strstr(e.message, "newer version") != NULL, "is told as one: %s", e.message);
	s.data[0] = 1;
	buf_u8(&s, 0);
	is_errno(record_decode(&a.arena, a.actors, s.data, s.len, &r, &e), -EBADMSG,
		 "bytes behind the record");
	s.len--;
	/* The number 1 of key a: kind 3, length 1; with kind 15 the next byte is the kind. */
	uint8_t *p = memmem(s.data, s.len, "\x13\x31", 2);
	ok(p != NULL, "the value stands where shoal-format(7) says");
	*p = 0x1f;
	is_errno(record_decode(&a.arena, a.actors, s.data, s.len, &r, &e), -EPROTONOSUPPORT,
		 "a kind of value of the future");
	*p = 0x13;

	/* A delta on top of what the receiver does not have. */
	device_meet(&a, &b);
	struct vv first;
	must(vv_copy(&b.have, &first));
	device_edit(&a, "{\"a\":2}\n");
	struct vv known = device_translate(&first, b.actors, a.actors);
	struct delta *d = device_delta(&a, &b, &known, false);
	ok(!d->complete && delta_fits(d, &b.rec->ctx, &b.have), "a delta fits who has its start");
	ok(!delta_fits(d, &(struct vv){ 0 }, &(struct vv){ 0 }), "not who has nothing of it");
	ok(!delta_fits(d, NULL, &b.have), "nor who lost the record");
	ok(delta_fits(d, &(struct vv){ 0 }, &b.have), "the scope's vector counts as well");
	struct delta other = *d;
	other.state.id = dir;
	const struct record *joined;
	is_errno(delta_join(&b.arena, b.actors, b.rec, &other, &joined), -EBADMSG,
		 "another node's delta is not joined");
	vv_done(&first);
	vv_done(&known);
	device_done(&a);
	device_done(&b);
}

/* The bytes that shoal-format(7) shows. */
static void test_example(void)
{
	static const char want[] =
		"01 d00c0000000000000000000000000000 5c000000000000000000000000000000 06 010001"
		" 010001d28ff28183898506002003016321000601016e0d00133104017301006a010000000000"
		" 0174010000";
	struct device d;
	_cleanup_(buf_done) struct buf s = { 0 }, hex = { 0 }, plain = { 0 };
	device_init(&d, 1);
	device_edit(&d, "{\"n\":1}");
	record_encode(d.rec, d.actors, &s);
	for (size_t i = 0; i < s.len; i++)
		buf_putf(&hex, "%02x", s.data[i]);
	for (const char *p = want; *p; p++)
		if (*p != ' ')
			buf_u8(&plain, (uint8_t)*p);
	is_str(buf_cstr(&hex), buf_cstr(&plain), "the stored form is the documented one");
	device_done(&d);
}

static void test_moves(void)
{
	struct device a;
	struct stamp st;
	device_init(&a, 1);
	device_edit(&a, "{}\n");
	st = device_stamp(&a);
	is_errno(record_move(&a.arena, a.actors, a.rec, &dir, "a/b", 3, &st, &a.rec), -EINVAL,
		 "a name with a slash");
	is_errno(record_move(&a.arena, a.actors, a.rec, &dir, "..", 2, &st, &a.rec), -EINVAL,
		 "a name that means a directory");
	must(record_move(&a.arena, a.actors, a.rec, &dir, "a", 1, &st, &a.rec));
	const struct record *before = a.rec;
	must(record_move(&a.arena, a.actors, a.rec, &dir, "a", 1, &st, &a.rec));
	ok(a.rec == before, "a move to where it is is none");
	st = device_stamp(&a);
	must(record_move(&a.arena, a.actors, a.rec, &NODE_TRASH, "", 0, &st, &a.rec));
	for (uint8_t i = 0; i < 8; i++) {
		struct id to = { { 0xd2, i } };
		st = device_stamp(&a);
		must(record_move(&a.arena, a.actors, a.rec, &to, "n", 1, &st, &a.rec));
	}
	ok(a.rec->n_edges == EDGES_MAX && a.rec->edge[0].parent.b[1] == 7 &&
		   a.rec->edge[2].parent.b[1] == 5 && edge_is_trash(&a.rec->edge[3]),
	   "the newest edges stay, and the one to TRASH");
	device_done(&a);
}

static void test_look(void)
{
	bool good = true;
	size_t longest = 0;
	for (unsigned i = 0; i < 64; i++) {
		for (unsigned k = 0; k < 64; k++) {
			struct look l = { (UINT64_C(1) << i) | (UINT64_C(1) << k),
					  (uint8_t)(k % 2) },
				    m;
			uint8_t data[LOOK_SIZE_MAX];
			size_t n = look_encode(&l, data);
			struct value v = { VALUE_BYTES, data, n };
			good = good && look_decode(&v, &m) == 0 && m.position == l.position &&
			       m.layout == l.layout;
			longest = n > longest ? n : longest;
		}
	}
	ok(good && longest <= LOOK_SIZE_MAX, "positions read back, in %zu bytes at most", longest);
	uint8_t data[LOOK_SIZE_MAX];
	is_uint(look_encode(&(struct look){ 31 * LOOK_GAP, 0 }, data), 1,
		"one byte for the first thirty keys");
	is_uint(look_encode(&(struct look){ 3 * LOOK_GAP + LOOK_GAP / 2, 0 }, data), 2,
		"two between two of them");
}

static void test_ints(void)
{
	static const int64_t n[] = { 0, 1, -1, 63, -64, 64, INT64_MAX, INT64_MIN };
	uint8_t data[VALUE_INT_MAX];
	bool good = true;
	for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++) {
		struct value v = value_of_int(n[i], data);
		int64_t back;
		good = good && value_int(&v, &back) == 0 && back == n[i];
	}
	ok(good, "integers read back");
	is_errno(value_int(&(struct value){ .kind = VALUE_NULL }, &(int64_t){ 0 }), -EBADMSG,
		 "null is none");
}

int main(int argc, char **argv)
{
	tap_plan(30);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 60);
	test_strict(seed, rounds);
	test_sizes();
	test_refusals();
	test_example();
	test_moves();
	test_look();
	test_ints();
	return tap_done();
}
