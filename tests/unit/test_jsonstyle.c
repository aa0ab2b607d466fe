/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formatting: what real programs write comes back byte for byte. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/jsonstyle.h"
#include "engine/jsonw.h"
#include "tests/prng.h"
#include "tests/tap.h"

struct sample {
	const char *by;
	const char *text;
};

/* One document, as these programs wrote it: jq 1.6 (with '.'), Python 3.11 json.dump with these
 * arguments, Node 20 JSON.stringify(v, ...), Perl's JSON::PP. The style alone says everything. */
static const struct sample programs[] = {
	{ "jq -M", "{\n"
		   "  \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
		   "  \"url\": \"http://x.org/a?b=<c>&d\",\n"
		   "  \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
		   "  \"n\": [\n"
		   "    1,\n"
		   "    -2.5,\n"
		   "    1.7976931348623157e+308,\n"
		   "    [],\n"
		   "    {}\n"
		   "  ],\n"
		   "  \"o\": {\n"
		   "    \"k\": {\n"
		   "      \"l\": null,\n"
		   "      \"m\": [\n"
		   "        true,\n"
		   "        false\n"
		   "      ]\n"
		   "    },\n"
		   "    \"empty\": {}\n"
		   "  },\n"
		   "  \"last\": \"\"\n"
		   "}\n" },
	{ "jq -c",
	  "{\"name\":\"Zo\303\253 \342\200\250 \360\237\230\200\",\"url\":\"http://x.org/a?b=<c>&d"
	  "\",\"ctl\":\"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\"n\":[1,-2.5,1.797693134862315"
	  "7e+308,[],{}],\"o\":{\"k\":{\"l\":null,\"m\":[true,false]},\"empty\":{}},\"last\":\"\"}"
	  "\n" },
	{ "jq --tab", "{\n"
		      "\t\"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
		      "\t\"url\": \"http://x.org/a?b=<c>&d\",\n"
		      "\t\"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
		      "\t\"n\": [\n"
		      "\t\t1,\n"
		      "\t\t-2.5,\n"
		      "\t\t1.7976931348623157e+308,\n"
		      "\t\t[],\n"
		      "\t\t{}\n"
		      "\t],\n"
		      "\t\"o\": {\n"
		      "\t\t\"k\": {\n"
		      "\t\t\t\"l\": null,\n"
		      "\t\t\t\"m\": [\n"
		      "\t\t\t\ttrue,\n"
		      "\t\t\t\tfalse\n"
		      "\t\t\t]\n"
		      "\t\t},\n"
		      "\t\t\"empty\": {}\n"
		      "\t},\n"
		      "\t\"last\": \"\"\n"
		      "}\n" },
	{ "jq --indent 4", "{\n"
			   "    \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
			   "    \"url\": \"http://x.org/a?b=<c>&d\",\n"
			   "    \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
			   "    \"n\": [\n"
			   "        1,\n"
			   "        -2.5,\n"
			   "        1.7976931348623157e+308,\n"
			   "        [],\n"
			   "        {}\n"
			   "    ],\n"
			   "    \"o\": {\n"
			   "        \"k\": {\n"
			   "            \"l\": null,\n"
			   "            \"m\": [\n"
			   "                true,\n"
			   "                false\n"
			   "            ]\n"
			   "        },\n"
			   "        \"empty\": {}\n"
			   "    },\n"
			   "    \"last\": \"\"\n"
			   "}\n" },
	{ "jq -S", "{\n"
		   "  \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
		   "  \"last\": \"\",\n"
		   "  \"n\": [\n"
		   "    1,\n"
		   "    -2.5,\n"
		   "    1.7976931348623157e+308,\n"
		   "    [],\n"
		   "    {}\n"
		   "  ],\n"
		   "  \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
		   "  \"o\": {\n"
		   "    \"empty\": {},\n"
		   "    \"k\": {\n"
		   "      \"l\": null,\n"
		   "      \"m\": [\n"
		   "        true,\n"
		   "        false\n"
		   "      ]\n"
		   "    }\n"
		   "  },\n"
		   "  \"url\": \"http://x.org/a?b=<c>&d\"\n"
		   "}\n" },
	{ "jq -a", "{\n"
		   "  \"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\n"
		   "  \"url\": \"http://x.org/a?b=<c>&d\",\n"
		   "  \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
		   "  \"n\": [\n"
		   "    1,\n"
		   "    -2.5,\n"
		   "    1.7976931348623157e+308,\n"
		   "    [],\n"
		   "    {}\n"
		   "  ],\n"
		   "  \"o\": {\n"
		   "    \"k\": {\n"
		   "      \"l\": null,\n"
		   "      \"m\": [\n"
		   "        true,\n"
		   "        false\n"
		   "      ]\n"
		   "    },\n"
		   "    \"empty\": {}\n"
		   "  },\n"
		   "  \"last\": \"\"\n"
		   "}\n" },
	{ "jq -ac",
	  "{\"name\":\"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\"url\":\"http://x.org/a?b=<c>&d\",\"ctl"
	  "\":\"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\"n\":[1,-2.5,1.7976931348623157e+308,["
	  "],{}],\"o\":{\"k\":{\"l\":null,\"m\":[true,false]},\"empty\":{}},\"last\":\"\"}\n" },
	{ "jq -j", "{\n"
		   "  \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
		   "  \"url\": \"http://x.org/a?b=<c>&d\",\n"
		   "  \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
		   "  \"n\": [\n"
		   "    1,\n"
		   "    -2.5,\n"
		   "    1.7976931348623157e+308,\n"
		   "    [],\n"
		   "    {}\n"
		   "  ],\n"
		   "  \"o\": {\n"
		   "    \"k\": {\n"
		   "      \"l\": null,\n"
		   "      \"m\": [\n"
		   "        true,\n"
		   "        false\n"
		   "      ]\n"
		   "    },\n"
		   "    \"empty\": {}\n"
		   "  },\n"
		   "  \"last\": \"\"\n"
		   "}" },
	{ "json.dump",
	  "{\"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\", \"url\": \"http://x.org/a?b=<c>&d\", "
	  "\"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\", \"n\": [1, -2.5, 1e+40, [], {}],"
	  " \"o\": {\"k\": {\"l\": null, \"m\": [true, false]}, \"empty\": {}}, \"last\": \"\"}" },
	{ "json.dump indent=2", "{\n"
				"  \"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\n"
				"  \"url\": \"http://x.org/a?b=<c>&d\",\n"
				"  \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
				"  \"n\": [\n"
				"    1,\n"
				"    -2.5,\n"
				"    1e+40,\n"
				"    [],\n"
				"    {}\n"
				"  ],\n"
				"  \"o\": {\n"
				"    \"k\": {\n"
				"      \"l\": null,\n"
				"      \"m\": [\n"
				"        true,\n"
				"        false\n"
				"      ]\n"
				"    },\n"
				"    \"empty\": {}\n"
				"  },\n"
				"  \"last\": \"\"\n"
				"}" },
	{ "json.dump indent=4", "{\n"
				"    \"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\n"
				"    \"url\": \"http://x.org/a?b=<c>&d\",\n"
				"    \"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
				"    \"n\": [\n"
				"        1,\n"
				"        -2.5,\n"
				"        1e+40,\n"
				"        [],\n"
				"        {}\n"
				"    ],\n"
				"    \"o\": {\n"
				"        \"k\": {\n"
				"            \"l\": null,\n"
				"            \"m\": [\n"
				"                true,\n"
				"                false\n"
				"            ]\n"
				"        },\n"
				"        \"empty\": {}\n"
				"    },\n"
				"    \"last\": \"\"\n"
				"}" },
	{ "json.dump indent=0", "{\n"
				"\"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\n"
				"\"url\": \"http://x.org/a?b=<c>&d\",\n"
				"\"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
				"\"n\": [\n"
				"1,\n"
				"-2.5,\n"
				"1e+40,\n"
				"[],\n"
				"{}\n"
				"],\n"
				"\"o\": {\n"
				"\"k\": {\n"
				"\"l\": null,\n"
				"\"m\": [\n"
				"true,\n"
				"false\n"
				"]\n"
				"},\n"
				"\"empty\": {}\n"
				"},\n"
				"\"last\": \"\"\n"
				"}" },
	{ "json.dump indent=\"\t\"", "{\n"
				     "\t\"name\": \"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\n"
				     "\t\"url\": \"http://x.org/a?b=<c>&d\",\n"
				     "\t\"ctl\": \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
				     "\t\"n\": [\n"
				     "\t\t1,\n"
				     "\t\t-2.5,\n"
				     "\t\t1e+40,\n"
				     "\t\t[],\n"
				     "\t\t{}\n"
				     "\t],\n"
				     "\t\"o\": {\n"
				     "\t\t\"k\": {\n"
				     "\t\t\t\"l\": null,\n"
				     "\t\t\t\"m\": [\n"
				     "\t\t\t\ttrue,\n"
				     "\t\t\t\tfalse\n"
				     "\t\t\t]\n"
				     "\t\t},\n"
				     "\t\t\"empty\": {}\n"
				     "\t},\n"
				     "\t\"last\": \"\"\n"
				     "}" },
	{ "json.dump separators=(\",\", \":\")",
	  "{\"name\":\"Zo\\u00eb \\u2028 \\ud83d\\ude00\",\"url\":\"http://x.org/a?b=<c>&d\",\"ctl"
	  "\":\"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\"n\":[1,-2.5,1e+40,[],{}],\"o\":{\"k"
	  "\":{\"l\":null,\"m\":[true,false]},\"empty\":{}},\"last\":\"\"}" },
	{ "json.dump ensure_ascii=False",
	  "{\"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\", \"url\": \"http://x.org/a?b=<c>"
	  "&d\", \"ctl\": \"\177 \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\", \"n\": [1, -2.5, 1e+40, [], {"
	  "}], \"o\": {\"k\": {\"l\": null, \"m\": [true, false]}, \"empty\": {}}, \"last\": \"\"}" },
	{ "json.dump ensure_ascii=False, indent=2, sort_keys=True",
	  "{\n"
	  "  \"ctl\": \"\177 \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
	  "  \"last\": \"\",\n"
	  "  \"n\": [\n"
	  "    1,\n"
	  "    -2.5,\n"
	  "    1e+40,\n"
	  "    [],\n"
	  "    {}\n"
	  "  ],\n"
	  "  \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
	  "  \"o\": {\n"
	  "    \"empty\": {},\n"
	  "    \"k\": {\n"
	  "      \"l\": null,\n"
	  "      \"m\": [\n"
	  "        true,\n"
	  "        false\n"
	  "      ]\n"
	  "    }\n"
	  "  },\n"
	  "  \"url\": \"http://x.org/a?b=<c>&d\"\n"
	  "}" },
	{ "json.dump indent=1, separators=(\", \", \" : \")",
	  "{\n"
	  " \"name\" : \"Zo\\u00eb \\u2028 \\ud83d\\ude00\", \n"
	  " \"url\" : \"http://x.org/a?b=<c>&d\", \n"
	  " \"ctl\" : \"\\u007f \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\", \n"
	  " \"n\" : [\n"
	  "  1, \n"
	  "  -2.5, \n"
	  "  1e+40, \n"
	  "  [], \n"
	  "  {}\n"
	  " ], \n"
	  " \"o\" : {\n"
	  "  \"k\" : {\n"
	  "   \"l\" : null, \n"
	  "   \"m\" : [\n"
	  "    true, \n"
	  "    false\n"
	  "   ]\n"
	  "  }, \n"
	  "  \"empty\" : {}\n"
	  " }, \n"
	  " \"last\" : \"\"\n"
	  "}" },
	{ "JSON.stringify",
	  "{\"name\":\"Zo\303\253 \342\200\250 \360\237\230\200\",\"url\":\"http://x.org/a?b=<c>&d"
	  "\",\"ctl\":\"\177 \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\"n\":[1,-2.5,null,[],{}],\"o\":{"
	  "\"k\":{\"l\":null,\"m\":[true,false]},\"empty\":{}},\"last\":\"\"}" },
	{ "JSON.stringify null, 2", "{\n"
				    "  \"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
				    "  \"url\": \"http://x.org/a?b=<c>&d\",\n"
				    "  \"ctl\": \"\177 \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
				    "  \"n\": [\n"
				    "    1,\n"
				    "    -2.5,\n"
				    "    null,\n"
				    "    [],\n"
				    "    {}\n"
				    "  ],\n"
				    "  \"o\": {\n"
				    "    \"k\": {\n"
				    "      \"l\": null,\n"
				    "      \"m\": [\n"
				    "        true,\n"
				    "        false\n"
				    "      ]\n"
				    "    },\n"
				    "    \"empty\": {}\n"
				    "  },\n"
				    "  \"last\": \"\"\n"
				    "}" },
	{ "JSON.stringify null, \"\t\"",
	  "{\n"
	  "\t\"name\": \"Zo\303\253 \342\200\250 \360\237\230\200\",\n"
	  "\t\"url\": \"http://x.org/a?b=<c>&d\",\n"
	  "\t\"ctl\": \"\177 \\u0001 \\b\\f\\n\\r\\t \\\" \\\\\",\n"
	  "\t\"n\": [\n"
	  "\t\t1,\n"
	  "\t\t-2.5,\n"
	  "\t\tnull,\n"
	  "\t\t[],\n"
	  "\t\t{}\n"
	  "\t],\n"
	  "\t\"o\": {\n"
	  "\t\t\"k\": {\n"
	  "\t\t\t\"l\": null,\n"
	  "\t\t\t\"m\": [\n"
	  "\t\t\t\ttrue,\n"
	  "\t\t\t\tfalse\n"
	  "\t\t\t]\n"
	  "\t\t},\n"
	  "\t\t\"empty\": {}\n"
	  "\t},\n"
	  "\t\"last\": \"\"\n"
	  "}" },
	{ "JSON::PP pretty", "{\n"
			     "   \"a\" : [\n"
			     "      1,\n"
			     "      {\n"
			     "         \"b\" : null\n"
			     "      }\n"
			     "   ],\n"
			     "   \"e\" : {},\n"
			     "   \"f\" : [],\n"
			     "   \"s\" : \"x/y\"\n"
			     "}\n" },
	/* Written by hand after what these produce. */
	{ "Go json.MarshalIndent(v, \"\", \"\\t\")",
	  "{\n\t\"name\": \"Zo\303\253\",\n\t\"html\": \"\\u003ca href=1\\u0026\\u003e\",\n"
	  "\t\"line\": \"\\u2028\",\n\t\"old\": \"\\u0008\\u000c\",\n\t\"n\": [\n\t\t1,\n\t\t2\n\t],\n"
	  "\t\"empty\": {},\n\t\"none\": null\n}" },
	{ "PHP json_encode",
	  "{\"url\":\"http:\\/\\/x.org\\/\",\"name\":\"Zo\\u00eb\",\"n\":[1,2],\"e\":[]}" },
	{ "PHP json_encode, JSON_PRETTY_PRINT",
	  "{\n    \"url\": \"http:\\/\\/x.org\\/\",\n    \"n\": [\n        1\n    ],\n    \"e\": {}\n}" },
	{ ".NET, indented",
	  "{\r\n  \"name\": \"Zo\\u00EB \\u003C\\u0026\\u003E\",\r\n  \"n\": [\r\n    1,\r\n    2\r\n  ],\r\n"
	  "  \"e\": []\r\n}\r\n" },
	{ "Python 2 json.dump, indent=2", "{\n  \"a\": 1, \n  \"b\": [\n    1, \n    2\n  ]\n}" },
	{ "Xcode", "{\n  \"info\" : {\n    \"version\" : 1\n  },\n  \"list\" : [\n\n  ]\n}\n" },
};

