/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From whom a device wants changes at once: the table of wishes, and a triangle of devices in which a link or
 * a frame is lost. tests/sim/spread.c has large meshes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/crdt.h"
#include "engine/cursor.h"
#include "engine/frame.h"
#include "engine/session-impl.h"
#include "engine/spread.h"
#include "tests/held.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1
#define DEVICES 3
#define LINKS 4
#define MS UINT64_C(1000)

/* ---- the table ---- */

static void test_wishes(void)
{
	struct wishes w = { 0 };
	struct wish *x = NULL;
	struct id scope[2] = { { { 1 } }, { { 2 } } };
	ok(!wishes_find(&w, &scope[0], 7) && wishes_state(&w, &scope[0], 7) == WISH_NONE, "an empty table");
	bool sorted = true;
	for (uint32_t i = 0; i < SPREAD_WISHES_MAX; i++) {
		uint32_t actor = i * 7919 % 1021;
		if (wishes_get(&w, &scope[i >= 1000], actor, &x) < 0)
			tap_bail("no wish");
		wishes_set(&w, x, WISH_LAZY, i == 5, 1000 + i);
	}
	for (uint32_t i = 1; i < w.n; i++) {
		int c = id_cmp(&w.wish[i - 1].scope, &w.wish[i].scope);
		sorted &= c < 0 || (c == 0 && w.wish[i - 1].actor < w.wish[i].actor);
	}
	ok(sorted && w.n == SPREAD_WISHES_MAX && w.n_due == 1 && w.n_lazy == w.n, "%u wishes, sorted", w.n);
	ok(!id_equal(&w.wish[999].scope, &scope[1]) && id_equal(&w.wish[1000].scope, &scope[1]),
	   "each scope has its place");
	is_errno(wishes_get(&w, &scope[1], 5000, &x), -ENOSPC, "there is no room for another one");
	is_int(wishes_get(&w, &scope[0], 7919 % 1021, &x), 0, "those that are there are found");
	is_errno(wishes_make_room(&w, &scope[1], 5000, 9000, &x), -ENOSPC,
		 "nor is it made at the cost of who was told to be lazy");
	const struct wish *oldest = wishes_find(&w, &scope[0], 0);
	ok(oldest && oldest->state == WISH_ASKED && oldest->due && w.n_due == 2,
	   "but the oldest is going to be told otherwise");
	wishes_set(&w, wishes_find(&w, &scope[0], 0), WISH_ASKED, false, 9000);
	is_int(wishes_make_room(&w, &scope[1], 5000, 9001, &x), 0, "and then makes room");
	ok(!wishes_find(&w, &scope[0], 0) && x->actor == 5000 && x->state == WISH_NONE && w.n_due == 1,
	   "for the new one");
	wishes_drop(&w, wishes_find(&w, &scope[0], 5 * 7919 % 1021));
	ok(w.n == SPREAD_WISHES_MAX - 1 && w.n_lazy == w.n - 1 && w.n_due == 0, "what is dropped is not due any more");
	wishes_done(&w);
}

/* ---- a triangle: link i is between devices i and i + 1; link 3 is a second one between devices 0 and 1 ---- */

struct side {
	struct session *session;
	bool deaf;       /* nothing arrives there */
	bool loses_wish; /* EAGER that asks for something does not */
	bool held;       /* what is sent from there is kept in `kept` */
	bool holds_delta; /* from the next DELTA on */
	struct buf kept;
	unsigned frames[FRAME_TYPES]; /* sent from there */
};

struct triangle {
	struct node node[DEVICES];
	struct spread *spread[DEVICES];
	struct side side[LINKS][2];
	uint64_t now;
};

static unsigned device_of(unsigned link, unsigned k)
{
	return (link + k) % DEVICES;
}

static void link_up(struct triangle *t, unsigned link)
{
	for (unsigned k = 0; k < 2; k++) {
		unsigned d = device_of(link, k);
		t->side[link][k] = (struct side){ 0 };
		if (session_new(t->node[d].replica, &t->node[device_of(link, !k)].id, t->now,
				&t->side[link][k].session) < 0)
			tap_bail("no session");
		session_unpacked(t->side[link][k].session); /* frames are counted, lost and late here */
		session_spread_for(t->side[link][k].session, t->spread[d]);
	}
}

