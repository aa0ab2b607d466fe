/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames: what is written comes back, one encoding for each message, limits before anything else.
 */
#include <errno.h>
#include <string.h>

#include "engine/frame.h"
#include "tests/prng.h"
#include "tests/tap.h"

static const uint32_t limit[FRAME_TYPES] = { 0,  4096, 131073, 328704, 328704, 65537, 0,    328704,
					     26, 8192, 328704, 11,     10,     10,    65563,
					     65537, 14348, 131072, 65552, 393216, 393216,
					     393216, 26, 3723, 18, [FRAME_MARK] = 40,
					     [FRAME_RESUME] = 328704, [FRAME_PRESENCE] = 8192,
					     [FRAME_RAISE] = 328704, [FRAME_PACE] = 4107,
					     [FRAME_EAGER] = 2010, [FRAME_SEEK] = 41, [FRAME_PACK] = 528385,
					     [FRAME_FOUND] = 328704 };

static void test_head(void)
{
	uint64_t bad = 0;
	enum frame_type t;
	size_t head, n;
	for (unsigned type = 1; type < FRAME_TYPES; type++) {
		if (strcmp(frame_name((enum frame_type)type), "?") == 0)
			continue; /* no frame has that number */
		for (unsigned over = 0; over < 2; over++) {
			_cleanup_(buf_done) struct buf b = { 0 };
			buf_u8(&b, (uint8_t)type);
			buf_varint(&b, limit[type] + over);
			int r = frame_head(b.data, b.len, &t, &head, &n, NULL);
			if (over)
				bad += r != -EPROTO;
			else
				bad += r != 1 || t != type || head != b.len || n != limit[type];
			for (size_t cut = 0; cut < b.len; cut++)
				bad += frame_head(b.data, cut, &t, &head, &n, NULL) != 0;
		}
	}
	is_uint(bad, 0, "each type takes what shoal-protocol(7) says, and not a byte more");
	struct err e;
	is_errno(frame_head("\0\0", 2, &t, &head, &n, &e), -EPROTO, "type 0 is refused");
	is_errno(frame_head("\x55", 1, &t, &head, &n, &e), -EPROTO, "and an unknown one at once");
	ok(strstr(e.message, "unknown type 85"), "which is said");
	is_errno(frame_head("\x0a\xff\xff\xff\xff", 5, &t, &head, &n, &e), -EPROTO,
		 "an endless length is refused");
	is_errno(frame_head("\x0c\x81\x00", 3, &t, &head, &n, &e), -EPROTO,
		 "and one with a needless group");
	_cleanup_(buf_done) struct buf out = { 0 }, p = { 0 };
	buf_puts(&p, "more than nothing");
	is_errno(frame_put(&out, FRAME_END, &p), -E2BIG,
		 "nothing is written that would be refused");
	ok(out.len == 0, "not even in part");
}

static void random_hello(struct prng *r, struct hello *h)
{
	*h = (struct hello){ .version = 1, .oldest = 1 };
	h->window = FRAME_WINDOW_MIN + prng_below(r, FRAME_WINDOW_MAX - FRAME_WINDOW_MIN + 1);
	prng_fill(r, &h->self.device, sizeof(h->self.device));
	h->self.incarnation = (uint32_t)prng_u64(r);
	h->acknowledged = prng_u64(r) >> (2 + prng_below(r, 62));
	prng_fill(r, &h->fingerprint, sizeof(h->fingerprint));
}

static void test_hello(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		struct hello h, back;
		random_hello(&r, &h);
		_cleanup_(buf_done) struct buf b = { 0 }, again = { 0 };
		hello_encode(&h, &b);
		struct cursor c = cursor_make(b.data, b.len);
		bad += hello_decode(&c, 1, &back, NULL) != 0;
		hello_encode(&back, &again);
		bad += b.len != again.len || memcmp(b.data, again.data, b.len) != 0;
		c = cursor_make(b.data, prng_below(&r, b.len));
		bad += hello_decode(&c, 1, &back, NULL) != -EPROTO;
		/* Whatever is changed, what is accepted is the one encoding of what it says. */
		b.data[prng_below(&r, b.len)] ^= (uint8_t)(1 << prng_below(&r, 8));
		c = cursor_make(b.data, b.len);
		if (hello_decode(&c, 1, &back, NULL) == 0) {
			buf_reset(&again);
			hello_encode(&back, &again);
			bad += b.len != again.len || memcmp(b.data, again.data, b.len) != 0;
		}
	}
	is_uint(bad, 0, "HELLO comes back, and has one encoding");
	struct hello h, back;
	struct err e = { 0 };
	random_hello(&r, &h);
	h.version = 9;
	_cleanup_(buf_done) struct buf b = { 0 };
	hello_encode(&h, &b);
	buf_puts(&b, "what version 9 adds");
	struct cursor c = cursor_make(b.data, b.len);
	is_int(hello_decode(&c, 1, &back, &e), 0,
	       "a later version that still speaks ours is taken");
	h.oldest = 2;
	buf_reset(&b);
	hello_encode(&h, &b);
	c = cursor_make(b.data, b.len);
	is_errno(hello_decode(&c, 1, &back, &e), -EPROTO, "one that does not is refused");
	ok(strstr(e.message, "update Shoal on this device"), "with what to do");
}

