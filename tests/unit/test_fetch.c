/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing contents back: who waits for what, what comes first, and what becomes of it when nobody has it, the
 * one who has it goes, lies, or says nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/chunk.h"
#include "engine/fetch.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define BIG (6u * 1024 * 1024)
#define BIGGER (20u * 1024 * 1024) /* more chunks than are wanted at a time */

struct waiting {
	unsigned n;
	int code;
};

static void done(int code, void *userdata)
{
	struct waiting *w = userdata;
	w->n++;
	w->code = code;
}

static void woken(void *userdata)
{
	++*(unsigned *)userdata;
}

struct stage {
	struct node a, b; /* a has it, b does not */
	struct pair p;
	struct fetches *f;
	unsigned wakes;
	size_t size;
	struct attr big;
	struct blob_ref ref;
};

static void fill(void *data, size_t size)
{
	struct prng r = { 3 };
	prng_fill(&r, data, size);
}

static struct attr look(struct node *n)
{
	struct attr at = { .id = NODE_ROOT };
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &at) < 0)
		tap_bail("no directory");
	struct id dir = at.id;
	if (replica_lookup(n->replica, &dir, "big.bin", 7, &at) < 0)
		tap_bail("no file");
	return at;
}

static void stage_open_of(struct stage *s, size_t size)
{
	_cleanup_free_ char *data = malloc(size);
	_cleanup_(version_unrefp) struct version *v = NULL;
	fill(data, size);
	*s = (struct stage){ .size = size };
	node_open(&s->a, 1, NULL);
	node_open(&s->b, 2, NULL);
	replica_set_eager(s->b.replica, 1000);
	node_write(&s->a, "c", "big.bin", data, size);
	if (!pair_meet(&s->a, &s->b) || fetches_new(s->b.replica, woken, &s->wakes, &s->f) < 0)
		tap_bail("cannot begin");
	s->big = look(&s->b);
	if (!s->big.absent || replica_read(s->b.replica, &s->big.id, &v) < 0)
		tap_bail("it is here");
	s->ref = *version_blob(v);
}

static void stage_open(struct stage *s)
{
	stage_open_of(s, BIG);
}

/* b and another one are connected from now on. */
static void stage_join(struct stage *s, struct pair *p, struct node *other)
{
	pair_open(p, other, &s->b);
	session_fetch_for(p->session[1], s->f);
	pair_run(p);
}

static void stage_meet(struct stage *s)
{
	stage_join(s, &s->p, &s->a);
}

/* Another one that lacks it; others are looked for. */
static void stage_seek(struct stage *s, struct node *c)
{
	node_open(c, 3, NULL);
	replica_set_eager(c->replica, 1000);
	if (!pair_meet(&s->b, c))
		tap_bail("they did not meet");
	fetches_seek(s->f);
}

static void stage_close(struct stage *s)
{
	if (s->p.session[0])
		pair_close(&s->p);
	fetches_free(s->f);
	node_close(&s->a);
	node_close(&s->b);
}

/* The bytes are there and right. */
static bool reads(struct stage *s, uint64_t offset, size_t len)
{
	_cleanup_free_ char *data = malloc(s->size), *got = malloc(len);
	_cleanup_(version_unrefp) struct version *v = NULL;
	fill(data, s->size);
	return replica_read(s->b.replica, &s->big.id, &v) == 0 &&
	       version_pread(v, got, len, offset) == (ssize_t)len && memcmp(data + offset, got, len) == 0;
}

static int begin(struct stage *s, uint64_t offset, uint64_t len, struct waiting *w, uint64_t *ret)
{
	return fetch_begin(s->f, &s->big.id, &s->ref, offset, len, done, w, ret);
}

