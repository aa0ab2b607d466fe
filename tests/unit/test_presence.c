/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is connected to whom: what is said, what is believed, and what it may cost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/presence.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define SECOND UINT64_C(1000000)
#define NODES 12

static struct id id_of(unsigned no)
{
	struct id id = { { 0 } };
	id.b[0] = (uint8_t)(no >> 8);
	id.b[1] = (uint8_t)no;
	id.b[15] = 1;
	return id;
}

static struct statement_link link_to(unsigned no)
{
	struct statement_link l = { .peer = id_of(no), .transport = "tcp", .rtt_us = 100, .since_s = 1000 };
	snprintf(l.name, sizeof(l.name), "n%u", no);
	return l;
}

/* Says that device no has links to those devices, which ascend. */
static struct statement *say(unsigned no, uint32_t number, uint32_t more, const unsigned *to, uint32_t n)
{
	struct statement_link l[STATEMENT_LINKS_MAX];
	char name[16];
	const struct id id = id_of(no);
	for (uint32_t i = 0; i < n; i++)
		l[i] = link_to(to[i]);
	snprintf(name, sizeof(name), "n%u", no);
	struct statement *s = statement_new(&id, number, name, more, l, n);
	if (!s)
		tap_bail("out of memory");
	return s;
}

/* ---- the encoding ---- */

static void random_text(struct prng *r, char *text, size_t max)
{
	static const char *const piece[] = { "a", "é", "x-1", "字", "z" };
	size_t n = 0;
	for (uint64_t k = 1 + prng_below(r, 20); k > 0; k--) {
		const char *p = piece[prng_below(r, 5)];
		if (n + strlen(p) > max)
			break;
		memcpy(text + n, p, strlen(p) + 1);
		n += strlen(p);
	}
}

static struct statement *random_statement(struct prng *r)
{
	struct statement_link l[STATEMENT_LINKS_MAX] = { 0 };
	const uint32_t n = (uint32_t)prng_below(r, STATEMENT_LINKS_MAX + 1);
	const struct id author = id_of((unsigned)prng_below(r, 3000) * 2 + 1);
	char name[STATEMENT_NAME_MAX + 1];
	random_text(r, name, STATEMENT_NAME_MAX);
	for (uint32_t i = 0; i < n; i++) {
		l[i].peer = id_of(i * 90);
		random_text(r, l[i].name, STATEMENT_NAME_MAX);
		snprintf(l[i].transport, sizeof(l[i].transport), "%s", i % 2 ? "wifi-direct" : "tcp");
		l[i].rtt_us = (uint32_t)(prng_u64(r) >> (32 + prng_below(r, 32)));
		l[i].since_s = prng_below(r, STATEMENT_SINCE_MAX + 1);
	}
	struct statement *s = statement_new(&author, (uint32_t)prng_u64(r), name,
					    (uint32_t)prng_below(r, STATEMENT_MORE_MAX + 1), l, n);
	if (!s)
		tap_bail("out of memory");
	return s;
}

static void test_codec(uint64_t seed)
{
	struct prng r = { seed };
	uint64_t bad = 0, taken = 0;
	for (unsigned i = 0; i < 3000; i++) {
		_cleanup_free_ struct statement *s = random_statement(&r), *back = NULL, *other = NULL;
		_cleanup_(buf_done) struct buf b = { 0 }, again = { 0 };
		statement_encode(s, &b);
		bad += b.len > STATEMENT_SIZE_MAX;
		struct cursor c = cursor_make(b.data, b.len);
		if (statement_decode(&c, &back) < 0 || !cursor_end(&c)) {
			bad++;
			continue;
		}
		statement_encode(back, &again);
		bad += b.len != again.len || memcmp(b.data, again.data, b.len) != 0;
		c = cursor_make(b.data, prng_below(&r, b.len));
		bad += statement_decode(&c, &other) != -EPROTO;
		/* What is changed and taken all the same is the one encoding of what it says. */
		b.data[prng_below(&r, b.len)] ^= (uint8_t)(1 << prng_below(&r, 8));
		c = cursor_make(b.data, b.len);
		if (statement_decode(&c, &other) == 0) {
			const size_t used = b.len - cursor_left(&c);
			buf_reset(&again);
			statement_encode(other, &again);
			bad += again.len != used || memcmp(b.data, again.data, used) != 0;
			taken++;
		}
	}
	is_uint(bad, 0, "statements come back, and have one encoding (seed %llu, %llu changed ones taken)",
		(unsigned long long)seed, (unsigned long long)taken);
}

