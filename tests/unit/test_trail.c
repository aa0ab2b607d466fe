/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large documents, whose saves go behind their record: what is read is what was written, whoever reads
 * it and however the store was left. */
#include <stdlib.h>

#include "engine/replica-impl.h"
#include "tests/replicas.h"

/* A replica to which each document is large, or none. */
static void open_at(struct rep *p, unsigned n, uint32_t large_min)
{
	rep_open(p, NULL, n, 1);
	rep_stop(p);
	p->large_min = large_min;
	rep_start(p);
}

static void open_large(struct rep *p, unsigned n)
{
	open_at(p, n, 1);
}

static void put_document(struct buf *b, unsigned keys, unsigned key, const char *value)
{
	buf_reset(b);
	buf_puts(b, "{");
	for (unsigned i = 0; i < keys; i++)
		buf_putf(b, "%s\n  \"key%u\": %s", i ? "," : "", i, i == key ? value : "1");
	buf_puts(b, "\n}\n");
}

static int save(struct rep *p, const struct id *id, const char *text)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	int rc = replica_read(p->r, id, &v);
	return rc < 0 ? rc : rep_save(p->r, id, v, text);
}

static bool shows(struct rep *p, const struct id *id, const char *text)
{
	_cleanup_free_ char *got = rep_read(p->r, id);
	if (strcmp(got, text) != 0)
		tap_diag("wanted %s\nread %s", text, got);
	return strcmp(got, text) == 0;
}

static size_t trail_len(struct rep *p, const struct id *id)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	return trail_get(p->store, NULL, id, &b) < 0 ? SIZE_MAX : b.len;
}

static void stored_value(struct rep *p, const struct id *id, struct buf *ret)
{
	if (store_get(p->store, NULL, STORE_DOCS, id->b, ID_SIZE, ret) < 0)
		tap_bail("no record");
}

/* ---- when there is a trail ---- */

static void test_trail(void)
{
	_cleanup_(buf_done) struct buf text = { 0 }, first = { 0 }, now = { 0 };
	struct rep p;
	struct attr at;
	open_large(&p, 0);
	put_document(&text, 40, 0, "0");
	rep_create(p.r, &NODE_ROOT, "x.json", buf_cstr(&text), &at);
	ok(trail_len(&p, &at.id) == 0, "a new document has no trail");
	put_document(&text, 40, 3, "\"one\"");
	put_document(&text, 40, 0, "7");
	ok(save(&p, &at.id, buf_cstr(&text)) == 0 && trail_len(&p, &at.id) == 0,
	   "nor has one whose record was just written");
	stored_value(&p, &at.id, &first);
	is_int(first.data[0], DOC_FORMAT_TRAIL, "which says that it may get one");
	put_document(&text, 40, 0, "\"caf\xc3\xa9\"");
	ok(save(&p, &at.id, buf_cstr(&text)) == 0 && shows(&p, &at.id, buf_cstr(&text)),
	   "the next save is read");
	size_t one = trail_len(&p, &at.id);
	stored_value(&p, &at.id, &now);
	ok(one > 0 && now.len == first.len && !memcmp(now.data, first.data, now.len),
	   "and left the record alone");
	rep_stop(&p);
	rep_start(&p);
	ok(shows(&p, &at.id, buf_cstr(&text)) && rep_sound(p.r), "it is there after a restart");
	put_document(&text, 40, 0, "null");
	ok(save(&p, &at.id, buf_cstr(&text)) == 0 && trail_len(&p, &at.id) > one,
	   "where the trail goes on");
	bool good = true;
	for (unsigned i = 0; good && trail_len(&p, &at.id) > 0; i++) {
		char value[20];
		snprintf(value, sizeof(value), "%u", i);
		put_document(&text, 40, 0, value);
		good = i < 100 && save(&p, &at.id, buf_cstr(&text)) == 0 &&
		       shows(&p, &at.id, buf_cstr(&text));
	}
	ok(good, "until it is long, and the record is written anew");
	stored_value(&p, &at.id, &now);
	is_int(now.data[0], DOC_FORMAT_TRAIL, "to go on");
	put_document(&text, 40, 0, "8");
	save(&p, &at.id, buf_cstr(&text));
	ok(trail_len(&p, &at.id) > 0 && replica_set_mode(p.r, &at.id, 0600) == 0 &&
	   trail_len(&p, &at.id) == 0, "another change takes the trail away");
	stored_value(&p, &at.id, &now);
	ok(now.data[0] == DOC_FORMAT && shows(&p, &at.id, buf_cstr(&text)), "and what it said stays");
	put_document(&text, 40, 0, "9");
	save(&p, &at.id, buf_cstr(&text));
	put_document(&text, 40, 0, "10");
	save(&p, &at.id, buf_cstr(&text));
	put_document(&text, 41, 0, "10");
	ok(trail_len(&p, &at.id) > 0 && save(&p, &at.id, buf_cstr(&text)) == 0 &&
	   trail_len(&p, &at.id) == 0 && shows(&p, &at.id, buf_cstr(&text)) && rep_sound(p.r),
	   "so does a save of more than one value");
	rep_close(&p);
}