static void random_vector(struct prng *r, struct actors *actors, struct vv *v)
{
	for (uint64_t n = prng_below(r, 6); n > 0; n--) {
		struct actor_id id = { .incarnation = (uint32_t)prng_below(r, 2) };
		id.device.b[3] = (uint8_t)prng_below(r, 5);
		uint32_t no;
		if (actors_intern(actors, &id, &no) < 0 ||
		    vv_raise(v, no, 1 + prng_below(r, 1000)) < 0)
			tap_bail("out of memory");
	}
}

static void test_vector(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		_cleanup_(actors_freep) struct actors *actors = NULL;
		_cleanup_(actor_codec_freep) struct actor_codec *out = NULL, *in = NULL;
		if (actors_new(&actors) < 0 || actor_codec_new(actors, &out) < 0 ||
		    actor_codec_new(actors, &in) < 0)
			tap_bail("out of memory");
		_cleanup_(vv_done) struct vv told = { 0 }, heard = { 0 };
		for (int k = 0; k < 5; k++) {
			_cleanup_(vv_done) struct vv now = { 0 };
			_cleanup_(buf_done) struct buf b = { 0 };
			random_vector(&r, actors, &now);
			if (vv_join(&now, &told) < 0)
				tap_bail("out of memory");
			bad += frame_vector_put(&b, &now, &told, actors, out) != 0;
			struct cursor c = cursor_make(b.data, b.len);
			bad += frame_vector_get(&c, &heard, actors, in, NULL) != 0;
			bad += !cursor_end(&c) || !vv_equal(&heard, &now);
			if (vv_join(&told, &now) < 0)
				tap_bail("out of memory");
		}
	}
	is_uint(bad, 0, "vectors come back from their differences");
	_cleanup_(actors_freep) struct actors *actors = NULL;
	_cleanup_(actor_codec_freep) struct actor_codec *in = NULL;
	_cleanup_(vv_done) struct vv heard = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	if (actors_new(&actors) < 0 || actor_codec_new(actors, &in) < 0)
		tap_bail("out of memory");
	struct actor_id id = { .incarnation = 7 };
	uint32_t no;
	if (actors_intern(actors, &id, &no) < 0 || vv_raise(&heard, no, FRAME_SEQ_MAX - 1) < 0)
		tap_bail("out of memory");
	buf_put(&b, "\1\0", 2);
	buf_put(&b, id.device.b, ID_SIZE);
	buf_u32(&b, id.incarnation);
	buf_u8(&b, 2);
	struct cursor c = cursor_make(b.data, b.len);
	is_errno(frame_vector_get(&c, &heard, actors, in, NULL), -EPROTO,
		 "a sum beyond 2^62 is refused");
	is_uint(vv_get(&heard, no), FRAME_SEQ_MAX - 1, "and changes nothing");
}

static void test_piece(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_u8(&b, 1);
	uint8_t *p = buf_reserve(&b, FRAME_PIECE);
	if (!p)
		tap_bail("out of memory");
	memset(p, 'x', FRAME_PIECE);
	b.len += FRAME_PIECE;
	bool more;
	const uint8_t *data;
	size_t len;
	struct cursor c = cursor_make(b.data, b.len);
	ok(frame_piece_get(&c, &more, &data, &len, NULL) == 0 && more && len == FRAME_PIECE,
	   "a full piece with more behind it");
	c = cursor_make(b.data, FRAME_PIECE_MIN);
	is_errno(frame_piece_get(&c, &more, &data, &len, NULL), -EPROTO,
		 "more behind a piece that is small is refused");
	b.data[0] = 0;
	c = cursor_make(b.data, 2);
	ok(frame_piece_get(&c, &more, &data, &len, NULL) == 0 && !more && len == 1, "a last piece");
	c = cursor_make(b.data, 1);
	is_errno(frame_piece_get(&c, &more, &data, &len, NULL), -EPROTO, "an empty one is refused");
	b.data[0] = 2;
	c = cursor_make(b.data, 2);
	is_errno(frame_piece_get(&c, &more, &data, &len, NULL), -EPROTO, "and unknown flags");
}

int main(int argc, char **argv)
{
	tap_plan(20);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 2000);
	test_head();
	test_hello(seed, rounds);
	test_vector(seed, rounds);
	test_piece();
	return tap_done();
}
