/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The tokens are numbered densely, equal things alike. Then a queue of regions, each a stretch of
 * old against a stretch of new, is worked off breadth first, so that a limit on the work hits
 * all parts of the input alike:
 *
 * 1. Common ends are matched.
 * 2. How often does each number occur in the region? The rarity of a number is its count in old
 *    times its count in new; 1 is what patience diff (Cohen, 2003) calls unique. All numbers of the
 *    rarest kind are candidates for anchors, every place in old with every place in new. Each
 * weighs as much as the stretch around it that is equal, so that of several places the right one is
 *    taken. The heaviest chain of them that ascends in both is matched (after Hunt and Szymanski,
 *    "A fast algorithm for computing longest common subsequences", 1977).
 * 3. Between the anchors are smaller regions, in which other numbers are rare now.
 * 4. Where the rarest is frequent, Myers looks for the shortest script under a limit of its own,
 *    over what both sides have of each other.
 *
 * Histogram diff (jgit, git) takes the one rarest stretch and recurses on both sides of it, which
 * is quadratic when they are lopsided; taking a chain at once makes it a few passes. With n and m
 * elements and rarities of at most RARE there are at most sqrt(RARE n m) candidates
 * (Cauchy-Schwarz), so a pass is O(n log n). */

#include "engine/histdiff.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/buf.h"
#include "engine/cleanup.h"
#include "engine/dense.h"
#include "engine/myers.h"

#define RARE 64
/* How far a candidate looks around on either side. */
#define CONTEXT 8
/* Comparisons that Myers may take for each element of a region. */
#define MYERS_STEPS 64

struct region {
	uint32_t a, a_end, b, b_end;
};

struct diff {
	const uint32_t *a, *b; /* old and new in dense numbers */
	uint32_t *match;       /* by place in old: its place in new, or MYERS_NONE */
	/* By number, of the region at work; else 0. */
	uint32_t *count_a, *count_b;
	/* The places of a number in b so far: the last one, and the one before each. */
	uint32_t *last, *before;
	struct buf now, next; /* regions of this pass and the next */
	uint32_t *space;      /* for candidates, or Myers */
	size_t space_count;
	uint64_t steps, limit;
	bool shortest;
};

static void diff_done(struct diff *d)
{
	buf_done(&d->now);
	buf_done(&d->next);
	free(d->space);
}

/* --- dense numbers ------------------------------------------------------------------------- */

struct things {
	const struct histdiff_in *in;
	const struct region *r;
};

/* The caller's number of a place in the region. */
static uint32_t place(const struct things *t, uint32_t at)
{
	uint32_t n = t->r->a_end - t->r->a;
	return at < n ? t->r->a + at : t->in->old_count + t->r->b + (at - n);
}

static bool same_thing(const void *userdata, uint32_t i, uint32_t j)
{
	const struct things *t = userdata;
	return t->in->same(t->in->userdata, place(t, i), place(t, j));
}

/* Numbers the elements of the region: number[0 ...] those of old, then those of new. */
static int number_all(const struct histdiff_in *in, const struct region *r, uint32_t *number,
		      uint32_t *ret_numbers)
{
	size_t n = r->a_end - r->a, m = r->b_end - r->b;
	_cleanup_free_ uint64_t *token = calloc(n + m, sizeof(*token));
	const struct things t = { in, r };
	if (!token)
		return -ENOMEM;
	memcpy(token, in->old + r->a, n * sizeof(*token));
	memcpy(token + n, in->new + r->b, m * sizeof(*token));
	return dense(token, (uint32_t)(n + m), in->same ? same_thing : NULL, &t, number,
		     ret_numbers);
}

/* --- regions ------------------------------------------------------------------------------- */

static void match_ends(struct diff *d, struct region *r)
{
	uint32_t left = r->a, right = r->a_end;
	for (; r->a < r->a_end && r->b < r->b_end && d->a[r->a] == d->b[r->b]; r->a++, r->b++)
		d->match[r->a] = r->b;
	while (r->a < r->a_end && r->b < r->b_end && d->a[r->a_end - 1] == d->b[r->b_end - 1])
		d->match[--r->a_end] = --r->b_end;
	d->steps += 2 + (r->a - left) + (right - r->a_end);
}

static uint32_t *space(struct diff *d, size_t count)
{
	if (count <= d->space_count)
		return d->space;
	free(d->space);
	d->space = calloc(count, sizeof(*d->space));
	d->space_count = d->space ? count : 0;
	return d->space;
}