static void test_plain(void)
{
	struct stage s;
	struct waiting end = { 0 }, all = { 0 }, many[20] = { { 0 } };
	uint64_t got, size;
	stage_open(&s);
	is_errno(begin(&s, 0, 10, &end, NULL), -EHOSTDOWN, "with nobody there it fails at once");
	is_uint(end.n, 0, "nobody waits for nothing");
	stage_meet(&s);
	unsigned before = s.wakes;
	is_int(begin(&s, BIG - 100, 100, &end, NULL), 0, "with somebody there, a reader waits");
	ok(s.wakes > before, "and the session is told");
	is_int(fetch_begin(s.f, &s.big.id, NULL, 0, UINT64_MAX, done, &all, NULL), 0, "another one waits for all");
	for (int i = 0; i < 20; i++)
		begin(&s, (uint64_t)i * 200000, 1000, &many[i], NULL);
	uint64_t sent = s.p.bytes[0];
	while (end.n == 0 && pair_turn(&s.p, 4096))
		;
	ok(end.n == 1 && end.code == 0 && reads(&s, BIG - 100, 100), "what is waited for is there");
	ok(s.p.bytes[0] - sent < 5 * 1024 * 1024 && all.n == 0, "long before the rest (%llu KiB)",
	   (unsigned long long)(s.p.bytes[0] - sent) / 1024);
	ok(fetch_progress(s.f, &s.big.id, &got, &size) && size == BIG && got < BIG, "how far it is can be seen");
	pair_run(&s.p);
	unsigned right = 0;
	for (int i = 0; i < 20; i++)
		right += many[i].n == 1 && many[i].code == 0;
	is_uint(right, 20, "all others get theirs");
	ok(all.n == 1 && all.code == 0 && !look(&s.b).absent && reads(&s, 0, BIG), "and all of it is here");
	ok(s.p.bytes[0] - sent < BIG * 11 / 10, "once (%llu KiB)", (unsigned long long)(s.p.bytes[0] - sent) / 1024);
	is_int(begin(&s, 0, 10, &end, NULL), 1, "nobody has to wait any more");
	is_uint(fetch_files(s.f), 0, "nothing is under way");
	ok(!session_peer_partial(s.p.session[0]), "the peer is told that nothing is missing any more");
	stage_close(&s);
}

static void test_gone(void)
{
	struct stage s;
	struct waiting w = { 0 }, other = { 0 }, left = { 0 };
	uint64_t ticket;
	stage_open(&s);
	stage_meet(&s);
	begin(&s, BIG - 100, 100, &w, NULL);
	begin(&s, BIG / 2, 100, &left, &ticket);
	ok(fetch_cancel(s.f, ticket) && !fetch_cancel(s.f, ticket), "who waits can go");
	pair_turn(&s.p, 4096);
	pair_close(&s.p);
	ok(w.n == 1 && w.code == -EHOSTDOWN, "when the one who has it goes, who waits is told at once");
	ok(left.n == 0, "but not who went");
	is_uint(fetch_files(s.f), 0, "and nothing is left of it");
	is_int(replica_want(s.b.replica, &s.big.id, NULL), 0, "it is wanted");
	stage_meet(&s);
	ok(!s.p.failed && !look(&s.b).absent && reads(&s, 0, BIG), "so it comes by itself when they meet again");
	pair_close(&s.p);

	/* The chunks went, and the one who is there has none of it either. */
	struct node c;
	node_open(&c, 3, NULL);
	replica_set_eager(c.replica, 1000);
	ok(pair_meet(&s.b, &c), "a third one has the record only");
	struct fetches *mine = NULL;
	if (fetches_new(c.replica, NULL, NULL, &mine) < 0)
		tap_bail("no memory");
	replica_set_eager(s.b.replica, 0);
	struct node d;
	node_open(&d, 4, NULL);
	replica_set_eager(d.replica, 1000);
	pair_meet(&c, &d);
	pair_open(&s.p, &c, &d);
	session_fetch_for(s.p.session[0], mine);
	pair_run(&s.p);
	is_int(fetch_begin(mine, &s.big.id, NULL, 0, UINT64_MAX, done, &other, NULL), 0, "it asks somebody");
	pair_run(&s.p);
	ok(other.n == 1 && other.code == -EHOSTDOWN, "who has not got it: who waits is told");
	struct waiting stopped = { 0 };
	fetch_begin(mine, &s.big.id, NULL, 0, UINT64_MAX, done, &stopped, NULL);
	fetches_stop(mine, -ESHUTDOWN);
	ok(stopped.n == 1 && stopped.code == -ESHUTDOWN, "who waits at the end is told");
	is_errno(fetch_begin(mine, &s.big.id, NULL, 0, UINT64_MAX, done, &stopped, NULL), -EHOSTDOWN,
		 "and nobody after that");
	pair_close(&s.p);
	fetches_free(mine);
	node_close(&c);
	node_close(&d);
	stage_close(&s);
}

