/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions: what they cost and carry, how long they live, and who was restored. What a peer may not do: test_hostile.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "engine/presence.h"
#include "engine/purge.h"
#include "tests/greeting.h"
#include "tests/held.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

static const char document[] =
	"{\n  \"name\": \"Ada\",\n  \"age\": 36,\n  \"city\": \"London\"\n}\n";

static bool same_text(struct node *a, struct node *b, const char *dir, const char *name)
{
	_cleanup_free_ char *x = node_read(a, dir, name), *y = node_read(b, dir, name);
	bool same = x && y && strcmp(x, y) == 0;
	if (!same)
		tap_diag("%s: %s\nbut %s", name, x ? x : "(none)", y ? y : "(none)");
	return same;
}

static void test_costs(void)
{
	struct node a, b;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (int i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d.json", i);
		node_write(&a, "people", name, document, strlen(document));
	}
	pair_open(&p, &a, &b);
	pair_run(&p);
	ok(!p.failed, "a first sync (%s)", p.e.message);
	ok(same_text(&a, &b, "people", "7.json"), "brings the documents");
	struct session_status st;
	session_status(p.session[0], &st);
	ok(st.phase == SESSION_LIVE && st.deltas_out == 21 && st.behind_there == 0,
	   "and says so: live, %d deltas", (int)st.deltas_out);
	ok(session_in_step(p.session[0]) && session_in_step(p.session[1]), "both are in step");
	ok(held_by(a.replica, &b.id, NULL) && held_by(b.replica, &a.id, NULL),
	   "each knows what the other holds");
	pair_close(&p);

	pair_open(&p, &a, &b);
	pair_run(&p);
	session_status(p.session[1], &st);
	ok(!p.failed && st.phase == SESSION_LIVE && st.rtt_us > 0, "they meet again: live at once");
	ok(p.bytes[0] <= 120 && p.bytes[1] <= 120, "for %d and %d bytes (at most 120)",
	   (int)p.bytes[0], (int)p.bytes[1]);

	pair_close(&p);
	pair_open(&p, &a, &b);
	unsigned delays = pair_delays(&p, 100);
	ok(delays <= 4, "in %u delays of the link one way (at most 4: two round trips)", delays);
	pair_run(&p);

	uint64_t before = p.bytes[0] + p.bytes[1];
	node_write(&a, "people", "3.json",
		   A("{\n  \"name\": \"Ada\",\n  \"age\": 37,\n  \"city\": \"London\"\n}\n"));
	node_flush(&a, p.session[0]);
	pair_run(&p);
	uint64_t first = p.bytes[0] + p.bytes[1] - before;
	ok(same_text(&a, &b, "people", "3.json"), "one field changes");
	ok(first <= 300, "for %d bytes both ways (at most 300)", (int)first);
	before = p.bytes[0] + p.bytes[1];
	node_write(&b, "people", "4.json",
		   A("{\n  \"name\": \"Bob\",\n  \"age\": 36,\n  \"city\": \"London\"\n}\n"));
	node_flush(&b, p.session[1]);
	node_write(&b, "people", "4.json",
		   A("{\n  \"name\": \"Bob\",\n  \"age\": 12,\n  \"city\": \"London\"\n}\n"));
	node_flush(&b, p.session[1]);
	pair_run(&p);
	before = p.bytes[0] + p.bytes[1];
	node_write(&b, "people", "4.json",
		   A("{\n  \"name\": \"Bob\",\n  \"age\": 13,\n  \"city\": \"London\"\n}\n"));
	node_flush(&b, p.session[1]);
	pair_run(&p);
	uint64_t later = p.bytes[0] + p.bytes[1] - before;
	ok(same_text(&a, &b, "people", "4.json") && later <= first, "and later ones for %d",
	   (int)later);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* Large documents go in pieces, blobs as chunks. */
static void test_large(void)
{
	struct node a, b;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	_cleanup_(buf_done) struct buf doc = { 0 }, blob = { 0 };
	buf_puts(&doc, "{");
	for (int i = 0; i < 40000; i++)
		buf_putf(&doc, "%s\n  \"key%d\": \"some text that takes room, number %d\"",
			 i ? "," : "", i, i);
	buf_puts(&doc, "\n}\n");
	struct prng r = { 7 };
	uint8_t *bytes = buf_reserve(&blob, 3000000);
	if (!bytes)
		tap_bail("out of memory");
	for (size_t i = 0; i < 3000000; i++)
		bytes[i] = (uint8_t)('a' + prng_below(&r, 26));
	blob.len = 3000000;
	node_write(&a, "c", "large.json", doc.data, doc.len);
	node_write(&a, "c", "blob.bin", blob.data, blob.len);
	node_write(&a, "c", "empty.bin", "", 0);
	pair_open(&p, &a, &b);
	pair_run(&p);
	ok(!p.failed && same_text(&a, &b, "c", "large.json"), "a document of %d bytes (%s)",
	   (int)doc.len, p.e.message);
	ok(same_text(&a, &b, "c", "blob.bin") && same_text(&a, &b, "c", "empty.bin"), "and blobs");
	node_write(&a, "c", "blob.bin", blob.data, blob.len - 100);
	node_flush(&a, p.session[0]);
	uint64_t before = p.bytes[0];
	pair_run(&p);
	ok(same_text(&a, &b, "c", "blob.bin") && p.bytes[0] - before < 400000,
	   "a change at a blob's end sends its last chunks: %d bytes", (int)(p.bytes[0] - before));
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

static void test_life(void)
{
	struct node a, b;
	struct pair p;
	struct err e = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	pair_open(&p, &a, &b);
	pair_run(&p);
	uint64_t last = p.now, due = session_deadline(p.session[0]);
	ok(due > last + 49000000 && due <= last + 50000000,
	   "the next thing to do is in 50 seconds for the smaller id");
	uint64_t other = session_deadline(p.session[1]);
	ok(other > last + 74000000 && other <= last + 75000000, "and in 75 for the other");
	_cleanup_(buf_done) struct buf out = { 0 };
	ok(session_output(p.session[0], &out, 1000, due - 1, &e) == 0 && out.len == 0,
	   "nothing before that");
	ok(session_output(p.session[0], &out, 1000, due, &e) == 0 && out.len == 3 &&
		   out.data[0] == FRAME_PING,
	   "then PING");
	is_int(session_input(p.session[1], out.data, out.len, due, &e), 0, "which arrives");
	buf_reset(&out);
	ok(session_output(p.session[1], &out, 1000, due + 5, &e) == 0 && out.len == 3 &&
		   out.data[0] == FRAME_PONG,
	   "and is answered");
	ok(session_deadline(p.session[1]) == due + 75000000, "and stands for a question of its own");
	is_uint(session_deadline(p.session[0]), due + 20000000, "the answer has 20 seconds");
	buf_reset(&out);
	ok(session_output(p.session[0], &out, 1000, due + 19999999, &e) == 0 && out.len == 0,
	   "nothing happens before");
	is_errno(session_output(p.session[0], &out, 1000, due + 20000000, &e), -ETIMEDOUT,
		 "without it the link is dead");
	ok(strstr(e.message, "silent"), "and says why: %s", e.message);
	pair_close(&p);
	/* What was sent is to be acknowledged. */
	pair_open(&p, &a, &b);
	pair_run(&p);
	node_write(&a, "c", "x.txt", A("hello"));
	node_flush(&a, p.session[0]);
	buf_reset(&out);
	ok(session_output(p.session[0], &out, 1 << 20, p.now, &e) == 0 && out.len > 0,
	   "a change goes out");
	due = session_deadline(p.session[0]);
	ok(due <= p.now + 10000000, "no acknowledgement: the peer is asked after 10 seconds");
	buf_reset(&out);
	ok(session_output(p.session[0], &out, 1000, due, &e) == 0 && out.len == 3 &&
		   out.data[0] == FRAME_PING, "it is");
	is_uint(session_deadline(p.session[0]), due + 20000000, "once");
	is_errno(session_output(p.session[0], &out, 1000, due + 20000000, &e), -ETIMEDOUT,
		 "and is dead after 30");
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* One session that hears this; is this device another actor afterwards? */
static int hear(struct node *a, struct node *b, const struct buf *in, bool *ret_renewed)
{
	_cleanup_(session_freep) struct session *s = NULL;
	struct actor_id self, after;
	struct err e = { 0 };
	if (session_new(a->replica, &b->id, 0, &s) < 0)
		tap_bail("no session");
	replica_self(a->replica, &self, NULL);
	int r = session_input(s, in->data, in->len, 1, &e);
	replica_self(a->replica, &after, NULL);
	*ret_renewed = id_equal(&after.device, &self.device) && after.incarnation != self.incarnation;
	return r;
}

/* A peer knows more of us than we do: our store is an older copy. */
static void test_fence(void)
{
	struct node a, b;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "c", "x.json", A("{\"n\": 1}\n"));
	node_flush(&a, NULL);
	struct actor_id self;
	uint64_t seq;
	bool renewed;
	_cleanup_(buf_done) struct buf in = { 0 };
	replica_self(a.replica, &self, &seq);
	if (seq == 0)
		tap_bail("a device that never wrote");
	put_hello(&in, &b, 1, 1);
	put_witness(&in, seq, seq, replica_own_tag(a.replica, seq));
	is_int(hear(&a, &b, &in, &renewed), 0, "a peer shows a batch that was made here");
	ok(!renewed, "which is all right");
	buf_reset(&in);
	put_hello(&in, &b, 1, 1);
	put_witness(&in, seq, seq, replica_own_tag(a.replica, seq) ^ 1);
	is_errno(hear(&a, &b, &in, &renewed), -ESTALE, "one with another tag ends the session");
	ok(renewed, "and this device goes on as a new incarnation");
	buf_reset(&in);
	put_hello(&in, &b, 1, 1);
	put_witness(&in, seq + 5000, 0, 0);
	is_errno(hear(&a, &b, &in, &renewed), -ESTALE, "so does a number that was never given");
	ok(renewed, "without a tag");

	/* In a vector, later in a session. */
	replica_self(a.replica, &self, &seq);
	buf_reset(&in);
	put_greeting(&in, &b);
	put_frame(&in, FRAME_SCOPES, "\0", 1);
	buf_put(&in, A("\x07\x29\0" SCOPE16 "\1\0"));
	buf_put(&in, self.device.b, ID_SIZE);
	buf_u32(&in, self.incarnation);
	buf_put(&in, A("\xff\x1f"));
	is_errno(hear(&a, &b, &in, &renewed), -ESTALE, "and a vector with changes of the future");
	ok(renewed, "later in a session");

	/* A member that lies cannot go on for ever. */
	buf_reset(&in);
	put_hello(&in, &b, 1, 1);
	put_witness(&in, UINT64_C(1) << 40, 0, 0);
	uint32_t n = actors_count(replica_actors(a.replica));
	int r = -ESTALE;
	for (int i = 0; i < 1000 && r == -ESTALE; i++)
		r = hear(&a, &b, &in, &renewed);
	is_errno(r, -EPROTO, "what is said too often is refused");
	ok(actors_count(replica_actors(a.replica)) - n <= 64 && !renewed, "after %u incarnations",
	   actors_count(replica_actors(a.replica)) - n);
	node_close(&a);
	node_close(&b);
}

/* A peer that was restored from an older copy holds less than it once said. */
static void test_restored_peer(void)
{
	struct node a, old, new;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&old, 2, NULL);
	node_open(&new, 2, NULL);
	node_write(&a, "people", "x.json", document, strlen(document));
	pair_open(&p, &a, &old);
	pair_run(&p);
	pair_close(&p);
	node_write(&a, "people", "x.json", A("{}\n"));
	node_write(&a, "cars", "y.json", document, strlen(document));
	node_write(&a, "trees", "z.json", document, strlen(document));
	pair_open(&p, &a, &new);
	pair_run(&p);
	pair_close(&p);
	struct attr dir, file[2];
	if (replica_lookup(a.replica, &NODE_ROOT, "people", 6, &dir) < 0 ||
	    replica_lookup(a.replica, &dir.id, "x.json", 6, &file[0]) < 0 ||
	    replica_lookup(a.replica, &NODE_ROOT, "trees", 5, &dir) < 0 ||
	    replica_lookup(a.replica, &dir.id, "z.json", 6, &file[1]) < 0)
		tap_bail("no file");
	ok(held_by(a.replica, &new.id, NULL), "a peer holds all");
	pair_open(&p, &a, &old);
	bool less = false, none = false;
	/* It cannot acknowledge before it flushes. */
	while (pair_turn(&p, 65536)) {
		less |= !held_by(a.replica, &old.id, &file[0].id);
		none |= !held_by(a.replica, &old.id, &file[1].id);
	}
	ok(!p.failed && less, "an older copy of it does not, and that is noticed (%s)", p.e.message);
	ok(none, "also of a scope that it does not know");
	pair_run(&p);
	ok(!p.failed && held_by(a.replica, &old.id, NULL), "in the end it does");
	pair_close(&p);
	node_close(&a);
	node_close(&old);
	node_close(&new);
}

/* ---- who is connected to whom ---- */

/* What a device would say that has a link to the other one of the pair, and to a third. */
static struct presence *presence_of(const struct node *n, const struct node *other, uint64_t now)
{
	struct statement_link l[2] = { { .peer = other->id, .name = "other", .transport = "tcp" },
				       { .peer = n->id, .name = "third", .transport = "l2cap", .rtt_us = 9000 } };
	struct presence *p;
	l[1].peer.b[0] |= 0x80;
	if (presence_new(&n->id, "this", &p) < 0 || presence_own(p, l, 2, now, 1000000 * now) < 0)
		tap_bail("out of memory");
	return p;
}

/* Time goes by until what is said later is said. */
static void run_later(struct pair *p)
{
	pair_run(p);
	for (int i = 0; i < 3; i++) {
		p->now += PRESENCE_DELAY_US;
		pair_run(p);
	}
}

static void test_presence(void)
{
	struct node a, b;
	struct pair p;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	struct presence *x = presence_of(&a, &b, 1000000), *y = presence_of(&b, &a, 1000000);
	struct graph *g;
	pair_open(&p, &a, &b);
	session_presence_for(p.session[0], x);
	session_presence_for(p.session[1], y);
	pair_run(&p);
	ok(p.bytes[0] <= 120 && p.bytes[1] <= 120, "a session begins without speaking of others");
	ok(session_deadline(p.session[0]) <= p.now + PRESENCE_DELAY_US, "but is going to");
	run_later(&p);
	if (presence_graph(x, p.now, &g) < 0)
		tap_bail("out of memory");
	ok(!p.failed && g->n_devices == 4 && g->n_links == 3, "and does: %u devices (%s)", g->n_devices,
	   p.e.message);
	graph_free(g);
	uint64_t before = p.bytes[0] + p.bytes[1];
	ok(session_deadline(p.session[0]) > p.now + 5000000, "after that there is nothing to say");
	p.now += 5000000;
	pair_run(&p);
	is_uint(p.bytes[0] + p.bytes[1] - before, 0, "and nothing is said");
	pair_close(&p);

	pair_open(&p, &a, &b);
	session_presence_for(p.session[0], x);
	run_later(&p);
	struct session_status st;
	session_status(p.session[1], &st);
	ok(!p.failed && st.phase == SESSION_LIVE, "who keeps nothing of that takes it as well (%s)", p.e.message);
	pair_close(&p);
	presence_free(x);
	presence_free(y);
	node_close(&a);
	node_close(&b);
}

/* ---- seeds for tests/fuzz/fuzz_session.c: what the second device says to the first ---- */

static void write_seed(const char *dir, const char *name, const struct buf *b)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	buf_putf(&path, "%s/%s", dir, name);
	FILE *f = fopen(buf_cstr(&path), "wb");
	if (!f || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0)
		tap_bail("cannot write %s", name);
}

