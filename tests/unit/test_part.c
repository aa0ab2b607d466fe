/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that keep the part of a collection which a filter picks, and others that keep all of it: what comes,
 * what leaves, and that nothing is lost by it. `test_part SEED COUNT` runs that many random histories; from seed PURGING on
 * files are deleted and purged in them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame.h"
#include "engine/interest.h"
#include "engine/purge.h"
#include "tests/held.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

static struct id dir_of(struct node *n, const char *name)
{
	struct attr at;
	if (replica_lookup(n->replica, &NODE_ROOT, name, strlen(name), &at) < 0)
		tap_bail("no %s", name);
	return at.id;
}

static void problem(const char *text, void *userdata)
{
	(void)userdata;
	tap_diag("verify: %s", text);
}

static bool sound(struct node *n)
{
	struct verify_report report;
	return replica_verify(n->replica, false, problem, NULL, &report, NULL) == 0 && report.errors == 0;
}

static int keep(struct node *n, const struct id *scope, unsigned level, const char *where)
{
	struct err e = { 0 };
	int r = replica_keep(n->replica, scope, level, where, &e);
	if (r < 0)
		tap_diag("keep: %s", e.message);
	return r;
}

static int count_name(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	(void)name;
	(void)len;
	(void)id;
	*(unsigned *)userdata += kind != NODE_DIR;
	return 0;
}

static unsigned files_in(struct node *n, const struct id *dir)
{
	unsigned count = 0;
	replica_names(n->replica, dir, count_name, &count);
	return count;
}

static void number(struct node *n, const char *dir, unsigned file, unsigned value)
{
	char name[32], text[64];
	snprintf(name, sizeof(name), "%u.json", file);
	int len = snprintf(text, sizeof(text), "{\n  \"n\": %u\n}\n", value);
	node_write(n, dir, name, text, (size_t)len);
}

/* The bytes of both directions; -1: it failed. */
static int64_t meet(struct node *x, struct node *y)
{
	struct pair p;
	pair_open(&p, x, y);
	pair_run(&p);
	if (p.failed)
		tap_diag("%s", p.e.message);
	int64_t bytes = p.failed ? -1 : (int64_t)(p.bytes[0] + p.bytes[1]);
	pair_close(&p);
	return bytes;
}

static bool has(struct node *n, const char *dir, const char *name, const char *text)
{
	char *is = node_read(n, dir, name);
	bool good = text ? is && strcmp(is, text) == 0 : !is;
	if (!good)
		tap_diag("%s is %s", name, is ? is : "not there");
	free(is);
	return good;
}

