/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom devices choose as neighbours: whole meshes, then single rules. */
#include <errno.h>
#include <stdlib.h>

#include "tests/neighbourhood.h"
#include "tests/tap.h"
#include "transports/reach.h"

/* ---- meshes ---- */

static void test_small(uint64_t seed)
{
	unsigned bad = 0;
	for (unsigned n = 2; n <= 11; n++) {
		struct hood m;
		hood_begin(&m, n, seed + n);
		hood_run(&m, 10 * SECOND);
		bad += hood_links(&m) != n * (n - 1) / 2 || m.refused > 0;
		hood_end(&m);
	}
	is_uint(bad, 0, "up to eleven devices are linked each to each, and nobody refuses");
}

static void test_large(unsigned n, unsigned most, uint64_t seed)
{
	struct hood m;
	hood_begin(&m, n, seed);
	m.deaf = n > 500; /* statements of so many are not all kept, and do not tell who is missed */
	const uint64_t begin = m.now;
	while (!hood_connected(&m) && m.now < begin + 30 * SECOND)
		hood_run(&m, SECOND / 2);
	const uint64_t together = m.now - begin;
	hood_run(&m, 180 * SECOND);
	const unsigned far = hood_diameter(&m);
	tap_diag("%u devices: diameter %u, %.2f links each, connected after %.1f s, last change after %.1f s, %.1f dials "
		 "and %.1f refusals each",
		 n, far, 2.0 * hood_links(&m) / n, (double)together / 1e6, (double)(m.changed - begin) / 1e6,
		 (double)m.dials / n, (double)m.refused / n);
	ok(together <= 4 * SECOND, "%u are connected within 4 s", n);
	ok(far <= most, "%u devices are connected over at most %u links", n, most);
	ok(hood_most_links(&m) <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "each of %u has at most %u", n,
	   NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA);
	ok(hood_above(&m) <= n / 20, "and hardly any more than %u", NEIGHBOURS_LIMIT);
	is_uint(hood_open_ring(&m), 0, "the ring of %u is closed", n);
	const unsigned better = hood_blocking(&m);
	ok(better <= n / 20, "there are hardly two of %u that would rather have each other (%u)", n, better);
	ok(m.dials < 20 * n, "and they dial less than 20 times each");
	hood_end(&m);
}

static void test_churn(uint64_t seed)
{
	struct hood m;
	unsigned apart = 0;
	hood_begin(&m, 60, seed);
	m.loss = 20;
	hood_run(&m, 10 * SECOND);
	ok(hood_connected(&m), "60 of whose dials a fifth fails are connected");
	/* A dial that succeeds in the end may begin a row of choices, each of which waits half a minute. */
	hood_run(&m, 140 * SECOND);
	ok(hood_connected(&m) && hood_above(&m) <= 3, "and settle");
	for (unsigned i = 0; i < 60; i += 5)
		hood_kill(&m, i);
	hood_run(&m, 10 * SECOND);
	ok(hood_connected(&m), "ten seconds after a fifth died at once the others are connected");
	hood_run(&m, 90 * SECOND);
	ok(hood_above(&m) <= 3 && hood_open_ring(&m) == 0, "and the ring is closed again");
	for (unsigned i = 0; i < 60; i += 5)
		hood_wake(&m, i);
	hood_run(&m, 120 * SECOND);
	ok(hood_connected(&m) && hood_above(&m) <= 3 && hood_open_ring(&m) == 0, "those who come back are taken in");
	/* Somebody dies and comes back every second. */
	for (unsigned i = 0; i < 60; i++) {
		const unsigned k = (unsigned)prng_below(&m.r, 60);
		if (m.node[k].alive)
			hood_kill(&m, k);
		else
			hood_wake(&m, k);
		hood_run(&m, SECOND);
		apart += !hood_connected(&m);
	}
	tap_diag("apart in %u of 60 seconds of churn", apart);
	hood_run(&m, 120 * SECOND);
	ok(hood_connected(&m) && hood_above(&m) <= 3 && hood_open_ring(&m) == 0, "and after a minute of coming and going");
	hood_end(&m);
}

