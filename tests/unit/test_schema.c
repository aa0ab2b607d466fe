/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fits a schema, what does not and in which words; what is no schema. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/schema.h"
#include "tests/tap.h"

/* 1, 0; negative: it is no schema. */
static int fits(const char *schema, const char *text, struct err *e)
{
	_cleanup_(schema_freep) struct schema *s = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *tree;
	*e = (struct err){ 0 };
	int r = schema_new(schema, strlen(schema), &s, e);
	if (r < 0)
		return r;
	if (json_parse(&a, text, strlen(text), NULL, &tree, e) < 0) {
		tap_diag("%s: %s", text, e->message);
		return -EBADMSG;
	}
	r = schema_check(s, tree, text, e);
	return r == -EINVAL ? 0 : r == 0 ? 1 : r;
}

static void test_keywords(void)
{
	static const struct {
		const char *schema, *text;
		int want;
	} c[] = {
		{ "true", "null", 1 },
		{ "false", "null", 0 },
		{ "{}", "[1]", 1 },
		{ "{\"type\":\"integer\"}", "1.0", 1 },
		{ "{\"type\":\"integer\"}", "1e400", 1 },
		{ "{\"type\":\"integer\"}", "1.5", 0 },
		{ "{\"type\":\"integer\"}", "\"1\"", 0 },
		{ "{\"type\":[\"string\",\"null\"]}", "null", 1 },
		{ "{\"type\":[\"string\",\"null\"]}", "1", 0 },
		{ "{\"type\":\"boolean\"}", "false", 1 },
		{ "{\"enum\":[1,\"a\",null]}", "1.0", 1 },
		{ "{\"enum\":[1,\"a\",null]}", "\"b\"", 0 },
		{ "{\"const\":{\"a\":[1,2]}}", "{\"a\":[1.0,2]}", 1 },
		{ "{\"const\":{\"a\":[1,2]}}", "{\"a\":[2,1]}", 0 },
		{ "{\"minimum\":0}", "-0", 1 },
		{ "{\"minimum\":9007199254740993}", "9007199254740992", 0 },
		{ "{\"maximum\":1e400}", "1e401", 0 },
		{ "{\"exclusiveMinimum\":0}", "0", 0 },
		{ "{\"exclusiveMaximum\":1}", "0.999999999999999999999", 1 },
		{ "{\"multipleOf\":0.01}", "19.99", 1 },
		{ "{\"multipleOf\":0.01}", "19.995", 0 },
		{ "{\"multipleOf\":7}", "1e400", 0 },
		{ "{\"multipleOf\":8}", "1e400", 1 },
		{ "{\"multipleOf\":1.5}", "-4.5", 1 },
		{ "{\"minLength\":2}", "\"\xc3\xa4\"", 0 },
		{ "{\"maxLength\":1}", "\"\xc3\xa4\"", 1 },
		{ "{\"pattern\":\"b+\"}", "\"abc\"", 1 },
		{ "{\"pattern\":\"^b\"}", "\"abc\"", 0 },
		{ "{\"pattern\":\"^\\\\p{L}$\"}", "\"\xc3\xa4\"", 1 },
		{ "{\"pattern\":\"^\\\\d$\"}", "\"\xd9\xa1\"", 0 },
		{ "{\"pattern\":\"(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", 0 },
		{ "{\"format\":\"date\"}", "\"2024-02-29\"", 1 },
		{ "{\"format\":\"date\"}", "\"2023-02-29\"", 0 },
		{ "{\"format\":\"date-time\"}", "\"2024-02-29T23:59:60Z\"", 1 },
		{ "{\"format\":\"date-time\"}", "\"2024-02-29 23:59:59Z\"", 0 },
		{ "{\"format\":\"time\"}", "\"00:29:60.5+00:30\"", 1 },
		{ "{\"format\":\"time\"}", "\"22:59:60Z\"", 0 },
		{ "{\"format\":\"email\"}", "\"a.b@example.org\"", 1 },
		{ "{\"format\":\"email\"}", "\"a..b@example.org\"", 0 },
		{ "{\"format\":\"ipv4\"}", "\"10.0.0.256\"", 0 },
		{ "{\"format\":\"ipv6\"}", "\"fe80::1\"", 1 },
		{ "{\"format\":\"hostname\"}", "\"-a.example\"", 0 },
		{ "{\"format\":\"uri\"}", "\"https://example.org/a%20b?c#d\"", 1 },
		{ "{\"format\":\"uri\"}", "\"/a/b\"", 0 },
		{ "{\"format\":\"uuid\"}", "\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"", 1 },
		{ "{\"format\":\"uuid\"}", "\"2eb8aa08aa9811eab4aa73b441d16380\"", 0 },
		{ "{\"format\":\"unheard\"}", "\"x\"", 1 },
		{ "{\"items\":{\"type\":\"string\"}}", "[\"a\",1]", 0 },
		{ "{\"prefixItems\":[{\"type\":\"string\"}],\"items\":false}", "[\"a\"]", 1 },
		{ "{\"prefixItems\":[{\"type\":\"string\"}],\"items\":false}", "[\"a\",1]", 0 },
		{ "{\"contains\":{\"const\":1}}", "[]", 0 },
		{ "{\"contains\":{\"const\":1},\"minContains\":0}", "[]", 1 },
		{ "{\"contains\":{\"const\":1},\"maxContains\":1}", "[1,1]", 0 },
		{ "{\"minItems\":1}", "[]", 0 },
		{ "{\"maxItems\":1}", "[1,2]", 0 },
		{ "{\"uniqueItems\":true}", "[1,{\"a\":1},{\"a\":1.0}]", 0 },
		{ "{\"uniqueItems\":true}", "[1,\"1\",true,[],{}]", 1 },
		{ "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"a\":1}", 0 },
		{ "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"b\":1}", 1 },
		{ "{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"a\":1,\"b\":2}", 0 },
		{ "{\"patternProperties\":{\"^x-\":{}},\"additionalProperties\":false}", "{\"x-a\":1}", 1 },
		{ "{\"patternProperties\":{\"a\":{\"minimum\":1},\"b\":{\"minimum\":5}}}", "{\"ab\":3}", 0 },
		{ "{\"propertyNames\":{\"maxLength\":2}}", "{\"abc\":1}", 0 },
		{ "{\"required\":[\"a\",\"b\"]}", "{\"a\":1}", 0 },
		{ "{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}", 0 },
		{ "{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"c\":1}", 1 },
		{ "{\"minProperties\":1}", "{}", 0 },
		{ "{\"maxProperties\":1}", "{\"a\":1,\"b\":2}", 0 },
		{ "{\"allOf\":[{\"minimum\":1},{\"maximum\":2}]}", "3", 0 },
		{ "{\"anyOf\":[{\"minimum\":5},{\"maximum\":2}]}", "3", 0 },
		{ "{\"anyOf\":[{\"minimum\":5},{\"maximum\":2}]}", "1", 1 },
		{ "{\"oneOf\":[{\"minimum\":1},{\"maximum\":2}]}", "1.5", 0 },
		{ "{\"oneOf\":[{\"minimum\":1},{\"maximum\":2}]}", "3", 1 },
		{ "{\"not\":{\"type\":\"null\"}}", "null", 0 },
		{ "{\"if\":{\"minimum\":10},\"then\":{\"multipleOf\":10},\"else\":{\"type\":\"integer\"}}", "25", 0 },
		{ "{\"if\":{\"minimum\":10},\"then\":{\"multipleOf\":10},\"else\":{\"type\":\"integer\"}}", "3", 1 },
		{ "{\"$defs\":{\"a/b\":{\"type\":\"null\"}},\"$ref\":\"#/$defs/a~1b\"}", "1", 0 },
		{ "{\"properties\":{\"n\":{\"$ref\":\"#\"}},\"additionalProperties\":false}",
		  "{\"n\":{\"n\":{\"n\":{}}}}", 1 },
		{ "{\"properties\":{\"n\":{\"$ref\":\"#\"}},\"additionalProperties\":false}",
		  "{\"n\":{\"n\":{\"m\":{}}}}", 0 },
	};
	struct err e;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		is_int(fits(c[i].schema, c[i].text, &e), c[i].want, "%s of %s", c[i].text, c[i].schema);
}

static void test_messages(void)
{
	struct err e;
	const char *schema = "{\"properties\":{\"cars\":{\"items\":{\"required\":[\"plate\"],"
			     "\"properties\":{\"doors\":{\"minimum\":0}}}}}}";
	is_int(fits(schema, "{\n  \"cars\": [\n    {\"plate\": 1, \"doors\": -1}\n  ]\n}", &e), 0, "doors");
	is_str(e.message, "/cars/0/doors must be at least 0", "it is named by its pointer");
	is_uint(e.line, 3, "line");
	is_uint(e.column, 27, "column");
	is_int(fits(schema, "{\"cars\": [{}]}", &e), 0, "plate");
	is_str(e.message, "/cars/0 must have a member \"plate\"", "what is missing");
	is_int(fits("{\"type\":\"object\"}", "[]", &e), 0, "an array");
	is_str(e.message, "the document must be of type object, and is array", "the document itself");
	is_int(fits("{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\"}]}", "1", &e), 0, "neither");
	is_str(e.message, "the document fits none of the 2 choices of anyOf", "no choice is singled out");
}

static void test_refused(void)
{
	static const struct {
		const char *schema, *message;
		unsigned column;
	} c[] = {
		{ "{\"type\": \"int\"}", "a type is null, boolean, number, integer, string, array or object", 10 },
		{ "[]", "a schema is an object, true or false", 1 },
		{ "{\"properties\": {\"a\": 1}}", "a schema is an object, true or false", 22 },
		{ "{\"minimum\": \"1\"}", "minimum of a schema has to be a number, and is a string", 13 },
		{ "{\"minLength\": -1}", "minLength of a schema has to be an integer, 0 or more", 15 },
		{ "{\"required\": [1]}", "only names, which are strings, may stand here", 15 },
		{ "{\"pattern\": \"(\"}", NULL, 13 },
		{ "{\"$ref\": \"other.json\"}", "$ref leads to a place in the same file: # or #/a/json/pointer", 10 },
		{ "{\"$ref\": \"#/$defs/a\"}", "there is no such place in this schema", 10 },
		{ "{\"unevaluatedProperties\": false}",
		  "unevaluatedProperties is not supported: shoal-schema(7) lists what is", 27 },
		{ "{\"$defs\": {\"a\": {\"multipleOf\": 0}}}",
		  "multipleOf has to be more than 0, and of 18 digits at most", 32 },
		{ "{\"allOf\": []}", "allOf of a schema needs one schema at least", 11 },
		{ "{\"x-shoal-type\": \"heap\"}", NULL, 18 },
		{ "{", NULL, 2 },
	};
	struct err e;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		is_errno(fits(c[i].schema, "1", &e), -EINVAL, "%s is refused", c[i].schema);
		if (c[i].message)
			is_str(e.message, c[i].message, "and told why");
		is_uint(e.column, c[i].column, "and where");
	}
}

