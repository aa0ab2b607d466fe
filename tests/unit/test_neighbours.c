/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom devices choose as neighbours: whole meshes in steps of a tenth of a second, then single rules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"
#include "tests/prng.h"
#include "tests/tap.h"
#include "transports/neighbours.h"
#include "transports/reach.h"

#define SECOND 1000000ull
#define STEP (SECOND / 10)
#define BEACONS (10 * SECOND)
#define SECRET "a secret of thirty-two bytes ..."

/* ---- a mesh ---- */

/* What devices tell each other of their links: as much as presence sends (engine/presence.h). */
#define FRAME 8192u
#define BURST 4u
#define REFILL (10 * SECOND)
#define SETTLE (3 * STEP)
#define DIAL_TIMEOUT (10 * SECOND)

struct said { /* a statement */
	uint32_t n;
	uint32_t to[]; /* ascending */
};

struct flow { /* of statements over a link, one way */
	uint64_t due, refill;
	unsigned frames;
	uint32_t sent[]; /* by author */
};

struct pair { /* as one of the two has it */
	uint64_t due;     /* of a dial */
	uint64_t not_before, backoff;
	struct flow *flow;
	bool dials;
	bool sees, linked;
	bool heard; /* its statement, over this link */
};

struct node {
	struct id id;
	struct neighbours *n;
	uint64_t choose, beacon, ways, state;
	uint32_t *known;     /* the latest statement of each, counted from 1; 0: none */
	struct said **said;  /* its own */
	uint32_t n_said;
	uint64_t apart;      /* since when it is not in the largest part; 0: it is */
	bool alive, walled;  /* nobody can dial it */
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
	bool deaf;      /* nothing is stated */
	uint64_t apart; /* the longest that somebody was not in the largest part */
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
	memset(x->known, 0, m->n * sizeof(*x->known));
	x->known[i] = x->n_said;
	x->choose = x->state = m->now;
	x->ways = x->apart = 0;
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
		m->node[i].known = calloc(n, sizeof(uint32_t));
		if (!m->node[i].known)
			tap_bail("no memory");
		node_begin(m, i);
		for (unsigned k = 0; k < n; k++)
			pair(m, i, k)->sees = i != k;
	}
}

static void mesh_end(struct mesh *m)
{
	for (unsigned i = 0; i < m->n * m->n; i++)
		free(m->pair[i].flow);
	for (unsigned i = 0; i < m->n; i++) {
		for (uint32_t k = 0; k < m->node[i].n_said; k++)
			free(m->node[i].said[k]);
		free(m->node[i].said);
		free(m->node[i].known);
		neighbours_free(m->node[i].n);
	}
	free(m->node);
	free(m->pair);
	free(m->dial);
}

static void soon(struct node *x, uint64_t at)
{
	if (at < x->choose)
		x->choose = at;
}

static void state_soon(struct mesh *m, unsigned i)
{
	if (m->node[i].state == UINT64_MAX)
		m->node[i].state = m->now + SETTLE;
}

static void half_link(struct mesh *m, unsigned i, unsigned k)
{
	struct pair *p = pair(m, i, k);
	p->linked = true;
	p->heard = false;
	p->backoff = 0;
	state_soon(m, i);
	if (m->deaf)
		return;
	p->flow = calloc(1, sizeof(*p->flow) + m->n * sizeof(uint32_t));
	if (!p->flow)
		tap_bail("no memory");
	p->flow->due = m->now + SECOND;
	p->flow->frames = BURST;
}

static void half_unlink(struct mesh *m, unsigned i, unsigned k)
{
	pair(m, i, k)->linked = false;
	free(pair(m, i, k)->flow);
	pair(m, i, k)->flow = NULL;
	state_soon(m, i);
}