/* Every container has its own way, which the tree remembers. */
static const struct sample people[] = {
	{ "Prettier",
	  "{\n  \"name\": \"x\",\n  \"files\": [\"a\", \"b\"],\n  \"engines\": { \"node\": \">=18\" },\n"
	  "  \"list\": [\n    { \"a\": 1, \"b\": [] },\n    { \"a\": 2, \"b\": [1, 2] }\n  ],\n"
	  "  \"nested\": {\n    \"deep\": { \"x\": {} }\n  }\n}\n" },
	{ "Jackson's default printer",
	  "{\n  \"a\" : 1,\n  \"list\" : [ 1, 2 ],\n  \"e\" : { },\n  \"objects\" : [ {\n    \"x\" : 1\n"
	  "  }, {\n    \"x\" : 2\n  } ]\n}" },
	{ "one object a line", "[\n{\"a\":1,\"b\":[1,2]},\n{\"a\":2,\"b\":[]}\n]\n" },
	{ "one object a line, indented",
	  "[\n  {\"a\": 1, \"b\": [1, 2]},\n  {\"a\": 2, \"b\": []}\n]\n" },
	{ "hugging brackets", "[{\n  \"a\": 1\n}, {\n  \"a\": 2\n}]" },
	{ "compact by hand", "{\"a\": 1, \"b\": {\"c\": [1, 2, 3]}, \"d\": \"\"}\n" },
	{ "tabs and CR LF",
	  "{\r\n\t\"a\": [1, 2],\r\n\t\"b\": {\r\n\t\t\"c\": {}\r\n\t}\r\n}\r\n\r\n" },
	{ "three line ends", "{}\n\n\n" },
	{ "a scalar", "\"x\"\n" },
	{ "a scalar with CR LF", "1.50\r\n" },
	{ "nothing around it", "null" },
	{ "empty with a space", "{ }" },
	{ "empty over two lines", "[\r\n]" },
};

