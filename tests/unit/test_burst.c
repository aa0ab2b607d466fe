/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deltas that come together are joined together: in how many commits, and what becomes of them when one is bad,
 * the disk is full or the power fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/actor.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define FILES 200u

static void name_of(unsigned i, char name[static 32])
{
	snprintf(name, 32, "%u.json", i);
}

static void write_all(struct node *n, unsigned count, unsigned value)
{
	for (unsigned i = 0; i < count; i++) {
		char name[32], text[128];
		name_of(i, name);
		snprintf(text, sizeof(text), "{\n  \"number\": %u,\n  \"value\": %u,\n  \"list\": [1, 2, %u]\n}\n", i, value, i);
		node_write(n, "docs", name, text, strlen(text));
	}
}

/* How many of the files are the same at both. */
static unsigned alike(struct node *a, struct node *b)
{
	unsigned same = 0;
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		name_of(i, name);
		_cleanup_free_ char *x = node_read(a, "docs", name), *y = node_read(b, "docs", name);
		same += x && y && !strcmp(x, y);
	}
	return same;
}

/* a has the files, b nothing. */
static void begin(struct pair *p, struct node *a, struct node *b, unsigned value)
{
	node_open(a, 1, NULL);
	node_open(b, 2, NULL);
	write_all(a, FILES, value);
	pair_open(p, a, b);
}

static void end(struct pair *p, struct node *a, struct node *b)
{
	pair_close(p);
	node_close(a);
	node_close(b);
}

/* ---- who is told, and of what ---- */

struct told {
	struct replica *replica;
	unsigned times, created, others;
};

static void on_change(const struct change *change, size_t n, void *userdata)
{
	struct told *t = userdata;
	t->times++;
	for (size_t i = 0; i < n; i++) {
		const struct id *by = change[i].actor == ACTOR_NONE ? NULL :
			&actors_get(replica_actors(t->replica), change[i].actor)->device;
		if (change[i].kind != NODE_FILE)
			continue;
		t->created += !!(change[i].what & CHANGE_CREATED);
		/* Node n has the id n n n …; files of even numbers were changed by 1, the others by 2. */
		const char *name = change[i].name;
		if (name && (!by || by->b[0] != 1 + (unsigned)strtoul(name, NULL, 10) % 2))
			t->others++;
	}
}

static void few_commits(void)
{
	struct node a, b, c;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	/* Of two devices, which a third one hears of at once. */
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		name_of(i, name);
		if (i % 2 == 0)
			node_write(&a, "docs", name, "{\"by\": 1}\n", 10);
	}
	pair_meet(&a, &b);
	for (unsigned i = 1; i < FILES; i += 2) {
		char name[32];
		name_of(i, name);
		node_write(&b, "docs", name, "{\"by\": 2}\n", 10);
	}
	struct told told = { .replica = c.replica };
	if (replica_observe(c.replica, on_change, &told) < 0)
		tap_bail("out of memory");
	uint64_t before = replica_commits(c.replica);
	pair_open(&p, &b, &c);
	pair_run(&p);
	uint64_t commits = replica_commits(c.replica) - before;
	ok(!p.failed && session_in_step(p.session[0]) && alike(&b, &c) == FILES, "200 files arrive");
	ok(commits <= FILES / 8, "… in %llu commits", (unsigned long long)commits);
	ok(told.created == FILES && told.times <= commits, "each is told once, those of a commit together");
	ok(told.others == 0, "… and of each who changed it: %u are wrong", told.others);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
	node_close(&c);
}

/* ---- what goes wrong ---- */

/* Where the payload of the DELTA after *n others is; 0: there are not as many, and *n is what is missing. */
static size_t nth_delta(const struct buf *b, unsigned *n, size_t *ret_len)
{
	size_t at = 0, head, len;
	enum frame_type t;
	while (at < b->len && frame_head(b->data + at, b->len - at, &t, &head, &len, NULL) == 1) {
		if (t == FRAME_DELTA && (*n)-- == 0) {
			*ret_len = len;
			return at + head;
		}
		at += head + len;
	}
	return 0;
}

/* The peer sends a delta that is none among many that are good. */
static void one_is_bad(void)
{
	struct node a, b;
	struct pair p;
	struct err e = { 0 };
	bool bad = false;
	unsigned good = 100;
	int r = 0;
	begin(&p, &a, &b, 1);
	session_unpacked(p.session[0]);
	for (unsigned turn = 0; turn < 100 && r == 0; turn++) {
		for (int i = 0; i < 2 && r == 0; i++) {
			_cleanup_(buf_done) struct buf out = { 0 };
			if (session_output(p.session[i], &out, 1 << 20, p.now, &e) < 0)
				tap_bail("output: %s", e.message);
			size_t len, at = i == 0 && !bad ? nth_delta(&out, &good, &len) : 0;
			if (at > 0) {
				bad = true;
				memset(out.data + at + 1, 0xff, len - 1);
			}
			r = session_input(p.session[!i], out.data, out.len, p.now, &e);
		}
		p.now += 1000;
	}
	ok(bad && r == -EPROTO, "a bad delta ends the session: %s", e.message);
	unsigned n = alike(&a, &b);
	/* One delta is the directory's. */
	ok(n == 99, "… and those before it are here, and no others: %u", n);
	pair_close(&p);
	pair_open(&p, &a, &b);
	pair_run(&p);
	ok(!p.failed && alike(&a, &b) == FILES, "… the rest comes in the next session");
	end(&p, &a, &b);
}

