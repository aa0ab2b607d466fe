/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which version a save is taken against: the evidence of who read what. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/replica.h"
#include "engine/store.h"
#include "fusefs/base.h"
#include "fusefs/saver.h"
#include "tests/tap.h"

static uint64_t tick;

static uint64_t wall_us(void *userdata)
{
	(void)userdata;
	return UINT64_C(1700000000000000) + tick++;
}

static void random_bytes(void *userdata, void *data, size_t len)
{
	(void)userdata;
	memset(data, (int)tick++, len);
}

struct fixture {
	struct store *store;
	struct replica *replica;
	struct bases *bases;
	struct id node;
	struct version *v[4]; /* {"a":1}, {"a":1,"b":1}, {"a":1,"b":2}, {"a":2,"b":2} */
};

static const char *const texts[] = { "{\"a\": 1}\n", "{\"a\": 1, \"b\": 1}\n",
				     "{\"a\": 1, \"b\": 2}\n", "{\"a\": 2, \"b\": 2}\n" };

static void set_up(struct fixture *f, size_t notes, uint64_t bytes)
{
	*f = (struct fixture){ 0 };
	struct replica_config config = { .wall_us = wall_us, .random = random_bytes };
	struct attr attr;
	memset(config.device.b, 1, ID_SIZE);
	if (store_open_memory(&f->store) < 0)
		tap_bail("no store");
	config.store = f->store;
	if (replica_open(&config, &f->replica, NULL) < 0)
		tap_bail("no replica");
	for (unsigned i = 0; i < 4; i++) {
		struct content c = { .data = texts[i], .len = strlen(texts[i]), .fd = -1 };
		int r = i == 0 ? replica_create(f->replica, &NODE_ROOT, "d.json", 6, 0644, &c,
						SAVE_BY_NAME, 0, &attr, &f->v[0], NULL)
			       : replica_save(f->replica, &attr.id, f->v[i - 1], &c, SAVE_BY_NAME,
					      &f->v[i], NULL);
		if (r < 0)
			tap_bail("cannot make version %u", i);
	}
	f->node = attr.id;
	struct bases_limits limits = { notes, bytes };
	if (bases_new(&limits, &f->bases) < 0)
		tap_bail("no bases");
}

static void tear_down(struct fixture *f)
{
	bases_free(f->bases);
	for (unsigned i = 0; i < 4; i++)
		version_unref(f->v[i]);
	replica_free(f->replica);
	store_close(f->store);
}

static unsigned questions;

/* In the place of the C library's: fusefs/proc.c asks so whether a process lives. */
int kill(pid_t pid, int signal)
{
	questions++;
	return (int)syscall(SYS_kill, pid, signal);
}

/* Process numbers of tests are far above any that can be alive. */
static struct proc proc(int n, int group, int session)
{
	return (struct proc){ .tgid = 900000000 + n,
			      .pgrp = 900000000 + group,
			      .session = 900000000 + session,
			      .start = (uint64_t)n };
}

static void note(struct fixture *f, struct proc p, unsigned version, int64_t at)
{
	bases_note(f->bases, &p, &f->node, f->v[version], at);
}

/* The number of the version that is the base of text, -1: none. */
static int ask(struct fixture *f, struct proc writer, const char *text, int64_t since,
	       int64_t until, int *ret_rule)
{
	struct base_question q = { .node = f->node,
				   .writer = writer,
				   .since_ns = since,
				   .until_ns = until,
				   .data = text,
				   .len = strlen(text) };
	*ret_rule = 0;
	struct version *v = bases_find(f->bases, &q, ret_rule);
	int found = -1;
	for (int i = 0; v && i < 4; i++)
		if (v == f->v[i])
			found = i;
	if (v)
		version_unref(v);
	return found;
}

