/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slow links in a row and in a ring: what a device passes on while it is still being told of it. That nothing
 * is taken for sent that was not, and nothing claimed that did not come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/frame.h"
#include "engine/json.h"
#include "engine/purge.h"
#include "engine/session-impl.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define BYTE_US 80 /* 100 kbit/s */

/* ---- three devices, in a certain order ---- */

static void write_one(struct node *n, const char *name, const char *field)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct prng r = { (uint64_t)name[0] };
	buf_putf(&b, "{\n  \"now\": \"%s\"", field);
	for (unsigned k = 0; k < 10; k++)
		buf_putf(&b, ",\n  \"f%u\": \"%016llx\"", k, (unsigned long long)prng_u64(&r));
	buf_puts(&b, "\n}\n");
	node_write(n, "c", name, b.data, b.len);
}

static void write_many(struct node *n, char first, unsigned count, const char *field)
{
	for (unsigned i = 0; i < count; i++) {
		char name[24];
		snprintf(name, sizeof(name), "%c%u.json", first, i);
		write_one(n, name, field);
	}
}

static bool has(struct node *n, const char *name, const char *field)
{
	_cleanup_free_ char *text = node_read(n, "c", name);
	return text && strstr(text, field);
}

static unsigned wholes; /* records that were asked for because a delta did not fit */

static void look(const struct buf *out)
{
	enum frame_type t;
	size_t head, n;
	struct err e;
	for (size_t at = 0; at < out->len; at += head + n) {
		if (frame_head(out->data + at, out->len - at, &t, &head, &n, &e) <= 0)
			return;
		wholes += t == FRAME_WHOLE;
	}
}

/* A turn of few bytes; flushed: what comes is durable at once, and news to the session. */
static bool turn(struct pair *p)
{
	return pair_crawl(p, 512, BYTE_US, look);
}

static void until(struct pair *p, int side, const char *name, const char *field)
{
	while (!has(p->node[side], name, field))
		if (!turn(p))
			tap_bail("%s never came", name);
}

static void run(struct pair *p)
{
	while (turn(p))
		;
}

/* A sends B much, in which x has come, of A or of C; and C may change x. */
struct trio {
	struct node a, b, c;
	struct pair ab, ca;
};

static void trio_open(struct trio *t, bool of_c)
{
	node_open(&t->a, 1, NULL);
	node_open(&t->b, 2, NULL);
	node_open(&t->c, 3, NULL);
	write_many(&t->a, 'o', 100, "old");
	t->c.now = t->a.now;
	write_one(of_c ? &t->c : &t->a, "x.json", "old");
	/* Numbers of C that are claimed, and not of x. */
	write_many(&t->c, 'q', 5, "old");
	if (!pair_meet(&t->a, &t->c))
		tap_bail("no meeting");
	pair_open(&t->ab, &t->a, &t->b);
	pair_pace(&t->ab, 100000, true);
	wholes = 0;
	until(&t->ab, 1, "x.json", "old");
	for (unsigned i = 0; i < 5; i++)
		(void)turn(&t->ab);
}

static void trio_close(struct trio *t)
{
	pair_close(&t->ca);
	pair_close(&t->ab);
	node_close(&t->a);
	node_close(&t->b);
	node_close(&t->c);
}

/* C changes x and others; A gets x, and not all of the round. False: all of it. They are too few to put A's round in
 * debt, which would forget what was sent of x. */
static bool trio_begin(struct trio *t, char others)
{
	char last[16];
	snprintf(last, sizeof(last), "%c9.json", others);
	write_one(&t->c, "x.json", "by-c");
	write_many(&t->c, others, 10, "more");
	pair_open(&t->ca, &t->c, &t->a);
	pair_pace(&t->ca, 100000, false);
	until(&t->ca, 1, "x.json", "by-c");
	session_news(t->ab.session[0]);
	return !has(&t->a, last, "more");
}

/* Then A changes something, which comes to B. */
static void trio_change(struct trio *t, const char *name, const char *field)
{
	write_one(&t->a, name, field);
	node_flush(&t->a, t->ab.session[0]);
	until(&t->ab, 1, name, field);
	for (unsigned i = 0; i < 5; i++)
		(void)turn(&t->ab);
}

