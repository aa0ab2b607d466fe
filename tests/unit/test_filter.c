/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a filter selects, what it refuses and in which words, and what it takes at most. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/buf.h"
#include "engine/filter.h"
#include "tests/tap.h"

/* 1, 0; negative: the filter itself was refused. */
static int select_text(const char *expr, const char *path, const char *text)
{
	_cleanup_(filter_freep) struct filter *f = NULL;
	struct err e = { 0 };
	int rc = filter_new(expr, strlen(expr), &f, &e);
	if (rc < 0) {
		tap_diag("%s: %s", expr, e.message);
		return rc;
	}
	bool match;
	struct filter_file x = { .id = { { 0xab, 0xcd } }, .path = path, .path_len = strlen(path),
				 .text = text, .len = text ? strlen(text) : 0 };
	rc = filter_match(f, &x, &match);
	return rc < 0 ? rc : match;
}

static void test_matches(void)
{
	static const struct {
		const char *expr, *text;
		int want;
	} c[] = {
		{ "status = 'open' AND doors > 3", "{\"status\":\"open\",\"doors\":4}", 1 },
		{ "status = 'open' AND doors > 3", "{\"status\":\"open\",\"doors\":3}", 0 },
		{ "status = 'open' AND doors > 3", "{\"status\":\"open\"}", 0 },
		{ "doors IS NULL", "{\"status\":\"open\"}", 1 },
		{ "doors IS NULL", "{\"doors\":null}", 1 },
		{ "NOT missing", "{}", 0 },
		{ "body ->> '$.a.b' = 7", "{\"a\":{\"b\":7}}", 1 },
		{ "a ->> 'b' = 7", "{\"a\":{\"b\":7}}", 1 },
		{ "tags ->> 1 = 'y'", "{\"tags\":[\"x\",\"y\"]}", 1 },
		{ "\"first name\" LIKE 'an%'", "{\"first name\":\"Anna\"}", 1 },
		{ "\"a.b\" = 1", "{\"a.b\":1}", 1 },
		{ "\"say \"\"x\"\"\" = 1", "{\"say \\\"x\\\"\":1}", 1 },
		{ "done", "{\"done\":true}", 1 },
		{ "done", "{\"done\":false}", 0 },
		{ "done = TRUE", "{\"done\":true}", 1 },
		{ "n = '1'", "{\"n\":1}", 0 },
		{ "n = 9007199254740993", "{\"n\":9007199254740993}", 1 },
		{ "n = 9007199254740993", "{\"n\":9007199254740992}", 0 },
		{ "n > 1e18", "{\"n\":123456789012345678901234567890}", 1 },
		{ "n = 1000", "{\"n\":1e3}", 1 },
		{ "n = 1.5", "{\"n\":1.50}", 1 },
		{ "n > 1e300", "{\"n\":1e400}", 1 },
		{ "name = 'a' || char(0) || 'b'", "{\"name\":\"a\\u0000b\"}", 1 },
		{ "length(name) = 2", "{\"name\":\"\\u00e4\\u00f6\"}", 1 },
		{ "instr(name, '\xc3\xb6') = 2", "{\"name\":\"\\u00e4\\u00f6\"}", 1 },
		{ "instr(name, 'x') = 0 AND instr(name, '') = 1", "{\"name\":\"ab\"}", 1 },
		{ "name IN ('a', 'b') AND n BETWEEN 1 AND 3", "{\"name\":\"b\",\"n\":3}", 1 },
		{ "CASE n WHEN 1 THEN 'x' ELSE 'y' END = 'y'", "{\"n\":2}", 1 },
		{ "date(at) < '2026-01-01'", "{\"at\":\"2025-12-31\"}", 1 },
		{ "_path LIKE 'cars/%' AND n", "{\"n\":1}", 1 },
		{ "_path GLOB '*/8.json'", "{}", 0 },
		{ "_id = 'abcd0000000000000000000000000000'", "{}", 1 },
		{ "rowid = 5", "{\"rowid\":5}", 1 },
		{ "n -- whatever", "{\"n\":1}", 1 },
		{ "json_array_length(l) = 2", "{\"l\":[1,2]}", 1 },
		{ "json_extract(l, '$[') = 2", "{\"l\":[1,2]}", 0 },
		{ "a = 1", "[1]", 0 },
		{ "body ->> 0 = 1", "[1]", 1 },
		{ "a = 1", "no JSON", 0 },
		{ "1", "{}", 1 },
		{ "'text'", "{}", 0 },
		{ "abs(n) = 1", "{\"n\":-9223372036854775808}", 0 },
		{ "CASE n WHEN 1 THEN datetime('now') ELSE 1 END", "{\"n\":2}", 1 },
		{ "CASE n WHEN 1 THEN datetime('now') ELSE 1 END", "{\"n\":1}", 0 },
	};
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++)
		is_int(select_text(c[i].expr, "cars/7.json", c[i].text), c[i].want, "%s: %s", c[i].expr,
		       c[i].text);
	is_int(select_text("_path LIKE 'cars/%'", "cars/7.png", NULL), 1, "a blob has a path");
	is_int(select_text("_path LIKE 'cars/%' OR n = 1", "cars/7.png", NULL), 0,
	       "what asks for members never selects a blob");
	is_int(select_text("body IS NULL", "cars/7.png", NULL), 0, "nor does what asks for the body");
}

