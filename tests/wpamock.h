/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* wpa_supplicant, as far as Wi-Fi Direct speaks to it, on the bus of tests/bus.h: what it was asked for is counted, what it
 * answers is for the test to say. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "transports/identity.h"
#include "transports/wpa.h"

#define DEVICE WPA_ROOT "/Interfaces/0"
#define GROUP WPA_ROOT "/Interfaces/7"
#define STRANGE WPA_ROOT "/Interfaces/9"
#define PEER_ID "02aabbccdd01"
#define PEER DEVICE "/Peers/" PEER_ID
#define DENIED "org.freedesktop.DBus.Error.AccessDenied"

extern struct wpamock {
	sd_bus *bus;
	bool p2p, radio; /* wpa_supplicant, and the interface, can */
	bool any;        /* there is an interface */
	const char *state, *peers[2];
	const char *role; /* in the groups that start */
	const char *fail, *error; /* this method fails so */
	unsigned char group; /* the peer's group capability */
	char name[WPA_NAME_SIZE];
	char peer_name[WPA_NAME_SIZE];
	unsigned finds, stops, listens, connects, cancels, disconnects, names, roots, admits;
	bool join;
	int timeout, period, interval, intent;
	char peer[96], method[16], pin[16], left[96];
	bool auto_started;
	bool aborted; /* somebody asked for all properties of a peer */
} wpamock;

/* Puts it on the bus, without its name. */
void wpamock_start(void);
void wpamock_stop(void);
/* The same, with its name, on a bus that has restarted. */
void wpamock_restart(void);
/* As it was in the beginning. */
void wpamock_reset(void);
/* It runs, so to speak, or does not. */
void wpamock_own(bool on);

/* The peer has the name that this device would have. */
void wpamock_name(const struct identity *peer);

/* Signals. The state of the interface; a peer; a group, told at one object, whose interface is another. */
void wpamock_state(const char *state);
void wpamock_peer(const char *signal, const char *path);
void wpamock_group(const char *signal, const char *at, const char *path);