/* Seeds with which it took longer: each link that was one too many had to wait before the next choice was made. */
static void test_settles(void)
{
	static const uint64_t seeds[] = { 123328916, 1, 6, 8, 12, 18, 19 };
	unsigned bad = 0;
	for (unsigned i = 0; i < sizeof(seeds) / sizeof(*seeds); i++) {
		struct hood m;
		hood_begin(&m, 60, seeds[i]);
		m.loss = 20;
		hood_run(&m, 90 * SECOND);
		bad += !hood_connected(&m) || hood_above(&m) > 3;
		hood_end(&m);
	}
	is_uint(bad, 0, "after 90 s hardly any of 60 have a link too many");
}

/* Two networks with a few in both. */
static void test_two_networks(uint64_t seed)
{
	struct hood m;
	hood_begin(&m, 62, seed);
	for (unsigned i = 0; i < 62; i++)
		for (unsigned k = 0; k < 62; k++)
			if (i != k && i >= 2 && k >= 2)
				hood_pair(&m, i, k)->sees = i % 2 == k % 2;
	hood_run(&m, 60 * SECOND);
	ok(hood_connected(&m), "two networks of 30 with two devices in both are connected");
	hood_kill(&m, 0);
	hood_run(&m, 60 * SECOND);
	ok(hood_connected(&m), "and with one of the two");
	unsigned most = hood_most_links(&m);
	const uint64_t changes = m.changed, dials = m.dials;
	m.apart = 0;
	ok(most <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "with at most %u links", most);
	hood_run(&m, 10 * 60 * SECOND);
	tap_diag("last change %.0f s after the first two minutes, %llu dials, apart for %.0f s",
		 (double)(m.changed - changes) / 1e6, (unsigned long long)(m.dials - dials), (double)m.apart / 1e6);
	ok(m.apart == 0, "nobody is cut off in ten minutes");
	ok(hood_connected(&m) && hood_most_links(&m) <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "and after ten minutes");
	hood_end(&m);
}

/* All but one have firewalls, and can only dial. */
static void test_walls(unsigned n, uint64_t seed)
{
	struct hood m;
	hood_begin(&m, n, seed);
	const unsigned open = (unsigned)prng_below(&m.r, n);
	for (unsigned i = 0; i < n; i++)
		m.node[i].walled = i != open;
	hood_run(&m, 60 * SECOND + n * 4 * SECOND);
	const uint64_t first = m.apart;
	m.apart = 0;
	hood_run(&m, 20 * 60 * SECOND);
	tap_diag("%u devices that nobody can dial: together after %.0f s, in 20 minutes apart for %.0f s", n - 1,
		 (double)first / 1e6, (double)m.apart / 1e6);
	ok(hood_connected(&m) && m.apart == 0, "%u devices that nobody can dial stay linked to the one that can be", n - 1);
	ok(first <= 30 * SECOND + n * 4 * SECOND, "and found it soon");
	hood_kill(&m, open);
	hood_run(&m, 60 * SECOND);
	hood_wake(&m, open);
	m.apart = 0;
	for (unsigned i = 0; i < n; i++)
		m.node[i].apart = 0;
	hood_run(&m, 10 * 60 * SECOND);
	ok(hood_connected(&m), "and when it comes back (%.0f s)", (double)m.apart / 1e6);
	hood_end(&m);
}

/* One hears two of a mesh, whose members have enough neighbours, and is not heard. */
static void test_unheard(uint64_t seed)
{
	struct hood m;
	hood_begin(&m, 41, seed);
	for (unsigned k = 0; k < 41; k++) {
		hood_pair(&m, k, 7)->sees = false;
		hood_pair(&m, 7, k)->sees = k == 3 || k == 11;
	}
	m.node[7].alive = false;
	hood_run(&m, 120 * SECOND);
	hood_wake(&m, 7);
	m.apart = 0;
	hood_run(&m, 15 * 60 * SECOND);
	ok(hood_connected(&m) && m.apart <= 20 * SECOND, "one that hears two and is not heard is never apart for long (%.0f s)",
	   (double)m.apart / 1e6);
	/* Two such, that have each other. */
	for (unsigned k = 0; k < 41; k++) {
		hood_pair(&m, k, 8)->sees = k == 7;
		hood_pair(&m, 8, k)->sees = k == 7 || k == 3;
	}
	hood_kill(&m, 8);
	hood_kill(&m, 7);
	hood_run(&m, 60 * SECOND);
	hood_wake(&m, 7);
	hood_wake(&m, 8);
	m.apart = 0;
	hood_run(&m, 60 * SECOND);
	ok(hood_connected(&m) && m.apart <= 60 * SECOND, "nor are two (%.0f s)", (double)m.apart / 1e6);
	/* Those who have the links may not let them go together when the claims are over. */
	m.apart = 0;
	hood_run(&m, 15 * 60 * SECOND);
	ok(hood_connected(&m) && m.apart == 0, "and from then on not at all (%.0f s)", (double)m.apart / 1e6);
	hood_end(&m);
}