/* Its session is answered with what is put into `out` instead. */
static int answered(struct stage *s, const void *data, size_t len)
{
	_cleanup_(buf_done) struct buf out = { 0 }, lie = { 0 };
	struct err e = { 0 };
	if (session_output(s->p.session[1], &out, 65536, s->p.now, &e) < 0)
		return e.code;
	/* WANT of one hash, the root of it all: type, length, hash. */
	if (out.len < 2 + SHA256_SIZE || out.data[0] != 9)
		tap_bail("it does not ask");
	buf_u8(&lie, 10);
	buf_varint(&lie, SHA256_SIZE + len);
	buf_put(&lie, out.data + 2, SHA256_SIZE);
	buf_put(&lie, data, len);
	int r = session_input(s->p.session[1], lie.data, lie.len, s->p.now, &e);
	if (r < 0)
		tap_diag("%s", e.message);
	return r;
}

static void test_hostile(void)
{
	struct stage s;
	struct waiting w = { 0 }, other = { 0 };
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf out = { 0 };
	stage_open(&s);
	stage_meet(&s);
	begin(&s, 0, 100, &w, NULL);
	is_errno(answered(&s, "\0liar", 5), -EPROTO, "another chunk than it was asked for ends the session");
	is_uint(w.n, 0, "who waits may get it from somebody else");
	pair_close(&s.p);
	ok(w.n == 1 && w.code == -EHOSTDOWN, "if there is anybody");
	ok(look(&s.b).absent, "nothing of it is believed");
	stage_meet(&s);
	begin(&s, 0, 100, &other, NULL);
	if (session_output(s.p.session[1], &out, 65536, s.p.now, &e) < 0)
		tap_bail("%s", e.message);
	uint64_t at = session_deadline(s.p.session[1]);
	/* It is alive, and answers nothing. */
	for (; s.p.now < at; s.p.now += 5000000)
		session_input(s.p.session[1], "\14\1\1", 3, s.p.now, &e);
	s.p.now = 1000000 + FETCH_PATIENCE_US + 5000000;
	session_input(s.p.session[1], "\14\1\1", 3, s.p.now, &e);
	is_errno(session_output(s.p.session[1], &out, 65536, s.p.now, &e), -ETIMEDOUT,
		 "a peer that is alive but gives nothing is given up");
	pair_close(&s.p);
	ok(other.n == 1 && other.code == -EHOSTDOWN, "and who waits is told");
	stage_close(&s);
}

/* Two have it: both are asked, and when one goes, the other brings the rest. */
static void test_two(void)
{
	struct stage s;
	struct node c;
	struct pair q;
	struct waiting w = { 0 };
	stage_open(&s);
	node_open(&c, 3, NULL);
	if (!pair_meet(&s.a, &c))
		tap_bail("they did not meet");
	stage_meet(&s);
	stage_join(&s, &q, &c);
	uint64_t first = s.p.bytes[0], second = q.bytes[0];
	fetch_begin(s.f, &s.big.id, NULL, 0, UINT64_MAX, done, &w, NULL);
	for (int i = 0; i < 40 && (s.p.bytes[0] - first <= 300000 || q.bytes[0] - second <= 300000); i++) {
		pair_turn(&s.p, 65536);
		pair_turn(&q, 65536);
	}
	ok(s.p.bytes[0] - first > 300000 && q.bytes[0] - second > 300000, "two that have it are both asked");
	pair_close(&s.p);
	ok(w.n == 0, "one goes: who waits goes on waiting");
	pair_run(&q);
	ok(w.n == 1 && w.code == 0 && reads(&s, 0, BIG), "the other one brings the rest");
	pair_close(&q);
	node_close(&c);
	stage_close(&s);
}

