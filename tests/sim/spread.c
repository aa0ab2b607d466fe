/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a change spreads in a mesh where each device has a few neighbours: what it costs and how long it
 * takes, before and after links are lost. Real replicas in memory and real sessions; time is pretended.
 *
 *     spread                       what make check runs: 50 devices, with limits
 *     spread --table               the table in shoal-protocol(7), Spreading
 *     spread --devices N [--seed S] [--degree D] [--plain]
 *                                  what is said in it, by frame; --plain: nobody says what it wants */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame.h"
#include "engine/spread.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define DEVICES_MAX 4000
#define DEGREE_MAX 16
#define HOP_US 20000     /* on a link, one way */
#define COMMIT_US 5000   /* until what came is on the disk */
#define NOTICE_US 14000000 /* until an end notices that its link is dead */
#define QUIET_US 12000000  /* after a change: all has been said that was to be said */
#define CHANGE 200       /* bytes */
#define ORIGINS 5
#define WARM 3           /* changes of each of them before one is counted */
/* What a record of TLS costs beside its bytes, and its packet and the acknowledgement of that one on
 * Ethernet with IPv4. */
#define RECORD_COST 22
#define PACKET_COST (18 + 20 + 32)
#define ACK_COST 70

struct segment {
	uint64_t due;
	struct buf data;
	struct segment *next;
};

struct end {
	struct session *session;
	struct segment *first, *last; /* on their way to this end */
	uint64_t timer;               /* there is an event for it */
};

struct cable {
	unsigned device[2];
	struct end end[2];
	bool dead; /* nothing arrives */
};

struct member {
	struct node node;
	struct spread *spread;
	unsigned edge[DEGREE_MAX];
	unsigned n_edges;
	uint64_t flush; /* there is an event for it */
	uint64_t reached; /* by the last change */
	unsigned hops;
	bool down;
};

enum event_kind { EVENT_ARRIVAL, EVENT_TIMER, EVENT_FLUSH, EVENT_NOTICE };

struct event {
	uint64_t at, no;
	enum event_kind kind;
	unsigned what, end; /* edge and end, or device */
};

struct counts {
	uint64_t bytes, packets, deltas, frames[FRAME_TYPES], by_type[FRAME_TYPES];
};

struct net {
	struct prng r;
	bool plain;
	unsigned n, n_edges, degree;
	struct member *member;
	struct cable *edge;
	struct event *heap;
	size_t n_heap, cap_heap;
	uint64_t now, events;
	struct counts count;
	char text[ORIGINS][CHANGE + 1]; /* the last change of each */
	unsigned watching;              /* so many of them are on their way, of the first ones */
};

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->no < b->no;
}