/* Two documents at once, one of which the other device has, too. */
static void write_batch(struct node *n)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct txn_result result[2];
	struct json *value;
	struct err e = { 0 };
	uint32_t at;
	node_write(n, "c", "y.json", A("{}\n"));
	if (json_parse(&a, "{\"a\":2}", 7, NULL, &value, NULL) < 0)
		tap_bail("out of memory");
	const struct txn_step step[] = { { TXN_PUT, "c/x.json", value, NULL },
					 { TXN_MERGE, "c/y.json", value, NULL } };
	if (replica_txn(n->replica, step, 2, result, &at, &e) < 0)
		tap_bail("%s", e.message);
}

/* A device that keeps a part, with a document that does not match and one that the other has otherwise. */
static void write_part(struct node *n)
{
	struct attr at;
	node_write(n, "c", "y.json", A("{\"a\": 2}\n"));
	node_write(n, "c", "x.json", A("{\"d\": 2}\n"));
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &at) < 0 ||
	    replica_keep(n->replica, &at.id, INTEREST_FILTERED, "a = 1", NULL) < 0)
		tap_bail("cannot keep a part");
}

/* What the other one has is purged here. */
static void write_purged(struct node *n)
{
	struct attr dir, at;
	uint32_t looked, purged;
	node_write(n, "c", "x.json", A("{\"z\": 1}\n"));
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(n->replica, &dir.id, "x.json", 6, &at) < 0 || replica_remove(n->replica, &at.id, 0) < 0 ||
	    replica_purge(n->replica, &at.id, 1, &looked, &purged, NULL) < 0 || purged != 1)
		tap_bail("cannot purge");
}

