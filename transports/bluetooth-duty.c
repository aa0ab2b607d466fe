/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often to scan
 * =================
 *
 * Advertising costs little and goes on all the time: whoever looks finds this device. Looking keeps the receiver on. On
 *
 *     the mains      4 s of 12, after rounds in which no member was heard 4 of 20, 36, and 64 at most
 *     a battery      3 s of 30,                                            3 of 57, 111, and 120 at most
 *     a low battery  2 s of 300
 *
 * Nobody new: a member that has a link already, or that was called in vain, does not count. After something changed (the adapter came, a link went, the machine woke up) four rounds follow each other within
 * 2 s, but on a low battery one.
 */
#include "transports/battery.h"
#include "transports/bluetooth.h"

#define SECOND ((uint64_t)1000000)
#define BURST 4
#define BURST_PAUSE (2 * SECOND)

static const struct budget {
	uint64_t scan, pause, most; /* most: from the end of one round to the next */
	unsigned burst;
} budgets[] = {
	[BATTERY_NONE] = { 4 * SECOND, 8 * SECOND, 60 * SECOND, BURST },
	[BATTERY_IN_USE] = { 3 * SECOND, 27 * SECOND, 117 * SECOND, BURST },
	[BATTERY_LOW] = { 2 * SECOND, 298 * SECOND, 298 * SECOND, 1 },
};

uint64_t duty_scan(enum battery power)
{
	return budgets[power].scan;
}

void duty_hurry(struct duty *d)
{
	d->burst = BURST;
	d->empty = 0;
}

uint64_t duty_pause(struct duty *d, enum battery power)
{
	const struct budget *b = &budgets[power];
	d->empty = d->heard ? 0 : d->empty + 1;
	d->heard = false;
	if (d->burst > b->burst)
		d->burst = b->burst;
	if (d->burst > 0 && --d->burst > 0)
		return BURST_PAUSE;
	uint64_t pause = b->pause;
	for (unsigned i = 0; i < d->empty && pause < b->most; i++)
		pause *= 2;
	return pause < b->most ? pause : b->most;
}
