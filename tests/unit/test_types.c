/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations: patterns, arrays that are declared as something, and how declarations travel. */

#include <errno.h>

#include "engine/types.h"
#include "tests/meeting.h"

/* --- patterns --- */

static enum merge look_up(struct arena *a, const struct types *t, const char *const *path)
{
	const struct types_at *at;
	if (types_begin(a, t, &at) < 0)
		tap_bail("begin");
	for (; *path; path++) {
		bool element = strcmp(*path, "[]") == 0;
		if (types_step(a, at, element ? NULL : *path, strlen(*path), &at) < 0)
			tap_bail("step");
	}
	return types_merge(at);
}

static void add(struct types *t, const char *pointer, const char *text)
{
	if (types_add(t, pointer, strlen(pointer), text, strlen(text)) < 0)
		tap_bail("add %s", pointer);
}

static void test_patterns(void)
{
	static const struct {
		const char *path[5];
		enum merge want;
	} c[] = {
		{ { NULL }, MERGE_KEYED },
		{ { "a" }, MERGE_COUNTER },
		{ { "b" }, MERGE_REGISTER },
		{ { "[]" }, MERGE_REGISTER },
		{ { "a", "x" }, MERGE_SET },
		{ { "a", "c" }, MERGE_COUNTER },
		{ { "b", "c" }, MERGE_LIST },
		{ { "b", "x" }, MERGE_DEFAULT },
		{ { "[]", "c" }, MERGE_LIST },
		{ { "a", "x", "y" }, MERGE_DEFAULT },
		{ { "*", "d" }, MERGE_SET },
		{ { "q", "d" }, MERGE_DEFAULT },
		{ { "", "/~" }, MERGE_COUNTER },
		{ { "a", "c", "d" }, MERGE_LIST },
		{ { "z", "c", "d" }, MERGE_SET },
	};
	_cleanup_(types_freep) struct types *t = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	unsigned bad = 0;
	if (types_new(&t) < 0)
		tap_bail("new");
	ok(types_empty(t) && look_up(&a, t, c[0].path) == MERGE_DEFAULT &&
		   look_up(&a, NULL, c[1].path) == MERGE_DEFAULT,
	   "nothing is declared");
	add(t, "", "keyed:id");
	add(t, "/a", "counter");
	add(t, "/*", "register");
	add(t, "/a/*", "set");
	add(t, "/a/c", "counter");
	add(t, "/*/c", "list");
	add(t, "/~2/d", "set");
	add(t, "//~1~0", "counter");
	add(t, "/*/c/d", "set");
	add(t, "/a/*/d", "list");
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		enum merge m = look_up(&a, t, c[i].path);
		if (m == c[i].want)
			continue;
		bad++;
		tap_diag("%zu: %d, wanted %d", i, m, c[i].want);
	}
	is_uint(bad, 0, "names win over *, from the left");
	ok(types_have(t, MERGE_SET) && types_have(t, MERGE_KEYED), "all kinds are there");
}

static void test_texts(void)
{
	static const char *const good[] = { "register", "counter", "set", "list", "text", "keyed:id",
					    "keyed::" };
	static const char *const bad[] = { "", "count", "counters", "sets", "keyed", "keyed:", "text ",
					   "Set", "default", "keyed:\xff" };
	static const char *const pointer[] = { "a", "*", "/a~", "/~3", "/a~2", "/\xff" };
	struct type t = { 0 };
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		wrong += type_parse(good[i], strlen(good[i]), &t, NULL) != 0;
	ok(wrong == 0 && t.merge == MERGE_KEYED && t.field_len == 1, "types that are");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		wrong += type_parse(bad[i], strlen(bad[i]), &t, NULL) != -EINVAL;
	is_uint(wrong, 0, "and types that are none");
	for (size_t i = 0; i < sizeof(pointer) / sizeof(*pointer); i++)
		wrong += type_check_pointer(pointer[i], strlen(pointer[i]), NULL) != -EINVAL;
	ok(wrong == 0 && type_check_pointer("/a*/~01/*", 9, NULL) == 0, "pointers are checked");
}

/* --- arrays --- */

static void declare(const char *pointer, const char *type)
{
	struct err e = { 0 };
	if (replica_declare(p.r, &dir.id, pointer, strlen(pointer), type, &e) < 0)
		tap_bail("declare %s: %s", pointer, e.message);
	send(&p, &q, &dir.id);
}

static struct id begin_json(const char *text)
{
	static unsigned n;
	char name[16];
	snprintf(name, sizeof(name), "t%u.json", n++);
	return begin(name, text);
}