static void test_refused(void)
{
	static const struct {
		const char *expr, *says;
		uint32_t column;
		int code;
	} c[] = {
		{ "", "empty", 0, -EINVAL },
		{ " \t", "empty", 0, -EINVAL },
		{ "a = ", "SQLite", 0, -EINVAL },
		{ "status == = 3", "near \"=\"", 11, -EINVAL },
		{ "a = 1 AND nosuch(b)", "nosuch", 11, -EINVAL },
		{ "random() > 0", "depend on the document", 1, -EINVAL },
		{ "a > datetime('now')", "depend on the document", 0, -EINVAL },
		{ "a > date()", "depend on the document", 0, -EINVAL },
		{ "a > CURRENT_TIMESTAMP", "depend on the document", 5, -EINVAL },
		{ "last_insert_rowid() = a", "depend on the document", 1, -EINVAL },
		{ "a IN (SELECT 1)", "subquery", 0, -EINVAL },
		{ "EXISTS (SELECT * FROM doc)", "subquery", 0, -EINVAL },
		{ "a IN doc", "select", 0, -EINVAL },
		{ "a = ?", "parameters", 0, -EINVAL },
		{ "a = :x", "parameters", 0, -EINVAL },
		{ "count(*) > 1", "aggregate", 0, -EINVAL },
		{ "row_number() OVER () > 1", "window", 0, -EINVAL },
		{ "other.a = 1", "other.a", 0, -EINVAL },
		{ "a; DROP TABLE doc", "SQLite", 0, -EINVAL },
		{ "1), (2", "one expression", 0, -EINVAL },
		{ "1) FROM doc /*", "SQLite", 0, -EINVAL },
		{ "1) FROM doc UNION SELECT (2", "subquery", 0, -EINVAL },
		{ "RAISE(IGNORE)", "RAISE", 0, -EINVAL },
		{ "zeroblob(1000000000) = a", "zeroblob()", 0, -EINVAL },
		{ "printf('%1000000d', 1) = a", "printf()", 0, -EINVAL },
		{ "load_extension('x')", "load_extension", 0, -EINVAL },
		{ "sqlite_version() = a", "sqlite_version()", 0, -EINVAL },
		{ "\xff = 1", "UTF-8", 0, -EINVAL },
		{ "a = 'x", "'x", 0, -EINVAL },
	};
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		_cleanup_(filter_freep) struct filter *f = NULL;
		struct err e = { 0 };
		int rc = filter_new(c[i].expr, strlen(c[i].expr), &f, &e);
		if (!ok(rc == c[i].code && strstr(e.message, c[i].says) &&
				(c[i].column == 0 || (e.line == 1 && e.column == c[i].column)),
			"refused: %s", c[i].expr))
			tap_diag("%d, line %u column %u: %s", rc, e.line, e.column, e.message);
	}
	struct err e = { 0 };
	struct filter *f = NULL;
	is_errno(filter_new("a\0b", 3, &f, &e), -EINVAL, "a NUL is refused");
	is_errno(filter_new("a =\n\xc3\xa4 = = 1", 12, &f, &e), -EINVAL, "a second line is refused");
	ok(e.line == 2 && e.column == 5, "... at its place: line %u, column %u", e.line, e.column);
}

