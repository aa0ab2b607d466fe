/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* SHA-256 (FIPS 180-4) over one or several byte strings; Nettle does the work. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/id.h"

#define SHA256_SIZE 32

struct sha256 {
	uint8_t b[SHA256_SIZE];
};

static inline int sha256_cmp(const struct sha256 *a, const struct sha256 *b)
{
	return memcmp(a->b, b->b, SHA256_SIZE);
}

void sha256_of(const void *data, size_t len, struct sha256 *ret);

/* The first 128 bits of SHA-256 over a sequence of parts, each preceded by its length
 * (u64 big-endian), so that no two different sequences give the same input. */
struct sha256_part {
	const void *data;
	size_t len;
};
void sha256_id(const struct sha256_part *part, size_t n, struct id *ret);