/* In the end all is in step. */
static bool trio_end(struct trio *t)
{
	run(&t->ca);
	session_news(t->ab.session[0]);
	run(&t->ab);
	return session_in_step(t->ca.session[0]) && session_in_step(t->ab.session[0]) && session_in_step(t->ab.session[1]);
}

/* Until all are in step. Then B has x as that one left it. */
static void trio_through(struct trio *t, const char *x)
{
	ok(!has(&t->b, "o1.json", ""), "the other round has been raised, and is not through");
	ok(trio_end(t), "all are in step");
	is_uint(wholes, 0, "what is sent fits what was sent before");
	ok(has(&t->b, "x.json", x), "and the change is there");
	trio_close(t);
}

/* x is sent. C changes x, and A gets that in a round which is not complete. A raises its own round, and x, as the
 * new view has it, is not sent for that; then the round of C ends. What C did to x has to come. */
static void test_not_claimed(bool batch)
{
	struct trio t;
	trio_open(&t, false);
	ok(trio_begin(&t, batch ? 'o' : 'p'), "a change is here, and its round is not complete");
	trio_change(&t, "y.json", "new");
	trio_change(&t, "z.json", "new");
	trio_through(&t, "by-c");
}

/* x is of C and sent. C changes it again, and A gets that in a round which is not complete; A raises its own round for
 * something else, so that x is met as the new view has it, and then changes x itself. What is sent for that stands
 * on what B has of x, not on the last number of C that A has claimed, which is of something else. */
static void test_extra(void)
{
	struct trio t;
	trio_open(&t, true);
	ok(trio_begin(&t, 'p'), "a change of what was sent is here, and its round is not complete");
	trio_change(&t, "y.json", "new");
	trio_change(&t, "x.json", "by-a");
	trio_through(&t, "by-a");
}

/* B wants only word of what A changes from here on. */
static void want_word(struct pair *ab)
{
	struct wish *w;
	for (int k = 0; k < 2; k++) {
		struct session *s = ab->session[k];
		struct wishes *all = k ? &s->own_wishes : &s->peer_wishes;
		for (uint32_t i = 0; i < s->n_scopes; i++) {
			if (wishes_get(all, &s->scope[i]->id, actors_find(s->actors, &ab->session[0]->own), &w) < 0)
				tap_bail("out of memory");
			wishes_set(all, w, WISH_LAZY, false, 0);
		}
		session_news(s);
	}
}

/* A changed one field of x, which waits in a round to B, with changes of C; then it is told to send only word, and
 * changes another field. What C makes is wanted, and raises the round. If A's changes stayed behind, the first one
 * would be claimed with it and not be sent: x stands behind the second one in what is walked then. Unless B has told
 * that it got the first one elsewhere, from D: then they do. */
