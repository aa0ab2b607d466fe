/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents that only devices farther away have: they come through those between, which keep nothing of it. Who looks
 * for them gets them, or is told in time that nobody has them, whatever the others say or do not say. */
#include "tests/relays.h"

/* ---- what is found ---- */

static void test_chain(void)
{
	struct waiting w, all, gone;
	uint64_t ticket;
	chain(4);
	is_int(begin(0, SIZE / 2, 1000, &w, NULL), 0, "three links from who has it, a reader waits");
	quiet();
	ok(came(0, &w, SIZE / 2, 1000), "and gets what it waits for");
	ok(net.line[2].bytes[1] < SIZE / 2 && fetch_files(net.f[0]) == 0,
	   "not more: others bear the cost (%llu KiB)", (unsigned long long)net.line[2].bytes[1] / 1024);
	is_uint(net.line[0].links_max[0], FETCH_HOPS, "so far it is looked for,");
	ok(net.line[1].links_max[0] == FETCH_HOPS - 1 && net.line[2].links_max[0] == FETCH_HOPS - 2, "one less each time");
	begin(0, 0, 100, &gone, &ticket);
	say(&net.line[0], 0);
	say(&net.line[0], 1);
	say(&net.line[0], 0);
	ok(fetch_cancel(net.f[0], ticket) && fetch_files(net.f[0]) == 0, "who waits can go");
	quiet();
	ok(gone.n == 0 && !net.line[0].error, "what comes for it then harms nobody");
	const uint64_t before = net.line[2].bytes[1];
	is_int(begin_all(0, &all), 0, "another one waits for all of it");
	quiet();
	ok(came(0, &all, 0, SIZE), "and gets it");
	ok(net.line[2].bytes[1] - before < SIZE * 11 / 10, "once");
	net_close("those between keep nothing of it");

	chain(5);
	begin_all(0, &all);
	quiet();
	ok(came(0, &all, 0, SIZE), "so it is with four links");
	net_close("and three between");

	chain(6);
	const uint64_t began = net.now;
	begin_all(0, &all);
	quiet();
	ok(refused(&all) && all.at - began < SECOND, "five links are too many: that is said at once");
	is_uint(net.line[4].frames[0][FRAME_SEEK], 0, "and nobody is asked over the fifth");
	net_close("nothing is left of it");
}

/* Of six around a ring, half are in each other's reach. */
static void test_ring(void)
{
	struct waiting w;
	unsigned seeks = 0;
	net_open(6);
	for (unsigned i = 0; i < 5; i++)
		line(i, (i + 1) % 5);
	quiet();
	uint64_t began = net.now;
	is_int(begin(0, 0, 100, &w, NULL), 0, "in a ring where nobody has it, a reader waits");
	pass(5 * SECOND);
	ok(refused(&w) && w.at - began < SECOND, "it is told at once");
	for (unsigned i = 0; i < 5; i++)
		seeks += net.line[i].frames[0][FRAME_SEEK] + net.line[i].frames[1][FRAME_SEEK];
	ok(seeks > 0 && seeks <= 40, "it does not go round and round (%u frames)", seeks);
	struct waiting all[5];
	began = net.now;
	for (unsigned i = 0; i < 5; i++)
		begin_all(i, &all[i]);
	pass(10 * SECOND);
	unsigned told = 0;
	for (unsigned i = 0; i < 5; i++)
		told += refused(&all[i]) && all[i].at - began < 5 * SECOND;
	is_uint(told, 5, "all of them at once wait for each other, and not for long");
	line(2, 5);
	quiet();
	for (unsigned i = 0; i < 2; i++)
		begin_all(i, &all[i]);
	quiet();
	ok(came(0, &all[0], 0, SIZE) && came(1, &all[1], 0, SIZE), "one comes who has it: two get it");
	net_close(NULL);
}

static void test_star(void)
{
	struct waiting w, other;
	net_open(6);
	static const unsigned rays[] = { 0, 2, 3, 4, 5 };
	for (unsigned i = 0; i < 5; i++)
		line(rays[i], 1);
	quiet();
	begin_all(0, &w);
	quiet();
	ok(came(0, &w, 0, SIZE), "the one in the middle of a star finds it");
	unsigned asked = 0;
	for (unsigned i = 1; i < 4; i++)
		asked += net.line[i].frames[1][FRAME_SEEK];
	ok(asked > 0 && asked <= 3, "and asks in vain once each, not for each chunk (%u)", asked);
	/* The middle one reads it, too. */
	begin_all(1, &other);
	quiet();
	ok(came(1, &other, 0, SIZE), "it can be asked for what it has itself");
	net.chunks[1] = stored(1);
	net_close("the others keep nothing");
}