static void test_two(void)
{
	struct node w, f;
	node_open(&w, 1, NULL);
	node_open(&f, 2, NULL);
	for (unsigned i = 0; i < 200; i++)
		number(&w, "cars", i, i);
	node_write(&w, "cars", "text.txt", A("no document\n"));
	struct id cars = dir_of(&w, "cars");
	is_int(keep(&f, &cars, INTEREST_FILTERED, "n < 50"), 0, "a part of a collection is kept");
	ok(meet(&w, &f) > 0, "they meet");
	is_uint(files_in(&f, &cars), 50, "what matches comes");
	ok(has(&f, "cars", "7.json", "{\n  \"n\": 7\n}\n"), "... as it is");
	ok(sound(&f) && sound(&w), "both are sound");
	int64_t bytes = meet(&w, &f);
	ok(bytes > 0 && bytes < 500, "a meeting without news costs %d bytes", (int)bytes);

	number(&w, "cars", 7, 100);
	number(&w, "cars", 100, 7);
	ok(meet(&w, &f) > 0 && has(&f, "cars", "7.json", NULL), "a leaver leaves");
	ok(has(&f, "cars", "100.json", "{\n  \"n\": 7\n}\n"), "an enterer arrives");
	ok(has(&w, "cars", "7.json", "{\n  \"n\": 100\n}\n"), "... and nothing is deleted elsewhere");

	number(&f, "cars", 8, 9);
	number(&f, "cars", 1000, 1);
	number(&f, "cars", 9, 500);
	ok(!held_by(f.replica, &w.id, NULL), "what is changed in the part is not known to be anywhere else");
	ok(meet(&w, &f) > 0 && has(&w, "cars", "8.json", "{\n  \"n\": 9\n}\n") &&
		   has(&w, "cars", "1000.json", "{\n  \"n\": 1\n}\n") && has(&w, "cars", "9.json", "{\n  \"n\": 500\n}\n"),
	   "what is changed and made in the part goes to who keeps all");
	ok(held_by(f.replica, &w.id, NULL), "... and is known to be there");
	ok(has(&f, "cars", "9.json", NULL) && has(&f, "cars", "8.json", "{\n  \"n\": 9\n}\n"),
	   "... and leaves if it does not match any more");
	struct attr at;
	if (replica_lookup(f.replica, &cars, A("10.json"), &at) < 0 || replica_remove(f.replica, &at.id, 0) < 0)
		tap_bail("cannot remove");
	ok(meet(&w, &f) > 0 && has(&w, "cars", "10.json", NULL), "what is deleted there is deleted everywhere");
	ok(sound(&f) && sound(&w), "both are sound");

	/* It left with a change of F, and is made anew there. */
	number(&f, "cars", 9, 3);
	ok(meet(&w, &f) > 0 && sound(&w) && sound(&f), "what had left is made anew");
	char *x = node_read(&w, "cars", "9.json"), *y = node_read(&f, "cars", "9.json");
	ok(x && (!y || strcmp(x, y) == 0), "... and is the same on both sides");
	free(x);
	free(y);

	is_int(keep(&f, &cars, INTEREST_FILTERED, "n < 51 OR n = 150"), 0, "another filter");
	bytes = meet(&w, &f);
	ok(bytes > 0 && bytes < 3000 && has(&f, "cars", "150.json", "{\n  \"n\": 150\n}\n"),
	   "moves what changed: %d bytes", (int)bytes);
	is_int(keep(&f, &cars, INTEREST_SUBSCRIBED, NULL), 0, "all of it");
	ok(meet(&w, &f) > 0 && meet(&w, &f) > 0, "they meet");
	ok(files_in(&f, &cars) == files_in(&w, &cars) && has(&f, "cars", "text.txt", "no document\n"), "all is there");
	number(&f, "cars", 170, 1);
	number(&w, "cars", 171, 1);
	ok(meet(&w, &f) > 0 && has(&w, "cars", "170.json", "{\n  \"n\": 1\n}\n") &&
		   has(&f, "cars", "171.json", "{\n  \"n\": 1\n}\n"), "rounds go both ways");
	is_int(keep(&f, &cars, INTEREST_FILTERED, "_path LIKE '%.txt'"), 0, "by path");
	ok(meet(&w, &f) > 0 && files_in(&f, &cars) == 1 && has(&f, "cars", "text.txt", "no document\n"),
	   "the rest leaves");
	ok(sound(&f) && sound(&w), "both are sound");
	node_close(&w);
	node_close(&f);
}