#define ID16 "AAAAAAAAAAAAAAAA"
#define LINK16 "BBBBBBBBBBBBBBBB"
#define A(text) text, sizeof(text) - 1

static const struct {
	const char *what;
	const char *data;
	size_t len;
} malformed[] = {
	{ "nothing", A("") },
	{ "no name", A(ID16 "1234\0\0\0") },
	{ "a name that ends early", A(ID16 "1234\5ann") },
	{ "a name with a newline", A(ID16 "1234\3a\nb\0\0") },
	{ "a name with an escape sequence", A(ID16 "1234\4\033[2J\0\0") },
	{ "a name that turns text round", A(ID16 "1234\4a\xe2\x80\xae\0\0") },
	{ "a name that is no UTF-8", A(ID16 "1234\2\xc3(\0\0") },
	{ "a name that ends with a space", A(ID16 "1234\2a \0\0") },
	{ "too many links that are not told", A(ID16 "1234\1a\x81\x80\x40\0") },
	{ "more than 64 links", A(ID16 "1234\1a\0\x41") },
	{ "fewer links than it says", A(ID16 "1234\1a\0\1") },
	{ "a link to itself", A(ID16 "1234\1a\0\1" ID16 "\1b\3tcp\0\0") },
	{ "a link twice", A(ID16 "1234\1a\0\2" LINK16 "\1b\3tcp\0\0" LINK16 "\1b\3tcp\0\0") },
	{ "a transport in capitals", A(ID16 "1234\1a\0\1" LINK16 "\1b\3TCP\0\0") },
	{ "no transport", A(ID16 "1234\1a\0\1" LINK16 "\1b\0\0\0") },
	{ "a long transport", A(ID16 "1234\1a\0\1" LINK16 "\1b\x10" "aaaaaaaaaaaaaaaa\0\0") },
	{ "a round trip without end", A(ID16 "1234\1a\0\1" LINK16 "\1b\3tcp\x80\x80\x80\x80\x10\0") },
	{ "a link of the far future", A(ID16 "1234\1a\0\1" LINK16 "\1b\3tcp\0\x81\x80\x80\x80\x80\x40") },
	{ "something behind it", A(ID16 "1234\1a\0\0x") },
};

static void test_malformed(void)
{
	const struct id self = id_of(1), peer = id_of(2);
	struct presence *p;
	struct presence_side *side;
	if (presence_new(&self, "n1", &p) < 0 || presence_join(p, &peer, 0, &side) < 0)
		tap_bail("out of memory");
	for (unsigned i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct cursor c = cursor_make(malformed[i].data, malformed[i].len), d = c;
		struct err e = { 0 };
		bool same = presence_check(&d, NULL) == -EPROTO;
		is_errno(same ? presence_get(side, &c, SECOND, &e) : 0, -EPROTO, "refused: %s (%s)",
			 malformed[i].what, e.message);
	}
	presence_leave(side);
	presence_free(p);
}

/* ---- the graph ---- */

static struct graph_told told_of(struct statement *s, unsigned teller)
{
	return (struct graph_told){ .statement = s, .teller = id_of(teller) };
}

static const struct graph_device *device(const struct graph *g, unsigned no)
{
	const struct id id = id_of(no);
	for (uint32_t i = 0; i < g->n_devices; i++)
		if (id_equal(&g->device[i].id, &id))
			return &g->device[i];
	return NULL;
}