/* Who hears whom is by chance, and not mutual. */
static void test_odd_views(uint64_t seed, uint64_t rounds)
{
	unsigned bad = 0, most = 0;
	for (uint64_t round = 0; round < rounds; round++) {
		struct hood m;
		const unsigned share = 10 + (unsigned)(round * 30 / rounds);
		hood_begin(&m, 40, seed + round);
			for (unsigned i = 0; i < 40; i++)
			for (unsigned k = 0; k < 40; k++)
				hood_pair(&m, i, k)->sees = i != k && prng_chance(&m.r, share);
		/* A chain, so that they can be connected at all. */
		for (unsigned i = 1; i < 40; i++)
			hood_pair(&m, i, i - 1)->sees = true;
		hood_run(&m, 120 * SECOND);
		bad += !hood_connected(&m);
		if (!hood_connected(&m))
			tap_diag("seed %llu: apart when one hears %u %%", (unsigned long long)(seed + round), share);
		if (hood_most_links(&m) > most)
			most = hood_most_links(&m);
		hood_end(&m);
	}
	is_uint(bad, 0, "meshes where few hear each other are connected");
	ok(most <= 2 * NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "and nobody has more than %u links (%u)",
	   2 * NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, most);
}

/* ---- single rules ---- */

struct one {
	struct neighbours *n;
	struct id id[NEIGHBOURS_SEEN_MAX + 8];
	uint64_t now;
};

static int bare_order(const void *a, const void *b)
{
	return id_cmp(a, b);
}

static void one_begin(struct one *o, unsigned seen)
{
	struct prng r = { 7 };
	struct id self;
	prng_fill(&r, self.b, ID_SIZE);
	prng_fill(&r, o->id, sizeof(o->id));
	o->now = 3600 * SECOND;
	if (neighbours_new(&self, SECRET, 32, NEIGHBOURS_LIMIT, &o->n) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < seen; i++)
		neighbours_seen(o->n, &o->id[i], o->now);
	neighbours_choose(o->n, o->now);
}

static unsigned wanted(const struct one *o, unsigned of, unsigned ret[static 16])
{
	unsigned n = 0;
	for (unsigned i = 0; i < of; i++)
		if (neighbours_want(o->n, &o->id[i]) && n < 16)
			ret[n++] = i;
	return n;
}

static void link_wanted(struct one *o, unsigned of)
{
	unsigned w[16], n = wanted(o, of, w);
	for (unsigned i = 0; i < n; i++)
		neighbours_linked(o->n, &o->id[w[i]], NEIGHBOUR_CHOSEN, o->now);
	neighbours_choose(o->n, o->now);
}

static bool is_busy(const struct id *device, void *userdata)
{
	(void)device;
	return *(bool *)userdata;
}

