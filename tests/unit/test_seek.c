/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents that only devices farther away have: they come through those between, which keep nothing of it. Who looks
 * for them gets them, or is told in time that nobody has them, whatever the others say or do not say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/chunk.h"
#include "engine/fetch.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define NODES 6
#define LINKS 8
#define SIZE (1024u * 1024)
#define SECOND 1000000ull

struct wire {
	unsigned end[2];
	struct session *session[2]; /* NULL: it is down */
	struct buf held[2];         /* said by that end and not delivered, while it is mute */
	bool mute[2];               /* what that end says stays on its way */
	bool silent[2];             /* what that end says of SEEK is lost */
	bool lies[2];               /* its chunks are others */
	bool deaf[2];               /* that end does not hear what was in vain */
	uint64_t ping[2];           /* the last one that it said */
	unsigned frames[2][FRAME_TYPES];
	unsigned chunks[2];         /* with something in them */
	unsigned links_max[2];      /* of SEEK */
	uint64_t bytes[2];
	int error;                  /* by which it ended */
};

struct waiting {
	unsigned n;
	int code;
	uint64_t at;
};

static struct net {
	struct node node[NODES];
	struct fetches *f[NODES];
	unsigned n;
	struct wire line[LINKS];
	unsigned n_lines;
	uint64_t now;
	size_t size;
	char *data;
	struct attr big;
	struct blob_ref ref;
	bool woken;
	uint64_t chunks[NODES]; /* in the store, before anything was looked for */
} net;

static void done(int code, void *userdata)
{
	struct waiting *w = userdata;
	w->n++;
	w->code = code;
	w->at = net.now;
}

static void wake(void *userdata)
{
	*(bool *)userdata = true;
}

/* ---- the net ---- */

static void line_down(unsigned i)
{
	struct wire *l = &net.line[i];
	for (int k = 0; k < 2; k++) {
		session_free(l->session[k]);
		l->session[k] = NULL;
		buf_done(&l->held[k]);
	}
}

static void line_up(unsigned i)
{
	struct wire *l = &net.line[i];
	*l = (struct wire){ .end = { l->end[0], l->end[1] } };
	for (int k = 0; k < 2; k++) {
		struct node *node = &net.node[l->end[k]];
		node_flush(node, NULL);
		if (session_new(node->replica, &net.node[l->end[!k]].id, net.now, &l->session[k]) < 0)
			tap_bail("no session");
		session_unpacked(l->session[k]);
		session_fetch_for(l->session[k], net.f[l->end[k]]);
	}
}

static unsigned line(unsigned a, unsigned b)
{
	const unsigned i = net.n_lines++;
	net.line[i] = (struct wire){ .end = { a, b } };
	line_up(i);
	return i;
}

/* What end k said, frame by frame, as it arrives. */
static void carry(struct wire *l, int k, const struct buf *said, struct buf *out)
{
	for (size_t at = 0; at < said->len;) {
		enum frame_type t;
		size_t head, len;
		if (frame_head(said->data + at, said->len - at, &t, &head, &len, NULL) != 1)
			tap_bail("half a frame");
		uint8_t *p = said->data + at;
		at += head + len;
		l->frames[k][t]++;
		l->chunks[k] += t == FRAME_CHUNK && len > SHA256_SIZE;
		if (t == FRAME_SEEK && p[head] < FRAME_SEEK_VAIN && p[head] > l->links_max[k])
			l->links_max[k] = p[head];
		if (t == FRAME_PING) {
			struct cursor c = cursor_make(p + head, len);
			l->ping[k] = cursor_varint(&c);
		}
		if (t == FRAME_SEEK && (l->silent[k] || (l->deaf[!k] && p[head] == FRAME_SEEK_VAIN)))
			continue;
		if (t == FRAME_CHUNK && l->lies[k] && len > SHA256_SIZE)
			p[head + len - 1] ^= 1;
		buf_put(out, p, head + len);
	}
}