static const struct graph_link *between(const struct graph *g, unsigned a, unsigned b)
{
	const struct graph_device *x = device(g, a), *y = device(g, b);
	for (uint32_t i = 0; x && y && i < g->n_links; i++) {
		const struct graph_device *p = &g->device[g->link[i].a], *q = &g->device[g->link[i].b];
		if ((p == x && q == y) || (p == y && q == x))
			return &g->link[i];
	}
	return NULL;
}

static void test_graph(void)
{
	const struct id self = id_of(1);
	const struct statement_link own[] = { link_to(2), link_to(3) };
	/* 1-2, 1-3, 2-3, 2-4, 4-5; 4 says it has 6, which says nothing; 7 and 8 are somewhere else. */
	struct statement *s[] = {
		say(2, 1, 0, (unsigned[]){ 1, 3, 4 }, 3), say(3, 1, 0, (unsigned[]){ 1, 2 }, 2),
		say(4, 1, 0, (unsigned[]){ 2, 5, 6 }, 3), say(5, 1, 0, (unsigned[]){ 1, 4 }, 2),
		say(7, 1, 0, (unsigned[]){ 8 }, 1), say(8, 1, 0, (unsigned[]){ 7 }, 1),
	};
	struct graph_told t[] = { told_of(s[0], 2), told_of(s[1], 3), told_of(s[2], 2),
				  told_of(s[3], 2), told_of(s[4], 2), told_of(s[5], 2) };
	struct graph *g;
	if (graph_new(&self, "n1", own, 2, t, 6, &g) < 0)
		tap_bail("out of memory");
	ok(g->n_devices == 6 && device(g, 1) == g->device && device(g, 1)->source == GRAPH_OWN,
	   "a graph has who is reachable, and begins with this device");
	ok(device(g, 2)->hops == 1 && device(g, 2)->source == GRAPH_FIRST_HAND &&
	   device(g, 5)->hops == 3 && device(g, 5)->source == GRAPH_HEARSAY &&
	   &g->device[device(g, 5)->parent] == device(g, 4), "and tells how far each is, through whom");
	ok(device(g, 6)->source == GRAPH_NAMED && strcmp(device(g, 6)->name, "n6") == 0 &&
	   !between(g, 4, 6)->both, "also who is only named");
	ok(!device(g, 7) && !device(g, 8) && !t[4].counts && !t[5].counts && t[3].counts,
	   "but not who is not connected to this device");
	ok(g->n_links == 6 && between(g, 1, 2)->source == GRAPH_OWN && between(g, 1, 2)->both &&
	   between(g, 2, 3)->source == GRAPH_FIRST_HAND && between(g, 4, 5)->source == GRAPH_HEARSAY &&
	   between(g, 4, 5)->both, "each link is there once, with who says so");
	ok(!between(g, 1, 5), "and none of this device that it does not have");
	graph_free(g);

	/* 2 notices that 4 is gone. 5 says that it has a link to this device, and 3 to 5. */
	free(s[0]);
	free(s[3]);
	free(s[1]);
	t[0].statement = s[0] = say(2, 2, 0, (unsigned[]){ 1, 3 }, 2);
	t[1].statement = s[1] = say(3, 2, 0, (unsigned[]){ 1, 2, 5 }, 3);
	t[3].statement = s[3] = say(5, 2, 0, (unsigned[]){ 1, 4 }, 2);
	if (graph_new(&self, "n1", own, 2, t, 6, &g) < 0)
		tap_bail("out of memory");
	ok(!device(g, 4) && !t[2].counts, "who goes silent is gone as soon as its neighbours say so");
	ok(device(g, 5)->source == GRAPH_NAMED && !t[3].counts,
	   "a link that only one end states leads nowhere");
	graph_free(g);

	for (unsigned i = 0; i < 6; i++)
		free(s[i]);
	if (graph_new(&self, "n1", NULL, 0, NULL, 0, &g) < 0)
		tap_bail("out of memory");
	ok(g->n_devices == 1 && g->n_links == 0, "a device alone is a graph");
	graph_free(g);
}

/* ---- several devices ---- */

