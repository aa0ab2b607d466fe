/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packed frames: engine/pack.h, and sessions that send and get them. */
#include "engine/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame.h"
#include "tests/pair.h"
#include "tests/tap.h"

static void put_text(struct prng *r, struct buf *b, size_t len)
{
	for (size_t end = b->len + len; b->len < end;)
		buf_putf(b, "{\"place\": \"%s\", \"n\": %u}\n", prng_below(r, 2) ? "Hill Road" : "Mill Lane",
			 (unsigned)prng_below(r, 100000));
}

static void test_streams(struct prng *r, bool thorough)
{
	struct packer p = { .thorough = thorough };
	struct unpacker u = { 0 };
	unsigned wrong = 0;
	uint64_t plain = 0, packed = 0;
	for (unsigned i = 0; i < 300; i++) {
		_cleanup_(buf_done) struct buf in = { 0 }, small = { 0 }, out = { 0 };
		bool last = prng_below(r, 10) == 0;
		if (prng_below(r, 20) > 0 || !last)
			put_text(r, &in, 1 + prng_below(r, i % 50 == 0 ? PACK_PLAIN_MAX - 100 : 3000));
		wrong += pack(&p, in.data, in.len, last, &small) != 0 || (p.ctx == NULL) != last;
		wrong += unpack(&u, small.data, small.len, last, &out, NULL) != 0 || (u.ctx == NULL) != last;
		wrong += out.len != in.len || (in.len > 0 && memcmp(out.data, in.data, in.len) != 0);
		plain += in.len;
		packed += small.len;
	}
	is_uint(wrong, 0, "what is packed %scomes out as it was, piece by piece", thorough ? "thoroughly " : "");
	ok(packed < plain / 3, "and is small: %u of %u bytes", (unsigned)packed, (unsigned)plain);
	packer_done(&p);
	unpacker_done(&u);
}

/* Those beyond the most that there may be are as others; when one ends, the next one may be. */
static void test_thorough(struct prng *r)
{
	struct packer p[PACK_THOROUGH_MAX + 2] = { 0 };
	_cleanup_(buf_done) struct buf in = { 0 }, out = { 0 };
	size_t size[PACK_THOROUGH_MAX + 2];
	unsigned larger = 0;
	put_text(r, &in, 60000);
	for (unsigned i = 0; i < PACK_THOROUGH_MAX + 2; i++) {
		p[i].thorough = true;
		buf_reset(&out);
		if (i == PACK_THOROUGH_MAX + 1 && pack(&p[0], NULL, 0, true, &out) < 0)
			tap_bail("cannot pack");
		buf_reset(&out);
		if (pack(&p[i], in.data, in.len, false, &out) < 0)
			tap_bail("cannot pack");
		size[i] = out.len;
		larger += size[i] > size[0];
	}
	is_uint(larger, 1, "of %u streams one is not thorough", PACK_THOROUGH_MAX + 2);
	ok(size[PACK_THOROUGH_MAX] > size[0], "it is the one that was one too many: %zu bytes for %zu",
	   size[PACK_THOROUGH_MAX], size[0]);
	for (unsigned i = 0; i < PACK_THOROUGH_MAX + 2; i++)
		packer_done(&p[i]);
}

/* A random byte of a piece is another one: the piece is refused, or it is some piece; nothing else happens. */
static void test_damage(struct prng *r)
{
	unsigned refused = 0, wrong = 0;
	for (unsigned i = 0; i < 2000; i++) {
		_cleanup_(buf_done) struct buf in = { 0 }, small = { 0 }, out = { 0 };
		struct packer p = { 0 };
		struct unpacker u = { 0 };
		struct err e = { 0 };
		put_text(r, &in, 1 + prng_below(r, 2000));
		if (pack(&p, in.data, in.len, true, &small) < 0)
			tap_bail("cannot pack");
		small.data[prng_below(r, (uint32_t)small.len)] ^= (uint8_t)(1 + prng_below(r, 255));
		size_t len = prng_below(r, 3) ? small.len : prng_below(r, (uint32_t)small.len);
		int rc = unpack(&u, small.data, len, true, &out, &e);
		refused += rc == -EPROTO && e.message[0];
		wrong += (rc != 0 && rc != -EPROTO) || out.len > PACK_PLAIN_MAX || u.ctx;
		unpacker_done(&u);
	}
	is_uint(wrong, 0, "damage is refused or is another text");
	ok(refused > 1000, "mostly refused: %u", refused);
}

