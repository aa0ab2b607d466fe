/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The join of records is idempotent, commutative and associative, and deltas lead where whole records
 * do, in random histories of one record, with clocks that differ, more directories than edges are kept, and
 * purges (shoal-format(7)):
 *
 *     test_laws [SEED [ROUNDS]] */
#include <stdio.h>
#include <stdlib.h>

#include "engine/edge.h"
#include "engine/purged.h"
#include "engine/slotcodec.h"
#include "tests/device.h"
#include "tests/prng.h"

#define DEVICES 4
#define STATES 8
#define DIRS 7
#define YEAR (UINT64_C(365) * 24 * 3600 * 1000000)

struct laws {
	struct prng r;
	struct device d[DEVICES], judge;
	const struct record *state[STATES]; /* in the judge's numbers */
	unsigned n;
	/* states with all edges; with an edge and a visit that are not of one directory; that are purged */
	uint64_t full, apart, purged;
	const char *broken;
};

static void change(struct laws *w, struct device *d)
{
	char text[64];
	uint64_t what = prng_below(&w->r, 100);
	d->wall += prng_below(&w->r, 30000);
	if (d->rec && record_is_purged(d->rec))
		return;
	if (!d->rec || what < 20) {
		snprintf(text, sizeof(text), "{\"a%u\": %u, \"l\": [%u]}", (unsigned)prng_below(&w->r, 4),
			 (unsigned)prng_below(&w->r, 100), (unsigned)prng_below(&w->r, 4));
		device_edit(d, text);
		return;
	}
	struct stamp st = device_stamp(d);
	if (what < 80) {
		const struct id dir = { { 1, (uint8_t)prng_below(&w->r, DIRS) } };
		const char name = (char)('a' + prng_below(&w->r, 3));
		must(record_move(&d->arena, d->actors, d->rec, &dir, &name, 1, &st, &d->rec));
	} else if (what < 87) {
		must(record_move(&d->arena, d->actors, d->rec, &NODE_TRASH, "", 0, &st, &d->rec));
	} else if (what < 92) {
		must(record_move(&d->arena, d->actors, d->rec, &NODE_INODES, "n", 1, &st, &d->rec));
	} else if (what < 94) {
		must(record_purge(&d->arena, d->actors, d->rec, &st, &d->rec));
	} else {
		must(record_clear(&d->arena, d->rec, &st, &d->rec));
	}
}

/* The record in the judge's numbers. */
static const struct record *told(struct laws *w, struct device *d)
{
	static const struct vv none;
	const struct record *ret;
	must(delta_join(&w->judge.arena, w->judge.actors, NULL, device_delta(d, &w->judge, &none, true), &ret));
	return ret;
}

static const struct record *join(struct laws *w, const struct record *x, const struct record *y)
{
	const struct record *ret;
	must(record_join(&w->judge.arena, w->judge.actors, x, y, &ret));
	if (!record_is_bare(ret))
		w->broken = "a join of purged records has more than they";
	return ret;
}

static bool same(struct laws *w, const struct record *x, const struct record *y)
{
	struct id a, b;
	record_fingerprint(x, w->judge.actors, &a);
	record_fingerprint(y, w->judge.actors, &b);
	bool equal = id_equal(&a, &b);
	if (vv_equal(&x->ctx, &y->ctx) != equal)
		w->broken = "equal contexts and equal states are not the same thing";
	return equal;
}

static void judge(struct laws *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		const struct record *x = w->state[i];
		w->full += x->n_edges == EDGES_MAX;
		w->apart += !record_visits_follow_edges(x);
		w->purged += record_is_purged(x);
		if (!same(w, join(w, x, x), x))
			w->broken = "not idempotent";
		for (unsigned k = 0; k < w->n; k++) {
			const struct record *y = w->state[k], *xy = join(w, x, y);
			if (!same(w, xy, join(w, y, x)))
				w->broken = "not commutative";
			if (!same(w, join(w, xy, y), xy))
				w->broken = "not absorbing what it has";
			if ((record_is_purged(x) || record_is_purged(y)) && !record_is_purged(xy))
				w->broken = "something came after a purge";
			for (unsigned m = 0; m < w->n; m++)
				if (!same(w, join(w, xy, w->state[m]), join(w, x, join(w, y, w->state[m]))))
					w->broken = "not associative";
		}
	}
}

/* The stored form gives back the record. */
static void store(struct laws *w, struct device *d)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct record *r;
	struct id x, y;
	record_encode(d->rec, d->actors, &b);
	must(record_decode(&d->arena, d->actors, arena_dup(&d->arena, b.data, b.len), b.len, &r, NULL));
	record_fingerprint(r, d->actors, &x);
	record_fingerprint(d->rec, d->actors, &y);
	if (!id_equal(&x, &y))
		w->broken = "what is stored is something else";
}

