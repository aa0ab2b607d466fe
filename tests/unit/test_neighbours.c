/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom devices choose as neighbours: whole meshes in steps of a tenth of a second, then single rules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"
#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/neighbours.h"

#define SECOND 1000000ull
#define STEP (SECOND / 10)
#define BEACONS (10 * SECOND)
#define SECRET "a secret of thirty-two bytes ..."

/* ---- a mesh ---- */

enum dial { DIAL_NONE, DIAL_WANTED, DIAL_CLAIM };

struct pair { /* as one of the two has it */
	uint64_t due;     /* of a dial */
	uint64_t not_before;
	uint8_t dial;
	bool sees, linked;
};

struct node {
	struct id id;
	struct neighbours *n;
	uint64_t choose, beacon;
	bool alive;
};

struct mesh {
	unsigned n;
	struct node *node; /* ascending by id */
	struct pair *pair;
	uint64_t now, changed; /* when a link came or went last */
	uint64_t dials, refused;
	uint32_t (*dial)[2]; /* under way */
	unsigned n_dials, cap_dials;
	unsigned loss;  /* of dials, in percent */
	bool ways;      /* nodes know who is reachable */
	struct prng r;
};

static struct pair *pair(const struct mesh *m, unsigned i, unsigned k)
{
	return &m->pair[(size_t)i * m->n + k];
}

static int id_order(const void *a, const void *b)
{
	return id_cmp(&((const struct node *)a)->id, &((const struct node *)b)->id);
}

static void node_begin(struct mesh *m, unsigned i)
{
	struct node *x = &m->node[i];
	neighbours_free(x->n);
	if (neighbours_new(&x->id, SECRET, 32, NEIGHBOURS_LIMIT, &x->n) < 0)
		tap_bail("no memory");
	x->alive = true;
	x->choose = m->now;
	x->beacon = m->now + prng_below(&m->r, SECOND);
}

static void mesh_begin(struct mesh *m, unsigned n, uint64_t seed)
{
	*m = (struct mesh){ .n = n, .now = 3600 * SECOND, .r = { seed } };
	m->node = calloc(n, sizeof(*m->node));
	m->pair = calloc((size_t)n * n, sizeof(*m->pair));
	if (!m->node || !m->pair)
		tap_bail("no memory");
	for (unsigned i = 0; i < n; i++)
		prng_fill(&m->r, m->node[i].id.b, ID_SIZE);
	qsort(m->node, n, sizeof(*m->node), id_order);
	for (unsigned i = 0; i < n; i++) {
		node_begin(m, i);
		for (unsigned k = 0; k < n; k++)
			pair(m, i, k)->sees = i != k;
	}
}

static void mesh_end(struct mesh *m)
{
	for (unsigned i = 0; i < m->n; i++)
		neighbours_free(m->node[i].n);
	free(m->node);
	free(m->pair);
	free(m->dial);
}

static void soon(struct node *x, uint64_t at)
{
	if (at < x->choose)
		x->choose = at;
}

static void unlink_pair(struct mesh *m, unsigned i, unsigned k, enum neighbour_end here, enum neighbour_end there)
{
	pair(m, i, k)->linked = pair(m, k, i)->linked = false;
	m->changed = m->now;
	neighbours_ended(m->node[i].n, &m->node[k].id, here, m->now);
	neighbours_ended(m->node[k].n, &m->node[i].id, there, m->now);
	soon(&m->node[i], m->now);
	soon(&m->node[k], m->now);
}

static void kill(struct mesh *m, unsigned i)
{
	m->node[i].alive = false;
	for (unsigned k = 0; k < m->n; k++) {
		pair(m, i, k)->dial = pair(m, k, i)->dial = DIAL_NONE;
		if (pair(m, i, k)->linked)
			unlink_pair(m, i, k, NEIGHBOUR_LOST, NEIGHBOUR_LOST);
	}
}

