/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often Bluetooth scans, and what that depends on. */
#include "tests/tap.h"
#include "transports/battery.h"
#include "transports/bluetooth.h"

static void batteries(void)
{
	const char *root = tap_path("power");
	is_int(battery_read(root), BATTERY_NONE, "no battery, no budget");
	tap_write("power/sys/class/power_supply/AC/type", "Mains\n");
	tap_write("power/sys/class/power_supply/AC/online", "0\n");
	tap_write("power/sys/class/power_supply/BAT0/type", "Battery\n");
	tap_write("power/sys/class/power_supply/BAT0/status", "Discharging\n");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "16\n");
	is_int(battery_read(root), BATTERY_IN_USE, "a battery in use");
	tap_write("power/sys/class/power_supply/BAT0/capacity", "15\n");
	is_int(battery_read(root), BATTERY_LOW, "a low one");
	tap_write("power/sys/class/power_supply/AC/online", "1\n");
	is_int(battery_read(root), BATTERY_NONE, "on the mains it does not matter");
	tap_write("power/sys/class/power_supply/AC/online", "0\n");
	tap_write("power/sys/class/power_supply/BAT0/status", "Full\n");
	tap_write("power/sys/class/power_supply/mouse/type", "Battery\n");
	tap_write("power/sys/class/power_supply/mouse/scope", "Device\n");
	tap_write("power/sys/class/power_supply/mouse/status", "Discharging\n");
	tap_write("power/sys/class/power_supply/mouse/capacity", "3\n");
	is_int(battery_read(root), BATTERY_NONE, "a mouse's does not count");
}

/* Rounds in which nobody is heard: how long until the next, in seconds. */
static bool pauses(struct duty *d, enum battery power, unsigned n, const unsigned *want)
{
	bool same = true;
	for (unsigned i = 0; i < n; i++) {
		const uint64_t got = duty_pause(d, power) / 1000000;
		if (got != want[i])
			tap_diag("pause %u: %llu s, wanted %u", i, (unsigned long long)got, want[i]);
		same &= got == want[i];
	}
	return same;
}

static void duties(void)
{
	struct duty d = { 0 };
	duty_hurry(&d);
	ok(pauses(&d, BATTERY_NONE, 6, (const unsigned[]){ 2, 2, 2, 60, 60, 60 }),
	   "on the mains: four rounds soon, then as seldom as nobody is heard");
	d.heard = true;
	ok(pauses(&d, BATTERY_NONE, 5, (const unsigned[]){ 8, 16, 32, 60, 60 }),
	   "somebody was heard: often again, and less from round to round");
	d = (struct duty){ .heard = true };
	ok(pauses(&d, BATTERY_IN_USE, 4, (const unsigned[]){ 27, 54, 108, 117 }), "on a battery less");
	duty_hurry(&d);
	ok(pauses(&d, BATTERY_LOW, 3, (const unsigned[]){ 298, 298, 298 }), "on a low one every five minutes");
	is_uint(duty_scan(BATTERY_NONE) / 1000000, 4, "a round on the mains takes 4 s");
	is_uint(duty_scan(BATTERY_LOW) / 1000000, 2, "and 2 s on a low battery");
}

int main(void)
{
	tap_plan(11);
	batteries();
	duties();
	return tap_done();
}
