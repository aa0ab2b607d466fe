/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/neighbourhood.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sha256.h"
#include "tests/tap.h"

#define STEP (SECOND / 10)
#define BEACONS (10 * SECOND)

/* What devices tell each other of their links: as much as presence sends (engine/presence.h). */
#define FRAME 8192u
#define BURST 4u
#define REFILL (10 * SECOND)
#define SETTLE (3 * STEP)
#define DIAL_TIMEOUT (10 * SECOND)

struct pair *hood_pair(const struct hood *m, unsigned i, unsigned k)
{
	return &m->pair[(size_t)i * m->n + k];
}

static int id_order(const void *a, const void *b)
{
	return id_cmp(&((const struct node *)a)->id, &((const struct node *)b)->id);
}

void hood_wake(struct hood *m, unsigned i)
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

void hood_begin(struct hood *m, unsigned n, uint64_t seed)
{
	*m = (struct hood){ .n = n, .now = 3600 * SECOND, .r = { seed } };
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
		hood_wake(m, i);
		for (unsigned k = 0; k < n; k++)
			hood_pair(m, i, k)->sees = i != k;
	}
}

void hood_end(struct hood *m)
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

static void state_soon(struct hood *m, unsigned i)
{
	if (m->node[i].state == UINT64_MAX)
		m->node[i].state = m->now + SETTLE;
}

static void half_link(struct hood *m, unsigned i, unsigned k)
{
	struct pair *p = hood_pair(m, i, k);
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

static void half_unlink(struct hood *m, unsigned i, unsigned k)
{
	hood_pair(m, i, k)->linked = false;
	free(hood_pair(m, i, k)->flow);
	hood_pair(m, i, k)->flow = NULL;
	state_soon(m, i);
}

static void unlink_pair(struct hood *m, unsigned i, unsigned k, enum neighbour_end here, enum neighbour_end there)
{
	half_unlink(m, i, k);
	half_unlink(m, k, i);
	m->changed = m->now;
	neighbours_ended(m->node[i].n, &m->node[k].id, here, m->now);
	neighbours_ended(m->node[k].n, &m->node[i].id, there, m->now);
	soon(&m->node[i], m->now);
	soon(&m->node[k], m->now);
}

void hood_kill(struct hood *m, unsigned i)
{
	m->node[i].alive = false;
	for (unsigned k = 0; k < m->n; k++) {
		hood_pair(m, i, k)->dials = hood_pair(m, k, i)->dials = false;
		if (hood_pair(m, i, k)->linked)
			unlink_pair(m, i, k, NEIGHBOUR_LOST, NEIGHBOUR_LOST);
	}
}

static void beacon(struct hood *m, unsigned i)
{
	for (unsigned k = 0; k < m->n; k++)
		if (hood_pair(m, k, i)->sees && m->node[k].alive &&
		    neighbours_seen(m->node[k].n, &m->node[i].id, m->now))
			soon(&m->node[k], m->now + 2 * STEP);
	m->node[i].beacon = m->now + BEACONS;
}

static void dial_ends(struct hood *m, unsigned i, unsigned k)
{
	struct pair *p = hood_pair(m, i, k);
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

static void dial(struct hood *m, unsigned i, unsigned k)
{
	struct pair *p = hood_pair(m, i, k);
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

static void dials_end(struct hood *m)
{
	for (unsigned i = 0; i < m->n_dials;) {
		const unsigned a = m->dial[i][0], b = m->dial[i][1];
		if (hood_pair(m, a, b)->dials && m->now < hood_pair(m, a, b)->due) {
			i++;
			continue;
		}
		memcpy(m->dial[i], m->dial[--m->n_dials], sizeof(m->dial[i]));
		if (hood_pair(m, a, b)->dials)
			dial_ends(m, a, b);
	}
}

/* ---- what is stated ---- */

static const struct said *said(const struct hood *m, unsigned i, unsigned author)
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
static unsigned reached(const struct hood *m, unsigned i, bool *is, unsigned *queue)
{
	unsigned from = 0, to = 0;
	memset(is, 0, m->n * sizeof(*is));
	is[i] = true;
	queue[to++] = i;
	for (unsigned k = 0; k < m->n; k++)
		if (hood_pair(m, i, k)->linked && hood_pair(m, i, k)->heard) {
			is[k] = true;
			queue[to++] = k;
		}
	for (from = 1; from < to; from++) {
		const struct said *s = said(m, i, queue[from]);
		for (uint32_t k = 0; s && k < s->n; k++)
			if (!is[s->to[k]] && !hood_pair(m, i, s->to[k])->linked && names(said(m, i, s->to[k]), queue[from])) {
				is[s->to[k]] = true;
				queue[to++] = s->to[k];
			}
	}
	return to;
}

static void state(struct hood *m, unsigned i)
{
	struct node *x = &m->node[i];
	struct said *s = calloc(1, sizeof(*s) + m->n * sizeof(uint32_t));
	x->said = reallocarray(x->said, x->n_said + 1, sizeof(*x->said));
	if (!s || !x->said)
		tap_bail("no memory");
	for (unsigned k = 0; k < m->n; k++)
		if (hood_pair(m, i, k)->linked)
			s->to[s->n++] = k;
	x->said[x->n_said++] = s;
	x->known[i] = x->n_said;
	x->state = UINT64_MAX;
}

static void tell(struct hood *m, unsigned i, unsigned k, bool *is, unsigned *queue)
{
	struct flow *f = hood_pair(m, i, k)->flow;
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
		hood_pair(m, k, i)->heard |= a == i;
		if (m->node[k].known[a] < f->sent[a])
			m->node[k].known[a] = f->sent[a];
	}
	f->due = m->now + SETTLE;
	if (room == FRAME) {
		f->frames++; /* there was nothing */
		f->due = m->now + SECOND;
	}
}

static void tell_all(struct hood *m)
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
			struct flow *f = hood_pair(m, i, k)->flow;
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
static void ask_ways(struct hood *m, unsigned i)
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

static void choose(struct hood *m, unsigned i)
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
		struct pair *p = hood_pair(m, i, k);
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
static unsigned parts(const struct hood *m, unsigned not, unsigned *label)
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
				if (k != not && label[k] == UINT32_MAX && hood_pair(m, queue[from], k)->linked) {
					label[k] = n;
					queue[to++] = k;
				}
		n++;
	}
	free(queue);
	return n;
}