/* Matches by the shortest script of those elements that the other side has as well: what only one
 * side has would just cost. */
static int by_cost(struct diff *d, const struct region *r)
{
	size_t most = (size_t)(r->a_end - r->a) + (r->b_end - r->b);
	/* The elements and their places, the matches, and what Myers needs. */
	uint32_t *a = space(d, 3 * most + MYERS_WORK(most, 0)), *at = a + most, *match = at + most;
	uint32_t n = 0, m = 0;
	if (!d->space)
		return -ENOMEM;
	for (uint32_t i = r->a; i < r->a_end; i++) {
		if (d->count_b[d->a[i]] == 0)
			continue;
		match[n] = MYERS_NONE;
		at[n] = i;
		a[n++] = d->a[i];
	}
	for (uint32_t j = r->b; j < r->b_end; j++) {
		if (d->count_a[d->b[j]] == 0)
			continue;
		at[n + m] = j;
		a[n + m++] = d->b[j];
	}
	uint64_t limit = d->steps + MYERS_STEPS * (uint64_t)most;
	struct myers x = {
		.a = a,
		.b = a + n,
		.n = n,
		.m = m,
		.work = (int32_t *)(match + most),
		.steps = &d->steps,
		.limit = limit < d->limit ? limit : d->limit,
	};
	myers(&x, match);
	for (uint32_t i = 0; i < n; i++)
		if (match[i] != MYERS_NONE)
			d->match[at[i]] = at[n + match[i]];
	return 0;
}

static uint64_t rarity(const struct diff *d, uint32_t number)
{
	return (uint64_t)d->count_a[number] * d->count_b[number];
}

static void add_region(struct diff *d, uint32_t a, uint32_t a_end, uint32_t b, uint32_t b_end)
{
	if (a < a_end && b < b_end)
		buf_put(&d->next, &(struct region){ a, a_end, b, b_end }, sizeof(struct region));
}

/* A place in old with one in new, and the heaviest chain that ends with it. */
struct candidate {
	uint32_t a, b;
	uint32_t weight; /* of the chain */
	uint32_t before; /* the candidate before it there, or UINT32_MAX */
};

/* The length of the equal stretch around old place i and new place j. */
static uint32_t context(struct diff *d, const struct region *r, uint32_t i, uint32_t j)
{
	uint32_t left = 0, right = 1;
	while (left < CONTEXT && i - left > r->a && j - left > r->b &&
	       d->a[i - left - 1] == d->b[j - left - 1])
		left++;
	while (right < CONTEXT && i + right < r->a_end && j + right < r->b_end &&
	       d->a[i + right] == d->b[j + right])
		right++;
	d->steps += left + right;
	return left + right;
}

/* Lists the candidates among numbers of that rarity. For one place in old those in new descend, so
 * that a chain takes one of them at most. */
static uint32_t list_candidates(struct diff *d, const struct region *r, uint64_t rare,
				struct candidate *c)
{
	uint32_t n = 0;
	for (uint32_t j = r->b; j < r->b_end; j++) {
		if (rarity(d, d->b[j]) != rare)
			continue;
		d->before[j] = d->last[d->b[j]];
		d->last[d->b[j]] = j;
	}
	for (uint32_t i = r->a; i < r->a_end; i++) {
		if (rarity(d, d->a[i]) != rare)
			continue;
		for (uint32_t j = d->last[d->a[i]]; j != UINT32_MAX; j = d->before[j])
			c[n++] = (struct candidate){ i, j, context(d, r, i, j), UINT32_MAX };
	}
	return n;
}

/* Links each candidate to the one before it in its heaviest chain; returns the last one of the
 * heaviest of all. best is a Fenwick tree over the m places in new, from 1: best[k] is the heaviest
 * chain that ends in the stretch of places that k stands for. Of equals the later one counts, which
 * for a place in old is the earlier one in new. */
