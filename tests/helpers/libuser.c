/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that uses libshoal as others do, by its shared library. libuser STORE DIRECTORY, the latter a
 * collection that is there: cases in TAP. libuser STORE DIRECTORY watch: prints what it is told until it has been told
 * that DIRECTORY/end.json was created. libuser STORE DIRECTORY gone: "ready", then what a line on standard input
 * leaves of the connection. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"
#include "tools/libshoal/shoal.h"

#define BATCHES 12
#define UNDER_WAY 4
#define TEXT(text) text, sizeof(text) - 1

static const char *store, *directory;

static const char *path_of(const char *name, char path[static 256])
{
	snprintf(path, 256, "%s/%s", directory, name);
	return path;
}

static struct shoal *open_store(void)
{
	struct shoal_error e;
	struct shoal *s;
	if (shoal_open(store, &s, &e) < 0)
		tap_bail("%s", e.message);
	return s;
}

static bool holds(struct shoal *s, const char *path, const char *text)
{
	struct shoal_file f;
	struct shoal_error e;
	if (shoal_get(s, path, NULL, 0, &f, &e) < 0) {
		tap_diag("%s", e.message);
		return false;
	}
	bool same = !strcmp(f.data, text) && f.len == strlen(text);
	if (!same)
		tap_diag("%s is %s", path, f.data);
	shoal_file_done(&f);
	return same;
}

static void test_files(struct shoal *s)
{
	char path[256], other[256], version[SHOAL_VERSION_SIZE], next[SHOAL_VERSION_SIZE];
	struct shoal_error e = { 0 };
	struct shoal_file f;
	path_of("a.json", path);
	is_int(shoal_put(s, path, TEXT("{\"a\": 1, \"b\": [1]}"), "", version, &e), 0, "a document is made");
	is_errno(shoal_put(s, path, "1", 1, "", NULL, &e), -ESTALE, "once: %s", e.message);
	is_int(shoal_merge(s, path, TEXT("{\"a\": null, \"c\": 18446744073709551616}"), version, next, &e), 0,
	       "changed");
	ok(strcmp(version, next) && strlen(next) == 32, "to another version");
	is_errno(shoal_merge(s, path, "{}", 2, version, NULL, &e), -ESTALE, "whoever has the old one is told: %s",
		 e.message);
	const char *ops = "[{\"op\":\"test\",\"path\":\"/b/0\",\"value\":1},{\"op\":\"add\",\"path\":\"/b/-\",\"value\":2}]";
	is_int(shoal_patch(s, path, ops, strlen(ops), next, next, &e), 0, "and patched");
	ok(holds(s, path, "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"c\": 18446744073709551616\n}\n"),
	   "all of it is there, with all digits");
	const char *no = "[{\"op\":\"test\",\"path\":\"/b/0\",\"value\":2}]";
	is_errno(shoal_patch(s, path, no, strlen(no), NULL, NULL, &e), -ECANCELED, "a test that fails: %s", e.message);
	next[8] = '\0';
	ok(shoal_get(s, path, next, 0, &f, &e) == 0 && !strncmp(f.version, next, 8) && !strcmp(f.form, "json"),
	   "a version is read by its first digits: %s", e.message);
	shoal_file_done(&f);
	is_errno(shoal_get(s, path_of("none.json", other), NULL, 0, &f, &e), -ENOENT, "%s", e.message);
	is_errno(shoal_get(s, directory, NULL, 0, &f, &e), -EISDIR, "%s", e.message);
	is_errno(shoal_put(s, "nowhere/a.json", "1", 1, NULL, NULL, &e), -ENOENT, "%s", e.message);
	is_errno(shoal_put(s, path_of("a.txt", other), "1", 1, NULL, NULL, &e), -EINVAL, "%s", e.message);
	is_int(shoal_delete(s, path, NULL, &e), 0, "and deleted");
	is_errno(shoal_delete(s, path, NULL, &e), -ENOENT, "%s", e.message);
	is_int(shoal_sync(s, &e), 0, "what was done is on the disk");
	is_errno(shoal_call(s, "nonsense", NULL, NULL, NULL, &e), -ENOSYS, "%s", e.message);
}