/* What a filtered device writes reaches everybody by who keeps all. */
static void test_three(void)
{
	struct node a, b, f;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&f, 3, NULL);
	number(&a, "cars", 1, 1);
	number(&a, "cars", 2, 2);
	meet(&a, &b);
	struct id cars = dir_of(&a, "cars");
	keep(&f, &cars, INTEREST_FILTERED, "n = 1");
	meet(&a, &f);
	node_write(&f, "cars", "1.json", A("{\n  \"n\": 1,\n  \"f\": 1\n}\n"));
	meet(&a, &f);
	meet(&a, &b);
	ok(has(&b, "cars", "1.json", "{\n  \"n\": 1,\n  \"f\": 1\n}\n"), "what F changed comes to B by A");
	node_write(&b, "cars", "1.json", A("{\n  \"n\": 1,\n  \"f\": 1,\n  \"b\": 1\n}\n"));
	node_write(&f, "cars", "1.json", A("{\n  \"n\": 1,\n  \"f\": 2\n}\n"));
	meet(&b, &f);
	meet(&a, &b);
	ok(has(&a, "cars", "1.json", "{\n  \"n\": 1,\n  \"f\": 2,\n  \"b\": 1\n}\n"), "and by B to A, merged");
	ok(has(&f, "cars", "1.json", "{\n  \"n\": 1,\n  \"f\": 2,\n  \"b\": 1\n}\n"), "F has it as well");
	/* Changed at both ends, and it leaves. */
	node_write(&a, "cars", "1.json", A("{\n  \"n\": 5,\n  \"f\": 2,\n  \"b\": 1\n}\n"));
	node_write(&f, "cars", "1.json", A("{\n  \"n\": 1,\n  \"f\": 3,\n  \"b\": 1\n}\n"));
	meet(&a, &f);
	ok(has(&f, "cars", "1.json", NULL) && has(&a, "cars", "1.json", "{\n  \"n\": 5,\n  \"f\": 3,\n  \"b\": 1\n}\n"),
	   "what leaves takes nothing along");
	node_close(&a);
	node_close(&b);
	node_close(&f);
}

/* A file that does not match stays as long as its contents are nowhere else, and is what it is elsewhere. */
static void test_spared(void)
{
	struct node w, f;
	struct pair p;
	struct attr at;
	char bytes[400];
	node_open(&w, 1, NULL);
	node_open(&f, 2, NULL);
	replica_set_eager(w.replica, 100);
	number(&w, "cars", 1, 1);
	struct id cars = dir_of(&w, "cars");
	keep(&f, &cars, INTEREST_FILTERED, "n = 1");
	meet(&w, &f);
	memset(bytes, 'x', sizeof(bytes));
	node_write(&f, "cars", "x.bin", bytes, sizeof(bytes));
	pair_open(&p, &w, &f);
	pair_run(&p);
	ok(!p.failed && replica_absents(w.replica) == 1 && files_in(&f, &cars) == 2,
	   "what does not match stays where its contents are");
	if (replica_lookup(w.replica, &cars, A("x.bin"), &at) < 0 || replica_remove(w.replica, &at.id, 0) < 0)
		tap_bail("cannot remove");
	pair_run(&p);
	ok(!p.failed && files_in(&f, &cars) == 1, "and hears that it is deleted");
	pair_close(&p);
	ok(sound(&w) && sound(&f), "both are sound");
	node_close(&w);
	node_close(&f);
}

/* ---- what a peer may not say ---- */

