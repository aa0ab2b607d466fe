/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Hybrid logical clock (Kulkarni et al. 2014): ranks concurrent changes, never decides
 * causality. A stamp is microseconds since 1970 in the upper 52 bits, a counter in the lower
 * 12. The clock follows a peer's stamps at most one minute past its own wall clock. */

#include <stdint.h>

#define HLC_COUNTER_BITS 12
#define HLC_LEAD_US (60ull * 1000 * 1000)

static inline uint64_t hlc_us(uint64_t hlc)
{
	return hlc >> HLC_COUNTER_BITS;
}

struct clock {
	uint64_t last; /* the highest stamp given out or followed */
};

/* The next stamp: greater than every one before it. wall_us: microseconds since 1970. Callers
 * serialise. */
uint64_t clock_next(struct clock *c, uint64_t wall_us);

/* Follows a stamp seen at a peer. */
void clock_follow(struct clock *c, uint64_t hlc, uint64_t wall_us);
