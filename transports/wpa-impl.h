/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What wpa.c (which interface there is, what it is told) and wpa-group.c (peers and the group) share. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "transports/buscall.h"
#include "transports/systembus.h"
#include "transports/wpa.h"

#define WPA_PROPERTIES "org.freedesktop.DBus.Properties"
#define WPA_PATH_SIZE 96
#define WPA_IFACES_MAX 8
#define WPA_ASKING_MAX 8

struct wpa_asking { /* the name of a peer */
	struct wpa *wpa;
	sd_bus_slot *call;
	char id[WPA_PEER_ID];
	enum wpa_peer what;
	char name[WPA_NAME_SIZE];
};

struct wpa {
	sd_event *event;
	struct systembus *system;
	sd_bus *bus; /* NULL: there is none now */
	char wanted[WPA_IFNAME_SIZE];
	const struct wpa_handler *handler;
	void *user;
	sd_bus_slot *watch_root, *watch_state, *watch_p2p, *ask_root, *ask_iface, *ask_name,
		*ask_group, *ask_peers, *call_find, *call_listen, *call_connect, *call_admit;
	bool there;
	char path[WPA_IFACES_MAX][WPA_PATH_SIZE]; /* still to be looked at: from next on */
	unsigned n, next;
	char device[WPA_PATH_SIZE]; /* in use; "": none */
	bool associated;
	bool disabled; /* blocked, or set down by a person */
	bool ready;   /* as was told */
	bool told_associated;
	char own_name[WPA_NAME_SIZE]; /* before it was changed */
	bool named, own_known;
	bool forming;
	uint64_t given_up; /* when, last; 0: never */
	char group[WPA_PATH_SIZE]; /* the interface object of the group; "": none */
	bool group_told, owns;
	char error[80]; /* the last one that was told */
	struct wpa_asking asking[WPA_ASKING_MAX];
};

/* ---- wpa.c ---- */

/* Something that a person should know; each kind is said once until something works. */
void wpa_refused(struct wpa *w, const char *what, const sd_bus_error *e);
/* Asks for one property, or for all of an interface (NULL); NULL: no memory. */
sd_bus_message *wpa_get(struct wpa *w, const char *path, const char *interface, const char *property);
/* A call of the P2P device; NULL: no memory. */
sd_bus_message *wpa_call(struct wpa *w, const char *member);
/* Tells whoever uses it whether it can be used, if that is news. */
void wpa_tell(struct wpa *w);

/* ---- wpa-group.c ---- */

/* Asks for all peers that are known, and tells them by and by. */
void wpa_ask_peers(struct wpa *w);
/* A signal of the interface P2PDevice. */
int wpa_on_p2p(sd_bus_message *m, void *user, sd_bus_error *error);
/* What wpa_connect began came to nothing. */
void wpa_not_formed(struct wpa *w, const char *why, bool pin);
/* The group is no more. */
void wpa_group_over(struct wpa *w);
/* wpa_supplicant is to end the group, or the attempt: no more than that. */
void wpa_abandon(struct wpa *w);
