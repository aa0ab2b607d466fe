/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which programs get what is elsewhere, and which only the first few of it. */
#include <stdio.h>
#include <string.h>

#include "fusefs/scanner.h"
#include "tests/tap.h"

#define SECOND INT64_C(1000000000)

static struct id file(unsigned n)
{
	struct id id = { { 0 } };
	memcpy(id.b, &n, sizeof(n));
	return id;
}

/* How many of the files from..to-1 it gets. */
static unsigned served(struct scanners *s, const struct proc *p, unsigned from, unsigned to, int64_t now)
{
	unsigned n = 0;
	for (unsigned i = from; i < to; i++) {
		const struct id id = file(i);
		n += scanner_may(s, p, &id, now);
	}
	return n;
}

int main(void)
{
	struct scanners s;
	const struct proc grep = { .tgid = 10, .start = 1 }, cat = { .tgid = 11, .start = 2 };
	const struct proc again = { .tgid = 10, .start = 9 }, nobody = { .tgid = 0 };
	int64_t now = 100 * SECOND;
	tap_plan(13);
	scanners_init(&s, 16);
	is_uint(served(&s, &cat, 0, 100, now), 100, "who lists nothing gets all");
	scanner_lists(&s, &grep, now);
	is_uint(served(&s, &grep, 0, 100, now), 16, "who lists directories gets 16");
	is_uint(served(&s, &grep, 0, 16, now), 16, "these as often as it reads them");
	is_uint(served(&s, &cat, 0, 100, now), 100, "others are not concerned");
	is_uint(served(&s, &grep, 200, 201, now + 5 * SECOND), 0, "trying again and again is no rest");
	is_uint(served(&s, &grep, 200, 201, now + 14 * SECOND), 0, "however long");
	is_uint(served(&s, &grep, 200, 300, now + 25 * SECOND), 16, "after ten seconds without a try there are 16 more");
	is_uint(served(&s, &again, 0, 100, now + 25 * SECOND), 100, "a new process of that number is another one");
	scanner_lists(&s, &nobody, now);
	is_uint(served(&s, &nobody, 0, 100, now), 100, "who cannot be told from others is let through");
	scanners_limit(&s, 2);
	now += 100 * SECOND;
	is_uint(served(&s, &grep, 0, 100, now), 2, "another limit");
	scanners_limit(&s, 0);
	is_uint(served(&s, &grep, 0, 100, now), 100, "none");
	scanners_limit(&s, 100000);
	is_uint(served(&s, &grep, 0, 1000, now + 100 * SECOND), SCANNER_FILES_MAX, "at most so many are counted");
	scanners_limit(&s, 16);
	for (int i = 0; i < SCANNERS; i++) {
		const struct proc other = { .tgid = 1000 + i, .start = 5 };
		scanner_lists(&s, &other, now + 200 * SECOND + i);
	}
	is_uint(served(&s, &grep, 0, 100, now + 300 * SECOND), 100, "who did nothing for longest is forgotten");
	scanners_done(&s);
	return tap_done();
}
