/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/histdiff.h"
#include "engine/lis.h"
#include "tests/prng.h"
#include "tests/tap.h"

/* The bounds that histdiff.h promises. */
static bool bounded(const struct histdiff *d, uint64_t limit, uint64_t n)
{
	if (d->steps <= limit + 16 * n + 16 && d->memory <= 160 * n + 65536)
		return true;
	tap_diag("%" PRIu64 " elements: %" PRIu64 " steps, %zu bytes", n, d->steps, d->memory);
	return false;
}

/* Do the hunks turn old into new, and are they as promised? */
static bool sound(const struct histdiff_in *in, const struct histdiff *d)
{
	uint32_t x = 0, y = 0;
	for (uint32_t i = 0; i <= d->count; i++) {
		struct hunk end = { in->old_count, 0, in->new_count, 0 };
		const struct hunk *h = i < d->count ? &d->hunk[i] : &end;
		if (h->old < x || h->new < y || h->old - x != h->new - y ||
		    (h->old == x && i > 0 && i < d->count) ||
		    (h->old_len == 0 && h->new_len == 0 && i < d->count)) {
			tap_diag("hunk %u is %u,%u %u,%u behind %u %u", i, h->old, h->old_len,
				 h->new, h->new_len, x, y);
			return false;
		}
		for (; x < h->old; x++, y++) {
			if (in->old[x] != in->new[y] ||
			    (in->same && !in->same(in->userdata, x, in->old_count + y))) {
				tap_diag("old %u and new %u do not match", x, y);
				return false;
			}
		}
		x += h->old_len;
		y += h->new_len;
	}
	return x == in->old_count && y == in->new_count;
}

static uint64_t edited(const struct histdiff *d)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < d->count; i++)
		sum += d->hunk[i].old_len + d->hunk[i].new_len;
	return sum;
}

/* Elements are the letters of two texts; want is "old,len new,len ...". */
static void letters(const char *old, const char *new, bool shortest, const char *want,
		    const char *name)
{
	struct arena a = { 0 };
	_cleanup_(buf_done) struct buf out = { 0 };
	uint64_t token[2][64];
	struct histdiff_in in = { token[0], token[1], (uint32_t)strlen(old), (uint32_t)strlen(new),
				  .shortest = shortest };
	struct histdiff d;
	for (size_t i = 0; i < in.old_count; i++)
		token[0][i] = (uint8_t)old[i];
	for (size_t i = 0; i < in.new_count; i++)
		token[1][i] = (uint8_t)new[i];
	if (histdiff(&a, &in, &d) < 0)
		tap_bail("histdiff");
	buf_puts(&out, "");
	for (uint32_t i = 0; i < d.count; i++)
		buf_putf(&out, "%s%u,%u %u,%u", i ? " | " : "", d.hunk[i].old, d.hunk[i].old_len,
			 d.hunk[i].new, d.hunk[i].new_len);
	is_str(buf_cstr(&out), want, "%s", name);
	arena_done(&a);
}

static void examples(void)
{
	letters("abc", "abc", false, "", "equal sequences");
	letters("", "", false, "", "nothing and nothing");
	letters("", "ab", false, "0,0 0,2", "from nothing");
	letters("ab", "", false, "0,2 0,0", "to nothing");
	letters("abc", "abxc", false, "2,0 2,1", "an insertion");
	letters("abxc", "abc", false, "2,1 2,0", "a removal");
	letters("abc", "xyz", false, "0,3 0,3", "nothing in common");
	letters("abcdef", "aXcdYf", false, "1,1 1,1 | 4,1 4,1", "two changes");
	letters("A{x}B{y}", "A{x}C{z}B{y}", false, "4,0 4,4", "a function put in between");
	/* Two rare elements that stay count more than four frequent ones. */
	letters("}}}}PQ", "PQ}}}}", false, "0,4 0,0 | 6,0 2,4", "rare ones are the anchors");
	letters("}}}}PQ", "PQ}}}}", true, "0,0 0,2 | 4,2 6,0", "the shortest script");
	letters("abcabba", "cbabac", true, "0,2 0,0 | 3,1 1,0 | 5,0 2,1 | 7,0 5,1",
		"the example of Myers' paper: five edits");
	letters("xaxbxcx", "xdxexfx", false, "1,1 1,1 | 3,1 3,1 | 5,1 5,1",
		"what only one side has does not count");
}

