/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reading what BlueZ says, for bluez.c and bluezfacts.c (bluez-objects.c). */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "transports/address.h"
#include "transports/advert.h"

#define BLUEZ "org.bluez"
#define BLUEZ_ADAPTER BLUEZ ".Adapter1"
#define BLUEZ_DEVICE BLUEZ ".Device1"
#define BLUEZ_ADVERTISING BLUEZ ".LEAdvertisingManager1"
#define BLUEZ_OBJECTS "org.freedesktop.DBus.ObjectManager"
#define BLUEZ_PROPERTIES "org.freedesktop.DBus.Properties"
#define BLUEZ_PATH 64 /* of an adapter or a device, with NUL; others are passed over */

/* What one object has; what is not said stays as it was. */
struct bluez_object {
	bool adapter, device, advertising; /* its interfaces */
	bool powered_known, powered;
	char address[18]; /* "": not said */
	bool random;
	bool data_known;  /* advertised bytes of our kind */
	uint8_t data[ADVERT_SIZE];
};

/* A dictionary a{sv} of properties. */
int bluez_read_properties(sd_bus_message *m, struct bluez_object *ret);
/* A dictionary a{sa{sv}} of interfaces. */
int bluez_read_interfaces(sd_bus_message *m, struct bluez_object *ret);
/* The answer of GetManagedObjects. */
int bluez_each_object(sd_bus_message *m, void (*fn)(const char *path, const struct bluez_object *o, void *user),
		      void *user);

/* "hci0", of its path. */
const char *bluez_adapter_name(const char *path);
/* The adapter is the one that was asked for: "" is any. */
bool bluez_adapter_is(const char *path, const struct bluez_object *o, const char *wanted);

/* What an error of bluetoothd means to a person, and what mends it, in one line; never NULL. */
const char *bluez_explain(const char *error);