static void test_refusals(void)
{
	static struct one o;
	unsigned w[16], v[16];
	one_begin(&o, 20);
	is_uint(wanted(&o, 20, w), 5, "of twenty five are wanted");
	ok(neighbours_dense(o.n), "that is dense");
	neighbours_linked(o.n, &o.id[w[0]], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	neighbours_refused(o.n, &o.id[w[4]], o.now);
	neighbours_choose(o.n, o.now);
	if (neighbours_want(o.n, &o.id[w[4]]) == NEIGHBOUR_NEEDED) {
		neighbours_refused(o.n, &o.id[w[4]], o.now); /* it is on the ring: it says so once */
		neighbours_choose(o.n, o.now);
	}
	is_uint(neighbours_want(o.n, &o.id[w[4]]), NEIGHBOUR_NO, "who refused is not wanted");
	is_uint(wanted(&o, 20, v), 5, "the next is, instead");
	link_wanted(&o, 20);
	o.now += 40 * SECOND;
	for (unsigned i = 0; i < 20; i++)
		neighbours_seen(o.n, &o.id[i], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[w[4]]), NEIGHBOUR_NO, "nor 40 s later");
	ok(neighbours_takes(o.n, &o.id[w[4]], NEIGHBOUR_WANTED, o.now), "but when it asks itself it is taken");
	neighbours_linked(o.n, &o.id[w[4]], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_links(o.n, o.now), 6, "for a while there are six");
	struct id id;
	bool busy = true;
	ok(!neighbours_surplus(o.n, o.now, is_busy, &busy, &id), "a link that is busy is not let go");
	busy = false;
	ok(neighbours_surplus(o.n, o.now, is_busy, &busy, &id), "one that is not is");
	neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "then there are five");
	neighbours_free(o.n);
}

static void test_lonely(void)
{
	static struct one o;
	one_begin(&o, 2);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_ALONE, "who has nobody says so");
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_ALONE, "and asks again when that was refused");
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "once");
	o.now += 37 * SECOND;
	neighbours_seen(o.n, &o.id[0], o.now);
	neighbours_seen(o.n, &o.id[1], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_ALONE, "and every half a minute");
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_ways(o.n, &(struct neighbour_way){ o.id[1], 1 }, 1, o.now);
	o.now += 30 * SECOND;
	neighbours_seen(o.n, &o.id[0], o.now);
	neighbours_seen(o.n, &o.id[1], o.now);
	neighbours_choose(o.n, o.now);
	neighbours_choose(o.n, o.now);
	ok(neighbours_want(o.n, &o.id[0]) != NEIGHBOUR_NO, "nor is one that nobody reaches left alone for long");
	neighbours_free(o.n);

	one_begin(&o, 2);
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "one that has somebody does not claim");
	neighbours_ways(o.n, &(struct neighbour_way){ o.id[1], 1 }, 1, o.now);
	o.now += 20 * SECOND;
	neighbours_seen(o.n, &o.id[0], o.now);
	neighbours_seen(o.n, &o.id[1], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NEEDED, "unless nobody reaches it");
	neighbours_free(o.n);
}

static void test_losses(void)
{
	static struct one o;
	unsigned w[16], v[16];
	struct id id;
	one_begin(&o, 20);
	wanted(&o, 20, w);
	link_wanted(&o, 20);
	neighbours_ended(o.n, &o.id[w[0]], NEIGHBOUR_LOST, o.now);
	neighbours_choose(o.n, o.now);
	is_uint(wanted(&o, 20, v), 6, "in place of one that is lost another is wanted at once, and it itself");
	o.now += SECOND;
	neighbours_seen(o.n, &o.id[w[0]], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(wanted(&o, 20, v), 5, "it is heard: the first choice stands");
	neighbours_failed(o.n, &o.id[w[0]], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(wanted(&o, 20, v), 6, "heard but not reached: not again");
	neighbours_forget(o.n, &o.id[w[0]]);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[w[0]]), NEIGHBOUR_NO, "who is no member is not wanted");
	o.now += 10 * SECOND;
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "four links are not too many");
	o.now += 60 * SECOND;
	neighbours_choose(o.n, o.now);
	ok(!neighbours_dense(o.n) && neighbours_links(o.n, o.now) == 4,
	   "of those who are not heard any more only those with links are known");
	neighbours_free(o.n);
}

static void test_kept(void)
{
	static struct one o;
	unsigned w[16];
	struct id id;
	one_begin(&o, 20);
	for (unsigned i = 20; i < 120; i++)
		neighbours_linked(o.n, &o.id[i], NEIGHBOUR_KEPT, o.now);
	neighbours_linked(o.n, &o.id[120], NEIGHBOUR_HINTED, o.now);
	o.now += 10 * SECOND;
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_links(o.n, o.now), 0, "links by fixed addresses do not count");
	/* The neighbours on the ring may be among those. */
	ok(wanted(&o, 20, w) >= 3, "and others are wanted beside them");
	neighbours_seen(o.n, &o.id[120], o.now);
	is_uint(neighbours_links(o.n, o.now), 1, "one by an address that was remembered counts when it is nearby");
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "none of 101 is let go");
	neighbours_free(o.n);
}

