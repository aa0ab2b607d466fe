/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two lives of one store made, brought back unnoticed or copied, in all that a store has: nothing
 * is taken for something else, counted twice, or torn apart. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

static struct node a, b;

static bool meet(void)
{
	return pair_meet(&a, &b);
}

static void write_text(struct node *n, const char *name, const char *text)
{
	node_write(n, "c", name, text, strlen(text));
}

static bool reads(struct node *n, const char *dir, const char *name, const char *want)
{
	_cleanup_free_ char *text = node_read(n, dir, name);
	bool as = want ? text && strcmp(text, want) == 0 : !text;
	if (!as)
		tap_diag("%s: %s", name, text ? text : "(none)");
	return as;
}

static bool both(const char *name, const char *want)
{
	return reads(&a, "c", name, want) && reads(&b, "c", name, want);
}

static void find(struct node *n, const char *dir, const char *name, struct attr *ret)
{
	struct attr d;
	if (replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &d) < 0 ||
	    replica_lookup(n->replica, &d.id, name, strlen(name), ret) < 0)
		tap_bail("no %s", name);
}

static void complain(const char *problem, void *userdata)
{
	(void)userdata;
	tap_diag("%s", problem);
}

static bool sound(struct node *n)
{
	struct verify_report report;
	return replica_verify(n->replica, false, complain, NULL, &report, NULL) == 0 &&
	       report.errors == 0;
}

static bool in_step(struct node *x, struct node *y)
{
	_cleanup_(view_unrefp) struct view *v = replica_view(x->replica);
	_cleanup_(view_unrefp) struct view *u = replica_view(y->replica);
	struct id mine, theirs;
	view_fingerprint(v, interests_all(), &mine);
	view_fingerprint(u, interests_all(), &theirs);
	return id_equal(&mine, &theirs);
}

/* Files are there, and a copy of the first device's store is made. */
static struct store *begin(const char *const files[][2], unsigned n)
{
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < n; i++)
		write_text(&a, files[i][0], files[i][1]);
	if (!meet())
		tap_bail("the two do not meet");
	return node_copy(&a);
}

/* The first device's second life ends in what the two have. */
static void found_out(const char *what)
{
	uint64_t us;
	bool first = meet();
	ok(!first && replica_renewed(a.replica, &us) == RENEWAL_PEER &&
		   replica_renewed(b.replica, &us) == RENEWAL_NONE && meet() && meet() && sound(&a) && sound(&b) && in_step(&a, &b) &&
		   replica_renewals(a.replica) == 1,
	   "%s: it finds out, and both are sound and in step", what);
}

static void end(struct store *copy)
{
	store_close(copy);
	node_close(&a);
	node_close(&b);
}

/* ---- counters ---- */

static void declare(struct node *n, const char *pointer, const char *type)
{
	struct attr dir;
	struct err e;
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_declare(n->replica, &dir.id, pointer, strlen(pointer), type, &e) < 0)
		tap_bail("cannot declare %s", pointer);
}

static const char *const numbers[][2] = {
	{ "n.json", "{\"n\": 10}\n" },
	{ "of.json", "{\"of\": [{\"id\": 1, \"n\": 1}]}\n" },
};

/* Others have the sum as it was; of what came after that each life has its own. */
static void test_counter(void)
{
	struct store *old = begin(numbers, 2);
	declare(&a, "/n", "counter");
	declare(&a, "/of/*/n", "counter");
	write_text(&a, "n.json", "{\"n\": 11}\n");
	write_text(&a, "n.json", "{\"n\": 12}\n");
	write_text(&a, "of.json", "{\"of\": [{\"id\": 1, \"n\": 5}]}\n");
	ok(meet() && both("n.json", "{\"n\": 12}\n"), "a counter was raised before");
	struct store *copy = node_copy(&a);
	write_text(&a, "n.json", "{\"n\": 17}\n");
	write_text(&a, "of.json", "{\"of\": [{\"id\": 1, \"n\": 15}]}\n");
	ok(meet(), "and in the first life");
	node_bring_back(&a, copy);
	write_text(&a, "n.json", "{\"n\": 15}\n");
	write_text(&a, "n.json", "{\"n\": 16.5}\n");
	write_text(&a, "of.json", "{\"of\": [{\"id\": 1, \"n\": 105}]}\n");
	found_out("counters");
	ok(both("n.json", "{\"n\": 21.5}\n"), "what was added before counts once, since then in full");
	ok(both("of.json", "{\"of\": [{\"id\": 1, \"n\": 115}]}\n"), "in elements as well");
	write_text(&a, "n.json", "{\"n\": 22.5}\n");
	write_text(&b, "n.json", "{\"n\": 20.5}\n");
	ok(meet() && both("n.json", "{\"n\": 21.5}\n"), "and it goes on");
	store_close(old);
	end(copy);
}

