/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* BlueZ's D-Bus interface, as far as finding each other needs it: one adapter's coming and going, one advertisement, and
 * discovery. Nothing happens, and nothing is said, while there is no system bus, no bluetoothd or no adapter; all may come, go and
 * restart at any time, and what was asked for is asked for again. bluetoothd is never started, and no
 * adapter is switched on: that is for the machine's owner. Of the sd-event thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/cleanup.h"
#include "engine/err.h"
#include "transports/address.h"
#include "transports/advert.h"

struct bluez;

struct bluez_handler {
	/* The adapter can be used, own is its address; NULL: there is none any more. Links by it are for the kernel
	 * to end. */
	void (*adapter)(const struct address *own, void *user);
	/* While scanning: a device advertises ADVERT_SIZE bytes of our kind; who without a PSM. Again and again. */
	void (*heard)(const struct address *who, const uint8_t *data, void *user);
	/* A line for a log. May be NULL. */
	void (*note)(int priority, const char *text, void *user);
};

/* adapter: "hciN" or an address; "": the first one that is switched on. */
int bluez_new(sd_event *event, const char *adapter, const struct bluez_handler *handler, void *user,
	      struct bluez **ret, struct err *e);
void bluez_free(struct bluez *b);
DEFINE_CLEANUP(struct bluez *, bluez_free)

/* Advertises ADVERT_SIZE bytes, connectable, from now on; NULL: no more. */
void bluez_advertise(struct bluez *b, const uint8_t *data);
/* Scans, or stops. */
void bluez_scan(struct bluez *b, bool on);
/* bluetoothd confirmed that it does. */
bool bluez_advertises(const struct bluez *b);
bool bluez_scans(const struct bluez *b);
/* Something changed with radios: what failed is tried again at once. */
void bluez_again(struct bluez *b);