/* Whatever write fails: nothing is lost, and nothing is claimed that is not here. */
static void disk_is_full(void)
{
	unsigned failed = 0, lost = 0;
	for (unsigned nth = 1; nth <= 12; nth++) {
		struct node a, b;
		struct pair p;
		begin(&p, &a, &b, 1);
		store_fail(b.store, nth, -ENOSPC);
		for (unsigned turn = 0; turn < 100 && !p.failed; turn++)
			pair_turn(&p, 65536);
		failed += p.failed;
		store_fail(b.store, 0, 0);
		pair_close(&p);
		lost += !pair_meet(&a, &b) || alike(&a, &b) != FILES;
		node_close(&a);
		node_close(&b);
	}
	ok(lost == 0, "a write that fails loses nothing (%u of 12 ended the session)", failed);
}

/* The power fails with any number of commits on the disk. */
static void power_fails(void)
{
	unsigned odd = 0, part = 0;
	for (uint64_t keep = 0; keep < 12; keep++) {
		struct node a, b;
		struct pair p;
		begin(&p, &a, &b, 1);
		for (unsigned turn = 0; turn < 30 && !p.failed; turn++)
			pair_turn(&p, 65536);
		pair_close(&p);
		node_crash(&b, keep);
		unsigned n = alike(&a, &b);
		part += n > 0 && n < FILES;
		odd += p.failed || !pair_meet(&a, &b) || alike(&a, &b) != FILES;
		node_close(&a);
		node_close(&b);
	}
	ok(odd == 0 && part > 0, "… nor does a power cut (%u of 12 left a part)", part);
}

/* The same documents changed again and again between two reads of the peer: all of it arrives, in order. */
static void one_again_and_again(void)
{
	struct node a, b;
	struct pair p;
	begin(&p, &a, &b, 0);
	pair_run(&p);
	_cleanup_(buf_done) struct buf all = { 0 };
	struct err e = { 0 };
	for (unsigned value = 1; value <= 8; value++) {
		write_all(&a, 10, value);
		node_flush(&a, p.session[0]);
		if (session_output(p.session[0], &all, 1 << 20, p.now, &e) < 0)
			tap_bail("output: %s", e.message);
		p.now += 1000;
	}
	uint64_t before = replica_commits(b.replica);
	int r = session_input(p.session[1], all.data, all.len, p.now, &e);
	uint64_t commits = replica_commits(b.replica) - before;
	pair_run(&p);
	ok(r == 0 && !p.failed && session_in_step(p.session[0]) && alike(&a, &b) == FILES,
	   "what is changed again before it was joined arrives (%llu commits)", (unsigned long long)commits);
	end(&p, &a, &b);
}

/* ---- sending ---- */

static unsigned rounds_in(const struct buf *b)
{
	size_t at = 0, head, len;
	unsigned n = 0;
	enum frame_type t;
	while (at < b->len && frame_head(b->data + at, b->len - at, &t, &head, &len, NULL) == 1) {
		n += t == FRAME_ROUND;
		at += head + len;
	}
	return n;
}

/* A change every so many microseconds, each on the disk at once; the rounds that go for them. */
static unsigned rounds_for(struct pair *p, unsigned changes, uint64_t every)
{
	_cleanup_(buf_done) struct buf said = { 0 };
	p->said[0] = &said;
	for (unsigned i = 0; i < changes; i++) {
		char text[32];
		snprintf(text, sizeof(text), "{\"n\": %u}\n", i);
		node_write(p->node[0], "docs", "0.json", text, strlen(text));
		node_flush(p->node[0], p->session[0]);
		for (uint64_t until = p->now + every; p->now < until;) {
			pair_turn(p, 65536);
			node_flush(p->node[1], p->session[1]);
		}
	}
	pair_run(p);
	p->said[0] = NULL;
	return rounds_in(&said);
}

static void changes_wait_for_others(void)
{
	struct node a, b;
	struct pair p;
	begin(&p, &a, &b, 0);
	session_unpacked(p.session[0]);
	pair_run(&p);
	p.now += 1000000;
	unsigned n = rounds_for(&p, 100, 4000);
	ok(n == 100, "changes 4 ms apart go each at once: %u rounds", n);
	p.now += 1000000;
	n = rounds_for(&p, 100, 1000);
	ok(n <= 20 && session_in_step(p.session[0]) && alike(&a, &b) == FILES, "of a burst, 1 ms apart, many go together: %u rounds", n);
	p.now += 1000000;
	n = rounds_for(&p, 3, 1000);
	ok(n == 3, "… but not the first ones: %u rounds", n);
	end(&p, &a, &b);
}

int main(void)
{
	tap_plan(13);
	few_commits();
	one_is_bad();
	disk_is_full();
	power_fails();
	one_again_and_again();
	changes_wait_for_others();
	return tap_done();
}