struct world {
	struct presence *p[NODES];
	struct presence_side *side[NODES][NODES];
	uint64_t now, wall[NODES]; /* what is added to now */
	uint64_t frames[NODES][NODES], bytes, most;
	bool failed;
};

static void begin(struct world *w, unsigned i)
{
	const struct id id = id_of(i);
	char name[16];
	snprintf(name, sizeof(name), "n%u", i);
	if (presence_new(&id, name, &w->p[i]) < 0)
		tap_bail("out of memory");
}

static void note(struct world *w, unsigned i)
{
	struct statement_link l[NODES];
	uint32_t n = 0;
	for (unsigned k = 0; k < NODES; k++)
		if (w->side[i][k])
			l[n++] = link_to(k);
	if (presence_own(w->p[i], l, n, w->now, w->now + w->wall[i]) < 0)
		tap_bail("out of memory");
}

static void meet(struct world *w, unsigned i, unsigned k)
{
	const struct id a = id_of(i), b = id_of(k);
	if (presence_join(w->p[i], &b, w->now, &w->side[i][k]) < 0 ||
	    presence_join(w->p[k], &a, w->now, &w->side[k][i]) < 0)
		tap_bail("out of memory");
	note(w, i);
	note(w, k);
}

static void part(struct world *w, unsigned i, unsigned k)
{
	presence_leave(TAKE_PTR(w->side[i][k]));
	presence_leave(TAKE_PTR(w->side[k][i]));
	note(w, i);
	note(w, k);
}

/* Device i dies, and begins anew with a clock that is so much behind. */
static void restart(struct world *w, unsigned i, uint64_t behind)
{
	for (unsigned k = 0; k < NODES; k++) {
		presence_leave(TAKE_PTR(w->side[i][k]));
		presence_leave(TAKE_PTR(w->side[k][i]));
	}
	presence_free(w->p[i]);
	begin(w, i);
	w->wall[i] -= behind;
	for (unsigned k = 0; k < NODES; k++)
		note(w, k);
}

static void deliver(struct world *w, unsigned to, unsigned from, const struct buf *b)
{
	struct cursor c = cursor_make(b->data, b->len);
	struct err e = { 0 };
	if (presence_get(w->side[to][from], &c, w->now, &e) < 0) {
		tap_diag("n%u from n%u: %s", to, from, e.message);
		w->failed = true;
	}
}

/* So long; whoever has something to say says it when it is time. */
static void run(struct world *w, uint64_t us)
{
	const uint64_t end = w->now + us;
	while (w->now < end) {
		uint64_t next = end;
		for (unsigned i = 0; i < NODES; i++)
			for (unsigned k = 0; k < NODES; k++) {
				_cleanup_(buf_done) struct buf b = { 0 };
				if (!w->side[i][k])
					continue;
				if (presence_put(w->side[i][k], w->now, &b) < 0)
					tap_bail("out of memory");
				if (b.len > 0) {
					w->frames[i][k]++;
					w->bytes += b.len;
					w->most = b.len > w->most ? b.len : w->most;
					deliver(w, k, i, &b);
				}
			}
		for (unsigned i = 0; i < NODES; i++)
			for (unsigned k = 0; k < NODES; k++)
				if (w->side[i][k] && presence_deadline(w->side[i][k]) < next)
					next = presence_deadline(w->side[i][k]);
		w->now = next > w->now ? next : w->now + 1;
	}
}

static uint64_t all_frames(const struct world *w)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < NODES; k++)
			n += w->frames[i][k];
	return n;
}

/* Devices and links that n's graph has; all said by both ends, if asked for. */
static bool sees(struct world *w, unsigned n, uint32_t devices, uint32_t links)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	bool both = true;
	if (presence_graph(w->p[n], w->now, &g) < 0)
		tap_bail("out of memory");
	for (uint32_t i = 0; i < g->n_links; i++)
		both &= g->link[i].both;
	if (g->n_devices != devices || g->n_links != links || !both)
		tap_diag("n%u: %u devices, %u links%s, wanted %u and %u", n, g->n_devices, g->n_links,
			 both ? "" : " not all of both ends", devices, links);
	return g->n_devices == devices && g->n_links == links && both;
}

