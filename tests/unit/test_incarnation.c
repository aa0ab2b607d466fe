/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A store that was brought back and does not know it: what it made since then has the numbers of what
 * the other device has of the lost future. Both are kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/held.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define A(text) text, sizeof(text) - 1

static struct node a, b;

static bool meet(void)
{
	return pair_meet(&a, &b);
}

static bool reads(struct node *n, const char *name, const char *want)
{
	_cleanup_free_ char *text = node_read(n, "c", name);
	if (!text || strcmp(text, want) != 0)
		tap_diag("%s: %s", name, text ? text : "(none)");
	return text && strcmp(text, want) == 0;
}

static bool both_read(const char *name, const char *want)
{
	return reads(&a, name, want) && reads(&b, name, want);
}

static bool both_have(const char *name, const char *part)
{
	_cleanup_free_ char *x = node_read(&a, "c", name), *y = node_read(&b, "c", name);
	return x && y && strcmp(x, y) == 0 && strstr(x, part);
}

static bool sound(struct node *n)
{
	struct verify_report report;
	return replica_verify(n->replica, false, NULL, NULL, &report, NULL) == 0 && report.errors == 0;
}

static void begin(void)
{
	node_open(&a, 1, NULL);
	node_open(&b, 2, NULL);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 1\n}\n"));
	node_write(&a, "c", "notes.txt", A("one\ntwo\nthree\n"));
	node_write(&a, "c", "gone.txt", A("to be removed\n"));
	if (!meet())
		tap_bail("the two do not meet");
}

static void end(struct store *copy)
{
	store_close(copy);
	node_close(&a);
	node_close(&b);
}

static void find(struct node *n, const char *name, struct attr *ret)
{
	struct attr dir;
	if (replica_lookup(n->replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(n->replica, &dir.id, name, strlen(name), ret) < 0)
		tap_bail("no %s", name);
}

/* A program that has read a file saves it after the store found out. */
static void save_old(struct version *base, const char *text)
{
	struct content c = { .data = text, .len = strlen(text), .fd = -1 };
	struct err e;
	if (replica_save(a.replica, version_node(base), base, &c, SAVE_BY_NAME, NULL, &e) < 0)
		tap_bail("cannot save: %s", e.message);
}

/* Batches of one number on both sides. */
static void test_both_wrote(void)
{
	struct attr at;
	begin();
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 1,\n  \"lost\": 2\n}\n"));
	node_write(&a, "c", "notes.txt", A("zero\none\ntwo\nthree\n"));
	node_write(&a, "c", "later.txt", A("only the other one knows\n"));
	ok(meet(), "changes reach the other device");
	node_bring_back(&a, copy);
	struct actor_id before, after;
	uint64_t seq;
	replica_self(a.replica, &before, NULL);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 1,\n  \"new\": 3\n}\n"));
	node_write(&a, "c", "notes.txt", A("one\ntwo\nthree\nfour\n"));
	node_write(&a, "c", "new.txt", A("made apart\n"));
	find(&a, "gone.txt", &at);
	is_int(replica_remove(a.replica, &at.id, 0), 0, "brought back, it changes the same files");
	struct version *json, *text;
	find(&a, "x.json", &at);
	int r = replica_read(a.replica, &at.id, &json);
	find(&a, "notes.txt", &at);
	ok(r == 0 && replica_read(a.replica, &at.id, &text) == 0, "which programs have open");
	ok(!meet(), "it finds out when the two meet");
	replica_self(a.replica, &after, &seq);
	ok(actor_id_cmp(&before, &after) != 0 && replica_renewals(a.replica) == 1 && sound(&a),
	   "and goes on as another incarnation");
	_cleanup_free_ char *was = node_read(&a, "c", "notes.txt");
	ok(was && strcmp(was, "one\ntwo\nthree\nfour\n") == 0, "with all that it had");
	ok(meet() && meet(), "then they meet in peace");
	ok(both_have("x.json", "\"new\": 3") && both_have("x.json", "\"lost\": 2"),
	   "a document has the fields of both");
	ok(both_read("notes.txt", "zero\none\ntwo\nthree\nfour\n"), "a text the lines of both, once");
	ok(both_read("later.txt", "only the other one knows\n") && both_read("new.txt", "made apart\n"),
	   "and both have all files");
	_cleanup_free_ char *gone = node_read(&b, "c", "gone.txt");
	ok(!gone, "but the one that was removed");

	save_old(json, "{\n  \"k\": 1,\n  \"new\": 4\n}\n");
	save_old(text, "one\n2\nthree\nfour\n");
	ok(meet(), "what was open is saved");
	_cleanup_free_ char *now = node_read(&b, "c", "x.json");
	ok(now && strstr(now, "\"new\": 4") && strstr(now, "\"lost\": 2"),
	   "it replaces what its program had seen, not what came meanwhile");
	find(&b, "x.json", &at);
	ok(!at.conflict, "without a conflict");
	ok(both_read("notes.txt", "zero\none\n2\nthree\nfour\n"), "in texts as well");
	ok(sound(&a) && sound(&b) && held_by(b.replica, &a.id, NULL) && held_by(a.replica, &b.id, NULL),
	   "both are sound and in step");
	version_unref(json);
	version_unref(text);
	end(copy);
}

