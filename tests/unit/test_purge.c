/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was deleted long ago is purged, for good, and nothing that was changed elsewhere is lost by that
 * (shoal-format(7), "Purging"). The laws of the join: test_laws; what a peer may say: test_purge_delta. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/moment.h"
#include "engine/purge.h"
#include "engine/purged.h"
#include "engine/slot.h"
#include "engine/stored.h"
#include "tests/device.h"
#include "tests/pair.h"

#define A(text) text, sizeof(text) - 1
#define DAY (24 * 3600 * UINT64_C(1000000))
#define HORIZON (180 * DAY)

static bool meet(struct node *x, struct node *y)
{
	if (x->now < y->now)
		x->now = y->now;
	y->now = x->now;
	return pair_meet(x, y);
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

static struct attr find(struct node *n, const char *dir, const char *name)
{
	struct attr at = { .id = NODE_ROOT };
	if ((dir && replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &at) < 0) ||
	    (name && replica_lookup(n->replica, &at.id, name, strlen(name), &at) < 0))
		return (struct attr){ 0 };
	return at;
}

static bool is(struct node *n, const char *dir, const char *name, const struct id *id)
{
	struct attr at = find(n, dir, name);
	return id_equal(&at.id, id);
}

static struct id drop(struct node *n, const char *dir, const char *name)
{
	struct attr at = find(n, dir, name);
	if (replica_remove(n->replica, &at.entry, 0) < 0)
		tap_bail("cannot remove %s", name);
	return at.id;
}

static uint32_t purge(struct node *n, struct id id)
{
	uint32_t looked, purged;
	struct err e = { 0 };
	if (replica_purge(n->replica, &id, 1, &looked, &purged, &e) < 0)
		tap_bail("cannot purge: %s", e.message);
	return purged;
}

static void drop_and_purge(struct node *n, const char *dir, const char *name)
{
	if (purge(n, drop(n, dir, name)) != 1)
		tap_bail("%s is not purged", name);
}

static bool has(struct node *n, const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *is = node_read(n, dir, name);
	bool good = text ? is && strcmp(is, text) == 0 : !is;
	if (!good)
		tap_diag("%s is %s", name, is ? is : "not there");
	return good;
}

struct counting {
	unsigned files;
	char names[300];
};

static int count_one(const char *name, size_t len, const struct attr *at, void *userdata)
{
	struct counting *c = userdata;
	size_t n = strlen(c->names);
	c->files += at->kind != NODE_DIR;
	snprintf(c->names + n, sizeof(c->names) - n, "%s%.*s", n ? " " : "", (int)len, name);
	return 0;
}

/* All names of a directory. */
static bool lists(struct node *n, const char *dir, const char *names)
{
	struct counting c = { 0 };
	struct attr at = find(n, dir, NULL);
	if (replica_list(n->replica, &at.id, count_one, &c) < 0)
		tap_bail("cannot list");
	if (strcmp(c.names, names) != 0)
		tap_diag("there is: %s", c.names);
	return strcmp(c.names, names) == 0;
}

struct mesh {
	struct node a, b, c;
};

/* All of them have the file. */
static void mesh_open(struct mesh *m, const char *name, const void *data, size_t len)
{
	node_open(&m->a, 1, NULL);
	node_open(&m->b, 2, NULL);
	node_open(&m->c, 3, NULL);
	node_write(&m->a, "d", name, data, len);
	if (!meet(&m->a, &m->b) || !meet(&m->a, &m->c))
		tap_bail("they do not meet");
}

static bool mesh_close(struct mesh *m)
{
	struct node *n[] = { &m->a, &m->b, &m->c };
	bool good = true;
	for (int i = 0; i < 2; i++)
		good &= meet(&m->a, &m->b) && meet(&m->b, &m->c) && meet(&m->a, &m->c);
	for (int i = 0; i < 3; i++) {
		good &= sound(n[i]);
		for (int k = 0; k < i; k++) {
			struct pair p;
			pair_open(&p, n[i], n[k]);
			pair_run(&p);
			good &= !p.failed;
			pair_close(&p);
		}
	}
	for (int i = 0; i < 3; i++)
		node_close(n[i]);
	return good;
}

static bool everywhere(struct mesh *m, const char *names)
{
	return lists(&m->a, "d", names) && lists(&m->b, "d", names) && lists(&m->c, "d", names);
}

