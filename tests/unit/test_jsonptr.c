/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON pointers. */
#include <errno.h>
#include <string.h>

#include "engine/jsonptr.h"
#include "tests/jsontext.h"

static void test_pointers(void)
{
	/* The examples of RFC 6901, section 5. */
	static const char text[] =
		"{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
		"\"k\\\"l\":6,\" \":7,\"m~n\":8}";
	static const struct {
		const char *pointer, *want;
	} c[] = {
		{ "/foo", "[\"bar\",\"baz\"]" },
		{ "/foo/0", "bar" },
		{ "/", "0" },
		{ "/a~1b", "1" },
		{ "/c%d", "2" },
		{ "/e^f", "3" },
		{ "/g|h", "4" },
		{ "/i\\j", "5" },
		{ "/k\"l", "6" },
		{ "/ ", "7" },
		{ "/m~0n", "8" },
		{ "", text },
	};
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct json *root = parsed(&a, text);
	struct json *v = NULL;
	struct err e = { 0 };
	unsigned bad = 0;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		int r = json_pointer_get(root, c[i].pointer, strlen(c[i].pointer), &v, &e);
		if (r < 0 || v->len != strlen(c[i].want) ||
		    memcmp(v->text, c[i].want, v->len) != 0) {
			tap_diag("%s: %d %s", c[i].pointer, r, r < 0 ? e.message : "");
			bad++;
		}
	}
	is_uint(bad, 0, "the examples of RFC 6901");
	static const char *const missing[] = {
		"/foo/2",   "/foo/-",   "/foo/00",
		"/foo/01",  "/foo/",    "/nix",
		"/foo/0/x", "/foo/1e0", "/foo/99999999999999999999"
	};
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		bad += json_pointer_get(root, missing[i], strlen(missing[i]), &v, &e) != -ENOENT;
	is_uint(bad, 0, "places that are not there");
	is_str(e.message,
	       "there is no '/foo/99999999999999999999': the array above it has no "
	       "'99999999999999999999'",
	       "and why");
	static const char *const wrong[] = { "foo", "/~", "/~2", "/foo/~x", "/nix/~" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad += json_pointer_get(root, wrong[i], strlen(wrong[i]), &v, &e) != -EINVAL;
	is_uint(bad, 0, "what is no pointer");
	_cleanup_(buf_done) struct buf b = { 0 }, token = { 0 };
	json_pointer_append(&b, "a/b~c", 5);
	json_pointer_append(&b, "", 0);
	json_pointer_append_index(&b, 12);
	is_str(buf_cstr(&b), "/a~1b~0c//12", "names are escaped");
	const char *p = (char *)b.data;
	size_t len = b.len;
	ok(json_pointer_next(&p, &len, &token, NULL) == 0 && token.len == 5 &&
		   memcmp(token.data, "a/b~c", 5) == 0,
	   "and come back");
}

int main(void)
{
	tap_plan(6);
	test_pointers();
	return tap_done();
}
