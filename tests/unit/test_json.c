/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON parser. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

#include "engine/json.h"
#include "engine/jsonnum.h"
#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "tests/jsontext.h"
#include "tests/prng.h"

/* Copies the text to memory of exactly its size, so that a sanitizer sees a byte too far. */
static int parse_copy(struct arena *a, const char *text, size_t len, const struct json_limits *lim,
		      struct json **ret, char **ret_copy, struct err *e)
{
	char *copy = malloc(len ? len : 1);
	if (!copy)
		tap_bail("out of memory");
	memcpy(copy, text, len);
	*ret_copy = copy;
	return json_parse(a, copy, len, lim, ret, e);
}

static const char *start_of_key(const struct json *v, const char *text)
{
	const char *p = text + v->offset;
	while (*--p != ':')
		;
	while (*--p != '"')
		;
	return p;
}

/* Does every node keep what the header promises? Checks links, ranges and lexemes. */
static bool tree_is_sound(const struct json *root, const char *text, size_t len)
{
	if (root->parent || root->next || root->key)
		return false;
	const struct json *v = root;
	for (;;) {
		if (v->offset >= v->end || v->end > len)
			return false;
		size_t n = v->end - v->offset;
		if (v->type == JSON_STRING) {
			if (text[v->offset] != '"' || text[v->end - 1] != '"' || v->len > n - 2)
				return false;
			if (!(v->flags & JSON_ESCAPED) &&
			    (v->text != text + v->offset + 1 || v->len != n - 2))
				return false;
		} else if (v->text != text + v->offset || v->len != n) {
			return false;
		}
		if (v->type == JSON_NUMBER && !json_number_valid(v->text, v->len))
			return false;
		bool member = v->parent && v->parent->type == JSON_OBJECT;
		if (member != (v->key != NULL))
			return false;
		if (member && (json_get(v->parent, v->key, v->key_len) != v ||
			       start_of_key(v, text) < text + v->parent->offset))
			return false;
		uint32_t count = 0, from = v->offset + 1;
		for (const struct json *c = v->first; c; c = c->next, count++) {
			if (c->parent != v || c->offset < from || c->end >= v->end)
				return false;
			from = c->end;
		}
		if (count != v->count)
			return false;
		if (v->first) {
			v = v->first;
			continue;
		}
		while (v != root && !v->next)
			v = v->parent;
		if (v == root)
			return true;
		v = v->next;
	}
}

/* Rendered and parsed again, is it the same tree, lexeme by lexeme? */
static bool comes_back(const struct json *root, const char *text, size_t len)
{
	struct json_style s;
	_cleanup_(buf_done) struct buf once = { 0 }, twice = { 0 };
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *again;
	json_style_detect(root, text, len, &s);
	json_style_write(root, &s, &once);
	if (buf_failed(&once) ||
	    json_parse(&a, (char *)once.data, once.len,
		       &(struct json_limits){ .depth = JSON_DEPTH_MAX }, &again, NULL) < 0)
		return false;
	json_style_write(again, &s, &twice);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		return false;
	const struct json *v = root, *w = again;
	while (v && w) {
		if (v->type != w->type || v->count != w->count || v->key_len != w->key_len ||
		    (v->key_len && memcmp(v->key, w->key, v->key_len) != 0))
			return false;
		if (!json_is_container(v) &&
		    (v->len != w->len || (v->len && memcmp(v->text, w->text, v->len) != 0)))
			return false;
		if (v->first) {
			v = v->first;
			w = w->first;
			continue;
		}
		while (v != root && !v->next) {
			v = v->parent;
			w = w->parent;
		}
		if (v == root)
			break;
		v = v->next;
		w = w->next;
	}
	return json_equal(root, again) && json_equal(again, root);
}

/* --- the suite --------------------------------------------------------------------------- */

static bool has_place(const struct err *e, size_t len)
{
	return e->code < 0 && e->line > 0 && e->column > 0 && e->offset <= len &&
	       strlen(e->message) > 10;
}