/* Who relays reads it at the same time. */
static void test_both(void)
{
	struct waiting w, mine;
	chain(4);
	begin_all(0, &w);
	begin_all(1, &mine);
	quiet();
	ok(came(0, &w, 0, SIZE) && came(1, &mine, 0, SIZE), "two along the way get it");
	ok(net.line[2].bytes[1] < SIZE * 15 / 10, "mostly by the same bytes (%llu KiB)",
	   (unsigned long long)net.line[2].bytes[1] / 1024);
	net.chunks[1] = stored(1);
	net_close("the one that only helps keeps nothing");
}

/* Three read at once, and who says what in which order is up to chance. */
static void test_any_order(uint64_t seed, uint64_t rounds)
{
	unsigned right = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		struct prng r = { seed + i };
		struct waiting w[3][4];
		bool fine = true;
		chain(4);
		net.most = 1 + prng_below(&r, 65536);
		for (unsigned k = 0; k < 12; k++) {
			/* Later ones meet chunks that are on their way. */
			const uint64_t at = prng_below(&r, SIZE - 100000);
			begin(k % 3, at, 1 + prng_below(&r, 100000), &w[k % 3][k / 3], NULL);
			for (uint64_t turns = prng_below(&r, 30); turns > 0; turns--)
				say(&net.line[prng_below(&r, 3)], (int)prng_below(&r, 2));
		}
		pass(2 * SECOND);
		for (unsigned k = 0; k < 12; k++)
			fine &= w[k % 3][k / 3].n <= 1 && w[k % 3][k / 3].code == 0;
		for (unsigned k = 0; k < 3; k++) {
			begin_all(k, &w[k][0]);
			quiet();
			fine &= (w[k][0].n == 0 || w[k][0].code == 0) && reads(k, 0, SIZE) && net.line[k].error == 0;
		}
		net_close(NULL);
		if (!fine)
			tap_diag("seed %llu", (unsigned long long)(seed + i));
		right += fine;
	}
	is_uint(right, rounds, "whatever order things come in, three get it");
}

/* ---- what goes wrong ---- */

/* 0 asks 1 and 2, both of which know 3, who has it; 1 is asked first. */
static void diamond(void)
{
	net_open(4);
	line(0, 1);
	line(0, 2);
	line(1, 3);
	line(2, 3);
	quiet();
}

static void test_liars(void)
{
	struct waiting w;
	diamond();
	net.line[0].lies[1] = true;
	begin_all(0, &w);
	quiet();
	ok(came(0, &w, 0, SIZE), "who passes on something else is not believed, and another one asked");
	is_errno(net.line[0].error, -EPROTO, "its session ends");
	net_close("nothing of it is kept");

	chain(4);
	net.line[2].lies[1] = true;
	begin(0, 0, 100, &w, NULL);
	quiet();
	is_errno(net.line[2].error, -EPROTO, "a lie ends where it is told,");
	ok(refused(&w) && net.line[0].session[0] && net.line[1].session[0], "not farther on, where it is in vain");
	is_uint(net.line[1].chunks[1], 0, "and is not passed on");
	net_close("nor kept");
}

static void test_silence(void)
{
	struct waiting w, other;
	diamond();
	net.line[0].silent[1] = true;
	net.line[1].silent[1] = true;
	net.line[2].silent[0] = net.line[3].silent[0] = true;
	uint64_t began = net.now;
	begin(0, 0, 100, &w, NULL);
	pass(200 * SECOND);
	const uint64_t most = (FETCH_HOPS + 1) * FETCH_LINK_US;
	ok(refused(&w) && w.at - began > FETCH_NEXT_US && w.at - began <= most + SECOND,
	   "those who look for it and never say anything: that takes %llu s", (unsigned long long)(w.at - began) / SECOND);
	ok(net.line[0].session[0] && net.line[1].session[0], "they may have their reasons");
	net_close("and that is the end of it");

	diamond();
	net.line[2].silent[0] = true;
	began = net.now;
	begin(0, 0, 100, &w, NULL);
	begin(0, SIZE - 100, 100, &other, NULL);
	pass(5 * SECOND);
	ok(came(0, &w, 0, 100) && came(0, &other, SIZE - 100, 100) && w.at - began < 3 * SECOND,
	   "one says nothing: the other is asked before long");
	net_close("and nobody keeps anything");
}