struct example {
	const char *before, *one, *other, *both, *what;
};

static void check(const struct example *ex, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct id id = begin_json(ex[i].before);
		edit(&p, &id, ex[i].one);
		edit(&q, &id, ex[i].other);
		meet(&id);
		ok(shows(&id, ex[i].both), "%s", ex[i].what);
	}
}

static void test_lists(void)
{
	static const struct example ex[] = {
		{ "{\"l\": [1, 2]}\n", "{\"l\": [1, 2, 3]}\n", "{\"l\": [0, 1, 2]}\n",
		  "{\"l\": [0, 1, 2, 3]}\n", "numbers in a list merge one by one" },
		{ "{\"r\": []}\n", "{\"r\": [\"a\"]}\n", "{\"r\": [\"a\"]}\n", "{\"r\": [\"a\"]}\n",
		  "an array that is one value" },
	};
	declare("/l", "list");
	declare("/r", "register");
	check(ex, sizeof(ex) / sizeof(*ex));
	struct id id = begin_json("{\"r\": [\"a\", \"b\"]}\n");
	struct attr at;
	edit(&p, &id, "{\"r\": [\"a\", \"b\", \"c\"]}\n");
	q.wall = p.wall + 1000000;
	edit(&q, &id, "{\"r\": [\"b\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"r\": [\"b\"]}\n") && replica_attr(p.r, &id, &at) == 0 && at.conflict,
	   "competes as a whole");
	declare("/r", "list");
	edit(&p, &id, "{\"r\": [\"b\", \"p\"]}\n");
	edit(&q, &id, "{\"r\": [\"q\", \"b\"]}\n");
	meet(&id);
	_cleanup_free_ char *x = rep_read(p.r, &id);
	ok(shows(&id, x) && strstr(x, "\"p\"") && strstr(x, "\"q\"") && strstr(x, "\"b\"") &&
		   strlen(x) == strlen("{\"r\": [\"q\", \"b\", \"p\"]}\n"),
	   "until it is declared a list");
	declare("/r", "register");
	declare("/r", "list");
	edit(&p, &id, "{\"r\": [\"b\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"r\": [\"b\"]}\n"), "from which elements go");
}

static void test_sets(void)
{
	static const struct example ex[] = {
		{ "{\"s\": [\"a\"]}\n", "{\"s\": [\"a\", \"x\"]}\n", "{\"s\": [\"a\", \"x\", \"y\"]}\n",
		  "{\"s\": [\"a\", \"x\", \"y\"]}\n", "two that add the same add one" },
		{ "{\"s\": [\"a\", \"b\"]}\n", "{\"s\": [\"b\"]}\n", "{\"s\": [\"b\", \"a\", \"c\"]}\n",
		  "{\"s\": [\"b\", \"c\"]}\n", "one that is only moved goes" },
		{ "{\"s\": [1, 2, 3]}\n", "{\"s\": [1, 2, 3, 4]}\n", "{\"s\": [1, 2, 4]}\n",
		  "{\"s\": [1, 2, 4]}\n", "sets of numbers" },
		{ "{\"s\": [{\"id\": 1, \"n\": 1}]}\n", "{\"s\": [{\"id\": 1, \"n\": 2}]}\n",
		  "{\"s\": [{\"id\": 1, \"n\": 2}]}\n", "{\"s\": [{\"id\": 1, \"n\": 2}]}\n",
		  "what is changed is another element" },
		{ "{\"s\": []}\n", "{\"s\": [\"a\", \"b\", \"a\"]}\n", "{\"s\": []}\n",
		  "{\"s\": [\"a\", \"b\"]}\n", "nothing is there twice" },
		{ "{\"s\":  [\"a\"]}\n", "{\"s\":  [\"a\",  1, \"a\", 1.0]}\n", "{\"s\":  [\"a\"]}\n",
		  "{\"s\": [\"a\", 1]}\n", "by whatever way it is written" },
		{ "{\"s\": [{\"id\": 1, \"n\": 1}]}\n", "{\"s\": [{\"id\": 1, \"n\": 2}]}\n",
		  "{\"s\": []}\n", "{\"s\": [{\"id\": 1, \"n\": 2}]}\n", "what comes outlives what goes" },
	};
	declare("/s", "set");
	check(ex, sizeof(ex) / sizeof(*ex));
	/* Removed, and added again by somebody who had removed it. */
	struct id id = begin_json("{\"s\": [\"a\", \"b\"]}\n");
	edit(&p, &id, "{\"s\": [\"b\"]}\n");
	edit(&p, &id, "{\"s\": [\"b\", \"a\"]}\n");
	edit(&q, &id, "{\"s\": [\"b\"]}\n");
	meet(&id);
	ok(shows(&id, "{\"s\": [\"b\", \"a\"]}\n"), "a new one outlives the removal of the old one");
	struct attr at;
	struct id born;
	if (rep_create(p.r, &dir.id, "born.json", "{\"s\": [1, 1, 2]}\n", &at) < 0)
		tap_bail("create");
	born = at.id;
	send(&p, &q, &born);
	ok(shows(&born, "{\"s\": [1, 2]}\n"), "nor is it in a new file");
}