static void test_gone(void)
{
	struct mesh m;
	mesh_open(&m, "x.json", A("{\"a\": 1}\n"));
	struct id x = find(&m.a, "d", "x.json").id;
	is_uint(purge(&m.a, x), 0, "what lives is not purged");
	drop(&m.a, "d", "x.json");
	is_uint(purge(&m.a, x), 1, "what is deleted is");
	is_uint(purge(&m.a, x), 0, "once");
	struct err e = { 0 };
	is_int(replica_undelete(m.a.replica, &x, NULL, NULL, 0, &e), -ENOENT, "it cannot be brought back: %s", e.message);
	_cleanup_(arena_done) struct arena a = { 0 };
	struct deleted *all;
	uint32_t n;
	ok(replica_deleted(m.a.replica, &a, &all, &n) == 0 && n == 0, "and is listed no more");
	ok(sound(&m.a), "the store is sound");
	ok(meet(&m.a, &m.b) && has(&m.b, "d", "x.json", NULL), "who had it lets it go");
	ok(meet(&m.b, &m.c) && has(&m.c, "d", "x.json", NULL), "and tells others");
	node_write(&m.c, "d", "x.json", A("{\"new\": 1}\n"));
	ok(!is(&m.c, "d", "x.json", &x), "another file of that name is another one");
	ok(mesh_close(&m), "all is well");
}

struct kind {
	const char *name, *before, *after;
};

static const struct kind kinds[] = {
	{ "x.json", "{\"a\": 1}\n", "{\"a\": 1, \"b\": 2}\n" },
	{ "x.txt", "one\ntwo\n", "one\ntwo\nthree\n" },
	{ "x.bin", "some bytes", "other bytes" },
	{ "bad.json", "not\nJSON\n", "not\nJSON\neither\n" },
};

static void test_late(const struct kind *k)
{
	struct mesh m;
	/* One changed it. */
	mesh_open(&m, k->name, k->before, strlen(k->before));
	drop_and_purge(&m.a, "d", k->name);
	node_write(&m.b, "d", k->name, k->after, strlen(k->after));
	int64_t mtime = find(&m.b, "d", k->name).mtime_ns;
	struct id was = find(&m.b, "d", k->name).id;
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, k->name) && has(&m.a, "d", k->name, k->after) &&
		   has(&m.b, "d", k->name, k->after) && has(&m.c, "d", k->name, k->after),
	   "%s: what one device changed is kept", k->name);
	ok(find(&m.a, "d", k->name).mtime_ns == mtime && find(&m.b, "d", k->name).mtime_ns == mtime,
	   "with the time of that change");
	ok(!is(&m.b, "d", k->name, &was), "as another file");
	ok(mesh_close(&m), "all is well");
	/* Two have the same change of it, and hear of the purge apart. */
	mesh_open(&m, k->name, k->before, strlen(k->before));
	node_write(&m.b, "d", k->name, k->after, strlen(k->after));
	struct id id = find(&m.a, "d", k->name).id;
	drop(&m.a, "d", k->name);
	struct node other;
	node_open(&other, 4, NULL);
	if (!meet(&m.b, &m.c) || purge(&m.a, id) != 1 || !meet(&m.a, &other))
		tap_bail("no purge");
	ok(meet(&m.a, &m.b), "one hears of it");
	/* From a device that knows nothing of the first. */
	ok(meet(&other, &m.c) && has(&m.c, "d", k->name, k->after), "so does the other");
	node_close(&other);
	ok(meet(&m.b, &m.c) && meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, k->name) &&
		   has(&m.a, "d", k->name, k->after) && has(&m.b, "d", k->name, k->after),
	   "and they have one file");
	ok(mesh_close(&m), "all is well");
}

static void test_moved(void)
{
	struct mesh m;
	mesh_open(&m, "x.txt", A("text\n"));
	drop_and_purge(&m.a, "d", "x.txt");
	struct attr at = find(&m.b, "d", "x.txt"), dir = find(&m.b, "d", NULL);
	if (replica_rename(m.b.replica, &at.id, &dir.id, A("y.txt"), 0, NULL) < 0)
		tap_bail("cannot rename");
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "y.txt") && has(&m.a, "d", "y.txt", "text\n"),
	   "what was renamed is kept under its new name");
	ok(mesh_close(&m), "all is well");
	/* Its mode alone is no reason. */
	mesh_open(&m, "x.txt", A("text\n"));
	drop_and_purge(&m.a, "d", "x.txt");
	at = find(&m.b, "d", "x.txt");
	replica_set_mode(m.b.replica, &at.id, 0600);
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, ""), "its mode is not worth it");
	ok(mesh_close(&m), "all is well");
	/* Brought back by who does not know that it is purged. */
	mesh_open(&m, "x.txt", A("text\n"));
	struct id id = drop(&m.a, "d", "x.txt");
	struct err e = { 0 };
	if (!meet(&m.a, &m.b) || replica_undelete(m.b.replica, &id, NULL, NULL, 0, &e) < 0 || purge(&m.a, id) != 1)
		tap_bail("cannot bring back: %s", e.message);
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "x.txt") && has(&m.a, "d", "x.txt", "text\n"),
	   "what was brought back meanwhile stays");
	ok(mesh_close(&m), "all is well");
}

