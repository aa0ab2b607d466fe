/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* TCP: listening, dialling, and sockets as wires. Of the sd-event thread; nothing blocks. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/address.h"
#include "transports/wire.h"

/* The port of Shoal: TCP for links, UDP for beacons. Not assigned to anybody. */
#define SHOAL_PORT 7580

#define TCP_DEAD_SECONDS 14 /* a peer that does not acknowledge what was sent is given up after */

/* A connected socket as a wire, which owns it from now on (closed on failure too). */
int tcp_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret,
		 struct err *e);

struct tcp_listener;

/* Somebody connected. The callee owns the wire. */
typedef void tcp_accept_fn(struct wire *wire_take, const struct address *remote, void *user);

/* Listens at host, a literal, or (NULL, "") on all addresses, IPv6 and IPv4. port 0:
 * SHOAL_PORT, or any free one when that is taken (another store on this host). */
int tcp_listen(sd_event *event, const char *host, uint16_t port, tcp_accept_fn *fn,
	       void *user, struct tcp_listener **ret, struct err *e);
uint16_t tcp_listener_port(const struct tcp_listener *l);
void tcp_listener_free(struct tcp_listener *l);
DEFINE_CLEANUP(struct tcp_listener *, tcp_listener_free)

struct tcp_dial;

/* A wire (the callee owns it) to remote, or NULL and why. Comes once, from the loop; the
 * callback may call tcp_dial_free, and somebody has to. */
typedef void tcp_dial_fn(struct wire *wire_take, const struct address *remote,
			 const struct err *why, void *user);

/* Dials the addresses of host, in the resolver's order, a new one every 250 ms or as soon
 * as one fails; the first that connects wins. timeout_us for all of it. */
int tcp_dial_host(sd_event *event, const char *host, uint16_t port, uint64_t timeout_us,
		  tcp_dial_fn *fn, void *user, struct tcp_dial **ret, struct err *e);
int tcp_dial_address(sd_event *event, const struct address *a, uint64_t timeout_us, tcp_dial_fn *fn,
		     void *user, struct tcp_dial **ret, struct err *e);
void tcp_dial_free(struct tcp_dial *d); /* no callback any more */
DEFINE_CLEANUP(struct tcp_dial *, tcp_dial_free)
