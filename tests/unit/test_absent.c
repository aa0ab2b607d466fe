/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents that are not here: what evicts them, what leaves them away, and that the last copy stays. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/chunk.h"
#include "engine/frame.h"
#include "tests/held.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define BIG (700u * 1024)
#define SMALL (20u * 1024)

static void write_random(struct node *n, const char *dir, const char *name, size_t len, uint64_t seed)
{
	struct prng r = { seed };
	_cleanup_free_ char *data = malloc(len);
	prng_fill(&r, data, len);
	node_write(n, dir, name, data, len);
}

static struct attr look(struct node *n, const char *dir, const char *name)
{
	struct attr at = { .id = NODE_ROOT };
	struct id parent;
	if (replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &at) < 0)
		tap_bail("no directory %s", dir);
	parent = at.id;
	if (replica_lookup(n->replica, &parent, name, strlen(name), &at) < 0)
		tap_bail("no file %s", name);
	return at;
}

/* The first bytes, or why they cannot be read. */
static ssize_t read_some(struct node *n, const struct id *id)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	char room[16];
	int r = replica_read(n->replica, id, &v);
	return r < 0 ? r : version_pread(v, room, sizeof(room), 0);
}

static bool is_random(struct node *n, const struct id *id, size_t len, uint64_t seed)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	_cleanup_free_ char *want = malloc(len), *got = malloc(len + 1);
	struct prng r = { seed };
	prng_fill(&r, want, len);
	return replica_read(n->replica, id, &v) == 0 && version_size(v) == len &&
	       version_pread(v, got, len, 0) == (ssize_t)len && memcmp(want, got, len) == 0;
}

static void on_problem(const char *problem, void *userdata)
{
	(void)userdata;
	tap_diag("%s", problem);
}

static bool sound(struct node *n)
{
	struct verify_report report;
	return replica_verify(n->replica, false, on_problem, NULL, &report, NULL) == 0 && report.errors == 0;
}

static uint64_t sweep(struct node *n)
{
	struct sweep_report one, two;
	struct err e = { 0 };
	/* What came from a peer is spared once. */
	if (replica_sweep(n->replica, &one, &e) < 0 || replica_sweep(n->replica, &two, &e) < 0)
		tap_bail("sweep: %s", e.message);
	return one.deleted + two.deleted;
}

static void ask(struct session *s, const struct id *id, const struct blob_ref *ref, uint32_t n)
{
	struct holding h[4];
	uint64_t number;
	for (uint32_t i = 0; i < n; i++)
		h[i] = (struct holding){ *id, ref[i] };
	int r = session_ask_holds(s, h, n, &number);
	if (r < 0)
		tap_bail("cannot ask: %s", strerror(-r));
}

static bool answer(struct session *s, uint32_t n)
{
	uint64_t number, bits = 0;
	return session_take_held(s, &number, &bits) && bits == (UINT64_C(1) << n) - 1;
}

/* All of it by way of one session: asks the peer, and goes by its word. */
static int evict(struct pair *p, int who, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct blob_ref *ref;
	uint32_t n;
	struct replica *r = p->node[who]->replica;
	int rc = replica_leave(r, id, &a, &ref, &n);
	if (rc < 0)
		return rc;
	ask(p->session[who], id, ref, n);
	pair_run(p);
	if (answer(p->session[who], n))
		return replica_left(r, id, ref, n, NULL);
	replica_stay(r, id);
	return -ENOENT;
}