static void test_keyed(void)
{
	static const struct example ex[] = {
		{ "{\"k\": []}\n", "{\"k\": [{\"no\": 7, \"a\": 1}]}\n",
		  "{\"k\": [{\"no\": 7, \"b\": 2}]}\n", "{\"k\": [{\"no\": 7, \"a\": 1, \"b\": 2}]}\n",
		  "two that make an element of one key make one" },
		{ "{}\n", "{\"k\": [{\"no\": 7, \"a\": 1}]}\n", "{\"k\": [{\"no\": 7, \"a\": 1}]}\n",
		  "{\"k\": [{\"no\": 7, \"a\": 1}]}\n", "in a new array as well" },
		{ "{\"k\": [{\"no\": 1, \"a\": 1}, {\"no\": 2}]}\n",
		  "{\"k\": [{\"no\": 2}, {\"no\": 1, \"a\": 1}]}\n",
		  "{\"k\": [{\"no\": 1, \"a\": 2}, {\"no\": 2}]}\n",
		  "{\"k\": [{\"no\": 2}, {\"no\": 1, \"a\": 2}]}\n", "a move and an edit" },
		{ "{\"k\": [\"x\"]}\n", "{\"k\": [\"x\", \"y\"]}\n", "{\"k\": [\"x\", {\"no\": 1}]}\n",
		  NULL, "elements without it" },
		{ "{\"k\": [{\"no\": 1}]}\n", "{\"k\": [{\"no\": 1}, {\"no\": 1}]}\n",
		  "{\"k\": [{\"no\": 1}]}\n", "{\"k\": [{\"no\": 1}, {\"no\": 1}]}\n",
		  "a key twice is not lost" },
	};
	declare("/k", "keyed:no");
	for (size_t i = 0; i < sizeof(ex) / sizeof(*ex); i++) {
		if (ex[i].both) {
			check(&ex[i], 1);
			continue;
		}
		struct id id = begin_json(ex[i].before);
		edit(&p, &id, ex[i].one);
		edit(&q, &id, ex[i].other);
		meet(&id);
		_cleanup_free_ char *x = rep_read(p.r, &id);
		ok(shows(&id, x) && strstr(x, "\"x\"") && strstr(x, "\"y\"") && strstr(x, "{\"no\": 1}"),
		   "%s", ex[i].what);
	}
}

/* From one to the other while both edit: all that was put in is there. */
static void test_turning(void)
{
	static const char *const type[] = { "list", "set", "keyed:id", NULL, "set", "list", "keyed:id",
					    "set" };
	struct id id = begin_json("{\"t\": []}\n");
	char was[4096] = "";
	unsigned n = 0, lost = 0;
	for (unsigned i = 0; i < 8; i++) {
		declare("/t", type[i]);
		for (unsigned k = 0; k < 2; k++) {
			struct rep *d = k ? &q : &p;
			_cleanup_free_ char *x = rep_read(d->r, &id);
			size_t len = strlen(x);
			snprintf(was, sizeof(was), "%.*s%s{\"id\": %u}, %u%s", (int)len - 3, x,
				 len > 10 ? ", " : "", n, n + 1, "]}\n");
			n += 2;
			edit(d, &id, was);
		}
		meet(&id);
	}
	_cleanup_free_ char *x = rep_read(p.r, &id);
	for (unsigned i = 0; i < n; i++) {
		char part[32];
		if (i % 2)
			snprintf(part, sizeof(part), "}, %u%c", i, i + 1 < n ? ',' : ']');
		else
			snprintf(part, sizeof(part), "{\"id\": %u}", i);
		const char *at = strstr(x, part);
		lost += !at || strstr(at + 1, part) != NULL;
	}
	if (lost > 0)
		tap_diag("%s", x);
	ok(shows(&id, x) && lost == 0, "nothing is lost or doubled when the declaration changes");
	edit(&p, &id, "{\"t\": [1, {\"id\": 0}]}\n");
	meet(&id);
	ok(shows(&id, "{\"t\": [1, {\"id\": 0}]}\n"), "and all can be taken away");
}