/* N times open, inner, N times close. */
static char *nested(const char *open, const char *inner, const char *close, unsigned n)
{
	struct buf b = { 0 };
	for (unsigned i = 0; i < n; i++)
		buf_puts(&b, open);
	buf_puts(&b, inner);
	for (unsigned i = 0; i < n; i++)
		buf_puts(&b, close);
	size_t len;
	buf_u8(&b, 0);
	return (char *)buf_take(&b, &len);
}

static void test_bounds(void)
{
	struct err e;
	_cleanup_free_ char *deep = nested("{\"not\":", "true", "}", 100);
	is_errno(fits(deep, "1", &e), -EINVAL, "a schema that is nested too deep");
	_cleanup_free_ char *lists = nested("[", "1", "]", 500);
	is_int(fits("{\"items\":{\"$ref\":\"#\"}}", lists, &e), 0, "a document that is nested too deep for it");
	is_int(fits("{\"type\":\"array\"}", lists, &e), 1, "another schema does not go there");
	is_int(fits("{\"$ref\":\"#\"}", "1", &e), 0, "a schema that is itself");
	is_int(fits("{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", "1", &e), 0, "twice");
	is_int(fits("{\"not\":{\"$ref\":\"#\"}}", "1", &e), 0, "is not taken to be what it is not");
	ok(strstr(e.message, "longer to check"), "told: %s", e.message);
}

