/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Earlier versions and deletions: how they are kept and read, which of them stay, what comes back.
 *
 *     test_history [SEED [ROUNDS]]     rounds of the property of thinning */

#include <stdlib.h>

#include "engine/history.h"
#include "tests/pair.h"
#include "tests/replicas.h"

#define SECOND UINT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define MONTH (30 * DAY)

static uint64_t seed;

/* ---- the codec ---- */

static struct actors *some_actors(void)
{
	struct actors *actors;
	if (actors_new(&actors) < 0)
		tap_bail("no memory");
	for (uint32_t i = 0, no; i < 3; i++) {
		struct actor_id id = { { { (uint8_t)(7 - i) } }, i };
		if (actors_intern(actors, &id, &no) < 0)
			tap_bail("no memory");
	}
	return actors;
}

/* What is accepted encodes to the same bytes. 1: accepted. */
static int accepts(struct actors *actors, const struct buf *b, bool deletion)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf again = { 0 };
	struct history_version h;
	struct history_deletion d;
	struct err e = { 0 };
	int rc = deletion ? history_deletion_decode(actors, b->data, b->len, &d, &e) :
			    history_version_decode(&a, actors, b->data, b->len, &h, &e);
	if (rc < 0)
		return e.code == rc && *e.message ? 0 : -1;
	if (deletion)
		history_deletion_encode(&d, &again);
	else
		history_version_encode(&h, actors, &again);
	return again.len == b->len && memcmp(again.data, b->data, b->len) == 0 ? 1 : -1;
}

static void strict(struct actors *actors, struct buf *b, bool deletion, const char *name)
{
	unsigned bad = accepts(actors, b, deletion) != 1;
	size_t len = b->len;
	for (size_t n = 0; n < len; n++) {
		b->len = n;
		bad += accepts(actors, b, deletion) < 0;
	}
	b->len = len;
	for (size_t i = 0; i < 8 * len; i++) {
		b->data[i / 8] ^= (uint8_t)(1 << i % 8);
		bad += accepts(actors, b, deletion) < 0;
		b->data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	is_uint(bad, 0, "%s: what is accepted is what was written", name);
}

static void test_codec(void)
{
	_cleanup_(actors_freep) struct actors *actors = some_actors();
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	static uint8_t large[HISTORY_INLINE_MAX + 1];
	struct vv_item item[2] = { { 0, 5 }, { 2, 9 } };
	struct history_version h = { .form = FORM_JSON, .version = { { 1, 2, 3 } }, .written = 1u << 30,
				     .author = 2, .context = { item, 2, 2 },
				     .data = (const uint8_t *)"{}\n", .len = 3 };
	struct history_version got;
	struct history_deletion d = { { { 4 } }, { { 5 } }, NODE_LINK, 1700000000000000, ACTOR_NONE,
				      "a b", 3 };
	struct err e = { 0 };
	history_version_encode(&h, actors, &b);
	int rc = history_version_decode(&a, actors, b.data, b.len, &got, &e);
	ok(rc == 0 && got.form == FORM_JSON && id_equal(&got.version, &h.version) &&
	   got.written == h.written && got.author == 2 && vv_equal(&got.context, &h.context) &&
	   !got.blob && got.len == 3 && memcmp(got.data, "{}\n", 3) == 0,
	   "a version comes back as it was");
	strict(actors, &b, false, "a version with its bytes");
	b.data[0] = 2;
	is_errno(history_version_decode(&a, actors, b.data, b.len, &got, &e), -EPROTONOSUPPORT,
		 "one that a later release wrote is told from a damaged one");
	buf_reset(&b);
	h.data = large;
	h.len = sizeof(large);
	history_version_encode(&h, actors, &b);
	is_errno(history_version_decode(&a, actors, b.data, b.len, &got, &e), -EBADMSG,
		 "bytes that should be chunks are refused");
	buf_reset(&b);
	h.blob = true;
	h.author = ACTOR_NONE;
	h.ref = (struct blob_ref){ 100000, { { 9 } } };
	history_version_encode(&h, actors, &b);
	rc = history_version_decode(&a, actors, b.data, b.len, &got, &e);
	ok(rc == 0 && got.blob && got.ref.size == 100000 && got.ref.manifest.b[0] == 9 &&
	   got.author == ACTOR_NONE, "a version as a reference");
	strict(actors, &b, false, "a reference");
	buf_reset(&b);
	history_deletion_encode(&d, &b);
	strict(actors, &b, true, "a deletion");
	b.data[b.len - 1] = '/';
	is_int(accepts(actors, &b, true), 0, "a name that no file can have is refused");
}

/* ---- thinning ---- */

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

/* ---- keeping and reading ---- */

static uint32_t list(struct replica *r, const struct id *id, struct arena *a, struct past **ret)
{
	uint32_t n;
	int rc = replica_history(r, id, a, ret, &n);
	if (rc < 0)
		tap_bail("replica_history: %d", rc);
	return n;
}

static uint32_t count(struct replica *r, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct past *p;
	return list(r, id, &a, &p);
}

static bool holds(struct replica *r, const struct id *id, const struct past *p, const void *data,
		  size_t len)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_history_read(r, id, p, &v) < 0 || version_size(v) != len || p->size != len)
		return false;
	_cleanup_free_ char *got = rep_bytes(v, NULL);
	return memcmp(got, data, len) == 0 && id_equal(version_id(v), &p->version);
}

