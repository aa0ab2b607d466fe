/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters in documents: what is added on several devices adds up. */

#include <errno.h>
#include <inttypes.h>

#include "tests/meeting.h"

static void declare_on(struct rep *d, const char *pointer, const char *type)
{
	struct err e = { 0 };
	if (replica_declare(d->r, &dir.id, pointer, strlen(pointer), type, &e) < 0)
		tap_bail("declare %s: %s", pointer, e.message);
}

static void declare(const char *pointer, const char *type)
{
	declare_on(&p, pointer, type);
	send(&p, &q, &dir.id);
}

/* A name of its own for each. */
static struct id begin_json(const char *text)
{
	static unsigned n;
	char name[16];
	snprintf(name, sizeof(name), "c%u.json", n++);
	return begin(name, text);
}

static bool in_conflict(const struct id *id)
{
	struct attr at;
	return replica_attr(p.r, id, &at) < 0 || at.conflict;
}

struct example {
	const char *before, *one, *other, *both, *what;
};

static void test_sums(void)
{
	static const struct example ex[] = {
		{ "{\"stock\": 10}\n", "{\"stock\": 7}\n", "{\"stock\": 9}\n", "{\"stock\": 6}\n",
		  "what two take off comes off in full" },
		{ "{\"stock\": 10}\n", "{\"stock\": 9}\n", "{\"stock\": 9}\n", "{\"stock\": 8}\n",
		  "be it the same" },
		{ "{\"stock\": 0.1}\n", "{\"stock\": 0.3}\n", "{\"stock\": 1e2}\n",
		  "{\"stock\": 100.2}\n", "as decimals" },
		{ "{\"stock\": 18446744073709551615}\n", "{\"stock\": 18446744073709551616}\n",
		  "{\"stock\": 18446744073709551617}\n", "{\"stock\": 18446744073709551618}\n",
		  "of any size" },
		{ "{\"stock\": 1, \"of\": {\"stock\": 1}}\n", "{\"stock\": 2, \"of\": {\"stock\": 1}}\n",
		  "{\"stock\": 1, \"of\": {\"stock\": 3}}\n", "{\"stock\": 2, \"of\": {\"stock\": 3}}\n",
		  "what is declared for one place counts there alone" },
		{ "{\"cars\": [{\"id\": 1, \"km\": 5}, {\"id\": 2, \"km\": 5}]}\n",
		  "{\"cars\": [{\"id\": 2, \"km\": 8}, {\"id\": 1, \"km\": 6}]}\n",
		  "{\"cars\": [{\"id\": 1, \"km\": 7}, {\"id\": 2, \"km\": 9}]}\n",
		  "{\"cars\": [{\"id\": 2, \"km\": 12}, {\"id\": 1, \"km\": 8}]}\n", "in elements" },
	};
	declare("/stock", "counter");
	declare("/cars/*/km", "counter");
	for (size_t i = 0; i < sizeof(ex) / sizeof(*ex); i++) {
		struct id id = begin_json(ex[i].before);
		edit(&p, &id, ex[i].one);
		edit(&q, &id, ex[i].other);
		meet(&id);
		ok(shows(&id, ex[i].both) && !in_conflict(&id), "%s", ex[i].what);
	}
}

static void test_bytes(void)
{
	struct id id = begin_json("{\"stock\":   10.50}\n");
	edit(&p, &id, "{\"stock\":   11.50}\n");
	send(&p, &q, &id);
	ok(shows(&id, "{\"stock\":   11.50}\n"), "bytes written are bytes read");
	edit(&q, &id, "{\"stock\":   11.5}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\":   11.5}\n"), "as are those that mean the same");
	edit(&q, &id, "{\"stock\": 12}\n");
	edit(&p, &id, "{\"stock\": 13}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 13.5}\n"), "and both add to that");
}