static bool judge(const char *name, const char *text, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_free_ char *copy = NULL;
	struct json *root = NULL;
	struct err e = { 0 };
	int r = parse_copy(&a, text, len, NULL, &root, &copy, &e);
	bool duplicate = strncmp(name, "y_object_duplicated_key", 23) == 0;
	if (r == 0 && name[0] != 'n' && !duplicate) {
		if (tree_is_sound(root, copy, len) && comes_back(root, copy, len))
			return true;
		tap_diag("%s: accepted, but does not come back", name);
	} else if (r < 0 && (name[0] != 'y' || duplicate)) {
		if (!root && r == e.code && has_place(&e, len) &&
		    (!duplicate || strstr(e.message, "twice")))
			return true;
		tap_diag("%s: refused, but not as it should be: %s", name, e.message);
	} else {
		tap_diag("%s: %s", name, r == 0 ? "accepted" : e.message);
	}
	return false;
}

static void test_suite(void)
{
	_cleanup_free_ char *dir = tap_data("JSONTestSuite/test_parsing");
	struct dirent **entry = NULL;
	int n = scandir(dir, &entry, NULL, alphasort);
	unsigned files[3] = { 0 }, bad[3] = { 0 };
	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name, *kind = "yni";
		const char *k = strchr(kind, name[0]);
		if (k && name[1] == '_') {
			_cleanup_free_ char *path = NULL;
			if (asprintf(&path, "%s/%s", dir, name) < 0)
				tap_bail("out of memory");
			size_t len;
			_cleanup_free_ char *text = tap_read_file(path, &len);
			files[k - kind]++;
			bad[k - kind] += !judge(name, text, len);
		}
		free(entry[i]);
	}
	free(entry);
	is_uint(files[0] + files[1] + files[2], 318, "the suite is complete");
	is_uint(bad[0], 0, "%u y_ files: accepted, but for duplicate names", files[0]);
	is_uint(bad[1], 0, "%u n_ files: refused with a place and a reason", files[1]);
	is_uint(bad[2], 0, "%u i_ files: kept without loss or refused with a reason", files[2]);
}

/* --- errors ------------------------------------------------------------------------------ */

