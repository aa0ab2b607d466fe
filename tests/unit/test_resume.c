/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rounds that are cut go on where they were: what that costs, and that nothing is left out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/actor.h"
#include "engine/json.h"
#include "engine/spans.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define DIRS 4

/* ---- documents ---- */

static void name_of(unsigned i, char dir[static 16], char name[static 32])
{
	snprintf(dir, 16, "c%u", i % DIRS);
	snprintf(name, 32, i % 10 == 9 ? "%u.bin" : i % 10 == 8 ? "%u.txt" : "%u.json", i);
}

static void write_one(struct node *n, unsigned i, unsigned value, struct prng *r)
{
	char dir[16], name[32];
	_cleanup_(buf_done) struct buf b = { 0 };
	name_of(i, dir, name);
	if (i % 10 == 9) { /* a blob; in short histories of some chunks */
		size_t len = i == 59 ? 150000 : 700;
		uint8_t *p = buf_reserve(&b, len);
		if (!p)
			tap_bail("out of memory");
		prng_fill(r, p, len);
		b.len = len;
	} else if (i % 10 == 8) {
		for (unsigned k = 0; k < 20; k++)
			buf_putf(&b, "line %u of text %u in state %u\n", k, i, k == value % 20 ? value : 0);
	} else {
		buf_putf(&b, "{\n  \"value\": %u,\n  \"number\": %u", value, i);
		for (unsigned k = 0; k < 20; k++)
			buf_putf(&b, ",\n  \"f%u\": \"%016llx%016llx\"", k,
				 (unsigned long long)prng_u64(r), (unsigned long long)prng_u64(r));
		buf_puts(&b, "\n}\n");
	}
	node_write(n, dir, name, b.data, b.len);
}

static unsigned differing(struct node *a, struct node *b, unsigned count)
{
	unsigned n = 0;
	for (unsigned i = 0; i < count; i++) {
		char dir[16], name[32];
		name_of(i, dir, name);
		_cleanup_free_ char *x = node_read(a, dir, name), *y = node_read(b, dir, name);
		if ((!x != !y) || (x && strcmp(x, y) != 0)) {
			n++;
			tap_diag("%s/%s: %s there, %s here", dir, name, x ? "is" : "not", y ? "is" : "not");
		}
	}
	return n;
}

/* ---- a link that breaks ---- */

/* 100 kbit/s, and both sides write while it lasts (count: so many files; 0: nobody does). */
struct slow {
	struct prng *r;
	unsigned count, step;
};

static void write_batch(struct node *n, unsigned i, unsigned k, unsigned value);

/* Contents do not come over a slow link. */
static void write_text(struct node *n, unsigned i, unsigned value, struct prng *r, bool slow)
{
	if (!slow || i % 10 != 9)
		write_one(n, i, value, r);
}

static void write_meanwhile(struct pair *p, struct slow *slow)
{
	struct node *n = p->node[prng_below(slow->r, 2)];
	if (slow->count == 0 || prng_below(slow->r, 6) > 0)
		return;
	if (prng_below(slow->r, 6) == 0)
		write_batch(n, (unsigned)prng_below(slow->r, slow->count),
			    (unsigned)prng_below(slow->r, slow->count), slow->step);
	else
		write_text(n, (unsigned)prng_below(slow->r, slow->count), slow->step, slow->r, true);
	node_flush(n, p->session[n == p->node[1]]);
}

/* Carries so many bytes in all, then breaks in the midst of what is sent. True: it has carried everything. */
static bool carry(struct pair *p, uint64_t most, bool flush, struct slow *slow)
{
	uint64_t left = most;
	for (bool moved = true; moved;) {
		moved = false;
		for (int i = 0; i < 2; i++) {
			_cleanup_(buf_done) struct buf out = { 0 };
			if (session_output(p->session[i], &out, 1024, p->now, &p->e) < 0)
				tap_bail("output: %s", p->e.message);
			size_t n = out.len < left ? out.len : (size_t)left;
			p->bytes[i] += n;
			left -= n;
			moved |= n > 0;
			if (n > 0 && session_input(p->session[!i], out.data, n, p->now, &p->e) < 0)
				tap_bail("input: %s", p->e.message);
			if (left == 0)
				return false;
			if (slow && n > 0) {
				p->now += n * 80;
				write_meanwhile(p, slow);
			}
		}
		p->now += 100;
		for (int i = 0; i < 2 && (flush || !moved); i++) {
			moved |= replica_dirty(p->node[i]->replica);
			node_flush(p->node[i], p->session[i]);
		}
	}
	return true;
}

static uint64_t meet(struct node *a, struct node *b, uint64_t most, bool flush, struct slow *slow, bool *ret_done)
{
	struct pair p;
	pair_open(&p, a, b);
	for (int i = 0; slow && i < 2; i++)
		session_pace(p.session[i], 100000, true);
	*ret_done = carry(&p, most, flush, slow);
	uint64_t bytes = p.bytes[0] + p.bytes[1];
	pair_close(&p);
	return bytes;
}

