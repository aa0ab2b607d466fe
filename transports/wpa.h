/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* wpa_supplicant's D-Bus interface, as far as a Wi-Fi Direct group needs it. Nothing happens, and nothing is said,
 * while there is no system bus, wpa_supplicant does not run, has no Wi-Fi interface, or cannot do Wi-Fi Direct; it may come, go and restart at any
 * time. It is never started, and no interface is made. Every call is asynchronous. Of the sd-event thread. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"

#define WPA "fi.w1.wpa_supplicant1"
#define WPA_INTERFACE WPA ".Interface"
#define WPA_P2P WPA_INTERFACE ".P2PDevice"
#define WPA_WPS WPA_INTERFACE ".WPS"
#define WPA_PEER WPA ".Peer"
#define WPA_ROOT "/fi/w1/wpa_supplicant1"

#define WPA_PEER_ID 13   /* twelve hexadecimal digits, and NUL */
#define WPA_NAME_SIZE 33 /* a device's name, with NUL */
#define WPA_PIN_SIZE 9
#define WPA_IFNAME_SIZE 16

struct wpa;

enum wpa_peer {
	WPA_FOUND,
	WPA_OWNS,    /* it was found, and owns a group: wpa_join */
	WPA_ASKS,    /* it wants to form a group with this device, and waits for wpa_connect */
	WPA_ASKS_IN, /* it wants into the group that this device owns, and waits for wpa_admit */
};

struct wpa_handler {
	/* It can be used, or not any more; what was asked for is over then. associated: there is an interface, but it is
	 * connected to a network, or about to be, which is not to be disturbed. */
	void (*ready)(bool ready, bool associated, void *user);
	/* A device nearby. */
	void (*peer)(const char *id, const char *name, enum wpa_peer what, void *user);
	/* The group is there, ifname is its network interface; NULL: it has ended. */
	void (*group)(const char *ifname, void *user);
	/* What wpa_connect, wpa_join or wpa_admit began came to nothing; pin: perhaps because the other one has another PIN. */
	void (*failed)(const char *why, bool pin, void *user);
	/* A line for a log. May be NULL. */
	void (*note)(int priority, const char *text, void *user);
};

/* ifname: which Wi-Fi interface; "": the first that can. */
int wpa_new(sd_event *event, const char *ifname, const struct wpa_handler *handler, void *user, struct wpa **ret,
	    struct err *e);
void wpa_free(struct wpa *w); /* ends the group, and puts back the name */
DEFINE_CLEANUP(struct wpa *, wpa_free)

bool wpa_is_ready(const struct wpa *w);
/* Something changed with radios: looks again at what there is. */
void wpa_again(struct wpa *w);

/* ---- only while it is ready ---- */

/* The name under which others see this device. */
void wpa_name(struct wpa *w, const char *name);
/* Looks for others for so many seconds. */
void wpa_find(struct wpa *w, unsigned seconds);
void wpa_stop(struct wpa *w);
/* Can be found for period out of every interval milliseconds; 0: no more. */
void wpa_listen(struct wpa *w, unsigned period, unsigned interval);
/* Forms a group with a peer that was found. Of the two PINs, which are the same, one is entered and one is shown. intent:
 * 0 to 15, the higher one owns the group. */
void wpa_connect(struct wpa *w, const char *id, const char *pin, bool enters, unsigned intent);
/* Becomes a member of the group that a peer owns; the PIN is shown, the owner enters it. */
void wpa_join(struct wpa *w, const char *id, const char *pin);
/* Whether this device owns the group that it is in. */
bool wpa_owns(const struct wpa *w);
/* Lets one more device with that PIN into the group that this one owns. */
void wpa_admit(struct wpa *w, const char *pin);
/* Ends the group, or the attempt to form one. */
void wpa_leave(struct wpa *w);

/* What an error of wpa_supplicant or the bus means to a person, and what mends it, in one line; never NULL. */
const char *wpa_explain(const char *error);