static void test_errors(void)
{
	static const struct {
		const char *text;
		uint32_t line, column;
		uint64_t offset;
		const char *message;
	} c[] = {
		{ "", 1, 1, 0, "the document is empty: expected a JSON value, such as {}" },
		{ " \n ", 2, 2, 3, "the document is empty but for white space" },
		{ "{\"a\": 1 x", 1, 9, 8, "expected ',' or '}' after a member, found 'x'" },
		{ "[1 2]", 1, 4, 3, "expected ',' or ']' after an element, found '2'" },
		{ "{\n  \"\xc3\xa4\": \xc3\xb6\n}", 2, 8, 10,
		  "expected a value after ':', found '\xc3\xb6'" },
		{ "[1,]", 1, 4, 3,
		  "expected a value after ',', found ']' (the last one has no comma" },
		{ "{\"a\":1,}", 1, 8, 7, "expected a name in double quotes after ',', found '}'" },
		{ "{'a':1}", 1, 2, 1, "strings are written in double quotes" },
		{ "{a:1}", 1, 2, 1, "expected a name in double quotes or '}', found 'a'" },
		{ "[\n\n  True]", 3, 3, 5, "'true' is written in lower case" },
		{ "[NaN]", 1, 2, 1, "JSON has no such number" },
		{ "{\"a\" 1}", 1, 6, 5, "expected ':' after a name, found '1'" },
		{ "{} {}", 1, 4, 3, "expected the end of the document after the value, found '{'" },
		{ "// c\n1", 1, 1, 0, "JSON has no comments" },
		{ "[01]", 1, 2, 1, "may not begin with 0" },
		{ "-", 1, 2, 1, "expected a digit after '-', found the end of the document" },
		{ "[1.]", 1, 4, 3, "expected a digit after '.', found ']'" },
		{ "[1e+]", 1, 5, 4, "expected a digit in the exponent" },
		{ "1x", 1, 2, 1, "expected the end of a number, found 'x'" },
		{ "{\"a\":\n[1", 2, 3, 8, "(the '[' at line 2, column 1 is not closed)" },
		{ "[\"ab", 1, 5, 4, "the string that began at line 1, column 2 is not closed" },
		{ "\"a\nb\"", 1, 3, 2, "found a line break" },
		{ "\"a\tb\"", 1, 3, 2, "expected \\t" },
		{ "\"a\1b\"", 1, 3, 2, "U+0001" },
		{ "\"\\q\"", 1, 2, 1, "unknown escape" },
		{ "\"\\u12g4\"", 1, 2, 1, "four hexadecimal digits" },
		{ "\"\\ud800\"", 1, 2, 1, "first half of a surrogate pair" },
		{ "\"\\udc00\"", 1, 2, 1, "second half of a surrogate pair" },
		{ "\"\\ud800\\u0041\"", 1, 2, 1, "first half of a surrogate pair" },
		{ "\"\xc0\x80\"", 1, 2, 1, "the byte 0xc0 is not UTF-8" },
		{ "\"\xed\xa0\x80\"", 1, 2, 1, "the byte 0xed is not UTF-8" },
		{ "\"\xf4\x90\x80\x80\"", 1, 2, 1, "the byte 0xf4 is not UTF-8" },
		{ "\"\xe2\x82\"", 1, 2, 1, "the byte 0xe2 is not UTF-8" },
		{ "\xef\xbb\xbf{}", 1, 1, 0, "byte order mark" },
		{ "\xff\xfe{", 1, 1, 0, "UTF-16" },
		{ "\x80", 1, 1, 0, "the byte 0x80, which is not UTF-8" },
		{ "{\"a\":1,\n \"b\":2, \"a\":3}", 2, 9, 16,
		  "the name \"a\" is in this object twice (first with the value at line 1, column 6)" },
		{ "{\"a\":1,\"\\u0061\":3}", 1, 8, 7, "the name \"a\" is in this object twice" },
		{ "{\"x\":{\"\":1, \"\" :3}}", 1, 13, 12, "the name \"\" is in this object twice" },
		{ "{\"\\u0000\":1,\"\\u0000\":1}", 1, 13, 12, "twice" },
	};
	unsigned bad = 0;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		_cleanup_free_ char *copy = NULL;
		struct json *root = NULL;
		struct err e = { 0 };
		int r = parse_copy(&a, c[i].text, strlen(c[i].text), NULL, &root, &copy, &e);
		if (r == -EINVAL && e.code == r && !root && e.line == c[i].line &&
		    e.column == c[i].column && e.offset == c[i].offset &&
		    strstr(e.message, c[i].message))
			continue;
		bad++;
		tap_diag("%s\ngot %d at %u:%u, offset %" PRIu64
			 ": %s\nwanted %u:%u, offset %" PRIu64 ": %s",
			 c[i].text, r, e.line, e.column, e.offset, e.message, c[i].line,
			 c[i].column, c[i].offset, c[i].message);
	}
	is_uint(bad, 0, "errors say where and what was expected");
	struct arena none = { 0 };
	struct json *root = NULL;
	is_errno(json_parse(&none, NULL, 0, NULL, &root, NULL), -EINVAL,
		 "nothing at all is an empty document, and nobody has to ask for the message");
	arena_done(&none);
}

/* --- limits and attacks ------------------------------------------------------------------ */