static void unlink_pair(struct mesh *m, unsigned i, unsigned k, enum neighbour_end here, enum neighbour_end there)
{
	half_unlink(m, i, k);
	half_unlink(m, k, i);
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
		pair(m, i, k)->dials = pair(m, k, i)->dials = false;
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
	const enum neighbour_want ask = neighbours_want(x->n, &y->id);
	p->dials = false;
	if (p->linked || ask == NEIGHBOUR_NO)
		return;
	soon(x, m->now);
	p->not_before = m->now + SECOND;
	m->dials++;
	if (!y->alive || y->walled || prng_chance(&m->r, m->loss)) {
		neighbours_failed(x->n, &y->id, m->now);
		p->backoff = p->backoff == 0 ? SECOND : p->backoff < 32 * SECOND ? 2 * p->backoff : 60 * SECOND;
		p->not_before = m->now + p->backoff;
	} else if (!neighbours_takes(y->n, &x->id, ask, m->now)) {
		m->refused++;
		neighbours_refused(x->n, &y->id, m->now);
	} else {
		half_link(m, i, k);
		half_link(m, k, i);
		m->changed = m->now;
		neighbours_linked(x->n, &y->id, NEIGHBOUR_CHOSEN, m->now);
		neighbours_linked(y->n, &x->id, ask >= NEIGHBOUR_NEEDED ? NEIGHBOUR_CLAIMED : NEIGHBOUR_CHOSEN,
				  m->now);
		soon(y, m->now);
	}
}

static void dial(struct mesh *m, unsigned i, unsigned k)
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
	p->dials = true;
	p->due = m->now + STEP + prng_below(&m->r, 3) * STEP + (i > k ? 3 * SECOND / 2 : 0) +
		 (m->node[k].walled || !m->node[k].alive ? DIAL_TIMEOUT : 0);
}

static void dials_end(struct mesh *m)
{
	for (unsigned i = 0; i < m->n_dials;) {
		const unsigned a = m->dial[i][0], b = m->dial[i][1];
		if (pair(m, a, b)->dials && m->now < pair(m, a, b)->due) {
			i++;
			continue;
		}
		memcpy(m->dial[i], m->dial[--m->n_dials], sizeof(m->dial[i]));
		if (pair(m, a, b)->dials)
			dial_ends(m, a, b);
	}
}

/* ---- what is stated ---- */

static const struct said *said(const struct mesh *m, unsigned i, unsigned author)
{
	const uint32_t v = m->node[i].known[author];
	return v ? m->node[author].said[v - 1] : NULL;
}

static bool names(const struct said *s, uint32_t to)
{
	for (uint32_t k = 0; s && k < s->n; k++)
		if (s->to[k] == to)
			return true;
	return false;
}

/* Who is reachable as far as i knows, like engine/graph.c: in queue, which has room for all, itself first. */
static unsigned reached(const struct mesh *m, unsigned i, bool *is, unsigned *queue)
{
	unsigned from = 0, to = 0;
	memset(is, 0, m->n * sizeof(*is));
	is[i] = true;
	queue[to++] = i;
	for (unsigned k = 0; k < m->n; k++)
		if (pair(m, i, k)->linked && pair(m, i, k)->heard) {
			is[k] = true;
			queue[to++] = k;
		}
	for (from = 1; from < to; from++) {
		const struct said *s = said(m, i, queue[from]);
		for (uint32_t k = 0; s && k < s->n; k++)
			if (!is[s->to[k]] && !pair(m, i, s->to[k])->linked && names(said(m, i, s->to[k]), queue[from])) {
				is[s->to[k]] = true;
				queue[to++] = s->to[k];
			}
	}
	return to;
}

static void state(struct mesh *m, unsigned i)
{
	struct node *x = &m->node[i];
	struct said *s = calloc(1, sizeof(*s) + m->n * sizeof(uint32_t));
	x->said = reallocarray(x->said, x->n_said + 1, sizeof(*x->said));
	if (!s || !x->said)
		tap_bail("no memory");
	for (unsigned k = 0; k < m->n; k++)
		if (pair(m, i, k)->linked)
			s->to[s->n++] = k;
	x->said[x->n_said++] = s;
	x->known[i] = x->n_said;
	x->state = UINT64_MAX;
}