static void test_refused(void)
{
	static const struct {
		const char *name, *says, *data;
		size_t len;
		enum frame_type type;
		bool to_part; /* by who keeps all */
		bool scope;   /* the data stand behind the collection's id */
	} trial[] = {
		{ "half a collection", "malformed", A("ABCD"), FRAME_COMPARE, false, false },
		{ "another collection", "out of place", A("ABCDEFGHIJKLMNOP\0"), FRAME_COMPARE, false, false },
		{ "an empty COMPARE", "malformed", A(""), FRAME_COMPARE, false, true },
		{ "COMPARE that nobody asked for", "out of place", A("\0\0"), FRAME_COMPARE, false, true },
		{ "HOLD with unknown flags", "malformed", A("\3"), FRAME_HOLD, false, true },
		{ "HOLD without flags", "malformed", A(""), FRAME_HOLD, false, true },
		{ "HOLD out of turn", "out of place", A("\0"), FRAME_HOLD, false, true },
		{ "TAKE from who has a part", "out of place", A("\0"), FRAME_TAKE, false, true },
		{ "LEAVE from who has a part", "out of place", A("\0ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP"), FRAME_LEAVE,
		  false, true },
		{ "PART out of turn", "out of place", A("\0"), FRAME_PART, false, true },
		{ "PART without a count", "malformed", A(""), FRAME_PART, false, true },
		{ "HOLD from who has all", "out of place", A("\0"), FRAME_HOLD, true, true },
		{ "TAKE out of turn", "out of place", A("\0"), FRAME_TAKE, true, true },
		{ "LEAVE out of turn", "out of place", A("\0ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP"), FRAME_LEAVE, true,
		  true },
		{ "PART to who did not compare", "out of place", A("\0"), FRAME_PART, true, true },
		{ "a comparison that is none", "comparison", A("\0\x80"), FRAME_COMPARE, true, true },
	};
	struct node w, f;
	node_open(&w, 1, NULL);
	node_open(&f, 2, NULL);
	number(&w, "cars", 1, 1);
	struct id cars = dir_of(&w, "cars");
	keep(&f, &cars, INTEREST_FILTERED, "n = 1");
	for (size_t i = 0; i < sizeof(trial) / sizeof(trial[0]); i++) {
		_cleanup_(buf_done) struct buf payload = { 0 }, frame = { 0 }, out = { 0 };
		struct pair p;
		struct err e = { 0 };
		pair_open(&p, &w, &f);
		pair_run(&p);
		if (trial[i].scope)
			buf_put(&payload, cars.b, ID_SIZE);
		buf_put(&payload, trial[i].data, trial[i].len);
		if (frame_put(&frame, trial[i].type, &payload) < 0)
			tap_bail("no frame");
		struct session *s = p.session[trial[i].to_part];
		int r = session_input(s, frame.data, frame.len, p.now, &e);
		if (r == 0)
			r = session_output(s, &out, 10000, p.now, &e);
		ok(r == -EPROTO && strstr(e.message, trial[i].says), "refused: %s (%s)", trial[i].name, e.message);
		pair_close(&p);
	}
	ok(sound(&w) && sound(&f), "nothing came of it");
	node_close(&w);
	node_close(&f);
}

/* ---- random histories ---- */

#define NODES 5
#define FILES 6
#define KEYS 4096
#define PURGING 1000000

static const char *const wheres[] = { "n = 1", "n > 0", "n = 2 OR body ->> '$.n' = 0", "_path LIKE '%/3.json'" };
#define WHERES (sizeof(wheres) / sizeof(*wheres))

struct world {
	struct node node[NODES];
	struct prng r;
	unsigned n_keys;
	bool purging, gone[KEYS]; /* keys that somebody who saw them deleted */
};

static enum interest_level level(struct node *n, const struct id *scope)
{
	_cleanup_(interests_unrefp) struct interests *x = replica_interests(n->replica);
	return interests_level(x, scope);
}

/* Gives n a value and adds a key, which is never taken away again. */
static void change(struct world *w, struct node *n)
{
	struct id id = dir_of(n, "one");
	_cleanup_(buf_done) struct buf b = { 0 };
	char name[16];
	snprintf(name, sizeof(name), "%u.json", (unsigned)prng_below(&w->r, FILES));
	if (w->n_keys == KEYS || !interest_is_shown(level(n, &id)))
		return;
	char *old = node_read(n, "one", name);
	if (old && old[0] != '{')
		tap_bail("no document: %s", old);
	buf_putf(&b, "{\n  \"n\": %u,\n  \"k%u\": %u", (unsigned)prng_below(&w->r, 3), w->n_keys, w->n_keys);
	/* What was there behind n. */
	char *rest = old ? strstr(old, ",\n  \"k") : NULL;
	buf_puts(&b, rest ? rest : "\n}\n");
	node_write(n, "one", name, b.data, b.len);
	node_flush(n, NULL);
	free(old);
	w->n_keys++;
}

/* Deletes a file, and purges it, as a rule. */
static void purge(struct world *w, struct node *n)
{
	struct id id = dir_of(n, "one");
	struct attr at;
	char name[16], key[24];
	uint32_t looked, purged;
	struct err e = { 0 };
	snprintf(name, sizeof(name), "%u.json", (unsigned)prng_below(&w->r, FILES));
	if (!interest_is_shown(level(n, &id)) || replica_lookup(n->replica, &id, name, strlen(name), &at) < 0)
		return;
	_cleanup_free_ char *text = node_read(n, "one", name);
	for (unsigned k = 0; text && k < w->n_keys; k++) {
		snprintf(key, sizeof(key), "\"k%u\"", k);
		w->gone[k] |= strstr(text, key) != NULL;
	}
	if (replica_remove(n->replica, &at.entry, 0) < 0 ||
	    (prng_chance(&w->r, 80) && replica_purge(n->replica, &at.id, 1, &looked, &purged, &e) < 0))
		tap_bail("cannot purge: %s", e.message);
	node_flush(n, NULL);
}