static void push(struct net *w, uint64_t at, enum event_kind kind, unsigned what, unsigned end)
{
	if (w->n_heap == w->cap_heap) {
		w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 1024;
		w->heap = reallocarray(w->heap, w->cap_heap, sizeof(*w->heap));
		if (!w->heap)
			tap_bail("out of memory");
	}
	struct event e = { at, ++w->events, kind, what, end };
	size_t i = w->n_heap++;
	for (; i > 0 && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct event pop(struct net *w)
{
	struct event top = w->heap[0], e = w->heap[--w->n_heap];
	size_t i = 0;
	for (;;) {
		size_t k = 2 * i + 1;
		if (k + 1 < w->n_heap && before(&w->heap[k + 1], &w->heap[k]))
			k++;
		if (k >= w->n_heap || !before(&w->heap[k], &e))
			break;
		w->heap[i] = w->heap[k];
		i = k;
	}
	w->heap[i] = e;
	return top;
}

/* ---- the graph ---- */

static bool joined(const struct net *w, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < w->n_edges; i++) {
		const unsigned *d = w->edge[i].device;
		if ((d[0] == a && d[1] == b) || (d[0] == b && d[1] == a))
			return true;
	}
	return false;
}

/* A random graph in which each device has `degree` neighbours: ends are paired at random, and pairs that
 * are not allowed change partners with others. */
static void make_edges(struct net *w)
{
	unsigned ends = w->n * w->degree;
	unsigned *stub = calloc(ends, sizeof(*stub));
	if (!stub)
		tap_bail("out of memory");
	for (bool good = false; !good;) {
		for (unsigned i = 0; i < ends; i++)
			stub[i] = i / w->degree;
		w->n_edges = 0;
		good = true;
		for (unsigned i = 0; good && i + 1 < ends; i += 2) {
			unsigned tries = 0;
			do {
				unsigned k = i + (unsigned)prng_below(&w->r, ends - i);
				unsigned x = stub[k];
				stub[k] = stub[i];
				stub[i] = x;
				k = i + 1 + (unsigned)prng_below(&w->r, ends - i - 1);
				x = stub[k];
				stub[k] = stub[i + 1];
				stub[i + 1] = x;
				good = stub[i] != stub[i + 1] && !joined(w, stub[i], stub[i + 1]);
			} while (!good && ++tries < 200);
			if (good)
				w->edge[w->n_edges++] =
					(struct cable){ .device = { stub[i], stub[i + 1] } };
		}
	}
	free(stub);
	for (unsigned i = 0; i < w->n_edges; i++)
		for (int k = 0; k < 2; k++) {
			struct member *m = &w->member[w->edge[i].device[k]];
			m->edge[m->n_edges++] = i;
		}
}

/* Hops from a device over what works; how many are reached. *ret_far: the most hops. */
static unsigned walk(struct net *w, unsigned from, unsigned *ret_far)
{
	unsigned *queue = calloc(w->n, sizeof(*queue)), n = 1;
	if (!queue)
		tap_bail("out of memory");
	for (unsigned i = 0; i < w->n; i++)
		w->member[i].hops = UINT32_MAX;
	w->member[from].hops = 0;
	queue[0] = from;
	for (unsigned at = 0; at < n; at++) {
		const struct member *m = &w->member[queue[at]];
		*ret_far = m->hops;
		for (unsigned i = 0; i < m->n_edges; i++) {
			const struct cable *e = &w->edge[m->edge[i]];
			unsigned to = e->device[e->device[0] == queue[at]];
			if (e->dead || w->member[to].down || w->member[to].hops != UINT32_MAX)
				continue;
			w->member[to].hops = m->hops + 1;
			queue[n++] = to;
		}
	}
	free(queue);
	return n;
}

/* ---- links ---- */

static void arm(struct net *w, unsigned i, unsigned k)
{
	struct end *end = &w->edge[i].end[k];
	uint64_t at = end->session ? session_deadline(end->session) : UINT64_MAX;
	if (at == UINT64_MAX || (end->timer && end->timer <= at))
		return;
	end->timer = at > w->now ? at : w->now;
	push(w, end->timer, EVENT_TIMER, i, k);
}

static void count(struct net *w, const struct buf *b)
{
	size_t at = 0, head, len;
	enum frame_type t;
	bool any = false;
	while (at < b->len && frame_head(b->data + at, b->len - at, &t, &head, &len, NULL) == 1) {
		if (t != FRAME_PING && t != FRAME_PONG) {
			w->count.bytes += head + len;
			w->count.frames[t]++;
			w->count.by_type[t] += head + len;
			w->count.deltas += t == FRAME_DELTA;
			any = true;
		}
		at += head + len;
	}
	w->count.packets += any;
}

static void say(struct net *w, unsigned i, unsigned k)
{
	struct cable *e = &w->edge[i];
	struct end *to = &e->end[!k];
	struct err why = { 0 };
	if (!e->end[k].session)
		return;
	for (int r = 1; r > 0;) {
		struct segment *s = calloc(1, sizeof(*s));
		if (!s)
			tap_bail("out of memory");
		r = session_output(e->end[k].session, &s->data, 65536, w->now, &why);
		if (r < 0 && !(e->dead && r == -ETIMEDOUT))
			tap_bail("device %u: %s", e->device[k], why.message);
		if (s->data.len == 0 || e->dead) {
			buf_done(&s->data);
			free(s);
			break;
		}
		count(w, &s->data);
		s->due = w->now + HOP_US;
		if (to->last)
			to->last->next = s;
		else
			to->first = s;
		to->last = s;
		push(w, s->due, EVENT_ARRIVAL, i, !k);
	}
	arm(w, i, k);
}

static void say_all(struct net *w, unsigned device, bool news)
{
	const struct member *m = &w->member[device];
	for (unsigned i = 0; i < m->n_edges; i++) {
		struct cable *e = &w->edge[m->edge[i]];
		unsigned k = e->device[1] == device;
		if (e->end[k].session && news)
			session_news(e->end[k].session);
		say(w, m->edge[i], k);
	}
}

static void commit_soon(struct net *w, unsigned device)
{
	struct member *m = &w->member[device];
	if (m->flush || !replica_dirty(m->node.replica))
		return;
	m->flush = w->now + COMMIT_US;
	push(w, m->flush, EVENT_FLUSH, device, 0);
}

static void segments_free(struct end *end)
{
	while (end->first) {
		struct segment *s = end->first;
		end->first = s->next;
		buf_done(&s->data);
		free(s);
	}
	end->last = NULL;
}

static void end_close(struct net *w, unsigned i, unsigned k)
{
	struct end *end = &w->edge[i].end[k];
	if (!end->session)
		return;
	session_free(end->session);
	end->session = NULL;
	segments_free(end);
	say_all(w, w->edge[i].device[k], false);
}

static void edge_up(struct net *w, unsigned i)
{
	struct cable *e = &w->edge[i];
	for (unsigned k = 0; k < 2; k++) {
		struct member *m = &w->member[e->device[k]], *other = &w->member[e->device[!k]];
		if (session_new(m->node.replica, &other->node.id, w->now, &e->end[k].session) < 0)
			tap_bail("no session");
		if (!w->plain)
			session_spread_for(e->end[k].session, m->spread);
		session_unpacked(e->end[k].session);
	}
	say(w, i, 0);
	say(w, i, 1);
}

/* ---- what happens ---- */

static const char *file_of(unsigned origin)
{
	static const char *const name[ORIGINS] = { "0.json", "1.json", "2.json", "3.json", "4.json" };
	return name[origin];
}

static void look(struct net *w, unsigned device)
{
	struct member *m = &w->member[device];
	if (!w->watching || m->reached)
		return;
	for (unsigned i = 0; i < w->watching; i++) {
		_cleanup_free_ char *text = node_read(&m->node, "c", file_of(i));
		if (!text || !strstr(text, w->text[i]))
			return;
	}
	m->reached = w->now;
}

static void arrival(struct net *w, unsigned i, unsigned k)
{
	struct cable *e = &w->edge[i];
	struct end *end = &e->end[k];
	struct err why = { 0 };
	while (end->session && end->first && end->first->due <= w->now) {
		struct segment *s = end->first;
		end->first = s->next;
		if (!end->first)
			end->last = NULL;
		if (!e->dead && session_input(end->session, s->data.data, s->data.len, w->now, &why) < 0)
			tap_bail("device %u: %s", e->device[k], why.message);
		buf_done(&s->data);
		free(s);
	}
	say(w, i, k);
	commit_soon(w, e->device[k]);
}

static void handle(struct net *w, const struct event *v)
{
	struct end *end = v->kind == EVENT_FLUSH ? NULL : &w->edge[v->what].end[v->end];
	switch (v->kind) {
	case EVENT_ARRIVAL:
		arrival(w, v->what, v->end);
		return;
	case EVENT_TIMER:
		if (end->timer != v->at)
			return;
		end->timer = 0;
		say(w, v->what, v->end);
		return;
	case EVENT_NOTICE:
		end_close(w, v->what, v->end);
		return;
	case EVENT_FLUSH:
		w->member[v->what].flush = 0;
		if (w->member[v->what].down)
			return;
		node_flush(&w->member[v->what].node, NULL);
		look(w, v->what);
		say_all(w, v->what, true);
		return;
	}
}

static void run(struct net *w, uint64_t us)
{
	uint64_t until = w->now + us;
	while (w->n_heap > 0 && w->heap[0].at <= until) {
		struct event e = pop(w);
		w->now = e.at > w->now ? e.at : w->now;
		handle(w, &e);
	}
	w->now = until;
}

/* ---- measuring ---- */

struct result {
	uint64_t bytes, wire, twice, last_us;
	unsigned reached, of, far;
	struct counts count;
};

static unsigned device_of(const struct net *w, unsigned origin)
{
	return origin * (w->n / ORIGINS);
}

static void change(struct net *w, unsigned origin)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct member *m = &w->member[device_of(w, origin)];
	for (unsigned i = 0; i < CHANGE; i++)
		w->text[origin][i] = (char)('a' + prng_below(&w->r, 26));
	buf_putf(&b, "{\n  \"title\": \"a note\",\n  \"text\": \"%s\"\n}\n", w->text[origin]);
	node_write(&m->node, "c", file_of(origin), b.data, b.len);
	commit_soon(w, device_of(w, origin));
}