/* Texts that a style cannot say. */
static const char *const beyond[] = {
	"{\"a\":  1}", "[1,\n2]",        "{\n  \"a\": 1,\n\n  \"b\": 2\n}", " {}",
	"{} ",         "[\"\\u0041\"]",  "{\"a\":\"\xc3\xa9\\u00e9\"}",     "[\"x/y \\/\"]",
	"[1,2, 3]",    "[\n 1,\n  2\n]",
};

static struct json *parsed(struct arena *a, const char *text, size_t len)
{
	struct json *root;
	struct err e;
	if (json_parse(a, text, len, NULL, &root, &e) < 0)
		tap_bail("%u:%u %s in\n%.*s", e.line, e.column, e.message, (int)len, text);
	return root;
}

static struct json *next_in_order(struct json *v)
{
	if (v->first)
		return v->first;
	while (v->parent && !v->next)
		v = v->parent;
	return v->parent ? v->next : NULL;
}

static void forget_layouts(struct json *root)
{
	for (struct json *v = root; v; v = next_in_order(v))
		v->layout = JSON_LAYOUT_AUTO;
}

static void arrays_by_source(struct json *root)
{
	for (struct json *v = root; v; v = next_in_order(v))
		if (v->type == JSON_ARRAY)
			v->flags |= JSON_RAW;
}

