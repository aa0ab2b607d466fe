/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What filters pick is kept up to date by every commit: random work against asking the filter about every
 * file, verify, repair, and a comparison of two stores by what they keep of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/filter.h"
#include "engine/pick.h"
#include "tests/replicas.h"

#define COLLECTION "cars"

static const char *const wheres[] = { NULL, "n > 50", "kind = 'a' AND n % 2", "_path LIKE 'cars/sub%'",
				      "_path LIKE '%3.%' AND n IS NOT NULL" };
#define WHERES (sizeof(wheres) / sizeof(*wheres))

struct expect {
	struct replica *r;
	struct picked *p;
	struct filter *f;
	char path[4096];
	uint64_t n;
	bool wrong;
};

static int expect_entry(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct expect *x = userdata, below = *x;
	bool want = at->kind == NODE_DIR;
	int n = snprintf(below.path, sizeof(below.path), "%s/%.*s", x->path, (int)len, name);
	if (n < 0 || (size_t)n >= sizeof(below.path))
		tap_bail("a long path");
	if (at->kind != NODE_DIR) {
		struct version *v = NULL;
		struct filter_file file = { .id = at->id, .path = below.path, .path_len = strlen(below.path) };
		if (replica_read(x->r, &at->id, &v) == 0 && version_form(v) == FORM_JSON) {
			file.text = version_data(v);
			file.len = version_size(v);
		}
		if (filter_match(x->f, &file, &want) < 0)
			tap_bail("filter_match");
		version_unref(v);
	}
	if (picked_has(x->p, &at->id) != want) {
		tap_diag("%s is%s picked", below.path, want ? " not" : "");
		x->wrong = true;
	}
	x->n += want;
	if (at->kind == NODE_DIR) {
		below.n = 0;
		if (replica_list(x->r, &at->id, expect_entry, &below) < 0)
			tap_bail("replica_list");
		x->n += below.n;
		x->wrong |= below.wrong;
	}
	return 0;
}

/* The pick has just what the filter says of what is there. */
static bool is_right(struct replica *r, const struct id *scope, const char *where)
{
	struct expect x = { .r = r, .path = COLLECTION };
	struct reconcile_sum sum;
	replica_flush(r, NULL);
	struct view *v = replica_view(r);
	int rc = picked_new(v, scope, where, &x.p);
	if (rc == 0 && where) {
		rc = filter_new(where, strlen(where), &x.f, NULL);
		if (rc == 0)
			rc = replica_list(r, scope, expect_entry, &x);
		if (rc == 0 && (picked_sum(x.p, &sum) < 0 || sum.n != x.n)) {
			tap_diag("%s: %llu instead of %llu", where, (unsigned long long)sum.n,
				 (unsigned long long)x.n);
			x.wrong = true;
		}
	}
	filter_free(x.f);
	picked_free(x.p);
	view_unref(v);
	return rc == 0 && !x.wrong;
}

static uint64_t errors(struct replica *r, bool repair, verify_fn f)
{
	struct verify_report report;
	struct err e = { 0 };
	if (replica_verify(r, repair, f, NULL, &report, &e) < 0)
		tap_bail("replica_verify: %s", e.message);
	return report.errors;
}

static bool build(struct replica *r)
{
	int rc = 1;
	for (int i = 0; rc == 1 && i < 10000; i++)
		rc = replica_pick_step(r, NULL);
	return rc == 0;
}

static void pick_all(struct replica *r, const struct id *scope)
{
	struct err e = { 0 };
	for (size_t i = 0; i < WHERES; i++)
		if (replica_pick(r, scope, wheres[i], &e) < 0)
			tap_bail("replica_pick: %s", e.message);
}

static void document(struct prng *p, char *text, size_t size)
{
	snprintf(text, size, "{\n  \"kind\": \"%c\",\n  \"n\": %u\n}\n", "ab"[prng_below(p, 2)],
		 (unsigned)prng_below(p, 100));
}

/* A random place: the collection, or one of three directories in it. */
static struct id place(struct replica *r, struct prng *p, const struct id *scope)
{
	static const char *const dir[] = { "sub", "other", "sub3" };
	struct attr at;
	const char *name = dir[prng_below(p, 3)];
	if (prng_chance(p, 50) || rep_lookup(r, scope, name, &at) < 0 || at.kind != NODE_DIR)
		return *scope;
	return at.id;
}