static void test_evict(void)
{
	struct node a, b;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	write_random(&a, "c", "big.bin", BIG, 5);
	write_random(&a, "c", "twin.bin", BIG, 5);
	node_write(&a, "c", "doc.json", "{}\n", 3);
	pair_open(&p, &a, &b);
	pair_run(&p);
	write_random(&a, "c", "other.bin", BIG, 6);
	struct attr big = look(&a, "c", "big.bin"), other = look(&a, "c", "other.bin"), dir;
	is_errno(evict(&p, 0, &other.id), -ENOENT, "before the peer holds it, nobody does");
	ok(!look(&a, "c", "other.bin").absent && is_random(&a, &other.id, BIG, 6), "and it stays");
	pair_run(&p);
	is_int(evict(&p, 0, &other.id), 0, "when the peer holds it, it can go");
	ok(read_some(&a, &other.id) > 0, "a sweep has to come first");
	node_flush(&a, p.session[0]);
	pair_run(&p);
	ok(sweep(&a) > 0 && read_some(&a, &other.id) == -EHOSTDOWN, "then its bytes are gone");
	other = look(&a, "c", "other.bin");
	ok(other.absent && other.size == BIG, "its name and size are not");
	ok(is_random(&b, &other.id, BIG, 6), "and the peer has it");
	is_errno(evict(&p, 0, &other.id), -EALREADY, "it cannot go twice");
	is_errno(evict(&p, 1, &other.id), -ENOENT, "the peer has the only copy now, which stays");
	is_int(evict(&p, 0, &big.id), 0, "one of two of the same bytes");
	sweep(&a);
	struct attr twin = look(&a, "c", "twin.bin"), doc = look(&a, "c", "doc.json");
	ok(look(&a, "c", "big.bin").absent && is_random(&a, &twin.id, BIG, 5), "leaves the other one its own");
	is_errno(evict(&p, 0, &doc.id), -EINVAL, "a document is its record");
	replica_lookup(a.replica, &NODE_ROOT, "c", 1, &dir);
	is_errno(evict(&p, 0, &dir.id), -EISDIR, "and a directory holds nothing");
	ok(sound(&a) && sound(&b), "verify finds nothing wrong");
	ok(replica_peer_partial(b.replica, &a.id) && !replica_peer_partial(a.replica, &b.id),
	   "the peer knows that something is missing there");
	pair_close(&p);
	node_flush(&a, NULL);
	node_crash(&a, 0);
	ok(look(&a, "c", "other.bin").absent && replica_absents(a.replica) == 2, "it is known after a crash");

	/* Written over, more than a second later. */
	a.now += 5000000;
	write_random(&a, "c", "other.bin", SMALL, 7);
	ok(!look(&a, "c", "other.bin").absent && is_random(&a, &other.id, SMALL, 7),
	   "what is written over it is here");
	_cleanup_(arena_done) struct arena m = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct past *past;
	uint32_t n = 0;
	char room[8];
	ok(replica_history(a.replica, &other.id, &m, &past, &n) == 0 && n == 2 && past[1].size == BIG &&
		   replica_history_read(a.replica, &other.id, &past[1], &v) == 0 &&
		   version_pread(v, room, sizeof(room), 0) == -EHOSTDOWN,
	   "the version before is known, but not here");
	ok(sound(&a), "which is no damage");

	/* A name in another collection is another node: what is away is copied there by who can fetch it. */
	struct attr where;
	if (replica_mkdir(a.replica, &NODE_ROOT, "d", 1, 0755, &where) < 0)
		tap_bail("cannot make d");
	is_errno(replica_rename(a.replica, &big.id, &where.id, "moved.bin", 9, 0, NULL), -EXDEV,
		 "what is away is not moved elsewhere");
	is_int(replica_rename(a.replica, &big.id, &dir.id, "moved.bin", 9, 0, NULL), 0,
	       "in its collection it can be moved");
	ok(look(&a, "c", "moved.bin").absent, "and is away still");
	node_close(&a);
	node_close(&b);
}