/* While others are looked for, what the only source lacks waits for one that has it. */
static void test_sought(void)
{
	struct stage s;
	struct node c;
	struct pair q;
	struct waiting w = { 0 }, other = { 0 }, gone = { 0 };
	struct fetch_sought sought[4];
	uint32_t asked, coming;
	uint64_t ticket;
	stage_open(&s);
	stage_seek(&s, &c);
	is_errno(begin(&s, 0, 10, &w, NULL), -EHOSTDOWN, "with nobody there it fails at once, whoever looks for others");
	stage_join(&s, &q, &c);
	begin(&s, 0, 100, &w, NULL);
	is_uint(fetch_sought(s.f, 7, sought, 4, &asked, &coming), 0, "nothing is looked for before the source answers");
	ok(asked == 0 && coming == 1, "it is under way");
	unsigned before = s.wakes;
	pair_run(&q);
	ok(w.n == 0 && s.wakes > before, "the source lacks it: who waits goes on waiting, and is looked after");
	is_uint(fetch_sought(s.f, 7, sought, 4, &asked, &coming), 1, "others are looked for");
	ok(id_equal(&sought[0].node, &s.big.id) && sought[0].since_us == 7 && asked + coming == 0, "from now on");
	ok(fetch_sought(s.f, 9, sought, 4, &asked, &coming) == 1 && sought[0].since_us == 7, "as long as it takes");
	begin(&s, 0, 100, &gone, &ticket);
	fetch_cancel(s.f, ticket);
	stage_meet(&s);
	ok(w.n == 1 && w.code == 0 && reads(&s, 0, BIG), "one comes who has it: it is here");
	is_uint(fetch_sought(s.f, 11, sought, 4, &asked, &coming) + fetch_files(s.f), 0, "and not looked for any more");
	pair_close(&s.p);
	pair_close(&q);
	node_close(&c);
	stage_close(&s);

	/* The same, and nobody has it. */
	stage_open(&s);
	stage_seek(&s, &c);
	stage_join(&s, &q, &c);
	begin(&s, 0, 100, &other, NULL);
	fetch_forsake(s.f, &s.big.id);
	is_uint(other.n, 0, "one who may have it is there: it is not given up");
	pair_run(&q);
	fetch_forsake(s.f, &s.big.id);
	is_uint(other.n, 0, "nobody else is found: those who lack it look for it");
	pair_run(&q);
	ok(other.n == 1 && other.code == -EHOSTDOWN, "and say that nobody has it: who waits is told");
	begin(&s, 0, 100, &gone, &ticket);
	pair_run(&q);
	fetch_cancel(s.f, ticket);
	ok(fetch_sought(s.f, 13, sought, 4, &asked, &coming) == 0 && fetch_files(s.f) == 0,
	   "when nobody waits any more, nobody is looked for");
	begin(&s, 0, 100, &gone, NULL);
	pair_run(&q);
	pair_close(&q);
	ok(gone.n == 1 && gone.code == -EHOSTDOWN && fetch_files(s.f) == 0, "the last source goes: who waits is told at once");
	node_close(&c);
	stage_close(&s);
}

/* All that is asked of that source now, from what the one who has it holds. */
static unsigned answer_all(struct stage *s, struct fetch_source *from)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct sha256 hash;
	unsigned n = 0;
	for (; fetch_next(from, s->p.now, &hash); n++) {
		buf_reset(&b);
		if (chunk_get(replica_store(s->a.replica), &hash, &b) < 0 ||
		    fetch_chunk(from, &hash, b.data, b.len, s->p.now, NULL) < 0)
			tap_bail("cannot answer");
	}
	return n;
}

/* Over a slow link nothing is asked for but what somebody waits for: those who wait no more must leave room. */
static void test_gone_slow(void)
{
	enum { MANY = 12 };
	struct stage s;
	struct fetch_source *slow;
	struct waiting first = { 0 }, gone[MANY] = { { 0 } }, last = { 0 };
	uint64_t ticket[MANY];
	unsigned cancelled = 0;
	stage_open_of(&s, BIGGER);
	if (fetch_join(s.f, &slow) < 0)
		tap_bail("no memory");
	fetch_slow(slow, true);
	begin(&s, 0, 100, &first, NULL);
	answer_all(&s, slow);
	ok(first.n == 1 && first.code == 0 && fetch_files(s.f) == 0, "over a slow link a reader gets what it asks for, and no more comes");
	for (unsigned i = 0; i < MANY; i++)
		begin(&s, (uint64_t)(i + 1) * (1024 * 1024), 1024 * 1024, &gone[i], &ticket[i]);
	begin(&s, BIGGER - 100, 100, &last, NULL);
	for (unsigned i = 0; i < MANY; i++)
		cancelled += fetch_cancel(s.f, ticket[i]) && gone[i].n == 0;
	is_uint(cancelled, MANY, "many more begin, and go before anything was asked for them");
	const unsigned n = answer_all(&s, slow);
	ok(last.n == 1 && last.code == 0 && reads(&s, BIGGER - 100, 100), "the one who came last gets what it waits for");
	ok(n >= 1 && n <= 3, "and nothing is asked for but that (%u chunks)", n);
	is_uint(fetch_files(s.f), 0, "then nobody waits, and nothing is under way");
	fetch_leave(slow);
	stage_close(&s);
}