static void keep(struct node *n, unsigned level, const char *where)
{
	struct err e = { 0 };
	struct id scope = find(n, "d", NULL).id;
	if (replica_keep(n->replica, &scope, level, where, &e) < 0)
		tap_bail("cannot keep: %s", e.message);
}

/* A device that nobody reads at keeps what was changed as well. */
static void test_carried(void)
{
	struct mesh m;
	/* b keeps all and shows nothing, c what a filter picks. */
	mesh_open(&m, "x.json", A("{\"n\": 1}\n"));
	keep(&m.b, INTEREST_CARRIED, NULL);
	keep(&m.c, INTEREST_FILTERED, "n < 50");
	node_write(&m.c, "d", "x.json", A("{\"n\": 7}\n"));
	drop_and_purge(&m.a, "d", "x.json");
	ok(meet(&m.a, &m.b) && meet(&m.b, &m.c) && meet(&m.b, &m.c) && meet(&m.b, &m.c) &&
		   has(&m.c, "d", "x.json", "{\"n\": 7}\n"),
	   "a part keeps what was changed in it, by way of who only carries");
	ok(meet(&m.a, &m.b) && has(&m.a, "d", "x.json", "{\"n\": 7}\n"), "and others get it");
	keep(&m.b, INTEREST_SUBSCRIBED, NULL);
	keep(&m.c, INTEREST_SUBSCRIBED, NULL);
	ok(mesh_close(&m), "all is well");
	/* It is given up after it was changed. */
	mesh_open(&m, "x.txt", A("one\n"));
	keep(&m.b, INTEREST_CARRIED, NULL);
	node_write(&m.c, "d", "x.txt", A("one\ntwo\n"));
	keep(&m.c, INTEREST_FARTHEST, NULL);
	drop_and_purge(&m.a, "d", "x.txt");
	ok(meet(&m.a, &m.b) && meet(&m.b, &m.c), "a change of what was given up then");
	node_close(&m.c);
	node_open(&m.c, 4, NULL);
	ok(meet(&m.a, &m.b) && has(&m.a, "d", "x.txt", "one\ntwo\n"), "is kept though its author is lost");
	keep(&m.b, INTEREST_SUBSCRIBED, NULL);
	ok(meet(&m.b, &m.c) && mesh_close(&m), "all is well");
	/* The only one that has it carries it. */
	mesh_open(&m, "x.txt", A("one\n"));
	keep(&m.b, INTEREST_CARRIED, NULL);
	node_write(&m.c, "d", "x.txt", A("one\ntwo\n"));
	struct pair p;
	drop_and_purge(&m.a, "d", "x.txt");
	bool met = meet(&m.b, &m.c);
	node_close(&m.c);
	node_open(&m.c, 4, NULL);
	/* It hears of the purge and of nothing after that. */
	pair_open(&p, &m.a, &m.b);
	pair_run(&p);
	met &= !p.failed;
	pair_close(&p);
	node_close(&m.a);
	node_open(&m.a, 5, NULL);
	keep(&m.b, INTEREST_SUBSCRIBED, NULL);
	ok(met && has(&m.b, "d", "x.txt", "one\ntwo\n"), "so is one that only a device has that carries it");
	ok(meet(&m.b, &m.c) && meet(&m.a, &m.b) && mesh_close(&m), "all is well");
}

