/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base layer: buffers, cursors, arenas, errors, identifiers, hashes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/arena.h"
#include "engine/buf.h"
#include "engine/cursor.h"
#include "engine/err.h"
#include "engine/id.h"
#include "engine/sha256.h"
#include "engine/table.h"
#include "tests/prng.h"
#include "tests/tap.h"

static void test_buf(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "ab");
	buf_putf(&b, "%d-%s", 42, "x");
	is_mem(b.data, b.len, "ab42-x", 6, "text and formats append");
	buf_consume(&b, 2);
	is_str(buf_cstr(&b), "42-x", "consuming takes from the front");
	buf_reset(&b);
	buf_u8(&b, 1);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, UINT64_C(0x08090a0b0c0d0e0f));
	is_mem(b.data, b.len, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 15,
	       "integers are big-endian");
	size_t len = 0;
	_cleanup_free_ uint8_t *taken = buf_take(&b, &len);
	ok(taken && len == 15 && b.len == 0 && !b.data, "buf_take empties the buffer");
}

static void test_varint(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t v = prng_u64(&r) >> prng_below(&r, 64);
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_varint(&b, v);
		struct cursor c = cursor_make(b.data, b.len);
		if (cursor_varint(&c) == v && cursor_end(&c) && b.len <= BUF_VARINT_MAX)
			continue;
		tap_diag("round %llu: %llu does not come back", (unsigned long long)i,
			 (unsigned long long)v);
		bad++;
	}
	is_uint(bad, 0, "every varint comes back");

	static const struct {
		const char *bytes;
		size_t len;
		const char *why;
	} refused[] = {
		{ "", 0, "nothing" },
		{ "\x80", 1, "an end before the last group" },
		{ "\x80\x00", 2, "a needless zero group" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, "more than 64 bits" },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "eleven groups" },
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct cursor c = cursor_make(refused[i].bytes, refused[i].len);
		ok(cursor_varint(&c) == 0 && !cursor_ok(&c), "a varint that is %s is refused",
		   refused[i].why);
	}
}

static void test_cursor(void)
{
	static const uint8_t data[] = { 0, 1, 3, 'a', 'b', 'c', 9 };
	struct cursor c = cursor_make(data, sizeof(data));
	is_uint(cursor_u16(&c), 1, "an integer");
	size_t len = 0;
	const uint8_t *p = cursor_bytes(&c, 10, &len);
	is_mem(p, len, "abc", 3, "a byte string with its length");
	ok(!cursor_end(&c) && cursor_ok(&c), "a byte is left");
	ok(cursor_u32(&c) == 0 && !cursor_ok(&c), "reading past the end is bad");
	ok(cursor_u8(&c) == 0 && cursor_left(&c) == 0, "and stays bad");
	c = cursor_make(data + 2, 5);
	ok(!cursor_bytes(&c, 2, &len) && !cursor_ok(&c), "a length above the bound is bad");
	c = cursor_make(NULL, 0);
	ok(cursor_end(&c), "an empty input is at its end");
}

static void test_arena(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	bool aligned = true, kept = true;
	char *first = arena_dup(&a, "hello", 5);
	for (size_t i = 1; i < 3000; i++) {
		uint8_t *p = arena_zalloc(&a, i);
		aligned = aligned && p && (uintptr_t)p % 8 == 0;
		kept = kept && p && p[0] == 0 && p[i - 1] == 0;
		if (p)
			memset(p, 0xff, i);
	}
	ok(aligned, "allocations are aligned to 8");
	ok(kept, "cleared memory is clear and no allocation touches another");
	is_str(first, "hello", "the first allocation stays what it was");
	ok(!arena_array(&a, SIZE_MAX / 2, 16), "an array whose size overflows is refused");
	arena_reset(&a);
	ok(arena_alloc(&a, 100), "a reset arena serves again");
}

static void test_err(void)
{
	struct err e = { 0 };
	is_errno(err_set(&e, -EINVAL, "port %d", 7), -EINVAL, "err_set returns its code");
	is_str(e.message, "port 7", "and keeps the sentence");
	is_errno(err_prefix(&e, "shoal.conf"), -EINVAL, "err_prefix returns the code");
	is_str(e.message, "shoal.conf: port 7", "and puts the prefix first");
	err_errno(&e, -ENOENT, "cannot open %s", "x");
	is_str(e.message, "cannot open x: No such file or directory", "err_errno says why");
	is_errno(err_set(NULL, -EIO, "nobody listens"), -EIO, "nobody has to listen");
}