static void choose(struct world *w, struct node *n)
{
	struct id id = dir_of(n, "one");
	if (prng_chance(&w->r, 30))
		keep(n, &id, INTEREST_SUBSCRIBED, NULL);
	else if (w->purging && prng_chance(&w->r, 50))
		keep(n, &id, INTEREST_FARTHEST, NULL);
	else
		keep(n, &id, INTEREST_FILTERED, wheres[prng_below(&w->r, WHERES)]);
}

/* A session that is cut after some turns. */
static bool cut(struct world *w, struct node *x, struct node *y)
{
	struct pair p;
	uint64_t turns = prng_below(&w->r, 40);
	size_t max = prng_chance(&w->r, 50) ? 65536 : 1 + prng_below(&w->r, 300);
	pair_open(&p, x, y);
	for (uint64_t i = 0; i < turns && !p.failed; i++) {
		pair_turn(&p, max);
		for (int k = 0; k < 2 && prng_chance(&w->r, 70); k++)
			if (!p.failed)
				node_flush(p.node[k], p.session[k]);
		if (prng_chance(&w->r, 10)) {
			struct node *n = prng_chance(&w->r, 50) ? x : y;
			change(w, n);
		}
	}
	bool good = !p.failed || p.e.code == -ESTALE;
	if (!good)
		tap_diag("cut: %s", p.e.message);
	pair_close(&p);
	return good;
}

static bool met(struct node *x, struct node *y)
{
	struct pair p;
	pair_open(&p, x, y);
	pair_run(&p);
	bool good = !p.failed || p.e.code == -ESTALE;
	if (!good)
		tap_diag("meeting: %s", p.e.message);
	pair_close(&p);
	return good;
}

static bool matches(const char *text, unsigned file, const char *where)
{
	char value = text[sizeof("{\n  \"n\": ") - 1];
	if (strcmp(where, wheres[0]) == 0)
		return value == '1';
	if (strcmp(where, wheres[1]) == 0)
		return value > '0';
	if (strcmp(where, wheres[2]) == 0)
		return value == '2' || value == '0';
	return file == 3;
}

static void show_context(struct node *n, const char *name)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct attr at;
	struct view_node node;
	struct id dir = dir_of(n, "one");
	struct view *v = replica_view(n->replica);
	struct actors *actors = replica_actors(n->replica);
	const struct vv *have = view_have(v, &dir);
	if (replica_lookup(n->replica, &dir, name, strlen(name), &at) < 0 ||
	    view_node(v, &at.id, &a, &node, NULL) < 0)
		return;
	for (uint32_t i = 0; i < node.context.n; i++) {
		const struct actor_id *x = actors_get(actors, node.context.item[i].actor);
		tap_diag("  %x.%08x: %d (here %d)", x->device.b[0], x->incarnation, (int)node.context.item[i].seq,
			 (int)vv_get(have, node.context.item[i].actor));
	}
	view_unref(v);
}

/* The first device keeps all; every other one what its interest says, as the first one has it. */
static bool is_right(struct world *w, unsigned i)
{
	struct node *n = &w->node[i];
	struct id id = dir_of(n, "one");
	_cleanup_(interests_unrefp) struct interests *x = replica_interests(n->replica);
	const struct interest *entry = interests_find(x, &id);
	bool good = true;
	for (unsigned f = 0; f < FILES; f++) {
		char name[16];
		snprintf(name, sizeof(name), "%u.json", f);
		char *want = node_read(&w->node[0], "one", name), *is = node_read(n, "one", name);
		bool should = want && (!entry || !entry->where || matches(want, f, entry->where));
		if (should != (is != NULL) || (should && strcmp(want, is) != 0)) {
			tap_diag("device %u (%s): %s is %s, should be %s", i, entry && entry->where ? entry->where : "all",
				 name, is ? is : "not there", should ? want : "not there");
			good = false;
			show_context(&w->node[0], name);
			show_context(n, name);
		}
		free(want);
		free(is);
	}
	return good;
}

