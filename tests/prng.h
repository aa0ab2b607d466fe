/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Random numbers that a seed determines, for property tests (splitmix64: Steele, Lea and
 * Flood, "Fast splittable pseudorandom number generators"). The seed is the state. */

#include <stddef.h>
#include <stdint.h>

#include "engine/cleanup.h"

struct prng {
	uint64_t state;
};

_unused_ static inline uint64_t prng_u64(struct prng *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* 0 … n-1; n > 0. The bias of the remainder is far below what a test could notice. */
_unused_ static inline uint64_t prng_below(struct prng *r, uint64_t n)
{
	return prng_u64(r) % n;
}

/* True in percent of a hundred cases. */
_unused_ static inline int prng_chance(struct prng *r, unsigned percent)
{
	return prng_below(r, 100) < percent;
}

_unused_ static inline void prng_fill(struct prng *r, void *data, size_t len)
{
	uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)prng_u64(r);
}