static void work(struct rep *x, struct prng *p, const struct id *scope)
{
	static const char *const dir[] = { "sub", "other", "sub3" };
	struct replica *r = x->r;
	struct id at = place(r, p, scope), to = place(r, p, scope);
	struct attr a;
	char name[32], other[32], text[100];
	snprintf(name, sizeof(name), "%u.%s", (unsigned)prng_below(p, 12), prng_chance(p, 80) ? "json" : "bin");
	snprintf(other, sizeof(other), "%u.%s", (unsigned)prng_below(p, 12), prng_chance(p, 80) ? "json" : "bin");
	document(p, text, sizeof(text));
	bool there = rep_lookup(r, &at, name, &a) == 0;
	struct content c = rep_text(text);
	switch (prng_below(p, 8)) {
	case 0:
		rep_mkdir(r, scope, dir[prng_below(p, 3)], &a);
		break;
	case 1:
		if (there)
			replica_remove(r, &a.entry, 0);
		break;
	case 2:
		if (there)
			rep_rename(r, &a.entry, &to, other, 0);
		break;
	case 3: {
		const char *into = dir[prng_below(p, 3)];
		if (rep_lookup(r, scope, dir[prng_below(p, 3)], &a) == 0)
			rep_rename(r, &a.id, scope, into, 0);
		break;
	}
	default:
		if (there)
			replica_save(r, &a.id, NULL, &c, SAVE_BY_NAME, NULL, NULL);
		else
			rep_create(r, &at, name, text, &a);
	}
}

static bool random_work(struct prng *p, uint64_t seed)
{
	struct rep x;
	struct attr cars;
	bool right = true;
	rep_open(&x, NULL, 1, seed);
	if (rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars) < 0)
		tap_bail("mkdir");
	for (unsigned i = 0; i < 40; i++)
		work(&x, p, &cars.id);
	pick_all(x.r, &cars.id);
	for (unsigned round = 0; right && round < 6; round++) {
		/* Some of it is made while it is being gone through. */
		for (unsigned i = 0; i < 30; i++) {
			work(&x, p, &cars.id);
			if (prng_chance(p, 20))
				replica_pick_step(x.r, NULL);
		}
		right = build(x.r);
		for (size_t i = 0; i < WHERES; i++)
			right = right && is_right(x.r, &cars.id, wheres[i]);
		right = right && errors(x.r, false, rep_problem) == 0;
		if (prng_chance(p, 30)) {
			rep_stop(&x);
			rep_start(&x);
		}
	}
	rep_close(&x);
	return right;
}

static void fill(struct replica *r, const struct id *dir, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[32], text[64];
		struct attr a;
		snprintf(name, sizeof(name), "%u.json", i);
		snprintf(text, sizeof(text), "{\"n\":%u}", i);
		if (rep_create(r, dir, name, text, &a) < 0)
			tap_bail("create");
	}
}

static int count_found(const struct reconcile_item *x, void *userdata)
{
	(void)x;
	++*(unsigned *)userdata;
	return 0;
}