static void link_down(struct triangle *t, unsigned link)
{
	for (unsigned k = 0; k < 2; k++) {
		session_free(t->side[link][k].session);
		t->side[link][k].session = NULL;
		buf_done(&t->side[link][k].kept);
	}
}

/* One frame on its way; ends in 1 if it is entries that ask. */
static void carry(struct triangle *t, unsigned link, unsigned k, enum frame_type type, const uint8_t *p, size_t len)
{
	struct side *from = &t->side[link][k], *to = &t->side[link][!k];
	struct err e = { 0 };
	from->frames[type]++;
	if (from->held || (from->holds_delta && type == FRAME_DELTA)) {
		from->held = true;
		buf_put(&from->kept, p, len);
		return;
	}
	if (to->deaf || (from->loses_wish && type == FRAME_EAGER && p[len - 1] == 1))
		return;
	if (session_input(to->session, p, len, t->now, &e) < 0)
		tap_bail("%u to %u: %s", device_of(link, k), device_of(link, !k), e.message);
}

static bool say(struct triangle *t, unsigned link, unsigned k)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	struct err e = { 0 };
	enum frame_type type;
	size_t head, len;
	if (!t->side[link][k].session)
		return false;
	int r = session_output(t->side[link][k].session, &out, 65536, t->now, &e);
	if (r == -ETIMEDOUT && (t->side[link][0].deaf || t->side[link][1].deaf)) {
		link_down(t, link);
		return false;
	}
	if (r < 0)
		tap_bail("%u: %s", device_of(link, k), e.message);
	for (size_t at = 0; at < out.len; at += head + len) {
		if (frame_head(out.data + at, out.len - at, &type, &head, &len, NULL) != 1)
			tap_bail("half a frame");
		carry(t, link, k, type, out.data + at, head + len);
	}
	return out.len > 0;
}

static void flush(struct triangle *t, unsigned d)
{
	if (!replica_dirty(t->node[d].replica))
		return;
	node_flush(&t->node[d], NULL);
	for (unsigned link = 0; link < LINKS; link++)
		for (unsigned k = 0; k < 2; k++)
			if (device_of(link, k) == d && t->side[link][k].session)
				session_news(t->side[link][k].session);
}

/* All that happens within so many milliseconds, one a turn. */
static void run(struct triangle *t, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++, t->now += MS) {
		for (unsigned d = 0; d < DEVICES; d++)
			flush(t, d);
		for (unsigned link = 0; link < LINKS; link++)
			for (unsigned k = 0; k < 2; k++)
				say(t, link, k);
	}
}

static unsigned sent(const struct triangle *t, enum frame_type type)
{
	unsigned n = 0;
	for (unsigned link = 0; link < LINKS; link++)
		n += t->side[link][0].frames[type] + t->side[link][1].frames[type];
	return n;
}

static void triangle_open(struct triangle *t)
{
	*t = (struct triangle){ .now = 1000000 };
	for (unsigned d = 0; d < DEVICES; d++) {
		node_open(&t->node[d], (uint8_t)(d + 1), NULL);
		if (spread_new(&t->spread[d]) < 0)
			tap_bail("out of memory");
	}
	node_write(&t->node[0], "c", "x.json", A("{\"n\": 0}\n"));
	flush(t, 0);
	for (unsigned link = 0; link < DEVICES; link++)
		link_up(t, link);
	run(t, 3000);
}

static void triangle_close(struct triangle *t)
{
	for (unsigned link = 0; link < LINKS; link++)
		link_down(t, link);
	for (unsigned d = 0; d < DEVICES; d++) {
		node_close(&t->node[d]);
		spread_free(t->spread[d]);
	}
}

static void change(struct triangle *t, unsigned d, int value)
{
	char text[40];
	snprintf(text, sizeof(text), "{\"n\": %d}\n", value);
	node_write(&t->node[d], "c", "x.json", text, strlen(text));
}

static bool shows(struct triangle *t, unsigned d, int value)
{
	char want[40];
	_cleanup_free_ char *text = node_read(&t->node[d], "c", "x.json");
	snprintf(want, sizeof(want), "{\"n\": %d}\n", value);
	return text && strcmp(text, want) == 0;
}

/* Milliseconds until the device shows it; a minute at most. */
static unsigned until(struct triangle *t, unsigned d, int value)
{
	unsigned ms = 0;
	for (; ms < 60000 && !shows(t, d, value); ms++)
		run(t, 1);
	return ms;
}

