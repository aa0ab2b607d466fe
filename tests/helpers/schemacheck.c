/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of JSON, each an array of a schema and a document: prints "fits", "breaks", or "none" where the first is no
 * schema, and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/schema.h"

static int look(const char *line, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(schema_freep) struct schema *s = NULL;
	struct err e = { 0 };
	struct json *pair;
	if (json_parse(&a, line, len, NULL, &pair, &e) < 0 || pair->count != 2)
		return -1;
	const struct json *schema = pair->first, *doc = schema->next;
	if (schema_new(line + schema->offset, schema->end - schema->offset, &s, &e) < 0)
		printf("none %s\n", e.message);
	else if (schema_check(s, doc, NULL, &e) < 0)
		printf("breaks %s\n", e.message);
	else
		puts("fits");
	return 0;
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int r = 0;
	while (r == 0 && (len = getline(&line, &room, stdin)) > 0)
		r = look(line, (size_t)len);
	free(line);
	return r < 0;
}