static void test_txn(struct shoal *s)
{
	char a[256], b[256], version[3][SHOAL_VERSION_SIZE];
	struct shoal_error e = { 0 };
	struct shoal_txn *t;
	if (shoal_txn_new(&t) < 0)
		tap_bail("no memory");
	shoal_txn_put(t, path_of("t1.json", a), "{\"n\":1}", 7, "", &e);
	shoal_txn_put(t, path_of("t2.json", b), "{\"n\":1}", 7, "", &e);
	shoal_txn_merge(t, a, "{\"n\":2}", 7, NULL, &e);
	is_int(shoal_txn_run(s, t, SHOAL_SYNC, version, &e), 0, "three steps, to the disk");
	ok(!strcmp(version[0], version[2]) && strlen(version[1]) == 32 && holds(s, a, "{\n  \"n\": 2\n}\n"),
	   "one goes on from the other");
	shoal_txn_clear(t);
	shoal_txn_delete(t, a, version[0], &e);
	shoal_txn_delete(t, b, "0000", &e);
	ok(shoal_txn_run(s, t, 0, NULL, &e) == -ESTALE && !strncmp(e.message, "line 2: ", 8), "%s", e.message);
	ok(holds(s, a, "{\n  \"n\": 2\n}\n") && holds(s, b, "{\n  \"n\": 1\n}\n"), "and nothing was done");
	shoal_txn_free(t);
}

struct bulk {
	unsigned under_way, failed;
};

static int one_done(const struct shoal_answer *a, void *userdata)
{
	struct bulk *b = userdata;
	b->under_way--;
	b->failed += a->error != NULL;
	return 0;
}

/* Several thousand documents with a few requests under way at any time. */
static void *fill(void *userdata)
{
	const unsigned *number = userdata;
	struct shoal *s = open_store();
	struct shoal_error e = { 0 };
	struct bulk b = { 0 };
	struct shoal_txn *t;
	int64_t r = shoal_txn_new(&t), oldest = 0;
	for (unsigned i = 0; i < BATCHES && r >= 0; i++) {
		for (unsigned k = 0; k < 500 && r >= 0; k++) {
			char path[256], name[64], json[64];
			snprintf(name, sizeof(name), "%u-%u.json", *number, i * 500 + k);
			int len = snprintf(json, sizeof(json), "{\"n\":%u}", i * 500 + k);
			r = shoal_txn_put(t, path_of(name, path), json, (size_t)len, NULL, &e);
		}
		b.under_way++;
		if (r >= 0)
			r = shoal_txn_send(s, t, SHOAL_APART, one_done, &b, &e);
		oldest = oldest ? oldest : r;
		shoal_txn_clear(t);
		if (r >= 0 && b.under_way >= UNDER_WAY)
			r = shoal_finish(s, oldest++, &e);
	}
	if (r >= 0)
		r = shoal_finish(s, 0, &e);
	if (r < 0)
		tap_diag("%s", e.message);
	shoal_txn_free(t);
	shoal_close(s);
	return r < 0 || b.failed || b.under_way ? userdata : NULL;
}

static void test_threads(struct shoal *s)
{
	static unsigned number[3] = { 1, 2, 3 };
	pthread_t thread[3];
	char path[256];
	bool good = true;
	for (unsigned i = 0; i < 3; i++)
		if (pthread_create(&thread[i], NULL, fill, &number[i]))
			tap_bail("no thread");
	for (unsigned i = 0; i < 3; i++) {
		void *failed;
		pthread_join(thread[i], &failed);
		good &= !failed;
	}
	ok(good, "three threads, each with a connection of its own, put 6000 documents each");
	ok(holds(s, path_of("1-0.json", path), "{\n  \"n\": 0\n}\n") &&
	   holds(s, path_of("3-5999.json", path), "{\n  \"n\": 5999\n}\n"), "which are there");
}

static int collect(const struct shoal_answer *a, void *userdata)
{
	char *text = userdata;
	size_t len = strlen(text);
	if (a->error)
		return a->error->code;
	snprintf(text + len, 1024 - len, "%.*s%s", (int)a->len, a->json, a->last ? "" : " ");
	return 0;
}

