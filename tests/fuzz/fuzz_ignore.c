/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path, a NUL, ignore rules: a path is ignored exactly when the rules say so of it or of a
 * directory that it is in, and adding a rule for everything, or one that takes everything back,
 * does what it says. */
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/ignore.h"
#include "tests/fuzz/replay.h"

#define NAMES 16

/* From memory of exactly that size. */
static struct ignore *parse(const void *data, size_t len)
{
	struct ignore *g = NULL;
	char *copy = malloc(len ? len : 1);
	FUZZ_CHECK(copy);
	memcpy(copy, data, len);
	FUZZ_CHECK(ignore_parse(copy, len, &g) == 0);
	free(copy);
	return g;
}

/* The rules with one more line. */
static enum ignore_says with(const void *rules, size_t len, const char *line, const char *path,
			     size_t path_len, bool dir)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_put(&b, rules, len);
	buf_puts(&b, line);
	_cleanup_(ignore_freep) struct ignore *g = parse(b.data, b.len);
	return ignore_match(g, path, path_len, dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *nul = memchr(data, 0, len);
	size_t n = nul ? (size_t)(nul - data) : 0;
	const char *path = (const char *)data;
	if (n == 0 || n > 4096 || path[0] == '/' || path[n - 1] == '/' || memmem(path, n, "//", 2))
		return 0;
	_cleanup_(ignore_freep) struct ignore *g = parse(nul + 1, len - n - 1);
	const struct ignore *rules[NAMES] = { g };
	bool said = false;
	size_t names = 1, end = 0;
	for (; end < n && names <= NAMES; names++, end++) {
		const char *slash = memchr(path + end, '/', n - end);
		end = slash ? (size_t)(slash - path) : n;
		said |= ignore_match(g, path, end, slash != NULL) == IGNORE_YES;
	}
	if (end < n)
		return 0;
	FUZZ_CHECK(ignore_path(rules, names - 1, path, n, false) == said);
	if (len < IGNORE_SIZE_MAX - 16) {
		FUZZ_CHECK(with(nul + 1, len - n - 1, "\n*\n", path, n, false) == IGNORE_YES);
		FUZZ_CHECK(with(nul + 1, len - n - 1, "\n!**/*\n", path, n, true) == IGNORE_NO);
		FUZZ_CHECK(with(nul + 1, len - n - 1, "\n*/\n", path, n, false) ==
			   ignore_match(g, path, n, false));
	}
	return 0;
}