static void test_claims(void)
{
	static struct one o;
	unsigned w[16], taken = 0, light = 0;
	struct id id;
	one_begin(&o, 100);
	link_wanted(&o, 100);
	is_uint(wanted(&o, 100, w), 5, "five of a hundred");
	for (unsigned i = 0; i < 100; i++)
		if (!neighbours_want(o.n, &o.id[i]))
			light = i;
	ok(!neighbours_takes(o.n, &o.id[light], NEIGHBOUR_WANTED, o.now), "a lighter one is not taken");
	for (unsigned i = 0; i < 100; i++)
		if (i != w[0] && i != w[1] && i != w[2] && i != w[3] && i != w[4] &&
		    neighbours_takes(o.n, &o.id[i], NEIGHBOUR_NEEDED, o.now)) {
			neighbours_linked(o.n, &o.id[i], NEIGHBOUR_CLAIMED, o.now);
			taken++;
		}
	is_uint(taken, NEIGHBOURS_EXTRA, "those who need it are, up to three more");
	neighbours_choose(o.n, o.now);
	o.now += 10 * SECOND;
	unsigned gone = 0;
	for (; neighbours_surplus(o.n, o.now, NULL, NULL, &id) && gone < 20; gone++)
		neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);
	is_uint(gone, 3, "others give way to them");
	is_uint(neighbours_links(o.n, o.now), 5, "so that there are five");
	neighbours_free(o.n);
}

static void test_bridges(void)
{
	static struct one o;
	static struct neighbour_way way[8];
	struct id id;
	unsigned w[16], n = 0, light = 0;
	one_begin(&o, 30);
	n = wanted(&o, 30, w);
	for (unsigned i = 0; i < 30; i++)
		if (!neighbours_want(o.n, &o.id[i]))
			light = i;
	neighbours_linked(o.n, &o.id[light], NEIGHBOUR_CHOSEN, o.now);
	link_wanted(&o, 30);
	o.now += 20 * SECOND;
	for (unsigned i = 0; i < 30; i++)
		neighbours_seen(o.n, &o.id[i], o.now);
	/* Ascending by id, as it has to be. */
	for (unsigned i = 0; i < n; i++)
		way[i] = (struct neighbour_way){ o.id[w[i]], 1 };
	way[n] = (struct neighbour_way){ o.id[light], 2 };
	for (unsigned i = 0; i <= n; i++)
		for (unsigned k = 0; k < n; k++)
			if (id_cmp(&way[k].id, &way[k + 1].id) > 0) {
				const struct neighbour_way x = way[k];
				way[k] = way[k + 1];
				way[k + 1] = x;
			}
	neighbours_ways(o.n, way, n + 1, o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_links(o.n, o.now), 6, "six links");
	unsigned needed = 0;
	for (unsigned i = 0; i < 30; i++)
		needed += neighbours_want(o.n, &o.id[i]) == NEIGHBOUR_NEEDED;
	is_uint(needed, 0, "who is not reached now may be soon");
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "the only way to somebody is not let go");
	for (unsigned i = 0; i <= n; i++)
		way[i].part = 1;
	neighbours_ways(o.n, way, n + 1, o.now);
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "nor at once when there is another one");
	o.now += 31 * SECOND;
	for (unsigned i = 0; i < 30; i++)
		neighbours_seen(o.n, &o.id[i], o.now);
	neighbours_ways(o.n, way, n + 1, o.now);
	neighbours_choose(o.n, o.now);
	ok(neighbours_surplus(o.n, o.now, NULL, NULL, &id) && id_equal(&id, &o.id[light]),
	   "when there has been one for a while it is");
	neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);

	/* The other 24 are heard and not reached. */
	for (unsigned s = 0; s < 60; s++) {
		o.now += SECOND / 2;
		for (unsigned i = 0; i < 30; i++)
			neighbours_seen(o.n, &o.id[i], o.now);
		neighbours_choose(o.n, o.now);
	}
	needed = 0;
	for (unsigned i = 0; i < 30; i++)
		needed += neighbours_want(o.n, &o.id[i]) == NEIGHBOUR_NEEDED;
	ok(needed >= 1 && needed <= NEIGHBOURS_EXTRA, "who is not reached for half a minute is dialled (%u)", needed);
	neighbours_free(o.n);
}