/* ---- what it costs ---- */

#define DOCUMENTS 40u /* from one cut to the next */

static void test_cost(uint64_t seed, unsigned most_cuts, bool is_slow)
{
	const unsigned count = DOCUMENTS * most_cuts;
	struct node a, b, c;
	struct prng r = { seed };
	struct slow pace = { .r = &r }, *slow = is_slow ? &pace : NULL;
	bool done;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	for (unsigned i = 0; i < count; i++)
		write_text(&a, i + 100, 0, &r, is_slow);
	uint64_t clean = meet(&a, &b, UINT64_MAX, true, slow, &done), all = 0;
	uint64_t mean = clean / (most_cuts + 1);
	unsigned cuts = 0;
	for (done = false; !done; cuts += !done) {
		/* Anywhere: 0 to twice the mean, after the last cut to the end. */
		uint64_t most = cuts < most_cuts ? 1 + prng_below(&r, (uint32_t)(2 * mean)) : UINT64_MAX;
		all += meet(&a, &c, most, true, slow, &done);
		if (cuts % 10 == 9)
			node_crash(&c, UINT64_MAX);
	}
	tap_diag("%s%u documents: %llu bytes in one go, %llu with %u cuts: %.3f times", is_slow ? "newest first, " : "", count,
		 (unsigned long long)clean, (unsigned long long)all, cuts, (double)all / (double)clean);
	ok(cuts > most_cuts / 2, "%u cuts", cuts);
	ok(10 * all <= 11 * clean, "cost a tenth at most");
	is_uint(differing(&a, &c, count + 100), 0, "and everything is there");
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* ---- that nothing is left out ---- */

static void write_batch(struct node *n, unsigned i, unsigned k, unsigned value)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	char dir[2][16], name[2][32], path[2][64], text[64];
	struct txn_step step[2];
	struct txn_result result[2];
	struct json *json;
	struct err e = { 0 };
	uint32_t at;
	unsigned which[2] = { i - i % 10, k - k % 10 };
	snprintf(text, sizeof(text), "{\"batch\": %u}", value);
	if (which[0] == which[1] || json_parse(&a, text, strlen(text), NULL, &json, NULL) < 0)
		return;
	for (int j = 0; j < 2; j++) {
		name_of(which[j], dir[j], name[j]);
		/* With its directory. */
		_cleanup_free_ char *there = node_read(n, dir[j], name[j]);
		if (!there)
			node_write(n, dir[j], name[j], "{}\n", 3);
		snprintf(path[j], sizeof(path[j]), "%s/%s", dir[j], name[j]);
		step[j] = (struct txn_step){ TXN_MERGE, path[j], json, NULL };
	}
	if (replica_txn(n->replica, step, 2, result, &at, &e) < 0)
		tap_bail("%s", e.message);
}

/* Three stores change things and meet over links that break; one or the other crashes. Then they meet
 * undisturbed. */
static unsigned history(uint64_t seed, bool is_slow)
{
	enum { COUNT = 60 };
	struct prng r = { seed };
	struct slow pace = { .r = &r, .count = COUNT }, *slow = is_slow ? &pace : NULL;
	struct node n[3];
	bool done;
	for (uint8_t i = 0; i < 3; i++)
		node_open(&n[i], (uint8_t)(1 + i), NULL);
	for (unsigned step = 0; step < 40; step++) {
		struct node *x = &n[prng_below(&r, 3)];
		unsigned changes = (unsigned)prng_below(&r, 12);
		pace.step = step;
		for (unsigned i = 0; i < changes; i++) {
			if (prng_below(&r, 6) == 0)
				write_batch(x, (unsigned)prng_below(&r, COUNT), (unsigned)prng_below(&r, COUNT),
					    step);
			else
				write_text(x, (unsigned)prng_below(&r, COUNT), step, &r, is_slow);
		}
		for (unsigned i = 0; i < 3; i++) {
			uint32_t k = (uint32_t)prng_below(&r, 3);
			meet(&n[k], &n[(k + 1 + prng_below(&r, 2)) % 3],
			     1 + prng_below(&r, prng_below(&r, 3) ? 20000 : 200000), prng_below(&r, 2), slow, &done);
			if (prng_below(&r, 8) == 0)
				node_crash(&n[k], prng_below(&r, 2) ? UINT64_MAX : prng_below(&r, 30));
		}
	}
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 3; i++)
			meet(&n[i], &n[(i + 1) % 3], UINT64_MAX, true, round == 0 ? slow : NULL, &done);
	unsigned bad = differing(&n[0], &n[1], COUNT) + differing(&n[0], &n[2], COUNT);
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
	return bad;
}

