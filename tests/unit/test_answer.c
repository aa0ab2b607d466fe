/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How one answer differs from the one before: examples, then many random ones against a list that the differences are
 * applied to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/answer.h"
#include "engine/buf.h"
#include "tests/tap.h"

static int put_op(enum answer_op op, const void *row, size_t len, void *userdata)
{
	struct buf *b = userdata;
	buf_u8(b, (uint8_t)"-=+"[op]);
	buf_put(b, row, len);
	buf_u8(b, ' ');
	return 0;
}

/* Rows "KEY:VALUE"; those that begin with : have no key. */
static const char *next(struct answer *a, const char *rows)
{
	static char text[1000];
	struct buf b = { 0 };
	char copy[1000], *state = NULL;
	snprintf(copy, sizeof(copy), "%s", rows);
	for (char *r = strtok_r(copy, " ", &state); r; r = strtok_r(NULL, " ", &state))
		if (answer_row(a, *r == ':' ? NULL : r, strcspn(r, ":"), r, strlen(r)) < 0)
			tap_bail("row %s", r);
	if (answer_end(a, put_op, &b) < 0)
		tap_bail("end");
	const char *out = buf_cstr(&b);
	snprintf(text, sizeof(text), "%s", out ? out : "?");
	buf_done(&b);
	return text;
}

static void test_examples(void)
{
	struct answer *a;
	if (answer_new(7, &a) < 0)
		tap_bail("no answer");
	is_str(next(a, "b:1 a:2 c:3"), "+b:1 +a:2 +c:3 ", "at first all came, in their order");
	is_str(next(a, "c:3 b:1 a:2"), "", "another order is no difference");
	is_str(next(a, "a:9 d:4 c:3"), "-b:1 =a:9 +d:4 ", "one went, one was changed, one came");
	is_str(next(a, "a:9 a:8 c:3 d:4"), "+a:8 ", "a second one of a key");
	is_str(next(a, "a:7 a:9 c:3 d:4"), "=a:7 ", "of two with a key the one that is there still is not the one that was changed");
	is_str(next(a, "a:1 a:2 a:3"), "-c:3 -d:4 =a:1 =a:2 +a:3 ", "in the order of the rows");
	is_str(next(a, "a:1 a:1 a:1"), "=a:1 =a:1 ", "equal rows are counted");
	is_str(next(a, ""), "-a:1 -a:1 -a:1 ", "all went");
	is_str(next(a, ":x :y :x"), "+:x +:x +:y ", "rows without keys; equal ones stand together");
	is_str(next(a, ":z :y :x"), "-:x +:z ", "are never changed ones");
	answer_free(a);
	answer_free(NULL);
}

static int refuse(enum answer_op op, const void *row, size_t len, void *userdata)
{
	(void)op;
	(void)row;
	(void)len;
	return --*(int *)userdata == 0 ? -EPIPE : 0;
}

static void test_limits(void)
{
	static char large[1 << 20];
	struct answer *a;
	int left = 2, rc = 0;
	unsigned n = 0;
	if (answer_new(1, &a) < 0)
		tap_bail("no answer");
	for (char c = 'a'; c < 'd'; c++)
		(void)answer_row(a, NULL, 0, &c, 1);
	is_int(answer_end(a, refuse, &left), -EPIPE, "who is told ends it");
	is_int(left, 0, "at once");
	answer_free(a);
	if (answer_new(1, &a) < 0)
		tap_bail("no answer");
	for (; rc == 0 && n < 2 * ANSWER_ROWS_MAX; n++)
		rc = answer_row(a, NULL, 0, "x", 1);
	ok(rc == -E2BIG && n == ANSWER_ROWS_MAX + 1, "equal rows count (%d after %u)", rc, n);
	answer_free(a);
	if (answer_new(1, &a) < 0)
		tap_bail("no answer");
	for (rc = 0, n = 0; rc == 0 && n < 100; n++) {
		memcpy(large, &n, sizeof(n));
		rc = answer_row(a, "k", 1, large, sizeof(large));
	}
	ok(rc == -E2BIG && n == ANSWER_BYTES_MAX / sizeof(large), "so do bytes (%d after %u)", rc, n);
	answer_free(a);
	/* The bound is one answer's, however many came before it. */
	if (answer_new(1, &a) < 0)
		tap_bail("no answer");
	unsigned failed = 0;
	for (n = 0; n < 8; n++) {
		for (unsigned i = 0; i < 24; i++) {
			const unsigned name[2] = { n, i };
			memcpy(large, name, sizeof(name));
			failed += answer_row(a, "k", 1, large, sizeof(large)) < 0;
		}
		failed += answer_end(a, NULL, NULL) < 0;
	}
	is_uint(failed, 0, "one large answer after the other");
	answer_free(a);
}