/* The length of the longest common subsequence, as the textbook has it. */
static uint32_t lcs(const uint64_t *a, uint32_t n, const uint64_t *b, uint32_t m)
{
	uint32_t row[65] = { 0 };
	for (uint32_t i = 0; i < n; i++) {
		uint32_t corner = 0;
		for (uint32_t j = 0; j < m; j++) {
			uint32_t up = row[j + 1];
			row[j + 1] = a[i] == b[j] ? corner + 1 : up > row[j] ? up : row[j];
			corner = up;
		}
	}
	return row[m];
}

static void against_textbook(struct prng *r, uint64_t rounds)
{
	bool good = true;
	for (uint64_t k = 0; k < rounds && good; k++) {
		uint64_t token[2][64];
		struct arena a = { 0 };
		struct histdiff_in in = { token[0], token[1], (uint32_t)prng_below(r, 65),
					  (uint32_t)prng_below(r, 65), .shortest = true };
		uint64_t kinds = 1 + prng_below(r, 20);
		struct histdiff d;
		for (uint32_t i = 0; i < 64; i++) {
			token[0][i] = prng_below(r, kinds);
			token[1][i] = prng_chance(r, 60) ? token[0][i] : prng_below(r, kinds);
		}
		if (histdiff(&a, &in, &d) < 0)
			tap_bail("histdiff");
		uint64_t best = in.old_count + in.new_count -
				2 * (uint64_t)lcs(token[0], in.old_count, token[1], in.new_count);
		good = sound(&in, &d);
		if (good && edited(&d) != best) {
			tap_diag("%" PRIu64 " edits, best are %" PRIu64, edited(&d), best);
			good = false;
		}
		in.shortest = false;
		good = good && histdiff(&a, &in, &d) == 0 && sound(&in, &d) && edited(&d) >= best;
		arena_done(&a);
	}
	ok(good, "%" PRIu64 " random pairs: sound, and the shortest script is the shortest",
	   rounds);
}

/* Long sequences with a few edits: what is found is what was done. */
static void few_edits(struct prng *r)
{
	enum { N = 20000, EDITS = 50 };
	_cleanup_free_ uint64_t *old = calloc(N, sizeof(*old)), *new = calloc(N, sizeof(*new));
	struct arena a = { 0 };
	bool good = old && new;
	for (int kinds = 10; kinds <= 100000 && good; kinds *= 10) {
		struct histdiff_in in = { old, new, N, N, .userdata = NULL };
		struct histdiff d;
		for (uint32_t i = 0; i < N; i++)
			old[i] = new[i] = prng_below(r, (uint64_t)kinds);
		for (int i = 0; i < EDITS; i++)
			new[prng_below(r, N)] = UINT64_MAX;
		if (histdiff(&a, &in, &d) < 0)
			tap_bail("histdiff");
		good = sound(&in, &d) && bounded(&d, HISTDIFF_STEPS(2 * N), 2 * N);
		if (edited(&d) > 2 * EDITS) {
			tap_diag("%d kinds: %" PRIu64 " edits", kinds, edited(&d));
			good = false;
		}
	}
	arena_done(&a);
	ok(good, "%d changes in %d elements of many or few kinds are all that is found", EDITS, N);
}

/* Of eight that are rare and alike one is changed: the others stay with their neighbours. */
static void one_of_several(struct prng *r)
{
	enum { N = 4000 };
	uint64_t old[N], new[N];
	struct arena a = { 0 };
	struct histdiff_in in = { old, new, N, N, .same = NULL };
	struct histdiff d;
	for (uint32_t i = 0; i < N; i++)
		old[i] = new[i] = i % 500 == 250 ? 1000 : prng_below(r, 50);
	new[500 * 3 + 250] = 2000;
	/* The common ends do not count. */
	new[0] = 2001;
	new[N - 1] = 2002;
	if (histdiff(&a, &in, &d) < 0)
		tap_bail("histdiff");
	ok(sound(&in, &d) && edited(&d) == 6, "one of eight rare ones is changed");
	arena_done(&a);
}