static void test_histories(uint64_t seed, bool slow)
{
	unsigned bad = 0;
	for (unsigned i = 0; i < 60 && !bad; i++) {
		bad = history(seed + i, slow);
		if (bad)
			tap_diag("history %llu", (unsigned long long)(seed + i));
	}
	is_uint(bad, 0, "nothing is left out in 60 histories with cuts, crashes and batches%s",
		slow ? ", newest first, and changes while links last" : "");
}

/* ---- chunks ---- */

static void test_chunks(uint64_t seed)
{
	struct node a, b;
	struct prng r = { seed };
	_cleanup_(buf_done) struct buf blob = { 0 };
	const size_t size = 4000000;
	uint8_t *p = buf_reserve(&blob, size);
	bool done = false;
	uint64_t all = 0;
	if (!p)
		tap_bail("out of memory");
	prng_fill(&r, p, size);
	blob.len = size;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "c", "large.bin", blob.data, blob.len);
	for (unsigned cuts = 0; !done; cuts++) {
		all += meet(&a, &b, cuts < 10 ? 300000 + prng_below(&r, 200000) : UINT64_MAX, true, NULL, &done);
		if (cuts == 5) {
			node_crash(&b, UINT64_MAX);
			struct err e = { 0 };
			struct sweep_report swept;
			if (replica_sweep(b.replica, &swept, &e) < 0)
				tap_bail("sweep: %s", e.message);
		}
	}
	/* Each of them is measured first. */
	ok(all < size + size / 4 + 11 * 32768, "a large file over eleven links: %llu bytes of %zu",
	   (unsigned long long)all, size);
	_cleanup_free_ char *there = node_read(&b, "c", "large.bin");
	ok(there && memcmp(there, blob.data, size) == 0, "is there");
	node_close(&a);
	node_close(&b);
}

/* ---- who is believed ---- */

/* The sender goes on as an earlier state of itself: what was noted of the later one does not count. */
static void test_brought_back(uint64_t seed)
{
	struct node a, b;
	struct prng r = { seed };
	bool done;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 30; i++)
		write_one(&a, i, 0, &r);
	struct store *copy = node_copy(&a);
	for (unsigned i = 0; i < 30; i++)
		write_one(&a, i, 1, &r);
	meet(&a, &b, 12000, true, NULL, &done);
	ok(!done, "a round is cut");
	node_bring_back(&a, copy);
	store_close(copy);
	for (unsigned i = 0; i < 40; i++)
		write_one(&a, i, 2, &r);
	unsigned bad = 0;
	for (unsigned i = 0; i < 3; i++) {
		struct pair p;
		pair_open(&p, &a, &b);
		pair_run(&p);
		bad = p.failed && p.e.code != -ESTALE;
		pair_close(&p);
	}
	ok(!bad && differing(&a, &b, 40) == 0, "its sender is brought back, and all is there");
	node_close(&a);
	node_close(&b);
}

/* Spans of so many actors that RESUME has no room for them. */
static void test_large_spans(uint64_t seed)
{
	struct node a, b;
	struct prng r = { seed };
	struct spans spans = { .n = 1 };
	struct attr at;
	struct actor_id from;
	struct vv reached = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 10; i++)
		write_one(&a, 4 * i, 0, &r);
	if (!pair_meet(&a, &b) || replica_lookup(b.replica, &NODE_ROOT, "c0", 2, &at) < 0)
		tap_bail("no meeting");
	replica_self(a.replica, &from, NULL);
	for (uint32_t i = 0; i < 4500; i++) {
		struct actor_id id = { .incarnation = i + 1 };
		uint32_t no;
		if (actors_intern(replica_actors(b.replica), &id, &no) < 0 || vv_raise(&spans.low[0], no, 1) < 0 ||
		    vv_raise(&spans.high[0], no, 2) < 0)
			tap_bail("out of memory");
	}
	for (unsigned i = 0; i < 2; i++) {
		if (replica_partial_raise(b.replica, &from, &at.id, NULL, &spans) < 0 ||
		    (i == 1 && (vv_raise(&reached, 0, 1) < 0 ||
				replica_partial_raise(b.replica, &from, &at.id, &reached, NULL) < 0)))
			tap_bail("out of memory");
		write_one(&a, 4, 1 + i, &r);
		ok(pair_meet(&a, &b) && differing(&a, &b, 40) == 0, "spans that do not fit do not end a session");
	}
	spans_done(&spans);
	vv_done(&reached);
	node_close(&a);
	node_close(&b);
}

int main(int argc, char **argv)
{
	const uint64_t seed = tap_seed(argc, argv), cuts = tap_rounds(argc, argv, 200);
	tap_plan(2 * (3 + 1) + 2 + 2 + 2);
	for (int slow = 0; slow < 2; slow++) {
		test_cost(seed, (unsigned)cuts, slow);
		test_histories(seed, slow);
	}
	test_chunks(seed);
	test_large_spans(seed);
	test_brought_back(seed);
	return tap_done();
}