static int collect(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata)
{
	buf_putf(userdata, "%.*s=%.*s ", (int)len, pointer, (int)text_len, text);
	return 0;
}

static void test_types(void)
{
	_cleanup_(schema_freep) struct schema *s = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct err e = { 0 };
	const char *text = "{\"properties\":{\"views\":{\"x-shoal-type\":\"counter\"},\"a/b\":{\"items\":"
			   "{\"$ref\":\"#/$defs/n\"}},\"*\":{\"x-shoal-type\":\"set\"}},"
			   "\"additionalProperties\":{\"$ref\":\"#/$defs/n\"},"
			   "\"$defs\":{\"n\":{\"x-shoal-type\":\"text\"}}}";
	is_errno(schema_new(text, strlen(text), &s, &e), 0, "a schema with types: %s", e.message);
	if (!s)
		return;
	is_int(schema_types(s, collect, &b), 0, "walked");
	is_str(buf_cstr(&b), "/~2=set /a~1b/*=text /views=counter /*=text ", "each at its place");
	_cleanup_(schema_freep) struct schema *again = NULL;
	text = "{\"properties\":{\"next\":{\"$ref\":\"#\"},\"n\":{\"x-shoal-type\":\"counter\"}}}";
	is_errno(schema_new(text, strlen(text), &again, &e), 0, "one that refers to itself");
	buf_reset(&b);
	is_int(schema_types(again, collect, &b), 0, "ends");
	ok(strstr(buf_cstr(&b), "/next/next/n=counter"), "and is followed a while");
}

int main(void)
{
	tap_plan(141);
	test_keywords();
	test_messages();
	test_refused();
	test_bounds();
	test_types();
	return tap_done();
}