static void open_world(struct world *w)
{
	*w = (struct world){ .now = 5 * SECOND };
	for (unsigned i = 0; i < NODES; i++) {
		begin(w, i);
		w->wall[i] = UINT64_C(1700000000) * SECOND;
	}
}

static void close_world(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < NODES; k++)
			presence_leave(w->side[i][k]);
	for (unsigned i = 0; i < NODES; i++)
		presence_free(w->p[i]);
	ok(!w->failed, "nobody said what another refused");
}

static void test_chain(void)
{
	struct world w;
	bool all = true;
	open_world(&w);
	for (unsigned i = 0; i + 1 < NODES; i++)
		meet(&w, i, i + 1);
	run(&w, 30 * SECOND);
	for (unsigned i = 0; i < NODES; i++)
		all &= sees(&w, i, NODES, NODES - 1);
	ok(all, "in a chain of %d all know all after half a minute, for %llu bytes", NODES,
	   (unsigned long long)w.bytes);
	uint64_t before = all_frames(&w);
	run(&w, 86400 * SECOND);
	is_uint(all_frames(&w) - before, 0, "and say nothing for a day");

	part(&w, 5, 6);
	run(&w, 30 * SECOND);
	all = true;
	for (unsigned i = 0; i < NODES; i++)
		all &= sees(&w, i, NODES / 2, NODES / 2 - 1);
	ok(all, "cut in two, each half knows itself only");
	run(&w, 100 * SECOND);
	part(&w, 0, 1);
	run(&w, 30 * SECOND);
	meet(&w, 5, 6);
	run(&w, 30 * SECOND);
	all = sees(&w, 0, 1, 0);
	for (unsigned i = 1; i < NODES; i++)
		all &= sees(&w, i, NODES - 1, NODES - 2);
	ok(all, "together again they know what changed meanwhile");
	meet(&w, 0, 1);
	meet(&w, 0, NODES - 1);
	run(&w, 30 * SECOND);
	all = true;
	for (unsigned i = 0; i < NODES; i++)
		all &= sees(&w, i, NODES, NODES);
	ok(all, "a ring is one");
	close_world(&w);
}

static void test_clocks(void)
{
	static const uint64_t behind[] = { 0, 3600, 40 * 86400, 20 * 365 * 86400ull };
	for (unsigned k = 0; k < sizeof(behind) / sizeof(behind[0]); k++) {
		struct world w;
		bool all = true;
		open_world(&w);
		for (unsigned i = 0; i + 1 < 6; i++)
			meet(&w, i, i + 1);
		run(&w, 30 * SECOND);
		/* It comes back at once, with one more link: who is far away has its former statement. */
		restart(&w, 5, behind[k] * SECOND);
		meet(&w, 4, 5);
		meet(&w, 5, 6);
		run(&w, 60 * SECOND);
		for (unsigned i = 0; i <= 6; i++)
			all &= sees(&w, i, 7, 6);
		ok(all, "a device that begins anew %llu seconds earlier is heard", (unsigned long long)behind[k]);
		/* The same where its new neighbour knows nothing of it, and others do. */
		restart(&w, 5, 1000 * SECOND);
		meet(&w, 5, 7);
		run(&w, 5 * SECOND);
		meet(&w, 7, 0);
		run(&w, 60 * SECOND);
		all = sees(&w, 6, 1, 0);
		for (unsigned i = 0; i < 5; i++)
			all &= sees(&w, i, 7, 6);
		ok(all, "by those that it comes back to on another way, too");
		close_world(&w);
	}
}