/* A text of that many bytes as a document that says n at the front. */
static char *document(unsigned n, size_t len)
{
	char *text = malloc(len + 1);
	struct prng g = { seed + len };
	if (!text || len < 64)
		tap_bail("no memory");
	size_t at = (size_t)snprintf(text, len, "{\"n\":%u,\"text\":\"", n);
	while (at < len - 3)
		text[at++] = (char)('a' + prng_below(&g, 26));
	memcpy(text + at, "\"}\n", 4);
	return text;
}

static int save(struct rep *p, const struct id *id, const void *data, size_t len)
{
	_cleanup_(version_unrefp) struct version *base = NULL;
	const struct content c = { data, len, -1 };
	p->wall += 5 * SECOND;
	if (replica_read(p->r, id, &base) < 0)
		tap_bail("replica_read");
	return replica_save(p->r, id, base, &c, SAVE_BY_NAME, NULL, NULL);
}

static void test_keep(size_t size)
{
	enum { N = 6 };
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	char *text[N];
	unsigned bad = 0;
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < N; i++)
		text[i] = document(i, size);
	rep_create(p.r, &NODE_ROOT, "a.json", text[0], &at);
	for (unsigned i = 1; i < N; i++)
		bad += save(&p, &at.id, text[i], size) < 0;
	uint32_t n = list(p.r, &at.id, &a, &past);
	is_uint(n, N, "%zu bytes saved %u times: as many versions", size, N - 1);
	ok(past[0].stamp == 0 && past[0].replaced_us == 0, "the newest comes first");
	for (uint32_t i = 0; i < n; i++) {
		bad += !holds(p.r, &at.id, &past[i], text[N - 1 - i], size);
		bad += past[i].form != FORM_JSON;
		bad += i > 0 && past[i].written_us >= past[i - 1].written_us;
		bad += i > 0 && past[i].replaced_us < past[i - 1].written_us;
	}
	rep_stop(&p);
	rep_start(&p);
	for (uint32_t i = 0; i < n; i++)
		bad += !holds(p.r, &at.id, &past[i], text[N - 1 - i], size);
	is_uint(bad, 0, "each reads back, after a restart as well");
	/* What was listed as the newest is not that any more. */
	struct version *v = NULL;
	save(&p, &at.id, text[0], size);
	is_errno(replica_history_read(p.r, &at.id, &past[0], &v), -ESTALE, "a list may be out of date");
	ok(rep_sound(p.r), "the store is sound");
	for (unsigned i = 0; i < N; i++)
		free(text[i]);
	rep_close(&p);
}

