/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Indexes hold what documents have, in SQLite's order, through random work, while they are made, after crashes and repairs,
 * and go with what they are of. */
#include <stdlib.h>

#include "engine/index.h"
#include "engine/interest.h"
#include "tests/queries.h"

#define COLLECTION "cars"
#define DOCS_MAX 64

static const char *const one[] = { "/n" }, *const two[] = { "/kind", "/n" }, *const deep[] = { "/n", "/o/x", "/list/1" };
static const struct shape {
	const char *const *pointer;
	uint32_t n;
	const char *order;
} shapes[] = {
	{ one, 1, "body ->> '$.n'" },
	{ two, 2, "body ->> '$.kind', body ->> '$.n'" },
	{ deep, 3, "body ->> '$.n', body ->> '$.o.x', body ->> '$.list[1]'" },
};
#define SHAPES (sizeof(shapes) / sizeof(*shapes))

/* ---- what should be there: SQLite ranks the documents, and an index has them in that order ---- */

struct doc {
	struct id id;
	char path[200];
	unsigned rank;
	bool found;
};

struct docs {
	struct replica *r;
	struct doc doc[DOCS_MAX];
	unsigned n;
	char path[100];
};

static int add_doc(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct docs *x = userdata;
	char path[100];
	snprintf(path, sizeof(path), "%s", x->path);
	if (at->kind == NODE_DIR) {
		snprintf(x->path, sizeof(x->path), "%.50s/%.*s", path, (int)len, name);
		if (replica_list(x->r, &at->id, add_doc, x) < 0)
			tap_bail("replica_list");
		snprintf(x->path, sizeof(x->path), "%s", path);
		return 0;
	}
	if (at->form != FORM_JSON)
		return 0;
	if (x->n == DOCS_MAX)
		tap_bail("many documents");
	struct doc *d = &x->doc[x->n++];
	d->id = at->id;
	snprintf(d->path, sizeof(d->path), "%s/%.*s", path, (int)len, name);
	return 0;
}

static bool rank_docs(struct docs *x, const struct id *scope, const char *order)
{
	char sql[400];
	snprintf(x->path, sizeof(x->path), "%s", COLLECTION);
	if (replica_list(x->r, scope, add_doc, x) < 0)
		tap_bail("replica_list");
	snprintf(sql, sizeof(sql), "SELECT _path, dense_rank() OVER (ORDER BY %s) FROM %s", order, COLLECTION);
	char *text = strdup(ask(x->r, sql)), *rest = text, *line;
	unsigned lines = 0;
	while ((line = strsep(&rest, "\n")) && *line) {
		char *bar = strchr(line, '|');
		for (unsigned i = 0; bar && i < x->n; i++)
			if (strncmp(x->doc[i].path, line, (size_t)(bar - line)) == 0 && x->doc[i].path[bar - line] == 0)
				x->doc[i].rank = (unsigned)strtoul(bar + 1, NULL, 10);
		lines++;
	}
	free(text);
	if (lines != x->n)
		tap_diag("%u rows of %u documents", lines, x->n);
	return lines == x->n;
}

/* The names of indexes, which begin keys, by their order in the store. */
static struct id index_named(struct store *s, const struct shape *shape)
{
	struct store_iter *it;
	const uint8_t from = 'I', to = 'I' + 1;
	struct id ret = { { 0 } };
	if (store_iter_new(s, NULL, STORE_PICKS, &from, 1, &to, 1, &it) < 0)
		tap_bail("store_iter_new");
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t n, len;
		const uint8_t *key = store_iter_key(it, &n), *v = store_iter_value(it, &len);
		/* format, state, scope, looked, then how many pointers */
		size_t at = 2 + ID_SIZE;
		while (at < len && v[at] & 0x80)
			at++;
		at++;
		if (at < len && v[at] == shape->n && v[at + 1] == strlen(shape->pointer[0]) &&
		    memcmp(v + at + 2, shape->pointer[0], v[at + 1]) == 0)
			memcpy(ret.b, key + 1, ID_SIZE);
	}
	store_iter_free(it);
	return ret;
}

