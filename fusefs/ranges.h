/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A set of offsets as ranges [start, end): sorted, none empty, none touching another. All zero is
 * the empty set. 16 bytes a range. */

#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t start, end;
};

struct ranges {
	struct range *r;
	size_t n, cap;
};

void ranges_done(struct ranges *s);
/* Adds [start, end). -ENOMEM, and nothing is changed. */
int ranges_add(struct ranges *s, uint64_t start, uint64_t end);
/* Removes all offsets from there on. */
void ranges_cut(struct ranges *s, uint64_t from);
/* The range that offset is in, else the next one behind it; NULL: none. */
const struct range *ranges_find(const struct ranges *s, uint64_t offset);
/* Number of offsets in the set. */
uint64_t ranges_total(const struct ranges *s);
