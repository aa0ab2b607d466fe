/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which values of a document observers hear of: of a merge the same ones as of the save that it
 * brings. */

#include "tests/replicas.h"

struct heard {
	unsigned calls;
	uint32_t n;
	char text[4000]; /* of the last change: each pointer and a blank, sorted */
};

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void hear(const struct change *change, size_t n, void *userdata)
{
	struct heard *h = userdata;
	const char *sorted[POINTERS_MAX];
	size_t len = 0;
	h->calls++;
	h->n = change[n - 1].n_pointers;
	h->text[0] = 0;
	if (h->n == 0)
		return;
	memcpy(sorted, change[n - 1].pointer, h->n * sizeof(*sorted));
	qsort(sorted, h->n, sizeof(*sorted), by_text);
	for (uint32_t i = 0; i < h->n && len < sizeof(h->text); i++)
		len += (size_t)snprintf(h->text + len, sizeof(h->text) - len, "%s ", sorted[i]);
}

static struct version *newest(struct replica *r, const struct id *id)
{
	struct version *v;
	if (replica_read(r, id, &v) < 0)
		tap_bail("replica_read");
	return v;
}

/* One device saves what it has just read. */
static void save(struct rep *p, const struct id *id, const char *text)
{
	_cleanup_(version_unrefp) struct version *base = newest(p->r, id);
	if (rep_save(p->r, id, base, text) < 0)
		tap_bail("replica_save: %s", text);
}

/* The other one takes its version in, in a round of its own. */
static void merge(struct rep *from, struct rep *to, const struct id *id)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	const struct delta *d = rep_delta(from, to, id, &a);
	int rc = rep_apply(to, d, &e);
	if (rc != APPLY_MERGED && rc != APPLY_OLD)
		tap_bail("replica_apply: %d %s", rc, e.message);
	if (replica_claim(to->r, &d->state.scope, &d->state.ctx, &e) < 0)
		tap_bail("replica_claim: %s", e.message);
}

static void examples(struct rep *p, struct rep *q, const struct id *dir)
{
	static const struct {
		const char *text, *pointers, *name;
	} step[] = {
		{ "{\"a\": {\"b\": 1, \"c\": 2}, \"n\": 1, \"l\": [1, 2], \"f/~g\": 1}\n", "/a /f~1~0g /l /n ",
		  "members of a document that had none" },
		{ "{\"a\": {\"b\": 1, \"c\": 2}, \"n\": 2, \"l\": [1, 2], \"f/~g\": 1}\n", "/n ", "a number" },
		{ "{\"a\": {\"b\": 7, \"c\": 2}, \"n\": 2, \"l\": [1, 2], \"f/~g\": 1}\n", "/a/b ",
		  "one in an object" },
		{ "{\"a\": {\"b\": 7, \"c\": 2}, \"n\": 2, \"l\": [1, 3], \"f/~g\": 2}\n", "/f~1~0g /l ",
		  "an array is one value; names are escaped" },
		{ "{\"a\": {\"b\":7, \"c\":2}, \"n\":2,\n\"l\": [1, 3], \"f/~g\": 2}\n", "", "spaces only" },
		{ "{\"n\": 2, \"a\": {\"b\":7, \"c\":2}, \"l\": [1, 3], \"f/~g\": 2}\n", "", "another order" },
		{ "{\"n\": 2, \"a\": {}, \"l\": [1, 3], \"f/~g\": 2}\n", "/a/b /a/c ", "an object made empty" },
		{ "{\"n\": 2, \"l\": [1, 3], \"f/~g\": 2}\n", "/a ", "and removed" },
		{ "{\"n\": {\"x\": {\"y\": 1}}, \"l\": [1, 3], \"f/~g\": 2}\n", "/n ",
		  "an object instead of a number" },
		{ "{\"n\": {\"x\": {\"y\": 1}, \"z\": {\"y\": 1}}, \"l\": [1, 3], \"f/~g\": 2}\n", "/n/z ",
		  "an object in it counts once" },
		{ "{\"n\": null, \"l\": [1, 3], \"f/~g\": 2}\n", "/n ", "null instead of it" },
		{ "[1]\n", " ", "the document itself" },
		{ "{}\n", " ", "and back" },
	};
	struct attr f;
	struct heard here = { .calls = 0 }, there = { .calls = 0 };
	replica_observe(p->r, hear, &here);
	replica_observe(q->r, hear, &there);
	rep_create(p->r, dir, "f.json", "{}\n", &f);
	merge(p, q, &f.id);
	ok(!strcmp(here.text, " ") && !strcmp(there.text, " "), "a new document: \"%s\"", there.text);
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		save(p, &f.id, step[i].text);
		merge(p, q, &f.id);
		is_str(here.text, step[i].pointers, "%s: saved", step[i].name);
		is_str(there.text, step[i].pointers, "%s: merged", step[i].name);
	}
	replica_set_mode(p->r, &f.id, 0600);
	merge(p, q, &f.id);
	is_str(there.text, "", "a chmod changes no value");
	replica_unobserve(p->r, hear, &here);
	replica_unobserve(q->r, hear, &there);
}