/* A change of each of the first n origins at once, and all that is said because of them. */
static struct result measure(struct net *w, unsigned n, uint64_t us)
{
	struct result r = { 0 };
	uint64_t start = w->now;
	for (unsigned i = 0; i < w->n; i++)
		w->member[i].reached = 0;
	w->count = (struct counts){ 0 };
	w->watching = n;
	for (unsigned i = 0; i < n; i++)
		change(w, i);
	run(w, us);
	w->watching = 0;
	r.of = walk(w, 0, &r.far);
	for (unsigned i = 0; i < w->n; i++) {
		const struct member *m = &w->member[i];
		if (!m->reached || m->hops == UINT32_MAX)
			continue;
		r.reached++;
		r.last_us = m->reached - start > r.last_us ? m->reached - start : r.last_us;
	}
	r.count = w->count;
	r.bytes = w->count.bytes;
	r.wire = r.bytes + w->count.packets * (RECORD_COST + PACKET_COST + ACK_COST);
	const uint64_t once = (uint64_t)n * (r.of - 1);
	r.twice = w->count.deltas > once ? w->count.deltas - once : 0;
	return r;
}

static struct net *net_new(unsigned n, unsigned degree, uint64_t seed, bool plain)
{
	struct net *w = calloc(1, sizeof(*w));
	unsigned far;
	if (!w)
		tap_bail("out of memory");
	*w = (struct net){ .r = { seed }, .plain = plain, .n = n, .degree = degree, .now = 1000000 };
	w->member = calloc(n, sizeof(*w->member));
	w->edge = calloc((size_t)n * degree / 2 + 1, sizeof(*w->edge));
	if (!w->member || !w->edge)
		tap_bail("out of memory");
	do {
		for (unsigned i = 0; i < n; i++)
			w->member[i].n_edges = 0;
		make_edges(w);
	} while (walk(w, 0, &far) < n);
	for (unsigned i = 0; i < n; i++) {
		struct id id;
		prng_fill(&w->r, &id, sizeof(id));
		node_open_as(&w->member[i].node, &id);
		if (spread_new(&w->member[i].spread) < 0)
			tap_bail("out of memory");
	}
	change(w, 0);
	node_flush(&w->member[0].node, NULL);
	for (unsigned i = 0; i < w->n_edges; i++)
		edge_up(w, i);
	run(w, QUIET_US);
	return w;
}