static void test_bounds(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct filter *f = NULL;
	buf_puts(&b, "1");
	while (b.len <= FILTER_SIZE_MAX)
		buf_puts(&b, " ");
	is_errno(filter_new((char *)b.data, b.len, &f, NULL), -E2BIG, "a long filter is refused");
	buf_reset(&b);
	for (int i = 0; i <= FILTER_MEMBERS_MAX; i++)
		buf_putf(&b, "%sm%d", i ? "," : "0 IN (", i);
	buf_puts(&b, ")");
	is_errno(filter_new((char *)b.data, b.len, &f, NULL), -E2BIG, "one that names many members too");
	buf_reset(&b);
	for (int i = 0; i < 1000; i++)
		buf_puts(&b, "(");
	is_errno(filter_new((char *)b.data, b.len, &f, NULL), -EINVAL, "so is one that is deep");
	buf_reset(&b);
	buf_puts(&b, "{\"s\":\"");
	for (int i = 0; i < 1 << 22; i++)
		buf_puts(&b, i % 1000 ? "a" : "b");
	buf_puts(&b, "\"}");
	const char *text = buf_cstr(&b);
	clock_t start = clock();
	is_int(select_text("s || s || s || s || s || s || s || s || s || s || s || s || s || s || s || s || s || "
			   "s || s || s IS NOT NULL", "x.json", text),
	       0, "what would grow beyond 72 MiB does not match");
	is_int(select_text("instr(s, substr(s, 2000000)) > 0", "x.json", text), 1,
	       "a long needle is found in a long haystack");
	is_int(select_text("s LIKE '%a%a%a%a%a%a%a%a%a%a%c'", "x.json", text), 0, "a pattern with many joker signs");
	ok((double)(clock() - start) / CLOCKS_PER_SEC < 20, "... in %.2f s",
	   (double)(clock() - start) / CLOCKS_PER_SEC);
}

#define THREADS 4

static void *ask(void *userdata)
{
	struct filter *f = userdata;
	intptr_t wrong = 0;
	for (int i = 0; i < 3000; i++) {
		char text[40];
		bool match = false;
		int n = snprintf(text, sizeof(text), "{\"n\":%d}", i);
		struct filter_file x = { .path = "", .text = text, .len = (size_t)n };
		wrong += filter_match(f, &x, &match) < 0 || match != (i % 3 == 0);
	}
	return (void *)wrong;
}

static void test_threads(void)
{
	_cleanup_(filter_freep) struct filter *f = NULL;
	pthread_t t[THREADS];
	if (filter_new("n % 3 = 0", 9, &f, NULL) < 0)
		tap_bail("no filter");
	int started = 0;
	while (started < THREADS && pthread_create(&t[started], NULL, ask, f) == 0)
		started++;
	intptr_t wrong = 0;
	for (int i = 0; i < started; i++) {
		void *w = NULL;
		pthread_join(t[i], &w);
		wrong += (intptr_t)w;
	}
	ok(started == THREADS && wrong == 0, "four threads ask one filter");
	clock_t start = clock();
	(void)ask(f);
	double us = (double)(clock() - start) / CLOCKS_PER_SEC / 3000 * 1e6;
	ok(us < 1000, "a question takes %.1f us", us);
	is_str(filter_text(f), "n % 3 = 0", "it knows what it was made of");
	ok(filter_uses_content(f) && !filter_uses_path(f), "... and what it asks for");
}

int main(void)
{
	tap_plan(44 + 3 + 29 + 3 + 7 + 4);
	test_matches();
	test_refused();
	test_bounds();
	test_threads();
	return tap_done();
}