static void test_word(bool elsewhere)
{
	static const char *const text[] = { "{\"one\": 0, \"two\": 0}\n", "{\"one\": 1, \"two\": 0}\n",
					    "{\"one\": 1, \"two\": 1}\n" };
	struct node a, b, c, d;
	struct pair ab;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	node_open(&d, 4, NULL);
	node_write(&a, "c", "x.json", text[0], strlen(text[0]));
	if (!pair_meet(&a, &b) || !pair_meet(&a, &c))
		tap_bail("no meeting");
	node_write(&a, "c", "x.json", text[1], strlen(text[1]));
	/* More than is looked through at once. */
	write_many(&a, 'o', 2 * 64, "old");
	if (!pair_meet(&a, &d))
		tap_bail("no meeting");
	c.now = a.now;
	write_many(&c, 'p', 80, "old");
	if (!pair_meet(&c, &a))
		tap_bail("no meeting");
	pair_open(&ab, &a, &b);
	for (int i = 0; i < 2; i++)
		session_pace(ab.session[i], 100000, true);
	until(&ab, 1, "p70.json", "old");
	ok(!has(&b, "x.json", "\"one\": 1") && !has(&b, "p0.json", "old"), "a change is on its way behind others");
	want_word(&ab);
	if (elsewhere && !pair_meet(&b, &d))
		tap_bail("no meeting");
	session_news(ab.session[1]);
	for (uint64_t end = ab.now + SPREAD_GATHER_US; ab.now <= end && !has(&b, "p30.json", "old");)
		(void)turn(&ab);
	node_write(&a, "c", "x.json", text[2], strlen(text[2]));
	a.now = c.now = a.now > c.now ? a.now : c.now;
	write_one(&c, "y.json", "by-c");
	if (!pair_meet(&c, &a))
		tap_bail("no meeting");
	session_news(ab.session[0]);
	wholes = 0;
	until(&ab, 1, "y.json", "by-c");
	ok(ab.session[0]->open == 1 && !has(&b, "p0.json", "old"), "the round goes on with what is wanted first");
	while (ab.session[0]->open == 1)
		(void)turn(&ab);
	run(&ab);
	ok(has(&b, "x.json", "\"one\": 1"), "what it was to bring is there at its end");
	ok(has(&b, "x.json", elsewhere ? "\"two\": 0" : "\"two\": 1"), elsewhere ? "what came since waits" : "with what came since");
	ab.now += SPREAD_ANYHOW_US;
	run(&ab);
	ok(has(&b, "x.json", "\"one\": 1") && has(&b, "x.json", "\"two\": 1") && wholes == 0 &&
	   session_in_step(ab.session[0]) && session_in_step(ab.session[1]), "and in the end all is, as deltas that fit");
	pair_close(&ab);
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&d);
}

/* A holds x back from a round with what C made, and announces it while that is under way. When the link becomes slow,
 * the round is raised to all that was told: x goes with it. */
static void test_told(void)
{
	struct node a, b, c;
	struct pair ab;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	write_one(&a, "x.json", "old");
	if (!pair_meet(&a, &b) || !pair_meet(&a, &c))
		tap_bail("no meeting");
	pair_open(&ab, &a, &b);
	session_unpacked(ab.session[0]);
	run(&ab);
	want_word(&ab);
	write_one(&a, "x.json", "new");
	write_many(&c, 'p', 150, "old");
	if (!pair_meet(&c, &a))
		tap_bail("no meeting");
	session_news(ab.session[0]);
	until(&ab, 1, "p5.json", "old");
	for (uint64_t end = ab.now + SPREAD_GATHER_US; ab.now <= end;)
		(void)turn(&ab);
	ok(ab.session[0]->open > 0 && !has(&b, "x.json", "new"), "a change is announced while a round is under way");
	session_pace(ab.session[0], 100000, true);
	while (ab.session[0]->open > 0)
		(void)turn(&ab);
	run(&ab);
	ok(has(&b, "x.json", "new") && has(&b, "p149.json", "old"), "and goes with it, for the peer is going to claim it");
	ok(session_in_step(ab.session[0]) && session_in_step(ab.session[1]), "all are in step");
	pair_close(&ab);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* ---- any of them ---- */

#define NODES 4
#define FILES 24

struct hop {
	struct pair p;
	unsigned a, b;
	bool up;
	uint64_t step_bytes; /* one way, a step */
	int64_t left[2];     /* of these */
};

struct web {
	struct node node[NODES];
	uint64_t now;
	uint64_t put[NODES][FILES], sure[NODES][FILES]; /* what each wrote last, and of that what is on its disk */
	struct hop line[NODES];
	unsigned n, n_lines;
	uint64_t value;
	unsigned sessions, stale; /* how many began, and how many of these had to begin anew */
	struct prng r;
	bool settling;
};

#define STEP_US 50000

static void name_of(unsigned i, char dir[static 8], char name[static 16])
{
	snprintf(dir, 8, "c%u", i % 2);
	snprintf(name, 16, "%u.json", i);
}

static uint64_t value_of(struct node *n, unsigned file, unsigned of)
{
	char dir[8], name[16], key[16];
	name_of(file, dir, name);
	snprintf(key, sizeof(key), "\"w%u\": ", of);
	_cleanup_free_ char *text = node_read(n, dir, name);
	const char *at = text ? strstr(text, key) : NULL;
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void file_text(struct web *w, unsigned node, unsigned file, struct buf *b)
{
	buf_puts(b, "{");
	for (unsigned k = 0; k < w->n; k++) {
		uint64_t v = k == node ? w->put[k][file] : value_of(&w->node[node], file, k);
		if (v > 0)
			buf_putf(b, "\n  \"w%u\": %llu,", k, (unsigned long long)v);
	}
	struct prng r = { file + 1 };
	for (unsigned k = 0; k < 12; k++)
		buf_putf(b, "\n  \"f%u\": \"%016llx\"%s", k, (unsigned long long)prng_u64(&r), k < 11 ? "," : "");
	buf_puts(b, "\n}\n");
}

static void web_write(struct web *w, unsigned node, unsigned file)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	char dir[8], name[16];
	w->put[node][file] = ++w->value;
	name_of(file, dir, name);
	file_text(w, node, file, &b);
	node_write(&w->node[node], dir, name, b.data, b.len);
}

/* The node's field of two files at once. */
static void web_batch(struct web *w, unsigned node, unsigned x, unsigned y)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const unsigned file[2] = { x, y };
	char path[2][40], text[64];
	struct txn_step step[2];
	struct txn_result result[2];
	struct err e = { 0 };
	uint32_t at;
	if (x == y)
		return;
	w->value++;
	snprintf(text, sizeof(text), "{\"w%u\": %llu}", node, (unsigned long long)w->value);
	for (int i = 0; i < 2; i++) {
		struct json *json;
		char dir[8], name[16];
		name_of(file[i], dir, name);
		_cleanup_free_ char *there = node_read(&w->node[node], dir, name);
		if (!there)
			node_write(&w->node[node], dir, name, "{}\n", 3);
		if (json_parse(&a, text, strlen(text), NULL, &json, NULL) < 0)
			tap_bail("cannot parse");
		snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
		step[i] = (struct txn_step){ TXN_MERGE, path[i], json, NULL };
		w->put[node][file[i]] = w->value;
	}
	if (replica_txn(w->node[node].replica, step, 2, result, &at, &e) < 0)
		tap_bail("%s", e.message);
}