static void test_not_kept(void)
{
	struct rep p;
	struct attr at;
	_cleanup_(version_unrefp) struct version *base = NULL;
	rep_open(&p, NULL, 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", "{\"n\":1}\n", &at);
	p.wall += 5 * SECOND;
	replica_set_mode(p.r, &at.id, 0600);
	rep_rename(p.r, &at.id, &NODE_ROOT, "b.json", 0);
	replica_set_mtime(p.r, &at.id, 12345);
	save(&p, &at.id, "{\"n\":1}\n", 8);
	is_uint(count(p.r, &at.id), 1, "a rename, a mode, a time and a save of the same keep nothing");
	replica_read(p.r, &at.id, &base);
	p.wall += SECOND - p.wall % SECOND;
	rep_save(p.r, &at.id, base, "{\"n\":2}\n");
	rep_save(p.r, &at.id, base, "{\"n\":3}\n");
	rep_save(p.r, &at.id, base, "{\"n\":4}\n");
	is_uint(count(p.r, &at.id), 2, "of the saves of one second only what was there before is kept");
	is_errno(rep_mkdir(p.r, &NODE_ROOT, "d", &at), 0, "a directory");
	_cleanup_(arena_done) struct arena a = { 0 };
	struct past *past;
	uint32_t n;
	is_errno(replica_history(p.r, &at.id, &a, &past, &n), -EISDIR, "has no versions");
	is_errno(replica_history(p.r, &(struct id){ { 9 } }, &a, &past, &n), -ENOENT,
		 "nor has what was never there");
	rep_close(&p);
}

static void test_kinds(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	static char blob[100000];
	const struct content c = { "not JSON", 8, -1 };
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (char)(i * 7 + i / 300);
	rep_open(&p, NULL, 0, seed);
	/* Bytes under the name of a document, then a document. */
	replica_create(p.r, &NODE_ROOT, "a.json", 6, 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL);
	save(&p, &at.id, "{\"n\":1}\n", 8);
	save(&p, &at.id, "{}\n", 3);
	uint32_t n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && past[1].form == FORM_JSON && past[2].form == FORM_TEXT &&
	   holds(p.r, &at.id, &past[2], "not JSON", 8), "bytes that became a document");
	rep_create(p.r, &NODE_ROOT, "film", "", &at);
	save(&p, &at.id, blob, sizeof(blob));
	save(&p, &at.id, "", 0);
	n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && past[1].size == sizeof(blob) && holds(p.r, &at.id, &past[1], blob, sizeof(blob)) &&
	   holds(p.r, &at.id, &past[2], "", 0), "a file of bytes, empty at both ends");
	ok(rep_sound(p.r), "the store is sound");
	rep_close(&p);
}

/* ---- sweeps, verification, thinning ---- */

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

static struct history_walk thin(struct rep *p, uint64_t bytes)
{
	const struct history_policy policy = { MONTH, bytes };
	struct history_walk w = { 0 };
	struct err e = { 0 };
	int rc;
	do
		rc = replica_history_thin(p->r, &policy, &w, &e);
	while (rc > 0);
	if (rc < 0)
		tap_bail("replica_history_thin: %s", e.message);
	return w;
}