/* More than the limit and what is beyond: still nobody is cut off. */
static void test_many_bridges(void)
{
	static struct one o;
	static struct neighbour_way way[NEIGHBOURS_WAYS_MAX];
	struct id id;
	unsigned taken = 0;
	one_begin(&o, 40);
	qsort(o.id, 40, sizeof(o.id[0]), bare_order);
	for (unsigned i = 0; i < 30; i++) {
		way[i] = (struct neighbour_way){ o.id[i], i };
		taken += neighbours_takes(o.n, &o.id[i], NEIGHBOUR_ALONE, o.now);
		neighbours_linked(o.n, &o.id[i], NEIGHBOUR_CLAIMED, o.now);
	}
	is_uint(taken, 30, "thirty that have nobody are taken");
	neighbours_ways(o.n, way, 30, o.now);
	ok(neighbours_takes(o.n, &o.id[30], NEIGHBOUR_NEEDED, o.now), "and one that nobody reaches");
	o.now += 200 * SECOND;
	for (unsigned i = 0; i < 40; i++)
		neighbours_seen(o.n, &o.id[i], o.now);
	neighbours_ways(o.n, way, 30, o.now);
	neighbours_choose(o.n, o.now);
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "and none of them is let go: it is their only way");
	for (unsigned i = 30; i < 40; i++)
		way[i] = (struct neighbour_way){ o.id[i], 0 };
	neighbours_ways(o.n, way, 40, o.now);
	is_uint(neighbours_choose(o.n, o.now) - o.now, 10 * SECOND, "nor is that looked at every second for ever");
	for (unsigned i = 0; i < NEIGHBOURS_WAYS_MAX; i++)
		way[i].part = 1;
	neighbours_ways(o.n, way, NEIGHBOURS_WAYS_MAX, o.now);
	neighbours_choose(o.n, o.now);
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "nor when there are too many to know");
	neighbours_ways(o.n, way, 30, o.now);
	o.now += 31 * SECOND;
	neighbours_ways(o.n, way, 30, o.now);
	neighbours_choose(o.n, o.now);
	unsigned gone = 0;
	for (; gone < 30 && neighbours_surplus(o.n, o.now, NULL, NULL, &id); gone++)
		neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);
	is_uint(gone, 25, "all but five are when there is another way");
	neighbours_free(o.n);

	/* A link that has just come, to somebody who is reached without it. */
	for (unsigned how = NEIGHBOUR_CHOSEN; how <= NEIGHBOUR_CLAIMED; how++) {
		one_begin(&o, 40);
		link_wanted(&o, 40);
		unsigned light = 0, n = 0;
		for (unsigned i = 0; i < 40; i++)
			light = neighbours_want(o.n, &o.id[i]) ? light : i;
		o.now += 40 * SECOND;
		for (unsigned i = 0; i < 40; i++)
			neighbours_seen(o.n, &o.id[i], o.now);
		neighbours_linked(o.n, &o.id[light], (enum neighbour_link)how, o.now);
		for (unsigned i = 0; i < 40; i++)
			way[n++] = (struct neighbour_way){ o.id[i], 1 };
		qsort(way, n, sizeof(way[0]), bare_order);
		for (unsigned i = 0; i < n; i++)
			way[i].part = id_equal(&way[i].id, &o.id[light]) ? 2 : 1;
		o.now += 4 * SECOND;
		neighbours_ways(o.n, way, n, o.now);
		neighbours_choose(o.n, o.now);
		bool only = !neighbours_surplus(o.n, o.now, NULL, NULL, &id) || !id_equal(&id, &o.id[light]);
		for (unsigned i = 0; i < n; i++)
			way[i].part = 1;
		neighbours_ways(o.n, way, n, o.now);
		neighbours_choose(o.n, o.now);
		bool goes = neighbours_surplus(o.n, o.now, NULL, NULL, &id) && id_equal(&id, &o.id[light]);
		if (how == NEIGHBOUR_CHOSEN)
			ok(only && goes, "a new link goes at once if there is another way, and only then");
		else
			ok(only && !goes, "not so one that was claimed");
		neighbours_free(o.n);
	}

	/* Two are the only ways to a part: one of them may go. */
	one_begin(&o, 40);
	qsort(o.id, 40, sizeof(o.id[0]), bare_order);
	for (unsigned i = 0; i < 14; i++) {
		way[i] = (struct neighbour_way){ o.id[i], i / 2 };
		neighbours_linked(o.n, &o.id[i], NEIGHBOUR_CHOSEN, o.now);
	}
	neighbours_ways(o.n, way, 14, o.now);
	o.now += 40 * SECOND;
	for (unsigned i = 0; i < 40; i++)
		neighbours_seen(o.n, &o.id[i], o.now);
	neighbours_choose(o.n, o.now);
	bool gone_of[7] = { false }, both = false;
	while (neighbours_surplus(o.n, o.now, NULL, NULL, &id)) {
		for (unsigned i = 0; i < 14; i++)
			if (id_equal(&id, &o.id[i])) {
				both |= gone_of[i / 2];
				gone_of[i / 2] = true;
			}
		neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);
	}
	ok(!both, "of two ways to the same others at most one is let go at a time");
	neighbours_free(o.n);
}