/* The change comes to who has purged already; the directory is deleted, too. */
static void test_theirs(void)
{
	struct mesh m;
	mesh_open(&m, "x.txt", A("text\n"));
	node_write(&m.b, "d", "x.txt", A("text\nmore\n"));
	struct id id = drop(&m.a, "d", "x.txt"), dir = find(&m.a, "d", NULL).id;
	if (replica_remove(m.a.replica, &dir, 0) < 0 || purge(&m.a, id) != 1)
		tap_bail("no purge");
	ok(meet(&m.a, &m.c) && find(&m.c, "d", NULL).kind == 0, "file and directory are gone");
	/* It goes by way of c, which has nothing of it any more, and its author is lost then. */
	ok(meet(&m.b, &m.c) && has(&m.c, "d", "x.txt", "text\nmore\n"), "a change brings the directory back");
	node_close(&m.b);
	node_open(&m.b, 4, NULL);
	ok(meet(&m.c, &m.a) && meet(&m.a, &m.b) && has(&m.a, "d", "x.txt", "text\nmore\n") &&
		   has(&m.b, "d", "x.txt", "text\nmore\n"), "and is kept though its author is lost");
	ok(mesh_close(&m), "all is well");
}

static void test_apart(void)
{
	struct mesh m;
	/* Two changes that did not know of each other. */
	mesh_open(&m, "x.json", A("{\"a\": 1}\n"));
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.b, "d", "x.json", A("{\"a\": 1, \"b\": 2}\n"));
	node_write(&m.c, "d", "x.json", A("{\"a\": 1, \"c\": 3}\n"));
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && meet(&m.a, &m.b), "two changed a document");
	_cleanup_free_ char *text = node_read(&m.b, "d", "x.json");
	ok(everywhere(&m, "x.json") && text && strstr(text, "\"b\": 2") && strstr(text, "\"c\": 3"), "it is one, with both");
	ok(mesh_close(&m), "all is well");
	mesh_open(&m, "x.txt", A("one\n"));
	drop_and_purge(&m.a, "d", "x.txt");
	node_write(&m.b, "d", "x.txt", A("one\nb\n"));
	node_write(&m.c, "d", "x.txt", A("one\nc\n"));
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && meet(&m.a, &m.b), "two changed a text");
	struct counting c = { 0 };
	struct attr dir = find(&m.a, "d", NULL);
	replica_list(m.a.replica, &dir.id, count_one, &c);
	is_uint(c.files, 2, "there are two, and nothing is doubled");
	ok(everywhere(&m, c.names), "everywhere");
	ok(mesh_close(&m), "all is well");
	/* Purged, made anew, changed, purged again. */
	mesh_open(&m, "x.json", A("{\"a\": 1}\n"));
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.a, "d", "x.json", A("{\"b\": 2}\n"));
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.b, "d", "x.json", A("{\"a\": 5}\n"));
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "x.json") && has(&m.c, "d", "x.json", "{\"a\": 5}\n"),
	   "a change of what was purged twice is kept");
	drop_and_purge(&m.c, "d", "x.json");
	ok(meet(&m.a, &m.c) && meet(&m.a, &m.b) && everywhere(&m, ""), "until that is deleted");
	ok(mesh_close(&m), "all is well");
}

/* Two devices take from a declared counter, and both write down what they have. */
static void test_counter(void)
{
	struct mesh m;
	mesh_open(&m, "x.json", A("{\"stock\": 10}\n"));
	struct id dir = find(&m.a, "d", NULL).id;
	if (replica_declare(m.a.replica, &dir, A("/stock"), "counter", NULL) < 0 || !meet(&m.a, &m.b) || !meet(&m.a, &m.c))
		tap_bail("cannot declare");
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.b, "d", "x.json", A("{\"stock\": 9}\n"));
	node_write(&m.c, "d", "x.json", A("{\"stock\": 9}\n"));
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && meet(&m.a, &m.b), "two counted");
	struct counting c = { 0 };
	dir = find(&m.a, "d", NULL).id;
	replica_list(m.a.replica, &dir, count_one, &c);
	is_uint(c.files, 2, "and no step is lost: %s", c.names);
	ok(mesh_close(&m), "all is well");
}

