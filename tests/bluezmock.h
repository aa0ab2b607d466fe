/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* BlueZ, as far as Shoal speaks to it, on the bus of tests/bus.h: what it was asked for is counted, what it answers is for
 * the test to say. Two adapters; with air, who scans by one hears who advertises by the other. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "transports/bluez-impl.h"

#define BLUEZMOCK_ADAPTERS 2

extern struct bluezmock {
	sd_bus *bus;
	bool air;
	struct bluezmock_adapter {
		bool there, powered, advertises, random;
		const char *address;
		bool advertising, discovering;
		char client[64], object[64]; /* whose advertisement it is */
		uint8_t data[16];
		size_t len;
		sd_bus_slot *get; /* asked what it is; call waits for that */
		sd_bus_message *call;
	} adapter[BLUEZMOCK_ADAPTERS];
	const char *fail_register, *fail_start, *fail_filter, *fail_objects; /* names of errors */
	bool mute; /* never answers StartDiscovery */
	unsigned registered, unregistered, started, stopped, filtered; /* calls */
	int on; /* which adapter it was asked to advertise by last */
	char type[32], service[64], transport[16], filter[64];
	bool duplicates, auto_started;
} bluezmock;

/* Puts it on the bus, without its name, the first adapter there. */
void bluezmock_start(void);
void bluezmock_stop(void);
/* The same, with its name, on a bus that has restarted; what there is stays. */
void bluezmock_restart(void);
/* It runs, so to speak, or does not. */
void bluezmock_own(bool on);
/* By any adapter. */
bool bluezmock_advertising(void);
bool bluezmock_discovering(void);
/* Whoever used it is gone, without a word. */
void bluezmock_forget(void);

/* Signals. An adapter comes, goes, is switched on or off; a device is heard by adapter n. */
void bluezmock_added(unsigned n);
void bluezmock_removed(unsigned n);
void bluezmock_power(unsigned n, bool on);
void bluezmock_device(unsigned n, const char *address, bool random, uint16_t company, const void *data, size_t len);
void bluezmock_device_changed(unsigned n, const char *address, const void *data, size_t len);
