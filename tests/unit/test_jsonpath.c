/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths as SQLite writes them: what they are, where they stop being one, and where they lead. */
#include <errno.h>
#include <stdio.h>

#include "engine/jsonpath.h"
#include "tests/jsontext.h"

static const char *const doc = "{\"a\":{\"b\":[10,{\"c\":11},[12]]},\"two words\":13,\"a.b\":14,\"\":15,\"[0]\":16,\"7\":17,\"$\":18,\"ü\":19}";

/* The path in its one way of writing, and what is there; or "-AT". */
static const char *get(const char *path, bool short_form)
{
	static char out[200];
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonpath p;
	size_t at = 0;
	int rc = jsonpath_parse(&a, path, strlen(path), short_form, &p, &at);
	if (rc < 0) {
		snprintf(out, sizeof(out), "%s-%zu", rc == -EINVAL ? "" : "?", at);
		return out;
	}
	jsonpath_write(&p, &b);
	const struct json *v = jsonpath_get(parsed(&a, doc), &p, 0);
	snprintf(out, sizeof(out), "%s = %.*s", buf_cstr(&b), v ? (int)v->len : 7, v ? v->text : "nothing");
	return out;
}

int main(void)
{
	static const char *const full[][2] = {
		{ "$.a.b[0]", "$.\"a\".\"b\"[0] = 10" },
		{ "$.a.b[1].c", "$.\"a\".\"b\"[1].\"c\" = 11" },
		{ "$.a.b[2][0]", "$.\"a\".\"b\"[2][0] = 12" },
		{ "$.a.b[#-1][0]", "$.\"a\".\"b\"[#-1][0] = 12" },
		{ "$.a.b[#-3]", "$.\"a\".\"b\"[#-3] = 10" },
		{ "$.a.b[#-4]", "$.\"a\".\"b\"[#-4] = nothing" },
		{ "$.a.b[#]", "$.\"a\".\"b\"[#-0] = nothing" },
		{ "$.a.b[3]", "$.\"a\".\"b\"[3] = nothing" },
		{ "$.a.b[99999999999999999999]", "$.\"a\".\"b\"[4294967295] = nothing" },
		{ "$.two words", "$.\"two words\" = 13" },
		{ "$.\"two words\"", "$.\"two words\" = 13" },
		{ "$.\"a.b\"", "$.\"a.b\" = 14" },
		{ "$.\"\"", "$.\"\" = 15" },
		{ "$.ü", "$.\"ü\" = 19" },
		{ "$.a[0]", "$.\"a\"[0] = nothing" },
		{ "$.nix.a", "$.\"nix\".\"a\" = nothing" },
		{ "", "-0" },
		{ "a", "-0" },
		{ "$a", "-2" },
		{ "$.", "-2" },
		{ "$..a", "-2" },
		{ "$.a[", "-4" },
		{ "$.a[x]", "-4" },
		{ "$.a[1", "-5" },
		{ "$.a[#-]", "-6" },
		{ "$.a[#1]", "-5" },
		{ "$.\"a", "-2" },
	};
	static const char *const brief[][2] = {
		{ "a", "$.\"a\" = {\"b\":[10,{\"c\":11},[12]]}" },
		{ "a.b", "$.\"a\".\"b\" = [10,{\"c\":11},[12]]" },
		{ "$.a.b[0]", "$.\"a\".\"b\"[0] = 10" },
		{ "7", "$[7] = nothing" },
		{ "[7]", "$[7] = nothing" },
		{ "7a", "-1" },
		{ "two words", "$.\"two words\" = 13" },
		{ "\"a.b\"", "$.\"a.b\" = 14" },
		{ "", "-0" },
		{ ".a", "-0" },
	};
	tap_plan(sizeof(full) / sizeof(*full) + sizeof(brief) / sizeof(*brief));
	for (size_t i = 0; i < sizeof(full) / sizeof(*full); i++)
		is_str(get(full[i][0], false), full[i][1], "%s", full[i][0]);
	for (size_t i = 0; i < sizeof(brief) / sizeof(*brief); i++)
		is_str(get(brief[i][0], true), brief[i][1], "-> '%s'", brief[i][0]);
	return tap_done();
}