/* As much time as that, with the walks that a daemon makes meanwhile. */
static struct history_walk wait(struct rep *p, uint64_t us)
{
	struct history_walk w = { 0 };
	for (uint64_t done = 0; done < us; done += DAY / 2) {
		p->wall += us - done < DAY / 2 ? us - done : DAY / 2;
		w = thin(p, UINT64_MAX);
	}
	return w;
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
	const struct history_policy policy = { MONTH, UINT64_MAX };
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

/* ---- deletions ---- */

static uint32_t deleted(struct replica *r, struct arena *a, struct deleted **ret)
{
	uint32_t n;
	int rc = replica_deleted(r, a, ret, &n);
	if (rc < 0)
		tap_bail("replica_deleted: %d", rc);
	return n;
}

static struct id make_dir(struct replica *r, const struct id *parent, const char *name)
{
	struct attr at;
	if (rep_mkdir(r, parent, name, &at) < 0)
		tap_bail("replica_mkdir");
	return at.id;
}

static struct id make_file(struct replica *r, const struct id *parent, const char *name,
			   const char *text)
{
	struct attr at;
	if (rep_create(r, parent, name, text, &at) < 0)
		tap_bail("replica_create");
	return at.id;
}

static bool shows(struct replica *r, const char *path, const char *text)
{
	struct attr at = { .id = NODE_ROOT };
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		struct id parent = at.id;
		if (replica_lookup(r, &parent, p, n, &at) < 0)
			return false;
		p += n + (p[n] == '/');
	}
	_cleanup_free_ char *got = text ? rep_read(r, &at.id) : NULL;
	return !text || strcmp(got, text) == 0;
}

static int back(struct replica *r, const struct id *id)
{
	struct err e = { 0 };
	int rc = replica_undelete(r, id, NULL, NULL, 0, &e);
	return rc == 0 || (rc == e.code && *e.message) ? rc : -EPROTO;
}

static void test_deleted(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted *d;
	rep_open(&p, NULL, 0, seed);
	struct id c = make_dir(p.r, &NODE_ROOT, "c"), e = make_dir(p.r, &c, "e");
	struct id doc = make_file(p.r, &e, "x.json", "{\"n\":1}"), txt = make_file(p.r, &c, "t", "old");
	is_uint(deleted(p.r, &a, &d), 0, "nothing is deleted");
	uint64_t then = p.wall - 3 * SECOND;
	replica_remove(p.r, &doc, then);
	replica_remove(p.r, &e, 0);
	replica_remove(p.r, &txt, 0);
	uint32_t n = deleted(p.r, &a, &d);
	ok(n == 3 && id_equal(&d[0].id, &txt) && id_equal(&d[1].id, &e) && id_equal(&d[2].id, &doc),
	   "what is deleted is listed, the last first");
	ok(d[2].when_us == then && d[2].kind == NODE_FILE && strcmp(d[2].name, "x.json") == 0 &&
	   id_equal(&d[2].parent, &e) && d[1].kind == NODE_DIR && id_equal(&d[1].parent, &c),
	   "with its place and time");
	struct past *past;
	ok(list(p.r, &doc, &a, &past) == 1 && holds(p.r, &doc, &past[0], "{\"n\":1}", 7),
	   "its content can be read");
	is_errno(back(p.r, &doc), 0, "a file comes back");
	ok(shows(p.r, "c/e/x.json", "{\"n\":1}"), "with its directory");
	is_errno(back(p.r, &doc), -ENOENT, "once");
	replica_remove(p.r, &doc, 0);
	ok(shows(p.r, "c/e", NULL), "and the directory stays");
	ok(deleted(p.r, &a, &d) == 2 && id_equal(&d[0].id, &doc), "deleted again, it is listed once");
	/* Its name is taken. */
	struct id other = make_file(p.r, &c, "t", "new");
	is_errno(back(p.r, &txt), -EEXIST, "a name that is taken");
	ok(shows(p.r, "c/t", "new"), "is left alone");
	is_errno(replica_undelete(p.r, &txt, &e, "u", 1, NULL), 0, "but there is another place");
	ok(shows(p.r, "c/e/u", "old"), "where it comes back");
	struct id f = make_dir(p.r, &NODE_ROOT, "f");
	replica_remove(p.r, &other, 0);
	is_errno(replica_undelete(p.r, &other, &f, "t", 1, NULL), -EXDEV, "not in another collection");
	/* A document that was deleted and made anew is the same node. */
	struct id again = make_file(p.r, &e, "x.json", "{}");
	n = list(p.r, &doc, &a, &past);
	ok(id_equal(&again, &doc) && n == 1, "a name that comes again at once is the same document");
	p.wall += 10 * SECOND;
	replica_remove(p.r, &doc, 0);
	make_file(p.r, &e, "x.json", "{\"n\":2}");
	n = list(p.r, &doc, &a, &past);
	ok(n == 2 && holds(p.r, &doc, &past[1], "{}", 2), "and later keeps what it was");
	rep_stop(&p);
	rep_start(&p);
	ok(deleted(p.r, &a, &d) == 1 && rep_sound(p.r), "a restart forgets nothing");
	struct history_walk w = wait(&p, 29 * DAY);
	ok(w.deletions > 0 && deleted(p.r, &a, &d) == 1, "it is remembered for 30 days");
	w = wait(&p, 2 * DAY);
	ok(w.deletions == 0 && deleted(p.r, &a, &d) == 0, "then it is not");
	rep_close(&p);
}