/* What the merge shows counts, not what came. */
static void concurrent(struct rep *p, struct rep *q, const struct id *dir)
{
	struct attr f;
	struct heard there = { .calls = 0 };
	rep_create(p->r, dir, "both.json", "{\"x\": 0, \"y\": 0, \"o\": {\"k\": 0}}\n", &f);
	merge(p, q, &f.id);
	replica_observe(q->r, hear, &there);
	save(p, &f.id, "{\"x\": 1, \"y\": 1, \"o\": {\"k\": 0}}\n");
	q->wall += 60000000;
	save(q, &f.id, "{\"x\": 2, \"y\": 0, \"o\": {\"k\": 0}}\n");
	merge(p, q, &f.id);
	is_str(there.text, "/y ", "a value that lost is not shown");
	p->wall = q->wall + 60000000;
	save(p, &f.id, "{\"x\": 3, \"y\": 1, \"o\": {\"k\": 0}}\n");
	merge(p, q, &f.id);
	is_str(there.text, "/x ", "one that won is");
	q->wall = p->wall + 1000000;
	save(q, &f.id, "{\"x\": 3, \"y\": 1, \"o\": {\"k\": 0, \"new\": 1}}\n");
	save(p, &f.id, "{\"x\": 3, \"y\": 1}\n");
	merge(p, q, &f.id);
	is_str(there.text, "/o/k ", "an object removed around what is new loses what its remover saw");
	save(p, &f.id, "{\"x\": 3, \"y\": 2}\n");
	save(q, &f.id, "{\"x\": 3, \"y\": 2, \"o\": {\"new\": 1}}\n");
	unsigned calls = there.calls;
	merge(p, q, &f.id);
	ok(there.calls == calls + 1 && there.n == 0, "the same value from both is no change");
	replica_unobserve(q->r, hear, &there);
}

static void kinds(struct rep *p, struct rep *q, const struct id *dir)
{
	_cleanup_(buf_done) struct buf chunk = { 0 };
	struct attr f;
	struct sha256 hash;
	struct heard there = { .calls = 0 };
	const struct content blob = rep_text("no document");
	rep_create(p->r, dir, "k.json", "{\"n\": 1}\n", &f);
	merge(p, q, &f.id);
	replica_observe(q->r, hear, &there);
	sha256_of(blob.data, blob.len, &hash);
	if (replica_save(p->r, &f.id, NULL, &blob, SAVE_BLOB, NULL, NULL) < 0 ||
	    chunk_get(p->store, &hash, &chunk) < 0 ||
	    chunk_put(q->store, &hash, chunk.data, chunk.len) < 0)
		tap_bail("a blob");
	merge(p, q, &f.id);
	ok(there.calls == 1 && there.n == 0, "a document that becomes bytes has no values");
	rep_save(p->r, &f.id, NULL, "{\"n\": 2}\n");
	merge(p, q, &f.id);
	is_str(there.text, " ", "and when it is one again, it is all new");
	replica_unobserve(q->r, hear, &there);
}

