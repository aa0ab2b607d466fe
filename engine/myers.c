/* SPDX-License-Identifier: GPL-2.0-or-later */

/* E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986, section 4b: paths of least
 * cost grow from both ends of a box (a stretch of a against a stretch of b) until they meet; the
 * point where they do splits the box into two, each with half of the cost. Diagonal k is where
 * position in a - position in b = k. */

#include "engine/myers.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct box {
	int32_t a, a_end, b, b_end;
};

/* The furthest points on each diagonal that d edits reach, from one corner of the box. */
struct front {
	int32_t *at;    /* by diagonal: position in a */
	int32_t lo, hi; /* diagonals in use */
};

/* Half of the costs of a box at each level, so this many are never reached. */
#define STACK_MAX 80

/* Widens a front by an edit: to diagonals lo - 1 ... hi + 1, as far as these lie in the box. `off`
 * is what no path reaches. */
static void widen(struct front *f, int32_t min, int32_t max, int32_t off)
{
	if (f->lo > min)
		f->at[--f->lo - 1] = off;
	else
		f->lo++;
	if (f->hi < max)
		f->at[++f->hi + 1] = off;
	else
		f->hi--;
}

/* Where a path of least cost is in the middle of its cost: at (*ret_a, *ret_b) the box is split. It
 * has a side in a and one in b, without common ends. False: the limit came first. */
static bool middle(const struct myers *d, const struct box *x, int32_t *ret_a, int32_t *ret_b)
{
	int32_t min = x->a - x->b_end, max = x->a_end - x->b;
	int32_t top = x->a - x->b, bottom = x->a_end - x->b_end;
	/* One more diagonal on each side; lowest index 0. */
	int32_t *work = d->work + 1 - min;
	size_t width = (size_t)(max - min) + 3;
	struct front fwd = { work, top, top }, back = { work + width, bottom, bottom };
	bool odd = (top - bottom) & 1;
	fwd.at[top] = x->a;
	back.at[bottom] = x->a_end;
	while (*d->steps < d->limit) {
		widen(&fwd, min, max, -1);
		for (int32_t k = fwd.hi; k >= fwd.lo && *d->steps < d->limit; k -= 2) {
			int32_t l = fwd.at[k - 1], r = fwd.at[k + 1], i = l >= r ? l + 1 : r;
			int32_t start = i;
			while (i < x->a_end && i - k < x->b_end && d->a[i] == d->b[i - k])
				i++;
			fwd.at[k] = i;
			*d->steps += 1 + (uint64_t)(i - start);
			if (odd && back.lo <= k && k <= back.hi && back.at[k] <= i) {
				*ret_a = i;
				*ret_b = i - k;
				return true;
			}
		}
		widen(&back, min, max, INT32_MAX);
		for (int32_t k = back.hi; k >= back.lo && *d->steps < d->limit; k -= 2) {
			int32_t l = back.at[k - 1], r = back.at[k + 1], i = l < r ? l : r - 1;
			int32_t start = i;
			while (i > x->a && i - k > x->b && d->a[i - 1] == d->b[i - k - 1])
				i--;
			back.at[k] = i;
			*d->steps += 1 + (uint64_t)(start - i);
			if (!odd && fwd.lo <= k && k <= fwd.hi && i <= fwd.at[k]) {
				*ret_a = i;
				*ret_b = i - k;
				return true;
			}
		}
	}
	return false;
}

static void match_ends(const struct myers *d, struct box *x, uint32_t *match)
{
	for (; x->a < x->a_end && x->b < x->b_end && d->a[x->a] == d->b[x->b]; x->a++, x->b++)
		match[x->a] = (uint32_t)x->b;
	for (; x->a < x->a_end && x->b < x->b_end && d->a[x->a_end - 1] == d->b[x->b_end - 1];) {
		x->a_end--;
		x->b_end--;
		match[x->a_end] = (uint32_t)x->b_end;
	}
}

void myers(const struct myers *d, uint32_t *match)
{
	struct box stack[STACK_MAX] = { { 0, (int32_t)d->n, 0, (int32_t)d->m } };
	unsigned depth = 1;
	while (depth > 0) {
		struct box x = stack[--depth];
		int32_t a, b;
		match_ends(d, &x, match);
		if (x.a == x.a_end || x.b == x.b_end || !middle(d, &x, &a, &b))
			continue;
		assert(depth + 2 <= STACK_MAX);
		stack[depth++] = (struct box){ a, x.a_end, b, x.b_end };
		stack[depth++] = (struct box){ x.a, a, x.b, b };
	}
}