static void beacon(struct mesh *m, unsigned i)
{
	for (unsigned k = 0; k < m->n; k++)
		if (pair(m, k, i)->sees && m->node[k].alive &&
		    neighbours_seen(m->node[k].n, &m->node[i].id, m->now))
			soon(&m->node[k], m->now + 2 * STEP);
	m->node[i].beacon = m->now + BEACONS;
}

static void dial_ends(struct mesh *m, unsigned i, unsigned k)
{
	struct pair *p = pair(m, i, k);
	struct node *x = &m->node[i], *y = &m->node[k];
	const bool claim = p->dial == DIAL_CLAIM;
	p->dial = DIAL_NONE;
	if (p->linked)
		return;
	soon(x, m->now);
	p->not_before = m->now + SECOND;
	m->dials++;
	if (!y->alive || prng_chance(&m->r, m->loss)) {
		neighbours_failed(x->n, &y->id, m->now);
		p->not_before = m->now + 4 * SECOND;
	} else if (!neighbours_takes(y->n, &x->id, claim, m->now)) {
		m->refused++;
		neighbours_refused(x->n, &y->id, m->now);
	} else {
		p->linked = pair(m, k, i)->linked = true;
		m->changed = m->now;
		neighbours_linked(x->n, &y->id, NEIGHBOUR_CHOSEN, m->now);
		neighbours_linked(y->n, &x->id, claim ? NEIGHBOUR_CLAIMED : NEIGHBOUR_CHOSEN, m->now);
		soon(y, m->now);
	}
}

static void dial(struct mesh *m, unsigned i, unsigned k, bool claim)
{
	struct pair *p = pair(m, i, k);
	if (m->n_dials == m->cap_dials) {
		m->cap_dials = 2 * m->cap_dials + 64;
		m->dial = reallocarray(m->dial, m->cap_dials, sizeof(*m->dial));
		if (!m->dial)
			tap_bail("no memory");
	}
	m->dial[m->n_dials][0] = i;
	m->dial[m->n_dials++][1] = k;
	p->dial = claim ? DIAL_CLAIM : DIAL_WANTED;
	p->due = m->now + STEP + prng_below(&m->r, 3) * STEP + (i > k ? 3 * SECOND / 2 : 0);
}

static void dials_end(struct mesh *m)
{
	for (unsigned i = 0; i < m->n_dials;) {
		const unsigned a = m->dial[i][0], b = m->dial[i][1];
		if (pair(m, a, b)->dial && m->now < pair(m, a, b)->due) {
			i++;
			continue;
		}
		memcpy(m->dial[i], m->dial[--m->n_dials], sizeof(m->dial[i]));
		if (pair(m, a, b)->dial)
			dial_ends(m, a, b);
	}
}

static void choose(struct mesh *m, unsigned i)
{
	struct node *x = &m->node[i];
	struct id id;
	x->choose = neighbours_choose(x->n, m->now);
	while (neighbours_surplus(x->n, m->now, NULL, NULL, &id)) {
		const struct node key = { .id = id },
				  *y = bsearch(&key, m->node, m->n, sizeof(key), id_order);
		unlink_pair(m, i, (unsigned)(y - m->node), NEIGHBOUR_ENDED, NEIGHBOUR_LET_GO);
		(void)neighbours_choose(x->n, m->now);
	}
	for (unsigned k = 0; k < m->n; k++) {
		struct pair *p = pair(m, i, k);
		if (k == i || p->linked || p->dial || !p->sees)
			continue;
		const enum neighbour_want w = neighbours_want(x->n, &m->node[k].id);
		if (w == NEIGHBOUR_NO)
			continue;
		if (m->now < p->not_before) {
			soon(x, p->not_before);
			continue;
		}
		dial(m, i, k, w == NEIGHBOUR_NEEDED);
	}
}

/* ---- who is reachable ---- */