static void test_bounds(void)
{
	_cleanup_(buf_done) struct buf in = { 0 }, small = { 0 }, out = { 0 };
	struct packer p = { 0 };
	struct unpacker u = { 0 };
	struct err e = { 0 };
	for (unsigned i = 0; i <= PACK_PLAIN_MAX; i++)
		buf_u8(&in, 0);
	if (pack(&p, in.data, in.len, true, &small) < 0)
		tap_bail("cannot pack");
	is_errno(unpack(&u, small.data, small.len, true, &out, &e), -EPROTO, "%u zeros in %u bytes are too many",
		 (unsigned)in.len, (unsigned)small.len);
	ok(out.len <= PACK_PLAIN_MAX && strstr(e.message, "more than"), "which is said: %s", e.message);
	buf_reset(&small);
	buf_reset(&out);
	if (pack(&p, in.data, PACK_PLAIN_MAX, true, &small) < 0)
		tap_bail("cannot pack");
	ok(unpack(&u, small.data, small.len, true, &out, &e) == 0 && out.len == PACK_PLAIN_MAX,
	   "one less is not");
	/* A window of 2 MB: the receiver would have to keep it. */
	static const uint8_t wide[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00 };
	is_errno(unpack(&u, wide, sizeof(wide), true, &out, &e), -EPROTO, "a larger window is refused");
	buf_reset(&small);
	if (pack(&p, "abc", 3, false, &small) < 0)
		tap_bail("cannot pack");
	is_errno(unpack(&u, small.data, small.len, true, &out, &e), -EPROTO, "a stream that ends and says it does not");
	ok(!u.ctx, "nothing is kept of it");
	packer_done(&p);
}

static void write_docs(struct node *n, struct prng *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		char name[32];
		snprintf(name, sizeof(name), "%u.json", i);
		buf_putf(&b, "{\"street\": \"%s %u\", \"open\": true, \"note\": \"of no interest to anybody\"}\n",
			 prng_below(r, 2) ? "Hill Road" : "Mill Lane", (unsigned)prng_below(r, 1000));
		node_write(n, "docs", name, b.data, b.len);
	}
}

static unsigned frames_of(const struct buf *b, enum frame_type type)
{
	unsigned n = 0;
	enum frame_type t;
	size_t head, len;
	for (size_t at = 0; at < b->len && frame_head(b->data + at, b->len - at, &t, &head, &len, NULL) == 1;
	     at += head + len)
		n += t == type;
	return n;
}

