/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the clocks say of sleep. What logind says: tests/integration/test_suspend.py. */
#include <stdlib.h>

#include "tests/tap.h"
#include "tools/suspend.h"

#define SECOND UINT64_C(1000000)

struct heard {
	unsigned n;
	uint64_t slept_us;
};

static void going(void *user)
{
	(void)user;
	tap_bail("nobody said so");
}

static void woke(uint64_t slept_us, void *user)
{
	struct heard *h = user;
	h->n++;
	h->slept_us = slept_us;
}

int main(void)
{
	static const struct suspend_handler handler = { going, woke };
	struct heard h = { 0 };
	struct suspend *s = NULL;
	sd_event *event = NULL;
	tap_plan(7);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
	sd_event_new(&event);
	is_int(suspend_new(event, &handler, &h, &s), 0, "without a message bus");
	suspend_look(s, 500 * SECOND, 100 * SECOND);
	is_uint(h.n, 0, "what it slept before is not told");
	suspend_look(s, 600 * SECOND, 200 * SECOND);
	suspend_look(s, 700 * SECOND + SECOND / 2, 300 * SECOND);
	is_uint(h.n, 0, "time goes by");
	suspend_look(s, 4000 * SECOND, 301 * SECOND);
	is_uint(h.n, 1, "it has slept");
	is_uint(h.slept_us / SECOND, 3298, "... for so long");
	suspend_look(s, 4001 * SECOND, 302 * SECOND);
	is_uint(h.n, 1, "that is told once");
	suspend_look(s, 4010 * SECOND, 303 * SECOND);
	is_uint(h.n, 2, "and again the next time");
	suspend_free(s);
	sd_event_unref(event);
	return tap_done();
}