/* A peer used up the counters of the document that a late change should become. */
static void test_spent(void)
{
	struct mesh m;
	struct record *r;
	_cleanup_(arena_done) struct arena arena = { 0 };
	_cleanup_(buf_done) struct buf is = { 0 }, b = { 0 };
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	mesh_open(&m, "x.json", A("{\"a\": 1}\n"));
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.a, "d", "x.json", A("{\"a\": 2}\n"));
	struct id id = drop(&m.a, "d", "x.json");
	if (store_get(m.a.store, NULL, STORE_DOCS, id.b, ID_SIZE, &is) < 0 || is.data[1] != 0 ||
	    record_decode(&arena, replica_actors(m.a.replica), is.data + 2, is.len - 2, &r, NULL) < 0 ||
	    store_batch_new(&batch) < 0)
		tap_bail("no record");
	r->edge[0].counter = EDGE_PURGED - 1;
	buf_put(&b, is.data, 2);
	record_encode(r, replica_actors(m.a.replica), &b);
	store_put(batch, STORE_DOCS, id.b, ID_SIZE, b.data, b.len);
	if (store_write(m.a.store, batch, NULL) < 0)
		tap_bail("cannot write");
	node_write(&m.b, "d", "x.json", A("{\"a\": 1, \"b\": 2}\n"));
	ok(meet(&m.a, &m.b) && has(&m.a, "d", "x.json", "{\"a\": 1, \"b\": 2}\n"), "a late change passes over what nothing comes after");
	drop(&m.a, "d", "x.json");
	node_write(&m.a, "d", "x.json", A("{\"c\": 3}\n"));
	ok(has(&m.a, "d", "x.json", "{\"c\": 3}\n"), "so does a new file");
	ok(mesh_close(&m), "all is well");
}

/* What lost is still listed. */
static void test_conflict(void)
{
	struct mesh m;
	mesh_open(&m, "x.bin", A("bytes"));
	node_write(&m.b, "d", "x.bin", A("of b"));
	node_write(&m.c, "d", "x.bin", A("of c"));
	drop_and_purge(&m.a, "d", "x.bin");
	ok(meet(&m.b, &m.c) && find(&m.b, "d", "x.bin").conflict, "a conflict");
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "x.bin") && find(&m.a, "d", "x.bin").conflict &&
		   find(&m.c, "d", "x.bin").conflict, "outlives a purge");
	ok(mesh_close(&m), "all is well");
}

/* The record of that node, as it is stored. */
static const struct record *record_of(struct node *n, struct arena *a, const struct id *id)
{
	struct stored s;
	if (stored_get(n->replica, NULL, a, id, &s, NULL) < 0)
		tap_bail("no record");
	return s.record;
}

static void write_large(struct node *n, char fill)
{
	char bytes[400];
	memset(bytes, fill, sizeof(bytes));
	node_write(n, "d", "x.bin", bytes, sizeof(bytes));
}

static void test_bytes_gone(void)
{
	struct mesh m;
	struct sweep_report report;
	mesh_open(&m, "x.bin", A("bytes"));
	replica_set_eager(m.b.replica, 100);
	replica_set_eager(m.c.replica, 100);
	write_large(&m.a, 'x');
	node_write(&m.c, "d", "x.bin", A("of c"));
	ok(meet(&m.a, &m.b) && meet(&m.b, &m.c) && find(&m.c, "d", "x.bin").conflict &&
		   replica_absents(m.c.replica) == 1, "a conflict, and bytes that are with who wrote them");
	node_write(&m.a, "d", "x.bin", A("later"));
	drop_and_purge(&m.a, "d", "x.bin");
	ok(replica_sweep(m.a.replica, &report, NULL) == 0 && report.deleted > 0, "who purges them lets them go");
	ok(meet(&m.a, &m.c) && has(&m.c, "d", "x.bin", "of c") && has(&m.a, "d", "x.bin", "of c"),
	   "what the purge did not know is kept");
	ok(!find(&m.a, "d", "x.bin").conflict && !find(&m.c, "d", "x.bin").conflict &&
		   replica_absents(m.a.replica) == 0 && replica_absents(m.c.replica) == 0,
	   "and nothing refers to bytes that nobody has");
	ok(mesh_close(&m), "all is well");
}