static void test_query(struct shoal *s)
{
	char path[256], sql[512], text[1024] = "";
	struct shoal_error e = { 0 };
	const struct shoal_param param[] = { { "n", "5" }, { "text", "\"5\"" } };
	shoal_put(s, path_of("q.json", path), TEXT("{\"n\":5}"), NULL, NULL, &e);
	snprintf(sql, sizeof(sql), "SELECT body ->> 'n' AS n, :text, body -> '$' AS b FROM \"%s\" WHERE _id = 'q' AND n = :n",
		 directory);
	is_int(shoal_query(s, sql, param, 2, collect, text, &e), 0, "a question: %s", e.message);
	is_str(text, "{\"columns\":[{\"name\":\"n\",\"json\":false},{\"name\":\":text\",\"json\":false},"
		     "{\"name\":\"b\",\"json\":true}]} {\"rows\":[[5,\"5\",\"{\\\"n\\\":5}\"]]} {\"count\":1}", "is answered");
	is_errno(shoal_query(s, "SELECT nothing", NULL, 0, collect, text, &e), -EINVAL, "%s", e.message);
	is_errno(shoal_query(s, "SELECT \xff", NULL, 0, collect, text, &e), -EILSEQ, "%s", e.message);
}

struct told {
	struct shoal *other;
	unsigned n;
	char end[256];
	char text[4][512];
};

static int hear(const struct shoal_answer *a, void *userdata)
{
	struct told *t = userdata;
	struct shoal_error e;
	char path[256];
	if (a->error)
		return a->error->code;
	if (t->n < 4)
		snprintf(t->text[t->n], sizeof(t->text[0]), "%.*s", (int)a->len, a->json);
	/* It has begun: now something happens. */
	if (!t->n++)
		shoal_put(t->other, path_of("w.json", path), "{\"a\":1}", 7, NULL, NULL, &e);
	return strstr(t->text[t->n <= 4 ? t->n - 1 : 3], "w.json") ? 1 : 0;
}

static void test_watch(struct shoal *s)
{
	struct shoal *watching = open_store();
	struct told t = { .other = s };
	struct shoal_error e = { 0 };
	char want[512];
	int64_t id = shoal_watch(watching, &directory, 1, hear, &t, &e);
	is_int(shoal_finish(watching, id, &e), 0, "a watch ends when it has seen enough");
	snprintf(want, sizeof(want), "{\"path\":\"%s/w.json\",\"kind\":\"created\",\"type\":\"file\",", directory);
	ok(!strcmp(t.text[0], "{}") && !strncmp(t.text[1], want, strlen(want)), "%s", t.text[1]);
	shoal_close(watching);
}

static void test_wait(struct shoal *s)
{
	struct shoal_error e = { 0 };
	is_int(shoal_wait(s, &directory, 1, 0, NULL, 0, &e), 0, "no other device is waited for");
	is_errno(shoal_wait(s, NULL, 0, 7, NULL, 1000, &e), -ETIMEDOUT, "%s", e.message);
	is_errno(shoal_wait(s, NULL, 0, 0, "nobody", 0, &e), -ENODEV, "%s", e.message);
}

static int print(const struct shoal_answer *a, void *userdata)
{
	const char *end = userdata;
	if (a->error)
		return a->error->code;
	printf("%.*s\n", (int)a->len, a->json);
	fflush(stdout);
	return a->len > strlen(end) && strstr(a->json, end) ? 1 : 0;
}

static int watch(void)
{
	char end[300];
	struct shoal *s = open_store();
	struct shoal_error e;
	snprintf(end, sizeof(end), "\"path\":\"%s/end.json\"", directory);
	int64_t id = shoal_watch(s, &directory, 1, print, end, &e);
	int r = id < 0 ? (int)id : shoal_finish(s, id, &e);
	shoal_close(s);
	return r < 0;
}

static int gone(void)
{
	char line[16], path[256];
	struct shoal *s = open_store();
	struct shoal_error e = { 0 };
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	int r = shoal_put(s, path_of("a.json", path), "1", 1, NULL, NULL, &e);
	printf("%s: %s\n", strerrorname_np(-r), e.message);
	shoal_close(s);
	r = shoal_open(store, &s, &e);
	printf("%s: %s\n", strerrorname_np(-r), e.message);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	store = argv[1];
	directory = argv[2];
	if (argc > 3)
		return !strcmp(argv[3], "watch") ? watch() : gone();
	tap_plan(17 + 4 + 2 + 4 + 2 + 3);
	struct shoal *s = open_store();
	test_files(s);
	test_txn(s);
	test_threads(s);
	test_query(s);
	test_watch(s);
	test_wait(s);
	shoal_close(s);
	return tap_done();
}
