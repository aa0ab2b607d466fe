/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which earlier versions stay, and what sweeps, verification and crashes do to them.
 *
 *     test_thin [SEED [ROUNDS]]     rounds of the property of thinning */

#include "tests/past.h"

/* ---- the rule ---- */

static void age(struct history_time *t, uint64_t now, uint64_t written, uint64_t replaced)
{
	*t = (struct history_time){ now - written, now - replaced };
}

static void test_rule(void)
{
	/* 10:00 of some day */
	const uint64_t now = 19700 * DAY + 10 * HOUR;
	struct history_time t[9];
	bool keep[9];
	age(&t[0], now, 40 * DAY, 31 * DAY);           /* over */
	age(&t[1], now, 31 * DAY, 20 * DAY);           /* the last of its day */
	age(&t[2], now, 5 * DAY, 5 * DAY - HOUR);      /* followed on the same day */
	age(&t[3], now, 5 * DAY - HOUR, 4 * DAY);      /* the last of its day */
	age(&t[4], now, 3 * HOUR - 60 * SECOND, 3 * HOUR - 120 * SECOND); /* followed in the same hour */
	age(&t[5], now, 3 * HOUR - 120 * SECOND, 2 * HOUR - 10 * SECOND); /* the last of its hour */
	age(&t[6], now, 600 * SECOND, 500 * SECOND);
	age(&t[7], now, 500 * SECOND, 499 * SECOND);
	age(&t[8], now, 499 * SECOND, 1);
	history_thin(t, 9, now, MONTH, keep);
	ok(!keep[0], "what was replaced more than 30 days ago goes");
	ok(keep[1], "what was replaced later stays, however long ago it was written");
	ok(!keep[2] && keep[3], "of a day the last stays");
	ok(!keep[4] && keep[5], "of an hour the last stays");
	ok(keep[6] && keep[7] && keep[8], "of the last hour everything stays");
	age(&t[0], now, 5 * DAY, 5 * DAY - 1);
	history_thin(t, 1, now, MONTH, keep);
	ok(keep[0], "the only one stays");
	t[0] = (struct history_time){ UINT64_MAX, now - 2 * DAY };
	t[1] = (struct history_time){ 0, now + DAY };
	history_thin(t, 2, now, MONTH, keep);
	ok(keep[0] && keep[1], "clocks that were wrong do no harm");
	ok(history_burst(10 * SECOND + 1, 1, 10 * SECOND + 999999, 1), "a second's work of one author");
	ok(!history_burst(10 * SECOND + 1, 1, 10 * SECOND + 2, 2), "another author");
	ok(!history_burst(10 * SECOND + 999999, 1, 11 * SECOND, 1), "another second");
}

#define TIMES 200

static uint32_t thinned(struct history_time *t, uint32_t n, uint64_t now)
{
	bool keep[TIMES];
	uint32_t m = 0;
	history_thin(t, n, now, MONTH, keep);
	for (uint32_t i = 0; i < n; i++)
		if (keep[i])
			t[m++] = t[i];
	return m;
}

/* Spans from a second to weeks, with an author's clock that may be off. */
static bool thin_round(struct prng *g)
{
	struct history_time t[TIMES], once[TIMES], twice[TIMES];
	uint64_t at = 19700 * DAY + prng_below(g, DAY), wrong = prng_chance(g, 20) ? 2 * DAY : 0;
	uint32_t n = (uint32_t)prng_below(g, TIMES);
	for (uint32_t i = 0; i < n; i++) {
		t[i].written_us = at + (wrong ? prng_below(g, wrong) - wrong / 2 : 0);
		at += SECOND + prng_below(g, UINT64_C(1) << prng_below(g, 40));
		t[i].replaced_us = at;
	}
	uint64_t now = at + prng_below(g, HOUR), later = now + prng_below(g, 3 * DAY);
	memcpy(once, t, sizeof(t));
	memcpy(twice, t, sizeof(t));
	uint32_t m = thinned(once, n, now), k = thinned(twice, n, now);
	k = thinned(twice, k, now);
	if (k != m || memcmp(once, twice, m * sizeof(*once)) != 0)
		return false;
	/* Thinned now and later, or only later: the same stays. */
	k = thinned(twice, m, later);
	uint32_t direct = thinned(t, n, later);
	if (!wrong && (k != direct || memcmp(twice, t, k * sizeof(*t)) != 0))
		return false;
	for (uint32_t i = 0; i < m; i++)
		if (now - once[i].replaced_us >= MONTH)
			return false;
	/* 60 of the last hour's minutes are no bound, but hours and days are. */
	uint32_t old = 0;
	for (uint32_t i = 0; i < m; i++)
		old += now - once[i].replaced_us >= HOUR;
	return wrong || old <= 25 + 32 + 1;
}