/* --- the worst ----------------------------------------------------------------------------- */

#define BIG 50000u
static uint64_t big_old[BIG], big_new[BIG];

static void adversary(uint32_t n, uint32_t m, bool shortest, const char *name)
{
	struct arena a = { 0 }, b = { 0 };
	struct histdiff_in in = { big_old, big_new, n, m, .shortest = shortest };
	struct histdiff d, again;
	if (histdiff(&a, &in, &d) < 0 || histdiff(&b, &in, &again) < 0)
		tap_bail("histdiff");
	tap_diag("%s%s: %u hunks, %.1f steps and %.0f bytes for each element", name,
		 shortest ? ", shortest" : "", d.count, (double)d.steps / (n + m),
		 (double)d.memory / (n + m));
	ok(sound(&in, &d) && bounded(&d, HISTDIFF_STEPS(n + m), n + m) && again.count == d.count &&
		   memcmp(again.hunk, d.hunk, d.count * sizeof(*d.hunk)) == 0,
	   "%s%s: sound, bounded, the same again", name, shortest ? ", shortest" : "");
	arena_done(&a);
	arena_done(&b);
}

static void both(const char *name)
{
	adversary(BIG, BIG, false, name);
	adversary(BIG, BIG, true, name);
}

static void adversaries(struct prng *r)
{
	memset(big_old, 0, sizeof(big_old));
	memset(big_new, 0, sizeof(big_new));
	adversary(BIG, BIG / 2, false, "all alike, one half as long");
	big_old[0] = big_new[BIG - 1] = 1;
	both("all alike but for one");
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = i & 1;
		big_new[i] = ~i & 1;
	}
	both("two in turns, shifted");
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = i & 1;
		big_new[i] = i / 2 & 1;
	}
	both("two in turns, two in pairs");
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = i;
		big_new[i] = BIG - 1 - i;
	}
	both("reversed");
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = i & 1 ? i : i / 2;
		big_new[i] = i & 1 ? BIG + i : i / 2;
	}
	both("every second one is changed");
	for (uint32_t kinds = 2; kinds <= BIG; kinds *= kinds < 64 ? 4 : 17) {
		char name[40];
		for (uint32_t i = 0; i < BIG; i++) {
			big_old[i] = prng_below(r, kinds);
			big_new[i] = prng_below(r, kinds);
		}
		snprintf(name, sizeof(name), "random, of %u kinds", kinds);
		both(name);
	}
	/* Linear feedback: every window of 16 occurs once, as in a de Bruijn sequence. */
	uint32_t x = 1, y = 0xace1;
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = x & 1;
		big_new[i] = y & 1;
		x = x >> 1 ^ (x & 1 ? 0xb400u : 0);
		y = y >> 1 ^ (y & 1 ? 0xb400u : 0);
	}
	both("de Bruijn");
	/* Each pass finds a single anchor, at the edge. */
	for (uint32_t i = 0; i < BIG; i++)
		big_old[i] = big_new[BIG - 1 - i] = i / 8;
	both("reversed, eight of each");
	/* As many candidates as there can be: 8 x 8 of each. */
	for (uint32_t i = 0; i < BIG; i++)
		big_old[i] = big_new[(i * UINT64_C(7919)) % BIG] = i % (BIG / 8);
	both("shuffled, eight of each");
}

/* --- tokens that say too much ---------------------------------------------------------------- */

struct things {
	const uint8_t *thing;
};

static bool same_thing(const void *userdata, uint32_t i, uint32_t j)
{
	const struct things *t = userdata;
	return t->thing[i] == t->thing[j];
}

