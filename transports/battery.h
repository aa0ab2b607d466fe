/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the machine runs on, from /sys/class/power_supply. Any thread. */

#define BATTERY_LOW_PERCENT 15

enum battery {
	BATTERY_NONE, /* on the mains, or without a battery */
	BATTERY_IN_USE,
	BATTERY_LOW, /* in use, and at most BATTERY_LOW_PERCENT are left */
};

/* root: "" or a directory in whose sys/ to look. What cannot be read counts as BATTERY_NONE. */
enum battery battery_read(const char *root);