static void test_own(void)
{
	struct fixture f;
	int rule;
	set_up(&f, 100, 1 << 20);
	note(&f, proc(1, 1, 1), 0, 10);
	note(&f, proc(2, 1, 1), 1, 20);
	is_int(ask(&f, proc(1, 1, 1), texts[3], 0, 0, &rule), 0, "the writer's own reading");
	is_int(rule, 2, "... by rule 2");
	note(&f, proc(1, 1, 1), 2, 30);
	is_int(ask(&f, proc(1, 1, 1), texts[0], 0, 0, &rule), 2,
	       "its last one, whatever is nearer: it may have put things back");
	struct proc reused = proc(1, 1, 1);
	reused.start = 77;
	is_int(ask(&f, reused, texts[0], 100, 0, &rule), -1,
	       "another process of the same number knows nothing");
	tear_down(&f);
}

static void test_backup(void)
{
	struct fixture f;
	int rule;
	struct proc vim = proc(1, 1, 1);
	set_up(&f, 100, 1 << 20);
	note(&f, vim, 0, 10);
	note(&f, vim, 1, 5 * INT64_C(1000000000));
	bases_backup(f.bases, &vim, &f.node, 5 * INT64_C(1000000000) + 1);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 0, "reading to make a backup does not count");
	bases_backup(f.bases, &vim, &f.node, 9 * INT64_C(1000000000));
	note(&f, vim, 2, 9 * INT64_C(1000000000) + 1);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 0, "nor if the backup's file is made first");
	tear_down(&f);

	set_up(&f, 100, 1 << 20);
	note(&f, vim, 1, 10);
	bases_backup(f.bases, &vim, &f.node, 11);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 1, "unless it is all there is");
	note(&f, vim, 2, 12);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 1, "loaded and saved within a moment");
	bases_wrote(f.bases, &vim, &f.node, f.v[2], 13);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 2, "what it wrote then counts");
	bases_backup(f.bases, &vim, &f.node, 14);
	is_int(ask(&f, vim, texts[0], 0, 0, &rule), 2, "also when the next backup is made of it");
	tear_down(&f);
}

static void test_strangers(void)
{
	struct fixture f;
	int rule;
	set_up(&f, 100, 1 << 20);
	note(&f, proc(1, 1, 1), 0, 10); /* cat f */
	note(&f, proc(2, 2, 1), 2, 20); /* jq f, another group of the session */
	is_int(ask(&f, proc(3, 2, 1), texts[3], 0, 0, &rule), 2, "the group comes first");
	is_int(rule, 3, "... by rule 3");
	is_int(ask(&f, proc(3, 3, 1), texts[3], 0, 0, &rule), 2,
	       "in the session the version that is nearest to what is saved");
	is_int(ask(&f, proc(3, 3, 1), "{\"a\":7}", 0, 0, &rule), 0, "... whichever that is");
	is_int(ask(&f, proc(3, 3, 1), texts[2], 0, 0, &rule), 0,
	       "... but not the one that nothing differs from");
	is_int(ask(&f, proc(3, 3, 1), "{\"name\": \"x\"}", 0, 0, &rule), 2,
	       "... and the one seen last when everything is replaced");
	is_int(ask(&f, proc(3, 3, 1), texts[3], 15, 0, &rule), 2, "only what was read lately");
	is_int(ask(&f, proc(3, 3, 1), texts[3], 30, 0, &rule), -1, "or nothing");
	is_int(ask(&f, proc(3, 3, 9), texts[3], 0, 0, &rule), -1, "strangers know nothing");
	is_int(ask(&f, proc(3, 3, 9), texts[3], 0, 15, &rule), 0,
	       "a rename by strangers: what was there when the temp file was made");
	is_int(rule, 4, "... by rule 4");
	tear_down(&f);
}