static uint32_t link_candidates(struct diff *d, uint32_t first_b, uint32_t m, struct candidate *c,
				uint32_t n, uint32_t *best)
{
	uint32_t heaviest = 0;
	memset(best, 0xff, ((size_t)m + 1) * sizeof(*best));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = c[i].b - first_b + 1, found = UINT32_MAX;
		for (uint32_t k = at - 1; k > 0; k &= k - 1, d->steps++)
			if (best[k] != UINT32_MAX &&
			    (found == UINT32_MAX || c[best[k]].weight >= c[found].weight))
				found = best[k];
		c[i].before = found;
		c[i].weight += found == UINT32_MAX ? 0 : c[found].weight;
		for (uint32_t k = at; k <= m; k += k & -k, d->steps++)
			if (best[k] == UINT32_MAX || c[best[k]].weight <= c[i].weight)
				best[k] = i;
		if (c[i].weight >= c[heaviest].weight)
			heaviest = i;
	}
	return heaviest;
}

/* Matches the heaviest chain of the numbers of that rarity, n candidates in all, and leaves what
 * lies between for the next pass. */
static int by_rarity(struct diff *d, const struct region *r, uint64_t rare, uint32_t n)
{
	uint32_t m = r->b_end - r->b;
	uint32_t *all = space(d, n * sizeof(struct candidate) / sizeof(*all) + m + 1);
	struct candidate *c = (struct candidate *)all;
	uint32_t a = r->a_end, b = r->b_end;
	if (!all)
		return -ENOMEM;
	uint32_t listed = list_candidates(d, r, rare, c);
	assert(listed == n);
	uint32_t i = link_candidates(d, r->b, m, c, n, (uint32_t *)(c + n));
	for (; i != UINT32_MAX; i = c[i].before) {
		d->match[c[i].a] = c[i].b;
		add_region(d, c[i].a + 1, a, c[i].b + 1, b);
		a = c[i].a;
		b = c[i].b;
	}
	add_region(d, r->a, a, r->b, b);
	return 0;
}

static unsigned bits(uint32_t n)
{
	return n ? 32 - (unsigned)__builtin_clz(n) : 0;
}

/* Looks for the rarest kind and does what is best; the counts are those of the region. */
static int divide(struct diff *d, const struct region *r)
{
	uint64_t rare = UINT64_MAX;
	uint32_t candidates = 0;
	for (uint32_t i = r->a; i < r->a_end; i++) {
		uint64_t v = rarity(d, d->a[i]);
		if (v > 0 && v < rare) {
			rare = v;
			candidates = 0;
		}
		if (v == rare)
			candidates += d->count_b[d->a[i]];
	}
	if (rare == UINT64_MAX)
		return 0;
	uint64_t cost = 2 * (CONTEXT + (uint64_t)bits(r->b_end - r->b)) * candidates;
	if (rare > RARE || d->shortest || cost > d->limit - d->steps)
		return by_cost(d, r);
	return by_rarity(d, r, rare, candidates);
}

static int work(struct diff *d, struct region r)
{
	match_ends(d, &r);
	if (r.a == r.a_end || r.b == r.b_end || d->steps >= d->limit)
		return 0;
	for (uint32_t i = r.a; i < r.a_end; i++)
		d->count_a[d->a[i]]++;
	for (uint32_t j = r.b; j < r.b_end; j++)
		d->count_b[d->b[j]]++;
	d->steps += 4 * ((uint64_t)(r.a_end - r.a) + (r.b_end - r.b));
	int err = d->steps < d->limit ? divide(d, &r) : 0;
	for (uint32_t i = r.a; i < r.a_end; i++)
		d->count_a[d->a[i]] = 0;
	for (uint32_t j = r.b; j < r.b_end; j++) {
		d->count_b[d->b[j]] = 0;
		d->last[d->b[j]] = UINT32_MAX;
	}
	return err;
}

