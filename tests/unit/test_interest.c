/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device keeps: the list and its encoding, what is shown, what is carried, what leaves, and that
 * nothing is lost by it. `test_interest SEED COUNT` runs that many random histories. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/interest.h"
#include "tests/held.h"
#include "tests/keeping.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

/* ---- the list ---- */

static struct id id_of(unsigned n)
{
	struct id id = { { 0 } };
	id.b[0] = 0xcc;
	id.b[15] = (uint8_t)n;
	return id;
}

static struct interests *with(struct interests *x, unsigned n, enum interest_level l, const char *where)
{
	struct interests *y;
	struct id id = id_of(n);
	int r = interests_with(x, &id, l, where, &y);
	if (r < 0)
		tap_bail("interests_with: %d", r);
	interests_unref(x);
	return y;
}

static struct interests *again(const struct interests *x)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct interests *y;
	interests_encode(x, &b);
	struct cursor c = cursor_make(b.data, b.len);
	if (interests_decode(&c, &y) < 0)
		tap_bail("what was encoded cannot be decoded");
	return y;
}

static void test_list(void)
{
	struct interests *x = interests_all();
	struct id two = id_of(2), root = NODE_ROOT;
	is_int(interests_level(x, &two), INTEREST_SUBSCRIBED, "what nobody said anything about is subscribed");
	x = with(x, 2, INTEREST_NONE, NULL);
	x = with(x, 1, INTEREST_FILTERED, "n > 3");
	x = with(x, 3, 4, NULL);
	x = with(x, 3, 5, NULL);
	is_uint(x->n, 3, "three entries");
	is_int(interests_level(x, &two), INTEREST_NONE, "one is not kept");
	_cleanup_(interests_unrefp) struct interests *y = again(x);
	ok(y->n == 3 && memcmp(&x->print, &y->print, ID_SIZE) == 0 && y->item[2].level == 5 &&
		   strcmp(y->item[0].where, "n > 3") == 0,
	   "and come back from the store");
	x = with(x, 2, INTEREST_SUBSCRIBED, NULL);
	is_uint(x->n, 2, "what is as it would be anyway is not listed");
	x = with(with(x, 1, INTEREST_SUBSCRIBED, NULL), 3, INTEREST_SUBSCRIBED, NULL);
	ok(id_is_zero(&x->print), "nothing listed: the fingerprint of the beginning");
	is_errno(interests_with(x, &root, INTEREST_NONE, NULL, &y), -EINVAL, "the root is everybody's");
	is_errno(interests_with(x, &two, INTEREST_FILTERED, NULL, &y), -EINVAL, "a filter has an expression");
	interests_unref(x);
}

/* ---- one device ---- */

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

static int count_name(const char *name, size_t len, const struct id *id, enum node_kind kind, void *userdata)
{
	(void)name;
	(void)len;
	(void)id;
	(void)kind;
	++*(unsigned *)userdata;
	return 0;
}

static unsigned names_in(struct node *n, const struct id *dir)
{
	unsigned count = 0;
	replica_names(n->replica, dir, count_name, &count);
	return count;
}

static void populate(struct node *n, const char *dir, unsigned files)
{
	char name[32], text[64];
	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "%u.json", i);
		int len = snprintf(text, sizeof(text), "{\n  \"n\": %u\n}\n", i);
		node_write(n, dir, name, text, (size_t)len);
	}
}

struct told {
	unsigned created, removed;
};

static void on_change(const struct change *change, size_t n, void *userdata)
{
	struct told *t = userdata;
	for (size_t i = 0; i < n; i++) {
		t->created += !!(change[i].what & CHANGE_CREATED);
		t->removed += !!(change[i].what & CHANGE_REMOVED);
	}
}