static void test_thin_property(uint64_t rounds)
{
	struct prng g = { seed };
	uint64_t bad = 0;
	for (uint64_t i = 0; i < rounds; i++)
		bad += !thin_round(&g);
	is_uint(bad, 0, "thinning twice is thinning once, and bounds what stays");
}

/* ---- in a store ---- */

static uint64_t chunks(struct store *s)
{
	uint64_t n = 0;
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	if (store_iter_new(s, NULL, STORE_CHUNKS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("no memory");
	for (; store_iter_valid(it); store_iter_next(it))
		n++;
	return n;
}

static void sweep(struct replica *r)
{
	struct sweep_report report;
	struct err e = { 0 };
	if (replica_sweep(r, &report, &e) < 0)
		tap_bail("replica_sweep: %s", e.message);
}

static void test_sweep(void)
{
	enum { SIZE = 300000 };
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at, film;
	struct past *past, *films;
	_cleanup_free_ char *one = document(1, SIZE), *two = document(2, SIZE);
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", one, &at);
	rep_create(p.r, &NODE_ROOT, "film", one, &film);
	save(&p, &at.id, two, SIZE);
	save(&p, &film.id, "short", 5);
	uint64_t before = chunks(p.store);
	list(p.r, &at.id, &a, &past);
	list(p.r, &film.id, &a, &films);
	sweep(p.r);
	is_uint(chunks(p.store), before, "a sweep leaves what earlier versions need");
	rep_stop(&p);
	rep_start(&p);
	sweep(p.r);
	ok(chunks(p.store) == before && holds(p.r, &at.id, &past[1], one, SIZE) &&
	   holds(p.r, &film.id, &films[1], one, SIZE), "after a restart as well");
	wait(&p, 29 * DAY);
	is_uint(count(p.r, &at.id), 2, "for 30 days");
	is_uint(replica_orphaned(p.r), 0, "nothing is to be swept until then");
	struct history_walk w = wait(&p, 2 * DAY);
	ok(count(p.r, &at.id) == 1 && w.versions == 0, "then they go");
	ok(replica_orphaned(p.r) >= SIZE, "that is counted");
	struct version *v = NULL;
	is_errno(replica_history_read(p.r, &at.id, &past[1], &v), -ENOENT, "and cannot be read");
	sweep(p.r);
	is_uint(chunks(p.store), 1, "the next sweep lets their chunks go");
	ok(rep_sound(p.r), "the store is sound");
	rep_close(&p);
}

/* A version in somebody's hands while it goes. */
static void test_held(void)
{
	enum { SIZE = 300000 };
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	struct version *v;
	_cleanup_free_ char *one = document(1, SIZE);
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "film", one, &at);
	save(&p, &at.id, "short", 5);
	list(p.r, &at.id, &a, &past);
	if (replica_history_read(p.r, &at.id, &past[1], &v) < 0)
		tap_bail("replica_history_read");
	wait(&p, 31 * DAY);
	sweep(p.r);
	_cleanup_free_ char *got = rep_bytes(v, NULL);
	ok(count(p.r, &at.id) == 1 && memcmp(got, one, SIZE) == 0,
	   "what somebody reads can be read to its end");
	version_unref(v);
	sweep(p.r);
	is_uint(chunks(p.store), 1, "then it goes");
	rep_close(&p);
}

static void test_size(void)
{
	enum { SIZE = 100000, N = 10 };
	struct rep p;
	struct attr at, doc;
	static uint8_t data[SIZE];
	struct prng g = { seed };
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "film", "", &at);
	rep_create(p.r, &NODE_ROOT, "a.json", "{}", &doc);
	for (unsigned i = 0; i <= N; i++) {
		prng_fill(&g, data, SIZE);
		save(&p, &at.id, data, SIZE);
	}
	struct history_walk w = thin(&p, N * SIZE + 10000);
	ok(w.dropped == 0 && w.versions == N + 1, "what may stay stays");
	w = thin(&p, 3 * SIZE + 5000);
	ok(w.versions == 3 && w.dropped == N + 1 - 3 && count(p.r, &at.id) == 4 &&
	   w.bytes > 3 * SIZE && w.bytes < 3 * SIZE + 5000, "of what is too much the newest stay");
	/* A large document that is changed a little each time. */
	for (unsigned i = 0; i <= N; i++) {
		_cleanup_free_ char *text = document(i, 10 * SIZE);
		save(&p, &doc.id, text, 10 * SIZE);
	}
	sweep(p.r);
	w = thin(&p, 30 * SIZE);
	ok(count(p.r, &doc.id) == N + 2 && w.bytes < 30 * SIZE,
	   "what versions share counts once: 11 versions of 1 MB in %llu bytes",
	   (unsigned long long)w.bytes);
	w = thin(&p, 0);
	ok(w.versions == 0 && w.bytes == 0 && count(p.r, &at.id) == 1, "nothing is nothing");
	sweep(p.r);
	ok(rep_sound(p.r), "the store is sound");
	rep_close(&p);
}

