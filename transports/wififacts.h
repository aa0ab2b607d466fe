/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What keeps Wi-Fi Direct from being used on this machine, for a person. Looks and touches nothing; waits for the bus for
 * two seconds at most. */

enum wififacts_radio {
	WIFIFACTS_NO_RADIO,
	WIFIFACTS_PLAIN, /* Wi-Fi, but no Wi-Fi Direct */
	WIFIFACTS_P2P,
};

enum wififacts_state {
	WIFIFACTS_READY,
	WIFIFACTS_NONE,       /* no such radio: nothing to say */
	WIFIFACTS_BLOCKED,    /* rfkill */
	WIFIFACTS_NO_DAEMON,  /* wpa_supplicant does not run, or is not on the bus */
	WIFIFACTS_DENIED,     /* the bus does not let this user */
	WIFIFACTS_WITHOUT,    /* wpa_supplicant was built without it */
	WIFIFACTS_NO_IFACE,   /* wpa_supplicant has no Wi-Fi interface */
	WIFIFACTS_IWD,        /* iwd has the Wi-Fi, in its place */
};

struct wififacts {
	enum wififacts_state state;
	char message[240];
	char command[160]; /* that mends it; "": none */
};

/* The best there is, as the kernel tells (nl80211: a phy whose interfaces may be P2P clients and group owners). */
enum wififacts_radio wififacts_radio(void);
/* root: "" or a directory in whose sys/ to look. */
void wififacts_look(const char *root, enum wififacts_radio radio, struct wififacts *ret);