static void test_alone(void)
{
	struct node n;
	struct attr at, sub, deep;
	struct told told = { 0 };
	uint64_t files, bytes;
	node_open(&n, 1, NULL);
	populate(&n, "cars", 700);
	populate(&n, "notes", 3);
	struct id cars = dir_of(&n, "cars"), notes = dir_of(&n, "notes");
	/* Everything that a collection may have: directories in each other, links, several names, earlier versions,
	 * what was deleted, a blob, a large document with a trail, a batch. */
	if (replica_mkdir(n.replica, &cars, "sub", 3, 0755, &sub) < 0 ||
	    replica_mkdir(n.replica, &sub.id, "deep", 4, 0755, &deep) < 0 ||
	    replica_symlink(n.replica, &deep.id, "link", 4, "../..", &at) < 0)
		tap_bail("cannot make directories");
	node_write(&n, "cars", "names.txt", A("one file\n"));
	if (replica_lookup(n.replica, &cars, A("names.txt"), &at) < 0 ||
	    replica_link(n.replica, &at.id, &deep.id, A("other.txt"), NULL) < 0)
		tap_bail("cannot make a second name");
	n.now += 5000000;
	node_write(&n, "cars", "names.txt", A("one file, later\n"));
	node_write(&n, "cars", "x.bin", A("\0\1\2"));
	node_write(&n, "cars", "gone.json", A("{}\n"));
	if (replica_lookup(n.replica, &cars, A("gone.json"), &at) < 0 || replica_remove(n.replica, &at.id, 0) < 0)
		tap_bail("cannot delete");
	ok(sound(&n), "a store with all kinds of things");
	replica_collection_size(n.replica, &cars, &files, &bytes);
	ok(files == 704 && bytes > 700 * 12, "the collection has %d files, %d bytes", (int)files, (int)bytes);
	uint64_t all = replica_count(n.replica);
	replica_observe(n.replica, on_change, &told);
	struct actor_id before, after;
	replica_self(n.replica, &before, NULL);

	is_int(keep(&n, &cars, INTEREST_FARTHEST), 0, "it is carried only");
	is_uint(names_in(&n, &cars), 0, "and shown no more");
	is_errno(replica_lookup(n.replica, &cars, A("1.json"), &at), -ENOENT, "nor found");
	is_uint(told.removed, 703, "observers saw everything in it go");
	struct content c = { .data = "{}", .len = 2, .fd = -1 };
	is_errno(replica_create(n.replica, &cars, A("new.json"), 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL),
		 -EROFS, "nothing can be made in it");
	is_errno(replica_remove(n.replica, &cars, 0), -EROFS, "and it cannot be removed, empty as it looks");
	is_int(keep(&n, &cars, INTEREST_SUBSCRIBED), 0, "it is subscribed again");
	ok(names_in(&n, &cars) == 703 && told.created == 703, "and there");

	is_int(keep(&n, &cars, INTEREST_NONE), 0, "it is not kept");
	replica_self(n.replica, &after, NULL);
	ok(actor_id_cmp(&before, &after) != 0, "own changes leave: another incarnation goes on");
	ok(replica_dropping(n.replica, &cars), "its records are here still");
	is_errno(replica_keep(n.replica, &cars, INTEREST_SUBSCRIBED, NULL, NULL), -EBUSY,
		 "it cannot come back before they are gone");
	is_int(replica_drop_step(n.replica, NULL), 1, "a step");
	ok(sound(&n), "the store is sound in between");
	node_flush(&n, NULL);
	replica_unobserve(n.replica, on_change, &told);
	node_crash(&n, 0);
	ok(replica_dropping(n.replica, &cars), "a crash does not stop it");
	ok(drop_all(&n) && !replica_dropping(n.replica, &cars), "until all is gone");
	ok(sound(&n), "the store is sound");
	replica_collection_size(n.replica, &cars, &files, &bytes);
	ok(files == 0 && bytes == 0 && replica_count(n.replica) == all - 704, "nothing of it is left, and all else is");
	is_uint(names_in(&n, &notes), 3, "as it was");
	struct sweep_report swept;
	ok(replica_sweep(n.replica, &swept, NULL) == 0 && swept.deleted >= 1, "its blob's bytes go too");
	is_int(keep(&n, &cars, INTEREST_SUBSCRIBED), 0, "it can be subscribed again");
	node_write(&n, "cars", "1.json", A("{}\n"));
	ok(names_in(&n, &cars) == 1 && sound(&n), "and written to");

	is_int(replica_keep_new(n.replica, false, NULL), 0, "new collections are not kept from now on");
	is_uint(names_in(&n, &notes), 3, "those that are there still are");
	struct attr fresh;
	ok(replica_mkdir(n.replica, &NODE_ROOT, A("fresh"), 0755, &fresh) == 0 &&
		   replica_create(n.replica, &fresh.id, A("a.json"), 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL) == -EROFS,
	   "one that is made is not written to");
	is_int(keep(&n, &fresh.id, INTEREST_SUBSCRIBED), 0, "before it is subscribed");
	is_int(replica_keep_new(n.replica, true, NULL), 0, "and back");
	ok(names_in(&n, &notes) == 3 && sound(&n), "nothing changed by it");
	node_close(&n);
}

/* ---- several devices ---- */

static enum interest_level level(struct node *n, const struct id *scope)
{
	_cleanup_(interests_unrefp) struct interests *x = replica_interests(n->replica);
	return interests_level(x, scope);
}

static void settle(struct node *x, struct node *y)
{
	bool more = true;
	for (int i = 0; more && i < 12; i++) {
		if (!pair_meet(x, y))
			tap_bail("a session failed");
		more = errands(x, true);
		more |= errands(y, true);
	}
	if (more)
		tap_bail("they do not come to an end");
}