/* Nobody had acknowledged them when the copy was made: the tags tell how far the two agree. */
static void test_counter_unsent(void)
{
	struct store *old = begin(numbers, 2);
	declare(&a, "/n", "counter");
	write_text(&a, "n.json", "{\"n\": 11}\n");
	write_text(&a, "n.json", "{\"n\": 12}\n");
	struct store *copy = node_copy(&a);
	write_text(&a, "n.json", "{\"n\": 17}\n");
	ok(meet(), "a counter that was not sent when the copy was made");
	node_bring_back(&a, copy);
	write_text(&a, "n.json", "{\"n\": 15}\n");
	write_text(&a, "n.json", "{\"n\": 16}\n");
	found_out("counters that were not sent");
	ok(both("n.json", "{\"n\": 21}\n"), "counts what was added before once");
	store_close(old);
	end(copy);
}

/* Removed and made anew: what was added before went with it. */
static void test_counter_anew(void)
{
	struct store *old = begin(numbers, 2);
	declare(&a, "/n", "counter");
	write_text(&a, "n.json", "{\"n\": 12}\n");
	ok(meet(), "a counter was raised before");
	struct store *copy = node_copy(&a);
	write_text(&a, "n.json", "{\"n\": 17}\n");
	ok(meet(), "and in the first life");
	node_bring_back(&a, copy);
	write_text(&a, "n.json", "{\"n\": 13}\n");
	write_text(&a, "n.json", "{}\n");
	write_text(&a, "n.json", "{\"n\": 1}\n");
	write_text(&a, "n.json", "{\"n\": 3}\n");
	found_out("a counter made anew");
	ok(both("n.json", "{\"n\": 10}\n"), "1 and 2 of the second life, 7 that were raised in the first");
	store_close(old);
	end(copy);
}

/* ---- lists ---- */

static void test_list(void)
{
	static const char *const files[][2] = { { "l.json", "[\"a\", \"b\", \"c\"]\n" } };
	struct version *base;
	struct attr at;
	struct store *copy = begin(files, 1);
	write_text(&a, "l.json", "[\"a\", \"x\", \"b\", \"c\"]\n");
	write_text(&a, "l.json", "[\"a\", \"x\", \"b\", \"c\", \"z\"]\n");
	ok(meet(), "elements come into a list");
	node_bring_back(&a, copy);
	write_text(&a, "l.json", "[\"a\", \"b\", \"y\", \"c\"]\n");
	write_text(&a, "l.json", "[\"y\", \"a\", \"b\", \"c\"]\n");
	find(&a, "c", "l.json", &at);
	if (replica_read(a.replica, &at.id, &base) < 0)
		tap_bail("cannot read the list");
	found_out("lists");
	ok(both("l.json", "[\"y\", \"a\", \"x\", \"b\", \"c\", \"z\"]\n"),
	   "a list has the elements of both lives, and each where it was put");
	const struct content c = { .data = A("[\"a\", \"y2\", \"b\", \"c\"]\n"), .fd = -1 };
	ok(replica_save(a.replica, &at.id, base, &c, SAVE_BY_NAME, NULL, NULL) == 0 && meet() &&
		   both("l.json", "[\"a\", \"x\", \"y2\", \"b\", \"c\", \"z\"]\n"),
	   "a program that has it open replaces what it saw, and that alone");
	version_unref(base);
	end(copy);
}

/* ---- strings that are texts ---- */

static void test_chars(void)
{
	static const char *const files[][2] = { { "s.json", "{\"t\": \"one two\"}\n" } };
	struct version *base;
	struct attr at;
	struct store *old = begin(files, 1);
	declare(&a, "/t", "text");
	declare(&a, "/u", "text");
	write_text(&a, "s.json", "{\"t\": \"one two three\"}\n");
	ok(meet(), "a string is a text");
	struct store *copy = node_copy(&a);
	write_text(&a, "s.json", "{\"t\": \"one two three four\"}\n");
	ok(meet(), "and more comes to it");
	node_bring_back(&a, copy);
	write_text(&a, "s.json", "{\"t\": \"zero one two three\", \"u\": \"abc\"}\n");
	write_text(&a, "s.json", "{\"t\": \"zero one two three\", \"u\": \"abcd\"}\n");
	find(&a, "c", "s.json", &at);
	if (replica_read(a.replica, &at.id, &base) < 0)
		tap_bail("cannot read the document");
	found_out("strings");
	ok(both("s.json", "{\"t\": \"zero one two three four\", \"u\": \"abcd\"}\n"),
	   "it has what came to it in both lives");
	const struct content c = { .data = A("{\"t\": \"0 one two three\", \"u\": \"xbc\"}\n"),
				   .fd = -1 };
	ok(replica_save(a.replica, &at.id, base, &c, SAVE_BY_NAME, NULL, NULL) == 0 && meet() &&
		   both("s.json", "{\"t\": \"0 one two three four\", \"u\": \"xbc\"}\n"),
	   "a program that has it open replaces what it saw, and that alone");
	version_unref(base);
	store_close(copy);
	end(old);
}