static void test_limits(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *root = NULL;
	struct err e = { 0 };
	size_t len;
	_cleanup_free_ char *deep = repeat("[", 1000000, &len);
	is_errno(json_parse(&a, deep, len, NULL, &root, &e), -E2BIG, "a million '[' are too deep");
	is_uint(e.offset, JSON_DEPTH_DEFAULT, "the place is the first one too deep");
	is_errno(json_parse(&a, deep, len, &(struct json_limits){ .depth = UINT32_MAX }, &root, &e),
		 -E2BIG, "no limit lifts the largest depth");
	memset(deep + JSON_DEPTH_DEFAULT, ']', JSON_DEPTH_DEFAULT);
	is_errno(json_parse(&a, deep, (size_t)2 * JSON_DEPTH_DEFAULT, NULL, &root, &e), 0,
		 "as deep as the limit is accepted");

	_cleanup_free_ char *wide = repeat("{\"a\":", JSON_DEPTH_MAX, &len);
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_put(&b, wide, len);
	buf_u8(&b, '1');
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buf_u8(&b, '}');
	struct json_limits lim = { .depth = JSON_DEPTH_MAX };
	ok(json_parse(&a, (char *)b.data, b.len, &lim, &root, &e) == 0 && json_equal(root, root) &&
		   comes_back(root, (char *)b.data, b.len),
	   "the deepest tree is compared and written without the C stack");

	root = NULL;
	is_errno(json_parse(&a, "[1,2,3]", 7, &(struct json_limits){ .size = 6 }, &root, &e),
		 -EFBIG, "size limit");
	is_errno(json_parse(&a, "[1,2,3]", 7, &(struct json_limits){ .size = 7 }, &root, &e), 0,
		 "size limit reached");
	is_errno(json_parse(&a, "[1,2,3]", 7, &(struct json_limits){ .values = 3 }, &root, &e),
		 -E2BIG, "limit of values");
	is_errno(json_parse(&a, "[1,2,3]", 7, &(struct json_limits){ .values = 4 }, &root, &e), 0,
		 "limit of values reached");
	ok(sizeof(struct json) <= 88, "a node fits into 88 bytes");
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU time to parse the text; ends the test when it does not parse. */
static double time_parse(const struct buf *b, struct json **ret, struct arena *a)
{
	struct err e;
	double t = seconds();
	if (json_parse(a, (char *)b->data, b->len, NULL, ret, &e) < 0)
		tap_bail("a big object is refused: %s", e.message);
	return seconds() - t;
}

static void test_many_names(void)
{
	enum { MANY = 1000000, COLLIDING = 2000 };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct json *root;
	for (int i = 0; i < MANY; i++)
		buf_putf(&b, "%s\"name%d\":%d", i ? "," : "{", i, i);
	buf_u8(&b, '}');
	double t = time_parse(&b, &root, &a);
	tap_diag("a million names: %.2f s", t);
	ok(t < 10, "a million names take no quadratic time");
	bool all = root->count == MANY;
	for (const struct json *v = root->first; v && all; v = v->next)
		all = json_get(root, v->key, v->key_len) == v;
	ok(all && !json_get_z(root, "name1000000"), "each of them is found, another is not");

	/* The last one twice. */
	b.len--;
	buf_puts(&b, ",\"n\\u0061me77\":0}");
	struct err e = { 0 };
	is_errno(json_parse(&a, (char *)b.data, b.len, NULL, &root, &e), -EINVAL,
		 "a million and a duplicate");
	is_str(e.message,
	       "the name \"name77\" is in this object twice (first with the value at line 1, "
	       "column 915): expected another name",
	       "which one");
	is_uint(e.offset, b.len - sizeof("\"n\\u0061me77\":0}") + 1, "where");

	/* Names that all belong into the same place of the hash table. */
	arena_reset(&a);
	buf_reset(&b);
	for (uint64_t i = 0, n = 0; n < COLLIDING; i++) {
		char name[24];
		int len = snprintf(name, sizeof(name), "%" PRIx64, i);
		if ((XXH3_64bits(name, (size_t)len) & 4095) != 0)
			continue;
		buf_putf(&b, "%s\"%s\":1", n++ ? "," : "{", name);
	}
	buf_u8(&b, '}');
	time_parse(&b, &root, &a);
	all = root->count == COLLIDING;
	for (const struct json *v = root->first; v && all; v = v->next)
		all = json_get(root, v->key, v->key_len) == v;
	ok(all && !json_get_z(root, "no such") && !json_get_z(root, ""),
	   "names that collide are found, others are not");
	const struct json *v = json_at(root, 1000);
	char name[24];
	snprintf(name, sizeof(name), "%.*s", (int)v->key_len, v->key);
	b.len--;
	buf_putf(&b, ",\"%s\":1}", name);
	is_errno(json_parse(&a, (char *)b.data, b.len, NULL, &root, &e), -EINVAL,
		 "names that collide and a duplicate");
	is_uint(e.offset, b.len - strlen(name) - 5, "its place");

	/* Objects of every size around the borders of the ways to look for duplicates. */
	bool right = true;
	for (unsigned n = 2; n <= 80; n++)
		for (unsigned twin = 0; twin < n; twin++) {
			arena_reset(&a);
			buf_reset(&b);
			for (unsigned i = 0; i < n; i++)
				buf_putf(&b, "%s\"k%u\":0", i ? "," : "{", i);
			buf_puts(&b, "}");
			right &= json_parse(&a, (char *)b.data, b.len, NULL, &root, NULL) == 0 &&
				 root->count == n;
			b.len--;
			buf_putf(&b, ", \"k%u\":0}", twin);
			right &=
				json_parse(&a, (char *)b.data, b.len, NULL, &root, &e) == -EINVAL &&
				strstr(e.message, "twice");
		}
	ok(right, "a duplicate is found in objects of 2 to 80 members");
}

/* --- values ------------------------------------------------------------------------------ */

static void test_values(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const char *text = "[18446744073709551616,1e400,1.10,-0,1E+2,0.0]";
	const struct json *v = parsed(&a, text);
	static const char *const want[] = {
		"18446744073709551616", "1e400", "1.10", "-0", "1E+2", "0.0"
	};
	for (size_t i = 0; i < 6; i++) {
		const struct json *n = json_at(v, i);
		is_mem(n->text, n->len, want[i], strlen(want[i]), "the lexeme %s is kept", want[i]);
	}
	ok(!json_at(v, 6), "there is no element behind the last");

	v = parsed(
		&a,
		"\"\\u0000a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\xf0\x9f\x98\x80z\"");
	static const char plain[] =
		"\0a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9f\x98\x80z";
	is_mem(v->text, v->len, plain, sizeof(plain) - 1, "escapes are resolved");

	v = parsed(&a, " {\"a\" : [ ],\n\"b\":[\n1,{} ] , \"c\\n\": \"x\"} ");
	ok(v->offset == 1 && v->layout == JSON_LAYOUT_INLINE && v->flags == 0,
	   "the root's place and layout, no escape of taste");
	const struct json *b = json_get_z(v, "b");
	is_mem(b->text, b->len, "[\n1,{} ]", 8, "a container's lexeme");
	ok(b->layout == JSON_LAYOUT_BROKEN, "a container's layout");
	const struct json *c = json_get_z(v, "c\n");
	ok(c && c->flags == JSON_KEY_ESCAPED, "a name with an escape is found by its plain form");
	ok(!json_get_z(v, "d") && !json_get_z(b, "0") && !json_get(NULL, "a", 1),
	   "what is not there is not found");

	ok(equal("{\"a\":1,\"b\":[1.0,2]}", "{ \"b\":[10e-1,2.00],\"\\u0061\":1 }"),
	   "equal objects");
	ok(!equal("[1,2]", "[2,1]"), "arrays are ordered");
	ok(!equal("{\"a\":1}", "{\"b\":1}") && !equal("{\"a\":1}", "{\"a\":2}") &&
		   !equal("{\"a\":1}", "{\"a\":1,\"b\":1}"),
	   "different objects");
	ok(!equal("{\"a\":{\"x\":1,\"y\":2},\"b\":3}", "{\"b\":3,\"a\":{\"y\":2,\"x\":0}}") &&
		   equal("{\"a\":{\"x\":1,\"y\":2},\"b\":3}", "{\"b\":3,\"a\":{\"y\":2,\"x\":1}}"),
	   "nested objects in another order");
	ok(!equal("null", "false") && !equal("1", "\"1\"") && !equal("[]", "{}") &&
		   !equal("true", "false"),
	   "different types");
	ok(equal("-0", "0") && equal("0e5", "0.00") && !equal("1", "-1"), "zero has no sign");
	const struct json *pair = parsed(&a, "[{\"k\":[1]},{\"k\":[1]},{\"k\":[2]}]");
	ok(json_equal(json_at(pair, 0), json_at(pair, 1)) &&
		   !json_equal(json_at(pair, 1), json_at(pair, 2)),
	   "parts of one tree compare");
	ok(parsed(&a, "{\"\\u0061\":1}")->flags == JSON_STYLED_ESCAPE &&
		   parsed(&a, "[\"\\/\"]")->flags == JSON_STYLED_ESCAPE,
	   "escapes of taste are noticed");
	is_str(json_type_name(b), "array", "a type has a name");
}

/* --- mutations --------------------------------------------------------------------------- */

/* Whatever is done to a text: it is refused with a place, or its tree is sound and comes back. */
static void test_mutations(uint64_t seed, uint64_t rounds)
{
	static const char *const source[] = {
		"{\"name\": \"Zo\xc3\xab\", \"tags\": [\"a\", \"b\\n\", {\"x\": 1.10e+5}], \"empty\": {}, "
		"\"deep\": [[[[]]]], \"u\": \"\\ud83d\\ude00\\u00e9\", \"ok\": [true, false, null, -0.5]}",
		"[\n\t{\n\t\t\"id\" : 1,\r\n\t\t\"long string here it goes on\" : \"0123456789abcdef\"\n\t}\n]\n",
		"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10,\"k\":11,\"l\":12,"
		"\"m\":13,\"n\":14,\"o\":15,\"p\":16,\"q\":17,\"r\":18}",
	};
	static const char spice[] = "{}[]\",:\\/ntu0123456789abcdefE+-. \n\r\t\x7f\x80\xc3\xa9\xff";
	struct prng r = { seed };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	uint64_t accepted = 0, bad = 0;
	for (uint64_t i = 0; i < rounds && bad == 0; i++) {
		const char *from = source[prng_below(&r, 3)];
		buf_reset(&b);
		buf_puts(&b, from);
		for (uint64_t k = 1 + prng_below(&r, 4); k > 0 && b.len > 1; k--) {
			size_t at = prng_below(&r, b.len), n = 1 + prng_below(&r, 4);
			switch (prng_below(&r, 4)) {
			case 0:
				b.data[at] = (uint8_t)spice[prng_below(&r, sizeof(spice) - 1)];
				break;
			case 1:
				b.len = prng_chance(&r, 20) ? at + 1 : b.len;
				break;
			case 2:
				n = n < b.len - at ? n : b.len - at;
				memmove(b.data + at, b.data + at + n, b.len - at - n);
				b.len -= n;
				break;
			default: {
				size_t to = prng_below(&r, b.len);
				b.data[at] = b.data[to];
				break;
			}
			}
		}
		struct json *root = NULL;
		struct err e = { 0 };
		_cleanup_free_ char *copy = NULL;
		arena_reset(&a);
		int res = parse_copy(&a, (char *)b.data, b.len, NULL, &root, &copy, &e);
		accepted += res == 0;
		if (res == 0 ? tree_is_sound(root, copy, b.len) && comes_back(root, copy, b.len)
			     : res == e.code && !root && has_place(&e, b.len))
			continue;
		bad++;
		tap_diag("round %" PRIu64 ", result %d: %.*s", i, res, (int)b.len, (char *)b.data);
	}
	tap_diag("%" PRIu64 " of %" PRIu64 " mutations were still JSON", accepted, rounds);
	is_uint(bad, 0, "mutations are refused with a place, or come back");
}

int main(int argc, char **argv)
{
	tap_plan(48);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 20000);
	test_suite();
	test_errors();
	test_limits();
	test_many_names();
	test_values();
	test_mutations(seed, rounds);
	return tap_done();
}