/* Labels who is reachable over links without going through `not` (n: nobody). Returns the number of parts. */
static unsigned parts(const struct mesh *m, unsigned not, unsigned *label)
{
	unsigned *queue = calloc(m->n, sizeof(*queue)), n = 0;
	if (!queue)
		tap_bail("no memory");
	for (unsigned i = 0; i < m->n; i++)
		label[i] = UINT32_MAX;
	for (unsigned i = 0; i < m->n; i++) {
		unsigned from = 0, to = 0;
		if (!m->node[i].alive || i == not || label[i] != UINT32_MAX)
			continue;
		label[i] = n;
		for (queue[to++] = i; from < to; from++)
			for (unsigned k = 0; k < m->n; k++)
				if (k != not && label[k] == UINT32_MAX && pair(m, queue[from], k)->linked) {
					label[k] = n;
					queue[to++] = k;
				}
		n++;
	}
	free(queue);
	return n;
}

static void tell_ways(struct mesh *m)
{
	unsigned *label = calloc(m->n, sizeof(*label));
	struct neighbour_way *way = calloc(m->n, sizeof(*way));
	bool *mine = calloc(m->n, sizeof(*mine));
	if (!label || !way || !mine)
		tap_bail("no memory");
	for (unsigned i = 0; i < m->n; i++) {
		uint32_t count = 0;
		if (!m->node[i].alive)
			continue;
		parts(m, i, label);
		memset(mine, 0, m->n * sizeof(*mine));
		for (unsigned k = 0; k < m->n; k++)
			if (pair(m, i, k)->linked)
				mine[label[k]] = true;
		for (unsigned k = 0; k < m->n; k++)
			if (label[k] != UINT32_MAX && mine[label[k]])
				way[count++] = (struct neighbour_way){ m->node[k].id, label[k] };
		neighbours_ways(m->node[i].n, way, count, m->now);
	}
	free(mine);
	free(way);
	free(label);
}

static bool connected(const struct mesh *m)
{
	unsigned *label = calloc(m->n, sizeof(*label));
	if (!label)
		tap_bail("no memory");
	const unsigned n = parts(m, m->n, label);
	free(label);
	return n == 1;
}

/* The longest of the shortest ways; UINT32_MAX: it is not connected. */
static unsigned diameter(const struct mesh *m)
{
	unsigned *far = calloc(m->n, sizeof(*far)), *queue = calloc(m->n, sizeof(*queue)), most = 0;
	if (!far || !queue)
		tap_bail("no memory");
	for (unsigned i = 0; i < m->n && most != UINT32_MAX; i++) {
		unsigned from = 0, to = 0;
		for (unsigned k = 0; k < m->n; k++)
			far[k] = UINT32_MAX;
		far[i] = 0;
		for (queue[to++] = i; from < to; from++)
			for (unsigned k = 0; k < m->n; k++)
				if (far[k] == UINT32_MAX && pair(m, queue[from], k)->linked) {
					far[k] = far[queue[from]] + 1;
					queue[to++] = k;
				}
		for (unsigned k = 0; k < m->n; k++)
			if (m->node[k].alive && far[k] > most)
				most = far[k];
	}
	free(queue);
	free(far);
	return most;
}

static unsigned links_of(const struct mesh *m, unsigned i)
{
	unsigned n = 0;
	for (unsigned k = 0; k < m->n; k++)
		n += pair(m, i, k)->linked;
	return n;
}

static unsigned most_links(const struct mesh *m)
{
	unsigned most = 0;
	for (unsigned i = 0; i < m->n; i++)
		if (links_of(m, i) > most)
			most = links_of(m, i);
	return most;
}

static unsigned all_links(const struct mesh *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += links_of(m, i);
	return n / 2;
}

static void run(struct mesh *m, uint64_t time)
{
	for (uint64_t until = m->now + time; m->now < until; m->now += STEP) {
		for (unsigned i = 0; i < m->n; i++)
			if (m->node[i].alive && m->now >= m->node[i].beacon)
				beacon(m, i);
		dials_end(m);
		if (m->ways && m->now % (2 * SECOND) == 0)
			tell_ways(m);
		for (unsigned i = 0; i < m->n; i++)
			if (m->node[i].alive && m->now >= m->node[i].choose)
				choose(m, i);
	}
}

/* ---- what the choice should be, by the book ---- */