static void web_flush(struct web *w, unsigned node)
{
	node_flush(&w->node[node], NULL);
	memcpy(w->sure[node], w->put[node], sizeof(w->sure[node]));
	for (unsigned i = 0; i < w->n_lines; i++)
		for (int k = 0; k < 2; k++)
			if (w->line[i].up && (k ? w->line[i].b : w->line[i].a) == node)
				session_news(w->line[i].p.session[k]);
}

static void line_up(struct web *w, struct hop *l)
{
	l->p = (struct pair){ .node = { &w->node[l->a], &w->node[l->b] } };
	bool known = prng_chance(&w->r, 70);
	uint64_t rate = 20000 + prng_below(&w->r, 150000);
	w->sessions++;
	l->step_bytes = rate / 8 * STEP_US / 1000000;
	l->left[0] = l->left[1] = 0;
	for (int i = 0; i < 2; i++) {
		if (session_new(l->p.node[i]->replica, &l->p.node[!i]->id, w->now, &l->p.session[i]) < 0)
			tap_bail("no session");
		if (known)
			session_pace(l->p.session[i], rate, true);
	}
	l->up = true;
}

static void line_down(struct hop *l)
{
	if (l->up)
		pair_close(&l->p);
	l->up = false;
}

/* What is sent in a step; a cut comes in the midst of it. */
static bool line_step(struct web *w, struct hop *l, bool cut)
{
	bool moved = false;
	for (int i = 0; i < 2 && l->up; i++) {
		_cleanup_(buf_done) struct buf out = { 0 };
		struct err e = { 0 };
		l->left[i] += (int64_t)l->step_bytes;
		if (l->left[i] > (int64_t)l->step_bytes)
			l->left[i] = (int64_t)l->step_bytes;
		if (l->left[i] <= 0) {
			moved = true;
			continue;
		}
		if (session_output(l->p.session[i], &out, (size_t)l->left[i], w->now, &e) < 0) {
			if (e.code != -ESTALE)
				tap_bail("output: %s", e.message);
			w->stale++;
			line_down(l);
			return true;
		}
		l->left[i] -= (int64_t)out.len;
		moved |= out.len > 0;
		size_t n = cut ? (size_t)prng_below(&w->r, out.len + 1) : out.len;
		if (n > 0 && session_input(l->p.session[!i], out.data, n, w->now, &e) < 0) {
			if (e.code != -ESTALE)
				tap_bail("input: %s", e.message);
			w->stale++;
			line_down(l);
			return true;
		}
	}
	if (cut)
		line_down(l);
	return moved;
}

