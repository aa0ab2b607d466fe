/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written is what is read: any JSON text, in any layout, after any other one. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device.h"
#include "tests/prng.h"

/* Saves text on what is there; true when it reads back as written, here and after a trip. */
static bool exact(struct device *d, const char *text, size_t len)
{
	_cleanup_(buf_done) struct buf base = { 0 }, got = { 0 };
	bool had = d->rec && render_json(&d->arena, d->actors, d->rec, &base, NULL) == 0;
	device_save_len(d, had ? (const char *)base.data : NULL, base.len, NULL, text, len, NULL,
			NULL);
	must(render_json(&d->arena, d->actors, d->rec, &got, NULL));
	if (got.len != len || memcmp(got.data, text, len) != 0) {
		tap_diag("wrote: %.*s\nread:  %.*s", (int)len, text, (int)got.len,
			 (const char *)got.data);
		return false;
	}
	_cleanup_(buf_done) struct buf stored = { 0 }, again = { 0 };
	struct record *r;
	record_encode(d->rec, d->actors, &stored);
	must(record_decode(&d->arena, d->actors, stored.data, stored.len, &r, NULL));
	must(render_json(&d->arena, d->actors, r, &again, NULL));
	return again.len == len && memcmp(again.data, text, len) == 0;
}

/* A sequence of saves over each other. */
static void sequence(const char *const *text, const char *name)
{
	struct device d;
	bool good = true;
	device_init(&d, 1);
	for (; *text; text++)
		good = exact(&d, *text, strlen(*text)) && good;
	ok(good, "%s", name);
	device_done(&d);
}

static const struct value *top_value(struct device *d, const char *top)
{
	struct slot *s = slot_find(d->rec->top, top, 1);
	const struct entry *e = s ? reg_shown(&s->val, d->actors) : NULL;
	return e ? &e->value : NULL;
}

static void test_sequences(void)
{
	static const char *const numbers[] = { "{\"x\":1.0}\n",
					       "{\"x\":1.00}\n",
					       "{\"x\":1}\n",
					       "{\"x\":10e-1}\n",
					       "{\"x\":-0}\n",
					       "{\"x\":0}\n",
					       "{\"x\":1e400}\n",
					       "{\"x\":123456789012345678901234567890}\n",
					       NULL };
	sequence(numbers, "lexemes of numbers");
	static const char *const order[] = { "{\"a\":1,\"b\":2,\"c\":3}\n",
					     "{\"c\":3,\"b\":2,\"a\":1}\n",
					     "{\"b\":2,\"c\":3,\"a\":1}\n",
					     "{\"b\":2,\"a\":1,\"d\":4,\"c\":3}\n",
					     "{}\n",
					     "{\"d\":1,\"c\":1}\n",
					     NULL };
	sequence(order, "orders of keys");
	static const char *const layouts[] = {
		"{\"a\": 1, \"b\": [1, 2]}",
		"{\n  \"a\": 1,\n  \"b\": [1, 2]\n}\n",
		"{\n\t\"a\": 1,\n\t\"b\": [\n\t\t1,\n\t\t2\n\t]\n}\n",
		"{\r\n  \"a\": 1,\r\n  \"b\": [1, 2]\r\n}\r\n",
		"{\"a\":1,\"b\":[1,2]}",
		"{ \"a\" : 1,\n\"b\" :[ 1,2 ] }   ",
		"  {\"a\":1,\"b\":[1,\n2]}\n\n",
		NULL
	};
	sequence(layouts, "layouts and line ends");
	static const char *const empty[] = { "{}",
					     "[]",
					     "{\"a\":{}}\n",
					     "{\"a\":[]}\n",
					     "{\"a\":{\"b\":{}}}\n",
					     "{\"a\":{ }}\n",
					     "{\n}\n",
					     "[[],[[]],{}]",
					     "null",
					     "\"\"",
					     "0\n",
					     "{\"\":\"\"}",
					     NULL };
	sequence(empty, "empty containers and scalars");
	static const char *const escapes[] = { "{\"k\":\"\\u00e9\"}\n",
					       "{\"k\":\"\xc3\xa9\"}\n",
					       "{\"\\u006b\":\"\\/\"}\n",
					       "{\"k\":\"\\ud83d\\ude00\\n\\t\\u0001\"}\n",
					       "{\"k\":\"\\u00E9\"}\n",
					       "{\"k\":\"\\u0000\"}\n",
					       NULL };
	sequence(escapes, "escapes");
	static const char *const inline_objects[] = {
		"{\n  \"p\": { \"x\": 1, \"y\": 2 },\n  \"q\": {\n    \"x\": 1\n  }\n}\n",
		"{\n  \"p\": { \"x\": 1, \"y\": 3 },\n  \"q\": {\n    \"x\": 1\n  },\n  \"r\": [1, 2]\n}\n",
		"{\n  \"p\": {\n    \"x\": 1,\n    \"y\": 3\n  },\n  \"q\": { \"x\": 1 },\n  \"r\": [\n    1,\n    2\n  ]\n}\n",
		NULL
	};
	sequence(inline_objects, "containers on one line or several");

	struct device d;
	device_init(&d, 1);
	ok(exact(&d, "{\"a\":  1}", 9) && top_value(&d, TOP_SOURCE), "odd spaces need the source");
	ok(exact(&d, "{\n  \"a\": 1\n}\n", 13) && !top_value(&d, TOP_SOURCE),
	   "which goes when a style says it all");
	device_done(&d);
	device_init(&d, 1);
	const char *inl =
		"{\n  \"p\": { \"x\": 1 },\n  \"q\": [1, 2],\n  \"r\": {\n    \"z\": []\n  }\n}\n";
	ok(exact(&d, inl, strlen(inl)) && !top_value(&d, TOP_SOURCE),
	   "a prettier text needs no source");
	device_done(&d);
}

