/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer may do that has others look for contents: it is told what it may know, costs so much and no more, and
 * harms nobody else. */
#include "tests/relays.h"

/* A frame from node 0 to node 1, who is at line 0. */
static int send(struct wire *l, uint8_t links, uint64_t id, const struct sha256 *hash, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 }, out = { 0 };
	buf_u8(&b, links);
	frame_seek_put(&b, id, hash);
	if (frame_put(&out, FRAME_SEEK, &b) < 0)
		tap_bail("out of memory");
	return session_input(l->session[1], out.data, out.len, net.now, e);
}

/* The same that says it got all up to that PING. */
static void pong(struct wire *l, uint64_t ping)
{
	_cleanup_(buf_done) struct buf b = { 0 }, out = { 0 };
	struct err e = { 0 };
	buf_varint(&b, ping);
	if (frame_put(&out, FRAME_PONG, &b) < 0 ||
	    session_input(l->session[1], out.data, out.len, net.now, &e) < 0)
		tap_bail("PONG: %s", e.message);
}

static void malformed(const char *what, const char *says, const void *data, size_t len)
{
	struct err e = { 0 };
	chain(3);
	const int r = session_input(net.line[0].session[1], data, len, net.now, &e);
	ok(r == -EPROTO && strstr(e.message, says), "%s is refused: %s", what, e.message);
	net_close(NULL);
}

#define HASH32 "0123456789abcdef0123456789abcdef"

static void test_hostile(void)
{
	struct err e = { 0 };
	struct sha256 hash = { { 1 } };
	malformed("SEEK without anything", "malformed SEEK", "\x24\0", 2);
	malformed("SEEK that is cut", "malformed SEEK", "\x24\x28\3abcdefgh" HASH32, 2 + 40);
	malformed("SEEK with more", "bad length", "\x24\x2a\3abcdefgh" HASH32 "x", 2 + 42);
	malformed("FOUND that is cut", "malformed FOUND", "\x26\x27" "abcdefgh" HASH32, 2 + 39);
	malformed("FOUND of nothing that was asked for", "was not asked for", "\x26\x28" "abcdefgh" HASH32, 2 + 40);
	malformed("the same with something in it", "was not asked for", "\x26\x2a" "abcdefgh" HASH32 "\0x", 2 + 42);

	chain(4);
	is_int(send(&net.line[0], 127, 7, &hash, &e), 0, "however far a peer wants it looked for,");
	net.line[0].mute[1] = true;
	quiet();
	ok(net.line[1].frames[0][FRAME_SEEK] == 1 && net.line[1].links_max[0] == FETCH_HOPS - 1, "it is not looked for farther than that");
	is_uint(net.line[0].vain[1], 1, "and the peer is told that it is in vain");
	is_int(send(&net.line[0], 3, 7, &hash, &e), 0, "who looks for it once more");
	quiet();
	ok(net.line[1].frames[0][FRAME_SEEK] == 1 && net.line[0].vain[1] == 2, "is told so at once");
	net_close("nothing is kept");
}

/* A peer that takes nothing any more costs so much and no more; one that looks for too much is refused. */
static void test_bounds(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	struct sha256 *hash;
	uint32_t n;
	net_open_of(4, 8 * SIZE);
	for (unsigned i = 0; i < 3; i++)
		line(i, i + 1);
	quiet();
	/* The hashes of what is in the file: what somebody lacks who has the manifest. */
	_cleanup_(buf_done) struct buf root = { 0 };
	if (chunk_get(net.node[3].store, &net.ref.manifest, &root) < 0 ||
	    chunk_put(net.node[0].store, &net.ref.manifest, root.data, root.len) < 0 ||
	    blob_missing(net.node[0].store, &a, &net.ref, &hash, &n) < 0 || n < 20)
		tap_bail("no chunks");
	struct wire *l = &net.line[0];
	l->mute[1] = true;
	/* It says nothing any more by itself, and what it is sent is not taken. */
	unsigned taken = 0;
	int r = 0;
	for (uint32_t i = 0; i < 20 && r == 0; i++) {
		r = send(l, 3, 100 + i, &hash[i], &e);
		taken += r == 0;
		for (unsigned k = 2; k < 6; k++)
			say(&net.line[k / 2], (int)(k % 2));
	}
	is_uint(taken, FETCH_SEEKS_MAX, "so many are looked for at a time for one peer");
	ok(r == -EPROTO && strstr(e.message, "too many chunks at a time"), "and one more is refused: %s", e.message);
	line_down(0);
	quiet();
	ok(net.line[1].bytes[1] <= FETCH_SEEKS_MAX * CHUNK_WIRE_MAX && net.line[1].chunks[1] <= FETCH_SEEKS_MAX,
	   "that is what one that takes nothing costs (%llu KiB)", (unsigned long long)net.line[1].bytes[1] / 1024);

	/* One that asks as it is answered, and credits nothing: its window is the bound. */
	line_up(0);
	quiet();
	l->mute[0] = l->mute[1] = true;
	uint64_t told = l->ping[1];
	for (uint32_t i = 0; i < n; i++) {
		if (send(l, 3, 1000 + i, &hash[i], &e) < 0)
			break;
		for (quiet(); told != l->ping[1]; quiet()) {
			told = l->ping[1];
			pong(l, told);
		}
	}
	ok(l->chunks[1] > FETCH_SEEKS_MAX && l->bytes[1] < SESSION_WINDOW + 2 * CHUNK_WIRE_MAX,
	   "one that credits nothing is sent its window (%llu KiB, %u chunks)", (unsigned long long)l->bytes[1] / 1024, l->chunks[1]);
	ok(net.line[1].chunks[1] - l->chunks[1] <= 2 * FETCH_SEEKS_MAX, "and no more is fetched for it");

	net_close("nobody keeps anything");
}

/* Many who flood with what nobody has: each is answered, or refused, and nothing grows. */
static void test_flood(void)
{
	struct err e = { 0 };
	struct prng r = { 11 };
	struct waiting w;
	net_open(6);
	for (unsigned i = 0; i < 4; i++)
		line(i, 4);
	line(4, 5);
	quiet();
	unsigned refused_at = 0, told = 0;
	for (unsigned i = 0; i < 3000; i++) {
		struct sha256 hash;
		prng_fill(&r, &hash, sizeof(hash));
		struct wire *l = &net.line[i % 3];
		if (!l->session[1])
			continue;
		l->deaf[0] = true; /* who asked does not know that it has */
		int rc = send(l, (uint8_t)prng_below(&r, 128), prng_below(&r, 500), &hash, &e);
		refused_at += rc < 0;
		for (unsigned k = 0; k < 10; k++)
			say(&net.line[k / 2], (int)(k % 2));
	}
	for (unsigned i = 0; i < 3; i++)
		told += net.line[i].vain[1];
	is_uint(refused_at, 0, "who asks as it is answered is not refused");
	ok(told > 2900, "and is told each time that it is in vain (%u)", told);
	for (unsigned i = 0; i < 3; i++)
		line_down(i);
	quiet();
	begin(3, 0, 100, &w, NULL);
	quiet();
	ok(came(3, &w, 0, 100), "another one gets what it looks for all the same");
	net.chunks[3] = stored(3);
	net_close("nobody else keeps anything");
}

int main(void)
{
	tap_plan(22);
	test_hostile();
	test_bounds();
	test_flood();
	return tap_done();
}
