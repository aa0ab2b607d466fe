/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A bar on standard error for what takes longer than a second: how much of it is done, how fast, and how long the rest
 * takes. Nothing is shown where standard error is no terminal. One thread. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/buf.h"

struct progress {
	const char *unit; /* of the things that are counted: "documents" */
	uint64_t total;   /* of done; 0: nobody knows */
	bool shown;       /* the line is there now */
	bool terminal;
	uint64_t began_us, shown_us; /* CLOCK_MONOTONIC */
	struct {
		uint64_t us, done, count;
	} past[16]; /* a ring of a moment each, for the speed of the last seconds */
	unsigned n_past;
};

/* unit is borrowed. */
void progress_begin(struct progress *p, const char *unit, uint64_t total);
/* So much of total is done, and so many things. To be called often: it looks at the clock, and writes five times in a
 * second at most. */
void progress_at(struct progress *p, uint64_t done, uint64_t count);
/* Takes the line away, so that something else can be written; the next progress_at shows it again. */
void progress_clear(struct progress *p);

/* What stands in it (ret is replaced), for tests: rates are in a second. total 0: without bar and end. width: columns. */
void progress_text(uint64_t done, uint64_t total, uint64_t count, const char *unit, double done_rate,
		   double count_rate, unsigned width, struct buf *ret);