/* Until so many chunks went over one of these. */
static void some(const unsigned *a, const unsigned *b, unsigned n)
{
	for (int i = 0; i < 400 && *a + (b ? *b : 0) < n; i++)
		for (unsigned k = 0; k < 2 * net.n_lines; k++)
			say(&net.line[k / 2], (int)(k % 2));
}

/* A link that is cut, and comes back. */
static void test_cut(void)
{
	struct waiting w, again;
	diamond();
	begin_all(0, &w);
	some(&net.line[0].chunks[1], &net.line[1].chunks[1], 5);
	const unsigned used = net.line[0].chunks[1] ? 0 : 1;
	ok(w.n == 0, "while it comes one way");
	line_down(used + 2);
	quiet();
	ok(came(0, &w, 0, SIZE), "that is cut in the middle: it comes the other way");
	net_close("and nobody keeps anything");

	chain(4);
	begin_all(0, &w);
	some(&net.line[0].chunks[1], NULL, 5);
	ok(w.n == 0 && net.line[0].chunks[1] >= 5, "while it comes the only way");
	line_down(1);
	uint64_t began = net.now;
	pass(5 * SECOND);
	ok(refused(&w) && w.at - began < SECOND, "that is cut in the middle: who waits is told at once");
	is_errno(begin(0, 0, SIZE, &again, NULL), 0, "somebody tries again");
	quiet();
	ok(refused(&again), "in vain");
	line_up(1);
	quiet();
	begin_all(0, &again);
	quiet();
	ok(came(0, &again, 0, SIZE), "until the way is there again");
	ok(net.line[2].chunks[1] <= stored(0) - net.chunks[0] + 2 * FETCH_SEEKS_MAX, "what came before comes no more");
	net_close("and nobody keeps anything");

	/* Who looks for it goes. */
	chain(4);
	begin_all(0, &w);
	some(&net.line[0].chunks[1], NULL, 5);
	line_down(0);
	ok(refused(&w), "who is alone is told at once");
	const unsigned sent = net.line[2].chunks[1];
	quiet();
	ok(net.line[2].chunks[1] - sent <= 2 * FETCH_SEEKS_MAX && !net.line[1].error && !net.line[2].error,
	   "what is on its way to it ends where it is");
	net_close("and nobody keeps anything");
}

/* The next connection takes over from that line, at both ends. */
static void successor(unsigned i)
{
	struct fetch_source *source[2];
	for (int k = 0; k < 2; k++)
		source[k] = session_fetch_hand(net.line[i].session[k], net.now);
	line_down(i);
	quiet();
	line_up(i);
	for (int k = 0; k < 2; k++)
		session_fetch_take(net.line[i].session[k], source[k]);
}

static void test_handed(void)
{
	struct waiting w;
	chain(4);
	begin_all(0, &w);
	some(&net.line[0].chunks[1], NULL, 5);
	successor(1);
	is_uint(w.n, 0, "another connection takes over from one in the middle: who waits goes on waiting");
	quiet();
	ok(came(0, &w, 0, SIZE), "and it comes");
	net_close("nobody keeps anything");

	chain(4);
	begin_all(0, &w);
	some(&net.line[0].chunks[1], NULL, 5);
	successor(0);
	quiet();
	ok(came(0, &w, 0, SIZE), "so it is with the first one");
	net_close("nobody keeps anything");
}

static void test_slow(void)
{
	struct waiting w;
	diamond();
	line_down(0);
	line_up(0);
	for (int k = 0; k < 2; k++)
		session_pace(net.line[0].session[k], 100000, true);
	quiet();
	begin_all(0, &w);
	quiet();
	ok(came(0, &w, 0, SIZE), "of two ways one is slow: it comes");
	is_uint(net.line[0].chunks[1], 0, "over the other one");
	net_close("nobody keeps anything");
}

