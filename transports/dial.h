/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Connecting to an address: TCP, or a Bluetooth LE channel. Of the sd-event thread; nothing blocks. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/address.h"
#include "transports/wire.h"

struct dial;

/* A wire (the callee owns it) to remote, or NULL and why. Comes once, from the loop; the
 * callback may call dial_free, and somebody has to. */
typedef void dial_fn(struct wire *wire_take, const struct address *remote, const struct err *why, void *user);

/* Dials the addresses of host, in the resolver's order, a new one every 250 ms or as soon
 * as one fails; the first that connects wins. timeout_us for all of it. Of a Bluetooth device's name
 * (address_bluetooth_name) that one alone. */
int dial_host(sd_event *event, const char *host, uint16_t port, uint64_t timeout_us,
	      dial_fn *fn, void *user, struct dial **ret, struct err *e);
/* local: the adapter's own address, for a Bluetooth one; else NULL. Both are copied. */
int dial_address(sd_event *event, const struct address *a, const struct address *local, uint64_t timeout_us,
		 dial_fn *fn, void *user, struct dial **ret, struct err *e);
void dial_free(struct dial *d); /* no callback any more */
DEFINE_CLEANUP(struct dial *, dial_free)