static void web_crash(struct web *w, unsigned node)
{
	for (unsigned i = 0; i < w->n_lines; i++)
		if (w->line[i].a == node || w->line[i].b == node)
			line_down(&w->line[i]);
	node_crash(&w->node[node], prng_chance(&w->r, 50) ? 0 : prng_below(&w->r, 8));
	for (unsigned f = 0; f < FILES; f++) {
		w->put[node][f] = value_of(&w->node[node], f, node);
		if (w->put[node][f] < w->sure[node][f])
			tap_bail("node %u lost what was on its disk: %llu of file %u, %llu is there", node,
				 (unsigned long long)w->sure[node][f], f, (unsigned long long)w->put[node][f]);
	}
}

static bool web_step(struct web *w)
{
	bool moved = false;
	w->now += STEP_US;
	for (unsigned i = 0; i < w->n && !w->settling; i++) {
		if (prng_chance(&w->r, 12)) {
			if (prng_chance(&w->r, 15))
				web_batch(w, i, (unsigned)prng_below(&w->r, FILES), (unsigned)prng_below(&w->r, FILES));
			else
				web_write(w, i, (unsigned)prng_below(&w->r, prng_chance(&w->r, 50) ? FILES : 3));
		}
		if (prng_below(&w->r, 150) == 0)
			web_crash(w, i);
	}
	for (unsigned i = 0; i < w->n; i++)
		if (replica_dirty(w->node[i].replica) && (w->settling || prng_chance(&w->r, 60))) {
			web_flush(w, i);
			moved = true;
		}
	for (unsigned i = 0; i < w->n_lines; i++) {
		struct hop *l = &w->line[i];
		if (!l->up && (w->settling || prng_chance(&w->r, 30))) {
			line_up(w, l);
			moved = true;
		}
		if (l->up)
			moved |= line_step(w, l, !w->settling && prng_below(&w->r, 60) == 0);
	}
	return moved;
}

static unsigned web_differs(struct web *w)
{
	unsigned bad = 0;
	for (unsigned f = 0; f < FILES; f++) {
		char dir[8], name[16];
		name_of(f, dir, name);
		_cleanup_free_ char *first = node_read(&w->node[0], dir, name);
		for (unsigned i = 0; i < w->n; i++) {
			_cleanup_free_ char *text = node_read(&w->node[i], dir, name);
			if (!first != !text || (first && strcmp(first, text) != 0)) {
				tap_diag("%s/%s: node %u has something else than node 0", dir, name, i);
				bad++;
			}
			for (unsigned k = 0; k < w->n; k++)
				if (value_of(&w->node[i], f, k) < w->sure[k][f]) {
					tap_diag("%s/%s: node %u does not have what node %u wrote", dir, name, i, k);
					bad++;
				}
		}
	}
	return bad;
}