/* What was made before the copy and not acknowledged then is known by its tags. */
static void test_common(void)
{
	begin();
	node_write(&a, "c", "draft.txt", A("written before the copy\n"));
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "draft.txt", A("written before the copy\nand after it\n"));
	ok(meet(), "a text that was not sent when the copy was made");
	node_bring_back(&a, copy);
	node_write(&a, "c", "new.txt", A("made apart\n"));
	ok(!meet() && meet(), "comes back");
	ok(both_read("draft.txt", "written before the copy\nand after it\n"), "and is there once");
	ok(both_read("new.txt", "made apart\n"), "with what is new");
	end(copy);
}

/* Less was made since than had been before: the number alone would not tell. */
static void test_fewer(void)
{
	begin();
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 2\n}\n"));
	ok(meet(), "one change reaches the other device");
	node_bring_back(&a, copy);
	for (int i = 0; i < 5; i++) {
		char text[40];
		snprintf(text, sizeof(text), "%d\n", i);
		node_write(&a, "c", "new.txt", text, strlen(text));
	}
	ok(!meet() && meet(), "brought back, it makes five: that is found as well");
	ok(both_read("x.json", "{\n  \"k\": 2\n}\n") && both_read("new.txt", "4\n"), "both are kept");
	ok(sound(&a) && sound(&b), "both are sound");
	end(copy);
}

/* A third device was given what another one had acknowledged before, and knows it by its tags as well. */
static void test_acknowledged(void)
{
	struct node c;
	begin();
	node_open(&c, 3, NULL);
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 2\n}\n"));
	ok(meet() && pair_meet(&a, &c), "one change reaches two devices, one after the other");
	node_bring_back(&a, copy);
	node_write(&a, "c", "new.txt", A("made apart\n"));
	ok(!pair_meet(&a, &c), "it is the second of them that knows");
	ok(pair_meet(&a, &c) && meet() && pair_meet(&a, &c), "then they meet in peace");
	ok(both_read("x.json", "{\n  \"k\": 2\n}\n") && both_read("new.txt", "made apart\n") &&
		   reads(&c, "new.txt", "made apart\n"),
	   "all have both");
	node_close(&c);
	end(copy);
}

/* The number of a batch that the other device has is spent here, on a write that failed. */
static void test_failed(void)
{
	struct attr dir;
	begin();
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 2\n}\n"));
	ok(meet(), "one change reaches the other device");
	node_bring_back(&a, copy);
	store_fail(a.store, 1, -EIO);
	is_int(replica_mkdir(a.replica, &NODE_ROOT, "d", 1, 0755, &dir), -EIO, "brought back, it cannot write");
	node_write(&a, "c", "new.txt", A("made apart\n"));
	ok(!meet() && meet(), "then it can: that there is no batch of that number is found");
	ok(both_read("x.json", "{\n  \"k\": 2\n}\n") && both_read("new.txt", "made apart\n"), "both are kept");
	ok(sound(&a) && sound(&b), "both are sound");
	end(copy);
}

/* What nobody else had has left no trace, and no reason for a new name. */
static void test_untold(void)
{
	begin();
	struct store *copy = node_copy(&a);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 2\n}\n"));
	node_bring_back(&a, copy);
	node_write(&a, "c", "x.json", A("{\n  \"k\": 3\n}\n"));
	ok(meet() && replica_renewals(a.replica) == 0, "nobody had what was lost");
	ok(both_read("x.json", "{\n  \"k\": 3\n}\n"), "what is new counts");
	end(copy);
}

int main(void)
{
	tap_plan(16 + 4 + 4 + 4 + 5 + 2);
	test_both_wrote();
	test_common();
	test_fewer();
	test_acknowledged();
	test_failed();
	test_untold();
	return tap_done();
}