/* Two heard of purges that knew different things, and made the same file of what they had. */
static void test_bytes_known(void)
{
	struct mesh m;
	struct node d;
	mesh_open(&m, "x.bin", A("bytes"));
	node_open(&d, 4, NULL);
	ok(meet(&m.a, &d), "four have a file");
	drop_and_purge(&m.b, "d", "x.bin");
	write_large(&m.a, 'x');
	node_write(&m.c, "d", "x.bin", A("of c"));
	ok(meet(&m.a, &d) && meet(&d, &m.c) && find(&m.c, "d", "x.bin").conflict && find(&d, "d", "x.bin").conflict,
	   "two of them with what two others have changed");
	node_write(&m.a, "d", "x.bin", A("later"));
	drop_and_purge(&m.a, "d", "x.bin");
	ok(meet(&m.a, &m.c) && !find(&m.c, "d", "x.bin").conflict, "one hears of a purge that knew one of the changes");
	ok(meet(&m.b, &d) && find(&d, "d", "x.bin").conflict, "the other one of another that knew none");
	const struct id heir = find(&m.c, "d", "x.bin").id;
	ok(is(&d, "d", "x.bin", &heir) && meet(&m.c, &d) && is(&d, "d", "x.bin", &heir), "they make one file");
	ok(!find(&d, "d", "x.bin").conflict && has(&d, "d", "x.bin", "of c") && has(&m.c, "d", "x.bin", "of c"),
	   "without what one of the purges knew");
	ok(meet(&m.b, &d) && !find(&m.b, "d", "x.bin").conflict && everywhere(&m, "x.bin"), "everywhere");
	ok(sound(&d) && mesh_close(&m), "all is well");
	node_close(&d);
}

static void test_bytes_elsewhere(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct mesh m;
	mesh_open(&m, "x.bin", A("bytes"));
	const struct id was = find(&m.a, "d", "x.bin").id;
	drop_and_purge(&m.a, "d", "x.bin");
	replica_set_eager(m.a.replica, 100);
	replica_set_eager(m.c.replica, 100);
	write_large(&m.b, 'x');
	ok(meet(&m.b, &m.c) && replica_absents(m.c.replica) == 1, "who hears of a purge may not have the bytes");
	ok(meet(&m.a, &m.c) && lists(&m.a, "d", "x.bin") && lists(&m.c, "d", "x.bin"), "it is another file then");
	const struct record *purged = record_of(&m.c, &a, &was), *theirs = record_of(&m.b, &a, &was);
	ok(record_is_purged(purged) && !record_is_purged(theirs) && record_has_news(theirs, record_purge_seen(purged)),
	   "who has them is not told that this is done");
	const struct id heir = find(&m.c, "d", "x.bin").id;
	ok(meet(&m.c, &m.b) && is(&m.b, "d", "x.bin", &heir) && replica_absents(m.b.replica) == 0,
	   "and keeps them, as the same file");
	ok(mesh_close(&m), "all is well");
}

static void test_links(void)
{
	struct mesh m;
	struct attr at;
	mesh_open(&m, "x.txt", A("text\n"));
	drop_and_purge(&m.a, "d", "x.txt");
	at = find(&m.b, "d", "x.txt");
	struct attr dir = find(&m.b, "d", NULL);
	if (replica_link(m.b.replica, &at.id, &dir.id, A("y.txt"), NULL) < 0)
		tap_bail("cannot link");
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "x.txt y.txt") && has(&m.a, "d", "y.txt", "text\n") &&
		   has(&m.c, "d", "x.txt", "text\n"), "a file that got a second name keeps both");
	at = find(&m.c, "d", "x.txt");
	struct attr other = find(&m.c, "d", "y.txt");
	ok(id_equal(&at.id, &other.id), "and is one file still");
	struct id id = drop(&m.c, "d", "x.txt");
	drop(&m.c, "d", "y.txt");
	is_uint(purge(&m.c, id), 0, "it is not purged itself");
	ok(mesh_close(&m), "all is well");
	/* It got it where only a part is kept, and the other device has purged it. */
	mesh_open(&m, "x.json", A("{\"n\": 1}\n"));
	keep(&m.b, INTEREST_FILTERED, "n < 50");
	drop_and_purge(&m.a, "d", "x.json");
	node_write(&m.b, "d", "x.json", A("{\"n\": 2}\n"));
	at = find(&m.b, "d", "x.json");
	dir = find(&m.b, "d", NULL);
	if (replica_link(m.b.replica, &at.id, &dir.id, A("y.json"), NULL) < 0)
		tap_bail("cannot link");
	ok(meet(&m.a, &m.b) && meet(&m.a, &m.b) && meet(&m.a, &m.b) && lists(&m.a, "d", "x.json y.json") &&
		   has(&m.a, "d", "y.json", "{\"n\": 2}\n") && lists(&m.b, "d", "x.json y.json"),
	   "so does one of a part");
	keep(&m.b, INTEREST_SUBSCRIBED, NULL);
	ok(mesh_close(&m), "all is well");
	/* A symbolic one. */
	mesh_open(&m, "z.txt", A("text\n"));
	dir = find(&m.a, "d", NULL);
	if (replica_symlink(m.a.replica, &dir.id, A("s"), "target", &at) < 0 || !meet(&m.a, &m.b))
		tap_bail("cannot link");
	drop_and_purge(&m.a, "d", "s");
	if (replica_rename(m.b.replica, &at.id, &dir.id, A("t"), 0, NULL) < 0)
		tap_bail("cannot rename");
	_cleanup_(buf_done) struct buf target = { 0 };
	bool all = meet(&m.a, &m.b) && meet(&m.a, &m.c) && everywhere(&m, "t z.txt");
	at = find(&m.c, "d", "t");
	ok(all && replica_readlink(m.c.replica, &at.id, &target) == 0 && target.len == 6,
	   "a symbolic link that was renamed is kept");
	ok(mesh_close(&m), "all is well");
}