/* A whole collection, deeper than one level, brought back by a file at its bottom. */
static void test_deep(void)
{
	enum { DEPTH = 30 };
	struct rep p;
	struct id dir[DEPTH];
	rep_open(&p, NULL, 0, seed);
	for (unsigned i = 0; i < DEPTH; i++)
		dir[i] = make_dir(p.r, i ? &dir[i - 1] : &NODE_ROOT, "d");
	struct id id = make_file(p.r, &dir[DEPTH - 1], "f", "deep");
	uint64_t commits = replica_commits(p.r);
	replica_remove(p.r, &id, 0);
	for (unsigned i = DEPTH; i-- > 0;)
		replica_remove(p.r, &dir[i], 0);
	is_uint(replica_commits(p.r) - commits, DEPTH + 1, "a tree is deleted");
	is_errno(back(p.r, &id), 0, "a file at its bottom comes back");
	is_uint(replica_commits(p.r) - commits, DEPTH + 2, "in one commit");
	_cleanup_(buf_done) struct buf path = { 0 };
	ok(replica_path(p.r, &id, &path) == 0 && path.len == 2 * DEPTH + 1 && rep_sound(p.r),
	   "with all directories above it");
	rep_close(&p);
}

/* ---- two devices ---- */

static struct id lookup(struct node *n, const char *dir, const char *name)
{
	struct attr at = { .id = NODE_ROOT };
	if (dir && replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &at) < 0)
		tap_bail("no %s", dir);
	struct id parent = at.id;
	if (name && replica_lookup(n->replica, &parent, name, strlen(name), &at) < 0)
		tap_bail("no %s", name);
	return at.id;
}

static void pass(struct node *a, struct node *b)
{
	a->now = b->now = (a->now > b->now ? a->now : b->now) + 5 * SECOND;
}

static void meet(struct node *a, struct node *b)
{
	struct pair pair;
	pair_open(&pair, a, b);
	pair_run(&pair);
	if (pair.failed)
		tap_bail("sync: %s", pair.e.message);
	pair_close(&pair);
}