static void net_free(struct net *w)
{
	for (unsigned i = 0; i < w->n_edges; i++)
		for (int k = 0; k < 2; k++) {
			session_free(w->edge[i].end[k].session);
			segments_free(&w->edge[i].end[k]);
		}
	for (unsigned i = 0; i < w->n; i++) {
		node_close(&w->member[i].node);
		spread_free(w->member[i].spread);
	}
	free(w->member);
	free(w->edge);
	free(w->heap);
	free(w);
}

static void warm_up(struct net *w)
{
	for (unsigned k = 0; k < WARM; k++)
		for (unsigned i = 0; i < ORIGINS; i++) {
			change(w, i);
			run(w, QUIET_US);
		}
}

/* Some links die, and nobody notices at first; those who are left are still joined. */
static void cut_links(struct net *w, unsigned percent)
{
	unsigned left = w->n_edges * percent / 100, far;
	for (unsigned tries = 0; left > 0 && tries < 100 * w->n_edges; tries++) {
		unsigned i = (unsigned)prng_below(&w->r, w->n_edges);
		struct cable *e = &w->edge[i];
		if (e->dead)
			continue;
		e->dead = true;
		if (walk(w, 0, &far) < w->n) {
			e->dead = false;
			continue;
		}
		left--;
		for (unsigned k = 0; k < 2; k++)
			push(w, w->now + NOTICE_US, EVENT_NOTICE, i, k);
	}
}

static void cut_devices(struct net *w, unsigned percent)
{
	unsigned left = w->n * percent / 100, up = w->n, far;
	for (unsigned tries = 0; left > 0 && tries < 100 * w->n; tries++) {
		unsigned d = (unsigned)prng_below(&w->r, w->n);
		struct member *m = &w->member[d];
		bool origin = false;
		for (unsigned i = 0; i < ORIGINS; i++)
			origin |= device_of(w, i) == d;
		if (m->down || origin)
			continue;
		m->down = true;
		if (walk(w, 0, &far) < up - 1) {
			m->down = false;
			continue;
		}
		left--;
		up--;
		for (unsigned i = 0; i < m->n_edges; i++) {
			struct cable *e = &w->edge[m->edge[i]];
			if (e->dead)
				continue;
			e->dead = true;
			for (unsigned k = 0; k < 2; k++)
				push(w, w->now + NOTICE_US, EVENT_NOTICE, m->edge[i], k);
		}
	}
}