/* Two stores made apart: the same names and so the same ids, other changes. */
static void test_compare(void)
{
	struct rep x[2];
	struct attr cars;
	struct picked *p[2] = { NULL, NULL };
	struct view *v[2];
	struct reconcile *r[2];
	unsigned found[2] = { 0, 0 };
	for (unsigned i = 0; i < 2; i++) {
		rep_open(&x[i], NULL, i, 1);
		rep_mkdir(x[i].r, &NODE_ROOT, COLLECTION, &cars);
		fill(x[i].r, &cars.id, i ? 120 : 60);
		replica_pick(x[i].r, &cars.id, "n < 110", NULL);
		build(x[i].r);
		replica_flush(x[i].r, NULL);
		v[i] = replica_view(x[i].r);
		is_errno(picked_new(v[i], &cars.id, "n < 110", &p[i]), 0, "store %u picks", i);
		struct reconcile_source s = picked_source(p[i]);
		if (reconcile_new(&s, count_found, &found[i], &r[i]) < 0)
			tap_bail("reconcile_new");
	}
	reconcile_begin(r[0], 0);
	for (int turn = 0, quiet = 0; quiet < 2; turn = !turn) {
		struct buf b = { 0 };
		int rc = reconcile_next(r[turn], &b);
		quiet = rc > 0 ? 0 : quiet + 1;
		if (rc > 0 && reconcile_take(r[!turn], b.data, b.len, NULL) < 0)
			tap_bail("reconcile_take");
		buf_done(&b);
	}
	ok(reconcile_done(r[0]) && reconcile_done(r[1]) && found[0] == 60 && found[1] == 110,
	   "each finds what the other lacks: %u and %u", found[0], found[1]);
	for (unsigned i = 0; i < 2; i++) {
		reconcile_free(r[i]);
		picked_free(p[i]);
		view_unref(v[i]);
		rep_close(&x[i]);
	}
}

static void test_repair(void)
{
	struct rep x;
	struct attr cars;
	struct err e = { 0 };
	rep_open(&x, NULL, 1, 3);
	rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars);
	fill(x.r, &cars.id, 300);
	is_errno(replica_pick(x.r, &cars.id, "n <", &e), -EINVAL, "a bad filter picks nothing");
	pick_all(x.r, &cars.id);
	is_int(replica_pick(x.r, &cars.id, "n > 50", NULL), 0, "a pick is not there at once");
	ok(!is_right(x.r, &cars.id, "n > 50"), "... and cannot be asked");
	ok(build(x.r), "it is made in steps");
	is_int(replica_pick(x.r, &cars.id, "n > 50", NULL), 1, "... and then complete");
	ok(is_right(x.r, &cars.id, "n > 50") && errors(x.r, false, rep_problem) == 0, "... and right");
	/* One sum of it is damaged, and a member is lost. */
	struct store_iter *it;
	struct store_batch *b;
	const uint8_t sum = 'S', member = 'M';
	store_batch_new(&b);
	for (int i = 0; i < 2; i++) {
		size_t n;
		store_iter_new(x.store, NULL, STORE_PICKS, i ? &sum : &member, 1, NULL, 0, &it);
		const uint8_t *key = store_iter_key(it, &n);
		store_delete(b, STORE_PICKS, key, n);
		store_iter_free(it);
	}
	store_write(x.store, b, NULL);
	store_batch_free(b);
	is_uint(errors(x.r, false, NULL), 1, "verify sees damage");
	is_uint(errors(x.r, true, NULL), 1, "... and mends it");
	ok(build(x.r) && errors(x.r, false, rep_problem) == 0, "... so that it is right again");
	rep_close(&x);
}

static bool never(const struct id *scope, const char *where, void *userdata)
{
	(void)scope;
	(void)where;
	(void)userdata;
	return false;
}

static void test_forget(void)
{
	struct rep x;
	struct attr cars;
	rep_open(&x, NULL, 1, 3);
	rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars);
	fill(x.r, &cars.id, 20);
	pick_all(x.r, &cars.id);
	build(x.r);
	is_errno(replica_pick_forget(x.r, never, NULL, NULL), 0, "what nobody wants is forgotten");
	struct store_iter *it;
	store_iter_new(x.store, NULL, STORE_PICKS, NULL, 0, NULL, 0, &it);
	ok(!store_iter_valid(it), "... and leaves nothing");
	store_iter_free(it);
	char where[32];
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < 1000; i++) {
		snprintf(where, sizeof(where), "n = %u", i);
		rc = replica_pick(x.r, &cars.id, where, NULL);
	}
	is_errno(rc, -ENOSPC, "there is an end to filters");
	rep_close(&x);
}

int main(int argc, char **argv)
{
	tap_plan(3 + 9 + 3 + 1);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 30);
	struct prng p = { seed };
	test_compare();
	test_repair();
	test_forget();
	bool right = true;
	for (uint64_t i = 0; right && i < rounds; i++)
		right = random_work(&p, seed + i);
	ok(right, "%llu random histories", (unsigned long long)rounds);
	return tap_done();
}