/* Works off the queue, pass by pass. *memory: bytes that it took. */
static int work_all(struct diff *d, struct region r, size_t *memory)
{
	add_region(d, r.a, r.a_end, r.b, r.b_end);
	while (d->next.len > 0) {
		struct buf swap = d->now;
		d->now = d->next;
		d->next = swap;
		buf_reset(&d->next);
		for (size_t i = 0; i < d->now.len; i += sizeof(r)) {
			memcpy(&r, d->now.data + i, sizeof(r));
			int err = work(d, r);
			if (err < 0)
				return err;
		}
		if (buf_failed(&d->next))
			return -ENOMEM;
	}
	*memory = d->now.cap + d->next.cap + d->space_count * sizeof(*d->space);
	return 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

static bool alike(const struct histdiff_in *in, uint32_t i, uint32_t j)
{
	return in->old[i] == in->new[j] &&
	       (!in->same || in->same(in->userdata, i, in->old_count + j));
}

/* What lies between the common ends. */
static struct region between_ends(const struct histdiff_in *in)
{
	struct region r = { 0, in->old_count, 0, in->new_count };
	for (; r.a < r.a_end && r.b < r.b_end && alike(in, r.a, r.b); r.a++, r.b++)
		;
	for (; r.a < r.a_end && r.b < r.b_end && alike(in, r.a_end - 1, r.b_end - 1); r.a_end--)
		r.b_end--;
	return r;
}

/* The hunks between the matches of n old elements with m new ones, both counted from the region. */
static int list_hunks(struct arena *a, const uint32_t *match, const struct region *r, uint32_t n,
		      uint32_t m, struct histdiff *ret)
{
	_cleanup_(buf_done) struct buf list = { 0 };
	uint32_t x = 0, y = 0;
	for (uint32_t i = 0; i <= n; i++) {
		if (i < n && match[i] == MYERS_NONE)
			continue;
		uint32_t j = i < n ? match[i] : m;
		assert(j >= y);
		if (i > x || j > y)
			buf_put(&list, &(struct hunk){ r->a + x, i - x, r->b + y, j - y },
				sizeof(struct hunk));
		x = i + 1;
		y = j + 1;
	}
	ret->count = (uint32_t)(list.len / sizeof(struct hunk));
	ret->hunk = (struct hunk *)(void *)arena_dup(a, list.data, list.len);
	return ret->hunk && !buf_failed(&list) ? 0 : -ENOMEM;
}

static int diff_region(struct arena *a, const struct histdiff_in *in, const struct region *r,
		       struct histdiff *ret)
{
	_cleanup_(arena_done) struct arena tmp = { 0 };
	_cleanup_(diff_done) struct diff d = { .shortest = in->shortest };
	uint32_t n = r->a_end - r->a, m = r->b_end - r->b, numbers;
	uint32_t *number = arena_array(&tmp, (size_t)n + m, sizeof(*number));
	int err = number ? number_all(in, r, number, &numbers) : -ENOMEM;
	if (err < 0)
		return err;
	d.a = number;
	d.b = number + n;
	d.match = arena_alloc(&tmp, n * sizeof(*d.match));
	d.count_a = arena_array(&tmp, numbers, sizeof(*d.count_a));
	d.count_b = arena_array(&tmp, numbers, sizeof(*d.count_b));
	d.last = arena_alloc(&tmp, numbers * sizeof(*d.last));
	d.before = arena_alloc(&tmp, m * sizeof(*d.before));
	if (!d.match || !d.count_a || !d.count_b || !d.last || !d.before)
		return -ENOMEM;
	memset(d.match, 0xff, n * sizeof(*d.match));
	memset(d.last, 0xff, numbers * sizeof(*d.last));
	d.limit = HISTDIFF_STEPS((uint64_t)n + m);
	if (in->steps > 0 && in->steps < d.limit)
		d.limit = in->steps;
	/* The tokens, and what dense() takes. */
	size_t sorted = 40 * ((size_t)n + m), worked = 0;
	err = work_all(&d, (struct region){ 0, n, 0, m }, &worked);
	if (err < 0)
		return err;
	ret->steps += (uint64_t)n + m + d.steps;
	ret->memory = tmp.total + (sorted > worked ? sorted : worked);
	return list_hunks(a, d.match, r, n, m, ret);
}

int histdiff(struct arena *a, const struct histdiff_in *in, struct histdiff *ret)
{
	struct histdiff found = { 0 };
	if (in->old_count >= UINT32_MAX / 2 || in->new_count >= UINT32_MAX / 2)
		return -EFBIG;
	struct region r = between_ends(in);
	uint32_t n = r.a_end - r.a, m = r.b_end - r.b;
	found.steps = (uint64_t)in->old_count - n + 2;
	if (n > 0 && m > 0 && n <= HISTDIFF_MAX && m <= HISTDIFF_MAX) {
		int err = diff_region(a, in, &r, &found);
		if (err < 0)
			return err;
	} else if (n > 0 || m > 0) {
		found.hunk = arena_new(a, struct hunk);
		if (!found.hunk)
			return -ENOMEM;
		*found.hunk = (struct hunk){ r.a, n, r.b, m };
		found.count = 1;
	}
	*ret = found;
	return 0;
}