static bool in_step(const struct triangle *t)
{
	bool all = true;
	for (unsigned link = 0; link < LINKS; link++)
		for (unsigned k = 0; k < 2; k++)
			all &= !t->side[link][k].session || session_in_step(t->side[link][k].session);
	return all;
}

static void test_tree(void)
{
	struct triangle t;
	triangle_open(&t);
	ok(shows(&t, 1, 0) && shows(&t, 2, 0) && in_step(&t), "three devices in step");
	for (int i = 1; i <= 2; i++) {
		change(&t, 0, i);
		run(&t, 3000);
	}
	unsigned deltas = sent(&t, FRAME_DELTA), wishes = sent(&t, FRAME_EAGER), acks = sent(&t, FRAME_ACK);
	const unsigned between = t.side[1][0].frames[FRAME_DELTA] + t.side[1][1].frames[FRAME_DELTA];
	ok(wishes > 0, "the two that get the same from each other say so");
	change(&t, 0, 3);
	run(&t, 900);
	is_uint(sent(&t, FRAME_DELTA) - deltas, 2, "then a change goes to each once");
	ok(shows(&t, 1, 3) && shows(&t, 2, 3), "and is there");
	is_uint(t.side[1][0].frames[FRAME_DELTA] + t.side[1][1].frames[FRAME_DELTA], between, "not between them");
	ok(!in_step(&t), "they do not know yet that both have it");
	run(&t, 200);
	ok(in_step(&t), "but a second later they do");
	is_uint(sent(&t, FRAME_ACK) - acks, 4, "by one frame each");
	is_uint(sent(&t, FRAME_EAGER) - wishes, 0, "and nothing more is wished");
	ok(held_by(t.node[1].replica, &t.node[2].id, NULL) && held_by(t.node[2].replica, &t.node[1].id, NULL),
	   "each knows what the other holds");

	/* Another one's changes have a tree of their own. */
	change(&t, 1, 4);
	unsigned ms = until(&t, 2, 4);
	ok(ms <= 3, "what another one changes comes directly (%u ms)", ms);
	run(&t, 3000);
	change(&t, 1, 5);
	run(&t, 3000);
	deltas = sent(&t, FRAME_DELTA);
	change(&t, 1, 6);
	run(&t, 3000);
	is_uint(sent(&t, FRAME_DELTA) - deltas, 2, "and once as well");
	triangle_close(&t);
}

static void test_repair(void)
{
	struct triangle t;
	triangle_open(&t);
	change(&t, 0, 1);
	run(&t, 3000);

	/* Link 2, between device 2 and device 0, ends. */
	link_down(&t, 2);
	ok(session_deadline(t.side[1][1].session) == 0, "when a link ends there is something to say on another one");
	change(&t, 0, 2);
	unsigned ms = until(&t, 2, 2);
	ok(ms <= 5, "what came over it comes over that one at once (%u ms)", ms);
	run(&t, 3000);
	ok(in_step(&t), "all are in step");
	link_up(&t, 2);
	run(&t, 3000);
	for (int i = 3; i < 5; i++) {
		change(&t, 0, i);
		run(&t, 3000);
	}
	unsigned deltas = sent(&t, FRAME_DELTA);
	change(&t, 0, 5);
	run(&t, 3000);
	is_uint(sent(&t, FRAME_DELTA) - deltas, 2, "when it is back a change goes to each once again");

	/* Nobody notices that it is gone. */
	t.side[2][0].deaf = true;
	change(&t, 0, 6);
	ms = until(&t, 2, 6);
	ok(ms >= 1400 && ms <= 1700, "a link that is silent: what others announce is asked for (%u ms)", ms);
	change(&t, 0, 7);
	ms = until(&t, 2, 7);
	ok(ms <= 5, "and comes that way from then on (%u ms)", ms);
	triangle_close(&t);
}

/* A device that wants only word of everything and never asks. */
static void test_anyhow(void)
{
	struct triangle t;
	triangle_open(&t);
	change(&t, 0, 1);
	run(&t, 3000);
	t.side[2][0].deaf = true;
	t.side[1][1].loses_wish = true;
	change(&t, 0, 2);
	unsigned ms = until(&t, 2, 2);
	ok(ms >= 9900 && ms <= 10200, "who is not heard gets all the same what it lacks (%u ms)", ms);
	run(&t, 2000);
	ok(session_in_step(t.side[1][0].session), "and acknowledges it");
	/* Changes all the time do not put it off for ever, nor do they make it worse. */
	unsigned worst = 0;
	for (int i = 3; i < 10; i++) {
		change(&t, 0, i);
		ms = until(&t, 2, i);
		worst = ms > worst ? ms : worst;
	}
	ok(worst <= 10200, "time and again (%u ms)", worst);
	triangle_close(&t);
}

