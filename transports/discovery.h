/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Finding members on the local networks by multicast beacons (beacon.h), IPv4 and IPv6, on
 * every interface that can. No configuration. Of the sd-event thread.
 *
 * Groups: 239.255.83.104 and ff02::7368:6f61, UDP port SHOAL_PORT. Several daemons on one
 * host share the port; each hears all. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "engine/id.h"
#include "transports/address.h"
#include "transports/identity.h"
#include "transports/ifaces.h"

#define DISCOVERY_GROUP4 "239.255.83.104"
#define DISCOVERY_GROUP6 "ff02::7368:6f61"

struct discovery;

/* A member says that it listens at address. Called for every beacon of others. */
typedef void discovery_fn(const struct id *device, const struct address *a, void *user);

/* identity and ifaces are borrowed. port: where this device listens (TCP). */
int discovery_new(sd_event *event, const struct identity *identity, const struct ifaces *ifaces,
		  uint16_t port, discovery_fn *fn, void *user, struct discovery **ret,
		  struct err *e);
void discovery_free(struct discovery *d);
DEFINE_CLEANUP(struct discovery *, discovery_free)

/* To be called when ifaces reports a change: joins the groups there and says hello anew. */
void discovery_network_changed(struct discovery *d);