static void tell(struct mesh *m, unsigned i, unsigned k, bool *is, unsigned *queue)
{
	struct flow *f = pair(m, i, k)->flow;
	const unsigned n = reached(m, i, is, queue);
	unsigned room = FRAME;
	f->frames--;
	f->refill = f->frames == BURST - 1 ? m->now + REFILL : f->refill;
	for (unsigned q = 0; q < n; q++) {
		const unsigned a = queue[q];
		const struct said *s = said(m, i, a);
		if (a == k || !s || f->sent[a] >= m->node[i].known[a])
			continue;
		const unsigned size = 28 + 34 * s->n;
		if (size > room)
			return; /* the rest in the next one */
		room -= size;
		f->sent[a] = m->node[i].known[a];
		pair(m, k, i)->heard |= a == i;
		if (m->node[k].known[a] < f->sent[a])
			m->node[k].known[a] = f->sent[a];
	}
	f->due = m->now + SETTLE;
	if (room == FRAME) {
		f->frames++; /* there was nothing */
		f->due = m->now + SECOND;
	}
}

static void tell_all(struct mesh *m)
{
	bool *is = calloc(m->n, sizeof(*is));
	unsigned *queue = calloc(m->n, sizeof(*queue));
	if (!is || !queue)
		tap_bail("no memory");
	for (unsigned i = 0; i < m->n; i++)
		if (m->node[i].alive && m->now >= m->node[i].state)
			state(m, i);
	for (unsigned i = 0; i < m->n; i++)
		for (unsigned k = 0; k < m->n; k++) {
			struct flow *f = pair(m, i, k)->flow;
			if (!f)
				continue;
			for (; f->frames < BURST && m->now >= f->refill; f->refill += REFILL)
				f->frames++;
			if (m->now >= f->due && f->frames > 0)
				tell(m, i, k, is, queue);
		}
	free(queue);
	free(is);
}

static unsigned root(unsigned *up, unsigned i)
{
	while (up[i] != i)
		i = up[i] = up[up[i]];
	return i;
}

/* As on_choice asks (transports/mesh-neighbours.c). */
static void ask_ways(struct mesh *m, unsigned i)
{
	struct node *x = &m->node[i];
	bool *is = calloc(m->n, sizeof(*is));
	unsigned *queue = calloc(m->n, sizeof(*queue)), *up = calloc(m->n, sizeof(*up));
	struct neighbour_way *way = calloc(m->n, sizeof(*way));
	uint32_t count = 0;
	if (!is || !queue || !up || !way)
		tap_bail("no memory");
	const unsigned n = reached(m, i, is, queue);
	for (unsigned k = 0; k < m->n; k++)
		up[k] = k;
	for (unsigned q = 1; q < n; q++) {
		const struct said *s = said(m, i, queue[q]);
		for (uint32_t k = 0; k < s->n; k++)
			if (s->to[k] != i && is[s->to[k]] && names(said(m, i, s->to[k]), queue[q]))
				up[root(up, queue[q])] = root(up, s->to[k]);
	}
	for (unsigned k = 0; k < m->n; k++)
		if (k != i && is[k])
			way[count++] = (struct neighbour_way){ m->node[k].id, root(up, k) };
	neighbours_ways(x->n, way, count, m->now);
	x->ways = m->now + SECOND;
	free(way);
	free(up);
	free(queue);
	free(is);
}