static uint64_t hash_of(const void *data, size_t len)
{
	struct sha256 h;
	uint64_t v = 0;
	sha256_of(data, len, &h);
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | h.b[i];
	return v;
}

static uint64_t weight(const struct mesh *m, unsigned i, unsigned k)
{
	uint8_t data[16 + 2 * ID_SIZE + 32];
	memcpy(data, "shoal neighbours", 16);
	memcpy(data + 16, m->node[i < k ? i : k].id.b, ID_SIZE);
	memcpy(data + 16 + ID_SIZE, m->node[i < k ? k : i].id.b, ID_SIZE);
	memcpy(data + 16 + 2 * ID_SIZE, SECRET, 32);
	return hash_of(data, sizeof(data));
}

static unsigned successor(const struct mesh *m, unsigned i)
{
	const uint64_t place = hash_of(m->node[i].id.b, ID_SIZE);
	uint64_t best = UINT64_MAX;
	unsigned found = i;
	for (unsigned k = 0; k < m->n; k++) {
		const uint64_t d = hash_of(m->node[k].id.b, ID_SIZE) - place; /* around */
		if (k != i && m->node[k].alive && d < best) {
			best = d;
			found = k;
		}
	}
	return found;
}

static unsigned open_ring(const struct mesh *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += m->node[i].alive && !pair(m, i, successor(m, i))->linked;
	return n;
}

/* Pairs both of which have enough and would rather have each other. */
static unsigned blocking(const struct mesh *m)
{
	uint64_t *least = calloc(m->n, sizeof(*least));
	bool *ring = calloc((size_t)m->n * m->n, sizeof(*ring));
	unsigned n = 0;
	if (!least || !ring)
		tap_bail("no memory");
	for (unsigned i = 0; i < m->n; i++)
		ring[i * m->n + successor(m, i)] = ring[successor(m, i) * m->n + i] = true;
	for (unsigned i = 0; i < m->n; i++) {
		const bool full = links_of(m, i) >= NEIGHBOURS_LIMIT;
		least[i] = UINT64_MAX;
		for (unsigned k = 0; k < m->n && full; k++)
			if (pair(m, i, k)->linked && !ring[i * m->n + k] && weight(m, i, k) < least[i])
				least[i] = weight(m, i, k);
	}
	for (unsigned i = 0; i < m->n; i++)
		for (unsigned k = 0; k < i; k++)
			n += !pair(m, i, k)->linked && weight(m, i, k) > least[i] && weight(m, i, k) > least[k];
	free(ring);
	free(least);
	return n;
}

/* ---- meshes ---- */

static void test_small(uint64_t seed)
{
	unsigned bad = 0;
	for (unsigned n = 2; n <= 6; n++) {
		struct mesh m;
		mesh_begin(&m, n, seed + n);
		run(&m, 10 * SECOND);
		bad += all_links(&m) != n * (n - 1) / 2 || m.refused > 0;
		mesh_end(&m);
	}
	is_uint(bad, 0, "up to six devices are linked each to each, and nobody refuses");
}

static void test_large(unsigned n, unsigned most, uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, n, seed);
	const uint64_t begin = m.now;
	while (!connected(&m) && m.now < begin + 30 * SECOND)
		run(&m, SECOND / 2);
	const uint64_t together = m.now - begin;
	run(&m, 40 * SECOND);
	const unsigned far = diameter(&m);
	tap_diag("%u devices: diameter %u, %.2f links each, connected after %.1f s, last change after %.1f s, %.1f dials "
		 "and %.1f refusals each",
		 n, far, 2.0 * all_links(&m) / n, (double)together / 1e6, (double)(m.changed - begin) / 1e6,
		 (double)m.dials / n, (double)m.refused / n);
	ok(together <= 4 * SECOND, "%u are connected within 4 s", n);
	ok(far <= most, "%u devices are connected over at most %u links", n, most);
	ok(most_links(&m) <= NEIGHBOURS_LIMIT, "each of %u has at most %u", n, NEIGHBOURS_LIMIT);
	ok(m.changed - begin < 40 * SECOND, "%u settle within 40 s", n);
	is_uint(open_ring(&m), 0, "the ring of %u is closed", n);
	const unsigned better = blocking(&m);
	ok(better <= n / 20, "there are hardly two of %u that would rather have each other (%u)", n, better);
	ok(m.dials < 20 * n, "and they dial less than 20 times each");
	mesh_end(&m);
}

