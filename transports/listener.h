/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A listening socket of any kind whose connections become wires. Of the sd-event thread; nothing blocks. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "transports/address.h"
#include "transports/wire.h"

struct listener;

/* Makes a wire of a connected socket, which it owns from then on (closed on failure too). */
typedef int listener_wire_fn(sd_event *event, int fd_take, const struct address *remote, struct wire **ret,
			     struct err *e);
/* Somebody connected. The callee owns the wire. */
typedef void listener_accept_fn(struct wire *wire_take, const struct address *remote, void *user);

/* fd_take listens, does not block, and is the listener's from now on (closed on failure too). */
int listener_new(sd_event *event, int fd_take, listener_wire_fn *make, listener_accept_fn *fn, void *user,
		 struct listener **ret, struct err *e);
/* The port or, for Bluetooth, the PSM. */
uint16_t listener_port(const struct listener *l);
void listener_free(struct listener *l);
DEFINE_CLEANUP(struct listener *, listener_free)
