/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Figures of a benchmark: NAME, VALUE, UNIT, REFERENCE (tests/bench/run). */

#include <stdio.h>
#include <time.h>

#include "engine/cleanup.h"

/* Seconds of a clock that only goes forward. */
_unused_ static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* n in the time since then, a second. */
_unused_ static void figure(const char *name, double n, double since, const char *reference)
{
	printf("%s\t%.0f\t1/s\t%s\n", name, n / (now() - since), reference);
	fflush(stdout);
}
