/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#define MYERS_NONE UINT32_MAX

/* Two sequences of numbers, and how much work their difference may cost. */
struct myers {
	const uint32_t *a, *b;
	uint32_t n, m;   /* elements of a and b */
	int32_t *work;   /* MYERS_WORK(n, m) elements of scratch */
	uint64_t *steps; /* counts comparisons; nothing more is looked for once it passes limit */
	uint64_t limit;
};

#define MYERS_WORK(n, m) (2 * ((size_t)(n) + (m) + 3))

/* Matches a with b: match[i] becomes the j with a[i] = b[j], ascending; all of match[0..n) must be
 * MYERS_NONE before. The shortest script there is, in linear space, as long as the limit allows:
 * the stretches that were not done by then stay unmatched but for their common ends. Passes the
 * limit by at most n steps. n + m must be below 2^31. Any thread. */
void myers(const struct myers *d, uint32_t *match);