/* Both believe that the other one holds it. */
static void test_both(void)
{
	_cleanup_(arena_done) struct arena m = { 0 };
	struct node a, b;
	struct pair p;
	struct blob_ref *ref, *same;
	uint32_t n;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	write_random(&a, "c", "x.bin", BIG, 5);
	pair_open(&p, &a, &b);
	pair_run(&p);
	struct attr x = look(&a, "c", "x.bin");
	if (replica_leave(a.replica, &x.id, &m, &ref, &n) < 0 ||
	    replica_leave(b.replica, &x.id, &m, &same, &n) < 0)
		tap_bail("cannot leave");
	is_errno(replica_leave(a.replica, &x.id, &m, &ref, &n), -EBUSY, "who is leaving cannot leave again");
	ask(p.session[0], &x.id, ref, n);
	ask(p.session[1], &x.id, same, n);
	pair_run(&p);
	ok(!answer(p.session[0], n) && !answer(p.session[1], n), "two that leave at once both hear no");
	replica_stay(a.replica, &x.id);
	replica_stay(b.replica, &x.id);
	is_int(evict(&p, 1, &x.id), 0, "one after the other, the first may");
	is_errno(evict(&p, 0, &x.id), -ENOENT, "the second may not");
	write_random(&a, "c", "x.bin", BIG, 6);
	if (replica_leave(a.replica, &x.id, &m, &ref, &n) < 0)
		tap_bail("cannot leave");
	write_random(&a, "c", "x.bin", BIG, 7);
	is_errno(replica_left(a.replica, &x.id, ref, n, NULL), -EAGAIN, "what was written since stays");
	ok(is_random(&a, &x.id, BIG, 7), "all of it");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

#define DEVICES 3

enum stage { HERE, ASKING, GONE };

struct device {
	struct node node;
	enum stage stage;
	bool held;      /* some peer said so since it began to leave */
	bool waits[DEVICES];
	struct arena arena;
	struct blob_ref *ref;
	uint32_t n;
};

struct mesh {
	struct device d[DEVICES];
	struct pair pair[DEVICES][DEVICES]; /* [low][high] */
	struct id id;
};

static struct session *session_of(struct mesh *m, int who, int peer)
{
	return who < peer ? m->pair[who][peer].session[0] : m->pair[peer][who].session[1];
}

static void mesh_answers(struct mesh *m, int who)
{
	struct device *d = &m->d[who];
	uint64_t number, bits;
	for (int k = 0; k < DEVICES; k++)
		while (k != who && session_take_held(session_of(m, who, k), &number, &bits)) {
			d->held |= d->stage == ASKING && bits == 1;
			d->waits[k] = false;
		}
}

static void mesh_leave(struct mesh *m, int who)
{
	struct device *d = &m->d[who];
	for (int k = 0; k < DEVICES; k++)
		if (d->waits[k])
			return; /* an answer of before is on its way still */
	if (replica_leave(d->node.replica, &m->id, &d->arena, &d->ref, &d->n) < 0)
		return;
	d->stage = ASKING;
	d->held = false;
	for (int k = 0; k < DEVICES; k++)
		if (k != who) {
			ask(session_of(m, who, k), &m->id, d->ref, 1);
			d->waits[k] = true;
		}
}

static void mesh_decide(struct mesh *m, int who, struct prng *r)
{
	struct device *d = &m->d[who];
	if (d->held && prng_chance(r, 90) && replica_left(d->node.replica, &m->id, d->ref, 1, NULL) == 0) {
		d->stage = GONE;
		return;
	}
	replica_stay(d->node.replica, &m->id);
	d->stage = HERE;
}

/* Devices begin to leave, ask, answer and decide in any order, with bytes on their way as long as it pleases;
 * somebody holds it at any moment. True if somebody left. */
static bool race(uint64_t seed, uint64_t *ret_left)
{
	struct prng r = { seed };
	struct mesh *m = calloc(1, sizeof(*m));
	unsigned gone = 0;
	for (int i = 0; i < DEVICES; i++)
		node_open(&m->d[i].node, (uint8_t)(i + 1), NULL);
	write_random(&m->d[0].node, "c", "x.bin", SMALL, seed);
	m->id = look(&m->d[0].node, "c", "x.bin").id;
	for (int i = 0; i < DEVICES; i++)
		for (int k = i + 1; k < DEVICES; k++) {
			pair_open(&m->pair[i][k], &m->d[i].node, &m->d[k].node);
			pair_run(&m->pair[i][k]);
		}
	for (int step = 0; step < 120; step++) {
		int who = (int)prng_below(&r, DEVICES), peer = (int)prng_below(&r, DEVICES);
		struct device *d = &m->d[who];
		mesh_answers(m, who);
		if (prng_chance(&r, 60) && who < peer)
			pair_turn(&m->pair[who][peer], 64);
		else if (d->stage == HERE && prng_chance(&r, 40))
			mesh_leave(m, who);
		else if (d->stage == ASKING && prng_chance(&r, 50))
			mesh_decide(m, who, &r);
		else if (prng_chance(&r, 30))
			node_flush(&d->node, NULL);
		gone = 0;
		for (int i = 0; i < DEVICES; i++)
			gone += m->d[i].stage == GONE;
		if (gone == DEVICES)
			break;
	}
	*ret_left += gone;
	bool read = false, failed = false;
	for (int i = 0; i < DEVICES; i++) {
		sweep(&m->d[i].node);
		read |= is_random(&m->d[i].node, &m->id, SMALL, seed);
	}
	for (int i = 0; i < DEVICES; i++)
		for (int k = i + 1; k < DEVICES; k++) {
			failed |= m->pair[i][k].failed;
			pair_close(&m->pair[i][k]);
		}
	for (int i = 0; i < DEVICES; i++) {
		arena_done(&m->d[i].arena);
		node_close(&m->d[i].node);
	}
	free(m);
	return read && gone < DEVICES && !failed;
}

static void test_race(uint64_t seed, uint64_t rounds)
{
	uint64_t left = 0, bad = 0;
	for (uint64_t i = 0; i < rounds; i++)
		if (!race(seed + i, &left)) {
			tap_diag("seed %llu lost it", (unsigned long long)(seed + i));
			bad++;
		}
	is_uint(bad, 0, "three devices leave in any order: somebody always holds it");
	ok(left > rounds / 2, "though %llu left in %llu rounds", (unsigned long long)left,
	   (unsigned long long)rounds);
}

/* Contents that do not come unasked, and those that whoever passes the record on does not have. */
static void test_rule(void)
{
	struct node a, b, c;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	replica_set_eager(b.replica, 100 * 1024);
	write_random(&a, "c", "big.bin", BIG, 5);
	write_random(&a, "c", "small.bin", SMALL, 6);
	pair_open(&p, &a, &b);
	pair_run(&p);
	struct attr big = look(&b, "c", "big.bin"), small = look(&b, "c", "small.bin");
	ok(!p.failed && big.absent && big.size == BIG && read_some(&b, &big.id) == -EHOSTDOWN,
	   "a large file comes without its bytes");
	ok(p.bytes[0] < BIG / 2, "which are not sent (%llu bytes were)", (unsigned long long)p.bytes[0]);
	ok(is_random(&b, &small.id, SMALL, 6), "a small one with them");
	is_int(replica_absence(b.replica, &big.id), ABSENT_RULE, "by rule");
	ok(held_by(a.replica, &b.id, NULL) && replica_peer_partial(a.replica, &b.id),
	   "the record is acknowledged, and that something is missing is known with it");
	is_errno(evict(&p, 0, &big.id), -ENOENT, "so nobody else holds it");
	is_int(evict(&p, 0, &small.id), 0, "but the small one");
	/* A conflict of which one value is here: it stays. */
	write_random(&b, "c", "small.bin", SMALL, 8);
	pair_close(&p);
	sweep(&b);
	ok(is_random(&b, &small.id, SMALL, 8), "a sweep leaves what is here");

	ok(pair_meet(&b, &c), "a third device meets the one that lacks it");
	ok(look(&c, "c", "big.bin").absent && replica_absence(c.replica, &big.id) == ABSENT_WANTED,
	   "and has the record, and wants the rest");
	ok(held_by(b.replica, &c.id, NULL), "the round is complete");
	write_random(&a, "c", "big.bin", BIG, 9);
	ok(pair_meet(&a, &b) && look(&b, "c", "big.bin").absent, "a new version of it does not come either");
	replica_set_eager(b.replica, 0);
	write_random(&a, "c", "third.bin", BIG, 10);
	ok(pair_meet(&a, &b) && !look(&b, "c", "third.bin").absent, "without the rule all comes");
	ok(sound(&a) && sound(&b) && sound(&c), "verify finds nothing wrong");
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

static void put_frame(struct buf *b, enum frame_type t, const void *data, size_t len)
{
	buf_u8(b, (uint8_t)t);
	buf_varint(b, len);
	buf_put(b, data, len);
}

/* After a session has begun, the peer says this. */
static int say(const void *frame, size_t len, enum frame_type t)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct node x, y;
	struct pair p;
	struct err e = { 0 };
	node_open(&x, 1, NULL);
	node_open(&y, 2, NULL);
	pair_open(&p, &x, &y);
	pair_run(&p);
	put_frame(&b, t, frame, len);
	int r = session_input(p.session[0], b.data, b.len, p.now, &e);
	if (r < 0)
		tap_diag("%s", e.message);
	pair_close(&p);
	node_close(&x);
	node_close(&y);
	return r;
}

static void test_hostile(void)
{
	uint8_t holds[2 + ID_SIZE + 1 + 32] = { 1, 1 };
	is_int(say(holds, sizeof(holds), FRAME_HOLDS), 0, "a question");
	is_errno(say(holds, sizeof(holds) - 1, FRAME_HOLDS), -EPROTO, "half of one");
	holds[0] = 2;
	is_errno(say(holds, sizeof(holds), FRAME_HOLDS), -EPROTO, "the second before the first");
	is_errno(say("\1\0", 2, FRAME_HOLDS), -EPROTO, "about nothing");
	is_errno(say("\1\101", 2, FRAME_HOLDS), -EPROTO, "about 65 contents");
	is_errno(say("\1\1", 2, FRAME_HELD), -EPROTO, "an answer to no question");
	is_errno(say("\0\2", 2, FRAME_HELD), -EPROTO, "neither yes nor no");
	is_errno(say("\0\1\0", 3, FRAME_HELD), -EPROTO, "something behind it");
	is_int(say("\0\1", 2, FRAME_HELD), 0, "something is missing there");
	is_errno(say("", 0, (enum frame_type)22), -EPROTO, "a type between that there is not");
}

int main(int argc, char **argv)
{
	tap_plan(54);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 60);
	test_evict();
	test_both();
	test_race(seed, rounds);
	test_rule();
	test_hostile();
	return tap_done();
}