/* The next connection to the same device takes over: its session begins before anybody is told that nobody is left. */
static void test_handed(void)
{
	struct stage s;
	struct waiting w = { 0 }, during = { 0 }, left = { 0 }, patient = { 0 };
	struct fetch_source *source;
	unsigned times = 0;
	stage_open(&s);
	stage_meet(&s);
	begin(&s, 0, BIG, &w, NULL);
	for (int i = 0; i < 3; i++)
		pair_turn(&s.p, 65536);
	source = session_fetch_hand(s.p.session[1], s.p.now);
	ok(source && !session_fetch_hand(s.p.session[1], s.p.now), "what a session is to others can be taken from it once");
	pair_close(&s.p);
	is_uint(w.n, 0, "then who waits goes on waiting when it ends");
	is_int(begin(&s, BIG - 100, 100, &during, NULL), 0, "and who comes meanwhile waits as well");
	pair_open(&s.p, &s.a, &s.b);
	session_fetch_for(s.p.session[1], s.f);
	session_fetch_take(s.p.session[1], source);
	pair_run(&s.p);
	ok(w.n == 1 && w.code == 0 && during.n == 1 && during.code == 0 && reads(&s, 0, BIG), "the next one brings it");
	stage_close(&s);

	stage_open(&s);
	stage_meet(&s);
	begin(&s, 0, 100, &left, NULL);
	source = session_fetch_hand(s.p.session[1], s.p.now);
	ok(source && left.n == 0 && fetch_deadline(source) == s.p.now + FETCH_PATIENCE_US, "it has so much time for that");
	fetch_leave(source);
	ok(left.n == 1 && left.code == -EHOSTDOWN && fetch_files(s.f) == 0, "nothing takes over: who waits is told at once");
	is_errno(begin(&s, 0, 100, &left, NULL), -EHOSTDOWN, "and who comes then as well");
	pair_close(&s.p);
	stage_meet(&s);
	begin(&s, 0, 100, &patient, NULL);
	while ((source = session_fetch_hand(s.p.session[1], s.p.now))) {
		times++;
		pair_close(&s.p);
		pair_open(&s.p, &s.a, &s.b);
		session_fetch_for(s.p.session[1], s.f);
		session_fetch_take(s.p.session[1], source);
	}
	is_uint(times, FETCH_HANDED_MAX, "one that answers nothing changes hands so often");
	is_uint(patient.n, 0, "as long as it does, who waits goes on waiting");
	pair_close(&s.p);
	ok(patient.n == 1 && patient.code == -EHOSTDOWN, "and no longer");
	stage_close(&s);
}

/* A hub may have more devices than are asked; their sessions go on. */
static void test_many(void)
{
	struct node a, b;
	struct fetches *f;
	struct pair p;
	static struct fetch_source *source[FETCH_SOURCES_MAX + 1];
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	if (fetches_new(a.replica, NULL, NULL, &f) < 0)
		tap_bail("out of memory");
	unsigned n = 0;
	while (n < FETCH_SOURCES_MAX && fetch_join(f, &source[n]) == 0)
		n++;
	is_uint(n, FETCH_SOURCES_MAX, "as many as may be");
	is_errno(fetch_join(f, &source[n]), -EUSERS, "and not one more");
	node_write(&b, "c", "x.json", "{}\n", 3);
	pair_open(&p, &a, &b);
	session_fetch_for(p.session[0], f);
	pair_run(&p);
	ok(!p.failed && session_in_step(p.session[0]) && !session_is_source(p.session[0]),
	   "a session goes on without being asked");
	pair_close(&p);
	while (n > 0)
		fetch_leave(source[--n]);
	fetches_free(f);
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	tap_plan(66);
	test_plain();
	test_gone();
	test_hostile();
	test_two();
	test_sought();
	test_gone_slow();
	test_handed();
	test_many();
	return tap_done();
}