static void history(struct laws *w, uint64_t seed)
{
	w->r = (struct prng){ seed };
	w->n = 0;
	for (unsigned i = 0; i < DEVICES; i++) {
		device_init(&w->d[i], i);
		if (prng_chance(&w->r, 20))
			w->d[i].wall += prng_chance(&w->r, 50) ? YEAR : 100000;
	}
	device_init(&w->judge, DEVICES);
	device_edit(&w->d[0], "{\"a\": 1}");
	for (unsigned i = 1; i < DEVICES; i++)
		device_send(&w->d[0], &w->d[i]);
	for (unsigned step = 0; step < 40; step++) {
		struct device *d = &w->d[prng_below(&w->r, DEVICES)];
		struct device *to = &w->d[prng_below(&w->r, DEVICES)];
		if (prng_chance(&w->r, 70))
			change(w, d);
		else if (d != to)
			device_send(d, to);
		store(w, d);
		if (step % 5 == 4 && w->n < STATES)
			w->state[w->n++] = told(w, d);
	}
	judge(w);
	const struct record *all = told(w, &w->d[0]);
	for (unsigned i = 1; i < DEVICES; i++)
		all = join(w, all, told(w, &w->d[i]));
	for (unsigned turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < DEVICES; i++)
			for (unsigned k = 0; k < DEVICES; k++)
				if (i != k)
					device_send(&w->d[i], &w->d[k]);
	for (unsigned i = 0; i < DEVICES; i++)
		if (!same(w, told(w, &w->d[i]), all))
			w->broken = "deltas lead elsewhere";
	for (unsigned i = 0; i < DEVICES; i++)
		device_done(&w->d[i]);
	device_done(&w->judge);
}

/* ---- visits that are not those of the edges, as bytes ---- */

static bool encodes_again(struct device *d, const uint8_t *data, size_t len)
{
	_cleanup_(buf_done) struct buf again = { 0 };
	struct record *r;
	if (record_decode(&d->arena, d->actors, arena_dup(&d->arena, data, len), len, &r, NULL) < 0)
		return true;
	record_encode(r, d->actors, &again);
	return again.len == len && memcmp(again.data, data, len) == 0;
}

/* What any other byte makes of it: the one way to write some record, or nothing. */
static bool one_way(struct device *d, const struct buf *b)
{
	bool good = encodes_again(d, b->data, b->len);
	for (size_t i = 0; good && i < b->len; i++) {
		const uint8_t was = b->data[i];
		for (unsigned to = 0; good && to < 256; to++) {
			b->data[i] = (uint8_t)to;
			good = encodes_again(d, b->data, b->len);
		}
		b->data[i] = was;
	}
	return good;
}

static void test_apart(void)
{
	_cleanup_(buf_done) struct buf b = { 0 }, bare = { 0 };
	struct device d;
	struct record *r;
	struct err e = { 0 };
	device_init(&d, 1);
	must(record_new(&d.arena, &device_doc, &device_scope, NODE_FILE, &r));
	d.rec = r;
	record_encode(d.rec, d.actors, &bare);
	bare.data[1 + 2 * ID_SIZE] |= EDGES_APART << 3;
	buf_u8(&bare, 0);
	is_int(record_decode(&d.arena, d.actors, bare.data, bare.len, &r, &e), -EBADMSG, "none apart are refused");
	ok(strstr(e.message, "apart"), "and why is said: %s", e.message);
	/* The clock goes back: the fifth directory and the one that it left were visited before all others. */
	for (uint8_t i = 0; i < EDGES_MAX + 1; i++) {
		struct stamp st = device_stamp(&d);
		const struct id dir = { { 1, i } };
		must(record_move(&d.arena, d.actors, d.rec, &dir, "n", 1, &st, &d.rec));
		if (i == EDGES_MAX - 1) {
			d.wall -= YEAR;
			d.clock = (struct clock){ 0 };
		}
	}
	const struct id first = { { 1, 0 } }, last = { { 1, EDGES_MAX } };
	ok(record_visit(d.rec, &first) && !record_visit(d.rec, &last), "visits are the latest, edges the newest");
	is_int(slotcodec_edges(d.rec), EDGES_APART, "such ones are written apart");
	record_encode(d.rec, d.actors, &b);
	ok(one_way(&d, &b), "in one way");
	device_done(&d);
}

int main(int argc, char **argv)
{
	tap_plan(7);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 400), i;
	struct laws w = { 0 };
	for (i = 0; i < rounds && !w.broken; i++)
		history(&w, seed + i);
	if (w.broken)
		tap_diag("seed %llu: %s", (unsigned long long)(seed + i - 1), w.broken);
	ok(!w.broken, "the join of records is one, in %llu random histories", (unsigned long long)rounds);
	ok(w.full > 0 && w.apart > 0 && w.purged > 0,
	   "%llu states had all the edges there may be, %llu a visit without its edge, and %llu were purged",
	   (unsigned long long)w.full, (unsigned long long)w.apart, (unsigned long long)w.purged);
	test_apart();
	return tap_done();
}