static unsigned history(uint64_t seed, unsigned *sessions, unsigned *stale)
{
	struct web *w = calloc(1, sizeof(*w));
	if (!w)
		tap_bail("out of memory");
	w->r = (struct prng){ seed };
	w->n = 3 + (unsigned)prng_below(&w->r, 2);
	w->now = 1000000;
	for (unsigned i = 0; i < w->n; i++)
		node_open(&w->node[i], (uint8_t)(1 + i), NULL);
	/* The directories are the same everywhere, and so are documents of the same name. */
	node_write(&w->node[0], "c0", "first.json", "{}\n", 3);
	node_write(&w->node[0], "c1", "first.json", "{}\n", 3);
	for (unsigned i = 1; i < w->n; i++)
		if (!pair_meet(&w->node[0], &w->node[i]))
			tap_bail("no meeting");
	bool ring = prng_chance(&w->r, 40);
	for (unsigned i = 0; i + 1 < w->n || (ring && i < w->n); i++)
		w->line[w->n_lines++] = (struct hop){ .a = i, .b = (i + 1) % w->n };
	for (unsigned f = 0; f < FILES; f++)
		web_write(w, (unsigned)prng_below(&w->r, w->n), f);
	for (unsigned step = 0; step < 250; step++)
		(void)web_step(w);
	w->settling = true;
	unsigned idle = 0, steps = 0;
	for (; idle < 5 && steps < 20000; steps++)
		idle = web_step(w) ? 0 : idle + 1;
	unsigned bad = steps == 20000 ? 1 : 0;
	if (bad)
		tap_diag("it does not come to rest");
	for (unsigned i = 0; i < w->n_lines; i++)
		for (int k = 0; k < 2; k++)
			if (!w->line[i].up || !session_in_step(w->line[i].p.session[k])) {
				tap_diag("link %u-%u is not in step", w->line[i].a, w->line[i].b);
				bad++;
			}
	bad += web_differs(w);
	*sessions += w->sessions;
	*stale += w->stale;
	for (unsigned i = 0; i < w->n_lines; i++)
		line_down(&w->line[i]);
	for (unsigned i = 0; i < w->n; i++)
		node_close(&w->node[i]);
	free(w);
	return bad;
}

/* ---- what is kept of a purged file ---- */

static void drop_and_purge(struct node *n, const char *name)
{
	struct attr dir, at;
	uint32_t looked, purged;
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(n->replica, &dir.id, name, strlen(name), &at) < 0 ||
	    replica_remove(n->replica, &at.id, 0) < 0 ||
	    replica_purge(n->replica, &at.id, 1, &looked, &purged, NULL) < 0 || purged != 1)
		tap_bail("cannot purge");
}

/* A changed a file that C purged, and writes down as another one what he has of it: with dots that B knows of
 * the old one, so that B asks for the whole record, while A goes on changing things. */
static void test_heir(void)
{
	static const char old[] = "a line\n", new[] = "a line\nchanged late\n";
	struct node a, b, c;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	node_write(&a, "c", "x.txt", old, sizeof(old) - 1);
	if (!pair_meet(&a, &b) || !pair_meet(&a, &c))
		tap_bail("no meeting");
	drop_and_purge(&c, "x.txt");
	node_write(&a, "c", "x.txt", new, sizeof(new) - 1);
	write_many(&a, 'o', 100, "old");
	if (!pair_meet(&a, &c))
		tap_bail("no meeting");
	write_many(&a, 'm', 20, "old");
	pair_open(&p, &a, &b);
	for (int i = 0; i < 2; i++)
		session_pace(p.session[i], 100000, true);
	wholes = 0;
	for (unsigned i = 0; i < 2000 && !has(&b, "x.txt", "changed late"); i++) {
		char name[24];
		snprintf(name, sizeof(name), "n%u.json", i);
		if (i % 2 == 0 && i < 400)
			write_one(&a, name, "new");
		(void)turn(&p);
	}
	ok(wholes > 0 && has(&b, "x.txt", "changed late"), "the record that is asked for comes, whatever is changed meanwhile");
	run(&p);
	ok(has(&b, "o99.json", "old") && has(&b, "m19.json", "old"), "and all the rest");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 150, bad = 0;
	unsigned sessions = 0, stale = 0;
	tap_plan(3 * 5 + 2 * 5 + 3 + 2 + 2);
	tap_diag("seed %llu; again with: ./tests/unit/test_relay %llu", (unsigned long long)seed, (unsigned long long)seed);
	test_not_claimed(false);
	test_not_claimed(true);
	test_extra();
	test_word(false);
	test_word(true);
	test_told();
	test_heir();
	for (unsigned i = 0; i < rounds && !bad; i++) {
		bad = history(seed + i, &sessions, &stale);
		if (bad)
			tap_diag("again with: ./tests/unit/test_relay %llu 1", (unsigned long long)(seed + i));
	}
	is_uint(bad, 0, "nothing is lost in %u histories of slow links with cuts and crashes", rounds);
	tap_diag("%u sessions", sessions);
	ok(stale * 100 <= sessions, "few of them had to begin anew: %u", stale);
	return tap_done();
}
