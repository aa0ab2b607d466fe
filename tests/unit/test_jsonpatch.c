/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON Patch by the examples of RFC 6902, appendix A, and JSON Merge Patch by those of RFC 7396. */
#include <errno.h>
#include <string.h>

#include "engine/jsonpatch.h"
#include "engine/jsonstyle.h"
#include "tests/jsontext.h"

/* The value on one line, without spaces. */
static const char *written(struct arena *a, const struct json *v)
{
	struct json_style style;
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_default(&style);
	style.object_layout = style.array_layout = JSON_LAYOUT_INLINE;
	style.item_space = style.colon_after = false;
	style.final_newlines = 0;
	json_style_write(v, &style, &b);
	return buf_failed(&b) ? "" : arena_dup(a, b.data, b.len);
}

static void patch(const char *doc, const char *ops, const char *want, const char *name)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	struct json *to = NULL;
	const struct json *from = parsed(&a, doc);
	int r = jsonpatch_apply(&a, from, parsed(&a, ops), &to, &e);
	is_str(r < 0 ? e.message : written(&a, to), want, "%s", name);
	if (strcmp(written(&a, from), doc) != 0)
		tap_bail("%s: what was given has changed", name);
}

static void refused(const char *doc, const char *ops, int code, const char *name)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct err e = { 0 };
	struct json *to = NULL;
	is_errno(jsonpatch_apply(&a, parsed(&a, doc), parsed(&a, ops), &to, &e), code, "%s", name);
	if (to || e.code != code)
		tap_bail("%s: %s", name, e.message);
}

static void merge(const char *doc, const char *with, const char *want)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *to = NULL;
	int r = jsonpatch_merge(&a, doc ? parsed(&a, doc) : NULL, parsed(&a, with), &to, NULL);
	is_str(r < 0 ? "refused" : written(&a, to), want, "%s and %s", doc ? doc : "nothing", with);
}

static void appendix_a(void)
{
	patch("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
	      "{\"foo\":\"bar\",\"baz\":\"qux\"}", "A.1 adding an object member");
	patch("{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
	      "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "A.2 adding an array element");
	patch("{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
	      "{\"foo\":\"bar\"}", "A.3 removing an object member");
	patch("{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
	      "{\"foo\":[\"bar\",\"baz\"]}", "A.4 removing an array element");
	patch("{\"baz\":\"qux\",\"foo\":\"bar\"}",
	      "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
	      "{\"baz\":\"boo\",\"foo\":\"bar\"}", "A.5 replacing a value");
	patch("{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
	      "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
	      "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}",
	      "A.6 moving a value");
	patch("{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
	      "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
	      "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}", "A.7 moving an array element");
	patch("{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
	      "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},"
	      "{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
	      "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}", "A.8 testing a value");
	refused("{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]",
		-ECANCELED, "A.9 testing a value: error");
	patch("{\"foo\":\"bar\"}",
	      "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
	      "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}", "A.10 adding a nested member object");
	patch("{\"foo\":\"bar\"}",
	      "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
	      "{\"foo\":\"bar\",\"baz\":\"qux\"}", "A.11 ignoring unrecognized elements");
	refused("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]",
		-ENOENT, "A.12 adding to a nonexistent target");
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *v;
	static const char twice[] = "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"op\":\"remove\"}]";
	is_errno(json_parse(&a, twice, strlen(twice), NULL, &v, NULL), -EINVAL,
		 "A.13 an invalid JSON patch document");
	patch("{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
	      "{\"/\":9,\"~1\":10}", "A.14 ~ escape ordering");
	refused("{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]",
		-ECANCELED, "A.15 comparing strings and numbers");
	patch("{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
	      "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}", "A.16 adding an array value");
}

static void operations(void)
{
	patch("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[1]}]", "[1]", "all of it");
	patch("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}",
	      "add over a member keeps its place");
	patch("{\"a\":{\"b\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/c\"}]",
	      "{\"a\":{\"b\":1,\"c\":{\"b\":1}}}", "a copy into itself");
	patch("{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"\"}]", "1",
	      "a move over what it was in");
	patch("{\"a\":[1]}", "[{\"op\":\"move\",\"from\":\"/a/0\",\"path\":\"/a/0\"}]", "{\"a\":[1]}",
	      "a move to where it is");
	patch("[1,2]", "[{\"op\":\"copy\",\"from\":\"/1\",\"path\":\"/0\"}]", "[2,1,2]",
	      "a copy within an array");
	patch("{\"a/b\":{\"~\":1}}", "[{\"op\":\"remove\",\"path\":\"/a~1b/~0\"}]", "{\"a/b\":{}}",
	      "~0 and ~1");
	patch("{\"\":{\"\":1}}", "[{\"op\":\"replace\",\"path\":\"//\",\"value\":2}]", "{\"\":{\"\":2}}",
	      "empty names");
	patch("{\"n\":1.50}", "[{\"op\":\"test\",\"path\":\"/n\",\"value\":15e-1}]", "{\"n\":1.50}",
	      "numbers are tested as numbers");
	patch("{\"a\":1}", "[]", "{\"a\":1}", "an empty patch");
	patch("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":1},{\"op\":\"nop\",\"path\":\"\"}]",
	      "operation 2: there is no \"nop\": add, remove, replace, move, copy or test",
	      "a message says which operation");
	refused("{}", "{}", -EINVAL, "a patch that is no list");
	refused("{}", "[1]", -EINVAL, "an operation that is no object");
	refused("{}", "[{\"op\":\"add\",\"value\":1}]", -EINVAL, "without a path");
	refused("{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", -EINVAL, "without a value");
	refused("{}", "[{\"op\":\"copy\",\"path\":\"/a\"}]", -EINVAL, "without from");
	refused("{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", -EINVAL, "a bad pointer");
	refused("{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", -EINVAL, "a bad escape");
	refused("{}", "[{\"op\":\"remove\",\"path\":\"\"}]", -EINVAL, "all of it removed");
	refused("{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", -ENOENT, "remove of nothing");
	refused("{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", -ENOENT, "replace of nothing");
	refused("{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", -ENOENT, "test of nothing");
	refused("{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", -EINVAL,
		"a move into itself");
	refused("[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":1}]", -ENOENT, "beyond the end");
	refused("[1]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":1}]", -ENOENT, "a leading zero");
	refused("[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", -ENOENT, "- is no element");
}

