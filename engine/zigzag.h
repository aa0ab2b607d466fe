/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Signed numbers as unsigned ones that are small when the number is near zero: 0, -1, 1, -2, 2 … are 0, 1, 2, 3, 4 …;
 * each of 64 bits has one. */

#include <stdint.h>

static inline uint64_t zigzag(int64_t n)
{
	return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static inline int64_t unzigzag(uint64_t z)
{
	return (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
}