/* The writer had read an older version; the second save begins where its first one ended. */
static void test_old_base(void)
{
	struct id id = begin_json("{\"stock\": 10}\n");
	_cleanup_(version_unrefp) struct version *v = read_of(&p, &id), *saved = NULL, *knows = NULL;
	edit(&q, &id, "{\"stock\": 8}\n");
	send(&q, &p, &id);
	const struct content c = rep_text("{\"stock\": 9}\n"), again = rep_text("{\"stock\": 5}\n");
	if (replica_save(p.r, &id, v, &c, SAVE_BY_NAME, &saved, NULL) < 0 ||
	    version_written(p.r, v, saved, c.data, c.len, &knows) < 0)
		tap_bail("save");
	_cleanup_free_ char *text = rep_read(p.r, &id);
	is_str(text, "{\"stock\": 7}\n", "what came meanwhile counts");
	is_int(replica_save(p.r, &id, knows, &again, SAVE_BY_NAME, NULL, NULL), 0, "a second save");
	meet(&id);
	ok(shows(&id, "{\"stock\": 3}\n"), "takes off what its writer took off");
}

/* p knows that it is a counter, q does not yet. */
static void test_unknown(void)
{
	struct id id = begin_json("{\"n\": 10}\n");
	declare_on(&p, "/n", "counter");
	edit(&p, &id, "{\"n\": 12}\n");
	edit(&p, &id, "{\"n\": 15}\n");
	send(&p, &q, &id);
	edit(&q, &id, "{\"n\": 16}\n");
	edit(&p, &id, "{\"n\": 17}\n");
	meet(&id);
	ok(shows(&id, "{\"n\": 18}\n") && !in_conflict(&id),
	   "a number over a counter that its writer does not know of goes on with it");
	send(&p, &q, &dir.id);
	edit(&p, &id, "{\"n\": 20}\n");
	edit(&q, &id, "{\"n\": 28}\n");
	meet(&id);
	ok(shows(&id, "{\"n\": 30}\n"), "and counts when it does");
	declare("/n", NULL);
	edit(&p, &id, "{\"n\": 31}\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "{\"n\": 32}\n");
	meet(&id);
	ok(shows(&id, "{\"n\": 32}\n") && in_conflict(&id), "what is no counter any more competes");
	edit(&q, &id, "{\"n\": 33}\n");
	meet(&id);
	ok(shows(&id, "{\"n\": 33}\n") && !in_conflict(&id), "until somebody settles it");
	declare("/n", "counter");
	edit(&p, &id, "{\"n\": 34}\n");
	edit(&q, &id, "{\"n\": 43}\n");
	meet(&id);
	ok(shows(&id, "{\"n\": 44}\n"), "declared again, it goes on");
}

static void test_kinds(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	uint32_t n = 0;
	struct id id = begin_json("{\"stock\": 10}\n");
	edit(&p, &id, "{\"stock\": 11}\n");
	meet(&id);
	edit(&p, &id, "{\"stock\": \"many\"}\n");
	edit(&q, &id, "{\"stock\": 13}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": \"many\"}\n") && in_conflict(&id), "a string hides what others add");
	ok(replica_contests(q.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 &&
		   c->lost->len == 1 && *c->lost->text == '2',
	   "which is listed");
	is_int(n ? replica_settle(q.r, &id, NULL, c->lost->id, &n, NULL) : -1, 0, "and taken back");
	meet(&id);
	ok(shows(&id, "{\"stock\": 2}\n") && !in_conflict(&id), "everywhere");
	edit(&p, &id, "{\"stock\": 3}\n");
	edit(&q, &id, "{\"stock\": 4}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 5}\n"), "and goes on");
	edit(&p, &id, "{}\n");
	edit(&q, &id, "{\"stock\": 6}\n");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(shows(&id, x) && strstr(x, "stock") && !in_conflict(&id), "what is added outlives a removal");
	edit(&p, &id, "{\"stock\": {\"a\": 1}}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": {\"a\": 1}}\n") && !in_conflict(&id), "an object takes its place");
	edit(&p, &id, "{\"stock\": 1}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 1}\n") && !in_conflict(&id), "and a number that of the object");
	id = begin_json("{}\n");
	edit(&p, &id, "{\"stock\": 5}\n");
	edit(&q, &id, "{\"stock\": 5}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 5}\n") && !in_conflict(&id), "two that begin alike begin once");
	edit(&p, &id, "{\"stock\": 1e5000}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 1e5000}\n"), "a number too long to be added up is written as it is");
	edit(&p, &id, "{\"stock\": 7}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 7}\n"), "and replaced");
}

