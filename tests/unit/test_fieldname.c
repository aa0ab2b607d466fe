/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys as names of files, and back. */
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "fusefs/fieldname.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define ROUNDS 20000
#define LONG_MAX_BYTES 600

static void name(const char *key, size_t len, const char *want)
{
	_cleanup_(buf_done) struct buf b = { 0 }, back = { 0 };
	fieldname_put(&b, key, len);
	is_str(buf_cstr(&b), want, "a name");
	ok(fieldname_key(want, strlen(want), &back) && back.len == len &&
		   (len == 0 || !memcmp(back.data, key, len)),
	   "and back");
}

static bool no_key(const char *text)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	return !fieldname_key(text, strlen(text), &b);
}

/* Of the characters that matter, and some others. */
static size_t random_key(struct prng *g, size_t max, char *key)
{
	static const char some[] = "%%%%2FE05..//~af-\xc3\xa9";
	size_t len = prng_below(g, max + 1);
	for (size_t i = 0; i < len; i++)
		key[i] = prng_below(g, 20) ? some[prng_below(g, sizeof(some) - 3)] : '\0';
	return len;
}

static bool there_and_back(const char *key, size_t len)
{
	_cleanup_(buf_done) struct buf b = { 0 }, back = { 0 };
	fieldname_put(&b, key, len);
	if (buf_failed(&b) || b.len == 0 || b.len > 255 || memchr(b.data, '/', b.len) ||
	    memchr(b.data, 0, b.len) || (b.data[0] == '.' && (b.len == 1 ||
	    (b.len == 2 && b.data[1] == '.'))))
		return false;
	bool whole = fieldname_key((char *)b.data, b.len, &back);
	if (whole)
		return back.len == len && (len == 0 || memcmp(back.data, key, len) == 0);
	struct json member = { .type = JSON_NULL, .key = key, .key_len = len };
	struct json object = { .type = JSON_OBJECT, .count = 1, .first = &member };
	return len > 85 && fieldname_find(&object, (char *)b.data, b.len) == &member;
}

static void test_random(uint64_t seed, uint64_t rounds)
{
	struct prng g = { seed };
	char key[LONG_MAX_BYTES];
	bool good = true;
	for (uint64_t i = 0; good && i < rounds; i++) {
		size_t len = random_key(&g, i % 8 ? 12 : LONG_MAX_BYTES, key);
		good = there_and_back(key, len);
		if (!good)
			tap_diag("round %llu: \"%.*s\"", (unsigned long long)i, (int)len, key);
	}
	ok(good, "any key has a name that leads back to it");
}

int main(int argc, char **argv)
{
	tap_plan(2 * 11 + 3 + 2);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, ROUNDS);
	name("doors", 5, "doors");
	name("", 0, "%");
	name("%", 1, "%25");
	name(".", 1, "%2E");
	name("..", 2, "%2E%2E");
	name("...", 3, "...");
	name("a/b", 3, "a%2Fb");
	name("a\0b", 3, "a%00b");
	name("50%", 3, "50%");
	name("%2F", 3, "%252F");
	name("%~", 2, "%25~");
	ok(no_key("%41") && no_key("%2E%2E%2E") && no_key("a%25"), "a key has one name only");
	ok(no_key("%~0123456789abcdef"), "a hash alone is no key");
	ok(no_key("\xff") && no_key("%FF"), "keys are UTF-8");
	char text[256];
	_cleanup_(buf_done) struct buf b = { 0 };
	memset(text, 'x', sizeof(text));
	fieldname_put(&b, text, 255);
	ok(b.len == 255 && memcmp(b.data, text, 255) == 0, "what just fits stands as it is");
	test_random(seed, rounds);
	return tap_done();
}
