/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which radios the machine has switched off, from /sys/class/rfkill. */

#include <stdbool.h>

/* How many of a type ("bluetooth", "wlan") are blocked; *ret_hard: one of them by a switch, or by flight mode. root: ""
 * or a directory in whose sys/ to look. */
unsigned rfkill_blocked(const char *root, const char *type, bool *ret_hard);
