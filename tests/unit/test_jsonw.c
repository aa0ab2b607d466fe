/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON writer. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/jsonw.h"
#include "tests/tap.h"

static void write_all(struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_key(w, "s");
	jsonw_string(w, "a\"\\\n\x01\x7f/\xc3\xa9");
	jsonw_key_n(w, "n\0", 2);
	jsonw_string(w, NULL);
	jsonw_key(w, "i");
	jsonw_array_begin(w);
	jsonw_int(w, INT64_MIN);
	jsonw_uint(w, UINT64_MAX);
	jsonw_double(w, 0.1);
	jsonw_double(w, NAN);
	jsonw_raw(w, "1e400", 5);
	jsonw_array_begin(w);
	jsonw_array_end(w);
	jsonw_array_end(w);
	jsonw_key(w, "o");
	jsonw_object_begin(w);
	jsonw_object_end(w);
	jsonw_key(w, "b");
	jsonw_bool(w, true);
	jsonw_object_end(w);
	jsonw_end(w);
}

static const char *escaped(struct buf *b, const char *text, size_t len, unsigned escape)
{
	buf_reset(b);
	json_write_string(b, text, len, escape);
	return buf_cstr(b);
}

static void test_writer(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw w;
	jsonw_init(&w, &b, 0);
	write_all(&w);
	is_str(buf_cstr(&b),
	       "{\"s\":\"a\\\"\\\\\\n\\u0001\x7f/\xc3\xa9\",\"n\\u0000\":null,\"i\":[-9223372036854775808,"
	       "18446744073709551615,0.1,null,1e400,[]],\"o\":{},\"b\":true}",
	       "compact");
	buf_reset(&b);
	jsonw_init(&w, &b, 2);
	write_all(&w);
	is_str(buf_cstr(&b),
	       "{\n  \"s\": \"a\\\"\\\\\\n\\u0001\x7f/\xc3\xa9\",\n  \"n\\u0000\": null,\n  \"i\": [\n"
	       "    -9223372036854775808,\n    18446744073709551615,\n    0.1,\n    null,\n    1e400,\n"
	       "    []\n  ],\n  \"o\": {},\n  \"b\": true\n}",
	       "indented");
	static const char text[] = "\0\b\f\x1f\x7f/<&>\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80";
	size_t len = sizeof(text) - 1;
	is_str(escaped(&b, text, len, JSON_ESCAPE_MINIMAL),
	       "\"\\u0000\\b\\f\\u001f\x7f/<&>\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"",
	       "only what must be");
	is_str(escaped(&b, text, len, JSON_ESCAPE_PYTHON),
	       "\"\\u0000\\b\\f\\u001f\\u007f/<&>\\u00e9\\u2028\\ud83d\\ude00\"", "as Python does");
	is_str(escaped(&b, text, len, JSON_ESCAPE_GO),
	       "\"\\u0000\\b\\f\\u001f\x7f/\\u003c\\u0026\\u003e\xc3\xa9\\u2028\xf0\x9f\x98\x80\"",
	       "as Go does");
	is_str(escaped(&b, text, len, JSON_ESCAPE_ALL),
	       "\"\\u0000\\u0008\\u000C\\u001F\\u007F\\/\\u003C\\u0026\\u003E\\u00E9\\u2028\\uD83D\\uDE00\"",
	       "everything");
	is_str(escaped(&b, "a\xff\xc3z\xed\xa0\x80", 7, JSON_ESCAPE_MINIMAL),
	       "\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	       "what is not UTF-8 becomes U+FFFD");
	is_str(escaped(&b, "\xff", 1, JSON_ESCAPE_ASCII), "\"\\ufffd\"", "in ASCII as well");
	is_str(escaped(&b, NULL, 0, 0), "\"\"", "the empty string");
}

/* --- misuse: assertions, where they are compiled in --- */

#ifdef NDEBUG
#define MISUSES 0
static void test_misuse(void)
{
}
#else
#define MISUSES 5

static void misuse_no_key(struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_int(w, 1);
}

static void misuse_two_values(struct jsonw *w)
{
	jsonw_int(w, 1);
	jsonw_int(w, 1);
}

static void misuse_bracket(struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_array_end(w);
}

static void misuse_open(struct jsonw *w)
{
	jsonw_array_begin(w);
	jsonw_end(w);
}

static void misuse_key_alone(struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_key(w, "a");
	jsonw_object_end(w);
}

static bool aborts(void (*misuse)(struct jsonw *w))
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		fclose(stderr);
		signal(SIGABRT, SIG_DFL);
		struct buf b = { 0 };
		struct jsonw w;
		jsonw_init(&w, &b, 0);
		misuse(&w);
		_exit(0);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		tap_bail("cannot fork");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_misuse(void)
{
	ok(aborts(misuse_no_key), "a member without a name is an assertion");
	ok(aborts(misuse_two_values), "two values are an assertion");
	ok(aborts(misuse_bracket), "the wrong bracket is an assertion");
	ok(aborts(misuse_open), "an open container is an assertion");
	ok(aborts(misuse_key_alone), "a name without a value is an assertion");
}
#endif

int main(void)
{
	tap_plan(9 + MISUSES);
	test_writer();
	test_misuse();
	return tap_done();
}