/* ---- when ---- */

static uint64_t walk(struct node *n)
{
	const struct history_policy policy = { .keep_us = 30 * DAY, .bytes = UINT64_MAX, .purge = true };
	struct history_walk h = { 0 };
	struct purge_walk w = { 0 };
	struct err e = { 0 };
	int r;
	while ((r = replica_history_thin(n->replica, &policy, &h, &e)) > 0)
		;
	while (r == 0 && (r = replica_purge_old(n->replica, HORIZON, &w, &e)) > 0)
		r = 0;
	if (r < 0)
		tap_bail("purge: %s", e.message);
	return w.purged;
}

static uint64_t days(struct node *n, unsigned count)
{
	uint64_t purged = 0;
	for (unsigned i = 0; i < count; i++) {
		n->now += DAY;
		purged += walk(n);
	}
	return purged;
}

static void test_when(void)
{
	struct node a, b;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 600; i++) {
		char name[16], text[40];
		snprintf(name, sizeof(name), "%u.json", i);
		int len = snprintf(text, sizeof(text), "{\"n\": %u}\n", i);
		node_write(&a, "d", name, text, (size_t)len);
	}
	if (!meet(&a, &b))
		tap_bail("they do not meet");
	for (unsigned i = 0; i < 600; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u.json", i);
		drop(&a, "d", name);
	}
	if (!meet(&a, &b))
		tap_bail("they do not meet");
	is_uint(days(&a, 179), 0, "nothing is purged before it is due");
	is_uint(days(&a, 3), 600, "and then all of it, by who deleted it");
	is_uint(days(&a, 3), 0, "once");
	b.now = a.now;
	is_uint(days(&b, 30), 0, "others wait");
	is_uint(days(&b, 20), 600, "but not for ever");
	ok(meet(&a, &b), "both did it, and meet");
	is_uint(days(&a, 100) + days(&b, 100), 0, "there is nothing left to do");
	/* It was switched off for a year. */
	struct node off;
	node_open(&off, 3, NULL);
	node_write(&off, "d", "x.txt", A("text\n"));
	drop(&off, "d", "x.txt");
	off.now += 400 * DAY;
	is_uint(walk(&off), 1, "what was deleted a year ago, before the device was switched off, is purged");
	node_close(&off);
	ok(sound(&a) && sound(&b), "both are sound");
	node_close(&a);
	node_close(&b);
}

/* Who saw it live is gone before it is due. */
static void test_came_dead(void)
{
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct node a, b;
	struct deleted *list;
	uint32_t n = 0;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "d", "x.json", A("{\"n\": 1}\n"));
	struct id id = drop(&a, "d", "x.json");
	if (!meet(&a, &b))
		tap_bail("they do not meet");
	node_close(&a);
	ok(replica_deleted(b.replica, &arena, &list, &n) == 0 && n == 1 && id_equal(&list[0].id, &id),
	   "what was deleted before it came is listed");
	struct moment *then;
	struct attr at, dir = find(&b, "d", NULL);
	b.now += DAY;
	must(moment_new(b.replica, b.now - DAY - 1, &then));
	is_int(moment_lookup(then, &dir.id, "x.json", 6, &at), -ENOENT, "but was never there");
	moment_free(then);
	is_uint(days(&b, 223), 0, "it is not purged before others would");
	is_uint(days(&b, 3), 1, "and then it is");
	ok(replica_deleted(b.replica, &arena, &list, &n) == 0 && n == 0 && sound(&b), "and that is that");
	node_close(&b);
}

/* ---- versions, damage ---- */

