/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* TCP: listening, and sockets as wires (dial.h makes connections). Of the sd-event thread; nothing blocks. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/address.h"
#include "transports/listener.h"
#include "transports/wire.h"

/* The port of Shoal: TCP for links, UDP for beacons. Not assigned to anybody. */
#define SHOAL_PORT 7580

#define TCP_DEAD_SECONDS 14 /* a peer that does not acknowledge what was sent is given up after */

/* A connected socket as a wire, which owns it from now on (closed on failure too). */
int tcp_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret,
		 struct err *e);

/* Listens at host, a literal, or (NULL, "") on all addresses, IPv6 and IPv4. port 0:
 * SHOAL_PORT, or any free one when that is taken (another store on this host). */
int tcp_listen(sd_event *event, const char *host, uint16_t port, listener_accept_fn *fn,
	       void *user, struct listener **ret, struct err *e);
