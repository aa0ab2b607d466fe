/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Points in time as people write them. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "fusefs/when.h"
#include "tests/tap.h"

#define US UINT64_C(1000000)
#define NOON (UINT64_C(1795780800) * US) /* 2026-11-27T12:00:00Z */

static void is(const char *text, uint64_t want)
{
	uint64_t got = 0;
	int rc = when_parse(text, &got);
	is_int(rc, 0, "%s is a time", text);
	is_uint(got, want, "and which one");
}

int main(void)
{
	static const char *const none[] = {
		"", "now", "yesterday", "2026", "2026-11", "2026-13-01", "2026-00-01", "2026-02-30",
		"2026-11-31T10:00:00Z", "2026-11-27T", "2026-11-27T1:00", "2026-11-27T24:00",
		"2026-11-27T12:60", "2026-11-27T12:00:61", "2026-11-27T12:00:00.", "2026-11-27 12:00",
		"2026-11-27T12:00:00Zx", "2026-11-27T12:00:00+2", "2026-11-27T12:00:00+0200",
		"2026-11-27T12:00:00+24:00", "1969-12-31", "1970-01-01T00:00:00+01:00", "@", "@-1",
		"@1x", "@1.", "@999999999999999999999", "-1h", "12:00", "2026-11-27Z",
	};
	const unsigned n = sizeof(none) / sizeof(none[0]);
	tap_plan(2 * 14 + n);
	setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
	tzset();
	is("2026-11-27T12:00:00Z", NOON);
	is("2026-11-27t12:00:00z", NOON);
	is("2026-11-27T12:00Z", NOON);
	is("2026-11-27T14:00:00+02:00", NOON);
	is("2026-11-27T06:30:00-05:30", NOON);
	is("2026-11-27T12:00:00.25Z", NOON + US / 4);
	is("2026-11-27T12:00:00.1234567Z", NOON + 123456);
	is("2026-11-27T07:00:00", NOON);
	is("2026-11-27T07:00", NOON);
	is("2026-11-27", NOON - 7 * 3600 * US);
	is("2026-07-01", UINT64_C(1782878400) * US); /* summer time */
	is("@1795780800", NOON);
	is("@1795780800.5", NOON + US / 2);
	is("@0", 0);
	for (unsigned i = 0; i < n; i++) {
		uint64_t got;
		is_errno(when_parse(none[i], &got), -EINVAL, "\"%s\" is none", none[i]);
	}
	return tap_done();
}