static void many(struct rep *p, struct rep *q, const struct id *dir)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct attr f;
	struct heard here = { .calls = 0 }, there = { .calls = 0 };
	rep_create(p->r, dir, "many.json", "{}\n", &f);
	merge(p, q, &f.id);
	replica_observe(p->r, hear, &here);
	replica_observe(q->r, hear, &there);
	for (unsigned i = 0; i < POINTERS_MAX + 44; i++)
		buf_putf(&b, "%s\"%u\": %u", i ? ", " : "{", i, i);
	buf_puts(&b, "}\n");
	save(p, &f.id, buf_cstr(&b));
	merge(p, q, &f.id);
	ok(here.n == POINTERS_MAX && there.n == POINTERS_MAX, "not more than %u are told", POINTERS_MAX);
	replica_unobserve(p->r, hear, &here);
	replica_unobserve(q->r, hear, &there);
}

/* ---- any edits ---- */

static void put_value(struct prng *g, unsigned depth, struct buf *b)
{
	static const char *const plain[] = { "1", "1.0", "2", "null", "true", "\"s\"", "[]", "[1, {}]" };
	unsigned keys = 0;
	if (depth > 3 || prng_below(g, 3) == 0) {
		buf_puts(b, plain[prng_below(g, 8)]);
		return;
	}
	buf_puts(b, "{");
	for (char key = 'a'; key < 'e'; key++) {
		if (prng_below(g, 2))
			continue;
		buf_putf(b, "%s\"%c\": ", keys++ ? ", " : "", key);
		put_value(g, depth + 1, b);
	}
	buf_puts(b, "}");
}

static void any(struct rep *p, struct rep *q, const struct id *dir, struct prng *g, uint64_t rounds)
{
	struct attr f;
	struct heard here = { .calls = 0 }, there = { .calls = 0 };
	uint64_t round;
	rep_create(p->r, dir, "any.json", "{}\n", &f);
	merge(p, q, &f.id);
	replica_observe(p->r, hear, &here);
	replica_observe(q->r, hear, &there);
	for (round = 0; round < rounds; round++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		_cleanup_free_ char *before = rep_read(p->r, &f.id);
		unsigned calls = here.calls;
		put_value(g, 0, &b);
		save(p, &f.id, buf_cstr(&b));
		if (here.calls == calls)
			continue;
		merge(p, q, &f.id);
		if (strcmp(here.text, there.text) == 0)
			continue;
		tap_diag("round %llu: from %s to %s\nsaved:  %s\nmerged: %s",
			 (unsigned long long)round, before, (const char *)b.data, here.text, there.text);
		break;
	}
	ok(round == rounds, "%llu edits: the merge tells what the save told",
	   (unsigned long long)rounds);
	replica_unobserve(p->r, hear, &here);
	replica_unobserve(q->r, hear, &there);
}

int main(int argc, char **argv)
{
	struct rep p, q;
	struct attr dir;
	tap_plan(2 + 2 * 13 + 4 + 2 + 1 + 1);
	struct prng g = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 2000);
	rep_open(&p, NULL, 3, 99);
	rep_open(&q, NULL, 4, 77);
	rep_mkdir(p.r, &NODE_ROOT, "d", &dir);
	merge(&p, &q, &dir.id);
	examples(&p, &q, &dir.id);
	concurrent(&p, &q, &dir.id);
	kinds(&p, &q, &dir.id);
	many(&p, &q, &dir.id);
	any(&p, &q, &dir.id, &g, rounds);
	rep_close(&p);
	rep_close(&q);
	return tap_done();
}