static void test_small(void)
{
	_cleanup_(buf_done) struct buf text = { 0 }, now = { 0 };
	struct rep p;
	struct attr at[2];
	rep_open(&p, NULL, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		put_document(&text, i ? 6000 : 2000, 0, "0");
		rep_create(p.r, &NODE_ROOT, i ? "l.json" : "s.json", buf_cstr(&text), &at[i]);
		put_document(&text, i ? 6000 : 2000, 1, "0");
		put_document(&text, i ? 6000 : 2000, 0, "2");
		save(&p, &at[i].id, buf_cstr(&text));
		put_document(&text, i ? 6000 : 2000, 0, "3");
		save(&p, &at[i].id, buf_cstr(&text));
		stored_value(&p, &at[i].id, &now);
		is_int(now.data[0], i ? DOC_FORMAT_TRAIL : DOC_FORMAT, "the format of %zu bytes",
		       text.len);
		is_int(trail_len(&p, &at[i].id) > 0, i, "and whether there is a trail");
	}
	rep_close(&p);
}

/* ---- what may go wrong ---- */

static void test_failing(void)
{
	_cleanup_(buf_done) struct buf old = { 0 }, text = { 0 };
	struct rep p;
	struct attr at;
	open_large(&p, 0);
	put_document(&old, 40, 0, "0");
	rep_create(p.r, &NODE_ROOT, "x.json", buf_cstr(&old), &at);
	for (unsigned i = 1; i < 4; i++) {
		char value[20];
		snprintf(value, sizeof(value), "%u", i);
		put_document(&old, 40, 0, value);
		save(&p, &at.id, buf_cstr(&old));
	}
	put_document(&text, 40, 0, "\"lost\"");
	store_fail(p.store, 1, -EIO);
	is_int(save(&p, &at.id, buf_cstr(&text)), -EIO, "a save that cannot be written");
	ok(shows(&p, &at.id, buf_cstr(&old)), "is not there");
	put_document(&text, 40, 0, "\"kept\"");
	ok(save(&p, &at.id, buf_cstr(&text)) == 0 && shows(&p, &at.id, buf_cstr(&text)) &&
	   rep_sound(p.r), "the next one is");
	rep_stop(&p);
	rep_start(&p);
	ok(shows(&p, &at.id, buf_cstr(&text)), "after a restart, too");
	rep_close(&p);
}

static void put_trail(struct rep *p, const struct id *id, const void *data, size_t len)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	uint8_t key[1 + ID_SIZE] = { META_TRAIL };
	memcpy(key + 1, id->b, ID_SIZE);
	if (store_batch_new(&b) < 0)
		tap_bail("no memory");
	store_put(b, STORE_META, key, sizeof(key), data, len);
	if (store_write(p->store, b, NULL) < 0)
		tap_bail("store_write");
}

static int reread(struct rep *p, const struct id *id)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	rep_stop(p);
	rep_start(p);
	return replica_read(p->r, id, &v);
}

