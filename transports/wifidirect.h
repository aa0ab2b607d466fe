/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Wi-Fi Direct as a way to devices nearby (shoal-transports(7)): can be found by members, looks for them when there is a
 * reason to, forms a group with one or joins one's, lets others into its own, and ends it when nothing passes any more.
 * What goes over the
 * group's network interface is not its business: discovery and TCP find it like any other. Silent and idle where there is
 * no wpa_supplicant that can. Of the sd-event thread. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "engine/id.h"
#include "transports/identity.h"
#include "transports/wpa.h"

struct wifidirect;

struct wifidirect_handler {
	/* There is a reason to look for members now. Asked every few seconds. */
	bool (*wants)(void *user);
	/* A group with the member of that tag is of use; asked: it is that member who wants one. */
	bool (*welcome)(uint32_t tag, bool asked, void *user);
	/* Bytes that passed over that network interface so far, both ways. */
	uint64_t (*carried)(const char *ifname, void *user);
	/* The group is there; NULL: it has ended. */
	void (*group)(const char *ifname, void *user);
	/* A line for a log. */
	void (*note)(int priority, const char *text, void *user);
};

struct wifidirect_options {
	const char *ifname; /* as wpa_new takes it */
	const char *root;   /* "", or where tests keep a sys/ of theirs */
	unsigned idle;      /* seconds without traffic after which the group ends */
};

/* identity is borrowed. */
int wifidirect_new(sd_event *event, const struct identity *identity, const struct wifidirect_options *o,
		   const struct wifidirect_handler *handler, void *user, struct wifidirect **ret, struct err *e);
void wifidirect_free(struct wifidirect *d);
DEFINE_CLEANUP(struct wifidirect *, wifidirect_free)

uint32_t wifidirect_tag(const struct wifidirect *d, const struct id *device);
/* There is a reason to look now which there was not before. */
void wifidirect_hurry(struct wifidirect *d);
/* Something changed with radios, and Wi-Fi is blocked by now or is not: looks again at what there is. */
void wifidirect_again(struct wifidirect *d, bool blocked);
/* The machine sleeps; on false, it is awake. */
void wifidirect_rest(struct wifidirect *d, bool on);

/* ---- what members agree on (wifidirect-key.c) ---- */

#define WIFIDIRECT_PREFIX "shoal-"

struct directkey;
int directkey_new(const struct identity *identity, struct directkey **ret); /* -ENOMEM, -EIO */
void directkey_free(struct directkey *k);
DEFINE_CLEANUP(struct directkey *, directkey_free)
uint32_t directkey_tag(const struct directkey *k, const struct id *device);
/* The name of the device with that tag, at a time in unix seconds. */
int directkey_name(struct directkey *k, int64_t now, uint32_t tag, char ret[static WPA_NAME_SIZE]);
/* Whose name it is; -EBADMSG: no member's, as advert_open says. */
int directkey_whose(struct directkey *k, int64_t now, const char *name, uint32_t *ret_tag);
/* The PIN of the two, the same whichever comes first. */
int directkey_pin(const struct directkey *k, uint32_t a, uint32_t b, char ret[static WPA_PIN_SIZE]);
