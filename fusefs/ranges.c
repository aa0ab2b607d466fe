/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ranges_done(struct ranges *s)
{
	free(s->r);
	*s = (struct ranges){ 0 };
}

/* The first range that ends at offset or behind it. */
static size_t place(const struct ranges *s, uint64_t offset)
{
	size_t low = 0, high = s->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->r[middle].end < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int ranges_add(struct ranges *s, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	size_t first = place(s, start), last = first;
	while (last < s->n && s->r[last].start <= end)
		last++;
	if (first == last) {
		if (s->n == s->cap) {
			size_t cap = s->cap ? 2 * s->cap : 16;
			struct range *bigger = reallocarray(s->r, cap, sizeof(*bigger));
			if (!bigger)
				return -ENOMEM;
			s->r = bigger;
			s->cap = cap;
		}
		memmove(&s->r[first + 1], &s->r[first], (s->n - first) * sizeof(*s->r));
		s->r[first] = (struct range){ start, end };
		s->n++;
		return 0;
	}
	if (s->r[first].start < start)
		start = s->r[first].start;
	if (s->r[last - 1].end > end)
		end = s->r[last - 1].end;
	s->r[first] = (struct range){ start, end };
	memmove(&s->r[first + 1], &s->r[last], (s->n - last) * sizeof(*s->r));
	s->n -= last - first - 1;
	return 0;
}

void ranges_cut(struct ranges *s, uint64_t from)
{
	while (s->n > 0 && s->r[s->n - 1].start >= from)
		s->n--;
	if (s->n > 0 && s->r[s->n - 1].end > from)
		s->r[s->n - 1].end = from;
}

const struct range *ranges_find(const struct ranges *s, uint64_t offset)
{
	size_t i = place(s, offset);
	if (i < s->n && s->r[i].end == offset)
		i++;
	return i < s->n ? &s->r[i] : NULL;
}

uint64_t ranges_total(const struct ranges *s)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < s->n; i++)
		sum += s->r[i].end - s->r[i].start;
	return sum;
}