static void test_steps(void)
{
	enum { FILES = 40, SAVES = 300 };
	struct rep p;
	struct id id[FILES];
	const struct history_policy policy = { .keep_us = MONTH, .bytes = UINT64_MAX };
	struct history_walk w = { 0 };
	unsigned steps = 0;
	int rc;
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < FILES; i++) {
		struct attr at;
		char name[16];
		snprintf(name, sizeof(name), "f%u.json", i);
		rep_create(p.r, &NODE_ROOT, name, "{}", &at);
		id[i] = at.id;
		for (unsigned k = 0; k < SAVES; k++) {
			char text[32];
			int len = snprintf(text, sizeof(text), "{\"n\":%u}", k);
			save(&p, &id[i], text, (size_t)len);
		}
	}
	p.wall += 2 * HOUR;
	do {
		rc = replica_history_thin(p.r, &policy, &w, NULL);
		steps++;
	} while (rc > 0);
	uint32_t left = 0;
	for (unsigned i = 0; i < FILES; i++)
		left += count(p.r, &id[i]) - 1;
	ok(rc == 0 && steps >= FILES * SAVES / 4096 && steps <= 1 + FILES * SAVES / 4096 + 1,
	   "%u entries are looked at in %u steps", FILES * SAVES, steps);
	ok(left == w.versions && left <= 2 * FILES && left >= FILES && w.dropped == FILES * SAVES - left,
	   "a hundred saves in some minutes leave one or two versions a file");
	replica_sweep_cancel(p.r);
	is_errno(replica_history_thin(p.r, &policy, &w, NULL), -ECANCELED, "it can be broken off");
	rep_close(&p);
}

static void test_wrong_clock(void)
{
	struct rep p;
	struct attr at;
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", "{}", &at);
	save(&p, &at.id, "{\"n\":1}", 7);
	thin(&p, UINT64_MAX);
	p.wall += 5 * 365 * DAY;
	for (unsigned i = 0; i < 5; i++)
		thin(&p, UINT64_MAX);
	p.wall -= 5 * 365 * DAY;
	thin(&p, UINT64_MAX);
	is_uint(count(p.r, &at.id), 2, "a clock that is years ahead for some hours costs no version");
	wait(&p, 31 * DAY);
	is_uint(count(p.r, &at.id), 1, "time that passes does");
	rep_close(&p);
}