static void collisions(struct prng *r, uint64_t rounds)
{
	bool good = true;
	for (uint64_t k = 0; k < rounds && good; k++) {
		uint8_t thing[120];
		uint64_t token[120];
		struct things t = { thing };
		struct arena a = { 0 };
		uint32_t n = (uint32_t)prng_below(r, 61), m = (uint32_t)prng_below(r, 60);
		struct histdiff_in in = { token, token + n, n, m, same_thing, &t, .steps = 0 };
		uint64_t tokens = 1 + prng_below(r, 4), things = 1 + prng_below(r, 40);
		struct histdiff d;
		for (uint32_t i = 0; i < n + m; i++) {
			thing[i] = (uint8_t)prng_below(r, things);
			if (i >= n && i - n < n && prng_chance(r, 70))
				thing[i] = thing[i - n];
			token[i] = thing[i] % tokens;
		}
		in.shortest = prng_chance(r, 50);
		good = histdiff(&a, &in, &d) == 0 && sound(&in, &d);
		arena_done(&a);
	}
	ok(good, "%" PRIu64 " rounds of things with colliding tokens: only equal things match",
	   rounds);
}

static void limited(struct prng *r)
{
	bool good = true;
	struct arena a = { 0 };
	for (uint32_t i = 0; i < BIG; i++) {
		big_old[i] = i / 3;
		big_new[i] = prng_chance(r, 90) ? big_old[i] : prng_u64(r);
	}
	for (uint64_t limit = 1; limit < 100 * BIG && good; limit *= 3) {
		struct histdiff_in in = { big_old, big_new, BIG, BIG, .steps = limit };
		struct histdiff d;
		good = histdiff(&a, &in, &d) == 0 && sound(&in, &d) && bounded(&d, limit, 2 * BIG);
	}
	arena_done(&a);
	ok(good, "a lower limit is kept");
}

static void too_many(void)
{
	uint32_t n = HISTDIFF_MAX + 3;
	_cleanup_free_ uint64_t *x = calloc(n, sizeof(*x)), *y = calloc(n, sizeof(*y));
	struct arena a = { 0 };
	struct histdiff_in in = { x, y, n, n, .same = NULL };
	struct histdiff d;
	if (!x || !y)
		tap_bail("no memory");
	for (uint32_t i = 0; i < n; i++)
		x[i] = y[i] = i;
	y[1] = y[n - 2] = UINT64_MAX;
	if (histdiff(&a, &in, &d) < 0)
		tap_bail("histdiff");
	ok(d.count == 1 && d.hunk[0].old == 1 && d.hunk[0].old_len == n - 2,
	   "more than HISTDIFF_MAX elements between the common ends are replaced");
	arena_done(&a);
}

/* The longest increasing subsequence, against its definition. */
static void increasing(struct prng *r, uint64_t rounds)
{
	bool good = true;
	for (uint64_t k = 0; k < rounds && good; k++) {
		uint32_t value[40], chain[40], prev[40], best[40], longest = 0;
		uint32_t n = (uint32_t)prng_below(r, 41);
		for (uint32_t i = 0; i < n; i++) {
			value[i] = (uint32_t)prng_below(r, 30);
			best[i] = 1;
			for (uint32_t j = 0; j < i; j++)
				if (value[j] < value[i] && best[j] >= best[i])
					best[i] = best[j] + 1;
			longest = best[i] > longest ? best[i] : longest;
		}
		uint32_t length = lis(value, n, chain, prev);
		good = length == longest;
		for (uint32_t i = 1; i < length && good; i++)
			good = chain[i - 1] < chain[i] && value[chain[i - 1]] < value[chain[i]];
	}
	ok(good, "%" PRIu64 " longest increasing subsequences", rounds);
}

int main(int argc, char **argv)
{
	tap_plan(49);
	struct prng r = { tap_seed(argc, argv) };
	uint64_t rounds = tap_rounds(argc, argv, 5000);
	examples();
	increasing(&r, rounds);
	against_textbook(&r, rounds);
	collisions(&r, rounds);
	few_edits(&r);
	one_of_several(&r);
	limited(&r);
	too_many();
	adversaries(&r);
	return tap_done();
}