/* A copy was taken long before the temp file was made, and changes came in meanwhile. */
static void test_earlier(void)
{
	struct fixture f;
	int rule;
	set_up(&f, 100, 1 << 20);
	note(&f, proc(1, 1, 1), 1, 10); /* cp f copy */
	note(&f, proc(2, 2, 2), 2, 20); /* somebody else has seen what came in */
	struct base_question q = { .node = f.node, .writer = proc(9, 9, 1), .born_ns = 30,
				   .since_ns = 25, .earlier_ns = 5, .until_ns = 30 };
	static const struct {
		const char *text;
		int base;
		const char *what;
	} saved[] = {
		{ "{\"a\":9,\"b\":1}", 1, "what the session copied, if it was that" },
		{ "{\"a\":9,\"b\":2}", 2, "not if what was there then is nearer" },
		{ "{\"a\":9,\"b\":9}", 1, "the older of equals" },
	};
	for (size_t i = 0; i < sizeof(saved) / sizeof(saved[0]); i++) {
		q.data = saved[i].text;
		q.len = strlen(saved[i].text);
		_cleanup_(version_unrefp) struct version *v = bases_find(f.bases, &q, &rule);
		ok(v == f.v[saved[i].base] && rule == 3, "%s", saved[i].what);
	}
	q.then = f.v[3];
	_cleanup_(version_unrefp) struct version *known = bases_find(f.bases, &q, &rule);
	q.earlier_ns = 15;
	_cleanup_(version_unrefp) struct version *then = bases_find(f.bases, &q, &rule);
	ok(known == f.v[1] && then == f.v[3] && rule == 4,
	   "what the caller knows to have been there, when nothing was copied");
	q.earlier_ns = 5;
	q.data = NULL;
	_cleanup_(version_unrefp) struct version *blob = bases_find(f.bases, &q, &rule);
	ok(blob == f.v[3] && rule == 4, "or when there is nothing to be compared");
	tear_down(&f);
}

/* Versions that are equally far away from what is saved. */
static void test_ties(void)
{
	static const char saved[] = "{\"a\":9,\"b\":9}";
	struct fixture f;
	int rule;
	set_up(&f, 100, 1 << 20);
	note(&f, proc(1, 1, 1), 1, 10);
	note(&f, proc(2, 1, 1), 2, 20);
	is_int(ask(&f, proc(9, 1, 1), saved, 0, 0, &rule), 1, "of equals the one that was read first");
	is_int(ask(&f, proc(9, 1, 1), saved, 0, 0, &rule), 2, "but each in its turn");
	is_int(ask(&f, proc(9, 1, 1), saved, 0, 0, &rule), 2, "the last once more if all had one");
	note(&f, proc(3, 1, 1), 1, 30);
	is_int(ask(&f, proc(9, 1, 1), saved, 0, 0, &rule), 1, "and one that is read again first");
	note(&f, proc(4, 1, 1), 2, 40);
	note(&f, proc(5, 1, 1), 3, 50);
	struct base_question q = { .node = f.node, .writer = proc(9, 1, 1), .born_ns = 45,
				   .data = saved, .len = strlen(saved) };
	_cleanup_(version_unrefp) struct version *v = bases_find(f.bases, &q, &rule);
	ok(v == f.v[3], "what was read after the temp file was made comes before all");
	tear_down(&f);
}

static void test_bounds(void)
{
	struct fixture f;
	int rule;
	set_up(&f, 10, 1 << 20);
	for (int i = 0; i < 1000; i++)
		note(&f, proc(i, i, i), (unsigned)i % 4, i);
	is_int(ask(&f, proc(5, 5, 5), texts[3], 0, 0, &rule), -1, "old notes go");
	ok(ask(&f, proc(999, 1, 1), texts[3], 0, 0, &rule) == 3, "new ones stay");
	ok(bases_bytes(f.bases) < 4 * 1024, "bytes of distinct versions are counted once");
	bases_forget(f.bases, &f.node);
	is_uint(bases_bytes(f.bases), 0, "and given back");
	tear_down(&f);

	set_up(&f, 1000, 600);
	for (unsigned i = 0; i < 4; i++)
		note(&f, proc((int)i, 1, 1), i, i);
	ok(bases_bytes(f.bases) <= 600, "bytes are bounded");
	tear_down(&f);
}