/* What that end has to say goes over. True: something did. */
static bool say(struct wire *l, int k)
{
	_cleanup_(buf_done) struct buf said = { 0 }, out = { 0 };
	struct err e = { 0 };
	if (!l->session[k])
		return false;
	int r = session_output(l->session[k], &said, 65536, net.now, &e);
	const bool any = said.len > 0;
	carry(l, k, &said, l->mute[k] ? &l->held[k] : &out);
	l->bytes[k] += said.len;
	if (r >= 0 && !l->mute[k]) {
		buf_put(&l->held[k], out.data, out.len);
		r = session_input(l->session[!k], l->held[k].data, l->held[k].len, net.now, &e);
		buf_reset(&l->held[k]);
	}
	if (r < 0) {
		l->error = r;
		tap_diag("line %u-%u: %s", l->end[0], l->end[1], e.message);
		line_down((unsigned)(l - net.line));
	}
	return any;
}

/* Nobody has anything to say now. */
static void quiet(void)
{
	bool moved = true;
	for (unsigned turns = 0; moved; turns++) {
		moved = net.woken;
		net.woken = false;
		if (turns == 100000)
			tap_bail("it never ends");
		for (unsigned i = 0; i < net.n_lines; i++)
			for (int k = 0; k < 2; k++)
				moved |= say(&net.line[i], k);
		for (unsigned i = 0; i < net.n && !moved; i++) {
			moved |= replica_dirty(net.node[i].replica);
			node_flush(&net.node[i], NULL);
			for (unsigned k = 0; k < 2 * net.n_lines; k++)
				if (moved && net.line[k / 2].session[k % 2] && net.line[k / 2].end[k % 2] == i)
					session_news(net.line[k / 2].session[k % 2]);
		}
		net.now += 100;
	}
}

/* So much time goes by. */
static void pass(uint64_t us)
{
	const uint64_t until = net.now + us;
	for (unsigned turns = 0; net.now < until; turns++) {
		uint64_t at = until;
		if (turns == 100000)
			tap_bail("time stands still");
		quiet();
		for (unsigned k = 0; k < 2 * net.n_lines; k++) {
			const struct session *s = net.line[k / 2].session[k % 2];
			uint64_t due = s ? session_deadline(s) : UINT64_MAX;
			at = due < at ? due : at;
		}
		net.now = at > net.now ? at : net.now + 100;
	}
	quiet();
}

static uint64_t stored(unsigned i)
{
	struct verify_report report;
	if (replica_verify(net.node[i].replica, false, NULL, NULL, &report, NULL) < 0 || report.errors > 0)
		tap_bail("node %u is damaged", i);
	return report.chunks;
}

/* n nodes that have the name of a file; the contents are at the last one. */
static void net_open_of(unsigned n, size_t size)
{
	struct prng r = { 5 };
	net = (struct net){ .n = n, .now = 1 * SECOND, .size = size };
	net.data = malloc(size);
	if (!net.data)
		tap_bail("out of memory");
	prng_fill(&r, net.data, size);
	for (unsigned i = 0; i < n; i++) {
		node_open(&net.node[i], (uint8_t)(i + 1), NULL);
		replica_set_eager(net.node[i].replica, 1000);
	}
	node_write(&net.node[n - 1], "c", "big.bin", net.data, size);
	for (unsigned i = 0; i + 1 < n; i++)
		if (!pair_meet(&net.node[n - 1], &net.node[i]))
			tap_bail("they did not meet");
	struct attr dir = { .id = NODE_ROOT };
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_lookup(net.node[0].replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(net.node[0].replica, &dir.id, "big.bin", 7, &net.big) < 0 || !net.big.absent ||
	    replica_read(net.node[0].replica, &net.big.id, &v) < 0)
		tap_bail("no file");
	net.ref = *version_blob(v);
	for (unsigned i = 0; i < n; i++) {
		if (fetches_new(net.node[i].replica, wake, &net.woken, &net.f[i]) < 0)
			tap_bail("out of memory");
		net.chunks[i] = stored(i);
	}
}