static bool writes(const struct json *root, const struct json_style *s, const char *want,
		   size_t len)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_write(root, s, &b);
	return !buf_failed(&b) && b.len == len && memcmp(b.data, want, len) == 0;
}

/* "" or what does not hold for the text: the ways to write it that must give it back. */
static const char *comes_back(const char *text, size_t len, bool style_alone)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf code = { 0 };
	struct json *root = parsed(&a, text, len);
	struct json_style s, decoded;
	json_style_detect(root, text, len, &s);
	if (!writes(root, &s, text, len))
		return "rendering with layouts differs";
	json_style_encode(&s, &code);
	if (json_style_decode(code.data, code.len, &decoded) < 0 ||
	    !writes(root, &decoded, text, len))
		return "the style does not survive its encoding";
	if (style_alone) {
		forget_layouts(root);
		if (!writes(root, &s, text, len))
			return "rendering by the style alone differs";
	}
	arrays_by_source(root);
	if (!writes(root, &s, text, len))
		return "rendering with arrays from the source differs";
	return "";
}

static void test_samples(void)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		is_str(comes_back(programs[i].text, strlen(programs[i].text), true), "", "%s",
		       programs[i].by);
	for (size_t i = 0; i < sizeof(people) / sizeof(people[0]); i++)
		is_str(comes_back(people[i].text, strlen(people[i].text), false), "", "%s",
		       people[i].by);
	unsigned same = 0;
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
		same += comes_back(beyond[i], strlen(beyond[i]), false)[0] == 0;
	is_uint(same, 0, "what a style cannot say is told apart by comparing");
}