/* Both live: an editor with its file open, and what goes through more files than are noted. */
static void test_walk(void)
{
	struct fixture f;
	int rule;
	const struct proc editor = { .tgid = getpid(), .start = 1 };
	const struct proc walker = { .tgid = getppid(), .start = 1 };
	set_up(&f, 200, 1 << 20);
	note(&f, editor, 0, 1);
	questions = 0;
	for (unsigned i = 0; i < 1000; i++) {
		const struct id file = { .b = { 1, (uint8_t)i, (uint8_t)(i >> 8) } };
		bases_note(f.bases, &walker, &file, f.v[3], 2 + i);
	}
	is_int(ask(&f, editor, texts[3], 0, 0, &rule), 0, "a walk does not drive out what an editor read");
	ok(questions < 300, "nor asks who lives for each file: %u times for 1000", questions);
	tear_down(&f);
}

/* A document that was opened, and whose record cannot be read. */
static void test_handing_over(void)
{
	struct fixture f;
	struct store_batch *batch;
	struct version *unread;
	struct bases_limits limits = { 100, 1 << 20 };
	_cleanup_(bases_freep) struct bases *next = NULL;
	_cleanup_(buf_done) struct buf out = { 0 };
	set_up(&f, 100, 1 << 20);
	struct saver s = { .out = &out, .replica = f.replica };
	struct id other;
	struct attr attr;
	struct content c = { .data = texts[0], .len = strlen(texts[0]), .fd = -1 };
	if (replica_create(f.replica, &NODE_ROOT, "o.json", 6, 0644, &c, SAVE_BY_NAME, 0, &attr, NULL,
			   NULL) < 0 ||
	    replica_set_mode(f.replica, &attr.id, 0600) < 0 || store_batch_new(&batch) < 0)
		tap_bail("no document");
	other = attr.id;
	store_put(batch, STORE_DOCS, other.b, ID_SIZE, "x", 1);
	if (store_write(f.store, batch, NULL) < 0 ||
	    replica_read_later(f.replica, &other, &unread) < 0)
		tap_bail("no damage");
	const struct proc editor = proc(1, 1, 1);
	bases_note(f.bases, &editor, &other, unread, 1);
	note(&f, editor, 3, 2);
	bases_save(f.bases, &s);
	is_int(s.error, 0, "what cannot be read hinders no handing over");
	struct loader l = { .in = cursor_make(out.data, out.len), .replica = f.replica };
	bases_new(&limits, &next);
	bases_load(next, &l);
	int rule;
	ok(load_ok(&l) && cursor_left(&l.in) == 0, "which is whole");
	bases_free(f.bases);
	f.bases = TAKE_PTR(next);
	is_int(ask(&f, editor, texts[3], 0, 0, &rule), 3, "and has the rest");
	loader_done(&l);
	saver_done(&s);
	store_batch_free(batch);
	version_unref(unread);
	tear_down(&f);
}

static uint64_t distance(const char *a, const char *b)
{
	return base_distance(a, strlen(a), b, strlen(b));
}

static void test_distance(void)
{
	is_uint(distance("{\"a\":1,\"b\":[1,2]}", "{ \"a\" : 1 ,\n \"b\": [ 1, 2 ] }\n"), 0,
		"layout is no difference");
	is_uint(distance("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"), 0, "nor is the order of keys");
	is_uint(distance("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}"), 2,
		"a value is one on each side");
	is_uint(distance("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}"), 4, "values keep their keys");
	is_uint(distance("{\"a\":\"x,y\"}", "{\"a\":\"x ,y\"}"), 2,
		"strings are taken as they are");
	is_uint(distance("{\"a\":\"\\\"{\"}", "{\"a\":\"\\\"{\"}"), 0,
		"escapes do not end a string");
	ok(distance("", "{}") == 0 && distance("", "1") == 1, "and nothing has no pieces");
}

int main(void)
{
	tap_plan(48);
	test_own();
	test_backup();
	test_strangers();
	test_earlier();
	test_ties();
	test_bounds();
	test_walk();
	test_handing_over();
	test_distance();
	return tap_done();
}
