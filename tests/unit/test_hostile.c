/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer may not do: frames that break a rule, more than it may send, and more than is kept for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/pace.h"
#include "tests/greeting.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

struct trial {
	const char *name;
	const char *says; /* part of the message */
	const char *data; /* frames behind HELLO, WITNESS, INTEREST, and SCOPES that are empty */
	size_t len;
};

#define SCOPE15 "BCDEFGHIJKLMNOP"

#define PACES "\x22\2\1\0\x22\2\1\0\x22\2\1\0\x22\2\1\1"

static const struct trial trials[] = {
	{ "an unknown type", "unknown type", A("\x55\0") },
	{ "type 0", "unknown type", A("\0\0") },
	{ "a frame beyond its limit", "bad length", A("\x0c\x0b") },
	{ "a length without end", "bad length", A("\x03\xff\xff\xff\xff\xff") },
	{ "SCOPES twice", "out of place", A("\x02\x01\0") },
	{ "DELTA outside of a round", "outside of a round", A("\x05\x02\0x") },
	{ "END outside of a round", "not open", A("\x06\0") },
	{ "VECTOR for a scope in step", "out of place", A("\x03\x12\0" SCOPE16 "\0") },
	{ "a scope out of order", "malformed scope", A("\x07\x12\1" SCOPE16 "\0") },
	{ "a vector that ends early", "malformed", A("\x07\x12\0" SCOPE16 "\1") },
	{ "an actor with no number", "malformed", A("\x07\x14\0" SCOPE16 "\1\5\1") },
	{ "an item of 0", "malformed", A("\x07\x27\0" SCOPE16 "\1\0" ACTOR20 "\0") },
	{ "bytes behind a vector", "malformed", A("\x07\x13\0" SCOPE16 "\0x") },
	{ "a round inside a round", "out of place", A("\x04\x14\0" SCOPE16 "\0\0\0\x04\x04\0\0\0\0") },
	{ "a malformed delta", "malformed delta", A("\x04\x14\0" SCOPE16 "\0\0\0\x05\x04\0xyz") },
	{ "an empty piece", "malformed piece", A("\x04\x14\0" SCOPE16 "\0\0\0\x05\x01\0") },
	{ "unknown flags", "malformed piece", A("\x04\x14\0" SCOPE16 "\0\0\0\x05\x02\4x") },
	{ "a chunk nobody asked for", "nobody asked", A("\x0a\x21" SCOPE16 SCOPE16 "x") },
	{ "a chunk without a hash", "malformed",
	  A("\x0a\x03"
	    "abc") },
	{ "a record nobody asked for", "nobody asked", A("\x0e\x13\1" SCOPE16 "\0x") },
	{ "WHOLE for a round that never was", "out of place", A("\x08\x11\1" SCOPE16) },
	{ "WANT of half a hash", "malformed", A("\x09\x10" SCOPE16) },
	{ "an empty WANT", "malformed", A("\x09\0") },
	{ "credit for what was never sent", "malformed", A("\x0b\x02\0\1") },
	{ "credit for no stream", "malformed", A("\x0b\x02\7\1") },
	{ "PONG without PING", "malformed", A("\x0d\x01\x7f") },
	{ "a bundle outside of a round", "out of place", A("\x0f\x02\0x") },
	{ "a malformed bundle", "malformed bundle",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x04\0xyz") },
	{ "a bundle of one delta", "malformed bundle",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\1\1" SCOPE16 "\2" SCOPE16 "\0B" SCOPE15 "\0\0") },
	{ "a bundle with a node twice", "malformed bundle",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\2\1" SCOPE16 "\2" SCOPE16 "\0" SCOPE16 "\0\0") },
	{ "END inside of a bundle", "not open",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\2\1" SCOPE16 "\2" SCOPE16 "\0B" SCOPE15
	    "\0\0\x06\0") },
	{ "a bundle inside of a bundle", "out of place",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\2\1" SCOPE16 "\2" SCOPE16 "\0B" SCOPE15
	    "\0\0\x0f\x02\0x") },
	{ "a gap in the types", "unknown type", A("\x1a\0") },
	{ "PACE without a rate", "malformed", A("\x22\x02\0\1") },
	{ "PACE with a verdict that there is not", "malformed", A("\x22\x02\1\3") },
	{ "PACE with something behind it", "malformed", A("\x22\x03\1\1x") },
	{ "PACE too often", "too often", A(PACES PACES PACES PACES "\x22\x03\1\0\0") },
	{ "MARK outside of a round", "outside of a round", A("\x1b\x16\0" ACTOR20 "\2") },
	{ "MARK beyond the round", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x02\0\x0c") },
	{ "MARK of an actor that the round has not", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x16\1" "bbcdefghijklmnopqrst" "\2") },
	{ "MARK that does not go on", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x02\0\6\x1b\x02\0\0") },
	{ "MARK of 0", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x02\0\0") },
	{ "MARK inside of a bundle", "inside of a delta",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\2\1" SCOPE16 "\2" SCOPE16 "\0B" SCOPE15
	    "\0\0\x1b\x16\0" ACTOR20 "\2") },
	{ "MARK with something behind it", "malformed",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x03\0\6x") },
	{ "PRESENCE of nobody", "malformed PRESENCE", A("\x1d\0") },
	{ "PRESENCE that ends early", "malformed PRESENCE", A("\x1d\x15" SCOPE16 "1234\1") },
	{ "RAISE outside of a round", "not open", A("\x21\x12\0" SCOPE16 "\0\0") },
	{ "RAISE inside of a bundle", "inside of a delta",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x0f\x37\0\2\1" SCOPE16 "\2" SCOPE16 "\0B" SCOPE15
	    "\0\0\x21\x03\0\0\0") },
	{ "RAISE with something behind it", "malformed", A("\x04\x14\0" SCOPE16 "\0\0\0\x21\x04\0\0\0x") },
	{ "RAISE with more tags than batches", "malformed", A("\x04\x14\0" SCOPE16 "\0\0\0\x21\x07\0\0\1tags") },
	{ "RAISE to nowhere of a round that was not raised", "has not left",
	  A("\x04\x14\0" SCOPE16 "\0\0\0\x21\1\0") },
	{ "RAISE too often", "too often",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x21\5\0\1\0\1\0\x21\5\0\1\0\1\0\x21\5\0\1\0\1\0"
	    "\x21\5\0\1\0\1\0\x21\5\0\1\0\1\0") },
	{ "MARK of nothing new in a round that was raised", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x21\3\0\0\0\x1b\2\0\x0a") },
	{ "MARK below what was raised", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x21\3\0\0\0\x21\5\0\1\0\3\0\x1b\2\0\x08") },
	{ "MARK that goes up in a round that was raised", "out of order",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x21\3\0\0\0\x1b\2\0\6\x1b\2\0\2") },
	{ "MARK without a delta before it", "too many places",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\5\0\x1b\x02\0\6\x1b\x02\0\2") },
	{ "MARK too often in a round that was raised", "too many places",
	  A("\x04\x2a\0" SCOPE16 "\0\1\0" ACTOR20 "\x20\0\x21\3\0\0\0\x1b\2\0\x3e\x1b\2\0\1\x1b\2\0\1"
	    "\x1b\2\0\1\x1b\2\0\1") },
	{ "EAGER about nobody", "malformed EAGER", A("\x23\x11\0" SCOPE16) },
	{ "half an entry of EAGER", "malformed EAGER", A("\x23\x26\0" SCOPE16 "\0" ACTOR20) },
	{ "EAGER that says 2", "malformed EAGER", A("\x23\x27\0" SCOPE16 "\0" ACTOR20 "\2") },
	{ "EAGER with an actor twice", "malformed EAGER", A("\x23\x29\0" SCOPE16 "\0" ACTOR20 "\1\0\1") },
	{ "EAGER out of order", "malformed EAGER",
	  A("\x23\x3d\0" SCOPE16 "\0" ACTOR20 "\1\1" "Abcdefghijklmnopqrst" "\1") },
	{ "EAGER about an actor that was not named", "malformed EAGER", A("\x23\x13\0" SCOPE16 "\5\1") },
	{ "RESUME after SCOPES", "out of place", A("\x1c\x28\0" SCOPE16 "\1\0" ACTOR20 "\5") },
	{ "WITNESS twice", "twice", A("\x10\x02\0\0") },
	{ "more tags than batches", "malformed", A("\x04\x18\0" SCOPE16 "\0\0\1tags") },
	{ "tags that end early", "malformed", A("\x04\x16\0" SCOPE16 "\0\0\1ta") },
	{ "INTEREST behind SCOPES", "out of place", A("\x11\x02\0\1") },
	{ "a varint with a needless group", "malformed", A("\x0c\x02\x81\0") },
};

#define LISTED "ABCDEFGHIJKLMNOP\0"

/* The same with frames behind HELLO and WITNESS. */
static const struct trial interests[] = {
	{ "SCOPES before INTEREST", "out of place", A("\x02\x01\0") },
	{ "an empty INTEREST", "malformed", A("\x11\0") },
	{ "no level for what is new", "malformed", A("\x11\1\0") },
	{ "one that nobody knows", "malformed", A("\x11\2\0\2") },
	{ "unknown flags", "malformed", A("\x11\2\2\1") },
	{ "more of nothing", "malformed", A("\x11\2\1\1") },
	{ "half an entry", "malformed", A("\x11\7\0\1ABCDE") },
	{ "an entry that says what is so anyway", "malformed", A("\x11\x13\0\1" SCOPE16 "\1") },
	{ "a level that nobody knows", "malformed", A("\x11\x13\0\1" SCOPE16 "\7") },
	{ "a collection twice", "malformed", A("\x11\x24\0\1" LISTED LISTED) },
	{ "an expression of no bytes", "malformed", A("\x11\x14\0\1" SCOPE16 "\6\0") },
	{ "an expression that is no text", "malformed", A("\x11\x15\0\1" SCOPE16 "\6\1\xff") },
	{ "a list that goes on where it ended", "malformed", A("\x11\x13\1\1" LISTED "\x11\x12\0" LISTED) },
	{ "INTEREST twice", "out of place", A("\x11\2\0\1\x11\2\0\1") },
	{ "EAGER before INTEREST", "EAGER out of place", A("\x23\x27\0" SCOPE16 "\0" ACTOR20 "\1") },
	{ "EAGER before SCOPES", "EAGER out of place", A("\x11\2\0\1\x23\x27\0" SCOPE16 "\0" ACTOR20 "\1") },
	{ "EAGER of what it does not keep", "not both sides keep",
	  A("\x11\x13\0\1" LISTED "\x02\1\0\x23\x27\0" SCOPE16 "\0" ACTOR20 "\1") },
	{ "what it does not keep in SCOPES", "not both sides keep",
	  A("\x11\x13\0\1" LISTED "\x02\x21\0" SCOPE16 SCOPE16) },
	{ "a round of what it does not keep", "not both sides keep",
	  A("\x11\x13\0\1" LISTED "\x02\1\0\x04\x14\0" SCOPE16 "\0\0\0") },
};

static int try_input(struct node *a, struct node *b, const void *data, size_t len, struct err *e)
{
	_cleanup_(session_freep) struct session *s = NULL;
	if (session_new(a->replica, &b->id, 1, &s) < 0)
		tap_bail("no session");
	*e = (struct err){ 0 };
	int r = session_input(s, data, len, 2, e);
	/* The same byte by byte. */
	_cleanup_(session_freep) struct session *t = NULL;
	struct err again = { 0 };
	if (session_new(a->replica, &b->id, 1, &t) < 0)
		tap_bail("no session");
	int slow = 0;
	for (size_t i = 0; i < len && slow == 0; i++)
		slow = session_input(t, (const uint8_t *)data + i, 1, 2, &again);
	if (slow != r)
		tap_diag("in one: %d, byte by byte: %d (%s)", r, slow, again.message);
	if (r < 0) {
		_cleanup_(buf_done) struct buf out = { 0 };
		int after = session_output(s, &out, 1000, 3, NULL);
		if (after != r)
			tap_diag("output after an error gives %d", after);
		r = after != r ? -EDOM : r;
	}
	return slow == r ? r : -EDOM;
}

/* Each of them is refused, behind what the peer said before it. */
static void try_all(struct node *a, struct node *b, const struct buf *before, const struct trial *trial, size_t n)
{
	struct err e;
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf in = { 0 };
		buf_put(&in, before->data, before->len);
		buf_put(&in, trial[i].data, trial[i].len);
		int r = try_input(a, b, in.data, in.len, &e);
		ok(r == -EPROTO && strstr(e.message, trial[i].says), "refused: %s (%s)", trial[i].name, e.message);
	}
}

static void test_rules(void)
{
	struct node a, b;
	struct err e;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "c", "x.json", A("{\"n\": 1}\n"));
	node_flush(&a, NULL);
	_cleanup_(buf_done) struct buf in = { 0 };
	put_greeting(&in, &b);
	put_frame(&in, FRAME_SCOPES, "\0", 1);
	try_all(&a, &b, &in, trials, sizeof(trials) / sizeof(trials[0]));
	buf_reset(&in);
	put_hello(&in, &b, 1, 1);
	put_frame(&in, FRAME_WITNESS, "\0", 2);
	try_all(&a, &b, &in, interests, sizeof(interests) / sizeof(interests[0]));
	is_errno(try_input(&a, &b, A("GET / HTTP/1.1\r\n"), &e), -EPROTO,
		 "refused: another protocol");
	is_errno(try_input(&a, &b, A("\x0c\x01\1"), &e), -EPROTO, "refused: no HELLO");
	buf_reset(&in);
	put_hello(&in, &b, 1, 1);
	put_hello(&in, &b, 1, 1);
	is_errno(try_input(&a, &b, in.data, in.len, &e), -EPROTO, "refused: HELLO twice");
	buf_reset(&in);
	put_hello(&in, &a, 1, 1);
	is_errno(try_input(&a, &b, in.data, in.len, &e), -EPROTO,
		 "refused: another device's HELLO");
	buf_reset(&in);
	put_hello(&in, &b, 3, 2);
	is_errno(try_input(&a, &b, in.data, in.len, &e), -EPROTO,
		 "refused: a protocol of the future");
	ok(strstr(e.message, "update Shoal on this device"), "with what to do: %s", e.message);
	buf_reset(&in);
	put_hello(&in, &b, 3, 1);
	is_errno(try_input(&a, &b, in.data, in.len, &e), 0, "taken: one that can speak ours");
	buf_reset(&in);
	put_greeting(&in, &b);
	put_frame(&in, FRAME_SCOPES,
		  "\0BBBBBBBBBBBBBBBBffffffffffffffffAAAAAAAAAAAAAAAAffffffffffffffff", 65);
	is_errno(try_input(&a, &b, in.data, in.len, &e), -EPROTO, "refused: scopes out of order");
	node_close(&a);
	node_close(&b);
}

/* All that it says, its questions answered at once. */
static int drain(struct session *s, struct buf *out, size_t *at, uint64_t now, struct err *e)
{
	int r = 1;
	bool asked = true;
	for (int i = 0; i < 10000 && r >= 0 && (r > 0 || asked); i++) {
		enum frame_type t;
		size_t head, n;
		asked = false;
		r = session_output(s, out, 4096, now, e);
		for (; frame_head(out->data + *at, out->len - *at, &t, &head, &n, e) == 1; *at += head + n) {
			if (t != FRAME_PING)
				continue;
			_cleanup_(buf_done) struct buf pong = { 0 };
			asked = true;
			put_frame(&pong, FRAME_PONG, out->data + *at + head, n);
			if (session_input(s, pong.data, pong.len, now, e) < 0)
				return -EIO;
		}
	}
	return r;
}

static void test_window(void)
{
	struct node a, b;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	_cleanup_(buf_done) struct buf doc = { 0 };
	for (int i = 0; i < 600; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d.json", i);
		buf_reset(&doc);
		buf_putf(&doc, "{\"text\": \"%04000d\"}\n", i);
		node_write(&a, "c", name, doc.data, doc.len);
	}
	node_flush(&a, NULL);
	_cleanup_(session_freep) struct session *s = NULL;
	if (session_new(a.replica, &b.id, 0, &s) < 0)
		tap_bail("no session");
	session_unpacked(s);
	_cleanup_(buf_done) struct buf in = { 0 }, out = { 0 };
	put_greeting(&in, &b);
	put_frame(&in, FRAME_SCOPES, "\0", 1);
	struct err e = { 0 };
	is_int(session_input(s, in.data, in.len, 1, &e), 0, "a peer that holds nothing");
	for (int r = 1; r > 0;)
		r = session_output(s, &out, 4096, 2, &e);
	ok(out.len > 0 && out.len < PACE_UNKNOWN_ROOM + 10000,
	   "a peer that answers no question is sent %d bytes", (int)out.len);
	size_t at = 0;
	int r = drain(s, &out, &at, 2, &e);
	ok(r == 0 && out.len >= SESSION_WINDOW && out.len < SESSION_WINDOW + 10000,
	   "without credit it is sent the window and no more: %d bytes", (int)out.len);
	buf_reset(&in);
	buf_puts(&in, "\x0b\x04");
	buf_u8(&in, 0);
	buf_varint(&in, 500000);
	is_int(session_input(s, in.data, in.len, 3, &e), 0, "credit comes");
	size_t before = out.len;
	(void)drain(s, &out, &at, 4, &e);
	ok(out.len - before >= 490000 && out.len - before < 510000, "and as much goes out: %d",
	   (int)(out.len - before));
	struct session_status st;
	session_status(s, &st);
	ok(st.phase == SESSION_SYNCING && st.behind_there > 200,
	   "it knows how much is left: %d nodes", (int)st.behind_there);
	session_free(s);
	s = NULL;
	node_close(&a);
	node_close(&b);
}

/* Before SCOPES. */
static void test_resume_rules(void)
{
	static const struct trial resume[] = {
		{ "RESUME twice for a scope", "twice",
		  A("\x1c\x28\0" SCOPE16 "\1\0" ACTOR20 "\5\x1c\x04\0\1\0\6") },
		{ "RESUME with half a span", "malformed",
		  A("\x1c\x2b\0" SCOPE16 "\1\0" ACTOR20 "\5\1\0\6") },
		{ "RESUME with a span that goes down", "malformed",
		  A("\x1c\x2e\0" SCOPE16 "\1\0" ACTOR20 "\5\1\0\6\1\0\7") },
		{ "RESUME with spans in one another", "malformed",
		  A("\x1c\x34\0" SCOPE16 "\1\0" ACTOR20 "\5\1\0\6\1\0\2\1\0\7\1\0\4") },
		{ "RESUME of nothing", "malformed", A("\x1c\x12\0" SCOPE16 "\0") },
		{ "RESUME with something behind it", "malformed",
		  A("\x1c\x29\0" SCOPE16 "\1\0" ACTOR20 "\5x") },
	};
	struct node a, b;
	struct err e;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "c", "x.json", A("{}\n"));
	node_flush(&a, NULL);
	_cleanup_(buf_done) struct buf in = { 0 };
	put_greeting(&in, &b);
	try_all(&a, &b, &in, resume, sizeof(resume) / sizeof(resume[0]));
	/* A scope and an actor that nobody has: it does not count. */
	buf_put(&in, A("\x1c\x28\0" SCOPE16 "\1\0" ACTOR20 "\5\x02\1\0"));
	is_errno(try_input(&a, &b, in.data, in.len, &e), 0, "RESUME of what is not here is let be");
	node_close(&a);
	node_close(&b);
}

/* A vector of n actors that nobody ever heard of, as an ACK of a new scope. */
static void put_strangers(struct buf *b, uint32_t n)
{
	_cleanup_(buf_done) struct buf p = { 0 };
	buf_u8(&p, 0);
	buf_puts(&p, SCOPE16);
	buf_varint(&p, n);
	for (uint32_t i = 0; i < n; i++) {
		buf_varint(&p, i);
		buf_puts(&p, "stranger");
		buf_u64(&p, i + 1);
		buf_u32(&p, 1);
		buf_varint(&p, 1);
	}
	put_frame(b, FRAME_ACK, p.data, p.len);
}

/* EAGER about n actors from the first-th on, of a scope that is new in the first one. */
static void put_eager(struct buf *b, uint32_t first, uint32_t n, uint8_t on)
{
	_cleanup_(buf_done) struct buf p = { 0 };
	buf_u8(&p, 0);
	if (first == 0)
		buf_puts(&p, SCOPE16);
	for (uint32_t i = first; i < first + n; i++) {
		buf_varint(&p, i);
		buf_puts(&p, "somebody");
		buf_u64(&p, i + 1);
		buf_u32(&p, 1);
		buf_u8(&p, on);
	}
	put_frame(b, FRAME_EAGER, p.data, p.len);
}

/* What a peer wishes is kept, so it is bounded. */
static void test_wishes(void)
{
	static const struct {
		uint32_t entries, frames;
		uint8_t on;
		const char *says; /* NULL: taken */
	} wish[] = { { 64, 16, 0, NULL }, { 64, 17, 0, "of more than 1024 actors" }, { 64, 17, 1, NULL },
		     { 65, 1, 1, "malformed EAGER" } };
	struct node a, b;
	struct err e = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (size_t i = 0; i < sizeof(wish) / sizeof(wish[0]); i++) {
		_cleanup_(buf_done) struct buf in = { 0 };
		put_greeting(&in, &b);
		put_frame(&in, FRAME_SCOPES, "\0", 1);
		for (uint32_t k = 0; k < wish[i].frames; k++)
			put_eager(&in, k * wish[i].entries, wish[i].entries, wish[i].on);
		int r = try_input(&a, &b, in.data, in.len, &e);
		ok(wish[i].says ? r == -EPROTO && strstr(e.message, wish[i].says) : r == 0,
		   "%u times %u wishes: %s (%s)", wish[i].frames, wish[i].entries,
		   wish[i].says ? "refused" : "taken", e.message);
	}
	_cleanup_(buf_done) struct buf in = { 0 };
	put_greeting(&in, &b);
	put_frame(&in, FRAME_SCOPES, "\0", 1);
	buf_put(&in, A(WISHES));
	is_errno(try_input(&a, &b, in.data, in.len, &e), 0, "wishes change");
	node_close(&a);
	node_close(&b);
}

/* What a table of actors took in never leaves it: one member must not fill it. */
static void test_strangers(void)
{
	struct node a, b;
	struct err e = { 0 };
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	_cleanup_(buf_done) struct buf in = { 0 };
	uint32_t before = actors_count(replica_actors(a.replica));
	for (uint32_t n = SESSION_STRANGERS + 1; n >= SESSION_STRANGERS; n--) {
		buf_reset(&in);
		put_greeting(&in, &b);
		put_frame(&in, FRAME_SCOPES, "\0", 1);
		put_strangers(&in, n);
		_cleanup_(session_freep) struct session *s = NULL;
		if (session_new(a.replica, &b.id, 1, &s) < 0)
			tap_bail("no session");
		int r = session_input(s, in.data, in.len, 2, &e);
		if (n > SESSION_STRANGERS)
			ok(r == -EPROTO && strstr(e.message, "more than 4096 actors"),
			   "refused: %u new actors (%s)", n, e.message);
		else
			is_int(r, 0, "taken: actors that are known by now");
	}
	is_uint(actors_count(replica_actors(a.replica)) - before, SESSION_STRANGERS,
		"and no more than that came in");
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	tap_plan((unsigned)(sizeof(trials) / sizeof(trials[0]) + sizeof(interests) / sizeof(interests[0]) + 8 + 7 + 6 +
			    3 + 5));
	test_rules();
	test_resume_rules();
	test_window();
	test_strangers();
	test_wishes();
	return tap_done();
}