static void say_newest(struct pair *p)
{
	session_pace(p->session[1], 100000, true);
	for (unsigned i = 0; i < 20; i++) {
		p->now += 100000;
		pair_turn(p, 1024);
		if (i == 12) {
			node_write(p->node[1], "d", "39.txt", A("changed now\n"));
			node_write(p->node[1], "e", "new.txt", A("new\n"));
			node_flush(p->node[1], p->session[1]);
		}
	}
}

/* It looks for what another one has and for what nobody has, finds what it was asked for, and what it was not. */
static void put_seeks(struct buf *said)
{
	static const char sought[] = "what the other one looks for\n", given[] = "what the other one has\n";
	const uint64_t number = UINT64_C(0x7175657374696f6e);
	_cleanup_(buf_done) struct buf b = { 0 };
	struct sha256 found, known;
	sha256_of(sought, sizeof(sought) - 1, &found);
	sha256_of(given, sizeof(given) - 1, &known);
	for (uint8_t k = 0; k < 4; k++) {
		/* The third one is known from before; the last one goes over no link. */
		buf_reset(&b);
		buf_u8(&b, 3 - k);
		frame_seek_put(&b, k == 2 ? 1 : k, k % 2 ? &found : &known);
		put_frame(said, FRAME_SEEK, b.data, b.len);
	}
	for (int k = 0; k < 2; k++) {
		buf_reset(&b);
		frame_seek_put(&b, number, &found);
		if (k == 0)
			buf_u8(&b, 0);
		if (k == 0)
			buf_puts(&b, sought);
		put_frame(said, FRAME_FOUND, b.data, b.len);
	}
}

