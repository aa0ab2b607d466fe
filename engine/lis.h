/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/* A longest strictly increasing subsequence of value[0..n): what can stay in place while the rest
 * moves. Returns its length; chain[0..length) gets the ascending positions of its members. chain
 * and prev are the caller's and hold n elements each. O(n log n), the same result everywhere
 * (Fredman, "On computing the length of longest increasing subsequences", 1975). Any thread. */
uint32_t lis(const uint32_t *value, uint32_t n, uint32_t *chain, uint32_t *prev);