static void test_courier(void)
{
	struct node a, b, c, d;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_open(&c, 3, NULL);
	node_open(&d, 4, NULL);
	populate(&a, "cars", 20);
	struct id cars = dir_of(&a, "cars");
	is_int(keep(&b, &cars, INTEREST_NONE), 0, "B keeps nothing of it");
	is_int(keep(&c, &cars, INTEREST_NONE), 0, "nor does C");
	pair_meet(&a, &b);
	is_uint(names_in(&b, &cars), 0, "so nothing comes to B");
	ok(held_by(a.replica, &b.id, &NODE_ROOT) || !held_by(a.replica, &b.id, NULL), "and A does not think so");
	errands(&b, true);
	is_int(level(&b, &cars), INTEREST_CARRIED, "but A wants it, so B carries it");
	settle(&a, &b);
	settle(&b, &c);
	is_int(level(&c, &cars), INTEREST_CARRIED + 1, "and C for A behind B");
	settle(&c, &d);
	char *text = node_read(&d, "cars", "7.json");
	ok(text && strstr(text, "7"), "D, which never met A, gets it");
	free(text);
	is_int(level(&c, &cars), INTEREST_CARRIED, "C carries it for D now");
	ok(!node_read(&b, "cars", "7.json"), "B does not show it");
	node_write(&d, "cars", "back.json", A("{}\n"));
	settle(&d, &c);
	settle(&c, &b);
	settle(&b, &a);
	text = node_read(&a, "cars", "back.json");
	ok(text, "and the way back works as well");
	free(text);

	/* A gives it up; it leaves when somebody who subscribes is known to have it. */
	is_int(keep(&a, &cars, INTEREST_FARTHEST), 0, "A gives it up");
	ok(!replica_held_elsewhere(a.replica, &cars), "what was said before does not count");
	pair_meet(&a, &b);
	ok(!replica_held_elsewhere(a.replica, &cars), "nor does it that a courier has it");
	pair_meet(&a, &d);
	ok(replica_held_elsewhere(a.replica, &cars), "that D has it does");
	is_int(keep(&d, &cars, INTEREST_FARTHEST), 0, "D gives it up as well");
	pair_meet(&a, &d);
	ok(!replica_held_elsewhere(a.replica, &cars) && !replica_held_elsewhere(d.replica, &cars),
	   "two that leave at once do not rely on each other");
	is_int(keep(&d, &cars, INTEREST_SUBSCRIBED), 0, "D keeps it after all");
	settle(&a, &d);
	errands(&a, true);
	is_int(level(&a, &cars), INTEREST_CARRIED, "A carries it for D");
	node_close(&a);
	node_close(&b);
	node_close(&c);
	node_close(&d);
}

static void test_again(void)
{
	struct node a, b;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "cars", "1.json", A("{\n  \"a\": 1\n}\n"));
	pair_meet(&a, &b);
	node_write(&b, "cars", "1.json", A("{\n  \"a\": 1,\n  \"b\": 2\n}\n"));
	struct id cars = dir_of(&b, "cars");
	/* B's change goes nowhere but away; then another one of B's comes behind it. */
	is_int(keep(&b, &cars, INTEREST_NONE), 0, "B drops it with a change that nobody has");
	ok(drop_all(&b), "all of it");
	is_int(keep(&b, &cars, INTEREST_SUBSCRIBED), 0, "and subscribes again");
	node_write(&b, "cars", "2.json", A("{}\n"));
	pair_meet(&a, &b);
	char *x = node_read(&b, "cars", "1.json"), *y = node_read(&a, "cars", "2.json");
	ok(x && strstr(x, "\"a\""), "what A has comes back");
	ok(y, "what B made since goes there");
	free(x);
	free(y);
	pair_meet(&a, &b);
	struct pair p;
	pair_open(&p, &a, &b);
	pair_run(&p);
	ok(!p.failed && p.bytes[0] <= 120 && p.bytes[1] <= 120, "a meeting without news: %d and %d bytes",
	   (int)p.bytes[0], (int)p.bytes[1]);
	is_int(keep(&b, &cars, INTEREST_NONE), 0, "what is kept changes");
	_cleanup_(buf_done) struct buf out = { 0 };
	struct err e = { 0 };
	is_errno(session_output(p.session[1], &out, 1000, p.now, &e), -ESTALE, "the session ends");
	ok(strstr(e.message, "begins anew"), "and says why: %s", e.message);
	pair_close(&p);
	node_close(&a);
	node_close(&b);
}

/* ---- random histories ---- */

#define NODES 3
#define DIRS 2
#define KEYS 4096

struct world {
	struct node node[NODES];
	struct prng r;
	unsigned n_keys;
	unsigned dir_of[KEYS];
};

static const char *const dir_name[DIRS] = { "one", "two" };