static void net_open(unsigned n)
{
	net_open_of(n, SIZE);
}

static void chain(unsigned n)
{
	net_open(n);
	for (unsigned i = 0; i + 1 < n; i++)
		line(i, i + 1);
	quiet();
}

/* Nobody is asked any more, and those between have kept nothing. */
static void net_close(const char *what)
{
	bool kept = false;
	for (unsigned i = 0; i < net.n_lines; i++)
		line_down(i);
	for (unsigned i = 0; i < net.n; i++) {
		kept |= i > 0 && stored(i) != net.chunks[i];
		kept |= fetch_files(net.f[i]) > 0;
		fetches_free(net.f[i]);
	}
	for (unsigned i = 0; i < net.n; i++)
		node_close(&net.node[i]);
	free(net.data);
	if (what)
		ok(!kept, "%s", what);
}

static int begin(unsigned i, uint64_t offset, uint64_t len, struct waiting *w, uint64_t *ticket)
{
	*w = (struct waiting){ 0 };
	return fetch_begin(net.f[i], &net.big.id, &net.ref, offset, len, done, w, ticket);
}

static int begin_all(unsigned i, struct waiting *w)
{
	*w = (struct waiting){ 0 };
	return fetch_begin(net.f[i], &net.big.id, NULL, 0, UINT64_MAX, done, w, NULL);
}

static bool reads(unsigned i, uint64_t offset, size_t len)
{
	_cleanup_free_ char *got = malloc(len);
	_cleanup_(version_unrefp) struct version *v = NULL;
	return replica_read(net.node[i].replica, &net.big.id, &v) == 0 &&
	       version_pread(v, got, len, offset) == (ssize_t)len && memcmp(net.data + offset, got, len) == 0;
}

static bool came(unsigned i, const struct waiting *w, uint64_t offset, size_t len)
{
	return w->n == 1 && w->code == 0 && reads(i, offset, len);
}

static bool refused(const struct waiting *w)
{
	return w->n == 1 && w->code == -EHOSTDOWN;
}

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

/* ---- what a peer can do ---- */

/* A frame from node 0 to node 1, who is at line 0. */
static int send(struct wire *l, uint8_t links, uint64_t id, const struct sha256 *hash, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 }, out = { 0 };
	frame_seek_put(&b, links, id, hash);
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
	malformed("SEEK that says 129", "malformed SEEK", "\x24\x29\x81" "abcdefgh" HASH32, 2 + 41);
	malformed("an answer to nothing", "was not asked for", "\x24\x29\x80" "abcdefgh" HASH32, 2 + 41);

	chain(4);
	is_int(send(&net.line[0], 127, 7, &hash, &e), 0, "however far a peer wants it looked for,");
	net.line[0].mute[1] = true;
	quiet();
	ok(net.line[1].frames[0][FRAME_SEEK] == 1 && net.line[1].links_max[0] == FETCH_HOPS - 1, "it is not looked for farther than that");
	is_uint(net.line[0].frames[1][FRAME_SEEK], 1, "and the peer is told that it is in vain");
	is_int(send(&net.line[0], 3, 7, &hash, &e), 0, "who looks for it once more");
	quiet();
	ok(net.line[1].frames[0][FRAME_SEEK] == 1 && net.line[0].frames[1][FRAME_SEEK] == 2, "is told so at once");
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
		told += net.line[i].frames[1][FRAME_SEEK];
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
	tap_plan(90);
	test_chain();
	test_ring();
	test_star();
	test_both();
	test_liars();
	test_silence();
	test_cut();
	test_unstored();
	test_fresh();
	test_sought();
	test_hostile();
	test_bounds();
	test_flood();
	return tap_done();
}