bool hood_connected(const struct hood *m)
{
	unsigned *label = calloc(m->n, sizeof(*label));
	if (!label)
		tap_bail("no memory");
	const unsigned n = parts(m, m->n, label);
	free(label);
	return n == 1;
}

/* Who is cut off from most others, and for how long. */
static void note_apart(struct hood *m)
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
unsigned hood_diameter(const struct hood *m)
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
				if (far[k] == UINT32_MAX && hood_pair(m, queue[from], k)->linked) {
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

static unsigned links_of(const struct hood *m, unsigned i)
{
	unsigned n = 0;
	for (unsigned k = 0; k < m->n; k++)
		n += hood_pair(m, i, k)->linked;
	return n;
}

unsigned hood_most_links(const struct hood *m)
{
	unsigned most = 0;
	for (unsigned i = 0; i < m->n; i++)
		if (links_of(m, i) > most)
			most = links_of(m, i);
	return most;
}

/* Devices with more links than they should have. */
unsigned hood_above(const struct hood *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += links_of(m, i) > NEIGHBOURS_LIMIT;
	return n;
}

unsigned hood_links(const struct hood *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += links_of(m, i);
	return n / 2;
}

void hood_run(struct hood *m, uint64_t time)
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

static uint64_t weight(const struct hood *m, unsigned i, unsigned k)
{
	uint8_t data[16 + 2 * ID_SIZE + 32];
	memcpy(data, "shoal neighbours", 16);
	memcpy(data + 16, m->node[i < k ? i : k].id.b, ID_SIZE);
	memcpy(data + 16 + ID_SIZE, m->node[i < k ? k : i].id.b, ID_SIZE);
	memcpy(data + 16 + 2 * ID_SIZE, SECRET, 32);
	return hash_of(data, sizeof(data));
}

static unsigned successor(const struct hood *m, unsigned i)
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

unsigned hood_open_ring(const struct hood *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < m->n; i++)
		n += m->node[i].alive && !hood_pair(m, i, successor(m, i))->linked;
	return n;
}

/* Pairs both of which have enough and would rather have each other. */
unsigned hood_blocking(const struct hood *m)
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
			if (hood_pair(m, i, k)->linked && !ring[i * m->n + k] && weight(m, i, k) < least[i])
				least[i] = weight(m, i, k);
	}
	for (unsigned i = 0; i < m->n; i++)
		for (unsigned k = 0; k < i; k++)
			n += !hood_pair(m, i, k)->linked && weight(m, i, k) > least[i] && weight(m, i, k) > least[k];
	free(ring);
	free(least);
	return n;
}