static int write_seeds(const char *dir)
{
	static const char *const names[] = { "nothing", "document", "conflict", "blob",
					     "live",    "same",     "batch",    "text",
					     "marks",   "resume", "part",     "presence",
					     "purged", "newest", "packed" };
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct node a, b;
		struct pair p;
		_cleanup_(buf_done) struct buf said = { 0 };
		node_open(&a, 1, NULL);
		node_open(&b, 2, NULL);
		node_write(&a, "c", "x.json", A("{\"a\": 1, \"b\": [1, 2]}\n"));
		if (i == 1)
			node_write(&b, "d", "y.json", A("{\"k\": {\"l\": true, \"m\": null}}\n"));
		if (i == 2)
			node_write(&b, "c", "x.json", A("{\"a\": \"one\", \"c\": 3}\n"));
		if (i == 3)
			node_write(&b, "c", "z.bin",
				   A("the bytes of a file that is no document\n"));
		if (i == 6)
			write_batch(&b);
		if (i == 7)
			node_write(&b, "c", "notes.txt", A("one line\nand another\n"));
		if (i == 8)
			write_part(&b);
		if (i == 12)
			write_purged(&b);
		if (i == 5) {
			pair_open(&p, &a, &b);
			pair_run(&p);
			pair_close(&p);
		}
		/* A round of some length; one of the other side that is cut. */
		for (int k = 0; i >= 8 && i != 12 && k < (i == 13 ? 40 : 12); k++) {
			char name[16];
			_cleanup_(buf_done) struct buf text = { 0 };
			snprintf(name, sizeof(name), "%d.txt", k);
			for (int line = 0; line < 20; line++)
				buf_putf(&text, "line %d of file %d\n", line, k);
			node_write(i == 8 || i >= 13 ? &b : &a, "d", name, text.data, text.len);
		}
		if (i == 9) {
			pair_open(&p, &a, &b);
			for (int turn = 0; turn < 6; turn++)
				pair_turn(&p, 1024);
			pair_close(&p);
		}
		struct presence *others = i == 11 ? presence_of(&b, &a, 1) : NULL;
		pair_open(&p, &a, &b);
		p.said[1] = &said;
		session_presence_for(p.session[1], others);
		/* What is changed in those that are not packed is changed in a frame. */
		if (i != 14)
			session_unpacked(p.session[1]);
		/* Slow, and a change while it lasts: PACE, RAISE, MARK. */
		if (i == 13)
			say_newest(&p);
		run_later(&p);
		for (int k = 0; (i == 4 || i == 5) && k < 3; k++) {
			char text[40];
			snprintf(text, sizeof(text), "{\"a\": %d, \"b\": [1, 2]}\n", k + 5);
			node_write(&b, "c", "x.json", text, strlen(text));
			node_flush(&b, p.session[1]);
			pair_run(&p);
		}
		write_seed(dir, names[i], &said);
		if (i == 0) {
			/* A peer that knows what the device never made. */
			buf_reset(&said);
			put_hello(&said, &b, 1, 1);
			put_witness(&said, 9, 7, 0x01020304);
			write_seed(dir, "rolled-back", &said);
			/* One that measures a slow link. */
			static const uint8_t filled[2 + FRAME_PACE_FILLER] = { 1, 2 }, slow[] = { 1, 1 };
			buf_reset(&said);
			put_hello(&said, &b, 1, 1);
			put_witness(&said, 0, 0, 0);
			put_frame(&said, FRAME_PACE, slow, sizeof(slow));
			for (uint8_t k = 2; k < 5; k++) {
				put_frame(&said, FRAME_PACE, filled, sizeof(filled));
				put_frame(&said, FRAME_PING, &k, 1);
			}
			write_seed(dir, "measured", &said);
			/* One that wants only word, of a device that made something, and then all the same. */
			buf_reset(&said);
			put_greeting(&said, &b);
			put_frame(&said, FRAME_SCOPES, "\0", 1);
			buf_put(&said, A(WISHES));
			write_seed(dir, "eager", &said);
			buf_reset(&said);
			put_greeting(&said, &b);
			put_seeks(&said);
			write_seed(dir, "seek", &said);
		}
		pair_close(&p);
		presence_free(others);
		node_close(&a);
		node_close(&b);
	}
	return 0;
}

/* What people are told is to come is what comes, whatever was changed in other collections before. */
static void test_count(void)
{
	enum { BEFORE = 300, NEW = 100 };
	struct node a, b;
	struct pair p;
	struct session_status st = { 0 };
	uint64_t most = 0;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < BEFORE + NEW; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%u.json", i);
		if (i == BEFORE && !pair_meet(&a, &b))
			tap_bail("they do not meet");
		node_write(&a, i < BEFORE ? "before" : "new", name, "{}\n", 3);
	}
	pair_open(&p, &a, &b);
	for (unsigned turn = 0; turn < 1000 && !p.failed && !session_in_step(p.session[0]); turn++) {
		pair_turn(&p, 512);
		session_status(p.session[1], &st);
		most = st.behind_here > most ? st.behind_here : most;
	}
	ok(!p.failed && most > NEW / 2 && most <= NEW + 1, "%d files are said to come, of %d", (int)most, NEW);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "seeds") == 0)
		return write_seeds(argv[2]);
	tap_plan(51);
	test_costs();
	test_count();
	test_large();
	test_life();
	test_fence();
	test_restored_peer();
	test_presence();
	return tap_done();
}