static bool is_right(struct rep *p, const struct id *scope, const struct shape *shape)
{
	struct docs *x = calloc(1, sizeof(*x));
	struct store_iter *it;
	uint8_t from[1 + ID_SIZE] = { 'E' };
	struct buf end = { 0 }, last = { 0 };
	unsigned rank = 0, n = 0;
	if (!x)
		tap_bail("out of memory");
	x->r = p->r;
	struct id name = index_named(p->store, shape);
	bool right = rank_docs(x, scope, shape->order);
	memcpy(from + 1, name.b, ID_SIZE);
	store_prefix_end(from, sizeof(from), &end);
	if (store_iter_new(p->store, NULL, STORE_PICKS, from, sizeof(from), end.data, end.len, &it) < 0)
		tap_bail("store_iter_new");
	for (; right && store_iter_valid(it); store_iter_next(it), n++) {
		size_t len;
		const uint8_t *key = store_iter_key(it, &len);
		struct doc *d = NULL;
		for (unsigned i = 0; i < x->n; i++)
			if (memcmp(x->doc[i].id.b, key + len - ID_SIZE, ID_SIZE) == 0)
				d = &x->doc[i];
		bool same = last.len == len - ID_SIZE && memcmp(last.data, key, last.len) == 0;
		right = d && !d->found && (same ? d->rank == rank : d->rank > rank);
		if (!right)
			tap_diag("%s: %s has rank %u behind %u%s", shape->order, d ? d->path : "?", d ? d->rank : 0, rank,
				 same ? ", with the same key" : "");
		if (d) {
			d->found = true;
			rank = d->rank;
		}
		buf_reset(&last);
		buf_put(&last, key, len - ID_SIZE);
	}
	if (right && n != x->n)
		tap_diag("%s: %u entries of %u documents", shape->order, n, x->n);
	right = right && n == x->n;
	store_iter_free(it);
	buf_done(&end);
	buf_done(&last);
	free(x);
	return right;
}

static bool all_right(struct rep *p, const struct id *scope)
{
	bool right = true;
	for (size_t i = 0; right && i < SHAPES; i++)
		right = is_right(p, scope, &shapes[i]);
	return right;
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
		rc = replica_index_step(r, NULL);
	return rc == 0;
}

static int index_it(struct replica *r, const struct id *scope, const struct shape *s)
{
	struct err e = { 0 };
	int rc = replica_index(r, scope, s->pointer, s->n, &e);
	if (rc < 0)
		tap_bail("replica_index: %s", e.message);
	return rc;
}

/* ---- random work ---- */

static const char *random_value(struct prng *p)
{
	static const char *const list[] = {
		"null", "true", "false", "0", "-0", "-0.0", "1", "1.0", "1e0", "-1", "1.5", "-1.5", "0.1", "0.10", "0.10000000000000001",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "9007199254740992",
		"9007199254740993", "9007199254740992.0", "9007199254740994.0", "-9007199254740993", "-9007199254740992.0",
		"9223372036854775000", "9223372036854774784.0", "1e18", "1000000000000000001", "1e300", "1e400", "1e-400", "1e-300",
		"3.14159265358979323846", "\"\"", "\"a\"", "\"A\"", "\"ab\"", "\"a\\u0000\"", "\"a\\u0000b\"", "\"a\\u0001\"",
		"\"\\u0000\"", "\"1\"", "\"\\u00e9\"", "\"\\ud83d\\ude00\"", "\"~\"", "[1,2]", "[1, 2.0]", "[]", "{}", "{\"x\":1}",
	};
	return list[prng_below(p, sizeof(list) / sizeof(*list))];
}

