/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/clock.h"

#define US_MAX ((UINT64_C(1) << (64 - HLC_COUNTER_BITS)) - 1)
#define COUNTER_MAX ((UINT64_C(1) << HLC_COUNTER_BITS) - 1)

uint64_t clock_next(struct clock *c, uint64_t wall_us)
{
	/* A wall clock at the end of the range would leave no stamps above it. */
	if (wall_us > US_MAX - HLC_LEAD_US)
		wall_us = US_MAX - HLC_LEAD_US;
	uint64_t wall = wall_us << HLC_COUNTER_BITS;
	/* A full counter carries into the microseconds, which is what is wanted. */
	c->last = wall > c->last ? wall : c->last + 1;
	return c->last;
}

void clock_follow(struct clock *c, uint64_t hlc, uint64_t wall_us)
{
	if (wall_us > US_MAX - 2 * HLC_LEAD_US)
		wall_us = US_MAX - 2 * HLC_LEAD_US;
	uint64_t most = (wall_us + HLC_LEAD_US) << HLC_COUNTER_BITS | COUNTER_MAX;
	if (hlc > most)
		hlc = most;
	if (hlc > c->last)
		c->last = hlc;
}
