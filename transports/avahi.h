/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* DNS-SD through Avahi's D-Bus interface, where its daemon runs: a second way of discovery
 * for networks that carry mDNS (a reflector, a sleep proxy) but not our beacons. Published
 * is _shoal._tcp under a random name, with the port and one TXT value: "b=" and a beacon
 * (beacon.h) in hexadecimal, so strangers learn no more than from beacons. Name and value
 * change every half hour. Nothing happens, and nothing is said, while there is no system bus or no
 * Avahi; it may come, go and restart at any time. Of the sd-event thread. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/discovery.h"

struct avahi;

/* Publishes port and reports other members; identity is borrowed. */
int avahi_new(sd_event *event, const struct identity *identity, uint16_t port, discovery_fn *fn,
	      void *user, struct avahi **ret, struct err *e);
void avahi_free(struct avahi *a);
DEFINE_CLEANUP(struct avahi *, avahi_free)