static void choose(struct mesh *m, unsigned i)
{
	struct node *x = &m->node[i];
	struct id id;
	if (!m->deaf && m->now >= x->ways)
		ask_ways(m, i);
	x->choose = neighbours_choose(x->n, m->now);
	while (neighbours_surplus(x->n, m->now, NULL, NULL, &id)) {
		const struct node key = { .id = id },
				  *y = bsearch(&key, m->node, m->n, sizeof(key), id_order);
		unlink_pair(m, i, (unsigned)(y - m->node), NEIGHBOUR_ENDED, NEIGHBOUR_LET_GO);
		(void)neighbours_choose(x->n, m->now);
	}
	for (unsigned k = 0; k < m->n; k++) {
		struct pair *p = pair(m, i, k);
		if (k == i || p->linked || p->dials || !p->sees)
			continue;
		if (neighbours_want(x->n, &m->node[k].id) == NEIGHBOUR_NO)
			continue;
		if (m->now < p->not_before) {
			soon(x, p->not_before);
			continue;
		}
		dial(m, i, k);
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

static bool connected(const struct mesh *m)
{
	unsigned *label = calloc(m->n, sizeof(*label));
	if (!label)
		tap_bail("no memory");
	const unsigned n = parts(m, m->n, label);
	free(label);
	return n == 1;
}

/* Who is cut off from most others, and for how long. */
static void note_apart(struct mesh *m)
{
	unsigned *label = calloc(m->n, sizeof(*label)), *size = calloc(m->n, sizeof(*size)), best = 0;
	if (!label || !size)
		tap_bail("no memory");
	parts(m, m->n, label);
	for (unsigned i = 0; i < m->n; i++)
		if (m->node[i].alive && ++size[label[i]] > size[best])
			best = label[i];
	for (unsigned i = 0; i < m->n; i++) {
		struct node *x = &m->node[i];
		if (!x->alive || label[i] == best) {
			x->apart = 0;
			continue;
		}
		if (!x->apart)
			x->apart = m->now;
		if (m->now - x->apart > m->apart)
			m->apart = m->now - x->apart;
	}
	free(size);
	free(label);
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

/* Devices with more links than they should have. */
static unsigned above(const struct mesh *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += links_of(m, i) > NEIGHBOURS_LIMIT;
	return n;
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
		if (!m->deaf)
			tell_all(m);
		for (unsigned i = 0; i < m->n; i++)
			if (m->node[i].alive && m->now >= m->node[i].choose)
				choose(m, i);
		if (m->now % SECOND == 0)
			note_apart(m);
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
	for (unsigned n = 2; n <= 11; n++) {
		struct mesh m;
		mesh_begin(&m, n, seed + n);
		run(&m, 10 * SECOND);
		bad += all_links(&m) != n * (n - 1) / 2 || m.refused > 0;
		mesh_end(&m);
	}
	is_uint(bad, 0, "up to eleven devices are linked each to each, and nobody refuses");
}

static void test_large(unsigned n, unsigned most, uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, n, seed);
	m.deaf = n > 500; /* statements of so many are not all kept, and do not tell who is missed */
	const uint64_t begin = m.now;
	while (!connected(&m) && m.now < begin + 30 * SECOND)
		run(&m, SECOND / 2);
	const uint64_t together = m.now - begin;
	run(&m, 180 * SECOND);
	const unsigned far = diameter(&m);
	tap_diag("%u devices: diameter %u, %.2f links each, connected after %.1f s, last change after %.1f s, %.1f dials "
		 "and %.1f refusals each",
		 n, far, 2.0 * all_links(&m) / n, (double)together / 1e6, (double)(m.changed - begin) / 1e6,
		 (double)m.dials / n, (double)m.refused / n);
	ok(together <= 4 * SECOND, "%u are connected within 4 s", n);
	ok(far <= most, "%u devices are connected over at most %u links", n, most);
	ok(most_links(&m) <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "each of %u has at most %u", n,
	   NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA);
	ok(above(&m) <= n / 20, "and hardly any more than %u", NEIGHBOURS_LIMIT);
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
	run(&m, 10 * SECOND);
	ok(connected(&m), "60 of whose dials a fifth fails are connected");
	/* A dial that succeeds in the end may begin a row of choices, each of which waits half a minute. */
	run(&m, 140 * SECOND);
	ok(connected(&m) && above(&m) <= 3, "and settle");
	for (unsigned i = 0; i < 60; i += 5)
		kill(&m, i);
	run(&m, 10 * SECOND);
	ok(connected(&m), "ten seconds after a fifth died at once the others are connected");
	run(&m, 90 * SECOND);
	ok(above(&m) <= 3 && open_ring(&m) == 0, "and the ring is closed again");
	for (unsigned i = 0; i < 60; i += 5)
		node_begin(&m, i);
	run(&m, 120 * SECOND);
	ok(connected(&m) && above(&m) <= 3 && open_ring(&m) == 0, "those who come back are taken in");
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
	run(&m, 120 * SECOND);
	ok(connected(&m) && above(&m) <= 3 && open_ring(&m) == 0, "and after a minute of coming and going");
	mesh_end(&m);
}

/* Seeds with which it took longer: each link that was one too many had to wait before the next choice was made. */
static void test_settles(void)
{
	static const uint64_t seeds[] = { 123328916, 1, 6, 8, 12, 18, 19 };
	unsigned bad = 0;
	for (unsigned i = 0; i < sizeof(seeds) / sizeof(*seeds); i++) {
		struct mesh m;
		mesh_begin(&m, 60, seeds[i]);
		m.loss = 20;
		run(&m, 90 * SECOND);
		bad += !connected(&m) || above(&m) > 3;
		mesh_end(&m);
	}
	is_uint(bad, 0, "after 90 s hardly any of 60 have a link too many");
}

/* Two networks with a few in both. */
static void test_two_networks(uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, 62, seed);
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
	const uint64_t changes = m.changed, dials = m.dials;
	m.apart = 0;
	ok(most <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "with at most %u links", most);
	run(&m, 10 * 60 * SECOND);
	tap_diag("last change %.0f s after the first two minutes, %llu dials, apart for %.0f s",
		 (double)(m.changed - changes) / 1e6, (unsigned long long)(m.dials - dials), (double)m.apart / 1e6);
	ok(m.apart == 0, "nobody is cut off in ten minutes");
	ok(connected(&m) && most_links(&m) <= NEIGHBOURS_LIMIT + NEIGHBOURS_EXTRA, "and after ten minutes");
	mesh_end(&m);
}

/* All but one have firewalls, and can only dial. */
static void test_walls(unsigned n, uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, n, seed);
	const unsigned open = (unsigned)prng_below(&m.r, n);
	for (unsigned i = 0; i < n; i++)
		m.node[i].walled = i != open;
	run(&m, 60 * SECOND + n * 4 * SECOND);
	const uint64_t first = m.apart;
	m.apart = 0;
	run(&m, 20 * 60 * SECOND);
	tap_diag("%u devices that nobody can dial: together after %.0f s, in 20 minutes apart for %.0f s", n - 1,
		 (double)first / 1e6, (double)m.apart / 1e6);
	ok(connected(&m) && m.apart == 0, "%u devices that nobody can dial stay linked to the one that can be", n - 1);
	ok(first <= 30 * SECOND + n * 4 * SECOND, "and found it soon");
	kill(&m, open);
	run(&m, 60 * SECOND);
	node_begin(&m, open);
	m.apart = 0;
	for (unsigned i = 0; i < n; i++)
		m.node[i].apart = 0;
	run(&m, 10 * 60 * SECOND);
	ok(connected(&m), "and when it comes back (%.0f s)", (double)m.apart / 1e6);
	mesh_end(&m);
}