static void test_damaged(void)
{
	_cleanup_(buf_done) struct buf text = { 0 }, trail = { 0 };
	struct verify_report report;
	struct rep p;
	struct attr at;
	open_large(&p, 0);
	put_document(&text, 40, 0, "0");
	rep_create(p.r, &NODE_ROOT, "x.json", buf_cstr(&text), &at);
	for (unsigned i = 1; i < 4; i++) {
		char value[20];
		snprintf(value, sizeof(value), "%u", i);
		put_document(&text, 40, 0, value);
		save(&p, &at.id, buf_cstr(&text));
	}
	if (trail_get(p.store, NULL, &at.id, &trail) < 0 || trail.len == 0)
		tap_bail("no trail");
	put_trail(&p, &at.id, trail.data, trail.len - 1);
	is_int(reread(&p, &at.id), -EBADMSG, "a trail that ends early");
	replica_verify(p.r, false, rep_problem, NULL, &report, NULL);
	ok(report.errors > 0, "is told by verify");
	if (!buf_reserve(&trail, trail.len))
		tap_bail("no memory");
	buf_put(&trail, trail.data + 1, trail.len - 1);
	put_trail(&p, &at.id, trail.data, trail.len);
	is_int(reread(&p, &at.id), -EBADMSG, "one that says everything twice");
	trail.data[0]++;
	put_trail(&p, &at.id, trail.data, trail.len);
	is_int(reread(&p, &at.id), -EPROTONOSUPPORT, "one of a later version");
	trail.data[0]--;
	put_trail(&p, &at.id, trail.data, 1 + (trail.len - 1) / 2);
	ok(reread(&p, &at.id) == 0 && shows(&p, &at.id, buf_cstr(&text)), "the right one");
	rep_close(&p);
}

/* ---- views ---- */

static void test_view(void)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	struct delta *d[2];
	struct rep p;
	struct attr at;
	open_large(&p, 0);
	put_document(&text, 40, 0, "0");
	rep_create(p.r, &NODE_ROOT, "x.json", buf_cstr(&text), &at);
	put_document(&text, 40, 0, "1");
	save(&p, &at.id, buf_cstr(&text));
	put_document(&text, 40, 0, "2");
	save(&p, &at.id, buf_cstr(&text));
	replica_flush(p.r, NULL);
	struct view *v = replica_view(p.r);
	for (unsigned i = 0; i < 2; i++) {
		if (view_whole(v, &at.id, &a, &d[i], NULL) < 0)
			tap_bail("view_whole");
		put_document(&text, 40, 0, i ? "4" : "3");
		save(&p, &at.id, buf_cstr(&text));
		replica_set_mode(p.r, &at.id, 0600 + i);
	}
	ok(vv_equal(&d[0]->state.ctx, &d[1]->state.ctx), "who looks at a moment sees the trail of that moment");
	view_unref(v);
	rep_close(&p);
}

/* ---- at random ---- */

static bool same_store(struct rep *p, struct rep *q, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	struct stored s, t;
	struct attr at, bt;
	if (stored_get(p->r, NULL, &a, id, &s, NULL) < 0 ||
	    stored_get(q->r, NULL, &a, id, &t, NULL) < 0)
		return false;
	record_encode(s.record, p->r->actors, &x);
	record_encode(t.record, q->r->actors, &y);
	if (replica_attr(p->r, id, &at) < 0 || replica_attr(q->r, id, &bt) < 0)
		return false;
	return x.len == y.len && !memcmp(x.data, y.data, x.len) && at.mtime_ns == bt.mtime_ns &&
	       id_equal(&at.version, &bt.version) && at.author == bt.author && at.size == bt.size &&
	       at.conflict == bt.conflict;
}