static struct json_style detected(const char *text)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json_style s;
	json_style_detect(parsed(&a, text, strlen(text)), text, strlen(text), &s);
	return s;
}

static void test_properties(void)
{
	struct json_style s = detected("{\n\t\"a\" : [ 1 ],\n\t\"b\" : {}\n}\n");
	ok(s.tab && s.indent == 1 && s.colon_before && s.colon_after && s.array_pad &&
		   s.final_newlines == 1 && !s.crlf,
	   "tabs, spaces around the colon, padded arrays");
	ok(s.object_layout == JSON_LAYOUT_BROKEN && s.array_layout == JSON_LAYOUT_INLINE,
	   "new objects are broken, new arrays inline");
	s = detected("{\"a\":1}");
	ok(s.object_layout == JSON_LAYOUT_INLINE && !s.item_space && !s.colon_after &&
		   s.final_newlines == 0,
	   "compact");
	s = detected("{\"a\": 1}");
	ok(s.item_space && s.colon_after, "what is not shown follows from what is");
	s = detected("{}\n");
	ok(s.indent == 2 && s.object_layout == JSON_LAYOUT_BROKEN && s.final_newlines == 1,
	   "an empty object says little: as jq writes");
	is_uint(detected("[\"\\u00e9\"]").escape, JSON_ESCAPE_PYTHON, "ASCII only");
	is_uint(detected("[\"\\u00e9\", \"\xc3\xa9\"]").escape, 0, "one escape makes no rule");
	is_uint(detected("[\"\\/ \\u003c \\u00EB\"]").escape,
		JSON_ESCAPE_SLASH | JSON_ESCAPE_HTML | JSON_ESCAPE_PYTHON,
		"several rules; a lower-case digit anywhere means lower case");
	is_uint(detected("[\"\\\\/ \\\\u00e9\"]").escape, 0,
		"an escaped backslash escapes nothing");
	is_uint(detected("[\"\\u0008\"]").escape, JSON_ESCAPE_LONG_BF, "long form of \\b");

	/* Trees that nobody parsed. */
	struct json leaf = { .type = JSON_NUMBER, .text = "1", .len = 1, .key = "k", .key_len = 1 };
	struct json inner = { .type = JSON_ARRAY,
			      .text = "[ 1,2 ]",
			      .len = 7,
			      .key = "r",
			      .key_len = 1,
			      .flags = JSON_RAW };
	struct json root = { .type = JSON_OBJECT, .count = 2, .first = &leaf };
	leaf.next = &inner;
	leaf.parent = inner.parent = &root;
	json_style_default(&s);
	static const char want[] = "{\n  \"k\": 1,\n  \"r\": [ 1,2 ]\n}\n";
	ok(writes(&root, &s, want, sizeof(want) - 1),
	   "a tree built by hand, the array as it stood");
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_write_value(&root, &s, 1, &b);
	is_str(buf_cstr(&b), "{\n    \"k\": 1,\n    \"r\": [ 1,2 ]\n  }",
	       "a value inside of a broken container");
	root.layout = JSON_LAYOUT_INLINE;
	static const char line[] = "{\"k\": 1, \"r\": [ 1,2 ]}\n";
	ok(writes(&root, &s, line, sizeof(line) - 1), "the same on one line");
}