static void test_no_limit(void)
{
	static struct one o;
	struct id id;
	struct neighbours *n = NULL;
	one_begin(&o, 0);
	neighbours_free(o.n);
	o.n = NULL;
	if (neighbours_new(&(struct id){ { 1 } }, SECRET, 32, NEIGHBOURS_ALL, &n) < 0)
		tap_bail("no memory");
	unsigned bad = 0;
	for (unsigned i = 0; i < 100; i++)
		neighbours_seen(n, &o.id[i], o.now);
	neighbours_choose(n, o.now);
	for (unsigned i = 0; i < 100; i++) {
		bad += !neighbours_want(n, &o.id[i]) || !neighbours_takes(n, &o.id[i], NEIGHBOUR_WANTED, o.now);
		neighbours_linked(n, &o.id[i], NEIGHBOUR_CHOSEN, o.now);
	}
	o.now += 40 * SECOND;
	neighbours_choose(n, o.now);
	is_uint(bad, 0, "without a limit all of a hundred are wanted and taken");
	ok(!neighbours_dense(n) && !neighbours_surplus(n, o.now, NULL, NULL, &id), "and stay");
	neighbours_free(n);
}

/* What nothing is to be had of is tried less and less, and not looked at every second. */
static void test_patience(void)
{
	static struct one o;
	one_begin(&o, 3);
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_ways(o.n, &(struct neighbour_way){ o.id[1], 1 }, 1, o.now);
	neighbours_linked(o.n, &o.id[2], NEIGHBOUR_CHOSEN, o.now);
	is_uint(neighbours_choose(o.n, o.now) - o.now, SECOND, "one that nobody reaches is looked after each second");
	neighbours_failed(o.n, &o.id[0], o.now);
	is_uint(neighbours_choose(o.n, o.now) - o.now, 10 * SECOND, "one that cannot be dialled is not");
	ok(neighbours_need(o.n, &o.id[0], o.now + 10 * SECOND, o.now), "somebody needs it");
	o.now += 11 * SECOND;
	neighbours_seen(o.n, &o.id[0], o.now);
	ok(!neighbours_need(o.n, &o.id[0], o.now + 10 * SECOND, o.now), "not again at once when it could not be had");
	o.now += 10 * SECOND;
	ok(neighbours_need(o.n, &o.id[0], o.now + 10 * SECOND, o.now), "but soon");
	neighbours_free(o.n);

	/* While statements arrive nobody is missed. */
	static struct neighbour_way way[64];
	one_begin(&o, 2);
	qsort(o.id + 2, 60, sizeof(o.id[0]), bare_order);
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	neighbours_refused(o.n, &o.id[0], o.now);
	unsigned early = 0;
	for (unsigned k = 1; k < 60; k++, o.now += 5 * SECOND) {
		for (unsigned i = 0; i < k; i++)
			way[i] = (struct neighbour_way){ o.id[2 + i], 1 };
		neighbours_seen(o.n, &o.id[0], o.now);
		neighbours_ways(o.n, way, k, o.now);
		neighbours_choose(o.n, o.now);
		if (neighbours_want(o.n, &o.id[0]) == NEIGHBOUR_NEEDED)
			break;
		early = 5 * k;
		neighbours_refused(o.n, &o.id[0], o.now);
	}
	ok(early >= 30 && early <= 160, "statements that keep arriving put it off, for a time (%u s)", early);
	neighbours_free(o.n);
}