static void test_verify(void)
{
	enum { SIZE = 100000 };
	struct rep p;
	struct attr at, doc;
	struct verify_report found, again;
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct past *past;
	uint8_t key[HISTORY_KEY_SIZE];
	_cleanup_free_ char *text = document(1, SIZE);
	struct sweep_report swept;
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "film", text, &at);
	save(&p, &at.id, "short", 5);
	rep_create(p.r, &NODE_ROOT, "a.json", "{}", &doc);
	save(&p, &doc.id, "{\"n\":1}", 7);
	save(&p, &doc.id, "{\"n\":2}", 7);
	save(&p, &doc.id, "{\"n\":3}", 7);
	list(p.r, &doc.id, &a, &past);
	replica_verify(p.r, false, rep_problem, NULL, &found, NULL);
	ok(found.errors == 0 && found.versions == 4 && found.unreferenced == 0,
	   "verification counts versions and knows what they need");
	/* The blob's chunks go, one entry is damaged, one is of a later release. */
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	struct store_iter *it;
	if (store_iter_new(p.store, NULL, STORE_CHUNKS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("no memory");
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t key_len, len;
		const uint8_t *hash = store_iter_key(it, &key_len);
		if (store_iter_value(it, &len) && len > 100) {
			store_delete(b, STORE_CHUNKS, hash, key_len);
			store_delete(b, STORE_HASHES, hash, key_len);
		}
	}
	store_iter_free(it);
	history_key(&doc.id, past[2].stamp, key);
	store_put(b, STORE_HISTORY, key, sizeof(key), "\1\1", 2);
	history_key(&doc.id, past[1].stamp, key);
	store_put(b, STORE_HISTORY, key, sizeof(key), "\2\1", 2);
	store_put(b, STORE_HISTORY, "short", 5, "", 0);
	if (store_write(p.store, b, NULL) < 0)
		tap_bail("store_write");
	rep_stop(&p);
	rep_start(&p);
	is_errno(replica_sweep(p.r, &swept, NULL), -EBADMSG, "no sweep while one cannot be read");
	replica_verify(p.r, true, NULL, NULL, &found, NULL);
	replica_verify(p.r, false, NULL, NULL, &again, NULL);
	ok(found.errors == 4 && found.repaired == 3, "missing bytes and damaged entries are found");
	ok(again.errors == 1 && again.versions == 2, "what is damaged goes, what is of a later release stays");
	rep_close(&p);
}

static void test_crash(void)
{
	struct prng g = { seed };
	unsigned bad = 0;
	for (unsigned round = 0; round < 40; round++) {
		struct rep p;
		struct id id[3];
		char *text[4];
		rep_open(&p, NULL, 0, seed + round);
		for (unsigned i = 0; i < 4; i++)
			text[i] = document(i, i % 2 ? 30000 : 100);
		for (unsigned i = 0; i < 3; i++) {
			struct attr at;
			char name[16];
			snprintf(name, sizeof(name), "%u%s", i, i ? ".json" : "");
			rep_create(p.r, &NODE_ROOT, name, text[0], &at);
			id[i] = at.id;
		}
		replica_flush(p.r, NULL);
		for (unsigned i = 0; i < 12; i++) {
			const char *next = text[prng_below(&g, 4)];
			save(&p, &id[prng_below(&g, 3)], next, strlen(next));
			if (i == 6)
				store_fail(p.store, prng_below(&g, 20), -EIO);
			struct sweep_report report;
			if (i == 9)
				(void)replica_sweep(p.r, &report, NULL);
		}
		store_fail(p.store, 0, 0);
		rep_stop(&p);
		store_crash(p.store, prng_below(&g, 20));
		rep_start(&p);
		for (unsigned i = 0; i < 3; i++) {
			_cleanup_(arena_done) struct arena a = { 0 };
			struct past *past;
			uint32_t n = list(p.r, &id[i], &a, &past);
			for (uint32_t k = 0; k < n; k++) {
				_cleanup_(version_unrefp) struct version *v = NULL;
				if (replica_history_read(p.r, &id[i], &past[k], &v) < 0)
					bad++;
				else
					free(rep_bytes(v, NULL));
			}
		}
		bad += !rep_sound(p.r);
		for (unsigned i = 0; i < 4; i++)
			free(text[i]);
		rep_close(&p);
	}
	is_uint(bad, 0, "after failed writes and crashes every version that is listed can be read");
}

int main(int argc, char **argv)
{
	tap_plan(37);
	seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 3000);
	test_rule();
	test_thin_property(rounds);
	test_sweep();
	test_held();
	test_size();
	test_steps();
	test_wrong_clock();
	test_verify();
	test_crash();
	return tap_done();
}