static void test_store(void)
{
	struct node a;
	struct verify_report report;
	node_open(&a, 1, NULL);
	for (unsigned i = 0; i < 3; i++) {
		char text[40];
		int len = snprintf(text, sizeof(text), "{\"n\": %u}\n", i);
		a.now += DAY;
		node_write(&a, "d", "x.json", text, (size_t)len);
	}
	struct id id = drop(&a, "d", "x.json");
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct past *past;
	uint32_t n;
	ok(replica_history(a.replica, &id, &arena, &past, &n) == 0 && n == 3, "a deleted file has its versions");
	is_uint(purge(&a, id), 1, "it is purged");
	is_int(replica_history(a.replica, &id, &arena, &past, &n), -ENOENT, "they are gone");
	struct moment *then;
	struct attr dir = find(&a, "d", NULL), at;
	if (moment_new(a.replica, a.now - DAY / 2, &then) < 0)
		tap_bail("no moment");
	is_int(moment_lookup(then, &dir.id, A("x.json"), &at), -ENOENT, "nor is it in the tree as it was");
	moment_free(then);
	/* Somebody's mistake left content in it. */
	struct record *bad;
	_cleanup_(buf_done) struct buf b = { 0 }, is = { 0 };
	_cleanup_(store_batch_freep) struct store_batch *batch = NULL;
	struct slot content = { .key = "c", .key_len = 1 }, top = { .child = (struct slot *[]){ &content }, .n = 1 };
	if (store_get(a.store, NULL, STORE_DOCS, id.b, ID_SIZE, &is) < 0 || is.data[1] != 0 ||
	    record_decode(&arena, replica_actors(a.replica), is.data + 2, is.len - 2, &bad, NULL) < 0 ||
	    store_batch_new(&batch) < 0)
		tap_bail("no record");
	struct entry entry = { .dot = bad->edge[0].dot, .hlc = 1u << 20, .value = { .kind = VALUE_TRUE } };
	content.val = (struct reg){ &entry, 1 };
	bad->top = &top;
	buf_u8(&b, 1);
	buf_u8(&b, 0);
	record_encode(bad, replica_actors(a.replica), &b);
	store_put(batch, STORE_DOCS, id.b, ID_SIZE, b.data, b.len);
	if (store_write(a.store, batch, NULL) < 0)
		tap_bail("cannot write");
	ok(replica_verify(a.replica, false, NULL, NULL, &report, NULL) == 0 && report.errors == 1,
	   "content in a purged record is an error");
	ok(replica_verify(a.replica, true, problem, NULL, &report, NULL) == 0 && report.repaired == 1, "it is taken out");
	ok(sound(&a), "and that is that");
	node_close(&a);
}

static unsigned rows(struct node *n, enum store_family family, const char *prefix)
{
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	_cleanup_(buf_done) struct buf end = { 0 };
	unsigned count = 0;
	store_prefix_end(prefix, strlen(prefix), &end);
	if (buf_failed(&end) || store_iter_new(n->store, NULL, family, prefix, strlen(prefix), end.data, end.len, &it) < 0)
		tap_bail("no rows");
	for (; store_iter_valid(it); store_iter_next(it))
		count++;
	return count;
}

static void test_rows(void)
{
	struct mesh m;
	mesh_open(&m, "x.bin", A("bytes"));
	struct id x = find(&m.a, "d", "x.bin").id;
	replica_note_read(m.a.replica, &x);
	replica_note_read(m.b.replica, &x);
	ok(rows(&m.a, STORE_LOCAL, "read/") == 1 && rows(&m.b, STORE_LOCAL, "read/") == 1, "it is noted when a file was read");
	drop_and_purge(&m.a, "d", "x.bin");
	is_uint(rows(&m.a, STORE_LOCAL, "read/"), 0, "until it is purged");
	ok(meet(&m.a, &m.b) && rows(&m.b, STORE_LOCAL, "read/") == 0, "who hears of a purge forgets it as well");
	ok(mesh_close(&m), "all is well");
}

int main(void)
{
	tap_plan(4 + 10 + 8 + 8 * 4 + 6 + 4 + 10 + 3 + 6 + 7 + 8 + 2 + 1 + 3 + 3 + 5 + 5 + 8 + 5);
	test_gone();
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		test_late(&kinds[i]);
	test_moved();
	test_carried();
	test_theirs();
	test_apart();
	test_counter();
	test_spent();
	test_conflict();
	test_bytes_gone();
	test_bytes_known();
	test_bytes_elsewhere();
	test_links();
	test_when();
	test_came_dead();
	test_store();
	test_rows();
	return tap_done();
}