/* What a liar or half a link says joins nothing. */
static void test_reach(void)
{
	struct id id[5];
	for (unsigned i = 0; i < 5; i++)
		id[i] = (struct id){ { (uint8_t)(9 - i) } };
	struct graph_device d[5] = { { .id = id[0], .source = GRAPH_OWN },
				     { .id = id[1], .source = GRAPH_FIRST_HAND },
				     { .id = id[2], .source = GRAPH_FIRST_HAND },
				     { .id = id[3], .source = GRAPH_HEARSAY },
				     { .id = id[4], .source = GRAPH_NAMED } };
	struct graph_link l[6] = { { .a = 0, .b = 1, .both = true }, { .a = 0, .b = 2, .both = true },
				   { .a = 1, .b = 2, .both = false }, { .a = 2, .b = 3, .both = true },
				   { .a = 1, .b = 4, .both = false }, { .a = 2, .b = 4, .both = false } };
	const struct graph g = { .device = d, .n_devices = 5, .link = l, .n_links = 6 };
	_cleanup_free_ struct neighbour_way *way = NULL;
	uint32_t n = 0;
	is_int(reach_ways(&g, &way, &n), 0, "the ways of a graph");
	is_uint(n, 3, "a device that is only named is not reached");
	ok(n == 3 && id_equal(&way[0].id, &id[3]) && id_equal(&way[2].id, &id[1]), "ascending by id");
	ok(n == 3 && way[0].part == way[1].part, "a link that both ends state joins");
	ok(n == 3 && way[1].part != way[2].part, "one that one of them states does not");
}

static void test_bounds(void)
{
	static struct one o;
	const struct id self = { { 1 } };
	struct neighbours *n = NULL;
	is_errno(neighbours_new(&self, SECRET, 65, 5, &n), -EINVAL, "a secret has at most 64 bytes");
	is_errno(neighbours_new(&self, SECRET, 32, 2, &n), -EINVAL, "two neighbours are too few");
	is_errno(neighbours_new(&self, SECRET, 32, 65, &n), -EINVAL, "65 too many");
	one_begin(&o, NEIGHBOURS_SEEN_MAX);
	ok(!neighbours_seen(o.n, &o.id[NEIGHBOURS_SEEN_MAX], o.now), "more than 4096 are not taken down");
	is_uint(neighbours_want(o.n, &o.id[NEIGHBOURS_SEEN_MAX]), NEIGHBOUR_NO, "and not wanted");
	ok(!neighbours_need(o.n, &o.id[NEIGHBOURS_SEEN_MAX], o.now + SECOND, o.now), "nor can be needed");
	unsigned needed = 0;
	for (unsigned i = 0; i < 10; i++)
		needed += neighbours_need(o.n, &o.id[i], o.now + SECOND, o.now);
	is_uint(needed, NEIGHBOURS_EXTRA, "three others can be");
	neighbours_linked(o.n, &o.id[20], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NEEDED, "and are dialled");
	o.now += 2 * SECOND;
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "for as long as that was");
	neighbours_free(o.n);
}

int main(int argc, char **argv)
{
	tap_plan(124);
	const uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 6);
	test_small(seed);
	test_large(12, 4, seed);
	test_large(50, 5, seed);
	test_large(200, 7, seed);
	test_large(1000, 9, seed);
	test_churn(seed);
	test_settles();
	test_two_networks(seed);
	test_walls(11, seed);
	test_walls(31, seed);
	test_unheard(seed);
	test_unheard(154422000);
	test_odd_views(seed, rounds);
	test_refusals();
	test_lonely();
	test_losses();
	test_kept();
	test_claims();
	test_bridges();
	test_many_bridges();
	test_no_limit();
	test_patience();
	test_reach();
	test_bounds();
	return tap_done();
}
