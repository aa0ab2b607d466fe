/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A private system bus, for tests that put a service of their own on it, with the loop of tests/ends.h. */

#include <stddef.h>
#include <sys/types.h>

#define SOON 10000 /* milliseconds that an answer may take */

/* Starts it, and has DBUS_SYSTEM_BUS_ADDRESS name it; it ends with this process at the latest. After bus_stop, it is the
 * same one restarted. */
pid_t bus_start(void);
void bus_stop(pid_t bus);

/* What a user of a service would have written to a log. */
struct notes {
	unsigned n, warnings;
	char last[300];
};
void notes_take(struct notes *n, int priority, const char *text);

/* Runs fn in a process of its own, from which the size bytes of *ret come back, while the loop here serves the bus. */
void bus_ask(void (*fn)(void *ret, const void *arg), const void *arg, void *ret, size_t size);