static void test_deep(void)
{
	struct device d, e;
	device_init(&d, 1);
	device_init(&e, 2);
	bool good = true;
	for (unsigned round = 0; round < 2; round++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		for (unsigned i = 0; i < 511; i++)
			buf_puts(&b, "{\"k\":");
		buf_puts(&b, round ? "[1]" : "[]");
		for (unsigned i = 0; i < 511; i++)
			buf_puts(&b, "}");
		good = good && exact(&d, (const char *)b.data, b.len);
		device_meet(&d, &e);
		good = good && strcmp(device_text(&e), buf_cstr(&b)) == 0;
	}
	ok(good, "as deep as JSON may be");
	device_done(&d);
	device_done(&e);
}

/* What one device shows after a merge keeps the style of the document. */
static void test_merged_style(void)
{
	struct device a, b;
	device_init(&a, 1);
	device_init(&b, 2);
	device_edit(&a, "{\n\t\"x\": 1\n}\n");
	device_meet(&a, &b);
	device_edit(&a, "{\n\t\"x\": 1,\n\t\"y\": {\n\t\t\"z\": [ 2 ]\n\t}\n}\n");
	device_edit(&b, "{\n\t\"w\": \"v\",\n\t\"x\": 1\n}\n");
	device_meet(&a, &b);
	is_str(device_text(&a),
	       "{\n\t\"w\": \"v\",\n\t\"x\": 1,\n\t\"y\": {\n\t\t\"z\": [ 2 ]\n\t}\n}\n",
	       "a merge is written in the document's style");
	device_edit(&a, "{\n\t\"w\":    \"v\",\n\t\"x\": 1}");
	device_edit(&b,
		    "{\n\t\"w\": \"new\",\n\t\"x\": 1,\n\t\"y\": {\n\t\t\"z\": [ 2 ]\n\t}\n}\n");
	device_meet(&a, &b);
	char *x = device_text(&a), *y = device_text(&b);
	is_str(x, y, "an odd source and an edit: the same bytes everywhere");
	ok(strstr(x, "\"new\"") != NULL, "which hold the edit");
	device_done(&a);
	device_done(&b);
}

static void test_suite(void)
{
	_cleanup_free_ char *dir = tap_data("JSONTestSuite/test_parsing");
	struct dirent **entry = NULL;
	int n = scandir(dir, &entry, NULL, alphasort);
	unsigned files = 0, wrong = 0;
	struct device over;
	device_init(&over, 1);
	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name;
		if (name[0] != 'n' && name[0] != '.') {
			char path[4096];
			size_t len;
			struct json *j;
			struct device d;
			snprintf(path, sizeof(path), "%s/%s", dir, name);
			_cleanup_free_ char *text = tap_read_file(path, &len);
			device_init(&d, 1);
			if (json_parse(&d.arena, text, len, NULL, &j, NULL) == 0) {
				files++;
				/* Each alone, and all of them one over the other. */
				if (!exact(&d, text, len) || !exact(&over, text, len)) {
					tap_diag("%s", name);
					wrong++;
				}
			}
			device_done(&d);
		}
		free(entry[i]);
	}
	free(entry);
	device_done(&over);
	ok(files > 80 && wrong == 0, "%u files of the JSON test suite read as written", files);
}