static void test_sync(struct prng *r)
{
	struct node a, b, c;
	struct pair p;
	uint64_t bytes[2];
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	write_docs(&a, r, 2000);
	for (int packed = 0; packed < 2; packed++) {
		_cleanup_(buf_done) struct buf said = { 0 };
		pair_open(&p, &a, packed ? &b : &c);
		if (!packed)
			session_unpacked(p.session[0]);
		p.said[0] = &said;
		pair_run(&p);
		ok(!p.failed && session_in_step(p.session[0]), "2,000 documents, %spacked", packed ? "" : "not ");
		bytes[packed] = p.bytes[0];
		const unsigned packs = frames_of(&said, FRAME_PACK);
		ok(packed ? packs > 0 : packs == 0, "PACK frames: %u", packs);
		pair_close(&p);
	}
	_cleanup_free_ char *one = node_read(&a, "docs", "1234.json"), *two = node_read(&b, "docs", "1234.json");
	is_str(two, one, "they are the same there");
	ok(bytes[1] < bytes[0] / 2, "%u bytes, %u packed", (unsigned)bytes[0], (unsigned)bytes[1]);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

static void put_pack(struct buf *b, uint8_t flags, const void *packed, size_t len)
{
	_cleanup_(buf_done) struct buf payload = { 0 };
	buf_u8(&payload, flags);
	buf_put(&payload, packed, len);
	if (frame_put(b, FRAME_PACK, &payload) < 0)
		tap_bail("a frame cannot be made");
}

/* What a session that is in step says of a PACK with these frames in it; *ret_out, if it is taken: what it answers. */
static int answer(uint8_t flags, const void *frames, size_t len, bool last, struct buf *ret_out, struct err *e)
{
	struct node a, b;
	struct pair p;
	struct packer packer = { 0 };
	_cleanup_(buf_done) struct buf small = { 0 }, in = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	pair_open(&p, &a, &b);
	pair_run(&p);
	if (p.failed || pack(&packer, frames, len, last, &small) < 0)
		tap_bail("no session");
	put_pack(&in, flags, small.data, small.len);
	int r = session_input(p.session[0], in.data, in.len, p.now, e);
	if (r == 0 && session_output(p.session[0], ret_out, 65536, p.now, e) < 0)
		tap_bail("%s", e->message);
	packer_done(&packer);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
	return r;
}

static void test_frames(void)
{
	static const uint8_t ping[] = { FRAME_PING, 1, 7, FRAME_PING, 1, 8 };
	static const uint8_t pong[] = { FRAME_PONG, 1, 8 };
	static const uint8_t inner[] = { FRAME_PACK, 1, 0 };
	_cleanup_(buf_done) struct buf out = { 0 };
	struct err e = { 0 };
	is_int(answer(0, ping, sizeof(ping), true, &out, &e), 0, "two PINGs, packed");
	ok(out.len >= sizeof(pong) && memmem(out.data, out.len, pong, sizeof(pong)), "are answered");
	buf_reset(&out);
	is_int(answer(FRAME_MORE, ping, sizeof(ping), false, &out, &e), 0, "and of a stream that goes on");
	is_errno(answer(FRAME_MORE, ping, sizeof(ping), true, &out, &e), -EPROTO, "one that ends and says it goes on");
	is_errno(answer(0, ping, sizeof(ping), false, &out, &e), -EPROTO, "and the other way about");
	is_errno(answer(2, ping, sizeof(ping), true, &out, &e), -EPROTO, "flags that there are not");
	is_errno(answer(0, ping, sizeof(ping) - 1, true, &out, &e), -EPROTO, "a frame that is cut");
	ok(strstr(e.message, "not whole"), "which is said: %s", e.message);
	is_errno(answer(0, inner, sizeof(inner), true, &out, &e), -EPROTO, "a PACK in a PACK");
	is_errno(answer(FRAME_MORE, ping, 0, false, &out, &e), -EPROTO, "one with nothing in it");
	is_int(answer(0, ping, 0, true, &out, &e), 0, "but that of the end");
	static const uint8_t hello[] = { FRAME_HELLO, 0 };
	is_errno(answer(0, hello, sizeof(hello), true, &out, &e), -EPROTO, "what is refused is refused packed as well");
}

static void test_early(void)
{
	struct node a, b;
	struct pair p;
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf in = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	pair_open(&p, &a, &b);
	put_pack(&in, 0, "x", 1);
	is_errno(session_input(p.session[0], in.data, in.len, p.now, &e), -EPROTO, "none comes before HELLO: %s",
		 e.message);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

int main(int argc, char **argv)
{
	tap_plan(33);
	struct prng r = { tap_seed(argc, argv) };
	test_streams(&r, false);
	test_streams(&r, true);
	test_thorough(&r);
	test_damage(&r);
	test_bounds();
	test_sync(&r);
	test_frames();
	test_early();
	return tap_done();
}