static void tell(const char *what, const struct result *r)
{
	printf("%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%u\t%u of %u\n", what, r->bytes,
	       r->wire, r->twice, r->last_us / 1000, r->far, r->reached, r->of);
	for (unsigned t = 0; t < FRAME_TYPES; t++)
		if (r->count.frames[t] > 0)
			printf("#   %s: %" PRIu64 " frames, %" PRIu64 " bytes\n",
			       frame_name((enum frame_type)t), r->count.frames[t], r->count.by_type[t]);
}

/* What is measured, in this order. Lost: 10 of 100, while nobody notices; and when everybody has. */
enum { ONE, TOGETHER, LINKS_LOST, LINKS_FIRST, LINKS_AFTER, DEVICES_LOST, DEVICES_FIRST, DEVICES_AFTER, RESULTS };

static void measure_all(unsigned n, unsigned degree, uint64_t seed, bool plain, struct result *ret)
{
	struct net *w = net_new(n, degree, seed, plain);
	warm_up(w);
	ret[ONE] = measure(w, 1, QUIET_US);
	ret[TOGETHER] = measure(w, ORIGINS, QUIET_US);
	cut_links(w, 10);
	ret[LINKS_LOST] = measure(w, 1, 2 * QUIET_US);
	run(w, 60000000);
	ret[LINKS_FIRST] = measure(w, 1, QUIET_US);
	ret[LINKS_AFTER] = measure(w, 1, QUIET_US);
	cut_devices(w, 10);
	ret[DEVICES_LOST] = measure(w, 1, 2 * QUIET_US);
	run(w, 60000000);
	ret[DEVICES_FIRST] = measure(w, 1, QUIET_US);
	ret[DEVICES_AFTER] = measure(w, 1, QUIET_US);
	net_free(w);
}

static void tell_all(unsigned n, unsigned degree, uint64_t seed, bool plain)
{
	static const char *const what[RESULTS] = { "one change", "5 at once", "links lost", "noticed", "after that",
						   "devices lost", "noticed", "after that" };
	struct result r[RESULTS];
	measure_all(n, degree, seed, plain, r);
	printf("%u devices\tbytes\ton Ethernet\ttwice\tlast after ms\thops\treached\n", n);
	for (unsigned i = 0; i < RESULTS; i++)
		tell(what[i], &r[i]);
}

static int table(uint64_t seed)
{
	static const unsigned size[] = { 10, 50, 200, 1000 };
	printf("devices\tall at once: kB\ttwice\tEthernet, kB\tkB\ttwice\tEthernet, kB\thops\tms\t"
	       "links lost: s\tdevices lost: s\n");
	for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		struct result old[RESULTS], r[RESULTS];
		measure_all(size[i], 5, seed, true, old);
		measure_all(size[i], 5, seed, false, r);
		printf("%u\t%.1f\t%" PRIu64 "\t%.0f\t%.1f\t%" PRIu64 "\t%.0f\t%u\t%" PRIu64 "\t%.1f\t%.1f\n",
		       size[i], (double)old[ONE].bytes / 1000, old[ONE].twice, (double)old[ONE].wire / 1000,
		       (double)r[ONE].bytes / 1000, r[ONE].twice, (double)r[ONE].wire / 1000, r[ONE].far, r[ONE].last_us / 1000,
		       (double)r[LINKS_LOST].last_us / 1e6, (double)r[DEVICES_LOST].last_us / 1e6);
	}
	return 0;
}

/* ---- what make check runs ---- */

#define CHECK_DEVICES 50
#define CHECK_BYTES 20000
#define CHECK_REPAIR_US 5000000

static bool all_reached(const struct result *r)
{
	bool all = true;
	for (unsigned i = 0; i < RESULTS; i++) {
		all &= r[i].reached == r[i].of && r[i].of >= CHECK_DEVICES * 9 / 10;
		if (r[i].reached != r[i].of)
			tap_diag("measurement %u: %u of %u", i, r[i].reached, r[i].of);
	}
	return all;
}

/* Each hop takes its time and the commit, and so does no other. */
static bool is_short(const struct result *r, unsigned hops)
{
	return r->last_us <= COMMIT_US + hops * (uint64_t)(HOP_US + COMMIT_US);
}