struct texts {
	struct node *n;
	struct buf b;
};

static int add_text(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	struct texts *t = userdata;
	_cleanup_free_ char *copy = strndup(name, len);
	_cleanup_free_ char *text = copy && kind == NODE_FILE ? node_read(t->n, "one", copy) : NULL;
	(void)id;
	buf_puts(&t->b, text ? text : "");
	return 0;
}

/* In whatever file: one that was purged goes on as another. */
static bool all_keys(struct world *w)
{
	struct texts t = { .n = &w->node[0] };
	struct id dir = dir_of(t.n, "one");
	bool all = true;
	replica_names(t.n->replica, &dir, add_text, &t);
	buf_u8(&t.b, 0);
	for (unsigned k = 0; k < w->n_keys; k++) {
		char key[24];
		snprintf(key, sizeof(key), "\"k%u\"", k);
		if (!w->gone[k] && !strstr((char *)t.b.data, key)) {
			tap_diag("%s is lost", key);
			all = false;
		}
	}
	buf_done(&t.b);
	return all;
}

static bool history(uint64_t seed)
{
	struct world w = { .r = { seed }, .purging = seed >= PURGING };
	bool good = true;
	for (unsigned i = 0; i < NODES; i++)
		node_open(&w.node[i], (uint8_t)(i + 1), NULL);
	node_write(&w.node[0], "one", "0.json", A("{\n  \"n\": 0\n}\n"));
	for (unsigned i = 1; i < NODES; i++)
		good &= met(&w.node[0], &w.node[i]);
	for (unsigned step = 0; good && step < 100; step++) {
		unsigned i = (unsigned)prng_below(&w.r, NODES), k = (unsigned)prng_below(&w.r, NODES);
		unsigned event = (unsigned)prng_below(&w.r, 16);
		struct node *n = &w.node[i], *m = &w.node[k];
		if (event < 5)
			change(&w, n);
		else if (event < 6 && i > 0)
			choose(&w, n);
		else if (event < 7)
			node_crash(n, prng_below(&w.r, 5));
		else if (w.purging && event == 15)
			purge(&w, n);
		else if (i != k)
			good &= event < 11 ? cut(&w, n, m) : met(n, m);
	}
	/* A part may show another name where two files have one. */
	for (unsigned i = 1; w.purging && i < NODES; i++) {
		struct id id = dir_of(&w.node[i], "one");
		keep(&w.node[i], &id, INTEREST_SUBSCRIBED, NULL);
	}
	for (unsigned round = 0; good && round < 4; round++)
		for (unsigned i = 0; i < NODES; i++)
			for (unsigned k = 0; k < i; k++)
				good &= met(&w.node[i], &w.node[k]);
	good = good && all_keys(&w);
	for (unsigned i = 0; good && i < NODES; i++)
		good &= is_right(&w, i) && sound(&w.node[i]);
	for (unsigned i = 0; i < NODES; i++)
		node_close(&w.node[i]);
	if (!good)
		tap_diag("again with: ./tests/unit/test_part %llu 1", (unsigned long long)seed);
	return good;
}

int main(int argc, char **argv)
{
	tap_plan(argc == 1 ? 52 : 1);
	if (argc == 1) {
		test_two();
		test_three();
		test_spared();
		test_refused();
	}
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 100, bad = 0;
	for (uint64_t i = 0; i < count; i++)
		bad += !history(seed + i);
	is_uint(bad, 0, "random histories in which something is lost or wrong");
	for (uint64_t i = 0; argc == 1 && i < count; i++)
		bad += !history(PURGING + i);
	if (argc == 1)
		is_uint(bad, 0, "the same of such in which files are purged");
	return tap_done();
}