static void document(struct prng *p, char *text, size_t size)
{
	size_t n = (size_t)snprintf(text, size, "{\"kind\": %s", prng_chance(p, 50) ? "\"a\"" : random_value(p));
	if (prng_chance(p, 90))
		n += (size_t)snprintf(text + n, size - n, ", \"n\": %s", random_value(p));
	if (prng_chance(p, 50))
		n += (size_t)snprintf(text + n, size - n, ", \"o\": {\"x\": %s}", random_value(p));
	if (prng_chance(p, 50))
		n += (size_t)snprintf(text + n, size - n, ", \"list\": [%s, %s]", random_value(p), random_value(p));
	snprintf(text + n, size - n, "}%s", prng_chance(p, 50) ? "\n" : "");
}

static struct id place(struct replica *r, struct prng *p, const struct id *scope)
{
	struct attr at;
	if (prng_chance(p, 60) || rep_lookup(r, scope, prng_chance(p, 50) ? "sub" : "other", &at) < 0 || at.kind != NODE_DIR)
		return *scope;
	return at.id;
}

static void work(struct rep *x, struct prng *p, const struct id *scope)
{
	struct replica *r = x->r;
	struct id at = place(r, p, scope), to = place(r, p, scope);
	struct attr a;
	char name[32], other[32], text[400];
	snprintf(name, sizeof(name), "%u.json", (unsigned)prng_below(p, 14));
	snprintf(other, sizeof(other), "%u.json", (unsigned)prng_below(p, 14));
	document(p, text, sizeof(text));
	if (prng_chance(p, 5))
		snprintf(text, sizeof(text), "no document");
	bool there = rep_lookup(r, &at, name, &a) == 0;
	struct content c = rep_text(text);
	switch (prng_below(p, 8)) {
	case 0:
		rep_mkdir(r, scope, prng_chance(p, 50) ? "sub" : "other", &a);
		break;
	case 1:
		if (there)
			replica_remove(r, &a.entry, 0);
		break;
	case 2:
		if (there)
			rep_rename(r, &a.entry, &to, other, 0);
		break;
	case 3:
		if (rep_lookup(r, scope, "sub", &a) == 0)
			rep_rename(r, &a.id, scope, "other", 0);
		break;
	default:
		if (there)
			replica_save(r, &a.id, NULL, &c, SAVE_BY_NAME, NULL, NULL);
		else
			rep_create(r, &at, name, text, &a);
	}
}

/* What was not flushed may be lost, some of it or all. */
static void crash(struct rep *x, struct prng *p)
{
	rep_stop(x);
	store_crash(x->store, prng_below(p, 60));
	rep_start(x);
}

static bool random_work(struct prng *p, uint64_t seed)
{
	struct rep x;
	struct attr cars;
	bool right = true;
	rep_open(&x, NULL, 1, seed);
	if (rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars) < 0)
		tap_bail("mkdir");
	replica_flush(x.r, NULL);
	for (unsigned round = 0; right && round < 8; round++) {
		for (unsigned i = 0; i < 40; i++) {
			work(&x, p, &cars.id);
			if (prng_chance(p, 5))
				replica_flush(x.r, NULL);
			if (round > 0 && prng_chance(p, 20))
				replica_index_step(x.r, NULL);
		}
		/* Some are made while it goes on, some go and come again. */
		for (size_t i = 0; i < SHAPES; i++) {
			if (prng_chance(p, 20))
				replica_index_drop(x.r, &cars.id, shapes[i].pointer, shapes[i].n, NULL);
			index_it(x.r, &cars.id, &shapes[i]);
		}
		if (prng_chance(p, 40)) {
			crash(&x, p);
			right = errors(x.r, false, rep_problem) == 0;
		}
		for (size_t i = 0; i < SHAPES; i++)
			index_it(x.r, &cars.id, &shapes[i]);
		if (prng_chance(p, 30))
			continue;
		right = right && build(x.r) && all_right(&x, &cars.id) && errors(x.r, false, rep_problem) == 0;
	}
	rep_close(&x);
	return right;
}

/* ---- plain cases ---- */

static void fill(struct replica *r, const struct id *dir, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		char name[32], text[64];
		struct attr a;
		snprintf(name, sizeof(name), "%u.json", i);
		snprintf(text, sizeof(text), "{\"n\":%u}", i);
		if (rep_create(r, dir, name, text, &a) < 0)
			tap_bail("create");
	}
}