/* ---- random answers ---- */

#define KEYS 5
#define VALUES 6

struct model {
	unsigned have[KEYS][VALUES]; /* what the one who is told has */
	unsigned ops, wrong;
};

static int apply(enum answer_op op, const void *row, size_t len, void *userdata)
{
	struct model *m = userdata;
	const uint8_t *r = row;
	unsigned k = r[0], v = r[1];
	m->wrong += len != 2 || k >= KEYS || v >= VALUES;
	m->ops++;
	if (op == ANSWER_DELETE) {
		m->wrong += m->have[k][v] == 0;
		m->have[k][v]--;
	} else {
		m->have[k][v]++;
	}
	return 0;
}

/* An update says which key, and that one row of it went: the totals of keys tell whether that fits, and what an update
 * replaced is whatever of the key is too many. */
static unsigned settle(struct model *m, unsigned is[KEYS][VALUES], unsigned updates[KEYS])
{
	unsigned wrong = 0;
	for (unsigned k = 0; k < KEYS; k++) {
		unsigned surplus = 0;
		for (unsigned v = 0; v < VALUES; v++) {
			wrong += m->have[k][v] < is[k][v];
			surplus += m->have[k][v] - is[k][v];
			m->have[k][v] = is[k][v];
		}
		wrong += surplus != updates[k];
	}
	return wrong;
}

static unsigned n_updates[KEYS];

static int apply_and_count(enum answer_op op, const void *row, size_t len, void *userdata)
{
	n_updates[((const uint8_t *)row)[0]] += op == ANSWER_UPDATE;
	return apply(op, row, len, userdata);
}

static void test_random(unsigned seed)
{
	struct answer *a, *other;
	struct model m = { 0 };
	unsigned was[KEYS][VALUES] = { 0 }, wrong = 0, digests = 0, unequal = 0;
	struct id digest, before = { 0 }, again;
	if (answer_new(seed, &a) < 0)
		tap_bail("no answer");
	srand(seed);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned is[KEYS][VALUES] = { 0 }, n = (unsigned)rand() % 24, expected = 0;
		uint8_t rows[24][2];
		memcpy(is, was, sizeof(is));
		/* Few changes in most rounds. */
		bool fresh = rand() % 8 == 0;
		if (fresh)
			memset(is, 0, sizeof(is));
		for (unsigned i = 0; i < (fresh ? n : n / 8); i++) {
			unsigned k = (unsigned)rand() % KEYS, v = (unsigned)rand() % VALUES;
			if (is[k][v] > 0 && rand() % 2)
				is[k][v]--;
			else if (is[k][v] == 0 || rand() % 3 == 0)
				is[k][v]++;
		}
		unsigned total = 0;
		for (unsigned k = 0; k < KEYS; k++) {
			unsigned lost = 0, gained = 0;
			for (unsigned v = 0; v < VALUES; v++) {
				lost += was[k][v] > is[k][v] ? was[k][v] - is[k][v] : 0;
				gained += is[k][v] > was[k][v] ? is[k][v] - was[k][v] : 0;
				for (unsigned c = 0; c < is[k][v] && total < 24; c++, total++) {
					rows[total][0] = (uint8_t)k;
					rows[total][1] = (uint8_t)v;
				}
				if (total == 24)
					is[k][v] = 0;
			}
			expected += lost > gained ? lost : gained;
		}
		if (total == 24) /* rare: too full for this test's list */
			continue;
		if (answer_new(seed + 1, &other) < 0)
			tap_bail("no answer");
		for (unsigned i = 0; i < total; i++)
			wrong += answer_row(a, rows[i], 1, rows[i], 2) < 0;
		for (unsigned i = total; i > 0; i--)
			wrong += answer_row(other, rows[i - 1], 1, rows[i - 1], 2) < 0;
		wrong += answer_digest(a, &digest) < 0 || answer_digest(other, &again) < 0;
		digests += !id_equal(&digest, &again);
		unequal += round > 0 && id_equal(&digest, &before) != (memcmp(is, was, sizeof(is)) == 0);
		before = digest;
		answer_free(other);
		memset(n_updates, 0, sizeof(n_updates));
		m.ops = 0;
		wrong += answer_end(a, apply_and_count, &m) < 0;
		wrong += settle(&m, is, n_updates);
		wrong += m.ops != expected;
		memcpy(was, is, sizeof(was));
	}
	ok(wrong + m.wrong == 0, "what is told makes one answer of the other, and is no more than that (seed %u)", seed);
	is_uint(digests, 0, "the digest does not depend on the order");
	is_uint(unequal, 0, "it is equal when the rows are, and only then");
	answer_free(a);
}

int main(void)
{
	tap_plan(21);
	test_examples();
	test_limits();
	test_random(1);
	test_random(20261129);
	return tap_done();
}
