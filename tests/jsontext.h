/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* JSON texts in tests. */

#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tests/tap.h"

_unused_ static struct json *parsed(struct arena *a, const char *text)
{
	struct json *root;
	struct err e;
	if (json_parse(a, text, strlen(text), NULL, &root, &e) < 0)
		tap_bail("%s: %s", text, e.message);
	return root;
}

_unused_ static bool equal(const char *x, const char *y)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct json *v = parsed(&a, x), *w = parsed(&a, y);
	bool r = json_equal(v, w);
	if (r != json_equal(w, v))
		tap_bail("json_equal(%s, %s) is not symmetric", x, y);
	return r;
}

_unused_ static char *repeat(const char *unit, size_t n, size_t *ret_len)
{
	size_t u = strlen(unit);
	char *p = malloc(u * n + 1);
	if (!p)
		tap_bail("out of memory");
	for (size_t i = 0; i < n; i++)
		memcpy(p + i * u, unit, u);
	p[u * n] = 0;
	*ret_len = u * n;
	return p;
}