/* Each operation doubles what is there. */
static void bounds(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf ops = { 0 };
	struct json *to = NULL;
	for (int i = 0; i < 40; i++)
		buf_putf(&ops, "%c{\"op\":\"copy\",\"from\":\"\",\"path\":\"/%d\"}", i ? ',' : '[', i);
	buf_puts(&ops, "]");
	is_errno(jsonpatch_apply(&a, parsed(&a, "{}"), parsed(&a, buf_cstr(&ops)), &to, NULL), -EFBIG,
		 "a patch cannot grow a document without bound");
	buf_reset(&ops);
	for (int i = 0; i < 600; i++) {
		buf_putf(&ops, "%c{\"op\":\"add\",\"path\":\"", i ? ',' : '[');
		for (int k = 0; k <= i; k++)
			buf_puts(&ops, "/0");
		buf_puts(&ops, "\",\"value\":[]}");
	}
	buf_puts(&ops, "]");
	is_errno(jsonpatch_apply(&a, parsed(&a, "[]"), parsed(&a, buf_cstr(&ops)), &to, NULL), -EFBIG,
		 "nor make it deeper than a document may be");
}

static void layouts(void)
{
	static const char text[] = "{\n  \"a\": [1, 2],\n  \"b\": {\n    \"c\": 1\n  }\n}\n";
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct json_style style;
	struct json *to, *doc = parsed(&a, text);
	json_style_detect(doc, text, strlen(text), &style);
	const struct json *value = parsed(&a, "{\"a\":[1,2,3],\"b\":{\"c\":1,\"d\":2},\"e\":{\"f\":1}}");
	if (jsonpatch_replace(&a, doc, value, &to, NULL) < 0)
		tap_bail("jsonpatch_replace");
	json_style_write(to, &style, &b);
	is_str(buf_cstr(&b),
	       "{\n  \"a\": [1, 2, 3],\n  \"b\": {\n    \"c\": 1,\n    \"d\": 2\n  },\n"
	       "  \"e\": {\n    \"f\": 1\n  }\n}\n",
	       "a value put over another is laid out like it");
}

int main(void)
{
	tap_plan(16 + 26 + 16 + 3);
	appendix_a();
	operations();
	merge("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
	merge("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
	merge("{\"a\":\"b\"}", "{\"a\":null}", "{}");
	merge("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
	merge("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
	merge("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
	merge("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
	merge("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
	merge("[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]");
	merge("{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]");
	merge("{\"a\":\"foo\"}", "null", "null");
	merge("{\"a\":\"foo\"}", "\"bar\"", "\"bar\"");
	merge("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
	merge("[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}");
	merge("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
	merge(NULL, "{\"a\":1,\"b\":null}", "{\"a\":1}");
	bounds();
	layouts();
	return tap_done();
}
