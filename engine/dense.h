/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Things whose tokens (hashes, say) are equal though they are not: so many kinds are told apart. */
#define DENSE_COLLISIONS 8

/* Gives numbers from 0 up to n things, the same number to equal ones: number[i] to that with
 * token[i]; *ret_numbers is the first that is free. same (an equivalence; NULL: all are) says
 * whether things with equal tokens are equal; it is called DENSE_COLLISIONS times for each thing at
 * most, and what is of yet another kind counts as equal to nothing. Linear, whatever the tokens,
 * with 32 n bytes of scratch; the same numbers everywhere. -ENOMEM. Any thread. */
int dense(const uint64_t *token, uint32_t n,
	  bool (*same)(const void *userdata, uint32_t i, uint32_t j), const void *userdata,
	  uint32_t *number, uint32_t *ret_numbers);