/* Two numbers that compete, with counters on top. */
static void test_settling(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct contest *c = NULL;
	uint32_t n = 0;
	struct id id = begin_json("{}\n");
	edit(&p, &id, "{\"stock\": 5}\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "{\"stock\": 50}\n");
	meet(&id);
	edit(&p, &id, "{\"stock\": 51}\n");
	meet(&id);
	ok(shows(&id, "{\"stock\": 51}\n") && in_conflict(&id), "adding settles nothing");
	ok(replica_contests(p.r, &id, true, &a, &c, &n) == 0 && n == 1 && c->n == 1 &&
		   c->lost->len == 1 && *c->lost->text == '6' && c->shown.len == 2 &&
		   !memcmp(c->shown.text, "51", 2),
	   "both numbers are told with what was added");
	edit(&q, &id, "{\"stock\": 52}\n");
	is_int(n ? replica_settle(p.r, &id, NULL, c->lost->id, &n, NULL) : -1, 0, "one is taken");
	meet(&id);
	ok(shows(&id, "{\"stock\": 7}\n") && !in_conflict(&id), "with what is added meanwhile");
}

static char told[64];

static void hear(const struct change *change, size_t n, void *userdata)
{
	(void)userdata;
	for (size_t k = 0; k < n; k++)
		for (uint32_t i = 0; i < change[k].n_pointers; i++)
			snprintf(told, sizeof(told), "%s", change[k].pointer[i]);
}

static void test_watch(void)
{
	struct id id = begin_json("{\"stock\": 1}\n");
	if (replica_observe(q.r, hear, NULL) < 0)
		tap_bail("observe");
	edit(&p, &id, "{\"stock\": 2}\n");
	send(&p, &q, &id);
	is_str(told, "/stock", "a merge that adds tells so");
	told[0] = 0;
	edit(&q, &id, "{\"stock\": 3}\n");
	is_str(told, "/stock", "as does a save");
	replica_unobserve(q.r, hear, NULL);
}

/* Three devices add at random, each from what it has read, and meet in pairs. */
static void test_random(uint64_t seed)
{
	struct prng r = { seed };
	struct rep third, *rep[3] = { &p, &q, &third };
	char text[64];
	int64_t sum = 1000;
	rep_open(&third, NULL, 5, seed);
	struct id id = begin_json("{\"stock\": 1000}\n");
	send(&p, &third, &dir.id);
	send(&p, &third, &id);
	for (unsigned i = 0; i < 400; i++) {
		struct rep *d = rep[prng_below(&r, 3)], *e = rep[prng_below(&r, 3)];
		if (prng_chance(&r, 30) && d != e) {
			send(d, e, &id);
			continue;
		}
		_cleanup_free_ char *was = rep_read(d->r, &id);
		int64_t now = 0, add = (int64_t)prng_below(&r, 100) - 50;
		if (sscanf(was, "{\"stock\": %" SCNd64, &now) != 1)
			tap_bail("%s", was);
		snprintf(text, sizeof(text), "{\"stock\": %" PRId64 "}\n", now + add);
		edit(d, &id, text);
		sum += add;
	}
	send(&p, &q, &id);
	send(&third, &q, &id);
	send(&q, &p, &id);
	snprintf(text, sizeof(text), "{\"stock\": %" PRId64 "}\n", sum);
	ok(shows(&id, text) && !in_conflict(&id), "400 steps of three devices add up");
	ok(rep_sound(third.r), "and leave nothing wrong");
	rep_close(&third);
}

int main(int argc, char **argv)
{
	tap_plan(37);
	uint64_t seed = tap_seed(argc, argv);
	meeting_open();
	test_sums();
	test_bytes();
	test_old_base();
	test_unknown();
	test_kinds();
	test_settling();
	test_watch();
	test_random(seed);
	meeting_close("both are sound");
	return tap_done();
}
