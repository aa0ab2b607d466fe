/* SPDX-License-Identifier: GPL-2.0-or-later */

/* chain[k] ends the best sequence of k + 1 values found so far, the one with the smallest last
 * value; prev leads back from each value to the one before it. */

#include "engine/lis.h"

uint32_t lis(const uint32_t *value, uint32_t n, uint32_t *chain, uint32_t *prev)
{
	uint32_t best = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t lo = 0, hi = best;
		/* Mostly it just goes on. */
		if (best > 0 && value[chain[best - 1]] < value[i])
			lo = best;
		while (lo < hi) {
			uint32_t mid = lo + (hi - lo) / 2;
			if (value[chain[mid]] < value[i])
				lo = mid + 1;
			else
				hi = mid;
		}
		prev[i] = lo > 0 ? chain[lo - 1] : UINT32_MAX;
		chain[lo] = i;
		if (lo == best)
			best++;
	}
	uint32_t i = best > 0 ? chain[best - 1] : UINT32_MAX;
	for (uint32_t k = best; k > 0; k--, i = prev[i])
		chain[k - 1] = i;
	return best;
}