static void put_values(struct prng *r, struct buf *b, unsigned value[static 12], bool more)
{
	buf_reset(b);
	buf_puts(b, "{");
	for (unsigned i = 0; i < 12; i++) {
		const char *end = i < 11 ? "," : "";
		if (i == 5)
			buf_putf(b, "\n  \"list\": [\n    {\n      \"id\": 1,\n      \"v\": %u\n    },\n"
				    "    \"two\"\n  ]%s", value[i], end);
		else if (i == 7)
			buf_putf(b, "\n  \"in\": {\n    \"deep\": \"%u\"\n  }%s", value[i], end);
		else
			buf_putf(b, "\n  \"k%u\": %u%s", i, value[i], end);
	}
	buf_puts(b, more && prng_chance(r, 50) ? "\n}" : "\n}\n");
}

/* The same is done to a replica with large documents and to one without, and another writes, too. */
static bool random_history(uint64_t seed, unsigned *ret_trails)
{
	struct prng r = { seed };
	_cleanup_(buf_done) struct buf text = { 0 };
	struct rep p[3];
	struct attr at;
	unsigned value[12] = { 0 };
	bool good = true;
	for (unsigned i = 0; i < 3; i++)
		open_at(&p[i], i / 2, i == 0 ? 1 : UINT32_MAX);
	/* Its clock is ahead of what others follow: what it writes is the newest for long. */
	p[2].wall += UINT64_C(600) * 1000000;
	put_values(&r, &text, value, false);
	for (unsigned i = 0; i < 2; i++)
		rep_create(p[i].r, &NODE_ROOT, "x.json", buf_cstr(&text), &at);
	for (unsigned k = 0; good && k < 30; k++) {
		unsigned many = prng_chance(&r, 80) ? 1 : 3;
		_cleanup_free_ char *before = rep_read(p[0].r, &at.id);
		unsigned what = (unsigned)prng_below(&r, 100);
		for (unsigned i = 0; i < many; i++)
			value[prng_below(&r, 12)] = (unsigned)prng_below(&r, 300);
		put_values(&r, &text, value, what < 10);
		if (what >= 85) {
			_cleanup_(arena_done) struct arena a = { 0 };
			struct attr there;
			/* It may not have heard of what is here: then there are conflicts. */
			if (replica_attr(p[2].r, &at.id, &there) < 0 || prng_chance(&r, 40))
				rep_apply(&p[2], rep_delta(&p[0], &p[2], &at.id, &a), NULL);
			save(&p[2], &at.id, buf_cstr(&text));
			for (unsigned i = 0; i < 2; i++)
				rep_apply(&p[i], rep_delta(&p[2], &p[i], &at.id, &a), NULL);
		} else {
			for (unsigned i = 0; i < 2; i++)
				good = save(&p[i], &at.id, buf_cstr(&text)) == 0 && good;
		}
		if (what < 5)
			for (unsigned i = 0; i < 2; i++) {
				rep_stop(&p[i]);
				rep_start(&p[i]);
			}
		_cleanup_free_ char *x = rep_read(p[0].r, &at.id), *y = rep_read(p[1].r, &at.id);
		*ret_trails += trail_len(&p[0], &at.id) > 0;
		good = good && strcmp(x, y) == 0 && same_store(&p[0], &p[1], &at.id);
		good = good && (k % 2 > 0 || (rep_sound(p[0].r) && rep_sound(p[1].r)));
		if (!good)
			tap_diag("step %u, from %s", k, before);
	}
	for (unsigned i = 0; i < 3; i++)
		rep_close(&p[i]);
	return good;
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	unsigned trails = 0;
	bool good = true;
	uint64_t i = 0;
	for (; good && i < rounds; i++)
		good = random_history(seed + i, &trails);
	if (!good)
		tap_diag("history %llu", (unsigned long long)(seed + i - 1));
	ok(good, "records with and without trails are the same");
	ok(trails > rounds * 3, "of %u saves there was a trail behind", trails);
}

int main(int argc, char **argv)
{
	uint64_t seed = tap_seed(argc, argv);
	tap_plan(12 + 4 + 4 + 5 + 1 + 2);
	test_trail();
	test_small();
	test_failing();
	test_damaged();
	test_view();
	test_random(seed, tap_rounds(argc, argv, 200));
	return tap_done();
}