static void test_remote(void)
{
	struct node a, b;
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct past *past;
	struct verify_report report;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u.json", i);
		node_write(&a, "c", name, "{\"n\":1}", 7);
		pass(&a, &b);
		node_write(&a, "c", name, "{\"n\":2}", 7);
	}
	meet(&a, &b);
	replica_verify(b.replica, false, rep_problem, NULL, &report, NULL);
	ok(report.errors == 0 && report.versions == 0, "what comes for the first time replaces nothing");
	struct id id = lookup(&b, "c", "3.json");
	pass(&a, &b);
	node_write(&a, "c", "3.json", "{\"n\":3}", 7);
	meet(&a, &b);
	uint32_t n = list(b.replica, &id, &arena, &past);
	ok(n == 2 && holds(b.replica, &id, &past[1], "{\"n\":2}", 7), "a change that comes keeps what was there");
	const struct actor_id *author = actors_get(replica_actors(b.replica), past[1].author);
	ok(id_equal(&author->device, &a.id) && past[1].written_us < past[1].replaced_us,
	   "and who had written it");
	/* Apart: one restores, the other edits something else. */
	pass(&a, &b);
	node_write(&a, "c", "3.json", "{\"n\":3,\"m\":1}", 13);
	{
		_cleanup_(version_unrefp) struct version *head = NULL, *old = NULL;
		if (replica_read(b.replica, &id, &head) < 0 ||
		    replica_history_read(b.replica, &id, &past[1], &old) < 0)
			tap_bail("no version");
		const struct content c = { version_data(old), version_size(old), -1 };
		is_errno(replica_save(b.replica, &id, head, &c, SAVE_BY_NAME, NULL, NULL), 0,
			 "an earlier version is saved again");
	}
	meet(&a, &b);
	_cleanup_free_ char *x = node_read(&a, "c", "3.json"), *y = node_read(&b, "c", "3.json");
	is_str(x, y, "both show the same");
	is_str(x, "{\"n\":2,\"m\":1}", "and nobody's edit is lost");
	/* Deleted here, brought back there. */
	struct id doc = lookup(&a, "c", "4.json");
	pass(&a, &b);
	replica_remove(a.replica, &doc, 0);
	meet(&a, &b);
	struct deleted *d;
	n = deleted(b.replica, &arena, &d);
	ok(n == 1 && id_equal(&d[0].id, &doc), "a deletion that comes is remembered");
	author = actors_get(replica_actors(b.replica), d[0].actor);
	ok(id_equal(&author->device, &a.id), "with who it was");
	is_errno(back(b.replica, &doc), 0, "it comes back");
	meet(&a, &b);
	ok(shows(a.replica, "c/4.json", "{\"n\":2}") && deleted(a.replica, &arena, &d) == 0,
	   "on both devices");
	/* Both bring it back at once. */
	replica_remove(a.replica, &doc, 0);
	meet(&a, &b);
	ok(back(a.replica, &doc) == 0 && back(b.replica, &doc) == 0, "both bring it back");
	meet(&a, &b);
	ok(shows(a.replica, "c/4.json", "{\"n\":2}") && shows(b.replica, "c/4.json", "{\"n\":2}") &&
	   rep_sound(a.replica) && rep_sound(b.replica), "that is once");
	node_close(&a);
	node_close(&b);
}

/* On a disk: an existing database gets the family, and what is in it survives. */
static void test_disk(void)
{
	struct rep p;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct past *past;
	_cleanup_free_ char *text = document(1, 50000);
	rep_open(&p, tap_tmpdir(), 0, seed);
	rep_create(p.r, &NODE_ROOT, "a.json", text, &at);
	save(&p, &at.id, "{\"n\":1}", 7);
	save(&p, &at.id, "{\"n\":2}", 7);
	rep_close(&p);
	rep_open(&p, tap_tmpdir(), 0, seed);
	p.wall += 100 * SECOND;
	uint32_t n = list(p.r, &at.id, &a, &past);
	ok(n == 3 && holds(p.r, &at.id, &past[1], "{\"n\":1}", 7) &&
	   holds(p.r, &at.id, &past[2], text, 50000), "a database keeps versions");
	thin(&p, 1000);
	ok(count(p.r, &at.id) == 2 && rep_sound(p.r), "and lets them go");
	rep_close(&p);
}

int main(int argc, char **argv)
{
	tap_plan(105);
	seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 3000);
	test_codec();
	test_rule();
	test_thin_property(rounds);
	test_keep(100);
	test_keep(HISTORY_INLINE_MAX);
	test_keep(200000);
	test_not_kept();
	test_kinds();
	test_sweep();
	test_held();
	test_size();
	test_steps();
	test_wrong_clock();
	test_verify();
	test_crash();
	test_deleted();
	test_deep();
	test_remote();
	test_disk();
	return tap_done();
}