static void test_churn(uint64_t seed)
{
	struct mesh m;
	unsigned apart = 0;
	mesh_begin(&m, 60, seed);
	m.loss = 20;
	run(&m, 40 * SECOND);
	ok(connected(&m) && most_links(&m) <= NEIGHBOURS_LIMIT, "60 of whose dials a fifth fails are connected");
	for (unsigned i = 0; i < 60; i += 5)
		kill(&m, i);
	run(&m, 10 * SECOND);
	ok(connected(&m), "ten seconds after a fifth died at once the others are connected");
	run(&m, 20 * SECOND);
	ok(most_links(&m) <= NEIGHBOURS_LIMIT && open_ring(&m) == 0, "and the ring is closed again");
	for (unsigned i = 0; i < 60; i += 5)
		node_begin(&m, i);
	run(&m, 30 * SECOND);
	ok(connected(&m) && most_links(&m) <= NEIGHBOURS_LIMIT && open_ring(&m) == 0, "those who come back are taken in");
	/* Somebody dies and comes back every second. */
	for (unsigned i = 0; i < 60; i++) {
		const unsigned k = (unsigned)prng_below(&m.r, 60);
		if (m.node[k].alive)
			kill(&m, k);
		else
			node_begin(&m, k);
		run(&m, SECOND);
		apart += !connected(&m);
	}
	tap_diag("apart in %u of 60 seconds of churn", apart);
	run(&m, 30 * SECOND);
	ok(connected(&m) && most_links(&m) <= NEIGHBOURS_LIMIT && open_ring(&m) == 0, "and after a minute of coming and going");
	mesh_end(&m);
}

/* Two networks with a few in both. */
static void test_two_networks(uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, 62, seed);
	m.ways = true;
	for (unsigned i = 0; i < 62; i++)
		for (unsigned k = 0; k < 62; k++)
			if (i != k && i >= 2 && k >= 2)
				pair(&m, i, k)->sees = i % 2 == k % 2;
	run(&m, 60 * SECOND);
	ok(connected(&m), "two networks of 30 with two devices in both are connected");
	kill(&m, 0);
	run(&m, 60 * SECOND);
	ok(connected(&m), "and with one of the two");
	unsigned most = most_links(&m);
	const uint64_t changes = m.changed;
	ok(most <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "with at most %u links", most);
	run(&m, 10 * 60 * SECOND);
	tap_diag("last change %.0f s after the first two minutes", (double)(m.changed - changes) / 1e6);
	ok(connected(&m) && most_links(&m) <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "and after ten minutes");
	mesh_end(&m);
}

/* Who hears whom is by chance, and not mutual. */
static void test_odd_views(uint64_t seed, uint64_t rounds)
{
	unsigned bad = 0, most = 0;
	for (uint64_t round = 0; round < rounds; round++) {
		struct mesh m;
		const unsigned share = 10 + (unsigned)(round * 30 / rounds);
		mesh_begin(&m, 40, seed + round);
		m.ways = true;
		for (unsigned i = 0; i < 40; i++)
			for (unsigned k = 0; k < 40; k++)
				pair(&m, i, k)->sees = i != k && prng_chance(&m.r, share);
		/* A chain, so that they can be connected at all. */
		for (unsigned i = 1; i < 40; i++)
			pair(&m, i, i - 1)->sees = true;
		run(&m, 120 * SECOND);
		bad += !connected(&m);
		if (!connected(&m))
			tap_diag("seed %llu: apart when one hears %u %%", (unsigned long long)(seed + round), share);
		if (most_links(&m) > most)
			most = most_links(&m);
		mesh_end(&m);
	}
	is_uint(bad, 0, "meshes where few hear each other are connected");
	ok(most <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "and nobody has more than %u links (%u)",
	   NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, most);
}