static void test_random(uint64_t seed)
{
	struct prng r = { seed };
	struct world w;
	bool linked[NODES][NODES] = { { false } };
	unsigned wrong = 0;
	open_world(&w);
	for (unsigned turn = 0; turn < 60; turn++) {
		for (uint64_t n = 1 + prng_below(&r, 4); n > 0; n--) {
			unsigned i = (unsigned)prng_below(&r, NODES), k = (unsigned)prng_below(&r, NODES);
			if (i == k)
				continue;
			if (linked[i][k])
				part(&w, i, k);
			else
				meet(&w, i, k);
			linked[i][k] = linked[k][i] = !linked[i][k];
			run(&w, prng_below(&r, 2 * SECOND));
		}
		run(&w, 100 * SECOND);
		for (unsigned i = 0; i < NODES; i++) {
			bool seen[NODES] = { [0] = false };
			uint32_t devices = 0, links = 0;
			seen[i] = true;
			for (unsigned round = 0; round < NODES; round++)
				for (unsigned a = 0; a < NODES; a++)
					for (unsigned b = 0; b < NODES; b++)
						seen[b] |= seen[a] && linked[a][b];
			for (unsigned a = 0; a < NODES; a++) {
				devices += seen[a];
				for (unsigned b = 0; b < a; b++)
					links += seen[a] && linked[a][b];
			}
			wrong += !sees(&w, i, devices, links);
		}
	}
	is_uint(wrong, 0, "links come and go: all know what is so (seed %llu)", (unsigned long long)seed);
	close_world(&w);
}

/* Others come and go all the time. */
static void test_rate(void)
{
	struct world w;
	open_world(&w);
	meet(&w, 0, 1);
	meet(&w, 1, 2);
	run(&w, 100 * SECOND);
	memset(w.frames, 0, sizeof(w.frames));
	for (unsigned i = 0; i < 600; i++) {
		meet(&w, 2, 3);
		run(&w, SECOND / 2);
		part(&w, 2, 3);
		run(&w, SECOND / 2);
	}
	ok(w.frames[1][0] <= PRESENCE_BURST + 60 && w.frames[1][0] > 30,
	   "600 s of coming and going cost a link %llu frames", (unsigned long long)w.frames[1][0]);
	run(&w, 60 * SECOND);
	ok(sees(&w, 0, 3, 2), "and what is so in the end is known");
	ok(w.most <= PRESENCE_FRAME_MAX, "no frame is larger than allowed");
	close_world(&w);
}

/* ---- who lies ---- */

static void hear(struct presence_side *side, struct statement *s, uint64_t now)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	statement_encode(s, &b);
	free(s);
	struct cursor c = cursor_make(b.data, b.len);
	if (presence_get(side, &c, now, NULL) < 0)
		tap_bail("a statement was refused");
}