/* --- random texts in random layouts --- */

struct writer {
	struct prng *r;
	struct buf *b;
	unsigned chaos; /* percent of places with odd white space */
	unsigned indent;
	const char *newline;
};

static void space(struct writer *w)
{
	static const char *const odd[] = { " ", "  ", "\n", "\t", "\r\n", "\n  " };
	if (prng_chance(w->r, w->chaos))
		buf_puts(w->b, odd[prng_below(w->r, 6)]);
}

static void break_line(struct writer *w, unsigned depth)
{
	space(w);
	if (!w->newline)
		return;
	buf_puts(w->b, w->newline);
	for (unsigned i = 0; i < depth * w->indent; i++)
		buf_u8(w->b, ' ');
}

static void write_string(struct writer *w)
{
	static const char *const piece[] = { "a",
					     "b",
					     "\\u0041",
					     "\\n",
					     "\xc3\xa9",
					     "\\u00e9",
					     "/",
					     "\\/",
					     "\\\"",
					     "\xf0\x9f\x98\x80",
					     "\\ud83d\\ude00",
					     " ",
					     "\x7f" };
	buf_u8(w->b, '"');
	for (uint64_t n = prng_below(w->r, 4); n > 0; n--)
		buf_puts(w->b, piece[prng_below(w->r, 13)]);
	buf_u8(w->b, '"');
}

static void write_value(struct writer *w, unsigned depth)
{
	static const char *const scalar[] = { "null", "true", "false", "0",   "-1",    "1.0",
					      "1.00", "1e2",  "1E+2",  "100", "0.1e-9" };
	uint64_t what = prng_below(w->r, depth > 4 ? 6 : depth == 0 ? 14 : 9);
	space(w);
	if (what < 4) {
		buf_puts(w->b, scalar[prng_below(w->r, 11)]);
	} else if (what < 6) {
		write_string(w);
	} else {
		bool object = depth == 0 ? what > 7 : what > 7 || prng_chance(w->r, 50);
		unsigned n = (unsigned)prng_below(w->r, 5), start = (unsigned)prng_below(w->r, 9);
		const char *newline = w->newline;
		if (prng_chance(w->r, 15))
			w->newline = NULL;
		buf_u8(w->b, object ? '{' : '[');
		for (unsigned i = 0; i < n; i++) {
			break_line(w, depth + 1);
			if (object) {
				buf_putf(w->b, "\"%c\"", 'a' + (start + i * 2) % 9);
				space(w);
				buf_puts(w->b, w->newline ? ": " : ":");
			}
			write_value(w, depth + 1);
			if (i + 1 < n)
				buf_u8(w->b, ',');
		}
		if (n > 0)
			break_line(w, depth);
		buf_u8(w->b, object ? '}' : ']');
		w->newline = newline;
	}
	space(w);
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	uint64_t wrong = 0;
	for (uint64_t i = 0; i < rounds && wrong < 3; i++) {
		struct device d;
		device_init(&d, 1);
		for (unsigned k = 0; k < 5; k++) {
			static const char *const ends[] = { NULL, "\n", "\r\n", "\n" };
			_cleanup_(buf_done) struct buf b = { 0 };
			struct writer w = { &r, &b, prng_chance(&r, 60) ? 0 : 20,
					    (unsigned)prng_below(&r, 5), ends[prng_below(&r, 4)] };
			write_value(&w, 0);
			if (prng_chance(&r, 70))
				buf_puts(&b, "\n");
			wrong += !exact(&d, (const char *)b.data, b.len);
		}
		device_done(&d);
	}
	ok(wrong == 0, "%llu random sequences of texts", (unsigned long long)rounds);
}

int main(int argc, char **argv)
{
	tap_plan(15);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 3000);
	test_sequences();
	test_deep();
	test_merged_style();
	test_suite();
	test_random(seed, rounds);
	return tap_done();
}