static int check(uint64_t from, uint64_t seeds)
{
	tap_plan(9 * (unsigned)seeds);
	for (uint64_t seed = from; seed < from + seeds; seed++) {
		struct result old[RESULTS], r[RESULTS];
		measure_all(CHECK_DEVICES, 5, seed, true, old);
		measure_all(CHECK_DEVICES, 5, seed, false, r);
		tap_diag("seed %" PRIu64, seed);
		ok(all_reached(r) && all_reached(old), "all changes reach all devices");
		ok(r[ONE].bytes <= CHECK_BYTES && r[LINKS_AFTER].bytes <= CHECK_BYTES &&
			   r[DEVICES_AFTER].bytes <= CHECK_BYTES,
		   "a change of %d bytes costs %" PRIu64 ", later %" PRIu64 " and %" PRIu64 " (at most %d)", CHANGE,
		   r[ONE].bytes, r[LINKS_AFTER].bytes, r[DEVICES_AFTER].bytes, CHECK_BYTES);
		ok(old[ONE].bytes > 2 * CHECK_BYTES, "without wishes %" PRIu64, old[ONE].bytes);
		ok(r[ONE].twice == 0 && old[ONE].twice > CHECK_DEVICES, "%" PRIu64 " copies too many, without wishes %"
		   PRIu64, r[ONE].twice, old[ONE].twice);
		ok(is_short(&r[ONE], r[ONE].far) && r[ONE].far <= 4,
		   "it takes the shortest way: %u hops, %" PRIu64 " ms", r[ONE].far, r[ONE].last_us / 1000);
		ok(r[TOGETHER].bytes <= ORIGINS * CHECK_BYTES, "%d at once cost %" PRIu64 " each, %" PRIu64
		   " copies too many, without wishes %" PRIu64, ORIGINS, r[TOGETHER].bytes / ORIGINS,
		   r[TOGETHER].twice, old[TOGETHER].twice);
		ok(is_short(&r[TOGETHER], 6), "and take %" PRIu64 " ms", r[TOGETHER].last_us / 1000);
		ok(r[LINKS_LOST].last_us <= CHECK_REPAIR_US && r[DEVICES_LOST].last_us <= CHECK_REPAIR_US,
		   "of links and devices one in 10 lost, and not noticed: %" PRIu64 " and %" PRIu64 " ms",
		   r[LINKS_LOST].last_us / 1000, r[DEVICES_LOST].last_us / 1000);
		ok(is_short(&r[LINKS_FIRST], r[LINKS_FIRST].far + 2) &&
			   is_short(&r[DEVICES_FIRST], r[DEVICES_FIRST].far + 2),
		   "noticed: %" PRIu64 " and %" PRIu64 " ms, %" PRIu64 " and %" PRIu64 " bytes",
		   r[LINKS_FIRST].last_us / 1000, r[DEVICES_FIRST].last_us / 1000, r[LINKS_FIRST].bytes,
		   r[DEVICES_FIRST].bytes);
	}
	return tap_done();
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	if (end == text || *end || v < least || v > most) {
		fprintf(stderr, "spread: not a number from %" PRIu64 " to %" PRIu64 ": %s\n", least, most, text);
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "table", no_argument, NULL, 't' },
						 { "devices", required_argument, NULL, 'n' },
						 { "degree", required_argument, NULL, 'd' },
						 { "seed", required_argument, NULL, 's' },
						 { "plain", no_argument, NULL, 'p' },
						 { NULL, 0, NULL, 0 } };
	unsigned n = 0, degree = 5;
	uint64_t seed = 1;
	bool plain = false, all = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 't')
			all = true;
		else if (c == 'n')
			n = (unsigned)number(optarg, ORIGINS, DEVICES_MAX);
		else if (c == 'd')
			degree = (unsigned)number(optarg, 2, DEGREE_MAX);
		else if (c == 's')
			seed = number(optarg, 0, UINT64_MAX);
		else if (c == 'p')
			plain = true;
		else
			return 2;
	}
	if (all)
		return table(seed);
	if (n == 0)
		return check(seed, tap_rounds(1, argv + optind - 1, 3));
	if (n <= degree || n * degree % 2) {
		fprintf(stderr, "spread: there is no such graph\n");
		return 2;
	}
	tell_all(n, degree, seed, plain);
	return 0;
}