static void test_lies(void)
{
	const struct id self = id_of(1), honest = id_of(2), liar = id_of(3);
	const struct statement_link own[] = { link_to(2), link_to(3) };
	struct presence *p;
	struct presence_side *h, *l;
	_cleanup_(buf_done) struct buf b = { 0 };
	uint64_t now = 10 * SECOND;
	if (presence_new(&self, "n1", &p) < 0 || presence_join(p, &honest, now, &h) < 0 ||
	    presence_join(p, &liar, now, &l) < 0 || presence_own(p, own, 2, now, 1000 * now) < 0)
		tap_bail("out of memory");
	hear(h, say(2, 100, 0, (unsigned[]){ 1, 4 }, 2), now);
	hear(l, say(3, 100, 0, (unsigned[]){ 1 }, 1), now);
	hear(l, say(2, 200, 0, (unsigned[]){ 1, 7 }, 2), now);
	struct graph *g;
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	ok(device(g, 4) && !device(g, 7), "nobody speaks for a device that has a link to who hears it");
	graph_free(g);
	now += 5 * SECOND;
	if (presence_put(h, now, &b) < 0)
		tap_bail("out of memory");
	struct cursor c = cursor_make(b.data, b.len);
	struct statement *s = NULL;
	ok(statement_decode(&c, &s) == 0 && id_equal(&s->author, &honest) && s->number == 200 && s->n == 0,
	   "but it is told which number is about");
	free(s);

	/* Of this device: its next statement tops what was said, however large the number. */
	for (uint32_t i = 1; i <= 3; i++) {
		const uint32_t claim = i * 0x70000000u;
		hear(l, say(1, claim, 0, NULL, 0), now);
		now += 50 * SECOND;
		buf_reset(&b);
		if (presence_put(h, now, &b) < 0)
			tap_bail("out of memory");
		bool topped = false;
		c = cursor_make(b.data, b.len);
		while (cursor_left(&c) > 0) {
			if (statement_decode(&c, &s) < 0)
				tap_bail("malformed");
			topped |= id_equal(&s->author, &self) && s->n == 2;
			free(s);
		}
		ok(topped, "a device has the last word about itself, after %u as well", claim);
	}

	/* Floods. */
	for (unsigned i = 0; i < 5000; i++) {
		now += 6 * SECOND;
		hear(l, say(1000 + i, 1, 0, (unsigned[]){ 3, 1000 + i + 1 }, 2), now);
	}
	uint32_t n = 0;
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	n = g->n_devices;
	graph_free(g);
	ok(n < 10, "what a peer makes up beside its own links is not shown (%u devices)", n);
	unsigned to[STATEMENT_LINKS_MAX] = { 1 };
	for (unsigned i = 1; i < STATEMENT_LINKS_MAX; i++)
		to[i] = 1000 + i;
	hear(l, say(3, 101, 5, to, STATEMENT_LINKS_MAX), now);
	for (unsigned i = 0; i < 5000; i++) {
		now += 6 * SECOND;
		hear(l, say(1000 + i, 2, 1, (unsigned[]){ 3 }, 1), now);
	}
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	n = g->n_devices;
	graph_free(g);
	ok(n > 64 && n <= PRESENCE_TELLER_MAX + 70, "and of what hangs together there is room for a part (%u)", n);
	hear(h, say(4, 1, 0, (unsigned[]){ 2, 5 }, 2), now);
	hear(h, say(5, 1, 0, (unsigned[]){ 4 }, 1), now);
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	ok(device(g, 5) && device(g, 5)->source == GRAPH_HEARSAY, "others are heard as before");
	graph_free(g);

	/* A device that says much in a row is not looked at any more. */
	for (uint32_t i = 0; i < 200; i++)
		hear(l, say(3, 200 + i, 0, (unsigned[]){ 1, 50 + i }, 2), now);
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	ok(!device(g, 50 + 199), "who says too much in a row is not listened to");
	graph_free(g);
	presence_leave(l);
	if (presence_own(p, own, 1, now, 1000 * now) < 0 || presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	is_uint(g->n_devices, 4, "with the liar gone so is all that it said");
	graph_free(g);
	presence_leave(h);
	presence_free(p);
}

/* Is there a statement of that device in the payload? */
static bool says(const struct buf *b, unsigned no)
{
	const struct id id = id_of(no);
	bool found = false;
	for (struct cursor c = cursor_make(b->data, b->len); cursor_left(&c) > 0;) {
		struct statement *s;
		if (statement_decode(&c, &s) < 0)
			tap_bail("malformed");
		found |= id_equal(&s->author, &id);
		free(s);
	}
	return found;
}

/* What does not count is not passed on. */
static void test_lost(void)
{
	const struct id self = id_of(1), one = id_of(2), two = id_of(3);
	const struct statement_link own[] = { link_to(2), link_to(3) };
	struct presence *p;
	struct presence_side *h, *l;
	_cleanup_(buf_done) struct buf b = { 0 };
	uint64_t now = 10 * SECOND;
	if (presence_new(&self, "n1", &p) < 0 || presence_join(p, &one, now, &h) < 0 ||
	    presence_own(p, own, 2, now, 1000 * now) < 0)
		tap_bail("out of memory");
	hear(h, say(2, 1, 0, (unsigned[]){ 1 }, 1), now);
	hear(h, say(4, 7, 0, (unsigned[]){ 2 }, 1), now);
	now += 2 * SECOND;
	if (presence_join(p, &two, now, &l) < 0 || presence_put(l, now + 5 * SECOND, &b) < 0)
		tap_bail("out of memory");
	ok(says(&b, 1) && says(&b, 2) && !says(&b, 4), "what does not count is not passed on");
	/* Its author may have begun anew, with any number. */
	hear(h, say(2, 2, 0, (unsigned[]){ 1, 4 }, 2), now);
	hear(h, say(4, 5, 0, (unsigned[]){ 2, 9 }, 2), now);
	struct graph *g;
	if (presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	ok(device(g, 9), "and gives way to whatever is said later");
	graph_free(g);
	for (int i = 0; i < 2; i++) {
		buf_reset(&b);
		now += 20 * SECOND;
		if (presence_put(l, now, &b) < 0)
			tap_bail("out of memory");
		ok(says(&b, 4), i ? "who knows less is told again" : "that is passed on");
		hear(l, say(4, 3, 0, (unsigned[]){ 2 }, 1), now);
	}
	presence_leave(h);
	presence_leave(l);
	presence_free(p);
}

/* A hub: more links than a statement has room for, and statements than a table has. */
static void test_hub(void)
{
	enum { DEVICES = 1500 };
	static struct statement_link own[DEVICES];
	static struct presence_side *side[DEVICES];
	const struct id self = id_of(0);
	struct presence *p;
	struct graph *g;
	uint64_t now = 10 * SECOND, most = 0;
	unsigned wrong = 0, told = 0;
	if (presence_new(&self, "hub", &p) < 0)
		tap_bail("out of memory");
	for (unsigned i = 0; i < DEVICES; i++) {
		own[i] = link_to(i + 1);
		own[i].since_s = 5000 + i;
		if (presence_join(p, &own[i].peer, now, &side[i]) < 0)
			tap_bail("out of memory");
		hear(side[i], say(i + 1, 1, 0, (unsigned[]){ 0 }, 1), now);
	}
	if (presence_own(p, own, DEVICES, now, 1000 * now) < 0 || presence_graph(p, now, &g) < 0)
		tap_bail("out of memory");
	ok(g->n_devices == DEVICES + 1 && g->n_links == DEVICES, "a hub shows all its links");
	graph_free(g);
	now += 5 * SECOND;
	for (unsigned i = 0; i < DEVICES; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		if (presence_put(side[i], now, &b) < 0)
			tap_bail("out of memory");
		most = b.len > most ? b.len : most;
		/* The first 64 are the oldest. */
		for (unsigned k = 1; k < 200; k++)
			wrong += says(&b, k) != (k <= STATEMENT_LINKS_MAX && k != i + 1);
		wrong += !says(&b, 0);
	}
	is_uint(wrong, 0, "and tells others of the oldest, and what these say (%llu bytes)",
		(unsigned long long)most);
	/* Somebody who is not told of goes, and comes again. */
	for (unsigned i = 0; i < 2; i++) {
		if (presence_own(p, own, DEVICES - 1 + i, now, 1000 * now) != 0)
			told++;
		now += 60 * SECOND;
		for (unsigned k = 0; k < DEVICES; k++) {
			_cleanup_(buf_done) struct buf b = { 0 };
			if (presence_put(side[k], now, &b) < 0)
				tap_bail("out of memory");
			told += b.len > 0;
		}
	}
	is_uint(told, 0, "who comes and goes besides is not news to others");
	own[3] = own[DEVICES - 1];
	own[3].peer = id_of(4);
	if (presence_own(p, own, DEVICES, now, 1000 * now) != 1 || presence_graph(p, now, &g) < 0)
		tap_bail("no news");
	ok(g->n_devices == DEVICES + 1, "that an old one came anew is");
	graph_free(g);
	for (unsigned i = 0; i < DEVICES; i++)
		presence_leave(side[i]);
	presence_free(p);
}

int main(void)
{
	tap_plan((unsigned)(1 + sizeof(malformed) / sizeof(malformed[0]) + 9 + 6 + 12 + 2 * 3 + 4 + 10 + 4 + 4));
	test_codec(1);
	test_malformed();
	test_graph();
	test_chain();
	test_clocks();
	for (uint64_t seed = 1; seed <= 3; seed++)
		test_random(seed);
	test_rate();
	test_lies();
	test_lost();
	test_hub();
	return tap_done();
}