/* ---- batches ---- */

static const char *const single[][2] = {
	{ "p.json", "{\"n\": 0}\n" }, { "q.json", "{\"n\": 0}\n" }, { "z.json", "{\"n\": 0}\n" },
};

static void at_once(struct node *n, const char *one, const char *other, const char *value)
{
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct txn_result result[2];
	struct json *v;
	struct err e = { 0 };
	uint32_t at;
	if (json_parse(&arena, value, strlen(value), NULL, &v, NULL) < 0)
		tap_bail("%s", value);
	const struct txn_step step[2] = { { TXN_PUT, one, v, NULL }, { TXN_PUT, other, v, NULL } };
	if (replica_txn(n->replica, step, 2, result, &at, &e) < 0)
		tap_bail("batch: %s", e.message);
}

/* A third device that gets it in small pieces has both files of the second life's batch, or none. */
static bool comes_whole(struct node *from)
{
	struct node c;
	struct pair p;
	bool half = false, moved = true;
	node_open(&c, 3, NULL);
	pair_open(&p, from, &c);
	while (moved && !p.failed) {
		moved = pair_turn(&p, 100);
		_cleanup_free_ char *one = node_read(&c, "c", "p.json"), *other = node_read(&c, "d", "r.json");
		half |= (one && strstr(one, "two")) != (other && strstr(other, "two"));
		moved |= replica_dirty(c.replica);
		node_flush(&c, p.session[1]);
	}
	pair_close(&p);
	bool all = in_step(from, &c);
	if (p.failed || half || !all)
		tap_diag("%s%s", p.e.message, half ? "half of it came" : "");
	node_close(&c);
	return !p.failed && !half && all;
}

static void test_batch(void)
{
	struct store *copy;
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	for (unsigned i = 0; i < 3; i++)
		write_text(&a, single[i][0], single[i][1]);
	node_write(&a, "d", "r.json", A("{\"n\": 0}\n"));
	ok(meet(), "files in two directories");
	copy = node_copy(&a);
	at_once(&a, "c/q.json", "c/z.json", "{\"n\": \"one\"}");
	ok(meet(), "a batch of the first life");
	node_bring_back(&a, copy);
	at_once(&a, "c/p.json", "d/r.json", "{\"n\": \"two\"}");
	found_out("batches");
	ok(both("q.json", "{\"n\": \"one\"}\n") && both("z.json", "{\"n\": \"one\"}\n") &&
		   both("p.json", "{\"n\": \"two\"}\n") && reads(&b, "d", "r.json", "{\"n\": \"two\"}\n"),
	   "the batches of both lives are there");
	ok(comes_whole(&a) && comes_whole(&b), "and each goes on as a whole");
	end(copy);
}

/* ---- names, directories, bytes ---- */

static void rename_to(struct node *n, const char *name, const char *dir, const char *to)
{
	struct attr at, d;
	struct id id;
	find(n, "c", name, &at);
	if (replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &d) < 0 ||
	    replica_rename(n->replica, &at.id, &d.id, to, strlen(to), 0, &id) < 0)
		tap_bail("cannot rename %s", name);
}

static void test_tree(void)
{
	static const char *const files[][2] = {
		{ "x.json", "{\"n\": 1}\n" }, { "y.txt", "y\n" }, { "gone.txt", "gone\n" }, { "v.txt", "v\n" },
	};
	struct attr at;
	struct store *copy = begin(files, 4);
	rename_to(&a, "x.json", "c", "first.json");
	node_write(&a, "d", "of-first.txt", A("1\n"));
	write_text(&a, "gone.txt", "not gone\n");
	ok(meet(), "files are renamed, made, changed");
	node_bring_back(&a, copy);
	node_write(&a, "d", "of-second.txt", A("2\n"));
	rename_to(&a, "y.txt", "d", "moved.txt");
	find(&a, "c", "gone.txt", &at);
	ok(replica_remove(a.replica, &at.id, 0) == 0, "and moved and removed in the second life");
	rename_to(&a, "v.txt", "c", "w.txt");
	found_out("names");
	ok(both("first.json", "{\"n\": 1}\n") && both("x.json", NULL) && both("y.txt", NULL) &&
		   both("w.txt", "v\n") && reads(&b, "d", "moved.txt", "y\n"),
	   "what moved in either life is where it went, and nowhere else");
	ok(reads(&a, "d", "of-first.txt", "1\n") && reads(&b, "d", "of-second.txt", "2\n"),
	   "a directory of both lives has the files of both");
	ok(both("gone.txt", "not gone\n"), "a change beats a removal that had not seen it");
	end(copy);
}