/* The contents are lost between the question and the answer. */
static void test_unstored(void)
{
	struct waiting w;
	chain(3);
	begin(0, 0, 100, &w, NULL);
	for (int i = 0; i < 100 && net.line[1].frames[0][FRAME_SEEK] == 0; i++) {
		say(&net.line[0], 0);
		say(&net.line[0], 1);
		say(&net.line[1], 0);
	}
	bool gone = false;
	struct sha256 hash = net.ref.manifest;
	ok(chunks_delete(net.node[2].store, &hash, 1, &gone, NULL) == 0 && gone, "what was found goes");
	quiet();
	ok(refused(&w), "before it is sent: who waits is told");
	for (unsigned i = 0; i < net.n_lines; i++)
		line_down(i);
	for (unsigned i = 0; i < net.n; i++) {
		fetches_free(net.f[i]);
		node_close(&net.node[i]);
	}
	free(net.data);
}

/* ---- sessions that begin ---- */

/* The first that a new peer hears may be that something is looked for. */
static void test_fresh(void)
{
	_cleanup_(buf_done) struct buf said = { 0 };
	struct waiting w;
	struct err e = { 0 };
	net_open(5);
	/* 0 reads, through 1; 2 says nothing; 3 comes and knows 4, who has it. */
	line(0, 1);
	line(1, 2);
	line(3, 4);
	quiet();
	net.line[1].silent[1] = true;
	/* 2 has another peer, so that it could be looking. */
	begin(0, 0, 100, &w, NULL);
	net.line[1].silent[0] = true;
	pass(FETCH_NEXT_US * 2);
	is_uint(w.n, 0, "while one who was asked says nothing");
	const unsigned fresh = line(1, 3);
	struct wire *l = &net.line[fresh];
	say(l, 0);
	say(l, 1);
	if (session_output(l->session[0], &said, 65536, net.now, &e) < 0)
		tap_bail("%s", e.message);
	bool witness = false, seek = false;
	for (size_t at = 0; at < said.len;) {
		enum frame_type t;
		size_t head, len;
		if (frame_head(said.data + at, said.len - at, &t, &head, &len, NULL) != 1)
			tap_bail("half a frame");
		witness |= t == FRAME_WITNESS;
		seek |= t == FRAME_SEEK;
		at += head + len;
	}
	ok(witness && seek, "another one comes, and is asked together with WITNESS");
	is_int(session_input(l->session[1], said.data, said.len, net.now, &e), 0, "it takes that");
	quiet();
	ok(came(0, &w, 0, 100), "and finds it");
	net_close("and keeps nothing");
}

/* Those who can be asked directly come first, but not each time. */
static void test_sought(void)
{
	struct waiting w;
	struct fetch_sought sought[4];
	uint32_t asked, coming;
	chain(3);
	fetches_seek(net.f[0]);
	begin(0, 0, 100, &w, NULL);
	quiet();
	ok(w.n == 0 && net.line[0].frames[0][FRAME_SEEK] == 0, "while others may be asked, it is not looked for farther away");
	is_uint(fetch_sought(net.f[0], net.now, sought, 4, &asked, &coming), 1, "but among those");
	fetch_forsake(net.f[0], &net.big.id);
	is_uint(w.n, 0, "there are none: who waits goes on waiting");
	is_uint(fetch_sought(net.f[0], net.now, sought, 4, &asked, &coming), 0, "they are not looked for any more");
	quiet();
	ok(came(0, &w, 0, 100), "and it comes from farther away");
	begin(0, SIZE / 2, 100, &w, NULL);
	quiet();
	ok(came(0, &w, SIZE / 2, 100), "the next of that file comes so at once");
	line_down(1);
	begin(0, SIZE - 100, 100, &w, NULL);
	quiet();
	ok(w.n == 0 && fetch_sought(net.f[0], net.now, sought, 4, &asked, &coming) == 1,
	   "unless the way is gone: then others may be asked again");
	fetch_forsake(net.f[0], &net.big.id);
	quiet();
	ok(refused(&w), "and then it is in vain");
	net_close("those between keep nothing");
}

int main(int argc, char **argv)
{
	tap_plan(78);
	const uint64_t seed = tap_seed(argc, argv);
	test_chain();
	test_ring();
	test_star();
	test_both();
	test_any_order(seed, tap_rounds(argc, argv, 100));
	test_liars();
	test_silence();
	test_cut();
	test_handed();
	test_slow();
	test_unstored();
	test_fresh();
	test_sought();
	return tap_done();
}