struct listed {
	unsigned n, complete;
	uint64_t done, all;
	char pointers[200];
};

static int list_one(const struct index_info *x, void *userdata)
{
	struct listed *l = userdata;
	l->n++;
	l->complete += x->complete;
	l->done = x->done;
	l->all = x->all;
	snprintf(l->pointers, sizeof(l->pointers), "%u: %s", x->n, x->pointer[0]);
	return 0;
}

static struct listed list(struct replica *r)
{
	struct listed l = { 0 };
	replica_indexes(r, list_one, &l);
	return l;
}

static unsigned keys_of(struct store *s, const char *kinds)
{
	struct store_iter *it;
	unsigned n = 0;
	if (store_iter_new(s, NULL, STORE_PICKS, NULL, 0, NULL, 0, &it) < 0)
		tap_bail("store_iter_new");
	for (; store_iter_valid(it); store_iter_next(it)) {
		size_t len;
		n += strchr(kinds, store_iter_key(it, &len)[0]) != NULL;
	}
	store_iter_free(it);
	return n;
}

static void test_making(void)
{
	struct rep x;
	struct attr cars, sub;
	struct err e = { 0 };
	static const char *const bad[] = { "n" }, *const empty[] = { "" }, *const twice[] = { "/n", "/n" };
	rep_open(&x, NULL, 1, 3);
	rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars);
	rep_mkdir(x.r, &cars.id, "sub", &sub);
	fill(x.r, &cars.id, 0, 600);
	is_errno(replica_index(x.r, &cars.id, bad, 1, &e), -EINVAL, "no pointer: %s", e.message);
	is_errno(replica_index(x.r, &cars.id, empty, 1, &e), -EINVAL, "all of it: %s", e.message);
	is_errno(replica_index(x.r, &cars.id, twice, 2, &e), -EINVAL, "one twice: %s", e.message);
	is_errno(replica_index(x.r, &cars.id, one, 0, &e), -EINVAL, "none: %s", e.message);
	is_errno(replica_index(x.r, &sub.id, one, 1, &e), -EINVAL, "no collection: %s", e.message);
	is_errno(replica_index_drop(x.r, &cars.id, one, 1, &e), -ENOENT, "none to drop: %s", e.message);
	is_int(replica_index(x.r, &cars.id, one, 1, NULL), 0, "an index is not there at once");
	is_int(replica_index_step(x.r, NULL), 1, "it is made in steps");
	struct listed l = list(x.r);
	ok(l.n == 1 && l.complete == 0 && l.done > 100 && l.done < 500 && l.all == 600, "... which tell how far it is: %llu of %llu",
	   (unsigned long long)l.done, (unsigned long long)l.all);
	rep_stop(&x);
	rep_start(&x);
	ok(list(x.r).done == l.done, "... also after a start");
	ok(build(x.r) && list(x.r).complete == 1 && keys_of(x.store, "E") == 600, "... and then complete");
	is_int(replica_index(x.r, &cars.id, one, 1, NULL), 1, "... which is said");
	is_str(list(x.r).pointers, "1: /n", "it is listed as it was asked for");
	is_errno(replica_index_drop(x.r, &cars.id, one, 1, NULL), 0, "it goes");
	is_int((int)list(x.r).n, 0, "... at once");
	ok(build(x.r) && keys_of(x.store, "IENC") == 0, "... and leaves nothing");
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < 1000; i++) {
		char text[32];
		const char *p = text;
		snprintf(text, sizeof(text), "/%u", i);
		rc = replica_index(x.r, &cars.id, &p, 1, &e);
	}
	is_errno(rc, -ENOSPC, "there is an end to indexes: %s", e.message);
	rep_close(&x);
}

