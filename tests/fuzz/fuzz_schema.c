/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A document, a NUL, a schema, both from a stranger: checking ends, and what must not be is exactly what may not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/schema.h"
#include "tests/fuzz/replay.h"

static int count(const char *pointer, size_t len, const char *text, size_t text_len, void *userdata)
{
	FUZZ_CHECK((len == 0 || pointer[0] == '/') && text_len > 0 && text);
	++*(unsigned *)userdata;
	return 0;
}

/* The schema between these two, checked. */
static int with(const char *before, const char *text, size_t len, const char *after,
		const struct json *doc)
{
	_cleanup_(schema_freep) struct schema *s = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, before);
	buf_put(&b, text, len);
	buf_puts(&b, after);
	if (schema_new((char *)b.data, b.len, &s, NULL) < 0)
		return 1; /* too deep, one more */
	return schema_check(s, doc, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(schema_freep) struct schema *s = NULL;
	const char *text = (const char *)data;
	const char *nul = memchr(data, 0, len);
	struct json *doc;
	struct err e = { 0 };
	unsigned n = 0;
	if (!nul || json_parse(&a, text, (size_t)(nul - text), NULL, &doc, NULL) < 0)
		return 0;
	const char *schema = nul + 1;
	const size_t size = len - (size_t)(schema - text);
	int r = schema_new(schema, size, &s, &e);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && e.message[0] && e.offset <= size) || r == -EFBIG);
	if (r < 0)
		return 0;
	FUZZ_CHECK(schema_types(s, count, &n) == 0);
	r = schema_check(s, doc, text, &e);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && e.message[0] && e.offset <= len));
	if ((r < 0 && strstr(e.message, "longer to check")) || memmem(schema, size, "$ref", 4))
		return 0;
	int no = with("{\"not\":", schema, size, "}", doc), yes = with("{\"allOf\":[", schema, size, "]}", doc);
	FUZZ_CHECK(yes == 1 || yes == r);
	FUZZ_CHECK(no == 1 || (no == 0) == (r < 0));
	return 0;
}
