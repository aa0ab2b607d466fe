/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/dense.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cleanup.h"

struct token {
	uint64_t key;
	uint32_t at;
};

/* Sorts by key, places with equal keys ascending; tmp is of the same size. Returns the one that
 * holds the result. Radix sort: linear, and no choice of tokens makes it slow. */
static struct token *sort(struct token *t, struct token *tmp, uint32_t n)
{
	uint32_t count[8][256];
	memset(count, 0, sizeof(count));
	for (uint32_t i = 0; i < n; i++)
		for (unsigned byte = 0; byte < 8; byte++)
			count[byte][t[i].key >> 8 * byte & 0xff]++;
	for (unsigned byte = 0; byte < 8; byte++) {
		uint32_t *c = count[byte], sum = 0;
		if (c[t[0].key >> 8 * byte & 0xff] == n)
			continue;
		for (unsigned v = 0; v < 256; v++) {
			uint32_t here = c[v];
			c[v] = sum;
			sum += here;
		}
		for (uint32_t i = 0; i < n; i++)
			tmp[c[t[i].key >> 8 * byte & 0xff]++] = t[i];
		struct token *swap = t;
		t = tmp;
		tmp = swap;
	}
	return t;
}

int dense(const uint64_t *token, uint32_t n,
	  bool (*same)(const void *userdata, uint32_t i, uint32_t j), const void *userdata,
	  uint32_t *number, uint32_t *ret_numbers)
{
	_cleanup_free_ struct token *space = calloc(n, 2 * sizeof(*space));
	uint32_t kind[DENSE_COLLISIONS], known = 0, first = 0, next = 0;
	if (n > 0 && !space)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		space[i] = (struct token){ token[i], i };
	const struct token *t = n > 0 ? sort(space, space + n, n) : NULL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = 0;
		if (i == 0 || t[i].key != t[i - 1].key) {
			known = 0;
			first = next;
		}
		while (same && k < known && !same(userdata, kind[k], t[i].at))
			k++;
		if (k < known) {
			number[t[i].at] = first + k;
			continue;
		}
		if (known < DENSE_COLLISIONS)
			kind[known++] = t[i].at;
		number[t[i].at] = next++;
	}
	*ret_numbers = next;
	return 0;
}