static void test_encoding(uint64_t seed)
{
	struct json_style s, d;
	_cleanup_(buf_done) struct buf b = { 0 };
	json_style_default(&s);
	json_style_encode(&s, &b);
	is_mem(b.data, b.len, "\1\x6c\0\0\2\1", 6, "the default style's encoding");
	is_errno(json_style_decode(b.data, 5, &d), -EINVAL, "too short");
	is_errno(json_style_decode(b.data, 0, &d), -EINVAL, "nothing");
	is_errno(json_style_decode("\1\x6c\0\0\2\1\0", 7, &d), -EINVAL, "too long");
	is_errno(json_style_decode("\2\x6c\0\0\2\1", 6, &d), -ENOTSUP, "a later version");
	is_errno(json_style_decode("\1\x6c\x40\0\2\1", 6, &d), -EINVAL, "a bit without meaning");
	is_errno(json_style_decode("\1\x6c\0\x80\2\1", 6, &d), -EINVAL,
		 "an escape without meaning");
	is_errno(json_style_decode("\1\x6c\0\0\x21\1", 6, &d), -EINVAL, "an indentation too wide");
	is_errno(json_style_decode("\1\x6d\0\0\0\1", 6, &d), -EINVAL, "tabs, but none");
	struct prng r = { seed };
	unsigned accepted = 0, bad = 0;
	for (int i = 0; i < 20000; i++) {
		uint8_t code[JSON_STYLE_SIZE];
		prng_fill(&r, code, sizeof(code));
		code[0] = 1;
		code[4] &= 0x3f;
		if (json_style_decode(code, sizeof(code), &d) < 0)
			continue;
		accepted++;
		buf_reset(&b);
		json_style_encode(&d, &b);
		bad += b.len != sizeof(code) || memcmp(b.data, code, sizeof(code)) != 0;
	}
	ok(accepted > 100 && bad == 0, "every accepted encoding is the one its style has");
}