/* Adds a key to a document of the collection: none is ever taken away again. */
static void write_key(struct world *w, struct node *n, unsigned dir)
{
	struct id id = dir_of(n, dir_name[dir]);
	_cleanup_(buf_done) struct buf b = { 0 };
	char name[16];
	snprintf(name, sizeof(name), "%u.json", (unsigned)prng_below(&w->r, 4));
	if (w->n_keys == KEYS || !interest_is_shown(level(n, &id)))
		return;
	char *old = node_read(n, dir_name[dir], name);
	buf_putf(&b, "{\n  \"k%u\": %u%s", w->n_keys, w->n_keys, old ? "," : "\n}\n");
	if (old)
		buf_puts(&b, old + 1);
	free(old);
	node_write(n, dir_name[dir], name, b.data, b.len);
	node_flush(n, NULL);
	w->dir_of[w->n_keys++] = dir;
}

static void choose(struct node *n, unsigned dir)
{
	struct id id = dir_of(n, dir_name[dir]);
	enum interest_level now = level(n, &id);
	if (replica_dropping(n->replica, &id))
		return;
	if (interest_is_shown(now))
		keep(n, &id, INTEREST_FARTHEST);
	else
		keep(n, &id, INTEREST_SUBSCRIBED);
}

static bool all_there(struct world *w, struct node *n)
{
	bool all = true;
	for (unsigned d = 0; d < DIRS; d++) {
		_cleanup_(buf_done) struct buf every = { 0 };
		for (unsigned f = 0; f < 4; f++) {
			char name[16];
			snprintf(name, sizeof(name), "%u.json", f);
			char *text = node_read(n, dir_name[d], name);
			buf_puts(&every, text ? text : "");
			free(text);
		}
		buf_u8(&every, 0);
		for (unsigned k = 0; k < w->n_keys; k++) {
			char key[24];
			snprintf(key, sizeof(key), "\"k%u\"", k);
			if (w->dir_of[k] == d && !strstr((char *)every.data, key)) {
				tap_diag("device %d lacks %s of %s", n->id.b[0], key, dir_name[d]);
				all = false;
			}
		}
	}
	return all;
}

static bool history(uint64_t seed)
{
	struct world w = { .r = { seed } };
	bool good = true;
	for (unsigned i = 0; i < NODES; i++)
		node_open(&w.node[i], (uint8_t)(i + 1), NULL);
	for (unsigned d = 0; d < DIRS; d++)
		node_write(&w.node[0], dir_name[d], "0.json", A("{\n  \"k\": 0\n}\n"));
	for (unsigned i = 1; i < NODES; i++)
		good &= pair_meet(&w.node[0], &w.node[i]);
	for (unsigned step = 0; good && step < 120; step++) {
		struct node *n = &w.node[prng_below(&w.r, NODES)], *m = &w.node[prng_below(&w.r, NODES)];
		unsigned dir = (unsigned)prng_below(&w.r, DIRS), event = (unsigned)prng_below(&w.r, 16);
		if (event < 3)
			write_key(&w, n, dir);
		else if (event < 5)
			choose(n, dir);
		else if (event < 8)
			errands(n, prng_below(&w.r, 2));
		else if (event < 9)
			replica_drop_step(n->replica, NULL);
		else if (event < 10)
			good &= drop_all(n);
		else if (event < 11)
			node_crash(n, prng_below(&w.r, 5));
		else if (m != n)
			good &= pair_meet(n, m);
	}
	/* Everybody takes everything; then all of it has to be everywhere. */
	for (unsigned i = 0; good && i < NODES; i++) {
		good &= drop_all(&w.node[i]);
		for (unsigned d = 0; good && d < DIRS; d++) {
			struct id id = dir_of(&w.node[i], dir_name[d]);
			good &= keep(&w.node[i], &id, INTEREST_SUBSCRIBED) == 0;
		}
	}
	for (unsigned k = 0; good && k < 3; k++)
		for (unsigned i = 0; i < NODES; i++)
			for (unsigned j = 0; j < i; j++)
				good &= pair_meet(&w.node[i], &w.node[j]);
	for (unsigned i = 0; good && i < NODES; i++)
		good &= all_there(&w, &w.node[i]) && sound(&w.node[i]);
	for (unsigned i = 0; i < NODES; i++)
		node_close(&w.node[i]);
	if (!good)
		tap_diag("again with: ./tests/unit/test_interest %llu 1", (unsigned long long)seed);
	return good;
}

int main(int argc, char **argv)
{
	tap_plan(argc == 1 ? 66 : 1);
	if (argc == 1) {
		test_list();
		test_alone();
		test_courier();
		test_again();
	}
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 300, bad = 0;
	for (uint64_t i = 0; i < count; i++)
		bad += !history(seed + i);
	is_uint(bad, 0, "random histories in which something is lost or wrong");
	return tap_done();
}
