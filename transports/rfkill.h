/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which radios the machine has switched off, from /sys/class/rfkill. */

#include <stdbool.h>

struct rfkill {
	unsigned n, blocked;
	bool hard; /* one of them by a switch, or by flight mode */
};

/* Those of a type ("bluetooth", "wlan"). root: "" or a directory in whose sys/ to look. */
struct rfkill rfkill_look(const char *root, const char *type);