/* ---- what an announcement promises ---- */

struct records {
	struct id print[16];
	unsigned n;
};

/* Of all records that are in the store, by the ids of their nodes. A record stands behind its format and what
 * the dot index has of it (shoal-format(7)). */
static struct records records_of(const struct node *n)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct records r = { 0 };
	struct store_iter *it;
	if (store_iter_new(n->store, NULL, STORE_DOCS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("out of memory");
	for (; store_iter_valid(it) && r.n < 16; store_iter_next(it)) {
		size_t len;
		const uint8_t *v = store_iter_value(it, &len);
		struct cursor c = cursor_make(v, len);
		struct record *record;
		cursor_u8(&c);
		for (uint64_t k = 2 * cursor_varint(&c); k > 0; k--)
			cursor_varint(&c);
		if (!cursor_ok(&c) ||
		    record_decode(&a, replica_actors(n->replica), c.p, (size_t)(c.end - c.p), &record, NULL) < 0)
			tap_bail("a bad record");
		record_fingerprint(record, replica_actors(n->replica), &r.print[r.n++]);
	}
	store_iter_free(it);
	return r;
}

static bool same_records(const struct node *a, const struct node *b)
{
	struct records x = records_of(a), y = records_of(b);
	return x.n > 0 && x.n == y.n && memcmp(x.print, y.print, x.n * sizeof(x.print[0])) == 0;
}

static void change_two(struct triangle *t, int m, int n)
{
	char text[60];
	snprintf(text, sizeof(text), "{\"m\": %d, \"n\": %d}\n", m, n);
	node_write(&t->node[0], "c", "two.json", text, strlen(text));
}

/* Device 2 has only word of what device 0 makes from device 1, and does not hear device 0. Then it gets what
 * device 1 makes. `before` tells at how many of three changes of one node word goes out. */
static void test_announced(unsigned before)
{
	struct triangle t;
	triangle_open(&t);
	for (int i = 1; i <= 2; i++) {
		change_two(&t, 0, -i);
		run(&t, 3000);
	}
	t.side[2][0].deaf = true;
	t.side[1][1].loses_wish = true;
	const unsigned acks = t.side[1][0].frames[FRAME_ACK];
	for (unsigned i = 0; i < 3; i++) {
		change_two(&t, 1, (int)i);
		run(&t, i + 1 == before ? 1200 : 20);
	}
	ok(t.side[1][0].frames[FRAME_ACK] - acks == (before > 0), "word of change %u of 3 goes out", before);
	char *text = node_read(&t.node[2], "c", "two.json");
	is_str(text, "{\"m\": 0, \"n\": -2}\n", "what it is about does not");
	free(text);
	change(&t, 1, 1);
	unsigned ms = until(&t, 2, 1);
	ok(ms <= 3, "another one's change comes at once (%u ms)", ms);
	run(&t, 100);
	ok(before == 0 || same_records(&t.node[1], &t.node[2]), "and with it all that it may not leave out");
	link_down(&t, 2);
	run(&t, 15000);
	ok(in_step(&t) && same_records(&t.node[0], &t.node[1]) && same_records(&t.node[1], &t.node[2]),
	   "at the end all have the same records");
	triangle_close(&t);
}

/* What device 0 sends to device 1 is long on its way, device 2 brings it first, and device 1 tells so. */
static void test_slow(void)
{
	struct triangle t;
	struct err e = { 0 };
	triangle_open(&t);
	t.side[0][0].held = true;
	for (int i = 1; i <= 20; i++) {
		change(&t, 0, i);
		run(&t, 10);
	}
	ok(shows(&t, 1, 20) && t.side[0][0].frames[FRAME_ROUND] > 16, "%u rounds on their way bring nothing new",
	   t.side[0][0].frames[FRAME_ROUND]);
	t.side[0][0].held = false;
	is_int(session_input(t.side[0][1].session, t.side[0][0].kept.data, t.side[0][0].kept.len, t.now, &e), 0,
	       "they are not too many when they come at once (%s)", e.message);
	run(&t, 3000);
	ok(in_step(&t) && same_records(&t.node[0], &t.node[1]), "all are in step");
	triangle_close(&t);
}

/* The link between devices 0 and 1 is slow, and both know that. */
static void make_slow(struct triangle *t, bool slow)
{
	for (unsigned k = 0; k < 2; k++)
		session_pace(t->side[0][k].session, slow ? 100000 : 1000000, slow);
}

/* Over a slow link goes word alone, of what its own end makes too, as long as it comes another way; and nothing is lost
 * when it does not any more. */
static void test_slow_link(void)
{
	struct triangle t;
	triangle_open(&t);
	for (int i = 1; i <= 2; i++) {
		change(&t, 0, i);
		run(&t, 3000);
	}
	const unsigned direct = t.side[0][0].frames[FRAME_DELTA];
	make_slow(&t, true);
	run(&t, 3000);
	change(&t, 0, 3);
	const unsigned round_about = until(&t, 1, 3);
	const unsigned between = t.side[1][0].frames[FRAME_DELTA] + t.side[1][1].frames[FRAME_DELTA];
	ok(round_about <= 5 && between > 0, "when a link is slow what came over it comes another way as well (%u ms)",
	   round_about);
	/* The device in between is told of by both, and may be first by chance. */
	for (int i = 4; i < 8; i++) {
		t.side[0][0].held = true;
		change(&t, 0, i);
		run(&t, 50);
		t.side[0][0].held = false;
		if (t.side[0][0].kept.len > 0 &&
		    session_input(t.side[0][1].session, t.side[0][0].kept.data, t.side[0][0].kept.len, t.now, NULL) < 0)
			tap_bail("cannot carry");
		buf_reset(&t.side[0][0].kept);
		run(&t, 3000);
	}
	unsigned before = t.side[0][0].frames[FRAME_DELTA], words = t.side[0][0].frames[FRAME_ACK];
	ok(before > direct, "the slow one had its part in the beginning");
	change(&t, 0, 8);
	const unsigned ms = until(&t, 1, 8);
	run(&t, 3000);
	ok(ms <= 5 && t.side[0][0].frames[FRAME_DELTA] == before && t.side[0][0].frames[FRAME_ACK] > words,
	   "then only word goes over it, though its end makes the changes (%u ms)", ms);
	ok(in_step(&t) && same_records(&t.node[0], &t.node[1]), "all are in step");
	link_down(&t, 2);
	change(&t, 0, 9);
	const unsigned late = until(&t, 1, 9);
	ok(late > 5 && late <= 1700, "when the other way ends it is asked for over the slow one (%u ms)", late);
	change(&t, 0, 10);
	ok(until(&t, 1, 10) <= 5, "and comes over that from then on");
	triangle_close(&t);
}

/* Device 0 begins to send a change to device 2, and so many bytes a second of a delta without an end follow. Device 1
 * has told of the change; if `silent`, it begins to send it and does not go on either. Milliseconds until it
 * is there, 25000 at most; how often device 2 looks after it meanwhile. */
static unsigned begun(unsigned bytes, bool silent, unsigned *ret_looks)
{
	static const uint8_t nothing[FRAME_PIECE];
	_cleanup_(buf_done) struct buf head = { 0 }, delta = { 0 };
	struct triangle t;
	struct err e = { 0 };
	triangle_open(&t);
	change(&t, 0, 1);
	run(&t, 3000);
	t.side[2][1].holds_delta = true;
	t.side[1][0].holds_delta = silent;
	change(&t, 0, 2);
	buf_u8(&head, FRAME_MORE);
	if (frame_put2(&delta, FRAME_DELTA, &head, nothing, sizeof(nothing)) < 0)
		tap_bail("out of memory");
	unsigned ms = 0, at = 0;
	*ret_looks = 0;
	for (; ms < 25000 && !shows(&t, 2, 2); ms++) {
		if (ms % 1000 == 10 && session_input(t.side[2][0].session, delta.data + at, bytes, t.now, &e) < 0)
			tap_bail("%s", e.message);
		at += ms % 1000 == 10 ? bytes : 0;
		*ret_looks += session_deadline(t.side[1][1].session) <= t.now;
		run(&t, 1);
	}
	ok(t.side[2][1].held, "a round has begun");
	triangle_close(&t);
	return ms;
}

static void test_begun(void)
{
	unsigned looks, ms = begun(1, false, &looks);
	ok(ms >= 5000 && ms <= 6600, "what does not come on is asked for elsewhere (%u ms)", ms);
	ms = begun(1100, false, &looks);
	ok(ms >= 9900 && ms <= 10200, "what does is not; it comes unasked (%u ms)", ms);
	begun(1100, true, &looks);
	ok(looks >= 4 && looks <= 8, "nor looked after all the time (%u times)", looks);
}

/* Device 1 has two links to device 0. The last change came over one of them first, and the one before, so many
 * seconds ago, over the other. */
static enum wish_state wish_after(unsigned seconds)
{
	struct triangle t;
	triangle_open(&t);
	link_up(&t, 3);
	run(&t, 3000);
	struct actor_id self;
	struct id scope;
	struct attr dir;
	replica_self(t.node[0].replica, &self, NULL);
	const uint32_t actor = actors_find(replica_actors(t.node[1].replica), &self);
	if (actor == ACTOR_NONE || replica_lookup(t.node[1].replica, &NODE_ROOT, "c", 1, &dir) < 0)
		tap_bail("nothing is there");
	scope = dir.id;
	static const uint8_t of[] = { 0, 3, 1 };
	const enum wish_state state[] = { WISH_FIRST, WISH_FIRST, WISH_LAZY };
	const uint64_t at[] = { t.now - seconds * 1000 * MS, t.now, t.now };
	for (unsigned i = 0; i < 3; i++) {
		struct session *s = t.side[of[i]][of[i] == 1 ? 0 : 1].session;
		struct wish *w;
		if (wishes_get(&s->own_wishes, &scope, actor, &w) < 0)
			tap_bail("out of memory");
		wishes_set(&s->own_wishes, w, state[i], false, at[i]);
	}
	link_down(&t, 3);
	const enum wish_state ret = wishes_state(&t.side[1][0].session->own_wishes, &scope, actor);
	triangle_close(&t);
	return ret;
}

static void test_spare(void)
{
	ok(wish_after(9) == WISH_LAZY, "where another link was first not long ago, nobody is asked when one ends");
	ok(wish_after(11) == WISH_ASKED, "but where that was long ago");
}

/* A device with one session says and delays nothing. */
static void test_pair(void)
{
	struct node a, b;
	struct pair p;
	struct spread *x, *y;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	if (spread_new(&x) < 0 || spread_new(&y) < 0)
		tap_bail("out of memory");
	uint64_t bytes[2];
	for (int with = 0; with < 2; with++) {
		char text[40];
		pair_open(&p, &a, &b);
		if (with) {
			session_spread_for(p.session[0], x);
			session_spread_for(p.session[1], y);
		}
		node_write(&a, "c", "x.json", A("{\"n\": 1}\n"));
		node_flush(&a, p.session[0]);
		pair_run(&p);
		uint64_t before = p.bytes[0] + p.bytes[1];
		for (int i = 0; i < 20; i++) {
			snprintf(text, sizeof(text), "{\"n\": %d}\n", 10 + 20 * with + i);
			node_write(i % 2 ? &a : &b, "c", "x.json", text, strlen(text));
			node_flush(i % 2 ? &a : &b, p.session[i % 2 ? 0 : 1]);
			pair_run(&p);
		}
		bytes[with] = p.bytes[0] + p.bytes[1] - before;
		ok(!p.failed && session_in_step(p.session[0]) && session_in_step(p.session[1]),
		   "two devices are in step at once (%s)", p.e.message);
		ok(session_deadline(p.session[0]) > p.now + 5000000, "and nothing is left to be said");
		pair_close(&p);
	}
	ok(bytes[1] <= bytes[0] + 40, "for as many bytes as without wishes: %d, %d", (int)bytes[1], (int)bytes[0]);
	spread_free(x);
	spread_free(y);
	node_close(&a);
	node_close(&b);
}

int main(void)
{
	tap_plan(10 + 12 + 6 + 3 + 4 * 5 + 3 + 6 + 6 + 2 + 5);
	test_wishes();
	test_tree();
	test_repair();
	test_anyhow();
	for (unsigned before = 0; before <= 3; before++)
		test_announced(before);
	test_slow();
	test_slow_link();
	test_begun();
	test_spare();
	test_pair();
	return tap_done();
}