static void test_bytes(void)
{
	static const char *const files[][2] = { { "x.bin", "\1\377 zero" }, { "y.bin", "\1\377 zero" } };
	struct attr at;
	struct store *copy = begin(files, 2);
	write_text(&a, "x.bin", "\1\377 first");
	ok(meet(), "other files change");
	node_bring_back(&a, copy);
	write_text(&a, "y.bin", "\1\377 second");
	write_text(&a, "x.bin", "\1\377 second");
	found_out("other files");
	find(&b, "c", "x.bin", &at);
	ok(both("x.bin", "\1\377 second") && at.conflict, "two changes of one file are a conflict");
	ok(both("y.bin", "\1\377 second"), "one is none");
	end(copy);
}

/* ---- twice ---- */

/* It is brought back once more, to what it was before it found out the first time. */
static void test_again(void)
{
	struct store *copy = begin(numbers, 2);
	declare(&a, "/n", "counter");
	write_text(&a, "n.json", "{\"n\": 11}\n");
	ok(meet(), "a first life");
	node_bring_back(&a, copy);
	declare(&a, "/n", "counter");
	write_text(&a, "n.json", "{\"n\": 12}\n");
	found_out("a second life");
	ok(both("n.json", "{\"n\": 13}\n"), "both count");
	struct store *later = node_copy(&a);
	write_text(&a, "n.json", "{\"n\": 17}\n");
	ok(meet(), "the second life goes on");
	node_bring_back(&a, later);
	write_text(&a, "n.json", "{\"n\": 21}\n");
	found_out("a third life");
	ok(both("n.json", "{\"n\": 25}\n"), "all three count");
	store_close(later);
	end(copy);
}

/* ---- copies that know that they are ---- */

static void test_clone(void)
{
	struct node twin;
	uint64_t us;
	struct store *copy = begin(numbers, 2);
	write_text(&a, "l.json", "[\"a\", \"b\"]\n");
	node_write(&a, "d", "t.txt", A("t\n"));
	declare(&a, "/n", "counter");
	write_text(&a, "n.json", "{\"n\": 12}\n");
	node_clone(&twin, &a);
	ok(replica_renewals(twin.replica) == 1 && replica_renewals(a.replica) == 0 &&
		   replica_renewed(twin.replica, &us) == RENEWAL_FENCE &&
		   replica_renewed(a.replica, &us) == RENEWAL_NONE,
	   "a copy is another incarnation");
	write_text(&a, "n.json", "{\"n\": 17}\n");
	write_text(&twin, "n.json", "{\"n\": 15}\n");
	write_text(&a, "l.json", "[\"a\", \"x\", \"b\"]\n");
	write_text(&twin, "l.json", "[\"a\", \"b\", \"y\"]\n");
	at_once(&a, "c/p.json", "c/q.json", "1");
	at_once(&twin, "c/p.json", "d/r.json", "\"two\"");
	ok(meet() && pair_meet(&twin, &b) && meet() && pair_meet(&twin, &b),
	   "another device meets the two in turn");
	ok(both("n.json", "{\"n\": 20}\n") && reads(&twin, "c", "n.json", "{\"n\": 20}\n"),
	   "a counter counts what both added");
	ok(both("l.json", "[\"a\", \"x\", \"b\", \"y\"]\n"), "a list has what both put into it");
	ok(comes_whole(&b) && comes_whole(&twin), "and their batches are whole");
	ok(sound(&a) && sound(&b) && sound(&twin) && in_step(&a, &b) && in_step(&twin, &b) &&
		   replica_renewals(a.replica) == 0 && replica_renewals(twin.replica) == 1,
	   "all three are sound and in step, under the names that they had");
	node_close(&twin);
	end(copy);
}

int main(void)
{
	tap_plan(6 + 3 + 4 + 4 + 5 + 5 + 6 + 4 + 6 + 6);
	test_counter();
	test_counter_unsent();
	test_counter_anew();
	test_list();
	test_chars();
	test_batch();
	test_tree();
	test_bytes();
	test_again();
	test_clone();
	return tap_done();
}