/* --- how they travel --- */

struct listed {
	char text[256];
};

static int note(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata)
{
	struct listed *l = userdata;
	size_t n = strlen(l->text);
	snprintf(l->text + n, sizeof(l->text) - n, "%.*s=%.*s ", (int)len, pointer, (int)text_len, text);
	return 0;
}

static bool lists(struct rep *d, const struct id *collection, const char *want)
{
	struct listed l = { "" };
	if (replica_declared(d->r, collection, note, &l, NULL) < 0)
		tap_bail("declared");
	if (strcmp(l.text, want) == 0)
		return true;
	tap_diag("%s, wanted %s", l.text, want);
	return false;
}

static void declare_at(struct rep *d, const struct id *collection, const char *pointer,
		       const char *type)
{
	if (replica_declare(d->r, collection, pointer, strlen(pointer), type, NULL) < 0)
		tap_bail("declare %s", pointer);
}

static void test_travel(void)
{
	struct attr own, below, at;
	if (rep_mkdir(p.r, &NODE_ROOT, "own", &own) < 0 || rep_mkdir(p.r, &own.id, "below", &below) < 0)
		tap_bail("mkdir");
	send(&p, &q, &own.id);
	send(&p, &q, &below.id);
	declare_at(&p, &own.id, "/n", "counter");
	declare_at(&q, &own.id, "/m", "set");
	declare_at(&q, &own.id, "", "keyed:id");
	meet(&own.id);
	ok(lists(&p, &own.id, "=keyed:id /m=set /n=counter ") &&
		   lists(&q, &own.id, "=keyed:id /m=set /n=counter "),
	   "both have what either declared");
	declare_at(&p, &own.id, "/n", "list");
	q.wall = p.wall + 1000000;
	declare_at(&q, &own.id, "/n", "set");
	declare_at(&p, &own.id, "", NULL);
	meet(&own.id);
	ok(lists(&p, &own.id, "/m=set /n=set ") && lists(&q, &own.id, "/m=set /n=set "),
	   "the later of two shows, one that is taken back is gone");
	if (rep_create(p.r, &below.id, "x.json", "{\"m\": [1, 1]}\n", &at) < 0)
		tap_bail("create");
	send(&p, &q, &at.id);
	ok(shows(&at.id, "{\"m\": [1]}\n"), "they hold for what is deeper down");
	is_errno(replica_declare(p.r, &below.id, "/n", 2, "set", NULL), -EINVAL, "but are declared at the top");
	is_errno(replica_declare(p.r, &at.id, "/n", 2, "set", NULL), -ENOTDIR, "of no file");
	is_errno(replica_declare(p.r, &own.id, "n", 1, "set", NULL), -EINVAL, "with a pointer");
	is_errno(replica_declare(p.r, &own.id, "/n", 2, "texts", NULL), -EINVAL, "of a known type");
	if (rep_rename(p.r, &at.id, &NODE_ROOT, "y.json", 0) < 0 ||
	    rep_lookup(p.r, &NODE_ROOT, "y.json", &at) < 0)
		tap_bail("rename");
	edit(&p, &at.id, "{\"m\": [1, 1]}\n");
	send(&p, &q, &at.id);
	ok(shows(&at.id, "{\"m\": [1, 1]}\n"), "and hold nowhere else");
}

/* The root's own documents. */
static void test_root(void)
{
	struct attr at;
	ok(lists(&p, &NODE_ROOT, ""), "nothing is declared for the root");
	if (rep_create(p.r, &NODE_ROOT, "r.json", "{\"n\": 10}\n", &at) < 0)
		tap_bail("create");
	send(&p, &q, &at.id);
	declare_at(&p, &NODE_ROOT, "/n", "counter");
	declare_at(&q, &NODE_ROOT, "/m", "set");
	meet(&NODE_TYPES);
	ok(lists(&p, &NODE_ROOT, "/m=set /n=counter ") && lists(&q, &NODE_ROOT, "/m=set /n=counter "),
	   "what two declare for it apart");
	edit(&p, &at.id, "{\"n\": 7}\n");
	edit(&q, &at.id, "{\"n\": 9}\n");
	meet(&at.id);
	ok(shows(&at.id, "{\"n\": 6}\n"), "holds for its documents");
	is_errno(replica_attr(q.r, &NODE_TYPES, &at), -ENOENT, "and is no file");
}

int main(void)
{
	tap_plan(40);
	test_patterns();
	test_texts();
	meeting_open();
	test_lists();
	test_sets();
	test_keyed();
	test_turning();
	test_travel();
	test_root();
	meeting_close("both are sound");
	return tap_done();
}