/* One hears two of a mesh, whose members have enough neighbours, and is not heard. */
static void test_unheard(uint64_t seed)
{
	struct mesh m;
	mesh_begin(&m, 41, seed);
	for (unsigned k = 0; k < 41; k++) {
		pair(&m, k, 7)->sees = false;
		pair(&m, 7, k)->sees = k == 3 || k == 11;
	}
	m.node[7].alive = false;
	run(&m, 120 * SECOND);
	node_begin(&m, 7);
	m.apart = 0;
	run(&m, 15 * 60 * SECOND);
	ok(connected(&m) && m.apart <= 20 * SECOND, "one that hears two and is not heard is never apart for long (%.0f s)",
	   (double)m.apart / 1e6);
	/* Two such, that have each other. */
	for (unsigned k = 0; k < 41; k++) {
		pair(&m, k, 8)->sees = k == 7;
		pair(&m, 8, k)->sees = k == 7 || k == 3;
	}
	kill(&m, 8);
	kill(&m, 7);
	run(&m, 60 * SECOND);
	node_begin(&m, 7);
	node_begin(&m, 8);
	m.apart = 0;
	run(&m, 60 * SECOND);
	ok(connected(&m) && m.apart <= 60 * SECOND, "nor are two (%.0f s)", (double)m.apart / 1e6);
	/* Those who have the links may not let them go together when the claims are over. */
	m.apart = 0;
	run(&m, 15 * 60 * SECOND);
	ok(connected(&m) && m.apart == 0, "and from then on not at all (%.0f s)", (double)m.apart / 1e6);
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