static void test_id(void)
{
	struct id a = { 0 }, b = { 0 };
	char text[ID_HEX];
	ok(id_is_zero(&a), "a zero id is zero");
	const char *hex = "00112233445566778899aabbccddeeff";
	is_errno(id_parse(hex, 32, &a), 0, "an id is read");
	is_str(id_hex(&a, text), hex, "and written");
	is_errno(id_parse("00112233445566778899AABBCCDDEEFf", 31, &b), -EINVAL,
		 "31 digits are refused");
	is_errno(id_parse("0011223344556677g899aabbccddeeff", 32, &b), -EINVAL,
		 "a letter that is no digit is refused");
	ok(id_is_zero(&b) && !id_equal(&a, &b), "a refused text leaves the output alone");
}

static void test_sha256(void)
{
	struct sha256 h, want;
	static const uint8_t abc[SHA256_SIZE] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
						  0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
						  0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
						  0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
	sha256_of("abc", 3, &h);
	memcpy(want.b, abc, sizeof(abc));
	is_mem(h.b, sizeof(h.b), want.b, sizeof(want.b), "the test vector of FIPS 180-4");
	struct id x, y;
	sha256_id((struct sha256_part[]){ { "ab", 2 }, { "c", 1 } }, 2, &x);
	sha256_id((struct sha256_part[]){ { "a", 1 }, { "bc", 2 } }, 2, &y);
	ok(!id_equal(&x, &y), "the parts of a hashed sequence do not run together");
}

struct thing {
	uint32_t key;
	struct table_link link;
	bool in;
};

/* Few hashes, so that the chains are long; the table against a flag in each thing. */
static void test_table(uint64_t seed, uint64_t rounds)
{
	static struct thing thing[200];
	struct prng r = { seed };
	struct table t = { 0 };
	uint64_t bad = 0, n = 0, seen = 0;
	ok(!table_first(&t, 1) && !table_remove(&t, &thing[0].link), "an empty table has nothing");
	for (uint64_t i = 0; i < rounds; i++) {
		struct thing *x = &thing[prng_below(&r, 200)];
		x->key = (uint32_t)(x - thing);
		if (prng_below(&r, 2)) {
			bad += table_remove(&t, &x->link) != x->in;
			n -= x->in;
			x->in = false;
		} else if (!x->in) {
			bad += table_add(&t, &x->link, x->key % 17) != 0;
			x->in = true;
			n++;
		}
		bool found = false;
		for (struct table_link *l = table_first(&t, x->key % 17); l; l = l->next)
			found |= table_entry(l, struct thing, link) == x;
		bad += found != x->in || t.n != n;
	}
	is_uint(bad, 0, "what was added and not removed is found, nothing else");
	table_each(&t, i, l, next) {
		seen++;
		table_remove(&t, l);
	}
	ok(seen == n && t.n == 0, "a walk comes to each once and may remove it");
	table_done(&t);
}

static void test_table_hash(void)
{
	unsigned load[256] = { 0 }, most = 0;
	for (uint64_t i = 0; i < 4096; i++) {
		unsigned *at = &load[table_mix(i << 20) & 255];
		most = ++*at > most ? *at : most;
	}
	ok(most < 48, "numbers that differ in high bits only are spread: 16 a place, %u at most", most);
	/* Numbers of inodes are made from these. */
	is_uint(table_mix(1), UINT64_C(0xb456bcfc34c2cb2c), "the hash of a number never changes");
	is_uint(table_hash_bytes("drafts", 6, 2), UINT64_C(0x3585b7b2b1fad303), "nor that of bytes");
	ok(table_hash_bytes("a", 1, 0) != table_hash_bytes("a", 1, 1), "the seed counts");
}

int main(int argc, char **argv)
{
	tap_plan(43);
	uint64_t seed = tap_seed(argc, argv);
	test_buf();
	test_varint(seed, tap_rounds(argc, argv, 100000));
	test_cursor();
	test_arena();
	test_err();
	test_id();
	test_sha256();
	test_table(seed, tap_rounds(argc, argv, 100000));
	test_table_hash();
	return tap_done();
}