/* --- random documents in random styles --------------------------------------------------- */

static struct json *random_tree(struct prng *r, struct arena *a, int depth)
{
	static const char *const number[] = { "0", "-1.50", "1e400", "18446744073709551616" };
	struct json *v = arena_new(a, struct json);
	if (!v)
		tap_bail("out of memory");
	v->type = (uint8_t)prng_below(r, depth > 0 ? 9 : 5);
	if (v->type > JSON_OBJECT)
		v->type = JSON_OBJECT;
	if (v->type == JSON_NUMBER) {
		v->text = number[prng_below(r, 4)];
		v->len = strlen(v->text);
	} else if (v->type == JSON_STRING) {
		static const char *const piece[] = { "a",
						     "/",
						     "\\",
						     "\"",
						     "<",
						     "&",
						     "\x7f",
						     "\b",
						     "\f",
						     "\n",
						     "\x1f",
						     "\xc3\xab",
						     "\xe2\x80\xa8",
						     "\xf0\x9f\x98\x80",
						     "b ",
						     "u" };
		char text[64];
		for (uint64_t n = prng_below(r, 8); n > 0; n--) {
			const char *p = piece[prng_below(r, 16)];
			memcpy(text + v->len, p, strlen(p));
			v->len += strlen(p);
		}
		v->text = arena_dup(a, text, v->len);
	}
	if (!json_is_container(v))
		return v;
	struct json **link = &v->first;
	for (uint64_t n = prng_below(r, 5); n > 0; n--) {
		struct json *c = *link = random_tree(r, a, depth - 1);
		link = &c->next;
		c->parent = v;
		if (v->type == JSON_OBJECT) {
			char key[24];
			c->key_len = (size_t)snprintf(key, sizeof(key), "%u%s", v->count,
						      prng_chance(r, 10) ? "\xc3\xab/" : "");
			c->key = arena_dup(a, key, c->key_len);
		}
		v->count++;
	}
	return v;
}

static struct json_style random_style(struct prng *r)
{
	for (;;) {
		uint8_t code[JSON_STYLE_SIZE];
		struct json_style s;
		prng_fill(r, code, sizeof(code));
		code[0] = 1;
		code[3] = prng_chance(r, 50) ? 0 : code[3];
		code[4] %= 9;
		code[5] %= 3;
		if (json_style_decode(code, sizeof(code), &s) == 0)
			return s;
	}
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	const char *why = "";
	for (uint64_t i = 0; i < rounds && !why[0]; i++) {
		struct json_style s = random_style(&r);
		arena_reset(&a);
		buf_reset(&b);
		struct json *v = random_tree(&r, &a, 4);
		bool mixed = prng_chance(&r, 50);
		for (struct json *c = v; c && mixed; c = next_in_order(c))
			c->layout = (uint8_t)prng_below(&r, 3);
		json_style_write(v, &s, &b);
		why = comes_back((char *)b.data, b.len, !mixed);
		if (!why[0])
			continue;
		tap_diag("round %" PRIu64 ": %s\n%.*s", i, why, (int)b.len, (char *)b.data);
	}
	is_str(why, "", "random documents in random styles come back");
}

int main(int argc, char **argv)
{
	tap_plan(sizeof(programs) / sizeof(programs[0]) + sizeof(people) / sizeof(people[0]) + 25);
	uint64_t seed = tap_seed(argc, argv);
	uint64_t rounds = tap_rounds(argc, argv, 20000);
	test_samples();
	test_properties();
	test_encoding(seed);
	test_random(seed, rounds);
	return tap_done();
}
