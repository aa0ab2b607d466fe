/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What keeps Bluetooth from being used on this machine, for a person. Looks and touches nothing; waits for the bus for two
 * seconds at most. */

enum bluezfacts_state {
	BLUEZFACTS_READY,
	BLUEZFACTS_NONE,      /* no adapter: nothing to say */
	BLUEZFACTS_BLOCKED,   /* rfkill */
	BLUEZFACTS_NO_DAEMON, /* bluetoothd does not run */
	BLUEZFACTS_DENIED,    /* the bus does not let this user */
	BLUEZFACTS_MISSING,   /* not the adapter of the settings */
	BLUEZFACTS_OFF,
	BLUEZFACTS_NO_SOCKETS, /* a namespace or a kernel without Bluetooth sockets */
};

struct bluezfacts {
	enum bluezfacts_state state;
	char message[240];
	char command[160]; /* that mends it; "": none */
};

/* root: "" or a directory in whose sys/ to look. adapter: as in the settings, "" is any. */
void bluezfacts_look(const char *root, const char *adapter, struct bluezfacts *ret);