/* ---- single rules ---- */

struct one {
	struct neighbours *n;
	struct id id[NEIGHBOURS_SEEN_MAX + 8];
	uint64_t now;
};

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
	ok(neighbours_takes(o.n, &o.id[w[4]], false, o.now), "but when it asks itself it is taken");
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
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_WANTED, "two are wanted");
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NEEDED, "one that has nobody claims what was refused");
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "once");
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_ways(o.n, &(struct neighbour_way){ o.id[1], 1 }, 1, o.now);
	o.now += 30 * SECOND;
	neighbours_seen(o.n, &o.id[0], o.now);
	neighbours_seen(o.n, &o.id[1], o.now);
	neighbours_choose(o.n, o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "who refused a claim is not asked again though nobody reaches it");
	neighbours_free(o.n);

	one_begin(&o, 2);
	neighbours_linked(o.n, &o.id[1], NEIGHBOUR_CHOSEN, o.now);
	neighbours_choose(o.n, o.now);
	neighbours_refused(o.n, &o.id[0], o.now);
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "one that has somebody does not claim");
	neighbours_ways(o.n, &(struct neighbour_way){ o.id[1], 1 }, 1, o.now);
	o.now += 30 * SECOND;
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
	ok(!neighbours_takes(o.n, &o.id[light], false, o.now), "a lighter one is not taken");
	for (unsigned i = 0; i < 100; i++)
		if (i != w[0] && i != w[1] && i != w[2] && i != w[3] && i != w[4] &&
		    neighbours_takes(o.n, &o.id[i], true, o.now)) {
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
	ok(!neighbours_surplus(o.n, o.now, NULL, NULL, &id), "the only way to somebody is not let go");
	for (unsigned i = 0; i <= n; i++)
		way[i].part = 1;
	neighbours_ways(o.n, way, n + 1, o.now);
	ok(neighbours_surplus(o.n, o.now, NULL, NULL, &id) && id_equal(&id, &o.id[light]),
	   "when there is another one it is");
	neighbours_ended(o.n, &id, NEIGHBOUR_ENDED, o.now);

	/* The other 24 are heard and not reached. */
	unsigned needed = 0;
	for (unsigned s = 0; s < 60; s++) {
		o.now += SECOND / 2;
		for (unsigned i = 0; i < 30; i++)
			neighbours_seen(o.n, &o.id[i], o.now);
		if (s == 4) {
			for (unsigned i = 0; i < 30; i++)
				needed += neighbours_want(o.n, &o.id[i]) == NEIGHBOUR_NEEDED;
			is_uint(needed, 0, "who is not reached for two seconds may be soon");
		}
		neighbours_choose(o.n, o.now);
	}
	needed = 0;
	for (unsigned i = 0; i < 30; i++)
		needed += neighbours_want(o.n, &o.id[i]) == NEIGHBOUR_NEEDED;
	ok(needed >= 1 && needed <= NEIGHBOURS_EXTRA, "who is not reached for half a minute is dialled (%u)", needed);
	neighbours_free(o.n);
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
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NEEDED, "and are dialled");
	o.now += 2 * SECOND;
	neighbours_choose(o.n, o.now);
	is_uint(neighbours_want(o.n, &o.id[0]), NEIGHBOUR_NO, "for as long as that was");
	neighbours_free(o.n);
}

int main(int argc, char **argv)
{
	tap_plan(92);
	const uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 6);
	test_small(seed);
	test_large(7, 2, seed);
	test_large(10, 4, seed);
	test_large(50, 5, seed);
	test_large(200, 7, seed);
	test_large(1000, 9, seed);
	test_churn(seed);
	test_two_networks(seed);
	test_odd_views(seed, rounds);
	test_refusals();
	test_lonely();
	test_losses();
	test_kept();
	test_claims();
	test_bridges();
	test_bounds();
	return tap_done();
}