/* Keys that begin so are lost, or put where nothing should be. */
static void damage(struct store *s, uint8_t kind, bool add)
{
	struct store_iter *it;
	struct store_batch *b;
	size_t n;
	if (store_iter_new(s, NULL, STORE_PICKS, &kind, 1, NULL, 0, &it) < 0 || store_batch_new(&b) < 0)
		tap_bail("store_iter_new");
	const uint8_t *key = store_iter_key(it, &n);
	uint8_t other[4096];
	memcpy(other, key, n);
	other[n - 1] ^= 1;
	if (add)
		store_put(b, STORE_PICKS, other, n, "", 0);
	else
		store_delete(b, STORE_PICKS, key, n);
	store_write(s, b, NULL);
	store_iter_free(it);
	store_batch_free(b);
}

static void test_repair(void)
{
	struct rep x;
	struct attr cars, a;
	char text[1200] = "{\"n\":\"";
	rep_open(&x, NULL, 1, 3);
	rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars);
	fill(x.r, &cars.id, 0, 30);
	memset(text + 6, 'x', 1100);
	snprintf(text + 1106, sizeof(text) - 1106, "\"}");
	rep_create(x.r, &cars.id, "long.json", text, &a);
	index_it(x.r, &cars.id, &shapes[0]);
	ok(build(x.r) && all_right(&x, &cars.id) == false && is_right(&x, &cars.id, &shapes[0]), "an index, with a text that is cut");
	is_int((int)keys_of(x.store, "C"), 1, "... which is noted");
	is_uint(errors(x.r, false, rep_problem), 0, "... and right");
	static const struct {
		uint8_t kind;
		bool add;
	} cases[] = { { 'E', false }, { 'E', true }, { 'N', false }, { 'C', false }, { 'C', true } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		damage(x.store, cases[i].kind, cases[i].add);
		is_uint(errors(x.r, false, NULL), 1, "verify sees damage: %c %s", cases[i].kind, cases[i].add ? "in vain" : "lost");
		is_uint(errors(x.r, true, NULL), 1, "... and mends it");
		ok(build(x.r) && errors(x.r, false, rep_problem) == 0 && is_right(&x, &cars.id, &shapes[0]),
		   "... so that it is right again");
	}
	/* Without its head nobody knows what it is. */
	rep_stop(&x);
	damage(x.store, 'I', false);
	rep_start(&x);
	is_uint(errors(x.r, false, NULL), 1, "verify sees what no index has");
	errors(x.r, true, NULL);
	ok(errors(x.r, false, rep_problem) == 0 && keys_of(x.store, "IENC") == 0, "... and takes it away");
	rep_close(&x);
}

/* A collection that this device gives up goes with its indexes, others keep theirs. */
static void test_leaving(void)
{
	struct rep x;
	struct attr cars, bikes;
	struct err e = { 0 };
	rep_open(&x, NULL, 1, 3);
	rep_mkdir(x.r, &NODE_ROOT, COLLECTION, &cars);
	rep_mkdir(x.r, &NODE_ROOT, "bikes", &bikes);
	fill(x.r, &cars.id, 0, 300);
	fill(x.r, &bikes.id, 0, 7);
	index_it(x.r, &cars.id, &shapes[0]);
	index_it(x.r, &bikes.id, &shapes[0]);
	build(x.r);
	is_errno(replica_keep(x.r, &cars.id, INTEREST_NONE, NULL, &e), 0, "a collection is given up %s", e.message);
	for (int i = 0; i < 1000 && replica_drop_step(x.r, NULL) == 1; i++)
		;
	ok(build(x.r) && keys_of(x.store, "E") == 7 && keys_of(x.store, "N") == 7 && keys_of(x.store, "I") == 1,
	   "... and its index with it");
	is_uint(errors(x.r, false, rep_problem), 0, "... which leaves all right");
	rep_close(&x);
}

int main(int argc, char **argv)
{
	tap_plan(17 + 20 + 3 + 1);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 25);
	struct prng p = { seed };
	test_making();
	test_repair();
	test_leaving();
	bool right = true;
	for (uint64_t i = 0; right && i < rounds; i++)
		right = random_work(&p, seed + i);
	ok(right, "%llu random histories", (unsigned long long)rounds);
	return tap_done();
}
